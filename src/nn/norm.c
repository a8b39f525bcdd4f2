/* norm.c: see norm.h. */
#include "nn/norm.h"

#include <stdbool.h>

#include "nn/kernels.h"

enum { MIN_FLOATS = 1 << 15, ROWS = 16 }; /* worth waking other threads for; rows per piece */

void norm_rms(const norm_rows *rows, int n_threads) {
    norm_rms_fn *kernel = nn_kernels_get()->norm_rms;
    if (n_threads == 1 || rows->n_rows * rows->n < MIN_FLOATS) {
        kernel(rows, 0, rows->n_rows);
        return;
    }
#pragma omp parallel for num_threads(n_threads)
    for (int64_t r = 0; r < rows->n_rows; r += ROWS)
        kernel(rows, r, rows->n_rows - r < ROWS ? rows->n_rows : r + ROWS);
}

/* At most GRAD_PIECES, each of at least ROWS rows. */
enum { GRAD_PIECES = 64 };

static int64_t rows_of_piece(int64_t n_rows) {
    int64_t n = (n_rows + GRAD_PIECES - 1) / GRAD_PIECES;
    return n < ROWS ? ROWS : n;
}

static int64_t count_pieces(int64_t n_rows) {
    int64_t rows = rows_of_piece(n_rows);
    return (n_rows + rows - 1) / rows;
}

size_t norm_grad_floats(int64_t n_rows, int64_t n) {
    return (size_t)count_pieces(n_rows) * (size_t)n;
}

static void add_parts(const float *parts, int64_t n_parts, int64_t n, float *dw) {
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t p = 0; p < n_parts; p++) sum += parts[p * n + i];
        dw[i] += (float)sum;
    }
}

void norm_rms_grad(const norm_grad *grad, float *workspace, int n_threads) {
    norm_rms_grad_fn *kernel = nn_kernels_get()->norm_rms_grad;
    int64_t n_pieces = count_pieces(grad->n_rows), rows = rows_of_piece(grad->n_rows);
    bool many = n_threads > 1 && grad->n_rows * grad->n >= MIN_FLOATS;
#pragma omp parallel for num_threads(n_threads) if (many)
    for (int64_t p = 0; p < n_pieces; p++) {
        int64_t end = (p + 1) * rows < grad->n_rows ? (p + 1) * rows : grad->n_rows;
        kernel(grad, p * rows, end, grad->dw ? workspace + p * grad->n : NULL);
    }
    if (grad->dw) add_parts(workspace, n_pieces, grad->n, grad->dw);
}
