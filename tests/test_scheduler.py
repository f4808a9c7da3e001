"""The runtime loop: over a fake engine and a fake clock, and over real agents and real commands."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fastsched
from fastsched import Reason, RunInterrupted, Task, TaskStatus, ValidationError, Worker, run
from fastsched.engines.local import LocalEngine
from fastsched.events import (
    AttemptCompleted,
    AttemptEnded,
    AttemptFailed,
    AttemptStarted,
    Recall,
    Start,
    Stop,
    TaskFailed,
    TaskPromised,
    TaskReturned,
    WorkerHeard,
    WorkerJoined,
    WorkerLost,
)
from fastsched.graph import WorkerTable
from fastsched.planner import TaskGraph
from fastsched.runtime.loop import MAX_FAILED_STARTS, Loop, Rhythm
from fastsched.state import State

S = 1_000_000_000
# Seconds that nobody else sleeps, not even this suite beside itself.
KILLED, STOPPED = f"2345.{os.getpid()}", f"3456.{os.getpid()}"
ROOM = {"cpu_cores_available": 1, "memory_available_mb": 1024}
TWO = [Worker("w1", 1, 1024), Worker("w2", 1, 1024)]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="skipped: running commands needs POSIX")


# ---------------------------------------------------------------- over a fake engine


class FakeEngine:
    """Carries nothing: `script` says at each wait what is reported, and how far the clock moves."""

    holds = False

    def __init__(self, script):
        self.now = 0
        self.script = script
        self.calls = []
        self.started = []
        self.brought_up = []

    def clock(self):
        return self.now

    def open(self, run_id, heartbeat_s, lease_s):
        self.calls.append(("open",))

    def bring_up(self, worker, incarnation):
        self.calls.append(("bring up", worker.worker_id, incarnation))
        self.brought_up.append(self.now / S)

    def send(self, orders):
        self.started.extend((order.task_id, order.worker_id, order.attempt) for order in orders)

    def wait_reports(self, timeout_s):
        step = next(self.script)
        seconds, reports = step(self, timeout_s) if callable(step) else step
        self.now += int((timeout_s if seconds is None else seconds) * S)
        return reports

    def lose(self, worker_id, message):
        self.calls.append(("lose", worker_id, message))

    def wake(self):
        self.calls.append(("wake",))

    def close(self, grace_s):
        self.calls.append(("close", grace_s))

    def hurry(self):
        self.calls.append(("hurry",))


def play(tmp_path, tasks, workers, *script, lease_s=10.0, engine_of=FakeEngine, max_fails=None):
    engine = engine_of(iter(script))
    graph = TaskGraph(tasks)
    state = State(graph, WorkerTable(workers, graph.resources), rank="fifo", fit="most-free", max_retries=3)
    told = []
    rhythm = Rhythm(1.0, lease_s, 2.0)
    loop = engine.loop = Loop(
        state,
        engine,
        engine.clock,
        tell=told.extend,
        rhythm=rhythm,
        run_id="r",
        logs=tmp_path / "logs",
        settled=True,
        max_fails=max_fails,
    )
    loop.serve(lambda: state.done)
    return engine, told, loop


def interleave(steps, between):
    """The steps, with another between each two."""
    return [step for pair in zip(steps, [between] * len(steps)) for step in pair][:-1]


def ok(task_id, worker_id, attempt=1):
    return AttemptEnded(task_id, worker_id, attempt, None, 0)


def up(worker_id):
    return WorkerHeard(worker_id, first=True)


def test_loop_starts_what_it_decides_and_stops_when_all_is_done(tmp_path):
    engine, told, loop = play(
        tmp_path,
        [Task("a", "x"), Task("b", "x", ["a"])],
        TWO,
        (0.1, [up("w1")]),
        (1, [ok("a", "w1")]),
        (1, [up("w2")]),
        (2, [ok("b", "w1")]),
    )
    assert engine.started == [("a", "w1", 1), ("b", "w1", 1)]
    assert engine.calls == [("open",), ("bring up", "w1", 1), ("bring up", "w2", 1), ("close", 0.0)]
    assert [type(event) for event in told] == [
        WorkerJoined,
        AttemptStarted,
        AttemptCompleted,
        AttemptStarted,
        WorkerJoined,
        AttemptCompleted,
    ]
    assert [(a.task_id, a.start, a.end) for a in loop.ledger.attempts] == [("a", 0.1, 1.1), ("b", 1.1, 4.1)]


def test_a_silent_worker_is_lost_brought_up_again_and_its_task_reassigned(tmp_path):
    lost = WorkerLost("w1", "it was silent for more than 10 s")
    beat = WorkerHeard("w2")
    engine, told, _ = play(
        tmp_path,
        [Task("a", "x", max_retries=0)],
        TWO,
        (0, [up("w1"), up("w2")]),
        (6, [beat]),
        (3, [beat]),
        (2, [beat]),
        (0, []),
        (0, [lost]),
        (1, [ok("a", "w1")]),
        (1, [ok("a", "w2", 2)]),
    )
    assert ("lose", "w1", "it was silent for more than 10 s") in engine.calls and ("bring up", "w1", 2) in engine.calls
    assert engine.started == [("a", "w1", 1), ("a", "w2", 2)]
    assert [e.reason for e in told if isinstance(e, AttemptFailed)] == [Reason.WORKER_LOST]
    assert ("lose", "w2", "it was silent for more than 10 s") not in engine.calls


def test_reports_that_lay_unread_while_this_process_was_stopped_count(tmp_path):
    """After a pause longer than the lease the first wait brings the beats that came meanwhile: nobody is lost."""
    engine, _, _ = play(
        tmp_path,
        [Task("a", "x")],
        [TWO[0]],
        (0, [up("w1")]),
        (3600, [WorkerHeard("w1")]),
        (0, []),
        (1, [ok("a", "w1")]),
    )
    assert not [call for call in engine.calls if call[0] == "lose"]


def test_not_all_that_lay_unread_is_read_at_once(tmp_path):
    """After a pause the first wait may bring the signs of life of one worker, and the next those of another."""
    engine, _, _ = play(
        tmp_path,
        [Task("a", "x"), Task("b", "x")],
        TWO,
        (0, [up("w1"), up("w2")]),
        (3600, [WorkerHeard("w2")]),
        (0, [WorkerHeard("w1")]),
        (0, []),
        (1, [ok("a", "w1"), ok("b", "w2")]),
    )
    assert not [call for call in engine.calls if call[0] == "lose"]


def test_a_worker_that_is_lost_again_and_again_comes_back_later_each_time(tmp_path):
    """Until it completes something; its task survives three losses."""
    script = []
    for wait_s in (0, 0.5, 1, 2):
        script += [(0, [up("w1")]), (1, [WorkerLost("w1", "gone")]), (wait_s, [])]
    script += [(0, [up("w1")]), (1, [ok("c", "w1")]), (1, [WorkerLost("w1", "gone")]), (0, []), (0, [up("w1")])]
    tasks = [Task("a", "x"), Task("b", "x", ["a"]), Task("c", "x"), Task("d", "x")]
    engine, told, _ = play(tmp_path, tasks, [TWO[0]], *script, (1, [ok("d", "w1", 2)]))
    assert [call[2] for call in engine.calls if call[0] == "bring up"] == [1, 2, 3, 4, 5, 6]
    assert [(e.task_id, e.reason) for e in told if isinstance(e, TaskFailed)] == [
        ("a", Reason.WORKER_LOST),
        ("b", Reason.DEPENDENCY),
    ]
    assert [e.at_ns / S for e in told if isinstance(e, WorkerJoined)] == [0, 1, 2.5, 4.5, 7.5, 9.5]
    assert engine.brought_up == [0, 1, 2.5, 4.5, 7.5, 9.5]


def test_what_is_said_of_an_earlier_incarnation_means_nothing(tmp_path):
    """A message may come late: neither a sign of life nor a loss of one that is gone is that of the one that is up."""
    first, second = WorkerHeard("w1", True, 1), WorkerHeard("w1", True, 2)
    engine, told, _ = play(
        tmp_path,
        [Task("a", "x")],
        [TWO[0]],
        (0, [first]),
        (1, [WorkerLost("w1", "gone", incarnation=1)]),
        (0, []),
        (1, [first]),
        (1, [second]),
        (1, [WorkerLost("w1", "gone", incarnation=1), first]),
        (1, [AttemptEnded("a", "w1", 1, None, 0, incarnation=1)]),
        (1, [AttemptEnded("a", "w1", 2, None, 0, incarnation=2)]),
    )
    assert engine.started == [("a", "w1", 1), ("a", "w1", 2)]
    assert [e.at_ns / S for e in told if isinstance(e, WorkerJoined)] == [0, 3]
    assert [e.attempt for e in told if isinstance(e, AttemptCompleted)] == [2]


def test_a_worker_that_never_comes_up_stays_away(tmp_path):
    script = [(40, [WorkerLost("w1", "it did not come up")])] * MAX_FAILED_STARTS
    engine, told, _ = play(tmp_path, [Task("a", "x")], [TWO[0]], *interleave(script, (60, [])))
    assert [call[2] for call in engine.calls if call[0] == "bring up"] == [1] * MAX_FAILED_STARTS
    assert [(e.task_id, e.reason) for e in told if isinstance(e, TaskFailed)] == [("a", Reason.UNSATISFIABLE)]


def test_when_the_only_worker_that_could_hold_it_never_comes_a_task_fails(tmp_path):
    engine, told, _ = play(
        tmp_path,
        [Task("big", "x", (), 4), Task("a", "x")],
        [TWO[0], Worker("w2", 4, 1024)],
        (0, [up("w1")]),
        (1, [ok("a", "w1")]),
        *interleave([(1, [WorkerLost("w2", "it never came up")])] * MAX_FAILED_STARTS, (60, [])),
    )
    assert engine.started == [("a", "w1", 1)]
    assert [(e.task_id, e.reason) for e in told if isinstance(e, TaskFailed)] == [("big", Reason.UNSATISFIABLE)]


def test_the_engine_is_closed_when_something_breaks(tmp_path):
    def breaks(engine, timeout_s):
        raise ZeroDivisionError

    engine = FakeEngine(iter([breaks]))
    graph = TaskGraph([Task("a", "x")])
    state = State(graph, WorkerTable(TWO, graph.resources), rank="fifo", fit="most-free", max_retries=3)
    with pytest.raises(ZeroDivisionError):
        loop = Loop(state, engine, engine.clock, tell=print, rhythm=Rhythm(1, 10, 2), run_id="r", settled=True)
        loop.serve(lambda: state.done)
    assert engine.calls[-1] == ("close", 2)


# ---------------------------------------------------------------- over real agents


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def marked_processes(text: str) -> list[int]:
    """The processes with this text in their command line."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                if text in Path("/proc", entry, "cmdline").read_bytes().decode(errors="replace"):
                    found.append(int(entry))
            except OSError:
                pass
    return found


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_real_commands_run_in_the_order_of_their_dependencies(tmp_path):
    result = run(
        [
            Task("merge", "cat a b > merged", ["a", "b"]),
            Task("a", "echo from a > a"),
            Task("b", ["sh", "-c", "echo from b > b; echo said; echo warned >&2"]),
        ],
        TWO,
    )
    assert result == {"merge": "COMPLETED", "a": "COMPLETED", "b": "COMPLETED"} and result.all_completed
    assert (tmp_path / "merged").read_text() == "from a\nfrom b\n"
    by_id = result.last_attempts
    assert Path(by_id["b"].stdout).read_text() == "said\n" and Path(by_id["b"].stderr).read_text() == "warned\n"
    assert by_id["merge"].start >= max(by_id["a"].end, by_id["b"].end)
    assert result.exit_codes == {"merge": 0, "a": 0, "b": 0}
    assert all(a.peak_memory_mb > 0 and a.cpu_seconds > 0 and a.reason is None for a in result.attempts)
    assert result.makespan > 0 and Path(result.run_dir).is_dir()


