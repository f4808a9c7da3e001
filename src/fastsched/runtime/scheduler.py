"""The loop that runs a graph for real: wait, drain, absorb, decide, send.

It owns the state, and nobody else touches it. It knows an engine only by its protocol, and the
time only by the clock that it is given. `run()` at the end of the page wires it to this machine.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import operator
import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..engines.base import Engine
from ..engines.local import LocalEngine, this_machine
from ..errors import InternalError, RunInterrupted
from ..events import (
    AttemptCompleted,
    AttemptEnded,
    AttemptFailed,
    AttemptStarted,
    Event,
    Report,
    Start,
    TaskFailed,
    TaskUnsatisfiable,
    WorkerHeard,
    WorkerJoined,
    WorkerLost,
    WorkerQuarantined,
    WorkersSettled,
)
from ..graph import CompiledGraph, read_both
from ..model import Reason, Task, Worker, as_float, is_number
from ..names import show_name, show_value
from ..plan import Attempt, Run
from ..planner import FITS, check_choice
from ..policy import Policy
from ..ranks import RANKS
from ..state import State
from .liveness import Liveness

__all__ = ["MAX_SECONDS", "RunLoop", "run"]

logger = logging.getLogger("fastsched")
logger.addHandler(logging.NullHandler())
NS = 1_000_000_000
RUNS = Path(".fastsched") / "runs"  # where runs that name no folder have theirs
MAX_RESTARTS = 3  # of one worker; a worker that is lost more often stays away
MAX_SECONDS = 1_000_000  # for leases and the like: 11 days; what waits for sockets cannot wait for much longer
STARTUP_S = 30.0  # what a worker is given to come up, besides its lease
LONGEST_WAIT_S = 1.0
OnEvent = Callable[[Event], object]


class RunLoop:
    """One run: a state, an engine, a clock, and those who want to be told.

    Args:
        state: what is to be run. engine: what carries it. clock: ns, never going back.
        heartbeat_s: between a worker's signs of life. lease_s: a worker that is silent for longer is lost.
        grace_s: between asking commands to end and killing them, when the run is interrupted.
        run_dir: the folder for the outputs of the attempts.
        on_event: called with every event, in order; what it raises is logged, and the run goes on.
    """

    def __init__(
        self,
        state: State,
        engine: Engine,
        clock: Callable[[], int],
        *,
        heartbeat_s: float,
        lease_s: float,
        grace_s: float,
        run_dir: Path,
        on_event: OnEvent | None = None,
    ) -> None:
        self.state = state
        self.engine = engine
        self.grace_s = grace_s
        self._rhythm = (heartbeat_s, lease_s)
        self.attempts: list[Attempt] = []
        self.interrupted = False
        self._clock = clock
        self._begin = clock()
        self._liveness = Liveness(int(lease_s * NS))
        self._logs = run_dir / "logs"
        self._on_event = on_event
        self._restarts = {worker.worker_id: 0 for worker in state.workers}
        self._coming_up: set[str] = set()
        self._open: dict[tuple[str, int], tuple[int, Start]] = {}
        self._names: dict[str, str] = {}
        self._index = dict(zip(state.ids, range(len(state.ids))))

    def run(self) -> None:
        """Run everything to its end, or until `interrupt` is called."""
        try:
            self._tell(self.state.absorb(WorkersSettled(self._now()), self._now()))
            if not self.state.done:
                self._logs.mkdir(parents=True, exist_ok=True)
                self.engine.open(uuid.uuid4().hex, *self._rhythm)
                for worker in self.state.workers:
                    self._bring_up(worker)
            while not self.state.done and not self.interrupted:
                self._step()
            if not self.state.done:
                self._tell(self.state.cancel_all(self._now()))
        finally:
            self.engine.close(0.0 if self.state.done and not self.interrupted else self.grace_s)

    def interrupt(self) -> None:
        """Stop soon. May be called from a signal handler or from another thread; called twice, it does not wait."""
        if self.interrupted:
            self.grace_s = 0.0
            self.engine.hurry()
        self.interrupted = True
        self.engine.wake()

    def _step(self) -> None:
        """Wait; drain; absorb; decide; send."""
        before = self._now()
        deadlines = [at for at in (self._liveness.next_deadline(), self.state.next_wake()) if at is not None]
        wait_s = (min(deadlines) - before) / NS if deadlines else LONGEST_WAIT_S
        reports = self.engine.wait_reports(min(max(wait_s, 0.0), LONGEST_WAIT_S))
        now = self._now()
        for report in reports:
            self._absorb(report, now)
        # Reports may lie unread while this process was stopped: leases are judged on what was read.
        for worker_id in self._liveness.overdue(before) if not reports else ():
            self._liveness.forget(worker_id)
            self.engine.lose(worker_id, f"it was silent for more than {self._liveness.lease_ns / NS:g} s")
        choices = self.state.decide(now)
        self.engine.send([self._make_order(fact, now) for fact in choices if isinstance(fact, AttemptStarted)])
        self._tell(choices)
        if not (self.state.done or self.state.n_running or self._coming_up or self.state.next_wake() is not None):
            raise InternalError(f"the run stands still with {self.state.snapshot()}")

    def _absorb(self, report: Report, now: int) -> None:
        """Book one report, and tell what it means."""
        if isinstance(report, WorkerHeard):
            self._liveness.hear(report.worker_id, now)
            if report.first:
                self._coming_up.discard(report.worker_id)
                self._tell(self.state.absorb(WorkerJoined(report.worker_id, now), now))
        elif isinstance(report, AttemptEnded):
            self._liveness.hear(report.worker_id, now)
            self._tell(self.state.absorb(report, now))
        else:
            self._liveness.forget(report.worker_id)
            self._coming_up.discard(report.worker_id)
            self._restarts[report.worker_id] += 1
            will_return = self._restarts[report.worker_id] <= MAX_RESTARTS
            self._tell(self.state.absorb(WorkerLost(report.worker_id, report.message, now, will_return), now))
            if will_return:
                self._bring_up(next(w for w in self.state.workers if w.worker_id == report.worker_id))
            else:
                logger.error("worker %s was lost %d times and stays away", report.worker_id, MAX_RESTARTS + 1)
                self._tell(self.state.absorb(WorkersSettled(now), now))

    def _bring_up(self, worker: Worker) -> None:
        """Tell a worker to come up, which may take longer than a lease."""
        self.engine.bring_up(worker, self.state.incarnation(worker.worker_id) + 1)
        self._coming_up.add(worker.worker_id)
        self._liveness.hear(worker.worker_id, self._now() + int(STARTUP_S * NS))

    def _make_order(self, fact: AttemptStarted, now: int) -> Start:
        """The order that carries a choice out."""
        task = self.state.tasks[self._index[fact.task_id]]
        stem = str(self._logs / f"{self._file_name(fact.task_id)}.{fact.attempt}")
        stdout, stderr = stem + ".out", stem + ".err"
        order = Start(
            fact.task_id,
            fact.worker_id,
            fact.attempt,
            self.state.incarnation(fact.worker_id),
            task.command,
            float(task.cpu_cores_required),
            int(task.memory_required_mb),
            stdout,
            stderr,
        )
        self._open[fact.task_id, fact.attempt] = (now, order)
        return order

    def _file_name(self, task_id: str) -> str:
        """The task's id, where that can name a file on any system; else something like it with its number."""
        safe = re.sub(r"[^A-Za-z0-9_.-]", "_", task_id)[:100]
        plain = safe == task_id and not safe.startswith(".")
        return safe if plain else f"{safe.lstrip('.')}~{self._index[task_id]}"

    def _tell(self, events: Iterable[Event]) -> None:
        """Record, log, and tell whoever asked to be told."""
        for event in events:
            if isinstance(event, (AttemptCompleted, AttemptFailed)):
                self._record(event)
            log_event(event)
            if self._on_event is not None:
                try:
                    self._on_event(event)
                except Exception:
                    logger.exception("on_event raised for %r; the run goes on", event)

    def _record(self, event: AttemptCompleted | AttemptFailed) -> None:
        """Note an attempt that has ended."""
        start, order = self._open.pop((event.task_id, event.attempt))
        failed = isinstance(event, AttemptFailed)
        self.attempts.append(
            Attempt(
                event.task_id,
                event.worker_id,
                event.attempt,
                start / NS,
                event.at_ns / NS,
                event.reason if failed else None,  # type: ignore[union-attr]
                event.exit_code if failed else 0,  # type: ignore[union-attr]
                event.signal if failed else None,  # type: ignore[union-attr]
                event.message if failed else "",  # type: ignore[union-attr]
                event.usage.peak_memory_mb if event.usage else None,
                event.usage.cpu_seconds if event.usage else None,
                order.stdout or os.devnull,
                order.stderr or os.devnull,
            )
        )

    def _now(self) -> int:
        return self._clock() - self._begin


