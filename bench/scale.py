"""Where one scheduler ends, and how it goes on from there: what a task costs it, in messages and in processor time.

    python bench/scale.py [--only agents simulated nodes shards]

agents: 4, 16 and 64 workers on a Dask cluster of two processes on this machine, with real commands.
simulated: 1,000 workers of 16 cores in virtual time, in which the time that the loop really takes passes as well. So
    what ends while it works waits for it, as it would in a run.
nodes: the same machines as 100 nodes of ten, of which the scheduler knows the machines, or the nodes alone.
shards: graphs split by connected component over 1 to 8 schedulers, each with its share of the workers.

The time of the loop is that of its thread, from what it hears to what it sends, with the making and reading of frames
and without the sockets. Every run is looked at: all tasks completed, once, and not faster than the workers could.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import multiprocessing
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from timing import timed
from workloads import Arrays, graph_of

from fastsched import Task, Worker, run, schedule
from fastsched.engines.parcels import pack, pack_order, pack_report, unpack, unpack_report
from fastsched.engines.simulated import Command, SimulatedEngine
from fastsched.events import AttemptEnded, Start
from fastsched.graph import CompiledGraph, WorkerTable
from fastsched.runtime.loop import Rhythm
from fastsched.runtime.run import play
from fastsched.runtime.session import Session, Settings

NS = 1_000_000_000
N_WORKERS, CORES, MEMORY_MB = 1_000, 16, 65_536
NODE = 10  # workers in a node
MEAN_S, NODES_S, SHORT_S = 60.0, 30.0, 0.02


# ------------------------------------------------------------ agents on this machine


def agents(n: int) -> None:
    """Real commands on a Dask cluster of two processes: wall, processor time, frames."""
    from distributed import Client

    from fastsched.engines.dask import DaskEngine

    class Counted(DaskEngine):
        """Keeps the frames that go and come."""

        def __init__(self, client):
            super().__init__(client)
            self.sent, self.heard = [], []

        def _link(self, site):
            link = super()._link(site)
            link.send, send = lambda frame: (self.sent.append(frame), send(frame)), link.send
            return link

        def arrived(self, site, link, frames):
            self.heard += frames
            super().arrived(site, link, frames)

    ours, theirs = multiprocessing.Pipe()
    serving = multiprocessing.get_context("spawn").Process(target=serve_cluster, args=(theirs,))
    serving.start()
    try:
        with Client(ours.recv()) as client:
            print(f"agents: {n:,} independent commands; workers of one core on a Dask cluster of two processes")
            print(f"{'':26}{'wall s':>8}{'us a task of processor time':>30}{'frames a task':>17}", end="")
            print(f"{'in a frame':>17}{'other':>8}")
            print(
                f"{'':34}{'process':>15}{'loop':>7}{'agents+':>8}{'out':>10}{'in':>7}{'orders':>9}{'ends':>8}{'in/s':>8}"
            )
            for command, seconds in ("/bin/true", 0.0), ("sleep 0.05", 0.05):
                for count in 4, 16, 64:
                    tasks = [Task(f"t{i}", command, duration=seconds or 0.001) for i in range(n)]
                    run_there(client, Counted(client), tasks, count, seconds)
            process = time.process_time()
            time.sleep(5.0)
            print(f"  connected and idle, the process takes {(time.process_time() - process) / 5.0:.2%} of a processor")
    finally:
        ours.send(None)
        serving.join()


def run_there(client: Any, engine: Any, tasks: list[Task], count: int, seconds: float) -> None:
    """Run tasks on so many workers, and print what it took."""
    n = len(tasks)
    workers = [Worker(f"w{i}", 1, 1000) for i in range(count)]
    process, loop, outside = time.process_time(), time.thread_time(), elsewhere(client)
    wall, result = timed(lambda: run(tasks, workers, engine=engine, capture=False))
    process, loop = time.process_time() - process, time.thread_time() - loop
    outside = elsewhere(client) - outside
    assert result.all_completed and len(result.attempts) == n and wall >= n * seconds / count
    n_orders, with_orders = count_messages(engine.sent, "Start")
    n_ends, with_ends = count_messages(engine.heard, "AttemptEnded")
    assert n_orders >= n == n_ends
    print(
        f"{tasks[0].command:<14}{count:3} workers {wall:8.2f}{process / n * 1e6:15.0f}{loop / n * 1e6:7.0f}"
        f"{outside / n * 1e6:8.0f}{len(engine.sent) / n:10.3f}{len(engine.heard) / n:7.3f}"
        f"{n_orders / with_orders:9.1f}{n_ends / with_ends:8.1f}{(len(engine.heard) - with_ends) / wall:8.1f}",
        flush=True,
    )


def count_messages(frames: list[bytes], kind: str) -> tuple[int, int]:
    """How many messages of this kind there are, and in how many frames."""
    counts = [sum(message[0] == kind for message in unpack(frame)[1]) for frame in frames]
    return sum(counts), sum(map(bool, counts))


def serve_cluster(pipe: Any) -> None:
    """A Dask cluster in a process of its own, so that its scheduler is not in ours."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        pipe.send(cluster.scheduler_address)
        pipe.recv()


