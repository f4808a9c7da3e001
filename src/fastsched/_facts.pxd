# The fields of what is booked, each with its meaning and unit.
#
# n tasks, W workers, K resources, S slots. Amounts are whole numbers below 2**31 (milli-cores, MB,
# pieces), times are nanoseconds. `task` and `worker` are dense indices. Columns grow by doubling, so an
# array may be longer than what is in use; W in a length stands for `stride`, whole blocks of workers.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t


cdef enum TaskState:
    WAITING = 0             # some dependency has not completed
    READY = 1               # may start as soon as a worker has room
    RUNNING = 2
    COMPLETED = 3
    DELAYED = 4             # failed, and waits for its back-off to end
    FAILED = 5              # for good
    SKIPPED = 6             # a dependency failed for good
    CANCELLED = 7

cdef enum Trust:
    TRUSTED = 0
    QUARANTINED = 1         # takes nothing until its term is over
    PROBATION = 2           # takes one attempt at a time until one completes

cdef enum Notice:           # what followed from facts and is not asked for, in `notices`
    NOTICE_STUCK = 0        # a ready task that no worker there or expected could ever hold
    NOTICE_QUARANTINED = 1  # a worker
    NOTICE_PROBATION = 2    # a worker
    NOTICE_TRUSTED = 3      # a worker that is let back
    NOTICE_DRAINED = 4      # a worker: its last attempt has ended, and it is not there any more

cdef enum Code:             # of `reason`; the names are `model.Reason`, in this order
    CODE_EXIT = 1
    CODE_OUT_OF_MEMORY = 3
    CODE_WORKER_LOST = 5
    CODE_CANCELLED = 6
    CODE_DEPENDENCY = 7
    CODE_UNSATISFIABLE = 8
    LAST_CODE = 9

cdef enum Draw:             # what a draw of chance is for
    DRAW_JITTER = 1
    DRAW_FAILURE = 2
    DRAW_LOSS = 3

cdef enum:
    NO_CANDIDATE = 2147483647
    UNMEASURED = 2147483646 # a front that no amount exceeds


