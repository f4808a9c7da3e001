# The fields of what chooses, besides those of what is booked (_facts.pxd).

cimport cython
from libc.stdint cimport int32_t, int64_t

from ._facts cimport Facts


@cython.final
cdef class Core(Facts):
    cdef int64_t reserve_after              # ns, who is passed by for so long is given a reservation; -1 = never
    cdef int32_t[::1] extra                 # K, what will be left beside it then; a task that needs no more may pass
    cdef readonly bint reservation_changed  # whether the last decision made, moved or dropped a reservation
    cdef readonly int32_t overtaken_task    # whom the last decision was the first to pass by; -1 = nobody
    cdef int32_t[::1] started_tasks         # tasks started by the last decision; grows
    cdef readonly int32_t n_started         # entries of it in use
    cdef int32_t[::1] rooms                 # FEW * slot_stride, what each of the few touched workers offers each slot
    cdef bint free_choice                   # whether the task that was asked about last may use every worker
    cdef int32_t few_touched                # so many touched workers are cheaper to look at than all

    cdef void _decide(self) noexcept nogil
    cdef int _most_urgent(self) noexcept nogil
    cdef bint _before(self, int32_t a, int32_t b) noexcept nogil
    cdef int32_t _choose_worker(self, int32_t task, bint near) noexcept nogil
    cdef int32_t _fit_touched(self, const int32_t* demand, int64_t mark) noexcept nogil
    cdef int32_t _match_touched(self, const int32_t* demand, int64_t mark) noexcept nogil
    cdef void _note_started(self, int32_t task) noexcept nogil
    cdef int32_t _next_in_place_of(self, int32_t like, int32_t worker) noexcept nogil
    cdef bint _fits_in_place(self, int32_t task, const int32_t* given, int32_t worker) noexcept nogil
    cdef int32_t _room_in_place(self, int r, const int32_t* given, int32_t worker) noexcept nogil
    cdef void _raise_fronts(self) noexcept nogil
    cdef void _lower_fronts(self, int32_t worker) noexcept nogil
    cdef inline void _room_for_slots(self, int32_t worker, Py_ssize_t s0, int32_t* room) noexcept nogil
    cdef void _find_candidates(self, int b) noexcept nogil
    cdef void _find_candidate(self, int s) noexcept nogil
    cdef void _refuse(self, int s, int32_t task, bint near) noexcept nogil
    cdef void _measure_near(self, int s) noexcept nogil
    cdef int _bar_failed_workers(self, int32_t task) noexcept nogil
    cdef int32_t _least_recently_failed(self, int32_t task, int64_t mark) noexcept nogil
    cdef bint _may_use(self, int32_t worker, int32_t task) noexcept nogil
    cdef void _renew_reservation(self) noexcept nogil
    cdef int32_t _find_head(self) noexcept nogil
    cdef int64_t _earliest_start(self, int32_t task, int32_t worker) noexcept nogil
    cdef bint _may_pass(self, int32_t task) noexcept nogil
    cdef void _note_overtaken(self) noexcept nogil
