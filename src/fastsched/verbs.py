"""The verbs of the command line that look at a run, or act on one that lives: status, logs, explain, cancel, workers,
report, doctor.

A run is reached through its folder: by the socket of its scheduler while it lives, by its journal after.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import platform
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .engines.local import OUTPUT_CAP_MB, local_levels, this_machine
from .engines.named import ENGINES, check_engine, make_engine
from .engines.remote import RemoteEngine
from .errors import FastschedError, JournalLocked, UnknownIdError
from .gantt import show_seconds
from .lookback import add_against, compare_run, compared_as_json, print_compared
from .model import TaskStatus
from .names import fit_width, show_capacity, show_name, width_of
from .options import add_format
from .pictures.options import add_pictures, check_files, tell_written, write_pictures
from .progress import count
from .report import report_run, write_json, write_lines
from .runtime.control import NotLiveError, ask_run
from .runtime.folder import find_run
from .runtime.journal import Journal
from .runtime.view import PastRun

__all__ = ["ENGINE_HELP", "RUN_HELP", "add", "add_verbs", "engine", "past_run"]

COMPLETED, TASK_FAILED = 0, 1
FOLLOW_S = 0.2  # between two looks at a file that grows
SHOWN_TASKS = 20
PAGE = 5000  # tasks that are asked for at a time
WHEN_INTERRUPTED = ", when the run was interrupted; fastsched resume runs it again"


def add_verbs(commands: Any) -> None:
    """Add the parsers of these verbs."""
    status = add(commands, "status", do_status, "say where a run and its tasks stand", "[RUN] [options]")
    status.add_argument("run", nargs="?", metavar="RUN", help=RUN_HELP)
    status.add_argument("--tasks", nargs="+", metavar="TASK", help="only these tasks, each with a line")
    status.add_argument("--all", action="store_true", help="a line for every task")
    add_format(status)

    logs = add(commands, "logs", do_logs, "print what a task wrote", "TASK [options]")
    logs.add_argument("task", metavar="TASK")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the task has ended")
    logs.add_argument("--attempt", type=int, metavar="N", help="of this attempt (default: the last)")
    logs.add_argument(
        "--stderr", action="store_true", help="only what it wrote to stderr (default: stdout, and then stderr)"
    )
    add_run(logs)

    explain = add(commands, "explain", do_explain, "say why a task waits, or what became of it", "TASK [options]")
    explain.add_argument("task", metavar="TASK")
    add_run(explain)
    add_format(explain)

    cancel = add(commands, "cancel", do_cancel, "cancel tasks of a live run", "TASK... [options]")
    cancel.add_argument("task", metavar="TASK", nargs="+")
    add_run(cancel)

    workers = add(commands, "workers", do_workers, "list the workers of a run, and what each runs", "[RUN] [options]")
    workers.add_argument("run", nargs="?", metavar="RUN", help=RUN_HELP)
    workers.add_argument("--drain", metavar="WORKER", help="let it end what it runs, and go")
    workers.add_argument(
        "--remove", metavar="WORKER", help="stop what it runs, which is tried elsewhere, and let it go"
    )
    workers.add_argument("--force", action="store_true", help="though it is the last one, so that what is left fails")
    add_format(workers)

    report = add(commands, "report", do_report, "sum up a run that is over", "[RUN] [options]")
    report.add_argument("run", nargs="?", metavar="RUN", help=RUN_HELP)
    add_against(report)
    add_format(report)
    add_pictures(report, "run")

    doctor = add(
        commands,
        "doctor",
        do_doctor,
        "say what this machine, or a cluster, offers to runs, and how strongly",
        "[options]",
    )
    doctor.add_argument(
        "--engine", type=engine, default="local", metavar="ENGINE", help=f"{ENGINE_HELP} (default: local)"
    )
    doctor.add_argument("-C", "--cwd", metavar="DIR", help="the folder that commands would run in (default: this one)")
    add_format(doctor)


ENGINE_HELP = (
    f"what carries commands to workers: {', '.join(ENGINES)}; without a host, dask and ray begin a cluster here"
)
RUN_HELP = "folder of the run, or its name in .fastsched/runs (default: the newest there)"


def add(commands: Any, name: str, do: Any, says: str, usage: str) -> argparse.ArgumentParser:
    """The parser of one verb."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        usage=f"fastsched {name} {usage}",
        help=says,
        description=f"{says[0].upper()}{says[1:]}.",
        allow_abbrev=False,
    )
    parser.set_defaults(do=do, parser=parser)
    return parser


