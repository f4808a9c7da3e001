"""Names over numbers: the one room in which ids and the core meet for a live run.

Facts go in by `absorb`, choices come out of `decide` and are facts themselves: the same facts,
absorbed in the same order at the same times, make the same state, to the byte (`digest`), whether
they are lived or replayed. `explain` and `snapshot` are pure reads. Time is an argument, in whole
nanoseconds since the start of the run. Nothing here knows what carries an order or where a report
came from.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index
from typing import Any

import msgspec
import numpy as np

from .errors import InternalError, UnknownIdError
from .events import (
    AttemptCompleted,
    AttemptEnded,
    AttemptFailed,
    AttemptStarted,
    CancelRequested,
    DeadlineSet,
    Event,
    Fact,
    PlanAdopted,
    PlanFollowed,
    Replanned,
    RoomReserved,
    TaskCancelled,
    TaskFailed,
    TaskOvertaken,
    TaskPromised,
    TaskReturned,
    TasksSubmitted,
    TaskUnsatisfiable,
    WorkerDraining,
    WorkerExpected,
    WorkerFact,
    WorkerJoined,
    WorkerLeft,
    WorkerLost,
    WorkerOnProbation,
    WorkerQuarantined,
    WorkerResized,
    WorkersSettled,
    WorkerSuspected,
    WorkerTrusted,
)
from .explain import Explanation, describe_misfit, explain_task
from .following import as_planned, follow, late
from .graph import CompiledGraph, WorkerTable
from .guide import Followed, Guide, Route
from .model import Reason, Task, TaskStatus, Worker
from .plan import CODE_OF_REASON, REASON_OF_CODE, STATUS_OF_STATE, Plan
from .planner import make_core, submit
from .policy import Policy

__all__ = ["Snapshot", "State"]

RUNNING, COMPLETED, FAILED, SKIPPED, CANCELLED = 2, 3, 5, 6, 7
LEAVING = 1  # in the column `draining`
READY = 1
OPEN = (0, READY, RUNNING, 4)  # waiting, ready, running, delayed
STUCK, QUARANTINED, PROBATION, TRUSTED, DRAINED = range(5)
MANY = 10_000  # names among which one that was misspelt is looked for
FORGOTTEN = Task("", "")  # stands for a task that has ended and is not needed any more


@dataclass(frozen=True)
class Snapshot:
    """How many tasks stand where."""

    pending: int
    running: int
    completed: int
    failed: int


class State:
    """Tasks on workers, under a clock that somebody else reads.

    The workers that are given at first are expected: none takes a task before it has joined.

    Args:
        graph: the first tasks; more may be submitted. table: the first workers; more may join.
        rank, fit, max_retries, policy: as in `schedule()`; the rank of a task is that within its submission.
        forget: give up the `Task` of each that has ended, for a state that lives long; there is no `plan` then.
    """

    def __init__(
        self,
        graph: CompiledGraph,
        table: WorkerTable,
        *,
        rank: str,
        fit: str,
        max_retries: int,
        policy: Policy | None = None,
        forget: bool = False,
    ) -> None:
        self.resources = graph.resources
        self.ids: list[str] = list(graph.ids)
        self.tasks: list[Task] = list(graph.tasks)
        self.workers: list[Worker] = list(table.workers)
        self._rank, self.max_retries = rank, max_retries
        self._graph: CompiledGraph | None = None if forget else graph
        self._core = make_core(
            graph,
            table,
            rank=rank,
            fit=fit,
            max_retries=max_retries,
            policy=policy,
            n_there=0,
            expected=True,
            tell_stuck=True,
        )
        self._task = dict(zip(self.ids, range(len(self.ids))))
        self.worker_ids: list[str] = [worker.worker_id for worker in self.workers]
        self._worker = dict(zip(self.worker_ids, range(len(self.worker_ids))))
        self._forget = forget
        self._unwanted: set[int] = set()  # running or promised tasks whose cancellation was asked for
        self._promised: dict[int, tuple[int, int]] = {}  # task -> to which worker, and after which task; -1: none
        self._following: dict[int, int] = {}  # task -> the one that starts when its attempt has ended
        self.followed: Followed | None = None  # the plan
        self._is_timed = bytearray()  # whether a duration was given, of so many tasks as were asked about
        self._last = -1  # the task that ended last, where they are forgotten
        self._told = 0  # failures for good that have been told
        self._noticed = 0  # notices of the core that have been told

    # ------------------------------------------------------------ facts

    def absorb(self, fact: Fact, now: int) -> list[Event]:
        """Book a fact. Answers what it means, in the order in which it is to be told; nothing for a stale report.

        Raises:
            ValidationError: where submitted tasks are wrong; nothing is booked then.
            InternalError: where the fact is impossible; nothing is booked but that time has passed.
            KeyError: where it names a task or a worker that is not known. TypeError: for what is no fact.
        """
        now = index(now)
        if isinstance(fact, AttemptEnded):
            events = self._absorb_ended(fact, now)
        elif isinstance(fact, AttemptStarted):
            task = self._task[fact.task_id]
            following = self._core.attempt_of(task)[0] + 1
            if fact.attempt != following:
                raise InternalError(f"attempt {fact.attempt} of {fact.task_id!r} started; number {following} is next")
            self._core.started(task, self._worker[fact.worker_id], now)
            events = []
        elif isinstance(fact, TaskPromised):
            self._absorb_promise(fact, now)
            events = []
        elif isinstance(fact, TaskReturned):
            self._absorb_returned(fact, now)
            events = []
        elif isinstance(fact, TasksSubmitted):
            self._submit(fact.tasks, now)
            events = [fact]
        elif isinstance(fact, TaskCancelled):
            events = self._cancel(fact.task_id, now, "it was cancelled")
        elif isinstance(fact, CancelRequested):
            events = self._absorb_request(fact, now)
        elif isinstance(fact, WorkersSettled):
            self._core.fail_unsatisfiable(now)
            events = []
        elif isinstance(fact, DeadlineSet):
            self._core.set_deadline(-1 if fact.deadline_ns is None else fact.deadline_ns, now)
            events = [fact]
        elif isinstance(fact, PlanAdopted):
            events = self._absorb_plan(fact, now)
        elif isinstance(fact, TaskOvertaken):
            self._core.overtook(self._task[fact.task_id], now)
            events = []
        elif isinstance(fact, RoomReserved):
            if (fact.task_id is None) != (fact.worker_id is None):
                raise InternalError(f"room was kept for task {fact.task_id!r} on worker {fact.worker_id!r}")
            self._core.reserved(
                -1 if fact.task_id is None else self._task[fact.task_id],
                -1 if fact.worker_id is None else self._worker[fact.worker_id],
                now,
            )
            events = []
        elif isinstance(fact, WorkerFact):
            events = self._absorb_worker(fact, now)
        else:
            raise TypeError(f"{fact!r} is no fact")
        return events + self._tell(now)

    def decide(self, now: int) -> list[Event]:
        """Make every choice that can be made now, and book it; answers the choices, each of them a fact.

        With them come the notices of what time alone has brought (these are no facts).
        """
        started = self._core.assign(index(now))
        choices = self._tell(now)
        if self._core.reservation_changed:
            kept = self._core.reservation()
            # A reservation that was made and used at once is already dropped again.
            task_id, worker_id = (self.ids[kept[0]], self.workers[kept[1]].worker_id) if kept else (None, None)
            choices.append(RoomReserved(task_id, worker_id, now))
        choices += [
            AttemptStarted(self.ids[task], self.workers[worker].worker_id, attempt, now)
            for task, worker, attempt in started
        ]
        if self._core.overtaken_task >= 0:
            choices.append(TaskOvertaken(self.ids[self._core.overtaken_task], now))
        return choices

    def promise(self, task_ids: Sequence[str], most: Mapping[str, int], now: int) -> list[TaskPromised]:
        """Promise what is to follow some tasks that run, on their workers.

        most: how many may be promised to each of their workers, shared among all that runs there; but one behind each.
        Each of these tasks is given its first before any is given its second. Answers the choices, each of them a fact.
        When the end of an attempt is absorbed, what follows it has started.
        """
        now = index(now)
        shares: dict[int, int] = {}  # by worker: how many may follow each task that runs there
        chains: list[list[int]] = []  # of each task: how many follow it, the last of them, and its worker
        for task in dict.fromkeys(map(self._task.__getitem__, task_ids)):
            if self._core.state_of(task) != RUNNING:
                continue  # it has ended meanwhile
            _, worker = self._core.attempt_of(task)
            if worker not in shares:
                shares[worker] = max(1, most[self.worker_ids[worker]] // len(self._core.running_on(worker)))
            n, last = 0, task
            while last in self._following:
                n, last = n + 1, self._following[last]
            chains.append([n, last, worker])
        promised = []
        for n in range(max(shares.values(), default=0)):
            for chain in chains:
                n_behind, last, worker = chain
                if n_behind != n or n >= shares[worker]:
                    continue
                for following in self._core.promise(worker, last, 1, now):
                    self._link(following, worker, last)
                    promised.append(TaskPromised(self.ids[following], self.worker_ids[worker], self.ids[last], now))
                    chain[:2] = n + 1, following
        return promised

    def advance(self, now: int) -> list[Event]:
        """Book that time has passed; answers the notices of what that has brought. `absorb` and `decide` do it too."""
        self._core.advance(index(now))
        return self._tell(now)

    def next_wake(self) -> int | None:
        """When `decide` should be called though nothing was reported, or None."""
        return self._core.next_wake()

    def cancel_all(self, now: int) -> list[Event]:
        """End every task that has not come to its end, running ones first."""
        events: list[Event] = []
        for task in self._promised:
            self._core.promise_returned(task, now)
        self._promised, self._following = {}, {}
        for task in np.nonzero(self._core.columns()["state"] == RUNNING)[0].tolist():
            events += self._cancel(self.ids[task], now, "the run was interrupted")
        for task in range(len(self.ids)):
            self._core.cancel(task, now)
        return events + self._tell(now)

    def _absorb_ended(self, fact: AttemptEnded, now: int) -> list[Event]:
        task, worker = self._task[fact.task_id], self._worker[fact.worker_id]
        incarnation = self._core.incarnation_of(worker) if fact.incarnation is None else fact.incarnation
        if self._core.attempt_of(task)[1] != worker:
            incarnation = -1  # a report of another worker than the one that runs it is stale
        reason = fact.reason
        if reason is None:
            if not self._core.finished(task, fact.attempt, incarnation, now):
                return []
            self._let_go(task)
            completed = AttemptCompleted(fact.task_id, fact.worker_id, fact.attempt, now, fact.usage)
            return [completed, *self._start_following(task, now)] if task in self._following else [completed]
        if task in self._unwanted and self._is_open(task, fact.attempt, worker, incarnation):
            self._unwanted.discard(task)
            self._core.cancel(task, now)
            reason = Reason.CANCELLED
        elif not self._core.failed(task, fact.attempt, incarnation, now, CODE_OF_REASON[reason]):
            return []
        return [
            AttemptFailed(
                fact.task_id,
                fact.worker_id,
                fact.attempt,
                now,
                reason,
                self._is_pending(task),
                fact.exit_code,
                fact.signal,
                fact.message,
                fact.usage,
            ),
            *self._start_following(task, now),
        ]

    def _absorb_plan(self, fact: PlanAdopted, now: int) -> list[Event]:
        """A plan is followed from here on."""
        try:
            route = Route.of_fact(fact)
            follow(self._core, route, now)
        except ValueError as error:
            raise InternalError(f"a plan was adopted that cannot be: {error}") from None
        if fact.is_loosened:
            return []  # it is to be over when it was, and each task to start
        before, start = self.followed, np.full(len(self.ids), -1, dtype=np.int64)
        if fact.behind_ns is None or fact.was_ns is None:
            ends_ns, n_anew = route.ends_ns, 0
            if before is not None and before.begins_ns == fact.begins_ns:  # more of the same plan, or of what has come
                start[: len(before.start_ns)] = before.start_ns
                ends_ns, n_anew = max(ends_ns, before.ends_ns), before.n_anew
            start[route.tasks] = route.start_ns
            self.followed = Followed(start, fact.begins_ns, ends_ns, n_anew)
            return [PlanFollowed(now, len(route), route.ends_ns)]
        start[route.tasks] = route.start_ns
        self.followed = Followed(start, fact.begins_ns, route.ends_ns, before.n_anew + 1 if before else 1)
        return [Replanned(now, len(route), fact.behind_ns, fact.was_ns, route.ends_ns)]

    def _start_following(self, task: int, now: int) -> list[Event]:
        """An attempt of a task has ended, and what follows it has started in its place."""
        if task not in self._following:
            return []
        following = self._following[task]
        worker, _ = self._promised[following]
        self._unlink(following)
        attempt = self._core.promise_kept(following, now)
        return [AttemptStarted(self.ids[following], self.worker_ids[worker], attempt, now)]

    def _absorb_promise(self, fact: TaskPromised, now: int) -> None:
        """A choice that was made before."""
        task, worker, after = self._task[fact.task_id], self._worker[fact.worker_id], self._task[fact.after_id]
        if after in self._following:
            raise InternalError(f"{fact.task_id!r} is to follow {fact.after_id!r}, and another task does already")
        self._core.promise_made(task, worker, now)
        self._link(task, worker, after)

    def _absorb_returned(self, fact: TaskReturned, now: int) -> None:
        """A promised task is ready again; of what was to follow it the worker will say that, too."""
        task = self._task[fact.task_id]
        worker, _ = self._promised.get(task, (-1, -1))
        if worker != self._worker[fact.worker_id] or fact.incarnation not in (None, self._core.incarnation_of(worker)):
            return
        self._unlink(task)
        self._core.promise_returned(task, now)
        following = self._following.pop(task, None)
        if following is not None:
            self._promised[following] = worker, -1
        self._cancel_if_asked(task, now)

    def _link(self, task: int, worker: int, after: int) -> None:
        """Note to whom a task is promised, and after which one it starts."""
        self._promised[task] = worker, after
        self._following[after] = task

    def _unlink(self, task: int) -> None:
        """A task is promised to nobody any more."""
        _, after = self._promised.pop(task)
        if after >= 0:
            del self._following[after]

    def _add_worker(self, worker: Worker) -> None:
        """Name a worker that the core has been told of."""
        self._worker[worker.worker_id] = len(self.workers)
        self.workers.append(worker)
        self.worker_ids.append(worker.worker_id)

    def _is_open(self, task: int, attempt: int, worker: int, incarnation: int) -> bool:
        """Whether this is the attempt that runs."""
        return (
            self._core.state_of(task) == RUNNING
            and self._core.attempt_of(task) == (attempt, worker)
            and self._core.incarnation_of(worker) == incarnation
        )

    def _absorb_request(self, fact: CancelRequested, now: int) -> list[Event]:
        """A task that runs is cancelled when its command has ended, one that is promised when it is returned, or has
        been started and has ended; another one at once."""
        task = self._task[fact.task_id]
        if self._core.state_of(task) != RUNNING and task not in self._promised:
            return self._cancel(fact.task_id, now, "it was cancelled")
        if task in self._unwanted:
            return []
        self._core.advance(now)
        self._unwanted.add(task)
        return [fact]

    def _absorb_worker(self, fact: WorkerFact, now: int) -> list[Event]:
        """What happens to a worker, and to what it runs."""
        fact = msgspec.structs.replace(fact, at_ns=now)
        if isinstance(fact, WorkerJoined) and fact.worker and fact.worker.worker_id != fact.worker_id:
            raise InternalError(f"worker {fact.worker_id!r} joined as {fact.worker.worker_id!r}")
        if isinstance(fact, (WorkerJoined, WorkerResized)) and fact.worker is not None:
            capacity = WorkerTable([fact.worker], self.resources).capacity
            worker = self._worker.get(fact.worker.worker_id)
            if worker is None:
                if isinstance(fact, WorkerResized):
                    raise InternalError(f"worker {fact.worker.worker_id!r} has another capacity, and is not known")
                self._core.add_workers(capacity, now)
                self._add_worker(fact.worker)
                return [fact]
            there = self._core.worker_columns()
            if isinstance(fact, WorkerJoined) and there["live"][worker] and not there["draining"][worker]:
                raise InternalError(f"worker {fact.worker_id!r} joined, and was there")
            self._core.resize_worker(worker, capacity[0], now)
            self.workers[worker] = fact.worker
        if isinstance(fact, WorkerResized):
            return [fact]
        if isinstance(fact, WorkerExpected):
            capacity = WorkerTable([fact.worker], self.resources).capacity
            worker = self._worker.get(fact.worker.worker_id)
            if worker is None:
                self._core.add_workers(capacity, now, expected=True)
                self._add_worker(fact.worker)
            else:
                self._core.expect_worker(worker, now)
                self._core.resize_worker(worker, capacity[0], now)
                self.workers[worker] = fact.worker
            return [fact]
        worker = self._worker[fact.worker_id]
        if isinstance(fact, WorkerJoined):
            self._core.add_worker(worker, now)
            return [fact]
        if isinstance(fact, WorkerDraining):
            self._core.drain_worker(worker, now)
            return [fact]
        if isinstance(fact, WorkerSuspected):
            self._core.suspect_worker(worker, now)
            return [fact]
        lost = isinstance(fact, WorkerLost)
        message, will_return = fact.message, fact.will_return
        events: list[Event] = [*self._break_promises(worker, now), fact]
        for task in self._core.remove_worker(worker, now, will_return, lost):
            attempt = self._core.attempt_of(task)[0]
            self._cancel_if_asked(task, now)
            pending = self._is_pending(task)
            events.append(
                AttemptFailed(
                    self.ids[task], fact.worker_id, attempt, now, Reason.WORKER_LOST, pending, message=message
                )
            )
        return events

    def _break_promises(self, worker: int, now: int) -> list[Event]:
        """A worker is gone: what was to follow something that ran there may have been started, unheard of."""
        events: list[Event] = []
        for task in self._core.running_on(worker) if self._promised else ():
            while (following := self._following.get(task)) is not None:
                events += self._start_following(task, now)
                task = following
        for task in [task for task, (where, _) in self._promised.items() if where == worker]:
            del self._promised[task]
            self._following.pop(task, None)
            self._core.promise_returned(task, now, leaves=False)
            self._cancel_if_asked(task, now)
        return events

    def _cancel_if_asked(self, task: int, now: int) -> None:
        """Cancel a task whose cancellation was asked for, now that its worker does not have it any more."""
        if task in self._unwanted:
            self._unwanted.discard(task)
            self._core.cancel(task, now)

    def _cancel(self, task_id: str, now: int, message: str) -> list[Event]:
        """Cancel one task; its open attempt, if there is one, failed with it."""
        task = self._task[task_id]
        running = self._core.state_of(task) == RUNNING
        self._unwanted.discard(task)
        if task in self._promised:  # what was to follow it follows the one before it
            worker, after = self._promised[task]
            self._unlink(task)
            if task in self._following:
                self._link(self._following.pop(task), worker, after)
        if not self._core.cancel(task, now) or not running:
            return []
        attempt, worker = self._core.attempt_of(task)
        worker_id = self.workers[worker].worker_id
        failed = AttemptFailed(task_id, worker_id, attempt, now, Reason.CANCELLED, False, message=message)
        return [failed, *self._start_following(task, now)]

    def _submit(self, tasks: Sequence[Task], now: int) -> None:
        """Add tasks to the ones that are known; resources that nobody asked for before become known with them."""
        batch = CompiledGraph(tasks, known=self._task, resources=self.resources)
        self._core.advance(now)
        if len(batch.resources) > len(self.resources):
            self.resources = batch.resources
            capacity = WorkerTable(self.workers, self.resources).capacity
            self._core.add_resources(capacity[:, self._core.n_resources :])
        submit(self._core, batch, rank=self._rank, max_retries=self.max_retries, now=now)
        for task_id in batch.ids:
            self._task[task_id] = len(self._task)
        self.ids += batch.ids
        self.tasks += batch.tasks
        self._graph = batch if len(self.ids) == len(batch) and not self._forget else None

    # ------------------------------------------------------------ reads

    @property
    def now(self) -> int:
        """The time of the last fact, ns."""
        return self._core.now

    @property
    def done(self) -> bool:
        """Whether every task has come to its end."""
        return self._core.n_left == 0

    @property
    def n_left(self) -> int:
        """Tasks that have not come to their end."""
        return self._core.n_left

    @property
    def n_running(self) -> int:
        """Open attempts."""
        return self._core.n_running

    @property
    def n_promised(self) -> int:
        """Tasks that workers have been promised."""
        return len(self._promised)

    @property
    def deadline_ns(self) -> int | None:
        """When all attempts are to have ended; None: whenever they do."""
        return None if self._core.deadline < 0 else self._core.deadline

    def is_any_ready(self) -> bool:
        """Whether a task could start at once, if somebody had room for it."""
        return bool((self._core.columns()["state"] == READY).any())

    def n_postponed(self) -> int:
        """Tasks that could start, and are not expected to end by the deadline."""
        return len(self._core.postponements())

    def promised_to(self) -> list[str]:
        """The workers that have been promised something."""
        return [self.worker_ids[worker] for worker in sorted({worker for worker, _ in self._promised.values()})]

    def status(self, task_id: str) -> TaskStatus:
        """Where one task stands."""
        return STATUS_OF_STATE[self._core.state_of(self.index_of(task_id))]

    def statuses(self) -> dict[str, TaskStatus]:
        """Where every task stands, in the order of their submission."""
        return dict(zip(self.ids, map(STATUS_OF_STATE.__getitem__, self._core.columns()["state"].tolist())))

    def unfinished(self) -> list[str]:
        """The tasks that have not come to their end."""
        return [self.ids[task] for task in np.nonzero(np.isin(self._core.columns()["state"], OPEN))[0].tolist()]

    def has_ended(self, task_id: str) -> bool:
        """Whether a task has come to its end."""
        return self.status(task_id) in (TaskStatus.COMPLETED, TaskStatus.FAILED)

    def waiting(self, task_ids: Iterable[str]) -> dict[str, int]:
        """Those of these tasks that are known and have not been started, with their indices."""
        columns = self._core.columns()
        new = (columns["attempt"] == 0) & (columns["state"] < FAILED)
        known = ((task_id, self._task.get(task_id, -1)) for task_id in task_ids)
        return {task_id: task for task_id, task in known if task >= 0 and new[task]}

    def worker_indices(self) -> Mapping[str, int]:
        """The workers that there are or were, with their indices in `workers`."""
        return self._worker

    def index_of(self, task_id: str) -> int:
        """Where a task stands in `ids`. Raises UnknownIdError, a KeyError, for an id that is not known."""
        try:
            return self._task[task_id]
        except KeyError:
            raise UnknownIdError("task", task_id, itertools.islice(self.ids, MANY)) from None

    def worker_index(self, worker_id: str) -> int:
        """Where a worker stands in `workers`. Raises UnknownIdError, a KeyError, for an id that is not known."""
        try:
            return self._worker[worker_id]
        except KeyError:
            raise UnknownIdError("worker", worker_id, itertools.islice(self.worker_ids, MANY)) from None

    def open_attempt(self, task: int) -> tuple[int, str]:
        """The last attempt of a task, or the one that it is promised, and the id of its worker."""
        attempt, worker = self._core.attempt_of(task)
        if task in self._promised:
            attempt, worker = attempt + 1, self._promised[task][0]
        return attempt, self.worker_ids[worker]

    def expected_ns(self, task: int) -> int | None:
        """The duration that was given for a task which has just ended or has not ended, ns; None: none was."""
        given = self.tasks[task].duration
        return None if given is None else round(given * 1e9)

    def amounts_of(self, task: int) -> tuple[float, int]:
        """The cores and the memory in MB that a task is given: what it asked for, or more after out-of-memory."""
        millicores, memory_mb = self._core.demand_of(task)[:2]
        return millicores / 1000, memory_mb

    def presence(self, worker_id: str) -> str:
        """How a worker stands: live, draining, suspected, quarantined, on probation, expected or gone.

        Raises KeyError.
        """
        worker = self.worker_index(worker_id)
        there = self._core.worker_columns()
        if not there["live"][worker]:
            return "expected" if there["expected"][worker] else "gone"
        trust = ("live", "quarantined", "on probation")[there["trust"][worker]]
        return ("draining", "suspected")[there["draining"][worker] - 1] if there["draining"][worker] else trust

    def draining(self) -> list[str]:
        """The workers that take nothing more, and leave when they are empty."""
        leaving = np.nonzero(self._core.worker_columns()["draining"] == LEAVING)[0].tolist()
        return [self.worker_ids[w] for w in leaving]

    def knows_worker(self, worker_id: str) -> bool:
        """Whether there is, or ever was, such a worker."""
        return worker_id in self._worker

    def is_live(self, worker_id: str) -> bool:
        """Whether a worker is there."""
        return self._core.presence_of(self._worker[worker_id])[0]

    def is_expected(self, worker_id: str) -> bool:
        """Whether a worker is not there, and will come."""
        live, expected = self._core.presence_of(self._worker[worker_id])
        return expected and not live

    def incarnation(self, worker_id: str) -> int:
        """How often a worker has come, from 1; 0 = never yet."""
        return self._core.incarnation_of(self._worker[worker_id])

    def explain(self, task_id: str) -> Explanation:
        """Why a task stands where it does: in words and as data. Raises KeyError for an id that is not known."""
        workers = self.worker_ids
        dependencies = [self._task[name] for name in self.tasks[self.index_of(task_id)].dependencies]
        told = explain_task(self._core, self._task[task_id], self.ids, workers, self.resources, dependencies)
        planned = self.planned_start(self._task[task_id]) if told.status is TaskStatus.PENDING else None
        if planned is None:
            return told
        where = "" if planned[1] is None else f" on {planned[1]}"
        text = f"{told.text}; the plan has it start{where} {planned[0] / 1e9:.6g} s after the beginning"
        return replace(told, text=text, planned_ns=planned[0], planned_worker=planned[1])

    def guide(self) -> Guide | None:
        """The plan that is followed, by ids; None: none is."""
        if self.followed is None:
            return None
        start, course = self.followed.start_ns, self._core.course()
        worker = course["preferred"] if len(course["preferred"]) else np.full(len(start), -1, dtype=np.int32)
        n = len(start)
        order = np.argsort(course["key"][:n], kind="stable").astype(np.int32)
        route = Route.of_order(order, start, start + course["duration"][:n], worker[:n])
        return Guide([self.ids[i] for i in route.tasks.tolist()], self.worker_ids, route.renumbered())

    def planned_start(self, task: int) -> tuple[int, str | None] | None:
        """When and where the plan that is followed has a task start: ns, and the worker; None: it does not have it."""
        at = None if self.followed is None else self.followed.planned_ns(task)
        if at is None:
            return None
        preferred = self._core.course()["preferred"]
        worker = int(preferred[task]) if len(preferred) else -1
        return at, self.worker_ids[worker] if worker >= 0 else None

    def strays(self, now: int) -> bool:
        """Whether what is planned goes otherwise: some attempt has taken, or takes, another time than was expected of
        it, or some task has started, or has yet to start, later than it was to."""
        if self.followed is None:
            return False
        columns, wanted = self._core.columns(), self.followed.start_ns
        planned, n = wanted >= 0, len(wanted)
        start, end, state = (columns[name][:n] for name in ("start", "end", "state"))
        took = np.where(end >= 0, end, now) - start
        expected = self._core.course()["duration"][:n]
        off = (took > expected) | ((state == COMPLETED) & (took < expected))
        if (off & planned & (start >= 0) & ~as_planned(took, expected)).any():
            return True
        whole_ns = self.followed.ends_ns - self.followed.begins_ns
        return bool((planned & late(np.where(start >= 0, start, now), wanted, whole_ns)).any())

    def rest(self) -> dict[str, Any]:
        """All that has not ended, as columns that nobody else changes, for it to be looked at beside the run.

        tasks (m,): their indices. state, start, worker, attempt, demand, duration (ns), is_timed (it was given),
        priority, key, preferred, not_before: (m,) each. edges: (dependency, dependent), indices of tasks. capacity
        (W, K), and there (W,): whether a worker takes tasks, or is expected. avoided: (task, worker) of failures.
        promised: task -> worker.
        """
        core, columns, course = self._core, self._core.columns(), self._core.course()
        tasks = np.nonzero(np.isin(columns["state"], OPEN))[0].astype(np.int32)
        self._is_timed += bytes(task.duration is not None for task in self.tasks[len(self._is_timed) :])
        workers = core.worker_columns()
        usable = (workers["live"] != 0) & (workers["draining"] == 0) & (workers["trust"] == 0)
        failed = tasks[columns["failures"][tasks] + columns["ooms"][tasks] > 0].tolist()
        preferred = course["preferred"][tasks] if len(course["preferred"]) else np.full(len(tasks), -1, dtype=np.int32)
        return {
            "tasks": tasks,
            **{name: columns[name][tasks] for name in ("state", "start", "worker", "attempt")},
            **{name: course[name][tasks] for name in ("duration", "priority", "key")},
            "is_timed": np.frombuffer(bytes(self._is_timed), dtype=bool)[tasks],
            "preferred": preferred,
            "not_before": course["not_before"][tasks] if len(course["not_before"]) else np.zeros(len(tasks), np.int64),
            "demand": core.amounts()[0][tasks],
            "edges": core.open_edges(),
            "capacity": core.amounts()[1].copy(),
            "there": usable | (workers["expected"] != 0),
            "avoided": [(task, worker) for task in failed for worker in core.failed_workers(task)],
            "promised": core.promises(),
        }

    def stands(self, tasks: Sequence[int]) -> list[dict[str, Any]]:
        """Where some tasks stand, by their indices: id, status, attempts, worker of the last, reason and cause."""
        columns, chosen = self._core.columns(), np.asarray(tasks, dtype=np.int64)
        names = ("state", "attempt", "worker", "reason", "cause")
        return [
            {
                "task_id": self.ids[task],
                "status": STATUS_OF_STATE[state],
                "attempts": attempt,
                "worker_id": self.worker_ids[worker] if worker >= 0 else None,
                "reason": REASON_OF_CODE[reason] if state >= FAILED else None,
                "cause_id": self.ids[cause] if state >= FAILED and cause >= 0 else None,
            }
            for task, state, attempt, worker, reason, cause in zip(
                tasks, *(columns[name][chosen].tolist() for name in names)
            )
        ]

    def of_interest(self) -> list[int]:
        """The tasks that run or have failed by themselves, by their indices."""
        chosen: list[int] = np.nonzero(np.isin(self._core.columns()["state"], (RUNNING, FAILED, CANCELLED)))[0].tolist()
        return chosen

    def n_skipped(self) -> int:
        """Tasks that failed because another did."""
        return int(np.count_nonzero(self._core.columns()["state"] == SKIPPED))

    def snapshot(self) -> Snapshot:
        """How many tasks stand where, now."""
        counts = dict.fromkeys(TaskStatus, 0)
        for state, count in enumerate(np.bincount(self._core.columns()["state"], minlength=len(STATUS_OF_STATE))):
            counts[STATUS_OF_STATE[state]] += int(count)
        return Snapshot(*(counts[status] for status in TaskStatus))

    def plan(self) -> Plan:
        """What happened so far, as numbers."""
        graph = self._graph or CompiledGraph(self.tasks, resources=self.resources)
        capacity = self._core.amounts()[1]
        return Plan(graph, capacity, self._core.columns(), self._core.log())

    def digest(self) -> str:
        """A hash of all that is booked: two states that are equal in it behave alike from here on."""
        core = self._core
        hashed = hashlib.blake2b(digest_size=16)
        for columns in (core.columns(), core.worker_columns(), core.log()):
            for column in columns.values():
                hashed.update(np.ascontiguousarray(column).tobytes())
        for amounts in core.amounts():
            hashed.update(np.ascontiguousarray(amounts).tobytes())
        if self.followed is not None:
            for name in ("key", "preferred", "not_before"):
                hashed.update(core.course()[name].tobytes())
            hashed.update(self.followed.start_ns.tobytes())
        plan = self.followed and (self.followed.begins_ns, self.followed.ends_ns, self.followed.n_anew)
        rest = (
            plan,
            core.held_back(),
            core.now,
            core.n_left,
            core.wakes(),
            core.deadline,
            core.postponements(),
            core.reservation(),
            core.next_wake(),
            self.ids,
            sorted(self._worker),
            sorted(self._unwanted),
            sorted(self._promised.items()),
            sorted(self._following.items()),
        )
        hashed.update(repr(rest).encode("utf-8", "surrogatepass"))
        return hashed.hexdigest()

    def check(self) -> None:
        """Recount every invariant of the core. Raises InternalError."""
        self._core.check()

    def _let_go(self, task: int) -> None:
        """The task has ended."""
        self._unwanted.discard(task)
        if self._forget:  # the one before it: of the last it may be asked how long it was to take
            if self._last >= 0:
                self.tasks[self._last] = FORGOTTEN
            self._last = task

    def _is_pending(self, task: int) -> bool:
        return STATUS_OF_STATE[self._core.state_of(task)] is TaskStatus.PENDING

    # ------------------------------------------------------------ what follows

    def _tell(self, now: int) -> list[Event]:
        """What followed from facts since the last call: notices, and a `TaskFailed` for every task that failed."""
        events: list[Event] = []
        fresh = self._core.notices[self._noticed :]
        self._noticed += len(fresh)
        for kind, which, at in fresh:
            if kind == STUCK:
                if not self._is_pending(which):
                    continue  # it has failed since
                events.append(TaskUnsatisfiable(self.ids[which], at, self._describe_misfit(which)))
                continue
            worker_id = self.workers[which].worker_id
            if kind == QUARANTINED:
                until = int(self._core.worker_columns()["release"][which])
                events.append(WorkerQuarantined(worker_id, at, until))
            elif kind == DRAINED:
                events.append(WorkerLeft(worker_id, at))
            else:
                events.append((WorkerOnProbation if kind == PROBATION else WorkerTrusted)(worker_id, at))
        tasks = self._core.failed_since(self._told)
        self._told += len(tasks)
        columns = self._core.columns() if tasks else {}
        for task in tasks:
            reason = REASON_OF_CODE[columns["reason"][task]]
            assert reason is not None
            cause = int(columns["cause"][task])
            message = self._describe_misfit(task) if reason is Reason.UNSATISFIABLE else ""
            events.append(TaskFailed(self.ids[task], now, reason, self.ids[cause] if cause >= 0 else None, message))
            self._let_go(task)
        return events

    def _describe_misfit(self, task: int) -> str:
        """Which worker comes nearest to holding the task, and what it lacks."""
        demand, capacity, _ = self._core.amounts()
        workers = self.worker_ids
        there = self._core.worker_columns()
        among = (there["live"] | there["expected"]) != 0
        return describe_misfit(
            self.ids[task], demand[task], [w for w, is_ in zip(workers, among) if is_], capacity[among], self.resources
        )
