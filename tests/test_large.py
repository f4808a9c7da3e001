"""The native search on large graphs: held to moves that are made slowly and plainly, and to what its face promises."""

from __future__ import annotations

import math
import os
import signal
import threading
import time

import numpy as np
import pytest
from test_search import World

from fastsched import Optimize, TaskGraph, Worker, schedule
from fastsched._large import Large
from fastsched.optimize import MANY
from fastsched.stages import Stages

NONE_YET = 2**63 - 1
WORLDS = 300


def large(world: World, seed: int = 1, bound: int = 0) -> Large:
    return Large(
        order=world.order,
        succ_ptr=world.succ_ptr,
        succ=world.succ,
        dep_ptr=world.dep_ptr,
        deps=world.deps,
        duration=world.duration,
        demand=world.demand,
        capacity=world.capacity,
        seed=seed,
        bound=bound,
    )


def hosts(world: World) -> np.ndarray:
    """A worker for each task that can hold it: the last one."""
    fits = (world.demand[:, None, :] <= world.capacity[None]).all(axis=2)
    return (len(world.capacity) - 1 - fits[:, ::-1].argmax(axis=1)).astype(np.int32)


def unravelled(seed: int) -> World:
    """The world without what its tasks wait for, mostly."""
    world = World(seed)
    if seed % 3:
        world.dep_ptr = world.succ_ptr = np.zeros(world.n + 1, dtype=np.int64)
        world.deps = world.succ = np.zeros(0, dtype=np.int32)
        world.order = np.arange(world.n, dtype=np.int32)
    return world


