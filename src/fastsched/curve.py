"""Curves and counts as pictures of text: numbers in, lines out. It prints nothing and asks nothing about a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .gantt import show_seconds

__all__ = ["draw_columns", "draw_histogram"]

EIGHTHS = "▏▎▍▌▋▊▉"  # of a sign, from the left
NARROWEST = 30
BINS = 12


def draw_columns(
    values: Sequence[float],
    tops: Sequence[float | None],
    floors: Sequence[float | None],
    width: int,
    height: int = 10,
    marks: Sequence[tuple[float, str]] = (),
    ascii_only: bool = False,
) -> list[str]:
    """A column for each value: up to its floor (a bound) it is full, from there to its top it is light.

    tops, floors: seconds; None where there is none. marks: values with a word each, written below them.
    """
    known = [top for top in tops if top is not None]
    if not known or max(known) <= 0:
        return []
    most = max(known)
    full, light, edge, foot = ("#", ".", "|", "-") if ascii_only else ("█", "░", "│", "─")
    labels = [show_seconds(most * (row + 1) / height) for row in range(height)]
    indent = max(map(len, labels))
    room = max(NARROWEST, width) - indent - 3
    wide = max(1, min(6, room // len(values)))
    shown = np.linspace(0, len(values) - 1, min(len(values), room // wide)).round().astype(int).tolist()
    lines = []
    for row in range(height - 1, -1, -1):
        cells = []
        for at in shown:
            top, floor = tops[at], floors[at]
            filled = 0 if floor is None else round(floor / most * height)
            reached = 0 if top is None else max(1, round(top / most * height))
            sign = full if row < filled else light if row < reached else " "
            cells.append((sign * max(1, wide - 1)).ljust(wide))
        label = labels[row] if row in (height - 1, (height - 1) // 2) else ""
        lines.append(f"{label:>{indent}} {edge}{''.join(cells)}".rstrip())
    lines.append(f"{'0':>{indent}} {edge}{foot * (wide * len(shown))}")
    first, last = f"{values[shown[0]]:g}", f"{values[shown[-1]]:g}"
    gap = max(1, wide * len(shown) - len(first) - len(last))
    lines.append(f"{'':>{indent}}  {first}{' ' * gap}{last}")
    for value, word in marks:
        at = min(range(len(shown)), key=lambda i: (abs(values[shown[i]] - value), i))
        text = f"^ {word}"
        place = at * wide
        if place + len(text) > room:
            text, place = f"{word} ^", max(0, place - len(word) - 1)
        lines.append(f"{'':>{indent}}  {' ' * place}{text}"[:width])
    return lines


def draw_histogram(amounts: npt.NDArray[np.float64], width: int, ascii_only: bool = False) -> list[str]:
    """How many of the amounts (seconds) lie where: a line for each of a dozen equal spans, with a bar and its share."""
    low, high = float(amounts.min()), float(amounts.max())
    bins = BINS if high > low else 1
    counts, edges = np.histogram(amounts, bins=bins, range=(low, high if high > low else low + 1))
    labels = [show_seconds(float(edge)) for edge in edges[:-1]]
    indent = max(map(len, labels))
    room = max(NARROWEST, width) - indent - 9
    lines = []
    for label, count in zip(labels, counts.tolist()):
        eighths = round(count / int(counts.max()) * room * 8)
        if ascii_only:
            bar = "#" * (-(-eighths // 8))
        else:
            bar = "█" * (eighths // 8) + (EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")
        share = f"{count / len(amounts):.1%}"
        lines.append(f"{label:>{indent}} {share:>6} {bar}".rstrip())
    return lines
