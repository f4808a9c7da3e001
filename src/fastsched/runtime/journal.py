"""The journal: records that survive, in one SQLite database, and a word about each that is missing or was changed.

It keeps bytes and knows nothing of what they mean; where they stand is behind `Disk`. There are two grades of safety.
What was *appended* survives the death of any process: a commit to the WAL, in the system's memory, without waiting for
the disk. What was *synced* survives a power cut: the WAL is synced by a descriptor of our own, then the head says so.

*Damage.* SQLite takes a WAL or a table with a damaged tail for a shorter one, without a word. So each row carries a
checksum chained over all rows before it, and the head, a file of two slots written in turn, says which row was synced
last and what the chain was there. Whatever changes or shortens what was synced contradicts one of them, and is said,
with its place. Rows after the head were appended and not synced; those that are whole are kept. Nothing is appended to
a damaged journal until somebody decides to `cut` it. A cut writes what is whole into a database of the next generation,
and one write of the head makes that the journal: a crash in between leaves the old one, and nothing is ever deleted.

*A full disk.* What cannot be committed is rolled back. The head has its place from the start. A sync that failed is not
simply tried again, for the system may have dropped what it could not write and call the next one a success: the WAL is
written once more, and every record looked at.

*SQLite.* The lock on the database is exclusive, so the index of the WAL is in our memory, no third file is there, and
the WAL is not replaced while the connection is open. Around a checkpoint SQLite syncs (`synchronous = NORMAL`): the WAL
before the database is written, the database before the WAL is begun anew. It would believe a sync of the WAL that
succeeds after one that failed, and spoil the database by it; so checkpoints are made in `sync` alone, after ours.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import sqlite3
import struct
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import JournalDamaged, JournalError, JournalFull, JournalLocked
from .chain import HEAD_SIZE, ORIGIN, SLOT, Flaw, Head, chained_rows, connect, examine, insert, read_head, whole_records
from .disk import LOCK, Connection, Disk, File, Folder

__all__ = ["DATABASE", "HEAD", "WAL", "Damage", "Journal", "database_name", "is_held", "read_journal"]

DATABASE, WAL, HEAD = "journal.db", "journal.db-wal", "journal.head"
CHECKPOINT_BYTES = 1 << 24  # of the WAL, about, until it is written back into the database
COMMIT_BYTES = 8192  # of the WAL, about, for a commit besides its bodies
CHUNK = 1 << 20
MAX_LENGTHENED = 1 << 32  # a length beyond it is more likely one that was spoiled itself
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CIRCUMSTANCES = (  # what SQLite says when it is not the file that is to blame
    "database is locked",
    "database or disk is full",
    "unable to open database file",
)


@dataclass(frozen=True)
class Damage:
    """What is wrong with a journal.

    `n_good` records from the first are whole, so record `n_good + 1` is the first that is missing or bad; `n_lost` is
    how many that were synced are not among them.
    """

    n_good: int
    n_lost: int
    message: str

    def __str__(self) -> str:
        return self.message


class Journal:
    """A journal that is held: nobody else can open it until it is closed, or its process has ended.

    It belongs to one thread at a time, and to the process that opened it: in a child that is forked it is closed.

    Attributes:
        folder: where it is, for people. n_written, n_synced: how many records survive the death of a process, and a
            power cut.
        damage: what was found when it was opened; None: it is whole.
    """

    def __init__(self, place: str | os.PathLike[str] | Disk) -> None:
        """Open the journal in a folder, made if need be, and look at every record.

        Raises:
            JournalLocked: where another scheduler holds it. JournalFull: where there is no room for it.
            JournalError: where it is of a later version, or another program has its database open.
            OSError: where the folder cannot be written.
        """
        self.disk: Disk = Folder(Path(place)) if isinstance(place, (str, os.PathLike)) else place
        self.folder = Path(str(self.disk))
        self.n_written = self.n_synced = 0
        self.damage: Damage | None = None
        self._chain = ORIGIN
        self._head = Head(0, 0, 0, ORIGIN)  # as it was last read or written
        self._connection: Connection | None = None
        self._wal: File | None = None
        self._head_file: File | None = None
        self._n_wal_bytes = 0  # since it was written back, about
        self._is_suspect = False  # the WAL could not be synced: the system may have dropped some of it
        self._ended = ""  # why nothing can be done with it any more
        self.disk.hold()
        HELD.add(self)
        try:
            self._open()
        except BaseException as error:
            self._let_go()
            if has_no_room(error) or isinstance(error, sqlite3.Error):
                raise self._refusal("opened", error) from error
            raise

    def read(self) -> Iterator[bytes]:
        """Every whole record, first to last. To be gone through before anything is appended.

        Raises:
            JournalDamaged: where one is not any more what it was when the journal was opened.
        """
        if self._connection is not None:
            try:
                for body, _ in itertools.islice(whole_records(self._connection), self.n_written):
                    yield body
            except Flaw as flaw:
                n_lost = max(0, self.n_synced - flaw.n_good)
                raise JournalDamaged(str(self.folder), flaw.n_good, n_lost, str(flaw)) from None

    def append_all(self, bodies: Sequence[bytes]) -> int:
        """Keep these records, all or none, so that they survive the death of any process.

        Returns:
            The number of the last one, from 1.

        Raises:
            JournalFull: where there is no room; nothing of it is or will be kept, and it can be tried again.
            JournalDamaged: where the journal is damaged, and was not cut.
            JournalError: where it cannot be used any more.
        """
        connection = self._usable()
        rows = list(chained_rows(bodies, self.n_written, self._chain))
        if rows:
            try:
                insert(connection, rows)
            except BaseException as error:  # Ctrl-C, too, may come between any two steps
                self._roll_back(connection)
                if isinstance(error, sqlite3.Error):
                    raise self._refusal("written", error) from error
                raise
            self.n_written, _, self._chain = rows[-1]
            self._n_wal_bytes += COMMIT_BYTES + sum(map(len, bodies))
        return self.n_written

    def sync(self) -> None:
        """Make all that was kept survive a power cut.

        Raises:
            JournalFull: where there is no room; it can be tried again. JournalError: where the disk failed, or somebody
            removed the journal: it cannot be used any more, and what was not synced may be lost.
        """
        connection = self._usable()
        if self.n_synced == self.n_written:
            return
        assert self._wal is not None
        if not self._wal.has_name():
            raise self._end("was removed by somebody")
        try:
            is_whole = not self._is_suspect or self._rewrite(connection, self._wal)
            self._is_suspect = True
            if is_whole:
                self._wal.sync()
                self._is_suspect = False
                self._put_head()
        except OSError as error:
            raise self._refusal("synced", error) from error
        if not is_whole:
            raise self._end(f"lost what was written after record {self.n_synced}, as the disk could not keep it")
        self.n_synced = self.n_written
        if self._n_wal_bytes > CHECKPOINT_BYTES:
            self._checkpoint(connection)

    def cut(self) -> None:
        """Go on after damage with the records that are whole. The files that are damaged stay, under their names.

        Raises:
            JournalFull: where there is no room; it can be tried again.
        """
        if self.damage is None:
            return
        generation = newest_generation(self.disk) + 1
        name = database_name(generation)
        connection: Connection | None = None
        wal: File | None = None
        try:
            set_aside(self.disk, HEAD, f"{database_name(self._head.generation)}-head.damaged")
            connection = connect(self.disk, name, is_new=True)
            insert(connection, chained_rows(self.read(), 0, ORIGIN))
            wal = self.disk.open(wal_of(name))
            wal.sync()
            self.disk.sync()
        except (sqlite3.Error, OSError) as error:
            close_all(connection, wal)
            self.disk.remove(name)
            self.disk.remove(wal_of(name))
            raise self._refusal("cut", error) from error
        damaged, self._connection, self._wal = self._connection, connection, wal
        self._head = self._head._replace(generation=generation)
        self.damage, self.n_synced = None, 0
        try:
            self._put_both_heads()
        except OSError as error:
            raise self._refusal("cut", error) from error
        finally:
            close_all(damaged)

    def close(self) -> None:
        """Sync what was kept, and give the journal free. Raises as `sync` does; it is closed all the same."""
        try:
            if self.damage is None and not self._ended:
                self.sync()
        finally:
            self._let_go()

    def damaged(self) -> JournalDamaged:
        """What is wrong with it, as an error."""
        assert self.damage is not None
        return JournalDamaged(str(self.folder), self.damage.n_good, self.damage.n_lost, str(self.damage))

    # ------------------------------------------------------------ opening

    def _open(self) -> None:
        """Find out what is there; make what is not."""
        self._head_file = self.disk.open(HEAD)
        found = read_head(self._head_file)
        self._head = found or Head(0, newest_generation(self.disk), 0, ORIGIN)
        name = database_name(self._head.generation)
        self._examine(name, found)
        if self.damage is not None:
            set_aside(self.disk, wal_of(name), f"{wal_of(name)}.damaged")  # SQLite removes it when it is closed
            return
        # Nobody knows whether what a crash left behind was synced. Both slots come to say it, since one may be bad.
        self._wal = self.disk.open(wal_of(name))
        write_again(self._wal, self.disk.size(wal_of(name)))
        self._wal.sync()
        missing = max(0, HEAD_SIZE - self.disk.size(HEAD))
        self._head_file.write(bytes(missing), HEAD_SIZE - missing)
        self.disk.sync()
        self._put_both_heads()
        # What a power cut left of a record could be made whole by the next one, where they have sectors in common: so
        # the WAL is begun anew, with other salts.
        assert self._connection is not None
        list(self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)"))

    def _examine(self, name: str, found: Head | None) -> None:
        """Read the database under this head, and note how much of it is whole, and what is wrong."""
        size, n_claimed = self.disk.size(name), found.number if found else 0
        if size <= 0 and (found or self.disk.size(wal_of(name)) > 0):
            self.damage = Damage(0, n_claimed, f"{name} is missing or empty")  # SQLite would remove its WAL
            return
        file = self.disk.open(name)  # who may not write is told so here; SQLite would only read
        if self.disk.size(wal_of(name)) <= 0:
            lengthen(file, size)
        file.close()
        try:
            self._connection = connect(self.disk, name, is_new=found is None)
            self.n_written, self._chain, wrong = examine(self._connection, found)
        except sqlite3.DatabaseError as error:
            if size <= 0 or str(error) in CIRCUMSTANCES:
                raise
            wrong = f"{name} cannot be read: {error}"
        if not found and self.n_written and not wrong:
            wrong = f"{HEAD} cannot be read, so nobody can say whether records are missing"
        if wrong:
            self.n_synced = min(n_claimed, self.n_written)
            self.damage = Damage(self.n_written, n_claimed - self.n_synced, wrong)

    # ------------------------------------------------------------ writing

    def _put_head(self) -> None:
        """Say that what was written was synced, in the older of the two slots; the other one stays as it is."""
        assert self._head_file is not None
        head = Head(self._head.sequence + 1, self._head.generation, self.n_written, self._chain)
        self._head_file.write(head.encode(), SLOT * (head.sequence % 2))
        self._head_file.sync()
        self._head = head

    def _put_both_heads(self) -> None:
        self._put_head()
        self._put_head()
        self.n_synced = self.n_written

    def _checkpoint(self, connection: Connection) -> None:
        """Write the WAL back into the database, so that it can be begun anew. Where there is no room, it grows on."""
        try:
            list(connection.execute("PRAGMA wal_checkpoint(PASSIVE)"))
            self._n_wal_bytes = 0
        except sqlite3.Error as error:
            if not has_no_room(error):
                raise self._refusal("written back", error) from error

    def _rewrite(self, connection: Connection, wal: File) -> bool:
        """Write what the WAL holds once more, so that it can be synced again. Answers whether all of it is there."""
        write_again(wal, self.disk.size(wal_of(database_name(self._head.generation))))
        list(connection.execute("PRAGMA shrink_memory"))  # SQLite shall read the file, not what it remembers of it
        n_good, chain, wrong = examine(connection, self._head)
        return not wrong and (n_good, chain) == (self.n_written, self._chain)

    def _roll_back(self, connection: Connection) -> None:
        """After a commit that failed: nothing of it may be there."""
        try:
            with contextlib.suppress(sqlite3.OperationalError):  # where SQLite has done it already
                connection.execute("ROLLBACK")
            ((number,),) = connection.execute("SELECT coalesce(max(number), 0) FROM record")
        except sqlite3.Error as error:
            raise self._end(f"cannot be read any more: {error}") from error
        if number != self.n_written:
            raise self._end(f"has {number} records in place of {self.n_written}, after a write that failed")

    # ------------------------------------------------------------ the end

    def _usable(self) -> Connection:
        if self.damage is not None:
            raise self.damaged()
        if self._ended or self._connection is None:
            raise JournalError(f"the journal in {self.folder} {self._ended}")
        return self._connection

    def _end(self, why: str) -> JournalError:
        self._ended = why
        return JournalError(f"the journal in {self.folder} {why}")

    def _refusal(self, verb: str, error: BaseException) -> JournalError:
        """What to raise in place of an error of SQLite or of the system."""
        why = f"cannot be {verb}: {getattr(error, 'strerror', None) or error}"
        return JournalFull(f"the journal in {self.folder} {why}") if has_no_room(error) else self._end(why)

    def _let_go(self) -> None:
        """Close everything that is open; but not SQLite, where it would write into the database what it must not."""
        self._ended = self._ended or "is closed"
        HELD.discard(self)
        connection, self._connection = self._connection, None
        if self._is_suspect and connection is not None:
            never_close(connection)
            connection = None
        try:
            close_all(connection, self._wal, self._head_file)
        finally:
            self._wal = self._head_file = None
            self.disk.let_go()

    def _leave_to_parent(self) -> None:
        """In a child that was forked: it is the parent's. Closing SQLite here would remove the WAL under the parent."""
        self._ended = "belongs to the process that this one was forked from"
        self._is_suspect = True
        self._let_go()


