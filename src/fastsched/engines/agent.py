"""The agent: runs commands on one host, watches them, ends them, reports. It knows no graph.

It is a process of its own, one for each worker. Its rooms (`custody`, `commands`, `processes`, `capture`, `memory`,
`wire`, `system`) know nothing but the standard library and each other, and of that not what takes long to load, so that
it is up in a moment. It is one loop over the socket to its scheduler and the signals of its children, and waits for
nothing else.

Every command leads a session of its own or, where it followed another that was quick, a process group. When it ends,
the rest of its process group is killed before its id is given back. What has left the group becomes the agent's child
when its parent ends, for the agent is the first process of a PID namespace of its own, or a subreaper; whose it was is
told by its marks (`processes.py`), and it is ended with all its descendants before the end of the attempt is reported.

The agent says that it is there every heartbeat, and hears the same from its scheduler. When it has heard nothing for a
lease, or the socket closes, somebody else may be given what it runs: it ends all of it, says nothing of that, and goes.
A scheduler that is stopped (Ctrl-Z) for longer than a lease thus costs the attempts that run, but no result: what had
ended before is in the socket, and what is ended now is not told, so that it counts as lost. A scheduler that has a
lease itself says with each sign of life until when. All times are monotonic, so what the wall clock does changes
nothing.
"""

from __future__ import annotations

import os
import sys
import time

from .custody import Custody
from .memory import TICK_S
from .system import watch_signals
from .wire import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .wire import Message

ORPHAN_GRACE_S = 2.0  # between asking and killing, when the scheduler is gone
SENT_SIGTERM = 143  # what an agent ends with that somebody has told to end: what it ran is lost, not cancelled
AT_ONCE = 16  # orders between two looks at everything else


class Agent:
    """One loop over one socket and the children of this process."""

    def __init__(self, channel: int, settings: dict[str, Any]) -> None:
        self.heartbeat_s: float = settings["heartbeat_s"]
        self.lease_s: float = settings["lease_s"]
        self.lease_until: float = settings["lease_until"]
        self.orders: list[Message] = []  # that have come and are not done, the last one first
        self.sayings: list[Message | bytes] = []  # for the next frame
        os.set_blocking(channel, False)
        self.custody = Custody(settings, self.sayings, channel, watch_signals())
        self.lane = self.custody.lane
        self.next_beat = time.monotonic()
        self.code = 0

    def run(self) -> int:
        """Work until told to go, or until the scheduler is gone. What it ends with: 0 where all that was started has
        ended, 1 where the scheduler has to see to what is left."""
        self.sayings.append(("up",))
        clock, custody, lane = time.monotonic, self.custody, self.lane
        while custody.attempts or not custody.closed:
            now = clock()
            if now >= custody.next_due:
                custody.attend(now)
            if now >= self.next_beat:
                self.beat(now)
            if self.sayings:
                self.speak()
            bodies, ended = lane.wait(now if self.orders else min(self.next_beat, custody.next_due))
            if ended:
                custody.take_ended(ended)
            custody.take_over(TICK_S)
            if lane.asked_to_go:
                lane.asked_to_go, self.code = False, SENT_SIGTERM
                self.desert()
            if lane.hung_up:
                lane.hang_up()
                self.desert()
            for body in bodies:
                orders = unpack(body)
                for order in orders:
                    if order[0] == "start":  # later; what is to follow it waits from now on
                        lane.note_start(order[1])
                self.orders[:0] = reversed(orders)
            for _ in range(min(len(self.orders), AT_ONCE)):
                order = self.orders.pop()
                if order[0] == "start":
                    custody.start(order)
                else:
                    self.obey(*order)
        if not custody.end_the_rest():
            return 1
        self.speak()
        lane.close()
        return self.code

    def obey(self, what: str, *rest: Any) -> None:
        """Do what a message says that starts nothing."""
        if what == "stop":
            self.custody.stop(*rest)
        elif what == "beat":
            (self.lease_until,) = rest
        elif what == "recall":
            self.lane.recall()
        elif what == "leave":
            self.custody.leave(*rest)

    def speak(self) -> None:
        """Say what is to be said, as soon as there is room for it. The agent never waits for its scheduler."""
        self.lane.say(pack(self.sayings))
        self.sayings.clear()

    def beat(self, now: float) -> None:
        """Say that it is there, and see that the scheduler is."""
        self.next_beat = now + self.heartbeat_s
        self.sayings.append(("beat",))
        # What has come is read before it is judged: it may lie there since this process was stopped.
        is_over = now - self.lane.heard > self.lease_s or now > self.lease_until
        if is_over and not self.lane.has_input():
            self.desert()

    def desert(self) -> None:
        """Others may be given what runs here: end it, and tell nobody."""
        self.custody.muted = True
        if not self.custody.closed:
            self.custody.leave(ORPHAN_GRACE_S)


def main() -> None:
    """Serve the socket that was inherited, of which the second argument is the number."""
    channel = int(sys.argv[2])
    os.set_inheritable(channel, False)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    size = read_exactly(channel, 4)
    body = read_exactly(channel, int.from_bytes(size, "little"))
    if not body:
        return
    ((_, settings),) = unpack(body)
    sys.exit(Agent(channel, settings).run())


def read_exactly(fd: int, size: int) -> bytes:
    """So many bytes; fewer where there are no more."""
    parts: list[bytes] = []
    while size and (part := os.read(fd, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts) if not size else b""
