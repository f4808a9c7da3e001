"""How a plan is followed: in which order its tasks are looked at, who of them is held back, and what comes of that.

A plan says when and where each task starts. A live rule keeps no plan to the letter: it looks at what is ready, in some
order. Here the order is found in which that comes to the plan again, and who has to wait for it. Nothing here makes a
plan, reads a file or a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ._core import Core
from ._graphs import bottom_levels
from ._replay import Replay
from ._timeline import simulate
from .graph import CompiledGraph, WorkerTable
from .guide import Guide, Route
from .kinds import DemandClasses
from .plan import Plan, Schedule
from .risk import sigma_of

__all__ = [
    "as_planned",
    "by_latest_start",
    "follow",
    "hold_back",
    "late",
    "loosened",
    "play_list",
    "read_guide",
    "read_route",
]
__all__ += ["sturdiest"]

MOST_PLAYS = 200  # of a plan, to find out who has to be held back for it
HELD_SHARE, HELD_SHARE_OF_MANY = 8, 2  # of those that are early, one in so many is held back at a time, and one more
MANY = 2000  # tasks
FEWEST_RELEASES, MOST_RELEASES = 8, 40  # plays, to find out who need not be held back after all
MOST_RELEASED = 200_000  # tasks that are played for it, about
SPREAD = 0.3  # of the durations with which ways to follow a plan are tried
FEWEST_SAMPLES, MOST_SAMPLES, MOST_PLAYED = 8, 24, 100_000  # of each way; and tasks that are played for it, about
MOST_NS = 2.0**57  # of all durations together, where they are drawn with such a spread
TOLERANCE = 100  # a duration that differs by one part in so many is as planned, and by
MOMENT_NS = 10_000_000  # that it takes to start something and to hear of its end
LATE_NS = 1_000_000_000  # that it may take for workers to come up, and a part of the whole plan, until a task is late

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Pairs = Sequence[tuple[int, int]]
Columns = dict[str, npt.NDArray[Any]]
Play = Callable[[Route], Columns]
Holds = Callable[[Columns], bool]


def follow(core: Core, route: Route, now: int = 0) -> None:
    """Have a core follow a plan from here on."""
    core.follow(now, tasks=route.tasks, key=route.key, worker=route.worker, not_before=route.not_before)


def read_guide(plan: Schedule | Plan | Guide) -> Guide:
    """What is to be followed of a plan: a `Schedule`, a `Plan`, or a `Guide` itself.

    Of a task that was tried more than once, the last attempt is what was planned; what was never started is not.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(plan, Guide):
        return plan
    if not isinstance(plan, (Schedule, Plan)):
        said = f"plan is {plan!r}; what schedule() answers is wanted"
        raise TypeError(f"{said}, its .plan, or what fastsched.load_plan() has read")
    numbers = plan.plan if isinstance(plan, Schedule) else plan
    graph, order = numbers._graph, numbers.order
    if order is None:
        order = by_latest_start(graph, numbers._capacity, numbers.start_ns, numbers.end_ns, numbers.worker)
    route = Route.of_order(order, numbers.start_ns, numbers.end_ns, numbers.worker)
    task_ids = plan.task_ids if isinstance(plan, Schedule) else graph.ids
    worker_ids = plan.worker_ids if isinstance(plan, Schedule) else None
    return Guide([task_ids[i] for i in route.tasks.tolist()], worker_ids, route.renumbered())


def read_route(
    plan: Schedule | Plan | Guide, graph: CompiledGraph, table: WorkerTable, *, fit: str = "most-free"
) -> Route:
    """The way of a plan through a graph, so that it takes no longer than planned if all goes as planned.

    Where the durations of the graph are others than planned, it is `loosened`.

    Raises:
        ValidationError: where it plans tasks that the graph does not have. TypeError: for what is no plan.
    """
    guide = read_guide(plan)
    known = dict(zip(graph.ids, range(len(graph))))
    guide.check(known)
    route = guide.route_through(known, dict(zip(table.ids, range(len(table)))))
    if not guide.is_ordered:
        start, end = np.full((2, len(graph)), -1, dtype=np.int64)
        worker = np.full(len(graph), -1, dtype=np.int32)
        start[route.tasks], end[route.tasks], worker[route.tasks] = route.start_ns, route.end_ns, route.worker
        route = Route.of_order(by_latest_start(graph, table.capacity, start, end, worker), start, end, worker)
    if not as_planned(graph.duration[route.tasks], route.end_ns - route.start_ns).all():
        return loosened(route, graph, table.capacity, fit=fit)
    return hold_back(route, graph, table.capacity, fit=fit)


