/* selector.c: see selector.h. */
#include "engine/selector.h"

#include "attn/fixed.h"
#include "attn/index8.h"
#include "attn/mass.h"
#include "attn/means.h"
#include "attn/proxy.h"
#include "base/error.h"
#include "base/mem.h"

/* Most rows that may share a key, in a step of several queries that reads the int8 copy: with more
 * of them computing binds, not reading. docs/certified-index.md, "In use". */
#define COPY_ROWS 16

static bool pays_copy(const msa_shape *shape, int32_t n_queries) {
    return n_queries == 1 || n_queries * shape->n_index_heads <= COPY_ROWS * shape->n_index_keys;
}

static bool uses_mean_query(msa_selector kind) {
    return kind == MSA_SELECTOR_PROXY || kind == MSA_SELECTOR_MEANS || kind == MSA_SELECTOR_SHARED;
}

msa_status selector_create(selector *s, const msa_session_params *params, const msa_shape *shape,
                           int64_t max_tokens, msa_error *err) {
    *s = (selector){.kind = params->selector,
                    .seed = params->seed,
                    .shape = *shape,
                    .n_threads = params->n_threads,
                    .index8 = params->index8 == MSA_INDEX8_ON};
    size_t query = (size_t)shape->n_kv_heads * (size_t)shape->head_dim * sizeof(float);
    if (!uses_mean_query(s->kind)) return MSA_OK;
    s->query = mem_alloc((size_t)max_tokens, query);
    if (s->query) return MSA_OK;
    *s = (selector){0};
    return error_set(err, MSA_E_NOMEM, "no memory to select blocks for %lld tokens at a time",
                     (long long)max_tokens);
}

void selector_free(selector *s) {
    msa_plan_free(s->plan);
    mem_free(s->query);
    *s = (selector){0};
}

msa_status selector_plan(selector *s, const msa_batch *batch, msa_error *err) {
    s->copy_read = s->index8 && pays_copy(&s->shape, batch->cu_seqlens_q[batch->n_requests]);
    msa_plan_options options = {.n_threads = s->n_threads, .index8 = s->copy_read};
    switch (s->kind) {
    case MSA_SELECTOR_MEANS: return means_plan(&s->plan, &s->shape, batch, &options, err);
    case MSA_SELECTOR_ORACLE: return mass_plan(&s->plan, &s->shape, batch, &options, err);
    case MSA_SELECTOR_WINDOW:
    case MSA_SELECTOR_RANDOM: return MSA_OK;
    default: return msa_index_plan(&s->plan, &s->shape, batch, &options, err);
    }
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

static msa_status run_index(const selector *s, const selector_args *a, msa_error *err) {
    msa_index_args args = {.qi = s->kind == MSA_SELECTOR_INDEX ? a->qi : s->query,
                           .ki = selector_has_lane(s->kind) ? a->index : a->k,
                           .out = {a->ids, MSA_ASCENDING, MSA_TOKEN_MAJOR}};
    msa_index8_stats stats = {0};
    if (s->copy_read) args.ki8 = &a->copy, args.stats = &stats;
    msa_status status = msa_index_run(s->plan, &args, err);
    index8_add(a->stats, &stats);
    return status;
}

msa_status selector_run(selector *s, const selector_args *a, msa_error *err) {
    msa_status status = MSA_OK;
    if (s->query) status = proxy_query_threads(&s->shape, a->n, a->q, s->query, s->n_threads, err);
    if (status) return status;
    switch (s->kind) {
    case MSA_SELECTOR_MEANS:
        return means_run(s->plan, &(means_args){.q = s->query, .k = a->k, .ids = a->ids}, err);
    case MSA_SELECTOR_ORACLE:
        return mass_run(s->plan, &(mass_args){.q = a->q, .k = a->k, .ids = a->ids}, err);
    case MSA_SELECTOR_WINDOW:
    case MSA_SELECTOR_RANDOM: run_fixed(s, a); return MSA_OK;
    default: return run_index(s, a, err);
    }
}
