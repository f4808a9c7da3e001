"""What must be so, in plain dictionaries made of facts and events alone; the core is not asked how it came to them."""

from __future__ import annotations

from types import SimpleNamespace as Record

from fastsched import Reason, Task, Worker
from fastsched.events import (
    AttemptCompleted,
    AttemptEnded,
    AttemptFailed,
    AttemptStarted,
    PlanAdopted,
    RoomReserved,
    TaskCancelled,
    TaskFailed,
    TaskOvertaken,
    TaskPromised,
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
    WorkerTrusted,
)
from fastsched.guide import Route

NS = 10**9
OUT_OF_NOWHERE = (WorkerOnProbation, TaskUnsatisfiable)  # what time alone may bring


class Violation(AssertionError):
    """Something happened that must not."""


def demand(holds: object, message: str) -> None:
    if not holds:
        raise Violation(message)


def amounts(thing: Task | Worker) -> dict[str, int]:
    """Cores in thousandths, memory, and the named resources."""
    if isinstance(thing, Task):
        cores, memory = thing.cpu_cores_required, thing.memory_required_mb
    else:
        cores, memory = thing.cpu_cores_available, thing.memory_available_mb
    return {"cores": round(cores * 1000), "memory": memory, **(thing.resources or {})}


def fits(needed: dict[str, int], room: dict[str, int]) -> bool:
    return all(room.get(name, 0) >= need for name, need in needed.items())


