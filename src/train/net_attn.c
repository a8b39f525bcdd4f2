/* net_attn.c: see net_attn.h.
 *
 * The index branch hangs beside the main branch: it reads the same normalised input and gives the
 * selection, which has no gradient, and scores, which the KL loss compares with the main branch's
 * probabilities. With `detach` nothing of it flows back into the input; then, and where no loss
 * comes from above, its backward pass needs nothing but this layer. */
#include "train/net_attn.h"

#include <string.h>

#include "train/net_index.h"
#include "train/net_ops.h"
#include "train/net_select.h"
#include "train/net_wide.h"

static msa_batch batch_of(const net *n) {
    return (msa_batch){
        .n_requests = n->batch->n_docs, .cu_seqlens_q = n->batch->cu_seqlens, .kv_len = n->kv_len};
}

/* Shape of the index branch as attention of its own: one key and value for all groups. */
static msa_shape value_shape(const net *n) {
    msa_shape s = n->shape;
    s.n_q_heads = s.n_kv_heads;
    s.head_dim = s.index_dim;
    return s;
}

static msa_support support_of(net_kl kl) {
    switch (kl) {
    case NET_KL_SELECTED: return MSA_SUPPORT_SELECTED;
    case NET_KL_FAR: return MSA_SUPPORT_FAR;
    case NET_KL_FAR_MASS: return MSA_SUPPORT_FAR_MASS;
    default: return MSA_SUPPORT_VISIBLE;
    }
}

/* Plans of the main branch: dense layers, and those that select. */
static msa_status plan_main(net *n, const msa_batch *batch, const msa_plan_options *o,
                            msa_error *err) {
    net_plans *p = &n->plans;
    msa_shape wide = n->mode.lm_index ? wide_shape(n) : n->shape;
    bool some_dense = !n->mode.sparse || n->n_index_layers < n->arch->n_layers;
    bool some_sparse = n->mode.sparse && n->n_index_layers > 0;
    msa_status status = MSA_OK;
    if (some_dense) status = msa_dense_plan(&p->dense, &n->shape, batch, o, err);
    if (!status && some_dense && n->with_grad)
        status = msa_dense_grad_plan(&p->dense_grad, &n->shape, batch, o, err);
    if (!status && some_sparse) status = msa_sparse_plan(&p->sparse, &wide, batch, o, err);
    if (!status && some_sparse && n->with_grad)
        status = msa_sparse_grad_plan(&p->sparse_grad, &wide, batch, o, err);
    if (!status && n->mode.lm_index && !n->mode.sparse) {
        status = msa_dense_plan(&n->wide.dense, &wide, batch, o, err);
        if (!status && n->with_grad)
            status = msa_dense_grad_plan(&n->wide.dense_grad, &wide, batch, o, err);
    }
    return status;
}

static msa_status plan_value(net *n, const msa_batch *batch, const msa_plan_options *o,
                             msa_error *err) {
    net_plans *p = &n->plans;
    msa_shape s = value_shape(n);
    msa_status status = n->mode.sparse ? msa_sparse_plan(&p->value_sparse, &s, batch, o, err)
                                       : msa_dense_plan(&p->value_dense, &s, batch, o, err);
    if (status || !n->with_grad) return status;
    return n->mode.sparse ? msa_sparse_grad_plan(&p->value_sparse_grad, &s, batch, o, err)
                          : msa_dense_grad_plan(&p->value_dense_grad, &s, batch, o, err);
}

msa_status attn_plan(net *n, msa_error *err) {
    msa_batch batch = batch_of(n);
    msa_plan_options o = {.n_threads = n->n_threads};
    msa_plan_options main = o;
    main.p_e4m3 = n->mode.fp8_p;
    msa_status status = plan_main(n, &batch, &main, err);
    if (status || n->n_index_layers == 0) return status;
    if (n->mode.sparse && n->mode.selection == NET_SELECT_INDEX)
        status = msa_index_plan(&n->plans.index, &n->shape, &batch, &o, err);
    if (!status && n->mode.kl != NET_KL_OFF)
        status =
            msa_index_loss_plan(&n->plans.loss, &n->shape, &batch, support_of(n->mode.kl), &o, err);
    if (!status && n->mode.index_value) status = plan_value(n, &batch, &o, err);
    return status;
}

void attn_free_plans(net *n) {
    net_plans *p = &n->plans;
    msa_plan *const all[] = {
        p->dense, p->dense_grad,  p->sparse,           p->sparse_grad,  p->index,
        p->loss,  p->value_dense, p->value_dense_grad, p->value_sparse, p->value_sparse_grad};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) msa_plan_free(all[i]);
}

static msa_lane lane(const float *x, int32_t heads, int32_t dim) {
    return msa_lane_ragged(x, MSA_F32, heads, dim);
}

