"""The typed face of the state machine: facts in, choices out. Tasks and workers are dense indices, times are ns.

Every verb takes `now`, which never goes back, and books what time alone brings by then (delays and quarantines
that end) before its own fact.
"""

from typing import Any, final

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

REASON_EXIT: int
REASON_OUT_OF_MEMORY: int
REASON_WORKER_LOST: int
REASON_CANCELLED: int
REASON_DEPENDENCY: int
REASON_UNSATISFIABLE: int

class Tables:
    """What the state machine remembers; `Facts` books what happens, `Core` adds the choices."""

    n_tasks: int
    n_workers: int
    n_resources: int
    pivot: int
    n_left: int
    """Tasks that have not come to their end."""
    n_running: int
    """Open attempts."""
    n_failed: int
    """Tasks that failed for good, for whatever reason."""
    n_log: int
    """Attempts that did not complete."""
    now: int
    """The time of the last fact, ns; it never goes back."""
    deadline: int
    """When all attempts are to have ended, ns; -1 = whenever they do."""
    notices: list[tuple[int, int, int]]
    """What followed from facts, in order: (kind, task or worker, now). 0: a ready task that nobody could hold; of a
    worker, 1: put in quarantine, 2: on probation, 3: let back, 4: drained and gone."""

    def state_of(self, task: int) -> int:
        """The state of one task: the codes of `plan.STATUS_OF_STATE`."""

    def attempt_of(self, task: int) -> tuple[int, int]:
        """How many attempts the task had, and the worker of the last; -1 = none."""

    def demand_of(self, task: int) -> tuple[int, ...]:
        """The K amounts that the task is given: what it asked for, or more memory after out-of-memory."""

    def presence_of(self, worker: int) -> tuple[bool, bool]:
        """Whether the worker is there, and whether it is expected to come, or to come again."""

    def incarnation_of(self, worker: int) -> int:
        """How often the worker has come, from 1; 0 = never yet."""

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Columns of length n: state, reason, attempt, failures, ooms, losses, worker, start, end, cause, missing,
        overtaken.

        Views that follow the core until tasks are added. start and end are ns of the last attempt, or -1; overtaken is
        1 more than the ns when a less urgent task first passed it by, or 0.
        """

    def log(self) -> dict[str, npt.NDArray[Any]]:
        """The attempts that did not complete, in the order of their ends: task, worker, attempt, start, end, reason."""

    def worker_columns(self) -> dict[str, npt.NDArray[Any]]:
        """Columns of length W: live, expected, draining, shown (takes tasks), incarnation, trust (0, 1 quarantined,
        2 on probation), strikes, terms, release (ns). Views."""

    def amounts(self) -> tuple[Int32s, Int32s, Int32s]:
        """demand (n, K), capacity (W, K), free (W, K; -1 for a worker that takes nothing). Views."""

    def postponements(self) -> list[int]:
        """The tasks that could start, but for the deadline, ascending."""

    def promises(self) -> dict[int, int]:
        """The tasks that are promised to workers, ascending, and to which."""

    def wakes(self) -> dict[int, int]:
        """The tasks that wait for their back-off to end, and when it does, ns."""

    def held_back(self) -> dict[int, int]:
        """The tasks that could start, but for the plan that is followed, and until when it holds them back, ns."""

    def course(self) -> dict[str, npt.NDArray[Any]]:
        """What the turns of tasks come from: columns of length n, views: priority, key, duration (ns); and of the plan
        that is followed preferred (worker, or -1) and not_before (ns), empty where it has nothing of the kind."""

    def open_edges(self) -> tuple[Int32s, Int32s]:
        """Which task waits for which: (dependency, dependent), where neither has ended, by the former."""

    def innards(self) -> dict[str, Any]:
        """Views of the indexes, for `recount` alone."""

class Facts(Tables):
    """What is booked about tasks and workers; `Core` adds the choices.

    Args:
        n_resources: K. pivot: the resource in which the tasks of a slot may differ (see `kinds.DemandClasses`).
        fit: `most-free`, `best-fit`, `first-fit`, or by the match of task and worker (`_fit.pxd`): `dot-product`,
            `cosine`, `least-left`.
        max_losses, max_ooms: lost workers, and out-of-memory failures, that a task survives.
        oom_growth: thousandths; after out-of-memory a task asks for so much of its `memory` (a resource), capped at the
            largest worker in use that could hold the rest; 1000 = for the same.
        backoff, backoff_cap: ns, the delay before the second attempt, doubled for each further one, and its cap.
        jitter: thousandths of a delay that chance may take off.
        seed: of the jitter, below 2**64.
        quarantine_after: failures on a worker of what completed elsewhere, with nothing completed there in between,
            that bring it into quarantine; 0 = never. probation: ns, its first term.
        many_workers: from so many on, workers are kept in a grid; it does not change a choice.
        tell_stuck: whether ready tasks that nobody could hold are noticed.
        reserve_after (Core): ns, see `Core.reservation`; -1 = never.

    Raises:
        ValueError: where an option is out of range.
    """

    def __init__(self, **options: Any) -> None: ...
    def add_tasks(
        self,
        now: int,
        *,
        dep_ptr: Int64s,
        deps: Int32s,
        demand: npt.NDArray[Any],
        duration: Int64s,
        priority: Int64s,
        key: Int64s,
        max_retries: npt.NDArray[Any],
        class_of: npt.NDArray[Any],
        class_demand: npt.NDArray[Any],
        order: Int32s | None = None,
        successors: tuple[Int64s, Int32s] | None = None,
    ) -> int:
        """Book a batch of m submitted tasks; answers the index of the first.

        Args:
            dep_ptr (m + 1,), deps: CSR of what each depends on: indices of tasks of any state, or of this batch.
                Acyclic; that is not checked here.
            demand (m, K). duration (m,): expected ns. priority (m,), key (m,): higher priority first, then lower key.
            max_retries (m,): failures of its own that a task survives.
            class_of (m,), class_demand (C, K): see `kinds.DemandClasses`.
            order: the batch by (priority descending, key, index), if it is known. successors: (succ_ptr, succ) of
                the first batch, if they are known.

        What depends on a task that failed for good, was skipped or cancelled, is skipped at once.

        Raises:
            ValueError: where shapes do not match, an amount is negative, or an index is out of range.
        """

    def rewind(self, *, fit: str, key: Int64s, order: Int32s, dep_ptr: Int64s) -> None:
        """Put everything back to before the first decision, at 0, under another fit and in another order of urgency.

        For tasks that were submitted together and have all ended, with no attempt in vain. Workers stay as they are.
        key (n,), order (n,), dep_ptr (n + 1,): as in `add_tasks`; priorities stay.

        Raises:
            InternalError: where that is not so. ValueError: where an array cannot be one of these tasks.
        """

    def started(self, task: int, worker: int, now: int) -> int:
        """Book that a ready task was started on a worker with room for it; answers the number of the attempt.

        For a replay: choices that are made now come from `assign`, which books them itself.

        Raises:
            InternalError: where the task was not ready, or the worker had no room.
        """

    def promise_made(self, task: int, worker: int, now: int) -> None:
        """Book that a ready task is promised to a worker that is there: nobody else takes it. See `Core.promise`.

        Raises:
            InternalError: where the task was not ready, or the worker was not there.
        """

    def promise_kept(self, task: int, now: int) -> int:
        """Book that a promised task was started on its worker; answers the number of the attempt.

        Whether there is room is not asked: it starts in the place of an attempt that was given as much, whose end has
        just been booked; or it may have started there, unheard of, on a worker that is about to be booked as lost.

        Raises:
            InternalError: where it was promised to nobody.
        """

    def promise_returned(self, task: int, now: int, leaves: bool = True) -> None:
        """Book that a promised task is ready again. Raises InternalError where it was promised to nobody.

        leaves: the worker goes if it drains, and nothing else is left there; else it is about to be booked as gone.
        """

    def follow(
        self,
        now: int,
        *,
        tasks: npt.NDArray[Any],
        key: npt.NDArray[Any],
        worker: npt.NDArray[Any],
        not_before: npt.NDArray[Any],
    ) -> None:
        """Book a plan that is followed from here on, in place of any before.

        Args:
            tasks (m,): those that it speaks of, each once; of the others nothing is planned, and their keys stay.
            key (m,): their keys from now on. worker (m,): where each goes while there is room for it there; else the
                fit rule says where; -1 = nowhere of its own.
            not_before (m,): ns; before it, the first attempt is not started; 0 = as soon as it can be.

        A reservation, and who was passed by, is forgotten: the order is another one.

        Raises:
            ValueError: where lengths differ, or an index is out of range; nothing is booked but that time has passed.
        """

    def remember_failure(self, task: int, worker: int, now: int) -> None:
        """Book that a task that was never tried here failed on a worker before: it avoids it. It is charged nothing.

        Raises:
            InternalError: where it was tried here. IndexError: for an index out of range.
        """

    def finished(self, task: int, attempt: int, incarnation: int, now: int) -> bool:
        """Book that an attempt completed. False, and nothing is booked, where the report is stale.

        Only a report for the open attempt, from the incarnation of the worker that runs it, counts. Raises
        InternalError where such an attempt never started, IndexError for an index out of range.
        """

    def failed(self, task: int, attempt: int, incarnation: int, now: int, reason: int) -> bool:
        """Book that an attempt failed for a reason (code 1..9). False where the report is stale.

        The task is ready again, or delayed, or, when its budget is spent, failed for good and its dependents are
        skipped. WORKER_LOST is charged to `max_losses`, OUT_OF_MEMORY to `max_ooms`, everything else to its retries.
        """

    def cancel(self, task: int, now: int) -> bool:
        """Book that a task is not wanted; an open attempt ends. False where the task had come to its end."""

    def fail_unsatisfiable(self, now: int) -> int:
        """Fail every task that is not running and that no worker, there or expected, could ever hold.

        Answers how many. Their dependents are skipped.
        """

    def failed_since(self, count: int) -> list[int]:
        """The tasks that failed for good, were skipped or cancelled, in that order, after the first `count`."""

    def next_wake(self) -> int | None:
        """When a delay or a quarantine ends, ns: `assign` should be called then. None where nothing is due."""

    def advance(self, now: int) -> None:
        """Book that time has passed: delays and quarantines that are over by then end."""

    def set_deadline(self, at: int, now: int) -> None:
        """Book when all attempts are to have ended, in ns; -1: whenever they do.

        From here on no task is started that would end later, by the time that it is expected to take: it is postponed,
        until another deadline is set.
        """

    def add_workers(self, capacity: npt.NDArray[Any], now: int, expected: bool = False) -> int:
        """Book that new workers (m, K) are there, or are expected; answers the index of the first.

        An expected worker takes no task, but what only it could hold waits for it, and so does a retry that
        avoids the others.
        """

    def add_worker(self, worker: int, now: int) -> None:
        """Book that a known worker has come, with all its capacity free and a clean name: a new incarnation. Of one
        that drains, that it stays. Raises InternalError where it was there."""

    def expect_worker(self, worker: int, now: int) -> None:
        """Book that a known worker, which is not there, will come: what only it could hold waits for it. Raises
        InternalError where it is there, or was expected already."""

    def add_resources(self, capacity: npt.NDArray[Any]) -> None:
        """Count m more resources, of which the workers have capacity (W, m) and no task has asked for any yet."""

    def resize_worker(self, worker: int, capacity: npt.NDArray[Any], now: int) -> None:
        """Book that a worker's capacity (K,) has changed. While it holds more than that, it takes nothing."""

    def drain_worker(self, worker: int, now: int) -> None:
        """Book that a worker takes nothing more. When its last attempt ends it is not there any more (a notice)."""

    def suspect_worker(self, worker: int, now: int) -> None:
        """Book that a worker is as good as lost: it takes nothing more, and what only it could hold waits for it."""

    def remove_worker(self, worker: int, now: int, expected: bool = False, charged: bool = True) -> list[int]:
        """Book that a worker is not there; answers the tasks whose open attempts went with it.

        expected: it will come back. charged: each of these attempts counts as a loss of its task. Raises
        InternalError for a worker that is neither there nor expected, or to which a task is promised.
        """

    def running_on(self, worker: int) -> list[int]:
        """The tasks with an open attempt on the worker, ascending."""

    def failed_workers(self, task: int) -> list[int]:
        """The workers on which the task failed by its own fault, the last one first."""

