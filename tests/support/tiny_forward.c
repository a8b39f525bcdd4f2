/* tiny_forward.c: the forward pass of a tiny model in double. See tiny_model.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/tiny_model.h"

enum { MOST_BLOCKS = 512 };

static void rms_norm(const double *x, const float *w, int n, double *y) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    for (int i = 0; i < n; i++) y[i] = x[i] / sqrt(sum / n + TINY_NORM_EPS) * w[i];
}

static void multiply(const float *w, const double *x, const float *bias, int n_out, int n_in,
                     double *y) {
    for (int o = 0; o < n_out; o++) {
        double sum = bias ? bias[o] : 0;
        for (int i = 0; i < n_in; i++) sum += (double)w[o * n_in + i] * x[i];
        y[o] = sum;
    }
}

static void rotate(const tiny_params *p, double *head, int position) {
    int n = tiny_rotated(p);
    bool adjacent = strcmp(p->architecture, "llama") == 0;
    for (int i = 0; i < n / 2; i++) {
        int a = adjacent ? 2 * i : i, b = adjacent ? 2 * i + 1 : i + n / 2;
        double angle = position * pow(TINY_ROPE_BASE, -2.0 * i / n), x = head[a], y = head[b];
        double cosine = cos(angle), sine = sin(angle);
        head[a] = x * cosine - y * sine;
        head[b] = x * sine + y * cosine;
    }
}

static void norm_and_rotate(const tiny_params *p, double *heads, int n_heads, int width,
                            const float *w, int position) {
    for (int h = 0; h < n_heads; h++) {
        double *head = heads + h * width;
        if (w) rms_norm(head, w, width, head);
        rotate(p, head, position);
    }
}

static double dot(const double *a, const double *b, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* The blocks for the query at position t with these scores, ascending, then -1. */
static void select_blocks(const msa_shape *s, const double *score, int t, int32_t *ids) {
    int own = t / s->block, n = 0;
    bool chosen[MOST_BLOCKS] = {false};
    for (int b = 0; b <= own; b++) {
        chosen[b] = b < s->init || b > own - s->local;
        n += chosen[b];
    }
    for (; n < s->topk && n <= own; n++) {
        int best = -1;
        for (int b = 0; b <= own; b++)
            if (!chosen[b] && (best < 0 || score[b] > score[best])) best = b;
        chosen[best] = true;
    }
    n = 0;
    for (int b = 0; b <= own; b++)
        if (chosen[b]) ids[n++] = b;
    while (n < s->topk) ids[n++] = -1;
}

/* One query head over the tokens whose blocks are in ids (NULL: over all up to t). */
static void attend(const tiny_params *p, const double *q, const double *k, const double *v, int t,
                   int g, const int32_t *ids, const msa_shape *s, double *out) {
    int d = p->head_dim;
    double *weight = calloc((size_t)t + 1, sizeof *weight), sum = 0, top = -INFINITY;
    for (int j = 0; j <= t; j++) {
        bool visible = ids == NULL;
        for (int i = 0; !visible && i < s->topk; i++) visible = ids[i] == j / s->block;
        weight[j] = -INFINITY;
        if (visible) weight[j] = dot(q, k + (j * p->n_kv_heads + g) * d, d) / sqrt(d);
        top = fmax(top, weight[j]);
    }
    for (int j = 0; j <= t; j++) sum += weight[j] = exp(weight[j] - top);
    for (int c = 0; c < d; c++) out[c] = 0;
    for (int j = 0; j <= t; j++) {
        double share = weight[j] / sum;
        for (int c = 0; c < d && share > 0; c++)
            out[c] += share * v[(j * p->n_kv_heads + g) * d + c];
    }
    free(weight);
}

typedef struct layer_run {
    const tiny_model *m;
    const tiny_layer *l;
    int n;
    double *x, *q, *k, *v, *qi, *ki; /* [n][...] */
    double *shared;                  /* [n][head_dim]: mean of the layer's keys, or NULL */
} layer_run;

static void make_qkv(layer_run *r) {
    const tiny_params *p = &r->m->params;
    int nq = p->n_q_heads * p->head_dim, nkv = p->n_kv_heads * p->head_dim;
    double *y = malloc((size_t)p->n_embd * sizeof *y);
    for (int t = 0; t < r->n; t++) {
        rms_norm(r->x + t * p->n_embd, r->l->attn_norm, p->n_embd, y);
        multiply(r->l->wq, y, r->l->bq, nq, p->n_embd, r->q + t * nq);
        multiply(r->l->wk, y, r->l->bk, nkv, p->n_embd, r->k + t * nkv);
        multiply(r->l->wv, y, r->l->bv, nkv, p->n_embd, r->v + t * nkv);
        norm_and_rotate(p, r->q + t * nq, p->n_q_heads, p->head_dim, r->l->q_norm, t);
        norm_and_rotate(p, r->k + t * nkv, p->n_kv_heads, p->head_dim, r->l->k_norm, t);
        if (!r->l->index_q) continue;
        int di = p->index.dim, ni = p->n_kv_heads * di;
        multiply(r->l->index_q, y, NULL, ni, p->n_embd, r->qi + t * ni);
        multiply(r->l->index_k, y, NULL, di, p->n_embd, r->ki + t * di);
        norm_and_rotate(p, r->qi + t * ni, p->n_kv_heads, di, r->l->index_q_norm, t);
        norm_and_rotate(p, r->ki + t * di, 1, di, r->l->index_k_norm, t);
    }
    free(y);
}

