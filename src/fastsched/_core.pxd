# The fields of the state machine, each with its meaning and unit.
#
# n tasks, W workers, K resources, C demand classes. Amounts are whole numbers below 2**31
# (milli-cores, MB, pieces), times are nanoseconds. `task` and `worker` are dense indices.

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t


cdef enum TaskState:
    WAITING = 0             # some dependency has not completed
    READY = 1               # may start as soon as a worker has room
    RUNNING = 2
    COMPLETED = 3
    FAILED = 5              # for good
    SKIPPED = 6             # a dependency failed for good
    CANCELLED = 7


@cython.final
cdef class Core:
    # sizes
    cdef readonly int32_t n_tasks           # n, tasks
    cdef readonly int32_t n_workers         # W, workers, live or not
    cdef readonly int n_resources           # K, resources
    cdef readonly int32_t n_left            # tasks in no terminal state
    cdef readonly int32_t n_running         # open attempts
    cdef readonly int64_t now               # ns; never goes back
    cdef int n_classes                      # C; class number C, once made, is the picky one
    cdef Py_ssize_t stride                  # W rounded up to a whole block: length of a row of `free`
    cdef int pivot                          # the resource in the trees; classes differ in the others
    cdef int rule                           # FitRule
    cdef int32_t max_losses                 # lost workers that a task survives
    cdef bint virtual                       # simulate() is playing: starts enter the event heap

    # tasks, as given
    cdef const int64_t[::1] succ_ptr        # n + 1: successors of t are succ[succ_ptr[t]:succ_ptr[t+1]]
    cdef const int32_t[::1] succ            # tasks
    cdef int32_t[::1] demand                # n * K amounts, a row a task
    cdef const int64_t[::1] duration        # n, ns in virtual time
    cdef int32_t[::1] max_retries           # n, failures of its own that a task survives
    cdef int32_t[::1] position              # n, place in the order of urgency: priority, rank, index
    cdef const int32_t[::1] class_of        # n, demand class
    cdef int32_t[::1] leaf_of               # n, leaf in the tree of its class

    # tasks, as they stand
    cdef uint8_t[::1] state                 # n, TaskState
    cdef uint8_t[::1] reason                # n, code of why it failed for good; 0 = it did not
    cdef uint8_t[::1] picky                 # n, 1 = READY in the picky class (some worker is barred)
    cdef uint8_t[::1] doomed                # n, 1 = the running simulated attempt will fail
    cdef int32_t[::1] missing               # n, dependency edges not yet completed
    cdef int32_t[::1] attempt               # n, attempts started so far; the open one has this number
    cdef int32_t[::1] failures              # n, failures of its own so far
    cdef int32_t[::1] losses                # n, attempts lost with their worker so far
    cdef int32_t[::1] worker                # n, of the last attempt; -1 = never started
    cdef int64_t[::1] start                 # n, ns, of the last attempt; -1 = never started
    cdef int64_t[::1] end                   # n, ns, of the last attempt; -1 = still open
    cdef int32_t[::1] cause                 # n, for SKIPPED the failed task at its root; else -1
    cdef int32_t[::1] failed_tasks          # n, tasks that failed for good, were skipped or cancelled, in that order
    cdef readonly int32_t n_failed          # entries of failed_tasks in use
    cdef int32_t[::1] last_fail             # n, newest entry of the log for this task; -1 = none

    # log of the attempts that did not complete, in the order of their end
    cdef Py_ssize_t n_log                   # entries in use
    cdef int32_t[::1] log_task              # task
    cdef int32_t[::1] log_worker            # on which it ran
    cdef int32_t[::1] log_attempt           # its number, from 1
    cdef int64_t[::1] log_start             # ns, when it started
    cdef int64_t[::1] log_end               # ns, when it ended
    cdef uint8_t[::1] log_reason            # code of why it failed
    cdef int32_t[::1] log_prev              # the entry before this one of the same task; -1 = none

    # workers
    cdef int32_t[::1] capacity              # K rows of `stride` amounts
    cdef int32_t[::1] free                  # the same; -1 for a worker that is not live, and in the padding
    cdef int64_t[::1] merit                 # stride, how much the fit rule likes the worker: its score, less it, or 0
    cdef int64_t[::1] block_merit           # stride / BLOCK, the largest merit in each block of workers
    cdef int64_t[::1] total                 # K, capacity over live workers
    cdef uint8_t[::1] live                  # W, whether the worker is there
    cdef uint8_t[::1] expected              # W, 1 = not there, but told to come: others wait for it
    cdef int32_t[::1] barred                # stride, mark of the task that must not go there just now
    cdef int32_t mark                       # the mark of the task that was asked about last
    cdef int32_t[::1] touched               # W, workers on which room was made since the last decision
    cdef int32_t n_touched                  # entries of `touched` in use
    cdef uint8_t[::1] is_touched            # W, whether the worker is in `touched`

    # demand classes: tasks that are alike in all resources but the pivot, in order of urgency
    cdef int32_t[::1] class_demand          # (C + 1) * K, least amounts in the class; pivot's entry is 0
    cdef uint8_t[::1] exact                 # C + 1, every member has just these amounts and no bar
    cdef int32_t[::1] front                 # C + 1, no worker with room for the class has more pivot free
    cdef int32_t[::1] base                  # C + 1, the same for all workers but the touched ones
    cdef int64_t[::1] cursor                # C + 1, leaves below it were refused in this decision
    cdef int32_t[::1] candidate             # C + 1, first task under the front; -1 = none
    cdef int32_t[::1] candidate_position    # C + 1, its position; NOBODY = none
    cdef uint8_t[::1] stale                 # C + 1, the candidate has to be asked for again
    cdef int32_t[::1] tree                  # the trees of all classes (_heap.pxd): amount - 1, so that the largest is not ABSENT
    cdef int64_t[::1] level                 # (C + 1) * LEVELS, where the levels of the trees begin
    cdef int32_t[::1] depth                 # C + 1, levels of the tree
    cdef int32_t[::1] task_at               # leaf -> task: task_at[first_leaf[c] + leaf]
    cdef int64_t[::1] first_leaf            # C + 1

    # choices and virtual time
    cdef int32_t[::1] started               # n, tasks started by the last decision
    cdef int32_t n_started                  # entries of `started` in use
    cdef int32_t[::1] stack                 # n, scratch of the failure propagation
    cdef int64_t[::1] event_time            # n, heap of the ends of simulated attempts
    cdef int32_t[::1] event_task            # n, whose attempt ends then
    cdef Py_ssize_t n_events                # entries of the heap in use

    # kernels
    cdef void _book_ready(self, int32_t task) noexcept nogil
    cdef void _book_start(self, int32_t task, int32_t worker) noexcept nogil
    cdef void _book_end(self, int32_t task) noexcept nogil
    cdef void _book_completed(self, int32_t task) noexcept nogil
    cdef bint _book_failed(self, int32_t task, uint8_t reason) noexcept nogil
    cdef void _book_failed_for_good(self, int32_t task, uint8_t state, uint8_t reason) noexcept nogil
    cdef void _take_room(self, int32_t task, int32_t worker, int32_t sign) noexcept nogil
    cdef void _leave_tree(self, int32_t task) noexcept nogil
    cdef bint _bar_failed_workers(self, int32_t task) noexcept nogil
    cdef int32_t _fit_touched(self, Py_ssize_t row, int32_t mark) noexcept nogil
    cdef void _raise_fronts(self) noexcept nogil
    cdef void _lower_fronts(self) noexcept nogil
    cdef int32_t _room_for_class(self, int c, int32_t worker) noexcept nogil
    cdef void _find_candidate(self, int c) noexcept nogil
    cdef void _refuse(self, int c, int32_t task) noexcept nogil
    cdef void _decide(self) noexcept nogil
    cdef void _absorb_next_instant(self) noexcept nogil
    cdef void _score_worker(self, int32_t worker) noexcept nogil
    cdef bint _play(self, int instants) noexcept nogil
    cdef void _note_failed(self, int32_t task) noexcept nogil
    cdef void _skip_dependents(self, int32_t root) noexcept nogil
    cdef void _log(self, int32_t task, uint8_t reason) noexcept nogil
    cdef bint _is_open(self, int32_t task, int32_t attempt) except -1
    cdef void _check_open(self, int64_t now) except *
