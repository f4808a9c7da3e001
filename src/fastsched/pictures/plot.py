"""A scene drawn by matplotlib: what attempts ran where, and below it what was in use.

All attempts are one collection, however many there are, so ten thousand cost little more than twenty. More lanes than a
figure has lines for are not drawn one by one: rows of neighbouring workers show how busy they are.
"""

from __future__ import annotations

import importlib
import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import MissingExtraError
from ..files import write_file
from ..names import fit_width, show_name, width_of
from ..units import show_seconds
from .axis import tick_label, tick_step, ticks
from .scene import FAILED_COLOR, PALETTE, Scene, amount_label
from .usage import busy_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot", "require_matplotlib"]

NS = 1_000_000_000
MOST_LANES = 600  # that are drawn one by one
DENSE = (300, 600)  # rows and columns of the picture that takes their place
MOST_NAMES = 80  # attempts that have their names in them
MOST_STEPS = 2000  # of the utilisation that are drawn as they are; more are means over MEANS parts
MEANS = 800
BOUND_COLOR, EDGE_COLOR, BAND_COLOR = "#b3261e", "#111318", "#f0f2f5"
COLOR_BY = ("group", "status")


def require_matplotlib() -> None:
    """Raise MissingExtraError where there is none."""
    try:
        importlib.import_module("matplotlib")
    except ImportError:
        raise MissingExtraError("plot", "a plot") from None


def plot(scene: Scene, path: str | os.PathLike[str] | None, ax: Any, color_by: str) -> Figure:
    """See `Pictured.plot`."""
    if color_by not in COLOR_BY:
        raise ValueError(f"color_by is {color_by!r}; {' or '.join(map(repr, COLOR_BY))} is wanted")
    require_matplotlib()
    dense = scene.first_row[-1] > MOST_LANES
    if ax is None:
        figure, chart, below = _new_figure(scene, path is None, dense)
    else:
        chart, below = (
            np.ravel(np.array([ax], dtype=object)).tolist()[:2] if np.size(ax) > 1 else (np.ravel(ax)[0], None)
        )
        figure = chart.figure
    _draw_busy(scene, chart) if dense else _draw_attempts(scene, chart, color_by)
    _draw_lines(scene, chart)
    handles = _handles(scene, color_by, dense)
    if ax is None:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False, fontsize=8
        )
    else:
        chart.legend(handles=handles, loc="upper right", fontsize=7)
    if below is not None:
        _draw_usage(scene, below)
    if path is not None:
        drawn = io.BytesIO()
        figure.savefig(drawn, format=os.path.splitext(path)[1][1:] or "png", dpi=150)
        write_file(path, drawn.getvalue())
    return figure


def _new_figure(scene: Scene, shown: bool, dense: bool) -> tuple[Figure, Axes, Axes]:
    """A figure with two axes; one of pyplot's, where it is not written to a file.

    A notebook shows what a cell answers, and all that pyplot has as well; so pyplot forgets it there, to be seen once.
    """
    rows = 40 if dense else int(scene.first_row[-1])
    size = (11.0, 2.9 + min(6.0, max(1.0, 0.24 * rows)))
    if shown:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=size, layout="constrained")
        if "inline" in plt.get_backend():
            plt.close(figure)
    else:
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, layout="constrained")
    chart, below = figure.subplots(2, 1, sharex=True, height_ratios=[size[1] - 2.3, 1.1])
    return figure, chart, below


