/* norm.h: RMSNorm, row by row: y = x / sqrt(mean(x^2) + eps) * w, or * (1 + w) as Gemma and
 * MiniMax-M3 write it (their GGUF files have the 1 added already: do not add it again).
 *
 * Rows of a layer's width, or of one head for the norm of Q and K: [tokens][heads * d] without gaps
 * is tokens * heads rows of d. f32 throughout; the error against the reference is within 2e-6 of a
 * row's largest |y|. The same bits for any number of threads. */
#ifndef MSA_NN_NORM_H
#define MSA_NN_NORM_H

#include <stddef.h>
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

/* Backward, given dy; with r = 1 / sqrt(mean(x^2) + eps), g = w or 1 + w, z = x r:
 *   dx = r (dy g - z mean(dy g z)),  dw = sum over the rows of dy z.
 * The error of dx is within 4e-6 r of a row's largest |dy g|. dw is added up within pieces of rows
 * cut by their number, then over the pieces in order: the same bits for any number of threads. */
typedef struct norm_grad {
    const float *x, *dy; /* [n_rows][n], x_stride and dy_stride floats from row to row */
    float *dx;           /* the same shape, dx_stride apart; may be dy where add is 0 */
    int64_t x_stride, dy_stride, dx_stride, n_rows, n;
    const float *w; /* [n] */
    float eps;
    int plus_one;
    int add;   /* 1: dx is added to what lies there */
    float *dw; /* [n], added to; NULL where not wanted */
} norm_grad;

/* Floats of workspace for norm_rms_grad. */
size_t norm_grad_floats(int64_t n_rows, int64_t n);

void norm_rms_grad(const norm_grad *grad, float *workspace, int n_threads);

/* Rows from..to; the kernels of one instruction set. That of the gradient writes its rows' part of
 * dw to dw_part[n], unless that is NULL. */
typedef void norm_rms_grad_fn(const norm_grad *grad, int64_t from, int64_t to, float *dw_part);
typedef void norm_rms_fn(const norm_rows *rows, int64_t from, int64_t to);

/* The definitions, in double, rounded to f32 at the end; dw [n], NULL where not wanted, takes the
 * place of grad->dw and stays in double. */
void norm_rms_ref(const norm_rows *rows);
void norm_rms_grad_ref(const norm_grad *grad, double *dw);

#endif
