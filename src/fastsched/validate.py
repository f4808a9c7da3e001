"""Is this plan possible at all? Asked of the plain numbers, knowing nothing of how a scheduler decides.

It shares no code with the planners, and believes nothing that they count: every attempt, every edge, and every instant
at which something starts on a worker are looked at, by numpy, in O(A log A) for A attempts and their edges.

What it holds a plan to:

- every task has come to an end, its status, reason and cause fit those of what it depends on, and it was not begun
  where a dependency did not complete;
- its attempts are numbered 1, 2, 3, follow each other, run on workers that exist, last as long as the task takes (less
  only where the worker was lost), and are no more than the retries allow;
- it starts when what it depends on has ended, or later;
- on each worker, what is held of each resource when something starts is no more than the worker has then. Held amounts
  only grow at starts, so this is every instant. A task of no duration needs room for itself beside what runs across
  its instant.
- nothing starts on a worker that has not joined, has left, or is draining, as the events say. What chance does to
  workers is known only by the attempts that it ended: it is not held against a plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import PlanInvalid, Violation
from .names import show_name

__all__ = ["Facts", "Finding", "Terms", "find_wrongs", "raise_for_wrongs"]

NS = 1_000_000_000

COMPLETED, FAILED, SKIPPED, CANCELLED = 3, 5, 6, 7
LOST, OUT_OF_MEMORY, DEPENDENCY, UNSATISFIABLE = 5, 3, 7, 8
CALLED_OFF = 6
JOIN, LEAVE, LOSE, DRAIN, RESIZE = range(5)
DRAINS, GONE = "the worker takes nothing more", "the worker is not there"

Column = npt.NDArray[Any]


class Terms(NamedTuple):
    """What a plan was made under, where that is known.

    max_retries (n,): failures of its own that each task survives. max_losses: lost workers that it survives.
    capacity (W, K): what each worker has at first, or when it joins. n_there: so many, the first ones, are there at
    once. script: (time in ns, what, worker, capacity (.., K) or -1) of the events, in order of time; None if none.
    chance: workers may be lost and come back besides.
    """

    max_retries: Column
    max_losses: int
    capacity: Column
    n_there: int
    script: tuple[Column, Column, Column, Column] | None
    chance: bool


class Facts(NamedTuple):
    """The graph, the workers and what became of the tasks: columns, as `Plan` has them.

    duration (n,): ns that an attempt takes; None where that is not known beforehand, as in a run.
    capacity (W, K): the most that each worker has.
    tasks: start, end, worker, attempts, state, reason, cause (n,). log: of the attempts that did not complete.
    open_ends: tasks may be left that have not come to an end.
    """

    dep_ptr: Column
    deps: Column
    demand: Column
    duration: Column | None
    capacity: Column
    tasks: Mapping[str, Column]
    log: Mapping[str, Column]
    terms: Terms | None
    open_ends: bool


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, by indices: of a task, and where it applies of a worker, at an instant in ns.

    `{other}` and `{resource}` in the message stand for the names of another task and of a resource.
    """

    kind: str
    task: int
    message: str
    worker: int = -1
    at_ns: int = -1
    other: int = -1
    resource: int = -1


def raise_for_wrongs(
    plan: Any, task_ids: Sequence[str], worker_ids: Sequence[str], *, expected: bool = True, open_ends: bool = False
) -> None:
    """Raise PlanInvalid, with names, for all that is wrong with a `Plan`.

    expected: attempts must last as long as the graph says. open_ends: tasks may be left that have not ended.
    """
    graph, names = plan._graph, {"start": "start_ns", "end": "end_ns"}
    tasks = ("start", "end", "worker", "attempts", "state", "reason", "cause")
    facts = Facts(
        dep_ptr=graph.dep_ptr,
        deps=graph.deps,
        demand=graph.demand,
        duration=graph.duration if expected else None,
        capacity=plan._capacity,
        tasks={name: getattr(plan, names.get(name, name)) for name in tasks},
        log=plan.log,
        terms=plan.terms,
        open_ends=open_ends,
    )
    violations = [
        Violation(
            found.kind,
            task_ids[found.task] if found.task >= 0 else None,
            worker_ids[found.worker] if 0 <= found.worker < len(worker_ids) else None,
            found.at_ns / NS if found.at_ns >= 0 else None,
            found.message.format(
                other=show_name(task_ids[found.other]) if found.other >= 0 else "",
                resource=show_name(graph.resources[found.resource]) if found.resource >= 0 else "",
            ),
        )
        for found in find_wrongs(facts)
    ]
    if violations:
        raise PlanInvalid(violations)


