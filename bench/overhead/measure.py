"""What a run costs beside what is run: ours, the floor, make, ninja and xargs in turns, wall and processor seconds.

    python bench/overhead/measure.py [--n 10000] [--rounds 3] [--program true|nothing] [--only NAME ...]

Each command is a process of its own with all its children; a round is one run of each, in turn. Printed are the
medians of the rounds, and their ratios. `nothing` is a static program that only ends: with it overhead cannot hide.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from ours import depends_on

HERE = Path(__file__).resolve().parent
CHAIN = 500


def compile_helpers(folder: Path) -> None:
    """The C programs of the bench."""
    subprocess.run(["gcc", "-O2", "-o", folder / "floor", HERE / "floor.c"], check=True)
    subprocess.run(["gcc", "-O2", "-o", folder / "stamp", HERE / "stamp.c"], check=True)
    bare = ["-static", "-nostdlib", "-Wl,--build-id=none"]
    subprocess.run(["gcc", "-Os", *bare, "-o", folder / "nothing", HERE / "nothing.c"], check=True)


def write_make(folder: Path, graph: str, n: int, program: str) -> None:
    """The same graph as a Makefile; its targets are never made, so that all are run."""
    names = " ".join(f"t{i}" for i in range(n))
    lines = [f".PHONY: all {names}", f"all: {names}"]
    for i in range(n):
        dependencies = " ".join(depends_on(i, n // 100)) if graph == "layers" else ""
        lines += [f"t{i}: {dependencies}", f"\t@{program}"]
    (folder / f"{graph}.mk").write_text("\n".join(lines) + "\n")


def write_ninja(folder: Path, graph: str, n: int, program: str) -> None:
    """The same graph for ninja."""
    lines = ["rule r", f"  command = {program}"]
    for i in range(n):
        dependencies = " ".join(depends_on(i, n // 100)) if graph == "layers" else ""
        lines.append(f"build t{i}: r {dependencies}")
    (folder / f"{graph}.ninja").write_text("\n".join(lines) + "\n")


def commands(folder: Path, graph: str, n: int, program: str) -> dict[str, list[str]]:
    """Who takes part, and how each is called."""
    write_make(folder, graph, n, program)
    write_ninja(folder, graph, n, program)
    found: dict[str, list[str]] = {"floor": [str(folder / "floor"), str(n), "2", program]}
    if shutil.which("make"):
        found["make -j2"] = ["make", "-s", "-j2", "-f", str(folder / f"{graph}.mk"), "all"]
    if shutil.which("ninja"):
        found["ninja -j2"] = ["ninja", "--quiet", "-j", "2", "-f", str(folder / f"{graph}.ninja")]
    if shutil.which("xargs") and graph == "independent":
        found["xargs -P2"] = ["xargs", "-P", "2", "-n", "1", program]
    for keep in ("on", "off"):
        found[f"fastsched, both {keep}"] = [sys.executable, str(HERE / "ours.py"), graph, str(n), program, keep]
    return found


def measure(command: list[str], n: int, folder: Path) -> tuple[float, float]:
    """Wall and processor seconds of a command and all its children.

    What it writes is taken away when all is measured, not before: for minutes, ext4 looks at every file that was just
    removed when it makes a new one, which would triple the time of whoever comes next and makes files.
    """
    work = Path(tempfile.mkdtemp(dir=folder))
    given = folder / "given.txt"
    given.write_text("\n".join(map(str, range(n))) + "\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with given.open() as stdin:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=work, stdin=stdin, stdout=subprocess.DEVNULL, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[:3]} ended with {process.returncode}")
    return wall, usage.ru_utime + usage.ru_stime


def latency(folder: Path) -> list[float]:
    """Seconds from the end of each command of a chain to the start of the next, by the commands' own clocks."""
    from fastsched import Task, Worker, run

    stamps = folder / "stamps.txt"
    tasks = [Task(f"c{i}", [str(folder / "stamp"), str(stamps)], [f"c{i - 1}"] if i else []) for i in range(CHAIN)]
    os.chdir(folder)
    assert run(tasks, [Worker("w", 2, 1000)], journal=folder / "chain").all_completed
    rows = [tuple(map(int, line.split())) for line in stamps.read_text().splitlines()]
    return [(start - end) / 1e9 for (_, end), (start, _) in pairwise(rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--program", choices=("true", "nothing"), default="true")
    parser.add_argument("--graphs", nargs="+", choices=("independent", "layers"), default=["independent", "layers"])
    parser.add_argument("--only", nargs="+", help="of who takes part, those whose names begin so")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compile_helpers(folder)
        program = "/bin/true" if options.program == "true" else str(folder / "nothing")
        for graph in options.graphs:
            taking = commands(folder, graph, options.n, program)
            if options.only:
                taking = {who: what for who, what in taking.items() if who.startswith(tuple(options.only))}
            rounds: dict[str, list[tuple[float, float]]] = {who: [] for who in taking}
            for _ in range(options.rounds):
                for who, what in taking.items():
                    rounds[who].append(measure(what, options.n, folder))
            print(f"{options.n:,} times {options.program}, {graph}, two at a time; medians of {options.rounds} rounds")
            floor = statistics.median(cpu for _, cpu in rounds["floor"]) if "floor" in rounds else 0.0
            for who, times in rounds.items():
                wall = statistics.median(wall for wall, _ in times)
                cpu = statistics.median(cpu for _, cpu in times)
                above = (cpu - floor) / options.n * 1e6
                beside = [
                    f"{statistics.median(a / b for (a, _), (b, _) in zip(times, rounds[other])):.2f} x {other}"
                    for other in ("make -j2", "ninja -j2")
                    if other in rounds and who != other
                ]
                print(
                    f"  {who:<22}{wall:7.2f} s wall {cpu:7.2f} s cpu  {above:7.0f} us a task above the floor  "
                    f"{', '.join(beside)}"
                )
        waits = sorted(latency(folder))
        print(
            f"from the end of a command to the start of its dependent: median {waits[len(waits) // 2] * 1e3:.2f} ms, "
            f"90th percentile {waits[len(waits) * 9 // 10] * 1e3:.2f} ms"
        )


if __name__ == "__main__":
    main()
