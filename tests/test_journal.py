"""What was kept is read back, or it is said that it is not: after crashes, damage, and with a full disk."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fastsched.errors import JournalDamaged, JournalFull, JournalLocked
from fastsched.runtime.journal import DATABASE, HEAD, WAL, Journal, is_held, read_journal

pytestmark = pytest.mark.skipif(os.name != "posix", reason="skipped: a run needs POSIX")
SECTOR = 512
TRIES = int(os.environ.get("FASTSCHED_DAMAGES", "150"))  # of each kind


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


def test_what_was_appended_is_read_back(tmp_path):
    given = bodies(20)
    journal = keep(tmp_path / "j", given)
    assert journal.n_written == journal.n_synced == 20 and journal.append_all([b"last"]) == 21
    journal.close()
    again = Journal(tmp_path / "j")
    assert list(again.read()) == [*given, b"last"] and again.damage is None
    assert again.append_all([b"more", b""]) == 23
    again.close()
    assert read_journal(tmp_path / "j") == ([*given, b"last", b"more", b""], None)
    with pytest.raises(FileNotFoundError):
        read_journal(tmp_path / "k")
    with pytest.raises(JournalDamaged, match="closed"):
        again.append_all([b"x"])


def test_only_one_scheduler_holds_a_journal(tmp_path):
    journal = Journal(tmp_path)
    assert is_held(tmp_path)
    for refused in (Journal, read_journal):
        with pytest.raises(JournalLocked, match=f"process {os.getpid()} since"):
            refused(tmp_path)
    journal.close()
    assert not is_held(tmp_path)
    (tmp_path / "journal.lock").write_text("process 1 since 1999-01-01 00:00:00")
    Journal(tmp_path).close()


KEEPER = """
import sys
from pathlib import Path
from fastsched.runtime.journal import Journal
journal = Journal(Path(sys.argv[1]))
number = journal.n_written
while True:
    number = journal.append_all([b"%d" % (number + 1), b"%d" % (number + 2)])
    print(number, flush=True)
    if number % 6 == 0:
        journal.sync()
"""


def test_what_was_acknowledged_survives_kill_minus_nine(tmp_path):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    known = 0
    for _ in range(15):
        code = [sys.executable, "-c", textwrap.dedent(KEEPER), str(tmp_path)]
        with subprocess.Popen(code, stdout=subprocess.PIPE, text=True) as keeper:
            for _ in range(rng.randrange(1, 200)):
                known = int(keeper.stdout.readline())
            keeper.send_signal(signal.SIGKILL)
            for line in keeper.stdout:
                known = int(line) if line.endswith("\n") else known
        kept, damage = read_journal(tmp_path)
        assert damage is None and kept == [b"%d" % (i + 1) for i in range(len(kept))]
        assert known <= len(kept) <= known + 2, "it was acknowledged"


@pytest.fixture(scope="module", params=["closed", "crashed", "synced long ago"])
def victim(request, tmp_path_factory):
    """The files of a journal, and what was acknowledged of it."""
    folder = tmp_path_factory.mktemp("victim") / "j"
    given = bodies(60, seed=4)
    journal = keep(folder, given)
    if request.param == "synced long ago":
        journal.append_all([b"not synced"] * 5)
    if request.param == "closed":
        journal.close()
    files = {name: (folder / name).read_bytes() for name in (DATABASE, WAL, HEAD) if (folder / name).exists()}
    if request.param != "closed":
        journal.close()
    return files, given


def outcome(folder, files, given) -> str:
    """What a reader makes of these files: `whole`, `detected` or `undetected`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "journal.lock").write_bytes(b"")
    kept, damage = read_journal(folder)
    if kept[: len(given)] != given[: len(kept)]:
        return "undetected"
    if damage is not None:
        assert damage.n_good == len(kept) and damage.n_good + damage.n_lost >= min(len(given), damage.n_good)
        return "detected"
    return "whole" if len(kept) >= len(given) else "undetected"


def some(everything):
    return everything if len(everything) <= TRIES else random.Random(1).sample(list(everything), TRIES)


def judge(folder, spoiled, given):
    """Every outcome, counted."""
    counts = {"whole": 0, "detected": 0, "undetected": 0}
    for files in spoiled:
        counts[outcome(folder, files, given)] += 1
    print(counts)
    return counts


def test_every_truncation_is_found(victim, tmp_path):
    files, given = victim
    detected = 0
    for name, content in files.items():
        cuts = some(range(max(0, len(content) - 65536), len(content)))
        counts = judge(tmp_path / "j", ({**files, name: content[:cut]} for cut in cuts), given)
        assert counts["undetected"] == 0, name
        detected += counts["detected"]
    without = judge(tmp_path / "j", ({k: v for k, v in files.items() if k != name} for name in files), given)
    assert without["detected"] == len(files) and detected > 0


def test_every_flipped_bit_that_matters_is_found(victim, tmp_path):
    files, given = victim
    rng = random.Random(2)

    def flipped():
        for _ in range(TRIES * 2):
            name = rng.choice(list(files))
            content = bytearray(files[name])
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            yield {**files, name: bytes(content)}

    counts = judge(tmp_path / "j", flipped(), given)
    assert counts["undetected"] == 0 and counts["detected"] > 0


def test_every_zeroed_block_that_matters_is_found(victim, tmp_path):
    files, given = victim
    rng = random.Random(3)

    def zeroed():
        for _ in range(TRIES):
            name = rng.choice(list(files))
            at = rng.randrange(0, len(files[name]), SECTOR)
            size = SECTOR * rng.choice((1, 8))
            end = min(len(files[name]), at + size)
            yield {**files, name: files[name][:at] + bytes(end - at) + files[name][end:]}

    counts = judge(tmp_path / "j", zeroed(), given)
    assert counts["undetected"] == 0 and counts["detected"] > 0


def test_nothing_is_appended_after_damage_until_it_is_cut(tmp_path):
    given = bodies(30)
    given[20] = b"here it is"
    keep(tmp_path, given).close()
    content = bytearray((tmp_path / DATABASE).read_bytes())
    content[content.index(b"here it is")] ^= 1
    (tmp_path / DATABASE).write_bytes(content)
    journal = Journal(tmp_path)
    n_good = journal.damage.n_good
    assert n_good == 20 and journal.damage.n_lost == 30 - n_good
    assert f"record {n_good + 1} was changed" in journal.damage.message
    with pytest.raises(JournalDamaged, match=f"{n_good} whole, {30 - n_good} lost"):
        journal.append_all([b"x"])
    journal.cut()
    assert journal.append_all([b"x"]) == n_good + 1
    journal.close()
    assert read_journal(tmp_path) == ([*given[:n_good], b"x"], None)
    assert (tmp_path / "damaged-1" / DATABASE).read_bytes() == bytes(content)


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
                journal.sync()
            except JournalFull:
                full += 1
                assert journal.n_written == len(given)
            else:
                given += [body, b"and"]
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


def test_a_journal_of_a_later_version_is_left_alone(tmp_path):
    import sqlite3

    from fastsched.errors import JournalError

    keep(tmp_path, [b"x"]).close()
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(JournalError, match="later version"):
        Journal(tmp_path)
    assert not is_held(tmp_path)


def test_what_can_be_read_can_be_read_without_the_right_to_write(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("skipped: root may write everywhere")
    keep(tmp_path, [b"x"]).close()
    for path in (tmp_path, *tmp_path.iterdir()):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        assert read_journal(tmp_path) == ([b"x"], None)
    finally:
        Path(tmp_path).chmod(0o700)
