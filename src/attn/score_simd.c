/* score_simd.c: the scores of one block in canonical arithmetic, its maximum taken in registers.
 *
 * Tokens are the lanes, so every token's sum runs over the width in the same order whatever the
 * instruction set; v_fma and never v_muladd, so that it also rounds alike.
 *
 * One panel at a time, but for few rows where registers are few: keys are then read as one
 * ascending stream, which the hardware prefetches (4 rows in decode: 25 GB/s a thread from memory
 * on a Zen 4 core; four panels at once, 18), and the sums of 16 or 8 rows, or of 6 where registers
 * are few, hide the latency of an FMA as well as any squarer tile. */
#include <float.h>
#include <math.h>

#include "attn/kernels.h"
#include "attn/tile.h"
#include "base/half.h"

score_block_fn SIMD_NAME(score_block);

/* Panels at a time of 3 rows or 2, and of one: where memory does not bind first, few rows need more
 * of them to hide the latency of an FMA. */
#define SCORE_WIDE (V_REGISTERS == 2 ? 2 : 1)
#define SCORE_ONE  (V_REGISTERS == 2 ? 4 : 1)

typedef struct score_keys {
    const stored_keys *panels;
    int n_tokens, dim;
} score_keys;

/* Widening fp8 makes numbers 2^8 too small and ends in a product (v_load_e4m3) on the units that
 * the sums need. With a scale of 2^-8, a constant, there is no product; queries 2^8 times as large
 * make up for it, and every sum has the same bits: its products are the same real numbers. */
#define LIFT 0x1p8f

enum { LIFT_ROWS = 8, LIFT_DIM = 256 };

/* Scales of the tokens of a panel; `lifted`, a constant, where the queries have them. */
SIMD_INLINE vf panel_scale(const stored_keys *panels, msa_dtype dtype, int lifted, int p) {
    if (lifted) return v_set1(1 / LIFT);
    if (dtype == MSA_INT8) return v_load((const float *)panels->scales + p * V_LANES);
    return v_set1(panels->scale);
}

/* The products of `rows` rows with `panels` panels of the keys from p on, lanes in any order where
 * they are whole. */
SIMD_INLINE void take_panels(int rows, int panels, msa_dtype dtype, int lifted, const float *q,
                             int64_t q_stride, const score_keys *keys, int p, int whole,
                             vf *products) {
    int64_t step = tile_bytes(dtype, V_LANES), panel = keys->dim * step;
    const char *b = (const char *)keys->panels->data + p * panel;
    tile_ahead next = {b + panels * panel, panels * step};
    tile_product_of(rows, panels, keys->dim, q, q_stride, 1, b, dtype, V_LANES,
                    (int64_t)keys->dim * V_LANES, panel_scale(keys->panels, dtype, lifted, p),
                    whole ? TILE_FUSED | TILE_ANY_ORDER : TILE_FUSED, next, products);
}

/* Whole panels, into the best of each row. */
SIMD_INLINE void take_whole(int rows, int panels, msa_dtype dtype, int lifted, const float *q,
                            int64_t q_stride, const score_keys *keys, int p, vf *best) {
    vf products[16];
    take_panels(rows, panels, dtype, lifted, q, q_stride, keys, p, 1, products);
    SIMD_UNROLL
    for (int i = 0; i < rows * panels; i++) /* not by NaN */
        best[i / panels] = v_max(products[i], best[i / panels]);
}

SIMD_INLINE void score_rows(int rows, int panels, msa_dtype dtype, int lifted, const float *q,
                            int64_t q_stride, const score_keys *keys, float *scores) {
    vf none = v_set1(-INFINITY), best[16], products[16];
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) best[i] = none;
    int whole = keys->n_tokens / V_LANES, last = keys->n_tokens % V_LANES, p = 0;
    for (; p + panels <= whole; p += panels)
        take_whole(rows, panels, dtype, lifted, q, q_stride, keys, p, best);
    for (; panels > 1 && p < whole; p++)
        take_whole(rows, 1, dtype, lifted, q, q_stride, keys, p, best);
    if (last) {
        take_panels(rows, 1, dtype, lifted, q, q_stride, keys, whole, 0, products);
        SIMD_UNROLL
        for (int i = 0; i < rows; i++) best[i] = v_max(v_first(last, products[i], none), best[i]);
    }
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) scores[i] = v_maxof(best[i]) + 0.0f; /* -0 becomes +0 */
}

