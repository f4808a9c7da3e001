"""Two searches one after the other, with the face of one: whole schedules first, then parts of the best of them.

It knows no clock: how many schedules the first stage generates is a share of all, as it is told. What each search
does is its own affair (`_search.pyx`, `_large.pyx`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._large import Large
from ._search import Search

__all__ = ["Stages"]

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


class Stages:
    """A genetic search for `n_first` schedules, then parts planned anew of the shortest that is known by then.

    Both are of the same tasks, which take `duration` (n,), one or more of them.

    Attributes:
        bound, best, n_schedules, stopped: as those of the searches.
    """

    def __init__(self, first: Search, then: Large, duration: Int64s, n_first: int) -> None:
        self.bound, self._duration = first.bound, duration
        self._first, self._then, self._n_first = first, then, n_first
        self._known: tuple[Int64s, Int32s] | None = None

    @property
    def best(self) -> int:
        return min(self._first.best, self._then.best)

    @property
    def n_schedules(self) -> int:
        return self._first.n_schedules + self._then.n_schedules

    @property
    def stopped(self) -> bool:
        return self._then.stopped

    def add(self, start: Int64s, worker: Int32s, n_schedules: int) -> None:
        """Begin with a schedule that is known, as `Large.add`; the first stage justifies it, as `Search.add`."""
        if self._known is None:
            self._known = start, worker
            self._first.add(start, min(self._n_first, n_schedules))

    def advance(self, n_schedules: int) -> bool:
        """Search until there are so many schedules in all, the bound is met or it is stopped.

        True as long as the bound is not met.
        """
        if self._known is None:
            return self.best > self.bound
        if self._first.advance(min(self._n_first, n_schedules)):
            self._then.add(*self._shortest(self._known), n_schedules - self._first.n_schedules)
            self._then.advance(n_schedules - self._first.n_schedules)
        return self.best > self.bound

    def _shortest(self, known: tuple[Int64s, Int32s]) -> tuple[Int64s, Int32s]:
        """Of the schedule that is known and the best of the first stage, the one that ends first."""
        if self._first.best > (known[0] + self._duration).max():
            return known
        return self._first.schedule()

    def go_on(self) -> None:
        """Have the first stage, in another thread, end soon, however much of it there is left."""
        self._first.stop()

    def stop(self) -> None:
        """Have `advance`, in another thread, return soon."""
        self._first.stop()
        self._then.stop()

    def schedule(self) -> tuple[Int64s, Int32s]:
        """The best schedule so far: start (n,) in units and worker (n,). Not to be asked while there is none."""
        return self._then.schedule() if self._then.best < self._first.best else self._first.schedule()