class Plain:
    """The same search with lists, each moment counted from the ground."""

    def __init__(self, world: World, seed: int, bound: int = 0) -> None:
        self.world, self.n, self.n_workers, self.bound = world, world.n, len(world.capacity), bound
        self.duration = world.duration.tolist()
        self.before, self.behind = world.before(0), world.before(1)
        total = np.maximum(world.capacity.sum(axis=0, dtype=np.int64), 1)
        busy = [math.fsum(int(d) * t for d, t in zip(column, self.duration)) for column in world.demand.T]
        busy = [b / float(t) for b, t in zip(busy, total)]
        short = [b / (max(busy) or 1) for b in busy]
        self.worth = [s * s * self.n_workers / float(t) for s, t in zip(short, total)]
        self.weight = []
        for row in world.demand.tolist():
            weight = 0.0
            for amount, worth in zip(row, self.worth):
                weight += amount * worth
            self.weight.append(max(weight, 2.0**-20))
        self.mean_weight = math.fsum(self.weight) / self.n
        self.tail = [0] * self.n
        for task in reversed(world.order.tolist()):
            self.tail[task] = max((self.duration[s] + self.tail[s] for s in self.behind[task]), default=0)
        self.chance = (seed * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03) % 2**64 or 1
        self.start, self.worker = [-1] * self.n, [-1] * self.n
        self.on: list[list[int]] = [[] for _ in range(self.n_workers)]  # what came last stands first
        self.sweep = 0

    # chance

    def draw(self) -> int:
        self.chance ^= self.chance >> 12
        self.chance ^= self.chance << 25 & 2**64 - 1
        self.chance ^= self.chance >> 27
        return self.chance * 0x2545F4914F6CDD1D % 2**64

    def below(self, most: int) -> int:
        return (self.draw() >> 32) * most >> 32

    def even(self) -> float:
        return (self.draw() >> 11) / 2**53

    # a schedule

    def free(self, w: int, moment: int) -> np.ndarray:
        there = [t for t in self.on[w] if self.start[t] <= moment < self.start[t] + self.duration[t]]
        return self.world.capacity[w].astype(np.int64) - self.world.demand[there].sum(axis=0, dtype=np.int64)

    def find(self, task: int, w: int, earliest: int) -> int | None:
        """The first start on the worker with room for all of the duration."""
        demand, duration = self.world.demand[task], self.duration[task]
        if (demand > self.world.capacity[w]).any():
            return None
        changes = {m for t in self.on[w] for m in (self.start[t], self.start[t] + self.duration[t])}
        for moment in sorted({earliest} | {m for m in changes if m > earliest}):
            within = [moment, *(m for m in changes if moment < m < moment + duration)]
            if all((self.free(w, m) >= demand).all() for m in within):
                return moment
        raise AssertionError("a worker is free in the end")

    def put(self, task: int, w: int, start: int) -> None:
        self.start[task], self.worker[task] = start, w
        self.on[w].insert(0, task)

    def earliest(self, task: int) -> int:
        return max((self.start[b] + self.duration[b] for b in self.before[task]), default=0)

    def load(self, start: list[int], worker: list[int]) -> None:
        rank = {task: i for i, task in enumerate(self.world.order.tolist())}
        for task in sorted(range(self.n), key=lambda t: (start[t], self.duration[t] > 1, rank[t])):
            found = self.find(task, worker[task], self.earliest(task))
            assert found is not None
            self.put(task, worker[task], found)
        self.n_placed = self.n
        self.keep()

    def end_of(self, w: int) -> int:
        return max((self.start[t] + self.duration[t] for t in self.on[w] if self.duration[t]), default=0)

    def length(self) -> int:
        return max(self.start[t] + self.duration[t] for t in range(self.n))

    def keep(self) -> None:
        self.best = self.length()
        self.found = list(self.start), list(self.worker)
        self.target = self.best - max(1, min((self.best - self.bound) // 16, self.best // 256))

    # moves

    def lateness(self, task: int) -> float:
        over = self.start[task] + self.duration[task] + self.tail[task] - self.target
        return self.weight[task] * over if over > 0 else 0.0

    def advance(self, n_schedules: int) -> None:
        while self.best > self.bound and self.n_placed + min(512, self.n) <= n_schedules * self.n:
            self.move()

    def move(self) -> None:
        tied = bool(len(self.world.deps))
        crew, width = self.choose_crew(tied)
        if tied:
            begin = self.sweep - width // 2
            self.sweep = self.sweep + width // 2 + 1 if self.sweep <= self.best else 0
        else:
            begin = int(self.even() * float(self.best + width)) - width
        taken = [
            t
            for w in crew
            for t in self.on[w]
            if begin <= self.start[t] < begin + width or self.start[t] + self.duration[t] > self.target
        ]
        self.n_placed += max(1, len(taken))
        if not taken:
            return
        most = 0.0
        for task in taken:
            most += self.lateness(task)
        ones = 0
        while self.draw() >> 63:
            ones += 1
        most += (ones + self.even()) * 0.5 * self.mean_weight * float(self.best - self.target)
        old = {t: (self.start[t], self.worker[t]) for t in taken}
        for task in taken:
            self.on[self.worker[task]].remove(task)
        taken = self.sorted(taken, width)
        greed = 0.3 * self.even() * float(self.best) if self.draw() >> 63 else 0.0
        placed, lateness = self.place_all(taken, crew, greed, most)
        if lateness > most:
            for task in placed:
                self.on[self.worker[task]].remove(task)
            for task in taken:
                self.put(task, old[task][1], old[task][0])
        elif self.length() < self.best:
            self.keep()

    def choose_crew(self, tied: bool) -> tuple[list[int], int]:
        size = min(1 + self.below(8 if tied else 3), self.n_workers)
        worker = self.below(self.n_workers)
        for _ in range(2):
            other = self.below(self.n_workers)
            if self.end_of(other) > self.end_of(worker):
                worker = other
        crew = [worker]
        for _ in range(4 * size):
            other = self.below(self.n_workers)
            if other not in crew and len(crew) < size:
                crew.append(other)
        wanted = 10 + self.below((100 if tied else 400) - 10)
        return crew, 1 + int(self.best * min(float(wanted) * self.n_workers / (float(len(crew)) * self.n), 4.0))

    def sorted(self, taken: list[int], width: int) -> list[int]:
        kind, noise, span = self.below(5), self.even(), float(min(width, self.best))
        key = {}
        for task in taken:
            if kind == 0:
                key[task] = float(self.start[task]) + noise * self.even() * span
            elif kind == 4:
                key[task] = self.even()
            else:
                key[task] = -1 - 4 * noise * self.even()
                key[task] *= self.weight[task] if kind != 2 else 1
                key[task] *= float(self.duration[task]) if kind != 3 else 1
        return sorted(taken, key=lambda t: (key[t], t))

    def place_all(self, taken: list[int], crew: list[int], greed: float, most: float) -> tuple[list[int], float]:
        out, placed, lateness = set(taken), [], 0.0
        for task in taken:
            stack = [task] if task in out else []
            while stack:
                first = next((b for b in self.before[stack[-1]] if b in out), None)
                if first is not None:
                    stack.append(first)
                    continue
                now = stack.pop()
                if not self.place(now, crew, greed, out):
                    return placed, math.inf
                out.remove(now)
                placed.append(now)
                lateness += self.lateness(now)
                if lateness > most:
                    return placed, lateness
        return placed, lateness

    def place(self, task: int, crew: list[int], greed: float, out: set[int]) -> bool:
        latest = min((self.start[s] for s in self.behind[task] if s not in out), default=NONE_YET)
        choices = []
        for i, w in enumerate(crew):
            start = self.find(task, w, self.earliest(task))
            if start is None or start + self.duration[task] > latest:
                continue
            left = 0.0
            for amount, worth in zip(self.free(w, start).tolist(), self.worth):
                left += worth * amount
            badness = float(start) + (greed + 1e-3) * left
            if greed > 0 and start + self.duration[task] + self.tail[task] > self.target:
                badness += 2 * float(self.best)
            choices.append((badness, i, w, start))
        if not greed:  # of those where it starts soonest, then by what is left over
            soonest = min((start for *_, start in choices), default=0)
            choices = [choice for choice in choices if choice[3] == soonest]
        if not choices:
            return False
        _, _, w, start = min(choices)
        self.put(task, w, start)
        return True


@pytest.mark.parametrize("seed", range(WORLDS))
def test_it_moves_as_plainly_written(seed: int) -> None:
    world = unravelled(seed)
    plain, search = Plain(world, seed), large(world, seed)
    start, worker = world.in_a_row(), hosts(world)
    plain.load(start.tolist(), worker.tolist())
    search.add(start, worker, 1)
    for n_schedules in (1, 2, 5, 12):
        plain.advance(n_schedules)
        search.advance(n_schedules)
        assert search.best == plain.best, seed
        assert search.schedule()[0].tolist() == plain.found[0], seed
        assert search.schedule()[1].tolist() == plain.found[1], seed
        assert search.n_schedules == -(-plain.n_placed // world.n), seed


@pytest.mark.parametrize("seed", range(WORLDS))
def test_what_is_found_is_possible_and_depends_on_the_seed_and_the_number_alone(seed: int) -> None:
    world = unravelled(seed)
    one, other = large(world, seed), large(world, seed)
    for search in (one, other):
        search.add(world.in_a_row(), hosts(world), 1)
    before = one.best
    one.advance(200)
    for so_far in (1, 3, 50, 51, 200):
        other.advance(so_far)
        assert other.n_schedules <= so_far
    assert one.n_schedules == other.n_schedules <= 200
    assert one.best == other.best <= before <= int(world.duration.sum())
    for mine, theirs in zip(one.schedule(), other.schedule()):
        assert mine.tolist() == theirs.tolist(), seed
    start, worker = one.schedule()
    assert world.wrongs(start, worker) == [], seed
    assert int((start + world.duration).max()) == one.best


@pytest.mark.parametrize("seed", range(30))
def test_it_ends_when_the_bound_is_met(seed: int) -> None:
    world = unravelled(seed)
    best = large(world, seed)
    best.add(world.in_a_row(), hosts(world), 1)
    best.advance(300)
    again = large(world, seed, bound=best.best)
    again.add(world.in_a_row(), hosts(world), 1)
    assert not again.advance(10**5) or again.n_schedules > 10**5 - 20
    if again.best <= best.best:
        made = again.n_schedules
        again.advance(10**6)
        assert again.n_schedules == made


def test_without_a_schedule_or_without_leave_nothing_is_done() -> None:
    world = World(3)
    search = large(world)
    assert search.advance(100)
    search.add(world.in_a_row(), hosts(world), 0)
    assert (search.best, search.n_schedules) == (NONE_YET, 0)
    search.add(world.in_a_row(), hosts(world), 1)
    known = search.best
    search.add(world.in_a_row() + 1, hosts(world), 1)
    assert (search.best, search.n_schedules) == (known, 1)
    stopped = large(world)
    stopped.stop()
    stopped.add(world.in_a_row(), hosts(world), 1)
    stopped.advance(10)
    assert (stopped.best, stopped.n_schedules, stopped.stopped) == (NONE_YET, 0, True)


def bins(n: int, n_workers: int, seed: int = 1) -> tuple[TaskGraph, list[Worker]]:
    """Tasks that do not depend on each other, on workers of two shapes that they do not fill evenly."""
    rng = np.random.default_rng(seed)
    demand = np.stack([rng.choice([1, 3, 8], n), rng.choice([1, 4, 5], n)], axis=1).astype(np.int32) * 1000
    duration = rng.integers(1, 3000, n).astype(np.float64)
    graph = TaskGraph.from_arrays(
        np.zeros(n + 1, dtype=np.int64),
        np.zeros(0, dtype=np.int32),
        demand,
        duration=duration,
        resources=("cpu_millicores", "memory_mb"),
    )
    return graph, [Worker(f"w{i}", (8, 20)[i % 2], (10_000, 8_000)[i % 2]) for i in range(n_workers)]


def test_many_tasks_that_wait_for_nothing_are_packed_better_than_by_any_list() -> None:
    graph, workers = bins(1500, 12)
    listed = schedule(graph, workers, rank="auto", fit="auto")
    found = schedule(graph, workers, optimize=Optimize(schedules=1500, seed=1))
    found.validate()
    assert found.plan.n_schedules <= 1500
    above = [plan.makespan / listed.lower_bound - 1 for plan in (found, listed)]
    assert above[0] < 0.75 * above[1]
    again = schedule(graph, workers, optimize=Optimize(schedules=1500, seed=1))
    assert again.plan.start_ns.tolist() == found.plan.start_ns.tolist()
    threads = schedule(graph, workers, optimize=Optimize(schedules=300, seed=1, threads=3))
    threads.validate()
    assert threads.makespan <= listed.makespan


def layered(n: int) -> TaskGraph:
    """Each task depends on one or two before it; a few take no time and need room all the same."""
    rng = np.random.default_rng(n)
    rows = [sorted({int(rng.integers(max(0, i - 400), i)) for _ in range(2)}) if i > 60 else [] for i in range(n)]
    duration = rng.integers(1, 100, n).astype(np.float64)
    duration[rng.random(n) < 0.02] = 0
    return TaskGraph.from_arrays(
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
        np.array([d for row in rows for d in row], dtype=np.int32),
        (rng.integers(1, 9, (n, 2)) * 1000).astype(np.int32),
        duration=duration,
        resources=("cpu_millicores", "memory_mb"),
    )


@pytest.mark.parametrize("n_workers", [1, 2])
def test_thousands_of_tasks_that_wait_for_others_are_searched_in_two_stages(n_workers: int) -> None:
    graph, workers = layered(MANY + 100), [Worker(f"w{i}", 9 + i, 12_000) for i in range(n_workers)]
    listed = schedule(graph, workers, rank="auto", fit="auto")
    found = schedule(graph, workers, optimize=Optimize(schedules=100, seed=1))
    found.validate()
    assert found.plan.n_schedules <= 100
    assert found.makespan < listed.makespan
    again = schedule(graph, workers, optimize=Optimize(schedules=100, seed=1))
    assert again.plan.start_ns.tolist() == found.plan.start_ns.tolist()


def test_what_takes_no_time_does_not_make_a_known_schedule_longer_than_by_moments() -> None:
    # At 10 the long task begins where the moment had all the room just before.
    world = World(1)
    world.n, world.duration = 3, np.array([10 * 100, 10 * 100, 1], dtype=np.int64)
    world.demand, world.capacity = np.full((3, 1), 5, dtype=np.int32), np.full((1, 1), 5, dtype=np.int32)
    world.dep_ptr = world.succ_ptr = np.zeros(4, dtype=np.int64)
    world.deps = world.succ = np.zeros(0, dtype=np.int32)
    world.order = np.arange(3, dtype=np.int32)
    search = large(world)
    search.add(np.array([0, 1000, 1000]), np.zeros(3, dtype=np.int32), 1)
    assert search.best == 2001


@pytest.mark.parametrize("seed", range(60))
def test_stages_give_the_second_what_the_first_has_found(seed: int) -> None:
    world = World(seed)
    stages = Stages(world.search(size=4), large(world), world.duration, 20)
    assert stages.advance(10)
    stages.add(world.in_a_row(), hosts(world), 60)
    stages.advance(60)
    first = world.search(size=4)
    first.add(world.in_a_row(), 20)
    first.advance(20)
    start, worker = stages.schedule()
    assert world.wrongs(start, worker) == [], seed
    assert int((start + world.duration).max()) == stages.best <= first.best
    assert stages.n_schedules <= 60
    assert not stages.stopped
    stages.stop()
    assert stages.stopped


def test_it_is_stopped_from_another_thread_and_by_ctrl_c() -> None:
    world = unravelled(1)
    search = large(world)
    search.add(world.in_a_row(), hosts(world), 1)
    thread = threading.Thread(target=search.advance, args=(10**12,))
    thread.start()
    time.sleep(0.05)
    search.stop()
    thread.join(timeout=60)
    assert not thread.is_alive()
    graph, workers = bins(3000, 20)
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    found = schedule(graph, workers, optimize=Optimize(schedules=10**12))
    found.validate()
    assert 0 < found.plan.n_schedules < 10**12


def test_steps_grow_where_one_worker_gets_nearly_everything() -> None:
    graph, _ = bins(400, 1)
    workers = [Worker("large", 64, 64_000), *(Worker(f"small{i}", 1, 1000) for i in range(30))]
    found = schedule(graph, workers, optimize=Optimize(schedules=50))
    found.validate()
    assert found.plan.n_schedules > 0


def test_where_there_is_no_memory_it_ends_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    graph, _ = bins(400, 1)
    workers = [Worker("large", 64, 64_000), *(Worker(f"small{i}", 1, 1000) for i in range(30))]
    plain = schedule(graph, workers)
    with monkeypatch.context() as patch:
        patch.setattr("fastsched._large.wider", no_memory)
        found = schedule(graph, workers, optimize=Optimize(schedules=50))
    found.validate()
    assert found.makespan <= plain.makespan
    assert found.plan.n_schedules < schedule(graph, workers, optimize=Optimize(schedules=50)).plan.n_schedules
