"""1,000,000 tasks on 10,000 workers, from what the caller has to what the caller gets.

From arrays, beside numpy sorting as many random keys and beside 10,000 tasks on 100 workers; from `Task` objects,
beside rustworkx building and ordering the same graph without scheduling anything. FASTSCHED_MILLION=1 measures the
million; without it the same is done with 20,000 tasks, to see that it works.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import numpy as np
import peers
import pytest
import workloads
from checks import check_plan
from timing import median, ratio, timed

from fastsched import TaskGraph, schedule
from fastsched.graph import WorkerTable

MILLION = os.environ.get("FASTSCHED_MILLION") == "1"
N, N_WORKERS, WIDTH = (1_000_000, 10_000, 50_000) if MILLION else (20_000, 200, 1_000)
ROUNDS = 5 if MILLION else 1
SHAPES = ("layers", "wide", "scattered")

PEAK = """
import ctypes, sys
sys.path.insert(0, sys.argv[1])
import workloads
from bench_million import N, N_WORKERS, WIDTH, plan_arrays

def kilobytes(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))

given, workers = workloads.arrays(sys.argv[2], N, width=WIDTH), workloads.workers(N_WORKERS)
plan_arrays(workloads.arrays("layers", 1_000), workers)
if hasattr(ctypes.CDLL(None), "malloc_trim"):
    ctypes.CDLL(None).malloc_trim(0)  # what making the input left behind is not to be used again
open("/proc/self/clear_refs", "w").write("5")
before = kilobytes("VmRSS")
plan = plan_arrays(given, workers)
print((kilobytes("VmHWM") - before) * 1024 / N)
"""


def plan_arrays(given, workers):
    graph = TaskGraph.from_arrays(given.indptr, given.indices, given.demand, duration=given.duration)
    return graph.schedule(workers)


@pytest.mark.parametrize("shape", SHAPES)
def bench_from_arrays(capsys, shape):
    small, few = workloads.arrays(shape, 10_000), workloads.workers(100)
    given, workers = workloads.arrays(shape, N, width=WIDTH), workloads.workers(N_WORKERS)
    keys = np.random.default_rng(5).integers(0, 2**64, N, dtype=np.uint64)
    small_costs, costs, sorts = [], [], []
    for _ in range(ROUNDS + 1):
        small_costs.append(median([timed(partial(plan_arrays, small, few))[0] for _ in range(15)]) / 10_000)
        sorts.append(timed(partial(np.argsort, keys))[0] / N)
        seconds, plan = timed(partial(plan_arrays, given, workers))
        costs.append(seconds / N)
    assert plan.all_completed
    capacity = WorkerTable(workers, ("cpu_millicores", "memory_mb")).capacity
    check_plan(given, capacity, plan.worker, plan.start_ns, plan.end_ns)
    small_costs, costs, sorts = small_costs[1:], costs[1:], sorts[1:]  # the first round is a warm-up
    bytes_a_task = peak_bytes(shape)
    with capsys.disabled():
        print(
            f"\n{shape}: {N:,} tasks on {N_WORKERS:,} workers, from arrays: {median(costs) * 1e6:.2f} us a task,"
            f" {ratio(costs, sorts):.1f} times numpy.argsort, {ratio(costs, small_costs):.1f} times the cost a task of"
            f" 10,000 on 100 ({median(small_costs) * 1e6:.2f} us);"
            f" peak memory above the input {bytes_a_task}"
        )


def peak_bytes(shape: str) -> str:
    """Of one plan in a process of its own, a task."""
    if not os.path.exists("/proc/self/clear_refs"):
        return "not measured: this system does not tell"
    here = os.path.dirname(os.path.abspath(__file__))
    told = subprocess.run([sys.executable, "-c", PEAK, here, shape], capture_output=True, text=True, check=True)
    return f"{float(told.stdout):.0f} bytes a task"


def bench_from_objects(capsys):
    tasks, workers = workloads.layers(WIDTH, N), workloads.workers(N_WORKERS)
    ours, theirs = [], []
    for _ in range(3 if MILLION else 1):
        seconds, plan = timed(lambda: schedule(tasks, workers))
        assert plan.all_completed and len(plan) == N
        ours.append(seconds)
        del plan
        seconds, order = timed(lambda: peers.rustworkx_order(tasks))
        assert len(order) == N
        theirs.append(seconds)
        del order
    with capsys.disabled():
        print(
            f"\n{N:,} tasks on {N_WORKERS:,} workers, from objects to the dictionary: {median(ours) * 1e6 / N:.2f} us"
            f" a task, {ratio(ours, theirs):.2f} times rustworkx building and ordering ({median(theirs) * 1e6 / N:.2f})"
        )
