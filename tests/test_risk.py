"""Risk: what is drawn, and that what is played with it is what `schedule()` would plan."""

from __future__ import annotations

import math
import os
import random
import statistics
from collections import Counter

import numpy as np
import oracle
import pytest
from worlds import make_world

from fastsched import Optimize, Policy, Task, TaskGraph, Worker, WorkerEvent, schedule
from fastsched._timeline import simulate
from fastsched.following import follow, loosened, read_route
from fastsched.graph import WorkerTable
from fastsched.planner import make_core
from fastsched.portfolio import key_of
from fastsched.ranks import mean_capacity, urgency_order
from fastsched.risk import sigma_of

WORLDS = int(os.environ.get("FASTSCHED_WORLDS", "1600")) // 4
NS = 1_000_000_000
DRAW_DURATION = 4
LN2 = 762123384786  # in parts of 2**40
pytestmark = pytest.mark.filterwarnings("ignore::fastsched.UnsatisfiableWarning")


def with_these(graph, durations_ns, position):
    """The same graph with other durations, to be planned in the order of a list."""
    return TaskGraph.from_arrays(
        graph.dep_ptr,
        graph.deps,
        graph.demand,
        duration=durations_ns / NS,
        priority=-position,
        resources=graph.resources,
    )


def list_of(graph, rank, workers):
    """The place of each task in the list that the expected durations make."""
    key = key_of(rank, graph, mean_capacity(WorkerTable(workers, graph.resources).capacity))
    position = np.empty(len(graph), dtype=np.int64)
    position[urgency_order(graph.priority, key)] = np.arange(len(graph))
    return position


@pytest.mark.parametrize("chunk", range(4))
def test_every_sample_is_what_schedule_would_plan(chunk):
    """With the list and the fit of the plan, and with reservations, which look at durations."""
    for seed in range(chunk, WORLDS, 4):
        world = make_world(seed)
        policy = Policy(reserve_after=world.policy.reserve_after) if world.policy and seed % 3 == 0 else None
        graph = TaskGraph(world.tasks)
        options = {"fit": world.fit, "policy": policy}
        risk = graph.schedule(world.workers, rank=world.rank, **options).risk(spread=0.5, samples=4, seed=seed)
        position = list_of(graph, world.rank, world.workers)
        for sample in range(4):
            durations = np.round(risk.durations(sample) * NS).astype(np.int64)
            plan = with_these(graph, durations, position).schedule(world.workers, rank="fifo", **options)
            assert plan.makespan_ns == risk.makespans_ns[sample], f"seed {seed}, sample {sample}"


def test_the_critical_chain_leads_back_from_the_last_end():
    """Counted again from the plan of each sample, where no task takes no time."""
    for seed in range(200):
        rng = random.Random(seed)
        tasks = [
            Task(
                f"t{i}",
                "x",
                [f"t{rng.randrange(i)}" for _ in range(rng.choice([0, 0, 1, 2]))] if i else [],
                rng.choice([1, 2]),
                duration=rng.randint(1, 9),
            )
            for i in range(rng.randint(1, 25))
        ]
        workers = [Worker(f"w{i}", 2, 4096) for i in range(rng.randint(1, 3))]
        graph = TaskGraph(tasks)
        risk = graph.schedule(workers).risk(spread=rng.choice([0, 0.3]), samples=5, seed=seed)
        counts = Counter()
        for sample in range(5):
            durations = np.round(risk.durations(sample) * NS).astype(np.int64)
            plan = with_these(graph, durations, list_of(graph, "critical-path", workers)).schedule(workers, rank="fifo")
            start, end, where = plan.start_ns.tolist(), plan.end_ns.tolist(), plan.worker.tolist()
            task = end.index(max(end))
            while task is not None:
                counts[task] += 1
                above = [d for d in graph.deps[graph.dep_ptr[task] : graph.dep_ptr[task + 1]] if end[d] == start[task]]
                beside = [t for t in range(len(graph)) if where[t] == where[task] and end[t] == start[task]]
                task = min(above) if above else max(beside, default=None)
        assert risk.criticality.tolist() == [counts[i] / 5 for i in range(len(graph))], f"seed {seed}"
        assert dict(risk.most_critical(99)) == {f"t{i}": counts[i] / 5 for i in counts}


# ---------------------------------------------------------------- what is drawn


def draw_normal(seed, what, which):
    """Karney's algorithm N again, in plain whole numbers."""
    bits, at = oracle.draw(seed, what, which), 0

    def following():
        nonlocal at
        at += 1
        return oracle.draw(bits, 0, at - 1)

    def root_of_e():
        last, even = 2**63, True
        while (drawn := following()) < last:
            last, even = drawn, not even
        return even

    def falling(k, x):
        last, even = x, True
        while (drawn := following()) < last:
            side = ((following() >> 32) * (2 * k + 2)) >> 32
            if side > 2 * k or (side == 2 * k and following() >= x):
                break
            last, even = drawn, not even
        return even

    while True:
        k = 0
        while root_of_e():
            k += 1
        if not all(root_of_e() for _ in range(k * (k - 1))):
            continue
        x = following()
        if all(falling(k, x) for _ in range(k + 1)):
            size = (k << 28) + (x >> 36)
            return size if following() >> 63 else -size


