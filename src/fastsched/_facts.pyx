# cython: language_level=3
"""The state machine's memory: it books facts about tasks and workers, and makes no choice.

It knows no name, no clock, no file: tasks and workers are dense indices, amounts are whole
numbers, time is an integer of nanoseconds that is passed in. A fact is refused only where it is
impossible; a stale one is dropped. What follows from a fact follows at once and by itself:
dependents become ready or are skipped, a failed task is ready again, delayed, or failed for
good, a worker that fails what succeeds elsewhere is put in quarantine. Where it is all kept is
`_tables.pyx`; `_core.pyx` derives the one class that makes choices from this one, and a replay of
facts needs only what stands here.

`free` shows what workers have to offer, and -1 for whoever takes nothing: it left, drains, is in
quarantine, has its one attempt on probation, or holds more than its capacity since that shrank.
Open attempts hang in a list at their worker, so that what is free can be counted again, and the
loss of a worker costs what was running there.
"""

from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t

import numpy as np

from ._block cimport fetch
from ._chance cimport draw
from ._fit cimport BEST_FIT, COSINE, DOT_PRODUCT, FIRST_FIT, LEAST_LEFT, MOST_FREE
from ._heap cimport ABSENT, LEVELS, bits_clear, bits_set, event_pop, event_push, tree_set
from ._tables cimport LEAVING, PROBATION, QUARANTINED, SUSPECT, TRUSTED, TaskRow, Tables
from ._tables cimport (
    CANCELLED, COMPLETED, DELAYED, FAILED, READY, RUNNING, SKIPPED, WAITING,
)

from ._graphs import successors as make_successors
from ._tables import extended
from .errors import InternalError

FIT_RULES = {
    "most-free": MOST_FREE, "best-fit": BEST_FIT, "first-fit": FIRST_FIT,
    "dot-product": DOT_PRODUCT, "cosine": COSINE, "least-left": LEAST_LEFT,
}


