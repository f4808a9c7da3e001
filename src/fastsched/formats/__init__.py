"""Files to objects: which format a file has, and what came out of it. One small file a format."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..errors import FormatError, MissingExtraError
from ..model import Task, Worker, nearest

__all__ = ["Job", "load", "load_workers"]

JOB_FIELDS = ("name", "description", "tasks", "workers")


@dataclass(frozen=True)
class Job:
    """What a file holds. Tasks and workers are objects or mappings, not validated yet.

    `workers` is None where the file names none. `recorded`: it is the record of a run somewhere else, whose
    commands and files are not here, so that it can be planned and not run.
    """

    name: str
    tasks: Sequence[Task | Mapping[str, Any]]
    workers: Sequence[Worker | Mapping[str, Any]] | None
    recorded: bool = False


def load(path: str | Path) -> Job:
    """Read a job file (JSON or TOML) or a WfCommons instance (WfFormat JSON).

    Raises:
        FormatError: where it cannot be read as such. OSError: where it cannot be read at all.
    """
    from . import wfcommons

    path = Path(path)
    data = _decode(path)
    if isinstance(data, dict) and "workflow" in data:
        return wfcommons.read(str(path), data)
    if isinstance(data, list):
        data = {"tasks": data}
    _check_fields(path, data)
    if "tasks" not in data:
        raise FormatError(str(path), "there is no list 'tasks' in it, and it is not a WfCommons instance either")
    name = data.get("name", path.stem)
    if not isinstance(name, str):
        raise FormatError(str(path), f"name is {name!r}; a string is wanted")
    return Job(name, _list_of(path, data, "tasks"), _list_of(path, data, "workers") if "workers" in data else None)


def load_workers(path: str | Path) -> Sequence[Worker | Mapping[str, Any]]:
    """Read the workers of a job file, or a file that is a list of workers or has nothing but `workers`."""
    path = Path(path)
    data = _decode(path)
    if isinstance(data, list):
        return data
    if isinstance(data, dict) and "workflow" in data:
        workers = load(path).workers
    else:
        _check_fields(path, data)
        workers = _list_of(path, data, "workers") if "workers" in data else None
    if workers is None:
        raise FormatError(str(path), "there is no list 'workers' in it")
    return workers


def _decode(path: Path) -> Any:
    """The content of a JSON or TOML file as plain objects."""
    content = path.read_bytes()
    if path.suffix.lower() == ".toml":
        try:
            return msgspec.toml.decode(content)
        except ImportError:
            raise MissingExtraError("toml", "reading TOML on this Python") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FormatError(str(path), f"not TOML: {error}") from None
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(str(path), f"not JSON: {error}{_place(content, str(error))}") from None


def _place(content: bytes, message: str) -> str:
    """Line and column of the byte that a message speaks of."""
    match = re.search(r"\(byte (\d+)\)", message)
    if not match:
        return ""
    before = content[: int(match[1])]
    return f", line {before.count(10) + 1}, column {len(before) - before.rfind(10)}"


def _check_fields(path: Path, data: Any) -> None:
    if not isinstance(data, dict):
        raise FormatError(str(path), f"it holds a {type(data).__name__}; an object with 'tasks' is wanted")
    for field in data:
        if field not in JOB_FIELDS:
            near = nearest(field, JOB_FIELDS)
            hint = f"did you mean {near!r}?" if near else f"known: {', '.join(JOB_FIELDS)}"
            raise FormatError(str(path), f"unknown field {field!r}; {hint}")


def _list_of(path: Path, data: Mapping[str, Any], field: str) -> list[Any]:
    value = data[field]
    if not isinstance(value, list):
        raise FormatError(str(path), f"{field} is {type(value).__name__}; a list is wanted")
    return value