def test_a_task_that_fails_once_succeeds_on_another_worker():
    told = []
    result = run([Task("flaky", "mkdir mark 2>/dev/null && exit 75; exit 0")], TWO, on_event=told.append)
    first, second = result.attempts
    assert (first.reason, first.exit_code, first.message) == (Reason.EXIT, 75, "exit code 75")
    assert second.reason is None and first.worker_id != second.worker_id
    assert result == {"flaky": "COMPLETED"} and result.reasons == {}
    told = [event for event in told if not isinstance(event, WorkerJoined)]
    assert [type(event) for event in told] == [AttemptStarted, AttemptFailed, AttemptStarted, AttemptCompleted]
    assert told[1].will_retry


def test_what_depends_on_a_failure_fails_and_the_rest_completes():
    result = run(
        [Task("bad", "exit 3", max_retries=1), Task("after", "touch never", ["bad"]), Task("good", "true")], TWO
    )
    assert result == {"bad": "FAILED", "after": "FAILED", "good": "COMPLETED"}
    assert result.reasons == {"bad": "EXIT", "after": "DEPENDENCY"} and result.causes == {"after": "bad"}
    assert not os.path.exists("never") and result.exit_codes == {"bad": 3, "good": 0}


def test_every_way_to_fail_has_its_reason():
    result = run(
        [
            Task("exit", ["sh", "-c", "exit 42"]),
            Task("signal", "kill -9 $$"),
            Task("spawn", ["no-such-program"]),
            Task("shell", "no-such-program"),
            Task("folder", ["/"]),
        ],
        TWO,
        max_retries=0,
    )
    assert result.reasons == {
        "exit": "EXIT",
        "signal": "SIGNAL",
        "spawn": "SPAWN",
        "shell": "EXIT",
        "folder": "SPAWN",
    }
    last = result.last_attempts
    assert last["signal"].signal == 9 and last["signal"].message == "killed by SIGKILL"
    assert "no-such-program" in last["spawn"].message and last["spawn"].exit_code is None
    assert last["shell"].exit_code == 127 and "no-such-program" in Path(last["shell"].stderr).read_text()


