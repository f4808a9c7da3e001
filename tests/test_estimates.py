"""How long a task takes, from what was measured: the middle holds against outliers, and the few lean on the many."""

from __future__ import annotations

import math
import random

import pytest

from fastsched.estimates import Knowledge, Measured


def known(*runs):
    """Knowledge of runs; a row is (id, seconds) and what else is known."""
    return Knowledge([[row if isinstance(row, Measured) else Measured(*row) for row in run] for run in runs])


def rows(name, seconds, command="work {n}", group=None):
    return [Measured(f"{name}{i}", command, group, value) for i, value in enumerate(seconds)]


def test_a_task_is_known_by_its_id_then_its_group_then_its_command():
    knowledge = known(
        [
            Measured("a", "one 1", "g", 10.0),
            Measured("b", "two 1", "g", 20.0),
            *rows("x", [100.0] * 5, "three 1"),
        ]
        * 3
    )
    assert knowledge.estimate("a", "three 9", None).level == "task"
    found = knowledge.estimate("new", "three 9", "g")
    assert found.level == "group" and found.samples == 2
    found = knowledge.estimate("new", "three 9", "unknown group")
    assert found.level == "command" and found.samples == 5 and found.seconds == pytest.approx(100)
    assert knowledge.estimate("new", "four 9", None) is None


def test_one_sample_alone_is_taken_for_what_it_is():
    found = known([("a", "only", None, 42.0)]).estimate("a", "only", None)
    assert found.seconds == pytest.approx(42) and found.samples == 1 and 0.2 < found.spread < 0.4


def test_one_hiccup_among_repeated_attempts_moves_nothing():
    runs = [rows("t", [5.0] * 10) for _ in range(5)]
    runs[4][3] = Measured("t3", "work {n}", None, 5000.0)
    found = known(*runs).estimate("t3", "work 3", None)
    assert found.seconds == pytest.approx(5)


def test_what_was_seen_once_leans_on_its_siblings_and_what_comes_again_is_believed():
    once = rows("t", [1.0] * 19 + [100.0])
    seen = known(once).estimate("t19", "work 19", None).seconds
    assert 5 <= seen <= 20, "an outlier, or a large one: half of each"
    twice = known(once, once).estimate("t19", "work 19", None).seconds
    assert twice == pytest.approx(100, rel=0.15)
    assert known(once, once).estimate("t0", "work 0", None).seconds == pytest.approx(1)


def test_how_much_tasks_vary_from_run_to_run_is_learnt():
    steady = [rows("t", [1.0, 2.0, 5.0, 9.0, 20.0]) for _ in range(6)]
    jumpy = [rows("t", [s * factor for s in (1.0, 2.0, 5.0, 9.0, 20.0)]) for factor in (0.2, 0.5, 1, 2, 3, 6)]
    calm, wild = (known(*runs).estimate("t2", "work 2", None) for runs in (steady, jumpy))
    assert calm.spread < 0.12 < 0.8 < wild.spread
    assert calm.seconds == pytest.approx(5, rel=0.01)


def test_siblings_that_really_differ_are_told_apart_after_one_run():
    seconds = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0]
    knowledge = known(rows("t", seconds))
    found = [knowledge.estimate(f"t{i}", "work 1", None).seconds for i in range(6)]
    assert found == pytest.approx(seconds, rel=0.2)


def test_a_group_of_few_leans_on_its_command():
    many = rows("m", [1.0] * 30, "work {n}")
    alone = known([*many, Measured("g0", "work 1", "g", 50.0)]).estimate("new", "work 1", "g")
    assert alone.level == "group" and 1 < alone.seconds < 50
    four = known([*many, *(Measured(f"g{i}", "work 1", "g", 50.0) for i in range(4))]).estimate("new", "work 1", "g")
    assert four.seconds == pytest.approx(50)


