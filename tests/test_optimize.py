"""`schedule(optimize=)`: never longer, always possible, the same for the same seed; what it may cost; how it ends."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fastsched
from fastsched import Optimize, Task, TaskStatus, Worker, WorkerEvent, planner, schedule
from fastsched.bounds import Bounds
from fastsched.cli import main
from fastsched.optimize import SEARCH, Progress, Spending
from fastsched.plan import Plan
from fastsched.portfolio import PAIRS, Passes
from fastsched.ranks import RANKS

ROOT = Path(__file__).resolve().parent.parent
WORLDS = 60


def make_world(seed: int) -> tuple[list[Task], list[Worker]]:
    """Tasks and workers from a seed; now and then a task that no worker can hold."""
    rng = random.Random(seed)
    n = rng.randint(1, 60)
    workers = [
        Worker(f"w{i}", rng.choice([1, 2, 4, 8]), rng.choice([512, 1024, 4096]), resources={"gpu": rng.randint(0, 2)})
        for i in range(rng.randint(1, 5))
    ]
    tasks = []
    for i in range(n):
        too_much = rng.random() < 0.02
        host = rng.choice(workers)
        tasks.append(
            Task(
                f"t{i}",
                "true",
                cpu_cores_required=100 if too_much else rng.randint(1, int(host.cpu_cores_available)),
                memory_required_mb=rng.randint(0, host.memory_available_mb),
                duration=rng.choice([0.0, 0.25, 1.0, 3.7, 10.0]) if rng.random() < 0.3 else rng.uniform(0.1, 9),
                dependencies=[f"t{d}" for d in rng.sample(range(i), min(i, rng.choice([0, 0, 1, 2])))],
                priority=rng.choice([0, 0, 0, 5]),
                resources={"gpu": rng.randint(0, (host.resources or {}).get("gpu", 0))},
            )
        )
    return tasks, workers


@pytest.mark.filterwarnings("ignore::fastsched.UnsatisfiableWarning")
@pytest.mark.parametrize("seed", range(WORLDS))
def test_a_search_ends_in_a_plan_that_is_possible_not_longer_and_the_same_again(seed: int) -> None:
    tasks, workers = make_world(seed)
    plain = schedule(tasks, workers)
    best_pass = schedule(tasks, workers, rank="auto", fit="auto")
    found = schedule(tasks, workers, optimize=Optimize(schedules=150, seed=seed))
    found.validate()
    assert dict(found) == dict(plain), seed
    assert found.reasons == plain.reasons
    assert found.lower_bound <= found.makespan <= min(plain.makespan, best_pass.makespan), seed
    if len(workers) > 1:  # on one, `auto` searches too
        assert (found.rank == SEARCH) == (found.makespan < min(plain.makespan, best_pass.makespan)), seed
    again = schedule(tasks, workers, optimize=Optimize(schedules=150, seed=seed))
    assert again.placements == found.placements, seed
    assert found.plan.n_schedules <= 150


def test_a_search_finds_what_no_list_rule_does() -> None:
    tasks, workers = hard()
    found = schedule(tasks, workers, optimize=Optimize(schedules=2000))
    found.validate()
    assert all(found.makespan < schedule(tasks, workers, rank=rank).makespan for rank in ("auto", *RANKS))


def test_more_threads_share_the_schedules_and_answer_the_same_every_time() -> None:
    tasks, workers = make_world(11)
    budget = Optimize(schedules=300, seed=3, threads=3)
    one, other = (schedule(tasks, workers, optimize=budget) for _ in range(2))
    one.validate()
    assert one.placements == other.placements
    assert one.plan.n_schedules <= 300


def test_the_threads_answer_the_best_of_what_each_finds_and_no_schedule_more() -> None:
    """A thread draws from a seed of its own."""
    tasks, workers = hard()
    differ = 0
    for seed in (3, 4, 5, 6):
        seeds = [seed + 0x9E3779B9 * thread for thread in range(3)]
        alone = [schedule(tasks, workers, optimize=Optimize(schedules=150, seed=one)).makespan for one in seeds]
        together = schedule(tasks, workers, optimize=Optimize(schedules=450, seed=seed, threads=3))
        assert together.makespan == min(alone), seed
        differ += min(alone) < alone[0]
    assert differ, "the first thread is always the best: this shows nothing"
    for schedules in (1000, 1001):
        made = schedule(tasks, workers, optimize=Optimize(schedules=schedules, threads=3)).plan.n_schedules
        assert schedules - 6 <= made <= schedules


def test_tasks_that_take_no_time_cost_none_and_the_bound_is_met_beside_them() -> None:
    tasks, workers = hard(60)
    tasks += [Task(f"moment{i}", "true", [f"t{7 * i}"], 12, duration=0) for i in range(8)]
    found = schedule(tasks, workers, optimize=Optimize(schedules=500))
    found.validate()
    assert found.rank == SEARCH
    assert all(p.start == int(p.start) for p in found.placements), "all durations are whole seconds"
    gap = found.plan.makespan_ns / found.plan.bound.ns - 1
    near = schedule(tasks, workers, optimize=Optimize(schedules=15_000, target_gap=gap))
    assert near.makespan <= found.makespan
    assert near.plan.n_schedules < 14_000, "it was good enough long before"


def hard(n: int = 120) -> tuple[list[Task], list[Worker]]:
    """Tasks for which no bound is met."""
    rng = random.Random(1)
    tasks = [
        Task(
            f"t{i}",
            "true",
            cpu_cores_required=rng.randint(1, 7),
            duration=rng.randint(1, 10),
            dependencies=[f"t{d}" for d in rng.sample(range(max(0, i - 20), i), min(i, 2))],
        )
        for i in range(n)
    ]
    return tasks, [Worker("w", 12, 10**6)]


def test_seconds_end_it_and_progress_is_told() -> None:
    tasks, workers = hard()
    told: list[Progress] = []
    began = time.monotonic()
    found = schedule(tasks, workers, optimize=Optimize(seconds=0.6, on_progress=told.append))
    assert time.monotonic() - began < 30  # on a machine with much else to do
    found.validate()
    assert found.plan.n_schedules > 0
    assert told
    assert [p.best for p in told] == sorted((p.best for p in told), reverse=True)
    assert all(p.gap == pytest.approx(p.best / p.bound - 1) and p.bound <= found.lower_bound for p in told)
    assert told[-1].schedules <= found.plan.n_schedules


def test_it_ends_when_it_is_good_enough() -> None:
    tasks, workers = hard()
    found = schedule(tasks, workers, optimize=Optimize(seconds=600, target_gap=10.0))
    assert found.plan.n_schedules <= 100  # what a search begins with is already
    just_below = found.plan.makespan_ns / found.plan.bound.ns - 1.0001
    near = schedule(tasks, workers, optimize=Optimize(schedules=10**9, target_gap=just_below))
    assert near.plan.n_schedules < 10**9
    assert near.makespan <= found.makespan
    assert near.gap <= just_below, "the gap that was asked for lies between two whole seconds"


def test_ctrl_c_answers_the_best_so_far() -> None:
    tasks, workers = hard()
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    found = schedule(tasks, workers, optimize=Optimize(schedules=10**12))
    found.validate()
    assert 0 < found.plan.n_schedules < 10**12
    assert threading.active_count() < 10


@pytest.mark.parametrize("budget", [Optimize(schedules=10**12), Optimize(seconds=600)])
def test_ctrl_c_in_a_pass_answers_the_shortest_so_far(monkeypatch: pytest.MonkeyPatch, budget: Optimize) -> None:
    tasks, workers = hard(60)
    workers.append(Worker("v", 12, 10**6))
    asked, plan = [], Passes.plan

    def interrupted(self: Passes, rank: str, fit: str) -> Plan:
        asked.append((rank, fit))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return plan(self, rank, fit)

    monkeypatch.setattr(Passes, "plan", interrupted)
    found = schedule(tasks, workers, optimize=budget)
    found.validate()
    assert (found.plan.rank, found.plan.fit) in asked[:2]
    assert found.plan.n_schedules == 0
    assert found.makespan == min(schedule(tasks, workers, rank=rank, fit=fit).makespan for rank, fit in asked[:2])
    asked[:] = [("", "")] * 2
    with pytest.raises(KeyboardInterrupt):
        schedule(tasks, workers, optimize=budget)


def test_ctrl_c_is_for_the_caller_where_nobody_has_asked_for_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(plan: Plan, spending: Spending) -> Plan:
        raise KeyboardInterrupt

    monkeypatch.setattr(planner, "improve", interrupted)
    tasks, workers = hard(60)
    with pytest.raises(KeyboardInterrupt):
        schedule(tasks, workers, rank="auto", fit="auto")
    assert schedule(tasks, workers, optimize=1.0).plan.n_schedules == 0


def test_the_end_is_told_however_soon_it_is() -> None:
    tasks, workers = hard(30)
    told: list[Progress] = []
    found = schedule(tasks, workers, optimize=Optimize(schedules=70, on_progress=told.append))
    assert told[-1].schedules == found.plan.n_schedules == 70
    assert told[-1].best >= found.makespan
    with pytest.raises(TypeError, match="on_progress is 'told'"):
        Optimize(schedules=70, on_progress="told")  # type: ignore[arg-type]


def test_numbers_of_numpy_are_as_good_as_any() -> None:
    tasks, workers = hard(30)
    found = schedule(
        tasks, workers, optimize=Optimize(schedules=np.int16(300), seed=np.int64(2**62), threads=np.int8(2))
    )
    same = schedule(tasks, workers, optimize=Optimize(schedules=300, seed=2**62, threads=2))
    assert found.placements == same.placements


def test_so_many_schedules_as_auto_has_are_a_search_as_any_other() -> None:
    tasks, workers = hard(60)
    told: list[Progress] = []
    found = schedule(tasks, workers, optimize=Optimize(schedules=24, on_progress=told.append))
    assert told[-1].bound == found.lower_bound


def test_a_plan_of_one_task_keeps_what_its_pass_made_of_it() -> None:
    workers = [Worker("small", 2, 1024), Worker("large", 4, 4096)]
    for rank, fit, worker in (("fifo", "best-fit", "small"), ("fifo", "most-free", "large")):
        tasks = [Task("t", "true", duration=1)]
        found = schedule(tasks, workers, rank=rank, fit=fit, optimize=Optimize(schedules=10))
        assert (found.plan.rank, found.plan.fit) == (rank, fit)
        assert [placement.worker_id for placement in found.placements] == [worker]


def test_a_graph_compiled_once_is_searched_too_and_a_number_means_seconds() -> None:
    tasks, workers = hard(40)
    plan = fastsched.TaskGraph(tasks).schedule(workers, optimize=0.05)
    assert plan.all_completed
    assert plan.lower_bound_ns <= plan.makespan_ns


def test_nothing_to_do_is_done() -> None:
    assert schedule([], [Worker("w", 1, 1)], optimize=1.0).makespan == 0
    with pytest.warns(fastsched.UnsatisfiableWarning):
        found = schedule([Task("t", "true", cpu_cores_required=9)], [Worker("w", 1, 1)], optimize=1.0)
    assert found["t"] is TaskStatus.FAILED


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no end"),
        ({"seconds": -1}, "seconds is -1"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"schedules": 0}, "schedules is 0"),
        ({"schedules": True}, "schedules is True"),
        ({"schedules": 10, "threads": 0}, "threads is 0"),
        ({"schedules": 10, "seed": -1}, "seed is -1"),
        ({"schedules": 10, "target_gap": -0.1}, "target_gap is -0.1"),
        ({"seconds": "2s"}, "seconds is '2s'"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Optimize(**options)  # type: ignore[arg-type]


def test_a_search_wants_a_world_in_which_nothing_goes_wrong() -> None:
    tasks, workers = hard(5)
    with pytest.raises(ValueError, match="nothing goes wrong"):
        schedule(tasks, workers, optimize=1.0, events=[WorkerEvent(1, "lose", "w")])
    with pytest.raises(TypeError, match="optimize is 'fast'"):
        schedule(tasks, workers, optimize="fast")  # type: ignore[arg-type]


def plan_file(folder: Path) -> str:
    tasks, _ = hard(40)
    path = folder / "job.json"
    job = {
        "tasks": [
            {
                "task_id": t.task_id,
                "command": "true",
                "cpu_cores_required": t.cpu_cores_required,
                "duration": t.duration,
                "dependencies": list(t.dependencies),
            }
            for t in tasks
        ],
        "workers": [{"worker_id": "w", "cpu_cores_available": 12, "memory_available_mb": 10**6}],
    }
    path.write_text(json.dumps(job))
    return str(path)


def fastsched_plan(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastsched", "plan", *words], capture_output=True, text=True, timeout=120, check=False
    )


def test_the_command_line_searches_and_says_what_it_took(tmp_path: Path) -> None:
    path = plan_file(tmp_path)
    plain = json.loads(fastsched_plan(path, "--format", "json").stdout)
    answer = fastsched_plan(path, "--schedules", "400", "--seed", "7", "--format", "json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["makespan"] <= plain["makespan"]
    assert plain["schedules"] == 0
    assert found["schedules"] <= 400
    assert json.loads(fastsched_plan(path, "--schedules", "400", "--seed", "7", "--format", "json").stdout) == found
    words = fastsched_plan(path, "--optimize", "100ms").stdout
    assert "a search of" in words


def test_the_command_line_hands_on_the_seed_and_the_gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = plan_file(tmp_path)

    def plan(*words: str) -> dict[str, object]:
        assert main(["plan", path, "--format", "json", *words]) == 0
        answer: dict[str, object] = json.loads(capsys.readouterr().out)
        return answer

    by_seed = [plan("--schedules", "100", "--seed", str(seed)) for seed in range(6)]
    assert any(answer != by_seed[0] for answer in by_seed)
    assert 0 < by_seed[0]["schedules"] <= 100  # type: ignore[operator]
    assert plan("--schedules", "100000", "--target-gap", "1000%")["schedules"] <= 100  # type: ignore[operator]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target-gap", "1%"], "say --optimize or --schedules"),
        (["--schedules", "0"], "from 1 to"),
        (["--optimize", "fast"], "--optimize"),
    ],
)
def test_the_command_line_refuses_what_makes_no_sense(tmp_path: Path, words: list[str], message: str) -> None:
    answer = fastsched_plan(plan_file(tmp_path), *words)
    assert answer.returncode == 2
    assert message in answer.stderr


def test_the_risk_of_what_a_search_found_is_that_of_its_list() -> None:
    tasks, workers = hard(60)
    found = schedule(tasks, workers, optimize=Optimize(schedules=600))
    assert found.rank == "search"
    risk = found.risk(samples=50, spread=0.1)
    assert risk.makespans_ns.shape == (50,)
    assert risk.makespans_ns.min() > 0
    workers.append(Worker("v", 12, 10**6))
    kept = schedule(tasks, workers, rank="fifo", fit="best-fit", optimize=Optimize(schedules=1))
    assert kept.rank != "search"
    again = schedule(tasks, workers, rank=kept.rank, fit=kept.fit)
    assert kept.risk(samples=5).makespans_ns.tolist() == again.risk(samples=5).makespans_ns.tolist()


def test_numbers_that_would_not_hold_the_time_leave_the_plan_as_it_is() -> None:
    tasks = [Task(f"long{i}", "true", duration=1e9 - i * 1e-9) for i in range(3)]
    tasks += [Task(f"moment{i}", "true", duration=0) for i in range(20)]
    found = schedule(tasks, [Worker("w", 2, 1024)], optimize=Optimize(schedules=200))
    found.validate()
    assert found.plan.n_schedules == 0


def test_auto_looks_at_priorities_on_one_worker_too() -> None:
    tasks, workers = hard(30)
    tasks.append(Task("urgent", "true", cpu_cores_required=12, duration=1, priority=9))
    auto = schedule(tasks, workers, rank="auto", fit="auto")
    assert next(p for p in auto.placements if p.task_id == "urgent").start == 0
    assert auto.plan.n_schedules == 0, "a search does not look at priorities"
    assert schedule(tasks[:-1], workers, rank="auto", fit="auto").plan.n_schedules > 0


def test_one_schedule_means_one_at_most() -> None:
    tasks, workers = hard(30)
    workers.append(Worker("v", 12, 10**6))
    for schedules, threads in ((1, 1), (1, 8), (10, 7)):
        found = schedule(tasks, workers, optimize=Optimize(schedules=schedules, threads=threads))
        assert found.plan.n_schedules <= schedules


@pytest.mark.parametrize("words", [["--schedules", "5", "--threads", "2000"], ["--schedules", "9" * 19]])
def test_numbers_out_of_range_are_no_bug_of_ours(tmp_path: Path, words: list[str]) -> None:
    answer = fastsched_plan(plan_file(tmp_path), *words)
    assert answer.returncode == 2, answer.stderr


def test_the_job_file_is_not_written_over_and_a_variation_takes_no_search(tmp_path: Path) -> None:
    path = plan_file(tmp_path)
    before = Path(path).read_text()
    answer = fastsched_plan(path, "--save", path)
    assert answer.returncode == 2
    assert "would be overwritten; it is the job file" in answer.stderr
    assert Path(path).read_text() == before
    answer = fastsched_plan(path, "--vary", "workers=1..2", "--schedules", "5")
    assert answer.returncode == 2
    assert "leave out --schedules" in answer.stderr


# ---------------------------------------------------------------- whose time it is


class Clock:
    """A clock that stands still, but for a step at each look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def perf_counter(self) -> float:
        self.now += self.step
        return self.now


