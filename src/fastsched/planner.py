"""`schedule()`: compile the graph, play the virtual time line, put names on the result.

Virtual time only: nothing is executed, and no clock is read but by a search that was given seconds (`optimize.py`).
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ._core import REASON_UNSATISFIABLE, Core
from ._replay import Replay
from ._timeline import STEPS, simulate
from .errors import UnsatisfiableWarning
from .explain import describe_misfit
from .following import by_latest_start, follow, hold_back, loosened, read_guide, read_route
from .graph import CompiledGraph, Graph, WorkerTable, read_both
from .guide import Guide, Route
from .history import Measurements
from .kinds import DemandClasses
from .model import Task, Worker, nearest
from .optimize import SEARCH, Few, Optimize, Spending, few_schedules, improve
from .plan import Plan, Schedule
from .policy import FailureModel, Policy, WorkerEvent
from .portfolio import AUTO, FITS, PAIRS, Passes, best_plan, check_choice, check_fit, check_rank, key_of, pairs_to_try
from .ranks import RANKS, mean_capacity, urgency_order
from .validate import Terms

__all__ = ["TaskGraph", "check_history", "choose_pair", "make_core", "plan_ahead"]
__all__ += ["schedule", "submit", "with_history"]

NS = 1_000_000_000
CHANCE = 2**53  # a probability of 1, as the time line counts it
DEFAULTS = Policy()
# Of the seconds of a search: later, no pass is begun. On one worker soon, for there any schedule of a search is better.
PASSES_SHARE, PASSES_SHARE_OF_ONE = 1 / 2, 1 / 16
RANK_OF_THE_REST = "critical-path"  # of what a plan does not have
Outcome = Callable[[str, str, int], bool]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


class TaskGraph(CompiledGraph):
    """Tasks compiled once, to be scheduled many times: see `CompiledGraph` for what it holds."""

    def schedule(
        self,
        workers: Iterable[Worker | Mapping[str, Any]],
        *,
        rank: str = "critical-path",
        fit: str = "most-free",
        max_retries: int = 3,
        policy: Policy | None = None,
        outcome: Outcome | None = None,
        events: Iterable[WorkerEvent] = (),
        failures: FailureModel | None = None,
        plan: Schedule | Plan | Guide | None = None,
        on_progress: Callable[[int, int], object] | None = None,
        history: Measurements | None = None,
        optimize: float | Optimize | None = None,
    ) -> Plan:
        """Plan what runs where and when: the numbers alone. Takes what `schedule()` takes, and raises the same.

        Returns:
            A `Plan`: numpy columns start, end, worker, attempts, status, one entry a task; makespan; bounds.
        """
        spending = None if optimize is None else Spending(Optimize.of(optimize))
        there = WorkerTable(workers, self.resources)
        made, table = with_history(self, there, history)._play(
            there,
            rank,
            fit,
            max_retries,
            policy=policy,
            outcome=outcome,
            events=events,
            failures=failures,
            plan=plan,
            on_progress=on_progress,
            spending=spending,
        )
        warn_unsatisfiable(self, table, made)
        return made

    def _play(
        self,
        workers: Iterable[Worker | Mapping[str, Any]] | WorkerTable,
        rank: str,
        fit: str,
        max_retries: int,
        *,
        policy: Policy | None,
        outcome: Outcome | None,
        events: Iterable[WorkerEvent],
        failures: FailureModel | None,
        plan: Schedule | Plan | Guide | None,
        on_progress: Callable[[int, int], object] | None,
        spending: Spending | None = None,
    ) -> tuple[Plan, WorkerTable]:
        """The plan, and all the workers that it knows."""
        _check_kind("failures", failures, FailureModel)
        if outcome is not None and not callable(outcome):
            raise TypeError(f"outcome is {outcome!r}; a function of task id, worker id and attempt is wanted")
        check_rank(rank)
        check_fit(fit)
        there = workers if isinstance(workers, WorkerTable) else WorkerTable(workers, self.resources)
        script = Script(there, self.resources, events)
        table = script.table
        passes = _passes_of(self, there, max_retries, policy, on_progress)
        plain = script.columns is None and outcome is None and failures is None and plan is None
        if spending is not None and not plain:
            raise ValueError(
                "a search plans a world in which nothing goes wrong; leave out optimize, or the events,"
                " the failures, the outcome and the plan that are given beside it"
            )
        is_searched = plain and (rank == AUTO or spending is not None)
        few = few_schedules(self, len(table)) if is_searched else None
        if spending is not None:
            made = self._begin(passes, table, rank, fit, few, spending)
            made = self._improve(made, passes, table, policy, spending)
        elif few is not None:
            first = passes.plan(PAIRS[0][0], PAIRS[0][1] if fit == AUTO else fit)
            made = self._improve(first, passes, table, policy, Spending(few))
        elif plain:
            made = best_plan(rank, fit, passes, passes.plan, n_workers=len(table), stops=True)
            order = made.order = urgency_order(self.priority, passes.keys[made.rank, made.fit])
            made.make_replay = lambda _: make_replay(self, table, rank=place_in(order), fit=made.fit, policy=policy)
        else:
            ids, worker_ids, told = self.ids if outcome else [], table.ids, outcome
            route = None if plan is None else read_route(plan, self, table, fit=fit)

            def play(rank: str, fit: str) -> Plan:
                key = rank if rank in RANKS else passes.key(rank, fit)
                core = make_core(
                    self, table, rank=key, fit=fit, max_retries=max_retries, policy=policy, n_there=len(there)
                )
                if route is not None:
                    follow(core, route)
                simulate(
                    core,
                    outcome=told and (lambda task, worker, attempt: bool(told(ids[task], worker_ids[worker], attempt))),
                    script=script.columns,
                    tell=passes.tell,
                    **read_failures(self, table, failures),
                )
                passes.n_played += 1
                return Plan(self, script.most, core.columns(), core.log(), rank=rank, fit=fit)

            made = best_plan(rank, fit, passes, play, n_workers=len(table), stops=False)
            if plan is None and made.rank in RANKS:
                made.order = urgency_order(self.priority, key_of(made.rank, self, mean_capacity(table.capacity)))
        made.terms = Terms(
            retries_of(self, max_retries),
            (policy or DEFAULTS).max_losses,
            table.capacity,
            len(there),
            script.columns,
            chance=failures is not None and failures.worker_mtbf is not None,
        )
        return made, table

    def _begin(
        self, passes: Passes, table: WorkerTable, rank: str, fit: str, few: Optimize | None, spending: Spending
    ) -> Plan:
        """What a search begins with: the best plan of those of `auto` and by the pair that was asked for.

        After the first one, as far as that takes no more than a share of the seconds.
        """
        share = PASSES_SHARE if few is None else PASSES_SHARE_OF_ONE

        def go_on() -> bool:
            return spending.allows(share)

        made: list[Plan] = []  # the shortest, and the first one of `auto`

        def play(rank: str, fit: str) -> Plan:
            plan = passes.plan(rank, fit)
            firsts = [one for one in (*made, plan) if (one.rank, one.fit) == PAIRS[0]]
            made[:] = [min((*made, plan), key=lambda one: one.makespan_ns), *firsts[:1]]
            return plan

        pairs = dict.fromkeys([(rank, fit), (AUTO, AUTO)])
        pairs.pop(PAIRS[0], None)  # with which `auto` begins
        try:
            for pair in pairs:
                if not made or go_on():
                    best_plan(*pair, passes, play, n_workers=len(table), stops=True, go_on=go_on)
            if few is not None and spending.left():
                made.append(improve(made[-1], Spending(few)))
        except KeyboardInterrupt:
            if not made:
                raise
            spending.end()  # what was planned so far is the answer
        return min(made, key=lambda plan: plan.makespan_ns)

    def _improve(self, made: Plan, passes: Passes, table: WorkerTable, policy: Policy | None, spent: Spending) -> Plan:
        """The plan, or a shorter one that is found within the budget."""
        try:
            made = improve(made, spent)
        except KeyboardInterrupt:  # before the search, which answers what it has
            if isinstance(spent.budget, Few):  # nobody has asked for one
                raise
        if made.rank != SEARCH:
            made.order = urgency_order(self.priority, passes.keys[made.rank, made.fit])

        @cache
        def route(varies: bool) -> Route:  # worked out once, when somebody wants to know the risk
            order = by_latest_start(self, table.capacity, made.start_ns, made.end_ns, made.worker)
            asked = Route.of_order(order, made.start_ns, made.end_ns, made.worker)
            if varies:
                return loosened(asked, self, table.capacity, fit=FITS[0])
            return hold_back(asked, self, table.capacity, fit=FITS[0], exactly=True)

        def replay(varies: bool) -> Replay:
            if made.order is not None:
                return make_replay(self, table, rank=place_in(made.order), fit=made.fit, policy=policy)
            return make_replay(self, table, rank=RANK_OF_THE_REST, fit=FITS[0], route=route(varies))

        made.make_replay = replay
        return made


def schedule(
    tasks: TaskGraph | Iterable[Task | Mapping[str, Any]],
    workers: Iterable[Worker | Mapping[str, Any]],
    *,
    rank: str = "critical-path",
    fit: str = "most-free",
    max_retries: int = 3,
    policy: Policy | None = None,
    outcome: Outcome | None = None,
    events: Iterable[WorkerEvent] = (),
    failures: FailureModel | None = None,
    plan: Schedule | Plan | Guide | None = None,
    on_progress: Callable[[int, int], object] | None = None,
    history: Measurements | None = None,
    optimize: float | Optimize | None = None,
) -> Schedule:
    """Plan what runs where and when, in virtual time. Nothing is executed.

    At every decision, the ready tasks are looked at in the order of (priority descending, rank,
    submission): the first that fits some worker now is placed on the worker that `fit` prefers, until
    none fits. This is list scheduling (Graham 1969) with `rank` as its list.

    Args:
        tasks: `Task` objects or mappings with the same fields, in the order of submission; or a `TaskGraph`.
        workers: `Worker` objects or mappings with the same fields.
        rank: `critical-path` (the longest chain behind a task first), which is `latest-start` too; `latest-finish` and
            `latest-middle` (the same without the task itself, and with half of it); `path-and-volume` (the longest
            chain of durations, each with its volume: what is asked for, in mean workers, times duration);
            `dominant-path` (the longest chain of volumes in the resource of which the task asks for most); `fifo`,
            `most-work` (its own cores times duration), `longest-first`. Made by planning: `mirrored` (the starts in a
            plan that is made backwards), and any rank with `+justified` behind it (its plan pushed back, from the last
            end on, and forward again).
        fit: `most-free` (the worker with the most available), `best-fit` (the least), `first-fit`; and by the match
            with what the task asks for: `dot-product`, `cosine` (the angle between the two), `least-left` (the
            shortest vector of what would be left over).
        rank="auto", fit="auto": either or both; some pairs are tried, up to ten times the work, and the plan in which
            most tasks complete, and of these the shortest, is kept; `.rank` and `.fit` say by which it was made. On one
            worker it is one pass and a search of as little work, and they say `search` where that was shorter.
            Whatever goes wrong goes wrong in each of them: `outcome` is asked of every attempt in every plan that
            is tried, and ought to answer alike.
        max_retries: failures that a task survives, where it does not say so itself.
        policy: what is done about failures, see `Policy`.
        outcome: `outcome(task_id, worker_id, attempt) -> bool` says whether a simulated attempt (1, 2, ...)
            succeeds. A failed attempt takes its full duration, and its retry avoids the workers on which the
            task failed, while another could hold it. None: all succeed.
        events: what happens to workers at stated times: "what if I lose this rack at noon".
        failures: what chance does to attempts and workers, from a seed.
        plan: one of the same tasks, which is followed: the ready tasks are looked at in its order (after their
            priority), those that it does not have after them, by `rank`; each goes to the worker that the plan has for
            it while there is room for it there, else where `fit` says. So it is seen what becomes of a plan when
            durations, workers or mishaps are others than it was made with.
        on_progress: on_progress(ended, tasks) is told now and then how many of the tasks have ended.
        history: what earlier runs measured, a `History`: durations for the tasks that name none, and memory.
        optimize: a search for a shorter plan: so many seconds, or an `Optimize`. It begins with the best of the plans
            of `auto` and of `rank` and `fit`, and never ends with a longer one. The seconds are those of the whole
            call; where half of them are spent, no other of these plans is begun. It looks for the shortest makespan
            alone: `priority` orders the plans that it begins with, and not what it finds. Ctrl-C ends it, and the best
            so far is the answer. Not together with outcome, events, failures or plan.

    Returns:
        A dictionary from task id to final status, with the plan attached.

    Raises:
        ValidationError: naming every problem of the tasks, or of the workers.
        ValueError: for an unknown rank or fit, or an event that names no worker.

    Warns:
        UnsatisfiableWarning: where a task asks for more than any worker has; it ends FAILED with
            reason UNSATISFIABLE.
    """
    spending = None if optimize is None else Spending(Optimize.of(optimize))
    check_rank(rank)
    check_fit(fit)
    graph, there = read_both(TaskGraph, tasks, workers)
    graph = with_history(graph, there, history)
    made, table = graph._play(
        there,
        rank,
        fit,
        max_retries,
        policy=policy,
        outcome=outcome,
        events=events,
        failures=failures,
        plan=plan,
        on_progress=on_progress,
        spending=spending,
    )
    warn_unsatisfiable(graph, table, made)
    return Schedule(graph.ids, table.ids, made)


def with_history(graph: Graph, table: WorkerTable | None, history: Measurements | None) -> Graph:
    """The graph with what earlier runs measured put in. Raises TypeError for what is no history."""
    check_history(history)
    return graph if history is None else history.fill(graph, table)[0]


def check_history(history: object) -> None:
    """Raise TypeError for what is neither a history nor None."""
    if history is not None and not isinstance(history, Measurements):
        raise TypeError(f"history is {history!r}; a fastsched.History is wanted, such as History.from_runs([...])")


def _passes_of(
    graph: CompiledGraph,
    table: WorkerTable,
    max_retries: int,
    policy: Policy | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> Passes:
    """The plans of a graph on workers on which nothing goes wrong."""
    return Passes(
        graph,
        table.capacity,
        lambda graph, key, fit: make_core(graph, table, rank=key, fit=fit, max_retries=max_retries, policy=policy),
        lambda core, tell: simulate(core, tell=tell),
        on_progress,
    )


def choose_pair(
    graph: CompiledGraph, table: WorkerTable, rank: str, fit: str, *, max_retries: int, policy: Policy | None = None
) -> tuple[str, str]:
    """The rank and the fit for a live run of which one is `auto`: those of the shortest plan by expected durations.

    Only ranks that follow from the graph alone, for that is what tasks that are submitted later are ranked by.
    """
    passes = _passes_of(graph, table, max_retries, policy)
    plans = (passes.plan(*pair) for pair in pairs_to_try(rank, fit, len(table)) if pair[0] in RANKS)
    best = min(plans, key=lambda plan: plan.makespan_ns)
    return best.rank, best.fit


def plan_ahead(
    graph: TaskGraph, table: WorkerTable, rank: str, fit: str, policy: Policy | None, optimize: Optimize
) -> Guide:
    """What a live run is to follow: the plan that a search finds within its budget."""
    made, _ = graph._play(
        table,
        rank,
        fit,
        0,
        policy=policy,
        outcome=None,
        events=(),
        failures=None,
        plan=None,
        on_progress=None,
        spending=Spending(optimize),
    )
    return read_guide(made)


def make_core(
    graph: CompiledGraph,
    table: WorkerTable,
    *,
    rank: str | Int64s,
    fit: str,
    max_retries: int,
    policy: Policy | None = None,
    n_there: int | None = None,
    expected: bool = False,
    **options: Any,
) -> Core:
    """The state machine for this graph on these workers, with nothing decided yet.

    `rank`: one of RANKS, or a key for each task.
    `n_there`: so many workers, the first ones, are there at once (None: all); the others are known and may join, and
    others wait for them if they are `expected`. `options` go to the core as they are.
    """
    if isinstance(rank, str):
        check_choice("rank", rank, RANKS)
    check_choice("fit", fit, FITS)
    _check_kind("policy", policy, Policy)
    core = Core(
        n_resources=len(graph.resources),
        pivot=graph.classes.pivot,
        fit=fit,
        **((policy or DEFAULTS).core_options() | options),
    )
    there = len(table) if n_there is None else n_there
    core.add_workers(table.capacity[:there], 0)
    if there < len(table):
        core.add_workers(table.capacity[there:], 0, True)
        for worker in range(there, len(table)) if not expected else ():
            core.remove_worker(worker, 0)
    submit(core, graph, rank=rank, max_retries=max_retries)
    return core


def make_replay(
    graph: CompiledGraph,
    table: WorkerTable,
    *,
    rank: str | Int64s,
    fit: str,
    policy: Policy | None = None,
    route: Route | None = None,
) -> Replay:
    """What plays this graph again and again, on these workers or some of them, or with other durations.

    `route`: a plan that is followed each time.
    """
    core = make_core(graph, table, rank=rank, fit=fit, max_retries=0, policy=policy)
    if route is not None:
        follow(core, route)
    core.fail_unsatisfiable(0)
    return Replay(core, graph.dep_ptr, graph.deps)


def place_in(order: Int32s) -> Int64s:
    """A key for each task: its place in the order."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place


