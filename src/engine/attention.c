/* attention.c: see attention.h. */
#include "engine/attention.h"

#include "attn/proxy.h"
#include "base/error.h"
#include "base/mem.h"

bool attention_is_dense(const attention *a, int32_t layer) {
    if (!a->msa) return true;
    if (a->indexed && layer < msa_kv_get_params(a->kv)->first_index_layer) return true;
    return layer < 256 && (a->dense_layers[layer / 64] >> layer % 64 & 1);
}

msa_status attention_create(attention *a, const msa_session_params *params, const msa_kv *kv,
                            int32_t n_q_heads, int64_t max_tokens, msa_error *err) {
    const msa_kv_params *p = msa_kv_get_params(kv);
    bool indexed = p->n_index_keys > 0;
    *a = (attention){.kv = kv,
                     .shape = {.n_q_heads = n_q_heads,
                               .n_kv_heads = p->n_kv_heads,
                               .head_dim = p->head_dim,
                               .n_index_heads = p->n_kv_heads,
                               .n_index_keys = indexed ? p->n_index_keys : p->n_kv_heads,
                               .index_dim = indexed ? p->index_dim : p->head_dim,
                               .block = params->block,
                               .topk = params->topk,
                               .local = params->local,
                               .init = params->init},
                     .n_threads = params->n_threads,
                     .msa = params->attn == MSA_ATTN_MSA,
                     .indexed = indexed};
    memcpy(a->dense_layers, params->dense_layers, sizeof a->dense_layers);
    for (int32_t layer = 0; layer < p->n_layers; layer++) {
        bool dense = attention_is_dense(a, layer);
        a->any_dense |= dense;
        a->any_msa |= !dense;
    }
    msa_status status = msa_shape_check(&a->shape, err);
    if (status) attention_free(a);
    if (status || !a->any_msa) return status;
    size_t query = (size_t)p->n_kv_heads * (size_t)p->head_dim * sizeof(float);
    if (!indexed) a->proxy_q = mem_alloc((size_t)max_tokens, query);
    a->ids = mem_alloc((size_t)max_tokens, (size_t)p->n_kv_heads * (size_t)params->topk * 4);
    if ((indexed || a->proxy_q) && a->ids) return MSA_OK;
    attention_free(a);
    return error_set(err, MSA_E_NOMEM, "no memory to select blocks for %lld tokens at a time",
                     (long long)max_tokens);
}

void attention_free(attention *a) {
    msa_plan_free(a->index);
    msa_plan_free(a->sparse);
    msa_plan_free(a->dense);
    msa_plan_free(a->decode);
    mem_free(a->proxy_q);
    mem_free(a->ids);
    *a = (attention){0};
}

msa_status attention_plan(attention *a, const msa_kv_seq *seq, int64_t first, int64_t n,
                          msa_error *err) {
    int64_t kv_len = first + n, n_pages;
    const int32_t cu_seqlens[2] = {0, (int32_t)n};
    const int32_t *pages = msa_kv_page_table(seq, &n_pages);
    msa_batch batch = {.n_requests = 1,
                       .cu_seqlens_q = cu_seqlens,
                       .kv_len = &kv_len,
                       .page_table = pages,
                       .page_table_stride = n_pages,
                       .n_pages = msa_kv_get_params(a->kv)->n_pages};
    msa_plan_options options = {.n_threads = a->n_threads};
    msa_status status = MSA_OK;
    a->first = first;
    a->n = n;
    a->keys = a->keys_dense = 0;
    if (a->any_dense) status = msa_dense_plan(&a->dense, &a->shape, &batch, &options, err);
    if (status || !a->any_msa) return status;
    status = msa_index_plan(&a->index, &a->shape, &batch, &options, err);
    if (status) return status;
    if (n <= ATTENTION_DECODE_MAX)
        return msa_decode_plan(&a->decode, &a->shape, &batch, &options, err);
    return msa_sparse_plan(&a->sparse, &a->shape, &batch, &options, err);
}

/* Visible keys in the selected blocks, over all rows and groups. */
static int64_t count_selected_keys(const attention *a) {
    int64_t block = a->shape.block, n_keys = 0, row = (int64_t)a->shape.n_kv_heads * a->shape.topk;
    for (int64_t t = 0; t < a->n; t++) {
        int64_t position = a->first + t, own = position / block;
        const int32_t *ids = a->ids + t * row;
        for (int64_t i = 0; i < row; i++)
            if (ids[i] >= 0) n_keys += ids[i] == own ? position % block + 1 : block;
    }
    return n_keys;
}

/* Through the index keys of the layer, or the proxy's mean queries against the main keys k. */
static msa_status select_blocks(attention *a, int32_t layer, const msa_lane *k, const float *q,
                                const float *qi, const msa_selection *selection, msa_error *err) {
    msa_index_args args = {.qi = qi, .ki = *k, .out = *selection};
    if (a->indexed) {
        msa_kv_lanes(a->kv, layer, NULL, NULL, &args.ki);
    } else {
        msa_status status = proxy_query_threads(&a->shape, a->n, q, a->proxy_q, a->n_threads, err);
        if (status) return status;
        args.qi = a->proxy_q;
    }
    return msa_index_run(a->index, &args, err);
}

/* Main keys a query reads, summed over the step's queries and averaged over groups. */
static void count_keys(attention *a, bool dense) {
    double n = (double)a->n, all = n * (double)a->first + n * (n + 1) / 2;
    int32_t n_layers = msa_kv_get_params(a->kv)->n_layers;
    double read = dense ? all : (double)count_selected_keys(a) / a->shape.n_kv_heads;
    a->keys += read / n_layers;
    a->keys_dense += all / n_layers;
}

msa_status attention_run(attention *a, int32_t layer, const float *q, const float *qi, float *out,
                         msa_error *err) {
    msa_selection selection = {a->ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    msa_attn_args args = {.q = q, .out = out};
    bool dense = attention_is_dense(a, layer);
    msa_kv_lanes(a->kv, layer, &args.k, &args.v, NULL);
    if (!dense) {
        args.selection = &selection;
        msa_status status = select_blocks(a, layer, &args.k, q, qi, &selection, err);
        if (status) return status;
    }
    count_keys(a, dense);
    if (dense) return msa_dense_run(a->dense, &args, err);
    return a->n <= ATTENTION_DECODE_MAX ? msa_decode_run(a->decode, &args, err)
                                        : msa_sparse_run(a->sparse, &args, err);
}
