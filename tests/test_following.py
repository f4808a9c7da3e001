"""A plan is followed: in virtual time, live, from a file; and planned anew where the run is behind it."""

from __future__ import annotations

import copy
import json
import os
import random
import threading
import warnings
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from worlds import make_world

from fastsched import (
    FormatError,
    Optimize,
    Scheduler,
    Task,
    TaskGraph,
    ValidationError,
    Worker,
    load_plan,
    run,
    save_plan,
    schedule,
)
from fastsched._timeline import simulate
from fastsched.cli import main
from fastsched.engines.simulated import Command, SimulatedEngine
from fastsched.errors import InternalError, RunInterrupted, UnsatisfiableWarning
from fastsched.events import AttemptCompleted, AttemptStarted, PlanAdopted, PlanFollowed, Replanned, WorkerJoined
from fastsched.following import by_latest_start, read_guide, read_route
from fastsched.graph import CompiledGraph, WorkerTable
from fastsched.guide import Route
from fastsched.model import Reason
from fastsched.planner import make_core
from fastsched.portfolio import key_of
from fastsched.runtime.pilot import AtOnce, Beside
from fastsched.runtime.replan import Present, look
from fastsched.runtime.run import play
from fastsched.runtime.session import Session, Settings, compile_both
from fastsched.runtime.view import PastRun
from fastsched.state import State

NS = 10**9
WORLDS = int(os.environ.get("FASTSCHED_WORLDS", "1600")) // 4


def quietly(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsatisfiableWarning)
        return schedule(*args, **options)


def calm_world(seed):
    """Tasks, workers, and the options of a world in which nothing goes wrong and no room is kept."""
    world = make_world(seed)
    return world, {"rank": world.rank, "fit": world.fit, "max_retries": world.max_retries}


# ---------------------------------------------------------------- in virtual time


@pytest.mark.parametrize("chunk", range(2))
def test_what_one_pass_has_planned_is_played_as_it_is(chunk, tmp_path):
    for seed in range(chunk, WORLDS, 2):
        world, options = calm_world(seed)
        plan = quietly(world.tasks, world.workers, **options)
        other = random.Random(seed).choice(["most-free", "best-fit", "first-fit"])
        save_plan(plan, tmp_path / "plan.json")
        for given in (plan, plan.plan, load_plan(tmp_path / "plan.json")):
            again = quietly(world.tasks, world.workers, rank="fifo", fit=other, plan=given)
            assert again.placements == plan.placements, f"seed {seed}: {type(given).__name__}"


def serial_plan(tasks, workers, rng):
    """Tasks in an order of chance, each as early as it fits: a plan that may leave room idle on purpose."""
    graph = TaskGraph(tasks)
    capacity = WorkerTable(workers, graph.resources).capacity.tolist()
    placed: dict[int, tuple[int, int, int]] = {}
    left = list(range(len(graph)))
    while left:
        above = {i: graph.deps[graph.dep_ptr[i] : graph.dep_ptr[i + 1]].tolist() for i in left}
        i = rng.choice([i for i in left if all(d in placed for d in above[i])])
        left.remove(i)
        demand, duration = graph.demand[i].tolist(), int(graph.duration[i])
        least = max([placed[d][2] for d in above[i]], default=0)
        times = sorted({least, *(end for _, _, end in placed.values() if end > least)})
        at, w = next(
            (t, w) for t in times for w in range(len(workers)) if fits(placed, graph, capacity, demand, t, duration, w)
        )
        placed[i] = (w, at, at + duration)
    return [
        {"task_id": graph.ids[i], "worker_id": workers[w].worker_id, "start": at / NS, "end": end / NS}
        for i, (w, at, end) in placed.items()
    ]


def fits(placed, graph, capacity, demand, at, duration, w):
    """Whether the worker has room for it all that time."""
    there = [
        (s, e, graph.demand[j].tolist()) for j, (v, s, e) in placed.items() if v == w and s < at + duration and e > at
    ]
    moments = {at, *(s for s, _, _ in there if s > at)}
    return all(
        sum(d[r] for s, e, d in there if s <= moment < e) + demand[r] <= capacity[w][r]
        for moment in moments
        for r in range(len(demand))
    )