def set_clock(monkeypatch: pytest.MonkeyPatch, step: float) -> Clock:
    clock = Clock(step)
    monkeypatch.setattr("fastsched.optimize.time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_seconds_are_those_of_the_whole_call_and_the_first_pass_is_always_made(
    monkeypatch: pytest.MonkeyPatch, n_workers: int
) -> None:
    tasks, workers = hard(60)
    workers = [Worker(f"w{i}", 12, 10**6) for i in range(n_workers)]
    plain = schedule(tasks, workers)
    clock = set_clock(monkeypatch, 1.0)

    def slowly() -> Iterator[Task]:
        clock.now += 10.0
        yield from tasks

    late = schedule(slowly(), workers, optimize=5.0)
    assert late.placements == plain.placements
    assert (late.plan.n_tried, late.plan.n_schedules) == (1, 0)
    late.validate()
    at_once = fastsched.TaskGraph(tasks).schedule(workers, optimize=0.0)
    assert at_once.makespan_ns == plain.plan.makespan_ns
    assert at_once.n_schedules == 0


def test_no_pass_is_begun_when_half_of_the_seconds_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, workers = hard(60)
    workers.append(Worker("v", 12, 10**6))
    assert schedule(tasks, workers, rank="auto", fit="auto").plan.n_tried == len(PAIRS) + 1
    tried = []
    for step in (1.0, 3.0, 30.0):
        set_clock(monkeypatch, step)
        found = schedule(tasks, workers, rank="auto", fit="auto", optimize=20.0)
        found.validate()
        tried.append(found.plan.n_tried)
    assert tried == [len(PAIRS) + 1, 4, 1]  # looks at 3, 6 and 9 s are early enough


