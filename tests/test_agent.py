"""The agent over its socket, and the rooms that it is made of."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

if os.name != "posix":
    pytest.skip("skipped: running commands needs POSIX", allow_module_level=True)

from conformance.field import survivors, wait_for

from fastsched.engines import capture, custody, memory, processes
from fastsched.engines.capture import Output, last_lines
from fastsched.engines.commands import SHELL_WORDS, split_plain
from fastsched.engines.custody import Attempt, Custody
from fastsched.engines.hosts import BOOT, ROOMS, spawn_agent
from fastsched.engines.processes import Mark, all_processes, descendants, key_of
from fastsched.engines.system import HAS_FAST_LANE, Variables, look_at, mark_of, reap, signal_exactly, spawn
from fastsched.engines.wire import Inbox, pack, pack_start, unpack

linux = pytest.mark.skipif(sys.platform != "linux", reason="skipped: this is for Linux")
ENVIRONMENT = [os.fsencode(f"{name}={value}") for name, value in os.environ.items()]


class Wire:
    """One agent, and the other end of its socket."""

    def __init__(self, *, heartbeat_s=0.1, lease_s=20.0, output_cap=1 << 20, spaces="", plain=False, **more):
        self.plain = plain  # whether starts are said in the form of bytes
        self.mark = Mark(uuid.uuid4().hex, 7)
        self.channel, theirs = socket.socketpair()
        with theirs:
            self.pid, self.pidfd = spawn_agent(self.mark, theirs.fileno(), "w", None, spaces)
        self.inbox = Inbox()
        self.heard = []
        settings = {
            "worker_id": "w",
            "heartbeat_s": heartbeat_s,
            "lease_s": lease_s,
            "lease_until": float("inf"),
            "output_cap": output_cap,
            "environment": ENVIRONMENT,
            "mark": self.mark.number,
            "mark_name": self.mark.name,
            "agent": self.mark.agent,
            "cgroups": None,
            "n_files": 0,
            **more,
        }
        self.say(("settings", settings))

    def say(self, *messages):
        self.channel.settimeout(30)
        self.channel.sendall(pack([self.form(message) for message in messages]))

    def start(self, key, command, **more):
        self.say(order(key, command, **more))

    def form(self, message):
        """A start in the form that is wanted, if it can be said in it."""
        if message[0] != "start" or not self.plain:
            return message
        _, key, command, task_id, attempt, cores, memory_mb, stdout, stderr, *_, timeout_s, grace_s, limit_mb = message
        limits = timeout_s, grace_s, limit_mb
        return pack_start(key, command, task_id, attempt, cores, memory_mb, stdout, stderr, *limits) or message

    def hear(self, seconds=0.2):
        """What is said within a time; None: the socket is closed."""
        self.channel.settimeout(seconds)
        try:
            data = self.channel.recv(1 << 16)
        except TimeoutError:
            return []
        except OSError:
            return None
        messages = self.inbox.take(data) if data else None
        self.heard += messages or []
        return messages

    def end_of(self, key, seconds=20):
        """What is said of the end of an attempt."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for message in self.heard:
                if message[:2] == ("ended", key):
                    self.heard.remove(message)
                    return message[2:]
            assert self.hear() is not None, "it has gone"
        raise AssertionError(f"waited in vain; it said {self.heard}")

    def wait(self, seconds=20):
        """How the agent ended: its wait status."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return status
            time.sleep(0.005)
        raise AssertionError("it does not end")

    def close(self):
        self.channel.close()
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        while not processes.sweep(self.mark):
            pass
        if self.pidfd >= 0:
            os.close(self.pidfd)


def order(key, command, *, timeout_s=None, grace_s=5.0, stdout=None, stderr=None, limit_mb=None):
    files = None if stdout is None else str(stdout), None if stderr is None else str(stderr), None
    return ("start", key, command, f"t{key}", 1, 1.0, 128, *files, None, None, timeout_s, grace_s, limit_mb)


@pytest.fixture(params=["whole", "plain"])
def make_wire(request):
    """Makes agents, which are told to start commands in the one form or in the other."""
    if request.param == "plain" and not HAS_FAST_LANE:
        pytest.skip("skipped: there is no fast lane here")
    made = []

    def make(**settings):
        made.append(Wire(plain=request.param == "plain", **settings))
        return made[-1]

    yield make
    for wire in made:
        wire.close()


@pytest.fixture
def mark():
    text = f"{7000 + os.getpid() % 1000}.{uuid.uuid4().int % 10**12:012}"
    yield text
    wait_for(lambda: not survivors(text), 5)


# ---------------------------------------------------------------- life and death


def test_it_says_that_it_is_up_and_then_beats(make_wire):
    wire = make_wire(heartbeat_s=0.1)
    began = time.monotonic()
    while len(wire.heard) < 6:
        wire.hear()
    assert wire.heard[0] == ("up",) and set(wire.heard[1:]) == {("beat",)}
    assert 0.35 < time.monotonic() - began < 10


def test_what_takes_long_to_load_is_not_loaded():
    """It is up in a moment, and there may be a thousand of them."""
    code = f"import sys; sys.path.append({ROOMS!r}); import engines.agent; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    heavy = {"typing", "collections", "re", "enum", "signal", "socket", "json", "contextlib", "subprocess", "hashlib"}
    heavy |= {"shutil", "selectors", "pathlib", "functools", "inspect", "dataclasses", "threading", "site", "numpy"}
    assert "engines.agent" in loaded and (sys.platform != "linux" or not loaded & heavy), loaded & heavy
    assert "fastsched" not in loaded and "engines.agent" in BOOT


def test_frames_in_pieces_and_together_are_understood(make_wire):
    wire = make_wire()
    data = pack([order(1, "exit 1"), order(2, "exit 2")]) + pack([]) + pack([order(3, "exit 3")])
    for i in range(0, len(data), 7):
        wire.channel.sendall(data[i : i + 7])
    assert [os.waitstatus_to_exitcode(wire.end_of(key)[0]) for key in (1, 2, 3)] == [1, 2, 3]
    inbox = Inbox()
    assert [inbox.take(data[i : i + 1]) for i in range(len(data))].count([]) == len(data) - 2


def test_it_never_waits_for_a_scheduler_that_does_not_read(make_wire, tmp_path):
    """Its socket is full of ends; commands go on, and all ends come when they are read."""
    wire = make_wire(heartbeat_s=0.01)
    wire.channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    n = 2500
    for first in range(1, n, 100):
        wire.say(*[order(key, ["no such program " + "x" * 200]) for key in range(first, first + 100)])
    wire.start(n + 1, f"touch {tmp_path}/went-on")
    wait_for((tmp_path / "went-on").exists)
    assert wire.end_of(n + 1)[0] == 0
    assert sorted(m[1] for m in wire.heard if m[0] == "ended") == list(range(1, n + 1))


def test_when_the_socket_closes_it_asks_kills_and_goes(make_wire, mark, tmp_path):
    wire = make_wire()
    wire.start(1, f"trap 'touch {tmp_path}/heard; exit' TERM; touch {tmp_path}/up; while :; do sleep 0.02; done")
    wire.start(2, f"trap '' TERM; sleep {mark}; sleep {mark}")
    wait_for(lambda: (tmp_path / "up").exists() and survivors(mark))
    before = time.monotonic()
    wire.channel.close()
    assert wire.wait() == 0
    assert (tmp_path / "heard").exists() and not survivors(mark)
    assert 1.9 < time.monotonic() - before < 10


def test_without_a_sign_of_life_for_a_lease_it_ends_everything_and_tells_nobody(make_wire, mark):
    wire = make_wire(heartbeat_s=0.1, lease_s=0.6)
    wire.start(1, "exit 5")
    wire.start(2, f"trap 'exit 0' TERM; sleep {mark} & wait")
    for _ in range(8):
        wire.say(("beat", float("inf")))
        wire.hear(0.1)
        time.sleep(0.1)
    assert survivors(mark), "as long as it hears of its scheduler it goes on"
    while wire.hear(5) is not None:
        pass
    assert wire.wait() == 0 and not survivors(mark)
    ended = [message[1] for message in wire.heard if message[0] == "ended"]
    assert ended == [1], "what had ended is told; what it has ended itself counts as lost"


def test_what_lay_in_its_socket_while_it_was_stopped_counts(make_wire, mark):
    wire = make_wire(heartbeat_s=0.1, lease_s=0.6)
    wire.start(1, f"sleep {mark}")
    wait_for(lambda: survivors(mark))
    os.kill(wire.pid, signal.SIGSTOP)
    time.sleep(1.0)
    wire.say(("beat", float("inf")))
    os.kill(wire.pid, signal.SIGCONT)
    for _ in range(5):
        wire.say(("beat", float("inf")))
        time.sleep(0.1)
    assert survivors(mark) and wire.hear() is not None
    wire.say(("stop", 1, 0.0))
    assert wire.end_of(1)[3] == "CANCELLED"


def test_a_signal_ends_it_in_good_order_and_what_it_ran_is_not_cancelled(make_wire, mark):
    wire = make_wire()
    wire.start(1, f"sleep {mark}")
    wait_for(lambda: survivors(mark))
    os.kill(wire.pid, signal.SIGINT)
    time.sleep(0.2)
    assert survivors(mark), "Ctrl-C is for its scheduler"
    os.kill(wire.pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(wire.wait()) == 143 and not survivors(mark)
    while wire.hear():
        pass
    assert ("ended", 1) not in [said[:2] for said in wire.heard], "nobody has asked for its end: it is lost"


def test_after_leave_nothing_is_started(make_wire, tmp_path):
    wire = make_wire()
    wire.say(("leave", 0.0), order(1, f"touch {tmp_path}/never"))
    assert wire.wait() == 0 and not (tmp_path / "never").exists()


@linux
def test_descriptors_and_memory_are_given_back(make_wire, tmp_path):
    wire = make_wire()
    wire.start(1, "true")
    wire.end_of(1)
    before = len(os.listdir(f"/proc/{wire.pid}/fd"))
    for key in range(2, 200):
        wire.say(order(key, "setsid sleep 0.001 & exit 1", stdout=str(tmp_path / "out"), timeout_s=1e6))
    for key in range(2, 200):
        wire.end_of(key)
    assert len(os.listdir(f"/proc/{wire.pid}/fd")) == before
    status = Path(f"/proc/{wire.pid}/status").read_text()
    assert int(status.split("VmHWM:")[1].split()[0]) < 40_000
    assert Path("/proc", str(wire.pid), "task").is_dir() and not descendants([wire.pid]) - {
        (wire.pid, look_at(wire.pid)[2])
    }


def test_no_clock_of_the_wall_is_looked_at():
    """Whatever it does changes nothing."""
    for path in Path(processes.__file__).parent.glob("*.py"):
        text = path.read_text()
        assert "time.time(" not in text and "datetime" not in text, path


# ---------------------------------------------------------------- marks and processes


def test_marks_tell_runs_agents_and_attempts_apart():
    mark, same, other, far = Mark("run", 1), Mark("run", 1), Mark("run", 2), Mark("another", 1)
    assert mark.number == same.number and mark.name == same.name == other.name != far.name
    assert len({mark.number >> 14, other.number >> 14, far.number >> 14}) == 3
    assert 1 << 62 < mark.number < 1 << 63 and mark.number % (1 << 14) == 0


def test_a_run_within_a_command_of_another_takes_smaller_marks():
    """Without privilege a limit can only be made smaller; five deep there is no room left."""
    limit, numbers = 1 << 64, []
    for depth in range(8):
        mark = Mark(f"run {depth}", 1, limit)
        numbers.append(mark.number)
        limit = mark.number + 5 or limit
    assert numbers[:5] == sorted(numbers[:5], reverse=True) and all(numbers[:5])
    assert numbers[5:] == [0, 0, 0]


@linux
def test_the_marks_are_found_when_one_is_wiped(mark):
    """By the limit where the environment is wiped, by the environment where there is no limit."""
    ours = Mark(uuid.uuid4().hex, 3)
    sleep = ["sleep", mark]
    named = Variables([*ENVIRONMENT, f"{ours.name}=3.9".encode()])
    plain = Variables(ENVIRONMENT)
    both, limit, name, none = (
        spawn(b"/bin/sleep\0/usr/bin/sleep\0", sleep, variables, [], mark=number)[0]
        for variables, number in ((named, ours.number + 9), (plain, ours.number + 9), (named, 0), (plain, 0))
    )
    wait_for(lambda: len(survivors(mark)) == 4)  # in the midst of exec an environment is not to be seen
    try:
        assert [ours.is_on(pid) for pid in (both, limit, name, none)] == [True, True, True, False]
        assert [key_of(pid, ours.number, ours.name) for pid in (both, limit, name, none)] == [9, 9, 9, None]
        assert not Mark(uuid.uuid4().hex, 3).is_on(both) and not Mark("x", 3).is_on(limit, whole_run=True)
        assert mark_of(limit) == ours.number + 9 and mark_of(none) >= 1 << 63
        while not processes.sweep(ours, whole_run=True):
            pass
        assert look_at(none)[1] not in "ZX"
    finally:
        for pid in (both, limit, name, none):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@linux
def test_a_process_is_signalled_only_if_it_began_then(mark):
    pid = spawn(b"/bin/sleep\0/usr/bin/sleep\0", ["sleep", mark], Variables(ENVIRONMENT), [])[0]
    start = look_at(pid)[2]
    assert look_at(pid)[0] == os.getpid()
    assert not signal_exactly(pid, start + 1, signal.SIGKILL) and look_at(pid)[1] not in "ZX"
    assert signal_exactly(pid, start, signal.SIGKILL)
    assert os.waitpid(pid, 0) == (pid, signal.SIGKILL)
    assert not signal_exactly(pid, start, signal.SIGKILL) and look_at(pid) is None


@linux
def test_children_are_found_where_the_kernel_does_not_list_them(mark, monkeypatch):
    """CONFIG_PROC_CHILDREN is an option."""
    pid = spawn(b"", [], Variables(ENVIRONMENT), [], f"sleep {mark} & sleep {mark}; :")[0]
    wait_for(lambda: len(survivors(mark)) == 3)
    listed = descendants([pid])
    monkeypatch.setattr(processes, "LISTS_CHILDREN", False)
    monkeypatch.setattr(processes, "slurp", lambda path: (_ for _ in ()).throw(FileNotFoundError))
    assert descendants([pid]) == listed and len(listed) == 3
    for member, start in listed:
        signal_exactly(member, start, signal.SIGKILL)
    os.waitpid(pid, 0)


@linux
def test_the_group_of_a_leader_is_killed_before_its_number_is_given_back(mark):
    pid = spawn(b"", [], Variables(ENVIRONMENT), [], f"sleep {mark} & exit 3")[0]
    wait_for(lambda: (look_at(pid) or (0, "Z"))[1] == "Z" and survivors(mark))
    ended = reap({pid: None})
    assert [(found, os.waitstatus_to_exitcode(status)) for found, status, _, _ in ended] == [(pid, 3)]
    wait_for(lambda: not survivors(mark), 5)
    pid = spawn(b"", [], Variables(ENVIRONMENT), [], f"sleep {mark} & exit 3")[0]
    wait_for(lambda: (look_at(pid) or (0, "Z"))[1] == "Z" and survivors(mark))
    assert reap({})[0][0] == pid and survivors(mark), "of those that are no leaders it is left alone"
    os.killpg(pid, signal.SIGKILL)


def test_stop_asks_and_end_all_counts_on_nobody():
    """`end_all` goes on stopping what is new until nothing is, and says whether anything was there."""
    rounds = iter([{(1 << 30, 1)}, {(1 << 30, 1), (1 << 30, 2)}, {(1 << 30, 1), (1 << 30, 2)}, set()])
    assert not processes.end_all(lambda: next(rounds), 5.0)
    assert processes.end_all(lambda: next(rounds), 5.0)
    assert os.getpid() in all_processes() or sys.platform != "linux"


# ---------------------------------------------------------------- commands


def test_what_the_shell_knows_is_left_to_the_shell():
    assert split_plain("ls -l /tmp") == ["ls", "-l", "/tmp"]
    for command in ("ls  -l", " ls", "ls ", "", "ls *", "a=b ls", "ls\t-l", "ls\n", "ls ü", "echo $HOME", *SHELL_WORDS):
        assert split_plain(command) == [], command


# ---------------------------------------------------------------- outputs


def write(path, data):
    with open(path, "ab") as file:
        file.write(data)


@pytest.mark.parametrize("has_holes", [True, False])
def test_head_and_tail_of_an_output_are_kept(tmp_path, monkeypatch, has_holes):
    """Against the same in memory, for many sizes; whether the file system has holes or not."""
    if not has_holes:
        monkeypatch.setattr(capture, "punch", lambda *_: (_ for _ in ()).throw(OSError))
    elif sys.platform != "linux":
        pytest.skip("skipped: this is for Linux")
    monkeypatch.setattr(capture, "STEP", 4096)
    chance = random.Random(5)
    for round_ in range(60):
        cap = chance.choice([2, 1000, 8192, 100_000])
        output = Output(str(tmp_path / f"out{round_}"), cap)
        Path(output.path).touch()
        everything = b""
        for _ in range(chance.randrange(6)):
            part = chance.randbytes(chance.randrange(1 + 2 * cap))
            everything += part
            write(output.path, part)
            if chance.random() < 0.7:
                output.trim()
        size = output.finish()
        assert Path(output.path).exists() == bool(everything)
        kept = Path(output.path).read_bytes() if everything else b""
        assert size == len(kept)
        if len(everything) <= cap:
            assert kept == everything
            continue
        head = cap - cap // 2
        line = next(line for line in kept[head:].splitlines() if line.startswith(b"[fastsched: "))
        dropped = int(line.split()[1])
        tail = kept[head + len(line) + 2 :]
        assert kept[:head] == everything[:head] and everything.endswith(tail)
        assert head + dropped + len(tail) == len(everything)
        assert len(tail) == cap // 2 or not has_holes


@linux
def test_what_is_beyond_the_cap_takes_no_room_while_it_is_written(tmp_path):
    output = Output(str(tmp_path / "out"), 1 << 20)
    for _ in range(16):
        write(output.path, b"x" * (4 << 20))
        output.trim()
    assert os.stat(output.path).st_size == 64 << 20 and os.stat(output.path).st_blocks * 512 < 3 << 20


def test_an_output_that_is_taken_away_is_left_alone(tmp_path):
    output = Output(str(tmp_path / "gone"), 10)
    output.trim()
    output.finish()
    write(output.path, b"x" * 100)
    output.trim()
    os.truncate(output.path, 3)
    output.trim()
    output.finish()
    assert Path(output.path).stat().st_size == 3 and last_lines(str(tmp_path / "nothing")) == "" == last_lines(None)


def test_last_lines_are_few_and_readable(tmp_path):
    path = str(tmp_path / "out")
    write(path, b"first\n" * 5000 + b"bad \xff byte\nlast\n\n\n")
    said = last_lines(path)
    assert said.endswith("first\nbad \ufffd byte\nlast") and len(said) <= 500
    write(path, b"x" * 100_000)
    assert last_lines(path) == "x" * 500


# ---------------------------------------------------------------- memory


@pytest.fixture
def fake_cgroups(tmp_path, monkeypatch):
    """A folder like a cgroup that is delegated to us, and a /proc/self that says so: a kernel is played for it."""
    own = tmp_path / "cgroup" / "user" / "ours"
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text("3:memory:/elsewhere\n0::/user/ours\n")
    (proc / "mountinfo").write_text(
        "22 1 0:21 / /proc rw - proc proc rw\n"
        f"30 22 0:26 / {tmp_path}/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
    )
    real_mkdir, real_rmdir = os.mkdir, os.rmdir
    files = {
        "cgroup.controllers": "cpu memory pids",
        "cgroup.subtree_control": "",
        "cgroup.procs": "",
        "cgroup.kill": "",
    }
    files |= {"memory.max": "max", "memory.swap.max": "max", "memory.oom.group": "0", "memory.peak": "0"}
    files["memory.events"] = "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n"

    def mkdir(path, mode=0o777):
        real_mkdir(path, mode)
        for name, text in files.items():
            Path(path, name).write_text(text)

    def rmdir(path):
        for name in files:
            os.unlink(os.path.join(path, name))
        real_rmdir(path)

    (tmp_path / "cgroup" / "user").mkdir(parents=True)
    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "rmdir", rmdir)
    os.mkdir(own)
    (own / "cgroup.procs").write_text(f"{os.getpid()}\n")
    return proc, own


def test_a_cgroup_that_is_ours_is_found_and_divided(fake_cgroups):
    proc, own = fake_cgroups
    assert memory.find_cgroup(str(proc)) == (str(own), "")
    ours = memory.divide(str(own), "run")
    assert ours == f"{own}/fastsched-run" and (own / "cgroup.subtree_control").read_text() == "+memory"
    assert Path(ours, "cgroup.subtree_control").read_text() == "+memory"
    assert (own / "fastsched-scheduler" / "cgroup.procs").read_text() == str(os.getpid())
    (own / "cgroup.subtree_control").write_text("memory")
    (own / "cgroup.procs").write_text("")
    assert memory.find_cgroup(str(proc)) == (str(own), "") and memory.divide(str(own), "run") == ours


def test_a_cgroup_that_is_not_ours_is_left_alone_and_why_is_said(fake_cgroups):
    proc, own = fake_cgroups
    (own / "cgroup.procs").write_text(f"{os.getpid()}\n1\n")
    assert "other processes are in its cgroup" in memory.find_cgroup(str(proc))[1]
    (own / "cgroup.controllers").write_text("cpu")
    assert "not among the controllers" in memory.find_cgroup(str(proc))[1]
    (proc / "cgroup").write_text("3:memory:/elsewhere\n")
    assert memory.find_cgroup(str(proc))[1] == memory.find_cgroup(str(proc / "nothing"))[1] == memory.NO_V2


def test_an_attempt_with_a_limit_has_a_cgroup_that_tells_what_happened(fake_cgroups):
    _, own = fake_cgroups
    cgroup = memory.Cgroup(f"{own}/7-1", 300)
    assert Path(cgroup.path, "memory.max").read_text() == str(300 << 20)
    assert Path(cgroup.path, "memory.swap.max").read_text()[0] == "0"
    assert Path(cgroup.path, "memory.oom.group").read_text() == "1"
    assert not cgroup.was_full() and cgroup.peak_kib() == 0
    pid = spawn(b"", [], Variables(ENVIRONMENT), [], "exit 3", procs=cgroup.procs)[0]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert Path(cgroup.path, "cgroup.procs").read_text() == "0", "it has put itself in"
    Path(cgroup.path, "memory.events").write_text("low 0\noom 3\noom_kill 1\n")
    Path(cgroup.path, "memory.peak").write_text(str(300 << 20))
    keeper = Custody.__new__(Custody)
    attempt = Attempt(1, pid, 0.0, None, None)
    attempt.status = signal.SIGKILL
    assert keeper.leave_cgroup(cgroup, attempt)
    assert (attempt.reason, attempt.peak_kib) == ("OUT_OF_MEMORY", 300 << 10) and "300 MB" in attempt.text
    assert not os.path.exists(cgroup.path) and not cgroup.remove()


def test_of_a_cgroup_that_cannot_be_limited_nothing_is_left(fake_cgroups, monkeypatch):
    _, own = fake_cgroups
    monkeypatch.setattr(memory, "put", lambda *_: (_ for _ in ()).throw(PermissionError))
    with pytest.raises(PermissionError):
        memory.Cgroup(f"{own}/7-1", 300)
    assert not os.path.exists(f"{own}/7-1")


def test_a_kill_by_the_kernel_is_hinted_at(monkeypatch):
    counts = iter([5, 6, 6, 6, 6])
    keeper = Custody.__new__(Custody)
    keeper.attempts, keeper.muted, keeper.sayings, keeper.kernel_kills = {}, False, [], 5
    keeper.lane = SimpleNamespace(note_end=lambda key: None)
    monkeypatch.setattr(custody, "kernel_kills", lambda: next(counts))
    for key, status in ((1, 9), (2, 9), (3, 9), (4, 15 << 8)):
        attempt = keeper.attempts[key] = Attempt(key, 0, 0.0, None, None)
        attempt.status = status
        keeper.report(attempt)
    assert ["for want of memory" in message[6] for message in keeper.sayings] == [False, True, False, False]


def test_timers_of_what_has_ended_in_time_do_not_pile_up():
    keeper = Custody.__new__(Custody)
    keeper.attempts, keeper.timers, keeper.n_timers, keeper.next_due = {}, [], 0, 1e9
    alive = keeper.attempts[0] = Attempt(0, 1, 0.0, None, None)
    keeper.at(5.0, lambda *_: None, alive)
    for key in range(1, 20_000):
        keeper.at(1e6 + key, lambda *_: None, Attempt(key, 1, 0.0, None, None))
    assert len(keeper.timers) < 2000 and keeper.timers[0][3] is alive


# ------------------------------------------------------------ both forms


SOME = [
    "a",
    "b c",
    "d=e",
    "'q'",
    "x" * 300,
    "sh*",
    "~",
    "$HOME",
    "é",
    "",
    " ",
    ".",
    "true",
    "\\",
    "#",
    "\t",
    ";",
    "1>2",
]


@linux
def test_both_forms_of_a_start_mean_the_same(tmp_path, monkeypatch):
    """Random lines and lists, run by two agents: the words and the variables that commands see are the same."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    shown = tmp_path / "show"
    shown.write_text("#!/bin/sh\nprintf '[%s]' \"$@\"\nenv | grep -v FASTSCHED_MARK | sort\n")
    shown.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    n_seen = 0
    wires = [Wire(plain=plain) for plain in (False, True)]
    try:
        for key in range(1, 60):
            words = [str(shown), *(chance.choice(SOME) for _ in range(chance.randrange(4)))]
            command = words if chance.random() < 0.4 else " ".join(words)
            told = []
            for i, wire in enumerate(wires):
                out, err = tmp_path / f"{i}.{key}.out", tmp_path / f"{i}.{key}.err"
                wire.start(key, command, stdout=out, stderr=err)
                end = wire.end_of(key)
                texts = [path.read_bytes() if path.exists() else b"" for path in (out, err)]
                told.append((end[0], end[3], *texts))
            assert told[0] == told[1], command
            n_seen += b"FASTSCHED_TASK_ID=t" in told[0][2]
        assert n_seen > 30  # the others are redirected, or wrong
    finally:
        for wire in wires:
            wire.close()


