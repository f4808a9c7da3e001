"""The vocabulary: reports that engines bring, facts that are told, orders that are carried out.

A fact is named by a past participle, an order by an imperative. All are frozen; times are whole
nanoseconds since the start of the run. A report names its attempt and the incarnation of its worker,
so that a stale one can be dropped. They are structs, so that a journal can keep them and an agent can
be told them without another form; in it each is an array that begins with its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from .model import Reason, Task, Worker

__all__ = [
    "AttemptCompleted",
    "AttemptEnded",
    "AttemptFailed",
    "AttemptStarted",
    "CancelRequested",
    "Choice",
    "DeadlineSet",
    "Event",
    "Fact",
    "Order",
    "PlanAdopted",
    "PlanFollowed",
    "Recall",
    "Replanned",
    "Report",
    "RoomReserved",
    "Start",
    "Stop",
    "TaskCancelled",
    "TaskFailed",
    "TaskOvertaken",
    "TaskPromised",
    "TaskReturned",
    "TaskUnsatisfiable",
    "TasksSubmitted",
    "Usage",
    "WorkerDraining",
    "WorkerExpected",
    "WorkerFact",
    "WorkerHeard",
    "WorkerJoined",
    "WorkerLeft",
    "WorkerLost",
    "WorkerOffered",
    "WorkerOnProbation",
    "WorkerQuarantined",
    "WorkerResized",
    "WorkerSuspected",
    "WorkerTrusted",
    "WorkerWithdrawn",
    "WorkersSettled",
]


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """What an attempt took: the most memory of all its processes together in MB, their user and system seconds.

    And the bytes that are in the files of its outputs; -1: that is not known.
    """

    peak_memory_mb: float
    cpu_seconds: float
    stdout_bytes: int = -1
    stderr_bytes: int = -1


# ---------------------------------------------------------------- orders


class Start(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Start this attempt of this task on this worker.

    `stdout`, `stderr`: the files that hold what it writes, if it does; None: it is dropped. `stdin`: the file it reads;
    None: an empty one. `env`: added to the environment of the run. `timeout_s`: it is ended after that long.
    `grace_s`: between asking it to end and killing it. `limit_mb`: it is killed when its processes together take more;
    None: never. `after`: a task that was started there, or is to be, which is given as much: this one is started in its
    place, as soon as its attempt has ended; None: at once.
    """

    task_id: str
    worker_id: str
    attempt: int
    incarnation: int
    command: str | Sequence[str]
    cpu_cores: float
    memory_mb: int
    stdout: str | None = None
    stderr: str | None = None
    stdin: str | None = None
    cwd: str | None = None
    env: Mapping[str, str] | None = None
    timeout_s: float | None = None
    grace_s: float = 5.0
    limit_mb: int | None = None
    after: str | None = None


