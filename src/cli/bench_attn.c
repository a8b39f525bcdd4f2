/* bench_attn.c: msa bench attn: the operators of one layer, MSA against dense. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench_memory.h"
#include "cli/bench_runner.h"
#include "cli/bench_select.h"
#include "cli/bench_train.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/table.h"

enum { OPS_ALL, OPS_PREFILL, OPS_DECODE, OPS_SELECT };
enum { PAGES_SCATTERED, PAGES_IN_ORDER };
enum { CLOCK_WALL, CLOCK_CPU };
enum { SUITE_GRID, SUITE_PREFILL, SUITE_DECODE, SUITE_TRAIN };

typedef struct attn_args {
    const char *heads;
    int64_t dim, index_dim, block, topk, local, init;
    option_ints n;
    int64_t chunk, decode_queries;
    int format, index_format, ops, order, suite, pages, clock;
    int64_t repeats;
    double budget;
    bool memory, json;
} attn_args;

#define AT(field) offsetof(attn_args, field)

static const option SHAPE_OPTIONS[] = {
    {"--heads", 0, OPTION_TEXT, AT(heads), "Q/KV", 0, 0, NULL,
     "query and key/value heads (default: 64/4)", NULL},
    {"--dim", 0, OPTION_INT, AT(dim), "N", 8, 256, NULL, "width of a head (default: 128)",
     "multiples of 8"},
    {"--index-dim", 0, OPTION_INT, AT(index_dim), "N", 8, 256, NULL,
     "width of an index key (default: 128)", "multiples of 8"},
    {"--block", 0, OPTION_INT, AT(block), "N", 16, 256, NULL, "tokens in a block (default: 128)",
     "powers of two"},
    {"--topk", 0, OPTION_INT, AT(topk), "N", 1, 64, NULL, "blocks a query reads (default: 16)",
     NULL},
    {"--local", 0, OPTION_INT, AT(local), "N", 0, 64, NULL,
     "of them forced: last ones (default: 1)", NULL},
    {"--init", 0, OPTION_INT, AT(init), "N", 0, 64, NULL, "of them forced: first ones (default: 0)",
     NULL},
    {"--format", 0, OPTION_CHOICE, AT(format), "F", 0, 0, "f32|f16|bf16",
     "stored keys and values (default: bf16)", NULL},
    {"--index-format", 0, OPTION_CHOICE, AT(index_format), "F", 0, 0, "f32|f16|bf16",
     "stored index keys (default: bf16)", NULL},
};

static const option WORK_OPTIONS[] = {
    {"--n", 'n', OPTION_INTS, AT(n), "LIST", 1, 1 << 30, NULL,
     "context lengths (default: 32K,128K,512K,1M; train: 32K,128K)", "give lengths like 32K,1M"},
    {"--chunk", 0, OPTION_INT, AT(chunk), "N", 0, 1 << 20, NULL,
     "queries of a prefill chunk, the last of the context\n"
     "(default: 64; 0: the whole context, or the suite's whole chunk;\n"
     "train: default 4096, in the middle of the context)",
     NULL},
    {"--decode-queries", 0, OPTION_INT, AT(decode_queries), "N", 1, 16, NULL,
     "queries of a decode step (default: 1)", NULL},
    {"--ops", 0, OPTION_CHOICE, AT(ops), "OPS", 0, 0, "all|prefill|decode|select",
     "what to measure (default: all)", NULL},
    {"--suite", 0, OPTION_CHOICE, AT(suite), "SUITE", 0, 0, "grid|prefill|decode|train",
     "the lengths of --n (default), shapes of production traffic, or\n"
     "forward and backward at the lengths of --n",
     NULL},
    {"--order", 0, OPTION_CHOICE, AT(order), "ORDER", 0, 0, "auto|query|kv",
     "of the sparse prefill (default: auto)", NULL},
    {"--pages", 0, OPTION_CHOICE, AT(pages), "P", 0, 0, "scattered|in-order",
     "where the pages of a text lie\n"
     "(default: scattered)",
     NULL},
    {"--repeats", 'r', OPTION_INT, AT(repeats), "N", 1, 1000, NULL, "rounds (default: 5)", NULL},
    {"--budget", 0, OPTION_REAL, AT(budget), "S", 0, 1e6, NULL,
     "seconds an operator may take at a length before it stops\n"
     "after its third round (default: 15)",
     NULL},
    {"--clock", 0, OPTION_CHOICE, AT(clock), "CLOCK", 0, 0, "wall|cpu",
     "cpu: the CPU time of the threads instead of time gone by, for\n"
     "a machine that is busy with other things; with -t 1",
     NULL},
    {"--memory", 0, OPTION_SWITCH, AT(memory), NULL, 0, 0, NULL,
     "print what prefills of growing size allocate, and measure nothing", NULL},
    {"--json", 0, OPTION_SWITCH, AT(json), NULL, 0, 0, NULL, "print JSON", NULL},
};

static const help_page PAGE = {
    .usage = "msa bench attn [--n LIST] [--ops OPS] [FLAGS]",
    .about =
        "Times the operators of one layer on invented data: a chunk of queries at depth (prefill) "
        "and\n"
        "a step of decoding, MSA and dense attention interleaved in one run. Without flags: a "
        "layer of\n"
        "MiniMax-M3 at 32K, 128K, 512K and 1M tokens of context, in under five minutes on two "
        "cores.\n"
        "\n"
        "  op        prefill, decode: all of it; -index: scoring and selecting; -sparse: attention "
        "over\n"
        "            what was selected; select: top-k of stored scores, n/block of them a row\n"
        "  time      median of the repetitions, each with other data\n"
        "  roofline  the least time this machine could take, by its measured ceilings, as a share\n"
        "            of the time it took, and what binds: arithmetic or memory\n"
        "  speedup   dense time over MSA time\n",
    .examples = "msa bench attn --n 16K\n"
                "msa bench attn --n 8K,16K --ops decode --index-format f32 --json\n"
                "msa bench attn --suite train --n 4K\n"
                "msa bench attn --memory",
};

static const char *const OP_NAMES[2][OP_COUNT] = {
    {"decode-index", "decode-sparse", "decode", "decode"},
    {"prefill-index", "prefill-sparse", "prefill", "prefill"},
};

/* ---- what to do ----------------------------------------------------------------------------- */

