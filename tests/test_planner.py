"""`schedule()`: the core against the oracle, to the placement, and what a user sees of it."""

from __future__ import annotations

import json
import os
import warnings

import numpy as np
import oracle
import pytest
from worlds import machine_of, make_world

import fastsched
from fastsched import Reason, Schedule, Task, TaskStatus, Worker, schedule
from fastsched.errors import UnsatisfiableWarning, ValidationError

WORLDS = int(os.environ.get("FASTSCHED_WORLDS", "1600"))
CHUNKS = 12
ONE = [Worker("w", 1, 1024)]


def quietly(*args, **kwargs) -> Schedule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsatisfiableWarning)
        return schedule(*args, **kwargs)


def attempts_of(plan: Schedule) -> list[tuple]:
    names = ("task", "worker", "attempt", "start_ns", "end_ns", "completed")
    return list(zip(*(plan.columns[name].tolist() for name in names)))


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_core_equals_oracle_to_the_placement(chunk, monkeypatch):
    for seed in range(chunk, WORLDS, CHUNKS):
        # Most worlds have so few kinds of demand that each would be a class.
        monkeypatch.setattr("fastsched.kinds.FEW_KINDS", 0 if seed % 3 else 64)
        world = make_world(seed)
        plan = quietly(world.tasks, world.workers, **world.options)
        machine, given = machine_of(world)
        attempts = oracle.play(machine, **given)
        ids = [task.task_id for task in world.tasks]
        state = [task.state for task in machine.tasks]
        assert attempts_of(plan) == attempts, f"seed {seed}"
        assert plan == {i: "COMPLETED" if s == "COMPLETED" else "FAILED" for i, s in zip(ids, state)}, f"seed {seed}"
        assert plan.reasons == {i: t.reason for i, t in zip(ids, machine.tasks) if t.reason}, f"seed {seed}"
        causes = {i: ids[t.cause] for i, t in zip(ids, machine.tasks) if t.cause is not None}
        assert plan.causes == causes, f"seed {seed}"
        assert plan.plan.lower_bound_ns <= plan.plan.makespan_ns, f"seed {seed}"


def test_worlds_cover_what_they_are_for():
    """The oracle test is worth what its worlds contain."""
    seen = dict.fromkeys(("retried", "failed", "skipped", "unsatisfiable", "priorities", "named", "merged classes"), 0)
    for seed in range(400):
        world = make_world(seed)
        plan = quietly(world.tasks, world.workers, **world.options)
        reasons = set(plan.reasons.values())
        seen["retried"] += any(a > 1 for a in plan.plan.attempts)
        seen["failed"] += Reason.EXIT in reasons
        seen["skipped"] += Reason.DEPENDENCY in reasons
        seen["unsatisfiable"] += Reason.UNSATISFIABLE in reasons
        seen["priorities"] += len({task.priority for task in world.tasks}) > 1
        seen["named"] += any(task.resources for task in world.tasks)
        graph = fastsched.TaskGraph(world.tasks)
        differs = graph.demand != graph.classes.class_demand[graph.classes.class_of]
        seen["merged classes"] += bool(np.delete(differs, graph.classes.pivot, axis=1).any())
    assert min(seen.values()) >= 5, seen


def test_schedule_is_a_dictionary_of_names():
    plan = schedule([Task("a", "true"), Task("b", "true", ["a"])], ONE)
    assert isinstance(plan, dict)
    assert json.loads(json.dumps(plan)) == {"a": "COMPLETED", "b": "COMPLETED"}
    assert f"{plan['a']}" == "COMPLETED" and plan["a"] is TaskStatus.COMPLETED


