"""Which numbers of workers of several shapes could do the work in the time, and what they cost at the least.

Whole numbers in and out; no plan is made here. What is asked of a resource, by tasks that only some of the shapes
hold, is an *area*: amount times time. A set of workers takes at least each area over what it offers of it, and at least
the critical path; so a deadline asks for so much of each resource, which is a covering problem over the counts, and
its relaxation to fractions bounds what a set costs of which only some counts are fixed (Land and Doig 1960).

Every bound is rounded so that it stays one. `price` is what the workers cost for the whole makespan, in billionths of
an hourly price times ns; `hourly` what they cost an hour, in billionths.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import mul

import numpy as np
import numpy.typing as npt

__all__ = ["Area", "Counts", "Cover", "by_least_cost", "find_areas"]

Counts = tuple[int, ...]


@dataclass(frozen=True)
class Area:
    """So much, amount times ns, is asked of workers of some shapes; one of each offers so much, 0 where it may not.

    Where nothing is asked, one of them has to be there all the same.
    """

    asked: int
    offers: tuple[int, ...]


def find_areas(
    demand: npt.NDArray[np.int32], duration: npt.NDArray[np.int64], capacity: npt.NDArray[np.int32]
) -> list[Area]:
    """The areas of tasks on S shapes: demand (n, K), duration (n,) ns, capacity (S, K). Each task fits some shape.

    For every set of shapes that is all that some task could run on: what the tasks ask for that cannot leave this set.
    """
    fits = np.ones((len(demand), len(capacity)), dtype=bool)
    for r in range(demand.shape[1]):
        fits &= demand[:, r, None] <= capacity[None, :, r]
    kinds, kind_of = np.unique(fits, axis=0, return_inverse=True)
    kind_of = kind_of.reshape(-1)
    everywhere = np.ones((1, len(capacity)), dtype=bool)
    areas: dict[Area, None] = {}
    for shapes in np.unique(np.concatenate((kinds, everywhere)), axis=0):
        within = ~(kinds & ~shapes).any(axis=1)
        tasks = np.nonzero(within[kind_of])[0]
        spans = duration[tasks].tolist()
        for r in range(demand.shape[1]):
            asked = sum(map(mul, spans, demand[tasks, r].tolist()))
            offers = tuple(np.where(shapes, capacity[:, r], 0).tolist())
            if asked and any(offers):
                areas[Area(asked, offers)] = None
        if len(tasks):  # some worker of these has to be there, whatever little its tasks ask for
            areas[Area(0, tuple(shapes.astype(int).tolist()))] = None
    return list(areas)


class Cover:
    """The counts of S shapes with which the deadline could be met, by what they cost at the least.

    Attributes:
        rates (S,): what one of each costs an hour, in billionths. most (S,): how many there are of each at most.
        path: the critical path, ns. deadline: ns, not before it.
        hourly: whether the price an hour is what counts; else that for the whole makespan.
        unit: ns; the makespan is charged in so many whole ones.
    """

    def __init__(
        self,
        areas: Sequence[Area],
        rates: Sequence[int],
        most: Sequence[int],
        *,
        path: int,
        deadline: int,
        hourly: bool,
        unit: int = 1,
    ) -> None:
        self.areas, self.rates, self.most = areas, tuple(rates), tuple(most)
        self.path, self.deadline, self.hourly, self.unit = path, deadline, hourly, unit
        self._need = [max(1, -(-area.asked // max(1, deadline))) for area in areas]
        # For each area, of the shapes from j on: (rate, offer) of the cheapest a unit, and what all of them offer.
        self._best = [[self._cheapest_from(area, j) for area in areas] for j in range(len(rates) + 1)]
        self._rest = [
            [sum(map(mul, area.offers[j:], self.most[j:])) for area in areas] for j in range(len(self.rates) + 1)
        ]

    def _cheapest_from(self, area: Area, first: int) -> tuple[int, int] | None:
        best: tuple[int, int] | None = None
        for rate, offer, most in zip(self.rates[first:], area.offers[first:], self.most[first:]):
            if offer and most and (best is None or rate * best[1] < best[0] * offer):
                best = (rate, offer)
        return best

    def rate(self, counts: Counts) -> int:
        """What they cost an hour."""
        return sum(map(mul, counts, self.rates))

    def cost(self, counts: Counts, makespan: int) -> int:
        """What is to be small, if they take so many ns."""
        return self.rate(counts) * (1 if self.hourly else self.charged(makespan))

    def cost_of_rate(self, rate: int) -> int:
        """What workers cost at the least that cost so much an hour."""
        return rate if self.hourly else rate * self.charged(self.path)

    def charged(self, makespan: int) -> int:
        """The ns that are paid for."""
        return -(-makespan // self.unit) * self.unit

    def least_ns(self, counts: Counts) -> int | None:
        """No plan on these workers is shorter; None: they cannot do it at all."""
        least = self.path
        for area in self.areas:
            offered = sum(map(mul, counts, area.offers))
            if not offered:
                return None
            least = max(least, -(-area.asked // offered))
        return least

    def within(self, counts: Counts, cost: int) -> int:
        """The longest makespan in ns that meets the deadline and does not cost more; -1: none does."""
        rate = self.rate(counts)
        if self.hourly or not rate:
            return self.deadline if rate <= cost else -1
        return min(self.deadline, cost // (rate * self.unit) * self.unit)

    def least_cost(self, fixed: Counts) -> int | None:
        """What sets that begin with these counts cost at the least; None: none of them meets the deadline."""
        j = len(fixed)
        if j == len(self.rates):
            least = self.least_ns(fixed)
            return None if least is None or least > self.deadline else self.cost(fixed, least)
        rate = self.rate(fixed)
        have = [sum(map(mul, fixed, area.offers)) for area in self.areas]
        more = 0  # what has to be paid an hour besides, at the least
        for need, offered, best, rest in zip(self._need, have, self._best[j], self._rest[j]):
            if need > offered:
                if best is None or need > offered + rest:
                    return None
                more = max(more, (need - offered) * best[0] // best[1])
        cost = self.cost_of_rate(rate + more)
        for area, offered, best in zip(() if self.hourly else self.areas, have, self._best[j]):
            if best is None or offered * best[0] > rate * best[1]:  # what is added makes it dearer
                widest = offered + (-(-more * best[1] // best[0]) if best else 0)
                cost = max(cost, (rate + more) * area.asked // widest)
            else:
                cost = max(cost, area.asked * best[0] // best[1])
        return cost

    def covering(self, favourite: int) -> Counts:
        """A set that covers every area, of the favourite wherever that helps, else of the cheapest that does."""
        counts = [0] * len(self.rates)
        for area, need in sorted(zip(self.areas, self._need), key=lambda pair: sum(map(bool, pair[0].offers))):
            lacks = need - sum(map(mul, counts, area.offers))
            order = [s for s, offer in enumerate(area.offers) if offer]
            order.sort(key=lambda s: (s != favourite, self.rates[s] / area.offers[s], s))
            for s in order:
                if lacks > 0:
                    added = min(self.most[s] - counts[s], -(-lacks // area.offers[s]))
                    counts[s] += added
                    lacks -= added * area.offers[s]
        return tuple(counts)


def by_least_cost(
    cover: Cover, most_workers: int, limit: int, ceiling: Callable[[], int | None]
) -> Iterator[tuple[int, Counts | None]]:
    """Every set that could meet the deadline, the one that could be cheapest first, with what it costs at the least.

    Best first (Hart, Nilsson and Raphael 1968); ties go to the longest beginnings, then to the fewest workers, then to
    the last shapes. Sets that cannot cost less than the ceiling are left out; None: there is none yet. After
    `limit` beginnings were looked at, (bound, None) is answered: no other set costs less than that bound, and what
    follows are the whole sets that were looked at. `most_workers`: in all.
    """
    heap: list[tuple[int, int, int, Counts]] = [(0, 0, 0, ())]
    n_seen = 0
    while heap:
        bound, _, total, counts = heapq.heappop(heap)
        j, most_cost = len(counts), ceiling()
        if most_cost is not None and bound >= most_cost:
            return
        if j == len(cover.rates):
            yield bound, counts
            continue
        if n_seen > limit:
            yield bound, None
            heap = sorted(entry for entry in heap if len(entry[3]) == len(cover.rates))
            continue
        rate = cover.rate(counts)
        for count in range(min(cover.most[j], most_workers - total) + 1):
            if most_cost is not None and cover.cost_of_rate(rate + count * cover.rates[j]) >= most_cost:
                break  # and more of them cost more
            n_seen += 1
            cost = cover.least_cost((*counts, count))
            if cost is not None and (most_cost is None or cost < most_cost):
                heapq.heappush(heap, (max(bound, cost), -j - 1, total + count, (*counts, count)))
