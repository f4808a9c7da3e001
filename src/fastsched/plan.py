"""What was planned: `Plan`, the numbers as columns, and `Schedule`, the same with names on.

A `Schedule` is a plain dictionary from task id to final status, with the plan attached. All
that costs time is computed when it is asked for. What really happened has the same face
(`Run`). Nothing here decides anything, and nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain, repeat
from operator import mul
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ._graphs import bottom_levels
from .against import Delays, Made, compare, make_course
from .bottleneck import Bottleneck, find_bottleneck
from .bounds import Bound, Bounds
from .model import Reason, TaskStatus
from .pictures import Pictured
from .pictures.scene import Scene
from .risk import Risk, measure_risk
from .table import AttemptTable
from .validate import Terms, raise_for_wrongs

__all__ = ["Attempt", "Placement", "Plan", "Run", "Schedule"]

NS = 1_000_000_000

# By the core's codes: what a user sees of a state, and of a reason.
STATUS_OF_STATE = (
    TaskStatus.PENDING,  # WAITING
    TaskStatus.PENDING,  # READY
    TaskStatus.RUNNING,
    TaskStatus.COMPLETED,
    TaskStatus.PENDING,  # DELAYED
    TaskStatus.FAILED,
    TaskStatus.FAILED,  # SKIPPED
    TaskStatus.FAILED,  # CANCELLED
)
REASON_OF_CODE: tuple[Reason | None, ...] = (None, *Reason)
CODE_OF_REASON = {reason: code for code, reason in enumerate(REASON_OF_CODE) if reason is not None}
COMPLETED_STATE = 3
ENDED_STATES = (COMPLETED_STATE, 5, 7)  # and FAILED, CANCELLED: those that may have been started before

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


class Placement(NamedTuple):
    """One attempt of a plan: times in seconds from the start, `outcome` COMPLETED or FAILED."""

    task_id: str
    worker_id: str
    attempt: int
    start: float
    end: float
    outcome: TaskStatus


class Placed(Protocol):
    """What has placements, such as a plan that was loaded."""

    @property
    def placements(self) -> Iterable[Placement]:
        """The attempts."""


class Plan:
    """What a time line did, in numbers; index i is the i-th task, w the w-th worker, as given.

    Workers that `events` bring have the indices behind those, in the order of their first joining.

    Attributes (numpy columns, one entry a task):
        start_ns, end_ns int64: of the last attempt; -1 where the task never started.
        worker int32: of the last attempt, or -1. attempts int32: how many were started.
        state, reason uint8: the core's codes. cause int32: for a task that was skipped, the failed
            task at the root; else -1.
        log: columns task, worker, attempt, start, end, reason of the attempts that did not complete.
        terms: what it was made under, as far as that is known: `validate` holds it to them.
        rank, fit: by which it was made; `schedule()` makes the same plan by them. "search" where one found it; ""
            for what was not planned.
        n_tried: pairs of rank and fit that were tried, of which this is the best.
        n_schedules: that a search has generated, to find this plan or none that is shorter; 0: there was no search.
    """

    def __init__(
        self,
        graph: Any,
        capacity: Int32s,
        columns: Mapping[str, Any],
        log: Mapping[str, Any],
        *,
        terms: Terms | None = None,
        rank: str = "",
        fit: str = "",
    ) -> None:
        self.rank, self.fit, self.n_tried, self.n_schedules = rank, fit, 1, 0
        self._graph = graph
        self.terms = terms
        self._capacity = capacity
        self.start_ns: Int64s = np.ascontiguousarray(columns["start"])
        self.end_ns: Int64s = np.ascontiguousarray(columns["end"])
        self.worker: Int32s = np.ascontiguousarray(columns["worker"])
        self.attempts: Int32s = np.ascontiguousarray(columns["attempt"])
        self.state: npt.NDArray[np.uint8] = np.ascontiguousarray(columns["state"])
        self.reason: npt.NDArray[np.uint8] = columns["reason"]
        self.cause: Int32s = columns["cause"]
        self.order: Int32s | None = None  # in which one list pass looked at the tasks; None: it was made otherwise
        self.log = log
        # make_replay(whether durations vary): what plays it again, as who follows it would; None: there were mishaps.
        self.make_replay: Callable[[bool], Any] | None = None

    def __repr__(self) -> str:
        counts = np.bincount(self.state, minlength=len(STATUS_OF_STATE))
        completed = int(counts[COMPLETED_STATE])
        return f"<Plan: {completed} of {len(self.state)} tasks completed, makespan {self.makespan:g} s>"

    @property
    def start(self) -> npt.NDArray[np.float64]:
        """Seconds, one a task: when its last attempt starts; nan where the task never started."""
        return np.where(self.start_ns < 0, np.nan, self.start_ns / NS)

    @property
    def end(self) -> npt.NDArray[np.float64]:
        """Seconds, one a task: when its last attempt ends; nan where the task never started."""
        return np.where(self.start_ns < 0, np.nan, self.end_ns / NS)

    @property
    def status(self) -> npt.NDArray[np.str_]:
        """The final status of every task, as its name."""
        return np.array([str(status) for status in STATUS_OF_STATE])[self.state]

    @property
    def all_completed(self) -> bool:
        """Whether every task completed."""
        return bool((self.state == COMPLETED_STATE).all())

    @cached_property
    def makespan_ns(self) -> int:
        """ns from 0 to the end of the last attempt."""
        return int(self.end_ns.max(initial=0))

    @property
    def makespan(self) -> float:
        """Seconds from 0 to the end of the last attempt."""
        return self.makespan_ns / NS

    @cached_property
    def busy_ns(self) -> Int64s:
        """ns that every task spent in attempts that have ended, one after the other."""
        done = self.state == COMPLETED_STATE
        busy = np.where(done, self.end_ns - self.start_ns, 0)
        np.add.at(busy, self.log["task"], self.log["end"] - self.log["start"])
        return busy

    @cached_property
    def bounds_ns(self) -> dict[str, int]:
        """Simple lower bounds of the makespan for the attempts of this plan, by what binds, in ns.

        `critical path`: the longest chain of dependent tasks. A resource: the amount times time that is
        asked of it, over what all workers together offer. Any schedule of these attempts on these workers
        takes at least as long. `bound` has the best one.
        """
        bottom = self._bottom_levels
        bounds = {"critical path": int(bottom.max(initial=0))}
        busy = self.busy_ns.tolist()
        for r, name in enumerate(self._graph.resources):
            offered = int(self._capacity[:, r].sum(dtype=np.int64))
            asked = sum(map(mul, busy, self._graph.demand[:, r].tolist()))
            bounds[name] = -(-asked // offered) if offered else 0
        return bounds

    @cached_property
    def _bounds(self) -> Bounds:
        graph, spans = self._graph, self.log["end"] - self.log["start"]
        unit = int(np.gcd.reduce(np.concatenate(([0], self.busy_ns, spans)).astype(np.int64)))
        return Bounds(graph.order, graph.succ_ptr, graph.succ, self.busy_ns, graph.demand, unit_ns=unit)

    @cached_property
    def bound(self) -> Bound:
        """The best lower bound that a proof can be told of, with its proof: see `fastsched.bounds.Bound`."""
        found = self._bounds.of(self._capacity, target_ns=self.makespan_ns)
        if found.kind != "unsatisfiable":
            return found
        # A worker of a run had more when it ran these tasks than it has now: what there was is not known.
        return Bound(self._bounds.critical_ns, "critical path", found.tasks[:0], found.workers)

    @cached_property
    def _narrowed_ns(self) -> int:
        """`bound`, or a higher one that windows prove, where every task ran at one go."""
        known = self.bound.ns
        if len(self.log["task"]) or known >= self.makespan_ns:
            return known
        return self._bounds.narrowed_ns(self._capacity, known, self.makespan_ns)

    @property
    def lower_bound_ns(self) -> int:
        """The best lower bound that is known: `bound`, or what the windows of tasks prove."""
        return self._narrowed_ns

    @property
    def lower_bound(self) -> float:
        """Seconds: no schedule of these attempts on these workers is shorter."""
        return self.lower_bound_ns / NS

    @property
    def gap(self) -> float:
        """How far the makespan is above the lower bound, as a share of that: 0.0 where the plan is optimal."""
        above = self.makespan_ns - self.lower_bound_ns
        return above / self.lower_bound_ns if self.lower_bound_ns else float("inf") if above else 0.0

    @property
    def bound_by(self) -> str:
        """What the lower bound comes from.

        `critical path`, the name of a resource, `tasks apart` (of which no two fit a worker together), `windows` (those
        in which tasks have to run, which a shorter makespan would leave too narrow).
        """
        bound = self.bound
        if self._narrowed_ns > bound.ns:
            return "windows"
        if bound.resource >= 0:
            return str(self._graph.resources[bound.resource])
        return "tasks apart" if bound.kind == "apart" else bound.kind

    @cached_property
    def _bottom_levels(self) -> Int64s:
        graph = self._graph
        return np.asarray(bottom_levels(graph.order, graph.succ_ptr, graph.succ, self.busy_ns))

    @cached_property
    def critical_path(self) -> list[int]:
        """Task indices along the longest chain of the attempts that were made, first to last."""
        if self.makespan_ns == 0 and not (self.attempts > 0).any():
            return []
        graph, bottom, busy = self._graph, self._bottom_levels, self.busy_ns
        started = np.where(self.attempts > 0, bottom, -1)
        path = [int(started.argmax())]
        while True:
            task = path[-1]
            row = graph.succ[graph.succ_ptr[task] : graph.succ_ptr[task + 1]]
            row = row[(self.attempts[row] > 0) & (bottom[row] == bottom[task] - busy[task])]
            if not len(row):
                return path
            path.append(int(row.min()))

    def risk(
        self,
        *,
        spread: float = 0.2,
        samples: int = 1000,
        seed: int = 0,
        threads: int = 1,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> Risk:
        """What becomes of the makespan when durations vary. See `Schedule.risk`."""
        if self.make_replay is None:
            raise ValueError(
                "risk() plays the list of a plan again, with other durations: this is none, or one that was made with "
                "events, failures or an outcome; plan without them"
            )
        make_replay = self.make_replay
        return measure_risk(
            lambda: make_replay(bool(spread)),
            lambda: self._graph.ids,
            len(self._graph),
            self.makespan,
            spread=spread,
            samples=samples,
            seed=seed,
            threads=threads,
            on_progress=on_progress,
        )

    @cached_property
    def attempt_columns(self) -> dict[str, npt.NDArray[Any]]:
        """Every attempt, in the order of (start, task, attempt).

        Columns task, worker, attempt, start_ns, end_ns, completed, reason (the core's code; 0 for what completed).
        """
        done = np.nonzero(self.state == COMPLETED_STATE)[0]
        log = self.log
        columns: dict[str, npt.NDArray[Any]] = {
            "task": np.concatenate((done, log["task"])).astype(np.int64),
            "worker": np.concatenate((self.worker[done], log["worker"])),
            "attempt": np.concatenate((self.attempts[done], log["attempt"])),
            "start_ns": np.concatenate((self.start_ns[done], log["start"])),
            "end_ns": np.concatenate((self.end_ns[done], log["end"])),
            "completed": np.arange(len(done) + len(log["task"])) < len(done),
            "reason": np.concatenate((np.zeros(len(done), dtype=np.uint8), log["reason"])).astype(np.uint8),
        }
        by = np.lexsort((columns["attempt"], columns["task"], columns["start_ns"]))
        return {name: column[by] for name, column in columns.items()}

    @cached_property
    def utilisation(self) -> npt.NDArray[np.float64]:
        """(W, K): the share of each worker's resource that attempts held, over the makespan; 0 where it has none."""
        held = np.zeros(self._capacity.shape, dtype=np.float64)
        columns = self.attempt_columns
        spans = (columns["end_ns"] - columns["start_ns"]).astype(np.float64)
        np.add.at(held, columns["worker"], self._graph.demand[columns["task"]] * spans[:, None])
        room = self._capacity.astype(np.float64) * self.makespan_ns
        return np.divide(held, room, out=np.zeros_like(held), where=room > 0)


class _Outcome(Pictured, dict[str, TaskStatus]):
    """A dictionary from task id to final status, with the columns behind it."""

    plan: Plan
    _what: str  # it is called on pictures

    def __init__(self, ids: Sequence[str], worker_ids: Sequence[str], plan: Plan) -> None:
        if plan.all_completed:
            super().__init__(dict.fromkeys(ids, TaskStatus.COMPLETED))
        else:
            super().__init__(zip(ids, map(STATUS_OF_STATE.__getitem__, plan.state.tolist())))
        self.plan = plan
        self.worker_ids = tuple(worker_ids)

    @cached_property
    def task_ids(self) -> tuple[str, ...]:
        """The ids, in the order in which the tasks were given."""
        return tuple(self)

    @cached_property
    def reasons(self) -> dict[str, Reason]:
        """Why each task that failed did, by id, in the order of the tasks."""
        failed = np.nonzero(self.plan.reason)[0].tolist()
        codes = self.plan.reason
        return {self.task_ids[i]: reason for i in failed if (reason := REASON_OF_CODE[codes[i]]) is not None}

    @cached_property
    def causes(self) -> dict[str, str]:
        """For each task that failed with DEPENDENCY, the id of the failed task at the root of it."""
        skipped = np.nonzero(self.plan.cause >= 0)[0].tolist()
        return {self.task_ids[i]: self.task_ids[int(self.plan.cause[i])] for i in skipped}

    @property
    def makespan(self) -> float:
        """Seconds from the start to the end of the last attempt."""
        return self.plan.makespan

    @property
    def all_completed(self) -> bool:
        """Whether every task completed."""
        return self.plan.all_completed

    def _made(self) -> list[Made]:
        """The attempts of the tasks that came to their end."""
        plan, ids, workers = self.plan, self.task_ids, self.worker_ids
        done, log = np.nonzero(plan.state == COMPLETED_STATE)[0], plan.log
        ended = np.isin(plan.state, ENDED_STATES)[log["task"]]
        failed = [log[name][ended].tolist() for name in ("task", "worker", "attempt", "start", "end", "reason")]
        columns = (plan.worker, plan.attempts, plan.start_ns, plan.end_ns)
        completed = [done.tolist(), *(column[done].tolist() for column in columns)]
        rows = chain(zip(*completed, repeat(0)), zip(*failed))
        lost = CODE_OF_REASON[Reason.WORKER_LOST]
        return [
            Made(ids[task], workers[w], attempt, start, end, reason == lost)
            for task, w, attempt, start, end, reason in rows
        ]

    @cached_property
    def utilisation(self) -> dict[str, dict[str, float]]:
        """By worker id and resource: the share that attempts held, over the makespan."""
        names = self.plan._graph.resources
        return {worker: dict(zip(names, row)) for worker, row in zip(self.worker_ids, self.plan.utilisation.tolist())}

    @property
    def table(self) -> AttemptTable:
        """Every attempt as a table for data frames: `polars.DataFrame(plan.table)`, `pyarrow.table(plan.table)`, ..."""
        return AttemptTable(self.task_ids, self.worker_ids, self.plan.attempt_columns, REASON_OF_CODE)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The same as that of `table`, for those who do not take a dictionary for something else."""
        return self.table.__arrow_c_stream__(requested_schema)

    def _scene(self, title: str) -> Scene:
        plan, graph = self.plan, self.plan._graph
        return Scene(
            what=self._what,
            title=title,
            task_ids=self.task_ids,
            worker_ids=self.worker_ids,
            resources=graph.resources,
            demand=graph.demand,
            capacity=plan._capacity,
            dep_ptr=graph.dep_ptr,
            deps=graph.deps,
            columns=plan.attempt_columns,
            task_end_ns=np.where(plan.start_ns < 0, -1, plan.end_ns),
            status=[str(status) for status in self.values()],
            cause=plan.cause,
            why={task: str(REASON_OF_CODE[plan.reason[task]]) for task in np.nonzero(plan.reason)[0].tolist()},
            reason_names=["", *map(str, Reason)],
            critical=plan.critical_path,
            makespan_ns=plan.makespan_ns,
            bounds_ns=plan.bounds_ns | {plan.bound_by: plan.lower_bound_ns},
        )


class Schedule(_Outcome):
    """What `schedule()` answers: a dictionary from task id to final status, and the plan behind it.

    `reasons` and `causes` say why a task failed; `placements` has every attempt; `.plan` has the same as
    numpy columns. Times are seconds of virtual time.
    """

    _what = "plan"

    @property
    def rank(self) -> str:
        """The order of urgency by which it was made: where `auto` was asked for, what was taken; `search`: none."""
        return self.plan.rank

    @property
    def fit(self) -> str:
        """The fit by which it was made: where `auto` was asked for, what was taken; `search`: none."""
        return self.plan.fit

    @property
    def lower_bound(self) -> float:
        """Seconds: no schedule of these attempts on these workers is shorter."""
        return self.plan.lower_bound

    @property
    def bound_by(self) -> str:
        """What the lower bound comes from: `critical path`, a resource, `tasks apart` or `windows`."""
        return self.plan.bound_by

    @property
    def gap(self) -> float:
        """How far the makespan is above the lower bound, as a share of that: 0.0 where the plan is optimal."""
        return self.plan.gap

    @cached_property
    def bottleneck(self) -> Bottleneck | None:
        """What keeps it from being shorter, and when; None where there is nothing to do.

        It is the proof of the best bound that can be told so; one by windows is in `lower_bound` alone.
        """
        return find_bottleneck(self.plan, self.plan.bound, self.task_ids, self.worker_ids)

    def validate(self) -> None:
        """Hold every attempt to the graph and the workers: precedence, room at every instant, durations, retries.

        It shares no code with what makes plans. Raises PlanInvalid, naming every violation by id and instant.
        """
        raise_for_wrongs(self.plan, self.task_ids, self.worker_ids)

    def risk(
        self,
        *,
        spread: float = 0.2,
        samples: int = 1000,
        seed: int = 0,
        threads: int = 1,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> Risk:
        """What becomes of the makespan when durations vary: `samples` plays of what a run does that follows it.

        A plan of one pass is played by its list and its fit; one that a search found by its order and its workers. With
        a spread of 0 either is the plan.

        Args:
            spread: the standard deviation of each duration, as a share of it (0.2 is 20 %): it is multiplied by a
                lognormal factor of mean 1 with this coefficient of variation, each task by its own.
            samples: how many. seed: of the draws, which are the same on every machine.
            threads: so many play at a time; the answer is the same.
            on_progress: on_progress(played, samples) is told now and then.

        Raises:
            ValueError: where a number is out of range, or the plan was made with events, failures or an outcome.
        """
        return self.plan.risk(spread=spread, samples=samples, seed=seed, threads=threads, on_progress=on_progress)

    @cached_property
    def critical_path(self) -> list[str]:
        """The ids along the longest chain of dependent tasks, first to last."""
        return [self.task_ids[i] for i in self.plan.critical_path]

    @cached_property
    def placements(self) -> list[Placement]:
        """Every attempt, in the order of (start, task, attempt)."""
        columns = self.plan.attempt_columns
        return [
            Placement(
                self.task_ids[task],
                self.worker_ids[worker],
                attempt,
                start / NS,
                end / NS,
                TaskStatus.COMPLETED if completed else TaskStatus.FAILED,
            )
            for task, worker, attempt, start, end, completed, _ in zip(*(c.tolist() for c in columns.values()))
        ]

    @property
    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The placements as numpy columns: task and worker are indices into `task_ids` and `worker_ids`."""
        return self.plan.attempt_columns


class Attempt(NamedTuple):
    """One attempt that was really made.

    Times are seconds from the start of the run. `reason` is None where it completed. `exit_code` and
    `signal` are None where they do not apply. `peak_memory_mb` is that of the largest process that was
    waited for, `cpu_seconds` user and system time of all of them; both None where it was not measured.
    `stdout` and `stderr` are the paths of the files that hold what it wrote: the null device where
    that is nothing, "" where they are not kept.
    """

    task_id: str
    worker_id: str
    attempt: int
    start: float
    end: float
    reason: Reason | None
    exit_code: int | None
    signal: int | None
    message: str
    peak_memory_mb: float | None
    cpu_seconds: float | None
    stdout: str
    stderr: str


class Run(_Outcome):
    """What `run()` answers: a dictionary from task id to final status, and what happened.

    Attributes:
        attempts: every `Attempt`, in the order of their ends: a sequence.
        run_dir: the folder that holds the outputs of the attempts.
        interrupted: whether it was ended before its time.
        unfinished: of such a run, the tasks that had not come to their end: what is left for `fastsched resume`.
    """

    _what = "run"

    def __init__(
        self,
        ids: Sequence[str],
        worker_ids: Sequence[str],
        plan: Plan,
        attempts: Sequence[Attempt],
        run_dir: str,
        interrupted: bool,
        unfinished: Sequence[str] = (),
    ) -> None:
        super().__init__(ids, worker_ids, plan)
        self.unfinished = unfinished
        self.attempts = attempts
        self.run_dir = run_dir
        self.interrupted = interrupted

    def validate(self) -> None:
        """Hold every attempt that was made to the graph and the workers, as `Schedule.validate` does.

        Attempts last as long as they last, and workers are held to what they had at the end of the run. Raises
        PlanInvalid, naming every violation by id and instant.
        """
        raise_for_wrongs(self.plan, self.task_ids, self.worker_ids, expected=False, open_ends=self.interrupted)

    def against(self, plan: _Outcome | Placed | Iterable[Placement]) -> Delays:
        """This run beside a plan of the same tasks: a `Schedule`, one that was loaded, placements, or another run.

        Returns:
            A `Delays`: how late every task was and the whole, and for what, so that the parts add up.

        Raises:
            ValueError: where none of the tasks of this run is in the plan.
        """
        rows: Any = getattr(plan, "placements", plan)
        planned_made = plan._made() if isinstance(plan, _Outcome) else list(map(_as_made, rows))
        known = plan.keys() if isinstance(plan, _Outcome) else {made.task_id for made in planned_made}
        if known and self and self.keys().isdisjoint(known):
            raise ValueError("the plan has none of the tasks of this run; it is of others")
        graph = self.plan._graph
        planned, actual = (
            make_course(graph.dep_ptr, graph.deps, graph.order, self.task_ids, attempts)
            for attempts in (planned_made, self._made())
        )
        return compare(self.task_ids, planned, actual)

    @cached_property
    def last_attempts(self) -> dict[str, Attempt]:
        """The last attempt of every task that was started, by id."""
        return {attempt.task_id: attempt for attempt in self.attempts}

    @property
    def exit_codes(self) -> dict[str, int | None]:
        """The exit code of the last attempt of every task that was started; None where it had none."""
        return {task_id: attempt.exit_code for task_id, attempt in self.last_attempts.items()}


def _as_made(placement: Placement) -> Made:
    task_id, worker_id, attempt, start, end, _ = placement
    return Made(task_id, worker_id or None, attempt, round(start * NS), round(end * NS), False)
