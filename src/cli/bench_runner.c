/* bench_runner.c: see bench_runner.h. */
#include "cli/bench_runner.h"

#include <stdlib.h>
#include <unistd.h>

#include "cli/interrupt.h"
#include "cli/settings.h"

enum { VARIANTS_MAX = 16, STRETCHES_MAX = 16, CALLS_MAX = 24, ROUNDS_MIN = 3 };
#define ROUND_S 0.02 /* an operator has its turn for this long, one call at least */

typedef struct variant {
    float *q, *qi;
    int32_t *ids;
    int32_t *page_table;
    msa_plan *plans[OP_COUNT]; /* OP_MSA has none of its own */
} variant;

typedef struct runner {
    const bench_case *c;
    const bench_data *data;
    const bench_settings *settings;
    int n_variants, next[OP_COUNT];
    variant variants[VARIANTS_MAX];
    size_t rows, q_bytes, qi_bytes, ids_bytes;
    int64_t table_stride;
    int32_t *cu_seqlens;
    int64_t *kv_len;
    float *out;
} runner;

static double last_level_cache_bytes(void) {
    double n = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
    n = (double)sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return n > 0 ? n : 32e6;
}

int64_t bench_pages_wanted(const bench_case *c, const msa_shape *shape, msa_dtype index_format) {
    int64_t pages = bench_case_pages(c, shape->block);
    double bytes = (double)pages * shape->block * shape->n_index_keys *
                   settings_row_bytes(index_format, shape->index_dim);
    double stretches = 1 + 2 * last_level_cache_bytes() / bytes;
    return pages * (int64_t)(stretches < STRETCHES_MAX ? stretches : STRETCHES_MAX);
}

/* Enough different selections that what they name together is not in a cache: fewer when a single
 * one has many queries. */
static int variants_wanted(const bench_case *c) {
    int64_t n = 64 / bench_case_rows(c);
    if (bench_case_rows(c) > 1024) return 1;
    return n < OP_COUNT ? OP_COUNT : n > VARIANTS_MAX ? VARIANTS_MAX : (int)n;
}

static void release(runner *r) {
    for (int i = 0; i < r->n_variants; i++) {
        variant *v = &r->variants[i];
        bench_free(v->q, r->q_bytes);
        bench_free(v->qi, r->qi_bytes);
        bench_free(v->ids, r->ids_bytes);
        free(v->page_table);
        for (int op = 0; op < OP_COUNT; op++) msa_plan_free(v->plans[op]);
    }
    bench_free(r->out, r->q_bytes);
    free(r->cu_seqlens);
    free(r->kv_len);
}

static msa_status make_plans(runner *r, variant *v, msa_error *err) {
    const msa_shape *shape = &r->data->shape;
    msa_batch batch = {.n_requests = r->c->n_requests,
                       .cu_seqlens_q = r->cu_seqlens,
                       .kv_len = r->kv_len,
                       .page_table = v->page_table,
                       .page_table_stride = r->table_stride,
                       .n_pages = r->data->n_pages};
    msa_plan_options options = {.order = r->settings->order}, index8 = {.index8 = 1};
    msa_status status = msa_index_plan(&v->plans[OP_INDEX], shape, &batch, NULL, err);
    if (status == MSA_OK && r->data->index8)
        status = msa_index_plan(&v->plans[OP_INDEX8], shape, &batch, &index8, err);
    if (status != MSA_OK) return status;
    if (r->c->prefill)
        status = msa_sparse_plan(&v->plans[OP_SPARSE], shape, &batch, &options, err);
    else
        status = msa_decode_plan(&v->plans[OP_SPARSE], shape, &batch, NULL, err);
    return status ? status : msa_dense_plan(&v->plans[OP_DENSE], shape, &batch, NULL, err);
}

/* Variant i reads the keys of stretch i modulo what the arena holds. */
static void place_pages(runner *r, int32_t *table, int i) {
    int64_t need = bench_case_pages(r->c, r->data->shape.block);
    const int32_t *next = r->data->pages + i % (r->data->n_pages / need) * need;
    for (int32_t request = 0; request < r->c->n_requests; request++) {
        int64_t block = r->data->shape.block;
        int64_t n = (bench_case_length(r->c, request) + block - 1) / block;
        for (int64_t b = 0; b < n; b++) table[request * r->table_stride + b] = *next++;
    }
}

