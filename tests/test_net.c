/* test_net.c: a whole model forward and backward: losses and gradients against PyTorch's autograd
 * in float64, and what moves what. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "support/golden.h"
#include "support/net_fixture.h"
#include "support/support.h"

enum { SIGNS = 77 };

/* The norm of a gradient and its products with eight vectors of signs. */
static void summarise(const params *p, int32_t k, double out[9]) {
    const param *t = &p->list[k];
    uint64_t stream = random_stream(SIGNS, (uint64_t)k);
    memset(out, 0, 9 * sizeof *out);
    for (int64_t i = 0; i < t->n_out * t->n_in; i++) {
        double g = (double)p->g[t->at + i];
        uint64_t bits = random_u64(stream, (uint64_t)i);
        out[0] += g * g;
        for (int j = 0; j < 8; j++) out[1 + j] += bits >> j & 1 ? -g : g;
    }
    out[0] = sqrt(out[0]);
}

static void check_gradients(const params *p, const net_case *c, const float *expected) {
    /* Through E4M3 a rounding may fall to the other side. */
    double bound = c->mode.fp8_p ? 2e-4 : 2e-5;
    for (int32_t k = 0; k < p->n; k++) {
        double found[9], norm = (double)expected[k * 9];
        summarise(p, k, found);
        for (int j = 0; j < 9; j++) {
            double error = fabs(found[j] - (double)expected[k * 9 + j]);
            if (!(error <= bound * norm))
                fail_msg("%s: %s: %s %d is %.9g, expected %.9g (norm %.9g)", c->name,
                         p->list[k].name, j ? "product" : "norm", j, found[j],
                         (double)expected[k * 9 + j], norm);
        }
    }
}

static void check_case(const golden *g, const net_case *c) {
    char key[64];
    arch a = net_case_arch(c);
    snprintf(key, sizeof key, "%s.seed", c->name);
    fixture *f = fixture_make(&a, (uint64_t)golden_int(g, key), false, 2);
    fixture_step(f, &c->mode);
    snprintf(key, sizeof key, "%s.losses", c->name);
    const float *losses = golden_f32(g, key, 2);
    if (c->mode.lm && fabs(f->losses.lm - (double)losses[0]) > 2e-6 * (double)losses[0])
        fail_msg("%s: loss %.9g, expected %.9g", c->name, f->losses.lm, (double)losses[0]);
    if (!(fabs(f->losses.kl - (double)losses[1]) <= 2e-6))
        fail_msg("%s: KL %.9g, expected %.9g", c->name, f->losses.kl, (double)losses[1]);
    int32_t cells = a.n_layers * a.n_kv_heads;
    snprintf(key, sizeof key, "%s.kl", c->name);
    const float *kl = golden_f32(g, key, (size_t)cells);
    for (int32_t i = 0; i < cells; i++) assert_true(fabs(f->kl[i] - (double)kl[i]) <= 4e-6);
    snprintf(key, sizeof key, "%s.gradients", c->name);
    check_gradients(f->p, c, golden_f32(g, key, (size_t)f->p->n * 9));
    if (a.moe.present) {
        snprintf(key, sizeof key, "%s.load", c->name);
        size_t n = (size_t)(a.n_layers * a.moe.n_experts);
        const int32_t *load = golden_i32(g, key, n);
        for (size_t i = 0; i < n; i++) assert_int_equal(net_load(f->n)[i], load[i]);
    }
    fixture_drop(f);
}

static void losses_and_gradients_equal_those_of_pytorch(void **state) {
    (void)state;
    golden *g = golden_open("train_grad");
    for (int i = 0; i < N_CASES; i++)
        if (!test_brief() || i % 4 == 2) check_case(g, &CASES[i]);
    golden_close(g);
}

static void without_kl_no_index_weight_moves(void **state) {
    (void)state;
    arch a = train_arch_m3();
    fixture *f = fixture_make(&a, 0, false, 2);
    net_mode mode = train_mode();
    mode.sparse = true;
    fixture_step(f, &mode);
    assert_true(gradients_are_zero(f->p, true));
    assert_false(gradients_are_zero(f->p, false));
    fixture_drop(f);
}

static void kl_moves_index_weights_and_no_bit_of_another_gradient(void **state) {
    (void)state;
    arch a = train_arch_m3();
    for (int sparse = 0; sparse < 2; sparse++) {
        fixture *with = fixture_make(&a, 0, false, 2), *without = fixture_make(&a, 0, false, 2);
        net_mode mode = train_mode();
        mode.sparse = sparse;
        fixture_step(without, &mode);
        mode.kl = sparse ? NET_KL_SELECTED : NET_KL_VISIBLE;
        fixture_step(with, &mode);
        assert_false(gradients_are_zero(with->p, true));
        for (int32_t k = 0; k < with->p->n; k++) {
            const param *t = &with->p->list[k];
            if (!t->index)
                assert_memory_equal(with->p->g + t->at, without->p->g + t->at,
                                    (size_t)(t->n_out * t->n_in) * sizeof(float));
        }
        memset(with->p->g, 0, (size_t)with->p->n_floats * sizeof(float));
        mode.lm = false;
        fixture_step(with, &mode);
        assert_true(gradients_are_zero(with->p, false));
        assert_false(gradients_are_zero(with->p, true));
        fixture_drop(with);
        fixture_drop(without);
    }
}

