"""Why a task stands where it does: in words and as data. Pure reads of the core; nothing here changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .model import Reason, TaskStatus
from .plan import REASON_OF_CODE, STATUS_OF_STATE

__all__ = ["Explanation", "describe_misfit", "explain_task", "show_amount"]

WAITING, READY, RUNNING, COMPLETED, DELAYED, FAILED, SKIPPED, CANCELLED = range(8)
QUARANTINED = 1
NS = 1_000_000_000
SHOWN = 3  # names that are told one by one


@dataclass(frozen=True)
class Explanation:
    """Why a task stands where it does.

    Attributes:
        task_id, status, text: the last is one sentence for a person.
        waits_for: ids of dependencies that have not completed.
        delayed_until_ns: when its back-off ends, or the plan does not hold it back any more.
        avoids: workers on which it failed, the last one first.
        best_worker: for a ready task, the worker that comes nearest to having room for it now. missing: what
            that worker lacks, by resource; of its capacity where `unsatisfiable`, else of what is free.
        unsatisfiable: no worker that is there or expected could ever hold it.
        earliest_ns: when the best worker is expected to have room, by expected durations.
        reserved_on: the worker on which room is kept for it.
        worker_id, attempt: of the last attempt.
        planned_ns, planned_worker: when and where the plan that is followed has it start.
        reason, cause_id: why it failed for good, and for DEPENDENCY the failed task at the root of it.
    """

    task_id: str
    status: TaskStatus
    text: str
    waits_for: tuple[str, ...] = ()
    delayed_until_ns: int | None = None
    avoids: tuple[str, ...] = ()
    best_worker: str | None = None
    missing: dict[str, int] | None = None
    unsatisfiable: bool = False
    earliest_ns: int | None = None
    reserved_on: str | None = None
    worker_id: str | None = None
    attempt: int = 0
    reason: Reason | None = None
    cause_id: str | None = None
    planned_ns: int | None = None
    planned_worker: str | None = None


def explain_task(
    core: Any,
    task: int,
    ids: Sequence[str],
    worker_ids: Sequence[str],
    resources: Sequence[str],
    dependencies: Sequence[int],
) -> Explanation:
    """Why one task of a core stands where it does."""
    columns = core.columns()
    state = int(columns["state"][task])
    attempt, worker = core.attempt_of(task)
    known: dict[str, Any] = {
        "task_id": ids[task],
        "status": STATUS_OF_STATE[state],
        "attempt": attempt,
        "worker_id": worker_ids[worker] if worker >= 0 else None,
        "avoids": tuple(worker_ids[w] for w in core.failed_workers(task)),
    }
    if state == WAITING:
        open_ = tuple(ids[d] for d in dict.fromkeys(dependencies) if columns["state"][d] != COMPLETED)
        return Explanation(text=f"it waits for {_name(open_)} to complete", waits_for=open_, **known)
    if state == DELAYED:
        until = core.held_back().get(task)
        if until is not None:
            text = f"the plan lets it wait for {(until - core.now) / NS:.3g} s more, and keeps the room for others"
            return Explanation(text=text, delayed_until_ns=until, **known)
        until = core.wakes().get(task)
        if until is None and task not in core.promises():
            left = max(0, core.deadline - core.now) / NS
            return Explanation(text=f"it is not expected to end in the {left:.6g} s that this run has left", **known)
        if until is None:
            known["worker_id"] = worker_ids[core.promises()[task]]
            return Explanation(text=f"it starts on {known['worker_id']} as soon as another one ends there", **known)
        text = f"attempt {attempt} failed on {known['worker_id']}; it is tried again in {(until - core.now) / NS:.3g} s"
        return Explanation(text=text, delayed_until_ns=until, **known)
    if state == RUNNING:
        return Explanation(text=f"attempt {attempt} runs on {known['worker_id']}", **known)
    if state == COMPLETED:
        return Explanation(text=f"attempt {attempt} completed on {known['worker_id']}", **known)
    if state == READY:
        return _explain_ready(core, task, ids, worker_ids, resources, known)
    reason = REASON_OF_CODE[columns["reason"][task]]
    cause = int(columns["cause"][task])
    cause_id = ids[cause] if cause >= 0 else None
    words = {
        SKIPPED: f"it depends on {cause_id}, which failed for good",
        CANCELLED: "it was cancelled",
    }
    text = words.get(state, f"it failed for good: {reason}" + (f", in attempt {attempt}" if attempt else ""))
    return Explanation(text=text, reason=reason, cause_id=cause_id, **known)


def _explain_ready(
    core: Any,
    task: int,
    ids: Sequence[str],
    worker_ids: Sequence[str],
    resources: Sequence[str],
    known: dict[str, Any],
) -> Explanation:
    """Why a task that depends on nothing any more has not started."""
    demand, capacity, free = core.amounts()
    there = core.worker_columns()
    needed = demand[task].astype(np.int64)
    present = (there["live"] != 0) & (there["draining"] == 0)
    may_come = present | (there["expected"] != 0)
    holds = may_come & (capacity >= needed).all(axis=1)
    if not holds.any():
        names = [worker_ids[w] for w in np.nonzero(may_come)[0].tolist()]
        best, lacks = nearest_worker(needed, capacity[may_come])
        text = describe_misfit(known["task_id"], needed, names, capacity[may_come], resources)
        missing = {name: int(lack) for name, lack in zip(resources, lacks) if lack}
        return Explanation(
            text=text, best_worker=names[best] if names else None, missing=missing, unsatisfiable=True, **known
        )
    avoided = np.isin(np.arange(len(holds)), core.failed_workers(task))
    if (holds & ~avoided & (there["trust"] != QUARANTINED)).any():
        holds &= ~avoided
    kept = core.reservation()
    reserved_on = worker_ids[kept[1]] if kept and kept[0] == task else None
    shown = there["shown"] != 0
    candidates = np.nonzero(holds & shown)[0].tolist()
    if not candidates:
        away = np.nonzero(holds)[0].tolist()
        words = ("holds more than it has since it shrank", "is in quarantine", "is on probation, and busy")
        text = "; ".join(
            f"{worker_ids[w]} could hold it and {'is expected' if there['expected'][w] else words[there['trust'][w]]}"
            for w in away[:SHOWN]
        )
        return Explanation(text=text, best_worker=worker_ids[away[0]], reserved_on=reserved_on, **known)
    earliest = {w: core.earliest_start(task, w) for w in candidates}
    best = min(earliest, key=lambda w: (earliest[w] is None, earliest[w] or 0, w))
    lacks = np.maximum(needed - free[best], 0)
    missing = {name: int(lack) for name, lack in zip(resources, lacks) if lack}
    if missing:
        amounts = " and ".join(f"{show_amount(name, lack)} more free" for name, lack in missing.items())
        text = f"it waits for room: {worker_ids[best]} would need {amounts}"
        if (earliest[best] or 0) > core.now:  # else whoever is in the way takes longer than was expected
            text += f", expected in {(earliest[best] - core.now) / NS:.3g} s"
    elif kept and not reserved_on and not (np.delete(holds & shown & (free >= needed).all(axis=1), kept[1])).any():
        text = f"it waits: the room on {worker_ids[kept[1]]} is kept for {ids[kept[0]]}"
    else:
        text = f"it starts with the next decision; {worker_ids[best]} has room for it"
    if reserved_on:
        text += f"; room is kept for it on {reserved_on}"
    return Explanation(
        text=text, best_worker=worker_ids[best], missing=missing, earliest_ns=earliest[best],
        reserved_on=reserved_on, **known,
    )  # fmt: skip


def nearest_worker(demand: npt.NDArray[np.int64], capacity: npt.NDArray[Any]) -> tuple[int, npt.NDArray[np.int64]]:
    """The worker that lacks the least for a demand, the larger one first, and what it lacks; (-1, demand) for none."""
    if not len(capacity):
        return -1, demand
    lacks = np.maximum(demand - capacity, 0)
    share = (lacks / np.maximum(demand, 1)).sum(axis=1)
    size = (capacity / np.maximum(demand, 1)).sum(axis=1)
    best = int(np.lexsort((-size, share))[0])
    return best, lacks[best]


def describe_misfit(
    task_id: str,
    demand: npt.NDArray[Any],
    worker_ids: Sequence[str],
    capacity: npt.NDArray[Any],
    resources: Sequence[str],
) -> str:
    """Why none of these workers could ever hold a task: the one that comes nearest, and what it lacks."""
    best, lacks = nearest_worker(demand.astype(np.int64), capacity)
    if best < 0:
        return f"there is no worker, so task {task_id!r} cannot run"
    if not lacks.any():
        return f"no worker that could hold task {task_id!r} is left"
    missing = " and ".join(
        f"{show_amount(resource, int(lack))} more (it needs {show_amount(resource, int(need))}, "
        f"the worker has {show_amount(resource, int(has))})"
        for resource, lack, need, has in zip(resources, lacks, demand, capacity[best])
        if lack
    )
    return f"no worker can hold task {task_id!r}: the largest for it, {worker_ids[best]!r}, would need {missing}"


def show_amount(resource: str, amount: int) -> str:
    """An amount with its unit, as a person reads it."""
    if resource == "cpu_millicores":
        return f"{amount / 1000:g} core{'' if amount == 1000 else 's'}"
    if resource == "memory_mb":
        return f"{amount} MB" if amount < 10 * 1024 else f"{amount / 1024:.4g} GB"
    return f"{amount} {resource}"


def _name(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
