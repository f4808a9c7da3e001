"""The command line: reads files, picks workers, prints. The only room that wires concrete things together.

Exit codes: 0 all completed, 1 some task failed, 2 invalid input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import os
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from .engines.local import this_machine
from .errors import FastschedError, FormatError, RunInterrupted, UnsatisfiableWarning
from .events import AttemptCompleted, AttemptFailed, AttemptStarted, Event, TaskFailed, WorkerLost
from .formats import Job, load, load_workers
from .gantt import draw, show_seconds
from .model import Reason, TaskStatus, Worker
from .plan import Run, Schedule
from .planner import FITS, schedule, show_amount
from .ranks import RANKS
from .runtime.scheduler import MAX_SECONDS, run

__all__ = ["main"]

COMPLETED, TASK_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
SHAPE = re.compile(r"(?:(\d+):)?(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)([KMGT]?)B?((?:,\w+=\d+)*)", re.IGNORECASE)
UNITS_MB = {"": 1, "K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
SHOWN_FAILURES = 10
SHOWN_LINES = 5
PLAIN_PROGRESS_S = 2.0
RESOURCE_WORDS = {"cpu_millicores": "cores", "memory_mb": "memory"}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments, do it, answer the exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        code: int = arguments.do(arguments)
        sys.stdout.flush()
        return code
    except RunInterrupted:
        return INTERRUPTED
    except KeyboardInterrupt:
        print("fastsched: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; say nothing more to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return TASK_FAILED
    except FormatError as error:
        print(f"fastsched: {error}", file=sys.stderr)
    except (FastschedError, ValueError) as error:
        print(f"fastsched: {arguments.file}: {error}", file=sys.stderr)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"fastsched: {what}", file=sys.stderr)
    return BAD_INPUT


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(
        prog="fastsched",
        description="Plan and run graphs of commands.",
        epilog="exit codes: 0 all completed, 1 some task failed, 2 invalid input, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"fastsched {version('fastsched')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    plan = commands.add_parser(
        "plan",
        usage="fastsched plan FILE [options]",
        help="say what would run where and when; nothing is executed",
        description="Plan a job file (JSON, TOML) or a WfCommons instance in virtual time. Nothing is executed.",
    )
    plan.set_defaults(do=do_plan)
    add_common(plan)
    plan.add_argument("--width", type=positive, help="columns of the chart (default: the terminal's)")

    execute = commands.add_parser(
        "run",
        usage="fastsched run FILE [options]",
        help="run the commands on this machine",
        description="Run the commands of a job file on this machine, in the current directory.",
    )
    execute.set_defaults(do=do_run)
    add_common(execute)
    execute.add_argument(
        "--max-retries",
        type=whole,
        default=3,
        metavar="N",
        help="failures a task survives, where it does not say so itself (default: 3)",
    )
    execute.add_argument("--run-dir", metavar="DIR", help="where outputs go (default: a new folder in .fastsched/runs)")
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
    parser.add_argument("--workers", metavar="FILE", help="workers from this file instead of the job file's")
    parser.add_argument(
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


def read_shape(text: str) -> tuple[int, float, int, dict[str, int]]:
    """`[N:]CORESxMEMORY[,NAME=AMOUNT...]` as (count, cores, MB, resources)."""
    match = SHAPE.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a shape such as 4x16G, 10:8x64G or 8x64G,gpu=2 (FILE goes before -w)"
        )
    count, cores, amount, unit, named = match.groups()
    resources = dict(part.split("=") for part in named.split(",")[1:])
    memory = int(float(amount) * UNITS_MB[unit.upper()])
    return int(count or 1), float(cores), memory, {name: int(value) for name, value in resources.items()}


def pick_workers(arguments: argparse.Namespace, job: Job) -> Sequence[Worker | Mapping[str, Any]]:
    """The workers that the options name, else the job file's, else this machine."""
    if arguments.shapes and arguments.workers:
        raise ValueError("--workers and -w exclude each other")
    if arguments.workers:
        return load_workers(arguments.workers)
    if arguments.shapes:
        shapes = [shape[1:] for shape in arguments.shapes for _ in range(shape[0])]
        return [Worker(f"w{i}", cores, mb, resources=named or None) for i, (cores, mb, named) in enumerate(shapes)]
    return [this_machine()] if job.workers is None else job.workers


