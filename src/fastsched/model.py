"""What a user writes down: tasks, workers, and the words for what became of them.

A `Task` or `Worker` is plain data: making one checks nothing, so that a whole graph can be
checked in one pass that reports every problem at once (`graph.py`). Each class knows what is
right for one of its kind and says so in `find_problems`; nothing here looks at two at a time.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from enum import Enum
from numbers import Real
from typing import Any, cast

import msgspec

from .errors import Problem, ProblemKind
from .names import nearest, nearest_field, show_value

__all__ = ["AMOUNT_LIMIT", "DEFAULT_MEMORY_MB", "PRIORITY_LIMIT", "Reason", "Task", "TaskStatus", "Worker", "nearest"]

AMOUNT_LIMIT = 2**31  # every amount (milli-cores, MB, pieces) is below it
PRIORITY_LIMIT = 2**31
DEFAULT_MEMORY_MB = 128  # of a task that does not say what it needs
SECONDS_LIMIT = 10**9  # a duration is at most about 30 years
RESERVED_RESOURCES = ("cpu_millicores", "memory_mb")
MISSING = msgspec.UNSET  # stands for a required field that is not there, which has been said already


class TaskStatus(str, Enum):
    """What a user sees of a task. A string, so that it serialises as its name."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"

    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]


class Reason(str, Enum):
    """Why an attempt, or a task for good, failed. Declared in the order of the core's codes 1..9."""

    EXIT = "EXIT"
    SIGNAL = "SIGNAL"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    TIMEOUT = "TIMEOUT"
    WORKER_LOST = "WORKER_LOST"
    CANCELLED = "CANCELLED"
    DEPENDENCY = "DEPENDENCY"
    UNSATISFIABLE = "UNSATISFIABLE"
    SPAWN = "SPAWN"

    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]


class _TaskHead(msgspec.Struct):
    task_id: str
    command: str | Sequence[str]
    dependencies: Sequence[str] = ()
    cpu_cores_required: float = 1
    memory_required_mb: int = DEFAULT_MEMORY_MB


class Task(_TaskHead, kw_only=True):
    """A command, what it depends on, and what it needs.

    Args:
        task_id: unique, not empty.
        command: a string for the shell, or a list of strings, the argument vector.
        dependencies: ids of the tasks that must complete first.
        cpu_cores_required: cores, 0 or more, to three decimals (0.5 is half a core).
        memory_required_mb: whole MB, 0 or more.
        priority: whole number; among ready tasks a higher one goes first.
        duration: expected seconds; None counts as 1 in virtual time.
        max_retries: failures that the task survives; None takes the call's `max_retries`.
        resources: further whole-number demands by name, such as `{"gpu": 1}`.
        cwd: the folder that the command runs in; None: that of the run.
        env: variables that are added to the environment of the run.
        stdin: the file that the command reads; None: an empty one.
        timeout: seconds, more than 0; an attempt that takes longer is ended, and has failed.
        grace: seconds between asking an attempt to end (SIGTERM) and killing it; None: that of the run.
        enforce_memory: whether an attempt that takes more than `memory_required_mb` is killed; None: it is, where
            that is not the default.
        group: tasks of one group are of one kind: what was measured of them says how long another one takes.
        status: where the task stands; input is PENDING, and of a submitted task it is kept up to date.
    """

    priority: int = 0
    duration: float | None = None
    max_retries: int | None = None
    resources: Mapping[str, int] | None = None
    cwd: str | None = None
    env: Mapping[str, str] | None = None
    stdin: str | None = None
    timeout: float | None = None
    grace: float | None = None
    enforce_memory: bool | None = None
    group: str | None = None
    status: TaskStatus = TaskStatus.PENDING

    @property
    def limit_mb(self) -> int | None:
        """What the command may take at most, in MB; None: nothing is enforced."""
        is_named = self.memory_required_mb != DEFAULT_MEMORY_MB
        wanted = self.enforce_memory if self.enforce_memory is not None else is_named
        return int(self.memory_required_mb) if wanted else None

    def find_problems(self, where: str) -> list[Problem]:
        """Everything that is wrong with this task alone; `where` is used when it has no usable id."""
        found = Findings(usable_id(self.task_id) or where)
        found.check_id("task_id", self.task_id)
        found.check_command(self.command)
        found.check_dependencies(self.dependencies)
        found.check_cores("cpu_cores_required", self.cpu_cores_required)
        found.check_whole("memory_required_mb", self.memory_required_mb, 0, AMOUNT_LIMIT)
        found.check_whole("priority", self.priority, 1 - PRIORITY_LIMIT, PRIORITY_LIMIT)
        if self.duration is not None:
            found.check_seconds("duration", self.duration)
        if self.max_retries is not None:
            found.check_whole("max_retries", self.max_retries, 0, AMOUNT_LIMIT)
        found.check_resources(self.resources)
        found.check_manner(self)
        if self.group is not None:
            found.check_id("group", self.group)
        found.check_pending(self.status)
        return found.problems


