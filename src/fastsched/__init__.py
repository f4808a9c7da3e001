"""fastsched plans and runs graphs of commands: dependencies, cores, memory, priorities, retries."""

from importlib.metadata import version as _version

from .errors import (
    FastschedError,
    FormatError,
    InternalError,
    MissingExtraError,
    Problem,
    RunInterrupted,
    UnsatisfiableWarning,
    ValidationError,
)
from .model import Reason, Task, TaskStatus, Worker
from .plan import Attempt, Placement, Plan, Run, Schedule
from .planner import TaskGraph, schedule
from .policy import FailureModel, Policy, WorkerEvent
from .runtime.scheduler import run

__version__ = _version("fastsched")

__all__ = [
    "Attempt",
    "FailureModel",
    "FastschedError",
    "FormatError",
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
    "Task",
    "TaskGraph",
    "TaskStatus",
    "UnsatisfiableWarning",
    "ValidationError",
    "Worker",
    "WorkerEvent",
    "run",
    "schedule",
]
