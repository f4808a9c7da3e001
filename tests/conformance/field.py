"""A field to try an engine on: it sends orders, keeps what is reported, and looks for survivors."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from fastsched import Worker
from fastsched.events import AttemptEnded, Start, Stop, WorkerHeard, WorkerLost

PATIENCE_S = 30.0
needs_proc = pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="skipped: only process groups are held together here"
)


class Field:
    """An engine that is open, its workers, and everything that it has reported."""

    def __init__(self, engine, *, run_id=None, heartbeat_s=0.2, lease_s=20.0):
        self.engine = engine
        self.run_id = run_id or uuid.uuid4().hex
        self.incarnations: dict[str, int] = {}
        self.reports: list[object] = []
        self.heard: list[float] = []  # when anything was heard
        self.is_open = True
        engine.open(self.run_id, heartbeat_s, lease_s)

    def bring_up(self, worker_id="w1", cores=4, memory_mb=4096):
        """Bring a worker up, for the first time or again, and wait until it is."""
        incarnation = self.incarnations[worker_id] = self.incarnations.get(worker_id, 0) + 1
        self.engine.bring_up(Worker(worker_id, cores, memory_mb), incarnation)
        return self.find(WorkerHeard, lambda r: r.worker_id == worker_id and r.first and r.incarnation == incarnation)

    def start(self, task_id, command, worker_id="w1", attempt=1, *, cores=1.0, memory_mb=128, **more):
        """Send a Start; answers it."""
        incarnation = more.pop("incarnation", self.incarnations[worker_id])
        order = Start(task_id, worker_id, attempt, incarnation, command, cores, memory_mb, **more)
        self.engine.send([order])
        return order

    def stop(self, task_id, worker_id="w1", attempt=1, *, grace_s=10.0):
        """Send a Stop."""
        self.engine.send([Stop(task_id, worker_id, attempt, self.incarnations[worker_id], grace_s)])

    def run(self, command, **more):
        """Start a command and wait for its end."""
        task_id = f"t{len(self.reports)}-{uuid.uuid4().hex[:6]}"
        self.start(task_id, command, **more)
        return self.end_of(task_id)

    def end_of(self, task_id, seconds=PATIENCE_S):
        """The end of an attempt, waited for."""
        return self.find(AttemptEnded, lambda report: report.task_id == task_id, seconds)

    def loss_of(self, worker_id, seconds=PATIENCE_S):
        """The loss of a worker, waited for."""
        return self.find(WorkerLost, lambda report: report.worker_id == worker_id, seconds)

    def find(self, kind, matches=lambda report: True, seconds=PATIENCE_S):
        """The first report of this kind, taken out of what has come."""
        deadline = time.monotonic() + seconds
        while True:
            for report in self.reports:
                if isinstance(report, kind) and matches(report):
                    self.reports.remove(report)
                    return report
            others = [report for report in self.reports if not isinstance(report, WorkerHeard)]
            assert time.monotonic() < deadline, f"waited {seconds:g} s for {kind.__name__}, and got {others[-5:]}"
            self.wait(0.2)

    def wait(self, seconds):
        """One wait for reports."""
        reports = self.engine.wait_reports(seconds)
        if reports:
            self.heard.append(time.monotonic())
        self.reports += reports

    def wait_until(self, condition, seconds=PATIENCE_S):
        """Serve the engine until something is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds:g} s in vain"
            self.wait(0.02)

    def ends(self):
        """The ends that were reported and not asked for."""
        return [report for report in self.reports if isinstance(report, AttemptEnded)]

    def close(self, grace_s=0.0):
        if self.is_open:
            self.is_open = False
            self.engine.close(grace_s)


def survivors(mark: str) -> list[int]:
    """The processes with this text in their command line, which have not ended."""
    if not os.path.isdir("/proc/self"):
        listed = subprocess.run(["ps", "-Awwo", "pid=,args="], capture_output=True, text=True, check=True).stdout
        return [int(line.split()[0]) for line in listed.splitlines() if mark in line and "ps -A" not in line]
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                if mark.encode() in Path("/proc", entry, "cmdline").read_bytes():
                    found.append(int(entry))
            except OSError:
                pass  # it has ended meanwhile
    return found


def wait_for(condition, seconds=PATIENCE_S):
    """Wait until something is so, without an engine to serve."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain"
        time.sleep(0.01)
