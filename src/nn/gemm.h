/* gemm.h: activations times stored weights: y[n_rows, n_out] = x[n_rows, n_in] . W[n_out, n_in]^T
 * (+ bias), f32 activations, results and sums; W in any format of quant.h.
 *
 * Few rows (up to GEMM_FEW_ROWS: decoding, short feeds) go through the fused kernel, which reads
 * each weight once from where it lies; a row's result depends on that row alone. Many rows go
 * through BLAS, a tile of weights at a time, widened into the workspace and never all at once.
 * Both cut the work by shape and not by threads: the same bits for any number of them. */
#ifndef MSA_NN_GEMM_H
#define MSA_NN_GEMM_H

#include <stddef.h>
#include <stdint.h>

/* Where BLAS, which widens and packs the weights first, catches up: measured at about 64 rows with
 * AVX-512 and 16 with AVX2. */
enum { GEMM_FEW_ROWS = 16 };

/* Weights where the file or their owner has them. */
typedef struct gemm_weight {
    const void *data; /* [n_out] rows, row_bytes apart; F32, F16, BF16 naturally aligned */
    uint32_t type;    /* a supported type of quant.h */
    int64_t n_out, n_in;
    size_t row_bytes;
} gemm_weight;

/* One product of several that share x. */
typedef struct gemm_target {
    const gemm_weight *w;
    const float *bias; /* [n_out], or NULL */
    float *y;          /* [n_rows][n_out], y_stride floats from row to row; must not overlap x */
    int64_t y_stride;
} gemm_target;

typedef struct gemm_input {
    const float *x; /* [n_rows][n_in], x_stride floats from row to row */
    int64_t x_stride, n_rows;
} gemm_input;

/* Floats of workspace gemm_run needs for weights of up to n_in columns: 0 for few rows. */
size_t gemm_workspace_floats(int64_t n_rows, int64_t n_in, int n_threads);

/* All targets, whose weights have the same n_in, in one go: one split over the threads instead of
 * one each. workspace: gemm_workspace_floats floats, or NULL where that is 0. n_threads >= 1. */
void gemm_run(const gemm_input *in, const gemm_target *targets, int n_targets, int n_threads,
              float *workspace);

/* The definition of one target, in double, rounded to f32 at the end. */
void gemm_ref(const gemm_input *in, const gemm_target *target);

#endif
