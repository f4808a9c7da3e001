"""Names over numbers: facts in, events out."""

from __future__ import annotations

import pytest

from fastsched import Policy, Reason, Task, Worker
from fastsched.errors import InternalError, ValidationError
from fastsched.events import (
    AttemptCompleted,
    AttemptEnded,
    AttemptFailed,
    AttemptStarted,
    CancelRequested,
    RoomReserved,
    TaskCancelled,
    TaskFailed,
    TaskOvertaken,
    TaskPromised,
    TaskReturned,
    TasksSubmitted,
    WorkerDraining,
    WorkerExpected,
    WorkerJoined,
    WorkerLeft,
    WorkerLost,
    WorkerQuarantined,
    WorkersSettled,
    WorkerTrusted,
)
from fastsched.graph import WorkerTable
from fastsched.planner import TaskGraph
from fastsched.state import Snapshot, State


def open_state(tasks, workers, **options) -> State:
    graph = TaskGraph(tasks)
    state = State(
        graph,
        WorkerTable(workers, graph.resources),
        **{"rank": "critical-path", "fit": "most-free", "max_retries": 3, **options},
    )
    return state


def join(state, *worker_ids):
    for worker_id in worker_ids:
        assert state.absorb(WorkerJoined(worker_id, 0), 0) == [WorkerJoined(worker_id, 0)]


def test_no_task_starts_before_a_worker_has_joined():
    state = open_state([Task("a", "x")], [Worker("w1", 1, 128), Worker("w2", 1, 128)])
    assert state.decide(0) == []
    join(state, "w2")
    assert state.decide(3) == [AttemptStarted("a", "w2", 1, 3)]
    assert state.snapshot() == Snapshot(0, 1, 0, 0)
    assert state.absorb(AttemptEnded("a", "w2", 1, None, 0), 5) == [AttemptCompleted("a", "w2", 1, 5)]
    assert state.absorb(AttemptEnded("a", "w2", 1, None, 0), 6) == [], "a doubled report means nothing"
    assert state.done and state.snapshot() == Snapshot(0, 0, 1, 0)
    state.check()


def test_a_failure_is_told_with_what_follows_from_it():
    state = open_state(
        [Task("a", "x", max_retries=1), Task("b", "x", ["a"]), Task("c", "x", ["b"])], [Worker("w", 1, 128)]
    )
    join(state, "w")
    state.decide(0)
    ended = AttemptEnded("a", "w", 1, Reason.EXIT, exit_code=3, message="exit code 3")
    assert state.absorb(ended, 1) == [AttemptFailed("a", "w", 1, 1, Reason.EXIT, True, 3, None, "exit code 3")]
    assert state.decide(1) == [AttemptStarted("a", "w", 2, 1)]
    assert state.absorb(ended, 2) == [], "a report of the first attempt is stale"
    assert state.absorb(AttemptEnded("a", "w", 2, Reason.SIGNAL, signal=9), 2) == [
        AttemptFailed("a", "w", 2, 2, Reason.SIGNAL, False, None, 9),
        TaskFailed("a", 2, Reason.SIGNAL),
        TaskFailed("b", 2, Reason.DEPENDENCY, "a"),
        TaskFailed("c", 2, Reason.DEPENDENCY, "a"),
    ]
    assert state.done and state.snapshot() == Snapshot(0, 0, 0, 3)


