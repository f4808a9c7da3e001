"""How short could it be? Lower bounds of the makespan: arrays in, a number and its proof out.

`Bounds` is made once for a graph and asked for any workers. A *lens* is a way to look at the tasks: what each weighs,
and how much of that the workers have room for at a time. Whatever holds of a lens holds of every schedule, so each
gives the bound of head, area and tail (`_bounds`); the largest wins.

- `area`: the amounts of a resource, on all workers; and for tasks that only some workers can hold, on these.
- `slots`: a task that needs x or more counts floor(need / x), and a worker of capacity c holds floor(c / x) of them.
  With x above half of the largest worker these are tasks of which a worker takes one at a time (a dual feasible
  function, as S. P. Fekete and J. Schepers 2001 use them for packing).
- `apart`: tasks of which no two fit any worker together, by whatever resource: one at a time on each worker.

Of tasks that take slots, also the longest alone: of more tasks than there are slots, two share one. For one worker, as
in project scheduling, a makespan can be refuted besides by narrowing the windows of tasks (`_windows`): `narrowed_ns`.

It knows no name and no plan. Every bound is of the relaxed problem in which the attempts of a task follow each other
at once, and all workers are there from the beginning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ._bounds import chains, steepest
from ._order import number_rows, order_by
from ._windows import Windows

__all__ = ["EFFORT", "STEPS", "UNBOUNDED", "Bound", "Bounds", "rough_ns"]

EFFORT = 2**16  # tasks that narrow lenses may take in, all together
STEPS = 2**22  # of the narrowing of windows: some hundredths of a second
UNBOUNDED = 2**63 - 1  # ns: of tasks that no worker can hold
LEAVES = 2**14  # thresholds of tails; where there are more tails, so many of them
MOST_NARROWED = 1000  # tasks whose windows are narrowed
MOST_KINDS = 256  # kinds of demand that are compared with each other
MAKING = 16  # tasks that are weighed for a lens in the time in which one is taken in
MOST_IN_A_SLOT = 4  # tasks, of which one after the other is looked at
ROUGH = 1 - 2.0**-30  # what rounding may add to a sum of areas is far less than is taken off by it
MOST_LEVELS = 16  # amounts of a resource that are tried as thresholds

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
NOBODY = np.empty(0, dtype=np.int32)


class Bound(NamedTuple):
    """A lower bound and what proves it. Times in ns; tasks and workers are ascending indices.

    kind: `critical path`; `area`, `slots` or `apart`, see above; `unsatisfiable`: some task fits no worker.
    resource: the column that is short, or -1. level: of `slots`, what counts as one; else 0.
    head_ns, tail_ns: none of the tasks can start before the one; behind each of them, at least the other is left to do.
    """

    ns: int
    kind: str
    tasks: Int32s
    workers: Int32s
    resource: int = -1
    head_ns: int = 0
    tail_ns: int = 0
    level: int = 0


class Shapes(NamedTuple):
    """The workers, those that are alike together: what each of a shape has (shapes, K), and how many they are."""

    capacity: Int32s
    number: Int64s


class Lens(NamedTuple):
    """What each task weighs (n,), and how much of it the workers of some shapes (a mask) have room for at a time."""

    kind: str
    resource: int
    level: int
    weight: Int64s
    shapes: Bools
    room: int


class Kinds(NamedTuple):
    """Each task's kind of demand (n,), and the demand of each kind (kinds, K)."""

    kind_of: Int32s
    demand: Int32s