def test_a_command_means_the_same_with_and_without_a_shell():
    """What needs no shell gets none; what only a shell knows still works."""
    commands = {
        "plain": "echo one two",
        "quoted": "echo 'one two'",
        "variable": "echo $FASTSCHED_TASK_ID",
        "builtin": "exit 0",
        "pipe": "echo one | tr o 0",
        "assignment": "X=5 sh -c 'echo $X'",
        "spaces": "  echo   one  ",
        "glob": "echo /et[c]",
        "script": "./script one",
        "lines": "echo one\necho two",
        "comment": "echo one # two",
        "escapes": "echo -e one\\\\ttwo",
        "version": "echo --version",
        "dashes": "printf %s-%s one two",
        "help": "true --help",
        "place": "pwd -L",
        "no-break space": "ls -d\u00a0/etc . || echo refused",
        "no-break words": "ls\u00a0-d 2>/dev/null; echo $?",
        "return": "basename one\r",
        "tab": "basename\t/one/two",
        "vertical": "basename /one/two\v",
        "two spaces": "basename  /one/two",
        "last space": "basename /one/two ",
        "wide": "basename /one/ünï",
        "caret": "basename /one/a^b",
    }
    Path("script").write_text("echo script $1\n")  # no #! line: only a shell can run it
    os.chmod("script", 0o755)
    result = run([Task(name, command) for name, command in commands.items()], [Worker("w", 20, 4096)])
    assert result.all_completed, result.reasons
    for name, command in commands.items():
        if name != "variable":
            expected = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True).stdout
            assert Path(result.last_attempts[name].stdout).read_bytes() == expected, name
    assert Path(result.last_attempts["variable"].stdout).read_text() == "variable\n"


