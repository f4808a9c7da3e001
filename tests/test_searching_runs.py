"""`run(optimize=)`: what a search finds is followed, and looked for again beside the run where it is behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from test_following import crowd, live, present_of

from fastsched import Optimize, Scheduler, Task, run, schedule
from fastsched.cli import main
from fastsched.engines.simulated import Command, SimulatedEngine
from fastsched.events import AttemptStarted, PlanFollowed, Replanned
from fastsched.planner import TaskGraph
from fastsched.runtime import replan as replanning
from fastsched.runtime.pilot import AtOnce
from fastsched.runtime.run import play
from fastsched.runtime.session import Session, Settings
from fastsched.runtime.view import PastRun

NS = 10**9
SEARCH = Optimize(schedules=400, seed=1)


def test_a_run_that_searches_is_as_long_as_the_plan_that_was_found():
    n_shorter = 0
    for seed in range(20):
        tasks, workers, _ = crowd(50, seed)
        plain, _, _ = live(tasks, workers, None)
        plan = schedule(tasks, workers, optimize=SEARCH)
        result, events, loop = live(tasks, workers, None, optimize=SEARCH)
        (followed,) = [event for event in events if isinstance(event, PlanFollowed)]
        assert result.all_completed and followed.n_tasks == len(tasks), f"seed {seed}"
        assert followed.ends_ns - followed.at_ns == plan.plan.makespan_ns, f"seed {seed}"
        assert result.makespan <= plan.makespan, f"seed {seed}"
        assert result.makespan <= plain.makespan, f"seed {seed}"
        assert not [event for event in events if isinstance(event, Replanned)], f"seed {seed}"
        n_shorter += result.makespan < plain.makespan * 0.99
        loop.state.check()
    assert n_shorter >= 10


def test_a_run_that_is_behind_searches_again(monkeypatch):
    searches = []
    found_by = replanning.search_for

    def search_for(present, *args):
        before = args[1].max()
        searches.append((present, found_by(present, *args), before, args[1].max()))
        return searches[-1][1]

    monkeypatch.setattr(replanning, "search_for", search_for)
    n_found = 0
    for seed in range(8):
        tasks, workers, factors = crowd(60, seed)
        result, events, loop = live(tasks, workers, None, factors=factors, replan=0.05, optimize=SEARCH)
        anew = [event for event in events if isinstance(event, Replanned)]
        assert result.all_completed and anew, f"seed {seed}"
        assert all(event.ends_ns <= event.was_ns for event in anew), f"seed {seed}"
        assert loop.state.followed.n_anew == len(anew)
    for present, was_found, before, after in searches:
        assert not was_found or after <= before
        n_found += was_found
        assert present.is_running.any() or not present.n_waiting
    assert n_found


def test_what_a_search_adds_to_a_plan_of_the_rest_is_a_plan_of_the_rest():
    """What runs stays where it is until its expected end, every task is there once, and the plan is no longer."""
    n_shorter = 0
    for seed in range(12):
        tasks, workers, factors = crowd(60, seed)
        present = present_of(tasks, workers, factors, after=60)
        as_it_is = replanning.play(present, present.key, present.worker, present.not_before)
        plain, searched = replanning.replan(present, as_it_is), replanning.replan(present, as_it_is, SEARCH)
        assert searched.ends_ns <= plain.ends_ns, f"seed {seed}"
        n_shorter += searched.ends_ns < plain.ends_ns
        assert sorted(searched.tasks.tolist()) == present.tasks.tolist(), f"seed {seed}"
        place = np.searchsorted(present.tasks, searched.tasks)
        runs = present.is_running[place]
        assert runs.any() and (searched.start_ns[runs] == present.now_ns).all(), f"seed {seed}"
        assert (searched.worker[runs] == present.workers[present.worker[place[runs]]]).all(), f"seed {seed}"
        again = replanning.replan(present, as_it_is, SEARCH)
        assert again.tasks.tolist() == searched.tasks.tolist() and again.ends_ns == searched.ends_ns, "the same again"
        found = replanning.look_for_shorter(present, SEARCH)
        assert (found.route is None) == (searched.ends_ns == as_it_is.ends_ns), f"seed {seed}"
    assert n_shorter >= 4


def test_a_search_beside_a_run_is_bounded():
    few = replanning.budget_for(Optimize(seconds=600, threads=2, seed=5), 1000, 10)
    assert few.seconds is None and few.threads == 1 and few.seed == 5
    assert 20 <= few.schedules <= replanning.SEARCH_S / (1000 * 1e-6)
    assert replanning.budget_for(Optimize(schedules=30), 100, 1).schedules == 30
    assert replanning.budget_for(Optimize(seconds=0.001), 10_000, 100) is None, "not worth it"
    assert replanning.budget_for(Optimize(seconds=600), 100_000, 1000) is None, "it could not be ended"


def test_a_scheduler_plans_what_is_submitted_and_nothing_waits_for_that():
    """With commands that really take their time. The first may start before there is a plan of them."""
    given, workers, _ = crowd(60, 4)
    tasks = [
        Task(
            t.task_id, f"sleep {t.duration / 100}", t.dependencies, t.cpu_cores_required, 10, duration=t.duration / 100
        )
        for t in given
    ]
    with Scheduler(workers, optimize=SEARCH, capture=False, replan=None) as scheduler:
        events = scheduler.events()
        scheduler.submit_all(tasks)
        assert scheduler.wait(120)
        state = scheduler._loop.state
        state.check()
        assert state.followed is not None and scheduler._loop.pilot.guide is None
    told = list(events)
    planned = [i for i, event in enumerate(told) if isinstance(event, PlanFollowed)]
    started = [i for i, event in enumerate(told) if isinstance(event, AttemptStarted)]
    assert planned and planned[0] < started[-1]
    assert told[planned[0]].n_tasks > 30, "what had not ended by then"


def test_a_plan_and_a_search_exclude_each_other_and_odd_budgets_are_refused():
    tasks, workers, _ = crowd(5)
    with pytest.raises(ValueError, match="leave out optimize, or the plan"):
        run(tasks, workers, plan=schedule(tasks, workers), optimize=1.0, capture=False)
    with pytest.raises(TypeError, match="optimize is 'a'"):
        run(tasks, workers, optimize="a", capture=False)
    with pytest.raises(ValueError, match="seconds is -1"):
        Scheduler(workers, optimize=-1, capture=False)


def test_who_takes_a_run_up_goes_on_searching(tmp_path):
    tasks, workers, factors = crowd(60, 2)
    folder = tmp_path / "run"
    _, _, loop = live(tasks, workers, None, journal=folder, replan=0.05, walltime=60, optimize=SEARCH)
    assert loop.out_of_time and PastRun(folder).opened.searches
    lasts = {task.task_id: task.duration * factors[task.task_id] for task in tasks}
    engine = SimulatedEngine(0, lambda order, _: Command(lasts[order.task_id]))
    settings = Settings(engine=engine, capture=False, journal=folder, inherited=("replan",))
    session = Session(
        settings, TaskGraph([]), None, settled=True, fresh=False, clock=engine.clock, aside=AtOnce()
    )  # fmt: skip
    events = []
    assert play(session, events.append, None).all_completed
    assert session.loop.pilot._budget is not None
    assert [event for event in events if isinstance(event, Replanned)]
    assert PastRun(folder).ledger.state.digest() == session.loop.state.digest()
    session.loop.state.check()


# ---------------------------------------------------------------- with commands


def job_file(tmp_path, command="true", n=12):
    """A chain that has to go first, between tasks that ask for both cores: a search finds a shorter plan."""
    tasks = [
        {"task_id": f"t{i}", "command": command, "cpu_cores_required": 1 + i % 3, "memory_required_mb": 10,
         "duration": 0.05 * (1 + i * i % 7), "dependencies": [f"t{i - 5}"] if i > 4 else []}
        for i in range(n)
    ]  # fmt: skip
    workers = [{"worker_id": "w", "cpu_cores_available": 4, "memory_available_mb": 1000}]
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"tasks": tasks, "workers": workers}))
    return str(path)


def test_the_command_line_searches_before_it_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = job_file(tmp_path)
    assert main(["run", job, "--schedules", "200", "--seed", "3", "--run-dir", "here"]) == 0
    past = PastRun(tmp_path / "here")
    assert past.opened.searches and len(past.ledger.state.guide()) == 12
    capsys.readouterr()
    assert main(["run", job, "--optimize", "100ms", "-n"]) == 0
    assert "makespan" in capsys.readouterr().out
    assert main(["plan", job, "--save", "plan.json"]) == 0
    for words, said in (
        (["--optimize", "1s", "--plan", "plan.json"], "leave out --optimize"),
        (["--target-gap", "1%"], "say --optimize or --schedules too"),
        (["--optimize", "soon"], "soon"),
    ):
        with pytest.raises(SystemExit):
            main(["run", job, *words])
        assert said in capsys.readouterr().err


LONG_SEARCH = """
import sys
from fastsched import Optimize, Task, Worker, run
tasks = [Task(f"t{i}", "true", [f"t{i - 9}"] * (i > 8), 3 + i % 2, 10, duration=1 + i * i % 11 / 10) for i in range(40)]
budget = Optimize(seconds=100, on_progress=lambda _: print("searching", flush=True))
done = run(tasks, [Worker("v", 10, 1000), Worker("w", 3, 1000)], optimize=budget, journal="here")
print("completed", done.all_completed, flush=True)
"""


def test_ctrl_c_ends_the_search_and_the_run_begins(tmp_path):
    """The bound is not met, so the search would go on for long."""
    child = subprocess.Popen(
        [sys.executable, "-c", LONG_SEARCH],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    began = time.monotonic()
    assert child.stdout.readline() == "searching\n"
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0 and out.endswith("completed True\n") and not err, (out, err)
    assert time.monotonic() - began < 90
    assert len(PastRun(tmp_path / "here").ledger.state.guide()) == 40
