"""The typed face of time lines that are played again; `planner.py` makes them, `risk.py` and `sizing.py` play them."""

from typing import Any

import numpy.typing as npt

from ._core import Core

class Replay:
    """A core on which nothing has happened yet, to be played from the beginning as often as one likes.

    Tasks that no worker could hold have to have failed before (`Core.fail_unsatisfiable`). One thread at a time.
    """

    def __init__(self, core: Core, dep_ptr: npt.NDArray[Any], deps: npt.NDArray[Any]) -> None:
        """dep_ptr, deps: CSR, what each task depends on."""

    def foresee(self, tail: npt.NDArray[Any]) -> None:
        """tail (n,) int64 ns: the whole takes at least so long from the start of each task on. It only saves time."""

    def play_on(self, there: npt.NDArray[Any], limit: int | None = None) -> int | None:
        """The makespan in ns on those workers that are `there` (W,) bool, with durations as they were given.

        limit: ns; None is answered as soon as it is seen that the last attempt ends after it. Without the GIL.

        Raises:
            InternalError: where a task was left over, because nobody there could hold it.
            OverflowError: where virtual time grows beyond the clock.
        """

    def sample(
        self, makespans: npt.NDArray[Any], critical: npt.NDArray[Any], first: int, sigma: int, seed: int
    ) -> None:
        """Play samples first, first + 1, ... on all workers, one for each entry of `makespans`. Without the GIL.

        Each duration is multiplied by exp(sigma z - sigma**2 / 2), with z standard normal: lognormal, of mean 1.

        Args:
            makespans int64: is filled, ns.
            critical (n,) int64: counts for each task of how many samples it was on the critical chain; added to.
            sigma: in parts of 2**30, below 2**32. seed: below 2**64.

        Raises:
            OverflowError: where virtual time grows beyond the clock.
        """

    def durations(self, sample: int, sigma: int, seed: int) -> npt.NDArray[Any]:
        """The durations of one sample, (n,) int64 ns, as `sample` draws them."""
