"""The typed face of the orders and groups of whole columns; `ranks.py` and `graph.py` call it."""

import numpy as np
import numpy.typing as npt

def order_by(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> npt.NDArray[np.int32] | None:
    """The indices 0..n-1 by (first descending, second ascending, index), n below 2**31.

    The same as `np.lexsort((second, -first))`, in O(n) for each byte of the two ranges. None, and nothing is
    done, where the two ranges together need more than 64 bits. Raises ValueError where the lengths differ.
    """

def number_rows(
    rows: npt.NDArray[np.int32], skipped: int, most: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]] | None:
    """Number the distinct rows 0, 1, ..., in the order of their values; the column `skipped` counts for nothing.

    Answers each row's number (n,) and the first row of each number, or None where there are more than `most`.
    """
