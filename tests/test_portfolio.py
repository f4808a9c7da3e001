"""`auto`: the best of a few plans, each of which can be made again; and ranks that are made by planning."""

from __future__ import annotations

import json
import os
import random
import warnings

import pytest
from worlds import make_world

from fastsched import FailureModel, Scheduler, Task, TaskGraph, Worker, WorkerEvent, run, schedule
from fastsched.cli import main
from fastsched.errors import UnsatisfiableWarning
from fastsched.optimize import SEARCH
from fastsched.portfolio import FITS, PAIRS, pairs_to_try
from fastsched.runtime.view import PastRun

WORLDS = int(os.environ.get("FASTSCHED_WORLDS", "1600")) // 8
TWO = [Worker("w1", 2, 4096), Worker("w2", 4, 4096)]


def quietly(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsatisfiableWarning)
        return schedule(*args, **kwargs)


def badness(plan):
    return sum(status != "COMPLETED" for status in plan.values()), plan.plan.makespan_ns


def crowded(n=40, seed=3):
    """Tasks of which no first plan is the best that there is."""
    rng = random.Random(seed)
    return [
        Task(
            f"t{i}",
            "true",
            {f"t{rng.randrange(i)}" for _ in range(rng.choice([0, 1, 2]))} if i else (),
            rng.choice([0.5, 1, 2]),
            rng.choice([256, 1024, 3000]),
            duration=rng.randint(1, 20),
        )
        for i in range(n)
    ]


