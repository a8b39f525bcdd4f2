/* index8_simd.c: bounds of a block's scores from its int8 copy.
 *
 * Tokens are the lanes; two elements of a token lie side by side, so that one multiply-add of int16
 * pairs (pmaddwd, one instruction on AVX2 and AVX-512) takes both: twice the products of an f32
 * FMA, and queries keep 15 bits. Bytes times bytes (pmaddubsw, vpdpbusd) would be twice as many
 * again, but with queries of 7 bits, which widens the bounds threefold, and a scan in decode waits
 * for memory already. The products are exact, so that no instruction set differs. */
#include <math.h>

#include "attn/index8.h"
#include "base/simd.h"

index8_bound_fn SIMD_NAME(index8_bound);
index8_panels_fn SIMD_NAME(index8_panels);

typedef struct copy_parts {
    const int8_t *numbers;
    const uint16_t *scales;
    const index8_tail *tail;
    const char *next;
    int dim, block;
} copy_parts;

enum { AHEAD = 8 }; /* panels, 16 KiB of width 128: memory is asked so long before */

static const char *ahead_of(const copy_parts *c, int panel) {
    int n_panels = c->block / 16, at = panel + AHEAD;
    return at < n_panels ? (const char *)c->numbers + (int64_t)at * 16 * c->dim
                         : c->next + (int64_t)(at - n_panels) * 16 * c->dim;
}

/* The products of `rows` rows with a panel. Four elements at a time: a line of keys, and as many
 * sums as there are registers for (gcc 12 spills with two or eight). */
SIMD_INLINE void take_panel(int rows, int dim, const int8_t *panel, const char *ahead,
                            const int16_t *const *numbers, vi *sum) {
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) sum[i] = vi_zero();
    for (int k = 0; k < dim; k += 4) {
        __builtin_prefetch(ahead + 16 * k);
        SIMD_UNROLL
        for (int j = k; j < k + 4; j += 2) {
            vi keys = v_load_i8_pairs(panel + 16 * j);
            SIMD_UNROLL
            for (int i = 0; i < rows; i++) sum[i] = v_dot_pairs(sum[i], keys, numbers[i] + j);
        }
    }
}

SIMD_INLINE void bound_rows(int rows, const index8_query *const *query,
                            const int16_t *const *numbers, const copy_parts *c, float *upper,
                            float *lower, float *token) {
    vf up[4], down[4], width[4], scale[4];
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) {
        up[i] = down[i] = v_set1(-INFINITY);
        width[i] = v_set1(query[i]->norm * c->tail->ratio);
        scale[i] = v_set1(query[i]->scale);
    }
    for (int p = 0; p < c->block / 16; p++) {
        vi sum[4];
        take_panel(rows, c->dim, c->numbers + (int64_t)p * 16 * c->dim, ahead_of(c, p), numbers,
                   sum);
        vf s = v_load_bf16(c->scales + 16 * p);
        SIMD_UNROLL
        for (int i = 0; i < rows; i++) {
            vf x = v_mul(v_from_i32(sum[i]), scale[i]), high = v_mul(s, v_add(x, width[i]));
            v_store(token + (int64_t)i * c->block + 16 * p, high);
            up[i] = v_max(high, up[i]);
            down[i] = v_max(v_mul(s, v_sub(x, width[i])), down[i]);
        }
    }
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) {
        float slack = index8_slack(query[i], c->tail, c->dim);
        upper[i] = v_maxof(up[i]) + slack;
        lower[i] = v_maxof(down[i]) - slack;
    }
}

void SIMD_NAME(index8_bound)(const index8_rows *rows, int dim, int block, const void *copy,
                             const void *next, float *upper, float *lower, float *token) {
    copy_parts c = {
        copy, index8_scales(copy, dim, block), index8_tail_of(copy, dim, block), next, dim, block};
    const index8_query *query[INDEX8_ROWS];
    const int16_t *numbers[INDEX8_ROWS];
    for (int i = 0; i < rows->n; i++) {
        query[i] = rows->query + i * rows->stride;
        numbers[i] = rows->numbers + i * rows->stride * dim;
    }
    int r = 0;
    for (; r + 4 <= rows->n; r += 4)
        bound_rows(4, query + r, numbers + r, &c, upper + r, lower + r, token + r * block);
    for (; r + 2 <= rows->n; r += 2)
        bound_rows(2, query + r, numbers + r, &c, upper + r, lower + r, token + r * block);
    if (r < rows->n)
        bound_rows(1, query + r, numbers + r, &c, upper + r, lower + r, token + r * block);
}

uint32_t SIMD_NAME(index8_panels)(const float *token, int block, float slack, float lower) {
    vf least = v_set1(lower), more = v_set1(slack);
    uint32_t bits = 0;
    for (int p = 0; p < block / 16; p++) {
        uint32_t below = v_gt_bits(least, v_add(v_load(token + 16 * p), more));
        bits |= (uint32_t)(below != 0xffff) << p;
    }
    return bits;
}
