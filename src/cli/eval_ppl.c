/* eval_ppl.c: msa eval ppl: how well the model predicts a text, with dense attention and with
 * selectors side by side. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/ppl_report.h"
#include "cli/reading.h"

typedef struct ppl_args {
    model_args model;
    settings_args attention;
    const char *file, *selectors, *by_position;
    int64_t n_ranges, n_chunks;
    bool json;
} ppl_args;

static const option OPTIONS[] = {
    {.name = "--file",
     .letter = 'f',
     .kind = OPTION_TEXT,
     .offset = offsetof(ppl_args, file),
     .argument = "FILE",
     .help = "the text, UTF-8; - is standard input"},
    {.name = "--selectors",
     .kind = OPTION_TEXT,
     .offset = offsetof(ppl_args, selectors),
     .argument = "LIST",
     .help = "dense,index,proxy,means,shared,window,random,oracle: each with the same\n"
             "blocks, --local and --init; dense is always scored too (default: dense and\n"
             "--selector)"},
    {.name = "--by-position",
     .kind = OPTION_TEXT,
     .offset = offsetof(ppl_args, by_position),
     .argument = "CUT",
     .help = "NLL by position too: in N equal ranges, or in powers of two where CUT\n"
             "is 'powers'"},
    {.name = "--ranges",
     .kind = OPTION_INT,
     .offset = offsetof(ppl_args, n_ranges),
     .argument = "N",
     .min = 1,
     .max = 256,
     .help = "the same as --by-position N",
     .remedy = "leave it out for the text as a whole"},
    {.name = "--chunks",
     .kind = OPTION_INT,
     .offset = offsetof(ppl_args, n_chunks),
     .argument = "N",
     .min = 1,
     .max = INT32_MAX,
     .help = "only the first N pieces of -c tokens (default: the whole text)",
     .remedy = "leave it out for the whole text"},
    {.name = "--json",
     .kind = OPTION_SWITCH,
     .offset = offsetof(ppl_args, json),
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

/* ---- the command ----------------------------------------------------------------------------- */

/* *wanted: by position at all. */
static msa_status take_cut(const ppl_args *args, int64_t n_ctx, ppl_cut *cut, bool *wanted,
                           msa_error *err) {
    *cut = (ppl_cut){.n = args->n_ranges, .n_ctx = n_ctx};
    *wanted = args->n_ranges > 0 || args->by_position;
    if (!args->by_position) return MSA_OK;
    char *end;
    long n = strtol(args->by_position, &end, 10);
    cut->n = n;
    if (strcmp(args->by_position, "powers") == 0)
        cut->n = 0;
    else if (*end || end == args->by_position || n < 1 || n > 256)
        return fail(err, MSA_E_ARG,
                    "--by-position: expected 'powers' or a whole number from 1 to 256, found '%s'",
                    args->by_position);
    return MSA_OK;
}

/* Everything is checked before anything is scored. */
static msa_status prepare(const ppl_args *args, const msa_model *model, const msa_tokens *tokens,
                          scoring *s, ppl_cut *cut, bool *by_position, msa_error *err) {
    msa_session_params params;
    msa_status status = settings_params(&args->attention, model, &params, err);
    if (status != MSA_OK) return status;
    int64_t n_ctx = params.n_ctx > 0 ? params.n_ctx : msa_model_get_info(model)->n_ctx_train;
    status = scoring_take_text(s, tokens, n_ctx, args->n_chunks, err);
    if (status == MSA_OK) status = take_cut(args, s->n_ctx, cut, by_position, err);
    if (status != MSA_OK) return status;
    params.n_ctx = (int32_t)s->n_ctx;
    params.attn = MSA_ATTN_MSA;
    settings_no_decode(&params);
    status = scoring_take_selectors(s, args->selectors, model, &params, err);
    if (status != MSA_OK) return status;
    settings_announce(&params, model);
    fprintf(stderr, "text       %s, %zu tokens in pieces of %lld, %lld of them scored\n",
            args->file, tokens->n, (long long)s->n_ctx, (long long)s->n_pieces);
    return MSA_OK;
}

static msa_status evaluate(const ppl_args *args, const msa_model *model, const msa_tokens *tokens,
                           msa_error *err) {
    scoring s = {0};
    ppl_cut whole;
    bool by_position = false;
    msa_status status = prepare(args, model, tokens, &s, &whole, &by_position, err);
    const ppl_cut *cut = by_position ? &whole : NULL;
    if (status == MSA_OK) status = scoring_run_all(&s, model, err);
    if (status == MSA_OK)
        status = args->json ? ppl_report_json(&s, cut, args->file, model, err)
                            : ppl_report_print(&s, cut, err);
    scoring_free(&s);
    return status;
}

msa_status command_eval_ppl(int argc, char **argv, msa_error *err) {
    ppl_args args = {.attention = settings_unset(), .n_chunks = INT32_MAX};
    msa_model *model = NULL;
    msa_tokens tokens = {0};
    bool done;
    option_group groups[] = {
        model_group(&args.model, true),
        {"Text", OPTIONS, sizeof OPTIONS / sizeof *OPTIONS, &args},
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
