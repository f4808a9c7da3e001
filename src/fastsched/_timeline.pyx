# cython: language_level=3
"""The wholesale door: a whole virtual time line, played over a core without the GIL.

It drives the same kernels as the verbs of the core do, with a clock of its own: the ends of
attempts stand in an event heap, beside a script of what happens to workers and seeded
models of what goes wrong. All facts of one instant are booked before the next decision: first
what time itself ends (back-offs, quarantines), then attempts by their tasks, then the script,
then losses and returns by their workers.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint64_t

import numpy as np

from ._block cimport fetch
from ._chance cimport draw, draw_exponential
from ._core cimport Core
from ._facts cimport CODE_EXIT, DRAW_FAILURE, DRAW_LOSS
from ._heap cimport event_pop, event_push
from ._tables cimport RUNNING

from .errors import InternalError

cdef enum:
    SLICE = 4096            # decisions and starts between two looks at the signals
    CHANCE_BITS = 53        # a probability is given in parts of 2 to this

cdef enum Step:             # what the script does to a worker
    STEP_JOIN = 0
    STEP_LEAVE = 1
    STEP_LOSE = 2
    STEP_DRAIN = 3
    STEP_RESIZE = 4

STEPS = {"join": STEP_JOIN, "leave": STEP_LEAVE, "lose": STEP_LOSE, "drain": STEP_DRAIN, "resize": STEP_RESIZE}
cdef int64_t CLOCK_LIMIT = 4611686018427387904   # ns: 2**62, some 146 years


cdef class TimeLine:
    cdef Core core
    cdef uint64_t seed                      # of failures and losses
    cdef object tell                        # told now and then how many tasks have ended, or None
    cdef object outcome                     # asked of every attempt when it starts, or None
    cdef const int64_t[::1] chances         # n, an attempt fails if 53 even bits are below it; empty = none does
    cdef const int64_t[::1] mtbf            # W, ns, mean time from coming to loss; 0 = never; empty = for nobody
    cdef const int64_t[::1] repair          # W, ns from a loss to the return; -1 = it stays away
    cdef int64_t[::1] loss_at               # W, ns, when the worker is lost next; -1 = not
    cdef int64_t[::1] return_at             # W, ns, when it returns from its last loss; -1 = not
    cdef int64_t[::1] losses                # W, losses so far
    cdef uint8_t[::1] doomed                # n, 1 = the open attempt will fail; empty where nothing fails
    cdef int64_t[::1] event_time            # heap of the ends of open attempts, ns
    cdef int32_t[::1] event_task            # whose attempt ends then
    cdef Py_ssize_t n_events                # entries in use; one whose attempt is not open any more is passed over
    cdef int64_t[::1] mishap_time           # heap of losses and returns, ns
    cdef int32_t[::1] mishap_code           # 2 w for the worker w that is lost, 2 w + 1 for one that returns
    cdef Py_ssize_t n_mishaps               # entries in use
    cdef Py_ssize_t n_returns               # returns among them
    cdef const int64_t[::1] step_time       # the script, in order of time: ns
    cdef const int32_t[::1] step_kind       # Step
    cdef const int32_t[::1] step_worker     # worker
    cdef const int32_t[:, ::1] step_capacity    # (steps, K), for STEP_RESIZE and STEP_JOIN
    cdef Py_ssize_t at_step                 # the next step

    def __init__(self, core, outcome, chances, mtbf, repair, seed, script, tell):
        n, w = core.n_tasks, core.n_workers
        self.core, self.outcome, self.seed, self.tell = core, outcome, seed, tell
        none = np.empty(0, dtype=np.int64)
        self.chances = none if chances is None else np.ascontiguousarray(chances, dtype=np.int64)
        self.mtbf = none if mtbf is None else np.ascontiguousarray(mtbf, dtype=np.int64)
        self.repair = none if mtbf is None else np.ascontiguousarray(repair, dtype=np.int64)
        if len(self.chances) not in (0, n) or len(self.mtbf) not in (0, w) or len(self.repair) != len(self.mtbf):
            raise ValueError("a model of failures has another length than the tasks or the workers")
        self.loss_at = np.full(len(self.mtbf), -1, dtype=np.int64)
        self.return_at = np.full(len(self.mtbf), -1, dtype=np.int64)
        self.losses = np.zeros(len(self.mtbf), dtype=np.int64)
        self.doomed = np.zeros(n if outcome is not None or chances is not None else 0, dtype=np.uint8)
        self.event_time, self.event_task = np.empty(64, dtype=np.int64), np.empty(64, dtype=np.int32)
        self.mishap_time = np.empty(2 * len(self.mtbf), dtype=np.int64)
        self.mishap_code = np.empty(2 * len(self.mtbf), dtype=np.int32)
        time, kind, worker, capacity = script or (none, [], [], np.empty((0, core.n_resources)))
        self.step_time = np.ascontiguousarray(time, dtype=np.int64)
        self.step_kind = np.ascontiguousarray(kind, dtype=np.int32)
        self.step_worker = np.ascontiguousarray(worker, dtype=np.int32)
        self.step_capacity = np.ascontiguousarray(capacity, dtype=np.int32)
        lengths = {len(self.step_time), len(self.step_kind), len(self.step_worker), len(self.step_capacity)}
        if len(lengths) != 1 or self.step_capacity.shape[1] != core.n_resources:
            raise ValueError("the columns of the script do not belong together")
        if len(self.step_time) and not 0 <= np.min(self.step_worker) <= np.max(self.step_worker) < w:
            raise ValueError("the script names a worker that is not known")
        if len(self.step_time) and (np.diff(self.step_time) < 0).any():
            raise ValueError("the script is not in order of time")
        for live, i in zip(core.worker_columns()["live"], range(len(self.mtbf))):
            if live:
                self._plan_loss(i)

    def play(self):
        """From the first decision to the end of time."""
        cdef bint more = True
        cdef int slice_ = 1 if self.outcome is not None else SLICE
        if not self.step_time.shape[0]:
            self.core.fail_unsatisfiable(0)
        with nogil:
            self._take_steps(0)
            self._decide()
        while more:
            if self.outcome is not None:
                self._ask()
            with nogil:
                more = self._play(slice_)
            PyErr_CheckSignals()
            if self.tell is not None:
                self.tell(self.core.n_tasks - self.core.n_left)
        if self.core.now >= CLOCK_LIMIT:
            raise OverflowError("virtual time has come to 146 years, which the clock cannot hold")
        if self.core.n_left:
            self.core.fail_unsatisfiable(self.core.now)
        if self.core.n_left:
            raise InternalError(f"{self.core.n_left} tasks were left over at the end of virtual time")

    def _ask(self):
        """Let the caller say which of the attempts that just started will fail."""
        cdef int32_t i, task
        for i in range(self.core.n_started):
            task = self.core.started_tasks[i]
            if not self.outcome(task, self.core.row(task).worker, self.core.row(task).attempt):
                self.doomed[task] = 1

    cdef bint _play(self, int64_t budget) noexcept nogil:
        # Out: False at the end of virtual time; else so many decisions and starts were made, or a few more.
        cdef int64_t now
        while budget > 0:
            now = self._next_instant()
            if now < 0:
                return False
            self.core._advance(now)
            if now >= CLOCK_LIMIT:
                return False
            self._end_attempts(now)
            self._take_steps(now)
            if self.n_mishaps and self.mishap_time[0] == now:
                self._book_mishaps(now)
            self._decide()
            budget -= 1 + self.core.n_started
        return True

    cdef int64_t _next_instant(self) noexcept nogil:
        # Out: when the next thing happens, or -1 where nothing can change any more: all is done, or nothing is under
        # way, nobody is to come, and whoever is there has been asked.
        cdef int64_t at = INT64_MAX
        if self.core.n_left and not self.core.n_running and not self.core.n_wakes and self.n_returns and (
            self.at_step == self.step_time.shape[0]
        ):
            with gil:                       # waiting for returns alone: for whom there is none, it is over
                self.core.fail_unsatisfiable(self.core.now)
        if self.core.n_left == 0:
            return -1
        while self.core.n_log and self.n_events and not self._is_open(self.event_task[0], self.event_time[0]):
            event_pop(self.event_time, self.event_task, self.n_events)
            self.n_events -= 1
        if self.n_events:
            at = self.event_time[0]
        if self.core.n_wakes:
            at = min(at, self.core.wake_time[0])
        if self.core.next_release >= 0:
            at = min(at, self.core.next_release)
        if self.at_step < self.step_time.shape[0]:
            at = min(at, self.step_time[self.at_step])
        if self.n_mishaps and (at < INT64_MAX or self.n_returns):
            at = min(at, self.mishap_time[0])
        return -1 if at == INT64_MAX else at

    cdef bint _is_open(self, int32_t task, int64_t end) noexcept nogil:
        # Out: whether the end in the heap is that of the task's open attempt.
        return self.core.row(task).state == RUNNING and self.core.row(task).start + self.core.row(task).duration == end

    cdef void _end_attempts(self, int64_t now) noexcept nogil:
        cdef int32_t task
        while self.n_events and self.event_time[0] == now:
            task = self.event_task[0]
            event_pop(self.event_time, self.event_task, self.n_events)
            self.n_events -= 1
            if self.n_events:
                fetch(self.core.row(self.event_task[0]))
                fetch(&self.core.succ_ptr[self.event_task[0]])
            if self.core.n_log and not self._is_open(task, now):
                continue            # only where an attempt did not complete is there an end of none
            if self.doomed.shape[0] and self.doomed[task]:
                self.core._book_failed(task, CODE_EXIT, True)
            else:
                self.core._book_completed(task)

    cdef void _decide(self) noexcept nogil:
        # A decision, and the ends of what it started.
        cdef int32_t i, task
        cdef int64_t end
        cdef uint64_t which, drawn
        self.core._decide()
        for i in range(self.core.n_started):
            task = self.core.started_tasks[i]
            if self.n_events == self.event_time.shape[0]:
                with gil:
                    self.event_time = np.resize(self.event_time, 2 * self.n_events)
                    self.event_task = np.resize(self.event_task, 2 * self.n_events)
            end = self.core.now + self.core.row(task).duration
            event_push(self.event_time, self.event_task, self.n_events, end, task)
            self.n_events += 1
            if self.doomed.shape[0]:
                self.doomed[task] = 0
            if self.chances.shape[0]:
                which = (<uint64_t>task << 32) + <uint64_t>self.core.row(task).attempt
                drawn = draw(self.seed, DRAW_FAILURE, which) >> (64 - CHANCE_BITS)
                self.doomed[task] = <int64_t>drawn < self.chances[task]

    # ------------------------------------------------------------ workers

    cdef void _take_steps(self, int64_t now) noexcept nogil:
        # The script, as far as it has come.
        cdef int32_t worker
        if self.at_step == self.step_time.shape[0] or self.step_time[self.at_step] != now:
            return
        with gil:
            while self.at_step < self.step_time.shape[0] and self.step_time[self.at_step] == now:
                worker = self.step_worker[self.at_step]
                self._take_step(self.step_kind[self.at_step], worker, np.asarray(self.step_capacity[self.at_step]), now)
                self.at_step += 1

    def _take_step(self, kind, int32_t worker, capacity, now):
        """One step of the script; one that finds its worker in no state to take it is without effect."""
        cdef Core core = self.core
        if kind == STEP_JOIN and (not core.live[worker] or core.draining[worker]):
            if capacity[0] >= 0:
                core.resize_worker(worker, capacity, now)
            core.add_worker(worker, now)
            if self.mtbf.shape[0]:
                self._plan_loss(worker)
        elif kind == STEP_RESIZE:
            core.resize_worker(worker, capacity, now)
        elif kind == STEP_DRAIN and core.live[worker]:
            core.drain_worker(worker, now)
        elif kind in (STEP_LEAVE, STEP_LOSE) and (core.live[worker] or core.expected[worker]):
            core.remove_worker(worker, now, False, kind == STEP_LOSE)

    def _plan_loss(self, int32_t worker):
        """Draw when a worker that has just come will be lost."""
        if self.mtbf[worker] <= 0:
            return
        which = (<uint64_t>worker << 32) + <uint64_t>self.losses[worker]
        self.losses[worker] += 1
        self.loss_at[worker] = self.core.now + 1 + draw_exponential(self.seed, DRAW_LOSS, which, self.mtbf[worker])
        self._push_mishap(self.loss_at[worker], 2 * worker)

    def _push_mishap(self, int64_t time, int32_t code):
        if self.n_mishaps == self.mishap_time.shape[0]:
            self.mishap_time = np.resize(self.mishap_time, 2 * self.n_mishaps)
            self.mishap_code = np.resize(self.mishap_code, 2 * self.n_mishaps)
        event_push(self.mishap_time, self.mishap_code, self.n_mishaps, time, code)
        self.n_mishaps += 1

    cdef void _book_mishaps(self, int64_t now) noexcept nogil:
        # Workers that are lost now, and workers that return. One that has left since is not lost, and one that was
        # brought back since, by the script, does not return.
        with gil:
            while self.n_mishaps and self.mishap_time[0] == now:
                self._book_mishap(now)

    def _book_mishap(self, now):
        cdef Core core = self.core
        cdef int32_t worker = self.mishap_code[0] >> 1
        cdef bint returns = self.mishap_code[0] & 1
        event_pop(self.mishap_time, self.mishap_code, self.n_mishaps)
        self.n_mishaps -= 1
        if returns:
            self.n_returns -= 1
            if core.expected[worker] and self.return_at[worker] == now:
                core.add_worker(worker, now)
                self._plan_loss(worker)
        elif core.live[worker] and self.loss_at[worker] == now:
            core.remove_worker(worker, now, self.repair[worker] >= 0, True)
            if self.repair[worker] >= 0:
                self.n_returns += 1
                self.return_at[worker] = now + self.repair[worker]
                self._push_mishap(self.return_at[worker], 2 * worker + 1)


def simulate(core, *, outcome=None, chances=None, mtbf=None, repair=None, seed=0, script=None, tell=None):
    """Play the whole virtual time line of a core on which nothing has happened yet. See the .pyi."""
    if core.now != 0 or core.n_running or core.columns()["attempt"].any():
        raise InternalError("simulate() wants a core on which nothing has happened yet")
    TimeLine(core, outcome, chances, mtbf, repair, seed, script, tell).play()
