"""`TaskGraph.from_arrays`: the same graph as of tasks, from every kind of array, and everything that it refuses."""

from __future__ import annotations

import array
import ctypes
import gc
import tracemalloc

import numpy as np
import pytest
import worlds

from fastsched import Task, TaskGraph, ValidationError, Worker, planner
from fastsched._timeline import simulate
from fastsched.graph import WorkerTable

COLUMNS = ("dep_ptr", "deps", "succ_ptr", "succ", "order", "demand", "duration", "priority", "max_retries")
INDPTR, INDICES = [0, 0, 1, 3], [0, 0, 1]
DEMAND = [[1000, 128], [500, 0], [2000, 4096]]


def small(**changed) -> TaskGraph:
    given = {"indptr": INDPTR, "indices": INDICES, "demand": DEMAND, **changed}
    return TaskGraph.from_arrays(**given)


def same(graph: TaskGraph, other: TaskGraph) -> None:
    for name in COLUMNS:
        one, two = getattr(graph, name), getattr(other, name)
        assert one.dtype == two.dtype and one.shape == two.shape and (one == two).all(), name
        assert one.flags.c_contiguous and one.flags.aligned, name
    assert (graph.ids, graph.resources, len(graph)) == (other.ids, other.resources, len(other))
    assert graph.has_durations == other.has_durations


def problems_of(**changed):
    with pytest.raises(ValidationError) as caught:
        small(**changed)
    return caught.value.problems


# ---------------------------------------------------------------- the same graph


def arrays_of(tasks: list[Task], names: tuple[str, ...]) -> dict:
    """The arguments of `from_arrays` for these tasks, one field after the other."""
    index = {task.task_id: i for i, task in enumerate(tasks)}
    amounts = [
        [round(task.cpu_cores_required * 1000), task.memory_required_mb]
        + [(task.resources or {}).get(name, 0) for name in names[2:]]
        for task in tasks
    ]
    given = {
        "indptr": np.cumsum([0, *(len(task.dependencies) for task in tasks)]),
        "indices": [index[name] for task in tasks for name in task.dependencies],
        "demand": np.array(amounts, dtype=np.int64).reshape(len(tasks), len(names)),
        "priority": [task.priority for task in tasks],
        "max_retries": [-1 if task.max_retries is None else task.max_retries for task in tasks],
        "ids": [task.task_id for task in tasks],
        "resources": names,
    }
    if any(task.duration is not None for task in tasks):
        given["duration"] = [1 if task.duration is None else task.duration for task in tasks]
    return given


def test_the_graph_and_its_plan_are_those_of_tasks():
    for seed in range(120):
        world = worlds.make_world(seed)
        graph = TaskGraph(world.tasks)
        other = TaskGraph.from_arrays(**arrays_of(world.tasks, graph.resources))
        same(other, graph)
        plans = []
        for each in (graph, other):
            table = WorkerTable(world.workers, each.resources)
            core = planner.make_core(each, table, rank=world.rank, fit=world.fit, max_retries=world.max_retries)
            simulate(core)
            plans.append((core.columns(), core.log()))
        for one, two in zip(*plans):
            assert all((one[name] == two[name]).all() for name in one), seed


def test_what_is_left_out():
    graph = small()
    assert graph.ids == ["0", "1", "2"] and graph.ids is graph.ids and graph.tasks == []
    assert graph.duration.tolist() == [10**9] * 3 and not graph.has_durations
    assert graph.priority.tolist() == [0] * 3 and graph.max_retries.tolist() == [-1] * 3
    assert graph.resources == ("cpu_millicores", "memory_mb")
    assert graph.deps.tolist() == INDICES and graph.succ.tolist() == [1, 2, 2] and graph.order.tolist() == [0, 1, 2]


def test_nothing_at_all():
    for demand in ([], np.zeros((0, 2), dtype=np.int16)):
        graph = TaskGraph.from_arrays([0], [], demand, duration=[], priority=(), ids=[])
        same(graph, TaskGraph([]))


def test_durations_are_seconds_kept_to_the_ns():
    graph = small(duration=[0, 1.5, 1e9])
    assert graph.duration.tolist() == [0, 1_500_000_000, 10**18] and graph.has_durations
    assert small(duration=np.array([0.25, 3, 7], dtype=np.float32)).duration.tolist() == [250_000_000, 3 * NS, 7 * NS]
    assert small(duration=np.array([1e-9, 4e-10, 0.1])).duration.tolist() == [1, 0, 100_000_000]


def test_a_dependency_may_be_listed_twice():
    graph = TaskGraph.from_arrays([0, 0, 3], [0, 0, 0], [[1, 1], [1, 1]])
    same(graph, TaskGraph([Task("0", "x", (), 0.001, 1), Task("1", "x", ["0"] * 3, 0.001, 1)]))


def test_no_string_is_made_before_it_is_asked_for():
    n = 100_000
    indptr, demand = np.zeros(n + 1, dtype=np.int64), np.ones((n, 2), dtype=np.int32)
    gc.collect()
    tracemalloc.start()
    graph = TaskGraph.from_arrays(indptr, np.zeros(0, dtype=np.int32), demand)
    before, _ = tracemalloc.get_traced_memory()
    assert graph.ids[-1] == "99999" and len(graph.ids) == n
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before > 40 * n


NS = 10**9

