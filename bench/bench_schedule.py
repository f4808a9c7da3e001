"""`schedule()` end to end, from `Task` objects to the dictionary, beside what a user would pick instead.

`bench_ratios` prints one table of ratios, each measured in turns in the same run, and where the
time goes. Every line of it is a run whose answer was compared to the placement.
"""

from __future__ import annotations

from functools import partial

import peers
import pytest
import workloads
from timing import median, ratio, timed

from fastsched import Plan, Schedule, TaskGraph, schedule
from fastsched._timeline import simulate
from fastsched.graph import WorkerTable

ROUNDS = 15
SLOW = 1.0  # seconds: what takes longer is measured in one round


def tasks_of(shape):
    tasks = workloads.SHAPES[shape]()
    if tasks is None:
        pytest.skip(f"skipped: no data folder at FASTSCHED_DATA={workloads.DATA}")
    return tasks


def check_equal(plan, answer) -> None:
    status, where = answer
    assert plan == status
    assert [worker for worker, _ in where] == plan.plan.worker.tolist()
    assert [start for _, start in where] == plan.plan.start_ns.tolist()


@pytest.mark.parametrize("shape", list(workloads.SHAPES))
def bench_schedule(benchmark, shape):
    tasks, workers = tasks_of(shape), workloads.workers()
    benchmark.group = f"schedule: {shape}"
    check_equal(benchmark(schedule, tasks, workers), peers.heapq_schedule(tasks, workers, remember_refused=True))


@pytest.mark.parametrize("shape", list(workloads.SHAPES))
def bench_schedule_heapq(benchmark, shape):
    """The clever pure-Python peer; the plain one stands in the table of ratios."""
    tasks, workers = tasks_of(shape), workloads.workers()
    benchmark.group = f"schedule: {shape}"
    answer = benchmark.pedantic(peers.heapq_schedule, (tasks, workers, True), rounds=3)
    check_equal(schedule(tasks, workers), answer)


@pytest.mark.parametrize("shape", list(workloads.SHAPES))
def bench_ratios(capsys, shape):
    tasks, workers = tasks_of(shape), workloads.workers()
    others = {
        "pure-Python peer, plain": lambda: peers.heapq_schedule(tasks, workers),
        "pure-Python peer, clever": lambda: peers.heapq_schedule(tasks, workers, remember_refused=True),
        "ordering alone, rustworkx": lambda: peers.rustworkx_order(tasks),
        "ordering alone, graphlib": lambda: peers.graphlib_order(tasks),
    }
    ours, theirs = [], {name: [] for name in others}
    for round_ in range(ROUNDS):
        seconds, plan = timed(lambda: schedule(tasks, workers))
        ours.append(seconds)
        for name, work in others.items():
            if round_ and theirs[name][0] > SLOW:
                continue
            seconds, answer = timed(work)
            theirs[name].append(seconds)
            if name.startswith("pure-Python"):
                check_equal(plan, answer)
    stages = median_stages(tasks, workers)
    us = 1e6 / len(tasks)
    with capsys.disabled():
        print(f"\n{shape}: schedule() {median(ours) * 1e3:.1f} ms, {median(ours) * us:.2f} us a task: ", end="")
        print(", ".join(f"{name} {seconds * 1e3:.1f}" for name, seconds in stages.items()))
        for name, seconds in theirs.items():
            print(
                f"    {name + ':':26} {median(seconds) * 1e3:8.1f} ms, {median(seconds) * us:7.2f} us a task,"
                f" {1 / ratio(ours, seconds):7.2f} times ours, in {len(seconds)} rounds"
            )


def median_stages(tasks, workers):
    """Where the time goes, each stage by the median of its own rounds."""
    rounds = []
    for _ in range(ROUNDS):
        reading, graph = timed(lambda: TaskGraph(tasks))
        table = WorkerTable(workers, graph.resources)

        preparing, core = timed(partial(workloads.core_of, graph, table))
        deciding, _ = timed(lambda core=core: simulate(core))

        def name(graph=graph, table=table, core=core):
            return Schedule(graph.ids, table.ids, Plan(graph, table.capacity, core.columns(), core.log()))

        naming, _ = timed(name)
        rounds.append((reading, preparing, deciding, naming))
    names = ("reading objects", "compile", "core", "result")
    return {stage: median([r[i] for r in rounds]) for i, stage in enumerate(names)}
