"""The simulated engine: workers, commands and mishaps in virtual time, from a seed.

It carries orders as any engine does, only that nothing runs: a command is a time and an end. The clock is its own, and
moves when it is waited for, so a day of mishaps takes milliseconds, and the same seed is the same day. With it the loop
itself can be put under simulation, its journal included: `crash` is the death of the scheduler's process.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from ..events import (
    AttemptEnded,
    Order,
    Recall,
    Report,
    Start,
    Stop,
    TaskReturned,
    Usage,
    WorkerHeard,
    WorkerLost,
    WorkerOffered,
    WorkerSuspected,
    WorkerWithdrawn,
)
from ..model import Reason, Worker
from .base import Levels

__all__ = ["Command", "Faults", "SimulatedEngine"]

NS = 1_000_000_000


@dataclass(frozen=True)
class Faults:
    """What goes wrong, and how often: rates are per second of a worker, shares are of reports or of comings up."""

    loss_rate: float = 0.0
    silence_rate: float = 0.0  # a worker that is stopped: it says nothing for a while, and its commands go on
    silence_s: float = 30.0  # at most so long
    delay_s: float = 0.0  # a report takes up to so long
    doubled: float = 0.0  # reports of an end that come twice
    late: float = 0.0  # reports of a lost worker that come after it was given up
    no_start: float = 0.0  # comings up that fail at once
    never_up: float = 0.0  # comings up that nothing is heard of
    suspected: float = 0.0  # losses that are certain only later; commands go on meanwhile, and their ends are heard
    suspicion_s: float = 20.0  # at most so much later
    withdrawn: float = 0.0  # losses that somebody wanted; the worker is offered again
    absence_s: float = 60.0  # at most so much later


@dataclass(frozen=True)
class Command:
    """What becomes of an attempt: how long it takes, and why it fails (None: it completes)."""

    seconds: float
    reason: Reason | None = None
    deaf: bool = False  # it does not end when it is asked to, only when it is killed
    exit_code: int = 1  # where the reason is EXIT
    peak_mb: float = 1.0  # more than its limit, and it is killed for that
    stdout: str = ""  # what it writes before it does anything else
    stderr: str = ""


@dataclass
class Host:
    """A worker's agent: what of it is running, and what it has said that has not arrived."""

    worker: Worker
    incarnation: int
    silent_until: int = 0
    is_suspect: bool = False
    last_arrival: int = 0  # reports of one worker arrive in their order
    commands: dict[tuple[str, int], tuple[Start, Command]] = field(default_factory=dict)
    held: dict[str, Start] = field(default_factory=dict)  # by the task after which it comes
    returned: set[str] = field(default_factory=set)  # what was held last, and not started


