"""The loop of a live run, one page: wait, drain, absorb, decide, journal, send.

It owns the state, and nobody else touches it: what clients want is asked for by `ask`, and done here, in its turn. It
knows an engine and a journal by their protocols, and the time only by the clock that it is given. An order leaves when
what it follows from is journaled; a client is told when that is safe from a power cut too.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePath
from typing import Any, Protocol, TypeVar

from ..engines.base import Engine
from ..errors import InternalError, JournalFull, UnknownIdError
from ..events import (
    AttemptCompleted,
    AttemptEnded,
    AttemptFailed,
    AttemptStarted,
    CancelRequested,
    DeadlineSet,
    Event,
    Fact,
    Order,
    PlanAdopted,
    Recall,
    Report,
    Start,
    Stop,
    TaskReturned,
    TasksSubmitted,
    WorkerDraining,
    WorkerExpected,
    WorkerHeard,
    WorkerJoined,
    WorkerLeft,
    WorkerLost,
    WorkerOffered,
    WorkerResized,
    WorkersSettled,
    WorkerSuspected,
    WorkerWithdrawn,
)
from ..explain import Explanation
from ..model import Reason, Task, TaskStatus, Worker
from ..state import State
from .ledger import Ledger
from .liveness import Liveness
from .log import logger
from .pace import TOLD_LATE_NS, Pace
from .pilot import Pilot
from .record import Turn, encode_record
from .requests import Request, Requests, Submission

__all__ = ["Keeper", "Loop", "Rhythm"]

NS = 1_000_000_000
NEVER = 1 << 63
LONGEST_WAIT_NS = NS
FIRST_PATIENCE_S = 300.0  # that is waited for a first worker, where workers come by themselves
STARTUP_S = 30.0  # what a worker is given to come up, besides its lease
MAX_FAILED_STARTS = 5  # in a row, without coming up once: then a worker stays away
FIRST_RESTART_S, LONGEST_RESTART_S = 0.5, 60.0  # the delay of a worker that is lost again before it completed anything
SYNC_NS = 20_000_000  # between two syncs of the journal, and at least ten times as long as one takes
INTERRUPTED = "interrupted with its scheduler"  # is said of an attempt that is made again for that
CANCELLED_AT_ONCE = 2000  # tasks
ROOM_NS = NS  # between two looks whether a full disk has room again
Answer = TypeVar("Answer")


class Keeper(Protocol):
    """A journal, as the loop needs it; see `runtime/journal.py`."""

    n_written: int
    n_synced: int

    def append_all(self, bodies: Sequence[bytes]) -> int:
        """Keep these, all or none, safe from the death of any process. Raises JournalFull."""

    def sync(self) -> None:
        """Make all that was kept safe from a power cut. Raises JournalFull."""


@dataclass(frozen=True)
class Rhythm:
    """Seconds between signs of life, until a silent worker is lost, and between asking a command to end and killing.

    And that an attempt takes at most for its worker to be promised what follows it.
    """

    heartbeat_s: float = 1.0
    lease_s: float = 10.0
    grace_s: float = 5.0
    quick_s: float = 0.01


@dataclass
class Presence:
    """How a worker fares: the incarnation that is up or coming up, and how often in a row that did not go well."""

    incarnation: int = 0
    is_up: bool = False
    leaving: bool = False  # it was told to go
    draining: bool = False  # it is to go when it is empty
    is_suspect: bool = False  # it is as good as lost, and is given nothing more
    failed_starts: int = 0
    fruitless: int = 0  # losses since it last completed something
    pace: Pace = field(default_factory=Pace)


class Loop:
    """One run: a state, an engine, a clock, a journal, and somebody who tells others.

    Args:
        state: what is to be run. engine: what carries it. clock: ns, never going back.
        tell: called with events, in order, each once.
        journal: None: nothing is kept. logs: the folder of outputs; None: they are dropped.
        settled: no other workers will come than those that are known: what none of them could hold fails.
        run_id: marks what the run starts. timeout_s: of tasks that do not say so themselves.
        max_fails: when so many tasks have failed by themselves, what has not started is cancelled; None: never.
        patience_s: where workers may come: when nothing has gone on for so long, no others are expected any more; None:
            they always are.
        walltime_s: nothing is started that is not expected to end in so long from now; None: everything is.
        pilot: sees to it that a plan is followed; None: there is none.
    """

    def __init__(
        self,
        state: State,
        engine: Engine,
        clock: Callable[[], int],
        *,
        tell: Callable[[Sequence[Event]], object],
        rhythm: Rhythm,
        run_id: str,
        journal: Keeper | None = None,
        logs: PurePath | None = None,
        settled: bool = False,
        timeout_s: float | None = None,
        max_fails: int | None = None,
        patience_s: float | None = None,
        walltime_s: float | None = None,
        pilot: Pilot | None = None,
    ) -> None:
        self.pilot = pilot
        self.state, self.engine, self.rhythm, self.run_id = state, engine, rhythm, run_id
        self.ledger = Ledger(state, logs)
        self.paused = False
        self.interrupted = False
        self.out_of_time = False  # what has not ended is not expected to in the time that is left
        self.blocked = ""  # why nothing is dispatched, where the journal cannot be written
        self._timeout_s, self._max_fails = timeout_s, max_fails
        self._patience_s, self._idle_since = patience_s, NEVER
        self._walltime_s = walltime_s
        self._unwanted: deque[str] | None = None  # once so many have failed: what is to be cancelled
        self._clock, self._offset = clock, -clock()
        self._publish, self._journal, self._settled = tell, journal, settled
        self._liveness = Liveness(int(rhythm.lease_s * NS))
        self._workers: dict[str, Presence] = {}
        self._dismissed: set[str] = set()  # workers that somebody wanted to go
        self._restarts: dict[str, int] = {}  # worker id -> when it is to be brought up again
        self._given: dict[int, Task] = {}  # what clients hold of tasks that have not ended: their status is kept
        # What this turn does, until it is journaled:
        self._facts: list[Fact] = []
        self._told: list[Event] = []
        self._orders: list[Order] = []
        self._begun: list[AttemptStarted] = []  # this turn
        self._promises = engine.holds and max_fails is None  # else nothing may start after the last failure
        # What has not been written, for want of room, and what is not safe from a power cut yet, with its number:
        self._unwritten: list[bytes] = []
        self._unsynced: deque[tuple[int, list[Event]]] = deque()
        self._next_write = 0
        self._requests = Requests()
        self._owner: int | None = None  # the thread that serves

    # ------------------------------------------------------------ the loop

    def serve(self, until: Callable[[], bool]) -> None:
        """Turn until it is so, or until `interrupt` is called; then everything that runs is stopped."""
        self._owner = threading.get_ident()
        failure: BaseException | None = None
        try:
            self.engine.open(self.run_id, self.rhythm.heartbeat_s, self.rhythm.lease_s)
            for worker in list(self.state.workers):
                if self.state.is_expected(worker.worker_id):
                    self._bring_up(worker, self.now())
            self._settle(self.now())
            self._set_deadline(self.now())
            self._finish_turn(self.now())
            while (
                not self.interrupted
                and not self.out_of_time
                and not (until() and not self._unsynced and not self._unwritten)
            ):
                self.turn()
            self._finish_last_turn()
        except BaseException as error:
            failure = error
            raise
        finally:
            try:
                last = self.engine.close(
                    0.0 if (self.state.done or self.out_of_time) and not self.interrupted else self.rhythm.grace_s
                )
                if last and failure is None:
                    self._take_last(last)
            finally:
                self._owner = None
                self._requests.refuse(failure)

    def turn(self) -> None:
        """Wait; drain; absorb; decide; journal; send."""
        before = self.now()
        reports = self.engine.wait_reports(self._wait_s(before))
        now = self.now()
        for report in reports:
            self._take(report, now)
        if self._requests.asked:
            self._answer_requests(now)
        # Reports may lie unread while this process was stopped: leases are judged on what was read.
        for worker_id in self._liveness.overdue(before) if not reports else ():
            self._liveness.forget(worker_id)
            self.engine.lose(worker_id, f"it was silent for more than {self.rhythm.lease_s:g} s")
        for worker_id in [name for name, at in self._restarts.items() if at <= now] if self._restarts else ():
            del self._restarts[worker_id]
            self._bring_up(self.state.workers[self.state.worker_index(worker_id)], now)
        if self._max_fails is not None and self.ledger.n_fails >= self._max_fails:
            if not self.blocked:
                self._cancel_the_rest(now)
        elif not self.paused and not self.blocked:
            if self.pilot is not None:
                self._follow(self.pilot, now)
            for choice in self.state.decide(now):
                self._choose(choice, now)
            self._promise(now)
        self._begun.clear()
        self._finish_turn(now)
        if not (self.paused or self.blocked or self._is_going()):
            self._stand_still(now)
        else:
            self._idle_since = NEVER

    def begin(self) -> list[bytes]:
        """Book the plan that a run begins with; answers what is to be journaled of it, with the opening."""
        now = self.now()
        if self.pilot is not None:
            self._follow(self.pilot, now)
        facts, self._facts = self._facts, []
        return encode_record(Turn(now, facts)) if facts else []

    def _follow(self, pilot: Pilot, now: int) -> None:
        """Absorb what the plan asks for now."""
        for fact in pilot.turn(self.ledger, self.now, self.engine.wake):
            self._absorb(fact, now)

    def _stand_still(self, now: int) -> None:
        """Nothing goes on by itself: there is no time for it, or nobody who could hold it, who may come yet."""
        self._idle_since = min(self._idle_since, now)
        idle_ns = now - self._idle_since
        if self.state.deadline_ns is not None and self.state.n_postponed() and not self.state.is_any_ready():
            self.out_of_time = True
        elif self._settled:
            raise InternalError(f"the run stands still with {self.state.snapshot()}")
        elif self._patience_s is not None and self._workers and idle_ns >= self._patience_s * NS:
            self.settle(now)
        elif self._patience_s is not None and idle_ns >= FIRST_PATIENCE_S * NS:
            raise OSError(
                f"no worker has come in {FIRST_PATIENCE_S:g} s; resume goes on with the run when there are some "
                "(fastsched doctor --engine says which there are)"
            )

    def interrupt(self) -> None:
        """Stop soon. May be called from a signal handler or from another thread; called twice, it does not wait."""
        if self.interrupted:
            self.rhythm = Rhythm(self.rhythm.heartbeat_s, self.rhythm.lease_s, 0.0)
            self.engine.hurry()
        self.interrupted = True
        self.engine.wake()

    def ask(self, what: Callable[[int], Answer], *, reads: bool = False) -> Answer:
        """Have something done in the loop's next turn, and wait until it is journaled. From any thread.

        reads: it changes nothing that is journaled, so it does not wait for room on a full disk. What it sees then may
        be more than is kept.

        Raises:
            ClosedError: where the loop has ended.
        """
        if threading.get_ident() == self._owner or (reads and self._requests.ended):
            return what(self.now())
        answer: Answer = self.request(what, reads=reads).result()
        return answer

    def submit(self, tasks: Sequence[Any], given: Sequence[Any]) -> range:
        """Add tasks; answers their indices. From any thread. What comes together is added together.

        Raises:
            ValidationError: naming every problem; nothing of it is added. ClosedError: where the loop has ended.
        """
        if threading.get_ident() == self._owner:
            return self._submit(tasks, given, self.now())
        indices: range = self.request(Submission(tasks, given)).result()
        return indices

    def request(self, what: Callable[[int], Any] | Submission, *, reads: bool = False) -> Future[Any]:
        """Have something done in the loop's next turn; answers at once. From any thread."""
        future = self._requests.add(what, reads)
        self.engine.wake()
        return future

    @property
    def course(self) -> str:
        """What the run is at, for a person."""
        return "paused" if self.paused else "waiting for room on the disk" if self.blocked else "running"

    def now(self) -> int:
        """Nanoseconds since the run began, without the time between its schedulers."""
        return self._clock() + self._offset

    def replay(self, turn: Turn) -> list[Event]:
        """Book what a turn of an earlier scheduler booked; nothing of it is journaled or told again."""
        told = self.ledger.replay(turn)
        self._offset = turn.now - self._clock()
        return told

    def take_over(self, workers: Sequence[Worker] | None) -> None:
        """After the replay: nobody is there any more, and what ran is tried again, at no charge.

        workers: those that are to come from now on; None: the same ones as before.
        """
        now = self.now()
        named = None if workers is None else {worker.worker_id: worker for worker in workers}
        draining = self.state.draining()
        for worker in list(self.state.workers):
            worker_id = worker.worker_id
            returns = worker_id not in draining if named is None else worker_id in named
            if self.state.is_live(worker_id):
                self._absorb(WorkerLeft(worker_id, now, returns, INTERRUPTED), now)
            elif self.state.is_expected(worker_id):
                if not returns:
                    self._absorb(WorkerLeft(worker_id, now), now)
            elif worker_id in (self.ledger.away if named is None else named):  # it had left, and comes back
                back = worker if named is None else named[worker_id]
                self._absorb(WorkerExpected(back, now), now)
                continue
            if named and worker_id in named and named[worker_id] != worker:
                self._absorb(WorkerResized(named[worker_id], now), now)
        for worker in workers or ():
            if not self.state.knows_worker(worker.worker_id):
                self._absorb(WorkerExpected(worker, now), now)

    # ------------------------------------------------------------ what clients ask for

    def when_done(self, future: Future[None]) -> None:
        """Have a future done when every task has ended, and that has been told; one that is cancelled is forgotten."""
        self._requests.wait_for_end(future)

    def pause(self, paused: bool) -> None:
        """Start nothing from now on, or go on. What workers were promised they give back, where it has not begun."""
        self.paused = paused
        if paused:
            for worker_id in self.state.promised_to():
                self._orders.append(Recall(worker_id, self.state.incarnation(worker_id)))

    def explain(self, task_id: str) -> Explanation:
        """Why a task stands where it does. Raises KeyError for an id that is not known."""
        explained = self.ledger.explain(task_id)
        if explained.status is TaskStatus.PENDING and not explained.waits_for and self.course != "running":
            return replace(explained, text=f"the scheduler is {self.course}; {explained.text}")
        return explained

    def workers(self) -> list[Worker]:
        """The workers that are there."""
        return [worker for worker in self.state.workers if self.state.is_live(worker.worker_id)]

    def give_up(self) -> list[Event]:
        """After the end: what has not ended is cancelled, for this account alone; a journal does not hear of it."""
        now = self.now()
        events = self.state.cancel_all(now)
        for event in events:
            self._note(event)
        return events

    def _submit(self, tasks: Sequence[Any], given: Sequence[Any], now: int) -> range:
        first = len(self.state.ids)
        self._absorb(TasksSubmitted(tuple(tasks), now), now)
        indices = range(first, len(self.state.ids))
        # The state may have made unusual values plain.
        self._facts[-1] = TasksSubmitted(tuple(self.state.tasks[first:]), now)
        self._given.update((i, task) for i, task in zip(indices, given) if isinstance(task, Task))
        if self.pilot is not None:
            self.pilot.hear(self.state.ids[first:])
        self._settle(now)
        return indices

    def cancel(self, task_id: str, now: int) -> bool:
        """Cancel a task; False where it had ended. Raises KeyError for an id that is not known."""
        if self.state.has_ended(task_id):
            return False
        for event in self._absorb(CancelRequested(task_id, now), now):
            if isinstance(event, CancelRequested):
                task = self.state.index_of(task_id)
                attempt, worker_id = self.state.open_attempt(task)
                grace = self.state.tasks[task].grace
                self._orders.append(
                    Stop(
                        task_id,
                        worker_id,
                        attempt,
                        self.state.incarnation(worker_id),
                        self.rhythm.grace_s if grace is None else grace,
                    )
                )
        return True

    def add_worker(self, worker: Worker, now: int) -> None:
        """Bring up a new worker, or one that has left."""
        if worker.worker_id in self._workers:
            raise ValueError(f"worker {worker.worker_id!r} is there; remove it first, or name another one")
        self._dismissed.discard(worker.worker_id)
        self._absorb(WorkerExpected(worker, now), now)
        self._bring_up(worker, now)

    def drain_worker(self, worker_id: str, now: int) -> None:
        """Let a worker end what it runs, and then go. Raises UnknownIdError where there is none of this id."""
        presence = self._presence_of(worker_id)
        self._dismissed.add(worker_id)
        if not self.state.is_live(worker_id):
            self.remove_worker(worker_id, now)  # it is coming up, or is lost, and runs nothing
        elif not presence.leaving:
            presence.draining = True
            self._absorb(WorkerDraining(worker_id, now), now)

    def remove_worker(self, worker_id: str, now: int) -> None:
        """Stop what a worker runs, which is tried elsewhere at no charge, and let it go."""
        presence = self._presence_of(worker_id)
        self._dismissed.add(worker_id)
        presence.leaving = True
        if self._restarts.pop(worker_id, None) is None:
            self.engine.lose(worker_id, "it was removed")
        else:
            self._part_from(worker_id, now)

    def is_last_worker(self, worker_id: str) -> bool:
        """Whether what has not ended would fail if this worker went. Raises UnknownIdError."""
        self._presence_of(worker_id)
        others = (p for name, p in self._workers.items() if name != worker_id and not p.leaving and not p.draining)
        return self._settled and not self.state.done and next(others, None) is None

    def _presence_of(self, worker_id: str) -> Presence:
        presence = self._workers.get(worker_id)
        if presence is None:
            raise UnknownIdError("worker", worker_id, self._workers)
        return presence

    # ------------------------------------------------------------ absorb

    def _take(self, report: Report, now: int) -> None:
        """Book one report."""
        if isinstance(report, WorkerOffered):
            self._take_offer(report.worker, now)
            return
        presence = self._workers.get(report.worker_id)
        if isinstance(report, AttemptEnded):
            if presence and report.incarnation in (None, presence.incarnation):
                self._liveness.hear(report.worker_id, now)
            for event in self._absorb(report, now):
                if isinstance(event, AttemptCompleted) and presence:
                    presence.fruitless = 0
            return
        if presence is None or report.incarnation not in (None, presence.incarnation):
            return  # of a worker that is not there any more
        if isinstance(report, WorkerHeard):
            self._liveness.hear(report.worker_id, now)
            if report.first and not presence.is_up:
                presence.is_up, presence.failed_starts = True, 0
                self._absorb(WorkerJoined(report.worker_id, now), now)
            return
        if isinstance(report, TaskReturned):
            self._liveness.hear(report.worker_id, now)
            presence.pace.note_return()
            self._absorb(report, now)
            return
        if isinstance(report, WorkerSuspected):
            presence.is_suspect = True
            if self.state.is_live(report.worker_id):
                self._absorb(WorkerSuspected(report.worker_id, now), now)
            return
        if isinstance(report, WorkerWithdrawn):
            self._liveness.forget(report.worker_id)
            self._part_from(report.worker_id, now, report.message)
            return
        self._lose(report, presence, now)

    def _take_offer(self, worker: Worker, now: int) -> None:
        """The engine has a worker: a new one, or one that is waited for."""
        worker_id = worker.worker_id
        if worker_id in self._dismissed:
            return  # somebody wanted it to go, whatever becomes of what it runs on
        if worker_id not in self._workers:
            self.add_worker(worker, now)
        elif self._restarts.pop(worker_id, None) is not None:
            if self.state.workers[self.state.worker_index(worker_id)] != worker:
                self._absorb(WorkerResized(worker, now), now)
            self._bring_up(worker, now)

    def _lose(self, report: WorkerLost, presence: Presence, now: int) -> None:
        """A worker is gone: as it was told, or it is brought up again, later each time that nothing comes of it."""
        worker_id = report.worker_id
        self._liveness.forget(worker_id)
        was_up, presence.is_up, presence.is_suspect = presence.is_up, False, False
        if presence.leaving or presence.draining:
            self._part_from(worker_id, now)
            return
        presence.fruitless += 1
        presence.failed_starts += not was_up
        will_return = presence.failed_starts < MAX_FAILED_STARTS
        self._absorb(WorkerLost(worker_id, report.message, now, will_return), now)
        presence.pace = Pace()
        if will_return:
            delay_s = FIRST_RESTART_S * 2.0 ** (presence.fruitless - 2) if presence.fruitless > 1 else 0.0
            self._restarts[worker_id] = now + int(min(delay_s, LONGEST_RESTART_S) * NS)
        else:
            logger.error("worker %s did not come up %d times and stays away", worker_id, MAX_FAILED_STARTS)
            del self._workers[worker_id]
            self._settle(now)

    def _part_from(self, worker_id: str, now: int, message: str = "its worker left") -> None:
        """A worker that was told to go has gone, or one that was taken away."""
        del self._workers[worker_id]
        if self.state.is_live(worker_id) or self.state.is_expected(worker_id):
            self._absorb(WorkerLeft(worker_id, now, message=message), now)
        self._settle(now)

    def _bring_up(self, worker: Worker, now: int) -> None:
        """Tell a worker to come up, which may take longer than a lease."""
        worker_id = worker.worker_id
        presence = self._workers.setdefault(worker_id, Presence())
        presence.incarnation = self.state.incarnation(worker_id) + 1
        try:
            self.engine.bring_up(worker, presence.incarnation)
        except OSError as error:
            self._lose(WorkerLost(worker_id, f"it cannot be started: {error}"), presence, now)
            return
        self._liveness.expect(worker_id, now + int(STARTUP_S * NS))

    def _set_deadline(self, now: int) -> None:
        """Book until when there is time, or that there is again what an earlier scheduler did not have."""
        deadline = None if self._walltime_s is None else now + int(self._walltime_s * NS)
        if deadline != self.state.deadline_ns:
            self._absorb(DeadlineSet(deadline, now), now)

    def settle(self, now: int) -> None:
        """From now on no other workers will come than those that are known."""
        self._settled = True
        self._settle(now)

    def _settle(self, now: int) -> None:
        """Fail what nobody could hold, where no other worker will come."""
        if self._settled:
            self._absorb(WorkersSettled(now), now)

    def _absorb(self, fact: Fact, now: int) -> list[Event]:
        """Book a fact, and note it and what it means for the end of this turn."""
        events = self.state.absorb(fact, now)
        if events or isinstance(fact, (TaskReturned, PlanAdopted)):  # else it was stale, or changed nothing
            self._facts.append(fact)
            for event in events:
                self._note(event)
            self._told += events
        return events

    def _cancel_the_rest(self, now: int) -> None:
        """Too many have failed: what has not started is cancelled, so many in a turn, for agents want to be heard."""
        if self._unwanted is None:
            statuses = self.state.statuses().items()
            self._unwanted = deque(task_id for task_id, status in statuses if status is TaskStatus.PENDING)
        for _ in range(min(CANCELLED_AT_ONCE, len(self._unwanted))):
            task_id = self._unwanted.popleft()
            if self.state.status(task_id) is TaskStatus.PENDING:
                self._absorb(CancelRequested(task_id, now), now)

    def _take_last(self, reports: Sequence[Report]) -> None:
        """Book what had ended by itself when everything was stopped, so that it is not run again."""
        now = self.now()
        for report in reports:
            is_end = isinstance(report, AttemptEnded) and report.reason is not Reason.CANCELLED
            if is_end or isinstance(report, TaskReturned):
                self._take(report, now)
        self._finish_last_turn()

    def _choose(self, choice: Event, now: int) -> None:
        """Note a choice of this turn, and the order that carries it out."""
        self._told.append(choice)
        self._note(choice)
        if isinstance(choice, AttemptStarted):
            self._facts.append(choice)
            self._orders.append(self._make_order(choice.task_id, choice.worker_id, choice.attempt))
        elif isinstance(choice, Fact):
            self._facts.append(choice)

    def _note(self, event: Event) -> None:
        """What an event means to the loop itself."""
        if self._promises:
            self._note_pace(event)
        self.ledger.note(event)
        if isinstance(event, WorkerLeft):
            presence = self._workers.get(event.worker_id)
            if presence and not presence.leaving:  # it is drained
                presence.leaving = True
                self.engine.lose(event.worker_id, "it has left")
        elif self._unwanted is not None and isinstance(event, AttemptFailed) and event.will_retry:
            self._unwanted.append(event.task_id)

    def _note_pace(self, event: Event) -> None:
        """Note what has begun, and how quick a worker was."""
        if isinstance(event, AttemptStarted):
            self._begun.append(event)
        elif isinstance(event, (AttemptCompleted, AttemptFailed)):
            presence = self._workers.get(event.worker_id)
            if presence:
                took_ns = event.at_ns - self.ledger.started_ns(self.state.index_of(event.task_id))
                presence.pace.note_end(took_ns, took_ns < self.rhythm.quick_s * NS + TOLD_LATE_NS)

    def _promise(self, now: int) -> None:
        """Promise what follows to workers of which what they run takes less time than to ask for more."""
        most: dict[str, int] = {}
        quick = []
        for event in {event.task_id: event for event in self._begun}.values():  # where it began last
            presence = self._workers.get(event.worker_id)
            if presence and event.worker_id not in most:
                presence.pace.note_turn(now)
                most[event.worker_id] = presence.pace.ahead()
            expected_ns = self.state.expected_ns(self.state.index_of(event.task_id)) or 0
            if most.get(event.worker_id) and expected_ns < self.rhythm.quick_s * NS:
                quick.append(event.task_id)
        for choice in self.state.promise(quick, most, now) if quick else ():
            self._facts.append(choice)  # and nobody is told before it starts
            self._orders.append(self._make_order(choice.task_id, choice.worker_id, 1, choice.after_id))

    def _show_status(self, event: Event) -> None:
        """Keep the status of the tasks that clients hold."""
        task_id: str | None = getattr(event, "task_id", None)
        given = None if task_id is None else self._given.get(self.state.index_of(task_id))
        if task_id is not None and given is not None:
            given.status = self.state.status(task_id)
            if self.state.has_ended(task_id):
                del self._given[self.state.index_of(task_id)]
                if not self._given:
                    self._given = {}  # a dictionary does not shrink

    def _make_order(self, task_id: str, worker_id: str, attempt: int, after: str | None = None) -> Start:
        """The order that carries a choice out."""
        index = self.state.index_of(task_id)
        task = self.state.tasks[index]
        cores, memory_mb = self.state.amounts_of(index)
        stdout, stderr = self.ledger.attempts.files_of(index, attempt)
        return Start(
            task_id,
            worker_id,
            attempt,
            self.state.incarnation(worker_id),
            task.command,
            cores,
            memory_mb,
            stdout or None,
            stderr or None,
            task.stdin,
            task.cwd,
            task.env,
            self._timeout_s if task.timeout is None else task.timeout,
            self.rhythm.grace_s if task.grace is None else task.grace,
            None if task.limit_mb is None else memory_mb,
            after,
        )

    # ------------------------------------------------------------ journal, send, tell

    def _finish_turn(self, now: int) -> None:
        """Journal what this turn booked; then let its orders out; tell what is safe."""
        if self._facts:
            if self._journal is not None:
                self._unwritten += encode_record(Turn(now, self._facts))
            self._facts = []
        if self._unwritten and not self._write(now):
            self._requests.give_answers(only_reads=True)
            return
        if self._orders:
            orders, self._orders = self._orders, []
            self.engine.send(orders)
        if self._told and self._given:
            for event in self._told:
                self._show_status(event)
        self._requests.give_answers()
        if self._told:
            self._unsynced.append((self._journal.n_written if self._journal is not None else 0, self._told))
            self._told = []
        if self._unsynced:
            self._tell(now)
        if self.state.done and not self._unsynced:
            self._requests.say_all_ended()

    def _finish_last_turn(self) -> None:
        """Note when it was over, and tell what is left to tell, if the disk lets us."""
        if (self.interrupted or self.out_of_time) and self._journal is not None:
            self._unwritten += encode_record(Turn(self.now(), []))
        self._next_write = 0
        self._finish_turn(self.now())
        self._next_write = 0
        self._tell(self.now())

    def _write(self, now: int) -> bool:
        """Write what is not written; False where there is no room for it."""
        assert self._journal is not None
        if self.blocked and now < self._next_write:
            return False
        try:
            self._journal.append_all(self._unwritten)
        except JournalFull as error:
            self._block(str(error), now)
            return False
        self._unwritten = []
        self._unblock()
        return True

    def _tell(self, now: int) -> None:
        """Tell what is safe; make it so if it is time."""
        journal = self._journal
        if journal is not None and journal.n_synced < journal.n_written and now >= self._next_write:
            began = self._clock()
            try:
                journal.sync()
            except JournalFull as error:
                self._block(str(error), now)
                return
            self._unblock()
            self._next_write = now + max(SYNC_NS, 10 * (self._clock() - began))
        while self._unsynced and (journal is None or self._unsynced[0][0] <= journal.n_synced):
            self._publish(self._unsynced.popleft()[1])

    def _block(self, why: str, now: int) -> None:
        """Nothing more is dispatched until there is room; it is said once."""
        self._next_write = now + ROOM_NS
        if not self.blocked:
            logger.error("%s; nothing is started until there is room", why)
        self.blocked = why

    def _unblock(self) -> None:
        if self.blocked:
            logger.warning("the journal has room again; the run goes on")
        self.blocked = ""

    # ------------------------------------------------------------ requests

    def _answer_requests(self, now: int) -> None:
        """Do what was asked for; it is answered when it is journaled. Submissions that came together are one."""
        batch: list[Request] = []
        for request in self._requests.take():
            if isinstance(request.what, Submission):
                batch.append(request)
                continue
            self._submit_batch(batch, now)
            batch = []
            self._requests.do(request, request.what, now)
        self._submit_batch(batch, now)

    def _submit_batch(self, batch: list[Request], now: int) -> None:
        submissions = [request.what for request in batch if isinstance(request.what, Submission)]
        if len(batch) > 1:
            tasks = [task for submission in submissions for task in submission.tasks]
            given = [task for submission in submissions for task in submission.given]
            try:
                at = self._submit(tasks, given, now).start
            except Exception:
                pass  # each is judged by itself
            else:
                for request, submission in zip(batch, submissions):
                    self._requests.answer(request, range(at, at := at + len(submission.tasks)))
                return
        for request, submission in zip(batch, submissions):
            self._requests.do(request, partial(self._submit, submission.tasks, submission.given), now)

    def _is_going(self) -> bool:
        """Whether something will happen by itself."""
        state = self.state
        if state.n_running or state.n_promised or state.done or self._unwanted or state.next_wake() is not None:
            return True
        return any(not p.is_up or p.leaving or p.is_suspect for p in self._workers.values())

    def _wait_s(self, now: int) -> float:
        """How long to wait for a report at most."""
        if self._unwanted and not self.blocked:
            return 0.0
        until = now + LONGEST_WAIT_NS
        deadlines: list[int | None] = [self._liveness.next_deadline(), *self._restarts.values()]
        # Else nothing is decided then, and it would stay in the past.
        if not self.paused and not self.blocked and self._unwanted is None:
            deadlines.append(self.state.next_wake())
            deadlines.append(None if self.pilot is None else self.pilot.next_turn(self.ledger))
        if self._unsynced or self._unwritten:
            deadlines.append(self._next_write)
        for at in deadlines:
            if at is not None and at < until:
                until = at
        return (until - now) / NS if until > now else 0.0
