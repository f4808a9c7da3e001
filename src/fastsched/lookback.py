"""The options that say which earlier runs a plan is made from, and the plan of a run that is over, beside it.

A plan and a run of a job file use what its newest runs in `.fastsched/runs` measured, unless `--no-history` is given,
or `--history` names others.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .against import Delays
from .delays import (
    SHOWN_DELAYS,
    MemoryAsked,
    comparison_as_json,
    memory_asked,
    print_comparison,
    print_delays,
    print_memory,
)
from .errors import FastschedError, HistoryWarning
from .formats import Job
from .graph import Graph, WorkerTable
from .history import Filled, Measurements, measure
from .model import Task
from .plan import Placement, Run, Schedule
from .planner import schedule
from .progress import count
from .runtime.earlier import MOST_RUNS, History, find_earlier
from .runtime.folder import find_run
from .runtime.view import PastRun
from .saved import SavedPlan, load_plan

__all__ = [
    "add_against",
    "add_history",
    "compare_run",
    "compared_as_json",
    "look_back",
    "print_compared",
    "put_in",
    "source_of",
]


MOST_UNASKED = 100_000  # tasks that are compared where that is not asked for: some 20 us each


def add_history(parser: argparse.ArgumentParser) -> None:
    """The options of a plan or a run that say what it knows of earlier ones."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--history",
        action="extend",
        nargs="+",
        metavar="RUN",
        help="durations, and memory, from these runs for the tasks that name none: folders, names in .fastsched/runs, "
        f"or saved histories (default: the newest {MOST_RUNS} runs of FILE in .fastsched/runs)",
    )
    chosen.add_argument("--no-history", action="store_true", help="nothing from earlier runs")


def add_against(parser: argparse.ArgumentParser) -> None:
    """The options of a report that compare a run with its plan."""
    parser.add_argument(
        "--against",
        nargs="?",
        const=True,
        metavar="PLAN",
        help="how late each task was, and for what, against the plan that the run was given to follow, or else the one "
        "that could be made when it began; or against one in a file, of `fastsched plan --save`, or another run",
    )
    parser.add_argument("--all", action="store_true", help="a line for every task of that, the latest first")


def source_of(path: str) -> str:
    """A job file by its path from this folder, where its runs have theirs."""
    try:
        return os.path.relpath(path)
    except ValueError:  # on another drive
        return os.path.abspath(path)


def look_back(arguments: argparse.Namespace, job: Job, file: str) -> Measurements | None:
    """What earlier runs of a job file measured, as the options say; None: nothing is wanted of it."""
    if arguments.no_history or not (arguments.history or any(map(leaves_open, job.tasks))):
        return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", HistoryWarning)
        found = History.from_runs(arguments.history) if arguments.history else find_earlier(source_of(file), job.name)
    for warning in caught:
        print(f"fastsched: warning: {warning.message}", file=sys.stderr)
    return found if len(found) else None


def leaves_open(item: object) -> bool:
    """Whether what a job file has for a task leaves its duration or its memory to others."""
    if isinstance(item, Mapping):
        return item.get("duration") is None or "memory_required_mb" not in item
    return isinstance(item, Task) and item.duration is None


def put_in(graph: Graph, table: WorkerTable | None, history: Measurements | None) -> tuple[Graph, Filled | None]:
    """The graph with what is known put in, and how much that is; None: nothing of it was wanted, or known."""
    if history is None:
        return graph, None
    graph, told = history.fill(graph, table)
    return graph, told if told.n_known or told.n_memory else None


# ---------------------------------------------------------------- after a run


class Beside(NamedTuple):
    """A run that is over beside a plan, if there is one, and the memory that was asked for beside what was taken.

    `known`: whether any duration was known when it began. `n_anew`: how often the plan that it followed was made anew;
    None: it is beside another one.
    """

    compared: Delays | None
    memory: list[MemoryAsked]
    known: bool
    n_anew: int | None = None


def compare_run(past: PastRun, wanted: str | bool | None) -> Beside:
    """What is to be told of a run besides its summary.

    wanted: True: against the plan that it was given to follow, or what could be planned when it began; a file: against
    the plan in it; else against the run of that name; None: as True, where there was a plan or any durations were known
    and it takes no time to speak of, else nothing is compared.
    """
    tasks, result = past.ledger.state.tasks, past.result()
    known = any(task.duration is not None for task in tasks)
    if not tasks or (wanted is None and len(tasks) > MOST_UNASKED):
        return Beside(None, [], known)
    memory = memory_asked(tasks, Measurements([measure(tasks, past.ledger.attempts, "")]))
    plan: Schedule | Run | SavedPlan | list[Placement]
    if isinstance(wanted, str):
        plan = load_plan(wanted) if os.path.isfile(wanted) else PastRun(find_run(wanted)).result()
        try:
            return Beside(result.against(plan), memory, known)
        except ValueError as error:
            raise FastschedError(f"{wanted}: {error}") from None
    if past.adopted:
        n_anew = sum(fact.behind_ns is not None for fact in past.adopted)
        return Beside(result.against(past.given_plan()), memory, known, n_anew)
    return Beside(result.against(plan_at_start(past)) if wanted or known else None, memory, known)


def plan_at_start(past: PastRun) -> Schedule:
    """What `schedule()` says to the tasks of a run, with the durations that were known when it began."""
    opened = past.opened
    workers: Sequence[Any] = past.ledger.state.workers if opened.offered else opened.workers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what no worker can hold has been told
        return schedule(
            past.ledger.state.tasks,
            workers,
            rank=opened.rank,
            fit=opened.fit,
            max_retries=opened.max_retries,
            policy=opened.policy,
        )


def print_compared(found: Beside, wanted: str | bool | None, all_tasks: bool) -> None:
    """For a person: the whole against the plan, the tasks where they are asked for, and the memory."""
    if found.compared is not None:
        if found.n_anew is not None:
            anew = f"; the rest was planned anew {count(found.n_anew, 'time')} on the way" if found.n_anew else ""
            print(f"beside the plan that it was given to follow{anew}:")
        elif wanted is True and not found.known:
            print("no duration was known when the run began: each task was planned with 1 s")
        print_comparison(found.compared)
        if wanted is not None:
            print_delays(found.compared.rows, None if all_tasks else SHOWN_DELAYS)
    print_memory(found.memory)


def compared_as_json(found: Beside) -> dict[str, Any]:
    """For a program: `against`, None where nothing was planned, and `memory`.

    `followed`: whether that is the plan that it was given to follow; `planned_anew`: how often it was, on the way.
    """
    told = {"followed": found.n_anew is not None, "planned_anew": found.n_anew}
    return {
        "against": None if found.compared is None else comparison_as_json(found.compared) | told,
        "memory": [kind._asdict() for kind in found.memory],
    }
