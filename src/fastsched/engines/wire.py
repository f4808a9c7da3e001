"""Messages between a scheduler and its agents: lists of tuples of plain values, one frame for all that is said at once.

A frame is its length in four bytes and the messages as `marshal` writes them: both ends run the same interpreter, and
it costs a quarter of JSON (2 instead of 9 us for a start and an end, there and back). To an agent:

    ("settings", {...})                         once, first; see `agent.Settings`
    ("start", key, command, task_id, attempt, cpu_cores, memory_mb, stdout, stderr, stdin, cwd, env, timeout_s, grace_s,
        limit_mb)                               the key names the attempt from here on; the rest is that of a `Start`
    ("stop", key, grace_s)                      end this attempt
    ("leave", grace_s)                          end all of them, and go
    ("beat",)                                   the scheduler is there

From it:

    ("up",)  ("beat",)                          it is there
    ("ended", key, status, cpu_s, peak_mb, reason, text)
                                                with the wait status, or None where it could not be started; the name of
                                                the reason, where it is not the status alone; what more is to be said
"""

from __future__ import annotations

import marshal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Message = tuple[Any, ...]
    Order = tuple[
        str,
        int,
        str | list[str],
        str,
        int,
        float,
        int,
        str | None,
        str | None,
        str | None,
        str | None,
        dict[str, str] | None,
        float | None,
        float,
        int | None,
    ]

__all__ = ["Inbox", "pack"]


def pack(messages: list[Message]) -> bytes:
    """Some messages as one frame."""
    body = marshal.dumps(messages)
    return len(body).to_bytes(4, "little") + body


class Inbox:
    """Puts together what comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> list[Message]:
        """All messages that are complete with these bytes."""
        if self._rest:
            data = self._rest + data
        elif len(data) == 4 + int.from_bytes(data[:4], "little"):
            messages: list[Message] = marshal.loads(data[4:])  # most often it is one frame
            return messages
        at, messages = 0, []
        while len(data) - at >= 4:
            end = at + 4 + int.from_bytes(data[at : at + 4], "little")
            if end > len(data):
                break
            messages += marshal.loads(data[at + 4 : end])
            at = end
        self._rest = data[at:]
        return messages
