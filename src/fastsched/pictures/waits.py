"""What each attempt waited for: what it depends on, and then room on its worker.

Arrays in, arrays out: no name, no colour, no pixel. It only looks at what happened, so it says who made room last,
not why a worker was chosen.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Waits", "find_waits"]

Ints = npt.NDArray[Any]


class Waits(NamedTuple):
    """One entry an attempt.

    Attributes:
        ready_ns: when nothing but room was missing: the end of the last dependency, for a retry that of the attempt
            before; 0 for a task without dependencies.
        after: the task whose end that was, the first of several; the task itself for a retry; -1: there is none.
        freed_by: of attempts that started later than `ready_ns`, the attempt whose end on this worker came last before
            the start, but not before `ready_ns`; -1: there is none.
    """

    ready_ns: Ints
    after: Ints
    freed_by: Ints


def find_waits(columns: dict[str, Ints], task_end_ns: Ints, dep_ptr: Ints, deps: Ints, n_workers: int) -> Waits:
    """What n attempts waited for.

    Args:
        columns: task, worker, attempt, start_ns, end_ns of the attempts.
        task_end_ns: the end of the last attempt of every task.
        dep_ptr, deps: CSR, what each task depends on.
    """
    ready, after = _ends_of_dependencies(task_end_ns, dep_ptr, deps)
    task, start, end = columns["task"], columns["start_ns"], columns["end_ns"]
    ready_ns, after = ready[task], after[task]
    by = np.lexsort((columns["attempt"], task))
    again = np.nonzero(task[by][1:] == task[by][:-1])[0]
    ready_ns[by[again + 1]] = end[by[again]]
    after[by[again + 1]] = task[by[again]]
    freed_by = _last_ends(columns["worker"], start, end, n_workers)
    told = (freed_by >= 0) & (start > ready_ns)
    told[told] = end[freed_by[told]] >= ready_ns[told]
    return Waits(ready_ns, after, np.where(told, freed_by, -1))


def _ends_of_dependencies(end_ns: Ints, dep_ptr: Ints, deps: Ints) -> tuple[Ints, Ints]:
    """For each task when its dependencies had ended (0: it has none), and the first of those that ended last, or -1."""
    ready = np.zeros(len(end_ns), dtype=np.int64)
    after = np.full(len(end_ns), -1, dtype=np.int64)
    has = np.diff(dep_ptr) > 0
    if has.any():
        ends = end_ns[deps]
        ready[has] = np.maximum.reduceat(ends, dep_ptr[:-1][has])
        row = np.repeat(np.arange(len(end_ns)), np.diff(dep_ptr))
        last = np.nonzero(ends == ready[row])[0]
        rows, first = np.unique(row[last], return_index=True)
        after[rows] = deps[last[first]]
    return ready, after


def _last_ends(worker: Ints, start_ns: Ints, end_ns: Ints, n_workers: int) -> Ints:
    """For each attempt the one with the last end on the same worker that is not after its start; -1: there is none.

    Attempts of no duration held nothing, and made no room.
    """
    found = np.full(len(worker), -1, dtype=np.int64)
    held = np.nonzero(end_ns > start_ns)[0]
    if not len(held):
        return found
    moments, rank = np.unique(np.concatenate((start_ns, end_ns)), return_inverse=True)
    place = worker.astype(np.int64) * len(moments)
    ends = place + rank[len(worker) :]
    held = held[np.argsort(ends[held], kind="stable")]
    at = np.searchsorted(ends[held], place + rank[: len(worker)], side="right") - 1
    before = held[np.maximum(at, 0)]
    there = (at >= 0) & (worker[before] == worker)
    found[there] = before[there]
    return found
