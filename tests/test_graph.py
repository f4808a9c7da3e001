"""From tasks to numbers, and everything that can be wrong with what a user gives."""

from __future__ import annotations

import time
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from fastsched import Problem, Task, TaskGraph, TaskStatus, ValidationError, Worker
from fastsched.graph import read_both
from fastsched.kinds import DemandClasses
from fastsched.names import show_value


class Unshowable:
    def __repr__(self):
        raise ZeroDivisionError


def problems_of(tasks) -> tuple[Problem, ...]:
    with pytest.raises(ValidationError) as caught:
        TaskGraph(tasks)
    assert str(len(caught.value.problems)) in str(caught.value)
    return caught.value.problems


def test_columns():
    graph = TaskGraph(
        [
            Task("c", "x", ["a", "b"], 0.125, 7, priority=-3, duration=1.5, resources={"z": 3, "gpu": 1}),
            Task("a", "x"),
            Task("b", ["x", "y"], ("a",), 2, 0, max_retries=0),
        ]
    )
    assert graph.ids == ["c", "a", "b"]
    assert graph.resources == ("cpu_millicores", "memory_mb", "gpu", "z")
    assert graph.demand.tolist() == [[125, 7, 1, 3], [1000, 128, 0, 0], [2000, 0, 0, 0]]
    assert graph.duration.tolist() == [1_500_000_000, 10**9, 10**9]
    assert graph.priority.tolist() == [-3, 0, 0] and graph.max_retries.tolist() == [-1, -1, 0]
    assert graph.dep_ptr.tolist() == [0, 2, 2, 3] and graph.deps.tolist() == [1, 2, 1]
    assert graph.succ_ptr.tolist() == [0, 0, 2, 3] and graph.succ.tolist() == [0, 2, 0]
    assert graph.order.tolist() == [1, 2, 0]


def test_all_problems_are_reported_at_once():
    found = problems_of(
        [
            Task("a", "x", ["align_reads"]),
            Task("a", "x"),
            Task("", "x"),
            Task("self", "x", ["self"]),
            Task("p", "x", ["q"]),
            Task("q", "x", ["r"]),
            Task("r", "x", ["p", "a"]),
            Task("neg", "x", (), -1, -128),
            Task("fine", "x", (), 0.5005),
            Task("align_read", "", cpu_cores_required="4"),
            {"task_id": "typo", "command": "x", "memory_requird_mb": 5, "priority": 1.5},
            {"command": "x"},
        ]
    )
    told = {(p.kind, p.where, p.field) for p in found}
    assert told == {
        ("unknown_field", "typo", "memory_requird_mb"),
        ("missing_field", "tasks[11]", "task_id"),
        ("empty_id", "tasks[2]", "task_id"),
        ("bad_value", "neg", "cpu_cores_required"),
        ("bad_value", "neg", "memory_required_mb"),
        ("bad_value", "fine", "cpu_cores_required"),
        ("bad_value", "align_read", "command"),
        ("bad_type", "align_read", "cpu_cores_required"),
        ("bad_type", "typo", "priority"),
        ("duplicate_id", "a", None),
        ("self_dependency", "self", "dependencies"),
        ("unknown_dependency", "a", "dependencies"),
        ("cycle", "p", None),
    }
    assert next(p for p in found if p.kind == "cycle").path == ("p", "q", "r", "p")
    assert next(p for p in found if p.kind == "unknown_field").suggestion == "memory_required_mb"


def test_an_unknown_dependency_is_named_with_the_nearest_id():
    (problem,) = problems_of([Task("align_reads", "x"), Task("b", "x", ["align_read"])])
    assert (problem.kind, problem.where, problem.value) == ("unknown_dependency", "b", "align_read")
    assert problem.suggestion == "align_reads" and "did you mean 'align_reads'" in str(problem)
    (problem,) = problems_of([Task("b", "x", ["quite-different"])])
    assert problem.suggestion is None and "did you mean" not in str(problem)


