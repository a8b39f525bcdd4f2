/* forward.c: see forward.h. */
#include "engine/forward.h"

#include <omp.h>

#include "attn/proxy.h"
#include "base/error.h"
#include "base/mem.h"
#include "kv/arena.h"
#include "nn/norm.h"
#include "nn/quant.h"

/* Below this many floats threads cost more than they save. */
#define SERIAL_FLOATS 65536

static msa_status create_kv(forward *f, const weights *w, const msa_session_params *params,
                            msa_error *err) {
    const arch *a = &w->arch;
    msa_kv_params kv = {.n_layers = a->n_layers,
                        .n_kv_heads = a->n_kv_heads,
                        .head_dim = a->head_dim,
                        .block = params->block,
                        .k_dtype = params->k_dtype,
                        .v_dtype = params->v_dtype,
                        .index_dtype = params->index_dtype,
                        .n_pages = params->kv_pages};
    if (params->attn == MSA_ATTN_MSA && selector_has_lane(params->selector)) {
        bool indexed = params->selector == MSA_SELECTOR_INDEX;
        kv.n_index_keys = 1;
        kv.index_dim = indexed ? a->index.dim : a->head_dim;
        kv.first_index_layer = indexed ? a->n_dense_layers : 0;
    }
    kv.index8 = params->index8 == MSA_INDEX8_ON;
    return msa_kv_create(&f->kv, &kv, err);
}

static bool allocate_activations(forward *f, const weights *w) {
    const arch *a = &w->arch;
    size_t n = (size_t)f->max_tokens, query = (size_t)a->n_q_heads * (size_t)a->head_dim;
    size_t groups = (size_t)a->n_kv_heads, key = groups * (size_t)a->head_dim;
    size_t index = f->attention.indexed ? (size_t)a->index.dim : 0;
    size_t lane = (size_t)msa_kv_get_params(f->kv)->index_dim;
    int64_t widest = feed_forward_widest(a);
    if ((int64_t)query > widest) widest = (int64_t)query;
    size_t workspace = gemm_workspace_floats(f->max_tokens, widest, f->n_threads);
    struct {
        float **p;
        size_t n_floats; /* of a token */
    } const buffers[] = {
        {&f->x, (size_t)a->n_embd},
        {&f->normed, (size_t)a->n_embd},
        {&f->q, query},
        {&f->attended, query},
        {&f->k, key},
        {&f->v, key},
        {&f->qi, groups * index},
        {&f->ki, lane},
        {&f->rope, rope_table_floats(&w->rope, 1)},
    };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        *buffers[i].p = mem_alloc(n, buffers[i].n_floats * sizeof(float));
        if (!*buffers[i].p) return false;
    }
    f->gemm_workspace = mem_alloc(workspace, sizeof(float));
    return f->gemm_workspace &&
           feed_forward_create(&f->feed_forward, a, f->max_tokens, f->n_threads, f->gemm_workspace);
}

msa_status forward_create(forward **out, const msa_model *model, const msa_session_params *params,
                          msa_error *err) {
    *out = NULL;
    forward *f = mem_calloc(1, sizeof *f);
    if (!f) return error_set(err, MSA_E_NOMEM, "no memory for a forward pass");
    f->n_users = 1;
    f->model = model;
    f->n_threads = params->n_threads;
    f->max_tokens = params->chunk;
    msa_status status = create_kv(f, model->weights, params, err);
    if (!status)
        status = attention_create(&f->attention, params, f->kv, model->weights->arch.n_q_heads,
                                  f->max_tokens, err);
    if (!status && !allocate_activations(f, model->weights))
        status = error_set(err, MSA_E_NOMEM,
                           "no memory for steps of %lld tokens; a smaller chunk "
                           "needs less",
                           (long long)f->max_tokens);
    if (status)
        forward_release(f);
    else
        *out = f;
    return status;
}