class Ghost:
    """Told every fact with the events that it brought; raises Violation."""

    def __init__(self, max_retries: int, policy) -> None:
        self.max_retries, self.policy = max_retries, policy
        self.tasks: dict[str, Record] = {}
        self.workers: dict[str, Record] = {}
        self.kept: str | None = None  # the worker on which room is kept
        self.holds_made = self.holds_freed = 0

    # ---------------------------------------------------------------- facts

    def expect(self, worker: Worker) -> None:
        """A worker that is known from the start and has not joined."""
        self.workers[worker.worker_id] = Record(
            room=amounts(worker), live=False, draining=False, expected=True, incarnation=0, trust="trusted"
        )

    def told(self, fact, events, now: int) -> None:
        """A fact was absorbed and these events came of it."""
        own = [event for event in events if not isinstance(event, OUT_OF_NOWHERE)]
        if isinstance(fact, AttemptEnded):
            self._ended(fact, own)
        elif isinstance(fact, TasksSubmitted):
            for task in fact.tasks:
                retries = self.max_retries if task.max_retries is None else task.max_retries
                self.tasks[task.task_id] = Record(
                    deps=tuple(task.dependencies), needs=amounts(task), retries=retries, status="PENDING", open=None,
                    promised=None, attempts=0, own=0, ooms=0, losses=0, failed_on=[], asleep_until=-1,
                    held_until=0,
                )  # fmt: skip
        elif isinstance(fact, TaskCancelled):
            self._cancelled(fact, own)
        elif isinstance(fact, TaskReturned):
            self._returned(fact, own)
        elif isinstance(fact, PlanAdopted):
            self.kept = None
            route, names = Route.of_fact(fact), list(self.tasks)
            told = [event.n_tasks for event in own]
            demand(told == ([] if fact.is_loosened else [len(route)]), f"a plan brought {own}")
            for task in self.tasks.values():
                task.held_until = 0
            for task, until in zip(route.tasks.tolist(), route.not_before.tolist()):
                self.tasks[names[task]].held_until = until
        elif isinstance(fact, WorkerJoined) and fact.worker is not None and fact.worker_id not in self.workers:
            self.expect(fact.worker)
        if isinstance(fact, (WorkerExpected, WorkerJoined, WorkerDraining, WorkerLeft, WorkerLost, WorkerResized)):
            self._worker(fact, own)
        for event in events:
            self._follow(event, now)
        self._check_failed_set()

    def decided(self, events, now: int) -> None:
        """A decision was made."""
        for event in events:
            if isinstance(event, RoomReserved):
                self.kept = event.worker_id
            elif isinstance(event, AttemptStarted):
                self._started(event)
            elif not isinstance(event, TaskOvertaken):
                demand(isinstance(event, OUT_OF_NOWHERE), f"a decision brought {event}")
                self._follow(event, now)
        self._check_work_conservation(now)

    def promised(self, facts: list[TaskPromised]) -> None:
        """Choices were made of what is to follow what runs."""
        for fact in facts:
            task, before = self.tasks[fact.task_id], self.tasks[fact.after_id]
            demand(task.status == "PENDING" and not task.promised, f"{fact}: it was {task.status}")
            demand(not task.attempts, f"{fact}: it was tried before")
            demand(task.needs == before.needs, f"{fact}: it needs something else")
            there = before.open or before.promised
            demand(there and there[0] == fact.worker_id, f"{fact}: the other one is not there")
            demand(not self.following(fact.after_id), f"{fact}: another one follows it")
            demand(self.usable(self.workers[fact.worker_id]), f"{fact}: the worker takes nothing")
            demand(self.policy.reserve_after is None, f"{fact}: room may be kept for others")
            task.promised = (fact.worker_id, fact.after_id)

    def _start_promised(self, event: AttemptStarted) -> None:
        """What follows an attempt that has ended has started in its place."""
        task, worker = self.tasks[event.task_id], self.workers[event.worker_id]
        demand(task.promised and task.promised[0] == event.worker_id, f"{event}: it was not promised")
        demand(not self.tasks[task.promised[1]].open or not worker.live, f"{event}: the one before it runs")
        demand(event.attempt == 1 and task.status == "PENDING", f"{event}: it was {task.status}")
        task.promised = None
        task.status, task.open, task.attempts = "RUNNING", (event.worker_id, worker.incarnation), 1
        self.holds_made += 1

    def _returned(self, fact: TaskReturned, events) -> None:
        task = self.tasks[fact.task_id]
        if task.promised and fact.incarnation == self.workers[fact.worker_id].incarnation:
            following = self.following(fact.task_id)
            if following:
                self.tasks[following].promised = (fact.worker_id, None)
            self._forget_promise(task)
        else:
            demand(not events, f"a stale return had an effect: {fact} brought {events}")

    def _forget_promise(self, task: Record) -> None:
        worker_id, _ = task.promised
        task.promised = None
        self._leave_if_drained(worker_id)

    def _started(self, event: AttemptStarted) -> None:
        task, worker = self.tasks[event.task_id], self.workers[event.worker_id]
        demand(task.status == "PENDING" and task.open is None, f"{event}: it was {task.status}")
        demand(event.attempt == task.attempts + 1, f"{event}: {task.attempts} attempts before it")
        done = all(self.tasks[name].status == "COMPLETED" for name in task.deps)
        demand(done, f"{event}: a dependency has not completed")
        demand(self.usable(worker), f"{event}: the worker takes nothing")
        busy = self.running_on(event.worker_id)
        demand(worker.trust == "trusted" or not busy, f"{event}: the worker is on probation")
        demand(fits(task.needs, self.room(event.worker_id)), f"{event}: there is no room")
        if event.worker_id in task.failed_on:
            demand(not self.others(task), f"{event}: it failed there, and others could hold it")
        task.status, task.open, task.attempts = "RUNNING", (event.worker_id, worker.incarnation), event.attempt
        self.holds_made += 1

    def _ended(self, fact: AttemptEnded, events) -> None:
        task = self.tasks[fact.task_id]
        incarnation = self.workers[fact.worker_id].incarnation if fact.incarnation is None else fact.incarnation
        counts = task.open == (fact.worker_id, incarnation) and task.attempts == fact.attempt
        if not counts:
            demand(not events, f"a stale report had an effect: {fact} brought {events}")
            return
        demand(events, f"a report was lost: {fact}")
        head = events[0]
        if fact.reason is None:
            demand(isinstance(head, AttemptCompleted), f"{fact} brought {head}")
            task.status = "COMPLETED"
            self._free(task)
        else:
            demand(isinstance(head, AttemptFailed) and head.reason is fact.reason, f"{fact} brought {head}")
        following = self.following(fact.task_id)
        started = [event.task_id for event in events if isinstance(event, AttemptStarted)]
        demand(started == ([following] if following else []), f"{fact}: {following} follows it, {started} started")

    def _follow(self, event, now: int) -> None:
        """What an event means for the record."""
        if isinstance(event, AttemptStarted):
            if not self.tasks[event.task_id].open:  # else it was lost at once
                self._start_promised(event)
        elif isinstance(event, AttemptFailed):
            self._failed(event, now)
        elif isinstance(event, TaskFailed):
            task = self.tasks[event.task_id]
            demand(task.open is None and task.status in ("PENDING", "GIVEN UP"), f"{event}: it was {task.status}")
            if event.reason is Reason.DEPENDENCY:
                cause = self.tasks[event.cause_id]
                demand(cause.status == "FAILED" and not cause.skipped, f"{event}: the cause did not fail by itself")
                demand(self._descends(event.task_id, event.cause_id), f"{event}: it does not depend on the cause")
            task.status, task.skipped = "FAILED", event.reason is Reason.DEPENDENCY
        elif isinstance(event, WorkerQuarantined):
            self.workers[event.worker_id].trust = "quarantined"
            demand(any(map(self.usable, self.workers.values())), f"{event}: nobody is left")
        elif isinstance(event, WorkerOnProbation):
            self.workers[event.worker_id].trust = "probation"
        elif isinstance(event, WorkerTrusted):
            self.workers[event.worker_id].trust = "trusted"

    def _failed(self, event: AttemptFailed, now: int) -> None:
        task = self.tasks[event.task_id]
        demand(task.status == "RUNNING" and task.attempts == event.attempt, f"{event}: it was {task.status}")
        demand(task.open[0] == event.worker_id, f"{event}: it ran on {task.open[0]}")
        self._free(task)
        again = True
        if event.reason is Reason.WORKER_LOST:
            task.losses += self.charged
            again = task.losses <= self.policy.max_losses
        elif event.reason is Reason.CANCELLED:
            again = False
            task.failed_on.append(event.worker_id)
        else:
            task.failed_on.append(event.worker_id)
            task.asleep_until = now + round(max(self.policy.backoff, self.policy.backoff_cap) * NS)
            if not self.policy.backoff:
                task.asleep_until = -1
            if event.reason is Reason.OUT_OF_MEMORY:
                task.ooms += 1
                again = task.ooms <= self.policy.max_ooms
                if again:
                    self._grow(task)
            else:
                task.own += 1
                again = task.own <= task.retries
        demand(event.will_retry == again, f"{event}: the budgets say {again}")
        task.status = "PENDING" if again else "GIVEN UP"

    def _grow(self, task: Record) -> None:
        """After out-of-memory: more, at most what a worker in use could give."""
        here = [w.room["memory"] for w in self.workers.values() if self.usable(w) and fits(task.needs, w.room)]
        wanted = -(-task.needs["memory"] * self.policy.oom_growth // 1000)
        task.needs["memory"] = min(wanted, max([task.needs["memory"], *here]))

    def _cancelled(self, fact: TaskCancelled, events) -> None:
        task = self.tasks[fact.task_id]
        if task.promised:
            following = self.following(fact.task_id)
            if following:
                self.tasks[following].promised = task.promised
            self._forget_promise(task)
        if task.status in ("COMPLETED", "FAILED"):
            demand(not events, f"{fact} had an effect on what had ended: {events}")
        else:
            demand(any(isinstance(e, TaskFailed) and e.task_id == fact.task_id for e in events), f"{fact}: {events}")

    def _worker(self, fact, events) -> None:
        worker_id = fact.worker.worker_id if isinstance(fact, (WorkerExpected, WorkerResized)) else fact.worker_id
        worker = self.workers[worker_id]
        self.charged = isinstance(fact, WorkerLost)
        if isinstance(fact, (WorkerExpected, WorkerJoined, WorkerResized)) and fact.worker is not None:
            worker.room = amounts(fact.worker)
        if isinstance(fact, WorkerJoined):
            if not worker.live:
                worker.incarnation += 1
                worker.trust = "trusted"
            worker.live, worker.draining, worker.expected = True, False, False
        elif isinstance(fact, WorkerExpected):
            worker.expected = True
        elif isinstance(fact, WorkerDraining):
            worker.draining = True
        elif not isinstance(fact, WorkerResized):
            worker.live = worker.draining = False
            for event in events:
                if isinstance(event, AttemptStarted):
                    self._start_promised(event)
            for task in self.tasks.values():
                if task.promised and task.promised[0] == worker_id:
                    demand(task.promised[1] is None, f"{fact}: what was promised may have started")
                    task.promised = None
            worker.expected = isinstance(fact, WorkerLost) and fact.will_return
            lost = {task_id for task_id, task in self.tasks.items() if task.open and task.open[0] == worker_id}
            told = {event.task_id for event in events if isinstance(event, AttemptFailed)}
            demand(lost == told, f"{fact}: {lost} ran there, {told} was told")

    def _free(self, task: Record) -> None:
        """The hold of the open attempt is given back; a drained worker that is empty is gone."""
        worker_id = task.open[0]
        task.open = None
        self.holds_freed += 1
        self._leave_if_drained(worker_id)

    def _leave_if_drained(self, worker_id: str) -> None:
        worker = self.workers[worker_id]
        if worker.draining and self.is_idle(worker_id):
            worker.live = worker.draining = False

    # ---------------------------------------------------------------- what is so

    def usable(self, worker: Record) -> bool:
        return worker.live and not worker.draining and worker.trust != "quarantined"

    def running_on(self, worker_id: str) -> list[Record]:
        return [task for task in self.tasks.values() if task.open and task.open[0] == worker_id]

    def is_idle(self, worker_id: str) -> bool:
        promised = any(task.promised and task.promised[0] == worker_id for task in self.tasks.values())
        return not promised and not self.running_on(worker_id)

    def following(self, task_id: str) -> str | None:
        """What is promised to the worker of a task, to start when its attempt has ended."""
        found = [name for name, task in self.tasks.items() if task.promised and task.promised[1] == task_id]
        demand(len(found) <= 1, f"{found} all follow {task_id}")
        return found[0] if found else None

    def room(self, worker_id: str) -> dict[str, int]:
        room = dict(self.workers[worker_id].room)
        for task in self.running_on(worker_id):
            for name, need in task.needs.items():
                room[name] = room.get(name, 0) - need
        return room

    def others(self, task: Record) -> list[str]:
        """Workers on which it did not fail, in use or expected, that could ever hold it."""
        return [
            worker_id
            for worker_id, worker in self.workers.items()
            if worker_id not in task.failed_on
            and (self.usable(worker) or worker.expected)
            and fits(task.needs, worker.room)
        ]

    def _descends(self, task_id: str, root: str) -> bool:
        seen, stack = set(), [task_id]
        while stack:
            for name in self.tasks[stack.pop()].deps:
                if name == root:
                    return True
                if name not in seen:
                    seen.add(name)
                    stack.append(name)
        return False

    def _check_failed_set(self) -> None:
        """What failed is what failed for good, and all that depends on it."""
        for task_id, task in self.tasks.items():
            demand(task.status != "GIVEN UP", f"{task_id} has no retry left, and did not fail")
            under = any(self.tasks[name].status == "FAILED" for name in task.deps)
            demand(not under or task.status == "FAILED", f"{task_id} is {task.status} under a failed task")

    def _check_work_conservation(self, now: int) -> None:
        """No ready task waits while a worker that it may use has room."""
        for task_id, task in self.tasks.items():
            if task.status != "PENDING" or task.promised or task.asleep_until > now:
                continue
            if task.held_until > now and not task.attempts:
                continue
            if any(self.tasks[name].status != "COMPLETED" for name in task.deps):
                continue
            avoided = task.failed_on if self.others(task) else []
            for worker_id, worker in self.workers.items():
                if worker_id == self.kept or worker_id in avoided or not self.usable(worker):
                    continue
                busy = self.running_on(worker_id)
                room = self.room(worker_id)
                if (worker.trust == "probation" and busy) or min(room.values()) < 0:
                    continue
                demand(not fits(task.needs, room), f"{task_id} waits, and {worker_id} has room for it")
