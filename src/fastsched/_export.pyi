"""The typed face of the writer of Arrow streams; `table.py` calls it."""

from typing import Any

import numpy.typing as npt

Column = tuple[str, str, list[npt.NDArray[Any] | None], int]

def stream_of(columns: list[Column]) -> object:
    """A capsule called `arrow_array_stream`, which hands out one record batch of these columns, and then ends.

    A column is (name, format, arrays, null count). The format is one of the Arrow C data interface. The arrays are its
    buffers: first the bits of what is not null, or None where all is there; then the n values; or for text the n + 1
    offsets and the bytes. They are not copied and must not be changed after; a capsule that nobody reads lets go of
    them.

    Raises ValueError where the columns are not of one length.
    """

def fields_of(capsule: object) -> list[tuple[str, str]]:
    """The (name, format) of each column that a capsule called `arrow_schema` asks for. It is not released.

    Raises TypeError for anything else, ValueError where it was released or is not the schema of a table.
    """
