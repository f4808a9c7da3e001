"""The command line: reads files, picks workers, reports. The only room that wires concrete things together.

Exit codes: 0 all completed, 1 some task failed, 2 invalid input, 70 a bug of ours (with a traceback), 130 interrupted,
141 whoever read the output has gone. Only what a user can do wrong is 2; an error that nobody foresaw is not.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from .engines.local import this_machine
from .errors import FormatError, MissingExtraError, RunInterrupted, UnsatisfiableWarning, ValidationError
from .formats import Job, load, load_workers
from .model import Worker
from .names import show_name
from .planner import FITS, schedule
from .progress import CLEAR_LINE, PlanProgress, count, show_progress
from .ranks import RANKS
from .report import plan_as_json, print_plan, report_run, write_json
from .runtime.scheduler import MAX_SECONDS, run

__all__ = ["main"]

COMPLETED, TASK_FAILED, BAD_INPUT, OUR_BUG, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 70, 130, 141
SHAPE = re.compile(
    r"(?:(\d{1,9}):)?(\d{1,9}(?:\.\d+)?)x(\d{1,12}(?:\.\d+)?)([KMGT]?)B?((?:,\w+=\d{1,12})*)", re.IGNORECASE | re.ASCII
)
UNITS_MB = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
MOST_WORKERS = 100_000  # that shapes can ask for


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments, do it, answer the exit code."""
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
    arguments, unknown = build_parser().parse_known_args(argv)
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
        workers = f" with the workers of {arguments.workers}" if arguments.workers else ""
        print(f"fastsched: {arguments.file}{workers}: {error}", file=sys.stderr)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"fastsched: {what}", file=sys.stderr)
    except Exception:
        traceback.print_exc()
        print("fastsched: this is a bug in fastsched, please report it", file=sys.stderr)
        return OUR_BUG
    return BAD_INPUT


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(
        prog="fastsched",
        description="Plan and run graphs of commands.",
        epilog="exit codes: 0 all completed, 1 some task failed, 2 invalid input, 70 a bug of ours, 130 interrupted, "
        "141 the reader of the output has gone",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastsched {version('fastsched')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    plan = commands.add_parser(
        "plan",
        usage="fastsched plan FILE [options]",
        help="say what would run where and when; nothing is executed",
        description="Plan a job file (JSON, TOML) or a WfCommons instance in virtual time. Nothing is executed.",
        allow_abbrev=False,
    )
    plan.set_defaults(do=do_plan, parser=plan)
    add_common(plan)
    plan.add_argument("--width", type=positive, help="columns of the chart (default: the terminal's)")

    execute = commands.add_parser(
        "run",
        usage="fastsched run FILE [options]",
        help="run the commands on this machine",
        description="Run the commands of a job file on this machine, in the current directory.",
        allow_abbrev=False,
    )
    execute.set_defaults(do=do_run, parser=execute)
    add_common(execute)
    execute.add_argument(
        "--max-retries",
        type=whole,
        default=3,
        metavar="N",
        help="failures a task survives, where it does not say so itself (default: 3)",
    )
    execute.add_argument(
        "--run-dir",
        metavar="DIR",
        help="where outputs go, a folder without those of another run (default: a new one in .fastsched/runs)",
    )
    execute.add_argument("--cwd", metavar="DIR", help="working directory of the commands (default: the current one)")
    execute.add_argument(
        "--lease",
        type=positive_seconds,
        default=10.0,
        metavar="S",
        help="a worker that is silent for longer is lost (default: 10 s)",
    )
    execute.add_argument(
        "--grace",
        type=seconds,
        default=5.0,
        metavar="S",
        help="on Ctrl-C, time between asking commands to end and killing them (default: 5 s)",
    )
    execute.add_argument("-q", "--quiet", action="store_true", help="no progress, only the summary")
    execute.add_argument("-v", "--verbose", action="store_true", help="a line on stderr for every start and end")
    return parser


def add_common(parser: argparse.ArgumentParser) -> None:
    """The options that planning and running share."""
    parser.add_argument("file", metavar="FILE", help="job file (.json, .toml) or WfCommons instance (.json)")
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
    parser.add_argument(
        "--rank", choices=list(RANKS), default="critical-path", help="who goes first (default: %(default)s)"
    )
    parser.add_argument("--fit", choices=FITS, default="most-free", help="which worker takes it (default: %(default)s)")
    parser.add_argument("--format", choices=("human", "json"), default="human", help="(default: %(default)s)")


def whole(text: str, least: int = 0) -> int:
    """A whole number, not below the least."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number between {least} and 999,999,999")
    return int(text)


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    return whole(text, 1)


def seconds(text: str) -> float:
    """A number of seconds that a run can wait."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds between 0 and {MAX_SECONDS:,}")
    return number


def positive_seconds(text: str) -> float:
    """A number of seconds, more than none."""
    number = seconds(text)
    if number < 0.001:
        raise argparse.ArgumentTypeError(f"{text!r} is too short; at least 0.001 s is wanted")
    return number


def read_shape(text: str) -> tuple[int, Worker]:
    """`[N:]CORESxMEMORY[,NAME=AMOUNT...]` as how many of which worker."""
    match = SHAPE.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a shape such as 4x16G, 10:8x64G or 8x64G,gpu=2 (FILE goes before -w)"
        )
    times, cores, amount, unit, named = match.groups()
    if not unit:
        shape = f"{times + ':' if times else ''}{cores}x{amount}"
        raise argparse.ArgumentTypeError(f"{text!r} names no unit of memory: say {shape}G or {shape}M")
    if not 1 <= int(times or 1) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r}: between 1 and {MOST_WORKERS:,} workers can be asked for")
    memory = int(float(amount) * UNITS_MB[unit.upper()])
    if not float(cores) or not memory:
        what = "cores, such as 0.5x1G" if not float(cores) else "at least 1 MB of memory, such as 1x512M"
        raise argparse.ArgumentTypeError(f"{text!r}: a worker needs {what}")
    resources = {name: int(value) for name, value in (part.split("=") for part in named.split(",")[1:])}
    worker = Worker("w", float(cores), memory, resources=resources or None)
    for problem in worker.find_problems("w"):
        raise argparse.ArgumentTypeError(f"{text!r}: {problem.message}")
    return int(times or 1), worker