def _draw_attempts(scene: Scene, ax: Axes, color_by: str) -> None:
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.colors import to_rgba_array

    columns, n = scene.columns, len(scene)
    until = _until(scene)
    start = columns["start_ns"] / NS
    end = np.maximum(columns["end_ns"] / NS, start + until * 8e-4)  # what takes no time is seen too
    boxes = _boxes(start, end, scene.row.astype(float))
    failed = columns["reason"] > 0
    colors = to_rgba_array([*scene.group_colors, FAILED_COLOR])
    class_of = scene.groups[0][columns["task"]].astype(int) if color_by == "group" else np.zeros(n, dtype=int)
    class_of[failed] = len(colors) - 1
    for w in range(0, len(scene.worker_ids), 2):
        ax.axhspan(scene.first_row[w], scene.first_row[w + 1], color=BAND_COLOR, linewidth=0, zorder=0)
    # Many small boxes are crisper without edges and smoothing, and as pixels they keep an SVG or a PDF small.
    edge = 0.6 if n <= 400 else 0.25 if n <= 4000 else 0.0
    style = {"linewidths": edge, "edgecolors": "white", "antialiaseds": edge > 0, "rasterized": n > 4000}
    ax.add_collection(PolyCollection(list(boxes), facecolors=colors[class_of], zorder=2, **style), autolim=False)
    if failed.any() and n <= 5000:
        hatched = PolyCollection(list(boxes[failed]), facecolors="none", edgecolors="#00000088", hatch="////", zorder=3)
        hatched.set_linewidth(0)
        ax.add_collection(hatched, autolim=False)
    critical = np.nonzero(scene.is_critical)[0]
    if len(critical):
        edges = PolyCollection(
            list(boxes[critical]), facecolors="none", edgecolors=EDGE_COLOR, linewidths=1.3, zorder=4
        )
        ax.add_collection(edges, autolim=False)
        ends = np.column_stack((end[critical], scene.row[critical] + 0.5))
        starts = np.column_stack((start[critical], scene.row[critical] + 0.5))
        links = np.stack((ends[:-1], starts[1:]), axis=1)
        ax.add_collection(LineCollection(list(links), colors=EDGE_COLOR, linewidths=0.9, zorder=4), autolim=False)
    if n <= MOST_NAMES:
        _write_names(scene, ax, start, end, colors[class_of])
    ax.set_ylim(float(scene.first_row[-1]) or 1.0, 0.0)
    _name_workers(scene, ax, scene.first_row)


