/* session_params.c: defaults of a session, and what is refused. */
#include <omp.h>

#include "attn/index8.h"
#include "base/error.h"
#include "base/format.h"
#include "engine/session.h"

/* Tokens per prefill step. */
#define DEFAULT_CHUNK 512

/* A context from which on the int8 copy is worth its memory: docs/certified-index.md, "In use". */
#define INDEX8_CONTEXT 32768

const char *msa_selector_name(msa_selector kind) {
    static const char *const NAMES[] = {"auto",   "index",  "proxy",  "means",
                                        "shared", "window", "random", "oracle"};
    return (int)kind < 0 || kind > MSA_SELECTOR_ORACLE ? NULL : NAMES[kind];
}

msa_session_params msa_session_defaults(const msa_model *model) {
    if (!model) return (msa_session_params){0};
    const msa_model_info *info = msa_model_get_info(model);
    msa_session_params p = {
        .attn = MSA_ATTN_MSA, .k_dtype = MSA_F16, .v_dtype = MSA_F16, .index_dtype = MSA_F16};
    if (info->has_index) {
        p.block = info->index_block;
        p.topk = info->index_topk;
        p.local = info->index_local;
        p.init = info->index_init;
        for (int32_t layer = 0; layer < info->n_dense_layers && layer < 256; layer++)
            p.dense_layers[layer / 64] |= (uint64_t)1 << layer % 64;
        return p;
    }
    bool small = info->n_ctx_train <= 8192;
    p.block = small ? 64 : 128;
    p.topk = small ? 8 : 16;
    p.local = 2;
    p.init = 1;
    return p;
}

static msa_status check_selector(const msa_session_params *p, const msa_model *model,
                                 msa_error *err) {
    const msa_model_info *info = msa_model_get_info(model);
    if ((int)p->selector < 0 || p->selector > MSA_SELECTOR_ORACLE)
        return error_set(err, MSA_E_ARG, "selector %d is not known", (int)p->selector);
    if (p->selector == MSA_SELECTOR_INDEX && !info->has_index)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "the index selector needs index projections (query and key) in every "
                         "sparse layer; this %s model has none: use the proxy selector, or load an "
                         "index branch trained for it",
                         info->architecture);
    return MSA_OK;
}

msa_selector msa_session_selector(const msa_session_params *p, const msa_model *model) {
    if (!p || !model) return MSA_SELECTOR_AUTO;
    if (p->selector != MSA_SELECTOR_AUTO) return p->selector;
    return msa_model_get_info(model)->has_index ? MSA_SELECTOR_INDEX : MSA_SELECTOR_PROXY;
}

int msa_session_wants_index8(const msa_session_params *p, const msa_model *model) {
    if (!p || !model || p->attn != MSA_ATTN_MSA || p->index8 == MSA_INDEX8_OFF) return 0;
    msa_selector kind = msa_session_selector(p, model);
    if (!selector_scores(kind) || p->index8 == MSA_INDEX8_ON) return selector_scores(kind);
    int32_t n_ctx = p->n_ctx ? p->n_ctx : msa_model_get_info(model)->n_ctx_train;
    return selector_has_lane(kind) && index8_is_of(p->index_dtype) && n_ctx >= INDEX8_CONTEXT;
}

/* Refused here in words of a session; the cache would speak of its lanes. */
static msa_status check_index8(const msa_session_params *p, const msa_model *model,
                               msa_error *err) {
    bool lane = selector_has_lane(p->selector);
    msa_dtype dtype = lane ? p->index_dtype : p->k_dtype;
    if ((int)p->index8 < 0 || p->index8 > MSA_INDEX8_OFF)
        return error_set(err, MSA_E_ARG, "index8 must be auto, on or off (0..2), not %d",
                         (int)p->index8);
    if (!msa_session_wants_index8(p, model) || index8_is_of(dtype)) return MSA_OK;
    return error_set(err, MSA_E_UNSUPPORTED,
                     "index8 is on, but %s are stored in %s: there are int8 copies of f32, f16 and "
                     "bf16; choose one of these, or turn index8 off",
                     lane ? "index keys" : "the keys that the proxy selector scores",
                     msa_dtype_name(dtype));
}

