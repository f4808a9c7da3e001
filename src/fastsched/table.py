"""The attempts of a plan or of a run as a table that data frames read, by the Arrow C stream interface.

polars, pandas, pyarrow, DuckDB and others take whatever offers `__arrow_c_stream__`, so no Arrow library is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._export import fields_of, stream_of

__all__ = ["AttemptTable"]

NS = 1_000_000_000
Ints = npt.NDArray[Any]
Column = tuple[str, str, list[npt.NDArray[Any] | None], int]

NAMES = ("task_id", "worker_id", "attempt", "start", "end", "status", "reason")
TEXT, SHORT_TEXT = "U", "u"  # with offsets of 64 bits, and of 32
SECONDS = "g"
PARTS = {"tDn": 1, "tDu": 1000, "tDm": 1_000_000, "tDs": NS}  # durations, by ns a unit
# For each column the formats in which it can be had, the usual one first.
FORMATS = {
    **dict.fromkeys(NAMES, (TEXT, SHORT_TEXT)),
    "attempt": ("i", "l"),
    "start": (SECONDS, *PARTS),
    "end": (SECONDS, *PARTS),
}


class AttemptTable:
    """Every attempt, in the order of (start, task, attempt).

    Columns task_id, worker_id, attempt (int32), start and end (float64, seconds from the start), status (COMPLETED or
    FAILED), reason (null where it completed). It is made when it is read: `polars.DataFrame(plan.table)`,
    `pandas.DataFrame.from_arrow(plan.table)`, `pyarrow.table(plan.table)`, `duckdb.from_arrow(plan.table)`.
    """

    def __init__(
        self,
        task_ids: Sequence[str],
        worker_ids: Sequence[str],
        columns: Mapping[str, Ints],
        reasons: Sequence[str | None],
    ) -> None:
        """`reasons`: the names of the codes of the column reason; None is that of what completed."""
        self._task_ids, self._worker_ids, self._columns, self._reasons = task_ids, worker_ids, columns, reasons

    def __len__(self) -> int:
        return len(self._columns["task"])

    def __repr__(self) -> str:
        return f"<AttemptTable: {len(self)} attempts; columns {', '.join(NAMES)}>"

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """A capsule with the table as one record batch.

        A requested schema may ask for the same columns in another type that means the same: text with short offsets,
        times as durations, attempts in 64 bits. What else it asks for is given as it is.

        Raises:
            ValueError: where it asks for other columns.
            TypeError: where it is no schema.
        """
        asked = {} if requested_schema is None else self._read_schema(requested_schema)
        return stream_of([self._column(name, asked.get(name, FORMATS[name][0])) for name in NAMES])

    def _read_schema(self, capsule: object) -> dict[str, str]:
        """The format for each column: what was asked for, where it can be had."""
        fields = fields_of(capsule)
        names = tuple(name for name, _ in fields)
        if names != NAMES:
            raise ValueError(f"requested_schema has the columns {', '.join(names)}; these are {', '.join(NAMES)}")
        return {name: form if form in FORMATS[name] else FORMATS[name][0] for name, form in fields}

    def _column(self, name: str, form: str) -> Column:
        columns = self._columns
        if name == "attempt":
            return name, form, [None, columns["attempt"].astype(np.int32 if form == "i" else np.int64)], 0
        if name in ("start", "end"):
            ns = columns[f"{name}_ns"]
            return name, form, [None, ns / NS if form == SECONDS else ns // PARTS[form]], 0
        if name == "task_id":
            return text_column(name, form, self._task_ids, columns["task"])
        if name == "worker_id":
            return text_column(name, form, self._worker_ids, columns["worker"])
        if name == "status":
            return text_column(name, form, ("FAILED", "COMPLETED"), columns["completed"].astype(np.int64))
        return text_column(name, form, self._reasons, columns["reason"])


def text_column(name: str, form: str, words: Sequence[str | None], which: Ints) -> Column:
    """A column of text, of which entry i is words[which[i]]. None stands for null.

    Half a surrogate pair, which UTF-8 cannot hold, is written as in a Python string. Text of more than 2**31 bytes is
    given with long offsets, whatever was asked for.
    """
    encoded = [b"" if word is None else word.encode("utf-8", "backslashreplace") for word in words]
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    offsets = np.zeros(len(which) + 1, dtype=np.int64)
    np.cumsum(lengths[which], out=offsets[1:])
    if form == SHORT_TEXT and offsets[-1] < 2**31:
        offsets = offsets.astype(np.int32)
    else:
        form = TEXT
    data = np.frombuffer(b"".join(map(encoded.__getitem__, which.tolist())), dtype=np.uint8)
    known = np.array([word is not None for word in words], dtype=bool)[which]
    if known.all():
        return name, form, [None, offsets, data], 0
    bits = np.packbits(known, bitorder="little")
    return name, form, [bits, offsets, data], int(len(known) - known.sum())
