"""A run beside its plan: the parts of each delay, and of the whole, add up."""

from __future__ import annotations

import random

import pytest

from fastsched import FailureModel, Run, Schedule, Task, Worker, WorkerEvent, schedule

ONE = [Worker("w", 1, 1024)]
PARTS = ("dependency", "waiting", "retries", "lost", "duration")


def as_run(played: Schedule) -> Run:
    """What was played in virtual time, as if it had happened."""
    return Run(played.task_ids, played.worker_ids, played.plan, [], "", False)


def of(compared, task_id):
    return next(row for row in compared.rows if row.task_id == task_id)


def parts_of(row):
    return tuple(getattr(row, name) for name in PARTS)


def test_a_run_that_went_as_planned_is_late_for_nothing():
    plan = schedule([Task("a", "x", duration=2), Task("b", "x", ["a"], duration=3)], ONE)
    compared = as_run(plan).against(plan)
    assert compared.delay == 0 and set(compared.causes.values()) == {0} and compared.chain == ("a", "b")
    assert all(parts_of(row) == (0, 0, 0, 0, 0) and row.delay == 0 for row in compared.rows)
    row = of(compared, "b")
    assert (row.planned_start, row.planned_end, row.actual_start, row.actual_end) == (2, 5, 2, 5)
    assert (row.planned_worker, row.actual_worker, row.dependency_id) == ("w", "w", "a")


def test_a_task_that_took_longer_makes_what_depends_on_it_late_and_what_waits_for_its_room():
    tasks = [Task("a", "x", duration=2), Task("b", "x", ["a"], duration=3, priority=1), Task("c", "x", duration=1)]
    late = [Task("a", "x", duration=4), *tasks[1:]]
    compared = as_run(schedule(late, ONE)).against(schedule(tasks, ONE))
    assert parts_of(of(compared, "a")) == (0, 0, 0, 0, 2)
    assert parts_of(of(compared, "b")) == (2, 0, 0, 0, 0) and of(compared, "b").dependency_id == "a"
    assert parts_of(of(compared, "c")) == (0, 2, 0, 0, 0) and of(compared, "c").dependency_id is None
    assert compared.planned_makespan == 6 and compared.actual_makespan == 8 and compared.delay == 2


def test_failures_and_lost_workers_are_told_apart():
    tasks = [Task("a", "x", duration=2), Task("b", "x", ["a"], duration=3)]
    plan = schedule(tasks, ONE)
    failing = schedule(tasks, ONE, outcome=lambda task, worker, attempt: attempt == 3 or task == "b")
    compared = as_run(failing).against(plan)
    assert parts_of(of(compared, "a")) == (0, 0, 4, 0, 0)
    assert compared.causes == {"waiting": 0, "retries": 4, "lost": 0, "duration": 0, "slack": 0}
    events = [WorkerEvent(1, "lose", ["w"]), WorkerEvent(4, "join", ["w"])]
    compared = as_run(schedule(tasks, ONE, events=events)).against(plan)
    assert parts_of(of(compared, "a")) == (0, 0, 0, 4, 0), "its attempt, and the time until the worker was back"
    assert compared.causes == {"waiting": 0, "retries": 0, "lost": 4, "duration": 0, "slack": 0}


def test_what_the_plan_had_to_spare_along_the_realised_chain_counts_against_the_delay():
    two = [Worker("w", 1, 1024), Worker("v", 1, 1024)]
    plan = schedule([Task("long", "x", duration=10), Task("short", "x", duration=4)], two)
    actual = schedule([Task("long", "x", duration=10), Task("short", "x", duration=13)], two)
    compared = as_run(actual).against(plan)
    assert compared.chain == ("short",) and compared.delay == 3
    assert compared.causes == {"waiting": 0, "retries": 0, "lost": 0, "duration": 9, "slack": -6}


def test_what_did_not_come_to_its_end_has_no_delay():
    tasks = [Task("a", "x", duration=2, max_retries=0), Task("b", "x", ["a"], duration=3), Task("c", "x", duration=1)]
    plan = schedule(tasks, ONE)
    compared = as_run(schedule(tasks, ONE, outcome=lambda task, *_: task != "a")).against(plan)
    assert of(compared, "b").delay is None and of(compared, "b").actual_start is None
    assert of(compared, "b").planned_end is not None
    assert of(compared, "a").delay == 0, "it failed when it was to end"
    assert compared.actual_makespan == 3


