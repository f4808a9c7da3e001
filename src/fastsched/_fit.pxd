# The fit scan: which worker takes a task. Header-only, caller-owned arrays, no id.
#
# `free` holds one contiguous row a resource, `stride` long: free[r * stride + w]. The rows
# are padded to a multiple of BLOCK with -1, and a worker that has left is -1 in every row,
# so it never fits (a demand is >= 0). Workers are looked at a block at a time: a
# branch-free pass says whether anybody in the block fits, and only then are they compared.

from libc.stdint cimport int32_t, int64_t

cdef enum:
    BLOCK = 16              # workers a step of the scan

cdef enum FitRule:
    MOST_FREE = 0           # the largest score, ties to the lowest index
    BEST_FIT = 1            # the smallest score, ties to the lowest index
    FIRST_FIT = 2           # the lowest index


cdef inline int32_t fit_worker(
    const int32_t[::1] free, Py_ssize_t stride, int n_resources,
    const int32_t[::1] demand, Py_ssize_t row,
    const int64_t[::1] score, int rule,
    const int32_t[::1] barred, int32_t mark
) noexcept nogil:
    # In: the demand at demand[row : row + n_resources]; workers with barred[w] == mark are passed over.
    # Out: the worker that the rule prefers among those with room for all of it, or -1.
    cdef int32_t best = -1
    cdef int64_t best_score = 0
    cdef Py_ssize_t w0, at
    cdef int32_t fits[BLOCK]
    cdef int32_t need, anybody
    cdef int r, k
    for w0 in range(0, stride, 16):         # BLOCK: a literal, so that it is a plain C loop
        need = demand[row]
        anybody = 0
        for k in range(BLOCK):
            fits[k] = free[w0 + k] >= need
        for r in range(1, n_resources):
            need = demand[row + r]
            at = r * stride + w0
            for k in range(BLOCK):
                fits[k] &= free[at + k] >= need
        for k in range(BLOCK):
            anybody |= fits[k]
        if not anybody:
            continue
        for k in range(BLOCK):
            if fits[k] and barred[w0 + k] != mark:
                if rule == FIRST_FIT:
                    return <int32_t>(w0 + k)
                if best < 0 or (score[w0 + k] > best_score if rule == MOST_FREE else score[w0 + k] < best_score):
                    best = <int32_t>(w0 + k)
                    best_score = score[w0 + k]
    return best


cdef inline int32_t frontier(
    const int32_t[::1] free, Py_ssize_t stride, int n_resources, int pivot,
    const int32_t[::1] demand, Py_ssize_t row
) noexcept nogil:
    # In: a demand whose entry for resource `pivot` is not looked at.
    # Out: the largest free amount of `pivot` among workers with room for the rest of it, or -1.
    cdef int32_t largest = -1
    cdef Py_ssize_t w0, at
    cdef int32_t amount[BLOCK]
    cdef int32_t need
    cdef int r, k
    for w0 in range(0, stride, 16):         # BLOCK
        at = pivot * stride + w0
        for k in range(BLOCK):
            amount[k] = free[at + k]
        for r in range(n_resources):
            if r != pivot:
                need = demand[row + r]
                at = r * stride + w0
                for k in range(BLOCK):
                    amount[k] = amount[k] if free[at + k] >= need else -1
        for k in range(BLOCK):
            largest = max(largest, amount[k])
    return largest
