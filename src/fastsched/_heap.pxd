# Heaps over caller-owned arrays: header-only, no object, no allocation, no id.
#
# Three of them. `event_*` is a 4-ary heap of (time, task), smallest first, ties to the
# smaller task. `tree_*` is a min-tree of fan-out 16 over a row of leaves: a leaf holds
# the amount that a ready task needs, or ABSENT. It answers "the first leaf from `start`
# on that needs at most `limit`" in a handful of steps, and its root says that none does.
#
# `bits_*` is for leaves that need all the same: it says which are there, a bit each, and a
# bit for every word of the level below that is not 0.
#
# A tree is a run of levels in one array: level 0 are the leaves, the last level is the
# root alone. `level[base + l]` is where level l begins, `level[base + l + 1]` where it
# ends; every level of a min-tree is padded with ABSENT to a multiple of FAN.

from libc.stdint cimport int32_t, int64_t, uint64_t

from ._block cimport first_at_most, lowest_bit, smallest

cdef enum:
    FAN = 16                # children of a tree node
    FAN_BITS = 4
    LEVELS = 10             # level starts kept for a tree: 16**8 leaves > 2**31
    ABSENT = 2147483647     # a leaf without a ready task: more than any amount


cdef extern from *:
    """
    #include <stdint.h>
    /* Whether (time, task) a comes before b; without a branch, since nobody can foresee which way it goes. */
    #if defined(__SIZEOF_INT128__)
    static inline int event_before(int64_t time_a, int32_t task_a, int64_t time_b, int32_t task_b) {
        return ((unsigned __int128)(uint64_t)time_a << 64 | (uint32_t)task_a)
             < ((unsigned __int128)(uint64_t)time_b << 64 | (uint32_t)task_b);
    }
    #else
    static inline int event_before(int64_t time_a, int32_t task_a, int64_t time_b, int32_t task_b) {
        return (time_a < time_b) | ((time_a == time_b) & (task_a < task_b));
    }
    #endif
    """
    int event_before(int64_t time_a, int32_t task_a, int64_t time_b, int32_t task_b) noexcept nogil


cdef inline void event_push(
    int64_t[::1] times, int32_t[::1] tasks, Py_ssize_t size, int64_t time, int32_t task
) noexcept nogil:
    # In: a heap of `size` entries with room for one more. Out: a heap of size + 1.
    cdef Py_ssize_t i = size, parent
    while i > 0:
        parent = (i - 1) >> 2
        if not event_before(time, task, times[parent], tasks[parent]):
            break
        times[i] = times[parent]
        tasks[i] = tasks[parent]
        i = parent
    times[i] = time
    tasks[i] = task


cdef inline void event_pop(int64_t[::1] times, int32_t[::1] tasks, Py_ssize_t size) noexcept nogil:
    # In: a heap of `size` >= 1 entries; the caller has read entry 0. Out: a heap of size - 1.
    # The hole sinks to the bottom, always to the least child, and the last entry rises from there: it belongs there
    # mostly, and so nothing has to be asked on the way down that cannot be foreseen (Wegener 1993).
    cdef Py_ssize_t last = size - 1, i = 0, child = 1, least, other
    cdef int64_t time = times[last]
    cdef int32_t task = tasks[last]
    while child + 3 < last:
        least = child + event_before(times[child + 1], tasks[child + 1], times[child], tasks[child])
        other = child + 2 + event_before(times[child + 3], tasks[child + 3], times[child + 2], tasks[child + 2])
        if event_before(times[other], tasks[other], times[least], tasks[least]):
            least = other
        times[i] = times[least]
        tasks[i] = tasks[least]
        i = least
        child = 4 * i + 1
    if child < last:
        least = child
        for other in range(child + 1, last):
            if event_before(times[other], tasks[other], times[least], tasks[least]):
                least = other
        times[i] = times[least]
        tasks[i] = tasks[least]
        i = least
    event_push(times, tasks, i, time, task)


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


cdef inline void bits_set(uint64_t* bits, const int64_t* level, int depth, Py_ssize_t leaf) noexcept nogil:
    # Out: the leaf is there.
    cdef int l
    cdef uint64_t was
    for l in range(depth):
        was = bits[level[l] + (leaf >> 6)]
        bits[level[l] + (leaf >> 6)] = was | <uint64_t>1 << (leaf & 63)
        if was:
            break
        leaf >>= 6


cdef inline void bits_clear(uint64_t* bits, const int64_t* level, int depth, Py_ssize_t leaf) noexcept nogil:
    # Out: the leaf is not there.
    cdef int l
    cdef uint64_t rest
    for l in range(depth):
        rest = bits[level[l] + (leaf >> 6)] & ~(<uint64_t>1 << (leaf & 63))
        bits[level[l] + (leaf >> 6)] = rest
        if rest:
            break
        leaf >>= 6


cdef inline Py_ssize_t bits_first(
    const uint64_t* bits, const int64_t* level, int depth, Py_ssize_t start
) noexcept nogil:
    # Out: the first leaf >= start that is there, or -1.
    cdef Py_ssize_t i = start
    cdef int l = 0
    cdef uint64_t word
    if start == 0:                      # nothing is passed over: ask the root
        l = depth - 1
        word = bits[level[l]]
        if word == 0:
            return -1
        i = lowest_bit(word)
    else:
        while True:                     # right in the word, then up
            if l == depth or i >> 6 >= level[l + 1] - level[l]:
                return -1
            word = bits[level[l] + (i >> 6)] >> (i & 63)
            if word:
                break
            i = (i >> 6) + 1
            l += 1
        i += lowest_bit(word)
    while l > 0:                        # down to the first leaf below
        l -= 1
        i = (i << 6) + lowest_bit(bits[level[l] + i])
    return i
