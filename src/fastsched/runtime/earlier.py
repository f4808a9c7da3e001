"""`History`: what earlier runs measured, read from their folders, kept in a file; and which runs a job file has had.

A run is read from its journal, as `fastsched report` reads it, so what is told of a run and what the next plan is made
of are the same. Reading costs some 10 us an attempt, so where runs are sought and not named, few of them are read, the
newest first, and a journal is looked at no further than its beginning to see that it is of another file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

import msgspec

from ..errors import FastschedError, FormatError, HistoryWarning, JournalLocked
from ..files import write_file
from ..history import Measurements, RunMeasured, measure
from ..patterns import shape_of
from .folder import RUNS, find_run, is_run, last_held_ns
from .journal import database_name
from .record import LAST
from .view import PastRun

__all__ = ["History", "find_earlier"]

MOST_RUNS = 5  # that are read where none are named
MOST_LOOKED_AT = 100  # folders whose beginning is looked at for that
MOST_BYTES = 1 << 26  # of journals that are read then: some 200,000 attempts, in a second or two
VERSION = 1


class _Kept(msgspec.Struct, frozen=True):
    """A history as it is in a file."""

    fastsched_history: int
    runs: Sequence[RunMeasured]


class _Beginning(msgspec.Struct, frozen=True, tag="RunOpened"):
    """Of the first record of a journal, what says which file its run is of."""

    name: str = ""
    source: str = ""


class History(Measurements):
    """What earlier runs measured: durations and peaks of memory, for plans and runs to come.

    >>> history = History.from_runs([".fastsched/runs/20260101-120000-77"])
    >>> schedule(tasks, workers, history=history)

    A task is known by its id, else by its `group`, else by its command with the arguments abstracted; see `estimate`.
    What a task says itself of its duration and memory always stays.
    """

    @classmethod
    def from_runs(cls, paths: Iterable[str | os.PathLike[str]]) -> History:
        """Read runs, the oldest first: folders with a journal, their names in `.fastsched/runs`, or saved histories.

        Raises:
            FastschedError: where there is no such run. OSError: where it cannot be read.

        Warns:
            HistoryWarning: of a journal that is damaged, or of a run that goes on; it is left out.
        """
        if isinstance(paths, (str, bytes, os.PathLike)):
            raise TypeError(f"paths is {paths!r}; a list of runs is wanted")
        history = cls()
        for path in paths:
            if Path(path).is_file():
                history.runs += cls.load(path).runs
                continue
            read = _read_run(find_run(path))
            if read is not None:
                history.add_measured(read)
        return history

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Read what `save` wrote. Raises FormatError; OSError."""
        try:
            kept = msgspec.json.decode(Path(path).read_bytes(), type=_Kept)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FormatError(os.fspath(path), f"it is not a history that fastsched saved: {error}") from None
        if kept.fastsched_history != VERSION:
            raise FormatError(os.fspath(path), f"it is a history of version {kept.fastsched_history}, not {VERSION}")
        return cls(kept.runs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, whole or not at all. Of commands their shapes are kept, without what was abstracted."""
        runs = [
            RunMeasured(run.name, [msgspec.structs.replace(row, command=shape_of(row.command)) for row in run.tasks])
            for run in self.runs
        ]
        write_file(path, msgspec.json.encode(_Kept(VERSION, runs)))


def find_earlier(source: str, name: str) -> History:
    """The newest runs of a job file in `.fastsched/runs`, of which anything was measured.

    source: the file, relative to this folder; name: what the job is called, for runs that do not say their file.

    Warns:
        HistoryWarning: of a journal that is damaged, or so large that it has to be named; it is left out.
    """
    found: list[RunMeasured] = []
    n_bytes = 0
    for _, _, folder in sorted(_runs_here(), reverse=True)[:MOST_LOOKED_AT]:
        begun = _peek(folder)
        if begun is not None and (begun.source != source if begun.source else begun.name != name):
            continue
        with contextlib.suppress(FileNotFoundError):  # it is removed meanwhile; then it cannot be read either
            n_bytes += sum(path.stat().st_size for path in folder.glob("journal*.db*"))
        if len(found) == MOST_RUNS:
            break
        if n_bytes > MOST_BYTES:
            if not found:
                message = f"{folder} takes long to read, and is left out; --history {folder.name} reads it"
                warnings.warn(message, HistoryWarning, stacklevel=2)
            break
        read = _read_run(folder, source, name)
        if read is not None and read.tasks:
            found.append(read)
    return History(reversed(found))


def _runs_here() -> Iterator[tuple[int, str, Path]]:
    """Every run, with when it was last held and its name. One that is removed meanwhile is none."""
    for path in RUNS.iterdir() if RUNS.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            if is_run(path):
                yield last_held_ns(path), path.name, path


def _read_run(folder: Path, source: str | None = None, name: str = "") -> RunMeasured | None:
    """What a run measured; None: it cannot be told, or is none of that file. Warns."""
    try:
        past = PastRun(folder)
    except JournalLocked:
        if source is None:
            warnings.warn(f"{folder} goes on at the moment; it is left out", HistoryWarning, stacklevel=3)
        return None
    except (FastschedError, msgspec.DecodeError, LookupError, TypeError, ValueError, OSError) as error:
        warnings.warn(f"{folder} cannot be read: {error}; it is left out", HistoryWarning, stacklevel=3)
        return None
    if past.damage:
        message = f"the journal in {folder} is damaged: {past.damage}; it is left out"
        warnings.warn(message, HistoryWarning, stacklevel=3)
        return None
    opened = past.opened
    if source is not None and (opened.source != source if opened.source else opened.name != name):
        return None
    return measure(past.ledger.state.tasks, past.ledger.attempts, folder.name)


def _peek(folder: Path) -> _Beginning | None:
    """The beginning of a journal, at little cost; None: it has to be read to know."""
    newest = None
    for generation in count():
        path = folder / database_name(generation)
        if not path.exists():
            break
        newest = path
    if newest is None:
        return None
    # What is still in the WAL is not seen so, and nothing is written or locked.
    where = f"{newest.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(where, uri=True)) as connection:
            parts = []
            for (body,) in connection.execute("SELECT body FROM record ORDER BY number"):
                parts.append(body[1:])
                if body[:1] == LAST:
                    return msgspec.msgpack.decode(b"".join(parts), type=_Beginning)
    except (sqlite3.Error, msgspec.DecodeError, TypeError):
        pass
    return None
