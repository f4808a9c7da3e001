"""What was planned: `Plan`, the numbers as columns, and `Schedule`, the same with names on.

A `Schedule` is a plain dictionary from task id to final status, with the plan attached. All
that costs time is computed when it is asked for. What really happened has the same face
(`Run`). Nothing here decides anything, and nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from operator import mul
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._graphs import bottom_levels
from .model import Reason, TaskStatus

__all__ = ["Attempt", "Placement", "Plan", "Run", "Schedule"]

NS = 1_000_000_000

# By the core's codes: what a user sees of a state, and of a reason.
STATUS_OF_STATE = (
    TaskStatus.PENDING,  # WAITING
    TaskStatus.PENDING,  # READY
    TaskStatus.RUNNING,
    TaskStatus.COMPLETED,
    TaskStatus.PENDING,  # DELAYED
    TaskStatus.FAILED,
    TaskStatus.FAILED,  # SKIPPED
    TaskStatus.FAILED,  # CANCELLED
)
REASON_OF_CODE: tuple[Reason | None, ...] = (None, *Reason)
CODE_OF_REASON = {reason: code for code, reason in enumerate(REASON_OF_CODE) if reason is not None}
COMPLETED_STATE = 3

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


class Placement(NamedTuple):
    """One attempt of a plan: times in seconds from the start, `outcome` COMPLETED or FAILED."""

    task_id: str
    worker_id: str
    attempt: int
    start: float
    end: float
    outcome: TaskStatus


class Plan:
    """What a time line did, in numbers; index i is the i-th task, w the w-th worker, as given.

    Workers that `events` bring have the indices behind those, in the order of their first joining.

    Attributes (numpy columns, one entry a task):
        start_ns, end_ns int64: of the last attempt; -1 where the task never started.
        worker int32: of the last attempt, or -1. attempts int32: how many were started.
        state, reason uint8: the core's codes. cause int32: for a task that was skipped, the failed
            task at the root; else -1.
        log: columns task, worker, attempt, start, end, reason of the attempts that did not complete.
        rank, fit: by which it was made; `schedule()` makes the same plan by them. "" for what was not planned.
        n_tried: pairs of rank and fit that were tried, of which this is the best.
    """

    def __init__(
        self,
        graph: Any,
        capacity: Int32s,
        columns: Mapping[str, Any],
        log: Mapping[str, Any],
        *,
        rank: str = "",
        fit: str = "",
    ) -> None:
        self.rank, self.fit, self.n_tried = rank, fit, 1
        self._graph = graph
        self._capacity = capacity
        self.start_ns: Int64s = np.ascontiguousarray(columns["start"])
        self.end_ns: Int64s = np.ascontiguousarray(columns["end"])
        self.worker: Int32s = np.ascontiguousarray(columns["worker"])
        self.attempts: Int32s = np.ascontiguousarray(columns["attempt"])
        self.state: npt.NDArray[np.uint8] = np.ascontiguousarray(columns["state"])
        self.reason: npt.NDArray[np.uint8] = columns["reason"]
        self.cause: Int32s = columns["cause"]
        self.log = log

    def __repr__(self) -> str:
        counts = np.bincount(self.state, minlength=len(STATUS_OF_STATE))
        completed = int(counts[COMPLETED_STATE])
        return f"<Plan: {completed} of {len(self.state)} tasks completed, makespan {self.makespan:g} s>"

    @property
    def start(self) -> npt.NDArray[np.float64]:
        """Seconds, one a task: when its last attempt starts; nan where the task never started."""
        return np.where(self.start_ns < 0, np.nan, self.start_ns / NS)

    @property
    def end(self) -> npt.NDArray[np.float64]:
        """Seconds, one a task: when its last attempt ends; nan where the task never started."""
        return np.where(self.start_ns < 0, np.nan, self.end_ns / NS)

    @property
    def status(self) -> npt.NDArray[np.str_]:
        """The final status of every task, as its name."""
        return np.array([str(status) for status in STATUS_OF_STATE])[self.state]

    @property
    def all_completed(self) -> bool:
        """Whether every task completed."""
        return bool((self.state == COMPLETED_STATE).all())

    @cached_property
    def makespan_ns(self) -> int:
        """ns from 0 to the end of the last attempt."""
        return int(self.end_ns.max(initial=0))

    @property
    def makespan(self) -> float:
        """Seconds from 0 to the end of the last attempt."""
        return self.makespan_ns / NS

    @cached_property
    def busy_ns(self) -> Int64s:
        """ns that every task spent in attempts that have ended, one after the other."""
        done = self.state == COMPLETED_STATE
        busy = np.where(done, self.end_ns - self.start_ns, 0)
        np.add.at(busy, self.log["task"], self.log["end"] - self.log["start"])
        return busy

    @cached_property
    def bounds_ns(self) -> dict[str, int]:
        """Lower bounds of the makespan for the attempts of this plan, by what binds, in ns.

        `critical path`: the longest chain of dependent tasks. A resource: the amount times time that is
        asked of it, over what all workers together offer. Any schedule of these attempts on these workers
        takes at least as long.
        """
        bottom = self._bottom_levels
        bounds = {"critical path": int(bottom.max(initial=0))}
        busy = self.busy_ns.tolist()
        for r, name in enumerate(self._graph.resources):
            offered = int(self._capacity[:, r].sum(dtype=np.int64))
            asked = sum(map(mul, busy, self._graph.demand[:, r].tolist()))
            bounds[name] = -(-asked // offered) if offered else 0
        return bounds

    @property
    def lower_bound_ns(self) -> int:
        """The largest of `bounds_ns`."""
        return max(self.bounds_ns.values())

    @property
    def lower_bound(self) -> float:
        """Seconds: no schedule of these attempts on these workers is shorter."""
        return self.lower_bound_ns / NS

    @property
    def bound_by(self) -> str:
        """What the largest lower bound comes from: `critical path`, or the name of a resource."""
        bounds = self.bounds_ns
        return max(bounds, key=lambda name: bounds[name])

    @cached_property
    def _bottom_levels(self) -> Int64s:
        graph = self._graph
        return np.asarray(bottom_levels(graph.order, graph.succ_ptr, graph.succ, self.busy_ns))

    @cached_property
    def critical_path(self) -> list[int]:
        """Task indices along the longest chain of the attempts that were made, first to last."""
        if self.makespan_ns == 0 and not (self.attempts > 0).any():
            return []
        graph, bottom, busy = self._graph, self._bottom_levels, self.busy_ns
        started = np.where(self.attempts > 0, bottom, -1)
        path = [int(started.argmax())]
        while True:
            task = path[-1]
            row = graph.succ[graph.succ_ptr[task] : graph.succ_ptr[task + 1]]
            row = row[(self.attempts[row] > 0) & (bottom[row] == bottom[task] - busy[task])]
            if not len(row):
                return path
            path.append(int(row.min()))

    @cached_property
    def attempt_columns(self) -> dict[str, npt.NDArray[Any]]:
        """Every attempt, in the order of (start, task, attempt).

        Columns task, worker, attempt, start_ns, end_ns, completed.
        """
        done = np.nonzero(self.state == COMPLETED_STATE)[0]
        log = self.log
        columns: dict[str, npt.NDArray[Any]] = {
            "task": np.concatenate((done, log["task"])).astype(np.int64),
            "worker": np.concatenate((self.worker[done], log["worker"])),
            "attempt": np.concatenate((self.attempts[done], log["attempt"])),
            "start_ns": np.concatenate((self.start_ns[done], log["start"])),
            "end_ns": np.concatenate((self.end_ns[done], log["end"])),
            "completed": np.arange(len(done) + len(log["task"])) < len(done),
        }
        by = np.lexsort((columns["attempt"], columns["task"], columns["start_ns"]))
        return {name: column[by] for name, column in columns.items()}

    @cached_property
    def utilisation(self) -> npt.NDArray[np.float64]:
        """(W, K): the share of each worker's resource that attempts held, over the makespan; 0 where it has none."""
        held = np.zeros(self._capacity.shape, dtype=np.float64)
        columns = self.attempt_columns
        spans = (columns["end_ns"] - columns["start_ns"]).astype(np.float64)
        np.add.at(held, columns["worker"], self._graph.demand[columns["task"]] * spans[:, None])
        room = self._capacity.astype(np.float64) * self.makespan_ns
        return np.divide(held, room, out=np.zeros_like(held), where=room > 0)


