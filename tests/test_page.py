"""The program of the page: what it computes, run by node, against plain counts; and the whole in a headless browser.

Both are skipped, aloud, where there is no node or no chromium. The `.js` files are read from the installed package.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from test_pictures import NASTY, SEEDS, some_plan

from fastsched import Task, Worker, schedule
from fastsched.pictures.page import SCRIPTS, as_script, data_of, read

NODE = shutil.which("node") or shutil.which("nodejs")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_node = pytest.mark.skipif(not NODE, reason="skipped: there is no node")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="skipped: there is no chromium")
pytestmark = pytest.mark.filterwarnings("ignore::fastsched.UnsatisfiableWarning")


def in_node(plan, body):
    """What a function body answers, in node, where `m` is the opened model of a plan."""
    data = as_script(data_of(plan._scene(""), "night"))
    program = f"{read('model.js')}\nconst m = Model.open({data});\nconsole.log(JSON.stringify((() => {{{body}}})()));"
    done = subprocess.run([NODE, "-"], input=program, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_node
def test_every_script_is_one():
    for name in SCRIPTS:
        script = read(f"{name}.js")
        done = subprocess.run([NODE, "--check", "-"], input=script, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "</script" not in script and "<!--" not in script


@needs_node
@pytest.mark.parametrize("seed", list(SEEDS)[:8])
def test_the_model_knows_what_the_plan_knows(seed):
    plan = some_plan(seed)
    scene = plan._scene("")
    told = in_node(
        plan,
        """
        const use = m.resources.map((_, k) => Array.from(m.useTimes, (t) => Model.useAt(m, k, t)));
        const shares = Array.from(Model.useShares(m, 0, 0, m.makespan, 13));
        const chains = m.task.length ? Array.from(m.lastOf).filter((i) => i >= 0).map((i) => Model.chain(m, i)) : [];
        return { times: Array.from(m.useTimes), use, shares, offered: Array.from(m.offered), last: Array.from(m.lastOf),
                 chains, workers: Array.from({ length: m.nRows }, (_, r) => Model.workerOf(m, r)) };
        """,
    )
    times, held = scene.usage
    assert told["times"] == (times / 1e9).tolist() and told["use"] == held.T.tolist(), f"seed {seed}"
    assert told["offered"] == scene.offered
    columns = scene.columns
    edges = np.linspace(0, plan.makespan, 14)
    for at, share in enumerate(told["shares"]):
        low, high = edges[at] * 1e9, edges[at + 1] * 1e9
        inside = np.clip(np.minimum(columns["end_ns"], high) - np.maximum(columns["start_ns"], low), 0, None)
        mean = (inside * scene.demand[columns["task"], 0]).sum() / (high - low) / scene.offered[0]
        assert share == pytest.approx(mean, abs=1e-9), f"seed {seed}, part {at}"
    rows = np.repeat(np.arange(len(plan.worker_ids)), np.diff(scene.first_row))
    assert told["workers"] == rows.tolist()
    last = {int(task): i for i, task in enumerate(columns["task"])}
    assert told["last"] == [last.get(task, -1) for task in range(len(plan))]
    for chain in told["chains"]:
        for later, earlier in pairwise(chain):
            assert columns["end_ns"][earlier] <= columns["start_ns"][later], f"seed {seed}"
        first = chain[-1]
        assert scene.waits.after[first] == -1 or columns["start_ns"][first] == 0 or len(chain) > 1


@needs_node
@pytest.mark.parametrize("seed", list(SEEDS)[:8])
def test_what_is_drawn_is_what_there_is(seed):
    """Wide enough, each attempt is drawn once and where it is; from far away, nothing that ran leaves a gap."""
    plan = some_plan(seed, n=200)
    columns, row = plan.columns, plan._scene("").row
    until = plan.makespan
    views = [(0.0, until, 4000), (until * 0.3, until * 0.4, 900), (0.0, until, 60), (-until, until * 3, 25)]
    told = in_node(
        plan,
        f"""
        return {json.dumps(views)}.map(([t0, t1, width]) => {{
          const drawn = [];
          for (let row = 0; row < m.nRows; row++) {{
            Model.spans(m, row, t0, t1, width, null, (x, w, i) => drawn.push([row, x, w, i]));
          }}
          return drawn;
        }});
        """,
    )
    for (t0, t1, width), drawn in zip(views, told):
        scale = width / (t1 - t0)
        x0 = (columns["start_ns"] / 1e9 - t0) * scale
        x1 = (columns["end_ns"] / 1e9 - t0) * scale
        wide = np.nonzero((x1 - x0 >= 2) & (x1 >= 0) & (x0 <= width))[0]
        alone = {i: (x, w) for _, x, w, i in drawn if x1[i] - x0[i] >= 2}
        assert set(alone) == set(wide.tolist()), f"seed {seed}"
        for i, (x, w) in alone.items():
            assert (x, x + w) == pytest.approx((max(x0[i], -2), min(x1[i], width + 2))), f"seed {seed}"
        for i in np.nonzero((x1 - x0 < 2) & (x1 >= 0) & (x0 <= width))[0]:
            covers = [x for r, x, w, j in drawn if r == row[i] and x - 1 <= x0[i] and x1[i] <= x + w + 1]
            assert covers, f"seed {seed}: attempt {i} is not seen"
        for r in range(int(row.max()) + 1):
            cells = [int(x // 1) for q, x, w, i in drawn if q == r and x1[i] - x0[i] < 2]
            assert len(cells) == len(set(cells)), f"seed {seed}: more than one in a pixel of row {r}"


@needs_node
def test_what_is_far_away_costs_no_more_than_its_pixels():
    tasks = [Task(f"t{i}", "x", duration=0.01) for i in range(20_000)]
    plan = schedule(tasks, [Worker("w", 1, 512)])
    n = in_node(plan, "let n = 0; Model.spans(m, 0, 0, m.makespan, 500, null, () => n++); return n;")
    assert 490 <= n <= 502


@needs_node
@pytest.mark.parametrize("seed", list(SEEDS)[:8])
def test_what_is_under_the_pointer_is_found(seed):
    plan = some_plan(seed)
    scene = plan._scene("")
    start, end = scene.columns["start_ns"] / 1e9, scene.columns["end_ns"] / 1e9
    told = in_node(
        plan,
        """
        const at = Array.from(m.task, (_, i) => Model.hit(m, m.row[i], (m.start[i] + m.end[i]) / 2, 0));
        const near = Model.hit(m, m.row[0], m.start[0] - 0.4, 0.5);
        return { at, near, beside: Model.hit(m, 0, -1, 0.5), none: Model.hit(m, m.nRows, 0, 1) };
        """,
    )
    for i, found in enumerate(told["at"]):
        if end[i] > start[i]:
            assert found == i, f"seed {seed}"
        else:
            assert scene.row[found] == scene.row[i] and start[found] <= start[i] <= end[found]
    assert told["beside"] == told["none"] == -1
    assert start[told["near"]] == 0


@needs_node
def test_the_table_sorts_and_filters():
    plan = some_plan(4)
    never = [task for task, p in zip(plan.task_ids, plan.plan.attempts) if not p]
    told = in_node(
        plan,
        """
        const rows = Model.tableRows(m), ids = (list) => list.map((r) => m.tasks[Model.taskOf(m, r)]);
        const sorted = {};
        const keys = ["id", "worker", "attempt", "start", "end", "took", "waited", "need0", "status", "critical"];
        for (const key of keys) {
          sorted[key] = [Model.sortRows(m, rows, key, false), Model.sortRows(m, rows, key, true)];
        }
        const filtered = (text) => ids(Model.filterRows(m, rows, text));
        return { rows, sorted, failed: filtered("failed  G1"), both: filtered("w0 g2-"), critical: filtered("critical"),
                 all: filtered(" ").length, status: rows.map((r) => Model.statusOf(m, r) + " " + Model.reasonOf(m, r)),
                 found: ids(Model.find(m, "g1-1").slice(0, 1)), some: Model.find(m, "G1-1").length };
        """,
    )
    placements = plan.placements
    n = len(placements)
    assert len(told["rows"]) == told["all"] == n + len(never) and "huge" in never
    id_of = {i: p.task_id for i, p in enumerate(placements)} | {n + plan.task_ids.index(name): name for name in never}
    for rows, falling in zip(told["sorted"]["id"], (False, True)):
        assert [id_of[r] for r in rows] == sorted(id_of.values(), reverse=falling)
    values = {
        "took": [p.end - p.start for p in placements],
        "start": [p.start for p in placements],
        "attempt": [p.attempt for p in placements],
        "worker": [p.worker_id for p in placements],
    }
    for key, column in values.items():
        for rows, falling in zip(told["sorted"][key], (False, True)):
            known = [r for r in rows if r < len(column)]
            assert [column[r] for r in known] == sorted(column, reverse=falling), key
            assert rows[: len(known)] == known, "what has no value comes last"
    for rows, falling in told["sorted"].values():
        assert sorted(rows) == sorted(falling) == told["rows"]
    failed = [p.task_id for p in placements if p.outcome == "FAILED" and "g1" in p.task_id]
    assert told["failed"] == failed + [t for t in never if "g1" in t and plan[t] == "FAILED"]
    assert told["both"] == [p.task_id for p in placements if p.worker_id == "w0" and p.task_id.startswith("g2-")]
    assert set(told["critical"]) == set(plan.critical_path)
    assert told["status"][-1].startswith("FAILED") and told["found"] == ["g1-1"]
    assert told["some"] == sum("g1-1" in p.task_id for p in placements)


@needs_node
def test_times_are_told_as_a_person_says_them():
    told = in_node(
        schedule([], []),
        """
        return [[0, 0.0123, 0.5, 12.345, 75, 3700, 90061].map((s) => Model.say(s)),
                [[0, 60], [90, 30], [1.25, 0.05], [61.5, 0.5], [90000, 3600]].map(([s, step]) => Model.say(s, step)),
                [[0, 10, 10], [0, 300, 9], [0, 0.3, 10], [0, 1e6, 9]].map((a) => Model.tickStep(...a))];
        """,
    )
    assert told[0] == ["0 s", "12.3 ms", "500 ms", "12.35 s", "1m 15s", "1h 1m", "1d 1h"]
    assert told[1] == ["0", "1m 30s", "1.25s", "1m 1.5s", "1d 1h"]
    assert told[2] == [1, 60, 0.05, 172800]


def browse(page, *options):
    """What the document of a page has become once its program ran, and what it complained of."""
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000",
         "--enable-logging=stderr", "--window-size=1200,800", *options, "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@needs_chromium
@pytest.mark.parametrize("seed", [1, 2])
def test_a_browser_shows_the_page(seed, tmp_path):
    plan = some_plan(seed)
    plan.save_html(tmp_path / "plan.html", title="night")
    document, complaints = browse(tmp_path / "plan.html")
    assert complaints == []
    first = plan.placements[0]
    assert document.count('role="row"') > 5 and f">{first.task_id}</span>" in document
    assert f"{len(plan.placements) + sum(plan.plan.attempts == 0)} rows" in document
    assert ">makespan</dt>" in document and ">failed</dt>" in document


@needs_chromium
def test_a_browser_takes_ids_for_text(tmp_path):
    tasks = [Task(name, "x", NASTY[:i][-1:]) for i, name in enumerate(NASTY)]
    plan = schedule(tasks, [Worker(name, 1, 512) for name in NASTY])
    plan.save_html(tmp_path / "plan.html", title="<img src=x onerror=alert(1)>")
    document, complaints = browse(tmp_path / "plan.html")
    assert complaints == []
    table = document[document.index('id="rows"') :]
    assert "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;</span>" in table
    assert "<img" not in document and "&lt;img src=x onerror=alert(1)&gt;" in document


@needs_chromium
@pytest.mark.parametrize("plan", ["empty", "none"])
def test_a_browser_shows_a_page_of_nothing(plan, tmp_path):
    made = {
        "empty": lambda: schedule([], []),
        "none": lambda: schedule([Task("a", "x", cpu_cores_required=9)], [Worker("w", 1, 512)]),
    }
    made[plan]().save_html(tmp_path / "plan.html")
    document, complaints = browse(tmp_path / "plan.html")
    assert complaints == [] and ("0 rows" in document or "1 row<" in document)