def times_exp(amount, exponent):
    n, r = divmod(exponent, LN2)
    r >>= 10
    power = 2**32
    for i in range(13, 0, -1):
        power = 2**32 + ((r * power) >> 30) // i
    amount = (((amount >> 31) * power) >> 1) + (((amount & 0x7FFFFFFF) * power) >> 32)
    if n >= 0:
        return min(amount << n, 2**61 - 1)
    return (amount + (1 << (-n - 1))) >> -n


def risk_of(durations, **options):
    tasks = [
        Task(f"t{i}", "x", cpu_cores_required=0, memory_required_mb=0, duration=d) for i, d in enumerate(durations)
    ]
    return schedule(tasks, [Worker("w", 1, 1)]).risk(**options)


def test_durations_are_drawn_in_whole_numbers():
    """To the ns as slow whole numbers draw them; so they are on every machine."""
    rng = random.Random(3)
    for seed in (0, 1, 2**64 - 1, 12345):
        spread = rng.choice([0.01, 0.2, 1, 10])
        durations = [rng.choice([0, 1e-9, 0.5, 1, 3600, 10**8]) for _ in range(20)]
        risk = risk_of(durations, spread=spread, samples=3, seed=seed)
        sigma = sigma_of(spread)
        half = (sigma * sigma) >> 21
        for sample in range(3):
            expected = [
                times_exp(round(d * NS), ((draw_normal(seed, DRAW_DURATION, (sample << 32) + i) * sigma) >> 18) - half)
                for i, d in enumerate(durations)
            ]
            assert risk._redraw(sample).tolist() == expected, (seed, sample)


@pytest.mark.parametrize("spread", [0.001, 0.2, 1.0])
def test_durations_are_lognormal_with_the_mean_as_expected(spread):
    n = 40_000
    drawn = risk_of([1000.0] * n, spread=spread, samples=1, seed=5).durations(0) / 1000
    sigma = math.sqrt(math.log(1 + spread**2))
    z = (np.log(drawn) + sigma**2 / 2) / sigma
    assert abs(drawn.mean() - 1) < 5 * spread / math.sqrt(n)
    assert abs(z.mean()) < 5 / math.sqrt(n) and abs(z.std() - 1) < 5 / math.sqrt(2 * n)
    cdf = np.array([statistics.NormalDist().cdf(x) for x in np.sort(z).tolist()])
    assert np.abs(cdf - (np.arange(n) + 0.5) / n).max() < 2 / math.sqrt(n)  # Kolmogorov, one in 2,000


def test_a_sample_depends_on_the_seed_its_number_and_the_task_alone():
    tasks = [Task(f"t{i}", "x", duration=i % 7 + 1) for i in range(300)]
    plan = schedule(tasks, [Worker("a", 4, 4096), Worker("b", 4, 4096)])
    whole = plan.risk(spread=0.3, samples=200, seed=9)
    for threads, samples in ((1, 60), (2, 200), (3, 199)):
        part = plan.risk(spread=0.3, samples=samples, seed=9, threads=threads)
        assert part.makespans_ns.tolist() == whole.makespans_ns[:samples].tolist()
    assert plan.risk(spread=0.3, samples=200, seed=9, threads=2).criticality.tolist() == whole.criticality.tolist()
    assert plan.risk(spread=0.3, samples=200, seed=8).makespans_ns.tolist() != whole.makespans_ns.tolist()


# ---------------------------------------------------------------- what is told


def test_without_spread_every_sample_is_the_plan():
    plan = schedule([Task("a", "x", duration=2), Task("b", "x", ["a"], duration=3)], [Worker("w", 1, 512)])
    risk = plan.risk(spread=0, samples=7)
    assert set(risk.makespans.tolist()) == {5.0} and risk.mean == 5 and risk.expected == 5
    assert risk.criticality.tolist() == [1, 1] and risk.chance(5) == 1 and risk.chance(4.999) == 0
    assert risk.quantiles == {"p5": 5, "p50": 5, "p90": 5, "p95": 5, "p99": 5}


def test_quantiles_are_those_of_the_samples():
    risk = risk_of([10.0], spread=0.4, samples=999, seed=1)
    ordered = sorted(risk.makespans.tolist())
    for share in (0, 0.001, 0.05, 0.5, 0.9, 1):
        at = min(i for i in range(999) if (i + 1) / 999 >= share)
        assert risk.quantile(share) == ordered[at]
    assert risk.mean == pytest.approx(sum(ordered) / 999)
    assert risk.chance(ordered[300]) == pytest.approx(301 / 999)
    hundred = risk_of([10.0], spread=0.4, samples=100, seed=1)
    assert hundred.quantile(0.07) == sorted(hundred.makespans.tolist())[6], "0.07 * 100 is more than 7"
    with pytest.raises(ValueError, match="share"):
        risk.quantile(1.5)
    with pytest.raises(IndexError, match="no sample 999"):
        risk.durations(999)
    assert "999 samples" in repr(risk)


