"""A scene as trace events, which ui.perfetto.dev and chrome://tracing open: the JSON of Chrome's Trace Event Format.

A worker is a process, a lane of it a thread, an attempt a complete event (`X`), what is in use a counter (`C`): for all
workers in a process of their own, and for each worker in its own. The critical path is a flow (`s`, `f`). Times are
microseconds from the start; what is less than one stands behind the point.

Perfetto makes threads of (process, thread) and calls one whose number is that of its process the main one, so numbers
are given out once, processes first. It calls a counter by its name and that of its argument.
https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from .scene import Scene, amount_label
from .usage import usage_steps

__all__ = ["trace_of"]

US = 1000  # ns
TAKEN = frozenset(
    (
        "cores",
        "task",
        "attempt",
        "status",
        "ready at",
        "waited for room",
        "ready after",
        "room made by",
        "critical path",
    )
)
Event = dict[str, Any]


def trace_of(scene: Scene) -> bytes:
    """The trace as a JSON document."""
    name = f"{plain(scene.title) or scene.what}: all workers"
    events: list[Event] = [*_names(scene, name), *_attempts(scene), *_path(scene), *_counters(scene), *_marks(scene)]
    data = {
        "displayTimeUnit": "ms",
        "otherData": {"producer": "fastsched", "what": scene.what, "title": plain(scene.title)},
        "traceEvents": events,
    }
    return msgspec.json.encode(data)


def plain(text: str) -> str:
    """The text as one that UTF-8 can hold: half a surrogate pair is written as in a Python string."""
    return text.encode("utf-8", "backslashreplace").decode()


def label_of(resource: str) -> str:
    """A resource of a user's, so that it is taken for nothing else that is told of an attempt or counted."""
    return f"resource {plain(resource)}" if resource in TAKEN else plain(resource)


def _names(scene: Scene, all_workers: str) -> Iterator[Event]:
    """Processes and threads, by name and in the order of the workers."""
    n_workers, first = len(scene.worker_ids), scene.first_row.tolist()
    yield {"ph": "M", "name": "process_name", "pid": n_workers + 1, "args": {"name": all_workers}}
    yield {"ph": "M", "name": "process_sort_index", "pid": n_workers + 1, "args": {"sort_index": 0}}
    for w, worker_id in enumerate(scene.worker_ids):
        yield {"ph": "M", "name": "process_name", "pid": w + 1, "args": {"name": plain(worker_id)}}
        yield {"ph": "M", "name": "process_sort_index", "pid": w + 1, "args": {"sort_index": w + 1}}
        for row in range(first[w], first[w + 1]):
            thread = {"ph": "M", "pid": w + 1, "tid": n_workers + 2 + row}
            yield {**thread, "name": "thread_name", "args": {"name": f"lane {row - first[w] + 1}"}}
            yield {**thread, "name": "thread_sort_index", "args": {"sort_index": row - first[w]}}


def _attempts(scene: Scene) -> Iterator[Event]:
    """A complete event for each attempt, with what is known of it."""
    columns, waits, n_workers = scene.columns, scene.waits, len(scene.worker_ids)
    ids = [plain(task_id) for task_id in scene.task_ids]
    labels = [amount_label(name) if name == "cpu_millicores" else label_of(name) for name in scene.resources]
    demand = scene.demand.tolist()
    rows = zip(
        *(columns[name].tolist() for name in ("task", "worker", "attempt", "start_ns", "end_ns", "reason")),
        scene.row.tolist(),
        waits.ready_ns.tolist(),
        waits.after.tolist(),
        waits.freed_by.tolist(),
        scene.is_critical.tolist(),
    )
    of = columns["task"]
    for task, worker, attempt, start, end, reason, row, ready, after, freed_by, critical in rows:
        failed = scene.reason_names[reason]
        told: Event = {"task": ids[task], "attempt": attempt, "status": f"FAILED: {failed}" if failed else "COMPLETED"}
        told |= zip(labels, [demand[task][0] / 1000, *demand[task][1:]])
        told["ready at"], told["waited for room"] = ready / 1e9, max(0, start - ready) / 1e9
        if after >= 0:
            told["ready after"] = ids[after]
        if freed_by >= 0:
            told["room made by"] = ids[int(of[freed_by])]
        told["critical path"] = critical
        yield {
            "ph": "X",
            "cat": ("failed" if failed else "completed") + ",critical path" * critical,
            "name": ids[task] + (f" #{attempt}" if attempt > 1 or failed else ""),
            "pid": worker + 1,
            "tid": n_workers + 2 + row,
            "ts": start / US,
            "dur": (end - start) / US,
            "args": told,
        }


def _path(scene: Scene) -> Iterator[Event]:
    """Arrows along the critical path, from the last attempt of each task to the first of the next."""
    columns, n_workers = scene.columns, len(scene.worker_ids)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for i in np.nonzero(scene.is_critical)[0].tolist():
        first.setdefault(int(columns["task"][i]), i)
        last[int(columns["task"][i])] = i
    for number, (before, behind) in enumerate(zip(scene.critical, scene.critical[1:])):
        for ph, i in (("s", last.get(before)), ("f", first.get(behind))):
            if i is None:
                continue
            yield {
                "ph": ph,
                "bp": "e",
                "cat": "critical path",
                "name": "critical path",
                "id": number,
                "pid": int(columns["worker"][i]) + 1,
                "tid": n_workers + 2 + int(scene.row[i]),
                "ts": int(columns["start_ns"][i]) / US,
            }


def _counters(scene: Scene) -> Iterator[Event]:
    """What is in use of each resource, at every moment at which that changes."""
    columns, n_workers = scene.columns, len(scene.worker_ids)
    yield from _count(scene, n_workers + 1, np.arange(len(scene)))
    order = np.argsort(columns["worker"], kind="stable")
    edges = np.searchsorted(columns["worker"][order], np.arange(n_workers + 1))
    for w in range(n_workers):
        if edges[w] < edges[w + 1]:
            yield from _count(scene, w + 1, order[edges[w] : edges[w + 1]])


def _count(scene: Scene, pid: int, attempts: Any) -> Iterator[Event]:
    columns = scene.columns
    times, held = usage_steps(
        columns["start_ns"][attempts], columns["end_ns"][attempts], scene.demand[columns["task"][attempts]]
    )
    for k, resource in enumerate(scene.resources):
        if not scene.capacity[:, k].any():
            continue  # nobody has any, so nothing is in use
        name, part = ("cores", 1000) if resource == "cpu_millicores" else (label_of(resource), 1)
        changed = np.diff(held[:, k], prepend=-1) != 0
        for time, amount in zip(times[changed].tolist(), held[changed, k].tolist()):
            yield {"ph": "C", "name": name, "pid": pid, "ts": time / US, "args": {"in use": amount / part}}


def _marks(scene: Scene) -> Iterator[Event]:
    """The end, and where no schedule can end before: in a thread of its own, beside the counters of all workers."""
    thread = {"pid": len(scene.worker_ids) + 1, "tid": len(scene.worker_ids) + 2 + int(scene.first_row[-1])}
    yield {"ph": "M", "name": "thread_name", **thread, "args": {"name": "bounds"}}
    for name, time in (
        (f"lower bound ({plain(scene.bound_by)})", scene.lower_bound_ns),
        ("makespan", scene.makespan_ns),
    ):
        if time:
            yield {"ph": "i", "s": "t", "name": name, **thread, "ts": time / US}
