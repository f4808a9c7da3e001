"""The core through its doors: the retail one makes the placements of the wholesale one, and facts are booked right."""

from __future__ import annotations

import heapq
import os
import warnings
from collections import Counter

import numpy as np
import pytest
from adversary import Adversary
from worlds import make_world

from fastsched import Policy, Task, Worker, schedule
from fastsched._core import REASON_EXIT, REASON_OUT_OF_MEMORY, REASON_WORKER_LOST, Core
from fastsched._graphs import bottom_levels, successors, topological_order
from fastsched._timeline import simulate
from fastsched.errors import InternalError, UnsatisfiableWarning
from fastsched.graph import WorkerTable
from fastsched.planner import TaskGraph, make_core, submit
from fastsched.portfolio import key_of
from fastsched.ranks import mean_capacity, urgency_order

NS = 10**9
WORLDS = int(os.environ.get("FASTSCHED_WORLDS", "1600"))
HISTORIES = WORLDS // 4
ADVERSITIES = (
    "failed: EXIT", "failed: OUT_OF_MEMORY", "lose", "lose and return", "leave", "drain", "drained", "resize", "join",
    "quarantined", "probation", "trusted", "reservations", "cancelled", "stale reports",
    "submitted under a failed task", "stuck", "promised", "promises kept", "promises returned", "deadlines",
    "postponed", "suspected", "plans", "as planned", "held back",
)  # fmt: skip
STATES = {
    "waiting": 0,
    "ready": 1,
    "running": 2,
    "completed": 3,
    "delayed": 4,
    "failed": 5,
    "skipped": 6,
    "cancelled": 7,
}


def core_of(tasks, workers, **options) -> Core:
    graph = TaskGraph(tasks)
    options = {"rank": "critical-path", "fit": "most-free", "max_retries": 3, **options}
    return make_core(graph, WorkerTable(workers, graph.resources), **options)


def state_of(core: Core, task: int) -> str:
    return next(name for name, code in STATES.items() if code == core.columns()["state"][task])


def end(core: Core, task: int, now: int, completed: bool = True) -> None:
    """The open attempt of the task ends."""
    attempt, worker = core.attempt_of(task)
    incarnation = core.incarnation_of(worker)
    if completed:
        assert core.finished(task, attempt, incarnation, now)
    else:
        assert core.failed(task, attempt, incarnation, now, REASON_EXIT)


def play_retail(core: Core, duration, outcome):
    """Virtual time over the retail door. Answers every attempt, as the oracle does."""
    core.fail_unsatisfiable(0)
    events, attempts, now = [], [], 0
    while True:
        for task, worker, attempt in core.assign(now):
            heapq.heappush(events, (now + int(duration[task]), task, worker, attempt, now))
        core.check()
        wake = core.next_wake()
        if not core.n_left or (not events and wake is None):
            return sorted(attempts, key=lambda a: (a[3], a[0], a[2]))
        now = min([event[0] for event in events[:1]] + [at for at in [wake] if at is not None])
        core.advance(now)
        while events and events[0][0] == now:
            ended, task, worker, attempt, start = heapq.heappop(events)
            completed = outcome is None or outcome(task, worker, attempt)
            attempts.append((task, worker, attempt, start, ended, completed))
            end(core, task, now, completed)


@pytest.mark.parametrize("chunk", range(4))
def test_both_doors_make_the_same_placements(chunk, monkeypatch):
    for seed in range(chunk, WORLDS, 4):
        monkeypatch.setattr("fastsched.kinds.FEW_KINDS", 0 if seed % 2 else 64)
        world = make_world(seed)
        world.events, world.failures = [], None
        graph = TaskGraph(world.tasks)
        table = WorkerTable(world.workers, graph.resources)
        told = world.options["outcome"]
        outcome = told and (lambda t, w, a, g=graph, b=table, told=told: told(g.ids[t], b.ids[w], a))
        core = core_of(
            world.tasks, world.workers, rank=world.rank, fit=world.fit, max_retries=world.max_retries,
            policy=world.policy, many_workers=1 + seed % 3 * 8,
        )  # fmt: skip
        retail = play_retail(core, graph.duration, outcome)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnsatisfiableWarning)
            plan = schedule(world.tasks, world.workers, **world.options)
        names = ("task", "worker", "attempt", "start_ns", "end_ns", "completed")
        assert retail == list(zip(*(plan.columns[name].tolist() for name in names))), f"seed {seed}"
        assert core.columns()["state"].tolist() == plan.plan.state.tolist(), f"seed {seed}"


