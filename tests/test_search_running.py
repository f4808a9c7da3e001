"""A search among tasks of which some run already: they stay where they are, and the rest is the best around them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from fastsched import Optimize
from fastsched._graphs import successors
from fastsched.optimize import Spending, search


def running_world(seed):
    """Tasks of which some run already, on some worker each with room for them together; the columns of a search."""
    rng = random.Random(f"running/{seed}")
    n, n_workers = rng.randint(4, 40), rng.choice([1, 1, 2, 3, 6])
    capacity = np.array([[rng.choice([4, 8]), rng.choice([10, 20])] for _ in range(n_workers)], dtype=np.int32)
    demand = np.array([[rng.randint(0, 4), rng.randint(0, 10)] for _ in range(n)], dtype=np.int32)
    duration = np.array([rng.randint(0 if seed % 3 == 0 else 1, 30) for _ in range(n)], dtype=np.int64)
    fixed, free = np.full(n, -1, dtype=np.int32), capacity.copy()
    n_running = rng.randint(1, n // 2 + 1)
    for task in range(n_running):
        worker = rng.randrange(n_workers)
        duration[task] = max(1, duration[task])
        if (demand[task] <= free[worker]).all():
            fixed[task], free[worker] = worker, free[worker] - demand[task]
    some = [sorted({rng.randrange(max(1, i)) for _ in range(rng.choice([0, 1, 2]))}) for i in range(n)]
    rows = [row if fixed[i] < 0 and i else [] for i, row in enumerate(some)]
    dep_ptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    deps = np.array([d for row in rows for d in row], dtype=np.int32)
    succ_ptr, succ = successors(dep_ptr, deps)
    return {
        "order": np.arange(n, dtype=np.int32), "succ_ptr": succ_ptr, "succ": succ, "dep_ptr": dep_ptr, "deps": deps,
        "duration": duration, "demand": demand, "capacity": capacity, "fixed": fixed,
    }  # fmt: skip


def serial_starts(world):
    """A schedule that there is: what runs, and then one task after the other."""
    start = np.zeros(len(world["duration"]), dtype=np.int64)
    at = int(world["duration"].sum())
    for task in range(len(start)):
        if world["fixed"][task] < 0:
            start[task] = at
            at += int(world["duration"][task])
    return start


def test_what_runs_stays_where_it_is_and_all_else_goes_around_it():
    n_found = 0
    for seed in range(300):
        world = running_world(seed)
        first = serial_starts(world)
        found = search(
            Spending(Optimize(schedules=120, seed=seed)), **world, start=first, worker=world["fixed"], bound=0
        )
        start, where, fixed = found.start, found.worker, world["fixed"]
        duration, demand, dep_ptr = world["duration"], world["demand"], world["dep_ptr"]
        runs = fixed >= 0
        assert not start[runs].any() and (where[runs] == fixed[runs]).all(), f"seed {seed}"
        end = start + duration
        assert (start >= 0).all() and end.max() <= (first + duration).max(), f"seed {seed}"
        for task in range(len(start)):
            assert all(end[d] <= start[task] for d in world["deps"][dep_ptr[task] : dep_ptr[task + 1]]), f"seed {seed}"
        for at in np.unique(start).tolist():
            for worker in range(len(world["capacity"])):
                there = (where == worker) & (start <= at) & (end > at)
                assert (demand[there].sum(axis=0) <= world["capacity"][worker]).all(), f"seed {seed}, {worker} at {at}"
        n_found += end.max() < (first + duration).max()
    assert n_found > 250


def test_of_what_runs_the_best_that_is_possible_is_found():
    """By brute force over all orders and workers, each task as early as it fits: one of these is the best."""
    n_waited = 0
    for seed in range(60):
        world = running_world(seed * 7 + 1)
        keep = [t for t in range(len(world["fixed"])) if world["fixed"][t] >= 0][:3]
        keep += [t for t in range(len(world["fixed"])) if world["fixed"][t] < 0][:4]
        small = {name: world[name][keep] for name in ("duration", "demand", "fixed")}
        small["duration"] = np.maximum(small["duration"], 1)
        m = len(keep)
        none = np.zeros(m + 1, dtype=np.int64), np.zeros(0, dtype=np.int32)
        small |= {"order": np.arange(m, dtype=np.int32), "capacity": world["capacity"][:2]}
        small["fixed"] = np.minimum(small["fixed"], len(small["capacity"]) - 1)
        held = np.zeros(small["capacity"].shape, dtype=np.int64)
        np.add.at(held, small["fixed"][small["fixed"] >= 0], small["demand"][small["fixed"] >= 0])
        if (held > small["capacity"]).any():
            continue
        small |= {"dep_ptr": none[0], "deps": none[1], "succ_ptr": none[0], "succ": none[1]}
        found = search(
            Spending(Optimize(schedules=800)), **small, start=serial_starts(small), worker=small["fixed"], bound=0
        )
        best = best_around(small)
        assert int((found.start + small["duration"]).max()) == best, f"seed {seed}"
        n_waited += best > int(small["duration"].max())
    assert n_waited > 10


def best_around(world):
    """The shortest makespan of tasks without dependencies, with what is fixed at 0: all orders and workers."""
    duration, demand, capacity = (world[name].tolist() for name in ("duration", "demand", "capacity"))
    fixed = {t: w for t, w in enumerate(world["fixed"].tolist()) if w >= 0}
    rest = [t for t in range(len(duration)) if t not in fixed]
    best = 10**9

    def go_on(placed, left):
        nonlocal best
        length = max(s + duration[t] for t, (s, _) in placed.items())
        if length >= best:
            return
        if not left:
            best = length
            return
        for task in left:
            for worker in range(len(capacity)):
                if all(d <= c for d, c in zip(demand[task], capacity[worker])):
                    at = next(
                        t for t in sorted({0, *(s + duration[u] for u, (s, _) in placed.items())})
                        if has_room(placed, task, worker, t)
                    )  # fmt: skip
                    go_on(placed | {task: (at, worker)}, [t for t in left if t != task])

    def has_room(placed, task, worker, at):
        there = [(s, s + duration[t], t) for t, (s, w) in placed.items() if w == worker]
        return all(
            sum(demand[t][r] for s, e, t in there if s <= moment < e) + demand[task][r] <= capacity[worker][r]
            for moment in {at, *(s for s, _, _ in there if at < s < at + duration[task])}
            for r in range(len(demand[task]))
        )

    go_on({t: (0, w) for t, w in fixed.items()}, rest)
    return best


def test_what_runs_has_to_have_room():
    world = running_world(5)
    world["fixed"][:] = 0
    with pytest.raises(ValueError, match="more than some worker holds"):
        search(Spending(Optimize(schedules=9)), **world, start=serial_starts(world), worker=world["fixed"], bound=0)
