"""From `Task` objects to numbers: reading, checking, CSR. Beside it, what ordering alone costs others."""

from __future__ import annotations

import peers
import pytest
import workloads

from fastsched import TaskGraph

SHAPES = ("layers of 1000", "layers of 100", "wide", "chain", "scattered")


def check_order(tasks, order) -> None:
    """A topological order of all the tasks, given by ids or by indices."""
    place = {task if isinstance(task, str) else tasks[task].task_id: i for i, task in enumerate(order)}
    assert len(place) == len(tasks)
    assert all(place[name] < place[task.task_id] for task in tasks for name in task.dependencies)


@pytest.mark.parametrize("shape", SHAPES)
def bench_compile_fastsched(benchmark, shape):
    tasks = workloads.SHAPES[shape]()
    benchmark.group = f"compile and order 10,000 tasks: {shape}"
    check_order(tasks, benchmark(lambda: TaskGraph(tasks)).order.tolist())


@pytest.mark.parametrize("shape", SHAPES)
def bench_order_rustworkx(benchmark, shape):
    tasks = workloads.SHAPES[shape]()
    benchmark.group = f"compile and order 10,000 tasks: {shape}"
    check_order(tasks, benchmark(peers.rustworkx_order, tasks))


@pytest.mark.parametrize("shape", SHAPES)
def bench_order_graphlib(benchmark, shape):
    tasks = workloads.SHAPES[shape]()
    benchmark.group = f"compile and order 10,000 tasks: {shape}"
    check_order(tasks, benchmark(peers.graphlib_order, tasks))