# ---------------------------------------------------------------- every kind of array


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_integers_of_any_width(kind, order):
    dtype = np.dtype(kind).newbyteorder(order)
    demand = np.array([[100, 0], [7, 127], [1, 1]], dtype=dtype)
    numbers = np.array([1, 2, 3], dtype=dtype)
    graph = small(
        indptr=np.array(INDPTR, dtype=dtype),
        indices=np.array(INDICES, dtype=dtype),
        demand=demand,
        duration=numbers,
        priority=numbers,
        max_retries=numbers,
    )
    same(graph, small(demand=demand.tolist(), duration=[1, 2, 3], priority=[1, 2, 3], max_retries=[1, 2, 3]))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "longdouble"])
def test_floats_where_they_are_whole(kind):
    demand = np.array([[100, 0], [7, 127], [1, 1]], dtype=kind)
    graph = small(indptr=np.array(INDPTR, dtype=kind), indices=np.array(INDICES, dtype=kind), demand=demand)
    same(graph, small(demand=demand.tolist()))
    (problem,) = problems_of(demand=demand + np.array([[0, 0], [0.5, 0], [0, 0]], dtype=kind))
    assert (problem.where, problem.field) == ("1", "demand")
    assert "demand[1, 0] (cpu_millicores) is " in str(problem) and "a whole number is wanted" in str(problem)


def test_what_fits_is_not_copied():
    given = {
        "indptr": np.array(INDPTR, dtype=np.int64),
        "indices": np.array(INDICES, dtype=np.int32),
        "demand": np.array(DEMAND, dtype=np.int32),
        "priority": np.arange(3, dtype=np.int64),
        "max_retries": np.arange(3, dtype=np.int32),
    }
    graph = small(**given)
    for name, column in (("indptr", graph.dep_ptr), ("indices", graph.deps), ("demand", graph.demand)):
        assert np.shares_memory(given[name], column), name
    assert np.shares_memory(given["priority"], graph.priority)
    assert np.shares_memory(given["max_retries"], graph.max_retries)


def test_layouts():
    wanted = small(priority=[1, 2, 3])
    wide = np.zeros((3, 4), dtype=np.int32)
    wide[:, ::2] = DEMAND
    same(small(demand=wide[:, ::2], priority=np.array([3, 2, 1])[::-1]), wanted)
    same(small(demand=np.asfortranarray(np.array(DEMAND, dtype=np.int32)), priority=range(1, 4)), wanted)
    packed = np.zeros(3, dtype=np.dtype([("flag", "u1"), ("priority", "i8")], align=False))
    packed["priority"] = [1, 2, 3]
    assert not packed["priority"].flags.aligned
    same(small(priority=packed["priority"]), wanted)
    same(
        small(indptr=np.frombuffer(b"\0" + np.array(INDPTR).tobytes(), dtype="i8", offset=1), priority=[1, 2, 3]),
        wanted,
    )


def test_arrays_that_cannot_be_written():
    frozen = [np.array(x) for x in (INDPTR, INDICES, DEMAND)]
    frozen += [np.array(INDPTR, dtype=np.int64), np.array(INDICES, np.int32), np.array(DEMAND, np.int32)]
    for each in frozen:
        each.flags.writeable = False
    for indptr, indices, demand in (frozen[:3], frozen[3:]):
        graph = TaskGraph.from_arrays(indptr, indices, demand)
        table = WorkerTable([Worker("w", 4, 9999)], graph.resources)
        core = planner.make_core(graph, table, rank="critical-path", fit="most-free", max_retries=0)
        simulate(core)
        assert core.n_left == 0


def test_buffers_and_lists():
    flat = array.array("i", [amount for row in DEMAND for amount in row])
    demand = memoryview(flat).cast("B").cast("i", (3, 2))
    graph = small(indptr=array.array("q", INDPTR), indices=memoryview(array.array("H", INDICES)), demand=demand)
    same(graph, small())
    assert np.shares_memory(graph.demand, np.asarray(flat))
    same(small(indptr=tuple(INDPTR), indices=bytearray(INDICES), demand=tuple(map(tuple, DEMAND))), small())
    same(small(indptr=(ctypes.c_int64 * 4)(*INDPTR), demand=[np.array(row) for row in DEMAND]), small())

    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return np.array(INDPTR)

    same(small(indptr=Tensor()), small())
    same(
        small(priority=np.array([1, 2, 3], dtype=object), max_retries=[2.0, 0, -1]),
        small(priority=[1, 2, 3], max_retries=[2, 0, -1]),
    )


def test_ids():
    for ids in (
        ["a", "b", "c"],
        ("a", "b", "c"),
        np.array(["a", "b", "c"]),
        (x for x in "abc"),
        {"a": 1, "b": 2, "c": 3}.keys(),
    ):
        graph = small(ids=ids)
        assert graph.ids == ["a", "b", "c"] and set(map(type, graph.ids)) == {str}


def test_further_resources_keep_their_order():
    demand = [[*row, 1, i] for i, row in enumerate(DEMAND)]
    graph = small(demand=demand, resources=["cpu_millicores", "memory_mb", "z", "gpu"])
    assert graph.resources == ("cpu_millicores", "memory_mb", "z", "gpu") and graph.demand.tolist() == demand


# ---------------------------------------------------------------- Arrow, of libraries


