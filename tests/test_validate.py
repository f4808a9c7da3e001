"""What is possible is passed, and every way to spoil a plan is found and named."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from worlds import make_world

from fastsched import (
    FailureModel,
    InternalError,
    PlanInvalid,
    Policy,
    Task,
    TaskGraph,
    Worker,
    WorkerEvent,
    run,
    schedule,
)
from fastsched.errors import UnsatisfiableWarning

WORLDS = int(os.environ.get("FASTSCHED_WORLDS", "1600"))
NS = 10**9
posix = pytest.mark.skipif(os.name != "posix", reason="skipped: running commands needs POSIX")


@pytest.mark.parametrize("chunk", range(4))
def test_every_plan_of_a_world_is_possible(chunk):
    for seed in range(chunk, WORLDS, 4):
        world = make_world(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnsatisfiableWarning)
            plan = schedule(world.tasks, world.workers, **world.options)
        try:
            plan.validate()
        except PlanInvalid as error:
            pytest.fail(f"seed {seed}: {error}")


def wrongs(plan) -> list[tuple]:
    """(kind, task, worker, at) of every violation."""
    with pytest.raises(PlanInvalid) as caught:
        plan.validate()
    return [(v.kind, v.task_id, v.worker_id, v.at) for v in caught.value.violations]


def make_plan():
    """a -> b -> c on two workers, beside d and e; b fails once, and f for good, and g with it."""
    tasks = [
        Task("a", "x", (), 1, 10, duration=2),
        Task("b", "x", ["a"], 2, 10, duration=3),
        Task("c", "x", ["b"], 1, 10, duration=4),
        Task("d", "x", (), 1, 60, duration=5),
        Task("e", "x", (), 1, 50, duration=0),
        Task("f", "x", (), 1, 10, duration=1, max_retries=1),
        Task("g", "x", ["f", "a"], 1, 10, duration=1),
        Task("h", "x", ["g"], 1, 10, duration=1),
    ]
    workers = [Worker("v", 2, 100), Worker("w", 3, 100)]

    def outcome(task, worker, attempt):
        return task != "f" and (task != "b" or attempt > 1)

    plan = schedule(tasks, workers, outcome=outcome)
    plan.validate()
    assert plan == {**dict.fromkeys("abcde", "COMPLETED"), **dict.fromkeys("fgh", "FAILED")}
    assert {p.task_id: p.attempt for p in plan.placements} == {"a": 1, "b": 2, "c": 1, "d": 1, "e": 1, "f": 2}
    numbers = plan.plan
    numbers.log = {name: column.copy() for name, column in numbers.log.items()}
    for name in ("reason", "cause"):
        setattr(numbers, name, getattr(numbers, name).copy())
    return plan, numbers


A, B, C, D, E, F, G, H = range(8)


def move(numbers, task: int, to_ns: int) -> None:
    numbers.end_ns[task] += to_ns - numbers.start_ns[task]
    numbers.start_ns[task] = to_ns


def row(numbers, task: int, attempt: int) -> int:
    return int(np.nonzero((numbers.log["task"] == task) & (numbers.log["attempt"] == attempt))[0][0])


def test_a_task_that_starts_before_what_it_depends_on_has_ended():
    plan, numbers = make_plan()
    end = numbers.end_ns[B]
    move(numbers, C, end - 1)
    assert wrongs(plan) == [("precedence", "c", None, (end - 1) / NS)]
    with pytest.raises(PlanInvalid, match=r"c at .*: it starts before b has ended"):
        plan.validate()
    plan, numbers = make_plan()
    first = row(numbers, B, 1)
    numbers.log["start"][first] -= 1
    numbers.log["end"][first] -= 1
    assert wrongs(plan) == [("precedence", "b", None, 2 - 1 / NS)]


def test_more_on_a_worker_than_it_has():
    plan, numbers = make_plan()
    numbers._capacity[:] = numbers.terms.capacity[:] = [[2000, 100], [3000, 60]]
    numbers.worker[D], numbers.worker[A] = 1, 1
    move(numbers, A, 1 * NS)
    found = wrongs(plan)
    assert ("capacity", "a", "w", 1.0) in found and {kind for kind, *_ in found} <= {"capacity", "precedence"}
    plan, numbers = make_plan()
    numbers.terms.capacity[0, 1] = 59  # a pair, whoever is on it
    numbers.worker[[A, D]] = 0
    assert ("capacity", "d", "v", numbers.start_ns[D] / NS) in wrongs(plan)
    with pytest.raises(PlanInvalid, match=r"with it [67]0 of 59 memory_mb are held"):
        plan.validate()


def test_a_task_of_no_duration_needs_room_beside_what_runs_across_its_instant():
    plan, numbers = make_plan()
    numbers.worker[[D, E]] = 1
    assert plan.validate() is None  # d starts when e does: it can have gone before
    move(numbers, E, 1 * NS)
    assert wrongs(plan) == [("capacity", "e", "w", 1.0)]
    move(numbers, E, 5 * NS)
    assert plan.validate() is None  # d ends then
    numbers.end_ns[E] += 1
    assert wrongs(plan) == [("duration", "e", "w", 5.0)]


def test_durations_that_are_not_those_of_the_task():
    for by in (-1, 1):
        plan, numbers = make_plan()
        numbers.end_ns[D] += by
        assert wrongs(plan) == [("duration", "d", plan.worker_ids[numbers.worker[D]], 0.0)]
        plan, numbers = make_plan()
        first = row(numbers, B, 1)
        numbers.log["end"][first] += by
        assert ("duration", "b", plan.worker_ids[numbers.log["worker"][first]], 2.0) in wrongs(plan)


def test_attempts_that_overlap_or_are_not_numbered():
    plan, numbers = make_plan()
    move(numbers, B, numbers.start_ns[B] - 1)
    assert wrongs(plan)[0][:2] == ("overlap", "b")
    for number in (0, 2, 3):
        plan, numbers = make_plan()
        numbers.log["attempt"][row(numbers, B, 1)] = number
        assert ("attempts", "b") in {found[:2] for found in wrongs(plan)}
    plan, numbers = make_plan()
    numbers.attempts[D] = 2
    assert ("attempts", "d") in {found[:2] for found in wrongs(plan)}


def without_attempt(numbers, task: int, attempt: int) -> None:
    kept = np.arange(len(numbers.log["task"])) != row(numbers, task, attempt)
    numbers.log = {name: column[kept] for name, column in numbers.log.items()}


def test_attempts_that_are_missing():
    plan, numbers = make_plan()
    without_attempt(numbers, B, 1)
    assert {found[:2] for found in wrongs(plan)} == {("attempts", "b")}
    plan, numbers = make_plan()
    without_attempt(numbers, F, 2)
    numbers.attempts[F] = 1
    assert ("attempts", "f") in {found[:2] for found in wrongs(plan)}
    numbers.start_ns[F], numbers.end_ns[F], numbers.worker[F] = (
        numbers.log[name][row(numbers, F, 1)] for name in ("start", "end", "worker")
    )
    assert wrongs(plan) == [("retries", "f", None, None)]  # it could have been tried again


def test_attempts_nowhere_and_before_the_beginning():
    for worker in (-1, 2):
        plan, numbers = make_plan()
        numbers.worker[D] = worker
        assert wrongs(plan) == [("worker", "d", None, 0.0)]
    plan, numbers = make_plan()
    move(numbers, D, -1)
    assert wrongs(plan) == [("time", "d", plan.worker_ids[numbers.worker[D]], None)]
    plan, numbers = make_plan()
    numbers.end_ns[D] = -5
    assert {found[0] for found in wrongs(plan)} == {"time", "duration"}


def test_more_attempts_than_the_retries_allow():
    plan, numbers = make_plan()
    numbers.terms.max_retries[B] = 0
    numbers.terms.max_retries[F] = 0
    assert wrongs(plan) == [("retries", "f", None, None), ("retries", "b", None, None)]


@pytest.mark.parametrize(
    ("column", "task", "value", "kind"),
    [
        ("state", D, 1, "missing"),  # ready, for ever
        ("state", D, 2, "missing"),
        ("state", D, 5, "status"),
        ("reason", D, 1, "status"),
        ("reason", F, 0, "status"),
        ("reason", F, 2, "status"),
        ("reason", G, 1, "status"),
        ("state", G, 5, "status"),
        ("state", G, 7, "status"),
        ("cause", G, -1, "cause"),
        ("cause", G, A, "cause"),
        ("cause", H, G, "cause"),
        ("cause", H, 8, "cause"),
        ("cause", D, F, "cause"),
    ],
)
def test_statuses_and_causes_that_do_not_fit_the_graph(column, task, value, kind):
    plan, numbers = make_plan()
    getattr(numbers, column)[task] = value
    assert (kind, plan.task_ids[task]) in {found[:2] for found in wrongs(plan)}


def test_what_completed_or_was_skipped_against_its_dependencies():
    plan, numbers = make_plan()
    numbers.state[G], numbers.reason[G], numbers.cause[G], numbers.attempts[G] = 3, 0, -1, 1
    numbers.start_ns[G], numbers.end_ns[G], numbers.worker[G] = 90 * NS, 91 * NS, 0
    assert ("status", "g") in {found[:2] for found in wrongs(plan)}
    plan, numbers = make_plan()
    numbers.state[F], numbers.reason[F] = 3, 0
    without_attempt(numbers, F, 2)
    assert ("status", "g") in {found[:2] for found in wrongs(plan)}  # skipped, and f completed
    plan, numbers = make_plan()
    numbers.state[H], numbers.reason[H], numbers.cause[H] = 5, 8, -1
    assert wrongs(plan) == [("status", "h", None, None)]  # a worker could have held it


def test_a_column_that_is_too_short():
    plan, numbers = make_plan()
    numbers.cause = numbers.cause[:-1]
    assert wrongs(plan) == [("missing", None, None, None)]


def test_all_that_is_wrong_is_listed_and_the_message_is_short():
    plan, numbers = make_plan()
    numbers.end_ns[[A, C, D]] += 1
    with pytest.raises(InternalError) as caught:
        plan.validate()
    assert [v.task_id for v in caught.value.violations] == ["a", "c", "d"]
    assert str(caught.value).startswith("3 things in it cannot be:\n  a on ")
    tasks = [Task(f"t{i}", "x", duration=1) for i in range(50)]
    many = schedule(tasks, [Worker("w", 1, 1024)])
    many.plan.end_ns += 1
    with pytest.raises(PlanInvalid, match=r"\.\.\. and 30 more"):
        many.validate()


# ---------------------------------------------------------------- events


def with_events(events, **options):
    tasks = [Task(f"t{i}", "x", (), 1, 0, duration=4) for i in range(4)]
    plan = schedule(tasks, [Worker("v", 1, 512), Worker("w", 1, 512)], events=events, **options)
    plan.validate()
    return plan, plan.plan


def test_nothing_starts_where_no_worker_is():
    plan, numbers = with_events([WorkerEvent(2, "join", Worker("new", 1, 512))])
    late = numbers.worker.tolist().index(2)
    assert numbers.start_ns[late] == 2 * NS
    move(numbers, late, 2 * NS - 1)
    assert wrongs(plan) == [("presence", f"t{late}", "new", 2 - 1 / NS)]


def test_nothing_runs_on_where_a_worker_has_left():
    plan, numbers = with_events([WorkerEvent(2, "lose", "w")])
    first = row(numbers, 1, 1)
    assert numbers.log["end"][first] == 2 * NS and numbers.log["worker"][first] == 1
    numbers.log["end"][first] += 1
    assert ("presence", "t1", "w", 0.0) in wrongs(plan)
    again = int(numbers.start_ns[1])
    numbers.log["end"][first] -= 1
    numbers.worker[1] = 1
    assert wrongs(plan) == [("presence", "t1", "w", again / NS)]


def test_nothing_starts_where_a_worker_has_left_as_it_had_said():
    plan, numbers = with_events([WorkerEvent(4, "leave", "w")])
    late = int(np.nonzero(numbers.start_ns == 4 * NS)[0][0])
    assert numbers.worker[late] == 0
    numbers.worker[late] = 1
    assert wrongs(plan) == [("presence", plan.task_ids[late], "w", 4.0)]


def test_nothing_starts_where_a_worker_takes_nothing_more():
    plan, numbers = with_events([WorkerEvent(4, "drain", "w"), WorkerEvent(6, "join", "w")])
    assert numbers.start_ns[numbers.worker == 1].tolist() == [0, 6 * NS]
    late = int(np.nonzero(numbers.start_ns == 6 * NS)[0][0])
    move(numbers, late, 5 * NS)
    assert wrongs(plan) == [("presence", f"t{late}", "w", 5.0)]
    move(numbers, late, 6 * NS)
    plan.validate()


def test_room_is_what_a_worker_has_at_that_time():
    plan, numbers = with_events([WorkerEvent(4, "resize", Worker("w", 2, 512))])
    numbers.worker[:] = 1
    for task, at in enumerate((0, 4, 4, 8)):
        move(numbers, task, at * NS)
    plan.validate()
    move(numbers, 2, 4 * NS - 1)
    assert wrongs(plan) == [("capacity", "t2", "w", 4 - 1 / NS)]


def test_losses_by_chance_are_not_held_against_a_plan():
    tasks = [Task(f"t{i}", "x", duration=4) for i in range(40)]
    plan = schedule(
        tasks,
        [Worker("v", 2, 512), Worker("w", 2, 512)],
        failures=FailureModel(worker_mtbf=5, worker_repair=1, seed=3),
        policy=Policy(max_losses=1),
    )
    plan.validate()
    assert "WORKER_LOST" in plan.reasons.values()
    plan.plan.terms = plan.plan.terms._replace(max_losses=2)
    assert {found[0] for found in wrongs(plan)} == {"retries"}


# ---------------------------------------------------------------- large plans, and runs


def test_a_large_plan_is_passed_and_one_wrong_attempt_in_it_is_found():
    rng, n = np.random.default_rng(11), 60_000
    parents = (rng.random(n) * np.arange(n)).astype(np.int64)
    graph = TaskGraph.from_arrays(
        np.concatenate(([0, 0], np.arange(1, n))),
        parents[1:],
        rng.integers(1, 5, (n, 2)) * [1000, 100],
        duration=rng.integers(0, 20, n),
    )
    plan = schedule(graph, [Worker(f"w{i}", 16, 1500) for i in range(30)])
    plan.validate()
    at = plan.plan.end_ns[parents]
    tight = int(np.nonzero((plan.plan.start_ns == at) & (np.arange(n) > 0) & (graph.duration > 0))[0][777])
    move(plan.plan, tight, int(at[tight]) - 1)
    assert ("precedence", str(tight), None, (at[tight] - 1) / NS) in wrongs(plan)


@posix
def test_what_really_ran_is_passed_and_what_cannot_have_been_is_found(tmp_path):
    tasks = [
        Task("a", "true"),
        Task("b", "false", ["a"], max_retries=1),
        Task("c", "true", ["b"]),
        *[Task(f"t{i}", "true", ["a"]) for i in range(20)],
    ]
    result = run(tasks, [Worker("v", 2, 512), Worker("w", 1, 512)], run_dir=tmp_path / "run")
    result.validate()
    assert result["c"] == "FAILED" and len(result.attempts) == 23
    move(result.plan, 5, int(result.plan.end_ns[0]) - 1)
    assert ("precedence", "t2") in {found[:2] for found in wrongs(result)}
