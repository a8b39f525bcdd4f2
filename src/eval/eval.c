/* eval.c: the public calls, see msa/eval.h: life, running, looking at questions. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "eval/sheet.h"
#include "eval/trial.h"

/* ---- life ------------------------------------------------------------------------------------ */

msa_eval_params msa_eval_defaults(const msa_model *model) {
    static const char *const SELECTORS[] = {"dense", "auto"};
    static const double DEPTHS[] = {0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100};
    return (msa_eval_params){.depths = DEPTHS,
                             .n_depths = sizeof DEPTHS / sizeof *DEPTHS,
                             .n_samples = 1,
                             .selectors = SELECTORS,
                             .n_selectors = 2,
                             .seed = 42,
                             .void_below = 50,
                             .session = msa_session_defaults(model)};
}

static void describe(msa_eval *e) {
    const char *template = msa_model_get_info(e->model)->chat_template;
    e->info.chat = e->asker.chat ? template : "none";
    e->info.haystack = e->asker.has_text ? "text" : "noise";
    e->info.n_trials = (int64_t)(e->n_cells * e->n_selectors) * e->n_samples;
    e->info.selectors = e->selectors;
    e->info.n_selectors = e->n_selectors;
}

msa_status msa_eval_create(msa_eval **out, const msa_model *model, const msa_eval_params *params,
                           msa_error *err) {
    if (!out || !model || !params)
        return error_set(err, MSA_E_ARG, "eval, model and params must not be NULL");
    *out = NULL;
    msa_eval *e = mem_calloc(1, sizeof *e);
    if (!e) return error_set(err, MSA_E_NOMEM, "no memory for an evaluation");
    e->model = model;
    e->ledger.log.fd = -1;
    e->session = params->session;
    e->void_below = params->void_below / 100;
    e->watch = params->watch, e->user = params->user;
    msa_status status = sheet_plan(e, params, err);
    if (status == MSA_OK) {
        describe(e);
        status = sheet_open_ledger(e, params, err);
        e->info.n_answered = e->info.n_found;
    }
    if (status == MSA_OK)
        *out = e;
    else
        msa_eval_free(e);
    return status;
}

void msa_eval_free(msa_eval *e) {
    if (!e) return;
    asker_close(&e->asker);
    ledger_close(&e->ledger);
    question_free(&e->question);
    mem_free(e->quizzes);
    mem_free(e->cells);
    mem_free(e->answers);
    mem_free(e->out);
    mem_free(e->expected);
    mem_free(e->rows);
    mem_free(e);
}

const msa_eval_info *msa_eval_get_info(const msa_eval *e) {
    return e ? &e->info : NULL;
}

sheet_answer *sheet_at(const msa_eval *e, size_t cell, int64_t sample, size_t selector) {
    size_t at = cell * (size_t)e->n_samples + (size_t)sample;
    return &e->answers[at * e->n_selectors + selector];
}

/* ---- running --------------------------------------------------------------------------------- */

typedef struct running {
    msa_eval *eval;
    msa_eval_event event;
    int64_t before; /* n_done when the trial began */
} running;

static int tell(const running *r) {
    return r->eval->watch ? r->eval->watch(r->eval->user, &r->event) : 0;
}

static int follow(void *user, int64_t n_done, int64_t n_total) {
    running *r = user;
    (void)n_total;
    r->event.n_done = r->before + n_done;
    return tell(r);
}

static int64_t tokens_left(const msa_eval *e) {
    int64_t n = 0;
    for (size_t c = 0; c < e->n_cells; c++)
        for (int64_t i = 0; i < e->n_samples; i++)
            for (size_t s = 0; s < e->n_selectors; s++)
                n += sheet_at(e, c, i, s)->given ? 0 : e->cells[c].length;
    return n;
}

