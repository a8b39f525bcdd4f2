/* row_sums.c: see row_sums.h. */
#include "attn/row_sums.h"

#include <float.h>
#include <math.h>

void row_sums_lay_out(row_sums *s, const msa_plan *plan, int32_t width, carver *c) {
    size_t n = (size_t)plan->chunk_q * (size_t)width;
    s->width = width;
    s->m = carve(c, (size_t)plan->n_parts * n, sizeof(float));
    s->l = carve(c, (size_t)plan->n_parts * n, sizeof(float));
    s->max = carve(c, n, sizeof(float));
    s->lse = carve(c, n, sizeof(float));
}

void row_sums_clear(const row_sums *s, const msa_plan *plan, int32_t part, int32_t n, int64_t first,
                    int64_t n_columns) {
    for (int32_t q = 0; q < n; q++) {
        int64_t at = row_sums_at(s, plan, part, q, first);
        for (int64_t i = 0; i < n_columns; i++) {
            s->m[at + i] = -INFINITY;
            s->l[at + i] = 0;
        }
    }
}

void row_sums_merge(const row_sums *s, const msa_plan *plan, int32_t query) {
    int64_t step = plan->chunk_q * s->width;
    for (int64_t i = query * s->width; i < (query + 1) * s->width; i++) {
        float best = -INFINITY, sum = 0;
        for (int32_t p = 0; p < plan->n_parts; p++)
            if (s->m[p * step + i] > best) best = s->m[p * step + i];
        if (best == -INFINITY) best = 0; /* nothing but -inf, or NaN that l still holds */
        for (int32_t p = 0; p < plan->n_parts; p++)
            if (s->l[p * step + i] != 0)
                sum += s->l[p * step + i] * exp2f(s->m[p * step + i] - best);
        s->max[i] = best;
        s->lse[i] = sum == 0 ? FLT_MAX : best + log2f(sum);
    }
}
