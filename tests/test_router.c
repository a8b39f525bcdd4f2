/* test_router.c: the choice of experts, its weights and their gradient. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/router.h"
#include "support/numbers.h"

typedef struct router_case {
    int64_t n_tokens;
    int32_t n_experts, n_used;
    bool bias;
} router_case;

static const router_case CASES[] = {{1, 1, 1, false},    {7, 5, 1, true},    {33, 8, 2, true},
                                    {100, 128, 4, true}, {40, 16, 16, true}, {17, 64, 64, false}};
enum { N_CASES = sizeof CASES / sizeof *CASES };

typedef struct router_data {
    router_rows rows;
    float *logits, *bias, *weights;
    int32_t *ids;
    size_t n_logits, n_used;
} router_data;

static router_data make_data(rng *r, router_case c) {
    router_data d = {.n_logits = (size_t)(c.n_tokens * c.n_experts),
                     .n_used = (size_t)(c.n_tokens * c.n_used)};
    d.logits = random_floats(r, d.n_logits, 3);
    d.bias = random_floats(r, (size_t)c.n_experts, 0.3f);
    d.weights = floats_of(d.n_used, -1);
    d.ids = malloc(d.n_used * sizeof *d.ids);
    d.rows = (router_rows){d.logits, c.bias ? d.bias : NULL, c.n_tokens, c.n_experts, c.n_used, 2};
    return d;
}

static void free_data(router_data *d) {
    free(d->logits), free(d->bias), free(d->weights), free(d->ids);
}

static void choices_and_weights_are_those_of_the_definition(void **state) {
    (void)state;
    rng r = rng_seed(31);
    for (size_t c = 0; c < N_CASES; c++) {
        router_data d = make_data(&r, CASES[c]);
        int32_t *ids = malloc(d.n_used * sizeof *ids);
        double *weights = malloc(d.n_used * sizeof *weights);
        router_choose(&d.rows, d.ids, d.weights, 2);
        router_choose_ref(&d.rows, ids, weights);
        assert_memory_equal(d.ids, ids, d.n_used * sizeof *ids);
        for (size_t i = 0; i < d.n_used; i++)
            assert_true(fabs(d.weights[i] - weights[i]) <= 1e-7 * weights[i]);
        for (int64_t t = 0; t < d.rows.n_tokens; t++) {
            double sum = 0;
            for (int32_t i = 0; i < d.rows.n_used; i++) sum += d.weights[t * d.rows.n_used + i];
            assert_true(fabs(sum - 2) < 1e-6);
        }
        free(ids), free(weights);
        free_data(&d);
    }
}

/* Two experts with the same logit and bias, and some whose sigmoids round to the same f32. */
static void ties_go_to_the_lower_expert(void **state) {
    (void)state;
    float logits[6] = {1, 3, 3, 40, 50, 1}, bias[6] = {0, 0, 0, -1, -1, 0.5f}, weights[4];
    int32_t ids[4];
    router_choose(&(router_rows){logits, NULL, 1, 6, 4, 1}, ids, weights, 1);
    assert_memory_equal(ids, ((int32_t[]){3, 4, 1, 2}), sizeof ids);
    router_choose(&(router_rows){logits, bias, 1, 6, 4, 1}, ids, weights, 1);
    assert_memory_equal(ids, ((int32_t[]){5, 1, 2, 0}), sizeof ids);
}

static void the_bias_moves_the_choice_and_not_the_weights(void **state) {
    (void)state;
    float logits[3] = {0, 0, 0}, bias[3] = {-5, 2, 1}, weights[2];
    int32_t ids[2];
    router_choose(&(router_rows){logits, bias, 1, 3, 2, 1}, ids, weights, 1);
    assert_memory_equal(ids, ((int32_t[]){1, 2}), sizeof ids);
    assert_true(weights[0] == 0.5f && weights[1] == 0.5f);
}

static void nan_is_chosen_last_and_shows_in_the_weights(void **state) {
    (void)state;
    float logits[8] = {NAN, 1, NAN, 2, NAN, NAN, NAN, NAN}, weights[6];
    int32_t ids[6];
    router_rows rows = {logits, NULL, 2, 4, 3, 1};
    router_choose(&rows, ids, weights, 1);
    assert_memory_equal(ids, ((int32_t[]){3, 1, 0, 0, 1, 2}), sizeof ids);
    for (int i = 0; i < 6; i++) assert_true(isnan(weights[i]));
    rows.n_used = 1; /* the NaN expert is not among the chosen */
    router_choose(&rows, ids, weights, 1);
    assert_true(ids[0] == 3 && isnan(weights[0]));
    float dweights[2] = {1, 1}, dlogits[8];
    router_grad(&rows, ids, dweights, dlogits, 1);
    assert_true(isnan(dlogits[3]));
}

