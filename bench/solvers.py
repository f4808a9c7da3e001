"""Side by side with solvers: `python bench/solvers.py [--ours S] [--theirs S] [--count N] [--jobs N] [--only SET]`.

The same instances, 20 of PSPLIB's j120 and 20 of the hybrid workflows, by our search with 1 s and by OR-tools' CP-SAT
and by PyJobShop (whose solver is CP-SAT too) with 60 s, one thread each: averages in percent above the best that is
known, or above the lower bound. CP-SAT is told the makespan of our plain pass as its horizon; PyJobShop takes none.
What a solver has no plan for in its time is counted, and left out of its average; beside that is ours on the same
instances. The models of both let a task that takes no time be anywhere. Needs `pip install ortools pyjobshop`;
whichever is not there is left out, aloud.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from quality import Case, cases_of
from workloads import DATA

import fastsched
from fastsched import Optimize
from fastsched.graph import WorkerTable

MS = 1_000_000


def edges_of(case: Case) -> Iterator[tuple[int, int]]:
    graph = case.graph
    for task in range(len(graph)):
        for other in graph.deps[graph.dep_ptr[task] : graph.dep_ptr[task + 1]].tolist():
            yield other, task


def unit_of(case: Case) -> int:
    """ns that all durations are a multiple of: solvers count in whole numbers."""
    return int(np.gcd.reduce(case.graph.duration)) or 1


def hosts_of(case: Case, capacity: np.ndarray) -> list[list[int]]:
    """The workers that could hold each task."""
    return [np.nonzero((capacity >= row).all(axis=1))[0].tolist() for row in case.graph.demand]


def by_ours(case: Case, seconds: float) -> int | None:
    plan = fastsched.schedule(case.graph, case.workers, optimize=Optimize(seconds=seconds, seed=1))
    plan.validate()
    return plan.plan.makespan_ns


def by_cp_sat(case: Case, seconds: float) -> int | None:
    from ortools.sat.python import cp_model

    model, graph, unit = cp_model.CpModel(), case.graph, unit_of(case)
    capacity = WorkerTable(case.workers, graph.resources).capacity
    horizon = fastsched.schedule(case.graph, case.workers).plan.makespan_ns // unit
    starts = [model.new_int_var(0, horizon, "") for _ in range(len(graph))]
    lengths = (graph.duration // unit).tolist()
    on: list[list[tuple[Any, list[int]]]] = [[] for _ in case.workers]
    for task, hosts in enumerate(hosts_of(case, capacity)):
        demand = graph.demand[task].tolist()
        if len(case.workers) == 1:
            on[0].append((model.new_fixed_size_interval_var(starts[task], lengths[task], ""), demand))
            continue
        chosen = [model.new_bool_var("") for _ in hosts]
        model.add_exactly_one(chosen)
        for host, there in zip(hosts, chosen):
            interval = model.new_optional_fixed_size_interval_var(starts[task], lengths[task], there, "")
            on[host].append((interval, demand))
    for worker, held in enumerate(on):
        for r, room in enumerate(capacity[worker].tolist()):
            needing = [(interval, demand[r]) for interval, demand in held if demand[r]]
            if needing:
                model.add_cumulative(*map(list, zip(*needing)), room)
    for before, after in edges_of(case):
        model.add(starts[after] >= starts[before] + lengths[before])
    makespan = model.new_int_var(0, horizon, "")
    model.add_max_equality(makespan, [start + length for start, length in zip(starts, lengths)])
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds, solver.parameters.num_workers = seconds, 1
    found = solver.solve(model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    return int(solver.objective_value) * unit if found else None


def by_pyjobshop(case: Case, seconds: float) -> int | None:
    from pyjobshop import Model

    model, graph, unit = Model(), case.graph, unit_of(case)
    capacity = WorkerTable(case.workers, graph.resources).capacity
    rooms = [[model.add_renewable(capacity=room) for room in row] for row in capacity.tolist()]
    tasks = [model.add_task() for _ in range(len(graph))]
    for task, hosts in enumerate(hosts_of(case, capacity)):
        demand, length = graph.demand[task].tolist(), int(graph.duration[task]) // unit
        for host in hosts:
            model.add_mode(tasks[task], rooms[host], length, demand)
    for before, after in edges_of(case):
        model.add_end_before_start(tasks[before], tasks[after])
    result = model.solve(time_limit=seconds, num_workers=1, display=False)
    return int(result.objective) * unit if np.isfinite(result.objective) else None


WAYS: dict[str, tuple[str, Callable[[Case, float], int | None]]] = {
    "fastsched": ("fastsched", by_ours),
    "CP-SAT": ("ortools", by_cp_sat),
    "PyJobShop": ("pyjobshop", by_pyjobshop),
}
SETS = {"j120": "best known", "hybrid": "bound"}
CASES: list[Case] = []


def measure(way: str, at: int, seconds: float, is_bound: bool) -> float | None:
    """How far above what is known the way's plan is, in percent; never below, where that is a bound."""
    makespan = WAYS[way][1](CASES[at], seconds)
    assert makespan is None or not is_bound or makespan >= CASES[at].base_ns, (way, at)
    return None if makespan is None else 100 * (makespan / CASES[at].base_ns - 1)


def mean_of(deviations: list[float]) -> str:
    return f"{sum(deviations) / len(deviations):.2f}" if deviations else "-"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=float, default=1.0, metavar="S", help="seconds (default: %(default)s)")
    parser.add_argument("--theirs", type=float, default=60.0, metavar="S", help="seconds (default: %(default)s)")
    parser.add_argument("--count", type=int, default=20, metavar="N", help="instances of each set (default: 20)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="instances at a time (default: 1)")
    parser.add_argument("--only", choices=SETS, metavar="SET", help="one of " + ", ".join(SETS))
    arguments = parser.parse_args()
    if not DATA.is_dir():
        print(f"skipped: there is no {DATA}; set FASTSCHED_DATA")
        return 0
    print(
        "| set | by | with | percent above | without a plan | ours on the same |\n|---|---|---|---|---|---|", flush=True
    )
    for what, above in SETS.items():
        if arguments.only not in (None, what):
            continue
        ours: list[float | None] = []
        every = cases_of(what, "", above)
        CASES[:] = every[:: max(1, len(every) // arguments.count)][: arguments.count]
        for way, (package, _) in WAYS.items():
            if importlib.util.find_spec(package) is None:
                print(f"skipped: {way} is not installed", file=sys.stderr)
                continue
            seconds = arguments.ours if way == "fastsched" else arguments.theirs
            with multiprocessing.get_context("fork").Pool(arguments.jobs) as pool:
                asked = [(way, at, seconds, above == "bound") for at in range(len(CASES))]
                found = pool.starmap(measure, asked, chunksize=1)
            ours = ours or found  # they are the first
            pairs = [(deviation, our) for deviation, our in zip(found, ours) if None not in (deviation, our)]
            theirs, same = ([float(value) for value in column] for column in zip(*pairs)) if pairs else ([], [])
            print(
                f"| {len(CASES)} of {what} | {way} | {seconds:g} s | {mean_of(theirs)} ({above}) "
                f"| {found.count(None)} | {mean_of(same)} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
