"""The typed face of the narrowing of windows; `bounds.py` calls it. Arrays are contiguous; times are in any unit."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

class Windows:
    """n tasks on one worker with k resources, to be refuted for one makespan after the other.

    order, succ_ptr, succ: a topological order, and CSR of what depends on each task. duration (n,); each runs at one
    go. head, tail (n,): the longest chains before and behind each task, itself left out. need (k, n), room (k,):
    amounts; no task with a duration needs more than there is. It makes n * n * k truth values once.

    Area (amount times duration, over all tasks) and room times makespan are below 2**62.
    """

    def __init__(
        self,
        order: Int32s,
        succ_ptr: Int64s,
        succ: Int32s,
        duration: Int64s,
        head: Int64s,
        tail: Int64s,
        need: Int64s,
        room: Int64s,
    ) -> None: ...
    def refute(self, makespan: int, steps: int, halves: bool) -> tuple[bool, int]:
        """(whether it is proved that no schedule is as short as this or shorter, how many of the steps are left).

        `halves` goes further, and takes some hundred times as many steps. False says nothing.
        """