def elsewhere(client: Any) -> float:
    """Seconds of processor time that the cluster's processes have taken, with the agents that have ended."""

    def used() -> float:
        both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in both)

    return sum(client.run(used).values())


# ------------------------------------------------------------ a loop, and workers in virtual time


class Wire(SimulatedEngine):
    """The simulated engine at the other end of a wire: orders and reports are made into frames, one a site and turn.

    Virtual time passes while the loop works, by as much as its thread takes. What a frame costs to be made and read is
    the loop's; what the workers' end of it costs is nobody's.

    Args:
        seconds: of each task. site_of: of each worker.
        machines: so many are in a worker, each with so many cores: its agent says where in it a command runs, and lets
            wait what finds no machine. 0: it is one machine.
        is_late: a worker tells of ends with its heartbeat, not at once.
        in_step: the heartbeats of a site are one frame.
    """

    def __init__(
        self,
        seconds: dict[str, float],
        site_of: dict[str, object],
        machines: int = 0,
        is_late: bool = False,
        in_step: bool = False,
    ) -> None:
        super().__init__(seed=1, behave=lambda order, _: Command(seconds[order.task_id]))
        self.site_of, self.machines, self.is_late = site_of, machines, is_late
        self.loop_s, self.counts = 0.0, Counter()
        self._phases: dict[object, float] = {}  # of heartbeats, by what beats together
        self._by = site_of if in_step else {name: name for name in site_of}
        self._free: dict[str, list[float]] = {}  # cores, by worker and machine
        self._waiting: dict[str, list[Start]] = {}  # for a machine, by worker
        self._at: dict[str, int] = {}  # the machine of each task that runs
        self._kept: dict[str, list[AttemptEnded]] = {}  # for the next heartbeat, by worker

    # What the loop calls: its time is taken from each end of a call to the beginning of the next.

    def open(self, run_id: str, heartbeat_s: float, lease_s: float) -> None:
        super().open(run_id, heartbeat_s, lease_s)
        self._leave()

    def bring_up(self, worker: Worker, incarnation: int) -> None:
        self._enter()
        beat_ns = self._heartbeat_ns
        phase = self._phases.setdefault(self._by[worker.worker_id], self.random.random())
        self._heartbeat_ns = int((1 + phase) * beat_ns) - self._now % beat_ns  # until the first one
        super().bring_up(worker, incarnation)
        self._heartbeat_ns = beat_ns
        self._free[worker.worker_id] = [CORES] * self.machines
        self._waiting[worker.worker_id], self._kept[worker.worker_id] = [], []
        self._leave()

    def send(self, orders: Sequence[Any]) -> None:
        frames: dict[object, list[Any]] = {}
        for order in orders:
            frames.setdefault(self.site_of[order.worker_id], []).append(pack_order(order))
        n_bytes = sum(len(pack(messages)) for messages in frames.values())
        self._enter()
        self.counts.update({"frames out": len(frames), "orders": len(orders), "bytes out": n_bytes})
        super().send(orders)
        self._leave()

    def wait_reports(self, timeout_s: float) -> list[Any]:
        self._enter()
        reports = self._take(0.0) or self._take(timeout_s)
        messages: dict[object, list[Any]] = {}
        for report in reports:
            messages.setdefault(self.site_of[report.worker_id], []).append(pack_report(report))
        n_ends = sum(isinstance(report, AttemptEnded) for report in reports)
        with_ends = len({self.site_of[r.worker_id] for r in reports if isinstance(r, AttemptEnded)})
        self.counts.update({"ends": n_ends, "frames in": with_ends, "beats": len(messages) - with_ends, "turns": 1})
        frames = [pack(said) for said in messages.values()]
        self._leave()
        return [report for frame in frames for m in unpack(frame)[1] if (report := unpack_report(m)) is not None]

    def close(self, grace_s: float) -> list[Any]:
        self._enter()
        return super().close(grace_s)

    def _enter(self) -> None:
        spent = time.thread_time() - self._left
        self.loop_s += spent
        self._now += int(spent * NS)

    def _leave(self) -> None:
        self._left = time.thread_time()

    def _take(self, timeout_s: float) -> list[Any]:
        """All that has come by now, or the first thing that comes."""
        reports = super().wait_reports(timeout_s)
        while more := super().wait_reports(0.0):
            reports += more
        return reports

    # What a node does.

    def _start(self, host: Any, order: Start) -> None:
        if not self.machines:
            super()._start(host, order)
            return
        self._waiting[order.worker_id].append(order)
        self._fill(host)

    def _fill(self, host: Any) -> None:
        """Start what has found a machine, in the order in which it came."""
        name = host.worker.worker_id
        free, left = self._free[name], []
        for order in self._waiting[name]:
            having_room = [m for m in range(self.machines) if free[m] >= order.cpu_cores]
            if having_room:
                machine = min(having_room, key=free.__getitem__)
                free[machine] -= order.cpu_cores
                self._at[order.task_id] = machine
                super()._start(host, order)
            else:
                left.append(order)
        self._waiting[name] = left

    def _end(self, host: Any, task_id: str, attempt: int, reason: Any) -> None:
        ran = host.commands.get((task_id, attempt))
        super()._end(host, task_id, attempt, reason)
        if self.machines and ran is not None:
            self._free[host.worker.worker_id][self._at.pop(task_id)] += ran[0].cpu_cores
            self._fill(host)

    def _say(self, host: Any, report: Any) -> None:
        if self.is_late and isinstance(report, AttemptEnded):
            self._kept[host.worker.worker_id].append(report)
        else:
            super()._say(host, report)

    def _beat(self, host: Any) -> None:
        for report in self._kept[host.worker.worker_id]:
            super()._say(host, report)
        self._kept[host.worker.worker_id].clear()
        super()._beat(host)


