/* router_ref.c: the router by its definition. */
#include <math.h>
#include <stdbool.h>

#include "nn/router.h"

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static bool is_among(const int32_t *ids, int32_t n, int32_t e) {
    for (int32_t i = 0; i < n; i++)
        if (ids[i] == e) return true;
    return false;
}

/* The best of those not yet chosen; the first of equals, and of NaN alone. */
static int32_t next_best(const router_rows *rows, const float *logits, const int32_t *ids,
                         int32_t n) {
    int32_t best = -1;
    float best_score = 0;
    for (int32_t e = 0; e < rows->n_experts; e++) {
        float s = (float)sigmoid(logits[e]) + (rows->bias ? rows->bias[e] : 0);
        if (isnan(s)) s = -INFINITY;
        if (is_among(ids, n, e)) continue;
        if (best >= 0 && s <= best_score) continue;
        best = e;
        best_score = s;
    }
    return best;
}

void router_choose_ref(const router_rows *rows, int32_t *ids, double *weights) {
    for (int64_t t = 0; t < rows->n_tokens; t++, ids += rows->n_used, weights += rows->n_used) {
        const float *logits = rows->logits + t * rows->n_experts;
        double sum = 0;
        for (int32_t i = 0; i < rows->n_used; i++) {
            ids[i] = next_best(rows, logits, ids, i);
            sum += sigmoid(logits[ids[i]]);
        }
        for (int32_t i = 0; i < rows->n_used; i++)
            weights[i] = rows->scale * sigmoid(logits[ids[i]]) / sum;
    }
}

/* The chain rule link by link: weight_i = scale s_i / sum, s_j = sigmoid(logit_j). */
void router_grad_ref(const router_rows *rows, const int32_t *ids, const double *dweights,
                     double *dlogits) {
    for (int64_t t = 0; t < rows->n_tokens; t++, ids += rows->n_used, dweights += rows->n_used) {
        const float *logits = rows->logits + t * rows->n_experts;
        double *out = dlogits + t * rows->n_experts, sum = 0;
        for (int32_t e = 0; e < rows->n_experts; e++) out[e] = 0;
        for (int32_t i = 0; i < rows->n_used; i++) sum += sigmoid(logits[ids[i]]);
        for (int32_t j = 0; j < rows->n_used; j++) {
            double s = sigmoid(logits[ids[j]]), ds = 0;
            for (int32_t i = 0; i < rows->n_used; i++) {
                double by_own = i == j ? 1 / sum : 0;
                double by_sum = -sigmoid(logits[ids[i]]) / (sum * sum);
                ds += rows->scale * dweights[i] * (by_own + by_sum);
            }
            out[ids[j]] = ds * s * (1 - s);
        }
    }
}
