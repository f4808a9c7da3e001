"""What a search for a shorter plan may cost, as the command line says it, and how far it has come, as it is told."""

from __future__ import annotations

import argparse
from dataclasses import replace

from .asked import seconds, seed, share, threads, whole_from
from .gantt import show_seconds
from .graph import WorkerTable
from .guide import Guide
from .optimize import MOST_SCHEDULES, Optimize, Progress
from .planner import TaskGraph, plan_ahead
from .progress import PlanProgress, count

__all__ = ["add_search", "read_budget", "search_first"]


def add_search(parser: argparse.ArgumentParser, *, is_run: bool = False) -> None:
    """The options of a search; of a run, those that `plan` has for other questions too."""
    group = parser.add_argument_group("a search for a shorter plan (Ctrl-C ends it, with the best so far)")
    group.add_argument("--optimize", type=seconds, metavar="D", help="for so long, such as 2s")
    group.add_argument(
        "--schedules",
        type=whole_from(1, MOST_SCHEDULES),
        metavar="N",
        help="of so many schedules: with the same --seed, the same plan",
    )
    group.add_argument(
        "--target-gap", type=share, metavar="S", help="until it is within S of the lower bound, such as 1%%"
    )
    if is_run:
        group.add_argument("--seed", type=seed, metavar="N", help="of the search (default: 0)")
        group.add_argument(
            "--threads", type=threads, metavar="N", help="searches at a time, before the run (default: 1)"
        )


def read_budget(arguments: argparse.Namespace, progress: PlanProgress) -> Optimize | None:
    """What the search may cost; None where none was asked for. Ends the program where the options make no sense."""
    parser: argparse.ArgumentParser = arguments.parser
    if arguments.optimize is None and arguments.schedules is None:
        return None
    if arguments.plan:
        parser.error("argument --plan: a plan is followed as it is; leave out --optimize and --schedules")
    return Optimize(
        seconds=arguments.optimize,
        schedules=arguments.schedules,
        target_gap=arguments.target_gap or 0.0,
        seed=arguments.seed or 0,
        threads=arguments.threads or 1,
        on_progress=lambda so_far: progress.tell(lambda: _tell(so_far)),
    )


def search_first(
    arguments: argparse.Namespace, graph: TaskGraph, table: WorkerTable | None
) -> tuple[Guide | None, Optimize | None]:
    """The plan that is found before a run, and what its searches may cost. None, where none was asked for.

    Where workers are the engine's own, they are not known yet; who opens the run searches then.
    """
    with PlanProgress() as progress:
        budget = read_budget(arguments, progress)
        if budget is None:
            return None, None
        silent = replace(budget, on_progress=None)
        if table is None or not len(graph):
            return None, silent
        told = silent if arguments.quiet else budget
        return plan_ahead(graph, table, arguments.rank, arguments.fit, None, told), silent


def _tell(so_far: Progress) -> str:
    bound = f", {so_far.gap:.1%} above the bound of {show_seconds(so_far.bound)}" if so_far.bound else ""
    return f"searching: {show_seconds(so_far.best)}{bound}; {count(so_far.schedules, 'schedule')}"
