/* test_session.c: a session as a timeline: rewound, forked, filled, stopped; its parameters, its
 * statistics, what it refuses. */
#include "support/support.h"

#include <string.h>

#include "engine/session.h"
#include "support/session_case.h"

enum { M3 = SESSION_M3, N = SESSION_N, N_VOCAB = SESSION_VOCAB };

/* Bits of the logits after feeding the tail [from, N) in steps of 23. */
static void feed_tail(msa_session *s, const session_case *f, int from, float *logits) {
    for (int at = from; at < N; at += 23)
        session_case_feed(s, f->ids + at, N - at < 23 ? N - at : 23);
    memcpy(logits, msa_session_logits(s), (size_t)f->tiny->params.n_vocab * sizeof *logits);
}

static void rewound_gives_the_same_bits(int family) {
    session_case f = session_case_family(family);
    float first[N_VOCAB], again[N_VOCAB];
    for (int attn = 0; attn < 2; attn++) {
        msa_session_params p = session_case_params(&f, (msa_attn_mode)attn);
        msa_session *s = session_case_start(&f, &p);
        msa_error err;
        assert_null(msa_session_logits(s));
        session_case_feed(s, f.ids, 100);
        feed_tail(s, &f, 100, first);
        assert_ok(msa_session_rewind(s, 170, &err), &err);
        assert_null(msa_session_logits(s));
        assert_int_equal(msa_session_length(s), 170);
        session_case_feed(s, f.ids + 5, 50); /* another future */
        assert_ok(msa_session_rewind(s, 100, &err), &err);
        feed_tail(s, &f, 100, again);
        assert_memory_equal(first, again, sizeof first);
        assert_fails(msa_session_rewind(s, N + 1, &err), MSA_E_ARG, &err, "300");
        assert_fails(msa_session_rewind(s, -1, &err), MSA_E_ARG, &err, "0..300");
        assert_int_equal(msa_session_length(s), N);
        assert_ok(msa_session_rewind(s, 0, &err), &err);
        session_case_feed(s, f.ids, 100);
        feed_tail(s, &f, 100, again);
        assert_memory_equal(first, again, sizeof first);
        msa_session_free(s);
    }
    session_case_close(&f);
}

static void rewinding_and_feeding_again_gives_the_same_bits(void **state) {
    (void)state;
    if (!test_brief()) rewound_gives_the_same_bits(1);
    rewound_gives_the_same_bits(M3);
}

static void forks_go_their_own_way(int family) {
    session_case f = session_case_family(family);
    msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
    p.kv_pages = 60;
    msa_error err;
    float alone[N_VOCAB], other[N_VOCAB], logits[N_VOCAB];
    msa_session *s = session_case_start(&f, &p), *fork, *fork_of_fork;
    session_case_feed(s, f.ids, 150);
    feed_tail(s, &f, 150, alone);
    assert_ok(msa_session_rewind(s, 150, &err), &err);
    session_case_feed(s, f.ids, 40); /* 190 tokens of another text */
    memcpy(other, msa_session_logits(s), sizeof other);
    assert_ok(msa_session_rewind(s, 128, &err), &err);
    session_case_feed(s, f.ids + 128, 22); /* the third chunk of 64 once more */

    assert_ok(msa_session_fork(&fork, s, &err), &err);
    assert_int_equal(msa_session_length(fork), 150);
    assert_memory_equal(msa_session_logits(fork), msa_session_logits(s), sizeof alone);
    session_case_feed(fork, f.ids, 40);
    assert_ok(msa_session_fork(&fork_of_fork, fork, &err), &err);
    feed_tail(s, &f, 150, logits);
    assert_memory_equal(logits, alone, sizeof alone);
    assert_memory_equal(msa_session_logits(fork), other, sizeof other);
    msa_session_free(s); /* the forks keep what they share */
    msa_session_free(fork);
    assert_memory_equal(msa_session_logits(fork_of_fork), other, sizeof other);
    assert_ok(msa_session_rewind(fork_of_fork, 150, &err), &err);
    feed_tail(fork_of_fork, &f, 150, logits);
    assert_memory_equal(logits, alone, sizeof alone);
    msa_session_free(fork_of_fork);
    session_case_close(&f);
}

