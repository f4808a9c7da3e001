# cython: language_level=3
"""Fields of task objects into arrays, at the speed of C: the one native room that sees Python objects.

It reads what is plainly right and gives up at anything else: it answers None, says nothing about
what was odd, and `graph.py` looks at the tasks one by one. It decides nothing and keeps nothing.

Most of the time of a call of `schedule()` goes into reading its tasks, so each field is read once,
by a loop that calls no Python code; what is checked here and what `model.py` finds must agree.
"""

cimport cython
from cpython.dict cimport PyDict_GetItemWithError
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.list cimport PyList_CheckExact
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_FindChar, PyUnicode_GET_LENGTH
from libc.math cimport fabs, rint
from libc.stdint cimport int32_t, int64_t

import numpy as np
from msgspec.structs import astuple

from .model import Task

cdef enum:
    NO_RETRIES_GIVEN = -1

cdef int64_t AMOUNT_LIMIT = 2147483648
cdef int64_t PRIORITY_LIMIT = 2147483648
cdef double SECONDS_LIMIT = 1e9
cdef double NS = 1e9
cdef int64_t UNKNOWN_DURATION_NS = 1000000000
cdef int64_t NOT_WHOLE = -9223372036854775807       # no field may have it


cdef inline double as_number(object value) noexcept:
    # A plain float or int as a double; nan for anything else.
    cdef int64_t whole
    if PyFloat_CheckExact(value):
        return PyFloat_AS_DOUBLE(value)
    whole = as_whole(value)
    return <double>whole if whole != NOT_WHOLE else float("nan")


cdef inline int64_t as_whole(object value) noexcept:
    # A plain int; NOT_WHOLE for anything else, bool included.
    cdef int overflow = 0
    cdef int64_t whole
    if not PyLong_CheckExact(value):
        return NOT_WHOLE
    whole = PyLong_AsLongLongAndOverflow(value, &overflow)
    return NOT_WHOLE if overflow else whole


cdef inline int64_t as_millicores(object value) noexcept:
    # Cores to three decimals as whole milli-cores; NOT_WHOLE where they are not such.
    cdef double cores = as_number(value)
    cdef double milli = rint(cores * 1000)
    if not (0 <= cores and milli < AMOUNT_LIMIT):
        return NOT_WHOLE
    if not (fabs(milli / 1000 - cores) <= 1e-9 * (cores if cores > 1 else 1)):
        return NOT_WHOLE
    return <int64_t>milli


# Where the fields stand in `astuple(task)`. One call for a whole task costs a third of one for each field.
cdef enum:
    TASK_ID, COMMAND, DEPENDENCIES, CORES, MEMORY, PRIORITY, DURATION, MAX_RETRIES, RESOURCES, STATUS

if Task.__struct_fields__ != (
    "task_id", "command", "dependencies", "cpu_cores_required", "memory_required_mb",
    "priority", "duration", "max_retries", "resources", "status",
):
    raise ImportError("the fields of Task are not the ones that the reader knows; this is a bug, please report it")


def read_tasks(list tasks, object pending, dict known):
    """The plain fields of the tasks as columns, or None where anything is odd. See the .pyi."""
    cdef Py_ssize_t n = len(tasks), i, count = 0
    cdef int64_t whole
    cdef double seconds
    cdef bint any_duration = False, any_resources = False
    cdef object value
    cdef tuple task
    cdef object kind = Task
    cdef dict index = {}
    cdef list ids = [None] * n, rows = [None] * n, vectors = []
    dep_ptr_array = np.empty(n + 1, dtype=np.int64)
    demand_array = np.empty((n, 2), dtype=np.int32)
    duration_array = np.empty(n, dtype=np.int64)
    priority_array = np.empty(n, dtype=np.int64)
    retries_array = np.empty(n, dtype=np.int32)
    cdef int64_t[::1] dep_ptr = dep_ptr_array, duration = duration_array, priority = priority_array
    cdef int32_t[:, ::1] demand = demand_array
    cdef int32_t[::1] retries = retries_array
    dep_ptr[0] = 0
    for i in range(n):
        if type(tasks[i]) is not kind:
            return None
        task = astuple(tasks[i])
        value = task[TASK_ID]
        if not PyUnicode_CheckExact(value) or PyUnicode_GET_LENGTH(value) == 0:
            return None
        ids[i] = value
        index[value] = i
        value = task[COMMAND]
        if PyUnicode_CheckExact(value):
            if PyUnicode_GET_LENGTH(value) == 0:
                return None
            if PyUnicode_FindChar(value, 0, 0, PyUnicode_GET_LENGTH(value), 1) >= 0:
                return None
        else:
            vectors.append(value)
        value = task[DEPENDENCIES]
        if PyTuple_CheckExact(value):
            count += len(<tuple>value)
        elif PyList_CheckExact(value):
            count += len(<list>value)
        else:
            return None
        rows[i] = value
        dep_ptr[i + 1] = count
        whole = as_millicores(task[CORES])
        if whole == NOT_WHOLE:
            return None
        demand[i, 0] = <int32_t>whole
        whole = as_whole(task[MEMORY])
        if not 0 <= whole < AMOUNT_LIMIT:
            return None
        demand[i, 1] = <int32_t>whole
        whole = as_whole(task[PRIORITY])
        if not -PRIORITY_LIMIT < whole < PRIORITY_LIMIT:
            return None
        priority[i] = whole
        value = task[DURATION]
        if value is None:
            duration[i] = UNKNOWN_DURATION_NS
        else:
            any_duration = True
            seconds = as_number(value)
            if not 0 <= seconds <= SECONDS_LIMIT:
                return None
            duration[i] = <int64_t>rint(seconds * NS)
        value = task[MAX_RETRIES]
        if value is None:
            retries[i] = NO_RETRIES_GIVEN
        else:
            whole = as_whole(value)
            if not 0 <= whole < AMOUNT_LIMIT:
                return None
            retries[i] = <int32_t>whole
        if task[RESOURCES] is not None:
            any_resources = True
        if task[STATUS] is not pending:
            return None
    if len(index) != n:
        return None
    if known and not index.keys().isdisjoint(known):
        return None
    deps = read_dependencies(rows, index, known, count)
    if deps is None:
        return None
    return (
        ids, dep_ptr_array, deps, demand_array, duration_array, any_duration, priority_array, retries_array,
        any_resources, vectors,
    )


cdef object read_dependencies(list rows, dict index, dict known, Py_ssize_t count):
    # In: a tuple or a list of names for each task. Out: their indices, behind those of the known ones; or None where
    # one is neither in the index nor known.
    cdef Py_ssize_t at = 0
    cdef int32_t before = <int32_t>len(known), base
    cdef PyObject* found
    cdef object row, name
    deps_array = np.empty(count, dtype=np.int32)
    cdef int32_t[::1] deps = deps_array
    for row in rows:
        for name in (<tuple>row if PyTuple_CheckExact(row) else tuple(<list>row)):
            if not PyUnicode_CheckExact(name):
                return None
            found = PyDict_GetItemWithError(index, name)
            base = before
            if found is NULL and before:
                found = PyDict_GetItemWithError(known, name)
                base = 0
            if found is NULL or at >= count:
                return None
            deps[at] = base + <int32_t>as_whole(<object>found)
            at += 1
    return deps_array if at == count else None
