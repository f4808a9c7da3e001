"""The verbs that look at a run and act on one, and those that take it up again, as a user meets them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastsched import verbs
from fastsched.cli import main
from fastsched.runtime.control import ask_run
from fastsched.runtime.folder import find_run
from fastsched.runtime.journal import DATABASE
from fastsched.units import read_megabytes, read_seconds
from fastsched.verbs import past_run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="skipped: running commands needs POSIX")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def job(tasks, n_workers=1):
    workers = [{"worker_id": f"w{i}", "cpu_cores_available": 1, "memory_available_mb": 512} for i in range(n_workers)]
    Path("job.json").write_text(json.dumps({"name": "night", "tasks": tasks, "workers": workers}))
    return "job.json"


def task(task_id, command="true", *dependencies, **more):
    return {"task_id": task_id, "command": command, "dependencies": dependencies, **more}


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.01)


class Live:
    """`fastsched run` (or another verb) in a process of its own."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastsched", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def end(self, number=None):
        if number:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


def running(*names, status="RUNNING"):
    """Whether these tasks run now, or stand otherwise."""
    try:
        statuses = {t["task_id"]: t["status"] for t in ask_run(find_run(None), "tasks", task_ids=names)}
    except Exception:
        return False
    return all(statuses[name] == status for name in names)


def test_a_live_run_is_seen_and_acted_on_from_outside(capfd):
    file = job([task("a", "echo one; echo two >&2; while [ ! -e go ]; do sleep 0.02; done"), task("b", "true", "a")])
    with Live("run", file, "-q") as live:
        wait_until(lambda: running("a"))
        assert main(["status"]) == 0
        out = capfd.readouterr().out
        assert "(night): running after " in out and "1 pending, 1 running, 0 completed, 0 failed" in out
        assert "  a           running on w0, attempt 1\n" in out
        assert main(["status", "--tasks", "b", "--format", "json"]) == 0
        told = json.loads(capfd.readouterr().out)
        assert [t["status"] for t in told["tasks"]] == ["PENDING"] and told["counts"]["RUNNING"] == 1
        assert main(["explain", "b"]) == 0
        assert capfd.readouterr().out == "b is PENDING: it waits for 'a' to complete\n"
        assert main(["workers"]) == 0
        assert capfd.readouterr().out == "w0: live, 1 core, 512 MB; runs a\n"
        said = Path(find_run(None), "logs", "a.1.err")
        wait_until(lambda: said.exists() and said.read_text())  # it runs a moment before its files are there
        assert main(["logs", "a"]) == 0
        out, err = capfd.readouterr()
        assert out == "one\ntwo\n" and "a, attempt 1 on w0: stderr" in err
        assert main(["logs", "a", "--stderr"]) == 0
        assert capfd.readouterr().out == "two\n"
        assert main(["logs", "b"]) == 0 and "has not started" in capfd.readouterr().err
        assert main(["explain", "aa"]) == 2 and "no task aa; did you mean a?" in capfd.readouterr().err
        assert main(["cancel", "c"]) == 2 and "no task c" in capfd.readouterr().err
        assert main(["workers", "--drain", "nobody"]) == 2 and "no worker nobody" in capfd.readouterr().err
        assert main(["resume"]) == 2 and "held by another scheduler (process" in capfd.readouterr().err
        assert main(["report"]) == 2 and "held by another scheduler" in capfd.readouterr().err
        assert main(["cancel", "b"]) == 0 and capfd.readouterr().out == "b: cancelled\n"
        Path("go").touch()
        code, out, _ = live.end()
    assert code == 1 and "1 completed, 1 failed (1 CANCELLED)" in out
    assert main(["status", "--all"]) == 0
    assert "  b           failed: CANCELLED\n" in capfd.readouterr().out
    assert main(["cancel", "b"]) == 2 and "is not live" in capfd.readouterr().err
    assert main(["workers"]) == 0 and "w0: gone, 1 core, 512 MB\n" in capfd.readouterr().out


