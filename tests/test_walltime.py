"""A run that has to end by a time: nothing is started that is not expected to, and it can be taken up again."""

from __future__ import annotations

import os

import pytest

from fastsched import Policy, Reason, Task, TaskStatus, Worker, run
from fastsched.cli import main
from fastsched.events import AttemptEnded, AttemptStarted, DeadlineSet, WorkerJoined
from fastsched.graph import CompiledGraph, WorkerTable
from fastsched.runtime.view import PastRun
from fastsched.state import State

pytestmark = pytest.mark.skipif(os.name != "posix", reason="skipped: commands are not run here")
NS = 10**9
JOB = """
[[workers]]
worker_id = "w"
cpu_cores_available = 2
memory_available_mb = 4096
[[tasks]]
task_id = "short"
command = "sleep 0.1"
duration = 0.1
[[tasks]]
task_id = "long"
command = "echo long"
duration = 100
[[tasks]]
task_id = "after"
command = "true"
dependencies = ["long"]
"""


def make_state(tasks, workers):
    graph = CompiledGraph(tasks)
    table = WorkerTable(workers, graph.resources)
    state = State(graph, table, rank="critical-path", fit="most-free", max_retries=3, policy=Policy())
    for worker in workers:
        state.absorb(WorkerJoined(worker.worker_id, 0), 0)
    return state


def started(state, now):
    return [choice.task_id for choice in state.decide(now) if isinstance(choice, AttemptStarted)]


def test_what_fits_into_the_time_is_completed_and_the_rest_is_unfinished(tmp_path):
    tasks = [
        Task("a", "true", duration=1),
        Task("b", "true", ["a"], duration=500),
        Task("c", "true", ["b"], duration=1),
        Task("d", "false", duration=1, max_retries=0),
        Task("e", "true", ["d"], duration=900),
    ]
    result = run(tasks, [Worker("w", 2, 1000)], journal=tmp_path / "run", walltime=100)
    assert result.interrupted and result.unfinished == ["b", "c"]
    assert result["a"] is TaskStatus.COMPLETED and result.reasons["d"] is Reason.EXIT
    assert result.reasons["e"] is Reason.DEPENDENCY, "what failed is not left for later"
    assert PastRun(tmp_path / "run").ledger.state.statuses()["b"] is TaskStatus.PENDING


def test_a_run_that_has_time_for_everything_ends_as_ever():
    result = run(
        [Task("a", "true", duration=99), Task("b", "true")], [Worker("w", 2, 1000)], capture=False, walltime=100
    )
    assert result.all_completed and not result.interrupted and not result.unfinished


def test_a_task_is_started_as_long_as_it_can_end_in_time_and_no_longer():
    tasks = [Task(f"t{i}", "x", duration=10) for i in range(3)]
    state = make_state(tasks, [Worker("w", 1, 1000)])
    state.absorb(DeadlineSet(25 * NS, 0), 0)
    assert started(state, 0) == ["t0"]
    assert started(state, 10 * NS) == []
    state.absorb(ended("t0"), 10 * NS)
    assert started(state, 15 * NS) == ["t1"], "it ends just at the deadline"
    state.absorb(ended("t1"), 15 * NS + 1)
    assert started(state, 15 * NS + 1) == [] and state.n_postponed() == 1
    assert "not expected to end" in state.explain("t2").text
    state.absorb(DeadlineSet(None, 16 * NS), 16 * NS)
    assert state.n_postponed() == 0 and started(state, 16 * NS) == ["t2"]
    state.check()


def test_a_shorter_task_goes_before_one_that_is_more_urgent_and_too_long():
    tasks = [Task("urgent", "x", duration=50, priority=9), Task("short", "x", duration=5)]
    state = make_state(tasks, [Worker("w", 1, 1000)])
    state.absorb(DeadlineSet(20 * NS, 0), 0)
    assert started(state, 0) == ["short"]
    state.check()


def test_a_task_without_a_duration_counts_a_second():
    state = make_state([Task("a", "x")], [Worker("w", 1, 1000)])
    state.absorb(DeadlineSet(NS - 1, 0), 0)
    assert started(state, 0) == [] and state.n_postponed() == 1


def ended(task_id):
    return AttemptEnded(task_id, "w", 1, None, 0)


def test_the_command_line_says_so_and_resume_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.toml").write_text(JOB)
    assert main(["run", "job.toml", "--run-dir", "here", "--walltime", "20s", "-q"]) == 75
    assert "2 tasks would not have ended in the walltime; fastsched resume here goes on" in capsys.readouterr().out
    assert main(["explain", "long", "--run", "here"]) == 0
    assert "not expected to end" in capsys.readouterr().out
    assert main(["resume", "here", "--walltime", "30s", "-q"]) == 75
    assert main(["resume", "here", "-q"]) == 0
    assert "3 completed" in capsys.readouterr().out
    assert main(["logs", "long", "--run", "here"]) == 0
    assert capsys.readouterr().out == "long\n"


@pytest.mark.parametrize("walltime", [0, -1, float("nan"), "1h"])
def test_a_walltime_out_of_its_bounds_is_refused(walltime):
    with pytest.raises(ValueError, match="walltime is"):
        run([Task("a", "true")], walltime=walltime)
