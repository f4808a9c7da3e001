"""One worker as the local engine knows it: its agent's process and socket, and the attempts that the agent has.

Orders become messages here, and messages reports; nothing is waited for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..events import AttemptEnded, Report, Start, TaskReturned, Usage
from ..model import Reason
from .agent import SENT_SIGTERM
from .capture import rescue
from .processes import AGENT_KEY, MOST_KEYS, Mark, sweep
from .system import HAS_FAST_LANE, SIGKILL, Variables, send_signal, spawn
from .wire import Inbox, pack_start

if TYPE_CHECKING:
    from .wire import Message, Order

__all__ = ["Host", "make_end", "make_start", "spawn_agent"]

ROOMS = str(Path(__file__).parents[1])  # where an agent finds its own rooms; it looks there last
BOOT = "import sys; sys.path.append(sys.argv[1]); from engines.agent import main; main()"


class Host:
    """One worker's agent: its process, its socket, and what it was told and has not answered."""

    def __init__(
        self,
        worker_id: str,
        incarnation: int,
        mark: Mark,
        channel: socket.socket,
        process: tuple[int, int],
        spaces: str,
    ) -> None:
        self.worker_id, self.incarnation, self.mark, self.channel = worker_id, incarnation, mark, channel
        self.pid, self.pidfd = process  # 0: it is reaped; -1: there are no handles
        self.status = 0  # then: how it ended
        self.spaces = spaces
        self.inbox = Inbox()
        self.queue: list[Message | bytes] = []  # for the next frame
        self.outbox = b""  # what is left of the last one
        self.attempts: dict[int, Start] = {}  # by the keys that the agent knows them by
        self.keys: dict[str, int] = {}  # the same, by task
        self.free_keys: list[int] = []
        self.logs = ""  # the folder of the outputs
        self.loss = ""  # why it is lost
        self.give_up_at = 0.0  # on what cannot be killed

    def new_key(self, order: Start) -> int:
        """A number for an attempt, which no other has as long as it is not over; 0: there are too many."""
        key = self.free_keys.pop() if self.free_keys else len(self.attempts) + 1
        if key > MOST_KEYS:
            return 0
        self.attempts[key] = order
        self.keys[order.task_id] = key
        if order.stdout and not self.logs:
            self.logs = os.path.dirname(order.stdout)
        return key

    def end(
        self,
        key: int,
        status: int | None,
        cpu_seconds: float,
        peak_mb: float,
        why: str,
        text: str,
        stdout_bytes: int,
        stderr_bytes: int,
    ) -> Report:
        """The end of an attempt, as the agent tells it; the key is free for another."""
        order = self.free(key)
        usage = None if status is None else Usage(peak_mb, cpu_seconds, stdout_bytes, stderr_bytes)
        if status == 0 and not why:  # as most do
            return AttemptEnded(
                order.task_id, order.worker_id, order.attempt, None, 0, None, "", usage, order.incarnation
            )
        return make_end(order, status, usage, why, text)

    def give_back(self, key: int) -> Report:
        """An attempt that was held is not going to be started; the key is free for another."""
        return TaskReturned(self.free(key).task_id, self.worker_id, self.incarnation)

    def free(self, key: int) -> Start:
        """Give up a key; answers the attempt that it was for."""
        order = self.attempts.pop(key)
        del self.keys[order.task_id]
        self.free_keys.append(key)
        return order

    def kill(self) -> None:
        """Kill the agent. Its process id is its own as long as nobody has waited for it."""
        if self.pidfd >= 0:
            send_signal(self.pidfd, SIGKILL)
        elif self.pid:
            with contextlib.suppress(OSError):
                os.kill(self.pid, SIGKILL)

    def has_ended(self) -> bool:
        """Whether the agent is gone; then it is reaped, and `status` says how."""
        try:
            pid, self.status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else in this program waits for all children
            return not send_signal(self.pidfd, 0)
        return pid != 0

    def how_it_ended(self) -> str:
        """Why an agent ended that was not told to, as far as its end says so."""
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            return "" if number == SIGKILL else f": killed by {signal_name(number)}"  # by us, or by somebody else
        code = os.waitstatus_to_exitcode(self.status)
        return ": it was sent SIGTERM" if code == SENT_SIGTERM else f": exit code {code}" if code else ""

    def is_buried(self) -> bool:
        """Whether an agent that was killed, and all that it had started, has ended; what has not is killed."""
        if self.pid and self.has_ended():
            self.pid = 0
        # The first process of a namespace is gone only when all others are.
        return not self.pid and (bool(self.spaces) or sweep(self.mark))

    def close(self) -> None:
        """Close the socket and the handle, and keep what the last attempts have written."""
        self.channel.close()
        for key in range(1, 1 + len(self.attempts) + len(self.free_keys) if self.logs else 0):
            order = self.attempts.get(key)
            rescue(self.logs, self.mark.agent, key, (order.stdout, order.stderr) if order else (None, None))
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def spawn_agent(mark: Mark, channel: int, worker_id: str, cwd: str | None, spaces: str) -> tuple[int, int]:
    """Start an agent, in our own environment; its process id, and a handle. Raises OSError."""
    # Process ids of one namespace are those of another too, and names of temporary files are made of them; so they
    # begin anywhere.
    own = [name + b"=" + value for name, value in os.environb.items()]
    first_pid = int.from_bytes(os.urandom(4), "little") % (1 << 15)
    return spawn(
        os.fsencode(sys.executable) + b"\0",
        [sys.executable, "-I", "-S", "-c", BOOT, ROOMS, str(channel), worker_id],
        Variables([*own, f"{mark.name}={mark.agent}.0".encode()]),
        [],
        cwd=cwd,
        stdin=os.devnull,
        mark=mark.number and mark.number + AGENT_KEY,
        keep_stderr=True,
        channel=channel,
        spaces=spaces,
        first_pid=b"%d" % first_pid,
    )


