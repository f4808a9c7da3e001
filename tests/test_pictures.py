"""Pictures of plans and runs: what is computed for them against slow plain counts, and what is written."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fastsched import MissingExtraError, Policy, Task, TaskGraph, Worker, schedule
from fastsched.cli import main
from fastsched.files import write_file
from fastsched.pictures.axis import tick_label, tick_step, ticks
from fastsched.pictures.lanes import pack_lanes
from fastsched.pictures.scene import group_name
from fastsched.pictures.usage import busy_grid, usage_steps

NASTY = ["</script><script>alert(1)</script>", "<!--", "a&b\"'", "名前", "]]>", "\u2028", "x" * 300]


def some_plan(seed, n=60, n_workers=5, failing=True):
    """A plan of a random graph, with retries, failures for good, tasks of no duration and one that nobody can hold."""
    chance = random.Random(seed)
    tasks = []
    for i in range(n):
        before = [f"g{j % 3}-{j}" for j in chance.sample(range(i), min(i, chance.randrange(3)))]
        shape = {"cpu_cores_required": chance.choice([0.5, 1, 2]), "memory_required_mb": chance.choice([64, 256])}
        tasks.append(Task(f"g{i % 3}-{i}", "x", before, duration=chance.choice([0, 1, 2.5, 7]), max_retries=1, **shape))
    if failing:
        tasks.append(Task("huge", "x", cpu_cores_required=64))
    workers = [Worker(f"w{i}", chance.choice([1, 2, 4]), 1024) for i in range(n_workers)] + [Worker("w", 2, 1024)]
    fails = {f"g{i % 3}-{i}" for i in chance.sample(range(n), n // 8)} if failing else set()
    return schedule(
        tasks, workers, outcome=lambda task, worker, attempt: task not in fails or attempt > chance.random() * 3
    )


pytestmark = pytest.mark.filterwarnings("ignore::fastsched.UnsatisfiableWarning")
SEEDS = range(30)


@pytest.mark.parametrize("seed", SEEDS)
def test_lanes_never_overlap_and_are_as_few_as_can_be(seed):
    columns = some_plan(seed).columns
    worker, start, end = columns["worker"], columns["start_ns"], columns["end_ns"]
    lane, n_lanes = pack_lanes(worker, start, end, 6)
    for w in range(6):
        here = np.nonzero(worker == w)[0].tolist()
        at_once = [1 + sum(end[i] > start[k] for i in here if i < k) for k in here]
        assert n_lanes[w] == max(at_once, default=0), f"seed {seed}"
        for i in here:
            for k in here:
                if i < k and lane[i] == lane[k]:
                    assert end[i] <= start[k], f"seed {seed}: attempts {i} and {k}"


@pytest.mark.parametrize("seed", SEEDS)
def test_usage_is_what_attempts_hold(seed):
    plan = some_plan(seed)
    columns = plan.columns
    amount = plan.plan._graph.demand[columns["task"]]
    times, held = usage_steps(columns["start_ns"], columns["end_ns"], amount)
    assert (np.diff(times) > 0).all() and not held[-1].any()
    for at, time in enumerate(times.tolist()):
        running = (columns["start_ns"] <= time) & (time < columns["end_ns"])
        assert held[at].tolist() == amount[running].sum(axis=0).tolist(), f"seed {seed} at {time}"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_cells_of_a_grid_hold_the_mean(seed):
    columns = some_plan(seed).columns
    start, end, until = columns["start_ns"], columns["end_ns"], int(columns["end_ns"].max())
    amount = np.random.default_rng(seed).integers(1, 9, len(start)).astype(float)
    grid = busy_grid(columns["worker"], start, end, amount, 6, 17, until)
    edges = np.linspace(0, until, 18)
    for row in range(6):
        for cell in range(17):
            low, high = edges[cell], edges[cell + 1]
            inside = np.clip(np.minimum(end, high) - np.maximum(start, low), 0, None) * (columns["worker"] == row)
            assert grid[row, cell] == pytest.approx((inside * amount).sum() / (high - low), abs=1e-6), f"seed {seed}"


@pytest.mark.parametrize("seed", SEEDS)
def test_what_attempts_waited_for_is_what_the_plan_says(seed):
    plan = some_plan(seed)
    scene = plan._scene("")
    placements, waits = plan.placements, scene.waits
    dependencies = [task.dependencies for task in plan.plan._graph.tasks]
    last_end = {p.task_id: p.end for p in placements}
    for i, p in enumerate(placements):
        before = [q for q in placements if q.task_id == p.task_id and q.attempt == p.attempt - 1]
        task = plan.task_ids.index(p.task_id)
        ends = [q.end for q in before] or [last_end[name] for name in dependencies[task]]
        assert waits.ready_ns[i] == round(max(ends, default=0) * 1e9) <= round(p.start * 1e9), f"seed {seed}: {p}"
        if not ends:
            assert waits.after[i] == -1
        elif before:
            assert waits.after[i] == task
        else:
            assert last_end[plan.task_ids[waits.after[i]]] == max(ends)
        if waits.freed_by[i] >= 0:
            other = placements[waits.freed_by[i]]
            assert other.worker_id == p.worker_id and other.end > other.start and p.start * 1e9 > waits.ready_ns[i]
            assert waits.ready_ns[i] / 1e9 <= other.end <= p.start
        elif p.start * 1e9 > waits.ready_ns[i]:
            # Only what no end on this worker let in: a plan starts things when something ends, there or elsewhere.
            ends_here = [q.end for q in placements if q.worker_id == p.worker_id and q.end > q.start]
            assert not [end for end in ends_here if waits.ready_ns[i] / 1e9 <= end <= p.start], f"seed {seed}: {p}"


def test_a_wait_for_something_else_than_room_names_nobody():
    """The other worker was free for long before the retry was ready; it waited for its back-off."""
    tasks = [Task("flaky", "x", duration=5), Task("short", "x", duration=1)]
    workers = [Worker("w1", 1, 512), Worker("w2", 1, 512)]
    plan = schedule(tasks, workers, outcome=lambda t, w, n: t == "short" or n > 1, policy=Policy(backoff=10, jitter=0))
    retry = [(p.task_id, p.attempt, p.start) for p in plan.placements].index(("flaky", 2, 15.0))
    assert plan.placements[retry].worker_id == "w2"
    waits = plan._scene("").waits
    assert (waits.ready_ns[retry], waits.after[retry], waits.freed_by[retry]) == (5_000_000_000, 0, -1)


def test_ids_that_differ_in_numbers_alone_are_one_group():
    names = {"mProject_00000356": "mProject", "shard-3-of-10": "shard-#-of", "chr21.align": "chr#.align", "12": "12"}
    assert {task_id: group_name(task_id) for task_id in names} == names | {"12": "#"}
    tasks = [Task(f"{kind}{i}", "x", duration=1 + j) for j, kind in enumerate("abcdefghi") for i in range(3)]
    group, names = schedule(tasks, [Worker("w", 4, 9999)])._scene("").groups
    assert names == ["d", "e", "f", "g", "h", "i", "other"]  # the six with the most time, in the order of their tasks
    assert group.tolist() == [x for x in (6, 6, 6, 0, 1, 2, 3, 4, 5) for _ in range(3)]


def test_ticks_are_round_and_told_as_a_person_does():
    assert [tick_step(s, 9) for s in (0.05, 4, 30, 300, 5000, 90_000, 900_000, 9e7)] == [
        0.01, 0.5, 5, 60, 600, 10800, 172800, 172800 * 100,
    ]  # fmt: skip
    assert [tick_label(t, 900) for t in (0, 900, 4500, 90000)] == ["0", "15m", "1h 15m", "1d 1h"]
    assert [tick_label(t, 0.05) for t in (0.05, 0.1, 1.15)] == ["0.05s", "0.1s", "1.15s"]
    assert ticks(0.0, 30.0, 10) == [0, 10, 20, 30] and ticks(0.1, 0.29, 0.1) == pytest.approx([0.1, 0.2])
    assert tick_step(0, 9) == 1


# ---------------------------------------------------------------- the page


class Page(HTMLParser):
    """The scripts of a page, and whatever in it would ask for something from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.outside, self.title = [], [], ""
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        self.outside += [value for name, value in attributes if name in ("src", "href")]
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data
        if self.inside == "title":
            self.title += data


