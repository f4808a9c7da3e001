"""What a notebook shows of a scene: a few numbers, and a chart as inline SVG that stays small with any number of tasks.

A few attempts are bars with their names; many are rows of workers, darker where these are busier. The text has the
colour of the page, and there is no background, so it is readable on a dark one too.
"""

from __future__ import annotations

from html import escape
from itertools import pairwise

import numpy as np

from ..names import fit_width, show_name
from ..units import show_seconds
from .axis import tick_label, tick_step, ticks
from .scene import FAILED_COLOR, Scene

__all__ = ["sketch_of"]

NS = 1_000_000_000
WIDTH, INDENT, AXIS = 760, 110, 18  # pixels
MOST_BARS = 300  # attempts that are drawn one by one
MOST_LANES = 40
ROWS, COLUMNS, SHADES = 24, 160, 8  # of the chart for more
BAR, ROW = 14, 12  # pixels
BUSY_COLOR, BOUND_COLOR = "#0072b2", "#e0483e"


def sketch_of(scene: Scene) -> str:
    """The summary and the chart, as HTML."""
    cells = "".join(
        f'<td style="text-align:left;padding:2px 16px 2px 0"><div style="opacity:.65;font-size:11px">{escape(what)}'
        f"</div><b>{escape(value)}</b></td>"
        for what, value in scene.summary()
    )
    table = f'<table style="border:0;margin:0 0 6px"><tr style="background:none">{cells}</tr></table>'
    return f"<div>{table}{_chart(scene)}</div>"


def _chart(scene: Scene) -> str:
    if not len(scene) or not scene.makespan_ns:
        return ""
    few = len(scene) <= MOST_BARS and scene.first_row[-1] <= MOST_LANES
    parts, height = _bars(scene) if few else _shades(scene)
    until = max(scene.makespan_ns, scene.lower_bound_ns) / NS
    step = tick_step(until, 8)
    for t in ticks(0.0, until, step):
        x = _place(scene, t * NS)
        anchor = "end" if x > WIDTH - 30 else "middle"
        parts.append(
            f'<text x="{x:.1f}" y="{height + 13}" text-anchor="{anchor}" opacity=".65">{tick_label(t, step)}</text>'
        )
    if scene.lower_bound_ns:
        x = _place(scene, scene.lower_bound_ns)
        told = escape(f"lower bound {show_seconds(scene.lower_bound_ns / NS)}, {show_name(scene.bound_by)}")
        parts.append(
            f'<path d="M{x:.1f} 0V{height}" stroke="{BOUND_COLOR}" stroke-width="1.5" stroke-dasharray="5 3">'
            f"<title>{told}</title></path>"
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" viewBox="0 0 {WIDTH} {height + AXIS}" '
        f'style="max-width:100%;height:auto" role="img" aria-label="Gantt chart" font-size="10" '
        f'font-family="sans-serif" fill="currentColor">{"".join(parts)}</svg>'
    )


def _place(scene: Scene, ns: float) -> float:
    """Where a time stands, in pixels."""
    return INDENT + (WIDTH - INDENT - 2) * ns / max(scene.makespan_ns, scene.lower_bound_ns)


def _bars(scene: Scene) -> tuple[list[str], int]:
    """A bar for each attempt, with what it is in its title."""
    parts, group, colors = [], scene.groups[0], scene.group_colors
    for w, worker_id in enumerate(scene.worker_ids):
        top, end = int(scene.first_row[w]) * BAR, int(scene.first_row[w + 1]) * BAR
        if w % 2 == 0:
            parts.append(f'<rect x="{INDENT}" y="{top}" width="{WIDTH - INDENT}" height="{end - top}" opacity=".06"/>')
        parts.append(_label(worker_id, (top + end) / 2))
    columns = scene.columns
    names = ("task", "worker", "attempt", "start_ns", "end_ns", "reason")
    rows = zip(*(columns[name].tolist() for name in names), scene.row.tolist(), scene.is_critical.tolist())
    for task, worker, attempt, start, end, reason, row, critical in rows:
        x, far = _place(scene, start), _place(scene, end)
        failed = f", FAILED: {scene.reason_names[reason]}" if reason else ""
        number = f" #{attempt}" if attempt > 1 or reason else ""
        told = (
            f"{show_name(scene.task_ids[task])}{number} on {show_name(scene.worker_ids[worker])}: "
            f"{show_seconds(start / NS)} to {show_seconds(end / NS)}{failed}{', critical path' if critical else ''}"
        )
        color = FAILED_COLOR if reason else colors[group[task]]
        edge = ' stroke="currentColor" stroke-width="1.4"' if critical else ""
        parts.append(
            f'<rect x="{x:.1f}" y="{row * BAR + 1}" width="{max(1.0, far - x - 0.6):.1f}" height="{BAR - 2}" '
            f'fill="{color}"{edge}><title>{escape(told)}</title></rect>'
        )
    return parts, int(scene.first_row[-1]) * BAR


def _shades(scene: Scene) -> tuple[list[str], int]:
    """Rows of workers, in shades; equal neighbours in a row are one rectangle, and one path a shade."""
    n_rows = min(ROWS, len(scene.worker_ids))
    share = scene.busy(n_rows, COLUMNS)
    # Any work at all is shown.
    level = np.where(share > 1e-9, np.clip(np.ceil(share * SHADES - 1e-9), 1, SHADES), 0).astype(int)
    wide = (_place(scene, scene.makespan_ns) - INDENT) / COLUMNS
    paths: dict[int, list[str]] = {}
    for row, levels in enumerate(level):
        edges = [0, *(np.nonzero(np.diff(levels))[0] + 1).tolist(), COLUMNS]
        for first, last in pairwise(edges):
            if levels[first]:
                x, far = INDENT + first * wide, INDENT + last * wide
                box = f"M{x:.1f} {row * ROW}H{far:.1f}v{ROW - 1}H{x:.1f}z"
                paths.setdefault(int(levels[first]), []).append(box)
    parts = [
        f'<path d="{"".join(boxes)}" fill="{BUSY_COLOR}" fill-opacity="{shade / SHADES:.3g}"/>'
        for shade, boxes in sorted(paths.items())
    ]
    first = np.searchsorted(scene.bundles(n_rows), np.arange(n_rows + 1)).tolist()
    for row in range(n_rows):
        others = first[row + 1] - first[row] - 1
        parts.append(_label(scene.worker_ids[first[row]], (row + 0.5) * ROW, f" +{others}" if others else ""))
    return parts, n_rows * ROW


def _label(worker_id: str, y: float, more: str = "") -> str:
    text = fit_width(show_name(worker_id), 17 - len(more)).rstrip() + more
    return f'<text x="{INDENT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{escape(text)}</text>'
