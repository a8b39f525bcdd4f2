/* selector.c: see selector.h. */
#include "engine/selector.h"

#include "attn/fixed.h"
#include "attn/proxy.h"
#include "base/error.h"
#include "base/mem.h"

static bool uses_index_operator(msa_selector kind) {
    return kind == MSA_SELECTOR_INDEX || kind == MSA_SELECTOR_PROXY || kind == MSA_SELECTOR_SHARED;
}

static bool uses_mean_query(msa_selector kind) {
    return kind == MSA_SELECTOR_PROXY || kind == MSA_SELECTOR_MEANS || kind == MSA_SELECTOR_SHARED;
}

msa_status selector_create(selector *s, const msa_session_params *params, const msa_shape *shape,
                           int64_t max_tokens, msa_error *err) {
    *s = (selector){.kind = params->selector,
                    .seed = params->seed,
                    .shape = *shape,
                    .n_threads = params->n_threads};
    size_t query = (size_t)shape->n_kv_heads * (size_t)shape->head_dim * sizeof(float);
    if (!uses_mean_query(s->kind)) return MSA_OK;
    s->query = mem_alloc((size_t)max_tokens, query);
    if (s->query) return MSA_OK;
    *s = (selector){0};
    return error_set(err, MSA_E_NOMEM, "no memory to select blocks for %lld tokens at a time",
                     (long long)max_tokens);
}

void selector_free(selector *s) {
    msa_plan_free(s->index);
    mem_free(s->query);
    *s = (selector){0};
}

msa_status selector_plan(selector *s, const msa_batch *batch, msa_error *err) {
    msa_plan_options options = {.n_threads = s->n_threads};
    if (uses_index_operator(s->kind))
        return msa_index_plan(&s->index, &s->shape, batch, &options, err);
    return MSA_OK;
}

/* By position alone: a list takes no time worth sharing out. */
static void run_fixed(const selector *s, const selector_args *a) {
    int32_t groups = s->shape.n_kv_heads, *ids = a->ids;
    for (int64_t t = a->first; t < a->first + a->n; t++)
        for (int32_t g = 0; g < groups; g++, ids += s->shape.topk)
            if (s->kind == MSA_SELECTOR_WINDOW)
                fixed_window(&s->shape, t, ids);
            else
                fixed_random(&s->shape, t, fixed_stream(s->seed, a->layer, t, g), ids);
}

msa_status selector_run(selector *s, const selector_args *a, msa_error *err) {
    msa_status status = MSA_OK;
    if (uses_mean_query(s->kind))
        status = proxy_query_threads(&s->shape, a->n, a->q, s->query, s->n_threads, err);
    if (status) return status;
    if (uses_index_operator(s->kind)) {
        msa_index_args args = {.qi = s->kind == MSA_SELECTOR_INDEX ? a->qi : s->query,
                               .ki = selector_has_lane(s->kind) ? a->index : a->k,
                               .out = {a->ids, MSA_ASCENDING, MSA_TOKEN_MAJOR}};
        return msa_index_run(s->index, &args, err);
    }
    run_fixed(s, a);
    return MSA_OK;
}
