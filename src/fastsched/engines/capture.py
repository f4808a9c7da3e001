"""The files that hold what commands write: never more than a cap of each, and their last lines for a message.

A file that stays empty is taken away: a million silent commands would leave two million of them, and to make one costs
as much as to start a small command.

Commands write into these files themselves, so no output is ever in an agent's way or in its memory. What is beyond the
cap is given back while they write, as a hole between the head and the newest tail of the file; when the command has
ended, the tail is moved up to the head, and a line between them says how many bytes were dropped. Where a file system
has no holes, the file is cut back to its head instead, and the tail is what has come since.
"""

from __future__ import annotations

import os

from .system import punch

__all__ = ["Output", "last_lines", "outlet_prefix", "rescue"]

TAIL = 16 << 20  # bytes at most, for they are moved in the end, and heartbeats wait for that
STEP = 1 << 20  # bytes that are moved at a time
TOLD = 500  # characters of output in a message
LOOKED_AT = 8192  # bytes of a file that may hold them


class Output:
    """One file that a command writes, and nobody else.

    Args:
        path: of the file. cap: bytes that are kept of it.
    """

    __slots__ = ("cap", "dropped", "path", "punched", "tail")

    def __init__(self, path: str, cap: int) -> None:
        self.path, self.cap = path, cap
        self.tail = min(cap // 2, TAIL)
        self.punched = 0  # where the hole ends
        self.dropped = 0  # bytes that were cut away

    def trim(self) -> None:
        """Give back what is beyond the cap, while the command goes on writing."""
        try:
            size = os.stat(self.path).st_size
            head, end = self.cap - self.tail, size - self.tail
            if size <= self.cap or end <= self.punched:
                return
            fd = os.open(self.path, os.O_WRONLY)
        except OSError:
            return  # whoever took it away does not want it
        try:
            punch(fd, max(head, self.punched), end - max(head, self.punched))
            self.punched = end
        except OSError:
            os.ftruncate(fd, head)
            self.dropped += size - head
        finally:
            os.close(fd)

    def finish(self) -> int:
        """Once nobody writes any more: head, line and tail, no file where there is nothing. How many bytes it has."""
        try:
            size = os.stat(self.path).st_size
            if not size:
                os.unlink(self.path)
            return self.join(size) if size + self.dropped > self.cap else size
        except OSError:
            return 0  # it was taken away

    def join(self, size: int) -> int:
        """Move the tail of a file of this size up to its head; what size it has then. Raises OSError."""
        head = self.cap - self.tail
        if size < head:
            return size  # the command has cut it short itself
        tail = max(head, size - self.tail) if size > self.cap or self.dropped else size
        line = b"\n[fastsched: %d bytes were dropped here]\n" % (tail - head + self.dropped)
        fd = os.open(self.path, os.O_RDWR)
        try:
            move(fd, tail, head + len(line), size)
            os.pwrite(fd, line, head)
            os.ftruncate(fd, head + len(line) + size - tail)
            return head + len(line) + size - tail
        except OSError:
            return size  # the disk is full: the hole stays
        finally:
            os.close(fd)


def outlet_prefix(agent: int) -> str:
    """What the names begin with of the files into which an agent's attempts write while they are young."""
    return f".agent-{agent}"


def rescue(folder: str, agent: int, key: int, files: tuple[str | None, str | None]) -> None:
    """After the end of an agent: give what was written under a key its name, and take away what is empty.

    files: stdout and stderr of the attempt that has the key; None: there is none.
    """
    for path, ending in zip(files, ("out", "err")):
        outlet = f"{folder}/{outlet_prefix(agent)}.{key}.{ending}"
        try:
            if path is not None and os.stat(outlet).st_size:
                os.rename(outlet, path)
            else:
                os.unlink(outlet)
        except OSError:
            pass  # there is none
        try:
            if path is not None and not os.stat(path).st_size:
                os.unlink(path)
        except OSError:
            pass  # there is none, or it was taken away


def move(fd: int, start: int, to: int, end: int) -> None:
    """Move the end of a file up, or down by less than `STEP`, for the line may be longer than what was dropped."""
    ahead = os.pread(fd, min(STEP, end - start), start)
    while ahead:
        start += len(ahead)
        block, ahead = ahead, os.pread(fd, min(STEP, end - start), start)
        os.pwrite(fd, block, to)
        to += len(block)


def last_lines(path: str | None) -> str:
    """The last lines that a file holds, as many as fit into a message; "" where there is nothing in it."""
    if path is None:
        return ""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        data = os.pread(fd, LOOKED_AT, max(0, os.fstat(fd).st_size - LOOKED_AT))
    except OSError:
        return ""
    finally:
        os.close(fd)
    text = data.decode(errors="replace").rstrip()
    lines: list[str] = []
    for line in reversed(text.splitlines()):
        if lines and sum(map(len, lines)) + len(lines) + len(line) > TOLD:
            break
        lines.insert(0, line[-TOLD:])
    return "\n".join(lines)
