"""The local engine: its agents, how they are held, and what is left when any of them is killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path

import pytest

if os.name != "posix":
    pytest.skip("skipped: running commands needs POSIX", allow_module_level=True)

from conformance.field import Field, survivors, wait_for
from conformance.makers import make_local
from conformance.test_loss import DEAF, children_of, kill_hard, start_scheduler

from fastsched import Reason, Worker
from fastsched.engines import local, processes
from fastsched.engines.levels import choose_levels
from fastsched.engines.local import LocalEngine, local_levels
from fastsched.events import TaskReturned, WorkerHeard

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="skipped: this is about Linux")
LEVELS = ["namespace", "session"]


@pytest.fixture(params=LEVELS)
def level(request):
    return request.param


@pytest.fixture
def make_field(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []

    def make(level, **more):
        options = {name: more.pop(name) for name in ("cwd", "env", "output_cap_mb") if name in more}
        made.append(Field(make_local(level, **options), **more))
        made[-1].bring_up()
        return made[-1]

    yield make
    for field in made:
        field.close()


@pytest.fixture
def mark():
    text = f"{8000 + os.getpid() % 1000}.{uuid.uuid4().int % 10**12:012}"
    yield text
    wait_for(lambda: not survivors(text), 5)


def agent_of(field, worker_id="w1"):
    return field.engine.hosts[worker_id].pid


# ---------------------------------------------------------------- killed


def test_a_killed_agent_takes_its_commands_with_it(make_field, level, mark):
    """Also those that have left their session and wiped their environment; only then is the loss told."""
    field = make_field(level)
    for round_ in range(5):
        field.start(f"a{round_}", DEAF.format(mark=mark))
        field.wait_until(lambda: len(survivors(mark)) >= 3)
        os.kill(agent_of(field), signal.SIGKILL)
        loss = field.loss_of("w1", 5)
        assert not survivors(mark) and loss.message == "its agent ended unexpectedly"
        field.bring_up()
    assert field.run("exit 3").exit_code == 3 and not field.ends()


def test_a_killed_agent_is_noticed_at_once(make_field, level):
    field = make_field(level, heartbeat_s=100, lease_s=1000)
    before = time.monotonic()
    os.kill(agent_of(field), signal.SIGKILL)
    field.loss_of("w1", 5)
    assert time.monotonic() - before < 1


def test_a_stopped_agent_is_ended_with_its_commands(make_field, level, mark):
    field = make_field(level)
    field.start("a", DEAF.format(mark=mark))
    field.wait_until(lambda: len(survivors(mark)) >= 3)
    os.kill(agent_of(field), signal.SIGSTOP)
    field.engine.lose("w1", "silent")
    field.loss_of("w1", 5)
    assert not survivors(mark)


def test_scheduler_and_agents_killed_together(make_field, level, mark):
    """In a namespace the kernel ends the commands; of sessions the next scheduler of the run does."""
    make_local(level).close(0)
    run_id = uuid.uuid4().hex
    scheduler = start_scheduler(f"local-{level}", run_id, DEAF.format(mark=mark), f"sleep {mark}")
    wait_for(lambda: len(survivors(mark)) >= 4)
    agents = children_of(scheduler.pid)
    os.kill(scheduler.pid, signal.SIGSTOP)
    for pid in [*agents, scheduler.pid]:
        os.kill(pid, signal.SIGKILL)
    kill_hard(scheduler)
    if level == "namespace":
        wait_for(lambda: not survivors(mark), 5)
    else:
        time.sleep(0.3)
        assert len(survivors(mark)) >= 3
        make_field(level).close()
        assert len(survivors(mark)) >= 3, "what is of another run is left alone"
    make_field(level, run_id=run_id)
    assert not survivors(mark)


def test_a_command_cannot_end_its_agent_in_a_namespace(make_field):
    field = make_field("namespace")
    assert field.run("kill -9 1; kill -STOP 1; kill -9 $PPID; exit 4").exit_code == 4
    assert field.run("exit 5").exit_code == 5


# ---------------------------------------------------------------- levels


def test_the_levels_are_what_is_in_force(make_field, level, tmp_path):
    field = make_field(level)
    levels = field.engine.levels()
    assert levels.containment == level and levels == local_levels(level)
    out = tmp_path / "out"
    field.run("echo $PPID", stdout=str(out))
    assert (out.read_text() == "1\n") == (level == "namespace")
    assert "watchdog" in levels.memory or levels.memory == "cgroup v2"


def test_in_a_namespace_processes_are_seen_by_their_numbers(make_field, tmp_path):
    """/proc is that of the namespace, and numbers do not begin alike on every worker."""
    field = make_field("namespace")
    field.bring_up("w2")
    numbers = []
    for worker_id in ("w1", "w2"):
        out = tmp_path / worker_id
        field.run("echo $$; cat /proc/$$/comm; ls /proc | grep -c '^[0-9]'", stdout=str(out), worker_id=worker_id)
        number, name, count = out.read_text().split()
        assert name == "sh" and int(count) <= 5
        numbers.append(number)
    if os.path.exists("/proc/sys/kernel/ns_last_pid"):
        assert numbers[0] != numbers[1]


def test_another_level_is_refused():
    with pytest.raises(ValueError, match="auto, namespace or session"):
        LocalEngine(containment="jail")
    with pytest.raises(ValueError, match="auto, namespace or session"):
        local_levels("jail")


def test_where_there_are_no_namespaces_that_is_said(monkeypatch):
    monkeypatch.setattr("fastsched.engines.levels.try_spaces", lambda kind: "Operation not permitted")
    spaces, levels = choose_levels("auto")
    assert (spaces, levels.containment) == ("", "session") and "not permitted" in levels.notes[0]
    with pytest.raises(OSError, match="not permitted"):
        LocalEngine(containment="namespace")


def test_what_was_written_before_a_loss_is_kept(make_field, level, tmp_path):
    """However young the attempt is; and nothing else is left in the folder."""
    field = make_field(level)
    logs = tmp_path / "logs"
    logs.mkdir()

    def holds(n):
        with contextlib.suppress(FileNotFoundError):  # it is just being given its name
            return sum(path.stat().st_size > 0 for path in logs.iterdir()) == n

    for attempt in range(1, 6):
        out, err = logs / f"a.{attempt}.out", logs / f"a.{attempt}.err"
        field.start("a", "echo kept; exec sleep 60", attempt=attempt, stdout=str(out), stderr=str(err))
        wait_for(lambda n=attempt: holds(n))
        field.engine.lose("w1", "lost")
        field.loss_of("w1")
        assert out.read_text() == "kept\n" and not err.exists()
        field.bring_up()
    field.close()
    assert len(list(logs.iterdir())) == 5


def test_without_a_lane_nothing_is_held(make_field, level, monkeypatch):
    monkeypatch.setattr("fastsched.engines.hosts.HAS_FAST_LANE", False)
    field = make_field(level)
    field.start("a", "sleep 0.2")
    field.start("b", "touch word", after="a")
    assert field.find(TaskReturned).task_id == "b"
    assert field.end_of("a").reason is None and not os.path.exists("word")


def test_auto_takes_no_user_namespace(monkeypatch):
    monkeypatch.setattr("fastsched.engines.levels.try_spaces", lambda kind: "" if kind == "user" else "no")
    assert choose_levels("auto")[0] == "" and choose_levels("namespace")[0] == "user"
    assert any("ssh" in note for note in choose_levels("namespace")[1].notes)


UNPRIVILEGED = """
    import os, sys
    from fastsched import Worker
    from fastsched.engines.local import LocalEngine
    from fastsched.events import AttemptEnded, Start
    level, mark = sys.argv[1:]
    engine = LocalEngine(containment=level)
    engine.open(f"run {mark}", 1.0, 10.0)
    engine.bring_up(Worker("w", 1, 512), 1)
    while not engine.wait_reports(1.0):
        pass
    command = f"env -i setsid sleep {mark} & sleep 0.2; [ $(id -u) = 54322 ] && touch mine && exit 7"
    engine.send([Start("t", "w", 1, 1, command, 1.0, 128, cwd=os.getcwd())])
    ends = []
    while not ends:
        ends = [report for report in engine.wait_reports(1.0) if isinstance(report, AttemptEnded)]
    print(engine.levels().containment, engine.spaces or "-", ends[0].exit_code)
    engine.close(1.0)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="skipped: only root can become somebody else")