class _WorkerHead(msgspec.Struct):
    worker_id: str
    cpu_cores_available: float
    memory_available_mb: int


class Worker(_WorkerHead, kw_only=True):
    """Something that runs commands, and how much it can hold at a time.

    Args:
        worker_id: unique, not empty.
        cpu_cores_available: cores, 0 or more, to three decimals.
        memory_available_mb: whole MB, 0 or more.
        resources: further whole-number capacities by name, such as `{"gpu": 4}`.
    """

    resources: Mapping[str, int] | None = None

    def is_plain(self) -> bool:
        """Whether nothing is wrong with this worker at a glance; where it is not sure, `find_problems` looks."""
        name, cores, memory = self.worker_id, self.cpu_cores_available, self.memory_available_mb
        return (
            type(name) is str
            and name != ""
            and name.isascii()
            and (type(cores) is int or type(cores) is float)
            and 0 <= cores < 1_000_000
            and round(cores * 1000) / 1000 == cores
            and type(memory) is int
            and 0 <= memory < AMOUNT_LIMIT
            and self.resources is None
        )

    def find_problems(self, where: str) -> list[Problem]:
        """Everything that is wrong with this worker alone; `where` is used when it has no usable id."""
        found = Findings(f"worker {usable_id(self.worker_id)}" if usable_id(self.worker_id) else where)
        found.check_id("worker_id", self.worker_id)
        found.check_cores("cpu_cores_available", self.cpu_cores_available)
        found.check_whole("memory_available_mb", self.memory_available_mb, 0, AMOUNT_LIMIT)
        found.check_resources(self.resources)
        return found.problems


def usable_id(value: object) -> str:
    """The id as it can be shown, or "" where it cannot name anything."""
    return value if isinstance(value, str) else ""


