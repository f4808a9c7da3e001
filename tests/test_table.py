"""The attempts as an Arrow stream: values, types, what is asked for, and that memory goes, whoever goes first."""

from __future__ import annotations

import ctypes
import gc
import threading
import weakref

import nanoarrow as na
import numpy as np
import pytest

from fastsched import Task, TaskGraph, Worker, _export, schedule
from fastsched.table import AttemptTable, text_column

WORKERS = [Worker("w1", 1, 512), Worker("w2", 1, 512)]
NAMES = ["task_id", "worker_id", "attempt", "start", "end", "status", "reason"]


def plan_of(n=3, **options):
    tasks = [Task(f"t{i}", "x", duration=1.5) for i in range(n)]
    return schedule(tasks, WORKERS, outcome=lambda task, worker, attempt: task != "t1" or attempt > 1, **options)


def rows_of(source):
    return na.ArrayStream(source).read_all().to_pylist()


def test_the_table_has_every_attempt():
    plan = plan_of()
    assert (
        rows_of(plan)
        == rows_of(plan.table)
        == [
            {
                "task_id": p.task_id,
                "worker_id": p.worker_id,
                "attempt": p.attempt,
                "start": p.start,
                "end": p.end,
                "status": str(p.outcome),
                "reason": "EXIT" if p.outcome == "FAILED" else None,
            }
            for p in plan.placements
        ]
    )
    assert [row["reason"] for row in rows_of(plan)].count("EXIT") == 1
    assert len(plan.table) == 4 and repr(plan.table).startswith("<AttemptTable: 4 attempts; columns task_id, ")


def test_its_types_are_the_same_whatever_is_in_it():
    for plan in (plan_of(), schedule([], WORKERS), schedule([Task("a", "x")], WORKERS)):
        schema = na.Schema(na.ArrayStream(plan.table).schema)
        assert [schema.field(i).name for i in range(7)] == NAMES
        types = [schema.field(i).type.name for i in range(7)]
        assert types == ["LARGE_STRING", "LARGE_STRING", "INT32", "DOUBLE", "DOUBLE", "LARGE_STRING", "LARGE_STRING"]
        assert all(schema.field(i).nullable for i in range(7))
    assert rows_of(schedule([], WORKERS)) == []


def test_ids_of_any_text_come_through():
    ids = ["名前", "e\u0301", "\udc80", "🦆", "a\tb"]
    graph = TaskGraph.from_arrays([0] * 6, [], [[1, 1]] * 5, ids=ids)
    plan = schedule(graph, [Worker("wörker", 9, 9999)])
    told = [row["task_id"] for row in rows_of(plan)]
    assert told == ["\\udc80" if name == "\udc80" else name for name in ids]
    assert {row["worker_id"] for row in rows_of(plan)} == {"wörker"}


def schema_like(**changed):
    types = {name: na.large_string() for name in NAMES}
    types |= {"attempt": na.int32(), "start": na.float64(), "end": na.float64()} | changed
    return na.c_schema(na.struct(types))


def ask(plan, schema):
    return plan.table.__arrow_c_stream__(schema.__arrow_c_schema__())


class Capsule:
    """A capsule as something that nanoarrow reads."""

    def __init__(self, capsule):
        self.capsule = capsule

    def __arrow_c_stream__(self, requested_schema=None):
        return self.capsule


def test_another_type_of_the_same_meaning_can_be_asked_for():
    wanted = schema_like(
        task_id=na.string(), attempt=na.int64(), start=na.duration("ns"), end=na.duration("ms"), reason=na.string()
    )
    stream = na.ArrayStream(Capsule(ask(plan_of(), wanted)))
    schema = na.Schema(stream.schema)
    types = [schema.field(i).type.name for i in range(7)]
    assert types == ["STRING", "LARGE_STRING", "INT64", "DURATION", "DURATION", "LARGE_STRING", "STRING"]
    first, *_, last = stream.read_all().to_pylist()
    assert (first["task_id"], first["attempt"]) == ("t0", 1)
    assert (first["end"].total_seconds(), last["start"].total_seconds(), last["end"].total_seconds()) == (1.5, 1.5, 3.0)


def test_what_cannot_be_had_is_given_as_it_is():
    stream = na.ArrayStream(Capsule(ask(plan_of(), schema_like(attempt=na.string(), start=na.float32()))))
    schema = na.Schema(stream.schema)
    assert [schema.field(i).type.name for i in (2, 3)] == ["INT32", "DOUBLE"]


def test_a_schema_of_something_else_is_refused():
    plan = plan_of()
    with pytest.raises(ValueError, match="requested_schema has the columns task_id; these are task_id, worker_id"):
        ask(plan, na.c_schema(na.struct({"task_id": na.string()})))
    with pytest.raises(ValueError, match="is not that of a table"):
        ask(plan, na.c_schema(na.int32()))
    for wrong in (3, "schema", plan.table.__arrow_c_stream__()):
        with pytest.raises(TypeError, match="a capsule called arrow_schema is wanted"):
            plan.table.__arrow_c_stream__(wrong)


def test_a_stream_ends_and_every_call_makes_a_new_one():
    plan = plan_of()
    stream = na.c_array_stream(plan)
    assert stream.get_next().length == 4
    with pytest.raises(StopIteration):
        stream.get_next()
    with pytest.raises(StopIteration):
        stream.get_next()
    assert [len(rows_of(plan)) for _ in range(3)] == [4, 4, 4]


