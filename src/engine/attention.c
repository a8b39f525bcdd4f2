/* attention.c: see attention.h. */
#include "engine/attention.h"

#include "attn/mass.h"
#include "base/error.h"
#include "base/mem.h"

bool attention_is_dense(const attention *a, int32_t layer) {
    if (!a->msa) return true;
    if (layer < msa_kv_get_params(a->kv)->first_index_layer) return true;
    return layer < 256 && (a->dense_layers[layer / 64] >> layer % 64 & 1);
}

msa_status attention_create(attention *a, const msa_session_params *params, const msa_kv *kv,
                            int32_t n_q_heads, int64_t max_tokens, msa_error *err) {
    const msa_kv_params *p = msa_kv_get_params(kv);
    bool msa = params->attn == MSA_ATTN_MSA, lane = p->n_index_keys > 0;
    *a = (attention){.kv = kv,
                     .shape = {.n_q_heads = n_q_heads,
                               .n_kv_heads = p->n_kv_heads,
                               .head_dim = p->head_dim,
                               .n_index_heads = p->n_kv_heads,
                               .n_index_keys = lane ? p->n_index_keys : p->n_kv_heads,
                               .index_dim = lane ? p->index_dim : p->head_dim,
                               .block = params->block,
                               .topk = params->topk,
                               .local = params->local,
                               .init = params->init},
                     .n_threads = params->n_threads,
                     .msa = msa,
                     .indexed = msa && params->selector == MSA_SELECTOR_INDEX,
                     .shared = msa && params->selector == MSA_SELECTOR_SHARED};
    memcpy(a->dense_layers, params->dense_layers, sizeof a->dense_layers);
    for (int32_t layer = 0; layer < p->n_layers; layer++) {
        bool dense = attention_is_dense(a, layer);
        a->any_dense |= dense;
        a->any_msa |= !dense;
    }
    msa_status status = msa_shape_check(&a->shape, err);
    if (!status && a->any_msa) {
        a->ids = mem_alloc((size_t)max_tokens, (size_t)p->n_kv_heads * (size_t)params->topk * 4);
        if (!a->ids)
            status = error_set(err, MSA_E_NOMEM, "no memory for the blocks of %lld tokens",
                               (long long)max_tokens);
        else
            status = selector_create(&a->selector, params, &a->shape, max_tokens, err);
    }
    if (status) attention_free(a);
    return status;
}

void attention_free(attention *a) {
    selector_free(&a->selector);
    msa_plan_free(a->sparse);
    msa_plan_free(a->dense);
    msa_plan_free(a->decode);
    msa_plan_free(a->mass_plan);
    mem_free(a->mass);
    mem_free(a->ids);
    *a = (attention){0};
}

static msa_status plan_mass(attention *a, const msa_batch *batch, const msa_plan_options *options,
                            msa_error *err) {
    size_t rows = (size_t)a->n * (size_t)a->shape.n_kv_heads, need;
    if (!size_mul(rows, (size_t)a->n_blocks, &need) ||
        !mem_grow((void **)&a->mass, &a->mass_capacity, need, sizeof *a->mass))
        return error_set(err, MSA_E_NOMEM, "no memory for the masses of %lld tokens, %lld blocks",
                         (long long)a->n, (long long)a->n_blocks);
    return mass_plan(&a->mass_plan, &a->shape, batch, options, err);
}

msa_status attention_plan(attention *a, const msa_kv_seq *seq, int64_t first, int64_t n,
                          bool with_mass, msa_error *err) {
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
    a->n_blocks = (kv_len + a->shape.block - 1) / a->shape.block;
    a->keys = a->keys_dense = 0;
    a->index8 = (msa_index8_stats){0};
    if (a->any_dense) status = msa_dense_plan(&a->dense, &a->shape, &batch, &options, err);
    if (status || !a->any_msa) return status;
    if (with_mass) status = plan_mass(a, &batch, &options, err);
    if (!status) status = selector_plan(&a->selector, &batch, err);
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
    selector_args choice = {.layer = layer,
                            .first = a->first,
                            .n = a->n,
                            .q = q,
                            .qi = qi,
                            .copy = msa_kv_index8(a->kv, layer),
                            .stats = &a->index8,
                            .ids = a->ids};
    msa_kv_lanes(a->kv, layer, &args.k, &args.v, &choice.index);
    if (!dense) {
        args.selection = &selection;
        choice.k = args.k;
        msa_status status = selector_run(&a->selector, &choice, err);
        if (status) return status;
    }
    count_keys(a, dense);
    if (dense) return msa_dense_run(a->dense, &args, err);
    return a->n <= ATTENTION_DECODE_MAX ? msa_decode_run(a->decode, &args, err)
                                        : msa_sparse_run(a->sparse, &args, err);
}

msa_status attention_find_mass(attention *a, int32_t layer, const float *q, msa_error *err) {
    mass_args args = {.q = q, .mass = a->mass, .n_blocks = a->n_blocks};
    msa_kv_lanes(a->kv, layer, &args.k, NULL, NULL);
    return mass_run(a->mass_plan, &args, err);
}
