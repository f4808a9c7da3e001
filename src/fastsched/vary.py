"""`vary()`: the makespan over the number of workers, or over what each of them has; and where more is of little use.

Each point is one pass of the planner over a graph that is compiled once.

*The knee* is the point that is farthest below the straight line between the first point and the last (the largest
distance from the chord, as in Kneedle: Satopaa, Albrecht, Irwin and Raghavan 2011). It depends on the range that was
asked for. *Enough* is the least value with which the makespan is within 5 % of the best in the range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import mul
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from .graph import WorkerTable, read_both
from .model import Task, Worker, nearest
from .names import show_name
from .pictures.variation import Curve, plot_curve
from .plan import COMPLETED_STATE
from .planner import TaskGraph
from .portfolio import check_fit, check_rank
from .risk import check_whole, in_threads
from .shapes import MOST_WORKERS, NANO, SHAPE, Shape, price_of, read_shape, read_shapes, show_shape

__all__ = ["Point", "Variation", "find_knee", "vary"]

NS = 1_000_000_000
NEAR_BEST = Fraction(105, 100)
WORKERS, CORES, MEMORY = "workers", "cores", "memory"


@dataclass(frozen=True)
class Point:
    """One value of what was varied.

    Attributes:
        value: how many workers, or cores, or MB, or pieces. n_workers: in all.
        makespan: seconds; None where some task fits no worker, and n_failed says how many cannot run.
        lower_bound: seconds; bound_by: what it comes from. utilisation: the share of each resource that is held.
        price_per_hour; price: of the whole makespan; None where it is not known.
    """

    value: float
    n_workers: int
    makespan: float | None
    n_failed: int
    lower_bound: float | None
    bound_by: str | None
    utilisation: dict[str, float]
    price_per_hour: float | None
    price: float | None

    @property
    def gap(self) -> float | None:
        """The share by which the makespan is above the bound, where there is one."""
        return self.makespan / self.lower_bound - 1 if self.makespan is not None and self.lower_bound else None


@dataclass(frozen=True)
class Variation:
    """The points in order of their value. knee, enough: two of them, or None where there is none."""

    what: str
    points: tuple[Point, ...]
    knee: Point | None
    enough: Point | None

    def __repr__(self) -> str:
        knee = "no knee" if self.knee is None else f"knee at {self.knee.value:g}"
        return f"<Variation: {len(self.points)} points over {self.what}, {knee}>"

    def plot(self, path: str | Path | None = None) -> Any:
        """The curve as a matplotlib figure, written to a file where a path is given (its suffix says which kind).

        Raises:
            MissingExtraError: without matplotlib.
        """
        known = [point for point in self.points if point.makespan is not None]
        what = {WORKERS: "workers", CORES: "cores of each worker", MEMORY: "MB of each worker"}.get(
            self.what, self.what
        )
        marked = [(self.knee, "knee at {:g}"), (self.enough, "within 5 % of the shortest from {:g}")]
        curve = Curve(
            values=[point.value for point in known],
            label=what,
            title=f"makespan over {show_name(what)}",
            makespans=[point.makespan or 0.0 for point in known],
            bounds=[point.lower_bound or 0.0 for point in known],
            shares={
                name: [point.utilisation[name] for point in known]
                for name in (known[0].utilisation if known else ())
                if any(point.utilisation[name] for point in known)
            },
            prices=None if any(point.price is None for point in known) else [point.price or 0.0 for point in known],
            marks=[(known.index(point), said.format(point.value)) for point, said in marked if point is not None],
        )
        return plot_curve(curve, path)


def vary(
    tasks: TaskGraph | Iterable[Task | Mapping[str, Any]],
    workers: Iterable[Worker | Mapping[str, Any]],
    what: str,
    values: Iterable[float],
    *,
    rank: str = "critical-path",
    fit: str = "most-free",
    prices: Iterable[Shape | Mapping[str, Any]] = (),
    threads: int = 1,
    on_progress: Callable[[int, int], object] | None = None,
) -> Variation:
    """Plan the tasks once for each value.

    Args:
        tasks, workers, rank, fit: as for `schedule()`.
        what: `workers`, how many: the given ones in order, again from the first where there are not enough. A shape
            such as `4x16G`: how many of it, beside the given workers of other shapes. `cores`, `memory` (MB) or
            another resource that tasks ask for: how much each of the given workers has of it.
        values: whole numbers; of cores to three decimals.
        prices: shapes with what one costs an hour; a worker costs what the shape does that is equal to it.
        threads: points that are planned at a time; the answer is the same.
        on_progress: on_progress(planned, points).

    Raises:
        ValueError, ValidationError: for what cannot be varied, or a value that cannot be.
    """
    check_rank(rank)
    check_fit(fit)
    check_whole("threads", threads, 1, 1024)
    graph, given = read_both(TaskGraph, tasks, workers)
    shapes = read_shapes(prices)
    amounts = sorted(set(values))
    sets = _Sets(what, given.workers, graph.resources)
    for value in amounts:
        sets.check(value)
    asked = [sum(map(mul, graph.duration.tolist(), graph.demand[:, r].tolist())) for r in range(len(graph.resources))]

    def point(at: int) -> tuple[Point, int | None]:
        chosen = sets.workers(amounts[at])
        plan, table = graph._play(
            WorkerTable(chosen, graph.resources), rank, fit, 0,
            plan=None, policy=None, outcome=None, events=(), failures=None, on_progress=None,
        )  # fmt: skip
        failed = int((plan.state != COMPLETED_STATE).sum())
        offered = table.capacity.sum(axis=0, dtype=np.int64).tolist()
        rate = price_of(shapes, chosen)
        makespan = None if failed else plan.makespan_ns
        held = [] if makespan is None else [(a, o * makespan) for a, o in zip(asked, offered)]
        return Point(
            value=amounts[at],
            n_workers=len(chosen),
            makespan=None if makespan is None else makespan / NS,
            n_failed=failed,
            lower_bound=None if failed else plan.lower_bound,
            bound_by=None if failed else plan.bound_by,
            utilisation={name: a / room if room else 0.0 for name, (a, room) in zip(graph.resources, held)},
            price_per_hour=None if rate is None else rate / NANO,
            price=None if rate is None or makespan is None else rate * makespan / NANO / NS / 3600,
        ), makespan

    points: list[Point] = []
    makespans: list[int | None] = []
    for one, makespan in in_threads(point, range(len(amounts)), threads):
        points.append(one)
        makespans.append(makespan)
        if on_progress is not None:
            on_progress(len(points), len(amounts))
    known = [(p, m) for p, m in zip(points, makespans) if m is not None]
    knee = find_knee([p.value for p, _ in known], [m for _, m in known])
    best = min((m for _, m in known), default=0)
    enough = next((p for p, m in known if m <= NEAR_BEST * best), None)
    return Variation(what, tuple(points), None if knee is None else known[knee][0], enough)


def find_knee(values: Sequence[float], makespans: Sequence[int]) -> int | None:
    """The point that is farthest below the chord from the first to the last; None where none is below it."""
    if len(values) < 3:
        return None
    at = [Fraction(value) for value in values]
    width, height = at[-1] - at[0], makespans[0] - makespans[-1]
    below = [(makespans[0] - m) * width - (x - at[0]) * height for x, m in zip(at, makespans)]
    best = max(below)
    return below.index(best) if best > 0 else None


class _Sets:
    """The workers for each value of what is varied."""

    def __init__(self, what: str, given: Sequence[Worker], resources: Sequence[str]) -> None:
        self.what, self.given = what, list(given)
        named = resources[2:]
        self.shape: Worker | None = None
        if SHAPE.fullmatch(what):
            times, self.shape = read_shape(what)
            if times != 1:
                raise ValueError(f"{what!r} is {times} workers; name one, as in {what.partition(':')[2]}=1..{times}")
            kind = show_shape(self.shape)
            self.given = [worker for worker in given if show_shape(worker) != kind]
        elif what not in (WORKERS, CORES, MEMORY, *named):
            known = [WORKERS, CORES, MEMORY, *named]
            near = nearest(what, known)
            hint = f"; did you mean {near!r}?" if near else ""
            raise ValueError(f"{what!r} cannot be varied{hint} (known: {', '.join(known)}, a shape such as 4x16G)")
        elif not self.given:
            raise ValueError("there are no workers to vary; give at least one")

    def check(self, value: float) -> None:
        """Raise for a value that cannot be."""
        counted = self.what == WORKERS or self.shape is not None
        low, high = (1, MOST_WORKERS) if self.what == WORKERS else (0, MOST_WORKERS if counted else 2**31 - 1)
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if not number or not low <= value <= high or (self.what != CORES and value != int(value)):
            raise ValueError(f"{self.what} is to be {value!r}; a whole number from {low} to {high:,} is wanted")
        for worker in self.workers(value)[:1]:
            for problem in worker.find_problems("worker"):
                raise ValueError(f"{self.what} is to be {value!r}: {problem.message}")

    def workers(self, value: float) -> list[Worker]:
        """The workers, called w0, w1, ... where they are made."""
        replace = msgspec.structs.replace
        if self.what == WORKERS:
            return [replace(self.given[i % len(self.given)], worker_id=f"w{i}") for i in range(int(value))]
        if self.shape is not None:
            chosen = [*self.given, *[self.shape] * int(value)]
            return [replace(worker, worker_id=f"w{i}") for i, worker in enumerate(chosen)]
        if self.what == CORES:
            return [replace(worker, cpu_cores_available=value) for worker in self.given]
        if self.what == MEMORY:
            return [replace(worker, memory_available_mb=int(value)) for worker in self.given]
        return [replace(worker, resources={**(worker.resources or {}), self.what: int(value)}) for worker in self.given]