class _Outcome(dict[str, TaskStatus]):
    """A dictionary from task id to final status, with the columns behind it."""

    plan: Plan

    def __init__(self, ids: Sequence[str], worker_ids: Sequence[str], plan: Plan) -> None:
        if plan.all_completed:
            super().__init__(dict.fromkeys(ids, TaskStatus.COMPLETED))
        else:
            super().__init__(zip(ids, map(STATUS_OF_STATE.__getitem__, plan.state.tolist())))
        self.plan = plan
        self.worker_ids = tuple(worker_ids)

    @cached_property
    def task_ids(self) -> tuple[str, ...]:
        """The ids, in the order in which the tasks were given."""
        return tuple(self)

    @cached_property
    def reasons(self) -> dict[str, Reason]:
        """Why each task that failed did, by id, in the order of the tasks."""
        failed = np.nonzero(self.plan.reason)[0].tolist()
        codes = self.plan.reason
        return {self.task_ids[i]: reason for i in failed if (reason := REASON_OF_CODE[codes[i]]) is not None}

    @cached_property
    def causes(self) -> dict[str, str]:
        """For each task that failed with DEPENDENCY, the id of the failed task at the root of it."""
        skipped = np.nonzero(self.plan.cause >= 0)[0].tolist()
        return {self.task_ids[i]: self.task_ids[int(self.plan.cause[i])] for i in skipped}

    @property
    def makespan(self) -> float:
        """Seconds from the start to the end of the last attempt."""
        return self.plan.makespan

    @property
    def all_completed(self) -> bool:
        """Whether every task completed."""
        return self.plan.all_completed

    @cached_property
    def utilisation(self) -> dict[str, dict[str, float]]:
        """By worker id and resource: the share that attempts held, over the makespan."""
        names = self.plan._graph.resources
        return {worker: dict(zip(names, row)) for worker, row in zip(self.worker_ids, self.plan.utilisation.tolist())}


