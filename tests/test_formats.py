"""Files to objects: job files and WfCommons instances."""

from __future__ import annotations

import json
import sys
import tarfile

import pytest

from fastsched import FormatError, Schedule, TaskGraph, ValidationError, Worker, schedule
from fastsched.formats import load, load_workers

JOB = {
    "name": "two",
    "tasks": [
        {"task_id": "a", "command": "echo", "cpu_cores_required": 0.5},
        {"task_id": "b", "command": ["cat", "x"], "dependencies": ["a"], "memory_required_mb": 64, "duration": 2},
    ],
    "workers": [{"worker_id": "w", "cpu_cores_available": 2, "memory_available_mb": 512}],
}
TOML = """
name = "two"
[[tasks]]
task_id = "a"
command = "echo"
cpu_cores_required = 0.5
[[tasks]]
task_id = "b"
command = ["cat", "x"]
dependencies = ["a"]
memory_required_mb = 64
duration = 2
[[workers]]
worker_id = "w"
cpu_cores_available = 2
memory_available_mb = 512
"""


def write(folder, name, content):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_json_and_toml_mean_the_same(tmp_path):
    files = [write(tmp_path, "job.json", JOB)]
    if sys.version_info >= (3, 11):
        files.append(write(tmp_path, "job.toml", TOML))
    for file in files:
        job = load(file)
        assert job.name == "two" and not job.recorded
        plan = schedule(job.tasks, job.workers)
        assert plan == {"a": "COMPLETED", "b": "COMPLETED"} and plan.makespan == 3
        assert list(load_workers(file)) == JOB["workers"]


def test_a_bare_list_is_tasks_or_workers(tmp_path):
    assert load(write(tmp_path, "tasks.json", JOB["tasks"])).workers is None
    assert load_workers(write(tmp_path, "workers.json", JOB["workers"])) == JOB["workers"]
    assert load_workers(write(tmp_path, "only.json", {"workers": JOB["workers"]})) == JOB["workers"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{\n  'tasks': []}", r"a\.json: not JSON: .*line 2, column 3"),
        ("a.json", b"\xff\xfe".decode("latin-1"), "not JSON"),
        ("a.json", "", r"a\.json: the file is empty; a job file is"),
        ("a.toml", " \n", r"a\.toml: the file is empty"),
        ("a.json", "5", r"a\.json: it holds a number; an object with 'tasks' is wanted"),
        ("a.json", "null", "it holds null"),
        ("a.json", "[" * 200_000, "nested too deeply"),
        ("a.json", '{"a":' * 200_000, "nested too deeply"),
        ("a.yaml", "tasks:\n- task_id: a\n", r"not JSON: .*\.yaml is not known: a job file is JSON .* or TOML"),
        ("a.json", {"jobs": []}, "unknown field 'jobs'; did you mean 'tasks'"),
        ("a.json", {"tasks": [], "machines": []}, "unknown field 'machines'; did you mean 'workers'"),
        ("a.json", {"task": []}, "unknown field 'task'; did you mean 'tasks'"),
        ("a.json", {"zzz": []}, "unknown field 'zzz'; known: name"),
        ("a.json", {"name": "x"}, "no list 'tasks'"),
        ("a.json", {"tasks": {}}, "tasks is an object; a list is wanted"),
        ("a.json", {"tasks": [], "workers": 5}, "workers is a number"),
        ("a.json", {"tasks": [], "name": 5}, "name is 5"),
        ("a.json", {"workflow": {}, "schemaVersion": "0.9"}, "schemaVersion is '0.9'"),
        ("a.json", {"workflow": {}, "schemaVersion": "1.5"}, "field 'specification' is missing"),
        ("a.json", {"workflow": {}, "schemaVersion": "1.4"}, "Expected `array`, got `null`"),
        ("a.json", {"workflow": 5, "schemaVersion": "1.4"}, "not a WfFormat 1.4"),
        (
            "a.json",
            {"schemaVersion": "1.5", "workflow": {"specification": {"tasks": [{"id": "a", "parents": [5]}]}}},
            r"Expected `str`, got `int` - at `\$\[0\]\.parents\[0\]`",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, name, content, message):
    with pytest.raises(FormatError, match=message):
        load(write(tmp_path, name, content))


def test_what_is_wrong_around_the_tasks_hides_nothing_in_them(tmp_path):
    tasks = [{"task_id": "a", "command": "x", "dependencies": ["b"]}, {"task_id": "c"}]
    data = {"autor": "me", "name": 5, "tasks": tasks, "workers": [{"worker_id": "w"}]}
    with pytest.raises(FormatError) as caught:
        load(write(tmp_path, "a.json", data))
    for said in ("6 problems found", "'autor'", "name is 5", "a: depends on 'b'", "c: field 'command'", "worker w: "):
        assert said in str(caught.value)
    with pytest.raises(FormatError, match="unknown field 'autor'"):
        load_workers(write(tmp_path, "a.json", {**data, "name": "n"}))


def test_a_byte_order_mark_is_no_hindrance_or_is_named(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps(JOB).encode("utf-8-sig"))
    assert load(path).name == "two"
    path.write_bytes(json.dumps(JOB).encode("utf-16"))
    with pytest.raises(FormatError, match="it is UTF-16; save it as UTF-8"):
        load(path)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="skipped: TOML needs an extra on this Python")
