"""Lower bounds: never above what is possible, and as high as they promise. The rest is how they are told."""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import tarfile
import warnings

import numpy as np
import pytest
from worlds import make_world

from fastsched import Task, TaskGraph, Worker, schedule
from fastsched.bounds import LEAVES, UNBOUNDED, Bounds, rough_ns
from fastsched.errors import UnsatisfiableWarning
from fastsched.formats import load

WORLDS = int(os.environ.get("FASTSCHED_WORLDS", "1600"))
NS = 10**9


def bounds_of(graph: TaskGraph, **options) -> Bounds:
    return Bounds(graph.order, graph.succ_ptr, graph.succ, graph.duration, graph.demand, **options)


def capacity_of(*rows) -> np.ndarray:
    return np.array(rows, dtype=np.int32)


def tiny_world(rng: random.Random) -> tuple[list[Task], list[Worker]]:
    """So few tasks and workers that every order of placing them can be tried; every task fits some worker."""
    amounts = rng.choice([(1, 2, 3), (1, 2, 3, 4, 5), (2, 3)])
    workers = [Worker(f"w{w}", rng.choice(amounts) + 1, 4, resources={"r": rng.choice(amounts)}) for w in range(3)]
    workers = workers[: rng.randint(1, 3)]
    tasks = []
    for i in range(rng.randint(1, 4 if len(workers) == 3 else 5)):
        most = rng.choice(workers)
        tasks.append(
            Task(
                f"t{i}",
                "x",
                [f"t{j}" for j in range(i) if rng.random() < 0.25],
                rng.randint(0, int(most.cpu_cores_available)),
                rng.randint(0, 4),
                duration=rng.choice([0, 1, 2, 3, 4, 6, 10]),
                resources={"r": rng.randint(0, most.resources["r"])},
            )
        )
    return tasks, workers


