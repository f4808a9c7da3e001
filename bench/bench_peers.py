"""Other projects on a graph that they can express, for what they do of the work; left out aloud where absent.

They are in no extra: `.venv/test/bin/python -m pip install anrg-saga`; SimGrid for any Python that FASTSCHED_SIMGRID
names (default /usr/bin/python3; on Debian `apt install python3-simgrid`). Then `./dev bench -k peers`. What each does:

- fastsched: the whole of `schedule()`, from `Task` objects to the dictionary: validation, CSR, ranks, placement.
- the pure-Python peer (peers.py): the same placements from the same objects, without validation.
- SAGA's HEFT (H. Topcuoglu et al. 2002; anrg-saga, MIT licence): ranks and placement by earliest finish, with insertion
  into gaps and a cost of communication, here 0. From its own graph and network objects, the making of which is
  not counted. It knows no cores and no memory: a worker takes one task at a time, so the graph here asks for that.
  Its searches are linear in the tasks, so the sizes are small.
- SimGrid (simgrid_peer.py; LGPL-2.1 licence): simulates a plan, ours, and decides nothing; an actor a worker executes
  the worker's tasks in turn, each when its dependencies have completed. Our times have to come out.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import peers
import pytest
import workloads
from checks import check_plan
from timing import median, ratio, timed

from fastsched import Task, Worker, schedule

SIMGRID = os.environ.get("FASTSCHED_SIMGRID", "/usr/bin/python3")
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


def has_simgrid() -> bool:
    try:
        return subprocess.run([SIMGRID, "-c", "import simgrid"], capture_output=True).returncode == 0
    except OSError:
        return False


def simgrid(given: workloads.Arrays, plan):
    """(seconds that it took SimGrid to play the plan, the ends that came out in ns)."""
    queues = [[] for _ in range(N_WORKERS)]
    for task in np.argsort(plan.start_ns, kind="stable").tolist():
        queues[plan.worker[task]].append(task)
    rows = [row.tolist() for row in np.split(given.indices, given.indptr[1:-1])]
    told = subprocess.run(
        [SIMGRID, Path(__file__).parent / "simgrid_peer.py"],
        input=json.dumps({"duration": given.duration.tolist(), "dependencies": rows, "queues": queues}),
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(told.stdout)
    return answer["seconds"], np.rint(np.array(answer["ends"]) * 1e9)


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
    simgrid_there = has_simgrid()
    if simgrid_there:
        played = [simgrid(given, plan.plan) for _ in range(ROUNDS)]
        seconds["SimGrid, simulating"] = [took for took, _ in played]
        ends["SimGrid, simulating"] = played[0][1]
        assert (played[0][1] == plan.plan.end_ns).all()
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
        if not simgrid_there:
            print(f"    SimGrid, simulating        skipped: {SIMGRID} has it not (FASTSCHED_SIMGRID names a Python)")