def submit(core: Core, graph: CompiledGraph, *, rank: str | Int64s, max_retries: int, now: int = 0) -> None:
    """Book the tasks of a graph, or of a later submission, on a core.

    `rank`: one of RANKS, reckoned with the workers that are there or expected; or a key for each task.
    """
    if isinstance(max_retries, bool) or not hasattr(max_retries, "__index__") or not 0 <= max_retries < 2**31:
        raise ValueError(f"max_retries is {max_retries!r}; a whole number of 0 or more is wanted")
    classes = graph.classes if graph.classes.pivot == core.pivot else DemandClasses(graph.demand, core.pivot)
    if isinstance(rank, str):
        workers = core.worker_columns()
        mean = mean_capacity(core.amounts()[1][(workers["live"] | workers["expected"]) != 0])
        key = key_of(rank, graph, mean)
    else:
        key = rank
    core.add_tasks(
        now,
        dep_ptr=graph.dep_ptr,
        deps=graph.deps,
        demand=graph.demand,
        duration=graph.duration,
        priority=graph.priority,
        key=key,
        max_retries=retries_of(graph, max_retries),
        class_of=classes.class_of,
        class_demand=classes.class_demand,
        order=urgency_order(graph.priority, key),
        successors=(graph.succ_ptr, graph.succ) if core.n_tasks == 0 else None,
    )


