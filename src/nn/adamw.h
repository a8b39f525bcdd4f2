/* adamw.h: one step of AdamW (Loshchilov and Hutter, arXiv 1711.05101), decay decoupled, as PyTorch
 * has it. With g = grad_scale * gradient:
 *
 *   m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
 *   w = w (1 - lr weight_decay) - lr / (1 - beta1^step) * m / (sqrt(v / (1 - beta2^step)) + eps)
 *
 * f32 states; the factors of a step are computed in double and rounded once. The same bits on every
 * instruction set and for any number of threads. NaN in, NaN out. */
#ifndef MSA_NN_ADAMW_H
#define MSA_NN_ADAMW_H

#include <stdint.h>

typedef struct adamw_step {
    double lr, beta1, beta2, eps, weight_decay;
    int64_t step;      /* the first is 1 */
    double grad_scale; /* what clipping leaves of the gradient; 1 for all of it */
} adamw_step;

/* w, m, v [n] are changed; they and g do not overlap. */
void adamw_run(const adamw_step *step, float *w, const float *g, float *m, float *v, int64_t n,
               int n_threads);

/* The definition, in double throughout. */
void adamw_ref(const adamw_step *step, double *w, const double *g, double *m, double *v, int64_t n);

#endif
