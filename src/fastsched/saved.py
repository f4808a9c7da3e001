"""Plans as files, of one kind: what `fastsched plan --save` keeps and `--format json` prints, and `save_plan()` writes.

It is read by whoever follows a plan, holds a run beside it, or compares. It is one JSON document; or its lines, as
`--format jsonl` prints them: all but the placements first, and then each of these. Only the placements are needed, so
that other programs can write a plan too; `order` says in which order the tasks are to be looked at.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from .errors import FormatError
from .files import write_file
from .following import read_guide
from .formats import read_bytes
from .guide import Guide, Route
from .model import TaskStatus
from .plan import Placement, Schedule

__all__ = ["SavedPlan", "holds_plan", "load_plan", "plan_as_json", "save_plan"]

NS = 1_000_000_000
MOST_SECONDS = 4e9  # more than the clock of a plan holds
WANTED = "a plan is wanted, as `fastsched plan FILE --save PLAN` keeps it or --format json prints it"


class _Row(msgspec.Struct):
    """One attempt. Times are seconds; a file may say more of it."""

    task_id: str
    worker_id: str
    start: float
    end: float
    attempt: int = 1
    outcome: TaskStatus = TaskStatus.COMPLETED


class _Document(msgspec.Struct):
    """What is read of a file, which may say more: see `plan_as_json`."""

    placements: list[_Row]
    order: list[str] | None = None
    status: dict[str, TaskStatus] | None = None
    lower_bound: float = 0.0
    bound_by: str = ""
    utilisation: dict[str, dict[str, float]] = {}
    workers: dict[str, dict[str, int]] = {}


class _Contents(msgspec.Struct):
    """What tells a plan from a job file."""

    placements: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    makespan: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    tasks: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class SavedPlan(Guide):
    """A plan that was read from a file: to be followed, held beside a run, or compared.

    Attributes:
        placements: every attempt, in order of time.
        status: the final status of each task, by id; where a file does not say it, of those that have placements.
        makespan: seconds. lower_bound: likewise, 0.0 where it is not known; bound_by: what it comes from.
        workers: what each offers, by its id and the resource; utilisation: the share of it that is held. Empty where
            they are not known.
    """

    def __init__(self, guide: Guide, document: _Document) -> None:
        super().__init__(guide.task_ids, guide.worker_ids, guide.route, guide.is_ordered)
        rows = document.placements
        self.placements = [Placement(r.task_id, r.worker_id, r.attempt, r.start, r.end, r.outcome) for r in rows]
        last = {row.task_id: row.outcome for row in rows}
        self.status = last if document.status is None else document.status
        self.makespan = max((row.end for row in rows), default=0.0)
        self.lower_bound, self.bound_by = document.lower_bound, document.bound_by
        self.workers, self.utilisation = document.workers, document.utilisation


def save_plan(plan: Schedule, path: str | Path) -> None:
    """Keep a plan in a file, for `load_plan()`, `fastsched run --plan`, `report --against` and `compare`.

    Raises:
        TypeError: for what is not the answer of `schedule()`. OSError: where it cannot be written.
    """
    if not isinstance(plan, Schedule):
        raise TypeError(f"plan is {plan!r}; what schedule() answers is wanted, for its tasks and workers have names")
    write_file(path, msgspec.json.format(msgspec.json.encode(plan_as_json(plan)), indent=2) + b"\n")


def plan_as_json(plan: Schedule) -> dict[str, Any]:
    """All of a plan, for a program."""
    return {
        "makespan": plan.makespan,
        "rank": plan.rank,
        "fit": plan.fit,
        "schedules": plan.plan.n_schedules,
        "lower_bound": plan.lower_bound,
        "bound_by": plan.bound_by,
        "gap": plan.gap if math.isfinite(plan.gap) else None,
        "bottleneck": plan.bottleneck,
        "bounds": {name: ns / NS for name, ns in plan.plan.bounds_ns.items()},
        "critical_path": plan.critical_path,
        "status": plan,
        "reasons": plan.reasons,
        "causes": plan.causes,
        "order": read_guide(plan).task_ids,
        "placements": [placement._asdict() for placement in plan.placements],
        "utilisation": plan.utilisation,
        "workers": {
            worker: dict(zip(plan.plan._graph.resources, row))
            for worker, row in zip(plan.worker_ids, plan.plan._capacity.tolist())
        },
    }


def holds_plan(path: str | Path) -> bool:
    """Whether a file is a plan, for whoever takes job files too. Raises FormatError, OSError: it cannot be read."""
    content = read_bytes(Path(path))
    try:
        found = msgspec.json.decode(content, type=_Contents)
        return found.tasks is msgspec.UNSET and found.placements is not msgspec.UNSET
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _is_head(content.partition(b"\n")[0])


def load_plan(path: str | Path) -> SavedPlan:
    """Read a plan that `save_plan` or `fastsched plan --save` has kept, or that `--format json` or `jsonl` has printed.

    For `run(plan=...)`, `Scheduler(plan=...)`, `schedule(plan=...)`, `Run.against(...)` and `compare(...)`. Where a
    task has more than one attempt in it, the last one is what was planned.

    Raises:
        FormatError: where it is no such file. OSError: where it cannot be read.
    """
    if Path(path).is_dir():
        raise FormatError(str(path), f"it is no plan, but a folder; {WANTED}")
    content = read_bytes(Path(path))
    try:
        document = _decode(content)
        document.placements.sort(key=lambda row: row.start)
        if document.order is not None and sorted(document.order) != sorted({r.task_id for r in document.placements}):
            raise ValueError("its order does not have the tasks of its placements, each once")
        for row in document.placements:
            if not 0 <= row.start <= row.end <= MOST_SECONDS:
                raise ValueError(f"task {row.task_id!r} runs from {row.start:g} s to {row.end:g} s in it")
    except (ValueError, RecursionError) as error:  # those of msgspec and of Unicode are such
        raise FormatError(str(path), f"it is no plan: {_what_is_wrong(content, error)}; {WANTED}") from None
    return SavedPlan(_guide_of(document), document)


def _decode(content: bytes) -> _Document:
    """The document, or its lines."""
    head, _, rest = content.partition(b"\n")
    if rest.strip() and _is_head(head):
        lines = [msgspec.Raw(line) for line in rest.splitlines() if line.strip()]
        members = msgspec.json.decode(head, type=dict[str, msgspec.Raw])
        content = msgspec.json.encode({**members, "placements": lines})
    return msgspec.json.decode(content, type=_Document)


def _is_head(line: bytes) -> bool:
    """Whether it is the first of the lines of a plan."""
    try:
        found = msgspec.json.decode(line, type=_Contents)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return found.makespan is not msgspec.UNSET and found.placements is msgspec.UNSET


def _what_is_wrong(content: bytes, error: Exception) -> str:
    if not content.strip():
        return "it is empty"
    try:
        if msgspec.json.decode(content, type=_Contents).tasks is not msgspec.UNSET:
            return "it is a job file"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return str(error)


def _guide_of(document: _Document) -> Guide:
    """What is to be followed of it."""
    rows = sorted({row.task_id: row for row in document.placements}.values(), key=lambda row: row.start)
    workers = list(dict.fromkeys(row.worker_id for row in rows))
    number = dict(zip(workers, range(len(workers))))
    start = np.array([round(row.start * NS) for row in rows], dtype=np.int64)
    end = np.array([round(row.end * NS) for row in rows], dtype=np.int64)
    worker = np.array([number[row.worker_id] for row in rows], dtype=np.int32)
    order = np.arange(len(rows))
    if document.order is not None:
        place = {row.task_id: i for i, row in enumerate(rows)}
        order = np.array([place[task_id] for task_id in document.order], dtype=np.int64)
    route = Route.of_order(order.astype(np.int32), start, end, worker)
    return Guide(
        [rows[i].task_id for i in route.tasks.tolist()], workers, route.renumbered(), document.order is not None
    )
