# cython: language_level=3
"""The state machine's choices: which ready task starts where.

One rule: a choice is made in `_decide` alone, on booked state alone (`_facts.pyx`), and is booked
as a fact. What starts next does not depend on how often, or through which door, it was asked.

Theory of operation. The *front* of a slot is an upper bound of the pivot that is free on any
worker with room for the slot's demand; its *candidate* is the first ready task under the front.
The next choice is the most urgent candidate. Where no worker turns out to have room for it, the
front is measured anew and the slot asked again; free amounts only shrink within a decision, so a
task that was refused stays refused until room is made. A task that is refused though it is under
the front (it needs more than its slot's lower bound, or must avoid the workers that have room) is
passed over until the next decision. Only slots under which room was made, or in which a task
became ready, are asked at all: a decision costs what has changed, not what is waiting.

Reservations (EASY backfilling, Lifka 1995). When the most urgent ready task that some worker
could hold has been passed by for `reserve_after`, room is kept for it on the worker where it can
start earliest by expected durations; there, less urgent tasks start only if they are expected to end
by then, or fit beside it then.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t

import numpy as np

from ._facts cimport Facts
from ._tables cimport NO_CANDIDATE, PROBATION, QUARANTINED, READY
from ._block cimport (
    bits_of_the_less, copy_block, holds, keep_larger, keep_smaller, lowest_bit, room_for_slots,
)
from ._fit cimport BEST_FIT, BLOCK, DOT_PRODUCT, fit_match, fit_worker, frontier, match_of
from ._grid cimport grid_fit, grid_frontier
from .errors import InternalError
from .recount import recount

# Codes of `reason`; their names are `model.Reason`, in this order.
REASON_EXIT = 1
REASON_OUT_OF_MEMORY = 3
REASON_WORKER_LOST = 5
REASON_CANCELLED = 6
REASON_DEPENDENCY = 7
REASON_UNSATISFIABLE = 8

cdef enum:
    FEW = 8                 # touched workers that are looked at after every start
    FEW_LEAVES = 64         # of a slot that are looked at for a promise: some tasks may need more than it says

cdef enum Bars:             # what a task's failures mean for where it goes
    FREE_CHOICE = 0
    AVOID = 1               # workers on which it failed; they are marked
    FALL_BACK = 2           # none other could hold it: to the one where it failed longest ago


@cython.final
cdef class Core(Facts):
    """See the .pyi."""

    def __init__(self, *, n_resources, reserve_after=-1, **policy):
        super().__init__(n_resources=n_resources, **policy)
        self.reserve_after = reserve_after
        self.extra = np.zeros(n_resources, dtype=np.int32)
        self.started_tasks = np.empty(64, dtype=np.int32)
        self.overtaken_task = -1
        self.rooms = np.empty(0, dtype=np.int32)

    # ------------------------------------------------------------ doors

    def assign(self, now):
        """Make every choice that can be made at `now` and book it. See the .pyi."""
        self._check_open(now)
        with nogil:
            self._decide()
        return [
            (self.started_tasks[i], self.row(self.started_tasks[i]).worker, self.row(self.started_tasks[i]).attempt)
            for i in range(self.n_started)
        ]

    def promise(self, int32_t worker, int32_t like, int32_t n, now):
        """Promise ready tasks to a worker, and book it. See the .pyi."""
        cdef int32_t task
        self._check_open(now)
        self._check_worker(worker)
        self._check_task(like)
        promised = []
        while len(promised) < n and self.shown[worker] and self.reserve_after < 0:
            task = self._next_in_place_of(like, worker)
            if task < 0:
                break
            self._book_promise(task, worker)
            promised.append(task)
        return promised

    def add_resources(self, capacity):
        """Count more resources. See the .pyi."""
        super().add_resources(capacity)
        self.extra = np.zeros(self.n_resources, dtype=np.int32)

    def overtook(self, int32_t task, now):
        """Book that a task was passed by, as it was told before. See the .pyi."""
        self._check_open(now)
        if not 0 <= task < self.n_tasks or self.row(task).state != READY:
            raise InternalError(f"task {task} was passed by, and was not ready")
        self.overtaken[task] = now + 1
        self.any_overtaken = True

    def reserved(self, int32_t task, int32_t worker, now):
        """Book that room is kept, as it was chosen before. See the .pyi."""
        self._check_open(now)
        if task >= 0:
            self._check_worker(worker)
            if task >= self.n_tasks or self.row(task).state != READY:
                raise InternalError(f"room was kept for task {task}, which was not ready")
        self.reserved_task, self.reserved_worker = task, worker

    def reservation(self):
        """The task for which room is kept, and where. See the .pyi."""
        return (self.reserved_task, self.reserved_worker) if self.reserved_task >= 0 else None

    def earliest_start(self, int32_t task, int32_t worker):
        """When a worker is expected to have room for a task. See the .pyi."""
        self._check_worker(worker)
        self._check_task(task)
        if not self._could_hold(worker, task) or not self._usable(worker):
            return None
        return self._earliest_start(task, worker)

    # ------------------------------------------------------------ the decision

    cdef void _decide(self) noexcept nogil:
        # Over all ready tasks in order of urgency: the first that fits some worker now is placed on the
        # worker that the fit rule prefers, until none fits. Out: started_tasks[:n_started].
        cdef int b, best
        cdef int32_t task, worker
        cdef bint near
        self.n_started = 0
        self.few_touched = max(FEW, self.n_workers >> 4)
        if self.total_stale:
            self._renew_totals()
        if self.reserve_after >= 0:
            self._renew_reservation()
        if self.rooms.shape[0] < FEW * self.slot_stride:
            with gil:
                self.rooms = np.empty(FEW * self.slot_stride, dtype=np.int32)
        self._raise_fronts()
        for b in range(<int>(self.slot_stride >> 4)):
            self._find_candidates(b)
        while True:
            best = self._most_urgent()
            if best < 0:
                break
            task = self.candidate[best]
            near = self.n_touched <= self.few_touched and (
                self.row(task).demand[self.pivot] > self.base[best]
            )
            worker = self._choose_worker(task, near)
            if worker < 0:
                self._refuse(best, task, near)
            else:
                self._book_start(task, worker)
                self._note_started(task)
                if self.n_touched <= FEW:
                    self._lower_fronts(worker)
            self._find_candidate(best)
        self.n_touched = 0
        if self.reserve_after >= 0:
            self._note_overtaken()

    cdef int _most_urgent(self) noexcept nogil:
        # Out: the slot with the most urgent candidate in reach of its front, or -1.
        cdef int b, s, best = -1
        cdef int32_t urgent = NO_CANDIDATE, here
        cdef uint32_t reach
        for b in range(<int>(self.slot_stride >> 4)):
            reach = ~bits_of_the_less(&self.front[BLOCK * b], &self.candidate_need[BLOCK * b]) & 0xffff
            while reach:
                s = BLOCK * b + lowest_bit(reach)
                reach &= reach - 1
                if self.candidate[s] < 0:   # where there is room for anything
                    continue
                here = self.candidate_position[s]
                if self.n_layers > 1:       # whose positions are not comparable
                    here = 0 if best < 0 or self._before(self.candidate[s], self.candidate[best]) else NO_CANDIDATE
                best = s if here < urgent else best
                urgent = min(here, urgent) if self.n_layers == 1 else NO_CANDIDATE
        return best

    cdef bint _before(self, int32_t a, int32_t b) noexcept nogil:
        # Out: whether task a is more urgent than task b.
        if self.priority[a] != self.priority[b]:
            return self.priority[a] > self.priority[b]
        if self.key[a] != self.key[b]:
            return self.key[a] < self.key[b]
        return a < b

    cdef void _note_started(self, int32_t task) noexcept nogil:
        if self.n_started == self.started_tasks.shape[0]:
            with gil:
                self.started_tasks = np.resize(self.started_tasks, 2 * self.n_started)
        self.started_tasks[self.n_started] = task
        self.n_started += 1

    # ------------------------------------------------------------ which worker

    cdef int32_t _choose_worker(self, int32_t task, bint near) noexcept nogil:
        # In: near where none but the touched workers can have room. Out: the worker for the task, or -1.
        cdef const int32_t* demand = self.row(task).demand
        cdef int64_t mark = -1
        cdef int32_t worker
        cdef int bars = FREE_CHOICE
        self.free_choice = True
        if self.n_log and self.last_bar[task] >= 0:
            bars = self._bar_failed_workers(task)
            if bars == AVOID:
                mark = self.mark
        if self.reserved_task >= 0 and not self._may_pass(task):
            if mark < 0:
                self.mark += 1
                mark = self.mark
            self.barred[self.reserved_worker] = mark
        self.free_choice = mark < 0 and bars == FREE_CHOICE
        if bars == FALL_BACK:
            return self._least_recently_failed(task, mark)
        if self.preferred.shape[0]:
            worker = self.preferred[task]
            if worker >= 0 and self.barred[worker] != mark and holds(
                &self.free[worker], self.stride, self.n_resources, demand
            ):
                return worker
        if near:
            return self._fit_touched(demand, mark)
        if self.rule >= DOT_PRODUCT:
            return fit_match(
                self.rule, self.free, self.stride, self.n_resources, demand, self.inverse, self.barred, mark
            )
        self._score_workers()
        if self.gridded:
            return grid_fit(
                self.cell_head, self.inhabited, self.child, self.sibling, self.walk,
                &self.row_steps[0], &self.column_steps[0], self.row_resource, self.pivot, self.rule == BEST_FIT,
                self.free, self.stride, self.n_resources, demand, self.merit, self.barred, mark,
            )
        return fit_worker(
            self.free, self.stride, self.n_resources, demand,
            self.merit, self.block_merit, self.barred, mark,
        )

    cdef int32_t _fit_touched(self, const int32_t* demand, int64_t mark) noexcept nogil:
        # As `fit_worker`, among the touched workers alone.
        cdef int32_t best = -1, worker, i
        cdef int64_t merit
        if self.rule >= DOT_PRODUCT:
            return self._match_touched(demand, mark)
        for i in range(self.n_touched):
            worker = self.touched[i]
            if self.barred[worker] == mark or not holds(&self.free[worker], self.stride, self.n_resources, demand):
                continue
            if best >= 0:
                merit = self._merit_of(worker)
                if merit < self._merit_of(best) or (merit == self._merit_of(best) and worker > best):
                    continue
            best = worker
        return best

    cdef int32_t _match_touched(self, const int32_t* demand, int64_t mark) noexcept nogil:
        # As `fit_match`, among the touched workers alone.
        cdef int32_t best = -1, worker, i
        cdef double best_match = 0.0, match
        for i in range(self.n_touched):
            worker = self.touched[i]
            if self.barred[worker] == mark or not holds(&self.free[worker], self.stride, self.n_resources, demand):
                continue
            match = match_of(self.rule, &self.free[worker], self.stride, self.n_resources, demand, self.inverse)
            if best < 0 or match > best_match or (match == best_match and worker < best):
                best = worker
                best_match = match
        return best

    cdef int _bar_failed_workers(self, int32_t task) noexcept nogil:
        # Mark the workers on which the task failed by its own fault. Out: they are to be avoided while another
        # worker, in use or expected, could ever hold the task; else it falls back on them.
        cdef int32_t at = self.last_bar[task], worker
        self.mark += 1
        if at < 0:
            return FREE_CHOICE
        while at >= 0:
            self.barred[self.log_worker[at]] = self.mark
            at = self.log_bar[at]
        for worker in range(self.n_workers):
            if (
                self.barred[worker] != self.mark and (self._usable(worker) or self._comes(worker))
                and self._could_hold(worker, task)
            ):
                return AVOID
        self.mark += 1
        return FALL_BACK

    cdef int32_t _least_recently_failed(self, int32_t task, int64_t mark) noexcept nogil:
        # Out: of the workers with room for the task, the one on which its last failure is the oldest; or -1.
        cdef int32_t at = self.last_bar[task], worker, found = -1
        cdef const int32_t* demand = self.row(task).demand
        while at >= 0:
            worker = self.log_worker[at]
            if self.barred[worker] != mark and holds(&self.free[worker], self.stride, self.n_resources, demand):
                found = worker
            at = self.log_bar[at]
        return found

    cdef int32_t _next_in_place_of(self, int32_t like, int32_t worker) noexcept nogil:
        # Out: the ready task that would start on the worker if an attempt that is given as much as `like` ended there,
        # and nobody else had room; or -1: none would, or one that needs something else, or was tried before.
        cdef const int32_t* given = self.row(like).demand
        cdef int32_t best = -1, task, limit = self._room_in_place(self.pivot, given, worker)
        cdef Py_ssize_t leaf
        cdef int s, r, looked
        for s in range(self.n_slots):
            for r in range(self.n_resources):
                if self.slot_demand[s * self.n_resources + r] > self._room_in_place(r, given, worker):
                    break
            else:
                leaf = -1
                for looked in range(FEW_LEAVES):
                    leaf = self._first_ready(s, leaf + 1, limit)
                    if leaf < 0:
                        break
                    task = self.task_at[self.first_leaf[s] + leaf]
                    if self._fits_in_place(task, given, worker):
                        if best < 0 or self._before(task, best):
                            best = task
                        break
                else:
                    return -1
        if best < 0 or self.row(best).attempt:
            return -1
        for r in range(self.n_resources):
            if self.row(best).demand[r] != given[r]:
                return -1
        return best

    cdef bint _fits_in_place(self, int32_t task, const int32_t* given, int32_t worker) noexcept nogil:
        # Out: whether the worker would have room for the task if so much was given back.
        cdef int r
        for r in range(self.n_resources):
            if self.row(task).demand[r] > self._room_in_place(r, given, worker):
                return False
        return True

    cdef int32_t _room_in_place(self, int r, const int32_t* given, int32_t worker) noexcept nogil:
        # Out: what the worker would have of a resource if so much was given back; less than the largest amount.
        return <int32_t>min(<int64_t>self.free[r * self.stride + worker] + given[r], <int64_t>NO_CANDIDATE - 1)

    # ------------------------------------------------------------ fronts and candidates

    cdef void _raise_fronts(self) noexcept nogil:
        # Room was made on the touched workers: a slot whose demand has room there may see further.
        # Out: base[s] bounds the slot on all workers but these; where they are few, `rooms` has what each offers.
        cdef int32_t room[BLOCK]
        cdef int32_t* front
        cdef int32_t* here
        cdef Py_ssize_t s0
        cdef int32_t i
        for s0 in range(0, self.slot_stride, 16):       # BLOCK: a literal, so that it is a plain C loop
            front = &self.front[s0]
            copy_block(&self.base[s0], front)
            for i in range(self.n_touched):
                here = &self.rooms[i * self.slot_stride + s0] if i < FEW else room
                self._room_for_slots(self.touched[i], s0, here)
                keep_larger(front, here)
            self.stale[s0 >> 4] |= bits_of_the_less(&self.base[s0], front) & self.mixed[s0 >> 4]
        for i in range(self.n_touched):
            self.is_touched[self.touched[i]] = 0

    cdef void _lower_fronts(self, int32_t worker) noexcept nogil:
        # A task took room on the worker. Where room was made on a few only, and the worker is one of them, it is soon
        # said what they still offer: a slot that saw further for their sake alone is not asked in vain.
        cdef int32_t high[BLOCK]
        cdef Py_ssize_t s0
        cdef uint32_t beyond
        cdef int32_t i, at = 0
        while at < self.n_touched and self.touched[at] != worker:
            at += 1
        if at == self.n_touched:
            return
        for s0 in range(0, self.slot_stride, 16):       # BLOCK
            self._room_for_slots(worker, s0, &self.rooms[at * self.slot_stride + s0])
            copy_block(high, &self.base[s0])
            for i in range(self.n_touched):
                keep_larger(high, &self.rooms[i * self.slot_stride + s0])
            keep_smaller(&self.front[s0], high)
            beyond = bits_of_the_less(&self.front[s0], &self.candidate_need[s0]) & self.mixed[s0 >> 4]
            while beyond:
                if self.candidate[s0 + lowest_bit(beyond)] >= 0:
                    self._find_candidate(<int>s0 + lowest_bit(beyond))
                beyond &= beyond - 1

    cdef inline void _room_for_slots(self, int32_t worker, Py_ssize_t s0, int32_t* room) noexcept nogil:
        # Out: for a block of slots, the pivot that is free on the worker with room for the rest of the demand, or -1.
        room_for_slots(
            &self.free[worker], self.stride, self.n_resources, self.pivot, &self.need[s0], self.slot_stride, room
        )

    cdef void _measure_near(self, int s) noexcept nogil:
        # Out: the front of the slot, measured on the touched workers and bounded by `base` on all others.
        cdef int32_t i, worker, front = self.base[s]
        for i in range(self.n_touched):
            worker = self.touched[i]
            if holds(&self.free[worker], self.stride, self.n_resources, &self.slot_demand[s * self.n_resources]):
                front = max(front, self.free[self.pivot * self.stride + worker])
        self.front[s] = front

    cdef void _find_candidates(self, int b) noexcept nogil:
        # A decision begins: in this block of slots, ask again where a task became ready, or left, or room was made.
        cdef uint32_t bits = self.passed[b]
        self.stale[b] |= bits
        self.passed[b] = 0
        while bits:
            self.cursor[BLOCK * b + lowest_bit(bits)] = 0
            bits &= bits - 1
        while self.stale[b]:
            self._find_candidate(BLOCK * b + lowest_bit(self.stale[b]))

    cdef void _find_candidate(self, int s) noexcept nogil:
        # The most urgent ready task of the slot past the ones refused in this decision; where the slot is mixed, under
        # its front. (Whether an even slot has room for its task is the same for all of them; `_most_urgent` looks.)
        cdef Py_ssize_t leaf
        self.stale[s >> 4] &= ~(<uint32_t>1 << (s & 15))
        leaf = self._first_ready(s, self.cursor[s], NO_CANDIDATE if self.pivot_need[s] else self.front[s])
        if leaf < 0:
            self.candidate[s] = -1
            self.candidate_need[s] = NO_CANDIDATE
        else:
            self.candidate[s] = self.task_at[self.first_leaf[s] + leaf]
            self.candidate_position[s] = self.position_at[self.first_leaf[s] + leaf]
            self.candidate_need[s] = self.pivot_need[s]
            if self.candidate_need[s] == 0:
                self.candidate_need[s] = self.row(self.candidate[s]).demand[self.pivot]

    cdef void _refuse(self, int s, int32_t task, bint near) noexcept nogil:
        # No worker has room for the candidate of the slot (near: none of the touched, and the others are known
        # to have none): measure the front, unless all in the slot are alike; where that alone does not rule it out,
        # pass over it until the next decision.
        if self.pivot_need[s] and not self.loose[s] and self.free_choice:
            self.front[s] = self.pivot_need[s] - 1
        elif near:
            self._measure_near(s)
        elif self.gridded:
            self._score_workers()
            self.front[s] = grid_frontier(
                self.cell_head, self.inhabited, self.child, self.sibling, self.walk,
                &self.row_steps[0], &self.column_steps[0], self.row_resource, self.pivot,
                self.free, self.stride, self.n_resources, &self.slot_demand[s * self.n_resources],
            )
        else:
            self.front[s] = frontier(
                self.free, self.stride, self.n_resources, self.pivot, &self.slot_demand[s * self.n_resources]
            )
        self.base[s] = min(self.base[s], self.front[s])
        if self.front[s] >= self.candidate_need[s]:
            self.cursor[s] = self.row(task).leaf_of + 1
            self.passed[s >> 4] |= <uint32_t>1 << (s & 15)

    # ------------------------------------------------------------ reservations

    cdef bint _may_use(self, int32_t worker, int32_t task) noexcept nogil:
        # In: the marks of _bar_failed_workers(task). Out: whether the worker takes tasks and could ever take this one.
        return (
            self.barred[worker] != self.mark and self._usable(worker) and self.trust[worker] != PROBATION
            and self._could_hold(worker, task)
        )

    cdef void _renew_reservation(self) noexcept nogil:
        # Keep the reservation while its worker can serve it; make one for the head of the queue when that was passed
        # by for too long. Out: reserved_task, reserved_worker, reservation_changed.
        cdef int32_t task = self.reserved_task, worker
        cdef int64_t at, earliest = -1
        self.reservation_changed = False
        if task >= 0:
            self._bar_failed_workers(task)
            if not self._may_use(self.reserved_worker, task):
                self.reserved_task = self.reserved_worker = -1
                self.reservation_changed = True
        if self.reserved_task < 0:
            task = self._find_head()
            if task < 0 or self.overtaken[task] == 0 or self.now - self.overtaken[task] + 1 < self.reserve_after:
                return
            self._bar_failed_workers(task)
            for worker in range(self.n_workers):
                if self._may_use(worker, task):
                    at = self._earliest_start(task, worker)
                    if earliest < 0 or at < earliest:
                        earliest = at
                        self.reserved_task, self.reserved_worker = task, worker
                        self.reservation_changed = True

    cdef int32_t _find_head(self) noexcept nogil:
        # Out: the most urgent ready task that some worker which takes tasks could ever hold, or -1.
        cdef int s
        cdef int32_t best = -1, task, worker
        cdef Py_ssize_t leaf
        if self.most_stale:
            self._measure_most()
        for s in range(self.n_slots):
            leaf = -1
            while self.most[s] >= 0:
                leaf = self._first_ready(s, leaf + 1, self.most[s])
                if leaf < 0:
                    break
                task = self.task_at[self.first_leaf[s] + leaf]
                if best >= 0 and self._before(best, task):
                    break
                self._bar_failed_workers(task)
                for worker in range(self.n_workers):
                    if self._may_use(worker, task):
                        break
                else:
                    continue
                best = task
                break
        return best

    cdef int64_t _earliest_start(self, int32_t task, int32_t worker) noexcept nogil:
        # Out: when the worker has room for the task, if every attempt there ends as expected, and those that are
        # overdue end now; and in `extra`, what is left beside the task then. The worker could hold the task.
        cdef int32_t other
        cdef int64_t at = self.now - 1, end, following
        cdef int r
        cdef bint fits
        while True:
            fits = True
            following = -1
            for r in range(self.n_resources):
                self.extra[r] = self.capacity[r * self.stride + worker]
            other = self.first_on[worker]
            while other >= 0:
                end = max(self.now, self.row(other).start + self.row(other).duration)
                if end > at:
                    for r in range(self.n_resources):
                        self.extra[r] -= self.row(other).demand[r]
                    if following < 0 or end < following:
                        following = end
                other = self.row(other).next_on
            for r in range(self.n_resources):
                self.extra[r] -= self.row(task).demand[r]
                fits = fits and self.extra[r] >= 0
            if fits or following < 0:
                return max(at, self.now)
            at = following

    cdef bint _may_pass(self, int32_t task) noexcept nogil:
        # Out: whether the task may use the reserved worker: it is the one with the reservation, or more urgent, or is
        # expected to end by the time that one can start, or fits beside it then.
        cdef int r
        if task == self.reserved_task or self._before(task, self.reserved_task):
            return True
        if self.now + self.row(task).duration <= self._earliest_start(self.reserved_task, self.reserved_worker):
            return True
        for r in range(self.n_resources):
            if self.row(task).demand[r] > self.extra[r]:
                return False
        return True

    cdef void _note_overtaken(self) noexcept nogil:
        # Whether this decision passed by the head of the queue, for the first time.
        cdef int32_t head, i
        self.overtaken_task = -1
        if self.n_started == 0:
            return
        head = self._find_head()
        if head < 0 or self.overtaken[head]:
            return
        for i in range(self.n_started):
            if self._before(head, self.started_tasks[i]):
                self.overtaken[head] = self.now + 1
                self.any_overtaken = True
                self.overtaken_task = head
                return

    def check(self):
        """Recount every invariant. See the .pyi."""
        recount(self)
