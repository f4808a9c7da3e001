"""Workers that come and go as an engine says: offered, withdrawn, suspected; over an engine that a test moves."""

from __future__ import annotations

import os
import random
import time

import pytest
from engines import InstantEngine

from fastsched import Policy, Reason, Scheduler, Task, TaskStatus, Worker, run
from fastsched.errors import InternalError
from fastsched.events import (
    AttemptCompleted,
    AttemptEnded,
    AttemptFailed,
    AttemptStarted,
    TaskFailed,
    TaskUnsatisfiable,
    WorkerHeard,
    WorkerJoined,
    WorkerLeft,
    WorkerLost,
    WorkerOffered,
    WorkerResized,
    WorkerSuspected,
    WorkerWithdrawn,
)
from fastsched.graph import WorkerTable
from fastsched.planner import TaskGraph
from fastsched.runtime.journal import Journal, read_journal
from fastsched.runtime.loop import Loop, Rhythm
from fastsched.runtime.record import RunOpened, Turn, decode_records
from fastsched.runtime.requests import Submission
from fastsched.state import State

S = 1_000_000_000
W1, W2 = Worker("w1", 1, 1024), Worker("w2", 1, 1024)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="skipped: a run needs POSIX")


class Stage:
    """An engine and the loop over it. Each turn it reports what a test says, and the clock moves as far."""

    holds = False
    offers = True

    def __init__(self, tasks, *workers, settled=False, policy=None, walltime_s=None):
        self.now_ns = 0
        self.reports = []
        self.sent, self.brought_up, self.given_up = [], [], []
        self.told = []
        self.bodies = []
        self.n_written = self.n_synced = 0
        self.tasks, self.policy = tasks, policy
        self.state = self.make_state()
        self.loop = Loop(
            self.state,
            self,
            lambda: self.now_ns,
            tell=self.told.extend,
            rhythm=Rhythm(1.0, 10.0, 2.0),
            run_id="r",
            journal=self,
            walltime_s=walltime_s,
        )
        self.loop._set_deadline(0)
        for worker in workers:
            self.loop.add_worker(worker, 0)
        if settled:
            self.loop.settle(0)

    def make_state(self):
        graph = TaskGraph(self.tasks)
        table = WorkerTable([], graph.resources)
        return State(graph, table, rank="fifo", fit="first-fit", max_retries=0, policy=self.policy)

    # the engine

    def bring_up(self, worker, incarnation):
        self.brought_up.append((worker, incarnation))

    def send(self, orders):
        self.sent += [(order.task_id, order.worker_id, order.attempt) for order in orders]

    def lose(self, worker_id, message):
        self.given_up.append(worker_id)

    def wait_reports(self, timeout_s):
        reports, self.reports = self.reports, []
        return reports

    def wake(self):
        pass

    # the journal

    def append_all(self, bodies):
        self.bodies += bodies
        self.n_written = self.n_synced = len(self.bodies)

    def sync(self):
        pass

    # the test

    def turn(self, *reports, seconds=0.0):
        """One turn in which this is reported; answers what was sent in it."""
        self.now_ns += int(seconds * S)
        self.reports += reports
        n_sent = len(self.sent)
        self.loop.turn()
        self.state.check()
        return self.sent[n_sent:]

    def replayed(self):
        """The state that the journal makes."""
        state = self.make_state()
        for record in decode_records(self.bodies):
            assert isinstance(record, Turn)
            for fact in record.facts:
                state.absorb(fact, record.now)
        state.advance(self.state.now)
        return state

    def of(self, *kinds):
        return [event for event in self.told if isinstance(event, kinds)]


@pytest.fixture
def make_stage():
    """Makes stages; in the end the journal of each, played again, is its state."""
    made = []

    def make(*args, **options):
        made.append(Stage(*args, **options))
        return made[-1]

    yield make
    for stage in made:
        stage.state.check()
        again = stage.replayed()
        again.check()
        assert again.digest() == stage.state.digest(), "a replay of its journal makes another state"


def up(worker_id, incarnation=1):
    return WorkerHeard(worker_id, True, incarnation)


def ok(task_id, worker_id, attempt=1, incarnation=1):
    return AttemptEnded(task_id, worker_id, attempt, None, 0, incarnation=incarnation)


def suspected(worker_id, incarnation=1):
    return WorkerSuspected(worker_id, incarnation=incarnation)