def as_float(value: Any) -> float:
    """The number as a float; infinite where it is too large for one, nan where it is none."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:  # a signalling nan
        return math.nan


def is_number(value: object) -> bool:
    """Whether it counts as a number: Python's and numpy's do, truth values and arrays do not."""
    return isinstance(value, (int, float, Real, Decimal)) and not isinstance(value, bool)


def is_list(value: object) -> bool:
    """Whether it counts as a list of names: sequences and sets do, a text, which would be read by letters, does not."""
    return isinstance(value, (tuple, list)) or (
        isinstance(value, (Sequence, AbstractSet)) and not isinstance(value, (str, bytes, Mapping))
    )


def from_mapping(
    kind: type[Task] | type[Worker], mapping: Mapping[str, Any], where: str
) -> tuple[Task | Worker, list[Problem]]:
    """Make a task or a worker of a mapping with the same field names.

    Answers it, and the problems with the names of the fields. Ids, commands and dependencies are taken from the field
    that was written in their place, if there is one, and what is missing is left MISSING, so that the rest can be
    checked all the same.
    """
    fields = kind.__struct_fields__
    values = {name: value for name, value in mapping.items() if name in fields}
    required = fields[: 2 if kind is Task else 3]
    unknown: list[tuple[str, str | None]] = []
    for name in mapping:
        if name not in fields:
            near = nearest_field(str(name), fields)
            unknown.append((name, near))
            if near in required or near == "dependencies":
                values.setdefault(near, mapping[name])
    item_id = usable_id(values.get(fields[0]))
    if item_id:
        where = item_id if kind is Task else f"worker {item_id}"
    problems = []
    for name, near in unknown:
        hint = f"; did you mean {near!r}?" if near else f"; known: {', '.join(fields)}"
        message = f"unknown field {show_value(name)}{hint}"
        problems.append(Problem("unknown_field", where, message, str(name), suggestion=near))
    for name in required:
        if name not in values:
            problems.append(Problem("missing_field", where, f"field {name!r} is missing", name))
            values[name] = MISSING
    return kind(**values), problems


class Findings:
    """The problems of one item, gathered field by field."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.problems: list[Problem] = []

    def add(self, kind: ProblemKind, field: str, value: Any, message: str) -> None:
        """Note one problem of this item, unless it is that a field is missing."""
        if value is not MISSING:
            self.problems.append(Problem(kind, self.where, message, field, value))

    def refuse(self, kind: ProblemKind, field: str, value: Any, why: str) -> None:
        """Note that a field has a value that it must not have."""
        self.add(kind, field, value, f"{field} is {show_value(value)}; {why}")

    def check_text(self, field: str, value: str) -> None:
        """Text can be written to files and handed to programs as UTF-8."""
        try:
            value.encode()
        except UnicodeEncodeError as error:
            letter = value[error.start]
            self.refuse("bad_value", field, value, f"{letter!r} is half a character and cannot be written as UTF-8")

    def check_id(self, field: str, value: object) -> None:
        """An id is a string with something in it."""
        if not isinstance(value, str):
            self.refuse("bad_type", field, value, "a string is wanted")
        elif not value:
            self.add("empty_id", field, value, f"{field} is empty")
        else:
            self.check_text(field, value)

    def check_command(self, value: object) -> None:
        """A command is a string or a list of strings, and no NUL can be passed on."""
        words: Sequence[object] = [value] if isinstance(value, str) else cast("Sequence[object]", value)
        if not isinstance(value, (str, list, tuple)) or not all(isinstance(word, str) for word in words):
            self.refuse("bad_type", "command", value, "a string or a list of strings is wanted")
        elif not value:
            self.add("bad_value", "command", value, "command is empty")
        elif any("\0" in cast("str", word) for word in words):
            self.add("bad_value", "command", value, "command holds a NUL character")
        else:
            for word in words:
                self.check_text("command", cast("str", word))

    def check_manner(self, task: Task) -> None:
        """Where, with what and for how long the command runs."""
        for field in ("cwd", "stdin"):
            value = getattr(task, field)
            if value is not None and not isinstance(value, str):
                self.refuse("bad_type", field, value, "a path as a string is wanted")
            elif value is not None and (not value or "\0" in value):
                self.refuse("bad_value", field, value, "it names no file")
            elif value is not None:
                self.check_text(field, value)
        if task.env is not None and not isinstance(task.env, Mapping):
            self.refuse("bad_type", "env", task.env, "a mapping of names to strings is wanted")
        for name, value in task.env.items() if isinstance(task.env, Mapping) else ():
            if not isinstance(name, str) or not isinstance(value, str):
                self.refuse("bad_type", f"env[{show_value(name)}]", value, "a string is wanted")
            elif not name or "=" in name or "\0" in name + value:
                self.add("bad_value", "env", name, f"env[{show_value(name)}] cannot be set: no '=' or NUL may be in it")
            else:
                self.check_text("env", name + value)
        for field in ("timeout", "grace"):
            value = getattr(task, field)
            if value is not None:
                self.check_seconds(field, value)
        if is_number(task.timeout) and as_float(task.timeout) == 0:
            self.refuse("bad_value", "timeout", task.timeout, "more than 0 seconds are wanted")
        if task.enforce_memory is not None and not isinstance(task.enforce_memory, bool):
            self.refuse("bad_type", "enforce_memory", task.enforce_memory, "true or false is wanted")

    def check_pending(self, value: object) -> None:
        """A task is given as one that has not begun."""
        if not isinstance(value, str) or value != TaskStatus.PENDING:
            self.refuse("bad_value", "status", value, "a task is given as PENDING")

    def check_dependencies(self, value: object) -> None:
        """Dependencies are a list or a set of ids."""
        if not is_list(value):
            self.refuse("bad_type", "dependencies", value, "a list of task ids is wanted")
            return
        for item in cast("Sequence[object]", value):
            if not isinstance(item, str):
                self.add("bad_type", "dependencies", item, f"dependency {show_value(item)} is not a string")
            else:
                self.check_text("dependencies", item)

    def check_cores(self, field: str, value: Any) -> None:
        """Cores may be fractional, to three decimals."""
        if not is_number(value):
            self.refuse("bad_type", field, value, "a number of cores is wanted")
            return
        number = as_float(value)
        if not math.isfinite(number) or number < 0 or number * 1000 >= AMOUNT_LIMIT:
            limit = (AMOUNT_LIMIT - 1) / 1000
            self.refuse("bad_value", field, value, f"it must be between 0 and {limit}")
        elif abs(round(number * 1000) / 1000 - number) > 1e-9 * max(1.0, number):
            self.refuse("bad_value", field, value, "cores are counted to three decimals at most")

    def check_whole(self, field: str, value: Any, low: int, limit: int) -> None:
        """A whole number in [low, limit)."""
        try:
            if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
                raise TypeError
            number = int(value) if isinstance(value, float) else operator.index(value)
        except TypeError:
            self.refuse("bad_type", field, value, "a whole number is wanted")
            return
        if not low <= number < limit:
            self.refuse("bad_value", field, value, f"it must be between {low} and {limit - 1}")

    def check_seconds(self, field: str, value: Any) -> None:
        """Seconds, 0 or more."""
        if not is_number(value):
            self.refuse("bad_type", field, value, "a number of seconds is wanted")
        elif not 0 <= as_float(value) <= SECONDS_LIMIT:
            self.refuse("bad_value", field, value, f"it must be between 0 and {SECONDS_LIMIT}")

    def check_resources(self, value: object) -> None:
        """Named whole-number amounts; cores and memory have fields of their own."""
        if value is None:
            return
        if not isinstance(value, Mapping):
            self.refuse("bad_type", "resources", value, "a mapping of names to amounts is wanted")
            return
        for name, amount in value.items():
            if not isinstance(name, str) or not name or name in RESERVED_RESOURCES:
                self.add("bad_value", "resources", name, f"resource name {show_value(name)} cannot be used")
            else:
                self.check_text("resources", name)
                self.check_whole(f"resources[{show_value(name)}]", amount, 0, AMOUNT_LIMIT)