def test_pyarrow():
    pa = pytest.importorskip("pyarrow")
    names = ["cpu_millicores", "memory_mb"]
    table = pa.table({"cpu_millicores": [1000, 500, 2000], "memory_mb": pa.array([128, 0, 4096], pa.uint16())})
    lists = pa.array([[0, 0], *DEMAND], pa.list_(pa.int32(), 2))[1:]
    wanted = small(duration=[1, 2, 2.5], priority=[3, 4, 5], max_retries=[0, -1, 7])
    for demand in (
        table,
        table.to_batches()[0],
        pa.concat_tables([table[:1], table[1:]]),
        lists,
        table.to_struct_array(),
    ):
        graph = small(
            indptr=pa.array(INDPTR),
            indices=pa.chunked_array([[], [0], [0, 1]], pa.uint8()),
            demand=demand,
            duration=pa.array([9, 1, 2, 2.5])[1:],
            priority=pa.chunked_array([[3], [4, 5]]),
            max_retries=pa.array([0, -1, 7], pa.int8()),
        )
        same(graph, wanted)
    sliced = pa.table({name: [0, *column, 0] for name, column in zip(names, zip(*DEMAND))})[1:4]
    same(small(demand=sliced), small())
    same(
        small(indptr=pa.array(INDPTR).to_numpy(), demand=pa.array([1, 2, 3]).to_numpy().repeat(2).reshape(3, 2)),
        small(demand=[[1, 1], [2, 2], [3, 3]]),
    )
    # A null that is outside the slice does no harm; one inside is named.
    same(small(priority=pa.array([None, 1, 2, 3, None])[1:4]), small(priority=[1, 2, 3]))
    with pytest.raises(ValueError, match="priority is null in row 2; fill the nulls first"):
        small(priority=pa.chunked_array([[1], [2, None]]))
    with pytest.raises(ValueError, match="demand, column 'memory_mb' is null in row 1"):
        small(demand=pa.table({"cpu_millicores": [1, 2, 3], "memory_mb": [1, None, 3]}))
    for rows in ([[1, 2], [3, None], [4, 5]], [[1, 2], None, [4, 5]]):
        with pytest.raises(ValueError, match="demand is null in row 1"):
            small(demand=pa.array(rows, pa.list_(pa.int64(), 2)))
    for odd in (
        pa.array(["1", "2", "3"]),
        pa.array([1, 2, 3], pa.timestamp("s")),
        pa.array([True, False, True]),
        pa.array([1, 2, 3], pa.decimal128(5, 1)),
        pa.array([1, 2, 1]).dictionary_encode(),
        pa.nulls(3),
        pa.array([[1], [2], [3]]),
        pa.array([1, 2, 3], pa.float16()),
    ):
        with pytest.raises(TypeError, match=r"priority is an Arrow array of type '.*'; cast it to integers or floats"):
            small(priority=odd)
    with pytest.raises(TypeError, match="demand, column 'memory_mb', is an Arrow array of type 'u'"):
        small(demand=pa.table({"cpu_millicores": [1, 2, 3], "memory_mb": ["1", "2", "3"]}))
    with pytest.raises(TypeError, match="priority is a table with the columns a; one column is wanted"):
        small(priority=pa.table({"a": [1, 2, 3]}))


def test_polars():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {"cpu_millicores": [1000, 500, 2000], "memory_mb": [128, 0, 4096]}, schema_overrides={"memory_mb": pl.UInt16}
    )
    lists = pl.Series(DEMAND, dtype=pl.Array(pl.Int32, 2))
    pieces = pl.concat([frame[:2], frame[2:]], rechunk=False)
    for demand in (frame, pieces, lists, frame.to_struct("s")):
        graph = small(
            indptr=pl.Series(INDPTR),
            indices=pl.Series(INDICES, dtype=pl.Int16),
            demand=demand,
            duration=pl.Series([1.0, 2.0, 2.5]),
        )
        same(graph, small(duration=[1, 2, 2.5]))
    same(
        small(priority=pl.Series([0, 1, 2, 3])[1:], ids=pl.Series(["a", "b", "c"])),
        small(priority=[1, 2, 3], ids=list("abc")),
    )
    with pytest.raises(ValueError, match="priority is null in row 1"):
        small(priority=pl.Series([1, None, 3]))
    with pytest.raises(TypeError, match="priority is an Arrow array of type"):
        small(priority=pl.Series(["1", "2", "3"]))


def test_nanoarrow():
    na = pytest.importorskip("nanoarrow")
    fields = {"cpu_millicores": na.int64(), "memory_mb": na.int64()}
    columns = [na.c_array([row[r] for row in DEMAND], na.int64()) for r in range(2)]
    batch = na.c_array_from_buffers(na.struct(fields), 3, [None], children=columns)
    for demand in (DEMAND, batch, na.Array(batch)):
        graph = small(
            indptr=na.Array(INDPTR, na.int32()),
            indices=na.Array.from_chunks([[0], [0, 1]], na.uint16()),
            demand=demand,
            priority=na.c_array([1, 2, 3], na.int8()),
            duration=na.c_array([1, 2, 2.5], na.float32()),
        )
        same(graph, small(priority=[1, 2, 3], duration=[1, 2, 2.5]))
    with pytest.raises(ValueError, match="priority is null in row 1"):
        small(priority=na.Array([1, None, 3], na.int32()))
    with pytest.raises(TypeError, match="priority is an Arrow array of type 'u'"):
        small(priority=na.Array(["1", "2", "3"], na.string()))


# ---------------------------------------------------------------- Arrow, to the letter of the interface


class Schema(ctypes.Structure):
    pass


class Arrow(ctypes.Structure):
    pass


class Stream(ctypes.Structure):
    pass


