"""The folder that a journal stands in: files, a database, a lock. Behind a small interface, so that tests have a disk
whose power can be cut. No record is known here.

*The lock* is the system's (`flock`), on a file that is never removed; what the file says is for people alone. It goes
with the process that held it, however that ends: descriptors are closed in every program that a process starts, and in
a child that it forks (see `Journal`). A reader shares it, so it keeps no other reader off; a scheduler waits for the
few moments that readers need, and is refused at once where another scheduler holds it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..errors import JournalError, JournalLocked

__all__ = ["LOCK", "Connection", "Disk", "File", "Folder"]

LOCK = "journal.lock"
PATIENCE_S = 10.0  # with readers, who hold the lock while they copy
BUSY_S = 1.0  # with other programs that look into the database


class File(Protocol):
    """A file that is held open."""

    def read(self, size: int, at: int) -> bytes:
        """What stands there; less where the file ends."""

    def write(self, data: bytes, at: int) -> None:
        """Write all of it, or raise OSError."""

    def sync(self) -> None:
        """Make what was written survive a power cut."""

    def has_name(self) -> bool:
        """Whether it can still be found; False once it was removed."""

    def close(self) -> None: ...


class Connection(Protocol):
    """A connection to SQLite, as a journal needs it; raises what `sqlite3` raises. Each statement is its own commit."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Iterator[Any]: ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Any: ...

    def close(self) -> None: ...


class Disk(Protocol):
    """A folder. Its text is what people know it by."""

    def hold(self) -> None:
        """Keep every other process off until `let_go`. Raises JournalLocked."""

    def let_go(self) -> None: ...

    def size(self, name: str) -> int:
        """Bytes of a file; -1: there is none."""

    def open(self, name: str) -> File:
        """A file to read and write, made if need be."""

    def remove(self, name: str) -> None: ...

    def connect(self, name: str) -> Connection:
        """The database in a file, made if need be."""

    def sync(self) -> None:
        """Make the names of the files survive a power cut."""


class Folder:
    """A real folder, made if need be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def __str__(self) -> str:
        return str(self.path)

    def hold(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        deadline = time.monotonic() + PATIENCE_S
        try:
            while not locked(self._lock, shared=False):
                # Only readers let others share it.
                if not locked(self._lock, shared=True) or time.monotonic() > deadline:
                    raise JournalLocked(str(self), holder_of(self._lock))
                unlock(self._lock)
                time.sleep(0.01)
        except BaseException:
            self.let_go()
            raise
        try:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode(), 0)
        except OSError:
            pass  # a full disk; it is the lock that counts

    def share(self) -> None:
        """Keep schedulers off until `let_go`, without writing. Raises JournalLocked where one holds it."""
        try:
            self._lock = os.open(self.path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # no scheduler was ever here, or the folder is a copy
        if not locked(self._lock, shared=True):
            holder = holder_of(self._lock)
            self.let_go()
            raise JournalLocked(str(self), holder)

    def let_go(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def size(self, name: str) -> int:
        try:
            return (self.path / name).stat().st_size
        except FileNotFoundError:
            return -1

    def open(self, name: str) -> File:
        return RealFile(self.path / name)

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def connect(self, name: str) -> Connection:
        return sqlite3.connect(self.path / name, isolation_level=None, check_same_thread=False, timeout=BUSY_S)

    def sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class RealFile:
    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def read(self, size: int, at: int) -> bytes:
        return os.pread(self._descriptor, size, at)

    def write(self, data: bytes, at: int) -> None:
        written = os.pwrite(self._descriptor, data, at)
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        sync_descriptor(self._descriptor)

    def has_name(self) -> bool:
        return os.fstat(self._descriptor).st_nlink > 0

    def close(self) -> None:
        os.close(self._descriptor)


def sync_descriptor(descriptor: int) -> None:
    """Make what was written to a file survive a power cut."""
    import fcntl

    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS, whose fsync leaves it to the drive
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def locked(descriptor: int, *, shared: bool) -> bool:
    """Try to take the lock. Raises JournalError where this file system knows none."""
    import fcntl

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise JournalError(f"this file system has no locks, and a journal needs one: {error.strerror}") from None
    return True


def unlock(descriptor: int) -> None:
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_UN)


def holder_of(descriptor: int) -> str:
    """What is said of who holds the lock."""
    return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "nobody knows which"
