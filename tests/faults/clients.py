"""Clients that submit at the same time, from threads and from an event loop, while workers come and go."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from fastsched import Scheduler, Task, Worker
from fastsched.events import AttemptCompleted, AttemptStarted, Event, TasksSubmitted, WorkerJoined, WorkerLeft
from fastsched.runtime.handles import Handle

CORES = 4


def submit_from_everywhere(folder: Path, n: int, seed: int) -> dict[str, Any]:
    """Two threads and a coroutine submit n commands each into one scheduler; what each of them was told."""
    rng = random.Random(seed)
    resolved: Counter[str] = Counter()
    streams: dict[str, list[Event]] = {}
    with Scheduler(
        [Worker("stays", CORES, 1024)], journal=folder / "run", capture=False, heartbeat=0.2, grace=0.5
    ) as scheduler:
        streams["thread"] = []
        streams["coroutine"] = []
        listening, aio = scheduler.events(), scheduler.events()
        listener = threading.Thread(target=lambda: streams["thread"].extend(listening))
        listener.start()

        def submit(name: str) -> None:
            handles: list[Handle] = []
            for at in range(0, n, 500):
                handles += scheduler.submit_all(tasks(name, at, min(n, at + 500)))
            for handle in as_completed(handles):
                resolved[name] += handle.result().exit_code == 0

        async def submit_async() -> None:
            async def listen() -> None:
                async for event in aio:
                    streams["coroutine"].append(event)

            async def await_one(handle: Handle) -> None:
                attempt = await handle
                resolved["coroutine"] += attempt.exit_code == 0

            listens = asyncio.create_task(listen())
            waits: list[asyncio.Task[None]] = []
            for at in range(0, n, 500):
                given = await asyncio.to_thread(scheduler.submit_all, tasks("coroutine", at, min(n, at + 500)))
                waits += [asyncio.create_task(await_one(handle)) for handle in given]
            await asyncio.gather(*waits)
            aio.close()
            listens.cancel()

        clients = [threading.Thread(target=submit, args=(name,)) for name in ("first", "second")]
        clients.append(threading.Thread(target=lambda: asyncio.run(submit_async())))
        for client in clients:
            client.start()
        changes = 0
        while any(client.is_alive() for client in clients):
            there = [worker.worker_id for worker in scheduler.workers() if worker.worker_id != "stays"]
            changes += 1
            if len(there) < 2:
                scheduler.add_worker(Worker(f"w{changes}", CORES, 1024))
            else:
                with contextlib.suppress(KeyError):  # one that was drained may have left meanwhile
                    rng.choice([scheduler.drain_worker, scheduler.remove_worker])(rng.choice(there))
            clients[0].join(rng.uniform(0.05, 0.3))
        for client in clients:
            client.join()
    listener.join()
    told = streams["thread"]
    return {
        "clients": 3,
        "handles": 3 * n,
        "resolved": sum(resolved.values()),  # with exit code 0
        "workers joined": sum(isinstance(event, WorkerJoined) for event in told),
        "workers left": sum(isinstance(event, WorkerLeft) for event in told),
        "events": len(told),
        "out of order": disorder(told),
        "told twice": sum(
            times > 1 for times in Counter(e.task_id for e in told if isinstance(e, AttemptCompleted)).values()
        ),
        "acknowledged": 3 * n,
        "kept": len({e.task_id for e in told if isinstance(e, AttemptCompleted)}),
        "streams differ": streams["coroutine"] != told[: len(streams["coroutine"])],
    }


def tasks(name: str, start: int, stop: int) -> list[Task]:
    """Commands of one client; every second one depends on the one before it."""
    return [
        Task(f"{name}-{i}", ["/bin/true"], [f"{name}-{i - 1}"] if i % 2 else [], duration=0.001)
        for i in range(start, stop)
    ]


def disorder(told: list[Event]) -> int:
    """How many events came before one that they follow from, or at an earlier time than the one before."""
    submitted: set[str] = set()
    open_: dict[str, int] = {}
    done: set[str] = set()
    last = wrong = 0
    for event in told:
        at = getattr(event, "at_ns", last)
        wrong += at < last
        last = max(last, at)
        if isinstance(event, TasksSubmitted):
            submitted |= {task.task_id for task in event.tasks}
        elif isinstance(event, AttemptStarted):
            client, _, number = event.task_id.rpartition("-")
            needs = f"{client}-{int(number) - 1}" if int(number) % 2 else None
            wrong += (
                event.task_id not in submitted or event.task_id in done or (needs is not None and needs not in done)
            )
            open_[event.task_id] = event.attempt
        elif isinstance(event, AttemptCompleted):
            wrong += open_.pop(event.task_id, None) != event.attempt
            done.add(event.task_id)
    return wrong
