"""The scheduler again, in slow plain lines: the meaning of docs/design.md, word for word.

Lists only: no heap, no class of demands, no index, nothing shared with the core but the words. It
looks at every ready task and every worker at every decision, and finds everything out anew.
"""

from __future__ import annotations

import math
from types import SimpleNamespace as Record

NS = 10**9
DEFAULTS = {
    "fit": "most-free", "max_losses": 3, "max_ooms": 3, "oom_growth": 1000, "backoff": 0, "backoff_cap": 0, "jitter": 0,
    "seed": 0, "quarantine_after": 0, "probation": 0, "reserve_after": -1,
}  # fmt: skip
FAILED = ("FAILED", "SKIPPED", "CANCELLED")
BLAMELESS = ("OUT_OF_MEMORY", "WORKER_LOST", "CANCELLED")  # failures that are never the worker's fault


def draw(seed, what, which):
    """64 even bits: SplitMix64, twice."""
    ones = 2**64 - 1
    z = (seed + what * 0x9E3779B97F4A7C15 + which * 0xD1B54A32D192ED03) & ones
    for _ in range(2):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & ones
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & ones
        z ^= z >> 31
    return z


class Machine:
    """Facts in, choices out. Tasks and workers are numbered as they come; amounts are lists of whole numbers."""

    def __init__(self, n_resources, **options):
        self.k, self.o = n_resources, Record(**{**DEFAULTS, **options})
        self.tasks, self.workers, self.log, self.notices = [], [], [], []
        self.now, self.reservation, self.deadline = 0, None, None

    # ---------------------------------------------------------------- facts

    def add_task(self, deps, demand, duration, priority, key, retries):
        self.tasks.append(Record(
            state="WAITING", deps=list(deps), demand=list(demand), duration=duration, urgency=(-priority, key),
            retries=retries, attempt=0, failures=0, ooms=0, losses=0, worker=None, start=None, reason=None, cause=None,
            wake=None, overtaken=None, told=False, promised=None, preferred=None, not_before=0,
        ))  # fmt: skip

    def skip_under_failed(self, first):
        """The tasks from `first` on were submitted together: those under a failed one fail with their dependents."""
        for i in range(first, len(self.tasks)):
            failed = [d for d in self.tasks[i].deps if d < first and self.tasks[d].state in FAILED]
            if failed and self.tasks[i].state == "WAITING":
                self.skip(i, self.tasks[failed[0]].cause if self.tasks[failed[0]].state == "SKIPPED" else failed[0])

    def add_worker(self, capacity, state="live"):
        """`state`: live, expected or away."""
        self.workers.append(Record(
            capacity=list(capacity), live=state == "live", expected=state == "expected", draining=False,
            suspect=False,
            trust="TRUSTED", strikes=0, terms=0, release=None, clean=0, incarnation=int(state == "live"),
        ))  # fmt: skip

    def advance(self, now):
        assert now >= self.now
        self.now = now
        for t in self.tasks:
            if t.state == "DELAYED" and t.wake <= now:
                t.state = "WAITING"
        for w, worker in enumerate(self.workers):
            if worker.trust == "QUARANTINED" and worker.release <= now:
                worker.trust = "PROBATION"
                self.notices.append(("PROBATION", w))
        self.postpone()

    def follow(self, plan):
        """A plan takes the place of any before: (task, key, worker or None, not before) each."""
        for t in self.tasks:
            t.preferred, t.not_before, t.overtaken = None, 0, None
        for i, key, worker, not_before in plan:
            t = self.tasks[i]
            t.urgency, t.preferred, t.not_before = (t.urgency[0], key), worker, not_before
        self.reservation = None

    def set_deadline(self, at):
        self.deadline = at
        self.postpone()

    def postpone(self):
        for i, t in enumerate(self.tasks):
            if self.too_long(i):
                t.overtaken = None
                if self.reservation and self.reservation[0] == i:
                    self.reservation = None

    def completed(self, i):
        t = self.tasks[i]
        worker = self.workers[t.worker]
        worker.strikes, worker.clean = 0, len(self.log)
        if worker.trust != "TRUSTED":
            worker.trust = "TRUSTED"
            self.notices.append(("TRUSTED", t.worker))
        for at in reversed(range(len(self.log))):
            entry = self.log[at]
            if entry.task != i or entry.worker == t.worker or entry.reason in BLAMELESS:
                continue
            other = self.workers[entry.worker]
            if at >= other.clean:
                other.strikes += 1
                usable = self.usable(entry.worker) and self.others_usable(entry.worker)
                if 0 < self.o.quarantine_after <= other.strikes and other.trust == "TRUSTED" and usable:
                    self.quarantine(entry.worker)
        t.state = "COMPLETED"
        self.leave_if_drained(t.worker)

    def failed(self, i, reason, charged=True):
        t = self.tasks[i]
        if self.workers[t.worker].trust == "PROBATION" and reason not in BLAMELESS and self.others_usable(t.worker):
            self.quarantine(t.worker)
        self.log.append(Record(task=i, worker=t.worker, attempt=t.attempt, start=t.start, end=self.now, reason=reason))
        t.state, again, delayed = "WAITING", True, True
        if reason == "WORKER_LOST":
            t.losses += charged
            again, delayed = t.losses <= self.o.max_losses, False
        elif reason == "OUT_OF_MEMORY":
            t.ooms += 1
            again = t.ooms <= self.o.max_ooms
            if again:
                self.grow(t)
        else:
            t.failures += 1
            again = t.failures <= t.retries
        if not again:
            self.fail_for_good(i, "FAILED", reason)
        elif delayed and self.o.backoff:
            t.state, t.wake = "DELAYED", self.now + self.delay(i)
        self.leave_if_drained(t.worker)

    def delay(self, i):
        t, cap = self.tasks[i], max(self.o.backoff, self.o.backoff_cap)
        delay = min(self.o.backoff * 2 ** (t.failures + t.ooms - 1), cap)
        share = draw(self.o.seed, 1, (i << 32) + t.attempt) >> 44
        return delay - (delay // 1000 * self.o.jitter >> 20) * share

    def grow(self, t):
        rooms = [w.capacity[1] for i, w in enumerate(self.workers) if self.usable(i) and self.could_hold(i, t.demand)]
        most = max([t.demand[1], *rooms])
        t.demand[1] = min(-(-t.demand[1] * self.o.oom_growth // 1000), most)

    def cancel(self, i):
        t = self.tasks[i]
        if t.state in ("COMPLETED", *FAILED):
            return False
        if t.state == "RUNNING":
            self.log.append(
                Record(task=i, worker=t.worker, attempt=t.attempt, start=t.start, end=self.now, reason="CANCELLED")
            )
            t.state = "WAITING"
            self.leave_if_drained(t.worker)
        self.fail_for_good(i, "CANCELLED", "CANCELLED")
        self.break_promise(t)
        return True

    def fail_for_good(self, i, state, reason):
        self.tasks[i].state, self.tasks[i].reason = state, reason
        self.skip_dependents(i, i)

    def skip(self, i, root):
        self.tasks[i].state, self.tasks[i].reason, self.tasks[i].cause = "SKIPPED", "DEPENDENCY", root
        self.skip_dependents(i, root)

    def skip_dependents(self, i, root):
        for j, t in enumerate(self.tasks):
            if i in t.deps and t.state == "WAITING":
                self.skip(j, root)

    def fail_unsatisfiable(self):
        hopeless = [
            i for i, t in enumerate(self.tasks)
            if t.state in ("WAITING", "DELAYED") and not self.anyone_could_hold(t.demand)
        ]  # fmt: skip
        for i in hopeless:
            self.tasks[i].state, self.tasks[i].reason = "FAILED", "UNSATISFIABLE"
        for i in hopeless:
            self.skip_dependents(i, i)

    def join(self, w):
        worker = self.workers[w]
        if not worker.live:
            worker.incarnation += 1
            worker.trust, worker.strikes, worker.terms, worker.clean = "TRUSTED", 0, 0, len(self.log)
        worker.live, worker.expected, worker.draining, worker.suspect = True, False, False, False

    def expect(self, w):
        self.workers[w].expected = True

    def drain(self, w):
        self.workers[w].draining, self.workers[w].suspect = True, False
        self.leave_if_drained(w)

    def suspect(self, w):
        self.workers[w].suspect = not self.workers[w].draining

    def resize(self, w, capacity):
        self.workers[w].capacity = list(capacity)

    def remove(self, w, expected, charged):
        worker = self.workers[w]
        worker.live, worker.draining, worker.suspect, worker.expected = False, False, False, expected
        if worker.trust == "QUARANTINED":
            worker.trust = "TRUSTED"
        orphans = self.running_on(w)
        for i in orphans:
            self.failed(i, "WORKER_LOST", charged)
        return orphans

    def leave_if_drained(self, w):
        if self.workers[w].draining and not self.running_on(w) and not self.promised_to(w):
            worker = self.workers[w]
            worker.live = worker.draining = False
            worker.trust = "TRUSTED" if worker.trust == "QUARANTINED" else worker.trust
            self.notices.append(("DRAINED", w))

    def quarantine(self, w):
        worker = self.workers[w]
        worker.trust, worker.strikes, worker.clean = "QUARANTINED", 0, len(self.log)
        worker.release = self.now + max(1, self.o.probation) * 2 ** min(worker.terms, 10)
        worker.terms += 1
        self.notices.append(("QUARANTINED", w))

    def keep_promise(self, i):
        t = self.tasks[i]
        t.state, t.worker, t.start, t.overtaken = "RUNNING", t.promised, self.now, None
        t.attempt += 1
        t.promised = None

    def return_promised(self, i):
        self.tasks[i].state = "WAITING"
        self.break_promise(self.tasks[i])

    def break_promise(self, t):
        w, t.promised = t.promised, None
        if w is not None:
            self.leave_if_drained(w)

    # ---------------------------------------------------------------- what is so

    def promised_to(self, w):
        return [i for i, t in enumerate(self.tasks) if t.promised == w]

    def running_on(self, w):
        return [i for i, t in enumerate(self.tasks) if t.state == "RUNNING" and t.worker == w]

    def ready(self, i):
        return self.could_start(i) and not self.too_long(i)

    def could_start(self, i):
        return self.waits_for_nothing(i) and not self.held_back(i)

    def waits_for_nothing(self, i):
        t = self.tasks[i]
        return t.state == "WAITING" and all(self.tasks[d].state == "COMPLETED" for d in t.deps)

    def held_back(self, i):
        """Whether the plan has a later time for a task that could start."""
        t = self.tasks[i]
        return self.waits_for_nothing(i) and not t.attempt and self.now < t.not_before

    def too_long(self, i):
        return self.deadline is not None and self.now + self.tasks[i].duration > self.deadline

    def usable(self, w):
        worker = self.workers[w]
        return worker.live and not worker.draining and not worker.suspect and worker.trust != "QUARANTINED"

    def comes(self, w):
        return self.workers[w].expected or self.workers[w].suspect

    def others_usable(self, w):
        return any(self.usable(other) for other in range(len(self.workers)) if other != w)

    def could_hold(self, w, demand):
        return all(have >= need for have, need in zip(self.workers[w].capacity, demand))

    def anyone_could_hold(self, demand):
        return any(
            ((w.live and not w.draining) or w.expected) and self.could_hold(i, demand)
            for i, w in enumerate(self.workers)
        )

    def free(self, w):
        """What the worker has to offer, or None where it takes nothing."""
        worker, running = self.workers[w], self.running_on(w)
        if not self.usable(w) or (worker.trust == "PROBATION" and running):
            return None
        room = [c - sum(self.tasks[i].demand[r] for i in running) for r, c in enumerate(worker.capacity)]
        return room if min(room) >= 0 else None

    def failed_on(self, i):
        """The workers on which the task failed by its own fault, the last one first, each once."""
        found = [e.worker for e in reversed(self.log) if e.task == i and e.reason != "WORKER_LOST"]
        return list(dict.fromkeys(found))

    def allowed(self, i):
        """Where the task may go; whether it falls back on workers on which it failed."""
        avoided = self.failed_on(i)
        others = [w for w in range(len(self.workers)) if w not in avoided]
        elsewhere = any((self.usable(w) or self.comes(w)) and self.could_hold(w, self.tasks[i].demand) for w in others)
        if not avoided or elsewhere:
            return others, False
        return avoided, True

    # ---------------------------------------------------------------- choices

    def decide(self):
        """Answers (task, worker, attempt) of what starts, in order."""
        started = []
        self.renew_reservation()
        while (choice := self.choose()) is not None:
            i, w = choice
            t = self.tasks[i]
            t.state, t.worker, t.start, t.overtaken = "RUNNING", w, self.now, None
            t.attempt += 1
            if self.reservation and self.reservation[0] == i:
                self.reservation = None
            started.append((i, w, t.attempt))
        head = self.head() if self.o.reserve_after >= 0 and started else None
        passed_by = head is not None and any(self.urgency(i) > self.urgency(head) for i, _, _ in started)
        if passed_by and self.tasks[head].overtaken is None:
            self.tasks[head].overtaken = self.now
        return started

    def promise(self, w, like, n):
        """What would start on the worker if an attempt that is given as much as `like` ended, one after the other."""
        promised, given = [], self.tasks[like].demand
        while len(promised) < n and self.free(w) is not None and self.o.reserve_after < 0:
            room = [have + back for have, back in zip(self.free(w), given)]
            ready = sorted(filter(self.ready, range(len(self.tasks))), key=self.urgency)
            fitting = [i for i in ready if all(have >= need for have, need in zip(room, self.tasks[i].demand))]
            if not fitting or self.tasks[fitting[0]].demand != given or self.tasks[fitting[0]].attempt:
                break
            t = self.tasks[fitting[0]]
            t.state, t.promised, t.overtaken = "PROMISED", w, None
            promised.append(fitting[0])
        return promised

    def urgency(self, i):
        return (*self.tasks[i].urgency, i)

    def choose(self):
        total = [sum(w.capacity[r] for w in self.workers if w.live) for r in range(self.k)]
        rooms = [self.free(w) for w in range(len(self.workers))]
        for i in sorted(filter(self.ready, range(len(self.tasks))), key=self.urgency):
            where, falls_back = self.allowed(i)
            fitting = [
                w for w in where
                if rooms[w] and all(have >= need for have, need in zip(rooms[w], self.tasks[i].demand))
                and self.may_pass(i, w)
            ]  # fmt: skip
            if not fitting:
                continue
            if falls_back:
                return i, fitting[-1]  # the one whose last failure is the oldest
            if self.tasks[i].preferred in fitting:
                return i, self.tasks[i].preferred
            if self.o.fit in ("dot-product", "cosine", "least-left"):
                return i, max(fitting, key=lambda w: (match(self.o.fit, rooms[w], self.tasks[i].demand, total), -w))
            score = {w: sum((f << 31) // t for f, t in zip(rooms[w], total) if t) for w in fitting}
            sign = {"most-free": -1, "best-fit": 1, "first-fit": 0}[self.o.fit]
            return i, min(fitting, key=lambda w: (sign * score[w], w))
        return None

    def may_use(self, i, w):
        """Whether the worker takes tasks, and could ever take this one."""
        return (
            w in self.allowed(i)[0] and self.usable(w) and self.workers[w].trust == "TRUSTED"
            and self.could_hold(w, self.tasks[i].demand)
        )  # fmt: skip

    def head(self):
        """The most urgent ready task that some worker which takes tasks could ever hold."""
        for i in sorted(filter(self.ready, range(len(self.tasks))), key=self.urgency):
            if any(self.may_use(i, w) for w in range(len(self.workers))):
                return i
        return None

    def renew_reservation(self):
        if self.o.reserve_after < 0:
            return
        if self.reservation and not (self.ready(self.reservation[0]) and self.may_use(*self.reservation)):
            self.reservation = None
        head = None if self.reservation else self.head()
        if head is None or self.tasks[head].overtaken is None:
            return
        if self.now - self.tasks[head].overtaken >= self.o.reserve_after:
            where = [w for w in range(len(self.workers)) if self.may_use(head, w)]
            self.reservation = head, min(where, key=lambda w: (self.earliest(head, w)[0], w))

    def earliest(self, i, w):
        """When the worker is expected to have room for the task, and what is left beside it then."""
        ends = {j: max(self.now, self.tasks[j].start + self.tasks[j].duration) for j in self.running_on(w)}
        for at in [self.now - 1, *sorted(set(ends.values()))]:
            held = [self.tasks[j].demand for j in ends if ends[j] > at] + [self.tasks[i].demand]
            left = [c - sum(d[r] for d in held) for r, c in enumerate(self.workers[w].capacity)]
            if min(left) >= 0:
                break
        return max(at, self.now), left

    def may_pass(self, i, w):
        """Whether a task may use a worker, for the sake of the one that has a reservation there."""
        if not self.reservation or self.reservation[1] != w or self.urgency(i) <= self.urgency(self.reservation[0]):
            return True
        at, left = self.earliest(*self.reservation)
        t = self.tasks[i]
        return self.now + t.duration <= at or all(have >= need for have, need in zip(left, t.demand))


def match(fit, free, demand, total):
    """How well what is free suits a demand, as vectors of shares; each operation on floats is rounded by itself."""
    product = length = 0.0
    for have, need, whole in zip(free, demand, total):
        share = 1.0 / whole if whole else 0.0
        if fit == "least-left":
            left = float(have - need) * share
            length = length + left * left
        else:
            product = product + (float(have) * share) * (float(need) * share)
            length = length + (float(have) * share) * (float(have) * share)
    if fit == "least-left":
        return -length
    return product * product / length if fit == "cosine" and length > 0 else product


# -------------------------------------------------------------------- virtual time


def play(machine, *, outcome=None, chances=None, mtbf=None, repair=None, seed=0, script=()):
    """The whole time line. `script`: (time, what, worker, capacity or None). Answers every attempt:
    (task, worker, number, start, end, completed), by (start, task, number)."""
    m, attempts, doomed, step = machine, [], {}, 0
    losses, planned, returning = [0] * len(m.workers), {}, {}
    mishaps = []  # (time, worker, whether it returns)

    def plan_loss(w):
        if mtbf and mtbf[w] > 0:
            which = (w << 32) + losses[w]
            losses[w] += 1
            planned[w] = m.now + 1 + exponential(draw(seed, 3, which), mtbf[w])
            mishaps.append((planned[w], w, False))

    def decide():
        for i, w, attempt in m.decide():
            doomed[i] = outcome is not None and not outcome(i, w, attempt)
            if chances and draw(seed, 2, (i << 32) + attempt) >> 11 < chances[i]:
                doomed[i] = True

    def take_steps():
        nonlocal step
        while step < len(script) and script[step][0] == m.now:
            _, what, w, capacity = script[step]
            step += 1
            worker = m.workers[w]
            if what == "join" and (not worker.live or worker.draining):
                if capacity is not None:
                    m.resize(w, capacity)
                m.join(w)
                plan_loss(w)
            elif what == "resize":
                m.resize(w, capacity)
            elif what == "drain" and worker.live:
                m.drain(w)
            elif what in ("leave", "lose") and (worker.live or worker.expected):
                m.remove(w, False, what == "lose")

    for w, worker in enumerate(m.workers):
        if worker.live:
            plan_loss(w)
    if not script:
        m.fail_unsatisfiable()
    take_steps()
    decide()
    while True:
        running = [i for i, t in enumerate(m.tasks) if t.state == "RUNNING"]
        delayed = [t.wake for t in m.tasks if t.state == "DELAYED"]
        delayed += [t.not_before for i, t in enumerate(m.tasks) if m.held_back(i)]
        returns = [entry for entry in mishaps if entry[2]]
        if not running and not delayed and step == len(script) and returns:
            m.fail_unsatisfiable()
        if all(t.state in ("COMPLETED", *FAILED) for t in m.tasks):
            break
        due = [m.tasks[i].start + m.tasks[i].duration for i in running] + delayed
        due += [w.release for w in m.workers if w.trust == "QUARANTINED"]
        due += [script[step][0]] if step < len(script) else []
        if mishaps and (due or returns):
            due.append(min(mishaps)[0])
        if not due:
            m.fail_unsatisfiable()
            break
        now = min(due)
        m.advance(now)
        for i in running:
            t = m.tasks[i]
            if t.start + t.duration == now:
                attempts.append((i, t.worker, t.attempt, t.start, now, not doomed[i]))
                if doomed[i]:
                    m.failed(i, "EXIT")
                else:
                    m.completed(i)
        take_steps()
        while mishaps and min(mishaps)[0] == now:
            entry = min(mishaps)
            mishaps.remove(entry)
            _, w, returns_now = entry
            if returns_now and m.workers[w].expected and returning[w] == now:
                m.join(w)
                plan_loss(w)
            elif not returns_now and m.workers[w].live and planned[w] == now:
                m.remove(w, repair[w] >= 0, True)
                if repair[w] >= 0:
                    returning[w] = now + repair[w]
                    mishaps.append((returning[w], w, True))
        decide()
    ended = [(e.task, e.worker, e.attempt, e.start, e.end, False) for e in m.log if e.reason == "WORKER_LOST"]
    return sorted(attempts + ended, key=lambda a: (a[3], a[0], a[2]))


def exponential(bits, mean):
    """An exponential draw by comparisons alone (von Neumann)."""
    at, whole = 0, 0
    while True:
        first = last = draw(bits, 0, at)
        at, length = at + 1, 1
        while True:
            following = draw(bits, 0, at)
            at += 1
            if following >= last:
                break
            last, length = following, length + 1
        if length % 2:
            share = first >> 44
            return whole * mean + (mean >> 20) * share + ((mean & 0xFFFFF) * share >> 20)
        whole += 1


# -------------------------------------------------------------------- from tasks and workers


def amounts(thing, names):
    """A task's or a worker's amounts, whole: milli-cores, MB, then the named ones."""
    cores = getattr(thing, "cpu_cores_required", None)
    if cores is None:
        cores, memory = thing.cpu_cores_available, thing.memory_available_mb
    else:
        memory = thing.memory_required_mb
    return [round(cores * 1000), memory, *((thing.resources or {}).get(name, 0) for name in names)]


def rank_keys(rank, n, deps, duration, demand, workers):
    """The smaller key goes first. `workers`: what each of them has."""
    if rank == "fifo":
        return [0] * n
    if rank == "longest-first":
        return [-d for d in duration]
    if rank == "most-work":
        return [-(float(d) * float(a[0])) for d, a in zip(duration, demand)]
    own = duration
    if rank in ("path-and-volume", "dominant-path"):
        mean = [sum(amounts) / max(1, len(workers)) for amounts in zip(*workers)] or [0] * len(demand[0] if n else ())
        shares = [[a / m if m else 0.0 for a, m in zip(amounts, mean)] for amounts in demand]
        if rank == "dominant-path":
            weight = [max(share) * float(d) for share, d in zip(shares, duration)]
        else:
            weight = [float(d) + in_order(share) * float(d) for share, d in zip(shares, duration)]
        shift = min(0, 62 - math.frexp(max(weight, default=0.0) * n)[1])
        own = [round(math.ldexp(w, shift)) for w in weight]
    bottom = [None] * n
    while None in bottom:
        for i in range(n):
            behind = [bottom[j] for j in range(n) if i in deps[j]]
            if bottom[i] is None and None not in behind:
                bottom[i] = own[i] + max(behind, default=0)
    counted = {"latest-finish": (1, 1), "latest-middle": (2, 1)}.get(rank, (1, 0))
    return [counted[1] * d - counted[0] * b for d, b in zip(duration, bottom)]


def in_order(terms):
    """Their sum, from the first to the last: `sum` of floats is a better one in some versions of Python."""
    total = 0.0
    for term in terms:
        total = total + term
    return total


def make_machine(tasks, workers, *, rank="critical-path", max_retries=3, **options):
    """A machine with these tasks on these workers, all of them there."""
    n, number = len(tasks), {task.task_id: i for i, task in enumerate(tasks)}
    names = sorted({name for task in tasks for name in task.resources or {}})
    deps = [[number[name] for name in task.dependencies] for task in tasks]
    demand = [amounts(task, names) for task in tasks]
    duration = [NS if task.duration is None else round(task.duration * NS) for task in tasks]
    keys = rank_keys(rank, n, deps, duration, demand, [amounts(worker, names) for worker in workers])
    machine = Machine(2 + len(names), **options)
    for worker in workers:
        machine.add_worker(amounts(worker, names))
    for i, task in enumerate(tasks):
        retries = max_retries if task.max_retries is None else task.max_retries
        machine.add_task([], demand[i], duration[i], task.priority, keys[i], retries)
    for task, above in zip(machine.tasks, deps):
        task.deps = above
    return machine, names