@pytest.mark.parametrize("chunk", range(4))
def test_the_retail_door_equals_the_oracle_after_every_step(chunk, monkeypatch):
    counts = Counter()
    for seed in range(chunk, HISTORIES, 4):
        monkeypatch.setattr("fastsched.kinds.FEW_KINDS", (64, 0, 2)[seed % 3])
        monkeypatch.setattr("fastsched.kinds.MAX_CLASSES", 256 if seed % 2 else 3)
        adversary = Adversary(seed)
        adversary.run(60)
        counts += adversary.counts
    assert min(counts[what] for what in ADVERSITIES) >= HISTORIES // 200, counts


def test_a_stale_report_is_dropped_and_an_impossible_one_is_refused():
    core = core_of([Task("a", "x")], [Worker("w1", 1, 128), Worker("w2", 1, 128)])
    assert core.assign(0) == [(0, 0, 1)]
    assert core.failed(0, 1, 1, 5, REASON_EXIT)
    assert core.assign(5) == [(0, 1, 2)]
    assert not core.finished(0, 1, 1, 6) and not core.failed(0, 1, 1, 6, REASON_EXIT)
    assert state_of(core, 0) == "running"
    with pytest.raises(InternalError, match="never started"):
        core.finished(0, 3, 1, 7)
    assert not core.finished(0, 2, 2, 7), "another incarnation of the worker"
    assert core.finished(0, 2, 1, 7)
    assert not core.finished(0, 2, 1, 8), "a doubled report counts once"
    with pytest.raises(IndexError):
        core.finished(1, 1, 1, 8)
    with pytest.raises(ValueError, match="reason code"):
        core.failed(0, 2, 1, 8, 0)
    assert core.n_left == 0
    core.check()


def test_time_does_not_go_back():
    core = core_of([Task("a", "x")], [Worker("w", 1, 128)])
    core.assign(10)
    with pytest.raises(InternalError, match="time went back"):
        core.finished(0, 1, 1, 9)


def test_a_lost_worker_costs_no_retry_and_leaves_nothing_to_avoid():
    core = core_of([Task("a", "x", max_retries=0), Task("b", "x", ["a"])], [Worker("w", 1, 128)])
    for attempt in (1, 2, 3):
        assert core.assign(attempt) == [(0, 0, attempt)]
        assert core.remove_worker(0, attempt) == [0]
        assert state_of(core, 0) == "ready" and core.assign(attempt) == []
        assert core.amounts()[2].tolist() == [[-1, -1]]
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
    core.failed(0, 1, 1, 1, REASON_EXIT)
    assert core.assign(1) == [], "w1 is free, but it failed there and w2 could hold it"
    core.remove_worker(1, 2)
    assert core.assign(2) == [(0, 0, 2)], "nobody else is left"
    core.add_worker(1, 3)
    core.failed(0, 2, 1, 4, REASON_EXIT)
    # b is as urgent by its index as before: a goes first, and only to w2.
    assert core.assign(4) == [(0, 1, 3), (1, 0, 2)]
    core.check()


def test_a_retry_waits_for_a_worker_that_is_expected():
    core = core_of([Task("a", "x")], [Worker("w1", 1, 128), Worker("w2", 1, 128)])
    assert core.remove_worker(1, 0, True) == []
    assert core.assign(0) == [(0, 0, 1)]
    core.failed(0, 1, 1, 1, REASON_EXIT)
    assert core.assign(1) == [], "w2 is expected, and could hold it"
    assert core.remove_worker(1, 2, True) == [] and core.assign(2) == []
    core.remove_worker(1, 3)
    assert core.assign(3) == [(0, 0, 2)]
    with pytest.raises(InternalError, match="was not there"):
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
    assert not core.finished(0, 1, 1, 2)
    assert [state_of(core, i) for i in range(4)] == ["cancelled", "cancelled", "skipped", "skipped"]
    assert core.n_left == 0 and core.amounts()[2].tolist() == [[1000, 128]]
    with pytest.raises(IndexError):
        core.cancel(9, 2)
    core.check()


