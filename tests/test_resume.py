"""A run that is taken up again: what completed is not run again, and nothing is recorded twice."""

from __future__ import annotations

import logging
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from engines import InstantEngine

from fastsched import Policy, Reason, Scheduler, Task, TaskStatus, Worker, run
from fastsched.errors import ClosedError, JournalDamaged, JournalFull, JournalLocked, TaskError
from fastsched.events import (
    AttemptCompleted,
    AttemptEnded,
    AttemptFailed,
    AttemptStarted,
    TaskFailed,
    TasksSubmitted,
    WorkerLost,
)
from fastsched.runtime import record
from fastsched.runtime.journal import DATABASE, Journal, read_journal
from fastsched.runtime.record import RunOpened, SchedulerOpened, Turn, decode_records, encode_record

pytestmark = pytest.mark.skipif(os.name != "posix", reason="skipped: running commands needs POSIX")
WORKERS = [Worker(f"w{i}", 2, 1024) for i in range(3)]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def graph(n=60, seed=1):
    rng = random.Random(seed)
    return [
        Task(f"t{i}", ["x", str(i)], rng.sample([f"t{k}" for k in range(i)], min(i, rng.randrange(3))), max_retries=2)
        for i in range(n)
    ]


class FlakyEngine(InstantEngine):
    """Every seventh task fails always, and every fifth once: the end does not depend on what is lost meanwhile."""

    def __init__(self, failed_once=None):
        super().__init__()
        self.failed_once = set() if failed_once is None else failed_once

    def send(self, orders):
        super().send(orders)
        for i, report in enumerate(self._reports):
            number = int(report.task_id[1:]) if isinstance(report, AttemptEnded) else 0
            once = number % 5 == 4 and report.task_id not in self.failed_once
            if number % 7 == 3 or once:
                self.failed_once.add(report.task_id)
                names = (report.task_id, report.worker_id, report.attempt)
                self._reports[i] = AttemptEnded(*names, Reason.EXIT, 1, message="no", incarnation=report.incarnation)


class Crash(BaseException):
    """The scheduler's process ends here."""


def crash_after(engine, n_sends):
    """Have an engine end the process in place of sending for the n-th time."""
    send = engine.send
    left = iter(range(n_sends))

    def sends(orders):
        if next(left, None) is None:
            raise Crash
        send(orders)

    engine.send = sends


def records_of(folder):
    bodies, damage = read_journal(folder)
    assert damage is None
    return list(decode_records(bodies))


def ended_in(records):
    """How often each task ended, and how often each attempt, in a journal."""
    facts = [fact for record in records if isinstance(record, Turn) for fact in record.facts]
    return Counter((f.task_id, f.attempt) for f in facts if isinstance(f, AttemptEnded)), Counter(
        (f.task_id, f.attempt) for f in facts if isinstance(f, AttemptStarted)
    )


def test_a_run_that_crashed_at_any_sending_is_taken_up(tmp_path):
    expected = dict(run(graph(), WORKERS, engine=FlakyEngine(), capture=False))
    assert set(expected.values()) == {TaskStatus.COMPLETED, TaskStatus.FAILED}
    for n_sends in range(12):
        folder = tmp_path / f"j{n_sends}"
        completed, rounds, failed_once = set(), 0, set()
        while True:
            engine, told = FlakyEngine(failed_once), []
            crash_after(engine, n_sends + 1 if rounds else n_sends)
            rounds += 1
            try:
                if rounds == 1:
                    result = run(graph(), WORKERS, engine=engine, journal=folder, capture=False, on_event=told.append)
                    statuses = dict(result)
                else:
                    with Scheduler(engine=engine, journal=folder, on_event=told.append) as scheduler:
                        scheduler.wait()
                        statuses = scheduler.statuses()
                break
            except (Crash, ClosedError):
                pass
            finally:
                assert completed.isdisjoint(task for task, _, _ in engine.sent), "it had completed"
                completed |= {e.task_id for e in told if isinstance(e, AttemptCompleted)}
        assert statuses == expected and (rounds > 1 or n_sends > 9), (n_sends, rounds)
        ended, started = ended_in(records_of(folder))
        assert max(ended.values()) == max(started.values()) == 1
        assert sum(isinstance(record, SchedulerOpened) for record in records_of(folder)) == rounds


