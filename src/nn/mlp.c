/* mlp.c: see mlp.h. */
#include "nn/mlp.h"

#include "msa/msa.h"

extern mlp_swiglu_fn mlp_swiglu_scalar, mlp_swiglu_avx2, mlp_swiglu_avx512, mlp_swiglu_neon;

static mlp_swiglu_fn *const TABLE[MSA_ISA_COUNT] = {
    [MSA_ISA_SCALAR] = mlp_swiglu_scalar,
#if defined(__x86_64__)
    [MSA_ISA_AVX2] = mlp_swiglu_avx2,
    [MSA_ISA_AVX512] = mlp_swiglu_avx512,
#elif defined(__aarch64__)
    [MSA_ISA_NEON] = mlp_swiglu_neon,
#endif
};

enum { PIECE = 1 << 13 }; /* a multiple of 16: a cut never moves an element to another lane */

void mlp_swiglu(const float *gate, const float *up, float *y, int64_t n, int n_threads) {
    mlp_swiglu_fn *kernel = TABLE[msa_isa_current()];
    if (n_threads == 1 || n <= 2 * PIECE) {
        kernel(gate, up, y, n);
        return;
    }
#pragma omp parallel for num_threads(n_threads)
    for (int64_t i = 0; i < n; i += PIECE)
        kernel(gate + i, up + i, y + i, n - i < PIECE ? n - i : PIECE);
}
