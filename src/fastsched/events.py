"""The vocabulary: reports that engines bring, facts that are told, orders that are carried out.

A fact is named by a past participle, an order by an imperative. All are frozen; times are whole
nanoseconds since the start of the run. A report names its attempt, so that a stale one can be
dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .model import Reason

__all__ = [
    "AttemptCompleted",
    "AttemptEnded",
    "AttemptFailed",
    "AttemptStarted",
    "Event",
    "Report",
    "Start",
    "TaskFailed",
    "Usage",
    "WorkerHeard",
    "WorkerJoined",
    "WorkerLost",
]


@dataclass(frozen=True)
class Usage:
    """What an attempt took: the peak of its largest process in MB, user and system seconds of all of them."""

    peak_memory_mb: float
    cpu_seconds: float


# ---------------------------------------------------------------- orders


@dataclass(frozen=True)
class Start:
    """Start this attempt of this task on this worker."""

    task_id: str
    worker_id: str
    attempt: int
    command: str | Sequence[str]
    cpu_cores: float
    memory_mb: int
    stdout: str
    stderr: str


# ---------------------------------------------------------------- reports of an engine


@dataclass(frozen=True)
class WorkerHeard:
    """The worker gave a sign of life. `first`: it has just come up, or come back."""

    worker_id: str
    first: bool = False


@dataclass(frozen=True)
class AttemptEnded:
    """The command of an attempt ended, or could not be started: `reason` is None where it exited with 0."""

    task_id: str
    worker_id: str
    attempt: int
    reason: Reason | None
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    usage: Usage | None = None


@dataclass(frozen=True)
class WorkerLost:
    """The worker is gone, and every command that it ran has been stopped. `will_return`: it is brought up again."""

    worker_id: str
    message: str
    at_ns: int = 0
    will_return: bool = False


Report = WorkerHeard | AttemptEnded | WorkerLost


# ---------------------------------------------------------------- facts that are told


@dataclass(frozen=True)
class AttemptStarted:
    """An attempt was started."""

    task_id: str
    worker_id: str
    attempt: int
    at_ns: int


@dataclass(frozen=True)
class AttemptCompleted:
    """An attempt succeeded, and its task with it."""

    task_id: str
    worker_id: str
    attempt: int
    at_ns: int
    usage: Usage | None = None


@dataclass(frozen=True)
class AttemptFailed:
    """An attempt failed. `will_retry`: its task is ready again; else a `TaskFailed` follows."""

    task_id: str
    worker_id: str
    attempt: int
    at_ns: int
    reason: Reason
    will_retry: bool
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    usage: Usage | None = None


@dataclass(frozen=True)
class TaskFailed:
    """A task failed for good. `cause_id`: for DEPENDENCY, the failed task at the root of it."""

    task_id: str
    at_ns: int
    reason: Reason
    cause_id: str | None = None
    message: str = ""


@dataclass(frozen=True)
class WorkerJoined:
    """A worker is there and takes tasks."""

    worker_id: str
    at_ns: int


Event = AttemptStarted | AttemptCompleted | AttemptFailed | TaskFailed | WorkerJoined | WorkerLost
