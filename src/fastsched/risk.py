"""How sure a plan is: what becomes of its makespan when durations vary. Samples in, quantiles and chances out.

Each sample multiplies every duration by a lognormal factor of mean 1, whose standard deviation is the *spread*; the
tasks vary independently. What is played is what a scheduler would do that follows the plan, which was made with the
expected durations, and learns real ones as tasks end: for a plan of one pass its list and its fit; for one that a
search found, its workers while they have room, and the order that stands such durations best (`following.loosened`).
With no spread it is the plan, with those held back who have to be. The time lines themselves are played by whatever
`Replay` is handed in; here is no core, and no draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal, localcontext
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Risk", "measure_risk"]

NS = 1_000_000_000
CHUNK_TASKS = 100_000  # tasks that are started between two looks at whether somebody wants to stop
MOST_SAMPLES = 10_000_000
SHOWN_QUANTILES = (0.05, 0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True, eq=False)
class Risk:
    """The makespans of a plan under durations that vary.

    Attributes:
        makespans_ns (samples,) int64: of every sample, in the order in which they were drawn. Sample i depends on the
            seed, on i and on the plan alone: more samples begin with the same ones.
        criticality (n,): for each task the share of the samples in which it was on the critical chain, that is,
            in which the makespan waited for it: for its end as a dependency, or for the room that it left.
        expected: the makespan in seconds with the durations as they are expected.
        spread, seed: as they were given. task_ids: the n ids.
    """

    makespans_ns: npt.NDArray[np.int64]
    criticality: npt.NDArray[np.float64]
    expected: float
    spread: float
    seed: int
    task_ids: Sequence[str]
    _redraw: Callable[[int], npt.NDArray[np.int64]]

    def __repr__(self) -> str:
        return (
            f"<Risk: {len(self.makespans_ns):,} samples, median {self.quantile(0.5):g} s, "
            f"95 % within {self.quantile(0.95):g} s>"
        )

    @property
    def makespans(self) -> npt.NDArray[np.float64]:
        """Seconds: the makespan of every sample."""
        return self.makespans_ns / NS

    @property
    def mean(self) -> float:
        """Seconds: the mean of the makespans."""
        return float(sum(self.makespans_ns.tolist()) / len(self.makespans_ns) / NS)

    def quantile(self, share: float) -> float:
        """Seconds: the smallest makespan of a sample that at least this share of the samples does not exceed."""
        if not 0 <= share <= 1:
            raise ValueError(f"share is {share!r}; a number from 0 to 1 is wanted")
        count = len(self.makespans_ns)
        at = max(0, math.ceil(round(share * count, 6)) - 1)  # 0.07 of 100 are 7, and not 7.000000000000001
        return int(np.partition(self.makespans_ns, at)[at]) / NS

    @property
    def quantiles(self) -> dict[str, float]:
        """Seconds: p5, p50, p90, p95 and p99."""
        return {f"p{share * 100:.0f}": self.quantile(share) for share in SHOWN_QUANTILES}

    def chance(self, deadline: float) -> float:
        """The share of the samples that end within so many seconds."""
        return float(np.mean(self.makespans_ns <= round(deadline * NS)))

    def most_critical(self, count: int = 10) -> list[tuple[str, float]]:
        """The tasks that the makespan most often waited for, with the share of the samples; none with a share of 0."""
        by = np.lexsort((np.arange(len(self.criticality)), -self.criticality))[:count]
        return [(self.task_ids[i], float(self.criticality[i])) for i in by.tolist() if self.criticality[i] > 0]

    def durations(self, sample: int) -> npt.NDArray[np.float64]:
        """Seconds, one a task: the durations of one sample, drawn again."""
        if not 0 <= sample < len(self.makespans_ns):
            raise IndexError(f"there is no sample {sample}; they are 0 to {len(self.makespans_ns) - 1}")
        return self._redraw(sample) / NS


def measure_risk(
    make_replay: Callable[[], Any],
    task_ids: Callable[[], Sequence[str]],
    n_tasks: int,
    expected: float,
    *,
    spread: float,
    samples: int,
    seed: int,
    threads: int,
    on_progress: Callable[[int, int], object] | None,
) -> Risk:
    """Play so many samples on as many replays as there are threads; see `Schedule.risk`."""
    sigma = sigma_of(spread)
    check_whole("samples", samples, 1, MOST_SAMPLES)
    check_whole("seed", seed, 0, 2**64 - 1)
    check_whole("threads", threads, 1, 1024)
    makespans = np.zeros(samples, dtype=np.int64)
    step = max(1, min(CHUNK_TASKS // max(1, n_tasks), -(-samples // (4 * threads))))
    threads = min(threads, -(-samples // step))
    replays = [make_replay() for _ in range(threads)]
    counts = [np.zeros(n_tasks, dtype=np.int64) for _ in replays]
    idle: SimpleQueue[int] = SimpleQueue()
    for which in range(threads):
        idle.put(which)

    def play(first: int) -> int:
        which = idle.get()
        part = makespans[first : first + step]
        try:
            replays[which].sample(part, counts[which], first, sigma, seed)
        finally:
            idle.put(which)
        return len(part)

    done = 0
    for count in in_threads(play, range(0, samples, step), threads):
        done += count
        if on_progress is not None:
            on_progress(done, samples)
    return Risk(
        makespans,
        np.sum(counts, axis=0) / samples,
        expected,
        float(spread),
        seed,
        task_ids(),
        lambda sample: np.asarray(replays[0].durations(sample, sigma, seed)),
    )


def in_threads(play: Callable[[int], Any], firsts: Sequence[int], threads: int) -> Iterable[Any]:
    """What `play` answers to each, in order; what has not begun when somebody wants to stop is not begun any more."""
    if threads == 1:
        yield from map(play, firsts)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        yield from pool.map(play, firsts)
    finally:
        pool.shutdown(cancel_futures=True)


def sigma_of(spread: float) -> int:
    """The sigma of the lognormal factor with this coefficient of variation, in parts of 2**30.

    sqrt(ln(1 + spread**2)), in decimal arithmetic, which is the same on every machine.
    """
    if isinstance(spread, bool) or not isinstance(spread, (int, float, np.number)) or not 0 <= spread <= 10:
        raise ValueError(f"spread is {spread!r}; a share from 0 to 10 is wanted, such as 0.2 for 20 %")
    with localcontext() as context:
        context.prec = 30
        return int((1 + Decimal(float(spread)) ** 2).ln().sqrt() * 2**30 + Decimal("0.5"))


def check_whole(what: str, value: Any, low: int, high: int) -> None:
    """Raise where it is no whole number in [low, high]."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or not low <= value <= high:
        raise ValueError(f"{what} is {value!r}; a whole number from {low} to {high:,} is wanted")