def make_start(key: int, after: int, order: Start, *, with_cgroup: bool) -> Order | bytes:
    """An order as a message, in the form that costs an agent the least; only as bytes it is held until after a key.

    with_cgroup: a limit of memory is the kernel's business.
    """
    is_plain = HAS_FAST_LANE and not order.env and order.stdin is None and order.cwd is None
    if is_plain and (order.limit_mb is None or not with_cgroup):
        record = pack_start(
            key,
            order.command,
            order.task_id,
            order.attempt,
            order.cpu_cores,
            order.memory_mb,
            order.stdout,
            order.stderr,
            order.timeout_s,
            order.grace_s,
            order.limit_mb,
            after,
        )
        if record is not None:
            return record
    return (
        "start",
        key,
        order.command if isinstance(order.command, str) else list(order.command),
        order.task_id,
        order.attempt,
        order.cpu_cores,
        order.memory_mb,
        order.stdout,
        order.stderr,
        order.stdin,
        order.cwd,
        dict(order.env) if order.env else None,
        order.timeout_s,
        order.grace_s,
        order.limit_mb,
    )


def make_end(order: Start, status: int | None, usage: Usage | None, why: str, text: str) -> AttemptEnded:
    """The end of an attempt: by its wait status, or why it was ended. The message is a line of ours, and `text`."""
    reason = Reason(why) if why else None
    code = number = None
    message = ""
    if status is not None:
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
        else:
            code = os.waitstatus_to_exitcode(status)
        if not why:
            reason = Reason.EXIT if number is None else Reason.SIGNAL
            message = f"exit code {code}" if number is None else f"killed by {signal_name(number)}"
    if why == "TIMEOUT":
        message = f"it took longer than {order.timeout_s:g} s"
    elif why == "CANCELLED":
        message = "it was stopped"
    if text:
        message = f"{message}\n{text}" if message else text
    return AttemptEnded(
        order.task_id, order.worker_id, order.attempt, reason, code, number, message, usage, order.incarnation
    )


def signal_name(number: int) -> str:
    """SIGKILL and the like."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
