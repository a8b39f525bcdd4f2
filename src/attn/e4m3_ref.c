/* e4m3_ref.c: the truth of attention with probabilities through E4M3 and of its gradient: the
 * formulas of e4m3.h in double, one row at a time. */
#include <math.h>
#include <stdbool.h>

#include "attn/e4m3.h"
#include "attn/ref.h"
#include "base/fp8.h"

/* One row (query and head) and what its scores need. */
typedef struct ref_row {
    const msa_shape *s;
    const msa_batch *b;
    const msa_lane *k, *v;
    const msa_selection *selection;
    const float *q;
    double scale, max, sum;
    int32_t request, group;
    int64_t t, position;
} ref_row;

static ref_vector token_of(const ref_row *w, const msa_lane *lane, int64_t j) {
    return ref_vector_of(w->s, w->b, lane, w->s->head_dim, w->request, j, w->group);
}

static bool is_visible(const ref_row *w, int64_t j) {
    return ref_selected(w->s, w->b, w->selection, w->t, w->group, j / w->s->block);
}

static double score_of(const ref_row *w, int64_t j) {
    ref_vector key = token_of(w, w->k, j);
    double dot = 0;
    for (int32_t c = 0; c < w->s->head_dim; c++) dot += (double)w->q[c] * ref_element(key, c);
    return w->scale * dot;
}

/* P as it is, rounded, and how far rounding could differ for a score that is a little off. */
static double weigh(const ref_row *w, int64_t j, double *rounded, double *slack) {
    double e = exp(score_of(w, j) - w->max), unit = 1 / (448 * w->sum);
    *rounded = fp8_round((float)(448 * e)) * unit;
    double low = fp8_round((float)(448 * e * (1 - 1e-4)));
    *slack = (fp8_round((float)(448 * e * (1 + 1e-4))) - low) * unit;
    return e / w->sum;
}

static ref_row row_of(const msa_shape *s, const msa_batch *b, const msa_lane *k, const msa_lane *v,
                      const msa_selection *selection, const float *q, float scale, int32_t request,
                      int64_t t, int32_t head) {
    ref_row w = {.s = s, .b = b, .k = k, .v = v, .selection = selection};
    w.q = q + (t * s->n_q_heads + head) * s->head_dim;
    w.scale = scale > 0 ? scale : 1 / sqrt(s->head_dim);
    w.request = request, w.t = t, w.group = head / (s->n_q_heads / s->n_kv_heads);
    w.position = ref_position(b, request) + t - b->cu_seqlens_q[request];
    w.max = -INFINITY;
    for (int64_t j = 0; j <= w.position; j++)
        if (is_visible(&w, j)) w.max = fmax(w.max, score_of(&w, j));
    for (int64_t j = 0; j <= w.position; j++)
        if (is_visible(&w, j)) w.sum += exp(score_of(&w, j) - w.max);
    return w;
}

void e4m3_ref(const msa_shape *s, const msa_batch *b, const msa_attn_args *a, double *out,
              double *slack) {
    int32_t d = s->head_dim;
    for (int32_t r = 0; r < b->n_requests; r++)
        for (int64_t t = b->cu_seqlens_q[r]; t < b->cu_seqlens_q[r + 1]; t++)
            for (int32_t h = 0; h < s->n_q_heads; h++) {
                ref_row w = row_of(s, b, &a->k, &a->v, a->selection, a->q, a->scale, r, t, h);
                int64_t at = (t * s->n_q_heads + h) * d;
                for (int32_t c = 0; c < d; c++) out[at + c] = slack[at + c] = 0;
                for (int64_t j = 0; j <= w.position; j++) {
                    double p, loose;
                    if (!is_visible(&w, j)) continue;
                    weigh(&w, j, &p, &loose);
                    ref_vector value = token_of(&w, w.v, j);
                    for (int32_t c = 0; c < d; c++) {
                        out[at + c] += p * ref_element(value, c);
                        slack[at + c] += loose * fabsf(ref_element(value, c));
                    }
                }
            }
}

static void add_gradient(const ref_row *w, const float *d_out, double *dq, double *dk, double *dv,
                         double *slack) {
    int32_t d = w->s->head_dim;
    double delta = 0, rounded, loose;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = 0; j <= w->position; j++) {
            if (!is_visible(w, j)) continue;
            double p = weigh(w, j, &rounded, &loose), dp = 0;
            ref_vector key = token_of(w, w->k, j), value = token_of(w, w->v, j);
            for (int32_t c = 0; c < d; c++) dp += (double)d_out[c] * ref_element(value, c);
            if (pass == 0) delta += p * dp;
            if (pass == 0) continue;
            double ds = w->scale * p * (dp - delta);
            int64_t row = (ref_kv_start(w->b, w->request) + j) * w->s->n_kv_heads + w->group;
            for (int32_t c = 0; c < d; c++) {
                dq[c] += ds * ref_element(key, c);
                dk[row * d + c] += ds * w->q[c];
                dv[row * d + c] += rounded * d_out[c];
                slack[row * d + c] += loose * fabsf(d_out[c]);
            }
        }
}

void e4m3_grad_ref(const msa_shape *s, const msa_batch *b, const msa_grad_args *a, double *dq,
                   double *dk, double *dv, double *slack) {
    for (int32_t r = 0; r < b->n_requests; r++)
        for (int64_t t = b->cu_seqlens_q[r]; t < b->cu_seqlens_q[r + 1]; t++)
            for (int32_t h = 0; h < s->n_q_heads; h++) {
                ref_row w = row_of(s, b, &a->k, &a->v, a->selection, a->q, a->scale, r, t, h);
                int64_t at = (t * s->n_q_heads + h) * s->head_dim;
                add_gradient(&w, a->d_out + at, dq + at, dk, dv, slack);
            }
}
