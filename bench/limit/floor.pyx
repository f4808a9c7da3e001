# The floor: what any scheduler of ready tasks by urgency has to do at least, and nothing else.
#
# Kahn's pass over the successors, with one push and one pop a task on a 4-ary heap of ready tasks, the most urgent
# first: by priority and key, which are looked up in the arrays that the core is given too (`kahn`), or, lower still, by
# places in the order of urgency, which was sorted beforehand (`kahn_sorted`). No worker, no amount, no time: whatever
# the core costs above this is deciding.

from libc.stdint cimport int32_t, int64_t


def kahn(
    const int64_t[::1] succ_ptr,
    const int32_t[::1] succ,
    const int64_t[::1] priority,
    const int64_t[::1] key,
    int32_t[::1] missing,
    int32_t[::1] heap,
    int32_t[::1] order,
):
    """Write the n tasks to `order` as they are popped; answers how many came out (fewer than n: a cycle).

    The higher priority (n,) first, then the smaller key (n,), then the smaller index. missing (n,): how many dependencies
    a task has; used up. heap (n,): scratch.
    """
    cdef Py_ssize_t n = priority.shape[0]
    if not (succ_ptr.shape[0] == n + 1 and key.shape[0] == missing.shape[0] == heap.shape[0] == order.shape[0] == n):
        raise ValueError("the arrays do not match")
    with nogil:
        n = _kahn(succ_ptr, succ, None, None, priority, key, missing, heap, order, False)
    return n


def kahn_sorted(
    const int64_t[::1] succ_ptr,
    const int32_t[::1] succ,
    const int32_t[::1] position,
    const int32_t[::1] task_at,
    int32_t[::1] missing,
    int32_t[::1] heap,
    int32_t[::1] order,
):
    """As `kahn`, where position (n,) is a task's place in the order of urgency, and task_at (n,) the task at a place."""
    cdef Py_ssize_t n = position.shape[0]
    if not (succ_ptr.shape[0] == n + 1 and task_at.shape[0] == missing.shape[0] == heap.shape[0] == order.shape[0] == n):
        raise ValueError("the arrays do not match")
    with nogil:
        n = _kahn(succ_ptr, succ, position, task_at, None, None, missing, heap, order, True)
    return n


cdef inline Py_ssize_t _kahn(
    const int64_t[::1] succ_ptr,
    const int32_t[::1] succ,
    const int32_t[::1] position,
    const int32_t[::1] task_at,
    const int64_t[::1] priority,
    const int64_t[::1] key,
    int32_t[::1] missing,
    int32_t[::1] heap,
    int32_t[::1] order,
    bint is_sorted,
) noexcept nogil:
    # In: is_sorted, a constant: the heap is one of places; else it is one of tasks.
    cdef Py_ssize_t done = 0, size = 0, task
    cdef int64_t edge
    for task in range(missing.shape[0]):
        if missing[task] == 0:
            _push(heap, size, position[task] if is_sorted else <int32_t>task, priority, key, is_sorted)
            size += 1
    while size > 0:
        task = task_at[heap[0]] if is_sorted else heap[0]
        size -= 1
        _pop(heap, size, priority, key, is_sorted)
        order[done] = <int32_t>task
        done += 1
        for edge in range(succ_ptr[task], succ_ptr[task + 1]):
            missing[succ[edge]] -= 1
            if missing[succ[edge]] == 0:
                _push(heap, size, position[succ[edge]] if is_sorted else succ[edge], priority, key, is_sorted)
                size += 1
    return done


cdef inline bint _before(
    int32_t a, int32_t b, const int64_t[::1] priority, const int64_t[::1] key, bint is_sorted
) noexcept nogil:
    # Out: whether the place, or the task, a goes before b.
    if is_sorted:
        return a < b
    if priority[a] != priority[b]:
        return priority[a] > priority[b]
    if key[a] != key[b]:
        return key[a] < key[b]
    return a < b


cdef inline void _push(
    int32_t[::1] heap, Py_ssize_t size, int32_t item, const int64_t[::1] priority, const int64_t[::1] key, bint is_sorted
) noexcept nogil:
    # In: a heap of `size` items. Out: of size + 1.
    cdef Py_ssize_t i = size, parent
    while i > 0:
        parent = (i - 1) >> 2
        if _before(heap[parent], item, priority, key, is_sorted):
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = item


cdef inline void _pop(
    int32_t[::1] heap, Py_ssize_t size, const int64_t[::1] priority, const int64_t[::1] key, bint is_sorted
) noexcept nogil:
    # In: a heap of size + 1 items, the first of which was read. Out: of `size`.
    cdef Py_ssize_t i = 0, child, least
    cdef int32_t item = heap[size]
    while True:
        child = 4 * i + 1
        if child >= size:
            break
        least = child
        for child in range(child + 1, min(child + 4, size)):
            if _before(heap[child], heap[least], priority, key, is_sorted):
                least = child
        if _before(item, heap[least], priority, key, is_sorted):
            break
        heap[i] = heap[least]
        i = least
    heap[i] = item
