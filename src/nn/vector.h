/* vector.h: plain work on long arrays. The same bits for any number of threads. */
#ifndef MSA_NN_VECTOR_H
#define MSA_NN_VECTOR_H

#include <stdint.h>

/* y[i] += x[i]; no overlap. */
void vector_add(float *y, const float *x, int64_t n, int n_threads);
/* x[i] *= factor */
void vector_scale(float *x, float factor, int64_t n, int n_threads);
/* The sum of x[i]^2 in double, over pieces cut by n, then over the pieces in order. NaN or infinity
 * where x holds one. */
double vector_sum_squares(const float *x, int64_t n, int n_threads);

#endif