def read_journal(folder: Path) -> tuple[list[bytes], Damage | None]:
    """The whole records of a journal that no scheduler holds, and what is wrong with it. Nothing is written there.

    Raises:
        JournalLocked: where a scheduler holds it. FileNotFoundError: where there is none.
        JournalError: where it is of a later version.
    """
    disk = Folder(folder)
    with tempfile.TemporaryDirectory() as copy:
        # SQLite takes up what a crash has left in the WAL, which it does by writing.
        disk.share()
        try:
            for path in folder.glob(f"{DATABASE.partition('.')[0]}*"):
                if path.suffix != ".damaged" and path.name != LOCK:
                    shutil.copyfile(path, Path(copy) / path.name)
        finally:
            disk.let_go()
        if not any(Path(copy).iterdir()):
            raise FileNotFoundError(errno.ENOENT, "there is no journal", str(folder))
        with contextlib.closing(Journal(copy)) as journal:
            return list(journal.read()), journal.damage


def is_held(folder: Path) -> bool:
    """Whether a scheduler holds the journal in a folder."""
    disk = Folder(folder)
    try:
        disk.share()
    except JournalLocked:
        return True
    disk.let_go()
    return False


# ---------------------------------------------------------------- files


def database_name(generation: int) -> str:
    """The file of the database; a cut begins the next generation."""
    return f"journal-{generation}.db" if generation else DATABASE


