/* bench_model.c: msa bench model: tokens a second of a whole model, with llama-bench's flags, tests
 * and columns, so that the two can be read side by side.
 *
 * pp512 feeds 512 random tokens at once, tg128 feeds 128 one by one, @ d4096 behind 4,096 others.
 * Both attentions stand at the same depth and take turns, repetition by repetition. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/machine.h"
#include "cli/progress.h"
#include "cli/settings.h"
#include "cli/table.h"

enum { ATTN_DENSE, ATTN_MSA, ATTN_COUNT };
enum { CLOCK_WALL, CLOCK_CPU };
enum { FORMAT_MD, FORMAT_JSON };

typedef struct model_bench_args {
    model_args model;
    settings_args settings;
    option_ints prompts, answers, depths;
    int64_t repeats, chunk;
    int format, clock;
    bool json;
} model_bench_args;

#define AT(field) offsetof(model_bench_args, field)

static const option TEST_OPTIONS[] = {
    {"--n-prompt", 'p', OPTION_INTS, AT(prompts), "LIST", 0, 1 << 30, NULL,
     "tokens fed at once (default: 512; 0: no such test)", NULL},
    {"--n-gen", 'n', OPTION_INTS, AT(answers), "LIST", 0, 1 << 30, NULL,
     "tokens fed one by one (default: 128; 0: no such test)", NULL},
    {"--n-depth", 'd', OPTION_INTS, AT(depths), "LIST", 0, 1 << 30, NULL,
     "tokens already there (default: 0)", "give depths like 0,4096"},
    {"--repetitions", 'r', OPTION_INT, AT(repeats), "N", 1, SAMPLES_MAX, NULL,
     "of each test (default: 5)", NULL},
    {"--ubatch-size", 'b', OPTION_INT, AT(chunk), "N", 1, 65536, NULL,
     "the same as --chunk; -ub too", NULL},
    {"-ub", 0, OPTION_INT, AT(chunk), "N", 1, 65536, NULL, NULL, NULL},
    {"--batch-size", 0, OPTION_INT, AT(chunk), "N", 1, 65536, NULL, NULL, NULL},
    {"--output", 'o', OPTION_CHOICE, AT(format), "FORMAT", 0, 0, "md|json",
     "a Markdown table (default) or JSON", NULL},
    {"--clock", 0, OPTION_CHOICE, AT(clock), "CLOCK", 0, 0, "wall|cpu",
     "cpu: the CPU time of the threads instead of time gone by, for\n"
     "a machine that is busy with other things; with -t 1",
     NULL},
    {"--json", 0, OPTION_SWITCH, AT(json), NULL, 0, 0, NULL, "the same as -o json", NULL},
};

static const help_page PAGE = {
    .usage = "msa bench model -m MODEL [-p LIST] [-n LIST] [-d LIST] [FLAGS]",
    .about = "Tokens a second of a whole model, dense attention and MSA interleaved in one run.\n"
             "Tests are named as llama-bench names them: pp512 feeds 512 random tokens at once,\n"
             "tg128 feeds 128 one by one, \"@ d4096\" does so behind 4,096 other tokens. Mean and\n"
             "standard deviation of the repetitions.\n",
    .examples = "msa bench model -m models/SmolLM2-135M-Instruct.Q4_1.gguf -p 64 -n 8 -r 2\n"
                "msa bench model -m models/SmolLM2-135M-Instruct.Q4_1.gguf -p 0 -n 4 -d 128,256 "
                "-r 2 -o json",
};

typedef struct test {
    int64_t depth, n_prompt, n_gen; /* one of the last two is 0 */
} test;

typedef struct model_bench {
    const model_bench_args *args;
    msa_model *model;
    msa_session_params params[ATTN_COUNT];
    msa_session *sessions[ATTN_COUNT];
    int32_t *ids;
    progress bar;
    int64_t total; /* tokens */
    busy_meter busy;
    json_t *rows;
} model_bench;

