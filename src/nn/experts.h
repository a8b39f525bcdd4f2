/* experts.h: tokens to their experts and back. The rows that meet one expert lie together, so that
 * its product is an ordinary one (gemm.h, linear.h) over rows start[e]..start[e + 1]:
 *
 *   experts_group    sorts the choices by expert, tokens ascending within one: a counting sort
 *   experts_gather   rows[r] = x[token of r]
 *   experts_combine  y[t] += sum over the choices of t, in their order, of weight * rows[row of it]
 *
 * and backward experts_combine_grad, then experts_gather_grad. Every sum has one owner and a fixed
 * order: the same bits for any number of threads. NaN in, NaN out, in the token it belongs to. */
#ifndef MSA_NN_EXPERTS_H
#define MSA_NN_EXPERTS_H

#include <stddef.h>
#include <stdint.h>

typedef struct experts_groups {
    int64_t n_tokens;
    int32_t n_experts, n_used;
    int32_t *start;  /* [n_experts + 1]: rows of expert e are start[e] .. start[e + 1] - 1 */
    int32_t *choice; /* [n_tokens * n_used]: row -> token * n_used + slot */
    int32_t *row;    /* [n_tokens * n_used]: token * n_used + slot -> row */
} experts_groups;

/* Numbers of memory that experts_group needs. n_tokens * n_used < 2^31. */
static inline size_t experts_ints(int64_t n_tokens, int32_t n_used, int32_t n_experts) {
    return (size_t)n_experts + 1 + 2 * (size_t)n_tokens * (size_t)n_used;
}

/* ids[n_tokens][n_used] in 0 .. n_experts - 1. The groups point into memory, experts_ints numbers,
 * the caller's. */
void experts_group(const int32_t *ids, int64_t n_tokens, int32_t n_used, int32_t n_experts,
                   int32_t *memory, experts_groups *out);

static inline int64_t experts_rows(const experts_groups *g, int32_t expert) {
    return g->start[expert + 1] - g->start[expert];
}

/* rows[n_tokens * n_used][n] from x[n_tokens][n]. */
void experts_gather(const experts_groups *g, const float *x, int64_t n, float *rows, int n_threads);

/* Adds to y[n_tokens][n]: what a shared expert gave may already lie there. weights[n_tokens *
 * n_used], or NULL for ones. */
void experts_combine(const experts_groups *g, const float *rows, const float *weights, int64_t n,
                     float *y, int n_threads);

/* Of experts_combine: drows[r] = weight * dy[token of r], dweights = rows[r] . dy[token of r].
 * drows may be rows. The scalar product is within 1e-5 of sum |rows dy|. */
void experts_combine_grad(const experts_groups *g, const float *rows, const float *weights,
                          const float *dy, int64_t n, float *drows, float *dweights, int n_threads);

/* Of experts_gather: dx[t] += sum over the choices of t of drows: experts_combine without weights.
 */
void experts_gather_grad(const experts_groups *g, const float *drows, int64_t n, float *dx,
                         int n_threads);

/* The kernels of one instruction set. One token: y[n] += sum of weights[i] * rows[row[i]]. */
typedef void experts_combine_fn(const float *rows, const int32_t *row, const float *weights,
                                int32_t n_used, int64_t n, float *y);
/* One row: drow = weight * dy, and returns row . dy. */
typedef float experts_combine_grad_fn(const float *row, float weight, const float *dy, int64_t n,
                                      float *drow);

/* The definitions, from the ids, in double, rounded at the end; drows is not rows. */
void experts_combine_ref(const experts_groups *g, const float *rows, const float *weights,
                         int64_t n, float *y);
void experts_combine_grad_ref(const experts_groups *g, const float *rows, const float *weights,
                              const float *dy, int64_t n, float *drows, float *dweights);

#endif