def data_of(text):
    page = Page(text)
    assert len(page.scripts) == 5 and not page.outside
    return json.loads(page.scripts[0]), page


def unpack(column):
    import base64

    return np.frombuffer(base64.b64decode(column["data"]), dtype=f"<{column['type']}")


def test_the_page_holds_every_attempt_as_columns():
    plan = some_plan(7)
    data, _ = data_of(plan.to_html("night run"))
    placements = plan.placements
    assert [data["tasks"][t] for t in unpack(data["task"])] == [p.task_id for p in placements]
    assert [data["workers"][w] for w in unpack(data["worker"])] == [p.worker_id for p in placements]
    for name in ("start", "end", "attempt"):
        assert unpack(data[name]).tolist() == [getattr(p, name) for p in placements]
    reasons = [data["reasonNames"][code] for code in unpack(data["reason"])]
    assert ["FAILED" if reason else "COMPLETED" for reason in reasons] == [p.outcome for p in placements]
    assert [data["statusNames"][s] for s in unpack(data["status"])] == list(plan.values())
    assert data["makespan"] == plan.makespan and data["lowerBound"] == plan.lower_bound
    assert [data["tasks"][t] for t in unpack(data["critical"])] == plan.critical_path
    assert {data["tasks"][t]: data["reasonNames"][c] for t, c in enumerate(unpack(data["why"])) if c} == plan.reasons
    assert unpack(data["demand"]).reshape(-1, 2).tolist() == plan.plan._graph.demand.tolist()


