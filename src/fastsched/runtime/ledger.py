"""The account of a run: its state, and what a person wants to know besides. It is told facts, lived or replayed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

from ..attempts import AttemptLog
from ..events import (
    AttemptCompleted,
    AttemptFailed,
    AttemptStarted,
    Event,
    TaskFailed,
    WorkerExpected,
    WorkerLost,
)
from ..explain import Explanation
from ..model import Reason, TaskStatus
from ..state import State
from .record import Turn

__all__ = ["Ledger"]

NS = 1_000_000_000


class Ledger:
    """A state, and an account of what happened.

    Attributes:
        attempts: every attempt that has ended. messages: why tasks failed for good, where more is to be said than of
            their attempts. n_fails: how many tasks failed by themselves. logs: the folder of outputs, or None.
        away: workers that were lost, and did not come up again.
    """

    def __init__(self, state: State, logs: PurePath | None) -> None:
        self.state, self.logs = state, logs
        self.attempts = AttemptLog(state.ids, state.worker_ids, logs)
        self.messages: dict[str, str] = {}
        self.n_fails = 0
        self.away: list[str] = []
        self._started_ns: dict[int, int] = {}  # of each open attempt, by task
        self._measured_s = [0.0, 0.0]  # what completed tasks took: those whose duration was given, and the others
        self._given_s, self._n_unknown = 0.0, 0  # what was expected of the former, and how many are the latter

    def note(self, event: Event) -> None:
        """Account for an event."""
        if isinstance(event, AttemptStarted):
            self._started_ns[self.state.index_of(event.task_id)] = event.at_ns
        elif isinstance(event, (AttemptCompleted, AttemptFailed)):
            task = self.state.index_of(event.task_id)
            started = self._started_ns.pop(task)
            self.attempts.add(task, self.state.worker_index(event.worker_id), started, event)
            if isinstance(event, AttemptCompleted):
                given = self.state.expected_ns(task)
                self._measured_s[given is None] += (event.at_ns - started) / NS
                self._given_s += (given or 0) / NS
                self._n_unknown += given is None
        elif isinstance(event, TaskFailed):
            if event.message:
                self.messages[event.task_id] = event.message
            self.n_fails += event.reason not in (Reason.DEPENDENCY, Reason.CANCELLED)
        elif isinstance(event, WorkerLost) and not event.will_return:
            self.away.append(event.worker_id)
        elif isinstance(event, WorkerExpected) and event.worker.worker_id in self.away:
            self.away.remove(event.worker.worker_id)

    def explain(self, task_id: str) -> Explanation:
        """Why a task stands where it does, with the last words on its last failure. Raises KeyError."""
        explained = self.state.explain(task_id)
        last = self.attempts.last_of(self.state.index_of(task_id))
        first = last.message.partition("\n")[0] if last else ""  # behind it are the command's last lines
        if explained.status is TaskStatus.FAILED and explained.reason not in (Reason.DEPENDENCY, Reason.CANCELLED):
            why = self.messages.get(task_id) or first
            return replace(explained, text=f"{explained.text}: {why}") if why else explained
        if explained.status is TaskStatus.PENDING and first and last is not None:
            return replace(explained, text=f"{explained.text} (attempt {last.attempt} failed: {first})")
        return explained

    def started_ns(self, task: int) -> int:
        """When the open attempt of a task began."""
        return self._started_ns[task]

    def pace(self) -> tuple[float, float | None]:
        """How long completed tasks took: times what was expected of them; and those of which nothing was, on average.

        The first is 1 while nothing is known; the second is that of all tasks, or None.
        """
        factor = self._measured_s[0] / self._given_s if self._given_s else 1.0
        if self._n_unknown:
            return factor, self._measured_s[1] / self._n_unknown
        n_completed = len(self.attempts) if self._given_s else 0
        return factor, self._measured_s[0] / n_completed if n_completed else None

    def replay(self, turn: Turn) -> list[Event]:
        """Book what a turn booked; answers what it told."""
        told: list[Event] = []
        for fact in turn.facts:
            events = self.state.absorb(fact, turn.now)
            if isinstance(fact, AttemptStarted):
                events.insert(0, fact)  # a choice is an event to those who were told; to a replay it is a fact
            for event in events:
                self.note(event)
            told += events
        return told
