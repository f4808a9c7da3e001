"""What was kept is read back, or it is said that it is not: after deaths, damage, and with a full disk."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import textwrap
import time

import pytest
from journal_faults.damage import KINDS, judge, make_victims

from fastsched.errors import JournalDamaged, JournalError, JournalFull, JournalLocked
from fastsched.runtime.chain import Head
from fastsched.runtime.disk import Folder
from fastsched.runtime.journal import DATABASE, HEAD, WAL, Journal, is_held, read_journal

pytestmark = pytest.mark.skipif(os.name != "posix", reason="skipped: a run needs POSIX")
KILLS = int(os.environ.get("FASTSCHED_KILLS", "10"))
TRIES = int(os.environ.get("FASTSCHED_DAMAGES", "25"))  # of each kind, for each victim


def bodies(n, seed=0):
    rng = random.Random(seed)
    return [rng.randbytes(rng.choice((0, 1, 50, 150, 900, 9000))) for _ in range(n)]


def keep(folder, given, group=3):
    """A journal of these, appended in groups and synced."""
    journal = Journal(folder)
    for at in range(0, len(given), group):
        journal.append_all(given[at : at + group])
        journal.sync()
    return journal


def play(script, *args, **named):
    """Start a program that has these lines after the imports."""
    head = "import os, signal, sys, time\nfrom fastsched.runtime.journal import Journal\n"
    code = [sys.executable, "-c", head + textwrap.dedent(script), *map(str, args)]
    return subprocess.Popen(code, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, **named)


def test_what_was_appended_is_read_back(tmp_path):
    given = bodies(20)
    journal = keep(tmp_path / "j", given)
    assert journal.n_written == journal.n_synced == 20 and journal.append_all([b"last"]) == 21
    assert journal.n_synced == 20 and journal.append_all([]) == 21
    journal.close()
    again = Journal(tmp_path / "j")
    assert list(again.read()) == [*given, b"last"] and again.damage is None and again.n_synced == 21
    assert again.append_all([b"more", b""]) == 23
    again.close()
    assert read_journal(tmp_path / "j") == ([*given, b"last", b"more", b""], None)
    with pytest.raises(FileNotFoundError):
        read_journal(tmp_path / "k")
    with pytest.raises(JournalError, match="is closed"):
        again.append_all([b"x"])


def test_reading_leaves_everything_as_it_is(tmp_path):
    """That of a journal which a crash left behind, too: SQLite would write the WAL back."""
    journal = keep(tmp_path / "j", given := bodies(10))
    shutil.copytree(tmp_path / "j", tmp_path / "k")
    journal.close()
    before = {path.name: path.read_bytes() for path in (tmp_path / "k").iterdir()}
    assert before[WAL]
    (tmp_path / "k").chmod(0o500)
    try:
        assert read_journal(tmp_path / "k") == (given, None)
    finally:
        (tmp_path / "k").chmod(0o700)
    assert {path.name: path.read_bytes() for path in (tmp_path / "k").iterdir()} == before


# ---------------------------------------------------------------- the lock


def test_only_one_scheduler_holds_a_journal(tmp_path):
    assert not is_held(tmp_path)
    journal = Journal(tmp_path)
    assert is_held(tmp_path)
    for refused in (Journal, read_journal):
        with pytest.raises(JournalLocked, match=f"process {os.getpid()} since 2"):
            refused(tmp_path)
    journal.append_all([b"x"])
    journal.close()
    assert not is_held(tmp_path)
    (tmp_path / "journal.lock").write_text("process 1 since 1999-01-01 00:00:00")
    Journal(tmp_path).close()


def test_a_scheduler_waits_for_readers(tmp_path):
    import fcntl

    Journal(tmp_path).close()
    script = "print('come', flush=True); Journal(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with open(tmp_path / "journal.lock") as lock, play(script, tmp_path) as other:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert other.stdout.readline() == "come\n"
        assert read_journal(tmp_path) == ([], None)  # readers do not keep each other off
        time.sleep(0.2)
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert other.stdout.readline() == "held\n"
        other.stdin.close()


def test_the_lock_is_freed_by_the_death_of_its_holder_and_by_nothing_else(tmp_path):
    """Not by a file that is removed or says otherwise, nor kept by a command or a fork that outlives the holder."""
    script = """
        journal = Journal(sys.argv[1])
        os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
        if os.fork() == 0:
            print("held", flush=True)
        time.sleep(60)
    """
    with play(script, tmp_path, start_new_session=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(JournalLocked, match=f"process {holder.pid} since"):
                Journal(tmp_path)
            holder.kill()
            holder.wait()
            Journal(tmp_path).close()
        finally:
            os.killpg(holder.pid, signal.SIGKILL)


def test_a_fork_leaves_the_journal_to_its_parent(tmp_path):
    """SQLite would take the end of the child for that of the journal, and remove the WAL that the parent appends to."""
    script = """
        journal = Journal(sys.argv[1])
        journal.append_all([b"before"])
        child = os.fork()
        if child == 0:
            try:
                journal.append_all([b"of the child"])
            except OSError as error:
                assert "was forked" in str(error)
                journal.close()
                sys.exit(7)
            sys.exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        journal.append_all([b"after"])
        print("appended", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with play(script, tmp_path) as parent:
        assert parent.stdout.readline() == "appended\n"
    assert read_journal(tmp_path) == ([b"before", b"after"], None)


# ---------------------------------------------------------------- deaths


KEEPER = """
    rng = __import__("random").Random(sys.argv[2])
    journal = Journal(sys.argv[1])
    assert journal.damage is None
    number = journal.n_written
    while True:
        n = rng.choice((1, 1, 2, 50))
        number = journal.append_all([b"%d" % (number + 1 + i) * rng.choice((1, 1, 1000)) for i in range(n)])
        print(number, flush=True)
        if rng.random() < 0.1:
            journal.sync()
"""


def test_what_was_acknowledged_survives_kill_minus_nine(tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    known = 0
    for life in range(KILLS):
        with play(KEEPER, tmp_path, f"{seed} {life}") as keeper:
            for _ in range(rng.randrange(0, 200)):
                known = int(keeper.stdout.readline())
            time.sleep(rng.random() * 0.002)
            keeper.kill()
            for line in keeper.stdout:
                known = int(line) if line.endswith("\n") else known
        kept, damage = read_journal(tmp_path)
        assert damage is None and known <= len(kept) <= known + 100, "it was acknowledged"
        for i, body in enumerate(kept):
            assert body in (b"%d" % (i + 1), b"%d" % (i + 1) * 1000)


# ---------------------------------------------------------------- damage


@pytest.fixture(scope="module")
def victims(tmp_path_factory):
    return list(make_victims(tmp_path_factory.mktemp("victims")))


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_spoiled_is_found_or_does_not_matter(kind, victims, tmp_path):
    """Some of what `python -m journal_faults` tries."""
    n_detected = 0
    for victim in victims:
        counts = judge(tmp_path, KINDS[kind](victim, TRIES), victim)
        print(victim.name, dict(counts))
        assert counts["undetected"] == 0 and counts["harmless"] > 0
        n_detected += counts["detected"]
    assert n_detected > 0


def spoil(path, first):
    """Change a record, which begins like this, wherever a copy of it stands."""
    content = path.read_bytes()
    assert first in content
    path.write_bytes(content.replace(first, bytes([first[0] ^ 1]) + first[1:]))


def test_damage_says_where_and_how_much(tmp_path):
    given = bodies(30)
    given[20] = b"here it is"
    keep(tmp_path, given).close()
    spoil(tmp_path / DATABASE, b"here it is")
    damage = Journal(tmp_path).damage
    assert (damage.n_good, damage.n_lost) == (20, 10) and str(damage) == "record 21 was changed"


def test_a_record_that_is_missing_is_said_to_be(tmp_path):
    import sqlite3

    keep(tmp_path, given := bodies(30)).close()
    other = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
    other.execute("DELETE FROM record WHERE number = 11")
    other.close()
    kept, damage = read_journal(tmp_path)
    assert kept == given[:10] and str(damage) == "record 11 is missing" and damage.n_lost == 20


def test_the_wal_of_an_emptied_database_stays(tmp_path):
    """SQLite would remove it."""
    journal = keep(tmp_path / "j", bodies(10))
    shutil.copytree(tmp_path / "j", tmp_path / "k")
    journal.close()
    before = (tmp_path / "k" / WAL).read_bytes()
    (tmp_path / "k" / DATABASE).write_bytes(b"")
    journal = Journal(tmp_path / "k")
    assert (journal.damage.n_good, journal.damage.n_lost) == (0, 10) and "missing or empty" in str(journal.damage)
    journal.close()
    assert (tmp_path / "k" / WAL).read_bytes() == before


def test_what_was_interrupted_is_not_half_kept(tmp_path):
    class Interrupted:
        """A connection in which Ctrl-C comes before a commit."""

        def __init__(self, connection):
            self.connection = connection

        def __getattr__(self, name):
            return getattr(self.connection, name)

        def execute(self, sql, *args):
            if sql == "COMMIT":
                raise KeyboardInterrupt
            return self.connection.execute(sql, *args)

    journal = Journal(tmp_path)
    journal.append_all([b"one"])
    connection = journal._connection
    journal._connection = Interrupted(connection)
    with pytest.raises(KeyboardInterrupt):
        journal.append_all([b"two", b"three"])
    journal._connection = connection
    assert journal.n_written == 1 and journal.append_all([b"other"]) == 2
    journal.close()
    assert read_journal(tmp_path) == ([b"one", b"other"], None)


def test_nothing_is_appended_after_damage_until_it_is_cut(tmp_path):
    given = bodies(30)
    given[20] = b"here it is"
    keep(tmp_path, given).close()
    spoil(tmp_path / DATABASE, b"here it is")
    before = {name: (tmp_path / name).read_bytes() for name in (DATABASE, HEAD)}
    journal = Journal(tmp_path)
    assert list(journal.read()) == given[:20]
    for refused in (journal.sync, lambda: journal.append_all([b"x"])):
        with pytest.raises(JournalDamaged, match="record 21 was changed; 20 whole, 10 lost") as error:
            refused()
        assert (error.value.n_good, error.value.n_lost) == (20, 10)
    journal.close()
    assert {name: (tmp_path / name).read_bytes() for name in (DATABASE, HEAD)} == before
    journal = Journal(tmp_path)
    journal.cut()
    assert journal.damage is None and journal.append_all([b"x"]) == 21
    journal.close()
    assert read_journal(tmp_path) == ([*given[:20], b"x"], None)
    assert (tmp_path / DATABASE).read_bytes() == before[DATABASE]
    assert (tmp_path / f"{DATABASE}-head.damaged").read_bytes() == before[HEAD]


def test_a_damaged_wal_is_kept_aside(tmp_path):
    given = bodies(30)
    given[20] = b"here it is"
    journal = keep(tmp_path / "j", given)
    shutil.copytree(tmp_path / "j", tmp_path / "k")
    journal.close()
    spoil(tmp_path / "k" / WAL, b"here it is")
    before = (tmp_path / "k" / WAL).read_bytes()
    for _ in range(2):
        journal = Journal(tmp_path / "k")
        assert journal.damage.n_good + journal.damage.n_lost == 30 and journal.damage.n_good in (18, 19, 20)
        journal.close()
        assert (tmp_path / "k" / f"{WAL}.damaged").read_bytes() == before


def test_what_stands_before_a_cut_is_read(tmp_path):
    keep(tmp_path, given := bodies(100)).close()
    content = (tmp_path / DATABASE).read_bytes()
    (tmp_path / DATABASE).write_bytes(content[: len(content) // 2 + 100])
    kept, damage = read_journal(tmp_path)
    assert kept == given[: len(kept)] and 30 < len(kept) < 70 and damage.n_lost == 100 - len(kept)


def test_a_journal_that_has_lost_its_head_says_so(tmp_path):
    keep(tmp_path, given := bodies(10)).close()
    (tmp_path / HEAD).write_bytes(bytes(8192))
    journal = Journal(tmp_path)
    assert journal.damage.n_good == 10 and journal.damage.n_lost == 0 and "cannot be read" in str(journal.damage)
    journal.cut()
    journal.close()
    assert read_journal(tmp_path) == (given, None)


def test_another_journal_in_its_place_is_found(tmp_path):
    keep(tmp_path / "j", bodies(10)).close()
    keep(tmp_path / "k", bodies(12, seed=1)).close()
    shutil.copy(tmp_path / "k" / DATABASE, tmp_path / "j" / DATABASE)
    kept, damage = read_journal(tmp_path / "j")
    assert kept == [] and damage.n_lost == 10 and "another journal" in str(damage)


def test_a_record_of_another_journal_among_its_own_is_found(tmp_path):
    """It is whole, with a checksum that was right where it came from."""
    import sqlite3

    keep(tmp_path / "j", given := bodies(10)).close()
    keep(tmp_path / "k", bodies(10, seed=1)).close()
    mine = sqlite3.connect(tmp_path / "j" / DATABASE, isolation_level=None)
    mine.execute("ATTACH ? AS other", (str(tmp_path / "k" / DATABASE),))
    mine.execute("REPLACE INTO record SELECT * FROM other.record WHERE number = 6")
    mine.close()
    kept, damage = read_journal(tmp_path / "j")
    assert kept == given[:5] and str(damage) == "record 6 was changed" and damage.n_lost == 5


def test_a_record_that_changes_while_a_journal_is_held_is_found(tmp_path):
    given = [b"here it is", *bodies(200)]
    keep(tmp_path, given).close()
    journal = Journal(tmp_path)
    spoil(tmp_path / DATABASE, b"here it is")
    list(journal._connection.execute("PRAGMA shrink_memory"))
    with pytest.raises(JournalDamaged, match="record 1 was changed; 0 whole, 201 lost"):
        list(journal.read())
    journal.close()


def test_a_journal_that_is_removed_while_it_is_held_says_so(tmp_path):
    journal = keep(tmp_path / "j", bodies(3))
    shutil.rmtree(tmp_path / "j")
    journal.append_all([b"x"])
    with pytest.raises(JournalError, match="was removed by somebody"):
        journal.sync()
    with pytest.raises(JournalError, match="was removed by somebody"):
        journal.append_all([b"x"])
    journal.close()
    assert not (tmp_path / "j").exists()


def test_a_journal_of_a_later_version_is_left_alone(tmp_path, monkeypatch):
    keep(tmp_path, [b"x"]).close()
    with monkeypatch.context() as later:
        later.setattr("fastsched.runtime.chain.FORMAT", 2)
        head = Head(9, 0, 1, bytes(16)).encode()
    with open(tmp_path / HEAD, "r+b") as file:
        file.write(head)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for refused in (Journal, read_journal):
        with pytest.raises(JournalError, match="later version"):
            refused(tmp_path)
    assert not is_held(tmp_path)
    before["journal.lock"] = (tmp_path / "journal.lock").read_bytes()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_database_that_another_program_uses_is_not_called_damaged(tmp_path):
    import sqlite3

    keep(tmp_path, given := bodies(3)).close()
    other = sqlite3.connect(tmp_path / DATABASE)
    other.execute("SELECT * FROM record").fetchone()
    with pytest.raises(JournalError, match="cannot be opened: database is locked"):
        Journal(tmp_path)
    other.close()
    assert read_journal(tmp_path) == (given, None)


# ---------------------------------------------------------------- a full disk


def test_with_a_full_disk_nothing_is_half_kept_and_it_goes_on_when_there_is_room(tmp_path):
    """A limit on the size of files stands for a full disk: it fails in the same places."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    given, full = [], 0
    journal = Journal(tmp_path)
    try:
        while full < 20:
            body = rng.randbytes(rng.randrange(1, 60_000))
            size = max(p.stat().st_size for p in tmp_path.iterdir())
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + rng.randrange(1, 40_000), before[1]))
            try:
                journal.append_all([body, b"and"])
                given += [body, b"and"]
            except JournalFull:
                full += 1
            journal.sync()
            assert journal.n_written == journal.n_synced == len(given)
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            if rng.random() < 0.5:
                journal.append_all([b"room"])
                journal.sync()
                given.append(b"room")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    journal.close()
    assert read_journal(tmp_path) == (given, None)


def test_half_a_write_is_none(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    file = Folder(tmp_path).open("file")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (110, before[1]))
        with pytest.raises(OSError, match="No space left"):
            file.write(bytes(64), 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
        file.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte, where the test may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if (
        sys.platform != "linux"
        or shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip("skipped: no right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)  # though a test that failed holds files there


def test_a_disk_that_was_full_twenty_times_has_kept_what_was_acknowledged(small_disk, monkeypatch):
    monkeypatch.setattr("fastsched.runtime.journal.CHECKPOINT_BYTES", 100_000)
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    ballast = small_disk / "ballast"
    for _ in range(20):
        for path in (small_disk / "j").glob("*"):
            path.unlink()
        journal, given = Journal(small_disk / "j"), []
        ballast.write_bytes(bytes(rng.randrange(200_000, 700_000)))
        with pytest.raises(JournalFull):
            while True:
                body = rng.randbytes(rng.randrange(1, 30_000))
                journal.append_all([body, b"and"])
                given += [body, b"and"]
                if rng.random() < 0.7:
                    journal.sync()
        journal.sync()  # of what could be kept
        assert journal.n_written == journal.n_synced == len(given)
        is_closed = rng.random() < 0.3  # though there is no room to write the WAL back
        if is_closed:
            journal.close()
            assert read_journal(small_disk / "j") == (given, None)
        ballast.unlink()
        if is_closed:
            journal = Journal(small_disk / "j")
        journal.append_all([body])
        journal.close()
        assert read_journal(small_disk / "j") == ([*given, body], None)


# ---------------------------------------------------------------- speed


def test_what_it_costs(tmp_path):
    """Printed for whoever looks (`pytest -s`); not asserted."""
    journal = Journal(tmp_path)
    for group, n in ((1, 3000), (100, 100)):
        given, times, syncs = [bytes(150)] * group, [], []
        for i in range(n):
            began = time.perf_counter()
            journal.append_all(given)
            times.append(time.perf_counter() - began)
            if i % 30 == 29:
                began = time.perf_counter()
                journal.sync()
                syncs.append(time.perf_counter() - began)
        print(
            f"{group} at a time: {statistics.mean(times) * 1e6 / group:.1f} us a record, "
            f"{statistics.median(syncs) * 1e6:.0f} us a sync"
        )
    journal.close()
    began = time.perf_counter()
    journal = Journal(tmp_path)
    seconds = time.perf_counter() - began
    journal.close()
    print(f"opened and verified {journal.n_written} records in {seconds * 1e3:.0f} ms")
