"""What tells that a record is missing or was changed: the chain over the rows of a database, and the head beside it.

It reads and writes one database and one file that it is given, and decides nothing about either.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import JournalError
from .disk import Connection, Disk, File

__all__ = ["HEAD_SIZE", "ORIGIN", "SLOT", "Flaw", "Head"]
__all__ += ["chained_rows", "connect", "examine", "insert", "read_head", "whole_records"]

FORMAT = 1
ORIGIN = hashlib.blake2b(b"fastsched journal", digest_size=16).digest()  # the chain before the first record
SLOT = 4096  # from one slot of the head to the other: a disk that spoils a block as it writes spoils one of them
HEAD_SIZE = 2 * SLOT
MAGIC = b"fs-head\n"
LAYOUT = struct.Struct("<8sIIQQ16s")  # MAGIC, FORMAT, and the fields of a head; 16 bytes of check follow


class Head(NamedTuple):
    """Up to which record a journal was synced, and what the chain was there.

    `sequence` counts the heads that were written, for after a cut a newer one says less; `generation` the cuts.
    """

    sequence: int
    generation: int
    number: int
    chain: bytes

    def encode(self) -> bytes:
        said = LAYOUT.pack(MAGIC, FORMAT, self.generation, self.sequence, self.number, self.chain)
        return said + check_of(said)


class Flaw(Exception):
    """Why the record after `n_good` whole ones is none."""

    def __init__(self, n_good: int, message: str) -> None:
        self.n_good = n_good
        super().__init__(message)


def chained(chain: bytes, number: int, body: bytes) -> bytes:
    """The checksum of a record and of all before it."""
    return hashlib.blake2b(chain + number.to_bytes(8, "little") + body, digest_size=len(ORIGIN)).digest()


def chained_rows(bodies: Iterable[bytes], number: int, chain: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The rows of these records, where so many stand already, up to this chain."""
    for body in bodies:
        number += 1
        chain = chained(chain, number, body)
        yield number, body, chain


def insert(connection: Connection, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
    """Commit these rows, all or none. Where it raises, a transaction may still be open."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO record VALUES (?, ?, ?)", rows)
    connection.execute("COMMIT")


def whole_records(connection: Connection) -> Iterator[tuple[bytes, bytes]]:
    """Each record from the first, and the chain after it. Raises Flaw at the first that is not what was written."""
    n_good, chain = 0, ORIGIN
    try:
        for number, body, claimed in connection.execute("SELECT number, body, chain FROM record ORDER BY number"):
            if number != n_good + 1:
                raise Flaw(n_good, f"record {n_good + 1} is missing")
            if not isinstance(body, bytes) or claimed != (chain := chained(chain, number, body)):
                raise Flaw(n_good, f"record {number} was changed")
            yield body, chain
            n_good = number
    except (sqlite3.Error, MemoryError) as error:  # a length that was changed may ask for any amount of memory
        raise Flaw(n_good, f"what follows record {n_good} cannot be read: {error}") from None


def examine(connection: Connection, head: Head | None) -> tuple[int, bytes, str]:
    """How many records from the first are whole, the chain after them, and what is wrong, if anything is."""
    n_good, chain, at_head = 0, ORIGIN, ORIGIN
    try:
        for _, chain in whole_records(connection):
            n_good += 1
            if head and n_good == head.number:
                at_head = chain
    except Flaw as flaw:
        return n_good, chain, str(flaw)
    if head and n_good < head.number:
        return n_good, chain, f"it ends after record {n_good}, and {head.number} were synced"
    if head and at_head != head.chain:
        return 0, ORIGIN, "it is another journal than the one that was synced"
    # Every record can be read. That the next one can be written, and will not take the place of another, is more.
    try:
        said = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
        connection.execute("DELETE FROM record WHERE number < 1")  # there are none, but it takes the right to write
    except (sqlite3.Error, MemoryError) as error:
        said = [str(error)]
    return n_good, chain, "" if said == ["ok"] else f"the database is not sound: {' '.join(said)}"


def connect(disk: Disk, name: str, *, is_new: bool) -> Connection:
    """The one connection to a database, in the ways that the journal relies on. Raises sqlite3.DatabaseError."""
    connection = disk.connect(name)
    try:
        for setting in (
            "locking_mode = EXCLUSIVE",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "fullfsync = ON",
            "wal_autocheckpoint = 0",  # the journal does it
        ):
            list(connection.execute(f"PRAGMA {setting}"))
        if is_new:
            columns = "number INTEGER PRIMARY KEY, body BLOB NOT NULL, chain BLOB NOT NULL"
            connection.execute(f"CREATE TABLE IF NOT EXISTS record ({columns})")
    except BaseException:
        connection.close()
        raise
    return connection


# ---------------------------------------------------------------- head


def read_head(file: File) -> Head | None:
    """The newest head of the two; None: both are bad. Raises JournalError where it is of a later version."""
    heads = []
    for i in range(2):
        slot = file.read(LAYOUT.size + 16, SLOT * i)
        said, check = slot[: LAYOUT.size], slot[LAYOUT.size :]
        if check_of(said) == check and said.startswith(MAGIC):
            _, version, generation, sequence, number, chain = LAYOUT.unpack(said)
            if version > FORMAT:
                raise JournalError("the journal is of a later version of fastsched; use that one")
            heads.append(Head(sequence, generation, number, chain))
    return max(heads, default=None)


def check_of(said: bytes) -> bytes:
    return hashlib.blake2b(said, digest_size=16).digest()
