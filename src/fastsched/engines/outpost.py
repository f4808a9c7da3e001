"""An outpost: what runs commands on one host for a scheduler elsewhere, inside a process that others provide.

It is a thread with a local engine, so that everything about commands is the very code of a run on one machine. What it
adds is what a distance takes: a lease, frames, and outputs that are sent where they cannot be written.

*The lease.* An outpost runs what it runs as long as its scheduler lets it. It asks every heartbeat, saying its time;
the grant names that time again, and holds for a lease from then on. So it ends no later than its scheduler thinks,
however long either was on its way. When it is over everything is killed, for others may be given it.

Its agents are told until when, so that they end too where this thread does not get its turn.

*Crossing.* An order behind something that was given back is given back as well, until the scheduler has heard of that.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from .._version import __version__
from ..events import Order, Report, Start, TaskReturned, WorkerHeard, WorkerLost
from ..model import Worker
from .agent import ORPHAN_GRACE_S
from .local import LocalEngine
from .parcels import Message, pack, pack_report, unpack, unpack_order
from .porter import Porter
from .processes import Mark, sweep

__all__ = ["Outpost"]

NEVER = float("inf")
OPEN_S = 60.0  # that is waited for the first word
LOOK_S = 0.02  # between two looks at what is being ended
NOT_SAID = 1 << 62  # the number of a frame that is to come
CLOSE_S = 20.0  # that an earlier scheduler's things are given to end

PROCESS = uuid.uuid4().hex  # what tells this process from others

_serving: dict[tuple[str, str], Outpost] = {}  # by run and site
_lock = threading.Lock()


class Outpost(threading.Thread):
    """One scheduler's outpost in this process. It ends when it is told to go, or nobody is there to tell it.

    Args:
        say: called with a frame for the scheduler, by this thread; with b"" when nothing more is going to be said.
        backlog: how many bytes of what was said have not left yet.
    """

    def __init__(self, say: Callable[[bytes], object], backlog: Callable[[], int]) -> None:
        super().__init__(name="fastsched-outpost", daemon=True)
        self.say, self.backlog = say, backlog
        self.frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.hung_up = False
        self.is_closing = False
        self._engine: LocalEngine | None = None

    def hear(self, frame: bytes) -> None:
        """Take a frame. From any thread."""
        self.frames.put(frame)
        self._wake(is_urgent=self.is_closing and unpack(frame)[1][0][0] == "close")

    def hang_up(self) -> None:
        """There is nobody any more: end everything, soon, and tell nobody. From any thread."""
        self.hung_up = True
        self.frames.put(None)
        self._wake(is_urgent=self.is_closing)

    def _wake(self, *, is_urgent: bool) -> None:
        if self._engine is not None:
            self._engine.hurry() if is_urgent else self._engine.wake()

    def run(self) -> None:
        """Serve the scheduler to its end."""
        try:
            frame = self.frames.get(timeout=OPEN_S)
            if frame is not None:
                ((_, settings),) = unpack(frame)[1]
                self._serve(settings)
        except queue.Empty:
            pass
        finally:
            self.say(b"")

    def _serve(self, settings: Mapping[str, Any]) -> None:
        name = settings["run_id"], settings["site"]
        with _lock:
            earlier = _serving.get(name)
            _serving[name] = self
        if earlier is not None:  # of a scheduler that is not there any more, or has lost its way to us
            earlier.hang_up()
            earlier.join(CLOSE_S)
        if self.hung_up or (earlier is not None and earlier.is_alive()):
            return  # what it ran may run still: whoever asks hears nothing, and asks again
        try:
            try:
                self._engine = open_engine(settings)
            except (OSError, ValueError) as error:
                self.say(pack([("refused", str(error))]))
                return
            service = Service(self, self._engine, settings)
            try:
                service.serve()
            except BaseException:
                self._engine.close(ORPHAN_GRACE_S)
                raise
            finally:
                service.porter.close()
        finally:
            with _lock:
                if _serving.get(name) is self:
                    del _serving[name]


class Service:
    """What an outpost does once it is open: a local engine, and what a distance takes."""

    def __init__(self, outpost: Outpost, engine: LocalEngine, settings: Mapping[str, Any]) -> None:
        self.outpost, self.engine = outpost, engine
        self.porter = Porter(settings["output_cap_mb"] << 20, outpost.backlog)
        self._run_id: str = settings["run_id"]
        self._heartbeat_s: float = settings["heartbeat_s"]
        self._lease_s: float = settings["lease_s"]
        self._lease_until = NEVER  # nothing runs before the first grant
        self._next_renewal = 0.0
        self._waiting: dict[str, Message] = {}  # workers that are to come up once the lease holds again
        self._burying: list[Mark] = []
        self._returned: dict[str, int] = {}  # tasks that were given back, and in which frame
        self._beats: dict[str, Message] = {}  # signs of life of workers, told with the next renewal
        self._n_said = 0  # frames
        self._sayings: list[Message] = []  # for the next one

    def serve(self) -> None:
        """Turn until told to go, or until there is nobody any more."""
        self._sayings.append(("opened", self._describe()))
        while not self.outpost.hung_up:
            now = time.monotonic()
            if now >= self._next_renewal:
                self._next_renewal = now + self._heartbeat_s
                self._sayings += [("renew", now), *self._beats.values()]
                self._beats.clear()
            self._speak()
            wait_s = min(self._next_renewal, self.porter.next_due) - now
            if self._lease_until > now:
                wait_s = min(wait_s, self._lease_until - now)
            for report in self.engine.wait_reports(
                LOOK_S if self._burying or self.porter.is_busy else max(0.0, wait_s)
            ):
                self._tell(report)
            # What was ordered lies there since this process was stopped, perhaps: the lease is judged before.
            if time.monotonic() > self._lease_until:
                self._expire()
            if self._take_frames():
                return
            self._burying = [mark for mark in self._burying if not self._bury(mark)]
            self._sayings += self.porter.carry(time.monotonic())
        self.engine.close(ORPHAN_GRACE_S)

    def _describe(self) -> dict[str, Any]:
        """What this host is."""
        levels = self.engine.levels()
        return {
            "host": host_identity(),
            "process": PROCESS,
            "containment": levels.containment,
            "memory": levels.memory,
            "notes": list(levels.notes),
        }

    def _take_frames(self) -> bool:
        """Do what the scheduler has sent; whether that was to go."""
        while not self.outpost.frames.empty():
            frame = self.outpost.frames.get()
            if frame is None:
                break
            n_heard, messages = unpack(frame)
            if messages[0][0] == "close":
                self._close(messages[0][1])
                return True
            self._obey(messages)
            if n_heard:
                self._returned = {name: n for name, n in self._returned.items() if n > n_heard}
        return False

    def _close(self, grace_s: float) -> None:
        """End everything, and tell how. It may be told again meanwhile, and does not wait then."""
        self.outpost.is_closing = True
        self.engine.hold_until(NEVER)  # the grace says how long
        while not self.outpost.frames.empty():
            frame = self.outpost.frames.get()
            if frame is None or unpack(frame)[1][0][0] == "close":
                grace_s = 0.0
        for report in self.engine.close(grace_s):
            self._tell(report)
        self._speak()
        while self.porter.is_busy and not self.outpost.hung_up:
            self._sayings += self.porter.carry(time.monotonic())
            self._speak()
            time.sleep(LOOK_S)
        self._sayings.append(("closed",))
        self._speak()

    def _speak(self) -> None:
        if self._sayings:
            self._n_said += 1
            for message in self._sayings:
                if message[0] == "TaskReturned":
                    self._returned[message[1]] = self._n_said
            self.outpost.say(pack(self._sayings))
            self._sayings = []

    def _tell(self, report: Report) -> None:
        """A report goes to the scheduler, after the outputs that belong to it."""
        if isinstance(report, TaskReturned):
            self._returned[report.task_id] = NOT_SAID
        if isinstance(report, WorkerHeard) and not report.first:
            self._beats[report.worker_id] = pack_report(report)
        elif not self.porter.hold_back(report):
            self._sayings.append(pack_report(report))

    # ------------------------------------------------------------ what is to be done

    def _obey(self, messages: list[Message]) -> None:
        """Do what a frame says."""
        orders: list[Order] = []
        for message in messages:
            order = unpack_order(message)
            if isinstance(order, Start):
                if order.after is not None and order.after in self._returned:
                    self._tell(TaskReturned(order.task_id, order.worker_id, order.incarnation))
                    continue
                self._returned.pop(order.task_id, None)
                order = self.porter.redirect(order)
            if order is not None:
                orders.append(order)
            else:
                self._do(message)
        if orders:
            self.engine.send(orders)

    def _do(self, message: Message) -> None:
        """Do what a message says that is no order; in a frame with orders it is about outputs alone."""
        what = message[0]
        if what == "grant":
            self._lease_until = message[1] + self._lease_s
            self.engine.hold_until(self._lease_until)
            if time.monotonic() < self._lease_until:
                waiting, self._waiting = self._waiting, {}
                for late in waiting.values():
                    self._bring_up(*late[1:])
        elif what == "bring_up":
            if time.monotonic() > self._lease_until:
                self._waiting[message[1]] = message
            else:
                self._bring_up(*message[1:])
        elif what == "lose":
            self._lose(*message[1:])
        elif what == "bury":
            self._burying += [Mark(self._run_id, number) for number in message[1]]
        elif what == "keep":
            self.porter.keep(message[1])

    def _bring_up(self, worker_id: str, cores: float, memory_mb: int, incarnation: int, number: int) -> None:
        try:
            self.engine.bring_up(Worker(worker_id, cores, memory_mb), incarnation, number)
        except OSError as error:
            self._tell(WorkerLost(worker_id, f"it cannot be started: {error}", incarnation=incarnation))

    def _lose(self, worker_id: str, incarnation: int, message: str) -> None:
        self._waiting.pop(worker_id, None)
        host = self.engine.hosts.get(worker_id)
        if host is not None and host.incarnation == incarnation:
            self.engine.lose(worker_id, message)
        else:
            self._tell(WorkerLost(worker_id, message, incarnation=incarnation))

    def _bury(self, mark: Mark) -> bool:
        """End what an agent has left that was another outpost's, on this host; whether nothing is left."""
        is_over = sweep(mark)
        if is_over:
            self._sayings.append(("buried", mark.agent))
        return is_over

    def _expire(self) -> None:
        """Others may be given what runs here."""
        for worker_id in list(self.engine.hosts):
            self.engine.lose(worker_id, f"its host has heard nothing of the scheduler for {self._lease_s:g} s")


def open_engine(settings: Mapping[str, Any]) -> LocalEngine:
    """The engine of an outpost. Raises OSError or ValueError, with what to do about it."""
    if settings["version"] != __version__:
        said = f"fastsched {__version__} is installed there, and the scheduler is {settings['version']}"
        raise ValueError(f"{said}; install the same version in both places")
    cwd = settings["cwd"]
    if cwd is not None and not os.path.isdir(cwd):
        raise NotADirectoryError(f"there is no folder {cwd!r} on its host; name one that is there (cwd, -C)")
    engine = LocalEngine(
        cwd=cwd,
        env=settings["env"],
        containment=settings["containment"],
        output_cap_mb=settings["output_cap_mb"],
    )
    try:
        engine.open(settings["run_id"], settings["heartbeat_s"], settings["lease_s"], shares=not settings["is_first"])
    except OSError:
        engine.close(0.0)
        raise
    return engine


def host_identity() -> str:
    """What tells this host from others: processes that say the same see each other's, and may end them."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')} {os.getuid()}"
    except OSError:
        return f"{socket.gethostname()} {os.getuid()}"
