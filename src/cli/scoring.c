/* scoring.c: see scoring.h. */
#include "cli/scoring.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/fail.h"
#include "cli/interrupt.h"

/* ---- the text -------------------------------------------------------------------------------- */

msa_status scoring_take_text(scoring *s, const msa_tokens *tokens, int64_t n_ctx, int64_t n_pieces,
                             msa_error *err) {
    if (n_ctx > (int64_t)tokens->n) n_ctx = (int64_t)tokens->n;
    if (n_ctx < 2)
        return fail(err, MSA_E_ARG, "-c: expected at least 2 tokens to score, found %lld; %s",
                    (long long)n_ctx, tokens->n < 2 ? "the text is too short" : "raise -c");
    s->n_ctx = n_ctx;
    s->n_pieces = ((int64_t)tokens->n + n_ctx - 1) / n_ctx;
    if (n_pieces < s->n_pieces) s->n_pieces = n_pieces;
    s->ids = tokens->ids;
    s->n_ids = tokens->n;
    if (s->n_pieces * n_ctx < (int64_t)tokens->n) s->n_ids = (size_t)(s->n_pieces * n_ctx);
    if (s->n_ids % (size_t)n_ctx == 1) s->n_ids--, s->n_pieces--; /* nothing to predict in it */
    s->n_scored = s->n_ids - (size_t)s->n_pieces;
    return MSA_OK;
}

/* ---- which attentions ------------------------------------------------------------------------ */

static msa_status add_run(scoring *s, const char *name, const msa_session_params *params,
                          msa_error *err) {
    for (size_t i = 0; i < s->n_runs; i++)
        if (strcmp(s->runs[i].name, name) == 0) return MSA_OK;
    double *nll = calloc(s->n_scored, sizeof *nll);
    if (!nll) return fail_memory(err, "scoring");
    s->runs[s->n_runs++] = (scoring_run){.name = name, .params = *params, .nll = nll};
    return MSA_OK;
}

static msa_status add_named(scoring *s, const char *name, size_t n, const msa_model *model,
                            const msa_session_params *params, msa_error *err) {
    msa_session_params p = *params;
    if (n == 5 && memcmp(name, "dense", n) == 0) return MSA_OK; /* is there */
    for (int i = 0; i <= MSA_SELECTOR_ORACLE; i++) {
        const char *known = msa_selector_name((msa_selector)i);
        if (strlen(known) != n || memcmp(known, name, n) != 0) continue;
        p.selector = (msa_selector)i;
        return add_run(s, settings_selector(&p, model), &p, err);
    }
    return fail(err, MSA_E_ARG,
                "--selectors: there is no selector '%.*s'; expected some of dense, auto, index, "
                "proxy, means, shared, window, random, oracle, with commas between",
                n < 40 ? (int)n : 40, name);
}

static msa_status add_runs(scoring *s, const char *names, const msa_model *model,
                           const msa_session_params *params, msa_error *err) {
    msa_session_params dense = *params;
    dense.attn = MSA_ATTN_DENSE;
    msa_status status = add_run(s, "dense", &dense, err);
    if (status == MSA_OK && !names)
        status = add_run(s, settings_selector(params, model), params, err);
    while (names && status == MSA_OK) {
        size_t n = strcspn(names, ",");
        status = add_named(s, names, n, model, params, err);
        names = names[n] ? names + n + 1 : NULL;
    }
    return status;
}

/* Asked for by name, the int8 copy is not left out in silence. */
static msa_status check_index8(const scoring *s, const msa_model *model, msa_error *err) {
    for (size_t i = 0; i < s->n_runs; i++) {
        const msa_session_params *p = &s->runs[i].params;
        if (p->index8 != MSA_INDEX8_ON || msa_session_wants_index8(p, model)) return MSA_OK;
    }
    return fail(err, MSA_E_ARG,
                "--index8 on: none of --selectors scores keys one by one, there is nothing to "
                "copy; leave --index8 out, or take index, shared or proxy too");
}

/* The reason why one can't be is told now, not when the others are done. */
static msa_status try_runs(const scoring *s, const msa_model *model, msa_error *err) {
    msa_status status = MSA_OK;
    for (size_t i = 0; i < s->n_runs && status == MSA_OK; i++) {
        msa_session_params small = s->runs[i].params;
        msa_session *session = NULL;
        small.n_ctx = 64;
        status = msa_session_create(&session, model, &small, err);
        msa_session_free(session);
    }
    return status == MSA_OK ? status : fail_prefix(err, status, "--selectors: ");
}

msa_status scoring_take_selectors(scoring *s, const char *names, const msa_model *model,
                                  const msa_session_params *params, msa_error *err) {
    msa_status status = add_runs(s, names, model, params, err);
    if (status == MSA_OK && names) status = check_index8(s, model, err);
    return status == MSA_OK && names ? try_runs(s, model, err) : status;
}

/* ---- the work -------------------------------------------------------------------------------- */

static double negative_log_likelihood(const float *logits, int32_t n_vocab, int32_t id) {
    float highest = logits[0];
    double sum = 0;
    for (int32_t i = 1; i < n_vocab; i++) highest = logits[i] > highest ? logits[i] : highest;
    for (int32_t i = 0; i < n_vocab; i++) sum += (double)expf(logits[i] - highest);
    return log(sum) - (double)(logits[id] - highest);
}

/* A piece on its way through one attention. */
typedef struct scorer {
    scoring *all;
    const int32_t *ids;
    size_t n;
    double *nll; /* [n - 1] */
} scorer;

static int score_row(void *user, int64_t position, const float *logits, int32_t n_vocab) {
    scorer *s = user;
    if ((size_t)position + 1 < s->n)
        s->nll[position] = negative_log_likelihood(logits, n_vocab, s->ids[position + 1]);
    progress_update(&s->all->bar, ++s->all->n_done, s->all->n_total);
    return interrupt_seen();
}

static msa_status score_text(scoring *all, scoring_run *run, const msa_model *model,
                             msa_error *err) {
    msa_session *session;
    msa_status status = msa_session_create(&session, model, &run->params, err);
    if (status != MSA_OK) return status;
    scorer s = {.all = all, .nll = run->nll};
    for (size_t at = 0; at + 1 < all->n_ids && status == MSA_OK; at += s.n, s.nll += s.n - 1) {
        s.ids = all->ids + at;
        s.n = all->n_ids - at < (size_t)all->n_ctx ? all->n_ids - at : (size_t)all->n_ctx;
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

msa_status scoring_run_all(scoring *all, const msa_model *model, msa_error *err) {
    msa_status status = MSA_OK;
    all->bar = progress_begin("scoring", "tokens");
    all->n_total = (int64_t)(all->n_runs * all->n_ids);
    for (size_t i = 0; i < all->n_runs && status == MSA_OK; i++)
        status = score_text(all, &all->runs[i], model, err);
    progress_end(&all->bar);
    return status;
}

void scoring_free(scoring *s) {
    for (size_t i = 0; i < s->n_runs; i++) free(s->runs[i].nll);
}

ppl_mean scoring_mean(const scoring *s, size_t run, int64_t first, int64_t end) {
    ppl_series dense = {s->runs[0].nll, s->n_scored, s->n_ctx - 1}, series = dense;
    series.nll = s->runs[run].nll;
    return ppl_mean_of(&series, &dense, first, end);
}
