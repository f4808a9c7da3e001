"""Planted bugs of pictures and of tables: see `table.py` for what an entry is."""

from __future__ import annotations

from .entry import Mutation

__all__ = ["PICTURE_MUTATIONS"]

PICTURE_MUTATIONS = (
    Mutation(
        "lane-not-given-back",
        "pictures/lanes.py",
        "busy[0][0] <= start",
        "busy[0][0] < start",
        "an attempt that starts when another ends is drawn in a lane more",
    ),
    Mutation(
        "usage-of-the-first-alone",
        "pictures/usage.py",
        "np.add.at(change, at[:n], amount.astype(np.int64))",
        "change[at[:n]] += amount.astype(np.int64)",
        "of the attempts that start at one instant one is counted",
    ),
    Mutation(
        "whole-cells",
        "pictures/usage.py",
        "part = place - cell",
        "part = 0.0",
        "an attempt is counted from the edge of a cell on, and not from where it starts",
    ),
    Mutation(
        "freed-before-ready",
        "pictures/waits.py",
        "told[told] = end[freed_by[told]] >= ready_ns[told]",
        "pass",
        "a task is said to have waited for what had ended before it was ready",
    ),
    Mutation(
        "freed-too-early",
        "pictures/waits.py",
        'side="right") - 1',
        'side="left") - 1',
        "who makes room at the instant of a start is not seen",
    ),
    Mutation(
        "retry-waits-for-dependencies",
        "pictures/waits.py",
        "    ready_ns[by[again + 1]] = end[by[again]]\n",
        "",
        "a retry is said to be ready when its first attempt was",
    ),
    Mutation(
        "ids-end-the-script",
        "pictures/page.py",
        '.replace("<", "\\\\u003c")',
        "",
        "an id that ends a script tag ends that of the page",
    ),
    Mutation(
        "narrow-columns",
        "pictures/page.py",
        'least <= low and high <= most), "f8")',
        'least <= low), "f8")',
        "numbers of a page are cut to a byte",
    ),
    Mutation(
        "lanes-of-all-workers-in-one",
        "pictures/trace.py",
        '"tid": n_workers + 2 + row,',
        '"tid": n_workers + 2 + worker,',
        "slices of a trace overlap",
    ),
    Mutation(
        "sketch-not-escaped",
        "pictures/sketch.py",
        "<title>{escape(told)}</title></rect>",
        "<title>{told}</title></rect>",
        "an id with a tag in it is one in a notebook",
    ),
    Mutation(
        "file-not-named",
        "files.py",
        "        error.filename = os.fspath(path)\n",
        "",
        "a full disk is told without saying of which file",
    ),
    Mutation(
        "input-overwritten",
        "pictures/options.py",
        "for what, file in reads if file is not None",
        "for what, file in reads if file is None",
        "a picture is written over the job file",
    ),
    Mutation(
        "two-outputs-in-one",
        "pictures/options.py",
        """        taken.append((file, f"{option} writes it too"))\n""",
        "",
        "of two pictures that are written into one file, the first is lost",
    ),
    Mutation(
        "column-kept-for-ever",
        "_export.pyx",
        "    let_go(array.private_data)\n    array.private_data = NULL\n",
        "    array.private_data = NULL\n",
        "the memory of a table that was read is never let go of",
    ),
    Mutation(
        "stream-not-marked",
        "_export.pyx",
        "    stream.private_data = NULL\n    stream.release = NULL\n",
        "    stream.private_data = NULL\n",
        "a stream that was released does not say so, and is released again",
    ),
    Mutation(
        "nulls-forgotten",
        "table.py",
        "    if known.all():\n",
        "    if True:\n",
        "an attempt that completed has an empty reason in place of none",
    ),
)
