"""How far the core is from the floor: the least that any scheduler of ready tasks by urgency has to do.

The floor (limit/floor.pyx) is a Kahn pass with one heap push and pop a task over the same arrays; `sorted` is that
with the order of urgency sorted beforehand, which is lower. All are measured in turns in one run, and a ratio is the
median of the rounds. FASTSCHED_MILLION=1 measures 1,000,000 tasks on 10,000 workers as well, beside numpy sorting as
many random keys; that takes minutes.
"""

from __future__ import annotations

import gc
import os
from functools import partial

import native
import numpy as np
import pytest
import workloads
from checks import check_order, check_plan
from floor import lay_ready
from timing import median, ratio, timed

from fastsched._timeline import simulate
from fastsched.graph import WorkerTable

SIZES = {"10k": (10_000, 100, 1_000, 21), "1M": (1_000_000, 10_000, 50_000, 5)}  # tasks, workers, width, rounds
SHAPES = ("layers", "wide", "chain", "scattered")


@pytest.mark.parametrize("size", SIZES)
def bench_limit(capsys, size):
    n, n_workers, width, rounds = SIZES[size]
    if size == "1M" and os.environ.get("FASTSCHED_MILLION") != "1":
        pytest.skip("skipped: 1,000,000 tasks take minutes; FASTSCHED_MILLION=1 measures them")
    try:
        native.load("limit/floor.pyx")
    except ImportError as error:
        pytest.skip(f"skipped: {error}")
    with capsys.disabled():
        print(f"\n{n:,} tasks on {n_workers:,} workers, us a task, median of {rounds} rounds:")
        print(f"    {'':10} {'floor':>7} {'sorted':>7} {'core':>7}   core / floor (least to most)   core / sorted")
        for shape in SHAPES:
            print(f"    {shape:10} {compare(workloads.arrays(shape, n, width=width), n_workers, rounds)}")
        if size == "1M":
            keys = np.random.default_rng(5).integers(0, 2**64, n, dtype=np.uint64)
            sorting = median([timed(partial(np.argsort, keys))[0] for _ in range(rounds)])
            print(f"    for the size of it: numpy.argsort of as many random 64-bit keys {sorting * 1e6 / n:.3f}")


def compare(given, n_workers: int, rounds: int) -> str:
    """The floors and the core in turns; every answer is checked after it is timed."""
    n = len(given.duration)
    graph = workloads.graph_of(given)
    table = WorkerTable(workloads.workers(n_workers), graph.resources)
    floors, sorteds, cores = [], [], []
    for round_ in range(rounds + 1):
        plays = [lay_ready(graph, is_sorted=is_sorted) for is_sorted in (False, True)]
        (at_floor, order), (at_sorted, order_sorted) = (timed(play) for play in plays)
        assert np.array_equal(order, order_sorted)
        core = workloads.core_of(graph, table)
        in_core, _ = timed(lambda core=core: simulate(core))
        assert core.n_left == 0 and core.n_failed == 0
        if round_ == 0:  # a warm-up, and every round makes the same plan
            check_order(given, order)
            columns = core.columns()
            check_plan(given, table.capacity, columns["worker"], columns["start"], columns["end"])
            core.check()
            worker = columns["worker"].copy()
            continue
        assert np.array_equal(core.columns()["worker"], worker)
        floors.append(at_floor)
        sorteds.append(at_sorted)
        cores.append(in_core)
        del core
        gc.collect()
    us = " ".join(f"{median(seconds) * 1e6 / n:7.3f}" for seconds in (floors, sorteds, cores))
    pairs = [a / b for a, b in zip(cores, floors)]
    return f"{us}   {ratio(cores, floors):6.1f} ({min(pairs):.1f} to {max(pairs):.1f}) {ratio(cores, sorteds):16.1f}"
