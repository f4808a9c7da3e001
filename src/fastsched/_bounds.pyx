# cython: language_level=3
"""Lower bounds of the makespan: kernels. Arrays in, numbers out; no task has a name here, and nothing is chosen.

*Head, area, tail.* Of tasks that cannot start before h, and behind each of which at least q has to be done, the work on a
resource takes at least its area over the room that there is: no schedule is shorter than h + area / room + q. The
largest of these over all pairs (h, q) is found in O(n log n): tasks are taken in by head, the latest first, into a
tree over the tails, whose nodes hold the area below them and the largest q + area behind q. The search is in floating
point; the bound of the pair that it finds is then worked out in whole numbers, so that it is never too high.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t

import numpy as np

cdef enum:
    LOW_BITS = 31       # an amount has at most so many, and a product with the low bits of a duration fits in 64

cdef double NOTHING = -1e300


def chains(const int32_t[::1] order, const int64_t[::1] succ_ptr, const int32_t[::1] succ, const int64_t[::1] duration):
    """The longest chains of durations before and behind each task. See the .pyi."""
    cdef Py_ssize_t n = order.shape[0], at, i
    cdef int64_t k, end
    head_array = np.zeros(duration.shape[0], dtype=np.int64)
    tail_array = np.zeros(duration.shape[0], dtype=np.int64)
    cdef int64_t[::1] head = head_array, tail = tail_array
    with nogil:
        for at in range(n):
            i = order[at]
            end = head[i] + duration[i]
            for k in range(succ_ptr[i], succ_ptr[i + 1]):
                head[succ[k]] = max(head[succ[k]], end)
        for at in range(n - 1, -1, -1):
            i = order[at]
            for k in range(succ_ptr[i], succ_ptr[i + 1]):
                tail[i] = max(tail[i], duration[succ[k]] + tail[succ[k]])
    return head_array, tail_array


def steepest(
    const int32_t[::1] by_head,
    const int64_t[::1] head,
    const int32_t[::1] leaf,
    const int64_t[::1] tails,
    const int64_t[::1] duration,
    const int64_t[::1] weight,
    double room,
    double[:, ::1] tree,
):
    """The thresholds (h, q) of the largest head-area-tail bound, and its area. See the .pyi."""
    cdef Py_ssize_t size = tree.shape[1] // 2, n = by_head.shape[0], at, i, node, best_leaf
    cdef double best = NOTHING, behind
    cdef int64_t h = -1
    cdef uint64_t high = 0, low = 0
    if size < tails.shape[0]:
        raise ValueError(f"a tree of {size} leaves for {tails.shape[0]} tails")
    with nogil:
        clear(tree, size)
        for at in range(n):
            i = by_head[at]
            if weight[i] > 0 and duration[i] > 0:
                take_in(tree, size, leaf[i], <double>tails[leaf[i]], <double>weight[i] * <double>duration[i] / room)
                if tree[1, 1] + <double>head[i] > best:
                    best = tree[1, 1] + <double>head[i]
                    h = head[i]
        if h < 0:
            with gil:
                return None
        # The tails are gone through once more for this head alone, and the area is added up exactly.
        clear(tree, size)
        for at in range(n):
            i = by_head[at]
            if head[i] < h:
                break
            if weight[i] > 0 and duration[i] > 0:
                tree[0, size + leaf[i]] += <double>weight[i] * <double>duration[i] / room
                tree[1, size + leaf[i]] = <double>tails[leaf[i]]
        best, behind, best_leaf = NOTHING, 0, 0
        for node in range(tails.shape[0] - 1, -1, -1):
            behind += tree[0, size + node]
            if tree[1, size + node] + behind > best:
                best, best_leaf = tree[1, size + node] + behind, node
        for at in range(n):
            i = by_head[at]
            if head[i] < h:
                break
            if leaf[i] >= best_leaf and weight[i] > 0:
                high += <uint64_t>weight[i] * <uint64_t>(duration[i] >> LOW_BITS)
                low += <uint64_t>weight[i] * <uint64_t>(duration[i] & ((<int64_t>1 << LOW_BITS) - 1))
                high += low >> LOW_BITS
                low &= (<uint64_t>1 << LOW_BITS) - 1
    return h, int(tails[best_leaf]), (int(high) << LOW_BITS) + int(low)


cdef inline void clear(double[:, ::1] tree, Py_ssize_t size) noexcept nogil:
    # In: rows of 2 * size numbers. Out: a tree without a task: no area, and nothing that could be largest.
    cdef Py_ssize_t node
    for node in range(2 * size):
        tree[0, node] = 0
        tree[1, node] = NOTHING


cdef inline void take_in(double[:, ::1] tree, Py_ssize_t size, Py_ssize_t leaf, double tail, double area) noexcept nogil:
    # In: a leaf, its tail, and an area to add to it. Out: row 0 is the area below each node, row 1 the largest tail
    # plus area of that tail and longer ones, below the node alone. A leaf that has no task is never the largest.
    cdef Py_ssize_t node = size + leaf
    tree[0, node] += area
    tree[1, node] = tail + tree[0, node]
    node >>= 1
    while node:
        tree[0, node] += area
        tree[1, node] = max(tree[1, 2 * node] + tree[0, 2 * node + 1], tree[1, 2 * node + 1])
        node >>= 1
