"""The loop with nothing behind it: an engine whose commands end when they are sent. Tasks a second, and bytes a task.

    python bench/overhead/loop_alone.py [--n 1000000] [--workers 100] [--no-journal]

Tasks are submitted by a client in batches of 10,000 while earlier ones run; the bytes are what the process takes when
all have ended, above what it took before.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import threading
import time

from fastsched import Scheduler, Task, Worker
from fastsched.engines.base import Levels
from fastsched.events import AttemptEnded, Start, WorkerHeard, WorkerLost

BATCH = 10_000


class NothingEngine:
    """See `engines.base.Engine`: every command ends, with exit code 0, the moment it is sent."""

    holds = False
    offers = False

    def __init__(self):
        self._reports = []
        self._woken = threading.Event()

    def open(self, run_id, heartbeat_s, lease_s):
        pass

    def levels(self):
        return Levels("none", "none")

    def bring_up(self, worker, incarnation):
        self._reports.append(WorkerHeard(worker.worker_id, True, incarnation))

    def send(self, orders):
        self._reports += [
            AttemptEnded(o.task_id, o.worker_id, o.attempt, None, 0, None, "", None, o.incarnation)
            for o in orders
            if isinstance(o, Start)
        ]

    def wait_reports(self, timeout_s):
        if not self._reports:
            self._woken.wait(timeout_s)
        self._woken.clear()
        reports, self._reports = self._reports, []
        return reports

    def lose(self, worker_id, message):
        self._reports.append(WorkerLost(worker_id, message))

    def wake(self):
        self._woken.set()

    def close(self, grace_s):
        pass

    def hurry(self):
        pass


def resident() -> int:
    """Bytes of memory that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--no-journal", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        workers = [Worker(f"w{i}", 8, 16_384) for i in range(options.workers)]
        journal = None if options.no_journal else f"{folder}/journal"
        with Scheduler(workers, engine=NothingEngine(), journal=journal, capture=False, lease=3600) as scheduler:
            scheduler.submit(Task("first", "x")).result()
            gc.collect()
            before, began, cpu = resident(), time.perf_counter(), time.process_time()
            for at in range(0, options.n, BATCH):
                scheduler.submit_all(
                    [
                        Task(f"t{i}", "x", (f"t{i - 1000}",) if i >= 1000 and i % 2 else ())
                        for i in range(at, at + BATCH)
                    ]
                )
                while scheduler.snapshot().pending > BATCH:
                    time.sleep(0.005)
            scheduler.wait()
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            gc.collect()
            taken = resident() - before
            assert scheduler.snapshot().completed == options.n + 1
            print(
                f"{options.n:,} tasks on {options.workers} workers, journal {'off' if journal is None else 'on'}: "
                f"{options.n / seconds:,.0f} tasks a second, {cpu / options.n * 1e6:.1f} us of processor time and "
                f"{taken / options.n:.0f} bytes a task"
            )


if __name__ == "__main__":
    main()