def test_a_start_says_the_same_in_both_forms():
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    orders, frames = [], []
    for key in range(1, 200):
        command = [chance.choice(SOME) for _ in range(3)] if chance.random() < 0.5 else chance.choice(SOME)
        outputs = (f"/logs/é{key}.out", f"/logs/{key}.err") if chance.random() < 0.5 else (None, None)
        limits = chance.choice([None, 0.25, 1e9]), chance.choice([0.0, 5.5]), chance.choice([None, 0, 1 << 40])
        who = f"täsk \udc80 {key}", chance.randrange(1, 1 << 20), chance.choice([0.001, 1.0, 4096.0]), 1 << 40
        orders.append(("start", key, command, *who, *outputs, None, None, None, *limits))
        frames.append(pack_start(key, command, *who, *outputs, *limits))
    assert unpack(b"S" + b"".join(frames)) == orders
    messages = [("beat", float("inf")), *frames[:2], ("stop", 1, 2.0), frames[2]]
    assert Inbox().take(pack(messages)) == [("beat", float("inf")), *orders[:2], ("stop", 1, 2.0), orders[2]]


@pytest.mark.parametrize(
    "more",
    [{"command": "a\0b"}, {"command": ["a", "b\0"]}, {"command": []}, {"timeout_s": 0.2}, {"stderr": "e"}],
    ids=str,
)
def test_what_the_form_of_bytes_cannot_say_is_said_in_the_other(more):
    start = {
        "key": 1,
        "command": "a",
        "task_id": "t",
        "attempt": 1,
        "cpu_cores": 1.0,
        "memory_mb": 1,
        "stdout": None,
        "stderr": None,
        "timeout_s": None,
        "grace_s": 1.0,
        "limit_mb": None,
    }
    assert pack_start(**start) is not None
    assert pack_start(**{**start, **more}) is None


