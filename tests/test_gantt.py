"""The picture of a plan: right where it can be checked, and never wider than asked."""

from __future__ import annotations

import pytest

from fastsched import Task, Worker, schedule
from fastsched.gantt import draw, show_seconds
from fastsched.names import width_of


def test_a_small_plan_has_a_bar_for_each_attempt():
    tasks = [Task("a", "x", duration=2), Task("b", "x", ["a"], duration=2)]
    plan = schedule(tasks, [Worker("w1", 1, 512), Worker("w2", 1, 512)], outcome=lambda t, w, n: t == "a" or n > 1)
    first, failed, second, axis = draw(plan, 61)
    room = first.index("│", first.index("│") + 1) - first.index("│") - 1
    third = room // 3
    assert first.startswith("a    │" + "█" * third) and first.endswith("│ w1")
    assert failed.startswith("b #1 │" + " " * third + "x" * third)
    assert second.startswith("b #2 │" + " " * (2 * third) + "█" * third) and second.endswith("│ w2")
    assert axis.endswith("6.00 s")
    assert max(map(len, (first, failed, second, axis))) <= 61


def test_a_large_plan_shows_how_busy_each_worker_is():
    tasks = [Task(f"t{i}", "x", duration=1) for i in range(100)] + [Task("long", "x", duration=25)]
    lines = draw(schedule(tasks, [Worker("w1", 4, 9999), Worker("w2", 1, 9999)]), 70)
    # 100 tasks on 5 cores, one of which is taken by `long`: 25 seconds, all of them full.
    assert len(lines) == 3 and lines[0].endswith("100%") and lines[1].endswith("100%")
    assert set(lines[0].split("│")[1]) == {"█"}


def test_ten_thousand_tasks_on_a_hundred_workers_stay_readable():
    tasks = [Task(f"t{i}", "x", duration=1 + i % 7) for i in range(10_000)]
    lines = draw(schedule(tasks, [Worker(f"worker-{i:03}", 2, 4096) for i in range(100)]), 80)
    assert len(lines) == 25 and max(map(len, lines)) <= 80
    assert lines[0].startswith("worker-000..worker-004") and lines[0].endswith("%")


@pytest.mark.parametrize("width", [1, 20, 40, 200])
def test_odd_plans_are_drawn_or_left_out(width):
    worker = Worker("w" * 50, 1, 512)
    assert draw(schedule([], [worker]), width) == []
    assert draw(schedule([Task("a", "x", duration=0)], [worker]), width) == []
    for n in (1, 50):
        tasks = [Task(f"{'t' * 40}{i}", "x", duration=i % 2, cpu_cores_required=i % 2) for i in range(n + 1)]
        lines = draw(schedule(tasks, [worker]), width)
        assert lines and max(map(len, lines)) <= max(width, 30)


def test_without_other_characters_it_is_drawn_in_ascii():
    tasks = [Task("a" * 40, "x", duration=2), Task("b", "x", ["a" * 40], duration=2)]
    small = draw(schedule(tasks, [Worker("w", 1, 512)]), 60, ascii_only=True)
    assert small[0].startswith("a" * 19 + "~ |####") and small[0].endswith("| w")
    many = draw(schedule([Task(f"t{i}", "x") for i in range(41)], [Worker("w", 2, 512)]), 60, ascii_only=True)
    assert "".join(small + many).isascii() and many[0].endswith("98%")


def test_wide_and_unprintable_ids_keep_the_columns():
    ids = ["名前" * 10, "e\u0301", "plain", "new\nline", "\x1b[2J"]
    for n in (1, 10):
        tasks = [Task(f"{i}{k}", "x", duration=1) for i in ids for k in range(n)]
        lines = draw(schedule(tasks, [Worker("名前", 4, 4096), Worker("w\n", 4, 4096)]), 60)
        assert len({width_of(line[: line.index("│")]) for line in lines[:-1]}) == 1
        assert max(map(width_of, lines)) <= 60 and all(line.isprintable() for line in lines)


def test_times_as_a_person_says_them():
    said = [show_seconds(s) for s in (0, 0.0123, 4.2, 59.994, 60, 185, 3599.6, 7380, 450_000)]
    assert said == ["0 ms", "12.3 ms", "4.20 s", "59.99 s", "1m 00s", "3m 05s", "1h 00m", "2h 03m", "5d 05h"]
