"""Another project's scheduler on a graph that it can express; optional, and left out aloud where it is absent.

It is in no extra: `.venv/test/bin/python -m pip install anrg-saga`, then `./dev bench -k peers`. What each does:

- fastsched: the whole of `schedule()`, from `Task` objects to the dictionary: validation, CSR, ranks, placement.
- the pure-Python peer (peers.py): the same placements from the same objects, without validation.
- SAGA's HEFT (H. Topcuoglu et al. 2002; anrg-saga, MIT licence): ranks and placement by earliest finish, with insertion
  into gaps and a cost of communication, here 0. From its own graph and network objects, the making of which is
  not counted. It knows no cores and no memory: a worker takes one task at a time, so the graph here asks for that.
  Its searches are linear in the tasks, so the sizes are small.

SimGrid would be another; PyPI has its source only, which wants CMake, a C++ compiler and Boost.
"""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import peers
import pytest
import workloads
from checks import check_plan
from timing import median, ratio, timed

from fastsched import Task, Worker, schedule

N_WORKERS, ROUNDS = 10, 3
SIZES = (100, 400)
ONE = np.ones((N_WORKERS, 2), dtype=np.int64) * (1000, 1)  # a worker has room for one task


def saga_heft(given: workloads.Arrays):
    """(what is timed, how to read (worker, start_ns, end_ns) from its answer), or None where it is not installed."""
    if importlib.util.find_spec("saga") is None:
        return None
    from saga import Network, TaskGraph
    from saga.schedulers import HeftScheduler
    from saga.schedulers.cpop import upward_rank

    names = [f"t{i}" for i in range(len(given.duration))]
    edges = [
        (names[d], names[i], 0.0)
        for i in range(len(names))
        for d in given.indices[given.indptr[i] : given.indptr[i + 1]]
    ]
    hosts = [f"w{w}" for w in range(N_WORKERS)]
    links = [(a, b, 1.0 if a != b else math.inf) for a in hosts for b in hosts if a <= b]
    network = Network.create([(host, 1.0) for host in hosts], links)
    graph = TaskGraph.create(list(zip(names, given.duration.tolist())), edges)

    def work():
        upward_rank.cache_clear()  # it would remember the ranks of the round before
        return HeftScheduler().schedule(network, graph)

    def read(answer):
        rows = {
            task.name: (hosts.index(task.node), task.start, task.end) for ts in answer.mapping.values() for task in ts
        }
        worker, start, end = zip(*(rows[name] for name in names))
        return np.array(worker), np.rint(np.array(start) * 1e9), np.rint(np.array(end) * 1e9)

    return work, read


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n", SIZES)
def bench_peers(capsys, n):
    given = workloads.arrays("layers", n, width=n // 5)._replace(demand=np.ones((n, 2), dtype=np.int32) * (1000, 1))
    tasks = [
        Task(f"t{i}", "true", tuple(f"t{d}" for d in row), 1, 1, duration=float(seconds))
        for i, (row, seconds) in enumerate(zip(np.split(given.indices, given.indptr[1:-1]), given.duration))
    ]
    workers = [Worker(f"w{w}", 1, 1) for w in range(N_WORKERS)]
    work = {
        "fastsched, schedule()": lambda: schedule(tasks, workers),
        "pure-Python peer, clever": lambda: peers.heapq_schedule(tasks, workers, remember_refused=True),
    }
    saga = saga_heft(given)
    if saga:
        work["SAGA, HEFT"] = saga[0]
    seconds, answers = {name: [] for name in work}, {}
    for round_ in range(ROUNDS + 1):  # the first one warms up
        for name in work:
            took, answers[name] = timed(work[name])
            seconds[name] += [took] if round_ else []

    plan, (status, where), *others = answers.values()
    assert plan == status and where == list(zip(plan.plan.worker.tolist(), plan.plan.start_ns.tolist()))
    check_plan(given, ONE, plan.plan.worker, plan.plan.start_ns, plan.plan.end_ns)
    ends = dict.fromkeys(work, plan.plan.end_ns)
    if saga:
        worker, start, ends["SAGA, HEFT"] = saga[1](*others)
        check_plan(given, ONE, worker, start, ends["SAGA, HEFT"])
    with capsys.disabled():
        print(f"\n{n} tasks in layers of {n // 5}, one at a time on {N_WORKERS} equal workers, {ROUNDS} rounds:")
        ours = seconds["fastsched, schedule()"]
        for name, took in seconds.items():
            print(
                f"    {name:26} {median(took) * 1e6 / n:9,.1f} us a task, {ratio(took, ours):7,.1f} times ours,"
                f" makespan {ends[name].max() / 1e9:,.0f} s"
            )
        if not saga:
            print("    SAGA, HEFT                 skipped: not installed (pip install anrg-saga)")
