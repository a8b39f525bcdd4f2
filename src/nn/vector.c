/* vector.c: see vector.h. Memory bounds all of it: loops that the compiler turns into vectors. */
#include "nn/vector.h"

enum { MIN_FLOATS = 1 << 16, PIECES = 64, LANES = 8 }; /* worth waking other threads for */

void vector_add(float *restrict y, const float *restrict x, int64_t n, int n_threads) {
#pragma omp parallel for simd num_threads(n_threads) if (n_threads > 1 && n >= MIN_FLOATS)
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

void vector_scale(float *x, float factor, int64_t n, int n_threads) {
#pragma omp parallel for simd num_threads(n_threads) if (n_threads > 1 && n >= MIN_FLOATS)
    for (int64_t i = 0; i < n; i++) x[i] *= factor;
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
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && n >= MIN_FLOATS)
    for (int p = 0; p < PIECES; p++) {
        int64_t from = p * width, to = from + width < n ? from + width : n;
        if (from < to) part[p] = sum_piece(x + from, to - from);
    }
    for (int p = 0; p < PIECES; p++) sum += part[p];
    return sum;
}
