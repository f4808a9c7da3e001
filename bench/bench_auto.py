"""`auto`: what it costs beside one pass, and how much shorter its plans are on real instances.

Costs are processor time, in turns in one run, for others may be at work on the machine; every plan is checked by what
knows nothing of the core.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import targets
import workloads
from checks import check_plan
from instances import instances
from timing import median, ratio

from fastsched import Plan
from fastsched.graph import WorkerTable
from fastsched.portfolio import FITS, PAIRS

N, N_WORKERS, ROUNDS = 12_000, 100, 9
SHAPES = {"layers of 1000": ("layers", 1000), "wide": ("wide", 1), "scattered": ("scattered", 1)}
ONE_PASS_S = 0.020  # at most, by any fit
RATIO = 10  # of auto to one pass, at most


TARGETS = [target for target in targets.TARGETS if target.above == "bound" and target.budget == "auto"]


def processor_time(work: Callable[[], Plan]) -> tuple[float, Plan]:
    began = time.process_time()
    plan = work()
    return time.process_time() - began, plan


@pytest.mark.parametrize("shape", SHAPES)
def bench_auto(capsys, shape):
    given = workloads.arrays(SHAPES[shape][0], N, width=SHAPES[shape][1])
    graph, workers = workloads.graph_of(given), workloads.workers(N_WORKERS)
    capacity = WorkerTable(workers, graph.resources).capacity
    work = {fit: lambda fit=fit: graph.schedule(workers, fit=fit) for fit in FITS}
    work["auto"] = lambda: graph.schedule(workers, rank="auto", fit="auto")
    seconds, plans = {name: [] for name in work}, {}
    for round_ in range(ROUNDS + 1):  # the first one warms up
        for name in work:
            took, plans[name] = processor_time(work[name])
            seconds[name] += [took] if round_ else []
    for plan in plans.values():
        check_plan(given, capacity, plan.worker, plan.start_ns, plan.end_ns)
    assert plans["auto"].n_tried == len(PAIRS) + 1, "the bound was met: this shows nothing"
    again = graph.schedule(workers, rank=plans["auto"].rank, fit=plans["auto"].fit)
    assert np.array_equal(again.start_ns, plans["auto"].start_ns)
    assert plans["auto"].makespan_ns <= plans["most-free"].makespan_ns
    beside = ratio(seconds["auto"], seconds["most-free"])
    with capsys.disabled():
        print(f"\n{shape}: {N:,} tasks on {N_WORKERS} workers, ms of processor time, median of {ROUNDS} rounds:")
        print("    " + ", ".join(f"{name} {median(seconds[name]) * 1e3:.1f}" for name in work))
        shorter = 1 - plans["auto"].makespan / plans["most-free"].makespan
        print(f"    auto is {beside:.1f} times one pass by most-free; its plan is {shorter:.1%} shorter")
    assert max(median(seconds[fit]) for fit in FITS) <= ONE_PASS_S
    assert beside <= RATIO


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.what}-{target.cluster or 'own'}")
def bench_auto_on_instances(capsys, target):
    if not workloads.DATA.is_dir():
        pytest.skip(f"skipped: no data folder at FASTSCHED_DATA={workloads.DATA}")
    above = {"one": [], "auto": []}
    for instance in instances(target.what, target.cluster):
        capacity = WorkerTable(instance.workers, instance.graph.resources).capacity
        for name, pair in (("one", {}), ("auto", {"rank": "auto", "fit": "auto"})):
            plan = instance.graph.schedule(instance.workers, **pair)
            check_plan(instance.given, capacity, plan.worker, plan.start_ns, plan.end_ns)
            above[name].append(100 * (plan.makespan_ns / instance.bound_ns - 1))
    one, auto = (sum(shares) / len(shares) for shares in above.values())
    with capsys.disabled():
        where = target.cluster or "their own workers"
        print(
            f"\n{len(above['auto'])} of {target.what} on {where}, % above the lower bound: "
            f"one pass {one:.2f}, auto {auto:.2f} (at most {target.limit})"
        )
    assert auto <= target.limit
