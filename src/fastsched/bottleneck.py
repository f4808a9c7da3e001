"""What keeps a plan from being shorter, in words and as data: the proof of its lower bound, told to a person.

It looks at a bound and at when the tasks that prove it run in the plan. It bounds nothing, and judges no plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .bounds import Bound
from .names import show_capacity, show_name
from .units import show_seconds

__all__ = ["Bottleneck", "find_bottleneck"]

NS = 1_000_000_000
SHOWN_STEPS = 4  # of a critical path, its last one included
SHOWN_WORKERS = 3
BOUND_WORDS = {"cpu_millicores": "cpu", "memory_mb": "memory"}

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bottleneck:
    """What binds, and when.

    Attributes:
        kind: `critical path`: a chain of dependent tasks; `resource`: work on a resource that there is too little of;
            `slots`: tasks that need so much of a resource that a worker holds few of them; `apart`: tasks of which no
            two fit a worker together.
        resource: its name, or None where none is short.
        start, end: seconds: when the first of the tasks starts, and the last one ends, in the plan.
        workers: the ids of those on which the tasks compete; empty for a critical path.
        tasks: the ids of the tasks: of a critical path from first to last, else in the order they were given.
        text: the same in a sentence.
    """

    kind: str
    resource: str | None
    start: float
    end: float
    workers: tuple[str, ...]
    tasks: tuple[str, ...]
    text: str


def find_bottleneck(plan: Any, bound: Bound, task_ids: Sequence[str], worker_ids: Sequence[str]) -> Bottleneck | None:
    """Tell the proof of a bound of a `Plan`; None where there is nothing to do."""
    first_ns = np.where(plan.attempts > 0, plan.start_ns, -1)
    np.minimum.at(first_ns, plan.log["task"], plan.log["start"])
    path = bound.kind == "critical path"
    tasks = list(plan.critical_path) if path else bound.tasks.tolist()
    tasks = [task for task in tasks if first_ns[task] >= 0]
    if not tasks or bound.ns == 0:
        return None
    start, end = int(first_ns[tasks].min()) / NS, int(plan.end_ns[tasks].max()) / NS
    names = tuple(task_ids[task] for task in tasks)
    workers = tuple(worker_ids[worker] for worker in bound.workers.tolist())
    resource = plan._graph.resources[bound.resource] if bound.resource >= 0 else None
    if path:
        text = f"critical path: {_show_path(names)}"
    else:
        when = f"{show_seconds(start)} to {show_seconds(end)}"
        where = _show_workers(bound.workers, bound.resource, plan._capacity, plan._graph.resources, worker_ids)
        if resource is None:
            text = f"{len(tasks):,} tasks of which no two fit a worker together, {when}{where}"
        else:
            text = f"{BOUND_WORDS.get(resource, show_name(resource))}-bound {when}{where}"
    if bound.kind == "slots":
        least = int(plan._graph.demand[tasks, bound.resource].min())
        at_once = int((plan._capacity[bound.workers, bound.resource] // least).sum())
        need = show_capacity(plan._graph.resources[bound.resource], least)
        text += f": {len(tasks):,} tasks with {need} or more, of which {at_once:,} can run at a time"
    kind = "resource" if bound.kind == "area" else bound.kind
    return Bottleneck(kind, resource, start, end, workers, names, text)


def _show_path(names: Sequence[str]) -> str:
    """The first steps of a path and its last one."""
    steps = [show_name(name) for name in names]
    if len(steps) > SHOWN_STEPS:
        steps[SHOWN_STEPS - 1 : -1] = [f"... {len(steps) - SHOWN_STEPS:,} more ..."]
    return ", ".join(steps)


def _show_workers(
    workers: Int32s, resource: int, capacity: Int32s, resources: Sequence[str], worker_ids: Sequence[str]
) -> str:
    """Which workers: by the amount that sets them apart from the others, if there is one; nothing where it is all."""
    others = np.ones(len(capacity), dtype=np.bool_)
    others[workers] = False
    if not others.any():
        return ""
    for r in dict.fromkeys((max(resource, 0), *range(len(resources)))):
        least, most = int(capacity[workers, r].min()), int(capacity[workers, r].max())
        if least > int(capacity[others, r].max()):
            more = "" if least == most else " or more"
            noun = "workers" if len(workers) > 1 else "worker"
            amount = f"{show_capacity(resources[r], least)}"
            return f" on the {noun} with {amount}{more}"
    if len(workers) > SHOWN_WORKERS:
        return f" on {len(workers):,} of {len(worker_ids):,} workers"
    return f" on {', '.join(show_name(worker_ids[worker]) for worker in workers.tolist())}"