static void forks_are_timelines_of_their_own(void **state) {
    (void)state;
    if (!test_brief()) forks_go_their_own_way(0);
    forks_go_their_own_way(M3);
}

static void the_context_limit_is_an_error_before_anything_is_done(void **state) {
    (void)state;
    session_case f = session_case_family(0);
    msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
    msa_error err;
    p.n_ctx = 200;
    p.kv_pages = 13; /* the blocks of the context, none for a fork */
    msa_session *s = session_case_start(&f, &p), *fork;
    assert_fails(msa_session_feed(s, f.ids, 201, NULL, NULL, &err), MSA_E_FULL, &err, "201");
    session_case_feed(s, f.ids, 150);
    float before[N_VOCAB];
    memcpy(before, msa_session_logits(s), sizeof before);
    assert_fails(msa_session_feed(s, f.ids, 51, NULL, NULL, &err), MSA_E_FULL, &err, "50");
    assert_fails(msa_session_feed(s, f.ids, SIZE_MAX, NULL, NULL, &err), MSA_E_FULL, &err, NULL);
    assert_int_equal(msa_session_length(s), 150);
    assert_memory_equal(msa_session_logits(s), before, sizeof before);
    /* Forks share the pages: 13 of 16 tokens, 10 of them held by both. */
    assert_ok(msa_session_fork(&fork, s, &err), &err);
    assert_fails(msa_session_feed(fork, f.ids, 50, NULL, NULL, &err), MSA_E_FULL, &err,
                 "kv_pages) or free a fork");
    assert_int_equal(msa_session_length(fork), 150);
    assert_memory_equal(msa_session_logits(fork), before, sizeof before);
    msa_session_free(fork);
    session_case_feed(s, f.ids, 50);
    assert_fails(msa_session_feed(s, f.ids, 1, NULL, NULL, &err), MSA_E_FULL, &err, "context");
    msa_session_free(s);
    session_case_close(&f);
}

static void bad_tokens_are_refused(void **state) {
    (void)state;
    session_case f = session_case_family(0);
    msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
    msa_error err;
    msa_session *s = session_case_start(&f, &p);
    int32_t ids[3] = {1, 2, N_VOCAB};
    assert_fails(msa_session_feed(s, ids, 0, NULL, NULL, &err), MSA_E_ARG, &err, "1 or more");
    assert_fails(msa_session_feed(s, NULL, 1, NULL, NULL, &err), MSA_E_ARG, &err, "NULL");
    assert_fails(msa_session_feed(s, ids, 3, NULL, NULL, &err), MSA_E_ARG, &err, "300");
    ids[2] = -1;
    assert_fails(msa_session_feed(s, ids, 3, NULL, NULL, &err), MSA_E_ARG, &err, "-1");
    assert_fails(msa_session_feed_logits(s, ids, 2, NULL, NULL, &err), MSA_E_ARG, &err, "rows");
    assert_int_equal(msa_session_length(s), 0);
    assert_null(msa_session_logits(s));
    msa_session_free(s);
    session_case_close(&f);
}

typedef struct stopper {
    int64_t n_calls, stop_at, last_done, total;
} stopper;

static int stop_later(void *user, int64_t n_done, int64_t n_total) {
    stopper *s = user;
    s->last_done = n_done;
    s->total = n_total;
    return ++s->n_calls == s->stop_at;
}

static int stop_row(void *user, int64_t position, const float *logits, int32_t n_vocab) {
    (void)logits;
    (void)n_vocab;
    stopper *s = user;
    s->last_done = position;
    return ++s->n_calls == s->stop_at;
}