class SimulatedEngine:
    """See `engines.base.Engine`.

    Args:
        behave: called with an order and a source of chance, says what becomes of an attempt; None: a second, and well.
        hold_s: what is held is given back when the attempt before it takes longer.
    """

    holds = True
    offers = False

    def __init__(
        self,
        seed: int = 0,
        behave: Callable[[Start, Random], Command] | None = None,
        faults: Faults | None = None,
        hold_s: float = 0.01,
    ) -> None:
        self.random = Random(seed)
        self.faults = faults or Faults()
        self.hosts: dict[str, Host] = {}
        self._behave = behave or (lambda order, random: Command(1.0))
        self._now = 0
        self._timeline: list[tuple[int, int, Callable[[], None]]] = []
        self._n_planned = 0
        self._reports: list[Report] = []
        self._heartbeat_ns, self._hold_ns = NS, int(hold_s * NS)
        self._woken = False

    def clock(self) -> int:
        """Virtual time, ns."""
        return self._now

    # ------------------------------------------------------------ the protocol

    def workers(self) -> list[Worker]:
        """See `Engine.workers`: one of an ordinary size."""
        return [Worker("simulated", 8, 32768)]

    def open(self, run_id: str, heartbeat_s: float, lease_s: float) -> None:
        """See `Engine.open`."""
        self.crash()
        self._heartbeat_ns = int(heartbeat_s * NS)

    def levels(self) -> Levels:
        """See `Engine.levels`."""
        return Levels("simulated", "simulated", ("nothing is really run",))

    def bring_up(self, worker: Worker, incarnation: int) -> None:
        """See `Engine.bring_up`."""
        if self.random.random() < self.faults.no_start:
            raise OSError("a mishap: it cannot be started")
        host = Host(worker, incarnation)
        self.hosts[worker.worker_id] = host
        if self.random.random() < self.faults.never_up:
            return
        self._say(host, WorkerHeard(worker.worker_id, True, incarnation))
        self._plan(self._heartbeat_ns, partial(self._beat, host))
        for rate, mishap in ((self.faults.loss_rate, self._die), (self.faults.silence_rate, self._fall_silent)):
            if rate:
                self._plan(int(self.random.expovariate(rate) * NS), partial(mishap, host))

    def send(self, orders: Sequence[Order]) -> None:
        """See `Engine.send`."""
        for order in orders:
            host = self.hosts.get(order.worker_id)
            if host is None or host.is_suspect or host.incarnation != order.incarnation:
                continue
            if isinstance(order, Stop):
                self._stop(host, order)
            elif isinstance(order, Recall):
                for first in [order for order in host.held.values() if not self._is_held(host, order.after)]:
                    self._give_back(host, first)
            elif order.after is None:
                self._start(host, order)
            else:
                self._hold(host, order)

    def wait_reports(self, timeout_s: float) -> list[Report]:
        """See `Engine.wait_reports`. Time moves to the next reports, all of an instant, or by the timeout."""
        end = self._now + int(timeout_s * NS)
        while self._timeline and self._timeline[0][0] <= (self._now if self._reports or self._woken else end):
            at, _, happen = heapq.heappop(self._timeline)
            self._now = max(self._now, at)
            happen()
        if not self._reports and not self._woken:
            self._now = max(self._now, end)
        self._woken = False
        reports, self._reports = self._reports, []
        return reports

    def lose(self, worker_id: str, message: str) -> None:
        """See `Engine.lose`."""
        host = self.hosts.get(worker_id)
        if host is not None:
            self._end_host(host, message)

    def wake(self) -> None:
        """See `Engine.wake`."""
        self._woken = True

    def close(self, grace_s: float) -> list[Report]:
        """See `Engine.close`."""
        reports = self._reports[:]
        self.crash()
        return reports

    def hurry(self) -> None:
        """See `Engine.hurry`."""

    def crash(self) -> None:
        """The scheduler is gone: its workers see that and end everything; nothing that was on its way arrives."""
        self._timeline.clear()
        self._reports.clear()
        for host in self.hosts.values():
            host.commands.clear()
        self.hosts.clear()

    # ------------------------------------------------------------ what happens

    def _plan(self, delay_ns: int, happen: Callable[[], None]) -> None:
        """Have something happen later."""
        self._n_planned += 1
        heapq.heappush(self._timeline, (self._now + delay_ns, self._n_planned, happen))

    def _is_there(self, host: Host) -> bool:
        return self.hosts.get(host.worker.worker_id) is host

    def _say(self, host: Host, report: Report) -> None:
        """A report sets out: it arrives after all before it of the same worker, and not while that is silent."""
        arrival = self._now + int(self.random.random() * self.faults.delay_s * NS)
        host.last_arrival = max(host.last_arrival, arrival, host.silent_until)
        self._plan(host.last_arrival - self._now, partial(self._arrive, host, report))

    def _arrive(self, host: Host, report: Report) -> None:
        if self._is_there(host):
            self._deliver(report)

    def _deliver(self, report: Report) -> None:
        self._reports.append(report)

    def _beat(self, host: Host) -> None:
        if self._is_there(host):
            self._say(host, WorkerHeard(host.worker.worker_id, False, host.incarnation))
            self._plan(self._heartbeat_ns, partial(self._beat, host))

    def _end_in(self, host: Host, order: Start | Stop, delay_ns: int, reason: Reason | None) -> None:
        self._plan(delay_ns, partial(self._end, host, order.task_id, order.attempt, reason))

    def _start(self, host: Host, order: Start) -> None:
        """A command begins."""
        command = self._behave(order, self.random)
        host.commands[order.task_id, order.attempt] = (order, command)
        host.returned.discard(order.task_id)
        for text, file in ((command.stdout, order.stdout), (command.stderr, order.stderr)):
            if text and file is not None:
                Path(file).write_text(text)
        seconds, reason = command.seconds, command.reason
        if order.limit_mb is not None and command.peak_mb > order.limit_mb:
            reason = Reason.OUT_OF_MEMORY
        elif order.timeout_s is not None and seconds > order.timeout_s:
            seconds, reason = order.timeout_s + order.grace_s * command.deaf, Reason.TIMEOUT
        self._end_in(host, order, int(seconds * NS), reason)
        behind = host.held.get(order.task_id)
        if behind is not None:
            self._plan(self._hold_ns, partial(self._give_back, host, behind))

    def _hold(self, host: Host, order: Start) -> None:
        """A command is to begin when another has ended, which may have ended or been given back meanwhile."""
        assert order.after is not None
        runs = any(task_id == order.after for task_id, _ in host.commands)
        if runs or self._is_held(host, order.after):
            host.held[order.after] = order
            host.returned.discard(order.task_id)
            if runs:
                self._plan(self._hold_ns, partial(self._give_back, host, order))
        elif order.after in host.returned:
            self._return(host, order)
        else:
            self._start(host, order)

    def _is_held(self, host: Host, task_id: str | None) -> bool:
        return any(order.task_id == task_id for order in host.held.values())

    def _give_back(self, host: Host, order: Start) -> None:
        """A command that is held is not going to begin, nor is what was to follow it."""
        if host.held.get(order.after or "") is not order or not self._is_there(host):
            return
        behind = host.held.get(order.task_id)
        if behind is not None:
            self._give_back(host, behind)
        del host.held[order.after or ""]
        self._return(host, order)

    def _return(self, host: Host, order: Start) -> None:
        host.returned.add(order.task_id)
        self._say(host, TaskReturned(order.task_id, host.worker.worker_id, host.incarnation))

    def _end(self, host: Host, task_id: str, attempt: int, reason: Reason | None) -> None:
        """A command ends, unless it has ended already."""
        ran = host.commands.pop((task_id, attempt), None) if self._is_there(host) else None
        if ran is None:
            return
        command = ran[1]
        code = {None: 0, Reason.EXIT: command.exit_code}.get(reason)
        number = 9 if reason in (Reason.SIGNAL, Reason.OUT_OF_MEMORY) else None
        said = (command.stderr or command.stdout).rstrip()
        message = "" if reason is None else f"a mishap: {reason}{chr(10) if said else ''}{said}"
        report = AttemptEnded(
            task_id,
            host.worker.worker_id,
            attempt,
            reason,
            code,
            number,
            message,
            Usage(command.peak_mb, 0.1, len(command.stdout.encode()), len(command.stderr.encode())),
            host.incarnation,
        )
        self._say(host, report)
        if self.random.random() < self.faults.doubled:
            self._say(host, report)
        behind = host.held.pop(task_id, None)
        if behind is not None:
            self._start(host, behind)

    def _stop(self, host: Host, order: Stop) -> None:
        """A command is asked to end; a deaf one is killed after the grace."""
        for held in list(host.held.values()):
            if held.task_id == order.task_id:
                self._give_back(host, held)
        running = host.commands.get((order.task_id, order.attempt))
        if running is not None:
            delay_s = order.grace_s if running[1].deaf else 0.01
            self._end_in(host, order, int(delay_s * NS), Reason.CANCELLED)

    def _fall_silent(self, host: Host) -> None:
        if self._is_there(host) and self.faults.silence_rate:
            host.silent_until = self._now + int(self.random.random() * self.faults.silence_s * NS)
            self._plan(int(self.random.expovariate(self.faults.silence_rate) * NS), lambda: self._fall_silent(host))

    def _die(self, host: Host) -> None:
        if not self._is_there(host) or not self.faults.loss_rate:
            return
        if self.faults.suspected and self.random.random() < self.faults.suspected:
            host.is_suspect = True
            self._deliver(WorkerSuspected(host.worker.worker_id, incarnation=host.incarnation))
            after_ns = int(self.random.random() * self.faults.suspicion_s * NS)
            self._plan(after_ns, partial(self._end_host, host, "a mishap: it was not heard any more"))
        elif self.faults.withdrawn and self.random.random() < self.faults.withdrawn:
            self._end_host(host, "a mishap: somebody took it", is_lost=False)
        else:
            self._end_host(host, "a mishap: it is gone")

    def _end_host(self, host: Host, message: str, is_lost: bool = True) -> None:
        """A worker is gone with all that it ran; what it said at the end may still come, and means nothing."""
        if not self._is_there(host):
            return  # it was given up meanwhile
        del self.hosts[host.worker.worker_id]
        for task_id, attempt in list(host.commands):
            if self.random.random() < self.faults.late:
                late = AttemptEnded(task_id, host.worker.worker_id, attempt, None, 0, incarnation=host.incarnation)
                self._plan(int(self.random.random() * 60 * NS), partial(self._deliver, late))
        host.commands.clear()
        kind = WorkerLost if is_lost else WorkerWithdrawn
        self._plan(0, partial(self._deliver, kind(host.worker.worker_id, message, incarnation=host.incarnation)))
        if not is_lost:
            after_ns = int(self.random.random() * self.faults.absence_s * NS)
            self._plan(after_ns, partial(self._deliver, WorkerOffered(host.worker)))
