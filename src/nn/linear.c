/* linear.c: see linear.h.
 *
 * As in gemm.c, each tile is one single-threaded sgemm from inside our parallel region: its bits
 * depend on its shape alone, and two pools of threads never fight. Tiles are as large as leaves
 * some for every thread, since each packs its own share of a and b. */
#include "nn/linear.h"

#include <cblas.h>
#include <omp.h>

enum { TILE_M = 512, TILE_N = 512, MIN_TILE = 64, WANTED_TILES = 4 };

typedef struct tiling {
    int64_t m, n;     /* of a tile */
    int64_t n_across; /* tiles side by side */
    int64_t n_tiles;
} tiling;

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Pieces of equal width, a multiple of 16, none wider than most. */
static int64_t even_width(int64_t n, int64_t most) {
    return ceil_div(ceil_div(n, ceil_div(n, most)), 16) * 16;
}

static tiling cut(const linear_product *p) {
    int64_t most_m = TILE_M, most_n = TILE_N;
    tiling t = {0};
    if (p->m < 1 || p->n < 1) return t;
    for (;;) {
        t.m = even_width(p->m, most_m);
        t.n = even_width(p->n, most_n);
        t.n_across = ceil_div(p->n, t.n);
        t.n_tiles = t.n_across * ceil_div(p->m, t.m);
        if (t.n_tiles >= WANTED_TILES || (t.m <= MIN_TILE && t.n <= MIN_TILE)) return t;
        if (t.m >= t.n)
            most_m = t.m / 2;
        else
            most_n = t.n / 2;
    }
}

static void run_tile(const linear_product *p, const tiling *t, int64_t tile) {
    int64_t i = tile / t->n_across * t->m, j = tile % t->n_across * t->n;
    int64_t m = p->m - i < t->m ? p->m - i : t->m, n = p->n - j < t->n ? p->n - j : t->n;
    cblas_sgemm(CblasRowMajor, p->a_transposed ? CblasTrans : CblasNoTrans,
                p->b_transposed ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)p->k, 1,
                p->a + (p->a_transposed ? i : i * p->a_stride), (int)p->a_stride,
                p->b + (p->b_transposed ? j * p->b_stride : j), (int)p->b_stride, p->add ? 1 : 0,
                p->c + i * p->c_stride + j, (int)p->c_stride);
}

/* Tile i of all: tiles are numbered through, product after product. */
static void run_numbered_tile(const linear_product *products, int64_t i) {
    for (;; products++) {
        tiling t = cut(products);
        if (i < t.n_tiles) {
            run_tile(products, &t, i);
            return;
        }
        i -= t.n_tiles;
    }
}

void linear_run(const linear_product *products, int n_products, int n_threads) {
    int64_t n = 0;
    for (int i = 0; i < n_products; i++) n += cut(&products[i]).n_tiles;
#pragma omp parallel num_threads(n_threads)
    {
        /* Tells BLAS to keep to the calling thread in a team of one too; ends with the region. */
        omp_set_num_threads(1);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n; i++) run_numbered_tile(products, i);
    }
}

linear_product linear_y(linear_shape s, const float *x, const float *w, float *y) {
    return (linear_product){.a = x,
                            .b = w,
                            .c = y,
                            .m = s.n_rows,
                            .n = s.n_out,
                            .k = s.n_in,
                            .a_stride = s.n_in,
                            .b_stride = s.n_in,
                            .c_stride = s.n_out,
                            .b_transposed = true};
}

linear_product linear_dx(linear_shape s, const float *dy, const float *w, float *dx) {
    return (linear_product){.a = dy,
                            .b = w,
                            .c = dx,
                            .m = s.n_rows,
                            .n = s.n_in,
                            .k = s.n_out,
                            .a_stride = s.n_out,
                            .b_stride = s.n_in,
                            .c_stride = s.n_in};
}

linear_product linear_dw(linear_shape s, const float *dy, const float *x, float *dw) {
    return (linear_product){.a = dy,
                            .b = x,
                            .c = dw,
                            .m = s.n_out,
                            .n = s.n_in,
                            .k = s.n_rows,
                            .a_stride = s.n_out,
                            .b_stride = s.n_in,
                            .c_stride = s.n_in,
                            .a_transposed = true,
                            .add = true};
}
