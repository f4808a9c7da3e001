"""`compare()`: plans and runs side by side, numbers first, and which tasks moved the most.

What is compared is a `Schedule`, a `Run`, or a saved plan that `load_plan()` has read. The best is the one in which the
fewest tasks failed; among these the shortest, then the cheapest, then the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import Problem, ValidationError
from .model import RESERVED_RESOURCES, TaskStatus, Worker
from .plan import NS, Plan, Run, Schedule
from .saved import SavedPlan
from .shapes import NANO, Shape, price_of, read_shapes

__all__ = ["Comparison", "Move", "Outline", "compare"]

MOVES = 5


@dataclass(frozen=True)
class Move:
    """A task that does not start when, or where, it does in the other plan. start, other_start: seconds, or None."""

    task_id: str
    start: float | None
    other_start: float | None
    worker_id: str | None
    other_worker_id: str | None

    @property
    def later(self) -> float:
        """Seconds by which it starts later than in the other; 0 where it does not start in one of them."""
        return 0.0 if self.start is None or self.other_start is None else self.start - self.other_start


@dataclass(frozen=True)
class Outline:
    """What is told of one plan.

    Attributes:
        makespan, lower_bound: seconds; the bound is 0.0 where it is not known. gap: the share by which the makespan is
            above the bound; None where that is 0.
        utilisation: of all that there is of each resource, the share that is held; empty where that is not known.
        price_per_hour; price: of the whole makespan; None where it is not known.
        n_tasks, n_failed, n_workers: how many.
        starts, workers: of the last attempt of each task that was started, by its id: seconds, and worker id.
    """

    name: str
    makespan: float
    lower_bound: float
    bound_by: str
    gap: float | None
    utilisation: dict[str, float]
    price_per_hour: float | None
    price: float | None
    n_tasks: int
    n_failed: int
    n_workers: int
    starts: dict[str, float] = field(repr=False)
    workers: dict[str, str] = field(repr=False)


@dataclass(frozen=True)
class Comparison:
    """Plans in the order in which they were given, and the name of the best."""

    outlines: tuple[Outline, ...]
    best: str

    def __getitem__(self, name: str) -> Outline:
        for outline in self.outlines:
            if outline.name == name:
                return outline
        raise KeyError(name)

    def moves(self, name: str, other: str | None = None, count: int = MOVES) -> list[Move]:
        """The tasks whose start differs the most from that in another plan (the best), the most first."""
        return list(self._differences(name, other)[:count])

    def n_elsewhere(self, name: str, other: str | None = None) -> int:
        """How many tasks are on another worker than in another plan (the best), by the workers' ids."""
        one, two = self[name], self[other or self.best]
        return sum(worker != two.workers.get(task_id) for task_id, worker in one.workers.items())

    def n_moved(self, name: str, other: str | None = None) -> int:
        """How many tasks start at another time than in another plan (the best)."""
        return len(self._differences(name, other))

    def _differences(self, name: str, other: str | None) -> list[Move]:
        one, two = self[name], self[other or self.best]
        moves = [
            Move(
                task_id,
                one.starts.get(task_id),
                two.starts.get(task_id),
                one.workers.get(task_id),
                two.workers.get(task_id),
            )
            for task_id in dict.fromkeys((*one.starts, *two.starts))
            if one.starts.get(task_id) != two.starts.get(task_id)
        ]
        return sorted(
            moves, key=lambda move: (move.start is not None and move.other_start is not None, -abs(move.later))
        )


