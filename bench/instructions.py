"""How many instructions our extensions execute for a fixed piece of work, held to the numbers kept in the repository.

Seconds depend on the machine and on who else uses it; instructions do not. Counted is what is executed inside
`fastsched/*.so` between two marks, step by step (count/step.pyx): so start-up, Python and numpy count nothing, whatever
their versions. What remains is the compiler and, a little, the Python whose macros are compiled in: a number is kept
for each. Fails where a number grew by more than a tenth. After a growth that is meant: --renew, and commit the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

import native
import workloads

from fastsched import TaskGraph, _core
from fastsched._timeline import simulate
from fastsched.graph import WorkerTable

KEPT = Path(__file__).with_suffix(".json")
GROWTH = 1.10
N_TASKS, N_WORKERS, WIDTH = 200, 20, 100  # small, because a step takes up to 20 us on a virtual machine


def core_of(tasks):
    graph = TaskGraph(tasks)
    return workloads.core_of(graph, WorkerTable(workloads.workers(N_WORKERS), graph.resources))


WORKLOADS = {  # name -> what is prepared, what is counted
    "core, layers": (lambda: core_of(workloads.layers(WIDTH, N_TASKS)), lambda core: simulate(core)),
    "core, wide": (lambda: core_of(workloads.wide(N_TASKS)), lambda core: simulate(core)),
    "reading Task objects": (lambda: workloads.layers(WIDTH, N_TASKS), TaskGraph),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--renew", action="store_true", help="keep the numbers of today for this kind of build")
    parser.add_argument("--play", choices=WORKLOADS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        return play(options.play)
    if not sys.platform.startswith("linux"):
        print("instructions: skipped: they are counted on Linux only")
        return 0
    try:
        counts = {name: count(name) for name in WORKLOADS}
    except (ImportError, PermissionError) as error:
        print(f"instructions: skipped: {error}")
        return 0
    build = kind_of_build()
    everything = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    if options.renew:
        everything[build] = {name: own for name, (own, _) in counts.items()}
        KEPT.write_text(json.dumps(everything, indent=4, sort_keys=True) + "\n")
    return compare(build, counts, everything.get(build))


def play(name: str) -> int:
    """In the child: the work between two marks."""
    prepare, work = WORKLOADS[name]
    work(prepare())  # whatever is done only once is done now
    prepared = prepare()
    signal.raise_signal(signal.SIGUSR2)
    work(prepared)
    signal.raise_signal(signal.SIGUSR2)
    return 0


def count(name: str) -> tuple[int, int]:
    """Instructions executed by one run of the work: (in our extensions, in all)."""
    step = native.load("count/step.pyx")
    command = [sys.executable, __file__, "--play", name]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    try:
        child = subprocess.Popen(command, env=environment, preexec_fn=step.trace_me)
    except subprocess.SubprocessError:
        raise PermissionError("this machine does not let a program trace its child") from None
    with child:
        if not step.follow(child.pid, signal.SIGUSR2):
            raise RuntimeError(f"{name}: the child ended before its work")
        maps = Path(f"/proc/{child.pid}/maps").read_text()
        ours = re.findall(r"^(\w+)-(\w+) r-xp .*/fastsched/\S+\.so$", maps, re.MULTILINE)
        total, own = step.count(child.pid, signal.SIGUSR2, [(int(low, 16), int(high, 16)) for low, high in ours])
        step.let_go(child.pid)
    if child.returncode or not own:
        raise RuntimeError(f"{name}: exit code {child.returncode}, {own} instructions of our own")
    return own, total


def kind_of_build() -> str:
    """Machine, compiler and Python: what the numbers depend on beside our code."""
    versions = re.findall(rb"(GCC|clang)[: ][^\0]*?(\d+)\.\d+\.\d+", Path(_core.__file__).read_bytes())
    compiler = " ".join(part.decode().lower() for part in versions[-1]) if versions else "unknown compiler"
    return f"{platform.machine()}, {compiler}, Python {sys.version_info[0]}.{sys.version_info[1]}"


def compare(build: str, counts: dict[str, tuple[int, int]], kept: dict[str, int] | None) -> int:
    """Print the table; 1 where a number grew too much."""
    print(f"instructions in our extensions ({build}), a task, and beside what is kept; in all, for information:")
    grown = []
    for name, (own, total) in counts.items():
        before = (kept or {}).get(name)
        change = f"{(own / before - 1) * 100:+6.2f} %" if before else "not kept"
        print(f"    {name:22} {own / N_TASKS:9.1f}   {change}   {total / N_TASKS:9.1f}")
        if before and own > before * GROWTH:
            grown.append(name)
    if kept is None:
        print("instructions: skipped: no numbers are kept for such a build; bench/instructions.py --renew keeps these")
    if grown:
        print(
            f"instructions: grew by over {GROWTH - 1:.0%}: {', '.join(grown)}. If that is meant: --renew, and say why"
        )
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
