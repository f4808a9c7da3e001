"""From tasks to numbers: ids become indices, dependencies CSR, demands whole-number vectors.

One pass names every problem at once. It has two speeds and one meaning: plain tasks are read and
checked in C (`_read`), and only where something is odd is each item looked at by itself
(`_find_problems`), which says what is wrong, or sets right what is merely unusual (a numpy
integer, a set of dependencies). Nothing here recurses, so depth costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from copy import copy
from itertools import chain, pairwise
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from ._graphs import successors, topological_order
from ._read import are_all, read_tasks
from .columns import ArrayLike, Columns
from .cycles import find_cycles
from .errors import Problem, ValidationError
from .kinds import DemandClasses
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

__all__ = ["TOO_LONG", "CompiledGraph", "Graph", "WorkerTable", "fits_clock", "read_both"]

NS = 1_000_000_000
CLOCK_LIMIT_NS = 2.0**62  # all durations together: virtual time stays within 64 bits
SUGGESTIONS = 20  # unknown names for which a nearest one is looked for
SUGGESTION_POOL = 100_000  # names that are compared for it
TOO_LONG = Problem(
    "bad_value", "tasks", "the durations add up to more than 146 years, which the clock cannot hold", "duration"
)

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Graph = TypeVar("Graph", bound="CompiledGraph")


class CompiledGraph:
    """Tasks as numbers; row and index i is the i-th task that was given.

    `TaskGraph(tasks)` is made of `Task` objects, `TaskGraph.from_arrays(...)` of arrays.

    Attributes:
        ids: n task ids. tasks: the n `Task` objects, with unusual values (a numpy integer, a set) made plain; empty for
            a graph that was made of arrays.
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

    tasks: list[Task]
    dep_ptr: Int64s
    deps: Int32s
    succ_ptr: Int64s
    succ: Int32s
    order: Int32s
    resources: tuple[str, ...]
    demand: Int32s
    duration: Int64s
    has_durations: bool
    priority: Int64s
    max_retries: Int32s
    _ids: list[str] | None  # None: each task is called by its index
    _classes: DemandClasses | None = None

    def __init__(
        self,
        tasks: Iterable[Task | Mapping[str, Any]],
        *,
        known: dict[str, int] | None = None,
        resources: Sequence[str] = RESERVED_RESOURCES,
    ) -> None:
        self.tasks: list[Task] = _as_structs(Task, tasks, "tasks")
        self._known = known or {}
        self._ids: list[str] | None = None
        self._classes: DemandClasses | None = None
        try:
            self._read(self.tasks, resources)
        except _Odd:
            self.tasks = _set_right(self.tasks, self._known)
            self._read(self.tasks, resources)

    @classmethod
    def from_arrays(
        cls: type[Graph],
        indptr: ArrayLike,
        indices: ArrayLike,
        demand: ArrayLike,
        *,
        duration: ArrayLike | None = None,
        priority: ArrayLike | None = None,
        max_retries: ArrayLike | None = None,
        ids: Iterable[str] | None = None,
        resources: Sequence[str] = RESERVED_RESOURCES,
    ) -> Graph:
        """Compile n tasks that are given as arrays, without an object for each. They can be planned, not run.

        An array is a numpy array, an Arrow array (whatever offers `__arrow_c_array__` or `__arrow_c_stream__`,
        such as those of pyarrow, polars and nanoarrow), anything with the buffer protocol, or a list. Integers of
        any width do, and floats where they are whole. One that has the type named here, in one piece, is not
        copied: it must not be changed while the graph is in use.

        Args:
            indptr, indices: CSR, (n + 1,) int64 and (edges,) int32: task i depends on the tasks
                indices[indptr[i]:indptr[i + 1]]. One that is listed twice counts once more, and changes nothing.
            demand: (n, K) int32, what task i needs of each resource, each below 2**31. Of Arrow, lists of the
                fixed size K, or a table (a struct) of K columns; these are taken in their order, and one that is
                called like a resource must stand in its place.
            duration: (n,) expected seconds, 0 to 10**9, kept to the ns. None: 1 s each, and none is known.
            priority: (n,) int64, between -2**31 and 2**31; a higher one goes first. None: 0 each.
            max_retries: (n,) int32, failures that the task survives; -1 leaves it to the call. None: -1 each.
            ids: n unique strings. None: each task is called by its index, "0", "1", ...; these strings are made
                when `ids` is asked for.
            resources: K names, "cpu_millicores" and "memory_mb" first.

        Raises:
            ValidationError: naming every value that is wrong (of each kind the first 20), and cycles with their path.
            ValueError: for an array of another length or shape, with nulls, or of 2**31 tasks or more.
            TypeError: for what is no array of numbers.
        """
        read = Columns(indptr, indices, demand, duration, priority, max_retries, ids, resources)
        problems = read.problems
        if read.ids is not None and not read.has_unique_ids:
            problems += _find_duplicates(read.ids, "", "ids")
        graph = cls.__new__(cls)
        graph.tasks, graph._ids, graph.resources, graph._classes, graph._known = [], read.ids, read.names, None, {}
        if read.dep_ptr is not None:
            graph._set_rows(read.dep_ptr, read.deps)
            if len(graph.order) < read.n:
                problems += _circle_problems(read.dep_ptr, read.deps, read.name_of)
        graph.demand, graph.priority, graph.max_retries = read.demand, read.priority, read.max_retries
        graph.duration, graph.has_durations = read.duration, duration is not None and read.n > 0
        if not problems and not fits_clock(read.duration):
            problems.append(TOO_LONG)
        if problems:
            raise ValidationError(problems)
        return graph

    def __len__(self) -> int:
        return len(self.dep_ptr) - 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} tasks, {len(self.deps)} dependencies, {', '.join(self.resources)}>"

    @property
    def ids(self) -> list[str]:
        """The n task ids; the indices as strings, made now, where none were given."""
        if self._ids is None:
            self._ids = list(map(str, range(len(self))))
        return self._ids

    @property
    def classes(self) -> DemandClasses:
        """The tasks grouped by demand, as the core wants them; made once."""
        if self._classes is None:
            self._classes = DemandClasses(self.demand)
        return self._classes

    def mirrored(self: Graph) -> Graph:
        """The same tasks with every dependency turned round, and the least priority first.

        Its plans are plans of this graph, told backwards. Not for tasks that depend on others than these.
        """
        _ = self.classes  # made once for both
        graph = copy(self)
        graph.dep_ptr, graph.deps, graph.succ_ptr, graph.succ = self.succ_ptr, self.succ, self.dep_ptr, self.deps
        graph.order, graph.priority = np.ascontiguousarray(self.order[::-1]), -self.priority
        return graph

    def _read(self, tasks: list[Task], resources: Sequence[str]) -> None:
        """Read the tasks as columns. Raises _Odd where anything is not plainly right."""
        read = read_tasks(tasks, TaskStatus.PENDING, self._known)
        if read is None:
            raise _Odd
        self._ids, dep_ptr, deps, demand, self.duration, self.has_durations = read[:6]
        self.priority, self.max_retries, any_resources, vectors, mannered = read[6:]
        found = Findings("")
        for command in vectors:
            found.check_command(command)
        for task in mannered:
            found.check_manner(task)
        _plain(not found.problems)
        self._set_rows(dep_ptr, deps)
        _plain(len(self.order) == len(self) and fits_clock(self.duration))
        self.demand, self.resources = demand, tuple(resources)
        if any_resources or len(self.resources) > len(RESERVED_RESOURCES):
            named, columns = _read_resources([task.resources for task in tasks], self.resources[2:])
            self.resources = (*RESERVED_RESOURCES, *named)
            self.demand = np.column_stack((demand, *columns)).astype(np.int32)

    def _set_rows(self, dep_ptr: Int64s, deps: Int32s) -> None:
        """Take these rows. What tasks of this graph depend on each other is turned round and ordered too."""
        self.dep_ptr, self.deps = dep_ptr, deps
        before = len(self._known)
        if before:
            within = deps >= before
            count = np.concatenate(([0], np.cumsum(within)))
            dep_ptr, deps = count[dep_ptr].astype(np.int64), deps[within] - np.int32(before)
        self.succ_ptr, self.succ = successors(dep_ptr, deps)
        self.order = topological_order(dep_ptr, self.succ_ptr, self.succ)


