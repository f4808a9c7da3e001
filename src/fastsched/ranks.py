"""Orders of urgency: arrays in, one int64 key a task out, the smaller key first.

Each rank is a function of (order, succ_ptr, succ, duration_ns, demand): a topological order of
the n tasks, their successors as CSR, expected durations (n,) in ns, demands (n, K). No rank
knows a worker, and none breaks a tie: the submission index does, in `urgency_order`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ._graphs import bottom_levels
from ._order import order_by

__all__ = ["RANKS", "urgency_order"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Rank = Callable[[Int32s, Int64s, Int32s, Int64s, Int32s], Int64s]


def critical_path(order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s) -> Int64s:
    """The largest bottom level first: own duration plus the longest chain behind it (Hu 1961, Graham 1969)."""
    return -np.asarray(bottom_levels(order, succ_ptr, succ, duration))


def fifo(order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s) -> Int64s:
    """In the order of submission."""
    return np.zeros(len(duration), dtype=np.int64)


def most_work(order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s) -> Int64s:
    """The largest amount of work first: cores times duration.

    The product needs more than 64 bits; each is one correctly rounded multiplication, so the
    order is the same on every platform.
    """
    work = duration.astype(np.float64) * demand[:, 0].astype(np.float64)
    return -np.unique(work, return_inverse=True)[1].astype(np.int64)


def longest_first(order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s) -> Int64s:
    """The longest own duration first (LPT, Graham 1969)."""
    return -duration


RANKS: dict[str, Rank] = {
    "critical-path": critical_path,
    "fifo": fifo,
    "most-work": most_work,
    "longest-first": longest_first,
}


def urgency_order(priority: Int64s, key: Int64s) -> Int32s:
    """The tasks by (priority descending, key, index): the order in which ready tasks are looked at."""
    by = order_by(priority, key)
    return np.lexsort((key, -priority)).astype(np.int32) if by is None else by
