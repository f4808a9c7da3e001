# Chance from a seed: whole numbers only, so that the same seed is the same mishap on every machine.
# Header-only; a draw is a pure function of the seed and of what it is for, not of what was drawn before.

from libc.stdint cimport int64_t, uint64_t


cdef inline uint64_t draw(uint64_t seed, uint64_t what, uint64_t which) noexcept nogil:
    # In: a seed, what the draw is for, and its number. Out: 64 even bits (SplitMix64, Steele, Lea and Flood 2014).
    cdef uint64_t z = seed + what * <uint64_t>0x9E3779B97F4A7C15 + which * <uint64_t>0xD1B54A32D192ED03
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    z ^= z >> 31
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef inline int64_t draw_exponential(uint64_t seed, uint64_t what, uint64_t which, int64_t mean) noexcept nogil:
    # In: a mean from 1 to 2**61. Out: an exponential draw with it, by comparisons of even ones alone (von Neumann
    # 1951): runs of falling numbers of odd length are accepted, every refused run adds one to the whole part.
    cdef uint64_t at = 0, first, last, following
    cdef int64_t whole = 0, part
    cdef int length
    seed = draw(seed, what, which)
    while True:
        first = last = draw(seed, 0, at)
        at += 1
        length = 1
        while True:
            following = draw(seed, 0, at)
            at += 1
            if following >= last:
                break
            last = following
            length += 1
        if length & 1:
            part = <int64_t>(first >> 44)
            return whole * mean + (mean >> 20) * part + (((mean & 0xFFFFF) * part) >> 20)
        whole += 1
        if whole >= (<int64_t>1 << 61) // mean:
            return <int64_t>1 << 62         # as good as never
