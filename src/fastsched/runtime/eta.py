"""How long a run will take from here: its present state, played on in virtual time."""

from __future__ import annotations

import msgspec

from ..model import TaskStatus
from ..planner import schedule
from .ledger import Ledger

__all__ = ["seconds_left"]

NS = 1_000_000_000
MOST_PLAYED = 20_000  # of more tasks than that, only the work that is left is added up
LEAST_LEFT = 0.05  # of what is expected of a task that takes longer than that


def seconds_left(ledger: Ledger, now: int) -> float | None:
    """Seconds until every task has ended, as far as can be told; None: nothing is known of how long tasks take.

    What has been measured corrects what was expected: durations that were given are scaled by how they fared so far,
    and a task without one takes as long as those that completed did.
    """
    state = ledger.state
    workers = [worker for worker in state.workers if state.presence(worker.worker_id) != "gone"]
    statuses = state.statuses()
    open_ids = [name for name, status in statuses.items() if status in (TaskStatus.PENDING, TaskStatus.RUNNING)]
    if not open_ids or not workers:
        return 0.0 if not open_ids else None
    factor, usual = ledger.pace()
    indices = [state.index_of(name) for name in open_ids]
    if usual is None and not any(state.tasks[i].duration for i in indices):
        return None
    left: list[float] = []
    for name, i in zip(open_ids, indices):
        given = state.tasks[i].duration
        expected = usual or 0.0 if given is None else given * factor
        if statuses[name] is TaskStatus.RUNNING:
            expected = max(expected - (now - ledger.started_ns(i)) / NS, expected * LEAST_LEFT)
        left.append(expected)
    if len(open_ids) > MOST_PLAYED:
        cores = sum(float(worker.cpu_cores_available) for worker in workers)
        return sum(float(state.tasks[i].cpu_cores_required) * s for i, s in zip(indices, left)) / max(cores, 0.001)
    still_open = set(open_ids)
    tasks = [
        msgspec.structs.replace(
            state.tasks[i],
            dependencies=[d for d in state.tasks[i].dependencies if d in still_open],
            duration=seconds,
            status=TaskStatus.PENDING,
        )
        for i, seconds in zip(indices, left)
    ]
    return schedule(tasks, workers).makespan
