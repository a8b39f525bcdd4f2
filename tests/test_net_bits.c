/* test_net_bits.c: what must not change a bit of a step, or no more than rounding: threads,
 * checkpointing, steps before it, other documents, the future. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/net_fixture.h"
#include "support/support.h"

static void the_bits_depend_neither_on_threads_nor_on_checkpointing(void **state) {
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        if (test_brief() && i % 4 != 2) continue;
        arch a = net_case_arch(&CASES[i]);
        fixture *first = fixture_make(&a, 1, false, 1);
        fixture_step(first, &CASES[i].mode);
        for (int n_threads = 1; n_threads <= 3; n_threads++) {
            fixture *f = fixture_make(&a, 1, n_threads != 2, n_threads);
            fixture_step(f, &CASES[i].mode);
            assert_same_step(first, f);
            fixture_drop(f);
        }
        fixture_drop(first);
    }
}

static void a_second_step_finds_nothing_of_the_first(void **state) {
    (void)state;
    arch a = train_arch_m3();
    net_mode sparse = *net_case_mode("m3_sparse"), dense = *net_case_mode("m3_warm");
    fixture *f = fixture_make(&a, 1, false, 2), *fresh = fixture_make(&a, 1, false, 2);
    fixture_step(f, &dense);
    train_batch all = f->batch; /* a shorter batch between */
    f->batch.n_docs = 2;
    f->batch.n_tokens = f->batch.cu_seqlens[2];
    fixture_step(f, &sparse);
    f->batch = all;
    memset(f->p->g, 0, (size_t)f->p->n_floats * sizeof(float));
    fixture_step(f, &sparse);
    fixture_step(fresh, &sparse);
    assert_same_step(f, fresh);
    fixture_drop(f);
    fixture_drop(fresh);
}

static void evaluation_gives_the_losses_of_a_step_and_no_gradient(void **state) {
    (void)state;
    arch a = train_arch_m3();
    fixture *f = fixture_make(&a, 1, false, 2), *other = fixture_make(&a, 1, true, 2);
    msa_error err;
    fixture_step(f, net_case_mode("m3_sparse"));
    assert_ok(
        net_evaluate(other->n, &other->batch, net_case_mode("m3_sparse"), &other->losses, &err),
        &err);
    assert_true(gradients_are_zero(other->p, false) && gradients_are_zero(other->p, true));
    memset(f->p->g, 0, (size_t)f->p->n_floats * sizeof(float));
    assert_same_step(f, other);
    double sum = 0;
    int64_t n_targets = 0;
    for (int t = 0; t < TOKENS; t++) {
        assert_true((f->batch.targets[t] >= 0) == (f->predicted[t] >= 0));
        n_targets += f->batch.targets[t] >= 0;
        sum += (double)f->nll[t];
    }
    assert_int_equal(n_targets, f->losses.n_targets);
    assert_true(fabs(sum / (double)n_targets - f->losses.lm) < 1e-5);
    fixture_drop(f);
    fixture_drop(other);
}

static void of_equal_logits_the_lowest_is_predicted(void **state) {
    (void)state;
    arch a = train_arch_m3();
    fixture *f = fixture_make(&a, 1, false, 2);
    msa_error err;
    net_mode mode = train_mode();
    const param *t = params_of(f->p, TENSOR_OUTPUT, -1, -1);
    memset(f->p->w + t->at, 0, (size_t)(t->n_out * t->n_in) * sizeof(float));
    assert_ok(net_evaluate(f->n, &f->batch, &mode, &f->losses, &err), &err);
    for (int i = 0; i < TOKENS; i++)
        assert_int_equal(f->predicted[i], f->batch.targets[i] >= 0 ? 0 : -1);
    assert_true(fabs(f->losses.lm - log(a.n_vocab)) < 1e-6);
    fixture_drop(f);
}

static void an_empty_document_changes_no_bit(void **state) {
    (void)state;
    arch a = train_arch_m3();
    fixture *f = fixture_make(&a, 1, false, 2), *other = fixture_make(&a, 1, false, 2);
    int32_t cu[] = {0, 0, 200, 201, 234, 234, 298, 315, 315};
    int32_t *kept = other->batch.cu_seqlens;
    other->batch.cu_seqlens = cu;
    other->batch.n_docs = DOCS + 3;
    fixture_step(f, net_case_mode("m3_sparse"));
    fixture_step(other, net_case_mode("m3_sparse"));
    assert_same_step(f, other);
    other->batch.cu_seqlens = kept;
    fixture_drop(f);
    fixture_drop(other);
}

/* The same documents in another order: each token's loss stays what it was, within rounding. */
static void documents_do_not_see_each_other(void **state) {
    (void)state;
    static const int32_t ORDER[DOCS] = {3, 0, 4, 2, 1};
    arch a = train_arch_m3();
    fixture *f = fixture_make(&a, 2, false, 2), *moved = fixture_make(&a, 2, false, 2);
    train_batch *b = &moved->batch;
    for (int32_t d = 0; d < DOCS; d++) {
        int32_t from = f->batch.cu_seqlens[ORDER[d]], n = LENGTHS[ORDER[d]];
        b->cu_seqlens[d + 1] = b->cu_seqlens[d] + n;
        for (int32_t t = 0; t < n; t++) {
            b->ids[b->cu_seqlens[d] + t] = f->batch.ids[from + t];
            b->targets[b->cu_seqlens[d] + t] = f->batch.targets[from + t];
        }
    }
    fixture_step(f, net_case_mode("m3_sparse"));
    fixture_step(moved, net_case_mode("m3_sparse"));
    double worst = 0;
    for (int32_t d = 0; d < DOCS; d++)
        for (int32_t t = 0; t < LENGTHS[ORDER[d]]; t++)
            worst = larger_error(worst, (double)moved->nll[b->cu_seqlens[d] + t] -
                                            (double)f->nll[f->batch.cu_seqlens[ORDER[d]] + t]);
    assert_true(worst < 2e-5);
    assert_true(fabs(f->losses.kl - moved->losses.kl) < 1e-6);
    fixture_drop(f);
    fixture_drop(moved);
}

/* A changed token changes nothing before it, and nothing in other documents. */
static void nothing_looks_ahead(void **state) {
    (void)state;
    arch a = train_arch_m3();
    fixture *f = fixture_make(&a, 2, false, 2), *changed = fixture_make(&a, 2, false, 2);
    enum { AT = 150 };
    changed->batch.ids[AT] = (changed->batch.ids[AT] + 1) % a.n_vocab;
    fixture_step(f, net_case_mode("m3_sparse"));
    fixture_step(changed, net_case_mode("m3_sparse"));
    for (int t = 0; t < TOKENS; t++)
        if (t < AT || t >= LENGTHS[0]) assert_true(fabsf(f->nll[t] - changed->nll[t]) < 1e-5f);
    assert_true(fabsf(f->nll[AT + 1] - changed->nll[AT + 1]) > 1e-4f);
    fixture_drop(f);
    fixture_drop(changed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_depend_neither_on_threads_nor_on_checkpointing),
        cmocka_unit_test(a_second_step_finds_nothing_of_the_first),
        cmocka_unit_test(evaluation_gives_the_losses_of_a_step_and_no_gradient),
        cmocka_unit_test(of_equal_logits_the_lowest_is_predicted),
        cmocka_unit_test(an_empty_document_changes_no_bit),
        cmocka_unit_test(documents_do_not_see_each_other),
        cmocka_unit_test(nothing_looks_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