def test_bad_toml_is_said(tmp_path):
    with pytest.raises(FormatError, match="not TOML"):
        load(write(tmp_path, "a.toml", "tasks = ["))
    with pytest.raises(FormatError, match="not TOML"):
        load(write(tmp_path, "a.toml", "tasks = " + "[" * 200_000))


def test_a_job_file_with_wrong_fields_names_them(tmp_path):
    path = write(tmp_path, "a.json", {"tasks": [{"task_id": "a", "command": "x", "memory_mb": "4G"}, {"task_id": "b"}]})
    with pytest.raises(ValidationError) as caught:
        TaskGraph(load(path).tasks)
    assert [(p.kind, p.where, p.field) for p in caught.value.problems] == [
        ("unknown_field", "a", "memory_mb"),
        ("missing_field", "b", "command"),
    ]


def test_workers_that_are_not_there(tmp_path):
    with pytest.raises(FormatError, match="no list 'workers'"):
        load_workers(write(tmp_path, "a.json", {"tasks": []}))
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.json")


WF_15 = {
    "name": "wf",
    "schemaVersion": "1.5",
    "workflow": {
        "specification": {
            "tasks": [
                {"name": "a", "id": "a_1", "parents": [], "children": ["b_1"]},
                {"name": "b", "id": "b_1", "parents": []},
                {"name": "c", "id": "c_1", "parents": ["a_1", "b_1", "a_1"], "children": []},
            ]
        },
        "execution": {
            "tasks": [
                {
                    "id": "a_1",
                    "runtimeInSeconds": 2.5,
                    "avgCPU": 143.3,
                    "command": {"program": "p", "arguments": ["-n", 1]},
                },
                {"id": "b_1", "runtimeInSeconds": 1, "coreCount": 4, "memoryInBytes": 3_000_001},
                {"id": "c_1", "runtimeInSeconds": 0.25, "avgCPU": 5, "memoryInBytes": 0},
            ],
            "machines": [
                {"nodeName": "n1", "cpu": {"coreCount": 8, "speedInMHz": 2000}, "memoryInBytes": 4 * 2**30},
                {"nodeName": "n2", "cpu": {"coreCount": 1}},
            ],
        },
    },
}
WF_14 = {
    "name": "wf",
    "schemaVersion": "1.4",
    "workflow": {
        "tasks": [
            {
                "name": "a",
                "id": "1",
                "runtimeInSeconds": 2.5,
                "avgCPU": 143.3,
                "children": ["b"],
                "command": {"program": "p", "arguments": ["-n", 1]},
            },
            {"name": "b", "id": "1", "runtimeInSeconds": 1, "cores": 4, "memoryInBytes": 3_000_001},
            {"name": "c", "id": "1", "runtimeInSeconds": 0.25, "avgCPU": 5, "parents": ["a", "b"]},
        ],
        "machines": [
            {"nodeName": "n1", "cpu": {"count": 8, "speed": 2000}, "memoryInBytes": 4 * 2**30},
            {"nodeName": "n2", "cpu": {"count": 1}},
        ],
    },
}