@pytest.mark.parametrize(
    "command", ["ls\u00a0-d", "kill -l 9", "test 1 -eq 1", "time -p true", "echo -n x", "true --help"]
)
def test_no_program_stands_in_for_what_the_shell_does_itself(command):
    shell = subprocess.run(["/bin/sh", "-c", command], capture_output=True)
    last = run([Task("a", command)], TWO, max_retries=0).last_attempts["a"]
    assert last.exit_code == shell.returncode and Path(last.stdout).read_bytes() == shell.stdout


def test_a_program_that_an_earlier_command_put_there_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    put = "printf '#!/bin/sh\necho mine\n' > basename; chmod +x basename"
    tasks = [Task("old", "basename /x"), Task("put", put, ["old"]), Task("new", "basename /x", ["put"])]
    result = run(tasks, [TWO[0]])
    assert [Path(result.last_attempts[i].stdout).read_text() for i in ("old", "new")] == ["x\n", "mine\n"]


def test_commands_are_told_who_they_are(monkeypatch):
    monkeypatch.setenv("MINE", "kept")
    names = "FASTSCHED_(TASK_ID|ATTEMPT|WORKER|CPUS|MEMORY_MB)|MINE"
    task = Task("who", f"env | grep -E '^({names})='", (), 0.5, 64)
    result = run([task], [Worker("wörker one", 2, 256)])
    told = dict(line.split("=", 1) for line in Path(result.last_attempts["who"].stdout).read_text().splitlines())
    assert told == {
        "FASTSCHED_TASK_ID": "who",
        "FASTSCHED_ATTEMPT": "1",
        "FASTSCHED_WORKER": "wörker one",
        "FASTSCHED_CPUS": "0.5",
        "FASTSCHED_MEMORY_MB": "64",
        "MINE": "kept",
    }
    tasks = [Task("who", "env"), Task("where", "pwd")]
    result = run(tasks, TWO, env={"PATH": os.environ["PATH"], "ONLY": "this"}, cwd="/")
    text = Path(result.last_attempts["who"].stdout).read_text()
    assert "ONLY=this\n" in text and "MINE=" not in text
    assert Path(result.last_attempts["where"].stdout).read_text() == "/\n"


