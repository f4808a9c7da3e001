"""The command line: reads files, picks workers, reports. The only room that wires concrete things together.

Exit codes: 0 all completed, 1 some task failed, 2 invalid input, 70 a bug of ours (with a traceback), 74 the journal
could not be kept, 75 out of time, 130 interrupted, 141 whoever read the output has gone. Only what a user can do wrong
is 2; an error that nobody foresaw is not.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import shlex
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from . import shapes
from ._version import __version__
from .budget import add_search, read_budget, search_first
from .engines.levels import CONTAINMENTS
from .engines.local import OUTPUT_CAP_MB, this_machine
from .errors import (
    FastschedError,
    FormatError,
    InternalError,
    JournalDamaged,
    JournalError,
    MissingExtraError,
    RunInterrupted,
    ValidationError,
)
from .events import Event
from .formats import Job, load, load_workers
from .graph import CompiledGraph, WorkerTable, read_both
from .guide import Guide
from .lookback import add_history, look_back, put_in, source_of
from .model import TaskStatus, Worker
from .names import show_name
from .optimize import Optimize
from .pictures.options import add_pictures, check_pictures, write_pictures
from .planner import TaskGraph, schedule
from .policy import Policy
from .portfolio import AUTO, FITS, MIRRORED, check_rank
from .progress import PlanProgress, count, short_warnings, show_progress
from .ranks import RANKS
from .report import event_as_json, plan_as_json, print_plan, report_run, write_json, write_lines
from .runtime.folder import RUNS, find_run, new_run_dir
from .runtime.loop import Rhythm
from .runtime.run import play
from .runtime.session import MAX_MB, MAX_SECONDS, MAX_SHARE, REPLAN, Session, Settings, compile_both
from .saved import load_plan, save_plan
from .slurm import MARGIN_S, sbatch_script
from .units import read_megabytes, read_seconds
from .verbs import ENGINE_HELP, RUN_HELP, add_format, add_verbs, engine, past_run
from .whatif import add_comparing, add_plan_questions, add_sizing, answer_questions, do_vary, join_tries, write_csv

__all__ = ["main"]

COMPLETED, TASK_FAILED, BAD_INPUT, OUR_BUG, DISK_FAILED, OUT_OF_TIME, INTERRUPTED, CLOSED_PIPE = (
    0, 1, 2, 70, 74, 75, 130, 141,
)  # fmt: skip
NOT_VARIED = ("optimize", "schedules", "target_gap", "plan", "save", "html", "trace", "plot")
AS_BEFORE = object()  # what a retry does after failures, where it is not told
INHERITED = ("engine", "lease", "grace", "containment", "output_cap", "replan")  # by a run that is taken up


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments, do it, answer the exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", "") != "backslashreplace" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character is no reason to stop
    try:
        try:
            return carry_out(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has gone; say nothing more to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE


def carry_out(argv: Sequence[str] | None) -> int:
    """What `main` does, where somebody reads what it prints."""
    arguments, unknown = build_parser().parse_known_args(join_tries(sys.argv[1:] if argv is None else argv))
    if unknown:
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        code: int = arguments.do(arguments)
        return code
    except RunInterrupted:
        return INTERRUPTED
    except KeyboardInterrupt:
        print("fastsched: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except FormatError as error:
        print(f"fastsched: {error}", file=sys.stderr)
    except (ValidationError, MissingExtraError) as error:
        workers = f" with the workers of {arguments.workers}" if getattr(arguments, "workers", None) else ""
        print(f"fastsched: {getattr(arguments, 'file', arguments.parser.prog)}{workers}: {error}", file=sys.stderr)
    except FastschedError as error:
        if isinstance(error, InternalError):
            return say_it_is_our_bug()
        hint = "; --accept-damage goes on with what is whole" if isinstance(error, JournalDamaged) else ""
        print(f"fastsched: {error}{hint}", file=sys.stderr)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"fastsched: {what}", file=sys.stderr)
    except Exception:
        return say_it_is_our_bug()
    return BAD_INPUT


def say_it_is_our_bug() -> int:
    """The exception that is being handled is nothing that a user can do wrong."""
    traceback.print_exc()
    print("fastsched: this is a bug in fastsched, please report it", file=sys.stderr)
    return OUR_BUG


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(
        prog="fastsched",
        description="Plan and run graphs of commands.",
        epilog="exit codes: 0 all completed, 1 some task failed, 2 invalid input, 70 a bug of ours, 74 the "
        "journal could not be kept, 75 out of time, 130 interrupted, 141 the reader of the output has gone",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastsched {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    plan = commands.add_parser(
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
    plan.add_argument("--save", metavar="PLAN", help="keep the plan in this file, for `fastsched run --plan`")
    plan.add_argument("--width", type=positive, help="columns of the chart (default: the terminal's)")
    add_pictures(plan, "plan")
    add_search(plan)
    add_plan_questions(plan)

    execute = commands.add_parser(
        "run",
        usage="fastsched run FILE [options]",
        help="run the commands, on this machine or on a cluster",
        description="Run the commands of a job file in the current directory: on this machine, or where --engine says.",
        allow_abbrev=False,
    )
    execute.set_defaults(do=do_run, parser=execute)
    add_common(execute)
    add_following(execute, "20%%")
    execute.add_argument("-n", "--dry-run", action="store_true", help="only plan, as `fastsched plan` does")
    add_search(execute, is_run=True)
    add_running(execute)
    folder = execute.add_mutually_exclusive_group()
    folder.add_argument(
        "--run-dir",
        metavar="DIR",
        help="where outputs and journal go, a folder without those of another run (default: a new one in "
        ".fastsched/runs)",
    )
    execute.add_argument("--no-journal", action="store_true", help="keep no journal; the run cannot be resumed")
    execute.add_argument("-C", "--cwd", metavar="DIR", help="working directory of the commands (default: this one)")
    execute.set_defaults(width=None, html=None, trace=None, plot=None, save=None)

    resume = commands.add_parser(
        "resume",
        usage="fastsched resume [RUN] [options]",
        help="take a run up again that was interrupted, or whose scheduler crashed",
        description="Go on with a run: what completed is not run again; what ran when it ended is.",
        allow_abbrev=False,
    )
    resume.set_defaults(do=do_resume, parser=resume)
    add_format(resume)
    resume.add_argument("run", nargs="?", metavar="RUN", help=RUN_HELP)
    resume.add_argument(
        "--accept-damage",
        action="store_true",
        help="go on with what is whole of a damaged journal; the rest is kept aside in its folder",
    )
    add_following(resume, "that of the run")
    add_watching(resume, "that of the run")
    resume.set_defaults(engine=None, lease=None, grace=None, containment=None, output_cap=None)

    retry = commands.add_parser(
        "retry",
        usage="fastsched retry --failed [RUN] [options]",
        help="run the tasks of a run again that failed, and those that depend on them",
        description="Make a new run of what failed in an earlier one; what completed there is taken for done.",
        allow_abbrev=False,
    )
    retry.set_defaults(do=do_retry, parser=retry, dry_run=False, no_journal=False, run_dir=None)
    add_format(retry)
    retry.add_argument("run", nargs="?", metavar="RUN", help=RUN_HELP)
    add_following(retry, "that of the run")
    retry.add_argument("--failed", action="store_true", required=True, help="those that failed, or did not start")
    add_running(retry, "that of the run")
    retry.add_argument("--accept-damage", action="store_true", help="though the journal of that run is damaged")
    retry.set_defaults(max_retries=None, max_fails=AS_BEFORE)
    retry.set_defaults(engine=None, lease=None, grace=None, containment=None, output_cap=None)
    add_verbs(commands)
    add_sizing(commands)
    add_comparing(commands, read_shape)
    add_slurm(commands)
    return parser


def add_slurm(commands: Any) -> None:
    """The parser of slurm-script."""
    slurm: argparse.ArgumentParser = commands.add_parser(
        "slurm-script",
        usage="fastsched slurm-script FILE --time D [options] | sbatch",
        help="print a script for sbatch that runs a job file on an allocation",
        description="Print a script for sbatch: a Dask worker on every node of the allocation, and the run on them. "
        "What does not fit into the time is not begun; submitted again, the script goes on with it.",
        allow_abbrev=False,
    )
    slurm.set_defaults(do=do_slurm_script, parser=slurm)
    slurm.add_argument("file", metavar="FILE", help="job file (.json, .toml)")
    slurm.add_argument("--nodes", type=positive, default=1, metavar="N", help="(default: %(default)s)")
    slurm.add_argument(
        "--time", type=positive_duration, required=True, metavar="D", help="of the allocation, such as 4h"
    )
    slurm.add_argument("--cpus", type=positive, metavar="N", help="of each node (default: all, and nobody else there)")
    slurm.add_argument("--mem", type=size, metavar="SIZE", help="of each node, such as 64G (default: all)")
    slurm.add_argument("--partition", metavar="NAME")
    slurm.add_argument("--account", metavar="NAME")
    slurm.add_argument(
        "--run-dir", metavar="DIR", help="where outputs and journal go (default: slurm-NAME in .fastsched/runs)"
    )
    slurm.add_argument("--python", default=sys.executable, metavar="PATH", help="on the nodes (default: %(default)s)")
    slurm.add_argument(
        "--run-options",
        type=shlex.split,
        default=[],
        metavar="WORDS",
        help="for `fastsched run`, such as '--retries 5'",
    )


def add_running(parser: argparse.ArgumentParser, default: str = "") -> None:
    """The options that say how commands are run; `default`: what their defaults are, where they are not fixed."""
    parser.add_argument("-j", dest="jobs", type=positive, metavar="N", help="one worker, with N cores of this machine")
    parser.add_argument(
        "--retries",
        dest="max_retries",
        type=whole,
        default=3,
        metavar="N",
        help=f"failures a task survives, where it does not say so itself (default: {default or 3})",
    )
    parser.add_argument(
        "--on-oom",
        type=factor,
        metavar="FACTOR",
        help="what is asked for after out-of-memory: 2x is twice the memory, at most what the largest worker has; that "
        f"is tried 3 times, which --retries does not count (default: {default or '1x'})",
    )
    parser.add_argument(
        "--timeout", type=positive_duration, metavar="D", help="what an attempt may take, such as 90s or 1h30m"
    )
    ending = parser.add_mutually_exclusive_group()
    ending.add_argument(
        "-k",
        "--keep-going",
        dest="max_fails",
        action="store_const",
        const=None,
        help=f"after failures too{'' if default else ' (default)'}",
    )
    ending.add_argument(
        "--fail-fast", dest="max_fails", action="store_const", const=1, help="start nothing more after a failure"
    )
    ending.add_argument("--max-fails", type=positive, metavar="N", help="start nothing more after N failures")
    add_watching(parser, default)


def add_plan_file(parser: argparse.ArgumentParser, says: str) -> None:
    """The option that names a plan."""
    parser.add_argument("--plan", metavar="PLAN", help=f"{says} (a file of `fastsched plan --save`)")


def add_following(parser: argparse.ArgumentParser, default: str) -> None:
    """The options of whoever has a plan followed; `default`: how far it may be behind."""
    add_plan_file(parser, "follow this plan: its order, and its workers while they have room")
    parser.add_argument(
        "--replan",
        type=share,
        metavar="SHARE",
        help="plan the rest anew when all is going to be over later than planned by more than this share of the time "
        f"that the plan takes, such as 10%%, or never (default: {default})",
    )


def share(text: str) -> float:
    """A share, such as 20%; infinite for never."""
    if text == "never":
        return math.inf
    match = re.fullmatch(r"(\d{1,5}(?:\.\d{1,9})?)(%?)", text, re.ASCII)
    number = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < number <= MAX_SHARE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 20% or 0.2, nor never")
    return number


def replan_of(arguments: argparse.Namespace, default: float | None) -> float | None:
    """By how much a run may be behind its plan; None: by any time."""
    if arguments.replan is None:
        return default
    return None if math.isinf(arguments.replan) else arguments.replan


def add_watching(parser: argparse.ArgumentParser, default: str = "") -> None:
    """The options of whoever watches a run."""
    parser.add_argument(
        "--engine",
        type=engine,
        default="local",
        metavar="ENGINE",
        help=f"{ENGINE_HELP} (default: {default or 'local'})",
    )
    parser.add_argument(
        "--lease",
        type=positive_duration,
        default=10.0,
        metavar="D",
        help=f"a worker that is silent for longer is lost (default: {default or '10s'})",
    )
    parser.add_argument(
        "--grace",
        type=duration,
        default=5.0,
        metavar="D",
        help=f"time between asking commands to end and killing them (default: {default or '5s'})",
    )
    parser.add_argument(
        "--walltime",
        type=positive_duration,
        metavar="D",
        help="time that there is: nothing is started that is not expected to end in it; resume goes on with the rest",
    )
    parser.add_argument(
        "--containment",
        choices=CONTAINMENTS,
        default="auto",
        help="how the processes of a command are held together; `fastsched doctor` says what there is "
        f"(default: {default or 'auto'})",
    )
    parser.add_argument(
        "--output-cap",
        type=size,
        default=OUTPUT_CAP_MB,
        metavar="SIZE",
        help="what is kept of the stdout and of the stderr of an attempt at most "
        f"(default: {default or f'{OUTPUT_CAP_MB}M'})",
    )
    parser.add_argument(
        "--notify",
        metavar="COMMAND",
        help="for the shell, when tasks have failed for good and at the end, with FASTSCHED_EVENT (failed, ended), "
        "FASTSCHED_FAILURES, FASTSCHED_TASK_ID, FASTSCHED_REASON and FASTSCHED_TASK_IDS, a line each",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only the summary")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line on stderr for every start and end")


def add_common(parser: argparse.ArgumentParser, *forms: str) -> None:
    """The options that planning and running share; `forms`: in which the answer can be had besides the usual ones."""
    parser.add_argument(
        "file", metavar="FILE", help="job file (.json, .toml), WfCommons instance (.json) or project (.sm, .rcp)"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--workers", metavar="FILE", help="workers from this file instead of the job file's")
    instead.add_argument(
        "-w",
        dest="shapes",
        metavar="[N:]CORESxMEMORY",
        action="extend",
        nargs="+",
        type=read_shape,
        help="workers by shape, e.g. 4x16G (4 cores, 16 GB), 10:8x64G (ten of them), 8x64G,gpu=2",
    )
    add_choices(parser)
    add_history(parser)
    add_format(parser, *forms)


def add_choices(parser: argparse.ArgumentParser) -> None:
    """The options that say how is chosen."""
    parser.add_argument(
        "--rank",
        type=rank,
        default="critical-path",
        metavar="RANK",
        help=f"who goes first: {', '.join(RANKS)}; {AUTO}: the best of a few pairs of rank and fit; to plan only, "
        f"{MIRRORED}, or one of them with +justified behind it (default: %(default)s)",
    )
    parser.add_argument(
        "--fit",
        choices=(*FITS, AUTO),
        default="most-free",
        metavar="FIT",
        help=f"which worker takes it: {', '.join(FITS)}; {AUTO}: the best of these (default: %(default)s)",
    )


def rank(text: str) -> str:
    """The name of a rank."""
    try:
        check_rank(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def whole(text: str, least: int = 0) -> int:
    """A whole number, not below the least."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number between {least} and 999,999,999")
    return int(text)


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    return whole(text, 1)


