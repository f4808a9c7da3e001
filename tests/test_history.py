"""What was measured is put into a graph: where nothing is said, and never more than can be held."""

from __future__ import annotations

import random

import numpy as np
import pytest

from fastsched import History, Policy, Task, TaskGraph, ValidationError, Worker, run, schedule
from fastsched.estimates import Measured
from fastsched.graph import WorkerTable
from fastsched.history import RunMeasured
from fastsched.runtime.eta import seconds_left
from fastsched.runtime.ledger import Ledger
from fastsched.state import State

WORKERS = [Worker("w", 2, 1024), Worker("big", 1, 4096)]


def history(*rows):
    return History([RunMeasured("", [Measured(*row) for row in rows])])


def test_what_a_task_says_itself_stays():
    known = history(("a", "x", None, 5.0, None, 900.0), ("b", "y", None, 7.0))
    graph = TaskGraph([Task("a", "x", duration=1, memory_required_mb=64), Task("b", "y"), Task("c", "z")])
    filled, told = known.fill(graph, WorkerTable(WORKERS, graph.resources))
    assert [task.duration for task in filled.tasks] == [1, 7, 4], "the third has the median of the others"
    assert filled.demand[:, 1].tolist() == [64, 128, 128]
    assert filled.duration.tolist() == [10**9, 7 * 10**9, 4 * 10**9]
    assert (told.n_tasks, told.n_given, told.n_known, told.n_unknown, told.usual, told.n_memory) == (3, 1, 1, 1, 4, 0)
    assert str(told) == "durations of 1 of 2 tasks from 1 earlier run; the other 1 count 4 s, the median"
    assert [task.duration for task in graph.tasks] == [1, None, None], "the one that was given is left alone"


def test_a_plan_with_history_is_that_of_the_tasks_with_these_durations():
    known = history(*((f"t{i}", f"work {i}", None, float(1 + i % 7), None, 100.0 * i) for i in range(40)))
    tasks = [Task(f"t{i}", f"work {i}", [f"t{i // 2}"] if i > 1 else [], 0.5) for i in range(1, 40)]
    named = []
    for task in tasks:
        estimate = known.estimate(task)
        memory = min(max(128, estimate.memory_mb), 4096)
        named.append(Task(task.task_id, task.command, task.dependencies, 0.5, memory, duration=estimate.seconds))
    assert schedule(tasks, WORKERS, history=known).placements == schedule(named, WORKERS).placements
    reserving = Policy(reserve_after=1)
    plan, other = (schedule(each, WORKERS, policy=reserving, history=h) for each, h in ((tasks, known), (named, None)))
    assert plan.placements == other.placements
    plan = TaskGraph(tasks).schedule(WORKERS, history=known)
    assert plan.start_ns.tolist() == schedule(named, WORKERS).plan.start_ns.tolist()
    assert schedule(tasks, WORKERS, history=None).placements == schedule(tasks, WORKERS).placements


def test_how_long_a_run_will_take_is_known_before_anything_of_it_has_ended():
    tasks = [Task("a", "x"), Task("b", "y", ["a"])]
    known = history(("a", "x", None, 5.0), ("b", "y", None, 7.0))
    left = []
    for graph in (TaskGraph(tasks), known.fill(TaskGraph(tasks))[0]):
        state = State(
            graph, WorkerTable(WORKERS, graph.resources), rank="critical-path", fit="most-free", max_retries=3
        )
        left.append(seconds_left(Ledger(state, None), 0))
    assert left == [None, 12]


def test_memory_that_is_not_named_is_what_was_taken_and_never_more_than_there_is():
    known = history(
        ("a", "x", None, 1.0, None, 900.0), ("b", "y", None, 1.0, None, 9000.0), ("c", "z", None, 1.0, None, 9.0)
    )
    tasks = [
        Task("a", "x"),
        Task("b", "y", cpu_cores_required=2),  # which only the small worker could hold
        Task("c", "z"),
        Task("d", "x", memory_required_mb=200),
        Task("e", "x", enforce_memory=True),
        Task("f", "x", enforce_memory=False),
    ]
    graph = TaskGraph(tasks)
    filled, told = known.fill(graph, WorkerTable(WORKERS, graph.resources))
    assert filled.demand[:, 1].tolist() == [1080, 1024, 128, 200, 128, 128]
    assert told.n_memory == 2 and str(told).endswith("; memory of 2")
    assert [task.limit_mb for task in filled.tasks[:2]] == [None, None], "an estimate kills nobody"
    assert filled.tasks[4].limit_mb == 128
    assert filled.classes is not graph.classes
    assert known.fill(graph)[0].demand[:, 1].tolist() == graph.demand[:, 1].tolist(), "no worker is known"
    with_gpu = TaskGraph([Task("a", "x", resources={"gpu": 1})])
    nobody = WorkerTable(WORKERS, with_gpu.resources)
    assert known.fill(with_gpu, nobody)[0].demand[0, 1] == 128, "no worker could hold it anyway"


