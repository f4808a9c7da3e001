"""Escapees, in Python: `escape.py KIND MARK`. Each leaves processes with MARK in their command lines, and what marks
processes is wiped wherever that can be done without privilege."""

from __future__ import annotations

import os
import resource
import sys
import time

KIND, MARK = sys.argv[1:3]
SLEEP = ["/bin/sh", "-c", f"sleep {MARK}; :"]


def daemonise() -> None:
    """As daemons do it: two forks, a session of its own, no descriptor, no environment."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    os.closerange(0, 256)
    os.execve(SLEEP[0], SLEEP, {})


def bomb() -> None:
    """Fork for ever, each in a session of its own; bounded by a limit of processes for a user who has no others."""
    if os.getuid() == 0:
        os.setgid(54321)
        os.setuid(54321)
    resource.setrlimit(resource.RLIMIT_NPROC, (120, 120))
    while True:
        try:
            if os.fork() == 0:
                os.setsid()
        except OSError:
            time.sleep(0.001)


if KIND == "daemon":
    if os.fork() == 0:
        daemonise()
    time.sleep(0.2)
elif KIND == "many":
    for _ in range(20):
        if os.fork() == 0:
            daemonise()
    time.sleep(0.2)
elif KIND == "bomb":
    bomb()
