# The tables of the core, field by field, each with its meaning and unit.
#
# n tasks, W workers, K resources, S slots. Amounts are whole numbers below 2**31 (milli-cores, MB,
# pieces), times are nanoseconds. `task` and `worker` are dense indices. Columns grow by doubling, so an
# array may be longer than what is in use; W in a length stands for `stride`, whole blocks of workers.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from ._heap cimport LEVELS, bits_first, tree_first


cdef enum TaskState:
    WAITING = 0             # some dependency has not completed
    READY = 1               # may start as soon as a worker has room
    RUNNING = 2
    COMPLETED = 3
    DELAYED = 4             # failed, and waits for its back-off to end; or promised to a worker; or postponed
    FAILED = 5              # for good
    SKIPPED = 6             # a dependency failed for good
    CANCELLED = 7

cdef enum Trust:
    TRUSTED = 0
    QUARANTINED = 1         # takes nothing until its term is over
    PROBATION = 2           # takes one attempt at a time until one completes

cdef enum Draining:
    LEAVING = 1             # takes nothing more, and is not there any more when it is idle
    SUSPECT = 2             # takes nothing more, for it is as good as lost; what only it could hold waits for it

cdef enum Unscored:         # of a worker in `unscored`
    STALE = 1
    RENEWED = 2             # its merit was made anew since it came there

cdef enum:
    NO_CANDIDATE = 2147483647
    UNMEASURED = 2147483647 # a front that no amount exceeds


cdef struct TaskRow:        # what the life of a task touches, together in one cache line where K is 2
    int64_t start           # ns, of the last attempt; -1 = never started
    int64_t end             # ns, of the last attempt; -1 = still open
    int64_t duration        # ns that an attempt is expected to take
    int32_t missing         # dependency edges not yet completed
    int32_t attempt         # attempts started so far; the open one has this number
    int32_t worker          # of the last attempt; -1 = never started
    int32_t next_on         # the next open attempt on the same worker; -1 = none
    int32_t before_on       # the one before it; -1 = it is the worker's first
    int32_t slot_of         # the slot in which it is ready
    int32_t leaf_of         # its leaf in the tree of the slot
    uint8_t state           # TaskState
    int32_t demand[1]       # K amounts


