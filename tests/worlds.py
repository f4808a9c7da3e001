"""Graphs, workers and mishaps from a seed: small, odd, and the same on every machine."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import oracle

from fastsched import FailureModel, Policy, Task, Worker, WorkerEvent

RANKS = (
    "critical-path", "latest-start", "latest-finish", "latest-middle", "path-and-volume", "dominant-path", "fifo",
    "most-work", "longest-first",
)  # fmt: skip
FITS = ("most-free", "best-fit", "first-fit", "dot-product", "cosine", "least-left")


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
    policy: Policy | None = None
    events: list[WorkerEvent] = field(default_factory=list)
    failures: FailureModel | None = None

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
            "policy": self.policy,
            "outcome": self.outcome if mishaps else None,
            "events": self.events,
            "failures": self.failures,
        }


def make_world(seed: int) -> World:
    """Most worlds are small and crowded; one in forty has more demands than the core keeps classes for."""
    rng = random.Random(seed)
    many_demands = seed % 40 == 0
    n = rng.randint(300, 420) if many_demands else rng.choice([0, 1, 2, 5, 10, 20, 30, 40, 60, 90])
    named = rng.choice([(), (), (), ("gpu",), ("gpu", "licence"), ("disk", "gpu", "licence")])
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
        make_policy(rng) if rng.random() < 0.6 else None,
        make_events(rng, workers, worker_shapes) if rng.random() < 0.3 else [],
        make_failures(rng, tasks, workers) if rng.random() < 0.3 else None,
    )


def make_policy(rng: random.Random) -> Policy:
    """What is done about failures, and whether anybody is given a reservation."""
    backoff = rng.choice([0, 0, 0.5, 2, 7])
    return Policy(
        backoff=backoff,
        backoff_cap=rng.choice([1, 10, 300]),
        jitter=rng.choice([0, 0.1, 0.5, 1]),
        max_losses=rng.choice([0, 1, 3]),
        quarantine_after=rng.choice([0, 1, 1, 2, 5]),
        probation=rng.choice([0, 1, 10, 60]),
        reserve_after=rng.choice([None, 0, 0, 1, 5, 20]),
        seed=rng.getrandbits(64),
    )


def make_events(rng: random.Random, workers: list[Worker], shapes: list[tuple[float, int]]) -> list[WorkerEvent]:
    """Joins of new workers and of old ones, departures, losses, drains, other capacities; some at one instant."""
    events = []
    named = sorted({name for worker in workers for name in worker.resources or {}})
    known = [worker.worker_id for worker in workers]
    for i in range(rng.randint(1, 12)):
        what = rng.choice(["join", "join", "leave", "lose", "drain", "drain", "resize"])
        at = rng.choice([0, 1, 2, 2.5, 3, 5, 8, 13, 20, 40])
        resources = {name: rng.choice([0, 1, 2, 4]) for name in named} if rng.random() < 0.7 else None
        if what == "join" and (not known or rng.random() < 0.5):
            known.append(f"new{i}")
            events.append(WorkerEvent(at, what, Worker(known[-1], *rng.choice(shapes), resources=resources)))
        elif known:
            chosen = rng.sample(known, rng.randint(1, min(3, len(known))))
            resized = [Worker(name, *rng.choice(shapes), resources=resources) for name in chosen]
            events.append(WorkerEvent(at, what, resized if what == "resize" or rng.random() < 0.2 else chosen))
    return events


def make_failures(rng: random.Random, tasks: list[Task], workers: list[Worker]) -> FailureModel:
    """Attempts that fail and workers that are lost, by chance."""
    some = {task.task_id: rng.choice([0, 0.5, 1]) for task in tasks if rng.random() < 0.3}
    each = {worker.worker_id: rng.choice([None, 5, 50]) for worker in workers}
    return FailureModel(
        task_probability=rng.choice([0, 0.05, 0.5, some]),
        worker_mtbf=rng.choice([None, 3, 30, {name: mtbf for name, mtbf in each.items() if mtbf}]),
        worker_repair=rng.choice([None, 0, 1, 10]),
        seed=rng.getrandbits(64),
    )


def machine_of(world: World) -> tuple[oracle.Machine, dict]:
    """The same world for the oracle: a machine, and what `oracle.play` takes."""
    known = {worker.worker_id for worker in world.workers}
    events = sorted(world.events, key=lambda event: event.at)
    joining = []
    for event in events:
        for worker in event.workers:
            if event.what == "join" and isinstance(worker, Worker) and worker.worker_id not in known:
                known.add(worker.worker_id)
                joining.append(worker)
    options = (world.policy or Policy()).core_options()
    machine, names = oracle.make_machine(
        world.tasks, world.workers, rank=world.rank, max_retries=world.max_retries, fit=world.fit, **options
    )
    for worker in joining:
        machine.add_worker(oracle.amounts(worker, names), "away")
    ids = [worker.worker_id for worker in [*world.workers, *joining]]
    task_ids = [task.task_id for task in world.tasks]
    script = [
        (
            round(event.at * oracle.NS),
            event.what,
            ids.index(worker if isinstance(worker, str) else worker.worker_id),
            None if isinstance(worker, str) else oracle.amounts(worker, names),
        )
        for event in events
        for worker in event.workers
    ]
    told, model = world.options["outcome"], world.failures
    given = {"outcome": told and (lambda i, w, attempt: told(task_ids[i], ids[w], attempt)), "script": script}
    if model is not None:
        given["seed"] = model.seed
        if model.task_probability:
            given["chances"] = [round(share * 2**53) for share in by_name(model.task_probability, task_ids, 0)]
        if model.worker_mtbf is not None:
            given["mtbf"] = [round(s * oracle.NS) for s in by_name(model.worker_mtbf, ids, 0)]
            repair = -1 if model.worker_repair is None else model.worker_repair
            given["repair"] = [-1 if s < 0 else round(s * oracle.NS) for s in by_name(repair, ids, -1)]
    return machine, given


def by_name(given, ids, other):
    return [given.get(name, other) if isinstance(given, dict) else given for name in ids]
