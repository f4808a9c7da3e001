"""Tasks grouped by what they need, so that what holds for one of a group holds for all. Arrays in, arrays out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._order import number_rows

__all__ = ["FEW_KINDS", "DemandClasses"]

NO_COLUMN = -1
FEW_KINDS = 64  # up to it, every kind of demand is a class of its own
MAX_CLASSES = 256  # beyond it, demand classes are merged
ROWS_A_CLASS = 32  # where they are merged, about, at least
SAMPLE = 8192  # rows that are looked at to see how amounts are spread
FEW_CLASSES = 64  # up to it, another pivot is not tried

Int32s = npt.NDArray[np.int32]


class DemandClasses:
    """Tasks grouped by what they need: all alike, or so that they differ in one resource only, the pivot.

    `class_of` (n,) int32, `class_demand` (C, K) int32: what all members need, the pivot apart, in which it is 0 where
    members differ. Where there are few kinds of demand, each is a class. Else memory is the pivot, or whichever
    resource leaves the fewest classes; where all leave too many, a class has its share of the amounts of one other
    resource, and what it asks for is the least of any member. `pivot`: the resource that it has to be; None: any.
    """

    def __init__(self, demand: Int32s, pivot: int | None = None) -> None:
        demand = np.ascontiguousarray(demand, dtype=np.int32)
        n_resources = demand.shape[1]
        self.pivot = 1 if pivot is None else pivot
        self.class_of: Int32s
        self.class_demand: Int32s
        kinds = number_rows(demand, NO_COLUMN, FEW_KINDS)
        if kinds is not None and len(demand):
            self.class_of, self.class_demand = kinds[0], demand[kinds[1]]
            return
        groups = number_rows(demand, self.pivot, MAX_CLASSES)
        if pivot is None and (groups is None or len(groups[1]) > FEW_CLASSES):
            for r in (r for r in range(n_resources) if r != 1):
                other = number_rows(demand, r, MAX_CLASSES if groups is None else len(groups[1]) - 1)
                if other is not None:  # there are fewer
                    self.pivot, groups = r, other
        if groups is not None:
            self.class_of, first = groups
            self.class_demand = demand[first] if len(first) else np.zeros((1, n_resources), dtype=np.int32)
        else:
            self.class_of, n_classes = merge_rows(demand, self.pivot)
            self.class_demand = np.empty((n_classes, n_resources), dtype=np.int32)
            by_class = np.argsort(self.class_of, kind="stable")
            starts = np.searchsorted(self.class_of[by_class], np.arange(n_classes))
            for r in range(n_resources):
                self.class_demand[:, r] = np.minimum.reduceat(demand[by_class, r], starts)
        self.class_demand[:, self.pivot] = 0


def merge_rows(demand: Int32s, pivot: int) -> tuple[Int32s, int]:
    """Classes of rows that are near one another in the resource, but the pivot, that has the most different amounts.

    Answers the class of each row, and how many there are: each has as many rows as the others, about.
    """
    some = demand[:: max(1, len(demand) // SAMPLE)]
    different = [0 if r == pivot else len(np.unique(some[:, r])) for r in range(demand.shape[1])]
    widest = int(np.argmax(different))
    n_classes = min(MAX_CLASSES, max(2, len(demand) // ROWS_A_CLASS))
    at = np.linspace(0, len(some), n_classes, endpoint=False).astype(np.intp)
    steps = np.unique(np.sort(some[:, widest])[at])[1:]
    place = np.searchsorted(steps, demand[:, widest], side="right")
    there = np.bincount(place, minlength=len(steps) + 1) > 0
    number = np.cumsum(there) - 1
    return number[place].astype(np.int32), int(there.sum())
