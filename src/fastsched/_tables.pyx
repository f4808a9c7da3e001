# cython: language_level=3
"""What the state machine remembers, as tables, laid out so that a choice finds it in order.

Here is no rule and no fact: rows of tasks, layers of slots, rows of workers, and their merits.

Theory of operation. Ready tasks stand in trees, and room in the workers' rows. Tasks that were
submitted together make a *layer*; in a layer, tasks that are alike make a *slot*: an *even* one
where they are alike in all resources, a *mixed* one where they differ in one, the pivot. A slot has
a leaf for each of its tasks, in order of urgency, and a tree over them: for an even slot of bits,
which say who is ready; for a mixed one a min-tree over what its ready tasks need of the pivot. A new
layer swallows the ones before it that are not more than twice its size, so there are few however
often tasks are submitted, and each task is laid out again a logarithmic number of times. A slot's
demand is a lower bound of its members' (`loose` where some member may need more of a resource than
the pivot), which is all that a choice relies on.

What a task's life touches stands together in one row, a cache line; what only failures touch, in
columns. What is free on the workers is a row a resource; who takes nothing has -1 there. Merits, by
which a fit rule prefers workers, are made anew when they are compared, not when room changes.
"""

from libc.stdint cimport INT32_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t

import mmap

import numpy as np

from ._fit cimport BEST_FIT, BLOCK, FIRST_FIT, MOST_FREE
from ._grid cimport CELLS, SIDE, grid_enter, grid_leave, grid_level
from ._heap cimport ABSENT, FAN, LEVELS

from . import kinds
from ._graphs import successors as make_successors

cdef enum:
    LINE = 64               # bytes of a cache line
    LARGE = 1 << 20         # bytes, of what has pages of its own
    HUGE = 1 << 22          # bytes, of what has huge ones


