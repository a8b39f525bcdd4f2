/* experts_ref.c: bringing rows back to their tokens by its definition. */
#include "nn/experts.h"

void experts_combine_ref(const experts_groups *g, const float *rows, const float *weights,
                         int64_t n, float *y) {
    int64_t k = g->n_used;
    for (int64_t t = 0; t < g->n_tokens; t++)
        for (int64_t c = 0; c < n; c++) {
            double sum = y[t * n + c];
            for (int64_t i = t * k; i < (t + 1) * k; i++)
                sum += (weights ? (double)weights[i] : 1.0) * rows[g->row[i] * n + c];
            y[t * n + c] = (float)sum;
        }
}

void experts_combine_grad_ref(const experts_groups *g, const float *rows, const float *weights,
                              const float *dy, int64_t n, float *drows, float *dweights) {
    int64_t k = g->n_used;
    for (int64_t t = 0; t < g->n_tokens; t++)
        for (int64_t i = t * k; i < (t + 1) * k; i++) {
            double dot = 0;
            for (int64_t c = 0; c < n; c++) {
                dot += (double)rows[g->row[i] * n + c] * dy[t * n + c];
                drows[g->row[i] * n + c] = (float)((double)weights[i] * dy[t * n + c]);
            }
            dweights[i] = (float)dot;
        }
}
