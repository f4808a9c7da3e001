"""The options of the command line that write pictures, and what they do.

What is wrong with them is said before anything is planned. It is the only room here that prints.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TextIO

from ..names import show_name
from . import Pictured
from .plot import require_matplotlib

__all__ = ["add_pictures", "check_pictures", "write_pictures"]

PLOT_KINDS = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp")


def add_pictures(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the options; `what`: it is of a plan, or of a run."""
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "--html",
        metavar="FILE",
        help=f"write a page to look around in the {what}: one file, which needs no network",
    )
    group.add_argument("--trace", metavar="FILE", help="write a trace for ui.perfetto.dev (JSON)")
    group.add_argument(
        "--plot",
        metavar="FILE",
        type=plot_file,
        help="write a chart by its suffix: .png, .svg or .pdf (extra plot: matplotlib)",
    )


def plot_file(text: str) -> str:
    """The name of a file with a suffix that matplotlib knows."""
    if os.path.splitext(text)[1].lower() not in PLOT_KINDS:
        raise argparse.ArgumentTypeError(f"{text!r} has none of the suffixes {', '.join(PLOT_KINDS)}")
    return text


def check_pictures(arguments: argparse.Namespace, *inputs: str | None) -> None:
    """End the program where a picture would be written over what is read, or over another one, or cannot be drawn."""
    named = [(f"--{option}", getattr(arguments, option)) for option in ("html", "trace", "plot")]
    asked = [(option, file) for option, file in named if file is not None]
    taken = {os.path.realpath(file): "it is what is read" for file in inputs if file is not None}
    for option, file in asked:
        place = os.path.realpath(file)
        if os.path.isdir(place):
            arguments.parser.error(f"argument {option}: {file} is a folder")
        if not os.path.isdir(os.path.dirname(place)):
            arguments.parser.error(f"argument {option}: {file}: there is no such folder")
        if place in taken:
            arguments.parser.error(f"argument {option}: {file} would be overwritten; {taken[place]}")
        taken[place] = f"{option} writes it too"
    if arguments.plot is not None:
        require_matplotlib()


def write_pictures(arguments: argparse.Namespace, outcome: Pictured, title: str) -> None:
    """Write what was asked for, and say where it is: on stdout for a person, else on stderr. Raises OSError."""
    out: TextIO = sys.stdout if arguments.format == "human" else sys.stderr
    for file, how, write in (
        (arguments.html, ": open it in a browser", outcome.save_html),
        (arguments.trace, ": open it in ui.perfetto.dev", outcome.save_trace),
        (arguments.plot, "", lambda path, title: outcome.plot(path, title=title)),
    ):
        if file is None:
            continue
        write(file, title=title)
        print(f"wrote {show_name(file)} ({size_of(file)}){how}", file=out)


def size_of(file: str) -> str:
    """How large a file is, as a person says it."""
    size = os.path.getsize(file)
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3)):,} kB"