@pytest.mark.parametrize("data", [WF_15, WF_14], ids=["1.5", "1.4"])
def test_wfformat(tmp_path, data):
    job = load(write(tmp_path, "wf.json", data))
    assert job.recorded and job.name == "wf"
    assert [
        (t.task_id, sorted(t.dependencies), t.cpu_cores_required, t.memory_required_mb, t.duration) for t in job.tasks
    ] == [
        ("a_1", [], 2, 2048, 2.5),
        ("b_1", ["a_1"], 4, 3, 1),
        ("c_1", ["a_1", "b_1"], 1, 1024, 0.25),
    ]
    assert job.tasks[0].command == ["p", "-n", "1"]
    assert [(w.worker_id, w.cpu_cores_available, w.memory_available_mb) for w in job.workers] == [
        ("n1", 8, 4096),
        ("n2", 1, 2**31 - 1),
    ]
    assert schedule(job.tasks, job.workers).makespan == 3.75


def test_tasks_of_one_kind_are_a_group(tmp_path):
    """By what an instance calls them: the name of a process, else the program, else the id without its number."""
    named = [
        ("FASTQC_1", "A.FASTQC", "fastqc x"),
        ("mAdd_ID01", "mAdd_ID01", "mAdd"),
        ("sort-3", "sort-3", "bash"),
        ("7", 5, ""),
    ]
    specified = [{"id": task_id, "name": name} for task_id, name, _ in named]
    executed = [{"id": task_id, "command": {"program": program}} for task_id, _, program in named]
    workflow = {"specification": {"tasks": specified}, "execution": {"tasks": executed}}
    job = load(write(tmp_path, "a.json", {"schemaVersion": "1.5", "workflow": workflow}))
    assert [task.group for task in job.tasks] == ["A.FASTQC", "mAdd", "sort", None]
    old = [
        {"name": "a_1", "category": "kind"},
        {"name": "b", "id": "1"},
        {"name": "c_2"},
        {"name": "d_3", "category": 4},
    ]
    job = load(write(tmp_path, "a.json", {"schemaVersion": "1.4", "workflow": {"tasks": old}}))
    assert [task.group for task in job.tasks] == ["kind", "b", "c", "d"]
    TaskGraph(job.tasks)


def test_children_that_are_no_tasks_are_named(tmp_path):
    specified = [{"id": "a", "children": ["b", "x"]}, {"id": "b", "children": [f"c{i}" for i in range(9)]}]
    new = {"schemaVersion": "1.5", "workflow": {"specification": {"tasks": specified}}}
    with pytest.raises(FormatError, match=r"task 'a' has the child 'x', which is not a task; .*; and 5 more"):
        load(write(tmp_path, "wf.json", new))
    old = {"schemaVersion": "1.4", "workflow": {"tasks": [{"name": "a", "children": ["x"]}]}}
    with pytest.raises(FormatError, match=r"task 'a' has the child 'x', which is not a task$"):
        load(write(tmp_path, "wf.json", old))


def test_real_instances_are_read_as_their_reference_says(data_folder, tmp_path):
    """Each original WfFormat file against its flat form, which others derived from it: tasks, edges, demands, times."""
    checked = 0
    with (
        tarfile.open(data_folder / "wfinstances" / "original_json.tar.gz") as originals,
        tarfile.open(data_folder / "wfinstances" / "wfinstances_flat.tar.gz") as flats,
    ):
        flat_files = {member.name.split("/")[-1]: member for member in flats}
        for member in originals:
            if not member.isfile():
                continue
            name = member.name.split("/")[-1]
            path = write(tmp_path, name, originals.extractfile(member).read().decode())
            flat = json.load(flats.extractfile(flat_files[name]))
            job = load(path)
            graph = TaskGraph(job.tasks)
            memory = [m if m is not None else 1024 * c // 1000 for m, c in zip(flat["mem_mb"], flat["cores_milli"])]
            ours = sorted(
                zip(graph.demand[:, 0].tolist(), graph.demand[:, 1].tolist(), (graph.duration / 1e6).round().tolist())
            )
            assert ours == sorted(zip(flat["cores_milli"], memory, map(float, flat["dur_ms"]))), name
            assert len(graph.deps) == sum(map(len, flat["parents"])), name
            plan = schedule(job.tasks, [Worker(f"w{i}", 8, 65536) for i in range(10)])
            assert isinstance(plan, Schedule) and plan.all_completed, name
            assert plan.plan.bounds_ns["critical path"] / 1e6 == pytest.approx(flat["meta"]["cp_ms"], abs=len(graph)), (
                name
            )
            checked += 1
    assert checked == 16