static msa_status try_selector(running *r, size_t cell, int64_t sample, size_t s, trial *t,
                               msa_error *err) {
    msa_eval *e = r->eval;
    msa_session_params params = sheet_session(e, s, &e->cells[cell], sample);
    sheet_answer *answer = sheet_at(e, cell, sample, s);
    r->event.selector = e->selectors[s];
    r->before = r->event.n_done;
    if (tell(r)) return error_set(err, MSA_E_CANCELLED, "stopped");
    msa_status status = trial_run(e->model, &params, &e->question, follow, r, t, err);
    if (status != MSA_OK) return status;
    *answer = (sheet_answer){false, sheet_kept(t->score), (double)t->n_prompt, sheet_kept(t->keys),
                             sheet_kept(t->keys_dense)};
    status = sheet_record(e, cell, sample, s, t->answer.data, t->n_answer, err);
    if (status != MSA_OK) return status;
    answer->given = true;
    e->info.n_answered++;
    r->event.n_done = r->before + e->cells[cell].length;
    return MSA_OK;
}

static msa_status ask(running *r, size_t cell, int64_t sample, trial *t, msa_error *err) {
    msa_eval *e = r->eval;
    const sheet_cell *c = &e->cells[cell];
    msa_status status = MSA_OK;
    bool made = false;
    r->event.task = c->name, r->event.length = c->length, r->event.sample = sample;
    for (size_t s = 0; s < e->n_selectors && status == MSA_OK; s++) {
        if (sheet_at(e, cell, sample, s)->given) continue;
        if (!made)
            status = asker_ask(&e->asker, c->quiz, c->length, c->depth, sample, &e->question, err);
        made = true;
        if (status == MSA_OK) status = try_selector(r, cell, sample, s, t, err);
    }
    return status;
}

msa_status msa_eval_run(msa_eval *e, msa_error *err) {
    if (!e) return error_set(err, MSA_E_ARG, "eval must not be NULL");
    running r = {.eval = e, .event = {.n_total = tokens_left(e)}};
    trial t = {0};
    msa_status status = MSA_OK;
    for (size_t c = 0; c < e->n_cells && status == MSA_OK; c++)
        for (int64_t i = 0; i < e->n_samples && status == MSA_OK; i++)
            status = ask(&r, c, i, &t, err);
    trial_free(&t);
    return status;
}

/* ---- questions ------------------------------------------------------------------------------- */

size_t msa_eval_n_questions(const msa_eval *e) {
    return e ? e->n_cells * (size_t)e->n_samples : 0;
}

static msa_status list_expected(msa_eval *e, msa_error *err) {
    const prompt *p = &e->question.prompt;
    void *list = e->expected;
    const char *text = NULL;
    bool room = mem_grow(&list, &e->expected_capacity, p->n_expected + 1, sizeof *e->expected);
    e->expected = list;
    if (!room) return error_set(err, MSA_E_NOMEM, "no memory for a question");
    for (size_t i = 0; i < p->n_expected; i++)
        text = e->expected[i] = prompt_next_expected(p, text);
    return MSA_OK;
}

msa_status msa_eval_get_question(msa_eval *e, size_t i, msa_eval_question *out, msa_error *err) {
    if (!e || !out) return error_set(err, MSA_E_ARG, "eval and question must not be NULL");
    if (i >= msa_eval_n_questions(e))
        return error_set(err, MSA_E_ARG, "there is no question %zu; there are %zu", i,
                         msa_eval_n_questions(e));
    const sheet_cell *c = &e->cells[i / (size_t)e->n_samples];
    int64_t sample = (int64_t)(i % (size_t)e->n_samples);
    question *q = &e->question;
    msa_status status = asker_ask(&e->asker, c->quiz, c->length, c->depth, sample, q, err);
    if (status == MSA_OK) status = list_expected(e, err);
    if (status != MSA_OK) return status;
    *out = (msa_eval_question){.task = c->name,
                               .length = c->length,
                               .sample = sample,
                               .depth = c->depth,
                               .prompt = q->text.data,
                               .n_prompt_bytes = q->text.n,
                               .ids = q->sample.ids.ids,
                               .n_ids = q->sample.ids.n,
                               .expected = e->expected,
                               .n_expected = q->prompt.n_expected,
                               .n_generate = c->quiz->task.n_generate};
    return MSA_OK;
}
