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

from fastsched.cli import main

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
    assert "job: 2 tasks on 2 workers (2 cores, 2048 MB)" in out
    assert "makespan     3m 00s" in out
    assert "lower bound  3m 00s, bound by critical path; the plan is 0.0% above it" in out
    assert "critical path 3m 00s, cores 1m 30s, memory 33.75 s" in out
    assert "utilisation  cores 50.0%, memory 18.8%" in out
    assert "│ w1" in out


def test_one_of_a_kind_is_named_as_one(capsys):
    assert main(["plan", write("job.json", [task("a")]), "-w", "1x1G", "--width", "60"]) == 0
    assert "job: 1 task on 1 worker (1 core, 1024 MB)" in capsys.readouterr().out


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
    assert "1 task on 4 workers (6.5 cores, 5632 MB, 6 gpu)" in capsys.readouterr().out
    assert main(["plan", file, "--workers", "workers.json", "-w", "1x1G"]) == 2
    assert "exclude each other" in capsys.readouterr().err
    with pytest.raises(SystemExit) as code:
        main(["plan", file, "-w", "4by16"])
    assert code.value.code == 2 and "4x16G" in capsys.readouterr().err


def test_plan_with_a_task_that_no_worker_can_hold(capsys):
    file = write("job.json", [task("big", memory_required_mb=9999), task("after", "x", "big"), task("ok")], TWO)
    assert main(["plan", file]) == 1
    out, err = capsys.readouterr()
    assert "failed       2 tasks cannot run (1 DEPENDENCY, 1 UNSATISFIABLE)" in out
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
    file = write("job.json", [task("a"), task("b", "exit 4", max_retries=0)], TWO)
    assert main(["run", file, "--format", "json", "-q", "--run-dir", "here"]) == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert err == "" and told["status"] == {"a": "COMPLETED", "b": "FAILED"} and told["reasons"] == {"b": "EXIT"}
    assert {a["task_id"]: a["exit_code"] for a in told["attempts"]} == {"a": 0, "b": 4}
    assert told["run_dir"] == "here" and Path("here/logs/a.1.out").exists()


@posix
def test_the_outputs_of_an_earlier_run_are_not_written_over(capsys):
    file = write("job.json", [task("a")], TWO)
    assert main(["run", file, "-q", "--run-dir", "here"]) == 0
    capsys.readouterr()
    assert main(["run", file, "-q", "--run-dir", "here"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("fastsched: here: it holds the outputs of an earlier run")


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
        [sys.executable, "-c", "import sys; from fastsched.cli import main; sys.exit(main(sys.argv[1:]))", "run", file],
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
    assert (
        "interrupted in" in out
        and "1 completed, 2 failed (1 CANCELLED, 1 DEPENDENCY)" in out
        and "Traceback" not in err
    )
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                assert "6789.1" not in (entry / "cmdline").read_text()


@pytest.mark.parametrize(
    "wrong",
    [
        *[(option, value) for option in ("--lease", "--grace") for value in ("inf", "nan", "1e300", "-1", "x")],
        ("--lease", "0"),
        ("--max-retries", "-1"),
        ("--max-retries", "99999999999"),
        ("--max-retries", "1.5"),
    ],
)
def test_numbers_out_of_bounds_are_usage_errors(capsys, wrong):
    with pytest.raises(SystemExit) as ended:
        main(["run", write("job.json", [task("a", "touch never")]), "=".join(wrong)])
    assert ended.value.code == 2 and f"argument {wrong[0]}: {wrong[1]!r} is " in capsys.readouterr().err
    assert not Path("never").exists()


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
        assert child.wait(30) == 1 and child.stderr.read() == ""


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
