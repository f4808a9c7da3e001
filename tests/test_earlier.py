"""Durations from runs that were really made, and a run beside its plan, as a program and as a person meets them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastsched import History, HistoryWarning, Policy, Scheduler, Task, Worker, lookback, run, schedule
from fastsched.cli import main
from fastsched.errors import FastschedError, FormatError
from fastsched.runtime import earlier
from fastsched.runtime.earlier import find_earlier
from fastsched.runtime.folder import RUNS
from fastsched.runtime.journal import Journal
from fastsched.runtime.view import PastRun

pytestmark = pytest.mark.skipif(os.name != "posix", reason="skipped: running commands needs POSIX")
TWO = [Worker("w1", 1, 1024), Worker("w2", 1, 1024)]
SLEEPS = [Task("long", "sleep 0.4"), Task("short", "sleep 0.1"), Task("after", "sleep 0.2", ["short"])]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def job(name="job.json", tasks=None, workers=TWO, **more):
    rows = [dict(zip(("task_id", "command", "dependencies"), row), **more) for row in tasks or ()]
    rows = rows or [{"task_id": t.task_id, "command": t.command, "dependencies": t.dependencies} for t in SLEEPS]
    there = [
        {"worker_id": w.worker_id, "cpu_cores_available": 1, "memory_available_mb": w.memory_available_mb}
        for w in workers
    ]
    Path(name).write_text(json.dumps({"tasks": rows, "workers": there}))
    return name


def newest():
    return max(RUNS.iterdir(), key=lambda path: (path / "journal.lock").stat().st_mtime_ns)


def planned(capsys, *arguments):
    capsys.readouterr()
    assert main(["plan", *arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_says_how_long_its_tasks_take_and_so_does_its_journal():
    result = run(SLEEPS, TWO, journal="first")
    history = History()
    history.add(result)
    read = History.from_runs(["first"])
    for known in (history, read):
        assert len(known) == 1
        for task, least in zip(SLEEPS, (0.4, 0.1, 0.2)):
            estimate = known.estimate(task)
            assert estimate.level == "task" and 0.8 * least <= estimate.seconds < least + 5
            assert estimate.memory_mb > 0
    by_command = read.estimate(Task("new", "sleep 77"))
    assert by_command.level == "command" and by_command.samples == 3
    assert read.estimate(Task("new", "true")) is None
    plan = schedule(SLEEPS, TWO, history=read)
    assert 0.35 < plan.makespan < result.makespan + 0.3


def test_what_was_killed_or_failed_is_no_measure():
    tasks = [
        Task("fails", "sleep 0.1; exit 3", max_retries=1),
        Task("slow", "sleep 60", timeout=0.3, max_retries=0),
        Task("second", "test $FASTSCHED_ATTEMPT -gt 1 || sleep 60", timeout=0.3),
    ]
    history = History()
    history.add(run(tasks, TWO, policy=Policy(), grace=0.1))
    assert history.estimate(tasks[0]).seconds is None
    slow = history.estimate(tasks[1])
    assert slow.level == "bound" and 0.3 <= slow.seconds < 5
    assert history.estimate(tasks[2]).seconds < 0.3, "the attempt that completed, and not the one that was killed"


def test_a_history_survives_a_file_without_what_commands_were_given(tmp_path):
    run([Task("a", "true --password=123 /home/me/x.csv", group="g")], TWO, journal="first")
    known = History.from_runs(["first"])
    known.save("kept.json")
    text = Path("kept.json").read_text()
    assert "123" not in text.replace("fastsched_history", "") and "/home/me" not in text
    again = History.load("kept.json")
    for task in (Task("a", "x"), Task("b", "true --password=4 /y.csv"), Task("b", "x", group="g"), Task("b", "x")):
        assert again.estimate(task) == known.estimate(task)
    assert History.from_runs(["kept.json", "first"]).runs == [*again.runs, *known.runs]
    assert os.listdir() == sorted(os.listdir()) or not [name for name in os.listdir() if name.endswith(".part")]
    for content, what in (("{}", "fastsched_history"), ("[", "history"), ('{"fastsched_history": 9, "runs": []}', "9")):
        Path("bad.json").write_text(content)
        with pytest.raises(FormatError, match=what):
            History.load("bad.json")
    with pytest.raises(FastschedError, match="no run with a journal"):
        History.from_runs(["nowhere"])
    with pytest.raises(TypeError, match="a list of runs"):
        History.from_runs("first")


def test_damaged_half_written_and_live_runs_are_left_out_and_named():
    run([Task("a", "true")], TWO, journal="whole")
    run([Task("a", "sleep 0.3")], TWO, journal="damaged")
    database = Path("damaged/journal.db")
    content = bytearray(database.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    database.write_bytes(content)
    Journal("begun").close()
    with Scheduler(TWO, journal="live"), pytest.warns(HistoryWarning) as caught:
        known = History.from_runs(["damaged", "begun", "whole", "live"])
    assert [str(warning.message).partition(" is left out")[0] for warning in caught]
    told = " | ".join(str(warning.message) for warning in caught)
    assert len(caught) == 3 and all(name in told for name in ("damaged", "begun", "live")), told
    assert [run.name for run in known.runs] == ["whole"]


def test_a_resumed_run_keeps_the_durations_that_it_began_with(capsys):
    known = History()
    known.add(run(SLEEPS, TWO))
    run(SLEEPS, TWO, history=known, journal="second")
    past = PastRun(Path("second"))
    expected = [known.estimate(task).seconds for task in SLEEPS]
    assert [task.duration for task in past.ledger.state.tasks] == expected
    assert [task.duration for task in past.opened.tasks] == expected
    with Scheduler(TWO, history=known, journal="third") as scheduler:
        mine = Task("long", "sleep 0.01")
        scheduler.submit(mine).result()
    assert PastRun(Path("third")).ledger.state.tasks[0].duration == expected[0]
    assert mine.duration is None and mine.status == "COMPLETED", "the task that was given is still the one that is told"
    with pytest.raises(TypeError, match="History"):
        Scheduler(TWO, history="third")


def test_plans_and_runs_of_a_file_use_its_earlier_runs_unless_told_otherwise(capsys):
    file = job()
    assert planned(capsys, file)["history"] is None
    assert main(["run", file]) == 0
    assert "earlier run" not in capsys.readouterr().err
    assert main(["run", file]) == 0
    assert "durations of 3 of 3 tasks from 1 earlier run\n" in capsys.readouterr().err
    told = planned(capsys, file)
    assert told["history"]["n_known"] == 3 and told["history"]["n_runs"] == 2 and told["makespan"] not in (2, 3)
    assert planned(capsys, file) == told, "a plan is the same each time"
    assert planned(capsys, file, "--no-history")["makespan"] == 2
    assert planned(capsys, file, "--history", newest().name)["history"]["n_runs"] == 1
    assert main(["plan", file]) == 0
    assert "history       durations of 3 of 3 tasks from 2 earlier runs\n" in capsys.readouterr().out
    assert main(["run", file, "--no-history", "--format", "json"]) == 0
    assert "earlier" not in capsys.readouterr().err
    assert [task.duration for task in PastRun(newest()).opened.tasks] == [None] * 3
    assert main(["run", file, "-n"]) == 0
    assert "from 3 earlier runs" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["plan", file, "--history", "x", "--no-history"])
    assert main(["plan", file, "--history", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_runs_of_another_file_say_nothing_even_where_it_has_the_same_name(capsys):
    Path("one").mkdir()
    Path("two").mkdir()
    first, second = job("one/job.json"), job("two/job.json")
    assert main(["run", first, "-q"]) == 0
    assert planned(capsys, second)["history"] is None
    assert planned(capsys, first)["history"]["n_known"] == 3
    assert planned(capsys, os.path.abspath(first))["history"]["n_known"] == 3, "however it is called"
    assert len(find_earlier("elsewhere.json", "job")) == 0


def test_a_task_that_says_its_duration_is_not_looked_up_and_no_journal_is_read(capsys, monkeypatch):
    file = job(tasks=[("a", "true"), ("b", "true")], duration=5, memory_required_mb=64)
    assert main(["run", file, "-q"]) == 0
    monkeypatch.setattr(earlier, "_read_run", None)
    assert planned(capsys, file)["makespan"] == 5


def test_only_the_newest_runs_are_read(capsys, monkeypatch):
    file = job(tasks=[("a", "true")])
    for _ in range(earlier.MOST_RUNS + 2):
        assert main(["run", file, "-q", "--no-history"]) == 0
    names = [path.name for path in sorted(RUNS.iterdir(), key=lambda path: (path / "journal.lock").stat().st_mtime_ns)]
    assert [run.name for run in find_earlier("job.json", "job").runs] == names[-earlier.MOST_RUNS :]
    read = []
    monkeypatch.setattr(earlier, "_read_run", lambda folder, *_: read.append(folder))
    find_earlier("other.json", "job")
    assert read == [], "their beginning says that they are of another file"
    shutil.rmtree(RUNS / names[-1])
    assert len(find_earlier("job.json", "job")) == 0 and len(read) == earlier.MOST_RUNS + 1, (
        "what measured nothing is no run"
    )


def test_a_run_that_takes_long_to_read_has_to_be_named(capsys, monkeypatch):
    file = job(tasks=[("a", "true")])
    for _ in range(2):
        assert main(["run", file, "-q"]) == 0
    monkeypatch.setattr(earlier, "MOST_BYTES", (newest() / "journal.db").stat().st_size + 100)
    assert planned(capsys, file)["history"]["n_runs"] == 1, "the second would be too much"
    monkeypatch.setattr(earlier, "MOST_BYTES", 100)
    capsys.readouterr()
    assert main(["plan", file]) == 0
    out, err = capsys.readouterr()
    assert "earlier run" not in out and f"--history {newest().name} reads it" in err
    assert planned(capsys, file, "--history", newest().name)["history"]["n_runs"] == 1


def test_what_a_crash_left_in_the_wal_is_found_too(capsys):
    """A scheduler that was killed wrote nothing back into its database: its beginning is in the WAL alone."""
    file = job(tasks=[("a", "sleep 0.2"), ("b", "touch here; sleep 60", ["a"])])
    scheduler = subprocess.Popen([sys.executable, "-m", "fastsched", "run", file, "-q"])
    until = time.monotonic() + 30
    while not Path("here").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    scheduler.kill()
    scheduler.wait()
    assert earlier._peek(newest()) is None
    assert find_earlier("job.json", "job").estimate(Task("a", "x")).seconds >= 0.2
    assert len(find_earlier("other.json", "job")) == 0


def test_a_damaged_run_is_warned_of_and_the_plan_is_made_all_the_same(capsys):
    file = job(tasks=[("a", "sleep 0.1")])
    for _ in range(2):
        assert main(["run", file, "-q"]) == 0
    database = newest() / "journal.db"
    database.write_bytes(database.read_bytes()[: database.stat().st_size // 2])
    capsys.readouterr()
    assert main(["plan", file]) == 0
    out, err = capsys.readouterr()
    assert "from 1 earlier run\n" in out and newest().name in err and err.startswith("fastsched: warning: ")


def test_what_is_no_task_is_told_as_ever_and_what_cannot_be_read_is_no_hindrance(capsys):
    for tasks in ([5], [None, {"task_id": "a"}], [[]]):
        Path("odd.json").write_text(json.dumps({"tasks": tasks}))
        assert main(["plan", "odd.json"]) == 2
        assert "bug" not in capsys.readouterr().err
    file = job(tasks=[("a", "true")])
    assert main(["run", file, "-q"]) == 0
    (newest() / "journal.db").unlink()
    (newest() / "journal.db").mkdir()
    (RUNS / "empty").mkdir()
    (RUNS / "file").write_text("")
    capsys.readouterr()
    assert main(["plan", file]) == 0
    out, err = capsys.readouterr()
    assert "earlier run" not in out and "warning: " in err and "is left out" in err


def test_report_says_how_late_a_run_was_and_for_what(capsys, monkeypatch):
    tasks = [("long", "sleep 0.4"), ("flaky", "sleep 0.1; test $FASTSCHED_ATTEMPT -gt 1"), ("after", "true", ["flaky"])]
    file = job(tasks=tasks)
    assert main(["run", file, "-q"]) == 0
    capsys.readouterr()
    assert main(["report"]) == 0
    assert "planned" not in capsys.readouterr().out, "no duration was known"
    assert main(["report", "--against"]) == 0
    assert "each task was planned with 1 s" in capsys.readouterr().out
    assert main(["run", file, "-q"]) == 0
    capsys.readouterr()
    assert main(["report"]) == 0
    out = capsys.readouterr().out
    assert "planned " in out and ", took " in out and "retries" not in out.partition("along")[2]
    assert main(["report", "--against"]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line for line in out.partition("task ")[2].splitlines()[1:] if line.strip()}
    assert set(rows) >= {"long", "flaky", "after"} and rows["after"].endswith("after flaky")
    assert main(["report", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["against"]
    monkeypatch.setattr(lookback, "MOST_UNASKED", 2)
    assert main(["report", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["against"] is None, (
        "a run of many tasks is compared when it is asked for"
    )
    assert told["delay"] == pytest.approx(sum(told["causes"].values()), abs=1e-6)
    flaky = next(row for row in told["tasks"] if row["task_id"] == "flaky")
    assert 0.1 <= flaky["retries"] < 10 and flaky["lost"] == 0


def test_report_takes_a_plan_that_was_kept(capsys):
    file = job(tasks=[("a", "sleep 0.1"), ("b", "true", ["a"])])
    told = planned(capsys, file)
    Path("plan.json").write_text(json.dumps(told))
    assert main(["plan", file, "--format", "jsonl"]) == 0
    Path("plan.jsonl").write_text(capsys.readouterr().out)
    assert main(["run", file, "-q"]) == 0
    answers = []
    for kept in ("plan.json", "plan.jsonl"):
        capsys.readouterr()
        assert main(["report", "--against", kept, "--format", "json"]) == 0
        answers.append(json.loads(capsys.readouterr().out)["against"])
    assert answers[0] == answers[1] and answers[0]["planned_makespan"] == 2
    assert [row["planned_end"] for row in answers[0]["tasks"]] == [1, 2]
    for content in ("", "{}", "[1]", '{"placements": 3}', '{"placements": [{"task_id": "a"}]}', "x"):
        Path("bad.json").write_text(content)
        assert main(["report", "--against", "bad.json"]) == 2, content
        assert "bad.json: it is no plan" in capsys.readouterr().err
    assert main(["report", "--against", "gone.json"]) == 2
    assert "gone.json: there is no run" in capsys.readouterr().err
    others = {"placements": [{**told["placements"][0], "task_id": "z"}]}
    Path("other-plan.json").write_text(json.dumps(others))
    assert main(["report", "--against", "other-plan.json"]) == 2
    assert "none of the tasks" in capsys.readouterr().err


def test_report_compares_two_runs(capsys):
    job(tasks=[("a", "sleep 0.1")])
    assert main(["run", "job.json", "-q"]) == 0
    first = newest().name
    job(tasks=[("a", "sleep 0.4")])
    assert main(["run", "job.json", "-q"]) == 0
    capsys.readouterr()
    assert main(["report", "--against", first, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["against"]
    assert told["causes"]["duration"] > 0 and told["planned_makespan"] < told["actual_makespan"]


def test_report_says_which_commands_ask_for_more_memory_than_they_take(capsys):
    takes = "import time; x = bytearray({} << 20); time.sleep(0.3)"
    tasks = [
        {"task_id": "modest", "command": "sleep 0.3", "memory_required_mb": 700},
        {"task_id": "large", "command": ["python3", "-c", takes.format(300)]},
    ]
    workers = [{"worker_id": "w", "cpu_cores_available": 2, "memory_available_mb": 1000}]
    Path("job.json").write_text(json.dumps({"tasks": tasks, "workers": workers}))
    assert main(["run", "job.json", "-q"]) == 0
    capsys.readouterr()
    assert main(["report"]) == 0
    out = capsys.readouterr().out
    assert "memory: 1 task like `sleep {n}` asked for 700 MB, took " in out
    assert "memory: 1 task like `python3 -c " in out and " counted with 128 MB, took 3" in out
    told = planned(capsys, "job.json")
    assert told["history"]["n_memory"] == 1
    starts = sorted(placement["start"] for placement in told["placements"])
    assert starts[1] > 0, "both do not fit beside each other any more"


def test_size_and_compare_use_what_earlier_runs_measured(capsys):
    file = job(tasks=[("a", "sleep 0.1"), ("b", "sleep 0.3", ["a"])])
    assert main(["run", file, "-q"]) == 0
    options = ["--deadline", "1h", "--shape", "1x1G=1", "--format", "json"]
    told = {}
    for name, more in (("known", []), ("unknown", ["--no-history"]), ("named", ["--history", newest().name])):
        capsys.readouterr()
        assert main(["size", file, *options, *more]) == 0
        size = json.loads(capsys.readouterr().out)
        assert main(["compare", file, "--try", "-w 1x1G", "--format", "json", *more]) == 0
        (outline,) = (compared := json.loads(capsys.readouterr().out))["plans"]
        assert main(["plan", file, "-w", "1x1G", "--format", "json", *more]) == 0
        plan = json.loads(capsys.readouterr().out)
        assert size["makespan"] == outline["makespan"] == plan["makespan"]
        assert size["history"] == plan["history"] and compared["history"] == (
            {file: plan["history"]} if plan["history"] else {}
        )
        told[name] = size["makespan"]
    assert told["unknown"] == 2 and 0.3 <= told["known"] < 1.5 and told["named"] == told["known"]
    for words in (["size", file, *options[:-2]], ["compare", file], ["plan", file, "--vary", "workers=1..2"]):
        assert main(words) == 0
        assert "from 1 earlier run" in " ".join(capsys.readouterr().out.split()), words
