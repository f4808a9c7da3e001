"""One seeded history: random graphs and workers, everything that can go wrong, and a ghost that looks on."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

import numpy as np

from fastsched import Policy, Reason, Task, TaskGraph, Worker
from fastsched.events import (
    AttemptEnded,
    AttemptStarted,
    RoomReserved,
    TaskCancelled,
    TaskOvertaken,
    TaskReturned,
    TasksSubmitted,
    TaskUnsatisfiable,
    WorkerDraining,
    WorkerExpected,
    WorkerJoined,
    WorkerLeft,
    WorkerLost,
    WorkerOnProbation,
    WorkerQuarantined,
    WorkerResized,
    WorkersSettled,
    WorkerTrusted,
)
from fastsched.graph import WorkerTable
from fastsched.guide import Route
from fastsched.state import State

from .ghost import Ghost, Violation, demand

NS = 10**9
NOTED = (WorkerQuarantined, WorkerOnProbation, WorkerTrusted, TaskUnsatisfiable)
FAILURES = (Reason.EXIT, Reason.EXIT, Reason.SIGNAL, Reason.TIMEOUT, Reason.OUT_OF_MEMORY, Reason.SPAWN)


class History:
    """Made of its seed alone. `run()` plays it to its end and raises Violation."""

    def __init__(self, seed: int, check_often: bool = False) -> None:
        self.seed, self.check_often = seed, check_often
        self.rng = rng = random.Random(f"history/{seed}")
        self.now, self.counts = 0, Counter()
        self.facts: list[tuple[int, object]] = []
        self.digests: dict[int, tuple[int, str]] = {}  # after so many facts: when, and the digest
        self.hashed = hashlib.blake2b(digest_size=16)
        self.network: list[AttemptEnded] = []  # delivered later, or again
        self.flying: list[AttemptStarted] = []
        self.luck = random.Random(f"promises/{seed}")
        self.planned = random.Random(f"plans/{seed}")
        self.plans = self.planned.random() < 0.4
        self.policy = Policy(
            backoff=rng.choice([0, 0, 0.5]), backoff_cap=rng.choice([1, 8]), jitter=rng.choice([0, 0.5]),
            max_losses=rng.choice([0, 1, 3]), max_ooms=rng.choice([0, 1, 3]), on_oom=rng.choice(["1x", "2x"]),
            quarantine_after=rng.choice([0, 1, 2]), probation=rng.choice([1, 5]),
            reserve_after=rng.choice([None, None, 0, 2]), seed=rng.getrandbits(32),
        )  # fmt: skip
        self.options = {
            "rank": rng.choice(["critical-path", "fifo"]),
            "fit": rng.choice(["most-free", "best-fit", "first-fit"]),
            "max_retries": rng.choice([0, 1, 3]),
            "policy": self.policy,
        }
        choices = random.Random(f"choices/{seed}")
        if choices.random() < 0.2:  # what looks at the workers that are known, and at what a task asks for
            self.options["rank"] = choices.choice(["path-and-volume", "dominant-path", "latest-finish"])
            self.options["fit"] = choices.choice(["dot-product", "cosine", "least-left"])
        self.named = rng.random() < 0.2
        self.bad = {f"w{i}" for i in range(6) if rng.random() < 0.15}  # fail whatever they are given
        self.tasks = self.make_tasks(rng.randint(1, 5))
        self.first = [self.make_worker(f"w{i}") for i in range(rng.randint(1, 3))]
        self.n_workers = len(self.first)
        self.state = self.fresh()
        self.ghost = Ghost(self.options["max_retries"], self.policy)
        self.ghost.told(TasksSubmitted(tuple(self.tasks), 0), [], 0)
        for worker in self.first:
            self.ghost.expect(worker)

    def fresh(self) -> State:
        """The state at the beginning."""
        graph = TaskGraph(self.tasks)
        return State(graph, WorkerTable(self.first, graph.resources), **self.options)

    def make_tasks(self, count: int) -> list[Task]:
        rng = self.rng
        before = list(getattr(self, "ghost", None).tasks) if hasattr(self, "ghost") else []
        made: list[Task] = []
        for i in range(count):
            ids = before + [task.task_id for task in made]
            chosen = rng.sample(ids, min(len(ids), rng.choice([0, 0, 1, 1, 2])))
            resources = {rng.choice(["gpu", "disk"]): 1} if self.named and rng.random() < 0.3 else None
            made.append(
                Task(
                    f"t{len(before) + i}",
                    "x",
                    chosen,
                    rng.choice([0.5, 1, 1, 2]),
                    rng.choice([0, 64, 128, 256]),
                    priority=rng.choice([0, 0, 0, 2]),
                    duration=rng.choice([None, 1, 3, 8]),
                    max_retries=rng.choice([None, None, 0, 2]),
                    resources=resources,
                )
            )
        return made

    def make_worker(self, worker_id: str) -> Worker:
        resources = {"gpu": self.rng.choice([0, 1, 2]), "disk": 1} if self.named and self.rng.random() < 0.7 else None
        return Worker(worker_id, self.rng.choice([1, 2, 3]), self.rng.choice([128, 256, 512]), resources=resources)

    # ---------------------------------------------------------------- play

    def run(self) -> None:
        """Play it: the adversary's part, and then the end, in which nothing more goes wrong."""
        for worker in self.first:
            if self.rng.random() < 0.8:
                self.absorb(WorkerJoined(worker.worker_id, self.now))
        moves = (
            [self.decide] * 8 + [self.deliver] * 8 + [self.pass_time] * 4 + [self.redeliver, self.submit, self.lose,
            self.come_and_go, self.come_and_go, self.resize]
        )  # fmt: skip
        for _ in range(self.rng.choice([6, 12, 20, 40])):
            self.rng.choice(moves)()
            if self.luck.random() < 0.1:
                self.give_back()
            if self.plans and self.planned.random() < 0.15:
                self.adopt()
            if self.rng.random() < 0.01:
                self.cancel()
            if self.check_often:
                self.compare()
        self.finish()
        self.replay()

    def absorb(self, fact: object) -> list:
        """A fact reaches the state, and the ghost hears what came of it."""
        self.facts.append((self.now, fact))
        events = self.state.absorb(fact, self.now)
        self.hashed.update(repr((self.now, fact, events)).encode())
        self.ghost.told(fact, events, self.now)
        self.flying += [event for event in events if isinstance(event, AttemptStarted)]
        self.counts.update(type(event).__name__ for event in events if isinstance(event, NOTED))
        return events

    def decide(self) -> None:
        events = self.state.decide(self.now)
        self.hashed.update(repr((self.now, events)).encode())
        self.ghost.decided(events, self.now)
        self.facts += [(self.now, e) for e in events if isinstance(e, (AttemptStarted, RoomReserved, TaskOvertaken))]
        self.flying += [event for event in events if isinstance(event, AttemptStarted)]
        for event in events:
            self.counts[type(event).__name__] += 1
        if self.flying and self.luck.random() < 0.4:
            self.promise(self.luck.choice(self.flying))
        if self.rng.random() < 0.1:
            self.digests[len(self.facts)] = (self.now, self.state.digest())

    def promise(self, start: AttemptStarted) -> None:
        """The worker of what runs is promised what follows it."""
        task = self.ghost.tasks[start.task_id]
        if task.open and task.attempts == start.attempt:
            promised = self.state.promise([start.task_id], {start.worker_id: self.luck.choice([1, 1, 3])}, self.now)
            self.hashed.update(repr((self.now, promised)).encode())
            self.ghost.promised(promised)
            self.facts += [(self.now, fact) for fact in promised]
            self.counts["promised"] += len(promised)

    def give_back(self) -> None:
        """A promised task is returned, and all that was to follow it: the last one first, or as it comes."""
        promised = sorted(task_id for task_id, task in self.ghost.tasks.items() if task.promised)
        if not promised:
            return
        chain = [self.luck.choice(promised)]
        while following := self.ghost.following(chain[-1]):
            chain.append(following)
        if self.luck.random() < 0.8:
            chain.reverse()
        for task_id in chain:
            worker_id = self.ghost.tasks[task_id].promised[0]
            incarnation = self.ghost.workers[worker_id].incarnation
            self.absorb(TaskReturned(task_id, worker_id, incarnation - (self.luck.random() < 0.1)))
            self.absorb(TaskReturned(task_id, worker_id, incarnation))
            self.counts["returned"] += 1

    def deliver(self) -> None:
        """An attempt ends, and its report arrives: now, later, or twice."""
        if not self.flying:
            return
        start = self.flying.pop(self.rng.randrange(len(self.flying)))
        fails = start.worker_id in self.bad or self.rng.random() < 0.25
        reason = self.rng.choice(FAILURES) if fails else None
        incarnation = self.ghost.workers[start.worker_id].incarnation
        task = self.ghost.tasks[start.task_id]
        if not task.open or task.attempts != start.attempt:
            incarnation -= self.rng.random() < 0.5  # its worker was lost meanwhile
            self.counts["stale"] += 1
        report = AttemptEnded(
            start.task_id, start.worker_id, start.attempt, reason, incarnation=self.rng.choice([incarnation, None])
        )
        luck = self.rng.random()
        if luck < 0.2:
            self.network.append(report)
            self.counts["doubled" if luck < 0.1 else "delayed"] += 1
        if not 0.1 <= luck < 0.2:
            self.arrive(report)

    def arrive(self, report: AttemptEnded) -> None:
        self.counts[f"failed: {report.reason}" if report.reason else "completed"] += 1
        self.absorb(report)

    def redeliver(self) -> None:
        """A report that was kept back arrives; or one from another incarnation, or another worker."""
        if not self.network:
            return
        report = self.network.pop(self.rng.randrange(len(self.network)))
        if self.rng.random() < 0.3:
            other = self.rng.choice(list(self.ghost.workers))
            wrong = AttemptEnded(report.task_id, other, report.attempt, report.reason, incarnation=99)
            self.counts["from nowhere"] += 1
            self.absorb(wrong)
        self.arrive(report)

    def submit(self) -> None:
        self.counts["submissions"] += 1
        self.absorb(TasksSubmitted(tuple(self.make_tasks(self.rng.randint(1, 3))), self.now))

    def cancel(self) -> None:
        self.counts["cancelled"] += 1
        self.absorb(TaskCancelled(self.rng.choice(list(self.ghost.tasks)), self.now))

    def adopt(self) -> None:
        """A plan of some tasks, some of which are held back, is followed from here on, is a new one, or is loosened."""
        rng, n, w = self.planned, len(self.ghost.tasks), len(self.ghost.workers)
        tasks = np.array(rng.sample(range(n), rng.choice([n, n, n // 2])), dtype=np.int32)
        start = np.array([self.now + rng.randrange(20) * NS for _ in tasks], dtype=np.int64)
        held = np.where([rng.random() < 0.2 for _ in tasks], start, 0)
        worker = np.array([rng.randrange(-1, w) for _ in tasks], dtype=np.int32)
        route = Route(tasks, worker, start, start + NS, held.astype(np.int64))
        followed = self.state.followed
        if followed is not None and rng.random() < 0.2:
            told = self.absorb(route.as_fact(self.now, followed.begins_ns, is_loosened=True))
            self.counts["loosened"] += 1
        else:
            told = self.absorb(route.as_fact(self.now, self.now, *rng.choice([(), (NS, self.now + 9 * NS)])))
        self.counts.update(type(event).__name__ for event in told)
        self.counts["held back"] += int(np.count_nonzero(held > self.now))

    def pass_time(self) -> None:
        self.now += self.rng.choice([1, NS // 2, NS, 3 * NS, 10 * NS])

    def lose(self) -> None:
        worker_id = self.rng.choice(list(self.ghost.workers))
        worker = self.ghost.workers[worker_id]
        if worker.live or worker.expected:
            self.counts["lost"] += 1
            self.absorb(WorkerLost(worker_id, "silent", self.now, self.rng.random() < 0.5))

    def come_and_go(self) -> None:
        """A worker joins, comes back, drains, or leaves."""
        if self.n_workers < 6 and self.rng.random() < 0.2:
            worker = self.make_worker(f"w{self.n_workers}")
            self.n_workers += 1
            self.counts["joined"] += 1
            self.absorb(WorkerJoined(worker.worker_id, self.now, worker))
            return
        worker_id = self.rng.choice(list(self.ghost.workers))
        worker = self.ghost.workers[worker_id]
        if not worker.live and not worker.expected and len(self.facts) % 3 == 0:
            self.counts["expected again"] += 1
            self.absorb(WorkerExpected(self.make_worker(worker_id), self.now))
        elif not worker.live or worker.draining:
            self.counts["came back"] += 1
            self.absorb(WorkerJoined(worker_id, self.now))
        elif self.rng.random() < 0.4:
            self.counts["drained"] += 1
            self.absorb(WorkerDraining(worker_id, self.now))
            if self.ghost.is_idle(worker_id):
                worker.live = worker.draining = False
        elif self.rng.random() < 0.4:
            self.counts["left"] += 1
            self.absorb(WorkerLeft(worker_id, self.now))

    def resize(self) -> None:
        self.counts["resized"] += 1
        self.absorb(WorkerResized(self.make_worker(self.rng.choice(list(self.ghost.workers))), self.now))

    # ---------------------------------------------------------------- the end

    def finish(self) -> None:
        """No more mishaps: what is still under way arrives, and all that can be done is done in bounded time."""
        self.bad = set()
        for report in self.network:
            self.arrive(report)
        for worker_id, worker in self.ghost.workers.items():
            if not worker.live:
                self.absorb(WorkerJoined(worker_id, self.now))
        for _ in range(20 + 20 * len(self.ghost.tasks)):
            self.decide()
            if not self.flying:
                wake = self.state.next_wake()
                if wake is None:
                    break
                self.now = max(self.now, wake)
            flying, self.flying = self.flying, []
            for start in flying:
                incarnation = self.ghost.workers[start.worker_id].incarnation
                self.absorb(AttemptEnded(start.task_id, start.worker_id, start.attempt, None, incarnation=incarnation))
        demand(not self.flying and self.state.n_running == 0, "attempts are still open")
        demand(self.ghost.holds_made == self.ghost.holds_freed, "a hold was not freed, or freed twice")
        if self.check_often or self.seed % 4 == 0:
            self.compare()
        self.digests[len(self.facts)] = (self.now, self.state.digest())
        events = self.state.absorb(WorkersSettled(self.now), self.now)
        self.ghost.told(None, events, self.now)
        for task_id, task in self.ghost.tasks.items():
            demand(task.status in ("COMPLETED", "FAILED"), f"{task_id} stands still, {task.status}")

    def compare(self) -> None:
        """The core recounts itself, and its words are those of the ghost."""
        self.state.check()
        for task_id, task in self.ghost.tasks.items():
            demand(self.state.status(task_id) == task.status, f"{task_id} is {self.state.status(task_id)}")
            self.state.explain(task_id)

    def replay(self) -> None:
        """The same facts make the same state, to the byte, wherever one looks."""
        count = 99 if self.check_often else self.seed % 2
        chosen = self.rng.sample(sorted(self.digests), min(count, len(self.digests)))
        for at in chosen:
            again = self.fresh()
            for now, fact in self.facts[:at]:
                again.absorb(fact, now)
            when, digest = self.digests[at]
            again.advance(when)
            demand(again.digest() == digest, f"a replay of {at} facts is another state")
            self.counts["replays"] += 1

    @property
    def hash(self) -> str:
        return self.hashed.hexdigest()


def play(seed: int, check_often: bool = False) -> History:
    """Play one history; what goes wrong names the seed."""
    history = History(seed, check_often)
    try:
        history.run()
    except Exception as error:
        raise Violation(f"seed {seed}: {error} (replay: python -m simulation --seed {seed})") from error
    return history
