"""The typed face of the kernels of lower bounds; `bounds.py` calls them. Arrays are contiguous; times are in ns."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

def chains(order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s) -> tuple[Int64s, Int64s]:
    """(head, tail), each (n,), in the unit of `duration`: the longest chains before and behind a task, itself left out.

    `order` is a topological order; tasks that are not in it get 0.
    """

def steepest(
    by_head: Int32s,
    head: Int64s,
    leaf: Int32s,
    tails: Int64s,
    duration: Int64s,
    weight: Int64s,
    room: float,
    tree: npt.NDArray[np.float64],
) -> tuple[int, int, int] | None:
    """(h, q, area) with the largest h + q + area / room, area = the sum of weight * duration over the tasks with
    head >= h and tail >= q; None where no task has both. The area is exact; so is the choice, but for rounding.

    by_head (n,): the tasks by head, descending. leaf (n,): which of `tails` (ascending) is the threshold of a task: at
    most its tail. weight (n,): what a task holds, below 2**31. room: what there is of it, above 0. tree (2, 2 * size),
    size a power of two and at least len(tails): room to work in, overwritten.

    The durations may add up to 2**62.
    """