def shortest(graph: TaskGraph, capacity: np.ndarray) -> int:
    """The shortest makespan: every order, every choice of workers, each task as early as it can be."""
    n, demand, best = len(graph), graph.demand.tolist(), None
    duration, rows = (graph.duration // NS).tolist(), capacity.tolist()
    deps = [graph.deps[graph.dep_ptr[i] : graph.dep_ptr[i + 1]].tolist() for i in range(n)]
    fits = [[w for w in range(len(rows)) if all(d <= c for d, c in zip(demand[i], rows[w]))] for i in range(n)]
    for order in itertools.permutations(range(n)):
        place = {task: at for at, task in enumerate(order)}
        if any(place[d] > place[i] for i in range(n) for d in deps[i]):
            continue
        for chosen in itertools.product(*fits):
            start, end = [0] * n, [0] * n
            for i in order:
                others = [j for j in order[: place[i]] if chosen[j] == chosen[i]]
                begin = max((end[d] for d in deps[i]), default=0)
                while True:
                    clash = None
                    for at in {begin, *(start[j] for j in others if begin < start[j] < begin + duration[i])}:
                        at_once = [j for j in others if start[j] <= at < end[j]]
                        for r, room in enumerate(rows[chosen[i]]):
                            if at_once and duration[i] and demand[i][r] + sum(demand[j][r] for j in at_once) > room:
                                clash = min(end[j] for j in at_once)
                    if clash is None:
                        break
                    begin = clash
                start[i], end[i] = begin, begin + duration[i]
            best = max(end) if best is None else min(best, max(end))
    return best * NS


def test_no_bound_is_above_the_shortest_of_a_tiny_world():
    met, kinds = 0, dict.fromkeys(("critical path", "area", "slots", "apart"), 0)
    for seed in range(WORLDS // 4):
        rng = random.Random(f"tiny {seed}")
        tasks, workers = tiny_world(rng)
        graph = TaskGraph(tasks)
        plan = schedule(graph, workers)
        unit = int(np.gcd.reduce(graph.duration))
        best = shortest(graph, plan.plan._capacity)
        for bounds in (bounds_of(graph), bounds_of(graph, unit_ns=unit)):
            bound = bounds.of(plan.plan._capacity)
            assert bounds.quick_ns(plan.plan._capacity) <= bound.ns <= best, f"seed {seed}"
        assert bound.ns <= plan.plan.lower_bound_ns <= best <= plan.plan.makespan_ns, f"seed {seed}"
        kinds[bound.kind] += 1
        met += bound.ns == best
    assert met > 0.8 * WORLDS / 4 and min(kinds.values()) >= WORLDS // 800, (met, kinds)


@pytest.mark.parametrize("chunk", range(4))
def test_no_bound_is_above_a_plan_that_was_made(chunk):
    for seed in range(chunk, WORLDS, 4):
        world = make_world(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnsatisfiableWarning)
            plan = schedule(world.tasks, world.workers, **world.options)
        numbers = plan.plan
        assert max(numbers.bounds_ns.values()) <= numbers.lower_bound_ns <= numbers.makespan_ns, f"seed {seed}"
        assert plan.gap >= 0 and (plan.gap == 0) == (numbers.makespan_ns == numbers.lower_bound_ns), f"seed {seed}"
        told = plan.bottleneck
        assert (told is None) == (numbers.bound.ns == 0), f"seed {seed}"
        if told is not None:
            assert 0 <= told.start <= told.end <= plan.makespan and told.tasks and told.text, f"seed {seed}"
            assert set(told.tasks) <= set(plan) and set(told.workers) <= set(plan.worker_ids), f"seed {seed}"


def brute_area(bounds: Bounds, weight: np.ndarray, room: int) -> float:
    """Head, area, tail over all pairs of thresholds that some task meets, in slow plain numpy."""
    best = 0.0
    for head in set(bounds.head.tolist()):
        for tail in set(bounds.tail.tolist()):
            met = (bounds.head >= head) & (bounds.tail >= tail) & (weight > 0) & (bounds.duration > 0)
            if met.any():
                best = max(best, head + tail + float((weight * bounds.duration)[met].sum()) / room)
    return best


def test_the_thresholds_are_the_best_there_are():
    for seed in range(60):
        rng = random.Random(f"thresholds {seed}")
        n = rng.choice([1, 2, 5, 20, 40])
        tasks = [
            Task(
                f"t{i}",
                "x",
                [f"t{j}" for j in range(max(0, i - 5), i) if rng.random() < 0.3],
                rng.randint(0, 3),
                rng.randint(0, 3),
                duration=rng.randint(0, 9),
            )
            for i in range(n)
        ]
        bounds = bounds_of(TaskGraph(tasks))
        capacity = capacity_of((3000, 3), (3000, 4))
        areas = [brute_area(bounds, bounds.demand[:, r].astype(np.int64), room) for r, room in enumerate((6000, 7))]
        best = max(bounds.critical_ns, *areas)
        assert bounds.of(capacity, effort=0).ns == pytest.approx(best, abs=1), f"seed {seed}"


def test_more_thresholds_than_there_is_room_for_are_thinned_out(monkeypatch):
    rng = np.random.default_rng(5)
    n = 3000
    parents = (rng.random(n) * np.arange(n)).astype(np.int64)
    graph = TaskGraph.from_arrays(
        np.concatenate(([0, 0], np.arange(1, n))), parents[1:], np.ones((n, 2)), duration=rng.integers(1, 10**6, n)
    )
    capacity = capacity_of((3, 3))
    exact = bounds_of(graph).of(capacity).ns
    monkeypatch.setattr("fastsched.bounds.LEAVES", 64)
    thinned = bounds_of(graph)
    assert 0.97 * exact < thinned.of(capacity).ns <= exact
    assert len(thinned._sorted()[2]) <= 64 < len(np.unique(thinned.tail)) < LEAVES


def test_amounts_and_times_as_large_as_can_be_are_added_up_exactly():
    n = 70_000
    graph = TaskGraph.from_arrays(
        np.zeros(n + 1), [], np.full((n, 2), [1, 2**31 - 1]), duration=np.full(n, 65_000.123456789)
    )
    bounds = bounds_of(graph)
    ns = 65_000_123_456_789 * n  # every task needs all the memory of a worker, or of each of two
    assert bounds.of(capacity_of((1, 2**31 - 1))).ns == ns == bounds.quick_ns(capacity_of((1, 2**31 - 1)))
    assert bounds.of(capacity_of((9, 2**31 - 1), (9, 2**31 - 1))).ns == -(-ns // 2)


def test_what_is_seen_roughly_is_never_more_than_what_is_counted_and_hardly_less():
    for seed in range(WORLDS // 8):
        rng = random.Random(seed)
        tasks, workers = tiny_world(rng)
        scale = rng.choice([1e-9, 1e-3, 1.0, 1e5])
        graph = TaskGraph([Task(t.task_id, "x", t.dependencies, t.cpu_cores_required, t.memory_required_mb,
                                duration=t.duration * scale, resources=t.resources) for t in tasks])  # fmt: skip
        capacity = schedule(graph, workers).plan._capacity
        counted = bounds_of(graph).quick_ns(capacity)
        rough = rough_ns(graph.order, graph.succ_ptr, graph.succ, graph.duration, graph.demand, capacity)
        assert counted * (1 - 1e-8) - 1 <= rough <= counted, f"seed {seed}"
    assert (
        rough_ns(graph.order[:0], graph.succ_ptr[:1], graph.succ[:0], graph.duration[:0], graph.demand[:0], capacity)
        == 0
    )


def test_the_bound_of_every_baseline_is_reached(data_folder, tmp_path):
    """`lb_ms` was made with a sample of thresholds: ours is that or more, and never above a schedule that is known."""
    with open(data_folder / "workflow_baselines.csv") as file:
        rows = list(csv.DictReader(file))
    known: dict[str, list[dict]] = {}
    for row in rows:
        known.setdefault(f"{row['set']}/{row['instance']}", []).append(row)
    equal, seen = 0, 0
    for archive in sorted(data_folder.glob("*/*_flat.tar.gz")):
        with tarfile.open(archive) as files:
            for member in files:
                name = member.name.removesuffix(".json")
                if not member.isfile() or name not in known:
                    continue
                graph = graph_of(json.load(files.extractfile(member)))
                bounds = bounds_of(graph)
                for row in known[name]:
                    capacity = cluster(data_folder, row["cluster"])
                    simple, best = bounds.of(capacity, effort=0).ns / 1e6, bounds.of(capacity).ns / 1e6
                    assert float(row["lb_ms"]) - 1 <= simple <= best, row
                    assert best <= float(row["best_rule_ms"]) + 1, row
                    equal += simple < float(row["lb_ms"]) + 1.01
                    seen += 1
    assert seen == len(rows) and equal >= 0.9 * seen


def graph_of(flat: dict) -> TaskGraph:
    memory = [1024 * c // 1000 if m is None else m for m, c in zip(flat["mem_mb"], flat["cores_milli"])]
    ends = np.cumsum([0, *map(len, flat["parents"])])
    return TaskGraph.from_arrays(
        ends,
        [parent for row in flat["parents"] for parent in row],
        np.column_stack((flat["cores_milli"], memory)),
        duration=np.array(flat["dur_ms"]) / 1000,
    )


def cluster(folder, name: str) -> np.ndarray:
    with open(folder / "clusters" / f"{name}.csv") as file:
        return capacity_of(*((int(row["cores_milli"]), int(row["mem_mb"])) for row in csv.DictReader(file)))


# ---------------------------------------------------------------- what is seen through each lens


def told(tasks, workers):
    plan = schedule(tasks, workers)
    return plan, plan.bottleneck


def test_memory_binds_on_the_workers_that_have_it():
    small = [Worker(f"s{i}", 4, 16 * 1024) for i in range(3)]
    large = [Worker(f"l{i}", 4, 64 * 1024) for i in range(2)]
    first = Task("first", "x", duration=130)
    big = [Task(f"b{i}", "x", ["first"], 1, 32 * 1024, duration=60) for i in range(8)]
    last = Task("last", "x", [task.task_id for task in big], duration=10)
    plan, bottleneck = told([first, *big, last], [*small, *large])
    assert plan.makespan == 130 + 2 * 60 + 10 == plan.lower_bound and plan.gap == 0.0
    assert plan.bound_by == "memory_mb" and bottleneck.kind == "resource" and bottleneck.resource == "memory_mb"
    assert (bottleneck.start, bottleneck.end) == (130, 250)
    assert bottleneck.workers == ("l0", "l1") and bottleneck.tasks == tuple(task.task_id for task in big)
    assert bottleneck.text == "memory-bound 2m 10s to 4m 10s on the workers with 64 GB"


def test_tasks_that_fill_more_than_half_of_a_worker_follow_each_other():
    tasks = [Task(f"t{i}", "x", (), 5, 100, duration=3) for i in range(4)]
    plan, bottleneck = told(tasks, [Worker("a", 8, 1024), Worker("b", 8, 1024), Worker("c", 4, 1024)])
    assert plan.makespan == 6 == plan.lower_bound and plan.plan.bounds_ns["cpu_millicores"] == 3 * NS
    assert bottleneck.text == "cpu-bound 0 ms to 6.00 s on the workers with 8 cores"
    plan, bottleneck = told(tasks[:3], [Worker("a", 8, 1024), Worker("b", 9, 1024)])
    assert plan.makespan == 6 == plan.lower_bound and bottleneck.kind == "slots"
    assert bottleneck.text == ("cpu-bound 0 ms to 6.00 s: 3 tasks with 5 cores or more, of which 2 can run at a time")


def test_more_than_half_is_seen_among_more_amounts_than_are_tried():
    amounts = np.concatenate((np.arange(1, 301), np.arange(501, 541)))
    graph = TaskGraph.from_arrays(
        np.zeros(341), [], np.column_stack((np.zeros(340), amounts)), duration=np.where(amounts > 500, 1000, 1)
    )
    assert bounds_of(graph).of(capacity_of((1, 1000), (1, 1000))).ns == 20 * 1000 * NS


def test_tasks_that_cannot_share_a_worker_for_several_reasons():
    tasks = [
        Task("a", "x", (), 5, 600, duration=4),
        Task("b", "x", (), 4, 600, duration=5),
        Task("c", "x", (), 5, 500, duration=6),
    ]
    plan, bottleneck = told(tasks, [Worker("w", 8, 1000)])
    assert plan.makespan == 15 == plan.lower_bound and plan.bound_by == "tasks apart"
    assert bottleneck.kind == "apart" and bottleneck.resource is None and bottleneck.tasks == ("a", "b", "c")
    assert bottleneck.text == "3 tasks of which no two fit a worker together, 0 ms to 15.00 s"


def test_the_critical_path_is_told_by_its_tasks():
    chain = [Task(f"t{i}", "x", [f"t{i - 1}"] if i else [], duration=1) for i in range(6)]
    plan, bottleneck = told(chain, [Worker("w", 4, 1024)])
    assert bottleneck.kind == "critical path" and bottleneck.workers == () and bottleneck.tasks == tuple(plan)
    assert bottleneck.text == "critical path: t0, t1, t2, ... 2 more ..., t5"
    assert (bottleneck.start, bottleneck.end) == (0, 6)
    assert told(chain[:3], [Worker("w", 4, 1024)])[1].text == "critical path: t0, t1, t2"


def test_some_workers_are_named():
    workers = [Worker("a", 4, 100), Worker("b", 3, 400), Worker("c", 4, 100), Worker("d", 3, 400)]
    tasks = [Task(f"t{i}", "x", (), 4, 10, duration=1) for i in range(8)]
    assert told(tasks, workers)[1].text == "cpu-bound 0 ms to 4.00 s on the workers with 4 cores"
    some = [Worker("a", 4, 100, resources={"r": 5}), *workers[1:], Worker("e", 5, 50, resources={"r": 9})]
    tasks = [Task(f"t{i}", "x", (), 4, 100, resources={"r": 1}, duration=1) for i in range(4)]
    assert told(tasks, some)[1].text == "cpu-bound 0 ms to 4.00 s on a"


def test_every_attempt_counts_and_nothing_is_bounded_by_what_did_not_run():
    tasks = [Task("a", "x", duration=2), Task("big", "x", (), 99, duration=1000), Task("b", "x", ["big"], duration=500)]
    with pytest.warns(UnsatisfiableWarning):
        plan = schedule(tasks, [Worker("w", 1, 512)], outcome=lambda task, worker, attempt: attempt > 2)
    assert plan.makespan == 6 == plan.lower_bound and plan.bottleneck.tasks == ("a",)
    assert plan.bottleneck.start == 0 and plan.bottleneck.end == 6
    nothing = schedule([], [Worker("w", 1, 512)])
    assert nothing.lower_bound == 0 == nothing.gap and nothing.bottleneck is None
    late = schedule([Task("a", "x", duration=0)], [Worker("w", 1, 512)], events=[])
    assert late.gap == 0 and late.bottleneck is None


def test_a_makespan_is_a_multiple_of_what_all_durations_are():
    tasks = [Task(f"t{i}", "x", (), 1, 0, duration=6) for i in range(3)]
    plan = schedule(tasks, [Worker("w", 2, 512)])
    assert plan.plan.bounds_ns["cpu_millicores"] == 9 * NS and plan.lower_bound == 12 == plan.makespan


def test_tasks_that_ran_where_there_is_no_room_for_them_now_are_bound_by_their_chains():
    plan = schedule([Task("a", "x", duration=2), Task("b", "x", ["a"], duration=3)], [Worker("w", 1, 512)])
    plan.plan._capacity[:] = 0  # as in a run, of whose workers the last is known
    assert plan.lower_bound == 5 and plan.bound_by == "critical path"


# ---------------------------------------------------------------- windows


def test_no_window_is_narrowed_too_far_in_a_tiny_world():
    met, higher = 0, 0
    for seed in range(WORLDS // 2):
        rng = random.Random(f"windows {seed}")
        tasks, _ = tiny_world(rng)
        room = [
            max((task.cpu_cores_required for task in tasks), default=0) * 1000 + rng.choice((0, 1000)),
            max((task.memory_required_mb for task in tasks), default=0) + rng.choice((0, 2)),
            max((task.resources["r"] for task in tasks), default=0) + rng.choice((0, 1)),
        ]
        graph = TaskGraph(tasks)
        capacity = capacity_of(room[: len(graph.resources)])
        best = shortest(graph, capacity)
        bounds = bounds_of(graph, unit_ns=int(np.gcd.reduce(graph.duration)))
        for steps in (50, 10**6):
            known = bounds.of(capacity, effort=0).ns
            narrowed = bounds.narrowed_ns(capacity, known, int(graph.duration.sum()), steps=steps)
            assert known <= narrowed <= best, f"seed {seed}"
        higher += narrowed > known
        met += narrowed == best
    assert met > 0.95 * WORLDS / 2 and higher > 0.02 * WORLDS / 2, (met, higher)


def test_windows_bring_the_bounds_of_projects_near_the_best_that_are_known(data_folder, tmp_path):
    with open(data_folder / "rcpsp" / "rcpsp_reference.csv") as file:
        known = {(row["set"], row["instance"].lower()): row for row in csv.DictReader(file) if row["best_ub"]}
    for name, every, share in (("j30", 2, 0.75), ("j60", 6, 0.65), ("RG30_Set4", 4, 0.6), ("j120", 20, 0.3)):
        met, seen = 0, 0
        with tarfile.open(data_folder / "rcpsp" / f"{name}.tar.gz") as files:
            members = sorted((m for m in files if m.isfile()), key=lambda member: member.name)
            for member in members[::every]:
                path = tmp_path / member.name.split("/")[-1]
                path.write_bytes(files.extractfile(member).read())
                row, job = known[name, path.stem.lower()], load(path)
                plan = schedule(job.tasks, job.workers)
                assert plan.plan.bound.ns <= plan.plan.lower_bound_ns <= int(row["best_ub"]) * NS, path.name
                met += plan.lower_bound >= float(row["best_lb"])
                seen += 1
        assert met >= share * seen, (name, met, seen)


def test_what_windows_prove_is_told():
    tasks = [Task(f"t{i}", "x", (), 1, 0, duration=seconds) for i, seconds in enumerate((3, 20, 5, 11))]
    plan = schedule([*tasks, Task("last", "x", ["t0", "t2"], 1, 0, duration=3)], [Worker("w", 2, 512)])
    assert plan.makespan == 22 == plan.lower_bound and plan.plan.bound.ns == 21 * NS
    assert plan.gap == 0 and plan.bound_by == "windows" and plan.bottleneck.kind == "resource"


def test_windows_are_left_alone_where_they_would_prove_nothing(monkeypatch):
    """A task that was tried twice may stand still between its attempts; two workers may share what one cannot hold."""
    tasks = [Task("a", "x", (), 2, 0, duration=2), Task("b", "x", (), 1, 0, duration=3), Task("c", "x", duration=2)]
    monkeypatch.setattr("fastsched.bounds.Windows", None)
    failing = schedule(tasks, [Worker("w", 2, 512)], outcome=lambda task, worker, attempt: task != "a" or attempt > 1)
    assert failing.lower_bound <= failing.makespan and failing.bound_by == "cpu_millicores"
    assert schedule(tasks, [Worker("v", 2, 512), Worker("w", 2, 512)]).lower_bound == 3
    graph = TaskGraph([Task("a", "x", (), 0, 2**31 - 1, duration=10**9), Task("b", "x", (), 0, 1, duration=1e-9)])
    assert bounds_of(graph).narrowed_ns(capacity_of((0, 2**31 - 1)), 5, 2**62) == 5
    many = TaskGraph.from_arrays(np.zeros(1002), [], np.ones((1001, 2)))
    assert bounds_of(many).narrowed_ns(capacity_of((3, 3)), 5, 2**40) == 5
    assert bounds_of(TaskGraph([])).narrowed_ns(capacity_of((3, 3)), 0, 0) == 0


# ---------------------------------------------------------------- the door


def test_what_no_worker_can_hold_has_no_bound():
    bounds = bounds_of(TaskGraph([Task("a", "x", (), 3, 5), Task("b", "x", (), 5, 3)]))
    assert bounds.of(capacity_of((3000, 5), (5000, 3))).ns == NS
    unbounded = bounds.of(capacity_of((3000, 5), (4999, 5)))
    assert unbounded.ns == UNBOUNDED and unbounded.kind == "unsatisfiable" and unbounded.tasks.tolist() == [1]
    assert bounds.quick_ns(capacity_of((3000, 0))) == UNBOUNDED
    assert bounds.of(np.zeros((0, 2), dtype=np.int32)).ns == UNBOUNDED
    assert bounds_of(TaskGraph([])).of(capacity_of((1, 1))).ns == 0


def test_effort_is_how_much_is_looked_at_and_a_target_ends_it():
    rng = random.Random(7)
    tasks = [
        Task(f"t{i}", "x", (), rng.randint(3, 8), rng.randint(1, 9), duration=rng.randint(1, 9)) for i in range(60)
    ]
    bounds, capacity = bounds_of(TaskGraph(tasks)), capacity_of((8000, 10), (8000, 10))
    least, more, all_of_it = (bounds.of(capacity, effort=effort).ns for effort in (0, 200, 10**6))
    assert bounds.quick_ns(capacity) <= least <= more <= all_of_it and least < all_of_it
    assert bounds.of(capacity, effort=10**6, target_ns=least).ns == least
