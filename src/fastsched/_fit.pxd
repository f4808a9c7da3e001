# The fit scan: which worker takes a task. Header-only, caller-owned arrays, no id.
#
# `free` holds one contiguous row a resource, `stride` long: free[r * stride + w]. The rows
# are padded to a multiple of BLOCK with -1, and a worker that has left is -1 in every row,
# so it never fits (a demand is >= 0). Workers are looked at a block at a time: a branch-free
# pass, which compilers turn into vector instructions, gathers the signs of what is free less
# what is needed; only where somebody in the block lacks nothing are they compared. The
# difference cannot overflow: free is in [-1, 2**31), a demand in [0, 2**31).

from libc.stdint cimport INT64_MIN, int32_t, int64_t

cdef enum:
    BLOCK = 16              # workers a step of the scan

cdef enum FitRule:
    MOST_FREE = 0           # the largest score, ties to the lowest index
    BEST_FIT = 1            # the smallest score, ties to the lowest index
    FIRST_FIT = 2           # the lowest index


cdef inline int32_t fit_worker(
    const int32_t[::1] free, Py_ssize_t stride, int n_resources,
    const int32_t[::1] demand, Py_ssize_t row,
    const int64_t[::1] merit, const int64_t[::1] block_merit,
    const int64_t[::1] barred, int64_t mark
) noexcept nogil:
    # In: the demand at demand[row : row + n_resources]; workers with barred[w] == mark are passed over;
    # block_merit holds the largest merit of each block.
    # Out: the worker of the largest merit among those with room for all of it, ties to the lowest index; or -1.
    cdef int32_t best = -1
    cdef int64_t best_merit = INT64_MIN
    cdef Py_ssize_t w0, at, k
    cdef int32_t lack[BLOCK]
    cdef int32_t need, all_lack
    cdef int r
    for w0 in range(0, stride, 16):         # BLOCK: a literal, so that it is a plain C loop
        if block_merit[w0 >> 4] <= best_merit:
            continue                        # nobody here is preferred to the one that was found
        need = demand[row]
        for k in range(BLOCK):
            lack[k] = free[w0 + k] - need   # below 0 where the worker lacks something
        for r in range(1, n_resources):
            need = demand[row + r]
            at = r * stride + w0
            for k in range(BLOCK):
                lack[k] |= free[at + k] - need
        all_lack = -1
        for k in range(BLOCK):
            all_lack &= lack[k]
        if all_lack < 0:
            continue
        for k in range(BLOCK):
            if lack[k] >= 0 and merit[w0 + k] > best_merit and barred[w0 + k] != mark:
                best = <int32_t>(w0 + k)
                best_merit = merit[w0 + k]
    return best


cdef inline int32_t frontier(
    const int32_t[::1] free, Py_ssize_t stride, int n_resources, int pivot,
    const int32_t[::1] demand, Py_ssize_t row
) noexcept nogil:
    # In: a demand whose entry for resource `pivot` is not looked at.
    # Out: the largest free amount of `pivot` among workers with room for the rest of it, or -1.
    cdef int32_t largest = -1
    cdef Py_ssize_t w0, at, k
    cdef int32_t lack[BLOCK]
    cdef int32_t need
    cdef int r
    for w0 in range(0, stride, 16):         # BLOCK
        for k in range(BLOCK):
            lack[k] = 0
        for r in range(n_resources):
            if r != pivot:
                need = demand[row + r]
                at = r * stride + w0
                for k in range(BLOCK):
                    lack[k] |= free[at + k] - need
        at = pivot * stride + w0
        for k in range(BLOCK):
            largest = max(largest, free[at + k] | (lack[k] >> 31))      # -1 where it lacks something
    return largest
