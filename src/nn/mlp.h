/* mlp.h: the gate of a SwiGLU feed-forward layer: y = silu(gate) * up, silu(g) = g / (1 + e^-g).
 * The projections around it are gemm.h's.
 *
 * Relative error within 1e-6 of the reference where the result is a normal f32. NaN in, NaN out.
 * The same bits for any number of threads. */
#ifndef MSA_NN_MLP_H
#define MSA_NN_MLP_H

#include <stdint.h>

/* y[i] for i < n; y may be gate or up. */
void mlp_swiglu(const float *gate, const float *up, float *y, int64_t n, int n_threads);

/* The kernel of one instruction set. */
typedef void mlp_swiglu_fn(const float *gate, const float *up, float *y, int64_t n);

/* The definition, in double, rounded to f32 at the end. */
void mlp_swiglu_ref(const float *gate, const float *up, float *y, int64_t n);

#endif
