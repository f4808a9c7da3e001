"""The options that several commands share, and what they name: workers, ranks and fits, prices, forms of an answer."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from . import asked
from .engines.local import this_machine
from .formats import Job, load_shapes, load_workers
from .model import Worker
from .portfolio import AUTO, FITS, MIRRORED
from .ranks import RANKS
from .shapes import MOST_WORKERS, Shape, read_shapes

__all__ = [
    "add_choices",
    "add_format",
    "add_prices",
    "add_workers",
    "columns_of",
    "named_workers",
    "prices_of",
    "workers_for",
]


def add_workers(parser: argparse.ArgumentParser, says: str = "workers") -> None:
    """The options that name workers; `says`: whose."""
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--workers", metavar="FILE", help=f"{says} from this file instead of the job file's")
    instead.add_argument(
        "-w",
        dest="shapes",
        metavar="[N:]CORESxMEMORY",
        action="extend",
        nargs="+",
        type=asked.shape,
        help="workers by shape, e.g. 4x16G (4 cores, 16 GB), 10:8x64G (ten of them), 8x64G,gpu=2",
    )


def named_workers(arguments: argparse.Namespace) -> Sequence[Worker | Mapping[str, Any]] | None:
    """The workers that the options name; None: they name none."""
    if arguments.workers:
        return load_workers(arguments.workers)
    if not arguments.shapes:
        return None
    if sum(times for times, _ in arguments.shapes) > MOST_WORKERS:
        arguments.parser.error(f"argument -w: at most {MOST_WORKERS:,} workers can be asked for")
    workers = [worker for times, worker in arguments.shapes for _ in range(times)]
    return [msgspec.structs.replace(worker, worker_id=f"w{i}") for i, worker in enumerate(workers)]


def workers_for(arguments: argparse.Namespace, job: Job) -> Sequence[Worker | Mapping[str, Any]]:
    """The workers to plan a job on: those that the options name, else the job file's, else this machine."""
    named = named_workers(arguments)
    if named is not None:
        return named
    return [this_machine()] if job.workers is None else job.workers


def add_choices(parser: argparse.ArgumentParser) -> None:
    """The options that say how is chosen."""
    parser.add_argument(
        "--rank",
        type=asked.rank,
        default="critical-path",
        metavar="RANK",
        help=f"who goes first: {', '.join(RANKS)}; {AUTO}: the best of a few pairs of rank and fit; to plan only, "
        f"{MIRRORED}, or one of them with +justified behind it (default: %(default)s)",
    )
    parser.add_argument(
        "--fit",
        choices=(*FITS, AUTO),
        default="most-free",
        metavar="FIT",
        help=f"which worker takes it: {', '.join(FITS)}; {AUTO}: the best of these (default: %(default)s)",
    )


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
        type=asked.priced,
        action="extend",
        nargs="+",
        metavar="[N:]SHAPE=PRICE",
        help="what one costs an hour: 4x16G=0.20, or 10:4x16G=0.20 where there are ten at most",
    )


def prices_of(arguments: argparse.Namespace) -> list[Shape]:
    """The shapes that the options name, with their prices."""
    return read_shapes(load_shapes(arguments.price_file) if arguments.price_file else arguments.prices or [])


def add_format(parser: argparse.ArgumentParser, *more: str) -> None:
    """The option that chooses the form, of the usual ones and `more`."""
    forms = ("human", "json", "jsonl", *more)
    parser.add_argument("--format", choices=forms, default="human", help="(default: %(default)s)")


def columns_of(arguments: argparse.Namespace) -> int:
    """How wide the answer may be."""
    return arguments.width or shutil.get_terminal_size((100, 24)).columns
