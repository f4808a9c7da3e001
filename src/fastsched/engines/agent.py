"""The agent: runs commands on one host, watches them, ends them, reports. It knows no graph.

It is started by its path as a process of its own, one for each worker, and imports nothing
but the standard library, so that it is up in a moment. Lines of JSON go both ways over one
socket. To the agent: `["start", key, command, stdin, stdout, stderr, environment, cwd,
timeout_seconds, grace_seconds]`, `["end", key, grace_seconds]` and `["stop", grace_seconds]`. From
it: `["up"]`, `["beat"]`, `["ended", key, wait_status, seconds of processor time, peak KiB, whether it took
too long]` and `["refused", key, message]` for a command that could not be
started. `key` is whatever the scheduler chose to name the attempt.

Every command is the leader of a session of its own. When it ends, what is left of its group
is killed, before its process id is given back. What has left the group is found by an
environment variable that all commands of this agent carry. When the socket closes, the
scheduler is gone, and everything is stopped.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence

MARK = "FASTSCHED_MARK_"  # begins the name of a variable that every command of this agent, and only those, have
SHELL = "/bin/sh"
# With none of these in it, and none of the words below in front, a command means the same without a shell.
SHELL_SYNTAX = frozenset("|&;<>()$`\\\"'*?[]#~=%!{}^")
# What sh (POSIX, dash, bash, ksh, busybox) does itself, though there may be a program of that name that differs.
SHELL_WORDS = frozenset(
    """
    . : alias bg bind break builtin caller case cd chdir command compgen complete compopt continue coproc declare dirs
    disown do done echo elif else enable esac eval exec exit export false fc fg fi for function getopts hash help
    history if in jobs kill let local logout mapfile namespace newgrp popd print printf pushd pwd read readarray
    readonly return select set shift shopt source suspend test then time times trap true type typeset ulimit umask
    unalias unset until wait whence while
    """.split()  # noqa: SIM905
)
ORPHAN_GRACE_S = 2.0  # between asking and killing, when the scheduler is gone
SWEEPS = 50
FOREVER = float("inf")


class Agent:
    """One loop over one socket and the children of this process."""

    def __init__(self, channel: socket.socket, mark: str, heartbeat_s: float) -> None:
        self.channel = channel
        self.mark = mark
        self.heartbeat_s = heartbeat_s
        self.keys: dict[int, object] = {}  # process id of a command -> its key
        self.limits: dict[int, tuple[float, float]] = {}  # ... -> when it has taken too long, and the grace then
        self.ending: dict[int, float] = {}  # ... that was asked to end -> when it is killed
        self.late: set[int] = set()  # those that took too long
        self.inbox = b""
        self.outbox = bytearray()
        self.stopping = False
        self.kill_at = float("inf")
        self.next_beat = 0.0
        channel.setblocking(False)
        wake_read, self.wake_write = socket.socketpair()
        self.wake_read = wake_read
        for end in (wake_read, self.wake_write):
            end.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(wake_read, selectors.EVENT_READ)
        self.selector.register(channel, selectors.EVENT_READ)

    def run(self) -> None:
        """Work until told to stop and the last command has ended, or until the scheduler is gone."""
        signal.set_wakeup_fd(self.wake_write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.stop(ORPHAN_GRACE_S))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.say("up")
        while not (self.stopping and not self.keys):
            now = time.monotonic()
            if now >= self.next_beat:
                self.say("beat")
                self.next_beat = now + self.heartbeat_s
            if now >= self.kill_at:
                self.signal_groups(signal.SIGKILL)
                self.kill_at = now + 1.0
            self.flush()
            due = min(self.next_beat, self.kill_at, self.enforce(now))
            for ready, _ in self.selector.select(max(0.0, due - now)):
                if ready.fileobj is self.wake_read:
                    with contextlib.suppress(BlockingIOError):
                        self.wake_read.recv(4096)
                else:
                    self.receive()
            self.reap()
        sweep(self.mark)
        self.channel.setblocking(True)
        self.flush()

    def receive(self) -> None:
        """Read what has come, and do it."""
        try:
            data = self.channel.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(self.channel)
            self.outbox.clear()
            self.stop(ORPHAN_GRACE_S)
            return
        *lines, self.inbox = (self.inbox + data).split(b"\n")
        for line in lines:
            what, *rest = json.loads(line)
            if what == "start":
                self.start(*rest)
            elif what == "end":
                key, grace_s = rest
                for pid in [pid for pid, known in self.keys.items() if known == key]:
                    self.end(pid, time.monotonic(), grace_s)
            else:
                self.stop(*rest)

    def enforce(self, now: float) -> float:
        """End what has taken too long, kill what has not ended when it was asked to; answers when to look again."""
        for pid, (limit, grace_s) in list(self.limits.items()):
            if now >= limit:
                self.late.add(pid)
                self.end(pid, now, grace_s)
        for pid, kill_at in self.ending.items():
            if now >= kill_at:
                signal_group(pid, signal.SIGKILL)
                self.ending[pid] = now + 1.0
        return min([*(limit for limit, _ in self.limits.values()), *self.ending.values()], default=FOREVER)

    def end(self, pid: int, now: float, grace_s: float) -> None:
        """Ask a command to end; it is killed when it has not after the grace."""
        self.limits.pop(pid, None)
        signal_group(pid, signal.SIGTERM)
        signal_group(pid, signal.SIGCONT)
        self.ending[pid] = min(self.ending.get(pid, FOREVER), now + grace_s)

    def start(
        self,
        key: object,
        command: str | list[str],
        stdin: str,
        stdout: str,
        stderr: str,
        extra: dict[str, str],
        cwd: str | None,
        timeout_s: float | None,
        grace_s: float,
    ) -> None:
        """Start a command, or say why that cannot be done."""
        if self.stopping:
            return
        environment = {**os.environ, **extra, MARK + self.mark: "1"}
        files = [
            (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666),
            (os.POSIX_SPAWN_OPEN, 2, stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666),
        ]
        program, argv = self.resolve(command, environment.get("PATH", os.defpath))
        name = argv[0]
        try:
            if not os.path.isfile(stdin) and stdin != os.devnull:
                raise FileNotFoundError(errno.ENOENT, f"there is no file {stdin!r} to read")
            if cwd is not None:
                if not os.path.isdir(cwd):
                    raise NotADirectoryError(errno.ENOTDIR, f"there is no folder {cwd!r} to run in")
                environment["PWD"] = os.path.abspath(cwd)
                program, argv = SHELL, [SHELL, "-c", 'cd -- "$1" && shift && exec "$@"', SHELL, cwd, program, *argv[1:]]
            try:
                pid = spawn(program, argv, environment, files)
            except OSError:
                # A string that is no program by itself may still mean something to a shell.
                if isinstance(command, list) or program == SHELL:
                    raise
                pid = spawn(SHELL, [SHELL, "-c", command], environment, files)
        except (OSError, ValueError) as error:
            self.say("refused", key, f"cannot start {name!r}: {getattr(error, 'strerror', None) or error}")
            return
        self.keys[pid] = key
        if timeout_s is not None:
            self.limits[pid] = (time.monotonic() + timeout_s, grace_s)

    def resolve(self, command: str | list[str], path: str) -> tuple[str, list[str]]:
        """The program to execute and its arguments; a shell only where the command needs one."""
        if isinstance(command, list):
            return shutil.which(command[0], path=path) or command[0], command
        words = split_plain(command)
        # Looked for every time: an earlier command may have put a program there.
        program = shutil.which(words[0], path=path) if words else None
        return (program, words) if program else (SHELL, [SHELL, "-c", command])

    def reap(self) -> None:
        """Report every command that has ended, and end what it left behind in its group."""
        while self.keys:
            if hasattr(os, "waitid"):
                # Look first: as long as the leader is not reaped, its group's number is not given to others.
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None:
                    return
                signal_group(ended.si_pid, signal.SIGKILL)
                pid, status, usage = os.wait4(ended.si_pid, 0)
            else:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return
                signal_group(pid, signal.SIGKILL)
            peak_kib = usage.ru_maxrss // 1024 if sys.platform == "darwin" else usage.ru_maxrss
            if pid in self.keys:
                self.limits.pop(pid, None)
                self.ending.pop(pid, None)
                cpu_s = usage.ru_utime + usage.ru_stime
                self.say("ended", self.keys.pop(pid), status, cpu_s, peak_kib, pid in self.late)
                self.late.discard(pid)

    def stop(self, grace_s: float) -> None:
        """Ask every command to end; what has not after the grace is killed."""
        self.stopping = True
        self.signal_groups(signal.SIGTERM if grace_s > 0 else signal.SIGKILL)
        self.kill_at = min(self.kill_at, time.monotonic() + grace_s)

    def signal_groups(self, number: int) -> None:
        """Send a signal to the group of every command that is running."""
        for pid in self.keys:
            signal_group(pid, number)
            if number == signal.SIGTERM:
                signal_group(pid, signal.SIGCONT)  # a stopped command cannot hear that it should end

    def say(self, *message: object) -> None:
        """Put a message in the outbox."""
        self.outbox += json.dumps(message).encode() + b"\n"

    def flush(self) -> None:
        """Send what fits; ask to be woken for the rest. The agent never waits for its scheduler."""
        try:
            while self.outbox:
                del self.outbox[: self.channel.send(self.outbox)]
        except BlockingIOError:
            pass
        except OSError:
            self.outbox.clear()
        if self.channel in self.selector.get_map():
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.outbox else 0)
            self.selector.modify(self.channel, wanted)


def split_plain(command: str) -> list[str]:
    """The words of a command that means the same without a shell; none where it might not.

    Only printable ASCII between single spaces: what else parts words, and how, differs from shell to shell.
    """
    words = command.split(" ")
    plain = command.isascii() and command.isprintable() and all(words) and SHELL_SYNTAX.isdisjoint(command)
    return words if plain and words[0] not in SHELL_WORDS else []


def spawn(program: str, argv: list[str], environment: dict[str, str], files: Sequence[tuple[object, ...]]) -> int:
    """Execute a program as the leader of a new session, with the signals that Python ignores as they should be."""
    return os.posix_spawn(
        program,
        argv,
        environment,
        file_actions=files,
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT],
    )


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, if there is still anybody in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def sweep(mark: str) -> int:
    """Kill every process that carries the mark in its environment, until none is found; answers how many.

    Where the system shows no environments (no /proc), nothing is found. A process that wiped its
    environment is not found either.
    """
    wanted = f"{MARK}{mark}=1".encode()
    killed = 0
    for _ in range(SWEEPS):
        found = 0
        for entry in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
            if entry.isdigit() and int(entry) != os.getpid():
                found += kill_if_marked(int(entry), wanted)
        killed += found
        if not found:
            break
        time.sleep(0.005)  # what was killed takes a moment to go
    return killed


def kill_if_marked(pid: int, wanted: bytes) -> bool:
    """Kill the process if it carries the mark; by a handle, so that its number cannot change hands meanwhile."""
    try:
        handle = os.pidfd_open(pid)
    except (OSError, AttributeError):
        return False
    try:
        with open(f"/proc/{pid}/environ", "rb") as environment:
            if wanted not in environment.read().split(b"\0"):
                return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def main() -> None:
    """`agent.py FD MARK HEARTBEAT_SECONDS`: serve the socket that was inherited as FD."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    Agent(channel, sys.argv[2], float(sys.argv[3])).run()


if __name__ == "__main__":
    main()