/* score[b]: the greatest product of q with a key of the block; key j at k + j * stride. */
static void score_by_maxima(const msa_shape *s, const double *q, const double *k, int width,
                            int stride, int t, double *score) {
    for (int j = 0; j <= t; j++) {
        double x = dot(q, k + j * stride, width), *best = &score[j / s->block];
        if (j % s->block == 0 || x > *best) *best = x;
    }
}

/* The product of q with the mean of the keys of each block that position t sees. */
static void score_by_means(const msa_shape *s, const double *q, const double *k, int width,
                           int stride, int t, double *score) {
    for (int b = 0; b <= t / s->block; b++) {
        int end = (b + 1) * s->block <= t + 1 ? (b + 1) * s->block : t + 1;
        score[b] = 0;
        for (int j = b * s->block; j < end; j++)
            score[b] += dot(q, k + j * stride, width) / (end - b * s->block);
    }
}

/* The share of the attention of group g's heads that each block has, mean over the heads. */
static void score_by_mass(const layer_run *r, const msa_shape *s, int t, int g, double *score) {
    const tiny_params *p = &r->m->params;
    int d = p->head_dim, group = p->n_q_heads / p->n_kv_heads;
    for (int b = 0; b <= t / s->block; b++) score[b] = 0;
    for (int h = g * group; h < (g + 1) * group; h++) {
        double sum = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int j = 0; j <= t; j++) {
                double x = exp(
                    dot(r->q + (t * p->n_q_heads + h) * d, r->k + (j * p->n_kv_heads + g) * d, d) /
                    sqrt(d));
                if (pass)
                    score[j / s->block] += x / sum / group;
                else
                    sum += x;
            }
    }
}

/* What all groups of a layer share where MSA_SELECTOR_SHARED chooses; free(). */
static double *share_keys(const layer_run *r) {
    const tiny_params *p = &r->m->params;
    int d = p->head_dim, width = p->n_kv_heads * d;
    double *keys = calloc((size_t)(r->n * d), sizeof *keys);
    for (int i = 0; i < r->n * width; i++) keys[i / width * d + i % d] += r->k[i] / p->n_kv_heads;
    return keys;
}

static void choose(const layer_run *r, const tiny_choice *c, int t, int g, int32_t *ids) {
    const tiny_params *p = &r->m->params;
    const msa_shape *s = c->shape;
    int d = p->head_dim, group = p->n_q_heads / p->n_kv_heads, di = p->index.dim;
    double mean[256] = {0}, score[MOST_BLOCKS];
    for (int h = g * group; h < (g + 1) * group; h++)
        for (int i = 0; i < d; i++) mean[i] += r->q[(t * p->n_q_heads + h) * d + i] / group;
    switch (c->selector) {
    case MSA_SELECTOR_INDEX:
        score_by_maxima(s, r->qi + (t * p->n_kv_heads + g) * di, r->ki, di, di, t, score);
        break;
    case MSA_SELECTOR_MEANS:
        score_by_means(s, mean, r->k + g * d, d, p->n_kv_heads * d, t, score);
        break;
    case MSA_SELECTOR_SHARED: score_by_maxima(s, mean, r->shared, d, d, t, score); break;
    case MSA_SELECTOR_ORACLE: score_by_mass(r, s, t, g, score); break;
    default: score_by_maxima(s, mean, r->k + g * d, d, p->n_kv_heads * d, t, score);
    }
    select_blocks(s, score, t, ids);
}

/* choice NULL: dense. */
static void attend_and_project(layer_run *r, const tiny_choice *choice, int32_t *selected) {
    const tiny_params *p = &r->m->params;
    int d = p->head_dim, nq = p->n_q_heads * d, group = p->n_q_heads / p->n_kv_heads;
    double *o = malloc((size_t)(nq + p->n_embd) * sizeof *o), *y = o + nq;
    const msa_shape *s = choice ? choice->shape : NULL;
    int32_t ids[64];
    if (choice && choice->selector == MSA_SELECTOR_SHARED) r->shared = share_keys(r);
    for (int t = 0; t < r->n; t++) {
        for (int g = 0; g < p->n_kv_heads; g++) {
            const double *q = r->q + t * nq;
            if (s) choose(r, choice, t, g, ids);
            if (s && selected)
                memcpy(selected + (t * p->n_kv_heads + g) * s->topk, ids,
                       (size_t)s->topk * sizeof *ids);
            for (int h = g * group; h < (g + 1) * group; h++)
                attend(p, q + h * d, r->k, r->v, t, g, s ? ids : NULL, s, o + h * d);
        }
        multiply(r->l->wo, o, NULL, p->n_embd, nq, y);
        for (int i = 0; i < p->n_embd; i++) r->x[t * p->n_embd + i] += y[i];
    }
    free(o);
    free(r->shared);
    r->shared = NULL;
}

