# cython: language_level=3
"""A search for a short plan, in numbers: it knows no name, reads no clock and draws from its own seed alone.

Theory of operation. A schedule is *generated* from an order of the tasks: one after the other, each is
placed where it can start earliest (serial schedule generation; Kelley 1963, Kolisch 1996), with those
before it placed first wherever the order has them behind. Generated from the tasks by their ends, the last first,
on time that is turned round, a schedule is justified: it is not longer, and often shorter (Valls,
Ballestin and Quintanilla 2005). So there are two populations, of schedules that were generated in either
direction, and children of the one live in the other (Debels and Vanhoucke 2005): every generation is
justified for nothing.

A child has the order of one parent, the base, but for a window of time in which it has that of the
other, the donor: of some donors that are drawn, the one that does most more than the base within some window of a
drawn width, and that window (after the peak crossovers of Valls, Ballestin and Quintanilla 2008 and Debels and
Vanhoucke 2007, which look at the donor alone). The base is mostly the member whose turn it is, and the child takes
its place in the other population: if it is better (among equal makespans, if work ends earlier), and now and
then anyway, so that lines stay apart. Where nothing shorter has come up for long, all are made anew.

What runs already is *fixed*: forwards it is placed first, from 0 on where it runs; backwards last, when all else is
placed, as early as it can end together: before that nobody knows when time begins.

A child that would not be kept is given up as soon as what is placed and the chain behind it take longer than the member
whose place it would take.

Whoever calls says how many schedules may be generated, and n tasks that were placed are one; what is generated then
depends on nothing else.
"""

cimport cython
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

import numpy as np

from ._chance cimport below, draw_next, first_state
from ._profile cimport enough, grid_place, steps_find, steps_take
from .lanes import Lanes, wider

GRID_UNITS = 8192               # a horizon of more units has steps
SHARE = 0.55                    # the power of the tasks with which shares of the makespan shrink, as was measured

cdef int64_t NEVER = INT64_MAX  # the end of a task that is not placed
cdef int64_t MOST_PLACED = <int64_t>1 << 62

cdef enum:
    TICK_BITS = 13              # of the ticks of the least that a makespan may be
    MOST_TICK_BITS = 24         # of all durations one after the other: keys are some 50 times as far apart
    LOOKED_AT = 1 << 16         # ticks in which a window is chosen
    KNOWN_BITS = 16             # of the table of orders that were tried
    TUNED_FOR = 120             # tasks: what says so is measured with so many
    WINDOW_LEAST = 61           # parts of 1024 of the makespan: how wide a window is, with so many tasks
    WINDOW_MOST = 266
    ANYWHERE = 102              # parts of 1024: a window is drawn, not chosen
    DONORS = 4                  # that are drawn, for the best of them
    OTHER_BASE = 72             # parts of 1024: the base is another than the member whose turn it is
    KEPT_ANYWAY = 240           # parts of 1024 of the children that are not better, with so many tasks
    KEPT_MOST = 256
    MUTATED = 600               # parts of 1024 of the children: a task is moved in it, by
    MUTATION = 51               # parts of 1024 of the makespan at most
    STIRRED = 102               # parts of 1024 of the children: the tasks in some window are put in another order
    STIR_LEAST = 102            # parts of 1024 of the makespan: how wide that is
    STIR_MOST = 307
    SHAKEN = 50                 # parts of 1024 of the tasks are moved in a child that was tried before
    MEMBER = 3                  # schedules that making one takes at most
    ADDED = 2                   # that adding one takes
    NOISE = 150                 # parts of 1024 of the critical path: in the orders of the first population, with so many
    TIE_BITS = 4                # among equal ends, who needs more comes first, in so many bits
    TIES = 16
    WORKS = 1 << 12             # how often the largest work counts
    PATIENCE = 1                # children without a shorter one, for each member and task, until all are made anew