static void progress_counts_chunks_and_may_stop(void **state) {
    (void)state;
    session_case f = session_case_family(0);
    msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
    msa_error err;
    float logits[N_VOCAB];
    msa_session *s = session_case_start(&f, &p);
    stopper all = {0}, some = {.stop_at = 2}, rows = {.stop_at = 70};
    assert_ok(msa_session_feed(s, f.ids, N, stop_later, &all, &err), &err);
    assert_int_equal(all.n_calls, 5);
    assert_int_equal(all.last_done, N);
    assert_int_equal(all.total, N);
    memcpy(logits, msa_session_logits(s), sizeof logits);

    assert_ok(msa_session_rewind(s, 0, &err), &err);
    assert_fails(msa_session_feed(s, f.ids, N, stop_later, &some, &err), MSA_E_CANCELLED, &err,
                 "128 of 300");
    assert_int_equal(msa_session_length(s), 128);
    assert_null(msa_session_logits(s));
    session_case_feed(s, f.ids + 128, N - 128); /* goes on as if nothing had been */
    assert_memory_equal(logits, msa_session_logits(s), sizeof logits);

    assert_ok(msa_session_rewind(s, 0, &err), &err);
    assert_fails(msa_session_feed_logits(s, f.ids, N, stop_row, &rows, &err), MSA_E_CANCELLED, &err,
                 "69");
    assert_int_equal(rows.last_done, 69);
    assert_int_equal(msa_session_length(s), 128); /* the chunk it was in was done */
    assert_null(msa_session_logits(s));

    /* Stopped at the very end: everything is fed, but the answer is still "stopped". */
    stopper end = {.stop_at = 5}, last_row = {.stop_at = N};
    assert_ok(msa_session_rewind(s, 0, &err), &err);
    assert_fails(msa_session_feed(s, f.ids, N, stop_later, &end, &err), MSA_E_CANCELLED, &err,
                 "300 of 300");
    assert_int_equal(msa_session_length(s), N);
    assert_null(msa_session_logits(s));
    assert_ok(msa_session_rewind(s, 0, &err), &err);
    assert_fails(msa_session_feed_logits(s, f.ids, N, stop_row, &last_row, &err), MSA_E_CANCELLED,
                 &err, "299");
    assert_null(msa_session_logits(s));
    msa_session_free(s);
    session_case_close(&f);
}

