"""What is printed of a run beside its plan, and of the memory that its tasks asked for; or as data for a program."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .against import Delays, TaskDelay
from .gantt import show_seconds
from .history import Measurements
from .model import DEFAULT_MEMORY_MB, Task
from .names import fit_width, show_name, width_of
from .patterns import shape_of
from .progress import count
from .report import show_path

__all__ = [
    "SHOWN_DELAYS",
    "MemoryAsked",
    "comparison_as_json",
    "memory_asked",
    "print_comparison",
    "print_delays",
    "print_memory",
]

SHOWN_DELAYS = 20
SHOWN_KINDS = 5
OVER_ASKED = 2  # times the peak
FAR_MB = 64  # what is nearer to the peak is not worth a word
LABEL = 14
NAME = 28
CAUSES = {
    "duration": "what the tasks took, beside what was expected",
    "waiting": "for room, or for a worker",
    "retries": "attempts that failed, and the time until the next ones",
    "lost": "attempts that were lost with their workers, likewise",
    "slack": "what the plan had to spare along this chain",
}


class MemoryAsked(NamedTuple):
    """Tasks that run the like of one command: how many, the most that one asked for and that one took, MB."""

    command: str
    tasks: int
    asked_mb: int
    peak_mb: float
    stated: bool


def comparison_as_json(compared: Delays) -> dict[str, Any]:
    """All of it, for a program."""
    return {
        "planned_makespan": compared.planned_makespan,
        "actual_makespan": compared.actual_makespan,
        "delay": compared.delay,
        "causes": compared.causes,
        "chain": compared.chain,
        "tasks": [row._asdict() for row in compared.rows],
    }


def print_comparison(compared: Delays) -> None:
    """The whole against the plan, in some lines."""
    how = "shorter" if compared.delay < 0 else "longer"
    print(
        f"planned {show_seconds(compared.planned_makespan)}, took {show_seconds(compared.actual_makespan)}: "
        f"{show_seconds(abs(compared.delay))} {how}"
    )
    for name, words in CAUSES.items():
        if compared.causes[name]:
            print(f"  {name:<{LABEL}}{show_delay(compared.causes[name]):>10}  {words}")
    room = max(20, shutil.get_terminal_size((100, 24)).columns - LABEL - 2)
    if compared.chain:
        print(f"  {'along':<{LABEL}}{count(len(compared.chain), 'task')}: {show_path(compared.chain, room)}")


def print_delays(rows: Iterable[TaskDelay], most: int | None) -> None:
    """So many tasks, the latest first, each with what its delay came from; None: every one."""
    ended = sorted((row for row in rows if row.delay is not None), key=lambda row: -(row.delay or 0))
    shown = ended[:most]
    if not shown:
        return
    width = min(NAME, max(10, *(width_of(show_name(row.task_id)) for row in shown)))
    heads = ("planned end", "actual end", "delay", "dependency", "waiting", "retries", "lost", "duration")
    print(f"  {'task':<{width}}" + "".join(f"{head:>12}" for head in heads))
    for row in shown:
        cells = [show_seconds(row.planned_end or 0.0), show_seconds(row.actual_end or 0.0)]
        parts = (row.delay, row.dependency, row.waiting, row.retries, row.lost, row.duration)
        cells += [show_delay(part or 0.0) for part in parts]
        late = f"  after {show_name(row.dependency_id)}" if row.dependency_id and row.dependency else ""
        print(f"  {fit_width(show_name(row.task_id), width, '...')}{''.join(f'{cell:>12}' for cell in cells)}{late}")
    if len(ended) > len(shown):
        print(f"  and {count(len(ended) - len(shown), 'more task')}; --all lists every task")


def show_delay(seconds: float) -> str:
    """A difference of times, with its sign."""
    if abs(seconds) < 5e-7:
        return "-"
    return f"{'-' if seconds < 0 else '+'}{show_seconds(abs(seconds))}"


def memory_asked(tasks: Sequence[Task], measured: Measurements) -> list[MemoryAsked]:
    """Where the memory that was asked for is far from what was taken, by commands of one shape; the farthest first.

    What was stated and is twice the peak or more; and what was not stated and is below the peak.
    """
    peaks = {row.task_id: row.peak_mb for run in measured.runs for row in run.tasks if row.peak_mb is not None}
    kinds: dict[tuple[str, bool], list[tuple[int, float]]] = {}
    for task in tasks:
        peak = peaks.get(task.task_id)
        if peak is not None:
            stated = task.memory_required_mb != DEFAULT_MEMORY_MB
            command = task.command if isinstance(task.command, str) else tuple(task.command)
            kinds.setdefault((shape_of(command), stated), []).append((task.memory_required_mb, peak))
    found = [
        MemoryAsked(shape, len(rows), max(asked for asked, _ in rows), max(peak for _, peak in rows), stated)
        for (shape, stated), rows in kinds.items()
    ]
    far = [k for k in found if (k.asked_mb >= OVER_ASKED * k.peak_mb if k.stated else k.asked_mb < k.peak_mb)]
    far = [kind for kind in far if abs(kind.asked_mb - kind.peak_mb) >= FAR_MB]
    return sorted(far, key=lambda kind: -abs(kind.asked_mb - kind.peak_mb) * kind.tasks)


def print_memory(kinds: Sequence[MemoryAsked]) -> None:
    """Which commands ask for much more than they take, or take more than they are counted with."""
    for kind in kinds[:SHOWN_KINDS]:
        whose = fit_width(show_name(kind.command), 40, "...").rstrip()
        asked = f"asked for {kind.asked_mb:,} MB" if kind.stated else f"counted with {kind.asked_mb:,} MB"
        print(f"memory: {count(kind.tasks, 'task')} like `{whose}` {asked}, took {kind.peak_mb:,.0f} MB at most")
