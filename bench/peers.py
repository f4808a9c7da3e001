"""The same work by what a user would pick instead.

`heapq_schedule` is the scheduler that a careful Python programmer writes: ready tasks in a heap,
an event heap, and at each decision every ready task in order against every worker. With
`remember_refused` it is a clever one: a demand that was refused is not tried again in the same
decision, which helps where few demands are shared by many tasks, as here. Both make the same
placements as `fastsched.schedule`, which the benches assert; so the ratio is that of speed alone.
"""

from __future__ import annotations

import graphlib
import heapq
from collections.abc import Sequence

import rustworkx

from fastsched import Task, Worker

NS = 10**9


def heapq_schedule(
    tasks: Sequence[Task], workers: Sequence[Worker], remember_refused: bool = False
) -> tuple[dict[str, str], list[tuple[int, int]]]:
    """(status by id, (worker, start_ns) by index): critical path first, on the most free worker."""
    n = len(tasks)
    index = {task.task_id: i for i, task in enumerate(tasks)}
    missing = [len(task.dependencies) for task in tasks]
    successors: list[list[int]] = [[] for _ in range(n)]
    for i, task in enumerate(tasks):
        for name in task.dependencies:
            successors[index[name]].append(i)
    cores = [round(task.cpu_cores_required * 1000) for task in tasks]
    memory = [task.memory_required_mb for task in tasks]
    duration = [round((1 if task.duration is None else task.duration) * NS) for task in tasks]

    order = [i for i in range(n) if not missing[i]]
    left = missing[:]
    for i in order:
        for s in successors[i]:
            left[s] -= 1
            if not left[s]:
                order.append(s)
    if len(order) < n:
        raise ValueError("there is a cycle")
    bottom = [0] * n
    for i in reversed(order):
        bottom[i] = duration[i] + max((bottom[s] for s in successors[i]), default=0)
    key = [(-tasks[i].priority, -bottom[i], i) for i in range(n)]

    free_cores = [round(worker.cpu_cores_available * 1000) for worker in workers]
    free_memory = [worker.memory_available_mb for worker in workers]
    total_cores, total_memory = sum(free_cores), sum(free_memory)
    score = [(c << 31) // total_cores + (m << 31) // total_memory for c, m in zip(free_cores, free_memory)]
    where: list[tuple[int, int]] = [(-1, -1)] * n
    status: dict[str, str] = {}
    ready = [key[i] for i in range(n) if not missing[i]]
    heapq.heapify(ready)
    events: list[tuple[int, int]] = []
    now = 0
    while True:
        waiting = []
        refused: set[tuple[int, int]] = set()
        while ready:
            entry = heapq.heappop(ready)
            i = entry[2]
            need_cores, need_memory = cores[i], memory[i]
            if refused and (need_cores, need_memory) in refused:
                waiting.append(entry)
                continue
            best, best_score = -1, -1
            for w, c in enumerate(free_cores):
                if c >= need_cores and free_memory[w] >= need_memory and score[w] > best_score:
                    best, best_score = w, score[w]
            if best < 0:
                if remember_refused:
                    refused.add((need_cores, need_memory))
                waiting.append(entry)
                continue
            free_cores[best] -= need_cores
            free_memory[best] -= need_memory
            score[best] = (free_cores[best] << 31) // total_cores + (free_memory[best] << 31) // total_memory
            where[i] = (best, now)
            heapq.heappush(events, (now + duration[i], i))
        ready = waiting  # in order, so it is a heap
        if not events:
            return status, where
        now = events[0][0]
        while events and events[0][0] == now:
            _, i = heapq.heappop(events)
            w = where[i][0]
            free_cores[w] += cores[i]
            free_memory[w] += memory[i]
            score[w] = (free_cores[w] << 31) // total_cores + (free_memory[w] << 31) // total_memory
            status[tasks[i].task_id] = "COMPLETED"
            for s in successors[i]:
                missing[s] -= 1
                if not missing[s]:
                    heapq.heappush(ready, key[s])


def graphlib_order(tasks: Sequence[Task]) -> list[str]:
    """The standard library's topological sort: the price of ordering alone, in Python."""
    return list(graphlib.TopologicalSorter({task.task_id: task.dependencies for task in tasks}).static_order())


def rustworkx_order(tasks: Sequence[Task]) -> list[int]:
    """A graph in Rust, built and ordered topologically: the price of ordering alone, natively."""
    graph = rustworkx.PyDiGraph(node_count_hint=len(tasks))
    node = dict(zip((task.task_id for task in tasks), graph.add_nodes_from(tasks)))
    graph.add_edges_from_no_data([(node[name], node[task.task_id]) for task in tasks for name in task.dependencies])
    return list(rustworkx.topological_sort(graph))