def as_planned(actual: Int64s, planned: Int64s) -> npt.NDArray[np.bool_]:
    """Which times (ns) are what was planned, as near as a plan to the letter is worth."""
    near: npt.NDArray[np.bool_] = np.abs(actual - planned) <= planned // TOLERANCE + MOMENT_NS
    return near


def late(actual: Int64s, planned: Int64s, whole_ns: int) -> npt.NDArray[np.bool_]:
    """Which starts (ns) are so much later than planned that a plan which takes so long does not go as planned."""
    behind: npt.NDArray[np.bool_] = actual - planned > whole_ns // TOLERANCE + LATE_NS
    return behind


def loosened(
    route: Route, graph: Any, capacity: Int32s, *, fit: str, stays: npt.NDArray[np.bool_] | None = None
) -> Route:
    """How a plan is followed that does not go as planned: by the order that stands mishaps best; nobody is held back.

    Which that is, is tried: the order of the plan, rank, and both together, each with the workers of the plan, and
    rank alone. The order of latest starts keeps most of what a plan has gained where room is short, and loses a lot
    where chains bind, for a plan may well let a long task wait until no time is left for it to be late
    (bench/follow.py). Which of both holds is not seen from a plan. `stays` (n,): tasks that keep their worker.
    """
    places = np.arange(len(route))
    by_rank = np.lexsort((places, -bottom_levels(graph.order, graph.succ_ptr, graph.succ, graph.duration)[route.tasks]))
    rank = np.empty(len(route), dtype=np.int64)
    rank[by_rank] = places
    free = replace(route, not_before=np.zeros_like(route.not_before))
    ways = [free, free.reordered(np.lexsort((places, places + rank))), free.reordered(by_rank)]
    nowhere = np.full_like(route.worker, -1)
    if stays is not None:
        nowhere = np.where(stays[ways[-1].tasks], ways[-1].worker, nowhere)
    return sturdiest([*ways, replace(ways[-1], worker=nowhere)], graph, capacity, fit=fit)


