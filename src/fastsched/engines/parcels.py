"""What a scheduler and its outposts send each other: lists of tuples of plain values, a frame for all that is said at
once. It is written by `marshal`, in the form that every Python of the last ten years reads, for commands may have any
letters in them, those too that UTF-8 has not.

To an outpost, with the number of its frames whose reports were decided upon before:

    ("open", {...})                             once, first; see `outpost.Outpost`
    ("bring_up", worker_id, cores, memory_mb, incarnation, number)      by that number its agent is marked
    ("Start", ...) ("Stop", ...) ("Recall", ...)    orders, with their fields
    ("lose", worker_id, incarnation, message)
    ("bury", numbers)                           end whatever agents of these numbers have left on this machine
    ("keep", folder)                            the outputs that go there are wanted, though there is no such folder
    ("grant", at)                               the lease counts from this time, of the outpost's own clock
    ("close", grace_s)                          end everything, and go; said again, at once

From it:

    ("opened", {...})                           what it is
    ("refused", why)                            it is of no use, for this reason
    ("renew", at)                               its time; the answer is a grant
    ("WorkerHeard", ...) ("AttemptEnded", ...) ("TaskReturned", ...) ("WorkerLost", ...)    reports, with their fields
    ("buried", numbers)
    ("written", path, at, data, is_new)         a piece of an output; is_new: what was sent of the file before is void
    ("closed",)                                 nothing is left of what it ran
"""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from typing import Any

from msgspec.structs import astuple

from ..events import AttemptEnded, Order, Recall, Report, Start, Stop, TaskReturned, Usage, WorkerHeard, WorkerLost
from ..model import Reason

__all__ = ["Message", "pack", "pack_order", "pack_report", "unpack", "unpack_order", "unpack_report"]

Message = tuple[Any, ...]
FORM = 4  # of marshal's: since Python 3.4
ORDERS: dict[str, type[Order]] = {"Start": Start, "Stop": Stop, "Recall": Recall}
REPORTS: dict[str, type[Report]] = {
    "WorkerHeard": WorkerHeard,
    "AttemptEnded": AttemptEnded,
    "TaskReturned": TaskReturned,
    "WorkerLost": WorkerLost,
}
COMMAND, ENV = Start.__struct_fields__.index("command") + 1, Start.__struct_fields__.index("env") + 1
REASON, USAGE = (AttemptEnded.__struct_fields__.index(name) + 1 for name in ("reason", "usage"))


def pack(messages: Sequence[Message], n_heard: int = 0) -> bytes:
    """A frame of these."""
    return marshal.dumps((n_heard, list(messages)), FORM)


def unpack(frame: bytes) -> tuple[int, list[Message]]:
    """How many frames were heard, and the messages."""
    n_heard, messages = marshal.loads(frame)
    return n_heard, messages


def pack_order(order: Order) -> Message:
    """An order as a message."""
    message = [type(order).__name__, *astuple(order)]
    if isinstance(order, Start):
        if not isinstance(order.command, str):
            message[COMMAND] = list(order.command)
        if order.env is not None:
            message[ENV] = dict(order.env)
    return tuple(message)


def unpack_order(message: Message) -> Order | None:
    """The order that a message is; None: it is none."""
    kind = ORDERS.get(message[0])
    return None if kind is None else kind(*message[1:])


def pack_report(report: Report) -> Message:
    """A report as a message."""
    message = [type(report).__name__, *astuple(report)]
    if isinstance(report, AttemptEnded):
        if report.reason is not None:
            message[REASON] = report.reason.value
        if report.usage is not None:
            message[USAGE] = astuple(report.usage)
    return tuple(message)


def unpack_report(message: Message) -> Report | None:
    """The report that a message is; None: it is none."""
    kind = REPORTS.get(message[0])
    if kind is not AttemptEnded:
        return None if kind is None else kind(*message[1:])
    fields = list(message[1:])
    if fields[REASON - 1] is not None:
        fields[REASON - 1] = Reason(fields[REASON - 1])
    if fields[USAGE - 1] is not None:
        fields[USAGE - 1] = Usage(*fields[USAGE - 1])
    return AttemptEnded(*fields)