RELEASE_SCHEMA = ctypes.CFUNCTYPE(None, ctypes.POINTER(Schema))
RELEASE_ARRAY = ctypes.CFUNCTYPE(None, ctypes.POINTER(Arrow))
RELEASE_STREAM = ctypes.CFUNCTYPE(None, ctypes.POINTER(Stream))
GET_SCHEMA = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.POINTER(Schema))
GET_NEXT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.POINTER(Arrow))
GET_ERROR = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(Stream))
Schema._fields_ = [
    *((name, ctypes.c_char_p) for name in ("format", "name", "metadata")),
    *((name, ctypes.c_int64) for name in ("flags", "n_children")),
    ("children", ctypes.POINTER(ctypes.POINTER(Schema))),
    ("dictionary", ctypes.POINTER(Schema)),
    ("release", RELEASE_SCHEMA),
    ("private_data", ctypes.c_void_p),
]
Arrow._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(Arrow))),
    ("dictionary", ctypes.POINTER(Arrow)),
    ("release", RELEASE_ARRAY),
    ("private_data", ctypes.c_void_p),
]
Stream._fields_ = [
    ("get_schema", GET_SCHEMA),
    ("get_next", GET_NEXT),
    ("get_last_error", GET_ERROR),
    ("release", RELEASE_STREAM),
    ("private_data", ctypes.c_void_p),
]
make_capsule = ctypes.pythonapi.PyCapsule_New
make_capsule.restype = ctypes.py_object
make_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Producer:
    """Hands out structs of its own making and counts what is given back."""

    def __init__(self) -> None:
        self.kept: list = []
        self.given = self.released = 0
        self.release_schema = RELEASE_SCHEMA(self._note_release)
        self.release_array = RELEASE_ARRAY(self._note_release)
        self.release_stream = RELEASE_STREAM(self._note_release)

    def _note_release(self, pointer) -> None:
        assert pointer.contents.release
        pointer.contents.release = type(pointer.contents.release)()
        self.released += 1

    def keep(self, value):
        self.kept.append(value)
        return value

    def point(self, structs, kind):
        pointers = (ctypes.POINTER(kind) * len(structs))(*(ctypes.pointer(struct) for struct in structs))
        return self.keep(pointers)

    def schema(self, form, children=(), name=b"", dictionary=None) -> Schema:
        made = self.keep(Schema(format=form, name=name, n_children=len(children), release=self.release_schema))
        made.children = self.point(children, Schema)
        if dictionary is not None:
            made.dictionary = ctypes.pointer(dictionary)
        return made

    def array(self, values=None, length=None, offset=0, valid=None, null_count=0, children=()) -> Arrow:
        """`values`: a numpy array, or None for a list or a struct; `valid`: the bytes of the bitmap."""
        buffers = (ctypes.c_void_p * (1 if values is None else 2))()
        if values is not None:
            buffers[1] = self.keep(values).ctypes.data
        if valid is not None:
            buffers[0] = ctypes.cast(self.keep(ctypes.create_string_buffer(valid)), ctypes.c_void_p).value
        length = len(values) - offset if length is None else length
        made = Arrow(length=length, null_count=null_count, offset=offset, n_buffers=len(buffers))
        made.buffers, made.release, made.n_children = self.keep(buffers), self.release_array, len(children)
        made.children = self.point(children, Arrow)
        return self.keep(made)

    def hand_out(self, schema, array):
        """An object with `__arrow_c_array__`."""
        producer = self

        class Handed:
            def __arrow_c_array__(self, requested_schema=None):
                producer.given += 2
                return (
                    make_capsule(ctypes.addressof(schema), b"arrow_schema", None),
                    make_capsule(ctypes.addressof(array), b"arrow_array", None),
                )

        return Handed()

    def stream(self, schema, arrays, code=0, message=None):
        """An object with `__arrow_c_stream__`; after the arrays it ends, or fails with the code."""
        left = list(arrays)

        def get_schema(_, into):
            self.given += 1
            ctypes.memmove(into, ctypes.byref(schema), ctypes.sizeof(Schema))
            return 0

        def get_next(_, into):
            if left:
                self.given += 1
                ctypes.memmove(into, ctypes.byref(left.pop(0)), ctypes.sizeof(Arrow))
                return 0
            into.contents.release = RELEASE_ARRAY()
            return code

        told = self.keep(ctypes.create_string_buffer(message)) if message else None
        reason = GET_ERROR(lambda _: told and ctypes.addressof(told))
        made = self.keep(Stream(GET_SCHEMA(get_schema), GET_NEXT(get_next), reason))
        made.release = self.release_stream
        producer = self

        class Handed:
            def __arrow_c_stream__(self, requested_schema=None):
                producer.given += 1
                return make_capsule(ctypes.addressof(made), b"arrow_array_stream", None)

        return Handed()


@pytest.fixture
def producer():
    """Whatever it gave has been given back when the test is put away."""
    made = Producer()
    yield made
    assert made.given > 0 and made.released == made.given


FORMATS = {"c": "i1", "C": "u1", "s": "i2", "S": "u2", "i": "i4", "I": "u4", "l": "i8", "L": "u8", "f": "f4", "g": "f8"}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_with_an_offset(producer, form):
    values = np.array([99, 99, 1, 2, 3, 99], dtype=FORMATS[form])
    given = producer.hand_out(producer.schema(form.encode()), producer.array(values, length=3, offset=2))
    assert small(priority=given).priority.tolist() == [1, 2, 3]


