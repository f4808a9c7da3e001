"""What a journal says: the settings of a run, the openings of its schedulers, and its facts, as bytes and back.

A record is what one turn of the loop booked. Facts are written before anything follows from them, so the records of a
run, absorbed in their order, are its state. A journal knows nothing of this: it keeps the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from ..events import Fact
from ..model import Task, Worker
from ..policy import Policy

__all__ = ["LAST", "Record", "RunOpened", "SchedulerOpened", "Turn", "decode_records", "encode_record"]

CHUNK = 1 << 24  # a record that is longer is kept in pieces
LAST, MORE = b"\0", b"\1"  # the first byte of a piece


class RunOpened(msgspec.Struct, frozen=True, tag=True):
    """The first record: what the run was given, apart from the environment, which is nobody else's business.

    `logs`: the folder of the outputs, relative to the journal where it is in the same one, which may be moved then.
    """

    run_id: str
    name: str
    version: str
    rank: str
    fit: str
    max_retries: int
    policy: Policy
    settled: bool
    heartbeat_s: float
    lease_s: float
    grace_s: float
    max_fails: int | None
    containment: str
    output_cap_mb: int
    cwd: str
    logs: str | None
    timeout_s: float | None
    tasks: Sequence[Task]
    workers: Sequence[Worker]
    engine: str = "local"  # "": one that a program had made
    offered: bool = False  # the workers are the engine's own, which come and go
    source: str = ""  # the job file, relative to the folder in which it was run; "": there was none
    replan: float | None = None  # behind a plan by more than this share, the rest is planned anew; None: it is not
    searches: bool = False  # a search looks for new plans, too


class SchedulerOpened(msgspec.Struct, frozen=True, tag=True):
    """A scheduler took the run up. `wall_time`: seconds since 1970 at `now`."""

    now: int
    wall_time: float
    pid: int


class Turn(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """What one turn of the loop booked, in order."""

    now: int
    facts: Sequence[Fact]


Record = RunOpened | SchedulerOpened | Turn


def _plain(value: Any) -> Any:
    """What tasks may hold besides plain numbers and text."""
    return value.item() if hasattr(value, "item") else dict(value) if hasattr(value, "items") else list(value)


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_opened = msgspec.msgpack.Decoder(RunOpened | SchedulerOpened)
_turn = msgspec.msgpack.Decoder(Turn)


def encode_record(record: Record) -> list[bytes]:
    """A record as the pieces that a journal keeps one after the other."""
    body = _encoder.encode(record)
    if len(body) < CHUNK:
        return [LAST + body]
    pieces = [body[at : at + CHUNK] for at in range(0, len(body), CHUNK)]
    return [MORE + piece for piece in pieces[:-1]] + [LAST + pieces[-1]]


def decode_records(pieces: Iterable[bytes]) -> Iterator[Record]:
    """The records that were kept in these pieces.

    Raises:
        msgspec.DecodeError: where they were written by a version that says things which this one does not know.
    """
    held = b""
    for piece in pieces:
        body = held + piece[1:] if held else piece[1:]
        if piece[:1] == MORE:
            held = body
            continue
        held = b""
        # An array begins a turn, a map the others.
        yield _turn.decode(body) if body[0] & 0xF0 == 0x90 else _opened.decode(body)