def test_what_is_overdue_is_taken_to_end_together_with_what_ends_now():
    """At 10 the attempt of `late` is overdue and that of `due` is to end: room is reckoned without either."""
    tasks = [
        Task("late", "x", (), 2, priority=9, duration=5),
        Task("due", "x", (), 1, priority=9, duration=10),
        Task("long", "x", (), 1, priority=9, duration=100),
        Task("kept", "x", (), 3, priority=5),
        Task("small", "x", (), 1, duration=10),
        Task("beside", "x", ["small"], 2, duration=100),
    ]
    core = core_of(tasks, [Worker("w", 6, 4096)], rank="fifo", policy=Policy(reserve_after=0))
    assert core.assign(0) == [(0, 0, 1), (1, 0, 1), (2, 0, 1), (4, 0, 1)]
    end(core, 4, 10 * NS)
    assert core.assign(10 * NS) == [(5, 0, 1)], "beside `kept` and `long` there are 2 cores left"
    assert core.reservation() == (3, 0) and core.earliest_start(3, 0) == 10 * NS


def test_simulate_is_for_a_fresh_core():
    core = core_of([Task("a", "x")], [Worker("w", 1, 128)])
    core.assign(0)
    with pytest.raises(InternalError, match="nothing has happened"):
        simulate(core)