def test_what_is_impossible_is_refused_and_not_booked():
    state = open_state([Task("a", "x"), Task("b", "x", ["a"])], [Worker("w", 1, 128), Worker("v", 1, 128)])
    join(state, "w")
    before = state.digest()
    for wrong in (
        AttemptStarted("a", "w", 9, 0),
        AttemptStarted("b", "w", 1, 0),
        AttemptStarted("a", "v", 1, 0),
        AttemptEnded("a", "w", 1, None),
        WorkerJoined("x", 0, Worker("y", 1, 128)),
        WorkerJoined("w", 0),
        RoomReserved("a", None, 0),
        RoomReserved("b", "w", 0),
        TaskOvertaken("b", 0),
    ):
        with pytest.raises(InternalError):
            state.absorb(wrong, 0)
    for wrong in (WorkerQuarantined("w", 0, 9), WorkerTrusted("w", 0), AttemptCompleted("a", "w", 1, 0), None):
        with pytest.raises(TypeError, match="is no fact"):
            state.absorb(wrong, 0)
    for wrong in (AttemptStarted("zz", "w", 1, 0), TaskCancelled("zz", 0), WorkerLost("zz", "gone")):
        with pytest.raises(KeyError):
            state.absorb(wrong, 0)
    for wrong in (
        lambda: state.decide(0.5),
        lambda: state.advance("1"),
        lambda: state.absorb(TaskCancelled("a", 0), 1.0),
    ):
        with pytest.raises(TypeError):
            wrong()
    assert state.digest() == before and state.n_running == 0
    assert state.decide(0) == [AttemptStarted("a", "w", 1, 0)]
    state.check()


def test_a_lost_worker_gives_its_tasks_to_others():
    state = open_state([Task("a", "x", max_retries=0)], [Worker("w1", 1, 128), Worker("w2", 1, 128)])
    join(state, "w1", "w2")
    state.decide(0)
    assert state.absorb(WorkerLost("w1", "silent"), 4) == [
        WorkerLost("w1", "silent", 4),
        AttemptFailed("a", "w1", 1, 4, Reason.WORKER_LOST, True, message="silent"),
    ]
    assert state.decide(4) == [AttemptStarted("a", "w2", 2, 4)]
    assert state.absorb(AttemptEnded("a", "w1", 1, None, 0), 5) == []


def test_what_no_worker_can_hold_fails_at_once_and_what_none_is_left_for_later():
    state = open_state(
        [Task("big", "x", (), 9), Task("two", "x", (), 2), Task("one", "x")],
        [Worker("w1", 1, 512), Worker("w2", 2, 512)],
    )
    (told,) = state.absorb(WorkersSettled(0), 0)
    assert (told.task_id, told.reason) == (
        "big",
        Reason.UNSATISFIABLE,
    ) and "'w2', would need 7 cores more" in told.message
    join(state, "w1")
    assert [start.task_id for start in state.decide(1)] == ["one"]
    assert state.absorb(WorkersSettled(2), 2) == [], "w2 is still expected"
    lost, stuck = state.absorb(WorkerLost("w2", "it never came"), 3)
    assert lost == WorkerLost("w2", "it never came", 3)
    assert (stuck.task_id, stuck.at_ns) == ("two", 3) and "'w1', would need 1 core more" in stuck.message
    assert [told.task_id for told in state.absorb(WorkersSettled(3), 3)] == ["two"]


def test_a_report_of_a_worker_that_does_not_run_the_attempt_is_stale():
    state = open_state([Task("a", "x")], [Worker("w1", 1, 128), Worker("w2", 1, 128)])
    join(state, "w1", "w2")
    assert state.decide(0) == [AttemptStarted("a", "w1", 1, 0)]
    for reason in (None, Reason.EXIT):
        assert state.absorb(AttemptEnded("a", "w2", 1, reason), 1) == []
        assert state.absorb(AttemptEnded("a", "w2", 1, reason, incarnation=1), 1) == []
    assert state.snapshot() == Snapshot(0, 1, 0, 0)


def test_a_later_submission_has_its_own_order_and_its_own_cycles():
    """Its first task, which others of it depend on, is no task of before."""
    state = open_state([Task("a", "x")], [Worker("w", 1, 128)])
    with pytest.raises(ValidationError, match="b -> c -> b"):
        state.absorb(TasksSubmitted([Task("b", "x", ["c"]), Task("c", "x", ["b"])], 0), 0)
    later = [Task("head", "x", duration=1), Task("tail", "x", ["head", "a"], duration=99), Task("b", "x", duration=50)]
    assert state.absorb(TasksSubmitted(later, 0), 0) == [TasksSubmitted(later, 0)]
    join(state, "w")
    for i, task_id in enumerate(("head", "b", "a", "tail")):
        assert state.decide(i) == [AttemptStarted(task_id, "w", 1, i)]
        state.absorb(AttemptEnded(task_id, "w", 1, None, 0), i)
    assert state.done


