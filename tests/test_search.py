"""The native search: held to schedules that are generated slowly and plainly, and to what its face promises."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest

from fastsched._graphs import successors, topological_order
from fastsched._search import Search

NONE_YET = 2**63 - 1
WORLDS = 300


class World:
    """A graph and workers from a seed, on which every task fits somewhere."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.n = rng.randint(1, 40)
        n_workers, n_resources = rng.choice([1, 1, 1, 2, 3, 7]), rng.choice([1, 2, 4, 6])
        most = rng.choice([3, 10, 1000, 2**30])
        self.capacity = np.array(
            [[rng.randint(1, most) for _ in range(n_resources)] for _ in range(n_workers)], dtype=np.int32
        )
        longest = rng.choice([3, 10, 10, 10_000, 10**12])
        self.duration = np.array([rng.randint(rng.choice([0, 1]), longest) for _ in range(self.n)], dtype=np.int64)
        self.demand = np.zeros((self.n, n_resources), dtype=np.int32)
        for row in self.demand:
            host = self.capacity[rng.randrange(n_workers)]
            row[:] = [rng.randint(0, max(1, int(amount) // rng.choice([1, 2, 4]))) for amount in host]
            row[:] = np.minimum(row, host)
        self.demand[self.duration == 0] = 0
        rows = [sorted(rng.sample(range(i), min(i, rng.choice([0, 0, 1, 2, 3])))) for i in range(self.n)]
        self.dep_ptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
        self.deps = np.array([d for row in rows for d in row], dtype=np.int32)
        self.succ_ptr, self.succ = successors(self.dep_ptr, self.deps)
        self.order = topological_order(self.dep_ptr, self.succ_ptr, self.succ)

    def search(self, size: int = 6, seed: int = 1, bound: int = 0) -> Search:
        return Search(
            order=self.order,
            succ_ptr=self.succ_ptr,
            succ=self.succ,
            dep_ptr=self.dep_ptr,
            deps=self.deps,
            duration=self.duration,
            demand=self.demand,
            capacity=self.capacity,
            size=size,
            seed=seed,
            bound=bound,
        )

    def shift(self) -> int:
        """How far times are shifted down to be put in order."""
        longest, ends = 0, [0] * self.n
        for task, before in enumerate(self.before(0)):
            ends[task] = int(self.duration[task]) + max((ends[b] for b in before), default=0)
            longest = max(longest, ends[task])
        horizon = int(self.duration.sum()) + 1
        return max(0, max(horizon // len(self.capacity), longest).bit_length() - 13, horizon.bit_length() - 24)

    def before(self, direction: int) -> list[list[int]]:
        ptr, tasks = (self.dep_ptr, self.deps) if direction == 0 else (self.succ_ptr, self.succ)
        return [tasks[ptr[i] : ptr[i + 1]].tolist() for i in range(self.n)]

    def in_a_row(self) -> np.ndarray:
        """Starts of a schedule that is possible: one task at a time."""
        start = np.zeros(self.n, dtype=np.int64)
        start[self.order] = np.cumsum(self.duration[self.order]) - self.duration[self.order]
        return start

    def wrongs(self, start: np.ndarray, worker: np.ndarray) -> list[str]:
        """What is impossible about a schedule, looked at instant by instant."""
        found = []
        end = start + self.duration
        for task, before in enumerate(self.before(0)):
            found += [f"{task} starts before {b} ends" for b in before if start[task] < end[b]]
        for w, room in enumerate(self.capacity):
            for moment in np.unique(start[worker == w]):
                held = self.demand[(worker == w) & (start <= moment) & (moment < end)].sum(axis=0, dtype=np.int64)
                found += [f"worker {w} holds too much at {moment}"] if (held > room).any() else []
        return found


def generate(world: World, keys: np.ndarray, direction: int) -> tuple[np.ndarray, np.ndarray]:
    """Serial schedule generation, plainly: each task as early as any worker has room, where least is left over."""
    before = world.before(direction)
    start, worker = np.full(world.n, -1, dtype=np.int64), np.zeros(world.n, dtype=np.int32)
    worth = 1 / np.maximum(world.capacity.astype(np.int64).mean(axis=0), 1)

    def free_at(w: int, moment: int) -> np.ndarray:
        there = (start >= 0) & (worker == w) & (start <= moment) & (moment < start + world.duration)
        return world.capacity[w].astype(np.int64) - world.demand[there].sum(axis=0, dtype=np.int64)

    def place(task: int) -> None:
        for b in before[task]:
            if start[b] < 0:
                place(b)
        earliest = max((int(start[b] + world.duration[b]) for b in before[task]), default=0)
        choices = []
        for w in range(len(world.capacity)):
            if (world.demand[task] > world.capacity[w]).any():
                continue
            mine = (start >= 0) & (worker == w)
            changes = np.unique(np.concatenate([start[mine], (start + world.duration)[mine]]))
            for moment in [earliest, *changes[changes > earliest].tolist()]:
                within = [moment, *changes[(changes > moment) & (changes < moment + world.duration[task])].tolist()]
                if all((free_at(w, m) >= world.demand[task]).all() for m in within):
                    choices.append((moment, float((free_at(w, moment) * worth).sum()), w))
                    break
        start[task], _, worker[task] = min(choices)

    for task in np.lexsort((np.arange(world.n), keys)).tolist():
        if start[task] < 0:
            place(task)
    return start, worker


@pytest.mark.parametrize("seed", range(WORLDS))
def test_a_schedule_that_is_added_is_justified_as_plainly_written(seed: int) -> None:
    world = World(seed)
    given = world.in_a_row()
    search = world.search(size=2)
    search.add(given, 2)
    length = int((given + world.duration).max())
    unit = 1 << world.shift()
    answers = []
    for direction in (1, 0):
        keys = (length - given - world.duration) // unit if unit > 1 else length - given - world.duration
        given, worker = generate(world, keys, direction)
        length = int((given + world.duration).max())
        answers.append((length, given if direction == 0 else length - given - world.duration, worker))
    best = min(answers, key=lambda answer: answer[0])
    assert search.n_schedules == 2
    start, where = search.schedule()
    assert search.best == best[0], seed
    assert start.tolist() == best[1].tolist(), seed
    assert where.tolist() == best[2].tolist(), seed
    assert world.wrongs(start, where) == [], seed
    assert int((start + world.duration).max()) == search.best


@pytest.mark.parametrize("seed", range(WORLDS))
def test_what_is_found_is_possible_and_depends_on_the_seed_and_the_number_alone(seed: int) -> None:
    world = World(seed)
    one, other = world.search(seed=seed), world.search(seed=seed)
    one.advance(200)
    for so_far in (3, 4, 50, 51, 200):
        other.advance(so_far)
        assert other.n_schedules <= so_far
    assert 198 <= one.n_schedules == other.n_schedules <= 200
    assert one.best == other.best
    for mine, theirs in zip(one.schedule(), other.schedule()):
        assert mine.tolist() == theirs.tolist(), seed
    start, worker = one.schedule()
    assert world.wrongs(start, worker) == [], seed
    assert int((start + world.duration).max()) == one.best


@pytest.mark.parametrize("seed", range(30))
def test_it_ends_when_the_bound_is_met_and_is_never_longer_than_what_was_added(seed: int) -> None:
    world = World(seed)
    best = world.search(seed=seed)
    best.advance(400)
    again = world.search(seed=seed, bound=best.best)
    assert not again.advance(400)
    assert again.best <= best.best
    assert (made := again.n_schedules) <= 400
    again.advance(800)
    assert again.n_schedules == made, "there is nothing left to look for"
    known = world.search(seed=seed + 1, bound=best.best)
    known.add(best.schedule()[0], 2)
    if len(world.capacity) == 1:
        assert known.best <= best.best, seed


def test_of_a_schedule_that_is_added_both_halves_are_made_or_none() -> None:
    world = World(3)
    search = world.search(size=2)
    search.add(world.in_a_row(), 1)
    assert search.n_schedules == 0
    search.add(world.in_a_row(), 2)
    assert search.n_schedules == 2


def project(seed: int, n: int = 60) -> World:
    """One worker with four resources that are all scarce, and every task behind one or two of those shortly before."""
    rng, world = random.Random(f"project {seed}"), World(seed)
    world.n, world.capacity = n, np.full((1, 4), 18, dtype=np.int32)
    world.duration = np.array([rng.randint(1, 10) for _ in range(n)], dtype=np.int64)
    world.demand = np.array([[rng.choice([0, rng.randint(1, 10)]) for _ in range(4)] for _ in range(n)], dtype=np.int32)
    rows = [sorted(rng.sample(range(max(0, i - 15), i), min(i, rng.choice([1, 2, 2])))) for i in range(n)]
    world.dep_ptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    world.deps = np.array([d for row in rows for d in row], dtype=np.int32)
    world.succ_ptr, world.succ = successors(world.dep_ptr, world.deps)
    world.order = topological_order(world.dep_ptr, world.succ_ptr, world.succ)
    return world


def test_children_are_better_than_as_many_that_are_drawn() -> None:
    drawn = bred = 0
    for seed in range(200):
        sample, search = project(seed).search(size=601, seed=seed), project(seed).search(size=8, seed=seed)
        sample.advance(600)  # never more than a first population
        search.advance(600)
        drawn, bred = drawn + sample.best, bred + search.best
    assert bred < 0.993 * drawn, (bred, drawn)


def test_the_first_schedules_are_those_of_who_has_to_end_first() -> None:
    """Beside a plain generation by latest ends, justified as often."""
    first = plain = 0
    for seed in range(100):
        world = project(seed)
        search = world.search()
        search.advance(3)
        first += search.best
        ends = np.zeros(world.n, dtype=np.int64)  # each one's latest, the makespan being 0
        for task in reversed(world.order.tolist()):
            behind = world.before(1)[task]
            ends[task] = min((ends[b] - world.duration[b] for b in behind), default=0)
        start, best = ends, 2**63
        for direction in (0, 1, 0):
            start, _ = generate(world, start, direction)
            length = int((start + world.duration).max())
            best, start = min(best, length), length - start - world.duration
        plain += best
    assert first <= 1.01 * plain, (first, plain)


def test_it_is_stopped_from_another_thread_in_the_middle_of_a_schedule() -> None:
    rng = np.random.default_rng(7)
    n = 20_000
    none = np.zeros(n + 1, dtype=np.int64), np.zeros(0, dtype=np.int32)
    search = Search(
        order=np.arange(n, dtype=np.int32),
        succ_ptr=none[0],
        succ=none[1],
        dep_ptr=none[0],
        deps=none[1],
        duration=rng.integers(1, 10**9, n),
        demand=rng.integers(1, 100, (n, 2)).astype(np.int32),
        capacity=np.full((50, 2), 128, dtype=np.int32),
        size=4,
        seed=1,
    )
    thread = threading.Thread(target=search.advance, args=(10**9,))
    thread.start()
    search.stop()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert search.stopped
    made = search.n_schedules
    search.advance(10**9)
    assert search.n_schedules == made


def test_a_population_has_two_members_or_more() -> None:
    with pytest.raises(ValueError, match="at least two"):
        World(1).search(size=1)


def hub(n: int) -> World:
    """So many tasks, something after all of them, and as many that wait for it."""
    world = World(1)
    world.n, world.capacity = 2 * n + 1, np.array([[50]], dtype=np.int32)
    world.duration = np.full(2 * n + 1, 1000, dtype=np.int64)
    world.demand = np.ones((2 * n + 1, 1), dtype=np.int32)
    world.duration[n], world.demand[n] = 0, 0
    world.dep_ptr = np.concatenate(([0] * (n + 1), np.arange(n, 2 * n + 1))).astype(np.int64)
    world.deps = np.concatenate((np.arange(n), np.full(n, n))).astype(np.int32)
    world.succ_ptr, world.succ = successors(world.dep_ptr, world.deps)
    world.order = topological_order(world.dep_ptr, world.succ_ptr, world.succ)
    return world


def test_a_task_with_many_neighbours_is_placed_in_one_look_at_them() -> None:
    """It was looked at all of them again for each: 10**10 looks at 100,000, and nobody could stop it."""
    world = hub(100_000)
    search = world.search(size=4)
    thread = threading.Thread(target=search.advance, args=(12,), daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert search.n_schedules > 9
    start, _ = search.schedule()
    assert start[100_000:].min() >= (start + world.duration)[:100_000].max()


def test_where_there_is_no_memory_it_ends_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> np.ndarray:
        raise MemoryError

    world = project(1, 200)
    world.duration = np.random.default_rng(1).integers(1, 1000, 200)
    world.capacity = np.concatenate(
        [world.capacity, np.zeros((200, 4), dtype=np.int32)]
    )  # little room on each at first
    roomy, tight = world.search(), world.search()
    roomy.advance(100)
    assert not roomy.stopped
    monkeypatch.setattr("fastsched._search.wider", no_memory)
    tight.advance(100)
    assert tight.stopped
    assert tight.n_schedules < roomy.n_schedules
    assert tight.best == 2**63 - 1 or world.wrongs(*tight.schedule()) == []
