"""How a command is ended before its time: stop, timeout, memory, and that the whole tree is meant."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fastsched import Reason
from fastsched.events import AttemptEnded

from .field import needs_proc, survivors

POLITE = "trap 'echo ended > {word}; exit 3' TERM; touch {word}; while :; do sleep 0.05; done"
STUBBORN = "trap '' TERM; touch {word}; while :; do sleep {mark}; done"


def is_there(word):
    return lambda: os.path.exists(word)


def test_stop_asks_first(field, mark):
    field.start("a", POLITE.format(word=os.path.abspath("word")))
    field.wait_until(is_there("word"))
    field.stop("a")
    end = field.end_of("a")
    assert (end.reason, end.exit_code, end.signal) == (Reason.CANCELLED, 3, None)
    assert Path("word").read_text() == "ended\n" and "it was stopped" in end.message


def test_what_does_not_listen_is_killed_after_the_grace(field, mark):
    field.start("a", STUBBORN.format(word=os.path.abspath("word"), mark=mark))
    field.wait_until(is_there("word"))
    before = time.monotonic()
    field.stop("a", grace_s=0.5)
    end = field.end_of("a")
    assert (end.reason, end.signal) == (Reason.CANCELLED, 9) and 0.5 <= time.monotonic() - before < 10
    assert not survivors(mark)


def test_without_grace_it_is_killed_at_once(field, mark):
    field.start("a", POLITE.format(word=os.path.abspath("word")))
    field.wait_until(is_there("word"))
    field.stop("a", grace_s=0.0)
    assert field.end_of("a").signal == 9 and Path("word").read_text() == ""


def test_a_second_stop_with_a_shorter_grace_counts(field, mark):
    field.start("a", STUBBORN.format(word=os.path.abspath("word"), mark=mark))
    field.wait_until(is_there("word"))
    field.stop("a", grace_s=300)
    field.wait(0.1)
    field.stop("a", grace_s=0.1)
    assert field.end_of("a", 10).reason is Reason.CANCELLED


def test_stop_reaches_what_is_stopped(field, mark):
    field.start("a", f"touch word; kill -STOP $$; sleep {mark}", cwd=os.getcwd())
    field.wait_until(is_there("word"))
    field.wait(0.2)
    field.stop("a", grace_s=20)
    assert field.end_of("a", 10).reason is Reason.CANCELLED


@needs_proc
def test_stop_asks_the_whole_tree(field, mark):
    """A grandchild in a session of its own hears that it should end, and has its grace too."""
    code = f"""
import os, signal, sys, time
def end(*_):
    open("heard", "w").close()
    sys.exit()
signal.signal(signal.SIGTERM, end)
os.setsid()
open("up", "w").close()
while True:
    time.sleep(0.05)  # {mark}
"""
    Path("deep.py").write_text(code)
    field.start("a", f"trap 'sleep 0.3; exit 0' TERM; python3 deep.py {mark} & wait", cwd=os.getcwd())
    field.wait_until(is_there("up"))
    field.stop("a", grace_s=10)
    assert field.end_of("a").reason is Reason.CANCELLED
    assert os.path.exists("heard") and not survivors(mark)


def test_stop_of_what_has_ended_or_never_was_is_dropped(field):
    field.run("true", attempt=1)
    field.start("a", "true")
    field.end_of("a")
    field.stop("a")
    field.stop("never")
    field.start("b", "sleep 0.3; exit 4")
    field.stop("b", attempt=2)
    assert field.end_of("b").exit_code == 4
    field.wait(0.3)
    assert not field.ends()


@needs_proc
def test_a_timeout_asks_and_then_kills(field, mark):
    field.start("slow", f"sleep {mark}", timeout_s=0.4)
    field.start("deaf", STUBBORN.format(word="word", mark=mark), timeout_s=0.4, grace_s=0.4)
    field.start("fast", "sleep 0.1", timeout_s=20)
    before = time.monotonic()
    assert field.end_of("fast").reason is None
    slow, deaf = field.end_of("slow"), field.end_of("deaf")
    assert (slow.reason, slow.signal, deaf.reason, deaf.signal) == (Reason.TIMEOUT, 15, Reason.TIMEOUT, 9)
    assert "longer than 0.4 s" in slow.message and 0.7 < time.monotonic() - before < 10
    assert not survivors(mark)


def test_a_timeout_says_the_last_words(field, mark):
    files = {"stdout": os.path.abspath("out"), "stderr": os.path.abspath("err")}
    end = field.run(f"echo at step 3; sleep {mark}", timeout_s=0.4, **files)
    assert end.reason is Reason.TIMEOUT and end.message.splitlines()[1] == "at step 3"


HOG = """
import sys, time
held = bytearray(int(sys.argv[1]) << 20)
for i in range(0, len(held), 4096):
    held[i] = 1
