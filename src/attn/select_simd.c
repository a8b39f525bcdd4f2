/* select_simd.c: which scores of a row pass the bar of a running top-k, and where to put the bar
 * when too many do. Almost none pass a good bar, so finding them sixteen at a time is most of the
 * work of a selection. */
#include <math.h>

#include "attn/kernels.h"
#include "base/simd.h"

select_above_fn SIMD_NAME(select_above);
select_floor_fn SIMD_NAME(select_floor);

/* Writes at + i for every bit i set; returns how many. */
static int write_places(uint64_t bits, int at, int32_t *out) {
    int n = 0;
    for (; bits; bits &= bits - 1) out[n++] = at + __builtin_ctzll(bits);
    return n;
}

int SIMD_NAME(select_above)(const float *scores, int n, float above, int32_t *out) {
    vf bar = v_set1(above);
    int found = 0, i = 0;
    for (; i + 64 <= n; i += 64) {
        uint64_t bits = 0;
        SIMD_UNROLL
        for (int j = 0; j < 4; j++)
            bits |= (uint64_t)v_gt_bits(v_load(scores + i + 16 * j), bar) << 16 * j;
        found += write_places(bits, i, out + found);
    }
    for (; i < n; i += 16) {
        int left = n - i < 16 ? n - i : 16;
        uint32_t bits = v_gt_bits(v_load_part(scores + i, left), bar) & ((1u << left) - 1);
        found += write_places(bits, i, out + found);
    }
    return found;
}

/* How many of the 64 lanes lie above. */
static int count_above(const vf *lanes, float above) {
    vf bar = v_set1(above);
    uint64_t bits = 0;
    SIMD_UNROLL
    for (int j = 0; j < 4; j++) bits |= (uint64_t)v_gt_bits(lanes[j], bar) << 16 * j;
    return __builtin_popcountll(bits);
}

/* The maxima of 64 groups, each every 64th score, are 64 scores: what `want` of them reach, so many
 * of all reach. The least of them would do; halving the way to the greatest leaves a third as many
 * scores above. */
float SIMD_NAME(select_floor)(const float *scores, int64_t n, int want) {
    enum { HALVINGS = 10 };
    vf none = v_set1(-INFINITY), peak[4] = {none, none, none, none};
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) {
        SIMD_UNROLL
        for (int j = 0; j < 4; j++) peak[j] = v_max(v_load(scores + i + 16 * j), peak[j]);
    }
    for (int j = 0; i + 16 <= n; i += 16, j++) peak[j] = v_max(v_load(scores + i), peak[j]);
    vf least = v_min(v_min(peak[0], peak[1]), v_min(peak[2], peak[3]));
    float low = -v_maxof(v_sub(v_zero(), least));
    float high = v_maxof(v_max(v_max(peak[0], peak[1]), v_max(peak[2], peak[3])));
    for (int step = 0, n_above = 64; step < HALVINGS && n_above > want; step++) {
        float middle = low + (high - low) / 2; /* NaN between infinities: nothing lies above */
        int found = count_above(peak, middle);
        if (found >= want)
            low = middle, n_above = found;
        else
            high = middle;
    }
    return low;
}
