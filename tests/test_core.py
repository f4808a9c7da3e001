"""The core through its doors: the retail one makes the placements of the wholesale one, and facts are booked right."""

from __future__ import annotations

import heapq
import os
import warnings

import numpy as np
import pytest
from worlds import make_world

from fastsched import Task, Worker, schedule
from fastsched._core import REASON_EXIT, REASON_WORKER_LOST, Core, bottom_levels, successors, topological_order
from fastsched.errors import InternalError, UnsatisfiableWarning
from fastsched.graph import TaskGraph, WorkerTable
from fastsched.planner import make_core

STATES = {"waiting": 0, "ready": 1, "running": 2, "completed": 3, "failed": 5, "skipped": 6, "cancelled": 7}


def core_of(tasks, workers, **options) -> Core:
    graph = TaskGraph(tasks)
    options = {"rank": "critical-path", "fit": "most-free", "max_retries": 3, **options}
    return make_core(graph, WorkerTable(workers, graph.resources), **options)


def state_of(core: Core, task: int) -> str:
    return next(name for name, code in STATES.items() if code == core.columns()["state"][task])


def play_retail(core: Core, duration, outcome):
    """Virtual time over the retail door. Answers every attempt, as the oracle does."""
    core.fail_unsatisfiable(0)
    events, attempts, now = [], [], 0
    while True:
        for task, worker, attempt in core.assign(now):
            heapq.heappush(events, (now + int(duration[task]), task, worker, attempt, now))
        core.check()
        if not events:
            return sorted(attempts, key=lambda a: (a[3], a[0], a[2]))
        now = events[0][0]
        while events and events[0][0] == now:
            end, task, worker, attempt, start = heapq.heappop(events)
            completed = outcome is None or outcome(task, worker, attempt)
            attempts.append((task, worker, attempt, start, end, completed))
            assert core.finished(task, attempt, now) if completed else core.failed(task, attempt, now, REASON_EXIT)


@pytest.mark.parametrize("chunk", range(4))
def test_both_doors_make_the_same_placements(chunk):
    for seed in range(chunk, 600, 4):
        world = make_world(seed)
        graph = TaskGraph(world.tasks)
        table = WorkerTable(world.workers, graph.resources)
        told = world.options.pop("outcome", None)
        outcome = told and (lambda t, w, a, g=graph, b=table, told=told: told(g.ids[t], b.ids[w], a))
        core = core_of(world.tasks, world.workers, rank=world.rank, fit=world.fit, max_retries=world.max_retries)
        retail = play_retail(core, graph.duration, outcome)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnsatisfiableWarning)
            plan = schedule(world.tasks, world.workers, **world.options)
        names = ("task", "worker", "attempt", "start_ns", "end_ns", "completed")
        assert retail == list(zip(*(plan.columns[name].tolist() for name in names))), f"seed {seed}"
        assert core.columns()["state"].tolist() == plan.plan.state.tolist(), f"seed {seed}"


def test_a_stale_report_is_dropped_and_an_impossible_one_is_refused():
    core = core_of([Task("a", "x")], [Worker("w1", 1, 128), Worker("w2", 1, 128)])
    assert core.assign(0) == [(0, 0, 1)]
    assert core.failed(0, 1, 5, REASON_EXIT)
    assert core.assign(5) == [(0, 1, 2)]
    assert not core.finished(0, 1, 6) and not core.failed(0, 1, 6, REASON_EXIT)
    assert state_of(core, 0) == "running"
    with pytest.raises(InternalError, match="never started"):
        core.finished(0, 3, 7)
    assert core.finished(0, 2, 7)
    assert not core.finished(0, 2, 8), "a doubled report counts once"
    with pytest.raises(IndexError):
        core.finished(1, 1, 8)
    with pytest.raises(ValueError, match="reason code"):
        core.failed(0, 2, 8, 0)
    assert core.n_left == 0
    core.check()