static double gated(const tiny_params *p, double gate, double up) {
    if (!tiny_is_m3(p)) return gate * up / (1 + exp(-gate));
    gate = fmin(gate, 7);
    up = fmax(-7, fmin(up, 7));
    return (up + 1) * gate / (1 + exp(-1.702 * gate));
}

/* x += factor * Wdown gated(Wgate y, Wup y) */
static void add_mlp(const tiny_params *p, const float *w_gate, const float *w_up,
                    const float *w_down, int n_ff, double factor, const double *y, double *x) {
    double *gate = malloc((size_t)(2 * n_ff + p->n_embd) * sizeof *gate), *up = gate + n_ff,
           *sum = up + n_ff;
    multiply(w_gate, y, NULL, n_ff, p->n_embd, gate);
    multiply(w_up, y, NULL, n_ff, p->n_embd, up);
    for (int i = 0; i < n_ff; i++) gate[i] = gated(p, gate[i], up[i]);
    multiply(w_down, gate, NULL, p->n_embd, n_ff, sum);
    for (int i = 0; i < p->n_embd; i++) x[i] += factor * sum[i];
    free(gate);
}

static void add_experts_of(const tiny_params *p, const tiny_layer *l, const double *y, double *x) {
    int n = p->experts.n, n_ff = p->experts.n_ff, chosen[16];
    double s[16], total = 0;
    bool taken[16] = {false};
    multiply(l->router, y, NULL, n, p->n_embd, s);
    for (int e = 0; e < n; e++) s[e] = 1 / (1 + exp(-s[e]));
    for (int i = 0; i < p->experts.n_used; i++) {
        int best = -1;
        for (int e = 0; e < n; e++)
            if (!taken[e] &&
                (best < 0 || s[e] + l->router_bias[e] > s[best] + l->router_bias[best]))
                best = e;
        taken[chosen[i] = best] = true;
        total += s[best];
    }
    for (int i = 0; i < p->experts.n_used; i++) {
        int at = chosen[i] * n_ff * p->n_embd;
        add_mlp(p, l->e_gate + at, l->e_up + at, l->e_down + at, n_ff,
                s[chosen[i]] / total * TINY_EXPERTS_SCALE, y, x);
    }
}

static void run_feed_forward(layer_run *r, int layer) {
    const tiny_params *p = &r->m->params;
    const tiny_layer *l = r->l;
    double *y = malloc((size_t)p->n_embd * sizeof *y);
    for (int t = 0; t < r->n; t++) {
        double *x = r->x + t * p->n_embd;
        rms_norm(x, l->ffn_norm, p->n_embd, y);
        if (l->w_gate) add_mlp(p, l->w_gate, l->w_up, l->w_down, tiny_mlp_width(p, layer), 1, y, x);
        if (l->router) add_experts_of(p, l, y, x);
    }
    free(y);
}

void tiny_forward(const tiny_model *m, const int32_t *ids, int n, const tiny_choice *choice,
                  uint64_t dense_layers, double *logits, int32_t *selected) {
    const tiny_params *p = &m->params;
    const msa_shape *shape = choice ? choice->shape : NULL;
    int nq = p->n_q_heads * p->head_dim, nkv = p->n_kv_heads * p->head_dim;
    layer_run r = {.m = m, .n = n};
    int ni = (p->n_kv_heads + 1) * p->index.dim;
    r.x = malloc((size_t)n * (size_t)(p->n_embd + nq + 2 * nkv + ni) * sizeof *r.x);
    r.q = r.x + n * p->n_embd;
    r.k = r.q + n * nq;
    r.v = r.k + n * nkv;
    r.qi = r.v + n * nkv;
    r.ki = r.qi + n * p->n_kv_heads * p->index.dim;
    for (int i = 0; i < n * p->n_embd; i++)
        r.x[i] = m->embedding[ids[i / p->n_embd] * p->n_embd + i % p->n_embd];
    size_t per_layer = shape ? (size_t)(n * p->n_kv_heads * shape->topk) : 0;
    if (selected) memset(selected, 0xff, (size_t)p->n_layers * per_layer * sizeof *selected);
    for (int l = 0; l < p->n_layers; l++) {
        const tiny_choice *c = dense_layers >> l & 1 ? NULL : choice;
        r.l = &m->layers[l];
        make_qkv(&r);
        attend_and_project(&r, c, selected ? selected + (size_t)l * per_layer : NULL);
        run_feed_forward(&r, l);
    }
    const float *output = m->output ? m->output : m->embedding;
    for (int t = 0; t < n; t++) {
        double *x = r.x + t * p->n_embd;
        rms_norm(x, m->output_norm, p->n_embd, x);
        multiply(output, x, NULL, p->n_vocab, p->n_embd, logits + t * p->n_vocab);
    }
    free(r.x);
}
