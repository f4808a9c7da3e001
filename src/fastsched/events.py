"""The vocabulary: reports that engines bring, facts that are told, orders that are carried out.

A fact is named by a past participle, an order by an imperative. All are frozen; times are whole
nanoseconds since the start of the run. A report names its attempt, so that a stale one can be
dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .model import Reason, Task, Worker

__all__ = [
    "AttemptCompleted",
    "AttemptEnded",
    "AttemptFailed",
    "AttemptStarted",
    "Choice",
    "Event",
    "Fact",
    "Report",
    "RoomReserved",
    "Start",
    "TaskCancelled",
    "TaskFailed",
    "TaskOvertaken",
    "TaskUnsatisfiable",
    "TasksSubmitted",
    "Usage",
    "WorkerDraining",
    "WorkerFact",
    "WorkerHeard",
    "WorkerJoined",
    "WorkerLeft",
    "WorkerLost",
    "WorkerOnProbation",
    "WorkerQuarantined",
    "WorkerResized",
    "WorkerTrusted",
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
    incarnation: int = 1


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
    incarnation: int | None = None  # of the worker that reports; None = the one that is there


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
class TasksSubmitted:
    """Tasks were submitted together; they may depend on each other and on tasks that were submitted before."""

    tasks: tuple[Task, ...]
    at_ns: int


@dataclass(frozen=True)
class TaskCancelled:
    """A task is not wanted any more."""

    task_id: str
    at_ns: int


@dataclass(frozen=True)
class WorkerJoined:
    """A worker is there and takes tasks: one that is known, or a new one with its capacity."""

    worker_id: str
    at_ns: int
    worker: Worker | None = None


@dataclass(frozen=True)
class WorkerDraining:
    """A worker takes nothing more, and leaves when it is empty."""

    worker_id: str
    at_ns: int


@dataclass(frozen=True)
class WorkerLeft:
    """A worker is gone, as it was told or because it is drained; what it ran is tried again at no charge."""

    worker_id: str
    at_ns: int


@dataclass(frozen=True)
class WorkerResized:
    """A worker has another capacity."""

    worker: Worker
    at_ns: int


@dataclass(frozen=True)
class TaskOvertaken:
    """The most urgent ready task was passed by, by a less urgent one, for the first time."""

    task_id: str
    at_ns: int


@dataclass(frozen=True)
class RoomReserved:
    """Room is kept for a task on a worker; both None: no longer for any."""

    task_id: str | None
    worker_id: str | None
    at_ns: int


@dataclass(frozen=True)
class TaskUnsatisfiable:
    """A ready task waits, and no worker could ever hold it: the nearest one, and what it lacks. Told once."""

    task_id: str
    at_ns: int
    message: str


@dataclass(frozen=True)
class WorkerQuarantined:
    """A worker fails what succeeds elsewhere; it is given no task until `until_ns`."""

    worker_id: str
    at_ns: int
    until_ns: int


@dataclass(frozen=True)
class WorkerOnProbation:
    """A worker's quarantine is over: it is given one task at a time, until one completes."""

    worker_id: str
    at_ns: int


@dataclass(frozen=True)
class WorkerTrusted:
    """A worker that was in quarantine completed something, and is let back."""

    worker_id: str
    at_ns: int


Choice = AttemptStarted | TaskOvertaken | RoomReserved
WorkerFact = WorkerJoined | WorkerDraining | WorkerLeft | WorkerLost | WorkerResized
Fact = TasksSubmitted | TaskCancelled | AttemptEnded | WorkerFact | Choice
Event = (
    AttemptStarted
    | AttemptCompleted
    | AttemptFailed
    | TaskFailed
    | TaskCancelled
    | TaskUnsatisfiable
    | TaskOvertaken
    | RoomReserved
    | WorkerJoined
    | WorkerDraining
    | WorkerLeft
    | WorkerLost
    | WorkerResized
    | WorkerQuarantined
    | WorkerOnProbation
    | WorkerTrusted
)
