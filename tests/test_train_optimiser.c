/* test_train_optimiser.c: norms, clipping, spikes, frozen parts, the routers' balance. */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "nn/adamw.h"
#include "train/optimiser.h"

static msa_error err;

typedef struct setup {
    train_config config;
    params *p;
    optimiser o;
    train_state state;
} setup;

static void set_up(setup *s) {
    memset(s, 0, sizeof *s);
    assert_ok(config_init(&s->config, &err), &err);
    const char *const SETTINGS[] = {
        "model.layers=2",      "model.width=32",      "model.heads=2",         "model.head_dim=16",
        "model.moe.experts=4", "model.moe.used=2",    "data.text=a",           "data.context=256",
        "optim.lr=1e-2",       "optim.index_lr=2e-2", "optim.weight_decay=0.5"};
    for (size_t i = 0; i < sizeof SETTINGS / sizeof *SETTINGS; i++)
        assert_ok(config_set(&s->config, SETTINGS[i], &err), &err);
    assert_ok(config_settle(&s->config, &err), &err);
    arch a;
    assert_ok(config_arch(&s->config, 257, &a, &err), &err);
    assert_ok(params_create(&s->p, &a, &err), &err);
    params_fill(s->p, &(params_init){.seed = 1, .std = 0.05f, .qk_gain = 1, .index_gain = 1});
    assert_ok(optimiser_create(&s->o, s->p, &s->config, 2, &err), &err);
    rng r = rng_seed(9);
    for (int32_t i = 0; i < s->p->n; i++) {
        const param *one = &s->p->list[i];
        rng_fill_normal(&r, s->p->g + one->at, (size_t)(one->n_out * one->n_in), 0.1f);
    }
}

static void tear_down(setup *s) {
    optimiser_free(&s->o);
    params_free(s->p);
    config_free(&s->config);
}

static double norm_by_hand(const params *p, bool index) {
    double sum = 0;
    for (int32_t i = 0; i < p->n; i++) {
        const param *one = &p->list[i];
        for (int64_t j = one->at; j < one->at + one->n_out * one->n_in; j++)
            if (one->index == index) sum += (double)p->g[j] * p->g[j];
    }
    return sqrt(sum);
}

static void norms_are_those_of_the_two_parts(void **state) {
    (void)state;
    setup s;
    set_up(&s);
    double rest = optimiser_norm(&s.o, false), index = optimiser_norm(&s.o, true);
    assert_float_equal(rest, norm_by_hand(s.p, false), 1e-9 * rest);
    assert_float_equal(index, norm_by_hand(s.p, true), 1e-9 * index);
    s.o.n_threads = 1;
    assert_true(optimiser_norm(&s.o, false) == rest);
    params_freeze(s.p, true, false);
    assert_true(optimiser_norm(&s.o, false) == 0);
    assert_true(optimiser_norm(&s.o, true) == index);
    tear_down(&s);
}

/* One step of the definition on one weight. */
static double by_definition(const setup *s, const param *one, int64_t i, double norm) {
    double w = (double)s->p->w[i], g = (double)s->p->g[i], m = 0, v = 0;
    adamw_step step = {.lr = one->index ? 2e-2 : 1e-2,
                       .beta1 = 0.9,
                       .beta2 = 0.95,
                       .eps = 1e-8,
                       .weight_decay = one->decay ? 0.5 : 0,
                       .step = 1,
                       .grad_scale = norm > 1 ? 1 / norm : 1};
    adamw_ref(&step, &w, &g, &m, &v, 1);
    return w;
}

