/* experts.c: see experts.h. */
#include "nn/experts.h"

#include <string.h>

#include "nn/kernels.h"

enum { MIN_FLOATS = 1 << 15 }; /* worth waking other threads for */

void experts_group(const int32_t *ids, int64_t n_tokens, int32_t n_used, int32_t n_experts,
                   int32_t *memory, experts_groups *out) {
    int64_t n = n_tokens * n_used;
    *out = (experts_groups){.n_tokens = n_tokens,
                            .n_experts = n_experts,
                            .n_used = n_used,
                            .start = memory,
                            .choice = memory + n_experts + 1,
                            .row = memory + n_experts + 1 + n};
    /* While rows are dealt out, start[e + 1] is the next row of expert e. */
    memset(out->start, 0, ((size_t)n_experts + 1) * sizeof *out->start);
    for (int64_t i = 0; i < n; i++) out->start[ids[i] + 1]++;
    int32_t next = 0;
    for (int32_t e = 0; e < n_experts; e++) {
        int32_t count = out->start[e + 1];
        out->start[e + 1] = next;
        next += count;
    }
    for (int64_t i = 0; i < n; i++) {
        int32_t row = out->start[ids[i] + 1]++;
        out->row[i] = row;
        out->choice[row] = (int32_t)i;
    }
}

void experts_gather(const experts_groups *g, const float *x, int64_t n, float *rows,
                    int n_threads) {
    int64_t n_rows = g->n_tokens * g->n_used;
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && n_rows * n > MIN_FLOATS)
    for (int64_t r = 0; r < n_rows; r++)
        memcpy(rows + r * n, x + g->choice[r] / g->n_used * n, (size_t)n * sizeof *rows);
}

void experts_combine(const experts_groups *g, const float *rows, const float *weights, int64_t n,
                     float *y, int n_threads) {
    experts_combine_fn *kernel = nn_kernels_get()->experts_combine;
    int64_t k = g->n_used;
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && g->n_tokens * n > MIN_FLOATS)
    for (int64_t t = 0; t < g->n_tokens; t++)
        kernel(rows, g->row + t * k, weights ? weights + t * k : NULL, g->n_used, n, y + t * n);
}

void experts_combine_grad(const experts_groups *g, const float *rows, const float *weights,
                          const float *dy, int64_t n, float *drows, float *dweights,
                          int n_threads) {
    experts_combine_grad_fn *kernel = nn_kernels_get()->experts_combine_grad;
    int64_t n_rows = g->n_tokens * g->n_used;
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && n_rows * n > MIN_FLOATS)
    for (int64_t r = 0; r < n_rows; r++) {
        int32_t i = g->choice[r];
        dweights[i] = kernel(rows + r * n, weights[i], dy + i / g->n_used * n, n, drows + r * n);
    }
}

void experts_gather_grad(const experts_groups *g, const float *drows, int64_t n, float *dx,
                         int n_threads) {
    experts_combine(g, drows, NULL, n, dx, n_threads);
}
