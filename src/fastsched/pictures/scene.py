"""`Scene`: all that a picture of a plan or of a run shows, names and numbers, before anything is drawn.

Whoever draws takes a scene and nothing else. What costs time is computed when it is asked for. No file, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..names import show_name
from ..units import show_seconds
from .lanes import pack_lanes
from .usage import busy_grid, usage_steps
from .waits import Waits, find_waits

__all__ = ["FAILED_COLOR", "OTHER_COLOR", "PALETTE", "Scene", "amount_label", "show_amount"]

Ints = npt.NDArray[Any]
NS = 1_000_000_000

# Okabe and Ito's colours, which eyes of every kind tell apart; vermilion is kept for what failed, and the yellow is
# darker than theirs, so that it stands out from a white page too.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#56b4e9", "#cc79a7", "#b8a60a")
OTHER_COLOR, FAILED_COLOR = "#9a9a9a", "#d55e00"

DIGITS = re.compile(r"\d+")
TAIL = re.compile(r"[\W_]*#\W*$")


@dataclass(frozen=True, eq=False)
class Scene:
    """Times in ns from the start; index i is the i-th attempt, t the t-th task, w the w-th worker.

    Attributes:
        what: "plan" or "run". title: what it is of, may be "".
        task_ids, worker_ids, resources: the names.
        demand (T, K), capacity (W, K): whole amounts by resource.
        dep_ptr, deps: CSR, what each task depends on.
        columns: task, worker, attempt, start_ns, end_ns, reason of the n attempts, in the order of (start, task,
            attempt); the reason is 0 for what completed, else a place in `reason_names`.
        task_end_ns: the end of the last attempt of every task, -1 where it never started.
        status, cause: of every task its status, and the failed task at the root (-1: there is none).
        why: of tasks that failed the reason, by task.
        critical: the tasks of the critical path, first to last.
        bounds_ns: lower bounds of the makespan, by what binds.
    """

    what: str
    title: str
    task_ids: Sequence[str]
    worker_ids: Sequence[str]
    resources: Sequence[str]
    demand: Ints
    capacity: Ints
    dep_ptr: Ints
    deps: Ints
    columns: Mapping[str, Ints]
    task_end_ns: Ints
    status: Sequence[str]
    cause: Ints
    why: Mapping[int, str]
    reason_names: Sequence[str]
    critical: Sequence[int]
    makespan_ns: int
    bounds_ns: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.columns["task"])

    @cached_property
    def _packed(self) -> tuple[Ints, Ints]:
        columns = self.columns
        return pack_lanes(columns["worker"], columns["start_ns"], columns["end_ns"], len(self.worker_ids))

    @property
    def lane(self) -> Ints:
        """The lane of each attempt on its worker."""
        return self._packed[0]

    @cached_property
    def first_row(self) -> Ints:
        """(W + 1,) int64: the row of the first lane of each worker, and at the end how many rows there are.

        A worker that ran nothing has a row, so that it is seen.
        """
        rows = np.maximum(self._packed[1], 1).astype(np.int64)
        return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(rows)))

    @cached_property
    def row(self) -> Ints:
        """The row of each attempt, over all workers."""
        return self.first_row[self.columns["worker"]] + self.lane

    @cached_property
    def waits(self) -> Waits:
        """What each attempt waited for."""
        return find_waits(dict(self.columns), self.task_end_ns, self.dep_ptr, self.deps, len(self.worker_ids))

    @cached_property
    def groups(self) -> tuple[Ints, list[str]]:
        """For each task its group (uint8), and the names of the groups: by their ids without their numbers.

        At most as many as there are colours have one of their own, those with the most time; the rest is "other".
        """
        names = [group_name(task_id) for task_id in self.task_ids]
        spent = dict.fromkeys(names, 0)
        task, span = self.columns["task"].tolist(), (self.columns["end_ns"] - self.columns["start_ns"]).tolist()
        for i, ns in zip(task, span):
            spent[names[i]] += ns
        longest = sorted(spent, key=lambda name: -spent[name])[: len(PALETTE)]
        shown = [name for name in spent if name in set(longest)]  # in the order of their first tasks
        number = dict.fromkeys(spent, len(shown)) | {name: i for i, name in enumerate(shown)}
        group = np.array([number[name] for name in names], dtype=np.uint8)
        return group, shown + ["other"] * (len(spent) > len(shown))

    @cached_property
    def shown_groups(self) -> list[int]:
        """The groups of which there is an attempt."""
        found: list[int] = np.unique(self.groups[0][self.columns["task"]]).tolist()
        return found

    @property
    def group_colors(self) -> list[str]:
        """A colour for each group that there can be, that of the others last."""
        return [*PALETTE, OTHER_COLOR]

    @cached_property
    def is_critical(self) -> npt.NDArray[np.bool_]:
        """For each attempt whether its task is on the critical path."""
        tasks = np.zeros(len(self.task_ids), dtype=bool)
        tasks[list(self.critical)] = True
        return np.asarray(tasks[self.columns["task"]])

    @cached_property
    def usage(self) -> tuple[Ints, Ints]:
        """Times, and what all attempts hold of each resource from then on: see `usage_steps`."""
        columns = self.columns
        return usage_steps(columns["start_ns"], columns["end_ns"], self.demand[columns["task"]])

    @cached_property
    def offered(self) -> list[int]:
        """What all workers have together, by resource."""
        return [int(amount) for amount in self.capacity.sum(axis=0, dtype=np.int64)]

    def bundles(self, n_rows: int) -> Ints:
        """(W,): workers bundled with their neighbours into so many rows, as equal as can be."""
        return np.arange(len(self.worker_ids)) * n_rows // max(1, len(self.worker_ids))

    def busy(self, n_rows: int, n_columns: int) -> npt.NDArray[np.float64]:
        """(n_rows, n_columns): the share of its cores that each bundle of workers holds, over the makespan."""
        columns, of_worker = self.columns, self.bundles(n_rows)
        cores = self.demand[columns["task"], 0].astype(np.float64)
        held = busy_grid(
            of_worker[columns["worker"]],
            columns["start_ns"],
            columns["end_ns"],
            cores,
            n_rows,
            n_columns,
            self.makespan_ns,
        )
        have = np.bincount(of_worker, weights=self.capacity[:, 0], minlength=n_rows)
        share: npt.NDArray[np.float64] = held / np.maximum(have, 1.0)[:, None]
        return share

    @property
    def lower_bound_ns(self) -> int:
        """The largest of the bounds."""
        return max(self.bounds_ns.values(), default=0)

    @property
    def bound_by(self) -> str:
        """What the largest bound comes from, as a person says it."""
        name = max(self.bounds_ns, key=lambda name: self.bounds_ns[name], default="")
        return amount_label(name)

    @property
    def gap(self) -> float:
        """How far the makespan is above the lower bound, as a share of that; 0 where there is none."""
        return self.makespan_ns / self.lower_bound_ns - 1 if self.lower_bound_ns else 0.0

    @property
    def gap_text(self) -> str:
        """The gap as a person says it."""
        if self.makespan_ns == self.lower_bound_ns and self.what == "plan":
            return "optimal"
        return f"{self.gap:.1%}" if self.gap >= 0.001 or not self.gap else "less than 0.1%"

    def summary(self) -> list[tuple[str, str]]:
        """What is told of it in a line: (what, value)."""
        n_failed = sum(status == "FAILED" for status in self.status)
        rows = [
            ("tasks", f"{len(self.task_ids):,}"),
            ("workers", f"{len(self.worker_ids):,}"),
            ("makespan", show_seconds(self.makespan_ns / NS)),
        ]
        if self.lower_bound_ns:
            rows += [
                ("lower bound", f"{show_seconds(self.lower_bound_ns / NS)} ({show_name(self.bound_by)})"),
                ("above it", self.gap_text),
            ]
        if n_failed:
            rows.append(("failed", f"{n_failed:,}"))
        return rows


def group_name(task_id: str) -> str:
    """The id without its numbers: `mProject` for `mProject_00000356`, `chr#.align` for `chr21.align`."""
    name = DIGITS.sub("#", task_id)
    return TAIL.sub("", name) or name


def amount_label(resource: str) -> str:
    """What a resource is called in a picture."""
    return {"cpu_millicores": "cores", "memory_mb": "memory"}.get(resource, resource)


def show_amount(resource: str, amount: float) -> str:
    """So much of a resource, as a person reads it."""
    if resource == "cpu_millicores":
        return f"{amount / 1000:,.6g} core{'' if amount == 1000 else 's'}"
    if resource == "memory_mb":
        return f"{amount:,.0f} MB" if amount < 10240 else f"{amount / 1024:,.5g} GB"
    return f"{amount:,.6g} {show_name(resource)}"
