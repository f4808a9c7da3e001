# Heaps over caller-owned arrays: header-only, no object, no allocation, no id.
#
# Two of them. `event_*` is a 4-ary heap of (time, task), smallest first, ties to the
# smaller task. `tree_*` is a min-tree of fan-out 16 over a row of leaves: a leaf holds
# the amount that a ready task needs, or ABSENT. It answers "the first leaf from `start`
# on that needs at most `limit`" in a handful of steps, and its root says that none does.
#
# A tree is a run of levels in one array: level 0 are the leaves, the last level is the
# root alone. `level[base + l]` is where level l begins, `level[base + l + 1]` where it
# ends; every level is padded with ABSENT to a multiple of FAN.

from libc.stdint cimport int32_t, int64_t

from ._block cimport first_at_most, smallest

cdef enum:
    FAN = 16                # children of a tree node
    FAN_BITS = 4
    LEVELS = 10             # level starts kept for a tree: 16**8 leaves > 2**31
    ABSENT = 2147483647     # a leaf without a ready task: more than any amount


cdef inline bint _before(int64_t time_a, int32_t task_a, int64_t time_b, int32_t task_b) noexcept nogil:
    return time_a < time_b or (time_a == time_b and task_a < task_b)


cdef inline void event_push(
    int64_t[::1] times, int32_t[::1] tasks, Py_ssize_t size, int64_t time, int32_t task
) noexcept nogil:
    # In: a heap of `size` entries with room for one more. Out: a heap of size + 1.
    cdef Py_ssize_t i = size, parent
    while i > 0:
        parent = (i - 1) >> 2
        if not _before(time, task, times[parent], tasks[parent]):
            break
        times[i] = times[parent]
        tasks[i] = tasks[parent]
        i = parent
    times[i] = time
    tasks[i] = task


cdef inline void event_pop(int64_t[::1] times, int32_t[::1] tasks, Py_ssize_t size) noexcept nogil:
    # In: a heap of `size` >= 1 entries; the caller has read entry 0. Out: a heap of size - 1.
    cdef Py_ssize_t last = size - 1, i = 0, child, least, stop
    cdef int64_t time = times[last]
    cdef int32_t task = tasks[last]
    while True:
        child = 4 * i + 1
        if child >= last:
            break
        stop = min(child + 4, last)
        least = child
        child += 1
        while child < stop:
            if _before(times[child], tasks[child], times[least], tasks[least]):
                least = child
            child += 1
        if not _before(times[least], tasks[least], time, task):
            break
        times[i] = times[least]
        tasks[i] = tasks[least]
        i = least
    times[i] = time
    tasks[i] = task


cdef inline void tree_set(
    int32_t[::1] tree, const int64_t[::1] level, Py_ssize_t base, int depth, Py_ssize_t leaf, int32_t amount
) noexcept nogil:
    # In: a tree that holds the min law. Out: the same with `leaf` set, the law restored upwards.
    cdef Py_ssize_t i = leaf
    cdef int l
    cdef int32_t was = tree[level[base] + i], least = amount, parent
    tree[level[base] + i] = amount
    for l in range(1, depth):
        i >>= FAN_BITS
        parent = tree[level[base + l] + i]
        if least > parent:
            if was > parent:            # another child is the least one, before and after
                break
            least = smallest(&tree[level[base + l - 1] + (i << FAN_BITS)])
        if parent == least:
            break
        was = parent
        tree[level[base + l] + i] = least


cdef inline Py_ssize_t tree_first(
    const int32_t[::1] tree, const int64_t[::1] level, Py_ssize_t base, int depth, Py_ssize_t start, int32_t limit
) noexcept nogil:
    # Out: the first leaf >= start whose amount is <= limit, or -1. `limit` < ABSENT.
    cdef Py_ssize_t i = start, stop
    cdef int l = 0
    if start == 0:                      # nothing is passed over: ask the root
        l = depth - 1
        if tree[level[base + l]] > limit:
            return -1
    else:
        while True:                     # right along the siblings, then up
            if i >= level[base + l + 1] - level[base + l]:
                return -1
            if l == depth - 1:
                if tree[level[base + l] + i] > limit:
                    return -1
                break
            stop = i >> FAN_BITS << FAN_BITS
            i = stop + first_at_most(&tree[level[base + l] + stop], <int>(i - stop), limit)
            if i < stop + FAN:
                break
            i >>= FAN_BITS
            l += 1
    while l > 0:                        # down to the first leaf below
        l -= 1
        i <<= FAN_BITS
        i += first_at_most(&tree[level[base + l] + i], 0, limit)
    return i