def retries_of(graph: CompiledGraph, max_retries: int) -> npt.NDArray[np.int32]:
    """The failures that each task survives: its own number, or else the call's."""
    return np.where(graph.max_retries < 0, np.int32(operator.index(max_retries)), graph.max_retries)


class Script:
    """What happens to workers, as the time line reads it.

    Attributes:
        table: the workers at first, and those that join later.
        columns: (time in ns, code, worker, capacity), in order of time; None where nothing happens.
        most (W, K): the most that each worker ever has.
    """

    def __init__(self, table: WorkerTable, resources: tuple[str, ...], events: Iterable[WorkerEvent]) -> None:
        events = _read_events(events)
        known = set(table.ids)
        joining: dict[str, Worker] = {}
        for event in events:
            for worker in event.workers:
                if event.what == "join" and isinstance(worker, Worker) and worker.worker_id not in known:
                    joining.setdefault(worker.worker_id, worker)
        self.table, self.columns, self.most = table, None, table.capacity
        if not events:
            return
        given = WorkerTable((w for e in events for w in e.workers if isinstance(w, Worker)), resources, many=True)
        capacity_of = iter(given.capacity)
        self.table = WorkerTable([*table.workers, *joining.values()], resources)
        index = dict(zip(self.table.ids, range(len(self.table))))
        self.most = self.table.capacity.copy()
        rows = []
        for event in events:
            for worker in event.workers:
                name = worker if isinstance(worker, str) else worker.worker_id
                if name not in index:
                    raise ValueError(describe_unknown_worker(event, name, list(index)))
                at = index[name]
                capacity = np.full(len(resources), -1, dtype=np.int32)
                if isinstance(worker, Worker):
                    capacity = next(capacity_of)
                    self.most[at] = np.maximum(self.most[at], capacity)
                rows.append((round(event.at * NS), STEPS[event.what], at, capacity))
        time, kind, where, capacities = zip(*rows) if rows else ((), (), (), ())
        self.columns = (
            np.array(time, dtype=np.int64),
            np.array(kind, dtype=np.int32),
            np.array(where, dtype=np.int32),
            np.array(capacities, dtype=np.int32).reshape(-1, len(resources)),
        )


