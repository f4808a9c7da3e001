"""The journal: records that survive, in one SQLite file, and what tells whether one of them is missing or was changed.

It keeps bytes and knows nothing of what they mean. What was appended survives the death of any process, what was synced
also a power cut. Both are grouped: one commit for all that a turn of the loop booked, one sync for many commits.

SQLite in WAL mode gives back a file with a damaged tail as a shorter one, without a word. So each row carries a
checksum chained over all rows before it, and a small file beside it, the head, says which row was the last that was
synced: fewer rows than that, or a row whose chain does not hold, is damage, and is said with its place. Nothing is
appended to a damaged journal until somebody decides to `cut` it; what is cut is kept aside.

The lock is the system's, on a file that is never removed: it goes with the process that held it, however that ends.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import JournalDamaged, JournalError, JournalFull, JournalLocked

__all__ = ["Damage", "Journal", "is_held", "read_journal"]

DATABASE, WAL, HEAD, LOCK = "journal.db", "journal.db-wal", "journal.head", "journal.lock"
FORMAT = 1
ORIGIN = hashlib.blake2b(b"fastsched journal 1", digest_size=16).digest()  # the chain before the first record
CHAIN = len(ORIGIN)
SLOT = 64  # bytes of each of the head's two slots, which are written in turn
CHECKPOINT_PAGES = 4000  # of the WAL, about 16 MB, until it is written back into the database


@dataclass(frozen=True)
class Damage:
    """What is wrong with a journal: `n_good` records from the first are whole, `n_lost` synced ones are not."""

    n_good: int
    n_lost: int
    message: str

    def __str__(self) -> str:
        return self.message


class Journal:
    """A journal that is held: nobody else can open it until it is closed, or its process has ended.

    Attributes:
        n_written, n_synced: how many records survive the death of a process, and a power cut.
        damage: what was found when it was opened; None: it is whole.
    """

    def __init__(self, folder: Path) -> None:
        """Open the journal in a folder, made if need be, and look at every record.

        Raises:
            JournalLocked: where another scheduler holds it. JournalError: where it is of a later version.
            OSError: where the folder cannot be written.
        """
        self.folder = folder
        self.n_written = self.n_synced = 0
        self.damage: Damage | None = None
        self._chain = ORIGIN
        self._connection: sqlite3.Connection | None = None
        self._wal = self._head = -1
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = take_lock(folder)
        try:
            self._head = os.open(folder / HEAD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._open()
        except BaseException:
            self._let_go()
            raise

    def read(self) -> Iterator[bytes]:
        """Every whole record, first to last. To be gone through before anything is appended."""
        if self._connection is not None and self.n_written:
            for _, body, _ in itertools.islice(rows_of(self._connection), self.n_written):
                yield body

    def append_all(self, bodies: Sequence[bytes]) -> int:
        """Keep these records, all or none, so that they survive the death of any process.

        Returns:
            The number of the last one, from 1.

        Raises:
            JournalFull: where there is no room; nothing of it was kept, and it can be tried again.
            JournalDamaged: where the journal is damaged, and was not cut.
        """
        if self.damage is not None or self._connection is None:
            raise self.damaged()
        number, chain = self.n_written, self._chain
        rows = []
        for body in bodies:
            number += 1
            chain = chained(chain, number, body)
            rows.append((number, body, chain))
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO record VALUES (?, ?, ?)", rows)
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise JournalFull(f"the journal in {self.folder} cannot be written: {error}") from None
        self.n_written, self._chain = number, chain
        return number

    def sync(self) -> None:
        """Make all that was kept survive a power cut. Raises JournalFull where there is no room."""
        if self.n_synced == self.n_written:
            return
        try:
            if self._wal < 0:
                self._wal = os.open(self.folder / WAL, os.O_RDONLY | os.O_CLOEXEC)
            os.fdatasync(self._wal)
            write_head(self._head, self.n_written, self._chain)
        except OSError as error:
            raise JournalFull(f"the journal in {self.folder} cannot be synced: {error.strerror}") from None
        self.n_synced = self.n_written

    def cut(self) -> None:
        """Go on after damage with the records that are whole. The damaged files are kept aside, in `damaged-N`."""
        if self.damage is None:
            return
        bodies = list(self.read())
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        aside = next(path for n in itertools.count(1) if not (path := self.folder / f"damaged-{n}").exists())
        aside.mkdir()
        shutil.copy2(self.folder / HEAD, aside / HEAD)
        for name in (DATABASE, WAL):
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.folder / name, aside / name)
        os.ftruncate(self._head, 0)
        self.damage, self.n_written, self.n_synced, self._chain = None, 0, 0, ORIGIN
        self._open()
        if bodies:
            self.append_all(bodies)
            self.sync()

    def close(self) -> None:
        """Sync what was kept, and give the journal free."""
        try:
            if self.damage is None:
                self.sync()
        finally:
            self._let_go()

    def _open(self) -> None:
        """Find out what is there; make what is not."""
        exists, head = (self.folder / DATABASE).exists(), read_head(self._head)
        if not exists and (head is None or head == (0, ORIGIN)):
            # The head comes first: a database without one has lost it.
            os.pwrite(self._head, bytes(2 * SLOT), 0)
            write_head(self._head, 0, ORIGIN)
            head = (0, ORIGIN)
        elif not exists:
            self.damage = Damage(0, head[0] if head else 0, f"{DATABASE} is missing")
            return
        try:
            if exists:
                lengthen(self.folder / DATABASE)
            self._connection = connect(self.folder, exists)
            sync_folder(self.folder)
        except sqlite3.DatabaseError as error:
            self.damage = Damage(0, head[0] if head else 0, f"{DATABASE} cannot be read: {error}")
            return
        self.n_written, self._chain, self.damage = examine(self._connection, head)
        self.n_synced = min(self.n_written, head[0] if head else 0)

    def damaged(self) -> JournalDamaged:
        """What is wrong with it, as an error."""
        damage = self.damage or Damage(0, 0, "it is closed")
        return JournalDamaged(str(self.folder), damage.n_good, damage.n_lost, str(damage))

    def _let_go(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        for descriptor in (self._wal, self._head, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._wal = self._head = self._lock = -1


def read_journal(folder: Path) -> tuple[list[bytes], Damage | None]:
    """The whole records of a journal that no scheduler holds, and what is wrong with it. Nothing is written there.

    Raises:
        JournalLocked: where a scheduler holds it. FileNotFoundError: where there is none.
    """
    if not any((folder / name).exists() for name in (HEAD, DATABASE)):
        raise FileNotFoundError(errno.ENOENT, "there is no journal", str(folder))
    with contextlib.suppress(PermissionError):  # who may not write there cannot be kept off either
        os.close(take_lock(folder))
    with tempfile.TemporaryDirectory() as copy:
        # SQLite takes up what a crash has left in the WAL, which it does by writing.
        for name in (DATABASE, WAL, HEAD):
            if (folder / name).exists():
                shutil.copyfile(folder / name, Path(copy) / name)
        with contextlib.closing(Journal(Path(copy))) as journal:
            return list(journal.read()), journal.damage


def is_held(folder: Path) -> bool:
    """Whether a scheduler holds the journal in a folder."""
    try:
        os.close(take_lock(folder))
    except JournalLocked:
        return True
    except OSError:
        pass
    return False


# ---------------------------------------------------------------- records


def chained(chain: bytes, number: int, body: bytes) -> bytes:
    """The checksum of a record and of all before it."""
    return hashlib.blake2b(chain + number.to_bytes(8, "little") + body, digest_size=CHAIN).digest()


def rows_of(connection: sqlite3.Connection) -> Iterator[tuple[int, bytes, bytes]]:
    """Every row, in order."""
    return connection.execute("SELECT number, body, chain FROM record ORDER BY number")


def examine(connection: sqlite3.Connection, head: tuple[int, bytes] | None) -> tuple[int, bytes, Damage | None]:
    """How many records from the first are whole, the chain after them, and what is wrong."""
    n_good, chain, wrong = 0, ORIGIN, ""
    at_head = ORIGIN
    try:
        for number, body, claimed in rows_of(connection):
            if number != n_good + 1:
                wrong = f"record {n_good + 1} is missing"
                break
            following = chained(chain, number, body) if isinstance(body, bytes) else b""
            if following != claimed:
                wrong = f"record {number} was changed"
                break
            n_good, chain = number, following
            if head is not None and number == head[0]:
                at_head = chain
    except sqlite3.DatabaseError as error:
        wrong = f"what follows record {n_good} cannot be read: {error}"
    synced = head[0] if head is not None else 0
    if not wrong and n_good < synced:
        wrong = f"it ends after record {n_good}, and {synced} were synced"
    if not wrong and head is not None and at_head != head[1]:
        wrong = f"record {synced} is not the one that was synced"
    if not wrong and head is None:
        wrong = f"{HEAD} cannot be read, so nobody can say whether records are missing"
    n_lost = max(0, synced - n_good)
    return n_good, chain, Damage(n_good, n_lost, wrong) if wrong else None


def lengthen(database: Path) -> None:
    """Give a database that was cut short the length that it says it has: SQLite would not read its beginning else."""
    with database.open("r+b") as file:
        head = file.read(100)
        page = int.from_bytes(head[16:18], "big") or 1
        length = (page if page > 1 else 65536) * int.from_bytes(head[28:32], "big")
        if len(head) == 100 and head.startswith(b"SQLite format 3") and file.seek(0, os.SEEK_END) < length < 2**40:
            file.truncate(length)


def connect(folder: Path, exists: bool) -> sqlite3.Connection:
    """The one connection. Raises sqlite3.DatabaseError where the file is no database, JournalError for a later one."""
    connection = sqlite3.connect(folder / DATABASE, isolation_level=None, check_same_thread=False)
    try:
        # Exclusive: the index of the WAL is in our memory then, and not in a third file.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # syncs around a checkpoint; a commit is synced by `sync`
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise JournalError(f"the journal in {folder} is of a later version of fastsched; use that one")
        if not exists or version == 0:
            connection.execute("BEGIN IMMEDIATE")
            columns = "number INTEGER PRIMARY KEY, body BLOB NOT NULL, chain BLOB NOT NULL"
            connection.execute(f"CREATE TABLE IF NOT EXISTS record ({columns})")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


# ---------------------------------------------------------------- head and lock


def write_head(head: int, number: int, chain: bytes) -> None:
    """Say in the older of the two slots which record was synced last; the other one stays as it is."""
    body = number.to_bytes(8, "little") + chain
    slot = body + hashlib.blake2b(body, digest_size=CHAIN).digest()
    newest = max(((read_slot(head, i) or (-1, b""))[0], i) for i in range(2))[1]
    os.pwrite(head, slot.ljust(SLOT, b"\0"), SLOT * (1 - newest))
    os.fdatasync(head)


def read_head(head: int) -> tuple[int, bytes] | None:
    """The last record that was synced, and the chain after it; None where both slots are bad."""
    slots = [slot for i in range(2) if (slot := read_slot(head, i)) is not None]
    return max(slots, default=None)


def read_slot(head: int, i: int) -> tuple[int, bytes] | None:
    """What a slot says; None where it is bad."""
    slot = os.pread(head, SLOT, SLOT * i)
    body, check = slot[: 8 + CHAIN], slot[8 + CHAIN : 8 + 2 * CHAIN]
    if len(slot) < SLOT or hashlib.blake2b(body, digest_size=CHAIN).digest() != check:
        return None
    return int.from_bytes(body[:8], "little"), body[8:]


def take_lock(folder: Path) -> int:
    """Take the lock; answers its descriptor, and with that it goes. Raises JournalLocked."""
    import fcntl

    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        said = os.pread(lock, 200, 0).decode(errors="replace").strip()
        os.close(lock)
        raise JournalLocked(str(folder), said) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode(), 0)
    return lock


def sync_folder(folder: Path) -> None:
    """Make the names of the files in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
