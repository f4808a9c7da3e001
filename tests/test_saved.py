"""Plans as files: one kind, however it was saved, for whoever follows a plan, holds a run beside it, or compares."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from fastsched import FormatError, Schedule, Task, Worker, compare, load_plan, run, save_plan, schedule
from fastsched.cli import main
from fastsched.runtime.view import PastRun

posix = pytest.mark.skipif(os.name != "posix", reason="skipped: commands need POSIX")
TASKS = [
    {"task_id": name, "command": "sleep 0.05", "dependencies": list(above), "duration": seconds}
    for name, above, seconds in (("a", "", 0.3), ("b", "", 0.2), ("c", "a", 0.1), ("d", "ab", 0.2), ("e", "", 0.4))
]
WORKERS = [{"worker_id": name, "cpu_cores_available": 1, "memory_available_mb": 1000} for name in ("north", "south")]
REMEDY = "a plan is wanted, as `fastsched plan FILE --save PLAN` keeps it or --format json prints it"


@pytest.fixture(autouse=True)
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("job.json").write_text(json.dumps({"tasks": TASKS, "workers": WORKERS}))
    return "job.json"


def printed(capsys, *words):
    capsys.readouterr()
    assert main(list(words)) == 0
    return capsys.readouterr().out


def by_save(capsys):
    printed(capsys, "plan", "job.json", "--save", "kept")


def by_json(capsys):
    Path("kept").write_text(printed(capsys, "plan", "job.json", "--format", "json"))


def by_lines(capsys):
    Path("kept").write_text(printed(capsys, "plan", "job.json", "--format", "jsonl"))


def by_a_program(capsys):
    save_plan(schedule(TASKS, WORKERS), "kept")


def by_size(capsys):
    """The plan on the workers that were found, who have other names."""
    options = ["--deadline", "1s", "--shape", "1x1000M=1", "--format", "json"]
    Path("kept").write_text(json.dumps(json.loads(printed(capsys, "size", "job.json", *options))["plan"]))


@posix
@pytest.mark.parametrize("saved", [by_save, by_json, by_lines, by_a_program, by_size])
def test_a_plan_that_was_saved_by_any_way_is_read_by_all(saved, capsys):
    saved(capsys)
    plan = schedule(TASKS, WORKERS)
    assert main(["run", "job.json", "--plan", "kept", "--run-dir", "ran", "-q", "--replan", "never"]) == 0
    assert PastRun(Path("ran")).ledger.state.guide().task_ids == load_plan("kept").task_ids
    told = json.loads(printed(capsys, "report", "ran", "--against", "kept", "--format", "json"))["against"]
    assert told["planned_makespan"] == plan.makespan and told["followed"] is False
    assert {row["task_id"]: row["planned_end"] for row in told["tasks"]} == {p.task_id: p.end for p in plan.placements}
    outlines = json.loads(printed(capsys, "compare", "kept", "ran", "--format", "json"))["plans"]
    assert [outline["name"] for outline in outlines] == ["kept", "ran"]
    assert outlines[0]["makespan"] == plan.makespan and outlines[0]["lower_bound"] == plan.lower_bound
    assert outlines[0]["n_tasks"] == 5 and outlines[0]["n_workers"] == 2 and outlines[0]["n_failed"] == 0
    # and from Python
    read = load_plan("kept")
    assert [placement[3:] for placement in schedule(TASKS, WORKERS, plan=read, rank="fifo").placements] == [
        placement[3:] for placement in plan.placements
    ]
    ran = run(TASKS, WORKERS, plan=read, capture=False)
    assert ran.against(read).planned_makespan == compare({"it": read})["it"].makespan == plan.makespan


@posix
def test_a_run_is_held_beside_the_plan_that_it_followed(capsys):
    """The journal has it: no file is needed, and what could be planned from the durations is another plan."""
    plan = schedule(TASKS, WORKERS, rank="fifo", fit="first-fit")
    assert plan.placements != schedule(TASKS, WORKERS).placements
    save_plan(plan, "kept")
    assert main(["run", "job.json", "--plan", "kept", "--run-dir", "ran", "-q"]) == 0
    Path("kept").rename("elsewhere")
    told = json.loads(printed(capsys, "report", "ran", "--against", "--format", "json"))["against"]
    assert told["followed"] is True and told["planned_anew"] == 0
    placed = {placement.task_id: placement for placement in plan.placements}
    assert {row["task_id"] for row in told["tasks"]} == set(placed)
    for row in told["tasks"]:
        late = row["planned_start"] - placed[row["task_id"]].start  # it is followed some moments after the beginning
        assert 0 <= late < 0.1 and row["planned_worker"] == placed[row["task_id"]].worker_id
    out = printed(capsys, "report", "ran", "--against")
    assert re.search(r"beside the plan that it was given to follow:\nplanned \d+ ms, took \d+ ms", out)
    assert told["planned_makespan"] == pytest.approx(plan.makespan, abs=0.1)
    assert "beside the plan that it was given to follow:" in printed(capsys, "report", "ran")
    assert main(["run", "job.json", "--run-dir", "freely", "-q"]) == 0
    told = json.loads(printed(capsys, "report", "freely", "--against", "--format", "json"))["against"]
    assert told["followed"] is False and told["planned_anew"] is None


@posix
def test_what_was_planned_anew_on_the_way_is_not_what_was_planned(capsys):
    tasks = [{"task_id": f"t{i}", "command": "sleep 0.8", "duration": 0.1} for i in range(6)]
    Path("job.json").write_text(json.dumps({"tasks": tasks, "workers": WORKERS}))
    assert main(["plan", "job.json", "--save", "kept"]) == 0
    assert main(["run", "job.json", "--plan", "kept", "--run-dir", "ran", "-q", "--replan", "10%"]) == 0
    told = json.loads(printed(capsys, "report", "ran", "--against", "--format", "json"))["against"]
    assert told["planned_anew"] >= 1 and 0.3 <= told["planned_makespan"] < 0.4
    said = r"follow; the rest was planned anew \d times? on the way:"
    assert re.search(said, printed(capsys, "report", "ran", "--against"))


@posix
def test_a_run_that_was_taken_up_with_another_plan_is_held_beside_both(capsys):
    tasks = [{"task_id": f"t{i}", "command": "sleep 0.4", "duration": 0.4} for i in range(8)]
    Path("job.json").write_text(json.dumps({"tasks": tasks, "workers": WORKERS}))
    assert main(["plan", "job.json", "--save", "kept"]) == 0
    run_it = ["run", "job.json", "--plan", "kept", "--run-dir", "ran", "-q", "--replan", "never"]
    assert main([*run_it, "--walltime", "1s"]) == 75
    ended = {task_id for task_id, status in PastRun(Path("ran")).result().items() if status == "COMPLETED"}
    assert 0 < len(ended) < 8
    assert main(["resume", "ran", "--plan", "kept", "-q"]) == 0
    told = json.loads(printed(capsys, "report", "ran", "--against", "--format", "json"))["against"]
    assert told["followed"] and len(told["tasks"]) == 8
    first = {placement.task_id: placement.start for placement in load_plan("kept").placements}
    for row in told["tasks"]:
        as_before = abs(row["planned_start"] - first[row["task_id"]]) < 0.2
        assert as_before or row["task_id"] not in ended


def test_it_is_the_same_file_however_it_is_saved(capsys):
    by_save(capsys)
    kept = json.loads(Path("kept").read_text())
    by_json(capsys)
    made = json.loads(Path("kept").read_text())
    assert made.pop("history") is None and made == kept
    by_a_program(capsys)
    assert json.loads(Path("kept").read_text()) == kept


def test_the_order_of_a_pass_is_kept():
    """`small` fills the gap before `wide`, which is more urgent."""
    tasks = [
        Task("long", "x", duration=4),
        Task("after", "x", ["long"], duration=10),
        Task("wide", "x", (), 2, duration=3),
        Task("small", "x", duration=2),
    ]
    plan = schedule(tasks, [Worker("w", 2, 1000)])
    assert [placement.task_id for placement in plan.placements] == ["long", "small", "after", "wide"]
    save_plan(plan, "kept")
    read = load_plan("kept")
    assert read.task_ids == ["long", "after", "wide", "small"] and read.is_ordered and len(read) == 4
    assert read.placements == plan.placements and read.status == dict(plan)


def test_another_program_says_what_it_likes(capsys):
    rows = [
        {"task_id": "b", "worker_id": "w", "start": 2, "end": 3},
        {"task_id": "a", "worker_id": "w", "start": 0, "end": 2},
    ]
    Path("kept").write_text(json.dumps({"placements": rows, "made by": "us"}))
    read = load_plan("kept")
    assert read.task_ids == ["a", "b"] and not read.is_ordered and read.makespan == 3 and set(read.status) == {"a", "b"}
    out = printed(capsys, "compare", "kept", "--format", "json")
    (outline,) = json.loads(out)["plans"]
    assert outline["gap"] is None and outline["n_workers"] == 1
    assert re.search(r"kept +3.00 s +- +-", printed(capsys, "compare", "kept"))


WRONG = [
    (b"", "it is no plan: it is empty"),
    (b"{}", "missing required field `placements`"),
    (b"[1]", "it is no plan"),
    (b"\x00", "it is no plan"),
    (b"\xff\xfex", "it is UTF-16; save it as UTF-8"),
    (json.dumps({"tasks": TASKS}).encode(), "it is no plan: it is a job file"),
    (b"[[tasks]]\ntask_id = 'a'\n", "it is no plan"),
    (b'{"placements": [{"task_id": "a", "worker_id": "w", "start": 2, "end": 1}]}', "from 2 s to 1 s"),
    (b'{"placements": [{"task_id": "a", "worker_id": "w", "start": 0, "end": 1}], "order": ["a", "a"]}', "its order"),
    (b'{"placements": [{"task_id": "a", "worker_id": "w", "start": 0, "end": 1}], "order": ["z"]}', "its order"),
    (b"task_id,worker_id,start,end\na,w,0,1\n", "it is no plan"),
    (b'{"makespan": 1}\n{"task_id": "a"}\n', "missing required field"),
    (b'{"makespan": 1}\n{"task_id": \n', "it is no plan"),
    (b'{"placements": ' + b"[" * 200_000, "it is no plan"),
]


@pytest.mark.parametrize(("content", "says"), WRONG)
def test_what_is_no_plan_is_told_with_the_file_and_the_remedy(content, says, capsys):
    Path("wrong").write_bytes(content)
    for words in (["plan", "job.json", "--plan", "wrong"], ["run", "job.json", "--plan", "wrong"]):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert err.startswith("fastsched: wrong: ") and says in err, err
        assert "UTF-16" in says or err.rstrip().endswith(REMEDY)


def test_a_folder_is_no_plan_and_only_the_answer_of_schedule_is_saved(capsys):
    Path("folder").mkdir()
    assert main(["run", "job.json", "--plan", "folder"]) == 2
    assert f"folder: it is no plan, but a folder; {REMEDY}" in capsys.readouterr().err
    with pytest.raises(FormatError, match="but a folder"):
        load_plan(Path("folder"))
    with pytest.raises(TypeError, match="what schedule\\(\\) answers is wanted"):
        save_plan(schedule(TASKS, WORKERS).plan, "kept")
    assert not Path("kept").exists()


def test_a_plan_of_no_tasks(capsys):
    plan = schedule([], WORKERS)
    save_plan(plan, "kept")
    assert len(load_plan("kept")) == 0 and isinstance(plan, Schedule)
    assert schedule([], WORKERS, plan=load_plan("kept")).makespan == 0
