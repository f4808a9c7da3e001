"""What a question says on the command line: prices, ranges, shares and times, as text into values; nothing is done."""

from __future__ import annotations

import argparse
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from .formats import load_shapes
from .shapes import SHAPE, Shape, read_shapes
from .units import read_megabytes, read_seconds

__all__ = ["add_prices", "positive", "prices_of", "seconds", "share", "variation", "whole"]

MOST_SECONDS = 10**9
MOST_POINTS = 100_000
END = r"(\d+(?:\.\d+)?[KMGT]?)"
RANGE = re.compile(rf"([^=\s]+(?:,\w+=\d+)*)={END}(?:\.\.{END})?(?::{END})?", re.ASCII)


def add_prices(parser: Any, *, required: bool) -> None:
    """The options that say what workers cost."""
    prices = parser.add_mutually_exclusive_group(required=required)
    prices.add_argument(
        "--shapes",
        dest="price_file",
        metavar="FILE",
        help="JSON or TOML: a list `shapes`, each with shape (4x16G), price (an hour), and maybe name and most",
    )
    prices.add_argument(
        "--shape",
        dest="prices",
        type=priced,
        action="extend",
        nargs="+",
        metavar="[N:]SHAPE=PRICE",
        help="what one costs an hour: 4x16G=0.20, or 10:4x16G=0.20 where there are ten at most",
    )


def prices_of(arguments: argparse.Namespace) -> list[Shape]:
    """The shapes that the options name, with their prices."""
    return read_shapes(load_shapes(arguments.price_file)) if arguments.price_file else arguments.prices or []


def seconds(text: str) -> float:
    """A duration with its unit."""
    try:
        return read_seconds(text, MOST_SECONDS)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def whole(text: str, least: int = 0) -> int:
    """A whole number, not below the least."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return int(text)


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    return whole(text, 1)


def share(text: str) -> float:
    """20% or 0.2."""
    try:
        number = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 10:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to 1000%, such as 20% or 0.2")
    return number


def priced(text: str) -> Shape:
    """`[N:]SHAPE=PRICE`."""
    shape, equals, price = text.rpartition("=")
    most, colon, bare = shape.rpartition(":")
    try:
        if not equals or not SHAPE.fullmatch(shape):
            raise ValueError(
                f"{text!r} is not a shape with its price an hour, such as 4x16G=0.20 (FILE goes before --shape)"
            )
        return Shape(bare if colon else shape, float(Decimal(price)), most=int(most) if colon else None)
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
    if (last - first) / step >= MOST_POINTS:
        raise argparse.ArgumentTypeError(f"{text!r}: at most {MOST_POINTS:,} points are planned")
    values = [first + step * i for i in range(int((last - first) / step) + 1)]
    return what, [int(value) if value == int(value) else float(value) for value in values]


def amount(what: str, text: str) -> Decimal:
    """A number; of memory, MB of a size with its unit."""
    if what == "memory":
        return Decimal(int(read_megabytes(text)))
    return Decimal(text)