def test_ids_cannot_leave_their_place_on_the_page():
    tasks = [Task(name, "x", NASTY[:i][-1:]) for i, name in enumerate(NASTY)]
    plan = schedule(tasks, [Worker(name, 1, 512) for name in NASTY])
    text = plan.to_html('<b>&"</title><script>')
    data, page = data_of(text)
    assert data["tasks"] == NASTY and data["workers"] == NASTY
    assert page.title == '<b>&"</title><script>'
    assert "alert" in text and "<script>alert" not in text
    assert "default-src 'none'" in text and "http" not in re.sub(r'http-equiv="[^"]*"', "", text)


def test_a_title_that_is_no_utf8_does_no_harm(tmp_path):
    plan = schedule([Task("a", "x")], [Worker("w", 1, 512)])
    plan.save_html(tmp_path / "a.html", title="caf\udce9")
    plan.save_trace(tmp_path / "a.json", title="caf\udce9")
    assert "caf\\udce9" in (tmp_path / "a.html").read_text("utf-8")
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["otherData"]["title"] == "caf\\udce9"


def test_the_page_of_many_tasks_is_compact():
    tasks = [Task(f"task-{i}", "x", duration=1 + i % 7) for i in range(10_000)]
    text = schedule(tasks, [Worker(f"worker-{i}", 2, 4096) for i in range(100)]).to_html()
    assert len(text) < 1_200_000, "a task is some 100 bytes"


