"""The rest of a run planned anew: its present, as arrays, played on in virtual time. Pure; to be done beside the run.

`Present` is what is known now: what runs, for how long it has and how long such tasks have taken; who is there; what
failed where. `play` goes on from there by given keys, as the live rule would; `replan` looks for keys that are better.

Theory of operation. A search may look for them. To it, what runs is fixed: it has its room on its worker from now
until its expected end. What the search does not know (priority, back-off, workers on which a task failed, that nobody
waits on purpose) is made good by playing what it found as the live rule would; the plan that counts is the one that
was played, and where that is no shorter, the search was for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .._graphs import bottom_levels, successors, topological_order
from ..following import by_latest_start, loosened, play_list
from ..guide import FIRST_KEY, Route
from ..optimize import MOST_SCHEDULES, Optimize, Spending, is_too_long, part_of, schedules_in, search
from ..ranks import RANKS, mean_capacity, urgency_order
from .ledger import Ledger

__all__ = ["Look", "Present", "budget_for", "look", "look_for_shorter", "play", "replan"]

RUNNING, DELAYED = 2, 4
NS = 1_000_000_000
LEAST_LEFT = 20  # one part in so many of what is expected of a task is left, where it takes longer than that
BELIEF = 5  # what was said of durations counts as much as so many attempts that were seen
ORDERS = ("critical-path",)  # that are tried beside the one that is followed
SEARCH_S = 1.0  # that a search takes at most, beside the run; it is told as schedules, so it takes the same everywhere
FEWEST = 20  # schedules that are worth a search
MOST_LOOKS = 2_000_000  # tasks times workers that are looked at for one

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Present:
    """Where a run stands, in numbers of its own: m tasks that have not ended, and the workers that can take any.

    Attributes:
        now_ns: when that is. tasks (m,), workers (W,): their indices in the run. is_running (m,).
        duration (m,) int64 ns: how long each is expected to take from here. demand (m, K), capacity (W, K).
        priority, key, worker (m,): the order that is followed, and where each runs, or is to; -1 = wherever.
        not_before (m,): ns from now, until when the plan holds it back; 0 = it does not.
        dep_ptr, deps: what each waits for, CSR of places. avoided: (place, place of a worker) of what failed there.
        succ_ptr, succ: the same turned round, and order: a topological one, once they are needed. fit: as in the core.
    """

    now_ns: int
    tasks: Int32s
    workers: Int32s
    is_running: npt.NDArray[np.bool_]
    duration: Int64s
    demand: Int32s
    capacity: Int32s
    priority: Int64s
    key: Int64s
    worker: Int32s
    not_before: Int64s
    dep_ptr: Int64s
    deps: Int32s
    avoided: list[tuple[int, int]]
    fit: str
    succ_ptr: Int64s | None = None
    succ: Int32s | None = None
    order: Int32s | None = None

    @classmethod
    def of(cls, ledger: Ledger, now: int, fit: str) -> Present:
        """The present of a run, copied: it may go on. O(n), and no Python object a task but where durations are new."""
        rest = ledger.state.rest()
        tasks, there = rest["tasks"], np.nonzero(rest["there"])[0].astype(np.int32)
        is_running = rest["state"] == RUNNING
        factor, usual = ledger.pace()
        factor = 1 + (factor - 1) * len(ledger.attempts) / (len(ledger.attempts) + BELIEF)
        known = np.round(rest["duration"] * factor)
        expected = np.where(rest["is_timed"], known, rest["duration"] if usual is None else usual * NS)
        left = np.where(is_running, np.maximum(expected - (now - rest["start"]), expected / LEAST_LEFT), expected)
        row = np.zeros(int(tasks.max(initial=-1)) + 1, dtype=np.int32)  # where a task stands among these
        row[tasks] = np.arange(len(tasks))
        place = np.full(len(rest["there"]) + 1, -1, dtype=np.int32)  # the last one: of a worker of -1
        place[there] = np.arange(len(there))
        aim = np.where(is_running, rest["worker"], rest["preferred"])
        for task, worker in rest["promised"].items():
            aim[row[task]] = worker
        demand = rest["demand"]
        demand[is_running & (place[aim] < 0)] = 0  # it holds nothing that anybody else could have
        before, after = (row[side] for side in rest["edges"])
        by_task = np.argsort(after, kind="stable")
        dep_ptr = np.concatenate(([0], np.cumsum(np.bincount(after, minlength=len(tasks))))).astype(np.int64)
        return cls(
            now,
            tasks,
            there,
            is_running,
            left.astype(np.int64),
            demand,
            rest["capacity"][there],
            rest["priority"],
            rest["key"],
            place[aim],
            np.where(is_running, 0, np.maximum(rest["not_before"] - now, 0)),
            dep_ptr,
            before[by_task],
            [(int(row[task]), int(place[worker])) for task, worker in rest["avoided"] if place[worker] >= 0],
            fit,
        )

    def __len__(self) -> int:
        return len(self.tasks)

    def with_order(self) -> Present:
        """The same with successors and a topological order."""
        if self.order is not None:
            return self
        succ_ptr, succ = successors(self.dep_ptr, self.deps)
        order = topological_order(self.dep_ptr, succ_ptr, succ)
        return replace(self, succ_ptr=succ_ptr, succ=succ, order=order)

    @property
    def n_waiting(self) -> int:
        """Tasks that do not run."""
        return int(np.count_nonzero(~self.is_running))


@dataclass(frozen=True)
class Look:
    """What came of a look ahead: when all that is planned is over as things are, and a plan that takes its place; None:
    none does.

    over_ns: when all is over, what is not planned too. is_loosened: it is the same plan, which is followed otherwise
    from here on. is_of_news: what had come was planned.
    """

    ends_ns: int
    over_ns: int
    route: Route | None
    is_loosened: bool = False
    is_of_news: bool = False


def look(
    present: Present,
    starts: Int64s,
    planned_ns: int,
    most_behind_ns: int | None,
    budget: Optimize | None = None,
    strays: bool = False,
) -> Look:
    """Play on what is followed; where it ends later than planned by more than that, plan anew. None: never.

    `starts` (m,) ns: those of the plan; -1: it does not have the task, and is not behind for its sake. `strays`: it
    does not go as planned any more, and is loosened.
    """
    loosened_to = None
    if strays and present.n_waiting:
        present, loosened_to = loosen(present, starts)
    as_it_is = play(present, present.key, present.worker, present.not_before)
    is_planned = np.isin(as_it_is.tasks, present.tasks[starts >= 0])
    ends_ns = int(as_it_is.end_ns[is_planned].max(initial=0))
    if most_behind_ns is None or not present.n_waiting or ends_ns - planned_ns <= most_behind_ns:
        return Look(ends_ns, as_it_is.ends_ns, loosened_to, is_loosened=loosened_to is not None)
    return Look(ends_ns, as_it_is.ends_ns, replan(present, as_it_is, budget))


def look_for_shorter(present: Present, budget: Optimize) -> Look:
    """Plan what is there, where that is over earlier than as things are."""
    as_it_is = play(present, present.key, present.worker, present.not_before)
    found = replan(present, as_it_is, budget) if present.n_waiting else as_it_is
    route = None if better(as_it_is, found) is as_it_is else found
    return Look(as_it_is.ends_ns, as_it_is.ends_ns, route, is_of_news=True)


def loosen(present: Present, starts: Int64s) -> tuple[Present, Route]:
    """The same present with the plan loosened; and that as a route, with the starts that the plan has."""
    present = present.with_order()
    start = np.where(present.is_running & (starts < 0), present.now_ns, starts)
    order = np.argsort(present.key, kind="stable").astype(np.int32)
    raised = np.where(present.is_running, present.priority.max(initial=0) + 1, present.priority)
    way = loosened(
        Route.of_order(order, start, start + present.duration, present.worker),
        replace(present, priority=raised),
        present.capacity,
        fit=present.fit,
        stays=present.is_running,
    )
    key, worker = present.key.copy(), present.worker.copy()
    key[way.tasks], worker[way.tasks] = way.key, way.worker
    at_home = np.append(present.workers, np.int32(-1))  # -1 is the last one
    route = replace(way, tasks=present.tasks[way.tasks], worker=at_home[way.worker].astype(np.int32))
    return replace(present, key=key, worker=worker, not_before=np.zeros_like(present.not_before)), route


def replan(present: Present, as_it_is: Route, budget: Optimize | None = None) -> Route:
    """A plan for what has not ended, in the time of the run: the best that is found, which `as_it_is` may be.

    Here, and only here, it is decided how much is looked for: a pass by each of some ranks, and the best of these
    played by when its tasks have to start at the latest, which is better than the ranks where durations differ; with a
    budget, what a search finds, too.
    """
    present = present.with_order()
    assert present.order is not None and present.succ_ptr is not None and present.succ is not None
    best, nowhere = as_it_is, np.where(present.is_running, present.worker, -1)
    for name in ORDERS:
        key = RANKS[name](
            present.order,
            present.succ_ptr,
            present.succ,
            present.duration,
            present.demand,
            mean_capacity(present.capacity),
        )
        best = better(best, play(present, key, nowhere, np.zeros_like(key)))
    m = len(present.tasks)
    start, end = np.full((2, m), -1, dtype=np.int64)
    worker = np.full(m, -1, dtype=np.int32)
    at, where = np.searchsorted(present.tasks, best.tasks), np.searchsorted(present.workers, best.worker)
    start[at], end[at], worker[at] = best.start_ns - present.now_ns, best.end_ns - present.now_ns, where
    best = better(by_latest(present, start, end, worker), best)
    if budget is not None and search_for(present, start, end, worker, budget):
        best = better(best, by_latest(present, start, end, worker))
    return best


def by_latest(present: Present, start: Int64s, end: Int64s, worker: Int32s) -> Route:
    """The rest played by when tasks have to start at the latest in a plan of it (m,), on its workers."""
    key = np.empty(len(start), dtype=np.int64)
    key[by_latest_start(present, present.capacity, start, end, worker)] = np.arange(len(start))
    return play(present, key, worker, np.zeros_like(key))


def budget_for(budget: Optimize, n_tasks: int, n_workers: int) -> Optimize | None:
    """What a search beside a run may cost, within what was said; None: there is no time for one that is worth it.

    It is told as schedules, so that the same present has the same plan, on one thread, for commands run beside it.
    """
    if n_tasks * n_workers > MOST_LOOKS:
        return None
    seconds = SEARCH_S if budget.seconds is None else min(SEARCH_S, budget.seconds)
    schedules = min(schedules_in(seconds, n_tasks, n_workers), budget.schedules or MOST_SCHEDULES)
    if schedules < FEWEST:
        return None
    return Optimize(schedules=schedules, target_gap=budget.target_gap, seed=budget.seed)


def search_for(present: Present, start: Int64s, end: Int64s, worker: Int32s, budget: Optimize) -> bool:
    """Put a shorter plan, if one is found, in the place of this one (each (m,), ns from now); whether that was done."""
    at = np.nonzero(start >= 0)[0]  # nobody could hold the others
    bounded = budget_for(budget, len(at), len(present.workers))
    running = present.is_running[at]
    held = np.zeros(present.capacity.shape, dtype=np.int64)
    fixed = np.where(running, np.maximum(present.worker[at], 0), -1).astype(np.int32)  # nowhere, it needs nothing
    np.add.at(held, fixed[running], present.demand[at][running])
    # A worker may have less by now than what it runs was given.
    if bounded is None or is_too_long(present.duration[at], present.demand[at]) or (held > present.capacity).any():
        return False
    part = part_of(present, at)
    chains = np.asarray(bottom_levels(part["order"], part["succ_ptr"], part["succ"], part["duration"]))
    found = search(
        Spending(bounded),
        **part,
        capacity=present.capacity,
        start=start[at],
        worker=worker[at],
        bound=int(chains.max(initial=0)),
        fixed=fixed,
    )
    if found.start is None or found.worker is None:
        return False
    start[at], worker[at] = found.start, found.worker
    end[at] = found.start + present.duration[at]
    return True


def better(a: Route, b: Route) -> Route:
    """The plan that is over earlier, and leaves nothing out that the other has; the first, where they are alike."""
    return b if len(b) >= len(a) and (len(b) > len(a) or b.ends_ns < a.ends_ns) else a


def play(present: Present, key: Int64s, worker: Int32s, not_before: Int64s) -> Route:
    """The rest by these keys and preferred workers, as the live rule goes on with it; in the time of the run.

    What runs starts at once where it runs. What nobody could hold, and what depends on it, is not in the plan.
    """
    key = np.where(present.is_running, FIRST_KEY, key)
    priority = np.where(present.is_running, present.priority.max(initial=0) + 1, present.priority)
    order = urgency_order(priority, key)
    n = len(order)
    asked = Route(
        order, worker[order].astype(np.int32), np.zeros(n, np.int64), np.zeros(n, np.int64), not_before[order]
    )
    columns = play_list(
        asked,
        present.dep_ptr,
        present.deps,
        present.demand,
        present.duration,
        present.capacity,
        fit=present.fit,
        priority=priority,
        avoided=present.avoided,
    )
    route = Route.of_order(order, columns["start"].copy(), columns["end"].copy(), columns["worker"].copy())
    return replace(route, tasks=present.tasks[route.tasks], worker=present.workers[route.worker]).later(present.now_ns)
