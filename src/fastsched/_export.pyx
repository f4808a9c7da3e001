# cython: language_level=3
"""Numpy arrays out as an Arrow stream, through the Arrow C stream interface; no Arrow library is imported.

One record batch of primitive columns and of columns of text. Nothing is copied: the consumer reads the arrays themselves,
and they live until the last of what was handed out is released, in whatever order and on whatever thread that happens. A
consumer may move a column out of its batch, so each holds on to the arrays for itself. It knows no task.
https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html
"""

cimport cython
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset, strlen

import numpy as np

from ._c_arrow cimport ArrowArray, ArrowArrayStream, ArrowSchema

cdef extern from "Python.h":
    int Py_IsInitialized() noexcept nogil

cdef int64_t NULLABLE = 2    # a flag of a column

# ---------------------------------------------------------------- doors


def stream_of(list columns):
    """An `arrow_array_stream` capsule. See the .pyi."""
    cdef Batch batch = Batch(columns)
    cdef ArrowArrayStream* stream = <ArrowArrayStream*>calloc(1, sizeof(ArrowArrayStream))
    if stream is NULL:
        raise MemoryError
    stream.get_schema = get_schema
    stream.get_next = get_next
    stream.get_last_error = get_last_error
    stream.release = release_stream
    stream.private_data = <void*>batch
    Py_INCREF(batch)
    try:
        return PyCapsule_New(stream, "arrow_array_stream", free_stream)
    except BaseException:
        release_stream(stream)
        free(stream)
        raise


def fields_of(capsule):
    """What a schema asks for. See the .pyi."""
    cdef ArrowSchema* schema
    cdef int64_t i
    if not PyCapsule_IsValid(capsule, "arrow_schema"):
        raise TypeError(f"requested_schema is {type(capsule).__name__}; a capsule called arrow_schema is wanted")
    schema = <ArrowSchema*>PyCapsule_GetPointer(capsule, "arrow_schema")
    if schema.release is NULL:
        raise ValueError("requested_schema has been released before it could be read")
    if bytes(schema.format) != b"+s":
        raise ValueError("requested_schema is not that of a table, which has a name and a type for each column")
    return [(text_of(schema.children[i].name), text_of(schema.children[i].format)) for i in range(schema.n_children)]


cdef str text_of(const char* text):
    return (<bytes>text).decode("utf-8", "replace") if text is not NULL else ""


cdef void free_stream(object capsule) noexcept:
    # In: the capsule that nobody holds any more. A consumer that took the stream has left its release NULL.
    cdef ArrowArrayStream* stream = <ArrowArrayStream*>PyCapsule_GetPointer(capsule, "arrow_array_stream")
    if stream.release is not NULL:
        stream.release(stream)
    free(stream)


# ---------------------------------------------------------------- what is handed out


@cython.final
cdef class Batch:
    # The columns of one stream, and what keeps their memory. Read only, once it is made.
    cdef int64_t n_rows
    cdef list names         # bytes, one a column
    cdef list formats       # bytes
    cdef list arrays        # of each column: what its addresses point into
    cdef list addresses     # of each column those of its buffers; 0: there is none
    cdef list null_counts
    cdef bint is_taken      # whether the one batch has been handed out

    def __cinit__(self, list columns):
        self.names = [name.encode() for name, _, _, _ in columns]
        self.formats = [form.encode() for _, form, _, _ in columns]
        self.arrays = [[None if a is None else np.ascontiguousarray(a) for a in arrays] for _, _, arrays, _ in columns]
        self.addresses = [[0 if a is None else a.ctypes.data for a in arrays] for arrays in self.arrays]
        self.null_counts = [nulls for _, _, _, nulls in columns]
        lengths = {len(arrays[1]) - (len(arrays) == 3) for arrays in self.arrays}
        if len(lengths) != 1:
            raise ValueError(f"the columns of one table have the lengths {sorted(lengths)}")
        self.n_rows = lengths.pop()


cdef int get_schema(ArrowArrayStream* stream, ArrowSchema* out) noexcept nogil:
    with gil:
        return fill_schema(<Batch>stream.private_data, out)


cdef int get_next(ArrowArrayStream* stream, ArrowArray* out) noexcept nogil:
    with gil:
        memset(out, 0, sizeof(ArrowArray))   # a released array says that there is nothing more
        if (<Batch>stream.private_data).is_taken:
            return 0
        code = fill_array(<Batch>stream.private_data, out)
        if code == 0:
            (<Batch>stream.private_data).is_taken = True
        return code


