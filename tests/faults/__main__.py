"""python -m faults [--only NAME ...] [--seed N] [--scale X]: as many faults as are promised.

Prints what was counted of each, and ends with 1 where anything of it is not as it must be.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .agents import kill_agents, stop_agents
from .clients import submit_from_everywhere
from .clusters import break_dask, break_ray
from .outputs import bad_commands
from .schedulers import fill_disks, kill_schedulers

NONE = (
    "lost", "recorded twice", "told twice", "overlapping attempts", "survivors", "completed tasks run again",
    "exit code", "exit code of resume", "out of order", "streams differ", "workers lost", "survivors on the cut host",
    "outputs missing",
)  # fmt: skip
NAMES = ("agents", "schedulers", "stops", "disks", "clients", "commands", "dask", "ray")
EQUAL = (
    ("stale reports", "rejected"),
    ("acknowledged", "kept"),
    ("submitted", "completed after resume"),
    ("handles", "resolved"),
)


def problems(counted: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    found = [f"{name}: {counted[name]}" for name in NONE if counted.get(name)]
    found += [
        f"{a}: {counted[a]}, {b}: {counted[b]}"
        for a, b in EQUAL
        if a in counted and b in counted and counted[a] != counted[b]
    ]
    if counted.get("detected after, s, 99th percentile", 0) >= 1:
        found.append("a killed agent was detected late")
    if counted.get("damage", "none") != "none":
        found.append(f"damage: {counted['damage']}")
    if counted.get("memory above idle, MiB", 0) > 32:
        found.append("the scheduler took more than 32 MiB above idle")
    if counted.get("completed", 0) != counted.get("tasks", 0) - 1 and "the bomb" in counted:
        found.append("others than the bomb failed")
    if not counted.get("processes seen at once", 1):
        found.append("no process of any command was ever seen")
    if not counted.get("while the run went on", True):
        found.append("the run was over before the last kill")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--scale", type=float, default=1.0, help="times as many faults and tasks")
    options = parser.parse_args()
    scale = options.scale

    def times(n: int) -> int:
        return max(1, round(n * scale))

    faults: dict[str, Callable[[Path], dict[str, Any] | None]] = {
        "agents": lambda folder: kill_agents(folder, times(200), times(2000), options.seed),
        "schedulers": lambda folder: kill_schedulers(folder, times(100), times(1000), options.seed),
        "stops": lambda folder: stop_agents(folder, times(50), options.seed),
        "clients": lambda folder: submit_from_everywhere(folder, times(10_000), options.seed),
        "commands": lambda folder: bad_commands(folder, times(10_240)),
        "disks": lambda folder: fill_disks(folder, times(20)),
        "dask": lambda folder: break_dask(folder, times(2000)),
        "ray": lambda folder: break_ray(folder, times(1000)),
    }
    failed = False
    print(f"seed {options.seed}")
    for name in options.only or faults:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            counted = faults[name](Path(folder) / name)
        if counted is None:
            print(f"{name}: skipped, there is no disk, network or cluster of our own to be had here")
            continue
        wrong = problems(counted)
        failed = failed or bool(wrong)
        told = ", ".join(f"{what}: {value}" for what, value in counted.items())
        print(
            f"{name} ({time.monotonic() - began:.0f} s): {told}{''.join(f'; WRONG {one}' for one in wrong)}", flush=True
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
