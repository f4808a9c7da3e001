"""The journal on a disk in memory: power cuts and deaths at every write, a full disk, syncs that fail."""

from __future__ import annotations

import contextlib
import os
import random

import pytest

pytest.importorskip("apsw", reason="skipped: the disk in memory needs apsw")

from memory_disk import Inode, MemoryDisk, PowerCut

from fastsched.errors import JournalDamaged, JournalError, JournalFull
from fastsched.runtime import journal as journal_room
from fastsched.runtime.journal import DATABASE, HEAD, WAL, Journal

SCHEDULES = int(os.environ.get("FASTSCHED_CRASHES", "600"))


@pytest.fixture(autouse=True)
def checkpoint_often(monkeypatch):
    """So that a short history sees the WAL written back and begun anew."""
    monkeypatch.setattr(journal_room, "CHECKPOINT_BYTES", 30_000)


class Client:
    """Somebody who appends, and remembers what was acknowledged."""

    def __init__(self, rng, given=(), n_appended=0, n_synced=0):
        self.rng = rng
        self.given = list(given)  # all that was tried to be appended, in order
        self.n_appended, self.n_synced = n_appended, n_synced

    def take_up(self, disk):
        """Open a journal after a crash, and hold it to what was acknowledged."""
        journal = Journal(disk)
        kept = list(journal.read())
        assert journal.damage is None
        assert kept == self.given[: len(kept)], "it was never appended"
        assert len(kept) >= self.n_appended, "it was acknowledged"
        assert journal.n_written == journal.n_synced == len(kept)
        self.given = kept
        self.n_appended = self.n_synced = len(kept)
        return journal

    def lose_power(self):
        self.n_appended = self.n_synced

    def bodies(self):
        return [self.rng.randbytes(self.rng.choice((0, 30, 150, 700, 5000))) for _ in range(self.rng.choice((1, 1, 3)))]

    def append(self, journal):
        new = self.bodies()
        self.given += new
        try:
            self.n_appended = journal.append_all(new)
        except JournalFull:
            del self.given[-len(new) :]
            raise
        assert self.n_appended == len(self.given)

    def sync(self, journal):
        journal.sync()
        self.n_synced = journal.n_synced
        assert self.n_synced == self.n_appended

    def step(self, journal):
        if self.rng.random() < 0.7:
            self.append(journal)
        else:
            self.sync(journal)


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_at_any_write_loses_nothing_that_was_acknowledged(seed):
    """Making a journal, appending, syncing, checkpoints, closing, opening again: at each write, several power cuts."""
    rng = random.Random(seed)
    disk, client, images = MemoryDisk(), Client(rng), []

    def take_images(disk):
        images.append((disk.killed(), client.given.copy(), client.n_appended))
        images.extend((disk.power_cut(rng), client.given.copy(), client.n_synced) for _ in range(4))

    disk.watch = take_images
    for _ in range(2):
        journal = client.take_up(disk)
        for _ in range(25):
            client.step(journal)
        client.sync(journal)
        journal.close()
    assert len(images) > 1000
    for after, given, n_acknowledged in images:
        reopened = Client(rng, given, n_acknowledged)
        journal = reopened.take_up(after)
        reopened.append(journal)
        reopened.sync(journal)


def test_crash_after_crash_loses_nothing_that_was_acknowledged():
    """Each life of a process ends at some write, be it while it takes up what the last one left."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    deaths = cuts = 0
    while deaths + cuts < SCHEDULES:
        disk, client = MemoryDisk(), Client(rng)
        for _ in range(6):
            disk.cut_after = int(rng.expovariate(1 / 60))
            try:
                journal = client.take_up(disk)
                while True:
                    client.step(journal)
            except PowerCut:
                pass
            if rng.random() < 0.3:
                disk, deaths = disk.killed(), deaths + 1
            else:
                client.lose_power()
                disk, cuts = disk.power_cut(rng), cuts + 1
        client.take_up(disk)
    print(f"{cuts} power cuts, {deaths} deaths")


def test_what_a_power_cut_took_does_not_come_back():
    """Of two records of the same content the first is torn: to append it again must not bring the second one back."""
    disk = MemoryDisk()
    journal = Journal(disk)
    journal.append_all([b"synced"])
    journal.sync()
    before = bytes(disk.files[WAL].content)
    journal.append_all([b"same"])
    journal.append_all([b"same"])
    after = disk.killed()
    wal = after.files[WAL].content
    end = next((i for i, (old, new) in enumerate(zip(before, wal)) if old != new), len(before))
    wal[end + 100] ^= 1
    journal = Journal(after)
    assert list(journal.read()) == [b"synced"]
    journal.append_all([b"same"])
    assert list(Journal(after.killed()).read()) == [b"synced", b"same"]


def test_a_full_disk_keeps_what_was_acknowledged_and_nothing_else():
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    n_full = 0
    for _ in range(40):
        disk, client = MemoryDisk(), Client(rng)
        journal = client.take_up(disk)
        for _ in range(4):
            used = sum(len(inode.content) for inode in disk.files.values())
            disk.room = used + rng.randrange(20_000)
            try:
                while True:
                    client.step(journal)
                    if rng.random() < 0.1:
                        client.sync(journal)  # the head needs no room
            except JournalFull:
                n_full += 1
                assert journal.n_written == client.n_appended == len(client.given)
            client.sync(journal)
            ending = rng.choice(("go on", "close", "death", "power cut"))
            if ending == "close":
                journal.close()
            disk.room = None
            if ending in ("death", "power cut"):
                disk = disk.killed() if ending == "death" else disk.power_cut(rng)
            journal = journal if ending == "go on" else client.take_up(disk)
            client.append(journal)
            client.sync(journal)
        journal.close()
        client.take_up(disk)
    assert n_full > 100


def test_a_sync_that_failed_is_not_believed_when_it_succeeds():
    """The system drops what it could not write, and calls the next sync a success. SQLite's own syncs fail too."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    n_refused = 0
    for _ in range(60):
        disk, client = MemoryDisk(), Client(rng)
        journal = client.take_up(disk)
        for _ in range(30):
            if rng.random() < 0.2:
                disk.failing_syncs = rng.randrange(1, 4)
            try:
                client.step(journal)
            except JournalFull:
                n_refused += 1
                assert journal.n_written == client.n_appended == len(client.given)
                assert journal.n_synced == client.n_synced
            if rng.random() < 0.2:
                Client(rng, client.given, client.n_synced).take_up(disk.power_cut(rng))
            if rng.random() < 0.2:  # the next process does not hear of the failure
                heir, inherited = Client(rng, client.given, client.n_appended), disk.killed()
                heir.take_up(inherited)
                Client(rng, heir.given, heir.n_synced).take_up(inherited.power_cut(rng))
        disk.failing_syncs = 0
        for _ in range(2):  # each descriptor hears of a failure, though it was another's
            with contextlib.suppress(JournalFull):
                client.sync(journal)
        assert journal.n_synced == journal.n_written
        Client(rng, client.given, client.n_synced).take_up(disk.power_cut(rng))
    assert n_refused > 50