def test_problems_of_tasks_and_of_workers_come_together():
    tasks = [{"task_id": "a"}, Task("b", "x", ["c"]), 5, {"task_id": "d", "command": "x", "priority": "high"}]
    workers = [Worker("w", -1, 10), {"worker_id": "v"}, Worker("w", 1, 1)]
    for given in (list, iter):
        with pytest.raises(ValidationError) as caught:
            read_both(TaskGraph, given(tasks), given(workers))
        assert [(p.kind, p.where, p.field) for p in caught.value.problems] == [
            ("missing_field", "a", "command"),
            ("bad_type", "tasks[2]", None),
            ("bad_type", "d", "priority"),
            ("unknown_dependency", "b", "dependencies"),
            ("missing_field", "worker v", "cpu_cores_available"),
            ("missing_field", "worker v", "memory_available_mb"),
            ("bad_value", "worker w", "cpu_cores_available"),
            ("duplicate_id", "worker w", None),
        ]
    graph, table = read_both(
        TaskGraph, [Task("a", "x", resources={"gpu": 1})], [Worker("w", 1, 1, resources={"gpu": 2})]
    )
    assert graph.ids == ["a"] and table.capacity.tolist() == [[1000, 1, 2]]


def test_an_item_with_a_missing_field_keeps_its_place_and_its_other_problems():
    found = problems_of([{"command": "x", "priority": 0.5}, Task("a", ""), {"task_id": "b"}, Task("", "x", ["b"])])
    assert [(p.kind, p.where, p.field) for p in found] == [
        ("missing_field", "tasks[0]", "task_id"),
        ("missing_field", "b", "command"),
        ("bad_type", "tasks[0]", "priority"),
        ("bad_value", "a", "command"),
        ("empty_id", "tasks[3]", "task_id"),
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("deps", "dependencies"),
        ("depends_on", "dependencies"),
        ("depends-on", "dependencies"),
        ("cpus", "cpu_cores_required"),
        ("cores", "cpu_cores_required"),
        ("memory", "memory_required_mb"),
        ("Mem", "memory_required_mb"),
        ("retries", "max_retries"),
        ("gpus", "resources"),
        ("prio", "priority"),
        ("memory_requird_mb", "memory_required_mb"),
    ],
)
def test_the_words_that_people_type_are_understood(written, meant):
    (problem,) = problems_of([{"task_id": "a", "command": "x", written: []}])
    assert problem.suggestion == meant and f"did you mean '{meant}'?" in str(problem)


