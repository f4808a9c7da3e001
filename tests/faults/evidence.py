"""What commands leave behind to be counted: lines in a file, locks that live as long as any of their processes."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from pathlib import Path

# Each line is one write to a file that is appended to. The lock is inherited by whatever the command leaves running, so
# that the next attempt finds it held where anything of the one before is still there.
SCRIPT = """
exec 9>>"$EVIDENCE/lock.$FASTSCHED_TASK_ID"
flock -n 9 || echo "overlap $FASTSCHED_TASK_ID $FASTSCHED_ATTEMPT" >>"$EVIDENCE/lines"
echo "start $FASTSCHED_TASK_ID $FASTSCHED_ATTEMPT" >>"$EVIDENCE/lines"
if [ "$1" = leave ]; then
    (setsid env -i sleep "$TOKEN" &)
fi
sleep "$2"
echo "end $FASTSCHED_TASK_ID $FASTSCHED_ATTEMPT" >>"$EVIDENCE/lines"
"""


class Evidence:
    """A folder that commands write into, and what can be read there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.script, self.lines = folder / "command.sh", folder / "lines"
        self.script.write_text(SCRIPT)
        self.lines.touch()
        self.token = f"9{uuid.uuid4().int % 10**9:09d}"  # seconds that nobody else sleeps

    @property
    def env(self) -> dict[str, str]:
        """The environment of the commands."""
        return {**os.environ, "EVIDENCE": str(self.folder), "TOKEN": self.token}

    def command(self, i: int, seconds: float = 0.02) -> list[str]:
        """The command of task i; every fourth leaves something behind in a session and an environment of its own."""
        return ["/bin/sh", str(self.script), "leave" if i % 4 == 0 else "-", f"{seconds:g}"]

    def count(self) -> dict[str, Counter[str]]:
        """For start, end and overlap: how often each task said so."""
        counts: dict[str, Counter[str]] = {"start": Counter(), "end": Counter(), "overlap": Counter()}
        for line in self.lines.read_text().splitlines():
            what, task_id, _ = line.split()
            counts[what][task_id] += 1
        return counts

    def survivors(self, patience_s: float = 0.0) -> list[int]:
        """Processes of commands that live, after waiting so long for them to end."""
        until = time.monotonic() + patience_s
        while (found := self._alive()) and time.monotonic() < until:
            time.sleep(0.02)
        return found

    def _alive(self) -> list[int]:
        wanted = (self.token.encode(), os.fsencode(self.script))
        return [pid for pid, words in commands() if any(word in words for word in wanted)]


def commands() -> list[tuple[int, list[bytes]]]:
    """Every process that can be seen, and its command line."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found.append((int(entry), Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")))
            except OSError:
                continue  # it has ended
    return found


def agents_of(scheduler: int) -> dict[str, int]:
    """The agents of a scheduler's process: the worker of each, and its process id."""
    found = {}
    for pid, words in commands():
        if any(b"engines.agent" in word for word in words):
            try:
                parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == scheduler:
                found[os.fsdecode(words[-2])] = pid
    return found
