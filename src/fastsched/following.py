"""How a plan is followed: in which order its tasks are looked at, who of them is held back, and what comes of that.

A plan says when and where each task starts. A live rule keeps no plan to the letter: it looks at what is ready, in some
order. Here the order is found in which that comes to the plan again, and who has to wait for it. Nothing here makes a
plan, reads a file or a clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ._core import Core
from ._timeline import simulate
from .graph import CompiledGraph, WorkerTable
from .guide import Guide, Route
from .kinds import DemandClasses
from .plan import Plan, Schedule

__all__ = ["by_latest_start", "follow", "hold_back", "play_list", "read_guide", "read_route"]

MOST_PLAYS = 200  # of a plan, to find out who has to be held back for it
HELD_SHARE, HELD_SHARE_OF_MANY = 8, 2  # of those that are early, one in so many is held back at a time, and one more
MANY = 2000  # tasks

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


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
    return hold_back(route, graph, table.capacity, fit=fit)


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
    that takes longer than planned, some of the first that start before their time are held back. What one list pass
    has made is played as it is, and nobody is held back. `exactly`: nor is it to take less time than planned.
    """
    duration = graph.duration.copy()
    duration[route.tasks] = route.end_ns - route.start_ns
    share = HELD_SHARE if len(route) <= MANY else HELD_SHARE_OF_MANY
    for _ in range(MOST_PLAYS if len(route) else 0):
        columns = play_list(
            route, graph.dep_ptr, graph.deps, graph.demand, duration, capacity, fit=fit, priority=graph.priority
        )
        start = columns["start"][route.tasks]
        early = np.nonzero((start >= 0) & (start < route.start_ns) & (route.not_before == 0))[0]
        ends_ns = int(columns["end"].max())
        if not len(early) or ends_ns == route.ends_ns or (ends_ns < route.ends_ns and not exactly):
            break
        first = early[np.argsort(start[early], kind="stable")][: 1 + len(early) // share]
        held = route.not_before.copy()
        held[first] = route.start_ns[first]
        route = replace(route, not_before=held)
    return route


def play_list(
    route: Route,
    dep_ptr: Int64s,
    deps: Int32s,
    demand: Int32s,
    duration: Int64s,
    capacity: Int32s,
    *,
    fit: str,
    priority: Int64s | None = None,
    avoided: Iterable[tuple[int, int]] = (),
) -> dict[str, npt.NDArray[Any]]:
    """The columns of a core after virtual time in which a plan was followed. `avoided`: (task, worker) of failures."""
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
    simulate(core)
    columns: dict[str, npt.NDArray[Any]] = core.columns()
    return columns
