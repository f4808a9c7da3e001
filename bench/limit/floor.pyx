# The floor: what any scheduler of ready tasks by urgency has to do at least, and nothing else.
#
# Kahn's pass over the successors, with one push and one pop a task on a 4-ary heap of places in the
# order of urgency. No worker, no amount, no time: whatever the core costs above this is deciding.

from libc.stdint cimport int32_t, int64_t


def kahn(
    const int64_t[::1] succ_ptr,
    const int32_t[::1] succ,
    const int32_t[::1] position,
    const int32_t[::1] task_at,
    int32_t[::1] missing,
    int32_t[::1] heap,
    int32_t[::1] order,
):
    """Write the n tasks to `order` as they are popped; answers how many came out (fewer than n: a cycle).

    position (n,): a task's place in the order of urgency; task_at (n,): the task at a place. missing (n,): how
    many dependencies it has; used up. heap (n,): scratch.
    """
    cdef Py_ssize_t n = position.shape[0]
    if not (succ_ptr.shape[0] == n + 1 and task_at.shape[0] == missing.shape[0] == heap.shape[0] == order.shape[0] == n):
        raise ValueError("the arrays do not match")
    with nogil:
        n = _kahn(succ_ptr, succ, position, task_at, missing, heap, order)
    return n


cdef Py_ssize_t _kahn(
    const int64_t[::1] succ_ptr,
    const int32_t[::1] succ,
    const int32_t[::1] position,
    const int32_t[::1] task_at,
    int32_t[::1] missing,
    int32_t[::1] heap,
    int32_t[::1] order,
) noexcept nogil:
    cdef Py_ssize_t done = 0, size = 0, task
    cdef int64_t edge
    for task in range(position.shape[0]):
        if missing[task] == 0:
            _push(heap, size, position[task])
            size += 1
    while size > 0:
        task = task_at[heap[0]]
        size -= 1
        _pop(heap, size)
        order[done] = <int32_t>task
        done += 1
        for edge in range(succ_ptr[task], succ_ptr[task + 1]):
            missing[succ[edge]] -= 1
            if missing[succ[edge]] == 0:
                _push(heap, size, position[succ[edge]])
                size += 1
    return done


cdef inline void _push(int32_t[::1] heap, Py_ssize_t size, int32_t key) noexcept nogil:
    # In: a heap of `size` keys. Out: of size + 1.
    cdef Py_ssize_t i = size, parent
    while i > 0:
        parent = (i - 1) >> 2
        if heap[parent] <= key:
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = key


cdef inline void _pop(int32_t[::1] heap, Py_ssize_t size) noexcept nogil:
    # In: a heap of size + 1 keys, the first of which was read. Out: of `size`.
    cdef Py_ssize_t i = 0, child, least
    cdef int32_t key = heap[size]
    while True:
        child = 4 * i + 1
        if child >= size:
            break
        least = child
        for child in range(child + 1, min(child + 4, size)):
            if heap[child] < heap[least]:
                least = child
        if heap[least] >= key:
            break
        heap[i] = heap[least]
        i = least
    heap[i] = key