def engine(text: str) -> str:
    """The name of an engine."""
    try:
        check_engine(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_run(parser: argparse.ArgumentParser) -> None:
    """The option that names a run."""
    parser.add_argument("--run", metavar="RUN", help=RUN_HELP)


def look(folder: Path, do: str, **arguments: Any) -> Any:
    """What can be seen of a run, alive or not."""
    for _ in range(2):
        try:
            return ask_run(folder, do, **arguments)
        except NotLiveError:
            pass
        try:
            past = PastRun(folder)
        except JournalLocked:
            time.sleep(FOLLOW_S)  # its scheduler is just beginning, or ending
            continue
        warn_of_damage(past)
        if do == "overview":
            return past.view.overview(now=past.now)
        return getattr(past.view, do)(**arguments)
    raise FastschedError(f"{folder} is held by a scheduler that does not answer")


@functools.cache
def warn_once(message: str) -> None:
    """Say it on stderr, where that was not said before."""
    print(f"fastsched: warning: {message}", file=sys.stderr)


def warn_of_damage(past: PastRun) -> None:
    """What is told of a damaged journal is told of what is whole of it."""
    if past.damage:
        warn_once(f"the journal in {past.folder} is damaged: {past.damage}; this is what is whole of it")


def past_run(folder: Path) -> PastRun:
    """A run that nobody schedules at the moment. Raises FastschedError where somebody does."""
    try:
        return PastRun(folder)
    except JournalLocked as error:
        raise FastschedError(f"{error}; fastsched status says where it stands") from None


@contextlib.contextmanager
def naming(folder: Path) -> Iterator[None]:
    """An id that is not known is told with the run that does not know it, and the id that was probably meant."""
    try:
        yield
    except UnknownIdError as error:
        hint = f"; did you mean {show_name(error.near)}?" if error.near else ""
        raise FastschedError(f"{folder} has no {error.kind} {show_name(error.name)}{hint}") from None


def every_task(folder: Path) -> Iterator[dict[str, Any]]:
    """Where every task stands, asked for in pieces, so that a scheduler is not kept from its run."""
    first: int | None = 0
    while first is not None:
        try:
            page = ask_run(folder, "page", first=first, most=PAGE)
        except NotLiveError:
            page = look(folder, "page", first=first, most=sys.maxsize)  # nobody is kept, and it is read once
        yield from page["rows"]
        first = page["next"]


def do_status(arguments: argparse.Namespace) -> int:
    """`fastsched status`."""
    folder = find_run(arguments.run)
    overview = look(folder, "overview")
    n_left = n_behind = 0
    if arguments.tasks:
        with naming(folder):
            tasks = look(folder, "tasks", task_ids=arguments.tasks)
    elif arguments.all or arguments.format != "human":
        tasks = list(every_task(folder))
    else:
        page = look(folder, "page", first=0, most=SHOWN_TASKS, of_interest=True)
        tasks, n_left, n_behind = page["rows"], page["left"], page["behind"]
    if arguments.format == "json":
        write_json({"run": str(folder), **overview, "tasks": tasks})
        return COMPLETED
    if arguments.format == "jsonl":
        write_lines([{"run": str(folder), **overview}, *tasks])
        return COMPLETED
    counts = ", ".join(f"{overview['counts'][status]:,} {status.lower()}" for status in TaskStatus)
    levels = overview.get("levels")
    name = f" ({show_name(overview['name'])})" if overview["name"] else ""
    print(f"{folder}{name}: {overview['state']} after {show_seconds(overview['seconds'])}; {counts}")
    if levels:
        print(f"  commands are held together by: {levels['containment']}; memory is limited by: {levels['memory']}")
    if overview.get("plan"):
        print(f"  {describe_plan(overview['plan'])}")
    width = max([10, *(width_of(show_name(task["task_id"])) for task in tasks[:SHOWN_TASKS])])
    for task in tasks:
        line = f"{fit_width(show_name(task['task_id']), min(width, 40), '...')}  {describe(task)}"
        print(f"  {line}{WHEN_INTERRUPTED if overview['state'] == 'interrupted' and is_open(task) else ''}")
    if n_left:
        print(f"  and {count(n_left, 'more task')} that run or failed; --all lists every task")
    if n_behind:
        print(f"  and {count(n_behind, 'task')} that failed because another did")
    return COMPLETED


def describe_plan(plan: dict[str, Any]) -> str:
    """How a run stands to the plan that it follows."""
    behind = "" if plan.get("behind") is None else f": {round(100 * plan['behind'])} % behind"
    anew = f", planned anew {count(plan['planned_anew'], 'time')}" if plan["planned_anew"] else ""
    return f"following the plan{behind}{anew}; by it all is over after {show_seconds(plan['ends'])}"


def is_open(task: dict[str, Any]) -> bool:
    """Whether an attempt runs, or ran when nobody was there any more to see its end."""
    return bool(task["status"] == "RUNNING")


def describe(task: dict[str, Any]) -> str:
    """What became of a task, in a line."""
    where = f" on {show_name(task['worker_id'])}, attempt {task['attempts']}" if task["attempts"] else ""
    if task["status"] != "FAILED":
        return f"{task['status'].lower()}{where}"
    cause = f" because of {show_name(task['cause_id'])}" if task["cause_id"] else ""
    first = task["message"].split("\n", 1)[0]
    message = f": {fit_width(show_name(first), 200, '...').rstrip()}" if first else ""
    return f"failed: {task['reason']}{cause}{where}{message}"


def do_logs(arguments: argparse.Namespace) -> int:
    """`fastsched logs`."""
    folder = find_run(arguments.run)
    follower, since = Follower(arguments.stderr), 0
    while True:
        with naming(folder):
            attempts = look(folder, "attempts", task_id=arguments.task)
        wanted = [a for a in attempts if arguments.attempt in (None, a["attempt"])]
        if wanted and not follower.shown:
            wanted = wanted[-1:]
            since = wanted[0]["attempt"]
        wanted = [a for a in wanted if a["attempt"] >= since]
        if wanted and not wanted[-1]["stdout"]:
            raise FastschedError(f"the outputs of {folder} were not kept")
        for attempt in wanted:
            follower.show(attempt)
        (task,) = look(folder, "tasks", task_ids=[arguments.task])
        over = task["status"] in ("COMPLETED", "FAILED") or (arguments.attempt and wanted and "end" in wanted[-1])
        is_left = arguments.follow and not over and look(folder, "overview")["state"] == "interrupted"
        if not arguments.follow or over or is_left:
            if wanted:
                follower.show(wanted[-1])  # what came between the two looks
            elif arguments.attempt:
                raise FastschedError(f"{show_name(arguments.task)} has no attempt {arguments.attempt}")
            elif not arguments.follow:
                print(f"{show_name(arguments.task)} has not started; fastsched explain says why", file=sys.stderr)
            if wanted and not any(follower.shown.values()) and not is_left:
                print(f"{show_name(arguments.task)} wrote nothing", file=sys.stderr)
            if is_left:
                print(f"{folder} was interrupted; fastsched resume goes on with it", file=sys.stderr)
            return COMPLETED
        time.sleep(FOLLOW_S)


class Follower:
    """Prints what files have grown by since it looked last; a head where the file is another than before."""

    def __init__(self, only_stderr: bool) -> None:
        self.names = ("stderr",) if only_stderr else ("stdout", "stderr")
        self.shown: dict[str, int] = {}
        self.last = ""

    def show(self, attempt: dict[str, Any]) -> None:
        """Print what is new of an attempt."""
        for name in self.names:
            path = attempt[name]
            try:
                with open(path, "rb") as file:
                    file.seek(self.shown.get(path, 0))
                    fresh = file.read()
            except OSError:
                continue
            if fresh and path != self.last:
                if len(self.names) > 1 or self.shown:
                    self._head(attempt, name)
                self.last = path
            self.shown[path] = self.shown.get(path, 0) + len(fresh)
            sys.stdout.flush()
            sys.stdout.buffer.write(fresh)
            sys.stdout.buffer.flush()

    def _head(self, attempt: dict[str, Any], name: str) -> None:
        where = f"{show_name(attempt['task_id'])}, attempt {attempt['attempt']} on {show_name(attempt['worker_id'])}"
        print(f"==> {where}: {name} <==", file=sys.stderr, flush=True)


def do_explain(arguments: argparse.Namespace) -> int:
    """`fastsched explain`."""
    folder = find_run(arguments.run)
    with naming(folder):
        explained = look(folder, "explain", task_id=arguments.task)
    if arguments.format == "json":
        write_json(explained)
    elif arguments.format == "jsonl":
        write_lines([explained])
    else:
        is_open = explained["status"] in ("PENDING", "RUNNING")
        end = ""
        if is_open and look(folder, "overview")["state"] == "interrupted":
            end = WHEN_INTERRUPTED if explained["status"] == "RUNNING" else ", as it was when the run was interrupted"
        print(f"{show_name(explained['task_id'])} is {explained['status']}: {explained['text']}{end}")
    return COMPLETED


def do_cancel(arguments: argparse.Namespace) -> int:
    """`fastsched cancel`."""
    folder = find_run(arguments.run)
    with naming(folder):
        look(folder, "tasks", task_ids=arguments.task)  # all or none
    for task_id in arguments.task:
        try:
            with naming(folder):
                cancelled = ask_run(folder, "cancel", task_id=task_id)
        except NotLiveError:
            raise FastschedError(f"{folder} is not live; there is nothing to cancel") from None
        print(f"{show_name(task_id)}: {'cancelled' if cancelled else 'it had ended already'}")
    return COMPLETED


def do_workers(arguments: argparse.Namespace) -> int:
    """`fastsched workers`."""
    folder = find_run(arguments.run)
    for verb, worker_id in (("drain_worker", arguments.drain), ("remove_worker", arguments.remove)):
        if worker_id is None:
            continue
        try:
            with naming(folder):
                ask_run(folder, verb, worker_id=worker_id, force=arguments.force)
        except NotLiveError:
            raise FastschedError(f"{folder} is not live; its workers are gone") from None
    workers = look(folder, "workers")
    if arguments.format == "json":
        write_json(workers)
        return COMPLETED
    if arguments.format == "jsonl":
        write_lines(workers)
        return COMPLETED
    is_past = look(folder, "overview")["state"] in ("interrupted", "ended")
    for worker in workers:
        cores = show_capacity("cpu_millicores", round(worker["cpu_cores_available"] * 1000))
        memory = show_capacity("memory_mb", worker["memory_available_mb"])
        running = ", ".join(map(show_name, worker["running"][:5])) or "nothing"
        more = f" and {len(worker['running']) - 5} more" if len(worker["running"]) > 5 else ""
        what = f"{worker['state']}, {cores}, {memory}; runs {running}{more}"
        if is_past:
            ran = f"; ran {running}{more} when the run was interrupted" if worker["running"] else ""
            what = f"gone, {cores}, {memory}{ran}"
        print(f"{show_name(worker['worker_id'])}: {what}")
    return COMPLETED


def do_report(arguments: argparse.Namespace) -> int:
    """`fastsched report`."""
    named = arguments.against if isinstance(arguments.against, str) else None
    check_files(arguments, reads=[("the plan of --against", named)])
    past = past_run(find_run(arguments.run))
    warn_of_damage(past)
    result = past.result()
    if arguments.format == "jsonl":
        write_lines(attempt._asdict() for attempt in result.attempts)
    wanted = arguments.against or (True if arguments.all else None)
    found = compare_run(past, wanted)
    beside = compared_as_json(found) if arguments.format != "human" else {}
    report_run(result, past.ledger.messages, past.now / 1e9, arguments.format, beside=beside)
    if arguments.format == "human":
        print_compared(found, wanted, arguments.all)
    tell_written(arguments, write_pictures(arguments, result, past.opened.name))
    return COMPLETED if result.all_completed else TASK_FAILED


def do_doctor(arguments: argparse.Namespace) -> int:
    """`fastsched doctor`."""
    if arguments.engine != "local":
        return examine_cluster(arguments)
    machine = this_machine()
    levels = local_levels()
    found: dict[str, Any] = {
        "cores": machine.cpu_cores_available,
        "memory_mb": machine.memory_available_mb,
        "containment": levels.containment,
        "memory": levels.memory,
        "notes": list(levels.notes),
        "journal": f"SQLite {sqlite3.sqlite_version}; a sync here takes {show_seconds(time_a_sync())}",
        "python": f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}",
    }
    if arguments.format != "human":
        write_json(found) if arguments.format == "json" else write_lines([found])
        return COMPLETED
    words = {
        "machine": f"{show_capacity('cpu_millicores', round(found['cores'] * 1000))}, "
        f"{show_capacity('memory_mb', found['memory_mb'])}",
        "containment": found["containment"],
        "memory": found["memory"],
        "journal": found["journal"],
        "python": found["python"],
    }
    for name, text in words.items():
        print(f"{name:<13}{text}")
    for note in found["notes"]:
        print(f"{'':<13}{note}")
    return COMPLETED


