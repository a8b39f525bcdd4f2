/* test_oom.c: memory that runs out, at every single allocation of a model's and a session's life: a
 * clean error, nothing lost, and everything goes on once there is memory again. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msa/model.h"
#include "support/scarce.h"
#include "support/tiny_model.h"

enum { N = 120, N_VOCAB = 300 };

/* A model, another with its index branch beside it, and one of experts. */
enum { PLAIN, INDEXED, EXPERTS, INDEX, N_FILES };
static char paths[N_FILES][32];
static int32_t ids[N];

static int write_models(void **state) {
    (void)state;
    for (int i = 0; i < N_FILES; i++) {
        strcpy(paths[i], "/tmp/msa-oom-XXXXXX");
        int fd = mkstemp(paths[i]);
        if (fd < 0) return -1;
        close(fd);
    }
    for (int i = PLAIN; i <= EXPERTS; i++) {
        tiny_params p = i == EXPERTS ? tiny_m3(3) : tiny_defaults("qwen3", 3);
        if (i == INDEXED) p.index.dim = 16, p.index.block = 16, p.index.topk = 3;
        if (i == INDEXED) p.index.beside = true;
        tiny_model *m = tiny_create(&p);
        tiny_write(m, paths[i]);
        if (i == INDEXED) tiny_write_index(m, paths[INDEX]);
        tiny_free(m);
    }
    rng r = rng_seed(4);
    for (int i = 0; i < N; i++) ids[i] = (int32_t)rng_below(&r, N_VOCAB);
    return 0;
}

static int remove_models(void **state) {
    (void)state;
    for (int i = 0; i < N_FILES; i++)
        if (unlink(paths[i])) return -1;
    return 0;
}

static msa_session_params small_params(const msa_model *model) {
    msa_session_params p = msa_session_defaults(model);
    p.block = 16, p.topk = 3, p.local = 1, p.init = 1;
    p.chunk = 48;
    p.dense_layers[0] = 1; /* so that every operator is there */
    p.kv_pages = 40;
    return p;
}

static int ignore_row(void *user, int64_t position, const float *logits, int32_t n_vocab) {
    (void)user;
    (void)position;
    (void)logits;
    (void)n_vocab;
    return 0;
}

static msa_status use_session(msa_session *s, msa_error *err) {
    msa_session *fork = NULL;
    msa_status status = msa_session_feed(s, ids, N, NULL, NULL, err);
    if (!status) status = msa_session_feed(s, ids, 1, NULL, NULL, err);
    if (!status) status = msa_session_rewind(s, 100, err);
    if (!status) status = msa_session_fork(&fork, s, err);
    if (!status) status = msa_session_feed(fork, ids, 30, NULL, NULL, err);
    if (!status) status = msa_session_feed_logits(s, ids, 20, ignore_row, NULL, err);
    msa_session_free(fork);
    return status;
}

static msa_status load(msa_model **model, int which, msa_error *err) {
    msa_status status = msa_model_load(model, paths[which], err);
    if (status || which != INDEXED) return status;
    status = msa_model_load_index(*model, paths[INDEX], err);
    if (status) msa_model_free(*model);
    if (status) *model = NULL;
    return status;
}

static msa_status whole_life(int which, msa_error *err) {
    msa_model *model = NULL;
    msa_session *s = NULL;
    msa_status status = load(&model, which, err);
    if (!status) {
        msa_session_params p = small_params(model);
        status = msa_session_create(&s, model, &p, err);
    }
    if (!status) status = use_session(s, err);
    msa_session_free(s);
    msa_model_free(model);
    return status;
}

static void fail_every_allocation(int which) {
    msa_error err;
    assert_ok(whole_life(which, &err), &err); /* whatever is made once is there now */
    long live = scarce_live(), n = 0, n_done_without = 0;
    for (;; n++) {
        memset(&err, 0, sizeof err);
        scarce_begin(n);
        msa_status status = whole_life(which, &err);
        bool failed = scarce_end();
        assert_int_equal(scarce_live(), live);
        if (!failed) {
            assert_ok(status, &err);
            break;
        }
        if (status == MSA_OK) { /* PCRE2 interprets what it has no memory to translate */
            n_done_without++;
            continue;
        }
        if (status != MSA_E_NOMEM && status != MSA_E_IO)
            fail_msg("allocation %ld: status %s: %s", n, msa_status_name(status), err.text);
        assert_int_equal(err.code, status);
        assert_true(strlen(err.text) > 8);
    }
    printf("           %ld allocations\n", n);
    assert_true(n > 80 && n_done_without < n / 5);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    for (int which = PLAIN; which <= EXPERTS; which++) fail_every_allocation(which);
}

static msa_session *open_session(const msa_model *model) {
    msa_session_params p = small_params(model);
    msa_session *s;
    msa_error err;
    assert_ok(msa_session_create(&s, model, &p, &err), &err);
    assert_ok(msa_session_feed(s, ids, 20, NULL, NULL, &err), &err);
    return s;
}

static void a_feed_that_failed_can_be_fed_again(void **state) {
    (void)state;
    msa_error err;
    msa_model *model;
    float before[N_VOCAB], after[N_VOCAB];
    assert_ok(load(&model, EXPERTS, &err), &err);
    msa_session *s = open_session(model);
    memcpy(before, msa_session_logits(s), sizeof before);
    assert_ok(msa_session_feed(s, ids + 20, N - 20, NULL, NULL, &err), &err);
    memcpy(after, msa_session_logits(s), sizeof after);
    msa_session_free(s);
    long n = 0;
    for (bool failed = true; failed; n++) {
        s = open_session(model);
        scarce_begin(n);
        msa_status status = msa_session_feed(s, ids + 20, N - 20, NULL, NULL, &err);
        failed = scarce_end();
        if (failed) {
            assert_fails(status, MSA_E_NOMEM, &err, NULL);
            assert_int_equal(msa_session_length(s), 20);
            const float *logits = msa_session_logits(s);
            if (logits) assert_memory_equal(logits, before, sizeof before);
            assert_ok(msa_session_feed(s, ids + 20, N - 20, NULL, NULL, &err), &err);
        }
        assert_memory_equal(msa_session_logits(s), after, sizeof after);
        msa_session_free(s);
    }
    assert_true(n > 3);
    msa_model_free(model);
}

static void decode_without_memory(int which) {
    msa_error err;
    msa_model *model;
    assert_ok(load(&model, which, &err), &err);
    msa_session *s = open_session(model);
    for (int i = 0; i < 4; i++) assert_ok(msa_session_feed(s, ids, 1, NULL, NULL, &err), &err);
    scarce_begin(0);
    msa_status status = MSA_OK;
    for (int i = 0; i < 8 && !status; i++) status = msa_session_feed(s, ids, 1, NULL, NULL, &err);
    assert_false(scarce_end()); /* tokens 24..31: the second page */
    assert_ok(status, &err);
    msa_session_free(s);
    msa_model_free(model);
}

static void decoding_allocates_nothing(void **state) {
    (void)state;
    for (int which = PLAIN; which <= EXPERTS; which++) decode_without_memory(which);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(a_feed_that_failed_can_be_fed_again),
        cmocka_unit_test(decoding_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, write_models, remove_models);
}