def extended(column, Py_ssize_t used, Py_ssize_t extra, values):
    """The column with so many entries more, a quarter longer where it is full; an empty one adopts an array as it is."""
    if used == 0 and isinstance(values, np.ndarray):
        return values
    old = np.asarray(column)
    if used == 0 and values == 0:
        return np.zeros(extra, dtype=old.dtype)     # pages that are never written to are never made
    if len(old) < used + extra:
        grown = _unused(max(used + extra, used + used // 4), old.dtype)
        grown[:used] = old[:used]
        old = grown
    old[used:used + extra] = values
    return old


def with_room(column, Py_ssize_t used, Py_ssize_t size):
    """The column with room for so many entries; those that are not in use are not touched."""
    if len(column) >= size:
        return column
    old = np.asarray(column)
    grown = _unused(max(size, len(old) + len(old) // 4), old.dtype)
    grown[:used] = old[:used]
    return grown


def with_zeros(column, Py_ssize_t used, Py_ssize_t extra):
    """The column with so many zeros more. It has few other entries: pages that nothing is written to are never made."""
    if len(column) >= used + extra:
        return column                                   # what has not been in use is zero
    old = np.asarray(column)
    grown = _unused(max(used + extra, used + used // 4), old.dtype)
    if len(grown) * old.itemsize < LARGE:
        grown[:] = 0
    at = old.nonzero()[0]
    grown[at] = old[at]
    return grown


def _unused(Py_ssize_t n, dtype):
    """An array with whatever in it; a large one has zeros, in pages of its own that are made when they are written to.

    Columns that grow and move would leave holes in the heap, again and again.
    """
    if n * dtype.itemsize < LARGE:
        return np.empty(n, dtype=dtype)
    pages = mmap.mmap(-1, n * dtype.itemsize)
    if n * dtype.itemsize >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)               # as numpy does
    return np.frombuffer(pages, dtype=dtype)


cdef int _bit_levels(int64_t leaves, int64_t* end, int64_t* level) noexcept nogil:
    # In: a bit tree with so many leaves, from `end` on. Out: its depth, where its levels begin, and where it ends.
    cdef int64_t size = leaves
    cdef int depth = 0
    level[0] = end[0]
    while True:
        size = (size + 63) // 64
        end[0] += size
        depth += 1
        level[depth] = end[0]
        if size == 1:
            return depth


cdef int _row_levels(int64_t leaves, int64_t* end, int64_t* level) noexcept nogil:
    # The same of a min-tree.
    cdef int64_t size = leaves, padded
    cdef int depth = 0
    level[0] = end[0]
    while True:
        padded = (size + FAN - 1) // FAN * FAN
        end[0] += padded
        depth += 1
        level[depth] = end[0]
        if size == 1 and depth > 1:
            return depth
        size = padded // FAN


cdef class Tables:
    """See the .pyi."""

    # ------------------------------------------------------------ names and columns

    def _make_columns(self):
        """Every column of tasks, slots, log and heaps, still empty."""
        int32s, int64s = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64)
        uint8s = np.empty(0, dtype=np.uint8)
        self.succ_ptr, self.succ = np.zeros(1, dtype=np.int64), int32s
        self.late_head = self.late_next = self.late_task = int32s
        self._keep_table(_aligned_rows(0, _row_type(self.n_resources)))
        self.max_retries = int32s
        self.priority = self.key = self.not_before = int64s
        self.preferred = int32s
        self.reason = self.told_stuck = self.postponed = uint8s
        self.failures = self.ooms = self.losses = self.promised = int32s
        self.overtaken = int64s
        self.cause = self.last_fail = self.last_bar = self.failed_tasks = self.stack = int32s
        self.wake_time, self.wake_task = int64s, int32s
        self.log_task = self.log_worker = self.log_attempt = self.log_prev = self.log_bar = int32s
        self.log_start = self.log_end = int64s
        self.log_reason = uint8s
        self.layer_slot = np.zeros(LEVELS * 8, dtype=np.int32)
        self.slot_demand = self.most = self.front = self.base = self.need = self.pivot_need = int32s
        self.mixed = self.stale = self.passed = np.empty(0, dtype=np.uint32)
        self.bits = self.inhabited = np.empty(0, dtype=np.uint64)
        self.depth = self.tree = self.task_at = self.position_at = int32s
        self.candidate = self.candidate_position = self.candidate_need = int32s
        self.loose = uint8s
        self.level = self.cursor = int64s
        self.first_leaf = np.zeros(1, dtype=np.int64)
        self.capacity = self.free = self.incarnation = self.strikes = self.terms = self.first_on = int32s
        self.n_promised = int32s
        self.touched = self.unscored = self.row_steps = self.column_steps = int32s
        self.cell_head = self.cell_of = self.child = self.sibling = self.before = self.walk = int32s
        self.inverse = np.empty(0)
        self.merit = self.block_merit = self.total = self.release = self.barred = int64s
        self.live = self.expected = self.draining = self.shown = self.trust = uint8s
        self.is_touched = self.is_unscored = uint8s
        self.clean = np.empty(0, dtype=np.intp)

    def _keep_table(self, table):
        self.task_table, self.rows, self.row_size = table, table.view(np.uint8), table.dtype.itemsize

    def _add_rows(self, const int64_t[::1] dep_ptr, const int32_t[:, ::1] demand, const int64_t[::1] duration):
        """A row for each task of a batch; it waits for all that it depends on."""
        cdef Py_ssize_t m = duration.shape[0], n = self.n_tasks, i
        cdef int r
        cdef TaskRow* row
        if len(self.task_table) < n + m:
            table = _aligned_rows(max(n + m, 2 * n), self.task_table.dtype)
            table[:n] = self.task_table[:n]
            self._keep_table(table)
        with nogil:
            for i in range(m):
                row = self.row(<int32_t>(n + i))
                row.start = row.end = -1
                row.duration = duration[i]
                row.missing = <int32_t>(dep_ptr[i + 1] - dep_ptr[i])
                row.attempt = row.leaf_of = 0
                row.worker = row.next_on = row.before_on = row.slot_of = -1
                row.state = WAITING
                for r in range(self.n_resources):
                    row.demand[r] = demand[i, r]

    def _extend_columns(self, m, priority, key, max_retries):
        n = self.n_tasks
        self.priority = extended(self.priority, n, m, np.ascontiguousarray(priority, dtype=np.int64))
        self.key = extended(self.key, n, m, np.ascontiguousarray(key, dtype=np.int64))
        self.max_retries = extended(self.max_retries, n, m, np.ascontiguousarray(max_retries, dtype=np.int32))
        if self.preferred.shape[0]:
            self.preferred = extended(self.preferred, n, m, -1)
        if self.not_before.shape[0]:
            self.not_before = extended(self.not_before, n, m, 0)
        self.reason = with_zeros(self.reason, n, m)
        self.told_stuck = with_zeros(self.told_stuck, n, m)
        self.postponed = with_zeros(self.postponed, n, m)
        self.failures = with_zeros(self.failures, n, m)
        self.ooms = with_zeros(self.ooms, n, m)
        self.losses = with_zeros(self.losses, n, m)
        self.overtaken = with_zeros(self.overtaken, n, m)
        self.promised = with_zeros(self.promised, n, m)
        self.cause = extended(self.cause, n, m, -1)
        self.last_fail = extended(self.last_fail, n, m, -1)
        self.last_bar = extended(self.last_bar, n, m, -1)
        self.failed_tasks = with_room(self.failed_tasks, self.n_failed, n + m)
        self.stack = with_room(self.stack, 0, n + m)
        if self.n_late:
            self.late_head = extended(self.late_head, n, m, -1)

    def _add_edges(self, Py_ssize_t first, m, dep_ptr, deps):
        """Edges of a later batch: those within it are CSR, those to earlier tasks a forward star."""
        cdef int32_t dep, late
        rows = np.repeat(np.arange(m, dtype=np.int32), np.diff(dep_ptr))
        inside = deps >= first
        inner_ptr = np.concatenate(([0], np.cumsum(np.bincount(rows[inside], minlength=m)))).astype(np.int64)
        succ_ptr, succ = make_successors(inner_ptr, (deps[inside] - first).astype(np.int32))
        n_edges = int(self.succ_ptr[first])
        self.succ_ptr = extended(self.succ_ptr, first + 1, m, succ_ptr[1:] + n_edges)
        self.succ = extended(self.succ, n_edges, len(succ), succ + np.int32(first))
        missing = np.diff(inner_ptr).astype(np.int32)
        state = self.task_table["state"]
        outer = np.nonzero(~inside & (state[deps] != COMPLETED))[0]
        np.add.at(missing, rows[outer], 1)
        self.task_table["missing"][first:first + m] = missing
        if not len(outer):
            return
        if not self.n_late:
            self.late_head = extended(self.late_head, 0, first + m, np.full(first + m, -1, dtype=np.int32))
        late = self.n_late
        self.late_next = extended(self.late_next, late, len(outer), np.full(len(outer), -1, dtype=np.int32))
        self.late_task = extended(self.late_task, late, len(outer), rows[outer] + np.int32(first))
        for dep in deps[outer]:
            self.late_next[late] = self.late_head[dep]
            self.late_head[dep] = late
            late += 1
        self.n_late = late

    # ------------------------------------------------------------ layers of tasks

    def _add_layer(self, int32_t first, int32_t m, class_of, class_demand, order, bint with_all=False):
        """Lay out a batch; layers that are not much larger than what follows them are merged with it, or `with_all`.

        Answers the tasks of the new layer, the most urgent first; none of them stands in a tree yet.
        """
        cdef int k = self.n_resources
        tasks = np.arange(first, first + m, dtype=np.int32)
        cdef bint is_merged = False
        slot_of, slot_demand, numbers = np.asarray(class_of, dtype=np.int32), class_demand, {}
        if self.n_layers:
            slot_of = _numbered(class_demand, numbers).take(class_of)
        while self.n_layers and (with_all or self.layer_size[len(self.layer_size) - 1] <= 2 * len(tasks)):
            taken, taken_demand, taken_slot = self._take_layer()
            slot_of = np.concatenate((_numbered(taken_demand, numbers).take(taken_slot), slot_of))
            tasks = np.concatenate((taken, tasks))
            order, is_merged = None, True
        if numbers:
            slot_demand = np.array(list(numbers), dtype=np.int32).reshape(-1, k)
        open_ = self._open_ones(tasks)
        if len(open_) < len(tasks):
            tasks, slot_of, order = tasks[open_], slot_of[open_], None
        if is_merged and len(numbers) > kinds.FEW_KINDS:
            classes = kinds.DemandClasses(self.task_table["demand"][tasks], self.pivot)
            slot_of, slot_demand = classes.class_of, classes.class_demand
        if order is None:
            priority, key = np.asarray(self.priority)[tasks], np.asarray(self.key)[tasks]
            order = np.lexsort((tasks, key, -priority))
        by_urgency = tasks.take(order)
        self._lay_out(by_urgency, slot_of.take(order), slot_demand)
        if self.gridded:
            mixed = tasks[(slot_demand[:, self.pivot] == 0).take(slot_of)]
            some = self.task_table["demand"][mixed[::max(1, len(mixed) // 1024)], self.pivot]
            self._add_steps(
                slot_demand[:, self.row_resource], np.concatenate((slot_demand[:, self.pivot], some))
            )
        return by_urgency

    def _renew_layers(self):
        """Lay out all that has not ended as one layer, in the order that the keys give by now; answers the same."""
        none = np.empty(0, dtype=np.int32)
        return self._add_layer(self.n_tasks, 0, none, np.empty((0, self.n_resources), dtype=np.int32), None, True)

    def _open_ones(self, const int32_t[::1] tasks):
        """The places in `tasks` of those that have not ended."""
        cdef int32_t[::1] places = np.empty(tasks.shape[0], dtype=np.int32)
        cdef Py_ssize_t i, n = 0
        cdef uint8_t state
        with nogil:
            for i in range(tasks.shape[0]):
                state = self.row(tasks[i]).state
                places[n] = <int32_t>i
                n += state < COMPLETED or state == DELAYED
        return np.asarray(places)[:n]

    def _take_layer(self):
        """Take the last layer off: its tasks, the demands of its slots, and the slot of each of its tasks."""
        cdef int k = self.n_resources, s = self.layer_slot[self.n_layers - 1]
        tasks = np.asarray(self.task_at)[self.first_leaf[s]:self.first_leaf[self.n_slots]].copy()
        demand = np.asarray(self.slot_demand)[s * k:self.n_slots * k].reshape(-1, k).copy()
        demand[:, self.pivot] = np.asarray(self.pivot_need)[s:self.n_slots]
        slot_of = self.task_table["slot_of"][tasks] - s
        self.n_slots = s
        self.n_layers -= 1
        self.layer_size.pop()
        self.layer_slot[self.n_layers] = s
        return tasks, demand, slot_of

    def _lay_out(self, const int32_t[::1] by_urgency, const int32_t[::1] slot_of, slot_demand):
        """Make a layer of these tasks: their slots, and in each slot its tree."""
        cdef Py_ssize_t i
        cdef int32_t task, s, base = self.n_slots
        cdef int r
        cdef TaskRow* row
        cdef int64_t end, bits_end
        n, c, k = len(by_urgency), len(slot_demand), self.n_resources
        sizes = np.bincount(slot_of, minlength=c)
        leaves, level_array = int(self.first_leaf[base]), np.zeros((c, LEVELS), dtype=np.int64)
        depth_array = np.zeros(c, dtype=np.int32)
        begin, bits_begin = end, bits_end = self._tree_ends(base)
        demand = np.array(slot_demand, dtype=np.int32)
        cdef int64_t[:, ::1] level = level_array
        cdef int32_t[::1] depth = depth_array
        cdef const int64_t[::1] size = sizes
        cdef const int32_t[:, ::1] need = demand
        for s in range(need.shape[0]):
            if need[s, self.pivot]:
                depth[s] = _bit_levels(max(1, size[s]), &bits_end, &level[s, 0])
            else:
                depth[s] = _row_levels(max(1, size[s]), &end, &level[s, 0])
        self.pivot_need = extended(self.pivot_need, base, c, demand[:, self.pivot].copy())
        demand[:, self.pivot] = 0
        self.slot_demand = extended(self.slot_demand, base * k, c * k, demand.reshape(-1))
        self.loose = extended(self.loose, base, c, np.zeros(c, dtype=np.uint8))
        self.most = extended(self.most, base, c, np.full(c, UNMEASURED, dtype=np.int32))
        self.cursor = extended(self.cursor, base, c, np.zeros(c, dtype=np.int64))
        self.level = extended(self.level, base * LEVELS, c * LEVELS, level_array.reshape(-1))
        self.depth = extended(self.depth, base, c, depth_array)
        self.first_leaf = extended(self.first_leaf, base + 1, c, leaves + np.cumsum(sizes))
        self.tree = extended(self.tree, begin, end - begin, np.full(end - begin, ABSENT, dtype=np.int32))
        self.task_at = extended(self.task_at, leaves, n, np.zeros(n, dtype=np.int32))
        self.bits = extended(self.bits, bits_begin, bits_end - bits_begin, 0)
        self.position_at = extended(self.position_at, leaves, n, np.zeros(n, dtype=np.int32))
        self.n_slots += c
        self._turn_slots(base)
        self.n_layers += 1
        self.layer_size.append(n)
        self.layer_slot[self.n_layers] = self.n_slots
        self.most_stale = True
        cdef int64_t[::1] filled = np.asarray(self.first_leaf)[base:self.n_slots].copy()
        with nogil:
            for i in range(by_urgency.shape[0]):
                task = by_urgency[i]
                s = slot_of[i]
                row = self.row(task)
                row.slot_of = base + s
                row.leaf_of = <int32_t>(filled[s] - self.first_leaf[base + s])
                for r in range(self.n_resources):
                    if r != self.pivot and row.demand[r] != self.slot_demand[(base + s) * self.n_resources + r]:
                        self.loose[base + s] = 1
                self.task_at[filled[s]] = task
                self.position_at[filled[s]] = <int32_t>i
                filled[s] += 1

    def _lay_out_again(self, const int32_t[::1] by_urgency):
        """The one layer, in whose trees nobody is, in another order of urgency."""
        cdef Py_ssize_t i
        cdef int32_t task, s
        cdef TaskRow* row
        cdef int64_t[::1] filled = np.asarray(self.first_leaf)[:self.n_slots].copy()
        with nogil:
            for i in range(by_urgency.shape[0]):
                task = by_urgency[i]
                row = self.row(task)
                s = row.slot_of
                row.leaf_of = <int32_t>(filled[s] - self.first_leaf[s])
                self.task_at[filled[s]] = task
                self.position_at[filled[s]] = <int32_t>i
                filled[s] += 1
        self._turn_slots(0)

    def _tree_ends(self, n_slots):
        """Where the min-trees and the bit trees of the first slots end."""
        ends = np.asarray(self.level)[:n_slots * LEVELS].reshape(-1, LEVELS)
        ends = ends[np.arange(n_slots), np.asarray(self.depth)[:n_slots]]
        even = np.asarray(self.pivot_need)[:n_slots] > 0
        return int(ends[~even].max(initial=0)), int(ends[even].max(initial=0))

    def _turn_slots(self, known):
        """The columns that are gone through a block of slots at a time; of the slots before `known` the fronts stay."""
        s, k = self.n_slots, self.n_resources
        self.slot_stride = max(1, (s + BLOCK - 1) // BLOCK) * BLOCK
        need = np.full((k, self.slot_stride), INT32_MAX, dtype=np.int32)
        need[:, :s] = np.asarray(self.slot_demand)[:s * k].reshape(s, k).T
        self.need = need.reshape(-1)
        front = np.full(self.slot_stride, -1, dtype=np.int32)
        front[:s] = UNMEASURED
        front[:known] = np.asarray(self.front)[:known]
        self.front, self.base = front, front.copy()
        self.mixed = _bits_of(np.asarray(self.pivot_need)[:s] == 0, self.slot_stride)
        self.stale = _bits_of(np.ones(s, dtype=np.uint32), self.slot_stride)
        self.passed = np.zeros(self.slot_stride // BLOCK, dtype=np.uint32)
        np.asarray(self.cursor)[:s] = 0
        self.candidate_need = np.full(self.slot_stride, NO_CANDIDATE, dtype=np.int32)
        self.candidate = np.full(self.slot_stride, -1, dtype=np.int32)
        self.candidate_position = np.zeros(self.slot_stride, dtype=np.int32)

    # ------------------------------------------------------------ rows of workers

    def _make_worker_rows(self, capacity):
        """Rows for so many more workers, none of them there yet."""
        cdef Py_ssize_t old = self.n_workers, w = old + len(capacity), k = self.n_resources
        had = self.stride
        if w > had or not had:
            self.stride = (max(w, 2 * old, 1) + BLOCK - 1) // BLOCK * BLOCK
        self.capacity = _wider(self.capacity, k, had, self.stride, -1)
        self.free = _wider(self.free, k, had, self.stride, -1)
        np.asarray(self.capacity).reshape(k, self.stride)[:, old:w] = capacity.T
        if self.stride != had:
            self._widen_columns(had)
        self.n_workers = w
        self._make_grid()

    def _widen_columns(self, had):
        more, total = self.stride - had, np.zeros(self.n_resources, dtype=np.int64)
        zeros, none = np.zeros(more, dtype=np.uint8), np.full(more, -1, dtype=np.int32)
        self.merit = extended(self.merit, had, more, np.full(more, INT64_MIN + 1, dtype=np.int64))
        self.block_merit = np.asarray(self.merit).reshape(-1, BLOCK).max(axis=1)
        self.total, self.inverse, self.total_stale = total, np.zeros(self.n_resources), True
        self.live = extended(self.live, had, more, zeros.copy())
        self.expected = extended(self.expected, had, more, zeros.copy())
        self.draining = extended(self.draining, had, more, zeros.copy())
        self.shown = extended(self.shown, had, more, zeros.copy())
        self.trust = extended(self.trust, had, more, zeros.copy())
        self.is_touched = extended(self.is_touched, had, more, zeros.copy())
        self.incarnation = extended(self.incarnation, had, more, none + 1)
        self.strikes = extended(self.strikes, had, more, none + 1)
        self.terms = extended(self.terms, had, more, none + 1)
        self.n_promised = extended(self.n_promised, had, more, none + 1)
        self.barred = extended(self.barred, had, more, np.zeros(more, dtype=np.int64))
        self.touched = extended(self.touched, had, more, none + 1)
        self.unscored = extended(self.unscored, had, more, none + 1)
        self.is_unscored = extended(self.is_unscored, had, more, zeros.copy())
        self.first_on = extended(self.first_on, had, more, none.copy())
        self.release = extended(self.release, had, more, np.zeros(more, dtype=np.int64))
        self.clean = extended(self.clean, had, more, np.zeros(more, dtype=np.intp))
        self.cell_of = extended(self.cell_of, had, more, none.copy())
        self.child = extended(self.child, had, more, none.copy())
        self.sibling = extended(self.sibling, had, more, none.copy())
        self.before = extended(self.before, had, more, none.copy())
        self.walk = extended(self.walk, had, more, none.copy())

    def _make_grid(self):
        """Where workers are many, there is a grid, with a level for each amount that tasks ask for."""
        cdef int32_t worker
        if self.gridded or self.n_workers < self.many_workers or self.n_resources < 2:
            return
        self.gridded = True
        self.row_resource = 0 if self.pivot else 1
        self.row_steps, self.column_steps = _steps([]), _steps([])
        known = np.asarray(self.slot_demand)[:self.n_slots * self.n_resources].reshape(-1, self.n_resources)
        self._add_steps(known[:, self.row_resource], self.task_table["demand"][:self.n_tasks, self.pivot])

    def _add_steps(self, row_amounts, column_amounts):
        """Tasks that ask for such amounts are there: the grid has levels for them, as far as it can."""
        cdef int32_t worker
        rows, columns = _steps(self.row_steps, row_amounts), _steps(self.column_steps, column_amounts)
        if np.array_equal(rows, self.row_steps) and np.array_equal(columns, self.column_steps) and len(self.cell_head):
            return
        self.row_steps, self.column_steps = rows, columns
        self.cell_head = np.full(CELLS, -1, dtype=np.int32)
        self.inhabited = np.zeros(SIDE + 1, dtype=np.uint64)
        np.asarray(self.cell_of)[:] = -1
        for worker in range(self.n_workers):
            self._score_worker(worker)

    cdef void _score_workers(self) noexcept nogil:
        # Out: every merit is that of what is free now.
        cdef int32_t i
        for i in range(self.n_unscored):
            if self.is_unscored[self.unscored[i]] == STALE:
                self._score_worker(self.unscored[i])
            self.is_unscored[self.unscored[i]] = 0
        self.n_unscored = 0

    cdef void _score_worker(self, int32_t worker) noexcept nogil:
        # The merit that follows from a score, the sum over r of floor(free[r] * 2**31 / total[r]); amounts are below
        # 2**31, so every product fits 64 bits. Out: merit[worker], and the largest of its block, or its cell.
        cdef int64_t score = 0, was, scaled, share
        cdef Py_ssize_t at = worker >> 4 << 4
        cdef int r, k
        if self.rule != FIRST_FIT:
            for r in range(self.n_resources):
                if self.total[r] > 0:
                    scaled = <int64_t>self.free[r * self.stride + worker] * (<int64_t>1 << 31)
                    share = <int64_t>(<double>scaled * self.inverse[r])     # at most one off, which is set right
                    scaled -= share * self.total[r]
                    score += share + <int64_t>(scaled >= self.total[r]) - <int64_t>(scaled < 0)
        if self.rule != MOST_FREE:
            score = -score if self.rule == BEST_FIT else -worker
        if self.gridded:
            self._place_in_grid(worker, score)
            return
        was = self.merit[worker]
        self.merit[worker] = score
        if score >= self.block_merit[worker >> 4]:
            self.block_merit[worker >> 4] = score
        elif was == self.block_merit[worker >> 4]:
            score = self.merit[at]
            for k in range(1, BLOCK):
                score = max(score, self.merit[at + k])
            self.block_merit[worker >> 4] = score

    cdef void _place_in_grid(self, int32_t worker, int64_t merit) noexcept nogil:
        # Out: a worker that takes tasks stands with this merit in the cell of its free amounts; another in none.
        cdef int cell = self.cell_of[worker]
        if cell >= 0:
            grid_leave(self.merit, self.child, self.sibling, self.before, self.cell_head, self.inhabited, cell, worker)
        self.merit[worker] = merit
        self.cell_of[worker] = -1
        if self.shown[worker]:
            cell = SIDE * grid_level(&self.row_steps[0], self.free[self.row_resource * self.stride + worker])
            cell += grid_level(&self.column_steps[0], self.free[self.pivot * self.stride + worker])
            grid_enter(self.merit, self.child, self.sibling, self.before, self.cell_head, self.inhabited, cell, worker)
            self.cell_of[worker] = cell

    cdef void _renew_totals(self) noexcept nogil:
        # The set of live workers changed, and with the totals every score.
        cdef int32_t worker
        cdef int r
        self.total_stale = False
        for r in range(self.n_resources):
            self.total[r] = 0
            for worker in range(self.n_workers):
                if self.live[worker]:
                    self.total[r] += self.capacity[r * self.stride + worker]
            self.inverse[r] = 1.0 / <double>self.total[r] if self.total[r] else 0.0
        for worker in range(self.n_workers):
            if self.shown[worker]:
                self._unscore(worker)

    def _widen(self, capacity):
        """Columns for more resources; `capacity`, a row a worker, is what it has of them."""
        cdef Py_ssize_t n = self.n_tasks, w = self.n_workers, k = self.n_resources, stride = self.stride
        more = capacity.shape[1]
        wide = np.full((more, stride), -1, dtype=np.int32)
        wide[:, :w] = capacity.T
        self.capacity = np.concatenate((np.asarray(self.capacity), wide.reshape(-1)))
        self.free = np.concatenate((np.asarray(self.free), np.full(more * stride, -1, dtype=np.int32)))
        self.total, self.inverse = np.zeros(k + more, dtype=np.int64), np.zeros(k + more)
        self._keep_table(_wider_rows(self.task_table, n, k + more))
        self.slot_demand = _with_columns(self.slot_demand, self.n_slots, k, more)
        self.n_resources = k + more
        self._turn_slots(self.n_slots)

    # ------------------------------------------------------------ what stands there

    cdef void _check_worker(self, int32_t worker) except *:
        if not 0 <= worker < self.n_workers:
            raise IndexError(f"worker {worker} is out of range")

    cdef void _check_task(self, int32_t task) except *:
        if not 0 <= task < self.n_tasks:
            raise IndexError(f"task {task} is out of range")

    def state_of(self, int32_t task):
        """The state of one task. See the .pyi."""
        self._check_task(task)
        return self.row(task).state

    def attempt_of(self, int32_t task):
        """Attempts of one task so far, and the worker of the last. See the .pyi."""
        self._check_task(task)
        return self.row(task).attempt, self.row(task).worker

    def demand_of(self, int32_t task):
        """What one task is given. See the .pyi."""
        cdef int k
        self._check_task(task)
        return tuple([self.row(task).demand[k] for k in range(self.n_resources)])

    def presence_of(self, int32_t worker):
        """Whether one worker is there, or expected. See the .pyi."""
        self._check_worker(worker)
        return self.live[worker] != 0, self.expected[worker] != 0

    def incarnation_of(self, int32_t worker):
        """How often a worker has come. See the .pyi."""
        self._check_worker(worker)
        return self.incarnation[worker]

    def columns(self):
        """What became of every task, as numpy columns. See the .pyi."""
        table = self.task_table
        views = {name: table[name] for name in ("state", "attempt", "worker", "start", "end", "missing")} | {
            "reason": self.reason, "failures": self.failures, "ooms": self.ooms, "losses": self.losses,
            "cause": self.cause, "overtaken": self.overtaken,
        }
        return {name: np.asarray(view)[:self.n_tasks] for name, view in views.items()}

    def log(self):
        """The attempts that did not complete, as numpy columns. See the .pyi."""
        names = ("task", "worker", "attempt", "start", "end", "reason")
        return {name: np.asarray(view)[:self.n_log] for name, view in zip(names, (
            self.log_task, self.log_worker, self.log_attempt, self.log_start, self.log_end, self.log_reason,
        ))}

    def worker_columns(self):
        """How every worker stands, as numpy columns. See the .pyi."""
        names = ("live", "expected", "draining", "shown", "incarnation", "trust", "strikes", "terms", "release")
        return {name: np.asarray(view)[:self.n_workers] for name, view in zip(names, (
            self.live, self.expected, self.draining, self.shown, self.incarnation,
            self.trust, self.strikes, self.terms, self.release,
        ))}

    def amounts(self):
        """Demands, capacities, and what is free. See the .pyi."""
        k, w = self.n_resources, self.n_workers
        return (
            self.task_table["demand"][:self.n_tasks],
            np.asarray(self.capacity).reshape(k, self.stride)[:, :w].T,
            np.asarray(self.free).reshape(k, self.stride)[:, :w].T,
        )

    def promises(self):
        """The tasks that are promised to workers. See the .pyi."""
        promised = np.asarray(self.promised)[:self.n_tasks]
        tasks = np.nonzero(promised)[0]
        return dict(zip(tasks.tolist(), (promised[tasks] - 1).tolist()))

    def postponements(self):
        """The tasks that could start, but for the deadline. See the .pyi."""
        postponed = np.asarray(self.postponed)[:self.n_tasks]
        return np.nonzero((postponed != 0) & (self.task_table["state"][:self.n_tasks] == DELAYED))[0].tolist()

    def wakes(self):
        """The tasks that wait for their back-off to end, and until when. See the .pyi."""
        return self._delayed(True)

    def held_back(self):
        """The tasks that a plan holds back, and until when. See the .pyi."""
        return self._delayed(False)

    def _delayed(self, tried):
        """The tasks that wait for a time, and until when: those that were tried, or those that were not."""
        times, tasks = np.asarray(self.wake_time)[:self.n_wakes], np.asarray(self.wake_task)[:self.n_wakes]
        due = (self.task_table["state"][tasks] == DELAYED) & ((self.task_table["attempt"][tasks] > 0) == tried)
        return {int(task): int(time) for task, time in sorted(zip(tasks[due], times[due]))}

    def course(self):
        """What the tasks' turns come from, as numpy columns. See the .pyi."""
        views = {"priority": self.priority, "key": self.key, "duration": self.task_table["duration"]}
        views |= {"preferred": self.preferred, "not_before": self.not_before}
        return {name: np.asarray(view)[:self.n_tasks] for name, view in views.items()}

    def open_edges(self):
        """The dependencies between tasks that have not ended. See the .pyi."""
        cdef int32_t[:, ::1] found = np.empty((2, max(64, int(self.succ_ptr[self.n_tasks]) + self.n_late)), dtype=np.int32)
        cdef Py_ssize_t n = 0
        cdef int64_t k
        cdef int32_t task, late
        with nogil:
            for task in range(self.n_tasks):
                if self.row(task).state >= COMPLETED and self.row(task).state != DELAYED:
                    continue
                for k in range(self.succ_ptr[task], self.succ_ptr[task + 1]):
                    if self.row(self.succ[k]).state == WAITING:
                        found[0, n] = task
                        found[1, n] = self.succ[k]
                        n += 1
                late = self.late_head[task] if self.n_late else -1
                while late >= 0:
                    if self.row(self.late_task[late]).state == WAITING:
                        found[0, n] = task
                        found[1, n] = self.late_task[late]
                        n += 1
                    late = self.late_next[late]
        return np.asarray(found)[0, :n].copy(), np.asarray(found)[1, :n].copy()

    def innards(self):
        """Views of what `recount` counts again, by name. See the .pyi."""
        self._score_workers()
        views = {
            "succ_ptr": self.succ_ptr, "succ": self.succ, "late_head": self.late_head, "late_next": self.late_next,
            "late_task": self.late_task, "first_on": self.first_on, "tree": self.tree, "bits": self.bits,
            "level": self.level, "depth": self.depth, "first_leaf": self.first_leaf, "task_at": self.task_at,
            "position_at": self.position_at, "slot_demand": self.slot_demand, "pivot_need": self.pivot_need,
            "merit": self.merit, "cell_of": self.cell_of, "child": self.child, "sibling": self.sibling,
            "inhabited": self.inhabited, "row_steps": self.row_steps, "column_steps": self.column_steps,
            "priority": self.priority, "key": self.key, "layer_slot": self.layer_slot, "wake_time": self.wake_time,
        }
        return {name: np.asarray(view) for name, view in views.items()} | {
            "cell_head": np.asarray(self.cell_head) if self.gridded else None,
            "n_promised": np.asarray(self.n_promised),
            "n_slots": self.n_slots, "n_layers": self.n_layers, "n_late": self.n_late, "n_wakes": self.n_wakes,
            **{name: self.task_table[name] for name in ("slot_of", "leaf_of", "next_on", "before_on")},
            "pivot": self.pivot, "row_resource": self.row_resource, "levels": LEVELS,
        }


def _bits_of(marks, stride):
    """For every block a number with a bit for each mark."""
    blocks = np.zeros(stride, dtype=np.uint32)
    blocks[:len(marks)] = marks
    return (blocks.reshape(-1, BLOCK) << np.arange(BLOCK, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)


def _steps(known, amounts=()):
    """The amounts at which levels of the grid begin: the known ones and new ones, or an even choice of all."""
    known = np.asarray(known)[np.asarray(known) < INT32_MAX]
    steps = np.union1d(known, np.asarray(amounts, dtype=np.int32)).astype(np.int32)
    if len(steps) >= SIDE:
        steps = known if len(known) == SIDE - 1 else steps[np.linspace(0, len(steps) - 1, SIDE - 1).astype(np.intp)]
    return np.concatenate((steps, np.full(SIDE - 1 - len(steps), INT32_MAX))).astype(np.int32)


def _numbered(rows, numbers):
    """The number of each row of demands; what is new among them is given the next one."""
    return np.array([numbers.setdefault(tuple(row), len(numbers)) for row in rows.tolist()], dtype=np.int32)


def _row_type(k):
    """TaskRow, as numpy knows it, with so many amounts."""
    cdef TaskRow row
    cdef char* at = <char*>&row
    places = {
        "start": (<char*>&row.start - at, np.int64), "end": (<char*>&row.end - at, np.int64),
        "duration": (<char*>&row.duration - at, np.int64), "missing": (<char*>&row.missing - at, np.int32),
        "attempt": (<char*>&row.attempt - at, np.int32), "worker": (<char*>&row.worker - at, np.int32),
        "next_on": (<char*>&row.next_on - at, np.int32), "before_on": (<char*>&row.before_on - at, np.int32),
        "slot_of": (<char*>&row.slot_of - at, np.int32), "leaf_of": (<char*>&row.leaf_of - at, np.int32),
        "state": (<char*>&row.state - at, np.uint8), "demand": (<char*>&row.demand - at, (np.int32, (k,))),
    }
    size = <char*>&row.demand - at + 4 * k
    return np.dtype({
        "names": list(places),
        "offsets": [place for place, _ in places.values()],
        "formats": [kind for _, kind in places.values()],
        "itemsize": (size + LINE - 1) // LINE * LINE,
    })


def _aligned_rows(n, row_type):
    """So many rows, each at the beginning of a cache line."""
    raw = _unused(n * row_type.itemsize + LINE, np.dtype(np.uint8))
    begin = -raw.ctypes.data % LINE
    return raw[begin:begin + n * row_type.itemsize].view(row_type)


def _wider_rows(table, n, k):
    """The first n rows, with zeros for the amounts that they did not have, so that each has k."""
    wide = _aligned_rows(len(table), _row_type(k))
    for name in wide.dtype.names:
        wide[name][:n] = 0
        if name != "demand":
            wide[name][:n] = table[name][:n]
    wide["demand"][:n, :table["demand"].shape[1]] = table["demand"][:n]
    return wide


def _with_columns(amounts, n, k, more):
    """n rows of k amounts, in one piece, with so many columns of zeros behind them."""
    rows = np.zeros((n, k + more), dtype=np.int32)
    rows[:, :k] = np.asarray(amounts)[:n * k].reshape(n, k)
    return rows.reshape(-1)


def _wider(amounts, k, had, stride, fill):
    """K rows of `had` amounts as rows of `stride`."""
    if had == stride:
        return amounts
    rows = np.full((k, stride), fill, dtype=np.int32)
    if had:
        rows[:, :had] = np.asarray(amounts).reshape(k, had)
    return rows.reshape(-1)
