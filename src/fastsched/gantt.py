"""A plan as a picture of text: numbers in, lines out. It prints nothing and asks nothing about a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .names import fit_width, show_name, width_of
from .plan import Schedule
from .units import show_seconds

__all__ = ["SIGNS", "draw", "show_seconds"]

SIGNS = ("█", "│", "…", " ▁▂▃▄▅▆▇█")
ASCII_SIGNS = ("#", "|", "~", " .:-=+*%#")
NARROWEST = 30  # columns; a chart is not drawn narrower, whatever the width
MOST_BARS = 30  # attempts that are drawn one by one
MOST_ROWS = 24  # workers that have a row of their own
Signs = tuple[str, str, str, str]  # full, edge, cut, shades from empty to full
CHUNK = 4096  # attempts that are spread over the columns at a time


def draw(plan: Schedule, width: int, ascii_only: bool = False) -> list[str]:
    """A chart of at most `width` columns: a bar for each attempt of a small plan, else how busy each worker is.

    With more workers than rows, neighbours share one and show their mean.
    """
    count = len(plan.columns["task"])
    if count == 0 or plan.plan.makespan_ns == 0:
        return []
    signs = ASCII_SIGNS if ascii_only else SIGNS
    width = max(width, NARROWEST)
    return _draw_bars(plan, width, signs) if count <= MOST_BARS else _draw_busy(plan, width, signs)


def _draw_bars(plan: Schedule, width: int, signs: Signs) -> list[str]:
    full, edge, cut, _ = signs
    columns = plan.columns
    labels = [
        show_name(plan.task_ids[task]) + (f" #{attempt}" if attempt > 1 or not completed else "")
        for task, attempt, completed in zip(columns["task"], columns["attempt"], columns["completed"])
    ]
    notes = [show_name(plan.worker_ids[worker]) for worker in columns["worker"]]
    indent, behind = min(28, width // 3, _longest(labels)), min(20, width // 5, _longest(notes))
    room = width - indent - behind - 4
    scale = room / plan.plan.makespan_ns
    lines = []
    for i, (label, note) in enumerate(zip(labels, notes)):
        first = min(room - 1, int(columns["start_ns"][i] * scale))
        last = max(first + 1, round(columns["end_ns"][i] * scale))
        bar = (full if columns["completed"][i] else "x") * (last - first)
        row = f"{' ' * first}{bar}{' ' * (room - last)}"
        lines.append(f"{fit_width(label, indent, cut)} {edge}{row}{edge} {fit_width(note, behind, cut).rstrip()}")
    return [*lines, _axis(indent, room, plan.makespan)]


def _draw_busy(plan: Schedule, width: int, signs: Signs) -> list[str]:
    _, edge, cut, shades = signs
    groups = np.array_split(np.arange(len(plan.worker_ids)), min(MOST_ROWS, len(plan.worker_ids)))
    ids = [show_name(worker_id) for worker_id in plan.worker_ids]
    labels = [ids[g[0]] + (f"..{ids[g[-1]]}" if len(g) > 1 else "") for g in groups]
    indent = min(28, width // 3, _longest(labels))
    room = width - indent - 8
    busy, capacity = _busy(plan, room)
    lines = []
    for label, group in zip(labels, groups):
        offered = max(1, int(capacity[group].sum()))
        share = busy[group].sum(axis=0) / offered
        # Any work at all is shown; full is shown only where it is.
        level = np.where(share > 0, np.clip(np.ceil(share * 8 - 1e-9), 1, 8), 0).astype(int)
        row = "".join(shades[x] for x in level)
        lines.append(f"{fit_width(label, indent, cut)} {edge}{row}{edge} {share.mean():4.0%}")
    return [*lines, _axis(indent, room, plan.makespan)]


def _busy(plan: Schedule, room: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
    """(W, room): the mean milli-cores that attempts hold on each worker in each column; and what each has.

    Where no task asks for cores, the same of the resource that is used most.
    """
    columns, numbers = plan.columns, plan.plan
    used = numbers.utilisation * numbers._capacity
    r = 0 if used[:, 0].any() else int((used.sum(axis=0) / np.maximum(1, numbers._capacity.sum(axis=0))).argmax())
    edges = np.linspace(0, numbers.makespan_ns, room + 1)
    held = np.zeros((len(plan.worker_ids), room + 1))
    amounts = numbers._graph.demand[columns["task"], r].astype(np.float64)
    for at in range(0, len(amounts), CHUNK):
        part = slice(at, at + CHUNK)
        start, end = columns["start_ns"][part, None], columns["end_ns"][part, None]
        np.add.at(held, columns["worker"][part], amounts[part, None] * (np.clip(edges, start, end) - start))
    return np.diff(held, axis=1) / (numbers.makespan_ns / room), numbers._capacity[:, r]


def _longest(labels: Sequence[str]) -> int:
    return max(map(width_of, labels))


def _axis(indent: int, room: int, makespan: float) -> str:
    end = show_seconds(makespan)
    return f"{' ' * indent} 0{end.rjust(room)}"