def test_time_does_not_go_back():
    core = core_of([Task("a", "x")], [Worker("w", 1, 128)])
    core.assign(10)
    with pytest.raises(InternalError, match="time went back"):
        core.finished(0, 1, 9)


def test_a_lost_worker_costs_no_retry_and_leaves_nothing_to_avoid():
    core = core_of([Task("a", "x", max_retries=0), Task("b", "x", ["a"])], [Worker("w", 1, 128)])
    for attempt in (1, 2, 3):
        assert core.assign(attempt) == [(0, 0, attempt)]
        assert core.remove_worker(0, attempt) == [0]
        assert state_of(core, 0) == "ready" and core.assign(attempt) == []
        assert core.free_amounts().tolist() == [[-1, -1]]
        core.check()
        core.add_worker(0, attempt)
    assert core.assign(5) == [(0, 0, 4)]
    core.remove_worker(0, 6)
    assert state_of(core, 0) == "failed" and state_of(core, 1) == "skipped", "three lost workers are survived, not four"
    assert core.log()["reason"].tolist() == [REASON_WORKER_LOST] * 4
    assert core.failed_since(0) == [0, 1] and core.failed_since(1) == [1]


def test_who_is_avoided_follows_the_live_workers():
    """A retry waits for the other worker while that one lives, and falls back when it is gone."""
    core = core_of([Task("a", "x"), Task("b", "x")], [Worker("w1", 1, 128), Worker("w2", 1, 128)])
    assert core.assign(0) == [(0, 0, 1), (1, 1, 1)]
    core.failed(0, 1, 1, REASON_EXIT)
    assert core.assign(1) == [], "w1 is free, but it failed there and w2 could hold it"
    core.remove_worker(1, 2)
    assert core.assign(2) == [(0, 0, 2)], "nobody else is left"
    core.add_worker(1, 3)
    core.failed(0, 2, 4, REASON_EXIT)
    # b is as urgent by its index as before: a goes first, and only to w2.
    assert core.assign(4) == [(0, 1, 3), (1, 0, 2)]
    core.check()


def test_a_retry_waits_for_a_worker_that_is_expected():
    core = core_of([Task("a", "x")], [Worker("w1", 1, 128), Worker("w2", 1, 128)])
    assert core.remove_worker(1, 0, True) == []
    assert core.assign(0) == [(0, 0, 1)]
    core.failed(0, 1, 1, REASON_EXIT)
    assert core.assign(1) == [], "w2 is expected, and could hold it"
    assert core.remove_worker(1, 2, True) == [] and core.assign(2) == []
    core.remove_worker(1, 3)
    assert core.assign(3) == [(0, 0, 2)]
    with pytest.raises(IndexError, match="neither live nor expected"):
        core.remove_worker(1, 3)


def test_what_only_an_expected_worker_can_hold_waits():
    core = core_of([Task("a", "x", (), 2)], [Worker("w1", 1, 128), Worker("w2", 2, 128)])
    core.remove_worker(1, 0, True)
    assert core.fail_unsatisfiable(0) == 0 and core.assign(0) == []
    core.add_worker(1, 1)
    assert core.assign(1) == [(0, 1, 1)]


def test_scores_follow_the_capacity_of_the_live_workers():
    """The share of a resource counts: with the large worker gone, what is scarce weighs differently."""
    workers = [Worker("big", 100, 100), Worker("cores", 10, 20), Worker("memory", 2, 90)]
    tasks = [Task("a", "x", (), 1, 1)]
    core = core_of(tasks, workers)
    core.remove_worker(0, 0)
    # of 12 cores and 110 MB: cores 10/12 + 20/110 = 1.015, memory 2/12 + 90/110 = 0.985
    assert core.assign(0) == [(0, 1, 1)]
    core = core_of(tasks, workers)
    core.remove_worker(1, 0)
    assert core.assign(0) == [(0, 0, 1)]


