/* test_train_corpus.c: pieces of a text, what is held out of them, and epochs. */
#include "support/support.h"

#include <string.h>

#include "base/mem.h"
#include "train/corpus.h"
#include "train/mixture.h"

static msa_error err;

/* Documents of these lengths whose tokens are their positions in the whole text. */
static tokens numbered(const int64_t *lengths, int64_t n_docs) {
    tokens t = {.n_docs = n_docs};
    int64_t *docs = mem_alloc((size_t)n_docs + 1, sizeof *docs);
    for (int64_t d = 0; d < n_docs; d++) docs[d] = t.n, t.n += lengths[d];
    docs[n_docs] = t.n;
    int32_t *ids = mem_alloc((size_t)t.n, sizeof *ids);
    for (int64_t i = 0; i < t.n; i++) ids[i] = (int32_t)i;
    t.ids = ids, t.docs = docs;
    return t;
}

static void free_numbered(tokens *t) {
    mem_free((void *)(uintptr_t)t->ids);
    mem_free((void *)(uintptr_t)t->docs);
}

/* Counts each token of a batch; its documents must be runs inside one document of the text, their
 * targets the tokens that follow there. */
static void tally(const tokens *t, const train_batch *b, int *seen) {
    for (int32_t d = 0; d < b->n_docs; d++) {
        int32_t from = b->cu_seqlens[d], to = b->cu_seqlens[d + 1];
        int64_t doc = 0;
        assert_true(to > from);
        while (t->docs[doc + 1] <= b->ids[from]) doc++;
        for (int32_t i = from; i < to; i++) {
            assert_int_equal(b->ids[i], b->ids[from] + i - from);
            assert_true(b->ids[i] < t->docs[doc + 1]);
            assert_int_equal(b->targets[i], b->ids[i] + 1 == t->docs[doc + 1] ? -1 : b->ids[i] + 1);
            seen[b->ids[i]]++;
        }
    }
    assert_int_equal(b->cu_seqlens[b->n_docs], b->n_tokens);
}

static const int64_t LENGTHS[] = {1, 7, 64, 65, 300, 2, 16, 128, 1, 90};
enum { N_LENGTHS = sizeof LENGTHS / sizeof *LENGTHS, CONTEXT = 64, ROOM = 128 };

static void an_epoch_has_every_token_once_but_those_held_out(void **state) {
    (void)state;
    tokens t = numbered(LENGTHS, N_LENGTHS);
    train_batch b;
    corpus *c;
    assert_ok(batch_create(&b, ROOM, &err), &err);
    assert_ok(corpus_create(&c, &t, NULL, 0.2, CONTEXT, ROOM, 7, &err), &err);
    int *held = mem_calloc((size_t)t.n, sizeof *held),
        *seen = mem_calloc((size_t)t.n, sizeof *seen);
    int64_t number = 0, epoch = 0, n_held = 0;
    for (int64_t i = 0; corpus_valid_batch(c, i, &b); i++) tally(&t, &b, held);
    for (int64_t i = 0; i < t.n; i++) n_held += held[i];
    assert_int_equal(n_held, corpus_tokens(c, true));
    assert_true(n_held > 0);
    for (int64_t round = 0; round < 3; round++) {
        memset(seen, 0, (size_t)t.n * sizeof *seen);
        for (;; number++) {
            assert_ok(corpus_batch(c, number, &b, &epoch, &err), &err);
            if (epoch != round) break;
            tally(&t, &b, seen);
        }
        for (int64_t i = 0; i < t.n; i++) assert_int_equal(seen[i] + held[i], 1);
    }
    corpus_free(c);
    free_numbered(&t);
    batch_free(&b);
    mem_free(held);
    mem_free(seen);
}

