# cython: language_level=3
"""The state machine in numbers: it books facts and makes choices.

Two rules. It knows no name, no clock, no file: tasks and workers are dense indices, amounts
are whole numbers, time is an integer of nanoseconds that is passed in. And facts (`_book_*`)
are kept apart from choices (`_decide`): a choice looks at booked state alone.

Theory of operation. Tasks are grouped into *demand classes*: alike in all resources but one,
the pivot. A class keeps its ready tasks in a min-tree over what they need of the pivot, laid
out in order of urgency, so that "the first task that needs at most m" is a few steps. The
*front* of a class is an upper bound of the pivot that is free on any worker with room for the
rest of the class's demand; its *candidate* is the first task under the front. The next
choice is the most urgent candidate. Where no worker turns out to have room for it, the front
is measured anew and the class asked again; free amounts only shrink within a decision, so a
task that was refused stays refused until room is made. Only the classes under which room was
made, or in which a task became ready, are asked at all: the cost of a decision does not
depend on how many tasks are waiting for room.

A task that must avoid some worker (it failed there, and another could hold it) is ready in
one extra class, the *picky* one, whose candidates are tried one by one.

Both doors use the same kernels: the verbs `assign`, `finished`, `failed`, ... for the live
runtime, and `simulate`, which plays a whole virtual time line without the GIL.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport INT32_MAX, INT64_MIN, int32_t, int64_t, uint8_t

import numpy as np

from ._fit cimport BEST_FIT, BLOCK, FIRST_FIT, MOST_FREE, fit_worker, frontier
from ._heap cimport ABSENT, FAN, LEVELS, event_pop, event_push, tree_first, tree_set

from .errors import InternalError

NOBODY = INT32_MAX
FIT_RULES = {"most-free": MOST_FREE, "best-fit": BEST_FIT, "first-fit": FIRST_FIT}

# Codes of `reason`; their names are `model.Reason`, in this order.
REASON_EXIT = 1
REASON_WORKER_LOST = 5
REASON_CANCELLED = 6
REASON_DEPENDENCY = 7
REASON_UNSATISFIABLE = 8
cdef enum:
    CODE_EXIT = 1
    CODE_WORKER_LOST = 5
    CODE_CANCELLED = 6
    CODE_DEPENDENCY = 7
    CODE_UNSATISFIABLE = 8
    LAST_CODE = 9
    NO_CANDIDATE = 2147483647
    FEW = 8                 # touched workers that are looked at after every start
    SLICE = 65536           # decisions between two looks at the signals


# ---------------------------------------------------------------- kernels on graphs


def successors(const int64_t[::1] dep_ptr, const int32_t[::1] deps):
    """Turn "row i lists what i depends on" into "row i lists what depends on i". See the .pyi."""
    cdef Py_ssize_t n = dep_ptr.shape[0] - 1, i
    cdef int64_t k
    succ_ptr_array = np.zeros(n + 1, dtype=np.int64)
    succ_array = np.empty(deps.shape[0], dtype=np.int32)
    cursor_array = np.empty(n, dtype=np.int64)
    cdef int64_t[::1] succ_ptr = succ_ptr_array, cursor = cursor_array
    cdef int32_t[::1] succ = succ_array
    with nogil:
        for k in range(deps.shape[0]):
            succ_ptr[deps[k] + 1] += 1
        for i in range(n):
            cursor[i] = succ_ptr[i]
            succ_ptr[i + 1] += succ_ptr[i]
        for i in range(n):
            for k in range(dep_ptr[i], dep_ptr[i + 1]):
                succ[cursor[deps[k]]] = <int32_t>i
                cursor[deps[k]] += 1
    return succ_ptr_array, succ_array


def topological_order(const int64_t[::1] dep_ptr, const int64_t[::1] succ_ptr, const int32_t[::1] succ):
    """Order tasks so that dependencies come first (Kahn 1962). See the .pyi."""
    cdef Py_ssize_t n = dep_ptr.shape[0] - 1, i, head = 0, tail = 0
    cdef int64_t k
    order_array = np.empty(n, dtype=np.int32)
    missing_array = np.diff(dep_ptr)
    cdef int32_t[::1] order = order_array
    cdef int64_t[::1] missing = missing_array
    with nogil:
        for i in range(n):
            if missing[i] == 0:
                order[tail] = <int32_t>i
                tail += 1
        while head < tail:
            i = order[head]
            head += 1
            for k in range(succ_ptr[i], succ_ptr[i + 1]):
                missing[succ[k]] -= 1
                if missing[succ[k]] == 0:
                    order[tail] = succ[k]
                    tail += 1
    return order_array[:tail]


def bottom_levels(
    const int32_t[::1] order, const int64_t[::1] succ_ptr, const int32_t[::1] succ, const int64_t[::1] duration
):
    """Own duration plus the longest chain of durations behind each task. See the .pyi."""
    cdef Py_ssize_t n = order.shape[0], i, at
    cdef int64_t k, longest
    bottom_array = np.zeros(duration.shape[0], dtype=np.int64)
    cdef int64_t[::1] bottom = bottom_array
    with nogil:
        for at in range(n - 1, -1, -1):
            i = order[at]
            longest = 0
            for k in range(succ_ptr[i], succ_ptr[i + 1]):
                longest = max(longest, bottom[succ[k]])
            bottom[i] = duration[i] + longest
    return bottom_array


# ---------------------------------------------------------------- the state machine


def _row_levels(Py_ssize_t leaves, Py_ssize_t at):
    """Where the levels of a tree with so many leaves begin, from `at` on; its depth; where it ends."""
    cdef Py_ssize_t size = leaves, padded
    starts = [at]
    while True:
        padded = (size + FAN - 1) // FAN * FAN
        at += padded
        starts.append(at)
        if size == 1 and len(starts) > 2:
            return starts, len(starts) - 1, at
        size = padded // FAN


@cython.final
cdef class Core:
    """See the .pyi."""

    def __init__(
        self, *, succ_ptr, succ, demand, duration, order, max_retries, class_of, class_demand, exact, pivot,
        capacity, fit="most-free", max_losses=3,
    ):
        if fit not in FIT_RULES:
            raise ValueError(f"unknown fit rule {fit!r}; known: {', '.join(FIT_RULES)}")
        demand = np.ascontiguousarray(demand, dtype=np.int32)
        capacity = np.ascontiguousarray(capacity, dtype=np.int32)
        n, k = demand.shape
        if capacity.ndim != 2 or capacity.shape[1] != k:
            raise ValueError(f"capacity has shape {capacity.shape}, wanted (workers, {k})")
        if (demand < 0).any() or (capacity < 0).any() or (np.asarray(duration) < 0).any():
            raise ValueError("a demand, a capacity or a duration is negative")
        lengths = {len(succ_ptr) - 1, len(duration), len(order), len(max_retries), len(class_of)}
        if lengths != {n}:
            raise ValueError(f"arrays of different lengths: {sorted(lengths | {n})}")
        self.n_tasks, self.n_workers, self.n_resources = n, capacity.shape[0], k
        self.rule, self.pivot, self.max_losses = FIT_RULES[fit], pivot, max_losses
        self.succ_ptr, self.succ = succ_ptr, succ
        self.demand = demand.reshape(-1)
        self.duration = duration
        self.max_retries = np.array(max_retries, dtype=np.int32)
        self.class_of = class_of
        self.n_left = n
        self._make_task_rows()
        self._make_worker_rows(capacity)
        self._make_classes(np.asarray(class_demand, dtype=np.int32), np.asarray(exact, dtype=np.uint8))
        self._make_trees(np.ascontiguousarray(order, dtype=np.int32))
        self._reserve_log(0)

    def _make_task_rows(self):
        n = self.n_tasks
        indegree = np.bincount(np.asarray(self.succ), minlength=n) if len(self.succ) else np.zeros(n)
        if len(indegree) > n:
            raise ValueError("a successor is out of range")
        self.missing = indegree.astype(np.int32)
        self.state = np.zeros(n, dtype=np.uint8)
        self.reason = np.zeros(n, dtype=np.uint8)
        self.picky = np.zeros(n, dtype=np.uint8)
        self.doomed = np.zeros(n, dtype=np.uint8)
        self.attempt = np.zeros(n, dtype=np.int32)
        self.failures = np.zeros(n, dtype=np.int32)
        self.losses = np.zeros(n, dtype=np.int32)
        self.worker = np.full(n, -1, dtype=np.int32)
        self.start = np.full(n, -1, dtype=np.int64)
        self.end = np.full(n, -1, dtype=np.int64)
        self.cause = np.full(n, -1, dtype=np.int32)
        self.last_fail = np.full(n, -1, dtype=np.int32)
        self.started = np.empty(n, dtype=np.int32)
        self.stack = np.empty(n, dtype=np.int32)
        self.failed_tasks = np.empty(n, dtype=np.int32)
        self.event_time = np.empty(n, dtype=np.int64)
        self.event_task = np.empty(n, dtype=np.int32)
        self.log_task = self.log_worker = self.log_attempt = self.log_prev = np.empty(0, dtype=np.int32)
        self.log_start = self.log_end = np.empty(0, dtype=np.int64)
        self.log_reason = np.empty(0, dtype=np.uint8)

    def _make_worker_rows(self, capacity):
        w, k = capacity.shape
        self.stride = max(1, (w + BLOCK - 1) // BLOCK) * BLOCK
        rows = np.full((k, self.stride), -1, dtype=np.int32)
        rows[:, :w] = capacity.T
        self.capacity = rows.reshape(-1)
        self.free = rows.reshape(-1).copy()
        self.live = np.ones(w, dtype=np.uint8)
        self.expected = np.zeros(w, dtype=np.uint8)
        self.merit = np.full(self.stride, INT64_MIN + 1, dtype=np.int64)
        self.block_merit = np.zeros(self.stride // BLOCK, dtype=np.int64)
        self.total = np.zeros(k, dtype=np.int64)
        self.barred = np.zeros(self.stride, dtype=np.int32)
        self.touched = np.empty(w, dtype=np.int32)
        self.is_touched = np.zeros(w, dtype=np.uint8)
        self._book_workers()

    def _make_classes(self, class_demand, exact):
        c, k = class_demand.shape
        self.n_classes = c
        rows = np.zeros((c + 1, k), dtype=np.int32)
        rows[:c] = class_demand
        rows[:, self.pivot] = 0
        self.class_demand = rows.reshape(-1)
        self.exact = np.append(exact, np.uint8(0))
        self.front = np.full(c + 1, INT32_MAX - 1, dtype=np.int32)
        self.base = np.zeros(c + 1, dtype=np.int32)
        self.cursor = np.zeros(c + 1, dtype=np.int64)
        self.candidate = np.full(c + 1, -1, dtype=np.int32)
        self.candidate_position = np.full(c + 1, NO_CANDIDATE, dtype=np.int32)
        self.stale = np.ones(c + 1, dtype=np.uint8)

    def _make_trees(self, order):
        cdef Py_ssize_t i
        cdef int32_t task, c
        sizes = np.bincount(np.asarray(self.class_of), minlength=self.n_classes)
        if len(sizes) != self.n_classes or len(order) and (
            np.bincount(order, minlength=self.n_tasks) != 1
        ).any():
            raise ValueError("a class is out of range, or `order` is not a permutation of the tasks")
        self.first_leaf = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        level = np.zeros((self.n_classes + 1, LEVELS), dtype=np.int64)
        depth = np.zeros(self.n_classes + 1, dtype=np.int32)
        at = 0
        for c in range(self.n_classes):
            starts, depth[c], at = _row_levels(max(1, sizes[c]), at)
            level[c, :len(starts)] = starts
        self.level, self.depth = level.reshape(-1), depth
        self.tree = np.full(at, ABSENT, dtype=np.int32)
        self.position = np.empty(self.n_tasks, dtype=np.int32)
        self.leaf_of = np.empty(self.n_tasks, dtype=np.int32)
        self.task_at = np.empty(self.n_tasks, dtype=np.int32)
        cdef int32_t[::1] by_urgency = order
        cdef int64_t[::1] filled = np.asarray(self.first_leaf).copy()
        with nogil:
            for i in range(self.n_tasks):
                task = by_urgency[i]
                c = self.class_of[task]
                self.position[task] = <int32_t>i
                self.leaf_of[task] = <int32_t>(filled[c] - self.first_leaf[c])
                self.task_at[filled[c]] = task
                filled[c] += 1
            for i in range(self.n_tasks):
                if self.missing[i] == 0:
                    self._book_ready(<int32_t>i)

    # ------------------------------------------------------------ doors: retail

    def assign(self, now):
        """Make every choice that can be made at `now` and book it. See the .pyi."""
        self._check_open(now)
        with nogil:
            self._decide()
        return [
            (self.started[i], self.worker[self.started[i]], self.attempt[self.started[i]])
            for i in range(self.n_started)
        ]

    def finished(self, int32_t task, int32_t attempt, now):
        """Book that an attempt completed. See the .pyi."""
        self._check_open(now)
        if not self._is_open(task, attempt):
            return False
        self._book_completed(task)
        return True

    def failed(self, int32_t task, int32_t attempt, now, int reason):
        """Book that an attempt failed. See the .pyi."""
        if not 1 <= reason <= LAST_CODE:
            raise ValueError(f"reason code {reason} is out of range")
        self._check_open(now)
        if not self._is_open(task, attempt):
            return False
        self._reserve_log(1)
        self._book_failed(task, reason)
        return True

    def cancel(self, int32_t task, now):
        """Book that a task is not wanted any more. See the .pyi."""
        self._check_open(now)
        if not 0 <= task < self.n_tasks:
            raise IndexError(f"task {task} is out of range")
        if self.state[task] > RUNNING:
            return False
        self._reserve_log(1)
        if self.state[task] == RUNNING:
            self._book_end(task)
            self._log(task, CODE_CANCELLED)
        elif self.state[task] == READY:
            self._leave_tree(task)
        self._book_failed_for_good(task, CANCELLED, CODE_CANCELLED)
        return True

    def remove_worker(self, int32_t worker, now, bint expected=False):
        """Book that a worker is not there, and its open attempts with it. See the .pyi."""
        self._check_open(now)
        if not 0 <= worker < self.n_workers or not (self.live[worker] or self.expected[worker]):
            raise IndexError(f"worker {worker} is neither live nor expected")
        state, where = np.asarray(self.state), np.asarray(self.worker)
        orphans = np.nonzero((state == RUNNING) & (where == worker))[0].tolist()
        self._reserve_log(len(orphans))
        self.live[worker] = 0
        self.expected[worker] = expected
        for task in orphans:
            self._book_failed(task, CODE_WORKER_LOST)
        self._book_workers()
        return orphans

    def add_worker(self, int32_t worker, now):
        """Book that a worker which was lost is back, with all its capacity free. See the .pyi."""
        self._check_open(now)
        if not 0 <= worker < self.n_workers or self.live[worker]:
            raise IndexError(f"worker {worker} is not one that was removed")
        self.live[worker] = 1
        self.expected[worker] = 0
        self._book_workers()

    def fail_unsatisfiable(self, now):
        """Fail every task that has not started and that no worker could ever hold. See the .pyi."""
        cdef int32_t task, i
        cdef int32_t n_hopeless = 0
        cdef int c
        cdef bint held
        self._check_open(now)
        there = np.pad(np.asarray(self.live) | np.asarray(self.expected), (0, self.stride - self.n_workers))
        rows = np.where(there, self._rows(self.capacity), -1)
        cdef int32_t[::1] room = np.ascontiguousarray(rows, dtype=np.int32).reshape(-1)
        cdef int32_t[::1] most = np.empty(self.n_classes, dtype=np.int32)
        cdef int k = self.n_resources
        with nogil:
            for c in range(self.n_classes):
                most[c] = frontier(room, self.stride, k, self.pivot, self.class_demand, c * k)
            for task in range(self.n_tasks):
                if self.state[task] > READY:
                    continue
                c = self.class_of[task]
                held = self.demand[task * k + self.pivot] <= most[c]
                if held and not self.exact[c]:
                    held = fit_worker(
                        room, self.stride, k, self.demand, task * k, self.merit, self.block_merit, self.barred, -1
                    ) >= 0
                if not held:
                    self.started[n_hopeless] = task
                    n_hopeless += 1
            for i in range(n_hopeless):     # each for its own reason, before any dependent is skipped
                task = self.started[i]
                if self.state[task] == READY:
                    self._leave_tree(task)
                self.state[task] = FAILED
                self.reason[task] = CODE_UNSATISFIABLE
                self._note_failed(task)
            for i in range(n_hopeless):
                self._skip_dependents(self.started[i])
        self.n_started = 0
        return n_hopeless

    def failed_since(self, int32_t count):
        """The tasks that failed for good after the first `count` that did. See the .pyi."""
        return np.asarray(self.failed_tasks)[count:self.n_failed].tolist()

    # ------------------------------------------------------------ doors: wholesale

    def simulate(self, outcome=None):
        """Play the whole virtual time line. See the .pyi."""
        cdef bint asks = outcome is not None
        cdef bint more
        if self.now != 0 or self.n_running or np.asarray(self.attempt).any():
            raise InternalError("simulate() wants a core on which nothing has happened yet")
        self.fail_unsatisfiable(0)
        self.virtual = True
        with nogil:
            self._decide()
        while True:
            if asks:
                self._ask(outcome)
            with nogil:
                more = self._play(1 if asks else SLICE)
            if not more:
                break
            PyErr_CheckSignals()
        self.virtual = False
        if self.n_left:
            raise InternalError(f"{self.n_left} tasks were left over at the end of virtual time")

    def _ask(self, outcome):
        """Let the caller say which of the attempts that just started will fail."""
        cdef int32_t i, task
        for i in range(self.n_started):
            task = self.started[i]
            self.doomed[task] = not outcome(task, self.worker[task], self.attempt[task])
        self._reserve_log(self.n_running)

    cdef bint _play(self, int instants) noexcept nogil:
        # Out: False at the end of virtual time; else so many instants were played, each with its decision.
        cdef int i
        for i in range(instants):
            if self.n_events == 0:
                return False
            self._absorb_next_instant()
            self._decide()
        return True

    cdef void _absorb_next_instant(self) noexcept nogil:
        # All facts of one instant are booked before the next decision.
        cdef int32_t task
        self.now = self.event_time[0]
        while self.n_events and self.event_time[0] == self.now:
            task = self.event_task[0]
            event_pop(self.event_time, self.event_task, self.n_events)
            self.n_events -= 1
            if self.doomed[task]:
                self.doomed[task] = 0
                self._book_failed(task, CODE_EXIT)
            else:
                self._book_completed(task)

    # ------------------------------------------------------------ facts

    cdef void _book_ready(self, int32_t task) noexcept nogil:
        # A task whose dependencies have completed enters the tree of its class, or the picky one.
        cdef int c = self.class_of[task]
        cdef int32_t leaf = self.leaf_of[task]
        self.state[task] = READY
        if self.last_fail[task] >= 0 and self._bar_failed_workers(task):
            self.picky[task] = 1
            c = self.n_classes
            leaf = self.position[task]
        tree_set(
            self.tree, self.level, c * LEVELS, self.depth[c], leaf,
            self.demand[<Py_ssize_t>task * self.n_resources + self.pivot] - 1,
        )
        self.stale[c] = 1

    cdef void _leave_tree(self, int32_t task) noexcept nogil:
        # The task is not ready any more.
        cdef int c = self.class_of[task]
        cdef int32_t leaf = self.leaf_of[task]
        if self.picky[task]:
            self.picky[task] = 0
            c = self.n_classes
            leaf = self.position[task]
        tree_set(self.tree, self.level, c * LEVELS, self.depth[c], leaf, ABSENT)
        self.stale[c] = 1

    cdef void _book_start(self, int32_t task, int32_t worker) noexcept nogil:
        # A ready task starts its next attempt on a worker that has room for it.
        self._leave_tree(task)
        self._take_room(task, worker, 1)
        self.state[task] = RUNNING
        self.worker[task] = worker
        self.attempt[task] += 1
        self.start[task] = self.now
        self.end[task] = -1
        self.n_running += 1

    cdef void _book_end(self, int32_t task) noexcept nogil:
        # The open attempt ends, however it went: its worker has the room again.
        cdef int32_t worker = self.worker[task]
        self.end[task] = self.now
        self.n_running -= 1
        if self.live[worker]:
            self._take_room(task, worker, -1)
            if not self.is_touched[worker]:
                self.is_touched[worker] = 1
                self.touched[self.n_touched] = worker
                self.n_touched += 1

    cdef void _take_room(self, int32_t task, int32_t worker, int32_t sign) noexcept nogil:
        # In: sign 1 takes the task's demand from the worker's free amounts, -1 gives it back.
        cdef Py_ssize_t row = <Py_ssize_t>task * self.n_resources
        cdef int r
        for r in range(self.n_resources):
            self.free[r * self.stride + worker] -= sign * self.demand[row + r]
        self._score_worker(worker)

    cdef void _score_worker(self, int32_t worker) noexcept nogil:
        # The merit that follows from a score, the sum over r of floor(free[r] * 2**31 / total[r]); amounts are below
        # 2**31, so every product fits 64 bits. Out: merit[worker], and the largest of its block.
        cdef int64_t score = 0
        cdef Py_ssize_t at = worker >> 4 << 4
        cdef int r, k
        if self.rule != FIRST_FIT:
            for r in range(self.n_resources):
                if self.total[r] > 0:
                    score += ((<int64_t>self.free[r * self.stride + worker]) << 31) // self.total[r]
        self.merit[worker] = -score if self.rule == BEST_FIT else score
        score = self.merit[at]
        for k in range(1, BLOCK):
            score = max(score, self.merit[at + k])
        self.block_merit[worker >> 4] = score

    cdef void _book_completed(self, int32_t task) noexcept nogil:
        # The open attempt succeeded: dependents that waited for nothing else are ready.
        cdef int64_t k
        cdef int32_t successor
        self._book_end(task)
        self.state[task] = COMPLETED
        self.n_left -= 1
        for k in range(self.succ_ptr[task], self.succ_ptr[task + 1]):
            successor = self.succ[k]
            self.missing[successor] -= 1
            if self.missing[successor] == 0 and self.state[successor] == WAITING:
                self._book_ready(successor)

    cdef bint _book_failed(self, int32_t task, uint8_t reason) noexcept nogil:
        # The open attempt failed. Out: True where the task is ready again. Lost workers have a budget
        # of their own, and leave nothing to avoid.
        cdef bint again
        self._book_end(task)
        self._log(task, reason)
        if reason == CODE_WORKER_LOST:
            self.losses[task] += 1
            again = self.losses[task] <= self.max_losses
        else:
            self.failures[task] += 1
            again = self.failures[task] <= self.max_retries[task]
        if again:
            self._book_ready(task)
        else:
            self._book_failed_for_good(task, FAILED, reason)
        return again

    cdef void _book_failed_for_good(self, int32_t task, uint8_t state, uint8_t reason) noexcept nogil:
        self.state[task] = state
        self.reason[task] = reason
        self._note_failed(task)
        self._skip_dependents(task)

    cdef void _note_failed(self, int32_t task) noexcept nogil:
        # Each task comes here once at most.
        self.failed_tasks[self.n_failed] = task
        self.n_failed += 1
        self.n_left -= 1

    cdef void _skip_dependents(self, int32_t root) noexcept nogil:
        # Every waiting descendant of a task that failed for good, each once; no recursion.
        cdef Py_ssize_t top = 1
        cdef int64_t k
        cdef int32_t task, successor
        self.stack[0] = root
        while top > 0:
            top -= 1
            task = self.stack[top]
            for k in range(self.succ_ptr[task], self.succ_ptr[task + 1]):
                successor = self.succ[k]
                if self.state[successor] == WAITING:
                    self.state[successor] = SKIPPED
                    self.reason[successor] = CODE_DEPENDENCY
                    self.cause[successor] = root
                    self._note_failed(successor)
                    self.stack[top] = successor
                    top += 1

    cdef void _log(self, int32_t task, uint8_t reason) noexcept nogil:
        # An attempt that did not complete; the caller has reserved the room.
        cdef Py_ssize_t at = self.n_log
        self.log_task[at] = task
        self.log_worker[at] = self.worker[task]
        self.log_attempt[at] = self.attempt[task]
        self.log_start[at] = self.start[task]
        self.log_end[at] = self.now
        self.log_reason[at] = reason
        self.log_prev[at] = self.last_fail[task]
        self.last_fail[task] = <int32_t>at
        self.n_log += 1

    # ------------------------------------------------------------ choices

    cdef void _decide(self) noexcept nogil:
        # Over all ready tasks in order of urgency: the first that fits some worker now is placed on the
        # worker that the fit rule prefers, until none fits. Out: started[:n_started].
        cdef int c, best
        cdef int32_t task, worker, urgent, mark
        cdef Py_ssize_t row
        self.n_started = 0
        self._raise_fronts()
        for c in range(self.n_classes + 1):
            if not self.exact[c] and self.depth[c]:
                self.cursor[c] = 0
                self.stale[c] = 1
            if self.stale[c]:
                self._find_candidate(c)
        while True:
            best, urgent = -1, NO_CANDIDATE
            for c in range(self.n_classes + 1):
                if self.candidate_position[c] < urgent:
                    best, urgent = c, self.candidate_position[c]
            if best < 0:
                break
            task = self.candidate[best]
            row = <Py_ssize_t>task * self.n_resources
            mark = -1
            if self.picky[task] and self._bar_failed_workers(task):
                mark = self.mark
            if self.n_touched <= FEW and self.demand[row + self.pivot] > self.base[best]:
                worker = self._fit_touched(row, mark)       # nobody else has room for it
            else:
                worker = fit_worker(
                    self.free, self.stride, self.n_resources, self.demand, row,
                    self.merit, self.block_merit, self.barred, mark,
                )
            if worker < 0:
                self._refuse(best, task)
            else:
                self._book_start(task, worker)
                self.started[self.n_started] = task
                self.n_started += 1
                if self.virtual:
                    event_push(
                        self.event_time, self.event_task, self.n_events, self.now + self.duration[task], task
                    )
                    self.n_events += 1
                if self.n_touched <= FEW:
                    self._lower_fronts()
            self._find_candidate(best)
        self.n_touched = 0

    cdef int32_t _fit_touched(self, Py_ssize_t row, int32_t mark) noexcept nogil:
        # As `fit_worker`, among the touched workers alone.
        cdef int32_t best = -1, worker, i
        cdef int r
        for i in range(self.n_touched):
            worker = self.touched[i]
            for r in range(self.n_resources):
                if self.free[r * self.stride + worker] < self.demand[row + r]:
                    break
            else:
                if self.barred[worker] != mark and (
                    best < 0 or self.merit[worker] > self.merit[best]
                    or (self.merit[worker] == self.merit[best] and worker < best)
                ):
                    best = worker
        return best

    cdef void _raise_fronts(self) noexcept nogil:
        # Room was made on the touched workers: a class whose demand has room there may see further.
        # Out: base[c] bounds the class on all workers but these.
        cdef int32_t i, room
        cdef int c
        for c in range(self.n_classes + 1):
            self.base[c] = self.front[c]
        for i in range(self.n_touched):
            self.is_touched[self.touched[i]] = 0
            for c in range(self.n_classes + 1):
                room = self._room_for_class(c, self.touched[i])
                if room > self.front[c]:
                    self.front[c] = room
                    self.stale[c] = 1

    cdef void _lower_fronts(self) noexcept nogil:
        # A task took room, and where that was made on a few workers only, it is soon said what they still offer:
        # a class that saw further for their sake alone is not asked in vain.
        cdef int32_t i, front
        cdef int c
        for c in range(self.n_classes + 1):
            if self.candidate[c] < 0 or self.front[c] <= self.base[c]:
                continue
            front = self.base[c]
            for i in range(self.n_touched):
                front = max(front, self._room_for_class(c, self.touched[i]))
            self.front[c] = front
            if self.demand[<Py_ssize_t>self.candidate[c] * self.n_resources + self.pivot] > front:
                self._find_candidate(c)

    cdef int32_t _room_for_class(self, int c, int32_t worker) noexcept nogil:
        # Out: the pivot that is free on the worker if it has room for the rest of the class's demand, else -1.
        cdef int r
        for r in range(self.n_resources):
            if self.free[r * self.stride + worker] < self.class_demand[c * self.n_resources + r]:
                return -1
        return self.free[self.pivot * self.stride + worker]

    cdef void _find_candidate(self, int c) noexcept nogil:
        # The most urgent ready task of the class under its front, past the ones refused in this decision.
        cdef Py_ssize_t leaf = -1
        self.stale[c] = 0
        if self.depth[c] and self.front[c] >= 0:
            leaf = tree_first(self.tree, self.level, c * LEVELS, self.depth[c], self.cursor[c], self.front[c] - 1)
        if leaf < 0:
            self.candidate[c] = -1
            self.candidate_position[c] = NO_CANDIDATE
        else:
            self.candidate[c] = self.task_at[self.first_leaf[c] + leaf]
            self.candidate_position[c] = self.position[self.candidate[c]]

    cdef void _refuse(self, int c, int32_t task) noexcept nogil:
        # No worker has room for the candidate of the class: measure the front; where that alone does not
        # rule it out (the class is not exact, or workers are barred to it), pass over it until the next decision.
        cdef Py_ssize_t row = c * self.n_resources
        self.front[c] = frontier(
            self.free, self.stride, self.n_resources, self.pivot, self.class_demand, row
        )
        self.base[c] = min(self.base[c], self.front[c])
        if self.front[c] >= self.demand[<Py_ssize_t>task * self.n_resources + self.pivot]:
            self.cursor[c] = (self.position[task] if self.picky[task] else self.leaf_of[task]) + 1

    cdef bint _bar_failed_workers(self, int32_t task) noexcept nogil:
        # Mark the workers on which the task failed by its own fault. Out: whether they are to be avoided,
        # which they are while another worker, live or expected, could ever hold the task.
        cdef int32_t at = self.last_fail[task], worker
        cdef Py_ssize_t row = <Py_ssize_t>task * self.n_resources
        cdef int r
        cdef bint any_failed = False
        self.mark += 1
        while at >= 0:
            if self.log_reason[at] != CODE_WORKER_LOST:
                self.barred[self.log_worker[at]] = self.mark
                any_failed = True
            at = self.log_prev[at]
        if not any_failed:
            return False
        for worker in range(self.n_workers):
            if (self.live[worker] or self.expected[worker]) and self.barred[worker] != self.mark:
                for r in range(self.n_resources):
                    if self.capacity[r * self.stride + worker] < self.demand[row + r]:
                        break
                else:
                    return True
        return False

    # ------------------------------------------------------------ book-keeping

    cdef bint _is_open(self, int32_t task, int32_t attempt) except -1:
        # Whether a report for this attempt counts; a stale one does not, an impossible one raises.
        if not 0 <= task < self.n_tasks:
            raise IndexError(f"task {task} is out of range")
        if attempt > self.attempt[task]:
            raise InternalError(f"a report for attempt {attempt} of task {task}, which never started")
        return self.state[task] == RUNNING and self.attempt[task] == attempt

    cdef void _check_open(self, int64_t now) except *:
        if now < self.now:
            raise InternalError(f"time went back from {self.now} to {now}")
        self.now = now

    def _rows(self, amounts):
        return np.asarray(amounts).reshape(self.n_resources, self.stride)

    def _book_workers(self):
        """The set of live workers changed: free amounts, scores, and who must avoid whom follow."""
        cdef int32_t worker, task
        live = np.pad(np.asarray(self.live, dtype=bool), (0, self.stride - self.n_workers))
        capacity, free = self._rows(self.capacity), self._rows(self.free)
        back = live & (free[0] < 0)
        free[:, back] = capacity[:, back]
        free[:, ~live] = -1
        np.asarray(self.total)[:] = capacity[:, live].sum(axis=1, dtype=np.int64)
        for worker in np.nonzero(live)[0]:
            self._score_worker(worker)
            if not self.is_touched[worker]:
                self.is_touched[worker] = 1
                self.touched[self.n_touched] = worker
                self.n_touched += 1
        if self.n_log:
            once_failed = np.asarray(self.last_fail) >= 0
            for task in np.nonzero(once_failed & (np.asarray(self.state) == READY))[0]:
                self._leave_tree(task)
                self._book_ready(task)

    def _reserve_log(self, Py_ssize_t extra):
        """Make room for so many more entries, and at the first failure make the picky class."""
        cdef Py_ssize_t wanted = self.n_log + extra
        if wanted <= self.log_task.shape[0]:
            return
        if not self.depth[self.n_classes]:
            self._make_picky_class()
        size = max(wanted, 2 * self.log_task.shape[0], 64)
        self.log_task = np.resize(self.log_task, size)
        self.log_worker = np.resize(self.log_worker, size)
        self.log_attempt = np.resize(self.log_attempt, size)
        self.log_start = np.resize(self.log_start, size)
        self.log_end = np.resize(self.log_end, size)
        self.log_reason = np.resize(self.log_reason, size)
        self.log_prev = np.resize(self.log_prev, size)

    def _make_picky_class(self):
        """Class number C: leaves by position, any demand, bars looked at task by task."""
        c, old = self.n_classes, len(self.tree)
        starts, depth, end = _row_levels(max(1, self.n_tasks), old)
        np.asarray(self.level)[c * LEVELS:c * LEVELS + len(starts)] = starts
        self.tree = np.concatenate((self.tree, np.full(end - old, ABSENT, dtype=np.int32)))
        by_position = np.empty(self.n_tasks, dtype=np.int32)
        by_position[np.asarray(self.position)] = np.arange(self.n_tasks, dtype=np.int32)
        self.task_at = np.concatenate((self.task_at, by_position))
        self.depth[c] = depth

    def columns(self):
        """What became of every task, as numpy columns. See the .pyi."""
        names = ("state", "reason", "attempt", "failures", "losses", "worker", "start", "end", "cause")
        return {name: np.asarray(view) for name, view in zip(names, (
            self.state, self.reason, self.attempt, self.failures, self.losses,
            self.worker, self.start, self.end, self.cause,
        ))}

    def log(self):
        """The attempts that did not complete, as numpy columns. See the .pyi."""
        names = ("task", "worker", "attempt", "start", "end", "reason")
        return {name: np.asarray(view)[:self.n_log] for name, view in zip(names, (
            self.log_task, self.log_worker, self.log_attempt, self.log_start, self.log_end, self.log_reason,
        ))}

    def free_amounts(self):
        """What is free on every worker now. See the .pyi."""
        return self._rows(self.free)[:, :self.n_workers].T.copy()

    def live_workers(self):
        """Which workers are live. See the .pyi."""
        return np.asarray(self.live, dtype=bool).copy()

    # ------------------------------------------------------------ invariants

    def check(self):
        """Recount every invariant. See the .pyi."""
        state, demand = np.asarray(self.state), np.asarray(self.demand).reshape(self.n_tasks, self.n_resources)
        live = np.asarray(self.live, dtype=bool)
        running = np.nonzero(state == RUNNING)[0]
        where = np.asarray(self.worker)[running]
        held = np.zeros((self.n_workers, self.n_resources), dtype=np.int64)
        np.add.at(held, where, demand[running])
        capacity = self._rows(self.capacity)[:, :self.n_workers].T
        free = self._rows(self.free)[:, :self.n_workers].T
        self._demand(live[where].all(), "a task runs on a worker that has left")
        self._demand((free[live] + held[live] == capacity[live]).all(), "free + held is not the capacity")
        self._demand((free[live] >= 0).all() and (free[~live] == -1).all(), "a free amount is out of range")
        self._demand(len(running) == self.n_running, "open attempts are miscounted")
        self._demand(np.isin(state, (WAITING, READY, RUNNING)).sum() == self.n_left, "tasks left are miscounted")
        tails = np.repeat(np.arange(self.n_tasks), np.diff(self.succ_ptr))
        missing = np.bincount(np.asarray(self.succ)[state[tails] != COMPLETED], minlength=self.n_tasks)
        self._demand((missing[:self.n_tasks] == np.asarray(self.missing)).all(), "indegrees are miscounted")
        self._demand((missing[np.isin(state, (READY, RUNNING, COMPLETED))] == 0).all(), "a task overtook a dependency")
        self._check_trees(state, demand)
        times = np.asarray(self.event_time)[:self.n_events]
        above = (np.arange(1, len(times)) - 1) >> 2
        self._demand((times[above] <= times[1:]).all(), "the event heap is out of order")

    def _check_trees(self, state, demand):
        """Every ready task stands in just one tree, with its amount, and every node is its least child."""
        leaves = np.concatenate((np.asarray(self.leaf_of), np.asarray(self.position)))
        n, picky = self.n_tasks, np.asarray(self.picky, dtype=bool)
        for c in range(self.n_classes + 1):
            level = np.asarray(self.level)[c * LEVELS:(c + 1) * LEVELS]
            if not self.depth[c]:
                continue
            rows = [np.asarray(self.tree)[level[i]:level[i + 1]] for i in range(self.depth[c])]
            wanted = np.full(len(rows[0]), ABSENT, dtype=np.int32)
            mine = picky if c == self.n_classes else ~picky & (np.asarray(self.class_of) == c)
            mine = np.nonzero(mine & (state == READY))[0]
            wanted[leaves[mine + (n if c == self.n_classes else 0)]] = demand[mine, self.pivot] - 1
            self._demand((rows[0] == wanted).all(), "a tree does not hold just the ready tasks")
            for below, above in zip(rows, rows[1:]):
                least = below.reshape(-1, FAN).min(axis=1)
                self._demand((above[:len(least)] == least).all(), "a tree node is not its least child")

    def _demand(self, holds, message):
        if not holds:
            raise InternalError(message)