/* One [T, dim] array that every head reads. */
static msa_lane shared_lane(const float *x, int32_t dim) {
    msa_lane l = msa_lane_ragged(x, MSA_F32, 1, dim);
    l.stride_head = 0;
    return l;
}

/* out = rope(norm(raw)), raw = x W^T + bias. out is raw where the family has no norm. */
typedef struct branch {
    tensor_role matrix, bias, norm;
    float *raw, *out;
    int32_t heads, dim;
} branch;

static void branches_of(const net *n, const net_attn_acts *a, branch out[4]) {
    int32_t hq = n->shape.n_q_heads, hkv = n->shape.n_kv_heads;
    int32_t d = n->shape.head_dim, di = n->shape.index_dim;
    out[0] = (branch){TENSOR_Q, TENSOR_Q_BIAS, TENSOR_Q_NORM, a->q_raw, a->q, hq, d};
    out[1] = (branch){TENSOR_K, TENSOR_K_BIAS, TENSOR_K_NORM, a->k_raw, a->k, hkv, d};
    out[2] =
        (branch){TENSOR_INDEX_Q, TENSOR_ROLE_COUNT, TENSOR_INDEX_Q_NORM, a->qi_raw, a->qi, hkv, di};
    out[3] =
        (branch){TENSOR_INDEX_K, TENSOR_ROLE_COUNT, TENSOR_INDEX_K_NORM, a->ki_raw, a->ki, 1, di};
}

static const param *bias_of(const net_layer *l, const branch *b) {
    return b->bias == TENSOR_ROLE_COUNT ? NULL : l->of[b->bias];
}

static void finish_branch(const net *n, const net_layer *l, const branch *b) {
    op_bias(n, bias_of(l, b), n->n_tokens, b->raw);
    if (l->of[b->norm]) op_norm(n, l->of[b->norm], b->raw, n->n_tokens * b->heads, b->out);
    op_turn(n, b->out, b->heads, b->dim);
}

/* Q, K and V of the layer, with `index` its index query and key too, from acts.normed. */
static void project(const net *n, const net_layer *l, net_attn_acts *a, bool index) {
    branch b[4];
    op_batch products = {.n = n};
    int n_branches = index ? 4 : 2;
    branches_of(n, a, b);
    op_add_y(&products, l->of[TENSOR_V], a->normed, n->n_tokens, a->v, false);
    for (int i = 0; i < n_branches; i++)
        op_add_y(&products, l->of[b[i].matrix], a->normed, n->n_tokens, b[i].raw, false);
    op_run(&products);
    op_bias(n, l->of[TENSOR_V_BIAS], n->n_tokens, a->v);
    for (int i = 0; i < n_branches; i++) finish_branch(n, l, &b[i]);
}

/* d, the gradient by out, becomes that by raw; norm and bias get theirs. */
static void start_back(const net *n, const net_layer *l, const branch *b, float *d) {
    op_turn_back(n, d, b->heads, b->dim);
    if (l->of[b->norm])
        op_norm_grad(n, l->of[b->norm], b->raw, d, n->n_tokens * b->heads, d, false);
    op_bias_grad(n, bias_of(l, b), n->n_tokens, d);
}

/* The rest of the way for Q, K and V: dW, and scratch.d_normed. */
static void project_back(net *n, const net_layer *l, const net_attn_acts *a) {
    net_scratch *s = &n->scratch;
    int64_t T = n->n_tokens;
    branch b[4];
    op_batch products = {.n = n};
    branches_of(n, a, b);
    start_back(n, l, &b[0], s->dq);
    start_back(n, l, &b[1], s->dk);
    op_bias_grad(n, l->of[TENSOR_V_BIAS], T, s->dv);
    op_add_dw(&products, l->of[TENSOR_V], a->normed, s->dv, T);
    op_add_dw(&products, l->of[TENSOR_Q], a->normed, s->dq, T);
    op_add_dw(&products, l->of[TENSOR_K], a->normed, s->dk, T);
    op_add_dx(&products, l->of[TENSOR_V], s->dv, T, s->d_normed, false);
    op_run(&products);
    op_add_dx(&products, l->of[TENSOR_Q], s->dq, T, s->d_normed, true);
    op_run(&products);
    op_add_dx(&products, l->of[TENSOR_K], s->dk, T, s->d_normed, true);
    op_run(&products);
}

/* The same for the index branch; d_index NULL: its input is a constant. */
static void project_index_back(net *n, const net_layer *l, const net_attn_acts *a, float *d_index) {
    net_scratch *s = &n->scratch;
    branch b[4];
    op_batch products = {.n = n};
    branches_of(n, a, b);
    start_back(n, l, &b[2], s->dqi);
    start_back(n, l, &b[3], s->dki);
    op_add_dw(&products, l->of[TENSOR_INDEX_Q], a->normed, s->dqi, n->n_tokens);
    op_add_dw(&products, l->of[TENSOR_INDEX_K], a->normed, s->dki, n->n_tokens);
    op_add_dx(&products, l->of[TENSOR_INDEX_Q], s->dqi, n->n_tokens, d_index, true);
    op_run(&products);
    op_add_dx(&products, l->of[TENSOR_INDEX_K], s->dki, n->n_tokens, d_index, true);
    op_run(&products);
}