static void a_batch_does_not_depend_on_those_asked_for_before(void **state) {
    (void)state;
    tokens t = numbered(LENGTHS, N_LENGTHS);
    train_batch a, b;
    corpus *one, *two;
    int64_t epoch;
    assert_ok(batch_create(&a, ROOM, &err), &err);
    assert_ok(batch_create(&b, ROOM, &err), &err);
    assert_ok(corpus_create(&one, &t, NULL, 0.1, CONTEXT, ROOM, 7, &err), &err);
    int differ = 0;
    for (int64_t number = 0; number < 40; number++) {
        assert_ok(corpus_batch(one, number, &a, &epoch, &err), &err);
        assert_ok(corpus_create(&two, &t, NULL, 0.1, CONTEXT, ROOM, 7, &err), &err);
        if (number % 2) assert_ok(corpus_batch(two, 1000, &b, &epoch, &err), &err);
        assert_ok(corpus_batch(two, number, &b, &epoch, &err), &err);
        assert_int_equal(a.n_tokens, b.n_tokens);
        assert_memory_equal(a.ids, b.ids, (size_t)a.n_tokens * sizeof *a.ids);
        corpus_free(two);
        assert_ok(corpus_create(&two, &t, NULL, 0.1, CONTEXT, ROOM, 8, &err), &err);
        assert_ok(corpus_batch(two, number, &b, &epoch, &err), &err);
        differ += a.n_tokens != b.n_tokens ||
                  memcmp(a.ids, b.ids, (size_t)a.n_tokens * sizeof *a.ids) != 0;
        corpus_free(two);
    }
    assert_true(differ > 30); /* another seed is another order */
    corpus_free(one);
    free_numbered(&t);
    batch_free(&a);
    batch_free(&b);
}

static void a_stretch_holds_nothing_that_is_held_out(void **state) {
    (void)state;
    static const int64_t LONG[] = {1000, 7};
    tokens t = numbered(LONG, 2);
    train_batch b;
    corpus *c;
    bool held_out[1007] = {false};
    assert_ok(batch_create(&b, ROOM, &err), &err);
    assert_ok(corpus_create(&c, &t, NULL, 0.3, CONTEXT, ROOM, 7, &err), &err);
    for (int64_t i = 0; corpus_valid_batch(c, i, &b); i++)
        for (int64_t j = 0; j < b.n_tokens; j++) held_out[b.ids[j]] = true;
    for (uint64_t at = 0; at < 500; at++) {
        const int32_t *ids;
        int64_t n = corpus_stretch(c, at * 77, 40, &ids);
        assert_in_range(n, 1, 40);
        for (int64_t j = 0; j < n; j++) assert_false(held_out[ids[j]]);
    }
    corpus_free(c);
    free_numbered(&t);
    batch_free(&b);
}

static void a_text_too_short_to_hold_anything_out_is_refused(void **state) {
    (void)state;
    static const int64_t SHORT[] = {40};
    tokens t = numbered(SHORT, 1);
    corpus *c;
    assert_fails(corpus_create(&c, &t, NULL, 0.2, CONTEXT, ROOM, 7, &err), MSA_E_ARG, &err,
                 "data.valid");
    assert_null(c);
    assert_ok(corpus_create(&c, &t, &t, 0, CONTEXT, ROOM, 7, &err), &err);
    assert_int_equal(corpus_tokens(c, true), 40);
    corpus_free(c);
    free_numbered(&t);
}

/* Of the lengths in pieces of 64 those of 64 are left: one of the third, one of the fourth, four of
 * the fifth, two of the eighth, one of the last. */
static void short_pieces_are_left_out_of_what_is_learnt(void **state) {
    (void)state;
    tokens t = numbered(LENGTHS, N_LENGTHS);
    train_batch b;
    corpus *c;
    int64_t epoch = 0, n_short = 0;
    assert_ok(batch_create(&b, ROOM, &err), &err);
    assert_ok(corpus_create_long(&c, &t, &t, 0, CONTEXT, CONTEXT, ROOM, 7, &err), &err);
    assert_int_equal(corpus_pieces(c, false), 9);
    assert_int_equal(corpus_tokens(c, false), 9 * CONTEXT);
    assert_int_equal(corpus_tokens(c, true), t.n);
    for (int64_t i = 0; i < 10; i++) {
        assert_ok(corpus_batch(c, i, &b, &epoch, &err), &err);
        for (int32_t d = 0; d < b.n_docs; d++)
            n_short += b.cu_seqlens[d + 1] - b.cu_seqlens[d] < CONTEXT;
    }
    assert_int_equal(n_short, 0);
    corpus_free(c);
    assert_fails(corpus_create_long(&c, &t, &t, 0, 512, 400, 512, 7, &err), MSA_E_ARG, &err,
                 "data.shortest");
    free_numbered(&t);
    batch_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_has_every_token_once_but_those_held_out),
        cmocka_unit_test(a_batch_does_not_depend_on_those_asked_for_before),
        cmocka_unit_test(a_stretch_holds_nothing_that_is_held_out),
        cmocka_unit_test(a_text_too_short_to_hold_anything_out_is_refused),
        cmocka_unit_test(short_pieces_are_left_out_of_what_is_learnt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