void forward_release(forward *f) {
    if (!f || --f->n_users > 0) return;
    attention_free(&f->attention);
    feed_forward_free(&f->feed_forward);
    msa_kv_free(f->kv);
    float *const buffers[] = {f->x, f->normed, f->q,  f->attended, f->k,
                              f->v, f->qi,     f->ki, f->rope,     f->gemm_workspace};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) mem_free(buffers[i]);
    mem_free(f);
}

static void embed(forward *f, const int32_t *ids, int64_t n) {
    const gemm_weight *table = &f->model->weights->token_embd;
    quant_widen_fn *widen = quant_kernels_current()->widen[table->type];
    for (int64_t t = 0; t < n; t++)
        widen((const char *)table->data + (size_t)ids[t] * table->row_bytes, table->n_in,
              f->x + t * table->n_in);
}

/* x += y */
static void add_residual(const forward *f, float *restrict x, const float *restrict y, int64_t n) {
#pragma omp parallel for simd num_threads(f->n_threads) if (n >= SERIAL_FLOATS && f->n_threads > 1)
    for (int64_t i = 0; i < n; i++) x[i] += y[i];
}

static void norm(const forward *f, const float *x, const float *w, int64_t n_rows, int64_t width,
                 float *y) {
    norm_rms(&(norm_rows){.x = x,
                          .y = y,
                          .x_stride = width,
                          .y_stride = width,
                          .n_rows = n_rows,
                          .n = width,
                          .w = w,
                          .eps = f->model->weights->arch.norm_eps},
             f->n_threads);
}

/* Products of n rows of x with weights that share n_in. */
static void project(const forward *f, const float *x, int64_t n, const gemm_target *targets,
                    int n_targets) {
    gemm_input in = {x, targets->w->n_in, n};
    gemm_run(&in, targets, n_targets, f->n_threads, f->gemm_workspace);
}

static void turn(const forward *f, float *x, int64_t n, int32_t n_heads, int32_t width) {
    const weights *w = f->model->weights;
    rope_apply(&(rope_rows){.x = x,
                            .n_tokens = n,
                            .token_stride = (int64_t)n_heads * width,
                            .n_heads = n_heads,
                            .head_dim = width,
                            .n_rot = w->rope.n_rot,
                            .pairs = w->rope.pairs,
                            .table = f->rope},
               f->n_threads);
}

/* Heads as the family has them: normalised where w is given, then turned. */
static void finish_heads(const forward *f, float *x, int64_t n, int32_t n_heads, int32_t width,
                         const float *w) {
    if (w) norm(f, x, w, n * n_heads, width, x);
    turn(f, x, n, n_heads, width);
}

/* q, k, v of the layer from x, and qi, ki where it selects by them (x: else NULL). */
static void make_qkv(forward *f, const weights_layer *l, const weights_index *x, int64_t n) {
    const arch *a = &f->model->weights->arch;
    int32_t hq = a->n_q_heads, hkv = a->n_kv_heads, d = a->head_dim, di = a->index.dim;
    norm(f, f->x, l->attn_norm, n, a->n_embd, f->normed);
    const gemm_target targets[] = {{&l->wq, l->bq, f->q, (int64_t)hq * d},
                                   {&l->wk, l->bk, f->k, (int64_t)hkv * d},
                                   {&l->wv, l->bv, f->v, (int64_t)hkv * d},
                                   {x ? &x->wq : NULL, NULL, f->qi, (int64_t)hkv * di},
                                   {x ? &x->wk : NULL, NULL, f->ki, di}};
    project(f, f->normed, n, targets, x ? 5 : 3);
    finish_heads(f, f->q, n, hq, d, l->q_norm);
    finish_heads(f, f->k, n, hkv, d, l->k_norm);
    if (!x) return;
    finish_heads(f, f->qi, n, hkv, di, x->q_norm);
    finish_heads(f, f->ki, n, 1, di, x->k_norm);
}

