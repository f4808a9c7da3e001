# The fields of a search, each with its meaning and unit.
#
# n tasks, W workers, K resources, P members of each population. Times are units: the largest whole number of
# nanoseconds that divides all durations. A direction is 0 for time as it goes, 1 for time that is turned round. Ticks
# are times shifted down until a makespan has few of them: good enough to put tasks in order.

cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t


@cython.final
cdef class Search:
    # the problem
    cdef readonly int32_t n_tasks           # n
    cdef readonly int32_t n_workers         # W
    cdef int n_words                        # words of 64 bits for the amounts of a moment
    cdef bint gridded                       # one worker, and few units: a grid, else steps
    cdef const int64_t[::1] duration        # n, units
    cdef const int64_t[:, ::1] before_ptr   # (2, n + 1): who comes before a task in each direction is
    cdef const int32_t[:, ::1] before       # (2, edges): before[d, before_ptr[d, t]:before_ptr[d, t + 1]]
    cdef const uint64_t[::1] need           # n * n_words, what each task needs, in lanes
    cdef const uint64_t[::1] all_free       # W * n_words, what each worker has, with the guards set
    cdef const uint64_t[::1] guard          # n_words, the guard bits
    cdef const int32_t[::1] weight          # n, how much a task needs of everything: parts of 1024 of a mean worker's
    cdef const int64_t[::1] work            # n, weight times duration: parts of 4096 of the largest
    cdef const int32_t[::1] tie             # n, among equal ends: who needs more comes first
    cdef const int32_t[::1] lane_word       # K, the word in which the resource stands
    cdef const int32_t[::1] lane_shift      # K, the lowest bit of its lane
    cdef const uint64_t[::1] lane_mask      # K, the bits of its lane, moved down
    cdef const double[::1] lane_worth       # K, what one of an amount is worth: 1 / mean of the workers
    cdef const int64_t[:, ::1] tail         # (2, n) units, the longest chain behind a task in each direction
    cdef const int32_t[:, ::1] latest       # (2, n) ticks, when a task would have to end for the critical path to hold
    cdef int shift                          # a tick is 2**shift units
    cdef int32_t window_least               # parts of 1024 of the makespan: how wide a window is
    cdef int32_t window_most
    cdef int32_t kept_anyway                # parts of 1024 of the children that are not better
    cdef int32_t noise                      # parts of 1024 of the critical path: in the orders of the first population

    # what runs already: it starts at 0 on its worker, and nothing is before it
    cdef const int32_t[::1] fixed           # n, the worker on which it runs; -1: it does not run
    cdef const int32_t[::1] running         # m, those tasks, the one that ends last first
    cdef uint64_t[::1] held                 # W * n_words, what those that were placed on it hold together

    # profiles, one at a time
    cdef uint64_t[::1] grid                 # moments * n_words
    cdef int64_t filled                     # moments of the grid that were touched
    cdef int64_t[::1] step_time             # W * room, units
    cdef uint64_t[::1] step_free            # W * room * n_words
    cdef int32_t[::1] n_steps               # W, steps in use
    cdef Py_ssize_t room                    # steps that there is room for on each worker; grows

    # the schedule that was generated last, in the time of its direction
    cdef int64_t[::1] start                 # n, units
    cdef int32_t[::1] worker                # n
    cdef int32_t[::1] key                   # n, the smaller one first
    cdef int32_t[::1] order                 # n, the tasks by their keys
    cdef int32_t[::1] scratch               # n, of the sort
    cdef int32_t[::1] stack                 # n, tasks that wait for those before them
    cdef int64_t[::1] end                   # n, units; NEVER = not placed yet
    cdef int64_t[::1] seen                  # n, of each on the stack, up to where those before it are placed
    cdef int64_t[::1] earliest              # n, units, of each on the stack: when these have all ended

    # the populations, one for each direction
    cdef readonly int32_t size              # P
    cdef int32_t[:, :, ::1] begin           # (2, P, n) ticks
    cdef int32_t[:, :, ::1] finish          # (2, P, n) ticks
    cdef int64_t[:, ::1] length             # (2, P) units, the makespan; INT64_MAX = nobody is there
    cdef int64_t[:, ::1] lateness           # (2, P) the ends of all work: among equal makespans the smaller one
    cdef int32_t[::1] profile               # ticks, how much more one parent does at a time than the other
    cdef uint64_t[::1] known                # hashes of orders that were tried
    cdef uint64_t chance                    # state of the draws
    cdef int32_t at                         # whose turn it is
    cdef int direction                      # of the parents
    cdef int32_t n_made                     # members that were made for the first population
    cdef int64_t shortest                   # units, the shortest child since the populations were made
    cdef int64_t n_idle                     # children since that one
    cdef int32_t n_eras                     # how often the populations were made anew

    # how far it has come
    cdef readonly int64_t bound             # units, no schedule is shorter
    cdef int64_t n_placed                   # tasks so far, of all schedules
    cdef readonly int64_t n_schedules       # generated so far: n tasks that were placed are one
    cdef int64_t limit                      # place no more tasks than so many
    cdef readonly bint stopped              # somebody wants it to end
    cdef readonly int64_t best              # units, the shortest makespan so far
    cdef int64_t[::1] best_start            # n, units
    cdef int32_t[::1] best_worker           # n

    cdef bint _over(self, int more) noexcept nogil
    cdef int32_t _below(self, int32_t most) noexcept nogil
    cdef bint _happens(self, int32_t parts) noexcept nogil
    cdef void _sort(self) noexcept nogil
    cdef bint _is_known(self, int direction) noexcept nogil
    cdef int64_t _generate(self, int direction, int64_t most) noexcept nogil
    cdef void _count(self) noexcept nogil
    cdef int64_t _place_whole(self, int direction, int32_t task) noexcept nogil
    cdef int64_t _fix(self) noexcept nogil
    cdef int64_t _fix_at_end(self, int64_t length) noexcept nogil
    cdef void _place(self, int32_t task, int64_t earliest) noexcept nogil
    cdef void _take(self, int32_t task, int32_t worker, int64_t start, int32_t at) noexcept nogil
    cdef double _left_over(self, int32_t worker, int32_t at, int32_t task) noexcept nogil
    cdef void _keep_best(self, int direction, int64_t length) noexcept nogil
    cdef void _keep(self, int direction, int32_t member, int64_t length, int64_t lateness) noexcept nogil
    cdef int64_t _sum_ends(self) noexcept nogil
    cdef bint _better(self, int64_t length, int64_t lateness, int direction, int32_t member) noexcept nogil
    cdef void _turn_round(self, int64_t length) noexcept nogil
    cdef void _make_member(self) noexcept nogil
    cdef void _justify(self, int32_t member, int direction) noexcept nogil
    cdef void _begin_anew(self) noexcept nogil
    cdef void _make_child(self) noexcept nogil
    cdef bint _has_twin(self, int direction, int64_t length, int64_t lateness) noexcept nogil
    cdef int32_t _choose_parent(self) noexcept nogil
    cdef void _cross(self, int32_t base) noexcept nogil
    cdef int32_t _ticks_of(self, int32_t member) noexcept nogil
    cdef int32_t _width(self, int32_t member, int32_t parts) noexcept nogil
    cdef int64_t _choose_window(self, int32_t donor, int32_t base, int32_t width, int32_t* window) noexcept nogil
    cdef void _stir(self) noexcept nogil
    cdef void _break_ties(self) noexcept nogil
    cdef void _move(self, int32_t task, int32_t span) noexcept nogil
    cdef void _go_on(self) noexcept nogil
