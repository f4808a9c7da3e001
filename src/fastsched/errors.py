"""Every exception that fastsched raises, each with its data.

The type says whose fault it is: the user's graph or arguments (`ValidationError`), the
user's file (`FormatError`), a missing extra (`MissingExtraError`), an interrupted run
(`RunInterrupted`), or ours (`InternalError`). Nothing here knows how a graph is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .names import nearest, show_name

__all__ = [
    "ClosedError",
    "FastschedError",
    "FormatError",
    "HistoryWarning",
    "InternalError",
    "JournalDamaged",
    "JournalError",
    "JournalFull",
    "JournalLocked",
    "MissingExtraError",
    "PlanInvalid",
    "Problem",
    "RunInterrupted",
    "SizingError",
    "TaskError",
    "UnknownIdError",
    "UnsatisfiableWarning",
    "ValidationError",
    "Violation",
]

ProblemKind = Literal[
    "duplicate_id",
    "empty_id",
    "unknown_dependency",
    "self_dependency",
    "cycle",
    "bad_type",
    "bad_value",
    "unknown_field",
    "missing_field",
]

SHOWN_PROBLEMS = 20


class FastschedError(Exception):
    """The root of every error that fastsched raises on purpose."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what the user gave.

    `where` names the item: a task id, a worker id, or a place such as `tasks[3]` for an item
    that has no usable id. `path` is the cycle, first id = last id, for kind `cycle`;
    `suggestion` the nearest known name, for an unknown one.
    """

    kind: ProblemKind
    where: str
    message: str
    field: str | None = None
    value: Any = None
    path: tuple[str, ...] = ()
    suggestion: str | None = None

    def __str__(self) -> str:
        return f"{show_name(self.where)}: {self.message}"


class ValidationError(FastschedError, ValueError):
    """Tasks or workers that cannot be scheduled; `problems` lists all that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        lines = [f"{count} problem{'s' if count != 1 else ''} found:"]
        lines += [f"  {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if count > SHOWN_PROBLEMS:
            lines.append(f"  ... and {count - SHOWN_PROBLEMS} more (see .problems)")
        return "\n".join(lines)


class FormatError(FastschedError, ValueError):
    """A file that is not what its name or its head promises; `path` names it."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        super().__init__(path, message)

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}"


class MissingExtraError(FastschedError, ImportError):
    """An ability that needs an extra which is not installed; `extra` names it."""

    def __init__(self, extra: str, what: str) -> None:
        self.extra = extra
        super().__init__(f"{what} needs an extra: pip install 'fastsched[{extra}]'")


class SizingError(FastschedError, ValueError):
    """No set of workers ends the tasks by the deadline, or none was found.

    `least` is the shortest deadline, in seconds, that these shapes could ever meet, where that is known; `path` the ids
    along the critical path, where that is longer than the deadline; `task_id` a task that fits no shape.
    """

    def __init__(
        self, message: str, *, least: float | None = None, path: tuple[str, ...] = (), task_id: str | None = None
    ) -> None:
        self.least, self.path, self.task_id = least, path, task_id
        super().__init__(message)


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C, or a termination signal, in the middle of `run()`. Every command has been stopped.

    `run` (a `fastsched.Run`) is what had happened until then. It is a `KeyboardInterrupt`, so that a program that
    handles that one keeps working.
    """

    def __init__(self, run: Any) -> None:
        self.run = run
        super().__init__("the run was interrupted; every command that it started has been stopped")


class TaskError(FastschedError):
    """A task failed for good: what the `result()` of its handle raises.

    `reason` is a `fastsched.Reason`, `cause_id` for DEPENDENCY the failed task at the root of it, `attempt` the last
    `fastsched.Attempt`, or None where none was made.
    """

    def __init__(self, task_id: str, reason: str, message: str, cause_id: str | None, attempt: Any) -> None:
        self.task_id, self.reason, self.message = task_id, reason, message
        self.cause_id, self.attempt = cause_id, attempt
        super().__init__(task_id, reason, message, cause_id, attempt)

    def __str__(self) -> str:
        cause = f" (because of {show_name(self.cause_id)})" if self.cause_id else ""
        return f"{show_name(self.task_id)} failed: {self.reason}{cause}{': ' if self.message else ''}{self.message}"


class UnknownIdError(FastschedError, KeyError):
    """There is no such task or worker; `name` is what was asked for."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.near = kind, name, nearest(name, known) if isinstance(name, str) else None
        super().__init__(name)

    def __str__(self) -> str:
        hint = f"; did you mean {show_name(self.near)}?" if self.near else ""
        return f"there is no {self.kind} {show_name(self.name)}{hint}"


class ClosedError(FastschedError, RuntimeError):
    """Something was asked of a scheduler that is closed."""


class JournalError(FastschedError, OSError):
    """Something is the matter with a journal."""


class JournalFull(JournalError):
    """There is no room for the journal; nothing of what was to be kept was written, and it can be tried again."""


class JournalLocked(JournalError):
    """Another scheduler holds the journal; `holder` is what is known of it."""

    def __init__(self, folder: str, holder: str) -> None:
        self.folder, self.holder = folder, holder
        super().__init__(f"the journal in {folder} is held by another scheduler ({holder})")


class JournalDamaged(JournalError):
    """A journal was changed or has lost something: `n_good` records are whole, `n_lost` that were synced are not."""

    def __init__(self, folder: str, n_good: int, n_lost: int, message: str) -> None:
        self.folder, self.n_good, self.n_lost = folder, n_good, n_lost
        super().__init__(f"the journal in {folder} is damaged: {message}; {n_good} whole, {n_lost} lost")


class InternalError(FastschedError, RuntimeError):
    """A broken invariant inside fastsched: this is a bug, please report it."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message} (this is a bug in fastsched, please report it)")


@dataclass(frozen=True)
class Violation:
    """One thing that makes a plan impossible: which task, and where it applies on which worker and when.

    `kind`: `missing`, `status`, `cause`, `attempts`, `overlap`, `worker`, `time`, `duration`, `retries`, `precedence`,
    `capacity`, `presence`. `at`: seconds from the start.
    """

    kind: str
    task_id: str | None
    worker_id: str | None
    at: float | None
    message: str

    def __str__(self) -> str:
        task = show_name(self.task_id) if self.task_id is not None else "the plan"
        where = f" on {show_name(self.worker_id)}" if self.worker_id is not None else ""
        when = f" at {self.at:.9g} s" if self.at is not None else ""
        return f"{task}{where}{when}: {self.message}"


class PlanInvalid(InternalError):
    """A plan, or the account of a run, that is not possible; `violations` lists every `Violation`."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        count = len(self.violations)
        lines = [f"{count} thing{'s' if count != 1 else ''} in it cannot be:"]
        lines += [f"  {violation}" for violation in self.violations[:SHOWN_PROBLEMS]]
        if count > SHOWN_PROBLEMS:
            lines.append(f"  ... and {count - SHOWN_PROBLEMS} more (see .violations)")
        super().__init__("\n".join(lines))


class HistoryWarning(UserWarning):
    """An earlier run says nothing of the next one: its journal is damaged, or the run still goes on."""


class UnsatisfiableWarning(UserWarning):
    """Some task asks for more than any worker could ever give."""
