"""`fastsched plan`, with what it can be asked besides: --optimize, --vary, --spread, pictures. Nothing is executed.

What options make no sense together, or alone, is said before anything is read.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import asked
from .answers import print_risk, print_variation, risk_as_json, variation_as_rows
from .budget import add_search, read_budget
from .formats import load
from .gantt import show_seconds
from .graph import read_both
from .lookback import add_history, look_back, put_in
from .names import show_name
from .options import add_choices, add_format, add_prices, add_workers, columns_of, prices_of, workers_for
from .pictures.options import add_pictures, check_files, plot_file, tell_written, write_pictures
from .pictures.plot import require_matplotlib
from .plan import Schedule
from .planner import TaskGraph, schedule
from .progress import PlanProgress, count, short_warnings
from .report import print_plan, write_json, write_lines
from .risk import MOST_SAMPLES
from .saved import load_plan, plan_as_json, save_plan
from .vary import vary

__all__ = ["PLAIN", "add_common", "add_plan_file", "add_planning", "do_plan", "spell"]

COMPLETED, TASK_FAILED = 0, 1
SAMPLES = 1000
# What can be asked of a plan besides, where nothing of it is: `fastsched run --dry-run` has no options for it.
ASKED: tuple[str, ...] = (
    "width",
    "save",
    "html",
    "trace",
    "plot",
    "optimize",
    "schedules",
    "target_gap",
    "vary",
    "vary_plot",
)
ASKED += ("price_file", "prices", "spread", "samples", "deadline", "seed", "threads")
PLAIN = dict.fromkeys(ASKED)
NOT_VARIED = ("optimize", "schedules", "target_gap", "plan", "save", "html", "trace", "plot", "spread")
SEARCH, VARY, SPREAD = ("optimize", "schedules"), ("vary",), ("spread",)
# What is of no use without one of others, and why.
NEEDS = (
    ("vary_plot", VARY, "it draws what --vary finds"),
    ("price_file", VARY, "a plan has no price; --vary tells one for each value"),
    ("prices", VARY, "a plan has no price; --vary tells one for each value"),
    ("samples", SPREAD, "they are plays with other durations"),
    ("deadline", SPREAD, "it is asked how likely it is to be met"),
    ("target_gap", SEARCH, "it ends a search"),
    ("seed", (*SEARCH, *SPREAD), "nothing is drawn by chance"),
    ("threads", (*SEARCH, *VARY, *SPREAD), "one plan takes no more than one"),
)
SPELT = {"price_file": "shapes", "prices": "shape"}


def add_planning(commands: Any) -> None:
    """The parser of plan."""
    plan: argparse.ArgumentParser = commands.add_parser(
        "plan",
        usage="fastsched plan FILE [options]",
        help="say what would run where and when; nothing is executed",
        description="Plan a job file (JSON, TOML), a WfCommons instance or a project (PSPLIB .sm, Patterson .rcp) in "
        "virtual time. Nothing is executed.",
        allow_abbrev=False,
    )
    plan.set_defaults(do=do_plan, parser=plan)
    add_common(plan, "csv")
    add_plan_file(plan, "play this plan, with the durations and workers that there are")
    plan.add_argument(
        "--save",
        metavar="PLAN",
        help="keep the plan in this file, for `fastsched run --plan`, `report --against` and `compare`",
    )
    plan.add_argument("--width", type=asked.positive, help="columns of the chart (default: the terminal's)")
    add_pictures(plan, "plan")
    add_search(plan)
    add_questions(plan)


def add_common(parser: argparse.ArgumentParser, *forms: str) -> None:
    """The options that planning and running share; `forms`: in which the answer can be had besides the usual ones."""
    parser.add_argument(
        "file", metavar="FILE", help="job file (.json, .toml), WfCommons instance (.json) or project (.sm, .rcp)"
    )
    add_workers(parser)
    add_choices(parser)
    add_history(parser)
    add_format(parser, *forms)


def add_plan_file(parser: argparse.ArgumentParser, says: str) -> None:
    """The option that names a plan."""
    parser.add_argument("--plan", metavar="PLAN", help=f"{says} (a file of `fastsched plan --save`)")


def add_questions(parser: argparse.ArgumentParser) -> None:
    """What `plan` can be asked besides."""
    varied = parser.add_argument_group("what if there were more or fewer workers")
    varied.add_argument(
        "--vary",
        type=asked.variation,
        metavar="WHAT=A..B[:STEP]",
        help="plan once for each value: workers=1..40, 4x16G=0..40:5 (beside the other workers), cores=1..16, "
        "memory=4G..64G:4G, or a resource; a table and a curve, with the knee",
    )
    varied.add_argument(
        "--vary-plot",
        type=plot_file,
        metavar="FILE",
        help="draw the curve into this file (.png, .svg, .pdf; extra plot: matplotlib)",
    )
    add_prices(varied, required=False)
    risky = parser.add_argument_group("what if durations vary")
    risky.add_argument(
        "--spread",
        type=asked.share,
        metavar="S",
        help="play the plan with durations that vary by so much, such as 20%% (the standard deviation, lognormal)",
    )
    risky.add_argument(
        "--samples", type=asked.whole_from(1, MOST_SAMPLES), metavar="N", help=f"plays (default: {SAMPLES})"
    )
    risky.add_argument("--deadline", type=asked.seconds, metavar="D", help="say how likely it is to be met")
    parser.add_argument(
        "--seed", type=asked.seed, metavar="N", help="of the samples of --spread and of a search (default: 0)"
    )
    parser.add_argument(
        "--threads", type=asked.threads, metavar="N", help="plans, samples or searches at a time (default: 1)"
    )


def check_questions(arguments: argparse.Namespace) -> None:
    """End the program where options do not go together, or are of no use, or name files that clash."""
    given = {name for name in (*ASKED, "plan") if getattr(arguments, name) is not None}
    if "vary" in given:
        for name in (*NOT_VARIED, *(name for name, wanted, _ in NEEDS if "vary" not in wanted)):
            if name in given:
                arguments.parser.error(f"argument --vary: it makes many plans; leave out {spell(name)}")
    for name, wanted, why in NEEDS:
        if name in given and given.isdisjoint(wanted):
            *others, last = map(spell, wanted)
            one_of = f"{', '.join(others)} or {last}" if others else last
            arguments.parser.error(f"argument {spell(name)}: {why}; say {one_of} too, or leave it out")
    if {"plan", "spread"} <= given:
        arguments.parser.error("argument --spread: it plays a plan that is made here; leave out --plan")
    check_files(
        arguments,
        reads=[
            ("the job file", arguments.file),
            ("the file of --workers", arguments.workers),
            ("the plan of --plan", arguments.plan),
            ("the file of --shapes", arguments.price_file),
            *(("a history that is read", name) for name in arguments.history or ()),
        ],
        writes=[("--save", arguments.save), ("--vary-plot", arguments.vary_plot)],
    )
    if "vary_plot" in given:
        require_matplotlib()


def spell(name: str) -> str:
    """An option as it is written."""
    return f"--{SPELT.get(name, name).replace('_', '-')}"


# ---------------------------------------------------------------- the plan


def do_plan(arguments: argparse.Namespace, workers_of: Callable[..., Any] = workers_for) -> int:
    """`fastsched plan`: read, plan, print. `workers_of`: of the options and the job, the workers."""
    check_questions(arguments)
    if arguments.vary is not None:
        return do_vary(arguments)
    began = time.perf_counter()
    with short_warnings(), PlanProgress() as progress:
        budget = read_budget(arguments, progress)
        progress.say(f"reading {show_name(arguments.file)}")
        job = load(arguments.file)
        workers = workers_of(arguments, job)
        history = look_back(arguments, job, arguments.file)
        loaded = time.perf_counter()
        progress.say(f"reading {count(len(job.tasks), 'task')}")
        graph, known = put_in(*read_both(TaskGraph, job.tasks, workers), history)
        plan = schedule(
            graph,
            workers,
            rank=arguments.rank,
            fit=arguments.fit,
            plan=load_plan(arguments.plan) if arguments.plan else None,
            on_progress=progress,
            optimize=budget,
        )
        planned = time.perf_counter()
        answer = answer_questions(arguments, plan, progress)
    if arguments.save:
        save_plan(plan, arguments.save)
    written = write_pictures(arguments, plan, job.name)  # before stdout, of which nobody may want the end
    if arguments.format in ("json", "jsonl"):
        summary = plan_as_json(plan) | {"history": known} | answer.data
        write_json(summary) if arguments.format == "json" else write_lines([summary, *summary.pop("placements")])
    elif arguments.format == "csv":
        write_csv([placement._asdict() for placement in plan.placements])
    else:
        print_plan(job.name, plan, loaded - began, planned - loaded, arguments.width, str(known or ""))
        answer.show()
    tell_saved(arguments)
    tell_written(arguments, written)
    return COMPLETED if plan.all_completed else TASK_FAILED


def tell_saved(arguments: argparse.Namespace) -> None:
    """Say where a plan was kept: on stdout for a person, else on stderr."""
    if arguments.save:
        out = sys.stdout if arguments.format == "human" else sys.stderr
        words = ["fastsched", "run", arguments.file, "--plan", arguments.save]
        named = arguments.workers or arguments.shapes
        same = f" with the same {'--workers' if arguments.workers else '-w'}" if named else ""
        print(f"wrote {show_name(arguments.save)}: {show_name(shlex.join(words))}{same} follows it", file=out)


# ---------------------------------------------------------------- what else it is asked


def do_vary(arguments: argparse.Namespace) -> int:
    """`fastsched plan --vary`."""
    what, values = arguments.vary
    with PlanProgress() as progress:
        job = load(arguments.file)
        workers = workers_for(arguments, job)
        graph, known = put_in(*read_both(TaskGraph, job.tasks, workers), look_back(arguments, job, arguments.file))
        try:
            answer = vary(
                graph,
                workers,
                what,
                values,
                rank=arguments.rank,
                fit=arguments.fit,
                prices=prices_of(arguments),
                threads=arguments.threads or 1,
                on_progress=lambda done, points: progress.tell(lambda: f"planning: {done} of {count(points, 'point')}"),
            )
        except ValueError as error:
            if hasattr(error, "problems"):
                raise
            arguments.parser.error(f"argument --vary: {error}")
    if arguments.vary_plot:
        answer.plot(arguments.vary_plot)
    rows = variation_as_rows(answer)
    if arguments.format == "json":
        write_json({"what": answer.what, "history": known, "points": rows})
    elif arguments.format == "jsonl":
        write_lines(rows)
    elif arguments.format == "csv":
        write_csv(rows)
    else:
        print_variation(job.name, answer, len(graph), columns_of(arguments), str(known or ""))
    if arguments.vary_plot:
        out = sys.stdout if arguments.format == "human" else sys.stderr
        print(f"wrote {show_name(arguments.vary_plot)}", file=out)
    return TASK_FAILED if all(point.makespan is None for point in answer.points) else COMPLETED


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
    if arguments.spread is None:
        return Answer({}, lambda: None)
    began = time.perf_counter()
    risk = plan.risk(
        spread=arguments.spread,
        samples=arguments.samples or SAMPLES,
        seed=arguments.seed or 0,
        threads=arguments.threads or 1,
        on_progress=lambda done, samples: progress.tell(lambda: f"playing: {done:,} of {count(samples, 'sample')}"),
    )
    took = time.perf_counter() - began

    def show() -> None:
        print_risk(risk, arguments.deadline, columns_of(arguments))
        print(f"\nplayed in {show_seconds(took)}")

    return Answer({"risk": risk_as_json(risk, arguments.deadline)}, show)
