/* test_session_index8.c: sessions that keep an int8 copy of their index keys beside sessions that
 * do not: the same blocks and the same logits, bit for bit, whatever is fed, rewound and forked. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/session_case.h"

enum { N = 1500, WHOLE = 1150 }; /* 64 blocks of 16 and some: from there on copies are read */

/* All that a session selected and said. */
typedef struct record {
    char *bytes;
    size_t n, capacity;
} record;

static void note(record *r, const void *what, size_t n) {
    if (r->n + n > r->capacity) {
        r->capacity = 2 * (r->n + n);
        r->bytes = realloc(r->bytes, r->capacity);
        assert_non_null(r->bytes);
    }
    memcpy(r->bytes + r->n, what, n);
    r->n += n;
}

static void note_ids(void *user, int32_t layer, int64_t first, int64_t n, const msa_shape *shape,
                     const int32_t *ids) {
    (void)layer;
    (void)first;
    note(user, ids, (size_t)(n * shape->n_kv_heads * shape->topk) * sizeof *ids);
}

typedef struct timeline {
    const session_case *f;
    const int32_t *ids;
    record *r;
} timeline;

/* Tokens from..end-1 in steps. */
static void feed(const timeline *t, msa_session *s, int from, int end, int step) {
    for (int at = from; at < end; at += step) {
        session_case_feed(s, t->ids + at, end - at < step ? end - at : step);
        note(t->r, msa_session_logits(s), (size_t)t->f->tiny->params.n_vocab * sizeof(float));
    }
}

static void at_once(const timeline *t, msa_session *s) {
    feed(t, s, 0, N - 20, N);
    feed(t, s, N - 20, N, 1);
}

static void one_by_one(const timeline *t, msa_session *s) {
    feed(t, s, 0, WHOLE, 1);
}

/* Another future is taken back, across blocks and within one, again and again. */
static void rewound(const timeline *t, msa_session *s) {
    msa_error err;
    feed(t, s, 0, WHOLE, 300);
    for (int length = WHOLE - 3; length > WHOLE - 100; length -= 19) {
        feed(t, s, 50, 90, 7);
        assert_ok(msa_session_rewind(s, length, &err), &err);
        feed(t, s, length, WHOLE, length % 2 ? 1 : 40);
    }
    assert_ok(msa_session_rewind(s, 200, &err), &err);
    feed(t, s, 10, WHOLE, 250); /* all but a past of 200 is new */
    feed(t, s, 0, 10, 1);
}

/* Two that write behind a page they share, in turn. */
static void forked(const timeline *t, msa_session *s) {
    msa_error err;
    msa_session *fork;
    feed(t, s, 0, WHOLE + 7, 400);
    assert_ok(msa_session_fork(&fork, s, &err), &err);
    msa_session_watch(fork, note_ids, t->r);
    for (int at = 0; at < 60; at += 6) {
        feed(t, fork, at, at + 6, 1);
        feed(t, s, at + 100, at + 106, 3);
    }
    assert_ok(msa_session_rewind(fork, WHOLE + 20, &err), &err);
    feed(t, fork, 5, 40, 1);
    assert_true(msa_session_get_stats(fork).decode_index8.bounded > 0 ||
                msa_session_get_params(fork)->index8 == MSA_INDEX8_OFF);
    msa_session_free(fork);
    feed(t, s, 160, 200, 9);
}

typedef void script_fn(const timeline *t, msa_session *s);
static script_fn *const SCRIPTS[] = {at_once, one_by_one, rewound, forked};

static record play(const session_case *f, const int32_t *ids, script_fn *script,
                   const msa_session_params *p) {
    record r = {0};
    timeline t = {f, ids, &r};
    msa_session *s = session_case_start(f, p);
    msa_session_watch(s, note_ids, &r);
    script(&t, s);
    msa_session_stats stats = msa_session_get_stats(s);
    const msa_index8_stats *all[] = {&stats.prefill_index8, &stats.decode_index8};
    for (int i = 0; i < 2; i++) {
        bool read = p->index8 == MSA_INDEX8_ON && (i == 0) == (script == forked);
        if (p->index8 == MSA_INDEX8_OFF || (i == 0 && script == at_once))
            assert_int_equal(all[i]->bounded + all[i]->bytes, 0);
        if (!read) continue;
        assert_in_range(all[i]->rescored, 1, all[i]->bounded - 1);
        assert_in_range(all[i]->keys, 1, all[i]->bounded);
    }
    msa_session_free(s);
    return r;
}