def test_what_was_cut_short_is_a_lower_bound_where_nothing_completed():
    siblings = rows("t", [10.0] * 5)
    cut = Measured("late", "work 1", None, None, 60.0)
    assert known([*siblings, cut]).estimate("late", "work 1", None).seconds == pytest.approx(60)
    early = Measured("late", "work 1", None, None, 2.0)
    assert known([*siblings, early]).estimate("late", "work 1", None).seconds == pytest.approx(10)
    alone = known([Measured("late", "other", None, None, 60.0)]).estimate("late", "other", None)
    assert alone.level == "bound" and alone.seconds == pytest.approx(60)
    done = known([cut], [Measured("late", "work 1", None, 5.0)]).estimate("late", "work 1", None)
    assert done.seconds == pytest.approx(5), "it completed since: how long a worker that was lost had it says nothing"


def test_memory_is_the_largest_peak_of_few_and_a_margin_and_without_the_worst_of_many():
    few = known(*([Measured("a", "x", None, 1.0, None, peak)] for peak in (100.0, 300.0, 200.0)))
    assert few.estimate("a", "x", None).memory_mb == 360
    peaks = [100.0] * 99 + [10_000.0]
    many = known([Measured(f"t{i}", "work 1", None, 1.0, None, peak) for i, peak in enumerate(peaks)])
    assert many.estimate("new", "work 2", None).memory_mb == 120
    assert known([Measured("a", "x", None, 1.0)]).estimate("a", "x", None).memory_mb is None
    only = known([Measured("a", "x", None, None, None, 50.0)]).estimate("a", "x", None)
    assert only.seconds is None and only.memory_mb == 60


def test_nothing_is_known_of_nothing():
    assert Knowledge([]).estimate("a", "x", "g") is None
    assert Knowledge([[], []]).estimate("a", "x", None) is None


@pytest.mark.parametrize(("share", "most_wrong"), [(0.0, 0), (0.1, 15), (0.3, 85)])
def test_a_share_of_hiccups_does_not_spoil_the_estimates(share, most_wrong):
    """Tasks of 1 to 100 s, five runs with 10 % of noise, and a share of attempts that take 10 to 100 times as long.

    Wrong is what is twice too long or too short. Three hiccups of five spoil a median: 0.9 % of the tasks at a share of
    0.1, 16 % at 0.3; one spoils a mean.
    """
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    truth = {f"t{i}": 10 ** chance.uniform(0, 2) for i in range(300)}
    took = {name: [value * math.exp(chance.gauss(0, 0.1)) for _ in range(5)] for name, value in truth.items()}
    for attempts in took.values():
        attempts[:] = [s * 10 ** chance.uniform(1, 2) if chance.random() < share else s for s in attempts]
    knowledge = Knowledge([[Measured(name, f"work {name}", None, took[name][r]) for name in truth] for r in range(5)])
    found = {name: knowledge.estimate(name, f"work {name}", None).seconds for name in truth}
    means = {name: sum(attempts) / 5 for name, attempts in took.items()}
    wrong, wrong_means = (
        sum(abs(math.log(guess[name] / truth[name])) > 0.7 for name in truth) for guess in (found, means)
    )
    assert wrong <= most_wrong, f"seed {seed}"
    assert wrong <= wrong_means / 2, f"seed {seed}: {wrong_means} of the means are wrong"


def test_estimates_are_within_what_was_measured_and_grow_with_it():
    """Of any rows: no estimate is outside of what was measured, and what takes twice as long is expected to."""
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    for _ in range(60):
        runs = [
            [
                Measured(f"t{i}", f"work{i % 3} {i}", chance.choice((None, "g", "h")), 10 ** chance.uniform(-2, 3))
                for i in range(chance.randrange(1, 12))
            ]
            for _ in range(chance.randrange(1, 5))
        ]
        doubled = [
            [Measured(row.task_id, row.command, row.group, row.seconds * 2) for row in measured] for measured in runs
        ]
        low, high = (pick(row.seconds for rows in runs for row in rows) for pick in (min, max))
        one, two = Knowledge(runs), Knowledge(doubled)
        for i in range(14):
            for group in (None, "g", "h"):
                found, twice = (each.estimate(f"t{i}", f"work{i % 3} 0", group) for each in (one, two))
                if found is None:
                    assert twice is None
                    continue
                assert low * 0.999 <= found.seconds <= high * 1.001, f"seed {seed}"
                assert twice.seconds == pytest.approx(2 * found.seconds, rel=1e-3, abs=1e-5), f"seed {seed}"
                assert found.spread > 0
