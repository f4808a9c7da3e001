"""A plan that was printed by `fastsched plan --format json` or `jsonl`: its placements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ..errors import FormatError
from ..model import TaskStatus
from ..plan import Placement

__all__ = ["load_placements"]


class _Row(msgspec.Struct):
    task_id: str
    worker_id: str
    attempt: int
    start: float
    end: float
    outcome: TaskStatus


def load_placements(path: str | Path) -> list[Placement]:
    """The placements of a plan that was kept. Raises FormatError, with what is wrong; OSError."""
    lines = Path(path).read_bytes().splitlines()
    try:
        rows = _rows_of(lines)
        read = msgspec.convert(rows, list[_Row])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, IndexError) as error:
        what = f"there is no {error} in it" if isinstance(error, KeyError) else str(error) if lines else "it is empty"
        remedy = "a file that `fastsched plan FILE --format json` printed is wanted"
        raise FormatError(str(path), f"it is no plan: {what}; {remedy}") from None
    return [Placement(row.task_id, row.worker_id, row.attempt, row.start, row.end, row.outcome) for row in read]


def _rows_of(lines: list[bytes]) -> Any:
    """The placements of a document, or of the lines behind a summary."""
    try:
        data = msgspec.json.decode(b"\n".join(lines))
    except msgspec.DecodeError:
        if "makespan" not in msgspec.json.decode(lines[0], type=dict[str, Any]):
            raise
        return [msgspec.json.decode(line) for line in lines[1:] if line.strip()]
    return data["placements"]
