"""fastsched plans and runs graphs of commands: dependencies, cores, memory, priorities, retries."""

from ._version import __version__ as __version__
from .compare import Comparison, compare
from .errors import (
    ClosedError,
    FastschedError,
    FormatError,
    InternalError,
    MissingExtraError,
    Problem,
    RunInterrupted,
    SizingError,
    TaskError,
    UnsatisfiableWarning,
    ValidationError,
)
from .model import Reason, Task, TaskStatus, Worker
from .plan import Attempt, Placement, Plan, Run, Schedule
from .planner import TaskGraph, schedule
from .policy import FailureModel, Policy, WorkerEvent
from .risk import Risk
from .runtime.handles import Handle
from .runtime.run import run
from .runtime.scheduler import Scheduler
from .shapes import Shape
from .sizing import Sizing, size
from .vary import Variation, vary

__all__ = [
    "Attempt",
    "ClosedError",
    "Comparison",
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
    "Risk",
    "Run",
    "RunInterrupted",
    "Schedule",
    "Scheduler",
    "Shape",
    "Sizing",
    "SizingError",
    "Task",
    "TaskError",
    "TaskGraph",
    "TaskStatus",
    "UnsatisfiableWarning",
    "ValidationError",
    "Variation",
    "Worker",
    "WorkerEvent",
    "compare",
    "run",
    "schedule",
    "size",
    "vary",
]