def duration(text: str) -> float:
    """Seconds, of a duration with its unit."""
    try:
        return read_seconds(text, MAX_SECONDS)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive_duration(text: str) -> float:
    """A duration of a millisecond or more."""
    number = duration(text)
    if number < 0.001:
        raise argparse.ArgumentTypeError(f"{text!r} is too short; at least 1ms is wanted")
    return number


def factor(text: str) -> str:
    """How many times as much, such as 2x."""
    try:
        return Policy(on_oom=text).on_oom
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).partition("; ")[2]) from None


def size(text: str) -> int:
    """Whole MB, of a size with its unit."""
    try:
        megabytes = read_megabytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 1 <= megabytes <= MAX_MB:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1M and {MAX_MB >> 20:,}T")
    return int(megabytes)


def read_shape(text: str) -> tuple[int, Worker]:
    """`[N:]CORESxMEMORY[,NAME=AMOUNT...]` as how many of which worker."""
    try:
        return shapes.read_shape(text)
    except ValueError as error:
        hint = "" if shapes.SHAPE.fullmatch(text) else " (FILE goes before -w)"
        raise argparse.ArgumentTypeError(f"{error}{hint}") from None


def pick_workers(arguments: argparse.Namespace, job: Job) -> Sequence[Worker | Mapping[str, Any]] | None:
    """The workers that the options name, else the job file's; None: those that there are.

    A cluster's are what there really is; those of a job file may be planned with.
    """
    if getattr(arguments, "jobs", None):
        if arguments.workers or arguments.shapes:
            arguments.parser.error("argument -j: -j names the workers, and so do --workers and -w; give one of them")
        only_here(arguments)
        return [msgspec.structs.replace(this_machine(), cpu_cores_available=arguments.jobs)]
    if arguments.workers:
        return load_workers(arguments.workers)
    if arguments.shapes:
        if sum(times for times, _ in arguments.shapes) > shapes.MOST_WORKERS:
            arguments.parser.error(f"argument -w: at most {shapes.MOST_WORKERS:,} workers can be asked for")
        workers = [worker for times, worker in arguments.shapes for _ in range(times)]
        return [msgspec.structs.replace(worker, worker_id=f"w{i}") for i, worker in enumerate(workers)]
    return job.workers if getattr(arguments, "engine", "local") == "local" else None


