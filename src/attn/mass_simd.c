/* mass_simd.c: of each row and block the greatest score and the sum of the exponentials below it,
 * then the softmax over the blocks of a row. Arithmetic by v_fma alone, in an order that depends on
 * the row and the block and nothing else, so that every instruction set and every tile gives the
 * same bits. Exponents are of base 2. */
#include <float.h>
#include <math.h>

#include "attn/kernels.h"
#include "attn/tile.h"

mass_block_fn SIMD_NAME(mass_block);
mass_share_fn SIMD_NAME(mass_share);

#define S_STRIDE (256 + 16)

/* The products of `rows` rows with the keys; lanes behind the last key become -inf. */
SIMD_INLINE void find_scores(int rows, msa_dtype dtype, const mass_keys *keys, const float *q,
                             int64_t q_stride, float *scores) {
    int step = V_LANES * (dtype == MSA_F32 ? 4 : 2), panel = keys->dim * step;
    const char *b = keys->panels;
    for (int first = 0; first < keys->n; first += V_LANES, b += panel) {
        vf products[8];
        tile_ahead next_panel = {b + panel, step};
        tile_product(rows, 1, keys->dim, q, q_stride, b, dtype, V_LANES, 0, TILE_FUSED, next_panel,
                     products);
        int n = keys->n - first < V_LANES ? keys->n - first : V_LANES;
        SIMD_UNROLL
        for (int i = 0; i < rows; i++)
            v_store(scores + i * S_STRIDE + first,
                    n < V_LANES ? v_first(n, products[i], v_set1(-INFINITY)) : products[i]);
    }
}

/* m: the greatest scaled score, which a NaN is not; l: the sum of 2^(score - m). */
SIMD_INLINE void sum_row(const float *s, int n, float scale_log2, float *m, float *l) {
    vf best = v_set1(-INFINITY), scale = v_set1(scale_log2), sum = v_zero();
    for (int j = 0; j < n; j += V_LANES) best = v_max(v_mul(v_load(s + j), scale), best);
    *m = v_maxof(best);
    vf top = v_set1(*m > -FLT_MAX ? *m : -FLT_MAX); /* -inf - -inf would be NaN */
    for (int j = 0; j < n; j += V_LANES)
        sum = v_add(sum, v_exp2_fma(v_sub(v_mul(v_load(s + j), scale), top)));
    *l = v_sum(sum);
}

SIMD_INLINE void take_rows(int rows, msa_dtype dtype, const mass_keys *keys, const float *q,
                           int64_t q_stride, float *m, float *l, int64_t stride) {
    float scores[8 * S_STRIDE];
    find_scores(rows, dtype, keys, q, q_stride, scores);
    for (int i = 0; i < rows; i++)
        sum_row(scores + i * S_STRIDE, keys->n, keys->scale_log2, m + i * stride, l + i * stride);
}

SIMD_INLINE void take_format(msa_dtype dtype, const mass_keys *keys, const float *q,
                             int64_t q_stride, int n_rows, float *m, float *l, int64_t stride) {
    int r = 0;
#if V_REGISTERS == 1
    for (; r + 8 <= n_rows; r += 8)
        take_rows(8, dtype, keys, q + r * q_stride, q_stride, m + r * stride, l + r * stride,
                  stride);
#endif
    for (; r + 4 <= n_rows; r += 4)
        take_rows(4, dtype, keys, q + r * q_stride, q_stride, m + r * stride, l + r * stride,
                  stride);
    for (; r < n_rows; r++)
        take_rows(1, dtype, keys, q + r * q_stride, q_stride, m + r * stride, l + r * stride,
                  stride);
}

void SIMD_NAME(mass_block)(const mass_keys *keys, const float *q, int64_t q_stride, int n_rows,
                           float *m, float *l, int64_t stride) {
    if (keys->dtype == MSA_F32)
        take_format(MSA_F32, keys, q, q_stride, n_rows, m, l, stride);
    else if (keys->dtype == MSA_F16)
        take_format(MSA_F16, keys, q, q_stride, n_rows, m, l, stride);
    else
        take_format(MSA_BF16, keys, q, q_stride, n_rows, m, l, stride);
}

/* Lanes behind the last block read as -inf and 0. */
SIMD_INLINE vf load_m(const float *m, int left) {
    return left >= V_LANES ? v_load(m) : v_first(left, v_load_part(m, left), v_set1(-INFINITY));
}

void SIMD_NAME(mass_share)(const float *m, float *l, int64_t n_blocks, float share, float *mass) {
    vf best = v_set1(-INFINITY), sum = v_zero();
    for (int64_t b = 0; b < n_blocks; b += V_LANES) {
        int left = n_blocks - b < V_LANES ? (int)(n_blocks - b) : V_LANES;
        best = v_max(load_m(m + b, left), best);
    }
    float most = v_maxof(best);
    vf top = v_set1(most > -FLT_MAX ? most : -FLT_MAX);
    for (int64_t b = 0; b < n_blocks; b += V_LANES) {
        int left = n_blocks - b < V_LANES ? (int)(n_blocks - b) : V_LANES;
        vf x = v_mul(v_load_part(l + b, left), v_exp2_fma(v_sub(load_m(m + b, left), top)));
        sum = v_add(sum, x);
        v_store_part(l + b, x, left);
    }
    float total = v_sum(sum);
    vf factor = v_set1(total == 0 ? 0 : share / total);
    for (int64_t b = 0; b < n_blocks; b += V_LANES) {
        int left = n_blocks - b < V_LANES ? (int)(n_blocks - b) : V_LANES;
        vf x = v_fma(v_load_part(l + b, left), factor, v_load_part(mass + b, left));
        v_store_part(mass + b, x, left);
    }
}
