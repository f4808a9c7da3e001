"""The typed face of the kernels on graphs. Arrays are contiguous; indices are dense."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

def successors(dep_ptr: Int64s, deps: Int32s) -> tuple[Int64s, Int32s]:
    """Turn "row i lists what i depends on" into (succ_ptr, succ), "row i lists what depends on i".

    dep_ptr (n + 1,), deps (edges,): CSR. An entry of `deps` must be in [0, n); that is not checked here.
    Rows come out in ascending order; O(n + edges).
    """

def topological_order(dep_ptr: Int64s, succ_ptr: Int64s, succ: Int32s) -> Int32s:
    """The tasks with dependencies first (A. B. Kahn 1962), in O(n + edges).

    Shorter than n where there is a cycle: then every task on a cycle, or behind one, is missing from it.
    """

def bottom_levels(order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s) -> Int64s:
    """Each task's own duration plus the longest chain of durations behind it, (n,), in the unit of `duration`.

    `order` is a topological order; tasks that are not in it get 0.
    """
