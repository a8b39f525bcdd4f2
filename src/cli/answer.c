/* answer.c: see answer.h. */
#include "cli/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/settings.h"

msa_status speaker_create(speaker *s, const msa_model *model, const msa_session_params *params,
                          const msa_sampler_params *sampling, msa_error *err) {
    *s = (speaker){.model = model};
    msa_status status = msa_session_create(&s->session, model, params, err);
    if (status == MSA_OK)
        status = msa_sampler_create(&s->sampler, sampling, msa_model_get_info(model)->n_vocab, err);
    if (status != MSA_OK) speaker_free(s);
    return status;
}

void speaker_free(speaker *s) {
    msa_sampler_free(s->sampler);
    msa_session_free(s->session);
    free(s->past.ids);
    *s = (speaker){0};
}

const char *answer_stop_name(answer_stop stop) {
    static const char *const NAMES[] = {"end", "length", "context", "interrupted"};
    return NAMES[stop];
}

/* ---- prompt --------------------------------------------------------------------------------- */

static msa_status remember(timeline *past, const int32_t *ids, size_t n, msa_error *err) {
    if (past->n + n > past->capacity) {
        size_t capacity = 2 * (past->n + n);
        int32_t *grown = realloc(past->ids, capacity * sizeof *grown);
        if (!grown) return fail_memory(err, "keeping the conversation");
        past->ids = grown, past->capacity = capacity;
    }
    memcpy(past->ids + past->n, ids, n * sizeof *ids);
    past->n += n;
    return MSA_OK;
}

/* The penalty looks at what the session holds: not at what was rewound, and not twice at a token
 * that ended an answer unfed. */
static msa_status tell_sampler(const speaker *s, msa_error *err) {
    msa_status status = MSA_OK;
    msa_sampler_forget(s->sampler);
    for (size_t i = 0; i < s->past.n && status == MSA_OK; i++)
        status = msa_sampler_accept(s->sampler, s->past.ids[i], err);
    return status;
}

msa_status speaker_listen(speaker *s, const msa_tokens *prompt, msa_error *err) {
    size_t same = 0;
    if (prompt->n == 0) return fail(err, MSA_E_ARG, "the prompt has no token: give it some text");
    msa_status status =
        settings_check_room(msa_session_get_params(s->session), s->model, prompt->n, err);
    if (status != MSA_OK) return status;
    /* The last token is always fed anew: its logits are what the answer starts from. */
    while (same < s->past.n && same + 1 < prompt->n && s->past.ids[same] == prompt->ids[same])
        same++;
    if (same < s->past.n) status = msa_session_rewind(s->session, (int64_t)same, err);
    if (status != MSA_OK) return status;
    s->past.n = same;
    size_t n_new = prompt->n - same;
    progress bar = progress_begin("reading", "tokens");
    if (n_new > 256) progress_show(&bar, (int64_t)n_new);
    status = msa_session_feed(s->session, prompt->ids + same, n_new, progress_callback, &bar, err);
    progress_end(&bar);
    /* After an interruption the chunks that were done stay fed. */
    size_t n_fed = (size_t)msa_session_length(s->session) - same;
    msa_error second;
    msa_status kept = remember(&s->past, prompt->ids + same, n_fed, &second);
    if (kept == MSA_OK) kept = tell_sampler(s, &second);
    if (status != MSA_OK || kept == MSA_OK) return status; /* the first failure is told */
    *err = second;
    return kept;
}

/* ---- answer --------------------------------------------------------------------------------- */

static msa_status say(const speaker *s, answer *out, const char *text, size_t n, msa_error *err) {
    if (out->n_bytes + n + 1 > out->capacity) {
        size_t capacity = 2 * (out->n_bytes + n) + 256;
        char *grown = realloc(out->text, capacity);
        if (!grown) return fail_memory(err, "keeping the answer");
        out->text = grown, out->capacity = capacity;
    }
    if (n > 0) memcpy(out->text + out->n_bytes, text, n);
    out->n_bytes += n;
    out->text[out->n_bytes] = 0;
    if (s->silent || n == 0) return MSA_OK;
    fwrite(text, 1, n, stdout);
    return output_flush(err);
}

/* Picks a token, says it and feeds it. *more becomes false where the answer ends. */
static msa_status step(speaker *s, int64_t n_predict, msa_text_stream *stream, answer *out,
                       bool *more, msa_error *err) {
    int32_t id;
    const char *text;
    size_t n;
    *more = false;
    out->stop = ANSWER_INTERRUPTED;
    if (interrupt_seen()) return MSA_OK;
    out->stop = ANSWER_LENGTH;
    if (out->n_tokens == n_predict) return MSA_OK;
    msa_status status = msa_sampler_pick(s->sampler, msa_session_logits(s->session), &id, err);
    if (status != MSA_OK) return status;
    out->stop = ANSWER_END;
    if (msa_token_is_end(s->model, id)) return MSA_OK;
    out->n_tokens++;
    status = msa_sampler_accept(s->sampler, id, err);
    if (status == MSA_OK) status = msa_text_stream_push(stream, id, &text, &n, err);
    if (status == MSA_OK) status = say(s, out, text, n, err);
    if (status != MSA_OK) return status;
    out->stop = ANSWER_LENGTH;
    if (out->n_tokens == n_predict) return MSA_OK;
    out->stop = ANSWER_CONTEXT;
    if (msa_session_length(s->session) >= msa_session_get_params(s->session)->n_ctx) return MSA_OK;
    status = msa_session_feed(s->session, &id, 1, NULL, NULL, err);
    if (status == MSA_OK) status = remember(&s->past, &id, 1, err);
    *more = status == MSA_OK;
    return status;
}

msa_status speaker_answer(speaker *s, int64_t n_predict, answer *out, msa_error *err) {
    msa_text_stream *stream = NULL;
    const char *text;
    size_t n;
    bool more = true;
    *out = (answer){.stop = ANSWER_LENGTH};
    msa_status status = say(s, out, "", 0, err);
    if (status == MSA_OK) status = msa_text_stream_create(&stream, s->model, err);
    while (status == MSA_OK && more) status = step(s, n_predict, stream, out, &more, err);
    if (status == MSA_OK) {
        msa_text_stream_flush(stream, &text, &n);
        status = say(s, out, text, n, err);
    }
    if (status == MSA_OK && !s->silent && out->n_bytes > 0 && out->text[out->n_bytes - 1] != '\n') {
        putchar('\n');
        status = output_flush(err);
    }
    msa_text_stream_free(stream);
    if (status != MSA_OK) free(out->text), *out = (answer){0};
    return status;
}
