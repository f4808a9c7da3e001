"""What every engine does for a run, whether its commands are real or not: each named by what a user is promised."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastsched import Reason, Task, TaskStatus, Worker
from fastsched.events import AttemptStarted, WorkerJoined, WorkerLost
from fastsched.graph import CompiledGraph, WorkerTable
from fastsched.runtime.loop import Rhythm
from fastsched.runtime.run import play
from fastsched.runtime.session import Session, Settings

from .deeds import Deed

TWO = [Worker("w1", 2, 4096), Worker("w2", 2, 4096)]
TASK = {"cpu_cores_required": 1, "memory_required_mb": 200}


@pytest.fixture
def play_deeds(any_maker):
    """Runs deeds, each a task of its name; the result is checked as every result is."""

    def run(deeds, dependencies=None, *, on_event=None, workers=TWO, **settings):
        engine = any_maker.make()
        tasks = [
            Task(name, any_maker.say(deed), (dependencies or {}).get(name, ()), **{**TASK, **more})
            for name, (deed, more) in deeds.items()
        ]
        graph = CompiledGraph(tasks)
        table = WorkerTable(workers, graph.resources)
        chosen = Settings(engine=engine, rhythm=Rhythm(0.2, 20.0, 0.5), **settings)
        session = Session(chosen, graph, table, settled=True, fresh=True, clock=any_maker.clock(engine))
        result = play(session, None if on_event is None else lambda event: on_event(event, session.loop), None)
        session.loop.state.check()
        return result

    return run


def test_an_attempt_that_fails_is_made_again_on_another_worker(play_deeds):
    result = play_deeds({"a": (Deed(failing=2), {"max_retries": 3}), "b": (Deed(code=4), {"max_retries": 1})})
    assert result == {"a": TaskStatus.COMPLETED, "b": TaskStatus.FAILED}
    first, second, third = (attempt for attempt in result.attempts if attempt.task_id == "a")
    assert [first.exit_code, second.exit_code, third.exit_code] == [9, 9, 0]
    assert first.worker_id != second.worker_id
    assert result.reasons == {"b": Reason.EXIT} and result.last_attempts["b"].attempt == 2


def test_what_depends_on_a_failure_fails_and_the_rest_completes(play_deeds):
    dependencies = {"b": ["a"], "c": ["b"], "e": ["d"]}
    deeds = {name: (Deed(code=int(name == "a")), {"max_retries": 0}) for name in "abcde"}
    result = play_deeds(deeds, dependencies)
    assert result.reasons == {"a": Reason.EXIT, "b": Reason.DEPENDENCY, "c": Reason.DEPENDENCY}
    assert result.causes["c"] == "a" and len(result.attempts) == 3


def test_what_takes_too_long_is_ended_and_what_is_deaf_is_killed(play_deeds):
    deeds = {
        "slow": (Deed(seconds=30), {"timeout": 0.5, "max_retries": 0}),
        "deaf": (Deed(seconds=30, deaf=True), {"timeout": 0.5, "grace": 1.0, "max_retries": 0}),
        "fast": (Deed(seconds=0.1), {"timeout": 20.0}),
    }
    result = play_deeds(deeds)
    assert result.reasons == {"slow": Reason.TIMEOUT, "deaf": Reason.TIMEOUT}
    took = {attempt.task_id: attempt.end - attempt.start for attempt in result.attempts}
    assert 0.5 <= took["slow"] < 10 and 1.5 <= took["deaf"] < 10


def test_what_is_cancelled_ends_and_is_not_made_again(play_deeds):
    def cancel(event, loop):
        if isinstance(event, AttemptStarted) and event.task_id == "a":
            loop.ask(lambda now: loop.cancel("a", now))

    result = play_deeds({"a": (Deed(seconds=30), {}), "b": (Deed(), {})}, {"c": ["a"]}, on_event=cancel)
    assert result.reasons == {"a": Reason.CANCELLED} and result["b"] is TaskStatus.COMPLETED
    (attempt,) = (attempt for attempt in result.attempts if attempt.task_id == "a")
    assert attempt.reason is Reason.CANCELLED and attempt.end - attempt.start < 10


def test_what_takes_more_memory_than_it_has_is_killed(play_deeds):
    deeds = {
        "hog": (Deed(seconds=2, memory_mb=300), {"memory_required_mb": 100, "max_retries": 0}),
        "free": (Deed(seconds=0.5, memory_mb=300), {"memory_required_mb": 100, "enforce_memory": False}),
        "fits": (Deed(seconds=0.5, memory_mb=50), {"memory_required_mb": 400}),
    }
    result = play_deeds(deeds)
    assert result.reasons == {"hog": Reason.OUT_OF_MEMORY}
    assert result.last_attempts["fits"].peak_memory_mb >= 45


def test_what_is_written_is_kept_and_the_last_lines_are_in_the_message(play_deeds):
    said = {"stdout": "one\ntwo\n", "stderr": "why\n"}
    result = play_deeds({"a": (Deed(**said), {}), "b": (Deed(code=3, **said), {"max_retries": 0}), "c": (Deed(), {})})
    for name in "ab":
        last = result.last_attempts[name]
        assert (Path(last.stdout).read_text(), Path(last.stderr).read_text()) == ("one\ntwo\n", "why\n")
    assert result.last_attempts["b"].message.endswith("\nwhy")
    assert Path(result.last_attempts["c"].stdout).read_text() == ""


def test_the_attempts_of_a_lost_worker_are_made_again_at_no_charge(play_deeds):
    lost, joined, begun = [], set(), []

    def lose(event, loop):
        if isinstance(event, WorkerJoined):
            joined.add(event.worker_id)
        if isinstance(event, AttemptStarted) and event.attempt == 1:
            begun.append(event.worker_id)
        if begun and len(joined) == len(TWO):  # else it might be back before the other one is there
            loop.engine.lose(begun.pop(), "it was lost")
        if isinstance(event, WorkerLost):
            lost.append(event.worker_id)

    result = play_deeds({"a": (Deed(seconds=2), {"max_retries": 0})}, on_event=lose)
    first, second = result.attempts
    assert (first.reason, second.reason) == (Reason.WORKER_LOST, None) and lost == [first.worker_id]
    assert second.worker_id != first.worker_id and first.message.startswith("it was lost")