static void parameters_are_checked_and_filled_in(void **state) {
    (void)state;
    session_case f = session_case_family(0);
    msa_error err;
    msa_session *s = NULL;
    msa_session_params d = msa_session_defaults(f.model);
    assert_int_equal(d.block, 64);
    assert_int_equal(d.topk, 8);
    assert_int_equal(d.init, 1);
    assert_int_equal(d.local, 2);
    assert_int_equal(d.k_dtype, MSA_F16);
    assert_int_equal(d.v_dtype, MSA_F16);
    s = session_case_start(&f, &d);
    const msa_session_params *p = msa_session_get_params(s);
    assert_int_equal(p->n_ctx, 512);
    assert_int_equal(p->selector, MSA_SELECTOR_PROXY);
    assert_int_equal(p->kv_pages, 512 / 64 + 1);
    msa_session_params longest = d;
    longest.n_ctx = INT32_MAX, longest.allow_past_context = 1;
    assert_ok(session_params_resolve(&longest, f.model, &err), &err);
    assert_int_equal(longest.kv_pages, INT32_MAX / 64 + 2);
    assert_true(p->n_threads >= 1 && p->chunk >= 1);
    msa_session_free(s);

    msa_session_params bad = d;
    bad.selector = MSA_SELECTOR_INDEX;
    assert_fails(msa_session_create(&s, f.model, &bad, &err), MSA_E_UNSUPPORTED, &err, "index");
    assert_null(s);
    struct {
        size_t field;
        int32_t value;
        const char *word;
    } cases[] = {
        {offsetof(msa_session_params, n_ctx), -1, "n_ctx"},
        {offsetof(msa_session_params, n_ctx), 513, "past the 512"},
        {offsetof(msa_session_params, attn), 2, "attention"},
        {offsetof(msa_session_params, selector), 8, "selector"},
        {offsetof(msa_session_params, block), 48, "block"},
        {offsetof(msa_session_params, topk), 0, "topk"},
        {offsetof(msa_session_params, topk), 65, "topk"},
        {offsetof(msa_session_params, local), -1, "local"},
        {offsetof(msa_session_params, init), -1, "init"},
        {offsetof(msa_session_params, k_dtype), 9, "of keys"},
        {offsetof(msa_session_params, v_dtype), 9, "of values"},
        {offsetof(msa_session_params, index_dtype), 9, "index keys"},
        {offsetof(msa_session_params, n_threads), -1, "n_threads"},
        {offsetof(msa_session_params, chunk), -1, "chunk"},
        {offsetof(msa_session_params, dense_layers), 4, "layer 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bad = d;
        memcpy((char *)&bad + cases[i].field, &cases[i].value, 4);
        assert_fails(msa_session_create(&s, f.model, &bad, &err), MSA_E_ARG, &err, cases[i].word);
        assert_null(s);
    }
    bad = d;
    bad.kv_pages = -1;
    assert_fails(msa_session_create(&s, f.model, &bad, &err), MSA_E_ARG, &err, "kv_pages");
    session_case_close(&f);
}

static void statistics_count_what_was_read(void **state) {
    (void)state;
    session_case f = session_case_family(0);
    msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
    msa_session *s = session_case_start(&f, &p);
    session_case_feed(s, f.ids, 288);
    session_case_feed(s, f.ids, 1); /* position 288: the first token of block 18 */
    msa_session_stats stats = msa_session_get_stats(s);
    assert_int_equal(stats.n_prefill_tokens, 288);
    assert_int_equal(stats.n_decode_tokens, 1);
    assert_true(stats.prefill_keys_dense == 288 * 289 / 2);
    assert_true(stats.decode_keys_dense == 289);
    assert_true(stats.decode_keys == 4 * 16 + 1); /* its own block has one key yet */
    double keys = 0; /* up to 5 blocks, the own one as far as it goes */
    for (int t = 0; t < 288; t++) keys += (t / 16 < 5 ? t / 16 : 4) * 16 + t % 16 + 1;
    assert_true(stats.prefill_keys == keys);
    assert_true(stats.prefill_s >= stats.prefill_attn_s && stats.prefill_attn_s > 0);
    assert_true(stats.decode_s >= stats.decode_attn_s && stats.decode_attn_s > 0);
    msa_session_stats_reset(s);
    assert_int_equal(msa_session_get_stats(s).n_prefill_tokens, 0);
    msa_session_free(s);
    p.dense_layers[0] = 2; /* one layer of two dense: halfway */
    s = session_case_start(&f, &p);
    session_case_feed(s, f.ids, 288);
    session_case_feed(s, f.ids, 1);
    assert_true(msa_session_get_stats(s).decode_keys == (289 + 65) / 2.0);
    msa_session_free(s);
    session_case_close(&f);
}

static void null_is_refused_or_gives_nothing(void **state) {
    (void)state;
    msa_error err;
    assert_null(msa_session_logits(NULL));
    assert_null(msa_session_get_params(NULL));
    assert_null(msa_model_get_info(NULL));
    assert_int_equal(msa_session_length(NULL), 0);
    assert_int_equal(msa_session_get_stats(NULL).n_prefill_tokens, 0);
    assert_int_equal(msa_session_defaults(NULL).block, 0);
    assert_int_equal(msa_token_is_end(NULL, 0), 0);
    msa_session_stats_reset(NULL);
    msa_session_watch(NULL, NULL, NULL);
    assert_fails(msa_session_rewind(NULL, 0, &err), MSA_E_ARG, &err, "NULL");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewinding_and_feeding_again_gives_the_same_bits),
        cmocka_unit_test(forks_are_timelines_of_their_own),
        cmocka_unit_test(the_context_limit_is_an_error_before_anything_is_done),
        cmocka_unit_test(bad_tokens_are_refused),
        cmocka_unit_test(progress_counts_chunks_and_may_stop),
        cmocka_unit_test(parameters_are_checked_and_filled_in),
        cmocka_unit_test(statistics_count_what_was_read),
        cmocka_unit_test(null_is_refused_or_gives_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
