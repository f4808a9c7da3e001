"""The floor: the least that any scheduler of ready tasks by urgency has to do, in native code (limit/floor.pyx)."""

from __future__ import annotations

from collections.abc import Callable

import native
import numpy as np
import numpy.typing as npt

from fastsched import TaskGraph
from fastsched.portfolio import key_of
from fastsched.ranks import urgency_order


def lay_ready(graph: TaskGraph, *, is_sorted: bool) -> Callable[[], npt.NDArray[np.int32]]:
    """One pass of the floor, to be made once: a function that answers the tasks in the order in which they came out.

    All that the pass needs is made here, as `make_core` makes what `simulate` needs; `is_sorted`: the order of
    urgency too. Raises ImportError where there is nothing to build the native part with.
    """
    floor = native.load("limit/floor.pyx")
    n = len(graph)
    key = key_of("critical-path", graph, np.ones(len(graph.resources)))
    missing = np.diff(graph.dep_ptr).astype(np.int32)
    heap, order = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int32)
    urgency: tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]] = (graph.priority, key)
    if is_sorted:
        task_at = urgency_order(graph.priority, key)
        position = np.empty(n, dtype=np.int32)
        position[task_at] = np.arange(n, dtype=np.int32)
        urgency = (position, task_at)
    kahn = floor.kahn_sorted if is_sorted else floor.kahn

    def play() -> npt.NDArray[np.int32]:
        return order[: kahn(graph.succ_ptr, graph.succ, *urgency, missing, heap, order)]

    return play
