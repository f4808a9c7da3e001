"""What a user says about mishaps, as the core is told it."""

from __future__ import annotations

import numpy as np
import pytest

from fastsched import FailureModel, Policy, Worker, WorkerEvent

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


def test_bounds_are_taken():
    for right in ({"jitter": 1}, {"jitter": 0}, {"backoff": 10**9}, {"max_ooms": np.int64(0)}, {"seed": 0}):
        Policy(**right)
    FailureModel(task_probability=1, worker_mtbf={"w": 0})
    with pytest.raises(ValueError, match=r"FailureModel\.task_probability is"):
        FailureModel(task_probability={"a": 0.5, "b": 1.5})


def test_an_event_names_what_is_known_and_whom_it_is_about():
    worker = Worker("w", 1, 1)
    assert WorkerEvent(1, "lose", "w").workers == ["w"] == WorkerEvent(1, "lose", ["w"]).workers
    assert WorkerEvent(1, "resize", worker).workers == [worker]
    with pytest.raises(ValueError, match="did you mean 'drain'"):
        WorkerEvent(1, "drian", "w")
    with pytest.raises(TypeError, match="its new capacity"):
        WorkerEvent(1, "resize", "w")
