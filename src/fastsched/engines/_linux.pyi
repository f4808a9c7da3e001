"""See _linux.pyx; `_elsewhere.py` has the same names for other systems."""

from collections.abc import Container

SIGCONT: int
SIGKILL: int
SIGSTOP: int
SIGTERM: int

class Variables:
    """An environment as C has it, `NAME=value` each: made once, and used many times."""

    def __init__(self, variables: list[bytes], room: int = 0) -> None:
        """`room`: for so many more, see `spawn`. Raises ValueError for a zero in a variable."""

def spawn(
    candidates: bytes,
    argv: list[str],
    variables: Variables,
    more: list[bytes],
    shell: str | None = None,
    cwd: str | None = None,
    stdin: str | None = None,
    stdout: str | None = None,
    stderr: str | None = None,
    mark: int = 0,
    procs: int = -1,
    n_files: int = 0,
    *,
    keep_stderr: bool = False,
    channel: int = -1,
    spaces: str = "",
    first_pid: bytes = b"1",
) -> tuple[int, int]:
    """Execute a program as the leader of a new session; its process id, and a handle where a channel is given, or -1.

    `candidates` are the paths to try, each ended by a zero; where none can be executed, or `argv` is empty, `shell` is
    a line for /bin/sh. With neither, nothing is executed, and the child ends with 0. `variables` has room for `more`.
    Files are looked for in the caller's folder, and programs of a relative path in `cwd`.
    Outputs are new files that are appended to; without a file, stdin and stdout are the caller's, and stderr is its
    stdin, unless `keep_stderr`. `procs` is the open cgroup.procs of a cgroup, `n_files` a soft limit of descriptors.
    With `channel`, that descriptor is inherited, and no other. `spaces` is "own" or "user": the child is the first in
    new namespaces of process ids and mounts, "user" by a user namespace with the caller's ids; process ids there begin
    about after `first_pid`.

    Raises:
        OSError: with the path that it is about; without one where no process can be made. ValueError: a zero in a path.
    """

def reap(leaders: Container[int]) -> list[tuple[int, int, float, int]]:
    """Take the children that have ended: process id, wait status, seconds of processor time, peak KiB.

    What is left in the groups of those among `leaders` is killed before.
    """

def watch_signals() -> int:
    """A descriptor that can be read when SIGCHLD, SIGTERM or SIGINT has come; they do nothing else any more."""

def read_signals(fd: int) -> list[int]:
    """The signals that have come, each once."""

def look_at(pid: int) -> tuple[int, str, int] | None:
    """Parent, state and time of its beginning, which with the id tells it from any other; None: it is not there."""

def signal_exactly(pid: int, start: int, number: int) -> bool:
    """Send a signal to the process of this id that began then, and never to another; whether that was done."""

def send_signal(pidfd: int, number: int) -> bool:
    """Send a signal by a handle; whether that was done."""

def mark_of(pid: int) -> int:
    """The mark of a process; something beyond 2**63 where it has none, 0 where it is not to be seen."""

def adopt_orphans() -> None:
    """Have descendants that lose their parents become children of this process."""

def punch(fd: int, offset: int, length: int) -> None:
    """Give back the room of a part of a file, which is zeros from then on. Raises OSError where that cannot be done."""
