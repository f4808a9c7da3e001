"""The whole runtime under a seeded adversary: the real loop, session and ledger over the simulated engine.

One history is a run in virtual time: clients submit and cancel, workers come and go, reports come late or twice, and
the scheduler dies before, after or amid a write or a sync of its journal, and is taken up again. What the world sees is
checked against a record kept apart: what the commands did, what clients were told, and what the journal holds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from memory_disk import MemoryDisk, PowerCut

from fastsched.engines.simulated import Command, Faults, SimulatedEngine
from fastsched.errors import JournalFull
from fastsched.events import (
    AttemptCompleted,
    AttemptEnded,
    AttemptFailed,
    AttemptStarted,
    CancelRequested,
    PlanAdopted,
    Start,
    TaskFailed,
    TaskPromised,
    TaskReturned,
    TasksSubmitted,
)
from fastsched.graph import CompiledGraph, WorkerTable
from fastsched.guide import Guide, Route
from fastsched.model import RESERVED_RESOURCES, Reason, Task, TaskStatus, Worker
from fastsched.policy import Policy
from fastsched.runtime.journal import Journal
from fastsched.runtime.loop import Rhythm
from fastsched.runtime.pilot import AtOnce
from fastsched.runtime.record import Turn, decode_records
from fastsched.runtime.requests import Submission
from fastsched.runtime.session import Session, Settings

from .ghost import Violation

NS = 1_000_000_000
MOST_TURNS = 20_000  # of one history: it must come to its end
CALM_S = 400.0  # mishaps stop then
SHORT = 30  # calls of a journal: its history is played with a death at each of them
ENDS = (None,) * 12 + (Reason.EXIT, Reason.EXIT, Reason.SIGNAL, Reason.OUT_OF_MEMORY, Reason.SPAWN)


class Crash(BaseException):
    """The scheduler's process ends here."""


class Book:
    """The real journal, on a disk in memory: of the rest that was not synced a power cut leaves torn pieces.

    `plan`: which writes and syncs, counted over all schedulers, end the process before or after they are done or in
    their midst, and which find no room. `bodies` is what it should hold, kept apart from it.
    """

    def __init__(self, random, plan, see, see_synced):
        self.random, self.plan, self.see, self.see_synced = random, plan, see, see_synced
        self.disk = MemoryDisk()
        self.journal = None
        self.bodies: list[bytes] = []
        self.on_its_way: list[bytes] = []  # of a write that was begun
        self.n_calls = 0
        self.folder = "memory"

    def open(self):
        """Take the journal up, and compare what it holds to what it was given."""
        self.journal = Journal(self.disk)
        demand(self.journal.damage is None, f"the journal is damaged: {self.journal.damage}")
        kept = list(self.journal.read())
        everything = self.bodies + self.on_its_way
        demand(kept == everything[: len(kept)], "the journal holds what it was not given")
        demand(len(kept) in (len(self.bodies), len(everything)) or len(kept) < len(self.bodies), "a half of a group")
        self.bodies, self.on_its_way = kept, []
        return self

    def end(self, power):
        """The process has ended; the disk is what is left of it."""
        n_safe, before = self.n_synced, len(self.bodies)
        self.disk = self.disk.power_cut(self.random) if power else self.disk.killed()
        self.open()
        demand(len(self.bodies) >= (n_safe if power else before), "the journal has lost what was safe")
        self.journal.close()

    @property
    def damage(self):
        return self.journal.damage

    @property
    def n_written(self):
        return self.journal.n_written

    @property
    def n_synced(self):
        return self.journal.n_synced if self.journal else 0

    def read(self):
        return iter(list(self.bodies))

    def append_all(self, bodies):
        self.on_its_way = list(bodies)
        number = self._do(lambda: self.journal.append_all(bodies))
        self.on_its_way = []
        return number

    def sync(self):
        before = self.n_synced
        self._do(self.journal.sync)
        self.see_synced(self.bodies[before:])

    def close(self):
        self.journal.close()

    def _do(self, what):
        self.n_calls += 1
        mishap = self.plan.get(self.n_calls)
        if mishap == "before":
            raise Crash
        if mishap == "amid":
            self.disk.cut_after = self.disk.n_operations + self.random.randrange(4)
        if mishap == "full":
            self.disk.room = sum(len(file.content) for file in self.disk.files.values()) + self.random.randrange(3000)
        try:
            answer = what()
        except PowerCut:
            raise Crash from None
        finally:
            self.disk.room = self.disk.cut_after = None
        if self.on_its_way:
            self.bodies += self.on_its_way
            self.see(self.on_its_way)
        if mishap in ("after", "amid"):
            self.on_its_way = []
            raise Crash
        return answer


