/* router.c: see router.h.
 *
 * A hundred sigmoids of a token stand beside experts of millions of multiplications each: plain
 * code in double, the same on every instruction set, costs nothing that shows. */
#include "nn/router.h"

#include <math.h>
#include <stdbool.h>

enum { TOKENS = 16 }; /* per piece of work */

/* Not zero for any finite x, so that sums of it can be divided by. */
static double sigmoid(double x) {
    return 1 / (1 + exp(x < -700 ? 700 : -x));
}

/* What the choice goes by; NaN below everything. */
static float choice_score(const router_rows *rows, const float *logits, int32_t e) {
    float s = (float)sigmoid(logits[e]);
    if (rows->bias) s += rows->bias[e];
    return isnan(s) ? -INFINITY : s;
}

static bool has_nan(const router_rows *rows, const float *logits) {
    bool found = false;
    for (int32_t e = 0; e < rows->n_experts; e++)
        found |= isnan(logits[e]) || (rows->bias && isnan(rows->bias[e]));
    return found;
}

/* Insertion into a list that is kept sorted; experts come in ascending order, so an equal one stays
 * behind. Slots not yet filled have no expert. */
static void choose_best(const router_rows *rows, const float *logits, int32_t *ids) {
    float best[ROUTER_MAX_USED];
    int32_t n = 0;
    for (int32_t e = 0; e < rows->n_experts; e++) {
        float s = choice_score(rows, logits, e);
        if (n == rows->n_used && !(s > best[n - 1])) continue;
        int32_t at = n < rows->n_used ? n++ : n - 1;
        for (; at > 0 && s > best[at - 1]; at--) {
            best[at] = best[at - 1];
            ids[at] = ids[at - 1];
        }
        best[at] = s;
        ids[at] = e;
    }
}

static void choose_token(const router_rows *rows, const float *logits, int32_t *ids,
                         float *weights) {
    choose_best(rows, logits, ids);
    double s[ROUTER_MAX_USED], sum = 0;
    for (int32_t i = 0; i < rows->n_used; i++) sum += s[i] = sigmoid(logits[ids[i]]);
    if (has_nan(rows, logits)) sum = NAN;
    for (int32_t i = 0; i < rows->n_used; i++) weights[i] = (float)(rows->scale * (s[i] / sum));
}

void router_choose(const router_rows *rows, int32_t *ids, float *weights, int n_threads) {
#pragma omp parallel for schedule(static, TOKENS) num_threads(n_threads) if (n_threads > 1)
    for (int64_t t = 0; t < rows->n_tokens; t++)
        choose_token(rows, rows->logits + t * rows->n_experts, ids + t * rows->n_used,
                     weights + t * rows->n_used);
}

/* With p_i = s_i / sum: d p_i / d s_j = ((i == j) - p_i) / sum, and d s / d logit = s (1 - s). */
static void grad_token(const router_rows *rows, const float *logits, const int32_t *ids,
                       const float *dweights, float *dlogits) {
    double s[ROUTER_MAX_USED], sum = 0, mean = 0;
    for (int32_t i = 0; i < rows->n_used; i++) sum += s[i] = sigmoid(logits[ids[i]]);
    for (int32_t i = 0; i < rows->n_used; i++) mean += s[i] / sum * dweights[i];
    if (has_nan(rows, logits)) mean = NAN;
    for (int32_t e = 0; e < rows->n_experts; e++) dlogits[e] = 0;
    for (int32_t i = 0; i < rows->n_used; i++) {
        double share = s[i] / sum * (1 - s[i]);
        dlogits[ids[i]] = (float)(rows->scale * share * (dweights[i] - mean));
    }
}

void router_grad(const router_rows *rows, const int32_t *ids, const float *dweights, float *dlogits,
                 int n_threads) {
#pragma omp parallel for schedule(static, TOKENS) num_threads(n_threads) if (n_threads > 1)
    for (int64_t t = 0; t < rows->n_tokens; t++)
        grad_token(rows, rows->logits + t * rows->n_experts, ids + t * rows->n_used,
                   dweights + t * rows->n_used, dlogits + t * rows->n_experts);
}
