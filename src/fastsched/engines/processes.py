"""Which processes belong to what, and how all of them are ended. No command is started here, and nothing is reported.

Two marks tell whose a process is. The first is a variable in its environment; its name is that of the run, its value
AGENT.KEY. A process can wipe it, so there is a second, a limit that is never in force (see `_linux.pyx`): a number in
which the run, the agent and the key of the attempt stand. It survives a double fork, setsid, closed descriptors and
`env -i`. Without privilege it can only be made smaller, so that a run within a command of another run takes numbers of
half the size; with privilege it can be wiped as well, together with the variable.

A process is known by its id and the time of its beginning; it is signalled by a handle, after a look at both, so that
none is hit that was given the id meanwhile.

Whoever forks faster than he can be killed is stopped first: `end_all` stops whatever is new until nothing is, and then
kills all of it.
"""

from __future__ import annotations

import os
import time

from .system import SIGKILL, SIGSTOP, look_at, mark_of, signal_exactly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Mark", "Orphans", "children_of", "descendants", "end_all", "sweep"]

# As bits of the second mark, from below. The highest one that is set, TOP or a lower one, says that it is a mark.
KEY_BITS, AGENT_BITS, RUN_BITS, TOP = 14, 12, 32, 62
BODY = (1 << (KEY_BITS + AGENT_BITS + RUN_BITS)) - 1
AGENT_KEY = (1 << KEY_BITS) - 1  # of the agent itself: the largest, for who has no privilege can only go below it
MOST_KEYS = AGENT_KEY - 1  # attempts of an agent at a time
MOST_AGENTS = (1 << AGENT_BITS) - 1  # of a run at a time
LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")  # it is an option of the kernel's
Found = set[tuple[int, int]]  # process ids, and when each began


class Mark:
    """Of a run, or of one of its agents.

    Args:
        run_id: of the run. agent: which of its agents, from 1; 0 for the run as such.
        limit: the second mark of this process itself, where it is a command of another run.
    """

    def __init__(self, run_id: str, agent: int = 0, limit: int = 1 << 63) -> None:
        # Only schedulers make marks, and it takes longer to load than all that an agent needs.
        import hashlib

        digest = hashlib.blake2b(os.fsencode(run_id), digest_size=8).hexdigest()
        self.name = f"FASTSCHED_MARK_{digest}"
        self.agent = agent
        run = int(digest, 16) % (1 << RUN_BITS)
        self.body = ((run << AGENT_BITS) + self.agent) << KEY_BITS
        top = 1 << min(TOP, limit.bit_length() - 2)
        #: To which a key is added, and then it is the second mark; 0: there is no room for one.
        self.number = top + self.body if top > BODY else 0

    def is_on(self, pid: int, *, whole_run: bool = False) -> bool:
        """Whether a process is of this agent, or of any of the run."""
        shift = KEY_BITS + (AGENT_BITS if whole_run else 0)
        number = mark_of(pid)
        if BODY < number < 1 << 63 and (number & BODY) >> shift == self.body >> shift:
            return True
        wanted = f"{self.name}=" if whole_run else f"{self.name}={self.agent}."
        return any(variable.startswith(wanted.encode()) for variable in environment_of(pid))


def key_of(pid: int, number: int, name: str) -> int | None:
    """Of which attempt a process is, by the mark of its agent and the name of the variable; None: nobody can tell."""
    mark = mark_of(pid)
    if number and BODY < mark < 1 << 63 and (mark & BODY) >> KEY_BITS == (number & BODY) >> KEY_BITS:
        key = mark % (1 << KEY_BITS)
        if key not in (0, AGENT_KEY):
            return key
    for variable in environment_of(pid):
        if variable.startswith(name.encode() + b"="):
            said = variable.rpartition(b".")[2]
            return int(said) if said.isdigit() and len(said) < 6 else None
    return None


class Orphans:
    """The children of this process that it has not started: what its commands have left behind.

    Args:
        number, name: the marks of this agent.
    """

    def __init__(self, number: int, name: str) -> None:
        self.number, self.name = number, name
        self.keys: dict[int, int | None] = {}  # process id -> the attempt that it is of
        self.fd = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY) if LISTS_CHILDREN else -1

    def look(self, leaders: Mapping[int, object]) -> None:
        """Find those that are new. Where there are none this costs a system call."""
        if self.fd >= 0:
            n = at = 0
            while listed := os.pread(self.fd, 1 << 12, at):  # what the kernel gives at a time is a page
                n, at = n + listed.count(b" "), at + len(listed)
            if n == len(leaders) + len(self.keys):
                return
        for pid in children_of(os.getpid()):
            if pid not in leaders and pid not in self.keys:
                self.keys[pid] = key_of(pid, self.number, self.name)

    def of(self, key: int | None) -> list[int]:
        """Those of an attempt; of None: those of which nobody knows whose they are."""
        return [pid for pid, owner in self.keys.items() if owner == key]


def children_of(pid: int) -> list[int]:
    """The children of a process, the ended ones included; none where that cannot be seen."""
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += slurp(f"/proc/{pid}/task/{thread}/children").split()
    except OSError:  # it has ended, or the kernel does not list children
        if not LISTS_CHILDREN:
            return [child for child in all_processes() if (look_at(child) or (0,))[0] == pid]
    return [int(child) for child in found]


def descendants(roots: Iterable[int]) -> Found:
    """These processes and all below them that live."""
    found: Found = set()
    below: list[tuple[int, int | None]] = [(pid, None) for pid in roots]
    while below:
        pid, parent = below.pop()
        seen = look_at(pid)
        # With another parent by now it is looked for there, or its id was given to somebody else.
        if seen is None or (parent is not None and seen[0] != parent) or (pid, seen[2]) in found:
            continue
        if seen[1] not in "ZX":
            found.add((pid, seen[2]))
        below += [(child, pid) for child in children_of(pid)]
    return found


def end_all(find: Callable[[], Found], seconds: float) -> bool:
    """Kill all that is found; True where nothing was. It goes on stopping what is new for so long, and then kills.

    What cannot be signalled is found again and again; how often to try is for the caller to say.
    """
    until = time.monotonic() + seconds
    stopped: Found = set()
    while True:
        found = find()
        new = found - stopped
        if not new or time.monotonic() > until:
            break
        for pid, start in new:
            signal_exactly(pid, start, SIGSTOP)
        stopped |= new
    for pid, start in found:
        signal_exactly(pid, start, SIGKILL)
    return not found


def sweep(mark: Mark, *, whole_run: bool = False, seconds: float = 0.02) -> bool:
    """Kill every process that carries the mark, wherever it is; True where none was found.

    Where the system shows no processes (no /proc), none is found.
    """
    return end_all(lambda: marked(mark, whole_run=whole_run), seconds)


def marked(mark: Mark, *, whole_run: bool = False) -> Found:
    """The living processes that carry the mark."""
    found: Found = set()
    for pid in all_processes():
        seen = look_at(pid)
        if pid != os.getpid() and seen is not None and seen[1] not in "ZX" and mark.is_on(pid, whole_run=whole_run):
            found.add((pid, seen[2]))
    return found


def all_processes() -> list[int]:
    """The ids of all processes that can be seen."""
    try:
        return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    except OSError:
        return []


def environment_of(pid: int) -> list[bytes]:
    """The variables that a process began with; none where they are not to be seen."""
    try:
        return slurp(f"/proc/{pid}/environ").split(b"\0")
    except OSError:
        return []


def slurp(path: str) -> bytes:
    """All of a file of the kernel's."""
    fd = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)