def test_a_command_runs_where_with_what_and_as_long_as_its_task_says(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    (tmp_path / "given").write_text("given\n")
    tasks = [
        Task("where", "pwd; echo $PWD", cwd=str(there)),
        Task("what", "cat; echo $COLOUR $OMP_NUM_THREADS", (), 2.5, stdin="given", env={"COLOUR": "red"}),
        Task("own", ["printenv", "OMP_NUM_THREADS"], env={"OMP_NUM_THREADS": "7"}),
        Task("plain", ["printenv", "PWD"], cwd=str(there)),
        Task("late", "trap '' TERM; sleep 300", timeout=0.2, grace=0.2, max_retries=0),
        Task("in time", "true", timeout=30),
        Task("nowhere", "true", cwd="missing", max_retries=0),
        Task("nothing", "true", stdin="missing", max_retries=0),
    ]
    result = run(tasks, [Worker("w", 4, 4096)])
    files = {name: Path(a.stdout) for name, a in result.last_attempts.items()}
    wrote = {name: path.read_text() for name, path in files.items() if path.exists()}
    assert wrote["where"] == f"{there}\n{there}\n" and wrote["plain"] == f"{there}\n"
    assert wrote["what"] == "given\nred 2\n" and wrote["own"] == "7\n"
    assert result["in time"] == "COMPLETED"
    late = result.last_attempts["late"]
    assert (late.reason, late.message) == (Reason.TIMEOUT, "it took longer than 0.2 s")
    assert 0.3 < late.end - late.start < 20
    assert {name: result.reasons[name] for name in ("nowhere", "nothing")} == dict.fromkeys(
        ("nowhere", "nothing"), Reason.SPAWN
    )
    assert "no folder 'missing'" in result.last_attempts["nowhere"].message
    assert "no file 'missing'" in result.last_attempts["nothing"].message


def test_no_worker_ever_holds_more_than_it_has():
    """Each command notes when it begins and ends; the notes are replayed against the capacities."""
    code = "echo {i} + >> notes; sleep 0.0{s}; echo {i} - >> notes"
    tasks = [Task(f"t{i}", code.format(i=i, s=i % 5), (), 0.5 * (1 + i % 3), 100 * (1 + i % 4)) for i in range(40)]
    result = run(tasks, [Worker("w1", 2, 500), Worker("w2", 1.5, 1000)])
    assert result.all_completed
    room = {"w1": [2.0, 500], "w2": [1.5, 1000]}
    where = {int(a.task_id[1:]): a.worker_id for a in result.attempts}
    for line in Path("notes").read_text().splitlines():
        i, sign = line.split()
        task, free = tasks[int(i)], room[where[int(i)]]
        factor = 1 if sign == "-" else -1
        free[0] += factor * task.cpu_cores_required
        free[1] += factor * task.memory_required_mb
        assert min(free) >= 0, line


def test_ids_that_cannot_name_files_still_have_outputs():
    ids = ["a/b", "../up", ".", "", "x" * 300, "ünï 名前", "a_b", "a\nb", "con~1"]
    result = run([Task(i, ["printf", "%s", i]) for i in ids if i], [Worker("w", 4, 4096)])
    assert result.all_completed
    paths = [attempt.stdout for attempt in result.attempts]
    assert len(set(paths)) == len(paths)
    for attempt in result.attempts:
        assert Path(attempt.stdout).read_text() == attempt.task_id
        assert Path(attempt.stdout).parent == Path(result.run_dir).absolute() / "logs"


def test_every_run_has_a_folder_of_its_own():
    """Also two of one process within a second; outputs are never written over."""
    results = [run([Task("a", f"echo {i}")], TWO) for i in range(4)]
    assert len({result.run_dir for result in results}) == 4
    for i, result in enumerate(results):
        assert Path(result.last_attempts["a"].stdout).read_text() == f"{i}\n"


def test_a_folder_that_holds_an_earlier_run_is_refused():
    first = run([Task("a", "echo first")], TWO, run_dir="here")
    with pytest.raises(FileExistsError, match=r"earlier run.*another folder.*'here'"):
        run([Task("a", "echo second; touch never")], TWO, run_dir=Path("here"))
    assert Path(first.last_attempts["a"].stdout).read_text() == "first\n" and not os.path.exists("never")
    os.mkdir("mine")
    Path("mine/notes").write_text("kept")
    assert run([Task("a", "true")], TWO, run_dir="mine").all_completed and Path("mine/notes").read_text() == "kept"


def test_strings_and_numbers_of_numpy_are_run():
    tasks = [Task(np.str_("a"), np.str_("exit 1")), Task("b", ["echo", np.str_("x")]), Task("c", ("echo", "x"))]
    workers = [Worker(np.str_("w1"), np.float32(1), np.int64(512)), {"worker_id": np.str_("w2"), **ROOM}]
    result = run(tasks, workers, max_retries=np.int64(1))
    assert result == {"a": "FAILED", "b": "COMPLETED", "c": "COMPLETED"} and len(result.attempts) == 4


def test_what_a_command_leaves_in_its_group_is_ended_with_it():
    result = run([Task("a", "sleep 1234.5 & exit 0")], TWO)
    assert result.all_completed and result.makespan < 60
    wait_until(lambda: not marked_processes("1234.5"))


def signal_agent_of(text: str, number: int) -> None:
    """Send a signal to the agent of the command with this text in its command line, once it runs."""
    wait_until(lambda: marked_processes(text))
    status = Path("/proc", str(marked_processes(text)[0]), "stat").read_text().rsplit(")", 1)[1].split()
    os.kill(int(status[1]), number)


def on_first_attempt(what):
    """A callback that does it in a thread of its own when the first attempt is started, and the events that came."""
    told = []

    def on_event(event):
        told.append(event)
        if isinstance(event, AttemptStarted) and event.attempt == 1:
            threading.Thread(target=what).start()

    return on_event, told


def test_a_killed_agent_loses_no_task_and_leaves_no_command():
    """The agent of the first attempt is killed with -9: its command is ended, and the task runs elsewhere."""
    on_event, told = on_first_attempt(lambda: signal_agent_of(KILLED, signal.SIGKILL))
    command = f"[ $FASTSCHED_ATTEMPT -gt 1 ] || exec sleep {KILLED}"
    result = run([Task("a", command, max_retries=0)], TWO, on_event=on_event)
    assert result == {"a": "COMPLETED"}
    assert [a.reason for a in result.attempts] == [Reason.WORKER_LOST, None]
    assert [e.worker_id for e in told if isinstance(e, WorkerLost)] == [result.attempts[0].worker_id]
    assert not marked_processes(KILLED)


def test_a_stopped_agent_is_lost_when_its_lease_is_over():
    on_event, _ = on_first_attempt(lambda: signal_agent_of(STOPPED, signal.SIGSTOP))
    began = time.monotonic()
    tasks = [Task("a", f"[ $FASTSCHED_ATTEMPT -gt 1 ] || exec sleep {STOPPED}")]
    result = run(tasks, TWO, heartbeat=0.1, lease=0.8, on_event=on_event)
    assert result == {"a": "COMPLETED"} and 0.8 < time.monotonic() - began < 30
    assert [a.reason for a in result.attempts] == [Reason.WORKER_LOST, None]
    assert "silent for more than 0.8 s" in result.attempts[0].message
    assert not marked_processes(STOPPED)


INTERRUPTED = """
    import sys
    from fastsched import RunInterrupted, Task, Worker, run
    stubborn = "trap '' TERM; setsid sleep 4567.8 & sleep 4567.8 & touch started; while :; do sleep 4567.8; done"
    try:
        tasks = [Task("done", "true"), Task("a", stubborn, ["done"]), Task("b", "true", ["a"])]
        run(tasks, [Worker("w", 1, 512)], grace=0.3)
    except RunInterrupted as interruption:
        result = interruption.run
        assert isinstance(interruption, KeyboardInterrupt)
        print(dict(result), result.reasons, result.interrupted, len(result.attempts))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_or_killed_it_leaves_no_process_behind(number):
    """Ctrl-C and SIGTERM are reported; after SIGKILL the agents see to it alone. The command ignores SIGTERM."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: Path("started").exists() and len(marked_processes("4567.8")) >= 3)
    child.send_signal(number)
    out, err = child.communicate(timeout=30)
    if number != signal.SIGKILL:
        assert (
            "'done': <TaskStatus.COMPLETED" in out and "'a': <Reason.CANCELLED" in out and out.endswith("True 2\n")
        ), err
        assert not marked_processes("4567.8")
    wait_until(lambda: not marked_processes("4567.8"))


def test_a_second_ctrl_c_does_not_wait():
    code = textwrap.dedent(INTERRUPTED).replace("grace=0.3", "grace=300").replace("4567.8", "5678.9")
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: Path("started").exists() and len(marked_processes("5678.9")) >= 3)
    child.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert child.poll() is None and marked_processes("5678.9"), "the grace is respected"
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert out.endswith("True 2\n"), err
    assert not marked_processes("5678.9")