class Schedule(_Outcome):
    """What `schedule()` answers: a dictionary from task id to final status, and the plan behind it.

    `reasons` and `causes` say why a task failed; `placements` has every attempt; `.plan` has the same as
    numpy columns. Times are seconds of virtual time.
    """

    @property
    def rank(self) -> str:
        """The order of urgency by which it was made: where `auto` was asked for, the one that was taken."""
        return self.plan.rank

    @property
    def fit(self) -> str:
        """The fit by which it was made: where `auto` was asked for, the one that was taken."""
        return self.plan.fit

    @property
    def lower_bound(self) -> float:
        """Seconds: no schedule of these attempts on these workers is shorter."""
        return self.plan.lower_bound

    @property
    def bound_by(self) -> str:
        """What the lower bound comes from: `critical path`, `cpu_millicores`, `memory_mb` or another resource."""
        return self.plan.bound_by

    @cached_property
    def critical_path(self) -> list[str]:
        """The ids along the longest chain of dependent tasks, first to last."""
        return [self.task_ids[i] for i in self.plan.critical_path]

    @cached_property
    def placements(self) -> list[Placement]:
        """Every attempt, in the order of (start, task, attempt)."""
        columns = self.plan.attempt_columns
        return [
            Placement(
                self.task_ids[task],
                self.worker_ids[worker],
                attempt,
                start / NS,
                end / NS,
                TaskStatus.COMPLETED if completed else TaskStatus.FAILED,
            )
            for task, worker, attempt, start, end, completed in zip(*(c.tolist() for c in columns.values()))
        ]

    @property
    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The placements as numpy columns: task and worker are indices into `task_ids` and `worker_ids`."""
        return self.plan.attempt_columns


class Attempt(NamedTuple):
    """One attempt that was really made.

    Times are seconds from the start of the run. `reason` is None where it completed. `exit_code` and
    `signal` are None where they do not apply. `peak_memory_mb` is that of the largest process that was
    waited for, `cpu_seconds` user and system time of all of them; both None where it was not measured.
    `stdout` and `stderr` are the paths of the files that hold what it wrote: the null device where
    that is nothing, "" where they are not kept.
    """

    task_id: str
    worker_id: str
    attempt: int
    start: float
    end: float
    reason: Reason | None
    exit_code: int | None
    signal: int | None
    message: str
    peak_memory_mb: float | None
    cpu_seconds: float | None
    stdout: str
    stderr: str


class Run(_Outcome):
    """What `run()` answers: a dictionary from task id to final status, and what happened.

    Attributes:
        attempts: every `Attempt`, in the order of their ends: a sequence.
        run_dir: the folder that holds the outputs of the attempts.
        interrupted: whether it was ended before its time.
        unfinished: of such a run, the tasks that had not come to their end: what is left for `fastsched resume`.
    """

    def __init__(
        self,
        ids: Sequence[str],
        worker_ids: Sequence[str],
        plan: Plan,
        attempts: Sequence[Attempt],
        run_dir: str,
        interrupted: bool,
        unfinished: Sequence[str] = (),
    ) -> None:
        super().__init__(ids, worker_ids, plan)
        self.unfinished = unfinished
        self.attempts = attempts
        self.run_dir = run_dir
        self.interrupted = interrupted

    @cached_property
    def last_attempts(self) -> dict[str, Attempt]:
        """The last attempt of every task that was started, by id."""
        return {attempt.task_id: attempt for attempt in self.attempts}

    @property
    def exit_codes(self) -> dict[str, int | None]:
        """The exit code of the last attempt of every task that was started; None where it had none."""
        return {task_id: attempt.exit_code for task_id, attempt in self.last_attempts.items()}
