"""fastsched plans and runs graphs of commands: dependencies, cores, memory, priorities, retries."""

from ._version import __version__ as __version__
from .against import Delays, TaskDelay
from .bottleneck import Bottleneck
from .compare import Comparison, compare
from .errors import (
    ClosedError,
    FastschedError,
    FormatError,
    HistoryWarning,
    InternalError,
    MissingExtraError,
    PlanInvalid,
    Problem,
    RunInterrupted,
    SizingError,
    TaskError,
    UnsatisfiableWarning,
    ValidationError,
    Violation,
)
from .estimates import Estimate
from .model import Reason, Task, TaskStatus, Worker
from .optimize import Optimize
from .plan import Attempt, Placement, Plan, Run, Schedule
from .planner import TaskGraph, schedule
from .policy import FailureModel, Policy, WorkerEvent
from .risk import Risk
from .runtime.earlier import History
from .runtime.handles import Handle
from .runtime.run import run
from .runtime.scheduler import Scheduler
from .saved import load_plan, save_plan
from .shapes import Shape
from .sizing import Sizing, size
from .vary import Variation, vary

__all__ = [
    "Attempt",
    "Bottleneck",
    "ClosedError",
    "Delays",
    "Estimate",
    "Comparison",
    "FailureModel",
    "FastschedError",
    "FormatError",
    "Handle",
    "History",
    "HistoryWarning",
    "InternalError",
    "MissingExtraError",
    "Optimize",
    "Placement",
    "Plan",
    "PlanInvalid",
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
    "TaskDelay",
    "TaskError",
    "TaskGraph",
    "TaskStatus",
    "UnsatisfiableWarning",
    "ValidationError",
    "Violation",
    "Variation",
    "Worker",
    "WorkerEvent",
    "compare",
    "load_plan",
    "run",
    "save_plan",
    "schedule",
    "size",
    "vary",
]
