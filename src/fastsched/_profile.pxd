# What is free on workers over time, as profiles: header-only kernels over caller-owned arrays, on whole numbers.
#
# All amounts of a moment stand in `n_words` words of 64 bits: a lane for each resource, with a guard
# bit on top that is set in what is free and clear in what is needed. A lane's guard outlives the
# subtraction where there is enough, so one comparison answers for all resources of a word.
#
# A *grid* has a moment for every unit of time, and is for one worker whose makespan has few units. Moments
# from `filled` on were not touched: all is free there, and the first of them says so. *Steps* have a moment only where something changes.

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint64_t
from libc.string cimport memmove


cdef inline bint enough(
    const uint64_t* free, const uint64_t* need, const uint64_t* guard, int n_words
) noexcept nogil:
    # Out: whether what is free suffices in every lane.
    cdef int k
    for k in range(n_words):
        if ((free[k] - need[k]) & guard[k]) != guard[k]:
            return False
    return True


cdef inline int64_t grid_place(
    uint64_t* grid, int64_t* filled, const uint64_t* all_free, const uint64_t* guard, int n_words,
    const uint64_t* need, int64_t duration, int64_t earliest
) noexcept nogil:
    # In: a grid in which all is free at `filled`. Out: the first start from `earliest` on with room for all of the duration;
    # the room is taken.
    cdef int64_t start = earliest, at = earliest, end = filled[0], stop
    cdef uint64_t need0 = need[0], guard0 = guard[0]
    cdef int k
    while at < end and duration > 0:
        if n_words == 1:                # who has no room anywhere has it at the end
            while ((grid[at] - need0) & guard0) != guard0:
                at += 1
            start = at
            stop = min(end, start + duration)
            while at < stop and ((grid[at] - need0) & guard0) == guard0:
                at += 1
        else:
            while not enough(&grid[at * n_words], need, guard, n_words):
                at += 1
            start = at
            stop = min(end, start + duration)
            while at < stop and enough(&grid[at * n_words], need, guard, n_words):
                at += 1
        if at >= stop:
            break
    if start + duration > end:
        for at in range(end, start + duration + 1):
            for k in range(n_words):
                grid[at * n_words + k] = all_free[k]
        filled[0] = start + duration
    for at in range(start, start + duration):
        for k in range(n_words):
            grid[at * n_words + k] -= need[k]
    return start


cdef inline int32_t steps_at(const int64_t* time, int32_t n_steps, int64_t moment) noexcept nogil:
    # Out: the step that holds the moment.
    cdef int32_t low = 0, high = n_steps, middle
    while high - low > 1:
        middle = (low + high) >> 1
        if time[middle] <= moment:
            low = middle
        else:
            high = middle
    return low


cdef inline int64_t steps_find(
    const int64_t* time, const uint64_t* free, int32_t n_steps, const uint64_t* guard, int n_words,
    const uint64_t* need, int64_t duration, int64_t earliest, int64_t limit, int32_t* found
) noexcept nogil:
    # In: moments in ascending order, the first at 0; what is free from each on. Out: the first start from `earliest`
    # on with room for all of the duration, and the step in which it lies; or INT64_MAX, where that is not before `limit`.
    cdef int32_t low = steps_at(time, n_steps, earliest), at
    cdef int64_t start = earliest
    found[0] = low
    at = low
    while at < n_steps and (at == low or time[at] < start + duration):
        if not enough(&free[at * n_words], need, guard, n_words):
            if at + 1 == n_steps or time[at + 1] >= limit:
                return INT64_MAX
            start = time[at + 1]
            found[0] = at + 1
        at += 1
    return start


cdef inline int32_t steps_split(
    int64_t* time, uint64_t* free, int32_t* n_steps, int n_words, int32_t at, int64_t moment
) noexcept nogil:
    # In: a step that begins at the moment or before, the next one after it. Out: the step that begins at it.
    cdef int k
    if time[at] == moment:
        return at
    memmove(&time[at + 2], &time[at + 1], (n_steps[0] - at - 1) * sizeof(int64_t))
    memmove(&free[(at + 2) * n_words], &free[(at + 1) * n_words], (n_steps[0] - at - 1) * n_words * sizeof(uint64_t))
    time[at + 1] = moment
    for k in range(n_words):
        free[(at + 1) * n_words + k] = free[at * n_words + k]
    n_steps[0] += 1
    return at + 1


cdef inline void steps_take(
    int64_t* time, uint64_t* free, int32_t* n_steps, int n_words,
    const uint64_t* need, int64_t duration, int64_t start, int32_t at
) noexcept nogil:
    # In: what `steps_find` has found, and room for two more steps. The room is taken.
    cdef int32_t i
    cdef int k
    if duration == 0:
        return
    at = steps_split(time, free, n_steps, n_words, at, start)
    i = at
    while i < n_steps[0] and time[i] < start + duration:
        i += 1
    if i == n_steps[0] or time[i] > start + duration:
        steps_split(time, free, n_steps, n_words, i - 1, start + duration)
    while time[at] < start + duration:
        for k in range(n_words):
            free[at * n_words + k] -= need[k]
        at += 1


cdef inline void steps_join(int64_t* time, uint64_t* free, int32_t* n_steps, int n_words, int32_t at) noexcept nogil:
    # In: a step. It is one with that before it, if as much is free in both.
    cdef int k
    if at == 0:
        return
    for k in range(n_words):
        if free[at * n_words + k] != free[(at - 1) * n_words + k]:
            return
    memmove(&time[at], &time[at + 1], (n_steps[0] - at - 1) * sizeof(int64_t))
    memmove(&free[at * n_words], &free[(at + 1) * n_words], (n_steps[0] - at - 1) * n_words * sizeof(uint64_t))
    n_steps[0] -= 1


cdef inline void steps_give(
    int64_t* time, uint64_t* free, int32_t* n_steps, int n_words,
    const uint64_t* need, int64_t duration, int64_t start
) noexcept nogil:
    # In: what was taken, and room for two more steps. The room is free again, and no step is as the one before it.
    cdef int32_t at, i
    cdef int k
    if duration == 0:
        return
    at = steps_split(time, free, n_steps, n_words, steps_at(time, n_steps[0], start), start)
    i = at
    while i < n_steps[0] and time[i] < start + duration:
        i += 1
    if i == n_steps[0] or time[i] > start + duration:
        steps_split(time, free, n_steps, n_words, i - 1, start + duration)
    i = at
    while time[i] < start + duration:
        for k in range(n_words):
            free[i * n_words + k] += need[k]
        i += 1
    steps_join(time, free, n_steps, n_words, i)
    steps_join(time, free, n_steps, n_words, at)
