"""Why a task stands where it does; and that nobody starves."""

from __future__ import annotations

import pytest

from fastsched import FailureModel, Policy, Reason, Task, Worker, WorkerEvent, schedule
from fastsched.errors import UnsatisfiableWarning, ValidationError
from fastsched.events import (
    AttemptEnded,
    AttemptStarted,
    RoomReserved,
    TaskCancelled,
    TaskFailed,
    TasksSubmitted,
    TaskUnsatisfiable,
    WorkerDraining,
    WorkerJoined,
    WorkerLeft,
    WorkerOnProbation,
    WorkerQuarantined,
    WorkerResized,
    WorkerTrusted,
)
from fastsched.graph import WorkerTable
from fastsched.planner import TaskGraph
from fastsched.state import State

NS = 10**9


def open_state(tasks, workers, **options) -> State:
    graph = TaskGraph(tasks)
    state = State(
        graph,
        WorkerTable(workers, graph.resources),
        **{"rank": "critical-path", "fit": "most-free", "max_retries": 3, **options},
    )
    for worker in workers:
        state.absorb(WorkerJoined(worker.worker_id, 0), 0)
    return state


def end(state, task_id, worker_id, attempt, now, reason=None):
    return state.absorb(AttemptEnded(task_id, worker_id, attempt, reason), now)


def test_waiting_running_completed_and_failed():
    tasks = [Task("a", "x", max_retries=0), Task("b", "x", ["a"]), Task("c", "x"), Task("d", "x", ["c"])]
    state = open_state(tasks, [Worker("w", 2, 1024)])
    assert state.explain("b").waits_for == ("a",) and "'a' to complete" in state.explain("b").text
    assert "next decision" in state.explain("a").text
    state.decide(0)
    assert state.explain("a").text == "attempt 1 runs on w" and state.explain("a").worker_id == "w"
    end(state, "c", "w", 1, 1)
    assert state.explain("c").text == "attempt 1 completed on w"
    end(state, "a", "w", 1, 2, Reason.EXIT)
    told = state.explain("a"), state.explain("b")
    assert told[0].reason is Reason.EXIT and "for good: EXIT" in told[0].text
    assert told[1].cause_id == "a" and "depends on a" in told[1].text
    state.absorb(TaskCancelled("d", 3), 3)
    assert state.explain("d").text == "it was cancelled"
    with pytest.raises(KeyError):
        state.explain("e")


def test_only_what_has_not_completed_is_waited_for():
    state = open_state([Task("a", "x"), Task("b", "x"), Task("c", "x", ["b", "a", "b"])], [Worker("w", 1, 1024)])
    assert state.explain("c").waits_for == ("b", "a")
    state.decide(0)
    end(state, "a", "w", 1, 1)
    assert state.explain("c").waits_for == ("b",) and state.explain("c").text == "it waits for 'b' to complete"


def test_of_workers_that_lack_the_same_the_largest_is_named():
    workers = [Worker("small", 1, 512), Worker("large", 1, 1024), Worker("middle", 1, 768)]
    told = open_state([Task("a", "x", (), 2, 256)], workers).explain("a")
    assert told.unsatisfiable and (told.best_worker, told.missing) == ("large", {"cpu_millicores": 1000})


def test_a_ready_task_without_room_is_told_where_it_lacks_least_and_when_that_will_be():
    tasks = [Task("long", "x", (), 3, duration=100), Task("short", "x", (), 3, duration=10), Task("next", "x", (), 2)]
    state = open_state(tasks, [Worker("w1", 4, 1024), Worker("w2", 4, 1024)])
    assert [start.task_id for start in state.decide(0)] == ["long", "short"]
    told = state.explain("next")
    assert (told.best_worker, told.missing, told.earliest_ns) == ("w2", {"cpu_millicores": 1000}, 10 * NS)
    assert told.text == "it waits for room: w2 would need 1 core more free, expected in 10 s"


def test_what_nobody_can_hold_waits_is_told_once_and_starts_when_a_fitting_worker_joins():
    state = open_state(
        [Task("big", "x", (), 9, 512), Task("small", "x")], [Worker("w1", 4, 1024), Worker("w2", 8, 256)]
    )
    events = state.decide(0)
    assert [event.task_id for event in events if isinstance(event, AttemptStarted)] == ["small"]
    told = state.explain("big")
    assert told.unsatisfiable and told.best_worker == "w1" and told.missing == {"cpu_millicores": 5000}
    assert "would need 5 cores more (it needs 9 cores, the worker has 4 cores)" in told.text
    joined = state.absorb(WorkerJoined("w3", 5, Worker("w3", 8.5, 4096)), 5)
    assert not [event for event in joined if isinstance(event, TaskUnsatisfiable)], "told once"
    assert state.explain("big").missing == {"cpu_millicores": 500}
    state.absorb(WorkerJoined("w4", 6, Worker("w4", 16, 4096)), 6)
    assert state.decide(6) == [AttemptStarted("big", "w4", 1, 6)]