def lost(worker_id, incarnation=1):
    return WorkerLost(worker_id, "gone", incarnation=incarnation)


def withdrawn(worker_id, incarnation=1):
    return WorkerWithdrawn(worker_id, "its node was taken away", incarnation)


def tasks(n, **more):
    return [Task(f"t{i}", "x", **more) for i in range(n)]


# ---------------------------------------------------------------- offered


def test_a_worker_that_is_offered_joins_and_gets_tasks(make_stage):
    stage = make_stage(tasks(2), W1)
    assert stage.turn(up("w1")) == [("t0", "w1", 1)]
    assert stage.turn(WorkerOffered(W2)) == [] and stage.brought_up[-1] == (W2, 1)
    assert stage.turn(up("w2")) == [("t1", "w2", 1)]
    stage.turn(ok("t0", "w1"), ok("t1", "w2"))
    assert stage.state.done and [e.worker_id for e in stage.of(WorkerJoined)] == ["w1", "w2"]


def test_a_run_may_begin_with_no_worker_at_all(make_stage):
    stage = make_stage(tasks(1))
    stage.turn(seconds=100)
    assert not stage.of(TaskFailed)
    stage.turn(WorkerOffered(W1))
    assert stage.turn(up("w1")) == [("t0", "w1", 1)]


def test_an_offer_of_one_that_is_there_changes_nothing(make_stage):
    stage = make_stage(tasks(1), W1)
    stage.turn(WorkerOffered(W1))
    stage.turn(up("w1"))
    stage.turn(WorkerOffered(W1), WorkerOffered(Worker("w1", 8, 8)))
    assert len(stage.brought_up) == 1 and stage.state.workers == [W1]


def test_an_offer_brings_up_at_once_who_waits_for_his_restart_and_with_what_he_has_now(make_stage):
    stage = make_stage([Task("a", "x", (), 1), Task("b", "x", (), 4)], W1)
    stage.turn(up("w1"))
    for incarnation in (1, 2, 3):  # each time it is waited longer
        stage.turn(lost("w1", incarnation), seconds=1)
        if incarnation < 3:
            stage.turn(seconds=100)
            stage.turn(up("w1", incarnation + 1))
    n = len(stage.brought_up)
    stage.turn(seconds=0.01)
    assert len(stage.brought_up) == n, "it waits"
    larger = Worker("w1", 4, 2048)
    stage.turn(WorkerOffered(larger))
    assert stage.brought_up[n:] == [(larger, 4)]
    assert ("b", "w1", 1) in stage.turn(up("w1", 4)) or stage.turn(ok("a", "w1", 4, 4)) == [("b", "w1", 1)]
    assert [event.worker for event in stage.of(WorkerResized)] == [larger]
    stage.turn(seconds=200)
    assert len(stage.brought_up) == n + 1, "and not once more when its time comes"


# ---------------------------------------------------------------- withdrawn


def test_one_that_is_withdrawn_leaves_at_once_and_what_it_ran_is_tried_elsewhere_at_no_charge(make_stage):
    stage = make_stage([Task("a", "x", max_retries=0)], W1, W2)
    assert stage.turn(up("w1"), up("w2")) == [("a", "w1", 1)]
    for turn in range(5):  # more than `max_losses`
        here, other = ("w1", "w2") if turn % 2 == 0 else ("w2", "w1")
        incarnation = turn // 2 + 1
        assert stage.turn(withdrawn(here, incarnation)) == [("a", other, turn + 2)]
        assert [w.worker_id for w in stage.loop.workers()] == [other]
        stage.turn(WorkerOffered(W1 if here == "w1" else W2))
        stage.turn(up(here, incarnation + 1))
    failed = stage.of(AttemptFailed)
    assert {(e.reason, e.will_retry, e.message) for e in failed} == {
        (Reason.WORKER_LOST, True, "its node was taken away")
    }
    assert len(failed) == 5 and not stage.of(WorkerLost) and not stage.given_up


def test_one_that_is_withdrawn_is_not_brought_up_again_unless_it_is_offered(make_stage):
    stage = make_stage(tasks(1), W1)
    stage.turn(up("w1"))
    stage.turn(withdrawn("w1"))
    stage.turn(seconds=1000)
    assert len(stage.brought_up) == 1
    stage.turn(WorkerOffered(Worker("w1", 2, 512)))
    assert stage.brought_up[1:] == [(Worker("w1", 2, 512), 2)]
    assert stage.turn(up("w1", 2)) == [("t0", "w1", 2)] or stage.state.workers[0].memory_available_mb == 512


