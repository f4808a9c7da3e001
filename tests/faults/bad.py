"""A scheduler with 64 descriptors and commands that behave badly. For `outputs.bad_commands` alone.

Arguments: a folder, MB of output, a text that stands in the command lines of whatever escapes.
"""

import json
import os
import resource
import sys
import threading
import time
from pathlib import Path

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

from fastsched import Scheduler, Task, Worker  # noqa: E402
from fastsched.events import WorkerLost  # noqa: E402

folder, output_mb, mark = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
escape = [sys.executable, str(Path(__file__).parents[1] / "conformance" / "escape.py")]
lost = []


def resident():
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def note(event):
    if isinstance(event, WorkerLost):
        lost.append(event.message)


workers = [Worker(f"w{i}", 4, 1024) for i in range(4)]
with Scheduler(workers, journal=folder / "run", heartbeat=0.1, lease=2.0, grace=0.2, on_event=note) as scheduler:
    scheduler.submit(Task("first", "true")).result()
    time.sleep(0.5)
    idle = most = resident()
    tasks = [
        Task("loud", f"head -c {output_mb}M /dev/zero | tr '\\0' x"),
        Task("bomb", [*escape, "bomb", mark], timeout=3.0, max_retries=0),
        Task("holds-the-pipe", f"sleep {mark} & echo begun"),
        *[Task(f"daemon-{i}", [*escape, "daemon", mark]) for i in range(20)],
        *[Task(f"many-{i}", [*escape, "many", mark]) for i in range(5)],
        *[Task(f"t{i}", "true") for i in range(500)],
    ]
    scheduler.submit_all(tasks)
    ended = threading.Event()

    def wait():
        scheduler.wait()
        ended.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not ended.wait(0.02):
        most = max(most, resident())
    waiting.join()
    told = {
        "tasks": len(tasks) + 1,
        "completed": scheduler.snapshot().completed,
        "the bomb": scheduler.explain("bomb").reason,
        "workers lost": len(lost),
        "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "memory above idle, MiB": round((most - idle) / 2**20, 1),
        "kept of the output, MiB": round((folder / "run" / "logs" / "loud.1.out").stat().st_size / 2**20, 1),
    }
print(json.dumps(told))
