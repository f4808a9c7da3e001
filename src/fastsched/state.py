"""Names over numbers: the one room in which ids and the core meet for a live run.

Facts go in by `absorb`, choices come out of `decide`; `snapshot` is a pure read. Time is an
argument, in whole nanoseconds since the start of the run. Nothing here knows what carries an
order or where a report came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .events import (
    AttemptCompleted,
    AttemptEnded,
    AttemptFailed,
    AttemptStarted,
    Event,
    TaskFailed,
    WorkerJoined,
    WorkerLost,
)
from .graph import TaskGraph, WorkerTable
from .model import Reason, TaskStatus
from .plan import CODE_OF_REASON, REASON_OF_CODE, STATUS_OF_STATE, Plan
from .planner import describe_misfit, make_core

__all__ = ["Snapshot", "State"]


@dataclass(frozen=True)
class Snapshot:
    """How many tasks stand where."""

    pending: int
    running: int
    completed: int
    failed: int


class State:
    """A graph on its workers, under a clock that somebody else reads.

    A worker takes no task before it has joined.
    """

    def __init__(self, graph: TaskGraph, table: WorkerTable, *, rank: str, fit: str, max_retries: int) -> None:
        self.graph = graph
        self.table = table
        self._core = make_core(graph, table, rank=rank, fit=fit, max_retries=max_retries)
        self._task = dict(zip(graph.ids, range(len(graph))))
        self._worker = dict(zip(table.ids, range(len(table))))
        self._told = 0  # failures for good that have been told

    def open(self, now: int) -> list[Event]:
        """Fail what no worker could ever hold, and wait for the workers to join."""
        self._core.fail_unsatisfiable(now)
        for worker in range(len(self.table)):
            self._core.remove_worker(worker, now, True)
        return self._tell_failed(now)

    @property
    def done(self) -> bool:
        """Whether every task has come to its end."""
        return self._core.n_left == 0

    @property
    def n_running(self) -> int:
        """Open attempts."""
        return self._core.n_running

    def absorb(self, fact: AttemptEnded | WorkerLost | WorkerJoined, now: int) -> list[Event]:
        """Book a fact. Answers what it means, in the order in which it is to be told; nothing for a stale report."""
        if isinstance(fact, AttemptEnded):
            return self._absorb_ended(fact, now)
        worker = self._worker[fact.worker_id]
        if isinstance(fact, WorkerJoined):
            self._core.add_worker(worker, now)
            return [WorkerJoined(fact.worker_id, now)]
        events: list[Event] = [WorkerLost(fact.worker_id, fact.message, now, fact.will_return)]
        for task in self._core.remove_worker(worker, now, fact.will_return):
            events.append(
                AttemptFailed(
                    self.graph.ids[task],
                    fact.worker_id,
                    int(self._core.columns()["attempt"][task]),
                    now,
                    Reason.WORKER_LOST,
                    self._is_pending(task),
                    message=fact.message,
                )
            )
        return events + self._tell_failed(now)

    def decide(self, now: int) -> list[AttemptStarted]:
        """Make every choice that can be made now, and book it."""
        ids, worker_ids = self.graph.ids, self.table.ids
        return [
            AttemptStarted(ids[task], worker_ids[worker], attempt, now)
            for task, worker, attempt in self._core.assign(now)
        ]

    def fail_unsatisfiable(self, now: int) -> list[Event]:
        """Fail what none of the workers that are left could ever hold."""
        self._core.fail_unsatisfiable(now)
        return self._tell_failed(now)

    def cancel_all(self, now: int) -> list[Event]:
        """End every task that has not come to its end, running ones included."""
        columns = self._core.columns()
        events: list[Event] = []
        for task in np.nonzero(columns["state"] == 2)[0].tolist():
            self._core.cancel(task, now)
            events.append(
                AttemptFailed(
                    self.graph.ids[task],
                    self.table.ids[columns["worker"][task]],
                    int(columns["attempt"][task]),
                    now,
                    Reason.CANCELLED,
                    False,
                    message="the run was interrupted",
                )
            )
        for task in range(len(self.graph)):
            self._core.cancel(task, now)
        return events + self._tell_failed(now)

    def snapshot(self) -> Snapshot:
        """How many tasks stand where, now."""
        counts = dict.fromkeys(TaskStatus, 0)
        for state, count in enumerate(np.bincount(self._core.columns()["state"], minlength=len(STATUS_OF_STATE))):
            counts[STATUS_OF_STATE[state]] += int(count)
        return Snapshot(*(counts[status] for status in TaskStatus))

    def plan(self) -> Plan:
        """What happened so far, as numbers."""
        return Plan(self.graph, self.table.capacity, self._core.columns(), self._core.log())

    def check(self) -> None:
        """Recount every invariant of the core. Raises InternalError."""
        self._core.check()

    def _absorb_ended(self, fact: AttemptEnded, now: int) -> list[Event]:
        task = self._task[fact.task_id]
        if fact.reason is None:
            if not self._core.finished(task, fact.attempt, now):
                return []
            return [AttemptCompleted(fact.task_id, fact.worker_id, fact.attempt, now, fact.usage)]
        if not self._core.failed(task, fact.attempt, now, CODE_OF_REASON[fact.reason]):
            return []
        failed = AttemptFailed(
            fact.task_id,
            fact.worker_id,
            fact.attempt,
            now,
            fact.reason,
            self._is_pending(task),
            fact.exit_code,
            fact.signal,
            fact.message,
            fact.usage,
        )
        return [failed, *self._tell_failed(now)]

    def _is_pending(self, task: int) -> bool:
        return STATUS_OF_STATE[self._core.columns()["state"][task]] is TaskStatus.PENDING

    def _tell_failed(self, now: int) -> list[Event]:
        """A `TaskFailed` for every task that failed for good since the last call."""
        tasks: Sequence[int] = self._core.failed_since(self._told)
        self._told += len(tasks)
        if not tasks:
            return []
        columns = self._core.columns()
        events: list[Event] = []
        for task in tasks:
            reason = REASON_OF_CODE[columns["reason"][task]]
            assert reason is not None
            cause = int(columns["cause"][task])
            message = describe_misfit(self.graph, self.table, task) if reason is Reason.UNSATISFIABLE else ""
            events.append(
                TaskFailed(self.graph.ids[task], now, reason, self.graph.ids[cause] if cause >= 0 else None, message)
            )
        return events