def _read_events(events: Iterable[WorkerEvent]) -> list[WorkerEvent]:
    """The events in order of time."""
    if isinstance(events, (str, Mapping)) or not isinstance(events, Iterable):
        raise TypeError(f"events is {events!r}; a list of fastsched.WorkerEvent is wanted")
    given = list(events)
    for i, event in enumerate(given):
        if not isinstance(event, WorkerEvent):
            raise TypeError(f"events[{i}] is {event!r}; a fastsched.WorkerEvent is wanted")
    return sorted(given, key=operator.attrgetter("at"))


def _check_kind(what: str, given: object, kind: type) -> None:
    if given is not None and not isinstance(given, kind):
        raise TypeError(f"{what} is {given!r}; a fastsched.{kind.__name__} is wanted, or None")


def describe_unknown_worker(event: WorkerEvent, name: str, known: list[str]) -> str:
    """That an event names a worker which is not there, and what may have been meant."""
    near = nearest(name, known)
    hint = f"did you mean {near!r}?" if near else "a new worker joins as a Worker, with its capacity"
    return f"the event {event.what!r} at {event.at:g} s names worker {name!r}, which is not known; {hint}"


def read_failures(graph: CompiledGraph, table: WorkerTable, model: FailureModel | None) -> dict[str, Any]:
    """The model as columns for the time line."""
    if model is None:
        return {}
    columns: dict[str, Any] = {"seed": model.seed}
    if model.task_probability:
        chances = _by_name("task", model.task_probability, graph, 0.0)
        columns["chances"] = np.round(chances * CHANCE).astype(np.int64)
    if model.worker_mtbf is not None:
        mtbf = _by_name("worker", model.worker_mtbf, table, 0.0)
        repair = _by_name("worker", -1.0 if model.worker_repair is None else model.worker_repair, table, -1.0)
        columns["mtbf"] = np.round(mtbf * NS).astype(np.int64)
        columns["repair"] = np.where(repair < 0, -1, np.round(repair * NS)).astype(np.int64)
    return columns


