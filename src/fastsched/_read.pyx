# cython: language_level=3
"""Fields of task objects into arrays, at the speed of C: the one native room that sees Python objects.

It reads what is plainly right and gives up at anything else: it answers None, says nothing about
what was odd, and `graph.py` looks at the tasks one by one. It decides nothing and keeps nothing.

Most of the time of a call of `schedule()` goes into reading its tasks, so each field is read once,
by a loop that calls no Python code; what is checked here and what `model.py` finds must agree.
"""

cimport cython
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.list cimport PyList_CheckExact
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.object cimport PyObject, PyObject_Hash
from cpython.tuple cimport PyTuple_CheckExact
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_FindChar, PyUnicode_GET_LENGTH
from libc.math cimport fabs, rint
from libc.stdint cimport int32_t, int64_t

from types import MemberDescriptorType

import numpy as np

from .model import Task

cdef extern from "Python.h":
    ctypedef struct PyMemberDescrObject:
        PyMemberDef* d_member

    unsigned int PyUnicode_MAX_CHAR_VALUE(object)

cdef extern from "structmember.h":
    ctypedef struct PyMemberDef:
        int type
        Py_ssize_t offset
    int T_OBJECT_EX

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


cdef inline bint is_text(str value) except -1:
    # Out: whether there is something in the string, and it can be written as UTF-8: no half of a character is in it.
    if PyUnicode_GET_LENGTH(value) == 0:
        return False
    if PyUnicode_MAX_CHAR_VALUE(value) <= 0xff:
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


cdef inline int64_t as_millicores(object value) noexcept:
    # Cores to three decimals as whole milli-cores; NOT_WHOLE where they are not such.
    cdef double cores = as_number(value)
    cdef double milli = rint(cores * 1000)
    if not (0 <= cores and milli < AMOUNT_LIMIT):
        return NOT_WHOLE
    if not (fabs(milli / 1000 - cores) <= 1e-9 * (cores if cores > 1 else 1)):
        return NOT_WHOLE
    return <int64_t>milli


# Where the fields stand in a Task, in bytes from its beginning. A call for each of them would cost as much as all
# that is done with them.
cdef enum:
    TASK_ID, COMMAND, DEPENDENCIES, CORES, MEMORY, PRIORITY, DURATION, MAX_RETRIES, RESOURCES, STATUS, GROUP,
    FIRST_MANNER, N_FIELDS = FIRST_MANNER + 6

FIELDS = (
    "task_id", "command", "dependencies", "cpu_cores_required", "memory_required_mb",
    "priority", "duration", "max_retries", "resources", "status", "group",
    "cwd", "env", "stdin", "timeout", "grace", "enforce_memory",
)
cdef Py_ssize_t[N_FIELDS] offsets


cdef void find_fields() except *:
    # Out: offsets. They are those of the slots of the class, as it tells.
    cdef int f
    cdef PyMemberDef* member
    for f in range(N_FIELDS):
        slot = getattr(Task, FIELDS[f], None)
        if not isinstance(slot, MemberDescriptorType):
            raise ImportError(f"{FIELDS[f]!r} is no slot of Task; this is a bug, please report it")
        member = (<PyMemberDescrObject*><PyObject*>slot).d_member
        if member.type != T_OBJECT_EX:
            raise ImportError(f"{FIELDS[f]!r} holds no object; this is a bug, please report it")
        offsets[f] = member.offset


find_fields()


cdef inline object field(object task, int f):
    # Out: the value of a field; None, which is odd in most of them, where it was deleted.
    cdef PyObject* value = (<PyObject**>(<char*><PyObject*>task + offsets[f]))[0]
    return None if value is NULL else <object>value


@cython.final
cdef class Index:
    """Where each of n different strings stands in a list: a dictionary without an object a number."""
    cdef list names             # the strings
    cdef Py_hash_t[::1] hashes  # n, theirs
    cdef int32_t[::1] table     # a place in `names` or -1, by hash, in the first slot that was empty from there on
    cdef Py_hash_t mask         # slots less one; at least half of them are empty

    def __init__(self, list names):
        cdef Py_ssize_t size = 8
        while size < 2 * len(names):
            size *= 2
        self.names, self.mask = names, size - 1
        self.hashes = np.empty(len(names), dtype=np.intp)
        self.table = np.full(size, -1, dtype=np.int32)

    cdef inline bint add(self, Py_ssize_t i) except -1:
        # Out: whether the i-th string is another one than all before it.
        cdef str name = <str>self.names[i]
        cdef Py_hash_t at = PyObject_Hash(name)
        self.hashes[i] = at
        if self._seek(name, &at) >= 0:
            return False
        self.table[at] = <int32_t>i
        return True

    cdef inline int32_t find(self, str name) except -2:
        # Out: where the string stands, or -1.
        cdef Py_hash_t at = PyObject_Hash(name)
        return self._seek(name, &at)

    cdef inline int32_t _seek(self, str name, Py_hash_t* at) except -2:
        # In: at, the hash. Out: where the string stands, or -1; at, its slot, or the one where it would go.
        cdef Py_hash_t hash = at[0]
        cdef int32_t i
        cdef str other
        at[0] &= self.mask
        while True:
            i = self.table[at[0]]
            if i < 0:
                return -1
            if self.hashes[i] == hash:
                other = <str>self.names[i]
                if other is name or other == name:
                    return i
            at[0] = (at[0] + 1) & self.mask


