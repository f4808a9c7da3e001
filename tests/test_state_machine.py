"""The same ghost under Hypothesis, which looks for the shortest history that goes wrong."""

from __future__ import annotations

import pytest

hypothesis = pytest.importorskip("hypothesis")

from hypothesis import settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule  # noqa: E402
from simulation.history import History  # noqa: E402

from fastsched import Reason  # noqa: E402
from fastsched.events import (  # noqa: E402
    AttemptEnded,
    TaskCancelled,
    WorkerDraining,
    WorkerJoined,
    WorkerLeft,
    WorkerLost,
)


class Machine(RuleBasedStateMachine):
    """Rules are facts; what they bring is judged by the ghost."""

    @initialize(seed=st.integers(0, 10_000))
    def begin(self, seed):
        self.history = History(seed)

    def pick(self, data, among):
        return data.draw(st.sampled_from(sorted(among)))

    @rule()
    def decide(self):
        self.history.decide()

    @rule(ns=st.sampled_from([1, 10**9, 5 * 10**9, 10**11]))
    def time_passes(self, ns):
        self.history.now += ns

    @precondition(lambda self: self.history.flying)
    @rule(data=st.data(), reason=st.sampled_from([None, None, Reason.EXIT, Reason.OUT_OF_MEMORY, Reason.SPAWN]),
          twice=st.booleans())  # fmt: skip
    def attempt_ends(self, data, reason, twice):
        at = data.draw(st.integers(0, len(self.history.flying) - 1))
        start = self.history.flying.pop(at)
        task = self.history.ghost.tasks[start.task_id]
        mine = bool(task.open) and task.attempts == start.attempt
        incarnation = task.open[1] if mine else self.history.ghost.workers[start.worker_id].incarnation - 1
        report = AttemptEnded(start.task_id, start.worker_id, start.attempt, reason, incarnation=incarnation)
        for _ in range(1 + twice):
            self.history.arrive(report)

    @rule()
    def submit(self):
        if len(self.history.ghost.tasks) < 30:
            self.history.submit()

    @rule(data=st.data())
    def cancel(self, data):
        self.history.absorb(TaskCancelled(self.pick(data, self.history.ghost.tasks), self.history.now))

    @rule(data=st.data(), what=st.sampled_from(["join", "lose", "lose and return", "leave", "drain"]))
    def something_happens_to_a_worker(self, data, what):
        worker_id = self.pick(data, self.history.ghost.workers)
        worker, now = self.history.ghost.workers[worker_id], self.history.now
        if what == "join" and (not worker.live or worker.draining):
            self.history.absorb(WorkerJoined(worker_id, now))
        elif what.startswith("lose") and (worker.live or worker.expected):
            self.history.absorb(WorkerLost(worker_id, "silent", now, what == "lose and return"))
        elif what == "leave" and (worker.live or worker.expected):
            self.history.absorb(WorkerLeft(worker_id, now))
        elif what == "drain" and worker.live:
            self.history.absorb(WorkerDraining(worker_id, now))
            if not self.history.ghost.running_on(worker_id):
                worker.live = worker.draining = False

    @rule()
    def resize(self):
        self.history.resize()

    @invariant()
    def the_words_are_the_ghosts(self):
        if hasattr(self, "history"):
            self.history.compare()

    def teardown(self):
        if hasattr(self, "history"):
            self.history.finish()
            self.history.replay()


Machine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None, derandomize=True)
TestMachine = Machine.TestCase
