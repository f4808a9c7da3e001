"""A plan as a picture of text: numbers in, lines out. It prints nothing and asks nothing about a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .plan import Schedule

__all__ = ["draw", "show_seconds"]

SHADES = " ▁▂▃▄▅▆▇█"
MOST_BARS = 30  # attempts that are drawn one by one
MOST_ROWS = 24  # workers that have a row of their own
CHUNK = 4096  # attempts that are spread over the columns at a time


def draw(plan: Schedule, width: int) -> list[str]:
    """A chart of at most `width` columns: a bar for each attempt of a small plan, else how busy each worker is.

    With more workers than rows, neighbours share one and show their mean.
    """
    count = len(plan.columns["task"])
    if count == 0 or plan.plan.makespan_ns == 0:
        return []
    return _draw_bars(plan, width) if count <= MOST_BARS else _draw_busy(plan, width)


def show_seconds(seconds: float) -> str:
    """A time as a person says it: 12.3 ms, 4.20 s, 3m 05s, 2h 03m, 5d 04h."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    for big, small, names in ((86400, 3600, "dh"), (3600, 60, "hm"), (60, 1, "ms")):
        if whole >= big:
            return f"{whole // big}{names[0]} {whole % big // small:02d}{names[1]}"
    return f"{whole} s"


def _draw_bars(plan: Schedule, width: int) -> list[str]:
    columns = plan.columns
    labels = [
        plan.task_ids[task] + (f" #{attempt}" if attempt > 1 or not completed else "")
        for task, attempt, completed in zip(columns["task"], columns["attempt"], columns["completed"])
    ]
    notes = [plan.worker_ids[worker] for worker in columns["worker"]]
    room = max(20, width - _longest(labels) - _longest(notes) - 4)
    scale = room / plan.plan.makespan_ns
    lines = []
    for i, (label, note) in enumerate(zip(labels, notes)):
        first = min(room - 1, int(columns["start_ns"][i] * scale))
        last = max(first + 1, round(columns["end_ns"][i] * scale))
        bar = ("█" if columns["completed"][i] else "x") * (last - first)
        lines.append(f"{_fit(label, _longest(labels))} │{' ' * first}{bar}{' ' * (room - last)}│ {note[:20]}")
    return [*lines, _axis(_longest(labels), room, plan.makespan)]


def _draw_busy(plan: Schedule, width: int) -> list[str]:
    groups = np.array_split(np.arange(len(plan.worker_ids)), min(MOST_ROWS, len(plan.worker_ids)))
    labels = [plan.worker_ids[g[0]] + (f"..{plan.worker_ids[g[-1]]}" if len(g) > 1 else "") for g in groups]
    room = max(20, width - _longest(labels) - 10)
    busy, capacity = _busy_cores(plan, room)
    lines = []
    for label, group in zip(labels, groups):
        offered = max(1, int(capacity[group].sum()))
        share = busy[group].sum(axis=0) / offered
        # Any work at all is shown; full is shown only where it is.
        level = np.where(share > 0, np.clip(np.ceil(share * 8 - 1e-9), 1, 8), 0).astype(int)
        lines.append(f"{_fit(label, _longest(labels))} │{''.join(SHADES[x] for x in level)}│ {share.mean():4.0%}")
    return [*lines, _axis(_longest(labels), room, plan.makespan)]


def _busy_cores(plan: Schedule, room: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """(W, room): the mean milli-cores that attempts hold on each worker in each column; and what each has."""
    columns, numbers = plan.columns, plan.plan
    edges = np.linspace(0, numbers.makespan_ns, room + 1)
    held = np.zeros((len(plan.worker_ids), room + 1))
    cores = numbers._graph.demand[columns["task"], 0].astype(np.float64)
    for at in range(0, len(cores), CHUNK):
        part = slice(at, at + CHUNK)
        start, end = columns["start_ns"][part, None], columns["end_ns"][part, None]
        np.add.at(held, columns["worker"][part], cores[part, None] * (np.clip(edges, start, end) - start))
    return np.diff(held, axis=1) / (numbers.makespan_ns / room), numbers._capacity[:, 0]


def _longest(labels: Sequence[str]) -> int:
    return min(28, max(map(len, labels)))


def _fit(label: str, width: int) -> str:
    return label.ljust(width) if len(label) <= width else label[: width - 1] + "…"


def _axis(indent: int, room: int, makespan: float) -> str:
    end = show_seconds(makespan)
    return f"{' ' * indent} 0{end.rjust(room)}"