def test_from_any_prefix_of_its_journal_a_run_comes_to_the_same_end(tmp_path):
    run(graph(), WORKERS, engine=FlakyEngine(), journal=tmp_path / "whole", capture=False)
    bodies, _ = read_journal(tmp_path / "whole")
    expected = None
    for n in range(len(bodies), 0, -1):
        folder = tmp_path / f"p{n}"
        journal = Journal(folder)
        journal.append_all(bodies[:n])
        journal.close()
        done = {
            f.task_id
            for record in decode_records(bodies[:n])
            if isinstance(record, Turn)
            for f in record.facts
            if isinstance(f, AttemptEnded) and f.reason is None
        }
        engine = FlakyEngine()
        with Scheduler(engine=engine, journal=folder) as scheduler:
            scheduler.wait()
            statuses = scheduler.statuses()
            assert [w.worker_id for w in scheduler.workers()] == ["w0", "w1", "w2"]
        assert done.isdisjoint(task for task, _, _ in engine.sent)
        expected = expected or statuses
        assert statuses == expected


def test_what_was_submitted_before_is_known_after(tmp_path):
    with Scheduler(WORKERS, engine=InstantEngine(["c"]), journal=tmp_path / "j", capture=False) as scheduler:
        scheduler.submit_all([Task("a", "x"), Task("b", "exit 1", max_retries=0)])
        assert scheduler.handle("a").result(20).worker_id == "w0"
        scheduler.submit(Task("c", "x", ["a"], env={"A": "1"}, timeout=9, resources=None))
        with pytest.raises(JournalLocked, match=f"process {os.getpid()}"):
            Scheduler(journal=tmp_path / "j")
        scheduler.close(wait=False)
    engine = InstantEngine()
    with Scheduler(engine=engine, journal=tmp_path / "j") as scheduler:
        assert scheduler.handle("a").result(20).worker_id == "w0", "its end was told by the scheduler before"
        assert scheduler.handle("c").result(20).attempt in (1, 2)
        assert [names[0] for names in engine.sent] == ["c"]
        scheduler.submit(Task("d", "x", ["c"])).result(20)
        with pytest.raises(Exception, match="submitted before"):
            scheduler.submit(Task("a", "x"))


def test_failures_are_remembered(tmp_path):
    with Scheduler(WORKERS, engine=FlakyEngine(), journal=tmp_path / "j", capture=False) as scheduler:
        handle = scheduler.submit(Task("t3", "x", max_retries=0))
        with pytest.raises(TaskError, match="EXIT: no"):
            handle.result(20)
    with Scheduler(engine=FlakyEngine(), journal=tmp_path / "j") as scheduler:
        with pytest.raises(TaskError, match="EXIT: no"):
            scheduler.handle("t3").result(20)
        after = scheduler.submit(Task("t6", "x", ["t3"]))
        with pytest.raises(TaskError, match="because of t3"):
            after.result(20)


def test_what_ran_at_the_crash_is_tried_again_at_no_charge(tmp_path):
    policy = Policy(max_losses=0)
    for attempt in (1, 2, 3):
        engine, told = InstantEngine(["a"] if attempt < 3 else []), []
        options = {"engine": engine, "journal": tmp_path / "j", "on_event": told.append}
        if attempt == 1:
            options |= {"policy": policy, "max_retries": 0, "workers": WORKERS, "capture": False}
        scheduler = Scheduler(**options)
        if attempt == 1:
            scheduler.submit(Task("a", "x"))
        while not engine.sent:
            scheduler.snapshot()
        assert [names[::2] for names in engine.sent] == [("a", attempt)]
        scheduler.close(wait=attempt == 3)
        lost = [e for e in told if isinstance(e, AttemptFailed)]
        assert [(e.reason, e.will_retry) for e in lost] == [(Reason.WORKER_LOST, True)] * (attempt > 1)
    assert [type(e) for e in told if getattr(e, "task_id", "") == "a"][-1] is AttemptCompleted


def test_other_workers_may_take_a_run_up(tmp_path):
    with Scheduler(WORKERS, engine=InstantEngine(["a"]), journal=tmp_path / "j", capture=False) as scheduler:
        scheduler.submit_all([Task("a", "x", (), 2), Task("b", "x", (), 2)])
        scheduler.handle("b").result(20)
        scheduler.close(wait=False)
    workers = [Worker("w1", 4, 1024), Worker("new", 8, 1024)]
    engine = InstantEngine()
    with Scheduler(workers, engine=engine, journal=tmp_path / "j") as scheduler:
        assert scheduler.handle("a").result(20)
        assert [(w.worker_id, w.cpu_cores_available) for w in scheduler.workers()] == [("w1", 4), ("new", 8)]
        assert scheduler.submit(Task("c", "x", (), 8)).result(20).worker_id == "new"


