# Planted mistakes. A sanitizer that does not report each of them sees nothing in the rooms either, so
# `./dev sanitize` lets every one sing before it believes a silent test. Never part of the wheel.

from libc.stdint cimport int32_t
from libc.stdlib cimport free, malloc


def read_past_malloc(int n):
    """Reads one past the end of a block of the C heap."""
    cdef int32_t *block = <int32_t *>malloc(n * sizeof(int32_t))
    cdef int32_t answer = _read(block, n)
    free(block)
    return answer


def read_past_array(const int32_t[::1] array):
    """Reads one past the end of memory that numpy gave, the way the rooms read theirs."""
    return _read_view(array, array.shape[0])


def write_before_array(int32_t[::1] array, Py_ssize_t i):
    """Writes where the caller says: at -1 it is before the beginning."""
    array[i] = 1


def overflow(int32_t amount):
    """Adds one in 32 bits."""
    return _add(amount, 1)


cdef int32_t _read(const int32_t *block, Py_ssize_t i) noexcept nogil:
    return block[i]


cdef int32_t _read_view(const int32_t[::1] array, Py_ssize_t i) noexcept nogil:
    return array[i]


cdef int32_t _add(int32_t a, int32_t b) noexcept nogil:
    return a + b
