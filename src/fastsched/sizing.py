"""`size()`: the cheapest set of workers, of stated shapes and prices, on which the work ends by a deadline.

What counts is the price for the whole makespan (`minimise="price"`, charged in started units of `billing`, or to the
ns), or the price an hour (`minimise="hourly"`). A set is judged by one pass of the planner on it, so "ends by the
deadline" is a plan that is there and not an estimate.

First from each shape a set is grown until its plan meets the deadline, and shrunk again; then single workers are left
out, added and exchanged while that makes it cheaper; then every set is tried that the bounds of `covering.py` leave,
the one that could be cheapest first, until none can be cheaper, or until so many passes are spent. The first of these
bounds holds for every planner: it says how far from the cheapest the answer is at most. Nothing depends on time or
chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from ._graphs import bottom_levels
from .covering import Counts, Cover, by_least_cost, find_areas
from .errors import InternalError, SizingError
from .explain import describe_misfit
from .graph import WorkerTable
from .model import Task, Worker
from .plan import Schedule
from .planner import TaskGraph, make_replay, schedule
from .portfolio import check_choice, check_fit, check_rank
from .risk import check_whole
from .shapes import MOST_WORKERS, NANO, Shape, read_shapes

__all__ = ["Sizing", "Trial", "size"]

NS = 1_000_000_000
# With these, what is decided on some workers does not depend on who else could be had, so a core can be played again.
REPLAYED = frozenset({"critical-path", "fifo", "most-work", "longest-first", "most-free", "best-fit", "first-fit"})
HOUR_NS = 3600 * NS
MOST_BEGINNINGS = 100_000  # of sets that are looked at
FEWEST_PASSES, STARTS = 200, 10_000_000  # of tasks, in all passes, where the number of passes is not given
STEP = 8  # a set grows by the eighth of its beginning, at the least
LONGEST = 2**62  # ns
LONGEST_PATH = 12  # tasks of a critical path that are named
MINIMISE = ("price", "hourly")
Key = tuple[int, int, int]  # what is minimised, the makespan in ns, the price an hour: the smaller is the better


@dataclass(frozen=True)
class Trial:
    """A set of workers that was tried. makespan: seconds; None where it ends too late to be of use."""

    counts: dict[str, int]
    price_per_hour: float
    makespan: float | None
    price: float | None


@dataclass(frozen=True, eq=False)
class Sizing:
    """The cheapest set of workers that was found.

    Attributes:
        counts: how many of each shape, by its name; those of which there are none are left out.
        price_per_hour; price: of the whole makespan, as it is charged.
        deadline, makespan: seconds.
        schedule: the plan on these workers, who are called `NAME-0`, `NAME-1`, ...
        minimised: `price` or `hourly`. lower_bound: of what is minimised; it is no smaller on any set of these shapes,
            however well that is planned.
        exact: every set that could be cheaper was tried; so with this rank and fit, this is the cheapest.
        interrupted: Ctrl-C ended the search.
        tried: every `Trial`, in order.
    """

    counts: dict[str, int]
    workers: list[Worker]
    price_per_hour: float
    price: float
    deadline: float
    makespan: float
    schedule: Schedule
    minimised: str
    lower_bound: float
    exact: bool
    interrupted: bool
    tried: tuple[Trial, ...]

    @property
    def gap(self) -> float:
        """The share by which it is dearer than the lower bound; so much dearer than the cheapest it is at most."""
        value = self.price if self.minimised == "price" else self.price_per_hour
        return value / self.lower_bound - 1 if self.lower_bound else 0.0

    def __repr__(self) -> str:
        sets = ", ".join(f"{count} x {name}" for name, count in self.counts.items())
        return f"<Sizing: {sets or 'no worker'}, {self.price:g} in all, makespan {self.makespan:g} s>"


def size(
    tasks: TaskGraph | Iterable[Task | Mapping[str, Any]],
    *,
    deadline: float,
    shapes: Iterable[Shape | Mapping[str, Any]],
    minimise: str = "price",
    billing: float = 0,
    rank: str = "critical-path",
    fit: str = "most-free",
    passes: int | None = None,
    on_progress: Callable[[int, int, Trial | None], object] | None = None,
) -> Sizing:
    """Find the cheapest set of workers on which the tasks end by the deadline. Ctrl-C gives the best so far.

    Args:
        tasks: as for `schedule()`.
        deadline: seconds from the start.
        shapes: `Shape` objects or mappings with the same fields: what can be had, and what one costs an hour.
        minimise: `price`, of the whole makespan, or `hourly`, the price an hour.
        billing: seconds; the makespan is charged in started units of it. 0: exactly.
        rank, fit: by which each set is planned.
        passes: sets that are tried at most; None: so many that some 10,000,000 tasks are started, at least 200.
        on_progress: on_progress(tried, passes, best) is told now and then; best is a `Trial`, or None.

    Raises:
        SizingError: where no set can do it: a task fits no shape, the deadline is before the end of the critical
            path, or there are too few of the shapes; or where none was found in so many passes.
        ValidationError: naming every problem of the tasks, or of the shapes. ValueError: for another argument.
    """
    check_rank(rank)
    check_fit(fit)
    check_choice("minimise", minimise, MINIMISE)
    for what, value in (("deadline", deadline), ("billing", billing)):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value <= 10**9:
            raise ValueError(f"{what} is {value!r}; a number of seconds from 0 to 1,000,000,000 is wanted")
    graph = tasks if isinstance(tasks, TaskGraph) else TaskGraph(tasks)
    if passes is None:
        passes = max(FEWEST_PASSES, STARTS // max(1, len(graph)))
    check_whole("passes", passes, 1, 10**9)
    search = _Search(graph, read_shapes(shapes), round(deadline * NS), minimise, round(billing * NS), rank, fit)
    search.passes, search.on_progress = passes, on_progress
    return search.run()


class _Search:
    """One call of `size()`."""

    passes = 0
    on_progress: Callable[[int, int, Trial | None], object] | None = None

    def __init__(
        self, graph: TaskGraph, shapes: list[Shape], deadline: int, minimise: str, billing: int, rank: str, fit: str
    ) -> None:
        if not shapes:
            raise ValueError("shapes is empty; give at least one, with what it costs an hour")
        self.graph, self.shapes, self.minimise, self.rank, self.fit = graph, shapes, minimise, rank, fit
        units = [msgspec.structs.replace(shape.worker, worker_id=shape.label) for shape in shapes]
        table = WorkerTable(units, graph.resources)
        self.units = units
        tail = np.asarray(bottom_levels(graph.order, graph.succ_ptr, graph.succ, graph.duration))
        self.tail, self.path = tail, int(tail.max(initial=0))
        for shape in shapes:
            if shape.price_nano == 0 and shape.most is None:
                raise ValueError(f"{shape.label!r} costs nothing; say with `most` how many of it there are")
        most = [min(MOST_WORKERS if s.most is None else s.most, max(1, len(graph))) for s in shapes]
        self._check_fits(table, [m > 0 for m in most])
        if deadline < self.path:
            raise self._too_short(deadline)
        self.cover = Cover(
            find_areas(graph.demand, graph.duration, table.capacity),
            [shape.price_nano for shape in shapes],
            most,
            path=self.path,
            deadline=deadline,
            hourly=minimise == "hourly",
            unit=max(1, billing),
        )
        least = self.cover.least_ns(tuple(most))
        if least is None or least > deadline:
            raise self._too_few(least)
        self.room: Counts = (0,) * len(shapes)  # workers of each shape that the replay knows
        self.there = np.zeros(0, dtype=bool)
        self.replay: Any = None
        self.results: dict[Counts, int | None] = {}
        self.best: Counts | None = None
        self.late: dict[Counts, int] = {}  # no plan on these was found to end by so many ns
        self.best_key: Key | None = None

    # ------------------------------------------------------------ what cannot be done

    def _check_fits(self, table: WorkerTable, there: list[bool]) -> None:
        capacity = table.capacity[there]
        holds = np.zeros(len(self.graph), dtype=bool)
        for one in capacity:
            holds |= (self.graph.demand <= one).all(axis=1)
        if not holds.all():
            task = int(np.argmin(holds))
            n_more = int((~holds).sum()) - 1
            ids = [label for label, one in zip(table.ids, there) if one]
            text = describe_misfit(
                self.graph.ids[task], self.graph.demand[task], ids, capacity, self.graph.resources
            ).replace("worker", "shape")
            more = f"; nor {n_more} more task{'' if n_more == 1 else 's'}" if n_more else ""
            raise SizingError(f"{text}{more}; add a shape that can", task_id=self.graph.ids[task])

    def _too_short(self, deadline: int) -> SizingError:
        path = [int(self.tail.argmax())]
        graph, tail = self.graph, self.tail
        while True:
            row = graph.succ[graph.succ_ptr[path[-1]] : graph.succ_ptr[path[-1] + 1]]
            row = row[tail[row] == tail[path[-1]] - graph.duration[path[-1]]]
            if not len(row):
                break
            path.append(int(row.min()))
        ids = [graph.ids[task] for task in path]
        shown = ids if len(ids) <= LONGEST_PATH else [*ids[: LONGEST_PATH - 1], "...", ids[-1]]
        return SizingError(
            f"no number of workers ends by {show(deadline)}, for the critical path alone takes {show(self.path)} "
            f"({' -> '.join(shown)}); that is the least deadline there is, unless these tasks become shorter",
            least=self.path / NS,
            path=tuple(ids),
        )

    def _too_few(self, least: int | None) -> SizingError:
        there = ", ".join(f"{most} x {unit.worker_id}" for most, unit in zip(self.cover.most, self.units))
        at_least = "cannot do it at all" if least is None else f"take at least {show(least)}"
        return SizingError(
            f"all the workers that there are ({there}) {at_least}; raise `most`, add shapes, or allow more time",
            least=None if least is None else least / NS,
        )

    def _none_found(self) -> SizingError:
        everything = tuple(min(most, self._most_workers) for most in self.cover.most)
        takes = self._pass(everything, LONGEST) or 0
        least = self.cover.least_ns(self.cover.most) or 0
        return SizingError(
            f"none of the {len(self.results):,} sets of workers that were tried ends by {show(self.cover.deadline)}; "
            f"on all the workers that there are it takes {show(takes)}, and on no plan less than {show(least)}; "
            "raise `most`, add shapes, or allow more time"
        )

    # ------------------------------------------------------------ the search

    def run(self) -> Sizing:
        """Search, and answer."""
        interrupted = exact = False
        bound: int | None = None
        try:
            self._begin()
            bound, exact = self._enumerate()
        except KeyboardInterrupt:
            if self.best is None:
                raise
            interrupted = True
        if self.best is None:
            raise self._none_found()
        if bound is None:
            bound = next(by_least_cost(self.cover, self._most_workers, MOST_BEGINNINGS, self._ceiling), (None,))[0]
        return self._answer(self.best, bound, exact, interrupted)

    @property
    def _most_workers(self) -> int:
        return min(MOST_WORKERS, max(1, len(self.graph)))

    def _ceiling(self) -> int | None:
        return None if self.best_key is None else self.best_key[0]

    def _begin(self) -> None:
        """From each shape a set that meets the deadline, shrunk and improved."""
        starts = []
        for favourite in range(len(self.shapes)):
            base = self.cover.covering(favourite)
            low, high = STEP // 2, STEP
            while not self._meets(self._grown(base, high)) and self._grown(base, high) != self._grown(base, 2 * high):
                low, high = high, 2 * high
            while high - low > 1 and self._spare():
                middle = (low + high) // 2
                low, high = (low, middle) if self._meets(self._grown(base, middle)) else (middle, high)
            starts.append(self._grown(base, high))
        if self.best is None:
            starts.append(tuple(min(most, self._most_workers) for most in self.cover.most))
            self._meets(starts[-1])
        for start in dict.fromkeys(starts):
            if self.results[start] is not None:
                self._improve(start)

    def _grown(self, base: Counts, eighths: int) -> Counts:
        return tuple(min(most, -(-count * eighths // STEP)) for count, most in zip(base, self.cover.most))

    def _improve(self, start: Counts) -> None:
        """Leave out, add or exchange workers of a set that meets the deadline, while that is better."""
        here, better = start, True
        while better and self._spare():
            better = False
            for counts in self._neighbours(here):
                if self._spare() and self._key(here) > (self._try(counts, self._key(here)) or self._key(here)):
                    here, better = counts, True
                    break

    def _neighbours(self, counts: Counts) -> Iterator[Counts]:
        """Some more or fewer of one shape, or so many for as many of another as cost about as much; many first."""
        rates, shapes = self.cover.rates, range(len(counts))
        for some in (2**k for k in range(max(counts, default=0).bit_length() - 1, -1, -1)):
            moves = [(s, some, s, 0) for s in shapes] + [(s, 0, s, some) for s in shapes]
            for s in shapes:
                for t in shapes:
                    if s != t and counts[s]:
                        worth = some * rates[s] // rates[t] if rates[t] else some
                        moves += [(s, some, t, more) for more in sorted({max(0, worth - 1), worth, worth + 1})]
            for out, n_out, into, n_into in moves:
                changed = list(counts)
                changed[out] -= n_out
                changed[into] += n_into
                if all(0 <= count <= most for count, most in zip(changed, self.cover.most)):
                    yield tuple(changed)

    def _enumerate(self) -> tuple[int, bool]:
        """Try what could be cheaper, the cheapest bound first. Answers the least bound, and whether that was all."""
        first: int | None = None
        exact = True
        for bound, counts in by_least_cost(self.cover, self._most_workers, MOST_BEGINNINGS, self._ceiling):
            first = bound if first is None else first
            if not self._spare():
                return first, False
            if counts is None:
                exact = False
            else:
                self._try(counts, self.best_key)
        return (self._ceiling() or 0) if first is None else first, exact

    # ------------------------------------------------------------ one set

    def _spare(self) -> bool:
        return len(self.results) < self.passes

    def _meets(self, counts: Counts) -> bool:
        """Whether the deadline is met, however much it costs."""
        if self.results.get(counts) is None:
            self._play(counts, self.cover.deadline)
        return self.results[counts] is not None

    def _try(self, counts: Counts, than: Key | None) -> Key | None:
        """Play a set, if it can be better than another key. Answers its key, where it is known."""
        if self.results.get(counts) is None:
            least = self.cover.least_cost(counts)
            most = self.cover.deadline if than is None else self.cover.within(counts, than[0])
            if least is None or (than is not None and least > than[0]) or most <= self.late.get(counts, -1):
                return None
            self._play(counts, most)
        return None if self.results[counts] is None else self._key(counts)

    def _key(self, counts: Counts) -> Key:
        makespan = self.results[counts]
        assert makespan is not None
        return self.cover.cost(counts, makespan), makespan, self.cover.rate(counts)

    def _play(self, counts: Counts, limit: int) -> None:
        """Play a set, and note how it went."""
        makespan = self.results[counts] = self._pass(counts, limit)
        if makespan is None:
            self.late[counts] = limit
        elif self.best_key is None or self._key(counts) < self.best_key:
            self.best, self.best_key = counts, self._key(counts)
        if self.on_progress is not None:
            self.on_progress(len(self.results), self.passes, None if self.best is None else self._trial(self.best))

    def _pass(self, counts: Counts, limit: int) -> int | None:
        """The makespan on so many workers; None: it is longer than the limit."""
        if self.cover.least_ns(counts) is None:
            return None
        if not {self.rank, self.fit} <= REPLAYED:
            plan = self.graph.schedule(self._workers(counts), rank=self.rank, fit=self.fit)
            return plan.makespan_ns if plan.all_completed and plan.makespan_ns <= limit else None
        if any(count > room for count, room in zip(counts, self.room)) or self.replay is None:
            self.room = tuple(min(most, max(room, 2 * c)) for most, room, c in zip(self.cover.most, self.room, counts))
            table = WorkerTable(self._workers(self.room), self.graph.resources)
            self.replay = make_replay(self.graph, table, rank=self.rank, fit=self.fit)
            self.replay.foresee(self.tail)
        there = np.concatenate([np.arange(room) < count for room, count in zip(self.room, counts)])
        makespan: int | None = self.replay.play_on(there, limit)
        return makespan

    def _workers(self, counts: Counts) -> list[Worker]:
        return [
            msgspec.structs.replace(unit, worker_id=f"{unit.worker_id}-{i}")
            for unit, count in zip(self.units, counts)
            for i in range(count)
        ]

    # ------------------------------------------------------------ the answer

    def _trial(self, counts: Counts) -> Trial:
        makespan, rate = self.results[counts], self.cover.rate(counts)
        return Trial(
            self._named(counts),
            rate / NANO,
            None if makespan is None else makespan / NS,
            None if makespan is None else rate * self.cover.charged(makespan) / NANO / HOUR_NS,
        )

    def _named(self, counts: Counts) -> dict[str, int]:
        return {unit.worker_id: count for unit, count in zip(self.units, counts) if count}

    def _answer(self, best: Counts, bound: int | None, exact: bool, interrupted: bool) -> Sizing:
        trial, workers = self._trial(best), self._workers(best)
        plan = schedule(self.graph, workers, rank=self.rank, fit=self.fit)
        if plan.plan.makespan_ns != self.results[best] or not plan.all_completed:
            raise InternalError("a set of workers was judged by another plan than it has")
        assert trial.price is not None and self.best_key is not None
        cost = self.best_key[0] if bound is None else min(bound, self.best_key[0])
        return Sizing(
            counts=trial.counts,
            workers=workers,
            price_per_hour=trial.price_per_hour,
            price=trial.price,
            deadline=self.cover.deadline / NS,
            makespan=plan.makespan,
            schedule=plan,
            minimised=self.minimise,
            lower_bound=cost / NANO if self.minimise == "hourly" else cost / NANO / HOUR_NS,
            exact=exact,
            interrupted=interrupted,
            tried=tuple(map(self._trial, self.results)),
        )


def show(ns: int) -> str:
    """Seconds to the ns, so that what is told to be enough is."""
    return f"{ns // NS}.{ns % NS:09d}".rstrip("0").rstrip(".") + " s"
