"""The scheduler as an object, and `run()`: what programs hold of a live run.

A `Scheduler` has a loop in a thread of its own, and everything that a client calls is asked of it, so it can be used
from any thread. `run()` is the same loop in the calling thread, for one graph and to its end.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any

from ..engines.base import Engine, Levels
from ..engines.local import OUTPUT_CAP_MB
from ..explain import Explanation
from ..following import read_guide
from ..graph import CompiledGraph, WorkerTable
from ..guide import Guide
from ..history import Measurements
from ..model import RESERVED_RESOURCES, Task, TaskStatus, Worker
from ..optimize import Optimize
from ..plan import Plan, Schedule
from ..planner import check_history
from ..policy import Policy
from ..state import Snapshot
from .handles import Events, Handle, Handles
from .log import logger
from .loop import Loop, Rhythm
from .session import Session, Settings, budget_of
from .teller import OnEvent, Teller

__all__ = ["Scheduler"]

Path = str | os.PathLike[str]


class Scheduler:
    """Runs tasks that clients submit, on workers that join and leave, until it is closed.

    >>> with Scheduler() as scheduler:
    ...     hello = scheduler.submit(Task("hello", "echo hello"))
    ...     after = scheduler.submit(Task("after", "echo after", ["hello"]))
    ...     after.result().exit_code
    0

    It begins at once, and ends with `close()` or at the end of a `with` or `async with`, when all that was submitted
    has ended; after an exception, at once. Every method may be called from any thread.

    Args:
        workers: `Worker` objects or mappings. None: those of the engine; of "local", one with this machine's cores and
            memory; else those that it has at any time.
        engine: what carries orders to workers: "local", an agent process for each on this machine; "dask" and "ray", a
            cluster on this machine; "dask://HOST:PORT", "dask:///PATH/TO/scheduler.json" and "ray://HOST:PORT", one
            that is there; or an `Engine`, such as `fastsched.engines.dask.DaskEngine(client)`.
        journal: a folder, made if need be, in which everything that happens is kept. Where one is there already, its
            run is taken up where it ended: what completed is not run again. The settings are those of the journal then,
            and, unless `workers` are given, its workers. None: nothing is kept.
        accept_damage: take up a damaged journal with what is whole of it; the rest is kept aside in its folder.
        run_dir: the folder for the outputs of commands. None: that of the journal, or a new one in `.fastsched/runs`.
        capture: whether outputs are kept.
        max_retries, rank, fit, policy: as in `schedule()`; the rank of a task is that among those submitted with it,
            and none is made by planning. "auto": the pair by which the tasks that are there at first would be done
            soonest, on the workers that are there, if all took as long as is expected; the journal has that pair.
        on_event: called with every event (see `fastsched.events`), in order, by a thread of the scheduler's own.
        notify: a command for the shell, run when a task has failed for good, and when the scheduler is closed, with
            FASTSCHED_EVENT (failed, ended), FASTSCHED_FAILURES (how many so far), FASTSCHED_TASK_ID, FASTSCHED_REASON,
            and FASTSCHED_TASK_IDS: what has failed since it was run last, a line each, for it is run one at a time.
        cwd: the working directory of the commands; None: this process's own.
        env: the environment of the commands, to which FASTSCHED_TASK_ID, _ATTEMPT, _WORKER, _CPUS and
            _MEMORY_MB are added; None: this process's own.
        heartbeat: seconds between an agent's signs of life.
        lease: a worker that is silent for longer is lost: it and its commands are killed, it is brought up
            again, and its tasks are retried, at no charge to `max_retries`.
        grace: seconds between asking a command to end (SIGTERM) and killing it. All three are at most 1,000,000.
        timeout: seconds that an attempt may take, where its task does not say so itself; None: any.
        name: what a person calls the run.
        containment: how the processes of a command are held together: "namespace", "session", or "auto": namespaces
            where they can be had without what they take away; `levels()` says what is in force.
        output_cap_mb: what is kept of the stdout and of the stderr of an attempt at most: its beginning and its end.
            This and `containment` are for an engine that is named.
        history: what earlier runs measured, a `History`: durations for the tasks that name none.
        plan: what `schedule()` has answered for these tasks, its `.plan`, or what `load_plan()` has read, which is
            followed: ready tasks start in its order (after their priority), each on the worker that it has for it while
            there is room for it there, else where `fit` says; tasks that it does not have go after those that it has,
            by `rank`. No task waits while a worker has room for it, but those that the plan itself lets wait, until
            their time.
        replan: when it is going to be over later than planned by more than this share of the time that the plan takes,
            what is left is planned anew, beside the run; None: never.
        optimize: what may be spent on a search for shorter plans: seconds, or an `Optimize`. Nothing waits for it: it
            looks, beside the run, for a plan of what was submitted, which goes by `rank` meanwhile, and of what is left
            where that is planned anew; for less than a second at a time, on one thread. Not together with `plan`.

    Raises:
        ValidationError: naming every problem of the workers. ValueError: for a setting out of its bounds.
        JournalLocked: where another scheduler holds the journal. JournalDamaged: where it cannot be read to its end.
        OSError: where this system cannot run commands.
    """

    def __init__(
        self,
        workers: Iterable[Worker | Mapping[str, Any]] | None = None,
        *,
        engine: str | Engine = "local",
        journal: Path | None = None,
        accept_damage: bool = False,
        run_dir: Path | None = None,
        capture: bool = True,
        max_retries: int = 3,
        rank: str = "critical-path",
        fit: str = "most-free",
        policy: Policy | None = None,
        on_event: OnEvent | None = None,
        notify: str | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        heartbeat: float = 1.0,
        lease: float = 10.0,
        grace: float = 5.0,
        timeout: float | None = None,
        name: str = "",
        containment: str = "auto",
        output_cap_mb: int = OUTPUT_CAP_MB,
        history: Measurements | None = None,
        plan: Schedule | Plan | Guide | None = None,
        replan: float | None = 0.2,
        optimize: float | Optimize | None = None,
    ) -> None:
        settings = Settings(
            engine=engine,
            journal=journal,
            accept_damage=accept_damage,
            run_dir=run_dir,
            capture=capture,
            max_retries=max_retries,
            rank=rank,
            fit=fit,
            policy=policy or Policy(),
            cwd=cwd,
            env=env,
            rhythm=Rhythm(heartbeat, lease, grace),
            timeout=timeout,
            name=name,
            containment=containment,
            output_cap_mb=output_cap_mb,
            plan=None if plan is None else read_guide(plan),
            replan=replan,
            optimize=budget_of(plan, optimize),
        )
        check_history(history)
        graph = CompiledGraph([])
        table = None if workers is None else WorkerTable(workers, graph.resources)
        self._session = Session(settings, graph, table, forget=True)
        self._loop: Loop = self._session.open(self._put)
        state = self._loop.state
        self._teller = Teller(state.index_of, self._loop.ledger.attempts, self._make_handle, on_event, notify)
        self._teller.remember(self._session.history)
        self._session.history.clear()
        self._history = history
        self._closing = False
        self._failure: BaseException | None = None
        self._teller.start()
        self._thread = threading.Thread(target=self._serve, name="fastsched-loop", daemon=True)
        self._thread.start()
        self._at_exit = partial(stop_at_exit, weakref.ref(self))
        atexit.register(self._at_exit)

    # ------------------------------------------------------------ tasks

    def submit(self, task: Task | Mapping[str, Any]) -> Handle:
        """Add a task, which may depend on any that was submitted before.

        Returns:
            Its handle, a `concurrent.futures.Future` of its last `Attempt`.

        Raises:
            ValidationError: naming every problem with it. ClosedError: after `close()`.
        """
        (handle,) = self.submit_all([task])
        return handle

    def submit_all(self, tasks: Iterable[Task | Mapping[str, Any]]) -> Handles:
        """Add tasks that may depend on each other: all, or where anything is wrong with them, none.

        Returns:
            Their handles, in the order of the tasks.

        Raises:
            ValidationError: naming every problem with them. ClosedError: after `close()`.
        """
        given = self._session.check(tasks)
        indices = self._loop.submit(given if self._history is None else self._history.filled(given), given)
        return Handles(self._loop.state.ids[indices.start : indices.stop], self._teller.handle)

    def handle(self, task_id: str) -> Handle:
        """The handle of a task that was submitted by anybody. Raises KeyError for an id that is not known."""
        self._loop.state.index_of(task_id)
        return self._teller.handle(task_id)

    def cancel(self, task_id: str) -> bool:
        """Cancel a task: what waits at once, what runs by ending its command. False where it had ended already.

        Raises KeyError for an id that is not known.
        """
        return self._loop.ask(lambda now: self._loop.cancel(task_id, now))

    def status(self, task_id: str) -> TaskStatus:
        """Where a task stands. Raises KeyError for an id that is not known."""
        return self._loop.ask(lambda _: self._loop.state.status(task_id), reads=True)

    def statuses(self) -> dict[str, TaskStatus]:
        """Where every task stands, in the order of their submission."""
        return self._loop.ask(lambda _: self._loop.state.statuses(), reads=True)

    def snapshot(self) -> Snapshot:
        """How many tasks stand where."""
        return self._loop.ask(lambda _: self._loop.state.snapshot(), reads=True)

    def explain(self, task_id: str) -> Explanation:
        """Why a task waits, or what became of it: `.text` in words, the rest as data. Raises KeyError."""
        return self._loop.ask(lambda _: self._loop.explain(task_id), reads=True)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all that was submitted has ended; False where the time (seconds) was over before.

        Not to be called by `on_event` and the like: RuntimeError, for whoever tells cannot wait to be told.
        """
        if threading.current_thread() is self._teller.thread:
            raise RuntimeError("wait() was called in a callback, which everything that is told would wait for")
        ended: Future[None] = Future()
        told = threading.Event()
        # When the last event has been told too: then every handle is done.
        ended.add_done_callback(lambda _: self._teller.call(told.set))
        self._loop.request(lambda _: self._loop.when_done(ended), reads=True).result()
        if not told.wait(timeout):
            ended.cancel()
            return False
        ended.result()
        return True

    # ------------------------------------------------------------ the run

    def pause(self) -> None:
        """Start nothing more for now; what runs goes on."""
        self._loop.ask(lambda _: self._set_paused(True), reads=True)

    def resume_dispatch(self) -> None:
        """Start tasks again, after `pause()`."""
        self._loop.ask(lambda _: self._set_paused(False), reads=True)

    def add_worker(self, worker: Worker | Mapping[str, Any]) -> None:
        """Bring up a worker. Raises ValidationError; ValueError where one of this id is there."""
        (checked,) = WorkerTable([worker], RESERVED_RESOURCES).workers
        self._loop.ask(lambda now: self._loop.add_worker(checked, now))

    def drain_worker(self, worker_id: str) -> None:
        """Give a worker nothing more; when what it runs has ended, it goes.

        Raises KeyError for one that is not there, or has left.
        """
        self._loop.ask(lambda now: self._loop.drain_worker(worker_id, now))

    def remove_worker(self, worker_id: str) -> None:
        """Stop what a worker runs, at no charge to it, and let the worker go. Raises KeyError."""
        self._loop.ask(lambda now: self._loop.remove_worker(worker_id, now))

    def workers(self) -> list[Worker]:
        """The workers that are there."""
        return self._loop.ask(lambda _: self._loop.workers(), reads=True)

    def levels(self) -> Levels:
        """How strongly the engine holds what it runs."""
        return self._loop.engine.levels()

    def events(self) -> Events:
        """Everything that happens from now on: an iterator, for `for` and for `async for`, that ends with `close()`."""
        return self._teller.subscribe()

    @property
    def run_dir(self) -> str | None:
        """The folder of outputs and journal; None: there is none."""
        return self._session.folder

    # ------------------------------------------------------------ its end

    def close(self, *, wait: bool = True) -> None:
        """End: when all that was submitted has ended; or, where `wait` is false, at once, stopping what runs.

        From now on no other workers are expected to come: a task that none of those that are there could hold fails
        as UNSATISFIABLE, in place of waiting for ever; and a pause is over. A run with a journal that is ended at once
        can be taken up again.
        """
        if wait:
            self._loop.request(self._finish)  # where it has ended, there is nobody to be told
        else:
            self._loop.interrupt()
        self._closing = True
        atexit.unregister(self._at_exit)
        self._loop.engine.wake()
        if threading.current_thread() not in (self._thread, self._teller.thread):
            self._thread.join()
            if self._failure is not None:
                raise self._failure

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close(wait=kind is None)
        except KeyboardInterrupt:
            self.close(wait=False)
            raise

    async def __aenter__(self) -> Scheduler:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        try:
            await asyncio.to_thread(self.close, wait=kind is None)
        except asyncio.CancelledError:
            await asyncio.to_thread(self.close, wait=False)
            raise

    def _serve(self) -> None:
        """What the loop's thread does."""
        try:
            self._loop.serve(lambda: self._closing and self._loop.state.done)
        except BaseException as error:
            logger.exception("the scheduler ended by an error")
            self._failure = self._teller.failure = error
        try:
            self._teller.stop()
            self._session.close()
        except BaseException as error:
            logger.exception("the scheduler could not be closed in good order")
            self._failure = self._failure or error

    def _finish(self, now: int) -> None:
        """No other workers will come, and nobody is left who would end a pause."""
        self._set_paused(False)
        self._loop.settle(now)

    def _put(self, events: Any) -> None:
        self._teller.put(events)

    def _set_paused(self, paused: bool) -> None:
        self._loop.pause(paused)

    def _make_handle(self, task_id: str) -> Handle:
        return Handle(task_id, self.cancel, self.status)

    def __repr__(self) -> str:
        n_left = "closed" if self._closing else repr(self.snapshot())
        return f"<Scheduler: {n_left}>"


def stop_at_exit(held: weakref.ref[Scheduler]) -> None:
    """A program ends and has not closed its scheduler: what runs is stopped in good order, and that is said."""
    scheduler = held()
    if scheduler is not None and scheduler._thread.is_alive():
        n_left = scheduler._loop.state.n_left
        if n_left:
            text = f"fastsched: a Scheduler was not closed: {n_left} of its tasks had not ended, and are not run"
            print(f"{text}; use `with`, or close()", file=sys.stderr)
        scheduler.close(wait=False)
