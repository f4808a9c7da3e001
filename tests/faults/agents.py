"""Agents that are killed, and agents that are stopped for longer than their lease, while tasks run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from fastsched import Policy, Scheduler, Task, Worker
from fastsched.engines.local import LocalEngine
from fastsched.events import AttemptCompleted, AttemptEnded, AttemptStarted, WorkerJoined, WorkerLost
from fastsched.runtime.view import PastRun

from .evidence import Evidence, agents_of

N_WORKERS = 4


def graph(evidence: Evidence, n: int, seconds: float) -> list[Task]:
    """n commands, of which each depends on one some thirty before it."""
    return [
        Task(f"t{i}", evidence.command(i, seconds), [f"t{i - 31}"] if i >= 31 else [], duration=seconds)
        for i in range(n)
    ]


class Watch:
    """Notes when workers join and are lost, and what completed."""

    def __init__(self) -> None:
        self.up: dict[str, float] = {}
        self.lost_at: dict[str, list[float]] = {}
        self.completed: Counter[str] = Counter()
        self.by: dict[str, tuple[str, int]] = {}  # worker -> what it started last
        self.attempts: set[tuple[str, int]] = set()  # that completed

    def __call__(self, event: Any) -> None:
        now = time.monotonic()
        if isinstance(event, WorkerJoined):
            self.up[event.worker_id] = now
        elif isinstance(event, WorkerLost):
            self.up.pop(event.worker_id, None)
            self.lost_at.setdefault(event.worker_id, []).append(now)
        elif isinstance(event, AttemptStarted):
            self.by[event.worker_id] = (event.task_id, event.attempt)
        elif isinstance(event, AttemptCompleted):
            self.completed[event.task_id] += 1
            self.attempts.add((event.task_id, event.attempt))


def kill_agents(folder: Path, kills: int, n: int, seed: int) -> dict[str, Any]:
    """kill -9 of random agents while n tasks run. What the commands, the journal and the clock say of it."""
    rng, watch, evidence = random.Random(seed), Watch(), Evidence(folder / "evidence")
    delays: list[float] = []
    seen, in_the_midst = 0, False
    workers = [Worker(f"w{i}", 2, 1024) for i in range(N_WORKERS)]
    # Nobody's command is to blame for so many losses.
    policy = Policy(max_losses=kills)
    with Scheduler(
        workers, journal=folder / "run", env=evidence.env, on_event=watch, lease=5.0, policy=policy
    ) as scheduler:
        n_tasks = 0

        def feed(least: int) -> None:
            """More to do: the run goes on until the last kill, however long agents take to come up."""
            nonlocal n_tasks
            if n_tasks < n or scheduler.snapshot().pending < least:
                more = graph(evidence, n_tasks + max(n - n_tasks, least), 0.02)[n_tasks:]
                n_tasks += len(scheduler.submit_all(more))

        feed(0)
        for i in range(kills):
            victim, pid = "", 0
            while not victim or watch.completed.total() < 0.6 * n * i / kills:  # spread over the run
                feed(64)
                agents = agents_of(os.getpid())
                ready = sorted(worker_id for worker_id in list(watch.up) if worker_id in agents)
                victim = rng.choice(ready) if ready else ""
                pid = agents[victim] if ready else 0
                time.sleep(0.002)
            time.sleep(rng.uniform(0.0, 0.02))
            if i % 8 == 0:
                seen = max(seen, len(evidence.survivors()))  # what is looked for in the end can be seen
            before = len(watch.lost_at.get(victim, []))
            in_the_midst = not scheduler._loop.state.done
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            while len(watch.lost_at.get(victim, [])) == before and time.monotonic() < killed + 10:
                time.sleep(0.001)
            delays.append(watch.lost_at[victim][before] - killed if len(watch.lost_at[victim]) > before else 10.0)
    delays.sort()
    result = PastRun(folder / "run").result()
    recorded = Counter(attempt.task_id for attempt in result.attempts if attempt.reason is None)
    said = evidence.count()
    return {
        "agents killed": kills,
        "while the run went on": in_the_midst,
        "tasks": n_tasks,
        "lost": sum(status != "COMPLETED" for status in result.values()) + sum(not said["end"][t] for t in result),
        "recorded twice": sum(times > 1 for times in [*recorded.values(), *watch.completed.values()]),
        "overlapping attempts": sum(said["overlap"].values()),
        "survivors": len(evidence.survivors()),
        "processes seen at once": seen,
        "detected after, s, 99th percentile": round(delays[int(len(delays) * 0.99)], 4),
    }


class LateEngine(LocalEngine):
    """A local engine to which agents that are given up still say what they have to say, after their loss.

    What a stopped agent has to say is real: it is let go on first, and says it; but it is read when its worker is lost.
    """

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.late: list[AttemptEnded] = []  # to be said when their worker's loss has been
        self.said: list[AttemptEnded] = []

    def lose(self, worker_id: str, message: str) -> None:
        """Let it go on for a moment, and keep what it says."""
        host = self.hosts.get(worker_id)
        if host is None or host.loss:
            return
        os.kill(host.pid, signal.SIGCONT)
        had = len(self.pending)
        until = time.monotonic() + 2.0
        while time.monotonic() < until and not any(isinstance(r, AttemptEnded) for r in self.pending[had:]):
            time.sleep(0.01)
            self._read(host)
        self.late += [report for report in self.pending[had:] if isinstance(report, AttemptEnded)]
        del self.pending[had:]
        super().lose(worker_id, message)

    def wait_reports(self, timeout_s: float) -> list[Any]:
        """The loss, and after it what is late."""
        reports: list[Any] = super().wait_reports(timeout_s)
        lost = {(r.worker_id, r.incarnation) for r in reports if isinstance(r, WorkerLost)}
        now = [report for report in self.late if (report.worker_id, report.incarnation) in lost]
        self.late = [report for report in self.late if report not in now]
        self.said += now
        return reports + now


def stop_agents(folder: Path, stops: int, seed: int) -> dict[str, Any]:
    """SIGSTOP of agents past their lease, so that what they ran is tried again; then they say how it ended."""
    rng, watch, evidence = random.Random(seed), Watch(), Evidence(folder / "evidence")
    engine = LateEngine(env=evidence.env)
    workers = [Worker(f"w{i}", 1, 1024) for i in range(2)]
    n = stopped = 0
    with Scheduler(
        workers, engine=engine, journal=folder / "run", on_event=watch, heartbeat=0.05, lease=0.4
    ) as scheduler:
        while stopped < stops and n < 10 * stops:
            (handle,) = scheduler.submit_all([Task(f"t{n}", evidence.command(1, 0.1), duration=0.1)])
            while True:
                victim = [worker_id for worker_id, (task_id, _) in list(watch.by.items()) if task_id == f"t{n}"]
                if victim and f"start t{n} 1" in evidence.lines.read_text():
                    break
                time.sleep(0.002)
            time.sleep(rng.uniform(0.0, 0.02))
            agent = agents_of(os.getpid())[victim[0]]
            os.kill(agent, signal.SIGSTOP)
            n += 1
            if handle.result(30).attempt > 1:
                stopped += 1
            else:  # too late, on a machine that was busy: it had ended by then
                with contextlib.suppress(ProcessLookupError):
                    os.kill(agent, signal.SIGCONT)
    accepted = [report for report in engine.said if (report.task_id, report.attempt) in watch.attempts]
    return {
        "agents stopped": stopped,
        "stale reports": len(engine.said),
        "rejected": len(engine.said) - len(accepted),
        "lost": n - len(watch.completed),
        "told twice": sum(times > 1 for times in watch.completed.values()),
        "overlapping attempts": sum(evidence.count()["overlap"].values()),
        "survivors": len(evidence.survivors()),
    }