class WorkerTable:
    """Workers as numbers: `ids`, and `capacity` (W, K) int32 for the K resources that were asked about.

    A resource that a worker has and no task asks for is left out: it decides nothing. `many`: the same worker may
    come more than once.

    Raises:
        ValidationError: naming every problem of the workers at once.
    """

    def __init__(
        self, workers: Iterable[Worker | Mapping[str, Any]], resources: Sequence[str], *, many: bool = False
    ) -> None:
        self.workers = _as_structs(Worker, workers, "workers")
        problems = [
            problem
            for i, worker in enumerate(self.workers)
            if not worker.is_plain()
            for problem in worker.find_problems(f"workers[{i}]")
        ]
        self.ids = [worker.worker_id for worker in self.workers]
        if not many and (problems or len(set(self.ids)) < len(self.ids)):
            problems += _find_duplicates(self.ids, "worker ", "workers")
        if problems:
            raise ValidationError(problems)
        self.capacity: Int32s = np.zeros((len(self.ids), len(resources)), dtype=np.int32)
        self.capacity[:, 0] = [round(float(worker.cpu_cores_available) * 1000) for worker in self.workers]
        self.capacity[:, 1] = [worker.memory_available_mb for worker in self.workers]
        for r, name in enumerate(resources[2:], 2):
            self.capacity[:, r] = [(worker.resources or {}).get(name, 0) for worker in self.workers]

    def __len__(self) -> int:
        return len(self.ids)


# ---------------------------------------------------------------- columns


class _Odd(Exception):
    """Something is not plainly right; the items have to be looked at one by one."""


def _plain(holds: bool) -> None:
    if not holds:
        raise _Odd


