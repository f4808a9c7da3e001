"""Cycles in a graph of indices: rows of dependencies in, paths out. Nothing recurses; all is linear."""

from __future__ import annotations

from itertools import chain

import numpy as np
import numpy.typing as npt

from ._graphs import successors, topological_order

__all__ = ["find_cycles"]


def find_cycles(rows: list[list[int]]) -> list[list[int]]:
    """One cycle of every knot of tasks that all depend on one another; each begins and ends on its first task.

    It is a shortest one through the first task of the knot, in the order of the tasks, and among these the one that
    the dependencies come to first as they are given. Knots come in the order of their first tasks. A knot may hold
    further cycles, which show when this one has been cut. Linear in tasks and dependencies.
    """
    left = _left_over(rows)
    knots = _find_knots({i: [d for d in rows[i] if d in left] for i in left})
    return [_shortest_cycle(rows, knot) for knot in sorted(map(sorted, knots))]


def _left_over(rows: list[list[int]]) -> dict[int, None]:
    """The tasks that no topological order reaches: those on cycles, and what depends on them."""
    dep_ptr = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    deps = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(dep_ptr[-1]))
    reached: npt.NDArray[np.bool_] = np.zeros(len(rows), dtype=bool)
    reached[topological_order(dep_ptr, *successors(dep_ptr, deps))] = True
    return dict.fromkeys(np.nonzero(~reached)[0].tolist())


def _find_knots(rows: dict[int, list[int]]) -> list[list[int]]:
    """The strongly connected components of more than one task (Tarjan 1972, with a stack of our own)."""
    knots: list[list[int]] = []
    number: dict[int, int] = {}  # in the order of being met
    low: dict[int, int] = {}  # the least number that is known to be reached
    open_tasks: list[int] = []  # met, and not yet in a component
    closed: set[int] = set()
    for root in rows:
        path = [] if root in number else [(root, iter(rows[root]))]
        while path:
            task, onward = path[-1]
            if task not in number:
                number[task] = low[task] = len(number)
                open_tasks.append(task)
            for other in onward:
                if other not in number:
                    path.append((other, iter(rows[other])))
                    break
                if other not in closed:
                    low[task] = min(low[task], number[other])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[task])
                if low[task] == number[task]:
                    at = len(open_tasks) - 1
                    while open_tasks[at] != task:
                        at -= 1
                    closed.update(open_tasks[at:])
                    if len(open_tasks) - at > 1:
                        knots.append(open_tasks[at:])
                    del open_tasks[at:]
    return knots


def _shortest_cycle(rows: list[list[int]], knot: list[int]) -> list[int]:
    """The way from the first task of the knot back to it that has the fewest steps."""
    first, inside = knot[0], dict.fromkeys(knot)
    before: dict[int, int] = {}
    queue = [first]
    for task in queue:
        for other in rows[task]:
            if other in inside and other not in before:
                before[other] = task
                queue.append(other)
        if first in before:
            break
    path = [first, before[first]]
    while path[-1] != first:
        path.append(before[path[-1]])
    return path[::-1]
