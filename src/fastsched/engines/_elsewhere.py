"""What `_linux.pyx` does, as far as it can be done on other systems, with the standard library alone.

There is no mark, no namespace and no look at other processes: what leaves the process group of its command is not
found. The signatures and contracts are those of `_linux.pyi`.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Container
from typing import Any

HAS_FAST_LANE = False
# On Windows, where planning works and nothing is run, there are none.
SIGCONT, SIGKILL, SIGSTOP, SIGTERM = (
    int(getattr(signal, name, 0)) for name in ("SIGCONT", "SIGKILL", "SIGSTOP", "SIGTERM")
)


class Variables:
    """An environment, as `spawn` takes it."""

    def __init__(self, variables: list[bytes], room: int = 0) -> None:
        self.variables = variables


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
    """Execute a program as the leader of a new session."""
    paths = [os.fsdecode(path) for path in candidates.split(b"\0")[:-1]]
    programs = [(path, argv) for path in paths if os.access(os.path.join(cwd or "", path), os.X_OK)]
    programs += [] if shell is None else [("/bin/sh", ["/bin/sh", "-c", shell])]
    environment = dict(variable.split(b"=", 1) for variable in [*variables.variables, *more])
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    opened: list[int | None] = []
    error: OSError = FileNotFoundError(2, os.strerror(2), argv[0] if argv else "")
    try:
        for file, how in ((stdin, os.O_RDONLY), (stdout, flags), (stderr, flags)):
            opened.append(None if file is None else os.open(file, how, 0o666))
        if cwd is not None:
            os.stat(cwd)
        files = [subprocess.DEVNULL if fd is None else fd for fd in opened]
        for program, words in programs:
            try:
                process = subprocess.Popen(
                    words,
                    executable=program,
                    env=environment,
                    cwd=cwd,
                    stdin=files[0],
                    stdout=files[1],
                    stderr=None if keep_stderr else files[2],
                    start_new_session=True,
                    pass_fds=[channel] if channel >= 0 else [],
                )
            except OSError as refused:
                error = refused
                continue
            process.returncode = 0  # it is waited for here, and not by that object
            return process.pid, -1
        raise error
    finally:
        for fd in opened:
            if fd is not None:
                os.close(fd)


class FastLane:
    """Reads, writes and waits; what is to be started is all for the caller."""

    def __init__(
        self,
        channel: int,
        signals: int,
        children: int,
        leaders: dict[int, Any],
        orphans: dict[int, Any],
        **rest: Any,
    ) -> None:
        self._channel, self._signals, self._leaders = channel, signals, leaders
        self._inbox = self._outbox = b""
        self.closed = self.asked_to_go = self.hung_up = False
        self.heard = time.monotonic()

    def wait(self, until: float) -> tuple[list[bytes], list[tuple[int, int, float, int]]]:
        """Wait until then, or until something has come."""
        self._flush()
        bodies: list[bytes] = []
        ended: list[tuple[int, int, float, int]] = []
        while not (bodies or ended or self.asked_to_go or self.hung_up):
            poller = select.poll()
            poller.register(self._signals, select.POLLIN)
            if self._channel >= 0:
                poller.register(self._channel, select.POLLIN | (select.POLLOUT if self._outbox else 0))
            ready = dict(poller.poll(min(max(0, int((until - time.monotonic()) * 1000) + 1), 1_000_000)))
            if self._signals in ready:
                self.asked_to_go = SIGTERM in read_signals(self._signals)
                ended = reap(self._leaders)
            if ready.get(self._channel, 0) & ~select.POLLOUT:
                bodies = self._read()
            self._flush()
            if time.monotonic() >= until:
                break
        return bodies, ended

    def say(self, frame: bytes) -> None:
        """Send a frame."""
        self._outbox += frame
        self._flush()

    def adopt(self, age: float) -> list[tuple[int, int, float, str | None, str | None, float, float, int]]:
        """There are none."""
        return []

    def note_start(self, key: int) -> None:
        """Nothing is held here."""

    def note_end(self, key: int) -> None:
        """Nothing is held here."""

    def give_back(self, key: int) -> bool:
        """Nothing is held here."""
        return False

    def recall(self) -> None:
        """Nothing is held here."""

    def has_input(self) -> bool:
        """Whether something has come that is not read."""
        return self._channel >= 0 and bool(select.select([self._channel], [], [], 0)[0])

    def hang_up(self) -> None:
        """Close the socket."""
        os.close(self._channel)
        self._channel, self._outbox, self.hung_up = -1, b"", False

    def close(self) -> None:
        """Send what is not sent."""
        if self._channel >= 0:
            os.set_blocking(self._channel, True)
            self._flush()

    def _flush(self) -> None:
        if self._channel < 0:
            self._outbox = b""
        if self._outbox:
            try:
                self._outbox = self._outbox[os.write(self._channel, self._outbox) :]
            except BlockingIOError:
                pass
            except OSError:
                self.hung_up = True

    def _read(self) -> list[bytes]:
        try:
            data = os.read(self._channel, 1 << 14)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        self.hung_up = not data
        self.heard = time.monotonic()
        self._inbox += data
        bodies = []
        while len(self._inbox) >= 4 and len(self._inbox) >= (end := 4 + int.from_bytes(self._inbox[:4], "little")):
            bodies.append(self._inbox[4:end])
            self._inbox = self._inbox[end:]
        return bodies


def reap(leaders: Container[int]) -> list[tuple[int, int, float, int]]:
    """Take the children that have ended, and end what is left in their groups."""
    ended: list[tuple[int, int, float, int]] = []
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        try:
            if pid in leaders:
                os.killpg(pid, signal.SIGKILL)
        except OSError:
            pass
        peak_kib = usage.ru_maxrss // 1024 if sys.platform == "darwin" else usage.ru_maxrss
        ended.append((pid, status, usage.ru_utime + usage.ru_stime, peak_kib))


def watch_signals() -> int:
    """A descriptor that can be read when one of these signals has come."""
    read_end, write_end = os.pipe()
    for fd in (read_end, write_end):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return read_end


def read_signals(fd: int) -> list[int]:
    """The signals that have come."""
    try:
        return list(os.read(fd, 4096))
    except BlockingIOError:
        return []


def look_at(pid: int) -> tuple[int, str, int] | None:
    """Nothing is seen."""
    return None


def signal_exactly(pid: int, start: int, number: int) -> bool:
    """Nobody is known that exactly."""
    return False


def send_signal(pidfd: int, number: int) -> bool:
    """There are no handles."""
    return False


def mark_of(pid: int) -> int:
    """There are no marks."""
    return 0


def adopt_orphans() -> None:
    """They go to the first process."""


def punch(fd: int, offset: int, length: int) -> None:
    """Files are cut short instead."""
    raise OSError("there is no way to do this here")
