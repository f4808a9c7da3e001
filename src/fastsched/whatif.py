"""The commands that ask "what if": size, compare, and what `plan` is asked besides (--vary, --spread)."""

from __future__ import annotations

import argparse
import csv
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from .answers import (
    comparison_as_json,
    print_comparison,
    print_risk,
    print_sizing,
    print_variation,
    risk_as_json,
    sizing_as_json,
    variation_as_rows,
)
from .asked import add_prices, positive, prices_of, seconds, share, variation, whole
from .compare import compare
from .engines.local import this_machine
from .formats import Job, load, load_plan, load_workers
from .gantt import show_seconds
from .model import Worker
from .plan import Run, Schedule
from .planner import TaskGraph, schedule
from .portfolio import AUTO, FITS
from .progress import PlanProgress, count, short_warnings
from .ranks import RANKS
from .report import write_json, write_lines
from .risk import Risk
from .runtime.folder import find_run
from .sizing import MINIMISE, Trial, size
from .vary import vary
from .verbs import add, add_format, past_run

__all__ = [
    "Answer",
    "add_comparing",
    "add_plan_questions",
    "add_sizing",
    "answer_questions",
    "do_vary",
    "join_tries",
    "write_csv",
]

COMPLETED, TASK_FAILED, INTERRUPTED = 0, 1, 130
ReadShape = Callable[[str], tuple[int, Worker]]


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
    parser.add_argument("file", metavar="FILE", help="job file (.json, .toml) or WfCommons instance (.json)")
    parser.add_argument("--deadline", type=seconds, required=True, metavar="D", help="such as 2h or 90m")
    add_prices(parser, required=True)
    parser.add_argument(
        "--minimise",
        choices=MINIMISE,
        default=MINIMISE[0],
        help="the price of the whole makespan, or the price an hour (default: %(default)s)",
    )
    parser.add_argument(
        "--billing", type=seconds, default=0.0, metavar="D", help="the makespan is charged in started units of D"
    )
    parser.add_argument(
        "--passes", type=positive, metavar="N", help="sets that are tried at most (default: by the job)"
    )
    parser.add_argument("--rank", choices=[*RANKS, AUTO], default="critical-path", help="(default: %(default)s)")
    parser.add_argument("--fit", choices=(*FITS, AUTO), default="most-free", help="(default: %(default)s)")
    parser.add_argument("--width", type=positive, help="columns (default: the terminal's)")
    add_format(parser)


def add_comparing(commands: Any, read_shape: ReadShape) -> None:
    """The parser of compare; `read_shape` reads what -w takes."""
    parser = add(
        commands,
        "compare",
        do_compare,
        "put plans side by side: of one job in several ways, saved ones, and runs",
        "FILE|PLAN|RUN... [--try OPTIONS ...] [options]",
    )
    parser.set_defaults(read_shape=read_shape)
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a job file, a plan that `fastsched plan --format json` wrote, or the folder of a run",
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
    parser.add_argument("--workers", metavar="FILE", help="workers of every way that names none itself")
    parser.add_argument(
        "-w",
        dest="shapes",
        metavar="[N:]CORESxMEMORY",
        action="extend",
        nargs="+",
        type=read_shape,
        help="likewise, by shape, as for `plan`",
    )
    add_prices(parser, required=False)
    parser.add_argument(
        "--moves", type=whole, default=3, metavar="N", help="tasks that are told of (default: %(default)s)"
    )
    parser.add_argument("--width", type=positive, help="columns (default: the terminal's)")
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


