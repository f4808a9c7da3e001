"""From tasks to numbers: ids become indices, dependencies CSR, demands whole-number vectors.

One pass names every problem at once. It has two speeds and one meaning: plain tasks are read and
checked in C (`_read`), and only where something is odd is each item looked at by itself
(`_find_problems`), which says what is wrong, or sets right what is merely unusual (a numpy
integer, a set of dependencies). Nothing here recurses, so depth costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from ._core import successors, topological_order
from ._read import read_tasks
from .cycles import find_cycles
from .errors import Problem, ValidationError
from .model import (
    AMOUNT_LIMIT,
    MISSING,
    RESERVED_RESOURCES,
    Findings,
    Task,
    TaskStatus,
    Worker,
    from_mapping,
    is_list,
    usable_id,
)
from .names import Nearest, show_name, show_value

__all__ = ["DemandClasses", "TaskGraph", "WorkerTable", "read_both"]

NS = 1_000_000_000
CLOCK_LIMIT_NS = 2.0**62  # all durations together: virtual time stays within 64 bits
MAX_CLASSES = 256  # beyond it, demand classes are merged
FEW_CLASSES = 64  # up to it, another pivot is not tried
SUGGESTIONS = 20  # unknown names for which a nearest one is looked for
SUGGESTION_POOL = 100_000  # names that are compared for it

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


class TaskGraph:
    """Tasks as numbers; row and index i is the i-th task that was given.

    Attributes:
        ids: n task ids. tasks: the n `Task` objects, with unusual values (a numpy integer, a set) made plain.
        dep_ptr (n + 1,) int64, deps int32: row i lists what task i depends on, as given.
        succ_ptr (n + 1,) int64, succ int32: row i lists what depends on task i.
        order (n,) int32: a topological order.
        resources: K names; the first two are cpu_millicores and memory_mb.
        demand (n, K) int32: whole amounts, each below 2**31.
        duration (n,) int64: expected ns; a task without a duration counts 1 s.
        has_durations: whether any task has one.
        priority (n,) int64. max_retries (n,) int32: -1 where the task leaves it to the call.

    Raises:
        ValidationError: naming every problem of the tasks at once.
    """

    def __init__(self, tasks: Iterable[Task | Mapping[str, Any]]) -> None:
        self.tasks: list[Task] = _as_structs(Task, tasks, "tasks")
        try:
            self._read(self.tasks)
        except _Odd:
            self.tasks = _set_right(self.tasks)
            self._read(self.tasks)
        self._classes: DemandClasses | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def classes(self) -> DemandClasses:
        """The tasks grouped by demand, as the core wants them; made once."""
        if self._classes is None:
            self._classes = DemandClasses(self.demand)
        return self._classes

    def _read(self, tasks: list[Task]) -> None:
        """Read the tasks as columns. Raises _Odd where anything is not plainly right."""
        read = read_tasks(tasks, TaskStatus.PENDING)
        if read is None:
            raise _Odd
        self.ids, self.dep_ptr, self.deps, demand, self.duration, self.has_durations = read[:6]
        self.priority, self.max_retries, any_resources, vectors = read[6:]
        found = Findings("")
        for command in vectors:
            found.check_command(command)
        _plain(not found.problems)
        self.succ_ptr, self.succ = successors(self.dep_ptr, self.deps)
        self.order = topological_order(self.dep_ptr, self.succ_ptr, self.succ)
        _plain(len(self.order) == len(self.ids))
        _plain(float(self.duration.sum(dtype=np.float64)) < CLOCK_LIMIT_NS)
        self.demand: Int32s = demand
        self.resources: tuple[str, ...] = RESERVED_RESOURCES
        if any_resources:
            named, columns = _read_resources([task.resources for task in tasks])
            self.resources = (*RESERVED_RESOURCES, *named)
            self.demand = np.column_stack((demand, *columns)).astype(np.int32)


class WorkerTable:
    """Workers as numbers: `ids`, and `capacity` (W, K) int32 for the K resources that were asked about.

    A resource that a worker has and no task asks for is left out: it decides nothing.

    Raises:
        ValidationError: naming every problem of the workers at once.
    """

    def __init__(self, workers: Iterable[Worker | Mapping[str, Any]], resources: Sequence[str]) -> None:
        self.workers = _as_structs(Worker, workers, "workers")
        problems = [
            problem for i, worker in enumerate(self.workers) for problem in worker.find_problems(f"workers[{i}]")
        ]
        self.ids = [worker.worker_id for worker in self.workers]
        problems += _find_duplicates(self.ids, "worker ", "workers")
        if problems:
            raise ValidationError(problems)
        self.capacity: Int32s = np.zeros((len(self.ids), len(resources)), dtype=np.int32)
        for row, worker in zip(self.capacity, self.workers):
            row[0] = round(float(worker.cpu_cores_available) * 1000)
            row[1] = worker.memory_available_mb
            if worker.resources:
                for r, name in enumerate(resources[2:], 2):
                    row[r] = worker.resources.get(name, 0)

    def __len__(self) -> int:
        return len(self.ids)


class DemandClasses:
    """Tasks grouped so that within a group they differ in one resource only, the pivot.

    `class_of` (n,) int32, `class_demand` (C, K) int32: the amounts of the class (the least ones, and 0
    for the pivot), `exact` (C,) uint8: whether all members have just these. Memory is the pivot, or
    whichever resource leaves the fewest classes; where all leave too many, classes are merged by the
    size of their cores and are not exact.
    """

    def __init__(self, demand: Int32s) -> None:
        n_resources = demand.shape[1]
        self.pivot = 1
        class_of, count = _group(demand, self.pivot)
        if count > FEW_CLASSES:
            for pivot in (r for r in range(n_resources) if r != 1):
                other, fewer = _group(demand, pivot)
                if fewer < count:
                    self.pivot, class_of, count = pivot, other, fewer
        exact = count <= MAX_CLASSES
        if not exact:
            self.pivot = 1
            class_of, count = _number(np.searchsorted(2 ** np.arange(31), demand[:, 0], side="right"))
        self.class_of: Int32s = class_of.astype(np.int32)
        self.exact = np.full(count, exact, dtype=np.uint8)
        self.class_demand: Int32s = np.zeros((count, n_resources), dtype=np.int32)
        if exact:
            self.class_demand[class_of] = demand
        else:
            self.class_demand[:] = AMOUNT_LIMIT - 1
            np.minimum.at(self.class_demand, class_of, demand)
        self.class_demand[:, self.pivot] = 0


def _group(demand: Int32s, pivot: int) -> tuple[Int64s, int]:
    """Number the tasks by their demand in all resources but the pivot."""
    code: Int64s = np.zeros(len(demand), dtype=np.int64)
    count = 1
    for r in range(demand.shape[1]):
        if r != pivot:
            column, distinct = _number(demand[:, r])
            code, count = (column, distinct) if count == 1 else _number(code * distinct + column)
    return code, count


def _number(values: npt.NDArray[Any]) -> tuple[Int64s, int]:
    """Number the distinct values 0..count-1, in their order; by a table where the values are small."""
    if not len(values):
        return np.zeros(0, dtype=np.int64), 1
    least, most = int(values.min()), int(values.max())
    if most - least > 4 * len(values) + 65536:
        distinct, numbers = np.unique(values, return_inverse=True)
        return numbers.astype(np.int64), len(distinct)
    present = np.zeros(most - least + 1, dtype=np.int64)
    present[values - least] = 1
    table = np.cumsum(present) - 1
    return table[values - least], int(table[-1]) + 1


# ---------------------------------------------------------------- columns


class _Odd(Exception):
    """Something is not plainly right; the items have to be looked at one by one."""


def _plain(holds: bool) -> None:
    if not holds:
        raise _Odd


def _read_resources(rows: list[Mapping[str, int] | None]) -> tuple[list[str], list[Int64s]]:
    """The names that any task asks for, sorted, and a column for each."""
    _plain(all(row is None or isinstance(row, Mapping) for row in rows))
    known = [row or {} for row in rows]
    names = set(chain.from_iterable(known))
    _plain(set(map(type, names)) <= {str} and "" not in names and names.isdisjoint(RESERVED_RESOURCES))
    return sorted(names), [_read_whole([row.get(name, 0) for row in known]) for name in sorted(names)]


def _read_whole(values: list[Any]) -> Int64s:
    _plain(set(map(type, values)) <= {int})
    try:
        whole: Int64s = np.fromiter(values, dtype=np.int64, count=len(values))
    except OverflowError:
        raise _Odd from None
    _plain(not len(whole) or (whole.min() >= 0 and whole.max() < AMOUNT_LIMIT))
    return whole


# ---------------------------------------------------------------- item by item


def read_both(
    tasks: Iterable[Task | Mapping[str, Any]], workers: Iterable[Worker | Mapping[str, Any]], *, each: bool = False
) -> tuple[TaskGraph, WorkerTable]:
    """The tasks and the workers as numbers. `each`: look at every task by itself, also where nothing seems odd.

    The quick way does not see text that cannot be written as UTF-8, which is good enough for a plan and not for a run.

    Raises:
        ValidationError: naming every problem of the tasks and of the workers at once.
    """
    try:
        graph = TaskGraph(_set_right(_as_structs(Task, tasks, "tasks")) if each else tasks)
    except ValidationError as error:
        try:
            WorkerTable(workers, RESERVED_RESOURCES)
        except ValidationError as other:
            raise ValidationError([*error.problems, *other.problems]) from None
        raise
    return graph, WorkerTable(workers, graph.resources)


def _as_structs(kind: type[Any], items: Iterable[Any], what: str) -> list[Any]:
    """The items as objects of their class; mappings are turned into such, anything else is a problem."""
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        raise ValidationError([Problem("bad_type", what, f"{what} is {type(items).__name__}; a list is wanted")])
    structs = list(items)
    if set(map(type, structs)) <= {kind}:
        return structs if kind is Task else _with_plain_ids(structs)
    problems = []
    made: list[Any] = []
    for i, item in enumerate(structs):
        where = f"{what}[{i}]"
        if isinstance(item, Mapping):
            item, wrong = from_mapping(kind, item, where)
            problems += wrong
        elif not isinstance(item, kind):
            message = f"{show_value(item)} is not a {kind.__name__} or a mapping with its fields"
            problems.append(Problem("bad_type", where, message))
            item = kind(*[MISSING] * len(kind.__struct_fields__[: 2 if kind is Task else 3]))
        made.append(item)
    if problems:
        raise ValidationError(problems + (_find_problems(made) if kind is Task else _find_worker_problems(made)))
    return made if kind is Task else _with_plain_ids(made)


def _with_plain_ids(workers: list[Worker]) -> list[Worker]:
    """The workers, with ids that are strings of another kind (numpy's) as plain ones."""
    return [
        worker
        if type(worker.worker_id) is str or not isinstance(worker.worker_id, str)
        else msgspec.structs.replace(worker, worker_id=str.__str__(worker.worker_id))
        for worker in workers
    ]


def _set_right(tasks: list[Task]) -> list[Task]:
    """Raise for every problem, or give back the tasks with unusual but right values made plain."""
    problems = _find_problems(tasks)
    if problems:
        raise ValidationError(problems)
    plain = str.__str__
    return [
        Task(
            plain(task.task_id),
            plain(task.command) if isinstance(task.command, str) else [plain(word) for word in task.command],
            tuple(_names(task.dependencies)),
            float(task.cpu_cores_required),
            int(task.memory_required_mb),
            priority=int(task.priority),
            duration=None if task.duration is None else float(task.duration),
            max_retries=None if task.max_retries is None else int(task.max_retries),
            resources=None if task.resources is None else {plain(k): int(x) for k, x in task.resources.items()},
        )
        for task in tasks
    ]


def _find_problems(tasks: list[Task]) -> list[Problem]:
    """Every problem of the tasks: of each by itself, and of what they are to one another."""
    problems = [problem for i, task in enumerate(tasks) for problem in task.find_problems(f"tasks[{i}]")]
    ids = [usable_id(task.task_id) for task in tasks]
    problems += _find_duplicates(ids, "", "tasks")
    index = {task_id: i for i, task_id in reversed(list(enumerate(ids))) if task_id}
    rows: list[list[int]] = []
    known: Nearest | None = None
    asked = 0
    for i, task in enumerate(tasks):
        row: list[int] = []
        where = ids[i] or f"tasks[{i}]"
        for name in _names(task.dependencies):
            if name == ids[i]:
                problems.append(Problem("self_dependency", where, "depends on itself", "dependencies", name))
            elif name in index:
                row.append(index[name])
            else:
                known = known or Nearest(ids[:SUGGESTION_POOL])
                near = known.find(name) if asked < SUGGESTIONS else None
                asked += 1
                hint = f"; did you mean {show_value(near)}?" if near else ""
                message = f"depends on {show_value(name)}, which is not a task{hint}"
                problems.append(Problem("unknown_dependency", where, message, "dependencies", name, suggestion=near))
        rows.append(row)
    for path in find_cycles(rows):
        names = tuple(ids[i] for i in path)
        problems.append(Problem("cycle", names[0], f"depends on itself in a cycle: {_show(names)}", path=names))
    if not problems and sum(float(task.duration or 0) for task in tasks) * NS >= CLOCK_LIMIT_NS:
        message = "the durations add up to more than 146 years, which the clock cannot hold"
        problems.append(Problem("bad_value", "tasks", message, "duration"))
    return problems


def _find_worker_problems(workers: list[Worker]) -> list[Problem]:
    """Every problem of the workers."""
    problems = [problem for i, worker in enumerate(workers) for problem in worker.find_problems(f"workers[{i}]")]
    return problems + _find_duplicates([usable_id(worker.worker_id) for worker in workers], "worker ", "workers")


def _names(dependencies: Any) -> list[str]:
    """The dependencies that are names at all; the others have been reported by the task itself."""
    if not is_list(dependencies):
        return []
    names = [str.__str__(name) for name in dependencies if isinstance(name, str)]
    return sorted(names) if isinstance(dependencies, AbstractSet) else names


def _find_duplicates(ids: list[str], prefix: str, what: str) -> list[Problem]:
    places: dict[str, list[int]] = {}
    for i, item_id in enumerate(ids):
        if isinstance(item_id, str) and item_id:
            places.setdefault(item_id, []).append(i)
    return [
        Problem(
            "duplicate_id",
            prefix + item_id,
            f"this id is used {len(at)} times: "
            + ", ".join(f"{what}[{i}]" for i in at[:5])
            + (", ..." if len(at) > 5 else ""),
            value=item_id,
        )
        for item_id, at in places.items()
        if len(at) > 1
    ]


def _show(path: tuple[str, ...]) -> str:
    shown = path if len(path) <= 12 else (*path[:6], f"... {len(path) - 11} more ...", *path[-5:])
    return " -> ".join(map(show_name, shown))