static msa_status set_sinks(const runner *r, bool on, msa_error *err) {
    msa_status status = MSA_OK;
    for (int i = 0; i < r->n_variants; i++)
        for (int32_t request = 0;
             request < r->c->n_requests && r->variants[i].page_table && status == MSA_OK; request++)
            status = bench_data_set_sink(
                r->data, r->variants[i].page_table[request * r->table_stride], on, err);
    return status;
}

static msa_status make_variant(runner *r, int i, msa_error *err) {
    const msa_shape *shape = &r->data->shape;
    variant *v = &r->variants[r->n_variants++];
    v->q = bench_alloc(r->q_bytes);
    v->qi = bench_alloc(r->qi_bytes);
    v->ids = bench_alloc(r->ids_bytes);
    v->page_table = calloc((size_t)r->c->n_requests * (size_t)r->table_stride, sizeof(int32_t));
    if (!v->q || !v->qi || !v->ids || !v->page_table) return fail_memory(err, "making up queries");
    for (int32_t request = 0; request < r->c->n_requests; request++) {
        size_t row = (size_t)request * (size_t)r->c->queries;
        bench_data_queries(r->data, 1000003u * (uint64_t)(i + 1) + 2 * (uint64_t)request,
                           r->c->queries,
                           v->q + row * (size_t)shape->n_q_heads * (size_t)shape->head_dim,
                           v->qi + row * (size_t)shape->n_index_heads * (size_t)shape->index_dim);
    }
    place_pages(r, v->page_table, i);
    return make_plans(r, v, err);
}

static msa_status prepare(runner *r, msa_error *err) {
    const msa_shape *shape = &r->data->shape;
    const bench_case *c = r->c;
    r->rows = (size_t)bench_case_rows(c);
    r->q_bytes = r->rows * (size_t)shape->n_q_heads * (size_t)shape->head_dim * sizeof(float);
    r->qi_bytes = r->rows * (size_t)shape->n_index_heads * (size_t)shape->index_dim * sizeof(float);
    r->ids_bytes = r->rows * (size_t)shape->n_kv_heads * (size_t)shape->topk * sizeof(int32_t);
    r->table_stride = (bench_case_longest(c) + shape->block - 1) / shape->block;
    r->cu_seqlens = malloc(((size_t)c->n_requests + 1) * sizeof *r->cu_seqlens);
    r->kv_len = malloc((size_t)c->n_requests * sizeof *r->kv_len);
    r->out = bench_alloc(r->q_bytes);
    if (!r->cu_seqlens || !r->kv_len || !r->out) return fail_memory(err, "making up a batch");
    for (int32_t i = 0; i <= c->n_requests; i++) {
        r->cu_seqlens[i] = (int32_t)(i * c->queries);
        if (i < c->n_requests) r->kv_len[i] = bench_case_length(c, i);
    }
    for (int i = 0, n = variants_wanted(c); i < n; i++) {
        msa_status status = make_variant(r, i, err);
        if (status != MSA_OK) return status;
    }
    return MSA_OK;
}

static msa_status run_index(const runner *r, const variant *v, msa_error *err) {
    msa_index_args args = {.qi = v->qi, .ki = r->data->ki, .out = {.ids = v->ids}};
    return msa_index_run(v->plans[OP_INDEX], &args, err);
}

static msa_status run_index8(const runner *r, const variant *v, msa_index8_stats *stats,
                             msa_error *err) {
    msa_index_args args = {.qi = v->qi,
                           .ki = r->data->ki,
                           .out = {.ids = v->ids},
                           .ki8 = &r->data->ki8,
                           .stats = stats};
    return msa_index_run(v->plans[OP_INDEX8], &args, err);
}

static msa_status run_attention(const runner *r, const variant *v, bool sparse, msa_error *err) {
    msa_selection selection = {.ids = v->ids};
    msa_attn_args args = {.q = v->q,
                          .k = r->data->k,
                          .v = r->data->v,
                          .selection = sparse ? &selection : NULL,
                          .out = r->out};
    if (!sparse) return msa_dense_run(v->plans[OP_DENSE], &args, err);
    msa_plan *plan = v->plans[OP_SPARSE];
    return r->c->prefill ? msa_sparse_run(plan, &args, err) : msa_decode_run(plan, &args, err);
}

