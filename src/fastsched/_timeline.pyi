"""The typed face of virtual time; only `planner.py` and tests call it."""

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from ._core import Core

STEPS: dict[str, int]
"""What a script can do to a worker, and its code: join, leave, lose, drain, resize."""

def simulate(
    core: Core,
    *,
    outcome: Callable[[int, int, int], bool] | None = None,
    chances: npt.NDArray[Any] | None = None,
    mtbf: npt.NDArray[Any] | None = None,
    repair: npt.NDArray[Any] | None = None,
    seed: int = 0,
    script: tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]] | None = None,
    tell: Callable[[int], object] | None = None,
) -> None:
    """Play the whole virtual time line of a core, without the GIL but for `outcome` and a look at the signals.

    An attempt takes the task's `duration`, also one that fails. Only for a core on which nothing has happened.

    Args:
        outcome: outcome(task, worker, attempt) says whether an attempt succeeds; asked when it starts.
        chances (n,) int64: an attempt fails with this probability, in parts of 2**53. Drawn from the seed, the
            task and the attempt, so it does not depend on what else happens.
        mtbf, repair (W,) int64 ns: the mean of the exponential time from a worker's coming to its loss (0 = it is
            not lost), and the time from there to its return (-1 = it stays away; else others know that it returns).
        seed: of these draws, below 2**64.
        script: columns (time in ns, ascending; code of STEPS; worker; capacity (steps, K)) of what happens to
            workers; a join with a capacity of -1 is with the one that it had. A step that does not fit the worker's
            state is without effect.
        tell: told now and then how many tasks have ended.

    Raises:
        InternalError: where the core was used before.
        ValueError: where a model has the wrong length, or the script is not in order.
        OverflowError: where virtual time grows beyond the clock.
    """
