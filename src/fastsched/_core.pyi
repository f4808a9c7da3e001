"""The typed face of the core: numbers only. See `_core.pyx` for how it works.

n tasks, W workers, K resources, C demand classes; a task, a worker or a class is its dense index.
Amounts are whole numbers below 2**31, times whole nanoseconds. A `Core` belongs to one thread.
"""

from collections.abc import Callable
from typing import Any, final

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

NOBODY: int
FIT_RULES: dict[str, int]
REASON_EXIT: int
REASON_WORKER_LOST: int
REASON_CANCELLED: int
REASON_DEPENDENCY: int
REASON_UNSATISFIABLE: int

def successors(dep_ptr: Int64s, deps: Int32s) -> tuple[Int64s, Int32s]:
    """Turn "row i lists what i depends on" into (succ_ptr, succ), "row i lists what depends on i".

    dep_ptr (n + 1,), deps (edges,): CSR. An entry of `deps` must be in [0, n); that is not checked here.
    Rows come out in ascending order; O(n + edges).
    """

def topological_order(dep_ptr: Int64s, succ_ptr: Int64s, succ: Int32s) -> Int32s:
    """The tasks with dependencies first (A. B. Kahn 1962), in O(n + edges).

    Shorter than n where there is a cycle: then every task on a cycle, or behind one, is missing from it.
    """

def bottom_levels(order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s) -> Int64s:
    """Each task's own duration plus the longest chain of durations behind it, (n,), in the unit of `duration`.

    `order` is a topological order; tasks that are not in it get 0.
    """

@final
class Core:
    """A graph on its workers: what is booked, and what may be chosen next.

    Args:
        succ_ptr (n + 1,) int64, succ int32: successors as CSR.
        demand (n, K): what each task needs. duration (n,) int64: ns that an attempt takes in `simulate`.
        order (n,): the tasks by urgency, a permutation of 0..n-1.
        max_retries (n,): failures of its own that a task survives.
        class_of (n,) int32, class_demand (C, K), exact (C,) uint8, pivot: see `graph.DemandClasses`.
        capacity (W, K): what each worker holds; all are live at first.
        fit: `most-free`, `best-fit` or `first-fit`.
        max_losses: attempts lost with their worker that a task survives.

    Raises:
        ValueError: where shapes do not match, an amount is negative, or an index is out of range.
    """

    n_tasks: int
    n_workers: int
    n_resources: int
    n_left: int
    """Tasks that have not come to their end."""
    n_running: int
    """Open attempts."""
    n_failed: int
    """Tasks that failed for good, for whatever reason."""
    now: int
    """The time of the last fact, ns; it never goes back."""

    def __init__(
        self,
        *,
        succ_ptr: Int64s,
        succ: Int32s,
        demand: npt.NDArray[Any],
        duration: Int64s,
        order: Int32s,
        max_retries: npt.NDArray[Any],
        class_of: Int32s,
        class_demand: npt.NDArray[Any],
        exact: npt.NDArray[Any],
        pivot: int,
        capacity: npt.NDArray[Any],
        fit: str = "most-free",
        max_losses: int = 3,
    ) -> None: ...
    def assign(self, now: int) -> list[tuple[int, int, int]]:
        """Make every choice that can be made at `now` and book it as started: (task, worker, attempt) each.

        Over all ready tasks in order of urgency, the first that fits some worker is placed on the worker that
        the fit rule prefers, until none fits. Call it once all facts of the instant are booked. Not to be mixed
        with `simulate`.
        """

    def finished(self, task: int, attempt: int, now: int) -> bool:
        """Book that an attempt completed. False, and nothing is booked, where the attempt is not the open one.

        Raises InternalError where such an attempt never started, IndexError for an index out of range.
        """

    def failed(self, task: int, attempt: int, now: int, reason: int) -> bool:
        """Book that an attempt failed for a reason (code 1..9). False where the attempt is not the open one.

        The task is ready again, or, when its budget is spent, failed for good and its dependents are skipped.
        WORKER_LOST is charged to `max_losses`, everything else to the task's own retries.
        """

    def cancel(self, task: int, now: int) -> bool:
        """Book that a task is not wanted; an open attempt ends. False where the task had come to its end."""

    def remove_worker(self, worker: int, now: int, expected: bool = False) -> list[int]:
        """Book that a worker is not there; answers the tasks whose open attempts went with it.

        An expected worker takes no task, but what only it could hold waits for it, and so does a retry that
        avoids the others. Called for an expected worker, it says whether that one is still expected. Raises
        IndexError for a worker that is neither live nor expected.
        """

    def add_worker(self, worker: int, now: int) -> None:
        """Book that a worker which was removed is there, with all its capacity free."""

    def fail_unsatisfiable(self, now: int) -> int:
        """Fail every task that has not started and that no worker, live or expected, could ever hold.

        Answers how many. Their dependents are skipped. `simulate` calls it by itself.
        """

    def failed_since(self, count: int) -> list[int]:
        """The tasks that failed for good, were skipped or cancelled, in that order, after the first `count`."""

    def simulate(self, outcome: Callable[[int, int, int], bool] | None = None) -> None:
        """Play the whole virtual time line, without the GIL but for `outcome` and a look at the signals.

        outcome(task, worker, attempt) says whether an attempt, counted from 1, succeeds; it is asked when the
        attempt starts. A failed one ends at its full duration. Only for a core on which nothing has happened.
        """

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Columns of length n: state, reason, attempt, failures, losses, worker, start, end, cause.

        Views that follow the core as it goes on. start and end are ns of the last attempt, or -1.
        """

    def log(self) -> dict[str, npt.NDArray[Any]]:
        """The attempts that did not complete, in the order of their ends: task, worker, attempt, start, end, reason."""

    def free_amounts(self) -> Int32s:
        """(W, K): what is free on each worker now; -1 for one that is not live. A copy."""

    def live_workers(self) -> npt.NDArray[np.bool_]:
        """(W,): which workers are live. A copy."""

    def check(self) -> None:
        """Recount every invariant: free + held = capacity, indegrees, trees, counts, the event heap.

        Raises InternalError. O(n + edges + W); for tests and for doubt.
        """
