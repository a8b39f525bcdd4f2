/* test_adamw.c: the optimiser's step against its definition. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/adamw.h"
#include "support/numbers.h"

static const adamw_step STEP = {.lr = 0.01,
                                .beta1 = 0.9,
                                .beta2 = 0.95,
                                .eps = 1e-8,
                                .weight_decay = 0.1,
                                .step = 1,
                                .grad_scale = 1};

typedef struct states {
    float *w, *g, *m, *v;
} states;

static states random_states(rng *r, size_t n) {
    return (states){random_floats(r, n, 1), random_floats(r, n, 1), floats_of(n, 0),
                    floats_of(n, 0)};
}

static void free_states(states *s) {
    free(s->w), free(s->g), free(s->m), free(s->v);
}

static double *widen(const float *x, size_t n) {
    double *wide = malloc((n + 1) * sizeof *wide);
    for (size_t i = 0; i < n; i++) wide[i] = x[i];
    return wide;
}

static void steps_are_those_of_the_definition(void **state) {
    (void)state;
    rng r = rng_seed(81);
    const size_t sizes[] = {0, 1, 3, 16, 17, 1000, 40001};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t n = sizes[k];
        states s = random_states(&r, n);
        double *w = widen(s.w, n), *g = widen(s.g, n), *m = widen(s.m, n), *v = widen(s.v, n);
        adamw_step step = STEP;
        for (; step.step <= 20; step.step++) {
            step.grad_scale = step.step % 3 ? 1 : 0.25;
            rng_fill_normal(&r, s.g, n, 1);
            for (size_t i = 0; i < n; i++) g[i] = s.g[i];
            adamw_run(&step, s.w, s.g, s.m, s.v, (int64_t)n, 2);
            adamw_ref(&step, w, g, m, v, (int64_t)n);
        }
        for (size_t i = 0; i < n; i++) {
            assert_true(fabs(s.w[i] - w[i]) <= 5e-6);
            assert_true(fabs(s.m[i] - m[i]) <= 1e-6);
            assert_true(fabs(s.v[i] - v[i]) <= 1e-6);
        }
        free(w), free(g), free(m), free(v);
        free_states(&s);
    }
}

/* Without a gradient the weight decays and does nothing else; without decay it stays. */
static void decay_stands_apart_from_the_gradient(void **state) {
    (void)state;
    float w = 2, g = 0, m = 0, v = 0;
    adamw_run(&STEP, &w, &g, &m, &v, 1, 1);
    assert_true(w == 2 * (1 - 0.001f) && m == 0 && v == 0);
    adamw_step step = STEP;
    step.weight_decay = 0;
    w = 2;
    adamw_run(&step, &w, &g, &m, &v, 1, 1);
    assert_true(w == 2);
}

/* The corrections make the first step as long as lr, whatever the size of the gradient. */
static void the_first_step_is_as_long_as_lr(void **state) {
    (void)state;
    adamw_step step = STEP;
    step.weight_decay = 0;
    for (float size = 1e-4f; size < 1e5f; size *= 10) {
        float w = 0, g = -size, m = 0, v = 0;
        adamw_run(&step, &w, &g, &m, &v, 1, 1);
        assert_true(fabsf(w - 0.01f) < 2e-6f);
    }
}

static void nan_shows_in_its_own_weight(void **state) {
    (void)state;
    float w[20], g[20], m[20] = {0}, v[20] = {0};
    for (int i = 0; i < 20; i++) w[i] = g[i] = 1;
    g[7] = NAN;
    adamw_run(&STEP, w, g, m, v, 20, 1);
    for (int i = 0; i < 20; i++) assert_int_equal(isnan(w[i]) != 0, i == 7);
}

static void check_threads(rng *r) {
    enum { N = 50003 };
    states one = random_states(r, N);
    for (int n_threads = 2; n_threads <= 3; n_threads++) {
        states first = {copy_floats(one.w, N), one.g, copy_floats(one.m, N), copy_floats(one.v, N)};
        states many = {copy_floats(one.w, N), one.g, copy_floats(one.m, N), copy_floats(one.v, N)};
        adamw_run(&STEP, first.w, first.g, first.m, first.v, N, 1);
        adamw_run(&STEP, many.w, many.g, many.m, many.v, N, n_threads);
        assert_memory_equal(first.w, many.w, N * sizeof(float));
        assert_memory_equal(first.m, many.m, N * sizeof(float));
        assert_memory_equal(first.v, many.v, N * sizeof(float));
        first.g = many.g = NULL;
        free_states(&first), free_states(&many);
    }
    free_states(&one);
}

static void the_number_of_threads_changes_no_bit(void **state) {
    (void)state;
    rng r = rng_seed(82);
    check_threads(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_those_of_the_definition),
        cmocka_unit_test(decay_stands_apart_from_the_gradient),
        cmocka_unit_test(the_first_step_is_as_long_as_lr),
        cmocka_unit_test(nan_shows_in_its_own_weight),
        cmocka_unit_test(the_number_of_threads_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