def find_wrongs(facts: Facts) -> list[Finding]:
    """Everything that is wrong, by kind, then in the order of tasks; [] for a plan that is possible."""
    attempts = _Attempts(facts)
    wrong = [*_check_states(facts, attempts), *_check_attempts(facts, attempts)]
    if not wrong:  # what follows relies on these
        wrong += [*_check_precedence(facts, attempts), *_check_retries(facts, attempts)]
        wrong += [*_check_room(facts, attempts), *_check_presence(facts, attempts)]
    return wrong


class _Attempts:
    """Every attempt as a row, ordered by (task, number): those of the log, and one for each task that completed."""

    def __init__(self, facts: Facts) -> None:
        done = np.nonzero(facts.tasks["state"] == COMPLETED)[0]
        log, tasks = facts.log, facts.tasks
        task = np.concatenate((log["task"], done)).astype(np.int64)
        number = np.concatenate((log["attempt"], tasks["attempts"][done])).astype(np.int64)
        by = np.lexsort((number, task))
        self.task, self.number = task[by], number[by]
        self.worker = np.concatenate((log["worker"], tasks["worker"][done])).astype(np.int64)[by]
        self.start = np.concatenate((log["start"], tasks["start"][done])).astype(np.int64)[by]
        self.end = np.concatenate((log["end"], tasks["end"][done])).astype(np.int64)[by]
        self.reason = np.concatenate((log["reason"], np.zeros(len(done), np.uint8))).astype(np.int64)[by]
        self.completed = (np.arange(len(task)) >= len(log["task"]))[by]
        self.first = np.diff(self.task, prepend=-1) != 0  # of its task

    def __len__(self) -> int:
        return len(self.task)


# ---------------------------------------------------------------- how tasks ended


def _check_states(facts: Facts, attempts: _Attempts) -> list[Finding]:
    """That every task has ended, and that how it did fits its dependencies."""
    tasks, n = facts.tasks, len(facts.dep_ptr) - 1
    wrong = [
        Finding("missing", -1, f"the column {name} has {len(column)} entries for {n} tasks")
        for name, column in tasks.items()
        if len(column) != n
    ]
    if wrong:
        return wrong
    state, reason, cause = tasks["state"], tasks["reason"], tasks["cause"]
    ended = np.isin(state, (COMPLETED, FAILED, SKIPPED, CANCELLED))
    if not facts.open_ends:
        wrong += _each("missing", ~ended, "it has not come to an end")
    wrong += _each("status", (state == COMPLETED) != ((reason == 0) & ended), "its status and its reason do not agree")
    wrong += _each("status", (state == SKIPPED) != (reason == DEPENDENCY), "its status and its reason do not agree")
    wrong += _each("status", (state == CANCELLED) & (reason != CALLED_OFF), "it was cancelled for another reason")
    wrong += _each("cause", (state != SKIPPED) & (cause != -1), "it was not skipped, and names a cause")
    wrong += _each("cause", (state == SKIPPED) & ((cause < 0) | (cause >= n)), "it was skipped, and names no cause")
    if wrong:
        return wrong
    above, below = facts.deps.astype(np.int64), np.repeat(np.arange(n), np.diff(facts.dep_ptr))
    held_up = np.zeros(n, dtype=np.bool_)  # a dependency did not complete
    held_up[below[state[above] != COMPLETED]] = True
    wrong += _each("status", held_up & (state == COMPLETED), "it completed, and something that it depends on did not")
    wrong += _each("status", ~held_up & (state == SKIPPED), "it was skipped, and all that it depends on completed")
    # The root of a failure is handed down: a dependency that failed by itself, or the cause of one that was skipped.
    root = np.where(state == SKIPPED, cause, np.where(np.isin(state, (FAILED, CANCELLED)), np.arange(n), -1))
    explained = np.zeros(n, dtype=np.bool_)
    explained[below[(root[above] == cause[below]) & (root[above] >= 0)]] = True
    wrong += _each("cause", (state == SKIPPED) & ~explained, "its cause is none of those of its dependencies")
    begun = np.zeros(n, dtype=np.bool_)
    begun[attempts.task] = True
    wrong += _each("status", held_up & begun, "it was begun, and something that it depends on did not complete")
    if facts.terms is not None and facts.terms.script is None and not facts.terms.chance:
        refused = np.nonzero(reason == UNSATISFIABLE)[0]
        held = np.zeros(n, dtype=np.bool_)
        for amounts in np.unique(facts.capacity, axis=0) if len(refused) else ():
            held[refused] |= (facts.demand[refused] <= amounts).all(axis=1)
        wrong += _each("status", held, "it failed as one that no worker could hold, and one could")
    return wrong