def test_one_that_is_withdrawn_while_it_comes_up_has_gone(make_stage):
    stage = make_stage(tasks(1), W1, W2)
    stage.turn(withdrawn("w1"))
    assert stage.turn(up("w1"), up("w2")) == [("t0", "w2", 1)]
    stage.turn(seconds=39)
    assert "w1" not in stage.given_up


def test_a_stale_withdrawal_or_suspicion_is_dropped(make_stage):
    stage = make_stage(tasks(2), W1)
    stage.turn(up("w1"))
    stage.turn(lost("w1"))
    stage.turn(seconds=1)
    stage.turn(up("w1", 2))
    stage.turn(withdrawn("w1", 1), suspected("w1", 1), lost("w1", 1), withdrawn("nobody"), suspected("nobody"))
    assert stage.state.is_live("w1") and not stage.state.draining()


def test_what_ended_when_a_worker_was_withdrawn_counts(make_stage):
    stage = make_stage(tasks(1), W1)
    stage.turn(up("w1"))
    stage.turn(ok("t0", "w1"), withdrawn("w1"), ok("t0", "w1"))
    assert stage.state.done and not stage.of(AttemptFailed)


# ---------------------------------------------------------------- suspected


def test_a_suspected_worker_is_given_nothing_more_and_what_it_ran_is_retried_only_when_it_is_lost(make_stage):
    stage = make_stage(tasks(3), Worker("w1", 2, 1024), W2)
    assert stage.turn(up("w1"), up("w2")) == [("t0", "w1", 1), ("t1", "w1", 1), ("t2", "w2", 1)]
    stage.turn(suspected("w1"))
    assert stage.turn(ok("t0", "w1"), ok("t2", "w2"), seconds=1) == [], "one may still run on it"
    assert stage.turn(lost("w1"), seconds=1) == [("t1", "w2", 2)]
    assert [e.task_id for e in stage.of(AttemptFailed)] == ["t1"] and not stage.given_up
    assert stage.turn(seconds=1) == [] and stage.brought_up[-1][1] == 2
    stage.turn(up("w1", 2), ok("t1", "w2", 2))
    assert stage.state.done


def test_a_suspected_worker_that_runs_nothing_is_given_nothing(make_stage):
    stage = make_stage([Task("a", "x")], W1, W2)
    stage.turn(up("w1"))
    stage.turn(ok("a", "w1"))
    stage.turn(suspected("w1"))
    stage.loop.request(Submission([Task("b", "x")], [None]))
    assert stage.turn() == [], "it is as good as lost"
    assert stage.turn(up("w2")) == [("b", "w2", 1)]
    stage.turn(lost("w1"))
    assert not stage.of(AttemptFailed)


def test_one_that_is_suspected_with_tasks_waiting_for_it_takes_none_of_them_that_turn(make_stage):
    stage = make_stage(tasks(1), W1)
    assert stage.turn(up("w1"), suspected("w1")) == []
    stage.turn(lost("w1"))
    assert not stage.of(AttemptStarted), "there was nothing to be started on"
    stage.turn(seconds=1)
    assert stage.turn(up("w1", 2)) == [("t0", "w1", 1)]


@pytest.mark.parametrize("how", ["restarted", "offered"])
@pytest.mark.parametrize("settled", [False, True])
def test_a_suspected_worker_whose_attempts_all_end_before_its_loss_comes_back(make_stage, how, settled):
    stage = make_stage(tasks(2), W1, settled=settled)
    stage.turn(up("w1"))
    stage.turn(suspected("w1"))
    assert stage.turn(ok("t0", "w1")) == []
    assert [type(e) for e in stage.of(WorkerSuspected, WorkerLeft)] == [WorkerSuspected], "it is waited for"
    assert stage.turn(seconds=5) == [] and not stage.given_up and not stage.of(TaskFailed)
    stage.turn(lost("w1"))
    if how == "offered":
        stage.turn(WorkerOffered(W1))
    else:
        stage.turn(seconds=1)
    assert stage.brought_up[1:] == [(W1, 2)]
    assert stage.turn(up("w1", 2)) == [("t1", "w1", 1)]
    stage.turn(ok("t1", "w1", 1, 2))
    assert stage.state.done and not stage.of(TaskFailed, AttemptFailed)


