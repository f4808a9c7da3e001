"""Every core that a test makes is recounted when the test is put away."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import fastsched.planner
import fastsched.state
from fastsched._core import Core

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FASTSCHED_DATA", ROOT.parent / "shared" / "data"))
KEPT = 200  # cores that are kept for the recount at the end; older ones are recounted at once


def pytest_configure():
    """Ctrl-C is heard, here and by all that tests start, also where a shell began this in the background with `&`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def recount_every_core(monkeypatch):
    """Note each core where `make_core` is used, and call its `check()` at teardown."""
    made: list[Core] = []

    def noting(make):
        def make_and_note(*args, **kwargs):
            core = make(*args, **kwargs)
            made.append(core)
            if len(made) > KEPT:
                made.pop(0).check()
            return core

        return make_and_note

    for room in (fastsched.planner, fastsched.state):
        monkeypatch.setattr(room, "make_core", noting(room.make_core))
    yield
    for core in made:
        core.check()


@pytest.fixture
def data_folder() -> Path:
    """Real instances that are not part of the project; a test that needs them is skipped without them."""
    if not DATA.is_dir():
        pytest.skip(f"skipped: no data folder at FASTSCHED_DATA={DATA}")
    return DATA
