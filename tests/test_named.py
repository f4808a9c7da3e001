"""Engines by their names, and what is said of names that are none."""

from __future__ import annotations

import asyncio
import os

import pytest

from fastsched.engines.local import LocalEngine
from fastsched.engines.named import check_engine, make_engine

HOW = {"cwd": os.getcwd(), "env": None, "containment": "auto", "output_cap_mb": 1}


@pytest.mark.parametrize(
    "name",
    [
        "local",
        "dask",
        "dask://10.0.0.1:8786",
        "dask+tls://host:1",
        "dask:///shared/scheduler.json",
        "ray",
        "ray://h:6379",
    ],
)
def test_a_name_of_an_engine_is_taken(name):
    check_engine(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dusk", "did you mean 'dask'"),
        ("", "known: local, dask"),
        ("dask://", "names no host and port; dask://HOST:PORT is wanted"),
        ("ray://host", "names no host and port; ray://HOST:PORT is wanted"),
        ("local://here:1", "unknown engine"),
    ],
)
def test_a_name_that_is_none_is_refused_with_what_was_meant(name, said):
    with pytest.raises(ValueError, match=said):
        check_engine(name)


@pytest.mark.skipif(os.name != "posix", reason="skipped: commands are not run here")
def test_the_local_engine_is_made_by_its_name():
    engine = make_engine("local", **HOW)
    assert isinstance(engine, LocalEngine)
    engine.close(0.0)


def test_an_address_at_which_nobody_listens_is_said_at_once():
    pytest.importorskip("ray", reason="skipped: ray is not installed")
    with pytest.raises(OSError, match="there is no Ray cluster at"):
        make_engine("ray://127.0.0.1:9", **HOW).workers()


def test_an_outpost_on_ray_hears_frames_in_the_order_in_which_they_were_sent(monkeypatch):
    """Ray keeps none among calls of an asynchronous actor."""
    pytest.importorskip("ray", reason="skipped: ray is not installed")
    from fastsched.engines import ray as room

    heard = []

    class Recorder:
        def __init__(self, say, backlog):
            self.hear = heard.append

        def start(self):
            pass

    monkeypatch.setattr(room, "Outpost", Recorder)
    kind = room.OutpostActor.__ray_metadata__.modified_class

    async def deliver():
        actor = kind()
        for number in (2, 0, 3, 1, 4):
            await actor.hear(number, b"%d" % number)

    asyncio.run(deliver())
    assert heard == [b"0", b"1", b"2", b"3", b"4"]
