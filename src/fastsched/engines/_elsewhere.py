"""What `_linux.pyx` does, as far as it can be done on other systems, with the standard library alone.

There is no mark, no namespace and no look at other processes: what leaves the process group of its command is not
found. The signatures and contracts are those of `_linux.pyi`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Container

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