def test_an_id_or_a_command_under_another_name_is_one_problem_and_hides_none():
    found = problems_of([{"id": "a", "cmd": ""}, {"name": "b", "command": "x", "deps": ["a", "zzz"]}])
    assert [(p.kind, p.where, p.suggestion) for p in found] == [
        ("unknown_field", "a", "task_id"),
        ("unknown_field", "a", "command"),
        ("unknown_field", "b", "task_id"),
        ("unknown_field", "b", "dependencies"),
        ("bad_value", "a", None),
        ("unknown_dependency", "b", None),
    ]
    with pytest.raises(ValidationError) as caught:
        read_both(TaskGraph, [], [{"name": "w", "cores": 4, "mem": 1}])
    assert [p.suggestion for p in caught.value.problems] == ["worker_id", "cpu_cores_available", "memory_available_mb"]


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("task_id", "", "empty_id"),
        ("task_id", 7, "bad_type"),
        ("task_id", None, "bad_type"),
        ("command", "", "bad_value"),
        ("command", [], "bad_value"),
        ("command", ["x", 1], "bad_type"),
        ("command", None, "bad_type"),
        ("command", "x\0y", "bad_value"),
        ("command", ["x", "\0"], "bad_value"),
        ("dependencies", "abc", "bad_type"),
        ("dependencies", None, "bad_type"),
        ("dependencies", 5, "bad_type"),
        ("dependencies", [1], "bad_type"),
        ("dependencies", {"a": 1}, "bad_type"),
        ("dependencies", [[]], "bad_type"),
        ("cpu_cores_required", -0.001, "bad_value"),
        ("cpu_cores_required", 0.0005, "bad_value"),
        ("cpu_cores_required", float("nan"), "bad_value"),
        ("cpu_cores_required", float("inf"), "bad_value"),
        ("cpu_cores_required", 2147483.648, "bad_value"),
        ("cpu_cores_required", 10**400, "bad_value"),
        ("cpu_cores_required", 10**5000, "bad_value"),
        ("cpu_cores_required", Fraction(10**5000, 3), "bad_value"),
        ("cpu_cores_required", Fraction(1, 3), "bad_value"),
        ("cpu_cores_required", Decimal("sNaN"), "bad_value"),
        ("cpu_cores_required", np.array([1.0, 2.0]), "bad_type"),
        ("cpu_cores_required", np.array([1.0]), "bad_type"),
        ("cpu_cores_required", np.array(None), "bad_type"),
        ("cpu_cores_required", np.bool_(True), "bad_type"),
        ("cpu_cores_required", 2j, "bad_type"),
        ("cpu_cores_required", True, "bad_type"),
        ("cpu_cores_required", "2", "bad_type"),
        ("cpu_cores_required", None, "bad_type"),
        ("memory_required_mb", -1, "bad_value"),
        ("memory_required_mb", 2**31, "bad_value"),
        ("memory_required_mb", 10**30, "bad_value"),
        ("memory_required_mb", 10**5000, "bad_value"),
        ("memory_required_mb", np.array([1, 2]), "bad_type"),
        ("memory_required_mb", Decimal("sNaN"), "bad_type"),
        ("memory_required_mb", Fraction(1, 2), "bad_type"),
        ("memory_required_mb", float("inf"), "bad_type"),
        ("memory_required_mb", 1.5, "bad_type"),
        ("memory_required_mb", "4G", "bad_type"),
        ("memory_required_mb", False, "bad_type"),
        ("priority", 2**31, "bad_value"),
        ("priority", 10**5000, "bad_value"),
        ("priority", 0.5, "bad_type"),
        ("duration", -1, "bad_value"),
        ("duration", float("nan"), "bad_value"),
        ("duration", 10**5000, "bad_value"),
        ("duration", Decimal("sNaN"), "bad_value"),
        ("duration", np.array([1.0, 2.0]), "bad_type"),
        ("duration", 1e10, "bad_value"),
        ("duration", "1s", "bad_type"),
        ("duration", True, "bad_type"),
        ("max_retries", -1, "bad_value"),
        ("max_retries", 1.5, "bad_type"),
        ("max_retries", 10**5000, "bad_value"),
        ("resources", {"gpu": 10**5000}, "bad_value"),
        ("resources", np.array([1, 2]), "bad_type"),
        ("status", np.array([1, 2]), "bad_value"),
        ("command", np.array(["x", "y"]), "bad_type"),
        ("dependencies", np.array(["other"]), "bad_type"),
        ("priority", Unshowable(), "bad_type"),
        ("resources", {"gpu": -1}, "bad_value"),
        ("resources", {"gpu": 0.5}, "bad_type"),
        ("resources", {"": 1}, "bad_value"),
        ("resources", {1: 1}, "bad_value"),
        ("resources", {"memory_mb": 1}, "bad_value"),
        ("resources", ["gpu"], "bad_type"),
        ("resources", "", "bad_type"),
        ("status", TaskStatus.RUNNING, "bad_value"),
        ("status", "done", "bad_value"),
    ],
    ids=lambda value: show_value(value)[:40],
)
def test_one_wrong_value_is_named(field, value, kind):
    fields = {"task_id": "t", "command": "x", field: value}
    for task in (Task(**fields), fields):
        found = problems_of([task, Task("other", "x")])
        assert [(p.kind, p.where) for p in found] == [(kind, "t" if field != "task_id" else "tasks[0]")]


