/* net_index.c: see net_index.h. Keys are projected for every token, queries for the rows of the
 * loss: those rows of the normalised input are gathered, go through projection, norm and RoPE, and
 * are put where the loss looks for them. */
#include "train/net_index.h"

#include <string.h>

#include "train/net_ops.h"

bool index_alone(const net *n, const net_layer *l) {
    bool chooses = net_selects(n, l) && n->mode.selection == NET_SELECT_INDEX;
    return n->keep == NET_KEEP_INDEX && net_has_loss(n, l) && !chooses && n->mode.detach &&
           !n->mode.index_value && !n->mode.lm_index;
}

msa_status index_loss(net *n, int32_t layer, msa_error *err) {
    const msa_shape *s = &n->shape;
    const net_attn_acts *a = &n->layers[layer].acts->attn;
    msa_selection selection = {a->ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    /* The forward pass's LSE is the teacher's where it saw the same tokens. */
    bool dense = !n->mode.sparse && !n->mode.lm_index;
    bool known = n->mode.kl == NET_KL_SELECTED ? n->mode.sparse && !n->mode.lm_index
                                               : n->mode.kl != NET_KL_FAR && dense;
    double rows = (double)n->n_kl_rows * s->n_kv_heads;
    msa_index_loss_args args = {
        .q = a->q,
        .k = msa_lane_ragged(a->k, MSA_F32, s->n_kv_heads, s->head_dim),
        .qi = a->qi,
        .ki = msa_lane_ragged(a->ki, MSA_F32, 1, s->index_dim),
        .lse = known ? a->lse : NULL,
        .selection = n->mode.kl == NET_KL_SELECTED ? &selection : NULL,
        .rows = n->mode.kl_rows > 0 ? n->kl_rows : NULL,
        .n_rows = n->n_kl_rows,
        .loss_scale = (float)(n->scale * n->mode.lambda / (rows * n->n_index_layers)),
        .kl = n->kl + (int64_t)layer * s->n_kv_heads,
        .dqi = n->with_grad ? n->scratch.dqi : NULL,
        .dki = n->with_grad ? n->scratch.dki : NULL,
    };
    return msa_index_loss_run(n->plans.loss, &args, err);
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* Row i of `to` is row rows[i] of `from`; back: the other way. */
static void gather(const net *n, const float *from, int64_t width, float *to) {
#pragma omp parallel for num_threads(n->n_threads) if (n->n_threads > 1)
    for (int64_t i = 0; i < n->n_kl_rows; i++)
        memcpy(to + i * width, from + n->kl_rows[i] * width, (size_t)width * sizeof(float));
}

static void scatter(const net *n, const float *from, int64_t width, float *to) {
#pragma omp parallel for num_threads(n->n_threads) if (n->n_threads > 1)
    for (int64_t i = 0; i < n->n_kl_rows; i++)
        memcpy(to + n->kl_rows[i] * width, from + i * width, (size_t)width * sizeof(float));
}

static bool takes_all(const net *n) {
    return n->mode.kl_rows == 0 || n->n_kl_rows == n->n_tokens;
}

void index_begin(net *n) {
    if (n->keep != NET_KEEP_INDEX || n->mode.kl == NET_KL_OFF || takes_all(n)) return;
    gather(n, n->rope, (int64_t)2 * n->arch->n_rot, n->rows.rope);
}

/* The input of the queries, their projection, and what they are once normalised and turned. */
typedef struct query_rows {
    int64_t n;
    const float *x, *rope;
    float *raw, *q;
} query_rows;

static query_rows queries_of(const net *n, const net_attn_acts *a) {
    if (takes_all(n)) return (query_rows){n->n_tokens, a->normed, n->rope, a->qi_raw, a->qi};
    return (query_rows){n->n_kl_rows, n->rows.normed, n->rows.rope, n->rows.raw, n->rows.q};
}

static void project(net *n, const net_layer *l, const net_attn_acts *a) {
    int64_t T = n->n_tokens;
    int32_t di = n->shape.index_dim, heads = n->shape.n_kv_heads;
    query_rows r = queries_of(n, a);
    op_batch products = {.n = n};
    if (!takes_all(n)) gather(n, a->normed, n->arch->n_embd, n->rows.normed);
    op_add_y(&products, l->of[TENSOR_INDEX_Q], r.x, r.n, r.raw, false);
    op_add_y(&products, l->of[TENSOR_INDEX_K], a->normed, T, a->ki_raw, false);
    op_run(&products);
    if (l->of[TENSOR_INDEX_Q_NORM]) {
        op_norm(n, l->of[TENSOR_INDEX_Q_NORM], r.raw, r.n * heads, r.q);
        op_norm(n, l->of[TENSOR_INDEX_K_NORM], a->ki_raw, T, a->ki);
    }
    op_turn_rows(n, r.q, r.n, r.rope, heads, di, false);
    op_turn(n, a->ki, 1, di);
    if (!takes_all(n)) scatter(n, r.q, (int64_t)heads * di, a->qi);
}

static void project_back(net *n, const net_layer *l, const net_attn_acts *a) {
    net_scratch *s = &n->scratch;
    int64_t T = n->n_tokens;
    int32_t di = n->shape.index_dim, heads = n->shape.n_kv_heads;
    query_rows r = queries_of(n, a);
    float *dq = s->dqi;
    op_batch products = {.n = n};
    if (!takes_all(n)) {
        dq = n->rows.q; /* the query has done its part */
        gather(n, s->dqi, (int64_t)heads * di, dq);
    }
    op_turn_rows(n, dq, r.n, r.rope, heads, di, true);
    op_turn_back(n, s->dki, 1, di);
    if (l->of[TENSOR_INDEX_Q_NORM]) {
        op_norm_grad(n, l->of[TENSOR_INDEX_Q_NORM], r.raw, dq, r.n * heads, dq, false);
        op_norm_grad(n, l->of[TENSOR_INDEX_K_NORM], a->ki_raw, s->dki, T, s->dki, false);
    }
    op_add_dw(&products, l->of[TENSOR_INDEX_Q], r.x, dq, r.n);
    op_add_dw(&products, l->of[TENSOR_INDEX_K], a->normed, s->dki, T);
    op_run(&products);
}

/* ---- entries -------------------------------------------------------------------------------- */

msa_status index_learn(net *n, int32_t layer, msa_error *err) {
    const net_layer *l = &n->layers[layer];
    const net_attn_acts *a = &l->acts->attn;
    project(n, l, a);
    msa_status status = index_loss(n, layer, err);
    if (status == MSA_OK && n->with_grad) project_back(n, l, a);
    return status;
}

msa_status index_learn_again(net *n, int32_t layer, msa_error *err) {
    const net_layer *l = &n->layers[layer];
    op_norm(n, l->of[TENSOR_ATTN_NORM], l->x, n->n_tokens, l->acts->attn.normed);
    return index_learn(n, layer, err);
}
