"""Plans as files: what `fastsched plan --format json` prints, or what of it is followed, and in which order."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from .errors import FormatError
from .following import read_guide
from .guide import Guide, Route
from .plan import Plan, Schedule

__all__ = ["load_plan", "save_plan"]

NS = 1_000_000_000
MOST_SECONDS = 4e9  # more than the clock of a plan holds


class SavedPlacement(msgspec.Struct):
    """One attempt. Times are seconds; a file may say more of it."""

    task_id: str
    worker_id: str
    start: float
    end: float


class SavedPlan(msgspec.Struct):
    """What is read of a file, which may say more. `in_order`: the placements are in the order to look at the tasks."""

    placements: list[SavedPlacement]
    in_order: bool = False
    makespan: float = 0.0


def save_plan(plan: Schedule | Plan | Guide, path: str | Path) -> None:
    """Keep what `run(plan=...)` follows of a plan in a file: where and when each task runs, and in which order it goes.

    Raises:
        OSError: where it cannot be written.
    """
    guide = read_guide(plan)
    route, names = guide.route, guide.worker_ids
    if names is None:
        names = list(map(str, range(int(route.worker.max(initial=-1)) + 1)))
    rows = zip(guide.task_ids, route.worker.tolist(), route.start_ns.tolist(), route.end_ns.tolist())
    placements = [SavedPlacement(task_id, names[at], start / NS, end / NS) for task_id, at, start, end in rows]
    document = SavedPlan(placements, guide.is_ordered, route.ends_ns / NS)
    Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def load_plan(path: str | Path) -> Guide:
    """Read a plan that `save_plan` or `fastsched plan --save` has kept, or that `--format json` has printed.

    For `run(plan=...)`, `Scheduler(plan=...)` and `schedule(plan=...)`. Where a task has more than one attempt in it,
    the last one is what was planned.

    Raises:
        FormatError: where it is no such file. OSError: where it cannot be read.
    """
    try:
        saved = msgspec.json.decode(Path(path).read_bytes(), type=SavedPlan)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        wanted = "a plan as `fastsched plan FILE --save PLAN` keeps it is wanted"
        raise FormatError(str(path), f"it is no plan: {error}; {wanted}") from None
    last = {row.task_id: i for i, row in enumerate(saved.placements)}
    rows = [saved.placements[i] for i in sorted(last.values())]
    for row in rows:
        if not 0 <= row.start <= row.end <= MOST_SECONDS:
            raise FormatError(str(path), f"task {row.task_id!r} runs from {row.start:g} s to {row.end:g} s in it")
    workers = list(dict.fromkeys(row.worker_id for row in rows))
    number = dict(zip(workers, range(len(workers))))
    start, end = (np.array([round(s * NS) for s in times], dtype=np.int64) for times in _times(rows))
    worker = np.array([number[row.worker_id] for row in rows], dtype=np.int32)
    order = np.arange(len(rows)) if saved.in_order else np.argsort(start, kind="stable")
    route = Route.of_order(order.astype(np.int32), start, end, worker)
    return Guide([rows[i].task_id for i in route.tasks.tolist()], workers, route.renumbered(), saved.in_order)


def _times(rows: list[SavedPlacement]) -> tuple[list[float], list[float]]:
    return [row.start for row in rows], [row.end for row in rows]