static msa_status read_shape(const attn_args *args, msa_shape *shape, msa_error *err) {
    int q, kv, end = 0;
    if (sscanf(args->heads, "%d/%d%n", &q, &kv, &end) != 2 || args->heads[end])
        return fail(err, MSA_E_ARG,
                    "--heads: expected query and key/value heads like 64/4, found "
                    "'%s'",
                    args->heads);
    *shape = (msa_shape){.n_q_heads = q,
                         .n_kv_heads = kv,
                         .head_dim = (int32_t)args->dim,
                         .n_index_heads = kv,
                         .n_index_keys = 1,
                         .index_dim = (int32_t)args->index_dim,
                         .block = (int32_t)args->block,
                         .topk = (int32_t)args->topk,
                         .local = (int32_t)args->local,
                         .init = (int32_t)args->init};
    return msa_shape_check(shape, err);
}

static void add_grid(const attn_args *args, bench_cases *cases) {
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
static void drop_what_does_not_fit(const attn_args *args, const msa_shape *shape,
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

static int add_row(json_t *rows, const attn_args *args, const bench_case *c, bench_op op,
                   const bench_timing *t, const ceilings *top) {
    bool by_memory;
    double time = samples_median(&t->times[op]), floor = work_floor(t->works[op], top, &by_memory);
    double dense = samples_median(&t->times[OP_DENSE]);
    if (op == OP_MSA) { /* two steps one after the other, each with its own ceiling */
        bool ignored;
        floor = work_floor(t->works[OP_INDEX], top, &by_memory) +
                work_floor(t->works[OP_SPARSE], top, &ignored);
    }
    bool total = op == OP_MSA || op == OP_DENSE;
    json_t *row = json_pack(
        "{s:s, s:s, s:I, s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "op", OP_NAMES[c->prefill][op],
        "attn", op == OP_DENSE ? "dense" : "msa", "n", (json_int_t)c->n, "queries",
        (json_int_t)bench_case_rows(c), "format", msa_dtype_name((msa_dtype)args->format),
        "index_format", op == OP_DENSE ? "-" : msa_dtype_name((msa_dtype)args->index_format),
        "time_us", json_number(time * 1e6), "gflops", json_number(t->works[op].flops / time * 1e-9),
        "gbps", json_number(t->works[op].bytes / time * 1e-9), "roofline",
        json_number(floor / time), "speedup", total ? json_number(dense / time) : json_null());
    if (!row) return -1;
    if (!args->json) /* beyond what the JSON promises */
        json_object_update_new(row, json_pack("{s:s, s:I, s:I, s:f}", "bound",
                                              by_memory ? "memory" : "compute", "requests",
                                              (json_int_t)c->n_requests, "samples",
                                              (json_int_t)t->times[op].n, "plan_mib",
                                              (double)t->plan_bytes[op] / (1 << 20)));
    return json_array_append_new(rows, row);
}

static msa_status print_rows(const attn_args *args, const json_t *rows, msa_error *err) {
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
    };
    table_column shown[sizeof COLUMNS / sizeof *COLUMNS];
    size_t n = 0;
    for (size_t i = 0; i < sizeof COLUMNS / sizeof *COLUMNS; i++)
        if (args->suite == SUITE_DECODE || strcmp(COLUMNS[i].key, "requests") != 0)
            shown[n++] = COLUMNS[i];
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

static msa_status run_cases(const attn_args *args, const msa_shape *shape, bench_cases *cases,
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
            if (add_row(rows, args, c, (bench_op)op, &timing, top) != 0)
                status = fail_memory(err, "collecting results");
        add_totals(sum, c, &timing);
        planned += (int64_t)(args->repeats * 1e-9 * bench_work_dense(c, shape, data.format).flops);
        bar.base = planned;
    }
    progress_end(&bar);
    bench_data_free(&data);
    return status;
}

/* Of one suite to the next: lengths and queries that nobody gave. */
static void set_defaults(attn_args *args) {
    bool train = args->suite == SUITE_TRAIN;
    if (args->chunk < 0) args->chunk = train ? BENCH_TRAIN_QUERIES : 64;
    if (args->n.n < 0) args->n = (option_ints){{32768, 131072, 524288, 1048576}, train ? 2 : 4};
}

static msa_status run_train(const attn_args *args, const msa_shape *shape, const ceilings *top,
                            busy_meter *busy, json_t *rows, msa_error *err) {
    bench_train_settings settings = {args->chunk, (int)args->repeats, args->budget, top, busy};
    msa_status status = MSA_OK;
    for (int i = 0; i < args->n.n && status == MSA_OK; i++) {
        int64_t n = args->n.values[i];
        settings.queries = args->chunk > 0 ? args->chunk : n;
        status = bench_train_run(shape, n, &settings, args->json, rows, err);
    }
    return status;
}

static void print_notes(const attn_args *args, const msa_shape *shape, const totals *sum) {
    if (sum->cases > 0)
        printf("\n4 neighbouring queries choose %.1f distinct blocks of %d.\n",
               sum->distinct / sum->cases, 4 * shape->topk);
    bool whole = args->suite == SUITE_DECODE || args->chunk == 0;
    if (sum->weight > 0 && whole)
        printf("Weighted by calls: %.2fx faster than dense.\n", sum->dense_us / sum->msa_us);
}

static msa_status measure(const attn_args *args, const msa_shape *shape, msa_error *err) {
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
    attn_args args = {.heads = "64/4",
                      .dim = 128,
                      .index_dim = 128,
                      .block = 128,
                      .topk = 16,
                      .local = 1,
                      .n = {.n = -1},
                      .chunk = -1,
                      .decode_queries = 1,
                      .format = MSA_BF16,
                      .index_format = MSA_BF16,
                      .repeats = 5,
                      .budget = 15};
    option_group groups[] = {
        {"Shape", SHAPE_OPTIONS, sizeof SHAPE_OPTIONS / sizeof *SHAPE_OPTIONS, &args},
        {"Work", WORK_OPTIONS, sizeof WORK_OPTIONS / sizeof *WORK_OPTIONS, &args},
    };
    msa_shape shape;
    bool done;
    msa_status status = options_parse(&PAGE, groups, 2, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    set_defaults(&args);
    if (args.n.n == 0) return fail(err, MSA_E_ARG, "--n: expected at least one context length");
    status = read_shape(&args, &shape, err);
    if (status != MSA_OK) return status;
    if (args.memory) return bench_memory_print(&shape, args.json, err);
    return measure(&args, &shape, err);
}
