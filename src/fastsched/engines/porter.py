"""Outputs on their way to a scheduler whose folder cannot be written from here, for lack of a shared file system.

Commands write beside, into a folder of this host's. What has come is sent every second while they run, and the rest
before their end is told, so whoever looks into the scheduler's folder sees what he would see if it were shared. No more
is on its way at a time than a little, for signs of life go the same way.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from msgspec.structs import replace

from ..events import AttemptEnded, Report, Start, TaskReturned, WorkerHeard, WorkerLost
from .parcels import Message, pack_report

__all__ = ["Porter"]

logger = logging.getLogger("fastsched")

NEVER = float("inf")
STREAM_S = 1.0  # between two looks at what running commands have written
PIECE = 1 << 20  # bytes
ON_THE_WAY = 4 << 20  # bytes at a time


@dataclass
class Output:
    """A file here, and where it is wanted; how much of it was sent. `is_checked`: that is what it still begins with."""

    path: str
    wanted: str
    sent: int = 0
    checksum: int = 0  # of that
    is_checked: bool = False


class Porter:
    """Of one outpost.

    Args:
        cap: bytes that are kept of an output; of what is longer the middle is missing in the end.
        backlog: how many bytes of what was said have not left yet.
    """

    def __init__(self, cap: int, backlog: Callable[[], int]) -> None:
        self._cap, self._backlog = cap, backlog
        self._folders: dict[str, str] = {}  # those that are not here, and what takes their place
        self._outputs: dict[tuple[str, str], list[Output]] = {}  # of what runs, by worker and task
        self._queue: deque[Output | Report] = deque()
        self.next_due = NEVER

    @property
    def is_busy(self) -> bool:
        """Whether something is on its way."""
        return bool(self._queue)

    def keep(self, folder: str) -> None:
        """Outputs are to go to this folder of the scheduler's, which may be ours too."""
        if folder not in self._folders and not os.path.isdir(folder):
            try:
                self._folders[folder] = tempfile.mkdtemp(prefix="fastsched-outputs-")
            except OSError as error:  # then commands say that they cannot write there
                logger.error("outputs for %s cannot be kept on this host: %s", folder, error)

    def redirect(self, order: Start) -> Start:
        """The order, with files that can be written here."""
        if not self._folders:
            return order
        outputs = []
        paths = {"stdout": order.stdout, "stderr": order.stderr}
        for name, wanted in paths.items():
            folder = self._folders.get(os.path.dirname(wanted)) if wanted is not None else None
            if wanted is not None and folder is not None:
                paths[name] = path = os.path.join(folder, os.path.basename(wanted))
                outputs.append(Output(path, wanted))
        if not outputs:
            return order
        self._outputs[order.worker_id, order.task_id] = outputs
        self.next_due = min(self.next_due, 0.0)
        return replace(order, **paths)

    def hold_back(self, report: Report) -> bool:
        """Whether a report waits for outputs; then `carry` tells it. All keep their order."""
        if not self._folders or isinstance(report, WorkerHeard):
            return False
        worker_id = report.worker_id
        ended: list[tuple[str, str]] = []
        if isinstance(report, (AttemptEnded, TaskReturned)):
            ended = [(worker_id, report.task_id)]
        elif isinstance(report, WorkerLost):
            ended = [key for key in self._outputs if key[0] == worker_id]
        for key in ended:
            self._queue += [output for output in self._outputs.pop(key, ()) if os.path.exists(output.path)]
        if not self._queue:
            return False
        self._queue.append(report)
        return True

    def carry(self, now: float) -> list[Message]:
        """What can be sent now."""
        messages: list[Message] = []
        room = ON_THE_WAY - self._backlog()
        while self._queue and room > 0:
            first = self._queue[0]
            if isinstance(first, Output):
                size = self._send(first, messages, is_over=True)
                room -= size
                if size == PIECE:
                    continue  # there may be more
                with contextlib.suppress(OSError):
                    os.unlink(first.path)
            else:
                messages.append(pack_report(first))
            self._queue.popleft()
        if now >= self.next_due:
            self.next_due = now + STREAM_S if self._outputs or self._queue else NEVER
            for outputs in self._outputs.values():
                for output in outputs:
                    if room <= 0:
                        break
                    room -= self._send(output, messages, is_over=False)
        return messages

    def close(self) -> None:
        """Take away what is here."""
        for folder in self._folders.values():
            shutil.rmtree(folder, ignore_errors=True)

    def _send(self, output: Output, messages: list[Message], *, is_over: bool) -> int:
        """Send the next piece of an output; how many bytes."""
        try:
            with open(output.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > self._cap and not is_over:
                    return 0  # its middle goes, so it is sent when it is over
                if is_over and not output.is_checked:
                    output.is_checked = True
                    if size > self._cap or not begins_as_sent(file, output):
                        output.sent = output.checksum = 0
                is_new = output.sent == 0
                file.seek(output.sent)
                data = file.read(PIECE)
        except OSError:
            return 0  # there is none yet, or it was taken away
        if data:
            messages.append(("written", output.wanted, output.sent, data, is_new))
            output.sent += len(data)
            output.checksum = zlib.crc32(data, output.checksum)
        return len(data)


def begins_as_sent(file: BinaryIO, output: Output) -> bool:
    """Whether what was sent of a file is still what it begins with; a command may have begun anew."""
    left, checksum = output.sent, 0
    while left and (data := file.read(min(left, PIECE))):
        left -= len(data)
        checksum = zlib.crc32(data, checksum)
    return not left and checksum == output.checksum
