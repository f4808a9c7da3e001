# The fields of what books facts, besides the tables (_tables.pxd), and what it does.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from ._tables cimport Tables


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
    DRAW_DURATION = 4


cdef class Facts(Tables):
    # policy, the same for the whole life
    cdef int32_t max_losses                 # lost workers that a task survives
    cdef int32_t max_ooms                   # out-of-memory failures that a task survives
    cdef int64_t oom_growth                 # thousandths of its memory that an attempt after one asks for
    cdef int memory                         # the resource that grows
    cdef int64_t backoff                    # ns, the first delay, doubled for each further one; 0 = none
    cdef int64_t backoff_cap                # ns, no delay is longer
    cdef int64_t jitter                     # thousandths of a delay that chance may take off it
    cdef uint64_t seed                      # of the jitter
    cdef int32_t quarantine_after           # failures of what completed elsewhere that it takes; 0 = it is never done
    cdef int64_t probation                  # ns, the first term of a quarantine; doubled for each further one
    cdef bint tell_stuck                    # whether it is noticed that a ready task has nobody to hold it

    # kernels: tasks
    cdef void _book_ready(self, int32_t task) noexcept nogil
    cdef void _leave_tree(self, int32_t task) noexcept nogil
    cdef void _book_start(self, int32_t task, int32_t worker) noexcept nogil
    cdef void _open(self, int32_t task, int32_t worker) noexcept nogil
    cdef void _book_end(self, int32_t task) noexcept nogil
    cdef void _book_promise(self, int32_t task, int32_t worker) noexcept nogil
    cdef int32_t _break_promise(self, int32_t task) noexcept nogil
    cdef void _book_completed(self, int32_t task) noexcept nogil
    cdef void _release_dependent(self, int32_t task) noexcept nogil
    cdef bint _book_failed(self, int32_t task, uint8_t reason, bint charged) noexcept nogil
    cdef void _book_failed_for_good(self, int32_t task, uint8_t state, uint8_t reason) noexcept nogil
    cdef void _note_failed(self, int32_t task) noexcept nogil
    cdef void _skip_dependents(self, int32_t task, int32_t root) noexcept nogil
    cdef void _skip(self, int32_t task, int32_t root) noexcept nogil
    cdef void _log(self, int32_t task, uint8_t reason) noexcept nogil
    cdef void _bar(self, int32_t task, int32_t at) noexcept nogil
    cdef void _delay(self, int32_t task) noexcept nogil
    cdef void _wake(self, int32_t task, int64_t at) noexcept nogil
    cdef void _grow_memory(self, int32_t task) noexcept nogil
    cdef void _advance(self, int64_t now) noexcept nogil
    cdef void _postpone_too_long(self) noexcept nogil
    cdef void _notify(self, int notice, int32_t which) noexcept nogil
    cdef void _rewind(self, const int64_t* duration, const int32_t* missing) noexcept nogil
    cdef void _set_live(self, const uint8_t* there) noexcept nogil
    # kernels: workers
    cdef void _take_room(self, int32_t task, int32_t worker, int32_t sign) noexcept nogil
    cdef void _show(self, int32_t worker) noexcept nogil
    cdef bint _usable(self, int32_t worker) noexcept nogil
    cdef bint _comes(self, int32_t worker) noexcept nogil
    cdef bint _could_hold(self, int32_t worker, int32_t task) noexcept nogil
    cdef bint _anyone_could_hold(self, int32_t task) noexcept nogil
    cdef void _clear_name(self, int32_t worker) noexcept nogil
    cdef void _credit(self, int32_t task) noexcept nogil
    cdef bint _others_usable(self, int32_t worker) noexcept nogil
    cdef void _forget_worker(self, int32_t worker) noexcept nogil
    cdef bint _is_idle(self, int32_t worker) noexcept nogil
    cdef void _leave_drained(self, int32_t worker) noexcept nogil
    cdef void _quarantine(self, int32_t worker) noexcept nogil
    cdef void _find_next_release(self) noexcept nogil
    cdef void _measure_most(self) noexcept nogil
    # doors' helpers
    cdef bint _is_open(self, int32_t task, int32_t attempt, int32_t incarnation) except -1
    cdef void _check_promised(self, int32_t task) except *
    cdef void _check_open(self, int64_t now) except *