def test_cancel_all_ends_everything():
    state = open_state([Task("a", "x"), Task("b", "x"), Task("c", "x", ["a"])], [Worker("w", 1, 128)])
    join(state, "w")
    state.decide(0)
    told = state.cancel_all(5)
    assert told[0] == AttemptFailed("a", "w", 1, 5, Reason.CANCELLED, False, message="the run was interrupted")
    assert {(e.task_id, e.reason, e.cause_id) for e in told[1:]} == {
        ("a", Reason.CANCELLED, None),
        ("b", Reason.CANCELLED, None),
        ("c", Reason.DEPENDENCY, "a"),
    }
    assert state.done
    state.check()


def test_resources_keep_their_places_when_later_tasks_bring_others():
    worker = Worker("w", 1, 1024, resources={"a": 4, "z": 1})
    state = open_state([Task("first", "x", duration=10, resources={"z": 1})], [worker])
    join(state, "w")
    state.absorb(TasksSubmitted([Task("then", "x", duration=10, resources={"a": 1})], 0), 0)
    now = 0
    while not state.done:
        for start in state.decide(now):
            now += 10 * 10**9
            state.absorb(AttemptEnded(start.task_id, "w", start.attempt, None), now)
    bounds = state.plan().bounds_ns
    assert (bounds["z"], bounds["a"]) == (10 * 10**9, 10 * 10**9 // 4)


def test_a_worker_that_is_there_does_not_join_with_another_capacity():
    state = open_state([Task("a", "x")], [Worker("w", 1, 128)])
    join(state, "w")
    before = state.digest()
    with pytest.raises(InternalError, match="was there"):
        state.absorb(WorkerJoined("w", 0, Worker("w", 8, 200)), 0)
    assert state.digest() == before and state.workers == [Worker("w", 1, 128)]


def test_a_submission_of_the_past_brings_no_resource():
    state = open_state([Task("a", "x")], [Worker("w", 1, 128)])
    state.advance(5)
    before = state.digest()
    with pytest.raises(InternalError, match="time went back"):
        state.absorb(TasksSubmitted([Task("b", "x", resources={"gpu": 1})], 4), 4)
    assert state.digest() == before and state.resources == ("cpu_millicores", "memory_mb")


def test_a_running_task_is_cancelled_when_its_command_has_ended():
    """Until then it keeps its room: what takes its place must not run beside it."""
    state = open_state([Task("a", "x"), Task("b", "x"), Task("c", "x", ["a"])], [Worker("w", 1, 128)])
    join(state, "w")
    state.decide(0)
    assert state.absorb(CancelRequested("a", 1), 1) == [CancelRequested("a", 1)]
    assert state.absorb(CancelRequested("a", 2), 2) == [] and state.decide(2) == []
    ended, a, c = state.absorb(AttemptEnded("a", "w", 1, Reason.SIGNAL, signal=15, message="ended"), 3)
    assert ended == AttemptFailed("a", "w", 1, 3, Reason.CANCELLED, False, signal=15, message="ended")
    assert (a.task_id, a.reason) == ("a", Reason.CANCELLED) and (c.task_id, c.cause_id) == ("c", "a")
    assert state.decide(3) == [AttemptStarted("b", "w", 1, 3)]
    state.check()


def test_a_cancelled_task_that_completes_first_has_completed():
    state = open_state([Task("a", "x")], [Worker("w", 1, 128)])
    join(state, "w")
    state.decide(0)
    state.absorb(CancelRequested("a", 1), 1)
    assert state.absorb(AttemptEnded("a", "w", 1, None, 0), 2) == [AttemptCompleted("a", "w", 1, 2)]
    assert state.absorb(CancelRequested("a", 3), 3) == []


def test_what_waits_is_cancelled_at_once_and_what_is_lost_is_not_tried_again():
    state = open_state([Task("a", "x"), Task("b", "x")], [Worker("w", 1, 128)])
    join(state, "w")
    state.decide(0)
    assert [(e.task_id, e.reason) for e in state.absorb(CancelRequested("b", 1), 1)] == [("b", Reason.CANCELLED)]
    state.absorb(CancelRequested("a", 1), 1)
    stale = AttemptEnded("a", "w", 1, Reason.EXIT, 1, incarnation=9)
    assert state.absorb(stale, 2) == [] and state.n_running == 1
    _, lost, failed = state.absorb(WorkerLost("w", "gone", will_return=True), 3)
    assert not lost.will_retry and (failed.task_id, failed.reason) == ("a", Reason.CANCELLED)
    assert state.done
    state.check()


def test_what_only_an_expected_worker_could_hold_waits_until_no_other_will_come():
    state = open_state([], [])
    (told,) = state.absorb(WorkerExpected(Worker("w", 2, 128), 0), 0)
    assert told.worker.worker_id == "w"
    with pytest.raises(InternalError, match="expected already"):
        state.absorb(WorkerExpected(Worker("w", 2, 128), 0), 0)
    _, stuck = state.absorb(TasksSubmitted([Task("a", "x", (), 2), Task("b", "x", (), 3)], 1), 1)
    assert stuck.task_id == "b" and state.decide(1) == []
    assert [(e.task_id, e.reason) for e in state.absorb(WorkersSettled(2), 2)] == [("b", Reason.UNSATISFIABLE)]
    join_at_3 = state.absorb(WorkerJoined("w", 3), 3)
    assert join_at_3 == [WorkerJoined("w", 3)] and state.decide(3) == [AttemptStarted("a", "w", 1, 3)]


def test_a_state_that_forgets_lets_go_of_what_has_ended():
    state = open_state([], [Worker("w", 1, 128)], forget=True)
    join(state, "w")
    state.absorb(TasksSubmitted([Task("a", "x"), Task("b", "x", ["a"]), Task("c", "x")], 0), 0)
    state.decide(0)
    state.absorb(AttemptEnded("a", "w", 1, None, 0), 1)
    state.absorb(CancelRequested("c", 1), 1)
    assert [task.task_id for task in state.tasks] == ["", "b", "c"], (
        "of the last it may be asked how long it was to take"
    )
    assert "completed" in state.explain("a").text and state.decide(2) == [AttemptStarted("b", "w", 1, 2)]
    state.absorb(AttemptEnded("b", "w", 1, None, 2), 3)
    assert [task.task_id for task in state.tasks] == ["", "b", ""]


# ---------------------------------------------------------------- promises


def promised_row(*workers, **options) -> State:
    """`a` runs on the first worker, and `b` and `c` are promised to it; `d` waits."""
    state = open_state([Task(task_id, "x") for task_id in "abcd"], workers or [Worker("w", 1, 128)], **options)
    join(state, "w")
    assert state.decide(0) == [AttemptStarted("a", "w", 1, 0)]
    assert state.promise(["a"], {"w": 2}, 1) == [TaskPromised("b", "w", "a", 1), TaskPromised("c", "w", "b", 1)]
    return state


def test_what_is_promised_starts_when_the_one_before_it_has_ended():
    state = promised_row()
    assert state.decide(1) == [] and state.n_promised == 2
    assert state.promise(["a"], {"w": 2}, 1) == [], "there are as many already"
    assert state.snapshot() == Snapshot(3, 1, 0, 0)
    assert state.explain("b").text == "it starts on w as soon as another one ends there"
    assert state.absorb(AttemptEnded("a", "w", 1, None, 0), 2) == [
        AttemptCompleted("a", "w", 1, 2),
        AttemptStarted("b", "w", 1, 2),
    ]
    assert state.promise(["b"], {"w": 2}, 2) == [TaskPromised("d", "w", "c", 2)]
    assert state.absorb(AttemptEnded("b", "w", 1, Reason.EXIT, 1), 3)[1:] == [AttemptStarted("c", "w", 1, 3)]
    assert state.absorb(AttemptEnded("c", "w", 1, None, 0), 4)[1:] == [AttemptStarted("d", "w", 1, 4)]
    state.absorb(AttemptEnded("d", "w", 1, None, 0), 5)
    assert state.decide(5) == [AttemptStarted("b", "w", 2, 5)]
    state.check()


def test_what_is_returned_is_ready_again_and_what_was_to_follow_it_is_not_started():
    state = promised_row()
    assert state.absorb(TaskReturned("b", "w", 99), 2) == [] and state.n_promised == 2, "that was somebody else"
    assert state.absorb(TaskReturned("b", "w", 1), 2) == [] and state.n_promised == 1
    assert state.absorb(AttemptEnded("a", "w", 1, None, 0), 3) == [AttemptCompleted("a", "w", 1, 3)]
    assert state.decide(3) == [AttemptStarted("b", "w", 1, 3)], "c is not known to be back"
    assert state.absorb(AttemptEnded("b", "w", 1, None, 0), 4) == [AttemptCompleted("b", "w", 1, 4)]
    state.absorb(TaskReturned("c", "w", 1), 5)
    assert state.decide(5) == [AttemptStarted("c", "w", 1, 5)] and state.n_promised == 0
    state.check()


def test_what_was_promised_to_a_worker_that_is_lost_may_have_run_there():
    state = promised_row(Worker("w", 1, 128), Worker("v", 1, 128), policy=Policy(max_losses=1))
    lost = WorkerLost("w", "silent", 2)
    assert state.absorb(lost, 2) == [
        AttemptStarted("b", "w", 1, 2),
        AttemptStarted("c", "w", 1, 2),
        lost,
        *(AttemptFailed(i, "w", 1, 2, Reason.WORKER_LOST, True, message="silent") for i in "abc"),
    ]
    state.absorb(WorkerJoined("v", 3), 3)
    assert state.decide(3) == [AttemptStarted("a", "v", 2, 3)]
    state.check()


def test_what_was_promised_after_something_that_was_returned_has_not_run_on_a_worker_that_left():
    state = promised_row()
    state.absorb(TaskReturned("b", "w", 1), 2)
    left = WorkerLeft("w", 3)
    assert state.absorb(left, 3)[:2] == [
        left,
        AttemptFailed("a", "w", 1, 3, Reason.WORKER_LOST, True, message="its worker left"),
    ]
    assert state.n_promised == 0 and state.snapshot() == Snapshot(4, 0, 0, 0)
    state.check()


def test_a_promised_task_is_cancelled_when_it_is_returned_or_has_ended():
    state = promised_row()
    for task_id in "bc":
        assert state.absorb(CancelRequested(task_id, 2), 2) == [CancelRequested(task_id, 2)]
        assert state.absorb(CancelRequested(task_id, 2), 2) == [], "it was asked for already"
        assert state.open_attempt(state.index_of(task_id)) == (1, "w"), "that is what is to be stopped"
    assert state.absorb(TaskReturned("c", "w", 1), 3) == [TaskFailed("c", 3, Reason.CANCELLED)]
    assert state.absorb(AttemptEnded("a", "w", 1, None, 0), 4)[1:] == [AttemptStarted("b", "w", 1, 4)]
    assert state.absorb(AttemptEnded("b", "w", 1, Reason.CANCELLED), 5) == [
        AttemptFailed("b", "w", 1, 5, Reason.CANCELLED, False),
        TaskFailed("b", 5, Reason.CANCELLED),
    ]
    state.check()


def test_a_promised_task_that_is_cancelled_at_once_leaves_its_place_to_the_next():
    state = promised_row()
    assert state.absorb(TaskCancelled("b", 2), 2) == [TaskFailed("b", 2, Reason.CANCELLED)]
    assert state.absorb(TaskCancelled("a", 3), 3)[1:] == [
        AttemptStarted("c", "w", 1, 3),
        TaskFailed("a", 3, Reason.CANCELLED),
    ]
    state.check()


def test_everything_can_be_cancelled_with_promises():
    state = promised_row()
    events = state.cancel_all(2)
    assert state.done and state.n_promised == 0
    assert [event.task_id for event in events if isinstance(event, AttemptFailed)] == ["a"]
    state.check()


def test_a_worker_is_drained_when_it_has_done_what_it_was_promised():
    state = promised_row()
    assert state.absorb(WorkerDraining("w", 2), 2)[0] == WorkerDraining("w", 2)
    assert state.promise(["a"], {"w": 5}, 2) == []
    for at, (task_id, following) in enumerate(["ab", "bc"], 3):
        events = state.absorb(AttemptEnded(task_id, "w", 1, None, 0), at)
        assert events == [AttemptCompleted(task_id, "w", 1, at), AttemptStarted(following, "w", 1, at)]
    assert state.absorb(AttemptEnded("c", "w", 1, None, 0), 6)[1:] == [WorkerLeft("w", 6)]


def test_one_task_is_promised_behind_one_that_is_named_twice():
    state = open_state([Task(task_id, "x") for task_id in "abc"], [Worker("w", 1, 128)])
    join(state, "w")
    state.decide(0)
    assert state.promise(["a", "a"], {"w": 1}, 1) == [TaskPromised("b", "w", "a", 1)]
    assert state.promise(["a", "a"], {"w": 2}, 1) == [TaskPromised("c", "w", "b", 1)]


def with_orphans(**options) -> State:
    """`a` runs; `b` was returned, and of `c` and `d`, which were to follow it, nothing is known."""
    state = promised_row(**options)
    assert state.promise(["a"], {"w": 3}, 1) == [TaskPromised("d", "w", "c", 1)]
    state.absorb(TaskReturned("b", "w", 1), 2)
    return state


def test_what_was_to_follow_something_returned_is_free_when_the_worker_is_lost():
    state = with_orphans()
    state.absorb(CancelRequested("c", 2), 2)
    events = state.absorb(WorkerLost("w", "silent", 3, True), 3)
    assert events[-1] == TaskFailed("c", 3, Reason.CANCELLED) and state.n_promised == 0
    state.absorb(WorkerJoined("w", 4), 4)
    for at, (task_id, attempt) in enumerate([("a", 2), ("b", 1), ("d", 1)], 4):
        assert state.decide(at) == [AttemptStarted(task_id, "w", attempt, at)]
        ended = AttemptEnded(task_id, "w", attempt, None, 0)
        assert state.absorb(ended, at) == [AttemptCompleted(task_id, "w", attempt, at)]
    state.check()


def test_a_draining_worker_can_be_lost_with_promises_that_follow_nothing():
    state = with_orphans()
    state.absorb(WorkerDraining("w", 3), 3)
    state.absorb(AttemptEnded("a", "w", 1, None, 0), 4)
    assert state.absorb(WorkerLeft("w", 5), 5)[0] == WorkerLeft("w", 5) and state.n_promised == 0
    state.check()


def test_promises_that_cannot_be_are_refused():
    state = promised_row()
    with pytest.raises(InternalError, match="another task does already"):
        state.absorb(TaskPromised("d", "w", "a", 2), 2)
    with pytest.raises(InternalError, match="was not ready"):
        state.absorb(TaskPromised("a", "w", "c", 2), 2)
    assert state.absorb(TaskPromised("d", "w", "c", 2), 2) == [] and state.n_promised == 3
    state.check()