cdef class Tables:
    # sizes
    cdef readonly int32_t n_tasks           # n, tasks
    cdef readonly int32_t n_workers         # workers, there or not
    cdef readonly int n_resources           # K, resources
    cdef readonly int32_t n_left            # tasks in no terminal state
    cdef readonly int32_t n_running         # open attempts
    cdef readonly int64_t now               # ns; never goes back
    cdef readonly int64_t deadline          # ns, when all attempts are to have ended; -1 = there is none
    cdef int32_t[::1] longest               # tasks by their durations, from the longest; empty without a deadline
    cdef Py_ssize_t n_too_long              # of these: could not end in time any more
    cdef readonly int pivot                 # the resource in the trees; slots differ in the others
    cdef int rule                           # FitRule
    cdef int32_t many_workers               # from so many on there is a grid

    # tasks, as given
    cdef const int64_t[::1] succ_ptr        # n + 1: successors of t are succ[succ_ptr[t]:succ_ptr[t+1]], and late ones
    cdef const int32_t[::1] succ            # tasks that were submitted together with what they depend on
    cdef int32_t n_late                     # late edges
    cdef int32_t[::1] late_head             # n, or 0 where there is none: newest late edge of the task; -1 = none
    cdef int32_t[::1] late_next             # late edge -> the one before it of the same task; -1 = none
    cdef int32_t[::1] late_task             # late edge -> the dependent, which was submitted later
    cdef const int64_t[::1] priority        # n, the higher one first
    cdef const int64_t[::1] key             # n, rank: the smaller one first, among equal priorities
    cdef const int32_t[::1] max_retries     # n, failures of its own that a task survives

    # tasks, as a plan has them (`Facts.follow`); empty where none is followed, or it has nothing of the kind
    cdef int32_t[::1] preferred             # n, the worker that the task goes to while that has room; -1 = none
    cdef int64_t[::1] not_before            # n, ns: the first attempt is held back until then; 0 = it is not

    # tasks, as they stand
    cdef object task_table                  # n, TaskRow, as a numpy array
    cdef uint8_t[::1] rows                  # the same, byte by byte
    cdef Py_ssize_t row_size                # bytes of a row: whole cache lines
    cdef uint8_t[::1] reason                # n, code of why it failed for good; 0 = it did not
    cdef uint8_t[::1] told_stuck            # n, 1 = it was said that no worker could hold it
    cdef uint8_t[::1] postponed             # n, 1 = it could start, but for the deadline, if it is DELAYED
    cdef int32_t[::1] failures              # n, failures of its own so far
    cdef int32_t[::1] ooms                  # n, attempts that ran out of memory so far
    cdef int32_t[::1] losses                # n, attempts lost with their worker so far
    cdef int32_t[::1] cause                 # n, for SKIPPED the failed task at its root; else -1
    cdef int32_t[::1] last_fail             # n, newest entry of the log for this task; -1 = none
    cdef int32_t[::1] last_bar              # n, likewise: the newest that its retries avoid; -1 = none
    cdef int64_t[::1] overtaken             # n, ns + 1, when a less urgent task first passed it by; 0 = it did not
    cdef bint any_overtaken                 # whether that was ever noted
    cdef int32_t[::1] promised              # n, the worker to which the task is promised, and 1; 0 = to none
    cdef int32_t[::1] failed_tasks          # n, tasks that failed for good, were skipped or cancelled, in that order
    cdef readonly int32_t n_failed          # entries of failed_tasks in use
    cdef int32_t[::1] stack                 # n, scratch of the failure propagation
    cdef int32_t reserved_task              # for which room is kept; -1 = for none
    cdef int32_t reserved_worker            # on which it is kept

    # back-off
    cdef int64_t[::1] wake_time             # heap of the ends of delays, ns
    cdef int32_t[::1] wake_task             # whose delay it is; one that is not DELAYED any more is passed over
    cdef Py_ssize_t n_wakes                 # entries of the heap in use

    # log of the attempts that did not complete, in the order of their end
    cdef readonly Py_ssize_t n_log          # entries in use
    cdef int32_t[::1] log_task              # task
    cdef int32_t[::1] log_worker            # on which it ran
    cdef int32_t[::1] log_attempt           # its number, from 1
    cdef int64_t[::1] log_start             # ns, when it started
    cdef int64_t[::1] log_end               # ns, when it ended
    cdef uint8_t[::1] log_reason            # code of why it failed
    cdef int32_t[::1] log_prev              # the entry before this one of the same task; -1 = none
    cdef int32_t[::1] log_bar               # likewise: the task's last failure on another worker; -1 = none
    cdef readonly list notices              # (Notice, task or worker, now), in order

    # workers
    cdef Py_ssize_t stride                  # length of a row of `free`: whole blocks
    cdef int32_t[::1] capacity              # K rows of `stride` amounts
    cdef int32_t[::1] free                  # the same; -1 in every row for who takes nothing, and in the padding
    cdef int64_t[::1] merit                 # W, how much the fit rule likes it: its score, less it, or less its index
    cdef int64_t[::1] block_merit           # stride / BLOCK, the largest merit in each block of workers
    cdef int64_t[::1] total                 # K, capacity over live workers
    cdef double[::1] inverse                # K, 1 / total: for a first guess at a quotient
    cdef bint total_stale                   # workers came or went: totals and merits are to be made anew
    cdef uint8_t[::1] live                  # W, whether the worker is there
    cdef uint8_t[::1] expected              # W, 1 = not there, but told to come: others wait for it
    cdef uint8_t[::1] draining              # W, there, but takes nothing more: `Draining`; 0 = takes more
    cdef uint8_t[::1] shown                 # W, 1 = its free amounts stand in `free`: it takes tasks
    cdef int32_t[::1] incarnation           # W, how often it has come, from 1; 0 = never yet
    cdef int32_t[::1] first_on              # W, an open attempt on it, the first of a list; -1 = none
    cdef int32_t[::1] n_promised            # W, tasks that are promised to it
    cdef uint8_t[::1] trust                 # W, Trust
    cdef int32_t[::1] strikes               # W, failures on it of what completed elsewhere, since it last completed any
    cdef int32_t[::1] terms                 # W, quarantines so far
    cdef int64_t[::1] release               # W, ns, when its quarantine is over
    cdef int64_t next_release               # ns, the first of these; -1 = nobody is in quarantine
    cdef Py_ssize_t[::1] clean              # W, entries of the log before this one do not count against it
    cdef int64_t[::1] barred                # W, mark of the task that must not go there just now
    cdef int64_t mark                       # the mark of the task that was asked about last
    cdef int32_t[::1] touched               # W, workers on which room was made since the last decision
    cdef int32_t n_touched                  # entries of `touched` in use
    cdef uint8_t[::1] is_touched            # W, whether the worker is in `touched`
    cdef int32_t[::1] unscored              # W, workers whose merit is not that of what is free on them now
    cdef int32_t n_unscored                 # entries of `unscored` in use
    cdef uint8_t[::1] is_unscored           # W, 0 = the worker is not in `unscored`, else Unscored

    # the grid of workers (_grid.pxd), where they are many
    cdef bint gridded                       # whether there is one; without it, blocks are scanned
    cdef int row_resource                   # its rows are levels of this resource, its columns of the pivot
    cdef int32_t[::1] row_steps             # SIDE - 1, amounts at which its rows begin, ascending; unused: the largest
    cdef int32_t[::1] column_steps          # SIDE - 1, likewise its columns
    cdef int32_t[::1] cell_head             # CELLS, the top of the heap of the cell's workers; -1 = none
    cdef uint64_t[::1] inhabited            # SIDE, a row of cells each: a bit for every one in which somebody stands
    cdef int32_t[::1] cell_of               # W, the worker's cell; -1 = it takes no tasks
    cdef int32_t[::1] child                 # W, links of the heaps (_grid.pxd): the first child; -1 = none
    cdef int32_t[::1] sibling               # W, the next child of the same parent; -1 = none
    cdef int32_t[::1] before                # W, the child before it, or the parent; -1 = it is on top
    cdef int32_t[::1] walk                  # W, scratch of the walk through a heap

    # layers: tasks that were submitted together, or whose layers were merged; each has slots of its own
    cdef int n_layers                       # layers
    cdef int32_t[::1] layer_slot            # n_layers + 1, the first slot of each
    cdef list layer_size                    # tasks that each layer had when it was made

    # slots: the tasks of a layer that are alike in all resources but the pivot, in order of urgency
    cdef int n_slots                        # S, slots
    cdef int32_t[::1] slot_demand           # S * K, least amounts in the slot; the pivot's entry is 0
    cdef uint8_t[::1] loose                 # S, 1 = a member may need more than that
    cdef int32_t[::1] most                  # S, no worker there or expected has more pivot in all and room for the rest
    cdef bint most_stale                    # workers or slots changed: `most` is to be measured
    cdef int32_t[::1] pivot_need            # S, what all members need of the pivot (the slot is even); 0 = it is mixed
    cdef uint32_t[::1] mixed                # S / BLOCK, a bit for each slot of a block: it is mixed
    cdef uint32_t[::1] stale                # S / BLOCK, likewise: the candidate has to be asked for again
    cdef int32_t[::1] tree                  # min-trees of the mixed slots: amount - 1, so that none is ABSENT
    cdef uint64_t[::1] bits                 # bit trees of the even slots
    cdef int64_t[::1] level                 # S * LEVELS, where the levels of its tree begin, in `tree` or in `bits`
    cdef int32_t[::1] depth                 # S, levels of the tree
    cdef int32_t[::1] task_at               # leaf -> task: task_at[first_leaf[s] + leaf]
    cdef int32_t[::1] position_at           # leaf -> its task's place in the layer's order: priority, rank, index
    cdef int64_t[::1] first_leaf            # S + 1
    cdef Py_ssize_t slot_stride             # S rounded up to a whole block
    cdef int32_t[::1] need                  # slot_demand turned round: K rows of slot_stride; nobody has the padding's
    cdef int32_t[::1] front                 # S, whole blocks: no worker with room for the slot has more pivot free
    cdef int32_t[::1] base                  # S, the same for all workers but the touched ones
    cdef int64_t[::1] cursor                # S, leaves below it were refused in this decision
    cdef uint32_t[::1] passed               # S / BLOCK, likewise: the cursor was moved
    cdef int32_t[::1] candidate             # S, whole blocks: first ready task, under the front if the slot is mixed; -1 = none
    cdef int32_t[::1] candidate_position    # S, its position
    cdef int32_t[::1] candidate_need        # S, whole blocks: what it needs of the pivot; the largest amount = none

    cdef inline TaskRow* row(self, int32_t task) noexcept nogil:
        return <TaskRow*>&self.rows[task * self.row_size]

    cdef inline Py_ssize_t _first_ready(self, int s, Py_ssize_t start, int32_t limit) noexcept nogil:
        # Out: the first leaf >= start of the slot that is ready and that the slot knows to need no more than `limit` of
        # the pivot, or -1.
        if limit < self.pivot_need[s]:
            return -1
        if self.pivot_need[s]:
            return bits_first(&self.bits[0], &self.level[s * LEVELS], self.depth[s], start)
        return tree_first(self.tree, self.level, s * LEVELS, self.depth[s], start, limit - 1)

    cdef inline void _unscore(self, int32_t worker) noexcept nogil:
        # What is free on the worker has changed: its merit is to be made anew before it is compared.
        if not self.is_unscored[worker]:
            self.unscored[self.n_unscored] = worker
            self.n_unscored += 1
        self.is_unscored[worker] = STALE

    cdef inline int64_t _merit_of(self, int32_t worker) noexcept nogil:
        # Out: the merit that follows from what is free now.
        if self.is_unscored[worker] == STALE:
            self.is_unscored[worker] = RENEWED
            self._score_worker(worker)
        return self.merit[worker]

    cdef inline void _touch(self, int32_t worker) noexcept nogil:
        # Room was made on the worker.
        if not self.is_touched[worker]:
            self.is_touched[worker] = 1
            self.touched[self.n_touched] = worker
            self.n_touched += 1

    # kernels
    cdef void _score_workers(self) noexcept nogil
    cdef void _score_worker(self, int32_t worker) noexcept nogil
    cdef void _place_in_grid(self, int32_t worker, int64_t merit) noexcept nogil
    cdef void _renew_totals(self) noexcept nogil
    cdef void _check_worker(self, int32_t worker) except *
    cdef void _check_task(self, int32_t task) except *
