"""What a user says about mishaps, as the core is told it."""

from __future__ import annotations

import numpy as np
import pytest

from fastsched import FailureModel, Policy, Task, ValidationError, Worker, WorkerEvent, schedule

S = 10**9


def test_a_policy_in_the_units_of_the_core():
    policy = Policy(
        backoff=0.5, backoff_cap=8, jitter=0.25, max_losses=1, max_ooms=2, on_oom="1.5x", quarantine_after=4,
        probation=0.75, reserve_after=3, seed=2**64 - 1,
    )  # fmt: skip
    assert policy.core_options() == {
        "backoff": S // 2,
        "backoff_cap": 8 * S,
        "jitter": 250,
        "max_losses": 1,
        "max_ooms": 2,
        "oom_growth": 1500,
        "quarantine_after": 4,
        "probation": 3 * S // 4,
        "reserve_after": 3 * S,
        "seed": 2**64 - 1,
    }


def test_what_is_not_said_is_not_done():
    told = Policy().core_options()
    assert (told["backoff"], told["oom_growth"], told["reserve_after"]) == (0, 1000, -1)
    assert Policy(reserve_after=0).core_options()["reserve_after"] == 0, "at once is not never"


@pytest.mark.parametrize(
    "wrong",
    [
        {"backoff": -1},
        {"backoff_cap": float("nan")},
        {"probation": float("inf")},
        {"reserve_after": 1e10},
        {"jitter": 1.001},
        {"max_losses": -1},
        {"max_ooms": 0.5},
        {"quarantine_after": True},
        {"seed": 2**64},
        {"on_oom": "2"},
        {"on_oom": "0.5x"},
    ],
    ids=str,
)
def test_a_policy_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=rf"Policy\.{next(iter(wrong))} is"):
        Policy(**wrong)


@pytest.mark.parametrize("wrong", [{"backoff": None}, {"probation": "1"}, {"jitter": np.zeros(2)}], ids=str)
def test_a_policy_of_another_type_is_refused(wrong):
    with pytest.raises(TypeError, match=rf"Policy\.{next(iter(wrong))} is"):
        Policy(**wrong)


def test_bounds_are_taken():
    for right in ({"jitter": 1}, {"jitter": 0}, {"backoff": 10**9}, {"max_ooms": np.int64(0)}, {"seed": 0}):
        Policy(**right)
    FailureModel(task_probability=1, worker_mtbf={"w": 1e-9})
    with pytest.raises(ValueError, match=r"FailureModel\.task_probability is"):
        FailureModel(task_probability={"a": 0.5, "b": 1.5})
    for never in (0, 1e-10, {"w": 0}):  # which would be taken for "is not lost"
        with pytest.raises(ValueError, match=r"worker_mtbf is .*None for never"):
            FailureModel(worker_mtbf=never)
    with pytest.raises(TypeError, match=r"FailureModel\.task_probability is None"):
        FailureModel(task_probability=None)


def test_an_event_names_what_is_known_and_whom_it_is_about():
    worker = Worker("w", 1, 1)
    assert WorkerEvent(1, "lose", "w").workers == ("w",) == WorkerEvent(1, "lose", ["w"]).workers
    assert WorkerEvent(1, "lose", (name for name in "ab")).workers == ("a", "b"), "also the second time"
    assert WorkerEvent(1, "resize", worker).workers == (worker,)
    fields = {"worker_id": "w", "cpu_cores_available": 1, "memory_available_mb": 1}
    assert WorkerEvent(1, "join", fields) == WorkerEvent(1, "join", worker)
    assert WorkerEvent(1, "join", [fields, "v"]).workers == (worker, "v")
    with pytest.raises(ValidationError, match="worker_name"):
        WorkerEvent(1, "join", {"worker_name": "w"})
    for nobody in (None, 5, b"w", [None]):
        with pytest.raises(TypeError, match=r"WorkerEvent\.worker is"):
            WorkerEvent(1, "lose", nobody)
    with pytest.raises(ValueError, match="did you mean 'drain'"):
        WorkerEvent(1, "drian", "w")
    with pytest.raises(TypeError, match="its new capacity"):
        WorkerEvent(1, "resize", "w")


def test_what_is_no_policy_model_or_event_is_refused():
    tasks, workers = [Task("a", "x")], [Worker("w", 1, 128)]
    for option, wrong in {
        "policy": {"backoff": 1},
        "failures": 0.5,
        "outcome": True,
        "events": WorkerEvent(1, "lose", "w"),
    }.items():
        with pytest.raises(TypeError, match=f"^{option} is "):
            schedule(tasks, workers, **{option: wrong})
    for wrong in ([{"at": 1}], [WorkerEvent(1, "lose", "w"), None]):
        with pytest.raises(TypeError, match=r"^events\[[01]\] is .*WorkerEvent is wanted"):
            schedule(tasks, workers, events=wrong)


def test_an_event_at_the_beginning_comes_before_what_starts_then():
    tasks = [Task(f"t{i}", "x", duration=10) for i in range(2)]
    workers = [Worker("a", 1, 128), Worker("b", 1, 128)]
    for event in (
        WorkerEvent(0, "lose", "a"),
        WorkerEvent(0, "drain", "a"),
        WorkerEvent(0, "resize", Worker("a", 0, 0)),
    ):
        plan = schedule(tasks, workers, events=[event])
        assert [(p.worker_id, p.attempt, p.start) for p in plan.placements] == [("b", 1, 0.0), ("b", 1, 10.0)]
    assert schedule(tasks, workers[:1], events=[WorkerEvent(0, "join", workers[1])]).makespan == 10


def test_the_seeds_of_policy_and_failures_are_apart():
    tasks, workers = [Task("t", "x", duration=10)], [Worker("w", 1, 128)]

    def makespan(policy_seed, model_seed):
        return schedule(
            tasks, workers, max_retries=50, policy=Policy(backoff=10, jitter=1, seed=policy_seed),
            failures=FailureModel(task_probability=0.7, seed=model_seed),
        ).makespan  # fmt: skip

    assert len({makespan(seed, 1) for seed in range(5)}) == 5, "each has a jitter of its own"
    assert len({makespan(1, seed) for seed in range(5)}) > 1


def test_a_worker_that_was_brought_back_does_not_return_from_the_loss_before():
    """Lost at 4.1 s, brought back at 20 s, lost again at 63.9 s: it is away for the 100 s from then on."""
    tasks, worker = [Task(f"t{i}", "x", duration=1, max_retries=100) for i in range(100)], Worker("w", 1, 128)
    plan = schedule(
        tasks, [worker], policy=Policy(max_losses=100), events=[WorkerEvent(20, "join", worker)],
        failures=FailureModel(worker_mtbf=15, worker_repair=100, seed=0),
    )  # fmt: skip
    lost = sorted(p.end for p in plan.placements if p.outcome == "FAILED")
    assert lost[0] < 20 < lost[1]
    away = [p for p in plan.placements if lost[1] <= p.start < lost[1] + 100]
    assert away == []
