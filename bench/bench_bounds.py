"""How good a certificate is, and what it costs beside the plan that it is for: ratios, each held to what is known.

A bound must not be above any schedule that anybody has found (`best_ub`, `best_rule_ms`); where the folder of instances
is not here, the benches of its sets are skipped.
"""

from __future__ import annotations

import csv
import json
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import workloads
from timing import median, ratio, timed

from fastsched import TaskGraph, schedule
from fastsched.bounds import Bounds
from fastsched.formats import load

NS = 10**9
PROJECTS = ("j30", "j60", "j120", "RG300", "RG30_Set1", "DC_DC1")
WORKFLOWS = ("wfinstances", "tpch", "hybrid", "wfgen")
EVERY = 6  # of the instances of a set, so many are passed over
ROUNDS = 5


def rows_of(path: str) -> list[dict[str, str]]:
    if not (workloads.DATA / path).is_file():
        pytest.skip(f"skipped: no data folder at FASTSCHED_DATA={workloads.DATA}")
    with open(workloads.DATA / path) as file:
        return list(csv.DictReader(file))


def members_of(archive: Path):
    """(name, content) of every EVERY-th file of an archive."""
    with tarfile.open(archive) as files:
        for member in sorted((m for m in files if m.isfile()), key=lambda m: m.name)[::EVERY]:
            content = files.extractfile(member)
            assert content is not None
            yield member.name, content.read()


@pytest.mark.parametrize("name", PROJECTS)
def bench_projects(capsys, name):
    """One worker with named resources: how often a bound meets the best that is known, and how far it is below."""
    known = {row["instance"].lower(): row for row in rows_of("rcpsp/rcpsp_reference.csv") if row["set"] == name}
    found, costs, planning = [], [], []
    with TemporaryDirectory() as folder:
        for member, content in members_of(workloads.DATA / "rcpsp" / f"{name}.tar.gz"):
            path = Path(folder) / Path(member).name
            path.write_bytes(content)
            row, job = known[path.stem.lower()], load(path)
            graph = TaskGraph(job.tasks)
            seconds, plan = timed(lambda graph=graph, job=job: schedule(graph, job.workers).plan)
            cost, best = timed(lambda plan=plan: plan.lower_bound_ns)
            reference = float(row["best_lb"]) * NS
            assert max(plan.bounds_ns.values()) <= plan.bound.ns <= best <= float(row["best_ub"]) * NS, member
            found.append([bound / reference for bound in (max(plan.bounds_ns.values()), plan.bound.ns, best)])
            costs.append(cost)
            planning.append(seconds)
    shares, means = (np.array(found) >= 1).mean(axis=0), (1 - np.array(found)).mean(axis=0)
    with capsys.disabled():
        print(f"\n{name}, {len(found)} instances: meets the best known bound, and is below it on average:")
        for what, share, below in zip(("chain and areas", "lenses", "windows"), shares, means):
            print(f"    {what:16} {share:6.1%} {below:7.2%}")
        print(f"    {ratio(costs, planning):.1f} times as long as the plan")


@pytest.mark.parametrize("name", WORKFLOWS)
def bench_workflows(capsys, name):
    """Many workers: how far the best of twenty list schedules is above the bounds."""
    rows: dict[str, list[dict[str, str]]] = {}
    for row in rows_of("workflow_baselines.csv"):
        if row["set"] == name:
            rows.setdefault(f"{name}/{row['instance']}", []).append(row)
    above = []
    for member, content in members_of(workloads.DATA / name / f"{name}_flat.tar.gz"):
        flat = json.loads(content)
        memory = [1024 * c // 1000 if m is None else m for m, c in zip(flat["mem_mb"], flat["cores_milli"])]
        graph = TaskGraph.from_arrays(
            np.cumsum([0, *map(len, flat["parents"])]),
            [parent for row in flat["parents"] for parent in row],
            np.column_stack((flat["cores_milli"], memory)),
            duration=np.array(flat["dur_ms"]) / 1000,
        )
        bounds = bounds_of(graph)
        for row in rows.get(member.removesuffix(".json"), ()):
            machines = rows_of(f"clusters/{row['cluster']}.csv")
            capacity = np.array([[int(m["cores_milli"]), int(m["mem_mb"])] for m in machines], dtype=np.int32)
            best, given = float(row["best_rule_ms"]), float(row["lb_ms"])
            simple, areas, lenses = (
                ns / 1e6 for ns in (bounds.quick_ns(capacity), bounds.of(capacity, effort=0).ns, bounds.of(capacity).ns)
            )
            assert simple <= areas <= lenses <= best + 1 and given <= areas + 1, row
            above.append([best / bound - 1 for bound in (simple, given, areas, lenses)])
    with capsys.disabled():
        print(f"\n{name}, {len(above)} pairs of instance and workers: the best of 20 list schedules is above")
        for what, mean in zip(
            ("chain and areas", "the given bound", "all thresholds", "lenses"), np.mean(above, axis=0)
        ):
            print(f"    {what:16} {mean:7.2%}")


@pytest.mark.parametrize("n", [12_000, 100_000])
def bench_ratios(capsys, n):
    """What bounds and validation cost beside one plan."""
    given, workers = workloads.arrays("scattered", n), workloads.workers(100)
    graph = workloads.graph_of(given)
    costs: dict[str, list[float]] = {"plan": [], "areas": [], "lenses": [], "validate": []}
    for _ in range(ROUNDS):
        seconds, plan = timed(lambda: schedule(graph, workers))
        capacity = plan.plan._capacity
        costs["plan"].append(seconds)
        bounds = bounds_of(graph)
        costs["areas"].append(timed(lambda b=bounds, c=capacity: b.of(c, effort=0))[0])
        cost, bound = timed(lambda g=graph, c=capacity: bounds_of(g).of(c))
        costs["lenses"].append(cost)
        costs["validate"].append(timed(plan.validate)[0])
        assert bound.ns <= plan.plan.makespan_ns < 1.5 * bound.ns
    with capsys.disabled():
        print(f"\n{n:,} tasks on 100 workers: one plan {median(costs['plan']) * 1e3:.1f} ms; of that", end="")
        print("".join(f", {what} {ratio(costs[what], costs['plan']):.2f}" for what in ("areas", "lenses", "validate")))


def bounds_of(graph: TaskGraph) -> Bounds:
    return Bounds(graph.order, graph.succ_ptr, graph.succ, graph.duration, graph.demand)
