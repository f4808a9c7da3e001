"""Amounts of several resources laid side by side in words, as `_profile.pxd` wants them. Arrays in, arrays out.

Each resource is a lane of as many bits as its largest amount needs, and one more for the guard: set in what is
free, clear in what is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

WORD = 64  # bits

Int64s = npt.NDArray[np.int64]


class Lanes:
    """Demands (n, K) and capacities (W, K) in lanes.

    Attributes:
        n_words: of a moment. guard (n_words,): the guard bits.
        need (n * n_words,), free (W * n_words,): what each task needs, what each worker has.
        word (K,), shift (K,), mask (K,): where the lane of a resource stands, its lowest bit, its bits moved down.
    """

    def __init__(self, demand: Int64s, capacity: Int64s) -> None:
        most = np.maximum(capacity.max(axis=0, initial=0), demand.max(axis=0, initial=0))
        bits = [int(amount).bit_length() for amount in most]
        words, shifts, word, used = [], [], 0, 0
        for size in bits:
            if used + size + 1 > WORD:
                word, used = word + 1, 0
            words.append(word)
            shifts.append(used)
            used += size + 1
        self.n_words = word + 1
        self.guard = np.zeros(self.n_words, dtype=np.uint64)
        need = np.zeros((len(demand), self.n_words), dtype=np.uint64)
        free = np.zeros((len(capacity), self.n_words), dtype=np.uint64)
        for r, size in enumerate(bits):
            self.guard[words[r]] |= np.uint64(1 << (shifts[r] + size))
            need[:, words[r]] |= demand[:, r].astype(np.uint64) << np.uint64(shifts[r])
            free[:, words[r]] |= capacity[:, r].astype(np.uint64) << np.uint64(shifts[r])
        self.need, self.free = need.reshape(-1), (free | self.guard).reshape(-1)
        self.word, self.shift = np.array(words, dtype=np.int32), np.array(shifts, dtype=np.int32)
        self.mask = np.array([(1 << size) - 1 for size in bits], dtype=np.uint64)


def wider(rows: npt.NDArray[Any], n_rows: int) -> npt.NDArray[Any]:
    """The same rows, one after the other, each with as much room behind it again."""
    before = rows.reshape(n_rows, -1)
    after = np.empty((n_rows, 2 * before.shape[1]), dtype=before.dtype)
    after[:, : before.shape[1]] = before
    return after.reshape(-1)
