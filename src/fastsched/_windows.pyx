# cython: language_level=3
"""Could it be done in this time? One worker, whole numbers: windows of tasks are narrowed until one is too narrow.

*Destructive improvement* (R. Klein and A. Scholl 1999): a makespan is supposed; then each task has a window, from its
earliest start to its latest end, and what follows from these is followed.

- *Chains*: a task starts behind those before it.
- *Pairs*: of two that cannot run together, one that cannot go first goes second.
- *Profiles*: a task that runs at some time wherever in its window it lies holds its amount then; others go around it.
- *Energies*: an interval of time has room for the work that no window lets out of it (J. Erschler and P. Lopez 1990,
  P. Baptiste, C. Le Pape and W. Nuijten 1999).
- *Halves*: if a task cannot start in one half of its window, by the first three, it starts in the other one (shaving,
  P. Martin and D. B. Shmoys 1996).

A contradiction proves that every schedule takes longer. How far this goes is bounded by a count of steps, not by time.
"""

from libc.stdint cimport int32_t, int64_t

import numpy as np

cdef int64_t FAR = (<int64_t>1) << 62

cdef enum:
    NOTHING = 0         # nothing new follows
    NARROWER = 1        # some window became narrower
    CONTRADICTION = 2


cdef class Windows:
    """The windows of n tasks on one worker, refuted for one makespan after the other. See the .pyi."""

    cdef Py_ssize_t n               # tasks
    cdef int k                      # resources
    cdef int64_t left               # steps that may still be taken
    cdef const int32_t[::1] order   # a topological order
    cdef const int64_t[::1] succ_ptr    # CSR of successors
    cdef const int32_t[::1] succ
    cdef const int64_t[::1] p       # durations
    cdef const int64_t[::1] head    # the longest chains before and behind
    cdef const int64_t[::1] tail
    cdef const int64_t[:, ::1] need # (k, n) amounts
    cdef const int64_t[::1] room    # (k,) what the worker has
    cdef int32_t[:, ::1] apart      # pairs that exceed a resource together, and are not behind each other
    cdef int64_t[::1] es            # earliest start
    cdef int64_t[::1] lf            # latest end
    cdef int64_t[:, ::1] kept       # both, while something is supposed
    cdef int64_t[::1] at            # events of a profile: when, by how much it changes, in which order
    cdef int64_t[::1] change
    cdef int32_t[::1] by
    cdef int64_t[::1] step_at       # a profile: from when on (FAR behind the last), and what is held
    cdef int64_t[::1] step_held

    def __init__(self, order, succ_ptr, succ, duration, head, tail, need, room):
        self.n, self.k, self.left = len(order), len(room), 0
        self.order, self.succ_ptr, self.succ = order, succ_ptr, succ
        self.p, self.head, self.tail, self.need, self.room = duration, head, tail, need, room
        self.es, self.lf = np.empty(self.n, dtype=np.int64), np.empty(self.n, dtype=np.int64)
        self.kept = np.empty((2, self.n), dtype=np.int64)
        self.at, self.change = np.empty(2 * self.n, dtype=np.int64), np.empty(2 * self.n, dtype=np.int64)
        self.by = np.empty(2 * self.n, dtype=np.int32)
        self.step_at, self.step_held = np.empty(2 * self.n + 1, dtype=np.int64), np.empty(2 * self.n, dtype=np.int64)
        self.apart = pairs_apart(order, succ_ptr, succ, duration, need, room)

    def refute(self, int64_t makespan, int64_t steps, bint halves):
        """(whether no schedule is as short as this, steps left). See the .pyi."""
        cdef bint refuted
        cdef Py_ssize_t i
        self.left = steps
        with nogil:
            for i in range(self.n):
                self.es[i] = self.head[i]
                self.lf[i] = makespan - self.tail[i]
            refuted = self._narrow(True) == CONTRADICTION or (halves and self._try_halves() == CONTRADICTION)
        return refuted, max(0, self.left)

    # What each answers: NOTHING, NARROWER, CONTRADICTION, or of some both of the latter.

    cdef int _narrow(self, bint energies) noexcept nogil:
        # Until nothing follows any more, or the steps are used up.
        cdef int found
        while self.left > 0:
            found = self._chains()
            if found < CONTRADICTION:
                found |= self._pairs()
            if found < CONTRADICTION:
                found |= self._profiles()
            if found >= CONTRADICTION:
                return CONTRADICTION
            if found == NOTHING:
                return self._energies() if energies else NOTHING
        return NOTHING

    cdef int _try_halves(self) noexcept nogil:
        cdef Py_ssize_t i
        cdef int found, changed = NARROWER
        while changed and self.left > 0:
            changed = NOTHING
            for i in range(self.n):
                if self.p[i] > 0:
                    found = self._halve(i, True) | self._halve(i, False)
                    if self.es[i] + self.p[i] > self.lf[i]:
                        return CONTRADICTION
                    changed |= found
            if changed and self._narrow(True) == CONTRADICTION:
                return CONTRADICTION
        return NOTHING

    cdef int _halve(self, Py_ssize_t i, bint earlier) noexcept nogil:
        # Suppose that it starts in the earlier half (or the later one) of where it may; in a half of that; and so on.
        cdef int found = NOTHING
        cdef int supposed
        cdef int64_t first = self.es[i], last = self.lf[i] - self.p[i], middle
        while first < last and self.left > 0:
            middle = first + (last - first) // 2
            self.kept[0, :] = self.es
            self.kept[1, :] = self.lf
            if earlier:
                self.lf[i] = middle + self.p[i]
            else:
                self.es[i] = middle + 1
            self.left -= self.n
            supposed = self._narrow(False)
            self.es[:] = self.kept[0]
            self.lf[:] = self.kept[1]
            if supposed == CONTRADICTION:
                found = NARROWER
                if earlier:
                    self.es[i] = first = middle + 1
                else:
                    last = middle
                    self.lf[i] = middle + self.p[i]
            elif earlier:
                last = middle
            else:
                first = middle + 1
        return found

    cdef int _chains(self) noexcept nogil:
        cdef Py_ssize_t at, i, j
        cdef int64_t e, end
        self.left -= 2 * (self.n + self.succ.shape[0])
        for at in range(self.n):
            i = self.order[at]
            end = self.es[i] + self.p[i]
            if end > self.lf[i]:
                return CONTRADICTION
            for e in range(self.succ_ptr[i], self.succ_ptr[i + 1]):
                j = self.succ[e]
                self.es[j] = max(self.es[j], end)
        for at in range(self.n - 1, -1, -1):
            i = self.order[at]
            for e in range(self.succ_ptr[i], self.succ_ptr[i + 1]):
                j = self.succ[e]
                self.lf[i] = min(self.lf[i], self.lf[j] - self.p[j])
            if self.es[i] + self.p[i] > self.lf[i]:
                return CONTRADICTION
        return NOTHING

    cdef int _pairs(self) noexcept nogil:
        cdef Py_ssize_t at, i, j
        cdef bint i_first, j_first
        cdef int found = NOTHING
        self.left -= self.apart.shape[0]
        for at in range(self.apart.shape[0]):
            i, j = self.apart[at, 0], self.apart[at, 1]
            i_first = self.es[i] + self.p[i] <= self.lf[j] - self.p[j]
            j_first = self.es[j] + self.p[j] <= self.lf[i] - self.p[i]
            if not i_first and not j_first:
                return CONTRADICTION
            if not j_first:
                found |= self._follow(i, j)
            elif not i_first:
                found |= self._follow(j, i)
        return found

    cdef inline int _follow(self, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
        # j comes behind i.
        cdef int found = NOTHING
        if self.es[j] < self.es[i] + self.p[i]:
            self.es[j] = self.es[i] + self.p[i]
            found = NARROWER
        if self.lf[i] > self.lf[j] - self.p[j]:
            self.lf[i] = self.lf[j] - self.p[j]
            found = NARROWER
        return found

    cdef int _profiles(self) noexcept nogil:
        cdef int r, found = NOTHING
        cdef Py_ssize_t i, n_steps
        for r in range(self.k):
            n_steps = self._profile(r)
            if n_steps < 0:
                return CONTRADICTION
            for i in range(self.n):
                if n_steps and self.need[r, i] > 0 and self.p[i] > 0:
                    found |= self._around(r, i, n_steps)
                    if found >= CONTRADICTION:
                        return CONTRADICTION
        return found

    cdef Py_ssize_t _profile(self, int r) noexcept nogil:
        # Out: the steps of what must be held of r at each time; -1 where it is more than there is.
        cdef Py_ssize_t i, m = 0, e = 0, n_steps = 0
        cdef int64_t held = 0
        for i in range(self.n):
            if self.need[r, i] > 0 and self.lf[i] - self.p[i] < self.es[i] + self.p[i]:
                self._event(m, self.lf[i] - self.p[i], self.need[r, i])
                self._event(m + 1, self.es[i] + self.p[i], -self.need[r, i])
                m += 2
        self.left -= self.n + 4 * m
        self._sort(m)
        while e < m:
            self.step_at[n_steps] = self.at[self.by[e]]
            while e < m and self.at[self.by[e]] == self.step_at[n_steps]:
                held += self.change[self.by[e]]
                e += 1
            if held > self.room[r]:
                return -1
            self.step_held[n_steps] = held
            n_steps += 1
        self.step_at[n_steps] = FAR
        return n_steps

    cdef int _around(self, int r, Py_ssize_t i, Py_ssize_t n_steps) noexcept nogil:
        # A task starts, and ends, where what the others must hold leaves it room.
        cdef int64_t own_from = self.lf[i] - self.p[i], own_to = self.es[i] + self.p[i]
        cdef int64_t most = self.room[r] - self.need[r, i], start = self.es[i], end = self.lf[i]
        cdef int found = NOTHING
        cdef Py_ssize_t s = self._step_before(start, n_steps)
        while s < n_steps and self.step_at[s] < start + self.p[i]:
            if self.step_at[s + 1] > start and self._held_by_others(r, i, s, own_from, own_to) > most:
                start = self.step_at[s + 1]
            s += 1
            self.left -= 1
        s = self._step_before(end - 1, n_steps)
        while s >= 0 and self.step_at[s + 1] > end - self.p[i]:
            if self.step_at[s] < end and self._held_by_others(r, i, s, own_from, own_to) > most:
                end = self.step_at[s]
            s -= 1
            self.left -= 1
        if start > self.es[i] or end < self.lf[i]:
            self.es[i], self.lf[i] = start, end
            found = NARROWER
        return CONTRADICTION if start + self.p[i] > end else found

    cdef inline int64_t _held_by_others(
        self, int r, Py_ssize_t i, Py_ssize_t s, int64_t own_from, int64_t own_to
    ) noexcept nogil:
        if own_from < own_to and own_from <= self.step_at[s] < own_to:
            return self.step_held[s] - self.need[r, i]
        return self.step_held[s]

    cdef inline Py_ssize_t _step_before(self, int64_t now, Py_ssize_t n_steps) noexcept nogil:
        # The last step that begins then or before; the first one where none does.
        cdef Py_ssize_t low = 0, high = n_steps - 1, middle
        while low < high:
            middle = (low + high + 1) // 2
            if self.step_at[middle] <= now:
                low = middle
            else:
                high = middle - 1
        return low

    cdef int _energies(self) noexcept nogil:
        cdef int r
        cdef Py_ssize_t i
        for r in range(self.k):
            for i in range(self.n):
                if self.need[r, i] > 0 and self.p[i] > 0 and self.left > 0:
                    if self._overfull(r, self.es[i]) or self._overfull(r, self.lf[i] - self.p[i]):
                        return CONTRADICTION
        return NOTHING

    cdef bint _overfull(self, int r, int64_t begin) noexcept nogil:
        # Whether an interval that begins then lacks room. What a task cannot keep out of [begin, end) is nothing at
        # first, grows with `end` from the moment at which it is sure to run, and stops growing: the sum is looked at there.
        cdef Py_ssize_t i, m = 0, e, event
        cdef int64_t since, slope = 0, work = 0, now = begin
        for i in range(self.n):
            if self.need[r, i] > 0 and self.p[i] > 0 and self.es[i] + self.p[i] > begin:
                since = max(begin, self.lf[i] - self.p[i])
                self._event(m, since, self.need[r, i])
                self._event(m + 1, since + min(self.p[i], self.es[i] + self.p[i] - begin), -self.need[r, i])
                m += 2
        self.left -= self.n + 4 * m
        self._sort(m)
        for e in range(m):
            event = self.by[e]
            work += slope * (self.at[event] - now)
            now = self.at[event]
            slope += self.change[event]
            if work > self.room[r] * (now - begin):
                return True
        return False

    cdef inline void _event(self, Py_ssize_t e, int64_t at, int64_t change) noexcept nogil:
        self.at[e] = at
        self.change[e] = change

    cdef void _sort(self, Py_ssize_t m) noexcept nogil:
        # Out: `by`, the first m events in order of time. A heap sort: it needs no room, and no luck.
        cdef Py_ssize_t e
        cdef int32_t last
        for e in range(m):
            self.by[e] = <int32_t>e
        for e in range(m // 2 - 1, -1, -1):
            self._sift(e, m)
        for e in range(m - 1, 0, -1):
            last = self.by[e]
            self.by[e] = self.by[0]
            self.by[0] = last
            self._sift(0, e)

    cdef inline void _sift(self, Py_ssize_t e, Py_ssize_t m) noexcept nogil:
        cdef Py_ssize_t child = 2 * e + 1
        cdef int32_t moved = self.by[e]
        while child < m:
            if child + 1 < m and self.at[self.by[child + 1]] > self.at[self.by[child]]:
                child += 1
            if self.at[self.by[child]] <= self.at[moved]:
                break
            self.by[e] = self.by[child]
            e = child
            child = 2 * e + 1
        self.by[e] = moved


def pairs_apart(order, succ_ptr, succ, duration, need, room):
    """(pairs, 2) int32: tasks with a duration that exceed some resource together, neither behind the other."""
    n = len(order)
    behind = np.zeros((n, n), dtype=np.bool_)
    for i in order[::-1].tolist():
        row = succ[succ_ptr[i]:succ_ptr[i + 1]]
        behind[i] = behind[row].any(axis=0)
        behind[i, row] = True
    clash = (need[:, :, None] + need[:, None, :] > room[:, None, None]).any(axis=0)
    clash &= ~(behind | behind.T) & (duration[:, None] > 0) & (duration[None, :] > 0)
    return np.ascontiguousarray(np.argwhere(np.triu(clash, 1)), dtype=np.int32)
