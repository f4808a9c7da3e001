"""The typed face of the reader of tasks; only `graph.py` calls it."""

from typing import Any

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

def are_all(items: list[Any], kind: type[Any]) -> bool:
    """Whether the type of every item is the kind, and no other one derived from it."""

def read_tasks(
    tasks: list[Any], pending: object, known: dict[str, int]
) -> tuple[list[str], Int64s, Int32s, Int32s, Int64s, bool, Int64s, Int32s, bool, list[Any], list[Any]] | None:
    """The plain fields of n `Task` objects as columns, or None where anything is odd.

    Answers (ids, dep_ptr (n + 1,), deps, demand (n, 2) in milli-cores and MB, duration (n,) in ns, whether any
    task has a duration, priority (n,), max_retries (n,) with -1 for none, whether any task has named resources,
    the commands that are no strings, and the tasks that say how they are to be run: both are still to be checked).
    `pending` is the status that a task must have, `known` the indices of tasks that were submitted before: they may
    be depended on, and their ids may not be used again.
    Cycles and named resources are not looked at.
    """
