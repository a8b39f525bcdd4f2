/* yardstick.c: see yardstick.h. */
#include "support/yardstick.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn/attend.h"
#include "base/format.h"
#include "support/numbers.h"

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

/* What a row sees: `n` keys of one head, in order. */
typedef struct naive_keys {
    const float *k, *v; /* [tokens, width], a token's elements together */
    int64_t *tokens;
    int n, width;
} naive_keys;

/* A row the plain way, all in f32. */
static void naive_row(int d, const naive_keys *keys, const float *q, float *s, float *out) {
    float best = -INFINITY, sum = 0;
    for (int j = 0; j < keys->n; j++) {
        const float *k = keys->k + keys->tokens[j] * keys->width;
        float dot = 0;
        for (int c = 0; c < d; c++) dot += q[c] * k[c];
        s[j] = dot * (float)(1 / sqrt(d));
        if (s[j] > best) best = s[j];
    }
    for (int c = 0; c < d; c++) out[c] = 0;
    for (int j = 0; j < keys->n; j++) {
        const float *v = keys->v + keys->tokens[j] * keys->width;
        s[j] = expf(s[j] - best);
        sum += s[j];
        for (int c = 0; c < d; c++) out[c] += s[j] * v[c];
    }
    for (int c = 0; c < d; c++) out[c] /= sum;
}

/* Rounded as the lane stores them. */
static float *stored(const attn_case *c, const msa_lane *lane, const float *from) {
    size_t n = (size_t)(c->total_k * c->shape.n_kv_heads * c->shape.head_dim);
    float *to = new_array(n, sizeof *to);
    int32_t d = c->shape.head_dim;
    float scale = lane->scale == 0 ? 1 : lane->scale, scales[64];
    char codes[4 * 256];
    for (size_t i = 0; i < n; i += (size_t)d) {
        format_pack_ref(lane->dtype, scale, from + i, d, codes, scales);
        format_unpack_ref(lane->dtype, scale, codes, scales, d, to + i);
    }
    return to;
}

/* The tokens up to `position` that row t sees in group g; `start` is the request's first. */
static int list_tokens(const msa_shape *s, const msa_selection *sel, int64_t t, int32_t g,
                       int64_t start, int64_t position, int64_t *tokens) {
    int n = 0;
    for (int64_t block = 0; block <= position / s->block; block++) {
        bool in = !sel;
        for (int i = 0; sel && i < s->topk; i++)
            in |= sel->ids[(t * s->n_kv_heads + g) * s->topk + i] == block;
        int64_t end = (block + 1) * s->block;
        for (int64_t j = block * s->block; in && j < end && j <= position; j++)
            tokens[n++] = start + j;
    }
    return n;
}

double naive_error(const attn_case *c, const msa_selection *sel, const truth *t) {
    const msa_shape *s = &c->shape;
    int d = s->head_dim, group = s->n_q_heads / s->n_kv_heads;
    size_t most = (size_t)(c->max_kv + 1);
    float *k = stored(c, &c->k_lane, c->k), *v = stored(c, &c->v_lane, c->v);
    float *score = new_array(most, sizeof *score), *out = new_array((size_t)d, sizeof *out);
    naive_keys keys = {.tokens = new_array(most, sizeof(int64_t)), .width = s->n_kv_heads * d};
    double worst = 0;
    int64_t start = 0;
    for (int32_t r = 0; r < c->n_requests; start += c->kv_len[r++])
        for (int64_t row = c->cu[r]; row < c->cu[r + 1]; row++)
            for (int32_t h = 0; h < s->n_q_heads; h++) {
                int32_t g = h / group;
                int64_t position = c->offset[r] + row - c->cu[r], at = (row * s->n_q_heads + h) * d;
                keys.k = k + g * d, keys.v = v + g * d;
                keys.n = list_tokens(s, sel, row, g, start, position, keys.tokens);
                if (keys.n == 0) continue;
                naive_row(d, &keys, c->q + at, score, out);
                for (int x = 0; x < d; x++) worst = fmax(worst, fabs(out[x] - t->out[at + x]));
            }
    void *const arrays[] = {k, v, score, out, keys.tokens};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
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