@contextlib.contextmanager
def short_warnings() -> Iterator[None]:
    """Warnings of ours as one line on stderr, without a line of our source."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UnsatisfiableWarning)
        warnings.showwarning = lambda message, *_, **__: print(f"fastsched: warning: {message}", file=sys.stderr)
        yield


# ---------------------------------------------------------------- plan


def do_plan(arguments: argparse.Namespace) -> int:
    """`fastsched plan`: read, plan, print."""
    began = time.perf_counter()
    job = load(arguments.file)
    workers = pick_workers(arguments, job)
    loaded = time.perf_counter()
    with short_warnings():
        plan = schedule(job.tasks, workers, rank=arguments.rank, fit=arguments.fit)
    planned = time.perf_counter()
    if arguments.format == "json":
        write_json(plan_as_json(plan))
    else:
        print_plan(job, plan, loaded - began, planned - loaded, arguments.width)
    return COMPLETED if plan.all_completed else TASK_FAILED


def print_plan(job: Job, plan: Schedule, reading_s: float, planning_s: float, width: int | None) -> None:
    """What a person wants to know of a plan."""
    numbers = plan.plan
    capacity = numbers._capacity.sum(axis=0, dtype="int64").tolist()
    resources = numbers._graph.resources
    offered = ", ".join(show_amount(name, amount) for name, amount in zip(resources, capacity))
    print(f"{job.name}: {count(len(plan), 'task')} on {count(len(plan.worker_ids), 'worker')} ({offered})")
    print()
    rows = [
        (
            "makespan",
            f"{show_seconds(plan.makespan)}{'' if numbers._graph.has_durations else ' (every task counts 1 s)'}",
        )
    ]
    if plan.lower_bound:
        above = f"the plan is {plan.makespan / plan.lower_bound - 1:.1%} above it"
        word = RESOURCE_WORDS.get(plan.bound_by, plan.bound_by)
        rows.append(("lower bound", f"{show_seconds(plan.lower_bound)}, bound by {word}; {above}"))
        each = (f"{RESOURCE_WORDS.get(name, name)} {show_seconds(ns / 1e9)}" for name, ns in numbers.bounds_ns.items())
        rows.append(("", ", ".join(each)))
    held = numbers.utilisation * numbers._capacity
    shares = held.sum(axis=0) / [max(1, amount) for amount in capacity]
    used = (f"{RESOURCE_WORDS.get(name, name)} {share:.1%}" for name, share in zip(resources, shares))
    rows.append(("utilisation", ", ".join(used)))
    failed = sum(status is not TaskStatus.COMPLETED for status in plan.values())
    if failed:
        rows.append(("failed", f"{count(failed, 'task')} cannot run ({count_reasons(plan)})"))
    rows.append(("planned in", f"{show_seconds(planning_s)} (reading the file: {show_seconds(reading_s)})"))
    for name, text in rows:
        print(f"  {name:<12} {text}")
    chart = draw(plan, width or shutil.get_terminal_size((100, 24)).columns)
    if chart:
        print()
        print("\n".join(chart))


def plan_as_json(plan: Schedule) -> dict[str, Any]:
    """All of a plan, for a program."""
    return {
        "makespan": plan.makespan,
        "lower_bound": plan.lower_bound,
        "bound_by": plan.bound_by,
        "bounds": {name: ns / 1e9 for name, ns in plan.plan.bounds_ns.items()},
        "critical_path": plan.critical_path,
        "status": plan,
        "reasons": plan.reasons,
        "causes": plan.causes,
        "placements": [placement._asdict() for placement in plan.placements],
        "utilisation": plan.utilisation,
    }


def write_json(data: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n")


def count(amount: int, noun: str) -> str:
    """`1 task`, `1,976 tasks`."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def count_reasons(plan: Schedule | Run) -> str:
    """`3 EXIT, 12 DEPENDENCY`."""
    reasons = list(plan.reasons.values())
    return ", ".join(f"{reasons.count(reason):,} {reason}" for reason in Reason if reason in reasons)


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
    try:
        with short_warnings(), show_progress(job, arguments) as on_event:
            result = run(
                job.tasks,
                workers,
                max_retries=arguments.max_retries,
                rank=arguments.rank,
                fit=arguments.fit,
                on_event=on_event,
                run_dir=arguments.run_dir,
                cwd=arguments.cwd,
                heartbeat_s=min(1.0, arguments.lease / 4),
                lease_s=arguments.lease,
                grace_s=arguments.grace,
            )
    except RunInterrupted as interruption:
        report_run(interruption.run, time.perf_counter() - began, arguments.format)
        raise
    report_run(result, time.perf_counter() - began, arguments.format)
    return COMPLETED if result.all_completed else TASK_FAILED


