"""The shape of the house: who may import whom, what the clean rooms may not touch, and that the face is true.

FLOORS is the map of docs/design.md as data. Whoever needs an arrow that it forbids changes it
here and there in the same commit, and says why.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastsched
from fastsched import _core

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "fastsched"
FLOORS = {
    "_version": 0,
    "names": 0,
    "files": 0,
    "errors": 1,
    "_block": 0,
    "_order": 0,
    "_bounds": 0,
    "_windows": 0,
    "_heap": 1,
    "_fit": 1,
    "_grid": 1,
    "_chance": 0,
    "kinds": 1,
    "_graphs": 1,
    "bounds": 1,
    "validate": 2,
    "_c_arrow": 0,
    "_arrow": 2,
    "_export": 1,
    "table": 2,
    "recount": 2,
    "_tables": 2,
    "model": 2,
    "bottleneck": 2,
    "_facts": 3,
    "policy": 3,
    "ranks": 3,
    "cycles": 3,
    "_read": 3,
    "columns": 3,
    "events": 3,
    "pictures": 2,
    "plan": 3,
    "attempts": 4,
    "_core": 4,
    "graph": 4,
    "guide": 4,
    "explain": 4,
    "_timeline": 5,
    "_replay": 5,
    "risk": 2,
    "formats": 5,
    "portfolio": 5,
    "planner": 6,
    "following": 5.5,  # over the time line, under the planner
    "state": 7,
    "saved": 7,
    "engines": 7,
    "runtime": 8,
    "units": 0,
    "patterns": 0,
    "estimates": 1,
    "against": 2,
    "history": 5,
    "gantt": 6,
    "shapes": 3,
    "covering": 1,
    "sizing": 7,
    "vary": 7,
    "compare": 8,
    "curve": 7,
    "__init__": 9,
    "progress": 9,
    "report": 10,
    "delays": 11,
    "lookback": 12,
    "slurm": 10,
    "budget": 12,
    "_profile": 0,
    "_search": 1,
    "lanes": 0,
    "_large": 1,
    "stages": 2,
    "optimize": 4,
    "answers": 11,
    "asked": 11,
    "options": 12,
    "verbs": 13,
    "whatif": 14,
    "planning": 14,
    "running": 15,
    "cli": 16,
    "__main__": 17,
}
FOLDERS = ("engines", "formats", "pictures", "runtime")
CLEAN = (
    "_arrow",
    "_export",
    "table",
    "_order",
    "_bounds",
    "_search",
    "lanes",
    "_large",
    "stages",
    "_windows",
    "bounds",
    "bottleneck",
    "validate",
    "kinds",
    "_graphs",
    "_tables",
    "_facts",
    "_core",
    "_timeline",
    "_replay",
    "risk",
    "shapes",
    "covering",
    "sizing",
    "vary",
    "compare",
    "curve",
    "recount",
    "policy",
    "_read",
    "columns",
    "ranks",
    "portfolio",
    "cycles",
    "graph",
    "guide",
    "state",
    "planner",
    "following",
    "events",
    "model",
    "plan",
    "attempts",
    "errors",
    "names",
    "gantt",
    "units",
    "patterns",
    "estimates",
    "against",
    "history",
    "pictures/lanes",
    "pictures/usage",
    "pictures/waits",
    "pictures/scene",
    "pictures/axis",
    "pictures/sketch",
    "pictures/trace",
    "runtime/liveness",
    "runtime/pace",
    "runtime/ledger",
    "runtime/eta",
    "runtime/replan",
    "runtime/record",
)
BANNED = {
    "time",
    "datetime",
    "random",
    "secrets",
    "os",
    "socket",
    "asyncio",
    "threading",
    "subprocess",
    "uuid",
}
# What runs as a process of its own, without the package:
ROOMS_OF_AGENT = ("agent", "custody", "commands", "processes", "capture", "memory", "wire", "system")
STANDALONE = {f"engines/{room}" for room in ROOMS_OF_AGENT}
NATIVE = {"engines/_linux", "engines/_elsewhere"}  # what `engines/system` chooses from

needs_source = pytest.mark.skipif(not SOURCE.is_dir(), reason="skipped: the source tree is not here")


def room_of(path: Path) -> str:
    """`engines/local` for src/fastsched/engines/local.py."""
    return str(path.relative_to(SOURCE).with_suffix("")).replace("/__init__", "")


def floor_of(room: str) -> int:
    return FLOORS[room.split("/")[0]]


def imports_of(text: str, room: str) -> set[str]:
    """The rooms and the top-level modules that a Python or Cython text imports, `.model` as `model`."""
    found = set()
    package = [] if "/" not in room and room not in FOLDERS else [room.split("/")[0]]
    for line in text.splitlines():
        match = re.match(r"\s*from\s+(\.*)([\w.]*)\s+c?import\s+(.+)", line)
        if match:
            dots, module, names = match.groups()
            if not dots:
                found.add(module.split(".")[0] if module.split(".")[0] != "fastsched" else module.split(".", 1)[-1])
                continue
            base = package[: len(package) + 1 - len(dots)] if len(dots) <= len(package) + 1 else []
            if module:
                found.add("/".join([*base, module.replace(".", "/")]))
            else:
                found.update("/".join([*base, name.strip(" ()")]) for name in names.split(",") if name.strip(" ()"))
            continue
        match = re.match(r"\s*c?import\s+(.+)", line)
        if match:
            found.update(name.split(" as ")[0].strip().split(".")[0] for name in match[1].split(","))
    return found


def forbidden_arrows(room: str, imported: set[str]) -> list[str]:
    """The rooms among these that do not lie below; within one folder rooms may see each other."""
    return [
        other
        for other in sorted(imported)
        if other.split("/")[0] in FLOORS
        and other.split("/")[0] != room.split("/")[0]
        and floor_of(other) >= floor_of(room)
    ]


def rooms() -> list[tuple[str, str]]:
    files = [path for kind in ("*.py", "*.pyx", "*.pxi", "*.pxd") for path in SOURCE.rglob(kind)]
    return [(room_of(path), path.read_text()) for path in sorted(files)]


@needs_source
def test_every_room_has_a_floor():
    assert {room.split("/")[0] for room, _ in rooms()} == set(FLOORS)


@needs_source
def test_imports_run_down():
    wrong = {room: forbidden_arrows(room, imports_of(text, room)) for room, text in rooms()}
    assert {room: arrows for room, arrows in wrong.items() if arrows} == {}


@needs_source
def test_clean_rooms_are_clean():
    for room, text in rooms():
        if room in CLEAN:
            assert not imports_of(text, room) & BANNED, room
            assert not re.search(r"\bhash\(", text), f"{room} calls hash()"


@needs_source
def test_no_clean_room_iterates_a_set():
    """Not `for x in {...}` or `for x in set(...)`: the order of a set is chance."""
    for room, text in rooms():
        if room in CLEAN and not (SOURCE / f"{room}.pyx").exists():
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, (ast.For, ast.comprehension)):
                    over = node.iter
                    called = isinstance(over, ast.Call) and getattr(over.func, "id", "") in ("set", "frozenset")
                    assert not called and not isinstance(over, (ast.Set, ast.SetComp)), f"{room}: {ast.unparse(over)}"


@needs_source
def test_the_validator_shares_no_code_with_what_it_judges():
    imported = imports_of((SOURCE / "validate.py").read_text(), "validate")
    assert imported & set(FLOORS) == {"errors", "names"}


@needs_source
def test_the_agent_stands_alone():
    for room in STANDALONE:
        allowed = STANDALONE | set(sys.stdlib_module_names) | (NATIVE if room == "engines/system" else set())
        assert imports_of((SOURCE / f"{room}.py").read_text(), room) <= allowed, room


def test_the_test_of_the_arrows_finds_them():
    text = "from .planner import x\nimport time, os as o\nfrom ._core cimport Core\nfrom . import state, graph\n"
    assert imports_of(text, "model") == {"planner", "time", "os", "_core", "state", "graph"}
    assert forbidden_arrows("model", {"planner", "_core", "errors", "numpy"}) == ["_core", "planner"]
    assert imports_of("from ..graph import y\nfrom .base import Engine\n", "engines/local") == {"graph", "engines/base"}
    assert forbidden_arrows("engines/local", {"engines/base", "runtime/scheduler"}) == ["runtime/scheduler"]


@needs_source
def test_the_stub_of_the_core_is_true():
    """Every public name of `_core` is in the .pyi and the other way round, methods and parameters included."""
    stub = ast.parse((SOURCE / "_core.pyi").read_text())
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    names = {node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)} | set(classes)
    told = {
        name
        for name in vars(_core)
        if not name.startswith("_")
        and name not in ("np", "InternalError", "recount")
        and not inspect.ismodule(getattr(_core, name))
    }
    assert told | {"Facts", "Tables"} == names
    inherited: set[str] = set()
    for name, klass in classes.items():
        real = next(vars(k) for k in _core.Core.__mro__ if k.__name__ == name)
        methods = {node.name for node in klass.body if isinstance(node, ast.FunctionDef)} - {"__init__"}
        fields = {node.target.id for node in klass.body if isinstance(node, ast.AnnAssign)}
        assert {name for name in real if not name.startswith("_")} - inherited == methods | fields
        inherited |= methods
        for node in klass.body:
            if not isinstance(node, ast.FunctionDef) or node.name == "__init__":
                continue
            assert ast.get_docstring(node), f"{node.name} has no docstring"
            parameters = [argument.arg for argument in node.args.args + node.args.kwonlyargs]
            assert parameters == list(inspect.signature(real[node.name]).parameters), node.name


@needs_source
def test_every_field_of_the_core_has_its_comment():
    fields = [
        line
        for room in ("_tables", "_facts", "_core")
        for line in (SOURCE / f"{room}.pxd").read_text().splitlines()
        if re.match(r"    cdef (?!class)", line) and "(" not in line.split("#")[0]
    ]
    assert len(fields) > 50
    assert [line for line in fields if not re.search(r"# \S.{3}", line)] == []


def test_the_face_is_whole():
    assert sorted(fastsched.__all__) == sorted(set(fastsched.__all__))
    for name in fastsched.__all__:
        assert inspect.getdoc(getattr(fastsched, name)), name


@needs_source
def test_the_example_of_the_readme_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        told = [line.split("# ", 1)[1] for line in block.splitlines() if line.startswith("print(") and "# " in line]
        assert done.stdout.splitlines()[: len(told)] == told


@needs_source
def test_setup_stays_small():
    assert len((ROOT / "setup.py").read_text().splitlines()) <= 60