def test_schedule_says_when_and_where():
    plan = schedule(
        [Task("a", "x", duration=2), Task("b", "x", ["a"], duration=3), Task("c", "x", duration=1.5)],
        [Worker("w1", 1, 512), Worker("w2", 1, 512)],
    )
    assert plan.makespan == 5 == plan.lower_bound
    assert plan.bound_by == "critical path" and plan.critical_path == ["a", "b"]
    assert [tuple(p) for p in plan.placements] == [
        ("a", "w1", 1, 0.0, 2.0, "COMPLETED"),
        ("c", "w2", 1, 0.0, 1.5, "COMPLETED"),
        ("b", "w1", 1, 2.0, 5.0, "COMPLETED"),
    ]
    assert plan.utilisation["w1"]["cpu_millicores"] == pytest.approx(1.0)
    assert plan.utilisation["w2"]["cpu_millicores"] == pytest.approx(1.5 / 5)
    assert plan.utilisation["w2"]["memory_mb"] == pytest.approx(1.5 / 5 * 128 / 512)
    assert plan.plan.start.tolist() == [0, 2, 0] and plan.plan.end.tolist() == [2, 5, 1.5]
    assert plan.plan.status.tolist() == ["COMPLETED"] * 3


def test_every_attempt_of_a_task_is_work():
    plan = schedule([Task("a", "x", duration=2)], ONE, outcome=lambda task, worker, attempt: attempt > 2)
    assert plan.plan.busy_ns.tolist() == [6 * 10**9]
    assert plan.plan.bounds_ns == {"critical path": 6 * 10**9, "cpu_millicores": 6 * 10**9, "memory_mb": 75 * 10**7}
    assert plan.lower_bound == 6 == plan.makespan


def test_a_bound_is_not_rounded_down():
    plan = schedule([Task("a", "x", duration=1e-9)], [Worker("w1", 1, 512), Worker("w2", 2, 512)])
    assert plan.plan.bounds_ns == {"critical path": 1, "cpu_millicores": 1, "memory_mb": 1}


def test_mappings_are_as_good_as_objects():
    tasks = [Task("a", "x", cpu_cores_required=0.5), Task("b", ["x", "y"], ["a"], priority=3, resources={"gpu": 1})]
    workers = [Worker("w", 2, 4096, resources={"gpu": 2})]
    as_mappings = [
        {"task_id": "a", "command": "x", "cpu_cores_required": 0.5},
        {
            "task_id": "b",
            "command": ["x", "y"],
            "dependencies": {"a"},
            "priority": np.int64(3),
            "resources": {"gpu": 1},
        },
    ]
    worker_mapping = {
        "worker_id": "w",
        "cpu_cores_available": 2,
        "memory_available_mb": 4096,
        "resources": {"gpu": 2},
    }
    assert schedule(as_mappings, [worker_mapping]).placements == schedule(tasks, workers).placements


def test_a_failed_attempt_is_retried_on_another_worker():
    workers = [Worker("w1", 4, 4096), Worker("w2", 1, 1024)]
    plan = schedule([Task("a", "x", duration=2)], workers, outcome=lambda task, worker, attempt: attempt > 1)
    assert [(p.worker_id, p.attempt, p.start, p.outcome) for p in plan.placements] == [
        ("w1", 1, 0.0, "FAILED"),
        ("w2", 2, 2.0, "COMPLETED"),
    ]
    assert plan == {"a": "COMPLETED"} and plan.reasons == {}


def test_dependents_of_a_task_that_failed_for_good_fail_and_the_rest_completes():
    tasks = [Task("a", "x"), Task("b", "x", ["a"]), Task("c", "x", ["b", "d"]), Task("d", "x")]
    plan = schedule(tasks, ONE, max_retries=2, outcome=lambda task, worker, attempt: task != "a")
    assert plan == {"a": "FAILED", "b": "FAILED", "c": "FAILED", "d": "COMPLETED"}
    assert plan.reasons == {"a": "EXIT", "b": "DEPENDENCY", "c": "DEPENDENCY"}
    assert plan.causes == {"b": "a", "c": "a"}
    assert [p.attempt for p in plan.placements if p.task_id == "a"] == [1, 2, 3]


