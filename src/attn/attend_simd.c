/* attend_simd.c: one block of keys taken into the online softmax of a tile of rows.
 *
 * A chunk of rows at a time: scores by the register tile of tile.h, maxima and exponentials, then
 * probabilities times values by the same tile. o is rescaled where it is next touched, in the
 * epilogue of the second product. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "attn/kernels.h"
#include "attn/tile.h"

attend_block_fn SIMD_NAME(attend_block);

/* Rows at a time: whole tiles, whose scores and queries stay in the first-level cache. */
enum { CHUNK = TILE_ROWS == 6 ? 24 : ATTEND_CHUNK };

/* One chunk of rows. Arrays have 8 rows of room behind n_rows: tiles may compute rows nobody reads,
 * from whatever lies there, but store nothing outside the scratch. */
typedef struct chunk {
    const attend_tile *tile;
    const attend_keys *keys;
    const int32_t *rows;
    int n_rows;
    const float *q; /* [n_rows][dim] */
    float *s;       /* [n_rows][s_stride] scores, then probabilities */
    int s_stride;
    float alpha[ATTEND_CHUNK + 8]; /* what o and l are multiplied by */
} chunk;

/* ---- the two products: a tile of a constant number of rows and panels ---- */

SIMD_INLINE void score_tile(const chunk *c, int row, int rows, int panels, int first,
                            msa_dtype dtype) {
    int dim = c->tile->dim, size = dtype == MSA_F32 ? 4 : 2;
    int64_t at = (int64_t)first * 16 * dim * size;
    const char *k = (const char *)c->keys->k + at;
    /* The first tile asks for the next panels, the others, or an only one, for as much of the
     * values: keys the product before has asked for. */
    tile_ahead ahead = {k + (int64_t)panels * 16 * dim * size, panels * 16 * size};
    if (row || c->n_rows <= rows) ahead.line = (const char *)c->keys->v + at;
    vf acc[16];
    tile_product(rows, panels, dim, c->q + row * dim, dim, k, dtype, 16, 16 * dim, 0, ahead, acc);
    float *s = c->s + row * c->s_stride + first * 16;
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) {
        SIMD_UNROLL
        for (int p = 0; p < panels; p++) v_store(s + i * c->s_stride + p * 16, acc[i * panels + p]);
    }
}

SIMD_INLINE void value_tile(const chunk *c, int row, int rows, int panels, int first,
                            msa_dtype dtype) {
    int size = dtype == MSA_F32 ? 4 : 2, padded = c->tile->padded;
    const char *v = (const char *)c->keys->v + first * 16 * size;
    int64_t step = panels * 16 * size;
    tile_ahead ahead = {(const char *)c->keys->next_k + first / panels * c->keys->n * step, step};
    vf acc[16];
    tile_product(rows, panels, c->keys->n, c->s + row * c->s_stride, c->s_stride, v, dtype,
                 c->keys->v_stride, 16, 0, ahead, acc);
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) {
        if (row + i >= c->n_rows) return;
        float *o = c->tile->o + (int64_t)c->rows[row + i] * padded + first * 16;
        vf alpha = v_set1(c->alpha[row + i]);
        SIMD_UNROLL
        for (int p = 0; p < panels; p++)
            v_store(o + p * 16, v_muladd(v_load(o + p * 16), alpha, acc[i * panels + p]));
    }
}

/* n_tiles tiles of `rows` rows from `row` on, against n_panels panels, `panels` at a time: a panel
 * is read once for all tiles. What is left of the panels goes one by one. */
SIMD_INLINE void product_tiles(const chunk *c, int row, int n_tiles, int rows, int panels,
                               int n_panels, msa_dtype dtype, int values) {
    int p = 0;
    for (; p + panels <= n_panels; p += panels)
        for (int t = 0; t < n_tiles; t++)
            if (values)
                value_tile(c, row + t * rows, rows, panels, p, dtype);
            else
                score_tile(c, row + t * rows, rows, panels, p, dtype);
    for (; panels > 1 && p < n_panels; p++)
        for (int t = 0; t < n_tiles; t++)
            if (values)
                value_tile(c, row + t * rows, rows, 1, p, dtype);
            else
                score_tile(c, row + t * rows, rows, 1, p, dtype);
}

/* Full tiles first; then the rows that are left, fewer to the tile but more panels. A tile that
 * lacks one row is run as if it had it. */
SIMD_INLINE void product(const chunk *c, int n_panels, msa_dtype dtype, int values) {
    int n = c->n_rows, n_full = (n + 1) / TILE_ROWS, row = n_full * TILE_ROWS;
    product_tiles(c, 0, n_full, TILE_ROWS, TILE_PANELS, n_panels, dtype, values);
    if (TILE_ROWS > 4 && n - row >= 3) {
        product_tiles(c, row, 1, 4, TILE_REST, n_panels, dtype, values);
        row += 4;
    }
    if (n - row >= 2) {
        product_tiles(c, row, 1, 2, TILE_WIDE, n_panels, dtype, values);
        row += 2;
    }
    if (n - row >= 1) product_tiles(c, row, 1, 1, TILE_WIDE, n_panels, dtype, values);
}

