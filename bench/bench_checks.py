"""The checker of plans finds what is wrong: a bench's answer is worth as much as what looks at it."""

from __future__ import annotations

import numpy as np
import pytest
import workloads
from checks import check_order, check_plan

from fastsched._timeline import simulate
from fastsched.graph import WorkerTable


@pytest.fixture
def plan():
    given = workloads.arrays("scattered", 400, seed=6)
    graph = workloads.graph_of(given)
    table = WorkerTable(workloads.workers(5), graph.resources)
    core = workloads.core_of(graph, table)
    simulate(core)
    columns = {name: core.columns()[name].copy() for name in ("worker", "start", "end")}
    check_plan(given, table.capacity, *columns.values())
    return given, table.capacity, columns


def busiest(columns) -> int:
    """The task during which most others run."""
    start, end = columns["start"], columns["end"]
    return int(np.argmax(((start < end[:, None]) & (start[:, None] < end)).sum(axis=1)))


def everything_at_once(given, capacity, columns):
    columns["worker"][:] = 0


def one_more_on_a_full_worker(given, capacity, columns):
    capacity[columns["worker"][busiest(columns)]] -= 1


def before_its_dependency(given, capacity, columns):
    task = int(np.nonzero(np.diff(given.indptr))[0][-1])
    columns["end"][task] -= columns["start"][task]
    columns["start"][task] = 0


def too_short(given, capacity, columns):
    columns["end"][7] -= 1


def never_ran(given, capacity, columns):
    columns["start"][7] = columns["end"][7] = columns["worker"][7] = -1


@pytest.mark.parametrize(
    "spoil", [everything_at_once, one_more_on_a_full_worker, before_its_dependency, too_short, never_ran]
)
def bench_a_wrong_plan_is_found(plan, spoil):
    given, capacity, columns = plan
    if spoil is one_more_on_a_full_worker:
        capacity = held_at_most(given, len(capacity), columns)
        check_plan(given, capacity, *columns.values())
    spoil(given, capacity, columns)
    with pytest.raises(AssertionError):
        check_plan(given, capacity, *columns.values())


def held_at_most(given, n_workers: int, columns):
    """The least capacities with which the plan is possible, instant by instant in slow plain Python."""
    most = np.zeros((n_workers, given.demand.shape[1]), dtype=np.int64)
    for now in columns["start"]:
        runs = (columns["start"] <= now) & (now < columns["end"])
        for w in range(n_workers):
            most[w] = np.maximum(most[w], given.demand[runs & (columns["worker"] == w)].sum(axis=0))
    return most


def bench_a_wrong_order_is_found():
    given = workloads.arrays("chain", 100)
    check_order(given, np.arange(100))
    for wrong in (np.arange(99), np.arange(100)[::-1], np.zeros(100, dtype=int)):
        with pytest.raises(AssertionError):
            check_order(given, wrong)
