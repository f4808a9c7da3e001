"""A plan that was printed by `fastsched plan --format json` or `jsonl`: its placements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ..errors import FormatError
from ..plan import Placement

__all__ = ["load_placements"]


def load_placements(path: str | Path) -> list[Placement]:
    """The placements of a plan that was kept. Raises FormatError, with what is wrong; OSError."""
    content = Path(path).read_bytes()
    try:
        try:
            data: Any = msgspec.json.decode(content)
            rows = data["placements"]
        except (msgspec.DecodeError, UnicodeDecodeError):
            rows = [msgspec.json.decode(line) for line in content.splitlines()[1:] if line.strip()]
        return msgspec.convert(rows, list[Placement])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, IndexError) as error:
        remedy = "a file that `fastsched plan FILE --format json` printed is wanted"
        raise FormatError(str(path), f"it is no plan: {error}; {remedy}") from None
