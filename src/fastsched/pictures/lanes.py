"""Which lane of its worker an attempt is drawn in, so that no two that run at the same time overlap.

Arrays in, arrays out: no name, no colour, no pixel.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["pack_lanes"]

Ints = npt.NDArray[Any]


def pack_lanes(worker: Ints, start_ns: Ints, end_ns: Ints, n_workers: int) -> tuple[Ints, Ints]:
    """Give each attempt the lowest lane of its worker that is free when it starts.

    Greedy interval partitioning, which takes as many lanes as ever run at once and no more. An attempt that starts
    when another ends may have its lane. One of no duration counts at its instant, so that it is not drawn over another;
    those of one instant may share a lane.

    Args:
        worker, start_ns, end_ns: (n,) of the attempts, in the order of their starts.

    Returns:
        lane (n,) int32, counted from 0 on each worker; n_lanes (n_workers,) int32.
    """
    lane = np.zeros(len(worker), dtype=np.int32)
    n_lanes = np.zeros(n_workers, dtype=np.int32)
    taken: list[list[tuple[int, int]]] = [[] for _ in range(n_workers)]  # (end, lane), a heap
    free: list[list[int]] = [[] for _ in range(n_workers)]  # lanes, a heap
    for i, (w, start, end) in enumerate(zip(worker.tolist(), start_ns.tolist(), end_ns.tolist())):
        busy, open_lanes = taken[w], free[w]
        while busy and busy[0][0] <= start:
            heappush(open_lanes, heappop(busy)[1])
        if open_lanes:
            chosen = heappop(open_lanes)
        else:
            chosen = int(n_lanes[w])
            n_lanes[w] += 1
        lane[i] = chosen
        heappush(busy, (end, chosen))
    return lane, n_lanes