def add_plan_questions(parser: argparse.ArgumentParser) -> None:
    """What `plan` can be asked besides."""
    varied = parser.add_argument_group("what if there were more or fewer workers")
    varied.add_argument(
        "--vary",
        type=variation,
        metavar="WHAT=A..B[:STEP]",
        help="plan once for each value: workers=1..40, 4x16G=0..40:5 (beside the other workers), cores=1..16, "
        "memory=4G..64G:4G, or a resource; a table and a curve, with the knee",
    )
    varied.add_argument("--vary-plot", metavar="FILE", help="draw the curve into this file (.png, .svg, .pdf)")
    add_prices(varied, required=False)
    risky = parser.add_argument_group("what if durations vary")
    risky.add_argument(
        "--spread",
        type=share,
        metavar="S",
        help="play the plan with durations that vary by so much, such as 20%% (the standard deviation, lognormal)",
    )
    risky.add_argument("--samples", type=positive, default=1000, metavar="N", help="plays (default: %(default)s)")
    risky.add_argument("--deadline", type=seconds, metavar="D", help="say how likely it is to be met")
    parser.add_argument(
        "--seed", type=whole, default=0, metavar="N", help="of samples and of a search (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=positive, default=1, metavar="N", help="plans, or searches, at a time (default: %(default)s)"
    )


def columns_of(arguments: argparse.Namespace) -> int:
    """How wide the answer may be."""
    return arguments.width or shutil.get_terminal_size((100, 24)).columns


# ---------------------------------------------------------------- size


def do_size(arguments: argparse.Namespace) -> int:
    """`fastsched size`."""
    shapes = prices_of(arguments)
    with PlanProgress() as progress:
        job = load(arguments.file)

        def tell(tried: int, passes: int, best: Trial | None) -> None:
            found = f"; best so far: {best.price:.4g}, {best.price_per_hour:.4g} an hour" if best else ""
            progress.tell(lambda: f"sizing: {tried:,} of at most {count(passes, 'set')}{found}")

        sizing = size(
            job.tasks,
            deadline=arguments.deadline,
            shapes=shapes,
            minimise=arguments.minimise,
            billing=arguments.billing,
            rank=arguments.rank,
            fit=arguments.fit,
            passes=arguments.passes,
            on_progress=tell,
        )
    if arguments.format == "json":
        write_json(sizing_as_json(sizing))
    elif arguments.format == "jsonl":
        whole_answer = sizing_as_json(sizing)
        write_lines([whole_answer, *whole_answer.pop("tried")])
    else:
        print_sizing(job.name, sizing, len(shapes), arguments.file, columns_of(arguments))
    if sizing.interrupted:
        print("fastsched: interrupted; this is the best so far", file=sys.stderr)
        return INTERRUPTED
    return COMPLETED


# ---------------------------------------------------------------- plan --vary, --spread


def do_vary(
    arguments: argparse.Namespace, name: str, graph: TaskGraph, workers: Sequence[Worker | Mapping[str, Any]]
) -> int:
    """`fastsched plan --vary`."""
    if arguments.spread is not None:
        arguments.parser.error("argument --vary: one question at a time: --vary or --spread")
    what, values = arguments.vary
    with PlanProgress() as progress:
        try:
            answer = vary(
                graph,
                workers,
                what,
                values,
                rank=arguments.rank,
                fit=arguments.fit,
                prices=prices_of(arguments),
                threads=arguments.threads,
                on_progress=lambda done, points: progress.tell(lambda: f"planning: {done} of {count(points, 'point')}"),
            )
        except ValueError as error:
            if hasattr(error, "problems"):
                raise
            arguments.parser.error(f"argument --vary: {error}")
    if arguments.vary_plot:
        draw(arguments, answer.plot)
    rows = variation_as_rows(answer)
    if arguments.format == "json":
        write_json({"what": answer.what, "points": rows})
    elif arguments.format == "jsonl":
        write_lines(rows)
    elif arguments.format == "csv":
        write_csv(rows)
    else:
        print_variation(name, answer, len(graph), columns_of(arguments))
    return TASK_FAILED if all(point.makespan is None for point in answer.points) else COMPLETED


def draw(arguments: argparse.Namespace, plot: Callable[[str], object]) -> None:
    """Draw into the file that was named."""
    try:
        plot(arguments.vary_plot)
    except ValueError as error:  # a suffix that is not known
        arguments.parser.error(f"argument --vary-plot: {error}")


