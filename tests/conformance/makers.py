"""The engines that have to pass, each by a name: what makes one, and what it can be tried with.

An engine that runs real commands passes everything; one that does not passes `test_protocol.py`, in which commands are
deeds (`deeds.py`) that it is given in a form of its own. FASTSCHED_ENGINES names those that are wanted, if not all.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
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


#: What ends what was begun for all engines of this process.
ENDS = contextlib.ExitStack()
atexit.register(ENDS.close)


@functools.cache
def ray_cluster():
    """A cluster for all engines of this process: one node."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="warning")
    ENDS.callback(ray_cluster.cache_clear)
    ENDS.callback(ray.shutdown)


def make_ray(**options):
    """A Ray engine on that cluster."""
    pytest.importorskip("ray", reason="skipped: ray is not installed")
    from fastsched.engines.ray import RayEngine

    ray_cluster()
    return RayEngine(**options)


@functools.cache
def dask_cluster():
    """A cluster for all engines of this process: two workers, each a process."""
    from distributed import LocalCluster

    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0)
    ENDS.callback(dask_cluster.cache_clear)
    ENDS.callback(cluster.close)
    return cluster


def make_dask(**options):
    """A Dask engine on that cluster."""
    pytest.importorskip("distributed", reason="skipped: distributed is not installed")
    from fastsched.engines.dask import DaskEngine

    return DaskEngine(dask_cluster().scheduler_address, **options)


MAKERS = {
    "local-namespace": Maker(partial(make_local, "namespace")),
    "local-session": Maker(partial(make_local, "session")),
    "simulated": Maker(make_simulated, str, lambda engine: engine.clock, runs_commands=False),
    "dask": Maker(make_dask),
    "ray": Maker(make_ray),
}
wanted = os.environ.get("FASTSCHED_ENGINES", "")
MAKERS = {name: maker for name, maker in MAKERS.items() if not wanted or name in wanted.split(",")}