def log_event(event: Event) -> None:
    """One line in the log `fastsched` for every event."""
    if isinstance(event, AttemptStarted):
        logger.debug("start %s on %s (attempt %d)", show_name(event.task_id), show_name(event.worker_id), event.attempt)
    elif isinstance(event, AttemptCompleted):
        logger.info(
            "completed %s on %s (attempt %d)", show_name(event.task_id), show_name(event.worker_id), event.attempt
        )
    elif isinstance(event, AttemptFailed):
        onward = "it will be retried" if event.will_retry else "no retry is left"
        logger.warning(
            "attempt %d of %s failed on %s: %s %s; %s",
            event.attempt,
            show_name(event.task_id),
            show_name(event.worker_id),
            event.reason,
            event.message,
            onward,
        )
    elif isinstance(event, TaskFailed):
        cause = f" (because of {show_name(event.cause_id)})" if event.cause_id else ""
        logger.log(
            logging.INFO if event.reason is Reason.DEPENDENCY else logging.ERROR,
            "failed %s: %s%s %s",
            show_name(event.task_id),
            event.reason,
            cause,
            event.message,
        )
    elif isinstance(event, WorkerLost):
        logger.warning("worker %s is lost: %s", show_name(event.worker_id), event.message)
    elif isinstance(event, WorkerQuarantined):
        logger.warning("worker %s fails what succeeds elsewhere; it is put in quarantine", show_name(event.worker_id))
    elif isinstance(event, TaskUnsatisfiable):
        logger.warning("%s; it waits", event.message)
    else:
        logger.info("%s", event)


