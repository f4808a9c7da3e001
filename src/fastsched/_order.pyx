# cython: language_level=3
"""Whole columns put in order and into groups. Arrays in, arrays out; no name, and nothing is chosen.

*Order.* A sort by comparisons would be the largest single cost of planning a million tasks. Keys here are whole
numbers of a known range, so they are sorted digit by digit from the lowest, stably, in as many passes as the range
has bytes; digits in which all keys agree cost nothing (H. H. Seward 1954).

*Groups.* Rows that are alike are found by a small table with open addressing, which is given up as soon as there are
more groups than are of use.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t

import numpy as np

cdef enum:
    DIGIT_BITS = 8      # 256 places to write to at a time: more of them outrun the processor's translation buffers
    DIGITS = 256
    PLACES = 8          # digits of 64 bits


def order_by(const int64_t[::1] first, const int64_t[::1] second):
    """The indices by (first descending, second ascending, index), or None. See the .pyi."""
    cdef Py_ssize_t n = first.shape[0], i
    cdef int64_t low, high, least, most
    cdef int n_second_bits, n_bits
    cdef bint in_order = True
    cdef uint64_t packed
    if n != second.shape[0]:
        raise ValueError(f"{n} keys and {second.shape[0]} keys do not belong together")
    if n == 0:
        return np.empty(0, dtype=np.int32)
    least = most = first[0]
    low = high = second[0]
    with nogil:
        for i in range(n):
            least = min(least, first[i])
            most = max(most, first[i])
            low = min(low, second[i])
            high = max(high, second[i])
    n_second_bits = bits_of(<uint64_t>high - <uint64_t>low)
    n_bits = bits_of(<uint64_t>most - <uint64_t>least) + n_second_bits
    if n_bits > 64:
        return None
    key_array = np.empty(n, dtype=np.uint64)
    cdef uint64_t[::1] key = key_array
    with nogil:
        for i in range(n):
            packed = <uint64_t>second[i] - <uint64_t>low
            if n_second_bits < 64:
                packed |= (<uint64_t>most - <uint64_t>first[i]) << n_second_bits
            key[i] = packed
            in_order = in_order and (i == 0 or key[i - 1] <= packed)
    if in_order:
        return np.arange(n, dtype=np.int32)
    return sort_digits(key, (n_bits + DIGIT_BITS - 1) // DIGIT_BITS)


cdef object sort_digits(uint64_t[::1] key, int n_digits):
    # In: keys, which are overwritten, and how many of their digits matter. Out: their indices in ascending order.
    cdef Py_ssize_t n = key.shape[0], i
    cdef int32_t[::1] index = np.arange(n, dtype=np.int32)
    cdef int32_t[::1] other_index = np.empty(n, dtype=np.int32)
    cdef uint64_t[::1] other_key = np.empty(n, dtype=np.uint64)
    cdef int32_t[::1] place = np.zeros(PLACES * DIGITS, dtype=np.int32)     # first counts, then where to write next
    cdef int32_t at, count
    cdef int d, digit
    with nogil:
        for i in range(n):
            for d in range(n_digits):
                place[d * DIGITS + <int>(key[i] >> (d * DIGIT_BITS) & (DIGITS - 1))] += 1
        for d in range(n_digits):
            if place[d * DIGITS + <int>(key[0] >> (d * DIGIT_BITS) & (DIGITS - 1))] == n:
                continue
            at = 0
            for digit in range(DIGITS):
                count = place[d * DIGITS + digit]
                place[d * DIGITS + digit] = at
                at += count
            for i in range(n):
                digit = <int>(key[i] >> (d * DIGIT_BITS) & (DIGITS - 1))
                at = place[d * DIGITS + digit]
                place[d * DIGITS + digit] = at + 1
                other_key[at] = key[i]
                other_index[at] = index[i]
            key, other_key = other_key, key
            index, other_index = other_index, index
    return np.asarray(index)


def number_rows(const int32_t[:, ::1] rows, int skipped, int most):
    """Number the rows by what they have in all columns but one, or None. See the .pyi."""
    cdef Py_ssize_t n = rows.shape[0], i, row
    cdef int n_columns = <int>rows.shape[1], r, bits = 2, slot, count = 0
    cdef uint64_t mixed
    cdef bint alike
    while (1 << bits) < 4 * most:
        bits += 1
    number_array = np.empty(n, dtype=np.int32)
    first_array = np.empty(most, dtype=np.int64)
    cdef int32_t[::1] number = number_array
    cdef int32_t[::1] table = np.full(1 << bits, -1, dtype=np.int32)    # the number that lives in a slot, or -1
    cdef int64_t[::1] first = first_array
    with nogil:
        for i in range(n):
            mixed = 0
            for r in range(n_columns):
                if r != skipped:
                    mixed = (mixed ^ <uint64_t>rows[i, r]) * <uint64_t>11400714819323198485ULL
            slot = <int>(mixed >> (64 - bits))
            while table[slot] >= 0:
                row = first[table[slot]]
                alike = True
                for r in range(n_columns):
                    alike = alike and (r == skipped or rows[row, r] == rows[i, r])
                if alike:
                    break
                slot = (slot + 1) & ((1 << bits) - 1)
            if table[slot] < 0:
                if count == most:
                    count += 1
                    break
                table[slot] = count
                first[count] = i
                count += 1
            number[i] = table[slot]
    if count > most:
        return None
    kept = [r for r in range(n_columns) if r != skipped]
    seen = first_array[:count]
    by = np.lexsort(np.asarray(rows)[seen][:, kept[::-1]].T) if kept else np.arange(count)
    rank = np.empty(count, dtype=np.int32)
    rank[by] = np.arange(count, dtype=np.int32)
    return rank[number_array], seen[by]


cdef inline int bits_of(uint64_t span) noexcept nogil:
    cdef int bits = 0
    while span:
        bits += 1
        span >>= 1
    return bits
