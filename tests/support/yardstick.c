/* yardstick.c: see yardstick.h. */
#include "support/yardstick.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn/attend.h"
#include "base/half.h"

result result_new(const attn_case *c) {
    result r = {.rows = (size_t)(c->total_q * c->shape.n_q_heads)};
    r.n = r.rows * (size_t)c->shape.head_dim;
    r.out = malloc((r.n + 1) * sizeof(float));
    r.lse = malloc((r.rows + 1) * sizeof(float));
    memset(r.out, 0xff, r.n * sizeof(float)); /* NaN: what is not written is found */
    memset(r.lse, 0xff, r.rows * sizeof(float));
    return r;
}
void result_free(result *r) {
    free(r->out);
    free(r->lse);
}

truth truth_of(const attn_case *c, const msa_selection *selection) {
    size_t rows = (size_t)(c->total_q * c->shape.n_q_heads);
    truth t = {malloc((rows * (size_t)c->shape.head_dim + 1) * sizeof(double)),
               malloc((rows + 1) * sizeof(double))};
    msa_attn_args args = {.q = c->q, .k = c->k_lane, .v = c->v_lane, .selection = selection};
    attend_ref(&c->shape, &c->batch, &args, t.out, t.lse, NULL);
    return t;
}
void truth_free(truth *t) {
    free(t->out);
    free(t->lse);
}

/* A row of `n` keys the plain way, all in f32; keys in list order. */
static void naive_row(int d, int n, const float *q, const float *k, const float *v, float *s,
                      float *out) {
    float best = -INFINITY, sum = 0;
    for (int j = 0; j < n; j++) {
        float dot = 0;
        for (int c = 0; c < d; c++) dot += q[c] * k[j * d + c];
        s[j] = dot * (float)(1 / sqrt(d));
        if (s[j] > best) best = s[j];
    }
    for (int c = 0; c < d; c++) out[c] = 0;
    for (int j = 0; j < n; j++) {
        s[j] = expf(s[j] - best);
        sum += s[j];
        for (int c = 0; c < d; c++) out[c] += s[j] * v[j * d + c];
    }
    for (int c = 0; c < d; c++) out[c] /= sum;
}

static float stored(const msa_lane *lane, float x) {
    if (lane->dtype == MSA_F16) return f16_to_f32(f16_from_f32(x));
    if (lane->dtype == MSA_BF16) return bf16_to_f32(bf16_from_f32(x));
    return x;
}

double naive_error(const attn_case *c, const msa_selection *sel, const truth *t) {
    const msa_shape *s = &c->shape;
    int d = s->head_dim;
    size_t most = (size_t)(c->max_kv + 1);
    float *k = malloc(most * (size_t)d * 4), *v = malloc(most * (size_t)d * 4);
    float *score = malloc(most * 4), *out = malloc((size_t)d * 4);
    double worst = 0;
    int64_t start = 0;
    for (int32_t r = 0; r < c->n_requests; start += c->kv_len[r++])
        for (int64_t t0 = c->cu[r]; t0 < c->cu[r + 1]; t0++)
            for (int32_t h = 0; h < s->n_q_heads; h++) {
                int32_t g = h / (s->n_q_heads / s->n_kv_heads);
                int64_t position = c->offset[r] + t0 - c->cu[r];
                int n = 0;
                for (int64_t j = 0; j <= position; j++) {
                    bool in = !sel;
                    for (int i = 0; sel && i < s->topk; i++)
                        in |= sel->ids[(t0 * s->n_kv_heads + g) * s->topk + i] == j / s->block;
                    if (!in) continue;
                    const float *from = c->k + ((start + j) * s->n_kv_heads + g) * d;
                    const float *vals = c->v + ((start + j) * s->n_kv_heads + g) * d;
                    for (int x = 0; x < d; x++) {
                        k[n * d + x] = stored(&c->k_lane, from[x]);
                        v[n * d + x] = stored(&c->v_lane, vals[x]);
                    }
                    n++;
                }
                if (n == 0) continue;
                naive_row(d, n, c->q + (t0 * s->n_q_heads + h) * d, k, v, score, out);
                for (int x = 0; x < d; x++) {
                    double e = fabs(out[x] - t->out[(t0 * s->n_q_heads + h) * d + x]);
                    if (e > worst) worst = e;
                }
            }
    free(k);
    free(v);
    free(score);
    free(out);
    return worst;
}

void assert_attends(const result *r, const truth *t, double naive, const char *what) {
    for (size_t i = 0; i < r->n; i++) {
        double e = fabs(r->out[i] - t->out[i]);
        if (!(e <= 2 * naive + fabs(t->out[i]) * 0x1p-23 + 1e-9))
            fail_msg("%s: out[%zu] is %g, truth %g: error %g, naive f32 has %g", what, i,
                     (double)r->out[i], t->out[i], e, naive);
    }
    for (size_t i = 0; i < r->rows; i++) {
        double e = fabs(r->lse[i] - t->lse[i]);
        if (r->lse[i] == t->lse[i]) continue; /* -inf */
        if (!(e <= 4e-6 * (1 + fabs(t->lse[i]))))
            fail_msg("%s: lse[%zu] is %g, truth %g", what, i, (double)r->lse[i], t->lse[i]);
    }
}

yardstick yardstick_of(const attn_case *c, const msa_selection *selection) {
    yardstick y = {selection, truth_of(c, selection), 0};
    y.naive = naive_error(c, selection, &y.t);
    return y;
}