/* Copies every tensor that both have. */
static void copy_weights(params *to, const params *from) {
    for (int32_t k = 0; k < to->n; k++) {
        const param *t = params_find(from, to->list[k].name);
        memcpy(to->w + to->list[k].at, from->w + t->at,
               (size_t)(t->n_out * t->n_in) * sizeof(float));
    }
}

static void warm_up_leaves_the_main_branch_dense_to_the_bit(void **state) {
    (void)state;
    arch a = train_arch_m3();
    a.index.block = 128; /* what a model without an index is cut into; sums follow the blocks */
    arch plain = a;
    plain.index.present = false;
    fixture *warm = fixture_make(&a, 3, false, 2), *dense = fixture_make(&plain, 3, false, 2);
    copy_weights(dense->p, warm->p);
    net_mode mode = train_mode();
    fixture_step(dense, &mode);
    mode.kl = NET_KL_VISIBLE;
    fixture_step(warm, &mode);
    assert_true(warm->losses.kl > 0);
    assert_true(warm->losses.lm == dense->losses.lm);
    assert_memory_equal(warm->nll, dense->nll, sizeof warm->nll);
    for (int32_t k = 0; k < dense->p->n; k++) {
        const param *t = &dense->p->list[k], *u = params_find(warm->p, t->name);
        assert_memory_equal(dense->p->g + t->at, warm->p->g + u->at,
                            (size_t)(t->n_out * t->n_in) * sizeof(float));
    }
    fixture_drop(warm);
    fixture_drop(dense);
}

/* FP8 probabilities: the loss moves, but little, and the gradients point the same way. */
static void rounded_probabilities_change_a_step_a_little(void **state) {
    (void)state;
    for (int sparse = 0; sparse <= 1; sparse++) {
        arch a = train_arch_m3();
        fixture *plain = fixture_make(&a, 3, false, 2), *rounded = fixture_make(&a, 3, false, 2);
        net_mode mode = train_mode();
        mode.sparse = sparse;
        mode.kl = sparse ? NET_KL_SELECTED : NET_KL_VISIBLE;
        fixture_step(plain, &mode);
        mode.fp8_p = true;
        fixture_step(rounded, &mode);
        assert_true(plain->losses.lm != rounded->losses.lm);
        assert_true(fabs(plain->losses.lm - rounded->losses.lm) < 1e-2 * plain->losses.lm);
        for (int32_t k = 0; k < plain->p->n; k++) {
            const param *t = &plain->p->list[k];
            double difference = 0, norm = 0;
            for (int64_t i = t->at; i < t->at + t->n_out * t->n_in; i++) {
                difference += pow((double)plain->p->g[i] - (double)rounded->p->g[i], 2);
                norm += pow((double)plain->p->g[i], 2);
            }
            assert_true(sqrt(difference) <= 0.6 * sqrt(norm)); /* experts may be chosen otherwise */
        }
        fixture_drop(plain);
        fixture_drop(rounded);
    }
}

static void gradients_add_up_and_scale(void **state) {
    (void)state;
    arch a = train_arch_llama();
    fixture *once = fixture_make(&a, 1, false, 2), *twice = fixture_make(&a, 1, false, 2);
    msa_error err;
    fixture_step(once, net_case_mode("llama_sparse"));
    for (int i = 0; i < 2; i++)
        assert_ok(net_step(twice->n, &twice->batch, net_case_mode("llama_sparse"), 0.5f,
                           &twice->losses, &err),
                  &err);
    double worst = 0, most = 0;
    for (int64_t i = 0; i < once->p->n_floats; i++) {
        double g = (double)once->p->g[i];
        worst = larger_error(worst, (double)twice->p->g[i] - g);
        most = larger_error(most, g);
    }
    assert_true(most > 0 && worst < 1e-5 * most);
    fixture_drop(once);
    fixture_drop(twice);
}

static void frozen_weights_get_no_gradient_and_change_no_other(void **state) {
    (void)state;
    arch a = train_arch_m3();
    fixture *f = fixture_make(&a, 1, false, 2), *all = fixture_make(&a, 1, false, 2);
    params_freeze(f->p, true, false);
    fixture_step(f, net_case_mode("m3_sparse"));
    fixture_step(all, net_case_mode("m3_sparse"));
    assert_true(gradients_are_zero(f->p, false));
    for (int32_t k = 0; k < f->p->n; k++) {
        const param *t = &f->p->list[k];
        if (t->index)
            assert_memory_equal(f->p->g + t->at, all->p->g + t->at,
                                (size_t)(t->n_out * t->n_in) * sizeof(float));
    }
    fixture_drop(f);
    fixture_drop(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_and_gradients_equal_those_of_pytorch),
        cmocka_unit_test(without_kl_no_index_weight_moves),
        cmocka_unit_test(kl_moves_index_weights_and_no_bit_of_another_gradient),
        cmocka_unit_test(warm_up_leaves_the_main_branch_dense_to_the_bit),
        cmocka_unit_test(rounded_probabilities_change_a_step_a_little),
        cmocka_unit_test(gradients_add_up_and_scale),
        cmocka_unit_test(frozen_weights_get_no_gradient_and_change_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
