"""What can be seen of a run, as plain data: of one that lives, by its loop, and of one that is over, by its journal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import JournalError
from ..graph import CompiledGraph, WorkerTable
from ..model import TaskStatus
from ..plan import Run
from ..state import State
from .journal import Damage, read_journal
from .ledger import Ledger
from .record import RunOpened, SchedulerOpened, Turn, decode_records

__all__ = ["PastRun", "View"]


class View:
    """Pure reads of a ledger; of that of a live run to be called in the thread of its loop."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self.ledger, self.name = ledger, name

    def overview(self, course: str = "interrupted", now: int | None = None) -> dict[str, Any]:
        """Where the run as a whole stands. `course`: what it is at, where it has not ended; `now`: its time, ns."""
        state = self.ledger.state
        snapshot = state.snapshot()
        return {
            "name": self.name,
            "state": "ended" if state.done else course,
            "seconds": (state.now if now is None else now) / 1e9,
            "counts": {status.value: getattr(snapshot, status.value.lower()) for status in TaskStatus},
            "attempts": len(self.ledger.attempts),
        }

    def tasks(self, task_ids: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Where each of these tasks stands; None: all. Raises KeyError."""
        state = self.ledger.state
        chosen = state.ids if task_ids is None else task_ids
        return [self._task(task_id) for task_id in chosen]

    def explain(self, task_id: str) -> dict[str, Any]:
        """Why a task stands where it does. Raises KeyError."""
        return asdict(self.ledger.state.explain(task_id))

    def attempts(self, task_id: str) -> list[dict[str, Any]]:
        """The attempts of a task that have ended, and the one that is open. Raises KeyError."""
        state, log = self.ledger.state, self.ledger.attempts
        task = state.index_of(task_id)
        rows = [attempt._asdict() for attempt in log.of_task(task)]
        if state.status(task_id) is TaskStatus.RUNNING:
            attempt, worker_id = state.open_attempt(task)
            stdout, stderr = log.files_of(task, attempt)
            rows.append(
                {"task_id": task_id, "worker_id": worker_id, "attempt": attempt, "stdout": stdout, "stderr": stderr}
            )
        return rows

    def workers(self) -> list[dict[str, Any]]:
        """Every worker that there is or was, and what it runs."""
        state = self.ledger.state
        running: dict[str, list[str]] = {}
        for task_id, status in state.statuses().items():
            if status is TaskStatus.RUNNING:
                running.setdefault(state.open_attempt(state.index_of(task_id))[1], []).append(task_id)
        return [
            {
                "worker_id": worker.worker_id,
                "state": state.presence(worker.worker_id),
                "cpu_cores_available": worker.cpu_cores_available,
                "memory_available_mb": worker.memory_available_mb,
                "resources": worker.resources,
                "times_joined": state.incarnation(worker.worker_id),
                "running": running.get(worker.worker_id, []),
            }
            for worker in state.workers
        ]

    def _task(self, task_id: str) -> dict[str, Any]:
        state = self.ledger.state
        explained = state.explain(task_id)
        last = self.ledger.attempts.last_of(state.index_of(task_id))
        message = self.ledger.messages.get(task_id) or (last.message if last else "")
        return {
            "task_id": task_id,
            "status": explained.status,
            "attempts": explained.attempt,
            "worker_id": explained.worker_id,
            "reason": explained.reason,
            "cause_id": explained.cause_id,
            "message": message if explained.status is TaskStatus.FAILED else "",
        }


class PastRun:
    """A run that nobody schedules at the moment, read from its journal.

    Attributes:
        opened: what it was given. now: when anything was last known of it, ns. view: what can be seen of it.
        damage: what is wrong with the journal.
    """

    def __init__(self, folder: Path) -> None:
        """Read it. Raises FileNotFoundError, JournalLocked, JournalError."""
        bodies, damage = read_journal(folder)
        records = decode_records(bodies)
        opened = next(records, None)
        if not isinstance(opened, RunOpened):
            raise JournalError(f"the journal in {folder} has no beginning{f': {damage}' if damage else ''}")
        self.folder, self.opened = folder, opened
        self.damage: Damage | None = damage
        graph = CompiledGraph(opened.tasks)
        state = State(
            graph,
            WorkerTable(opened.workers, graph.resources),
            rank=opened.rank,
            fit=opened.fit,
            max_retries=opened.max_retries,
            policy=opened.policy,
        )
        self.ledger = Ledger(state, None if opened.logs is None else Path(opened.logs))
        self.began, self.now = 0.0, 0
        for record in records:
            if isinstance(record, Turn):
                self.ledger.replay(record)
                self.now = record.now
            elif isinstance(record, SchedulerOpened) and not self.began:
                self.began = record.wall_time
        self.view = View(self.ledger, opened.name)

    def result(self) -> Run:
        """What `run()` would have answered."""
        state = self.ledger.state
        return Run(state.ids, state.worker_ids, state.plan(), self.ledger.attempts, str(self.folder), not state.done)
