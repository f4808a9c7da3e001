"""Clusters of which processes are killed and links are cut, while tasks run on them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastsched import Policy, Scheduler, Task
from fastsched.engines.base import Engine
from fastsched.runtime.view import PastRun

from .agents import Watch
from .evidence import Evidence, commands
from .hosts import Host, Net, why_not

LEASE_S = 3.0
N_THREADS = 4
AT_ONCE = 400  # tasks that are submitted together
# It says its name too, so that the output of each can be looked for.
SAYING = ["/bin/sh", "-c", 'echo "$FASTSCHED_TASK_ID"; exec "$@"', "sh"]


class Course:
    """A run of n commands on a cluster, and what is done to that at certain points of it."""

    def __init__(self, folder: Path, engine: Engine, evidence: Evidence, n: int) -> None:
        self.evidence, self.n, self.watch = evidence, n, Watch()
        self.folder = folder / "run"
        # Nobody's command is to blame for losses.
        self.scheduler = Scheduler(
            engine=engine,
            journal=self.folder,
            on_event=self.watch,
            heartbeat=0.5,
            lease=LEASE_S,
            policy=Policy(max_losses=100),
        )
        self._n_submitted = 0

    def wait(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until something is so, with more to do all the while."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError(f"waited {seconds:g} s in vain; {self.scheduler.snapshot()}")
            self.feed()
            time.sleep(0.02)

    def feed(self) -> None:
        """Keep something to do there, until all was submitted that has to be; then a little."""
        if self.scheduler.snapshot().pending < AT_ONCE // 4:
            first = self._n_submitted
            tasks = [
                Task(
                    f"t{i}",
                    [*SAYING, *self.evidence.command(i, 0.1)],
                    [f"t{i - 31}"] if i >= first + 31 else [],
                    duration=0.1,
                )
                for i in range(first, first + AT_ONCE)
            ]
            self._n_submitted += len(self.scheduler.submit_all(tasks))

    def done(self, share: float) -> Callable[[], bool]:
        """Whether so much of n has completed."""
        return lambda: self.watch.completed.total() >= share * self.n

    def end(self) -> dict[str, Any]:
        """Wait for the end, and count."""
        self.wait(lambda: self._n_submitted >= self.n)
        self.scheduler.wait(300)
        workers = sorted(self.watch.up)
        self.scheduler.close()
        result = PastRun(self.folder).result()
        recorded = Counter(attempt.task_id for attempt in result.attempts if attempt.reason is None)
        said = self.evidence.count()
        return {
            "tasks": len(result),
            "attempts": len(result.attempts),
            "workers in the end": len(workers),
            "losses": sum(map(len, self.watch.lost_at.values())),
            "lost": sum(status != "COMPLETED" for status in result.values())
            + sum(not said["end"][task_id] for task_id in result),
            "recorded twice": sum(times > 1 for times in [*recorded.values(), *self.watch.completed.values()]),
            "overlapping attempts": sum(said["overlap"].values()),
            "outputs missing": sum(
                not has_said(attempt.stdout, attempt.task_id) for attempt in result.attempts if attempt.reason is None
            ),
            "survivors": len(self.evidence.survivors(2.0)),
        }


def has_said(path: str, task_id: str) -> bool:
    """Whether a command's output is here, and its own."""
    try:
        return Path(path).read_text() == f"{task_id}\n"
    except OSError:
        return False


