"""The local engine: one agent process for each worker on this machine, over a socket pair.

Nothing to install and nothing to start. Once a worker is reported lost, none of its commands
runs any more; what it said before still counts. This room holds the sockets and the agents' process ids, and
turns lines into reports; what a report means is none of its business.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..events import AttemptEnded, Order, Report, Stop, Usage, WorkerHeard, WorkerLost
from ..model import Reason, Worker
from .agent import sweep
from .base import Levels

__all__ = ["LocalEngine", "this_machine"]

AGENT = Path(__file__).with_name("agent.py")
# What libraries of numbers read to know how many threads to start.
LIBRARIES = ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "NUMEXPR_NUM", "VECLIB_MAXIMUM")
CLOSE_SLACK_S = 5.0  # after the grace, until an agent itself is killed
decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode


class Host:
    """One worker's agent: its process, its socket, and what is half sent or half read."""

    def __init__(
        self,
        worker_id: str,
        incarnation: int,
        mark: str,
        process: subprocess.Popen[bytes],
        channel: socket.socket,
    ) -> None:
        self.worker_id = worker_id
        self.incarnation = incarnation
        self.mark = mark
        self.process = process
        self.channel = channel
        self.inbox = b""
        self.outbox = bytearray()


class LocalEngine:
    """See `engines.base.Engine`. Commands run in `cwd` with `env`, both this process's own by default."""

    def __init__(self, *, cwd: str | None = None, env: Mapping[str, str] | None = None) -> None:
        if os.name != "posix":
            raise OSError("running commands needs a POSIX system; planning works everywhere")
        self.cwd = cwd
        self.env = dict(os.environ if env is None else env)
        if cwd is not None and "PWD" in self.env:
            self.env["PWD"] = os.path.abspath(cwd)  # as a shell would say it to its commands
        self.heartbeat_s = 1.0
        self.run_mark = uuid.uuid4().hex
        self.hosts: dict[str, Host] = {}
        self.pending: list[Report] = []
        self.selector = selectors.DefaultSelector()
        self.wake_read, self.wake_write = socket.socketpair()
        self.wake_read.setblocking(False)
        self.wake_write.setblocking(False)
        self.selector.register(self.wake_read, selectors.EVENT_READ)

    def open(self, run_id: str, heartbeat_s: float, lease_s: float) -> None:
        """See `Engine.open`."""
        self.heartbeat_s = heartbeat_s

    def levels(self) -> Levels:
        """See `Engine.levels`."""
        return Levels("session", "none", ("memory is measured and not enforced",))

    def bring_up(self, worker: Worker, incarnation: int) -> None:
        """Start an agent for the worker."""
        worker_id = worker.worker_id
        ours, theirs = socket.socketpair()
        # The worker's part of the mark is a number: its id may hold what the name of a variable must not.
        mark = f"{self.run_mark}_{len(self.hosts)}" if worker_id not in self.hosts else self.hosts[worker_id].mark
        arguments = [sys.executable, "-I", "-S", str(AGENT), str(theirs.fileno()), mark, str(self.heartbeat_s)]
        with theirs:
            process = subprocess.Popen(
                arguments,
                pass_fds=[theirs.fileno()],
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        ours.setblocking(False)
        self.hosts[worker_id] = host = Host(worker_id, incarnation, mark, process, ours)
        self.selector.register(ours, selectors.EVENT_READ, host)

    def send(self, orders: Sequence[Order]) -> None:
        """Pass each order to the agent of its worker."""
        orders = [order for order in orders if self._is_there(order)]
        for order in orders:
            host = self.hosts[order.worker_id]
            key = [order.task_id, order.attempt]
            if isinstance(order, Stop):
                host.outbox += encode(["end", key, order.grace_s]) + b"\n"
                continue
            threads = str(max(1, int(order.cpu_cores)))
            extra = {
                **dict.fromkeys([f"{name}_THREADS" for name in LIBRARIES], threads),
                **(order.env or {}),
                "FASTSCHED_TASK_ID": order.task_id,
                "FASTSCHED_WORKER": order.worker_id,
                "FASTSCHED_ATTEMPT": str(order.attempt),
                "FASTSCHED_CPUS": f"{order.cpu_cores:g}",
                "FASTSCHED_MEMORY_MB": str(order.memory_mb),
            }
            files = [order.stdin or os.devnull, order.stdout or os.devnull, order.stderr or os.devnull]
            manner = [extra, order.cwd, order.timeout_s, order.grace_s]
            host.outbox += encode(["start", key, order.command, *files, *manner]) + b"\n"
        for host in {order.worker_id: self.hosts[order.worker_id] for order in orders}.values():
            self._flush(host)

    def _is_there(self, order: Order) -> bool:
        host = self.hosts.get(order.worker_id)
        return host is not None and host.channel.fileno() >= 0 and host.incarnation == order.incarnation

    def wait_reports(self, timeout_s: float) -> list[Report]:
        """See `Engine.wait_reports`."""
        for key, events in self.selector.select(0.0 if self.pending else timeout_s):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self.wake_read.recv(4096)
                continue
            if events & selectors.EVENT_WRITE:
                self._flush(key.data)
            if events & selectors.EVENT_READ:
                self._read(key.data)
        reports, self.pending = self.pending, []
        return reports

    def lose(self, worker_id: str, message: str) -> None:
        """Kill the agent and its commands, and report the loss."""
        host = self.hosts.get(worker_id)
        if host is None or host.channel.fileno() < 0:
            return
        self.selector.unregister(host.channel)
        host.channel.close()
        host.process.kill()
        host.process.wait()
        sweep(host.mark)
        self.pending.append(WorkerLost(worker_id, message, incarnation=host.incarnation))

    def wake(self) -> None:
        """See `Engine.wake`."""
        with contextlib.suppress(OSError):
            self.wake_write.send(b"\0")

    def close(self, grace_s: float) -> None:
        """See `Engine.close`. Whatever goes wrong in asking, no agent and no command is left when it is over."""
        gone: set[str] = set()
        try:
            for host in self.hosts.values():
                if host.channel.fileno() >= 0:
                    host.outbox += encode(["stop", grace_s]) + b"\n"
                    with contextlib.suppress(OSError):
                        host.channel.settimeout(1.0)
                        host.channel.sendall(host.outbox)
            deadline = time.monotonic() + grace_s + CLOSE_SLACK_S
            for host in self.hosts.values():
                if self._drain_until_gone(host, deadline):
                    gone.add(host.worker_id)
        finally:
            for host in self.hosts.values():
                if host.worker_id not in gone:
                    host.channel.close()
                    host.process.kill()
                    host.process.wait()
                    sweep(host.mark)
            self.selector.close()
            self.wake_read.close()
            self.wake_write.close()

    def hurry(self) -> None:
        """See `Engine.hurry`."""
        for host in self.hosts.values():
            with contextlib.suppress(OSError):
                host.channel.send(encode(["stop", 0]) + b"\n")

    def _drain_until_gone(self, host: Host, deadline: float) -> bool:
        """Read an agent's last words, so that it can say them, until it has gone or the deadline has come.

        Answers whether it went by itself, having ended and swept all that it had started.
        """
        try:
            while host.channel.fileno() >= 0 and time.monotonic() < deadline:
                host.channel.settimeout(max(0.001, deadline - time.monotonic()))
                if not host.channel.recv(1 << 16):
                    break
        except OSError:
            pass
        host.channel.close()
        try:
            return host.process.wait(max(0.0, deadline - time.monotonic())) == 0
        except subprocess.TimeoutExpired:
            return False

    def _flush(self, host: Host) -> None:
        if host.channel.fileno() < 0:
            return
        with contextlib.suppress(OSError):  # full: the selector says when to go on; broken: so will the reading
            while host.outbox:
                del host.outbox[: host.channel.send(host.outbox)]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if host.outbox else 0)
        self.selector.modify(host.channel, wanted, host)

    def _read(self, host: Host) -> None:
        try:
            data = host.channel.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.lose(host.worker_id, "its agent ended unexpectedly")
            return
        *lines, host.inbox = (host.inbox + data).split(b"\n")
        self.pending.extend(read_report(host.worker_id, host.incarnation, decode(line)) for line in lines)


