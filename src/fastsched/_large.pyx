# cython: language_level=3
"""A search for a short plan of very many tasks, in numbers: it knows no name, reads no clock and draws from its own seed.

Theory of operation. Where there are thousands of tasks, a whole schedule says little: what one order gains here, it
loses there. So one schedule is kept and a part of it is planned anew, again and again (large neighbourhood search;
Shaw 1998, for schedules Palpant, Artigues and Michelon 2004). A *move* takes out of a few workers, the crew, what starts in
some window of time, and what ends too late; it places these tasks again, one after the other, where they can start
earliest on the crew (serial generation), in an order that is drawn: as before with some noise, or those first that are
large, long, broad, or any. Half of the moves look at what is left over besides, and would rather start later
where that is little. All other tasks stay where they are: nobody starts before what it depends on has ended, nor
ends after what depends on it has started.

Where tasks depend on each other, windows follow one another through the schedule, since what is gained in one is
used in the next; where none does, they are anywhere, wider, and on fewer workers.

What is sought is a makespan a little below the best, the *target*. The *lateness* of a task is how much later it and
the chain behind it end, times what it needs, each resource by how short it is. A move stands if the lateness of what
it has placed has not grown, or by no more than a small amount that is drawn (after threshold accepting; Dueck and Scheuer
1990), else all is put back. Where no task is late, the best is shorter than before, and the target moves. So late work is
pressed into gaps all over the schedule, which for tasks that do not depend on each other is packing of bins.

Whoever calls says how many schedules may be generated; a task that is placed counts as its share of one.
"""

cimport cython
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from math import fsum

import numpy as np

from ._chance cimport below, draw_next, first_state
from ._profile cimport enough, steps_find, steps_give, steps_take
from .lanes import Lanes, wider

cdef enum:
    CREW = 8                    # workers of a move at most, where tasks depend on each other
    FREE_CREW = 3               # where none does
    LATE_DRAWS = 2              # workers that are drawn besides the first, which is the one of them that ends last
    TAKEN_LEAST = 10            # tasks that a window has on average, drawn
    TAKEN_MOST = 100            # where tasks depend on each other
    FREE_TAKEN_MOST = 400       # where none does
    MOST = 512                  # tasks that are taken out at most
    STRIDE = 2                  # windows begin this part of their width after one another
    ORDERS = 5                  # ways to draw one
    AIM = 16                    # parts of what is above the bound: how much shorter the target is
    NEAR = 256                  # parts of the makespan: how much shorter it is at most
    RATE = 53                   # bits of an even draw

cdef double GREED = 0.3         # of the makespan at most: see `greed`
cdef double WIDEST = 4          # makespans: a window that has nearly always all
cdef double HEAT = 0.5          # of what one task of mean weight is late that ends with the best makespan