@pytest.mark.parametrize("clean", [True, False])
def test_auto_is_the_best_that_it_tried_and_can_be_made_again(clean):
    taken = set()
    for seed in range(WORLDS):
        world = make_world(seed)
        options = {**world.options, "rank": "auto", "fit": "auto"}
        if clean:
            options |= {"outcome": None, "events": [], "failures": None}
        goes_wrong = options["outcome"] or options["events"] or options["failures"]
        best = quietly(world.tasks, world.workers, **options)
        taken.add((best.rank, best.fit))
        pair = {"rank": best.rank, "fit": best.fit} if best.rank != SEARCH else {}
        again = quietly(world.tasks, world.workers, **(options | pair))
        assert best.placements == again.placements and best == again, f"seed {seed}"
        if best.plan.n_schedules:
            assert len(world.workers) == 1, f"seed {seed}"
            plain = quietly(world.tasks, world.workers, **(options | {"rank": "critical-path", "fit": "most-free"}))
            assert badness(best) <= badness(plain), f"seed {seed}"
        elif best.plan.n_tried == len(PAIRS) + 1:
            for rank, fit in PAIRS if len(world.workers) > 1 else ():
                other = quietly(world.tasks, world.workers, **{**options, "rank": rank, "fit": fit})
                assert badness(best) <= badness(other), f"seed {seed}: {rank}, {fit}"
        else:
            assert not goes_wrong and best.plan.makespan_ns == best.plan.lower_bound_ns, f"seed {seed}"
    assert len(taken) >= min(5, WORLDS // 20), taken  # few worlds show little of it


def test_no_more_is_tried_when_the_bound_is_met():
    chain = [Task(f"t{i}", "true", [f"t{i - 1}"] if i else (), duration=2) for i in range(9)]
    plan = schedule(chain, TWO, rank="auto", fit="auto")
    assert plan.plan.n_tried == 1 and (plan.rank, plan.fit) == PAIRS[0] and plan.makespan == plan.lower_bound
    plan = schedule(crowded(), TWO, rank="auto", fit="auto")
    assert plan.plan.n_tried == len(PAIRS) + 1 and plan.makespan > plan.lower_bound


def test_what_is_not_auto_stays_as_it_is():
    plan = schedule(crowded(), TWO, rank="fifo", fit="auto")
    assert plan.rank == "fifo" and plan.plan.n_tried == len(FITS)
    assert plan.makespan == min(schedule(crowded(), TWO, rank="fifo", fit=fit).makespan for fit in FITS)
    plan = schedule(crowded(), TWO, rank="auto", fit="cosine")
    assert plan.fit == "cosine" and plan.plan.n_tried == len(PAIRS) + 1
    tried = [schedule(crowded(), TWO, rank=rank, fit="cosine").makespan for rank, _ in PAIRS]
    assert plan.makespan <= min(tried)
    alone = schedule(crowded(), TWO[1:], rank="fifo", fit="auto")
    assert (alone.fit, alone.plan.n_tried) == ("most-free", 1), "with one worker, no fit makes a difference"


def test_workers_that_join_later_count():
    joins = [WorkerEvent(1, "join", TWO[1])]
    plan = schedule(crowded(), TWO[:1], rank="fifo", fit="auto", events=joins)
    assert plan.plan.n_tried == len(FITS), "with two workers, fits make a difference"


def test_among_many_workers_no_task_is_matched_with_each():
    many = [Worker(f"w{i}", 2, 4096) for i in range(1025)]
    for n, fits in ((1024, {fit for _, fit in PAIRS}), (1025, {"most-free", "best-fit", "first-fit"})):
        pairs = pairs_to_try("auto", "auto", n)
        assert [rank for rank, _ in pairs] == [rank for rank, _ in PAIRS] and {fit for _, fit in pairs} == fits
    assert pairs_to_try("fifo", "auto", 1025) == [("fifo", fit) for fit in ("most-free", "best-fit", "first-fit")]
    plan = schedule(crowded(), many, rank="fifo", fit="cosine")
    assert plan.all_completed and plan.fit == "cosine", "it is done where it is asked for"


def test_a_single_plan_says_how_it_was_made_too():
    plan = schedule(crowded(), TWO)
    assert (plan.rank, plan.fit, plan.plan.n_tried) == ("critical-path", "most-free", 1)
    plan = TaskGraph(crowded()).schedule(TWO, rank="auto", fit="auto")
    assert (plan.rank, plan.fit) == (schedule(crowded(), TWO, rank="auto", fit="auto").rank, plan.fit)


def test_the_plan_is_left_alone_by_those_that_were_tried_after_it():
    """Cores are rewound: what was not the best must not show through."""
    tasks = [*crowded(), Task("big", "true", ["t3"], 99), Task("after", "true", ["big"])]
    for fit in ("auto", *FITS):
        plan = quietly(tasks, TWO, rank="auto", fit=fit)
        assert plan.reasons == {"big": "UNSATISFIABLE", "after": "DEPENDENCY"} and plan.causes == {"after": "big"}
        assert sum(status == "COMPLETED" for status in plan.values()) == 40


def test_outcome_is_asked_of_every_attempt_in_every_plan():
    asked = []

    def outcome(task, worker, attempt):
        asked.append((task, attempt))
        return attempt > 1

    tasks = crowded(10)
    plan = schedule(tasks, TWO, rank="auto", fit="auto", outcome=outcome)
    assert plan.all_completed and plan.plan.n_tried == len(PAIRS) + 1
    assert len(asked) == plan.plan.n_tried * 2 * len(tasks)


def test_a_plan_in_which_more_completes_is_the_better_one():
    """A plan that is short because tasks fail in it is not the best."""
    tasks = [Task("long", "true", duration=10), Task("short", "true", duration=1)]
    workers = [Worker("w", 1, 1024)]
    events = [WorkerEvent(10.5, "lose", ["w"])]
    by_path = quietly(tasks, workers, events=events, rank="critical-path")
    assert by_path == {"long": "COMPLETED", "short": "FAILED"}
    both = quietly(tasks, [*workers, Worker("other", 1, 1024)], events=events, rank="auto", fit="auto")
    assert both.all_completed
    for seed in range(40):
        model = FailureModel(task_probability=0.3, seed=seed)
        options = {"failures": model, "max_retries": 1}
        best = quietly(crowded(seed=seed), TWO, rank="auto", fit="auto", **options)
        for rank, fit in PAIRS:
            assert badness(best) <= badness(quietly(crowded(seed=seed), TWO, rank=rank, fit=fit, **options))


def test_mirrored_starts_early_what_has_to():
    """Over sixty crowds: planned backwards, it is seen where room is short, and not only which chains are long."""
    better = 0
    for seed in range(60):
        tasks = crowded(60, seed)
        plain = schedule(tasks, TWO, rank="latest-finish", fit="best-fit")
        mirrored = schedule(tasks, TWO, rank="mirrored", fit="best-fit")
        better += (mirrored.makespan < plain.makespan) - (mirrored.makespan > plain.makespan)
    assert better >= 10, better


def test_justified_plans_are_shorter_more_often_than_longer():
    better = twice = 0
    for seed in range(60):
        tasks = crowded(60, seed)
        plain = schedule(tasks, TWO, rank="critical-path").makespan
        once = schedule(tasks, TWO, rank="critical-path+justified").makespan
        twice += schedule(tasks, TWO, rank="critical-path+justified+justified").makespan < plain
        better += (once < plain) - (once > plain)
    assert better >= 10 and twice >= 10, (better, twice)


@pytest.mark.parametrize("rank", ["mirrored", "mirrored+justified", "critical-path+justified"])
def test_a_higher_priority_goes_first_however_it_is_ranked(rank):
    tasks = [Task(f"t{i}", "true", duration=20 - i, priority=i % 3) for i in range(12)]
    plan = schedule(tasks, [Worker("w", 1, 1024)], rank=rank)
    assert [int(p.task_id[1:]) % 3 for p in plan.placements] == [2] * 4 + [1] * 4 + [0] * 4


def test_priorities_are_turned_round_with_the_graph():
    """Backwards, what is of the least priority ends first: forwards it is then the others that are looked at first."""
    graph = TaskGraph([Task("a", "true", priority=2), Task("b", "true", ["a"]), Task("c", "true", priority=-1)])
    mirrored = graph.mirrored()
    assert mirrored.priority.tolist() == [-2, 0, 1]
    assert (mirrored.dep_ptr.tolist(), mirrored.deps.tolist()) == ([0, 1, 1, 1], [1])
    place = {task: i for i, task in enumerate(mirrored.order.tolist())}
    assert place[1] < place[0] and len(place) == 3
    assert graph.priority.tolist() == [2, 0, -1] and graph.order.tolist()[0] in (0, 2)


def test_names_that_are_none_are_refused():
    for rank in ("auto+justified", "+justified", "critical-pth+justified", "justified", 3):
        with pytest.raises(ValueError, match="unknown rank"):
            schedule([], TWO, rank=rank)
    with pytest.raises(ValueError, match="did you mean 'auto'"):
        schedule([], TWO, fit="aut")


def test_nothing_to_plan():
    assert schedule([], TWO, rank="auto", fit="auto").rank == PAIRS[0][0]
    plan = quietly(crowded(5), [], rank="auto", fit="auto")
    assert set(plan.values()) == {"FAILED"} and plan.makespan == 0


def test_progress_goes_up_over_all_plans():
    tasks = [Task(f"t{i}", "true", (), 1 + i % 2, duration=1 + i * 7919 % 101) for i in range(8998)]
    tasks += [Task(f"long{i}", "true", (), 1, duration=69_000) for i in range(2)]
    told = []
    plan = schedule(tasks, [Worker("w", 2, 4096), Worker("v", 3, 4096)], rank="auto", fit="auto",
                    on_progress=lambda ended, total: told.append((ended, total)))  # fmt: skip
    ended = [e for e, _ in told]
    assert ended == sorted(ended) and ended[-1] == 9000 and {total for _, total in told} == {9000}
    assert plan.plan.n_tried > 1 and len({e for e in ended if 0 < e < 9000}) >= plan.plan.n_tried


# ---------------------------------------------------------------- live runs, and the command line


def test_a_live_run_takes_a_pair_that_its_journal_can_name(tmp_path):
    tasks = [Task(f"t{i}", "true", duration=1 + i % 3) for i in range(6)]
    result = run(tasks, TWO, rank="auto", fit="auto", journal=tmp_path / "journal")
    assert result.all_completed
    opened = PastRun(tmp_path / "journal").opened
    assert (opened.rank, opened.fit) in PAIRS and opened.rank != "mirrored"
    with pytest.raises(ValueError, match="unknown rank 'mirrored'"):
        run(tasks, TWO, rank="mirrored")


def test_a_scheduler_that_begins_with_nothing_takes_auto():
    with Scheduler(TWO, rank="auto", fit="auto", capture=False) as scheduler:
        assert scheduler.submit(Task("a", "true")).result(20).exit_code == 0


@pytest.mark.parametrize("fit", FITS)
def test_a_live_run_takes_every_fit(fit):
    tasks = [Task(f"t{i}", "true", (), 1 + i % 2) for i in range(4)]
    assert run(tasks, TWO, fit=fit, capture=False).all_completed


def write_job(folder, tasks):
    rows = [
        {
            "task_id": task.task_id,
            "command": "true",
            "dependencies": list(task.dependencies),
            "cpu_cores_required": task.cpu_cores_required,
            "memory_required_mb": task.memory_required_mb,
            "duration": task.duration,
        }
        for task in tasks
    ]
    path = folder / "job.json"
    path.write_text(json.dumps({"tasks": rows}))
    return str(path)


def test_plan_says_which_pair_was_taken(tmp_path, capsys):
    job = write_job(tmp_path, crowded())
    shapes = ["-w", "2x4G", "4x4G"]
    assert main(["plan", job, "--rank", "auto", "--fit", "auto", *shapes]) == 0
    out = capsys.readouterr().out
    plan = schedule(crowded(), [Worker("w0", 2, 4096), Worker("w1", 4, 4096)], rank="auto", fit="auto")
    assert f"rank {plan.rank}, fit {plan.fit}: the best of {len(PAIRS) + 1} plans" in " ".join(out.split())
    assert main(["plan", job, "--rank", "auto", "--fit", "auto", "--format", "json", *shapes]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rank"], told["fit"], told["makespan"]) == (plan.rank, plan.fit, plan.makespan)
    assert main(["plan", job, *shapes]) == 0
    assert "the best of" not in capsys.readouterr().out


def test_a_rank_that_is_none_is_bad_input(tmp_path, capsys):
    job = write_job(tmp_path, crowded(3))
    for command, rank, said in (
        ("plan", "critical-pth", "did you mean 'critical-path'"),
        ("run", "mirrored", "is made by planning"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([command, job, "--rank", rank])
        assert ended.value.code == 2 and said in capsys.readouterr().err
    assert main(["run", job, "--rank", "mirrored", "--dry-run", "-w", "4x8G"]) == 0
