# Sixteen whole numbers at a time, in C: what trees, slots and workers are gone through with. Header-only, no state.
#
# Where the compiler knows SSE2, comparisons become bits by one mask; elsewhere plain loops do the same.

from libc.stdint cimport int32_t

cdef extern from *:
    """
    #include <stdint.h>
    /* Sixteen at a time: plain loops, which compilers turn into vector instructions. */
    static inline void keep_larger(int32_t *values, const int32_t *others) {
        for (int k = 0; k < 16; k++) values[k] = values[k] > others[k] ? values[k] : others[k];
    }
    static inline void keep_smaller(int32_t *values, const int32_t *others) {
        for (int k = 0; k < 16; k++) values[k] = values[k] < others[k] ? values[k] : others[k];
    }
    static inline int32_t smallest(const int32_t *values) {
        int32_t least = values[0];
        for (int k = 1; k < 16; k++) least = values[k] < least ? values[k] : least;
        return least;
    }
    #if defined(__GNUC__) && defined(__SSE2__)
    #include <emmintrin.h>
    /* The first k >= from with row[k] <= limit, of sixteen; 16 where there is none. */
    static inline int first_at_most(const int32_t *row, int from, int32_t limit) {
        const __m128i bound = _mm_set1_epi32(limit);
        const __m128i *four = (const __m128i *)row;
        __m128i low = _mm_packs_epi32(_mm_cmpgt_epi32(_mm_loadu_si128(four), bound),
                                      _mm_cmpgt_epi32(_mm_loadu_si128(four + 1), bound));
        __m128i high = _mm_packs_epi32(_mm_cmpgt_epi32(_mm_loadu_si128(four + 2), bound),
                                       _mm_cmpgt_epi32(_mm_loadu_si128(four + 3), bound));
        unsigned beyond = (unsigned)_mm_movemask_epi8(_mm_packs_epi16(low, high));
        return __builtin_ctz(((~beyond & 0xffffu) >> from << from) | 0x10000u);
    }
    /* Bit k is set where values[k], of sixteen, is 0 or more. */
    static inline unsigned bits_of_the_rest(const int32_t *values) {
        const __m128i *four = (const __m128i *)values;
        __m128i low = _mm_packs_epi32(_mm_loadu_si128(four), _mm_loadu_si128(four + 1));
        __m128i high = _mm_packs_epi32(_mm_loadu_si128(four + 2), _mm_loadu_si128(four + 3));
        return ~(unsigned)_mm_movemask_epi8(_mm_packs_epi16(low, high)) & 0xffffu;
    }
    static inline int lowest_bit(unsigned bits) { return __builtin_ctz(bits); }
    #else
    static inline unsigned bits_of_the_rest(const int32_t *values) {
        unsigned bits = 0;
        for (int k = 0; k < 16; k++) bits |= (unsigned)(values[k] >= 0) << k;
        return bits;
    }
    static inline int lowest_bit(unsigned bits) {
        int k = 0;
        while (!(bits >> k & 1)) k++;
        return k;
    }
    static inline int first_at_most(const int32_t *row, int from, int32_t limit) {
        while (from < 16 && row[from] > limit) from++;
        return from;
    }
    #endif
    """
    int first_at_most(const int32_t *row, int first, int32_t limit) noexcept nogil
    void keep_larger(int32_t *values, const int32_t *others) noexcept nogil
    void keep_smaller(int32_t *values, const int32_t *others) noexcept nogil
    int32_t smallest(const int32_t *values) noexcept nogil
    unsigned bits_of_the_rest(const int32_t *values) noexcept nogil
    int lowest_bit(unsigned bits) noexcept nogil