@dataclass
class Lived:
    """What a run in virtual time was."""

    n: int
    makespan: float
    lower: float
    wire: Wire

    @property
    def us(self) -> float:
        """Of the loop, a task."""
        return self.wire.loop_s / self.n * 1e6

    @property
    def busy(self) -> float:
        """The share of the time that the loop works."""
        return self.wire.loop_s / self.makespan

    def frames(self, which: str) -> float:
        """A task."""
        return self.wire.counts[which] / self.n


def live(
    tasks: list[Task], workers: list[Worker], wire: Wire, *, journal: bool = False, heartbeat_s: float = 1.0
) -> Lived:
    """Run tasks by a real loop, and look at the answer."""
    graph = CompiledGraph(tasks)
    table = WorkerTable(workers, graph.resources)
    gc.collect()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        kept = f"{folder}/journal" if journal else None
        rhythm = Rhythm(heartbeat_s, 10 * heartbeat_s, 0.5)
        settings = Settings(engine=wire, journal=kept, capture=False, rhythm=rhythm)
        result = play(Session(settings, graph, table, settled=True, fresh=True, clock=wire.clock), None, None)
    assert result.all_completed and len(result.attempts) == len(tasks) == wire.counts["ends"] == wire.counts["orders"]
    offered = CORES * wire.machines * len(workers) if wire.machines else sum(w.cpu_cores_available for w in workers)
    asked = sum(task.cpu_cores_required * task.duration for task in tasks)
    lower = max(asked / offered, max(task.duration for task in tasks))
    assert lower * 0.999 <= result.makespan
    return Lived(len(tasks), result.makespan, lower, wire)


def small_workers(count: int = N_WORKERS) -> list[Worker]:
    return [Worker(f"w{i}", CORES, MEMORY_MB) for i in range(count)]


def seconds_of(tasks: list[Task]) -> dict[str, float]:
    return {task.task_id: task.duration for task in tasks}


# ------------------------------------------------------------ one scheduler, 1,000 workers


