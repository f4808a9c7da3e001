# The fit scan: which worker takes a task. Header-only, caller-owned arrays, no id.
#
# `free` holds one contiguous row a resource, `stride` long: free[r * stride + w]. The rows
# are padded to a multiple of BLOCK with -1, and a worker that has left is -1 in every row,
# so it never fits (a demand is >= 0). Workers are looked at a block at a time: a branch-free
# pass gathers the signs of what is free less what is needed; only who lacks nothing is
# compared. The difference cannot overflow: free is in [-1, 2**31), a demand in [0, 2**31).
#
# Rules are of two kinds. The first three prefer workers whatever the task: a merit is kept for each. The others
# look at how what is free matches the demand, anew for every task.

from libc.stdint cimport INT64_MIN, int32_t, int64_t

from ._block cimport bits_with_room, holds, lowest_bit

cdef enum:
    BLOCK = 16              # workers a step of the scan

cdef enum FitRule:
    MOST_FREE = 0           # the largest score, ties to the lowest index
    BEST_FIT = 1            # the smallest score, ties to the lowest index
    FIRST_FIT = 2           # the lowest index
    DOT_PRODUCT = 3         # from here on: the largest match with the task, see `match_of`
    COSINE = 4
    LEAST_LEFT = 5


cdef inline int32_t fit_worker(
    const int32_t[::1] free, Py_ssize_t stride, int n_resources,
    const int32_t* demand,
    const int64_t[::1] merit, const int64_t[::1] block_merit,
    const int64_t[::1] barred, int64_t mark
) noexcept nogil:
    # In: the demand, n_resources amounts; workers with barred[w] == mark are passed over;
    # block_merit holds the largest merit of each block.
    # Out: the worker of the largest merit among those with room for all of it, ties to the lowest index; or -1.
    cdef int32_t best = -1, w
    cdef int64_t best_merit = INT64_MIN
    cdef Py_ssize_t b, first = 0
    for b in range(1, stride >> 4):
        if block_merit[b] > block_merit[first]:
            first = b
    w = <int32_t>(first << 4)
    while merit[w] != block_merit[first]:
        w += 1
    if barred[w] != mark and holds(&free[w], stride, n_resources, demand):
        return w                            # the most preferred worker of all has room, mostly
    fit_in_block(free, stride, n_resources, demand, merit, barred, mark, first << 4, &best, &best_merit)
    for b in range(stride >> 4):            # then hardly anybody elsewhere has to be looked at
        if b != first and (block_merit[b] > best_merit or (block_merit[b] == best_merit and b << 4 < best)):
            fit_in_block(free, stride, n_resources, demand, merit, barred, mark, b << 4, &best, &best_merit)
    return best


cdef inline void fit_in_block(
    const int32_t[::1] free, Py_ssize_t stride, int n_resources,
    const int32_t* demand,
    const int64_t[::1] merit, const int64_t[::1] barred, int64_t mark, Py_ssize_t w0, int32_t* best, int64_t* best_merit
) noexcept nogil:
    # In: as `fit_worker`; the first worker of a block; the best so far. Out: the best with this block.
    cdef Py_ssize_t at
    cdef unsigned fits = bits_with_room(&free[w0], stride, n_resources, demand)
    while fits:
        at = w0 + lowest_bit(fits)
        fits &= fits - 1
        if merit[at] >= best_merit[0] and (merit[at] > best_merit[0] or at < best[0]) and barred[at] != mark:
            best[0] = <int32_t>at
            best_merit[0] = merit[at]


cdef inline double match_of(
    int rule, const int32_t* free, Py_ssize_t stride, int n_resources, const int32_t* demand, const double[::1] inverse
) noexcept nogil:
    # How well what a worker has free suits a demand; both are vectors of shares, amounts over what all live workers
    # have, which is to say over what they have on average. In: what is free on one worker, `stride` apart; 1 / total.
    # Out, the more the better: DOT_PRODUCT of the two; COSINE of their angle, as its square times the square of the
    # demand's length, the same for all workers; LEAST_LEFT, less the square of the length of what would be left
    # (Panigrahy, Talwar, Uyeda and Wieder 2011; the dot product: Grandl et al. 2014). Every operation is rounded by
    # itself, in this order, so that every platform finds the same.
    cdef double product = 0.0, length = 0.0, share
    cdef int r
    if rule == LEAST_LEFT:
        for r in range(n_resources):
            share = <double>(free[r * stride] - demand[r]) * inverse[r]
            length = length + share * share
        return -length
    for r in range(n_resources):
        share = <double>free[r * stride] * inverse[r]
        product = product + share * (<double>demand[r] * inverse[r])
        length = length + share * share
    if rule == COSINE and length > 0.0:
        return product * product / length
    return product


cdef inline int32_t fit_match(
    int rule, const int32_t[::1] free, Py_ssize_t stride, int n_resources,
    const int32_t* demand, const double[::1] inverse, const int64_t[::1] barred, int64_t mark
) noexcept nogil:
    # In: as `fit_worker` and `match_of`.
    # Out: the worker of the best match among those with room for all of it, ties to the lowest index; or -1.
    cdef int32_t best = -1
    cdef double best_match = 0.0, match
    cdef Py_ssize_t w0, at
    cdef unsigned fits
    for w0 in range(0, stride, 16):         # BLOCK
        fits = bits_with_room(&free[w0], stride, n_resources, demand)
        while fits:
            at = w0 + lowest_bit(fits)
            fits &= fits - 1
            if barred[at] == mark:
                continue
            match = match_of(rule, &free[at], stride, n_resources, demand, inverse)
            if best < 0 or match > best_match:
                best = <int32_t>at
                best_match = match
    return best


cdef inline int32_t frontier(
    const int32_t[::1] free, Py_ssize_t stride, int n_resources, int pivot,
    const int32_t* demand
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
                need = demand[r]
                at = r * stride + w0
                for k in range(BLOCK):
                    lack[k] |= free[at + k] - need
        at = pivot * stride + w0
        for k in range(BLOCK):
            largest = max(largest, free[at + k] | (lack[k] >> 31))      # -1 where it lacks something
    return largest