def test_it_is_told_once_that_nobody_can_hold_a_task():
    state = open_state([Task("a", "x")], [Worker("w", 1, 512)])
    late = Task("big", "x", (), 1, 128, resources={"gpu": 1})
    _, told = state.absorb(TasksSubmitted((late,), 1), 1)
    assert isinstance(told, TaskUnsatisfiable) and "1 gpu more" in told.message
    assert not [event for event in state.decide(2) if isinstance(event, TaskUnsatisfiable)]
    joined = Worker("g", 1, 512, resources={"gpu": 2})
    state.absorb(WorkerJoined("g", 3, joined), 3)
    assert AttemptStarted("big", "g", 1, 3) in state.decide(3)


def test_a_retry_waits_for_its_delay_and_avoids_where_it_failed():
    policy = Policy(backoff=4, jitter=0)
    state = open_state([Task("a", "x")], [Worker("w1", 2, 512), Worker("w2", 1, 512)], policy=policy)
    state.decide(0)
    end(state, "a", "w1", 1, NS, Reason.EXIT)
    told = state.explain("a")
    assert told.delayed_until_ns == 5 * NS and told.avoids == ("w1",) and "tried again in 4 s" in told.text
    assert state.next_wake() == 5 * NS and state.decide(4 * NS) == []
    state.absorb(TasksSubmitted((Task("b", "x", priority=1),), 4 * NS), 4 * NS)
    state.absorb(TasksSubmitted((Task("c", "x", priority=1, duration=50),), 4 * NS), 4 * NS)
    state.absorb(TasksSubmitted((Task("d", "x", priority=1, duration=50),), 4 * NS), 4 * NS)
    assert len(state.decide(4 * NS)) == 3
    assert state.decide(5 * NS) == []
    assert state.explain("a").status == "PENDING" and "w2 would need" in state.explain("a").text


def test_a_black_hole_is_put_in_quarantine_and_let_back_by_probation():
    """It fails at once what succeeds elsewhere, and so is always free."""
    policy = Policy(quarantine_after=2, probation=10)
    tasks = [Task(f"t{i}", "x") for i in range(8)]
    state = open_state(tasks, [Worker("good", 1, 512), Worker("hole", 8, 4096)], policy=policy)
    told, now = [], 0
    for now in range(1, 40):
        for start in [event for event in state.decide(now) if isinstance(event, AttemptStarted)]:
            bad = start.worker_id == "hole"
            told += end(state, start.task_id, start.worker_id, start.attempt, now, Reason.EXIT if bad else None)
        if any(isinstance(event, WorkerQuarantined) for event in told):
            break
    (event,) = [event for event in told if isinstance(event, WorkerQuarantined)]
    assert event.worker_id == "hole" and event.until_ns == now + 10 * NS == state.next_wake()
    assert all(event.worker_id == "good" for event in state.decide(now)), "it is given nothing"
    more = TasksSubmitted(tuple(Task(f"late{i}", "x", (), 4) for i in range(2)), now)
    assert (
        state.absorb(more, now) == [more] and "hole could hold it and is in quarantine" in state.explain("late0").text
    )
    later = state.decide(now + 10 * NS)
    assert WorkerOnProbation("hole", now + 10 * NS) in later
    starts = [event for event in later if isinstance(event, AttemptStarted) and event.worker_id == "hole"]
    assert len(starts) == 1, "one task at a time"
    back = end(state, starts[0].task_id, "hole", starts[0].attempt, now + 11 * NS)
    assert WorkerTrusted("hole", now + 11 * NS) in back
    state.check()


def test_a_broken_graph_puts_nobody_away():
    plan = schedule(
        [Task(f"t{i}", "false") for i in range(30)],
        [Worker("w1", 2, 512), Worker("w2", 2, 512)],
        outcome=lambda *_: False,
        policy=Policy(quarantine_after=1),
    )
    assert set(plan.reasons.values()) == {"EXIT"} and plan.plan.attempts.tolist() == [4] * 30


def test_a_submission_under_a_failed_task_fails_at_once_with_its_root():
    state = open_state([Task("a", "x", max_retries=0), Task("b", "x", ["a"])], [Worker("w", 1, 512)])
    state.decide(0)
    end(state, "a", "w", 1, 1, Reason.EXIT)
    told = state.absorb(TasksSubmitted((Task("c", "x", ["b"]), Task("d", "x", ["c"]), Task("e", "x")), 2), 2)
    assert told[1:] == [TaskFailed("c", 2, Reason.DEPENDENCY, "a"), TaskFailed("d", 2, Reason.DEPENDENCY, "a")]
    assert state.decide(2) == [AttemptStarted("e", "w", 1, 2)]
    with pytest.raises(ValidationError) as caught:
        state.absorb(TasksSubmitted((Task("e", "x"), Task("f", "x", ["g"])), 3), 3)
    assert [problem.kind for problem in caught.value.problems] == ["duplicate_id", "unknown_dependency"]
    assert state.snapshot().pending == 0, "nothing of it was booked"


