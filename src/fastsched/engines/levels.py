"""How strongly this machine lets an engine hold what it runs: found out by trying, and said in words.

Nothing that is made here stays. Notes are for a person: what is different about the commands, and why it is not better.
"""

from __future__ import annotations

import contextlib
import os
import sys

from .base import Levels
from .memory import TICK_S, find_cgroup
from .system import Variables, spawn

__all__ = ["CONTAINMENTS", "choose_levels", "local_levels"]

CONTAINMENTS = ("auto", "namespace", "session")
IDS = "Process ids are those of the worker; what a command mounts is seen on its worker alone."
USER = "Commands are in a user namespace: ssh refuses configuration that belongs to root; sudo and ping do not work."
GROUPS_ONLY = "What leaves the group of its command, or outlives a killed agent, is not found here."


def local_levels(containment: str = "auto") -> Levels:
    """What a `LocalEngine` would have in force here. Raises as that does."""
    return choose_levels(containment)[1]


def choose_levels(containment: str) -> tuple[str, Levels]:
    """The namespaces of agents, as `spawn` takes them, and what there is to say.

    Raises:
        ValueError: for another word than auto, namespace, session. OSError: where there are no namespaces to be had.
    """
    if containment not in CONTAINMENTS:
        raise ValueError(f"containment is {containment!r}; auto, namespace or session is wanted")
    memory, note = memory_level(find_cgroup()[1])
    notes = [note] if note else []
    if containment != "session":
        why_not = try_spaces("own")
        if not why_not:
            return "own", Levels("namespace", memory, (IDS, *notes))
        if containment == "namespace":
            if why_not := try_spaces("user"):
                raise OSError(f"there are no PID namespaces to be had: {why_not}")
            return "user", Levels("namespace", memory, (IDS, USER, *notes))
        notes.insert(0, f"There are no PID namespaces to be had: {why_not}.")
    if not os.path.exists("/proc/self/stat"):
        notes.insert(0, GROUPS_ONLY)
    return "", Levels("session", memory, tuple(notes))


def try_spaces(kind: str) -> str:
    """Why a process in namespaces of its own cannot be made; "": it can."""
    if sys.platform != "linux":
        return "this is not Linux"
    try:
        pid, _ = spawn(b"", [], Variables([]), [], spaces=kind)
    except OSError as error:
        return str(error.strerror)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    return ""


def memory_level(why_not: str) -> tuple[str, str]:
    """How limits of memory are enforced, where there is (not) a cgroup for that; and what is to be said of it."""
    if not why_not:
        return "cgroup v2", ""
    if not os.path.exists("/proc/self/statm"):
        return "none", "What commands take cannot be seen here, so no limit of memory is enforced."
    return f"watchdog, every {TICK_S * 1000:.0f} ms", f"The kernel does not enforce memory: {why_not}."