@pytest.mark.parametrize(
    "fields",
    [
        {"cpu_cores_required": 0, "memory_required_mb": 0, "duration": 0},
        {"cpu_cores_required": 0.001},
        {"cpu_cores_required": 0.1 + 0.2},
        {"cpu_cores_required": Fraction(1, 2), "duration": Fraction(1, 3)},
        {"cpu_cores_required": Decimal("0.5"), "duration": Decimal("2.5")},
        {"cpu_cores_required": np.float32(0.5), "memory_required_mb": np.uint16(7), "priority": np.int8(-1)},
        {"memory_required_mb": 128.0, "max_retries": 2.0},
        {"dependencies": {"other"}, "resources": {"gpu": np.int64(1)}},
        {"dependencies": frozenset(["other"]), "command": ("x", "y")},
        {"dependencies": ["other", "other"]},
        {"task_id": "ünï/çødé 名前", "status": "PENDING"},
        {"task_id": np.str_("t"), "command": np.str_("x"), "dependencies": [np.str_("other")]},
    ],
)
def test_what_is_unusual_but_right_is_taken(fields):
    graph = TaskGraph([Task(**{"task_id": "t", "command": "x", **fields}), Task("other", "x")])
    assert graph.demand.shape[0] == 2
    if "dependencies" in fields:
        assert set(graph.deps.tolist()) == {1}


def test_the_tasks_of_a_graph_are_plain():
    given = Task(np.str_("t"), [np.str_("x")], {np.str_("o")}, np.float64(1), np.int8(3), resources={np.str_("g"): 1.0})
    task, _ = TaskGraph([given, Task(np.str_("o"), np.str_("x"))]).tasks
    assert (type(task.task_id), type(task.command[0]), type(task.memory_required_mb)) == (str, str, int)
    assert task == Task("t", ["x"], ("o",), 1.0, 3, resources={"g": 1}) and type(given.task_id) is np.str_


def test_text_that_cannot_be_written_is_a_problem():
    tasks = [Task("a\ud800", "x"), Task("b", "\udfff x"), Task("c", ["x", "\ud800"]), Task("ok", "ünï 名前")]
    tasks.append(Task("d", "x", resources={"gpu\ud800": 1}))
    with pytest.raises(ValidationError) as caught:
        read_both(TaskGraph, tasks, [Worker("w\ud800", 1, 1)])
    assert [(p.kind, p.field) for p in caught.value.problems] == [
        ("bad_value", "task_id"),
        ("bad_value", "command"),
        ("bad_value", "command"),
        ("bad_value", "resources"),
        ("bad_value", "worker_id"),
    ]
    assert "cannot be written as UTF-8" in str(caught.value)
    str(caught.value).encode("ascii")
    for task in (tasks[0], tasks[1], tasks[2], tasks[4]):  # also where nothing else is odd
        assert len(problems_of([task])) == 1
    text = "ünï 名前 \N{GRINNING FACE}"
    assert TaskGraph([Task(text, [text], resources={text: 1}), Task("b", text, [text])]).resources[2:] == (text,)


def test_messages_hold_no_control_characters():
    text = str(ValidationError(problems_of([Task("a\nb\x1b[2J", "x", ["c\n"]), Task("a\nb\x1b[2J", "")])))
    assert "\x1b" not in text and text.count("\n") == 3 and r"a\nb\x1b[2J: " in text
    (problem,) = problems_of([Task("a\n", "x", ["b"]), Task("b", "x", ["a\n"])])
    assert problem.path == ("a\n", "b", "a\n") and r"a\n -> b -> a\n" in str(problem)


