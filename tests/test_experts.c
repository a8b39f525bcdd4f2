/* test_experts.c: tokens sorted by expert, gathered, combined, and the gradients of both. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/experts.h"
#include "support/numbers.h"

typedef struct experts_data {
    experts_groups groups;
    int32_t *ids, *memory;
    int64_t n;
    float *x, *rows, *weights, *dy;
    size_t n_x, n_rows; /* floats of a tokens' array, of a rows' array */
} experts_data;

/* Every token has n_used different experts. */
static void fill_ids(rng *r, int32_t *ids, int64_t n_tokens, int32_t n_used, int32_t n_experts) {
    for (int64_t t = 0; t < n_tokens; t++) {
        int32_t first = (int32_t)rng_below(r, (uint64_t)n_experts);
        for (int32_t i = 0; i < n_used; i++) ids[t * n_used + i] = (first + i * i) % n_experts;
    }
}

static experts_data make_data(rng *r, int64_t n_tokens, int32_t n_used, int32_t n_experts,
                              int64_t n) {
    size_t choices = (size_t)(n_tokens * n_used);
    experts_data d = {.n = n, .n_x = (size_t)(n_tokens * n), .n_rows = choices * (size_t)n};
    d.ids = malloc((choices + 1) * sizeof *d.ids);
    d.memory = malloc(experts_ints(n_tokens, n_used, n_experts) * sizeof *d.memory);
    fill_ids(r, d.ids, n_tokens, n_used, n_experts);
    experts_group(d.ids, n_tokens, n_used, n_experts, d.memory, &d.groups);
    d.x = random_floats(r, d.n_x, 1);
    d.dy = random_floats(r, d.n_x, 1);
    d.rows = random_floats(r, d.n_rows, 1);
    d.weights = random_floats(r, choices, 1);
    return d;
}

static void free_data(experts_data *d) {
    free(d->ids), free(d->memory), free(d->x), free(d->rows), free(d->weights), free(d->dy);
}

static void rows_of_an_expert_lie_together_in_the_order_of_tokens(void **state) {
    (void)state;
    rng r = rng_seed(41);
    const int64_t tokens[] = {0, 1, 2, 50, 333};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        experts_data d = make_data(&r, tokens[i], 3, 11, 1);
        const experts_groups *g = &d.groups;
        assert_int_equal(g->start[0], 0);
        assert_int_equal(g->start[11], tokens[i] * 3);
        for (int32_t e = 0; e < 11; e++)
            for (int32_t row = g->start[e]; row < g->start[e + 1]; row++) {
                assert_int_equal(d.ids[g->choice[row]], e);
                assert_int_equal(g->row[g->choice[row]], row);
                if (row > g->start[e]) assert_true(g->choice[row] > g->choice[row - 1]);
            }
        free_data(&d);
    }
}

static void experts_without_tokens_have_no_rows(void **state) {
    (void)state;
    const int32_t ids[3] = {4, 1, 4};
    int32_t memory[13];
    assert_int_equal(experts_ints(3, 1, 6), 13);
    experts_groups g;
    experts_group(ids, 3, 1, 6, memory, &g);
    const int64_t expected[6] = {0, 1, 0, 0, 2, 0};
    for (int32_t e = 0; e < 6; e++) assert_int_equal(experts_rows(&g, e), expected[e]);
}

static const int64_t WIDTHS[] = {1, 15, 16, 17, 100, 256};
enum { N_WIDTHS = sizeof WIDTHS / sizeof *WIDTHS };

static void check_there_and_back(rng *r) {
    for (int i = 0; i < N_WIDTHS; i++) {
        experts_data d = make_data(r, 21, 4, 19, WIDTHS[i]);
        experts_gather(&d.groups, d.x, d.n, d.rows, 2);
        for (int64_t row = 0; row < 21 * 4; row++)
            assert_memory_equal(d.rows + row * d.n, d.x + d.groups.choice[row] / 4 * d.n,
                                (size_t)d.n * sizeof *d.x);
        rng_fill_normal(r, d.rows, d.n_rows, 1);
        float *y = copy_floats(d.dy, d.n_x), *expected = copy_floats(d.dy, d.n_x);
        experts_combine(&d.groups, d.rows, d.weights, d.n, y, 2);
        experts_combine_ref(&d.groups, d.rows, d.weights, d.n, expected);
        assert_close("combine", y, expected, d.n_x, 1e-6, 2e-6);
        free(y), free(expected);
        free_data(&d);
    }
}

static void combined_rows_are_those_of_the_definition(void **state) {
    (void)state;
    on_every_isa(check_there_and_back);
}

