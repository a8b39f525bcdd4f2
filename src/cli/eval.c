/* eval.c: msa eval ppl: how well the model predicts a text, dense and MSA side by side.
 *
 * The text is cut into chunks of the context's length; each is fed from an empty session, once
 * densely and once with MSA, and every token but a chunk's first is scored by -ln of the
 * probability it was given. Both see the same tokens at the same positions, so the difference is
 * paired, and its standard error far smaller than that of either. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/reading.h"
#include "cli/table.h"

typedef struct eval_args {
    model_args model;
    settings_args attention;
    const char *file;
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
    {.name = "--chunks",
     .kind = OPTION_INT,
     .offset = offsetof(eval_args, n_chunks),
     .argument = "N",
     .min = 1,
     .max = INT32_MAX,
     .help = "only the first N pieces of -c tokens (default: the whole text)",
     .remedy = "leave it out for the whole text"},
    {.name = "--ranges",
     .kind = OPTION_INT,
     .offset = offsetof(eval_args, n_ranges),
     .argument = "N",
     .min = 1,
     .max = 256,
     .help = "position ranges to report (default: 8)",
     .remedy = "8 is the default"},
    {.name = "--json",
     .kind = OPTION_SWITCH,
     .offset = offsetof(eval_args, json),
     .help = "print JSON"},
};

static const help_page PAGE = {
    .usage = "msa eval ppl -m MODEL -f FILE [-c N] [--ranges N] [--chunks N] [--json] [flags]",
    .about =
        "Perplexity of a text by position in the context, with dense attention and with MSA over\n"
        "the same tokens. The text is cut into pieces of -c tokens (default: the text's length, "
        "at\n"
        "most what the model was trained for). NLL is the mean of -ln p of a token, PPL its\n"
        "exponential; the ratio is PPL of MSA over PPL of dense, +- one standard error.\n"
        "Up to --topk times --block tokens both are the same: choose -c well beyond that.\n",
    .examples = "msa eval ppl -m models/SmolLM2-135M-Instruct.Q4_1.gguf "
                "-f /usr/share/common-licenses/GPL-3 -c 1024 --chunks 1",
};

/* One attention over one chunk. */
typedef struct scorer {
    const int32_t *ids; /* of the chunk */
    size_t n;
    double *nll; /* [n - 1] */
    progress *bar;
    int64_t n_done, n_total; /* rows, over everything */
} scorer;

static double negative_log_likelihood(const float *logits, int32_t n_vocab, int32_t id) {
    float highest = logits[0];
    double sum = 0;
    for (int32_t i = 1; i < n_vocab; i++) highest = logits[i] > highest ? logits[i] : highest;
    for (int32_t i = 0; i < n_vocab; i++) sum += (double)expf(logits[i] - highest);
    return log(sum) - (double)(logits[id] - highest);
}

static int score_row(void *user, int64_t position, const float *logits, int32_t n_vocab) {
    scorer *s = user;
    if ((size_t)position + 1 < s->n)
        s->nll[position] = negative_log_likelihood(logits, n_vocab, s->ids[position + 1]);
    progress_update(s->bar, ++s->n_done, s->n_total);
    return interrupt_seen();
}

typedef struct range {
    int64_t first, end; /* positions of the tokens that predict */
    int64_t n;
    double dense, msa;          /* sums of NLL */
    double difference, squares; /* of msa - dense */
} range;

static void add_chunk(range *ranges, int64_t n_ranges, int64_t n_ctx, const double *dense,
                      const double *msa, size_t n) {
    for (size_t i = 0; i < n; i++) {
        range *r = &ranges[(int64_t)i * n_ranges / n_ctx];
        double difference = msa[i] - dense[i];
        r->n++;
        r->dense += dense[i], r->msa += msa[i];
        r->difference += difference, r->squares += difference * difference;
    }
}

