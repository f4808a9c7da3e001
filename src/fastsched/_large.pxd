# The fields of a search on a large graph, each with its meaning and unit.
#
# n tasks, W workers, K resources. Times are units, as those of `_search.pyx`. What is free on a worker over time are
# steps of `_profile.pxd`: its row of `step_time` and `step_free`.

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t


@cython.final
cdef class Large:
    # the problem
    cdef readonly int32_t n_tasks           # n
    cdef readonly int32_t n_workers         # W
    cdef int n_words                        # words of 64 bits for the amounts of a moment
    cdef bint depends                       # whether any task depends on another
    cdef const int32_t[::1] rank            # n, those first that others depend on
    cdef const int64_t[::1] duration        # n, units
    cdef const int32_t[::1] unseen          # tasks that leave no trace in steps: they take no time, or need nothing
    cdef const int64_t[::1] tail            # n, units: the longest chain of durations behind a task
    cdef const int64_t[::1] dep_ptr         # n + 1
    cdef const int32_t[::1] deps            # edges: deps[dep_ptr[t]:dep_ptr[t + 1]] come before t
    cdef const int64_t[::1] succ_ptr        # n + 1
    cdef const int32_t[::1] succ            # edges, the same turned round
    cdef const uint64_t[::1] need           # n * n_words, what each task needs, in lanes
    cdef const uint64_t[::1] all_free       # W * n_words, what each worker has, with the guards set
    cdef const uint64_t[::1] guard          # n_words, the guard bits
    cdef const double[::1] weight           # n, what a task needs, by worth: 1.0 is a mean worker's of what is shortest
    cdef double mean_weight                 # of all tasks
    cdef const int32_t[::1] lane_word       # K, the word in which the resource stands
    cdef const int32_t[::1] lane_shift      # K, the lowest bit of its lane
    cdef const uint64_t[::1] lane_mask      # K, the bits of its lane, moved down
    cdef const double[::1] lane_worth       # K, what one of an amount is worth: the more, the shorter it is

    # the schedule as it stands
    cdef int64_t[::1] start                 # n, units
    cdef int32_t[::1] worker                # n
    cdef int32_t[::1] first                 # W, a task on the worker; -1 = none
    cdef int32_t[::1] next                  # n, another task on the same worker; -1 = none
    cdef int32_t[::1] previous              # n, the same turned round
    cdef int64_t[::1] step_time             # W * room, units
    cdef uint64_t[::1] step_free            # W * room * n_words
    cdef int32_t[::1] n_steps               # W, steps in use
    cdef Py_ssize_t room                    # steps that there is room for on each worker; grows

    # a move: what is taken out, and how it was before
    cdef int32_t[::1] crew                  # workers that take part
    cdef int32_t n_crew                     # of them
    cdef int32_t[::1] taken                 # tasks that are placed anew, in the order in which that is tried
    cdef int32_t n_taken                    # of them
    cdef int32_t most                       # of them, at most
    cdef int32_t[::1] placed                # of these, in the order in which they were placed
    cdef int32_t n_placed_now               # of them
    cdef int32_t[::1] stack                 # tasks that wait for those before them
    cdef uint8_t[::1] out                   # n, 1 = taken out and not placed yet
    cdef double[::1] key                    # n, of what is taken: the smaller one first
    cdef int64_t[::1] old_start             # n, of what is taken
    cdef int32_t[::1] old_worker            # n, of what is taken
    cdef int64_t[::1] old_time              # CREW * room, the steps of the crew
    cdef uint64_t[::1] old_free             # CREW * room * n_words
    cdef int32_t[::1] old_n_steps           # CREW
    cdef int64_t sweep                      # units, where the next window is, where tasks depend on each other
    cdef double greed                       # units, how much later a start may be where nothing of a mean worker is left over
    cdef uint64_t chance                    # state of the draws

    # how far it has come
    cdef readonly int64_t bound             # units, no schedule is shorter
    cdef readonly int64_t n_schedules       # n tasks placed are one, what is begun counts
    cdef int64_t n_placed                   # tasks so far
    cdef int64_t limit                      # place no more than so many
    cdef int64_t target                     # units, the makespan that is sought
    cdef readonly bint stopped              # somebody wants it to end
    cdef readonly int64_t best              # units, the shortest makespan so far
    cdef int64_t[::1] best_start            # n, units
    cdef int32_t[::1] best_worker           # n

    cdef bint _over(self) noexcept nogil
    cdef double _even(self) noexcept nogil
    cdef bint _load(self, const int32_t[::1] order, const int32_t[::1] where) noexcept nogil
    cdef void _go_on(self) noexcept nogil
    cdef void _move(self) noexcept nogil
    cdef int64_t _choose_crew(self) noexcept nogil
    cdef void _take_out(self, int64_t begin, int64_t end) noexcept nogil
    cdef void _lift(self) noexcept nogil
    cdef void _give_keys(self, int64_t width) noexcept nogil
    cdef void _sort(self) noexcept nogil
    cdef double _place_all(self, double most) noexcept nogil
    cdef bint _place(self, int32_t task) noexcept nogil
    cdef void _put(self, int32_t task, int32_t worker, int64_t start, int32_t at) noexcept nogil
    cdef void _link(self, int32_t task, int32_t worker) noexcept nogil
    cdef void _unlink(self, int32_t task) noexcept nogil
    cdef void _take_back(self) noexcept nogil
    cdef void _look(self) noexcept nogil
    cdef void _keep_best(self, int64_t length) noexcept nogil
    cdef int64_t _end_of(self, int32_t worker) noexcept nogil
    cdef int64_t _earliest(self, int32_t task) noexcept nogil
    cdef int64_t _latest_end(self, int32_t task) noexcept nogil
    cdef double _lateness(self, int32_t task) noexcept nogil
    cdef double _left_over(self, int32_t worker, int32_t at) noexcept nogil
