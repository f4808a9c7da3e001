"""A pytest plugin for the runs against a mutated copy.

It makes sure that the package which is tested is that copy, and notes which test found what is wrong, also where the
process does not live to tell. A test that hangs, be it in native code, is ended, and the log says where it did.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
from pathlib import Path

import pytest

NOT_THE_COPY = 97  # exit code
MEMORY = 4 << 30  # bytes that a mutant may take before that counts as wrong
LOG = os.dup(2)  # later it is captured


def pytest_configure(config):
    """Leave at once where another package is imported, or another build of a native room."""
    copy = Path(os.environ["FASTSCHED_MUTANT"]).resolve()
    number = int(os.environ["FASTSCHED_MUTANT_NUMBER"])
    for name in os.environ["FASTSCHED_MUTANT_ROOMS"].split():
        room = importlib.import_module(name)
        found = Path(room.__file__).resolve()
        if copy not in found.parents:
            pytest.exit(f"{name} is imported from {found}, not from {copy}", returncode=NOT_THE_COPY)
        if getattr(room, "PLANTED", number) != number:
            pytest.exit(f"in {name} bug {room.PLANTED} is awake, and not {number}", returncode=NOT_THE_COPY)
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def pytest_collection_modifyitems(items):
    """What takes long and finds little comes last."""
    late = ("test_both_doors", "test_depth", "test_no_string_is_made", "test_worlds_cover")
    items.sort(key=lambda item: item.name.startswith(late))


def note(what, nodeid):
    Path(os.environ["FASTSCHED_MUTANT_NOTE"]).write_text(f"{what} {nodeid}")


def pytest_runtest_logstart(nodeid):
    note("running", nodeid)
    faulthandler.dump_traceback_later(float(os.environ["FASTSCHED_MUTANT_HANG"]), exit=True, file=LOG)  # with code 1


def pytest_runtest_logreport(report):
    if report.failed:
        note("failed", report.nodeid)
