"""What an engine that holds orders does until another attempt has ended: nothing starts twice, or too early."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fastsched import Reason
from fastsched.events import AttemptEnded, Recall, Start, TaskReturned, WorkerLost

from .field import needs_proc, survivors, wait_for


@pytest.fixture
def holder(field):
    """A field whose engine holds orders."""
    if not field.engine.holds:
        pytest.skip("skipped: this engine returns what it is to hold")
    return field


def send(field, *commands, first_after=None):
    """Orders that follow each other: task id and command of each. All of them at once."""
    orders, after = [], first_after
    for task_id, command in commands:
        orders.append(Start(task_id, "w1", 1, field.incarnations["w1"], command, 1.0, 128, after=after))
        after = task_id
    field.engine.send(orders)


def told_of(field, *task_ids):
    """What is said of these attempts, in the order in which it came: an end or a return of each."""
    told = []
    while len(told) < len(task_ids):
        told.append(field.find((AttemptEnded, TaskReturned), lambda report: report.task_id in task_ids))
    return told


def write(word):
    return f"echo x >> {os.path.abspath(word)}"


def test_it_starts_when_the_one_before_it_has_ended_and_never_besides(holder):
    kept = 0
    for i in range(40):
        names = [f"{name}{i}" for name in "abcd"]
        # Each takes a lock that the next one must find free, and one fails.
        lock = os.path.abspath("lock")
        held = f"mkdir {lock} || exit 7; rmdir {lock}; echo x >> {os.path.abspath('word')}"
        send(holder, *((name, held + ("; exit 3" if name[0] == "b" else "")) for name in names))
        told = told_of(holder, *names)
        ends = [report for report in told if isinstance(report, AttemptEnded)]
        assert [report.task_id for report in ends] == names[: len(ends)], "in their order"
        assert [report.exit_code for report in ends] == [0, 3, 0, 0][: len(ends)]
        back = [report.task_id for report in told if isinstance(report, TaskReturned)]
        assert back == names[: len(ends) - 1 : -1], "what follows comes back first"
        kept += len(ends) - 1
    assert kept > 0, "all was given back"
    assert len(Path("word").read_text().split()) == kept + 40


def test_what_waits_for_something_slow_is_given_back(holder):
    send(holder, ("a", "sleep 0.5"), ("b", write("word")), ("c", write("word")))
    told = told_of(holder, "a", "b", "c")
    assert [report.task_id for report in told] == ["c", "b", "a"]
    assert isinstance(told[1], TaskReturned) and told[1].incarnation == 1 and told[1].worker_id == "w1"
    assert not Path("word").exists()
    send(holder, ("b", write("word")))
    assert holder.end_of("b").reason is None and Path("word").read_text() == "x\n"


def test_an_order_behind_one_that_is_on_its_way_back_is_given_back(holder):
    send(holder, ("a", "sleep 0.5"), ("b", write("word")))
    time.sleep(0.2)  # nobody reads that it was given back; where it was not yet, both are
    send(holder, ("c", write("word")), first_after="b")
    told = told_of(holder, "a", "b", "c")
    assert [type(report) for report in told] == [TaskReturned, TaskReturned, AttemptEnded]
    assert not Path("word").exists()


def test_an_order_behind_one_that_has_come_back_comes_back(holder):
    send(holder, ("a", "sleep 0.3"), ("b", write("word")))
    told_of(holder, "b")
    send(holder, ("c", write("word")), first_after="b")  # it was kept back for want of room on the disk, say
    assert isinstance(told_of(holder, "c")[0], TaskReturned)
    assert holder.end_of("a").reason is None and not Path("word").exists()


@needs_proc
def test_an_order_behind_one_that_has_ended_starts_at_once(holder, mark):
    send(holder, ("a", f"touch up; : {mark}"))
    wait_for(lambda: os.path.exists("up") and not survivors(mark))  # and nobody has read that
    send(holder, ("b", write("word")), first_after="a")
    assert [report.task_id for report in told_of(holder, "a", "b")] == ["a", "b"]
    send(holder, ("c", write("word")), first_after="a")
    assert holder.end_of("c").reason is None and Path("word").read_text() == "x\nx\n"


def test_what_is_held_is_not_started_once_it_is_stopped(holder):
    send(holder, ("a", "sleep 0.3"), ("b", write("word")), ("c", write("word")))
    holder.stop("b")
    told = told_of(holder, "a", "b", "c")
    assert {report.task_id: type(report) for report in told[:2]} == {"b": TaskReturned, "c": TaskReturned}
    assert not Path("word").exists()


def test_all_that_is_held_can_be_recalled(holder):
    send(holder, ("a", "sleep 0.3"), ("b", write("word")))
    send(holder, ("d", "sleep 0.3"), ("e", write("word")))
    holder.engine.send([Recall("w1", 1)])
    told = told_of(holder, "a", "b", "d", "e")
    assert {report.task_id for report in told if isinstance(report, TaskReturned)} == {"b", "e"}
    assert not Path("word").exists()


def test_what_could_not_be_started_gives_its_place_to_what_follows(holder):
    kept = 0
    for i in range(20):
        send(holder, (f"a{i}", ["/nowhere/at/all"]), (f"b{i}", "exit 0"))
        first, second = told_of(holder, f"a{i}", f"b{i}")
        ends = [report for report in (first, second) if isinstance(report, AttemptEnded)]
        assert ends[0].reason is Reason.SPAWN
        kept += len(ends) == 2
    assert kept > 0


def test_what_cannot_be_started_in_its_turn_is_given_back_and_fails_by_itself(holder):
    send(holder, ("a", "exit 0"), ("b", ["/nowhere/at/all"]))
    told = told_of(holder, "a", "b")
    assert [type(report) for report in told] == [TaskReturned, AttemptEnded]
    send(holder, ("b", ["/nowhere/at/all"]))
    assert holder.end_of("b").reason is Reason.SPAWN


def test_what_needs_more_than_a_command_is_given_back_or_held(holder):
    orders = [
        Start("a", "w1", 1, 1, "sleep 0.2", 1.0, 128),
        Start("b", "w1", 1, 1, write("word"), 1.0, 128, env={"A": "b"}, after="a"),
        Start("c", "w1", 1, 1, write("word"), 1.0, 128, after="b"),
    ]
    holder.engine.send(orders)
    told = told_of(holder, "a", "b", "c")
    assert {report.task_id for report in told if isinstance(report, TaskReturned)} == {"b", "c"}
    assert not Path("word").exists()


def test_a_worker_that_is_lost_starts_nothing_more(holder):
    send(holder, ("a", "sleep 0.2"), ("b", write("word")))
    holder.engine.lose("w1", "it was removed")
    holder.find(WorkerLost)
    time.sleep(0.5)  # longer than the first would have taken: what must not happen has had its time
    assert not Path("word").exists()


def test_what_is_held_at_the_end_is_given_back(holder):
    send(holder, ("a", "sleep 30"), ("b", write("word")))
    holder.is_open = False
    last = [*holder.reports, *holder.engine.close(1.0)]
    assert any(isinstance(report, TaskReturned) and report.task_id == "b" for report in last)
    assert not Path("word").exists()
