# Chance from a seed: whole numbers only, so that the same seed is the same mishap on every machine.
# Header-only; a draw is a pure function of the seed and of what it is for, not of what was drawn before. But those of a
# search, which draws for itself alone, follow one another from a state that the caller keeps.

from libc.stdint cimport int32_t, int64_t, uint64_t


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


cdef inline bint draw_root_of_e(uint64_t seed, uint64_t* at) noexcept nogil:
    # Out: True with probability exp(-1/2): whether the run of falling even draws from 1/2 on has an even length.
    cdef uint64_t last = <uint64_t>1 << 63, following
    cdef bint even = True
    while True:
        following = draw(seed, 0, at[0])
        at[0] += 1
        if following >= last:
            return even
        last = following
        even = not even


cdef inline bint draw_falling(uint64_t seed, uint64_t* at, uint64_t k, uint64_t x) noexcept nogil:
    # In: x, a share of 2**64. Out: True with probability exp(-x (2k + x) / (2k + 2)).
    cdef uint64_t last = x, following, side
    cdef bint even = True
    while True:
        following = draw(seed, 0, at[0])
        at[0] += 1
        if following >= last:
            return even
        side = ((draw(seed, 0, at[0]) >> 32) * (2 * k + 2)) >> 32      # of 2k + 2 sides; the last one refuses
        at[0] += 1
        if side == 2 * k:                                               # and the one before it accepts a share of x
            side = 0 if draw(seed, 0, at[0]) < x else 2 * k + 1
            at[0] += 1
        if side > 2 * k:
            return even
        last = following
        even = not even


cdef inline int64_t draw_normal(uint64_t seed, uint64_t what, uint64_t which) noexcept nogil:
    # Out: a standard normal draw in units of 2**-28, by comparisons of even ones alone (C. F. F. Karney, Sampling
    # exactly from the normal distribution, 2016, algorithm N): a whole part k, a fraction x, and a sign.
    cdef uint64_t at = 0, k, i, x
    cdef int64_t size
    seed = draw(seed, what, which)
    while True:
        k = 0
        while draw_root_of_e(seed, &at):
            k += 1
        for i in range(k * (k - 1) if k else 0):
            if not draw_root_of_e(seed, &at):
                break
        else:
            x = draw(seed, 0, at)
            at += 1
            for i in range(k + 1):
                if not draw_falling(seed, &at, k, x):
                    break
            else:
                size = <int64_t>((k << 28) + (x >> 36))
                return size if draw(seed, 0, at) >> 63 else -size


cdef inline int64_t times_exp(int64_t amount, int64_t exponent) noexcept nogil:
    # In: an amount below 2**61; an exponent in units of 2**-40. Out: amount * e**exponent, but 2**61 - 1 at most; within
    # 2**-30 of it, or half a unit. The series of e**r for r in [0, ln 2), in units of 2**-32, and a shift.
    cdef int64_t ln2 = 762123384786, most = (<int64_t>1 << 61) - 1, r, power = <int64_t>1 << 32
    cdef int64_t n
    cdef int i
    exponent = min(max(exponent, -62 * ln2), 62 * ln2) + 63 * ln2       # so that nothing below is negative
    n = exponent // ln2
    r = (exponent - n * ln2) >> 10
    n -= 63
    for i in range(13, 0, -1):
        power = (<int64_t>1 << 32) + ((r * power) >> 30) // i
    amount = <int64_t>(                     # below 2**62; both products fit 64 bits, though not their signed half
        ((<uint64_t>(amount >> 31) * <uint64_t>power) >> 1)
        + ((<uint64_t>(amount & 0x7FFFFFFF) * <uint64_t>power) >> 32)
    )
    if n >= 0:
        return most if amount >= most >> n else amount << n
    return (amount + (<int64_t>1 << (-n - 1))) >> -n


cdef inline uint64_t first_state(uint64_t seed) noexcept nogil:
    # Out: a state that is not 0, far from that of the next seed.
    cdef uint64_t state = seed * <uint64_t>0x9E3779B97F4A7C15 + <uint64_t>0xD1B54A32D192ED03
    return state if state else 1


cdef inline uint64_t draw_next(uint64_t* state) noexcept nogil:
    # Out: 64 even bits (xorshift64*, Vigna 2016).
    state[0] ^= state[0] >> 12
    state[0] ^= state[0] << 25
    state[0] ^= state[0] >> 27
    return state[0] * <uint64_t>0x2545F4914F6CDD1D


cdef inline int32_t below(uint64_t* state, int32_t most) noexcept nogil:
    # Out: a whole number from 0 to below `most`.
    return <int32_t>(((draw_next(state) >> 32) * <uint64_t>most) >> 32)
