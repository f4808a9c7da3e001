"""`compare()`: schedules, runs and saved plans side by side."""

from __future__ import annotations

import os

import pytest

import fastsched
from fastsched import Shape, Task, ValidationError, Worker, compare, load_plan, save_plan, schedule

TASKS = [Task("a", "true", duration=10), Task("b", "true", duration=20), Task("c", "true", ["b"], duration=30)]
ONE, TWO = [Worker("w", 1, 1024)], [Worker("w", 1, 1024), Worker("v", 1, 1024)]


def test_numbers_side_by_side_and_the_best():
    plans = {"one": schedule(TASKS, ONE, rank="fifo"), "two": schedule(TASKS, TWO)}
    told = compare(plans, prices=[Shape("1x1G", 3.6)])
    one, two = told.outlines
    assert (one.name, one.makespan, one.lower_bound, one.bound_by, one.gap) == ("one", 60, 60, "cpu_millicores", 0)
    assert (two.makespan, two.lower_bound, two.n_workers, two.n_tasks, two.n_failed) == (50, 50, 2, 3, 0)
    assert two.utilisation["cpu_millicores"] == pytest.approx(0.6) and one.utilisation["cpu_millicores"] == 1
    assert (one.price_per_hour, two.price_per_hour) == (3.6, 7.2)
    assert two.price == pytest.approx(7.2 * 50 / 3600)
    assert told.best == "two" and told["one"] is one
    with pytest.raises(KeyError):
        told["three"]


def test_which_tasks_moved_the_most():
    told = compare({"one": schedule(TASKS, ONE, rank="fifo"), "two": schedule(TASKS, TWO)})
    moves = told.moves("one")
    assert [(m.task_id, m.start, m.other_start, m.later) for m in moves] == [("b", 10, 0, 10), ("c", 30, 20, 10)]
    assert told.n_moved("one") == 2 and told.moves("one", count=1) == moves[:1]
    assert told.n_elsewhere("one") == 1  # a: the most urgent, b, is on the first worker
    assert told.moves("two") == [] and told.n_elsewhere("two", "two") == 0
    assert [m.later for m in told.moves("two", "one")] == [-10, -10]


def test_a_saved_plan_is_as_good_as_the_plan(tmp_path):
    plan = schedule(TASKS, TWO)
    save_plan(plan, tmp_path / "plan.json")
    told = compare({"plan": plan, "saved": load_plan(tmp_path / "plan.json")}, prices=[Shape("1x1G", 1)])
    one, two = ({name: value for name, value in vars(outline).items() if name != "name"} for outline in told.outlines)
    assert one.pop("utilisation") == pytest.approx(two.pop("utilisation"))
    assert one == two and told.best == "plan"


@pytest.mark.filterwarnings("ignore::fastsched.UnsatisfiableWarning")
def test_what_failed_counts_first_then_the_time_then_the_price():
    big = [*TASKS, Task("big", "true", (), 4)]
    small, large = schedule(big, ONE), schedule(big, [Worker("w", 4, 1024)])
    assert compare({"small": small, "large": large}).best == "large"
    assert compare({"small": small, "large": large})["small"].n_failed == 1
    assert compare({"s": small, "l": large}).moves("s", "l")[0].task_id == "big"
    same = {"dear": schedule(TASKS, [Worker("w", 9, 1024)]), "cheap": schedule(TASKS, [Worker("w", 2, 1024)])}
    assert compare(same, prices=[Shape("9x1G", 9), Shape("2x1G", 2)]).best == "cheap"
    assert compare(same).best == "dear"
    assert compare(same, prices=[Shape("2x1G", 2)]).best == "cheap", "nobody knows what the other one costs"


def test_a_price_is_told_only_where_it_is_known():
    plan = schedule(TASKS, TWO)
    assert compare({"p": plan}, prices=[Shape("2x1G", 1)])["p"].price is None
    gpus = [Shape("1x1G,gpu=1", 5, "gpu"), Shape("1x1G", 1)]
    assert compare({"p": plan}, prices=gpus)["p"].price is None  # no task asks for one, so the plan does not know
    assert compare({"p": plan}, prices=gpus[:1])["p"].price_per_hour == 10


def test_what_is_no_plan_is_refused():
    with pytest.raises(ValueError, match="nothing to compare"):
        compare({})
    for wrong in ({"makespan": 3}, 7, {}):
        with pytest.raises(ValidationError, match="no plan"):
            compare({"it": wrong})


@pytest.mark.skipif(os.name != "posix", reason="skipped: running commands needs POSIX")
def test_a_run_beside_its_plan(tmp_path):
    run = fastsched.run([Task("a", "true"), Task("b", "true", ["a"])], ONE, run_dir=str(tmp_path / "run"))
    told = compare({"run": run, "plan": schedule([Task("a", "true"), Task("b", "true", ["a"])], ONE)})
    assert told["run"].n_failed == 0 and told["run"].n_workers == 1 and 0 < told["run"].makespan < 2
    assert set(told["run"].starts) == {"a", "b"} and told.best == "run"