class World(SimulatedEngine):
    """The simulated engine, which looks at every order and every end."""

    def __init__(self, history, seed, faults, hold_s):
        super().__init__(seed, history.behave, faults, hold_s)
        self.history = history

    def send(self, orders):
        for order in orders:
            if isinstance(order, Start):
                self.history.see_order(order)
        super().send(orders)

    def _start(self, host, order):
        self.history.see_start(order, self)
        super()._start(host, order)
        self.history.see_load(host)

    def wait_reports(self, timeout_s):
        self.history.play_clients()
        return super().wait_reports(min(timeout_s, self.history.next_action_s()))

    def _end(self, host, task_id, attempt, reason):
        if self._is_there(host) and (task_id, attempt) in host.commands and reason is None:
            self.history.ended_well.add((task_id, attempt))
        super()._end(host, task_id, attempt, reason)


def demand(holds, what):
    if not holds:
        raise AssertionError(what)


class LiveHistory:
    """One seed played to its end. `crash_at`: kill the scheduler at this call of its journal (else by chance)."""

    def __init__(self, seed, crash_at=None, power=None):
        self.seed, self.random = seed, Random(seed)
        random = self.random
        self.counts = Counter()
        self.tasks: dict[str, Task] = {}  # accepted
        self.unsure: dict[str, Task] = {}  # submitted when the scheduler died
        self.ended_well: set[tuple[str, int]] = set()  # attempts whose commands did, in the world
        self.done: set[str] = set()  # tasks that the journal knows to have completed
        self.written: set[tuple[str, int]] = set()  # attempts that the journal knows to have been started
        self.safe: set[tuple[type, str, int]] = set()  # starts and ends that survive a power cut
        self.told: dict[str, TaskStatus] = {}
        self.told_attempts: Counter = Counter()
        self.log = hashlib.blake2b(digest_size=16)
        self.power = random.random() < 0.5 if power is None else power
        harsh = random.random()
        self.faults = Faults(
            loss_rate=random.choice((0.0, 0.002, 0.01)) * harsh,
            silence_rate=random.choice((0.0, 0.005, 0.02)) * harsh,
            silence_s=60.0,
            delay_s=random.choice((0.0, 0.5, 5.0)),
            doubled=random.choice((0.0, 0.2)),
            late=random.choice((0.0, 0.7)),
            no_start=random.choice((0.0, 0.2)) * harsh,
            never_up=random.choice((0.0, 0.2)) * harsh,
        )
        distance = Random(f"distance/{seed}")
        self.faults = replace(
            self.faults,
            suspected=distance.choice((0.0, 0.0, 0.5, 1.0)),
            withdrawn=distance.choice((0.0, 0.0, 0.5)),
        )
        promises = Random(f"promises/{seed}")
        self.rhythm = Rhythm(5.0, 20.0, 3.0, promises.choice((0.01, 200.0, 200.0)))
        self.engine = World(self, seed, self.faults, promises.choice((5.0, 100.0)))
        self.alike = promises.choice((None, None, (1, 64), (0.5, 128)))  # what every task needs; None: as it comes
        plan = {}
        if crash_at is not None:
            plan[crash_at[0]] = crash_at[1]
        else:
            for _ in range(random.choice((0, 1, 1, 2, 4))):
                plan[random.randint(1, 60)] = random.choice(("before", "amid", "amid", "after", "full"))
        self.journal = Book(random, plan, self.see_written, self.see_synced)
        self.planned = Random(f"plans/{seed}")
        self.plans = self.planned.random() < 0.5
        self.n_workers = 0
        workers = [self.new_worker() for _ in range(random.randint(1, 4))]
        first = self.new_tasks(random.randint(0, 8)) if random.random() < 0.5 else []
        self.tasks.update((task.task_id, task) for task in first)
        self.policy = Policy(
            backoff=random.choice((0.0, 3.0)),
            max_losses=random.choice((0, 3, 50)),
            on_oom=random.choice(("1x", "2x")),
            quarantine_after=random.choice((0, 2)),
            reserve_after=random.choice((None, 30.0)),
            seed=seed,
        )
        self.first, self.workers = first, workers
        self.script = sorted(random.randrange(200 * NS) for _ in range(random.randint(0, 12)))
        self.asked: list[tuple[str, object]] = []
        self.loop = None
        self.turns = 0
        self.calm = False

    # ---------------------------------------------------------------- the play

    def play(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fastsched.runtime.pace.SLOW_AGAIN", 1)
            patch.setattr("fastsched.runtime.pace.AHEAD_NS", 1 << 60)  # its tasks take seconds
            return self.play_on()

    def play_on(self):
        try:
            while not self.serve():
                self.counts["crashes"] += 1
                self.counts["power cuts"] += self.power
                self.journal.end(self.power)
                self.recover()
            self.check_end()
        except AssertionError as wrong:
            raise Violation(f"live seed {self.seed}, call {self.journal.n_calls}: {wrong}") from wrong
        return self

    def serve(self):
        """One scheduler's time; whether it came to the end of the run."""
        graph = CompiledGraph(self.first)
        self.journal.open()
        settings = Settings(
            engine=self.engine,
            capture=False,
            policy=self.policy,
            rhythm=self.rhythm,
            max_retries=2,
            timeout=50.0,
            plan=self.make_plan(),
            replan=0.01,
        )
        table = WorkerTable(self.workers, RESERVED_RESOURCES)
        session = Session(
            settings,
            graph,
            table if not self.journal.bodies else None,
            journal=self.journal,
            clock=self.engine.clock,
            aside=AtOnce(),
        )
        try:
            self.loop = session.open(self.hear)
            self.loop.serve(self.is_over)
        except (Crash, JournalFull):  # a scheduler that finds no room does not begin
            self.engine.crash()
            return False
        return True

    def make_plan(self):
        """A plan of tasks that may be submitted, on workers that may be there; who takes the run up may have none."""
        chance = self.planned
        if not self.plans or (self.journal.bodies and chance.random() < 0.5):
            return None
        ids = [f"t{i}" for i in range(1, 60)]
        chance.shuffle(ids)
        start = np.array([chance.randrange(100) * NS for _ in ids], dtype=np.int64)
        held = np.where([chance.random() < 0.1 for _ in ids], start, 0).astype(np.int64)
        worker = np.array([chance.randrange(-1, 4) for _ in ids], dtype=np.int32)
        route = Route(np.arange(len(ids), dtype=np.int32), worker, start, start + 20 * NS, held)
        return Guide(ids, ["w0", "w1", "w2", "w9"], route)

    def is_over(self):
        self.turns += 1
        demand(self.turns < MOST_TURNS, "it does not come to its end")
        for name, future in [entry for entry in self.asked if entry[1].done()]:
            self.asked.remove((name, future))
            if name in self.unsure and future.exception() is None:
                self.tasks.update(self.unsure.pop(name))
            self.unsure.pop(name, None)
        if self.engine.clock() > CALM_S * NS and not self.calm:
            self.calm, self.engine.faults = True, Faults()
        if self.calm and not self.asked and not self.loop.state.knows_worker("refuge"):
            self.ask("calm", lambda now: self.loop.add_worker(Worker("refuge", 64, 1 << 20), now))
        if self.turns % 50 == 0:
            self.loop.state.check()
        return not self.script and not self.asked and self.calm and self.loop.state.done

    def recover(self):
        """After a crash: what was being asked for was done or not, as the journal says."""
        self.asked.clear()
        facts = self.facts()
        accepted = {task.task_id for fact in facts if isinstance(fact, TasksSubmitted) for task in fact.tasks}
        for batch in self.unsure.values():
            self.tasks.update((name, task) for name, task in batch.items() if name in accepted)
        self.unsure.clear()
        if not self.journal.bodies:
            self.tasks = {task.task_id: task for task in self.first}
        for name in list(self.tasks):
            known = name in accepted or any(task.task_id == name for task in self.first)
            demand(known or self.power, f"{name} was accepted and is lost")
            if not known:
                del self.tasks[name]
        ended = {(f.task_id, f.attempt): f for f in facts if isinstance(f, AttemptEnded)}
        for (task_id, attempt), n in self.told_attempts.items():
            demand(n == 1, f"the end of {task_id}.{attempt} was told {n} times")
        for task_id, status in self.told.items():
            if status is TaskStatus.COMPLETED:
                demand(
                    any(name == task_id and f.reason is None for (name, _), f in ended.items()),
                    f"{task_id} was told to have completed, and the journal does not know",
                )
        self.safe.clear()
        self.see_synced(self.journal.bodies)
        self.written = {(f.task_id, f.attempt) for f in facts if isinstance(f, AttemptStarted)}
        self.written |= {(f.task_id, 1) for f in facts if isinstance(f, TaskPromised)}
        self.done = {name for (name, _), f in ended.items() if f.reason is None}

    def facts(self):
        return [
            fact for record in decode_records(self.journal.bodies) if isinstance(record, Turn) for fact in record.facts
        ]

    # ---------------------------------------------------------------- what the world sees

    def behave(self, order, random):
        return Command(random.uniform(0, 40), random.choice(ENDS), random.random() < 0.2)

    def see_order(self, order):
        """A command is to start, now or later."""
        self.counts["promised"] += order.after is not None
        attempt = (order.task_id, order.attempt)
        demand(attempt in self.written, f"{order.task_id}.{order.attempt} was sent before it was written")

    def see_start(self, order, engine):
        """A command is about to start."""
        self.counts["promises kept"] += order.after is not None
        self.counts["attempts"] += 1
        self.log.update(f"{order.task_id}.{order.attempt}@{order.worker_id} {engine.clock()}\n".encode())
        demand(order.task_id not in self.done, f"{order.task_id} had completed, and runs again")
        for host in engine.hosts.values():
            demand(
                all(name != order.task_id for name, _ in host.commands),
                f"two attempts of {order.task_id} run at a time",
            )
        for name in self.known_task(order.task_id).dependencies:
            demand(name in self.done, f"{order.task_id} starts before {name} has completed")

    def see_written(self, bodies):
        """What the journal has come to know."""
        for record in decode_records(bodies):
            for fact in record.facts if isinstance(record, Turn) else ():
                if isinstance(fact, AttemptStarted):
                    self.written.add((fact.task_id, fact.attempt))
                elif isinstance(fact, TaskPromised):
                    self.written.add((fact.task_id, 1))
                elif isinstance(fact, TaskReturned):
                    self.counts["promises returned"] += 1
                elif isinstance(fact, PlanAdopted):
                    self.counts["plans" if fact.behind_ns is None else "planned anew"] += 1
                elif isinstance(fact, AttemptEnded) and fact.reason is None:
                    demand((fact.task_id, fact.attempt) in self.ended_well, f"{fact.task_id} did not end well")
                    self.done.add(fact.task_id)

    def known_task(self, task_id):
        for known in (self.tasks, *self.unsure.values()):
            if task_id in known:
                return known[task_id]
        raise AssertionError(f"{task_id} was never submitted")

    def see_load(self, host):
        """A worker never holds more than it has."""
        orders = [order for order, _ in host.commands.values()]
        demand(
            sum(order.cpu_cores for order in orders) <= host.worker.cpu_cores_available + 1e-9
            and sum(order.memory_mb for order in orders) <= host.worker.memory_available_mb,
            f"{host.worker.worker_id} holds more than it has",
        )

    def see_synced(self, bodies):
        """What a power cut cannot take back any more."""
        for record in decode_records(bodies):
            for fact in record.facts if isinstance(record, Turn) else ():
                if isinstance(fact, (AttemptStarted, AttemptEnded)):
                    self.safe.add((type(fact), fact.task_id, fact.attempt))
                elif isinstance(fact, TaskPromised):
                    self.safe.add((AttemptStarted, fact.task_id, 1))

    def hear(self, events):
        """What a subscriber is told."""
        for event in events:
            if isinstance(event, (AttemptStarted, AttemptCompleted)):
                fact = AttemptEnded if isinstance(event, AttemptCompleted) else AttemptStarted
                demand((fact, event.task_id, event.attempt) in self.safe, f"{event} was told, and is not safe")
            self.log.update(repr(event)[:60].encode())
            if isinstance(event, (AttemptCompleted, AttemptFailed)):
                self.told_attempts[event.task_id, event.attempt] += 1
                demand(self.told_attempts[event.task_id, event.attempt] == 1, f"{event} was told twice")
            if isinstance(event, AttemptCompleted):
                demand(event.task_id in self.done, f"{event.task_id} is told to have completed, and has not")
                demand(event.task_id not in self.told, f"{event.task_id} ended twice")
                self.told[event.task_id] = TaskStatus.COMPLETED
            elif isinstance(event, TaskFailed):
                demand(event.task_id not in self.told, f"{event.task_id} ended twice")
                self.told[event.task_id] = TaskStatus.FAILED

    # ---------------------------------------------------------------- clients

    def next_action_s(self):
        if self.calm:
            return 1e6
        at = self.script[0] if self.script else int(CALM_S * NS) + 1
        return max(0, at - self.engine.clock() + 1) / NS

    def play_clients(self):
        while self.script and self.script[0] <= self.engine.clock():
            self.script.pop(0)
            self.act()

    def act(self):
        random, loop = self.random, self.loop
        what = random.choice(("submit", "submit", "submit", "cancel", "add", "drain", "remove", "pause"))
        self.counts[what] += 1
        if what == "submit":
            tasks = self.new_tasks(random.randint(1, 6) * (1 + bool(self.alike)))
            if random.random() < 0.2:
                tasks.append(Task("wrong", "x", ["nobody"]))
            name = f"batch {len(self.tasks)} {loop.now()}"
            self.unsure[name] = {task.task_id: task for task in tasks}
            self.asked.append((name, loop.request(Submission(tasks, tasks))))
        elif what == "cancel" and self.tasks:
            task_id = random.choice(list(self.tasks))
            self.ask("cancel", lambda now: loop.cancel(task_id, now))
        elif what == "add":
            worker = self.new_worker()
            self.ask("add", lambda now: loop.add_worker(worker, now))
        elif what in ("drain", "remove"):
            worker_id = f"w{random.randrange(self.n_workers)}"
            self.ask(what, lambda now: getattr(loop, f"{what}_worker")(worker_id, now))
        elif what == "pause":
            loop.pause(True)
            self.script.append(self.engine.clock() + 5 * NS)
            self.script.sort()
        if what != "pause":
            loop.pause(False)

    def ask(self, name, what):
        self.asked.append((name, self.loop.request(what)))

    def new_worker(self):
        self.n_workers += 1
        cores, memory = self.random.choice(((1, 512), (2, 1024), (4, 2048), (8, 1024)))
        if self.alike:
            cores = min(cores, 2)  # so that tasks queue
        return Worker(f"w{self.n_workers - 1}", cores, memory)

    def new_tasks(self, n):
        random, tasks = self.random, []
        before = list(self.tasks)
        for _ in range(n):
            self.counts["tasks"] += 1
            task_id = f"t{self.counts['tasks']}"
            among = before + [task.task_id for task in tasks]
            dependencies = random.sample(among, min(len(among), random.choice((0, 0, 1, 2)) // (1 + bool(self.alike))))
            needs = random.choice((0.5, 1, 1, 2, 4)), random.choice((64, 128, 512, 1024))
            tasks.append(
                Task(
                    task_id,
                    "x",
                    dependencies,
                    *(self.alike or needs),
                    priority=random.choice((0, 0, 1)),
                    max_retries=random.choice((None, 0, 5)),
                    timeout=random.choice((None, None, 10.0)),
                )
            )
        return tasks

    # ---------------------------------------------------------------- the end

    def check_end(self):
        state = self.loop.state
        state.check()
        demand(set(state.ids) == set(self.tasks), "tasks were lost, or came from nowhere")
        facts = self.facts()
        started = Counter((f.task_id, f.attempt) for f in facts if isinstance(f, AttemptStarted))
        ended = Counter((f.task_id, f.attempt) for f in facts if isinstance(f, AttemptEnded))
        demand(max(started.values(), default=1) == 1, "an attempt is recorded twice")
        demand(max(ended.values(), default=1) == 1, "an end is recorded twice")
        cancelled = {f.task_id for f in facts if isinstance(f, CancelRequested)}
        failed_by_themselves = set()
        for task_id in state.ids:
            status = state.status(task_id)
            demand(status in (TaskStatus.COMPLETED, TaskStatus.FAILED), f"{task_id} stands still: {status}")
            demand(self.told.get(task_id, status) == status, f"{task_id} was told to be another than {status}")
            demand((task_id in self.done) == (status is TaskStatus.COMPLETED), f"{task_id} is {status}")
            if status is TaskStatus.FAILED and state.explain(task_id).reason is not Reason.DEPENDENCY:
                failed_by_themselves.add(task_id)
        for task_id in cancelled:
            demand(state.has_ended(task_id), f"{task_id} was cancelled and has not ended")
        for task_id, task in self.tasks.items():
            fell = any(state.status(name) is TaskStatus.FAILED for name in task.dependencies)
            if task_id not in failed_by_themselves:
                demand(fell == (state.status(task_id) is TaskStatus.FAILED), f"{task_id} did not fall with its root")
        self.counts["completed"] += sum(status is TaskStatus.COMPLETED for status in state.statuses().values())
        self.counts["journal calls"] += self.journal.n_calls
        self.hash = self.log.hexdigest()


def play_live(seed):
    """One seed; where its journal is short, with a death at each of its writes and syncs too. Answers the histories."""
    histories = [LiveHistory(seed).play()]
    quiet = LiveHistory(seed, crash_at=(0, "")).play()
    histories.append(quiet)
    if quiet.journal.n_calls <= SHORT:
        for call in range(1, quiet.journal.n_calls + 1):
            for when in ("before", "amid", "after"):
                for power in (False, True):
                    histories.append(LiveHistory(seed, (call, when), power).play())
    return histories
