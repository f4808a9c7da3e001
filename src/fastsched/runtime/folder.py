"""The folder of a run: where it is, and what is in it. One run, one folder."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
from pathlib import Path

from ..errors import FastschedError

__all__ = ["LOGS", "RUNS", "claim_run_dir", "find_run", "is_run", "last_held_ns", "new_run_dir"]

LOGS = "logs"  # of the outputs, in the folder of their run
RUNS = Path(".fastsched") / "runs"  # where runs that name no folder have theirs


def claim_run_dir(named: str | os.PathLike[str] | None, *, is_held: bool = False) -> Path:
    """The folder for the outputs of one run, which no other run has or will have; made here.

    is_held: nobody else can have it at the moment, so what is empty may be used.

    Raises:
        FileExistsError: where the folder that was named holds the outputs of another run.
    """
    if named is None:
        folder = new_run_dir()
        (folder / LOGS).mkdir()
        return folder
    try:
        (Path(named) / LOGS).mkdir(parents=True)
    except FileExistsError:
        if is_held and not os.listdir(Path(named) / LOGS):
            return Path(named)  # whoever made it came no further
        message = "it holds the outputs of an earlier run (logs/); name another folder, or remove that one"
        raise FileExistsError(errno.EEXIST, message, os.fspath(named)) from None
    return Path(named)


def find_run(named: str | os.PathLike[str] | None) -> Path:
    """The folder of a run: the one that was named, by its path or its name in `.fastsched/runs`, or the newest.

    Raises:
        FastschedError: where there is no such run.
    """
    if named is None:
        runs = [path for path in RUNS.glob("*") if is_run(path)] if RUNS.is_dir() else []
        if not runs:
            raise FastschedError(f"there is no run in {RUNS}; name the folder of one")
        return max(runs, key=last_held_ns)
    for path in (Path(named), RUNS / named):
        if is_run(path):
            return path
    raise FastschedError(f"{os.fspath(named)}: there is no run with a journal")


def is_run(path: Path) -> bool:
    """Whether a folder holds the journal of a run."""
    return (path / "journal.head").exists() or (path / "journal.db").exists()


def last_held_ns(path: Path) -> int:
    """When a scheduler last took this run, as far as can be told of a folder that may be a copy."""
    lock = path / "journal.lock"
    return (lock if lock.exists() else path).stat().st_mtime_ns


def new_run_dir() -> Path:
    """Make a folder for a run that nobody named, in the current directory; a number tells runs of one second apart."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    for number in itertools.count(1):
        folder = RUNS / (stem if number == 1 else f"{stem}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder
