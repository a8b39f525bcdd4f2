/* attend_ref.c: the truth of dense, sparse and decode: the formula in double, one row at a time. */
#include <math.h>

#include "attn/attend.h"
#include "attn/ref.h"

typedef struct ref_row {
    int32_t request, head;
    int64_t t, total_q, position;
} ref_row;

/* scale * q . k_j, or -inf where j is in no selected block. */
static double score_of(const msa_shape *s, const msa_batch *b, const msa_attn_args *a,
                       const ref_row *w, int64_t j) {
    int32_t d = s->head_dim, g = w->head / (s->n_q_heads / s->n_kv_heads);
    if (!ref_selected(s, b, a->selection, w->t, g, j / s->block)) return -INFINITY;
    const float *q = a->q + (w->t * s->n_q_heads + w->head) * d;
    ref_vector key = ref_vector_of(s, b, &a->k, d, w->request, j, g);
    double dot = 0;
    for (int32_t c = 0; c < d; c++) dot += (double)q[c] * ref_element(key, c);
    return (a->scale > 0 ? a->scale : 1 / sqrt(d)) * dot;
}

static void one_row(const msa_shape *s, const msa_batch *b, const msa_attn_args *a,
                    const ref_row *w, double *out, double *lse, double *max_score) {
    int32_t d = s->head_dim, g = w->head / (s->n_q_heads / s->n_kv_heads);
    double best = -INFINITY, sum = 0;
    for (int64_t j = 0; j <= w->position; j++) {
        double score = score_of(s, b, a, w, j);
        if (score > best || isnan(score)) best = score; /* NaN stays */
        if (!max_score) continue;
        double *m = max_score + (w->head * a->n_blocks + j / s->block) * w->total_q + w->t;
        if (score > *m) *m = score;
    }
    for (int32_t c = 0; c < d; c++) out[c] = 0;
    for (int64_t j = 0; j <= w->position && best != -INFINITY; j++) {
        double p = exp(score_of(s, b, a, w, j) - best);
        ref_vector value = ref_vector_of(s, b, &a->v, d, w->request, j, g);
        sum += p;
        for (int32_t c = 0; c < d && p != 0; c++) out[c] += p * ref_element(value, c);
    }
    for (int32_t c = 0; c < d && sum != 0; c++) out[c] /= sum;
    *lse = sum == 0 ? -INFINITY : best + log(sum);
}

void attend_ref(const msa_shape *s, const msa_batch *b, const msa_attn_args *a, double *out,
                double *lse, double *max_score) {
    int64_t total_q = b->cu_seqlens_q[b->n_requests];
    if (max_score)
        for (int64_t i = 0; i < s->n_q_heads * a->n_blocks * total_q; i++) max_score[i] = -INFINITY;
    for (int32_t r = 0; r < b->n_requests; r++)
        for (int64_t t = b->cu_seqlens_q[r]; t < b->cu_seqlens_q[r + 1]; t++) {
            for (int32_t h = 0; h < s->n_q_heads; h++) {
                ref_row row = {r, h, t, total_q, ref_position(b, r) + t - b->cu_seqlens_q[r]};
                int64_t at = t * s->n_q_heads + h;
                one_row(s, b, a, &row, out + at * s->head_dim, lse + at, max_score);
            }
        }
}
