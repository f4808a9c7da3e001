"""A plan that is to be followed: which task goes before which, on which worker, and when.

`Guide` has it by ids, whatever made it and wherever it was kept; `Route` is the same for the tasks and the workers of
one graph or run, by their indices, as the core is told it. Nothing here makes a plan, reads a file or a clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .errors import Problem, ValidationError
from .events import PlanAdopted
from .names import nearest, show_name

__all__ = ["FIRST_KEY", "Followed", "Guide", "Route"]

FIRST_KEY = -(2**63)  # of what is planned: it goes before all that is not, whose keys are those of a rank
SHOWN = 3  # ids that are told one by one
MANY = 10_000  # ids among which one that was misspelt is looked for

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Route:
    """The way of a plan through a graph, or through a run, by its indices.

    Attributes:
        tasks (m,) int32: those that are planned, in the order in which they are looked at.
        worker (m,) int32: where each goes; -1 = wherever.
        start_ns, end_ns (m,) int64: when it is to run.
        not_before (m,) int64: ns; it is held back until then, for the sake of what follows; 0 = it is not.
    """

    tasks: Int32s
    worker: Int32s
    start_ns: Int64s
    end_ns: Int64s
    not_before: Int64s

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def key(self) -> Int64s:
        """The tasks' keys, (m,): all before those of any rank."""
        return FIRST_KEY + np.arange(len(self.tasks), dtype=np.int64)

    @property
    def ends_ns(self) -> int:
        """When the last task is to end."""
        return int(self.end_ns.max(initial=0))

    def later(self, by_ns: int) -> Route:
        """The same, so much later."""
        held = np.where(self.not_before > 0, self.not_before + by_ns, 0)
        return replace(self, start_ns=self.start_ns + by_ns, end_ns=self.end_ns + by_ns, not_before=held)

    def reordered(self, places: npt.NDArray[np.intp]) -> Route:
        """The same in another order, told as places in this one."""
        start, end, held = (column[places] for column in (self.start_ns, self.end_ns, self.not_before))
        return Route(self.tasks[places], self.worker[places], start, end, held)

    def renumbered(self) -> Route:
        """The same, with tasks numbered by their places in it."""
        return replace(self, tasks=np.arange(len(self), dtype=np.int32))

    def as_fact(
        self,
        now: int,
        begins_ns: int,
        behind_ns: int | None = None,
        was_ns: int | None = None,
        is_loosened: bool = False,
    ) -> PlanAdopted:
        """That it is followed from now on; see `PlanAdopted`."""
        held = self.not_before if self.not_before.any() else self.not_before[:0]
        tasks, worker = (column.astype("<i4").tobytes() for column in (self.tasks, self.worker))
        start, end, until = (column.astype("<i8").tobytes() for column in (self.start_ns, self.end_ns, held))
        return PlanAdopted(tasks, worker, start, end, until, now, begins_ns, behind_ns, was_ns, is_loosened)

    @classmethod
    def of_fact(cls, fact: PlanAdopted) -> Route:
        """What a fact says is followed. Raises ValueError where it is cut."""
        tasks, worker = (np.frombuffer(column, "<i4").astype(np.int32) for column in (fact.tasks, fact.workers))
        told = (
            np.frombuffer(column, "<i8").astype(np.int64) for column in (fact.start_ns, fact.end_ns, fact.not_before)
        )
        start, end, held = told
        held = held if fact.not_before else np.zeros(len(tasks), dtype=np.int64)
        if {len(worker), len(start), len(end), len(held)} != {len(tasks)}:
            raise ValueError("the columns of a plan are of different lengths")
        return cls(tasks, worker, start, end, held)

    @classmethod
    def of_order(cls, order: Int32s, start: Int64s, end: Int64s, worker: Int32s) -> Route:
        """Of an order, times and workers of n tasks; those with a start of -1 are not planned."""
        order = order[start[order] >= 0]
        return cls(order, worker[order], start[order], end[order], np.zeros(len(order), dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Followed:
    """The plan that a run follows.

    Attributes:
        start_ns (n,) int64: when each of the tasks that there were then is to start, in the time of the run; -1 = it is
            not planned. begins_ns: when the first plan was adopted. ends_ns: when all is to be over by this one.
        n_anew: how often the rest was planned anew.
    """

    start_ns: Int64s
    begins_ns: int
    ends_ns: int
    n_anew: int = 0

    def planned_ns(self, task: int) -> int | None:
        """When a task is to start; None: it is not planned."""
        at = int(self.start_ns[task]) if task < len(self.start_ns) else -1
        return None if at < 0 else at

    def starts_of(self, tasks: Int32s) -> Int64s:
        """When each of these is to start; -1: it is not planned."""
        there = tasks < len(self.start_ns)
        starts = np.full(len(tasks), -1, dtype=np.int64)
        starts[there] = self.start_ns[tasks[there]]
        return starts

    def share(self, ns: int) -> float:
        """So much time, as a share of what the whole was planned to take."""
        return ns / max(1, self.ends_ns - self.begins_ns)


class Guide:
    """What is to be followed of a plan, by ids.

    Attributes:
        task_ids: those that the plan starts, in the order in which they are to be looked at.
        worker_ids: the workers that it uses; None: it knows them by their indices alone.
        route: of the tasks by their place in `task_ids`, and of the workers by theirs in `worker_ids`.
        is_ordered: whether that order is more than that of their starts.
    """

    def __init__(
        self, task_ids: Sequence[str], worker_ids: Sequence[str] | None, route: Route, is_ordered: bool = True
    ) -> None:
        self.task_ids, self.worker_ids, self.route, self.is_ordered = list(task_ids), worker_ids, route, is_ordered

    def __len__(self) -> int:
        return len(self.task_ids)

    def __repr__(self) -> str:
        return f"<Guide: {len(self)} tasks, to be over after {self.route.ends_ns / 1e9:g} s>"

    def only(self, task_ids: Collection[str]) -> Guide:
        """The same for these tasks alone, the first of them at 0; nobody is held back."""
        wanted = frozenset(task_ids)
        places = [i for i, task_id in enumerate(self.task_ids) if task_id in wanted]
        start, end = self.route.start_ns[places], self.route.end_ns[places]
        first = int(start.min()) if len(start) else 0
        here = np.arange(len(places), dtype=np.int32)
        route = Route(
            here, self.route.worker[places], start - first, end - first, np.zeros(len(places), dtype=np.int64)
        )
        return Guide([self.task_ids[i] for i in places], self.worker_ids, route, self.is_ordered)

    def check(self, known: Mapping[str, object], what: str = "these tasks") -> None:
        """Raise ValidationError where it plans tasks that are not known."""
        strange = [task_id for task_id in self.task_ids if task_id not in known]
        if not strange:
            return
        near = nearest(strange[0], list(known)[:MANY])
        more = f" and {len(strange) - SHOWN} more" if len(strange) > SHOWN else ""
        names = ", ".join(map(show_name, strange[:SHOWN])) + more
        hint = f" (did you mean {show_name(near)}?)" if near else ""
        message = f"it has {names}{hint}, which {what} do not; make the plan again from what is to be run"
        raise ValidationError([Problem("bad_value", "plan", message, suggestion=near)])

    def route_through(self, tasks: Mapping[str, int], workers: Mapping[str, int]) -> Route:
        """The way through what is known by these ids; tasks and workers that are not known are left out of it."""
        at = np.array([tasks.get(task_id, -1) for task_id in self.task_ids], dtype=np.int32)
        if self.worker_ids is None:
            n_workers = len(workers)
            number = np.arange(max(n_workers, int(self.route.worker.max(initial=-1)) + 1), dtype=np.int32)
            number[n_workers:] = -1
        else:
            number = np.array([workers.get(worker_id, -1) for worker_id in self.worker_ids], dtype=np.int32)
        worker = np.append(number, np.int32(-1))[self.route.worker]  # -1 is the last one
        there, route = at >= 0, self.route
        return Route(at[there], worker[there], route.start_ns[there], route.end_ns[there], route.not_before[there])