# ---------------------------------------------------------------- attempts by themselves


def _check_attempts(facts: Facts, attempts: _Attempts) -> list[Finding]:
    """That attempts are numbered, follow each other, run somewhere, and take the time that they must."""
    a, tasks, n = attempts, facts.tasks, len(facts.dep_ptr) - 1
    count = np.bincount(a.task, minlength=n) if len(a) else np.zeros(n, dtype=np.int64)
    running = np.zeros(n, dtype=np.int64)
    if facts.open_ends:
        running = (tasks["attempts"] == count + 1) & ~np.isin(tasks["state"], (COMPLETED, FAILED, SKIPPED))
    wrong = _each(
        "attempts", count + running != tasks["attempts"], "the number of its attempts is not how many there are"
    )
    wanted = np.arange(len(a)) - np.maximum.accumulate(np.where(a.first, np.arange(len(a)), 0)) + 1
    wrong += _rows("attempts", a, a.number != wanted, "attempt {number} is not numbered as the one that it is")
    later = ~a.first
    overlaps = np.zeros(len(a), dtype=np.bool_)
    overlaps[later] = a.start[later] < a.end[np.nonzero(later)[0] - 1]
    wrong += _rows("overlap", a, overlaps, "attempt {number} starts before the one before it ended")
    again = np.zeros(len(a), dtype=np.bool_)
    again[later] = a.completed[np.nonzero(later)[0] - 1]
    wrong += _rows("attempts", a, again, "attempt {number} was made though the task had completed")
    wrong += _rows("attempts", a, ~a.completed & (a.reason == 0), "attempt {number} failed without a reason")
    nowhere = (a.worker < 0) | (a.worker >= len(facts.capacity))
    wrong += _rows("worker", a, nowhere, "attempt {number} ran on a worker that does not exist")
    wrong += _rows(
        "time", a, (a.start < 0) | (a.end < a.start), "attempt {number} starts before 0, or ends before it starts"
    )
    if facts.duration is not None:
        takes, should = a.end - a.start, facts.duration[a.task]
        fits = np.where(a.reason == LOST, takes <= should, takes == should)
        wrong += _rows("duration", a, ~fits, "attempt {number} does not take the time that the task takes")
    last_row = np.nonzero(np.append(a.first[1:], True))[0] if len(a) else np.zeros(0, dtype=np.int64)
    for name, column in (("start", a.start), ("end", a.end), ("worker", a.worker)):
        should = np.full(n, -1)
        should[a.task[last_row]] = column[last_row]
        differs = (tasks[name] != should) & (running == 0)
        wrong += _each("attempts", differs, f"its column {name} is not that of its last attempt")
    failed = (tasks["state"] == FAILED) & ~np.isin(tasks["reason"], (UNSATISFIABLE, CALLED_OFF))
    last = np.zeros(n, dtype=np.int64)
    last[a.task[last_row]] = a.reason[last_row]
    wrong += _each("status", failed & (last != tasks["reason"]), "it failed for another reason than its last attempt")
    return wrong


