"""`fastsched size`, `compare`, `plan --vary` and `plan --spread`, as a user meets them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastsched
from fastsched.cli import main
from fastsched.curve import draw_columns, draw_histogram, show_finely
from fastsched.names import width_of
from fastsched.portfolio import FITS
from fastsched.progress import CLEAR_LINE, PlanProgress
from fastsched.ranks import RANKS

posix = pytest.mark.skipif(os.name != "posix", reason="skipped: signals and commands need POSIX")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def task(task_id, *dependencies, **more):
    return {"task_id": task_id, "command": "true", "dependencies": dependencies, **more}


def write(tasks, name="job.json"):
    Path(name).write_text(json.dumps({"tasks": tasks}))
    return name


def wide(n=12, minutes=10):
    """So many tasks of some minutes, and one behind them."""
    return write([*(task(f"t{i}", duration=60 * minutes) for i in range(n)), task("end", "t0", duration=60)])


SHAPES = """
[[shapes]]
shape = "1x1G"
price = 0.10

[[shapes]]
name = "twin"
shape = "2x2G"
price = 0.15
most = 2
"""


# ---------------------------------------------------------------- size


def test_size_says_what_to_take_what_it_costs_and_how_sure_that_is(capsys):
    Path("shapes.toml").write_text(SHAPES)
    assert main(["size", wide(), "--deadline", "1h", "--shapes", "shapes.toml", "--width", "80"]) == 0
    out = capsys.readouterr().out
    text = " ".join(out.split())
    assert "job: 13 tasks within 1h 00m, from 2 shapes" in out
    assert "workers 1 x twin (2 cores, 2,048 MB)" not in text  # 12 tasks of 10 minutes and 1: it needs 61 minutes
    assert "workers 2 x twin (4 cores, 4,096 MB)" in text
    assert "price 0.155 in all, 0.3 an hour" in text and "makespan 31m 00s" in text
    assert "this is the cheapest" in text and "lower bound" in text
    assert out.rstrip().endswith("fastsched plan job.json -w 2:2x2G") and max(map(len, out.splitlines())) <= 80
    assert main(["plan", "job.json", "-w", "2:2x2G"]) == 0
    assert "makespan      31m 00s" in capsys.readouterr().out


def test_what_size_prints_to_be_planned_again_is_what_was_planned(capsys):
    wide()
    os.rename("job.json", "my job.json")
    assert (
        main(["size", "my job.json", "--deadline", "1h", "--shape", "1x1G=0.1", "--rank", "fifo", "--no-history"]) == 0
    )
    again = capsys.readouterr().out.splitlines()[-1]
    words = shlex.split(again)
    assert words[:3] == ["fastsched", "plan", "my job.json"]
    assert words[3:6] == ["--rank", "fifo", "--no-history"]
    assert main(words[1:]) == 0


def test_size_for_a_program(capsys):
    assert main(["size", wide(), "--deadline", "70m", "--shape", "1x1G=0.1", "1:2x2G=0.15", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {"2x2G": 1} and told["price_per_hour"] == 0.15 and told["exact"] is True
    assert told["makespan"] == told["plan"]["makespan"] == 3660 and told["minimised"] == "price"
    assert told["price"] == pytest.approx(0.15 * 3660 / 3600) and told["lower_bound"] <= told["price"]
    assert told["tried"][0].keys() == {"counts", "price_per_hour", "makespan", "price"}
    options = ["--minimise", "hourly", "--billing", "1h", "--rank", "fifo", "--passes", "9", "--format", "jsonl"]
    assert main(["size", "job.json", "--deadline", "70m", "--shape", "1x1G=0.1", *options]) == 0
    first, *tried = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["minimised"] == "hourly" and first["price"] == pytest.approx(2 * 0.1 * 2) and tried


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--deadline", "9m", "--shape", "1x1G=1"], "takes 660 s (t0 -> end)"),
        (["--deadline", "1h", "--shape", "1:1x1G=1"], "(1 x 1x1G) take at least 7260 s"),
        (["--deadline", "1h", "--shape", "0.5x1G=1"], "no shape can hold task 't0'"),
        (["--deadline", "1h", "--shape", "1x1G"], "such as 4x16G=0.20"),
        (["--deadline", "1h", "--shape", "1x1G=cheap"], "'cheap' is no price"),
        (["--deadline", "1h", "--shape", "1x1=1"], "names no unit of memory"),
        (["--deadline", "1h", "--shape", "1x1G=1", "1x1G=2"], "comes twice"),
        (["--deadline", "1h"], "--shapes --shape is required"),
        (["--deadline", "60", "--shape", "1x1G=1"], "names no unit"),
        (["--deadline", "1h", "--shapes", "none.toml"], "none.toml: No such file"),
        (["--deadline", "1h", "--shapes", "job.json"], "a list of shapes is wanted"),
        (["--deadline", "1h", "--shape", "1x1G=1", "--passes", "1000000001"], "argument --passes: "),
    ],
)
def test_what_size_cannot_do_is_said(options, said, capsys):
    code = None
    try:
        code = main(["size", wide(), *options])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2 and said in " ".join(capsys.readouterr().err.split())


@posix
def test_ctrl_c_gives_the_best_so_far():
    tasks = [task(f"t{i}", duration=100 + i % 17, cpu_cores_required=1 + i % 3) for i in range(600)]
    shapes = ["3x4G=0.101", "4x4G=0.133", "5x8G=0.167", "7x8G=0.23"]
    command = [sys.executable, "-m", "fastsched", "size", write(tasks), "--deadline", "20m", "--passes", "999999999"]
    # A line of progress is written some 2 s after its beginning, when there is something to interrupt.
    run = subprocess.Popen([*command, "--shape", *shapes], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = run.stderr.readline()
    assert "sizing: " in line and "best so far: " in line
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130 and "interrupted; this is the best so far" in err
    assert "when it was interrupted" in " ".join(out.split()) and "fastsched plan job.json -w" in out


def test_a_line_of_progress_is_not_broken(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    PlanProgress().say("sizing: " + "9" * 90)
    (line,) = capsys.readouterr().err.replace(CLEAR_LINE, "").splitlines()
    assert width_of(line) == 39 and line.startswith("sizing: 9")


# ---------------------------------------------------------------- plan --vary


def test_vary_prints_a_table_a_curve_and_the_knee(capsys):
    assert (
        main(["plan", wide(24), "-w", "1x1G", "--vary", "workers=1..30", "--shape", "1x1G=0.6", "--width", "80"]) == 0
    )
    out = capsys.readouterr().out
    assert "job: 25 tasks, workers from 1 to 30" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["1", "4h", "01m", "4h", "01m", "0.0%", "100.0%", "12.5%", "2.41"] in rows
    assert sum("knee" in line for line in out.splitlines()) == 3 and "enough at " in out
    assert max(map(width_of, out.splitlines())) <= 80 and "│█" in out


def test_vary_for_a_program(capsys):
    assert main(["plan", wide(), "-w", "2x2G", "--vary", "cores=1..2:0.5", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["value"] for row in rows] == ["1", "1.5", "2"]
    assert [float(row["makespan"]) for row in rows] == [7260, 7260, 3660]
    assert main(["plan", "job.json", "-w", "1x1G", "--vary", "workers=3", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["what"] == "workers" and [point["makespan"] for point in told["points"]] == [2460]
    assert main(["plan", "job.json", "-w", "4x4G", "--vary", "memory=100M..300M:100M", "--format", "jsonl"]) == 0
    points = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [point["value"] for point in points] == [100, 200, 300]
    assert [point["n_failed"] for point in points] == [13, 0, 0] and points[0]["makespan"] is None
    assert main(["plan", "job.json", "-w", "4x4G", "--vary", "memory=64M..100M:36M"]) == 1
    assert "13 tasks cannot run" in capsys.readouterr().out


def test_vary_draws(capsys):
    pytest.importorskip("matplotlib", reason="skipped: matplotlib is not here")
    assert main(["plan", wide(), "-w", "1x1G", "--vary", "workers=1..5", "--vary-plot", "curve.svg"]) == 0
    assert "<svg" in Path("curve.svg").read_text()
    with pytest.raises(SystemExit):
        main(["plan", wide(), "-w", "1x1G", "--vary", "workers=1..5", "--vary-plot", "curve.abc"])
    assert "argument --vary-plot: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("workers", "not such as workers=1..40"),
        ("workers=3..1", "from the least to the most"),
        ("workers=1..3:0", "more than 0"),
        ("workers=1..999999:1", "100,000 points"),
        ("memory=4G..64G", "61,441 plans; give a step, such as memory=4G..64G:4G"),
        ("workers=0..3", "from 1 to 100,000"),
        ("worker=1..3", "did you mean 'workers'"),
        ("memory=1..3", "names no unit"),
        ("workers=1G", "only memory has a unit"),
        ("2:1x1G=1..3", "name one, as in 1x1G=1..2"),
    ],
)
def test_what_cannot_be_varied_is_said(what, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["plan", wide(), "-w", "1x1G", "--vary", what])
    assert stopped.value.code == 2 and said in " ".join(capsys.readouterr().err.split())


VARY, SPREAD = ["--vary", "workers=1..2"], ["--spread", "20%"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([*VARY, *SPREAD], "argument --vary: it makes many plans; leave out --spread"),
        ([*VARY, "--seed", "1"], "argument --vary: it makes many plans; leave out --seed"),
        ([*VARY, "--samples", "9"], "leave out --samples"),
        ([*VARY, "--schedules", "9"], "leave out --schedules"),
        ([*VARY, "--save", "p"], "leave out --save"),
        (["--vary-plot", "a.png"], "argument --vary-plot: it draws what --vary finds; say --vary too"),
        (["--shape", "1x1G=1"], "argument --shape: a plan has no price"),
        (["--shapes", "shapes.toml"], "argument --shapes: a plan has no price"),
        (["--samples", "9"], "argument --samples: they are plays with other durations; say --spread too"),
        (["--deadline", "1h"], "say --spread too"),
        (["--seed", "1"], "argument --seed: nothing is drawn by chance; say --optimize, --schedules or --spread too"),
        (["--threads", "2"], "say --optimize, --schedules, --vary or --spread too"),
        (["--target-gap", "1%"], "say --optimize or --schedules too"),
        ([*SPREAD, "--plan", "p"], "argument --spread: it plays a plan that is made here; leave out --plan"),
        ([*SPREAD, "--threads", "2000"], "argument --threads: '2000' is not a whole number from 1 to 1,024"),
        ([*SPREAD, "--threads", "0"], "argument --threads: "),
        (
            [*SPREAD, "--samples", "10000001"],
            "argument --samples: '10000001' is not a whole number from 1 to 10,000,000",
        ),
        ([*SPREAD, "--seed", str(2**64)], "argument --seed: "),
        ([*VARY, "--threads", "1025"], "argument --threads: "),
        (["--schedules", str(2**63)], "argument --schedules: "),
        (["--optimize", "1s", "--threads", "1025"], "argument --threads: "),
    ],
)
def test_what_nothing_uses_and_what_is_out_of_range_is_said(options, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["plan", wide(), "-w", "1x1G", *options])
    told = capsys.readouterr()
    assert stopped.value.code == 2 and said in " ".join(told.err.split()) and not told.out
    assert sorted(os.listdir()) == ["job.json"]


def test_what_is_in_range_and_used_is_taken(capsys):
    both = ["--seed", str(2**64 - 1), "--threads", "1024"]
    assert main(["plan", wide(3), "-w", "1x1G", *SPREAD, "--samples", "20", *both]) == 0
    assert main(["plan", wide(3), "-w", "1x1G", "--schedules", "50", *both, *SPREAD, "--samples", "5"]) == 0
    assert main(["plan", wide(3), "-w", "1x1G", *VARY, "--threads", "2", "--shape", "1x1G=1"]) == 0
    assert main(["plan", wide(3), "-w", "1x1G", "--save", os.devnull, "--html", os.devnull]) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--save", "job.json"], "argument --save: job.json would be overwritten; it is the job file"),
        (["--save", "linked"], "argument --save: linked would be overwritten; it is the job file"),
        (["--workers", "w.json", "--html", "w.json"], "it is the file of --workers"),
        (["--plan", "p.json", "--save", "./p.json"], "it is the plan of --plan"),
        (["--plan", "p.json", "--trace", "p.json"], "it is the plan of --plan"),
        (["--history", "h.json", "--save", "h.json"], "it is a history that is read"),
        (["--save", "new", "--html", "new"], "argument --html: new would be overwritten; --save writes it too"),
        (["--save", "new.svg", "--plot", "new.svg"], "--save writes it too"),
        ([*VARY, "--shapes", "s.svg", "--vary-plot", "s.svg"], "it is the file of --shapes"),
        ([*VARY, "--vary-plot", "a.txt"], "argument --vary-plot: 'a.txt' has none of the suffixes .png, .svg"),
        ([*VARY, "--vary-plot", "none/a.svg"], "none/a.svg: there is no such folder"),
        (["--save", "folder"], "argument --save: folder is a folder"),
        (["--save", "none/p.json"], "argument --save: none/p.json: there is no such folder"),
    ],
)
def test_files_that_clash_are_told_before_anything_is_read(options, said, capsys):
    file = wide()
    os.link(file, "linked")
    Path("folder").mkdir()
    for name in ("w.json", "p.json", "h.json", "s.svg"):
        Path(name).write_text("as it was")
    before = {path: path.read_text() for path in Path().iterdir() if path.is_file()}
    with pytest.raises(SystemExit) as stopped:
        main(["plan", file, *options])
    told = capsys.readouterr()
    assert stopped.value.code == 2 and said in " ".join(told.err.split()) and not told.out
    assert before == {path: path.read_text() for path in Path().iterdir() if path.is_file()}


def test_a_plan_as_csv(capsys):
    assert main(["plan", wide(2), "-w", "2x2G", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["task_id"], row["start"], row["end"]) for row in rows] == [
        ("t0", "0.0", "600.0"), ("t1", "0.0", "600.0"), ("end", "600.0", "660.0"),
    ]  # fmt: skip


# ---------------------------------------------------------------- plan --spread


def test_spread_tells_quantiles_chances_and_what_it_hangs_on(capsys):
    options = ["--spread", "30%", "--samples", "200", "--seed", "4", "--deadline", "24m", "--width", "80"]
    assert main(["plan", wide(4), "-w", "2:1x1G", *options]) == 0
    out = capsys.readouterr().out
    text = " ".join(out.split())
    assert "if durations vary by 30 % (200 samples, seed 4)" in out
    for word in (
        "p5 ",
        "p50 ",
        "p90 ",
        "p95 ",
        "p99 ",
        "mean",
        "deadline",
        "end within 24m 00s",
        "most often waited for",
    ):
        assert word in text, word
    assert max(map(width_of, out.splitlines())) <= 80
    assert main(["plan", "job.json", "-w", "2:1x1G", *options, "--threads", "2", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["risk"]
    graph = fastsched.TaskGraph(json.loads(Path("job.json").read_text())["tasks"])
    plan = graph.schedule([fastsched.Worker(f"w{i}", 1, 1024) for i in range(2)])
    risk = plan.risk(spread=0.3, samples=200, seed=4)
    assert told["makespans"] == risk.makespans.tolist() and told["quantiles"] == risk.quantiles
    assert told["chance"] == risk.chance(24 * 60) and told["criticality"] == dict(risk.most_critical(5))


@pytest.mark.parametrize("spread", ["-1%", "1001%", "a lot", "nan"])
def test_a_spread_is_a_share(spread, capsys):
    with pytest.raises(SystemExit):
        main(["plan", wide(), f"--spread={spread}"])
    assert "no share from 0 to 1000%" in capsys.readouterr().err


# ---------------------------------------------------------------- compare


def test_compare_tries_ways_and_marks_the_best(capsys):
    file = write([task("a", duration=60), task("b", duration=120), task("c", "b", duration=180)])
    ways = ["--try", "rank=fifo", "--try", "--rank fifo", "--try", "-w 2:1x1G"]
    assert main(["compare", file, *ways, "-w", "1x1G", "--shape", "1x1G=1", "--width", "80"]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["*", "-w", "2:1x1G", "5m", "00s", "5m", "00s", "0.0%", "60.0%", "7.5%", "0.1667"] in rows
    assert any(row[0] == "rank=fifo" and "+20.0%" in row for row in rows)
    assert "--rank fifo against -w 2:1x1G: 2 tasks at another time" in out
    assert max(map(width_of, out.splitlines())) <= 80
    assert main(["compare", file, *ways, "-w", "1x1G", "--format", "json", "--moves", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["best"] == "-w 2:1x1G" and [plan["makespan"] for plan in told["plans"]] == [360, 360, 300]
    assert told["plans"][0]["moves"][0]["later"] == 60 and len(told["plans"][0]["moves"]) == 1


def test_compare_tries_every_rank_and_fit_where_none_is_named(capsys):
    assert main(["compare", wide(), "-w", "3:1x1G", "--moves", "0", "--format", "jsonl"]) == 0
    names = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert len(names) == len(RANKS) * len(FITS) and names[0] == "critical-path most-free" and "fifo best-fit" in names


@posix
def test_compare_reads_saved_plans_and_runs(capsys):
    file = write([task("a", duration=1), task("b", "a", duration=1)])
    assert main(["plan", file, "-w", "1x1G", "--format", "json"]) == 0
    Path("saved.json").write_text(capsys.readouterr().out)
    assert main(["run", file, "-w", "1x1G", "--run-dir", "ran", "-q"]) == 0
    capsys.readouterr()
    command = ["compare", "saved.json", "ran", file, "--try", "rank=fifo", "-w", "1x1G", "--format", "json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert [plan["name"] for plan in told["plans"]] == ["saved.json", "ran", f"{file}: rank=fifo"]
    assert [plan["n_failed"] for plan in told["plans"]] == [0, 0, 0] and told["best"] == "ran"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--try", "rank=fif"], "argument --try: 'rank=fif': argument --rank: "),
        (["--try", "rank=fifo more"], "unrecognized arguments: more"),
        (["--try", "'"], "No closing quotation"),
        (["--try", "-w 1x1G --workers x.json"], "argument --workers: not allowed with argument -w"),
    ],
)
def test_what_compare_cannot_try_is_said(options, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["compare", wide(), *options])
    assert stopped.value.code == 2 and said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("options", [["--try", "rank=fifo"], ["-w", "1x1G"], ["--workers", "job.json"]])
def test_compare_says_when_there_is_nothing_to_plan(options, capsys):
    assert main(["plan", wide(3), "--save", "p.json"]) == 0
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "p.json", *options])
    said = f"argument {options[0]}: plans and runs are compared as they are; name a job file too"
    assert stopped.value.code == 2 and said in capsys.readouterr().err


def test_compare_says_when_nothing_can_run(capsys):
    file = write([task("a", cpu_cores_required=9)])
    assert main(["compare", file, "--try", "-w 1x1G"]) == 1
    assert "failed" in capsys.readouterr().out
    assert main(["compare", "none.json"]) == 2


DOCS = Path(__file__).resolve().parent.parent / "docs" / "what-if.md"


@pytest.mark.skipif(not DOCS.is_file(), reason="skipped: the documents are not here")
def test_the_examples_of_the_document_are_true(tmp_path):
    text = DOCS.read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [line.split("# ", 1)[1] for line in block.splitlines() if "# " in line], (
        done.stderr
    )
    (shapes,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    Path("shapes.toml").write_text(shapes)
    assert main(["size", wide(), "--deadline", "1h", "--shapes", "shapes.toml"]) == 0


# ---------------------------------------------------------------- pictures of text


def test_columns_are_as_high_as_they_should_be():
    assert draw_columns([1, 2, 3], ("1", "3"), [80.0, 35.0, None], 40, height=4, marks=[(2, "here")]) == [
        " 1m 20s │█████",
        "        │█████",
        "40.00 s │█████ ▆▆▆▆▆",
        "        │█████ █████",
        "      0 │──────────────────",
        "         1                3",
        "               ^ here",
    ]
    assert draw_columns([1], ("1", "1"), [None], 40) == [] == draw_columns([1], ("1", "1"), [0.0], 40)
    many = draw_columns(list(range(200)), ("0", "199"), [1.0] * 200, 60, marks=[(199, "end")], ascii_only=True)
    assert all(line.isascii() and len(line) <= 60 for line in many) and many[-1].endswith("end ^")


def test_a_histogram_counts_all():
    lines = draw_histogram(np.array([1.0, 1.0, 2.0, 12.0]), 40)
    assert len(lines) == 12 and sum(float(line.split("%")[0].split()[-1]) for line in lines) == pytest.approx(
        100, abs=0.5
    )
    assert len(draw_histogram(np.array([3.0, 3.0]), 40)) == 1
    assert all(line.isascii() and len(line) <= 40 for line in draw_histogram(np.arange(50.0), 40, ascii_only=True))


def test_times_that_are_near_can_be_told_apart():
    assert show_finely(7384.4) == "2h 03m 04s" and show_finely(59) == "59.00 s" and show_finely(3600) == "1h 00m 00s"
