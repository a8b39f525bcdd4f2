/* eval.c: msa eval ppl: how well the model predicts a text, with dense attention and with selectors
 * side by side.
 *
 * The text is cut into pieces of the context's length; each is fed from an empty session, for each
 * attention, and every token but a piece's first is scored by -ln of the probability it was given.
 * All see the same tokens at the same positions, so a difference to dense is paired, and far better
 * known than either side. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/ppl.h"
#include "cli/progress.h"
#include "cli/reading.h"
#include "cli/table.h"

typedef struct eval_args {
    model_args model;
    settings_args attention;
    const char *file, *selectors, *by_position;
    int64_t n_ranges, n_chunks;
    bool json;
} eval_args;

static const option EVAL_OPTIONS[] = {
    {.name = "--file",
     .letter = 'f',
     .kind = OPTION_TEXT,
     .offset = offsetof(eval_args, file),
     .argument = "FILE",
     .help = "the text, UTF-8; - is standard input"},
    {.name = "--selectors",
     .kind = OPTION_TEXT,
     .offset = offsetof(eval_args, selectors),
     .argument = "LIST",
     .help = "dense,index,proxy,means,shared,window,random,oracle: each with the same\n"
             "blocks, --local and --init; dense is always scored too (default: dense and\n"
             "--selector)"},
    {.name = "--by-position",
     .kind = OPTION_TEXT,
     .offset = offsetof(eval_args, by_position),
     .argument = "CUT",
     .help = "NLL by position too: in N equal ranges, or in powers of two where CUT\n"
             "is 'powers'"},
    {.name = "--ranges",
     .kind = OPTION_INT,
     .offset = offsetof(eval_args, n_ranges),
     .argument = "N",
     .min = 1,
     .max = 256,
     .help = "the same as --by-position N",
     .remedy = "leave it out for the text as a whole"},
    {.name = "--chunks",
     .kind = OPTION_INT,
     .offset = offsetof(eval_args, n_chunks),
     .argument = "N",
     .min = 1,
     .max = INT32_MAX,
     .help = "only the first N pieces of -c tokens (default: the whole text)",
     .remedy = "leave it out for the whole text"},
    {.name = "--json",
     .kind = OPTION_SWITCH,
     .offset = offsetof(eval_args, json),
     .help = "print JSON"},
};

static const help_page PAGE = {
    .usage = "msa eval ppl -m MODEL -f FILE [-c N] [--selectors LIST] [--by-position CUT] [flags]",
    .about =
        "Perplexity of a text with dense attention and with selectors over the same tokens. The\n"
        "text is cut into pieces of -c tokens (default: the text's length, at most what the model\n"
        "was trained for). NLL is the mean of -ln p of a token, PPL its exponential; the "
        "difference\n"
        "is NLL less NLL of dense, paired by token, with an interval of 95 % by batch means.\n"
        "Up to --topk times --block tokens all are the same: choose -c well beyond that.\n",
    .examples = "msa eval ppl -m models/SmolLM2-135M-Instruct.Q4_1.gguf "
                "-f /usr/share/common-licenses/GPL-3 -c 1024 --chunks 1",
};

/* ---- the work ------------------------------------------------------------------------------- */

enum { MOST_RUNS = MSA_SELECTOR_ORACLE + 2 };

/* One attention over the text. */
typedef struct eval_run {
    const char *name; /* "dense", or of a selector */
    msa_session_params params;
    double *nll; /* [n_scored] */
    double keys_per_query;
} eval_run;

typedef struct eval_work {
    eval_run runs[MOST_RUNS]; /* dense first */
    size_t n_runs;
    const int32_t *ids;
    size_t n_ids, n_scored;
    int64_t n_ctx, n_pieces;
    ppl_cut cut;
    bool by_position;
    progress bar;
    int64_t n_done, n_total; /* tokens fed, over all runs */
} eval_work;

static void free_work(eval_work *w) {
    for (size_t i = 0; i < w->n_runs; i++) free(w->runs[i].nll);
}

static double negative_log_likelihood(const float *logits, int32_t n_vocab, int32_t id) {
    float highest = logits[0];
    double sum = 0;
    for (int32_t i = 1; i < n_vocab; i++) highest = logits[i] > highest ? logits[i] : highest;
    for (int32_t i = 0; i < n_vocab; i++) sum += (double)expf(logits[i] - highest);
    return log(sum) - (double)(logits[id] - highest);
}

/* A piece on its way through one attention. */
typedef struct scorer {
    eval_work *work;
    const int32_t *ids;
    size_t n;
    double *nll; /* [n - 1] */
} scorer;