def test_what_is_no_task_at_all_is_named_by_its_place():
    (problem,) = problems_of([Task("a", "x"), 5])
    assert (problem.kind, problem.where) == ("bad_type", "tasks[1]")
    for wrong in ("abc", {"a": {}}):
        assert problems_of(wrong)[0].kind == "bad_type"


def test_cycles_that_share_no_task_are_all_found():
    rings = [Task(f"{ring}{i}", "x", [f"{ring}{(i + 1) % 3}"]) for ring in "ab" for i in range(3)]
    # b hangs behind a, and a tail hangs behind b: neither hides a cycle, nor is on one.
    rings[3] = Task("b0", "x", ["a0", "b1"])
    found = problems_of([*rings, Task("tail", "x", ["b0"]), Task("free", "x")])
    assert {p.path for p in found} == {("a0", "a1", "a2", "a0"), ("b0", "b1", "b2", "b0")}


def test_of_every_knot_the_shortest_cycle_through_its_first_task_is_told():
    pairs = [Task(f"t{i}", "x", [f"t{j}" for j in (i - 1, i + 1) if 0 <= j < 5]) for i in range(5)]
    detour = [Task("a", "x", ["b", "c"]), Task("b", "x", ["c"]), Task("c", "x", ["d"]), Task("d", "x", ["a"])]
    assert [p.path for p in problems_of([*pairs, *detour])] == [("t0", "t1", "t0"), ("a", "c", "d", "a")]


def test_long_chains_of_knots_and_many_slips_take_no_time():
    n = 20_000
    began = time.perf_counter()
    pairs = [Task(f"t{i}", "x", [f"t{j}" for j in (i - 1, i + 1) if 0 <= j < n]) for i in range(n)]
    (problem,) = problems_of(pairs)
    assert problem.path == ("t0", "t1", "t0")
    tasks = [Task(f"task_{i:05}", "x") for i in range(n)]
    slips = [Task(f"slip{i}", "x", [f"tsk_{i * 37:05}"]) for i in range(40)]
    found = problems_of(tasks + slips)
    assert [p.suggestion for p in found] == [f"task_{i * 37:05}" for i in range(20)] + [None] * 20
    assert time.perf_counter() - began < 4, "it took 70 s when it was quadratic"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("algin_reads", "align_reads"),
        ("align_read", "align_reads"),
        ("sort_7x13", "sort_7213"),
        ("ort_0001", "sort_0001"),
    ],
)
def test_a_slip_is_found_among_many_that_are_alike(written, meant):
    tasks = [Task("align_reads", "x"), *(Task(f"sort_{i:04}", "x") for i in range(5000) if i != 13)]
    tasks += [Task("sort_7213", "x"), Task("z", "x", [written])]
    assert problems_of(tasks)[0].suggestion == meant


def test_depth_is_not_limited():
    n = 1_000_000
    graph = TaskGraph([Task("t0", "x"), *(Task(f"t{i}", "x", (f"t{i - 1}",)) for i in range(1, n))])
    assert graph.order[-1] == n - 1
    ring = [Task(f"t{i}", "x", (f"t{(i + 1) % 100_000}",)) for i in range(100_000)]
    (problem,) = problems_of(ring)
    assert len(problem.path) == 100_001 and problem.path[0] == problem.path[-1]
    assert len(str(problem)) < 300


def test_a_long_list_of_problems_is_shown_in_part_and_kept_whole():
    with pytest.raises(ValidationError) as caught:
        TaskGraph([Task(f"t{i}", "") for i in range(100)])
    assert len(caught.value.problems) == 100
    assert "and 80 more" in str(caught.value)


def test_few_kinds_of_demand_are_a_class_each():
    kinds = np.array([[1000 * i, 100 * i % 700] for i in range(65)], dtype=np.int32)
    classes = DemandClasses(np.repeat(kinds[:64], 3, axis=0))
    assert classes.class_of.tolist() == np.repeat(np.arange(64), 3).tolist()
    assert (classes.class_demand == kinds[:64]).all()
    demand = np.repeat(kinds, 3, axis=0)
    classes = DemandClasses(demand)
    assert is_exact(classes, demand) and (classes.class_demand[:, classes.pivot] == 0).all()


