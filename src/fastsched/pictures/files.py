"""Pictures into files. An error names the file, whatever went wrong."""

from __future__ import annotations

import os

__all__ = ["write_file"]


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a whole file. Raises OSError, with the file's name where only the writing failed, too."""
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        error.filename = error.filename or os.fspath(path)
        raise
