"""`schedule()`: compile the graph, play the virtual time line, put names on the result.

Virtual time only: nothing is executed and no clock is read.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ._core import REASON_UNSATISFIABLE, Core
from .errors import UnsatisfiableWarning
from .graph import CLOCK_LIMIT_NS, TaskGraph, WorkerTable
from .model import Task, Worker, nearest
from .plan import Plan, Schedule
from .ranks import RANKS, urgency_order

__all__ = ["check_choice", "describe_misfit", "make_core", "schedule", "show_amount"]

FITS = ("most-free", "best-fit", "first-fit")
Outcome = Callable[[str, str, int], bool]


def schedule(
    tasks: Iterable[Task | Mapping[str, Any]],
    workers: Iterable[Worker | Mapping[str, Any]],
    *,
    rank: str = "critical-path",
    fit: str = "most-free",
    max_retries: int = 3,
    outcome: Outcome | None = None,
) -> Schedule:
    """Plan what runs where and when, in virtual time. Nothing is executed.

    At every decision, the ready tasks are looked at in the order of (priority descending, rank,
    submission): the first that fits some worker now is placed on the worker that `fit` prefers, until
    none fits. This is list scheduling (Graham 1969) with `rank` as its list.

    Args:
        tasks: `Task` objects or mappings with the same fields, in the order of submission.
        workers: `Worker` objects or mappings with the same fields.
        rank: `critical-path` (the longest chain behind a task first), `fifo`, `most-work`, `longest-first`.
        fit: `most-free` (the worker with the most available), `best-fit` (the least), `first-fit`.
        max_retries: failures that a task survives, where it does not say so itself.
        outcome: `outcome(task_id, worker_id, attempt) -> bool` says whether a simulated attempt (1, 2, ...)
            succeeds. A failed attempt takes its full duration, and its retry avoids the workers on which the
            task failed, while another could hold it. None: all succeed.

    Returns:
        A dictionary from task id to final status, with the plan attached.

    Raises:
        ValidationError: naming every problem of the tasks, or of the workers.
        ValueError: for an unknown rank or fit.

    Warns:
        UnsatisfiableWarning: where a task asks for more than any worker has; it ends FAILED with
            reason UNSATISFIABLE.
    """
    check_choice("rank", rank, RANKS)
    check_choice("fit", fit, FITS)
    graph = TaskGraph(tasks)
    table = WorkerTable(workers, graph.resources)
    core = make_core(graph, table, rank=rank, fit=fit, max_retries=max_retries)
    if outcome is None:
        core.simulate()
    else:
        most = max(max_retries, int(graph.max_retries.max(initial=0))) + 1
        if float(graph.duration.sum(dtype=np.float64)) * most >= CLOCK_LIMIT_NS:
            raise ValueError("durations times attempts add up to more than the clock can hold; lower max_retries")
        ids, worker_ids, told = graph.ids, table.ids, outcome
        core.simulate(lambda task, worker, attempt: bool(told(ids[task], worker_ids[worker], attempt)))
    plan = Plan(graph, table.capacity, core.columns(), core.log())
    warn_unsatisfiable(graph, table, plan)
    return Schedule(graph.ids, table.ids, plan)


def make_core(graph: TaskGraph, table: WorkerTable, *, rank: str, fit: str, max_retries: int) -> Core:
    """The state machine for this graph on these workers, with nothing decided yet."""
    if isinstance(max_retries, bool) or not isinstance(max_retries, int) or not 0 <= max_retries < 2**31:
        raise ValueError(f"max_retries is {max_retries!r}; a whole number of 0 or more is wanted")
    key = RANKS[rank](graph.order, graph.succ_ptr, graph.succ, graph.duration, graph.demand)
    classes = graph.classes
    return Core(
        succ_ptr=graph.succ_ptr,
        succ=graph.succ,
        demand=graph.demand,
        duration=graph.duration,
        order=urgency_order(graph.priority, key),
        max_retries=np.where(graph.max_retries < 0, max_retries, graph.max_retries),
        class_of=classes.class_of,
        class_demand=classes.class_demand,
        exact=classes.exact,
        pivot=classes.pivot,
        capacity=table.capacity,
        fit=fit,
    )


def check_choice(what: str, name: str, known: Iterable[str]) -> None:
    """Raise for a name that is not among the known ones, with the nearest of them."""
    known = list(known)
    if name not in known:
        near = nearest(str(name), known)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f"unknown {what} {name!r}{hint} (known: {', '.join(known)})")


def warn_unsatisfiable(graph: TaskGraph, table: WorkerTable, plan: Plan) -> None:
    """Say which tasks no worker could ever hold, with the largest worker and what it lacks."""
    hopeless = np.nonzero(plan.reason == REASON_UNSATISFIABLE)[0].tolist()
    if not hopeless:
        return
    first = [describe_misfit(graph, table, task) for task in hopeless[:3]]
    more = f"; and {len(hopeless) - 3} more tasks" if len(hopeless) > 3 else ""
    warnings.warn("; ".join(first) + more, UnsatisfiableWarning, stacklevel=3)


def describe_misfit(graph: TaskGraph, table: WorkerTable, task: int) -> str:
    """Why no worker could ever hold this task: the one that comes nearest, and what it lacks."""
    name, demand = graph.ids[task], graph.demand[task].astype(np.int64)
    if not len(table):
        return f"no worker was given, so task {name!r} cannot run"
    lacks = np.maximum(demand - table.capacity, 0)
    share = (lacks / np.maximum(demand, 1)).sum(axis=1)
    size = (table.capacity / np.maximum(demand, 1)).sum(axis=1)
    best = int(np.lexsort((-size, share))[0])
    missing = " and ".join(
        f"{show_amount(resource, int(lack))} more (it needs {show_amount(resource, int(need))}, "
        f"the worker has {show_amount(resource, int(has))})"
        for resource, lack, need, has in zip(graph.resources, lacks[best], demand, table.capacity[best])
        if lack
    )
    return f"no worker can hold task {name!r}: the largest for it, {table.ids[best]!r}, would need {missing}"


def show_amount(resource: str, amount: int) -> str:
    """An amount with its unit, as a person reads it."""
    if resource == "cpu_millicores":
        return f"{amount / 1000:g} core{'' if amount == 1000 else 's'}"
    if resource == "memory_mb":
        return f"{amount} MB" if amount < 10 * 1024 else f"{amount / 1024:.4g} GB"
    return f"{amount} {resource}"
