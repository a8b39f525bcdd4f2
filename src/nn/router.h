/* router.h: which experts a token goes through, and with what weight, as MiniMax-M3 has it.
 *
 *   s_e = sigmoid(logit_e);  chosen: the n_used greatest s_e + bias_e;
 *   weight = scale * s_e / (sum of s over the chosen).
 *
 * The bias balances the load: it takes part in the choice and not in the weights. s and s + bias
 * are rounded to f32 for the choice; ties go to the lower expert, -0 equals +0, and NaN sorts below
 * everything, so that the list always holds n_used different experts. A token with NaN among its
 * logits, or among the biases, gets NaN weights: it is not passed over in silence. Finite logits
 * give finite weights, however small all their sigmoids are. The same bits for any number of
 * threads and on every instruction set. */
#ifndef MSA_NN_ROUTER_H
#define MSA_NN_ROUTER_H

#include <stdint.h>

enum { ROUTER_MAX_USED = 64 };

typedef struct router_rows {
    const float *logits; /* [n_tokens][n_experts] */
    const float *bias;   /* [n_experts], or NULL for zeros */
    int64_t n_tokens;
    int32_t n_experts, n_used; /* 1 <= n_used <= n_experts, n_used <= ROUTER_MAX_USED */
    float scale;
} router_rows;

/* ids[n_tokens][n_used], best first; weights the same shape. */
void router_choose(const router_rows *rows, int32_t *ids, float *weights, int n_threads);

/* dlogits[n_tokens][n_experts] from dweights[n_tokens][n_used] and what router_choose chose:
 * through the sigmoids and their sum; none through the choice, so exact zeros elsewhere. Writes
 * every element. */
void router_grad(const router_rows *rows, const int32_t *ids, const float *dweights, float *dlogits,
                 int n_threads);

/* The definitions, in double: the choice as above by repeated search for the best. */
void router_choose_ref(const router_rows *rows, int32_t *ids, double *weights);
void router_grad_ref(const router_rows *rows, const int32_t *ids, const double *dweights,
                     double *dlogits);

#endif