def only_here(arguments: argparse.Namespace) -> None:
    """-j is about this machine."""
    if arguments.engine != "local":
        arguments.parser.error("argument -j: it is about this machine; for a cluster, -w or --workers name workers")


# ---------------------------------------------------------------- plan


def do_plan(arguments: argparse.Namespace) -> int:
    """`fastsched plan`: read, plan, print."""
    check_pictures(arguments, arguments.file, arguments.workers)
    if arguments.save and os.path.exists(arguments.save) and os.path.samefile(arguments.save, arguments.file):
        arguments.parser.error(f"argument --save: {arguments.save} is the job file itself; name another one")
    if getattr(arguments, "vary", None):
        for name in NOT_VARIED:
            if getattr(arguments, name) is not None:
                arguments.parser.error(f"argument --vary: it makes many plans; leave out --{name.replace('_', '-')}")
        job = load(arguments.file)
        picked = pick_workers(arguments, job)
        workers = [this_machine()] if picked is None else picked
        graph, _ = put_in(*read_both(TaskGraph, job.tasks, workers), look_back(arguments, job))
        return do_vary(arguments, job.name, graph, workers)
    began = time.perf_counter()
    with short_warnings(), PlanProgress() as progress:
        progress.say(f"reading {show_name(arguments.file)}")
        job = load(arguments.file)
        picked = pick_workers(arguments, job)
        history = look_back(arguments, job)
        workers = [this_machine()] if picked is None else picked
        loaded = time.perf_counter()
        progress.say(f"reading {count(len(job.tasks), 'task')}")
        graph, known = put_in(*read_both(TaskGraph, job.tasks, workers), history)
        given = load_plan(arguments.plan) if arguments.plan else None
        budget = read_budget(arguments, progress)
        plan = schedule(
            graph,
            workers,
            rank=arguments.rank,
            fit=arguments.fit,
            plan=given,
            on_progress=progress,
            optimize=budget,
        )
        planned = time.perf_counter()
        answer = answer_questions(arguments, plan, progress)
    if arguments.save:
        save_plan(plan, arguments.save)
    if arguments.format in ("json", "jsonl"):
        summary = plan_as_json(plan) | {"history": known} | answer.data
        write_json(summary) if arguments.format == "json" else write_lines([summary, *summary.pop("placements")])
    elif arguments.format == "csv":
        write_csv([placement._asdict() for placement in plan.placements])
    else:
        print_plan(job.name, plan, loaded - began, planned - loaded, arguments.width, str(known or ""))
        answer.show()
    write_pictures(arguments, plan, job.name)
    return COMPLETED if plan.all_completed else TASK_FAILED