def pick_workers(arguments: argparse.Namespace, job: Job) -> Sequence[Worker | Mapping[str, Any]]:
    """The workers that the options name, else the job file's, else this machine."""
    if arguments.workers:
        return load_workers(arguments.workers)
    if arguments.shapes:
        if sum(times for times, _ in arguments.shapes) > MOST_WORKERS:
            arguments.parser.error(f"argument -w: at most {MOST_WORKERS:,} workers can be asked for")
        workers = [worker for times, worker in arguments.shapes for _ in range(times)]
        return [msgspec.structs.replace(worker, worker_id=f"w{i}") for i, worker in enumerate(workers)]
    return [this_machine()] if job.workers is None else job.workers


@contextlib.contextmanager
def short_warnings() -> Iterator[None]:
    """Warnings of ours as one line on stderr, without a line of our source."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UnsatisfiableWarning)
        begin = CLEAR_LINE if sys.stderr.isatty() else ""
        warnings.showwarning = lambda message, *_, **__: print(f"{begin}fastsched: warning: {message}", file=sys.stderr)
        yield


# ---------------------------------------------------------------- plan


def do_plan(arguments: argparse.Namespace) -> int:
    """`fastsched plan`: read, plan, print."""
    began = time.perf_counter()
    with short_warnings(), PlanProgress() as progress:
        progress.say(f"reading {show_name(arguments.file)}")
        job = load(arguments.file)
        workers = pick_workers(arguments, job)
        loaded = time.perf_counter()
        progress.say(f"reading {count(len(job.tasks), 'task')}")
        plan = schedule(job.tasks, workers, rank=arguments.rank, fit=arguments.fit, on_progress=progress)
    planned = time.perf_counter()
    if arguments.format == "json":
        write_json(plan_as_json(plan))
    else:
        print_plan(job.name, plan, loaded - began, planned - loaded, arguments.width)
    return COMPLETED if plan.all_completed else TASK_FAILED


# ---------------------------------------------------------------- run


def do_run(arguments: argparse.Namespace) -> int:
    """`fastsched run`: read, run with progress, sum up."""
    job = load(arguments.file)
    if job.recorded:
        raise FormatError(
            arguments.file,
            "this is the record of a workflow that ran elsewhere; its commands and files are not here, so it can be "
            "planned (fastsched plan) and not run",
        )
    if arguments.verbose:
        logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(levelname)s %(message)s")
    workers = pick_workers(arguments, job)
    began = time.perf_counter()
    watched = show_progress(job.name, len(job.tasks), arguments.grace, quiet=arguments.quiet, verbose=arguments.verbose)
    try:
        with short_warnings(), watched as progress:
            result = run(
                job.tasks,
                workers,
                max_retries=arguments.max_retries,
                rank=arguments.rank,
                fit=arguments.fit,
                on_event=progress,
                run_dir=arguments.run_dir,
                cwd=arguments.cwd,
                heartbeat=min(1.0, arguments.lease / 4),
                lease=arguments.lease,
                grace=arguments.grace,
            )
    except RunInterrupted as interruption:
        report_run(interruption.run, progress.messages, time.perf_counter() - began, arguments.format)
        raise
    report_run(result, progress.messages, time.perf_counter() - began, arguments.format)
    return COMPLETED if result.all_completed else TASK_FAILED
