/* linear.h: the products of a linear layer whose weights are being trained, and of its gradients;
 * all f32, sums included:
 *
 *   linear_y    y[n_rows][n_out] = x[n_rows][n_in] . W[n_out][n_in]^T
 *   linear_dx   dx = dy . W
 *   linear_dw   dW += dy^T . x
 *
 * Each describes one product; linear_run does several at once, which keeps the threads busy where
 * single ones are small (Q, K and V; the experts of a layer). Through BLAS, cut into tiles by shape
 * and not by threads: the same bits for any number of threads. NaN in, NaN out. The error of an
 * element is that of a plain f32 sum: within 1e-6 sqrt(k) of the sum of |products|. */
#ifndef MSA_NN_LINEAR_H
#define MSA_NN_LINEAR_H

#include <stdbool.h>
#include <stdint.h>

typedef struct linear_shape {
    int64_t n_rows, n_in, n_out;
} linear_shape;

/* c[m][n] = the sum of k products; strides in floats from row to row, below 2^31. */
typedef struct linear_product {
    const float *a, *b;
    float *c;
    int64_t m, n, k, a_stride, b_stride, c_stride;
    bool a_transposed; /* a is [k][m], not [m][k] */
    bool b_transposed; /* b is [n][k], not [k][n] */
    bool add;          /* to what lies in c */
} linear_product;

/* Arrays without gaps; change the strides, or add, afterwards where they have some. */
linear_product linear_y(linear_shape shape, const float *x, const float *w, float *y);
linear_product linear_dx(linear_shape shape, const float *dy, const float *w, float *dx);
linear_product linear_dw(linear_shape shape, const float *dy, const float *x, float *dw);

/* The results must overlap neither each other nor anything that is read: gradients that add up in
 * one array take a call each. */
void linear_run(const linear_product *products, int n_products, int n_threads);

/* The definition, in double, rounded to f32 at the end. */
void linear_ref(const linear_product *product);

#endif
