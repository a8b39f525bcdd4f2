/* mlp.c: see mlp.h. */
#include "nn/mlp.h"

#include "nn/kernels.h"

enum { PIECE = 1 << 13 }; /* a multiple of 16: a cut never moves an element to another lane */

static int64_t piece_at(int64_t i, int64_t n) {
    return n - i < PIECE ? n - i : PIECE;
}

void mlp_swiglu(const float *gate, const float *up, float *y, int64_t n, int n_threads) {
    mlp_swiglu_fn *kernel = nn_kernels_get()->mlp_swiglu;
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && n > 2 * PIECE)
    for (int64_t i = 0; i < n; i += PIECE) kernel(gate + i, up + i, y + i, piece_at(i, n));
}

void mlp_swiglu_oai(const mlp_oai *oai, const float *gate, const float *up, float *y, int64_t n,
                    int n_threads) {
    mlp_swiglu_oai_fn *kernel = nn_kernels_get()->mlp_swiglu_oai;
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && n > 2 * PIECE)
    for (int64_t i = 0; i < n; i += PIECE) kernel(oai, gate + i, up + i, y + i, piece_at(i, n));
}

void mlp_swiglu_grad(const float *gate, const float *up, const float *dy, float *dgate, float *dup,
                     int64_t n, int n_threads) {
    mlp_swiglu_grad_fn *kernel = nn_kernels_get()->mlp_swiglu_grad;
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && n > 2 * PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        kernel(gate + i, up + i, dy + i, dgate + i, dup + i, piece_at(i, n));
}

void mlp_swiglu_oai_grad(const mlp_oai *oai, const float *gate, const float *up, const float *dy,
                         float *dgate, float *dup, int64_t n, int n_threads) {
    mlp_swiglu_oai_grad_fn *kernel = nn_kernels_get()->mlp_swiglu_oai_grad;
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && n > 2 * PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        kernel(oai, gate + i, up + i, dy + i, dgate + i, dup + i, piece_at(i, n));
}