def test_an_output_is_of_its_own_attempt_and_what_is_silent_leaves_no_file(make_wire, tmp_path):
    """One key after the other, silent, loud on one side or on both, failing, and long enough to be looked at."""
    wire = make_wire()
    ways = ["", "echo {}", "echo {} >&2", "echo {}; echo {} >&2; exit 1", "echo {}; sleep 0.3", "sleep 0.3", "exit 1"]
    chance = random.Random(3)
    for n in range(40):
        way = chance.choice(ways) if n > len(ways) else ways[n % len(ways)]
        out, err = tmp_path / f"{n}.out", tmp_path / f"{n}.err"
        wire.start(1 + n % 3, f": ; {way.replace('{}', str(n))}", stdout=out, stderr=err)
        wire.end_of(1 + n % 3)
        outside = way.replace("echo {} >&2", "")
        assert (out.read_text() if out.exists() else None) == (f"{n}\n" if "echo" in outside else None), way
        assert (err.read_text() if err.exists() else None) == (f"{n}\n" if ">&2" in way else None), way
    wire.say(("leave", 0.0))
    assert wire.wait() == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@linux
def test_who_is_left_behind_is_found_though_others_are_young(make_wire, mark):
    """The memory of one attempt is looked at all the time; those that begin and end meanwhile are nobody's orphans."""
    wire = make_wire()
    wire.start(1, "sleep 30", limit_mb=1000)
    for _ in range(30):
        wire.start(2, "sleep 0.04")
        wire.end_of(2)
        wire.start(3, f"env -i setsid sleep {mark} & exit 0")
        assert wire.end_of(3)[0] == 0 and not survivors(mark)
    wire.say(("leave", 0.0))
    assert wire.wait() == 0


