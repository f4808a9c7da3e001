"""What a user may say about mishaps: what the scheduler does about them, and which ones a plan is to foresee.

`Policy` holds for plans and runs alike. `WorkerEvent` and `FailureModel` are for plans: what happens
to workers at stated times, and what chance does. Each checks itself and says what is wrong; none
knows a task or a worker but by its id.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ValidationError
from .model import Worker, from_mapping, nearest

__all__ = ["WORKER_EVENTS", "FailureModel", "Policy", "WorkerEvent"]

NS = 1_000_000_000
SECONDS_LIMIT = 10**9
COUNT_LIMIT = 2**31 - 1
WORKER_EVENTS = ("join", "leave", "lose", "drain", "resize")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the scheduler does about failures, and about tasks that wait too long. Times are seconds.

    Args:
        backoff: the delay before the first retry, doubled for every further one; 0 = none. Lost workers cost no delay.
        backoff_cap: no delay is longer.
        jitter: the share of a delay, 0 to 1, of which chance takes a part off, so that tasks which failed
            together do not come back together.
        max_losses: lost workers that a task survives; counted apart from its retries.
        max_ooms: out-of-memory failures that a task survives; counted apart as well.
        on_oom: `"2x"`: a retry after out-of-memory asks for twice the memory, but for no more than the largest
            worker could give; `"1x"`: for the same.
        quarantine_after: failures on a worker of tasks that then completed elsewhere, with nothing completed on it
            in between, after which it is given no task; 0 = never. Another worker must be left.
        probation: the first term of a quarantine, doubled for each further one. After it the worker takes one task
            at a time until one completes.
        reserve_after: the most urgent ready task that is passed by for so long is given a reservation: room is kept for
            it on the worker where it can start earliest, and there only tasks that cannot delay it are let past
            (EASY backfilling). None = never: in a finite plan nothing starves.
        seed: of the jitter.
    """

    backoff: float = 0.0
    backoff_cap: float = 300.0
    jitter: float = 0.1
    max_losses: int = 3
    max_ooms: int = 3
    on_oom: str = "1x"
    quarantine_after: int = 5
    probation: float = 60.0
    reserve_after: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("backoff", "backoff_cap", "probation", "reserve_after"):
            if name != "reserve_after" or self.reserve_after is not None:
                _check_seconds(f"Policy.{name}", getattr(self, name))
        for name in ("max_losses", "max_ooms", "quarantine_after"):
            _check_count(f"Policy.{name}", getattr(self, name))
        _check_share("Policy.jitter", self.jitter)
        _check_seed("Policy.seed", self.seed)
        if not isinstance(self.on_oom, str) or not re.fullmatch(r"\d{1,4}(\.\d{1,3})?x", self.on_oom):
            raise ValueError(f"Policy.on_oom is {self.on_oom!r}; a factor such as '2x' is wanted")
        if self.oom_growth < 1000:
            raise ValueError(f"Policy.on_oom is {self.on_oom!r}; a factor of 1 or more is wanted")

    @property
    def oom_growth(self) -> int:
        """The factor of `on_oom` in thousandths."""
        return round(float(self.on_oom[:-1]) * 1000)

    def core_options(self) -> dict[str, int]:
        """The same in the core's units: ns and thousandths."""
        return {
            "backoff": _as_ns(self.backoff),
            "backoff_cap": _as_ns(self.backoff_cap),
            "jitter": round(self.jitter * 1000),
            "max_losses": self.max_losses,
            "max_ooms": self.max_ooms,
            "oom_growth": self.oom_growth,
            "quarantine_after": self.quarantine_after,
            "probation": _as_ns(self.probation),
            "reserve_after": -1 if self.reserve_after is None else _as_ns(self.reserve_after),
            "seed": self.seed,
        }