static const char *const ATTN_NAMES[ATTN_COUNT] = {"dense", "msa"};

/* ---- measuring ------------------------------------------------------------------------------ */

static msa_status feed(model_bench *b, int attn, int64_t n, bool one_by_one, msa_error *err) {
    int64_t step = one_by_one ? 1 : n;
    b->bar.total = b->total;
    for (int64_t i = 0; i < n; i += step) {
        msa_status status = msa_session_feed(b->sessions[attn], b->ids + i, (size_t)step,
                                             progress_callback, &b->bar, err);
        if (status != MSA_OK) return status;
        b->bar.base += step;
    }
    return MSA_OK;
}

static msa_status go_to_depth(model_bench *b, int attn, int64_t depth, msa_error *err) {
    msa_status status = msa_session_rewind(b->sessions[attn], 0, err);
    if (status != MSA_OK || depth == 0) return status;
    return feed(b, attn, depth, false, err);
}

/* Tokens a second of one repetition. */
static msa_status repeat(model_bench *b, int attn, const test *t, double *rate, msa_error *err) {
    int64_t n = t->n_prompt + t->n_gen;
    busy_start(&b->busy);
    msa_status status = feed(b, attn, n, t->n_gen > 0, err);
    *rate = (double)n / busy_stop(&b->busy);
    if (status != MSA_OK) return status;
    return msa_session_rewind(b->sessions[attn], t->depth, err);
}

static void name_test(const test *t, char *text, size_t size) {
    int n = snprintf(text, size, t->n_prompt ? "pp%lld" : "tg%lld",
                     (long long)(t->n_prompt + t->n_gen));
    if (t->depth > 0) snprintf(text + n, size - (size_t)n, " @ d%lld", (long long)t->depth);
}

static msa_status add_row(model_bench *b, int attn, const test *t, const samples *rates,
                          msa_error *err) {
    const msa_model_info *info = msa_model_get_info(b->model);
    const msa_session_params *params = msa_session_get_params(b->sessions[attn]);
    char name[64];
    name_test(t, name, sizeof name);
    json_t *all = json_array();
    for (int i = 0; i < rates->n; i++) json_array_append_new(all, json_number(rates->s[i]));
    const char *path = strrchr(b->args->model.path, '/');
    path = path ? path + 1 : b->args->model.path;
    const char *model = info->name[0] ? info->name : info->architecture;
    json_t *row =
        json_pack("{s:o, s:o, s:I, s:I, s:s, s:i, s:i, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:o}",
                  "model_filename", json_text(path, strlen(path)), "model",
                  json_text(model, strlen(model)), "model_size", (json_int_t)info->n_weight_bytes,
                  "model_n_params", (json_int_t)info->n_parameters, "backend", "CPU", "n_threads",
                  machine_threads(), "n_ubatch", params->chunk, "attn", ATTN_NAMES[attn], "test",
                  name, "n_prompt", (json_int_t)t->n_prompt, "n_gen", (json_int_t)t->n_gen,
                  "n_depth", (json_int_t)t->depth, "avg_ts", json_number(samples_mean(rates)),
                  "stddev_ts", json_number(samples_deviation(rates)), "samples_ts", all);
    if (!row || json_array_append_new(b->rows, row) != 0)
        return fail_memory(err, "collecting results");
    return MSA_OK;
}

static msa_status run_test(model_bench *b, const test *t, msa_error *err) {
    samples rates[ATTN_COUNT] = {{.n = 0}, {.n = 0}};
    msa_status status = MSA_OK;
    for (int64_t i = 0; i < b->args->repeats; i++)
        for (int attn = 0; attn < ATTN_COUNT && status == MSA_OK; attn++) {
            double rate = 0;
            status = repeat(b, attn, t, &rate, err);
            samples_add(&rates[attn], rate);
        }
    for (int attn = 0; attn < ATTN_COUNT && status == MSA_OK; attn++)
        status = add_row(b, attn, t, &rates[attn], err);
    return status;
}

