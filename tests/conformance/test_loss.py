"""Workers that are lost and come again, schedulers that die, and the end of everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from fastsched.events import AttemptEnded, WorkerHeard, WorkerLost

from .field import needs_proc, survivors, wait_for

DEAF = "trap '' TERM; (setsid env -i sh -c 'sleep {mark}; :' &) ; sleep {mark}; sleep {mark}; :"


@needs_proc
def test_a_lost_worker_leaves_nothing_and_is_told_when_that_is_so(field, mark):
    field.start("a", DEAF.format(mark=mark))
    field.wait_until(lambda: len(survivors(mark)) >= 3)
    field.engine.lose("w1", "it was unwanted")
    loss = field.loss_of("w1")
    assert not survivors(mark), "they ran when the loss was told"
    assert (loss.message, loss.incarnation) == ("it was unwanted", 1)
    field.wait(0.5)
    assert not [r for r in field.reports if isinstance(r, (AttemptEnded, WorkerLost))], "said once, and nothing after"


def test_what_was_said_before_a_loss_comes_before_it(field):
    field.start("a", "exit 3")
    time.sleep(0.5)
    field.engine.lose("w1", "lost")
    field.loss_of("w1")
    assert [end.exit_code for end in field.ends()] == [3]


def test_losing_who_is_lost_or_unknown_does_nothing(field):
    field.engine.lose("w1", "one")
    field.engine.lose("w1", "two")
    field.engine.lose("nobody", "three")
    assert field.loss_of("w1").message == "one"
    field.engine.lose("w1", "four")
    field.wait(0.5)
    assert not [report for report in field.reports if isinstance(report, WorkerLost)]


def test_a_worker_comes_up_again_and_old_orders_are_stale(field, mark):
    field.start("a", f"sleep {mark}")
    field.wait_until(lambda: survivors(mark))
    field.engine.lose("w1", "lost")
    field.start("between", "touch between")
    field.loss_of("w1")
    field.reports.clear()
    field.bring_up("w1")
    assert field.incarnations["w1"] == 2
    field.start("stale", f"touch {os.path.abspath('stale')}", incarnation=1)
    field.start("nobody", "true", worker_id="w1", incarnation=3)
    end = field.run("exit 6")
    assert (end.exit_code, end.incarnation) == (6, 2)
    field.wait(0.3)
    assert not os.path.exists("stale") and not os.path.exists("between") and not field.ends()
    assert all(r.incarnation == 2 for r in field.reports if isinstance(r, WorkerHeard))


def test_one_is_lost_and_the_others_go_on(field, mark):
    field.bring_up("w2")
    field.start("a", f"sleep {mark}")
    field.start("b", "sleep 1; exit 2", "w2")
    field.wait_until(lambda: survivors(mark))
    field.engine.lose("w1", "lost")
    field.loss_of("w1")
    assert field.end_of("b").exit_code == 2


@needs_proc
@pytest.mark.parametrize("grace_s", [0.0, 0.4])
def test_close_leaves_nothing(field, mark, grace_s):
    field.bring_up("w2")
    field.start("a", DEAF.format(mark=mark))
    field.start("b", f"sleep {mark}", "w2")
    field.wait_until(lambda: len(survivors(mark)) >= 4)
    before = time.monotonic()
    field.close(grace_s)
    assert not survivors(mark) and time.monotonic() - before < 10
    field.engine.wake()


def test_close_asks_first(field, tmp_path):
    field.start(
        "a", "trap 'sleep 0.2; touch ended; exit' TERM; touch up; while :; do sleep 0.02; done", cwd=str(tmp_path)
    )
    field.wait_until((tmp_path / "up").exists)
    before = time.monotonic()
    field.close(20)
    assert (tmp_path / "ended").exists() and time.monotonic() - before < 10


@needs_proc
def test_hurry_cuts_the_grace_short(field, mark):
    field.start("a", DEAF.format(mark=mark))
    field.wait_until(lambda: len(survivors(mark)) >= 3)
    threading.Timer(0.5, field.engine.hurry).start()
    before = time.monotonic()
    field.close(300)
    assert 0.4 < time.monotonic() - before < 15 and not survivors(mark)


def start_scheduler(maker, run_id, *commands, lease_s=20.0):
    """A scheduler in a process of its own, that has started the commands."""
    arguments = [sys.executable, "-m", "conformance", maker, run_id, str(lease_s)]
    places = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    scheduler = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    with scheduler.stdin:
        scheduler.stdin.write("\n".join(commands).encode())
    assert scheduler.stdout.readline() == b"ready\n"
    return scheduler


@pytest.fixture
def start(maker):
    """Starts schedulers that have a cluster of their own, perhaps, of which nothing is left in the end."""
    trees = []

    def start(*given, **more):
        scheduler = start_scheduler(maker, *given, **more)
        trees.append({pid: began_at(pid) for pid in tree_of(scheduler.pid)})
        return scheduler

    yield start
    for tree in trees:
        for pid, began in tree.items():
            if began is not None and began_at(pid) == began:
                os.kill(pid, signal.SIGKILL)


def kill_hard(scheduler):
    scheduler.send_signal(signal.SIGKILL)
    scheduler.wait()
    scheduler.stdout.close()


@needs_proc
def test_when_the_scheduler_is_killed_nothing_survives(field, start, mark):
    scheduler = start(uuid.uuid4().hex, DEAF.format(mark=mark), f"sleep {mark}")
    wait_for(lambda: len(survivors(mark)) >= 4)
    kill_hard(scheduler)
    wait_for(lambda: not survivors(mark), 10)


@needs_proc
def test_when_a_scheduler_is_stopped_for_a_lease_its_commands_are_ended(start, field, mark):
    """Somebody else may be given them by then."""
    scheduler = start(uuid.uuid4().hex, DEAF.format(mark=mark), lease_s=1.0)
    wait_for(lambda: len(survivors(mark)) >= 3)
    time.sleep(1.5)
    assert len(survivors(mark)) >= 3, "as long as it gives signs of life they go on"
    scheduler.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: not survivors(mark), 15)
    finally:
        kill_hard(scheduler)


@needs_proc
def test_the_next_scheduler_of_a_run_ends_what_the_last_one_has_left(make_field, start, mark):
    """Everything is killed but the commands; whatever is left of them is gone when the run is opened again."""
    run_id, other = uuid.uuid4().hex, uuid.uuid4().hex
    scheduler = start(run_id, DEAF.format(mark=mark), f"sleep {mark}")
    wait_for(lambda: len(survivors(mark)) >= 4)
    for pid in [scheduler.pid, *children_of(scheduler.pid)]:
        os.kill(pid, signal.SIGSTOP)
    kill_hard(scheduler)
    assert survivors(mark), "agents are stopped, so nobody ends them"
    make_field(run_id=other).close()
    assert survivors(mark), "what is of another run is left alone"
    field = make_field(run_id=run_id)
    assert not survivors(mark), "they ran when the run was open"
    field.bring_up()
    assert field.run("exit 4").exit_code == 4


def children_of(pid):
    listed = subprocess.run(["ps", "-Ao", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if int(line.split()[1]) == pid]


def tree_of(pid):
    return [pid, *(deeper for child in children_of(pid) for deeper in tree_of(child))]


def began_at(pid):
    """What tells a process from a later one of the same number; None: there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