def _check_retries(facts: Facts, attempts: _Attempts) -> list[Finding]:
    """That no task was tried more often than it may, or given up before."""
    if facts.terms is None:
        return []
    n, state, reason = len(facts.dep_ptr) - 1, facts.tasks["state"], facts.tasks["reason"]
    own = np.bincount(attempts.task[_own(attempts.reason)], minlength=n)
    lost = np.bincount(attempts.task[attempts.reason == LOST], minlength=n)
    allowed = facts.terms.max_retries
    wrong = _each("retries", own > allowed + 1, "it was tried again more often than it may")
    wrong += _each("retries", (state == COMPLETED) & (own > allowed), "it was tried again more often than it may")
    given_up = (state == FAILED) & _own(reason)
    wrong += _each("retries", given_up & (own <= allowed), "it was given up, and could have been tried again")
    given_up = (state == FAILED) & (reason == LOST)
    return wrong + _each("retries", given_up & (lost <= facts.terms.max_losses), "it was given up before its losses")


def _own(reason: Column) -> Column:
    """Failures that count against a task's retries."""
    counted: Column = (reason > 0) & ~np.isin(reason, (LOST, OUT_OF_MEMORY, DEPENDENCY, UNSATISFIABLE, CALLED_OFF))
    return counted


# ---------------------------------------------------------------- edges and rooms


def _check_precedence(facts: Facts, attempts: _Attempts) -> list[Finding]:
    """That no task starts before what it depends on has completed."""
    n = len(facts.dep_ptr) - 1
    first = np.full(n, np.iinfo(np.int64).max)
    first[attempts.task[attempts.first]] = attempts.start[attempts.first]
    above, below = facts.deps.astype(np.int64), np.repeat(np.arange(n), np.diff(facts.dep_ptr))
    early = np.nonzero(first[below] < facts.tasks["end"][above])[0]
    return [
        Finding(
            "precedence",
            int(below[edge]),
            "it starts before {other} has ended",
            at_ns=int(first[below[edge]]),
            other=int(above[edge]),
        )
        for edge in early
    ]


def _check_room(facts: Facts, attempts: _Attempts) -> list[Finding]:
    """That nothing starts where there is no room for it."""
    a, none, wrong = attempts, attempts.end == attempts.start, []
    row = np.concatenate((np.nonzero(~none)[0], np.arange(len(a))))
    ends = np.arange(len(row)) < int(np.count_nonzero(~none))
    at = np.where(ends, a.end[row], a.start[row])
    # At an instant room is given back first, then tasks of no duration come and go, then the others start.
    kind = np.where(ends, 0, np.where(none[row], 1, 2))
    by = np.lexsort((kind, at, a.worker[row]))
    row, at, kind = row[by], at[by], kind[by]
    worker = a.worker[row]
    sign = np.array([-1, 0, 1])[kind]
    has = _capacity_at(facts, worker, at)
    for r in range(facts.demand.shape[1]):
        amount = facts.demand[a.task[row], r].astype(np.int64)
        held = np.cumsum(sign * amount)  # what a worker's attempts take and give adds up to nothing
        over = (kind > 0) & (amount > 0) & (held + np.where(kind == 1, amount, 0) > has[:, r])
        # Of those that start together, the last one stands for all.
        together = np.append((np.diff(worker) == 0) & (np.diff(at) == 0) & over[1:] & (kind[1:] == kind[:-1]), False)
        for i in np.nonzero(over & ~together)[0].tolist():
            taken = int(held[i] + (amount[i] if kind[i] == 1 else 0))
            message = f"with it {taken:,} of {int(has[i, r]):,} {{resource}} are held"
            wrong.append(Finding("capacity", int(a.task[row[i]]), message, int(worker[i]), int(at[i]), resource=r))
    return wrong


def _capacity_at(facts: Facts, worker: Column, at: Column) -> Column:
    """What each of these workers has at each of these instants; rows are in order of (worker, at)."""
    terms = facts.terms
    has = (facts.capacity if terms is None else terms.capacity)[worker].astype(np.int64)
    for w, time, amounts in [] if terms is None or terms.script is None else _capacity_changes(terms):
        begin, end = np.searchsorted(worker, [w, w + 1])
        has[begin + np.searchsorted(at[begin:end], time) : end] = amounts
    return has


