/* net_wide.c: see net_wide.h. */
#include "train/net_wide.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { WIDEST_HEAD = 256 };

msa_shape wide_shape(const net *n) {
    msa_shape s = n->shape;
    s.head_dim += s.index_dim;
    return s;
}

msa_status wide_prepare(net *n, msa_error *err) {
    net_wide *w = &n->wide;
    msa_shape s = wide_shape(n);
    if (s.head_dim > WIDEST_HEAD)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "an index that learns from the model's loss makes heads of %d + %d; at "
                         "most %d are supported",
                         n->shape.head_dim, s.index_dim, WIDEST_HEAD);
    if (w->q) return MSA_OK;
    float **const queries[] = {&w->q, &w->out, &w->d_out, &w->dq};
    float **const keys[] = {&w->k, &w->v, &w->dk, &w->dv};
    bool enough = true;
    for (int i = 0; i < 4; i++) {
        size_t token = (size_t)s.head_dim * sizeof(float);
        *queries[i] = mem_calloc((size_t)n->max_tokens, (size_t)s.n_q_heads * token);
        *keys[i] = mem_calloc((size_t)n->max_tokens, (size_t)s.n_kv_heads * token);
        enough = enough && *queries[i] && *keys[i];
    }
    if (enough) return MSA_OK;
    wide_free(n);
    return error_set(err, MSA_E_NOMEM, "no memory for heads of %d", s.head_dim);
}

void wide_free(net *n) {
    net_wide *w = &n->wide;
    float *const all[] = {w->q, w->k, w->v, w->out, w->d_out, w->dq, w->dk, w->dv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    msa_plan_free(w->dense);
    msa_plan_free(w->dense_grad);
    *w = (net_wide){0};
}

/* Columns at.. of rows of `wide` floats, from rows of `narrow` floats; source row r / repeat. */
static void put(const net *n, float *to, int32_t wide, int32_t at, const float *from,
                int32_t narrow, int64_t rows, int32_t repeat, float factor) {
#pragma omp parallel for num_threads(n->n_threads) if (n->n_threads > 1)
    for (int64_t r = 0; r < rows; r++)
        for (int32_t c = 0; c < narrow; c++)
            to[r * wide + at + c] = from[r / repeat * narrow + c] * factor;
}

/* The first columns of rows, back. */
static void take(const net *n, const float *from, int32_t wide, float *to, int32_t narrow,
                 int64_t rows) {
#pragma omp parallel for num_threads(n->n_threads) if (n->n_threads > 1)
    for (int64_t r = 0; r < rows; r++)
        memcpy(to + r * narrow, from + r * wide, (size_t)narrow * sizeof(float));
}

/* What turns the scale 1 / sqrt(d) of the whole into the index's 1 / sqrt(di). */
static float index_factor(const net *n) {
    return (float)sqrt((double)n->shape.head_dim / n->shape.index_dim);
}

static void pack(net *n, const net_attn_acts *a) {
    const msa_shape *s = &n->shape;
    net_wide *w = &n->wide;
    int32_t d = s->head_dim, di = s->index_dim, wide = d + di;
    int64_t T = n->n_tokens, queries = T * s->n_q_heads, keys = T * s->n_kv_heads;
    put(n, w->q, wide, 0, a->q, d, queries, 1, 1);
    put(n, w->q, wide, d, a->qi, di, queries, s->n_q_heads / s->n_kv_heads, index_factor(n));
    put(n, w->k, wide, 0, a->k, d, keys, 1, 1);
    put(n, w->k, wide, d, a->ki, di, keys, s->n_kv_heads, 1);
    put(n, w->v, wide, 0, a->v, d, keys, 1, 1); /* the rest stays 0 */
}

static msa_lane lane(const net *n, const float *x) {
    return msa_lane_ragged(x, MSA_F32, n->shape.n_kv_heads, wide_shape(n).head_dim);
}

static float scale_of(const net *n) {
    return (float)(1 / sqrt((double)n->shape.head_dim));
}

msa_status wide_forward(net *n, const net_attn_acts *a, bool sparse, msa_error *err) {
    net_wide *w = &n->wide;
    int32_t wide = wide_shape(n).head_dim;
    msa_selection selection = {a->ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    pack(n, a);
    msa_attn_args args = {.q = w->q,
                          .k = lane(n, w->k),
                          .v = lane(n, w->v),
                          .scale = scale_of(n),
                          .selection = sparse ? &selection : NULL,
                          .out = w->out,
                          .lse = a->lse};
    msa_status status =
        sparse ? msa_sparse_run(n->plans.sparse, &args, err) : msa_dense_run(w->dense, &args, err);
    if (!status) take(n, w->out, wide, a->out, n->shape.head_dim, n->n_tokens * n->shape.n_q_heads);
    return status;
}

msa_status wide_backward(net *n, const net_attn_acts *a, bool sparse, msa_error *err) {
    net_wide *w = &n->wide;
    net_scratch *s = &n->scratch;
    int32_t d = n->shape.head_dim, wide = wide_shape(n).head_dim;
    int64_t queries = n->n_tokens * n->shape.n_q_heads, keys = n->n_tokens * n->shape.n_kv_heads;
    msa_selection selection = {a->ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    pack(n, a);
    put(n, w->out, wide, 0, a->out, d, queries, 1, 1);
    put(n, w->d_out, wide, 0, s->d_out, d, queries, 1, 1); /* the rest stays 0 */
    msa_grad_args args = {.q = w->q,
                          .k = lane(n, w->k),
                          .v = lane(n, w->v),
                          .scale = scale_of(n),
                          .selection = sparse ? &selection : NULL,
                          .out = w->out,
                          .lse = a->lse,
                          .d_out = w->d_out,
                          .dq = w->dq,
                          .dk = w->dk,
                          .dv = w->dv};
    msa_status status = sparse ? msa_sparse_grad_run(n->plans.sparse_grad, &args, err)
                               : msa_dense_grad_run(w->dense_grad, &args, err);
    if (status) return status;
    take(n, w->dq, wide, s->dq, d, queries);
    take(n, w->dk, wide, s->dk, d, keys);
    take(n, w->dv, wide, s->dv, d, keys);
    return MSA_OK;
}

void wide_index_backward(net *n) {
    const msa_shape *s = &n->shape;
    const net_wide *w = &n->wide;
    int32_t d = s->head_dim, di = s->index_dim, wide = d + di;
    int32_t hq = s->n_q_heads, hkv = s->n_kv_heads, group = hq / hkv;
    float factor = index_factor(n), *dqi = n->scratch.dqi, *dki = n->scratch.dki;
    for (int64_t t = 0; t < n->n_tokens; t++) {
        for (int32_t h = 0; h < hq; h++)
            for (int32_t c = 0; c < di; c++)
                dqi[(t * hkv + h / group) * di + c] += factor * w->dq[(t * hq + h) * wide + d + c];
        for (int32_t h = 0; h < hkv; h++)
            for (int32_t c = 0; c < di; c++) dki[t * di + c] += w->dk[(t * hkv + h) * wide + d + c];
    }
}
