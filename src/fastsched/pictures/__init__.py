"""Pictures of plans and of runs: a page, a chart, a trace, and what a notebook shows.

`Pictured` is what a `Schedule` and a `Run` have of them. The rooms here know numbers (`lanes`, `usage`, `waits`), what
is to be seen (`scene`), or one way to show it each; none knows how a plan was made.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from ..files import write_file
from .scene import Scene

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Pictured"]


class Pictured(ABC):
    """Something that has a `Scene`, and so can be looked at."""

    @abstractmethod
    def _scene(self, title: str) -> Scene:
        """All that a picture of it shows."""

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        ax: Any = None,
        color_by: str = "group",
        title: str = "",
    ) -> Figure:
        """A Gantt chart by worker, and utilisation over time below it, with matplotlib (extra `plot`).

        The critical path is marked, and the lower bound is a line. What ran at the same time on a worker is stacked in
        lanes; with too many of them to be told apart, each row shows how busy some workers are.

        Args:
            path: a file to write, its kind by its suffix (.png, .svg, .pdf). Without it the figure is one of
                `matplotlib.pyplot`'s, which `plt.show()` shows; a notebook shows what is returned.
            ax: draw on these axes: one for the Gantt chart alone, or two for it and for utilisation.
            color_by: `group` (ids that differ in their numbers alone have one colour) or `status`.

        Raises:
            MissingExtraError: without matplotlib.
            ValueError: for another `color_by`, or a suffix that matplotlib does not know.
        """
        from .plot import plot

        return plot(self._scene(title), path, ax, color_by)

    def to_html(self, title: str = "") -> str:
        """A page to look around in, as text: one file that needs nothing else, and no network.

        It has a Gantt chart that pans and zooms, utilisation over time, the critical path, the bounds, a search and a
        table.
        """
        from .page import page_of

        return page_of(self._scene(title))

    def save_html(self, path: str | os.PathLike[str], title: str = "") -> None:
        """Write `to_html()` to a file. Raises OSError."""
        write_file(path, self.to_html(title).encode())

    def save_trace(self, path: str | os.PathLike[str], title: str = "") -> None:
        """Write a trace for ui.perfetto.dev and chrome://tracing. Raises OSError.

        A process for each worker, a thread for each lane on it, a slice for each attempt, counters for what is in use,
        arrows along the critical path. Its times are microseconds from the start.
        """
        from .trace import trace_of

        write_file(path, trace_of(self._scene(title)))

    def _repr_html_(self) -> str:
        """What a notebook shows: a few numbers and a small chart."""
        from .sketch import sketch_of

        return sketch_of(self._scene(""))
