"""Plants every bug of the table, one at a time, and asks the suite to find it.

They are planted in copies of the package, built without optimisation: those of native rooms together, each of them
asleep until it is called by its number (`combine`), and what cannot be combined in copies of its own. Then the tests
run against the copy until one fails, crashes or takes too long. First the copy in which all are asleep has to pass. A
bug that cannot be planted, or whose copy cannot be built or imported, is an error and not a catch.

    ./dev mutants [--list] [--only NAME ...] [--jobs N]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from mutations.combine import combine
from mutations.table import MUTATIONS, Mutation

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
SOURCE = ROOT / "src" / "fastsched"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
WORLDS = "800"
HANG = 120  # seconds for one test: a hang is a catch
TIMEOUT = 900  # seconds for all tests of one mutant, where it hangs outside of them
SUITE = (
    *("core", "planner", "state", "explain", "policy", "order", "graph", "arrays", "liveness", "pace", "simulation"),
    *("resume", "clients", "scheduler", "verbs"),
)
NUMBERED = dict(enumerate(MUTATIONS, 1))
NEAREST = {  # beside the file of the room itself; what is quick comes first
    "_timeline": ("planner",),
    "_facts": ("core", "planner", "risk", "sizing"),
    "_replay": ("risk", "sizing"),
    "_chance": ("risk", "planner"),
    "covering": ("sizing",),
    "graph": ("portfolio",),
    "_order": ("order",),
    "ranks": ("order",),
    "plan": ("planner",),
    "history": ("earlier",),
    **dict.fromkeys(("lanes", "usage", "waits", "page", "trace", "sketch", "files", "options"), ("pictures",)),
    "_export": ("table",),
    "planner": ("portfolio", "optimize", "following", "risk"),
    "guide": ("following",),
    "view": ("saved",),
    "planning": ("whatif",),
    "_search": ("search", "search_running", "optimize", "rcpsp"),
    "replan": ("following", "searching_runs"),
    "pilot": ("following", "searching_runs", "simulation"),
    "_graphs": ("planner",),
    "_profile": ("search", "optimize"),
    "budget": ("optimize",),
    "_bounds": ("bounds",),
    "_windows": ("bounds",),
    "state": ("following", "state_machine"),
    "loop": ("offers", "scheduler", "resume", "clients", "simulation"),
    "outpost": ("remote",),
    "porter": ("remote",),
    "scheduler": ("clients",),
    "session": ("following", "searching_runs", "resume", "verbs"),
    "ledger": ("resume", "verbs"),
    "teller": ("clients",),
    "record": ("resume",),
    "journal": ("journal_crashes", "resume"),
    "chain": ("journal_crashes", "journal"),
    "disk": ("journal", "journal_crashes"),
    "agent": ("conformance/loss", "local", "faults", "conformance"),
    "_lane": ("conformance/promises", "agent", "conformance", "local"),
    "local": ("conformance/loss", "faults", "conformance"),
    "hosts": ("local", "conformance/commands", "conformance"),
    "custody": ("agent", "local", "conformance/ends", "conformance", "faults"),
    "capture": ("local", "agent", "conformance"),
    "memory": ("conformance/ends", "local", "faults", "conformance"),
}
BUILD = """
import sys
from Cython.Build import cythonize
from setuptools import Distribution, Extension
flags = ["-O0", "-w"] if sys.platform != "win32" else ["/Od"]
rooms = sys.argv[1:]
names = ["fastsched." + room.replace("/", ".") for room in rooms]
extensions = [Extension(n, [f"fastsched/{r}.pyx"], extra_compile_args=flags) for n, r in zip(names, rooms)]
directives = {"boundscheck": False, "wraparound": False, "initializedcheck": False, "cdivision": True}
made = cythonize(extensions, compiler_directives=directives, force=True, quiet=True)
command = Distribution({"ext_modules": made}).get_command_obj("build_ext")
command.inplace, command.build_temp = True, "build"
command.ensure_finalized()
command.run()
"""


class PlantError(Exception):
    """A mutation that says nothing about the suite: its snippet, its build or its import is wrong."""


class Verdict(NamedTuple):
    """What the suite said of one mutant: `by` the test that failed, and how."""

    caught: bool
    by: str
    seconds: float


def mutate(text: str, mutation: Mutation) -> str:
    """The text with the bug in it. Raises PlantError unless the snippet occurs exactly once."""
    count = text.count(mutation.old)
    if count != 1:
        raise PlantError(f"{mutation.name}: the snippet occurs {count} times in {mutation.file}; renew it in the table")
    if mutation.old == mutation.new:
        raise PlantError(f"{mutation.name}: nothing is replaced")
    return text.replace(mutation.old, mutation.new)


def native_rooms() -> list[str]:
    return sorted(path.stem for path in SOURCE.glob("*.pyx"))


def rooms_to_build(file: str) -> list[str]:
    """The native rooms into which this file is compiled."""
    if file.endswith(".pxi"):
        return ["engines/_linux"]
    if not file.endswith((".pyx", ".pxd")):
        return []
    if file.endswith(".pyx"):
        return [Path(file).stem]  # who cimports it shares its layout, which is in the .pxd, and nothing else
    return [room for room in native_rooms() if Path(file).stem in cimported(f"{room}.pyx", {room})]


def cimported(file: str, seen: set[str]) -> set[str]:
    """The rooms whose declarations are compiled into this file."""
    for found in re.findall(r"^from \.(\w+) cimport", (SOURCE / file).read_text(), re.MULTILINE):
        if found not in seen:
            seen.add(found)
            cimported(f"{found}.pxd", seen)
    return seen


def copy_package(source: Path, folder: Path, without: Sequence[str] = ()) -> Path:
    """A copy of the package in this folder, without the builds of some rooms. Answers where it stands."""
    package = folder / "fastsched"
    stale = [f"{Path(room).name}.*{end}" for room in without for end in (".so", ".pyd")]
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__", "*.c", *stale))
    return package


def plant(mutation: Mutation, source: Path, folder: Path) -> None:
    """Make a copy with the bug in it, and build what has changed."""
    rooms = rooms_to_build(mutation.file)
    package = copy_package(source, folder, without=rooms)
    for path in (*SOURCE.glob("*.pyx"), *SOURCE.glob("*.pxd")):
        shutil.copy(path, package)
    path = package / mutation.file
    path.write_text(mutate(path.read_text(), mutation))
    build(folder, rooms)


def plant_together(package: Path) -> set[int]:
    """Write into the native rooms of a copy all bugs that can be asleep there. Answers their numbers."""
    done: set[int] = set()
    for file in sorted({mutation.file for mutation in MUTATIONS if mutation.file.endswith((".pyx", ".pxd"))}):
        text = (SOURCE / file).read_text()
        mutated = {number: mutate(text, mutation) for number, mutation in NUMBERED.items() if mutation.file == file}
        text, combined = combine(text, mutated)
        if file.endswith(".pyx"):
            text += "\nPLANTED = PLANTED_NUMBER\n"  # for the guard
        (package / file).write_text(text)
        done |= combined
    return done


def build(folder: Path, rooms: Sequence[str]) -> None:
    if not rooms:
        return
    done = subprocess.run([sys.executable, "-c", BUILD, *rooms], cwd=folder, capture_output=True, text=True)
    missing = [room for room in rooms if not (folder / "fastsched" / f"{room}{SUFFIX}").exists()]
    if done.returncode or missing:
        said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        raise PlantError(f"{' and '.join(missing or rooms)} cannot be built:\n{said}")


def files_of(name: str) -> list[str]:
    """The files of tests that are called by a name: one, also in a folder ("folder/name"), or all of a folder."""
    path = TESTS / name
    file = path.with_name(f"test_{path.name}.py")
    files = [file] if file.exists() else sorted(path.glob("test_*.py"))
    return [file.relative_to(ROOT).as_posix() for file in files]


def suite_for(file: str) -> list[str]:
    """The files of tests, the one of the room itself first."""
    room = Path(file).stem
    return list(dict.fromkeys(test for name in (room, *NEAREST.get(room, ()), *SUITE) for test in files_of(name)))


def judge(
    folder: Path, tests: Sequence[str], *, number: int = 0, notes: Path | None = None, hang: float = HANG
) -> Verdict:
    """Run tests against the copy in this folder until one fails; what they say goes to `notes`, or there as well.

    `number`: of the bug that is to be awake, where the copy has many. `hang`: seconds that one test may take.

    Raises:
        PlantError: where they did not run, or not against the copy.
    """
    begun = time.monotonic()
    note, log = (notes or folder) / "note.txt", (notes or folder) / "log.txt"
    note.write_text("")
    imported = ["fastsched", *(f"fastsched.{room}" for room in native_rooms())]
    python_path = os.pathsep.join(filter(None, (str(folder), str(TESTS), os.environ.get("PYTHONPATH"))))
    environment = {
        **os.environ,
        "PYTHONPATH": python_path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "FASTSCHED_WORLDS": WORLDS,
        "FASTSCHED_MUTANT": str(folder),
        "FASTSCHED_MUTANT_ROOMS": " ".join(imported),
        "FASTSCHED_MUTANT_NOTE": str(note),
        "FASTSCHED_MUTANT_NUMBER": str(number),
        "FASTSCHED_MUTANT_HANG": str(hang),
    }
    command = [sys.executable, "-m", "pytest", "-x", "--tb=short", "-p", "mutations.guard", "-p", "no:cacheprovider"]
    how = ""
    with log.open("w") as out:
        try:
            code = subprocess.run(
                [*command, *tests], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, timeout=TIMEOUT
            ).returncode
        except subprocess.TimeoutExpired:
            code, how = 1, "hang: "
    seconds = time.monotonic() - begun
    what, _, test = note.read_text().partition(" ")
    if code == 0:
        return Verdict(False, "", seconds)
    if not test or (code not in (1, 2) and 0 < code < 128):
        raise PlantError(f"the tests did not run:\n{log.read_text()[-3000:]}")
    if not how and what != "failed":
        how = "hang: " if code == 1 else "crash: "  # the guard ends a hang with 1
    return Verdict(True, how + test.removeprefix("tests/"), seconds)


def try_one(number: int, base: Base, work: Path) -> Verdict:
    """Wake one bug, or plant it by itself, and have it judged."""
    mutation, begun = NUMBERED[number], time.monotonic()
    folder = work / mutation.name
    folder.mkdir()
    tests = suite_for(mutation.file)
    if number in base.asleep:
        return judge(base.folder, tests, number=number, notes=folder)
    try:
        plant(mutation, base.folder / "fastsched", folder)
        return judge(folder, tests)._replace(seconds=time.monotonic() - begun)
    finally:
        shutil.rmtree(folder / "fastsched", ignore_errors=True)


class Base(NamedTuple):
    """A built copy, and the numbers of the bugs that are asleep in it."""

    folder: Path
    asleep: set[int]


def build_base(work: Path, pool: ThreadPoolExecutor, tests: Sequence[str]) -> Base:
    """The copy with all bugs asleep, after it has passed these files of tests."""
    folder, rooms = work / "asleep", native_rooms()
    asleep = plant_together(copy_package(SOURCE, folder, without=[*rooms, "_linux"]))
    engines = ["engines/_linux"] if sys.platform == "linux" else []
    list(pool.map(lambda room: build(folder, [room]), [*rooms, *engines]))

    def pass_one(test: str) -> Verdict:
        notes = work / f"asleep-{test.replace('/', '-')}"
        notes.mkdir()
        return judge(folder, [test], notes=notes)

    for test, verdict in zip(tests, pool.map(pass_one, tests)):
        if verdict.caught:
            raise PlantError(f"the unmutated copy does not pass {test}: {verdict.by}")
    return Base(folder, asleep)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev mutants", description="Plant bugs; the suite has to find each.")
    parser.add_argument("--list", action="store_true", help="name the bugs and what they mean")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this bug alone (repeatable)")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="mutants at a time")
    options = parser.parse_args(arguments)
    unknown = set(options.only) - {mutation.name for mutation in MUTATIONS}
    if unknown:
        parser.error(f"there is no mutation {', '.join(sorted(unknown))}; see --list")
    chosen = [number for number, mutation in NUMBERED.items() if not options.only or mutation.name in options.only]
    if options.list:
        for number in chosen:
            mutation = NUMBERED[number]
            print(f"{mutation.name:34} {mutation.file:20} {mutation.meaning}")
        return 0
    begun, n_caught = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as name, ThreadPoolExecutor(options.jobs) as pool:
        work = Path(name).resolve()
        # A test that fails anyway would catch everything: so all that any of them is shown has to pass.
        shown = dict.fromkeys(test for number in chosen for test in suite_for(NUMBERED[number].file))
        base = build_base(work, pool, list(shown))
        chosen.sort(key=lambda number: number in base.asleep)  # what is still to be built takes longest: it goes first
        print(f"the unmutated copy passes ({time.monotonic() - begun:.0f} s)", flush=True)
        running = {pool.submit(try_one, number, base, work): NUMBERED[number] for number in chosen}
        for done in as_completed(running):
            mutation = running[done]
            try:
                verdict = done.result()
            except PlantError as error:
                print(f"ERROR     {mutation.name:34} {error}", flush=True)
                continue
            n_caught += verdict.caught
            what = "caught" if verdict.caught else "SURVIVED"
            told = verdict.by if verdict.caught else f"NOBODY: {mutation.meaning}"
            print(f"{what:9} {mutation.name:34} {verdict.seconds:5.1f} s  {told}", flush=True)
            if options.only:
                print((work / mutation.name / "log.txt").read_text()[-4000:])
    print(f"caught {n_caught} of {len(chosen)} in {time.monotonic() - begun:.0f} s")
    return 0 if n_caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