class Stop(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """End this attempt: ask it, and kill what is left of it after the grace. Its end is reported as ever."""

    task_id: str
    worker_id: str
    attempt: int
    incarnation: int
    grace_s: float


class Recall(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Start none of what is to be started after something else on this worker: give it back."""

    worker_id: str
    incarnation: int


Order = Start | Stop | Recall


# ---------------------------------------------------------------- reports of an engine


class WorkerHeard(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The worker gave a sign of life. `first`: it has just come up, or come back."""

    worker_id: str
    first: bool = False
    incarnation: int | None = None  # as in AttemptEnded


class AttemptEnded(msgspec.Struct, frozen=True, tag=True, array_like=True):
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


class WorkerLost(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The worker is gone, and every command that it ran has been stopped. `will_return`: it is brought up again."""

    worker_id: str
    message: str
    at_ns: int = 0
    will_return: bool = False
    incarnation: int | None = None  # as in AttemptEnded


class TaskReturned(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A task that was promised to the worker was not started there, and is not going to be."""

    task_id: str
    worker_id: str
    incarnation: int | None = None  # as in AttemptEnded


class WorkerOffered(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A worker of the engine's own is there, and can be brought up."""

    worker: Worker

    @property
    def worker_id(self) -> str:
        """Its id."""
        return self.worker.worker_id


class WorkerSuspected(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The worker is as good as lost, and given nothing more. A `WorkerLost` follows when none of its commands runs."""

    worker_id: str
    at_ns: int = 0
    incarnation: int | None = None  # as in AttemptEnded


class WorkerWithdrawn(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A worker of the engine's own was taken away by who provides it, and nothing of it runs any more."""

    worker_id: str
    message: str
    incarnation: int | None = None  # as in AttemptEnded


Report = WorkerHeard | AttemptEnded | TaskReturned | WorkerLost | WorkerOffered | WorkerSuspected | WorkerWithdrawn


# ---------------------------------------------------------------- facts that are told


class AttemptStarted(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """An attempt was started."""

    task_id: str
    worker_id: str
    attempt: int
    at_ns: int


class TaskPromised(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A ready task is started on this worker as soon as the attempt of another one has ended there, unless it is
    returned; nobody else takes it meanwhile."""

    task_id: str
    worker_id: str
    after_id: str
    at_ns: int


class AttemptCompleted(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """An attempt succeeded, and its task with it."""

    task_id: str
    worker_id: str
    attempt: int
    at_ns: int
    usage: Usage | None = None


class AttemptFailed(msgspec.Struct, frozen=True, tag=True, array_like=True):
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


class TaskFailed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A task failed for good. `cause_id`: for DEPENDENCY, the failed task at the root of it."""

    task_id: str
    at_ns: int
    reason: Reason
    cause_id: str | None = None
    message: str = ""


class TasksSubmitted(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Tasks were submitted together; they may depend on each other and on tasks that were submitted before."""

    tasks: tuple[Task, ...]
    at_ns: int


class TaskCancelled(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A task is not wanted any more."""

    task_id: str
    at_ns: int


class CancelRequested(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A task is not wanted any more; where its command runs, it counts until that has ended."""

    task_id: str
    at_ns: int


class WorkerExpected(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A new worker was told to come up: what only it could hold waits for it."""

    worker: Worker
    at_ns: int


class DeadlineSet(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """When all attempts are to have ended: from here on none is started that is expected to end later. None: whenever
    they do."""

    deadline_ns: int | None
    at_ns: int


class WorkersSettled(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """No other worker will come than those that are there or expected: what none of them could hold fails."""

    at_ns: int


class WorkerJoined(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A worker is there and takes tasks: one that is known, or a new one with its capacity."""

    worker_id: str
    at_ns: int
    worker: Worker | None = None


class WorkerDraining(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A worker takes nothing more, and leaves when it is empty."""

    worker_id: str
    at_ns: int


class WorkerLeft(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A worker is gone, as it was told or because it is drained; what it ran is tried again at no charge."""

    worker_id: str
    at_ns: int
    will_return: bool = False
    message: str = "its worker left"  # what is said to those whose attempts it ran


class WorkerResized(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A worker has another capacity."""

    worker: Worker
    at_ns: int


class TaskOvertaken(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The most urgent ready task was passed by, by a less urgent one, for the first time."""

    task_id: str
    at_ns: int


class RoomReserved(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Room is kept for a task on a worker; both None: no longer for any."""

    task_id: str | None
    worker_id: str | None
    at_ns: int


class PlanAdopted(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A plan is followed from here on: columns of numbers, in its order, as bytes, the lowest first.

    `tasks`, `workers`: int32, in the order of their submission and coming; a worker of -1: wherever there is room.
    `start_ns`, `end_ns`: int64, when each task is to run, in the time of the run. `not_before`: int64, until when it is
    held back; 0: it is not; empty: none is. `begins_ns`: when the first plan of the run began to be followed.
    `behind_ns`: of a new plan, how much later than by the one before it would have been over; None: it was given.
    `was_ns`: when it would have been. `is_loosened`: it is the plan before it, which is followed otherwise from here
    on; the starts are those that it had, and nothing is to be read from the ends.
    """

    tasks: bytes
    workers: bytes
    start_ns: bytes
    end_ns: bytes
    not_before: bytes
    at_ns: int
    begins_ns: int
    behind_ns: int | None = None
    was_ns: int | None = None
    is_loosened: bool = False


class PlanFollowed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A plan that was given is followed from here on, of so many tasks; by it all is over at `ends_ns`."""

    at_ns: int
    n_tasks: int
    ends_ns: int


class Replanned(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The rest was planned anew, because it was behind: it is to be over at `ends_ns`, and was going to be at `was_ns`,
    `behind_ns` later than planned."""

    at_ns: int
    n_tasks: int
    behind_ns: int
    was_ns: int
    ends_ns: int


class TaskUnsatisfiable(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A ready task waits, and no worker could ever hold it: the nearest one, and what it lacks. Told once."""

    task_id: str
    at_ns: int
    message: str


class WorkerQuarantined(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A worker fails what succeeds elsewhere; it is given no task until `until_ns`."""

    worker_id: str
    at_ns: int
    until_ns: int


class WorkerOnProbation(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A worker's quarantine is over: it is given one task at a time, until one completes."""

    worker_id: str
    at_ns: int


class WorkerTrusted(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A worker that was in quarantine completed something, and is let back."""

    worker_id: str
    at_ns: int


Choice = AttemptStarted | TaskPromised | TaskOvertaken | RoomReserved
WorkerFact = WorkerExpected | WorkerJoined | WorkerDraining | WorkerSuspected | WorkerLeft | WorkerLost | WorkerResized
Fact = (
    TasksSubmitted
    | TaskCancelled
    | CancelRequested
    | AttemptEnded
    | TaskReturned
    | WorkerFact
    | WorkersSettled
    | DeadlineSet
    | PlanAdopted
    | Choice
)
Event = (
    AttemptStarted
    | AttemptCompleted
    | AttemptFailed
    | TaskFailed
    | TaskCancelled
    | TaskUnsatisfiable
    | TaskOvertaken
    | RoomReserved
    | TasksSubmitted
    | CancelRequested
    | DeadlineSet
    | PlanFollowed
    | Replanned
    | WorkerExpected
    | WorkerJoined
    | WorkerDraining
    | WorkerSuspected
    | WorkerLeft
    | WorkerLost
    | WorkerResized
    | WorkerQuarantined
    | WorkerOnProbation
    | WorkerTrusted
)