def are_all(list items, object kind):
    """Whether the type of every item is the kind. See the .pyi."""
    cdef object item
    for item in items:
        if type(item) is not kind:
            return False
    return True


def read_tasks(list tasks, object pending, dict known):
    """The plain fields of the tasks as columns, or None where anything is odd. See the .pyi."""
    cdef Py_ssize_t n = len(tasks), i, count = 0
    cdef int64_t whole
    cdef double seconds
    cdef bint any_duration = False, any_resources = False
    cdef object value
    cdef object task
    cdef object kind = Task
    cdef list ids = [None] * n, rows = [None] * n, vectors = [], mannered = []
    cdef int f
    cdef Index index = Index(ids)
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
        task = tasks[i]
        if type(task) is not kind:
            return None
        value = field(task, TASK_ID)
        if not PyUnicode_CheckExact(value) or not is_text(<str>value):
            return None
        ids[i] = value
        if not index.add(i):
            return None
        value = field(task, COMMAND)
        if PyUnicode_CheckExact(value):
            if not is_text(<str>value):
                return None
            if PyUnicode_FindChar(value, 0, 0, PyUnicode_GET_LENGTH(value), 1) >= 0:
                return None
        else:
            vectors.append(value)
        value = field(task, DEPENDENCIES)
        if PyTuple_CheckExact(value):
            count += len(<tuple>value)
        elif PyList_CheckExact(value):
            count += len(<list>value)
        else:
            return None
        rows[i] = value
        dep_ptr[i + 1] = count
        whole = as_millicores(field(task, CORES))
        if whole == NOT_WHOLE:
            return None
        demand[i, 0] = <int32_t>whole
        whole = as_whole(field(task, MEMORY))
        if not 0 <= whole < AMOUNT_LIMIT:
            return None
        demand[i, 1] = <int32_t>whole
        whole = as_whole(field(task, PRIORITY))
        if not -PRIORITY_LIMIT < whole < PRIORITY_LIMIT:
            return None
        priority[i] = whole
        value = field(task, DURATION)
        if value is None:
            duration[i] = UNKNOWN_DURATION_NS
        else:
            any_duration = True
            seconds = as_number(value)
            if not 0 <= seconds <= SECONDS_LIMIT:
                return None
            duration[i] = <int64_t>rint(seconds * NS)
        value = field(task, MAX_RETRIES)
        if value is None:
            retries[i] = NO_RETRIES_GIVEN
        else:
            whole = as_whole(value)
            if not 0 <= whole < AMOUNT_LIMIT:
                return None
            retries[i] = <int32_t>whole
        if field(task, RESOURCES) is not None:
            any_resources = True
        value = field(task, GROUP)
        if value is not None and (not PyUnicode_CheckExact(value) or not is_text(<str>value)):
            return None
        for f in range(FIRST_MANNER, N_FIELDS):
            if field(task, f) is not None:
                mannered.append(task)
                break
        if field(task, STATUS) is not pending:
            return None
    if known and not known.keys().isdisjoint(ids):
        return None
    deps = read_dependencies(rows, index, known, count)
    if deps is None:
        return None
    return (
        ids, dep_ptr_array, deps, demand_array, duration_array, any_duration, priority_array, retries_array,
        any_resources, vectors, mannered,
    )


cdef object read_dependencies(list rows, Index index, dict known, Py_ssize_t count):
    # In: a tuple or a list of names for each task. Out: their indices, behind those of the known ones; or None where
    # one is neither in the index nor known.
    cdef Py_ssize_t at = 0
    cdef int32_t before = <int32_t>len(known), found
    cdef object row, name
    deps_array = np.empty(count, dtype=np.int32)
    cdef int32_t[::1] deps = deps_array
    for row in rows:
        for name in (<tuple>row if PyTuple_CheckExact(row) else tuple(<list>row)):
            if not PyUnicode_CheckExact(name):
                return None
            found = index.find(<str>name)
            if found >= 0:
                found += before
            elif before:
                found = known.get(name, -1)
            if found < 0 or at >= count:
                return None
            deps[at] = found
            at += 1
    return deps_array if at == count else None
