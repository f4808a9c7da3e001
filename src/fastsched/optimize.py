"""A search for a shorter plan, with its budget: how long, how many schedules, how near to the bound.

The search itself is native and knows numbers alone (`_search.pyx`; of very many tasks, `_large.pyx`). Here is what
starts and ends it: the one room of a plan that looks at a clock, for whoever asks for seconds, and that begins threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import index
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._large import Large
from ._search import GRID_UNITS, Search
from .bounds import rough_ns
from .plan import COMPLETED_STATE, Plan
from .stages import Stages

__all__ = ["MOST_SCHEDULES", "SEARCH", "Few", "Found", "Optimize", "Progress", "Spending"]
__all__ += ["few_schedules", "improve", "is_too_long", "part_of", "schedules_in", "search"]

LOOK_S = 0.05  # between two looks at how far it has come
NONE_YET = 2**63 - 1
MOST_LOOKS = 10**6  # at a profile, for a schedule, at the most
AT_ONCE = 10**5  # tasks to be placed, in some milliseconds: no thread is begun for so few
FEW = 24  # schedules that are generated in the time of some passes, on one worker in few units of time
FEW_TASKS = 1000  # at the most, for such a search
NS = 1_000_000_000
MOST_NS = 2.0**60
LONG_S, LONG_SCHEDULES = 1.0, 20_000  # of a search that is worth the bounds that take longest
SHORT_S = 0.1  # of a search that is not worth any that take milliseconds, unless somebody asks how near it is
MOST_SCHEDULES = 2**62
SEARCH = "search"  # the rank and the fit of a plan that was found by one
SMALLEST, LARGEST = 4, 64  # members of a population
MANY = 2000  # tasks, and more: after whole schedules, parts of the best are planned anew
FIRST = 2  # the part of the schedules that are whole ones

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
AnySearch = Large | Search | Stages


@dataclass(frozen=True)
class Progress:
    """How far a search has come. Times are seconds.

    Attributes:
        best: the shortest makespan so far. bound: no schedule is shorter. gap: how much longer the best is, as a share
            of the bound; 0.0 where it is met.
        schedules: generated so far. seconds: since the call began.
    """

    best: float
    bound: float
    schedules: int
    seconds: float

    @property
    def gap(self) -> float:
        """How much longer the best is than the bound, as a share of it."""
        return max(0.0, self.best / self.bound - 1) if self.bound else 0.0


@dataclass(frozen=True, kw_only=True)
class Optimize:
    """What a search may cost. It ends with the first of these that is reached, or with a plan as short as the bound.

    Attributes:
        seconds: of wall clock, for the whole call: the passes and the bounds that it begins with count too. The first
            pass is always made. What is found then depends on the machine.
        schedules: to be generated, passes of justification counted; of one that is given up halfway, its half. What is
            found then depends on this number, the seed and the number of threads alone.
        target_gap: good enough is a plan that is longer than the bound by this share of it.
        seed: of all that is drawn.
        threads: searches that go on side by side, each from a seed of its own, with its share of the schedules.
        on_progress: told a `Progress` some times a second, and at the end.

    Raises:
        ValueError: where neither seconds nor schedules are given, or a value is out of its range.
        TypeError: where on_progress cannot be called.
    """

    seconds: float | None = None
    schedules: int | None = None
    target_gap: float = 0.0
    seed: int = 0
    threads: int = 1
    on_progress: Callable[[Progress], object] | None = None

    def __post_init__(self) -> None:
        if self.seconds is None and self.schedules is None:
            raise ValueError("a search has no end: say how many seconds or schedules it may take")
        if self.seconds is not None and not 0 <= _number("seconds", self.seconds) <= 10**9:
            raise ValueError(f"seconds is {self.seconds!r}; a number between 0 and 10**9 is wanted")
        if not 0 <= _number("target_gap", self.target_gap) < float("inf"):
            raise ValueError(f"target_gap is {self.target_gap!r}; a share such as 0.01 is wanted")
        for name, least, most in (("schedules", 1, MOST_SCHEDULES), ("seed", 0, 2**64 - 1), ("threads", 1, 1024)):
            value = getattr(self, name)
            if value is None and name == "schedules":
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
                raise ValueError(f"{name} is {value!r}; a whole number between {least} and {most} is wanted")
            object.__setattr__(self, name, index(value))  # what is of numpy's would overflow
        if self.on_progress is not None and not callable(self.on_progress):
            raise TypeError(f"on_progress is {self.on_progress!r}; a function that takes a Progress is wanted")

    @classmethod
    def of(cls, value: float | Optimize) -> Optimize:
        """What `schedule(optimize=)` takes: a budget, or a number of seconds."""
        if isinstance(value, Optimize):
            return value
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise TypeError(f"optimize is {value!r}; a number of seconds, or Optimize(...) is wanted")
        return cls(seconds=float(value))


class Few(Optimize):
    """A search that costs no more than some passes: it may not cost a bound that takes longer."""


class Spending:
    """A budget that is being spent: its seconds count from the moment at which this is made.

    Where there are none, no clock decides anything.
    """

    def __init__(self, budget: Optimize) -> None:
        self.budget = budget
        self._began = time.perf_counter()
        self._is_ended = False

    def end(self) -> None:
        """Nothing is left, whatever it was."""
        self._is_ended = True

    def spent(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._began

    def left(self) -> float:
        """Seconds that are left, 0 or more; inf where they are not counted."""
        if self._is_ended:
            return 0.0
        return float("inf") if self.budget.seconds is None else max(0.0, self.budget.seconds - self.spent())

    def allows(self, share: float) -> bool:
        """Whether less than this share of the seconds is spent."""
        return self.budget.seconds is None or self.spent() < share * self.budget.seconds


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ValueError(f"{name} is {value!r}; a number is wanted")
    return float(value)


def _bound_for(plan: Plan, budget: Optimize) -> int:
    """The best bound in ns of those that cost little beside the search."""
    if (budget.seconds or 0) >= LONG_S or (budget.schedules or 0) >= LONG_SCHEDULES:
        return plan.lower_bound_ns
    is_short = budget.schedules is None and (budget.seconds or 0) < SHORT_S
    is_asked = budget.target_gap > 0 or budget.on_progress is not None
    if isinstance(budget, Few) or (is_short and not is_asked):
        graph = plan._graph
        return rough_ns(graph.order, graph.succ_ptr, graph.succ, graph.duration, graph.demand, plan._capacity)
    return plan.bound.ns


class Found(NamedTuple):
    """The best schedule: start (n,) in ns and worker (n,), None where none was generated in time; and how many were."""

    start: Int64s | None
    worker: Int32s | None
    n_schedules: int


def improve(plan: Plan, spending: Spending) -> Plan:
    """The shortest plan of the same tasks on the same workers that a search finds; the plan itself, if none is shorter.

    The plan is one on which nothing went wrong. Tasks that no worker can hold, and what depends on them, stay as they
    are. Priorities are not looked at: what is sought is the shortest makespan.
    """
    graph, capacity, budget = plan._graph, plan._capacity, spending.budget
    if not spending.left() or is_too_long(graph.duration, graph.demand):
        return plan
    done = np.nonzero(plan.state == COMPLETED_STATE)[0]
    bound = 0 if len(done) < len(graph) else _bound_for(plan, budget)
    if not len(done) or plan.makespan_ns <= bound * (1 + budget.target_gap):
        return plan
    found = search(
        spending,
        **part_of(graph, done),
        capacity=capacity,
        start=plan.start_ns[done],
        worker=plan.worker[done],
        bound=bound,
    )
    plan.n_schedules = found.n_schedules
    if found.start is None:
        return plan
    columns = {"start": plan.start_ns.copy(), "end": plan.end_ns.copy(), "worker": plan.worker.copy()}
    columns["start"][done], columns["worker"][done] = found.start, found.worker
    columns["end"][done] = found.start + graph.duration[done]
    if columns["end"].max(initial=0) >= plan.makespan_ns:
        return plan
    same = {"attempt": plan.attempts, "state": plan.state, "reason": plan.reason, "cause": plan.cause}
    better = Plan(graph, capacity, columns | same, plan.log, terms=plan.terms, rank=SEARCH, fit=SEARCH)
    better.n_tried, better.n_schedules = plan.n_tried, found.n_schedules
    return better


def is_too_long(duration: Int64s, demand: Int32s) -> bool:
    """Whether whole numbers of 64 bits would not do for a search, with the moments of those that take no time."""
    unit = int(np.gcd.reduce(duration)) or 1 if len(duration) else 1
    n_moments, total = int(_moments(duration, demand).sum()) + 1, float(duration.sum(dtype=np.float64))
    return max(total / unit * n_moments, total) >= MOST_NS


def few_schedules(graph: Any, n_workers: int) -> Few | None:
    """A search that costs no more than some passes, for a project on one worker.

    None where it would cost more, or where there are priorities, which it would not look at.
    """
    n, duration = len(graph), graph.duration
    if n_workers != 1 or not 0 < n <= FEW_TASKS or (graph.priority != graph.priority[0]).any():
        return None
    if duration.min() == 0 and _moments(duration, graph.demand).any():
        return None
    horizon = float(duration.sum(dtype=np.float64)) / (int(np.gcd.reduce(duration)) or 1)
    return Few(schedules=FEW) if horizon <= GRID_UNITS and n * horizon <= MOST_LOOKS else None


def part_of(graph: Any, tasks: Int64s) -> dict[str, Any]:
    """The arrays that `search` wants, of some tasks (ascending), on which none depends that is not among them."""
    if len(tasks) == len(graph):
        return {
            name: getattr(graph, name)
            for name in ("order", "succ_ptr", "succ", "dep_ptr", "deps", "duration", "demand")
        }
    place = np.full(len(graph), -1, dtype=np.int32)
    place[tasks] = np.arange(len(tasks), dtype=np.int32)
    part: dict[str, Any] = {"duration": graph.duration[tasks], "demand": graph.demand[tasks]}
    for ptr, row in (("dep_ptr", "deps"), ("succ_ptr", "succ")):
        whose = np.repeat(np.arange(len(graph)), np.diff(getattr(graph, ptr)))
        other = getattr(graph, row)
        both = (place[whose] >= 0) & (place[other] >= 0)
        counts = np.bincount(place[whose[both]], minlength=len(tasks))
        part[ptr] = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        part[row] = place[other[both]]
    order = place[graph.order]
    return part | {"order": order[order >= 0]}


def search(
    spending: Spending,
    *,
    order: Int32s,
    succ_ptr: Int64s,
    succ: Int32s,
    dep_ptr: Int64s,
    deps: Int32s,
    duration: Int64s,
    demand: Int32s,
    capacity: Int32s,
    start: Int64s,
    worker: Int32s,
    bound: int,
    fixed: Int32s | None = None,
) -> Found:
    """Look for a shorter schedule than that which begins at `start` (n,), ns, on `worker` (n,).

    fixed (n,): the worker on which a task runs already, from 0 on; -1: it does not.

    The arrays are those of `_search.Search` and `_large.Large`, the times in ns. Every task has to fit on some worker.

    Returns:
        The shortest that was found. Ctrl-C ends the search, and the answer is the best so far.
    """
    budget = spending.budget
    unit = int(np.gcd.reduce(duration)) or 1 if len(duration) else 1
    # Who takes no time needs room all the same: a moment, of which all together are shorter than a unit. Rounding
    # starts down to units afterwards takes them away, and lets nobody overlap who did not before.
    is_moment = _moments(duration, demand)
    moments = int(is_moment.sum()) + 1
    enough = max(-(-bound // unit), (bound + int(bound * budget.target_gap)) // unit)
    shares = _shares_of(budget)
    expected = shares[0]
    if budget.schedules is None:
        expected = schedules_in(budget.seconds or 0, len(duration), len(capacity))
    problem: dict[str, Any] = {
        "order": order,
        "succ_ptr": succ_ptr,
        "succ": succ,
        "dep_ptr": dep_ptr,
        "deps": deps,
        "duration": duration // unit * moments + is_moment,
        "demand": demand,
        "capacity": capacity,
        "bound": enough * moments + moments - 1,
    }
    seeds = [(budget.seed + 0x9E3779B9 * thread) % 2**64 for thread in range(budget.threads)]
    searches = [_search_for(problem | {"seed": seed}, fixed, expected, budget) for seed in seeds]
    known = start // unit * moments, worker
    is_small = len(capacity) == 1 and len(duration) <= FEW_TASKS and shares[0] * len(duration) <= AT_ONCE
    if is_small and budget.seconds is None and budget.threads == 1 and budget.on_progress is None:
        _search(searches[0], known, shares[0])
    else:
        _Crew(searches, known, shares).work(spending, lambda best: best // moments * unit / NS, bound / NS)
    best = min(searches, key=lambda one: one.best)
    made = sum(one.n_schedules for one in searches)
    if best.best == NONE_YET:
        return Found(None, None, made)
    found, where = best.schedule()
    return Found(found // moments * unit, where, made)


def _search_for(problem: dict[str, Any], fixed: Int32s | None, expected: int, budget: Optimize) -> AnySearch:
    """What searches best for so many schedules of such tasks, as was measured; what runs is known to one alone."""
    n = len(problem["duration"])
    if not len(problem["deps"]) and not isinstance(budget, Few) and fixed is None:
        return Large(**problem)
    whole = Search(**problem, size=population_for(expected, n), fixed=fixed)
    if n < MANY or fixed is not None:
        return whole
    # On many workers, what a schedule costs is reckoned so high that those of all the time take about a quarter of it.
    is_high = budget.schedules is None and len(problem["capacity"]) > 1
    n_first = 2 * expected if is_high else expected // FIRST
    return Stages(whole, Large(**problem), problem["duration"], n_first)


def _moments(duration: Int64s, demand: Int32s) -> npt.NDArray[np.bool_]:
    """Which tasks take no time, and need something all the same."""
    found: npt.NDArray[np.bool_] = (duration == 0) & demand.any(axis=1)
    return found


def _shares_of(budget: Optimize) -> list[int]:
    """The schedules of each thread."""
    if budget.schedules is None:
        return [MOST_SCHEDULES] * budget.threads
    each, rest = divmod(budget.schedules, budget.threads)
    return [each + (thread < rest) for thread in range(budget.threads)]


def population_for(schedules: int, n_tasks: int) -> int:
    """Members of a population that pay for so many schedules of so many tasks, as was measured on PSPLIB."""
    members = 8 * (min(schedules, 10**9) / 1000) ** 0.45 * (120 / max(n_tasks, 1)) ** 0.3
    return int(min(max(members, SMALLEST, 650 / max(n_tasks, 30)), LARGEST))


def schedules_in(seconds: float, n: int, n_workers: int) -> int:
    """About how many schedules of n tasks a thread generates in so long: no clock is asked."""
    cost = 8e-8 if n_workers == 1 else 1e-6 + 5e-8 * n_workers  # seconds a task
    return int(min(seconds / (cost * max(n, 1)), MOST_SCHEDULES))


class _Crew:
    """Searches side by side, a thread each, and somebody who looks at the clock."""

    def __init__(self, searches: list[AnySearch], known: tuple[Int64s, Int32s], shares: list[int]) -> None:
        self._searches, self._known, self._shares = searches, known, shares
        self._ended = threading.Semaphore(0)
        self._errors: list[BaseException] = []

    def work(self, spending: Spending, seconds_of: Callable[[int], float], bound: float) -> None:
        """Begin, wait for the end, tell how far it has come. No thread is left when it returns."""
        work = zip(self._searches, self._shares)
        threads = [threading.Thread(target=self._search, args=args, daemon=True) for args in work]

        def tell() -> None:
            best = min(one.best for one in self._searches)
            if spending.budget.on_progress is not None and best < NONE_YET:
                made = sum(one.n_schedules for one in self._searches)
                spending.budget.on_progress(Progress(seconds_of(best), bound, made, spending.spent()))

        try:
            for thread in threads:
                thread.start()
            left = len(threads)
            while left and (rest := spending.left()):
                left -= self._ended.acquire(timeout=min(LOOK_S, rest))
                if spending.budget.seconds is not None:  # else each ends by itself, the same every time
                    if any(one.best <= one.bound for one in self._searches):
                        break
                    self._hasten(spending)
                tell()
            tell()
        except KeyboardInterrupt:
            pass  # what was found so far is the answer
        finally:
            for one in self._searches:
                one.stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        if self._errors:
            raise self._errors[0]

    def _hasten(self, spending: Spending) -> None:
        """However much longer whole schedules take than was reckoned, half of the time is for the parts."""
        if not spending.allows(1 / FIRST):
            for one in self._searches:
                if isinstance(one, Stages):
                    one.go_on()

    def _search(self, one: AnySearch, share: int) -> None:
        try:
            _search(one, self._known, share)
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._ended.release()


def _search(one: AnySearch, known: tuple[Int64s, Int32s], share: int) -> None:
    """So many schedules, of which some are made of the one that is known."""
    if isinstance(one, Search):
        one.add(known[0], share)
    else:
        one.add(*known, share)
    one.advance(share)