time.sleep(float(sys.argv[2]))
"""


def enforces_memory(field):
    if field.engine.levels().memory == "none":
        pytest.skip("skipped: memory is not enforced here")


@needs_proc
def test_what_takes_more_memory_than_it_has_is_killed(field, mark):
    enforces_memory(field)
    Path("hog.py").write_text(HOG)
    field.start("hog", ["python3", "hog.py", "150", mark], limit_mb=60, memory_mb=60)
    end = field.end_of("hog")
    assert end.reason is Reason.OUT_OF_MEMORY and "60 MB" in end.message
    assert end.usage.peak_memory_mb > 55 and not survivors(mark)


@needs_proc
def test_what_all_its_processes_take_counts(field, mark):
    """Each is far below the limit; together they are above it."""
    enforces_memory(field)
    Path("hog.py").write_text(HOG)
    three = " & ".join([f"python3 hog.py 50 {mark}"] * 3)
    field.start("hogs", f"{three} & wait", limit_mb=120, memory_mb=120)
    assert field.end_of("hogs").reason is Reason.OUT_OF_MEMORY
    assert not survivors(mark)


SHARED = """
import os, sys, time
held = bytearray(60 << 20)
for i in range(0, len(held), 4096):
    held[i] = 1
for _ in range(3):
    if os.fork() == 0:
        break
time.sleep(float(sys.argv[1]))
"""


def test_what_is_shared_counts_once(field):
    """Four processes that share 60 MB take about 60 MB and their own, not 240."""
    enforces_memory(field)
    Path("shared.py").write_text(SHARED)
    assert field.run(["python3", "shared.py", "0.8"], limit_mb=160, memory_mb=160).reason is None


@needs_proc
def test_the_peak_of_the_tree_is_told(field):
    Path("hog.py").write_text(HOG)
    alone = field.run(["python3", "hog.py", "80", "0.5"], limit_mb=1000).usage.peak_memory_mb
    three = " & ".join(["python3 hog.py 80 0.8"] * 3)
    together = field.run(f"{three} & wait", limit_mb=1000).usage.peak_memory_mb
    assert 75 < alone < 180 and 230 < together < 500
    assert field.run(["python3", "hog.py", "80", "0"]).usage.peak_memory_mb > 75, "also where it does not live long"


def test_without_a_limit_nothing_is_killed(field):
    Path("hog.py").write_text(HOG)
    assert field.run(["python3", "hog.py", "100", "0.5"], memory_mb=10).reason is None


@pytest.mark.parametrize("command", ["exec sleep {mark}", "trap '' TERM; sleep {mark}; sleep {mark}"])
def test_a_thousand_that_are_ended_together_are(field, mark, command):
    """To end them took longer than to be due again, and nothing else was done any more."""
    n = 800
    field.engine.send([])
    for i in range(n):
        field.start(f"t{i}", command.format(mark=mark), cores=0.001, memory_mb=1, timeout_s=6.0, grace_s=0.2)
    ended = {field.find(AttemptEnded).task_id for _ in range(n)}
    assert len(ended) == n and not survivors(mark)


def test_two_hundred_that_leave_something_behind_end_soon(field, mark):
    for i in range(200):
        field.start(f"t{i}", f"(setsid sleep {mark} &) ; while [ ! -e go ]; do sleep 0.2; done", cwd=os.getcwd())
    field.wait_until(lambda: len(survivors(mark)) >= 200)
    Path("go").touch()
    began = time.monotonic()
    for _ in range(200):
        field.find(AttemptEnded)
    assert time.monotonic() - began < 4 and not survivors(mark), "it takes 5 s to give up"