def _capacity_changes(terms: Terms) -> list[tuple[int, int, Column]]:
    """(worker, from when, what it has), in order of time: an account of what the events say."""
    assert terms.script is not None
    there, draining = _at_first(terms)
    changes, known = [], terms.capacity.astype(np.int64)
    for time, what, w, amounts in zip(*terms.script):
        takes = what == RESIZE or (what == JOIN and (terms.chance or not there[w] or draining[w]) and amounts[0] >= 0)
        if takes:
            # Where chance takes workers away unseen, it is not known whether they join anew or were there.
            known[w] = np.maximum(known[w], amounts) if terms.chance and what == JOIN else amounts
            changes.append((int(w), int(time), known[w].copy()))
        _follow(there, draining, what, w)
    return changes


def _check_presence(facts: Facts, attempts: _Attempts) -> list[Finding]:
    """That nothing starts, or runs on, where no worker is; and nothing starts where one is draining."""
    terms, a = facts.terms, attempts
    if terms is None or (terms.script is None and terms.n_there == len(terms.capacity)):
        return []
    by = np.lexsort((a.start, a.worker))
    worker, start, end = a.worker[by], a.start[by], a.end[by]
    wrong = []
    for w, since, until, why in _absences(terms):
        mine = np.searchsorted(worker, [w, w + 1])
        first, behind = mine[0] + np.searchsorted(start[mine[0] : mine[1]], [since, until])
        begun = np.zeros(len(a), dtype=np.bool_)
        begun[by[first:behind]] = True
        wrong += _rows("presence", a, begun, f"attempt {{number}} starts where {why}")
        if why == GONE:
            across = np.zeros(len(a), dtype=np.bool_)
            across[by[mine[0] : first][end[mine[0] : first] > since]] = True
            wrong += _rows("presence", a, across, f"attempt {{number}} runs on where {why}")
    return wrong


def _absences(terms: Terms) -> list[tuple[int, int, int, str]]:
    """(worker, since, until, why) of the times in which nothing may start on a worker, by the events."""
    there, draining = _at_first(terms)
    since, found = np.zeros(len(there), dtype=np.int64), []

    def note(w: int, until: int) -> None:
        if until > since[w] and not there[w]:
            found.append((w, int(since[w]), until, GONE))
        elif until > since[w] and draining[w] and not terms.chance:  # a worker that was away is not drained
            found.append((w, int(since[w]), until, DRAINS))
        since[w] = until

    for time, what, w, _ in zip(*terms.script) if terms.script is not None else ():
        note(int(w), int(time))
        _follow(there, draining, what, w)
    for w in range(len(there)):
        note(w, int(np.iinfo(np.int64).max))
    return found


def _at_first(terms: Terms) -> tuple[Column, Column]:
    """Masks (W,): who is there, and who is draining, before the first event."""
    there = np.arange(len(terms.capacity)) < terms.n_there
    return there, np.zeros(len(there), dtype=np.bool_)


def _follow(there: Column, draining: Column, what: int, worker: int) -> None:
    """What an event does to who is there."""
    if what == JOIN:
        there[worker], draining[worker] = True, False
    elif what in (LEAVE, LOSE):
        there[worker] = draining[worker] = False
    elif what == DRAIN:
        draining[worker] = there[worker]


# ---------------------------------------------------------------- findings


def _each(kind: str, wrong: Column, message: str) -> list[Finding]:
    """A finding for each task of a mask."""
    return [Finding(kind, int(task), message) for task in np.nonzero(wrong)[0]]


def _rows(kind: str, a: _Attempts, wrong: Column, message: str) -> list[Finding]:
    """A finding for each attempt of a mask."""
    return [
        Finding(kind, int(a.task[i]), message.format(number=int(a.number[i])), int(a.worker[i]), int(a.start[i]))
        for i in np.nonzero(wrong)[0]
    ]