def _by_name(
    what: str, given: float | Mapping[str, float], items: CompiledGraph | WorkerTable, other: float
) -> npt.NDArray[np.float64]:
    """One number for each task or worker: the same for all, or by name."""
    if not isinstance(given, Mapping):
        return np.full(len(items), float(given))
    known = set(items.ids)
    for name in given:
        if name not in known:
            near = nearest(str(name), items.ids)
            hint = f"; did you mean {near!r}?" if near else ""
            raise ValueError(f"the failure model names {what} {name!r}, which is not known{hint}")
    return np.array([float(given.get(name, other)) for name in items.ids])


def warn_unsatisfiable(graph: CompiledGraph, table: WorkerTable, plan: Plan) -> None:
    """Say which tasks no worker could ever hold, with the largest worker and what it lacks."""
    hopeless = np.nonzero(plan.reason == REASON_UNSATISFIABLE)[0].tolist()
    if not hopeless:
        return
    first = [
        describe_misfit(graph.ids[task], graph.demand[task], table.ids, table.capacity, graph.resources)
        for task in hopeless[:3]
    ]
    n_more = len(hopeless) - 3
    more = f"; and {n_more} more task{'' if n_more == 1 else 's'}" if n_more > 0 else ""
    warnings.warn("; ".join(first) + more, UnsatisfiableWarning, stacklevel=3)
