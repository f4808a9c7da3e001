"""What can be seen of a run, as plain data: of one that lives, by its loop, and of one that is over, by its journal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import JournalError
from ..events import PlanAdopted
from ..graph import CompiledGraph, WorkerTable
from ..guide import Route
from ..model import TaskStatus
from ..plan import NS, Placement, Run
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
            "plan": self._plan(),
        }

    def _plan(self) -> dict[str, Any] | None:
        """The plan that is followed: when all is over by it, how often the rest was planned anew; None: none is."""
        followed = self.ledger.state.followed
        return None if followed is None else {"ends": followed.ends_ns / 1e9, "planned_anew": followed.n_anew}

    def tasks(self, task_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Where each of these tasks stands. Raises KeyError."""
        state = self.ledger.state
        return self._rows([state.index_of(task_id) for task_id in task_ids])

    def page(self, first: int, most: int, of_interest: bool = False) -> dict[str, Any]:
        """So many tasks at most from this one on: their `rows`, and where to go on, `next`; None: there are no more.

        of_interest: only those that run or have failed by themselves; `left` is how many more of them there are, and
        `behind` how many have failed because these did.
        """
        n_tasks = len(self.ledger.state.ids)
        if not of_interest:
            end = min(first + most, n_tasks)
            return {"rows": self._rows(range(first, end)), "next": end if end < n_tasks else None}
        chosen = self.ledger.state.of_interest()
        rows, n_left = self._rows(chosen[first : first + most]), max(0, len(chosen) - first - most)
        return {"rows": rows, "next": None, "left": n_left, "behind": self.ledger.state.n_skipped()}

    def explain(self, task_id: str) -> dict[str, Any]:
        """Why a task stands where it does. Raises KeyError."""
        return asdict(self.ledger.explain(task_id))

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

    def _rows(self, tasks: Sequence[int]) -> list[dict[str, Any]]:
        """Where these tasks stand, a few microseconds each: a scheduler that answers is heard by nobody else."""
        state, ledger, rows = self.ledger.state, self.ledger, []
        for task, stand in zip(tasks, state.stands(tasks)):
            message = ""
            if stand["status"] is TaskStatus.FAILED:
                last = ledger.attempts.last_of(task)
                message = ledger.messages.get(stand["task_id"]) or (last.message if last else "")
            rows.append({**stand, "message": message})
        return rows


class PastRun:
    """A run that nobody schedules at the moment, read from its journal.

    Attributes:
        opened: what it was given. now: when anything was last known of it, ns. view: what can be seen of it.
        adopted: the plans that it followed, in order.
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
        self.ledger = Ledger(state, None if opened.logs is None else folder.absolute() / opened.logs)
        self.began, self.now = 0.0, 0
        self.adopted: list[PlanAdopted] = []
        for record in records:
            if isinstance(record, Turn):
                self.ledger.replay(record)
                self.adopted += [fact for fact in record.facts if isinstance(fact, PlanAdopted)]
                self.now = record.now
            elif isinstance(record, SchedulerOpened) and not self.began:
                self.began = record.wall_time
        self.view = View(self.ledger, opened.name)

    def result(self) -> Run:
        """What `run()` would have answered."""
        state = self.ledger.state
        unfinished = state.unfinished()
        log, folder = self.ledger.attempts, str(self.folder)
        return Run(state.ids, state.worker_ids, state.plan(), log, folder, not state.done, unfinished)

    def given_plan(self) -> list[Placement]:
        """The plan that it was given to follow, in the time of the run; empty: it followed none.

        What was planned anew on the way is left out of it. Of a task that more than one of the plans given has, as
        where somebody resumed it with another one, the last. Where a plan leaves the worker open, its id is empty.
        """
        ids, worker_ids = self.ledger.state.ids, [*self.ledger.state.worker_ids, ""]
        given: dict[int, Placement] = {}
        for fact in self.adopted:
            if fact.behind_ns is None and not fact.is_loosened:
                route = Route.of_fact(fact)
                columns = (route.tasks, route.worker, route.start_ns, route.end_ns)
                for task, worker, start, end in zip(*(column.tolist() for column in columns)):
                    given[task] = Placement(
                        ids[task], worker_ids[worker], 1, start / NS, end / NS, TaskStatus.COMPLETED
                    )
        return list(given.values())