def test_columns_of_different_lengths_are_refused():
    column = ("a", "l", [None, np.zeros(3, np.int64)], 0)
    for other in (("b", "l", [None, np.zeros(2, np.int64)], 0), text_column("b", "U", ["x"], np.zeros(5, np.int64))):
        with pytest.raises(ValueError, match=r"have the lengths \[\d, \d\]"):
            _export.stream_of([column, other])
    with pytest.raises(ValueError, match="have the lengths"):
        _export.stream_of([])


class Memory(bytearray):
    """Memory that can be seen to go."""


def watched_stream(n=1000):
    """A stream of a column in such memory, as a capsule; and a function that says whether the memory has gone."""
    memory = Memory(np.arange(n, dtype=np.int64).tobytes())
    reference = weakref.ref(memory)
    columns = [("a", "l", [None, np.frombuffer(memory, np.int64)], 0), ("b", "g", [None, np.ones(n)], 0)]

    def is_gone():
        gc.collect()
        return reference() is None

    return _export.stream_of(columns), is_gone


def test_what_nobody_reads_is_let_go_of():
    capsule, is_gone = watched_stream()
    assert not is_gone()
    del capsule
    assert is_gone()


def test_the_arrays_live_as_long_as_what_was_read_of_them():
    capsule, is_gone = watched_stream()
    array = na.c_array_stream(Capsule(capsule)).get_next()
    del capsule
    assert not is_gone(), "the stream was released before its array"
    assert na.Array(array).to_pylist()[999] == {"a": 999, "b": 1.0}
    del array
    assert is_gone()


def test_it_may_be_let_go_of_by_another_thread():
    capsule, is_gone = watched_stream()
    held = [na.c_array_stream(Capsule(capsule)).get_next()]
    del capsule
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert is_gone()


class CSchema(ctypes.Structure):
    pass


class CArray(ctypes.Structure):
    pass


class CStream(ctypes.Structure):
    pass


# `CFUNCTYPE` lets go of the GIL around a call, as consumers in C do.
CSchema._fields_ = [
    ("format", ctypes.c_char_p), ("name", ctypes.c_char_p), ("metadata", ctypes.c_char_p),
    ("flags", ctypes.c_int64), ("n_children", ctypes.c_int64), ("children", ctypes.POINTER(ctypes.POINTER(CSchema))),
    ("dictionary", ctypes.c_void_p), ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(CSchema))),
    ("private_data", ctypes.c_void_p),
]  # fmt: skip
CArray._fields_ = [
    ("length", ctypes.c_int64), ("null_count", ctypes.c_int64), ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64), ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(CArray))), ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(CArray))), ("private_data", ctypes.c_void_p),
]  # fmt: skip
CStream._fields_ = [
    ("get_schema", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(CStream), ctypes.POINTER(CSchema))),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(CStream), ctypes.POINTER(CArray))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(CStream))),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(CStream))), ("private_data", ctypes.c_void_p),
]  # fmt: skip


def stream_in(capsule):
    """The C stream in a capsule, to be driven by hand as a consumer in C does."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return CStream.from_address(pointer(capsule, b"arrow_array_stream"))


def moved(item):
    """The struct taken over by another owner, as the specification has it: copied, and the old one marked released."""
    other = type(item).from_buffer_copy(item)
    item.release = type(item.release)()
    return other


def test_a_column_that_was_moved_out_outlives_its_table():
    capsule, is_gone = watched_stream()
    stream, array = stream_in(capsule), CArray()
    assert stream.get_next(stream, array) == 0
    child = moved(array.children[0].contents)
    array.release(array)
    assert not array.release, "a released array says so"
    stream.release(stream)
    assert not stream.release and not is_gone()
    assert np.ctypeslib.as_array(ctypes.cast(child.buffers[1], ctypes.POINTER(ctypes.c_int64)), (1000,))[-1] == 999
    child.release(child)
    assert is_gone()
    del capsule  # its stream was released before, so nothing is left to be done
    gc.collect()


def test_a_stream_that_was_moved_out_outlives_its_capsule():
    capsule, is_gone = watched_stream()
    stream = moved(stream_in(capsule))
    del capsule
    assert not is_gone()
    stream.release(stream)
    assert is_gone()


def test_a_schema_outlives_its_stream_and_parts_with_its_children():
    capsule, is_gone = watched_stream()
    stream, schema = stream_in(capsule), CSchema()
    assert stream.get_schema(stream, schema) == 0
    del capsule, stream
    assert is_gone()
    child = moved(schema.children[1].contents)
    assert (schema.format, schema.n_children, schema.children[0].contents.name) == (b"+s", 2, b"a")
    schema.release(schema)
    assert not schema.release
    assert (child.format, child.name, child.flags) == (b"g", b"b", 2)
    child.release(child)


def test_the_schema_is_to_be_had_after_the_end_too():
    capsule, _ = watched_stream()
    stream, array, schema = stream_in(capsule), CArray(), CSchema()
    for _ in range(2):
        assert stream.get_next(stream, array) == 0
    assert not array.release, "a second batch"
    assert stream.get_schema(stream, schema) == 0 and stream.get_last_error(stream) is None
    schema.release(schema)


def test_reading_again_and_again_leaves_nothing_behind():
    import tracemalloc

    plan = plan_of(500)
    table = AttemptTable(plan.task_ids, plan.worker_ids, plan.plan.attempt_columns, plan.table._reasons)
    for _ in range(3):
        rows_of(table)
    tracemalloc.start()
    for _ in range(20):
        na.c_array_stream(table).get_next()
        na.c_array_stream(table)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(200):
        na.c_array_stream(table).get_next()
        na.c_array_stream(table)
        with pytest.raises(ValueError):
            ask(plan, na.c_schema(na.int32()))
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 40_000, f"{grown} bytes were left behind; a table has some {500 * 60}"
