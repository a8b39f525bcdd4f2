/* eval_exam.c: see eval_exam.h. */
#include "cli/eval_exam.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval_rows.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/table.h"

exam_args exam_unset(void) {
    exam_args args = {.attention = settings_unset(),
                      .samples = 20,
                      .seed = 42,
                      .show = OPTION_UNSET,
                      .void_below = 50,
                      .depths = {.n = 0}};
    args.lengths.values[0] = 2048, args.lengths.n = 1;
    for (int depth = 0; depth <= 100; depth += 10) args.depths.values[args.depths.n++] = depth;
    return args;
}

/* ---- lists ----------------------------------------------------------------------------------- */

enum { LIST_MOST = 64 };

typedef struct list {
    char *text;
    const char *items[LIST_MOST];
    size_t n;
} list;

/* Splits "a,b"; list_free in any case. */
static msa_status list_split(list *l, const char *flag, const char *text, msa_error *err) {
    l->n = 0;
    l->text = strdup(text);
    if (!l->text) return fail_memory(err, "reading the command line");
    for (char *at = l->text, *next; at; at = next) {
        next = strchr(at, ',');
        if (next) *next++ = 0;
        if (*at == 0 || l->n == LIST_MOST)
            return fail(err, MSA_E_ARG, "%s: expected names like a,b,c, found '%s'", flag, text);
        l->items[l->n++] = at;
    }
    return MSA_OK;
}

static bool list_has(const list *l, const char *item) {
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i], item) == 0) return true;
    return false;
}

static void list_free(list *l) {
    free(l->text);
}

/* ---- what is asked for ----------------------------------------------------------------------- */

static msa_status check_args(const exam_args *args, const list *tasks, msa_error *err) {
    if (args->attention.selector >= 0)
        return fail(
            err, MSA_E_ARG,
            "--selector: selectors are compared here; expected --selectors dense,proxy,...");
    if (args->lengths.n == 0)
        return fail(err, MSA_E_ARG, "--lengths: expected at least one, found none");
    if (args->attention.n_ctx != OPTION_UNSET)
        return fail(err, MSA_E_ARG,
                    "-c/--ctx-size: --lengths says how long the texts are; leave -c out");
    if (list_has(tasks, "qa_1") && !args->squad)
        return fail(err, MSA_E_ARG,
                    "--squad is missing: qa_1 asks the questions of SQuAD; expected --squad FILE, "
                    "the set's dev-v2.0.json or dev-v1.1.json, or --tasks without qa_1");
    if (list_has(tasks, "qa_2") && !args->hotpotqa)
        return fail(err, MSA_E_ARG,
                    "--hotpotqa is missing: qa_2 asks the questions of HotpotQA; expected "
                    "--hotpotqa FILE, the set's hotpot_dev_distractor_v1.json, or --tasks without "
                    "qa_2");
    if (list_has(tasks, "train_needle") && !args->text)
        return fail(err, MSA_E_ARG,
                    "--text is missing: train_needle hides facts in a text; expected --text FILE "
                    "or a folder");
    return MSA_OK;
}

typedef struct exam {
    const exam_args *args;
    list tasks, selectors;
    double depths[OPTION_INTS_MAX];
    msa_eval_params params;
    progress bar;
    char label[96];
} exam;

static int watch(void *user, const msa_eval_event *event) {
    exam *x = user;
    snprintf(x->label, sizeof x->label, "%s %lld %s", event->task, (long long)event->length,
             event->selector);
    progress_update(&x->bar, event->n_done, event->n_total);
    return interrupt_seen();
}

static msa_status make_params(exam *x, const msa_model *model, const char *usual, msa_error *err) {
    const exam_args *args = x->args;
    x->params = msa_eval_defaults(model);
    msa_status status = list_split(&x->tasks, "--tasks", args->tasks ? args->tasks : usual, err);
    if (status == MSA_OK && args->selectors)
        status = list_split(&x->selectors, "--selectors", args->selectors, err);
    if (status == MSA_OK) status = check_args(args, &x->tasks, err);
    if (status == MSA_OK)
        status = settings_params(&args->attention, model, &x->params.session, err);
    if (status != MSA_OK) return status;
    if (args->show != OPTION_UNSET) x->params.session.allow_past_context = 1; /* nobody reads it */
    for (int i = 0; i < args->depths.n; i++) x->depths[i] = (double)args->depths.values[i];
    x->params.tasks = x->tasks.items, x->params.n_tasks = x->tasks.n;
    if (args->selectors) {
        x->params.selectors = x->selectors.items;
        x->params.n_selectors = x->selectors.n;
    }
    x->params.lengths = args->lengths.values, x->params.n_lengths = (size_t)args->lengths.n;
    x->params.depths = x->depths, x->params.n_depths = (size_t)args->depths.n;
    x->params.n_samples = args->samples, x->params.seed = (uint64_t)args->seed;
    x->params.text = args->text, x->params.squad = args->squad;
    x->params.hotpotqa = args->hotpotqa;
    x->params.n_items = args->items, x->params.n_questions = args->questions;
    x->params.plain = args->raw, x->params.void_below = args->void_below;
    x->params.out = args->show == OPTION_UNSET ? args->out : NULL;
    x->params.watch = watch, x->params.user = x;
    return MSA_OK;
}