def test_a_suspected_worker_may_be_withdrawn_in_the_end(make_stage):
    stage = make_stage(tasks(3), Worker("w1", 2, 1024), W2)
    stage.turn(up("w1"), up("w2"))
    stage.turn(suspected("w1"))
    stage.turn(ok("t0", "w1"))
    assert stage.turn(withdrawn("w1"), ok("t2", "w2")) == [("t1", "w2", 2)]
    stage.turn(seconds=100)
    assert [w.worker_id for w in stage.loop.workers()] == ["w2"] and len(stage.brought_up) == 2


def test_one_that_has_left_as_empty_while_it_was_suspected_may_be_withdrawn_and_offered(make_stage):
    stage = make_stage(tasks(2), W1)
    stage.turn(up("w1"))
    stage.turn(suspected("w1"))
    stage.turn(ok("t0", "w1"))
    stage.turn(withdrawn("w1"))
    stage.turn(WorkerOffered(W1))
    assert stage.brought_up[1:] == [(W1, 2)] and stage.turn(up("w1", 2)) == [("t1", "w1", 1)]


def test_what_only_a_suspected_worker_could_hold_waits_for_it_though_another_leaves(make_stage):
    """No other workers will come, but this one will."""
    stage = make_stage([Task("a", "x", (), 4), Task("b", "x", (), 4)], Worker("w1", 4, 1024), W2, settled=True)
    assert stage.turn(up("w1"), up("w2")) == [("a", "w1", 1)]
    stage.turn(suspected("w1"))
    stage.turn(ok("a", "w1"))
    stage.turn(withdrawn("w2"))
    assert not stage.of(TaskFailed), "the worker that could hold it comes back"
    stage.turn(lost("w1"))
    stage.turn(seconds=1)
    assert stage.turn(up("w1", 2)) == [("b", "w1", 1)]


def test_nothing_is_said_to_be_unsatisfiable_because_its_worker_is_suspected(make_stage):
    stage = make_stage([], Worker("w1", 4, 1024), W2)
    stage.turn(up("w1"), up("w2"))
    wide = [Task("a", "x", (), 4), Task("b", "x", (), 4)]
    stage.loop.request(Submission(wide, wide))
    stage.turn()
    stage.turn(suspected("w1"))
    stage.turn(ok("a", "w1"))
    assert stage.sent == [("a", "w1", 1)] and not stage.of(TaskUnsatisfiable)


def test_a_worker_that_is_drained_and_then_suspected_does_not_come_back(make_stage):
    stage = make_stage(tasks(2), W1, W2)
    stage.turn(up("w1"), up("w2"))
    stage.loop.drain_worker("w1", stage.loop.now())
    stage.turn(suspected("w1"))
    stage.turn(lost("w1"), ok("t1", "w2"))
    stage.turn(seconds=100)
    assert len(stage.brought_up) == 2 and [w.worker_id for w in stage.loop.workers()] == ["w2"]


def test_a_suspected_worker_that_is_removed_goes(make_stage):
    stage = make_stage(tasks(2), W1, W2)
    stage.turn(up("w1"), up("w2"))
    stage.turn(suspected("w1"))
    stage.loop.remove_worker("w1", stage.loop.now())
    assert stage.turn(lost("w1"), ok("t1", "w2")) == [("t0", "w2", 2)]
    stage.turn(seconds=100)
    assert len(stage.brought_up) == 2


def test_one_that_left_as_empty_while_it_was_suspected_can_be_drained_and_removed(make_stage):
    for leave in ("drain_worker", "remove_worker"):
        stage = make_stage(tasks(2), W1, W2)
        stage.turn(up("w1"), up("w2"))
        stage.turn(suspected("w1"))
        stage.turn(ok("t0", "w1"))
        getattr(stage.loop, leave)("w1", stage.loop.now())
        stage.turn(lost("w1"))
        stage.turn(seconds=100)
        assert len(stage.brought_up) == 2, "it was told to go"


def test_a_worker_that_was_suspected_and_has_come_back_is_drained_as_any(make_stage):
    stage = make_stage(tasks(3), W1, W2)
    stage.turn(up("w1"), up("w2"))
    stage.turn(suspected("w1"))
    stage.turn(lost("w1"))
    stage.turn(seconds=1)
    assert stage.turn(up("w1", 2)) == [("t0", "w1", 2)]
    stage.loop.drain_worker("w1", stage.loop.now())
    assert stage.turn(ok("t0", "w1", 2, 2)) == [] and stage.given_up == ["w1"], "it is empty, and may go"