def simulated(n: int) -> None:
    """One loop and 1,000 workers of 16 cores, by how long commands take."""
    workers = small_workers()
    own = {worker.worker_id: worker.worker_id for worker in workers}
    print(f"simulated: {n:,} independent tasks of a core, {N_WORKERS:,} workers of {CORES} cores, a site each")
    print(
        f"{'commands':>9}{'journal':>9}{'beat s':>8}{'us a task':>11}{'busy':>8}{'tasks/s':>9}{'makespan':>10}"
        f"{'frames out':>12}{'in':>7}{'beats':>8}{'ends a turn':>13}"
    )
    for mean_s, journal, beat_s in (
        (60.0, False, 1.0),
        (60.0, False, 10.0),
        (60.0, True, 1.0),
        (16.0, True, 1.0),
        (4.0, True, 1.0),
        (1.0, True, 1.0),
        (0.25, True, 1.0),
    ):
        rng = random.Random(5)
        tasks = [Task(f"t{i}", "x", memory_required_mb=1024, duration=mean_s * rng.uniform(0.5, 1.5)) for i in range(n)]
        one = live(tasks, workers, Wire(seconds_of(tasks), own), journal=journal, heartbeat_s=beat_s)
        planned = schedule(tasks, workers).makespan
        assert one.makespan >= planned * 0.98
        print(
            f"{mean_s:7g} s{'on' if journal else 'off':>9}{beat_s:8.0f}{one.us:11.1f}{one.busy:8.1%}"
            f"{n / one.makespan:9,.0f}{one.makespan / planned:10.3f}{one.frames('frames out'):12.3f}"
            f"{one.frames('frames in'):7.3f}{one.frames('beats'):8.3f}{n / one.wire.counts['turns']:13.2f}",
            flush=True,
        )
    print("  heartbeats of workers that are at work with nothing ending, one a second each")
    print(f"{'workers':>11}{'us a beat':>11}{'busy':>8}{'beats a turn':>14}")
    for count in 250, 1_000, 4_000, 10_000:
        short, long = (beat(count, seconds) for seconds in (5.0, 15.0))
        spent = long.wire.loop_s - short.wire.loop_s
        beats, turns = (long.wire.counts[which] - short.wire.counts[which] for which in ("beats", "turns"))
        assert beats > 8 * count
        busy = spent / (long.makespan - short.makespan)
        print(f"{count:11,}{spent / beats * 1e6:11.1f}{busy:8.1%}{beats / turns:14.1f}", flush=True)


def beat(count: int, seconds: float) -> Lived:
    """One command of so many seconds, on one of so many workers."""
    workers = small_workers(count)
    own = {worker.worker_id: worker.worker_id for worker in workers}
    return live([Task("t", "x", duration=seconds)], workers, Wire({"t": seconds}, own))


# ------------------------------------------------------------ batches to nodes


