/* session.c: one timeline over the forward pass: feed, rewind, fork.
 *
 * A feed reserves room for all its tokens first, so that what does not fit fails before anything is
 * done, then goes chunk by chunk; a chunk is committed when all its layers are written. A failure
 * in the middle takes the timeline back to where it was; a caller's wish to stop does not. */
#include "engine/session.h"

#include <omp.h>

#include "attn/index8.h"
#include "base/error.h"
#include "base/mem.h"

/* Floats of logits handed out at a time: 32 MiB. */
#define ROW_TILE_FLOATS ((int64_t)1 << 23)

msa_status msa_session_create(msa_session **out, const msa_model *model,
                              const msa_session_params *params, msa_error *err) {
    if (!out || !model || !params)
        return error_set(err, MSA_E_ARG, "session, model and params must not be NULL");
    *out = NULL;
    msa_session *s = mem_calloc(1, sizeof *s);
    if (!s) return error_set(err, MSA_E_NOMEM, "no memory for a session");
    s->params = *params;
    msa_status status = session_params_resolve(&s->params, model, err);
    if (!status) status = forward_create(&s->forward, model, &s->params, err);
    if (!status) status = msa_kv_seq_create(&s->seq, s->forward->kv, err);
    if (!status) {
        s->logits = mem_alloc((size_t)model->info.n_vocab, sizeof *s->logits);
        if (!s->logits) status = error_set(err, MSA_E_NOMEM, "no memory for logits");
    }
    if (status) {
        msa_session_free(s);
        return status;
    }
    *out = s;
    return MSA_OK;
}

void msa_session_free(msa_session *s) {
    if (!s) return;
    msa_kv_seq_free(s->seq);
    forward_release(s->forward);
    mem_free(s->logits);
    mem_free(s->row_logits);
    mem_free(s);
}

const msa_session_params *msa_session_get_params(const msa_session *s) {
    return s ? &s->params : NULL;
}

const msa_kv *msa_session_get_kv(const msa_session *s) {
    return s ? s->forward->kv : NULL;
}

int64_t msa_session_length(const msa_session *s) {
    return s ? msa_kv_length(s->seq) : 0;
}

const float *msa_session_logits(const msa_session *s) {
    return s && s->has_logits ? s->logits : NULL;
}

msa_session_stats msa_session_get_stats(const msa_session *s) {
    return s ? s->stats : (msa_session_stats){0};
}

void msa_session_stats_reset(msa_session *s) {
    if (s) s->stats = (msa_session_stats){0};
}

void msa_session_watch(msa_session *s, msa_watch_fn *watch, void *user) {
    if (s) s->watch.fn = watch, s->watch.user = user;
}

void msa_session_watch_mass(msa_session *s, msa_mass_fn *watch, void *user) {
    if (s) s->watch.mass_fn = watch, s->watch.mass_user = user;
}

/* A feed in progress, and who wants to hear of it. */
typedef struct feeding {
    const int32_t *ids;
    int64_t n;
    msa_progress_fn *progress;
    msa_logits_fn *rows;
    void *user;
} feeding;

static msa_status check_feed(const msa_session *s, const int32_t *ids, size_t n, msa_error *err) {
    if (!s || !ids) return error_set(err, MSA_E_ARG, "session and ids must not be NULL");
    if (n == 0)
        return error_set(err, MSA_E_ARG, "there are no tokens to feed: n must be 1 or more");
    int64_t length = msa_kv_length(s->seq), n_ctx = s->params.n_ctx;
    if (n > (size_t)(n_ctx - length))
        return error_set(
            err, MSA_E_FULL,
            "%zu tokens do not fit the context: it holds %lld, %lld are used, %lld are "
            "left; shorten the text or raise n_ctx",
            n, (long long)n_ctx, (long long)length, (long long)(n_ctx - length));
    int32_t n_vocab = s->forward->model->info.n_vocab;
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= n_vocab)
            return error_set(err, MSA_E_ARG, "token %zu of %zu is %d; the vocabulary is 0..%d", i,
                             n, ids[i], n_vocab - 1);
    return MSA_OK;
}

/* Hands out the logits of the n tokens of the last step, a tile at a time; those of the last one
 * become the session's. */
static msa_status hand_out_rows(msa_session *s, const feeding *feed, int64_t position, int64_t n,
                                msa_error *err) {
    int32_t n_vocab = s->forward->model->info.n_vocab;
    for (int64_t first = 0; first < n; first += s->row_tile) {
        int64_t n_rows = n - first < s->row_tile ? n - first : s->row_tile;
        forward_logits(s->forward, first, n_rows, s->row_logits);
        if (first + n_rows == n) {
            const float *last = s->row_logits + (n_rows - 1) * n_vocab;
            memcpy(s->logits, last, (size_t)n_vocab * sizeof *last);
            s->has_logits = true;
        }
        for (int64_t i = 0; i < n_rows; i++)
            if (feed->rows(feed->user, position + first + i, s->row_logits + i * n_vocab, n_vocab))
                return error_set(err, MSA_E_CANCELLED, "stopped at position %lld",
                                 (long long)(position + first + i));
    }
    return MSA_OK;
}

