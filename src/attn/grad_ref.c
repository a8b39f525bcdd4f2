/* grad_ref.c: the truth of the gradients of attention: the formula in double, one row at a time. */
#include <math.h>
#include <string.h>

#include "attn/grad.h"
#include "attn/ref.h"

typedef struct ref_row {
    int32_t request, head, group;
    int64_t t, position;
} ref_row;

static ref_vector token_of(const msa_shape *s, const msa_batch *b, const msa_lane *lane,
                           const ref_row *w, int64_t j) {
    return ref_vector_of(s, b, lane, s->head_dim, w->request, j, w->group);
}

/* ln of the row's sum of exponentials; -inf where it sees nothing. */
static double lse_of(const msa_shape *s, const msa_batch *b, const msa_grad_args *a,
                     const ref_row *w, double scale) {
    const float *q = a->q + (w->t * s->n_q_heads + w->head) * s->head_dim;
    double best = -INFINITY, sum = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = 0; j <= w->position; j++) {
            if (!ref_selected(s, b, a->selection, w->t, w->group, j / s->block)) continue;
            ref_vector key = token_of(s, b, &a->k, w, j);
            double dot = 0;
            for (int32_t c = 0; c < s->head_dim; c++) dot += (double)q[c] * ref_element(key, c);
            if (pass == 0) best = fmax(best, scale * dot);
            if (pass == 1) sum += exp(scale * dot - best);
        }
    return best + log(sum);
}

/* P and dP of one key. */
static void weigh(const msa_shape *s, const msa_batch *b, const msa_grad_args *a, const ref_row *w,
                  double scale, double lse, int64_t j, double *p, double *dp) {
    const float *q = a->q + (w->t * s->n_q_heads + w->head) * s->head_dim;
    const float *d_out = a->d_out + (w->t * s->n_q_heads + w->head) * s->head_dim;
    double dot = 0;
    *p = *dp = 0;
    if (!ref_selected(s, b, a->selection, w->t, w->group, j / s->block)) return;
    ref_vector key = token_of(s, b, &a->k, w, j), value = token_of(s, b, &a->v, w, j);
    for (int32_t c = 0; c < s->head_dim; c++) {
        dot += (double)q[c] * ref_element(key, c);
        *dp += (double)d_out[c] * ref_element(value, c);
    }
    *p = exp(scale * dot - lse);
}

static void one_row(const msa_shape *s, const msa_batch *b, const msa_grad_args *a,
                    const ref_row *w, double *dq, double *dk, double *dv) {
    int32_t d = s->head_dim;
    const float *q = a->q + (w->t * s->n_q_heads + w->head) * d;
    const float *d_out = a->d_out + (w->t * s->n_q_heads + w->head) * d;
    double scale = a->scale > 0 ? a->scale : 1 / sqrt(d), delta = 0, p, dp;
    double lse = lse_of(s, b, a, w, scale);
    for (int32_t c = 0; c < d; c++) dq[c] = 0;
    for (int64_t j = 0; j <= w->position; j++) {
        weigh(s, b, a, w, scale, lse, j, &p, &dp);
        delta += p * dp; /* sum of d_out * out */
    }
    for (int64_t j = 0; j <= w->position; j++) {
        weigh(s, b, a, w, scale, lse, j, &p, &dp);
        double ds = scale * p * (dp - delta);
        int64_t row = ((ref_kv_start(b, w->request) + j) * s->n_kv_heads + w->group) * d;
        ref_vector key = token_of(s, b, &a->k, w, j);
        for (int32_t c = 0; c < d && p != 0; c++) {
            dq[c] += ds * ref_element(key, c);
            dk[row + c] += ds * q[c];
            dv[row + c] += p * d_out[c];
        }
    }
}

void grad_ref(const msa_shape *s, const msa_batch *b, const msa_grad_args *a, double *dq,
              double *dk, double *dv) {
    for (int32_t r = 0; r < b->n_requests; r++)
        for (int64_t t = b->cu_seqlens_q[r]; t < b->cu_seqlens_q[r + 1]; t++)
            for (int32_t h = 0; h < s->n_q_heads; h++) {
                ref_row row = {r, h, h / (s->n_q_heads / s->n_kv_heads), t,
                               ref_position(b, r) + t - b->cu_seqlens_q[r]};
                one_row(s, b, a, &row, dq + (t * s->n_q_heads + h) * s->head_dim, dk, dv);
            }
}
