"""The commands that ask "what if": size, and compare. (`planning.py` has what `plan` is asked besides.)"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from . import asked
from .answers import comparison_as_json, print_comparison, print_sizing, sizing_as_json
from .compare import compare
from .formats import load
from .graph import WorkerTable, read_both
from .history import Filled
from .lookback import add_history, look_back, put_in
from .options import add_choices, add_format, add_prices, add_workers, columns_of, prices_of, workers_for
from .plan import Run, Schedule
from .planner import TaskGraph, schedule
from .portfolio import FITS
from .progress import PlanProgress, count, short_warnings
from .ranks import RANKS
from .report import write_json, write_lines
from .runtime.folder import find_run
from .saved import SavedPlan, holds_plan, load_plan
from .sizing import MINIMISE, Trial, size
from .verbs import add, past_run

__all__ = ["add_comparing", "add_sizing", "join_tries"]

COMPLETED, TASK_FAILED, INTERRUPTED = 0, 1, 130
MOST_PASSES = 10**9


# ---------------------------------------------------------------- options


def add_sizing(commands: Any) -> None:
    """The parser of size."""
    parser = add(
        commands,
        "size",
        do_size,
        "find the cheapest set of workers on which a job ends by a deadline",
        "FILE --deadline D (--shapes FILE | --shape SHAPE=PRICE ...) [options]",
    )
    parser.add_argument(
        "file", metavar="FILE", help="job file (.json, .toml), WfCommons instance (.json) or project (.sm, .rcp)"
    )
    parser.add_argument("--deadline", type=asked.seconds, required=True, metavar="D", help="such as 2h or 90m")
    add_prices(parser, required=True)
    parser.add_argument(
        "--minimise",
        choices=MINIMISE,
        default=MINIMISE[0],
        help="the price of the whole makespan, or the price an hour (default: %(default)s)",
    )
    parser.add_argument(
        "--billing", type=asked.seconds, default=0.0, metavar="D", help="the makespan is charged in started units of D"
    )
    parser.add_argument(
        "--passes",
        type=asked.whole_from(1, MOST_PASSES),
        metavar="N",
        help="sets that are tried at most (default: by the job)",
    )
    add_choices(parser)
    add_history(parser)
    parser.add_argument("--width", type=asked.positive, help="columns (default: the terminal's)")
    add_format(parser)


def add_comparing(commands: Any) -> None:
    """The parser of compare."""
    parser = add(
        commands,
        "compare",
        do_compare,
        "put plans side by side: of one job in several ways, saved ones, and runs",
        "FILE|PLAN|RUN... [--try OPTIONS ...] [options]",
    )
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a job file, a plan that `fastsched plan --save` kept or --format json printed, or the folder of a run",
    )
    parser.add_argument(
        "--try",
        dest="tries",
        metavar="OPTIONS",
        action="append",
        default=[],
        help="a way to plan the job file: 'rank=fifo fit=best-fit', '-w 10:4x16G', '--workers FILE'; again and again. "
        "Without any, every rank and every fit is tried",
    )
    add_workers(parser, "workers of every way that names none itself,")
    add_history(parser)
    add_prices(parser, required=False)
    parser.add_argument(
        "--moves", type=asked.whole, default=3, metavar="N", help="tasks that are told of (default: %(default)s)"
    )
    parser.add_argument("--width", type=asked.positive, help="columns (default: the terminal's)")
    add_format(parser)


def join_tries(words: Sequence[str]) -> list[str]:
    """The words of the command line, with each --try and what it says as one: that may begin with an option itself."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--try" and joined[0] == "compare":
            joined[-1] = f"--try={word}"
        else:
            joined.append(word)
    return joined


# ---------------------------------------------------------------- size


def do_size(arguments: argparse.Namespace) -> int:
    """`fastsched size`."""
    shapes = prices_of(arguments)
    with PlanProgress() as progress:
        job = load(arguments.file)
        units = [msgspec.structs.replace(shape.worker, worker_id=shape.label) for shape in shapes]
        graph, known = put_in(*read_both(TaskGraph, job.tasks, units), look_back(arguments, job, arguments.file))

        def tell(tried: int, passes: int, best: Trial | None) -> None:
            found = f"; best so far: {best.price:.4g}, {best.price_per_hour:.4g} an hour" if best else ""
            progress.tell(lambda: f"sizing: {tried:,} of at most {count(passes, 'set')}{found}")

        sizing = size(
            graph,
            deadline=arguments.deadline,
            shapes=shapes,
            minimise=arguments.minimise,
            billing=arguments.billing,
            rank=arguments.rank,
            fit=arguments.fit,
            passes=arguments.passes,
            on_progress=tell,
        )
    if arguments.format == "human":
        print_sizing(job.name, sizing, len(shapes), plan_again(arguments), columns_of(arguments), str(known or ""))
    else:
        told = sizing_as_json(sizing) | {"history": known}
        write_json(told) if arguments.format == "json" else write_lines([told, *told.pop("tried")])
    if sizing.interrupted:
        print("fastsched: interrupted; this is the best so far", file=sys.stderr)
        return INTERRUPTED
    return COMPLETED