def test_tasks_that_nobody_can_hold_are_left_out():
    tasks = [Task("big", "x", (), 9, duration=99), Task("after", "x", ["big"]), Task("small", "x", duration=2)]
    risk = schedule(tasks, [Worker("w", 1, 512)]).risk(spread=0, samples=2)
    assert risk.makespans.tolist() == [2, 2] and risk.criticality.tolist() == [0, 0, 1]
    assert schedule([], [Worker("w", 1, 512)]).risk(samples=3).makespans.tolist() == [0, 0, 0]


def test_what_cannot_be_asked_is_said():
    one, workers = [Task("a", "x")], [Worker("w", 1, 512)]
    plan = schedule(one, workers)
    for options, word in (
        ({"spread": -0.1}, "spread"),
        ({"spread": 11}, "spread"),
        ({"spread": "20%"}, "spread"),
        ({"samples": 0}, "samples"),
        ({"seed": -1}, "seed"),
        ({"threads": 0}, "threads"),
    ):
        with pytest.raises(ValueError, match=word):
            plan.risk(**options)
    for options in ({"outcome": lambda *_: True}, {"events": [WorkerEvent(3, "leave", "w")]}):
        with pytest.raises(ValueError, match="plan without them"):
            schedule(one, workers, **options).risk()


def test_ctrl_c_in_between_comes_out():
    def stop(done, samples):
        raise KeyboardInterrupt

    for threads in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            schedule([Task("a", "x")], [Worker("w", 1, 512)]).risk(threads=threads, on_progress=stop)


def test_virtual_time_that_grows_beyond_the_clock_is_said():
    tasks = [Task(f"t{i}", "x", duration=10**9) for i in range(4)]
    with pytest.raises(OverflowError, match="146 years"):
        schedule(tasks, [Worker("w", 1, 512)]).risk(spread=10, samples=200)
    with pytest.raises(OverflowError, match="146 years"):  # and nobody waits for whoever has failed
        schedule(tasks, [Worker("w", 1, 512)]).risk(spread=10, samples=200, threads=2)


# ---------------------------------------------------------------- plans of every kind


def small_world(seed):
    """Tasks of which each takes some time, on one worker or some, short of cores."""
    rng = random.Random(f"kinds/{seed}")
    tasks = [
        Task(
            f"t{i}",
            "x",
            {f"t{rng.randrange(max(0, i - 20), i)}" for _ in range(2)} if i > 6 else (),
            rng.choice([1, 2, 4]),
            10,
            duration=rng.randint(5, 60),
        )
        for i in range(rng.choice([12, 40, 80]))
    ]
    return tasks, [Worker(f"w{i}", 4, 1000) for i in range(rng.choice([1, 2, 4]))]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rank": "auto", "fit": "auto"},
        {"rank": "mirrored", "fit": "best-fit"},
        {"rank": "latest-finish+justified"},
        {"optimize": Optimize(schedules=300, seed=3)},
        {"optimize": Optimize(schedules=60), "policy": Policy(reserve_after=1.0)},
    ],
    ids=["one-pass", "auto", "mirrored", "justified", "searched", "searched-reserving"],
)
def test_without_spread_the_risk_is_the_plan(options):
    n_searched = 0
    for seed in range(WORLDS // 10):
        tasks, workers = small_world(seed)
        plan = schedule(tasks, workers, **options)
        risk = plan.risk(spread=0, samples=3, threads=2)
        assert set(risk.makespans_ns.tolist()) == {plan.plan.makespan_ns}, f"seed {seed}: {plan.rank}"
        varied = plan.risk(spread=0.3, samples=3, seed=seed)
        assert plan.risk(spread=0.3, samples=3, seed=seed).makespans_ns.tolist() == varied.makespans_ns.tolist()
        n_searched += plan.rank == "search"
    assert bool(n_searched) or "optimize" not in options


def test_the_risk_of_a_searched_plan_is_what_following_it_would_take():
    """Each sample played by the other time line, and the order that stands such durations."""
    n = 0
    for seed in range(40):
        tasks, workers = small_world(seed)
        graph = TaskGraph(tasks)
        plan = graph.schedule(workers, optimize=Optimize(schedules=200))
        table = WorkerTable(workers, graph.resources)
        exact = read_route(plan, graph, table)
        route = loosened(exact, graph, table.capacity, fit="most-free")
        if plan.rank != "search":
            continue
        risk = plan.risk(spread=0.3, samples=3, seed=seed)
        for sample in range(3):
            durations = np.round(risk.durations(sample) * NS).astype(np.int64)
            other = with_these(graph, durations, np.zeros(len(graph), dtype=np.int64))
            core = make_core(other, table, rank="fifo", fit="most-free", max_retries=0)
            follow(core, route)
            simulate(core)
            assert int(core.columns()["end"].max()) == risk.makespans_ns[sample], f"seed {seed}, sample {sample}"
            core.check()
            n += bool(exact.not_before.any())
            assert not route.not_before.any(), "with other durations, who was held back may wait in vain"
    assert n, "of none of them anybody was held back"