def _read_resources(rows: list[Mapping[str, int] | None], before: Sequence[str]) -> tuple[list[str], list[Int64s]]:
    """The names from before, those that any task asks for besides, sorted, and a column for each."""
    _plain(all(row is None or type(row) is dict or isinstance(row, Mapping) for row in rows))
    known = [row or {} for row in rows]
    names = set(chain.from_iterable(known))
    _plain(set(map(type, names)) <= {str} and "" not in names and names.isdisjoint(RESERVED_RESOURCES))
    found = Findings("")
    found.check_text("resources", "".join(names))
    _plain(not found.problems)
    ordered = [*before, *sorted(names - set(before))]
    return ordered, [_read_whole([row.get(name, 0) for row in known]) for name in ordered]


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
    kind: type[Graph],
    tasks: Graph | Iterable[Task | Mapping[str, Any]],
    workers: Iterable[Worker | Mapping[str, Any]],
) -> tuple[Graph, WorkerTable]:
    """The tasks, which may be compiled already, and the workers as numbers.

    Raises:
        ValidationError: naming every problem of the tasks and of the workers at once.
    """
    try:
        graph = tasks if isinstance(tasks, kind) else kind(tasks)  # type: ignore[arg-type]
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
    if are_all(structs, kind):
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
        raise ValidationError(problems + (_find_problems(made, {}) if kind is Task else _find_worker_problems(made)))
    return made if kind is Task else _with_plain_ids(made)


def _with_plain_ids(workers: list[Worker]) -> list[Worker]:
    """The workers, with ids that are strings of another kind (numpy's) as plain ones."""
    return [
        worker
        if type(worker.worker_id) is str or not isinstance(worker.worker_id, str)
        else msgspec.structs.replace(worker, worker_id=str.__str__(worker.worker_id))
        for worker in workers
    ]


def _set_right(tasks: list[Task], before: Mapping[str, int] | None = None) -> list[Task]:
    """Raise for every problem, or give back the tasks with unusual but right values made plain."""
    problems = _find_problems(tasks, before or {})
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
            cwd=None if task.cwd is None else plain(task.cwd),
            env=None if task.env is None else {plain(k): plain(x) for k, x in task.env.items()},
            stdin=None if task.stdin is None else plain(task.stdin),
            timeout=None if task.timeout is None else float(task.timeout),
            grace=None if task.grace is None else float(task.grace),
            enforce_memory=task.enforce_memory,
            group=None if task.group is None else plain(task.group),
        )
        for task in tasks
    ]


def _find_problems(tasks: list[Task], before: Mapping[str, int]) -> list[Problem]:
    """Every problem of the tasks: of each by itself, and of what they are to one another and to those `before` them."""
    problems = [problem for i, task in enumerate(tasks) for problem in task.find_problems(f"tasks[{i}]")]
    ids = [usable_id(task.task_id) for task in tasks]
    problems += _find_duplicates(ids, "", "tasks")
    problems += [
        Problem("duplicate_id", task_id, "this id was submitted before", value=task_id)
        for task_id in ids
        if task_id in before
    ]
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
            elif name not in before:
                known = known or Nearest([*ids, *before][:SUGGESTION_POOL])
                near = known.find(name) if asked < SUGGESTIONS else None
                asked += 1
                hint = f"; did you mean {show_value(near)}?" if near else ""
                message = f"depends on {show_value(name)}, which is not a task{hint}"
                problems.append(Problem("unknown_dependency", where, message, "dependencies", name, suggestion=near))
        rows.append(row)
    problems += _cycle_problems(rows, ids.__getitem__)
    if not problems and sum(float(task.duration or 0) for task in tasks) * NS >= CLOCK_LIMIT_NS:
        problems.append(TOO_LONG)
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


def _circle_problems(dep_ptr: Int64s, deps: Int32s, name_of: Callable[[int], str]) -> list[Problem]:
    """The tasks that depend on themselves, at once or by way of others."""
    at, flat = dep_ptr.tolist(), deps.tolist()
    rows = [flat[begin:end] for begin, end in pairwise(at)]
    problems = []
    for i, row in enumerate(rows):
        if i in row:
            problems.append(Problem("self_dependency", name_of(i), "depends on itself", "dependencies", name_of(i)))
    rows = [[d for d in row if d != i] for i, row in enumerate(rows)]
    return problems + _cycle_problems(rows, name_of)


def _cycle_problems(rows: list[list[int]], name_of: Callable[[int], str]) -> list[Problem]:
    """One cycle of every knot of tasks, with its path."""
    paths = [tuple(map(name_of, path)) for path in find_cycles(rows)]
    return [Problem("cycle", names[0], f"depends on itself in a cycle: {_show(names)}", path=names) for names in paths]


def fits_clock(duration: Int64s) -> bool:
    """Whether the clock holds all durations together."""
    return float(duration.sum(dtype=np.float64)) < CLOCK_LIMIT_NS


def _show(path: tuple[str, ...]) -> str:
    shown = path if len(path) <= 12 else (*path[:6], f"... {len(path) - 11} more ...", *path[-5:])
    return " -> ".join(map(show_name, shown))
