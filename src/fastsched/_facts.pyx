# cython: language_level=3
"""The state machine's memory: it books facts about tasks and workers, and makes no choice.

It knows no name, no clock, no file: tasks and workers are dense indices, amounts are whole
numbers, time is an integer of nanoseconds that is passed in. A fact is refused only where it is
impossible; a stale one is dropped. What follows from a fact follows at once and by itself:
dependents become ready or are skipped, a failed task is ready again, delayed, or failed for
good, a worker that fails what succeeds elsewhere is put in quarantine. `_core.pyx` derives the
one class that makes choices from this one; a replay of facts needs only what stands here.

Theory of operation. Ready tasks stand in trees, and room in the workers' rows, so that a choice
finds both in order. Tasks that were submitted together make a *layer*; in a layer, tasks that
are alike in all resources but one, the pivot, make a *slot*. A slot is a min-tree over what its
ready tasks need of the pivot, laid out in order of urgency. A new layer swallows the ones
before it that are not more than twice its size, so there are few however often tasks are
submitted, and each task is laid out again a logarithmic number of times. A slot's demand is a lower
bound of its members' (`loose` where some member may need more), which is all that a choice relies on.

`free` shows what workers have to offer, and -1 for whoever takes nothing: it left, drains, is in
quarantine, has its one attempt on probation, or holds more than its capacity since that shrank.
Open attempts hang in a list at their worker, so that what is free can be counted again, and the
loss of a worker costs what was running there.
"""

cimport cython
from libc.stdint cimport INT32_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint64_t

import numpy as np

from ._chance cimport draw
from ._fit cimport BEST_FIT, BLOCK, FIRST_FIT, MOST_FREE
from ._grid cimport CELLS, SIDE, grid_enter, grid_leave, grid_level
from ._heap cimport ABSENT, FAN, LEVELS, event_pop, event_push, tree_set

from ._graphs import successors as make_successors
from .errors import InternalError

FIT_RULES = {"most-free": MOST_FREE, "best-fit": BEST_FIT, "first-fit": FIRST_FIT}


def _extended(column, Py_ssize_t used, Py_ssize_t extra, values):
    """The column with so many entries more, doubled where it is full; an empty one adopts an array as it is."""
    if used == 0 and isinstance(values, np.ndarray):
        return values
    old = np.asarray(column)
    if used == 0 and values == 0:
        return np.zeros(extra, dtype=old.dtype)     # pages that are never written to are never made
    if len(old) < used + extra:
        grown = np.empty(max(used + extra, 2 * used), dtype=old.dtype)
        grown[:used] = old[:used]
        old = grown
    old[used:used + extra] = values
    return old


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


