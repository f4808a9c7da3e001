"""Whole files, written or not at all. An error names the file, whatever went wrong."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["write_file"]


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a whole file; until that is done, what was there before stays as it is. What is no file, as a pipe or a
    device, is written as it comes.

    Raises:
        OSError: with the file's name, where only the writing failed, too; or where the file may not be written.
    """
    target = Path(os.path.realpath(path))  # behind a link the file is replaced, not the link
    is_file = target.is_file() or not target.exists()
    beside = Path(f"{target}.{os.getpid()}.part") if is_file else target
    try:
        if is_file and target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        beside.write_bytes(data)
        if is_file:
            if target.exists():
                beside.chmod(target.stat().st_mode & 0o7777)
            beside.replace(target)
    except OSError as error:
        error.filename = os.fspath(path)
        raise
    finally:
        if is_file:
            beside.unlink(missing_ok=True)
