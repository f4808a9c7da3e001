"""Orders of urgency: arrays in, one int64 key a task out, the smaller key first.

Each rank is a function of (order, succ_ptr, succ, duration_ns, demand, mean): a topological order of
the n tasks, their successors as CSR, expected durations (n,) in ns, demands (n, K), and what a worker
has on average (K,) float64. No rank knows one worker from another, and none breaks a tie: the
submission index does, in `urgency_order`.

Where a rank needs more than whole numbers, every operation is one that is rounded correctly by
itself, on one number a task, so that keys are the same on every platform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from ._graphs import bottom_levels
from ._order import order_by

__all__ = ["RANKS", "mean_capacity", "urgency_order"]

KEY_BITS = 62  # what a chain of weights may add up to

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Rank = Callable[[Int32s, Int64s, Int32s, Int64s, Int32s, Floats], Int64s]


def critical_path(
    order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s, mean: Floats
) -> Int64s:
    """The largest bottom level first: own duration plus the longest chain behind it (Hu 1961, Graham 1969).

    It is the order of latest starts too: the latest start is the horizon less the bottom level.
    """
    return -np.asarray(bottom_levels(order, succ_ptr, succ, duration))


def fifo(order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s, mean: Floats) -> Int64s:
    """In the order of submission."""
    return np.zeros(len(duration), dtype=np.int64)


def most_work(order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s, mean: Floats) -> Int64s:
    """The largest amount of work first: cores times duration.

    The product needs more than 64 bits; each is one correctly rounded multiplication, so the
    order is the same on every platform.
    """
    work = duration.astype(np.float64) * demand[:, 0].astype(np.float64)
    return -np.unique(work, return_inverse=True)[1].astype(np.int64)


def longest_first(
    order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s, mean: Floats
) -> Int64s:
    """The longest own duration first (LPT, Graham 1969)."""
    return -duration


def latest_finish(
    order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s, mean: Floats
) -> Int64s:
    """Who has to end first goes first: the longest chain behind a task, without itself (Kolisch 1996, LFT)."""
    return duration - np.asarray(bottom_levels(order, succ_ptr, succ, duration))


def latest_middle(
    order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s, mean: Floats
) -> Int64s:
    """Half-way between latest start and latest finish: the longest chain behind, and half of the task itself."""
    bottom = np.asarray(bottom_levels(order, succ_ptr, succ, duration))
    return duration - 2 * bottom


def path_and_volume(
    order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s, mean: Floats
) -> Int64s:
    """The longest chain of durations and volumes first.

    The volume of a task is what it asks for, in mean workers and added up over resources, times its
    duration: the size by which vectors are packed in decreasing order (Panigrahy et al. 2011).
    """
    size = np.zeros(len(duration))
    for share in _shares(demand, mean):
        size += share
    weight = duration.astype(np.float64)
    return -np.asarray(bottom_levels(order, succ_ptr, succ, _whole(weight + size * weight)))


def dominant_path(
    order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s, mean: Floats
) -> Int64s:
    """The longest chain of dominant volumes first: the largest share of a mean worker (Ghodsi et al. 2011) by time."""
    most = np.zeros(len(duration))
    for share in _shares(demand, mean):
        np.maximum(most, share, out=most)
    return -np.asarray(bottom_levels(order, succ_ptr, succ, _whole(most * duration.astype(np.float64))))


RANKS: dict[str, Rank] = {
    "critical-path": critical_path,
    "latest-start": critical_path,
    "latest-finish": latest_finish,
    "latest-middle": latest_middle,
    "path-and-volume": path_and_volume,
    "dominant-path": dominant_path,
    "fifo": fifo,
    "most-work": most_work,
    "longest-first": longest_first,
}


def _shares(demand: Int32s, mean: Floats) -> Iterator[Floats]:
    """For each resource that workers have: (n,) what is asked of it, over what a worker has on average."""
    return (demand[:, r] / mean[r] for r in range(len(mean)) if mean[r] > 0)


def _whole(weight: Floats) -> Int64s:
    """Weights as whole numbers; where a chain of them might not fit 64 bits, all are divided by a power of two."""
    exponent = np.frexp(float(weight.max(initial=0.0)) * len(weight))[1]
    return np.rint(np.ldexp(weight, min(0, KEY_BITS - int(exponent)))).astype(np.int64)


def mean_capacity(capacity: Int32s) -> Floats:
    """(K,): what each of these workers (W, K) has on average; 0 where there are none."""
    total: Floats = capacity.sum(axis=0, dtype=np.int64).astype(np.float64)
    return total / max(1, len(capacity))


def urgency_order(priority: Int64s, key: Int64s) -> Int32s:
    """The tasks by (priority descending, key, index): the order in which ready tasks are looked at."""
    by = order_by(priority, key)
    return np.lexsort((key, -priority)).astype(np.int32) if by is None else by
