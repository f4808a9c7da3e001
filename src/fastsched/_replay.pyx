# cython: language_level=3
"""The same core played again and again, from the beginning: other durations, or other workers. No mishap, no name.

A whole time line costs about as much to prepare as to play. Whoever plays a thousand prepares one core, and rewinds it.
What is decided is what `_timeline` would have the same core decide; a test holds both to the same placements.

A sample of durations is drawn from the seed, the sample and the task alone, in whole numbers, so it depends on no
machine, on no thread, and on nothing that was drawn before.

*Why it ended when it did.* A task starts at the instant at which the last thing that it waited for ended: a
dependency, or an attempt that left it room on its worker. From the task that ends last, this leads back to the beginning:
the critical chain of the sample (of dependencies that ended then the one with the lowest index; else, of what ended
on its worker, the last one).
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint64_t

import numpy as np

from ._chance cimport draw_normal, times_exp
from ._core cimport Core
from ._facts cimport DRAW_DURATION
from ._heap cimport event_pop, event_push

from .errors import InternalError

cdef enum:
    SIGMA_BITS = 30         # sigma is given in parts of 2 to this, a normal draw in parts of 2 to 28
    EXPONENT_BITS = 40

cdef int64_t CLOCK_LIMIT = 4611686018427387904   # ns: 2**62, some 146 years


cdef class Replay:
    """See the .pyi."""

    cdef Core core
    cdef const int64_t[::1] dep_ptr         # n + 1: task t depends on deps[dep_ptr[t]:dep_ptr[t + 1]]
    cdef const int32_t[::1] deps            # tasks
    cdef int64_t[::1] expected              # n, ns, durations as they were given
    cdef int64_t[::1] duration              # n, ns, durations of the time line that is played
    cdef int64_t[::1] tail                  # n, ns, the longest chain from the start of the task on; 0 = not known
    cdef int32_t[::1] missing               # n, edges on which the task waits at first
    cdef int32_t[::1] before                # n, what had ended last on its worker when the task started; -1 = nothing
    cdef int32_t[::1] latest                # W, what has ended last on the worker; -1 = nothing
    cdef int64_t[::1] event_time            # n, heap of the ends of open attempts, ns
    cdef int32_t[::1] event_task            # n, whose attempt ends then
    cdef Py_ssize_t n_events                # entries in use

    def __init__(self, core, dep_ptr, deps):
        if core.now != 0 or core.n_running or core.n_log or core.columns()["attempt"].any():
            raise InternalError("a core is played again only if nothing has happened on it yet")
        n = core.n_tasks
        self.core, self.dep_ptr, self.deps = core, dep_ptr, deps
        self.expected = np.array(self.core.task_table["duration"][:n])
        self.duration = np.array(self.expected)
        self.tail = np.zeros(n, dtype=np.int64)
        self.missing = np.diff(dep_ptr).astype(np.int32)
        self.before = np.full(n, -1, dtype=np.int32)
        self.latest = np.full(max(1, core.n_workers), -1, dtype=np.int32)
        self.event_time, self.event_task = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int32)

    def foresee(self, tail):
        """Know how long it takes from the start of each task on, at least. See the .pyi."""
        self.tail = np.array(tail, dtype=np.int64)

    def play_on(self, there, limit=None):
        """Play it on some of the workers. See the .pyi."""
        cdef const uint8_t[::1] live = np.ascontiguousarray(there, dtype=np.uint8)
        cdef int64_t end, most = INT64_MAX if limit is None else limit
        if live.shape[0] != self.core.n_workers:
            raise ValueError(f"{self.core.n_workers} workers are known, and {live.shape[0]} were named")
        if not self.core.n_tasks:
            return 0
        self.duration[:] = self.expected
        with nogil:
            self._rewind()
            if live.shape[0]:
                self.core._set_live(&live[0])
            end = self._play(most)
        PyErr_CheckSignals()
        if end < 0 and limit is None:
            raise OverflowError("virtual time has come to 146 years, which the clock cannot hold")
        if end >= 0 and self.core.n_left:
            raise InternalError(f"{self.core.n_left} tasks were left over at the end of virtual time")
        return None if end < 0 else end

    def sample(self, makespans, critical, int64_t first, int64_t sigma, uint64_t seed):
        """Play it with durations that vary. See the .pyi."""
        cdef int64_t[::1] ends = makespans
        cdef int64_t[::1] counts = critical
        cdef int64_t i, half_variance = (sigma * sigma) >> (2 * SIGMA_BITS - EXPONENT_BITS + 1)
        for i in range(ends.shape[0]):
            if not self.core.n_tasks:
                ends[i] = 0
                continue
            with nogil:
                self._draw(first + i, sigma, half_variance, seed)
                self._rewind()
                ends[i] = self._play(INT64_MAX)
                if ends[i] >= 0:
                    self._count_chain(counts)
            PyErr_CheckSignals()
            if ends[i] < 0:
                raise OverflowError("virtual time has come to 146 years, which the clock cannot hold")
            if self.core.n_left:
                raise InternalError(f"{self.core.n_left} tasks were left over at the end of virtual time")

    def durations(self, int64_t sample, int64_t sigma, uint64_t seed):
        """The durations of one sample. See the .pyi."""
        self._draw(sample, sigma, (sigma * sigma) >> (2 * SIGMA_BITS - EXPONENT_BITS + 1), seed)
        return np.array(self.duration)

    # ------------------------------------------------------------ kernels

    cdef void _draw(self, int64_t sample, int64_t sigma, int64_t half_variance, uint64_t seed) noexcept nogil:
        # In: sigma of the logarithm, and half its square. Out: durations that vary by a lognormal factor of mean 1.
        cdef int32_t task
        cdef int64_t exponent
        for task in range(self.core.n_tasks):
            exponent = draw_normal(seed, DRAW_DURATION, (<uint64_t>sample << 32) + <uint64_t>task) * sigma
            exponent = (exponent >> (28 + SIGMA_BITS - EXPONENT_BITS)) - half_variance
            self.duration[task] = times_exp(self.expected[task], exponent) if sigma else self.expected[task]

    cdef void _rewind(self) noexcept nogil:
        cdef Py_ssize_t w
        self.n_events = 0
        for w in range(self.latest.shape[0]):
            self.latest[w] = -1
        self.core._rewind(&self.duration[0], &self.missing[0])

    cdef int64_t _play(self, int64_t limit) noexcept nogil:
        # In: a core that was rewound. Out: when the last attempt ends; -1 as soon as that is seen to be after the limit.
        cdef int64_t now = 0
        cdef int32_t task
        if not self._decide(limit):
            return -1
        while self.n_events or self.core.n_wakes:
            now = self.event_time[0] if self.n_events else INT64_MAX
            if self.core.n_wakes:           # somebody is held back
                now = min(now, self.core.wake_time[0])
            if now >= CLOCK_LIMIT:
                return -1
            self.core._advance(now)
            while self.n_events and self.event_time[0] == now:
                task = self.event_task[0]
                event_pop(self.event_time, self.event_task, self.n_events)
                self.n_events -= 1
                self.latest[self.core.row(task).worker] = task
                self.core._book_completed(task)
            if not self._decide(limit):
                return -1
        return now

    cdef bint _decide(self, int64_t limit) noexcept nogil:
        # A decision, and the ends of what it started. Out: False where the whole cannot end by the limit.
        cdef int32_t i, task
        cdef int64_t now = self.core.now
        self.core._decide()
        for i in range(self.core.n_started):
            task = self.core.started_tasks[i]
            if now > limit - max(self.tail[task], self.duration[task]):
                return False
            self.before[task] = self.latest[self.core.row(task).worker]
            event_push(self.event_time, self.event_task, self.n_events, now + self.duration[task], task)
            self.n_events += 1
        return True

    cdef void _count_chain(self, int64_t[::1] counts) noexcept nogil:
        # Out: every task of the critical chain is counted once more.
        cdef int32_t task, last = -1, earlier
        cdef int64_t k, start
        for task in range(self.core.n_tasks):
            if self.core.row(task).end >= 0 and (last < 0 or self.core.row(task).end > self.core.row(last).end):
                last = task
        while last >= 0:
            counts[last] += 1
            start = self.core.row(last).start
            earlier = -1
            for k in range(self.dep_ptr[last], self.dep_ptr[last + 1]):
                task = self.deps[k]
                if self.core.row(task).end == start and (earlier < 0 or task < earlier):
                    earlier = task
            if earlier < 0 and self.before[last] >= 0 and self.core.row(self.before[last]).end == start:
                earlier = self.before[last]
            last = earlier
