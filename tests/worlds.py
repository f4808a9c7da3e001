"""Graphs, workers and mishaps from a seed: small, odd, and the same on every machine."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from fastsched import Task, Worker

RANKS = ("critical-path", "fifo", "most-work", "longest-first")
FITS = ("most-free", "best-fit", "first-fit")


@dataclass
class World:
    """Arguments of one call of `schedule()`; `outcome` is a pure function of its seed."""

    seed: int
    tasks: list[Task]
    workers: list[Worker]
    rank: str
    fit: str
    max_retries: int
    failure_rate: float
    bad_workers: set[str] = field(default_factory=set)

    def outcome(self, task_id: str, worker_id: str, attempt: int) -> bool:
        if worker_id in self.bad_workers:
            return False
        return random.Random(f"{self.seed}/{task_id}/{attempt}").random() >= self.failure_rate

    @property
    def options(self) -> dict:
        mishaps = self.failure_rate > 0 or self.bad_workers
        return {
            "rank": self.rank,
            "fit": self.fit,
            "max_retries": self.max_retries,
            "outcome": self.outcome if mishaps else None,
        }


def make_world(seed: int) -> World:
    """Most worlds are small and crowded; one in forty has more demands than the core keeps classes for."""
    rng = random.Random(seed)
    many_demands = seed % 40 == 0
    n = rng.randint(300, 420) if many_demands else rng.choice([0, 1, 2, 5, 10, 20, 30, 40, 60, 90])
    named = rng.choice([(), (), (), ("gpu",), ("gpu", "licence")])
    cores = rng.choice([(1,), (1, 2, 4), (0, 0.5, 1, 1.5, 3), (0.001, 2, 7.25, 8, 9)])
    memory = rng.choice([(128,), (0, 64, 128, 512), (1, 100, 1000, 3000, 4097), (0, 1, 2**31 - 1)])
    durations = rng.choice([(None,), (1,), (0, 1, 2), (None, 0, 0.5, 3), tuple(range(1, 30))])
    priorities = rng.choice([(0,), (0,), (0, 1), (-5, 0, 7)])
    reach = rng.choice([1, 3, 10, 1000])
    tasks = []
    for i in range(n):
        dependencies = [
            f"t{rng.randrange(max(0, i - reach), i)}" for _ in range(rng.choice([0, 0, 1, 1, 2, 4]) if i else 0)
        ]
        tasks.append(
            Task(
                f"t{i}",
                "true",
                dependencies,
                round(rng.uniform(0, 8), 3) if many_demands else rng.choice(cores),
                rng.randint(0, 4096) if many_demands else rng.choice(memory),
                priority=rng.choice(priorities),
                duration=rng.choice(durations),
                max_retries=rng.choice([None, None, None, 0, 1, 5]),
                resources={name: rng.choice([0, 1, 1, 2]) for name in named if rng.random() < 0.6} or None,
            )
        )
    worker_shapes = rng.choice(
        [[(4, 4096)], [(1, 512), (2, 2048), (8, 4096)], [(0.5, 100), (16, 8192), (3, 3000)], [(4, 2**31 - 1)]]
    )
    workers = []
    for w in range(rng.choice([0, 1, 2, 2, 3, 3, 4, 4, 6, 9, 17, 20])):
        shape = rng.choice(worker_shapes)
        resources = {name: rng.choice([0, 1, 2, 4]) for name in named} if named and rng.random() < 0.7 else None
        workers.append(Worker(f"w{w}", *shape, resources=resources))
    # Submission order need not be topological.
    if rng.random() < 0.5:
        rng.shuffle(tasks)
    bad = {worker.worker_id for worker in workers if rng.random() < 0.2} if rng.random() < 0.3 else set()
    return World(
        seed,
        tasks,
        workers,
        rng.choice(RANKS),
        rng.choice(FITS),
        rng.choice([0, 1, 3]),
        rng.choice([0, 0, 0.1, 0.4]),
        bad,
    )
