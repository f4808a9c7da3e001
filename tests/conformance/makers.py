"""The engines that have to pass, each by a name: what makes one, and what it can be tried with.

An engine that runs real commands passes everything; one that does not passes `test_protocol.py`, in which commands are
deeds (`deeds.py`) that it is given in a form of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from fastsched.engines.local import LocalEngine

from .deeds import as_shell, make_simulated


@dataclass(frozen=True)
class Maker:
    """`make(**options)`: an engine, or a skip that says why it cannot be had. `say`: a deed as a command for it.

    `clock`: of an engine, in ns; the time that its commands take.
    """

    make: Callable[..., Any]
    say: Callable[[Any], str] = as_shell
    clock: Callable[[Any], Callable[[], int]] = lambda engine: time.monotonic_ns
    runs_commands: bool = True


def make_local(containment, **options):
    """A local engine; `output_cap_mb` and the like are for tests of outputs."""
    try:
        return LocalEngine(containment=containment, **options)
    except OSError as error:
        pytest.skip(f"skipped: {error}")


MAKERS = {
    "local-namespace": Maker(partial(make_local, "namespace")),
    "local-session": Maker(partial(make_local, "session")),
    "simulated": Maker(make_simulated, str, lambda engine: engine.clock, runs_commands=False),
}