def is_exact(classes, demand) -> bool:
    """Whether all members of each class need just what it says, of all resources but the pivot."""
    differs = classes.class_demand[classes.class_of] != demand
    return not np.delete(differs, classes.pivot, axis=1).any()


def test_demand_classes_have_few_members_in_common_resources():
    rng = np.random.default_rng(5)
    cores, memory = rng.integers(1, 9, 1000) * 1000, rng.integers(0, 50_000, 1000)
    demand = np.stack((cores, memory), axis=1).astype(np.int32)
    classes = DemandClasses(demand)
    assert classes.pivot == 1 and is_exact(classes, demand) and len(classes.class_demand) == 8
    assert DemandClasses(demand, 0).pivot == 0
    # Many cores and few sizes of memory: the other way round.
    demand = np.stack((memory, cores), axis=1).astype(np.int32)
    classes = DemandClasses(demand)
    assert classes.pivot == 0 and is_exact(classes, demand) and len(classes.class_demand) == 8
    # Many of both: merged, each class with its least demand.
    demand = np.stack((memory, memory[::-1]), axis=1).astype(np.int32)
    for given in (demand, demand[:, ::-1]):
        classes = DemandClasses(given, 1)
        assert classes.pivot == 1 and not is_exact(classes, given) and 8 < len(classes.class_demand) <= 32
        amounts = [given[classes.class_of == c, 0] for c in range(len(classes.class_demand))]
        assert classes.class_demand.tolist() == [[of.min(), 0] for of in amounts]
        assert all(lower.max() < upper.min() for lower, upper in pairwise(amounts))


def test_how_a_command_is_to_be_run_is_checked_and_kept():
    good = Task("a", "x", cwd="/tmp", env={"A": "1"}, stdin="in", timeout=1.5, grace=0, enforce_memory=False)
    assert TaskGraph([good]).tasks == [good]
    named = [
        ("cwd", 3, "a path as a string is wanted"),
        ("cwd", "", "it names no file"),
        ("stdin", "a\0b", "it names no file"),
        ("env", "A=1", "a mapping of names to strings is wanted"),
        ("env", {"A": 1}, "a string is wanted"),
        ("env", {"A=B": "1"}, "no '=' or NUL may be in it"),
        ("env", {"": "1"}, "no '=' or NUL may be in it"),
        ("env", {"A": "\0"}, "no '=' or NUL may be in it"),
        ("timeout", "90s", "a number of seconds is wanted"),
        ("timeout", 0, "more than 0 seconds are wanted"),
        ("timeout", -1.0, "it must be between 0 and"),
        ("grace", float("nan"), "it must be between 0 and"),
        ("enforce_memory", 1, "true or false is wanted"),
    ]
    for field, value, words in named:
        (problem,) = problems_of([good, {"task_id": "b", "command": "x", field: value}])
        assert problem.where == "b" and words in problem.message, problem


def test_unusual_ways_to_run_a_command_are_made_plain():
    odd = Task(np.str_("a"), "x", cwd=np.str_("/"), env={np.str_("A"): np.str_("1")}, timeout=np.float32(2))
    (task,) = TaskGraph([odd]).tasks
    assert (task.cwd, task.env, task.timeout) == ("/", {"A": "1"}, 2.0) and type(task.cwd) is str


def test_memory_is_enforced_where_it_was_asked_for_or_is_not_the_default():
    assert [Task("a", "x").limit_mb, Task("a", "x", memory_required_mb=64).limit_mb] == [None, 64]
    assert Task("a", "x", enforce_memory=True).limit_mb == 128
    assert Task("a", "x", memory_required_mb=64, enforce_memory=False).limit_mb is None
