"""The core alone: a whole virtual time line of 10,000 tasks on 100 workers, and the retail door."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
import workloads

from fastsched import FailureModel, Task, TaskGraph, schedule
from fastsched._core import Core
from fastsched._timeline import simulate
from fastsched.graph import WorkerTable


def compiled(shape):
    tasks = workloads.SHAPES[shape]()
    if tasks is None:
        pytest.skip(f"skipped: no data folder at FASTSCHED_DATA={workloads.DATA}")
    graph = TaskGraph(tasks)
    table = WorkerTable(workloads.workers(), graph.resources)
    return graph, lambda: workloads.core_of(graph, table)


@pytest.mark.parametrize("shape", list(workloads.SHAPES))
def bench_core_simulate(benchmark, shape):
    graph, make = compiled(shape)
    benchmark.group = f"core: {shape}"
    cores = []

    def setup():
        cores.append(make())
        return (cores[-1],), {}

    benchmark.pedantic(lambda core: simulate(core), setup=setup, rounds=20)
    cores[-1].check()
    assert cores[-1].n_left == 0 and cores[-1].n_failed == 0 and len(graph) == cores[-1].n_tasks


@pytest.mark.parametrize("shape", ["layers of 1000", "chain"])
def bench_core_retail(benchmark, shape):
    """One fact and one decision a task, each a call from Python."""
    graph, make = compiled(shape)
    benchmark.group = f"core: {shape}"
    duration = graph.duration.tolist()

    def play(core):
        now, events = 0, []
        while True:
            for task, _, attempt in core.assign(now):
                heapq.heappush(events, (now + duration[task], task, attempt))
            if not events:
                return
            now = events[0][0]
            while events and events[0][0] == now:
                _, task, attempt = heapq.heappop(events)
                core.finished(task, attempt, 1, now)

    retail, wholesale = [], make()

    def setup():
        retail.append(make())
        return (retail[-1],), {}

    benchmark.pedantic(play, setup=setup, rounds=10)
    simulate(wholesale)
    for name in ("start", "worker"):
        assert (retail[-1].columns()[name] == wholesale.columns()[name]).all()


@pytest.mark.parametrize("kinds", ["few kinds", "all different"])
def bench_core_one_by_one(benchmark, kinds):
    """4,000 tasks, each submitted by itself, that wait before the first of them starts; then all of them run."""
    n, n_workers = 4_000, 100
    memory = np.random.default_rng(8).integers(1_000, 60_000, n)
    demand = np.stack((np.full(n, 1000), memory if kinds == "all different" else memory // 10_000 * 10_000), axis=1)
    given = {"dep_ptr": [0, 0], "deps": np.empty(0, dtype=np.int32), "duration": [1], "priority": [0], "key": [0]}
    benchmark.group = "core: submitted one by one"

    def setup():
        core = Core(n_resources=2)
        core.add_workers(np.tile([[32_000, 131_072]], (n_workers, 1)), 0)
        for row in demand:
            core.add_tasks(0, **given, demand=[row], max_retries=[0], class_of=[0], class_demand=[row])
        return (core,), {}

    def play(core):
        now = 0
        while core.n_left:
            for task, _, attempt in core.assign(now):
                core.finished(task, attempt, 1, now + 1)
            now += 1
        return core

    core = benchmark.pedantic(play, setup=setup, rounds=3)
    assert core.n_failed == 0
    core.check()


@pytest.mark.parametrize("retries", [10_000, 100_000])
def bench_core_one_task_fails_again_and_again(benchmark, retries):
    """Ten times the failures take ten times as long: retries look at workers, not at each failure before them."""
    tasks, workers = [Task("t", "x", duration=0)], workloads.workers(2)
    benchmark.group = "core: failures of one task"
    plan = benchmark.pedantic(
        schedule, (tasks, workers), {"max_retries": retries, "failures": FailureModel(task_probability=1)}, rounds=3
    )
    assert plan.plan.attempts.tolist() == [retries + 1] and plan["t"] == "FAILED"