def test_a_struct_and_its_children_have_offsets_of_their_own(producer):
    ones, twos = np.array([9, 9, 9, 1, 2, 3], dtype="i4"), np.array([9, 9, 4, 5, 6, 9], dtype="i8")
    children = [producer.array(ones, offset=1), producer.array(twos)]
    given = producer.hand_out(
        producer.schema(b"+s", [producer.schema(b"i", name=b"a"), producer.schema(b"l")]),
        producer.array(length=3, offset=2, children=children),
    )
    assert small(demand=given).demand.tolist() == [[1, 4], [2, 5], [3, 6]]


def test_a_list_of_a_fixed_size_and_its_child_have_offsets_of_their_own(producer):
    child = producer.array(np.arange(11, dtype="i4"), offset=1)
    given = producer.hand_out(
        producer.schema(b"+w:2", [producer.schema(b"i")]), producer.array(length=3, offset=2, children=[child])
    )
    assert small(demand=given).demand.tolist() == [[5, 6], [7, 8], [9, 10]]


def test_the_chunks_of_a_stream_are_joined(producer):
    chunks = [producer.array(np.array(chunk, dtype="i4")) for chunk in ([1], [], [2, 3])]
    assert small(priority=producer.stream(producer.schema(b"i"), chunks)).priority.tolist() == [1, 2, 3]
    assert small(indices=producer.stream(producer.schema(b"g"), []), indptr=[0] * 4).deps.tolist() == []


def test_nulls_are_found_where_nobody_has_counted_them(producer):
    values = np.arange(12, dtype="i4")

    def given(valid, **more):
        return producer.hand_out(
            producer.schema(b"i"), producer.array(values, length=3, offset=7, valid=valid, null_count=-1, **more)
        )

    # Bits 7, 8 and 9 are looked at, and no others.
    assert small(priority=given(bytes([0b10000000, 0b00000011]))).priority.tolist() == [7, 8, 9]
    for valid, row in ((bytes([0b01111111, 0xFF]), 0), (bytes([0xFF, 0b11111110]), 1), (bytes([0xFF, 0b11111101]), 2)):
        with pytest.raises(ValueError, match=f"^priority is null in row {row}; fill the nulls first"):
            small(priority=given(valid))
    many = [
        producer.array(np.zeros(2, dtype="i4"), valid=b"\3"),
        producer.array(np.zeros(1, dtype="i4"), valid=b"\0", null_count=1),
    ]
    with pytest.raises(ValueError, match=r"^priority is null in row 2"):
        small(priority=producer.stream(producer.schema(b"i"), many))


def test_what_breaks_off_is_given_back(producer):
    chunk = producer.array(np.zeros(2, dtype="i4"))
    for message, told in ((b"the disk is gone", "the disk is gone"), (None, "no reason was given")):
        with pytest.raises(ValueError, match=f"priority: the Arrow stream failed with code 5: {told}"):
            small(priority=producer.stream(producer.schema(b"i"), [chunk], code=5, message=message))
    more = [producer.array(np.zeros(2, dtype="i4")) for _ in range(4)]
    with pytest.raises(ValueError, match="priority has more than 3 entries; there are 3 tasks, as indptr has 4"):
        small(priority=producer.stream(producer.schema(b"i"), more))
    with pytest.raises(TypeError, match="priority is an Arrow array of type 'u'"):
        small(priority=producer.stream(producer.schema(b"u"), more))
    coded = producer.schema(b"i", dictionary=producer.schema(b"l"))
    with pytest.raises(TypeError, match="priority is an Arrow array of type 'dictionary'"):
        small(priority=producer.hand_out(coded, producer.array(np.zeros(3, dtype="i4"))))


def test_what_lies_about_its_size_is_refused_unread(producer):
    huge = 2**40

    def lists(**more):
        child = producer.array(np.zeros(4, dtype="i4"))
        return producer.hand_out(
            producer.schema(b"+w:2", [producer.schema(b"i")]), producer.array(children=[child], **more)
        )

    def plain():
        return producer.schema(b"i")

    with pytest.raises(ValueError, match="priority has more than 3 entries"):
        small(priority=producer.hand_out(plain(), producer.array(np.zeros(3, dtype="i4"), length=huge)))
    with pytest.raises(ValueError, match="indptr has more than 2147483648 entries; fewer than 2147483648 tasks"):
        small(indptr=producer.hand_out(plain(), producer.array(np.zeros(3, dtype="i4"), length=huge)))
    with pytest.raises(ValueError, match="a child of the Arrow array is shorter than the array"):
        small(demand=lists(length=3))
    with pytest.raises(ValueError, match="a child of the Arrow array is shorter than the array"):
        small(demand=lists(length=1, offset=2**62))
    with pytest.raises(ValueError, match="negative length or offset"):
        small(demand=lists(length=-1))
    with pytest.raises(ValueError, match="1 or more is wanted"):
        small(demand=producer.hand_out(producer.schema(b"+w:0", [plain()]), producer.array(length=3, children=[])))
    with pytest.raises(ValueError, match="has not the children that its schema has"):
        small(demand=producer.hand_out(producer.schema(b"+s", [plain(), plain()]), producer.array(length=3)))
    with pytest.raises(ValueError, match="the buffers of the Arrow array are not those of its type"):
        small(priority=producer.hand_out(plain(), producer.array(length=3)))