def run(
    tasks: Iterable[Task | Mapping[str, Any]],
    workers: Iterable[Worker | Mapping[str, Any]] | None = None,
    *,
    max_retries: int = 3,
    rank: str = "critical-path",
    fit: str = "most-free",
    policy: Policy | None = None,
    on_event: OnEvent | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    heartbeat_s: float = 1.0,
    lease_s: float = 10.0,
    grace_s: float = 5.0,
) -> Run:
    """Run the commands of a graph on this machine, dependencies first, never more on a worker than it holds.

    Every worker is an agent process of its own that starts commands, watches them and sends heartbeats. A
    failed attempt is retried, on another worker where one could hold the task; dependents of a task that
    failed for good are marked FAILED; everything else is completed. A command has failed when its exit code
    is not 0. What it leaves running in its process group is killed when it ends.

    Args:
        tasks: `Task` objects or mappings with the same fields, in the order of submission.
        workers: `Worker` objects or mappings. None: one worker, with this machine's cores and memory.
        max_retries: failures that a task survives, where it does not say so itself.
        rank, fit, policy: as in `schedule()`.
        on_event: called with every event (see `fastsched.events`), in order, in the calling thread.
        run_dir: the folder for outputs, made if need be; it must not hold those of another run. None: a new
            folder in `.fastsched/runs`.
        cwd: the working directory of the commands; None: this process's own.
        env: the environment of the commands, to which FASTSCHED_TASK_ID, _ATTEMPT, _WORKER, _CPUS and
            _MEMORY_MB are added; None: this process's own.
        heartbeat_s: seconds between an agent's signs of life.
        lease_s: a worker that is silent for longer is lost: it and its commands are killed, it is brought up
            again, and its tasks are retried, at no charge to `max_retries` (a task survives 3 lost workers).
        grace_s: on Ctrl-C, the seconds between asking commands to end (SIGTERM) and killing them. All three
            are at most 1,000,000.

    Returns:
        A dictionary from task id to final status, with every attempt: exit code, start and end, peak
        memory, processor time, and the files with its output.

    Raises:
        ValidationError: naming every problem of the tasks and of the workers.
        RunInterrupted: on Ctrl-C (a KeyboardInterrupt), after every command has been stopped; its `.run`
            is what had happened.
        ValueError: for an unknown rank or fit, or seconds or retries out of their bounds.
        FileExistsError: where `run_dir` holds the outputs of an earlier run.
        OSError: where this system cannot run commands.
    """
    check_choice("rank", rank, RANKS)
    check_choice("fit", fit, FITS)
    for name, seconds in (("heartbeat_s", heartbeat_s), ("lease_s", lease_s), ("grace_s", grace_s)):
        if not is_number(seconds) or not 0 <= as_float(seconds) <= MAX_SECONDS:  # nan is neither
            message = f"{name} is {show_value(seconds)}; a number of seconds between 0 and {MAX_SECONDS:,} is wanted"
            raise ValueError(message)
    if not 0 < heartbeat_s < lease_s:
        raise ValueError(f"heartbeat_s is {heartbeat_s} and lease_s {lease_s}; 0 < heartbeat_s < lease_s is wanted")
    if cwd is not None and not os.path.isdir(cwd):
        raise NotADirectoryError(f"cwd is {os.fspath(cwd)!r}, which is not a folder")
    if not isinstance(max_retries, bool):
        with contextlib.suppress(TypeError):  # what is no whole number is said below
            max_retries = operator.index(max_retries)  # numpy's are as good
    graph, table = read_both(CompiledGraph, tasks, [this_machine()] if workers is None else workers)
    if len(graph.tasks) < len(graph):
        raise ValueError("a graph that was made of arrays has no commands; it can be planned and not run")
    state = State(graph, table, rank=rank, fit=fit, max_retries=max_retries, policy=policy)
    folder = claim_run_dir(run_dir) if len(graph) else Path(run_dir or RUNS)
    engine = LocalEngine(cwd=None if cwd is None else os.fspath(cwd), env=env)
    loop = RunLoop(
        state,
        engine,
        time.monotonic_ns,
        heartbeat_s=heartbeat_s,
        lease_s=lease_s,
        grace_s=grace_s,
        run_dir=folder.absolute(),
        on_event=on_event,
    )
    with interrupting(loop):
        loop.run()
    result = Run(graph.ids, table.ids, state.plan(), loop.attempts, str(folder), loop.interrupted)
    if loop.interrupted:
        raise RunInterrupted(result)
    return result


def claim_run_dir(named: str | os.PathLike[str] | None) -> Path:
    """The folder for the outputs of one run, which no other run has or will have; made here.

    Raises:
        FileExistsError: where the folder that was named holds the outputs of another run.
    """
    if named is None:
        folder = new_run_dir()
        (folder / "logs").mkdir()
        return folder
    try:
        (Path(named) / "logs").mkdir(parents=True)
    except FileExistsError:
        message = "it holds the outputs of an earlier run (logs/); name another folder, or remove that one"
        raise FileExistsError(errno.EEXIST, message, os.fspath(named)) from None
    return Path(named)


def new_run_dir() -> Path:
    """Make a folder for a run that nobody named, in the current directory; a number tells runs of one second apart."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    for number in itertools.count(1):
        folder = RUNS / (stem if number == 1 else f"{stem}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


@contextlib.contextmanager
def interrupting(loop: RunLoop) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run in good order; only the main thread can see to that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: loop.interrupt()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