def test_logs_are_followed_to_the_end_of_the_task():
    file = job([task("a", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done")])
    with Live("run", file, "-q") as live:
        wait_until(lambda: running("a"))
        with Live("logs", "a", "-f") as logs:
            assert logs.end()[:2] == (0, "1\n2\n3\n4\n5\n")
        assert live.end()[0] == 0


def test_an_interrupted_run_is_resumed(capfd):
    file = job(
        [task("a", "echo a >> ran"), task("b", "echo b >> ran; [ -e go ] || sleep 300", "a"), task("c", "true", "b")]
    )
    with Live("run", file, "-q", "--grace", "100ms") as live:
        wait_until(lambda: running("b") and Path("ran").read_text() == "a\nb\n")
        code, out, _ = live.end(signal.SIGINT)
    assert code == 130 and f"fastsched resume {find_run(None)} goes on with it" in out
    Path("go").touch()
    assert main(["resume", "-q"]) == 0
    assert "done in " in capfd.readouterr().out
    assert Path("ran").read_text() == "a\nb\nb\n"
    assert main(["resume", "-q"]) == 0 and Path("ran").read_text() == "a\nb\nb\n"
    assert main(["report"]) == 0 and "3 completed, 0 failed, 1 retried" in capfd.readouterr().out


def test_a_run_whose_scheduler_was_killed_is_resumed(capfd):
    tasks = [task(f"t{i}", f"echo {i} >> ran; [ -e go ] || [ {i} -lt 5 ] || sleep 300") for i in range(9)]
    with Live("run", job(tasks, 2), "-q") as live:
        wait_until(lambda: running(*(f"t{i}" for i in range(5)), status="COMPLETED"))  # the scheduler has heard of it
        live.end(signal.SIGKILL)
    assert main(["status"]) == 0
    assert "(night): interrupted after" in capfd.readouterr().out
    Path("go").touch()
    assert main(["resume", "-q"]) == 0
    ran = Path("ran").read_text().split()
    assert all(ran.count(str(i)) == 1 for i in (0, 1, 2, 3, 4)) and set(ran) == set(map(str, range(9)))


def test_what_failed_is_retried_in_a_new_run(capfd):
    file = job(
        [task("a", "echo a >> ran"), task("b", "[ -e go ]", "a", max_retries=0), task("c", "echo c >> ran", "b")]
    )
    assert main(["run", file, "-q"]) == 1
    first = find_run(None)
    Path("go").touch()
    time.sleep(0.01)
    assert main(["retry", "--failed", "-q"]) == 0
    assert Path("ran").read_text() == "a\nc\n" and find_run(None) != first
    capfd.readouterr()
    assert main(["retry", "--failed", "-q"]) == 0 and "nothing to retry" in capfd.readouterr().out
    assert main(["report", str(first)]) == 1 and "1 dependent task failed with it" in capfd.readouterr().out


def test_after_so_many_failures_nothing_more_is_started(capfd):
    tasks = [task(f"t{i}", "exit 1", max_retries=0) for i in range(6)]
    assert main(["run", job(tasks), "-q", "--max-fails", "2"]) == 1
    assert "0 completed, 6 failed (2 EXIT, 4 CANCELLED)" in capfd.readouterr().out
    assert main(["run", job(tasks), "-q", "--fail-fast"]) == 1
    assert "(1 EXIT, 5 CANCELLED)" in capfd.readouterr().out
    assert main(["run", job(tasks), "-q", "-k"]) == 1
    assert "(6 EXIT)" in capfd.readouterr().out


def test_a_dry_run_plans(capfd):
    assert main(["run", job([task("a", "touch never", duration=60)]), "-n"]) == 0
    assert "makespan      1m 00s" in capfd.readouterr().out and not Path("never").exists()
    assert not Path(".fastsched").exists()


def test_a_dry_run_plans_on_the_workers_of_the_run(capfd):
    tasks = [task(f"t{i}", "true", duration=60) for i in range(6)]
    for cores, makespan in (("1", "6m 00s"), ("3", "2m 00s")):
        assert main(["run", job(tasks), "-n", "-j", cores]) == 0
        assert f"makespan      {makespan}" in capfd.readouterr().out
    for options, says in (
        (["-j", "2", "-w", "4x1G"], "give one of them"),
        (["-j", "2", "--engine", "dask://here:8786"], "it is about this machine"),
        (["--replan", "10%"], "say --plan or --optimize too"),
        (["--seed", "1"], "say --optimize or --schedules too"),
    ):
        with pytest.raises(SystemExit):
            main(["run", job(tasks), "-n", *options])
        assert says in capfd.readouterr().err


def test_one_worker_with_so_many_cores(capfd):
    tasks = [task(f"t{i}", "touch in$FASTSCHED_TASK_ID; while [ ! -e int2 ]; do sleep 0.02; done") for i in range(3)]
    assert main(["run", job(tasks), "-q", "-j", "3"]) == 0


def test_commands_run_where_they_are_told_to():
    Path("there").mkdir()
    assert main(["run", job([task("a", "touch here")]), "-q", "-C", "there"]) == 0
    assert Path("there/here").exists()


def test_without_a_journal_there_is_nothing_to_resume(capfd):
    assert main(["run", job([task("a", "echo x")]), "-q", "--no-journal", "--run-dir", "here"]) == 0
    assert Path("here/logs/a.1.out").read_text() == "x\n"
    for verb in (["resume", "here"], ["status", "here"], ["report"], ["logs", "a"]):
        assert main(verb) == 2
        assert "there is no run" in capfd.readouterr().err


def test_a_damaged_journal_is_not_passed_over(capfd):
    assert main(["run", job([task(f"t{i}") for i in range(20)]), "-q", "--run-dir", "here"]) == 0
    path = Path("here") / DATABASE
    content = bytearray(path.read_bytes())
    content[content.index(b"AttemptStarted")] ^= 1  # SQLite fills its pages from behind: this is of a late turn
    path.write_bytes(content)
    assert main(["resume", "here", "-q"]) == 2
    err = capfd.readouterr().err
    assert "is damaged:" in err and "--accept-damage" in err
    assert main(["report", "here"]) == 1 and "is damaged" in capfd.readouterr().err
    assert main(["resume", "here", "-q", "--accept-damage"]) == 0
    assert "20 completed" in capfd.readouterr().out
    assert main(["run", "job.json", "-q", "--run-dir", "there"]) == 0
    (Path("there") / DATABASE).write_bytes(b"")
    assert main(["resume", "there", "-q", "--accept-damage"]) == 2 and "has no beginning" in capfd.readouterr().err


def test_the_doctor_says_what_there_is(capfd):
    assert main(["doctor"]) == 0
    out = capfd.readouterr().out
    assert all(f"{word} " in out for word in ("machine", "containment", "memory", "journal", "python"))
    assert main(["doctor", "--format", "json"]) == 0
    assert json.loads(capfd.readouterr().out)["cores"] >= 1
    assert os.listdir() == []


def lines(capfd):
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_a_run_as_lines_is_every_event_and_the_end(capfd):
    assert main(["run", job([task("a", "exit 3", max_retries=0), task("b", "true", "a")]), "--format", "jsonl"]) == 1
    told = lines(capfd)
    assert [line["event"] for line in told[1:]] == [
        "AttemptStarted", "AttemptFailed", "TaskFailed", "TaskFailed", "RunEnded",
    ]  # fmt: skip
    assert told[2]["exit_code"] == 3 and told[2]["usage"]["stdout_bytes"] == 0
    assert told[-1]["counts"]["FAILED"] == 2 and told[-1]["levels"]["containment"] in ("namespace", "session")
    for verb, n in (["status"], 3), (["workers"], 1), (["explain", "b"], 1), (["report"], 2), (["doctor"], 1):
        main([*verb, "--format", "jsonl"])
        assert len(lines(capfd)) == n, verb
    assert main(["plan", "job.json", "--format", "jsonl"]) == 0
    head, *placements = lines(capfd)
    assert head["makespan"] == 2 and [line["task_id"] for line in placements] == ["a", "b"]


def test_containment_and_the_cap_of_outputs_can_be_chosen(capfd):
    command = "head -c 3000000 /dev/zero"
    chosen = ["--containment", "session", "--output-cap", "1M"]
    assert main(["run", job([task("loud", command)]), *chosen]) == 0
    told = capfd.readouterr().out
    assert "held together by: session; memory was limited by: " in told
    (kept,) = Path(".fastsched").rglob("loud.1.out")
    assert 1 << 20 <= kept.stat().st_size < 1.01 * (1 << 20)
    with pytest.raises(SystemExit) as ended:
        main(["run", "job.json", "--output-cap", "5"])
    assert ended.value.code == 2 and "say 5M or 5G" in capfd.readouterr().err


@pytest.mark.parametrize(("text", "megabytes"), [("512M", 512), ("4G", 4096), ("1.5gb", 1536), ("0", 0), ("512K", 0.5)])
def test_sizes(text, megabytes):
    assert read_megabytes(text) == megabytes


@pytest.mark.parametrize("text", ["", "M", "5", "5 M", "-1G", "1e3M", "4P", "२M"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match=r"size|unit"):
        read_megabytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1h30m", 5400), ("500ms", 0.5), ("0", 0), ("1.5s", 1.5), ("1d", 86400), ("1m1s1ms", 61.001)],
)
def test_durations(text, seconds):
    assert read_seconds(text, 1e6) == seconds


@pytest.mark.parametrize("text", ["", "s", "5", "5 s", "1h30", "-1s", "1e3s", "inf", "२s", "12d"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match=r"names no unit|no duration|too long"):
        read_seconds(text, 1e6)


def test_what_ran_when_a_scheduler_died_is_told_as_such(capfd):
    """Not as running now, and when it is taken up, not as a fault of its worker."""
    file = job([task("a"), task("b", "[ -e go ] || sleep 60", "a"), task("c", "true", "b")])
    with Live("run", file, "-q") as live:
        wait_until(lambda: running("b"))
        live.end(signal.SIGKILL)
    for verb in (["status"], ["explain", "b"]):
        assert main(verb) == 0
        assert "when the run was interrupted; fastsched resume runs it again" in capfd.readouterr().out, verb
    assert main(["workers"]) == 0
    assert "w0: gone, 1 core, 512 MB; ran b when the run was interrupted" in capfd.readouterr().out
    Path("go").touch()
    assert main(["resume"]) == 0
    assert "b: interrupted with its scheduler on w0, attempt 1; retrying" in capfd.readouterr().err
    assert main(["resume"]) == 0
    assert "nothing was left to resume" in capfd.readouterr().err


def test_the_time_of_an_interruption_is_kept(capfd):
    with Live("run", job([task("a", "sleep 60")]), "-q") as live:
        wait_until(lambda: running("a"))
        time.sleep(1.0)
        assert live.end(signal.SIGINT)[0] == 130
    assert main(["status", "--format", "json"]) == 0
    assert 1.0 <= json.loads(capfd.readouterr().out)["seconds"] < 30


def test_a_scheduler_that_was_stopped_says_what_that_cost(capfd, monkeypatch):
    """Its commands are ended by their agent; it says that this was for its own silence, and how long it may be."""
    monkeypatch.setattr("fastsched.runtime.control.PATIENCE_S", 0.5)
    file = job([task("a", "[ -e here ] || { touch here; sleep 60; }")])
    with Live("run", file, "--lease", "1s", "--grace", "1s") as live:
        wait_until(lambda: Path("here").exists())
        live.process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        assert main(["status"]) == 2 and "kill -CONT" in capfd.readouterr().err
        code, _, err = live.end(signal.SIGCONT)
    assert code == 0, err
    assert "(was it stopped?), and the lease is 1 s" in err


def test_a_cancelled_task_does_not_look_like_a_stop(capfd):
    with Live("run", job([task("a", "sleep 60"), task("b", "sleep 2")], 2)) as live:
        wait_until(lambda: running("a", "b"))
        assert main(["cancel", "a"]) == 0
        code, _, err = live.end()
    assert code == 1 and "a: it was stopped on w" in err and "it was cancelled" in err and "Ctrl-C" not in err


def test_a_run_as_a_whole_keeps_its_limits_when_it_is_taken_up_or_retried(capfd):
    """What was said of failures, retries and times is said of the run, not of one scheduler."""
    tasks = [task("slow", "sleep 30"), task("bad", "sleep 0.2; echo bad >> bad; exit 1"), task("after", "true", "slow")]
    file = job(tasks, n_workers=2)
    with Live("run", file, "-q", "--retries", "0", "--fail-fast", "--grace", "100ms", "--timeout", "60s") as live:
        wait_until(lambda: running("slow", "bad"))
        live.process.kill()
    assert main(["status"]) == 0
    with Live("resume", "-q") as live:
        wait_until(lambda: Path("bad").exists())
        wait_until(lambda: not running("bad"))
        code, out, err = live.end(signal.SIGINT)
    assert code == 130 and "CANCELLED" in out, (out, err)
    assert Path("bad").read_text() == "bad\n"
    assert find_run(None)
    again = task("bad", "echo again >> again; exit 1")
    file = job([again])
    assert main(["run", file, "-q", "--retries", "1"]) == 1 and Path("again").read_text() == "again\n" * 2
    assert main(["retry", "--failed", "-q"]) == 1 and Path("again").read_text() == "again\n" * 4
    assert main(["retry", "--failed", "-q", "--retries", "0"]) == 1 and Path("again").read_text() == "again\n" * 5


def test_damage_is_said_by_whoever_looks(capfd):
    file = job([task(f"t{i}", "true") for i in range(20)])
    assert main(["run", file, "-q"]) == 0
    run = find_run(None)
    with contextlib.closing(sqlite3.connect(run / "journal.db")) as database:
        database.execute("DELETE FROM record WHERE number > (SELECT max(number) / 2 FROM record)")
        database.commit()
    capfd.readouterr()
    for verb in (["status"], ["explain", "t1"], ["workers"], ["report"]):
        verbs.warn_once.cache_clear()
        main(verb)
        assert "damaged" in capfd.readouterr().err, verb
    assert main(["retry", "--failed", "-q"]) == 2 and "--accept-damage" in capfd.readouterr().err
    assert main(["retry", "--failed", "-q", "--accept-damage"]) == 0


def test_logs_of_a_run_that_nobody_schedules_come_to_an_end(capfd):
    file = job([task("a", "echo begun; sleep 30"), task("b", "true", "a")])
    with Live("run", file, "-q") as live:
        wait_until(lambda: running("a"))
        time.sleep(0.3)
        live.process.kill()
    capfd.readouterr()
    for name, said in (("a", "begun\n"), ("b", "")):
        assert main(["logs", name, "-f"]) == 0
        out, err = capfd.readouterr()
        assert out == said and "was interrupted" in err


def test_looking_at_many_tasks_takes_the_scheduler_little_time(capfd):
    """A look at every task kept the loop for so long that its agents took it for dead."""
    first = task("a", "while [ ! -e go ]; do sleep 0.02; done")
    file = job([first, *[task(f"t{i}", "true", "a") for i in range(12_000)]])
    with Live("run", file, "-q", "--fail-fast") as live:
        wait_until(lambda: running("a"))
        page = ask_run(find_run(None), "page", first=0, most=5000)
        assert len(page["rows"]) == 5000 and page["next"] == 5000
        capfd.readouterr()
        assert main(["status", "--format", "jsonl"]) == 0
        rows = capfd.readouterr().out.splitlines()
        assert len(rows) == 12_002 and json.loads(rows[-1])["task_id"] == "t11999"
        assert main(["explain", "t1100x"]) == 2 and "did you mean" in capfd.readouterr().err
        assert main(["cancel", "a"]) == 0
        code, out, _ = live.end()
    assert code == 1 and "12,001 failed" in out


def test_a_run_on_a_terminal_that_is_closed_ends_in_good_order(capfd):
    with Live("run", job([task("a", "sleep 30")]), "-q", "--grace", "1s") as live:
        wait_until(lambda: running("a"))
        code, out, _ = live.end(signal.SIGHUP)
    assert code == 130 and "interrupted" in out


def test_a_run_without_standard_streams(tmp_path):
    job([task("a", "echo hi")])
    line = f"exec {sys.executable} -m fastsched run job.json -q --run-dir r <&- >&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", line], timeout=60).returncode == 0
    assert Path("r/logs/a.1.out").read_text() == "hi\n"
    assert past_run(Path("r")).result().all_completed


def test_who_is_to_be_notified_is(capfd):
    file = job([task("a", "exit 1", max_retries=0)])
    assert main(["run", file, "-q", "--notify", 'echo "$FASTSCHED_EVENT $FASTSCHED_TASK_ID" >> told']) == 1
    assert Path("told").read_text().splitlines() == ["failed a", "ended "]


def test_the_last_worker_is_not_sent_away_by_mistake(capfd):
    with Live("run", job([task("a", "while [ ! -e go ]; do sleep 0.02; done"), task("b", "true", "a")]), "-q") as live:
        wait_until(lambda: running("a"))
        assert main(["workers", "--drain", "w0"]) == 2 and "--force" in capfd.readouterr().err
        assert main(["workers", "--drain", "w1"]) == 2 and "has no worker w1" in capfd.readouterr().err
        assert main(["workers", "--drain", "w0", "--force"]) == 0
        Path("go").touch()
        code, out, _ = live.end()
    assert code == 1 and "1 completed, 1 failed (1 UNSATISFIABLE)" in out


def test_cancel_asks_about_all_ids_first(capfd):
    with Live("run", job([task("a", "sleep 30"), task("b", "true", "a")]), "-q") as live:
        wait_until(lambda: running("a"))
        assert main(["cancel", "a", "nobody"]) == 2 and "no task nobody" in capfd.readouterr().err
        assert running("a")
        assert main(["cancel", "a"]) == 0
        live.end()
    assert main(["status"]) == 0 and "1 task that failed because another did" in capfd.readouterr().out
    assert main(["logs", "a"]) == 0 and "a wrote nothing" in capfd.readouterr().err


def test_what_is_left_is_counted_down_and_not_told_when_it_is_over():
    from types import SimpleNamespace

    from fastsched.progress import Progress

    progress = Progress(SimpleNamespace(), lambda *_: None)
    progress.total = 2
    progress._end_at = time.monotonic() + 30.4
    assert progress.eta == ", about 30 s left"
    progress._end_at -= 20
    assert progress.eta == ", about 10 s left"
    progress._end_at -= 20
    assert progress.eta == "", "it is overdue"
    progress._end_at, progress.ended = time.monotonic() + 30, 2
    assert progress.eta == ""


def test_a_long_run_that_is_over_is_read_once_to_list_it(capfd, monkeypatch):
    """Each piece of the list was read from a journal of its own reading."""
    assert main(["run", job([task(f"t{i}") for i in range(30)]), "-q"]) == 0
    capfd.readouterr()
    read, times = verbs.PastRun, []
    monkeypatch.setattr(verbs, "PAGE", 4)
    monkeypatch.setattr(verbs, "PastRun", lambda folder: times.append(folder) or read(folder))
    assert main(["status", "--all"]) == 0
    assert capfd.readouterr().out.count("completed on") == 30 and len(times) == 2, "for the whole, and for the list"