cdef class Search:
    """See the .pyi."""

    def __init__(self, *, order, succ_ptr, succ, dep_ptr, deps, duration, demand, capacity, size, seed, bound=0,
                 fixed=None):
        n, n_workers = len(duration), len(capacity)
        if size < 2:
            raise ValueError("a population has at least two members")
        self.n_tasks, self.n_workers, self.size, self.bound = n, n_workers, size, bound
        # Of more tasks a smaller share is in a window, and yet more tasks are.
        share = (TUNED_FOR / max(n, 1)) ** SHARE
        self.window_least, self.window_most = min(int(WINDOW_LEAST * share), 512), min(int(WINDOW_MOST * share), 1024)
        self.noise = min(int(NOISE * share), 1024)
        self.kept_anyway = min(int(KEPT_ANYWAY * share**0.5), KEPT_MOST)
        self.duration = np.ascontiguousarray(duration, dtype=np.int64)
        self.before_ptr = np.stack([dep_ptr, succ_ptr]).astype(np.int64)
        self.before = np.stack([deps, succ]).astype(np.int32)
        demand, capacity = np.asarray(demand, dtype=np.int64), np.asarray(capacity, dtype=np.int64)
        lanes = Lanes(demand, capacity)
        self.n_words, self.guard, self.need, self.all_free = lanes.n_words, lanes.guard, lanes.need, lanes.free
        self.lane_word, self.lane_shift, self.lane_mask = lanes.word, lanes.shift, lanes.mask
        self._weigh(demand, capacity)
        horizon = int(self.duration.base.sum()) + 1 if n else 1
        self._look_ahead(order, horizon)
        self.fixed = np.full(n, -1, dtype=np.int32) if fixed is None else np.ascontiguousarray(fixed, dtype=np.int32)
        running = np.nonzero(self.fixed.base >= 0)[0]
        held = np.zeros(np.shape(capacity), dtype=np.int64)
        np.add.at(held, self.fixed.base[running], demand[running])
        if (held > capacity).any():
            raise ValueError("what runs already is more than some worker holds")
        self.running = running[np.argsort(-self.duration.base[running], kind="stable")].astype(np.int32)
        self.held = np.zeros(n_workers * self.n_words, dtype=np.uint64)
        self.gridded = n_workers == 1 and horizon <= GRID_UNITS and not len(running)
        self.room = 1 if self.gridded else min(2 * n, 4 * n // max(n_workers, 1) + 64) + 3
        self.grid = np.empty((horizon + 1) * self.n_words if self.gridded else 1, dtype=np.uint64)
        self.step_time = np.empty(n_workers * self.room, dtype=np.int64)
        self.step_free = np.empty(n_workers * self.room * self.n_words, dtype=np.uint64)
        self.n_steps = np.empty(n_workers, dtype=np.int32)
        self.start, self.worker = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int32)
        self.key, self.order = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int32)
        self.scratch, self.stack = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int32)
        self.end = np.zeros(n, dtype=np.int64)
        self.seen, self.earliest = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self.begin, self.finish = np.zeros((2, size, n), dtype=np.int32), np.zeros((2, size, n), dtype=np.int32)
        self.length = np.full((2, size), INT64_MAX, dtype=np.int64)
        self.lateness = np.full((2, size), INT64_MAX, dtype=np.int64)
        self.profile = np.zeros(min(horizon >> self.shift, LOOKED_AT) + 2, dtype=np.int32)
        self.known = np.zeros(1 << KNOWN_BITS, dtype=np.uint64)
        self.chance = first_state(seed)
        self.best = self.shortest = INT64_MAX
        self.best_start, self.best_worker = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int32)

    def _weigh(self, demand, capacity):
        """What resources are worth, and how much tasks need of everything."""
        mean = np.maximum(capacity.mean(axis=0), 1) if len(capacity) else np.ones(demand.shape[1])
        self.lane_worth = 1 / mean
        share = (demand / mean).sum(axis=1)         # of a mean worker, of everything together
        self.weight = np.minimum(np.ceil(share * 1024), 1 << 20).astype(np.int32)
        self.tie = (TIES - 1 - np.minimum(share * TIES / (len(mean) + 1), TIES - 1)).astype(np.int32)
        work = share * np.asarray(self.duration)
        self.work = (work * (WORKS / (work.max(initial=0) or 1))).astype(np.int64) + 1

    def _look_ahead(self, const int32_t[::1] order, int64_t horizon):
        """When each task would have to end in either direction, in ticks, for the critical path to be the makespan."""
        cdef Py_ssize_t i
        cdef int64_t k, longest = 0
        cdef int32_t task
        cdef int direction
        chain_array = np.zeros((2, self.n_tasks), dtype=np.int64)
        cdef int64_t[:, ::1] chain = chain_array    # the longest chain before each task in a direction, itself apart
        with nogil:
            for direction in range(2):
                for i in range(self.n_tasks):
                    task = order[i if direction == 0 else self.n_tasks - 1 - i]
                    for k in range(self.before_ptr[direction, task], self.before_ptr[direction, task + 1]):
                        chain[direction, task] = max(
                            chain[direction, task],
                            chain[direction, self.before[direction, k]] + self.duration[self.before[direction, k]],
                        )
                    longest = max(longest, chain[direction, task] + self.duration[task])
        least = max(horizon // max(self.n_workers, 1), longest)
        self.shift = max(0, int(least).bit_length() - TICK_BITS, int(horizon).bit_length() - MOST_TICK_BITS)
        self.tail = np.ascontiguousarray(chain_array[::-1])
        self.latest = ((longest - self.tail.base) >> self.shift).astype(np.int32)

    # ------------------------------------------------------------ doors

    def add(self, start, n_schedules):
        """Put a schedule that is known into the first population. See the .pyi."""
        cdef int64_t length = 0
        cdef int32_t i
        self._allow(n_schedules)
        if self.n_made == self.size or not self.n_tasks or self._over(ADDED):
            return
        self.start.base[:] = start
        for i in range(self.n_tasks):
            length = max(length, self.start[i] + self.duration[i])
        with nogil:
            self._turn_round(length)
            self._justify(self.n_made, 1)
        self.n_made += 1

    def advance(self, n_schedules):
        """Generate schedules, so many in all since the beginning, or until the bound is met. See the .pyi."""
        self._allow(n_schedules)
        if self.n_tasks:
            with nogil:
                self._go_on()
        return self.best > self.bound

    def _allow(self, n_schedules):
        """As many tasks to be placed as so many schedules have."""
        self.limit = min(n_schedules, MOST_PLACED // max(self.n_tasks, 1)) * self.n_tasks

    def stop(self):
        """Have whoever generates schedules, in another thread, return soon. See the .pyi."""
        self.stopped = True

    def schedule(self):
        """The best so far: when each task starts and on which worker. See the .pyi."""
        return np.array(self.best_start), np.array(self.best_worker)

    # ------------------------------------------------------------ chance

    cdef int32_t _below(self, int32_t most) noexcept nogil:
        return below(&self.chance, most)

    cdef bint _happens(self, int32_t parts) noexcept nogil:
        # In: how likely it is, in parts of 1024.
        return <int32_t>(draw_next(&self.chance) >> 54) < parts

    # ------------------------------------------------------------ a schedule

    cdef void _sort(self) noexcept nogil:
        # In: keys. Out: the tasks by their keys, then by index, by radix; keys that are far apart are looked at roughly.
        cdef int32_t i, at, low = self.key[0], high = self.key[0], total
        cdef int32_t count[256]
        cdef int digit, rough = 0, turn
        for i in range(self.n_tasks):
            low = min(low, self.key[i])
            high = max(high, self.key[i])
        while (high - low) >> rough >= 1 << 16:
            rough += 1
        for turn in range(2):
            memset(count, 0, sizeof(count))
            for i in range(self.n_tasks):
                count[((self.key[i] - low) >> rough >> 8 * turn) & 255] += 1
            total = 0
            for digit in range(256):
                at = count[digit]
                count[digit] = total
                total += at
            for i in range(self.n_tasks):
                at = i if turn == 0 else self.scratch[i]
                digit = ((self.key[at] - low) >> rough >> 8 * turn) & 255
                if turn == 0:
                    self.scratch[count[digit]] = at
                else:
                    self.order[count[digit]] = at
                count[digit] += 1

    cdef bint _is_known(self, int direction) noexcept nogil:
        # Out: whether this order was tried in this direction before, as far as is remembered.
        cdef uint64_t hash = direction + 1
        cdef int32_t i
        for i in range(self.n_tasks):
            if self.weight[self.order[i]] == 0:
                continue                    # who needs nothing is hardly in anybody's way
            hash = (hash ^ <uint64_t>self.order[i]) * <uint64_t>0x9E3779B97F4A7C15
            hash ^= hash >> 29
        if self.known[hash >> (64 - KNOWN_BITS)] == hash:
            return True
        self.known[hash >> (64 - KNOWN_BITS)] = hash
        return False

    cdef int64_t _generate(self, int direction, int64_t most) noexcept nogil:
        # In: an order; the longest makespan that is of use. Out: the makespan, INT64_MAX if it would be longer or if the
        # search was stopped; `start` and `worker` in the time of the direction.
        cdef int32_t i, w
        cdef int64_t length = 0
        self.filled = 0
        if self.gridded:
            memcpy(&self.grid[0], &self.all_free[0], self.n_words * sizeof(uint64_t))
        else:
            for w in range(self.n_workers):
                self.n_steps[w] = 1
                self.step_time[w * self.room] = 0
                memcpy(
                    &self.step_free[w * self.room * self.n_words], &self.all_free[w * self.n_words],
                    self.n_words * sizeof(uint64_t),
                )
        for i in range(self.n_tasks):
            self.end[i] = NEVER
        if self.running.shape[0]:
            for i in range(self.running.shape[0]):
                self.end[self.running[i]] = 0       # turned round, where nothing is behind it
            if direction == 0:
                length = self._fix()
        for i in range(self.n_tasks):
            if self.end[self.order[i]] == NEVER:
                length = max(length, self._place_whole(direction, self.order[i]))
                if length > most or self.stopped:
                    self._count()
                    return INT64_MAX        # of a schedule that is not whole
        self.n_placed += self.running.shape[0]
        self._count()
        if direction == 1 and self.running.shape[0]:
            length = self._fix_at_end(length)
        if length < self.best:
            self._keep_best(direction, length)
        return length

    cdef void _count(self) noexcept nogil:
        self.n_schedules = (self.n_placed + self.n_tasks - 1) // self.n_tasks

    cdef int64_t _place_whole(self, int direction, int32_t task) noexcept nogil:
        # In: a task that is not placed. Out: it is, with those before it that were not, in their order; when they all end
        # with the chains behind them.
        cdef int64_t earliest, k, stop, last = 0
        cdef int32_t height = 1, first = 0
        self.stack[0], self.seen[0], self.earliest[0] = task, self.before_ptr[direction, task], 0
        while height and not self.stopped:
            task, earliest = self.stack[height - 1], self.earliest[height - 1]
            k, stop = self.seen[height - 1], self.before_ptr[direction, task + 1]
            while k < stop:
                first = self.before[direction, k]
                if self.end[first] == NEVER:
                    break
                earliest = max(earliest, self.end[first])
                k += 1
            if k == stop:
                height -= 1
                self._place(task, earliest)
                self.end[task] = self.start[task] + self.duration[task]
                last = max(last, self.end[task] + self.tail[direction, task])
                self.n_placed += 1
                continue
            self.seen[height - 1], self.earliest[height - 1] = k, earliest
            self.stack[height], self.seen[height], self.earliest[height] = first, self.before_ptr[direction, first], 0
            height += 1
        return last

    cdef int64_t _fix(self) noexcept nogil:
        # Out: what runs has its room from 0 on, and when the last of it ends.
        cdef int32_t i, task, w, at
        cdef int64_t length = 0
        for i in range(self.running.shape[0]):
            task = self.running[i]
            w = self.fixed[task]
            self.start[task], self.worker[task] = 0, w
            self.end[task] = self.duration[task]
            length = max(length, self.duration[task])
            steps_find(
                &self.step_time[w * self.room], &self.step_free[w * self.room * self.n_words], self.n_steps[w],
                &self.guard[0], self.n_words, &self.need[task * self.n_words], self.duration[task], 0, INT64_MAX, &at,
            )
            self._take(task, w, 0, at)
        return length

    cdef int64_t _fix_at_end(self, int64_t length) noexcept nogil:
        # In: all else is placed, in the time that is turned round, in which it ends at `length`. Out: the makespan, so
        # long that what runs has room at its end, on its worker and behind all that depends on it.
        cdef int32_t i, task, w, at
        cdef int64_t k, free_from, most = length
        cdef int word
        cdef int32_t next_one
        memset(&self.held[0], 0, self.n_workers * self.n_words * sizeof(uint64_t))
        for i in range(self.running.shape[0]):      # those that end later run whenever this one does
            task = self.running[i]
            w = self.fixed[task]
            free_from = 0
            for k in range(self.before_ptr[1, task], self.before_ptr[1, task + 1]):
                next_one = self.before[1, k]
                free_from = max(free_from, self.start[next_one] + self.duration[next_one])
            for word in range(self.n_words):
                self.held[w * self.n_words + word] += self.need[task * self.n_words + word]
            at = self.n_steps[w] - 1
            while at >= 0 and enough(
                &self.step_free[(w * self.room + at) * self.n_words], &self.held[w * self.n_words], &self.guard[0],
                self.n_words,
            ):
                at -= 1
            if at >= 0:                             # there is none behind the last step, for it runs
                free_from = max(free_from, self.step_time[w * self.room + at + 1])
            most = max(most, free_from + self.duration[task])
        for i in range(self.running.shape[0]):
            task = self.running[i]
            self.start[task], self.worker[task] = most - self.duration[task], self.fixed[task]
        return most

    cdef void _place(self, int32_t task, int64_t earliest) noexcept nogil:
        # In: a task, all before it placed. Out: it starts as early as any worker has room for it, on the one of these on
        # which least is left over.
        cdef int32_t w, at, best = -1, best_at = 0
        cdef int64_t start, soonest = INT64_MAX
        cdef double left, least = 0
        cdef const uint64_t* need = &self.need[task * self.n_words]
        if self.gridded:
            self.start[task] = grid_place(
                &self.grid[0], &self.filled, &self.all_free[0], &self.guard[0], self.n_words,
                need, self.duration[task], earliest,
            )
            return
        for w in range(self.n_workers):
            if not enough(&self.all_free[w * self.n_words], need, &self.guard[0], self.n_words):
                continue
            start = steps_find(
                &self.step_time[w * self.room], &self.step_free[w * self.room * self.n_words], self.n_steps[w],
                &self.guard[0], self.n_words, need, self.duration[task], earliest,
                soonest if soonest == INT64_MAX else soonest + 1, &at,
            )
            if start > soonest or start == INT64_MAX:
                continue
            left = self._left_over(w, at, task) if self.n_workers > 1 else 0
            if start < soonest or left < least:
                soonest, least, best, best_at = start, left, w, at
        self.start[task], self.worker[task] = soonest, best
        self._take(task, best, soonest, best_at)

    cdef void _take(self, int32_t task, int32_t worker, int64_t start, int32_t at) noexcept nogil:
        # In: the step in which it starts. Out: the worker has that much less room.
        if self.n_steps[worker] + 2 > self.room:
            with gil:
                self._make_room()
            if self.stopped:
                return
        steps_take(
            &self.step_time[worker * self.room], &self.step_free[worker * self.room * self.n_words],
            &self.n_steps[worker], self.n_words, &self.need[task * self.n_words], self.duration[task], start, at,
        )

    def _make_room(self):
        """Room for twice as many steps on each worker; where there is no memory for it, the search is stopped."""
        try:
            time = wider(self.step_time.base, self.n_workers)
            free = wider(self.step_free.base, self.n_workers)
        except MemoryError:
            self.stopped = True
            return
        self.step_time, self.step_free = time, free
        self.room *= 2

    cdef double _left_over(self, int32_t worker, int32_t at, int32_t task) noexcept nogil:
        # Out: what a worker has left in a step beside the task, each amount by what it is worth.
        cdef double left = 0
        cdef int r
        cdef Py_ssize_t place
        for r in range(self.lane_word.shape[0]):
            place = (worker * self.room + at) * self.n_words + self.lane_word[r]
            left += self.lane_worth[r] * <double>((self.step_free[place] >> self.lane_shift[r]) & self.lane_mask[r])
        return left

    cdef void _keep_best(self, int direction, int64_t length) noexcept nogil:
        cdef int32_t i
        self.best = length
        self.best_worker[:] = self.worker
        for i in range(self.n_tasks):
            self.best_start[i] = self.start[i] if direction == 0 else length - self.start[i] - self.duration[i]

    # ------------------------------------------------------------ members

    cdef int64_t _sum_ends(self) noexcept nogil:
        # Out: the ends of all tasks together, each as often as it has work, in ticks.
        cdef int64_t total = 0
        cdef int32_t i
        for i in range(self.n_tasks):
            total += self.work[i] * ((self.start[i] + self.duration[i]) >> self.shift)
        return total

    cdef bint _better(self, int64_t length, int64_t lateness, int direction, int32_t member) noexcept nogil:
        return length < self.length[direction, member] or (
            length == self.length[direction, member] and lateness < self.lateness[direction, member]
        )

    cdef void _keep(self, int direction, int32_t member, int64_t length, int64_t lateness) noexcept nogil:
        cdef int32_t i
        self.length[direction, member], self.lateness[direction, member] = length, lateness
        for i in range(self.n_tasks):
            self.begin[direction, member, i] = <int32_t>(self.start[i] >> self.shift)
            self.finish[direction, member, i] = <int32_t>((self.start[i] + self.duration[i]) >> self.shift)

    cdef void _turn_round(self, int64_t length) noexcept nogil:
        # In: a schedule. Out: keys for the other direction: who ends last comes first.
        cdef int32_t i
        for i in range(self.n_tasks):
            self.key[i] = <int32_t>((length - self.start[i] - self.duration[i]) >> self.shift)
        self._sort()

    cdef void _justify(self, int32_t member, int direction) noexcept nogil:
        # In: an order for a direction. Out: the member of both populations, as far as schedules may be generated.
        cdef int64_t length
        cdef int turn
        for turn in range(2):
            if self._over(1):
                return
            length = self._generate(direction, INT64_MAX)
            if self.stopped:
                return
            self._keep(direction, member, length, self._sum_ends())
            self._turn_round(length)
            direction = 1 - direction

    cdef void _make_member(self) noexcept nogil:
        # A member of the first population: by latest ends, in either direction, with some noise but for the first two.
        cdef int32_t i, noise = 0
        cdef int direction = self.n_made & 1
        if self.n_made > 1 or self.n_eras:
            for i in range(self.n_tasks):
                noise = max(noise, self.latest[direction, i])
            noise = <int32_t>(<int64_t>noise * self.noise >> 10)
        for i in range(self.n_tasks):
            self.key[i] = 4 * self.latest[direction, i] + (self._below(4 * noise) if noise else 0)
        self._sort()
        if direction == 0 and not self._over(1):
            self._turn_round(self._generate(0, INT64_MAX))
            if self.stopped:
                return
        self._justify(self.n_made, 1)
        self.n_made += 1

    # ------------------------------------------------------------ children

    cdef bint _over(self, int more) noexcept nogil:
        # Out: whether no more schedules may be generated, or not so many.
        return self.best <= self.bound or self.n_placed + more * <int64_t>self.n_tasks > self.limit or self.stopped

    cdef void _go_on(self) noexcept nogil:
        while not self._over(1):
            if self.n_made < self.size:
                if self._over(MEMBER):
                    return              # a member is made whole, so it does not matter how often it was asked
                self._make_member()
                continue
            self._make_child()
            self.at += 1
            if self.at < self.size:
                continue
            self.at = 0
            self.direction = 1 - self.direction
            if self.n_idle > <int64_t>PATIENCE * self.size * self.n_tasks:
                self._begin_anew()

    cdef void _begin_anew(self) noexcept nogil:
        # Make all members anew, each with noise.
        self.n_made, self.n_idle, self.shortest = 0, 0, INT64_MAX
        self.n_eras += 1

    cdef void _make_child(self) noexcept nogil:
        # A child of the member whose turn it is, mostly, takes its place in the other population.
        cdef int32_t base = self.at, i
        cdef int child = 1 - self.direction
        cdef int64_t length, lateness
        cdef bint is_kept = self._happens(self.kept_anyway)
        if self._happens(OTHER_BASE):
            base = self._choose_parent()
        self._cross(base)
        if self._happens(MUTATED):
            self._move(self._below(self.n_tasks), MUTATION)
        if self._happens(STIRRED):
            self._stir()
        self._break_ties()
        self._sort()
        if self._is_known(child):
            for i in range(self.n_tasks):
                if self._happens(SHAKEN):
                    self._move(i, MUTATION << TIE_BITS)
            self._sort()
        length = self._generate(child, INT64_MAX if is_kept else self.length[child, self.at])
        if self.stopped:
            return
        self.n_idle += 1
        if length == INT64_MAX:
            return
        lateness = self._sum_ends()
        if not self._has_twin(child, length, lateness) and (
            is_kept or self._better(length, lateness, child, self.at)
        ):
            self._keep(child, self.at, length, lateness)
        if length < self.shortest:
            self.shortest, self.n_idle = length, 0

    cdef bint _has_twin(self, int direction, int64_t length, int64_t lateness) noexcept nogil:
        # Out: whether another member is as long and as late: likely the same schedule.
        cdef int32_t i
        for i in range(self.size):
            if i != self.at and length == self.length[direction, i] and lateness == self.lateness[direction, i]:
                return True
        return False

    cdef int32_t _choose_parent(self) noexcept nogil:
        # Out: the better of two members that are drawn.
        cdef int32_t one = self._below(self.size), other = self._below(self.size)
        if self._better(self.length[self.direction, one], self.lateness[self.direction, one], self.direction, other):
            return one
        return other

    cdef void _cross(self, int32_t base) noexcept nogil:
        # Out: keys for the other direction: the order of the base, but within a window that of a donor.
        cdef int d = self.direction
        cdef int32_t most = self.window_least + self._below(self.window_most - self.window_least), width, group
        cdef int32_t donor = base, window = 0, other, begins, i
        cdef int64_t gain, best = INT64_MIN
        for i in range(DONORS):
            other = self._choose_parent()
            if other != base:
                width = self._width(other, most)
                gain = self._choose_window(other, base, width, &begins)
                if gain > best:
                    best, donor, window = gain, other, begins
        width = self._width(donor, most)
        if self._happens(ANYWHERE):
            window = self._below(self._ticks_of(donor) - width + 1)
        group = <int32_t>(max(self.length[d, donor], self.length[d, base]) >> self.shift) + 1
        for i in range(self.n_tasks):
            if window <= self.begin[d, donor, i] < window + width:
                self.key[i] = -group - self.finish[d, donor, i]
            elif self.begin[d, base, i] < window:
                self.key[i] = -self.finish[d, base, i]
            else:
                self.key[i] = -2 * group - self.finish[d, base, i]

    cdef int32_t _ticks_of(self, int32_t member) noexcept nogil:
        # Out: the ticks of its schedule in which a window is looked for.
        return <int32_t>min((self.length[self.direction, member] >> self.shift) + 1, self.profile.shape[0] - 1)

    cdef int32_t _width(self, int32_t member, int32_t parts) noexcept nogil:
        # Out: so many parts of 1024 of its schedule, in ticks.
        cdef int32_t ticks = self._ticks_of(member)
        return min(max(<int32_t>(<int64_t>parts * ticks >> 10), 1), ticks)

    cdef int64_t _choose_window(self, int32_t donor, int32_t base, int32_t width, int32_t* window) noexcept nogil:
        # Out: how much more the donor does than the base in the window of this width in which that is most, and where
        # that begins.
        cdef int d = self.direction
        cdef int32_t i, last = self._ticks_of(donor)
        cdef int64_t more = 0, most
        memset(&self.profile[0], 0, (last + 1) * sizeof(int32_t))
        for i in range(self.n_tasks):
            self.profile[min(self.begin[d, donor, i], last)] += self.weight[i]
            self.profile[min(self.finish[d, donor, i], last)] -= self.weight[i]
            self.profile[min(self.begin[d, base, i], last)] -= self.weight[i]
            self.profile[min(self.finish[d, base, i], last)] += self.weight[i]
        for i in range(1, last):
            self.profile[i] += self.profile[i - 1]
        for i in range(width):
            more += self.profile[i]
        most = more
        window[0] = 0
        for i in range(1, last - width + 1):
            more += self.profile[i + width - 1] - self.profile[i - 1]
            if more > most:
                most, window[0] = more, i
        return most

    cdef void _move(self, int32_t task, int32_t span) noexcept nogil:
        # In: by how much a task is moved at most, in parts of 1024 of the makespan.
        span = max(1, <int32_t>((self.best >> self.shift) * span >> 10))
        self.key[task] += self._below(span + 1) - (span >> 1)

    cdef void _stir(self) noexcept nogil:
        # The tasks in a window that is drawn are put in another order.
        cdef int32_t ticks = <int32_t>(self.best >> self.shift) + 1, low = self.key[0], width, window, i
        for i in range(self.n_tasks):
            low = min(low, self.key[i])
        width = max(2, <int32_t>(<int64_t>ticks * (STIR_LEAST + self._below(STIR_MOST - STIR_LEAST)) >> 10))
        window = low + self._below(3 * ticks)
        for i in range(self.n_tasks):
            if window <= self.key[i] < window + width:
                self.key[i] += self._below(width) - (width >> 1)

    cdef void _break_ties(self) noexcept nogil:
        cdef int32_t i
        for i in range(self.n_tasks):
            self.key[i] = (self.key[i] << TIE_BITS) + self.tie[i]