def _boxes(start: npt.NDArray[Any], end: npt.NDArray[Any], row: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(n, 4, 2): the corners of a box for each attempt in its row."""
    x = np.stack((start, end, end, start), axis=1)
    y = row[:, None] + np.array([0.06, 0.06, 0.94, 0.94])
    return np.stack((x, y), axis=2)


def _write_names(scene: Scene, ax: Axes, start: Any, end: Any, colors: Any) -> None:
    """The ids of attempts in their boxes, as far as there is room."""
    from matplotlib.patheffects import withStroke

    letters = 150 / _until(scene)  # that go into a second, about
    for i, task in enumerate(scene.columns["task"].tolist()):
        attempt, failed = int(scene.columns["attempt"][i]), scene.columns["reason"][i] > 0
        name = show_name(scene.task_ids[task]) + (f" #{attempt}" if attempt > 1 or failed else "")
        room = int((end[i] - start[i]) * letters) - 1
        if room < 2:
            continue
        dark = colors[i][:3] @ (0.299, 0.587, 0.114) < 0.5
        text = name if width_of(name) <= room else fit_width(name, room).rstrip()
        place = ((start[i] + end[i]) / 2, scene.row[i] + 0.53)
        ax.annotate(
            text,
            place,
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else "black",
            path_effects=[withStroke(linewidth=2.5, foreground=colors[i])],  # a line may go behind it
            zorder=5,
            annotation_clip=True,
        )


def _draw_busy(scene: Scene, ax: Axes) -> None:
    """How busy neighbouring workers are, as a picture of few rows; the shade of 100 % is told in the legend."""
    n_rows = min(DENSE[0], len(scene.worker_ids))
    share = scene.busy(n_rows, DENSE[1])
    until = _until(scene)
    ax.imshow(
        share,
        cmap="Blues",
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
        extent=(0.0, scene.makespan_ns / NS or until, float(len(scene.worker_ids)), 0.0),
    )
    _name_workers(scene, ax, np.arange(len(scene.worker_ids) + 1))


def _name_workers(scene: Scene, ax: Axes, edges: npt.NDArray[Any]) -> None:
    """The ids of workers on the axis, of as many as there is room for."""
    height = ax.figure.get_size_inches()[1] * ax.get_position().height
    step = max(1, -(-len(scene.worker_ids) // max(2, int(height * 5.5))))
    shown = range(0, len(scene.worker_ids), step)
    labels = [fit_width(show_name(scene.worker_ids[w]), 24).rstrip() for w in shown]
    ax.set_yticks([(edges[w] + edges[w + 1]) / 2 for w in shown], labels, fontsize=8)
    ax.tick_params(axis="y", length=0)


def _draw_lines(scene: Scene, ax: Axes) -> None:
    """The lower bound, the end, the axis of time, the title."""
    if scene.lower_bound_ns:
        ax.axvline(scene.lower_bound_ns / NS, color=BOUND_COLOR, linestyle=(0, (5, 3)), linewidth=1.3, zorder=6)
    ax.axvline(scene.makespan_ns / NS, color="#676c75", linewidth=1, zorder=1)
    _time_axis(scene, ax)
    told = dict(scene.summary())
    bound = ""
    if scene.lower_bound_ns:
        bound = ", optimal" if scene.gap_text == "optimal" else f", {scene.gap_text} above the lower bound"
    head = f"{show_name(scene.title)}: " if scene.title else ""
    makespan = show_seconds(scene.makespan_ns / NS)
    ax.set_title(
        f"{head}{told['tasks']} tasks on {told['workers']} workers, makespan {makespan}{bound}", loc="left", fontsize=10
    )


def _time_axis(scene: Scene, ax: Axes) -> None:
    from matplotlib import ticker

    def tick_values(self: Any, low: float, high: float) -> list[float]:
        self.step = tick_step(high - low, 9)
        return ticks(low, high, self.step)

    def place(self: Any) -> list[float]:
        return tick_values(self, *self.axis.get_view_interval())

    locator = type("TimeLocator", (ticker.Locator,), {"tick_values": tick_values, "__call__": place})()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda seconds, _: tick_label(seconds, locator.step)))
    ax.tick_params(axis="x", labelsize=8)
    ax.set_xlim(0.0, _until(scene) * 1.02)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _draw_usage(scene: Scene, ax: Axes) -> None:
    """The share in use of each resource that somebody has."""
    times, held = scene.usage
    edges = times / NS
    if len(times) > MOST_STEPS:
        columns, rows = scene.columns, np.zeros(len(scene), dtype=np.int64)
        of = scene.demand[columns["task"]].astype(float)
        means = [
            busy_grid(rows, columns["start_ns"], columns["end_ns"], of[:, k], 1, MEANS, scene.makespan_ns)[0]
            for k in range(of.shape[1])
        ]
        edges, values = np.linspace(0.0, scene.makespan_ns / NS, MEANS + 1), np.stack(means, axis=1)
    else:
        values = held[:-1].astype(float)
    for k, (resource, offered) in enumerate(zip(scene.resources, scene.offered)):
        if not offered or len(edges) < 2:
            continue
        color, label = PALETTE[k % len(PALETTE)], amount_label(resource)
        ax.stairs(values[:, k] / offered * 100, edges, color=color, linewidth=1.3, label=show_name(label))
        ax.stairs(values[:, k] / offered * 100, edges, color=color, alpha=0.15, fill=True)
    ax.set_ylim(0, 105)
    ax.set_yticks([0, 50, 100], ["0", "50%", "100%"], fontsize=8)
    ax.set_ylabel("in use", fontsize=8)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 0.95), fontsize=7, ncols=5, frameon=False)
    _time_axis(scene, ax)


def _handles(scene: Scene, color_by: str, dense: bool) -> list[Any]:
    """What the colours and the lines mean."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    if dense:
        handles.append(Patch(color="#08306b", label="all cores busy (white: none)"))
    elif color_by == "status":
        handles.append(Patch(color=scene.group_colors[0], label="completed"))
    else:
        for g in scene.shown_groups:
            label = fit_width(show_name(scene.groups[1][g]), 28).rstrip()
            handles.append(Patch(color=scene.group_colors[g], label=label))
    if not dense and (scene.columns["reason"] > 0).any():
        handles.append(Patch(facecolor=FAILED_COLOR, hatch="////", edgecolor="#00000088", linewidth=0, label="failed"))
    if not dense and len(scene.critical):
        handles.append(Line2D([], [], color=EDGE_COLOR, linewidth=1.3, label="critical path"))
    if scene.lower_bound_ns:
        label = f"lower bound {show_seconds(scene.lower_bound_ns / NS)} ({show_name(scene.bound_by)})"
        handles.append(Line2D([], [], color=BOUND_COLOR, linestyle=(0, (5, 3)), label=label))
    return handles


def _until(scene: Scene) -> float:
    """Seconds that the axis has to show; never 0."""
    return max(scene.makespan_ns, scene.lower_bound_ns) / NS or 1.0