def wal_of(name: str) -> str:
    return f"{name}-wal"


def newest_generation(disk: Disk) -> int:
    return next(n for n in itertools.count() if disk.size(database_name(n + 1)) < 0)


def has_no_room(error: BaseException) -> bool:
    """Whether that is what an error of SQLite or of the system says. SQLite calls a quota or a limit an I/O error."""
    if isinstance(error, sqlite3.Error):
        return str(error) in ("database or disk is full", "disk I/O error")
    return isinstance(error, OSError) and error.errno in NO_ROOM


def close_all(*opened: Connection | File | None) -> None:
    for each in opened:
        if each is not None:
            each.close()


def never_close(connection: Connection) -> None:
    """Keep a connection until the process ends: SQLite, when it closes one, writes the WAL back and removes it."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def write_again(file: File, size: int) -> None:
    """Write what a file holds over itself: what the system dropped after a sync that failed is then written too."""
    for at in range(0, size, CHUNK):
        file.write(file.read(CHUNK, at), at)


def lengthen(file: File, size: int) -> None:
    """Give a database that was cut short the length that it says it has: SQLite would not read its beginning else."""
    magic, page_bytes, n_pages = struct.unpack(">16sH10xI", file.read(32, 0).ljust(32, b"\0"))
    claimed = (65536 if page_bytes == 1 else page_bytes) * n_pages
    if magic == b"SQLite format 3\0" and size < claimed < MAX_LENGTHENED:
        with contextlib.suppress(OSError):
            file.write(b"\0", claimed - 1)


def set_aside(disk: Disk, name: str, copy: str) -> None:
    """Keep a copy of a file that is damaged, unless there is one."""
    if disk.size(name) > 0 and disk.size(copy) < 0:
        source, target = disk.open(name), disk.open(copy)
        for at in range(0, disk.size(name), CHUNK):
            target.write(source.read(CHUNK, at), at)
        close_all(source, target)


# ---------------------------------------------------------------- processes

HELD: weakref.WeakSet[Journal] = weakref.WeakSet()


def leave_to_parent() -> None:
    for journal in list(HELD):
        journal._leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=leave_to_parent)