static void scores_f32(const chunk *c) {
    product(c, (c->keys->n + 15) / 16, MSA_F32, 0);
}
static void scores_f16(const chunk *c) {
    product(c, (c->keys->n + 15) / 16, MSA_F16, 0);
}
static void scores_bf16(const chunk *c) {
    product(c, (c->keys->n + 15) / 16, MSA_BF16, 0);
}
static void values_f32(const chunk *c) {
    product(c, c->tile->padded / 16, MSA_F32, 1);
}
static void values_f16(const chunk *c) {
    product(c, c->tile->padded / 16, MSA_F16, 1);
}
static void values_bf16(const chunk *c) {
    product(c, c->tile->padded / 16, MSA_BF16, 1);
}

/* ---- softmax ---- */

/* Greatest score of a row; the lanes behind the last key become -inf. NaN does not win here but
 * reaches the sum through its exponential. */
SIMD_INLINE float row_max(float *s, int n) {
    vf minus_inf = v_set1(-INFINITY), best = minus_inf;
    int i = 0;
    for (; i + 16 <= n; i += 16) best = v_max(v_load(s + i), best);
    if (i < n) {
        vf tail = v_first(n - i, v_load(s + i), minus_inf);
        v_store(s + i, tail);
        best = v_max(tail, best);
    }
    return v_maxof(best);
}

/* s = exp(scale * (s - m)); returns the sum. */
SIMD_INLINE float row_exp(float *s, int n, float m, float scale_log2) {
    vf vm = v_set1(m), scale = v_set1(scale_log2), sum = v_zero();
    for (int i = 0; i < n; i += 16) {
        vf p = v_exp2(v_mul(v_sub(v_load(s + i), vm), scale));
        v_store(s + i, p);
        sum = v_add(sum, p);
    }
    return v_sum(sum);
}

static void softmax(chunk *c, float *block_max) {
    const attend_tile *t = c->tile;
    float m[ATTEND_CHUNK + 16];
    for (int i = 0; i < c->n_rows; i++) {
        float best = row_max(c->s + i * c->s_stride, c->keys->n), old = t->m[c->rows[i]];
        if (block_max && best > block_max[i]) block_max[i] = best;
        m[i] = best > old ? best : old;
        /* -inf - -inf would be NaN: a row that saw only -inf so far keeps weight 0 */
        float finite = m[i] > -FLT_MAX ? m[i] : -FLT_MAX;
        c->alpha[i] = (old - finite) * t->scale_log2;
    }
    for (int i = 0; i < c->n_rows; i += 16) {
        int n = c->n_rows - i < 16 ? c->n_rows - i : 16;
        v_store_part(c->alpha + i, v_exp2(v_load_part(c->alpha + i, n)), n);
    }
    for (int i = 0; i < c->n_rows; i++) {
        int row = c->rows[i];
        float finite = m[i] > -FLT_MAX ? m[i] : -FLT_MAX;
        float sum = row_exp(c->s + i * c->s_stride, c->keys->n, finite, t->scale_log2);
        t->l[row] = t->l[row] * c->alpha[i] + sum;
        t->m[row] = m[i];
    }
}

/* The rows' queries side by side: where they already are, or copied. */
static const float *gather(const attend_tile *t, const int32_t *rows, int n, float *scratch) {
    int consecutive = 1;
    for (int i = 1; i < n; i++) consecutive &= rows[i] == rows[0] + i;
    if (consecutive) return t->q + (int64_t)rows[0] * t->dim;
    for (int i = 0; i < n; i++)
        memcpy(scratch + (int64_t)i * t->dim, t->q + (int64_t)rows[i] * t->dim,
               (size_t)t->dim * sizeof(float));
    return scratch;
}

void SIMD_NAME(attend_block)(const attend_tile *tile, const int32_t *rows, int n_rows,
                             const attend_keys *keys, float *block_max) {
    static void (*const scores[])(const chunk *) = {scores_f32, scores_f16, scores_bf16};
    static void (*const values[])(const chunk *) = {values_f32, values_f16, values_bf16};
    float *queries = tile->scratch;
    chunk c = {.tile = tile, .keys = keys};
    c.s = queries + (ATTEND_CHUNK + 8) * tile->dim;
    c.s_stride = (keys->n + 15) / 16 * 16 + 16; /* off the powers of two: rows would share a set */
    for (int first = 0; first < n_rows; first += CHUNK) {
        c.rows = rows + first;
        c.n_rows = n_rows - first < CHUNK ? n_rows - first : CHUNK;
        c.q = gather(tile, c.rows, c.n_rows, queries);
        scores[keys->k_dtype](&c);
        softmax(&c, block_max ? block_max + first : NULL);
        values[keys->v_dtype](&c);
    }
}
