"""The command line as a user meets it: what it prints, and the exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastsched
from fastsched import InternalError
from fastsched.cli import main
from fastsched.names import width_of

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
posix = pytest.mark.skipif(os.name != "posix", reason="skipped: running commands needs POSIX")
needs_examples = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="skipped: the examples are not here")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, tasks, workers=None):
    job = {"tasks": tasks, **({"workers": workers} if workers else {})}
    Path(name).write_text(json.dumps(job))
    return name


def task(task_id, command="true", *dependencies, **more):
    return {"task_id": task_id, "command": command, "dependencies": dependencies, **more}


TWO = [
    {"worker_id": "w1", "cpu_cores_available": 1, "memory_available_mb": 1024},
    {"worker_id": "w2", "cpu_cores_available": 1, "memory_available_mb": 1024},
]


def test_plan_says_what_a_person_wants_to_know(capsys):
    file = write("job.json", [task("a", duration=60), task("b", "x", "a", duration=120, memory_required_mb=512)], TWO)
    assert main(["plan", file, "--width", "60"]) == 0
    out = capsys.readouterr().out
    assert "job: 2 tasks on 2 workers (2 cores, 2,048 MB)" in out
    assert "  makespan      3m 00s\n" in out
    assert "  lower bound   3m 00s, bound by critical path;" in out and "the plan is optimal" in " ".join(out.split())
    assert "critical path 3m 00s, cores 1m 30s, memory 33.75 s" in " ".join(out.split())
    assert "  critical path 2 tasks: a -> b\n" in out
    assert "  utilisation   cores 50.0%, memory 18.8%\n" in out
    assert "│ w1" in out and max(map(len, out.splitlines())) <= 60


def test_plan_says_the_way_how_near_it_is_and_what_is_not_known(capsys):
    chain = [task(f"t{i}", "x", *([f"t{i - 1}"] if i else []), duration=10) for i in range(9)]
    some = [task("d", duration=200), task("e", duration=110), task("f", duration=50), task("g", duration=30)]
    file = write("job.json", [*some, task("h", "x", "f", "g", duration=30), task("b"), task("c")])
    assert main(["plan", file, "-w", "1x1G", "1x1G"]) == 0
    out = capsys.readouterr().out
    assert "  makespan      3m 40s (2 tasks without a duration count 1 s)\n" in out
    assert "the plan is 4.3% above it\n" in out
    assert main(["plan", write("job.json", chain), "-w", "4x1G", "--rank", "fifo"]) == 0
    out = capsys.readouterr().out
    assert "critical path 9 tasks: t0 -> t1 -> t2 -> ... 5 more ... -> t8\n" in out and "without" not in out


def test_plan_says_what_binds_and_when(capsys):
    big = [task(f"b{i}", "x", "first", duration=60, memory_required_mb=32000) for i in range(4)]
    file = write("job.json", [task("first", duration=130), *big])
    assert main(["plan", file, "-w", "3:4x16G", "4x64G", "--width", "100"]) == 0
    told = "memory-bound 2m 10s to 4m 10s on the worker with 64 GB"
    out = capsys.readouterr().out
    assert "  lower bound   4m 10s, bound by memory; the plan is optimal\n" in out
    assert f"  bottleneck    {told}\n" in out
    assert main(["plan", file, "-w", "3:4x16G", "4x64G", "--format", "json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["gap"] == 0 and plan["bound_by"] == "memory_mb" and plan["lower_bound"] == 250
    assert plan["bottleneck"]["text"].startswith(told) and plan["bottleneck"]["workers"] == ["w3"]
    assert (plan["bottleneck"]["start"], plan["bottleneck"]["end"]) == (130, 250)
    assert main(["plan", write("job.json", []), "-w", "4x64G", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["bottleneck"] is None


def test_large_amounts_are_told_in_figures(capsys):
    assert main(["plan", write("job.json", [task("a")]), "-w", "1000:2000x1T"]) == 0
    assert "(2,000,000 cores, 1,024,000 GB)" in capsys.readouterr().out


def test_in_forty_columns_nothing_is_wider(capsys):
    file = write("job.json", [task(f"{i}-{'名前' * 9}\n", duration=i) for i in range(6)], TWO)
    assert main(["plan", file, "--width", "40"]) == 0
    assert max(map(width_of, capsys.readouterr().out.splitlines())) <= 40
    chain = [task(f"{i}-{'x' * 40}", "x", *([f"{i - 1}-{'x' * 40}"] if i else [])) for i in range(6)]
    assert main(["plan", write("job.json", chain, TWO), "--width", "40"]) == 0
    assert max(map(width_of, capsys.readouterr().out.splitlines())) <= 40


def test_one_of_a_kind_is_named_as_one(capsys):
    assert main(["plan", write("job.json", [task("a")]), "-w", "1x1G", "--width", "60"]) == 0
    assert "job: 1 task on 1 worker (1 core, 1,024 MB)" in capsys.readouterr().out


def test_a_file_behind_the_shapes_is_told_its_place(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["plan", "-w", "1x1G", write("job.json", [task("a")])])
    assert ended.value.code == 2
    assert "'job.json' is not a shape" in (err := capsys.readouterr().err) and "FILE goes before -w" in err


def test_plan_as_json(capsys):
    file = write("job.json", [task("a", duration=1), task("b", "x", "a", duration=2)], TWO)
    assert main(["plan", file, "--format", "json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["makespan"] == 3 and plan["status"] == {"a": "COMPLETED", "b": "COMPLETED"}
    assert plan["placements"][1] == {
        "task_id": "b",
        "worker_id": "w1",
        "attempt": 1,
        "start": 1,
        "end": 3,
        "outcome": "COMPLETED",
    }


def test_plan_with_workers_of_other_places(capsys):
    file = write("job.json", [task("a", resources={"gpu": 1})])
    Path("workers.json").write_text(json.dumps([{**TWO[0], "resources": {"gpu": 1}}]))
    assert main(["plan", file, "--workers", "workers.json"]) == 0
    assert main(["plan", file, "-w", "2x4G", "3:1.5x512M,gpu=2"]) == 0
    assert "1 task on 4 workers (6.5 cores, 5,632 MB, 6 gpu)" in capsys.readouterr().out
    assert "not allowed with argument --workers" in usage_error(capsys, "plan", file, "--workers", "w", "-w", "1x1G")


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("4by16", "'4by16' is not a shape such as 4x16G"),
        ("4x16", "'4x16' names no unit of memory: say 4x16G or 4x16M"),
        ("2:0.5x16,gpu=1", "say 2:0.5x16G or 2:0.5x16M"),
        ("999999999:1x1G", "between 1 and 100,000 workers"),
        ("0:4x4G", "between 1 and 100,000 workers"),
        ("0x4G", "a worker needs cores, such as 0.5x1G"),
        ("4x0G", "a worker needs at least 1 MB of memory"),
        ("4x100K", "a worker needs at least 1 MB of memory"),
        ("0.0001x4G", "counted to three decimals"),
        ("4x9999999G", "memory_available_mb is"),
        ("9999999x1G", "cpu_cores_available is"),
        ("4x4G,memory_mb=1", "resource name 'memory_mb' cannot be used"),
        ("٤x٤G", "is not a shape"),
    ],
)
def test_patterns_that_make_no_sense_are_usage_errors(capsys, shape, said):
    file = write("job.json", [task("a")])
    err = usage_error(capsys, "plan", file, "-w", shape)
    assert said in err and err.startswith("usage: fastsched plan FILE")
    assert "at most 100,000" in usage_error(capsys, "plan", file, "-w", "60000:1x1G", "60000:1x1G")


def test_usage_errors_show_the_usage_of_their_command(capsys):
    file = write("job.json", [task("a")])
    for command, *wrong in (("plan", "--bogus"), ("run", "--bogus"), ("plan", "--wid", "60"), ("run", "--grac", "1")):
        err = usage_error(capsys, command, file, *wrong)
        assert err.startswith(f"usage: fastsched {command} FILE") and wrong[0] in err


def usage_error(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_plan_with_a_task_that_no_worker_can_hold(capsys):
    file = write("job.json", [task("big", memory_required_mb=9999), task("after", "x", "big"), task("ok")], TWO)
    assert main(["plan", file]) == 1
    out, err = capsys.readouterr()
    assert "failed        2 tasks cannot run (1 DEPENDENCY, 1 UNSATISFIABLE)" in out
    assert err.startswith("fastsched: warning: no worker can hold task 'big'") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"tasks": [', "bad.json: not JSON"),
        (
            '{"tasks": [{"task_id": "a", "command": "x", "dependencies": ["b"]}]}',
            "bad.json: 1 problem found:\n  a: depends on 'b'",
        ),
        ('{"tasks": [{"task_id": "a", "comand": "x"}]}', "did you mean 'command'"),
        ('{"jobs": []}', "unknown field 'jobs'"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_bad_input_is_said_and_is_2(capsys, content, said, command):
    Path("bad.json").write_text(content)
    assert main([command, "bad.json"]) == 2
    out, err = capsys.readouterr()
    assert said in err and out == "" and not Path(".fastsched").exists()


def test_problems_of_workers_of_another_file_name_it(capsys):
    Path("w.json").write_text(json.dumps([{**TWO[0], "cpu_cores_available": -1}]))
    for command in ("plan", "run"):
        assert main([command, write("job.json", [task("a", "x", "b")]), "--workers", "w.json"]) == 2
        err = capsys.readouterr().err
        assert err.startswith("fastsched: job.json with the workers of w.json: ")
    Path("w.json").write_text("{}")
    assert main(["plan", "job.json", "--workers", "w.json"]) == 2
    assert capsys.readouterr().err.startswith("fastsched: w.json: there is no list 'workers' in it")


def test_an_error_of_ours_is_no_error_of_the_user(capsys, monkeypatch):
    for error in (ValueError("in our code"), InternalError("broken"), KeyError("x")):

        def broken(*_, _error=error, **__):
            raise _error

        monkeypatch.setattr("fastsched.planning.schedule", broken)
        assert main(["plan", write("job.json", [task("a")], TWO)]) == 70
        err = capsys.readouterr().err
        assert "Traceback" in err and "please report it" in err


def test_a_file_that_is_not_there_is_2(capsys):
    assert main(["plan", "missing.json"]) == 2
    assert "missing.json: No such file or directory" in capsys.readouterr().err
    assert main(["plan", "."]) == 2


@posix
def test_run_runs_and_sums_up(capsys):
    file = write("job.json", [task("a", "echo hello > greeting"), task("b", "cat greeting", "a")], TWO)
    assert main(["run", file]) == 0
    out = capsys.readouterr().out
    assert "2 completed, 0 failed, 0 retried" in out and Path("greeting").read_text() == "hello\n"


@posix
def test_run_says_what_failed_and_its_last_words_and_is_1(capsys):
    tasks = [
        task("bad", "for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 9", max_retries=1),
        task("after", "true", "bad"),
        task("behind", "true", "after"),
        task("ok"),
        task("quiet", "echo said; exit 1", max_retries=0),
    ]
    assert main(["run", write("job.json", tasks, TWO)]) == 1
    out, err = capsys.readouterr()
    assert "1 completed, 4 failed (2 EXIT, 2 DEPENDENCY), 1 retried" in out
    assert "bad: exit code 9 on w" in out and "attempt 2; 2 dependent tasks failed with it" in out
    assert "stderr: line 7" in out and "line 2\n" not in out and "stdout: said" in out
    assert "exit code 9 on w" in err and "retrying" in err and "no retry left" in err


@posix
def test_run_as_json_is_one_document(capsys):
    file = write("job.json", [task("a"), task("b", "echo why; exit 4", max_retries=0)], TWO)
    assert main(["run", file, "--format", "json", "-q", "--run-dir", "here"]) == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert err == "" and told["status"] == {"a": "COMPLETED", "b": "FAILED"} and told["reasons"] == {"b": "EXIT"}
    assert {a["task_id"]: a["exit_code"] for a in told["attempts"]} == {"a": 0, "b": 4} and told["messages"] == {}
    assert told["run_dir"] == "here" and Path("here/logs/b.1.out").read_text() == "why\n"


@posix
def test_the_outputs_of_an_earlier_run_are_not_written_over(capsys):
    file = write("job.json", [task("a")], TWO)
    assert main(["run", file, "-q", "--run-dir", "here"]) == 0
    capsys.readouterr()
    assert main(["run", file, "-q", "--run-dir", "here"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("fastsched: here: it holds the journal of an earlier run; resume")


@posix
@pytest.mark.parametrize(("n", "more"), [(45, "42 more tasks"), (4, "1 more task"), (3, None)])
def test_tasks_that_no_worker_can_hold_are_said_once_and_counted(capsys, n, more):
    tasks = [task(f"big{i}", memory_required_mb=9999) for i in range(n)]
    file = write("job.json", [*tasks, task("after", "true", "big0"), task("ok")], TWO)
    assert main(["run", file]) == 1
    out, err = capsys.readouterr()
    for text in (out, err):
        assert text.count("no worker can hold task") == 3 and "needs 9999 MB" in text
        assert f"and {more} that no worker can hold\n" in text if more else "more task" not in text
    assert "1 dependent task failed with it" in out
    assert main(["run", file, "--format", "json", "-q"]) == 1
    messages = json.loads(capsys.readouterr().out)["messages"]
    assert len(messages) == n and messages["big0"].startswith("no worker can hold task 'big0': ")


@posix
def test_ids_are_shown_without_what_a_terminal_would_act_upon(capsys):
    tasks = [task("a\n\x1b[2J", "exit 1", max_retries=0), task("b\u202e", memory_required_mb=9999)]
    file = write("job.json", tasks, [{**TWO[0], "worker_id": "w\r"}])
    assert main(["run", file]) == 1
    out, err = capsys.readouterr()
    for text in (out, err):
        assert r"a\n\x1b[2J: exit code 1 on w\r" in text and "b\\u202e" in text
    assert all(line.isprintable() for line in (out + err).splitlines())
    assert main(["run", file, "-v"]) == 1
    assert main(["plan", file]) == 1
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.splitlines()) and r"a\n\x1b[2J" in out


def test_a_recorded_workflow_is_not_run(capsys):
    Path("wf.json").write_text(json.dumps({"schemaVersion": "1.5", "workflow": {"specification": {"tasks": []}}}))
    assert main(["run", "wf.json"]) == 2
    assert "can be planned" in capsys.readouterr().err
    assert main(["plan", "wf.json"]) == 0


@posix
def test_ctrl_c_is_130_with_a_summary_and_no_process_left():
    file = write(
        "job.json", [task("a"), task("b", "touch started; sleep 6789.1; true", "a"), task("c", "true", "b")], TWO
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "fastsched", "run", file, "--grace", "7s"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not Path("started").exists():
        time.sleep(0.01)
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 130, err
    assert "interrupted in" in out and "1 completed, 0 failed, 2 not ended" in out and "Traceback" not in err
    assert err.splitlines() == ["stopping 1 command (up to 7 s; Ctrl-C again kills)"]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                assert "6789.1" not in (entry / "cmdline").read_text()


@pytest.mark.parametrize(
    "wrong",
    [
        *[
            (option, value)
            for option in ("--lease", "--grace")
            for value in ("inf", "nan", "1e300", "-1s", "x", "10", "9999999d", "1.5.5s")
        ],
        ("--lease", "0"),
        ("--retries", "-1"),
        ("--retries", "99999999999"),
        ("--retries", "1.5"),
    ],
)
def test_numbers_out_of_bounds_are_usage_errors(capsys, wrong):
    with pytest.raises(SystemExit) as ended:
        main(["run", write("job.json", [task("a", "touch never")]), "=".join(wrong)])
    err = capsys.readouterr().err
    said = "names no unit: say 10s, 10m or 10h" if wrong[1] == "10" else "is "
    assert ended.value.code == 2 and f"argument {wrong[0]}: {wrong[1]!r} {said}" in err
    assert not Path("never").exists()


@posix
def test_a_run_that_is_stopped_shows_no_finished_bar():
    pytest.importorskip("rich")
    import pty

    file = write("job.json", [task("a"), task("b", "touch started; sleep 6789.2; true", "a"), task("c", "true", "b")])
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fastsched", "run", file]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs) as child:
        os.close(theirs)
        while not Path("started").exists():
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(ours, 4096):
                shown += data
    os.close(ours)
    text = shown.decode()
    assert child.returncode == 130 and "1/3" in text and "3/3" not in text
    assert "stopping 1 command (up to 5 s; Ctrl-C again kills)" in text


@posix
def test_a_long_plan_says_on_a_terminal_what_it_is_at():
    import pty

    file = write("job.json", [task(f"t{i}", memory_required_mb=10**6 if i == 9 else 1) for i in range(10)], TWO)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fastsched", "plan", file]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as child:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(ours, 4096):
                shown += data
        printed = child.stdout.read()
    os.close(ours)
    lines = shown.decode().replace("\r\n", "\n").split("\r\x1b[K")
    assert lines[1:3] == ["reading job.json", "reading 10 tasks"] and lines[-1] == ""
    assert lines[-2].startswith("fastsched: warning: no worker can hold task 't9'") and lines[-2].endswith("\n")
    assert b"makespan" in printed and b"reading the" in printed and b"\x1b" not in printed


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "latin-1"])
def test_any_terminal_is_good_enough(encoding):
    file = write("jöb 名前.json", [task("ä 名", duration=2), task("b", "x", "ä 名")], TWO)
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C"}
    plan = [sys.executable, "-m", "fastsched", "plan", "--width", "60", file]
    done = subprocess.run(plan, capture_output=True, env=env)
    assert done.returncode == 0 and done.stderr == b""
    assert b"makespan" in done.stdout and b"|####" in done.stdout and b"3.00 s" in done.stdout
    done = subprocess.run([*plan, "--format", "json"], capture_output=True, env=env)
    assert done.returncode == 0 and json.loads(done.stdout)["status"] == {"ä 名": "COMPLETED", "b": "COMPLETED"}
    Path(file).write_text(json.dumps({"tasks": [task("ä 名", "")]}))
    done = subprocess.run(plan, capture_output=True, env=env)
    assert done.returncode == 2 and b"command is empty" in done.stderr


def test_it_is_a_module_too_and_knows_its_version():
    done = subprocess.run([sys.executable, "-m", "fastsched", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == f"fastsched {fastsched.__version__}\n"


def test_help_and_version():
    for arguments in (["--help"], ["plan", "--help"], ["run", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as code:
            main(arguments)
        assert code.value.code == 0
    with pytest.raises(SystemExit) as code:
        main([])
    assert code.value.code == 2


def test_a_reader_that_goes_away_is_no_traceback():
    write("job.json", [task(f"t{i}") for i in range(5000)])
    code = "import sys; from fastsched.cli import main; sys.exit(main(['plan', 'job.json', '--format', 'json']))"
    # Unbuffered, Python itself swallows the error of a write that was done in part.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    with child:
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(30) == 141 and child.stderr.read() == ""


@posix
def test_a_reader_that_has_gone_before_anything_was_said_is_no_traceback():
    write("job.json", [task("a")])
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for arguments in (["plan", "job.json"], ["plan", "--help"], ["run", "job.json"]):
        ours, theirs = os.pipe()
        os.close(ours)
        command = [sys.executable, "-m", "fastsched", *arguments]
        done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, env=env)
        os.close(theirs)
        assert done.returncode == 141 and done.stderr == b""


@needs_examples
def test_the_bundled_workflow_is_planned(capsys):
    assert (
        main(["plan", str(EXAMPLES / "montage-2000.json"), "-w", "4:4x16G", "4:8x32G", "2:16x64G", "--format", "json"])
        == 0
    )
    plan = json.loads(capsys.readouterr().out)
    assert len(plan["status"]) == 1976 and plan["lower_bound"] <= plan["makespan"] < 1.1 * plan["lower_bound"]


@posix
@needs_examples
def test_the_bundled_pipeline_runs_as_it_says(capsys):
    assert main(["run", str(EXAMPLES / "pipeline.toml"), "--format", "json", "-q"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert {i for i, status in told["status"].items() if status == "FAILED"} == {"publish", "announce"}
    assert told["reasons"] == {"publish": "EXIT", "announce": "DEPENDENCY"}
    first, second = (a for a in told["attempts"] if a["task_id"] == "fragile")
    assert first["exit_code"] == 75 and second["exit_code"] == 0 and first["worker_id"] != second["worker_id"]
    assert "primes below 3000000: 216816" in Path("report.txt").read_text()
    assert not Path("announced.txt").exists()
