/* score_simd.c: the scores of one block in canonical arithmetic, its maximum taken in registers.
 *
 * Tokens are the lanes, so every token's sum runs over the width in the same order whatever the
 * instruction set; v_fma and never v_muladd, so that it also rounds alike. Each tile of rows keeps
 * as many sums in flight as the register file holds: fewer rows take more panels at once. */
#include <math.h>

#include "attn/kernels.h"
#include "attn/tile.h"

score_block_fn SIMD_NAME(score_block);

typedef struct score_keys {
    const void *panels;
    int n_tokens, dim;
} score_keys;

/* best = max of best and the products with `panels` panels from panel `at`; NaN changes nothing. */
SIMD_INLINE void take_panels(int rows, int panels, msa_dtype dtype, const float *q,
                             int64_t q_stride, const score_keys *keys, int at, vf *best) {
    int64_t panel = (int64_t)keys->dim * V_LANES;
    const char *b = (const char *)keys->panels + at * panel * (dtype == MSA_F32 ? 4 : 2);
    vf acc[16];
    tile_product(rows, panels, keys->dim, q, q_stride, b, dtype, V_LANES, panel, 1, acc);
    SIMD_UNROLL
    for (int p = 0; p < panels; p++) {
        SIMD_UNROLL
        for (int i = 0; i < rows; i++) best[i] = v_max(acc[i * panels + p], best[i]);
    }
}

SIMD_INLINE void take_last(int rows, msa_dtype dtype, const float *q, int64_t q_stride,
                           const score_keys *keys, int at, vf *best) {
    vf none = v_set1(-INFINITY), last[8];
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) last[i] = none;
    take_panels(rows, 1, dtype, q, q_stride, keys, at, last);
    SIMD_UNROLL
    for (int i = 0; i < rows; i++)
        best[i] = v_max(v_first(keys->n_tokens - at * V_LANES, last[i], none), best[i]);
}

SIMD_INLINE void score_rows(int rows, int panels, msa_dtype dtype, const float *q, int64_t q_stride,
                            const score_keys *keys, float *scores) {
    vf best[8];
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) best[i] = v_set1(-INFINITY);
    int n = keys->n_tokens / V_LANES, p = 0;
    for (; p + panels <= n; p += panels)
        take_panels(rows, panels, dtype, q, q_stride, keys, p, best);
    for (; panels > 2 && p + 2 <= n; p += 2)
        take_panels(rows, 2, dtype, q, q_stride, keys, p, best);
    for (; panels > 1 && p < n; p++) take_panels(rows, 1, dtype, q, q_stride, keys, p, best);
    if (n * V_LANES < keys->n_tokens) take_last(rows, dtype, q, q_stride, keys, n, best);
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) scores[i] = v_maxof(best[i]) + 0.0f; /* -0 becomes +0 */
}

SIMD_INLINE void score_format(msa_dtype dtype, const float *q, int64_t q_stride, int n_rows,
                              const score_keys *keys, float *scores) {
    int r = 0;
#if V_REGISTERS == 1
    for (; r + 8 <= n_rows; r += 8)
        score_rows(8, 2, dtype, q + r * q_stride, q_stride, keys, scores + r);
    for (; r + 4 <= n_rows; r += 4)
        score_rows(4, 4, dtype, q + r * q_stride, q_stride, keys, scores + r);
    for (; r + 2 <= n_rows; r += 2)
        score_rows(2, 8, dtype, q + r * q_stride, q_stride, keys, scores + r);
    if (r < n_rows) score_rows(1, 8, dtype, q + r * q_stride, q_stride, keys, scores + r);
#else
    for (; r + 4 <= n_rows; r += 4)
        score_rows(4, 1, dtype, q + r * q_stride, q_stride, keys, scores + r);
    for (; r + 2 <= n_rows; r += 2)
        score_rows(2, 2, dtype, q + r * q_stride, q_stride, keys, scores + r);
    if (r < n_rows) score_rows(1, 4, dtype, q + r * q_stride, q_stride, keys, scores + r);
#endif
}

void SIMD_NAME(score_block)(const float *q, int64_t q_stride, int n_rows, int dim,
                            const void *panels, msa_dtype dtype, int n_tokens, float *scores) {
    score_keys keys = {.panels = panels, .n_tokens = n_tokens, .dim = dim};
    if (dtype == MSA_F32)
        score_format(MSA_F32, q, q_stride, n_rows, &keys, scores);
    else if (dtype == MSA_F16)
        score_format(MSA_F16, q, q_stride, n_rows, &keys, scores);
    else
        score_format(MSA_BF16, q, q_stride, n_rows, &keys, scores);
}
