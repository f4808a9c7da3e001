# Sixteen whole numbers at a time, in C: what trees, slots and workers are gone through with. Header-only, no state.
#
# Where the compiler knows SSE2, which every x86-64 has, four of them are one register and comparisons become
# bits by one mask; elsewhere plain loops do the same.

from libc.stdint cimport int32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <stddef.h>
    #include <string.h>
    #if defined(__GNUC__)
    static inline int lowest_bit(uint64_t bits) { return __builtin_ctzll(bits); }
    static inline int highest_bit(uint64_t bits) { return 63 - __builtin_clzll(bits); }
    static inline void fetch(const void *at) { __builtin_prefetch(at); }
    #else
    static inline int lowest_bit(uint64_t bits) {
        int k = 0;
        while (!(bits >> k & 1)) k++;
        return k;
    }
    static inline int highest_bit(uint64_t bits) {
        int k = 63;
        while (!(bits >> k & 1)) k--;
        return k;
    }
    static inline void fetch(const void *at) { (void)at; }
    #endif
    static inline int holds(const int32_t *free, ptrdiff_t stride, int n_resources, const int32_t *demand) {
        for (int r = 0; r < n_resources; r++)
            if (free[r * stride] < demand[r]) return 0;
        return 1;
    }
    static inline void copy_block(int32_t *values, const int32_t *others) {
        memcpy(values, others, 16 * sizeof(int32_t));
    }
    #if defined(__GNUC__) && defined(__SSE2__)
    #include <emmintrin.h>
    static inline __m128i block_four(const int32_t *at) { return _mm_loadu_si128((const __m128i *)at); }
    static inline __m128i block_choose(__m128i mask, __m128i a, __m128i b) {    /* a where the mask is set, else b */
        return _mm_or_si128(_mm_and_si128(mask, a), _mm_andnot_si128(mask, b));
    }
    static inline __m128i block_larger(__m128i a, __m128i b) { return block_choose(_mm_cmpgt_epi32(a, b), a, b); }
    static inline __m128i block_smaller(__m128i a, __m128i b) { return block_choose(_mm_cmpgt_epi32(a, b), b, a); }
    static inline unsigned block_bits(__m128i a, __m128i b, __m128i c, __m128i d) {     /* a bit for each mask */
        return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d)));
    }
    static inline int32_t block_smallest(__m128i a, __m128i b, __m128i c, __m128i d) {
        __m128i least = block_smaller(block_smaller(a, b), block_smaller(c, d));
        least = block_smaller(least, _mm_shuffle_epi32(least, 0x4e));
        least = block_smaller(least, _mm_shuffle_epi32(least, 0xb1));
        return _mm_cvtsi128_si32(least);
    }
    static inline void keep_larger(int32_t *values, const int32_t *others) {
        for (int k = 0; k < 16; k += 4)
            _mm_storeu_si128((__m128i *)(values + k), block_larger(block_four(values + k), block_four(others + k)));
    }
    static inline void keep_smaller(int32_t *values, const int32_t *others) {
        for (int k = 0; k < 16; k += 4)
            _mm_storeu_si128((__m128i *)(values + k), block_smaller(block_four(values + k), block_four(others + k)));
    }
    static inline int32_t smallest(const int32_t *values) {
        return block_smallest(block_four(values), block_four(values + 4),
                              block_four(values + 8), block_four(values + 12));
    }
    static inline int first_at_most(const int32_t *row, int from, int32_t limit) {
        const __m128i bound = _mm_set1_epi32(limit);
        unsigned beyond = block_bits(
            _mm_cmpgt_epi32(block_four(row), bound), _mm_cmpgt_epi32(block_four(row + 4), bound),
            _mm_cmpgt_epi32(block_four(row + 8), bound), _mm_cmpgt_epi32(block_four(row + 12), bound));
        return __builtin_ctz(((~beyond & 0xffffu) >> from << from) | 0x10000u);
    }
    static inline unsigned bits_with_room(const int32_t *free, ptrdiff_t stride, int n_resources,
                                          const int32_t *demand) {
        __m128i a = _mm_setzero_si128(), b = a, c = a, d = a;
        for (int r = 0; r < n_resources; r++, free += stride) {
            __m128i need = _mm_set1_epi32(demand[r]);
            a = _mm_or_si128(a, _mm_sub_epi32(block_four(free), need));
            b = _mm_or_si128(b, _mm_sub_epi32(block_four(free + 4), need));
            c = _mm_or_si128(c, _mm_sub_epi32(block_four(free + 8), need));
            d = _mm_or_si128(d, _mm_sub_epi32(block_four(free + 12), need));
        }
        return ~block_bits(a, b, c, d) & 0xffffu;       /* saturation keeps the signs */
    }
    static inline unsigned bits_of_the_less(const int32_t *a, const int32_t *b) {
        return block_bits(
            _mm_cmplt_epi32(block_four(a), block_four(b)), _mm_cmplt_epi32(block_four(a + 4), block_four(b + 4)),
            _mm_cmplt_epi32(block_four(a + 8), block_four(b + 8)),
            _mm_cmplt_epi32(block_four(a + 12), block_four(b + 12)));
    }
    static inline void room_for_slots(const int32_t *free, ptrdiff_t stride, int n_resources, int pivot,
                                      const int32_t *need, ptrdiff_t slots, int32_t *room) {
        __m128i a = _mm_setzero_si128(), b = a, c = a, d = a, have;
        for (int r = 0; r < n_resources; r++, need += slots)
            if (r != pivot) {
                have = _mm_set1_epi32(free[r * stride]);
                a = _mm_or_si128(a, _mm_sub_epi32(have, block_four(need)));
                b = _mm_or_si128(b, _mm_sub_epi32(have, block_four(need + 4)));
                c = _mm_or_si128(c, _mm_sub_epi32(have, block_four(need + 8)));
                d = _mm_or_si128(d, _mm_sub_epi32(have, block_four(need + 12)));
            }
        have = _mm_set1_epi32(free[pivot * stride]);
        _mm_storeu_si128((__m128i *)room, _mm_or_si128(have, _mm_srai_epi32(a, 31)));
        _mm_storeu_si128((__m128i *)(room + 4), _mm_or_si128(have, _mm_srai_epi32(b, 31)));
        _mm_storeu_si128((__m128i *)(room + 8), _mm_or_si128(have, _mm_srai_epi32(c, 31)));
        _mm_storeu_si128((__m128i *)(room + 12), _mm_or_si128(have, _mm_srai_epi32(d, 31)));
    }
    #else
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
    static inline int first_at_most(const int32_t *row, int from, int32_t limit) {
        while (from < 16 && row[from] > limit) from++;
        return from;
    }
    static inline unsigned bits_with_room(const int32_t *free, ptrdiff_t stride, int n_resources,
                                          const int32_t *demand) {
        unsigned lacks = 0;
        for (int r = 0; r < n_resources; r++)
            for (int k = 0; k < 16; k++) lacks |= (unsigned)(free[r * stride + k] < demand[r]) << k;
        return ~lacks & 0xffffu;
    }
    static inline unsigned bits_of_the_less(const int32_t *a, const int32_t *b) {
        unsigned bits = 0;
        for (int k = 0; k < 16; k++) bits |= (unsigned)(a[k] < b[k]) << k;
        return bits;
    }
    static inline void room_for_slots(const int32_t *free, ptrdiff_t stride, int n_resources, int pivot,
                                      const int32_t *need, ptrdiff_t slots, int32_t *room) {
        for (int k = 0; k < 16; k++) room[k] = free[pivot * stride];
        for (int r = 0; r < n_resources; r++)
            for (int k = 0; k < 16; k++)
                if (r != pivot && free[r * stride] < need[r * slots + k]) room[k] = -1;
    }
    #endif
    """
    int lowest_bit(uint64_t bits) noexcept nogil                        # the place of the lowest bit that is set
    int highest_bit(uint64_t bits) noexcept nogil                       # of the highest
    void fetch(const void *at) noexcept nogil                           # soon this will be read
    # Whether a worker has room for the demand; what is free on it is `stride` apart by resource.
    bint holds(const int32_t *free, Py_ssize_t stride, int n_resources, const int32_t *demand) noexcept nogil
    void copy_block(int32_t *values, const int32_t *others) noexcept nogil
    void keep_larger(int32_t *values, const int32_t *others) noexcept nogil
    void keep_smaller(int32_t *values, const int32_t *others) noexcept nogil
    int32_t smallest(const int32_t *values) noexcept nogil
    # The first k >= first with row[k] <= limit; 16 where there is none.
    int first_at_most(const int32_t *row, int first, int32_t limit) noexcept nogil
    # Bit k: of sixteen workers in a row, the k-th has room for the demand; what is free is `stride` apart by resource.
    unsigned bits_with_room(
        const int32_t *free, Py_ssize_t stride, int n_resources, const int32_t *demand
    ) noexcept nogil
    unsigned bits_of_the_less(const int32_t *a, const int32_t *b) noexcept nogil    # bit k: a[k] < b[k]
    # In: what is free on one worker, `stride` apart; what a block of slots needs, `slots` apart; what it needs of the
    # pivot is not looked at. The differences cannot overflow.
    # Out: for each slot of the block the pivot that is free if there is room for the rest of its demand, else -1.
    void room_for_slots(
        const int32_t *free, Py_ssize_t stride, int n_resources, int pivot,
        const int32_t *need, Py_ssize_t slots, int32_t *room
    ) noexcept nogil
