"""The orders of urgency: the keys are those of the oracle, whatever the numbers."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from worlds import RANKS as KNOWN
from worlds import make_world

from fastsched.graph import WorkerTable
from fastsched.planner import TaskGraph
from fastsched.portfolio import key_of
from fastsched.ranks import RANKS, mean_capacity

MEAN = np.array([4000.0, 8192.0])


def keys_of(graph, rank, mean=MEAN):
    return key_of(rank, graph, mean).tolist()


def test_the_oracle_knows_every_rank():
    assert set(KNOWN) == set(RANKS)


@pytest.mark.parametrize("rank", list(RANKS))
def test_keys_are_those_of_the_oracle(rank):
    for seed in range(150):
        world = make_world(seed)
        graph = TaskGraph(world.tasks)
        table = WorkerTable(world.workers, graph.resources)
        number = {task.task_id: i for i, task in enumerate(world.tasks)}
        deps = [[number[name] for name in task.dependencies] for task in world.tasks]
        wanted = oracle.rank_keys(
            rank, len(deps), deps, graph.duration.tolist(), graph.demand.tolist(), table.capacity.tolist()
        )
        got = keys_of(graph, rank, mean_capacity(table.capacity))
        if rank == "most-work":  # whose keys are places in an order
            wanted = (-np.unique(-np.array(wanted), return_inverse=True)[1]).tolist()
        assert got == wanted, f"seed {seed}"


def test_late_and_early_ends():
    """b has to end before c begins; d is longer, and nothing waits for it."""
    graph = TaskGraph.from_arrays([0, 0, 0, 1, 1], [1], [[1, 1]] * 4, duration=[1, 2, 4, 7])
    ns = 10**9
    assert keys_of(graph, "critical-path") == keys_of(graph, "latest-start") == [-1 * ns, -6 * ns, -4 * ns, -7 * ns]
    assert keys_of(graph, "latest-finish") == [0, -4 * ns, 0, 0]
    assert keys_of(graph, "latest-middle") == [-1 * ns, -10 * ns, -4 * ns, -7 * ns], "twice the time before the end"


def test_volumes_are_counted_in_mean_workers():
    demand = [[4000, 0], [0, 8192], [2000, 8192], [1000, 1024]]
    graph = TaskGraph.from_arrays([0] * 5, [], demand, duration=[8] * 4)
    assert keys_of(graph, "path-and-volume") == [-16 * 10**9, -16 * 10**9, -20 * 10**9, -11 * 10**9]
    assert keys_of(graph, "dominant-path") == [-8 * 10**9, -8 * 10**9, -8 * 10**9, -2 * 10**9]
    none = np.zeros(2)
    assert keys_of(graph, "path-and-volume", none) == [-8 * 10**9] * 4, "what nobody has, does not count"
    assert keys_of(graph, "dominant-path", none) == [0] * 4


@pytest.mark.parametrize("rank", ["path-and-volume", "dominant-path"])
def test_the_largest_volumes_stay_within_their_bits(rank):
    """Chains of what takes a century, and asks for a thousand times what a worker has on average."""
    n = 1000
    demand = np.full((n, 2), 2**31 - 1, dtype=np.int32)
    graph = TaskGraph.from_arrays([0, *range(n)], range(n - 1), demand, duration=np.full(n, 4e6))
    key = np.array(keys_of(graph, rank, np.full(2, 1.0)))
    assert (np.diff(key) > 0).all() and key[-1] < 0, "each task is more urgent than the next one"
