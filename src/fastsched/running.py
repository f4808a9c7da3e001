"""`fastsched run`, `resume` and `retry`: commands are run, with progress, and summed up."""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from . import asked
from .budget import add_search, search_first
from .engines.levels import CONTAINMENTS
from .engines.local import OUTPUT_CAP_MB, this_machine
from .errors import FormatError, JournalDamaged, JournalError, RunInterrupted
from .events import Event
from .formats import Job, load
from .graph import CompiledGraph, WorkerTable
from .guide import Guide
from .lookback import look_back, put_in, source_of
from .model import TaskStatus, Worker
from .optimize import Optimize
from .options import add_format, named_workers, workers_for
from .planning import PLAIN, add_common, add_plan_file, do_plan, spell
from .policy import Policy
from .portfolio import AUTO
from .progress import count, short_warnings, show_progress
from .ranks import RANKS
from .report import event_as_json, report_run, write_lines
from .runtime.folder import find_run, new_run_dir
from .runtime.loop import Rhythm
from .runtime.run import play
from .runtime.session import REPLAN, Session, Settings, compile_both
from .saved import load_plan
from .verbs import ENGINE_HELP, RUN_HELP, engine, past_run

__all__ = ["add_running"]

COMPLETED, TASK_FAILED, DISK_FAILED, OUT_OF_TIME = 0, 1, 74, 75
AS_BEFORE = object()  # what a retry does after failures, where it is not told
INHERITED = ("engine", "lease", "grace", "containment", "output_cap", "replan")  # by a run that is taken up


def add_running(commands: Any) -> None:
    """The parsers of run, resume and retry."""
    add_run(commands)
    add_resume(commands)
    add_retry(commands)


def add_run(commands: Any) -> None:
    """The parser of run."""
    execute: argparse.ArgumentParser = commands.add_parser(
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
    add_conduct(execute)
    folder = execute.add_mutually_exclusive_group()
    folder.add_argument(
        "--run-dir",
        metavar="DIR",
        help="where outputs and journal go, a folder without those of another run (default: a new one in "
        ".fastsched/runs)",
    )
    execute.add_argument("--no-journal", action="store_true", help="keep no journal; the run cannot be resumed")
    execute.add_argument("-C", "--cwd", metavar="DIR", help="working directory of the commands (default: this one)")
    execute.set_defaults(**PLAIN)


def add_resume(commands: Any) -> None:
    """The parser of resume."""
    resume: argparse.ArgumentParser = commands.add_parser(
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


def add_retry(commands: Any) -> None:
    """The parser of retry."""
    retry: argparse.ArgumentParser = commands.add_parser(
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
    add_conduct(retry, "that of the run")
    retry.add_argument("--accept-damage", action="store_true", help="though the journal of that run is damaged")
    retry.set_defaults(max_retries=None, max_fails=AS_BEFORE)
    retry.set_defaults(engine=None, lease=None, grace=None, containment=None, output_cap=None)


def add_conduct(parser: argparse.ArgumentParser, default: str = "") -> None:
    """The options that say how commands are run; `default`: what their defaults are, where they are not fixed."""
    parser.add_argument(
        "-j", dest="jobs", type=asked.positive, metavar="N", help="one worker, with N cores of this machine"
    )
    parser.add_argument(
        "--retries",
        dest="max_retries",
        type=asked.whole,
        default=3,
        metavar="N",
        help=f"failures a task survives, where it does not say so itself (default: {default or 3})",
    )
    parser.add_argument(
        "--on-oom",
        type=asked.factor,
        metavar="FACTOR",
        help="what is asked for after out-of-memory: 2x is twice the memory, at most what the largest worker has; that "
        f"is tried 3 times, which --retries does not count (default: {default or '1x'})",
    )
    parser.add_argument(
        "--timeout", type=asked.positive_duration, metavar="D", help="what an attempt may take, such as 90s or 1h30m"
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
    ending.add_argument("--max-fails", type=asked.positive, metavar="N", help="start nothing more after N failures")
    add_watching(parser, default)


def add_following(parser: argparse.ArgumentParser, default: str) -> None:
    """The options of whoever has a plan followed; `default`: how far it may be behind."""
    add_plan_file(parser, "follow this plan: its order, and its workers while they have room")
    parser.add_argument(
        "--replan",
        type=asked.share_or_never,
        metavar="SHARE",
        help="plan the rest anew when all is going to be over later than planned by more than this share of the time "
        f"that the plan takes, such as 10%%, or never (default: {default})",
    )


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
        type=asked.positive_duration,
        default=10.0,
        metavar="D",
        help=f"a worker that is silent for longer is lost (default: {default or '10s'})",
    )
    parser.add_argument(
        "--grace",
        type=asked.duration,
        default=5.0,
        metavar="D",
        help=f"time between asking commands to end and killing them (default: {default or '5s'})",
    )
    parser.add_argument(
        "--walltime",
        type=asked.positive_duration,
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
        type=asked.size,
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


# ---------------------------------------------------------------- run


def do_run(arguments: argparse.Namespace) -> int:
    """`fastsched run`: read, run with progress, sum up."""
    check_options(arguments)
    if arguments.dry_run:
        return do_plan(arguments, workers_to_plan)
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
    graph, known = put_in(graph, table, look_back(arguments, job, arguments.file))
    if known and not arguments.quiet:
        print(f"fastsched: {known}", file=sys.stderr)
    arguments.source = source_of(arguments.file)
    found, budget = search_first(arguments, graph, table)
    guide = load_plan(arguments.plan) if arguments.plan else found
    return run_graph(arguments, job.name, graph, table, arguments.cwd, Policy(), guide, budget)


def check_options(arguments: argparse.Namespace) -> None:
    """End the program where options are of no use."""
    is_searched = arguments.optimize is not None or arguments.schedules is not None
    if arguments.replan is not None and arguments.plan is None and not is_searched:
        arguments.parser.error("argument --replan: it is about a plan that is followed; say --plan or --optimize too")
    for name in ("target_gap", "seed", "threads"):
        if getattr(arguments, name) is not None and not is_searched:
            arguments.parser.error(f"argument {spell(name)}: it is of a search; say --optimize or --schedules too")


def workers_to_plan(arguments: argparse.Namespace, job: Job) -> Sequence[Worker | Mapping[str, Any]]:
    """Those that a run would have, as far as that is known before it."""
    picked = pick_workers(arguments, job)
    return workers_for(arguments, job) if picked is None else picked


def pick_workers(arguments: argparse.Namespace, job: Job) -> Sequence[Worker | Mapping[str, Any]] | None:
    """The workers that the options name, else the job file's; None: those that there are.

    A cluster's are what there really is; those of a job file may be planned with.
    """
    if arguments.jobs:
        if arguments.workers or arguments.shapes:
            arguments.parser.error("argument -j: -j names the workers, and so do --workers and -w; give one of them")
        only_here(arguments)
        return [msgspec.structs.replace(this_machine(), cpu_cores_available=arguments.jobs)]
    named = named_workers(arguments)
    return job.workers if named is None and arguments.engine == "local" else named


def only_here(arguments: argparse.Namespace) -> None:
    """-j is about this machine."""
    if arguments.engine != "local":
        arguments.parser.error("argument -j: it is about this machine; for a cluster, -w or --workers name workers")


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
    if guide is not None and len(graph):
        guide.check(dict.fromkeys(graph.ids))
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


def replan_of(arguments: argparse.Namespace, default: float | None) -> float | None:
    """By how much a run may be behind its plan; None: by any time."""
    if arguments.replan is None:
        return default
    return None if math.isinf(arguments.replan) else arguments.replan


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
