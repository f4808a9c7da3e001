"""Shapes of workers as a person writes them (`10:8x64G,gpu=2`), and what one of a shape costs an hour.

Text and numbers in, workers out. Nothing here knows a task, a file or a plan.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from .errors import Problem, ValidationError
from .model import Worker
from .names import nearest_field, show_name, show_value
from .units import MB_OF_UNIT

__all__ = ["MOST_WORKERS", "SHAPE", "Shape", "price_of", "read_shape", "read_shapes", "show_shape"]

SHAPE = re.compile(
    r"(?:(\d{1,9}):)?(\d{1,9}(?:\.\d+)?)x(\d{1,12}(?:\.\d+)?)([KMGT]?)B?((?:,\w+=\d{1,12})*)", re.IGNORECASE | re.ASCII
)
MOST_WORKERS = 100_000  # that shapes can ask for
MOST_PRICE = 10**9
NANO = 10**9  # prices are counted in parts of this, exactly


@dataclass(frozen=True)
class Shape:
    """A kind of worker that can be had.

    Args:
        shape: `4x16G` (4 cores, 16 GB), `8x64G,gpu=2`; or a `Worker`, whose id does not matter.
        price: what one costs an hour, in any currency, to nine decimals.
        name: what it is called; the shape, where none is given.
        most: so many there are at most; None: as many as one likes.

    Raises:
        ValueError: for a value that is wrong, with what is wanted.
    """

    shape: str | Worker
    price: float
    name: str = ""
    most: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.shape, (str, Worker)):
            raise ValueError(f"shape is {show_value(self.shape)}; a text such as '4x16G' or a Worker is wanted")
        if isinstance(self.shape, str) and read_shape(self.shape)[0] != 1:
            raise ValueError(f"shape is {self.shape!r}; one worker is wanted here: `most` says how many there are")
        if isinstance(self.shape, Worker):
            for problem in msgspec.structs.replace(self.shape, worker_id="w").find_problems("w"):
                raise ValueError(problem.message)
        if not isinstance(self.name, str):
            raise ValueError(f"name is {show_value(self.name)}; a text is wanted")
        _ = self.price_nano
        if self.most is not None and (
            isinstance(self.most, bool) or not hasattr(self.most, "__index__") or not 0 <= self.most <= MOST_WORKERS
        ):
            raise ValueError(f"most is {show_value(self.most)}; a whole number from 0 to {MOST_WORKERS:,} is wanted")

    @property
    def worker(self) -> Worker:
        """One worker of it."""
        return read_shape(self.shape)[1] if isinstance(self.shape, str) else self.shape

    @property
    def label(self) -> str:
        """Its name, or what it is."""
        return self.name or (self.shape if isinstance(self.shape, str) else show_shape(self.shape))

    @property
    def price_nano(self) -> int:
        """The price an hour in billionths, exactly as it was written."""
        try:
            if isinstance(self.price, (bool, str)):
                raise TypeError
            price = Decimal(str(self.price))
            if not price.is_finite() or not 0 <= price <= MOST_PRICE or price * NANO != int(price * NANO):
                raise ValueError
        except (TypeError, ValueError, InvalidOperation):
            raise ValueError(
                f"price is {show_value(self.price)}; a number from 0 to {MOST_PRICE:,}, to nine decimals, is wanted"
            ) from None
        return int(price * NANO)


def read_shape(text: str) -> tuple[int, Worker]:
    """`[N:]CORESxMEMORY[,NAME=AMOUNT...]` as how many of which worker.

    Raises:
        ValueError: with a sentence for a person.
    """
    match = SHAPE.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a shape such as 4x16G, 10:8x64G or 8x64G,gpu=2")
    times, cores, amount, unit, named = match.groups()
    if not unit:
        shape = f"{times + ':' if times else ''}{cores}x{amount}"
        raise ValueError(f"{text!r} names no unit of memory: say {shape}G or {shape}M")
    if not 1 <= int(times or 1) <= MOST_WORKERS:
        raise ValueError(f"{text!r}: between 1 and {MOST_WORKERS:,} workers can be asked for")
    memory = int(float(amount) * MB_OF_UNIT[unit.upper()])
    if not float(cores) or not memory:
        what = "cores, such as 0.5x1G" if not float(cores) else "at least 1 MB of memory, such as 1x512M"
        raise ValueError(f"{text!r}: a worker needs {what}")
    resources = {name: int(value) for name, value in (part.split("=") for part in named.split(",")[1:])}
    worker = Worker("w", float(cores), memory, resources=resources or None)
    for problem in worker.find_problems("w"):
        raise ValueError(f"{text!r}: {problem.message}")
    return int(times or 1), worker


def show_shape(worker: Worker) -> str:
    """A worker as its shape: `4x16G,gpu=2`."""
    memory = worker.memory_available_mb
    amount = f"{memory // 1024}G" if memory and memory % 1024 == 0 else f"{memory}M"
    named = "".join(f",{show_name(name)}={value}" for name, value in sorted((worker.resources or {}).items()))
    return f"{worker.cpu_cores_available:g}x{amount}{named}"


def read_shapes(shapes: Iterable[Shape | Mapping[str, Any]]) -> list[Shape]:
    """The shapes as objects; mappings have the same fields.

    Raises:
        ValidationError: naming every problem of every shape, and names that come twice.
    """
    if isinstance(shapes, (str, Mapping)) or not isinstance(shapes, Iterable):
        raise ValidationError([Problem("bad_type", "shapes", f"shapes is {show_value(shapes)}; a list is wanted")])
    known = [field.name for field in fields(Shape)]
    made: list[Shape] = []
    problems: list[Problem] = []
    for i, item in enumerate(shapes):
        where = f"shapes[{i}]"
        if isinstance(item, Shape):
            made.append(item)
            continue
        if not isinstance(item, Mapping):
            problems.append(Problem("bad_type", where, f"{show_value(item)} is no shape with a price"))
            continue
        wrong = [name for name in item if name not in known]
        for name in wrong:
            near = nearest_field(str(name), known)
            hint = f"did you mean {near!r}?" if near else f"known: {', '.join(known)}"
            problems.append(
                Problem("unknown_field", where, f"unknown field {show_value(name)}; {hint}", str(name), suggestion=near)
            )
        lacks = [name for name in known[:2] if name not in item]
        problems += [Problem("missing_field", where, f"field {name!r} is missing", name) for name in lacks]
        if not wrong and not lacks:
            try:
                made.append(Shape(**item))
            except ValueError as error:
                problems.append(Problem("bad_value", where, str(error)))
    labels = [shape.label for shape in made]
    problems += [
        Problem("duplicate_id", "shapes", f"{label!r} comes twice; give each a name of its own")
        for label in dict.fromkeys(labels)
        if labels.count(label) > 1
    ]
    if problems:
        raise ValidationError(problems)
    return made


def price_of(shapes: Sequence[Shape], workers: Iterable[Worker], resources: Iterable[str] | None = None) -> int | None:
    """What all these workers cost an hour in billionths, each as the cheapest shape that is equal to it.

    resources: only these are known of the workers, besides cores and memory; None: all. None is answered where one of
    them has no price, or shapes of different prices are alike in what is known.
    """
    known = None if resources is None else set(resources)
    prices: dict[Any, list[int]] = {}
    for shape in shapes:
        prices.setdefault(_kind(shape.worker, known), []).append(shape.price_nano)
    total = 0
    for worker in workers:
        asked = prices.get(_kind(worker, known), [])
        if not asked or (known is not None and min(asked) < max(asked)):
            return None
        total += min(asked)
    return total if shapes else None


def _kind(worker: Worker, known: set[str] | None) -> tuple[Any, ...]:
    named = {
        name: amount for name, amount in (worker.resources or {}).items() if amount and (known is None or name in known)
    }
    return round(worker.cpu_cores_available * 1000), worker.memory_available_mb, tuple(sorted(named.items()))
