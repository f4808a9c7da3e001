"""What a run on a cluster costs beside the cluster's own tasks: 10,000 times /bin/true, on the same workers, in turns.

    python bench/overhead/clusters.py [--n 10000] [--rounds 3] [--only dask ray] [--keep]

Dask: `client.submit` of `subprocess.run`, on two workers of a thread each. Ray: tasks that do the same, on a node with
two cores. Ours: `run()` on their workers, as they are offered. The floor is a C program that starts the commands two at
a time. Printed are medians of the wall seconds, and what is above the floor; each result is looked at.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from measure import compile_helpers
from ours import tasks_of

from fastsched import run

PROGRAM = "/bin/true"


def call(_: int) -> int:
    """What a task of the cluster's own does."""
    return subprocess.run([PROGRAM]).returncode


def ours(engine: object, n: int, keep: bool) -> None:
    """The same by us: with outputs and journal, or without both."""
    folder = Path(tempfile.mkdtemp(dir=os.getcwd()))
    kept = {"journal": folder / "run"} if keep else {"capture": False}
    result = run(tasks_of("independent", n, PROGRAM), engine=engine, **kept)
    assert result.all_completed and len(result.attempts) == n


def with_dask(n: int, keep: bool) -> tuple[dict[str, Callable[[], None]], Callable[[], None]]:
    from distributed import Client, LocalCluster

    from fastsched.engines.dask import DaskEngine

    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    client = Client(cluster)

    def plain() -> None:
        futures = [client.submit(call, i, pure=False) for i in range(n)]
        assert client.gather(futures) == [0] * n

    def close() -> None:
        client.close()
        cluster.close()

    return {"dask": plain, "fastsched on dask": lambda: ours(DaskEngine(client), n, keep)}, close


def with_ray(n: int, keep: bool) -> tuple[dict[str, Callable[[], None]], Callable[[], None]]:
    import ray

    from fastsched.engines.ray import RayEngine

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="warning")
    remote = ray.remote(num_cpus=1)(call)

    def plain() -> None:
        assert ray.get([remote.remote(i) for i in range(n)]) == [0] * n

    return {"ray": plain, "fastsched on ray": lambda: ours(RayEngine(), n, keep)}, ray.shutdown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=("dask", "ray"), default=["dask", "ray"])
    parser.add_argument("--keep", action="store_true", help="with outputs and journal, which the others have not")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        compile_helpers(Path(name))
        floor = [f"{name}/floor", str(options.n), "2", PROGRAM]
        for which in options.only:
            make = {"dask": with_dask, "ray": with_ray}[which]
            taking, close = make(options.n, options.keep)
            rounds: dict[str, list[float]] = {"floor": [], **{who: [] for who in taking}}
            for _ in range(options.rounds):
                for who in rounds:
                    began = time.perf_counter()
                    if who == "floor":
                        subprocess.run(floor, check=True)
                    else:
                        taking[who]()
                    rounds[who].append(time.perf_counter() - began)
            close()
            os.chdir("/")
            print(f"{options.n:,} times {PROGRAM}, two at a time; medians of {options.rounds} rounds")
            above = {}
            for who, walls in rounds.items():
                above[who] = statistics.median(a - b for a, b in zip(walls, rounds["floor"])) / options.n * 1e3
                print(f"  {who:<22}{statistics.median(walls):7.2f} s wall  {above[who]:7.3f} ms a task above the floor")
            print(f"  ours is {above[f'fastsched on {which}'] / above[which]:.3f} of {which}'s", flush=True)
            os.chdir(name)


if __name__ == "__main__":
    main()