static void a_step_is_adamw_with_rates_decay_and_clipping_of_each_part(void **state) {
    (void)state;
    setup s;
    set_up(&s);
    double norm = optimiser_norm(&s.o, false), index_norm = optimiser_norm(&s.o, true);
    assert_true(norm > 1 && index_norm > 1 && norm != index_norm);
    size_t n = (size_t)s.p->n_floats;
    double *expected = test_calloc(n, sizeof *expected);
    for (int32_t i = 0; i < s.p->n; i++) {
        const param *one = &s.p->list[i];
        for (int64_t j = one->at; j < one->at + one->n_out * one->n_in; j++)
            expected[j] = by_definition(&s, one, j, one->index ? index_norm : norm);
    }
    optimiser_step(&s.o, &s.state, 1e-2, 2e-2, norm, index_norm);
    for (size_t i = 0; i < n; i++)
        assert_float_equal((double)s.p->w[i], expected[i], 1e-6 * (1 + fabs(expected[i])));
    assert_true(s.state.main_steps == 1 && s.state.index_steps == 1);
    test_free(expected);
    tear_down(&s);
}

static void frozen_parts_and_their_counters_stand_still(void **state) {
    (void)state;
    setup s;
    set_up(&s);
    params_freeze(s.p, true, false);
    size_t n = (size_t)s.p->n_floats;
    float *before = test_calloc(n, sizeof *before);
    memcpy(before, s.p->w, n * sizeof *before);
    optimiser_step(&s.o, &s.state, 1e-2, 2e-2, 0, optimiser_norm(&s.o, true));
    assert_true(s.state.main_steps == 0 && s.state.index_steps == 1);
    for (int32_t i = 0; i < s.p->n; i++) {
        const param *one = &s.p->list[i];
        bool moved = memcmp(before + one->at, s.p->w + one->at,
                            (size_t)(one->n_out * one->n_in) * sizeof(float)) != 0;
        assert_int_equal(moved, one->index);
    }
    test_free(before);
    tear_down(&s);
}

static void a_spike_stands_out_and_a_new_level_becomes_the_mean(void **state) {
    (void)state;
    train_average mean = {0};
    assert_false(optimiser_spike(&mean, 100, 4)); /* nothing to compare with yet */
    mean = (train_average){0};
    for (int i = 0; i < 30; i++) assert_false(optimiser_spike(&mean, 1 + 0.1 * (i % 3), 4));
    assert_float_equal(mean.mean, 1.1, 0.01);
    double before = mean.mean;
    assert_true(optimiser_spike(&mean, 1e9, 4));
    assert_float_equal(mean.mean, before * (1 + 3.0 / 20), 1e-9); /* as if it were 4 times */
    assert_false(optimiser_spike(&mean, 4.3, 4));
    int n_spikes = 0;
    while (n_spikes < 100 && optimiser_spike(&mean, 100, 4)) n_spikes++;
    assert_in_range(n_spikes, 5, 40);
    assert_false(optimiser_spike(&mean, 1e9, 0)); /* off */
}

static void balance_moves_each_bias_against_its_load(void **state) {
    (void)state;
    setup s;
    set_up(&s);
    const int64_t LOAD[8] = {9,  9, 9, 9,
                             10, 2, 4, 0}; /* layer 0 is dense: its counts mean nothing */
    optimiser_balance(s.p, LOAD, 0.25);
    const float EXPECTED[8] = {0, 0, 0, 0, -0.25f, 0.25f, 0, 0.25f};
    for (int i = 0; i < 8; i++) assert_true(s.p->router_bias[i] == EXPECTED[i]);
    tear_down(&s);
}

static void the_first_bad_number_is_found_by_name(void **state) {
    (void)state;
    setup s;
    set_up(&s);
    assert_null(optimiser_find_bad(s.p, false));
    assert_null(optimiser_find_bad(s.p, true));
    const param *one = &s.p->list[5];
    s.p->g[one->at + 3] = INFINITY;
    s.p->g[s.p->list[7].at] = NAN;
    assert_ptr_equal(optimiser_find_bad(s.p, true), one);
    assert_null(optimiser_find_bad(s.p, false));
    tear_down(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_are_those_of_the_two_parts),
        cmocka_unit_test(a_step_is_adamw_with_rates_decay_and_clipping_of_each_part),
        cmocka_unit_test(frozen_parts_and_their_counters_stand_still),
        cmocka_unit_test(a_spike_stands_out_and_a_new_level_becomes_the_mean),
        cmocka_unit_test(balance_moves_each_bias_against_its_load),
        cmocka_unit_test(the_first_bad_number_is_found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