def test_what_no_worker_can_hold_fails_and_is_said():
    tasks = [Task("big", "x", (), 3, 9000), Task("after", "x", ["big"]), Task("small", "x")]
    with pytest.warns(UnsatisfiableWarning) as said:
        plan = schedule(tasks, [Worker("w1", 8, 1000), Worker("w2", 4, 8192)])
    assert plan == {"big": "FAILED", "after": "FAILED", "small": "COMPLETED"}
    assert plan.reasons == {"big": "UNSATISFIABLE", "after": "DEPENDENCY"}
    text = str(said[0].message)
    assert "'big'" in text and "'w2'" in text and "808 MB more" in text and "9000 MB" in text
    assert said[0].filename == __file__


def test_no_worker_at_all_fails_every_task():
    with pytest.warns(UnsatisfiableWarning, match="there is no worker"):
        assert schedule([Task("a", "x")], []) == {"a": "FAILED"}


def test_nothing_to_do_is_done_at_once():
    plan = schedule([], ONE)
    assert plan == {} and plan.makespan == 0 == plan.lower_bound
    assert plan.placements == [] and plan.critical_path == []


def test_choices_that_do_not_exist_are_named_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'critical-path'"):
        schedule([], ONE, rank="critical-pth")
    with pytest.raises(ValueError, match="did you mean 'best-fit'"):
        schedule([], ONE, fit="bestfit")
    with pytest.raises(ValueError, match="max_retries"):
        schedule([], ONE, max_retries=-1)


def test_an_exception_in_outcome_comes_out():
    def outcome(task, worker, attempt):
        raise ZeroDivisionError("in outcome")

    with pytest.raises(ZeroDivisionError, match="in outcome"):
        schedule([Task("a", "x")], ONE, outcome=outcome)


def test_problems_of_workers_are_all_named():
    with pytest.raises(ValidationError) as caught:
        schedule([], [Worker("a", -1, 10), Worker("a", 1, 2**31), Worker("", 1.0005, 5)])
    kinds = [(p.kind, p.where, p.field) for p in caught.value.problems]
    assert kinds == [
        ("bad_value", "worker a", "cpu_cores_available"),
        ("bad_value", "worker a", "memory_available_mb"),
        ("empty_id", "workers[2]", "worker_id"),
        ("bad_value", "workers[2]", "cpu_cores_available"),
        ("duplicate_id", "worker a", None),
    ]


def test_a_plan_of_long_times_stays_within_the_clock():
    tasks = [Task(f"t{i}", "x", duration=10**9) for i in range(4)]
    assert schedule(tasks, ONE).makespan == 4e9
    with pytest.raises(ValidationError, match="146 years"):
        schedule([Task(f"t{i}", "x", duration=10**9) for i in range(5)], ONE)
    assert schedule(tasks[:1], ONE, outcome=lambda *_: False).makespan == 4e9
    with pytest.raises(OverflowError, match="146 years"):
        schedule(tasks, ONE, outcome=lambda *_: False)


def test_a_graph_that_is_compiled_already_is_taken():
    tasks = [Task("a", "true", duration=2), Task("b", "true", ["a"])]
    graph = fastsched.TaskGraph(tasks)
    plan = schedule(graph, ONE)
    assert plan == schedule(tasks, ONE) and plan.placements == schedule(tasks, ONE).placements
    assert repr(graph) == "<TaskGraph: 2 tasks, 1 dependencies, cpu_millicores, memory_mb>"
    assert repr(plan.plan) == "<Plan: 2 of 2 tasks completed, makespan 3 s>"
    arrays = fastsched.TaskGraph.from_arrays([0, 0, 1], [0], [[1, 1], [1, 1]])
    assert schedule(arrays, ONE) == {"0": "COMPLETED", "1": "COMPLETED"}
    with pytest.raises(ValueError, match="no commands"):
        fastsched.run(arrays, [Worker("w", 1, 128)])


def test_progress_is_told():
    told = []
    tasks = [Task(f"t{i}", "true", duration=i) for i in range(10_000)]
    schedule(tasks, ONE, on_progress=lambda ended, total: told.append((ended, total)))
    ended = [e for e, _ in told]
    assert ended == sorted(ended) and len(ended) >= 3 and 0 < ended[0] < ended[-1] == 10_000
    assert {total for _, total in told} == {10_000}
