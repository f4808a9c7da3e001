"""How good plans are, beside the best that is known: `python bench/quality.py [--only TEXT] [--write FILE]`.

On whole sets of FASTSCHED_DATA, one thread an instance, every schedule validated. Deviations are averages in percent
over the instances of a set: above the best known makespan, the critical path, or the lower bound of the baselines.
What is counted in schedules is the same on every machine; what is given seconds is not, so `--jobs` should leave cores
idle. A row that misses its limit is marked, and the exit code is 1. What `auto` takes is the least of three times.
"""

from __future__ import annotations

import argparse
import csv
import math
import multiprocessing
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from instances import instances
from targets import TARGETS
from workloads import DATA

import fastsched
from fastsched import Optimize, TaskGraph
from fastsched.formats import load

NS = 1_000_000_000
SEED = 1


class Case(NamedTuple):
    """A graph, its workers, and the time in ns that a makespan is compared with."""

    graph: TaskGraph
    workers: list
    base_ns: int


def projects(what: str, above: str) -> Iterator[Case]:
    """The instances of a set of projects that have a reference."""
    with open(DATA / "rcpsp" / "rcpsp_reference.csv", newline="") as file:
        known = {row["instance"]: row for row in csv.DictReader(file) if row["set"] == what}
    with tarfile.open(DATA / "rcpsp" / f"{what}.tar.gz") as files, tempfile.TemporaryDirectory() as folder:
        for member in files:
            row = known.get(Path(member.name).stem)
            if not member.isfile() or row is None:
                continue
            files.extract(member, folder, filter="data")
            job = load(os.path.join(folder, member.name))
            base = int(row["best_ub"] if above == "best known" else row["cpm_lb"])
            yield Case(TaskGraph(job.tasks), list(job.workers), base * NS)


def cases_of(what: str, cluster: str, above: str) -> list[Case]:
    if above != "bound":
        return list(projects(what, above))
    return [Case(one.graph, one.workers, one.bound_ns) for one in instances(what, cluster) if one.bound_ns]


CASES: list[Case] = []  # of the row that is being measured; children inherit it


def measure(at: int, budget: float | int | str) -> tuple[float, float]:
    """The deviation of one plan in percent, and the seconds that it took."""
    case, took = CASES[at], float("inf")
    options: dict[str, Any] = {"rank": "auto", "fit": "auto"}
    if isinstance(budget, int):
        options = {"optimize": Optimize(schedules=budget, seed=SEED)}
    elif isinstance(budget, float):
        options = {"optimize": Optimize(seconds=budget, seed=SEED)}
    for _ in range(3 if isinstance(budget, str) else 1):
        began = time.perf_counter()
        plan = fastsched.schedule(case.graph, case.workers, **options)
        took = min(took, time.perf_counter() - began)
    plan.validate()
    assert plan.all_completed
    return 100 * (plan.plan.makespan_ns / case.base_ns - 1), took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="TEXT", help="rows whose name or cost has this text")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="instances at a time (default: 1)")
    parser.add_argument("--write", metavar="FILE", help="the table as Markdown into this file as well")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        print(f"skipped: there is no {DATA}; set FASTSCHED_DATA")
        return 0
    rows = [row for row in TARGETS if any(text in f"{row.name}, {row.cost}" for text in arguments.only or [""])]
    if not rows:
        parser.error("argument --only: no row has this text: " + ", ".join(arguments.only))
    lines = ["| set | instances | above the | with | at most | is | seconds a plan |", "|---|---|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    missed, loaded = 0, ("", "", "")
    for row in rows:
        if loaded != (row.what, row.cluster, row.above):
            CASES[:] = cases_of(row.what, row.cluster, row.above)
            loaded = row.what, row.cluster, row.above
        with multiprocessing.get_context("fork").Pool(arguments.jobs) as pool:
            measured = pool.starmap(measure, [(at, row.budget) for at in range(len(CASES))], chunksize=1)
        deviation, took = (sum(column) / len(measured) for column in zip(*measured))
        limit = "-" if math.isinf(row.limit) else f"{row.limit:g}"
        miss = "" if deviation <= row.limit else " (missed)"
        late = "" if took <= row.most_seconds else f" (missed: {row.most_seconds:g})"
        missed += bool(miss or late)
        lines.append(
            f"| {row.name} | {len(measured)} | {row.above} | {row.cost} | {limit} | {deviation:.3f}{miss} "
            f"| {took:.4f}{late} |"
        )
        print(lines[-1], flush=True)
    if arguments.write:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
        head = [
            "# How good plans are",
            "",
            "Average deviations in percent, every schedule validated, one thread an instance, by "
            f"`python bench/quality.py` on commit {commit.stdout.strip()}, Python {platform.python_version()}.",
            "",
        ]
        Path(arguments.write).write_text("\n".join([*head, *lines, ""]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