def plan_again(arguments: argparse.Namespace) -> list[str]:
    """The command that plans as it was planned here, but for the workers."""
    words = ["fastsched", "plan", arguments.file]
    for name in ("rank", "fit"):
        if getattr(arguments, name) != arguments.parser.get_default(name):
            words += [f"--{name}", getattr(arguments, name)]
    for run in arguments.history or ():
        words += ["--history", run]
    return words + ["--no-history"] * arguments.no_history


# ---------------------------------------------------------------- compare


def do_compare(arguments: argparse.Namespace) -> int:
    """`fastsched compare`."""
    saved = {name: read_saved(name) for name in dict.fromkeys(arguments.files)}
    check_jobs(arguments, any(plan is None for plan in saved.values()))
    plans: dict[str, Schedule | Run | SavedPlan] = {}
    history: dict[str, Filled] = {}
    several = len(arguments.files) > 1
    with short_warnings(), PlanProgress() as progress:
        for name in arguments.files:
            plan = saved[name]
            if plan is not None:
                plans[unused(name, plans)] = plan
                continue
            progress.tell(partial("reading {}".format, name))
            job = load(name)
            measured = look_back(arguments, job, name)
            graph = TaskGraph(job.tasks)
            for words in arguments.tries or every_way():
                way = read_try(arguments, words)
                told = words if arguments.tries else f"{way.rank} {way.fit}"
                label = unused(f"{name}: {told}" if several else told, plans)
                progress.tell(partial("planning {}".format, label))
                workers = workers_for(way if way.workers or way.shapes else arguments, job)
                filled, known = put_in(graph, WorkerTable(workers, graph.resources), measured)
                plans[label] = schedule(filled, workers, rank=way.rank, fit=way.fit)
                if known:
                    history[name] = known
    comparison = compare(plans, prices=prices_of(arguments))
    if arguments.format == "human":
        print_comparison(comparison, arguments.moves, columns_of(arguments), list(map(str, history.values())))
    else:
        data = comparison_as_json(comparison, arguments.moves) | {"history": history}
        write_json(data) if arguments.format == "json" else write_lines(data["plans"])
    return COMPLETED if any(not outline.n_failed for outline in comparison.outlines) else TASK_FAILED


def read_saved(name: str) -> Run | SavedPlan | None:
    """A run, or a saved plan; None: it is neither, so a job file."""
    if Path(name).is_dir():
        return past_run(find_run(name)).result()
    return load_plan(name) if holds_plan(name) else None


def check_jobs(arguments: argparse.Namespace, is_any: bool) -> None:
    """End the program where options say how job files are planned, and there is none."""
    for option, value in (
        ("--try", arguments.tries),
        ("--workers", arguments.workers),
        ("-w", arguments.shapes),
        ("--history", arguments.history),
    ):
        if value and not is_any:
            arguments.parser.error(f"argument {option}: plans and runs are compared as they are; name a job file too")


def every_way() -> list[str]:
    """Every rank with every fit."""
    return [f"rank={rank} fit={fit}" for rank in RANKS for fit in FITS]


def unused(name: str, taken: Mapping[str, object]) -> str:
    """The name, with a number behind it where it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


class TryParser(argparse.ArgumentParser):
    """Reads the words of a --try, and says what is wrong with them through the parser of the command."""

    def __init__(self, words: str, outer: argparse.ArgumentParser) -> None:
        super().__init__(prog="--try", add_help=False, allow_abbrev=False, usage="--try 'OPTIONS'")
        self._words, self._outer = words, outer

    def error(self, message: str) -> NoReturn:
        self._outer.error(f"argument --try: {self._words!r}: {message}")


def read_try(arguments: argparse.Namespace, words: str) -> argparse.Namespace:
    """One way to plan, as the options of `plan` say it; `rank=fifo` is as good as `--rank fifo`."""
    parser = TryParser(words, arguments.parser)
    add_choices(parser)
    add_workers(parser)
    try:
        split = shlex.split(words)
    except ValueError as error:
        arguments.parser.error(f"argument --try: {words!r}: {error}")
    parser.set_defaults(parser=parser)
    return parser.parse_args([f"--{word}" if re.match(r"(rank|fit|workers)=", word) else word for word in split])
