# The workers sorted into a grid, for when they are thousands. Header-only, caller-owned arrays, no id.
#
# A row of cells for every level of what is free of one resource (the row resource), a column
# for every level of another (the column resource, the pivot); levels are SUB to an octave. So
# in every cell beyond a demand's own row and column all workers have room for it, and only in
# its own row and column it has to be looked for. The workers of a cell are a pairing heap
# (Fredman, Sedgewick, Sleator and Tarjan 1986) with the one of the largest merit on top, ties to
# the lowest index: where the top has room for a demand, nobody below it is asked. So a query
# touches few workers, whatever their number.
#
# A heap is three links a worker: `child` to its first child, `sibling` to the next child of
# its parent, `before` to the sibling before it, or for a first child to the parent.

from libc.stdint cimport int32_t, int64_t

cdef enum:
    SUB_BITS = 1            # two levels an octave
    SUB = 2
    SIDE = 64               # rows, and columns: 1 + SUB * 31 levels at most
    CELLS = 4096            # SIDE * SIDE


cdef inline int grid_level(int32_t amount) noexcept nogil:
    # In: an amount >= 0. Out: its level, 0 for nothing; levels rise with amounts.
    cdef int octave = 0, step = 16
    cdef int32_t rest = amount
    if amount <= 0:
        return 0
    while step:
        if rest >> step:
            rest >>= step
            octave += step
        step >>= 1
    if octave < SUB_BITS:
        return 1 + octave * SUB
    return 1 + octave * SUB + ((amount >> (octave - SUB_BITS)) & (SUB - 1))


cdef inline bint ahead(const int64_t[::1] merit, int32_t a, int32_t b) noexcept nogil:
    # Out: whether worker a is preferred to worker b.
    return merit[a] > merit[b] or (merit[a] == merit[b] and a < b)


cdef inline int32_t _meld(
    const int64_t[::1] merit, int32_t[::1] child, int32_t[::1] sibling, int32_t[::1] before, int32_t a, int32_t b
) noexcept nogil:
    # In: two tops without siblings, or -1. Out: the top of both together.
    cdef int32_t top = a, other = b
    if a < 0 or b < 0:
        return max(a, b)
    if ahead(merit, b, a):
        top, other = b, a
    sibling[other] = child[top]
    if child[top] >= 0:
        before[child[top]] = other
    before[other] = top
    child[top] = other
    return top


cdef inline void grid_leave(
    const int64_t[::1] merit, int32_t[::1] child, int32_t[::1] sibling, int32_t[::1] before,
    int32_t[::1] head, int cell, int32_t worker
) noexcept nogil:
    # Out: the worker is not in the heap of the cell any more. Its merit must still be the one it entered with.
    cdef int32_t onward = child[worker], pairs = -1, merged = -1, a, b
    while onward >= 0:                  # meld its children two by two, left to right,
        a = onward
        b = sibling[a]
        onward = sibling[b] if b >= 0 else -1
        sibling[a] = -1
        if b >= 0:
            sibling[b] = -1
        a = _meld(merit, child, sibling, before, a, b)
        sibling[a] = pairs
        pairs = a
    while pairs >= 0:                   # and the pairs right to left
        onward = sibling[pairs]
        sibling[pairs] = -1
        merged = _meld(merit, child, sibling, before, merged, pairs)
        pairs = onward
    if head[cell] != worker:
        if child[before[worker]] == worker:
            child[before[worker]] = sibling[worker]
        else:
            sibling[before[worker]] = sibling[worker]
        if sibling[worker] >= 0:
            before[sibling[worker]] = before[worker]
        merged = _meld(merit, child, sibling, before, head[cell], merged)
    head[cell] = merged


cdef inline void grid_enter(
    const int64_t[::1] merit, int32_t[::1] child, int32_t[::1] sibling, int32_t[::1] before,
    int32_t[::1] head, int cell, int32_t worker
) noexcept nogil:
    # Out: the worker is in the heap of the cell.
    child[worker] = sibling[worker] = before[worker] = -1
    head[cell] = _meld(merit, child, sibling, before, head[cell], worker)


cdef inline bint holds(
    const int32_t[::1] free, Py_ssize_t stride, int n_resources, const int32_t[::1] demand, Py_ssize_t row,
    int32_t worker
) noexcept nogil:
    # Out: whether the worker has room for all of the demand.
    cdef int r
    for r in range(n_resources):
        if free[r * stride + worker] < demand[row + r]:
            return False
    return True


cdef inline int32_t grid_fit(
    const int32_t[::1] head, const int32_t[::1] child, const int32_t[::1] sibling, int32_t[::1] stack,
    int top_row, int top_column, int row_resource, int column_resource, bint upwards,
    const int32_t[::1] free, Py_ssize_t stride, int n_resources, const int32_t[::1] demand, Py_ssize_t row,
    const int64_t[::1] merit, const int64_t[::1] barred, int64_t mark
) noexcept nogil:
    # In: as `fit_worker`; no worker stands above top_row or beyond top_column; `upwards` where merit is rather
    # found low; a stack with room for all workers.
    # Out: the worker of the largest merit among those with room for all of it, ties to the lowest index; or -1.
    cdef int32_t best = -1, worker
    cdef int low_row = grid_level(demand[row + row_resource]), i, cell
    cdef int low_column = grid_level(demand[row + column_resource])
    cdef Py_ssize_t height
    for i in range(top_row - low_row + 1):
        cell = (low_row + i if upwards else top_row - i) * SIDE
        for cell in range(cell + low_column, cell + top_column + 1):
            if head[cell] < 0:
                continue
            stack[0] = head[cell]
            height = 1
            while height:
                height -= 1
                worker = stack[height]
                if best >= 0 and not ahead(merit, worker, best):
                    continue
                if barred[worker] != mark and holds(free, stride, n_resources, demand, row, worker):
                    best = worker
                    continue
                worker = child[worker]
                while worker >= 0:
                    stack[height] = worker
                    height += 1
                    worker = sibling[worker]
    return best


cdef inline int32_t grid_frontier(
    const int32_t[::1] head, const int32_t[::1] child, const int32_t[::1] sibling, int32_t[::1] stack,
    int top_row, int top_column, int row_resource, int column_resource,
    const int32_t[::1] free, Py_ssize_t stride, int n_resources, const int32_t[::1] demand, Py_ssize_t row
) noexcept nogil:
    # In: a demand whose entry for the column resource is 0; a stack with room for all workers.
    # Out: the largest free amount of that resource among workers with room for the rest of it, or -1.
    cdef int32_t largest = -1, worker
    cdef int i, column
    cdef Py_ssize_t height
    for i in range(grid_level(demand[row + row_resource]), top_row + 1):
        for column in range(top_column, -1, -1):
            if column < grid_level(largest):
                break
            if head[i * SIDE + column] < 0:
                continue
            stack[0] = head[i * SIDE + column]
            height = 1
            while height:
                height -= 1
                worker = stack[height]
                if free[column_resource * stride + worker] > largest and holds(
                    free, stride, n_resources, demand, row, worker
                ):
                    largest = free[column_resource * stride + worker]
                worker = child[worker]
                while worker >= 0:
                    stack[height] = worker
                    height += 1
                    worker = sibling[worker]
    return largest