def test_what_the_disk_dropped_is_not_called_synced():
    """Where the system has dropped it from memory too, it is said."""
    rng = random.Random(1)
    disk, client = MemoryDisk(), Client(rng)
    journal = client.take_up(disk)
    client.append(journal)
    client.sync(journal)
    before = bytes(disk.files[WAL].content)
    client.append(journal)
    disk.failing_syncs = 1
    with pytest.raises(JournalFull):
        client.sync(journal)
    disk.files[WAL].content[:] = before.ljust(len(disk.files[WAL].content), b"\0")
    with pytest.raises(JournalError, match="lost what was written after record"):
        client.sync(journal)
    with pytest.raises(JournalError, match="lost what was written after record"):
        client.append(journal)
    left = dict(disk.files)
    journal.close()  # SQLite is not let near the database again
    assert disk.files == left
    client.lose_power()
    client.take_up(disk.killed())


def spoiled(rng, n_bodies=12):
    """A disk with a journal of which one record was changed."""
    disk, client = MemoryDisk(), Client(rng)
    client.bodies = lambda: [rng.randbytes(rng.choice((100, 3000)))]
    journal = client.take_up(disk)
    for _ in range(n_bodies):
        client.append(journal)
    client.sync(journal)
    journal.close()
    n_good = rng.randrange(n_bodies)
    first = client.given[n_good][:30]
    content = bytes(disk.files[DATABASE].content)  # which has copies in pages that were split
    disk.files[DATABASE] = Inode(content.replace(first, bytes([first[0] ^ 1]) + first[1:]))
    return MemoryDisk(disk.files), client, n_good


def test_a_crash_in_a_cut_leaves_the_old_journal_or_the_new_one():
    rng = random.Random(7)
    finished = unfinished = 0
    for _ in range(5):
        disk, client, n_good = spoiled(rng)
        journal, images = Journal(disk), []
        disk.watch = lambda disk: images.extend([disk.killed(), *(disk.power_cut(rng) for _ in range(4))])  # noqa: B023
        journal.cut()
        disk.watch = None
        assert journal.damage is None and list(journal.read()) == client.given[:n_good]
        assert journal.append_all([b"more"]) == n_good + 1
        journal.close()
        journal = Journal(disk)
        assert list(journal.read()) == [*client.given[:n_good], b"more"]
        journal.close()
        for after in images:
            journal = Journal(after)
            assert list(journal.read()) == client.given[:n_good]
            finished, unfinished = finished + (journal.damage is None), unfinished + (journal.damage is not None)
            journal.cut()
            journal.append_all([b"more"])
            journal.sync()
            journal = Journal(after.power_cut(rng))
            assert journal.damage is None and list(journal.read()) == [*client.given[:n_good], b"more"]
            journal.close()
    assert finished > 50 and unfinished > 50


def test_a_cut_for_which_there_is_no_room_changes_nothing():
    rng = random.Random(8)
    refused = 0
    for room in range(0, 60_000, 3000):
        disk, client, n_good = spoiled(rng)
        journal = Journal(disk)
        before = sum(len(inode.content) for inode in disk.files.values())
        disk.room = before + room
        try:
            journal.cut()
        except JournalFull:
            refused += 1
            with pytest.raises(JournalDamaged):
                journal.append_all([b"x"])
            assert DATABASE in disk.files and "journal-1.db" not in disk.files
            disk.room = None
            journal.cut()
        assert list(journal.read()) == client.given[:n_good]
        journal.close()
    assert 3 < refused < 20


def test_damage_after_a_cut_is_told_from_damage_before_it():
    """One bad slot of the head does not bring the old generation back."""
    for slot in range(2):
        disk, client, n_good = spoiled(random.Random(9))
        journal = Journal(disk)
        journal.cut()
        journal = Journal(killed := disk.killed())
        journal.close()
        killed.files[HEAD].content[4096 * slot] ^= 1
        journal = Journal(killed)
        assert journal.damage is None and list(journal.read()) == client.given[:n_good]
        assert DATABASE in killed.files, "what was damaged is kept"