static msa_selection selection_of(const net_attn_acts *a) {
    return (msa_selection){a->ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
}

static msa_status choose_blocks(net *n, int32_t layer, net_attn_acts *a, msa_error *err) {
    if (n->mode.selection != NET_SELECT_INDEX) {
        select_fixed(n, layer, a->ids);
        return MSA_OK;
    }
    msa_index_args args = {
        .qi = a->qi, .ki = lane(a->ki, 1, n->shape.index_dim), .out = selection_of(a)};
    return msa_index_run(n->plans.index, &args, err);
}

static msa_status attend(net *n, const net_layer *l, net_attn_acts *a, msa_error *err) {
    if (n->mode.lm_index && l->has_index) return wide_forward(n, a, n->mode.sparse, err);
    const msa_shape *s = &n->shape;
    msa_selection selection = selection_of(a);
    msa_attn_args args = {.q = a->q,
                          .k = lane(a->k, s->n_kv_heads, s->head_dim),
                          .v = lane(a->v, s->n_kv_heads, s->head_dim),
                          .out = a->out,
                          .lse = a->lse};
    if (!net_selects(n, l)) return msa_dense_run(n->plans.dense, &args, err);
    args.selection = &selection;
    return msa_sparse_run(n->plans.sparse, &args, err);
}

/* The ablation with a value: the index branch attends too and adds its own output. */
static msa_status attend_value(net *n, const net_layer *l, net_attn_acts *a, float *mid,
                               msa_error *err) {
    int32_t di = n->shape.index_dim;
    op_linear(n, l->of[TENSOR_INDEX_V], a->normed, n->n_tokens, a->vi, false);
    msa_selection selection = selection_of(a);
    msa_attn_args args = {.q = a->qi,
                          .k = shared_lane(a->ki, di),
                          .v = shared_lane(a->vi, di),
                          .out = a->out_i,
                          .lse = a->lse_i};
    msa_status status;
    if (n->mode.sparse) {
        args.selection = &selection;
        status = msa_sparse_run(n->plans.value_sparse, &args, err);
    } else {
        status = msa_dense_run(n->plans.value_dense, &args, err);
    }
    if (!status) op_linear(n, l->of[TENSOR_INDEX_O], a->out_i, n->n_tokens, mid, true);
    return status;
}

/* Not by the last layer of a step that trains the index branch alone. */
static bool is_attended(const net *n, int32_t layer) {
    bool lse = n->mode.kl == NET_KL_VISIBLE || n->mode.kl == NET_KL_FAR_MASS;
    return layer + 1 < n->arch->n_layers || net_needs_output(n) || lse;
}

msa_status attn_attend(net *n, int32_t layer, msa_error *err) {
    const net_layer *l = &n->layers[layer];
    net_attn_acts *a = &l->acts->attn;
    msa_status status = MSA_OK;
    op_norm(n, l->of[TENSOR_ATTN_NORM], l->x, n->n_tokens, a->normed);
    project(n, l, a, net_uses_index(n, l) && (!index_alone(n, l) || n->watch));
    if (net_selects(n, l)) status = choose_blocks(n, layer, a, err);
    return status || !is_attended(n, layer) ? status : attend(n, l, a, err);
}

msa_status attn_add(net *n, int32_t layer, msa_error *err) {
    const net_layer *l = &n->layers[layer];
    net_attn_acts *a = &l->acts->attn;
    msa_status status = MSA_OK;
    memcpy(l->acts->mid, l->x, (size_t)(n->n_tokens * n->arch->n_embd) * sizeof(float));
    op_linear(n, l->of[TENSOR_O], a->out, n->n_tokens, l->acts->mid, true);
    if (n->mode.index_value && l->has_index) status = attend_value(n, l, a, l->acts->mid, err);
    return status;
}

static void add_to(const net *n, float *restrict x, const float *restrict y, int64_t count) {
#pragma omp parallel for simd num_threads(n->n_threads) if (count > 65536 && n->n_threads > 1)
    for (int64_t i = 0; i < count; i++) x[i] += y[i];
}

/* x[t] += sum over heads of y[t, head]. */
static void add_heads(const net *n, float *x, const float *y, int32_t heads, int32_t dim) {
    for (int64_t t = 0; t < n->n_tokens; t++)
        for (int32_t h = 0; h < heads; h++)
            for (int32_t c = 0; c < dim; c++) x[t * dim + c] += y[(t * heads + h) * dim + c];
}

/* Gradient of attend_value from scratch.dx: adds to dqi, dki and d_normed_index. */
static msa_status value_backward(net *n, const net_layer *l, const net_attn_acts *a, float *d_index,
                                 msa_error *err) {
    net_scratch *s = &n->scratch;
    int32_t di = n->shape.index_dim, hkv = n->shape.n_kv_heads;
    size_t bytes = (size_t)(n->n_tokens * di) * sizeof(float);
    op_linear_grad(n, l->of[TENSOR_INDEX_O], a->out_i, s->dx, n->n_tokens, s->d_out_i, false);
    msa_selection selection = selection_of(a);
    msa_grad_args args = {.q = a->qi,
                          .k = shared_lane(a->ki, di),
                          .v = shared_lane(a->vi, di),
                          .out = a->out_i,
                          .lse = a->lse_i,
                          .d_out = s->d_out_i,
                          .dq = s->dqi_value,
                          .dk = s->dki_heads,
                          .dv = s->dvi_heads};
    msa_status status;
    if (n->mode.sparse) {
        args.selection = &selection;
        status = msa_sparse_grad_run(n->plans.value_sparse_grad, &args, err);
    } else {
        status = msa_dense_grad_run(n->plans.value_dense_grad, &args, err);
    }
    if (status) return status;
    add_to(n, s->dqi, s->dqi_value, n->n_tokens * hkv * di);
    add_heads(n, s->dki, s->dki_heads, hkv, di);
    memset(s->dvi, 0, bytes);
    add_heads(n, s->dvi, s->dvi_heads, hkv, di);
    op_linear_grad(n, l->of[TENSOR_INDEX_V], a->normed, s->dvi, n->n_tokens, d_index,
                   d_index != NULL);
    return MSA_OK;
}

msa_status attn_index_backward(net *n, int32_t layer, msa_error *err) {
    const net_layer *l = &n->layers[layer];
    const net_attn_acts *a = &l->acts->attn;
    net_scratch *s = &n->scratch;
    bool ablation = n->with_grad && (n->mode.lm_index || n->mode.index_value);
    if (!l->has_index || (!net_has_loss(n, l) && !ablation)) return MSA_OK;
    if (index_alone(n, l)) return index_learn(n, layer, err);
    if (net_has_loss(n, l)) {
        msa_status status = index_loss(n, layer, err);
        if (status || !n->with_grad) return status;
    } else {
        size_t token = (size_t)n->shape.index_dim * sizeof(float), T = (size_t)n->n_tokens;
        memset(s->dqi, 0, T * (size_t)n->shape.n_kv_heads * token);
        memset(s->dki, 0, T * token);
    }
    float *d_index = n->mode.detach ? NULL : s->d_normed;
    if (n->mode.lm_index) wide_index_backward(n);
    if (n->mode.index_value) {
        msa_status status = value_backward(n, l, a, d_index, err);
        if (status) return status;
    }
    project_index_back(n, l, a, d_index);
    return MSA_OK;
}

static msa_status attend_back(net *n, const net_layer *l, const net_attn_acts *a, msa_error *err) {
    if (n->mode.lm_index && l->has_index) return wide_backward(n, a, n->mode.sparse, err);
    const msa_shape *shape = &n->shape;
    net_scratch *s = &n->scratch;
    msa_selection selection = selection_of(a);
    msa_grad_args args = {.q = a->q,
                          .k = lane(a->k, shape->n_kv_heads, shape->head_dim),
                          .v = lane(a->v, shape->n_kv_heads, shape->head_dim),
                          .out = a->out,
                          .lse = a->lse,
                          .d_out = s->d_out,
                          .dq = s->dq,
                          .dk = s->dk,
                          .dv = s->dv};
    if (!net_selects(n, l)) return msa_dense_grad_run(n->plans.dense_grad, &args, err);
    args.selection = &selection;
    return msa_sparse_grad_run(n->plans.sparse_grad, &args, err);
}

msa_status attn_forward(net *n, int32_t layer, msa_error *err) {
    msa_status status = attn_attend(n, layer, err);
    return status ? status : attn_add(n, layer, err);
}

msa_status attn_backward(net *n, int32_t layer, msa_error *err) {
    const net_layer *l = &n->layers[layer];
    const net_attn_acts *a = &l->acts->attn;
    net_scratch *s = &n->scratch;
    op_linear_grad(n, l->of[TENSOR_O], a->out, s->dx, n->n_tokens, s->d_out, false);
    msa_status status = attend_back(n, l, a, err);
    if (status) return status;
    project_back(n, l, a);
    if ((status = attn_index_backward(n, layer, err))) return status;
    op_norm_grad(n, l->of[TENSOR_ATTN_NORM], l->x, s->d_normed, n->n_tokens, s->dx, true);
    return MSA_OK;
}
