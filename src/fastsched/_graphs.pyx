# cython: language_level=3
"""Kernels on graphs: CSR in, orders and lengths out. Stateless; no task has a name here, and none a worker."""

from libc.stdint cimport int32_t, int64_t

import numpy as np


def successors(const int64_t[::1] dep_ptr, const int32_t[::1] deps):
    """Turn "row i lists what i depends on" into "row i lists what depends on i". See the .pyi."""
    cdef Py_ssize_t n = dep_ptr.shape[0] - 1, i
    cdef int64_t k
    succ_ptr_array = np.zeros(n + 1, dtype=np.int64)
    succ_array = np.empty(deps.shape[0], dtype=np.int32)
    cursor_array = np.empty(n, dtype=np.int64)
    cdef int64_t[::1] succ_ptr = succ_ptr_array, cursor = cursor_array
    cdef int32_t[::1] succ = succ_array
    with nogil:
        for k in range(deps.shape[0]):
            succ_ptr[deps[k] + 1] += 1
        for i in range(n):
            cursor[i] = succ_ptr[i]
            succ_ptr[i + 1] += succ_ptr[i]
        for i in range(n):
            for k in range(dep_ptr[i], dep_ptr[i + 1]):
                succ[cursor[deps[k]]] = <int32_t>i
                cursor[deps[k]] += 1
    return succ_ptr_array, succ_array


def topological_order(const int64_t[::1] dep_ptr, const int64_t[::1] succ_ptr, const int32_t[::1] succ):
    """Order tasks so that dependencies come first (Kahn 1962). See the .pyi."""
    cdef Py_ssize_t n = dep_ptr.shape[0] - 1, i, head = 0, tail = 0
    cdef int64_t k
    order_array = np.empty(n, dtype=np.int32)
    missing_array = np.diff(dep_ptr)
    cdef int32_t[::1] order = order_array
    cdef int64_t[::1] missing = missing_array
    with nogil:
        for i in range(n):
            if missing[i] == 0:
                order[tail] = <int32_t>i
                tail += 1
        while head < tail:
            i = order[head]
            head += 1
            for k in range(succ_ptr[i], succ_ptr[i + 1]):
                missing[succ[k]] -= 1
                if missing[succ[k]] == 0:
                    order[tail] = succ[k]
                    tail += 1
    return order_array[:tail]


def bottom_levels(
    const int32_t[::1] order, const int64_t[::1] succ_ptr, const int32_t[::1] succ, const int64_t[::1] duration
):
    """Own duration plus the longest chain of durations behind each task. See the .pyi."""
    cdef Py_ssize_t n = order.shape[0], i, at
    cdef int64_t k, longest
    bottom_array = np.zeros(duration.shape[0], dtype=np.int64)
    cdef int64_t[::1] bottom = bottom_array
    with nogil:
        for at in range(n - 1, -1, -1):
            i = order[at]
            longest = 0
            for k in range(succ_ptr[i], succ_ptr[i + 1]):
                longest = max(longest, bottom[succ[k]])
            bottom[i] = duration[i] + longest
    return bottom_array
