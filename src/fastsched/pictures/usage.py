"""How much attempts hold, over time: as steps, and as means over the cells of a grid.

Arrays in, arrays out: no name, no colour, no pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["busy_grid", "usage_steps"]

Ints = npt.NDArray[Any]


def usage_steps(start_ns: Ints, end_ns: Ints, amount: Ints) -> tuple[Ints, Ints]:
    """What n attempts hold together of K resources.

    Args:
        amount: (n, K), what each holds from its start to its end.

    Returns:
        times (m,) int64, rising, and held (m, K) int64: held[i] from times[i] on, until times[i + 1]. The last row is
        0; without attempts m is 0.
    """
    moments = np.concatenate((start_ns, end_ns)).astype(np.int64)
    times, at = np.unique(moments, return_inverse=True)
    change = np.zeros((len(times), amount.shape[1]), dtype=np.int64)
    n = len(start_ns)
    np.add.at(change, at[:n], amount.astype(np.int64))
    np.subtract.at(change, at[n:], amount.astype(np.int64))
    return times, np.cumsum(change, axis=0)


def busy_grid(
    row: Ints, start_ns: Ints, end_ns: Ints, amount: Ints, n_rows: int, n_columns: int, until_ns: int
) -> npt.NDArray[np.float64]:
    """(n_rows, n_columns): the mean amount that attempts hold in each row, in each equal part of 0 to `until_ns`.

    In each row an attempt is 1 from its start to its end, so its share of a cell is that span cut at the cell's edges;
    it is put down as what changes from cell to cell, so the cost is that of the attempts plus that of the cells.
    """
    change = np.zeros((n_rows, n_columns + 2))
    scale = n_columns / max(1, until_ns)
    for moment, sign in ((start_ns, 1.0), (end_ns, -1.0)):
        place = np.clip(moment * scale, 0.0, n_columns)
        cell = place.astype(np.int64)
        part = place - cell
        np.add.at(change, (row, cell), sign * amount * (1.0 - part))
        np.add.at(change, (row, cell + 1), sign * amount * part)
    return np.maximum(np.cumsum(change, axis=1)[:, :n_columns], 0.0)