static msa_status check_format(const char *what, msa_dtype dtype, msa_error *err) {
    if (format_bits(dtype)) return MSA_OK;
    return error_set(err, MSA_E_ARG, "number format %d of %s is not known", (int)dtype, what);
}

static msa_status check_numbers(const msa_session_params *p, msa_error *err) {
    if (p->n_ctx < 0)
        return error_set(err, MSA_E_ARG, "n_ctx must be 0 (as trained) or more, not %d", p->n_ctx);
    if (p->n_threads < 0 || p->n_threads > 1024)
        return error_set(err, MSA_E_ARG, "n_threads must be in 0..1024, not %d", p->n_threads);
    if (p->chunk < 0 || p->chunk > 65536)
        return error_set(err, MSA_E_ARG, "chunk must be in 0..65536, not %d", p->chunk);
    if (p->kv_pages < 0 || p->kv_pages > INT32_MAX)
        return error_set(err, MSA_E_ARG, "kv_pages must be in 0..2147483647, not %lld",
                         (long long)p->kv_pages);
    if (p->allow_past_context < 0 || p->allow_past_context > 1)
        return error_set(err, MSA_E_ARG, "allow_past_context must be 0 or 1, not %d",
                         p->allow_past_context);
    if (p->attn != MSA_ATTN_DENSE && p->attn != MSA_ATTN_MSA)
        return error_set(err, MSA_E_ARG, "attention mode %d is not known", (int)p->attn);
    msa_status status = check_format("keys", p->k_dtype, err);
    if (!status) status = check_format("values", p->v_dtype, err);
    return status ? status : check_format("index keys", p->index_dtype, err);
}

static msa_status check_dense_layers(const msa_session_params *p, int32_t n_layers,
                                     msa_error *err) {
    for (int32_t layer = n_layers; layer < 256; layer++)
        if (p->dense_layers[layer / 64] >> layer % 64 & 1)
            return error_set(err, MSA_E_ARG,
                             "layer %d was to attend densely, but the model's layers are 0..%d",
                             layer, n_layers - 1);
    return MSA_OK;
}

msa_status session_params_resolve(msa_session_params *p, const msa_model *model, msa_error *err) {
    const msa_model_info *info = msa_model_get_info(model);
    msa_status status = check_numbers(p, err);
    if (!status) status = check_selector(p, model, err);
    if (!status) p->selector = msa_session_selector(p, model);
    if (!status) status = check_dense_layers(p, info->n_layers, err);
    if (!status) status = check_index8(p, model, err);
    if (status) return status;
    p->index8 = msa_session_wants_index8(p, model) ? MSA_INDEX8_ON : MSA_INDEX8_OFF;
    bool indexed = p->selector == MSA_SELECTOR_INDEX;
    msa_shape shape = {.n_q_heads = info->n_q_heads,
                       .n_kv_heads = info->n_kv_heads,
                       .head_dim = info->head_dim,
                       .n_index_heads = info->n_kv_heads,
                       .n_index_keys = selector_has_lane(p->selector) ? 1 : info->n_kv_heads,
                       .index_dim = indexed ? info->index_dim : info->head_dim,
                       .block = p->block,
                       .topk = p->topk,
                       .local = p->local,
                       .init = p->init};
    status = msa_shape_check(&shape, err);
    if (status) return status;
    if (p->n_ctx == 0) p->n_ctx = info->n_ctx_train;
    if (p->n_ctx > info->n_ctx_train && !p->allow_past_context)
        return error_set(err, MSA_E_ARG,
                         "a context of %d tokens is past the %d that the model was trained for; "
                         "what it makes of positions it never saw is not known: allow it "
                         "(--allow-past-context) or stay within",
                         p->n_ctx, info->n_ctx_train);
    if (p->n_threads == 0) p->n_threads = omp_get_max_threads();
    if (p->chunk == 0) p->chunk = DEFAULT_CHUNK;
    if (p->chunk > p->n_ctx) p->chunk = p->n_ctx;
    if (p->kv_pages == 0) p->kv_pages = ((int64_t)p->n_ctx + p->block - 1) / p->block + 1;
    return MSA_OK;
}