SIMD_INLINE void score_format(msa_dtype dtype, int lifted, const float *q, int64_t q_stride,
                              int n_rows, const score_keys *keys, float *scores) {
    /* int8 has a scale for each token: panels do not share one */
    int wide = dtype == MSA_INT8 ? 1 : SCORE_WIDE, one = dtype == MSA_INT8 ? 1 : SCORE_ONE, r = 0;
#if V_REGISTERS == 1
    for (; r + 16 <= n_rows; r += 16)
        score_rows(16, 1, dtype, lifted, q + r * q_stride, q_stride, keys, scores + r);
    for (; r + 8 <= n_rows; r += 8)
        score_rows(8, 1, dtype, lifted, q + r * q_stride, q_stride, keys, scores + r);
#elif V_REGISTERS == 2 /* 8 rows are faster as 4 + 4 than as 6 + 2 */
    for (; r + TILE_ROWS <= n_rows && n_rows - r != 8; r += TILE_ROWS)
        score_rows(TILE_ROWS, 1, dtype, lifted, q + r * q_stride, q_stride, keys, scores + r);
#endif
    for (; r + 4 <= n_rows; r += 4)
        score_rows(4, 1, dtype, lifted, q + r * q_stride, q_stride, keys, scores + r);
    const float *rest = q + r * q_stride;
    if (n_rows - r == 3) score_rows(3, 1, dtype, lifted, rest, q_stride, keys, scores + r);
    if (n_rows - r == 2) score_rows(2, wide, dtype, lifted, rest, q_stride, keys, scores + r);
    if (n_rows - r == 1) score_rows(1, one, dtype, lifted, rest, q_stride, keys, scores + r);
}

/* Queries times LIFT and the tensor's scale; 0 where that is not exact: the scale no power of two,
 * or so small that it would shrink a query, or a query so large that it overflows. */
static int lift(const float *q, int64_t q_stride, int n_rows, int dim, float scale, float *lifted) {
    float factor = scale * LIFT;
    if (n_rows > LIFT_ROWS || f32_bits(factor) & 0x7fffff || factor < 1) return 0;
    vf by = v_set1(factor), zero = v_zero(), most = v_set1(FLT_MAX / factor);
    uint32_t too_large = 0;
    for (int i = 0; i < n_rows; i++)
        for (int c = 0; c < dim; c += 8) {
            vf x = v_load_part(q + i * q_stride + c, 8);
            too_large |= v_gt_bits(v_max(x, v_sub(zero, x)), most);
            v_store_part(lifted + i * dim + c, v_mul(x, by), 8);
        }
    return too_large == 0;
}

static void score_fp8(const float *q, int64_t q_stride, int n_rows, const score_keys *keys,
                      float *scores) {
    float lifted[LIFT_ROWS * LIFT_DIM];
    if (lift(q, q_stride, n_rows, keys->dim, keys->panels->scale, lifted))
        score_format(MSA_FP8, 1, lifted, keys->dim, n_rows, keys, scores);
    else
        score_format(MSA_FP8, 0, q, q_stride, n_rows, keys, scores);
}

void SIMD_NAME(score_block)(const float *q, int64_t q_stride, int n_rows, int dim,
                            const stored_keys *panels, int n_tokens, float *scores) {
    score_keys keys = {.panels = panels, .n_tokens = n_tokens, .dim = dim};
    switch (panels->dtype) {
    case MSA_F32: score_format(MSA_F32, 0, q, q_stride, n_rows, &keys, scores); break;
    case MSA_F16: score_format(MSA_F16, 0, q, q_stride, n_rows, &keys, scores); break;
    case MSA_BF16: score_format(MSA_BF16, 0, q, q_stride, n_rows, &keys, scores); break;
    case MSA_FP8: score_fp8(q, q_stride, n_rows, &keys, scores); break;
    default: score_format(MSA_INT8, 0, q, q_stride, n_rows, &keys, scores); break;
    }
}
