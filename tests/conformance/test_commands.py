"""Start and end: what a command is given, and how its end is told."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from fastsched import Reason
from fastsched.events import AttemptEnded, WorkerHeard

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def test_an_end_says_all_that_there_is(field):
    end = field.run(["true"])
    assert (end.reason, end.exit_code, end.signal, end.message) == (None, 0, None, "")
    assert end.worker_id == "w1" and end.attempt == 1 and end.incarnation == 1
    assert end.usage.cpu_seconds >= 0 and end.usage.peak_memory_mb > 0


@pytest.mark.parametrize("code", [1, 2, 75, 126, 127, 255])
def test_an_exit_code_is_told(field, code):
    end = field.run(f"exit {code}")
    assert (end.reason, end.exit_code, end.signal, end.message) == (Reason.EXIT, code, None, f"exit code {code}")


@pytest.mark.parametrize("name", ["KILL", "SEGV", "TERM", "USR1"])
def test_a_signal_is_told(field, name):
    end = field.run(["sh", "-c", f"ulimit -c 0; kill -{name} $$"])
    number = getattr(signal, f"SIG{name}")
    assert (end.reason, end.exit_code, end.signal, end.message) == (Reason.SIGNAL, None, number, f"killed by SIG{name}")


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"command": ["no-such-program"]}, "no-such-program"),
        ({"command": [""]}, "''"),
        ({"command": ["/"]}, "'/'"),
        ({"command": ["true", "a\0b"]}, "true"),
        ({"command": "true", "cwd": "/no/such/folder"}, "/no/such/folder"),
        ({"command": "echo hi", "stdin": "/no/such/file"}, "/no/such/file"),
        ({"command": "true", "stdout": "/no/such/folder/out"}, "/no/such/folder/out"),
        ({"command": "true", "stderr": "/no/such/folder/err"}, "/no/such/folder/err"),
    ],
)
def test_what_cannot_be_started_is_told_with_what_was_missing(field, more, named):
    end = field.run(**more)
    assert (end.reason, end.exit_code, end.signal, end.usage) == (Reason.SPAWN, None, None, None)
    assert named in end.message and "cannot start" in end.message
    assert field.run("true").reason is None, "the worker is as before"


def test_a_command_is_told_who_it_is_and_what_it_has(field):
    env = {"MINE": "kept", "MKL_NUM_THREADS": "7"}
    out = os.path.abspath("out")
    field.start("tásk 1", "env", cores=2.5, memory_mb=300, attempt=3, stdout=out, env=env)
    assert field.end_of("tásk 1").reason is None
    told = dict(line.split("=", 1) for line in Path(out).read_text().splitlines())
    assert told["FASTSCHED_TASK_ID"] == "tásk 1" and told["FASTSCHED_ATTEMPT"] == "3"
    assert told["FASTSCHED_WORKER"] == "w1" and told["FASTSCHED_CPUS"] == "2.5"
    assert told["FASTSCHED_MEMORY_MB"] == "300" and told["MINE"] == "kept" and told["PATH"] == os.environ["PATH"]
    assert [told[name] for name in THREADS] == ["2", "2", "7", "2", "2"]
    assert field.run('[ "$OMP_NUM_THREADS" = 1 ]', cores=0.25).reason is None, "at least one thread"


def test_a_program_is_looked_for_on_the_path_of_its_task(field):
    os.mkdir("bin")
    Path("bin/mine").write_text("#!/bin/sh\nexit 42\n")
    os.chmod("bin/mine", 0o755)
    assert field.run(["mine"]).reason is Reason.SPAWN
    assert field.run(["mine"], env={"PATH": os.path.abspath("bin")}).exit_code == 42
    assert field.run("mine", env={"PATH": os.path.abspath("bin")}).exit_code == 42
    assert field.run("./mine", cwd=os.path.abspath("bin")).exit_code == 42


def test_a_command_has_its_folder_its_input_and_its_outputs(field, tmp_path):
    (tmp_path / "in").write_text("from a file\n")
    (tmp_path / "folder").mkdir()
    out, err = str(tmp_path / "out"), str(tmp_path / "err")
    command = "cat; pwd; echo $PWD; echo warned >&2"
    more = {"stdin": "in", "cwd": "folder"}  # both are looked for in the folder of the run
    assert field.run(command, stdout=out, stderr=err, **more).reason is None
    assert Path(out).read_text() == f"from a file\n{tmp_path}/folder\n{tmp_path}/folder\n"
    assert Path(err).read_text() == "warned\n"
    assert field.run("cat; echo nothing", stdout=out).reason is None
    assert Path(out).read_text() == "nothing\n", "without a file there is nothing to read, and the output is a new one"
    assert field.run("echo dropped; echo dropped >&2").reason is None, "without files outputs go nowhere"


def test_a_command_has_no_descriptor_but_the_first_three(field, tmp_path):
    out = tmp_path / "out"
    code = "import os; print([fd for fd in range(64) if os.path.exists(f'/dev/fd/{fd}')])"
    assert field.run(["python3", "-c", code], stdout=str(out)).reason is None
    assert out.read_text().strip() in ("[0, 1, 2]", "[0, 1, 2, 3]"), "the fourth is the look at the folder"


def test_signals_are_as_they_should_be(field, tmp_path):
    """Nothing is blocked, and what Python ignores is not passed on."""
    if not os.path.exists("/proc/self/status"):
        pytest.skip("skipped: signals are not to be seen")
    out = tmp_path / "out"
    assert field.run(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"], stdout=str(out)).reason is None
    blocked, ignored = (int(line.split()[1], 16) for line in out.read_text().splitlines())
    assert not blocked and not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


def test_the_last_lines_are_in_the_message_of_a_failure(field, tmp_path):
    files = {"stdout": str(tmp_path / "out"), "stderr": str(tmp_path / "err")}
    assert field.run("echo on stdout; exit 1", **files).message == "exit code 1\non stdout"
    assert field.run("echo on stdout; echo one >&2; echo two >&2; exit 1", **files).message == "exit code 1\none\ntwo"
    long = field.run("for i in 1 2 3 4 5 6 7 8 9; do printf '%0100d\\n' $i >&2; done; exit 1", **files).message
    assert long.endswith("9") and 300 < len(long) < 600
    assert len(field.run("printf '%09999d' 1; kill -9 $$", **files).message) < 600
    assert field.run("echo quiet; exit 0", **files).message == ""


def test_many_commands_at_once_and_no_end_is_lost(make_field):
    """300 at a time: all ends come, each once, and the worker is heard meanwhile."""
    field = make_field(heartbeat_s=0.2)
    field.bring_up()
    began = time.monotonic()
    for i in range(300):
        field.start(f"t{i}", ["sleep", "0.5"] if i % 3 else "sleep 0.3; exit 7")
    ends = [field.end_of(f"t{i}", 60) for i in range(300)]
    assert [end.exit_code for end in ends] == [0 if i % 3 else 7 for i in range(300)]
    assert not field.ends() and time.monotonic() - began < 60
    assert any(isinstance(report, WorkerHeard) for report in field.reports)
    gaps = [b - a for a, b in zip(field.heard, field.heard[1:])]
    assert max(gaps) < 5, "it was silent"


def test_orders_in_one_letter_are_all_done(field):
    from fastsched.events import Start

    orders = [Start(f"t{i}", "w1", 1, 1, ["sh", "-c", f"exit {i % 7}"], 1.0, 128) for i in range(100)]
    field.engine.send(orders)
    assert [field.end_of(f"t{i}").exit_code for i in range(100)] == [i % 7 for i in range(100)]


def test_an_end_is_of_its_own_attempt_whatever_has_ended_before(field):
    """What an engine calls attempts by may be used again, for one at a time."""
    for i in range(3):
        field.start(f"before{i}", "true")
    field.start("slow", "while [ ! -e go ]; do sleep 0.05; done; exit 100", cwd=os.getcwd())
    for i in range(3):
        field.end_of(f"before{i}")
    for i in range(10):
        field.start(f"t{i}", f"sleep 0.{i % 3}; exit {i}")
    assert [field.end_of(f"t{i}").exit_code for i in range(10)] == list(range(10))
    Path("go").touch()
    assert field.end_of("slow").exit_code == 100 and not field.ends()


def test_long_commands_and_large_environments_arrive(field, tmp_path):
    out = tmp_path / "out"
    env = {f"LARGE_{i}": "x" * 50_000 for i in range(8)}
    words = ["sh", "-c", 'echo $# ${#LARGE_7} "${1}"', "name", *["w" * 1000] * 300]
    assert field.run(words, env=env, stdout=str(out)).reason is None
    assert out.read_text().split() == ["300", "50000", "w" * 1000]


def test_names_of_any_letters(field, tmp_path):
    name = "ünï\u00a0名前\udcff"
    assert field.run(["sh", "-c", 'printf %s "$1" > "$1"', "sh", name], cwd=str(tmp_path)).reason is None
    assert (tmp_path / name).read_bytes() == os.fsencode(name)


def test_a_worker_is_heard_every_heartbeat_and_says_its_incarnation(make_field):
    field = make_field(heartbeat_s=0.1)
    field.bring_up()
    before = time.monotonic()
    for _ in range(5):
        beat = field.find(WorkerHeard)
        assert beat.worker_id == "w1" and not beat.first and beat.incarnation == 1
    assert time.monotonic() - before < 5


def test_waiting_ends_when_it_is_woken_or_the_time_is_over(field):
    for _ in range(3):
        field.engine.wait_reports(0.0)
    before = time.monotonic()
    field.engine.wake()
    while not isinstance(field.engine.wait_reports(30.0), list):
        pass
    assert time.monotonic() - before < 5
    field.engine.wait_reports(0.3)
    assert time.monotonic() - before < 10


def test_the_levels_are_said(field):
    levels = field.engine.levels()
    assert levels.containment and levels.memory and all(note.endswith(".") for note in levels.notes)


def test_no_end_comes_twice(field):
    for i in range(20):
        field.start(f"t{i}", "true")
    assert len({field.end_of(f"t{i}").task_id for i in range(20)}) == 20
    field.wait(0.5)
    assert not [report for report in field.reports if isinstance(report, AttemptEnded)]


def test_a_named_pipe_as_stdin_keeps_its_command_waiting_and_nobody_else(field):
    """Who opens it waits for its other end: an agent that did it was lost with all that it ran."""
    os.mkfifo("pipe")
    out = os.path.abspath("out")
    field.start("reads", ["tr", "a-z", "A-Z"], stdin="pipe", cwd=os.getcwd(), stdout=out, stderr=os.path.abspath("err"))
    field.start("line", "read x; [ $x = two ]", stdin=os.path.abspath("other"))
    assert "no file" in field.end_of("line").message
    assert field.run("exit 3").exit_code == 3
    Path("pipe").write_text("one\n")
    assert field.end_of("reads").reason is None and Path(out).read_text() == "ONE\n"


def test_a_name_that_is_very_long_is_not_told_in_full(field):
    for command in ["x" * 200_000, ["y" * 100_000]]:
        end = field.run(command)
        assert end.reason is not None and len(end.message) < 1500


def test_what_a_silent_command_does_to_its_output_is_not_the_next_one_s(field):
    """It may change more of a file than its content, and the next one is given a file as new."""
    files = {name: os.path.abspath(name) for name in ("stdout", "stderr")}
    quiet = "import fcntl, os; os.fchmod(1, 0o600); fcntl.fcntl(1, fcntl.F_SETFL, 0); os.lseek(1, 50, 0)"
    assert field.run([sys.executable, "-S", "-c", quiet], **files).reason is None
    assert field.run(["echo", "hello"], **files).usage.stdout_bytes in (6, -1)
    assert Path("stdout").read_text() == "hello\n" and os.stat("stdout").st_mode & 0o777 != 0o600