static msa_status run_depth(model_bench *b, int64_t depth, msa_error *err) {
    const model_bench_args *args = b->args;
    msa_status status = MSA_OK;
    for (int attn = 0; attn < ATTN_COUNT && status == MSA_OK; attn++)
        status = go_to_depth(b, attn, depth, err);
    for (int i = 0; i < args->prompts.n && status == MSA_OK; i++)
        if (args->prompts.values[i] > 0)
            status = run_test(b, &(test){depth, args->prompts.values[i], 0}, err);
    for (int i = 0; i < args->answers.n && status == MSA_OK; i++)
        if (args->answers.values[i] > 0)
            status = run_test(b, &(test){depth, 0, args->answers.values[i]}, err);
    return status;
}

/* Pages get touched, weights read, threads started. */
static msa_status warm_up(model_bench *b, msa_error *err) {
    msa_status status = MSA_OK;
    int64_t n = b->params[0].n_ctx < 64 ? b->params[0].n_ctx : 64;
    for (int attn = 0; attn < ATTN_COUNT && status == MSA_OK; attn++) {
        status = feed(b, attn, n, false, err);
        if (status == MSA_OK) status = msa_session_rewind(b->sessions[attn], 0, err);
    }
    b->bar.base = 0;
    return status;
}

/* ---- setting up ----------------------------------------------------------------------------- */

static int64_t largest(const option_ints *list) {
    int64_t most = 0;
    for (int i = 0; i < list->n; i++)
        if (list->values[i] > most) most = list->values[i];
    return most;
}

static int64_t sum(const option_ints *list) {
    int64_t total = 0;
    for (int i = 0; i < list->n; i++) total += list->values[i];
    return total;
}

static msa_status set_up(model_bench *b, msa_error *err) {
    const model_bench_args *args = b->args;
    msa_session_params params;
    msa_status status = settings_params(&args->settings, b->model, &params, err);
    if (status != MSA_OK) return status;
    int64_t fed = largest(&args->prompts), made = largest(&args->answers);
    int64_t most = largest(&args->depths) + (fed > made ? fed : made);
    if (most < 1 || args->depths.n == 0)
        return fail(err, MSA_E_ARG, "nothing to measure: -p, -n or -d is empty");
    if (most > INT32_MAX)
        return fail(err, MSA_E_ARG, "-d and -p or -n make a context of %lld tokens, at most %d",
                    (long long)most, INT32_MAX);
    if (args->chunk != OPTION_UNSET) params.chunk = (int32_t)args->chunk;
    if (args->settings.n_ctx == OPTION_UNSET) params.n_ctx = (int32_t)most;
    params.allow_past_context = 1; /* where a token stands makes it no slower */
    if (params.n_ctx < most && params.n_ctx > 0)
        return fail(err, MSA_E_ARG, "-c %d is too little: -d with -p or -n needs %lld",
                    params.n_ctx, (long long)most);
    b->ids = malloc((size_t)(most > 64 ? most : 64) * sizeof *b->ids);
    b->rows = json_array();
    if (!b->ids || !b->rows) return fail_memory(err, "making up a text");
    int32_t n_vocab = msa_model_get_info(b->model)->n_vocab;
    uint64_t state = 1;
    for (int64_t i = 0; i < most || i < 64; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        b->ids[i] = (int32_t)((state >> 33) % (uint64_t)n_vocab);
    }
    for (int attn = 0; attn < ATTN_COUNT && status == MSA_OK; attn++) {
        b->params[attn] = params;
        b->params[attn].attn = attn == ATTN_MSA ? MSA_ATTN_MSA : MSA_ATTN_DENSE;
        status = msa_session_create(&b->sessions[attn], b->model, &b->params[attn], err);
    }
    b->total = ATTN_COUNT * (sum(&args->depths) + args->depths.n * args->repeats *
                                                      (sum(&args->prompts) + sum(&args->answers)));
    return status;
}