cdef class Large:
    """See the .pyi."""

    def __init__(self, *, order, succ_ptr, succ, dep_ptr, deps, duration, demand, capacity, seed, bound=0):
        n, n_workers = len(duration), len(capacity)
        self.n_tasks, self.n_workers, self.bound = n, n_workers, bound
        self.duration = np.ascontiguousarray(duration, dtype=np.int64)
        self.dep_ptr, self.deps = np.array(dep_ptr, dtype=np.int64), np.array(deps, dtype=np.int32)
        self.succ_ptr, self.succ = np.array(succ_ptr, dtype=np.int64), np.array(succ, dtype=np.int32)
        self.depends = len(deps) > 0
        rank = np.empty(n, dtype=np.int32)
        rank[order] = np.arange(n, dtype=np.int32)
        self.rank = rank
        demand, capacity = np.asarray(demand, dtype=np.int64), np.asarray(capacity, dtype=np.int64)
        self.unseen = np.nonzero((self.duration.base == 0) | ~demand.any(axis=1))[0].astype(np.int32)
        lanes = Lanes(demand, capacity)
        self.n_words, self.guard, self.need, self.all_free = lanes.n_words, lanes.guard, lanes.need, lanes.free
        self.lane_word, self.lane_shift, self.lane_mask = lanes.word, lanes.shift, lanes.mask
        self._weigh(demand, capacity)
        self._look_behind(np.array(order, dtype=np.int32))
        self.room = min(2 * n, 4 * n // max(n_workers, 1) + 64) + 3
        self.step_time = np.empty(n_workers * self.room, dtype=np.int64)
        self.step_free = np.empty(n_workers * self.room * self.n_words, dtype=np.uint64)
        self.n_steps = np.empty(n_workers, dtype=np.int32)
        self.old_time = np.empty(CREW * self.room, dtype=np.int64)
        self.old_free = np.empty(CREW * self.room * self.n_words, dtype=np.uint64)
        self.old_n_steps, self.crew = np.zeros(CREW, dtype=np.int32), np.zeros(CREW, dtype=np.int32)
        self.start, self.worker = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int32)
        self.first, self.next = np.full(n_workers, -1, dtype=np.int32), np.zeros(n, dtype=np.int32)
        self.previous = np.zeros(n, dtype=np.int32)
        self.most = min(MOST, n)
        self.taken, self.placed = np.zeros(self.most, dtype=np.int32), np.zeros(self.most, dtype=np.int32)
        self.stack = np.zeros(self.most, dtype=np.int32)
        self.out, self.key = np.zeros(n, dtype=np.uint8), np.zeros(n, dtype=np.float64)
        self.old_start, self.old_worker = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int32)
        self.best = INT64_MAX
        self.best_start, self.best_worker = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int32)
        self.chance = first_state(seed)

    def _weigh(self, demand, capacity):
        """What resources are worth, by how long all workers would be busy with what is asked of each; and tasks."""
        total = np.maximum(capacity.sum(axis=0), 1).astype(np.float64)
        took = np.asarray(self.duration, dtype=np.float64)
        busy = np.array([fsum(column * took) for column in demand.T]) / total       # however it is added up
        short = busy / (busy.max(initial=0) or 1)
        self.lane_worth = short * short * max(len(capacity), 1) / total
        weight = np.zeros(len(demand))
        for r in range(len(total)):
            weight += demand[:, r] * self.lane_worth[r]
        self.weight = np.maximum(weight, 2.0**-20)      # who needs nothing is late as well
        self.mean_weight = fsum(self.weight) / max(len(weight), 1)

    def _look_behind(self, const int32_t[::1] order):
        """The longest chain behind each task, itself apart."""
        tail_array = np.zeros(self.n_tasks, dtype=np.int64)
        cdef int64_t[::1] tail = tail_array
        cdef int32_t task
        cdef Py_ssize_t i
        cdef int64_t k
        for i in range(self.n_tasks - 1, -1, -1):
            task = order[i]
            for k in range(self.succ_ptr[task], self.succ_ptr[task + 1]):
                tail[task] = max(tail[task], self.duration[self.succ[k]] + tail[self.succ[k]])
        self.tail = tail_array

    # ------------------------------------------------------------ doors

    def add(self, start, worker, n_schedules):
        """Begin with a schedule that is known. See the .pyi."""
        if self.stopped or n_schedules < 1 or not self.n_tasks or self.best < INT64_MAX:
            return
        # Those first that are over at once, else they would have to wait until the others have ended.
        order = np.lexsort((self.rank, self.duration.base > 1, start)).astype(np.int32)
        cdef const int32_t[::1] order_view = order
        cdef const int32_t[::1] where = np.array(worker, dtype=np.int32)
        with nogil:
            self._load(order_view, where)

    def advance(self, n_schedules):
        """Go on until there are so many schedules in all since the beginning. See the .pyi."""
        if self.best < INT64_MAX:
            self.limit = min(n_schedules, 2**62 // self.n_tasks) * self.n_tasks
            with nogil:
                self._go_on()
        return self.best > self.bound

    def stop(self):
        """Have whoever searches, in another thread, return soon. See the .pyi."""
        self.stopped = True

    def schedule(self):
        """The best so far: when each task starts and on which worker. See the .pyi."""
        return np.array(self.best_start), np.array(self.best_worker)

    # ------------------------------------------------------------ chance

    cdef double _even(self) noexcept nogil:
        # Out: from 0 to 1, which is never reached.
        return <double>(draw_next(&self.chance) >> (64 - RATE)) / <double>(<uint64_t>1 << RATE)

    # ------------------------------------------------------------ a schedule

    cdef bint _load(self, const int32_t[::1] order, const int32_t[::1] where) noexcept nogil:
        # In: the tasks by their starts, and their workers. Out: each starts as early as it can after those before it in
        # the order were placed; whether all are.
        cdef int32_t i, task, w, at
        cdef int64_t start, length = 0
        for w in range(self.n_workers):
            self.n_steps[w] = 1
            self.step_time[w * self.room] = 0
            memcpy(
                &self.step_free[w * self.room * self.n_words], &self.all_free[w * self.n_words],
                self.n_words * sizeof(uint64_t),
            )
        for i in range(self.n_tasks):
            if self.stopped:
                return False
            task, w = order[i], where[order[i]]
            start = steps_find(
                &self.step_time[w * self.room], &self.step_free[w * self.room * self.n_words], self.n_steps[w],
                &self.guard[0], self.n_words, &self.need[task * self.n_words], self.duration[task],
                self._earliest(task), INT64_MAX, &at,
            )
            self._put(task, w, start, at)
            length = max(length, start + self.duration[task])
        self.n_placed, self.n_schedules = self.n_tasks, 1
        if not self.stopped:
            self._keep_best(length)
        return not self.stopped

    cdef void _put(self, int32_t task, int32_t worker, int64_t start, int32_t at) noexcept nogil:
        # In: what `steps_find` has found. The room is taken; where there is no memory for it, the search is stopped.
        if self.n_steps[worker] + 2 > self.room:
            with gil:
                self._make_room()
            if self.stopped:
                return
        self.start[task] = start
        self._link(task, worker)
        steps_take(
            &self.step_time[worker * self.room], &self.step_free[worker * self.room * self.n_words],
            &self.n_steps[worker], self.n_words, &self.need[task * self.n_words], self.duration[task], start, at,
        )

    def _make_room(self):
        """Room for twice as many steps on each worker; where there is no memory for it, the search is stopped."""
        try:
            time, old_time = wider(self.step_time.base, self.n_workers), wider(self.old_time.base, CREW)
            free, old_free = wider(self.step_free.base, self.n_workers), wider(self.old_free.base, CREW)
        except MemoryError:
            self.stopped = True
            return
        self.step_time, self.old_time, self.step_free, self.old_free = time, old_time, free, old_free
        self.room *= 2

    cdef void _link(self, int32_t task, int32_t worker) noexcept nogil:
        self.worker[task] = worker
        self.next[task], self.previous[task] = self.first[worker], -1
        if self.first[worker] >= 0:
            self.previous[self.first[worker]] = task
        self.first[worker] = task

    cdef void _unlink(self, int32_t task) noexcept nogil:
        if self.previous[task] >= 0:
            self.next[self.previous[task]] = self.next[task]
        else:
            self.first[self.worker[task]] = self.next[task]
        if self.next[task] >= 0:
            self.previous[self.next[task]] = self.previous[task]

    cdef int64_t _end_of(self, int32_t worker) noexcept nogil:
        # Out: when all is free again: the last step begins there. Who takes no time leaves no trace in steps.
        return self.step_time[worker * self.room + self.n_steps[worker] - 1]

    cdef int64_t _earliest(self, int32_t task) noexcept nogil:
        # Out: when all have ended on which it depends.
        cdef int64_t k, earliest = 0
        for k in range(self.dep_ptr[task], self.dep_ptr[task + 1]):
            earliest = max(earliest, self.start[self.deps[k]] + self.duration[self.deps[k]])
        return earliest

    cdef int64_t _latest_end(self, int32_t task) noexcept nogil:
        # Out: when the first of those starts that depend on it and are placed.
        cdef int64_t k, latest = INT64_MAX
        for k in range(self.succ_ptr[task], self.succ_ptr[task + 1]):
            if not self.out[self.succ[k]]:
                latest = min(latest, self.start[self.succ[k]])
        return latest

    cdef void _keep_best(self, int64_t length) noexcept nogil:
        self.best = length
        self.best_start[:] = self.start
        self.best_worker[:] = self.worker
        self.target = length - max(1, min((length - self.bound) // AIM, length // NEAR))

    # ------------------------------------------------------------ moves

    cdef bint _over(self) noexcept nogil:
        return self.best <= self.bound or self.n_placed + self.most > self.limit or self.stopped

    cdef void _go_on(self) noexcept nogil:
        while not self._over():
            self._move()
            self.n_schedules = (self.n_placed + self.n_tasks - 1) // self.n_tasks

    cdef void _move(self) noexcept nogil:
        cdef int64_t width = self._choose_crew(), begin
        cdef double before = 0, after
        cdef int32_t i, ones = 0
        if self.depends:                    # what ends sooner lets what depends on it start sooner in the next window
            begin = self.sweep - width // STRIDE
            self.sweep = self.sweep + width // STRIDE + 1 if self.sweep <= self.best else 0
        else:
            begin = <int64_t>(self._even() * <double>(self.best + width)) - width
        self._take_out(begin, begin + width)
        self.n_placed += max(1, self.n_taken)
        if self.n_taken == 0:
            return
        for i in range(self.n_taken):
            before += self._lateness(self.taken[i])
        while draw_next(&self.chance) >> 63:           # a draw that is about as likely to be large as an exponential one
            ones += 1
        before += (ones + self._even()) * HEAT * self.mean_weight * <double>(self.best - self.target)
        self._lift()
        if self.stopped:
            return
        self._give_keys(width)
        self._sort()
        self.greed = GREED * self._even() * <double>self.best if draw_next(&self.chance) >> 63 else 0
        after = self._place_all(before)
        if after > before:
            self._take_back()
        else:
            self._look()

    cdef int64_t _choose_crew(self) noexcept nogil:
        # Out: workers, the first one of those that end late; and how wide a window is that has as many tasks of
        # theirs as were drawn, if they were spread evenly.
        cdef int32_t most = TAKEN_MOST if self.depends else FREE_TAKEN_MOST, other, wanted, i, j
        cdef int32_t size = min(1 + below(&self.chance, CREW if self.depends else FREE_CREW), self.n_workers)
        cdef int32_t worker = below(&self.chance, self.n_workers)
        for i in range(LATE_DRAWS):
            other = below(&self.chance, self.n_workers)
            if self._end_of(other) > self._end_of(worker):
                worker = other
        self.crew[0], self.n_crew = worker, 1
        for i in range(4 * size):
            other = below(&self.chance, self.n_workers)
            for j in range(self.n_crew):
                if self.crew[j] == other:
                    other = -1
                    break
            if other >= 0 and self.n_crew < size:
                self.crew[self.n_crew] = other
                self.n_crew += 1
        wanted = TAKEN_LEAST + below(&self.chance, most - TAKEN_LEAST)
        return 1 + <int64_t>(
            <double>self.best * min(<double>wanted * self.n_workers / (<double>self.n_crew * self.n_tasks), WIDEST)
        )

    cdef void _take_out(self, int64_t begin, int64_t end) noexcept nogil:
        # Out: the tasks on the crew that start in the window, or end after the target.
        cdef int32_t i, task
        self.n_taken = 0
        for i in range(self.n_crew):
            task = self.first[self.crew[i]]
            while task >= 0 and self.n_taken < self.most:
                if begin <= self.start[task] < end or self.start[task] + self.duration[task] > self.target:
                    self.taken[self.n_taken] = task
                    self.n_taken += 1
                task = self.next[task]

    cdef void _lift(self) noexcept nogil:
        # The room of what is taken is free again; how it was before is kept.
        cdef int32_t i, task, w
        for i in range(self.n_crew):
            w = self.crew[i]
            self.old_n_steps[i] = self.n_steps[w]
            memcpy(&self.old_time[i * self.room], &self.step_time[w * self.room], self.n_steps[w] * sizeof(int64_t))
            memcpy(
                &self.old_free[i * self.room * self.n_words], &self.step_free[w * self.room * self.n_words],
                self.n_steps[w] * self.n_words * sizeof(uint64_t),
            )
        for i in range(self.n_taken):
            task = self.taken[i]
            w = self.worker[task]
            if self.n_steps[w] + 2 > self.room:
                with gil:
                    self._make_room()
                if self.stopped:                # there is no memory: nothing is placed any more
                    return
            self.old_start[task], self.old_worker[task] = self.start[task], w
            self.out[task] = 1
            self._unlink(task)
            steps_give(
                &self.step_time[w * self.room], &self.step_free[w * self.room * self.n_words], &self.n_steps[w],
                self.n_words, &self.need[task * self.n_words], self.duration[task], self.start[task],
            )

    cdef void _give_keys(self, int64_t width) noexcept nogil:
        # Out: an order of what is taken, one of a few kinds, each with more or less noise.
        cdef int32_t i, task, kind = below(&self.chance, ORDERS)
        cdef double noise = self._even(), span = <double>min(width, self.best)
        for i in range(self.n_taken):
            task = self.taken[i]
            if kind == 0:
                self.key[task] = <double>self.start[task] + noise * self._even() * span
            elif kind == 4:
                self.key[task] = self._even()
            else:
                self.key[task] = -1 - 4 * noise * self._even()
                if kind != 2:
                    self.key[task] *= self.weight[task]
                if kind != 3:
                    self.key[task] *= <double>self.duration[task]

    cdef void _sort(self) noexcept nogil:
        # Out: what is taken by its keys, then by index (Shell 1959, with the gaps of Knuth 1973).
        cdef int32_t i, j, task, other, gap = 1
        while gap < self.n_taken // 3:
            gap = 3 * gap + 1
        while gap:
            for i in range(gap, self.n_taken):
                task = self.taken[i]
                j = i
                while j >= gap:
                    other = self.taken[j - gap]
                    if self.key[other] < self.key[task] or (self.key[other] == self.key[task] and other < task):
                        break
                    self.taken[j] = other
                    j -= gap
                self.taken[j] = task
            gap //= 3

    cdef double _place_all(self, double most) noexcept nogil:
        # Out: the lateness of what is taken, as it is placed now, those first on which others depend; more than the
        # most that it may be, where it does not end: it is that late, or finds no room.
        cdef int32_t i, task, first, height
        cdef int64_t k
        cdef double lateness = 0
        self.n_placed_now = 0
        for i in range(self.n_taken):
            if not self.out[self.taken[i]]:
                continue
            self.stack[0], height = self.taken[i], 1
            while height:
                task, first = self.stack[height - 1], -1
                for k in range(self.dep_ptr[task], self.dep_ptr[task + 1]):
                    if self.out[self.deps[k]]:
                        first = self.deps[k]
                        break
                if first >= 0:
                    self.stack[height] = first
                    height += 1
                    continue
                height -= 1
                if self.stopped or not self._place(task):
                    return most + 1 + most
                lateness += self._lateness(task)
                if lateness > most:
                    return lateness
        return lateness

    cdef bint _place(self, int32_t task) noexcept nogil:
        # In: a task, all before it placed. Out: whether there is room for it on the crew, before those behind it start;
        # there it is put as early as there is room, or where less is left over, as greed says.
        cdef int32_t i, w, at, best = -1, best_at = 0
        cdef int64_t start, soonest = 0, earliest = 0, limit = INT64_MAX
        cdef double badness, least = 0
        if self.depends:
            earliest, limit = self._earliest(task), self._latest_end(task)
            if limit < INT64_MAX:
                limit -= self.duration[task] - 1
        for i in range(self.n_crew):
            w = self.crew[i]
            if not enough(&self.all_free[w * self.n_words], &self.need[task * self.n_words], &self.guard[0], self.n_words):
                continue
            start = steps_find(
                &self.step_time[w * self.room], &self.step_free[w * self.room * self.n_words], self.n_steps[w],
                &self.guard[0], self.n_words, &self.need[task * self.n_words], self.duration[task], earliest,
                limit if best < 0 or self.greed > 0 else min(limit, soonest + 1), &at,
            )
            if start >= limit:
                continue
            badness = <double>start + (self.greed + 1e-3) * self._left_over(w, at)
            if self.greed > 0 and start + self.duration[task] + self.tail[task] > self.target:
                badness += 2 * <double>self.best
            if best < 0 or badness < least:
                soonest, least, best, best_at = start, badness, w, at
        if best < 0:
            return False
        self._put(task, best, soonest, best_at)
        if self.stopped:
            return False
        self.out[task] = 0
        self.placed[self.n_placed_now] = task
        self.n_placed_now += 1
        return True

    cdef double _left_over(self, int32_t worker, int32_t at) noexcept nogil:
        # Out: what a worker has free in a step, each amount by what it is worth.
        cdef double left = 0
        cdef int r
        cdef Py_ssize_t place
        for r in range(self.lane_word.shape[0]):
            place = (worker * self.room + at) * self.n_words + self.lane_word[r]
            left += self.lane_worth[r] * <double>((self.step_free[place] >> self.lane_shift[r]) & self.lane_mask[r])
        return left

    cdef double _lateness(self, int32_t task) noexcept nogil:
        # Out: how much later than the target it and the chain behind it end, times what it needs.
        cdef int64_t over = self.start[task] + self.duration[task] + self.tail[task] - self.target
        return self.weight[task] * <double>over if over > 0 else 0

    cdef void _take_back(self) noexcept nogil:
        # All is as it was before the move.
        cdef int32_t i, task, w
        for i in range(self.n_placed_now):
            self._unlink(self.placed[i])
        for i in range(self.n_taken):
            task = self.taken[i]
            self.out[task] = 0
            self.start[task] = self.old_start[task]
            self._link(task, self.old_worker[task])
        for i in range(self.n_crew):
            w = self.crew[i]
            self.n_steps[w] = self.old_n_steps[i]
            memcpy(&self.step_time[w * self.room], &self.old_time[i * self.room], self.n_steps[w] * sizeof(int64_t))
            memcpy(
                &self.step_free[w * self.room * self.n_words], &self.old_free[i * self.room * self.n_words],
                self.n_steps[w] * self.n_words * sizeof(uint64_t),
            )

    cdef void _look(self) noexcept nogil:
        # Whether the schedule as it stands is the best so far.
        cdef int32_t w
        cdef Py_ssize_t i
        cdef int64_t length = 0
        for w in range(self.n_workers):
            length = max(length, self._end_of(w))
        for i in range(self.unseen.shape[0]):
            length = max(length, self.start[self.unseen[i]] + self.duration[self.unseen[i]])
        if length < self.best:
            self._keep_best(length)
