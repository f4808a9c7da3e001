"""Is this plan possible at all? Asked of the plain numbers, by numpy, knowing nothing of how the core decides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from workloads import Arrays

Numbers = npt.NDArray[np.integer]


def check_plan(graph: Arrays, capacity: Numbers, worker: Numbers, start_ns: Numbers, end_ns: Numbers) -> None:
    """Assert that every task ran once, for its duration, after what it depends on, where there was room for it.

    capacity (W, K); worker, start_ns and end_ns (n,). All edges and all instants are looked at.
    """
    n = len(graph.duration)
    assert len(worker) == len(start_ns) == len(end_ns) == n
    assert start_ns.min() >= 0 and worker.min() >= 0 and worker.max() < len(capacity), "a task did not run"
    assert np.array_equal(end_ns - start_ns, np.rint(graph.duration * 1e9).astype(np.int64)), "a duration is wrong"
    dependents = np.repeat(np.arange(n), np.diff(graph.indptr))
    assert (end_ns[graph.indices] <= start_ns[dependents]).all(), "a task started before what it depends on ended"

    # What is held on each worker, event by event; at one instant what ends is given back before what starts is taken.
    # A worker's events add up to nothing, so one running sum goes over all of them.
    # A task of no duration holds nothing at any instant; that it would fit an empty worker is looked at.
    assert (graph.demand <= capacity[worker]).all(), "a task is on a worker that could never hold it"
    lasts = end_ns > start_ns
    worker, start_ns, end_ns = worker[lasts], start_ns[lasts], end_ns[lasts]
    takes = np.repeat(np.array([True, False]), len(worker))
    by = np.lexsort((takes, np.concatenate((start_ns, end_ns)), np.concatenate((worker, worker))))
    where = np.concatenate((worker, worker))[by]
    for r in range(capacity.shape[1]):
        amounts = graph.demand[lasts, r].astype(np.int64)
        held = np.cumsum(np.concatenate((amounts, -amounts))[by])
        assert held.min(initial=0) >= 0 and (held <= capacity[where, r]).all(), f"resource {r} is held beyond capacity"


def check_order(graph: Arrays, order: Numbers) -> None:
    """Assert that this is a topological order of all the tasks."""
    n = len(graph.duration)
    place = np.full(n, -1)
    place[order] = np.arange(len(order))
    assert len(order) == n and place.min(initial=0) >= 0, "a task is missing"
    dependents = np.repeat(np.arange(n), np.diff(graph.indptr))
    assert (place[graph.indices] < place[dependents]).all(), "a task stands before what it depends on"