static void plays_alike(const session_case *f, msa_session_params p, script_fn *script) {
    int32_t ids[N];
    rng random = rng_seed(7);
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)rng_below(&random, (uint64_t)f->tiny->params.n_vocab);
    p.index8 = MSA_INDEX8_OFF;
    record without = play(f, ids, script, &p);
    p.index8 = MSA_INDEX8_ON;
    record with = play(f, ids, script, &p);
    assert_int_equal(with.n, without.n);
    assert_memory_equal(with.bytes, without.bytes, with.n);
    free(with.bytes);
    free(without.bytes);
}

static session_case open_case(msa_selector kind) {
    tiny_params tiny = kind == MSA_SELECTOR_INDEX ? tiny_m3(21) : tiny_defaults("qwen3", 22);
    tiny.n_ctx = 2048;
    return session_case_open(&tiny);
}

static const msa_selector KINDS[] = {MSA_SELECTOR_INDEX, MSA_SELECTOR_SHARED, MSA_SELECTOR_PROXY};
static const msa_dtype FORMATS[] = {MSA_F16, MSA_BF16, MSA_F32};

static void a_copy_changes_no_bit(void **state) {
    (void)state;
    int turn = 0;
    for (int kind = 0; kind < 3; kind++) {
        session_case f = open_case(KINDS[kind]);
        for (int format = 0; format < (test_brief() ? 1 : 3); format++)
            for (int script = 0; script < 4; script++) {
                if (test_brief() && script != kind) continue;
                msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
                p.selector = KINDS[kind];
                p.k_dtype = p.index_dtype = FORMATS[(format + kind) % 3];
                p.chunk = 100, p.kv_pages = 200, p.n_threads = turn++ % 3 + 1;
                plays_alike(&f, p, SCRIPTS[script]);
            }
        session_case_close(&f);
    }
}

static void threads_change_no_bit_of_it(void **state) {
    (void)state;
    session_case f = open_case(MSA_SELECTOR_INDEX);
    msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
    p.index_dtype = MSA_F16, p.kv_pages = 200;
    for (p.n_threads = 1; p.n_threads <= 3; p.n_threads++) plays_alike(&f, p, rewound);
    session_case_close(&f);
}

/* Whether a step of n tokens behind WHOLE others reads the copy. */
static bool reads_copy(const session_case *f, const msa_session_params *p, int n) {
    int32_t ids[WHOLE + 64] = {0};
    msa_session *s = session_case_start(f, p);
    session_case_feed(s, ids, WHOLE);
    msa_session_stats before = msa_session_get_stats(s);
    session_case_feed(s, ids + WHOLE, n);
    msa_session_stats after = msa_session_get_stats(s);
    msa_session_free(s);
    assert_int_equal(before.prefill_index8.bounded, 0);
    return after.prefill_index8.bounded + after.decode_index8.bounded > 0;
}

/* Up to 16 rows that share a key, and one token however many heads there are. */
static void steps_of_few_rows_read_it(void **state) {
    (void)state;
    session_case f = open_case(MSA_SELECTOR_SHARED);
    tiny_params wide = f.tiny->params;
    msa_session_params p = session_case_params(&f, MSA_ATTN_MSA);
    p.index8 = MSA_INDEX8_ON, p.selector = MSA_SELECTOR_SHARED, p.kv_pages = 200;
    int heads = wide.n_kv_heads;
    assert_true(reads_copy(&f, &p, 16 / heads));
    assert_false(reads_copy(&f, &p, 16 / heads + 1));
    p.selector = MSA_SELECTOR_PROXY; /* a key for each head */
    assert_true(reads_copy(&f, &p, 16));
    assert_false(reads_copy(&f, &p, 17));
    session_case_close(&f);
    wide.n_q_heads = wide.n_kv_heads = 32;
    f = session_case_open(&wide);
    for (int kind = 1; kind < 3; kind++) {
        p.selector = KINDS[kind];
        assert_true(reads_copy(&f, &p, 1));
    }
    session_case_close(&f);
}

/* What AUTO comes to, and whether the cache has a copy then. */
static void assert_settled(const session_case *f, const msa_session_params *p, bool copy) {
    msa_session *s = session_case_start(f, p);
    const msa_kv *kv = msa_session_get_kv(s);
    int32_t last = f->tiny->params.n_layers - 1;
    assert_int_equal(msa_session_wants_index8(p, f->model), copy);
    assert_int_equal(msa_session_get_params(s)->index8, copy ? MSA_INDEX8_ON : MSA_INDEX8_OFF);
    assert_int_equal(msa_kv_index8(kv, last).data != NULL, copy);
    assert_int_equal(msa_kv_page_bytes(kv).index8 > 0, copy);
    msa_session_free(s);
}

static void auto_is_settled_by_context_format_and_selector(void **state) {
    (void)state;
    session_case f = open_case(MSA_SELECTOR_INDEX);
    msa_session_params p = msa_session_defaults(f.model);
    assert_int_equal(p.index8, MSA_INDEX8_AUTO);
    assert_settled(&f, &p, false); /* 2,048 tokens */
    p.n_ctx = 32767, p.allow_past_context = 1;
    assert_settled(&f, &p, false);
    p.n_ctx = 32768;
    assert_settled(&f, &p, true);
    p.index_dtype = MSA_INT8;
    assert_settled(&f, &p, false);
    p.index_dtype = MSA_BF16, p.selector = MSA_SELECTOR_SHARED;
    assert_settled(&f, &p, true);
    p.index8 = MSA_INDEX8_OFF;
    assert_settled(&f, &p, false);
    p.index8 = MSA_INDEX8_AUTO, p.selector = MSA_SELECTOR_PROXY;
    assert_settled(&f, &p, false);
    p.n_ctx = 64, p.index8 = MSA_INDEX8_ON;
    assert_settled(&f, &p, true);
    const msa_selector none[] = {MSA_SELECTOR_MEANS, MSA_SELECTOR_WINDOW, MSA_SELECTOR_RANDOM,
                                 MSA_SELECTOR_ORACLE};
    for (int i = 0; i < 4; i++) {
        p.selector = none[i];
        assert_settled(&f, &p, false);
    }
    p.selector = MSA_SELECTOR_INDEX, p.attn = MSA_ATTN_DENSE;
    assert_settled(&f, &p, false);
    assert_int_equal(msa_session_wants_index8(NULL, f.model), 0);
    assert_null(msa_session_get_kv(NULL));
    session_case_close(&f);
}

static void formats_without_a_copy_are_refused(void **state) {
    (void)state;
    session_case f = open_case(MSA_SELECTOR_INDEX);
    msa_session_params p = msa_session_defaults(f.model);
    const msa_dtype narrow[] = {MSA_FP8, MSA_INT8, MSA_NVFP4};
    msa_session *s;
    msa_error err;
    p.index8 = MSA_INDEX8_ON;
    for (int i = 0; i < 3; i++) {
        char words[96];
        snprintf(words, sizeof words, "index keys are stored in %s", msa_dtype_name(narrow[i]));
        p.selector = MSA_SELECTOR_AUTO, p.index_dtype = narrow[i], p.k_dtype = MSA_F16;
        assert_fails(msa_session_create(&s, f.model, &p, &err), MSA_E_UNSUPPORTED, &err, words);
        assert_non_null(strstr(err.text, "turn index8 off"));
        assert_null(s);
        p.selector = MSA_SELECTOR_PROXY, p.index_dtype = MSA_F16, p.k_dtype = narrow[i];
        assert_fails(msa_session_create(&s, f.model, &p, &err), MSA_E_UNSUPPORTED, &err, "proxy");
    }
    for (int value = -1; value <= 3; value += 4) {
        memcpy(&p.index8, &value, sizeof p.index8);
        assert_fails(msa_session_create(&s, f.model, &p, &err), MSA_E_ARG, &err, "index8");
    }
    session_case_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_changes_no_bit),
        cmocka_unit_test(threads_change_no_bit_of_it),
        cmocka_unit_test(steps_of_few_rows_read_it),
        cmocka_unit_test(auto_is_settled_by_context_format_and_selector),
        cmocka_unit_test(formats_without_a_copy_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
