"""Attempts that were really made: a few numbers each, and a name and a sentence when somebody asks.

A long run makes millions of them, so they are kept as columns of about 40 bytes; an `Attempt` is made when it is
looked at. Only failures keep words. No clock and no file is touched here: it is told what happened.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from .events import AttemptCompleted, AttemptFailed
from .model import Reason
from .plan import CODE_OF_REASON, REASON_OF_CODE, Attempt

__all__ = ["AttemptLog", "output_files"]

NS = 1_000_000_000
NULL_DEVICE = "/dev/null"  # only POSIX systems run commands
Amount = TypeVar("Amount", int, float)
NONE = -1  # stands for an exit code, a signal or a use that there is not


class AttemptLog(Sequence[Attempt]):
    """The attempts of a run, in the order of their ends.

    Args:
        ids, worker_ids: the names of tasks and of workers; they may grow, and are not copied.
        logs: the folder of the outputs; None: they were not kept.
    """

    def __init__(self, ids: Sequence[str], worker_ids: Sequence[str], logs: PurePath | None) -> None:
        self._ids, self._worker_ids, self._logs = ids, worker_ids, logs
        self._task, self._worker, self._attempt = array("i"), array("i"), array("i")
        self._start, self._end = array("q"), array("q")
        self._reason, self._signal, self._exit_code = array("b"), array("b"), array("i")
        self._peak_mb, self._cpu_s = array("f"), array("f")
        self._silent = array("b")  # 1: nothing is in its stdout; 2: in its stderr; 3: in neither
        self._messages: dict[int, str] = {}
        self._last = array("i")  # by task: the row of its last attempt, or -1

    def add(self, task: int, worker: int, start_ns: int, event: AttemptCompleted | AttemptFailed) -> None:
        """Note an attempt that has ended."""
        failure = event if isinstance(event, AttemptFailed) else None
        self._task.append(task)
        self._worker.append(worker)
        self._attempt.append(event.attempt)
        self._start.append(start_ns)
        self._end.append(event.at_ns)
        self._reason.append(CODE_OF_REASON[failure.reason] if failure else 0)
        self._exit_code.append(_number(failure.exit_code) if failure else 0)
        self._signal.append(_number(failure.signal) if failure else NONE)
        self._silent.append(_silence(event))
        self._peak_mb.append(event.usage.peak_memory_mb if event.usage else NONE)
        self._cpu_s.append(event.usage.cpu_seconds if event.usage else NONE)
        if failure and failure.message:
            self._messages[len(self._task) - 1] = failure.message
        if task >= len(self._last):
            self._last.extend([NONE] * (len(self._ids) - len(self._last)))
        self._last[task] = len(self._task) - 1

    def __len__(self) -> int:
        return len(self._task)

    @overload
    def __getitem__(self, i: int) -> Attempt: ...
    @overload
    def __getitem__(self, i: slice) -> list[Attempt]: ...
    def __getitem__(self, i: int | slice) -> Attempt | list[Attempt]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        if i < 0:
            i += len(self)
        task_id, attempt = self._ids[self._task[i]], self._attempt[i]
        stdout, stderr = self.files_of(self._task[i], attempt)
        if stdout and self._silent[i]:
            stdout = NULL_DEVICE if self._silent[i] & 1 else stdout
            stderr = NULL_DEVICE if self._silent[i] & 2 else stderr
        return Attempt(
            task_id,
            self._worker_ids[self._worker[i]],
            attempt,
            self._start[i] / NS,
            self._end[i] / NS,
            REASON_OF_CODE[self._reason[i]],
            _known(self._exit_code[i]),
            _known(self._signal[i]),
            self._messages.get(i, ""),
            _known(round(self._peak_mb[i], 3)),
            _known(round(self._cpu_s[i], 6)),
            stdout,
            stderr,
        )

    def __iter__(self) -> Iterator[Attempt]:
        return map(self.__getitem__, range(len(self)))

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Every attempt as numpy columns, copied.

        `task`, an index; `start_ns`, `end_ns`; `reason`, a code, 0 where it completed; `peak_mb`, -1 where it was not
        measured.
        """
        return {
            "task": np.array(self._task),
            "start_ns": np.array(self._start),
            "end_ns": np.array(self._end),
            "reason": np.array(self._reason),
            "peak_mb": np.array(self._peak_mb),
        }

    def of_task(self, task: int) -> list[Attempt]:
        """The attempts of a task that have ended, in their order."""
        return [self[row] for row in np.nonzero(np.frombuffer(self._task, np.intc) == task)[0].tolist()]

    def files_of(self, task: int, attempt: int) -> tuple[str, str]:
        """Where an attempt's stdout and stderr are; "" where they are not kept."""
        return output_files(self._logs, self._ids[task], task, attempt)

    def last_of(self, task: int) -> Attempt | None:
        """The last attempt of a task that has ended; None: there was none."""
        row = self._last[task] if task < len(self._last) else NONE
        return None if row == NONE else self[row]


def _silence(event: AttemptCompleted | AttemptFailed) -> int:
    """Which outputs have nothing in them, and no file."""
    usage = event.usage
    if usage is not None:
        return (not usage.stdout_bytes) + 2 * (not usage.stderr_bytes)
    return 3 * (isinstance(event, AttemptFailed) and event.reason is Reason.SPAWN)


def _number(value: int | None) -> int:
    return NONE if value is None else value


def _known(value: Amount) -> Amount | None:
    return None if value == NONE else value


def output_files(logs: PurePath | None, task_id: str, task: int, attempt: int) -> tuple[str, str]:
    """Where an attempt's stdout and stderr go; "" where they are not kept.

    A file is called by the task's id, where that can name a file on any system; else by something like it and the
    task's number.
    """
    if logs is None:
        return "", ""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", task_id)[:100]
    plain = safe == task_id and not safe.startswith(".")
    stem = f"{logs}/{safe if plain else f'{safe.lstrip(chr(46))}~{task}'}.{attempt}"
    return stem + ".out", stem + ".err"