@linux
def test_what_is_held_waits_for_what_has_come_and_is_not_started_yet(tmp_path):
    """Many starts that the agent takes a few at a time, and one that is to follow the last of them."""
    wire, word = Wire(), tmp_path / "word"
    try:
        quick = [order(key, ["true"]) for key in range(1, 100)]
        last = order(100, f"echo last >> {word}")
        then = pack_start(101, f"echo then >> {word}", "t101", 1, 1.0, 128, None, None, None, 5.0, None, after=100)
        for _ in range(5):
            word.write_text("")
            wire.say(*quick, last, then)
            wire.end_of(100)
            deadline = time.monotonic() + 20
            while not any(message[1:2] == (101,) for message in wire.heard):
                assert time.monotonic() < deadline
                wire.hear()
            told = next(message for message in wire.heard if message[1:2] == (101,))
            wire.heard.clear()
            assert word.read_text() == ("last\nthen\n" if told[0] == "ended" else "last\n")
    finally:
        wire.close()


@linux
def test_a_command_leads_a_session_and_one_that_follows_another_a_group_in_that_of_the_agent(tmp_path):
    wire = Wire(plain=True)
    try:
        told = []
        for key, after in ((1, 0), (2, 1)):
            out = str(tmp_path / f"{key}")
            more = 1.0, 128, out, out + ".err", None, 5.0, None, after
            wire.say(pack_start(key, ["cat", "/proc/self/stat"], f"t{key}", 1, *more))
        for key in (1, 2):
            assert wire.end_of(key)[0] == 0
            pid, _, _, parent, group, session, terminal = (tmp_path / f"{key}").read_text().split()[:7]
            assert (parent, group, terminal) == (str(wire.pid), pid, "0")
            told.append(session == pid or int(session))
        assert told == [True, wire.pid]
    finally:
        wire.close()
