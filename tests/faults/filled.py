"""A scheduler on a disk that is filled and freed so many times; then it is killed. For `schedulers.fill_disks` alone.

Arguments: the folder of the disk, a file elsewhere for the ids that it is told have completed, how often, the outputs.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

from fastsched import Scheduler, Task, Worker
from fastsched.events import AttemptCompleted

disk, told, times = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
acknowledged = os.open(told, os.O_CREAT | os.O_WRONLY | os.O_APPEND)


def note(event):
    if isinstance(event, AttemptCompleted):
        os.write(acknowledged, f"{event.task_id}\n".encode())


scheduler = Scheduler([Worker("w", 4, 1024)], journal=disk / "run", run_dir=sys.argv[4], on_event=note, heartbeat=0.2)
n, full = 0, 0


def submit():
    """More tasks; what asks for it waits as long as the disk is full."""
    global n
    while full < times:
        scheduler.submit_all([Task(f"t{n + i}", "/bin/true", duration=0.001) for i in range(50)])
        n += 50
        scheduler.wait()


client = threading.Thread(target=submit)
client.start()
while full < times:
    time.sleep(0.1)
    filler = os.open(disk / "filler", os.O_CREAT | os.O_WRONLY)
    for block in (1 << 20, 1 << 12):
        try:
            while True:
                os.write(filler, bytes(block))
        except OSError:
            pass
    while not scheduler._loop.blocked:  # there may be some room left in the journal's own files
        time.sleep(0.005)
    time.sleep(0.1)
    os.close(filler)
    os.unlink(disk / "filler")
    while scheduler._loop.blocked:
        time.sleep(0.005)
    full += 1
client.join()
print(json.dumps({"submitted": n, "full": full}), flush=True)
time.sleep(0.3)
os.kill(os.getpid(), 9)
