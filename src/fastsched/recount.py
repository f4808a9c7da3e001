"""Everything that the core keeps counted, counted again from the ground: numpy arrays in, InternalError out.

It shares nothing with the kernels that do the counting but the meaning of the columns. For tests
and for doubt; the core's `check()` calls it.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InternalError

__all__ = ["recount"]

WAITING, READY, RUNNING, COMPLETED, DELAYED, FAILED = range(6)
ABSENT = 2**31 - 1
WORKER_LOST = 5
FAN = 16
CELLS_A_ROW = 64

Columns = dict[str, Any]
Amounts = npt.NDArray[np.int32]


def recount(core: Any) -> None:
    """Count every invariant of a core again.

    Free + held = capacity, indegrees, lists of open attempts, trees, layers, the grid, counts, where each task failed,
    the heap of delays.

    Raises:
        InternalError: naming the first that does not hold.
    """
    columns, workers, inner = core.columns(), core.worker_columns(), core.innards()
    demand, capacity, free = core.amounts()
    _check_counts(core, columns, workers)
    _check_room(columns, workers, inner, demand, capacity, free)
    _check_edges(columns, inner)
    _check_trees(columns["state"], inner, demand)
    _check_failures(core)
    if inner["cell_head"] is not None:
        _check_grid(workers, inner, free)
    times = inner["wake_time"][: inner["n_wakes"]]
    above = (np.arange(1, len(times)) - 1) >> 2
    _demand((times[above] <= times[1:]).all(), "the heap of delays is out of order")


def _demand(holds: Any, message: str) -> None:
    if not holds:
        raise InternalError(message)


def _check_counts(core: Any, columns: Columns, workers: Columns) -> None:
    state = columns["state"]
    _demand((state == RUNNING).sum() == core.n_running, "open attempts are miscounted")
    _demand(((state < COMPLETED) | (state == DELAYED)).sum() == core.n_left, "tasks left are miscounted")
    _demand((state >= FAILED).sum() == core.n_failed, "failed tasks are miscounted")
    failed = core.failed_since(0)
    _demand(len(set(failed)) == len(failed) and (state[failed] >= FAILED).all(), "a task failed twice, or not at all")
    promises = core.promises()
    postponed = core.postponements()
    held, not_before = core.held_back(), core.course()["not_before"]
    waiting = len(core.wakes()) + len(held) + len(promises) + len(postponed)
    _demand((state == DELAYED).sum() == waiting, "delays, promises and postponements are miscounted")
    _demand(all(until == not_before[task] for task, until in held.items()), "a task is held back longer than planned")
    early = (state == READY) & (columns["attempt"] == 0)
    _demand(not len(not_before) or not (early & (core.now < not_before)).any(), "a task could start before its time")
    preferred = core.course()["preferred"]
    _demand(len(preferred) in (0, len(state)) and len(not_before) in (0, len(state)), "a plan has another length")
    _demand((preferred < len(workers["live"])).all(), "a plan has a worker that is not known")
    _demand(core.deadline >= 0 or not postponed, "a task is postponed, and there is no deadline")
    _demand((state[list(promises)] == DELAYED).all(), "a task is promised, and could start")
    count = np.bincount(np.array(list(promises.values()), dtype=np.int64), minlength=len(workers["live"]))
    _demand((count == core.innards()["n_promised"][: len(count)]).all(), "promises to workers are miscounted")
    _demand((workers["live"][count > 0] == 1).all(), "a task is promised to a worker that has left")
    _demand((columns["reason"][state < FAILED] == 0).all() and (columns["reason"][state >= FAILED] > 0).all(),
            "a task has a reason and did not fail, or the other way round")  # fmt: skip
    charged = columns["failures"] + columns["ooms"] + columns["losses"]
    _demand((charged <= columns["attempt"]).all(), "more attempts were charged than made")
    _demand(not (workers["live"] & workers["expected"]).any(), "a worker is there and expected")
    _demand((workers["live"][workers["draining"] > 0] == 1).all(), "a worker drains and is not there")


def _check_room(
    columns: Columns, workers: Columns, inner: Columns, demand: Amounts, capacity: Amounts, free: Amounts
) -> None:
    running = np.nonzero(columns["state"] == RUNNING)[0]
    where = columns["worker"][running]
    live, shown = workers["live"] != 0, workers["shown"] != 0
    _demand(live[where].all(), "a task runs on a worker that has left")
    listed = []
    for worker in range(len(live)):
        task, before = inner["first_on"][worker], -1
        while task >= 0:
            _demand(columns["worker"][task] == worker, "a list of open attempts holds another worker's")
            _demand(inner["before_on"][task] == before, "a list of open attempts is torn")
            listed.append(int(task))
            _demand(len(listed) <= len(running), "a list of open attempts has no end")
            before, task = task, inner["next_on"][task]
    _demand(sorted(listed) == running.tolist(), "the lists of open attempts do not hold just these")
    held = np.zeros(capacity.shape, dtype=np.int64)
    np.add.at(held, where, demand[running])
    count = np.bincount(where, minlength=len(live))
    room = capacity - held
    takes = live & (workers["draining"] == 0) & (room >= 0).all(axis=1)
    takes &= (workers["trust"] == 0) | ((workers["trust"] == 2) & (count == 0))
    _demand((takes == shown).all(), "a worker is shown that takes nothing, or the other way round")
    _demand((free[shown] == room[shown]).all(), "free + held is not the capacity")
    _demand((free[~shown] == -1).all(), "a worker that takes nothing has room")


def _check_edges(columns: Columns, inner: Columns) -> None:
    state, n = columns["state"], len(columns["state"])
    succ_ptr = inner["succ_ptr"][: n + 1]
    tails = np.repeat(np.arange(n), np.diff(succ_ptr))
    heads = inner["succ"][: succ_ptr[-1]] if n else np.empty(0, dtype=np.int32)
    missing = np.bincount(heads[state[tails] != COMPLETED], minlength=n)
    if inner["n_late"]:
        for task in np.nonzero((state != COMPLETED) & (inner["late_head"][:n] >= 0))[0]:
            late = inner["late_head"][task]
            while late >= 0:
                missing[inner["late_task"][late]] += 1
                late = inner["late_next"][late]
    _demand((missing == columns["missing"]).all(), "indegrees are miscounted")
    _demand((missing[np.isin(state, (READY, RUNNING, COMPLETED, DELAYED))] == 0).all(), "a task overtook a dependency")
    _demand(((missing > 0) | (state != WAITING)).all(), "a task waits for nothing")


def _check_trees(state: npt.NDArray[np.uint8], inner: Columns, demand: Amounts) -> None:
    """Every ready task stands in just one tree, with its amount, and every node is its least child."""
    slot_of, pivot, levels = inner["slot_of"][: len(state)], inner["pivot"], inner["levels"]
    open_ = (state < COMPLETED) | (state == DELAYED)
    _demand((slot_of[open_] >= 0).all() and (slot_of[open_] < inner["n_slots"]).all(), "a task has no slot")
    k = demand.shape[1]
    least_demand = inner["slot_demand"][: inner["n_slots"] * k].reshape(-1, k)
    if open_.any():
        _demand((demand[open_] >= least_demand[slot_of[open_]]).all(), "a task needs less than its slot")
    for s in range(inner["n_slots"]):
        level = inner["level"][s * levels : (s + 1) * levels]
        mine = np.nonzero((slot_of == s) & (state == READY))[0]
        leaf = inner["first_leaf"][s] + inner["leaf_of"][mine]
        _demand((inner["task_at"][leaf] == mine).all(), "a leaf is another's")
        if inner["pivot_need"][s]:
            _demand((demand[mine, pivot] >= inner["pivot_need"][s]).all(), "a task needs less than its even slot")
            _check_bits(inner["bits"], level[: inner["depth"][s] + 1], inner["leaf_of"][mine])
            continue
        rows = [inner["tree"][level[i] : level[i + 1]] for i in range(inner["depth"][s])]
        wanted = np.full(len(rows[0]), ABSENT, dtype=np.int32)
        wanted[inner["leaf_of"][mine]] = demand[mine, pivot] - 1
        _demand((rows[0] == wanted).all(), "a tree does not hold just the ready tasks")
        for below, above in pairwise(rows):
            least = below.reshape(-1, FAN).min(axis=1)
            _demand((above[: len(least)] == least).all(), "a tree node is not its least child")
    for first, last in zip(inner["layer_slot"], inner["layer_slot"][1 : inner["n_layers"] + 1]):
        mine = np.nonzero((slot_of >= first) & (slot_of < last) & open_)[0]
        urgency = np.lexsort((mine, inner["key"][mine], -inner["priority"][mine]))
        leaf = inner["first_leaf"][slot_of[mine]] + inner["leaf_of"][mine]
        _demand((np.diff(inner["position_at"][leaf[urgency]]) > 0).all(), "positions are not in the order of urgency")


def _check_bits(bits: npt.NDArray[np.uint64], level: npt.NDArray[np.int64], there: npt.NDArray[np.int32]) -> None:
    """Every level of a bit tree has a bit for just the words below that are not 0, and the lowest for what is there."""
    for begin, end in pairwise(level):
        wanted = np.zeros(end - begin, dtype=np.uint64)
        np.bitwise_or.at(wanted, there >> 6, np.uint64(1) << (there & 63).astype(np.uint64))
        _demand((bits[begin:end] == wanted).all(), "a bit tree does not hold just the ready tasks")
        there = np.unique(there >> 6)


def _check_failures(core: Any) -> None:
    """Each task remembers the workers on which it failed, once each, the last one first."""
    log, failed_on = core.log(), defaultdict[int, dict[int, None]](dict)
    for task, worker, reason in zip(log["task"].tolist(), log["worker"].tolist(), log["reason"].tolist()):
        if reason != WORKER_LOST:
            failed_on[task].pop(worker, None)
            failed_on[task][worker] = None
    for task, workers in failed_on.items():
        _demand(core.failed_workers(task) == list(workers)[::-1], "a task does not know where it failed")


def _check_grid(workers: Columns, inner: Columns, free: Amounts) -> None:
    """Every worker that takes tasks is in the cell of its free amounts, under one that is preferred to it."""
    found = []
    for row, cells in enumerate((inner["cell_head"] >= 0).reshape(-1, CELLS_A_ROW)):
        _demand(int(inner["inhabited"][row]) == sum(1 << int(c) for c in np.nonzero(cells)[0]), "a cell is miscounted")
        _demand(int(inner["inhabited"][-1]) >> row & 1 == cells.any(), "a row of cells is miscounted")
    for cell in np.nonzero(inner["cell_head"] >= 0)[0]:
        stack = [(int(inner["cell_head"][cell]), -1)]
        while stack:
            worker, above = stack.pop()
            found.append(worker)
            _demand(len(found) <= len(free), "a heap of the grid has no end")
            row = np.searchsorted(inner["row_steps"], free[worker, inner["row_resource"]], side="right")
            column = np.searchsorted(inner["column_steps"], free[worker, inner["pivot"]], side="right")
            _demand(cell == CELLS_A_ROW * row + column, "a worker is in another's cell")
            _demand(inner["cell_of"][worker] == cell, "a worker does not know its cell")
            if above >= 0:
                order = (-inner["merit"][above], above) < (-inner["merit"][worker], worker)
                _demand(order, "a heap of the grid is out of order")
            child = int(inner["child"][worker])
            while child >= 0:
                stack.append((child, worker))
                child = int(inner["sibling"][child])
    _demand(sorted(found) == np.nonzero(workers["shown"])[0].tolist(), "the grid does not hold just who takes tasks")