def test_the_longest_times_that_are_taken_are_waited_for():
    longest = {"heartbeat": 999_999, "lease": 1_000_000, "grace": 1_000_000}
    assert run([Task("a", "sleep 0.1")], TWO, **longest) == {"a": "COMPLETED"}


def test_when_asking_to_end_fails_everything_is_killed(monkeypatch):
    """Whatever breaks in the middle of closing, no command outlives the run."""

    def breaks(self, host, deadline):
        raise ZeroDivisionError("in closing")

    def interrupt(event):
        if isinstance(event, AttemptStarted):
            threading.Thread(target=lambda: (wait_until(lambda: Path("b").exists()), signal.raise_signal(2))).start()

    monkeypatch.setattr(LocalEngine, "_drain_until_gone", breaks)
    commands = ["trap '' TERM; touch a; sleep 6789.1; :", "trap '' TERM; sleep 0.1; touch b; setsid sleep 6789.1; :"]
    with pytest.raises(ZeroDivisionError):
        run([Task(f"t{i}", command) for i, command in enumerate(commands)], TWO, on_event=interrupt, grace=60)
    assert not marked_processes("6789.1")


def test_an_exception_in_on_event_is_logged_and_the_run_goes_on(caplog):
    def on_event(event):
        raise ZeroDivisionError("in on_event")

    with caplog.at_level(logging.ERROR, logger="fastsched"):
        assert run([Task("a", "true")], TWO, on_event=on_event) == {"a": "COMPLETED"}
    assert "in on_event" in caplog.text and "the run goes on" in caplog.text


