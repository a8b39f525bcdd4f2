/* gemm.c: see gemm.h.
 *
 * BLAS is called from inside our parallel region, one single-threaded sgemm per tile, rather than
 * as one sgemm with its own threads: the widening of the next tile then runs beside the products
 * of others, a tile's bits can't depend on the number of threads, and two pools never fight. */
#include "nn/gemm.h"

#include <cblas.h>
#include <omp.h>

#include "nn/quant.h"

enum {
    FEW_STRIP = 32,  /* outputs a thread takes at a time, few rows */
    TILE_OUT = 96,   /* outputs widened at a time, many rows */
    TILE_ROWS = 512, /* rows that meet them in one sgemm */
    ALIGN_FLOATS = 16
};

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

size_t gemm_workspace_floats(int64_t n_rows, int64_t n_in, int n_threads) {
    if (n_rows <= GEMM_FEW_ROWS) return 0;
    return (size_t)n_threads * TILE_OUT * (size_t)(ceil_div(n_in, ALIGN_FLOATS) * ALIGN_FLOATS);
}

static void add_bias(const gemm_target *t, int64_t row, int64_t n_rows, int64_t out, int64_t n) {
    if (!t->bias) return;
    for (int64_t r = row; r < row + n_rows; r++)
        for (int64_t o = out; o < out + n; o++) t->y[r * t->y_stride + o] += t->bias[o];
}

/* The pieces of all targets, numbered through: which target piece i belongs to; *i becomes its
 * number within. */
static const gemm_target *find_piece(const gemm_target *targets, int64_t *i, int64_t width) {
    for (;; targets++) {
        int64_t n = ceil_div(targets->w->n_out, width);
        if (*i < n) return targets;
        *i -= n;
    }
}

static int64_t count_pieces(const gemm_target *targets, int n_targets, int64_t width) {
    int64_t n = 0;
    for (int i = 0; i < n_targets; i++) n += ceil_div(targets[i].w->n_out, width);
    return n;
}

static void run_strip(const gemm_input *in, const gemm_target *t, int64_t out,
                      const quant_kernels *kernels) {
    const gemm_weight *w = t->w;
    int64_t n = w->n_out - out < FEW_STRIP ? w->n_out - out : FEW_STRIP;
    kernels->dot[w->type](&(quant_product){.w = (const char *)w->data + (size_t)out * w->row_bytes,
                                           .w_stride = w->row_bytes,
                                           .n_out = n,
                                           .n_in = w->n_in,
                                           .x = in->x,
                                           .x_stride = in->x_stride,
                                           .n_rows = (int)in->n_rows,
                                           .y = t->y + out,
                                           .y_stride = t->y_stride});
    add_bias(t, 0, in->n_rows, out, n);
}

/* Rows row.. of x against outputs out.. of one target, through `widened`. */
static void run_tile(const gemm_input *in, const gemm_target *t, int64_t out, int64_t row,
                     const quant_kernels *kernels, float *widened) {
    const gemm_weight *w = t->w;
    int64_t n = w->n_out - out < TILE_OUT ? w->n_out - out : TILE_OUT;
    int64_t n_rows = in->n_rows - row < TILE_ROWS ? in->n_rows - row : TILE_ROWS;
    for (int64_t o = 0; o < n; o++)
        kernels->widen[w->type]((const char *)w->data + (size_t)(out + o) * w->row_bytes, w->n_in,
                                widened + o * w->n_in);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n_rows, (int)n, (int)w->n_in, 1,
                in->x + row * in->x_stride, (int)in->x_stride, widened, (int)w->n_in, 0,
                t->y + row * t->y_stride + out, (int)t->y_stride);
    add_bias(t, row, n_rows, out, n);
}

void gemm_run(const gemm_input *in, const gemm_target *targets, int n_targets, int n_threads,
              float *workspace) {
    const quant_kernels *kernels = quant_kernels_current();
    if (in->n_rows < 1) return;
    if (in->n_rows <= GEMM_FEW_ROWS) {
        int64_t n = count_pieces(targets, n_targets, FEW_STRIP);
#pragma omp parallel for schedule(static) num_threads(n_threads) if (n_threads > 1)
        for (int64_t i = 0; i < n; i++) {
            int64_t piece = i;
            const gemm_target *t = find_piece(targets, &piece, FEW_STRIP);
            run_strip(in, t, piece * FEW_STRIP, kernels);
        }
        return;
    }
    int64_t n_out = count_pieces(targets, n_targets, TILE_OUT);
    int64_t n = n_out * ceil_div(in->n_rows, TILE_ROWS);
    size_t stride = gemm_workspace_floats(in->n_rows, targets->w->n_in, 1);
#pragma omp parallel num_threads(n_threads)
    {
        /* Tells BLAS to keep to the calling thread in a team of one too; ends with the region. */
        omp_set_num_threads(1);
        float *widened = workspace + (size_t)omp_get_thread_num() * stride;
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n; i++) {
            int64_t piece = i % n_out;
            const gemm_target *t = find_piece(targets, &piece, TILE_OUT);
            run_tile(in, t, piece * TILE_OUT, i / n_out * TILE_ROWS, kernels, widened);
        }
    }
}
