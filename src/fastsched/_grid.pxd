# The workers sorted into a grid, for when they are thousands. Header-only, caller-owned arrays, no id.
#
# A row of cells for every level of what is free of one resource (the row resource), a column
# for every level of another (the column resource, the pivot); a new level begins at each
# amount that tasks ask for. So in every cell from a demand's own row and column on, all
# workers have room for it; only where tasks ask for more different amounts than there are
# levels, it has to be looked for in its own row and column. The workers of a cell are a pairing
# heap (Fredman, Sedgewick, Sleator and Tarjan 1986) with the one of the largest merit on top,
# ties to the lowest index: where the top has room for a demand, nobody below it is asked. So a
# query touches few workers, whatever their number. `inhabited` has a word for every row, with a bit
# for each cell in which somebody stands, and one more with a bit for each row.
#
# A heap is three links a worker: `child` to its first child, `sibling` to the next child of
# its parent, `before` to the sibling before it, or for a first child to the parent.

from libc.stdint cimport int32_t, int64_t, uint64_t

from ._block cimport highest_bit, holds, lowest_bit

cdef enum:
    SIDE = 64               # rows, and columns: a bit of a word for each
    SIDE_BITS = 6
    CELLS = 4096            # SIDE * SIDE


cdef inline int grid_level(const int32_t* steps, int32_t amount) noexcept nogil:
    # In: SIDE - 1 amounts, ascending. Out: how many of them are at most `amount`.
    cdef int level = 0, half = SIDE >> 1
    while half:
        level += half * (steps[level + half - 1] <= amount)
        half >>= 1
    return level


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
    int32_t[::1] head, uint64_t[::1] inhabited, int cell, int32_t worker
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
    if merged < 0:
        inhabited[cell >> SIDE_BITS] &= ~(<uint64_t>1 << (cell & (SIDE - 1)))
        if inhabited[cell >> SIDE_BITS] == 0:
            inhabited[SIDE] &= ~(<uint64_t>1 << (cell >> SIDE_BITS))


cdef inline void grid_enter(
    const int64_t[::1] merit, int32_t[::1] child, int32_t[::1] sibling, int32_t[::1] before,
    int32_t[::1] head, uint64_t[::1] inhabited, int cell, int32_t worker
) noexcept nogil:
    # Out: the worker is in the heap of the cell.
    child[worker] = sibling[worker] = before[worker] = -1
    head[cell] = _meld(merit, child, sibling, before, head[cell], worker)
    inhabited[cell >> SIDE_BITS] |= <uint64_t>1 << (cell & (SIDE - 1))
    inhabited[SIDE] |= <uint64_t>1 << (cell >> SIDE_BITS)


cdef inline int32_t grid_fit(
    const int32_t[::1] head, const uint64_t[::1] inhabited,
    const int32_t[::1] child, const int32_t[::1] sibling, int32_t[::1] stack,
    const int32_t* row_steps, const int32_t* column_steps, int row_resource, int column_resource, bint upwards,
    const int32_t[::1] free, Py_ssize_t stride, int n_resources, const int32_t* demand,
    const int64_t[::1] merit, const int64_t[::1] barred, int64_t mark
) noexcept nogil:
    # In: as `fit_worker`; `upwards` where merit is rather found low; a stack with room for all workers.
    # Out: the worker of the largest merit among those with room for all of it, ties to the lowest index; or -1.
    cdef int32_t best = -1, worker
    cdef int row = grid_level(row_steps, demand[row_resource])
    cdef int low_column = grid_level(column_steps, demand[column_resource])
    cdef uint64_t rows = inhabited[SIDE] >> row << row, cells
    cdef Py_ssize_t height
    while rows:
        row = lowest_bit(rows) if upwards else highest_bit(rows)
        rows ^= <uint64_t>1 << row
        cells = inhabited[row] >> low_column << low_column
        while cells:
            stack[0] = head[row * SIDE + lowest_bit(cells)]
            cells &= cells - 1
            height = 1
            while height:
                height -= 1
                worker = stack[height]
                if best >= 0 and not ahead(merit, worker, best):
                    continue
                if barred[worker] != mark and holds(&free[worker], stride, n_resources, demand):
                    best = worker
                    continue
                worker = child[worker]
                while worker >= 0:
                    stack[height] = worker
                    height += 1
                    worker = sibling[worker]
    return best


cdef inline int32_t grid_frontier(
    const int32_t[::1] head, const uint64_t[::1] inhabited,
    const int32_t[::1] child, const int32_t[::1] sibling, int32_t[::1] stack,
    const int32_t* row_steps, const int32_t* column_steps, int row_resource, int column_resource,
    const int32_t[::1] free, Py_ssize_t stride, int n_resources, const int32_t* demand
) noexcept nogil:
    # In: a demand whose entry for the column resource is 0; a stack with room for all workers.
    # Out: the largest free amount of that resource among workers with room for the rest of it, or -1.
    cdef int32_t largest = -1, worker
    cdef int row = grid_level(row_steps, demand[row_resource]), low = 0, column
    cdef uint64_t rows = inhabited[SIDE] >> row << row, cells
    cdef Py_ssize_t height
    while rows:
        row = lowest_bit(rows)
        rows &= rows - 1
        cells = inhabited[row] >> low << low
        while cells:
            column = highest_bit(cells)
            if column < low:
                break
            cells ^= <uint64_t>1 << column
            stack[0] = head[row * SIDE + column]
            height = 1
            while height:
                height -= 1
                worker = stack[height]
                if free[column_resource * stride + worker] > largest and holds(
                    &free[worker], stride, n_resources, demand
                ):
                    largest = free[column_resource * stride + worker]
                    low = column
                worker = child[worker]
                while worker >= 0:
                    stack[height] = worker
                    height += 1
                    worker = sibling[worker]
    return largest
