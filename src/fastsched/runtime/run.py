"""`run()`: one graph to its end, by a loop in the calling thread."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..engines.base import Engine
from ..engines.local import OUTPUT_CAP_MB
from ..errors import RunInterrupted
from ..following import read_guide
from ..guide import Guide
from ..history import Measurements
from ..model import Task, Worker
from ..optimize import Optimize
from ..plan import Plan, Run, Schedule
from ..planner import with_history
from ..policy import Policy
from .handles import Handle
from .loop import Loop, Rhythm
from .session import Session, Settings, budget_of, compile_both
from .teller import OnEvent, Teller

__all__ = ["play", "run"]

Path = str | os.PathLike[str]


def run(
    tasks: Iterable[Task | Mapping[str, Any]],
    workers: Iterable[Worker | Mapping[str, Any]] | None = None,
    *,
    engine: str | Engine = "local",
    journal: Path | None = None,
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
    walltime: float | None = None,
    max_fails: int | None = None,
    name: str = "",
    containment: str = "auto",
    output_cap_mb: int = OUTPUT_CAP_MB,
    history: Measurements | None = None,
    plan: Schedule | Plan | Guide | None = None,
    replan: float | None = 0.2,
    optimize: float | Optimize | None = None,
) -> Run:
    """Run the commands of a graph, here or on a cluster, dependencies first, never more on a worker than it holds.

    Every worker is an agent process of its own that starts commands, watches them and sends heartbeats. A
    failed attempt is retried, on another worker where one could hold the task; dependents of a task that
    failed for good are marked FAILED; everything else is completed. A command has failed when its exit code
    is not 0. What it leaves running is killed when it ends.

    Args:
        tasks: `Task` objects or mappings with the same fields, in the order of submission.
        workers: `Worker` objects or mappings. None: those of the engine; of "local", one with this machine's cores and
            memory.
        on_event: called with every event (see `fastsched.events`), in order, in the calling thread.
        run_dir: the folder for outputs, made if need be; it must not hold those of another run. None: that of the
            journal, or a new folder in `.fastsched/runs`.
        journal: a folder in which everything that happens is kept, to be taken up after a crash.
        max_fails: when so many tasks have failed for good, not counting those that depend on them, nothing more is
            started; None: everything that can be completed is.
        walltime: seconds from now on in which the run has to end: no task is started that is not expected to (by its
            duration; 1 s, where it has none). When nothing else is left the run is over, and can be taken up again;
            what was not started is in `unfinished`. None: any.
        history: what earlier runs measured, a `History`: durations for the tasks that name none, and, where workers are
            named, memory. A run that is resumed keeps what it began with.
        optimize: a search for a shorter plan, which is followed: so many seconds before anything starts, or an
            `Optimize` (Ctrl-C ends it, and the run begins with the best so far). Where the rest is planned anew, a
            search looks for that plan, too: beside the run, for less than a second, on one thread. Not together with
            `plan`.
        engine, capture, max_retries, rank, fit, policy, notify, cwd, env, heartbeat, lease, grace, timeout, name,
            containment, output_cap_mb, plan, replan: as in `Scheduler`; but a plan of tasks that are not among these is
            an error.

    Returns:
        A dictionary from task id to final status, with every attempt: exit code, start and end, peak
        memory, processor time, and the files with its output.

    Raises:
        ValidationError: naming every problem of the tasks and of the workers.
        RunInterrupted: on Ctrl-C (a KeyboardInterrupt), after every command has been stopped; its `.run`
            is what had happened.
        ValueError: for an unknown rank or fit, or seconds or retries out of their bounds.
        FileExistsError: where `run_dir` holds the outputs of an earlier run, or `journal` an earlier journal.
        OSError: where this system cannot run commands, or the cluster cannot be reached. MissingExtraError: where the
            engine needs what is not installed.
    """
    settings = Settings(
        engine=engine,
        journal=journal,
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
        walltime=walltime,
        max_fails=max_fails,
        name=name,
        containment=containment,
        output_cap_mb=output_cap_mb,
        plan=None if plan is None else read_guide(plan),
        replan=replan,
        optimize=budget_of(plan, optimize),
    )
    graph, table = compile_both(tasks, workers)
    if len(graph.tasks) < len(graph):
        raise ValueError("a graph that was made of arrays has no commands; it can be planned and not run")
    graph = with_history(graph, table, history)
    session = Session(settings, graph, table, settled=True, fresh=True)
    return play(session, on_event, notify)


def play(session: Session, on_event: OnEvent | None, notify: str | None) -> Run:
    """Run a session to its end in this thread."""
    tellers: list[Teller] = []
    loop = session.open(lambda events: tellers[0].tell(events))
    state = loop.state

    def make_handle(task_id: str) -> Handle:
        return Handle(task_id, lambda _: False, state.status)

    tellers.append(Teller(state.index_of, loop.ledger.attempts, make_handle, on_event, notify))
    try:
        with interrupting(loop):
            loop.serve(lambda: state.done)
        unfinished = state.unfinished()
        if loop.interrupted or loop.out_of_time:
            tellers[0].tell(loop.give_up())
    finally:
        try:
            tellers[0].finish()
        finally:
            session.close()
    result = Run(
        state.ids,
        state.worker_ids,
        state.plan(),
        loop.ledger.attempts,
        session.folder or "",
        loop.interrupted or loop.out_of_time,
        unfinished,
    )
    if loop.interrupted:
        raise RunInterrupted(result)
    return result


@contextlib.contextmanager
def interrupting(loop: Loop) -> Iterator[None]:
    """Ctrl-C, SIGTERM and the end of the terminal end the run in good order; only the main thread can see to that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # else somebody does not want to hear of it, as nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: loop.interrupt()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