def test_a_drained_worker_finishes_what_it_runs_and_leaves_at_no_charge():
    state = open_state([Task("a", "x", max_retries=0), Task("b", "x")], [Worker("w1", 1, 512), Worker("w2", 1, 512)])
    state.decide(0)
    assert state.absorb(WorkerDraining("w1", 1), 1) == [WorkerDraining("w1", 1)]
    state.absorb(TasksSubmitted((Task("c", "x"),), 1), 1)
    assert state.decide(1) == []
    assert end(state, "a", "w1", 1, 2)[-1] == WorkerLeft("w1", 2)
    assert state.decide(2) == [], "it is gone"
    lost = state.absorb(WorkerLeft("w2", 3), 3)
    assert [event.will_retry for event in lost[1:] if hasattr(event, "will_retry")] == [True]


def stream(policy, n=200):
    """A task for a whole worker, and an endless stream of small ones: when the large one starts, by the clock."""
    state = open_state([Task("s0", "x", priority=1, duration=3)], [Worker("w", 4, 4096)], policy=policy)
    ends = [(start.task_id, 3 * NS) for start in state.decide(0)]
    state.absorb(TasksSubmitted((Task("large", "x", (), 4, duration=5),), 0), 0)
    for second in range(1, n):
        now = second * NS
        state.absorb(TasksSubmitted((Task(f"s{second}", "x", duration=3),), now), now)
        for task_id, _ in [entry for entry in ends if entry[1] == now]:
            end(state, task_id, "w", 1, now)
        for event in state.decide(now):
            if isinstance(event, AttemptStarted):
                if event.task_id == "large":
                    return second
                ends.append((event.task_id, now + 3 * NS))
    return None


def test_nobody_starves_with_a_reservation():
    assert stream(Policy()) is None, "a stream of small tasks that always fit keeps the large one out"
    started = stream(Policy(reserve_after=20))
    assert started is not None and 20 <= started <= 20 + 1 + 4


def test_without_contention_a_reservation_changes_nothing():
    tasks = [Task(f"t{i}", "x", [f"t{i - 3}"] if i > 2 else (), 1 + i % 2, duration=1 + i % 5) for i in range(40)]
    workers = [Worker(f"w{i}", 8, 4096) for i in range(4)]
    plain = schedule(tasks, workers, policy=Policy())
    assert plain.placements == schedule(tasks, workers, policy=Policy(reserve_after=0)).placements


def test_only_what_cannot_delay_it_is_let_past_a_reservation():
    """Both workers are half busy; the large task is promised the one that will be free first."""
    running = [Task("r1", "x", (), 2, duration=30, priority=9), Task("r2", "x", (), 2, duration=10, priority=9)]
    large = Task("large", "x", (), 4, duration=5, priority=1)
    fill = [Task("f1", "x", (), 2, duration=1), Task("f2", "x", (), 2, duration=1)]
    workers = [Worker("w1", 4, 4096), Worker("w2", 4, 4096)]
    state = open_state([*running, large, *fill], workers, policy=Policy(reserve_after=0))
    first = {e.task_id: e.worker_id for e in state.decide(0) if isinstance(e, AttemptStarted)}
    assert first == {"r1": "w1", "r2": "w2", "f1": "w1", "f2": "w2"}
    end(state, "f1", "w1", 1, NS)
    end(state, "f2", "w2", 1, NS)
    late = (
        Task("long", "x", (), 2, duration=25),
        Task("other", "x", (), 1, duration=20),
        Task("short", "x", (), 1, duration=8),
    )
    state.absorb(TasksSubmitted(late, NS), NS)
    events = state.decide(NS)
    assert RoomReserved("large", "w2", NS) in events
    started = [(e.task_id, e.worker_id) for e in events if isinstance(e, AttemptStarted)]
    assert started == [("long", "w1"), ("short", "w2")], "on w2 only what ends within 9 s; other waits, though it fits"
    told = state.explain("large")
    assert told.reserved_on == "w2" and "room is kept for it on w2" in told.text
    end(state, "short", "w2", 1, 9 * NS)
    end(state, "r2", "w2", 1, 10 * NS)
    assert AttemptStarted("large", "w2", 1, 10 * NS) in state.decide(10 * NS)