def test_cancel_ends_a_task_in_any_state():
    tasks = [Task("run", "x"), Task("wait", "x"), Task("behind", "x", ["run"]), Task("far", "x", ["behind"])]
    core = core_of(tasks, [Worker("w", 1, 128)])
    core.assign(0)
    assert core.cancel(0, 1) and core.cancel(1, 1)
    assert not core.cancel(2, 1), "it was skipped with its dependency"
    assert not core.finished(0, 1, 2)
    assert [state_of(core, i) for i in range(4)] == ["cancelled", "cancelled", "skipped", "skipped"]
    assert core.n_left == 0 and core.free_amounts().tolist() == [[1000, 128]]
    with pytest.raises(IndexError):
        core.cancel(9, 2)
    core.check()


def test_simulate_is_for_a_fresh_core():
    core = core_of([Task("a", "x")], [Worker("w", 1, 128)])
    core.assign(0)
    with pytest.raises(InternalError, match="nothing has happened"):
        core.simulate()


def arrays(**changes):
    given = {
        "succ_ptr": np.array([0, 1, 1], dtype=np.int64),
        "succ": np.array([1], dtype=np.int32),
        "demand": np.array([[1, 1], [1, 1]]),
        "duration": np.array([1, 1], dtype=np.int64),
        "order": np.array([0, 1], dtype=np.int32),
        "max_retries": np.zeros(2),
        "class_of": np.zeros(2, dtype=np.int32),
        "class_demand": np.array([[1, 0]]),
        "exact": np.array([1]),
        "pivot": 1,
        "capacity": np.array([[1, 1]]),
    }
    return {**given, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"demand": np.array([[1, -1], [1, 1]])},
        {"capacity": np.array([[1, -1]])},
        {"capacity": np.array([[1, 1, 1]])},
        {"duration": np.array([-1, 1], dtype=np.int64)},
        {"duration": np.array([1], dtype=np.int64)},
        {"order": np.array([0, 0], dtype=np.int32)},
        {"order": np.array([0, 2], dtype=np.int32)},
        {"class_of": np.array([0, 1], dtype=np.int32)},
        {"succ": np.array([2], dtype=np.int32)},
        {"fit": "worst"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_arrays_that_do_not_fit_together_are_refused(changes):
    Core(**arrays()).simulate()
    with pytest.raises(ValueError):
        Core(**arrays(**changes))


def test_graph_kernels():
    # 0 -> 1 -> 3, 0 -> 2, twice
    dep_ptr, deps = np.array([0, 0, 1, 3, 4]), np.array([0, 0, 0, 1], dtype=np.int32)
    succ_ptr, succ = successors(dep_ptr, deps)
    assert succ_ptr.tolist() == [0, 3, 4, 4, 4] and succ.tolist() == [1, 2, 2, 3]
    order = topological_order(dep_ptr, succ_ptr, succ)
    assert order.tolist() == [0, 1, 2, 3]
    assert bottom_levels(order, succ_ptr, succ, np.array([5, 1, 4, 2])).tolist() == [9, 3, 4, 2]


def test_check_finds_what_is_wrong():
    """`check()` is worth what it can find: the columns are views, so a test can break them."""
    for column, value in (("state", 3), ("state", 0), ("worker", 1), ("state", 1)):
        core = core_of([Task("a", "x"), Task("b", "x", ["a"])], [Worker("w1", 1, 128), Worker("w2", 1, 128)])
        core.assign(0)
        core.check()
        before = int(core.columns()[column][0])
        core.columns()[column][0] = value
        with pytest.raises(InternalError, match="please report"):
            core.check()
        core.columns()[column][0] = before
        core.check()


@pytest.mark.skipif(os.environ.get("FASTSCHED_CHECKED") != "1", reason="needs the build with FASTSCHED_CHECKED=1")
def test_the_checked_build_checks():
    """An index out of range in a kernel is an error, not a crash: here a successor that is no task."""
    with pytest.raises((IndexError, pytest.PytestUnraisableExceptionWarning)):
        topological_order(np.array([0, 0]), np.array([0, 1]), np.array([7], dtype=np.int32))