def compare(
    plans: Mapping[str, Schedule | Run | SavedPlan], *, prices: Iterable[Shape | Mapping[str, Any]] = ()
) -> Comparison:
    """Put plans, runs and saved plans side by side, by their names.

    Args:
        plans: `Schedule`, `Run`, or what `load_plan()` has read.
        prices: shapes with what one costs an hour; a worker costs what the shape does that is equal to it.

    Raises:
        ValueError: where there is nothing to compare. ValidationError: for what is no plan.
    """
    shapes = read_shapes(prices)
    if not plans:
        raise ValueError("there is nothing to compare; give at least one plan")
    outlines = tuple(_outline_of(name, plan, shapes) for name, plan in plans.items())
    best = min(
        outlines, key=lambda o: (o.n_failed, o.makespan, math.inf if o.price_per_hour is None else o.price_per_hour)
    )
    return Comparison(outlines, best.name)


def _outline_of(name: str, plan: object, shapes: list[Shape]) -> Outline:
    if isinstance(plan, (Schedule, Run)):
        return _outline_plan(name, plan, shapes)
    if isinstance(plan, SavedPlan):
        return _outline_saved(name, plan, shapes)
    message = "it is no plan: what schedule() or run() answers is wanted, or what load_plan() has read"
    raise ValidationError([Problem("bad_type", name, message)])


def _outline_plan(name: str, plan: Schedule | Run, shapes: list[Shape]) -> Outline:
    numbers: Plan = plan.plan
    resources = numbers._graph.resources
    workers = [_worker_of(dict(zip(resources, row))) for row in numbers._capacity.tolist()]
    held = (numbers.utilisation * numbers._capacity).sum(axis=0).tolist()
    offered = numbers._capacity.sum(axis=0, dtype="int64").tolist()
    began = [(i, s, w) for i, (s, w) in enumerate(zip(numbers.start_ns.tolist(), numbers.worker.tolist())) if s >= 0]
    return _outline(
        name,
        numbers.makespan,
        numbers.lower_bound,
        numbers.bound_by,
        {resource: h / o for resource, h, o in zip(resources, held, offered) if o},
        price_of(shapes, workers, resources),
        len(plan),
        sum(status is not TaskStatus.COMPLETED for status in plan.values()),
        len(plan.worker_ids),
        {plan.task_ids[i]: start / NS for i, start, _ in began},
        {plan.task_ids[i]: plan.worker_ids[worker] for i, _, worker in began},
    )


def _outline_saved(name: str, saved: SavedPlan, shapes: list[Shape]) -> Outline:
    offers, shares = saved.workers, saved.utilisation
    utilisation = {}
    for resource in next(iter(offers.values()), {}):
        offered = sum(one.get(resource, 0) for one in offers.values())
        held = sum(one.get(resource, 0) * shares.get(worker, {}).get(resource, 0.0) for worker, one in offers.items())
        if offered:
            utilisation[resource] = held / offered
    rate = price_of(shapes, map(_worker_of, offers.values()), next(iter(offers.values()), {})) if offers else None
    last = {placed.task_id: placed for placed in saved.placements}  # they are in order of time
    return _outline(
        name,
        saved.makespan,
        saved.lower_bound,
        saved.bound_by,
        utilisation,
        rate,
        len(saved.status),
        sum(status is not TaskStatus.COMPLETED for status in saved.status.values()),
        len(offers or {placed.worker_id for placed in last.values()}),
        {task_id: placed.start for task_id, placed in last.items()},
        {task_id: placed.worker_id for task_id, placed in last.items()},
    )


def _outline(
    name: str, makespan: float, bound: float, bound_by: str, utilisation: dict[str, float], rate: int | None, *rest: Any
) -> Outline:
    return Outline(
        name,
        makespan,
        bound,
        bound_by,
        makespan / bound - 1 if bound else None,
        utilisation,
        None if rate is None else rate / NANO,
        None if rate is None else rate / NANO * makespan / 3600,
        *rest,
    )


def _worker_of(amounts: Mapping[str, int]) -> Worker:
    cores, memory = (amounts.get(name, 0) for name in RESERVED_RESOURCES)
    named = {name: amount for name, amount in amounts.items() if name not in RESERVED_RESOURCES}
    return Worker("w", cores / 1000, memory, resources=named or None)