@final
class Core(Facts):
    """A graph on its workers: what is booked (`Facts`), and what is chosen next."""

    reservation_changed: bool
    """Whether the last decision made, moved or dropped a reservation."""
    overtaken_task: int
    """The head of the queue, where the last decision was the first to pass it by; else -1."""
    n_started: int
    """Tasks started by the last decision."""

    def assign(self, now: int) -> list[tuple[int, int, int]]:
        """Make every choice that can be made at `now` and book it as started: (task, worker, attempt) each.

        Over all ready tasks in order of urgency, the first that fits some worker is placed on the worker that
        the fit rule prefers, until none fits. Call it once all facts of the instant are booked.
        """

    def promise(self, worker: int, like: int, n: int, now: int) -> list[int]:
        """Promise up to n ready tasks to a worker, and book it; answers them in their order.

        Each is what would start there if an attempt that is given as much as the task `like` ended, and nobody else
        had room. Where that needs another amount of anything, or was tried before, no more are promised; nor where
        the worker takes nothing, or room can be reserved (`reserve_after`). Call it after `assign`.
        """

    def overtook(self, task: int, now: int) -> None:
        """Book that a ready task was passed by, as `overtaken_task` told; for a replay."""

    def reserved(self, task: int, worker: int, now: int) -> None:
        """Book that room is kept for a ready task on a worker, or (-1, -1) for none; for a replay."""

    def reservation(self) -> tuple[int, int] | None:
        """(task, worker) where room is kept for a task that was passed by for `reserve_after`, else None."""

    def earliest_start(self, task: int, worker: int) -> int | None:
        """When the worker has room for the task if all that runs there takes as long as expected, ns; None = never."""

    def check(self) -> None:
        """Recount every invariant (`recount.py`). Raises InternalError. For tests and for doubt."""