static int score_row(void *user, int64_t position, const float *logits, int32_t n_vocab) {
    scorer *s = user;
    if ((size_t)position + 1 < s->n)
        s->nll[position] = negative_log_likelihood(logits, n_vocab, s->ids[position + 1]);
    progress_update(&s->work->bar, ++s->work->n_done, s->work->n_total);
    return interrupt_seen();
}

static msa_status score_text(eval_work *w, eval_run *run, const msa_model *model, msa_error *err) {
    msa_session *session;
    msa_status status = msa_session_create(&session, model, &run->params, err);
    if (status != MSA_OK) return status;
    scorer s = {.work = w, .nll = run->nll};
    for (size_t at = 0; at + 1 < w->n_ids && status == MSA_OK; at += s.n, s.nll += s.n - 1) {
        s.ids = w->ids + at;
        s.n = w->n_ids - at < (size_t)w->n_ctx ? w->n_ids - at : (size_t)w->n_ctx;
        status = msa_session_rewind(session, 0, err);
        if (status == MSA_OK)
            status = msa_session_feed_logits(session, s.ids, s.n, score_row, &s, err);
    }
    msa_session_stats stats = msa_session_get_stats(session);
    run->keys_per_query = (stats.prefill_keys + stats.decode_keys) /
                          (double)(stats.n_prefill_tokens + stats.n_decode_tokens);
    msa_session_free(session);
    return status;
}

static msa_status score_runs(eval_work *w, const msa_model *model, msa_error *err) {
    msa_status status = MSA_OK;
    w->bar = progress_begin("scoring", "tokens");
    w->n_total = (int64_t)(w->n_runs * w->n_ids);
    for (size_t i = 0; i < w->n_runs && status == MSA_OK; i++)
        status = score_text(w, &w->runs[i], model, err);
    progress_end(&w->bar);
    return status;
}

/* ---- which attentions ----------------------------------------------------------------------- */

static msa_status add_run(eval_work *w, const char *name, const msa_session_params *params,
                          msa_error *err) {
    for (size_t i = 0; i < w->n_runs; i++)
        if (strcmp(w->runs[i].name, name) == 0) return MSA_OK;
    double *nll = calloc(w->n_scored, sizeof *nll);
    if (!nll) return fail_memory(err, "scoring");
    w->runs[w->n_runs++] = (eval_run){.name = name, .params = *params, .nll = nll};
    return MSA_OK;
}

static msa_status add_named(eval_work *w, const char *name, size_t n, const msa_model *model,
                            const msa_session_params *params, msa_error *err) {
    msa_session_params p = *params;
    if (n == 5 && memcmp(name, "dense", n) == 0) return MSA_OK; /* is there */
    for (int i = 0; i <= MSA_SELECTOR_ORACLE; i++) {
        const char *known = msa_selector_name((msa_selector)i);
        if (strlen(known) != n || memcmp(known, name, n) != 0) continue;
        p.selector = (msa_selector)i;
        return add_run(w, settings_selector(&p, model), &p, err);
    }
    return fail(err, MSA_E_ARG,
                "--selectors: there is no selector '%.*s'; expected some of dense, auto, index, "
                "proxy, means, shared, window, random, oracle, with commas between",
                n < 40 ? (int)n : 40, name);
}

static msa_status add_runs(eval_work *w, const char *names, const msa_model *model,
                           const msa_session_params *params, msa_error *err) {
    msa_session_params dense = *params;
    dense.attn = MSA_ATTN_DENSE;
    msa_status status = add_run(w, "dense", &dense, err);
    if (status == MSA_OK && !names)
        status = add_run(w, settings_selector(params, model), params, err);
    while (names && status == MSA_OK) {
        size_t n = strcspn(names, ",");
        status = add_named(w, names, n, model, params, err);
        names = names[n] ? names + n + 1 : NULL;
    }
    return status;
}

/* The reason why one can't be is told now, not when the others are done. */
static msa_status try_runs(const eval_work *w, const msa_model *model, msa_error *err) {
    msa_status status = MSA_OK;
    for (size_t i = 0; i < w->n_runs && status == MSA_OK; i++) {
        msa_session_params small = w->runs[i].params;
        msa_session *session = NULL;
        small.n_ctx = 64;
        status = msa_session_create(&session, model, &small, err);
        msa_session_free(session);
    }
    return status == MSA_OK ? status : fail_prefix(err, status, "--selectors: ");
}

/* ---- results -------------------------------------------------------------------------------- */

static ppl_mean mean_of(const eval_work *w, size_t run, int64_t first, int64_t end) {
    ppl_series dense = {w->runs[0].nll, w->n_scored, w->n_ctx - 1}, series = dense;
    series.nll = w->runs[run].nll;
    return ppl_mean_of(&series, &dense, first, end);
}

