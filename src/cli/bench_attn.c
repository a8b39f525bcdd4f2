/* bench_attn.c: msa bench attn: the operators of one layer, MSA against dense. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench_attn_args.h"
#include "cli/bench_memory.h"
#include "cli/bench_runner.h"
#include "cli/bench_select.h"
#include "cli/bench_train.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/table.h"

static const char *const OP_NAMES[2][OP_COUNT] = {
    {"decode-index", "decode-index8", "decode-sparse", "decode", "decode"},
    {"prefill-index", "prefill-index8", "prefill-sparse", "prefill", "prefill"},
};

/* ---- what to do ----------------------------------------------------------------------------- */

static void add_grid(const bench_attn_args *args, bench_cases *cases) {
    for (int i = 0; i < args->n.n && cases->n + 2 <= CASES_MAX; i++) {
        int64_t n = args->n.values[i];
        int64_t chunk = args->chunk == 0 ? n : args->chunk;
        int64_t step = args->decode_queries;
        if (args->ops == OPS_ALL || args->ops == OPS_PREFILL)
            cases->list[cases->n++] = (bench_case){true, 1, chunk < n ? chunk : n, n, false, 0};
        if (args->ops == OPS_ALL || args->ops == OPS_DECODE)
            cases->list[cases->n++] = (bench_case){false, 1, step < n ? step : n, n, false, 0};
    }
}

/* Cases whose keys don't fit into memory are taken out, with a word. *n_pages: of the arena. */
static void drop_what_does_not_fit(const bench_attn_args *args, const msa_shape *shape,
                                   bench_cases *cases, int64_t *n_pages) {
    double room = bench_room();
    int kept = 0;
    *n_pages = 1;
    for (int i = 0; i < cases->n; i++) {
        const bench_case *c = &cases->list[i];
        int64_t need = bench_case_pages(c, shape->block);
        int64_t wanted = bench_pages_wanted(c, shape, (msa_dtype)args->index_format);
        double rows = 4.0 * (double)bench_case_rows(c) * 4 * shape->n_q_heads * shape->head_dim;
        double bytes = rows + (double)bench_data_bytes(shape, (msa_dtype)args->format,
                                                       (msa_dtype)args->index_format, need);
        if (args->index8)
            bytes += (double)need * shape->n_index_keys * (double)msa_index8_block_bytes(shape);
        if (bytes > room) {
            fprintf(stderr,
                    "msa: %s at n = %lld with %d requests left out: needs %.1f GB, %.1f are free\n",
                    c->prefill ? "prefill" : "decode", (long long)c->n, c->n_requests, bytes * 1e-9,
                    room * 1e-9);
            continue;
        }
        bytes *= (double)wanted / (double)need;
        if (bytes > room) wanted = need;
        if (wanted > *n_pages) *n_pages = wanted;
        cases->list[kept++] = *c;
    }
    cases->n = kept;
}

/* ---- rows ----------------------------------------------------------------------------------- */

static int add_row(json_t *rows, const bench_attn_args *args, const bench_case *c, bench_op op,
                   const bench_timing *t, const ceilings *top) {
    bool by_memory;
    double time = samples_median(&t->times[op]), floor = work_floor(t->works[op], top, &by_memory);
    double dense = samples_median(&t->times[OP_DENSE]);
    if (op == OP_MSA) { /* two steps one after the other, each with its own ceiling */
        bool ignored;
        floor = work_floor(t->works[OP_INDEX], top, &by_memory) +
                work_floor(t->works[OP_SPARSE], top, &ignored);
    }
    if (op == OP_INDEX8) /* its products are of int16: the ceiling of f32 is none */
        floor = work_floor((work){0, t->works[op].bytes}, top, &by_memory);
    const char *index_format = op == OP_DENSE    ? "-"
                               : op == OP_INDEX8 ? "int8"
                                                 : msa_dtype_name((msa_dtype)args->index_format);
    bool total = op == OP_MSA || op == OP_DENSE;
    json_t *row = json_pack(
        "{s:s, s:s, s:I, s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "op", OP_NAMES[c->prefill][op],
        "attn", op == OP_DENSE ? "dense" : "msa", "n", (json_int_t)c->n, "queries",
        (json_int_t)bench_case_rows(c), "format", msa_dtype_name((msa_dtype)args->format),
        "index_format", index_format, "time_us", json_number(time * 1e6), "gflops",
        json_number(t->works[op].flops / time * 1e-9), "gbps",
        json_number(t->works[op].bytes / time * 1e-9), "roofline", json_number(floor / time),
        "speedup", total ? json_number(dense / time) : json_null());
    if (!row) return -1;
    if (op == OP_INDEX8)
        json_object_update_new(
            row, json_pack("{s:f, s:f}", "rescored", t->rescored, "bytes", t->works[op].bytes));
    if (!args->json) /* beyond what the JSON promises */
        json_object_update_new(row, json_pack("{s:s, s:I, s:I, s:f}", "bound",
                                              by_memory ? "memory" : "compute", "requests",
                                              (json_int_t)c->n_requests, "samples",
                                              (json_int_t)t->times[op].n, "plan_mib",
                                              (double)t->plan_bytes[op] / (1 << 20)));
    return json_array_append_new(rows, row);
}