static json_t *range_json(const char *name, const range *r) {
    double n = (double)r->n, mean = r->difference / n;
    double variance = n > 1 ? (r->squares - n * mean * mean) / (n - 1) : NAN;
    double ratio = exp(mean), error = ratio * sqrt(fmax(variance, 0) / n);
    return json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "positions", name,
                     "first", (json_int_t)r->first, "end", (json_int_t)r->end, "tokens",
                     (json_int_t)r->n, "nll_dense", json_number(r->dense / n), "nll_msa",
                     json_number(r->msa / n), "ppl_dense", json_number(exp(r->dense / n)),
                     "ppl_msa", json_number(exp(r->msa / n)), "ratio", json_number(ratio),
                     "ratio_error", json_number(error));
}

static json_t *ranges_json(const range *ranges, int64_t n_ranges, int64_t n_ctx) {
    json_t *rows = json_array();
    range all = {.first = 0, .end = n_ctx};
    char name[64];
    for (int64_t i = 0; i < n_ranges; i++) {
        const range *r = &ranges[i];
        if (r->n == 0) continue;
        snprintf(name, sizeof name, "%lld-%lld", (long long)r->first, (long long)r->end - 1);
        json_array_append_new(rows, range_json(name, r));
        all.n += r->n, all.dense += r->dense, all.msa += r->msa;
        all.difference += r->difference, all.squares += r->squares;
    }
    json_array_append_new(rows, range_json("all", &all));
    return rows;
}

static msa_status print_result(const eval_args *args, const msa_model *model, msa_session *session,
                               const range *ranges, int64_t n_ranges, int64_t n_chunks,
                               msa_error *err) {
    static const table_column COLUMNS[] = {
        {.key = "positions", .heading = "positions"},
        {.key = "tokens", .heading = "tokens"},
        {.key = "nll_dense", .heading = "NLL dense", .decimals = 4},
        {.key = "nll_msa", .heading = "NLL MSA", .decimals = 4},
        {.key = "ppl_dense", .heading = "PPL dense", .decimals = 3},
        {.key = "ppl_msa", .heading = "PPL MSA", .decimals = 3},
        {.key = "ratio", .heading = "ratio", .decimals = 4},
        {.key = "ratio_error", .heading = "+-", .decimals = 4},
    };
    const msa_session_params *params = msa_session_get_params(session);
    const msa_session_stats stats = msa_session_get_stats(session);
    json_t *rows = ranges_json(ranges, n_ranges, params->n_ctx);
    if (args->json)
        return json_print(
            json_pack(
                "{s:o, s:o, s:I, s:o, s:o, s:o}", "file", json_text(args->file, strlen(args->file)),
                "attention", settings_json(params, model), "chunks", (json_int_t)n_chunks,
                "keys_per_query", json_number(stats.prefill_keys / (double)stats.n_prefill_tokens),
                "keys_per_query_dense",
                json_number(stats.prefill_keys_dense / (double)stats.n_prefill_tokens), "rows",
                rows),
            err);
    msa_status status = table_print(COLUMNS, sizeof COLUMNS / sizeof *COLUMNS, rows, err);
    json_decref(rows);
    return status;
}

/* ---- the work ------------------------------------------------------------------------------- */

typedef struct eval_work {
    msa_session *dense, *msa;
    double *nll_dense, *nll_msa; /* [n_ctx] */
    range *ranges;               /* [n_ranges] */
} eval_work;

static void free_work(eval_work *w) {
    msa_session_free(w->dense);
    msa_session_free(w->msa);
    free(w->nll_dense);
    free(w->nll_msa);
    free(w->ranges);
}

