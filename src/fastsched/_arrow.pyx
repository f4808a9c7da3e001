# cython: language_level=3
"""Arrow arrays into numpy arrays of our own, through the Arrow C data interface; no Arrow library is imported.

It reads what a graph can be made of: whole numbers and floats, as one column, as lists of a fixed
size, or as the children of a struct (a record batch). Nulls and every other type are refused, with
the name of the argument. It knows no task, and judges no value.

Whatever is handed over, by an array's capsules or by a stream, is released here as soon as it has been
copied, and when it is refused too.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memset

import numpy as np

from ._c_arrow cimport ArrowArray, ArrowArrayStream, ArrowSchema

DTYPES = {
    b"c": np.dtype(np.int8), b"C": np.dtype(np.uint8), b"s": np.dtype(np.int16), b"S": np.dtype(np.uint16),
    b"i": np.dtype(np.int32), b"I": np.dtype(np.uint32), b"l": np.dtype(np.int64), b"L": np.dtype(np.uint64),
    b"f": np.dtype(np.float32), b"g": np.dtype(np.float64),
}

# ---------------------------------------------------------------- doors


def is_arrow(value):
    """Whether `read_arrow` can be asked. See the .pyi."""
    return hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__")


def read_arrow(value, str what, int64_t limit, str why):
    """Copy an Arrow array, stream or table. See the .pyi."""
    cdef Reader reader = Reader(what, limit, why)
    if hasattr(value, "__arrow_c_stream__"):
        read_stream(reader, value.__arrow_c_stream__())
    else:
        schema, array = value.__arrow_c_array__()
        read_array(reader, schema, array)
    return reader.result()


cdef read_array(Reader reader, schema_capsule, array_capsule):
    # In: the two capsules of one array. Both are released.
    cdef ArrowSchema* schema = <ArrowSchema*>PyCapsule_GetPointer(schema_capsule, "arrow_schema")
    cdef ArrowArray* array = <ArrowArray*>PyCapsule_GetPointer(array_capsule, "arrow_array")
    try:
        if schema.release is NULL or array.release is NULL:
            raise ValueError(f"{reader.what}: the Arrow array has been released before it could be read")
        reader.take_schema(schema)
        reader.take_array(array)
    finally:
        if array.release is not NULL:
            array.release(array)
        if schema.release is not NULL:
            schema.release(schema)


cdef read_stream(Reader reader, capsule):
    # In: the capsule of a stream. It, and all that comes out of it, is released.
    cdef ArrowArrayStream* stream = <ArrowArrayStream*>PyCapsule_GetPointer(capsule, "arrow_array_stream")
    cdef ArrowSchema schema
    cdef ArrowArray array
    cdef int code
    if stream.release is NULL:
        raise ValueError(f"{reader.what}: the Arrow stream has been read before")
    try:
        memset(&schema, 0, sizeof(schema))
        with nogil:     # a stream may compute, and wait for threads that want the GIL
            code = stream.get_schema(stream, &schema)
        if code:
            raise stream_error(reader, stream, code)
        try:
            reader.take_schema(&schema)
        finally:
            if schema.release is not NULL:
                schema.release(&schema)
        while True:
            PyErr_CheckSignals()
            memset(&array, 0, sizeof(array))
            with nogil:
                code = stream.get_next(stream, &array)
            if code:
                raise stream_error(reader, stream, code)
            if array.release is NULL:
                break
            try:
                reader.take_array(&array)
            finally:
                if array.release is not NULL:
                    array.release(&array)
    finally:
        stream.release(stream)


cdef object stream_error(Reader reader, ArrowArrayStream* stream, int code):
    cdef const char* told = stream.get_last_error(stream)
    message = (<bytes>told).decode("utf-8", "replace") if told is not NULL else "no reason was given"
    return ValueError(f"{reader.what}: the Arrow stream failed with code {code}: {message}")


# ---------------------------------------------------------------- chunks into columns


@cython.final
cdef class Reader:
    # One value on its way: the type that its schema promised, and what its chunks held so far.
    cdef str what           # the argument, for messages
    cdef int64_t limit      # so many rows at most
    cdef str why            # there are no more of them
    cdef int64_t n_rows     # so far
    cdef int64_t width      # of a fixed-size list; 1 for anything else
    cdef bint is_list       # a fixed-size list
    cdef list names         # of the columns of a struct; None for anything else
    cdef list dtypes        # one a column
    cdef list chunks        # for each column a list of arrays

    def __cinit__(self, str what, int64_t limit, str why):
        self.what = what
        self.limit = limit
        self.why = why
        self.width = 1

    cdef take_schema(self, ArrowSchema* schema):
        # Learn the type, or refuse it.
        cdef int64_t i
        kind = bytes(schema.format)
        if schema.dictionary is NULL and kind.startswith(b"+w:") and schema.n_children == 1:
            self.is_list = True
            self.width = int(kind[3:])
            if self.width < 1:
                raise ValueError(f"{self.what} is an Arrow array of lists of size {self.width}; 1 or more is wanted")
            self.dtypes = [self.find_dtype(schema.children[0])]
        elif schema.dictionary is NULL and kind == b"+s":
            self.names = [name_of(schema.children[i]) for i in range(schema.n_children)]
            self.dtypes = [self.find_dtype(schema.children[i]) for i in range(schema.n_children)]
        else:
            self.dtypes = [self.find_dtype(schema)]
        self.chunks = [[] for _ in self.dtypes]

    cdef find_dtype(self, ArrowSchema* schema):
        kind = bytes(schema.format)
        dtype = DTYPES.get(kind)
        if dtype is None or schema.dictionary is not NULL:
            called = self.what if self.names is None else f"{self.what}, column {name_of(schema)!r},"
            shown = "dictionary" if schema.dictionary is not NULL else kind.decode("utf-8", "replace")
            raise TypeError(
                f"{called} is an Arrow array of type {shown!r}; cast it to integers or floats of 8 to 64 bits"
            )
        return dtype

    cdef take_array(self, ArrowArray* array):
        # Copy one chunk.
        cdef int64_t i, n = array.length
        if n < 0 or array.offset < 0:
            raise ValueError(f"{self.what}: the Arrow array has a negative length or offset")
        if n > self.limit - self.n_rows:
            raise ValueError(f"{self.what} has more than {self.limit} entries; {self.why}")
        if self.names is None and not self.is_list:
            self.chunks[0].append(self.copy(array, 0, n, self.dtypes[0], 1, ""))
        else:
            self.refuse_nulls(array, 0, n, 1, "")
            if array.n_children != len(self.dtypes):
                raise ValueError(f"{self.what}: the Arrow array has not the children that its schema has")
            needed = (int(array.offset) + int(n)) * self.width
            for i in range(array.n_children):
                if array.children[i].length < needed:
                    raise ValueError(f"{self.what}: a child of the Arrow array is shorter than the array")
                name = "" if self.names is None else f", column {self.names[i]!r}"
                column = self.copy(
                    array.children[i], array.offset * self.width, n * self.width, self.dtypes[i], self.width, name
                )
                self.chunks[i].append(column)
        self.n_rows += n

    cdef copy(self, ArrowArray* array, int64_t start, int64_t count, dtype, int64_t per_row, str column):
        # Out: `count` values of a primitive array from `start` on, in memory of our own; `per_row` of them a row.
        cdef uint8_t[::1] into
        cdef Py_ssize_t size = dtype.itemsize
        if array.n_buffers != 2 or array.offset < 0 or (count and array.buffers[1] is NULL):
            raise ValueError(f"{self.what}: the buffers of the Arrow array are not those of its type")
        self.refuse_nulls(array, start, count, per_row, column)
        values = np.empty(count, dtype=dtype)
        if count:
            into = values.view(np.uint8)
            memcpy(&into[0], <const char*>array.buffers[1] + (array.offset + start) * size, count * size)
        return values

    cdef refuse_nulls(self, ArrowArray* array, int64_t start, int64_t count, int64_t per_row, str column):
        # A bit of the first buffer is 0 where a value is null. Without that buffer none is.
        cdef const uint8_t* valid
        cdef int64_t i, at
        if array.null_count == 0 or array.n_buffers == 0 or array.buffers[0] is NULL:
            return
        valid = <const uint8_t*>array.buffers[0]
        for i in range(count):
            at = array.offset + start + i
            if not valid[at >> 3] >> (at & 7) & 1:
                row = self.n_rows + i // per_row
                raise ValueError(f"{self.what}{column} is null in row {row}; fill the nulls first")

    cdef result(self):
        cdef list columns = [
            parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, dtype=dtype)
            for parts, dtype in zip(self.chunks, self.dtypes)
        ]
        if self.is_list:
            columns[0] = columns[0].reshape(self.n_rows, self.width)
        return self.names, columns


cdef str name_of(ArrowSchema* schema):
    return (<bytes>schema.name).decode("utf-8", "replace") if schema.name is not NULL else ""