def report_run(result: Run, seconds: float, form: str) -> None:
    """The summary of a run, as asked for."""
    if form == "json":
        write_json(
            {
                "seconds": seconds,
                "interrupted": result.interrupted,
                "status": result,
                "reasons": result.reasons,
                "causes": result.causes,
                "attempts": [attempt._asdict() for attempt in result.attempts],
                "run_dir": result.run_dir,
            }
        )
        return
    counts = {status: sum(value is status for value in result.values()) for status in TaskStatus}
    retried = len(result.attempts) - len(result.last_attempts)
    why = f" ({count_reasons(result)})" if result.reasons else ""
    head = "interrupted" if result.interrupted else "done"
    print(
        f"{head} in {show_seconds(seconds)}: {counts[TaskStatus.COMPLETED]:,} completed, "
        f"{counts[TaskStatus.FAILED]:,} failed{why}, {retried:,} retried"
    )
    own = [task_id for task_id, reason in result.reasons.items() if reason not in (Reason.DEPENDENCY, Reason.CANCELLED)]
    behind = dict.fromkeys(own, 0)
    for cause in result.causes.values():
        behind[cause] = behind.get(cause, 0) + 1
    for task_id in own[:SHOWN_FAILURES]:
        print_failure(result, task_id, behind[task_id])
    if len(own) > SHOWN_FAILURES:
        print(f"  ... and {len(own) - SHOWN_FAILURES:,} more")
    print(f"outputs: {result.run_dir}")


def print_failure(result: Run, task_id: str, behind: int) -> None:
    """Why a task failed for good, what fell with it, and its last words."""
    last = result.last_attempts.get(task_id)
    with_it = f"; {count(behind, 'dependent task')} failed with it" if behind else ""
    if last is None:
        print(f"  {task_id}: {result.reasons[task_id]}{with_it}")
        return
    print(f"  {task_id}: {last.message} on {last.worker_id}, attempt {last.attempt}{with_it}")
    lines, shown = last_lines(last.stderr), "stderr"
    if not lines:
        lines, shown = last_lines(last.stdout), "stdout"
    for line in lines:
        print(f"    {shown}: {line}")


def last_lines(path: str) -> list[str]:
    """The end of a file that may be large, or missing."""
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, os.path.getsize(path) - 4096))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-SHOWN_LINES:]


@contextlib.contextmanager
def show_progress(job: Job, arguments: argparse.Namespace) -> Iterator[Any]:
    """A bar where there is a terminal and `rich`; else a line now and then; and failures as they come."""
    if arguments.quiet or arguments.verbose:
        yield None
        return
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        yield PlainProgress(len(job.tasks))
        return
    if not sys.stderr.isatty():
        yield PlainProgress(len(job.tasks))
        return
    from rich.console import Console

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        row = bar.add_task(job.name, total=len(job.tasks), note="")

        def show(counts: Counts, line: str) -> None:
            if line:
                bar.print(line, markup=False, highlight=False)
            bar.update(row, completed=counts.ended, note=f"{counts.running} running, {counts.failed} failed")

        yield Counts(show)


class Counts:
    """Counts events, and hands the counts on with a line where one is worth it."""

    def __init__(self, show: Any) -> None:
        self.show = show
        self.ended = self.running = self.failed = 0

    def __call__(self, event: Event) -> None:
        line = ""
        if isinstance(event, AttemptStarted):
            self.running += 1
        elif isinstance(event, AttemptCompleted):
            self.running -= 1
            self.ended += 1
        elif isinstance(event, AttemptFailed):
            self.running -= 1
            if event.reason is not Reason.CANCELLED:
                onward = "retrying" if event.will_retry else "no retry left"
                line = f"{event.task_id}: {event.message} on {event.worker_id}, attempt {event.attempt}; {onward}"
        elif isinstance(event, TaskFailed):
            self.ended += 1
            self.failed += 1
            line = f"{event.task_id}: {event.message}" if event.reason is Reason.UNSATISFIABLE else ""
        elif isinstance(event, WorkerLost):
            line = f"worker {event.worker_id} is lost: {event.message}"
        self.show(self, line)


class PlainProgress(Counts):
    """Progress as plain lines on stderr: failures as they come, the counts now and then."""

    def __init__(self, total: int) -> None:
        super().__init__(self.print_line)
        self.total = total
        self.last = time.monotonic()

    def print_line(self, counts: Counts, line: str) -> None:
        """Print the line if there is one, and the counts if it is time."""
        if line:
            print(line, file=sys.stderr)
        if time.monotonic() - self.last >= PLAIN_PROGRESS_S:
            self.last = time.monotonic()
            print(
                f"{self.ended:,} of {self.total:,} ended, {self.running} running, {self.failed} failed", file=sys.stderr
            )