def test_a_plan_that_leaves_room_idle_on_purpose_takes_no_longer_than_planned(tmp_path):
    n_idle = 0
    for seed in range(WORLDS // 8):
        rng = random.Random(f"serial/{seed}")
        n = rng.randint(5, 40)
        tasks = [
            Task(f"t{i}", "x", {f"t{rng.randrange(i)}" for _ in range(rng.choice([0, 1, 2]))} if i else (),
                 rng.choice([1, 2, 3, 4]), rng.choice([10, 20]), duration=rng.randint(1, 9))
            for i in range(n)
        ]  # fmt: skip
        workers = [Worker(f"w{i}", 4, 50) for i in range(rng.choice([1, 2, 3]))]
        rows = serial_plan(tasks, workers, rng)
        (tmp_path / "plan.json").write_text(json.dumps({"placements": rows, "more": 1}))
        guide = load_plan(tmp_path / "plan.json")
        planned = max(row["end"] for row in rows)
        played = schedule(tasks, workers, plan=guide)
        assert played.all_completed and played.makespan <= planned, f"seed {seed}"
        by_starts = schedule([replace_priority(task, rows) for task in tasks], workers, rank="fifo")
        n_idle += by_starts.makespan > planned
    assert n_idle > WORLDS // 100, "the order of the starts alone does not keep such plans"


def replace_priority(task, rows):
    start = next(row["start"] for row in rows if row["task_id"] == task.task_id)
    return Task(task.task_id, task.command, task.dependencies, task.cpu_cores_required, task.memory_required_mb,
                priority=-round(start), duration=task.duration)  # fmt: skip


def test_a_plan_is_kept_where_it_holds_and_left_where_its_worker_has_no_room():
    workers = [Worker("a", 2, 100), Worker("b", 2, 100)]
    tasks = [
        Task("x", "x", (), 1, 10, duration=4),
        Task("y", "x", (), 1, 10, duration=4),
        Task("z", "x", ["x"], 2, 10, duration=1),
    ]
    plan = schedule(tasks, workers, fit="best-fit")
    assert {p.task_id: p.worker_id for p in plan.placements} == {"x": "a", "y": "a", "z": "a"}
    assert schedule(tasks, workers, plan=plan).placements == plan.placements, "most-free would have used both"
    blocker = Task("first", "x", (), 2, 10, priority=1, duration=100)
    busy = schedule([*tasks, blocker], workers, plan=plan)
    where = {p.task_id: (p.worker_id, p.start) for p in busy.placements}
    assert where == {"first": ("a", 0), "x": ("b", 0), "y": ("b", 0), "z": ("b", 4)}, (
        "nobody waits for the planned worker"
    )


def test_what_is_not_planned_goes_after_what_is_and_priority_before_both():
    worker = [Worker("w", 1, 1000)]
    tasks = [Task(f"t{i}", "x", duration=i + 1) for i in range(3)]
    plan = schedule(tasks, worker, rank="fifo")
    more = [Task("long", "x", duration=99), *tasks, Task("urgent", "x", priority=1, duration=1)]
    assert [p.task_id for p in schedule(more, worker, plan=plan).placements] == ["urgent", "t0", "t1", "t2", "long"]


def test_latest_starts_say_what_is_urgent_and_starts_do_not():
    """`gap` fills a gap and starts first; that `chain` must not be late is seen from the end."""
    tasks = [Task("gap", "x", duration=5), Task("chain", "x", duration=5), Task("end", "x", ["chain"], duration=50)]
    graph = TaskGraph(tasks)
    capacity = WorkerTable([Worker("a", 1, 1000), Worker("b", 1, 1000)], graph.resources).capacity
    start = np.array([0, 0, 5]) * NS
    order = by_latest_start(graph, capacity, start, start + graph.duration, np.array([0, 1, 1], dtype=np.int32))
    assert [graph.ids[i] for i in order] == ["chain", "end", "gap"]


def test_plans_of_other_tasks_and_things_that_are_no_plans(tmp_path):
    worker = [Worker("w", 1, 1000)]
    plan = schedule([Task("alpha", "x"), Task("beta", "x")], worker)
    with pytest.raises(ValidationError, match=r"alpha, beta \(did you mean alpah\?\).*make the plan again"):
        schedule([Task("alpah", "x")], worker, plan=plan)
    with pytest.raises(ValidationError, match="beta"):
        run([Task("alpha", "true")], worker, plan=plan, capture=False)
    with pytest.raises(TypeError, match="what schedule\\(\\) answers is wanted"):
        schedule([Task("alpha", "x")], worker, plan="plan.json")
    for text, words in (
        ("{}", "missing required field"), ("[1]", "no plan"), ("\x00", "no plan"),
        ('{"placements": [{"task_id": "a", "worker_id": "w", "start": 2, "end": 1}]}', "from 2 s to 1 s"),
    ):  # fmt: skip
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(FormatError, match=words):
            load_plan(tmp_path / "plan.json")
    with pytest.raises(ValueError, match="replan is 0"):
        run([Task("alpha", "true")], worker, replan=0, capture=False)


def test_a_part_of_a_plan_begins_at_once():
    plan = schedule([Task(f"t{i}", "x", duration=2) for i in range(4)], [Worker("w", 1, 1000)], rank="fifo")
    rest = read_guide(plan).only({"t2", "t3"})
    assert rest.task_ids == ["t2", "t3"] and rest.route.start_ns.tolist() == [0, 2 * NS]


# ---------------------------------------------------------------- live, in the virtual time of the simulated engine


def crowd(n=80, seed=3):
    """Tasks on few workers, and how long each really takes: some much longer than was said."""
    rng = random.Random(seed)
    tasks = [
        Task(f"t{i}", "x", {f"t{rng.randrange(max(0, i - 20), i)}" for _ in range(2)} if i > 8 else (),
             rng.choice([1, 2, 4]), 10, duration=rng.randint(5, 60))
        for i in range(n)
    ]  # fmt: skip
    return tasks, [Worker(f"w{i}", 4, 1000) for i in range(4)], {t.task_id: rng.uniform(1, 2.5) for t in tasks}


def live(tasks, workers, plan, *, factors=None, journal=None, **options):
    """A run on the simulated engine; answers it, its events and its state."""
    lasts = {task.task_id: task.duration * (factors or {}).get(task.task_id, 1) for task in tasks}
    engine = SimulatedEngine(0, lambda order, _: Command(lasts[order.task_id]))
    graph, table = compile_both(tasks, workers)
    guide = None if plan is None else read_guide(plan)
    settings = Settings(engine=engine, capture=False, journal=journal, plan=guide, **options)
    session = Session(settings, graph, table, settled=True, fresh=True, clock=engine.clock, aside=AtOnce())
    events = []
    result = play(session, events.append, None)
    session.loop.state.check()
    return result, events, session.loop


def test_a_run_that_goes_as_planned_is_the_plan():
    tasks, workers, _ = crowd()
    plan = schedule(tasks, workers)
    result, events, loop = live(tasks, workers, plan)
    assert result.all_completed and result.makespan <= plan.makespan * 1.02
    (followed,) = [event for event in events if isinstance(event, PlanFollowed)]
    assert (followed.n_tasks, followed.ends_ns - followed.at_ns) == (len(tasks), plan.plan.makespan_ns)
    assert not [event for event in events if isinstance(event, Replanned)]
    assert loop.pilot.note == "following the plan: 0 % behind"


def test_a_run_that_is_behind_is_planned_anew_from_where_it_is():
    tasks, workers, factors = crowd()
    plan = schedule(tasks, workers)
    result, events, loop = live(tasks, workers, plan, factors=factors, replan=0.1)
    anew = [event for event in events if isinstance(event, Replanned)]
    assert result.all_completed and anew
    limit = 0.1 * plan.plan.makespan_ns
    for event in anew:
        assert event.behind_ns > limit and event.ends_ns <= event.was_ns
    assert loop.state.followed.n_anew == len(anew)
    assert abs(anew[-1].ends_ns / result.plan.makespan_ns - 1) < 0.15, "the last plan knew when it would be over"
    never, events, loop = live(tasks, workers, plan, factors=factors, replan=None)
    assert never.all_completed and not [event for event in events if isinstance(event, Replanned)]
    assert loop.pilot.behind > 0.2


def test_a_new_plan_knows_what_runs_and_who_is_gone():
    tasks, workers, factors = crowd()
    plan = schedule(tasks, workers)
    _, events, loop = live(tasks, workers[:2], plan, factors=factors, replan=0.1)
    known = {"w0", "w1"}
    assert [event for event in events if isinstance(event, Replanned)]
    assert {event.worker_id for event in events if isinstance(event, AttemptCompleted)} == known
    assert loop.state.done


def test_the_journal_has_the_plan_and_its_successors(tmp_path):
    tasks, workers, factors = crowd()
    plan = schedule(tasks, workers)
    _, events, loop = live(tasks, workers, plan, factors=factors, replan=0.1, journal=tmp_path / "run")
    past = PastRun(tmp_path / "run")
    assert past.opened.replan == 0.1
    assert past.ledger.state.digest() == loop.state.digest()
    followed = past.ledger.state.followed
    assert followed.n_anew == sum(isinstance(event, Replanned) for event in events) > 0
    assert past.view.overview()["plan"]["planned_anew"] == followed.n_anew


def present_of(tasks, workers, factors, after):
    """The present of a run by rank, after so many seconds."""
    lasts = {task.task_id: task.duration * factors[task.task_id] for task in tasks}
    engine = SimulatedEngine(0, lambda order, _: Command(lasts[order.task_id]))
    graph, table = compile_both(tasks, workers)
    presents = []

    def tell(events):
        if loop.now() > after * NS and not presents and loop.state.n_running:
            presents.append(Present.of(loop.ledger, loop.now(), "most-free"))

    settings = Settings(engine=engine, capture=False)
    session = Session(settings, graph, table, settled=True, clock=engine.clock, aside=AtOnce())
    loop = session.open(tell)
    loop.serve(lambda: bool(presents) or loop.state.done)
    session.close()
    return presents[0]


def test_of_the_plans_that_are_found_the_shortest_is_followed():
    """By what is followed the chain goes last, which it does not by rank."""
    chain = [Task(f"c{i}", "x", [f"c{i - 1}"] if i else [], 1, 10, duration=10) for i in range(10)]
    fill = [Task(f"f{i}", "x", (), 1, 10, duration=10) for i in range(10)]
    tasks, workers = [*chain, *fill], [Worker(name, 1, 1000) for name in "ab"]
    present = present_of(tasks, workers, {task.task_id: 1.0 for task in tasks}, after=5)
    in_chain = present.tasks < len(chain)
    present = replace(present, key=np.where(in_chain, 1, 0))
    starts = np.zeros(len(present), dtype=np.int64)
    found = look(present, starts, planned_ns=0, most_behind_ns=0)
    assert found.ends_ns - found.route.ends_ns > 30 * NS, "the chain goes first from here on"
    assert look(present, starts, planned_ns=found.ends_ns, most_behind_ns=0).route is None, "it is as planned"
    fill_alone = look(present, np.where(in_chain, -1, starts), planned_ns=0, most_behind_ns=None)
    assert fill_alone.ends_ns < found.ends_ns == fill_alone.over_ns, "who is not planned is not behind the plan"


# ---------------------------------------------------------------- what does not go as planned


def long_last(n=12):
    """Short tasks, and a long one, which a plan may well let begin last."""
    short = [Task(f"s{i}", "x", (), 1, 10, duration=10) for i in range(n)]
    return [*short, Task("long", "x", (), 1, 10, duration=40)], [Worker("a", 1, 1000), Worker("b", 1, 1000)]


def late_plan(tasks, tmp_path):
    """One that lets the long task begin last, with no time left for it to be late."""
    where = [("a", i) for i in range(8)] + [("b", i) for i in range(4)]
    rows = [{"task_id": f"s{i}", "worker_id": name, "start": 10.0 * at} for i, (name, at) in enumerate(where)]
    rows.append({"task_id": "long", "worker_id": "b", "start": 40.0})
    lasts = {task.task_id: task.duration for task in tasks}
    rows = [row | {"end": row["start"] + lasts[row["task_id"]]} for row in rows]
    (tmp_path / "plan.json").write_text(json.dumps({"order": [row["task_id"] for row in rows], "placements": rows}))
    return load_plan(tmp_path / "plan.json")


def test_a_plan_is_followed_to_the_letter_only_while_it_goes_as_planned(tmp_path):
    tasks, workers = long_last()
    plan = late_plan(tasks, tmp_path)
    exact = schedule(tasks, workers, plan=plan)
    assert exact.makespan == 80 and {p.start for p in exact.placements if p.task_id == "long"} == {40}
    slower = [msgspec.structs.replace(task, duration=task.duration * 1.1) for task in tasks]
    (later,) = [p for p in schedule(slower, workers, plan=plan).placements if p.task_id == "long"]
    assert later.start < 40, "rank has a say in it"
    told = {task.task_id: 1.0 for task in tasks}
    result, events, _ = live(tasks, workers, plan, factors=told)
    assert result.makespan == 80 and sum(isinstance(event, PlanFollowed) for event in events) == 1
    told["s0"] = 1.2
    result, events, loop = live(tasks, workers, plan, factors=told, replan=None)
    adopted = [event for event in events if isinstance(event, PlanFollowed)]
    assert len(adopted) == 1, "the plan is the same, in another order"
    started = next(e.at_ns for e in events if isinstance(e, AttemptStarted) and e.task_id == "long")
    assert 10 * NS < started < 40 * NS, "as soon as it was seen that one took another time than was expected"
    starts = loop.state.followed.start_ns / NS
    assert starts[loop.state.index_of("long")] == 40, "it is still known when the plan has it"
    assert loop.pilot.behind is not None and not loop.state.followed.n_anew


def test_who_waits_on_purpose_is_few():
    """Of those that are held back so that a plan is kept, some have to be, and most not."""
    n_held = n_tasks = 0
    for seed in range(20):
        tasks, workers, _ = crowd(80, seed)
        graph = TaskGraph(tasks)
        plan = graph.schedule(workers, optimize=Optimize(schedules=200))
        route = read_route(plan, graph, WorkerTable(workers, graph.resources))
        assert graph.schedule(workers, plan=plan).makespan_ns <= plan.makespan_ns, f"seed {seed}"
        n_held += np.count_nonzero(route.not_before)
        n_tasks += len(tasks)
    assert 0 < n_held < n_tasks / 5


def test_with_other_durations_a_plan_is_worth_no_less_than_the_rank():
    """On average, over graphs that are short of cores: durations that vary by a tenth, and by three."""
    for spread in (0.1, 0.3):
        ratios = []
        for seed in range(40):
            tasks, workers, _ = crowd(60, seed)
            graph, table = TaskGraph(tasks), WorkerTable(workers, TaskGraph(tasks).resources)
            plan = graph.schedule(workers, optimize=Optimize(schedules=200))
            key = key_of("critical-path", graph, np.ones(2))
            rng = np.random.default_rng(seed)
            for _ in range(4):
                real = copy.copy(graph)
                drawn = graph.duration * np.exp(rng.normal(0, spread, len(graph)))
                real.duration = np.round(drawn).astype(np.int64)
                core = make_core(real, table, rank=key, fit="most-free", max_retries=0)
                simulate(core)
                ratios.append(real.schedule(workers, plan=plan).makespan_ns / core.columns()["end"].max())
        assert np.mean(ratios) < 1, f"spread {spread}"


def test_who_takes_a_run_up_looks_whether_it_is_behind(tmp_path):
    tasks, workers, factors = crowd()
    plan = schedule(tasks, workers)
    folder = tmp_path / "run"
    _, events, loop = live(tasks, workers, plan, journal=folder, replan=0.1, walltime=60)
    assert loop.out_of_time and not [event for event in events if isinstance(event, Replanned)]
    engine = SimulatedEngine(0, lambda order, _: Command(60 * factors[order.task_id]))
    for replan, inherited in ((None, ()), (0.9, ("replan",))):
        settings = Settings(
            engine=engine,
            capture=False,
            journal=folder,
            replan=replan,
            inherited=inherited,
            walltime=None if inherited else 500,
        )
        graph, _ = compile_both([], None)
        session = Session(settings, graph, None, settled=True, fresh=False, clock=engine.clock, aside=AtOnce())
        events.clear()
        play(session, events.append, None)
        assert session.loop.pilot.share == (0.1 if inherited else None)
        assert bool([event for event in events if isinstance(event, Replanned)]) == bool(inherited)
    assert PastRun(folder).ledger.state.digest() == session.loop.state.digest()


def test_a_plan_that_cannot_be_is_no_fact():
    _, _, loop = live([Task("a", "x", duration=1)], [Worker("w", 1, 1000)], None)
    columns = np.array([5], dtype="<i4").tobytes(), np.array([0], dtype="<i4").tobytes(), bytes(8), bytes(8), b""
    with pytest.raises(InternalError, match="out of range"):
        loop.state.absorb(PlanAdopted(*columns, 10**12, 0), 10**12)
    with pytest.raises(InternalError, match="lengths"):
        loop.state.absorb(PlanAdopted(columns[0], b"", *columns[2:], 10**12, 0), 10**12)


def test_a_scheduler_follows_a_plan_of_tasks_that_come_later():
    tasks, workers, _ = crowd(30)
    plan = schedule(tasks, workers, rank="longest-first")
    with Scheduler(workers, engine=SimulatedEngine(), capture=False, plan=plan, replan=None) as scheduler:
        scheduler.pause()
        scheduler.submit_all(tasks[:10])
        scheduler.submit_all(tasks[10:])
        scheduler.submit(Task("unplanned", "x"))
        scheduler.resume_dispatch()
        assert scheduler.wait(60)
        state = scheduler._loop.state
        starts = [state.followed.planned_ns(state.index_of(task.task_id)) for task in tasks]
        assert None not in starts and state.followed.planned_ns(state.index_of("unplanned")) is None
    order = sorted(starts)
    assert order[0] < order[-1]


def test_a_plan_that_is_loosened_is_still_the_one_that_was_given(tmp_path):
    tasks, workers = long_last()
    plan = late_plan(tasks, tmp_path)
    slower = {task.task_id: 1.5 for task in tasks}
    _, events, loop = live(tasks, workers, plan, factors=slower, replan=None, journal=tmp_path / "run")
    past = PastRun(tmp_path / "run")
    assert any(fact.is_loosened for fact in past.adopted)
    given = {row.task_id: row for row in past.given_plan()}
    first = Route.of_fact(past.adopted[0])
    for task, start, end, worker in zip(first.tasks, first.start_ns, first.end_ns, first.worker):
        row = given[tasks[task].task_id]
        assert (row.start * NS, row.end * NS, row.worker_id) == (start, end, workers[worker].worker_id)
    (told,) = [event for event in events if isinstance(event, PlanFollowed)]
    assert loop.state.followed.ends_ns == told.ends_ns, "it is behind what was given"
    assert loop.pilot.behind > 0.1


def test_who_was_held_back_is_not_when_a_run_is_taken_up(tmp_path):
    tasks, workers = long_last()
    plan = late_plan(tasks, tmp_path)
    sessions = []

    def fate(order, _):
        if order.task_id == "s2":
            sessions[0].loop.interrupt()
        return Command(40 if order.task_id == "long" else 10)

    def take_part(tasks, workers, guide, *, fresh):
        engine, events = SimulatedEngine(0, fate), []
        settings = Settings(engine=engine, capture=False, journal=tmp_path / "run", replan=None, plan=guide)
        graph, table = compile_both(tasks, workers)
        session = Session(settings, graph, table, settled=True, fresh=fresh, clock=engine.clock, aside=AtOnce())
        sessions.append(session)
        try:
            play(session, events.append, None)
        finally:
            past = PastRun(tmp_path / "run")
        return past, events

    with pytest.raises(RunInterrupted):
        take_part(tasks, workers, read_guide(plan), fresh=True)
    assert [fact.is_loosened for fact in PastRun(tmp_path / "run").adopted] == [False], "it went as planned"
    past, events = take_part([], None, None, fresh=False)
    assert past.ledger.state.done and [fact.is_loosened for fact in past.adopted] == [False, True]
    started = next(e.at_ns for e in events if isinstance(e, AttemptStarted) and e.task_id == "long")
    assert started < 40 * NS


def test_a_worker_that_fails_its_tasks_loosens_a_plan(tmp_path):
    """Every attempt takes as long as was said, and yet it does not go as planned."""
    tasks, workers = long_last()
    plan, failed = late_plan(tasks, tmp_path), []

    def fate(order, _):
        first = order.task_id == "s8" and not failed
        failed.extend([order] * first)
        return Command(40 if order.task_id == "long" else 10, Reason.EXIT if first else None)

    engine = SimulatedEngine(0, fate)
    graph, table = compile_both(tasks, workers)
    settings = Settings(engine=engine, capture=False, plan=read_guide(plan), replan=None, journal=tmp_path / "run")
    session = Session(settings, graph, table, settled=True, fresh=True, clock=engine.clock, aside=AtOnce())
    assert play(session, [].append, None).all_completed
    assert failed and [fact.is_loosened for fact in PastRun(tmp_path / "run").adopted] == [False, True]


@pytest.mark.parametrize(("joined_s", "strays"), [(0.3, False), (1.05, False), (1.2, True), (30.0, True)])
def test_a_plan_does_not_stray_while_its_workers_come_up(joined_s, strays):
    """A plan begins before its workers: what starts later by a second and a part of the whole goes as planned."""
    tasks, workers = [Task("a", "x", duration=4), Task("b", "x", duration=6)], [Worker("w", 1, 1000)]
    graph = CompiledGraph(tasks)
    table = WorkerTable(workers, graph.resources)
    state = State(graph, table, rank="critical-path", fit="most-free", max_retries=0)
    route = read_route(schedule(tasks, workers), graph, table)
    state.absorb(route.as_fact(0, 0), 0)
    joined = round(joined_s * NS)
    assert state.strays(joined) == strays, "nothing has started"
    state.absorb(WorkerJoined("w", joined), joined)
    assert len(state.decide(joined)) == 1
    assert state.strays(joined + NS) == strays
    state.check()


def test_a_plan_of_some_of_the_tasks_holds_nobody_back_in_vain(tmp_path):
    """It is held to the end of those that it has, and not to that of a long one which it does not have."""
    tasks = [Task("planned", "x", duration=1), Task("other", "x", duration=100)]
    row = {"task_id": "planned", "worker_id": "a", "start": 5.0, "end": 6.0}
    (tmp_path / "plan.json").write_text(json.dumps({"order": ["planned"], "placements": [row]}))
    graph = TaskGraph(tasks)
    table = WorkerTable([Worker("a", 1, 1000), Worker("b", 1, 1000)], graph.resources)
    route = read_route(load_plan(tmp_path / "plan.json"), graph, table)
    assert len(route) == 1 and not route.not_before.any()


def test_a_scheduler_that_forgets_tasks_knows_how_long_they_take():
    tasks, workers = [Task(f"t{i}", "sleep 0.2", duration=0.02) for i in range(4)], [Worker("w", 2, 1000)]
    with Scheduler(workers, capture=False, plan=schedule(tasks, workers)) as scheduler:
        scheduler.submit_all(tasks)
        assert scheduler.wait(60)
        assert scheduler._loop.ledger.pace()[0] > 5


def test_a_plan_that_does_not_fit_leaves_no_run_behind(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        text = json.dumps({"tasks": [{"task_id": name, "command": "true", "duration": 1}]})
        (tmp_path / f"{name}.json").write_text(text)
    assert main(["plan", "a.json", "--save", "plan.json"]) == 0
    assert main(["run", "b.json", "--plan", "plan.json"]) == 2
    assert "which these tasks do not" in capsys.readouterr().err
    assert not list(tmp_path.glob(".fastsched/runs/*"))


# ---------------------------------------------------------------- with commands


def job_file(tmp_path, n=10, factor=1.0):
    path = tmp_path / "job.json"
    tasks = [
        {"task_id": f"t{i}", "command": f"sleep {0.4 * factor}", "cpu_cores_required": 1, "memory_required_mb": 10,
         "duration": 0.4, "dependencies": [f"t{i - 2}"] if i > 1 else []}
        for i in range(n)
    ]  # fmt: skip
    workers = [{"worker_id": name, "cpu_cores_available": 1, "memory_available_mb": 100} for name in "ab"]
    path.write_text(json.dumps({"tasks": tasks, "workers": workers}))
    return str(path)


def test_the_command_line_keeps_a_plan_and_follows_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = job_file(tmp_path, factor=3.0)
    assert main(["plan", job, "--save", "plan.json"]) == 0
    assert "makespan" in capsys.readouterr().out
    assert main(["plan", job, "--format", "json"]) == 0
    assert (
        json.loads(capsys.readouterr().out)["makespan"] == json.loads((tmp_path / "plan.json").read_text())["makespan"]
    )
    assert main(["plan", job, "--plan", "plan.json"]) == 0
    assert "2.00 s" in capsys.readouterr().out
    assert main(["run", job, "--plan", "plan.json", "--replan", "10%", "--run-dir", "here"]) == 0
    told = capsys.readouterr()
    assert "behind the plan: all would be over" in told.err and "following the plan" in told.err
    assert main(["status", "here"]) == 0
    assert "following the plan, planned anew" in capsys.readouterr().out
    past = PastRun(tmp_path / "here").ledger.state
    assert past.guide().task_ids and past.followed.n_anew >= 1


def test_retry_goes_by_the_plan_of_the_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = tmp_path / "job.json"
    tasks = [{"task_id": name, "command": f"test -e ok || test {name} = a", "duration": 1} for name in "abc"]
    job.write_text(json.dumps({"tasks": tasks}))
    assert main(["plan", str(job), "--save", "plan.json", "-w", "1x1G"]) == 0
    run_options = ["-w", "1x1G", "--plan", "plan.json", "--retries", "0", "-q"]
    assert main(["run", str(job), "--run-dir", "first", *run_options]) == 1
    (tmp_path / "ok").touch()
    assert main(["retry", "--failed", "first", "-q"]) == 0
    again = sorted((tmp_path / ".fastsched" / "runs").iterdir())[-1]
    assert PastRun(again).ledger.state.guide().task_ids == ["b", "c"]
    assert main(["retry", "--failed", "first", "-q", "--plan", str(job)]) == 2
    assert "it is no plan" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1", "%", "1e3%", "2000", "NEVER"])
def test_a_share_has_to_be_one(text, capsys):
    with pytest.raises(SystemExit):
        main(["run", "x.json", f"--replan={text}"])
    assert "is not a share such as 20% or 0.2" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_with_its_plan(tmp_path, capsys, monkeypatch):
    """Out of time before the end; who resumes it follows the same plan, or another one that is given."""
    monkeypatch.chdir(tmp_path)
    job = job_file(tmp_path, n=12)
    assert main(["plan", job, "--save", "plan.json"]) == 0
    assert main(["run", job, "--plan", "plan.json", "--run-dir", "here", "--walltime", "1300ms", "-q"]) == 75
    before = PastRun(tmp_path / "here").ledger.state
    assert before.followed.n_anew == 0 and not before.done
    waiting = before.unfinished()[-1]
    capsys.readouterr()
    assert main(["explain", waiting, "--run", "here"]) == 0
    assert "the plan has it start on" in capsys.readouterr().out
    assert main(["resume", "here", "-q", "--replan", "never", "--plan", "plan.json", "--walltime", "500ms"]) == 75
    assert main(["resume", "here", "-q", "--replan", "never"]) == 0
    after = PastRun(tmp_path / "here").ledger.state
    assert after.done and after.followed.begins_ns > before.followed.begins_ns


def test_a_look_beside_the_run_holds_nobody_up_and_may_fail():
    aside, woken = Beside(), []
    over = threading.Event()
    aside.begin(lambda: 1 / 0, lambda: (woken.append(aside.is_busy), over.set()))
    assert over.wait(10) and woken == [False], "who is woken finds that it is over"
    assert aside.take() is None


def test_where_no_thread_can_be_begun_a_run_goes_on(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    aside, woken = Beside(), []
    aside.begin(lambda: None, lambda: woken.append(aside.is_busy))
    assert woken == [False] and aside.take() is None