cdef class Facts:
    # sizes
    cdef readonly int32_t n_tasks           # n, tasks
    cdef readonly int32_t n_workers         # workers, there or not
    cdef readonly int n_resources           # K, resources
    cdef readonly int32_t n_left            # tasks in no terminal state
    cdef readonly int32_t n_running         # open attempts
    cdef readonly int64_t now               # ns; never goes back
    cdef readonly int pivot                 # the resource in the trees; slots differ in the others
    cdef int rule                           # FitRule

    # policy, the same for the whole life
    cdef int32_t max_losses                 # lost workers that a task survives
    cdef int32_t max_ooms                   # out-of-memory failures that a task survives
    cdef int64_t oom_growth                 # thousandths: an attempt after one asks for so much of its memory; 1000 = as before
    cdef int memory                         # the resource that grows
    cdef int64_t backoff                    # ns, delay before the second attempt, doubled for each further one; 0 = none
    cdef int64_t backoff_cap                # ns, no delay is longer
    cdef int64_t jitter                     # thousandths of a delay that chance may take off it
    cdef readonly uint64_t seed             # of all chance
    cdef int32_t quarantine_after           # failures of what completed elsewhere that a worker survives; 0 = any number
    cdef int64_t probation                  # ns, the first term of a quarantine; doubled for each further one
    cdef int32_t many_workers               # from so many on there is a grid
    cdef bint tell_stuck                    # whether it is noticed that a ready task has nobody to hold it

    # tasks, as given
    cdef const int64_t[::1] succ_ptr        # n + 1: successors of t are succ[succ_ptr[t]:succ_ptr[t+1]], and the late ones
    cdef const int32_t[::1] succ            # tasks that were submitted together with what they depend on
    cdef int32_t n_late                     # late edges
    cdef int32_t[::1] late_head             # n, or 0 where there is none: newest late edge of the task; -1 = none
    cdef int32_t[::1] late_next             # late edge -> the one before it of the same task; -1 = none
    cdef int32_t[::1] late_task             # late edge -> the dependent, which was submitted later
    cdef int32_t[::1] demand                # n * K amounts, a row a task
    cdef const int64_t[::1] duration        # n, ns that an attempt is expected to take
    cdef const int64_t[::1] priority        # n, the higher one first
    cdef const int64_t[::1] key             # n, rank: the smaller one first, among equal priorities
    cdef const int32_t[::1] max_retries     # n, failures of its own that a task survives
    cdef int32_t[::1] slot_of               # n, the slot in which it is ready
    cdef int32_t[::1] leaf_of               # n, leaf in the tree of its slot

    # tasks, as they stand
    cdef uint8_t[::1] state                 # n, TaskState
    cdef uint8_t[::1] reason                # n, code of why it failed for good; 0 = it did not
    cdef uint8_t[::1] told_stuck            # n, 1 = it was said that no worker could hold it
    cdef int32_t[::1] missing               # n, dependency edges not yet completed
    cdef int32_t[::1] attempt               # n, attempts started so far; the open one has this number
    cdef int32_t[::1] failures              # n, failures of its own so far
    cdef int32_t[::1] ooms                  # n, attempts that ran out of memory so far
    cdef int32_t[::1] losses                # n, attempts lost with their worker so far
    cdef int32_t[::1] worker                # n, of the last attempt; -1 = never started
    cdef int64_t[::1] start                 # n, ns, of the last attempt; -1 = never started
    cdef int64_t[::1] end                   # n, ns, of the last attempt; -1 = still open
    cdef int32_t[::1] cause                 # n, for SKIPPED the failed task at its root; else -1
    cdef int32_t[::1] last_fail             # n, newest entry of the log for this task; -1 = none
    cdef int64_t[::1] overtaken             # n, ns, when a less urgent task first passed it by; -1 = it did not
    cdef bint any_overtaken                 # whether that was ever noted
    cdef int32_t[::1] next_on               # n, the next open attempt on the same worker; -1 = none
    cdef int32_t[::1] before_on             # n, the one before it; -1 = it is the worker's first
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
    cdef readonly list notices              # (Notice, task or worker, now), in order

    # workers
    cdef Py_ssize_t stride                  # length of a row of `free`: whole blocks
    cdef int32_t[::1] capacity              # K rows of `stride` amounts
    cdef int32_t[::1] free                  # the same; -1 in every row for a worker that takes nothing, and in the padding
    cdef int64_t[::1] merit                 # W, how much the fit rule likes the worker: its score, less it, or less its index
    cdef int64_t[::1] block_merit           # stride / BLOCK, the largest merit in each block of workers
    cdef int64_t[::1] total                 # K, capacity over live workers
    cdef double[::1] inverse                # K, 1 / total: for a first guess at a quotient
    cdef bint total_stale                   # workers came or went: totals and merits are to be made anew
    cdef uint8_t[::1] live                  # W, whether the worker is there
    cdef uint8_t[::1] expected              # W, 1 = not there, but told to come: others wait for it
    cdef uint8_t[::1] draining              # W, 1 = there, but takes nothing more
    cdef uint8_t[::1] shown                 # W, 1 = its free amounts stand in `free`: it takes tasks
    cdef int32_t[::1] incarnation           # W, how often it has come, from 1; 0 = never yet
    cdef int32_t[::1] first_on              # W, an open attempt on it, the first of a list; -1 = none
    cdef uint8_t[::1] trust                 # W, Trust
    cdef int32_t[::1] strikes               # W, failures on it of what completed elsewhere, since it last completed anything
    cdef int32_t[::1] terms                 # W, quarantines so far
    cdef int64_t[::1] release               # W, ns, when its quarantine is over
    cdef int64_t next_release               # ns, the first of these; -1 = nobody is in quarantine
    cdef Py_ssize_t[::1] clean              # W, entries of the log before this one do not count against it
    cdef int64_t[::1] barred                # W, mark of the task that must not go there just now
    cdef int64_t[::1] seen                  # W, mark of the task whose failure there was seen
    cdef int64_t mark                       # the mark of the task that was asked about last
    cdef int32_t[::1] touched               # W, workers on which room was made since the last decision
    cdef int32_t n_touched                  # entries of `touched` in use
    cdef uint8_t[::1] is_touched            # W, whether the worker is in `touched`

    # the grid of workers (_grid.pxd), where they are many
    cdef bint gridded                       # whether there is one; without it, blocks are scanned
    cdef int row_resource                   # its rows are levels of this resource, its columns of the pivot
    cdef int top_row                        # no worker stands above this row
    cdef int top_column                     # nor beyond this column
    cdef int32_t[::1] cell_head             # CELLS, the top of the heap of the cell's workers; -1 = none
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
    cdef int32_t[::1] stale                 # S, whole blocks: not 0 = the candidate has to be asked for again
    cdef int32_t[::1] tree                  # the trees of all slots (_heap.pxd): amount - 1, so that the largest is not ABSENT
    cdef int64_t[::1] level                 # S * LEVELS, where the levels of the trees begin
    cdef int32_t[::1] depth                 # S, levels of the tree
    cdef int32_t[::1] task_at               # leaf -> task: task_at[first_leaf[s] + leaf]
    cdef int32_t[::1] position_at           # leaf -> its task's place in the order of urgency of the layer: priority, rank, index
    cdef int64_t[::1] first_leaf            # S + 1
    cdef Py_ssize_t slot_stride             # S rounded up to a whole block
    cdef int32_t[::1] need                  # slot_demand turned round: K rows of slot_stride amounts; nobody has the padding's
    cdef int32_t[::1] front                 # S, whole blocks: no worker with room for the slot has more pivot free
    cdef int32_t[::1] base                  # S, the same for all workers but the touched ones
    cdef int64_t[::1] cursor                # S, leaves below it were refused in this decision
    cdef uint8_t[::1] passed                # S, 1 = the cursor was moved
    cdef int32_t[::1] candidate             # S, first task under the front; -1 = none
    cdef int32_t[::1] candidate_position    # S, whole blocks: its position; NO_CANDIDATE = none
    cdef int32_t[::1] candidate_need        # S, whole blocks: what it needs of the pivot; 0 = nothing, or there is none; -1 in the padding

    # kernels: tasks
    cdef void _book_ready(self, int32_t task) noexcept nogil
    cdef void _leave_tree(self, int32_t task) noexcept nogil
    cdef void _book_start(self, int32_t task, int32_t worker) noexcept nogil
    cdef void _book_end(self, int32_t task) noexcept nogil
    cdef void _book_completed(self, int32_t task) noexcept nogil
    cdef void _release_dependent(self, int32_t task) noexcept nogil
    cdef bint _book_failed(self, int32_t task, uint8_t reason, bint charged) noexcept nogil
    cdef void _book_failed_for_good(self, int32_t task, uint8_t state, uint8_t reason) noexcept nogil
    cdef void _note_failed(self, int32_t task) noexcept nogil
    cdef void _skip_dependents(self, int32_t task, int32_t root) noexcept nogil
    cdef void _skip(self, int32_t task, int32_t root) noexcept nogil
    cdef void _log(self, int32_t task, uint8_t reason) noexcept nogil
    cdef void _delay(self, int32_t task) noexcept nogil
    cdef void _grow_memory(self, int32_t task) noexcept nogil
    cdef void _advance(self, int64_t now) noexcept nogil
    cdef void _notify(self, int notice, int32_t which) noexcept nogil
    # kernels: workers
    cdef void _take_room(self, int32_t task, int32_t worker, int32_t sign) noexcept nogil
    cdef void _touch(self, int32_t worker) noexcept nogil
    cdef void _show(self, int32_t worker) noexcept nogil
    cdef void _score_worker(self, int32_t worker) noexcept nogil
    cdef void _place_in_grid(self, int32_t worker, int64_t merit) noexcept nogil
    cdef void _renew_totals(self) noexcept nogil
    cdef bint _usable(self, int32_t worker) noexcept nogil
    cdef bint _could_hold(self, int32_t worker, int32_t task) noexcept nogil
    cdef bint _anyone_could_hold(self, int32_t task) noexcept nogil
    cdef void _clear_name(self, int32_t worker) noexcept nogil
    cdef void _credit(self, int32_t task) noexcept nogil
    cdef void _quarantine(self, int32_t worker) noexcept nogil
    cdef void _find_next_release(self) noexcept nogil
    cdef void _measure_most(self) noexcept nogil
    # doors' helpers
    cdef bint _is_open(self, int32_t task, int32_t attempt, int32_t incarnation) except -1
    cdef void _check_open(self, int64_t now) except *
    cdef void _check_worker(self, int32_t worker) except *
