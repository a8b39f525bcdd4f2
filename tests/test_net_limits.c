/* test_net_limits.c: what a network refuses, how much memory it takes, and what it does without. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/net_fixture.h"
#include "support/scarce.h"
#include "support/support.h"

typedef struct refusal {
    net_mode mode;
    msa_status status;
    const char *word;
} refusal;

static void modes_that_make_no_sense_are_refused(void **state) {
    (void)state;
    const refusal refusals[] = {
        {{BASE, KL(SELECTED)}, MSA_E_ARG, "sparse"},
        {{BASE, .index_value = true}, MSA_E_ARG, "index_value"},
        {{BASE, .lm_index = true, KL(VISIBLE)}, MSA_E_ARG, "lm_index"},
        {{.detach = true, .lm_index = true}, MSA_E_ARG, "lm"},
        {{BASE, .kl_rows = -1}, MSA_E_ARG, "kl_rows"},
    };
    arch a = train_arch_m3(), plain = a;
    fixture *f = fixture_make(&a, 2, false, 2);
    msa_error err;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        assert_fails(net_step(f->n, &f->batch, &refusals[i].mode, 1, &f->losses, &err),
                     refusals[i].status, &err, refusals[i].word);
    assert_true(gradients_are_zero(f->p, false) && gradients_are_zero(f->p, true));
    fixture_drop(f);
    plain.index.present = false;
    f = fixture_make(&plain, 2, false, 2);
    assert_fails(net_step(f->n, &f->batch, net_case_mode("m3_sparse"), 1, &f->losses, &err),
                 MSA_E_ARG, &err, "index");
    fixture_drop(f);
}

static void batches_that_make_no_sense_are_refused(void **state) {
    (void)state;
    arch a = train_arch_m3();
    fixture *f = fixture_make(&a, 2, false, 2);
    net_mode mode = train_mode();
    msa_error err;
    int32_t kept = f->batch.ids[7];
    f->batch.ids[7] = a.n_vocab;
    assert_fails(net_step(f->n, &f->batch, &mode, 1, &f->losses, &err), MSA_E_ARG, &err, "token 7");
    f->batch.ids[7] = kept;
    f->batch.targets[9] = -2;
    assert_fails(net_step(f->n, &f->batch, &mode, 1, &f->losses, &err), MSA_E_ARG, &err, "token 9");
    f->batch.targets[9] = -1;
    f->batch.cu_seqlens[2] = 500;
    assert_fails(net_step(f->n, &f->batch, &mode, 1, &f->losses, &err), MSA_E_ARG, &err, "falls");
    f->batch.cu_seqlens[2] = 201;
    f->batch.n_tokens = TOKENS + 10;
    assert_fails(net_step(f->n, &f->batch, &mode, 1, &f->losses, &err), MSA_E_ARG, &err, "tokens");
    f->batch.n_tokens = TOKENS;
    fixture_step(f, &mode);
    fixture_drop(f);
}

/* docs/training.md, "How much memory a step takes". */
static double documented_floats(const arch *a, bool recompute) {
    double e = a->n_embd, q = (double)a->n_q_heads * a->head_dim;
    double v = (double)a->n_kv_heads * a->head_dim, index = (a->n_kv_heads + 1.0) * a->index.dim;
    double used = a->moe.n_used, late = a->n_layers - a->n_dense_layers;
    double attn = 3 * e + 3 * (q + v) + a->n_q_heads;
    double chosen = 2 * index + (double)a->n_kv_heads * a->index.topk;
    double mix = a->moe.n_experts + used * (2.0 * a->moe.n_ff + e + 4);
    double layers = a->n_layers * (e + attn) + late * (chosen + mix + 2.0 * a->moe.n_ff_shared) +
                    a->n_dense_layers * 2.0 * a->n_ff;
    if (recompute) layers = a->n_layers * e + attn + chosen + mix + 2.0 * a->n_ff;
    double widest = fmax(a->n_ff, fmax(used * a->moe.n_ff, a->moe.n_ff_shared));
    double back = 4 * e + 2 * q + 2 * v + 2 * widest + 4 * a->n_rot + index + 5;
    return layers + back + used * (2 * e + 1) + a->moe.n_experts;
}