def test_what_has_been_read_before():
    producer = Producer()
    one, array_ = producer.schema(b"i"), producer.array(np.arange(3, dtype="i4"))
    given = producer.hand_out(one, array_)
    assert small(priority=given).priority.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="priority: the Arrow array has been released before it could be read"):
        small(priority=given)
    stream = producer.stream(producer.schema(b"i"), [producer.array(np.arange(3, dtype="i4"))])
    assert small(priority=stream).priority.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="priority: the Arrow stream has been read before"):
        small(priority=stream)


# ---------------------------------------------------------------- what is refused: arrays as such


@pytest.mark.parametrize(
    ("changed", "kind", "told"),
    [
        ({"indptr": []}, ValueError, r"indptr has shape \(0,\); \(n \+ 1,\) is wanted for n tasks, \[0\] for none"),
        ({"indptr": [INDPTR]}, ValueError, r"indptr has shape \(1, 4\)"),
        ({"indptr": np.int64(5)}, ValueError, r"indptr has shape \(\)"),
        ({"indptr": 5}, TypeError, "indptr is of type int; numbers are wanted, in a numpy array, an Arrow array"),
        ({"indptr": "0123"}, TypeError, "indptr is of type str"),
        ({"indptr": b"0123"}, TypeError, "indptr is of type bytes"),
        ({"indptr": {0: 1}}, TypeError, "indptr is of type dict"),
        ({"indptr": iter(INDPTR)}, TypeError, "indptr is of type list_iterator"),
        ({"indptr": None}, TypeError, "indptr is of type NoneType"),
        ({"indptr": ["0", "0", "1", "3"]}, TypeError, "indptr holds values of type <U1; cast it to integers or floats"),
        ({"indptr": [0, None, 1, 3]}, TypeError, "indptr holds None; numbers are wanted"),
        ({"indptr": [[0], [0, 1]]}, ValueError, "indptr cannot be read as an array"),
        ({"priority": np.zeros(3, dtype=bool)}, TypeError, "priority holds values of type bool"),
        ({"priority": np.zeros(3, dtype=complex)}, TypeError, "priority holds values of type complex128"),
        ({"duration": np.zeros(3, dtype="m8[s]")}, TypeError, r"duration holds values of type timedelta64\[s\]"),
        ({"duration": np.zeros(3, dtype="M8[s]")}, TypeError, r"duration holds values of type datetime64\[s\]"),
        ({"demand": np.zeros(3, dtype=[("a", int)])}, TypeError, "demand holds values of type"),
        ({"priority": np.ma.array([1, 2, 3], mask=[0, 1, 0])}, ValueError, "priority has masked values; fill them"),
        ({"indices": [0, 0]}, ValueError, r"indices has shape \(2,\); \(3,\) is wanted, as indptr ends at 3"),
        ({"indices": [0, 0, 0, 0]}, ValueError, "indices has 4 entries; indptr ends at 3, and they must be as many"),
        ({"indices": [[0], [0], [1]]}, ValueError, r"indices has shape \(3, 1\); \(3,\) is wanted"),
        ({"indptr": [0, 0, 1, 2**40]}, ValueError, r"indices has shape \(3,\); \(1099511627776,\) is wanted"),
        ({"demand": DEMAND[:2]}, ValueError, r"demand has shape \(2, 2\); \(3, 2\) is wanted, a row for each task and"),
        ({"demand": [*DEMAND, [1, 1]]}, ValueError, "demand has 4 entries; there are 3 tasks, as indptr has 4 entries"),
        ({"demand": [1, 2, 3]}, ValueError, r"demand has shape \(3,\); \(3, 2\) is wanted"),
        ({"demand": [[1, 2, 3]] * 3}, ValueError, "a column for each of cpu_millicores, memory_mb"),
        ({"demand": [[1, 2], [1], [1, 2]]}, ValueError, "demand cannot be read as an array"),
        ({"duration": [1, 2]}, ValueError, r"duration has shape \(2,\); \(3,\) is wanted, one number for each task"),
        ({"duration": [[1], [2], [3]]}, ValueError, r"duration has shape \(3, 1\)"),
        ({"priority": [1, 2, 3, 4]}, ValueError, "priority has 4 entries; there are 3 tasks"),
        ({"priority": 7}, TypeError, "priority is of type int"),
        ({"max_retries": [1]}, ValueError, r"max_retries has shape \(1,\); \(3,\) is wanted"),
        ({"ids": ["a", "b"]}, ValueError, "ids has 2 entries; there are 3 tasks, as indptr has 4 entries"),
        ({"ids": "abc"}, TypeError, "ids is of type str; a sequence of strings is wanted, or None"),
        ({"ids": np.array("abc")}, TypeError, "ids has no dimension; a sequence of strings is wanted"),
        ({"ids": 3}, TypeError, "ids is of type int"),
        ({"resources": ("memory_mb", "cpu_millicores")}, ValueError, "its first two names are 'cpu_millicores' and"),
        ({"resources": "cpu_millicores"}, ValueError, "its first two names are"),
        ({"resources": ("cpu_millicores", "memory_mb", "gpu", "gpu")}, ValueError, "every name may be there once"),
        ({"resources": ("cpu_millicores", "memory_mb", "")}, TypeError, "strings that are not empty"),
        ({"resources": ("cpu_millicores", "memory_mb", 3)}, TypeError, "names are wanted"),
    ],
)
def test_what_is_no_such_array(changed, kind, told):
    with pytest.raises(kind, match=told) as caught:
        small(**changed)
    assert not isinstance(caught.value, ValidationError)


