"""A command on its way to being a process: which program, which variables. It watches nothing.

A string without shell syntax is executed directly, which saves the shell's 0.3 ms; everything else is the shell's. That
is decided by the text alone, so that a command means the same either way; whether there is such a program is found
out when it is executed, for an earlier command may have put it there.
"""

from __future__ import annotations

import os
import stat
import sys

from .system import Variables, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import Order

__all__ = ["SHELL_SYNTAX", "SHELL_WORDS", "Launcher", "split_plain", "why_not"]

SHELL = "/bin/sh"
FROM_PIPE = 'exec "$@" <"$0"'  # it is opened by the command itself then, for the agent must not wait
ENCODING, ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
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
# What libraries of numbers read to know how many threads to start; each would start one for every core of the machine.
THREADS = tuple(
    f"{name}_THREADS".encode()
    for name in (
        "OMP_NUM",
        "OPENBLAS_NUM",
        "MKL_NUM",
        "BLIS_NUM",
        "NUMEXPR_NUM",
        "VECLIB_MAXIMUM",
        "NUMBA_NUM",
        "JULIA_NUM",
        "RAYON_NUM",
        "POLARS_MAX",
    )
)
TOLD = (b"FASTSCHED_TASK_ID", b"FASTSCHED_ATTEMPT", b"FASTSCHED_WORKER", b"FASTSCHED_CPUS", b"FASTSCHED_MEMORY_MB")
ROOM = len(THREADS) + len(TOLD) + 2  # variables that every command is given, its mark and PWD
MOST_NAMED = 300  # characters of a name in a message
MANY = 1000  # of what is kept to be used again


