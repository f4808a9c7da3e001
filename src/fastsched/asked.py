"""What options say on the command line: numbers, times, sizes, shares, shapes and prices, as text into values.

What is wrong is told by argparse, which names the option. Nothing is done here.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from .model import Worker
from .policy import Policy
from .portfolio import check_rank
from .runtime.session import MAX_MB, MAX_SECONDS, MAX_SHARE
from .shapes import SHAPE, Shape, read_shape
from .units import read_megabytes, read_seconds

__all__ = ["duration", "factor", "positive", "positive_duration", "priced", "rank", "seconds", "seed", "shape", "share"]
__all__ += ["share_or_never", "size", "threads", "variation", "whole", "whole_from"]

MOST_SECONDS = 10**9
MOST_POINTS = 100_000
MOST_UNASKED = 1000  # points, where no step is given
SHARE = re.compile(r"(\d{1,5}(?:\.\d{1,9})?)(%?)", re.ASCII)
END = r"(\d+(?:\.\d+)?[KMGT]?)"
RANGE = re.compile(rf"([^=\s]+(?:,\w+=\d+)*)={END}(?:\.\.{END})?(?::{END})?", re.ASCII)


def whole_from(least: int, most: int = 999_999_999) -> Callable[[str], int]:
    """Reads a whole number in this range."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or len(text) > 20 or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most:,}")
        return int(text)

    return read


whole = whole_from(0)
positive = whole_from(1)
threads = whole_from(1, 1024)
seed = whole_from(0, 2**64 - 1)


def seconds_from(least: float = 0.0, most: float = MOST_SECONDS) -> Callable[[str], float]:
    """Reads a duration with its unit, as seconds in this range."""

    def read(text: str) -> float:
        try:
            number = read_seconds(text, most)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        if number < least:
            raise argparse.ArgumentTypeError(f"{text!r} is too short; at least {least * 1000:g}ms is wanted")
        return number

    return read


seconds = seconds_from()
# Of what goes on while somebody waits; 1 ms is the least that there can be of anything that may not be nothing.
duration = seconds_from(most=MAX_SECONDS)
positive_duration = seconds_from(0.001, MAX_SECONDS)


def share(text: str, most: float = 10.0) -> float:
    """20% or 0.2."""
    match = SHARE.fullmatch(text)
    number = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= number <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to {most * 100:.0f}%, such as 20% or 0.2")
    return number


def share_or_never(text: str) -> float:
    """20% or 0.2, more than nothing; infinite for never."""
    if text == "never":
        return math.inf
    try:
        number = share(text, MAX_SHARE)
    except argparse.ArgumentTypeError:
        number = 0.0
    if not number:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 20% or 0.2, nor never")
    return number


def size(text: str) -> int:
    """Whole MB, of a size with its unit."""
    try:
        megabytes = read_megabytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 1 <= megabytes <= MAX_MB:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1M and {MAX_MB >> 20:,}T")
    return int(megabytes)


def factor(text: str) -> str:
    """How many times as much, such as 2x."""
    try:
        return Policy(on_oom=text).on_oom
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).partition("; ")[2]) from None


def rank(text: str) -> str:
    """The name of a rank."""
    try:
        check_rank(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def shape(text: str) -> tuple[int, Worker]:
    """`[N:]CORESxMEMORY[,NAME=AMOUNT...]` as how many of which worker."""
    try:
        return read_shape(text)
    except ValueError as error:
        hint = "" if SHAPE.fullmatch(text) else " (FILE goes before -w)"
        raise argparse.ArgumentTypeError(f"{error}{hint}") from None


def priced(text: str) -> Shape:
    """`[N:]SHAPE=PRICE`."""
    kind, equals, price = text.rpartition("=")
    most, colon, bare = kind.rpartition(":")
    try:
        if not equals or not SHAPE.fullmatch(kind):
            raise ValueError(
                f"{text!r} is not a shape with its price an hour, such as 4x16G=0.20 (FILE goes before --shape)"
            )
        return Shape(bare if colon else kind, float(Decimal(price)), most=int(most) if colon else None)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r}: {price!r} is no price, such as 0.20") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def variation(text: str) -> tuple[str, list[float]]:
    """`WHAT=A..B[:STEP]` as what, and its values."""
    match = RANGE.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not such as workers=1..40, 4x16G=0..40:5 or memory=4G..64G:4G")
    what, *ends = match.groups()
    try:
        first, last, step = (None if end is None else amount(what, end) for end in ends)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers are wanted; only memory has a unit") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    assert first is not None
    last, step = first if last is None else last, Decimal(1) if step is None else step
    if last < first or step <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: from the least to the most is wanted, by steps of more than 0")
    if ends[2] is None and (last - first) / step >= MOST_UNASKED:
        wanted = f"{text}:{'4G' if what == 'memory' else '10'}"
        raise argparse.ArgumentTypeError(f"{text!r}: that is {last - first + 1:,} plans; give a step, such as {wanted}")
    if (last - first) / step >= MOST_POINTS:
        raise argparse.ArgumentTypeError(f"{text!r}: at most {MOST_POINTS:,} points are planned")
    values = [first + step * i for i in range(int((last - first) / step) + 1)]
    return what, [int(value) if value == int(value) else float(value) for value in values]


def amount(what: str, text: str) -> Decimal:
    """A number; of memory, MB of a size with its unit."""
    if what == "memory":
        return Decimal(int(read_megabytes(text)))
    return Decimal(text)
