"""Durations from history: reading runs of 10,000 tasks, and putting what they say into a graph, beside `schedule()`.

The runs are made by the loop itself on the simulated engine, in virtual time, with a journal each.
"""

from __future__ import annotations

from functools import partial

import workloads
from timing import median, ratio, timed

from fastsched import History, Task, TaskGraph, Worker, schedule
from fastsched.engines.simulated import Command, SimulatedEngine
from fastsched.graph import WorkerTable
from fastsched.runtime.run import play
from fastsched.runtime.session import Session, Settings, compile_both

RUNS = 5
ROUNDS = 7


def seconds_of(task_id: str, noise: float) -> float:
    """What a task takes: 1 to 60 s, and in each run a little else."""
    return (1 + int(task_id[1:]) * 7919 % 60) * noise


def make_run(tasks: list[Task], workers: list[Worker], folder: str, noise: float) -> None:
    engine = SimulatedEngine(behave=lambda order, random: Command(seconds_of(order.task_id, noise)))
    settings = Settings(engine=engine, journal=folder, capture=False)
    session = Session(settings, *compile_both(tasks, workers), settled=True, fresh=True, clock=engine.clock)
    assert play(session, None, None).all_completed


def bench_history(capsys, tmp_path):
    graded = workloads.layers(1000)
    tasks = [
        Task(task.task_id, f"work --part {i} --in /data/{i}.csv", task.dependencies, task.cpu_cores_required)
        for i, task in enumerate(graded)
    ]
    workers = workloads.workers()
    folders = [str(tmp_path / f"run{r}") for r in range(RUNS)]
    for r, folder in enumerate(folders):
        make_run(tasks, workers, folder, 1 + 0.05 * (r - 2))
    graph = TaskGraph(tasks)
    table = WorkerTable(workers, graph.resources)
    kept = tmp_path / "kept.json"
    rows: dict[str, list[float]] = {}

    def note(name, work, *arguments):
        took, answer = timed(partial(work, *arguments))
        rows.setdefault(name, []).append(took)
        return answer

    for _ in range(ROUNDS):
        note("plan", schedule, tasks, workers)
        note("read one", History.from_runs, folders[:1])
        history = note("read five", History.from_runs, folders)
        note("know", history.estimate, tasks[0])
        filled, told = note("put in", history.fill, graph, table)
        history.save(kept)
        note("load", History.load, kept)
    assert told.n_known == len(tasks)
    for task in filled.tasks:
        assert abs(task.duration / seconds_of(task.task_id, 1) - 1) < 0.05, task
    with capsys.disabled():
        print(f"\n{len(tasks):,} tasks, {RUNS} runs")
        words = {
            "read one": "a run read from its journal",
            "read five": f"{RUNS} of them",
            "know": "what they say together",
            "put in": "put into a compiled graph",
            "load": "what was saved of all of it, loaded",
        }
        for name, text in words.items():
            times = ratio(rows[name], rows["plan"])
            print(f"  {text:<44}{median(rows[name]) * 1e3:8.1f} ms  {times:6.1f} times schedule()")
    assert ratio(rows["put in"], rows["read one"]) < 1.5, "putting in costs no more than reading a run"
