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
from .graph import TaskGraph
from .model import Reason, Task, TaskStatus, Worker
from .plan import Attempt, Placement, Plan, Run, Schedule
from .planner import schedule
from .runtime.scheduler import run

__version__ = _version("fastsched")

__all__ = [
    "Attempt",
    "FastschedError",
    "FormatError",
    "InternalError",
    "MissingExtraError",
    "Placement",
    "Plan",
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
    "run",
    "schedule",
]