def test_a_history_of_nothing_changes_nothing():
    graph = TaskGraph([Task("a", "x"), Task("b", "y")])
    for known in (History(), history(("c", "z", None, 5.0))):
        filled, told = known.fill(graph)
        assert filled is graph and told.n_known == 0 and told.usual is None
    assert schedule([Task("a", "x")], WORKERS, history=History()).makespan == 1
    empty = TaskGraph([])
    assert history(("c", "z", None, 5.0)).fill(empty)[0] is empty
    arrays = TaskGraph.from_arrays([0, 0], [], [[1000, 1]])
    assert history(("0", "z", None, 5.0)).fill(arrays)[0] is arrays


def test_what_is_no_history_is_refused_with_the_remedy():
    with pytest.raises(TypeError, match=r"History.from_runs"):
        schedule([Task("a", "x")], WORKERS, history="runs")
    with pytest.raises(TypeError, match=r"History.from_runs"):
        run([Task("a", "x")], WORKERS, history=["runs"])


def test_durations_that_the_clock_cannot_hold_are_told():
    known = history(("a", "x 1", None, 1e9))
    with pytest.raises(ValidationError, match="146 years"):
        known.fill(TaskGraph([Task(f"t{i}", f"x {i}") for i in range(6)]))


def test_a_group_is_text_that_is_not_empty():
    for group in ("", 3, ["g"], "\ud800"):
        with pytest.raises(ValidationError, match="group"):
            TaskGraph([Task("a", "x", group=group)])
    assert TaskGraph([Task("a", "x", group=np.str_("g"))]).tasks[0].group == "g"
    assert type(TaskGraph([Task("a", "x", group=np.str_("g"))]).tasks[0].group) is str
    assert TaskGraph([{"task_id": "a", "command": "x", "group": "g"}]).tasks[0].group == "g"
    assert history(("b", "y", "g", 5.0)).estimate({"task_id": "a", "command": "x", "group": "g"}).seconds == 5


def test_tasks_of_a_submission_are_filled_and_wrong_ones_left_to_others():
    known = history(("a", "x", None, 5.0))
    odd = [Task(3, "x"), Task("a", ["x", 3]), "a", {"task_id": "a"}, None]
    assert known.filled(odd) == odd
    given = Task("a", "x", duration=1)
    first, second, third = known.filled([Task("a", "x"), {"task_id": "a", "command": "x"}, given])
    assert first.duration == second.duration == 5 and third is given


@pytest.mark.filterwarnings("ignore::fastsched.UnsatisfiableWarning")
def test_filling_keeps_the_shape_of_any_graph():
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    for _ in range(100):
        n = chance.randrange(1, 30)
        tasks = [
            Task(
                f"t{i}",
                f"work{i % 4} {i}",
                sorted({f"t{chance.randrange(i)}" for _ in range(chance.randrange(3))}) if i else [],
                chance.choice((0.5, 1, 2)),
                chance.choice((128, 128, 300)),
                duration=chance.choice((None, None, 3.0)),
                group=chance.choice((None, "g")),
            )
            for i in range(n)
        ]
        rows = [
            (
                f"t{i}",
                f"work{i % 4} 0",
                chance.choice((None, "g")),
                chance.choice((None, chance.uniform(0, 50))),
                None,
                peak,
            )
            for i in range(0, 30, chance.randrange(1, 5))
            if (peak := chance.choice((None, chance.uniform(1, 9000)))) or True
        ]
        graph = TaskGraph(tasks)
        table = WorkerTable(WORKERS, graph.resources)
        known = history(*rows)
        filled, told = known.fill(graph, table)
        again = TaskGraph(filled.tasks)
        for name in ("duration", "demand", "deps", "dep_ptr", "priority", "max_retries"):
            assert np.array_equal(getattr(filled, name), getattr(again, name)), f"seed {seed}: {name}"
        for before, after in zip(tasks, filled.tasks):
            assert before.duration in (None, after.duration), f"seed {seed}"
            assert before.memory_required_mb in (128, after.memory_required_mb), f"seed {seed}"
        open_tasks = [task for task in tasks if task.duration is None]
        estimates = [known.estimate(task) for task in open_tasks]
        n_known = sum(estimate is not None and estimate.seconds is not None for estimate in estimates)
        assert (told.n_known, told.n_unknown) == (n_known, len(open_tasks) - n_known), f"seed {seed}"
        assert schedule(tasks, WORKERS).all_completed == schedule(filled.tasks, WORKERS).all_completed, f"seed {seed}"