def examine_cluster(arguments: argparse.Namespace) -> int:
    """`fastsched doctor --engine`: what each worker of a cluster offers, and how strongly."""
    found = make_engine(
        arguments.engine, cwd=arguments.cwd or os.getcwd(), env=None, containment="auto", output_cap_mb=OUTPUT_CAP_MB
    )
    assert isinstance(found, RemoteEngine)
    try:
        found.workers()
        with contextlib.suppress(OSError):  # why nobody can be used is said of each
            found.open(uuid.uuid4().hex, 1.0, 10.0)
        census = found.census()
    finally:
        found.close(0.0)
    rows: list[dict[str, Any]] = [
        {
            "worker_id": worker.worker_id,
            "cores": worker.cpu_cores_available,
            "memory_mb": worker.memory_available_mb,
            "resources": dict(worker.resources or {}),
            "containment": levels.containment if levels else None,
            "memory": levels.memory if levels else None,
            "notes": list(levels.notes) if levels else [],
            "why_not": why_not or ("" if levels else "it does not answer"),
        }
        for worker, levels, why_not in census
    ]
    if arguments.format != "human":
        write_json(rows) if arguments.format == "json" else write_lines(rows)
        return COMPLETED
    print(f"{arguments.engine}: {count(len(rows), found.kind)}")
    width = min(40, max((width_of(show_name(row["worker_id"])) for row in rows), default=0))
    for row in rows:
        amounts = {"cpu_millicores": round(row["cores"] * 1000), "memory_mb": row["memory_mb"], **row["resources"]}
        offered = ", ".join(show_capacity(name, amount) for name, amount in amounts.items())
        levels = f"containment: {row['containment']}; memory: {row['memory']}"
        print(f"  {fit_width(show_name(row['worker_id']), width, '...')}  {offered}; {row['why_not'] or levels}")
    for note in dict.fromkeys(note for row in rows for note in row["notes"]):
        print(f"  {note}")
    return COMPLETED


def time_a_sync() -> float:
    """Seconds that a sync of a journal takes in the current folder."""
    import tempfile

    with tempfile.TemporaryDirectory(dir=os.getcwd(), prefix=".fastsched-doctor-") as folder:
        journal = Journal(Path(folder))
        journal.append_all([b"first"])
        journal.sync()
        began = time.perf_counter()
        for _ in range(5):
            journal.append_all([b"another"])
            journal.sync()
        took = (time.perf_counter() - began) / 5
        journal.close()
    return took