cdef class Facts:
    """See the .pyi."""

    def __init__(
        self, *, n_resources, pivot=1, fit="most-free", max_losses=3, max_ooms=3, oom_growth=1000, memory=1,
        backoff=0, backoff_cap=0, jitter=0, seed=0, quarantine_after=0, probation=0, many_workers=512, tell_stuck=False,
    ):
        if fit not in FIT_RULES:
            raise ValueError(f"unknown fit rule {fit!r}; known: {', '.join(FIT_RULES)}")
        if not 0 <= pivot < n_resources or not 0 <= memory < n_resources:
            raise ValueError(f"pivot {pivot} or memory {memory} is not one of {n_resources} resources")
        if min(max_losses, max_ooms, backoff, backoff_cap, jitter, quarantine_after, probation) < 0 or jitter > 1000:
            raise ValueError("a budget, a delay or a share is out of range")
        if oom_growth < 1000:
            raise ValueError(f"oom_growth is {oom_growth}; 1000 thousandths or more are wanted")
        self.n_resources, self.pivot, self.memory, self.rule = n_resources, pivot, memory, FIT_RULES[fit]
        self.max_losses, self.max_ooms, self.oom_growth = max_losses, max_ooms, oom_growth
        self.backoff, self.backoff_cap, self.jitter = backoff, max(backoff, backoff_cap), jitter
        self.seed = seed
        self.quarantine_after, self.probation = quarantine_after, probation
        self.many_workers, self.tell_stuck = many_workers, tell_stuck
        self.reserved_task = self.reserved_worker = -1
        self.next_release = -1
        self.notices = []
        self.layer_size = []
        self._make_columns()
        self._make_worker_rows(np.zeros((0, n_resources), dtype=np.int32))

    def _make_columns(self):
        """Every column of tasks, slots, log and heaps, still empty."""
        int32s, int64s = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64)
        uint8s = np.empty(0, dtype=np.uint8)
        self.succ_ptr, self.succ = np.zeros(1, dtype=np.int64), int32s
        self.late_head = self.late_next = self.late_task = int32s
        self.demand = self.max_retries = self.slot_of = self.leaf_of = int32s
        self.duration = self.priority = self.key = int64s
        self.state = self.reason = self.told_stuck = uint8s
        self.missing = self.attempt = self.failures = self.ooms = self.losses = self.worker = int32s
        self.start = self.end = self.overtaken = int64s
        self.cause = self.last_fail = self.next_on = self.before_on = self.failed_tasks = self.stack = int32s
        self.wake_time, self.wake_task = int64s, int32s
        self.log_task = self.log_worker = self.log_attempt = self.log_prev = int32s
        self.log_start = self.log_end = int64s
        self.log_reason = uint8s
        self.layer_slot = np.zeros(LEVELS * 8, dtype=np.int32)
        self.slot_demand = self.most = self.front = self.base = self.need = self.stale = int32s
        self.depth = self.tree = self.task_at = self.position_at = int32s
        self.candidate = self.candidate_position = self.candidate_need = int32s
        self.loose = self.passed = uint8s
        self.level = self.cursor = int64s
        self.first_leaf = np.zeros(1, dtype=np.int64)
        self.capacity = self.free = self.incarnation = self.strikes = self.terms = self.touched = self.first_on = int32s
        self.cell_head = self.cell_of = self.child = self.sibling = self.before = self.walk = int32s
        self.inverse = np.empty(0)
        self.merit = self.block_merit = self.total = self.release = self.barred = self.seen = int64s
        self.live = self.expected = self.draining = self.shown = self.trust = self.is_touched = uint8s
        self.clean = np.empty(0, dtype=np.intp)

    # ------------------------------------------------------------ doors: tasks

    def add_tasks(
        self, now, *, dep_ptr, deps, demand, duration, priority, key, max_retries, class_of, class_demand,
        order=None, successors=None,
    ):
        """Book a batch of submitted tasks. See the .pyi."""
        cdef int32_t first = self.n_tasks, m = len(duration)
        self._check_open(now)
        demand = np.ascontiguousarray(demand, dtype=np.int32)
        class_demand = np.ascontiguousarray(class_demand, dtype=np.int32)
        _check_batch(first, m, self.n_resources, dep_ptr, deps, demand, duration, priority, key, max_retries,
                     class_of, class_demand)
        if order is not None and (len(order) != m or m and (np.bincount(order, minlength=m) != 1).any()):
            raise ValueError("`order` is not a permutation of the batch")
        if m == 0:
            return first
        self._extend_columns(m, demand, duration, priority, key, max_retries)
        if first == 0:
            self.succ_ptr, self.succ = make_successors(dep_ptr, deps) if successors is None else successors
            self.missing = np.diff(dep_ptr).astype(np.int32)
        else:
            self._add_edges(first, m, np.asarray(dep_ptr), np.asarray(deps))
        self.n_tasks = first + m
        self.n_left += m
        if first:
            self._skip_under_failed(first, np.asarray(dep_ptr), np.asarray(deps))
        self._add_layer(first, m, np.asarray(class_of), class_demand, order)
        return first

    def _extend_columns(self, m, demand, duration, priority, key, max_retries):
        n = self.n_tasks
        if self.oom_growth > 1000 or not demand.flags.writeable:
            demand = demand.copy()          # it will be written to, or is not known to be ours
        self.demand = _extended(self.demand, n * self.n_resources, m * self.n_resources, demand.reshape(-1))
        self.duration = _extended(self.duration, n, m, np.ascontiguousarray(duration, dtype=np.int64))
        self.priority = _extended(self.priority, n, m, np.ascontiguousarray(priority, dtype=np.int64))
        self.key = _extended(self.key, n, m, np.ascontiguousarray(key, dtype=np.int64))
        self.max_retries = _extended(self.max_retries, n, m, np.ascontiguousarray(max_retries, dtype=np.int32))
        self.slot_of = _extended(self.slot_of, n, m, -1)
        self.leaf_of = _extended(self.leaf_of, n, m, 0)
        self.state = _extended(self.state, n, m, 0)
        self.reason = _extended(self.reason, n, m, 0)
        self.told_stuck = _extended(self.told_stuck, n, m, 0)
        self.missing = _extended(self.missing, n, m, 0)
        self.attempt = _extended(self.attempt, n, m, 0)
        self.failures = _extended(self.failures, n, m, 0)
        self.ooms = _extended(self.ooms, n, m, 0)
        self.losses = _extended(self.losses, n, m, 0)
        self.worker = _extended(self.worker, n, m, -1)
        self.start = _extended(self.start, n, m, -1)
        self.end = _extended(self.end, n, m, -1)
        self.overtaken = _extended(self.overtaken, n, m, -1)
        self.cause = _extended(self.cause, n, m, -1)
        self.last_fail = _extended(self.last_fail, n, m, -1)
        self.next_on = _extended(self.next_on, n, m, -1)
        self.before_on = _extended(self.before_on, n, m, -1)
        self.failed_tasks = _extended(self.failed_tasks, n, m, 0)
        self.stack = _extended(self.stack, n, m, 0)
        if self.n_late:
            self.late_head = _extended(self.late_head, n, m, -1)

    def _add_edges(self, first, m, dep_ptr, deps):
        """Edges of a later batch: those within it are CSR, those to earlier tasks a forward star."""
        cdef int32_t dep, late
        rows = np.repeat(np.arange(m, dtype=np.int32), np.diff(dep_ptr))
        inside = deps >= first
        inner_ptr = np.concatenate(([0], np.cumsum(np.bincount(rows[inside], minlength=m)))).astype(np.int64)
        succ_ptr, succ = make_successors(inner_ptr, (deps[inside] - first).astype(np.int32))
        n_edges = int(self.succ_ptr[first])
        self.succ_ptr = _extended(self.succ_ptr, first + 1, m, succ_ptr[1:] + n_edges)
        self.succ = _extended(self.succ, n_edges, len(succ), succ + np.int32(first))
        missing = np.diff(inner_ptr).astype(np.int32)
        state = np.asarray(self.state)
        outer = np.nonzero(~inside & (state[deps] != COMPLETED))[0]
        np.add.at(missing, rows[outer], 1)
        np.asarray(self.missing)[first:first + m] = missing
        if not len(outer):
            return
        if not self.n_late:
            self.late_head = _extended(self.late_head, 0, first + m, np.full(first + m, -1, dtype=np.int32))
        late = self.n_late
        self.late_next = _extended(self.late_next, late, len(outer), np.full(len(outer), -1, dtype=np.int32))
        self.late_task = _extended(self.late_task, late, len(outer), rows[outer] + np.int32(first))
        for dep in deps[outer]:
            self.late_next[late] = self.late_head[dep]
            self.late_head[dep] = late
            late += 1
        self.n_late = late

    def _skip_under_failed(self, first, dep_ptr, deps):
        """Tasks that were submitted under a failed one fail now, with what depends on them."""
        cdef int32_t task, dep
        state = np.asarray(self.state)
        rows = np.repeat(np.arange(len(dep_ptr) - 1), np.diff(dep_ptr))
        for at in np.nonzero((deps < first) & (state[deps] >= FAILED))[0]:
            task, dep = first + rows[at], deps[at]
            if self.state[task] == WAITING:
                self._skip(task, self.cause[dep] if self.state[dep] == SKIPPED else dep)

    # ------------------------------------------------------------ doors: attempts

    def started(self, int32_t task, int32_t worker, now):
        """Book that an attempt was started, as a choice that was made before. See the .pyi."""
        cdef int r
        self._check_open(now)
        self._check_worker(worker)
        if not 0 <= task < self.n_tasks or self.state[task] != READY:
            raise InternalError(f"task {task} was started, and was not ready")
        for r in range(self.n_resources):
            if self.free[r * self.stride + worker] < self.demand[<Py_ssize_t>task * self.n_resources + r]:
                raise InternalError(f"task {task} was started on worker {worker}, which had no room for it")
        self._book_start(task, worker)
        return self.attempt[task]

    def finished(self, int32_t task, int32_t attempt, int32_t incarnation, now):
        """Book that an attempt completed. See the .pyi."""
        self._check_open(now)
        if not self._is_open(task, attempt, incarnation):
            return False
        self._book_completed(task)
        return True

    def failed(self, int32_t task, int32_t attempt, int32_t incarnation, now, int reason):
        """Book that an attempt failed. See the .pyi."""
        if not 1 <= reason <= LAST_CODE:
            raise ValueError(f"reason code {reason} is out of range")
        self._check_open(now)
        if not self._is_open(task, attempt, incarnation):
            return False
        self._book_failed(task, reason, True)
        return True

    def cancel(self, int32_t task, now):
        """Book that a task is not wanted any more. See the .pyi."""
        self._check_open(now)
        if not 0 <= task < self.n_tasks:
            raise IndexError(f"task {task} is out of range")
        if self.state[task] == COMPLETED or self.state[task] >= FAILED:
            return False
        if self.state[task] == RUNNING:
            self._book_end(task)
            self._log(task, CODE_CANCELLED)
        elif self.state[task] == READY:
            self._leave_tree(task)
        self._book_failed_for_good(task, CANCELLED, CODE_CANCELLED)
        return True

    def fail_unsatisfiable(self, now):
        """Fail every task that has not started and that no worker could ever hold. See the .pyi."""
        cdef int32_t task
        self._check_open(now)
        hopeless = self._find_unsatisfiable(False)
        for task in hopeless:               # each for its own reason, before any dependent is skipped
            if self.state[task] == READY:
                self._leave_tree(task)
            self.state[task] = FAILED
            self.reason[task] = CODE_UNSATISFIABLE
            self._note_failed(task)
        for task in hopeless:
            self._skip_dependents(task, task)
        return len(hopeless)

    def _find_unsatisfiable(self, bint untold):
        """The tasks that have not started and that nobody could hold; `untold`: the ready ones not yet noticed."""
        cdef int32_t task, s
        found = []
        if self.most_stale:
            self._measure_most()
        for task in range(self.n_tasks):
            if self.state[task] != READY:
                if untold or (self.state[task] != WAITING and self.state[task] != DELAYED):
                    continue
            elif untold and self.told_stuck[task]:
                continue
            s = self.slot_of[task]
            if self.loose[s] or self.demand[<Py_ssize_t>task * self.n_resources + self.pivot] > self.most[s]:
                if not self._anyone_could_hold(task):
                    found.append(task)
        return found

    def failed_since(self, int32_t count):
        """The tasks that failed for good after the first `count` that did. See the .pyi."""
        return np.asarray(self.failed_tasks)[count:self.n_failed].tolist()

    def next_wake(self):
        """When something is due by itself. See the .pyi."""
        due = [self.wake_time[0]] if self.n_wakes else []
        if self.next_release >= 0:
            due.append(self.next_release)
        return min(due) if due else None

    def advance(self, now):
        """Book that time has passed. See the .pyi."""
        self._check_open(now)

    # ------------------------------------------------------------ doors: workers

    def add_workers(self, capacity, now, bint expected=False):
        """Book that new workers are there, or expected. See the .pyi."""
        cdef int32_t worker, first = self.n_workers
        self._check_open(now)
        capacity = np.ascontiguousarray(capacity, dtype=np.int32)
        if capacity.ndim != 2 or capacity.shape[1] != self.n_resources:
            raise ValueError(f"capacity has shape {capacity.shape}, wanted (workers, {self.n_resources})")
        if (capacity < 0).any():
            raise ValueError("a capacity is negative")
        self._make_worker_rows(capacity)
        for worker in range(first, self.n_workers):
            if expected:
                self.expected[worker] = 1
            else:
                self.live[worker] = 1
                self.incarnation[worker] = 1
                self._show(worker)
        self.total_stale = self.most_stale = True
        return first

    def add_worker(self, int32_t worker, now):
        """Book that a worker is there: for the first time, again, or no longer draining. See the .pyi."""
        self._check_open(now)
        self._check_worker(worker)
        if self.live[worker] and not self.draining[worker]:
            raise InternalError(f"worker {worker} joined, and was there")
        if not self.live[worker]:
            self.incarnation[worker] += 1
            self.trust[worker] = TRUSTED
            self.strikes[worker] = self.terms[worker] = 0
            self.clean[worker] = self.n_log
        self.live[worker] = 1
        self.expected[worker] = self.draining[worker] = 0
        self._show(worker)
        self.total_stale = self.most_stale = True

    def add_resources(self, capacity):
        """Count more resources: what the workers have of them; no task has asked for any yet. See the .pyi."""
        cdef int32_t worker
        cdef Py_ssize_t n = self.n_tasks, w = self.n_workers, k = self.n_resources, stride = self.stride
        capacity = np.asarray(capacity, dtype=np.int64)
        if capacity.shape[0] != w or (capacity < 0).any() or (capacity >= 2**31).any():
            raise ValueError(f"a row of amounts below 2**31 for each of {w} workers is wanted")
        more = capacity.shape[1]
        wide = np.full((more, stride), -1, dtype=np.int32)
        wide[:, :w] = capacity.T
        self.capacity = np.concatenate((np.asarray(self.capacity), wide.reshape(-1)))
        self.free = np.concatenate((np.asarray(self.free), np.full(more * stride, -1, dtype=np.int32)))
        self.total, self.inverse = np.zeros(k + more, dtype=np.int64), np.zeros(k + more)
        self.demand = _with_columns(self.demand, n, k, more)
        self.slot_demand = _with_columns(self.slot_demand, self.n_slots, k, more)
        self.n_resources = k + more
        self._turn_slots(self.n_slots)
        self.total_stale = self.most_stale = True
        self._bound_grid()
        for worker in range(w):
            self._show(worker)

    def resize_worker(self, int32_t worker, capacity, now):
        """Book that a worker's capacity has changed. See the .pyi."""
        self._check_open(now)
        self._check_worker(worker)
        capacity = np.asarray(capacity, dtype=np.int64)
        if capacity.shape != (self.n_resources,) or (capacity < 0).any() or (capacity >= 2**31).any():
            raise ValueError(f"a capacity of {self.n_resources} amounts below 2**31 is wanted")
        np.asarray(self.capacity).reshape(self.n_resources, self.stride)[:, worker] = capacity
        self._bound_grid()
        self._show(worker)
        self._worker_went()

    def drain_worker(self, int32_t worker, now):
        """Book that a worker takes nothing more and leaves when it is empty. See the .pyi."""
        self._check_open(now)
        self._check_worker(worker)
        if not self.live[worker]:
            raise InternalError(f"worker {worker} is to drain, and is not there")
        self.draining[worker] = 1
        self._show(worker)
        if self.first_on[worker] < 0:
            self.live[worker] = self.draining[worker] = 0
            self._notify(NOTICE_DRAINED, worker)
        self._worker_went()

    def remove_worker(self, int32_t worker, now, bint expected=False, bint charged=True):
        """Book that a worker is not there, and its open attempts with it. See the .pyi."""
        cdef int32_t task
        self._check_open(now)
        self._check_worker(worker)
        if not (self.live[worker] or self.expected[worker]):
            raise InternalError(f"worker {worker} left, and was not there")
        self.live[worker] = self.draining[worker] = 0
        self.expected[worker] = expected
        if self.trust[worker] == QUARANTINED:
            self.trust[worker] = TRUSTED
            self._find_next_release()
        orphans = self.running_on(worker)
        for task in orphans:
            self._book_failed(task, CODE_WORKER_LOST, charged)
        self._show(worker)
        self._worker_went()
        return orphans

    def running_on(self, int32_t worker):
        """The tasks whose open attempts are on the worker, ascending. See the .pyi."""
        cdef int32_t task
        self._check_worker(worker)
        task = self.first_on[worker]
        found = []
        while task >= 0:
            found.append(task)
            task = self.next_on[task]
        return sorted(found)

    def _worker_went(self):
        """Totals are stale, and tasks that somebody could hold may have nobody left."""
        cdef int32_t task
        self.total_stale = self.most_stale = True
        for task in self._find_unsatisfiable(True) if self.tell_stuck else ():
            self.told_stuck[task] = 1
            self._notify(NOTICE_STUCK, task)

    # ------------------------------------------------------------ facts about tasks

    cdef void _book_ready(self, int32_t task) noexcept nogil:
        # Nothing keeps the task from starting any more: it enters the tree of its slot.
        cdef int s = self.slot_of[task]
        self.state[task] = READY
        tree_set(
            self.tree, self.level, s * LEVELS, self.depth[s], self.leaf_of[task],
            self.demand[<Py_ssize_t>task * self.n_resources + self.pivot] - 1,
        )
        self.stale[s] = 1
        if self.tell_stuck and not self.told_stuck[task] and not self._anyone_could_hold(task):
            self.told_stuck[task] = 1
            self._notify(NOTICE_STUCK, task)

    cdef void _leave_tree(self, int32_t task) noexcept nogil:
        # The task is not ready any more.
        cdef int s = self.slot_of[task]
        tree_set(self.tree, self.level, s * LEVELS, self.depth[s], self.leaf_of[task], ABSENT)
        self.stale[s] = 1
        if self.any_overtaken:
            self.overtaken[task] = -1
        if task == self.reserved_task:
            self.reserved_task = self.reserved_worker = -1

    cdef void _book_start(self, int32_t task, int32_t worker) noexcept nogil:
        # A ready task starts its next attempt on a worker that has room for it.
        cdef int32_t first = self.first_on[worker]
        self._leave_tree(task)
        self._take_room(task, worker, 1)
        self.state[task] = RUNNING
        self.worker[task] = worker
        self.attempt[task] += 1
        self.start[task] = self.now
        self.end[task] = -1
        self.n_running += 1
        self.next_on[task] = first
        self.before_on[task] = -1
        if first >= 0:
            self.before_on[first] = task
        self.first_on[worker] = task
        if self.trust[worker] == PROBATION:
            self._show(worker)

    cdef void _book_end(self, int32_t task) noexcept nogil:
        # The open attempt ends, however it went: its worker has the room again.
        cdef int32_t worker = self.worker[task], after = self.next_on[task], ahead = self.before_on[task]
        self.end[task] = self.now
        self.n_running -= 1
        if after >= 0:
            self.before_on[after] = ahead
        if ahead >= 0:
            self.next_on[ahead] = after
        else:
            self.first_on[worker] = after
        if self.shown[worker]:
            self._take_room(task, worker, -1)
            self._touch(worker)
        elif self.draining[worker] and self.first_on[worker] < 0:
            self.live[worker] = self.draining[worker] = 0
            self.total_stale = True
            self._notify(NOTICE_DRAINED, worker)
        elif self.live[worker]:
            self._show(worker)

    cdef void _book_completed(self, int32_t task) noexcept nogil:
        # The open attempt succeeded: dependents that waited for nothing else are ready.
        cdef int64_t k
        cdef int32_t late
        if self.n_log:
            self._clear_name(self.worker[task])
            if self.last_fail[task] >= 0:
                self._credit(task)
        self._book_end(task)
        self.state[task] = COMPLETED
        self.n_left -= 1
        for k in range(self.succ_ptr[task], self.succ_ptr[task + 1]):
            self._release_dependent(self.succ[k])
        if self.n_late:
            late = self.late_head[task]
            while late >= 0:
                self._release_dependent(self.late_task[late])
                late = self.late_next[late]

    cdef void _release_dependent(self, int32_t task) noexcept nogil:
        # One thing less to wait for.
        self.missing[task] -= 1
        if self.missing[task] == 0 and self.state[task] == WAITING:
            self._book_ready(task)

    cdef bint _book_failed(self, int32_t task, uint8_t reason, bint charged) noexcept nogil:
        # The open attempt failed. Out: True where the task will be tried again. Its own failures, out-of-memory
        # and lost workers are counted apart; what is not charged costs nothing.
        cdef bint again = True
        cdef int32_t worker = self.worker[task]
        if self.trust[worker] == PROBATION and _blames_worker(reason):
            self._quarantine(worker)
        self._book_end(task)
        self._log(task, reason)
        if reason == CODE_WORKER_LOST:
            if charged:
                self.losses[task] += 1
                again = self.losses[task] <= self.max_losses
            if again:
                self._book_ready(task)
        elif reason == CODE_OUT_OF_MEMORY:
            self.ooms[task] += 1
            again = self.ooms[task] <= self.max_ooms
            if again:
                self._grow_memory(task)
                self._delay(task)
        else:
            self.failures[task] += 1
            again = self.failures[task] <= self.max_retries[task]
            if again:
                self._delay(task)
        if not again:
            self._book_failed_for_good(task, FAILED, reason)
        return again

    cdef void _delay(self, int32_t task) noexcept nogil:
        # The back-off of a task that failed: doubled for every failure so far, at most the cap, less what chance
        # takes off it, so that tasks which failed together do not come back together.
        cdef int64_t delay = self.backoff
        cdef int32_t k
        if delay == 0:
            self._book_ready(task)
            return
        for k in range(self.failures[task] + self.ooms[task] - 1):
            if delay >= self.backoff_cap >> 1:
                delay = self.backoff_cap
                break
            delay <<= 1
        delay = min(delay, self.backoff_cap)
        k = <int32_t>(draw(self.seed, DRAW_JITTER, (<uint64_t>task << 32) + <uint64_t>self.attempt[task]) >> 44)
        delay -= ((delay // 1000 * self.jitter) >> 20) * k
        self.state[task] = DELAYED
        if self.n_wakes == self.wake_time.shape[0]:
            with gil:
                self.wake_time = _extended(self.wake_time, self.n_wakes, 64, 0)
                self.wake_task = _extended(self.wake_task, self.n_wakes, 64, 0)
        event_push(self.wake_time, self.wake_task, self.n_wakes, self.now + delay, task)
        self.n_wakes += 1

    cdef void _grow_memory(self, int32_t task) noexcept nogil:
        # After out-of-memory the task asks for more, but never for more than some worker in use could give.
        cdef Py_ssize_t at = <Py_ssize_t>task * self.n_resources + self.memory
        cdef int64_t more = (<int64_t>self.demand[at] * self.oom_growth + 999) // 1000
        cdef int32_t most = self.demand[at], worker, here
        if self.oom_growth == 1000:
            return
        for worker in range(self.n_workers):
            here = self.capacity[self.memory * self.stride + worker]
            if here > most and self._usable(worker) and self._could_hold(worker, task):
                most = here
        self.demand[at] = <int32_t>min(more, <int64_t>most)
        if self.memory != self.pivot:
            self.loose[self.slot_of[task]] = 1

    cdef void _book_failed_for_good(self, int32_t task, uint8_t state, uint8_t reason) noexcept nogil:
        self.state[task] = state
        self.reason[task] = reason
        self._note_failed(task)
        self._skip_dependents(task, task)

    cdef void _note_failed(self, int32_t task) noexcept nogil:
        # Each task comes here once at most.
        self.failed_tasks[self.n_failed] = task
        self.n_failed += 1
        self.n_left -= 1

    cdef void _skip(self, int32_t task, int32_t root) noexcept nogil:
        # A waiting task whose dependency failed for good, and all that waits for it.
        self.state[task] = SKIPPED
        self.reason[task] = CODE_DEPENDENCY
        self.cause[task] = root
        self._note_failed(task)
        self._skip_dependents(task, root)

    cdef void _skip_dependents(self, int32_t task, int32_t root) noexcept nogil:
        # Every waiting descendant of the task, each once, in O(descendants and their edges); no recursion.
        cdef Py_ssize_t top = 1
        cdef int64_t k
        cdef int32_t late, dependent
        self.stack[0] = task
        while top > 0:
            top -= 1
            task = self.stack[top]
            k = self.succ_ptr[task]
            late = self.late_head[task] if self.n_late else -1
            while True:
                if k < self.succ_ptr[task + 1]:
                    dependent = self.succ[k]
                    k += 1
                elif late >= 0:
                    dependent = self.late_task[late]
                    late = self.late_next[late]
                else:
                    break
                if self.state[dependent] == WAITING:
                    self.state[dependent] = SKIPPED
                    self.reason[dependent] = CODE_DEPENDENCY
                    self.cause[dependent] = root
                    self._note_failed(dependent)
                    self.stack[top] = dependent
                    top += 1

    cdef void _log(self, int32_t task, uint8_t reason) noexcept nogil:
        # An attempt that did not complete.
        cdef Py_ssize_t at = self.n_log
        if at == self.log_task.shape[0]:
            with gil:
                self._extend_log()
        self.log_task[at] = task
        self.log_worker[at] = self.worker[task]
        self.log_attempt[at] = self.attempt[task]
        self.log_start[at] = self.start[task]
        self.log_end[at] = self.now
        self.log_reason[at] = reason
        self.log_prev[at] = self.last_fail[task]
        self.last_fail[task] = <int32_t>at
        self.n_log += 1

    def _extend_log(self):
        n = self.n_log
        self.log_task = _extended(self.log_task, n, 64, 0)
        self.log_worker = _extended(self.log_worker, n, 64, 0)
        self.log_attempt = _extended(self.log_attempt, n, 64, 0)
        self.log_start = _extended(self.log_start, n, 64, 0)
        self.log_end = _extended(self.log_end, n, 64, 0)
        self.log_reason = _extended(self.log_reason, n, 64, 0)
        self.log_prev = _extended(self.log_prev, n, 64, 0)

    cdef void _notify(self, int notice, int32_t which) noexcept nogil:
        with gil:
            self.notices.append((notice, which, self.now))

    # ------------------------------------------------------------ facts about workers

    cdef void _take_room(self, int32_t task, int32_t worker, int32_t sign) noexcept nogil:
        # In: sign 1 takes the task's demand from the worker's free amounts, -1 gives it back.
        cdef Py_ssize_t row = <Py_ssize_t>task * self.n_resources
        cdef int r
        for r in range(self.n_resources):
            self.free[r * self.stride + worker] -= sign * self.demand[row + r]
        self._score_worker(worker)

    cdef void _touch(self, int32_t worker) noexcept nogil:
        # Room was made on the worker.
        if not self.is_touched[worker]:
            self.is_touched[worker] = 1
            self.touched[self.n_touched] = worker
            self.n_touched += 1

    cdef void _show(self, int32_t worker) noexcept nogil:
        # Out: what the worker has to offer, counted anew from what runs there; -1 where it takes nothing.
        cdef int32_t task = self.first_on[worker]
        cdef int r
        cdef bint open = self.live[worker] and not self.draining[worker] and (
            self.trust[worker] == TRUSTED or (self.trust[worker] == PROBATION and task < 0)
        )
        for r in range(self.n_resources):
            self.free[r * self.stride + worker] = self.capacity[r * self.stride + worker]
        while task >= 0:
            for r in range(self.n_resources):
                self.free[r * self.stride + worker] -= self.demand[<Py_ssize_t>task * self.n_resources + r]
            task = self.next_on[task]
        for r in range(self.n_resources):
            open = open and self.free[r * self.stride + worker] >= 0
        if not open:
            for r in range(self.n_resources):
                self.free[r * self.stride + worker] = -1
        self.shown[worker] = open
        self._score_worker(worker)
        if open:
            self._touch(worker)

    cdef void _score_worker(self, int32_t worker) noexcept nogil:
        # The merit that follows from a score, the sum over r of floor(free[r] * 2**31 / total[r]); amounts are below
        # 2**31, so every product fits 64 bits. Out: merit[worker], and the largest of its block, or its cell.
        cdef int64_t score = 0, was, scaled, share
        cdef Py_ssize_t at = worker >> 4 << 4
        cdef int r, k
        if self.rule != FIRST_FIT:
            for r in range(self.n_resources):
                if self.total[r] > 0:
                    scaled = <int64_t>self.free[r * self.stride + worker] * (<int64_t>1 << 31)
                    share = <int64_t>(<double>scaled * self.inverse[r])     # at most one off, which is set right
                    scaled -= share * self.total[r]
                    score += share + <int64_t>(scaled >= self.total[r]) - <int64_t>(scaled < 0)
        if self.rule != MOST_FREE:
            score = -score if self.rule == BEST_FIT else -worker
        if self.gridded:
            self._place_in_grid(worker, score)
            return
        was = self.merit[worker]
        self.merit[worker] = score
        if score >= self.block_merit[worker >> 4]:
            self.block_merit[worker >> 4] = score
        elif was == self.block_merit[worker >> 4]:
            score = self.merit[at]
            for k in range(1, BLOCK):
                score = max(score, self.merit[at + k])
            self.block_merit[worker >> 4] = score

    cdef void _place_in_grid(self, int32_t worker, int64_t merit) noexcept nogil:
        # Out: a worker that takes tasks stands with this merit in the cell of its free amounts; another in none.
        cdef int cell = self.cell_of[worker]
        if cell >= 0:
            grid_leave(self.merit, self.child, self.sibling, self.before, self.cell_head, cell, worker)
        self.merit[worker] = merit
        self.cell_of[worker] = -1
        if self.shown[worker]:
            cell = SIDE * grid_level(self.free[self.row_resource * self.stride + worker]) + grid_level(
                self.free[self.pivot * self.stride + worker]
            )
            grid_enter(self.merit, self.child, self.sibling, self.before, self.cell_head, cell, worker)
            self.cell_of[worker] = cell

    cdef void _renew_totals(self) noexcept nogil:
        # The set of live workers changed, and with the totals every score.
        cdef int32_t worker
        cdef int r
        self.total_stale = False
        for r in range(self.n_resources):
            self.total[r] = 0
            for worker in range(self.n_workers):
                if self.live[worker]:
                    self.total[r] += self.capacity[r * self.stride + worker]
            self.inverse[r] = 1.0 / <double>self.total[r] if self.total[r] else 0.0
        for worker in range(self.n_workers):
            if self.shown[worker]:
                self._score_worker(worker)

    cdef bint _usable(self, int32_t worker) noexcept nogil:
        # Out: whether the worker is there, stays, and is not in quarantine.
        return self.live[worker] and not self.draining[worker] and self.trust[worker] != QUARANTINED

    cdef bint _could_hold(self, int32_t worker, int32_t task) noexcept nogil:
        # Out: whether an empty worker has room for the task.
        cdef int r
        for r in range(self.n_resources):
            if self.capacity[r * self.stride + worker] < self.demand[<Py_ssize_t>task * self.n_resources + r]:
                return False
        return True

    cdef bint _anyone_could_hold(self, int32_t task) noexcept nogil:
        # Out: whether a worker that stays, or is expected, could ever hold the task.
        cdef int32_t worker
        cdef int s = self.slot_of[task]
        if self.most_stale:
            self._measure_most()
        if s < 0 or self.demand[<Py_ssize_t>task * self.n_resources + self.pivot] > self.most[s]:
            return False
        if not self.loose[s]:
            return True
        for worker in range(self.n_workers):
            if ((self.live[worker] and not self.draining[worker]) or self.expected[worker]) and self._could_hold(
                worker, task
            ):
                return True
        return False

    cdef void _measure_most(self) noexcept nogil:
        # Out: for each slot the most of the pivot that a worker has which stays, or is expected, and could hold the rest.
        cdef int s, r
        cdef int32_t worker
        self.most_stale = False
        for s in range(self.n_slots):
            self.most[s] = -1
            for worker in range(self.n_workers):
                if not ((self.live[worker] and not self.draining[worker]) or self.expected[worker]):
                    continue
                for r in range(self.n_resources):
                    if self.capacity[r * self.stride + worker] < self.slot_demand[s * self.n_resources + r]:
                        break
                else:
                    self.most[s] = max(self.most[s], self.capacity[self.pivot * self.stride + worker])

    # ------------------------------------------------------------ trust

    cdef void _clear_name(self, int32_t worker) noexcept nogil:
        # An attempt completed on the worker: what failed on it before does not count against it any more.
        self.strikes[worker] = 0
        self.clean[worker] = self.n_log
        if self.trust[worker] != TRUSTED:
            self.trust[worker] = TRUSTED
            self._find_next_release()
            self._notify(NOTICE_TRUSTED, worker)

    cdef void _credit(self, int32_t task) noexcept nogil:
        # The task completed: the workers on which it failed have failed something that succeeds elsewhere. One that
        # did so too often, and completed nothing since, is put in quarantine, while another worker is left.
        cdef int32_t at = self.last_fail[task], worker, other
        while at >= 0:
            worker = self.log_worker[at]
            if worker != self.worker[task] and _blames_worker(self.log_reason[at]) and at >= self.clean[worker]:
                self.strikes[worker] += 1
                if 0 < self.quarantine_after <= self.strikes[worker] and self.trust[worker] == TRUSTED:
                    for other in range(self.n_workers):
                        if other != worker and self._usable(other):
                            self._quarantine(worker)
                            break
            at = self.log_prev[at]

    cdef void _quarantine(self, int32_t worker) noexcept nogil:
        # The worker takes nothing until its term is over; each further term is twice as long, up to a thousand times.
        self.trust[worker] = QUARANTINED
        self.release[worker] = self.now + (max(self.probation, 1) << min(self.terms[worker], 10))
        self.terms[worker] += 1
        self.strikes[worker] = 0
        self.clean[worker] = self.n_log
        if self.next_release < 0 or self.release[worker] < self.next_release:
            self.next_release = self.release[worker]
        self._notify(NOTICE_QUARANTINED, worker)
        self._show(worker)

    cdef void _advance(self, int64_t now) noexcept nogil:
        # Time has come to `now`: delays and terms that are over by then end.
        cdef int32_t task, worker
        self.now = now
        while self.n_wakes and self.wake_time[0] <= now:
            task = self.wake_task[0]
            event_pop(self.wake_time, self.wake_task, self.n_wakes)
            self.n_wakes -= 1
            if self.state[task] == DELAYED:
                self._book_ready(task)
        if 0 <= self.next_release <= now:
            for worker in range(self.n_workers):
                if self.trust[worker] == QUARANTINED and self.release[worker] <= now:
                    self.trust[worker] = PROBATION
                    self._notify(NOTICE_PROBATION, worker)
                    self._show(worker)
            self._find_next_release()

    cdef void _find_next_release(self) noexcept nogil:
        cdef int32_t worker
        self.next_release = -1
        for worker in range(self.n_workers):
            if self.trust[worker] == QUARANTINED and (
                self.next_release < 0 or self.release[worker] < self.next_release
            ):
                self.next_release = self.release[worker]

    # ------------------------------------------------------------ layers

    def _add_layer(self, int32_t first, int32_t m, class_of, class_demand, order):
        """Lay out a batch; layers that are not much larger than what follows them are merged with it."""
        cdef int k = self.n_resources
        tasks = np.arange(first, first + m, dtype=np.int32)
        numbers = {}
        slot_of = _numbered(class_demand, numbers)[class_of]
        while self.n_layers and self.layer_size[len(self.layer_size) - 1] <= 2 * len(tasks):
            taken, taken_demand, taken_slot = self._take_layer()
            slot_of = np.concatenate((_numbered(taken_demand, numbers)[taken_slot], slot_of))
            tasks = np.concatenate((taken, tasks))
            order = None
        slot_demand = np.array(list(numbers), dtype=np.int32).reshape(-1, k)
        state = np.asarray(self.state)[tasks]
        open_ = (state < COMPLETED) | (state == DELAYED)
        if not open_.all():
            tasks, slot_of, order = tasks[open_], slot_of[open_], None
        if order is None:
            priority, key = np.asarray(self.priority)[tasks], np.asarray(self.key)[tasks]
            order = np.lexsort((tasks, key, -priority))
        self._lay_out(np.ascontiguousarray(tasks[order], dtype=np.int32), slot_of[order], slot_demand)

    def _take_layer(self):
        """Take the last layer off: its tasks, the demands of its slots, and the slot of each of its tasks."""
        cdef int k = self.n_resources, s = self.layer_slot[self.n_layers - 1]
        tasks = np.asarray(self.task_at)[self.first_leaf[s]:self.first_leaf[self.n_slots]].copy()
        demand = np.asarray(self.slot_demand)[s * k:self.n_slots * k].reshape(-1, k).copy()
        slot_of = np.asarray(self.slot_of)[tasks] - s
        self.n_slots = s
        self.n_layers -= 1
        self.layer_size.pop()
        self.layer_slot[self.n_layers] = s
        return tasks, demand, slot_of

    def _lay_out(self, const int32_t[::1] by_urgency, slot_of, slot_demand):
        """Make a layer of these tasks: their slots, and in each slot its tree."""
        cdef Py_ssize_t i
        cdef int32_t task, s, base = self.n_slots
        n, c, k = len(by_urgency), len(slot_demand), self.n_resources
        sizes = np.bincount(slot_of, minlength=c)
        leaves, level = int(self.first_leaf[base]), np.zeros((c, LEVELS), dtype=np.int64)
        depth, begin = np.zeros(c, dtype=np.int32), int(self.level[(base - 1) * LEVELS + self.depth[base - 1]]) if base else 0
        end = begin
        for s in range(c):
            starts, depth[s], end = _row_levels(max(1, sizes[s]), end)
            level[s, :len(starts)] = starts
        demand = np.array(slot_demand, dtype=np.int32)
        demand[:, self.pivot] = 0
        self.slot_demand = _extended(self.slot_demand, base * k, c * k, demand.reshape(-1))
        needed = np.asarray(self.demand)[:self.n_tasks * k].reshape(-1, k)[np.asarray(by_urgency)]
        rest = np.arange(k) != self.pivot
        loose = np.zeros(c, dtype=np.uint8)
        loose[slot_of[(needed != demand[slot_of])[:, rest].any(axis=1)]] = 1
        self.loose = _extended(self.loose, base, c, loose)
        self.most = _extended(self.most, base, c, np.full(c, UNMEASURED, dtype=np.int32))
        self.passed = _extended(self.passed, base, c, np.zeros(c, dtype=np.uint8))
        self.cursor = _extended(self.cursor, base, c, np.zeros(c, dtype=np.int64))
        self.candidate = _extended(self.candidate, base, c, np.full(c, -1, dtype=np.int32))
        self.level = _extended(self.level, base * LEVELS, c * LEVELS, level.reshape(-1))
        self.depth = _extended(self.depth, base, c, depth)
        self.first_leaf = _extended(self.first_leaf, base + 1, c, leaves + np.cumsum(sizes))
        self.tree = _extended(self.tree, begin, end - begin, np.full(end - begin, ABSENT, dtype=np.int32))
        self.task_at = _extended(self.task_at, leaves, n, np.zeros(n, dtype=np.int32))
        self.position_at = _extended(self.position_at, leaves, n, np.zeros(n, dtype=np.int32))
        self.n_slots += c
        self._turn_slots(base)
        self.n_layers += 1
        self.layer_size.append(n)
        self.layer_slot[self.n_layers] = self.n_slots
        self.most_stale = True
        cdef const int64_t[::1] slot = np.ascontiguousarray(slot_of, dtype=np.int64)
        cdef int64_t[::1] filled = np.asarray(self.first_leaf)[base:self.n_slots].copy()
        with nogil:
            for i in range(by_urgency.shape[0]):
                task = by_urgency[i]
                s = <int32_t>slot[i]
                self.slot_of[task] = base + s
                self.leaf_of[task] = <int32_t>(filled[s] - self.first_leaf[base + s])
                self.task_at[filled[s]] = task
                self.position_at[filled[s]] = <int32_t>i
                filled[s] += 1
            for i in range(by_urgency.shape[0]):
                task = by_urgency[i]
                if self.state[task] == READY or (self.state[task] == WAITING and self.missing[task] == 0):
                    self._book_ready(task)

    def _turn_slots(self, known):
        """The columns that are gone through a block of slots at a time; of the slots before `known` the fronts stay."""
        s, k = self.n_slots, self.n_resources
        self.slot_stride = max(1, (s + BLOCK - 1) // BLOCK) * BLOCK
        need = np.full((k, self.slot_stride), INT32_MAX, dtype=np.int32)
        need[:, :s] = np.asarray(self.slot_demand)[:s * k].reshape(s, k).T
        self.need = need.reshape(-1)
        front = np.full(self.slot_stride, -1, dtype=np.int32)
        front[:s] = UNMEASURED
        front[:known] = np.asarray(self.front)[:known]
        stale = np.ones(self.slot_stride, dtype=np.int32)
        self.front, self.base, self.stale = front, front.copy(), stale
        self.candidate_need = np.full(self.slot_stride, -1, dtype=np.int32)
        np.asarray(self.candidate_need)[:s] = 0
        np.asarray(self.candidate)[:s] = -1
        self.candidate_position = np.full(self.slot_stride, NO_CANDIDATE, dtype=np.int32)

    # ------------------------------------------------------------ book-keeping

    cdef bint _is_open(self, int32_t task, int32_t attempt, int32_t incarnation) except -1:
        # Whether a report for this attempt counts; a stale one does not, an impossible one raises.
        if not 0 <= task < self.n_tasks:
            raise IndexError(f"task {task} is out of range")
        if attempt > self.attempt[task]:
            raise InternalError(f"a report for attempt {attempt} of task {task}, which never started")
        return (
            self.state[task] == RUNNING and self.attempt[task] == attempt
            and self.incarnation[self.worker[task]] == incarnation
        )

    cdef void _check_open(self, int64_t now) except *:
        if now < self.now:
            raise InternalError(f"time went back from {self.now} to {now}")
        self._advance(now)

    cdef void _check_worker(self, int32_t worker) except *:
        if not 0 <= worker < self.n_workers:
            raise IndexError(f"worker {worker} is out of range")

    def _make_worker_rows(self, capacity):
        """Rows for so many more workers, none of them there yet."""
        cdef Py_ssize_t old = self.n_workers, w = old + len(capacity), k = self.n_resources
        had = self.stride
        if w > had or not had:
            self.stride = (max(w, 2 * old, 1) + BLOCK - 1) // BLOCK * BLOCK
        self.capacity = _wider(self.capacity, k, had, self.stride, -1)
        self.free = _wider(self.free, k, had, self.stride, -1)
        np.asarray(self.capacity).reshape(k, self.stride)[:, old:w] = capacity.T
        if self.stride != had:
            self._widen_columns(had)
        self.n_workers = w
        self._bound_grid()

    def _widen_columns(self, had):
        more, total = self.stride - had, np.zeros(self.n_resources, dtype=np.int64)
        zeros, none = np.zeros(more, dtype=np.uint8), np.full(more, -1, dtype=np.int32)
        self.merit = _extended(self.merit, had, more, np.full(more, INT64_MIN + 1, dtype=np.int64))
        self.block_merit = np.asarray(self.merit).reshape(-1, BLOCK).max(axis=1)
        self.total, self.inverse, self.total_stale = total, np.zeros(self.n_resources), True
        self.live = _extended(self.live, had, more, zeros.copy())
        self.expected = _extended(self.expected, had, more, zeros.copy())
        self.draining = _extended(self.draining, had, more, zeros.copy())
        self.shown = _extended(self.shown, had, more, zeros.copy())
        self.trust = _extended(self.trust, had, more, zeros.copy())
        self.is_touched = _extended(self.is_touched, had, more, zeros.copy())
        self.incarnation = _extended(self.incarnation, had, more, none + 1)
        self.strikes = _extended(self.strikes, had, more, none + 1)
        self.terms = _extended(self.terms, had, more, none + 1)
        self.barred = _extended(self.barred, had, more, np.zeros(more, dtype=np.int64))
        self.seen = _extended(self.seen, had, more, np.zeros(more, dtype=np.int64))
        self.touched = _extended(self.touched, had, more, none + 1)
        self.first_on = _extended(self.first_on, had, more, none.copy())
        self.release = _extended(self.release, had, more, np.zeros(more, dtype=np.int64))
        self.clean = _extended(self.clean, had, more, np.zeros(more, dtype=np.intp))
        self.cell_of = _extended(self.cell_of, had, more, none.copy())
        self.child = _extended(self.child, had, more, none.copy())
        self.sibling = _extended(self.sibling, had, more, none.copy())
        self.before = _extended(self.before, had, more, none.copy())
        self.walk = _extended(self.walk, had, more, none.copy())

    def _bound_grid(self):
        """Where workers are many, there is a grid, and it reaches as far as their capacities do."""
        cdef int32_t worker
        capacity = np.asarray(self.capacity).reshape(self.n_resources, self.stride)
        was = self.gridded
        self.gridded = self.n_workers >= self.many_workers and self.n_resources > 1
        if not self.gridded:
            return
        self.row_resource = 0 if self.pivot else 1
        self.top_row = grid_level(capacity[self.row_resource].max(initial=0))
        self.top_column = grid_level(capacity[self.pivot].max(initial=0))
        if not was:
            self.cell_head = np.full(CELLS, -1, dtype=np.int32)
            for worker in range(self.n_workers):
                self._score_worker(worker)

    def state_of(self, int32_t task):
        """The state of one task. See the .pyi."""
        return self.state[task]

    def attempt_of(self, int32_t task):
        """Attempts of one task so far, and the worker of the last. See the .pyi."""
        return self.attempt[task], self.worker[task]

    def incarnation_of(self, int32_t worker):
        """How often a worker has come. See the .pyi."""
        self._check_worker(worker)
        return self.incarnation[worker]

    def columns(self):
        """What became of every task, as numpy columns. See the .pyi."""
        names = ("state", "reason", "attempt", "failures", "ooms", "losses", "worker", "start", "end", "cause",
                 "missing", "overtaken")
        return {name: np.asarray(view)[:self.n_tasks] for name, view in zip(names, (
            self.state, self.reason, self.attempt, self.failures, self.ooms, self.losses,
            self.worker, self.start, self.end, self.cause, self.missing, self.overtaken,
        ))}

    def log(self):
        """The attempts that did not complete, as numpy columns. See the .pyi."""
        names = ("task", "worker", "attempt", "start", "end", "reason")
        return {name: np.asarray(view)[:self.n_log] for name, view in zip(names, (
            self.log_task, self.log_worker, self.log_attempt, self.log_start, self.log_end, self.log_reason,
        ))}

    def worker_columns(self):
        """How every worker stands, as numpy columns. See the .pyi."""
        names = ("live", "expected", "draining", "shown", "incarnation", "trust", "strikes", "terms", "release")
        return {name: np.asarray(view)[:self.n_workers] for name, view in zip(names, (
            self.live, self.expected, self.draining, self.shown, self.incarnation,
            self.trust, self.strikes, self.terms, self.release,
        ))}

    def amounts(self):
        """Demands, capacities, and what is free. See the .pyi."""
        k, w = self.n_resources, self.n_workers
        return (
            np.asarray(self.demand)[:self.n_tasks * k].reshape(-1, k),
            np.asarray(self.capacity).reshape(k, self.stride)[:, :w].T,
            np.asarray(self.free).reshape(k, self.stride)[:, :w].T,
        )

    def wakes(self):
        """The tasks that wait for their back-off to end, and until when. See the .pyi."""
        times, tasks = np.asarray(self.wake_time)[:self.n_wakes], np.asarray(self.wake_task)[:self.n_wakes]
        due = np.asarray(self.state)[tasks] == DELAYED
        return {int(task): int(time) for task, time in sorted(zip(tasks[due], times[due]))}

    def failed_workers(self, int32_t task):
        """The workers on which the task failed by its own fault, the last one first. See the .pyi."""
        cdef int32_t at = self.last_fail[task]
        found = []
        while at >= 0:
            if _to_be_avoided(self.log_reason[at]) and self.log_worker[at] not in found:
                found.append(self.log_worker[at])
            at = self.log_prev[at]
        return found

    def innards(self):
        """Views of what `recount` counts again, by name. See the .pyi."""
        names = ("succ_ptr", "succ", "late_head", "late_next", "late_task", "slot_of", "leaf_of", "next_on", "before_on",
                 "first_on", "tree", "level", "depth", "first_leaf", "task_at", "slot_demand", "merit", "cell_head",
                 "cell_of", "child", "sibling", "position_at", "priority", "key", "layer_slot", "wake_time")
        views = (self.succ_ptr, self.succ, self.late_head, self.late_next, self.late_task, self.slot_of, self.leaf_of,
                 self.next_on, self.before_on, self.first_on, self.tree, self.level, self.depth, self.first_leaf,
                 self.task_at, self.slot_demand, self.merit, self.cell_head if self.gridded else None,
                 self.cell_of, self.child, self.sibling, self.position_at, self.priority, self.key, self.layer_slot,
                 self.wake_time)
        return {name: None if view is None else np.asarray(view) for name, view in zip(names, views)} | {
            "n_slots": self.n_slots, "n_layers": self.n_layers, "n_late": self.n_late, "n_wakes": self.n_wakes,
            "pivot": self.pivot, "row_resource": self.row_resource, "levels": LEVELS,
        }


cdef inline bint _blames_worker(uint8_t reason) noexcept nogil:
    # Out: whether the failure may be the worker's fault: not one of memory, of a lost worker, or of us.
    return reason != CODE_OUT_OF_MEMORY and reason != CODE_WORKER_LOST and reason != CODE_CANCELLED


cdef inline bint _to_be_avoided(uint8_t reason) noexcept nogil:
    # Out: whether a retry goes elsewhere after such a failure.
    return reason != CODE_WORKER_LOST


def _numbered(rows, numbers):
    """The number of each row of demands; what is new among them is given the next one."""
    return np.array([numbers.setdefault(tuple(row), len(numbers)) for row in rows.tolist()], dtype=np.int64)


def _with_columns(amounts, n, k, more):
    """n rows of k amounts, in one piece, with so many columns of zeros behind them."""
    rows = np.zeros((n, k + more), dtype=np.int32)
    rows[:, :k] = np.asarray(amounts)[:n * k].reshape(n, k)
    return rows.reshape(-1)


def _wider(amounts, k, had, stride, fill):
    """K rows of `had` amounts as rows of `stride`."""
    if had == stride:
        return amounts
    rows = np.full((k, stride), fill, dtype=np.int32)
    if had:
        rows[:, :had] = np.asarray(amounts).reshape(k, had)
    return rows.reshape(-1)


def _check_batch(first, m, k, dep_ptr, deps, demand, duration, priority, key, max_retries, class_of, class_demand):
    """Raise ValueError for arrays that cannot be a batch of m tasks."""
    lengths = {len(dep_ptr) - 1, len(demand), len(duration), len(priority), len(key), len(max_retries), len(class_of)}
    if lengths != {m}:
        raise ValueError(f"arrays of different lengths: {sorted(lengths | {m})}")
    if first + m >= INT32_MAX:
        raise ValueError(f"{first + m} tasks are more than the core can number")
    if demand.shape[1:] != (k,) or class_demand.shape[1:] != (k,):
        raise ValueError(f"demand has shape {demand.shape} and class_demand {class_demand.shape}, wanted (n, {k})")
    if m and ((demand < 0).any() or np.min(duration) < 0 or np.min(max_retries) < 0):
        raise ValueError("a demand, a duration or a number of retries is negative")
    if m and not 0 <= np.min(class_of) <= np.max(class_of) < len(class_demand):
        raise ValueError("a class is out of range")
    if len(deps) and not 0 <= np.min(deps) <= np.max(deps) < first + m:
        raise ValueError("a dependency is out of range")
    if dep_ptr[0] != 0 or dep_ptr[m] != len(deps) or (np.diff(dep_ptr) < 0).any():
        raise ValueError("dep_ptr is not that of a CSR array")
    if m and (demand < class_demand[class_of]).any():
        raise ValueError("a task needs less than its class")