def test_what_claims_to_be_huge_is_refused_and_not_allocated():
    zero, none = np.zeros((), dtype=np.int64), np.zeros(0, dtype=np.int32)
    tracemalloc.start()
    for indptr in (np.broadcast_to(zero, 2**31 + 1), np.broadcast_to(zero, 2**45), range(2**31 + 1)):
        with pytest.raises(ValueError, match=r"indptr has \d+ entries; fewer than 2147483648 tasks are possible"):
            TaskGraph.from_arrays(indptr, none, np.broadcast_to(zero, (2**31, 2)))
    with pytest.raises(ValueError, match="demand has 1 entry; there are 2147483646 tasks"):
        TaskGraph.from_arrays(range(2**31 - 1), none, [[1, 1]])
    for indices in (none, np.broadcast_to(zero, 2**40), range(2**40)):
        with pytest.raises(ValueError, match="indices has"):
            TaskGraph.from_arrays([0, 2**40], indices, [[1, 1]])
    with pytest.raises(
        ValueError, match="indices has 1099511627776 entries; more than 68719476736 edges are not possible"
    ):
        TaskGraph.from_arrays([0, 2**40], np.broadcast_to(zero, 2**40), [[1, 1]])
    for name in ("demand", "duration", "priority", "max_retries"):
        with pytest.raises(ValueError, match=f"{name} has 1099511627776 entries; there are 3 tasks"):
            small(**{name: np.broadcast_to(zero, 2**40)})
        with pytest.raises(ValueError, match=f"{name} has 1099511627776 entries; there are 3 tasks"):
            small(**{name: range(2**40)})
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_a_table_for_the_demand_bears_no_names_astray(producer):
    def table(*names):
        schema = producer.schema(b"+s", [producer.schema(b"i", name=name) for name in names])
        children = [producer.array(np.arange(3, dtype="i4") + r) for r in range(len(names))]
        return producer.hand_out(schema, producer.array(length=3, children=children))

    assert small(demand=table(b"cores", b"memory")).demand.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert small(demand=table(b"cpu_millicores", b"")).demand.tolist() == [[0, 1], [1, 2], [2, 3]]
    for names in ((b"memory_mb", b"cpu_millicores"), (b"x", b"cpu_millicores"), (b"cpu_millicores",), ()):
        with pytest.raises(
            ValueError, match=r"demand has the columns .*; cpu_millicores, memory_mb are wanted, in this"
        ):
            small(demand=table(*names))
    with pytest.raises(TypeError, match="priority is a table with the columns a, b; one column is wanted"):
        small(priority=table(b"a", b"b"))
    with pytest.raises(ValueError, match="demand has 3 entries; there are 4 tasks, as indptr has 5 entries"):
        small(demand=table(b"a", b"b"), indptr=[*INDPTR, 3])


# ---------------------------------------------------------------- what is refused: values


@pytest.mark.parametrize(
    ("changed", "where", "field", "value", "told"),
    [
        ({"indptr": [1, 1, 1, 3]}, "indptr[0]", "indptr", 1, "indptr begins with 1; it begins with 0"),
        ({"indptr": [0, 2, 1, 3]}, "1", "indptr", 1, "indptr falls from 2 to 1 at row 1; it must never fall"),
        ({"indptr": [0, -1, 1, 3]}, "indptr[1]", "indptr", -1, "indptr[1] is -1; it must be between 0 and"),
        ({"indptr": [0, 0.5, 1, 3]}, "indptr[1]", "indptr", 0.5, "indptr[1] is 0.5; a whole number is wanted"),
        ({"indptr": [0, 0, 1, 2**63]}, "indptr[3]", "indptr", 2**63, "it must be between 0 and 9007199254740991"),
        ({"indptr": [0, 0, 2**70, 3]}, "indptr[2]", "indptr", 2**70, "indptr[2] is 1180591620717411303424; it must be"),
        ({"indices": [0, 0, 3]}, "2", "indices", 3, "indices[2], in row 2, is 3; it must be between 0 and 2"),
        ({"indices": [-1, 0, 1]}, "1", "indices", -1, "indices[0], in row 1, is -1; it must be between 0 and 2"),
        ({"indices": [0, 2**32, 1]}, "2", "indices", 2**32, "indices[1], in row 2, is 4294967296"),
        ({"indices": [0, 2**65, 1]}, "2", "indices", 2**65, "indices[1], in row 2, is 36893488147419103232"),
        ({"demand": [[1, 1], [1, -5], [1, 1]]}, "1", "demand", -5, "demand[1, 1] (memory_mb) is -5; it must be"),
        ({"demand": [[1, 1], [1, 1], [2**31, 1]]}, "2", "demand", 2**31, "demand[2, 0] (cpu_millicores) is 2147483648"),
        ({"demand": np.array([[1, 1]] * 2 + [[2**63, 1]], dtype="u8")}, "2", "demand", 2**63, "is 9223372036854775808"),
        ({"demand": [[1, 1], [1.5, 1], [1, 1]]}, "1", "demand", 1.5, "(cpu_millicores) is 1.5; a whole number"),
        ({"demand": [[1, 1], [np.inf, 1], [1, 1]]}, "1", "demand", np.inf, "is inf; it must be between 0 and"),
        ({"duration": [1, -0.5, 1]}, "1", "duration", -0.5, "duration[1] is -0.5; it must be between 0 and 1000000000"),
        ({"duration": [1, 1, 1e9 + 1]}, "2", "duration", 1e9 + 1, "duration[2] is 1000000001.0; it must be between"),
        ({"duration": [np.inf, 1, 1]}, "0", "duration", np.inf, "duration[0] is inf; it must be between"),
        ({"duration": [1, 1, 2**64]}, "2", "duration", 2**64, "duration[2] is 18446744073709551616"),
        ({"duration": [1, 1, 2**1024]}, "2", "duration", 2**1024, "duration[2] is 1797"),
        ({"priority": [0, 2**31, 0]}, "1", "priority", 2**31, "it must be between -2147483647 and 2147483647"),
        ({"priority": np.array([-(2**31), 0, 0], dtype="f4")}, "0", "priority", -(2.0**31), "[0] is -2147483648.0"),
        ({"max_retries": [0, 0, -2]}, "2", "max_retries", -2, "max_retries[2] is -2; it must be between -1 and"),
        ({"max_retries": [0, 0, 2**31]}, "2", "max_retries", 2**31, "max_retries[2] is 2147483648"),
        ({"ids": ["a", "", "c"]}, "ids[1]", "ids", "", "ids is empty"),
        ({"ids": ["a", 5, "c"]}, "ids[1]", "ids", 5, "ids is 5; a string is wanted"),
        ({"ids": ["a", "b", "a"]}, "a", None, "a", "this id is used 2 times: ids[0], ids[2]"),
    ],
)  # fmt: skip
def test_one_wrong_value_is_named(changed, where, field, value, told):
    (problem,) = problems_of(**changed)
    assert (problem.where, problem.field, problem.value) == (where, field, value)
    assert told in str(problem)