# ---------------------------------------------------------------- slurm-script


def do_slurm_script(arguments: argparse.Namespace) -> int:
    """`fastsched slurm-script`: read the job file, so that what is wrong with it is said before it waits in a queue."""
    if arguments.time <= MARGIN_S:
        arguments.parser.error(f"argument --time: the last {MARGIN_S} s are for ending in good order; ask for more")
    job = load(arguments.file)
    compile_both(job.tasks, None)
    name = re.sub(r"[^\w.-]+", "-", job.name or os.path.splitext(os.path.basename(arguments.file))[0])
    build_parser().parse_args(["run", arguments.file, *arguments.run_options])
    named = {"partition": arguments.partition, "account": arguments.account}
    print(
        sbatch_script(
            arguments.file,
            name=name,
            nodes=arguments.nodes,
            seconds=math.ceil(arguments.time),
            python=arguments.python,
            run_dir=arguments.run_dir or os.path.join(RUNS, f"slurm-{name}"),
            cpus=arguments.cpus,
            memory_mb=arguments.mem,
            directives=[f"--{what}={value}" for what, value in named.items() if value],
            options=arguments.run_options,
        ),
        end="",
    )
    return COMPLETED


# ---------------------------------------------------------------- run


def do_run(arguments: argparse.Namespace) -> int:
    """`fastsched run`: read, run with progress, sum up."""
    if arguments.dry_run:
        return do_plan(arguments)
    if arguments.rank not in (*RANKS, AUTO):
        arguments.parser.error(f"argument --rank: {arguments.rank} is made by planning, and is for plans alone")
    job = load(arguments.file)
    if job.recorded:
        raise FormatError(
            arguments.file,
            "this is the record of a workflow that ran elsewhere, or a benchmark; its commands and files are not here, "
            "so it can be planned (fastsched plan) and not run",
        )
    graph, table = compile_both(job.tasks, pick_workers(arguments, job))
    graph, known = put_in(graph, table, look_back(arguments, job))
    if known and not arguments.quiet:
        print(f"fastsched: {known}", file=sys.stderr)
    arguments.source = source_of(arguments.file)
    found, budget = search_first(arguments, graph, table)
    guide = load_plan(arguments.plan) if arguments.plan else found
    return run_graph(arguments, job.name, graph, table, arguments.cwd, Policy(), guide, budget)


