"""Messages between a scheduler and its agents: lists of tuples of plain values, one frame for all that is said at once.

A frame is its length in four bytes and the messages as `marshal` writes them: both ends run the same interpreter, and
it costs a quarter of JSON (2 instead of 9 us for a start and an end, there and back). To an agent:

    ("settings", {...})                         once, first; see `agent.Settings`
    ("start", key, command, task_id, attempt, cpu_cores, memory_mb, stdout, stderr, stdin, cwd, env, timeout_s, grace_s,
        limit_mb)                               the key names the attempt from here on; the rest is that of a `Start`
    ("stop", key, grace_s)                      end this attempt
    ("recall",)                                 give back all that is held
    ("leave", grace_s)                          end all of them, and go
    ("beat", until)                             the scheduler is there, and has a lease itself until then (inf: none)

Most starts bring nothing but a command, and of most ends there is nothing to say. These have a form of their own, an
`S` or an `E` and records of bytes, with which an agent can do without the interpreter (`_lane.pxi`). It means the same.
Only such a start can name another key that it comes after: it is held until that attempt has ended. Each is told of in
the order of what happened.

From it:

    ("up",)  ("beat",)                          it is there
    ("ended", key, status, cpu_s, peak_mb, reason, text, stdout_bytes, stderr_bytes)
                                                with the wait status, or None where it could not be started; the name of
                                                the reason, where it is not the status alone; what more is to be said
    ("returned", key)                           it was held, and is not going to be started
"""

from __future__ import annotations

import marshal
import sys
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
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

__all__ = ["Inbox", "pack", "pack_start", "unpack"]

START = Struct("@9Idlddl")  # `Plain` of `_lane.pxi`
END = Struct("@Iiddqq")  # its `End`
NEVER = float("inf")  # stands for no time limit
SOON_S = 0.25  # what is ended so early is looked after from its beginning
RETURNED = -1  # stands for the status of what was not started
UNLIMITED = (1 << 63) - 1  # stands for no limit of memory
ENCODING, ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


def pack(messages: list[Message | bytes]) -> bytes:
    """Some messages, or what `pack_start` has made of them, in their order."""
    frames = []
    at = 0
    while at < len(messages):
        end, is_plain = at + 1, isinstance(messages[at], bytes)
        while end < len(messages) and isinstance(messages[end], bytes) == is_plain:
            end += 1
        body = b"S" + b"".join(messages[at:end]) if is_plain else marshal.dumps(messages[at:end])  # type: ignore
        frames += [len(body).to_bytes(4, "little"), body]
        at = end
    return b"".join(frames)


def pack_start(
    key: int,
    command: str | Sequence[str],
    task_id: str,
    attempt: int,
    cpu_cores: float,
    memory_mb: int,
    stdout: str | None,
    stderr: str | None,
    timeout_s: float | None,
    grace_s: float,
    limit_mb: int | None,
    after: int = 0,
) -> bytes | None:
    """A start of nothing but a command, after another key or (0) at once; None: it cannot be said in this form."""
    n_words = 0
    if not isinstance(command, str):
        n_words = len(command)
        if not n_words or any("\0" in word for word in command):
            return None
        command = "\0".join(command)
    elif "\0" in command:
        return None
    if timeout_s is None:
        timeout_s = NEVER
    elif timeout_s < SOON_S:
        return None
    if (stdout is None) != (stderr is None):
        return None
    named = task_id.encode(ENCODING, ERRORS)
    words = command.encode(ENCODING, ERRORS)
    out = stdout.encode(ENCODING, ERRORS) if stdout else b""
    err = stderr.encode(ENCODING, ERRORS) if stderr else b""
    sizes = len(named), len(words), len(out), len(err)
    size = START.size + sum(sizes) + 4
    limit = UNLIMITED if limit_mb is None else limit_mb
    head = START.pack(size, key, after, attempt, n_words, *sizes, cpu_cores, memory_mb, timeout_s, grace_s, limit)
    return b"%b%b\0%b\0%b\0%b\0" % (head, named, words, out, err)


def unpack(body: bytes) -> list[Message]:
    """The messages of a frame, in whatever form."""
    if body[0] == 69:  # E
        return [
            ("returned", end[0]) if end[1] == RETURNED else ("ended", *end[:4], "", "", *end[4:])
            for end in END.iter_unpack(memoryview(body)[1:])
        ]
    if body[0] != 83:  # S
        messages: list[Message] = marshal.loads(body)
        return messages
    starts: list[Message] = []
    at = 1
    while at < len(body):
        plain = START.unpack_from(body, at)
        size, key, _, attempt, n_words, *sizes, cores, memory_mb, timeout_s, grace_s, limit = plain
        texts, start = [], at + START.size
        for length in sizes:
            texts.append(body[start : start + length].decode(ENCODING, ERRORS))
            start += length + 1
        task_id, words, stdout, stderr = texts
        command = words.split("\0") if n_words else words
        limits = None if timeout_s == NEVER else timeout_s, grace_s, None if limit == UNLIMITED else limit
        files = stdout or None, stderr or None, None
        starts.append(("start", key, command, task_id, attempt, cores, memory_mb, *files, None, None, *limits))
        at += size
    return starts


class Inbox:
    """Puts together what comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> list[Message]:
        """All messages that are complete with these bytes."""
        if self._rest:
            data = self._rest + data
        elif len(data) == 4 + int.from_bytes(data[:4], "little"):
            return unpack(data[4:])  # most often it is one frame
        messages: list[Message] = []
        at = 0
        while len(data) - at >= 4:
            end = at + 4 + int.from_bytes(data[at : at + 4], "little")
            if end > len(data):
                break
            messages += unpack(data[at + 4 : end])
            at = end
        self._rest = data[at:]
        return messages
