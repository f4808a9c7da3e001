"""The command line: reads files, picks workers, reports. The only room that wires concrete things together.

Exit codes: 0 all completed, 1 some task failed, 2 invalid input, 70 a bug of ours (with a traceback), 74 the journal
could not be kept, 75 out of time, 130 interrupted, 141 whoever read the output has gone. Only what a user can do wrong
is 2; an error that nobody foresaw is not.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from . import asked
from ._version import __version__
from .errors import (
    FastschedError,
    FormatError,
    InternalError,
    JournalDamaged,
    MissingExtraError,
    RunInterrupted,
    ValidationError,
)
from .formats import load
from .planning import add_planning
from .running import add_running
from .runtime.folder import RUNS
from .runtime.session import compile_both
from .slurm import MARGIN_S, sbatch_script
from .verbs import add_verbs
from .whatif import add_comparing, add_sizing, join_tries

__all__ = ["main"]

COMPLETED, BAD_INPUT, OUR_BUG, INTERRUPTED, CLOSED_PIPE = 0, 2, 70, 130, 141


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

    add_planning(commands)
    add_running(commands)
    add_verbs(commands)
    add_sizing(commands)
    add_comparing(commands)
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
    slurm.add_argument("--nodes", type=asked.positive, default=1, metavar="N", help="(default: %(default)s)")
    slurm.add_argument(
        "--time", type=asked.positive_duration, required=True, metavar="D", help="of the allocation, such as 4h"
    )
    slurm.add_argument(
        "--cpus", type=asked.positive, metavar="N", help="of each node (default: all, and nobody else there)"
    )
    slurm.add_argument("--mem", type=asked.size, metavar="SIZE", help="of each node, such as 64G (default: all)")
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