def test_a_plan_may_be_given_as_placements_in_any_order_of_tasks():
    tasks = [Task("a", "x", duration=2), Task("b", "x", ["a"], duration=3), Task("c", "x", duration=1)]
    plan = schedule(tasks[::-1], ONE)
    ran = as_run(schedule(tasks, ONE))
    assert ran.against(plan) == ran.against(plan.placements) == ran.against(as_run(plan))
    some = ran.against([placement for placement in plan.placements if placement.task_id != "c"])
    assert of(some, "c").delay is None and of(some, "c").planned_start is None


def test_a_plan_of_other_tasks_is_refused():
    ran = as_run(schedule([Task("a", "x")], ONE))
    with pytest.raises(ValueError, match="none of the tasks"):
        ran.against(schedule([Task("z", "x")], ONE))
    with pytest.raises(ValueError, match="none of the tasks"):
        ran.against(schedule([Task("z", "x")], ONE).placements)
    nothing = as_run(schedule([], ONE)).against(schedule([], ONE))
    assert nothing.rows == () and nothing.chain == () and nothing.delay == 0


@pytest.mark.filterwarnings("ignore::fastsched.UnsatisfiableWarning")
def test_a_plan_in_which_nothing_could_start_is_a_plan():
    hopeless = schedule([Task("a", "x", [], 9)], ONE)
    ran = as_run(schedule([Task("a", "x", duration=2)], ONE))
    for plan in (hopeless, hopeless.placements):
        compared = ran.against(plan)
        assert of(compared, "a").delay is None and compared.planned_makespan == 0 and compared.causes["duration"] == 2


@pytest.mark.filterwarnings("ignore::fastsched.UnsatisfiableWarning")
def test_the_parts_add_up_whatever_happens():
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    for world in range(150):
        where = f"seed {seed}, world {world}"
        n = chance.randrange(1, 25)
        tasks = [
            Task(
                f"t{i}",
                "x",
                sorted({f"t{chance.randrange(i)}" for _ in range(chance.randrange(3))}) if i else [],
                chance.choice((0, 0.5, 1, 2)),
                duration=chance.choice((None, 0, chance.uniform(0, 9))),
                max_retries=chance.randrange(3),
            )
            for i in range(n)
        ]
        happened = [Task(**{**fields(task), "duration": chance.uniform(0, 12)}) for task in tasks]
        workers = [Worker(f"w{i}", chance.choice((1, 2)), 1024) for i in range(chance.randrange(1, 4))]
        mishaps = FailureModel(task_probability=0.2, worker_mtbf=20, worker_repair=3, seed=chance.randrange(10**6))
        plan = schedule(tasks, workers, failures=mishaps if chance.random() < 0.3 else None)
        played = schedule(happened, workers, failures=mishaps)
        compared = as_run(played).against(plan)
        first, last, by_id = {}, {}, {task.task_id: task for task in tasks}
        for placement in played.placements:
            first.setdefault(placement.task_id, placement.start)
            last[placement.task_id] = placement.end
        for row in compared.rows:
            assert row.actual_start == pytest.approx(first.get(row.task_id)), where
            assert row.actual_end == pytest.approx(last.get(row.task_id)), where
            if row.delay is not None:
                assert row.delay == pytest.approx(sum(parts_of(row)), abs=1e-8), where
                assert row.delay == pytest.approx(row.actual_end - row.planned_end, abs=1e-8), where
                before = [of(compared, name) for name in by_id[row.task_id].dependencies]
                was, is_ = (
                    max((getattr(b, side) for b in before), default=0) for side in ("planned_end", "actual_end")
                )
                assert row.dependency == pytest.approx(is_ - was, abs=1e-8), where
                assert (row.dependency_id is None) == (not before), where
        assert compared.actual_makespan == pytest.approx(max(last.values(), default=0)), where
        assert compared.delay == pytest.approx(sum(compared.causes.values()), abs=1e-8), where
        assert compared.causes["slack"] <= 1e-9, where
        for before, after in zip(compared.chain, compared.chain[1:]):
            assert before in by_id[after].dependencies, where


def fields(task):
    return {name: getattr(task, name) for name in task.__struct_fields__}