/* ---- printing ------------------------------------------------------------------------------- */

static void print_markdown(const model_bench *b) {
    size_t i, width = 5;
    json_t *row;
    json_array_foreach(b->rows, i, row) {
        size_t n = strlen(json_string_value(json_object_get(row, "model")));
        if (n > width) width = n;
    }
    printf("| %-*s | %10s | %10s | %-7s | %7s | %-5s | %14s | %19s |\n", (int)width, "model",
           "size", "params", "backend", "threads", "attn", "test", "t/s");
    printf("| ");
    for (size_t c = 0; c < width; c++) putchar('-');
    printf(" | ---------: | ---------: | ------- | ------: | ----- | -------------: | "
           "------------------: |\n");
    json_array_foreach(b->rows, i, row) {
        char size[32], params[32], rate[64];
        format_bytes(json_number_value(json_object_get(row, "model_size")), size, sizeof size);
        snprintf(params, sizeof params, "%.2f M",
                 json_number_value(json_object_get(row, "model_n_params")) * 1e-6);
        snprintf(rate, sizeof rate, "%.2f ± %.2f",
                 json_number_value(json_object_get(row, "avg_ts")),
                 json_number_value(json_object_get(row, "stddev_ts")));
        printf("| %-*s | %10s | %10s | %-7s | %7lld | %-5s | %14s | %20s |\n", (int)width,
               json_string_value(json_object_get(row, "model")), size, params, "CPU",
               (long long)json_integer_value(json_object_get(row, "n_threads")),
               json_string_value(json_object_get(row, "attn")),
               json_string_value(json_object_get(row, "test")), rate);
    }
}

static msa_status print_results(model_bench *b, const ceilings *top, msa_error *err) {
    if (b->args->json || b->args->format == FORMAT_JSON) {
        json_t *document =
            json_pack("{s:o, s:O}", "machine", bench_machine_json(top), "rows", b->rows);
        return json_print(document, err);
    }
    char text[512];
    settings_describe(msa_session_get_params(b->sessions[ATTN_MSA]), b->model, text, sizeof text);
    bench_machine_print(top);
    printf("attention %s\n\n", text);
    print_markdown(b);
    return MSA_OK;
}

static msa_status measure(model_bench *b, msa_error *err) {
    ceilings top;
    msa_status status = set_up(b, err);
    if (status == MSA_OK) status = ceilings_measure(&top, err);
    if (status != MSA_OK) return status;
    b->bar = progress_begin("bench", "tokens");
    status = warm_up(b, err);
    for (int i = 0; i < b->args->depths.n && status == MSA_OK; i++)
        status = run_depth(b, b->args->depths.values[i], err);
    progress_end(&b->bar);
    busy_report(&b->busy);
    return status == MSA_OK ? print_results(b, &top, err) : status;
}

msa_status command_bench_model(int argc, char **argv, msa_error *err) {
    model_bench_args args = {.settings = settings_unset(),
                             .prompts = {{512}, 1},
                             .answers = {{128}, 1},
                             .depths = {{0}, 1},
                             .repeats = 5,
                             .chunk = OPTION_UNSET};
    option_group groups[] = {
        model_group(&args.model, true),
        {"Tests", TEST_OPTIONS, sizeof TEST_OPTIONS / sizeof *TEST_OPTIONS, &args},
        settings_group(&args.settings, false),
    };
    bool done;
    msa_status status = options_parse(&PAGE, groups, 3, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    model_bench b = {.args = &args, .busy.by_cpu = args.clock == CLOCK_CPU};
    status = model_open(&args.model, &b.model, err);
    if (status == MSA_OK) status = measure(&b, err);
    for (int attn = 0; attn < ATTN_COUNT; attn++) msa_session_free(b.sessions[attn]);
    msa_model_free(b.model);
    json_decref(b.rows);
    free(b.ids);
    return status;
}
