"""What becomes of a plan when something is varied, drawn by matplotlib: the makespan, what is in use, the price.

The panels stand below each other over the same values, so that no axis is read against another's scale.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import MissingExtraError
from ..files import write_file
from ..names import show_name
from ..units import show_seconds
from .axis import tick_label, tick_step, ticks
from .scene import PALETTE, amount_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "plot_curve"]

BOUND_COLOR, TEXT_COLOR, GRID_COLOR = "#b3261e", "#111318", "#e3e6ea"
MOST_DOTS = 60  # points that have a dot each
TICKS = 8  # of the makespan
ABOVE: dict[str, Any] = {
    "loc": "lower right",
    "bbox_to_anchor": (1.0, 0.97),
    "fontsize": 8,
    "frameon": False,
    "ncols": 5,
}


class Curve(NamedTuple):
    """What is drawn: columns with a number for each of the values.

    Attributes:
        values, label: of the axis. title: above it all.
        makespans, bounds: seconds. shares: in use, by resource. prices: None where they are not known.
        marks: points that are told of, by their places, and what is said of each.
    """

    values: Sequence[float]
    label: str
    title: str
    makespans: Sequence[float]
    bounds: Sequence[float]
    shares: Mapping[str, Sequence[float]]
    prices: Sequence[float] | None
    marks: Sequence[tuple[int, str]]


def plot_curve(curve: Curve, path: str | os.PathLike[str] | None) -> Figure:
    """A figure, written to a file where a path is given; its suffix says which kind.

    Raises:
        MissingExtraError: without matplotlib. ValueError: for a suffix that it does not know. OSError.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("plot", "a plot") from None
    heights = [3.0, 1.1] + [1.1] * (curve.prices is not None)
    figure = Figure(figsize=(9.0, 1.1 + sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    _draw_makespans(curve, panels[0])
    _draw_shares(curve, panels[1])
    if curve.prices is not None:
        panels[2].plot(curve.values, curve.prices, color=PALETTE[2], linewidth=1.6, **_dots(curve))
        panels[2].set_ylabel("price", fontsize=8)
        panels[2].set_ylim(0, max(curve.prices, default=0.0) * 1.12 or 1.0)
    for panel in panels:
        panel.grid(axis="y", color=GRID_COLOR, linewidth=0.8)
        panel.set_axisbelow(True)
        panel.tick_params(labelsize=8)
        for place, _ in curve.marks:
            panel.axvline(curve.values[place], color=TEXT_COLOR, linestyle=(0, (1, 2)), linewidth=1)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    panels[-1].set_xlabel(show_name(curve.label), fontsize=9)
    _space_values(curve.values, panels[-1])
    if path is not None:
        drawn = io.BytesIO()
        figure.savefig(drawn, format=os.path.splitext(path)[1][1:] or "png", dpi=150)
        write_file(path, drawn.getvalue())
    return figure


def _draw_makespans(curve: Curve, ax: Axes) -> None:
    """The makespan, and below it what no plan is shorter than; the room between them shaded."""
    bound = {"color": BOUND_COLOR, "linestyle": (0, (5, 3)), "linewidth": 1.2}
    ax.plot(curve.values, curve.makespans, color=PALETTE[0], linewidth=1.6, label="makespan", **_dots(curve))
    ax.plot(curve.values, curve.bounds, label="lower bound", zorder=3, **bound)
    ax.fill_between(curve.values, curve.bounds, curve.makespans, color=PALETTE[0], alpha=0.15, linewidth=0)
    longest = max(curve.makespans, default=0.0) or 1.0
    step = tick_step(longest, TICKS)
    at = ticks(0.0, longest * 1.05, step)
    ax.set_yticks(at, [tick_label(seconds, step) for seconds in at])
    ax.set_ylim(0, longest * 1.08)
    ax.set_title(curve.title, loc="left", fontsize=10, color=TEXT_COLOR)
    for row, (place, said) in enumerate(curve.marks):
        where, values = (curve.values[place], curve.makespans[place]), curve.values
        ax.plot([where[0]], [where[1]], "s", markersize=9, markerfacecolor="none", color=TEXT_COLOR, zorder=4)
        # Above all of the curve from there on, each a line lower than the one before; at the far end to the left.
        is_late = where[0] - values[0] > 0.6 * (values[-1] - values[0])
        ax.annotate(
            f"{said}\n{show_seconds(where[1])}",
            where,
            xytext=(
                where[0] + (values[-1] - values[0] or 1.0) * (-0.008 if is_late else 0.008),
                longest * (0.8 - 0.26 * row),
            ),
            ha="right" if is_late else "left",
            va="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    ax.legend(**ABOVE)


def _dots(curve: Curve) -> dict[str, Any]:
    """A dot at each point, where they are few."""
    return {"marker": "o", "markersize": 3.5} if len(curve.values) <= MOST_DOTS else {}


def _draw_shares(curve: Curve, ax: Axes) -> None:
    """How much of each resource is held, over the makespan."""
    for k, (resource, shares) in enumerate(curve.shares.items()):
        color, label = PALETTE[k % len(PALETTE)], show_name(amount_label(resource))
        ax.plot(
            curve.values, [100 * share for share in shares], color=color, linewidth=1.6, label=label, **_dots(curve)
        )
    ax.set_ylim(0, 105)
    ax.set_yticks([0, 50, 100], ["0", "50%", "100%"])
    ax.set_ylabel("in use", fontsize=8)
    if curve.shares:
        ax.legend(**ABOVE)


def _space_values(values: Sequence[float], ax: Axes) -> None:
    """Ticks at whole numbers where all values are such."""
    if not values:
        return
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(
        MaxNLocator(nbins=12, integer=all(value == int(value) for value in values), min_n_ticks=1)
    )
    room = (values[-1] - values[0]) * 0.02 or 0.5
    ax.set_xlim(values[0] - room, values[-1] + room)
