"""What following a plan is worth when durations are others than planned: ratios to the rank rule, in virtual time.

Graphs that are short of cores, and real workflows with real demands (the hybrid set of FASTSCHED_DATA), are planned
with the durations that they have, by the rule that `schedule()` has and by a search; then each is played with durations
drawn around these. What is compared is what a live run would do: the ranks, and the plans, were made before anything
ran. Beside what is done (to the letter as long as all goes as planned, else loosened) stands what could be: to the
letter come what may, and by the starts of the plan.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import random
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import workloads

from fastsched import Optimize, Task, TaskGraph, Worker
from fastsched._timeline import simulate
from fastsched.engines.simulated import Command, SimulatedEngine
from fastsched.events import Replanned
from fastsched.following import follow, loosened, read_route
from fastsched.graph import WorkerTable
from fastsched.guide import Guide, Route
from fastsched.planner import make_core
from fastsched.portfolio import key_of
from fastsched.runtime.pilot import AtOnce
from fastsched.runtime.run import play as play_session
from fastsched.runtime.session import Session, Settings, compile_both

SCHEDULES = 200  # of the search for the better plan
MOST_LIVE = 500  # tasks of a whole run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=4, help="one instance in so many (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=10, help="draws of durations (default: %(default)s)")
    parser.add_argument("--live", action="store_true", help="play whole runs, on the simulated engine; with new plans")
    parser.add_argument("--spreads", type=float, nargs="+", default=[0.0, 0.1, 0.3, 0.6])
    options = parser.parse_args()
    archive = workloads.DATA / "hybrid" / "hybrid_flat.tar.gz"
    sets = {"graphs of 300 tasks on 6 workers": list(crowds())}
    if archive.is_file():
        sets["hybrid workflows"] = list(instances(archive, options.every))
    else:
        print(f"follow: skipped: {archive} is not here")
    for name, pairs in sets.items():
        print(f"{len(pairs)} {name}:")
        (compare_runs if options.live else compare)(pairs, options)
    return 0


def compare(pairs, options) -> None:
    """Virtual time: how long it takes by each, beside the rank rule."""
    rows: dict[float, list[list[float]]] = {spread: [] for spread in options.spreads}
    gains = []
    for i, (graph, table) in enumerate(pairs):
        rng = np.random.default_rng(i)
        rank = key_of("critical-path", graph, np.ones(len(graph.resources)))
        plain = play(graph, table, rank)
        plan = graph.schedule(table.workers, optimize=Optimize(schedules=SCHEDULES))
        gains.append(plan.makespan_ns / plain.ends_ns - 1)
        exact = read_route(plan, graph, table)
        loose, starts = loosened(exact, graph, table.capacity, fit="most-free"), by_start(exact)
        for spread in options.spreads:
            for _ in range(options.samples if spread else 1):
                real = copy.copy(graph)
                real.duration = np.round(graph.duration * np.exp(rng.normal(0, spread, len(graph)))).astype(np.int64)
                base = play(real, table, rank).ends_ns
                followed = loose if spread else exact
                ends = [play(real, table, rank, route).ends_ns for route in (plain, followed, exact, starts)]
                rows[spread].append([end / base - 1 for end in ends])
    print(f"the better plan is {-np.mean(gains):.2%} shorter than that of one pass")
    print("makespan beside the rank rule, mean (and mean of the worst tenth):")
    ways = ("plan of one pass", "the better plan", "to the letter", "by its starts")
    print(f"    {'spread':>8}  " + "  ".join(f"{way:>20}" for way in ways))
    for spread, told in rows.items():
        columns = np.array(told).T
        worst = [np.mean(np.sort(column)[-max(1, len(column) // 10) :]) for column in columns]
        cells = [f"{np.mean(column):+.2%} ({bad:+.1%})" for column, bad in zip(columns, worst)]
        print(f"    {spread:8.0%}  " + "  ".join(f"{cell:>20}" for cell in cells))


def compare_runs(pairs, options) -> None:
    """The same by whole runs: the loop, the looks ahead and the new plans, in the time of the simulated engine."""
    rows: dict[float, list[list[float]]] = {spread: [] for spread in options.spreads}
    n_anew = 0
    chosen = (pair for pair in pairs if len(pair[0]) <= MOST_LIVE)
    for i, (graph, table) in enumerate(chosen):
        rng = np.random.default_rng(i)
        exact = read_route(graph.schedule(table.workers, optimize=Optimize(schedules=SCHEDULES)), graph, table)
        guide = Guide([str(task) for task in exact.tasks.tolist()], table.ids, exact.renumbered())
        for spread in options.spreads:
            for _ in range(options.samples if spread else 1):
                lasts = graph.duration / 1e9 * np.exp(rng.normal(0, spread, len(graph)))
                base, _ = run(graph, table, lasts)
                kept, _ = run(graph, table, lasts, plan=guide, replan=None)
                anew, count = run(graph, table, lasts, plan=guide, replan=0.1)
                rows[spread].append([kept / base - 1, anew / base - 1])
                n_anew += count
    print(f"makespan of runs beside those by rank, mean and its error; the rest was planned anew {n_anew} times:")
    print(f"    {'spread':>8}  {'the better plan':>20}  {'and planned anew':>20}")
    for spread, told in rows.items():
        columns = np.array(told).T
        cells = [f"{np.mean(c):+.2%} ({np.std(c) / np.sqrt(len(c)):.2%})" for c in columns]
        print(f"    {spread:8.0%}  " + "  ".join(f"{cell:>20}" for cell in cells))


def run(graph, table, lasts, **options) -> tuple[float, int]:
    """A run whose attempts take so many seconds; its makespan, and how often the rest was planned anew."""
    engine = SimulatedEngine(0, lambda order, _: Command(lasts[int(order.task_id)], peak_mb=0))
    tasks = [
        Task(
            str(i),
            "x",
            [str(d) for d in graph.deps[graph.dep_ptr[i] : graph.dep_ptr[i + 1]].tolist()],
            int(graph.demand[i, 0]) / 1000,
            int(graph.demand[i, 1]),
            duration=int(graph.duration[i]) / 1e9,
        )
        for i in range(len(graph))
    ]
    given, there = compile_both(tasks, table.workers)
    settings = Settings(engine=engine, capture=False, **options)
    session = Session(settings, given, there, settled=True, fresh=True, clock=engine.clock, aside=AtOnce())
    events: list[object] = []
    result = play_session(session, events.append, None)
    assert result.all_completed
    return result.makespan, sum(isinstance(event, Replanned) for event in events)


def crowds() -> Iterator[tuple[TaskGraph, WorkerTable]]:
    """Graphs of tasks that ask for one, two or all four cores of a worker, so that it matters who goes where."""
    for seed in range(20):
        rng = random.Random(seed)
        tasks = [
            Task(
                f"t{i}",
                "x",
                {f"t{rng.randrange(max(0, i - 60), i)}" for _ in range(2)} if i > 20 else (),
                rng.choice([1, 2, 4]),
                100,
                duration=rng.randint(5, 60),
            )
            for i in range(300)
        ]
        graph = TaskGraph(tasks)
        yield graph, WorkerTable([Worker(f"w{i}", 4, 1000) for i in range(6)], graph.resources)


def instances(archive, every: int) -> Iterator[tuple[TaskGraph, WorkerTable]]:
    with tarfile.open(archive) as files:
        for name in sorted(member for member in files.getnames() if member.endswith(".json"))[::every]:
            flat = json.load(files.extractfile(name))
            with (workloads.DATA / "clusters" / f"{flat['cluster']}.csv").open() as rows:
                workers = [
                    Worker(row["worker"], int(row["cores_milli"]) / 1000, int(row["mem_mb"]))
                    for row in csv.DictReader(rows)
                ]
            memory = [m if m is not None else 1024 * c // 1000 for m, c in zip(flat["mem_mb"], flat["cores_milli"])]
            graph = TaskGraph.from_arrays(
                np.cumsum([0, *map(len, flat["parents"])]),
                np.array([p for row in flat["parents"] for p in row], dtype=np.int32),
                np.column_stack((flat["cores_milli"], memory)),
                duration=np.array(flat["dur_ms"]) / 1000,
            )
            yield graph, WorkerTable(workers, graph.resources)


def by_start(route: Route) -> Route:
    """The same plan in the order of its starts; nobody is held back."""
    free = replace(route, not_before=np.zeros_like(route.not_before))
    return free.reordered(np.argsort(route.start_ns, kind="stable"))


def play(graph, table, key, route: Route | None = None, fit: str = "most-free") -> Route:
    """Virtual time by these keys, or by a plan; answers what it did as a plan, in its order."""
    core = make_core(graph, table, rank="fifo", fit=fit, max_retries=0)
    n = len(graph)
    if route is None:
        zeros = np.zeros(n, dtype=np.int64)
        core.follow(0, tasks=np.arange(n), key=key, worker=np.full(n, -1), not_before=zeros)
    else:
        follow(core, route)
    simulate(core)
    columns = core.columns()
    order = np.argsort(core.course()["key"], kind="stable").astype(np.int32)
    return Route.of_order(order, columns["start"].copy(), columns["end"].copy(), columns["worker"].copy())


if __name__ == "__main__":
    sys.exit(main())
