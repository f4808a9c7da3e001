"""Files to objects: which format a file has, and what came out of it. One small file a format."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..errors import FormatError, MissingExtraError, Problem, ValidationError
from ..graph import CompiledGraph, read_both
from ..model import Task, Worker
from ..names import nearest_field, show_value

__all__ = ["Job", "load", "load_shapes", "load_workers", "read_bytes"]

JOB_FIELDS = ("name", "description", "tasks", "workers")
SUFFIXES = ("", ".json", ".toml")
KNOWN = "a job file is JSON (.json) or TOML (.toml), a project PSPLIB (.sm) or Patterson (.rcp)"
HERE = "at the top of the file"


@dataclass(frozen=True)
class Job:
    """What a file holds. Tasks and workers are objects or mappings, not validated yet.

    `workers` is None where the file names none. `recorded`: it is the record of a run somewhere else, whose
    commands and files are not here, or a problem that has none, so that it can be planned and not run.
    """

    name: str
    tasks: Sequence[Task | Mapping[str, Any]]
    workers: Sequence[Worker | Mapping[str, Any]] | None
    recorded: bool = False


def load(path: str | Path) -> Job:
    """Read a job file (JSON or TOML), a WfCommons instance (WfFormat JSON), or a project of PSPLIB (.sm) or in
    Patterson's format (.rcp).

    Raises:
        FormatError: where it cannot be read as such; what else is wrong with the tasks and workers in it is then
            named beside it. OSError: where it cannot be read at all.
    """
    from . import rcpsp, wfcommons

    path = Path(path)
    read_project = rcpsp.READERS.get(path.suffix.lower())
    if read_project:
        return read_project(str(path), path.stem, read_bytes(path).decode(errors="replace"))
    data = _decode(path)
    if isinstance(data, dict) and "workflow" in data:
        return wfcommons.read(str(path), data)
    if isinstance(data, list):
        data = {"tasks": data}
    tasks, workers = _read_top(path, data, "tasks")
    return Job(data.get("name", path.stem), tasks or [], workers)


def load_workers(path: str | Path) -> Sequence[Worker | Mapping[str, Any]]:
    """Read the workers of a job file, or a file that is a list of workers or has nothing but `workers`."""
    from . import rcpsp

    path = Path(path)
    if path.suffix.lower() in rcpsp.READERS:
        return load(path).workers or []
    data = _decode(path)
    if isinstance(data, list):
        return data
    if isinstance(data, dict) and "workflow" in data:
        workers = load(path).workers
        if workers is None:
            raise FormatError(str(path), "it is a WfCommons instance that records no machines with their cores")
        return workers
    return _read_top(path, data, "workers")[1] or []


def load_shapes(path: str | Path) -> Sequence[Mapping[str, Any]]:
    """Read shapes of workers with their prices: a list of objects, or an object with nothing but a list `shapes`.

    Each has `shape` (`4x16G`), `price` (an hour) and, where one likes, `name` and `most`; they are not validated yet.
    """
    path = Path(path)
    data = _decode(path)
    shapes = data.get("shapes") if isinstance(data, dict) and set(data) == {"shapes"} else data
    if not isinstance(shapes, list):
        raise FormatError(str(path), f"it holds {_kind(data)}; a list of shapes is wanted, or an object with 'shapes'")
    return shapes


def _decode(path: Path) -> Any:
    """The content of a JSON or TOML file as plain objects."""
    suffix = path.suffix.lower()
    form = "TOML" if suffix == ".toml" else "JSON"
    content = read_bytes(path)
    if not content.strip():
        raise FormatError(str(path), "the file is empty; a job file is an object with a list 'tasks', in JSON or TOML")
    try:
        return msgspec.toml.decode(content) if form == "TOML" else msgspec.json.decode(content)
    except ImportError:
        raise MissingExtraError("toml", "reading TOML on this Python") from None
    except RecursionError:
        raise FormatError(str(path), f"not {form} of any use: it is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        remedy = "" if suffix in SUFFIXES else f"; {suffix} is not known: {KNOWN}"
        place = "" if form == "TOML" else _place(content, str(error))
        raise FormatError(str(path), f"not {form}: {error}{place}{remedy}") from None


def read_bytes(path: Path) -> bytes:
    """The content of a file, without a mark of its encoding."""
    content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FormatError(str(path), "it is UTF-16; save it as UTF-8")
    return content


def _place(content: bytes, message: str) -> str:
    """Line and column of the byte that a message speaks of."""
    match = re.search(r"\(byte (\d+)\)", message)
    if not match:
        return ""
    before = content[: int(match[1])]
    return f", line {before.count(10) + 1}, column {len(before) - before.rfind(10)}"


def _read_top(path: Path, data: Any, wanted: str) -> tuple[list[Any] | None, list[Any] | None]:
    """The lists of tasks and of workers. Where the frame around them is wrong, they are checked too and all is said."""
    if not isinstance(data, dict):
        raise FormatError(str(path), f"it holds {_kind(data)}; an object with {wanted!r} is wanted")
    problems: list[Problem] = []
    lists: dict[str, list[Any]] = {}
    for field, value in data.items():
        meant: str | None = field
        if field not in JOB_FIELDS:
            meant = nearest_field(field, JOB_FIELDS)
            hint = f"did you mean {meant!r}?" if meant else f"known: {', '.join(JOB_FIELDS)}"
            message = f"unknown field {show_value(field)}; {hint}"
            problems.append(Problem("unknown_field", HERE, message, field, suggestion=meant))
        if meant in ("tasks", "workers") and isinstance(value, list):
            lists.setdefault(meant, value)
        elif field in ("tasks", "workers"):
            problems.append(Problem("bad_type", HERE, f"{field} is {_kind(value)}; a list is wanted", field))
        elif field == "name" and not isinstance(value, str):
            problems.append(Problem("bad_type", HERE, f"name is {show_value(value)}; a string is wanted", field))
    if wanted not in data and wanted not in lists:
        other = ", and it is not a WfCommons instance either" if wanted == "tasks" else ""
        problems.append(Problem("missing_field", HERE, f"there is no list {wanted!r} in it{other}", wanted))
    if problems:
        try:
            read_both(CompiledGraph, lists.get("tasks", []), lists.get("workers", []))
        except ValidationError as error:
            problems += error.problems
        raise FormatError(str(path), problems[0].message if len(problems) == 1 else str(ValidationError(problems)))
    return lists.get("tasks"), lists.get("workers")


def _kind(value: object) -> str:
    """What a value is, in the words of a job file."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}.get(
        type(value), f"a {type(value).__name__}"
    )
