"""What has to be opened before a loop can turn: the folder, the journal with what it says, the state, the engine."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._version import __version__
from ..engines.base import Engine, Levels
from ..engines.levels import CONTAINMENTS
from ..engines.local import OUTPUT_CAP_MB
from ..engines.named import check_engine, make_engine
from ..errors import JournalError
from ..events import Event
from ..following import read_route
from ..graph import CompiledGraph, WorkerTable, read_both
from ..guide import Guide
from ..model import Task, Worker, as_float, is_number
from ..names import show_value
from ..optimize import Optimize
from ..planner import TaskGraph, choose_pair, plan_ahead
from ..policy import Policy
from ..portfolio import AUTO, FITS, check_choice
from ..ranks import RANKS
from ..state import State
from .control import Control
from .folder import LOGS, claim_run_dir
from .journal import Journal
from .loop import Loop, Rhythm
from .pilot import Aside, Beside, Pilot
from .record import RunOpened, SchedulerOpened, Turn, decode_records, encode_record

__all__ = ["MAX_MB", "MAX_SECONDS", "MAX_SHARE", "REPLAN", "Session", "Settings", "budget_of", "compile_both"]

MAX_SECONDS = 1_000_000  # for leases and the like: 11 days; what waits for sockets cannot wait for much longer
PATIENCE_S = 60.0  # that a run waits for workers of the engine's own, when nothing goes on
MAX_MB = 1 << 30  # of output that is kept of an attempt
REPLAN = 0.2  # of the time that was planned: behind by more, the rest is planned anew
USUAL_SEARCH = Optimize(seconds=1.0)  # of who takes up a run that searches
MAX_SHARE = 1000  # of the time that is planned, for being behind


@dataclass(frozen=True)
class Settings:
    """How a run is to be carried out; see `Scheduler` for each."""

    engine: str | Engine = "local"
    journal: str | os.PathLike[str] | None = None
    run_dir: str | os.PathLike[str] | None = None
    capture: bool = True
    max_retries: int = 3
    rank: str = "critical-path"
    fit: str = "most-free"
    policy: Policy = field(default_factory=Policy)
    accept_damage: bool = False
    cwd: str | os.PathLike[str] | None = None
    env: Mapping[str, str] | None = None
    rhythm: Rhythm = field(default_factory=Rhythm)
    timeout: float | None = None
    walltime: float | None = None
    max_fails: int | None = None
    name: str = ""
    source: str = ""  # the job file; see `RunOpened`
    containment: str = "auto"
    output_cap_mb: int = OUTPUT_CAP_MB
    plan: Guide | None = None
    optimize: Optimize | None = None
    replan: float | None = REPLAN
    inherited: Collection[str] = ()  # of engine, lease, ..., output_cap, replan: those of the run that goes on

    def check(self) -> None:
        """Raise ValueError or OSError where anything is out of its bounds."""
        check_choice("rank", self.rank, (*RANKS, AUTO))
        check_choice("fit", self.fit, (*FITS, AUTO))
        if isinstance(self.engine, str):
            check_engine(self.engine)
        if not isinstance(self.output_cap_mb, int) or not 1 <= self.output_cap_mb <= MAX_MB:
            said = show_value(self.output_cap_mb)
            raise ValueError(f"output_cap_mb is {said}; a whole number between 1 and {MAX_MB:,} is wanted")
        check_choice("containment", self.containment, CONTAINMENTS)
        rhythm = self.rhythm
        for name, seconds in (("heartbeat", rhythm.heartbeat_s), ("lease", rhythm.lease_s), ("grace", rhythm.grace_s)):
            check_seconds(name, seconds)
        if not 0 < rhythm.heartbeat_s < rhythm.lease_s:
            said = f"heartbeat is {rhythm.heartbeat_s} and lease {rhythm.lease_s}"
            raise ValueError(f"{said}; 0 < heartbeat < lease is wanted")
        if self.replan is not None and (not is_number(self.replan) or not 0 < as_float(self.replan) <= MAX_SHARE):
            said = show_value(self.replan)
            raise ValueError(f"replan is {said}; a share such as 0.2 is wanted, more than 0, or None for never")
        for name, limit in (("timeout", self.timeout), ("walltime", self.walltime)):
            if limit is not None:
                check_seconds(name, limit)
                if not limit:
                    raise ValueError(f"{name} is 0; more than 0 seconds are wanted")
        # Where commands run elsewhere, it is looked for there.
        if self.cwd is not None and self.engine == "local" and not os.path.isdir(self.cwd):
            raise NotADirectoryError(f"cwd is {os.fspath(self.cwd)!r}, which is not a folder")


class Session:
    """One scheduler's time with a run.

    Args:
        graph, table: the tasks and the workers to begin with; table None: those of the journal, or of the engine.
        settled: no other workers will come. forget: see `State`.
        fresh: True: there must be no journal yet; False: there must be one; None: either.
        journal: one that is open, in place of that of the settings. clock: ns, never going back.
        aside: what looks ahead for a run that follows a plan; None: a thread.
    """

    def __init__(
        self,
        settings: Settings,
        graph: CompiledGraph,
        table: WorkerTable | None,
        *,
        settled: bool = False,
        forget: bool = False,
        fresh: bool | None = None,
        journal: Journal | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        aside: Aside | None = None,
    ) -> None:
        settings.check()
        if settings.plan is not None and settled and len(graph):  # before there is a folder for it
            settings.plan.check(dict.fromkeys(graph.ids))
        self.settings, self.graph, self.table = settings, graph, table
        self.settled, self.forget, self.fresh = settled, forget, fresh
        self.folder: str | None = None
        self.history: list[Event] = []  # what the journal told
        self.was_over = False  # every task had ended already
        self.name = settings.name
        self.loop: Loop | None = None
        self._engine: Engine | None = None
        self._control: Control | None = None
        self.journal, self._clock, self._aside = journal, clock, aside or Beside()

    def open(self, tell: Callable[[Sequence[Event]], object]) -> Loop:
        """Open everything; the loop has not begun.

        Raises:
            FileExistsError, JournalLocked, JournalDamaged, OSError: where that cannot be.
        """
        try:
            self.loop = loop = self._open_loop(tell)
        except BaseException:
            if self._engine is not None:
                self._engine.close(0.0)
            raise
        if self.settings.journal is not None and self.journal is not None:
            try:
                self._control = Control(self.journal.folder, loop, self.name)
            except BaseException:
                self.journal.close()
                loop.engine.close(0.0)
                raise
        return loop

    def _open_loop(self, tell: Callable[[Sequence[Event]], object]) -> Loop:
        keep_standard_streams()
        if self.settings.journal is not None:
            self.journal = Journal(Path(self.settings.journal))
        if self.journal is None:
            return self._open_new(tell)
        try:
            if self.journal.damage is not None:
                if not self.settings.accept_damage:
                    raise self.journal.damaged()
                self.journal.cut()
            records = decode_records(self.journal.read())
            first = next(records, None)
            if first is None and self.fresh is False:
                raise JournalError(f"the journal in {self.journal.folder} has no beginning; nothing can be taken up")
            if first is None:
                return self._open_new(tell)
            if self.fresh:
                message = "it holds the journal of an earlier run; resume that one, or name another folder"
                raise FileExistsError(errno.EEXIST, message, str(self.journal.folder))
            return self._take_up(first, records, tell)
        except BaseException:
            self.journal.close()
            raise

    @property
    def messages(self) -> dict[str, str]:
        """Why tasks failed for good, where more is to be said than of their attempts."""
        return {} if self.loop is None else self.loop.ledger.messages

    @property
    def levels(self) -> Levels | None:
        """How strongly the engine holds what it runs; None: it is not known yet."""
        return None if self.loop is None else self.loop.engine.levels()

    def close(self) -> None:
        """Give the journal free."""
        if self._control is not None:
            self._control.close()
        if self.journal is not None:
            self.journal.close()

    @staticmethod
    def check(tasks: Any) -> list[Any]:
        """The tasks as a list. Raises ValidationError where they are none; each is looked at when it is added."""
        if isinstance(tasks, Iterable) and not isinstance(tasks, (str, bytes, Mapping)):
            return list(tasks)
        return list(CompiledGraph(tasks).tasks)

    def _open_new(self, tell: Callable[[Sequence[Event]], object]) -> Loop:
        settings, table = self.settings, self.table
        cwd = os.path.abspath(settings.cwd or os.getcwd())
        engine = self._make_engine(settings.engine, cwd, settings.containment, settings.output_cap_mb)
        offered = table is None and engine.offers
        if table is None:
            table = WorkerTable(engine.workers(), self.graph.resources)
        if AUTO in (settings.rank, settings.fit):
            rank, fit = choose_pair(
                self.graph,
                table,
                settings.rank,
                settings.fit,
                max_retries=settings.max_retries,
                policy=settings.policy,
            )
            settings = replace(settings, rank=rank, fit=fit)
        guide = self._search_first(settings, table) or settings.plan
        state = self._make_state(settings, self.graph, table)
        # Whoever holds the journal has the folder for himself.
        is_here = settings.journal is not None and settings.run_dir in (None, settings.journal)
        if settings.capture or settings.journal is not None:
            named = settings.journal if is_here else settings.run_dir
            is_new = bool(len(self.graph) or self.forget)
            self.folder = str(claim_run_dir(named, is_held=is_here)) if is_new else str(named or "")
        logs = (LOGS if is_here else str(Path(self.folder or "").absolute() / LOGS)) if settings.capture else None
        opened = RunOpened(
            uuid.uuid4().hex,
            settings.name,
            __version__,
            settings.rank,
            settings.fit,
            state.max_retries,
            settings.policy,
            self.settled,
            settings.rhythm.heartbeat_s,
            settings.rhythm.lease_s,
            settings.rhythm.grace_s,
            settings.max_fails,
            settings.containment,
            settings.output_cap_mb,
            cwd,
            logs,
            settings.timeout,
            self.graph.tasks,
            table.workers,
            settings.engine if isinstance(settings.engine, str) else "",
            offered,
            settings.source,
            settings.replan,
            settings.optimize is not None,
        )
        if guide is not None and self.settled:
            route = read_route(guide, self.graph, table, fit=settings.fit)
            guide = Guide([self.graph.ids[i] for i in route.tasks.tolist()], table.ids, route.renumbered())
        loop = self._make_loop(opened, state, engine, tell, guide)
        if guide is None and loop.pilot is not None:  # no worker was there to plan for
            loop.pilot.hear(self.graph.ids)
        planned = loop.begin()
        if self.journal is not None:
            self.journal.append_all([*encode_record(opened), *planned, *encode_record(self._arrival(loop))])
        return loop

    def _search_first(self, settings: Settings, table: WorkerTable) -> Guide | None:
        """The plan that a search finds before anything starts; None: none is to, or there is nothing to be planned."""
        graph, budget = self.graph, settings.optimize
        if budget is None or settings.plan is not None or not isinstance(graph, TaskGraph) or not len(table):
            return None
        return plan_ahead(graph, table, settings.rank, settings.fit, settings.policy, budget) if len(graph) else None

    def _take_up(self, opened: Any, records: Iterable[Any], tell: Callable[[Sequence[Event]], object]) -> Loop:
        """Absorb what the journal says; what ran when it ended is not there any more."""
        graph = CompiledGraph(opened.tasks)
        state = self._make_state(opened, graph, WorkerTable(opened.workers, graph.resources))
        settings, before = self.settings, self.settings.inherited
        chosen = opened.engine if "engine" in before else settings.engine
        engine = self._make_engine(
            chosen,
            opened.cwd,
            opened.containment if "containment" in before else settings.containment,
            opened.output_cap_mb if "output_cap" in before else settings.output_cap_mb,
        )
        loop = self._make_loop(opened, state, engine, tell, None)
        self.name, logs = opened.name, loop.ledger.logs
        self.folder = str(self.settings.journal)
        if logs is not None:
            os.makedirs(logs, exist_ok=True)
            self.folder = self.folder if opened.logs == LOGS else str(logs.parent)
        for record in records:
            if isinstance(record, Turn):
                self.history += loop.replay(record)
        self.was_over = state.done
        self._follow_on(loop, opened)
        workers: Sequence[Worker] | None = None if self.table is None else self.table.workers
        # Its workers are the engine's own, which may be others by now, or it goes on where there are others.
        is_moved = (chosen if isinstance(chosen, str) else "") != opened.engine
        if workers is None and not self.was_over and (opened.offered or (engine.offers and is_moved)):
            workers = engine.workers()
        loop.take_over(workers)
        assert self.journal is not None
        self.journal.append_all(encode_record(self._arrival(loop)))
        return loop

    def _follow_on(self, loop: Loop, opened: RunOpened) -> None:
        """Go on with the plan of the journal, or with one that was given, as to what has not been started."""
        guide, state = self.settings.plan, loop.state
        if guide is None:
            is_piloted = state.followed is not None or opened.searches
            loop.pilot = self._make_pilot(opened, None) if is_piloted else None
            return
        known = dict(zip(state.ids, range(len(state.ids))))
        if self.settled:
            guide.check(known)
        waiting = state.waiting(state.ids)
        guide = guide.only([name for name in guide.task_ids if name in waiting or name not in known])
        loop.pilot = self._make_pilot(opened, guide)

    def _make_pilot(self, opened: RunOpened, guide: Guide | None) -> Pilot:
        share = opened.replan if "replan" in self.settings.inherited else self.settings.replan
        budget = (self.settings.optimize or USUAL_SEARCH) if opened.searches else None
        return Pilot(guide, opened.fit, share, self._aside, budget)

    def _make_state(self, given: Settings | RunOpened, graph: CompiledGraph, table: WorkerTable) -> State:
        return State(
            graph,
            table,
            rank=given.rank,
            fit=given.fit,
            max_retries=given.max_retries,
            policy=given.policy,
            forget=self.forget,
        )

    def _make_engine(self, engine: str | Engine, cwd: str, containment: str, output_cap_mb: int) -> Engine:
        """The engine that carries the run out; it is closed where that does not come to be."""
        if engine == "":
            raise ValueError("an engine that a program had made carried this run; say which one goes on with it")
        if isinstance(engine, str):
            env = self.settings.env
            engine = make_engine(engine, cwd=cwd, env=env, containment=containment, output_cap_mb=output_cap_mb)
        self._engine = engine
        return engine

    def _make_loop(
        self,
        opened: RunOpened,
        state: State,
        engine: Engine,
        tell: Callable[[Sequence[Event]], object],
        guide: Guide | None,
    ) -> Loop:
        settings = self.settings
        before = settings.inherited
        rhythm = settings.rhythm
        if "lease" in before:
            rhythm = replace(rhythm, heartbeat_s=opened.heartbeat_s, lease_s=opened.lease_s)
        if "grace" in before:
            rhythm = replace(rhythm, grace_s=opened.grace_s)
        return Loop(
            state,
            engine,
            self._clock,
            tell=tell,
            rhythm=rhythm,
            run_id=opened.run_id,
            journal=self.journal,
            logs=None if opened.logs is None else Path(settings.journal or "").absolute() / opened.logs,
            settled=opened.settled and not opened.offered,
            patience_s=PATIENCE_S if opened.settled and opened.offered else None,
            walltime_s=settings.walltime,
            timeout_s=opened.timeout_s,
            max_fails=opened.max_fails,
            pilot=None if guide is None and not opened.searches else self._make_pilot(opened, guide),
        )

    @staticmethod
    def _arrival(loop: Loop) -> SchedulerOpened:
        return SchedulerOpened(loop.now(), time.time(), os.getpid())


def budget_of(plan: object, optimize: float | Optimize | None) -> Optimize | None:
    """What a search may cost, where none was given a plan. Raises ValueError where one was; TypeError for no budget."""
    if plan is not None and optimize is not None:
        raise ValueError("a plan is followed as it is; leave out optimize, or the plan that is given beside it")
    return None if optimize is None else Optimize.of(optimize)


def compile_both(
    tasks: Iterable[Task | Mapping[str, Any]], workers: Iterable[Worker | Mapping[str, Any]] | None
) -> tuple[TaskGraph, WorkerTable | None]:
    """Tasks and, where any are named, workers. Raises ValidationError, naming every problem of both at once."""
    if workers is None:
        return TaskGraph(tasks), None
    graph, table = read_both(TaskGraph, tasks, workers)
    return graph, table


def keep_standard_streams() -> None:
    """See to it that no file of ours is called 0, 1 or 2, where a program was started without these."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def check_seconds(name: str, seconds: Any) -> None:
    """Raise ValueError for what is no number of seconds that can be waited for."""
    if not is_number(seconds) or not 0 <= as_float(seconds) <= MAX_SECONDS:  # nan is neither
        message = f"{name} is {show_value(seconds)}; a number of seconds between 0 and {MAX_SECONDS:,} is wanted"
        raise ValueError(message)
