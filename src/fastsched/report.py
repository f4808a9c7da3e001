"""What is printed of a plan and of a run: for a person, or as JSON for a program. It decides and changes nothing."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .engines.base import Levels
from .events import Event
from .gantt import SIGNS, draw, show_seconds
from .model import Reason, TaskStatus
from .names import RESOURCE_WORDS, fit_width, show_capacity, show_name, width_of
from .optimize import SEARCH
from .plan import Run, Schedule
from .progress import SHOWN_MISFITS, count

__all__ = ["event_as_json", "print_plan", "report_run", "write_json", "write_lines"]

SHOWN_FAILURES = 10
SHOWN_LINES = 5
SHOWN_STEPS = 4  # of the critical path, its last one included
LABEL = 14  # columns of the names of what is told of a plan


def print_plan(
    title: str, plan: Schedule, reading_s: float, planning_s: float, width: int | None, known: str = ""
) -> None:
    """What a person wants to know of a plan. `known`: what is told of where durations come from."""
    numbers = plan.plan
    width = width or shutil.get_terminal_size((100, 24)).columns
    capacity = numbers._capacity.sum(axis=0, dtype="int64").tolist()
    resources = numbers._graph.resources
    # What the workers have none of is told only where they have nothing at all.
    there = {name for name, amount in zip(resources, capacity) if amount or not any(capacity)}
    offered = ", ".join(show_capacity(name, amount) for name, amount in zip(resources, capacity) if name in there)
    head = f"{show_name(title)}: {count(len(plan), 'task')} on {count(len(plan.worker_ids), 'worker')} ({offered})"
    print("\n".join(wrap(head, width)))
    print()
    room = max(20, width - LABEL - 2)
    unknown = sum(task.duration is None for task in numbers._graph.tasks)
    counts = f" ({count(unknown, 'task')} without a duration count{'s' if unknown == 1 else ''} 1 s)" if unknown else ""
    rows = [("makespan", show_seconds(plan.makespan) + counts)]
    if known:
        rows.append(("history", known))
    if plan.lower_bound:
        word = RESOURCE_WORDS.get(plan.bound_by, plan.bound_by)
        rows.append(("lower bound", f"{show_seconds(plan.lower_bound)}, bound by {word}; {show_gap(plan)}"))
        each = (
            f"{RESOURCE_WORDS.get(name, name)} {show_seconds(ns / 1e9)}"
            for name, ns in numbers.bounds_ns.items()
            if name in there or name not in resources
        )
        rows.append(("", ", ".join(each)))
        if plan.bottleneck and plan.bottleneck.kind != "critical path":  # which has a row of its own
            rows.append(("bottleneck", plan.bottleneck.text))
    if plan.critical_path:
        rows.append(
            ("critical path", f"{count(len(plan.critical_path), 'task')}: {show_path(plan.critical_path, room)}")
        )
    if numbers.n_schedules:
        rows.append(("taken", tell_search(plan)))
    elif numbers.n_tried > 1:
        rows.append(("taken", f"rank {plan.rank}, fit {plan.fit}: the best of {numbers.n_tried} plans"))
    held = numbers.utilisation * numbers._capacity
    shares = held.sum(axis=0) / [max(1, amount) for amount in capacity]
    used = (f"{RESOURCE_WORDS.get(name, name)} {share:.1%}" for name, share in zip(resources, shares) if name in there)
    rows.append(("utilisation", ", ".join(used)))
    failed = sum(status is not TaskStatus.COMPLETED for status in plan.values())
    if failed:
        rows.append(("failed", f"{count(failed, 'task')} cannot run ({count_reasons(list(plan.reasons.values()))})"))
    rows.append(("planned in", f"{show_seconds(planning_s)} (reading the file: {show_seconds(reading_s)})"))
    for name, text in rows:
        lines = wrap(text, room)
        for label, line in zip([name] + [""] * len(lines), lines):
            print(f"  {label:<{LABEL}}{line}")
    chart = draw(plan, width, ascii_only=not can_print("".join(SIGNS)))
    if chart:
        print()
        print("\n".join(chart))


def tell_search(plan: Schedule) -> str:
    """Where the plan comes from, if there was a search."""
    numbers = plan.plan
    searched = f"a search of {count(numbers.n_schedules, 'schedule')}"
    if plan.rank == SEARCH:
        return f"the shortest of {searched}"
    return f"rank {plan.rank}, fit {plan.fit}: {searched} found none that is shorter"


def show_gap(plan: Schedule) -> str:
    """How far a plan is from the lower bound."""
    if plan.gap == 0:
        return "the plan is optimal"
    return f"the plan is {f'{plan.gap:.1%}' if plan.gap >= 0.001 else 'less than 0.1%'} above it"


def show_path(path: Sequence[str], room: int) -> str:
    """The first steps and the last one, each in part where it alone takes more than a line."""
    steps = [show_name(name) for name in path]
    if len(steps) > SHOWN_STEPS:
        steps[SHOWN_STEPS - 1 : -1] = [f"... {len(steps) - SHOWN_STEPS:,} more ..."]
    longest = min(30, room - 3)
    return " -> ".join(fit_width(step, longest, "...") if width_of(step) > longest else step for step in steps)


def wrap(text: str, width: int) -> list[str]:
    """The text in lines of so many columns, parted at spaces; a word that is longer has a line of its own."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and width_of(lines[-1]) + 1 + width_of(word) > width:
            lines.append(word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines


def can_print(text: str) -> bool:
    """Whether stdout can show all of these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def event_as_json(event: Event) -> dict[str, Any]:
    """An event, for a program: its name, and what it says."""
    told = msgspec.structs.asdict(event)
    usage = told.get("usage")
    return {"event": type(event).__name__, **told, **({"usage": msgspec.structs.asdict(usage)} if usage else {})}


def write_lines(rows: Iterable[object]) -> None:
    """One JSON document a line on stdout, at once."""
    lines = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    if hasattr(sys.stdout, "buffer"):
        sys.stdout.flush()
        sys.stdout.buffer.write(lines)
    else:
        sys.stdout.write(lines.decode())
    sys.stdout.flush()


def write_json(data: object) -> None:
    """One JSON document on stdout, in UTF-8 whatever the terminal speaks."""
    document = msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n"
    if hasattr(sys.stdout, "buffer"):
        sys.stdout.flush()
        sys.stdout.buffer.write(document)
    else:
        sys.stdout.write(document.decode())


def count_reasons(reasons: Sequence[Reason]) -> str:
    """`3 EXIT, 12 DEPENDENCY`."""
    return ", ".join(f"{reasons.count(reason):,} {reason}" for reason in Reason if reason in reasons)


def report_run(
    result: Run,
    messages: Mapping[str, str],
    seconds: float,
    form: str,
    levels: Levels | None = None,
    *,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """The summary of a run, as asked for; `levels`: how its engine held what it ran, where that is known.

    beside: what else is told to a program.
    """
    counts = {status: sum(value is status for value in result.values()) for status in TaskStatus}
    unfinished = frozenset(result.unfinished)
    if form != "human":
        summary: dict[str, Any] = {
            "seconds": seconds,
            "interrupted": result.interrupted,
            "unfinished": result.unfinished,
            "counts": counts,
            "reasons": result.reasons,
            "causes": result.causes,
            "messages": messages,
            "run_dir": result.run_dir,
            "levels": levels,
            **(beside or {}),
        }
        if form == "jsonl":
            write_lines([{"event": "RunEnded", **summary}])
        else:
            write_json({**summary, "status": result, "attempts": [attempt._asdict() for attempt in result.attempts]})
        return
    if not len(result):
        print("there are no tasks")
        return
    retried = len(result.attempts) - len(result.last_attempts)
    reasons = [reason for task_id, reason in result.reasons.items() if task_id not in unfinished]
    why = f" ({count_reasons(reasons)})" if reasons else ""
    head = "interrupted" if result.interrupted else "done"
    left = f", {len(unfinished):,} not ended" if unfinished else ""
    print(
        f"{head} in {show_seconds(seconds)}: {counts[TaskStatus.COMPLETED]:,} completed, "
        f"{len(reasons):,} failed{why}{left}, {retried:,} retried"
    )
    own = [task_id for task_id, reason in result.reasons.items() if reason not in (Reason.DEPENDENCY, Reason.CANCELLED)]
    behind = dict.fromkeys(own, 0)
    for cause in result.causes.values():
        behind[cause] = behind.get(cause, 0) + 1
    misfits = [task_id for task_id in own if result.reasons[task_id] is Reason.UNSATISFIABLE]
    others = [task_id for task_id in own if result.reasons[task_id] is not Reason.UNSATISFIABLE]
    for task_id in others[:SHOWN_FAILURES]:
        print_failure(result, task_id, behind[task_id])
    if len(others) > SHOWN_FAILURES:
        print(f"  ... and {len(others) - SHOWN_FAILURES:,} more")
    for task_id in misfits[:SHOWN_MISFITS]:
        print(f"  {show_name(task_id)}: {messages.get(task_id, 'UNSATISFIABLE')}{with_it(behind[task_id])}")
    if len(misfits) > SHOWN_MISFITS:
        print(f"  ... and {count(len(misfits) - SHOWN_MISFITS, 'more task')} that no worker can hold")
    if result.run_dir:
        print(f"outputs: {result.run_dir}")
    if levels is not None:
        print(f"commands were held together by: {levels.containment}; memory was limited by: {levels.memory}")


def with_it(behind: int) -> str:
    """What fell with a task."""
    return f"; {count(behind, 'dependent task')} failed with it" if behind else ""


def print_failure(result: Run, task_id: str, behind: int) -> None:
    """Why a task failed for good, what fell with it, and its last words."""
    last = result.last_attempts.get(task_id)
    if last is None:
        print(f"  {show_name(task_id)}: {result.reasons[task_id]}{with_it(behind)}")
        return
    where = f"on {show_name(last.worker_id)}, attempt {last.attempt}"
    why = last.message.partition("\n")[0]  # behind it are the command's last lines
    print(f"  {show_name(task_id)}: {why} {where}{with_it(behind)}")
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