static void sigmoids_that_vanish_still_share_the_weight(void **state) {
    (void)state;
    float logits[3] = {-1e5f, -2e5f, -INFINITY}, weights[3], dlogits[3];
    int32_t ids[3];
    router_rows rows = {logits, NULL, 1, 3, 3, 3};
    router_choose(&rows, ids, weights, 1);
    for (int i = 0; i < 3; i++) assert_true(fabsf(weights[i] - 1) < 1e-6f);
    router_grad(&rows, ids, (float[]){1, 2, 3}, dlogits, 1);
    for (int i = 0; i < 3; i++) assert_true(isfinite(dlogits[i]));
}

static void gradients_are_those_of_the_definition(void **state) {
    (void)state;
    rng r = rng_seed(32);
    for (size_t c = 0; c < N_CASES; c++) {
        router_data d = make_data(&r, CASES[c]);
        router_choose(&d.rows, d.ids, d.weights, 1);
        float *dweights = random_floats(&r, d.n_used, 1), *dlogits = floats_of(d.n_logits, 777);
        double *wide = malloc(d.n_used * sizeof *wide),
               *expected = malloc(d.n_logits * sizeof *expected);
        for (size_t i = 0; i < d.n_used; i++) wide[i] = dweights[i];
        router_grad(&d.rows, d.ids, dweights, dlogits, 2);
        router_grad_ref(&d.rows, d.ids, wide, expected);
        for (size_t i = 0; i < d.n_logits; i++) {
            assert_true(fabs(dlogits[i] - expected[i]) <= 1e-6 * fabs(expected[i]) + 1e-12);
            if (expected[i] == 0 && d.rows.n_used > 1) assert_true(dlogits[i] == 0);
        }
        free(dweights), free(dlogits), free(wide), free(expected);
        free_data(&d);
    }
}

/* L = sum of random * weights; a step moves one logit, the choice must not change with it. */
static double loss_of(const router_data *d, const double *dweights, bool *same_choice) {
    int32_t *ids = malloc(d->n_used * sizeof *ids);
    double *weights = malloc(d->n_used * sizeof *weights), sum = 0;
    router_choose_ref(&d->rows, ids, weights);
    for (size_t i = 0; i < d->n_used; i++) sum += dweights[i] * weights[i];
    *same_choice = memcmp(ids, d->ids, d->n_used * sizeof *ids) == 0;
    free(ids), free(weights);
    return sum;
}

static void the_definition_of_the_gradient_agrees_with_finite_differences(void **state) {
    (void)state;
    rng r = rng_seed(33);
    router_data d = make_data(&r, (router_case){3, 9, 4, true});
    router_choose(&d.rows, d.ids, d.weights, 1);
    double dweights[12], dlogits[27];
    for (int i = 0; i < 12; i++) dweights[i] = rng_normal(&r);
    router_grad_ref(&d.rows, d.ids, dweights, dlogits);
    int checked = 0;
    for (size_t i = 0; i < d.n_logits; i++) {
        float at = d.logits[i], up = at + 0x1p-11f, down = at - 0x1p-11f;
        bool same_up, same_down;
        d.logits[i] = up;
        double above = loss_of(&d, dweights, &same_up);
        d.logits[i] = down;
        double below = loss_of(&d, dweights, &same_down);
        d.logits[i] = at;
        if (!same_up || !same_down) continue;
        checked++;
        double slope = (above - below) / ((double)up - down);
        assert_true(fabs(slope - dlogits[i]) < 1e-6);
    }
    assert_true(checked > 20);
    free_data(&d);
}

static void the_number_of_threads_changes_no_bit(void **state) {
    (void)state;
    rng r = rng_seed(34);
    router_data d = make_data(&r, (router_case){301, 32, 4, true});
    float *dweights = random_floats(&r, d.n_used, 1), *first = NULL, *first_grad = NULL;
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        float *dlogits = floats_of(d.n_logits, 1);
        router_choose(&d.rows, d.ids, d.weights, n_threads);
        router_grad(&d.rows, d.ids, dweights, dlogits, n_threads);
        if (n_threads == 1) {
            first = copy_floats(d.weights, d.n_used);
            first_grad = copy_floats(dlogits, d.n_logits);
        }
        assert_memory_equal(d.weights, first, d.n_used * sizeof *first);
        assert_memory_equal(dlogits, first_grad, d.n_logits * sizeof *first);
        free(dlogits);
    }
    free(first), free(first_grad), free(dweights);
    free_data(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_and_weights_are_those_of_the_definition),
        cmocka_unit_test(ties_go_to_the_lower_expert),
        cmocka_unit_test(the_bias_moves_the_choice_and_not_the_weights),
        cmocka_unit_test(nan_is_chosen_last_and_shows_in_the_weights),
        cmocka_unit_test(sigmoids_that_vanish_still_share_the_weight),
        cmocka_unit_test(gradients_are_those_of_the_definition),
        cmocka_unit_test(the_definition_of_the_gradient_agrees_with_finite_differences),
        cmocka_unit_test(the_number_of_threads_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