static void check_gradients(rng *r) {
    for (int i = 0; i < N_WIDTHS; i++) {
        experts_data d = make_data(r, 21, 4, 19, WIDTHS[i]);
        float *drows = floats_of(d.n_rows, 7), *expected = floats_of(d.n_rows, 7);
        float dweights[84], expected_weights[84];
        experts_combine_grad(&d.groups, d.rows, d.weights, d.dy, d.n, drows, dweights, 2);
        experts_combine_grad_ref(&d.groups, d.rows, d.weights, d.dy, d.n, expected,
                                 expected_weights);
        assert_close("drows", drows, expected, d.n_rows, 1e-7, 0);
        assert_close("dweights", dweights, expected_weights, 84, 1e-6, 3e-5);
        float *dx = copy_floats(d.x, d.n_x), *expected_x = copy_floats(d.x, d.n_x);
        float *ones = floats_of(84, 1);
        experts_gather_grad(&d.groups, drows, d.n, dx, 2);
        experts_combine_ref(&d.groups, expected, ones, d.n, expected_x);
        assert_close("dx", dx, expected_x, d.n_x, 1e-6, 2e-6);
        float again[84];
        experts_combine_grad(&d.groups, d.rows, d.weights, d.dy, d.n, d.rows, again, 1);
        assert_memory_equal(again, dweights, sizeof again); /* in place */
        assert_memory_equal(d.rows, drows, d.n_rows * sizeof *drows);
        free(drows), free(expected), free(dx), free(expected_x), free(ones);
        free_data(&d);
    }
}

static void gradients_are_those_of_the_definition(void **state) {
    (void)state;
    on_every_isa(check_gradients);
}

/* combine is linear in rows and in weights: a change of one element by h moves L by h times its
 * derivative, whatever h is. Whole numbers make every sum exact. */
static void the_definition_of_the_gradient_agrees_with_differences(void **state) {
    (void)state;
    rng r = rng_seed(42);
    experts_data d = make_data(&r, 5, 2, 4, 3);
    rng_fill_integers(&r, d.rows, d.n_rows, 5);
    rng_fill_integers(&r, d.weights, 10, 5);
    rng_fill_integers(&r, d.dy, d.n_x, 5);
    float drows[30], dweights[10];
    experts_combine_grad_ref(&d.groups, d.rows, d.weights, d.dy, d.n, drows, dweights);
    for (int i = 0; i < 40; i++) {
        float *moved = i < 30 ? &d.rows[i] : &d.weights[i - 30];
        double loss[2];
        for (int side = 0; side < 2; side++) {
            float y[15] = {0};
            *moved += (float)side;
            experts_combine_ref(&d.groups, d.rows, d.weights, d.n, y);
            loss[side] = 0;
            for (int j = 0; j < 15; j++) loss[side] += (double)y[j] * d.dy[j];
        }
        *moved -= 1;
        assert_true(loss[1] - loss[0] == (i < 30 ? drows[i] : dweights[i - 30]));
    }
    free_data(&d);
}

static void nan_stays_in_its_token(void **state) {
    (void)state;
    rng r = rng_seed(43);
    experts_data d = make_data(&r, 6, 2, 5, 20);
    d.rows[d.groups.row[7] * 20 + 3] = NAN; /* token 3, its second choice */
    float y[120] = {0};
    experts_combine(&d.groups, d.rows, d.weights, 20, y, 1);
    for (int i = 0; i < 120; i++) assert_int_equal(isnan(y[i]) != 0, i == 63);
    free_data(&d);
}

static void check_threads(rng *r) {
    experts_data d = make_data(r, 400, 4, 16, 130);
    float *drows = floats_of(d.n_rows, 0), dweights[1600], first_weights[1600];
    float *y = NULL, *dx = NULL, *first_drows = NULL;
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        float *y_now = copy_floats(d.x, d.n_x), *dx_now = copy_floats(d.x, d.n_x);
        experts_combine(&d.groups, d.rows, d.weights, d.n, y_now, n_threads);
        experts_combine_grad(&d.groups, d.rows, d.weights, d.dy, d.n, drows, dweights, n_threads);
        experts_gather_grad(&d.groups, drows, d.n, dx_now, n_threads);
        if (n_threads == 1) {
            y = copy_floats(y_now, d.n_x), dx = copy_floats(dx_now, d.n_x);
            first_drows = copy_floats(drows, d.n_rows);
            memcpy(first_weights, dweights, sizeof dweights);
        }
        assert_memory_equal(y_now, y, d.n_x * sizeof *y);
        assert_memory_equal(dx_now, dx, d.n_x * sizeof *y);
        assert_memory_equal(drows, first_drows, d.n_rows * sizeof *y);
        assert_memory_equal(dweights, first_weights, sizeof dweights);
        free(y_now), free(dx_now);
    }
    free(y), free(dx), free(drows), free(first_drows);
    free_data(&d);
}

static void the_number_of_threads_changes_no_bit(void **state) {
    (void)state;
    on_every_isa(check_threads);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_an_expert_lie_together_in_the_order_of_tokens),
        cmocka_unit_test(experts_without_tokens_have_no_rows),
        cmocka_unit_test(combined_rows_are_those_of_the_definition),
        cmocka_unit_test(gradients_are_those_of_the_definition),
        cmocka_unit_test(the_definition_of_the_gradient_agrees_with_differences),
        cmocka_unit_test(nan_stays_in_its_token),
        cmocka_unit_test(the_number_of_threads_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