static msa_status run_op(const runner *r, bench_op op, const variant *v, msa_error *err) {
    if (op == OP_INDEX) return run_index(r, v, err);
    if (op == OP_INDEX8) return run_index8(r, v, NULL, err);
    if (op != OP_MSA) return run_attention(r, v, op == OP_SPARSE, err);
    msa_status status = run_index(r, v, err);
    return status != MSA_OK ? status : run_attention(r, v, true, err);
}

/* Everything but dense once for every variant, unmeasured: memory that is touched for the first
 * time costs milliseconds. Counts the work on the way. */
static msa_status warm_up(runner *r, bench_timing *out, msa_error *err) {
    const msa_shape *shape = &r->data->shape;
    work sparse = {0, 0};
    msa_index8_stats sum = {0}, stats = {0};
    for (int i = 0; i < r->n_variants; i++) {
        const variant *v = &r->variants[i];
        double distinct;
        work w;
        msa_status status = run_op(r, OP_MSA, v, err);
        if (status == MSA_OK && r->data->index8) status = run_index8(r, v, &stats, err);
        if (status != MSA_OK) return status;
        sum.bounded += stats.bounded, sum.rescored += stats.rescored, sum.bytes += stats.bytes;
        if (!bench_work_sparse(r->c, shape, r->data->format, v->ids, &w, &distinct))
            return fail_memory(err, "counting the work");
        sparse = work_add(sparse, w);
        out->distinct += distinct / r->n_variants;
    }
    out->works[OP_INDEX] = bench_work_index(r->c, shape, r->data->index_format);
    out->works[OP_INDEX8] = (work){out->works[OP_INDEX].flops, (double)sum.bytes / r->n_variants};
    out->rescored = sum.bounded ? (double)sum.rescored / (double)sum.bounded : 0;
    out->works[OP_SPARSE] = (work){sparse.flops / r->n_variants, sparse.bytes / r->n_variants};
    out->works[OP_MSA] = work_add(out->works[OP_INDEX], out->works[OP_SPARSE]);
    out->works[OP_DENSE] = bench_work_dense(r->c, shape, r->data->format);
    for (int op = 0; op < OP_COUNT; op++)
        if (op != OP_MSA) out->plan_bytes[op] = msa_plan_bytes(r->variants[0].plans[op]);
    out->plan_bytes[OP_MSA] = out->plan_bytes[OP_INDEX] + out->plan_bytes[OP_SPARSE];
    return MSA_OK;
}

static msa_status take_turn(runner *r, bench_op op, bench_timing *out, msa_error *err) {
    const bench_settings *settings = r->settings;
    double spent = 0;
    for (int call = 0; call < CALLS_MAX && (call == 0 || spent < ROUND_S); call++) {
        const variant *v = &r->variants[r->next[op]++ % r->n_variants];
        busy_start(settings->busy);
        msa_status status = run_op(r, op, v, err);
        double seconds = busy_stop(settings->busy);
        if (status != MSA_OK) return status;
        if (interrupt_seen()) return fail(err, MSA_E_CANCELLED, "interrupted");
        samples_add(&out->times[op], seconds);
        spent += seconds;
    }
    if (op == OP_DENSE) settings->bar->base += (int64_t)(out->works[op].flops * 1e-9);
    progress_update(settings->bar, settings->bar->base, settings->bar_total);
    return MSA_OK;
}

msa_status bench_case_run(const bench_case *c, const bench_data *data,
                          const bench_settings *settings, bench_timing *out, msa_error *err) {
    runner r = {.c = c, .data = data, .settings = settings};
    /* Apart from one another: what one operator has just read is not what the next one reads. */
    for (int op = 0; op < OP_COUNT; op++) r.next[op] = op;
    *out = (bench_timing){0};
    msa_status status = prepare(&r, err);
    if (status == MSA_OK) status = set_sinks(&r, true, err);
    if (status == MSA_OK) status = warm_up(&r, out, err);
    for (int round = 0; round < settings->rounds; round++)
        for (int op = 0; op < OP_COUNT && status == MSA_OK; op++)
            if (op == OP_INDEX8 && !data->index8)
                continue;
            else if (round < ROUNDS_MIN || out->times[op].total_s < settings->budget_s)
                status = take_turn(&r, (bench_op)op, out, err);
    msa_status undone = set_sinks(&r, false, status ? NULL : err);
    release(&r);
    return status ? status : undone;
}
