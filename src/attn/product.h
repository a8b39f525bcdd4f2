/* product.h: the matrix products the gradients are made of, by the register tile of tile.h: at the
 * end of this file. For kernel files that use all three.
 *
 *   out[i][:] = or += sum over k of a(i, k) * b[k][:] */
#ifndef MSA_ATTN_PRODUCT_H
#define MSA_ATTN_PRODUCT_H

#include "attn/kernels.h"
#include "attn/tile.h"

typedef struct product {
    int n_rows, n_k, n_panels; /* panels of 16 columns */
    const float *a;            /* up to three more rows are read behind n_rows */
    int64_t a_stride;
    const float *b; /* element (k, panel) at k * b_step + panel * b_panel */
    int64_t b_step, b_panel;
    float *out; /* rows out_stride apart */
    int64_t out_stride;
    float *const *out_rows; /* PRODUCT_SCATTER: where the rows of out are */
} product;

enum { PRODUCT_STORE, PRODUCT_ADD, PRODUCT_SCATTER };

SIMD_INLINE void product_tile(const product *p, int row, int rows, int panels, int first,
                              int transposed, int kind) {
    const float *b = p->b + first * p->b_panel;
    const float *a = p->a + (transposed ? row : row * p->a_stride);
    tile_ahead ahead = {b + panels * p->b_panel, p->b_step * (int64_t)sizeof(float)};
    vf acc[16];
    tile_product_of(rows, panels, p->n_k, a, transposed ? 1 : p->a_stride,
                    transposed ? p->a_stride : 1, b, MSA_F32, p->b_step, p->b_panel, v_zero(), 0,
                    ahead, acc);
    SIMD_UNROLL
    for (int i = 0; i < rows; i++) {
        if (row + i >= p->n_rows) return;
        float *out = kind == PRODUCT_SCATTER ? p->out_rows[row + i] + first * 16
                                             : p->out + (row + i) * p->out_stride + first * 16;
        SIMD_UNROLL
        for (int x = 0; x < panels; x++) {
            vf sum = acc[i * panels + x];
            if (kind != PRODUCT_STORE) sum = v_add(v_load(out + x * 16), sum);
            v_store(out + x * 16, sum);
        }
    }
}

/* Tiles of `rows` rows from `row` on while they are needed, against all panels, `panels` at a time:
 * a panel is read once for all tiles. What is left of the panels goes one by one. */
SIMD_INLINE void product_tiles(const product *p, int row, int end, int rows, int panels,
                               int transposed, int kind) {
    int x = 0;
    for (; x + panels <= p->n_panels; x += panels)
        for (int i = row; i < end; i += rows) product_tile(p, i, rows, panels, x, transposed, kind);
    for (; panels > 1 && x < p->n_panels; x++)
        for (int i = row; i < end; i += rows) product_tile(p, i, rows, 1, x, transposed, kind);
}

/* A rest of at most four rows in a tile of four, then the full tiles. `transposed` and `kind` must
 * be constants. */
SIMD_INLINE void product_run(const product *p, int transposed, int kind) {
    int full = p->n_rows;
    int rest = p->n_rows % TILE_ROWS;
    if (TILE_ROWS > 4 && rest > 0 && rest <= 4) {
        full = p->n_rows - rest;
        product_tiles(p, full, p->n_rows, 4, TILE_REST, transposed, kind);
    }
    product_tiles(p, 0, full, TILE_ROWS, TILE_PANELS, transposed, kind);
}

/* out[row][key] = rows[row] . key, keys in panels. Rows are `stride` apart, those of out
 * GRAD_S_STRIDE. */
static void product_scores(const float *rows, int n_rows, int dim, int stride, const float *panels,
                           int n_keys, float *out) {
    product p = {.n_rows = n_rows, .n_k = dim, .n_panels = (n_keys + 15) / 16};
    p.a = rows, p.a_stride = stride;
    p.b = panels, p.b_step = 16, p.b_panel = (int64_t)dim * 16;
    p.out = out, p.out_stride = GRAD_S_STRIDE;
    product_run(&p, 0, PRODUCT_STORE);
}

/* out[key] += sum over rows of weights[row][key] * rows[row]: the weights are read transposed,
 * where they lie. */
static void product_to_keys(const float *weights, const float *rows, int n_rows, int dim,
                            int stride, int n_keys, float *out) {
    product p = {.n_rows = n_keys, .n_k = n_rows, .n_panels = (dim + 15) / 16};
    p.a = weights, p.a_stride = GRAD_S_STRIDE;
    p.b = rows, p.b_step = stride, p.b_panel = 16;
    p.out = out, p.out_stride = stride;
    product_run(&p, 1, PRODUCT_ADD);
}

/* out[row] += sum over keys of weights[row][key] * key, keys in rows; rows of out lie anywhere. */
static void product_to_rows(const float *weights, int n_rows, int dim, int stride,
                            const float *k_rows, int n_keys, float *const *out) {
    product p = {.n_rows = n_rows, .n_k = n_keys, .n_panels = (dim + 15) / 16};
    p.a = weights, p.a_stride = GRAD_S_STRIDE;
    p.b = k_rows, p.b_step = stride, p.b_panel = 16;
    p.out_rows = out;
    product_run(&p, 0, PRODUCT_SCATTER);
}

#endif