def test_what_if_the_rack_is_lost_at_noon():
    tasks = [Task(f"t{i}", "x", duration=10) for i in range(8)]
    rack = [Worker("r1", 1, 512), Worker("r2", 1, 512)]
    calm = schedule(tasks, [*rack, Worker("w", 2, 1024)])
    assert calm.makespan == 20
    lost = schedule(tasks, [*rack, Worker("w", 2, 1024)], events=[WorkerEvent(5, "lose", ["r1", "r2"])])
    assert lost.all_completed and lost.makespan == 40
    assert [p.end for p in lost.placements if p.worker_id == "r1"] == [5.0]
    left = schedule(tasks, rack, events=[WorkerEvent(5, "leave", "r1")], policy=Policy(max_losses=0))
    assert left.all_completed, "a departure that was told costs nothing"
    with pytest.warns(UnsatisfiableWarning, match="no worker that could hold task 't2' is left"):
        gone = schedule(tasks, rack, events=[WorkerEvent(5, "lose", rack)], policy=Policy(max_losses=0), max_retries=9)
    assert set(gone.values()) == {"FAILED"} and gone.reasons["t0"] == "WORKER_LOST"
    with pytest.warns(UnsatisfiableWarning):
        big = schedule([Task("a", "x", (), 4)], rack, events=[WorkerEvent(7, "join", Worker("n", 2, 512))])
    assert big.reasons == {"a": "UNSATISFIABLE"}
    helped = schedule([Task("a", "x", (), 4)], rack, events=[WorkerEvent(7, "join", Worker("n", 4, 512))])
    assert helped.makespan == 8 and helped.placements[0].worker_id == "n"


def test_chance_is_the_same_for_the_same_seed_and_about_as_often_as_asked():
    tasks = [Task(f"t{i}", "x") for i in range(2000)]
    workers = [Worker(f"w{i}", 8, 4096) for i in range(5)]
    plan = schedule(tasks, workers, failures=FailureModel(task_probability=0.1, seed=5))
    again = schedule(tasks, workers, failures=FailureModel(task_probability=0.1, seed=5))
    other = schedule(tasks, workers, failures=FailureModel(task_probability=0.1, seed=6))
    assert plan.placements == again.placements != other.placements
    share = 1 - len(tasks) / plan.plan.attempts.sum()
    assert 0.08 < share < 0.12
    lost = schedule(tasks, workers, failures=FailureModel(worker_mtbf=10, worker_repair=1, seed=5))
    assert set(lost.reasons.values()) <= {"WORKER_LOST"} and len(lost.plan.log["task"]) > 0


def test_room_that_is_kept_for_another_is_not_promised():
    tasks = [Task("long", "x", (), 1, 1, duration=100), Task("wide", "x", (), 2, 1, priority=5, duration=10)]
    tasks += [Task(f"small{i}", "x", (), 1, 1, duration=1000) for i in range(3)]
    state = open_state(tasks[:1] + tasks[2:3], [Worker("w", 2, 1024)], policy=Policy(reserve_after=0))
    state.decide(0)
    state.absorb(TasksSubmitted([tasks[1], *tasks[3:]], 1), 1)
    end(state, "small0", "w", 1, 2)
    state.decide(2)
    end(state, "small1", "w", 1, 3)
    state.decide(3)
    assert state.explain("wide").reserved_on == "w"
    told = state.explain("small2")
    assert told.text == "it waits: the room on w is kept for wide" and told.best_worker == "w"


def test_a_worker_that_shrank_is_not_said_to_be_expected():
    state = open_state([Task("a", "x", (), 2, 1), Task("b", "x", (), 1, 1)], [Worker("w", 2, 1024)])
    state.decide(0)
    state.absorb(WorkerResized(Worker("w", 1, 1024), 1), 1)
    assert state.explain("b").text == "w could hold it and holds more than it has since it shrank"


def test_a_retry_that_falls_back_is_not_said_to_wait_for_quarantine():
    """Whoever is in quarantine is not waited for; so says `explain`, and so it is decided."""
    policy = Policy(quarantine_after=1, probation=1000)
    workers = [Worker("a", 1, 128), Worker("b", 1, 128)]
    state = open_state([Task("t", "x")], workers, policy=policy)
    assert state.decide(0)[0].worker_id == "a"
    end(state, "t", "a", 1, 1, Reason.EXIT)
    assert state.decide(1)[0].worker_id == "b"
    end(state, "t", "b", 2, 2)
    state.absorb(TasksSubmitted([Task("u", "x")], 3), 3)
    assert state.decide(3)[0].worker_id == "b"
    end(state, "u", "b", 1, 4, Reason.EXIT)
    assert state.explain("u").text == "it starts with the next decision; b has room for it"
    assert state.decide(4)[0].worker_id == "b"