static bool is_shown(const bench_attn_args *args, const char *key) {
    if (!strcmp(key, "requests")) return args->suite == SUITE_DECODE;
    if (!strcmp(key, "rescored") || !strcmp(key, "bytes")) return args->index8;
    return true;
}

static msa_status print_rows(const bench_attn_args *args, const json_t *rows, msa_error *err) {
    static const table_column COLUMNS[] = {
        {"op", "op", 0, 0, NULL},
        {"attn", "attn", 0, 0, NULL},
        {"requests", "requests", 0, 0, NULL},
        {"n", "n", 0, 0, NULL},
        {"queries", "queries", 0, 0, NULL},
        {"format", "K,V", 0, 0, NULL},
        {"index_format", "index", 0, 0, NULL},
        {"time_us", "time", 3, 1e-3, " ms"},
        {"gflops", "GFLOP/s", 0, 0, NULL},
        {"gbps", "GB/s", 1, 0, NULL},
        {"roofline", "roofline", 0, 100, " %"},
        {"bound", "bound", 0, 0, NULL},
        {"speedup", "speedup", 2, 0, "x"},
        {"samples", "samples", 0, 0, NULL},
        {"plan_mib", "workspace", 1, 0, " MiB"},
        {"rescored", "rescored", 3, 100, " %"},
        {"bytes", "read", 1, 1e-6, " MB"},
    };
    table_column shown[sizeof COLUMNS / sizeof *COLUMNS];
    size_t n = 0;
    for (size_t i = 0; i < sizeof COLUMNS / sizeof *COLUMNS; i++)
        if (is_shown(args, COLUMNS[i].key)) shown[n++] = COLUMNS[i];
    return table_print(shown, n, rows, err);
}

/* ---- the run -------------------------------------------------------------------------------- */

typedef struct totals {
    double distinct, cases;          /* of prefill chunks */
    double weight, msa_us, dense_us; /* over cases with a weight */
} totals;

static void add_totals(totals *sum, const bench_case *c, const bench_timing *t) {
    if (c->prefill) sum->distinct += t->distinct, sum->cases++;
    sum->weight += c->weight;
    sum->msa_us += c->weight * 1e6 * samples_median(&t->times[OP_MSA]);
    sum->dense_us += c->weight * 1e6 * samples_median(&t->times[OP_DENSE]);
}

static msa_status run_cases(const bench_attn_args *args, const msa_shape *shape, bench_cases *cases,
                            const ceilings *top, busy_meter *busy, totals *sum, json_t *rows,
                            msa_error *err) {
    int64_t n_pages;
    bench_data data = {0};
    bench_timing timing;
    drop_what_does_not_fit(args, shape, cases, &n_pages);
    if (cases->n == 0) return MSA_OK;
    msa_status status =
        bench_data_create(&data, shape, (msa_dtype)args->format, (msa_dtype)args->index_format,
                          n_pages, args->pages == PAGES_IN_ORDER, err);
    if (status == MSA_OK && args->index8) status = bench_data_add_index8(&data, err);
    progress bar = progress_begin("bench", "GFLOP");
    bench_settings settings = {
        (msa_order)args->order, (int)args->repeats, args->budget, busy, &bar, 0};
    for (int i = 0; i < cases->n; i++)
        settings.bar_total +=
            (int64_t)(args->repeats * 1e-9 *
                      bench_work_dense(&cases->list[i], shape, data.format).flops);
    int64_t planned = 0;
    for (int i = 0; i < cases->n && status == MSA_OK; i++) {
        const bench_case *c = &cases->list[i];
        status = bench_case_run(c, &data, &settings, &timing, err);
        for (int op = 0; op < OP_COUNT && status == MSA_OK; op++)
            if ((op != OP_INDEX8 || data.index8) &&
                add_row(rows, args, c, (bench_op)op, &timing, top) != 0)
                status = fail_memory(err, "collecting results");
        add_totals(sum, c, &timing);
        planned += (int64_t)(args->repeats * 1e-9 * bench_work_dense(c, shape, data.format).flops);
        bar.base = planned;
    }
    progress_end(&bar);
    bench_data_free(&data);
    return status;
}

