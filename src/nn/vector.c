/* vector.c: see vector.h. Memory bounds all of it: loops that the compiler turns into vectors. */
#include "nn/vector.h"

enum { PIECE = 1 << 14, PIECES = 64, LANES = 8 };

static int64_t piece_at(int64_t i, int64_t n) {
    return n - i < PIECE ? n - i : PIECE;
}

/* A function of its own: restrict does not reach into the body of a parallel loop. */
static void add_piece(float *restrict y, const float *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

void vector_add(float *y, const float *x, int64_t n, int n_threads) {
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && n > 2 * PIECE)
    for (int64_t i = 0; i < n; i += PIECE) add_piece(y + i, x + i, piece_at(i, n));
}

static void scale_piece(float *x, float factor, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] *= factor;
}

void vector_scale(float *x, float factor, int64_t n, int n_threads) {
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && n > 2 * PIECE)
    for (int64_t i = 0; i < n; i += PIECE) scale_piece(x + i, factor, piece_at(i, n));
}

static double sum_piece(const float *x, int64_t n) {
    double lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += (double)x[i + l] * x[i + l];
    for (; i < n; i++) sum += (double)x[i] * x[i];
    for (int l = 0; l < LANES; l++) sum += lane[l];
    return sum;
}

double vector_sum_squares(const float *x, int64_t n, int n_threads) {
    double part[PIECES] = {0}, sum = 0;
    int64_t width = (n + PIECES - 1) / PIECES;
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && n > 2 * PIECE)
    for (int p = 0; p < PIECES; p++) {
        int64_t from = p * width, to = from + width < n ? from + width : n;
        if (from < to) part[p] = sum_piece(x + from, to - from);
    }
    for (int p = 0; p < PIECES; p++) sum += part[p];
    return sum;
}