def arrays(**changes):
    given = {
        "dep_ptr": np.array([0, 0, 1], dtype=np.int64),
        "deps": np.array([0], dtype=np.int32),
        "demand": np.array([[1, 1], [1, 1]]),
        "duration": np.array([1, 1], dtype=np.int64),
        "priority": np.zeros(2, dtype=np.int64),
        "key": np.zeros(2, dtype=np.int64),
        "max_retries": np.zeros(2, dtype=np.int32),
        "class_of": np.zeros(2, dtype=np.int32),
        "class_demand": np.array([[1, 0]]),
    }
    return {**given, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"demand": np.array([[1, -1], [1, 1]])},
        {"demand": np.array([[1], [1]])},
        {"duration": np.array([-1, 1], dtype=np.int64)},
        {"duration": np.array([1], dtype=np.int64)},
        {"order": np.array([0, 0], dtype=np.int32)},
        {"order": np.array([0, 2], dtype=np.int32)},
        {"class_of": np.array([0, 1], dtype=np.int32)},
        {"class_demand": np.array([[2, 0]])},
        {"deps": np.array([2], dtype=np.int32)},
        {"deps": np.array([-1], dtype=np.int32)},
        {"dep_ptr": np.array([0, 2, 1], dtype=np.int64)},
        {"dep_ptr": np.array([0, 0, 2], dtype=np.int64)},
        {"max_retries": np.array([0, -1], dtype=np.int32)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_arrays_that_do_not_fit_together_are_refused(changes):
    core = Core(n_resources=2)
    core.add_workers(np.array([[1, 1]]), 0)
    with pytest.raises(ValueError):
        core.add_tasks(0, **arrays(**changes))
    assert core.n_tasks == 0
    core.add_tasks(0, **arrays())
    simulate(core)
    assert core.n_left == 0


@pytest.mark.parametrize(
    "options",
    [{"fit": "worst"}, {"pivot": 2}, {"memory": -1}, {"max_losses": -1}, {"oom_growth": 999}, {"jitter": 1001}],
    ids=str,
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError):
        Core(n_resources=2, **options)


def test_capacities_that_cannot_be_are_refused():
    core = Core(n_resources=2)
    for wrong in (np.array([[1, -1]]), np.array([[1, 1, 1]]), np.array([1, 1])):
        with pytest.raises(ValueError):
            core.add_workers(wrong, 0)
    core.add_workers(np.array([[1, 1]]), 0)
    for wrong in ([1, 2**31], [-1, 1], [1]):
        with pytest.raises(ValueError):
            core.resize_worker(0, wrong, 0)
    assert core.amounts()[1].tolist() == [[1, 1]]


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


def test_a_task_that_asks_for_more_memory_does_not_hold_up_others_of_its_kind():
    tasks = [Task("long", "x", (), 1, 150, priority=9, duration=100)]
    tasks += [Task(name, "x", (), 1, 100, priority=5) for name in ("grows", "stays")]
    for beside in (0, 100):  # few kinds of demand, and many
        more = [Task(f"more{i}", "x", (), 1, 301 + i, priority=-1) for i in range(beside)]
        core = core_of(tasks + more, [Worker("w", 8, 300)], rank="fifo", policy=Policy(on_oom="2x"))
        assert core.assign(0) == [(0, 0, 1), (1, 0, 1)]
        core.failed(1, 1, 1, 1, REASON_OUT_OF_MEMORY)
        assert core.assign(1) == [(2, 0, 1)], "there is no room for 200, and for 100 there is"
        core.check()


def test_who_drains_counts_until_it_is_gone():
    """Shares of the capacity decide who is most free: as long as the large one is there, memory counts for little."""
    tasks = [Task("long", "x", (), 1, 5000, priority=9), *(Task(name, "x", (), 1, 1) for name in ("next", "later"))]
    workers = [Worker("cores", 10, 100), Worker("memory", 5, 250), Worker("large", 1, 10_000)]
    core = core_of(tasks[:1], workers)
    assert core.assign(0) == [(0, 2, 1)]
    core.drain_worker(2, 1)
    submit(core, TaskGraph(tasks[1:2]), rank="fifo", max_retries=0, now=1)
    assert core.assign(1) == [(1, 0, 1)]
    end(core, 0, 2)
    submit(core, TaskGraph(tasks[2:]), rank="fifo", max_retries=0, now=2)
    assert core.assign(2) == [(2, 1, 1)]


def test_a_task_that_has_grown_is_stuck_where_only_a_worker_that_left_could_hold_it():
    """Many amounts of cores and few of memory: what differs within a slot is the cores, and what grows is not."""
    tasks = [Task("grows", "x", (), 1, 100)]
    tasks += [Task(f"more{i}", "x", ["grows"], round(1 + i / 1000, 3), 100) for i in range(100)]
    core = core_of(
        tasks, [Worker("small", 2, 100), Worker("large", 2, 200)], policy=Policy(on_oom="2x"), tell_stuck=True
    )
    assert core.pivot == 0 and core.assign(0) == [(0, 1, 1)]
    core.failed(0, 1, 1, 1, REASON_OUT_OF_MEMORY)
    core.remove_worker(1, 2)
    assert core.amounts()[0][0].tolist() == [1000, 200] and core.assign(2) == []
    assert [(what, which) for what, which, _ in core.notices] == [(0, 0)]
    core.check()


def test_no_room_is_kept_on_a_worker_on_probation():
    workers = [Worker("w", 3, 4096), Worker("hole", 4, 4096)]
    policy = Policy(quarantine_after=1, probation=1, reserve_after=0)
    core = core_of([Task("a", "x")], workers, policy=policy)
    assert core.assign(0) == [(0, 1, 1)]
    end(core, 0, 1, completed=False)
    assert core.assign(1) == [(0, 0, 2)]
    end(core, 0, 2)  # so the hole is put in quarantine, until 2 ns and a second
    later = [Task("long", "x", (), 2, priority=9, duration=100), Task("test", "x", (), 1, priority=8, duration=10)]
    later += [Task("head", "x", (), 2, priority=5), Task("small", "x", (), 1, duration=1000)]
    submit(core, TaskGraph(later), rank="fifo", max_retries=0, now=2)
    assert core.assign(2) == [(1, 0, 1), (2, 0, 1)]
    end(core, 2, 3)
    core.advance(2 * NS)
    submit(core, TaskGraph(later[1:2]), rank="fifo", max_retries=0, now=2 * NS)
    assert core.assign(2 * NS) == [(5, 1, 1), (4, 0, 1)], "`head` has room nowhere and is passed by"
    core.assign(2 * NS)
    assert core.reservation() == (3, 0), "the hole would have room for it sooner"


MOST = 2**31 - 1


def given(demand, **changes):
    """A batch of one task without dependencies."""
    row = np.array([demand])
    return {
        "dep_ptr": [0, 0], "deps": np.empty(0, dtype=np.int32), "demand": row, "duration": [1], "priority": [0],
        "key": [0], "max_retries": [0], "class_of": [0], "class_demand": row, **changes,
    }  # fmt: skip


def test_workers_that_have_the_largest_amounts_of_all():
    workers = [Worker(f"w{i}", MOST / 1000, MOST) for i in range(3)]
    tasks = [Task(f"t{i}", "x", (), MOST / 1000 if i % 2 else 1, MOST) for i in range(6)]
    plan = schedule(tasks, workers)
    assert plan.makespan == 2 and sorted(plan.plan.worker.tolist()) == [0, 0, 1, 1, 2, 2]
    assert schedule([Task("a", "x")], workers).all_completed


@pytest.mark.parametrize("least", [0, MOST])
def test_the_largest_amount_starts_on_a_worker_that_was_idle_before(least):
    core = Core(n_resources=2)
    core.add_workers([[1000, MOST]], 0)
    assert core.assign(0) == []
    core.add_tasks(0, **given([1000, MOST], class_demand=np.array([[1000, least]])))
    assert core.assign(0) == [(0, 0, 1)]
    core.check()


def test_amounts_that_do_not_fit_are_refused_and_not_cut():
    core = Core(n_resources=2)
    for wrong in ([[2**32 + 1000, 1]], [[2**31, 1]], [[-1, 1]], [[0.5, 1]]):
        with pytest.raises(ValueError, match="an amount is"):
            core.add_workers(np.array(wrong), 0)
        with pytest.raises(ValueError, match="an amount is"):
            core.add_tasks(0, **given(wrong[0]))
    core.add_workers([[1000, 1000]], 0)
    for wrong in ([2**31, 1], [-1, 1]):
        with pytest.raises(ValueError, match="an amount is"):
            core.resize_worker(0, wrong, 0)
    with pytest.raises(ValueError, match="an amount is"):
        core.add_resources([[2**31]])
    assert core.n_tasks == 0 and core.n_workers == 1


def test_a_task_that_is_not_there_is_said_to_be_so():
    core = core_of([Task("a", "x")], [Worker("w", 1, 128)])
    for task in (-1, 1, 10**8):
        for read in (core.state_of, core.attempt_of, core.failed_workers, lambda task: core.earliest_start(task, 0)):
            with pytest.raises(IndexError, match="out of range"):
                read(task)


@pytest.mark.parametrize(
    "script",
    [
        ([1], [2], [5], [[-1, -1]]),
        ([1], [2], [-1], [[-1, -1]]),
        ([1], [2], [], [[-1, -1]]),
        ([1], [2], [0], [[-1]]),
        ([2, 1], [2, 2], [0, 0], [[-1, -1]] * 2),
    ],
)
def test_a_script_that_cannot_be_is_refused(script):
    with pytest.raises(ValueError, match="script"):
        simulate(core_of([Task("a", "x")], [Worker("w", 1, 128)]), script=script)


def test_fits_by_the_match_of_task_and_worker():
    """What is free of cores and memory, as a share of 20 cores and 20,000 MB: (0.5, 0.1), (0.3, 0.3), (0.2, 0.6)."""
    workers = [Worker("cores", 10, 2000), Worker("even", 6, 6000), Worker("memory", 4, 12000)]
    wanted = {  # a task that asks for cores, one that asks for both alike, one that asks for memory
        "dot-product": [0, 2, 2],
        "cosine": [0, 1, 2],
        "least-left": [1, 1, 1],
    }
    demands = [(3, 500), (2, 2000), (1, 3000)]
    for fit, places in wanted.items():
        for (cores, memory), place in zip(demands, places):
            for many_workers in (1, 512):
                core = core_of([Task("a", "x", (), cores, memory)], workers, fit=fit, many_workers=many_workers)
                assert core.assign(0) == [(0, place, 1)], (fit, cores, memory)
    alike = [Worker(f"w{i}", 4, 4096) for i in range(40)]
    for fit in wanted:
        assert core_of([Task("a", "x")], alike, fit=fit).assign(0) == [(0, 0, 1)], "of workers alike the first"
        assert core_of([Task("a", "x", (), 0, 0)], alike, fit=fit).assign(0) == [(0, 0, 1)]


@pytest.mark.parametrize("chunk", range(2))
def test_a_core_that_is_rewound_is_as_one_that_is_new(chunk, monkeypatch):
    for seed in range(chunk, WORLDS // 4, 2):
        monkeypatch.setattr("fastsched.kinds.FEW_KINDS", 0 if seed % 2 else 64)
        world, other = make_world(seed), make_world(seed + 1)
        graph = TaskGraph(world.tasks)
        table = WorkerTable(world.workers, graph.resources)
        options = {"max_retries": 0, "policy": world.policy, "many_workers": (1, 9, 512)[seed % 3]}
        core = make_core(graph, table, rank=world.rank, fit=world.fit, **options)
        simulate(core)
        for rank, fit in ((other.rank, other.fit), (world.rank, "dot-product"), (other.rank, world.fit)):
            key = key_of(rank, graph, mean_capacity(table.capacity))
            order = urgency_order(graph.priority, key)
            core.rewind(fit=fit, key=key, order=order, dep_ptr=graph.dep_ptr)
            core.check()
            assert core.now == 0 and core.n_left == len(graph) and core.n_failed == 0 == core.n_running
            simulate(core)
            core.check()
            new = make_core(graph, table, rank=rank, fit=fit, **options)
            simulate(new)
            for name, column in new.columns().items():
                assert (core.columns()[name] == column).all(), f"seed {seed}: {name}"


def test_a_core_is_rewound_only_where_it_can_be():
    graph = TaskGraph([Task("a", "x"), Task("b", "x", ["a"])])
    table = WorkerTable([Worker("w", 1, 128)], graph.resources)
    core = make_core(graph, table, rank="fifo", fit="most-free", max_retries=1)
    given = {"fit": "cosine", "key": np.zeros(2, dtype=np.int64), "order": np.arange(2), "dep_ptr": graph.dep_ptr}
    with pytest.raises(InternalError, match="have ended"):
        core.rewind(**given)
    simulate(core)
    for wrong, said in (
        ({"fit": "worst"}, "unknown fit"),
        ({"order": np.array([0, 0])}, "permutation"),
        ({"dep_ptr": graph.dep_ptr[:2]}, "of 1 tasks"),
        ({"key": np.zeros(1, dtype=np.int64)}, "1 keys"),
    ):
        with pytest.raises(ValueError, match=said):
            core.rewind(**{**given, **wrong})
    core.rewind(**given)
    simulate(core)
    core.check()
    failing = make_core(graph, table, rank="fifo", fit="most-free", max_retries=1)
    simulate(failing, outcome=lambda task, worker, attempt: attempt > 1)
    with pytest.raises(InternalError, match="in vain"):
        failing.rewind(**given)


def test_a_later_batch_is_grouped_for_the_pivot_of_the_core():
    """Cores differ and memory does not in the second batch; in the first it is the other way round."""
    first = [Task(f"a{i}", "x", (), 1, 1000 + i) for i in range(100)]
    later = [Task(f"b{i}", "x", (), 1 + i / 1000, 1000 + i % 2) for i in range(100)]
    workers = [Worker(f"w{i}", 4, 4000) for i in range(5)]
    core = core_of(first, workers)
    submit(core, TaskGraph(later, known={f"a{i}": i for i in range(100)}), rank="critical-path", max_retries=0)
    simulate(core)
    core.check()
    assert core.n_failed == 0 and core.pivot == 1