class Bounds:
    """Lower bounds of one graph, for any workers: `of(capacity)` the best one, `quick_ns(capacity)` at once.

    Args:
        order, succ_ptr, succ: a topological order, and CSR of what depends on each task.
        duration (n,) int64: ns that a task is busy, 2**62 together. demand (n, K) int32: what it holds meanwhile.
        unit_ns: every duration of an attempt is a multiple of it: so is the shortest makespan. 1 is always right.

    Attributes:
        head, tail (n,) int64: ns of the longest chains before and behind each task, itself left out.
        critical_ns: the longest chain.
    """

    def __init__(
        self, order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s, *, unit_ns: int = 1
    ) -> None:
        self.duration, self.demand, self.unit_ns = duration, demand, max(1, unit_ns)
        self._order = order, succ_ptr, succ
        self.head, self.tail = chains(order, succ_ptr, succ, duration)
        self.critical_ns = int((self.head + duration + self.tail).max(initial=0))
        self._busy = duration > 0
        self._areas = [exact_area(duration, column) for column in demand.T]
        self._kinds_asked = False
        self._kinds_found: Kinds | None = None
        self._by_duration: Int32s | None = None
        self._leaves: tuple[Int32s, Int32s, Int64s, npt.NDArray[np.float64]] | None = None

    def quick_ns(self, capacity: Int32s) -> int:
        """The longest chain, and the area of each resource over what all workers (W, K) have, in O(W K).

        UNBOUNDED where something is asked for of which there is none.
        """
        best = self.critical_ns
        for area, offered in zip(self._areas, capacity.sum(axis=0, dtype=np.int64).tolist()):
            if area and not offered:
                return UNBOUNDED
            best = max(best, -(-area // offered) if offered else 0)
        return self._round_up(best)

    def of(self, capacity: Int32s, *, effort: int = EFFORT, target_ns: int | None = None) -> Bound:
        """The best bound for workers with these capacities (W, K), with its proof.

        effort: how many tasks lenses may take in, in O(log n) each, beside those of the areas on all workers, which
        are always looked at. target_ns: a makespan that is known: once it is met, nothing more is looked for.
        """
        kinds = self._kinds()
        amounts, shape_of, count = np.unique(capacity, axis=0, return_inverse=True, return_counts=True)
        shapes = Shapes(amounts, count.astype(np.int64))
        unfit = self._unfit(shapes, kinds)
        if len(unfit):
            return Bound(UNBOUNDED, "unsatisfiable", unfit, NOBODY)
        best = Bound(self._round_up(self.critical_ns), "critical path", self._chain(), NOBODY)
        for lens in self._wide(shapes):
            best = self._look(lens, best)
        for lens in self._narrow(shapes, kinds):
            if effort <= 0 or (target_ns is not None and best.ns >= target_ns):
                break
            effort -= len(self.duration) // MAKING  # it had to be made
            n_seen = int(np.count_nonzero(lens.weight))
            if n_seen <= effort:
                effort -= n_seen
                best = self._crowd(lens, self._look(lens, best))
        return best._replace(workers=np.nonzero(np.isin(shape_of.reshape(-1), best.workers))[0].astype(np.int32))

    def narrowed_ns(self, capacity: Int32s, known_ns: int, makespan_ns: int, *, steps: int = STEPS) -> int:
        """A lower bound, at least `known_ns`, by refuting shorter makespans than `makespan_ns`, which is possible.

        That is done for one worker and at most MOST_NARROWED tasks; else `known_ns` is the answer. Each task must run
        at one go. steps: how many may be taken, all together, whatever time they take.
        """
        if len(capacity) != 1 or not 0 < len(self.duration) <= MOST_NARROWED:
            return known_ns
        unit, room = self.unit_ns, capacity[0].astype(np.int64)
        if max(self._areas) // unit >= 2**62 or int(room.max()) * (makespan_ns // unit + 1) >= 2**62:
            return known_ns
        need = np.ascontiguousarray(self.demand.T, dtype=np.int64)
        times = (self.duration // unit, self.head // unit, self.tail // unit)
        windows = Windows(*self._order, *times, need, room)
        least, most = -(-known_ns // unit), makespan_ns // unit - 1
        for halves in (False, True):
            high, stride = most, 1  # from what is known upwards, in strides that grow until one does not succeed
            while least <= high and steps > 0:
                tried = min(high, least + stride - 1) if stride else (least + high) // 2
                refuted, steps = windows.refute(tried, steps, halves)
                if refuted:
                    least, stride = tried + 1, 2 * stride
                else:
                    high, stride = tried - 1, 0
        return max(known_ns, least * unit)

    # ------------------------------------------------------------ lenses

    def _look(self, lens: Lens, best: Bound) -> Bound:
        """The better of the best so far and what is seen through a lens."""
        seen = (lens.weight > 0) & self._busy
        if not lens.room or not seen.any():
            return best
        # No thresholds that some task meets add up to more than what is before and behind that task.
        around = int((self.head + self.tail)[seen].max())
        if self._round_up(around - (-exact_area(self.duration, lens.weight) // lens.room)) <= best.ns:
            return best
        by_head, leaf, tails, tree = self._sorted()
        found = steepest(by_head, self.head, leaf, tails, self.duration, lens.weight, float(lens.room), tree)
        assert found is not None
        head, tail, area = found
        ns = self._round_up(head + tail - (-area // lens.room))
        if ns <= best.ns:
            return best
        tasks = np.nonzero(seen & (self.head >= head) & (self.tail >= tail))[0].astype(np.int32)
        shapes = np.nonzero(lens.shapes)[0].astype(np.int32)  # workers, until the best of all is known
        return Bound(ns, lens.kind, tasks, shapes, lens.resource, head, tail, lens.level)

    def _crowd(self, lens: Lens, best: Bound) -> Bound:
        """Of k * room + 1 tasks that take a slot each, some slot takes k + 1: at best the shortest of the longest."""
        if lens.kind == "area" or not lens.room:
            return best
        longest = self._longest_first()
        longest = longest[lens.weight[longest] > 0]
        for k in range(1, min(MOST_IN_A_SLOT, (len(longest) - 1) // lens.room) + 1):
            tasks = longest[: k * lens.room + 1]
            head, tail = int(self.head[tasks].min()), int(self.tail[tasks].min())
            together = int(self.duration[longest[k * lens.room - k : k * lens.room + 1]].sum())
            ns = self._round_up(head + together + tail)
            if ns > best.ns:
                shapes = np.nonzero(lens.shapes)[0].astype(np.int32)
                best = Bound(ns, lens.kind, np.sort(tasks), shapes, lens.resource, head, tail, lens.level)
        return best

    def _wide(self, shapes: Shapes) -> Iterator[Lens]:
        """Each resource on all workers."""
        everybody = np.ones(len(shapes.number), dtype=np.bool_)
        for r, offered in enumerate((shapes.number @ shapes.capacity).tolist()):
            yield Lens("area", r, 0, self.demand[:, r].astype(np.int64), everybody, offered)

    def _narrow(self, shapes: Shapes, kinds: Kinds | None) -> Iterator[Lens]:
        """Tasks that few can hold, tasks that fill a large part of a worker, tasks that cannot share one."""
        for only, some in self._confined(shapes, kinds):
            for r, offered in enumerate((shapes.number[some] @ shapes.capacity[some]).tolist()):
                yield Lens("area", r, 0, np.where(only, self.demand[:, r], 0).astype(np.int64), some, offered)
        for r, column in enumerate(shapes.capacity.T):
            for level in slot_levels(column, self.demand[:, r]):
                held = column // level
                weight = (self.demand[:, r] // level).astype(np.int64)
                yield Lens("slots", r, level, weight, held > 0, int(shapes.number @ held))
        if kinds is not None:
            yield from self._apart(shapes, kinds)

    def _confined(self, shapes: Shapes, kinds: Kinds | None) -> Iterator[tuple[Bools, Bools]]:
        """Sets of shapes, each once, and the tasks that no other can hold: masks (n,) and (shapes,)."""
        capacity = shapes.capacity
        fits = None if kinds is None else held_by(capacity, kinds.demand)
        known = dict.fromkeys(mask(len(capacity), dtype=np.bool_).tobytes() for mask in (np.ones, np.zeros))
        for some in [*by_level(capacity), *([] if fits is None else list(fits))]:
            if some.tobytes() in known:
                continue
            known[some.tobytes()] = None
            if kinds is not None and fits is not None:
                only = ~np.bitwise_or.reduce(fits[:, ~some], axis=1)[kinds.kind_of]
            else:
                only = ~holds_any(capacity[~some], self.demand)
            yield only & self._busy, some

    def _apart(self, shapes: Shapes, kinds: Kinds) -> Iterator[Lens]:
        """Tasks of which no two fit any worker together, gathered greedily, those with the most work first."""
        demand = kinds.demand
        work = np.bincount(kinds.kind_of, weights=self.duration, minlength=len(demand))
        together = np.zeros((len(demand), len(demand)), dtype=np.bool_)
        for shape in largest_shapes(shapes.capacity).astype(np.int64):
            together |= ((shape - demand)[:, None, :] >= demand[None, :, :]).all(axis=2)
        chosen: list[int] = []
        for kind in np.lexsort((np.arange(len(demand)), -work)).tolist():
            if work[kind] > 0 and not together[kind, kind] and not together[kind, chosen].any():
                chosen.append(kind)
        if len(chosen) > 1:  # one kind alone is what `slots` show
            member = np.zeros(len(demand), dtype=np.int64)
            member[chosen] = 1
            some: Bools = np.bitwise_or.reduce(held_by(shapes.capacity, demand[chosen]), axis=0)
            yield Lens("apart", -1, 0, member[kinds.kind_of], some, int(shapes.number[some].sum()))

    # ------------------------------------------------------------ the graph

    def _round_up(self, ns: int) -> int:
        """The shortest makespan that there can be which is not below this."""
        return -(-ns // self.unit_ns) * self.unit_ns

    def _kinds(self) -> Kinds | None:
        """The kinds of demand; None where there are too many. Found once."""
        if not self._kinds_asked:
            self._kinds_asked = True
            numbered = number_rows(np.ascontiguousarray(self.demand), -1, MOST_KINDS)
            self._kinds_found = None if numbered is None else Kinds(numbered[0], self.demand[numbered[1]])
        return self._kinds_found

    def _unfit(self, shapes: Shapes, kinds: Kinds | None) -> Int32s:
        """The tasks with something to do that no worker can hold."""
        if kinds is None:
            held = holds_any(shapes.capacity, self.demand)
        else:
            held = holds_any(shapes.capacity, kinds.demand)[kinds.kind_of]
        return np.nonzero(~held & self._busy)[0].astype(np.int32)

    def _longest_first(self) -> Int32s:
        """The tasks with something to do, the longest first. Sorted once."""
        if self._by_duration is None:
            by_duration = order_by(self.duration, np.zeros(len(self.duration), dtype=np.int64))
            assert by_duration is not None  # times are below 2**62
            self._by_duration = by_duration[self._busy[by_duration]]
        return self._by_duration

    def _chain(self) -> Int32s:
        """The tasks that are on a longest chain."""
        through = self.head + self.duration + self.tail
        return np.nonzero(self._busy & (through == self.critical_ns))[0].astype(np.int32)

    def _sorted(self) -> tuple[Int32s, Int32s, Int64s, npt.NDArray[np.float64]]:
        """As `steepest` wants it: the tasks by head, the leaf of each, the tails of the leaves, a tree. Made once."""
        if self._leaves is None:
            nothing = np.zeros(len(self.tail), dtype=np.int64)
            by_head, by_tail = order_by(self.head, nothing), order_by(nothing, self.tail)
            assert by_head is not None and by_tail is not None  # times are below 2**62
            tails = self.tail[by_tail]
            rank: Int64s = np.cumsum(np.diff(tails, prepend=tails[0]) > 0, dtype=np.int64)
            if rank[-1] >= LEAVES:
                rank = rank * LEAVES // (int(rank[-1]) + 1)
            begins = np.not_equal(np.diff(rank, prepend=-1), 0)
            leaf = np.empty(len(tails), dtype=np.int32)
            leaf[by_tail] = np.cumsum(begins) - 1
            size = 1 << int(np.count_nonzero(begins) - 1).bit_length()
            self._leaves = by_head, leaf, tails[begins], np.empty((2, 2 * size))
        return self._leaves


def rough_ns(order: Int32s, succ_ptr: Int64s, succ: Int32s, duration: Int64s, demand: Int32s, capacity: Int32s) -> int:
    """The longest chain, and the area of each resource over what all workers (W, K) have, in some microseconds.

    Areas are added up in floating point and rounded down, so it may be a little less than `Bounds.quick_ns`.
    """
    _, tail = chains(order, succ_ptr, succ, duration)
    longest = int((duration + tail).max(initial=0))
    offered = capacity.sum(axis=0, dtype=np.float64)
    areas = duration.astype(np.float64) @ demand.astype(np.float64)
    return max(longest, int((areas / np.maximum(offered, 1)).max(initial=0.0) * ROUGH))


def exact_area(duration: Int64s, amount: npt.NDArray[np.integer]) -> int:
    """The sum of duration * amount, whatever its size; durations as in `Bounds`, amounts below 2**31."""
    wide = amount.astype(np.int64)
    total = int(((duration >> 31) * wide).sum()) << 31
    low = duration & (2**31 - 1)
    for at in range(0, len(wide), 2**15):  # so many products of 31 and 16 bits stay within 64
        part = slice(at, at + 2**15)
        total += int(((low[part] >> 16) * wide[part]).sum()) << 16
        total += int(((low[part] & 0xFFFF) * wide[part]).sum())
    return total


def held_by(capacity: Int32s, demand: Int32s) -> Bools:
    """(demands, W): which worker could hold which."""
    fits: Bools = np.bitwise_and.reduce(capacity[None, :, :] >= demand[:, None, :], axis=2)
    return fits


def holds_any(capacity: Int32s, demand: Int32s) -> Bools:
    """For each demand, whether some worker could hold it."""
    held: Bools = np.zeros(len(demand), dtype=np.bool_)
    for shape in largest_shapes(capacity):
        held |= np.bitwise_and.reduce(demand <= shape, axis=1)
    return held


def largest_shapes(capacity: Int32s) -> Int32s:
    """The capacities that no other one exceeds, each once."""
    shapes = np.unique(capacity, axis=0)
    return shapes[[int(np.count_nonzero((shapes >= shape).all(axis=1))) == 1 for shape in shapes]]


def by_level(capacity: Int32s) -> Iterator[Bools]:
    """Masks of the workers that have at least so much of a resource, for amounts that some have."""
    for column in capacity.T:
        for level in spread(np.unique(column)[1:]):
            yield column >= level


def slot_levels(capacity: Int32s, demand: Int32s) -> list[int]:
    """Amounts that are worth counting by: of which the largest worker holds one, two, ..., and what tasks ask for."""
    most = int(capacity.max(initial=0))
    few = [most // count + 1 for count in range(2, 6)]
    return sorted({level for level in (*few, *spread(np.unique(demand)).tolist()) if 1 < level <= most})


def spread(values: Int32s) -> Int32s:
    """At most MOST_LEVELS of them, evenly chosen."""
    if len(values) <= MOST_LEVELS:
        return values
    return values[np.linspace(0, len(values) - 1, MOST_LEVELS).astype(np.int64)]
