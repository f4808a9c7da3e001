"""The engines, one after the other, and what every test of them starts from."""

from __future__ import annotations

import os
import uuid

import hypothesis  # noqa: F401  # at the end of pytest, beside Dask's callback of the collector, CPython 3.11 fails at it
import pytest

from .field import Field, survivors, wait_for
from .makers import ENDS, MAKERS

if os.name != "posix":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="package", autouse=True)
def ends():
    """What was begun for all engines is ended when their tests are over, before those of others."""
    yield
    ENDS.close()


@pytest.fixture(params=sorted(name for name, maker in MAKERS.items() if maker.runs_commands))
def maker(request):
    """The name of an engine that can be had here, and runs commands."""
    MAKERS[request.param].make().close(0.0)
    return request.param


@pytest.fixture(params=sorted(MAKERS))
def any_maker(request, tmp_path, monkeypatch):
    """An engine that can be had here, whether it runs commands or not."""
    MAKERS[request.param].make().close(0.0)
    monkeypatch.chdir(tmp_path)
    return MAKERS[request.param]


@pytest.fixture
def make_field(maker, tmp_path, monkeypatch):
    """Makes fields of that engine, in a folder of its own, and closes them."""
    monkeypatch.chdir(tmp_path)
    made = []

    def make(*, run_id=None, heartbeat_s=0.2, lease_s=20.0, **options):
        field = Field(MAKERS[maker].make(**options), run_id=run_id, heartbeat_s=heartbeat_s, lease_s=lease_s)
        made.append(field)
        return field

    yield make
    for field in made:
        field.close()


@pytest.fixture
def field(make_field):
    """A field with one worker that is up."""
    field = make_field()
    field.bring_up()
    return field


@pytest.fixture
def mark():
    """A text that is in no other command line, and that `sleep` takes for a time beyond any test."""
    text = f"{3000 + os.getpid() % 1000}.{uuid.uuid4().int % 10**12:012}"
    yield text
    wait_for(lambda: not survivors(text), 5)