def run_graph(
    arguments: argparse.Namespace,
    name: str,
    graph: CompiledGraph,
    table: WorkerTable | None,
    cwd: str | None,
    policy: Policy,
    guide: Guide | None,
    budget: Optimize | None = None,
) -> int:
    """Run tasks that have been read."""
    if arguments.run_dir is not None and os.path.exists(arguments.run_dir) and not os.path.isdir(arguments.run_dir):
        arguments.parser.error(f"argument --run-dir: {arguments.run_dir} is not a folder")
    folder = arguments.run_dir if arguments.run_dir is not None or not len(graph) else new_run_dir()
    settings = Settings(
        engine=arguments.engine,
        journal=None if arguments.no_journal or not len(graph) else folder,
        run_dir=folder,
        max_retries=arguments.max_retries,
        rank=arguments.rank,
        fit=arguments.fit,
        policy=replace(policy, on_oom=arguments.on_oom or policy.on_oom),
        cwd=cwd,
        rhythm=rhythm_of(arguments),
        timeout=arguments.timeout,
        walltime=arguments.walltime,
        max_fails=arguments.max_fails,
        name=name,
        source=arguments.source,
        containment=arguments.containment,
        output_cap_mb=arguments.output_cap,
        plan=guide,
        optimize=budget,
        replan=replan_of(arguments, REPLAN),
    )
    return watch(arguments, Session(settings, graph, table, settled=True, fresh=True))


