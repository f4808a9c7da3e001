"""The scheduler again, in slow plain lines: the rule of choice of docs/design.md, word for word.

Lists only: no heap, no class of demands, no index, nothing shared with the core but the words. It
looks at every ready task and every worker at every decision.
"""

from __future__ import annotations

NS = 10**9


def amounts(thing, names):
    """A task's or a worker's amounts, whole: milli-cores, MB, then the named ones."""
    cores = getattr(thing, "cpu_cores_required", None)
    if cores is None:
        cores, memory = thing.cpu_cores_available, thing.memory_available_mb
    else:
        memory = thing.memory_required_mb
    return [round(cores * 1000), memory, *((thing.resources or {}).get(name, 0) for name in names)]


def rank_keys(rank, n, deps, duration, demand):
    """The smaller key goes first."""
    if rank == "fifo":
        return [0] * n
    if rank == "longest-first":
        return [-d for d in duration]
    if rank == "most-work":
        return [-(float(d) * float(a[0])) for d, a in zip(duration, demand)]
    bottom = [None] * n
    while None in bottom:
        for i in range(n):
            behind = [bottom[j] for j in range(n) if i in deps[j]]
            if bottom[i] is None and None not in behind:
                bottom[i] = duration[i] + max(behind, default=0)
    return [-b for b in bottom]


def plan(tasks, workers, *, rank="critical-path", fit="most-free", max_retries=3, outcome=None):
    """Play the time line. Answers (attempts, state, reason, cause); an attempt is
    (task, worker, number, start_ns, end_ns, completed), tasks and workers by their index."""
    n, number = len(tasks), {task.task_id: i for i, task in enumerate(tasks)}
    names = sorted({name for task in tasks for name in task.resources or {}})
    deps = [{number[name] for name in task.dependencies} for task in tasks]
    demand = [amounts(task, names) for task in tasks]
    capacity = [amounts(worker, names) for worker in workers]
    duration = [NS if task.duration is None else round(task.duration * NS) for task in tasks]
    retries = [max_retries if task.max_retries is None else task.max_retries for task in tasks]
    keys = rank_keys(rank, n, deps, duration, demand)
    urgency = sorted(range(n), key=lambda i: (-tasks[i].priority, keys[i], i))
    total = [sum(c[r] for c in capacity) for r in range(len(names) + 2)]
    free = [list(c) for c in capacity]
    state, reason, cause = ["WAITING"] * n, [None] * n, [None] * n
    failed_on = [[] for _ in range(n)]
    running, attempts = [], []

    def holds(room, i):
        return all(have >= need for have, need in zip(room, demand[i]))

    def fail(root, why):
        state[root], reason[root] = "FAILED", why

    def skip_dependents(root):
        lost = {root}
        while True:
            more = [i for i in range(n) if state[i] == "WAITING" and deps[i] & lost]
            if not more:
                return
            for i in more:
                state[i], reason[i], cause[i] = "SKIPPED", "DEPENDENCY", root
                lost.add(i)

    def worker_for(i):
        allowed = [w for w in range(len(workers)) if w not in failed_on[i]]
        if not any(holds(capacity[w], i) for w in allowed):
            allowed = list(range(len(workers)))
        fitting = [w for w in allowed if holds(free[w], i)]
        if fit == "first-fit" or not fitting:
            return fitting[0] if fitting else None
        score = {w: sum((f << 31) // t for f, t in zip(free[w], total) if t) for w in fitting}
        if fit == "most-free":
            return min(fitting, key=lambda w: (-score[w], w))
        return min(fitting, key=lambda w: (score[w], w))

    def decide(now):
        placed = True
        while placed:
            placed = False
            for i in urgency:
                if state[i] == "WAITING" and all(state[d] == "COMPLETED" for d in deps[i]):
                    w = worker_for(i)
                    if w is not None:
                        state[i] = "RUNNING"
                        number_of_attempt = 1 + len(failed_on[i])
                        for r, need in enumerate(demand[i]):
                            free[w][r] -= need
                        running.append((now + duration[i], i, w, number_of_attempt, now))
                        placed = True
                        break

    hopeless = [i for i in range(n) if not any(holds(c, i) for c in capacity)]
    for i in hopeless:
        fail(i, "UNSATISFIABLE")
    for i in hopeless:
        skip_dependents(i)
    decide(0)
    while running:
        now = min(running)[0]
        for end, i, w, attempt, start in sorted(entry for entry in running if entry[0] == now):
            running.remove((end, i, w, attempt, start))
            for r, need in enumerate(demand[i]):
                free[w][r] += need
            completed = outcome is None or bool(outcome(tasks[i].task_id, workers[w].worker_id, attempt))
            attempts.append((i, w, attempt, start, end, completed))
            if completed:
                state[i] = "COMPLETED"
                continue
            failed_on[i].append(w)
            if len(failed_on[i]) <= retries[i]:
                state[i] = "WAITING"
            else:
                fail(i, "EXIT")
                skip_dependents(i)
        decide(now)
    return sorted(attempts, key=lambda a: (a[3], a[0], a[2])), state, reason, cause
