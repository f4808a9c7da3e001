"""A seeded adversary over the retail door: the core and the oracle are told the same, and must answer the same.

Everything that can happen at any moment: submissions under tasks of any state, joins, drains, losses, departures,
other capacities, failures of every cause, stale and doubled reports, cancellations, time that passes. After every
step all that is booked is compared, and the core recounts itself.
"""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from oracle import Machine
from worlds import FITS

from fastsched._core import Core

STATES = ("WAITING", "READY", "RUNNING", "COMPLETED", "DELAYED", "FAILED", "SKIPPED", "CANCELLED")
REASONS = (None, "EXIT", "SIGNAL", "OUT_OF_MEMORY", "TIMEOUT", "WORKER_LOST", "CANCELLED", "DEPENDENCY",
           "UNSATISFIABLE", "SPAWN")  # fmt: skip
TRUST = ("TRUSTED", "QUARANTINED", "PROBATION")
NOTICES = ("STUCK", "QUARANTINED", "PROBATION", "TRUSTED", "DRAINED")
OWN = (1, 1, 1, 2, 3, 3, 4, 9)  # codes of failures that a report may bring
SECOND = 10**9


class Adversary:
    """One seeded history. `counts` says how often what happened."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(f"retail/{seed}")
        self.seed, self.counts, self.now = seed, Counter(), 0
        self.k, self.pivot = rng.choice([2, 2, 3, 4, 5]), 1
        if rng.random() < 0.2:
            self.pivot = rng.randrange(self.k)
        options = {
            "fit": rng.choice(FITS),
            "max_losses": rng.choice([0, 1, 3]),
            "max_ooms": rng.choice([0, 1, 3]),
            "oom_growth": rng.choice([1000, 1500, 2000]),
            "backoff": rng.choice([0, 0, 1, SECOND, 3 * SECOND]),
            "backoff_cap": rng.choice([0, 5 * SECOND, 60 * SECOND]),
            "jitter": rng.choice([0, 100, 1000]),
            "seed": rng.getrandbits(64),
            "quarantine_after": rng.choice([0, 1, 1, 2, 3]),
            "probation": rng.choice([0, SECOND, 10 * SECOND]),
            "reserve_after": rng.choice([-1, 0, 0, SECOND, 4 * SECOND]),
        }
        self.luck = luck = random.Random(f"promises/{seed}")
        self.promises = luck.random() < 0.4  # only where no room can be reserved
        if self.promises:
            options["reserve_after"] = -1
        self.hasty = luck.random() < 0.3  # workers are suspected, and time is short
        self.planned = random.Random(f"plans/{seed}")
        self.plans = self.planned.random() < 0.5
        grid = rng.choice([1, 3, 512])
        self.core = Core(n_resources=self.k, pivot=self.pivot, many_workers=grid, tell_stuck=True, **options)
        self.machine = Machine(self.k, **options)
        self.amounts = rng.choice([(0, 1, 2, 4), (1,), (1, 2, 3, 5, 8), tuple(range(40))])
        self.alike = [luck.choice(self.amounts) for _ in range(self.k)]  # what runs is followed by what is like it

    def run(self, steps: int) -> None:
        """Play a history of so many steps, then let it come to its end without further mishaps."""
        self.add_workers()
        self.add_tasks()
        moves = [self.assign] * 6 + [self.end_attempt] * 8 + [self.pass_time] * 4 + [
            self.add_tasks, self.add_tasks, self.add_workers, self.move_worker, self.move_worker, self.report_stale,
        ]  # fmt: skip
        for _ in range(steps):
            self.rng.choice(moves)()
            if self.promises and self.luck.random() < 0.5:
                self.promise()
            if self.luck.random() < 0.1:
                self.return_promised()
            if self.rng.random() < 0.02:
                self.cancel()
            if self.plans and self.planned.random() < 0.1:
                self.follow()
            if self.hasty and self.luck.random() < 0.1:
                self.suspect()
            if self.hasty and self.luck.random() < 0.05:
                self.set_deadline(self.luck.choice([None, 0, 1, 5, 20, 60]))
            self.compare()
        self.finish()

    def finish(self) -> None:
        """No more mishaps: whatever can be done is done within as many rounds as there are attempts left."""
        for worker in range(self.core.n_workers):
            state = self.machine.workers[worker]
            if (not state.live and state.expected) or state.suspect:
                self.do("join", worker)
        while self.machine_promises():
            self.return_promised()
        self.set_deadline(None)
        for _ in range(10 * len(self.machine.tasks) + 50):
            self.assign()
            running = [i for i, t in enumerate(self.machine.tasks) if t.state == "RUNNING"]
            for i in running:
                self.complete(i)
            if not running:
                wake = self.core.next_wake()
                if wake is None:
                    break
                self.now = max(self.now, wake)
        self.compare()
        self.core.fail_unsatisfiable(self.now)
        self.machine.fail_unsatisfiable()
        self.compare()
        assert self.core.n_left == 0, f"seed {self.seed}: {self.core.n_left} tasks stand still"
        self.counts.update(name.lower() for name, _ in self.machine.notices)

    # ---------------------------------------------------------------- moves

    def add_tasks(self) -> None:
        m, n, rng = self.rng.choice([0, 1, 1, 2, 5, 12]), len(self.machine.tasks), self.rng
        rows = [
            rng.sample(range(n + i), min(n + i, rng.choice([0, 0, 1, 2, 3]))) for i in range(m)
        ]  # fmt: skip
        demand = np.array([[rng.choice(self.amounts) for _ in range(self.k)] for _ in range(m)], dtype=np.int32)
        demand = demand.reshape(m, self.k)
        if self.promises and self.luck.random() < 0.7:
            demand[:] = self.alike
        duration = np.array([rng.choice([0, 1, 2, 9]) * SECOND for _ in range(m)], dtype=np.int64)
        priority = np.array([rng.choice([0, 0, 0, 1, -3]) for _ in range(m)], dtype=np.int64)
        key = np.array([rng.choice([0, -1, -5, 7]) for _ in range(m)], dtype=np.int64)
        retries = np.array([rng.choice([0, 1, 3]) for _ in range(m)], dtype=np.int32)
        classes = demand.copy()
        lay_out = rng.choice(["by kind", "by kind", "but the pivot", "but the pivot", "loosely", "as one"])
        if lay_out == "but the pivot":
            classes[:, self.pivot] = 0
        elif lay_out == "loosely":
            classes = classes // 2
        elif lay_out == "as one":
            classes[:] = 0
        class_demand, class_of = np.unique(classes, axis=0, return_inverse=True)
        first = self.core.add_tasks(
            self.now,
            dep_ptr=np.cumsum([0, *map(len, rows)]).astype(np.int64),
            deps=np.array([d for row in rows for d in row], dtype=np.int32),
            demand=demand, duration=duration, priority=priority, key=key, max_retries=retries,
            class_of=class_of.reshape(-1), class_demand=class_demand.reshape(-1, self.k),
        )  # fmt: skip
        assert first == n
        self.machine.advance(self.now)
        for i in range(m):
            self.machine.add_task(
                rows[i], demand[i].tolist(), int(duration[i]), int(priority[i]), int(key[i]), int(retries[i])
            )
        self.machine.skip_under_failed(n)
        self.counts["submitted under a failed task"] += sum(t.state == "SKIPPED" for t in self.machine.tasks[n:])

    def add_workers(self) -> None:
        m, expected = self.rng.choice([1, 1, 2, 3]), self.rng.random() < 0.2
        if len(self.machine.workers) > 12:
            return
        capacity = [self.draw_capacity() for _ in range(m)]
        self.core.add_workers(np.array(capacity), self.now, expected)
        self.machine.advance(self.now)
        for row in capacity:
            self.machine.add_worker(row, "expected" if expected else "live")

    def draw_capacity(self) -> list[int]:
        """Mostly room for a few tasks, now and then for few demands at all."""
        least = max(self.amounts) if self.rng.random() < 0.7 else 0
        return [max(least, self.rng.choice(self.amounts)) * self.rng.choice([1, 2, 3]) for _ in range(self.k)]

    def assign(self) -> None:
        started = self.core.assign(self.now)
        self.machine.advance(self.now)
        before = self.machine.reservation
        assert started == self.machine.decide(), f"seed {self.seed}"
        self.counts["as planned"] += sum(self.machine.tasks[i].preferred == worker for i, worker, _ in started)
        self.counts["starts"] += len(started)
        self.counts["reservations"] += self.machine.reservation not in (None, before)

    def promise(self) -> None:
        """The worker of what runs is promised what would start in its place; seen by others as a choice to repeat."""
        running = [i for i, t in enumerate(self.machine.tasks) if t.state == "RUNNING"]
        if not running:
            return
        self.assign()
        like = self.luck.choice(running)
        worker, n = self.machine.tasks[like].worker, self.luck.choice([1, 2, 9])
        self.machine.advance(self.now)
        promised = self.machine.promise(worker, like, n)
        if self.luck.random() < 0.3:
            for i in promised:
                self.core.promise_made(i, worker, self.now)
        else:
            assert self.core.promise(worker, like, n, self.now) == promised, f"seed {self.seed}"
        self.counts["promised"] += len(promised)

    def return_promised(self) -> None:
        promised = list(self.machine_promises())
        if promised:
            i = self.luck.choice(promised)
            self.core.promise_returned(i, self.now)
            self.machine.advance(self.now)
            self.machine.return_promised(i)
            self.counts["promises returned"] += 1

    def keep_promise(self, worker: int, given: list[int] | None = None) -> bool:
        """The first that is promised to the worker, and needs as much, starts there."""
        for i, where in self.machine_promises().items():
            if where == worker and given in (None, self.machine.tasks[i].demand):
                assert self.core.promise_kept(i, self.now) == self.machine.tasks[i].attempt + 1
                self.machine.advance(self.now)
                self.machine.keep_promise(i)
                self.counts["promises kept"] += 1
                return True
        return False

    def machine_promises(self) -> dict[int, int]:
        return {i: t.promised for i, t in enumerate(self.machine.tasks) if t.promised is not None}

    def end_attempt(self) -> None:
        running = [i for i, t in enumerate(self.machine.tasks) if t.state == "RUNNING"]
        if not running:
            return
        i = self.rng.choice(running)
        bad = self.machine.tasks[i].worker % 3 == 0 and self.seed % 2  # some workers fail everything
        if not bad and self.rng.random() < 0.6:
            self.complete(i)
            return
        t, code = self.machine.tasks[i], self.rng.choice(OWN)
        given = list(t.demand)
        incarnation = self.core.incarnation_of(t.worker)
        assert self.core.failed(i, t.attempt, incarnation, self.now, code)
        self.machine.advance(self.now)
        self.machine.failed(i, REASONS[code])
        self.counts[f"failed: {REASONS[code]}"] += 1
        self.keep_promise(t.worker, given)

    def complete(self, i: int) -> None:
        t = self.machine.tasks[i]
        assert self.core.finished(i, t.attempt, self.core.incarnation_of(t.worker), self.now)
        self.machine.advance(self.now)
        self.machine.completed(i)
        self.counts["completed"] += 1
        self.keep_promise(t.worker, t.demand)

    def report_stale(self) -> None:
        """A doubled report, one of an old attempt, one of an old incarnation: all without effect."""
        for i, t in enumerate(self.machine.tasks):
            if t.attempt and self.rng.random() < 0.2:
                incarnation = self.core.incarnation_of(t.worker)
                old = t.attempt - 1 if t.state == "RUNNING" else t.attempt
                assert not self.core.finished(i, old, incarnation, self.now)
                assert not self.core.failed(i, old, incarnation, self.now, 1)
                assert not self.core.finished(i, t.attempt, incarnation - 1, self.now)
                self.counts["stale reports"] += 3
        self.machine.advance(self.now)

    def cancel(self) -> None:
        if not self.machine.tasks:
            return
        i = self.rng.randrange(len(self.machine.tasks))
        done = self.core.cancel(i, self.now)
        self.machine.advance(self.now)
        assert done == self.machine.cancel(i)
        self.counts["cancelled"] += done

    def follow(self) -> None:
        """A plan takes the place of any before: of some tasks, whatever their state, some of them held back."""
        rng, n = self.planned, len(self.machine.tasks)
        tasks = rng.sample(range(n), rng.choice([n, n, n // 2, min(n, 1), 0]))
        keys = [rng.choice([place, place, rng.randrange(4)]) - 50 for place in range(len(tasks))]
        workers = [rng.choice([None, rng.randrange(len(self.machine.workers))]) for _ in tasks]
        later = rng.random() < 0.5
        until = [self.now + rng.choice([0, 1, 3, 30]) * SECOND if later and rng.random() < 0.4 else 0 for _ in tasks]
        if rng.random() < 0.2:
            workers = [None] * len(tasks)
        self.core.follow(
            self.now,
            tasks=np.array(tasks, dtype=np.int32),
            key=np.array(keys, dtype=np.int64),
            worker=np.array([-1 if w is None else w for w in workers], dtype=np.int32),
            not_before=np.array(until, dtype=np.int64),
        )
        self.machine.advance(self.now)
        self.machine.follow(list(zip(tasks, keys, workers, until)))
        self.counts["plans"] += 1
        self.counts["held back"] += len(self.core.held_back())

    def suspect(self) -> None:
        """A worker that is there is as good as lost."""
        there = [w for w, worker in enumerate(self.machine.workers) if worker.live]
        if there:
            worker = self.luck.choice(there)
            self.core.suspect_worker(worker, self.now)
            self.machine.advance(self.now)
            self.machine.suspect(worker)
            self.counts["suspected"] += self.machine.workers[worker].suspect

    def set_deadline(self, seconds: int | None) -> None:
        """All attempts are to have ended so many seconds from now, or whenever they do."""
        deadline = None if seconds is None else self.now + seconds * SECOND
        self.core.set_deadline(-1 if deadline is None else deadline, self.now)
        self.machine.advance(self.now)
        self.machine.set_deadline(deadline)
        self.counts["deadlines"] += deadline is not None

    def move_worker(self) -> None:
        worker = self.rng.randrange(len(self.machine.workers))
        state = self.machine.workers[worker]
        if not state.live and self.rng.random() < 0.7:
            self.do("join", worker)
        elif not state.live and not state.expected:
            self.do("expect", worker)
        elif state.draining:
            self.do(self.rng.choice(["join", "lose", "leave"]), worker)
        elif state.live:
            self.do(self.rng.choice(["drain", "lose", "lose and return", "leave", "resize", "resize"]), worker)

    def do(self, what: str, worker: int) -> None:
        """Something happens to a worker."""
        self.counts[what] += 1
        if what == "join":
            self.core.add_worker(worker, self.now)
            self.machine.advance(self.now)
            self.machine.join(worker)
        elif what == "expect":
            self.core.expect_worker(worker, self.now)
            self.machine.advance(self.now)
            self.machine.expect(worker)
        elif what == "drain":
            self.core.drain_worker(worker, self.now)
            self.machine.advance(self.now)
            self.machine.drain(worker)
        elif what == "resize":
            capacity = self.draw_capacity()
            self.core.resize_worker(worker, capacity, self.now)
            self.machine.advance(self.now)
            self.machine.resize(worker, capacity)
        else:
            expected, charged = what == "lose and return", what != "leave"
            while self.keep_promise(worker):  # it may have started
                pass
            orphans = self.core.remove_worker(worker, self.now, expected, charged)
            self.machine.advance(self.now)
            assert orphans == self.machine.remove(worker, expected, charged)

    def pass_time(self) -> None:
        self.now += self.rng.choice([0, 1, SECOND // 2, SECOND, 4 * SECOND, 20 * SECOND])
        wake = self.core.next_wake()
        if wake is not None and self.rng.random() < 0.5:
            self.now = max(self.now, wake)

    # ---------------------------------------------------------------- comparison

    def compare(self) -> None:
        """All that is booked, and the core's own recount."""
        self.core.advance(self.now)
        self.machine.advance(self.now)
        self.core.check()
        told, m, where = self.core.columns(), self.machine, f"seed {self.seed}, now {self.now}"
        states = [STATES[s] for s in told["state"]]
        wanted = ["READY" if m.ready(i) else t.state for i, t in enumerate(m.tasks)]
        wanted = ["DELAYED" if state == "PROMISED" else state for state in wanted]
        late = [i for i, _ in enumerate(m.tasks) if m.could_start(i) and m.too_long(i)]
        wanted = ["DELAYED" if i in late or m.held_back(i) else state for i, state in enumerate(wanted)]
        assert self.core.held_back() == {i: t.not_before for i, t in enumerate(m.tasks) if m.held_back(i)}, where
        assert self.core.postponements() == late, where
        self.counts["postponed"] = max(self.counts["postponed"], len(late))
        assert self.core.promises() == self.machine_promises(), where
        assert states == wanted, where
        for name, values in {
            "reason": [REASONS.index(t.reason) for t in m.tasks],
            "attempt": [t.attempt for t in m.tasks],
            "failures": [t.failures for t in m.tasks],
            "ooms": [t.ooms for t in m.tasks],
            "losses": [t.losses for t in m.tasks],
            "worker": [-1 if t.worker is None else t.worker for t in m.tasks],
            "cause": [-1 if t.cause is None else t.cause for t in m.tasks],
            "overtaken": [
                t.overtaken + 1 if m.ready(i) and t.overtaken is not None else 0 for i, t in enumerate(m.tasks)
            ],
        }.items():
            assert told[name].tolist() == values, f"{where}: {name}"
        demand, capacity, free = self.core.amounts()
        assert demand.tolist() == [t.demand for t in m.tasks], where
        assert capacity.tolist() == [w.capacity for w in m.workers], where
        assert free.tolist() == [m.free(w) or [-1] * self.k for w in range(len(m.workers))], where
        workers = self.core.worker_columns()
        signs = [2 if w.suspect else int(w.draining) for w in m.workers]
        assert workers["draining"].tolist() == signs, f"{where}: draining"
        for name in ("live", "expected", "strikes", "terms", "incarnation"):
            assert workers[name].tolist() == [int(getattr(w, name)) for w in m.workers], f"{where}: {name}"
        assert [TRUST[t] for t in workers["trust"]] == [w.trust for w in m.workers], where
        assert self.core.wakes() == {i: t.wake for i, t in enumerate(m.tasks) if t.state == "DELAYED"}, where
        kept = m.reservation if m.reservation and m.ready(m.reservation[0]) else None
        assert self.core.reservation() == kept, where
        notices = [(NOTICES[kind], which) for kind, which, _ in self.core.notices if NOTICES[kind] != "STUCK"]
        assert notices == m.notices, where
        self.compare_stuck(where)
        log = self.core.log()
        assert list(zip(*(log[name].tolist() for name in ("task", "worker", "attempt", "start", "end")))) == [
            (e.task, e.worker, e.attempt, e.start, e.end) for e in m.log
        ], where

    def compare_stuck(self, where: str) -> None:
        """Each ready task that nobody could hold was noticed, and once."""
        told = [which for kind, which, _ in self.core.notices if NOTICES[kind] == "STUCK"]
        assert len(set(told)) == len(told), where
        stuck = {
            i for i, t in enumerate(self.machine.tasks)
            if self.machine.ready(i) and not self.machine.anyone_could_hold(t.demand)
        }  # fmt: skip
        assert stuck <= set(told), where
        self.counts["stuck"] = max(self.counts["stuck"], len(told))