def test_losses_after_a_suspicion_are_counted_as_ever(make_stage):
    """A worker of which nothing comes is brought up later each time."""
    stage = make_stage(tasks(1), W1, policy=Policy(max_losses=100))
    waits = []
    for incarnation in range(1, 5):
        stage.turn(up("w1", incarnation))
        stage.turn(suspected("w1", incarnation))
        stage.turn(lost("w1", incarnation))
        before = stage.now_ns
        for _ in range(10_000):
            if len(stage.brought_up) > incarnation:
                break
            stage.turn(seconds=0.01)
        waits.append(round((stage.now_ns - before) / S, 1))
    assert waits == [0.0, 0.5, 1.0, 2.0]


@pytest.mark.parametrize("seed", range(30))
def test_whatever_an_engine_says_of_its_workers_the_run_ends_and_its_journal_tells_the_same(make_stage, seed):
    """An engine that keeps to the protocol, in any order; at last all workers come and everything completes."""
    rng = random.Random(seed)
    names = [f"w{i}" for i in range(3)]
    workers = {name: Worker(name, rng.randint(1, 3), 1024) for name in names}
    graph = [Task(f"t{i}", "x", [f"t{rng.randrange(i)}"] if i and rng.random() < 0.5 else []) for i in range(25)]
    stage = make_stage(graph, *(workers[name] for name in names[:2]), policy=Policy(max_losses=1000))
    phase = {}  # of each incarnation: coming, up, suspected, gone
    running = {}  # attempts by worker and incarnation
    n_seen = n_sent = 0
    for step in range(2000):
        for worker, incarnation in stage.brought_up[n_seen:]:
            phase[worker.worker_id] = ("coming", incarnation)
            running[worker.worker_id] = []
        n_seen = len(stage.brought_up)
        for task_id, worker_id, attempt in stage.sent[n_sent:]:
            assert phase[worker_id][0] in ("up", "coming"), (task_id, worker_id, phase)
            running[worker_id].append((task_id, attempt))
        n_sent = len(stage.sent)
        if stage.state.done:
            break
        reports = []
        for name in rng.sample(names, 2):
            how, incarnation = phase.get(name, ("away", 0))
            calm = step > 300
            what = rng.random()
            if how == "coming":
                phase[name] = ("up", incarnation)
                reports.append(up(name, incarnation))
            elif how in ("up", "suspected") and running[name] and what < 0.5:
                task_id, attempt = running[name].pop(0)
                reports.append(ok(task_id, name, attempt, incarnation))
            elif how == "up" and what < 0.65 and not calm:
                phase[name] = ("suspected", incarnation)
                reports.append(suspected(name, incarnation))
            elif (how == "up" and what < 0.75 and not calm) or (how == "suspected" and what < 0.8):
                kind = lost if rng.random() < 0.5 else withdrawn
                reports.append(kind(name, incarnation))
                phase[name] = ("away", incarnation)
            elif how == "away" and (what < 0.3 or calm):
                reports.append(WorkerOffered(Worker(name, rng.randint(1, 3), 1024)))
        stage.turn(*reports, seconds=rng.choice((0.0, 0.1, 1.0)))
    assert stage.state.done and set(stage.state.statuses().values()) == {TaskStatus.COMPLETED}
    assert len(stage.of(AttemptCompleted)) == 25


# ---------------------------------------------------------------- programs


class OfferingEngine(InstantEngine):
    """Has workers of its own."""

    offers = True

    def __init__(self, *own, held=()):
        super().__init__(held)
        self.own, self.n_asked = list(own), 0

    def workers(self):
        self.n_asked += 1
        return self.own

    def withdraw(self, worker_id, message="taken away"):
        self.let_go(WorkerWithdrawn(worker_id, message, self._open.pop(worker_id)))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def records_of(folder):
    bodies, damage = read_journal(folder)
    assert damage is None
    return list(decode_records(bodies))