class Launcher:
    """Starts commands with an environment, of which most is the same for all of them.

    Args:
        environment: what all commands are given, `NAME=value` each.
        worker_id: of the worker that they run on.
        mark_name: of the variable that tells whose they are; `mark_value` begins its value.
        n_files: their limit of descriptors, where it is not this process's own.
    """

    def __init__(
        self, environment: list[bytes], worker_id: str, mark_name: str, mark_value: str, n_files: int = 0
    ) -> None:
        self.mark = f"{mark_name}={mark_value}.".encode()
        self.worker = os.fsencode(f"FASTSCHED_WORKER={worker_id}")
        self.n_files = n_files
        given = {*THREADS, *TOLD, os.fsencode(mark_name), b"PWD"}
        self.base = [variable for variable in environment if variable.split(b"=", 1)[0] not in given]
        self.pwd = [variable for variable in environment if variable.startswith(b"PWD=")]
        self.variables = Variables(self.base, ROOM)
        self.path = path_of(self.base)
        self._candidates: dict[str, bytes] = {}  # of programs that were asked for, on the path of the environment
        self._amounts: dict[tuple[float, int], list[bytes]] = {}  # variables that say how much a command has

    def launch(self, order: Order, mark: int, procs: int) -> int:
        """Start a command, with the mark and in the cgroup, where there are such; its process id.

        Raises:
            OSError, ValueError: where that cannot be done; `why_not` says it in words.
        """
        _, key, command, task_id, attempt, cpu_cores, memory_mb, stdout, stderr, stdin, cwd, env, _, _, _ = order
        if isinstance(command, str):
            argv, shell = split_plain(command), command
        else:
            argv, shell = command, None
        if stdin is not None and is_pipe(stdin):
            argv = [SHELL, "-c", FROM_PIPE, os.path.abspath(stdin), *(argv or [SHELL, "-c", shell or ""])]
            shell = stdin = None
        more = [
            b"FASTSCHED_TASK_ID=" + task_id.encode(ENCODING, ERRORS),
            b"FASTSCHED_ATTEMPT=%d" % attempt,
            self.mark + b"%d" % key,
        ]
        more += self._amounts.get((cpu_cores, memory_mb)) or self._name_amounts(cpu_cores, memory_mb)
        if self.pwd:  # as a shell would say it to its commands
            more += [os.fsencode(f"PWD={os.path.abspath(cwd)}")] if cwd else self.pwd
        variables, path = self.variables, self.path
        if env:
            merged = self._merge(more, env)
            variables, path, more = Variables(merged), path_of(merged), []
        candidates = b""
        if argv:
            known = self._candidates.get(argv[0]) if path is self.path else None
            candidates = known or self._name_candidates(argv[0], path)
        return spawn(candidates, argv, variables, more, shell, cwd, stdin, stdout, stderr, mark, procs, self.n_files)[0]

    def find(self, program: bytes) -> bytes:
        """Where a program may be, as `spawn` takes it."""
        return self._name_candidates(os.fsdecode(program), self.path)

    def variables_of(self, cpu_cores: float, memory_mb: int) -> list[bytes]:
        """All variables of commands that have so much, but those that tell them apart."""
        return [*self.base, *self._name_amounts(cpu_cores, memory_mb), *self.pwd]

    def _name_amounts(self, cpu_cores: float, memory_mb: int) -> list[bytes]:
        """What tells a command on which worker it is, and how much it has of it."""
        threads = b"=%d" % max(1, int(cpu_cores))
        variables = [
            self.worker,
            b"FASTSCHED_CPUS=%b" % f"{cpu_cores:g}".encode(),
            b"FASTSCHED_MEMORY_MB=%d" % memory_mb,
        ]
        variables += [name + threads for name in THREADS]
        if len(self._amounts) > MANY:
            self._amounts.clear()
        self._amounts[cpu_cores, memory_mb] = variables
        return variables

    def _name_candidates(self, program: str, path: bytes) -> bytes:
        """Where a program may be, as `spawn` takes it."""
        name = os.fsencode(program)
        folders = [b""] if b"/" in name else path.split(b":")
        candidates = b"".join(os.path.join(folder, name) + b"\0" for folder in folders) if name else b""
        if path is self.path:
            if len(self._candidates) > MANY:
                self._candidates.clear()
            self._candidates[program] = candidates
        return candidates

    def _merge(self, more: list[bytes], env: dict[str, str]) -> list[bytes]:
        """All variables of a command that brings its own: these win, save over what tells it who it is."""
        variables = dict(variable.partition(b"=")[::2] for variable in [*self.base, *more])
        added = {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
        variables.update((name, value) for name, value in added.items() if name not in TOLD)
        return [name + b"=" + value for name, value in variables.items()]


def split_plain(command: str) -> list[str]:
    """The words of a command that means the same without a shell; none where it might not.

    Only printable ASCII between single spaces: what else parts words, and how, differs from shell to shell.
    """
    words = command.split(" ")
    plain = command.isascii() and command.isprintable() and "" not in words and SHELL_SYNTAX.isdisjoint(command)
    return words if plain and words[0] not in SHELL_WORDS else []


def is_pipe(path: str) -> bool:
    """Whether this is a named pipe, which keeps whoever opens it waiting for its other end."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False  # that it cannot be opened is said when that is tried


def path_of(environment: list[bytes]) -> bytes:
    """Where programs are looked for."""
    for variable in environment:
        if variable.startswith(b"PATH="):
            return variable[5:]
    return os.fsencode(os.defpath)


def why_not(order: Order, error: OSError | ValueError) -> str:
    """Why a command could not be started, for a person."""
    command, stdin, cwd = order[2], order[9], order[10]
    program = command[0] if isinstance(command, list) else command.split(" ", 1)[0]
    why = str(error)
    if isinstance(error, OSError) and error.strerror is not None:
        why = error.strerror
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) and error.filename in (stdin, cwd):
            why = f"there is no {'file' if error.filename == stdin else 'folder'} {error.filename!r}"
        elif error.filename not in (None, program, SHELL):
            why = f"{why}: {shortened(error.filename)!r}"
    return f"cannot start {shortened(program)!r}: {why}"


def shortened(name: str) -> str:
    """The beginning of a name that may be very long."""
    return name if len(name) <= MOST_NAMED else name[:MOST_NAMED] + "..."