@dataclass(frozen=True)
class WorkerEvent:
    """Something that happens to workers at a stated time of a plan.

    Args:
        at: seconds of virtual time. What starts at that time starts after it.
        what: `join` (a `Worker` that is new, or one that was there before, which comes back), `leave` (known
            beforehand: what runs there is tried again at no charge), `lose` (charged to `Policy.max_losses`), `drain`
            (it takes nothing more and leaves when it is empty), `resize` (a `Worker` with its new capacity).
        worker: a worker's id, a `Worker` or a mapping with its fields, or several of these: a whole rack at once.

    Raises:
        TypeError, ValueError: for what is none of these. ValidationError: for a mapping that is no worker.
    """

    at: float
    what: str
    worker: str | Worker | Mapping[str, Any] | Iterable[str | Worker | Mapping[str, Any]]

    def __post_init__(self) -> None:
        _check_seconds("WorkerEvent.at", self.at)
        object.__setattr__(self, "worker", _read_workers(self.worker))
        if self.what not in WORKER_EVENTS:
            near = nearest(str(self.what), WORKER_EVENTS)
            hint = f"did you mean {near!r}?" if near else f"known: {', '.join(WORKER_EVENTS)}"
            raise ValueError(f"WorkerEvent.what is {self.what!r}; {hint}")
        for worker in self.workers:
            if self.what == "resize" and not isinstance(worker, Worker):
                raise TypeError(f"WorkerEvent 'resize' of {worker!r}: a Worker with its new capacity is wanted")

    @property
    def workers(self) -> tuple[str | Worker, ...]:
        """Those to whom it happens."""
        return _as_tuple(self.worker)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class FailureModel:
    """What chance does in a plan. Drawn from the seed, the task and the attempt: the same on every machine.

    Args:
        task_probability: that an attempt fails, at its full duration: one number, or one by task id.
        worker_mtbf: the mean time between failures of a worker in seconds (the time to its loss is exponential):
            one number above 0, or one by worker id. None, and a worker that is not named: it is not lost.
        worker_repair: seconds from a loss to the worker's return, likewise. None = it stays away.
        seed: of the draws.
    """

    task_probability: float | Mapping[str, float] = 0.0
    worker_mtbf: float | Mapping[str, float] | None = None
    worker_repair: float | Mapping[str, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for value in _values(self.task_probability):
            _check_share("FailureModel.task_probability", value)
        for name in ("worker_mtbf", "worker_repair"):
            for value in [] if getattr(self, name) is None else _values(getattr(self, name)):
                _check_seconds(f"FailureModel.{name}", value)
                if name == "worker_mtbf" and _as_ns(value) < 1:
                    raise ValueError(f"FailureModel.worker_mtbf is {value!r}; at least 1e-9 is wanted, None for never")
        _check_seed("FailureModel.seed", self.seed)


def _as_ns(seconds: float) -> int:
    return round(seconds * NS)


def _read_workers(given: Any) -> str | Worker | tuple[str | Worker, ...]:
    """Ids and workers as they are, mappings as workers, and several of them in a tuple."""
    if isinstance(given, (str, Worker)):
        return given
    if isinstance(given, Mapping):
        worker, problems = from_mapping(Worker, given, "WorkerEvent.worker")
        if problems:
            raise ValidationError(problems)
        assert isinstance(worker, Worker)
        return worker
    if isinstance(given, Iterable) and not isinstance(given, bytes):
        return tuple(worker for one in given for worker in _as_tuple(_read_workers(one)))
    raise TypeError(f"WorkerEvent.worker is {given!r}; an id, a Worker, or a list of these is wanted")


def _as_tuple(workers: str | Worker | tuple[str | Worker, ...]) -> tuple[str | Worker, ...]:
    return workers if isinstance(workers, tuple) else (workers,)


def _values(given: Any) -> list[Any]:
    return list(given.values()) if isinstance(given, Mapping) else [given]


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and hasattr(value, "__float__") and not hasattr(value, "__len__")


def _check_seconds(what: str, value: Any) -> None:
    if not _is_number(value):
        raise TypeError(f"{what} is {value!r}; a number of seconds is wanted")
    if not 0 <= value <= SECONDS_LIMIT:
        raise ValueError(f"{what} is {value!r}; it must be between 0 and {SECONDS_LIMIT}")


def _check_share(what: str, value: Any) -> None:
    if not _is_number(value):
        raise TypeError(f"{what} is {value!r}; a number from 0 to 1 is wanted")
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise ValueError(f"{what} is {value!r}; a number from 0 to 1 is wanted")


def _check_count(what: str, value: Any) -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 0 <= operator.index(value) <= COUNT_LIMIT:
        raise ValueError(f"{what} is {value!r}; a whole number from 0 to {COUNT_LIMIT} is wanted")


def _check_seed(what: str, value: Any) -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 0 <= operator.index(value) < 2**64:
        raise ValueError(f"{what} is {value!r}; a whole number from 0 to 2**64 - 1 is wanted")
