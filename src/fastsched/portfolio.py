"""`auto`: a few plans by different ranks and fits, of which the best is kept; and ranks that are made by planning.

It knows what is tried, and how cores are put back between plans; it neither makes a core nor plays a time
line: that is handed in. The same tasks on the same workers always end in the same plan.

Theory of operation. No pair of rank and fit is the best everywhere, and where one wastes time another often does
not: the best of a few is far better than the best one. Which few was found by greedy choice on real workflows,
query plans and packing traces. Better still is a rank that knows a plan. Planned *backwards*, with every dependency
turned round, a graph shows what has to start early because room is short, and not only because chains are
long; the order of starts in such a plan, told forwards, is the rank `mirrored`. *Justified* is the same for a plan
that is there: backwards by its ends, the last first, and then forwards by the starts that come out (Li and Willis
1992; Valls, Ballestin and Quintanilla 2005), with a whole time line for each direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from ._core import Core
from .bounds import rough_ns
from .graph import CompiledGraph
from .model import nearest
from .plan import COMPLETED_STATE, Plan
from .ranks import RANKS, mean_capacity, urgency_order

__all__ = ["AUTO", "FITS", "Passes", "best_plan", "check_choice", "check_fit", "check_rank", "key_of", "pairs_to_try"]

AUTO = "auto"
MIRRORED = "mirrored"
KEPT = ("start", "end", "worker", "attempt", "state", "reason", "cause")  # columns of a plan
JUSTIFIED = "+justified"  # at the end of a rank
MERITS = ("most-free", "best-fit", "first-fit")  # for which a merit is kept for each worker
MATCHES = ("dot-product", "cosine", "least-left")  # which look at every worker with room, for every task
FITS = (*MERITS, *MATCHES)
MANY_TASKS = 2000  # whose plans cost more than the bounds that take milliseconds
MOST_MATCHED = 1024  # workers: among more, a plan by matches would take much longer than others
PAIRS = (
    ("critical-path", "most-free"),
    ("latest-finish", "least-left"),
    ("dominant-path", "dot-product"),
    ("path-and-volume", "cosine"),
    (MIRRORED, "best-fit"),
)

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Make = Callable[[CompiledGraph, Int64s, str], Core]
Tell = Callable[[int], object]


class Passes:
    """A graph on workers on which nothing goes wrong, planned again and again, without making a core anew each time.

    Args:
        capacity (W, K): of the workers.
        make: make(graph, key, fit) answers a core of the graph, or of the mirrored one.
        play: play(core, tell) plays its time line, and tells now and then how many tasks have ended.
        on_progress: on_progress(ended, tasks) is told the same over all passes that are expected.
    """

    def __init__(
        self,
        graph: CompiledGraph,
        capacity: Int32s,
        make: Make,
        play: Callable[[Core, Tell | None], object],
        on_progress: Callable[[int, int], object] | None = None,
    ) -> None:
        self.graph, self.capacity = graph, capacity
        self.n_played = 0  # passes so far, each a whole time line
        self.n_expected = 1
        self._mean, self._make, self._play, self._on_progress = mean_capacity(capacity), make, play, on_progress
        self._mirrored: CompiledGraph | None = None
        self._cores: dict[bool, Core] = {}  # by whether it is the mirrored graph's
        self.keys: dict[tuple[str, str], Int64s] = {}  # of the plans that were made
        self._ends: dict[tuple[str, str], Int64s] = {}  # of the plans that were made

    @property
    def tell(self) -> Tell | None:
        """What a pass tells how many tasks have ended; None where nobody listens."""
        return None if self._on_progress is None else self._tell

    def plan(self, rank: str, fit: str) -> Plan:
        """The plan by this rank and fit."""
        key = self.keys[rank, fit] = self.key(rank, fit)
        core = self._pass(key, fit, False)
        columns = core.columns()
        kept = {name: columns[name].copy() for name in KEPT}  # the next pass is played on this core
        self._ends[rank, fit] = kept["end"]
        return Plan(self.graph, self.capacity, kept, core.log(), rank=rank, fit=fit)

    def key(self, rank: str, fit: str) -> Int64s:
        """One key a task, the smaller the sooner. A rank that is made by planning is made with this fit."""
        if rank == MIRRORED:
            return self._backwards(key_of("latest-finish", self._turned(), self._mean), fit)
        if rank.endswith(JUSTIFIED):
            before = rank[: -len(JUSTIFIED)]
            if (before, fit) not in self._ends:
                self.plan(before, fit)
            return self._backwards(-self._ends[before, fit], fit)
        return key_of(rank, self.graph, self._mean)

    def _backwards(self, key: Int64s, fit: str) -> Int64s:
        """The order of starts in a plan of the mirrored graph, told forwards. What cannot run there comes last."""
        return -np.ascontiguousarray(self._pass(key, fit, True).columns()["end"])

    def _turned(self) -> CompiledGraph:
        if self._mirrored is None:
            self._mirrored = self.graph.mirrored()
        return self._mirrored

    def _pass(self, key: Int64s, fit: str, backwards: bool) -> Core:
        graph = self._turned() if backwards else self.graph
        core = self._cores.get(backwards)
        if core is None:
            core = self._cores[backwards] = self._make(graph, key, fit)
        else:
            core.rewind(fit=fit, key=key, order=urgency_order(graph.priority, key), dep_ptr=graph.dep_ptr)
        self._play(core, self.tell)
        self.n_played += 1
        return core

    def _tell(self, ended: int) -> None:
        n = len(self.graph)
        assert self._on_progress is not None
        self._on_progress(min(n, (self.n_played * n + ended) // self.n_expected), n)

    def say_done(self) -> None:
        """No more passes will be made."""
        if self._on_progress is not None:
            self._on_progress(len(self.graph), len(self.graph))


def best_plan(
    rank: str,
    fit: str,
    passes: Passes,
    play: Callable[[str, str], Plan],
    *,
    n_workers: int,
    stops: bool,
    go_on: Callable[[], bool] = lambda: True,
) -> Plan:
    """The plan by this rank and fit; where one of them is AUTO, the best of a few.

    That is one of those in which most tasks complete, of these one of the shortest, and of these the first.

    play: play(rank, fit) makes one. n_workers: that are ever there. stops: nothing goes wrong in any, so that the bound
    of one is that of all, and no more are made when it is met. go_on: whether there is time for another.
    """
    if AUTO not in (rank, fit):
        passes.n_expected = _count_passes(rank)
        return play(rank, fit)
    pairs = pairs_to_try(rank, fit, n_workers)
    is_justified = rank == AUTO  # the best of them, in the end
    passes.n_expected = sum(_count_passes(its_rank) for its_rank, _ in pairs) + is_justified * _count_passes(JUSTIFIED)
    best = play(*pairs[0])
    bound = _bound_of(best, passes) if stops else -1
    n_tried = 1
    for its_rank, its_fit in pairs[1:]:
        if best.makespan_ns <= bound or not go_on():
            break
        best = min(best, play(its_rank, its_fit), key=_badness)
        n_tried += 1
    if is_justified and best.makespan_ns > bound and go_on():
        best = min(best, play(best.rank + JUSTIFIED, best.fit), key=_badness)
        n_tried += 1
    best.n_tried = n_tried
    passes.say_done()
    return best


def _bound_of(plan: Plan, passes: Passes) -> int:
    """A lower bound in ns that costs less than the plans which need not be made where it is met."""
    graph, bound = passes.graph, 0
    if plan.all_completed:
        bound = rough_ns(graph.order, graph.succ_ptr, graph.succ, graph.duration, graph.demand, passes.capacity)
    return bound if len(graph) < MANY_TASKS or plan.makespan_ns <= bound else plan.bound.ns


def _badness(plan: Plan) -> tuple[int, int]:
    """The tasks that do not complete, and the makespan."""
    return int((plan.state != COMPLETED_STATE).sum()), plan.makespan_ns


def pairs_to_try(rank: str, fit: str, n_workers: int) -> list[tuple[str, str]]:
    """The pairs of rank and fit that are tried first. What is not AUTO stays as it is.

    With one worker no fit makes a difference, and among many some would take too long.
    """
    fits = FITS[:1] if n_workers == 1 else FITS if n_workers <= MOST_MATCHED else MERITS
    if rank != AUTO:
        return [(rank, its_fit) for its_fit in (fits if fit == AUTO else [fit])]
    if fit != AUTO:
        return [(its_rank, fit) for its_rank, _ in PAIRS]
    return [(its_rank, its_fit if its_fit in fits else fits[-1]) for its_rank, its_fit in PAIRS]


def _count_passes(rank: str) -> int:
    """Plans that are made for one by this rank, when the one that it justifies is there."""
    return 1 if rank in RANKS else 2


def key_of(rank: str, graph: CompiledGraph, mean: npt.NDArray[np.float64]) -> Int64s:
    """The key of each task by one of RANKS, among workers that have so much on average."""
    return RANKS[rank](graph.order, graph.succ_ptr, graph.succ, graph.duration, graph.demand, mean)


def check_rank(name: str) -> None:
    """Raise ValueError for what is none of RANKS, nor made by planning, nor AUTO."""
    base = name
    while isinstance(base, str) and base.endswith(JUSTIFIED):
        base = base[: -len(JUSTIFIED)]
    check_choice("rank", base, (*RANKS, MIRRORED, AUTO) if base == name else (*RANKS, MIRRORED))


def check_fit(name: str) -> None:
    """Raise ValueError for what is none of FITS, nor AUTO."""
    check_choice("fit", name, (*FITS, AUTO))


def check_choice(what: str, name: str, known: Iterable[str]) -> None:
    """Raise ValueError for a name that is not among the known ones, with the nearest of them."""
    known = list(known)
    if name not in known:
        near = nearest(str(name), known)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f"unknown {what} {name!r}{hint} (known: {', '.join(known)})")