static msa_status run_train(const bench_attn_args *args, const msa_shape *shape,
                            const ceilings *top, busy_meter *busy, json_t *rows, msa_error *err) {
    bench_train_settings settings = {args->chunk, (int)args->repeats, args->budget, top, busy};
    msa_status status = MSA_OK;
    for (int i = 0; i < args->n.n && status == MSA_OK; i++) {
        int64_t n = args->n.values[i];
        settings.queries = args->chunk > 0 ? args->chunk : n;
        status = bench_train_run(shape, n, &settings, args->json, rows, err);
    }
    return status;
}

static void print_notes(const bench_attn_args *args, const msa_shape *shape, const totals *sum) {
    if (sum->cases > 0)
        printf("\n4 neighbouring queries choose %.1f distinct blocks of %d.\n",
               sum->distinct / sum->cases, 4 * shape->topk);
    bool whole = args->suite == SUITE_DECODE || args->chunk == 0;
    if (sum->weight > 0 && whole)
        printf("Weighted by calls: %.2fx faster than dense.\n", sum->dense_us / sum->msa_us);
}

static msa_status measure(const bench_attn_args *args, const msa_shape *shape, msa_error *err) {
    bench_cases *cases = calloc(1, sizeof *cases);
    json_t *rows = json_array();
    ceilings top;
    busy_meter busy = {.by_cpu = args->clock == CLOCK_CPU};
    totals sum = {0};
    if (!cases || !rows) {
        free(cases), json_decref(rows);
        return fail_memory(err, "collecting results");
    }
    if (args->suite == SUITE_PREFILL) bench_cases_prefill_suite(cases, args->chunk);
    if (args->suite == SUITE_DECODE) bench_cases_decode_suite(cases);
    if (args->suite == SUITE_GRID) add_grid(args, cases);
    msa_status status = ceilings_measure(&top, err);
    if (status == MSA_OK) status = run_cases(args, shape, cases, &top, &busy, &sum, rows, err);
    if (status == MSA_OK && args->suite == SUITE_GRID &&
        (args->ops == OPS_ALL || args->ops == OPS_SELECT))
        for (int i = 0; i < args->n.n && status == MSA_OK; i++)
            status = bench_select_run(shape, args->n.values[i], args->chunk > 0 ? args->chunk : 64,
                                      (int)args->repeats, &top, &busy, rows, err);
    if (status == MSA_OK && args->suite == SUITE_TRAIN)
        status = run_train(args, shape, &top, &busy, rows, err);
    busy_report(&busy);
    free(cases);
    if (status == MSA_OK && args->json)
        return json_print(
            json_pack("{s:o, s:o}", "machine", bench_machine_json(&top), "rows", rows), err);
    if (status == MSA_OK) {
        bench_machine_print(&top);
        printf("layer     %d/%d heads of %d, index %d of %d, block %d, top %d\n\n",
               shape->n_q_heads, shape->n_kv_heads, shape->head_dim, shape->n_index_heads,
               shape->index_dim, shape->block, shape->topk);
        status = print_rows(args, rows, err);
        if (status == MSA_OK && args->suite == SUITE_TRAIN) bench_train_notes(rows);
        if (status == MSA_OK) print_notes(args, shape, &sum);
    }
    json_decref(rows);
    return status;
}

msa_status command_bench_attn(int argc, char **argv, msa_error *err) {
    bench_attn_args args;
    msa_shape shape;
    bool done;
    msa_status status = bench_attn_parse(&args, &shape, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    if (args.memory) return bench_memory_print(&shape, args.json, err);
    return measure(&args, &shape, err);
}