/* ki of the shared selector: the mean over the groups of each token's keys. */
static msa_status mean_keys(forward *f, int64_t n, msa_error *err) {
    msa_shape one_group = f->attention.shape;
    one_group.n_q_heads = one_group.n_kv_heads;
    one_group.n_kv_heads = one_group.n_index_heads = 1;
    return proxy_query_threads(&one_group, n, f->k, f->ki, f->n_threads, err);
}

/* x += Wo attended, then x += the feed-forward layer of norm(x). */
static void finish_layer(forward *f, const weights_layer *l, int64_t n) {
    int64_t n_embd = f->model->weights->arch.n_embd;
    project(f, f->attended, n, &(gemm_target){&l->wo, NULL, f->normed, n_embd}, 1);
    add_residual(f, f->x, f->normed, n * n_embd);
    norm(f, f->x, l->ffn_norm, n, n_embd, f->normed);
    feed_forward_run(&f->feed_forward, l, f->normed, n);
    add_residual(f, f->x, f->normed, n * n_embd);
}

/* Tells who watches what the layer selected. */
static msa_status tell(forward *f, int32_t layer, int64_t n, const forward_watch *watch,
                       msa_error *err) {
    attention *a = &f->attention;
    if (attention_is_dense(a, layer)) return MSA_OK;
    if (watch->fn) watch->fn(watch->user, layer, a->first, n, &a->shape, a->ids);
    if (!watch->mass_fn) return MSA_OK;
    msa_status status = attention_find_mass(a, layer, f->q, err);
    if (status) return status;
    watch->mass_fn(watch->mass_user, layer, a->first, n, &a->shape, a->ids, a->mass, a->n_blocks);
    return MSA_OK;
}

static msa_status run_layer(forward *f, msa_kv_seq *seq, int32_t layer, int64_t n,
                            const forward_watch *watch, msa_error *err) {
    const weights *w = f->model->weights;
    const attention *a = &f->attention;
    bool indexed = a->indexed && layer >= w->arch.n_dense_layers;
    make_qkv(f, &w->layers[layer], indexed ? &w->index[layer] : NULL, n);
    msa_status status = a->shared ? mean_keys(f, n, err) : MSA_OK;
    if (!status)
        status = kv_write_threads(seq, layer, 0, n, f->k, f->v, indexed || a->shared ? f->ki : NULL,
                                  f->n_threads, err);
    if (status) return status;
    double start = omp_get_wtime();
    status = attention_run(&f->attention, layer, f->q, f->qi, f->attended, err);
    if (status) return status;
    f->attention_s += omp_get_wtime() - start;
    status = tell(f, layer, n, watch, err);
    if (status) return status;
    finish_layer(f, &w->layers[layer], n);
    return MSA_OK;
}

msa_status forward_step(forward *f, msa_kv_seq *seq, const int32_t *ids, int64_t n,
                        const forward_watch *watch, msa_error *err) {
    const weights *w = f->model->weights;
    int64_t first = msa_kv_length(seq);
    double start = omp_get_wtime();
    msa_status status = attention_plan(&f->attention, seq, first, n, watch->mass_fn != NULL, err);
    if (status) return status;
    f->attention_s = omp_get_wtime() - start;
    rope_table(&w->rope, first, n, f->rope);
    embed(f, ids, n);
    for (int32_t layer = 0; layer < w->arch.n_layers; layer++) {
        status = run_layer(f, seq, layer, n, watch, err);
        if (status) return status;
    }
    return msa_kv_commit(seq, n, err);
}

void forward_logits(forward *f, int64_t first, int64_t n_rows, float *logits) {
    const weights *w = f->model->weights;
    int64_t n_embd = w->arch.n_embd;
    norm(f, f->x + first * n_embd, w->output_norm, n_rows, n_embd, f->normed);
    project(f, f->normed, n_rows, &(gemm_target){&w->output, NULL, logits, w->arch.n_vocab}, 1);
}