@pytest.mark.parametrize("asked", ["auto", "session", "namespace"])
def test_without_privilege(asked, mark):
    """Nothing survives there either, and the ids are the own ones."""
    somebody = {"user": 54322, "group": 54322, "extra_groups": []}
    try:
        subprocess.run([sys.executable, "-c", "import fastsched"], stderr=subprocess.DEVNULL, check=True, **somebody)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("skipped: another user cannot read this installation")
    folder = Path("/tmp") / f"fastsched-{uuid.uuid4().hex}"
    folder.mkdir()
    os.chmod(folder, 0o777)
    try:
        code = textwrap.dedent(UNPRIVILEGED)
        done = subprocess.run(
            [sys.executable, "-c", code, asked, mark],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            **somebody,
        )
        if asked == "namespace" and "no PID namespaces" in done.stderr:
            pytest.skip("skipped: there are no user namespaces")
        expected = "namespace user 7" if asked == "namespace" else "session - 7"
        assert done.stdout.strip() == expected, done.stderr
        assert (folder / "mine").stat().st_uid == 54322 and not survivors(mark)
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


LATE = """
    import os, sys
    from pathlib import Path
    from fastsched import Worker
    from fastsched.engines.local import LocalEngine
    from fastsched.events import AttemptEnded, Start, Stop
    mark, somebody = sys.argv[1:]
    engine = LocalEngine(containment="session")
    engine.open(f"run {mark}", 1.0, 10.0)
    engine.bring_up(Worker("w", 1, 512), 1)
    command = f"touch up; while [ ! -e go ]; do sleep 0.02; done; exec ./nap {mark}"
    words = ["setpriv", f"--reuid={somebody}", "--clear-groups", "sh", "-c", command]
    while not engine.wait_reports(1.0):
        pass
    engine.send([Start("t", "w", 1, 1, words, 1.0, 128, cwd=os.getcwd())])
    while not os.path.exists("up"):
        engine.wait_reports(0.02)
    engine.send([Stop("t", "w", 1, 1, 0.0)])
    ends = []
    for _ in range(25):
        ends += [report for report in engine.wait_reports(0.02) if isinstance(report, AttemptEnded)]
    Path("go").touch()
    print("it was killed" if ends else "it could not be killed")
    for _ in range(500):
        ends = ends or [report for report in engine.wait_reports(0.02) if isinstance(report, AttemptEnded)]
    print(ends[0].reason, ends[0].signal) if ends else print("it goes on")
    engine.close(0.0)
"""


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="skipped: it takes root, and setpriv")
def test_what_cannot_be_killed_yet_is_killed_when_it_can_be(mark):
    """A command that is somebody else's for a while, as under sudo: nobody without the privilege can signal it."""
    folder = Path("/tmp") / f"fastsched-{uuid.uuid4().hex}"  # where others may look
    folder.mkdir()
    os.chmod(folder, 0o777)
    without = ["setpriv", "--inh-caps=-kill", "--bounding-set=-kill"]
    try:
        shutil.copy(shutil.which("sleep"), folder / "nap")
        os.chmod(folder / "nap", 0o4755)  # who executes it may be signalled by root again
        if os.statvfs(folder).f_flag & os.ST_NOSUID or subprocess.run([*without, "true"]).returncode:
            pytest.skip("skipped: such privileges are not to be had here")
        code = [sys.executable, "-c", textwrap.dedent(LATE), mark, "54322"]
        done = subprocess.run([*without, *code], cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.stdout == "it could not be killed\nCANCELLED 9\n", done.stderr
        assert not survivors(mark)
    finally:
        shutil.rmtree(folder)


# ---------------------------------------------------------------- what it takes


def test_where_nothing_can_be_run_it_can_be_imported():
    """Planning works everywhere."""
    code = """
        import os, select, signal, sys
        for missing in "os.sysconf os.killpg os.getuid os.waitid select.epoll select.poll signal.SIGCONT".split():
            exec(f"del {missing}")
        sys.platform = "win32"
        from fastsched.engines.local import LocalEngine
        os.name = "nt"
        try:
            LocalEngine()
        except OSError as error:
            print(error)
    """
    # What it stands on is imported before, for that is another matter.
    before = "import fastsched, msgspec, subprocess, asyncio, sys\n"
    before += "for name in [n for n in sys.modules if n.startswith('fastsched.engines')]: del sys.modules[name]\n"
    done = subprocess.run([sys.executable, "-c", before + textwrap.dedent(code)], capture_output=True, text=True)
    assert "needs a POSIX system" in done.stdout, done.stderr


def test_commands_are_given_the_environment_and_nothing_else(make_field, tmp_path):
    """Not what an interpreter adds to its own."""
    field = make_field("session", env={"PATH": os.environ["PATH"], "ONLY": "this"}, cwd="/")
    out = tmp_path / "out"
    field.run(["env"], stdout=str(out))
    names = {line.split("=")[0] for line in out.read_text().splitlines()}
    assert {name for name in names if not name.startswith("FASTSCHED_") and "_THREADS" not in name} == {"PATH", "ONLY"}
    assert sum(name.startswith("FASTSCHED_MARK_") for name in names) == 1
    field.run(["pwd"], stdout=str(out))
    assert out.read_text() == "/\n"


FEW_FILES = """
    import os, sys
    from fastsched import Worker
    from fastsched.engines.local import LocalEngine
    from fastsched.events import AttemptEnded, Start, WorkerHeard
    engine = LocalEngine()
    engine.open(f"run {os.getpid()}", 1.0, 10.0)
    n = int(sys.argv[1])
    for i in range(n):
        engine.bring_up(Worker(f"w{i}", 1, 512), 1)
    names = [(f"t{k}.{i}", f"w{i}") for k in range(40) for i in range(n)]
    engine.send([Start(*name, 1, 1, "[ $(ulimit -n) = 64 ]", 1.0, 128) for name in names])
    ends = []
    while len(ends) < 40 * n:
        ends += [report for report in engine.wait_reports(1.0) if isinstance(report, AttemptEnded)]
    print(sum(end.exit_code == 0 for end in ends))
    engine.close(1.0)
"""


@pytest.mark.parametrize(("limit", "n_workers"), [("ulimit -n 64", 8), ("ulimit -Sn 64; ulimit -Hn 200", 40)])
def test_few_descriptors_are_enough(limit, n_workers):
    """40 commands at a time on each of 8 workers with 64; where the hard limit is higher, for more workers than that.

    Commands are given the limit that this process was given.
    """
    command = f'{limit}; exec "$@"'
    arguments = ["sh", "-c", command, "sh", sys.executable, "-c", textwrap.dedent(FEW_FILES), str(n_workers)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str(40 * n_workers), done.stderr


def test_no_descriptor_is_left_open(level):
    make_local(level).close(0)

    def rounds(n):
        field = Field(make_local(level))
        for _ in range(n):
            field.bring_up()
            field.run("exit 1")
            field.engine.lose("w1", "again")
            field.loss_of("w1")
        field.bring_up()
        field.close()
        return sorted(os.listdir("/proc/self/fd"))

    others = processes.children_of(os.getpid())  # who begins processes may keep one to watch over them
    before = rounds(1)
    assert rounds(8) == before and processes.children_of(os.getpid()) == others


def test_a_worker_that_cannot_be_brought_up_raises(make_field, monkeypatch):
    field = make_field("session")
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(local, "spawn_agent", lambda *_: (_ for _ in ()).throw(OSError(11, "try again")))
    with pytest.raises(OSError, match="try again"):
        field.engine.bring_up(Worker("w2", 1, 1), 1)
    assert len(os.listdir("/proc/self/fd")) == before and "w2" not in field.engine.hosts


def test_more_attempts_than_there_are_marks_are_refused(make_field, monkeypatch):
    monkeypatch.setattr("fastsched.engines.hosts.MOST_KEYS", 3)
    field = make_field("session")
    for i in range(4):
        field.start(f"t{i}", "sleep 0.5")
    assert field.end_of("t3").reason is Reason.SPAWN
    assert [field.end_of(f"t{i}").reason for i in range(3)] == [None] * 3
    assert field.run("true").reason is None


def test_numbers_of_agents_are_used_again_when_nobody_has_them(make_field, monkeypatch):
    monkeypatch.setattr(local, "MOST_AGENTS", 3)
    field = make_field("session")
    for round_ in range(4):
        field.bring_up(f"w{round_ + 2}")
        assert len({host.mark.agent for host in field.engine.hosts.values()}) == 2
        field.engine.lose(f"w{round_ + 2}", "again")
        field.loss_of(f"w{round_ + 2}")
        assert field.run("exit 3").exit_code == 3, "the end of one is not the end of another"
    field.bring_up("w8")
    field.bring_up("w9")
    with pytest.raises(OSError, match="no marks for more"):
        field.bring_up("w10")


def test_silent_reports_do_not_keep_agents_waiting(make_field):
    """As long as it waits for reports the engine gives signs of life, also within one long wait."""
    field = make_field("session", heartbeat_s=0.2, lease_s=0.8)
    field.start("a", "sleep 2; exit 3")
    field.find(WorkerHeard)
    while not (found := [r for r in field.engine.wait_reports(5.0) if not isinstance(r, WorkerHeard)]):
        pass
    assert found[0].exit_code == 3


MANY_AT_A_TIME = """
    import resource
    from fastsched import Task, Worker, run
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    command = "echo out; echo err >&2; sleep 0.3"
    tasks = [Task(f"t{i}", command, cpu_cores_required=1, memory_required_mb=1) for i in range(150)]
    result = run(tasks, [Worker("w", 150, 4096)], max_retries=0)
    assert result.all_completed, result.reasons
    for attempt in result.attempts:
        assert open(attempt.stdout).read() == "out\\n" and open(attempt.stderr).read() == "err\\n"
"""


def test_more_commands_at_a_time_than_descriptors(tmp_path):
    """The files that are held ready for outputs leave enough for everything else."""
    subprocess.run([sys.executable, "-c", textwrap.dedent(MANY_AT_A_TIME)], cwd=tmp_path, check=True, timeout=60)


def test_whoever_ignores_signals_starts_agents_that_do_not(tmp_path):
    """Ignored signals are inherited: nobody would hear of the end of a command, nor a command that it is to end."""
    program = """
        import signal, sys, time
        from fastsched import Scheduler, Task, Worker
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        with Scheduler([Worker("w", 2, 1024)], run_dir="r") as scheduler:
            assert scheduler.submit(Task("a", "true")).result(20).exit_code == 0
            handle = scheduler.submit(Task("b", "exec sleep 30"))
            while not handle.running():
                time.sleep(0.01)
            time.sleep(0.3)
            began = time.monotonic()
            handle.cancel()
            assert scheduler.wait(20) and time.monotonic() - began < 4, "it waited for the grace"
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize("level", LEVELS)
def test_an_agent_that_is_told_to_end_is_lost_and_nothing_is_cancelled(make_field, level, mark):
    """Nobody has cancelled what it ran: so it is tried again, at no charge."""
    field = make_field(level)
    field.start("a", f"sleep {mark}")
    field.wait_until(lambda: survivors(mark))
    os.kill(field.engine.hosts["w1"].pid, signal.SIGTERM)
    assert field.loss_of("w1").message == "its agent ended unexpectedly: it was sent SIGTERM"
    assert not field.ends() and not survivors(mark)


def test_in_a_namespace_a_command_cannot_tell_its_agent_to_end(make_field):
    field = make_field("namespace")
    field.start("a", "sleep 1; exit 4")
    assert field.run("kill 1; kill $PPID; sleep 0.3; exit 5").exit_code == 5
    assert field.end_of("a").exit_code == 4


def test_the_environment_of_commands_is_not_that_of_their_agent(make_field, tmp_path):
    """What a command needs may be what keeps this Python from starting."""
    (tmp_path / "libc.so.6").write_text("no library")
    field = make_field("session", env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(tmp_path)})
    assert field.run("exit 0").exit_code != 0, "that is for the command alone"


def test_why_an_agent_did_not_come_up_is_said(make_field, monkeypatch):
    field = make_field("session")
    monkeypatch.setattr("fastsched.engines.hosts.BOOT", "raise SystemExit(7)")
    field.engine.bring_up(Worker("w2", 1, 512), 1)
    assert field.loss_of("w2").message == "its agent ended unexpectedly: exit code 7"
