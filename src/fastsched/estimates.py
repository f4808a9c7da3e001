"""How long a task takes and how much memory, from what was measured of it, of its group, or of commands like its own.

Pure statistics over `Measured` rows; the rows come from `history.py`, and nothing here touches a file or a clock.

*Durations.* Of each task, the median of the logarithms of what its completed attempts took: one attempt in a hiccup
moves it little or not at all. Of a group or a command, the median of its tasks. What few attempts say leans on the
broader level by the ratio of variances (empirical Bayes, James and Stein 1961): a task of which the median is m, of n
attempts that scatter with the variance s2, in a group of the median M whose tasks differ with the variance t2, is
expected to take exp(w m + (1 - w) M), w = d2 / (d2 + s2 / n), where d2 is t2 or, if that is more, what its own repeated
attempts show, (m - M)^2 (1 - 1/n); w is at least a half. So a task that really differs from its siblings is believed
when it does so again (limited translation, Efron and Morris 1972). s2 is its own, by the median
of absolute deviations, and at least that of all tasks that were repeated, with a prior of 20 % that counts as four
attempts.

*Attempts that did not complete* are no measure. Where nothing of a task ever completed, what was ended from outside
(time limit, lost worker, cancelled, out of memory, a signal) is a lower bound: the median of such.

*Memory.* The 0.95 quantile of the peaks (of few: the largest) and a fifth more, in whole MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from .patterns import shape_of

__all__ = ["Command", "Estimate", "Knowledge", "Measured"]

SHORTEST_S = 0.001  # what took less is counted so: the ends of short attempts are told together
LONGEST_S = 1e9
USUAL_SPREAD = 0.2  # of a task from one run to the next, in logarithms, before anything is known
PRIOR_ATTEMPTS = 4
FEW = 3  # tasks of a group, below which it leans on their command
LEAST_WEIGHT = 0.5
DEVIATION = 1.4826  # times the median of absolute deviations is the standard deviation of normal numbers
MEMORY_QUANTILE = 0.95
MEMORY_MARGIN = 1.2
Command = str | tuple[str, ...]
Floats = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """What is expected of a task.

    `seconds`: None where only its memory is known. `spread`: the standard deviation of the logarithm of what it will
    take; 0.2 is about 20 %. `memory_mb`: a demand that is safe to plan with; None: no peak was measured. `level`: what
    it is known by: `task`, `group` or `command`; `bound`: an attempt had taken so long when it was ended from outside.
    `samples`: how many completed attempts of the task, or tasks of the group or command, say so.
    """

    seconds: float | None
    spread: float
    memory_mb: int | None
    level: str
    samples: int


class Measured(msgspec.Struct, frozen=True, array_like=True):
    """What one run says of one task.

    `command`: its command, or the shape of it. `seconds`: what its completed attempt took; None: none completed.
    `at_least_s`: what the longest attempt had taken that was ended from outside. `peak_mb`: the most memory of any.
    """

    task_id: str
    command: Command
    group: str | None = None
    seconds: float | None = None
    at_least_s: float | None = None
    peak_mb: float | None = None


class Knowledge:
    """What rows of several runs say together.

    Args:
        runs: the rows of each run, the newest last: what a task is, is what it was there.
    """

    def __init__(self, runs: Iterable[Sequence[Measured]]) -> None:
        rows = [row for measured in runs for row in measured]
        task_of: dict[str, int] = {}
        owner = np.array([task_of.setdefault(row.task_id, len(task_of)) for row in rows], dtype=np.int64)
        newest = dict(zip(owner.tolist(), rows))
        took = np.array([math.nan if row.seconds is None else row.seconds for row in rows])
        peak = np.array([math.nan if row.peak_mb is None else row.peak_mb for row in rows])
        bound = np.array([math.nan if row.at_least_s is None else row.at_least_s for row in rows])
        self._tasks = _Level(task_of, owner, np.log(np.clip(took, SHORTEST_S, LONGEST_S)), owner, peak)
        self._bounds = _Level(task_of, owner, np.log(np.clip(bound, SHORTEST_S, LONGEST_S)), owner, peak)
        self._scatter2 = _pooled_variance(self._tasks)
        self._newest = [newest[task] for task in range(len(task_of))]
        self._owner, self._peak = owner, peak
        self._groups = self._gather([row.group for row in self._newest])
        self._commands: _Level | None = None

    def estimate(self, task_id: str, command: Command, group: str | None) -> Estimate | None:
        """What is expected of this task; None: nothing is known of it."""
        own = self._tasks.look_up(task_id)
        broad, level = self._groups.look_up(group), "group"
        if broad is None:
            broad, level = self.commands.look_up(shape_of(command)), "command"
        if own is not None and own.size:
            scatter2 = max(self._scatter2, own.spread**2)
            middle, spread = _lean(own, scatter2, broad), math.sqrt(scatter2 * (1 + 1 / own.size))
            return Estimate(_seconds(middle), spread, _safe_memory(own, broad), "task", own.size)
        bound = self._bounds.look_up(task_id)
        if broad is not None and broad.size:
            middle = self._lean_on_commands(broad, command) if level == "group" else broad.middle
            if bound is not None and bound.size:
                middle = max(middle, bound.middle)
            spread = max(broad.spread, math.sqrt(self._scatter2))
            return Estimate(_seconds(middle), spread, _safe_memory(own, broad), level, broad.size)
        memory = _safe_memory(own, broad)
        if bound is not None and bound.size:
            return Estimate(_seconds(bound.middle), USUAL_SPREAD, memory, "bound", bound.size)
        return None if memory is None else Estimate(None, USUAL_SPREAD, memory, "task" if own else level, 0)

    @property
    def commands(self) -> _Level:
        """What is known of commands, by their shapes; these are made when the first is asked about."""
        if self._commands is None:
            self._commands = self._gather([shape_of(row.command) for row in self._newest])
        return self._commands

    def _gather(self, names: Sequence[str | None]) -> _Level:
        """What the tasks of one name say together; `names`: that of each task, None where it has none."""
        known: dict[str, int] = {}
        key = np.array([-1 if name is None else known.setdefault(name, len(known)) for name in names], dtype=np.int64)
        return _Level(known, key, self._tasks.middles, key[self._owner], self._peak)

    def _lean_on_commands(self, group: _Pool, command: Command) -> float:
        """The middle of a group; where it has few tasks, it leans on those that run the like of this command."""
        wider = self.commands.look_up(shape_of(command)) if group.size < FEW else None
        if wider is None or wider.size <= group.size:
            return group.middle
        return _lean(group, max(group.spread**2, self._scatter2), wider)


class _Pool(NamedTuple):
    """What goes by one name: how many members have a logarithm, their median, their spread; the peak to plan with."""

    size: int
    middle: float
    spread: float
    peak_mb: float  # nan: none was measured


class _Level:
    """Pools by their names.

    Args:
        names: name -> key. keys, logs: the key of each member and its logarithm; peak_keys, peaks: of each peak. A key
            of -1 and a value of nan are left out.
    """

    def __init__(
        self,
        names: dict[str, int],
        keys: npt.NDArray[np.int64],
        logs: Floats,
        peak_keys: npt.NDArray[np.int64],
        peaks: Floats,
    ) -> None:
        self._names = names
        n = len(names)
        keys, logs = _present(keys, logs)
        self.counts = np.bincount(keys, minlength=n)
        self.middles = _quantiles(keys, logs, n, None)
        self.deviations = np.abs(logs - self.middles[keys])
        self.keys = keys
        spreads = DEVIATION * _quantiles(keys, self.deviations, n, None)
        most = _quantiles(*_present(peak_keys, peaks), n, MEMORY_QUANTILE)
        self._pools = list(map(_Pool, self.counts.tolist(), self.middles.tolist(), spreads.tolist(), most.tolist()))

    def look_up(self, name: str | None) -> _Pool | None:
        """What goes by this name; None: nothing does."""
        key = None if name is None else self._names.get(name)
        return None if key is None else self._pools[key]


def _present(keys: npt.NDArray[np.int64], values: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    there = (keys >= 0) & ~np.isnan(values)
    return keys[there], values[there]


def _quantiles(keys: npt.NDArray[np.int64], values: Floats, n: int, share: float | None) -> Floats:
    """Of the values of each key 0 to n - 1: the median, or the least that is not below this share; nan without any."""
    found = np.full(n, np.nan)
    if not len(keys):
        return found
    by = np.lexsort((values, keys))
    values = values[by]
    counts = np.bincount(keys, minlength=n)
    there = np.nonzero(counts)[0]
    first, count = (np.cumsum(counts) - counts)[there], counts[there]
    if share is None:
        found[there] = (values[first + (count - 1) // 2] + values[first + count // 2]) / 2
    else:
        found[there] = values[first + np.ceil(count * share).astype(np.int64) - 1]
    return found


def _pooled_variance(tasks: _Level) -> float:
    """The variance of the logarithms of what one task takes, run for run, by all that were repeated."""
    counts = tasks.counts[tasks.keys]
    repeated = counts > 1
    n = int(repeated.sum()) - len(np.unique(tasks.keys[repeated]))
    # A median of n values is nearer to them than their true middle by about this much.
    deviations = tasks.deviations[repeated] * np.sqrt(counts[repeated] / (counts[repeated] - 1))
    seen = (DEVIATION * float(np.median(deviations))) ** 2 if n else 0.0
    return (PRIOR_ATTEMPTS * USUAL_SPREAD**2 + n * seen) / (PRIOR_ATTEMPTS + n)


def _lean(own: _Pool, scatter2: float, broad: _Pool | None) -> float:
    """The middle of what is known by few, on its way to that of what is known by more."""
    if broad is None or not broad.size:
        return own.middle
    apart2 = (own.middle - broad.middle) ** 2 * (1 - 1 / own.size)
    differ2 = max(broad.spread**2, apart2)
    weight = max(differ2 / (differ2 + scatter2 / own.size), LEAST_WEIGHT)
    return weight * own.middle + (1 - weight) * broad.middle


def _seconds(log: float) -> float:
    return round(math.exp(log), 6)


def _safe_memory(own: _Pool | None, broad: _Pool | None) -> int | None:
    """The peak of the task itself, else that of its like, and a margin."""
    for pool in (own, broad):
        if pool is not None and not math.isnan(pool.peak_mb):
            return math.ceil(pool.peak_mb * MEMORY_MARGIN)
    return None
