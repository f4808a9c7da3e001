"""fastsched plans and runs graphs of commands: dependencies, cores, memory, priorities, retries."""

from ._version import __version__ as __version__
from .errors import (
    ClosedError,
    FastschedError,
    FormatError,
    InternalError,
    MissingExtraError,
    Problem,
    RunInterrupted,
    TaskError,
    UnsatisfiableWarning,
    ValidationError,
)
from .model import Reason, Task, TaskStatus, Worker
from .plan import Attempt, Placement, Plan, Run, Schedule
from .planner import TaskGraph, schedule
from .policy import FailureModel, Policy, WorkerEvent
from .runtime.handles import Handle
from .runtime.run import run
from .runtime.scheduler import Scheduler
from .saved import load_plan, save_plan

__all__ = [
    "Attempt",
    "ClosedError",
    "FailureModel",
    "FastschedError",
    "FormatError",
    "Handle",
    "InternalError",
    "MissingExtraError",
    "Placement",
    "Plan",
    "Policy",
    "Problem",
    "Reason",
    "Run",
    "RunInterrupted",
    "Schedule",
    "Scheduler",
    "Task",
    "TaskError",
    "TaskGraph",
    "TaskStatus",
    "UnsatisfiableWarning",
    "ValidationError",
    "Worker",
    "WorkerEvent",
    "load_plan",
    "run",
    "save_plan",
    "schedule",
]