static msa_status create_work(eval_work *w, const msa_model *model,
                              const msa_session_params *params, int64_t n_ranges, msa_error *err) {
    msa_session_params dense = *params;
    size_t n_ctx = (size_t)params->n_ctx;
    *w = (eval_work){0};
    dense.attn = MSA_ATTN_DENSE;
    w->nll_dense = calloc(n_ctx, sizeof(double));
    w->nll_msa = calloc(n_ctx, sizeof(double));
    w->ranges = calloc((size_t)n_ranges, sizeof(range));
    if (!w->nll_dense || !w->nll_msa || !w->ranges) return fail_memory(err, "scoring");
    for (int64_t i = 0; i < n_ranges; i++) { /* position p is in range p * n_ranges / n_ctx */
        w->ranges[i].first = (i * params->n_ctx + n_ranges - 1) / n_ranges;
        w->ranges[i].end = ((i + 1) * params->n_ctx + n_ranges - 1) / n_ranges;
    }
    msa_status status = msa_session_create(&w->dense, model, &dense, err);
    return status == MSA_OK ? msa_session_create(&w->msa, model, params, err) : status;
}

static msa_status score_chunk(msa_session *session, scorer *s, double *nll, msa_error *err) {
    msa_status status = msa_session_rewind(session, 0, err);
    s->nll = nll;
    return status == MSA_OK ? msa_session_feed_logits(session, s->ids, s->n, score_row, s, err)
                            : status;
}

static msa_status score_text(eval_work *w, const msa_tokens *tokens, int64_t n_ctx,
                             int64_t n_chunks, int64_t n_ranges, msa_error *err) {
    progress bar = progress_begin("scoring", "tokens");
    int64_t n_used = n_chunks * n_ctx < (int64_t)tokens->n ? n_chunks * n_ctx : (int64_t)tokens->n;
    scorer s = {.bar = &bar, .n_total = 2 * n_used};
    msa_status status = MSA_OK;
    for (int64_t at = 0; at + 1 < n_used && status == MSA_OK; at += n_ctx) {
        s.ids = tokens->ids + at;
        s.n = (size_t)(n_used - at < n_ctx ? n_used - at : n_ctx);
        status = score_chunk(w->dense, &s, w->nll_dense, err);
        if (status == MSA_OK) status = score_chunk(w->msa, &s, w->nll_msa, err);
        if (status == MSA_OK)
            add_chunk(w->ranges, n_ranges, n_ctx, w->nll_dense, w->nll_msa, s.n - 1);
    }
    progress_end(&bar);
    return status;
}

static msa_status evaluate(const eval_args *args, const msa_model *model, const msa_tokens *tokens,
                           msa_error *err) {
    msa_session_params params;
    eval_work w;
    msa_status status = settings_params(&args->attention, model, &params, err);
    if (status != MSA_OK) return status;
    int64_t n_ctx = params.n_ctx > 0 ? params.n_ctx : msa_model_get_info(model)->n_ctx_train;
    if (n_ctx > (int64_t)tokens->n) n_ctx = (int64_t)tokens->n;
    if (n_ctx < 2)
        return fail(err, MSA_E_ARG, "-c: expected at least 2 tokens to score, found %lld; %s",
                    (long long)n_ctx, tokens->n < 2 ? "the text is too short" : "raise -c");
    params.n_ctx = (int32_t)n_ctx;
    params.attn = MSA_ATTN_MSA;
    int64_t n_ranges = args->n_ranges < n_ctx ? args->n_ranges : n_ctx;
    int64_t n_chunks = ((int64_t)tokens->n + n_ctx - 1) / n_ctx;
    if (args->n_chunks < n_chunks) n_chunks = args->n_chunks;
    settings_announce(&params, model);
    fprintf(stderr, "text       %s, %zu tokens in pieces of %lld, %lld of them scored\n",
            args->file, tokens->n, (long long)n_ctx, (long long)n_chunks);
    status = create_work(&w, model, &params, n_ranges, err);
    if (status == MSA_OK) status = score_text(&w, tokens, n_ctx, n_chunks, n_ranges, err);
    if (status == MSA_OK)
        status = print_result(args, model, w.msa, w.ranges, n_ranges, n_chunks, err);
    free_work(&w);
    return status;
}

msa_status command_eval_ppl(int argc, char **argv, msa_error *err) {
    eval_args args = {.attention = settings_unset(), .n_ranges = 8, .n_chunks = INT32_MAX};
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
