"""How much memory the processes of an attempt take, and who sees to a limit: the kernel or a watchdog.

Where a cgroup of version 2 with the memory controller is ours to divide, the kernel does: one cgroup for each attempt
that has a limit. Elsewhere an agent looks every `TICK_S`. What processes share is counted for each of them by RSS,
which costs little to read, so where the sum is over the limit, PSS decides, which costs more and counts parts.
"""

from __future__ import annotations

import os

from .processes import slurp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "TICK_S",
    "Cgroup",
    "divide",
    "find_cgroup",
    "kernel_kills",
    "own_peak_kib",
    "resident_kib",
    "shared_out_kib",
]

TICK_S = 0.1
NO_V2 = "there is no cgroup of version 2"


def resident_kib(pids: Iterable[int]) -> int:
    """The sum of what is resident of each; what they share is counted for each of them."""
    total = 0
    for pid in pids:
        try:
            total += int(slurp(f"/proc/{pid}/statm").split(b" ", 2)[1])
        except (OSError, IndexError):
            pass  # it has ended
    return total * os.sysconf("SC_PAGE_SIZE") // 1024


def shared_out_kib(pids: Iterable[int]) -> int:
    """The sum of what is resident of each; of what is shared by n processes, each is charged a part of n."""
    total = 0
    for pid in pids:
        # Of another user, or of a kernel before 4.14, it is not to be seen.
        total += number_after(b"Pss:", f"/proc/{pid}/smaps_rollup") or resident_kib([pid])
    return total


def own_peak_kib() -> int:
    """The most that this process has taken."""
    return number_after(b"VmHWM:", "/proc/self/status")


def kernel_kills() -> int:
    """How many processes the kernel has killed on this machine for want of memory."""
    return number_after(b"oom_kill", "/proc/vmstat")


def number_after(word: bytes, path: str) -> int:
    """The number in the line that begins with a word; 0 where there is none."""
    try:
        for line in slurp(path).splitlines():
            if line.startswith(word):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


class Cgroup:
    """The cgroup of one attempt, whose memory is limited. Made when it is.

    Args:
        path: of its folder, to be made in one that `divide` has prepared. limit_mb: what it may hold.

    Raises:
        OSError: where the kernel does not let us.
    """

    def __init__(self, path: str, limit_mb: int) -> None:
        self.path, self.limit_mb = path, limit_mb
        os.mkdir(path)
        try:
            put(f"{path}/memory.max", str(limit_mb << 20))
            for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
                if os.path.exists(f"{path}/{name}"):  # not every kernel has it
                    put(f"{path}/{name}", value)
            self.procs = os.open(f"{path}/cgroup.procs", os.O_WRONLY)
        except OSError:
            os.rmdir(path)
            raise

    def was_full(self) -> bool:
        """Whether the kernel has killed something in it for want of room."""
        events = dict(line.split() for line in self._read("memory.events").splitlines())
        return int(events.get(b"oom_kill", 0)) > 0

    def peak_kib(self) -> int:
        """The most that was ever in it; 0: that is not counted."""
        return int(self._read("memory.peak") or 0) // 1024

    def kill(self) -> None:
        """Kill everything in it."""
        try:
            put(f"{self.path}/cgroup.kill", "1")
        except OSError:
            pass  # before Linux 5.14; it is killed as elsewhere

    def shut(self) -> None:
        """Nothing more goes into it."""
        if self.procs >= 0:
            os.close(self.procs)
            self.procs = -1

    def remove(self) -> bool:
        """Take it away; False where there is still something in it."""
        self.shut()
        try:
            os.rmdir(self.path)
        except OSError:
            return False
        return True

    def _read(self, name: str) -> bytes:
        try:
            return slurp(f"{self.path}/{name}")
        except OSError:
            return b""


def find_cgroup(proc: str = "/proc/self") -> tuple[str, str]:
    """The folder of this process's cgroup, which can be divided, and ""; or what it is, and why it cannot be.

    It can be where its memory is controlled, we may write, and nobody else is in it: the kernel wants no processes
    beside divisions, and those of others are not ours to move.
    """
    try:
        own = [line[3:] for line in slurp(f"{proc}/cgroup").decode().splitlines() if line.startswith("0::")]
        mounts = [line.split() for line in slurp(f"{proc}/mountinfo").decode().splitlines()]
    except OSError:
        return "", NO_V2
    places = [(words[3], words[4]) for words in mounts if "cgroup2" in words[words.index("-") :][:2]]
    if not own or not places:
        return "", NO_V2
    root, mounted = places[0]
    folder = os.path.normpath(f"{mounted}/{os.path.relpath(own[0], root)}")
    try:
        if b"memory" not in slurp(f"{folder}/cgroup.controllers").split():
            return folder, "memory is not among the controllers of its cgroup"
        inside = [int(pid) for pid in slurp(f"{folder}/cgroup.procs").split()]
        divided = b"memory" in slurp(f"{folder}/cgroup.subtree_control").split()
    except OSError as error:
        return folder, f"its cgroup cannot be read: {error.strerror}"
    if not all(os.access(f"{folder}/{name}", os.W_OK) for name in ("", "cgroup.procs", "cgroup.subtree_control")):
        return folder, "its cgroup is not delegated to this user"
    if not divided and inside != [os.getpid()]:
        return folder, "other processes are in its cgroup; `systemd-run --user --scope -p Delegate=yes` gives it one"
    return folder, ""


def divide(folder: str, run: str) -> str:
    """Prepare a cgroup for those of the attempts of a run; its folder. This process moves to one beside it.

    Raises:
        OSError: where the kernel does not let us after all.
    """
    if b"memory" not in slurp(f"{folder}/cgroup.subtree_control").split():
        beside = f"{folder}/fastsched-scheduler"
        os.makedirs(beside, exist_ok=True)
        put(f"{beside}/cgroup.procs", str(os.getpid()))
        put(f"{folder}/cgroup.subtree_control", "+memory")
    ours = f"{folder}/fastsched-{run}"
    os.makedirs(ours, exist_ok=True)
    put(f"{ours}/cgroup.subtree_control", "+memory")
    return ours


def put(path: str, text: str) -> None:
    """Write to a file of the kernel's."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