def sturdiest(ways: Sequence[Route], graph: Any, capacity: Int32s, *, fit: str) -> Route:
    """Of some ways to go on the one that ends first, on average, with durations that vary, the same for each; the first
    of those alike. None has tasks in it that the others have not."""
    n = len(graph.duration)
    samples = min(max(MOST_PLAYED // max(1, n), FEWEST_SAMPLES), MOST_SAMPLES)
    if float(graph.duration.sum(dtype=np.float64)) >= MOST_NS:
        return ways[0]  # some of what is drawn would be more than a clock can hold
    ends = np.zeros((len(ways), samples), dtype=np.int64)
    for way, row in zip(ways, ends):
        core = core_of_list(
            way, graph.dep_ptr, graph.deps, graph.demand, graph.duration, capacity, fit=fit, priority=graph.priority
        )
        core.fail_unsatisfiable(0)
        Replay(core, graph.dep_ptr, graph.deps).sample(row, np.zeros(n, dtype=np.int64), 0, sigma_of(SPREAD), 0)
    return ways[int(np.argmin(ends.sum(axis=1, dtype=np.float64)))]


def by_latest_start(graph: Any, capacity: Int32s, start: Int64s, end: Int64s, worker: Int32s) -> Int32s:
    """The tasks of a plan by when they have to start at the latest for it to take no longer; those of no plan last.

    When a task starts says little of how urgent it is: one that fills a gap starts early. So the plan is played
    backwards, on the mirrored graph, where each task starts as late as it can (the first half of a double
    justification; Valls, Ballestin and Quintanilla 2005). With durations that differ by a tenth from what was planned,
    this order keeps most of what a plan has gained over a rank, and that of the starts nothing (bench/follow.py).
    """
    planned = start >= 0
    demand = np.where(planned[:, None], graph.demand, 0).astype(np.int32)
    span = int(end.max(initial=0))
    order = np.lexsort((start, -end)).astype(np.int32)
    order = order[planned[order]]
    mirrored = Route.of_order(order, span - end, span - start, worker)
    ends = play_list(
        mirrored, graph.succ_ptr, graph.succ, demand, np.where(planned, end - start, 0), capacity, fit="most-free"
    )["end"]
    return np.lexsort((start, -ends, ~planned)).astype(np.int32)


def hold_back(route: Route, graph: Any, capacity: Int32s, *, fit: str, exactly: bool = False) -> Route:
    """Have those wait until their time whom the plan lets wait on purpose: started at once, they would make it longer.

    A list keeps no room free for what is not ready yet, and a plan may. So the plan is played as it was meant; while
    that takes longer than planned, some of the first that start before their time are held back. Of these, as many are
    let go again as may be: who waits in vain costs time as soon as anything takes another time than was expected.
    What one list pass has made is played as it is, and nobody is held back. `exactly`: nor is it to take less time than
    planned. The answer has the times of that play, which are what will come of it.
    """
    duration = graph.duration.copy()
    duration[route.tasks] = route.end_ns - route.start_ns

    def play(route: Route) -> Columns:
        return play_list(
            route, graph.dep_ptr, graph.deps, graph.demand, duration, capacity, fit=fit, priority=graph.priority
        )

    def holds(columns: Columns) -> bool:
        ends_ns = int(columns["end"][route.tasks].max())
        return ends_ns == route.ends_ns or (ends_ns < route.ends_ns and not exactly)

    if not len(route):
        return route
    found, columns = _hold_enough(route, play, holds)
    if holds(columns) and found.not_before.any():
        found, columns = _let_go(found, play, holds, columns)
    start, end = columns["start"][route.tasks], columns["end"][route.tasks]
    runs = start >= 0
    return replace(found, start_ns=np.where(runs, start, route.start_ns), end_ns=np.where(runs, end, route.end_ns))


def _hold_enough(route: Route, play: Play, holds: Holds) -> tuple[Route, Columns]:
    """The plan with enough held back, and what comes of it."""
    share = HELD_SHARE if len(route) <= MANY else HELD_SHARE_OF_MANY
    columns = play(route)
    for _ in range(MOST_PLAYS):
        start = columns["start"][route.tasks]
        early = np.nonzero((start >= 0) & (start < route.start_ns) & (route.not_before == 0))[0]
        if not len(early) or holds(columns):
            break
        first = early[np.argsort(start[early], kind="stable")][: 1 + len(early) // share]
        held = route.not_before.copy()
        held[first] = route.start_ns[first]
        route = replace(route, not_before=held)
        columns = play(route)
    return route, columns


def _let_go(route: Route, play: Play, holds: Holds, columns: Columns) -> tuple[Route, Columns]:
    """The plan with fewer held back, and what comes of it: half of them at a time, the first ones first; then less."""
    n_plays = min(max(MOST_RELEASED // len(route), FEWEST_RELEASES), MOST_RELEASES)
    held = np.nonzero(route.not_before)[0]
    held = held[np.argsort(route.not_before[held], kind="stable")]
    size, at = -(-len(held) // 2), 0
    while n_plays and len(held):
        not_before = route.not_before.copy()
        not_before[held[at : at + size]] = 0
        tried = replace(route, not_before=not_before)
        came = play(tried)
        n_plays -= 1
        if holds(came):
            route, columns, held = tried, came, np.delete(held, slice(at, at + size))
        else:
            at += size
        if at >= len(held):
            if size == 1:
                break
            size, at = size // 2, 0
    return route, columns


def core_of_list(
    route: Route,
    dep_ptr: Int64s,
    deps: Int32s,
    demand: Int32s,
    duration: Int64s,
    capacity: Int32s,
    *,
    fit: str,
    priority: Int64s | None = None,
    avoided: Pairs = (),
) -> Core:
    """A core that follows a plan, on which nothing has happened yet. `avoided`: (task, worker) of failures."""
    n = len(duration)
    priority = np.zeros(n, dtype=np.int64) if priority is None else priority
    key = np.zeros(n, dtype=np.int64)
    key[route.tasks] = route.key
    classes = DemandClasses(demand)
    core = Core(n_resources=demand.shape[1], pivot=classes.pivot, fit=fit)
    core.add_workers(capacity, 0)
    core.add_tasks(
        0,
        dep_ptr=dep_ptr,
        deps=deps,
        demand=demand,
        duration=duration,
        priority=priority,
        key=key,
        max_retries=np.zeros(n, dtype=np.int32),
        class_of=classes.class_of,
        class_demand=classes.class_demand,
    )
    for task, worker in avoided:
        core.remember_failure(task, worker, 0)
    follow(core, route)
    return core


def play_list(
    route: Route,
    dep_ptr: Int64s,
    deps: Int32s,
    demand: Int32s,
    duration: Int64s,
    capacity: Int32s,
    **options: Any,
) -> Columns:
    """The columns of a core after virtual time in which a plan was followed; takes what `core_of_list` takes."""
    core = core_of_list(route, dep_ptr, deps, demand, duration, capacity, **options)
    simulate(core)
    columns: Columns = core.columns()
    return columns
