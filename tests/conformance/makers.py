"""The engines that have to pass, each by a name: a function that makes one, and why it cannot be had here, if so."""

from __future__ import annotations

from functools import partial

import pytest

from fastsched.engines.local import LocalEngine


def make_local(containment, **options):
    """A local engine; `output_cap_mb` and the like are for tests of outputs."""
    try:
        return LocalEngine(containment=containment, **options)
    except OSError as error:
        pytest.skip(f"skipped: {error}")


MAKERS = {
    "local-namespace": partial(make_local, "namespace"),
    "local-session": partial(make_local, "session"),
}