def test_a_worker_that_had_left_may_come_back_to_a_run_that_is_taken_up(tmp_path):
    with Scheduler(WORKERS, engine=InstantEngine(), journal=tmp_path / "j", capture=False) as scheduler:
        scheduler.submit(Task("a", "x")).result(20)
        scheduler.remove_worker("w0")
        while len(scheduler.workers()) == 3:
            pass
    with Scheduler([Worker("w0", 8, 512)], engine=InstantEngine(), journal=tmp_path / "j") as scheduler:
        assert scheduler.submit(Task("b", "x", (), 8)).result(20).worker_id == "w0"
        assert [(w.worker_id, w.cpu_cores_available) for w in scheduler.workers()] == [("w0", 8)]


def test_a_cancelled_task_stays_cancelled_over_a_crash(tmp_path):
    engine = InstantEngine(["a"])
    scheduler = Scheduler(WORKERS, engine=engine, journal=tmp_path / "j", capture=False)
    handle = scheduler.submit(Task("a", "x"))
    while not engine.sent:
        scheduler.snapshot()
    engine.send = lambda orders: None  # the order to stop it is lost with the scheduler
    assert handle.cancel()
    scheduler.close(wait=False)
    engine = InstantEngine()
    with Scheduler(engine=engine, journal=tmp_path / "j") as scheduler:
        assert scheduler.handle("a").cancelled() or scheduler.wait(20)
        assert scheduler.status("a") is TaskStatus.FAILED and not engine.sent