def write_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """A table for spreadsheets on stdout."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


@dataclass(frozen=True)
class Answer:
    """What `plan` was asked besides: for a program, and a way to print it."""

    data: dict[str, Any]
    show: Callable[[], None]


def answer_questions(arguments: argparse.Namespace, plan: Schedule, progress: PlanProgress) -> Answer:
    """Answer what `plan` was asked besides."""
    if getattr(arguments, "spread", None) is None:
        if getattr(arguments, "deadline", None) is not None:
            arguments.parser.error("argument --deadline: it is about --spread: say by how much durations vary")
        return Answer({}, lambda: None)
    began = time.perf_counter()
    risk: Risk = plan.risk(
        spread=arguments.spread,
        samples=arguments.samples,
        seed=arguments.seed,
        threads=arguments.threads,
        on_progress=lambda done, samples: progress.tell(lambda: f"playing: {done:,} of {count(samples, 'sample')}"),
    )
    took = time.perf_counter() - began

    def show() -> None:
        print_risk(risk, arguments.deadline, columns_of(arguments))
        print(f"\nplayed in {show_seconds(took)}")

    return Answer({"risk": risk_as_json(risk, arguments.deadline)}, show)


# ---------------------------------------------------------------- compare


def do_compare(arguments: argparse.Namespace) -> int:
    """`fastsched compare`."""
    plans: dict[str, Schedule | Run | Mapping[str, Any]] = {}
    several = len(arguments.files) > 1
    with short_warnings(), PlanProgress() as progress:
        for name in arguments.files:
            progress.tell(partial("reading {}".format, name))
            saved = read_saved(name)
            if saved is not None:
                plans[unused(name, plans)] = saved
                continue
            job = load(name)
            graph = TaskGraph(job.tasks)
            for words in arguments.tries or every_way():
                way = read_try(arguments, words)
                told = words if arguments.tries else f"{way.rank} {way.fit}"
                label = unused(f"{name}: {told}" if several else told, plans)
                progress.tell(partial("planning {}".format, label))
                plans[label] = schedule(graph, workers_of(arguments, way, job), rank=way.rank, fit=way.fit)
    comparison = compare(plans, prices=prices_of(arguments))
    if arguments.format == "human":
        print_comparison(comparison, arguments.moves, columns_of(arguments))
    else:
        data = comparison_as_json(comparison, arguments.moves)
        write_json(data) if arguments.format == "json" else write_lines(data["plans"])
    return COMPLETED if any(not outline.n_failed for outline in comparison.outlines) else TASK_FAILED


def read_saved(name: str) -> Run | Mapping[str, Any] | None:
    """A run, or a saved plan; None: it is neither, so a job file."""
    path = Path(name)
    if path.is_dir():
        return past_run(find_run(name)).result()
    return load_plan(path) if path.suffix.lower() in ("", ".json") else None


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
    parser.add_argument("--rank", choices=[*RANKS, AUTO], default="critical-path")
    parser.add_argument("--fit", choices=(*FITS, AUTO), default="most-free")
    parser.add_argument("--workers")
    parser.add_argument("-w", dest="shapes", action="extend", nargs="+", type=arguments.read_shape)
    try:
        split = shlex.split(words)
    except ValueError as error:
        arguments.parser.error(f"argument --try: {words!r}: {error}")
    return parser.parse_args([f"--{word}" if re.match(r"(rank|fit|workers)=", word) else word for word in split])


def workers_of(
    arguments: argparse.Namespace, way: argparse.Namespace, job: Job
) -> Iterable[Worker | Mapping[str, Any]]:
    """The workers of a way to plan: its own, those of all, the job file's, or this machine."""
    chosen = way if way.workers or way.shapes else arguments
    if chosen.workers and chosen.shapes:
        arguments.parser.error("--workers and -w both name the workers; give one of them")
    if chosen.workers:
        return load_workers(chosen.workers)
    if chosen.shapes:
        workers = [worker for times, worker in chosen.shapes for _ in range(times)]
        return [msgspec.structs.replace(worker, worker_id=f"w{i}") for i, worker in enumerate(workers)]
    return [this_machine()] if job.workers is None else job.workers