def do_resume(arguments: argparse.Namespace) -> int:
    """`fastsched resume`: go on with a run."""
    folder = find_run(arguments.run)
    settings = Settings(
        engine=arguments.engine or "local",
        journal=folder,
        rhythm=rhythm_of(arguments),
        walltime=arguments.walltime,
        accept_damage=arguments.accept_damage,
        containment=arguments.containment or "auto",
        output_cap_mb=arguments.output_cap or OUTPUT_CAP_MB,
        plan=load_plan(arguments.plan) if arguments.plan else None,
        replan=replan_of(arguments, REPLAN),
        inherited=[name for name in INHERITED if getattr(arguments, name) is None],
    )
    session = Session(settings, CompiledGraph([]), None, settled=True, fresh=False)
    code = watch(arguments, session)
    if session.was_over:
        hint = "; fastsched retry --failed runs again what failed" if code == TASK_FAILED else ""
        print(f"every task of {folder} had ended before; nothing was left to resume{hint}", file=sys.stderr)
    return code


def do_retry(arguments: argparse.Namespace) -> int:
    """`fastsched retry --failed`: a new run of what failed in another."""
    past = past_run(find_run(arguments.run))
    if past.damage and not arguments.accept_damage:
        raise JournalDamaged(str(past.folder), past.damage.n_good, past.damage.n_lost, str(past.damage))
    statuses = past.ledger.state.statuses()
    wanted = {task_id for task_id, status in statuses.items() if status is not TaskStatus.COMPLETED}
    tasks = [
        msgspec.structs.replace(
            task,
            dependencies=[name for name in task.dependencies if name in wanted],
            status=TaskStatus.PENDING,
        )
        for task in past.ledger.state.tasks
        if task.task_id in wanted
    ]
    if not tasks:
        print(f"{past.folder}: every task completed; there is nothing to retry")
        return COMPLETED
    opened = past.opened
    before = {
        "max_retries": opened.max_retries,
        "timeout": opened.timeout_s,
        "engine": opened.engine or "local",
        "lease": opened.lease_s,
        "grace": opened.grace_s,
        "containment": opened.containment,
        "output_cap": opened.output_cap_mb,
        "rank": opened.rank,
        "fit": opened.fit,
        "replan": math.inf if opened.replan is None else opened.replan,
    }
    for what, value in before.items():
        if getattr(arguments, what, None) is None:
            setattr(arguments, what, value)
    arguments.source = opened.source
    if arguments.max_fails is AS_BEFORE:
        arguments.max_fails = opened.max_fails
    workers: Sequence[Worker] | None = None if opened.offered or arguments.engine != opened.engine else opened.workers
    if arguments.jobs:
        only_here(arguments)
        workers = [msgspec.structs.replace(this_machine(), cpu_cores_available=arguments.jobs)]
    graph, table = compile_both(tasks, workers)
    if not arguments.quiet:
        print(f"running {count(len(tasks), 'task')} of {past.folder} again, as a new run", file=sys.stderr)
    guide = load_plan(arguments.plan) if arguments.plan else past.ledger.state.guide()
    if guide is not None:
        guide.check(statuses, "the tasks of that run")
        guide = guide.only(wanted)
    return run_graph(arguments, opened.name, graph, table, opened.cwd, opened.policy, guide)