def read_report(worker_id: str, incarnation: int, message: list[Any]) -> Report:
    """A line of an agent as a report."""
    what, *rest = message
    if what == "refused":
        (task_id, attempt), text = rest
        return AttemptEnded(task_id, worker_id, attempt, Reason.SPAWN, message=text, incarnation=incarnation)
    if what != "ended":
        return WorkerHeard(worker_id, what == "up", incarnation)
    (task_id, attempt), status, cpu_seconds, peak_kib, late = rest
    usage = Usage(peak_kib / 1024, cpu_seconds)
    code, number, reason, text = None, None, None, ""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        reason, text = Reason.SIGNAL, f"killed by {signal_name(number)}"
    else:
        code = os.waitstatus_to_exitcode(status)
        if code:
            reason, text = Reason.EXIT, f"exit code {code}"
    if late:
        reason, text = Reason.TIMEOUT, "it took longer than its time limit"
    return AttemptEnded(task_id, worker_id, attempt, reason, code, number, text, usage, incarnation)


def signal_name(number: int) -> str:
    """SIGKILL and the like."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def this_machine() -> Worker:
    """This machine as one worker: the cores this process may use, and the memory it can have, in MB of 2**20 bytes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return Worker(socket.gethostname() or "localhost", cores, memory >> 20)