def test_a_damaged_journal_is_refused_until_its_loss_is_accepted(tmp_path):
    tasks = graph(20)
    run(tasks, WORKERS, engine=InstantEngine(), journal=tmp_path / "j", capture=False)
    records = records_of(tmp_path / "j")
    path = tmp_path / "j" / DATABASE
    content = bytearray(path.read_bytes())
    body = read_journal(tmp_path / "j")[0][len(records) // 2]
    content[content.index(body[:40])] ^= 4
    path.write_bytes(content)
    with pytest.raises(JournalDamaged) as caught:
        Scheduler(journal=tmp_path / "j")
    assert caught.value.n_good == len(records) // 2 and caught.value.n_lost > 0
    engine = InstantEngine()
    with Scheduler(engine=engine, journal=tmp_path / "j", accept_damage=True) as scheduler:
        scheduler.wait()
        assert set(scheduler.statuses().values()) == {TaskStatus.COMPLETED}
    assert engine.sent and path.read_bytes() == content, "what was damaged is kept"


class Full:
    """A journal on a disk that is full while it is told so."""

    def __init__(self, journal):
        self.journal, self.full, self.refused = journal, False, 0

    def __getattr__(self, name):
        return getattr(self.journal, name)

    def append_all(self, bodies):
        if self.full:
            self.refused += 1
            raise JournalFull("no room")
        return self.journal.append_all(bodies)


def test_a_full_disk_holds_everything_back_and_it_goes_on_when_there_is_room(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    engine, told = InstantEngine(["a"]), []
    scheduler = Scheduler(WORKERS, engine=engine, journal=tmp_path / "j", capture=False, on_event=told.append)
    with scheduler:
        full = scheduler._loop._journal = Full(scheduler._loop._journal)
        a = scheduler.submit(Task("a", "x"))
        b = scheduler.submit(Task("b", "x", ["a"]))
        while not engine.sent:
            scheduler.snapshot()
        full.full = True
        engine.let_go(AttemptEnded("a", a.result and "w0", 1, None, 0, incarnation=1))
        while not full.refused:
            pass
        before = len(told)
        engine.let_go(WorkerLost("w2", "gone", incarnation=1))
        assert len(engine.sent) == 1 and not a.done() and not b.done() and len(told) == before
        full.full = False
        assert b.result(20).attempt == 1 and a.done()
    assert caplog.text.count("no room; nothing is started") == 1 and "has room again" in caplog.text
    ended, _ = ended_in(records_of(tmp_path / "j"))
    assert ended == {("a", 1): 1, ("b", 1): 1}


def test_a_folder_that_holds_a_journal_is_not_run_into(tmp_path):
    run([Task("a", "x")], WORKERS, engine=InstantEngine(), journal=tmp_path / "j", capture=False)
    with pytest.raises(FileExistsError, match="resume"):
        run([Task("b", "x")], WORKERS, engine=InstantEngine(), journal=tmp_path / "j", capture=False)


def test_a_long_record_is_kept_in_pieces(monkeypatch):
    monkeypatch.setattr(record, "CHUNK", 100)
    long = Turn(5, [TasksSubmitted(tuple(graph(30)), 5)])
    pieces = [*encode_record(Turn(1, [])), *encode_record(long), *encode_record(Turn(9, []))]
    assert len(pieces) > 10 and max(map(len, pieces)) <= 101
    first, middle, last = decode_records(pieces)
    assert (first.now, middle.now, last.now) == (1, 5, 9)
    assert [t.task_id for t in middle.facts[0].tasks] == [t.task_id for t in graph(30)]


def test_while_the_disk_is_full_the_loop_rests(tmp_path):
    """A task that waits for its back-off to end is due while nothing can be started."""
    engine = InstantEngine()
    options = {"capture": False, "policy": Policy(backoff=0.05), "engine": engine}
    with Scheduler(WORKERS, journal=tmp_path / "j", **options) as scheduler:
        full = scheduler._loop._journal = Full(scheduler._loop._journal)
        turns = 0
        wait_reports = engine.wait_reports

        def count(timeout_s):
            nonlocal turns
            turns += 1
            return wait_reports(timeout_s)

        engine.held.add("a")
        scheduler.submit(Task("a", "x"))
        while not engine.sent:
            pass
        full.full = True
        engine.let_go(AttemptEnded("a", engine.sent[0][1], 1, Reason.EXIT, 1, incarnation=1))
        engine.wait_reports = count
        time.sleep(0.5)
        assert turns < 20
        engine.held.clear()
        full.full = False
        assert scheduler.handle("a").result(20).attempt == 2


def test_the_first_record_says_what_the_run_was_given(tmp_path):
    task = Task("a", "x", [], cpu_cores_required=0.5, duration=3.0, env={"A": "1"})
    run([task], WORKERS, engine=InstantEngine(), journal=tmp_path / "j", capture=False, policy=Policy(backoff=2))
    opened = records_of(tmp_path / "j")[0]
    assert isinstance(opened, RunOpened)
    assert (opened.tasks, opened.workers, opened.policy) == ([task], WORKERS, Policy(backoff=2))
    assert not any(isinstance(e, TaskFailed) for e in records_of(tmp_path / "j"))


def test_where_the_disk_is_full_what_only_reads_is_answered(tmp_path, monkeypatch):
    engine = InstantEngine(["a"])
    with Scheduler(WORKERS, engine=engine, journal="j", capture=False) as scheduler:
        scheduler.submit(Task("a", "x"))
        journal = scheduler._session.journal
        append_all, full = journal.append_all, []

        def no_room(bodies):
            if full:
                raise JournalFull("no room")
            return append_all(bodies)

        monkeypatch.setattr(journal, "append_all", no_room)
        while not engine.sent:
            time.sleep(0.01)
        full.append(True)
        (sent,) = engine.sent
        engine.let_go(AttemptEnded(*sent, None, 0, incarnation=1))
        while not scheduler._loop.blocked:
            time.sleep(0.01)
        began = time.monotonic()
        assert scheduler.snapshot().completed == 1 and scheduler.status("a") is TaskStatus.COMPLETED
        assert not scheduler.wait(0.1) and time.monotonic() - began < 5
        full.clear()
        assert scheduler.wait(20)


def test_a_limit_of_failures_holds_for_what_is_tried_again_and_for_who_takes_it_up(tmp_path):
    tasks = [Task("a", "exit 1", max_retries=0), Task("b", "echo b >> b; sleep 0.5; exit 1", max_retries=2)]
    tasks += [Task(f"c{i}", f"touch c{i}", ["b"]) for i in range(3)]
    tasks += [Task(f"d{i}", f"touch d{i}", [], 2) for i in range(3)]
    result = run(tasks, [Worker("w", 2, 1024)], max_fails=1, journal="j")
    assert Path("b").read_text() == "b\n" and not [name for name in os.listdir() if name[0] in "cd"]
    assert result.reasons["b"] is Reason.CANCELLED and result.reasons["d1"] is Reason.CANCELLED
    (opened,) = [record for record in records_of(tmp_path / "j") if isinstance(record, RunOpened)]
    assert opened.max_fails == 1


def test_of_many_tasks_so_many_are_cancelled_in_a_turn(tmp_path, monkeypatch):
    monkeypatch.setattr("fastsched.runtime.loop.CANCELLED_AT_ONCE", 10)
    tasks = [Task("a", "exit 1", max_retries=0, priority=1), *[Task(f"t{i}", "true") for i in range(95)]]
    result = run(tasks, [Worker("w", 1, 1024)], max_fails=1, journal="j")
    assert list(result.reasons.values()).count(Reason.CANCELLED) == 95 and len(result.attempts) == 1
    turns = [record for record in records_of(tmp_path / "j") if isinstance(record, Turn)]
    assert max(len(turn.facts) for turn in turns) < 30


def test_what_ended_by_itself_while_everything_was_stopped_is_not_run_again(tmp_path):
    """Its report lay unread when Ctrl-C came."""

    class Late(InstantEngine):
        def close(self, grace_s):
            super().close(grace_s)
            names = {name: (name, worker, attempt) for name, worker, attempt in self.sent}
            return [
                AttemptEnded(*names["a"], None, 0, incarnation=1),
                AttemptEnded(*names["b"], Reason.CANCELLED, 0, incarnation=1),
            ]

    engine = Late(["a", "b"])
    scheduler = Scheduler(WORKERS, engine=engine, journal="j", capture=False)
    handles = scheduler.submit_all([Task("a", "x"), Task("b", "x")])
    while len(engine.sent) < 2:
        time.sleep(0.01)
    scheduler.close(wait=False)
    assert handles[0].result(0).exit_code == 0
    again = InstantEngine()
    with Scheduler(engine=again, journal="j", capture=False) as scheduler:
        assert scheduler.wait(20)
    assert [name for name, _, _ in again.sent] == ["b"]


def test_a_crash_before_the_first_record_leaves_a_folder_that_can_be_used(tmp_path):
    os.makedirs("j/logs")
    Journal("j").close()
    with Scheduler(WORKERS, journal="j") as scheduler:
        assert scheduler.submit(Task("a", "echo hi")).result(20).exit_code == 0


def test_a_run_whose_folder_was_moved_is_taken_up_where_it_is(tmp_path):
    with Scheduler(WORKERS, journal="here") as scheduler:
        scheduler.submit(Task("a", "echo one")).result(20)
    os.rename("here", "there")
    with Scheduler(journal="there") as scheduler:
        kept = scheduler.handle("a").result(20)
        assert Path(kept.stdout).read_text() == "one\n" and "there" in kept.stdout
        assert "there" in scheduler.submit(Task("b", "echo two")).result(20).stdout
    assert not os.path.exists("here")


def test_a_worker_that_stayed_away_is_brought_up_by_who_takes_the_run_up(tmp_path):
    class Broken(InstantEngine):
        def bring_up(self, worker, incarnation):
            raise OSError("no more")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastsched.runtime.loop.FIRST_RESTART_S", 0.001)
        with Scheduler([Worker("w", 1, 512)], engine=Broken(), journal="j", capture=False) as scheduler:
            handle = scheduler.submit(Task("a", "x"))
            while scheduler._loop._workers:
                time.sleep(0.01)
            scheduler.close(wait=False)
    with Scheduler(engine=InstantEngine(), journal="j", capture=False) as scheduler:
        assert scheduler.handle("a").result(20).worker_id == "w"
    assert handle.done()


def test_what_was_drained_stays_away_from_who_takes_the_run_up(tmp_path):
    engine = InstantEngine(["a"])
    scheduler = Scheduler([Worker("w", 1, 512), Worker("v", 1, 512)], engine=engine, journal="j", capture=False)
    scheduler.submit(Task("a", "x"))
    while not engine.sent:
        time.sleep(0.01)
    drained = engine.sent[0][1]
    scheduler.drain_worker(drained)
    scheduler.close(wait=False)
    with Scheduler(engine=InstantEngine(), journal="j", capture=False) as scheduler:
        assert scheduler.handle("a").result(20).worker_id != drained
        assert [worker.worker_id for worker in scheduler.workers()] == [{"w": "v", "v": "w"}[drained]]