def test_no_clock_has_a_part_in_what_so_many_schedules_find(monkeypatch: pytest.MonkeyPatch) -> None:
    for more in (0, 1):
        tasks, workers = hard(60)
        workers += [Worker("v", 12, 10**6)] * more
        expected = schedule(tasks, workers, optimize=Optimize(schedules=200, seed=4))
        with monkeypatch.context() as patch:
            set_clock(patch, 1000.0)
            found = schedule(tasks, workers, optimize=Optimize(schedules=200, seed=4))
        assert found.placements == expected.placements
        assert found.plan.n_schedules == expected.plan.n_schedules > 0


def test_bounds_that_take_long_are_left_out_of_a_short_search_unless_somebody_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, of = [], Bounds.of
    monkeypatch.setattr(Bounds, "of", lambda self, *args, **kwargs: asked.append(1) or of(self, *args, **kwargs))
    tasks, workers = hard(60)
    found = schedule(tasks, workers, optimize=0.02)
    schedule(tasks, workers, rank="auto", fit="auto")
    schedule(tasks, [*workers, Worker("v", 12, 10**6)], rank="auto", fit="auto")
    assert not asked
    assert 0 < found.lower_bound <= found.makespan  # worked out now
    assert len(asked) == 1
    told: list[Progress] = []
    for budget in (
        Optimize(seconds=0.02, target_gap=0.01),
        Optimize(seconds=0.02, on_progress=told.append),
        Optimize(seconds=0.2),
        Optimize(schedules=50),
    ):
        asked.clear()
        schedule(tasks, workers, optimize=budget)
        assert asked, budget


def test_what_meets_a_bound_that_is_seen_at_once_is_not_searched_for() -> None:
    tasks = [Task(f"t{i}", "true", [f"t{i - 1}"] if i else (), duration=2) for i in range(9)]
    for n_workers in (1, 2):
        workers = [Worker(f"w{i}", 2, 4096) for i in range(n_workers)]
        found = schedule(tasks, workers, optimize=600.0)
        assert found.makespan == 18
        assert found.plan.n_schedules == 0