/* ---- doing it -------------------------------------------------------------------------------- */

/* What a model is asked, byte for byte, instead of asking it. */
static msa_status show(const exam_args *args, msa_eval *eval, msa_error *err) {
    msa_eval_question q;
    msa_status status = msa_eval_get_question(eval, (size_t)args->show, &q, err);
    if (status != MSA_OK) return fail_prefix(err, status, "--show: ");
    fprintf(stderr, "question   %s, %lld tokens, sample %lld: %zu tokens, room for %d more\n",
            q.task, (long long)q.length, (long long)q.sample, q.n_ids, q.n_generate);
    for (size_t i = 0; i < q.n_expected; i++)
        fprintf(stderr, "%s %s", i ? "," : "expected  ", q.expected[i]);
    if (q.n_expected) fputc('\n', stderr);
    fwrite(q.prompt, 1, q.n_prompt_bytes, stdout);
    putchar('\n');
    return MSA_OK;
}

static void announce(const exam *x, const msa_model *model, const msa_eval_info *info) {
    msa_session_params params = x->params.session;
    params.n_ctx = (int32_t)x->args->lengths.values[x->args->lengths.n - 1];
    settings_announce(&params, model);
    fprintf(stderr, "questions  %zu tasks, %d lengths, %lld samples; selectors", x->tasks.n,
            x->args->lengths.n, (long long)x->args->samples);
    for (size_t i = 0; i < info->n_selectors; i++)
        fprintf(stderr, "%s %s", i ? "," : "", info->selectors[i]);
    fprintf(stderr, "; chat template %s\n", info->chat);
    fprintf(stderr, "answers    %lld", (long long)info->n_trials);
    if (x->args->out)
        fprintf(stderr, ", %lld of them in %s already", (long long)info->n_found, x->args->out);
    fputc('\n', stderr);
}

static msa_status print_results(const exam *x, const char *name, const msa_model *model,
                                msa_eval *eval, exam_print_fn *print, msa_error *err) {
    const msa_eval_info *info = msa_eval_get_info(eval);
    size_t n;
    const msa_eval_row *rows = msa_eval_get_rows(eval, &n);
    if (!rows) return fail_memory(err, "adding up");
    msa_status status = MSA_OK;
    if (print)
        status = print(x->args, rows, n, info, err);
    else if (!x->args->json)
        status = exam_print_rows(x->args, rows, n, info, err);
    if (status != MSA_OK || !x->args->json) return status;
    return json_print(rows_json(x->args, name, model, info, rows, n), err);
}

static msa_status ask(exam *x, const char *name, const msa_model *model, msa_eval *eval,
                      exam_print_fn *print, msa_error *err) {
    msa_error second;
    announce(x, model, msa_eval_get_info(eval));
    x->bar = progress_begin(x->label, "tokens");
    msa_status status = msa_eval_run(eval, err);
    progress_end(&x->bar);
    if (status != MSA_OK && status != MSA_E_CANCELLED) return status;
    if (status == MSA_E_CANCELLED && x->args->out)
        fprintf(stderr, "msa: stopped; what is answered is in %s, the same command goes on\n",
                x->args->out);
    msa_status printed = print_results(x, name, model, eval, print, &second);
    if (status != MSA_OK || printed == MSA_OK) return status;
    *err = second;
    return printed;
}

msa_status exam_run(const exam_args *args, const char *name, const char *usual,
                    exam_print_fn *print, msa_error *err) {
    exam x = {.args = args};
    msa_model *model = NULL;
    msa_eval *eval = NULL;
    msa_status status = model_open(&args->model, &model, err);
    if (status == MSA_OK) status = make_params(&x, model, usual, err);
    if (status == MSA_OK) status = msa_eval_create(&eval, model, &x.params, err);
    if (status == MSA_OK)
        status = args->show != OPTION_UNSET ? show(args, eval, err)
                                            : ask(&x, name, model, eval, print, err);
    msa_eval_free(eval);
    msa_model_free(model);
    list_free(&x.tasks);
    list_free(&x.selectors);
    return status;
}
