"""What happened beside what was planned: how late each task was, and for what, so that the parts add up.

Both sides are taken to pieces in the same way. A task is *ready* when the last of its dependencies has ended; it
*waits* until its first attempt starts, for room on a worker or for the worker itself; attempts that were not its last
one, and the time until the next one began, are *retries*, or *lost* where a worker was; the last attempt is its
*duration*. So its end is the sum of these, on both sides, and the difference of the ends is the sum of the differences:
that it was ready later is what its *dependencies* cost it.

The makespan is the sum of such pieces along the realised chain: the task that ended last, the dependency for which it
was ready last, and so on to the first. The plan need not have been tight there. What it had to spare along that chain,
the *slack*, could be used up before the makespan grew, and counts against the delay.

Arrays of whole nanoseconds in, frozen rows out; no clock, no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Delays", "Course", "Made", "TaskDelay", "compare", "make_course"]

NS = 1_000_000_000
Int64s = npt.NDArray[np.int64]


class TaskDelay(NamedTuple):
    """One task, planned and actual, in seconds from the start.

    Times are None where it did not come to its end there; where both are there, `delay` is actual less planned end, and
    the sum of: `dependency`, it was ready later, for `dependency_id`; `waiting`, for room or for a worker; `retries`,
    after failures; `lost`, with workers; `duration`, its last attempt took longer. Less than 0: that was sooner.
    """

    task_id: str
    planned_start: float | None
    planned_end: float | None
    actual_start: float | None
    actual_end: float | None
    planned_worker: str | None
    actual_worker: str | None
    delay: float | None
    dependency: float | None
    waiting: float | None
    retries: float | None
    lost: float | None
    duration: float | None
    dependency_id: str | None


@dataclass(frozen=True)
class Delays:
    """A run against a plan.

    Attributes:
        planned_makespan, actual_makespan: seconds.
        chain: the tasks along which the actual makespan came about, first to last.
        causes: seconds by cause, `waiting`, `retries`, `lost`, `duration` along that chain, and `slack`, what the plan
            had to spare there, below 0. Their sum is actual less planned makespan.
        rows: every task, in the order in which they were given.
    """

    planned_makespan: float
    actual_makespan: float
    chain: tuple[str, ...]
    causes: dict[str, float]
    rows: tuple[TaskDelay, ...]

    @property
    def delay(self) -> float:
        """Seconds by which the run took longer than planned; less than 0: it was shorter."""
        return self.actual_makespan - self.planned_makespan

    def __repr__(self) -> str:
        return f"<Delays: {self.actual_makespan:g} s, planned {self.planned_makespan:g} s>"


class Made(NamedTuple):
    """One attempt of a task that came to its end. Times in ns; `was_lost`: its worker was.

    A plan may leave the worker open.
    """

    task_id: str
    worker_id: str | None
    attempt: int
    start_ns: int
    end_ns: int
    was_lost: bool


class Course(NamedTuple):
    """The pieces of n tasks on one side, ns. A task that did not come to its end there took nothing once it was ready.

    `ended`: whether it did. `worker`: that of its last attempt. `binding`: the dependency that ended last, or -1.
    """

    ended: npt.NDArray[np.bool_]
    ready: Int64s
    waiting: Int64s
    retries: Int64s
    lost: Int64s
    duration: Int64s
    worker: Sequence[str | None]
    binding: Int64s

    @property
    def start(self) -> Int64s:
        """When the first attempt began."""
        return self.ready + self.waiting

    @property
    def end(self) -> Int64s:
        """When the last attempt ended."""
        return self.start + self.retries + self.lost + self.duration


def make_course(
    dep_ptr: Int64s, deps: npt.NDArray[np.int32], order: npt.NDArray[np.int32], ids: Sequence[str], made: Iterable[Made]
) -> Course:
    """Take a time line to pieces.

    Args:
        dep_ptr, deps: CSR, what each task depends on. order: a topological one. ids: the tasks.
        made: attempts, in any order; those of tasks that are not among the ids are left out.
    """
    index = {task_id: i for i, task_id in enumerate(ids)}
    rows: list[list[Made]] = [[] for _ in ids]
    for attempt in made:
        if attempt.task_id in index:
            rows[index[attempt.task_id]].append(attempt)
    at, flat = dep_ptr.tolist(), deps.tolist()
    n = len(rows)
    pieces = [(0, 0, 0, 0, 0)] * n
    binding, ends = [-1] * n, [0] * n
    for i in order.tolist():
        before = flat[at[i] : at[i + 1]]
        binding[i] = max(before, key=lambda j: (ends[j], -j), default=-1)
        ready = ends[binding[i]] if before else 0
        pieces[i] = _take_apart(ready, sorted(rows[i], key=lambda attempt: attempt.attempt))
        ends[i] = sum(pieces[i])
    ready_ns, waiting, retries, lost, duration = np.array(pieces, dtype=np.int64).reshape(n, 5).T
    where = [max(row, key=lambda attempt: attempt.attempt).worker_id if row else None for row in rows]
    ended = np.array([bool(row) for row in rows], dtype=bool)
    return Course(ended, ready_ns, waiting, retries, lost, duration, where, np.array(binding, dtype=np.int64))


def _take_apart(ready: int, attempts: Sequence[Made]) -> tuple[int, int, int, int, int]:
    """When a task was ready, and how long it waited, was retried, was lost, and took."""
    if not attempts:
        return ready, 0, 0, 0, 0
    retried = lost = 0
    for attempt, following in pairwise(attempts):
        span = following.start_ns - attempt.start_ns
        lost += span if attempt.was_lost else 0
        retried += 0 if attempt.was_lost else span
    last = attempts[-1]
    return ready, attempts[0].start_ns - ready, retried, lost, last.end_ns - last.start_ns


def compare(task_ids: Sequence[str], planned: Course, actual: Course) -> Delays:
    """Put two sides of the same tasks beside each other."""
    chain = _realised_chain(actual)
    planned_ns, actual_ns = int(planned.end.max(initial=0)), int(actual.end.max(initial=0))
    pieces = ("waiting", "retries", "lost", "duration")
    causes = {name: int((getattr(actual, name) - getattr(planned, name))[chain].sum()) for name in pieces}
    ready, ends = planned.ready[chain], planned.end[chain]
    spare = int((ready[1:] - ends[:-1]).sum()) + planned_ns - int(ends[-1]) if chain else planned_ns
    causes["slack"] = -spare
    both = planned.ended & actual.ended
    columns = [
        task_ids,
        _seconds(planned.start, planned.ended),
        _seconds(planned.end, planned.ended),
        _seconds(actual.start, actual.ended),
        _seconds(actual.end, actual.ended),
        planned.worker,
        actual.worker,
        _seconds(actual.end - planned.end, both),
        _seconds(actual.ready - planned.ready, both),
        *(_seconds(getattr(actual, name) - getattr(planned, name), both) for name in pieces),
        [task_ids[j] if j >= 0 else None for j in actual.binding.tolist()],
    ]
    return Delays(
        planned_ns / NS,
        actual_ns / NS,
        tuple(task_ids[i] for i in chain),
        {name: ns / NS for name, ns in causes.items()},
        tuple(map(TaskDelay, *columns)),
    )


def _realised_chain(actual: Course) -> list[int]:
    """The task that ended last, and before each the dependency for which it was ready last; first to last."""
    if not actual.ended.any():
        return []
    chain = [int(np.where(actual.ended, actual.end, -1).argmax())]
    while (before := int(actual.binding[chain[-1]])) >= 0:
        chain.append(before)
    return chain[::-1]


def _seconds(ns: Int64s, there: npt.NDArray[np.bool_]) -> list[float | None]:
    return [value / NS if is_there else None for value, is_there in zip(ns.tolist(), there.tolist())]
