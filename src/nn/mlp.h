/* mlp.h: the gate of a feed-forward layer; the projections around it are gemm.h's or linear.h's.
 *
 *   SwiGLU      y = silu(gate) * up, silu(g) = g / (1 + e^-g)
 *   SwiGLU-OAI  y = (u + 1) * g / (1 + e^-(alpha g)), g = min(gate, limit),
 *               u = up clamped to -limit .. limit: MiniMax-M3, GPT-OSS
 *
 * Backward, given dy: the derivatives by gate and by up; where a clamp cut (gate > limit, |up| >
 * limit) the derivative is zero, on the limit itself it passes, as PyTorch's clamp has it.
 *
 * Relative error within 1e-6 of the reference where the result is a normal f32, for SwiGLU-OAI
 * within 1e-6 + 1e-7 |alpha g|, which is rounded before it is an exponent; of a derivative
 * within 2e-6 of the greatest of the products it is a sum of. NaN in, NaN out. The same bits for
 * any number of threads. */
#ifndef MSA_NN_MLP_H
#define MSA_NN_MLP_H

#include <stdint.h>

typedef struct mlp_oai {
    float alpha, limit; /* MiniMax-M3: 1.702, 7; limit > 0, alpha > 0 */
} mlp_oai;

/* y[i] for i < n; y may be gate or up. */
void mlp_swiglu(const float *gate, const float *up, float *y, int64_t n, int n_threads);
void mlp_swiglu_oai(const mlp_oai *oai, const float *gate, const float *up, float *y, int64_t n,
                    int n_threads);

/* dgate[i] and dup[i] for i < n; either may be gate, up or dy. */
void mlp_swiglu_grad(const float *gate, const float *up, const float *dy, float *dgate, float *dup,
                     int64_t n, int n_threads);
void mlp_swiglu_oai_grad(const mlp_oai *oai, const float *gate, const float *up, const float *dy,
                         float *dgate, float *dup, int64_t n, int n_threads);

/* The kernels of one instruction set. */
typedef void mlp_swiglu_fn(const float *gate, const float *up, float *y, int64_t n);
typedef void mlp_swiglu_oai_fn(const mlp_oai *oai, const float *gate, const float *up, float *y,
                               int64_t n);
typedef void mlp_swiglu_grad_fn(const float *gate, const float *up, const float *dy, float *dgate,
                                float *dup, int64_t n);
typedef void mlp_swiglu_oai_grad_fn(const mlp_oai *oai, const float *gate, const float *up,
                                    const float *dy, float *dgate, float *dup, int64_t n);

/* The definitions, in double, rounded to f32 at the end. */
void mlp_swiglu_ref(const float *gate, const float *up, float *y, int64_t n);
void mlp_swiglu_oai_ref(const mlp_oai *oai, const float *gate, const float *up, float *y,
                        int64_t n);
void mlp_swiglu_grad_ref(const float *gate, const float *up, const float *dy, float *dgate,
                         float *dup, int64_t n);
void mlp_swiglu_oai_grad_ref(const mlp_oai *oai, const float *gate, const float *up,
                             const float *dy, float *dgate, float *dup, int64_t n);

#endif