ODD = {
    "empty": lambda: schedule([], [Worker("w", 1, 512)]),
    "nothing at all": lambda: schedule([], []),
    "none started": lambda: schedule([Task("a", "x", cpu_cores_required=9)], [Worker("w", 1, 512)]),
    "no duration": lambda: schedule([Task("a", "x", duration=0), Task("b", "x", duration=0)], [Worker("w", 1, 512)]),
    "all failed": lambda: schedule([Task("a", "x", max_retries=2)], [Worker("w", 1, 512)], outcome=lambda *_: False),
    "from arrays": lambda: schedule(TaskGraph.from_arrays([0, 0, 1], [0], [[1, 1]] * 2), [Worker("w", 1, 512)]),
    "many workers": lambda: schedule(
        [Task(f"t{i}", "x", duration=i % 3) for i in range(300)], [Worker(f"w{i}", 1, 512) for i in range(10_000)]
    ),
    "many tasks": lambda: schedule(
        [Task(f"t{i}", "x", duration=i % 5) for i in range(10_000)], [Worker("w", 99, 99999)]
    ),
    "other resources": lambda: schedule(
        [Task("a", "x", resources={"<gpu>": 1})], [Worker("w", 1, 512, resources={"<gpu>": 2})]
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_plans_can_be_looked_at(name, tmp_path):
    plan = ODD[name]()
    data, _ = data_of(plan.to_html())
    assert len(unpack(data["start"])) == len(plan.placements)
    plan.save_trace(tmp_path / "trace.json")
    check_trace(json.loads((tmp_path / "trace.json").read_bytes()), plan)
    shown = plan._repr_html_()
    ET.fromstring(shown)
    assert len(shown) < 80_000
    pytest.importorskip("matplotlib")
    plan.plot(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


# ---------------------------------------------------------------- notebooks


def test_a_notebook_shows_the_numbers_and_the_bars():
    plan = some_plan(3)
    tree = ET.fromstring(plan._repr_html_())
    text = " ".join(tree.itertext())
    assert "makespan" in text and "lower bound" in text and "w0" in text
    titles = [title.text for title in tree.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == len(plan.placements) + 1  # and the lower bound
    assert sum("FAILED: EXIT" in title for title in titles) == sum(p.outcome == "FAILED" for p in plan.placements)


def test_a_notebook_shows_many_tasks_in_little_room():
    chance = random.Random(5)
    tasks = [Task(f"t{i}", "x", duration=chance.random() * 9) for i in range(10_000)]
    plan = schedule(tasks, [Worker(f"worker-{i:03}", 4, 9999) for i in range(100)])
    shown = plan._repr_html_()
    assert len(shown) < 80_000 and "worker-000 +4" in shown
    ET.fromstring(shown)


def test_ids_cannot_leave_their_place_in_a_notebook():
    shown = schedule([Task(name, "x") for name in NASTY], [Worker(name, 9, 5120) for name in NASTY])._repr_html_()
    assert "<script" not in shown and "<!--" not in shown
    ET.fromstring(shown)


# ---------------------------------------------------------------- traces


def check_trace(trace, plan):
    """What Perfetto asks of a trace: slices of a thread never overlap, counters rise in time, flows go forward."""
    events = trace["traceEvents"]
    assert trace["displayTimeUnit"] in ("ms", "ns")
    slices = [e for e in events if e["ph"] == "X"]
    assert len(slices) == len(plan.placements)
    processes = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    threads = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    assert not {tid for _, tid in threads} & set(processes) and len({tid for _, tid in threads}) == len(threads)
    ends = {}
    for e, p in zip(slices, plan.placements):
        assert e["ts"] == p.start * 1e6 and e["ts"] + e["dur"] == pytest.approx(p.end * 1e6)
        assert processes[e["pid"]] == p.worker_id and (e["pid"], e["tid"]) in threads
        assert ends.get(e["tid"], 0) <= e["ts"], "two slices of a thread overlap"
        ends[e["tid"]] = e["ts"] + e["dur"] - 1e-6
    counters = {}
    for e in events:
        if e["ph"] == "C":
            counters.setdefault((e["pid"], e["name"]), []).append((e["ts"], e["args"]["in use"]))
    for (pid, _), series in counters.items():
        assert pid in processes and series == sorted(series)
        assert series[-1][1] == 0 and all(amount >= 0 for _, amount in series)
    starts = {e["id"]: e for e in events if e["ph"] == "s"}
    assert len(starts) == max(0, len(plan.critical_path) - 1)
    for e in events:
        if e["ph"] == "f":
            assert e["bp"] == "e" and starts[e["id"]]["ts"] <= e["ts"]
        assert {"ph", "name", "pid"} <= set(e)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_trace_is_as_perfetto_wants_it(seed, tmp_path):
    plan = some_plan(seed)
    plan.save_trace(tmp_path / "trace.json", title="night")
    trace = json.loads((tmp_path / "trace.json").read_bytes())
    check_trace(trace, plan)
    total = [e for e in trace["traceEvents"] if e["ph"] == "C" and e["name"] == "cores" and e["pid"] == 7]
    columns = plan.columns
    for e in total:
        running = (columns["start_ns"] <= round(e["ts"] * 1e3)) & (round(e["ts"] * 1e3) < columns["end_ns"])
        cores = plan.plan._graph.demand[columns["task"][running], 0].sum() / 1000
        assert e["args"]["in use"] == cores, f"seed {seed}"


def test_a_slice_tells_what_it_waited_for(tmp_path):
    tasks = [Task("a", "x", duration=2), Task("b", "x", duration=3, priority=1), Task("c", "x", ["b"], duration=1)]
    schedule(tasks, [Worker("w", 1, 512)]).save_trace(tmp_path / "t.json")
    slices = [e for e in json.loads((tmp_path / "t.json").read_bytes())["traceEvents"] if e["ph"] == "X"]
    told = {e["name"]: e["args"] for e in slices}
    assert told["b"] == {
        "task": "b", "attempt": 1, "status": "COMPLETED", "cores": 1, "memory_mb": 128, "ready at": 0,
        "waited for room": 0, "critical path": True,
    }  # fmt: skip
    assert told["a"]["waited for room"] == 3 and told["a"]["room made by"] == "b"
    assert told["c"]["ready after"] == "b" and told["c"]["waited for room"] == 2 and told["c"]["room made by"] == "a"


def test_resources_with_names_of_ours_are_told_apart(tmp_path):
    task = Task("t", "x", (), 2, resources={"cores": 3, "status": 1}, duration=1)
    plan = schedule([task], [Worker("w", 4, 512, resources={"cores": 5, "status": 5})])
    plan.save_trace(tmp_path / "t.json")
    events = json.loads((tmp_path / "t.json").read_bytes())["traceEvents"]
    (told,) = [e["args"] for e in events if e["ph"] == "X"]
    assert (told["cores"], told["resource cores"]) == (2, 3)
    assert (told["status"], told["resource status"]) == ("COMPLETED", 1)
    most = {
        e["name"]: max(f["args"]["in use"] for f in events if f.get("name") == e["name"])
        for e in events
        if e["ph"] == "C"
    }
    assert (most["cores"], most["resource cores"]) == (2, 3)


# ---------------------------------------------------------------- plots


def drawn(figure):
    """How many boxes and lines the Gantt chart of a figure has."""
    from matplotlib.collections import PolyCollection

    chart = figure.axes[0]
    boxes = [c for c in chart.collections if isinstance(c, PolyCollection)]
    return chart, [len(c.get_paths()) for c in boxes]


def test_a_plot_has_a_box_for_every_attempt():
    pytest.importorskip("matplotlib")
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plan = some_plan(11)
    figure = plan.plot(title="night")
    try:
        assert plt.gcf() is figure and len(figure.axes) == 2
        chart, boxes = drawn(figure)
        failed = sum(p.outcome == "FAILED" for p in plan.placements)
        critical = sum(p.task_id in plan.critical_path for p in plan.placements)
        assert boxes == [len(plan.placements), failed, critical]
        assert chart.get_title(loc="left").startswith("night: 61 tasks on 6 workers, makespan ")
        bound = [line for line in chart.lines if line.get_linestyle() == "--" or line.is_dashed()]
        assert [line.get_xdata()[0] for line in bound] == [plan.lower_bound]
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert labels[:3] == ["g", "failed", "critical path"]
    finally:
        plt.close(figure)


def test_ten_thousand_attempts_are_no_ten_thousand_artists():
    pytest.importorskip("matplotlib")
    tasks = [Task(f"t{i}", "x", duration=1 + i % 7) for i in range(10_000)]
    plan = schedule(tasks, [Worker(f"w{i}", 2, 4096) for i in range(100)])
    from matplotlib.figure import Figure

    figure = Figure()
    assert plan.plot(ax=figure.subplots(2)) is figure
    assert drawn(figure)[1][0] == 10_000
    assert len(figure.findobj()) < 1500


def test_a_plot_goes_where_it_is_told(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    plan = some_plan(2)
    for name, begin in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")):
        plan.plot(tmp_path / name, color_by="status")
        assert (tmp_path / name).read_bytes().startswith(begin)
    figure = Figure()
    axes = figure.subplots()
    assert plan.plot(ax=axes) is figure and figure.axes == [axes]
    with pytest.raises(ValueError, match="color_by is 'mood'; 'group' or 'status' is wanted"):
        plan.plot(tmp_path / "b.png", color_by="mood")
    with pytest.raises(ValueError, match="xyz"):
        plan.plot(tmp_path / "b.xyz")
    with pytest.raises(FileNotFoundError):
        plan.plot(tmp_path / "none" / "b.png")


def test_without_matplotlib_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=re.escape("a plot needs an extra: pip install 'fastsched[plot]'")):
        some_plan(1).plot(tmp_path / "a.png")


# ---------------------------------------------------------------- the command line


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tasks = [{"task_id": f"t{i}", "command": "true", "duration": 2} for i in range(5)]
    Path("job.json").write_text(json.dumps({"name": "night", "tasks": tasks}))
    return "job.json"


def test_plan_writes_what_is_asked_for_and_says_where(job, capsys):
    pytest.importorskip("matplotlib")
    assert main(["plan", job, "-w", "2x1G", "--html", "a.html", "--trace", "a.json", "--plot", "a.svg"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"wrote a\.html \(\d+ kB\): open it in a browser", lines[-3])
    assert re.fullmatch(r"wrote a\.json \(\d+ kB\): open it in ui\.perfetto\.dev", lines[-2])
    assert re.fullmatch(r"wrote a\.svg \(\d+ kB\)", lines[-1])
    assert Page(Path("a.html").read_text()).title == "night"
    assert len([e for e in json.loads(Path("a.json").read_text())["traceEvents"] if e["ph"] == "X"]) == 5
    assert "<svg" in Path("a.svg").read_text()


def test_what_is_said_of_pictures_does_not_disturb_programs(job, capsys):
    assert main(["plan", job, "-w", "2x1G", "--html", "a.html", "--format", "json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["makespan"] == 6 and told.err.startswith("wrote a.html")


def test_pictures_are_there_though_nobody_reads_the_answer_to_its_end(job):
    command = [sys.executable, "-m", "fastsched", "plan", job, "-w", "2x1G", "--format", "json"]
    reads, writes = os.pipe()
    os.close(reads)
    ended = subprocess.run([*command, "--html", "a.html", "--save", "p.json"], stdout=writes, check=False)
    os.close(writes)
    assert ended.returncode == 141
    assert Page(Path("a.html").read_text()).title == "night" and json.loads(Path("p.json").read_text())["makespan"] == 6


def test_what_was_there_stays_until_a_file_is_whole(job, tmp_path, monkeypatch):
    Path("kept.json").write_text("before")
    Path("kept.json").chmod(0o640)
    os.symlink("kept.json", "link.json")

    def full(path, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left") as failed:
            write_file("link.json", b"after")
    assert failed.value.filename == "link.json" and Path("kept.json").read_text() == "before"
    write_file("link.json", b"after")
    assert Path("kept.json").read_text() == "after" and Path("link.json").is_symlink()
    assert Path("kept.json").stat().st_mode & 0o777 == 0o640
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(PermissionError, match=r"Permission denied: 'link\.json'"):
            write_file("link.json", b"more")
    assert Path("kept.json").read_text() == "after", "though its folder may be written"
    assert sorted(os.listdir()) == ["job.json", "kept.json", "link.json"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--html", "job.json"], "argument --html: job.json would be overwritten; it is the job file"),
        (["--html", "."], "argument --html: . is a folder"),
        (["--trace", "none/a.json"], "argument --trace: none/a.json: there is no such folder"),
        (["--html", "a", "--trace", "./a"], "argument --trace: ./a would be overwritten; --html writes it too"),
        (["--plot", "a.txt"], "argument --plot: 'a.txt' has none of the suffixes .png, .svg"),
    ],
)
def test_what_cannot_be_written_is_said_before_planning(job, capsys, options, says):
    before = Path(job).read_text()
    with pytest.raises(SystemExit) as ended:
        main(["plan", job, "-w", "2x1G", *options])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert says in told.err and not told.out
    assert Path(job).read_text() == before and sorted(os.listdir()) == ["job.json"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="skipped: there is no /dev/full here")
def test_a_full_disk_is_told_with_the_name_of_the_file(job, capsys):
    os.symlink("/dev/full", "full.png")
    options = [["--html", "/dev/full"], ["--trace", "/dev/full"]]
    if "matplotlib" in sys.modules or pytest.importorskip("matplotlib"):
        options.append(["--plot", "full.png"])
    for option in options:
        assert main(["plan", job, "-w", "2x1G", *option]) == 2
        assert f"fastsched: {option[1]}: No space left on device" in capsys.readouterr().err


def test_plan_without_matplotlib_says_so_before_planning(job, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plan", job, "-w", "2x1G", "--plot", "a.png"]) == 2
    told = capsys.readouterr()
    assert "pip install 'fastsched[plot]'" in told.err and not told.out


@pytest.mark.skipif(os.name != "posix", reason="skipped: running commands needs POSIX")
def test_a_run_that_is_over_has_the_same_pictures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tasks = [
        {"task_id": "fine", "command": "true"},
        {"task_id": "bad", "command": "exit 3", "dependencies": ["fine"], "max_retries": 1},
        {"task_id": "after", "command": "true", "dependencies": ["bad"]},
    ]
    Path("job.json").write_text(json.dumps({"name": "night", "tasks": tasks}))
    assert main(["run", "job.json", "-q", "--run-dir", "r"]) == 1
    assert main(["report", "r", "--html", "r.html", "--trace", "r.json"]) == 1
    assert "wrote r.html" in capsys.readouterr().out
    data, page = data_of(Path("r.html").read_text())
    assert page.title == "night" and data["what"] == "run"
    reasons = [data["reasonNames"][code] for code in unpack(data["reason"])]
    assert sorted(reasons) == ["", "EXIT", "EXIT"]
    assert [data["tasks"][t] for t in unpack(data["cause"]) if t >= 0] == ["bad"]
    slices = [e for e in json.loads(Path("r.json").read_text())["traceEvents"] if e["ph"] == "X"]
    assert [e["name"] for e in slices] == ["fine", "bad #1", "bad #2"]
