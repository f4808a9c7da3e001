"""Nothing survives the end of its attempt, whatever it does to get away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastsched import Reason
from fastsched.events import WorkerHeard

from .field import needs_proc, survivors

ESCAPE = str(Path(__file__).with_name("escape.py"))
OUTPUT_MB = int(os.environ.get("FASTSCHED_OUTPUT_MB", "300"))  # of a command that writes without end
WAYS = {
    "background": "sleep {mark} & :",
    "nohup": "nohup sleep {mark} >/dev/null 2>&1 & :",
    "subshell": "(sleep {mark} &) ; (sleep {mark} & sleep {mark} &) & :",
    "setsid": "setsid sleep {mark} & sleep 0.1",
    "env -i": "env -i setsid sleep {mark} & sleep 0.1",
    "double": "(setsid env -i sh -c 'sleep {mark} & setsid sleep {mark} &' &) ; sleep 0.2",
    "pipe": "sleep {mark} | cat & :",
    "stopped": "setsid sh -c 'kill -STOP $$; sleep {mark}' & sleep 0.1",
    "stubborn": "setsid sh -c \"trap '' TERM HUP INT; sleep {mark}; :\" & sleep 0.1",
    "daemon": f"{sys.executable} {ESCAPE} daemon {{mark}}",
    "many": f"{sys.executable} {ESCAPE} many {{mark}}",
}


@needs_proc
@pytest.mark.parametrize("way", sorted(WAYS))
def test_what_is_left_behind_ends_with_its_attempt(field, mark, way):
    if "setsid" in WAYS[way] and not shutil.which("setsid"):
        pytest.skip("skipped: there is no setsid")
    end = field.run(f"{WAYS[way].format(mark=mark)}; exit 5", stdout=os.path.abspath("out"))
    assert end.exit_code == 5
    assert not survivors(mark), "they were there when the end was told"


@needs_proc
@pytest.mark.parametrize("way", ["daemon", "double", "stubborn"])
def test_what_a_stopped_attempt_has_hidden_ends_with_it(field, mark, way):
    field.start("a", f"{WAYS[way].format(mark=mark)}; sleep {mark}")
    field.wait_until(lambda: len(survivors(mark)) >= 3)
    field.stop("a", grace_s=0.3)
    assert field.end_of("a").reason is Reason.CANCELLED and not survivors(mark)


@needs_proc
def test_what_another_attempt_has_in_the_background_stays(field, mark):
    """The end of one attempt ends its own processes, and those of no other, orphans of a running one included."""
    daemon = WAYS["daemon"].format(mark=mark)
    field.start("a", f"{daemon}; touch up; while [ ! -e go ]; do sleep 0.02; done; exit 0", cwd=os.getcwd())
    field.wait_until(lambda: os.path.exists("up") and survivors(mark))
    there = survivors(mark)
    for _ in range(5):
        assert field.run(f"setsid sleep {mark} & sleep 0.05; exit 0").reason is None
    assert set(there) <= set(survivors(mark)), "the orphans of another attempt were hit"
    Path("go").touch()
    assert field.end_of("a").reason is None and not survivors(mark)


@needs_proc
def test_a_fork_bomb_is_ended_and_heartbeats_are_kept(make_field, mark):
    """It forks anew whatever is killed, each in a session of its own."""
    field = make_field(heartbeat_s=0.2)
    field.bring_up()
    field.start("bomb", [sys.executable, ESCAPE, "bomb", mark])
    field.wait_until(lambda: len(survivors(mark)) > 50)
    began = time.monotonic()
    heard = 0
    while time.monotonic() < began + 1.5:
        field.find(WorkerHeard, seconds=5)
        heard += 1
    assert heard >= 3
    field.stop("bomb", grace_s=0.2)
    assert field.end_of("bomb", 20).reason is Reason.CANCELLED
    assert not survivors(mark)
    assert field.run("exit 3").exit_code == 3, "the worker is as before"


def test_output_without_end_is_capped_and_nothing_stalls(make_field):
    """The head and the newest tail are kept, and a line says what is not; heartbeats go on meanwhile."""
    field = make_field(heartbeat_s=0.1, output_cap_mb=2)
    field.bring_up()
    out = os.path.abspath("out")
    # Most of it with pauses, for a disk may take more in a tenth of a second than is asked about here.
    pieces, rest = divmod(max(0, OUTPUT_MB - 60), 30)
    rest += min(OUTPUT_MB, 60)
    writing = f"i=0; while [ $i -lt {pieces} ]; do head -c 30M /dev/zero; sleep 0.1; i=$((i+1)); done"
    writing = f"{{ {writing}; head -c {rest}M /dev/zero; }}"
    command = f"echo head; {writing} | tr '\\0' x; echo; echo tail; exit 9"
    field.start("writer", command, stdout=out, stderr=os.path.abspath("err"))
    most = 0
    while not field.ends():
        field.wait(0.05)
        if os.path.exists(out):
            most = max(most, os.stat(out).st_blocks * 512)
    end = field.end_of("writer")
    assert end.exit_code == 9 and end.message == "exit code 9\ntail"
    text = Path(out).read_bytes()
    assert text.startswith(b"head\nxxx") and text.endswith(b"xxx\ntail\n") and len(text) <= (2 << 20) + 100
    (line,) = [line for line in text.splitlines() if b"dropped" in line]
    dropped = int(line.split()[1])
    assert dropped + len(text) - len(line) - 2 == len("head\n") + (OUTPUT_MB << 20) + len("\ntail\n")
    assert most < max(OUTPUT_MB // 2, 64) << 20, "it was given back while it was written"
    gaps = [b - a for a, b in zip(field.heard, field.heard[1:])]
    assert max(gaps) < 3


def test_output_below_the_cap_is_kept_to_the_byte(make_field):
    field = make_field(output_cap_mb=1)
    field.bring_up()
    out = os.path.abspath("out")
    field.run(f"head -c {1 << 20} /dev/zero", stdout=out)
    assert Path(out).read_bytes() == b"\0" * (1 << 20)
    field.run(f"head -c {(1 << 20) + 1} /dev/zero", stdout=out)
    assert b"[fastsched: 1 bytes were dropped here]" in Path(out).read_bytes()


@needs_proc
def test_a_process_whose_first_thread_has_ended_is_ended_too(field, mark):
    """The system says of it what it says of one that has ended."""
    if not shutil.which("gcc"):
        pytest.skip("skipped: there is no compiler")
    Path("threads.c").write_text(
        "#include <pthread.h>\n#include <unistd.h>\n"
        "static void *rest(void *x) { sleep(1000); return x; }\n"
        "int main(void) { pthread_t t; if (fork()) { usleep(100000); return 0; } setsid();\n"
        "  pthread_create(&t, 0, rest, 0); pthread_exit(0); }\n"
    )
    subprocess.run(["gcc", "-pthread", "threads.c", "-o", f"threads-{mark}"], check=True)
    began = time.monotonic()
    assert field.run([os.path.abspath(f"threads-{mark}")]).reason is None
    assert time.monotonic() - began < 4 and not survivors(mark)
