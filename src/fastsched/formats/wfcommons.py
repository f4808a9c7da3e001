"""WfCommons instances (WfFormat 1.4, 1.5 and 1.6): the record of a real workflow as tasks and workers.

What a field means follows the format's own documentation and its migration tool: up to 1.4 a
task is one object and others call it by its name; from 1.5 on, `specification` says what
depends on what, by id, and `execution` what was measured.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..errors import FormatError
from ..model import AMOUNT_LIMIT, Task, Worker
from ..names import show_value
from ..patterns import CARRIERS
from . import Job

__all__ = ["read"]

VERSIONS = ("1.4", "1.5", "1.6")
NUMBER = re.compile(r"[_.-]*(?:ID)?\d+$")
SHOWN = 5  # children that are not there
MEMORY_MB_PER_CORE = 1024  # a task whose memory was not recorded
UNRECORDED_MEMORY_MB = AMOUNT_LIMIT - 1  # a machine whose memory was not recorded: it binds nothing


class _Command(msgspec.Struct):
    program: str = ""
    arguments: list[Any] = []


class _Task14(msgspec.Struct):
    name: str
    id: str | None = None
    category: Any = None
    parents: list[str] = []
    children: list[str] = []
    runtimeInSeconds: float | None = None
    cores: float | None = None
    avgCPU: float | None = None
    memoryInBytes: int | None = None
    command: _Command | None = None


class _Specified(msgspec.Struct):
    id: str
    name: Any = None
    parents: list[str] = []
    children: list[str] = []


class _Executed(msgspec.Struct):
    id: str
    runtimeInSeconds: float | None = None
    coreCount: float | None = None
    avgCPU: float | None = None
    memoryInBytes: int | None = None
    command: _Command | None = None


class _Cpu(msgspec.Struct):
    coreCount: int | None = None
    count: int | None = None


class _Machine(msgspec.Struct):
    nodeName: str
    cpu: _Cpu | None = None
    memoryInBytes: int | None = None


def read(path: str, data: Mapping[str, Any]) -> Job:
    """The instance as a job: durations as recorded, cores as recorded or by the mean CPU share, memory as
    recorded or 1024 MB a core, machines as workers.

    Raises:
        FormatError: for another version, or where a field is missing or of a wrong type, with its place.
    """
    version = data.get("schemaVersion")
    if version not in VERSIONS:
        raise FormatError(path, f"schemaVersion is {version!r}; known are {', '.join(VERSIONS)}")
    name = data.get("name")
    workflow = data["workflow"]
    try:
        if version == "1.4":
            old = msgspec.convert(workflow.get("tasks"), list[_Task14])
            tasks = list(_read_14(path, old))
            machines = workflow.get("machines")
        else:
            specified = msgspec.convert(workflow["specification"]["tasks"], list[_Specified])
            execution = workflow.get("execution") or {}
            executed = msgspec.convert(execution.get("tasks", []), list[_Executed])
            tasks = list(_read_15(path, specified, {task.id: task for task in executed}))
            machines = execution.get("machines")
        known = msgspec.convert(machines or [], list[_Machine])
    except (msgspec.ValidationError, KeyError, TypeError, AttributeError) as error:
        what = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise FormatError(path, f"not a WfFormat {version} instance: {what}") from None
    return Job(name if isinstance(name, str) else path, tasks, _read_machines(known), recorded=True)


def _read_14(path: str, tasks: list[_Task14]) -> Iterator[Task]:
    """Up to 1.4 tasks call each other by name, and either end may name the other."""
    ids = [task.name if task.id is None or task.id in task.name else f"{task.name}_{task.id}" for task in tasks]
    by_name: dict[str, str] = {}
    for task, task_id in zip(tasks, ids):
        for name in (task.name, task.id, task_id):
            if name:
                by_name.setdefault(name, task_id)
    edges = [
        (task_id, [by_name.get(p, p) for p in task.parents], [by_name.get(c, c) for c in task.children])
        for task, task_id in zip(tasks, ids)
    ]
    parents = _both_ends(path, edges)
    for task, task_id in zip(tasks, ids):
        yield _make_task(task_id, parents[task_id], task, task.cores, task.category or task.name)


def _read_15(path: str, tasks: list[_Specified], executed: dict[str, _Executed]) -> Iterator[Task]:
    parents = _both_ends(path, [(task.id, task.parents, task.children) for task in tasks])
    for task in tasks:
        measured = executed.get(task.id) or _Executed(task.id)
        yield _make_task(task.id, parents[task.id], measured, measured.coreCount, task.name)


def _both_ends(path: str, tasks: list[tuple[str, list[str], list[str]]]) -> dict[str, list[str]]:
    """Every task's parents, each once, whichever end of the edge named it.

    An unknown parent is left for the graph to name; an unknown child would have no task to be named with.
    """
    parents: dict[str, dict[str, None]] = {task_id: {} for task_id, _, _ in tasks}
    unknown = []
    for task_id, above, below in tasks:
        parents[task_id].update(dict.fromkeys(above))
        for child in below:
            if child in parents:
                parents[child][task_id] = None
            else:
                unknown.append(f"task {show_value(task_id)} has the child {show_value(child)}, which is not a task")
    if unknown:
        more = f"; and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        raise FormatError(path, "; ".join(unknown[:SHOWN]) + more)
    return {task_id: list(above) for task_id, above in parents.items()}


def _make_task(
    task_id: str, parents: list[str], measured: _Task14 | _Executed, cores: float | None, name: object
) -> Task:
    if not cores:
        cores = max(1, math.ceil((measured.avgCPU or 0) / 100 - 0.1))
    memory = measured.memoryInBytes
    command = measured.command
    return Task(
        task_id,
        [command.program, *map(str, command.arguments)] if command and command.program else task_id,
        parents,
        cores,
        -(-memory // 2**20) if memory else math.ceil(MEMORY_MB_PER_CORE * cores),
        duration=measured.runtimeInSeconds,
        group=_kind_of(name, task_id, command.program if command else ""),
    )


def _kind_of(name: object, task_id: str, program: str) -> str | None:
    """What tasks of its kind are called: a name that is not the task's own, the program, or the id without its number.

    Pegasus names a task as it identifies it, `mProject_ID0000001`; Nextflow names the process, `FASTQC`.
    """
    if isinstance(name, str) and name not in ("", task_id):
        return name
    if program and not re.search(r"\s", program) and program not in CARRIERS:
        return program
    return NUMBER.sub("", task_id) or None


def _read_machines(machines: list[_Machine]) -> list[Worker] | None:
    """The machines as workers, or None where their cores were not recorded."""
    workers = []
    for machine in machines:
        cores = (machine.cpu.coreCount or machine.cpu.count) if machine.cpu else None
        if not cores:
            return None
        memory = machine.memoryInBytes
        workers.append(Worker(machine.nodeName, cores, memory // 2**20 if memory else UNRECORDED_MEMORY_MB))
    return workers or None