static void memory_is_what_the_documentation_says(void **state) {
    (void)state;
    enum { T = 4096, MB = 1 << 20 };
    arch a = train_arch_m3();
    params *p = train_params(&a, 1);
    for (int recompute = 0; recompute < 2; recompute++) {
        net *n;
        msa_error err;
        assert_ok(net_create(&n, p, T, recompute, 1, &err), &err);
        double more = (double)net_bytes(n) - 4.0 * T * documented_floats(&a, recompute);
        if (!(more >= 0 && more < 2 * MB)) fail_msg("%g bytes more than documented", more);
        net_free(n);
    }
    params_free(p);
}

/* Pairs of a query and a key it reads, counted one by one. */
static double count_pairs(const arch *a, bool sparse) {
    double pairs = 0;
    for (int d = 0; d < DOCS; d++)
        for (int t = 0; t < LENGTHS[d]; t++) {
            int own = t / a->index.block, seen = t + 1;
            if (sparse && own >= a->index.topk)
                seen = (a->index.topk - 1) * a->index.block + t % a->index.block + 1;
            pairs += seen;
        }
    return pairs;
}

static void operations_are_counted_as_documented(void **state) {
    (void)state;
    arch a = train_arch_llama();
    fixture *f = fixture_make(&a, 1, true, 1);
    double E = a.n_embd, q = (double)a.n_q_heads * a.head_dim, kv = (double)a.n_kv_heads * 16;
    double index = (double)a.n_kv_heads * a.index.dim;
    double layer = E * (2 * q + 2 * kv) + 3 * E * a.n_ff;
    double dense = 6 * TOKENS * (a.n_layers * layer + E * a.n_vocab) +
                   a.n_layers * 14 * q * count_pairs(&a, false);
    net_mode mode = train_mode();
    double found = net_flops(f->n, &f->batch, &mode);
    assert_true(fabs(found - dense) < 1e-9 * dense);
    mode.sparse = true, mode.kl = NET_KL_SELECTED;
    double sparse =
        dense - a.n_layers * 14 * q * count_pairs(&a, false) +
        a.n_layers * ((14 * q + 2 * q + 6 * index) * count_pairs(&a, true) +
                      2 * index * count_pairs(&a, false) + 6 * TOKENS * E * (index + a.index.dim));
    found = net_flops(f->n, &f->batch, &mode);
    assert_true(fabs(found - sparse) < 0.01 * sparse);
    fixture_drop(f);
}

static void no_memory_is_an_error_and_leaks_nothing(void **state) {
    (void)state;
    arch a = train_arch_m3();
    params *p = train_params(&a, 1);
    msa_error err;
    long live = scarce_live();
    for (long i = 0; i < 20; i++) {
        net *n = NULL;
        scarce_begin(i);
        msa_status status = net_create(&n, p, 40, i % 2, 2, &err);
        bool failed = scarce_end();
        assert_int_equal(status, failed ? MSA_E_NOMEM : MSA_OK);
        assert_true(failed == (n == NULL));
        net_free(n);
        assert_int_equal(scarce_live(), live);
        if (!failed) break;
    }
    params_free(p);
}

static void a_step_short_of_memory_fails_and_the_next_succeeds(void **state) {
    (void)state;
    arch a = train_arch_m3();
    msa_error err;
    long live = scarce_live();
    int failures = 0;
    for (long i = 0;; i++) { /* a fresh network: its plans are made in the step */
        fixture *f = fixture_make(&a, 1, true, 2);
        scarce_begin(i);
        msa_status status =
            net_step(f->n, &f->batch, net_case_mode("m3_sparse"), 1, &f->losses, &err);
        bool failed = scarce_end();
        assert_int_equal(status, failed ? MSA_E_NOMEM : MSA_OK);
        if (failed) fixture_step(f, net_case_mode("m3_sparse"));
        fixture_drop(f);
        assert_int_equal(scarce_live(), live);
        if (!failed) break;
        failures++;
    }
    assert_true(failures > 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modes_that_make_no_sense_are_refused),
        cmocka_unit_test(batches_that_make_no_sense_are_refused),
        cmocka_unit_test(memory_is_what_the_documentation_says),
        cmocka_unit_test(operations_are_counted_as_documented),
        cmocka_unit_test(no_memory_is_an_error_and_leaks_nothing),
        cmocka_unit_test(a_step_short_of_memory_fails_and_the_next_succeeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
