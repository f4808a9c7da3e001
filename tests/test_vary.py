"""`vary()`: each point is the plan that `schedule()` makes; the knee; what can be varied."""

from __future__ import annotations

import random

import pytest

from fastsched import MissingExtraError, Shape, Task, ValidationError, Worker, schedule, vary
from fastsched.vary import find_knee


def make_tasks(seed, n=60, named=False):
    rng = random.Random(seed)
    return [
        Task(
            f"t{i}",
            "x",
            [f"t{rng.randrange(i)}" for _ in range(rng.choice([0, 1, 1]))] if i else [],
            rng.choice([1, 2]),
            rng.choice([100, 1000]),
            duration=rng.uniform(1, 30),
            resources={"gpu": 1} if named and i % 5 == 0 else None,
        )
        for i in range(n)
    ]


def test_every_point_is_a_plan_on_so_many_workers():
    tasks = make_tasks(1)
    given = [Worker("big", 4, 4096), Worker("small", 2, 2048)]
    answer = vary(tasks, given, "workers", range(1, 8), fit="best-fit", prices=[Shape("4x4G", 0.4), Shape("2x2G", 0.2)])
    for count, point in zip(range(1, 8), answer.points):
        workers = [Worker(f"w{i}", *((4, 4096), (2, 2048))[i % 2]) for i in range(count)]
        plan = schedule(tasks, workers, fit="best-fit")
        assert (point.value, point.n_workers, point.makespan) == (count, count, plan.makespan)
        assert (point.lower_bound, point.bound_by) == (plan.lower_bound, plan.bound_by)
        held = sum(plan.plan.utilisation[:, 0] * plan.plan._capacity[:, 0]) / plan.plan._capacity[:, 0].sum()
        assert point.utilisation["cpu_millicores"] == pytest.approx(held)
        rate = sum(0.1 * worker.cpu_cores_available for worker in workers)
        assert point.price_per_hour == pytest.approx(rate)
        assert point.price == pytest.approx(rate * plan.makespan / 3600)
    assert (
        vary(tasks, given, "workers", range(1, 8), fit="best-fit", threads=3).points[5].makespan
        == answer.points[5].makespan
    )
    assert answer.points[0].gap == pytest.approx(answer.points[0].makespan / answer.points[0].lower_bound - 1)


def test_one_shape_in_a_mix():
    tasks = make_tasks(2)
    given = [Worker("a", 4, 4096), Worker("b", 8, 8192)]
    answer = vary(tasks, given, "4x4G", [0, 1, 3])
    wanted = [[(8, 8192)], [(8, 8192), (4, 4096)], [(8, 8192), *[(4, 4096)] * 3]]
    for point, shapes in zip(answer.points, wanted):
        plan = schedule(tasks, [Worker(f"w{i}", *shape) for i, shape in enumerate(shapes)])
        assert point.makespan == plan.makespan and point.n_workers == len(shapes) and point.price is None
    alone = vary(tasks, [Worker("a", 4, 4096)], "4x4G", [0, 1])
    assert (
        alone.points[0].makespan is None and alone.points[0].n_failed == len(tasks) and alone.points[0].n_workers == 0
    )


def test_what_each_worker_has():
    tasks = make_tasks(3, named=True)
    given = [Worker("a", 4, 4096, resources={"gpu": 1}), Worker("b", 2, 2048)]
    for what, values, made in (
        ("cores", [1.5, 4], lambda w, v: Worker(w.worker_id, v, w.memory_available_mb, resources=w.resources)),
        ("memory", [500, 9000], lambda w, v: Worker(w.worker_id, w.cpu_cores_available, v, resources=w.resources)),
        (
            "gpu",
            [1, 3],
            lambda w, v: Worker(w.worker_id, w.cpu_cores_available, w.memory_available_mb, resources={"gpu": v}),
        ),
    ):
        answer = vary(tasks, given, what, values)
        for value, point in zip(values, answer.points):
            workers = [made(worker, value) for worker in given]
            with pytest.warns() if point.makespan is None else nothing():
                plan = schedule(tasks, workers)
            if plan.all_completed:
                assert point.makespan == plan.makespan, (what, value)
            else:
                assert point.makespan is None and point.n_failed == sum(status == "FAILED" for status in plan.values())
                assert point.gap is None and point.utilisation == {} and point.bound_by is None


class nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_the_knee_is_farthest_below_the_chord():
    assert find_knee([1, 2, 3, 4, 5], [100, 40, 30, 25, 20]) == 1
    assert find_knee([1, 2, 3], [30, 20, 10]) is None  # a straight line
    assert find_knee([1, 2, 3], [10, 10, 10]) is None
    assert find_knee([1, 2, 3], [10, 30, 5]) is None  # above it
    assert find_knee([1, 9], [10, 5]) is None
    assert find_knee([1, 2, 3, 4], [100, 40, 0, -20]) == 1  # equally far as the third: the first of them
    for seed in range(50):
        rng = random.Random(seed)
        xs = sorted(rng.sample(range(100), 9))
        ys = sorted((rng.randint(0, 1000) for _ in xs), reverse=True)
        slope = (ys[-1] - ys[0]) / (xs[-1] - xs[0])
        distance = [ys[0] + slope * (x - xs[0]) - y for x, y in zip(xs, ys)]
        knee = find_knee(xs, ys)
        if max(distance) > 1e-6:
            assert distance[knee] == pytest.approx(max(distance)), f"seed {seed}"


def test_knee_and_enough_are_points():
    tasks = [Task(f"t{i}", "x", duration=60) for i in range(24)]
    answer = vary(tasks, [Worker("w", 1, 1024)], "workers", range(1, 31))
    assert answer.knee is answer.points[5] and answer.enough is answer.points[23]
    assert repr(answer) == "<Variation: 30 points over workers, knee at 6>"
    assert vary(tasks, [Worker("w", 1, 1024)], "workers", [2]).knee is None


@pytest.mark.parametrize(
    ("what", "values", "said"),
    [
        ("worker", [1], "did you mean 'workers'"),
        ("gpu", [1], "known: workers, cores, memory"),
        ("workers", [0], "from 1 to"),
        ("workers", [1.5], "whole number"),
        ("workers", ["3"], "whole number"),
        ("cores", [1.0005], "three decimals"),
        ("3:4x16G", [1], "name one"),
    ],
)
def test_what_cannot_be_varied_is_said(what, values, said):
    with pytest.raises((ValueError, TypeError), match=said):
        vary([Task("a", "x")], [Worker("w", 1, 1024)], what, values)


def test_nobody_cannot_be_varied_and_problems_are_named():
    with pytest.raises(ValueError, match="no workers to vary"):
        vary([Task("a", "x")], [], "workers", [1])
    with pytest.raises(ValidationError):
        vary([Task("", "x")], [Worker("w", 1, 1024)], "workers", [1])


def test_the_curve_is_drawn_into_a_file(tmp_path):
    pytest.importorskip("matplotlib", reason="skipped: matplotlib is not here")
    answer = vary(make_tasks(5), [Worker("w", 2, 2048)], "workers", range(1, 9), prices=[Shape("2x2G", 1)])
    figure = answer.plot(tmp_path / "curve.png")
    makespan, used, price = figure.axes
    assert makespan.get_lines()[0].get_ydata() == pytest.approx([point.makespan for point in answer.points])
    assert makespan.get_lines()[1].get_ydata() == pytest.approx([point.lower_bound for point in answer.points])
    cores = [100 * point.utilisation["cpu_millicores"] for point in answer.points]
    assert used.get_lines()[0].get_ydata() == pytest.approx(cores) and used.get_lines()[0].get_label() == "cores"
    assert price.get_lines()[0].get_ydata() == pytest.approx([point.price for point in answer.points])
    assert price.get_xlabel() == "workers" and makespan.get_title(loc="left") == "makespan over workers"
    told = " ".join(text.get_text() for text in makespan.texts)
    assert f"knee at {answer.knee.value}" in told and f"shortest from {answer.enough.value}" in told
    assert all(text.get_text().endswith(("s", "m", "h", "0")) for text in makespan.get_yticklabels())
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"


def test_curves_of_one_point_and_of_none_are_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="skipped: matplotlib is not here")
    one = vary(make_tasks(5), [Worker("w", 2, 2048)], "workers", [3])
    assert len(one.plot(tmp_path / "one.svg").axes) == 2 and "<svg" in (tmp_path / "one.svg").read_text()
    none = vary([Task("a", "x", (), 9)], [Worker("w", 2, 2048)], "workers", [1, 2])
    assert none.points[0].makespan is None
    none.plot(tmp_path / "none.pdf")
    assert (tmp_path / "none.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(ValueError, match="abc"):
        one.plot(tmp_path / "one.abc")


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"fastsched\[plot\]"):
        vary(make_tasks(5), [Worker("w", 2, 2048)], "workers", [1]).plot()