def break_dask(folder: Path, n: int) -> dict[str, Any] | None:
    """n commands on a Dask cluster of four hosts: a worker process is killed, a link is cut for longer than the lease
    and restored, and a worker is added; None: there can be no hosts here."""
    if why_not() or find_spec("distributed") is None:
        return None
    from fastsched.engines.dask import DaskEngine

    evidence = Evidence(folder / "evidence")
    (folder / "run").mkdir()
    with Net(hidden=folder / "run") as net:
        address = start_dask(net.add(), folder)
        for i in range(3):
            add_dask_worker(net.add(), address, f"d{i}", folder)
        _, killed, cut, _ = net.hosts
        wait_for_workers(address, 3)
        course = Course(folder, DaskEngine(address, cwd="/", env=evidence.env), evidence, n)
        try:
            course.wait(course.done(0.15))
            victim = dask_worker_of(killed)
            os.kill(victim, signal.SIGKILL)
            course.wait(lambda: bool(course.watch.lost_at.get("d0")))
            course.wait(course.done(0.3))
            course.wait(lambda: "d1" in course.watch.up and bool(running_on(cut, evidence)))
            cut.cut()
            was_cut = time.monotonic()
            course.wait(lambda: time.monotonic() > was_cut + LEASE_S + 1.0)
            left = running_on(cut, evidence)
            course.wait(lambda: bool(course.watch.lost_at.get("d1")))
            add_dask_worker(net.add(), address, "d3", folder)
            course.wait(lambda: "d3" in course.watch.up)
            cut.restore()
            course.wait(lambda: "d1" in course.watch.up)
            course.wait(lambda: bool(running_on(cut, evidence)))
        except BaseException:
            course.scheduler.close(wait=False)
            raise
        return {**course.end(), "survivors on the cut host": len(left)}


def start_dask(host: Host, folder: Path) -> str:
    """A Dask scheduler; its address."""
    words = ["-m", "distributed.cli.dask_scheduler", "--host", host.address, "--port", "8786", "--no-dashboard"]
    host.start([sys.executable, *words], folder / "dask.log")
    return f"tcp://{host.address}:8786"


def add_dask_worker(host: Host, address: str, name: str, folder: Path) -> None:
    """A Dask worker, under a nanny that starts it again when it ends."""
    words = ["-m", "distributed.cli.dask_worker", address, "--host", host.address, "--name", name, "--no-dashboard"]
    amounts = ["--nthreads", str(N_THREADS), "--nworkers", "1", "--memory-limit", "1GiB"]
    host.start([sys.executable, *words, *amounts, "--local-directory", str(folder / host.name)], folder / "dask.log")


def wait_for_workers(address: str, n: int) -> None:
    """Until a Dask cluster has so many."""
    from distributed import Client

    with Client(address, set_as_default=False, timeout=60) as client:
        client.wait_for_workers(n, timeout=60)


def dask_worker_of(host: Host) -> int:
    """The process of a host's Dask worker."""
    there = set(host.pids())
    (found,) = [pid for pid, words in commands() if pid in there and any(b"spawn_main" in word for word in words)]
    return found


def running_on(host: Host, evidence: Evidence) -> list[int]:
    """The processes of commands on a host."""
    there = set(host.pids())
    return [pid for pid in evidence.survivors() if pid in there]


def break_ray(folder: Path, n: int) -> dict[str, Any] | None:
    """n commands on a Ray cluster of two nodes: an actor is killed, a node is, and a node joins; None: no Ray."""
    if find_spec("ray") is None:
        return None
    from ray.cluster_utils import Cluster

    from fastsched.engines.ray import RayEngine

    evidence = Evidence(folder / "evidence")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": N_THREADS, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=N_THREADS)
        course = Course(folder, RayEngine(cluster.address, cwd="/", env=evidence.env), evidence, n)
        try:
            course.wait(lambda: len(course.watch.up) == 2)
            course.wait(course.done(0.2))
            os.kill(outposts_of_ray()[0], signal.SIGKILL)
            course.wait(lambda: bool(course.watch.lost_at))
            course.wait(lambda: len(course.watch.up) == 2)
            course.wait(course.done(0.4))
            n_losses = len(course.watch.lost_at)
            cluster.remove_node(second, allow_graceful=False)
            course.wait(lambda: len(course.watch.up) == 1 or len(course.watch.lost_at) > n_losses)
            cluster.add_node(num_cpus=N_THREADS)
            course.wait(lambda: len(course.watch.up) == 2)
        except BaseException:
            course.scheduler.close(wait=False)
            raise
        return course.end()
    finally:
        cluster.shutdown()


def outposts_of_ray() -> list[int]:
    """The processes that have an agent of ours below them."""
    found = []
    for pid, words in commands():
        if any(b"engines.agent" in word for word in words):
            found.append(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]))
    return found
