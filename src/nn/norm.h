/* norm.h: RMSNorm, row by row: y = x / sqrt(mean(x^2) + eps) * w, or * (1 + w) as Gemma and
 * MiniMax-M3 write it (their GGUF files have the 1 added already: do not add it again).
 *
 * Rows of a layer's width, or of one head for the norm of Q and K: [tokens][heads * d] without gaps
 * is tokens * heads rows of d. f32 throughout; the error against the reference is within 2e-6 of a
 * row's largest |y|. The same bits for any number of threads. */
#ifndef MSA_NN_NORM_H
#define MSA_NN_NORM_H

#include <stdint.h>

typedef struct norm_rows {
    const float *x; /* [n_rows][n], x_stride floats from row to row */
    float *y;       /* the same shape, y_stride apart; may be x */
    int64_t x_stride, y_stride, n_rows, n;
    const float *w; /* [n] */
    float eps;
    int plus_one; /* 1: multiply by 1 + w */
} norm_rows;

void norm_rms(const norm_rows *rows, int n_threads);

/* Rows from..to; the kernel of one instruction set. */
typedef void norm_rms_fn(const norm_rows *rows, int64_t from, int64_t to);

/* The definition, in double, rounded to f32 at the end. */
void norm_rms_ref(const norm_rows *rows);

#endif