def test_run_is_logged(caplog):
    with caplog.at_level(logging.DEBUG, logger="fastsched"):
        run([Task("a", "true"), Task("b", "false", max_retries=0), Task("c", "true", ["b"])], TWO)
    for line in (
        "start a on",
        "completed a on",
        "attempt 1 of b failed on",
        "failed b: EXIT",
        "failed c: DEPENDENCY (because of b)",
    ):
        assert line in caplog.text


def test_run_works_in_another_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(run([Task("a", "true")], TWO)))
    thread.start()
    thread.join(30)
    assert results == [{"a": "COMPLETED"}]


def test_without_workers_this_machine_is_the_worker():
    result = run([Task("a", "true")])
    assert result == {"a": "COMPLETED"} and len(result.worker_ids) == 1


def test_what_cannot_run_is_said_before_anything_starts():
    assert run([], TWO) == {}
    with pytest.raises(ValidationError):
        run([Task("a", "touch never", ["b"])], TWO)
    with pytest.raises(ValueError, match="did you mean"):
        run([Task("a", "touch never")], TWO, rank="fif")
    with pytest.raises(ValueError, match="heartbeat"):
        run([Task("a", "touch never")], TWO, lease=0.5)
    for wrong in (float("inf"), float("nan"), 1e300, 10**5000, -1, "1", None, True):
        for name in ("lease", "heartbeat", "grace"):
            with pytest.raises(ValueError, match=f"{name} is"):
                run([Task("a", "touch never")], TWO, **{name: wrong})
    with pytest.raises(NotADirectoryError):
        run([Task("a", "touch never")], TWO, cwd="missing")
    with pytest.raises(ValidationError) as caught:
        run([Task("a\ud800", "touch never"), Task("b", "\ud800")], [Worker("w", -1, 1)])
    assert [p.field for p in caught.value.problems] == ["task_id", "command", "cpu_cores_available"]
    for wrong in ("3", True, 1.5, -1):
        with pytest.raises(ValueError, match="max_retries"):
            run([Task("a", "touch never")], TWO, max_retries=wrong)
    assert not os.path.exists("never") and not os.path.exists(".fastsched")
    result = run([Task("a", "true"), Task("big", "touch never", (), 64)], TWO)
    assert result == {"a": "COMPLETED", "big": "FAILED"} and result.reasons == {"big": "UNSATISFIABLE"}


def test_a_thousand_commands_and_no_descriptor_left_open():
    before = len(os.listdir("/proc/self/fd"))
    result = run(
        [Task(f"t{i}", "true", () if i < 100 else (f"t{i - 100}",)) for i in range(1000)],
        [Worker("w1", 4, 4096), *TWO[1:]],
    )
    assert result.all_completed and len(result.attempts) == 1000
    assert len(os.listdir("/proc/self/fd")) == before
    assert issubclass(RunInterrupted, KeyboardInterrupt) and fastsched.run is run


# ---------------------------------------------------------------- promises


class HoldingEngine(FakeEngine):
    """Holds what is to be started later; `orders` are all that were sent."""

    holds = True

    def __init__(self, script):
        super().__init__(script)
        self.orders = []

    def send(self, orders):
        self.orders += orders


def sent(engine):
    """What was sent since the last call: of starts the task, and after which one it comes."""
    told = [(order.task_id, order.after) if isinstance(order, Start) else order for order in engine.orders]
    engine.orders = []
    return told


def then(reports, *wanted, seconds=0.001, do=None):
    """A step: what was sent by now is what is wanted; then something is done, and these reports come."""

    def step(engine, _):
        told = sent(engine)
        assert told == list(wanted)
        if do:
            do(engine)
        return seconds, reports

    return step


def play_held(tmp_path, tasks, *script, **more):
    """One worker has room for one task at a time, and holds what is to follow."""
    begin = 0.1, [up("w")]
    return play(tmp_path, tasks, [Worker("w", 1, 128)], begin, *script, engine_of=HoldingEngine, **more)


def play_quick(tmp_path, tasks, *script, **more):
    """And the first task, `a`, was quick."""
    return play_held(tmp_path, tasks, then([ok("a", "w")], ("a", None)), *script, **more)


def test_a_worker_that_is_quick_is_promised_what_follows(tmp_path):
    tasks = [Task(name, "x") for name in "abcde"]
    engine, told, _ = play_quick(
        tmp_path,
        tasks,
        then([ok("b", "w"), ok("c", "w")], ("b", None), ("c", "b"), ("d", "c"), ("e", "d")),
        then([TaskReturned("e", "w", 1)], seconds=1.0),
        then([ok("d", "w")]),
        then([ok("e", "w")], ("e", None)),
    )
    starts = [event.task_id for event in told if isinstance(event, AttemptStarted)]
    assert starts == list("abcde") and not sent(engine)
    assert not any(isinstance(event, (TaskPromised, TaskReturned)) for event in told)