def wait_in(scheduler, condition):
    """Turn the loop until something is so."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        scheduler.snapshot()
        if condition():
            return
    raise AssertionError("it did not come to be")


def test_run_without_workers_uses_those_of_the_engine():
    engine = OfferingEngine(W1, Worker("w2", 2, 1024))
    result = run([Task("a", "x", (), 2), Task("b", "x")], engine=engine, capture=False)
    assert set(result.values()) == {TaskStatus.COMPLETED} and engine.n_asked == 1
    assert {names[:2] for names in engine.sent} >= {("a", "w2")}


def test_run_with_workers_uses_these():
    engine = OfferingEngine(W1)
    result = run([Task("a", "x")], [Worker("mine", 1, 1024)], engine=engine, capture=False)
    assert dict(result) == {"a": TaskStatus.COMPLETED} and engine.sent == [("a", "mine", 1)] and not engine.n_asked


def test_a_scheduler_takes_what_is_offered_and_lets_go_what_is_withdrawn():
    engine = OfferingEngine(W1, held=["a"])
    with Scheduler(engine=engine, capture=False) as scheduler:
        a = scheduler.submit(Task("a", "x", max_retries=0))
        wait_in(scheduler, lambda: engine.sent)
        engine.let_go(WorkerOffered(Worker("w2", 4, 1024)))
        wait_in(scheduler, lambda: len(scheduler.workers()) == 2)
        assert scheduler.submit(Task("b", "x", (), 4)).result(20).worker_id == "w2"
        engine.held.clear()
        engine.withdraw("w1")
        last = a.result(20)
        assert (last.worker_id, last.attempt) == ("w2", 2)
        assert [worker.worker_id for worker in scheduler.workers()] == ["w2"]


def test_a_scheduler_of_an_engine_without_workers_waits_for_some():
    engine = OfferingEngine()
    with Scheduler(engine=engine, capture=False) as scheduler:
        a = scheduler.submit(Task("a", "x"))
        assert not a.done()
        engine.let_go(WorkerOffered(W1))
        assert a.result(20).worker_id == "w1"


def test_a_journal_of_offered_workers_is_taken_up_with_those_that_are_there_then(tmp_path):
    """Twice: one worker is gone, one has another capacity, and one is new; then all are new."""
    engine = OfferingEngine(Worker("w1", 1, 1024), Worker("w2", 1, 1024), held=["a", "b"])
    with Scheduler(engine=engine, journal=tmp_path / "j", capture=False) as scheduler:
        scheduler.submit_all([Task("a", "x"), Task("b", "x"), Task("c", "x", (), 4), Task("d", "x", (), 9)])
        wait_in(scheduler, lambda: len(engine.sent) == 2)
        engine.let_go(WorkerOffered(Worker("w3", 1, 1024)))
        wait_in(scheduler, lambda: len(scheduler.workers()) == 3)
        scheduler.close(wait=False)
    engine = OfferingEngine(Worker("w2", 4, 2048), Worker("w4", 1, 1024))
    with Scheduler(engine=engine, journal=tmp_path / "j") as scheduler:
        assert scheduler.handle("c").result(20).worker_id == "w2"
        assert scheduler.handle("a").result(20).attempt == scheduler.handle("b").result(20).attempt == 2
        there = {worker.worker_id: worker.cpu_cores_available for worker in scheduler.workers()}
        assert there == {"w2": 4, "w4": 1}
        scheduler.close(wait=False)
    engine = OfferingEngine(Worker("w5", 9, 1024))
    with Scheduler(engine=engine, journal=tmp_path / "j") as scheduler:
        assert scheduler.handle("d").result(20).worker_id == "w5"
        assert [worker.worker_id for worker in scheduler.workers()] == ["w5"]
        assert [names[0] for names in engine.sent] == ["d"], "what had completed is not run again"
    (opened,) = [record for record in records_of(tmp_path / "j") if isinstance(record, RunOpened)]
    assert opened.offered


def test_a_run_with_workers_of_its_own_is_taken_up_with_these(tmp_path):
    engine = OfferingEngine(W1, held=["a"])
    with Scheduler([Worker("mine", 1, 1024)], engine=engine, journal=tmp_path / "j", capture=False) as scheduler:
        scheduler.submit(Task("a", "x"))
        wait_in(scheduler, lambda: engine.sent)
        scheduler.close(wait=False)
    engine = OfferingEngine(W1)
    with Scheduler(engine=engine, journal=tmp_path / "j") as scheduler:
        assert scheduler.handle("a").result(20).worker_id == "mine" and not engine.n_asked


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_worker_that_was_suspected_when_the_scheduler_died_is_there_when_its_run_is_taken_up(tmp_path, has_ended):
    """It was told to end nothing and to go nowhere: nobody wanted it gone."""
    engine = OfferingEngine(held=["a"])
    with Scheduler([W1], engine=engine, journal=tmp_path / "j", capture=False) as scheduler:
        scheduler.submit_all([Task("a", "x"), Task("b", "x")])
        wait_in(scheduler, lambda: engine.sent)
        engine.let_go(WorkerSuspected("w1", incarnation=1), *([ok("a", "w1")] if has_ended else []))
        wait_in(scheduler, lambda: not engine._reports)
        scheduler.snapshot()
        scheduler.close(wait=False)
    engine = OfferingEngine()
    scheduler = Scheduler(engine=engine, journal=tmp_path / "j")
    try:
        scheduler.snapshot()
        wait_in(scheduler, lambda: [worker.worker_id for worker in scheduler.workers()] == ["w1"])
        assert scheduler.handle("b").result(20).worker_id == "w1"
    finally:
        scheduler.close(wait=False)


def test_from_any_prefix_of_its_journal_a_run_with_offered_workers_goes_on(tmp_path):
    engine = OfferingEngine(W1, held=["t3"])
    with Scheduler(engine=engine, journal=tmp_path / "whole", capture=False) as scheduler:
        scheduler.submit_all(tasks(6))
        wait_in(scheduler, lambda: [names for names in engine.sent if names[0] == "t3"])
        engine.let_go(WorkerOffered(W2))
        wait_in(scheduler, lambda: len(scheduler.workers()) == 2)
        engine.let_go(WorkerSuspected("w1", incarnation=1))
        engine.let_go(ok("t3", "w1"))
        engine.lose("w1", "gone")
        engine.wake()
        wait_in(scheduler, lambda: scheduler.status("t3") is TaskStatus.COMPLETED)
        wait_in(scheduler, lambda: len(scheduler.workers()) == 2)
        engine.withdraw("w2")
        wait_in(scheduler, lambda: len(scheduler.workers()) == 1)
        scheduler.wait(20)
    bodies, _ = read_journal(tmp_path / "whole")
    for n in range(1, len(bodies) + 1):
        journal = Journal(tmp_path / f"p{n}")
        journal.append_all(bodies[:n])
        journal.close()
        engine = OfferingEngine(Worker("w2", 3, 1024), Worker(f"new{n}", 1, 1024))
        with Scheduler(engine=engine, journal=tmp_path / f"p{n}") as scheduler:
            assert scheduler.wait(20)
            assert set(scheduler.statuses().values()) <= {TaskStatus.COMPLETED}


def test_an_interrupted_turn_leaves_no_error_behind():
    """A worker that is suspected, and the program ends."""
    engine = OfferingEngine(W1, held=["a"])
    scheduler = Scheduler(engine=engine, capture=False)
    scheduler.submit(Task("a", "x"))
    wait_in(scheduler, lambda: engine.sent)
    engine.let_go(WorkerSuspected("w1", incarnation=1))
    scheduler.snapshot()
    try:
        scheduler.close(wait=False)
    except InternalError as error:
        raise AssertionError("it stands still") from error


def test_a_worker_that_somebody_removed_or_drained_is_not_taken_when_it_is_offered_again(make_stage):
    stage = make_stage(tasks(3), W1, W2)
    stage.turn(up("w1"), up("w2"))
    stage.loop.remove_worker("w2", 0)
    stage.turn(lost("w2"))
    stage.turn(WorkerOffered(W2), seconds=5)
    assert len(stage.brought_up) == 2, "it came back by itself"
    stage.loop.add_worker(W2, stage.now_ns)
    assert len(stage.brought_up) == 3
    stage.turn()


def test_a_run_with_little_time_waits_for_its_first_worker(make_stage):
    """What fits into the time could start, and what does not is no reason to end."""
    stage = make_stage([Task("short", "x", duration=1), Task("long", "x", duration=1000)], walltime_s=100.0)
    stage.turn(seconds=1)
    assert not stage.loop.out_of_time
    stage.turn(WorkerOffered(W1))
    assert stage.turn(up("w1")) == [("short", "w1", 1)]
    stage.turn(ok("short", "w1"))
    assert stage.loop.out_of_time and not stage.of(TaskFailed)
