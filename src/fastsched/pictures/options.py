"""The options of the command line that write pictures, and what they do.

What is wrong with them is said before anything is planned. It is the only room here that prints.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from typing import TextIO

from ..names import show_name
from . import Pictured
from .plot import require_matplotlib

__all__ = ["add_pictures", "check_files", "plot_file", "tell_written", "write_pictures"]

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


def check_files(
    arguments: argparse.Namespace,
    reads: Iterable[tuple[str, str | None]] = (),
    writes: Iterable[tuple[str, str | None]] = (),
) -> None:
    """End the program where a picture, or what else is written, cannot be: over what is read, or twice into one file.

    reads: what is read, in words, and the files. writes: options and the files that they write, beside the pictures.
    None: there is no such file.
    """
    pictures = [(f"--{option}", getattr(arguments, option)) for option in ("html", "trace", "plot")]
    taken = [(file, f"it is {what}") for what, file in reads if file is not None]
    for option, file in (*writes, *pictures):
        if file is None:
            continue
        if os.path.isdir(file):
            arguments.parser.error(f"argument {option}: {file} is a folder")
        if not os.path.isdir(os.path.dirname(os.path.realpath(file))):
            arguments.parser.error(f"argument {option}: {file}: there is no such folder")
        for other, why in taken:
            if is_same_file(file, other):
                arguments.parser.error(f"argument {option}: {file} would be overwritten; {why}")
        taken.append((file, f"{option} writes it too"))
    if arguments.plot is not None:
        require_matplotlib()


def is_same_file(file: str, other: str) -> bool:
    """Whether two names are of one file that keeps what is written: /dev/null and a pipe do not."""
    if os.path.exists(file) and os.path.exists(other):
        return os.path.samefile(file, other) and os.path.isfile(file)
    return os.path.normcase(os.path.realpath(file)) == os.path.normcase(os.path.realpath(other))


def write_pictures(arguments: argparse.Namespace, outcome: Pictured, title: str) -> list[str]:
    """Write what was asked for; answers what is to be told of it, a line each. Raises OSError."""
    lines = []
    for file, how, write in (
        (arguments.html, ": open it in a browser", outcome.save_html),
        (arguments.trace, ": open it in ui.perfetto.dev", outcome.save_trace),
        (arguments.plot, "", lambda path, title: outcome.plot(path, title=title)),
    ):
        if file is None:
            continue
        write(file, title=title)
        lines.append(f"wrote {show_name(file)} ({size_of(file)}){how}")
    return lines


def tell_written(arguments: argparse.Namespace, lines: Iterable[str]) -> None:
    """Say what was written: on stdout for a person, else on stderr."""
    out: TextIO = sys.stdout if arguments.format == "human" else sys.stderr
    for line in lines:
        print(line, file=out)


def size_of(file: str) -> str:
    """How large a file is, as a person says it."""
    size = os.path.getsize(file)
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3)):,} kB"