def test_a_nan_is_named():
    for field in ("duration", "priority"):
        for kind in ("f4", "f8"):
            (problem,) = problems_of(**{field: np.array([1, np.nan, 1], dtype=kind)})
            assert (problem.where, problem.field) == ("1", field) and f"{field}[1] is nan" in str(problem)


def test_cycles_have_their_path():
    (problem,) = problems_of(indptr=[0, 1, 2, 3], indices=[1, 2, 0])
    assert (problem.kind, problem.where, problem.path) == ("cycle", "0", ("0", "1", "2", "0"))
    assert "depends on itself in a cycle: 0 -> 1 -> 2 -> 0" in str(problem)
    (problem,) = problems_of(indptr=[0, 1, 2, 3], indices=[1, 2, 0], ids=["x", "y", "z"])
    assert problem.path == ("x", "y", "z", "x")
    (problem,) = problems_of(indptr=[0, 1, 2, 3], indices=[1, 1, 0])
    assert (problem.kind, problem.where) == ("self_dependency", "1")
    found = problems_of(indptr=[0, 2, 3, 4], indices=[0, 1, 0, 2])
    assert {(problem.kind, problem.where) for problem in found} == {
        ("self_dependency", "0"),
        ("self_dependency", "2"),
        ("cycle", "0"),
    }


def test_durations_that_the_clock_cannot_hold():
    n = 5
    with pytest.raises(ValidationError, match="the durations add up to more than 146 years"):
        TaskGraph.from_arrays([0] * (n + 1), [], [[1, 1]] * n, duration=np.full(n, 1e9))
    TaskGraph.from_arrays([0] * n, [], [[1, 1]] * (n - 1), duration=np.full(n - 1, 1e9))


def test_all_problems_are_reported_at_once():
    found = problems_of(
        indices=[0, 0, 9],
        demand=[[1, -1], [1, 2**31], [0.5, 1]],
        duration=[np.nan, 1, 1],
        priority=[0, 0.5, 0],
        max_retries=[-2, 0, 0],
        ids=["a", "b", "b"],
    )
    assert [(problem.where, problem.field) for problem in found] == [
        ("b", "indices"),
        *(("a", "demand"), ("b", "demand"), ("b", "demand")),
        *(("a", "duration"), ("b", "priority"), ("a", "max_retries")),
        ("b", None),
    ]
    found = problems_of(indptr=[0, 1, 2, 3], indices=[1, 0, 2], demand=[[-1, 0]] * 3)
    assert [problem.kind for problem in found] == ["bad_value"] * 3 + ["self_dependency", "cycle"]
    found = problems_of(indptr=[3, 2, 1, 3], indices=[5, 0, 0])
    assert [(problem.where, problem.field) for problem in found] == [
        *(("indptr[0]", "indptr"), ("0", "indptr"), ("1", "indptr"), ("indices[0]", "indices"))
    ]


def test_a_long_list_of_problems_is_named_in_part():
    n = 1000
    with pytest.raises(ValidationError) as caught:
        TaskGraph.from_arrays([0] * (n + 1), [], np.full((n, 2), -1), ids=[""] * n)
    assert [problem.field for problem in caught.value.problems] == ["ids"] * 21 + ["demand"] * 21
    assert "980 more values of ids are wrong" in str(caught.value.problems[20])
    assert "1980 more values of demand are wrong" in str(caught.value.problems[41])


def test_a_tangle_is_not_unravelled_for_ever():
    n = 400  # every task depends on every other
    rows = np.tile(np.arange(n), (n, 1))[~np.eye(n, dtype=bool)]
    with pytest.raises(ValidationError) as caught:
        TaskGraph.from_arrays(np.arange(n + 1) * (n - 1), rows, np.ones((n, 2)))
    found = caught.value.problems
    assert [problem.kind for problem in found] == ["cycle"]
    assert len({task for problem in found for task in problem.path}) == 2 * len(found)
