/* attend_ref.c: the truth of dense, sparse and decode: the formula in double, one row at a time. */
#include <math.h>

#include "attn/attend.h"
#include "base/half.h"

static double element(const msa_batch *b, const msa_shape *s, const msa_lane *lane, int32_t r,
                      int64_t token, int32_t head, int32_t c, int32_t dim) {
    int64_t at = head * lane->stride_head, i = token % s->block, start = 0;
    for (int32_t q = 0; q < r; q++) start += b->kv_len[q];
    if (b->kv_start) start = b->kv_start[r];
    if (b->page_table)
        at += b->page_table[r * b->page_table_stride + token / s->block] * lane->stride_page;
    else
        i = start + token;
    if (lane->layout == MSA_PANELS)
        at += (i / 16 * dim + c) * 16 + i % 16;
    else
        at += i * lane->stride_token + c;
    if (lane->dtype == MSA_F32) return ((const float *)lane->data)[at];
    uint16_t h = ((const uint16_t *)lane->data)[at];
    return lane->dtype == MSA_F16 ? f16_to_f32(h) : bf16_to_f32(h);
}

static int is_selected(const msa_shape *s, const msa_selection *sel, int64_t total_q, int64_t t,
                       int32_t group, int64_t block) {
    if (!sel) return 1;
    const int32_t *ids = sel->layout == MSA_TOKEN_MAJOR
                             ? sel->ids + (t * s->n_kv_heads + group) * s->topk
                             : sel->ids + (group * total_q + t) * s->topk;
    for (int32_t i = 0; i < s->topk; i++)
        if (ids[i] == block) return 1;
    return 0;
}

typedef struct ref_row {
    int32_t request, head;
    int64_t t, total_q, position;
} ref_row;

/* scale * q . k_j, or -inf where j is in no selected block. */
static double score_of(const msa_shape *s, const msa_batch *b, const msa_attn_args *a,
                       const ref_row *w, int64_t j) {
    int32_t d = s->head_dim, g = w->head / (s->n_q_heads / s->n_kv_heads);
    if (!is_selected(s, a->selection, w->total_q, w->t, g, j / s->block)) return -INFINITY;
    const float *q = a->q + (w->t * s->n_q_heads + w->head) * d;
    double dot = 0;
    for (int32_t c = 0; c < d; c++)
        dot += (double)q[c] * element(b, s, &a->k, w->request, j, g, c, d);
    return (a->scale > 0 ? a->scale : 1 / sqrt(d)) * dot;
}

static void one_row(const msa_shape *s, const msa_batch *b, const msa_attn_args *a,
                    const ref_row *w, double *out, double *lse, double *max_score) {
    int32_t d = s->head_dim, g = w->head / (s->n_q_heads / s->n_kv_heads);
    double best = -INFINITY, sum = 0;
    for (int64_t j = 0; j <= w->position; j++) {
        double score = score_of(s, b, a, w, j);
        if (score > best) best = score;
        if (!max_score) continue;
        double *m = max_score + (w->head * a->n_blocks + j / s->block) * w->total_q + w->t;
        if (score > *m) *m = score;
    }
    for (int32_t c = 0; c < d; c++) out[c] = 0;
    for (int64_t j = 0; j <= w->position && best > -INFINITY; j++) {
        double p = exp(score_of(s, b, a, w, j) - best);
        sum += p;
        for (int32_t c = 0; c < d && p != 0; c++)
            out[c] += p * element(b, s, &a->v, w->request, j, g, c, d);
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
            int64_t q_len = b->cu_seqlens_q[r + 1] - b->cu_seqlens_q[r];
            int64_t first = b->qo_offset ? b->qo_offset[r] : b->kv_len[r] - q_len;
            for (int32_t h = 0; h < s->n_q_heads; h++) {
                ref_row row = {r, h, t, total_q, first + t - b->cu_seqlens_q[r]};
                int64_t at = t * s->n_q_heads + h;
                one_row(s, b, a, &row, out + at * s->head_dim, lse + at, max_score);
            }
        }
}
