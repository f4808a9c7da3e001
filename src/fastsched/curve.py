"""Curves and counts as pictures of text: numbers in, lines out. It prints nothing and asks nothing about a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .gantt import show_seconds

__all__ = ["draw_columns", "draw_histogram", "show_finely"]

LEVELS = " ▁▂▃▄▅▆▇█"
EIGHTHS = "▏▎▍▌▋▊▉"  # of a sign, from the left
NARROWEST = 30
BINS = 12


def show_finely(seconds: float) -> str:
    """A time to the second from an hour on, too: 2h 03m 12s; times that are near one another can be told apart."""
    if seconds < 3600:
        return show_seconds(seconds)
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}h {minutes % 60:02d}m {rest:02d}s"


def draw_columns(
    values: Sequence[float],
    names: tuple[str, str],
    tops: Sequence[float | None],
    width: int,
    height: int = 10,
    marks: Sequence[tuple[float, str]] = (),
    ascii_only: bool = False,
) -> list[str]:
    """A column for each value, or for as many of them as there is room for.

    names: of the first value and the last. tops: seconds; None where there is none. marks: values, each with a word
    that is written below.
    """
    most = max((top for top in tops if top is not None), default=0.0)
    if most <= 0:
        return []
    signs, edge, foot = (" .:#", "|", "-") if ascii_only else (LEVELS, "│", "─")
    parts = len(signs) - 1
    labels = [show_seconds(most), show_seconds(most / 2)]
    indent = max(map(len, labels))
    room = max(NARROWEST, width) - indent - 3
    wide = max(1, min(6, room // len(values)))
    shown = np.linspace(0, len(values) - 1, min(len(values), room // wide)).round().astype(int).tolist()
    filled = [0 if top is None else max(1, round(top / most * height * parts)) for top in tops]
    lines = []
    for row in range(height - 1, -1, -1):
        levels = [min(parts, max(0, filled[at] - row * parts)) for at in shown]
        cells = "".join((signs[level] * max(1, wide - 1)).ljust(wide) for level in levels)
        label = labels[0] if row == height - 1 else labels[1] if row == height // 2 - 1 else ""
        lines.append(f"{label:>{indent}} {edge}{cells}".rstrip())
    lines.append(f"{'0':>{indent}} {edge}{foot * (wide * len(shown))}")
    first, last = names
    gap = max(1, wide * len(shown) - len(first) - len(last))
    lines.append(f"{'':>{indent}}  {first}{' ' * gap}{last}")
    for value, word in marks:
        place = wide * min(range(len(shown)), key=lambda i: (abs(values[shown[i]] - value), i))
        text = f"^ {word}"
        if place + len(text) > room:
            text, place = f"{word} ^", max(0, place - len(word) - 1)
        lines.append(f"{'':>{indent}}  {' ' * place}{text}"[:width])
    return lines


def draw_histogram(amounts: npt.NDArray[np.float64], width: int, ascii_only: bool = False) -> list[str]:
    """How many of the amounts (seconds) lie where: a line for each of a dozen equal spans, with a bar and its share."""
    low, high = float(amounts.min()), float(amounts.max())
    bins = BINS if high > low else 1
    counts, edges = np.histogram(amounts, bins=bins, range=(low, high if high > low else low + 1))
    labels = [show_finely(float(edge)) for edge in edges[:-1]]
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