cdef class Facts(Tables):
    """See the .pyi."""

    def __init__(
        self, *, n_resources, pivot=1, fit="most-free", max_losses=3, max_ooms=3, oom_growth=1000, memory=1,
        backoff=0, backoff_cap=0, jitter=0, seed=0, quarantine_after=0, probation=0, many_workers=512, tell_stuck=False,
    ):
        if not 0 <= pivot < n_resources or not 0 <= memory < n_resources:
            raise ValueError(f"pivot {pivot} or memory {memory} is not one of {n_resources} resources")
        if min(max_losses, max_ooms, backoff, backoff_cap, jitter, quarantine_after, probation) < 0 or jitter > 1000:
            raise ValueError("a budget, a delay or a share is out of range")
        if oom_growth < 1000:
            raise ValueError(f"oom_growth is {oom_growth}; 1000 thousandths or more are wanted")
        self.n_resources, self.pivot, self.memory, self.rule = n_resources, pivot, memory, _rule_of(fit)
        self.max_losses, self.max_ooms, self.oom_growth = max_losses, max_ooms, oom_growth
        self.backoff, self.backoff_cap, self.jitter = backoff, max(backoff, backoff_cap), jitter
        self.seed = seed
        self.quarantine_after, self.probation = quarantine_after, probation
        self.many_workers, self.tell_stuck = many_workers, tell_stuck
        self.reserved_task = self.reserved_worker = -1
        self.deadline = -1
        self.longest = np.empty(0, dtype=np.int32)
        self.next_release = -1
        self.notices = []
        self.layer_size = []
        self._make_columns()
        self._make_worker_rows(np.zeros((0, n_resources), dtype=np.int32))

    # ------------------------------------------------------------ doors: tasks

    def add_tasks(
        self, now, *, dep_ptr, deps, demand, duration, priority, key, max_retries, class_of, class_demand,
        order=None, successors=None,
    ):
        """Book a batch of submitted tasks. See the .pyi."""
        cdef int32_t first = self.n_tasks, m = len(duration)
        self._check_open(now)
        demand, class_demand = _amounts(demand), _amounts(class_demand)
        _check_batch(first, m, self.n_resources, dep_ptr, deps, demand, duration, priority, key, max_retries,
                     class_of, class_demand)
        if order is not None:
            _check_order(order, m)
        if m == 0:
            return first
        self._extend_columns(m, priority, key, max_retries)
        dep_ptr = np.ascontiguousarray(dep_ptr, dtype=np.int64)
        self._add_rows(dep_ptr, demand, np.ascontiguousarray(duration, dtype=np.int64))
        if first == 0:
            self.succ_ptr, self.succ = make_successors(dep_ptr, deps) if successors is None else successors
        else:
            self._add_edges(first, m, dep_ptr, np.asarray(deps))
        self.n_tasks = first + m
        self.n_left += m
        if first:
            self._skip_under_failed(first, np.asarray(dep_ptr), np.asarray(deps))
        if self.deadline >= 0:
            self._sort_by_duration()
        self._enter_ready(self._add_layer(first, m, np.asarray(class_of), class_demand, order))
        return first

    def _enter_ready(self, const int32_t[::1] tasks):
        """Those of the tasks that are ready, or wait for nothing, enter the trees of their new slots."""
        cdef Py_ssize_t i
        cdef TaskRow* row
        with nogil:
            for i in range(tasks.shape[0]):
                row = self.row(tasks[i])
                if row.state == READY or (row.state == WAITING and row.missing == 0):
                    self._book_ready(tasks[i])

    def rewind(self, *, fit, key, order, const int64_t[::1] dep_ptr):
        """Put everything back to before the first decision, in another order of urgency. See the .pyi."""
        cdef int32_t worker
        cdef int64_t[::1] duration
        cdef int32_t[::1] missing
        if self.n_layers > 1 or self.n_late or self.n_log or self.n_left or self.deadline >= 0:
            raise InternalError("a core is rewound whose tasks came at once and have ended, with no attempt in vain")
        if len(dep_ptr) != self.n_tasks + 1:
            raise ValueError(f"dep_ptr is that of {len(dep_ptr) - 1} tasks, and there are {self.n_tasks}")
        if len(key) != self.n_tasks:
            raise ValueError(f"{len(key)} keys are not those of {self.n_tasks} tasks")
        order = np.ascontiguousarray(order, dtype=np.int32)
        _check_order(order, self.n_tasks)
        duration = np.array(self.task_table["duration"][:self.n_tasks])
        missing = np.diff(dep_ptr).astype(np.int32)
        self.rule, self.now = _rule_of(fit), 0
        self.key = np.ascontiguousarray(key, dtype=np.int64)
        self.n_failed = 0
        self.task_table["state"][:self.n_tasks] = WAITING       # even of what had failed, for nobody could hold it
        np.asarray(self.reason)[:] = 0
        np.asarray(self.told_stuck)[:] = 0
        np.asarray(self.cause)[:] = -1
        self.notices = []
        for worker in range(self.n_workers):
            if self.live[worker]:
                self._show(worker)
        if self.n_tasks:
            self._lay_out_again(order)
            self._rewind(&duration[0], &missing[0])

    def _skip_under_failed(self, first, dep_ptr, deps):
        """Tasks that were submitted under a failed one fail now, with what depends on them."""
        cdef int32_t task, dep
        state = self.task_table["state"]
        rows = np.repeat(np.arange(len(dep_ptr) - 1), np.diff(dep_ptr))
        for at in np.nonzero((deps < first) & (state[deps] >= FAILED))[0]:
            task, dep = first + rows[at], deps[at]
            if self.row(task).state == WAITING:
                self._skip(task, self.cause[dep] if self.row(dep).state == SKIPPED else dep)

    # ------------------------------------------------------------ doors: attempts

    def started(self, int32_t task, int32_t worker, now):
        """Book that an attempt was started, as a choice that was made before. See the .pyi."""
        cdef int r
        self._check_open(now)
        self._check_worker(worker)
        if not 0 <= task < self.n_tasks or self.row(task).state != READY:
            raise InternalError(f"task {task} was started, and was not ready")
        for r in range(self.n_resources):
            if self.free[r * self.stride + worker] < self.row(task).demand[r]:
                raise InternalError(f"task {task} was started on worker {worker}, which had no room for it")
        self._book_start(task, worker)
        return self.row(task).attempt

    def promise_made(self, int32_t task, int32_t worker, now):
        """Book that a task was promised to a worker, as a choice that was made before. See the .pyi."""
        self._check_open(now)
        self._check_worker(worker)
        if not 0 <= task < self.n_tasks or self.row(task).state != READY or not self.live[worker]:
            raise InternalError(f"task {task} was promised to worker {worker}, and was not ready, or nobody was there")
        self._book_promise(task, worker)

    def promise_kept(self, int32_t task, now):
        """Book that a promised attempt was started. See the .pyi."""
        cdef int32_t worker
        self._check_open(now)
        self._check_promised(task)
        worker = self._break_promise(task)
        self._open(task, worker)
        self._show(worker)
        return self.row(task).attempt

    def promise_returned(self, int32_t task, now, bint leaves=True):
        """Book that a promised task is ready again. See the .pyi."""
        cdef int32_t worker
        self._check_open(now)
        self._check_promised(task)
        worker = self._break_promise(task)
        self._book_ready(task)
        if leaves:
            self._leave_drained(worker)

    def follow(self, now, *, tasks, key, worker, not_before):
        """Book a plan that is followed from here on. See the .pyi."""
        cdef int32_t task
        self._check_open(now)
        tasks, worker = np.asarray(tasks, dtype=np.int32), np.asarray(worker, dtype=np.int32)
        not_before = np.asarray(not_before, dtype=np.int64)
        _check_plan(tasks, key, worker, not_before, self.n_tasks, self.n_workers)
        if self.n_tasks == 0:
            return
        self._release_held()
        keys = np.array(self.key[:self.n_tasks])
        keys[tasks] = key
        self.key = keys
        self.preferred = _spread(tasks, worker, -1, self.n_tasks)
        self.not_before = _spread(tasks, not_before, 0, self.n_tasks)
        self._enter_ready(self._renew_layers())
        np.asarray(self.overtaken)[:self.n_tasks] = 0   # who was passed by is told by the new order
        self.reserved_task = self.reserved_worker = -1

    def _release_held(self):
        """Nobody is held back or postponed any more: who was waits for nothing, and is yet to enter its tree."""
        cdef Py_ssize_t n = 0
        held, postponed = self.held_back(), self.postponements()
        times, tasks = np.array(self.wake_time[:self.n_wakes]), np.array(self.wake_task[:self.n_wakes])
        for time, task in zip(times.tolist(), tasks.tolist()):
            if task not in held:
                event_push(self.wake_time, self.wake_task, n, time, task)
                n += 1
        self.n_wakes = n
        self.task_table["state"][[*held, *postponed]] = WAITING
        np.asarray(self.postponed)[postponed] = 0

    def remember_failure(self, int32_t task, int32_t worker, now):
        """Book that a task failed on a worker before it came here. See the .pyi."""
        self._check_open(now)
        self._check_worker(worker)
        self._check_task(task)
        if self.row(task).attempt:
            raise InternalError(f"task {task} was tried here already")
        self.row(task).worker = worker
        self.row(task).start = self.now
        self._log(task, CODE_EXIT)
        self.row(task).worker = -1
        self.row(task).start = -1

    cdef void _check_promised(self, int32_t task) except *:
        if not 0 <= task < self.n_tasks or not self.promised[task]:
            raise InternalError(f"task {task} is promised to nobody")

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
        if self.row(task).state == COMPLETED or self.row(task).state >= FAILED:
            return False
        if self.row(task).state == RUNNING:
            self._book_end(task)
            self._log(task, CODE_CANCELLED)
        elif self.row(task).state == READY:
            self._leave_tree(task)
        elif self.promised[task]:
            self._leave_drained(self._break_promise(task))
        self._book_failed_for_good(task, CANCELLED, CODE_CANCELLED)
        return True

    def fail_unsatisfiable(self, now):
        """Fail every task that has not started and that no worker could ever hold. See the .pyi."""
        cdef int32_t task
        self._check_open(now)
        hopeless = self._find_unsatisfiable(False)
        for task in hopeless:               # each for its own reason, before any dependent is skipped
            if self.row(task).state == READY:
                self._leave_tree(task)
            self.row(task).state = FAILED
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
            if self.row(task).state != READY:
                if untold or (self.row(task).state != WAITING and self.row(task).state != DELAYED):
                    continue
                if self.promised[task]:
                    continue
            elif untold and self.told_stuck[task]:
                continue
            s = self.row(task).slot_of
            if self.loose[s] or self.row(task).demand[self.pivot] > self.most[s]:
                if not self._anyone_could_hold(task):
                    found.append(task)
        return found

    def failed_since(self, int32_t count):
        """The tasks that failed for good after the first `count` that did. See the .pyi."""
        return [self.failed_tasks[i] for i in range(count, self.n_failed)]

    def next_wake(self):
        """When something is due by itself. See the .pyi."""
        due = [self.wake_time[0]] if self.n_wakes else []
        if self.next_release >= 0:
            due.append(self.next_release)
        return min(due) if due else None

    def advance(self, now):
        """Book that time has passed. See the .pyi."""
        self._check_open(now)

    def set_deadline(self, at, now):
        """Book when all attempts are to have ended. See the .pyi."""
        cdef int32_t task
        self._check_open(now)
        postponed = self.postponements()
        self.deadline = at
        self._sort_by_duration()
        for task in postponed:
            self.postponed[task] = 0
            self._book_ready(task)
        self._postpone_too_long()

    def _sort_by_duration(self):
        """Put the tasks in the order in which they become too long; nothing where no deadline is set."""
        durations = self.task_table["duration"][:self.n_tasks if self.deadline >= 0 else 0]
        self.longest = np.argsort(-durations, kind="stable").astype(np.int32)
        self.n_too_long = 0

    # ------------------------------------------------------------ doors: workers

    def add_workers(self, capacity, now, bint expected=False):
        """Book that new workers are there, or expected. See the .pyi."""
        cdef int32_t worker, first = self.n_workers
        self._check_open(now)
        capacity = _amounts(capacity)
        if capacity.ndim != 2 or capacity.shape[1] != self.n_resources:
            raise ValueError(f"capacity has shape {capacity.shape}, wanted (workers, {self.n_resources})")
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

    def expect_worker(self, int32_t worker, now):
        """Book that a worker that is not there will come. See the .pyi."""
        self._check_open(now)
        self._check_worker(worker)
        if self.live[worker] or self.expected[worker]:
            raise InternalError(f"worker {worker} is to come, and is there or was expected already")
        self.expected[worker] = 1
        self.most_stale = True

    def add_resources(self, capacity):
        """Count more resources: what the workers have of them; no task has asked for any yet. See the .pyi."""
        cdef int32_t worker
        cdef int32_t w = self.n_workers
        capacity = _amounts(capacity)
        if capacity.shape[0] != w:
            raise ValueError(f"a row of amounts for each of {w} workers is wanted")
        self._widen(capacity)
        self.total_stale = self.most_stale = True
        for worker in range(w):
            self._show(worker)

    def resize_worker(self, int32_t worker, capacity, now):
        """Book that a worker's capacity has changed. See the .pyi."""
        self._check_open(now)
        self._check_worker(worker)
        capacity = _amounts(capacity)
        if capacity.shape != (self.n_resources,):
            raise ValueError(f"a capacity of {self.n_resources} amounts is wanted")
        np.asarray(self.capacity).reshape(self.n_resources, self.stride)[:, worker] = capacity
        self._show(worker)
        self._worker_went()

    def drain_worker(self, int32_t worker, now):
        """Book that a worker takes nothing more and leaves when it is empty. See the .pyi."""
        self._check_open(now)
        self._check_worker(worker)
        if not self.live[worker]:
            raise InternalError(f"worker {worker} is to drain, and is not there")
        self.draining[worker] = LEAVING
        self._show(worker)
        self._leave_drained(worker)
        self._worker_went()

    def suspect_worker(self, int32_t worker, now):
        """Book that a worker is as good as lost, and takes nothing more. See the .pyi."""
        self._check_open(now)
        self._check_worker(worker)
        if not self.live[worker]:
            raise InternalError(f"worker {worker} is suspected, and is not there")
        if not self.draining[worker]:
            self.draining[worker] = SUSPECT
            self._show(worker)

    def remove_worker(self, int32_t worker, now, bint expected=False, bint charged=True):
        """Book that a worker is not there, and its open attempts with it. See the .pyi."""
        cdef int32_t task
        self._check_open(now)
        self._check_worker(worker)
        if not (self.live[worker] or self.expected[worker]):
            raise InternalError(f"worker {worker} left, and was not there")
        if self.n_promised[worker]:
            raise InternalError(f"worker {worker} left, and tasks are promised to it")
        self._forget_worker(worker)
        self.expected[worker] = expected
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
            task = self.row(task).next_on
        return sorted(found)

    def failed_workers(self, int32_t task):
        """The workers on which the task failed by its own fault, the last one first. See the .pyi."""
        cdef int32_t at
        self._check_task(task)
        at = self.last_bar[task]
        found = []
        while at >= 0:
            found.append(self.log_worker[at])
            at = self.log_bar[at]
        return found

    def _worker_went(self):
        """Totals are stale, and tasks that somebody could hold may have nobody left."""
        cdef int32_t task
        self.total_stale = self.most_stale = True
        for task in self._find_unsatisfiable(True) if self.tell_stuck else ():
            self.told_stuck[task] = 1
            self._notify(NOTICE_STUCK, task)

    # ------------------------------------------------------------ facts about tasks

    cdef void _book_ready(self, int32_t task) noexcept nogil:
        # Nothing keeps the task from starting any more, unless it is the deadline: it enters the tree of its slot.
        cdef TaskRow* row = self.row(task)
        cdef int s = row.slot_of
        if self.not_before.shape[0] and row.attempt == 0 and self.now < self.not_before[task]:
            row.state = DELAYED
            self._wake(task, self.not_before[task])
            return
        if self.deadline >= 0 and self.now + row.duration > self.deadline:
            row.state = DELAYED
            self.postponed[task] = 1
            return
        row.state = READY
        if self.pivot_need[s]:
            bits_set(&self.bits[0], &self.level[s * LEVELS], self.depth[s], row.leaf_of)
        else:
            tree_set(self.tree, self.level, s * LEVELS, self.depth[s], row.leaf_of, row.demand[self.pivot] - 1)
        self.stale[s >> 4] |= <uint32_t>1 << (s & 15)
        if self.tell_stuck and not self.told_stuck[task] and not self._anyone_could_hold(task):
            self.told_stuck[task] = 1
            self._notify(NOTICE_STUCK, task)

    cdef void _leave_tree(self, int32_t task) noexcept nogil:
        # The task is not ready any more.
        cdef int s = self.row(task).slot_of
        if self.pivot_need[s]:
            bits_clear(&self.bits[0], &self.level[s * LEVELS], self.depth[s], self.row(task).leaf_of)
        else:
            tree_set(self.tree, self.level, s * LEVELS, self.depth[s], self.row(task).leaf_of, ABSENT)
        self.stale[s >> 4] |= <uint32_t>1 << (s & 15)
        if self.any_overtaken:
            self.overtaken[task] = 0
        if task == self.reserved_task:
            self.reserved_task = self.reserved_worker = -1

    cdef void _book_start(self, int32_t task, int32_t worker) noexcept nogil:
        # A ready task starts its next attempt on a worker that has room for it.
        self._leave_tree(task)
        self._take_room(task, worker, 1)
        self._open(task, worker)
        if self.trust[worker] == PROBATION:
            self._show(worker)

    cdef void _open(self, int32_t task, int32_t worker) noexcept nogil:
        # The next attempt of a task stands among the open ones of the worker. What that leaves free is not booked.
        cdef int32_t first = self.first_on[worker]
        self.row(task).state = RUNNING
        self.row(task).worker = worker
        self.row(task).attempt += 1
        self.row(task).start = self.now
        self.row(task).end = -1
        self.n_running += 1
        self.row(task).next_on = first
        self.row(task).before_on = -1
        if first >= 0:
            self.row(first).before_on = task
        self.first_on[worker] = task

    cdef void _book_promise(self, int32_t task, int32_t worker) noexcept nogil:
        # A ready task is set aside for a worker.
        self._leave_tree(task)
        self.row(task).state = DELAYED
        self.promised[task] = worker + 1
        self.n_promised[worker] += 1

    cdef int32_t _break_promise(self, int32_t task) noexcept nogil:
        # The task is not set aside any more. Out: the worker for which it was.
        cdef int32_t worker = self.promised[task] - 1
        self.promised[task] = 0
        self.n_promised[worker] -= 1
        return worker

    cdef void _book_end(self, int32_t task) noexcept nogil:
        # The open attempt ends, however it went: its worker has the room again.
        cdef int32_t worker = self.row(task).worker, after = self.row(task).next_on, ahead = self.row(task).before_on
        self.row(task).end = self.now
        self.n_running -= 1
        if after >= 0:
            self.row(after).before_on = ahead
        if ahead >= 0:
            self.row(ahead).next_on = after
        else:
            self.first_on[worker] = after
        if self.shown[worker]:
            self._take_room(task, worker, -1)
            self._touch(worker)
        elif self.live[worker]:
            self._show(worker)
            self._leave_drained(worker)

    cdef void _book_completed(self, int32_t task) noexcept nogil:
        # The open attempt succeeded: dependents that waited for nothing else are ready.
        cdef int64_t k
        cdef int32_t late
        if self.n_log:
            self._clear_name(self.row(task).worker)
            if self.last_fail[task] >= 0:
                self._credit(task)
        for k in range(self.succ_ptr[task], self.succ_ptr[task + 1]):
            fetch(self.row(self.succ[k]))
        self._book_end(task)
        self.row(task).state = COMPLETED
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
        self.row(task).missing -= 1
        if self.row(task).missing == 0 and self.row(task).state == WAITING:
            self._book_ready(task)

    cdef bint _book_failed(self, int32_t task, uint8_t reason, bint charged) noexcept nogil:
        # The open attempt failed. Out: True where the task will be tried again. Its own failures, out-of-memory
        # and lost workers are counted apart; what is not charged costs nothing.
        cdef bint again = True
        cdef int32_t worker = self.row(task).worker
        if self.trust[worker] == PROBATION and _blames_worker(reason) and self._others_usable(worker):
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
        k = <int32_t>(draw(self.seed, DRAW_JITTER, (<uint64_t>task << 32) + <uint64_t>self.row(task).attempt) >> 44)
        delay -= ((delay // 1000 * self.jitter) >> 20) * k
        self.row(task).state = DELAYED
        self._wake(task, self.now + delay)

    cdef void _wake(self, int32_t task, int64_t at) noexcept nogil:
        # The task, which is DELAYED, is ready again then.
        if self.n_wakes == self.wake_time.shape[0]:
            with gil:
                self.wake_time = extended(self.wake_time, self.n_wakes, 64, 0)
                self.wake_task = extended(self.wake_task, self.n_wakes, 64, 0)
        event_push(self.wake_time, self.wake_task, self.n_wakes, at, task)
        self.n_wakes += 1

    cdef void _grow_memory(self, int32_t task) noexcept nogil:
        # After out-of-memory the task asks for more, but never for more than some worker in use could give.
        cdef int32_t had = self.row(task).demand[self.memory], most = had, worker, here
        cdef int64_t more = (<int64_t>had * self.oom_growth + 999) // 1000
        if self.oom_growth == 1000:
            return
        for worker in range(self.n_workers):
            here = self.capacity[self.memory * self.stride + worker]
            if here > most and self._usable(worker) and self._could_hold(worker, task):
                most = here
        self.row(task).demand[self.memory] = <int32_t>min(more, <int64_t>most)
        if self.memory != self.pivot:
            self.loose[self.row(task).slot_of] = 1

    cdef void _book_failed_for_good(self, int32_t task, uint8_t state, uint8_t reason) noexcept nogil:
        self.row(task).state = state
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
        self.row(task).state = SKIPPED
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
                if self.row(dependent).state == WAITING:
                    self.row(dependent).state = SKIPPED
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
        self.log_worker[at] = self.row(task).worker
        self.log_attempt[at] = self.row(task).attempt
        self.log_start[at] = self.row(task).start
        self.log_end[at] = self.now
        self.log_reason[at] = reason
        self.log_prev[at] = self.last_fail[task]
        self.last_fail[task] = <int32_t>at
        self.n_log += 1
        if _to_be_avoided(reason):
            self._bar(task, <int32_t>at)

    cdef void _bar(self, int32_t task, int32_t at) noexcept nogil:
        # The failure is the task's last one on its worker: it takes the place of the one before it there.
        cdef int32_t entry = self.last_bar[task], after = -1
        while entry >= 0 and self.log_worker[entry] != self.log_worker[at]:
            after = entry
            entry = self.log_bar[entry]
        if entry >= 0 and after >= 0:
            self.log_bar[after] = self.log_bar[entry]
        elif entry >= 0:
            self.last_bar[task] = self.log_bar[entry]
        self.log_bar[at] = self.last_bar[task]
        self.last_bar[task] = at

    def _extend_log(self):
        n = self.n_log
        self.log_task = extended(self.log_task, n, 64, 0)
        self.log_worker = extended(self.log_worker, n, 64, 0)
        self.log_attempt = extended(self.log_attempt, n, 64, 0)
        self.log_start = extended(self.log_start, n, 64, 0)
        self.log_end = extended(self.log_end, n, 64, 0)
        self.log_reason = extended(self.log_reason, n, 64, 0)
        self.log_prev = extended(self.log_prev, n, 64, 0)
        self.log_bar = extended(self.log_bar, n, 64, 0)

    cdef void _notify(self, int notice, int32_t which) noexcept nogil:
        with gil:
            self.notices.append((notice, which, self.now))

    # ------------------------------------------------------------ again from the beginning

    cdef void _rewind(self, const int64_t* duration, const int32_t* missing) noexcept nogil:
        # In: for each task how long it will take now, and on how many edges it waits; nothing has failed but what nobody
        # could hold. Out: as if nothing had happened yet, that one excepted.
        cdef int32_t task
        cdef TaskRow* row
        self.n_left = self.n_wakes = 0
        for task in range(self.n_tasks):
            row = self.row(task)
            row.missing = missing[task]
            if row.state >= FAILED:
                continue
            if row.state == RUNNING:
                self._book_end(task)
            elif row.state == READY:
                self._leave_tree(task)
            row.state = WAITING
            row.start = row.end = -1
            row.duration = duration[task]
            row.attempt = 0
            row.worker = -1
            self.n_left += 1
        self.now = 0
        for task in range(self.n_tasks):
            if self.row(task).state == WAITING and self.row(task).missing == 0:
                self._book_ready(task)

    cdef void _set_live(self, const uint8_t* there) noexcept nogil:
        # In: for each worker whether it is to be there; nothing runs. Out: so it is, as from the beginning on.
        cdef int32_t worker
        for worker in range(self.n_workers):
            if self.live[worker] != there[worker]:
                self.live[worker] = there[worker]
                self._show(worker)
        self.total_stale = self.most_stale = True

    # ------------------------------------------------------------ facts about workers

    cdef void _take_room(self, int32_t task, int32_t worker, int32_t sign) noexcept nogil:
        # In: sign 1 takes the task's demand from the worker's free amounts, -1 gives it back.
        cdef const int32_t* demand = self.row(task).demand
        cdef int32_t* free = &self.free[worker]
        cdef int r
        for r in range(self.n_resources):
            free[0] -= sign * demand[r]
            free += self.stride
        self._unscore(worker)

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
                self.free[r * self.stride + worker] -= self.row(task).demand[r]
            task = self.row(task).next_on
        for r in range(self.n_resources):
            open = open and self.free[r * self.stride + worker] >= 0
        if not open:
            for r in range(self.n_resources):
                self.free[r * self.stride + worker] = -1
        self.shown[worker] = open
        self._unscore(worker)
        if open:
            self._touch(worker)

    cdef bint _usable(self, int32_t worker) noexcept nogil:
        # Out: whether the worker is there, stays, and is not in quarantine.
        return self.live[worker] and not self.draining[worker] and self.trust[worker] != QUARANTINED

    cdef bint _comes(self, int32_t worker) noexcept nogil:
        # Out: whether the worker is expected, or is to be once its loss is certain.
        return self.expected[worker] or (self.live[worker] and self.draining[worker] == SUSPECT)

    cdef bint _could_hold(self, int32_t worker, int32_t task) noexcept nogil:
        # Out: whether an empty worker has room for the task.
        cdef int r
        for r in range(self.n_resources):
            if self.capacity[r * self.stride + worker] < self.row(task).demand[r]:
                return False
        return True

    cdef bint _anyone_could_hold(self, int32_t task) noexcept nogil:
        # Out: whether a worker that stays, or is expected, could ever hold the task.
        cdef int32_t worker
        cdef int s = self.row(task).slot_of
        if self.most_stale:
            self._measure_most()
        if s < 0 or self.row(task).demand[self.pivot] > self.most[s]:
            return False
        if not self.loose[s]:
            return True
        for worker in range(self.n_workers):
            if ((self.live[worker] and not self.draining[worker]) or self._comes(worker)) and self._could_hold(
                worker, task
            ):
                return True
        return False

    cdef void _measure_most(self) noexcept nogil:
        # Out: for each slot the most of the pivot that anybody has who stays, or is expected, and could hold the rest.
        cdef int s, r
        cdef int32_t worker
        self.most_stale = False
        for s in range(self.n_slots):
            self.most[s] = -1
            for worker in range(self.n_workers):
                if not ((self.live[worker] and not self.draining[worker]) or self._comes(worker)):
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
        cdef int32_t at = self.last_fail[task], worker
        while at >= 0:
            worker = self.log_worker[at]
            if worker != self.row(task).worker and _blames_worker(self.log_reason[at]) and at >= self.clean[worker]:
                self.strikes[worker] += 1
                if (
                    0 < self.quarantine_after <= self.strikes[worker] and self.trust[worker] == TRUSTED
                    and self._usable(worker) and self._others_usable(worker)
                ):
                    self._quarantine(worker)
            at = self.log_prev[at]

    cdef bint _others_usable(self, int32_t worker) noexcept nogil:
        # Out: whether any worker but this one is there, stays, and is not in quarantine.
        cdef int32_t other
        for other in range(self.n_workers):
            if other != worker and self._usable(other):
                return True
        return False

    cdef void _forget_worker(self, int32_t worker) noexcept nogil:
        # The worker is not there any more, nor in quarantine.
        self.live[worker] = self.draining[worker] = 0
        if self.trust[worker] == QUARANTINED:
            self.trust[worker] = TRUSTED
            self._find_next_release()

    cdef bint _is_idle(self, int32_t worker) noexcept nogil:
        # Out: whether nothing runs on the worker, and nothing is promised to it.
        return self.first_on[worker] < 0 and not self.n_promised[worker]

    cdef void _leave_drained(self, int32_t worker) noexcept nogil:
        # A worker that drains, and is idle, is not there any more.
        if self.draining[worker] == LEAVING and self._is_idle(worker):
            self._forget_worker(worker)
            self.total_stale = True
            self._notify(NOTICE_DRAINED, worker)

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
            if self.row(task).state == DELAYED:
                self._book_ready(task)
        if 0 <= self.next_release <= now:
            for worker in range(self.n_workers):
                if self.trust[worker] == QUARANTINED and self.release[worker] <= now:
                    self.trust[worker] = PROBATION
                    self._notify(NOTICE_PROBATION, worker)
                    self._show(worker)
            self._find_next_release()
        if self.deadline >= 0:
            self._postpone_too_long()

    cdef void _postpone_too_long(self) noexcept nogil:
        # What is ready, and could not end in time any more, is not to be started.
        cdef int32_t task
        while self.n_too_long < self.longest.shape[0]:
            task = self.longest[self.n_too_long]
            if self.now + self.row(task).duration <= self.deadline:
                break
            self.n_too_long += 1
            if self.row(task).state == READY:
                self._leave_tree(task)
                self.row(task).state = DELAYED
                self.postponed[task] = 1

    cdef void _find_next_release(self) noexcept nogil:
        cdef int32_t worker
        self.next_release = -1
        for worker in range(self.n_workers):
            if self.trust[worker] == QUARANTINED and (
                self.next_release < 0 or self.release[worker] < self.next_release
            ):
                self.next_release = self.release[worker]

    # ------------------------------------------------------------ book-keeping

    cdef bint _is_open(self, int32_t task, int32_t attempt, int32_t incarnation) except -1:
        # Whether a report for this attempt counts; a stale one does not, an impossible one raises.
        if not 0 <= task < self.n_tasks:
            raise IndexError(f"task {task} is out of range")
        if attempt > self.row(task).attempt:
            raise InternalError(f"a report for attempt {attempt} of task {task}, which never started")
        return (
            self.row(task).state == RUNNING and self.row(task).attempt == attempt
            and self.incarnation[self.row(task).worker] == incarnation
        )

    cdef void _check_open(self, int64_t now) except *:
        if now < self.now:
            raise InternalError(f"time went back from {self.now} to {now}")
        self._advance(now)


cdef inline bint _to_be_avoided(uint8_t reason) noexcept nogil:
    # Out: whether a retry goes elsewhere after such a failure.
    return reason != CODE_WORKER_LOST


cdef inline bint _blames_worker(uint8_t reason) noexcept nogil:
    # Out: whether the failure may be the worker's fault: not one of memory, of a lost worker, or of us.
    return reason != CODE_OUT_OF_MEMORY and reason != CODE_WORKER_LOST and reason != CODE_CANCELLED


def _rule_of(fit):
    """The rule of that name."""
    if fit not in FIT_RULES:
        raise ValueError(f"unknown fit rule {fit!r}; known: {', '.join(FIT_RULES)}")
    return FIT_RULES[fit]


def _check_order(order, m):
    """Raise ValueError for what does not order m tasks."""
    if len(order) != m or m and (np.bincount(order, minlength=m) != 1).any():
        raise ValueError("`order` is not a permutation of the batch")


def _amounts(given):
    """Whole numbers from 0 to 2**31 - 1, as such; ValueError for any others."""
    amounts = np.asarray(given)
    if amounts.dtype.kind not in "iub" or amounts.size and (amounts.min() < 0 or amounts.max() > INT32_MAX):
        raise ValueError("an amount is negative, 2**31 or more, or no whole number")
    return np.ascontiguousarray(amounts, dtype=np.int32)


def _check_plan(tasks, key, worker, not_before, n_tasks, n_workers):
    """Raise ValueError for columns that cannot be those of a plan for so many tasks and workers."""
    lengths = {len(tasks), len(key), len(worker), len(not_before)}
    if len(lengths) != 1:
        raise ValueError(f"columns of a plan of different lengths: {sorted(lengths)}")
    if not len(tasks):
        return
    if not 0 <= tasks.min() <= tasks.max() < n_tasks or np.bincount(tasks).max() > 1:
        raise ValueError("a task of a plan is out of range, or is there twice")
    if not -1 <= worker.min() <= worker.max() < n_workers:
        raise ValueError("a worker of a plan is out of range")


def _spread(tasks, values, other, n):
    """A column of n entries with these values for these tasks; an empty one where they are nothing but the other."""
    if (values == other).all():
        return np.empty(0, dtype=values.dtype)
    column = np.full(n, other, dtype=values.dtype)
    column[tasks] = values
    return column


def _check_batch(first, m, k, dep_ptr, deps, demand, duration, priority, key, max_retries, class_of, class_demand):
    """Raise ValueError for arrays that cannot be a batch of m tasks."""
    lengths = {len(dep_ptr) - 1, len(demand), len(duration), len(priority), len(key), len(max_retries), len(class_of)}
    if lengths != {m}:
        raise ValueError(f"arrays of different lengths: {sorted(lengths | {m})}")
    if first + m >= INT32_MAX:
        raise ValueError(f"{first + m} tasks are more than the core can number")
    if demand.shape[1:] != (k,) or class_demand.shape[1:] != (k,):
        raise ValueError(f"demand has shape {demand.shape} and class_demand {class_demand.shape}, wanted (n, {k})")
    if m and (np.min(duration) < 0 or np.min(max_retries) < 0):
        raise ValueError("a duration or a number of retries is negative")
    if m and not 0 <= np.min(class_of) <= np.max(class_of) < len(class_demand):
        raise ValueError("a class is out of range")
    if len(deps) and not 0 <= np.min(deps) <= np.max(deps) < first + m:
        raise ValueError("a dependency is out of range")
    if dep_ptr[0] != 0 or dep_ptr[m] != len(deps) or (np.diff(dep_ptr) < 0).any():
        raise ValueError("dep_ptr is not that of a CSR array")
    if m and _short_of_class(demand, np.ascontiguousarray(class_of, dtype=np.int32), class_demand):
        raise ValueError("a task needs less than its class")


cdef bint _short_of_class(
    const int32_t[:, ::1] demand, const int32_t[::1] class_of, const int32_t[:, ::1] class_demand
) noexcept:
    # Out: whether any task needs less of some resource than the least of its class.
    cdef Py_ssize_t i
    cdef int r
    cdef bint short = False
    with nogil:
        for i in range(demand.shape[0]):
            for r in range(<int>demand.shape[1]):
                short = short or demand[i, r] < class_demand[class_of[i], r]
    return short
