"""`size()`: against brute force on small worlds, its bounds, and what it says where it cannot be done."""

from __future__ import annotations

import itertools
import random
import warnings

import msgspec
import numpy as np
import pytest

import fastsched
from fastsched import Shape, SizingError, Task, TaskGraph, UnsatisfiableWarning, ValidationError, Worker, size
from fastsched.covering import Area, Cover, by_least_cost, find_areas

NS = 1_000_000_000


def workers_of(shapes, counts):
    return [
        msgspec.structs.replace(shape.worker, worker_id=f"{shape.label}-{i}")
        for shape, count in zip(shapes, counts)
        for i in range(count)
    ]


def cheapest(graph, shapes, deadline, minimise, billing, **options):
    """What is minimised, of the best of all sets; None where none meets the deadline."""
    best = None
    for counts in itertools.product(*(range(shape.most + 1) for shape in shapes)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnsatisfiableWarning)
            plan = graph.schedule(workers_of(shapes, counts), **options)
        if not plan.all_completed or plan.makespan_ns > round(deadline * NS):
            continue
        rate = sum(count * shape.price_nano for shape, count in zip(shapes, counts))
        unit = max(1, round(billing * NS))
        cost = rate if minimise == "hourly" else rate * (-(-plan.makespan_ns // unit) * unit)
        best = cost if best is None else min(best, cost)
    return best


def make_job(seed):
    rng = random.Random(seed)
    named = rng.random() < 0.3
    tasks = [
        Task(
            f"t{i}",
            "x",
            [f"t{rng.randrange(i)}" for _ in range(rng.choice([0, 0, 1, 2]))] if i else [],
            rng.choice([1, 2, 4]),
            rng.choice([100, 1000, 4000]),
            duration=rng.choice([0, 0.5, *range(1, 30)]),
            resources={"gpu": 1} if named and rng.random() < 0.3 else None,
        )
        for i in range(rng.randint(0, 14))
    ]
    shapes = [
        Shape("2x2G", 0.1, most=rng.randint(1, 4)),
        Shape("4x8G", rng.choice([0.2, 0.19, 0.3]), "middling", rng.randint(1, 3)),
        Shape("8x8G,gpu=2", rng.choice([0.4, 0.35, 0]), most=rng.randint(0, 2)),
    ]
    return rng, TaskGraph(tasks), shapes


@pytest.mark.parametrize("chunk", range(4))
def test_the_cheapest_is_found_on_small_worlds(chunk):
    found = refused = 0
    for seed in range(chunk, 240, 4):
        rng, graph, shapes = make_job(seed)
        path = graph.schedule([Worker("w", 1000, 10**6, resources={"gpu": 99})]).makespan
        deadline = path * rng.choice([0.9, 1, 1.2, 2, 3])
        ask = {"minimise": rng.choice(["price", "hourly"]), "billing": rng.choice([0, 7, 60])}
        options = {
            "rank": rng.choice(["critical-path", "fifo", "longest-first"]),
            "fit": rng.choice(["most-free", "best-fit", "first-fit"]),
        }
        wanted = cheapest(graph, shapes, deadline, **ask, **options)
        try:
            got = size(graph, deadline=deadline, shapes=shapes, **ask, **options)
        except SizingError:
            assert wanted is None, f"seed {seed}"
            refused += 1
            continue
        found += 1
        assert wanted is not None, f"seed {seed}: {got}"
        hourly = ask["minimise"] == "hourly"
        value = got.price_per_hour if hourly else got.price
        assert value == pytest.approx(wanted / 1e9 / (1 if hourly else 3600 * NS), rel=1e-12), f"seed {seed}: {got}"
        assert got.exact and got.lower_bound <= value and got.gap >= 0, f"seed {seed}"
        assert got.makespan <= deadline + 1e-9 and got.schedule.all_completed
        # The set is what it says it is, planned as it says.
        plan = fastsched.schedule(graph, got.workers, **options)
        assert plan.placements == got.schedule.placements and plan.makespan == got.makespan
        assert sum(got.counts.values()) == len(got.workers)
    assert found > 25 and refused > 5


def test_no_set_of_a_beginning_costs_less_than_its_bound():
    """Every set's cost, on whatever plan, is at least the bound of each of its beginnings; and they come in order."""
    for seed in range(120):
        rng = random.Random(seed)
        n_shapes = rng.randint(1, 3)
        areas = [
            Area(rng.choice([0, rng.randint(1, 500)]), tuple(rng.choice([0, 1, 2, 5]) for _ in range(n_shapes)))
            for _ in range(rng.randint(1, 4))
        ]
        areas = [area for area in areas if any(area.offers)]
        path = rng.randint(1, 20)
        cover = Cover(
            areas,
            [rng.randint(0, 9) for _ in range(n_shapes)],
            [rng.randint(0, 5) for _ in range(n_shapes)],
            path=path,
            deadline=path + rng.randint(0, 60),
            hourly=rng.random() < 0.4,
            unit=rng.choice([1, 1, 7]),
        )
        feasible = {}
        for counts in itertools.product(*(range(most + 1) for most in cover.most)):
            least = cover.least_ns(counts)
            if least is None or least > cover.deadline:
                assert cover.least_cost(counts) is None
                continue
            feasible[counts] = cost = cover.cost(counts, least)
            for j in range(n_shapes + 1):
                bound = cover.least_cost(counts[:j])
                assert bound is not None and bound <= cost, f"seed {seed}: {counts}, {j}"
        told = list(by_least_cost(cover, 99, 10**6, lambda: None))
        assert {counts for _, counts in told} == set(feasible), f"seed {seed}"
        bounds = [bound for bound, _ in told]
        assert bounds == sorted(bounds) and all(bound <= feasible[counts] for bound, counts in told)
        # What costs the ceiling or more is left out, and nothing else.
        if feasible:
            ceiling = sorted(feasible.values())[len(feasible) // 2]
            below = {counts for counts, cost in feasible.items() if cost < ceiling}
            assert below <= {counts for _, counts in by_least_cost(cover, 99, 10**6, lambda ceiling=ceiling: ceiling)}
            few = list(by_least_cost(cover, 99, 2, lambda: None))
            assert few[0][0] <= min(feasible.values())


def test_areas_are_of_tasks_that_cannot_leave():
    demand = np.array([[1, 1], [1, 4], [2, 9]], dtype=np.int32)
    duration = np.array([10, 20, 30], dtype=np.int64)
    capacity = np.array([[4, 2], [2, 8], [2, 16]], dtype=np.int32)
    areas = find_areas(demand, duration, capacity)
    assert Area(1 * 10 + 1 * 20 + 2 * 30, (4, 2, 2)) in areas  # cores, of all
    assert Area(4 * 20 + 9 * 30, (0, 8, 16)) in areas  # memory, of those that fit the last two shapes only
    assert Area(9 * 30, (0, 0, 16)) in areas and Area(2 * 30, (0, 0, 2)) in areas
    assert Area(0, (0, 0, 1)) in areas and Area(0, (1, 1, 1)) in areas  # and one of these has to be there


def test_a_large_fleet_is_near_the_cheapest_and_the_same_each_time():
    rng = random.Random(4)
    tasks = [
        Task(f"t{i}", "x", cpu_cores_required=rng.choice([1, 2, 4]), duration=rng.uniform(50, 99)) for i in range(900)
    ]
    shapes = [Shape("4x16G", 0.2), Shape("8x32G", 0.4), Shape("16x64G", 0.8), Shape("2x8G", 0.11)]
    graph = TaskGraph(tasks)
    for minimise in ("price", "hourly"):
        got = size(graph, deadline=600, shapes=shapes, minimise=minimise, passes=300)
        assert got.gap < 0.06 and len(got.tried) <= 310
        again = size(graph, deadline=600, shapes=shapes, minimise=minimise, passes=300)
        assert got.counts == again.counts and got.tried == again.tried


def test_prices_are_counted_exactly():
    tasks = [Task("a", "x", duration=3600), Task("b", "x", duration=3600)]
    got = size(tasks, deadline=3600, shapes=[Shape("1x1G", 0.1), Shape("2x2G", 0.2)])
    assert got.price == 0.2 and got.gap == 0 and got.exact
    dearer = size(tasks, deadline=3600, shapes=[Shape("1x1G", 0.1), Shape("2x2G", 0.200000001)])
    assert dearer.counts == {"1x1G": 2}


def test_started_units_are_paid_in_full():
    tasks = [Task(f"t{i}", "x", duration=600) for i in range(6)]
    shapes = [{"shape": "1x1G", "price": 0.6}]
    whole = size(tasks, deadline=3600, shapes=shapes)
    assert whole.price == pytest.approx(0.6) and whole.gap == 0 and whole.exact
    billed = size(tasks, deadline=3600, shapes=shapes, billing=3600)
    assert billed.counts == {"1x1G": 1} and billed.price == pytest.approx(0.6)
    assert size(tasks, deadline=1800, shapes=shapes, billing=3600).price == pytest.approx(1.2)


def test_workers_that_cost_nothing_are_taken_first():
    tasks = [Task(f"t{i}", "x", duration=60) for i in range(10)]
    got = size(tasks, deadline=120, shapes=[Shape("1x1G", 0, "ours", 3), Shape("1x1G", 0.5, "cloud")])
    assert got.counts == {"ours": 3, "cloud": 2} and [w.worker_id for w in got.workers][:2] == ["ours-0", "ours-1"]
    with pytest.raises(ValueError, match="'ours' costs nothing; say with `most`"):
        size(tasks, deadline=120, shapes=[Shape("1x1G", 0, "ours")])


def test_nothing_to_do_needs_nobody():
    got = size([], deadline=10, shapes=[Shape("1x1G", 1)])
    assert got.counts == {} and got.price == 0 and got.makespan == 0 and got.exact and "no worker" in repr(got)
    nothing = size([Task("a", "x", duration=0)], deadline=0, shapes=[Shape("1x1G", 1)])
    assert nothing.counts == {"1x1G": 1} and nothing.price == 0


# ---------------------------------------------------------------- what cannot be done


def test_a_deadline_before_the_critical_path_is_refused_with_the_path():
    tasks = [Task("a", "x", duration=2), Task("b", "x", ["a"], duration=3.25), Task("c", "x", duration=1)]
    with pytest.raises(SizingError) as caught:
        size(tasks, deadline=5, shapes=[Shape("1x1G", 1)])
    assert caught.value.path == ("a", "b") and caught.value.least == 5.25
    assert "ends by 5 s" in str(caught.value) and "takes 5.25 s (a -> b)" in str(caught.value)
    assert size(tasks, deadline=caught.value.least, shapes=[Shape("1x1G", 1)]).makespan == 5.25


def test_a_long_path_is_told_in_part():
    tasks = [Task(f"t{i}", "x", [f"t{i - 1}"] if i else []) for i in range(50)]
    with pytest.raises(SizingError, match=r"t0 -> t1 -> .* -> t10 -> \.\.\. -> t49"):
        size(tasks, deadline=49, shapes=[Shape("1x1G", 1)])


def test_a_task_that_fits_no_shape_is_named():
    tasks = [Task("big", "x", (), 3, 9000), Task("huge", "x", (), 99), Task("small", "x")]
    with pytest.raises(SizingError) as caught:
        size(tasks, deadline=9, shapes=[Shape("4x4G", 1), Shape("2x8G", 1), Shape("64x64G", 9, "none", 0)])
    assert caught.value.task_id == "big"
    assert "no shape can hold task 'big'" in str(caught.value) and "nor 1 more task" in str(caught.value)


def test_too_few_workers_are_told_of():
    tasks = [Task(f"t{i}", "x", duration=10) for i in range(10)]
    with pytest.raises(SizingError, match=r"\(3 x 1x1G\) take at least 33.33\d* s") as caught:
        size(tasks, deadline=30, shapes=[Shape("1x1G", 1, most=3)])
    assert caught.value.least == pytest.approx(100 / 3)
    # The bound would allow it, and no plan is there.
    with pytest.raises(SizingError, match=r"none of the .* ends by 34 s; on all .* it takes 40 s"):
        size(tasks, deadline=34, shapes=[Shape("1x1G", 1, most=3)])


def test_arguments_that_are_wrong_are_said():
    one = [Task("a", "x")]
    with pytest.raises(ValueError, match="did you mean 'price'"):
        size(one, deadline=9, shapes=[Shape("1x1G", 1)], minimise="prices")
    for options in (
        {"deadline": -1},
        {"deadline": True},
        {"deadline": 9, "billing": "1h"},
        {"deadline": 9, "passes": 0},
    ):
        with pytest.raises(ValueError, match="is wanted"):
            size(one, shapes=[Shape("1x1G", 1)], **options)
    with pytest.raises(ValueError, match="shapes is empty"):
        size(one, deadline=9, shapes=[])
    with pytest.raises(ValidationError) as caught:
        size(one, deadline=9, shapes=[{"shape": "1xG", "price": 1}, {"shape": "1x1G", "prize": 2}, {"price": 3}, 7])
    kinds = [(p.kind, p.where) for p in caught.value.problems]
    assert kinds == [
        ("bad_value", "shapes[0]"),
        ("unknown_field", "shapes[1]"),
        ("missing_field", "shapes[1]"),
        ("missing_field", "shapes[2]"),
        ("bad_type", "shapes[3]"),
    ]
    assert "did you mean 'price'" in str(caught.value)
    with pytest.raises(ValidationError, match="comes twice"):
        size(one, deadline=9, shapes=[Shape("1x1G", 1), Shape("1x1G", 2)])


@pytest.mark.parametrize("price", [-1, float("nan"), float("inf"), True, "1", 1e-10, 10**10])
def test_a_price_is_a_number_that_can_be_counted(price):
    with pytest.raises(ValueError, match="price is"):
        Shape("1x1G", price)


def test_a_shape_is_one_worker():
    assert Shape(Worker("mine", 1.5, 3000, resources={"gpu": 2}), 1).label == "1.5x3000M,gpu=2"
    for wrong in ("3:1x1G", "1x1", 5, Worker("w", -1, 5)):
        with pytest.raises(ValueError):
            Shape(wrong, 1)
    with pytest.raises(ValueError, match="most is"):
        Shape("1x1G", 1, most=-1)


def test_ctrl_c_gives_the_best_so_far():
    tasks = [Task(f"t{i}", "x", duration=60 + i) for i in range(40)]

    def stop(tried, passes, best):
        if tried == 9:
            raise KeyboardInterrupt

    got = size(tasks, deadline=300, shapes=[Shape("2x4G", 0.1), Shape("3x4G", 0.14)], on_progress=stop)
    assert got.interrupted and not got.exact and len(got.tried) == 9
    assert got.schedule.all_completed and got.makespan <= 300 and got.lower_bound <= got.price

    def at_once(tried, passes, best):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # nothing meets the deadline yet
        size(tasks, deadline=100, shapes=[Shape("2x4G", 0.1)], on_progress=at_once)