cdef const char* get_last_error(ArrowArrayStream* stream) noexcept nogil:
    return NULL     # the code says it all: there is no memory


cdef void release_stream(ArrowArrayStream* stream) noexcept nogil:
    let_go(stream.private_data)
    stream.private_data = NULL
    stream.release = NULL


cdef void let_go(void* kept) noexcept nogil:
    # After the interpreter has ended nothing of it may be touched, and nothing is left to be freed.
    if kept is not NULL and Py_IsInitialized():
        with gil:
            Py_DECREF(<object>kept)


# ---------------------------------------------------------------- schemas: copies, so that they outlive everything


cdef int fill_schema(Batch batch, ArrowSchema* out) noexcept:
    cdef int64_t i, n = len(batch.names)
    cdef ArrowSchema* child
    memset(out, 0, sizeof(ArrowSchema))
    out.release = release_schema
    out.format = copy_text(b"+s")
    out.name = copy_text(b"")
    out.children = <ArrowSchema**>calloc(n, sizeof(ArrowSchema*))
    if out.format is NULL or out.name is NULL or out.children is NULL:
        release_schema(out)
        return ENOMEM
    for i in range(n):
        child = <ArrowSchema*>calloc(1, sizeof(ArrowSchema))
        if child is NULL:
            release_schema(out)
            return ENOMEM
        out.children[i] = child
        out.n_children = i + 1
        child.release = release_schema
        child.format = copy_text(batch.formats[i])
        child.name = copy_text(batch.names[i])
        child.flags = NULLABLE     # each, as is usual: tables of different plans have one schema
        if child.format is NULL or child.name is NULL:
            release_schema(out)
            return ENOMEM
    return 0


cdef const char* copy_text(bytes text) noexcept:
    cdef const char* source = text
    cdef size_t size = strlen(source) + 1
    cdef char* copy = <char*>calloc(size, 1)
    if copy is not NULL:
        memcpy(copy, source, size)
    return copy


cdef void release_schema(ArrowSchema* schema) noexcept nogil:
    # In: a schema whose children may have been moved out, which leaves their release NULL.
    cdef int64_t i
    for i in range(schema.n_children):
        if schema.children[i].release is not NULL:
            schema.children[i].release(schema.children[i])
        free(schema.children[i])
    free(schema.children)
    free(<void*>schema.format)
    free(<void*>schema.name)
    schema.release = NULL


# ---------------------------------------------------------------- arrays: views of the columns


cdef int fill_array(Batch batch, ArrowArray* out) noexcept:
    cdef int64_t i, n = len(batch.names)
    cdef ArrowArray* child
    out.release = release_array
    out.length = batch.n_rows
    out.n_buffers = 1   # of a struct: which rows are null; none is
    out.buffers = <const void**>calloc(1, sizeof(void*))
    out.children = <ArrowArray**>calloc(n, sizeof(ArrowArray*))
    if out.buffers is NULL or out.children is NULL:
        release_array(out)
        return ENOMEM
    for i in range(n):
        child = <ArrowArray*>calloc(1, sizeof(ArrowArray))
        if child is NULL:
            release_array(out)
            return ENOMEM
        out.children[i] = child
        out.n_children = i + 1
        if fill_column(batch, i, child):
            release_array(out)
            return ENOMEM
    return 0


cdef int fill_column(Batch batch, int64_t i, ArrowArray* out) noexcept:
    cdef list addresses = batch.addresses[i]
    cdef int64_t k
    out.release = release_array
    out.length = batch.n_rows
    out.null_count = batch.null_counts[i]
    out.n_buffers = len(addresses)
    out.buffers = <const void**>calloc(out.n_buffers, sizeof(void*))
    if out.buffers is NULL:
        return ENOMEM
    for k in range(out.n_buffers):
        out.buffers[k] = <const void*><size_t>addresses[k]
    out.private_data = <void*>batch
    Py_INCREF(batch)
    return 0


cdef void release_array(ArrowArray* array) noexcept nogil:
    # In: an array whose children may have been moved out, which leaves their release NULL.
    cdef int64_t i
    for i in range(array.n_children):
        if array.children[i].release is not NULL:
            array.children[i].release(array.children[i])
        free(array.children[i])
    free(array.children)
    free(array.buffers)
    let_go(array.private_data)
    array.private_data = NULL
    array.release = NULL
