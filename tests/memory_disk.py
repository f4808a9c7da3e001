"""A disk in memory whose power can be cut: the journal's own code runs on it, SQLite included, by a VFS of apsw.

What a process writes is seen by everybody at once, but is on the platter only after a sync; names of files too. When
the power is cut, each sector of 512 bytes that was written since has any of the contents that it had since, each file
any of its sizes, and of what was done to names a prefix was kept. When a process dies, all that it wrote is there.

A disk is never brought back: `power_cut` and `killed` answer another one, with what is there then. So whatever the dead
process still does, when its connections are collected, it does to a disk that nobody looks at any more.

    disk = MemoryDisk()
    journal = Journal(disk)
    ...
    journal = Journal(disk.power_cut(random.Random(seed)))

Faults: `cut_after` operations PowerCut is raised from wherever the process is, and the disk stays as it is then.
`room` is how many bytes the files may have together. `failing_syncs` is how many syncs fail next, as of a full disk:
what was to be synced is dropped from what is to be written, and each handle of that file is told once (as Linux does).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import random
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import apsw

from fastsched.errors import JournalLocked

__all__ = ["Inode", "MemoryDisk", "PowerCut"]

SECTOR = 512
VFS = "fastsched-memory"


class PowerCut(BaseException):
    """The process is gone: nothing that it does from now on counts."""


class Inode:
    """One file: what everybody sees, what is on the platter, and what was done in between."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)
        self.durable = bytes(content)
        self.pending: list[tuple[int, bytes | None]] = []  # (place, what was written), or (size, None)
        self.n_dropped = 0  # syncs that failed

    def do(self, at: int, data: bytes | None) -> None:
        apply(self.content, at, data)
        self.pending.append((at, data))

    def sync(self) -> None:
        durable = bytearray(self.durable)
        for at, data in self.pending:
            apply(durable, at, data)
        self.durable, self.pending = bytes(durable), []

    def survivor(self, rng: random.Random) -> Inode:
        """What is there after a power cut."""
        pending = self.pending
        kept = bytearray(self.durable)
        mode = rng.randrange(4)
        if mode == 0 or not pending:
            return Inode(kept)
        if mode == 1:  # in order, up to some moment
            for at, data in pending[: rng.randrange(len(pending) + 1)]:
                apply(kept, at, data)
            return Inode(kept)
        # A change of size to less came to pass, with all before it, or did not, with all after it.
        for index in [index for index, (_, data) in enumerate(pending) if data is None]:
            if rng.random() < 0.5:
                pending = pending[:index]
                break
            for at, data in self.pending[: index + 1]:
                apply(kept, at, data)
            pending = self.pending[index + 1 :]
        sizes = [len(kept)]
        versions: dict[int, list[tuple[int, bytes]]] = {}
        for at, data in pending:
            if data is None:
                continue
            sizes.append(max(sizes[-1], at + len(data)))
            for place, piece in sectors(at, data):
                versions.setdefault(place // SECTOR, []).append((place, piece))
        for pieces in versions.values():
            for place, piece in pieces[: rng.randrange(len(pieces) + 1)]:
                apply(kept, place, piece)
        size = rng.choice(sizes) if mode == 2 else sizes[-1]
        return Inode(kept[:size].ljust(size, b"\0"))


def apply(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        del content[at:]
        return
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def sectors(at: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """What is written, in pieces of which each lies in one sector."""
    end = at + len(data)
    place = at
    while place < end:
        following = min(end, (place // SECTOR + 1) * SECTOR)
        yield place, data[place - at : following - at]
        place = following


class MemoryDisk:
    """See above; a `Disk` of the journal.

    Attributes:
        n_operations: writes, syncs, and changes of names so far.
        watch: called before each of them, with the disk.
    """

    def __init__(self, files: dict[str, Inode] | None = None) -> None:
        self.files = dict(files or {})  # as everybody sees them
        self._durable_files = dict(self.files)
        self._pending_names: list[tuple[str, Inode | None]] = []
        self.n_operations = 0
        self.watch: Callable[[MemoryDisk], None] | None = None
        self.cut_after: int | None = None
        self.room: int | None = None
        self.failing_syncs = 0
        self._is_held = self._is_dead = False
        self._id = f"/{next(_ids)}"
        _disks[self._id] = self

    def __str__(self) -> str:
        return "memory"

    # ------------------------------------------------------------ what tests do

    def killed(self) -> MemoryDisk:
        """The disk after the death of the process."""
        after = MemoryDisk()
        copies = {id(inode): copy_of(inode) for inode in [*self.files.values(), *self._durable_files.values()]}
        after.files = {name: copies[id(inode)] for name, inode in self.files.items()}
        after._durable_files = {name: copies[id(inode)] for name, inode in self._durable_files.items()}
        after._pending_names = [
            (name, None if inode is None else copies.setdefault(id(inode), copy_of(inode)))
            for name, inode in self._pending_names
        ]
        return after

    def power_cut(self, rng: random.Random) -> MemoryDisk:
        """The disk after a power cut."""
        files = dict(self._durable_files)
        for name, inode in self._pending_names[: rng.randrange(len(self._pending_names) + 1)]:
            put(files, name, inode)
        return MemoryDisk({name: inode.survivor(rng) for name, inode in files.items()})

    # ------------------------------------------------------------ the journal's interface

    def hold(self) -> None:
        if self._is_held:
            raise JournalLocked("memory", "somebody")
        self._is_held = True

    def let_go(self) -> None:
        self._is_held = False

    def size(self, name: str) -> int:
        return len(self.files[name].content) if name in self.files else -1

    def open(self, name: str) -> Handle:
        if name not in self.files:
            self._name(name, Inode())
        return Handle(self, name)

    def remove(self, name: str) -> None:
        if name in self.files:
            self._name(name, None)

    def connect(self, name: str) -> MemoryConnection:
        return MemoryConnection(f"{self._id}/{name}")

    def sync(self) -> None:
        if self._begin():
            self._durable_files, self._pending_names = dict(self.files), []

    # ------------------------------------------------------------ innards

    def _begin(self) -> bool:
        """An operation begins. Answers whether it counts; raises PowerCut if its time has come."""
        if self._is_dead:
            return False
        if self.watch is not None:
            self.watch(self)
        if self.cut_after is not None and self.n_operations >= self.cut_after:
            self._is_dead = True
            raise PowerCut
        self.n_operations += 1
        return True

    def _name(self, name: str, inode: Inode | None) -> None:
        if self._begin():
            put(self.files, name, inode)
            self._pending_names.append((name, inode))

    def write(self, inode: Inode, data: bytes, at: int) -> None:
        if not self._begin():
            return
        if self.room is not None:
            free = self.room - sum(len(each.content) for each in self.files.values())
            fits = max(0, len(inode.content) + free - at)
            if at + len(data) > len(inode.content) and fits < len(data):
                if fits:
                    inode.do(at, data[:fits])
                raise OSError(errno.ENOSPC, "No space left on device")
        inode.do(at, data)

    def truncate(self, inode: Inode, size: int) -> None:
        if size < len(inode.content) and self._begin():
            inode.do(size, None)

    def sync_file(self, handle: Handle) -> None:
        if not self._begin():
            return
        inode = handle.inode
        if self.failing_syncs and inode.pending:
            self.failing_syncs -= 1
            inode.pending = []
            inode.n_dropped += 1
        inode.sync()
        if handle.n_dropped != inode.n_dropped:
            handle.n_dropped = inode.n_dropped
            raise OSError(errno.ENOSPC, "No space left on device")


def put(files: dict[str, Inode], name: str, inode: Inode | None) -> None:
    if inode is None:
        files.pop(name, None)
    else:
        files[name] = inode


def copy_of(inode: Inode) -> Inode:
    copy = Inode()
    copy.content, copy.durable, copy.pending = bytearray(inode.content), inode.durable, list(inode.pending)
    return copy


class Handle:
    """A `File` of the journal."""

    def __init__(self, disk: MemoryDisk, name: str) -> None:
        self.disk, self.name = disk, name
        self.inode = disk.files.get(name) or Inode()
        self.n_dropped = self.inode.n_dropped

    def read(self, size: int, at: int) -> bytes:
        return bytes(self.inode.content[at : at + size])

    def write(self, data: bytes, at: int) -> None:
        self.disk.write(self.inode, data, at)

    def sync(self) -> None:
        self.disk.sync_file(self)

    def has_name(self) -> bool:
        return self.disk.files.get(self.name) is self.inode

    def close(self) -> None:
        pass


# ---------------------------------------------------------------- SQLite


class MemoryConnection:
    """A connection of apsw that behaves and raises like one of `sqlite3`."""

    def __init__(self, path: str) -> None:
        self._connection = translated(apsw.Connection, path, vfs=VFS)

    def execute(self, sql: str, parameters: Any = (), /) -> Rows:
        return Rows(translated(self._connection.execute, sql, parameters))

    def executemany(self, sql: str, parameters: Any, /) -> None:
        translated(self._connection.executemany, sql, parameters)

    def close(self) -> None:
        with contextlib.suppress(apsw.Error):  # SQLite says nothing of what fails then; apsw does
            self._connection.close(True)

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            with contextlib.suppress(PowerCut):
                self.close()


class Rows:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def __iter__(self) -> Rows:
        return self

    def __next__(self) -> Any:
        try:
            return translated(next, self._cursor, None) or self._stop()
        except apsw.ExecutionCompleteError:
            raise StopIteration from None

    @staticmethod
    def _stop() -> Any:
        raise StopIteration


SAID = {
    apsw.FullError: "database or disk is full",
    apsw.IOError: "disk I/O error",
    apsw.BusyError: "database is locked",
    apsw.CantOpenError: "unable to open database file",
    apsw.ReadOnlyError: "attempt to write a readonly database",
}


def translated(call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    try:
        return call(*args, **named)
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise sqlite3.DatabaseError(str(error)) from error
    except apsw.Error as error:
        raise sqlite3.OperationalError(SAID.get(type(error), str(error))) from error


class MemoryVFS(apsw.VFS):
    """Paths are /disk/name."""

    def __init__(self) -> None:
        super().__init__(VFS, "")

    def xFullPathname(self, name: str) -> str:
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:
        disk, name = place_of(pathname)
        return disk is not None and name in disk.files

    def xDelete(self, filename: str, syncdir: bool) -> None:
        disk, name = place_of(filename)
        if disk is not None:
            disk.remove(name)
            if syncdir:
                disk.sync()

    def xOpen(self, name: Any, flags: list[int]) -> MemoryVFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        disk, name = place_of(path)
        assert disk is not None
        is_new = name not in disk.files
        handle = disk.open(name)
        flags[1] = flags[0]
        # As SQLite's own VFS does: the first sync of a new journal or WAL syncs the names too.
        return MemoryVFSFile(handle, is_new and bool(flags[0] & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL)))


class MemoryVFSFile:
    def __init__(self, handle: Handle, syncs_names: bool) -> None:
        self._handle, self._syncs_names = handle, syncs_names

    def xRead(self, amount: int, offset: int) -> bytes:
        return self._handle.read(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        try:
            self._handle.write(bytes(data), offset)
        except OSError:
            raise apsw.FullError("database or disk is full") from None

    def xTruncate(self, newsize: int) -> None:
        self._handle.disk.truncate(self._handle.inode, newsize)

    def xSync(self, flags: int) -> None:
        try:
            self._handle.sync()
        except OSError:
            raise apsw.IOError("disk I/O error") from None
        if self._syncs_names:
            self._handle.disk.sync()
            self._syncs_names = False

    def xFileSize(self) -> int:
        return len(self._handle.inode.content)

    def xLock(self, level: int) -> None: ...

    def xUnlock(self, level: int) -> None: ...

    def xCheckReservedLock(self) -> bool:
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return 4096

    def xDeviceCharacteristics(self) -> int:
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xClose(self) -> None: ...


def place_of(path: str) -> tuple[MemoryDisk | None, str]:
    disk, _, name = path.rpartition("/")
    return _disks.get(disk), name


_ids = itertools.count()
_disks: weakref.WeakValueDictionary[str, MemoryDisk] = weakref.WeakValueDictionary()
_vfs = MemoryVFS()  # registered for as long as it is referred to
