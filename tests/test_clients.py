"""The scheduler as an object: clients that submit, wait, cancel and listen while others do."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from engines import InstantEngine

from fastsched import Reason, Scheduler, Task, TaskStatus, ValidationError, Worker
from fastsched.errors import ClosedError, TaskError, UnknownIdError
from fastsched.events import (
    AttemptCompleted,
    AttemptEnded,
    AttemptFailed,
    AttemptStarted,
    TasksSubmitted,
    TaskUnsatisfiable,
    WorkerJoined,
    WorkerLeft,
)
from fastsched.runtime.requests import Submission

pytestmark = pytest.mark.skipif(os.name != "posix", reason="skipped: running commands needs POSIX")
ONE = [Worker("w", 2, 1024)]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def instant(*held, workers=ONE, **options):
    engine = InstantEngine(held)
    return engine, Scheduler(workers, engine=engine, capture=False, **options)


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.005)


def test_a_handle_is_a_future_of_the_last_attempt():
    with Scheduler(ONE) as scheduler:
        task = Task("hello", "echo hello")
        assert task.status is TaskStatus.PENDING
        first = scheduler.submit(task)
        then = scheduler.submit({"task_id": "then", "command": "exit 3", "dependencies": ["hello"], "max_retries": 0})
        after = scheduler.submit(Task("after", "echo never", ["then"]))
        assert isinstance(first, concurrent.futures.Future)
        attempt = first.result(20)
        assert (attempt.exit_code, attempt.attempt, attempt.reason) == (0, 1, None)
        assert Path(attempt.stdout).read_text() == "hello\n"
        with pytest.raises(TaskError, match="then failed: EXIT: exit code 3") as caught:
            then.result(20)
        assert (caught.value.reason, caught.value.attempt.exit_code) == (Reason.EXIT, 3)
        with pytest.raises(TaskError, match="because of then") as caught:
            after.result(20)
        assert (caught.value.reason, caught.value.cause_id, caught.value.attempt) == (Reason.DEPENDENCY, "then", None)
        assert task.status is TaskStatus.COMPLETED and scheduler.status("after") is TaskStatus.FAILED
        assert list(scheduler.statuses()) == ["hello", "then", "after"]
    with pytest.raises(ClosedError):
        scheduler.submit(Task("late", "true"))
    assert scheduler.status("hello") is TaskStatus.COMPLETED, "what became of it can still be asked"


def test_submissions_are_judged_at_once_and_all_or_nothing():
    _, scheduler = instant()
    with scheduler:
        scheduler.submit(Task("a", "x")).result(20)
        with pytest.raises(ValidationError, match="did you mean 'a'"):
            scheduler.submit_all([Task("b", "x"), Task("c", "x", ["aa"])])
        with pytest.raises(ValidationError, match="submitted before"):
            scheduler.submit(Task("a", "x"))
        with pytest.raises(ValidationError, match="a list is wanted"):
            scheduler.submit_all("abc")
        assert list(scheduler.statuses()) == ["a"]
        with pytest.raises(KeyError):
            scheduler.status("b")
        for ask in (scheduler.status, scheduler.cancel, scheduler.explain, scheduler.handle):
            with pytest.raises(UnknownIdError, match=r"^there is no task aa; did you mean a\?$"):
                ask("aa")
        for ask in (scheduler.drain_worker, scheduler.remove_worker):
            with pytest.raises(UnknownIdError, match=r"^there is no worker ww; did you mean w\?$"):
                ask("ww")
        assert scheduler.submit_all([]) is not None


def test_submissions_that_come_together_are_given_their_own_handles():
    held, go = threading.Event(), threading.Event()

    class Held(InstantEngine):
        """It keeps its loop waiting until many have submitted: it is woken for each."""

        n_woken = 0

        def wake(self):
            self.n_woken += 1
            super().wake()

        def wait_reports(self, timeout_s):
            reports = super().wait_reports(timeout_s)
            held.set()
            go.wait(20)
            return reports

    n, k, handles = 6, 3, {}

    def client(i):
        handles[i] = scheduler.submit_all([Task(f"t{i}.{j}", "x") for j in range(k)])

    clients = [threading.Thread(target=client, args=(i,)) for i in range(n)]
    engine = Held()
    with Scheduler(ONE, engine=engine, capture=False) as scheduler:
        held.wait(20)
        before = engine.n_woken
        for thread in clients:
            thread.start()
        wait_until(lambda: engine.n_woken == before + n)
        go.set()
        for thread in clients:
            thread.join(20)
        told = {i: [handle.result(20).task_id for handle in of_one] for i, of_one in handles.items()}
    assert told == {i: [f"t{i}.{j}" for j in range(k)] for i in range(n)}


def test_handles_work_with_everything_that_futures_work_with():
    _, scheduler = instant()
    with scheduler:
        handles = scheduler.submit_all([Task(f"t{i}", "x") for i in range(50)])
        assert len(handles) == 50 and handles[3] is handles[3:5][0]
        done, rest = concurrent.futures.wait(handles, 20)
        assert len(done) == 50 and not rest
        assert {h.result().task_id for h in concurrent.futures.as_completed(handles)} == {f"t{i}" for i in range(50)}
        assert scheduler.handle("t7").done(), "a handle that is made after the end knows it"
        told = []
        scheduler.handle("t8").add_done_callback(told.append)
        assert len(told) == 1


def test_waiting_tasks_are_cancelled_at_once_and_running_ones_when_they_have_ended():
    _, scheduler = instant("a", workers=[Worker("w", 1, 128)])
    with scheduler:
        a, b = scheduler.submit_all([Task("a", "x"), Task("b", "x")])
        wait_until(lambda: scheduler.status("a") is TaskStatus.RUNNING)
        assert a.running() and not b.running() and not a.done()
        assert b.cancel() and scheduler.status("b") is TaskStatus.FAILED
        wait_until(b.cancelled)
        with pytest.raises(concurrent.futures.CancelledError):
            b.result()
        assert scheduler.cancel("a")
        wait_until(a.cancelled)
        assert not a.cancel() and not scheduler.cancel("a")
        with pytest.raises(KeyError):
            scheduler.cancel("c")


def test_cancelling_ends_the_command(tmp_path):
    with Scheduler(ONE, grace=0.2) as scheduler:
        handle = scheduler.submit(Task("a", "echo $$ > pid; sleep 300", max_retries=5))
        wait_until(lambda: Path("pid").exists() and Path("pid").read_text())
        began = time.monotonic()
        assert handle.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            handle.result(20)
        assert time.monotonic() - began < 10
        (attempt,) = scheduler._loop.ledger.attempts
        assert attempt.reason is Reason.CANCELLED


def test_events_come_each_once_and_in_order_to_any_number_of_readers():
    heard = []
    _, scheduler = instant(on_event=heard.append)
    first, second = scheduler.events(), scheduler.events()
    with scheduler:
        scheduler.submit_all([Task("a", "x"), Task("b", "x", ["a"])])
        assert scheduler.wait(20)
        third = scheduler.events()
    told = list(first)
    assert list(second) == told and [e for e in heard if e in told] == told and list(third) == []
    assert [(type(e), getattr(e, "task_id", None)) for e in told if not isinstance(e, WorkerJoined)] == [
        (TasksSubmitted, None),
        (AttemptStarted, "a"),
        (AttemptCompleted, "a"),
        (AttemptStarted, "b"),
        (AttemptCompleted, "b"),
    ]
    assert [e.at_ns for e in told] == sorted(e.at_ns for e in told)
    assert list(scheduler.events()) == []


def test_who_comes_late_hears_nothing_of_what_was_before():
    """Also where that has not been told to anybody yet."""
    go = threading.Event()
    _, scheduler = instant(on_event=lambda _: go.wait(20))
    early = scheduler.events()
    with scheduler:
        scheduler.submit_all([Task("a", "x"), Task("b", "x", ["a"])])
        wait_until(lambda: scheduler.status("b") is TaskStatus.COMPLETED)
        scheduler.status("b")  # a turn later whatever is to be told of it waits to be told
        late = scheduler.events()
        go.set()
        scheduler.submit(Task("c", "x")).result(20)
    ended = {stream: [e.task_id for e in stream if isinstance(e, AttemptCompleted)] for stream in (early, late)}
    assert ended == {early: ["a", "b", "c"], late: ["c"]}


def test_a_listener_that_raises_or_takes_its_time_holds_nobody_up(caplog):
    release = threading.Event()

    def listen(event):
        if isinstance(event, TasksSubmitted):
            raise ZeroDivisionError
        release.wait(20)

    _, scheduler = instant(on_event=listen)
    scheduler.submit_all([Task(f"t{i}", "x") for i in range(10)])
    wait_until(lambda: set(scheduler.statuses().values()) == {TaskStatus.COMPLETED})
    release.set()
    scheduler.close()
    assert "on_event raised" in caplog.text


def test_a_listener_may_ask_and_submit_and_close():
    seen = []

    def listen(event):
        if isinstance(event, AttemptCompleted):
            seen.append(scheduler.status(event.task_id))
            if event.task_id == "a":
                scheduler.submit(Task("b", "x", ["a"]))
            else:
                scheduler.close()

    _, scheduler = instant(on_event=listen)
    scheduler.submit(Task("a", "x"))
    wait_until(lambda: len(seen) == 2)
    scheduler.close()
    assert seen == [TaskStatus.COMPLETED] * 2


def test_paused_nothing_starts_and_what_runs_goes_on():
    engine, scheduler = instant("a")
    with scheduler:
        a = scheduler.submit(Task("a", "x"))
        wait_until(lambda: engine.sent)
        scheduler.pause()
        b = scheduler.submit(Task("b", "x"))
        engine.let_go(AttemptEnded("a", "w", 1, None, 0, incarnation=1))
        assert a.result(20).exit_code == 0 and not b.done() and len(engine.sent) == 1
        assert scheduler.status("b") is TaskStatus.PENDING
        scheduler.resume_dispatch()
        assert b.result(20).exit_code == 0


def test_workers_are_added_drained_and_removed_while_it_runs():
    engine, scheduler = instant("a", "b")
    events = scheduler.events()
    with scheduler:
        scheduler.submit(Task("big", "x", (), 8))
        wait_until(lambda: "would need" in scheduler.explain("big").text)
        a = scheduler.submit(Task("a", "x"))
        wait_until(a.running)
        scheduler.drain_worker("w")
        b = scheduler.submit(Task("b", "x"))
        assert scheduler.status("b") is TaskStatus.PENDING
        scheduler.add_worker(Worker("large", 8, 4096))
        assert scheduler.handle("big").result(20).worker_id == "large"
        wait_until(b.running)
        with pytest.raises(ValueError, match="is there"):
            scheduler.add_worker(Worker("large", 1, 1))
        with pytest.raises(ValidationError):
            scheduler.add_worker({"worker_id": "x"})
        engine.let_go(AttemptEnded("a", "w", 1, None, 0, incarnation=1))
        assert a.result(20).worker_id == "w"
        wait_until(lambda: [w.worker_id for w in scheduler.workers()] == ["large"])
        scheduler.remove_worker("large")
        wait_until(lambda: not scheduler.workers() and b.done() is False)
        engine.held.clear()
        scheduler.add_worker(Worker("w", 4, 4096))
        assert b.result(20).worker_id == "w" and [w.worker_id for w in scheduler.workers()] == ["w"]
        with pytest.raises(KeyError):
            scheduler.remove_worker("large")
        for worker_id in ("nobody", "large"):  # which has left
            with pytest.raises(KeyError):
                scheduler.drain_worker(worker_id)
    told = list(events)
    assert [e.task_id for e in told if isinstance(e, TaskUnsatisfiable)] == ["big", "b"]
    assert [e.worker_id for e in told if isinstance(e, WorkerLeft)] == ["w", "large"]
    (lost,) = [e for e in told if isinstance(e, AttemptFailed)]
    assert (lost.task_id, lost.reason, lost.will_retry) == ("b", Reason.WORKER_LOST, True)


def test_draining_is_asked_for_twice_and_of_a_worker_that_is_not_up():
    class Slow(InstantEngine):
        def bring_up(self, worker, incarnation):
            if worker.worker_id == "slow":
                self._open[worker.worker_id] = incarnation
            else:
                super().bring_up(worker, incarnation)

    with Scheduler([Worker("w", 4, 4096)], engine=Slow({"a"}), capture=False) as scheduler:
        a = scheduler.submit(Task("a", "x"))
        wait_until(a.running)
        scheduler.add_worker(Worker("slow", 1, 1024))
        scheduler.drain_worker("slow")
        scheduler.drain_worker("w")
        scheduler.drain_worker("w")
        scheduler._loop.engine.let_go(AttemptEnded("a", "w", 1, None, 0, incarnation=1))
        assert a.result(20).worker_id == "w"
        wait_until(lambda: not scheduler.workers())
        scheduler.add_worker(Worker("slow", 2, 2048))
        scheduler.remove_worker("slow")


def test_closing_at_once_stops_what_runs_and_says_so_to_who_waits():
    _, scheduler = instant("a")
    a, b = scheduler.submit_all([Task("a", "x"), Task("b", "x", ["a"])])
    wait_until(a.running)
    refused = []

    def wait():
        with pytest.raises(ClosedError) as caught:
            scheduler.wait()
        refused.append(caught.value)

    waiting = threading.Thread(target=wait)
    waiting.start()
    with pytest.raises(ZeroDivisionError), scheduler:
        raise ZeroDivisionError
    waiting.join(20)
    assert len(refused) == 1
    for handle in (a, b):
        with pytest.raises(ClosedError, match="closed before"):
            handle.result(20)
    with pytest.raises(ClosedError):
        scheduler.wait()


def test_waiting_has_an_end():
    _, scheduler = instant("a")
    scheduler.submit(Task("a", "x"))
    assert not scheduler.wait(0.05)
    scheduler.close(wait=False)
    _, scheduler = instant()
    with scheduler:
        assert scheduler.wait(20), "nothing was submitted"


def test_three_clients_submit_while_workers_join_and_leave():
    """Two in threads and one in asyncio; every handle resolves, and events are complete and in order."""
    n = 2000
    _, scheduler = instant(workers=[Worker("steady", 4, 4096)])
    events = scheduler.events()
    results = {}

    def client(name):
        handles = [scheduler.submit(Task(f"{name}{i}", "x", [f"{name}{i - 1}"] if i % 7 else [])) for i in range(n)]
        results[name] = [handle.result(60) for handle in handles]

    async def client_in_asyncio():
        async with asyncio.timeout(60) if hasattr(asyncio, "timeout") else _nothing():
            handles = []
            for i in range(n):
                handles.append(scheduler.submit(Task(f"c{i}", "x")))
                if i % 100 == 0:
                    await asyncio.sleep(0)
            results["c"] = await asyncio.gather(*(asyncio.wrap_future(handle) for handle in handles))

    threads = [threading.Thread(target=client, args=(name,)) for name in "ab"]
    threads.append(threading.Thread(target=lambda: asyncio.run(client_in_asyncio())))
    with scheduler:
        for thread in threads:
            thread.start()
        i = 0
        while any(thread.is_alive() for thread in threads):
            scheduler.add_worker(Worker(f"w{i}", 2, 1024))
            (scheduler.drain_worker if i % 2 else scheduler.remove_worker)(f"w{i}")
            i += 1
            time.sleep(0.002)
        for thread in threads:
            thread.join()
    assert {name: len(done) for name, done in results.items()} == {"a": n, "b": n, "c": n}
    told = list(events)
    state = {}
    for event in told:
        if isinstance(event, TasksSubmitted):
            for task in event.tasks:
                assert state.setdefault(task.task_id, "submitted") == "submitted"
        elif isinstance(event, AttemptStarted):
            assert state[event.task_id] == "submitted"
            state[event.task_id] = "running"
        elif isinstance(event, AttemptCompleted):
            assert state[event.task_id] == "running"
            state[event.task_id] = "completed"
        elif isinstance(event, AttemptFailed):
            assert state[event.task_id] == "running" and event.will_retry
            state[event.task_id] = "submitted"
    assert len(state) == 3 * n and set(state.values()) == {"completed"}
    assert [e.at_ns for e in told] == sorted(e.at_ns for e in told)


class _nothing:
    async def __aenter__(self):
        pass

    async def __aexit__(self, *_):
        pass


def test_asyncio_clients_wait_without_holding_up_their_loop():
    async def client():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        told = []
        async with Scheduler(ONE) as scheduler:
            events = scheduler.events()
            handle = scheduler.submit(Task("a", "sleep 0.3"))
            assert (await handle).exit_code == 0
            scheduler.submit(Task("b", "sleep 0.3"))
        async for event in events:
            told.append(event)
        ticking.cancel()
        return ticks, told

    ticks, told = asyncio.run(client())
    assert ticks > 20 and [e.task_id for e in told if isinstance(e, AttemptCompleted)] == ["a", "b"]


def test_the_user_is_notified_of_failures_and_of_the_end():
    command = 'echo "$FASTSCHED_EVENT $FASTSCHED_FAILURES $FASTSCHED_TASK_ID $FASTSCHED_REASON" >> told'
    with Scheduler(ONE, notify=command) as scheduler:
        scheduler.submit(Task("a", "exit 1", max_retries=0))
        wait_until(lambda: Path("told").exists())
    assert Path("told").read_text() == "failed 1 a EXIT\nended 1  \n"


def test_events_can_be_given_up():
    _, scheduler = instant()
    with scheduler:
        events = scheduler.events()
        events.close()
        scheduler.submit(Task("a", "x")).result(20)
        assert list(events) == []


def test_a_worker_that_cannot_be_brought_up_is_tried_again(monkeypatch):
    engine, scheduler = instant(workers=[])
    calls = []
    bring_up = engine.bring_up

    def fails_once(worker, incarnation):
        calls.append(incarnation)
        if len(calls) == 1:
            raise OSError("no more processes")
        bring_up(worker, incarnation)

    engine.bring_up = fails_once
    with scheduler:
        scheduler.add_worker(Worker("w", 1, 128))
        assert scheduler.submit(Task("a", "x")).result(20).worker_id == "w"
    assert len(calls) == 2


@pytest.mark.parametrize("ends", ["block", "async block", "close"])
def test_closing_does_not_wait_for_what_nobody_could_hold(ends):
    """It waits as long as a worker may still come, and no longer."""
    handles = []

    async def use():
        async with Scheduler([Worker("w", 1, 1000)]) as scheduler:
            handles.extend(scheduler.submit_all([Task("large", "true", cpu_cores_required=2), Task("small", "true")]))

    if ends == "async block":
        asyncio.run(use())
    else:
        with Scheduler([Worker("w", 1, 1000)]) as scheduler:
            handles += scheduler.submit_all([Task("large", "true", cpu_cores_required=2), Task("small", "true")])
            if ends == "close":
                scheduler.remove_worker("w")
                scheduler.close()
    with pytest.raises(TaskError, match="no worker" if ends == "close" else "would need 1 core more") as caught:
        handles[0].result(0)
    assert caught.value.reason is Reason.UNSATISFIABLE
    if ends != "close":
        assert handles[1].result(0).exit_code == 0


def test_draining_the_last_worker_ends_a_run_and_fails_what_it_does_not_do(tmp_path):
    """It left, and the run was said to stand still: a bug of ours."""
    engine, scheduler = instant("a")
    with scheduler:
        a, b = scheduler.submit_all([Task("a", "x", (), 2), Task("b", "x", ["a"])])
        wait_until(a.running)
        scheduler.drain_worker("w")
        closing = threading.Thread(target=scheduler.close)
        closing.start()
        time.sleep(0.1)
        engine.let_go(AttemptEnded("a", "w", 1, None, 0, incarnation=1))
        closing.join(20)
        assert not closing.is_alive()
    assert a.result().exit_code == 0
    with pytest.raises(TaskError, match="UNSATISFIABLE"):
        b.result()


def test_a_draining_worker_that_is_lost_has_left():
    engine, scheduler = instant("a", workers=[Worker("w", 1, 1024), Worker("v", 1, 1024)])
    events = scheduler.events()
    with scheduler:
        (a,) = scheduler.submit_all([Task("a", "x")])
        wait_until(a.running)
        (_, name, _) = engine.sent[0]
        scheduler.drain_worker(name)
        engine.held.clear()
        engine.lose(name, "killed")
        assert a.result(20).worker_id != name
        assert [worker.worker_id for worker in scheduler.workers()] != [name]
        wait_until(lambda: len(scheduler.workers()) == 1)
    assert [e.worker_id for e in events if isinstance(e, WorkerLeft)] == [name]


def test_a_worker_that_is_to_be_brought_up_again_can_be_removed_for_good():
    engine, scheduler = instant("a", workers=[Worker("w", 1, 1024)])
    with scheduler:
        (a,) = scheduler.submit_all([Task("a", "x")])
        for _ in range(2):  # the second time it comes back later
            wait_until(a.running)
            engine.lose("w", "killed")
        wait_until(lambda: not scheduler.workers())
        engine.held.clear()
        scheduler.remove_worker("w")
        scheduler.add_worker(Worker("w", 2, 1024))
        assert a.result(20).attempt == 3


def test_a_worker_that_comes_again_is_waited_for():
    engine, scheduler = instant(workers=[Worker("small", 1, 1024), Worker("big", 8, 1024)])
    with scheduler:
        wait_until(lambda: len(scheduler.workers()) == 2)
        scheduler.remove_worker("big")
        wait_until(lambda: len(scheduler.workers()) == 1)
        bring_up, waiting = engine.bring_up, []
        engine.bring_up = lambda worker, incarnation: waiting.append((worker, incarnation))
        scheduler.add_worker(Worker("big", 16, 1024))
        handle = scheduler.submit(Task("a", "x", (), 16))
        assert "could hold it and is expected" in scheduler.explain("a").text
        closing = threading.Thread(target=scheduler.close)
        closing.start()
        time.sleep(0.1)
        assert not handle.done(), "it is on its way"
        bring_up(*waiting[0])
        scheduler._loop.engine.wake()
        assert handle.result(20).worker_id == "big"
        closing.join(20)


@pytest.mark.parametrize("leaves", [SystemExit, KeyboardInterrupt])
def test_a_listener_that_wants_to_leave_leaves_others_alone(leaves, caplog):
    """`sys.exit()` in a callback ended the thread that tells, and no handle was ever done."""

    def leave(*_):
        raise leaves

    engine, scheduler = instant("a", on_event=leave)
    with scheduler:
        a, b = scheduler.submit_all([Task("a", "x"), Task("b", "x", ["a"])])
        wait_until(a.running)
        a.add_done_callback(leave)  # before it is done, or it would be called here
        engine.let_go(AttemptEnded("a", "w", 1, None, 0, incarnation=1))
        assert b.result(20).exit_code == 0 and scheduler.wait(20)
    assert "raised" in caplog.text


def test_a_name_that_no_program_can_be_told_keeps_nobody_waiting(caplog):
    engine, scheduler = instant("a\0b", notify="true")
    with scheduler:
        handle = scheduler.submit(Task("a\0b", "x", max_retries=0))
        wait_until(handle.running)
        engine.let_go(AttemptEnded("a\0b", "w", 1, Reason.EXIT, 1, incarnation=1))
        with pytest.raises(TaskError):
            handle.result(20)
    assert "cannot be started" in caplog.text


def test_who_submits_something_absurd_harms_nobody_else():
    class Absurd(Mapping):
        def __getitem__(self, name):
            raise RuntimeError("absurd")

        def __iter__(self):
            return iter(["task_id", "command"])

        def __len__(self):
            return 2

    _, scheduler = instant()
    with scheduler:
        held, go = threading.Event(), threading.Event()
        holder = scheduler._loop.request(lambda _: (held.set(), go.wait(20)))
        held.wait(20)
        good = scheduler._loop.request(Submission([Task("a", "x")], []))
        bad = scheduler._loop.request(Submission([Absurd()], []))
        go.set()
        holder.result(20)
        assert good.result(20) == range(1)
        with pytest.raises(RuntimeError, match="absurd"):
            bad.result(20)
        assert scheduler.handle("a").result(20).exit_code == 0


def test_waiting_in_a_callback_is_refused():
    engine, scheduler = instant("a")
    said = []

    def wait(_):
        try:
            scheduler.wait()
        except RuntimeError as error:
            said.append(str(error))

    with scheduler:
        handle = scheduler.submit(Task("a", "x"))
        handle.add_done_callback(wait)
        wait_until(handle.running)
        engine.let_go(AttemptEnded("a", "w", 1, None, 0, incarnation=1))
        handle.result(20)
        scheduler.wait(20)
    assert said and "callback" in said[0]


def test_closing_ends_a_pause_and_who_asks_is_told_of_it():
    _, scheduler = instant()
    with scheduler:
        scheduler.pause()
        handle = scheduler.submit(Task("a", "x"))
        assert scheduler.explain("a").text.startswith("the scheduler is paused; it ")
    assert handle.result(0).exit_code == 0


def test_streams_that_nobody_reads_any_more_are_given_up():
    _, scheduler = instant()
    with scheduler:
        for i in range(5):
            stream = scheduler.events()
            scheduler.submit(Task(f"t{i}", "x"))
            for _ in stream:
                break
        del stream
        gc.collect()
        assert len(scheduler._teller._streams) == 0
        for _ in range(5):
            assert scheduler.wait(20)


def test_when_the_loop_ends_by_an_error_everybody_is_told_which(monkeypatch):
    engine, scheduler = instant("a")
    handle = scheduler.submit(Task("a", "x"))
    wait_until(handle.running)

    def fail(timeout_s):
        raise OSError("the engine is on fire")

    engine.wait_reports = fail
    engine.wake()
    with pytest.raises(ClosedError, match="on fire"):
        handle.result(20)
    with pytest.raises(ClosedError, match="on fire"):
        scheduler.submit(Task("b", "x"))
    with pytest.raises(OSError, match="on fire"):
        scheduler.close()


def test_a_program_that_forgets_its_scheduler_is_told(tmp_path):
    program = """
        from fastsched import Scheduler, Task, Worker
        scheduler = Scheduler([Worker("w", 1, 512)])
        scheduler.submit(Task("a", "sleep 20; touch never"))
        while scheduler.snapshot().running == 0:
            pass
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "1 of its tasks had not ended" in done.stderr and "`with`" in done.stderr


def test_failures_are_all_told_to_a_command_that_takes_its_time(tmp_path):
    notify = 'printf "%s\\n" "$FASTSCHED_TASK_IDS" >> told; sleep 0.2'
    with Scheduler(ONE, notify=notify) as scheduler:
        scheduler.submit_all([Task(f"f{i}", "exit 1", max_retries=0) for i in range(7)])
    assert sorted(Path("told").read_text().split()) == [f"f{i}" for i in range(7)]
    assert len(Path("told").read_text().splitlines()) == 8, "the last one is for the end"