def rhythm_of(arguments: argparse.Namespace) -> Rhythm:
    """How often signs of life are given, and how long is waited for them."""
    usual = Rhythm()
    lease = usual.lease_s if arguments.lease is None else arguments.lease
    return Rhythm(min(1.0, lease / 4), lease, usual.grace_s if arguments.grace is None else arguments.grace)


def watch(arguments: argparse.Namespace, session: Session) -> int:
    """Run a session with progress, and sum up."""
    if arguments.verbose:
        logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(levelname)s %(message)s")
    began = time.perf_counter()
    form = arguments.format
    watched = show_progress(session, quiet=arguments.quiet, verbose=arguments.verbose)
    try:
        with short_warnings(), watched as progress:

            def tell(event: Event) -> None:
                if form == "jsonl":
                    write_lines([event_as_json(event)])
                progress(event)

            result = play(session, tell, arguments.notify)
    except RunInterrupted as interruption:
        report_run(interruption.run, session.messages, time.perf_counter() - began, form, session.levels)
        if session.journal is not None and form == "human":
            print(f"fastsched resume {interruption.run.run_dir} goes on with it")
        raise
    except JournalError as error:
        if session.loop is None:
            raise  # it could not even begin
        print(f"fastsched: {error}; fastsched resume {session.folder} goes on with what was kept", file=sys.stderr)
        return DISK_FAILED
    report_run(result, session.messages, time.perf_counter() - began, form, session.levels)
    if result.interrupted:
        if form == "human":
            print(f"{count(len(result.unfinished), 'task')} would not have ended in the walltime", end="")
            print(f"; fastsched resume {result.run_dir} goes on with it" if session.journal is not None else "")
        return OUT_OF_TIME
    return COMPLETED if result.all_completed else TASK_FAILED
