"""Schedulers that are killed while tasks run, and taken up again; and disks that are full."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from fastsched import TaskStatus
from fastsched.runtime.view import PastRun

from .evidence import Evidence

FILLED = Path(__file__).with_name("filled.py")


def kill_schedulers(folder: Path, kills: int, n: int, seed: int) -> dict[str, Any]:
    """kill -9 of `fastsched run`, and of each `fastsched resume` after it, until nothing is left to kill."""
    rng, evidence = random.Random(seed), Evidence(folder / "evidence")
    tasks = [
        {
            "task_id": f"t{i}",
            "command": evidence.command(i, 0.01),
            "dependencies": [f"t{i - 7}"] if i >= 7 else [],
            "duration": 0.01,
        }
        for i in range(n)
    ]
    workers = [{"worker_id": f"w{i}", "cpu_cores_available": 1, "memory_available_mb": 512} for i in range(2)]
    (folder / "job.json").write_text(json.dumps({"tasks": tasks, "workers": workers}))
    run = folder / "run"
    arguments = ["run", str(folder / "job.json"), "--run-dir", str(run)]
    killed = survivors = 0
    completed_at: dict[str, int] = {}  # how many lines there were when the journal was seen to have it
    while True:
        process = subprocess.Popen(
            [sys.executable, "-m", "fastsched", *arguments, "-q"], env=evidence.env, stdout=subprocess.DEVNULL
        )
        arguments = ["resume", str(run)]
        if killed < kills:
            enough = rng.randint(1, max(1, n // kills * 3 // 2))
            wait_for_ends(evidence, sum(evidence.count()["end"].values()) + enough, process)
        if killed == kills or process.poll() is not None:
            code = process.wait(600)
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
        survivors += len(evidence.survivors(5.0))
        n_lines = len(evidence.lines.read_text().splitlines())
        for task_id, status in PastRun(run).ledger.state.statuses().items():
            if status is TaskStatus.COMPLETED:
                completed_at.setdefault(task_id, n_lines)
    result = PastRun(run).result()
    said = evidence.count()
    recorded = Counter(attempt.task_id for attempt in result.attempts if attempt.reason is None)
    return {
        "schedulers killed": killed,
        "tasks": n,
        "exit code": code,
        "lost": sum(status != "COMPLETED" for status in result.values()) + sum(not said["end"][t] for t in result),
        "completed tasks run again": run_again(evidence, completed_at),
        "recorded twice": sum(times > 1 for times in recorded.values()),
        "attempts run": sum(said["start"].values()),
        "overlapping attempts": sum(said["overlap"].values()),
        "survivors": survivors + len(evidence.survivors(5.0)),
    }


def wait_for_ends(evidence: Evidence, wanted: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until so many attempts have said that they end, or the run is over."""
    while process.poll() is None and sum(evidence.count()["end"].values()) < wanted:
        time.sleep(0.005)


def run_again(evidence: Evidence, completed_at: dict[str, int]) -> int:
    """How many attempts were started of tasks that the journal had for completed."""
    lines = [line.split() for line in evidence.lines.read_text().splitlines()]
    late = len(lines)
    return sum(what == "start" and i >= completed_at.get(task_id, late) for i, (what, task_id, _) in enumerate(lines))


def fill_disks(folder: Path, times: int, size_mb: int = 64) -> dict[str, Any] | None:
    """A disk that is full again and again under a run, which is killed in the end. None: there is no such disk here.

    Whatever was told must be in the journal, and the run must go on from there.
    """
    disk = folder / "disk"
    disk.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        return None
    try:
        told = folder / "told"
        process = subprocess.run(
            [sys.executable, str(FILLED), str(disk), str(told), str(times), str(folder / "outputs")],
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert process.returncode == -signal.SIGKILL, process.stderr
        done = json.loads(process.stdout)
        acknowledged = told.read_text().split()
        past = PastRun(disk / "run")
        statuses = past.ledger.state.statuses()
        kept = [task_id for task_id in acknowledged if statuses.get(task_id) is TaskStatus.COMPLETED]
        resumed = subprocess.run(
            [sys.executable, "-m", "fastsched", "resume", str(disk / "run"), "-q"], capture_output=True, timeout=600
        )
        result = PastRun(disk / "run").result()
        return {
            "disk full": done["full"],
            "acknowledged": len(acknowledged),
            "kept": len(kept),
            "told twice": len(acknowledged) - len(set(acknowledged)),
            "damage": str(past.damage or "none"),
            "submitted": done["submitted"],
            "completed after resume": sum(status == "COMPLETED" for status in result.values()),
            "exit code of resume": resumed.returncode,
        }
    finally:
        subprocess.run(["umount", str(disk)], check=True, env=os.environ)