/* Dense has no difference to itself. */
static json_t *row_json(const eval_work *w, size_t run, int64_t first, int64_t end) {
    ppl_mean m = mean_of(w, run, first, end);
    if (run == 0) m.difference = m.low = m.high = NAN;
    return json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "selector",
                     w->runs[run].name, "first", (json_int_t)first, "end", (json_int_t)end,
                     "tokens", (json_int_t)m.n, "nll", json_number(m.nll), "ppl",
                     json_number(exp(m.nll)), "difference", json_number(m.difference),
                     "difference_low", json_number(m.low), "difference_high", json_number(m.high),
                     "ratio", json_number(exp(m.difference)));
}

static json_t *rows_json(const eval_work *w) {
    json_t *rows = json_array();
    for (size_t i = 0; i < w->n_runs; i++) {
        json_t *row = row_json(w, i, 0, w->n_ctx);
        json_object_set_new(row, "keys_per_query", json_number(w->runs[i].keys_per_query));
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *positions_json(const eval_work *w) {
    json_t *rows = json_array();
    for (int64_t r = 0, first, end; r < ppl_cut_count(&w->cut); r++) {
        ppl_cut_range(&w->cut, r, &first, &end);
        if (mean_of(w, 0, first, end).n == 0) continue;
        for (size_t i = 0; i < w->n_runs; i++)
            json_array_append_new(rows, row_json(w, i, first, end));
    }
    return rows;
}

static msa_status print_json(const eval_args *args, const eval_work *w, const msa_model *model,
                             msa_error *err) {
    size_t shown = 0; /* random, where there is one, has a seed to tell */
    for (size_t i = 0; i < w->n_runs; i++)
        if (w->runs[i].params.selector == MSA_SELECTOR_RANDOM) shown = i;
    msa_session_params params = w->runs[shown].params;
    params.attn = MSA_ATTN_MSA;
    json_t *attention = settings_json(&params, model);
    json_object_del(attention, "selector");
    json_t *document =
        json_pack("{s:o, s:o, s:I, s:s, s:o}", "file", json_text(args->file, strlen(args->file)),
                  "attention", attention, "chunks", (json_int_t)w->n_pieces, "interval",
                  "95 %, batch means", "rows", rows_json(w));
    if (w->by_position) json_object_set_new(document, "by_position", positions_json(w));
    return json_print(document, err);
}

static void write_difference(const ppl_mean *m, char *text, size_t size) {
    if (isnan(m->low))
        snprintf(text, size, "%+.4f", m->difference);
    else
        snprintf(text, size, "%+.4f (%+.4f..%+.4f)", m->difference, m->low, m->high);
}

static msa_status print_means(const eval_work *w, msa_error *err) {
    static const table_column COLUMNS[] = {
        {.key = "selector", .heading = "selector"},
        {.key = "keys_per_query", .heading = "keys/query"},
        {.key = "tokens", .heading = "tokens"},
        {.key = "nll", .heading = "NLL", .decimals = 4},
        {.key = "ppl", .heading = "PPL", .decimals = 3},
        {.key = "change", .heading = "NLL - dense (95 %)"},
        {.key = "ratio", .heading = "PPL / dense", .decimals = 4},
    };
    json_t *rows = rows_json(w);
    for (size_t i = 0; i < w->n_runs; i++) {
        char change[80] = "";
        ppl_mean m = mean_of(w, i, 0, w->n_ctx);
        if (i > 0) write_difference(&m, change, sizeof change);
        json_object_set_new(json_array_get(rows, i), "change", json_string(change));
    }
    msa_status status = table_print(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS, rows, err);
    json_decref(rows);
    return status;
}

/* A row a range: NLL of dense, and of the others with the difference. */
static msa_status print_positions(const eval_work *w, msa_error *err) {
    table_column columns[2 + MOST_RUNS] = {{.key = "positions", .heading = "positions"},
                                           {.key = "tokens", .heading = "tokens"}};
    for (size_t i = 0; i < w->n_runs; i++)
        columns[2 + i] = (table_column){.key = w->runs[i].name, .heading = w->runs[i].name};
    json_t *rows = json_array();
    for (int64_t r = 0, first, end; r < ppl_cut_count(&w->cut); r++) {
        char text[64];
        ppl_cut_range(&w->cut, r, &first, &end);
        ppl_mean m = mean_of(w, 0, first, end);
        if (m.n == 0) continue;
        snprintf(text, sizeof text, "%lld-%lld", (long long)first, (long long)end - 1);
        json_t *row = json_pack("{s:s, s:I}", "positions", text, "tokens", (json_int_t)m.n);
        for (size_t i = 0; i < w->n_runs; i++) {
            m = mean_of(w, i, first, end);
            snprintf(text, sizeof text, i ? "%.4f %+.4f" : "%.4f", m.nll, m.difference);
            json_object_set_new(row, w->runs[i].name, json_string(text));
        }
        json_array_append_new(rows, row);
    }
    printf("\nNLL by position, and its difference to dense\n");
    msa_status status = table_print(columns, 2 + w->n_runs, rows, err);
    json_decref(rows);
    return status;
}

static msa_status print_result(const eval_args *args, const eval_work *w, const msa_model *model,
                               msa_error *err) {
    if (args->json) return print_json(args, w, model, err);
    msa_status status = print_means(w, err);
    return status == MSA_OK && w->by_position ? print_positions(w, err) : status;
}

/* ---- the command ---------------------------------------------------------------------------- */

static msa_status take_cut(const eval_args *args, eval_work *w, msa_error *err) {
    w->cut = (ppl_cut){.n = args->n_ranges, .n_ctx = w->n_ctx};
    w->by_position = args->n_ranges > 0 || args->by_position;
    if (!args->by_position) return MSA_OK;
    char *end;
    long n = strtol(args->by_position, &end, 10);
    w->cut.n = n;
    if (strcmp(args->by_position, "powers") == 0)
        w->cut.n = 0;
    else if (*end || end == args->by_position || n < 1 || n > 256)
        return fail(err, MSA_E_ARG,
                    "--by-position: expected 'powers' or a whole number from 1 to 256, found '%s'",
                    args->by_position);
    return MSA_OK;
}

static msa_status take_text(const eval_args *args, const msa_tokens *tokens, int64_t n_ctx,
                            eval_work *w, msa_error *err) {
    if (n_ctx > (int64_t)tokens->n) n_ctx = (int64_t)tokens->n;
    if (n_ctx < 2)
        return fail(err, MSA_E_ARG, "-c: expected at least 2 tokens to score, found %lld; %s",
                    (long long)n_ctx, tokens->n < 2 ? "the text is too short" : "raise -c");
    w->n_ctx = n_ctx;
    w->n_pieces = ((int64_t)tokens->n + n_ctx - 1) / n_ctx;
    if (args->n_chunks < w->n_pieces) w->n_pieces = args->n_chunks;
    w->ids = tokens->ids;
    w->n_ids = tokens->n;
    if (w->n_pieces * n_ctx < (int64_t)tokens->n) w->n_ids = (size_t)(w->n_pieces * n_ctx);
    if (w->n_ids % (size_t)n_ctx == 1) w->n_ids--, w->n_pieces--; /* nothing to predict in it */
    w->n_scored = w->n_ids - (size_t)w->n_pieces;
    return MSA_OK;
}

static msa_status evaluate(const eval_args *args, const msa_model *model, const msa_tokens *tokens,
                           msa_error *err) {
    msa_session_params params;
    eval_work w = {0};
    msa_status status = settings_params(&args->attention, model, &params, err);
    if (status != MSA_OK) return status;
    int64_t n_ctx = params.n_ctx > 0 ? params.n_ctx : msa_model_get_info(model)->n_ctx_train;
    status = take_text(args, tokens, n_ctx, &w, err);
    if (status == MSA_OK) status = take_cut(args, &w, err);
    if (status != MSA_OK) return status;
    params.n_ctx = (int32_t)w.n_ctx;
    params.attn = MSA_ATTN_MSA;
    status = add_runs(&w, args->selectors, model, &params, err);
    if (status == MSA_OK && args->selectors) status = try_runs(&w, model, err);
    if (status == MSA_OK) {
        settings_announce(&params, model);
        fprintf(stderr, "text       %s, %zu tokens in pieces of %lld, %lld of them scored\n",
                args->file, tokens->n, (long long)w.n_ctx, (long long)w.n_pieces);
    }
    if (status == MSA_OK) status = score_runs(&w, model, err);
    if (status == MSA_OK) status = print_result(args, &w, model, err);
    free_work(&w);
    return status;
}

msa_status command_eval_ppl(int argc, char **argv, msa_error *err) {
    eval_args args = {.attention = settings_unset(), .n_chunks = INT32_MAX};
    msa_model *model = NULL;
    msa_tokens tokens = {0};
    bool done;
    option_group groups[] = {
        model_group(&args.model, true),
        {"Text", EVAL_OPTIONS, sizeof EVAL_OPTIONS / sizeof *EVAL_OPTIONS, &args},
        settings_group(&args.attention, false),
    };
    msa_status status = options_parse(&PAGE, groups, 3, argc, argv, &done, err);
    if (status != MSA_OK || done) return status;
    status = reading_open(&args.model, args.file, &model, &tokens, err);
    if (status == MSA_OK) status = evaluate(&args, model, &tokens, err);
    msa_tokens_free(&tokens);
    msa_model_free(model);
    return status;
}
