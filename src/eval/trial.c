/* trial.c: see trial.h. */
#include "eval/trial.h"

#include <string.h>

#include "eval/mark.h"

void trial_free(trial *t) {
    bytes_free(&t->answer);
    *t = (trial){0};
}

/* Ties go to the lower id. */
static int32_t likeliest(const float *logits, int32_t n_vocab) {
    int32_t best = 0;
    for (int32_t i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* ---- generated answers ----------------------------------------------------------------------- */

typedef struct speech {
    const msa_model *model;
    msa_session *session;
    msa_text_stream *stream;
    const question *q;
    msa_progress_fn *progress;
    void *user;
    trial *out;
} speech;

/* Whether the caller wants to stop. */
static bool is_unwanted(const speech *s) {
    int64_t n_done = s->out->n_prompt + s->out->n_answer;
    int64_t n_total = s->out->n_prompt + s->q->quiz->task.n_generate;
    return s->progress && s->progress(s->user, n_done, n_total) != 0;
}

/* A NUL would end the answer for whoever marks it: U+FFFD stands in its place. */
static msa_status say(const speech *s, const char *text, size_t n, msa_error *err) {
    for (const char *end = text + n, *nul; text < end; text = nul + 1) {
        nul = memchr(text, 0, (size_t)(end - text));
        bytes_append(&s->out->answer, text, (size_t)((nul ? nul : end) - text));
        if (!nul) break;
        bytes_append_text(&s->out->answer, "\xef\xbf\xbd");
    }
    bytes_terminate(&s->out->answer);
    return s->out->answer.failed ? error_set(err, MSA_E_NOMEM, "no memory for an answer") : MSA_OK;
}

/* One more token; *more becomes false where the answer ends. */
static msa_status go_on(const speech *s, bool *more, msa_error *err) {
    const char *text;
    size_t n;
    int32_t n_vocab = msa_model_get_info(s->model)->n_vocab;
    int32_t id = likeliest(msa_session_logits(s->session), n_vocab);
    *more = false;
    if (msa_token_is_end(s->model, id)) return MSA_OK;
    s->out->n_answer++;
    msa_status status = msa_text_stream_push(s->stream, id, &text, &n, err);
    if (status == MSA_OK) status = say(s, text, n, err);
    if (status != MSA_OK) return status;
    if (s->out->n_answer >= s->q->quiz->task.n_generate ||
        mark_is_settled(s->q->quiz->marking, &s->q->prompt, s->out->answer.data))
        return MSA_OK;
    if (is_unwanted(s))
        return error_set(err, MSA_E_CANCELLED, "stopped in the middle of an answer");
    *more = true;
    return msa_session_feed(s->session, &id, 1, NULL, NULL, err);
}

static msa_status generate(speech s, msa_error *err) {
    bool more = true;
    const char *text;
    size_t n;
    msa_status status = say(&s, "", 0, err);
    if (status == MSA_OK) status = msa_text_stream_create(&s.stream, s.model, err);
    while (status == MSA_OK && more) status = go_on(&s, &more, err);
    if (status == MSA_OK) {
        msa_text_stream_flush(s.stream, &text, &n);
        status = say(&s, text, n, err);
    }
    msa_text_stream_free(s.stream);
    if (status == MSA_OK) s.out->score = mark(s.q->quiz->marking, &s.q->prompt, s.out->answer.data);
    return status;
}

/* ---- answers in the sample ------------------------------------------------------------------- */

typedef struct examiner {
    const marked *sample;
    bool right; /* every token so far of the answer at hand */
    int64_t n, n_right;
    msa_progress_fn *progress;
    void *user;
    trial *out;
} examiner;

/* Logits behind token `position` predict the next one. */
static void take_row(examiner *e, int64_t position, const float *logits, int32_t n_vocab) {
    const marked *m = e->sample;
    size_t next = (size_t)position + 1;
    if (next >= m->ids.n || !m->answer[next]) return;
    bool first = !m->answer[position], last = next + 1 == m->ids.n || !m->answer[next + 1];
    if (first) e->right = true;
    e->right &= likeliest(logits, n_vocab) == m->ids.ids[next];
    if (!last) return;
    e->n++, e->n_right += e->right;
    bytes_append_text(&e->out->answer, e->right ? "+" : "-");
}

static int examine_row(void *user, int64_t position, const float *logits, int32_t n_vocab) {
    examiner *e = user;
    take_row(e, position, logits, n_vocab);
    return e->progress ? e->progress(e->user, position + 1, (int64_t)e->sample->ids.n) : 0;
}

static size_t first_answer(const marked *m) {
    size_t first = 0;
    while (first < m->ids.n && !m->answer[first]) first++;
    return first;
}

static msa_status examine(const msa_model *model, msa_session *session, const question *q,
                          msa_progress_fn *progress, void *user, trial *out, msa_error *err) {
    const marked *m = &q->sample;
    size_t first = first_answer(m);
    examiner e = {.sample = m, .progress = progress, .user = user, .out = out};
    take_row(&e, (int64_t)first - 1, msa_session_logits(session),
             msa_model_get_info(model)->n_vocab);
    msa_status status = MSA_OK;
    if (first < m->ids.n)
        status = msa_session_feed_logits(session, m->ids.ids + first, m->ids.n - first, examine_row,
                                         &e, err);
    bytes_terminate(&out->answer);
    if (status == MSA_OK && out->answer.failed)
        status = error_set(err, MSA_E_NOMEM, "no memory for an answer");
    out->score = e.n ? (double)e.n_right / (double)e.n : 0;
    out->n_answer = e.n;
    return status;
}

/* ---- the trial ------------------------------------------------------------------------------- */

static msa_status sit(const msa_model *model, msa_session *session, const question *q,
                      msa_progress_fn *progress, void *user, trial *out, msa_error *err) {
    bool told = q->quiz->marking == QUIZ_TOKENS; /* the answers stand in the sample */
    size_t n = told ? first_answer(&q->sample) : q->sample.ids.n;
    if (n == 0) return error_set(err, MSA_E_ARG, "task %s: an empty prompt", q->quiz->task.name);
    msa_status status = msa_session_feed(session, q->sample.ids.ids, n, progress, user, err);
    if (status != MSA_OK) return status;
    msa_session_stats stats = msa_session_get_stats(session);
    double n_read = (double)(stats.n_prefill_tokens + stats.n_decode_tokens);
    out->n_prompt = (int64_t)q->sample.ids.n;
    out->keys = (stats.prefill_keys + stats.decode_keys) / n_read;
    out->keys_dense = (stats.prefill_keys_dense + stats.decode_keys_dense) / n_read;
    return told ? examine(model, session, q, progress, user, out, err)
                : generate((speech){.model = model,
                                    .session = session,
                                    .q = q,
                                    .progress = progress,
                                    .user = user,
                                    .out = out},
                           err);
}

msa_status trial_run(const msa_model *model, const msa_session_params *params, const question *q,
                     msa_progress_fn *progress, void *user, trial *out, msa_error *err) {
    msa_session *session;
    out->answer.n = 0;
    out->n_answer = 0;
    out->score = 0;
    msa_status status = msa_session_create(&session, model, params, err);
    if (status == MSA_OK) status = sit(model, session, q, progress, user, out, err);
    msa_session_free(session);
    return status;
}