def nodes(n: int) -> None:
    """1,000 machines of which the scheduler knows each, or only the 100 nodes that they are in."""
    rng = random.Random(6)

    def draw(i: int, before: tuple[str, ...]) -> Task:
        cores = rng.randint(1, 8)
        return Task(f"t{i}", "x", before, cores, 4096 * cores - 1024, duration=NODES_S * rng.uniform(0.5, 1.5))

    width = n // 5
    graphs = {
        "independent": [draw(i, ()) for i in range(n)],
        "five layers": [
            draw(i, (f"t{i - width}", f"t{i // width * width - width + rng.randrange(width)}") if i >= width else ())
            for i in range(n)
        ],
    }
    machines = small_workers()
    n_nodes = N_WORKERS // NODE
    whole = [Worker(f"n{i}", NODE * CORES, NODE * MEMORY_MB) for i in range(n_nodes)]
    ahead = [Worker(f"n{i}", NODE * CORES * 5 // 4, NODE * MEMORY_MB * 5 // 4) for i in range(n_nodes)]
    own = {worker.worker_id: worker.worker_id for worker in machines + whole}
    shared = {worker.worker_id: i // NODE for i, worker in enumerate(machines)}
    ways: list[tuple[str, list[Worker], dict[str, object], dict[str, Any]]] = [
        ("machines, a site each", machines, own, {}),
        ("machines, ten a site", machines, shared, {}),
        ("  heartbeats in step", machines, shared, {"in_step": True}),
        ("  ends told with them", machines, shared, {"in_step": True, "is_late": True}),
        ("nodes, a machine each", whole, own, {}),
        ("nodes of ten machines", whole, own, {"machines": NODE}),
        ("  a quarter more ahead", ahead, own, {"machines": NODE}),
        ("  ends told with beats", ahead, own, {"machines": NODE, "is_late": True}),
    ]
    print(
        f"nodes: {n:,} tasks of 1 to 8 cores, {NODES_S:.0f} s; {N_WORKERS:,} machines of {CORES} cores, {NODE} a node"
    )
    print(
        f"{'':38}{'us a task':>10}{'busy':>7}{'frames out':>12}{'in':>7}{'beats':>8}{'all':>8}{'makespan':>10}", end=""
    )
    print(f"{'over bound':>12}")
    for graph, tasks in graphs.items():
        first = None
        for what, workers, site_of, options in ways:
            one = live(tasks, workers, Wire(seconds_of(tasks), site_of, **options), journal=True)
            first = first or one
            frames = [one.frames(which) for which in ("frames out", "frames in", "beats")]
            print(
                f"{graph:<13}{what:<25}{one.us:10.1f}{one.busy:7.1%}{frames[0]:12.3f}{frames[1]:7.3f}{frames[2]:8.3f}"
                f"{sum(frames):8.3f}{one.makespan / first.makespan:10.3f}{one.makespan / one.lower:12.3f}",
                flush=True,
            )


# ------------------------------------------------------------ graphs over schedulers


def component(rng: np.random.Generator, widths: Sequence[int]) -> Arrays:
    """One task, and layers of so many behind it: each after two of the layer before; one that is alone, after all."""
    deps: list[np.ndarray] = [np.zeros((1, 0), dtype=int)]
    first, before = 0, 1
    for width in widths:
        if width == 1:
            deps.append(np.arange(first, first + before)[None, :])
        else:
            above = np.arange(width) % before
            deps.append(first + np.stack((above, (above + rng.integers(1, max(2, before), width)) % before), axis=1))
        first, before = first + before, width
    n = first + before
    counts = np.concatenate([np.full(len(rows), rows.shape[1]) for rows in deps])
    cores = rng.integers(1, 9, n)
    return Arrays(
        np.concatenate(([0], np.cumsum(counts))),
        np.concatenate([rows.ravel() for rows in deps]).astype(np.int32),
        np.stack((cores * 1000, cores * 4096 - 1024), axis=1).astype(np.int32),
        MEAN_S * rng.uniform(0.5, 1.5, n),
    )


def join(parts: Sequence[Arrays]) -> Arrays:
    """One graph of these, side by side."""
    sizes = np.array([len(part.duration) for part in parts])
    edges = np.array([len(part.indices) for part in parts])
    at, edge_at = np.cumsum(sizes) - sizes, np.cumsum(edges) - edges
    return Arrays(
        np.concatenate([part.indptr[:-1] + e for part, e in zip(parts, edge_at)] + [[edges.sum()]]).astype(np.int64),
        np.concatenate([part.indices + a for part, a in zip(parts, at)]).astype(np.int32),
        np.concatenate([part.demand for part in parts]),
        np.concatenate([part.duration for part in parts]),
    )


def components_of(graph: Arrays) -> np.ndarray:
    """The component of each task, counted from 0."""
    after = np.repeat(np.arange(len(graph.duration)), np.diff(graph.indptr))
    label = np.arange(len(graph.duration))
    while True:
        least = np.minimum(label[after], label[graph.indices])
        before = label.copy()
        for end in label[after], label[graph.indices], after, graph.indices:
            np.minimum.at(label, end, least)
        label = label[label]
        if np.array_equal(label, before):
            return np.unique(label, return_inverse=True)[1]


def part_of(graph: Arrays, inside: np.ndarray) -> Arrays:
    """The tasks that are inside, with all that they depend on."""
    place = np.cumsum(inside) - 1
    counts = np.diff(graph.indptr)
    indices = place[graph.indices[np.repeat(inside, counts)]].astype(np.int32)
    indptr = np.concatenate(([0], np.cumsum(counts[inside])))
    return Arrays(indptr, indices, graph.demand[inside], graph.duration[inside])


def split(graph: Arrays, k: int) -> Iterator[tuple[Arrays, int]]:
    """Components over k schedulers, the one with most work first, to whoever has least; workers in the same shares."""
    of = components_of(graph)
    work = np.bincount(of, graph.demand[:, 0] * graph.duration)
    loads = [(0.0, shard) for shard in range(k)]
    shard_of = np.zeros(len(work), dtype=int)
    for c in np.argsort(-work, kind="stable"):
        load, shard = loads[0]
        shard_of[c] = shard
        heapq.heapreplace(loads, (load + work[c], shard))
    totals = np.bincount(shard_of, work, minlength=k)
    cuts = np.rint(np.cumsum(totals) / totals.sum() * N_WORKERS).astype(int)
    for shard, count in enumerate(np.diff(cuts, prepend=0)):
        if count:
            yield part_of(graph, shard_of[of] == shard), int(count)


def make_graphs(n: int) -> dict[str, Arrays]:
    """About n tasks each."""
    rng = np.random.default_rng(7)
    sizes = np.maximum(20, 20 * (1 + rng.pareto(1.1, 400)))
    sizes = np.maximum(20, sizes / sizes.sum() * n).astype(int)
    chain = [1] * int(n * 4.5 / N_WORKERS / CORES / 2)  # half as long as all take together
    fan = [n // 8 - len(chain)]
    return {
        "200 alike": join([component(rng, [n // 2000] * 10) for _ in range(200)]),
        "400 of all sizes": join([component(rng, [size // 10] * 10) for size in sizes]),
        "8 alike": join([component(rng, [n // 80] * 10) for _ in range(8)]),
        "8, chains and fans": join([component(rng, w) for _ in range(4) for w in (chain + fan, fan + chain)]),
        "1": component(rng, [n // 10] * 10),
    }


def shards(n: int, n_lived: int) -> None:
    """What it costs in makespan to split graphs, and what it gains in tasks a second."""
    print(f"shards: about {n:,} tasks of 1 to 8 cores, {N_WORKERS:,} workers of {CORES} cores in all; virtual time")
    print(f"{'components':<20}{'schedulers':>11}{'largest share':>15}{'makespan':>10}{'over bound':>12}")
    for name, graph in make_graphs(n).items():
        assert components_of(graph).max() + 1 == int(name.replace(",", "").split()[0])
        whole = None
        for k in 1, 2, 4, 8:
            parts = list(split(graph, k))
            assert sum(len(part.duration) for part, _ in parts) == len(graph.duration)
            plans = [graph_of(part).schedule(small_workers(count)) for part, count in parts]
            assert all(plan.all_completed and plan.makespan >= plan.lower_bound for plan in plans)
            makespan = max(plan.makespan for plan in plans)
            whole = whole or plans[0]
            assert makespan >= whole.lower_bound * 0.999
            largest = max(len(part.duration) for part, _ in parts) / len(graph.duration)
            print(
                f"{name:<20}{k:11}{largest:15.3f}{makespan / whole.makespan:10.3f}{makespan / whole.lower_bound:12.3f}",
                flush=True,
            )
    graph = make_graphs(n_lived)["200 alike"]
    print(f"  the loops of k schedulers, journal on: {len(graph.duration):,} tasks in 200 alike, {SHORT_S} s each")
    print(f"{'schedulers':>31}{'us a task':>12}{'busy':>8}{'tasks/s':>10}{'makespan':>10}")
    first = None
    for k in 1, 2, 4, 8:
        lived = [live_part(part, count) for part, count in split(graph, k)]
        makespan = max(one.makespan for one in lived)
        first = first or makespan
        us = sum(one.wire.loop_s for one in lived) / len(graph.duration) * 1e6
        busy = max(one.busy for one in lived)
        print(f"{k:31}{us:12.1f}{busy:8.1%}{len(graph.duration) / makespan:10,.0f}{makespan / first:10.3f}", flush=True)


def live_part(part: Arrays, count: int) -> Lived:
    """A shard run by a real loop, with short commands."""
    tasks = [
        Task(
            f"t{i}",
            "x",
            tuple(f"t{d}" for d in sorted(set(part.indices[part.indptr[i] : part.indptr[i + 1]].tolist()))),
            int(part.demand[i, 0]) // 1000,
            int(part.demand[i, 1]),
            duration=float(part.duration[i]) / MEAN_S * SHORT_S,
        )
        for i in range(len(part.duration))
    ]
    workers = small_workers(count)
    own = {worker.worker_id: worker.worker_id for worker in workers}
    return live(tasks, workers, Wire(seconds_of(tasks), own), journal=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("agents", "simulated", "nodes", "shards"), default=[])
    parser.add_argument("--less", type=int, default=1, help="so many times fewer tasks: to see that it works")
    options = parser.parse_args()
    less = options.less
    parts: dict[str, Callable[[], None]] = {
        "agents": lambda: agents(4_000 // less),
        "simulated": lambda: simulated(100_000 // less),
        "nodes": lambda: nodes(30_000 // less),
        "shards": lambda: shards(100_000 // less, 100_000 // less),
    }
    for name in options.only or parts:
        seconds, _ = timed(parts[name])
        print(f"  ({seconds:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()
