/* norm.c: see norm.h. */
#include "nn/norm.h"

#include "msa/msa.h"

extern norm_rms_fn norm_rms_scalar, norm_rms_avx2, norm_rms_avx512, norm_rms_neon;

static norm_rms_fn *const TABLE[MSA_ISA_COUNT] = {
    [MSA_ISA_SCALAR] = norm_rms_scalar,
#if defined(__x86_64__)
    [MSA_ISA_AVX2] = norm_rms_avx2,
    [MSA_ISA_AVX512] = norm_rms_avx512,
#elif defined(__aarch64__)
    [MSA_ISA_NEON] = norm_rms_neon,
#endif
};

enum { MIN_FLOATS = 1 << 15, ROWS = 16 }; /* worth waking other threads for; rows per piece */

void norm_rms(const norm_rows *rows, int n_threads) {
    norm_rms_fn *kernel = TABLE[msa_isa_current()];
    if (n_threads == 1 || rows->n_rows * rows->n < MIN_FLOATS) {
        kernel(rows, 0, rows->n_rows);
        return;
    }
#pragma omp parallel for num_threads(n_threads)
    for (int64_t r = 0; r < rows->n_rows; r += ROWS)
        kernel(rows, r, rows->n_rows - r < ROWS ? rows->n_rows : r + ROWS);
}
