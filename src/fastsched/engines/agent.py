"""The agent: runs commands on one host, watches them, ends them, reports. It knows no graph.

It is a process of its own, one for each worker. Its rooms (`custody`, `commands`, `processes`, `capture`, `memory`,
`wire`, `system`) know nothing but the standard library and each other, and of that not what takes long to load, so that
it is up in a moment. It is one loop over the socket to its scheduler and the signals of its children, and waits for
nothing else.

Every command leads a session of its own. When it ends, the rest of its process group is killed before its id is given
back. What has left the group becomes the agent's child when its parent ends, for the agent is the first process of a
PID namespace of its own, or a subreaper; whose it was is told by its marks (`processes.py`), and it is ended with all
its descendants before the end of the attempt is reported.

The agent says that it is there every heartbeat, and hears the same from its scheduler. When it has heard nothing for a
lease, or the socket closes, somebody else may be given what it runs: it ends all of it, says nothing of that, and goes.
A scheduler that is stopped (Ctrl-Z) for longer than a lease thus costs the attempts that run, but no result: what had
ended before is in the socket, and what is ended now is not told, so that it counts as lost. All times are monotonic, so
what the wall clock does changes nothing.
"""

from __future__ import annotations

import os
import select
import sys
import time

from .custody import Custody
from .system import SIGTERM, read_signals, watch_signals
from .wire import Inbox, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .wire import Message

ORPHAN_GRACE_S = 2.0  # between asking and killing, when the scheduler is gone
AT_ONCE = 16  # orders between two looks at everything else
LONGEST_WAIT_MS = 1_000_000
READ = 1 << 14  # bytes at a time; for more than 128 KiB malloc asks the kernel, each time


class Agent:
    """One loop over one socket and the children of this process."""

    def __init__(self, channel: int, settings: dict[str, Any], inbox: Inbox, orders: list[Message]) -> None:
        self.channel = channel  # -1: the scheduler is gone
        self.heartbeat_s: float = settings["heartbeat_s"]
        self.lease_s: float = settings["lease_s"]
        self.inbox = inbox
        self.orders = orders[::-1]  # that have come and are not done, the last one first
        self.sayings: list[Message] = []  # for the next frame
        self.outbox = b""  # what is left of the last one
        self.custody = Custody(settings, self.sayings)
        self.heard = self.next_beat = time.monotonic()
        self.signals = watch_signals()
        os.set_blocking(channel, False)
        self.poller = select.poll()
        self.poller.register(self.signals, select.POLLIN)
        self.poller.register(channel, select.POLLIN)

    def run(self) -> bool:
        """Work until told to go, or until the scheduler is gone; whether all that was started has ended."""
        self.sayings.append(("up",))
        poll, clock, custody = self.poller.poll, time.monotonic, self.custody
        while custody.attempts or not custody.closed:
            now = clock()
            if now >= custody.next_due:
                custody.attend(now)
            if now >= self.next_beat:
                self.beat(now)
            if self.sayings or self.outbox:
                self.flush()
            wait_s = min(self.next_beat, custody.next_due) - now
            wait_ms = 0 if self.orders else min(max(0, int(wait_s * 1000) + 1), LONGEST_WAIT_MS)
            for fd, _ in poll(wait_ms):
                if fd == self.channel:
                    self.receive()
                else:
                    if SIGTERM in read_signals(self.signals):
                        custody.leave(ORPHAN_GRACE_S)
                    custody.take_ended()
            if self.orders:
                for _ in range(min(len(self.orders), AT_ONCE)):
                    order = self.orders.pop()
                    if order[0] == "start":
                        custody.start(order)
                    else:
                        self.obey(*order)
        if not custody.end_the_rest():
            return False
        if self.channel >= 0:
            os.set_blocking(self.channel, True)
            self.flush()
        return True

    def receive(self) -> None:
        """Read what has come."""
        try:
            data = os.read(self.channel, READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.hang_up()
            return
        self.heard = time.monotonic()
        messages = self.inbox.take(data)
        messages.reverse()
        self.orders[:0] = messages

    def obey(self, what: str, *rest: Any) -> None:
        """Do what a message says that starts nothing."""
        if what == "stop":
            self.custody.stop(*rest)
        elif what == "leave":
            self.custody.leave(*rest)

    def flush(self) -> None:
        """Send what fits; ask to be woken for the rest. The agent never waits for its scheduler."""
        waited = bool(self.outbox)
        if self.sayings:
            self.outbox += pack(self.sayings)
            self.sayings.clear()
        if self.channel < 0:
            self.outbox = b""
            return
        try:
            self.outbox = self.outbox[os.write(self.channel, self.outbox) :]
        except BlockingIOError:
            pass
        except OSError:
            self.hang_up()
            return
        if waited or self.outbox:
            self.poller.modify(self.channel, select.POLLIN | (select.POLLOUT if self.outbox else 0))

    def beat(self, now: float) -> None:
        """Say that it is there, and see that the scheduler is."""
        self.next_beat = now + self.heartbeat_s
        self.sayings.append(("beat",))
        # What has come is read before it is judged: it may lie there since this process was stopped.
        if now - self.heard > self.lease_s and not any(fd == self.channel for fd, _ in self.poller.poll(0)):
            self.desert()

    def hang_up(self) -> None:
        """The scheduler is gone."""
        self.poller.unregister(self.channel)
        os.close(self.channel)
        self.channel, self.outbox = -1, b""
        self.desert()

    def desert(self) -> None:
        """Others may be given what runs here: end it, and tell nobody."""
        if not self.custody.closed:
            self.custody.leave(ORPHAN_GRACE_S)
        self.custody.muted = True


def main() -> None:
    """Serve the socket that was inherited, of which the second argument is the number."""
    channel = int(sys.argv[2])
    os.set_inheritable(channel, False)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    inbox = Inbox()
    messages: list[Message] = []
    while not messages:
        data = os.read(channel, READ)
        if not data:
            return
        messages = inbox.take(data)
    (_, settings), *orders = messages
    if not Agent(channel, settings, inbox, orders).run():
        sys.exit(1)  # the scheduler sees to what is left