def test_an_end_that_is_told_late_is_not_one_of_a_slow_attempt(tmp_path):
    """Agents tell ends up to 7 ms late, so what seems to have taken 16 ms may have taken 10."""
    tasks = [Task(name, "x") for name in "abcd"]
    play_held(
        tmp_path,
        tasks,
        then([ok("a", "w")], ("a", None), seconds=0.016),
        then([ok("b", "w")], ("b", None), ("c", "b"), seconds=0.018),
        then([ok("c", "w")], seconds=0.001),
        then([ok("d", "w")], ("d", None)),
    )


def test_a_worker_that_was_lost_is_promised_nothing_before_something_was_quick(tmp_path):
    """What was lost with it a moment after it had started was not quick."""
    play_held(
        tmp_path,
        [Task(name, "x") for name in "abcd"],
        then([ok("a", "w")], ("a", None), seconds=0.5),
        then([WorkerLost("w", "gone")], ("b", None), seconds=0.001),
        then([]),
        then([up("w")]),
        then([ok("b", "w", 2)], ("b", None), seconds=0.5),
        then([ok("c", "w")], ("c", None), seconds=0.5),
        then([ok("d", "w")], ("d", None), seconds=0.5),
    )


def test_a_worker_that_is_slow_is_promised_nothing(tmp_path):
    later = [Task("long", "x", duration=1.0, priority=-1), Task("d", "x", priority=-2)]
    tasks = [*(Task(name, "x") for name in "abc"), *later]
    play_held(
        tmp_path,
        tasks,
        then([ok("a", "w")], ("a", None), seconds=1.0),
        then([ok("b", "w")], ("b", None), seconds=0.001),
        then([ok("c", "w")], ("c", None), ("long", "c"), ("d", "long"), seconds=1.0),
        then([TaskReturned("d", "w", 1), ok("long", "w")]),
        then([ok("d", "w")], ("d", None)),
    )


def test_a_worker_that_gave_something_back_is_promised_nothing_for_a_while(tmp_path):
    play_quick(
        tmp_path,
        [Task(name, "x") for name in "abcd"],
        then([TaskReturned(name, "w", 1) for name in "dc"], ("b", None), ("c", "b"), ("d", "c"), seconds=0.1),
        then([ok("b", "w")], seconds=1.0),
        then([ok("c", "w")], ("c", None), do=lambda engine: engine.loop.submit([Task("e", "x")], [])),
        then([ok("d", "w")], ("d", None)),
        then([ok("e", "w")], ("e", None)),
    )


def test_a_pause_recalls_what_was_promised_and_what_has_begun_counts(tmp_path):
    play_quick(
        tmp_path,
        [Task(name, "x") for name in "abcd"],
        then([], ("b", None), ("c", "b"), ("d", "c"), do=lambda engine: engine.loop.pause(True)),
        then([ok("b", "w"), TaskReturned("d", "w", 1), ok("c", "w")], Recall("w", 1)),
        then([], do=lambda engine: engine.loop.pause(False)),
        then([ok("d", "w")], ("d", None)),
    )


def test_a_promised_task_that_is_cancelled_is_stopped(tmp_path):
    _, _, loop = play_quick(
        tmp_path,
        [Task(name, "x") for name in "abc"],
        then([], ("b", None), ("c", "b"), do=lambda engine: engine.loop.cancel("c", engine.loop.now())),
        then([TaskReturned("c", "w", 1), ok("b", "w")], Stop("c", "w", 1, 1, 2.0)),
    )
    assert loop.explain("c").reason is Reason.CANCELLED and loop.explain("b").status is TaskStatus.COMPLETED


def test_nothing_is_promised_where_nothing_is_to_start_after_a_failure(tmp_path):
    _, _, loop = play_quick(
        tmp_path,
        [Task(name, "x", max_retries=0) for name in "abc"],
        then([AttemptEnded("b", "w", 1, Reason.EXIT, 1)], ("b", None)),
        max_fails=1,
    )
    assert loop.explain("c").reason is Reason.CANCELLED


def test_what_was_promised_to_a_worker_that_is_lost_is_started_elsewhere(tmp_path):
    _, _, loop = play_quick(
        tmp_path,
        [Task(name, "x") for name in "abc"],
        then([WorkerLost("w", "gone")], ("b", None), ("c", "b")),
        (0.1, [up("w")]),
        then([ok("b", "w", 2)], ("b", None)),
        then([ok("c", "w", 2)], ("c", None)),
    )
    assert [attempt.reason for attempt in loop.ledger.attempts.of_task(2)] == [Reason.WORKER_LOST, None]