static void count(msa_session *s, bool decode, int64_t n_tokens, double seconds) {
    msa_session_stats *stats = &s->stats;
    const forward *f = s->forward;
    *(decode ? &stats->n_decode_tokens : &stats->n_prefill_tokens) += n_tokens;
    *(decode ? &stats->decode_s : &stats->prefill_s) += seconds;
    *(decode ? &stats->decode_attn_s : &stats->prefill_attn_s) += f->attention_s;
    *(decode ? &stats->decode_keys : &stats->prefill_keys) += f->attention.keys;
    *(decode ? &stats->decode_keys_dense : &stats->prefill_keys_dense) += f->attention.keys_dense;
    index8_add(decode ? &stats->decode_index8 : &stats->prefill_index8, &f->attention.index8);
}

/* The chunk of n tokens from token `done` of the feed. */
static msa_status feed_chunk(msa_session *s, const feeding *feed, int64_t done, int64_t n,
                             msa_error *err) {
    double start = omp_get_wtime();
    int64_t position = msa_kv_length(s->seq);
    msa_status status = forward_step(s->forward, s->seq, feed->ids + done, n, &s->watch, err);
    if (status) return status;
    s->has_logits = false;
    if (!feed->rows && done + n == feed->n) {
        forward_logits(s->forward, n - 1, 1, s->logits);
        s->has_logits = true;
    }
    count(s, feed->n == 1, n, omp_get_wtime() - start);
    if (feed->rows) {
        status = hand_out_rows(s, feed, position, n, err);
        if (status) return status;
    }
    if (feed->progress && feed->progress(feed->user, done + n, feed->n))
        return error_set(err, MSA_E_CANCELLED, "stopped after %lld of %lld tokens",
                         (long long)(done + n), (long long)feed->n);
    return MSA_OK;
}

static msa_status feed_all(msa_session *s, const feeding *feed, msa_error *err) {
    int64_t start = msa_kv_length(s->seq);
    msa_status status = msa_kv_reserve(s->seq, feed->n, err);
    for (int64_t done = 0; !status && done < feed->n; done += s->params.chunk) {
        int64_t n = feed->n - done < s->params.chunk ? feed->n - done : s->params.chunk;
        status = feed_chunk(s, feed, done, n, err);
    }
    if (status == MSA_OK) return MSA_OK;
    bool keep = status == MSA_E_CANCELLED;
    int64_t length = msa_kv_length(s->seq);
    if (length != start) s->has_logits = false;           /* those of before are overwritten */
    msa_kv_truncate(s->seq, keep ? length : start, NULL); /* and the rest of the reservation */
    return status;
}

msa_status msa_session_feed(msa_session *s, const int32_t *ids, size_t n, msa_progress_fn *progress,
                            void *user, msa_error *err) {
    msa_status status = check_feed(s, ids, n, err);
    if (status) return status;
    feeding feed = {.ids = ids, .n = (int64_t)n, .progress = progress, .user = user};
    return feed_all(s, &feed, err);
}

msa_status msa_session_feed_logits(msa_session *s, const int32_t *ids, size_t n,
                                   msa_logits_fn *rows, void *user, msa_error *err) {
    msa_status status = check_feed(s, ids, n, err);
    if (status) return status;
    if (!rows) return error_set(err, MSA_E_ARG, "rows must not be NULL");
    if (!s->row_logits) {
        int32_t n_vocab = s->forward->model->info.n_vocab;
        int64_t tile = ROW_TILE_FLOATS / n_vocab;
        s->row_tile = tile < 1 ? 1 : tile > s->params.chunk ? s->params.chunk : tile;
        s->row_logits = mem_alloc((size_t)s->row_tile, (size_t)n_vocab * sizeof *s->row_logits);
        if (!s->row_logits)
            return error_set(err, MSA_E_NOMEM, "no memory for the logits of %lld tokens at a time",
                             (long long)s->row_tile);
    }
    feeding feed = {.ids = ids, .n = (int64_t)n, .rows = rows, .user = user};
    return feed_all(s, &feed, err);
}

msa_status msa_session_rewind(msa_session *s, int64_t n, msa_error *err) {
    if (!s) return error_set(err, MSA_E_ARG, "session must not be NULL");
    int64_t length = msa_kv_length(s->seq);
    if (n < 0 || n > length)
        return error_set(err, MSA_E_ARG, "can rewind to 0..%lld tokens, not %lld",
                         (long long)length, (long long)n);
    s->has_logits = false;
    return msa_kv_truncate(s->seq, n, err);
}

msa_status msa_session_fork(msa_session **out, msa_session *s, msa_error *err) {
    if (!out || !s) return error_set(err, MSA_E_ARG, "fork and session must not be NULL");
    *out = NULL;
    size_t n_vocab = (size_t)s->forward->model->info.n_vocab;
    msa_session *fork = mem_calloc(1, sizeof *fork);
    float *logits = mem_alloc(n_vocab, sizeof *logits);
    if (!fork || !logits) {
        mem_free(fork);
        mem_free(logits);
        return error_set(err, MSA_E_NOMEM, "no memory for a session");
    }
    msa_status status = msa_kv_seq_fork(&fork->seq, s->seq, err);
    if (status) {
        mem_free(fork);
        mem_free(logits);
        return status;
    }
    fork->forward = s->forward;
    fork->forward->n_users++;
    fork->params = s->params;
    fork->logits = logits;
    fork->has_logits = s->has_logits;
    if (s->has_logits) memcpy(logits, s->logits, n_vocab * sizeof *logits);
    *out = fork;
    return MSA_OK;
}
