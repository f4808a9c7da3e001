"""See _linux.pyx; `_elsewhere.py` has the same names for other systems."""

from collections.abc import Callable, Container
from typing import Any

HAS_FAST_LANE: bool
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

class FastLane:
    """The socket of an agent, and its attempts from start to end as long as nothing is out of the ordinary.

    It holds what is to be started after another attempt, and gives it back where that takes long. As long as something
    follows in the place of what has ended, it waits a moment for other ends, to tell them together.

    Args:
        channel: the socket, non-blocking. signals: of `watch_signals`. children: lists the children of this process, or
            -1. leaders, orphans: process ids of the caller's children, kept by him.
        find: where a program may be, as `spawn` takes it. name_variables: the environment of commands that have so many
            cores and so much memory. shell_words, shell_syntax: see `commands.split_plain`.
        mark_prefix, mark: to which the key of an attempt is added. n_files: as of `spawn`.
        cap: bytes of output; what is larger is for the caller.
        outlet_prefix: the names of files begin with it into which commands write that have not written anything yet;
            `.KEY.out` and `.KEY.err` follow.
    """

    closed: bool  # nothing more is started
    asked_to_go: bool  # SIGTERM has come; to be reset by the caller

    def __init__(
        self,
        channel: int,
        signals: int,
        children: int,
        leaders: dict[int, Any],
        orphans: dict[int, Any],
        *,
        find: Callable[[bytes], bytes],
        name_variables: Callable[[float, int], list[bytes]],
        shell_words: frozenset[bytes],
        shell_syntax: str,
        mark_prefix: bytes,
        mark: int,
        n_files: int,
        cap: int,
        outlet_prefix: str,
    ) -> None: ...
    @property
    def heard(self) -> float:
        """When something came last, by the monotonic clock."""
    @property
    def hung_up(self) -> bool:
        """Whether there is nobody at the other end, and `hang_up` is to be called."""

    def wait(self, until: float) -> tuple[list[bytes], list[tuple[int, int, float, int]]]:
        """Do what comes, until then or until something is for the caller: frames, and children that have ended.

        It also returns when an attempt is so old that it is to be looked after. The children are told of as `reap`
        does; those that it has started itself are to be adopted first.
        """

    def say(self, frame: bytes) -> None:
        """Send a frame, as soon as there is room for it."""

    def adopt(self, age: float) -> list[tuple[int, int, float, str | None, str | None, float, float, int]]:
        """The attempts that are as old, in seconds, and are the caller's from now on.

        Key, process id, when it began, stdout, stderr, and what `wire.pack_start` says of its limits.
        """

    def note_start(self, key: int) -> None:
        """The caller is to start an attempt; others may be held until after it."""

    def note_end(self, key: int) -> None:
        """An attempt of the caller's is over: start what is held until then. Its end is to be said before `wait`."""

    def give_back(self, key: int) -> bool:
        """Say of an attempt, and of what is to follow it, that it is not going to be started; False: it is not held."""

    def recall(self) -> None:
        """Give back all that is held."""

    def has_input(self) -> bool:
        """Whether something has come that is not read."""

    def hang_up(self) -> None:
        """Close the socket."""

    def close(self) -> None:
        """Send what is not sent, and take away files without a name."""

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
