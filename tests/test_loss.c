/* test_loss.c: cross entropy with its projection: loss, dx and dW. */
#include "nn/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/kernels.h"
#include "support/numbers.h"

typedef struct loss_case {
    int64_t n_rows, n, n_vocab;
} loss_case;

typedef struct loss_data {
    loss_rows rows;
    float *x, *w;
    int32_t *targets;
    size_t n_x, n_w;
} loss_data;

/* Every fifth row has no target. */
static loss_data make_data(rng *r, loss_case c) {
    loss_data d = {.n_x = (size_t)(c.n_rows * c.n), .n_w = (size_t)(c.n_vocab * c.n)};
    d.x = random_floats(r, d.n_x, 1);
    d.w = random_floats(r, d.n_w, 1);
    d.targets = malloc(((size_t)c.n_rows + 1) * sizeof *d.targets);
    for (int64_t t = 0; t < c.n_rows; t++)
        d.targets[t] = t % 5 == 2 ? -1 : (int32_t)rng_below(r, (uint64_t)c.n_vocab);
    d.rows = (loss_rows){.n_rows = c.n_rows,
                         .n = c.n,
                         .n_vocab = c.n_vocab,
                         .x = d.x,
                         .w = d.w,
                         .targets = d.targets,
                         .scale = 0.5f,
                         .dx = floats_of(d.n_x, 777),
                         .dw = random_floats(r, d.n_w, 1),
                         .row_loss = floats_of((size_t)c.n_rows, 777)};
    return d;
}

static void free_data(loss_data *d) {
    free(d->x), free(d->w), free(d->targets);
    free(d->rows.dx), free(d->rows.dw), free(d->rows.row_loss);
}

static double run(const loss_rows *rows, int n_threads) {
    void *workspace = mem_alloc(loss_workspace_bytes(rows->n_rows, rows->n, rows->n_vocab), 1);
    assert_non_null(workspace);
    double sum = loss_run(rows, workspace, n_threads);
    mem_free(workspace);
    return sum;
}

static double *widen(const float *x, size_t n) {
    double *wide = malloc((n + 1) * sizeof *wide);
    for (size_t i = 0; i < n; i++) wide[i] = x[i];
    return wide;
}

static void assert_near(const char *what, const float *found, const double *expected, size_t n,
                        double bound) {
    for (size_t i = 0; i < n; i++)
        if (!(fabs(found[i] - expected[i]) <= bound * (1 + fabs(expected[i]))))
            fail_msg("%s on %s, element %zu: %.9g; expected %.9g", what,
                     msa_isa_name(msa_isa_current()), i, (double)found[i], expected[i]);
}

static void check_case(rng *r, loss_case c) {
    loss_data d = make_data(r, c);
    double *dx = widen(d.rows.dx, d.n_x), *dw = widen(d.rows.dw, d.n_w);
    float *row_loss = floats_of((size_t)c.n_rows, 777);
    loss_rows ref = d.rows;
    ref.row_loss = row_loss;
    double expected = loss_ref(&ref, dx, dw), found = run(&d.rows, 2);
    assert_true(fabs(found - expected) <= 2e-6 * fabs(expected) + 1e-6);
    assert_close("loss of a row", d.rows.row_loss, row_loss, (size_t)c.n_rows, 1e-6, 1e-5);
    assert_near("dx", d.rows.dx, dx, d.n_x, 1e-5);
    assert_near("dw", d.rows.dw, dw, d.n_w, 1e-5);
    loss_rows forward = d.rows;
    forward.dx = forward.dw = NULL;
    assert_true(run(&forward, 1) == found); /* the loss alone is the same number */
    free(dx), free(dw), free(row_loss);
    free_data(&d);
}

static void check_cases(rng *r) {
    const loss_case cases[] = {{0, 4, 5},    {1, 1, 1},    {3, 5, 2},     {40, 16, 15},
                               {41, 7, 16},  {60, 20, 17}, {33, 12, 260}, {2, 9, 2051},
                               {300, 3, 31}, {9, 4, 5000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(r, cases[i]);
}

static void losses_and_gradients_are_those_of_the_definition(void **state) {
    (void)state;
    on_every_isa(check_cases);
}

/* A vocabulary so large that the rows come in several chunks. */
static void chunks_of_rows_add_up(void **state) {
    (void)state;
    rng r = rng_seed(71);
    assert_int_equal(loss_chunk_rows(700, 9000), 256);
    assert_int_equal(loss_chunk_rows(100, 9000), 100);
    check_case(&r, (loss_case){test_brief() ? 280 : 700, 2, 9000});
}

static double loss_of_rows(void *data) {
    loss_data *d = data;
    return d->rows.scale * loss_ref(&d->rows, NULL, NULL);
}

static void the_definition_of_the_gradient_agrees_with_finite_differences(void **state) {
    (void)state;
    rng r = rng_seed(72);
    loss_data d = make_data(&r, (loss_case){4, 5, 7});
    double dx[20], dw[35] = {0};
    loss_ref(&d.rows, dx, dw);
    for (int i = 0; i < 20; i++)
        assert_true(fabs(slope_of(loss_of_rows, &d, &d.x[i]) - dx[i]) < 1e-6);
    for (int i = 0; i < 35; i++)
        assert_true(fabs(slope_of(loss_of_rows, &d, &d.w[i]) - dw[i]) < 1e-6);
    free_data(&d);
}

static void rows_without_a_target_get_exactly_nothing(void **state) {
    (void)state;
    rng r = rng_seed(73);
    loss_data d = make_data(&r, (loss_case){50, 6, 20});
    for (int i = 0; i < 6; i++) d.x[2 * 6 + i] = NAN; /* row 2: nobody looks */
    double sum = run(&d.rows, 2);
    assert_true(isfinite(sum));
    for (int t = 2; t < 50; t += 5) {
        assert_true(d.rows.row_loss[t] == 0);
        for (int i = 0; i < 6; i++) assert_true(d.rows.dx[t * 6 + i] == 0);
    }
    for (size_t i = 0; i < d.n_w; i++) assert_true(isfinite(d.rows.dw[i]));
    for (int t = 0; t < 50; t++) d.targets[t] = -1;
    float *dw = copy_floats(d.rows.dw, d.n_w);
    assert_true(run(&d.rows, 2) == 0);
    assert_memory_equal(dw, d.rows.dw, d.n_w * sizeof *dw);
    for (size_t i = 0; i < d.n_x; i++) assert_true(d.rows.dx[i] == 0);
    free(dw);
    free_data(&d);
}

static void check_extremes(rng *r) {
    (void)r;
    loss_softmax_fn *softmax = nn_kernels_get()->loss_softmax;
    float large[20];
    for (int i = 0; i < 20; i++) large[i] = i == 18 ? 3e38f : -3e38f;
    assert_true(softmax(large, 20, 18, true, 1) == 0);
    for (int i = 0; i < 20; i++) assert_true(large[i] == 0);
    float low[3] = {-1e30f, -1e30f, -INFINITY}; /* a logit of -inf is a probability of 0 */
    assert_true(fabs(softmax(low, 3, 1, true, 2) - log(2)) < 1e-6);
    assert_true(low[0] == 1 && low[1] == -1 && low[2] == 0);
    const float bad[] = {NAN, INFINITY};
    for (int k = 0; k < 2; k++)
        for (int at = 0; at < 33; at += 8) {
            float logits[33] = {0};
            logits[at] = bad[k];
            assert_true(isnan(softmax(logits, 33, 3, true, 1)));
            assert_true(isnan(logits[at]));
        }
}

static void extreme_logits_give_numbers_and_nan_shows(void **state) {
    (void)state;
    on_every_isa(check_extremes);
    rng r = rng_seed(74);
    loss_data d = make_data(&r, (loss_case){30, 6, 20});
    d.x[13 * 6] = NAN;
    assert_true(isnan(run(&d.rows, 1)));
    assert_true(isnan(d.rows.row_loss[13]) && isfinite(d.rows.row_loss[11]));
    free_data(&d);
}

/* Equal logits: those of tokens 5, 21 and 30 lie in other lanes of a vector. */
static void the_likeliest_token_is_the_lowest_of_equals(void **state) {
    (void)state;
    enum { VOCAB = 40 };
    float x[3] = {1, -1, NAN}, w[VOCAB], row_loss[3];
    int32_t targets[3] = {3, 3, 3}, predicted[3];
    for (int v = 0; v < VOCAB; v++) w[v] = (float)(v % 7);
    w[5] = w[21] = w[30] = 9;
    loss_rows rows = {.n_rows = 3,
                      .n = 1,
                      .n_vocab = VOCAB,
                      .x = x,
                      .w = w,
                      .targets = targets,
                      .row_loss = row_loss,
                      .predicted = predicted};
    run(&rows, 1);
    assert_int_equal(predicted[0], 5);
    assert_int_equal(predicted[1], 0);
    assert_int_equal(predicted[2], 0);
    targets[1] = -1;
    run(&rows, 1);
    assert_int_equal(predicted[1], -1);
    rng r = rng_seed(76);
    loss_data d = make_data(&r, (loss_case){60, 8, 100});
    int32_t found[60], truth[60];
    d.rows.predicted = found;
    run(&d.rows, 2);
    d.rows.predicted = truth;
    loss_ref(&d.rows, NULL, NULL);
    assert_memory_equal(found, truth, sizeof found);
    free_data(&d);
}

static void a_scale_of_zero_is_a_gradient_of_zero(void **state) {
    (void)state;
    rng r = rng_seed(75);
    loss_data d = make_data(&r, (loss_case){10, 6, 20});
    d.rows.scale = 0;
    float *dw = copy_floats(d.rows.dw, d.n_w);
    assert_true(run(&d.rows, 1) > 0);
    for (size_t i = 0; i < d.n_x; i++) assert_true(d.rows.dx[i] == 0);
    assert_memory_equal(dw, d.rows.dw, d.n_w * sizeof *dw);
    free(dw);
    free_data(&d);
}

static void check_threads(rng *r) {
    loss_data d = make_data(r, (loss_case){500, 48, 700});
    float *start = copy_floats(d.rows.dw, d.n_w), *dx = NULL, *dw = NULL;
    double first = 0;
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        memcpy(d.rows.dw, start, d.n_w * sizeof *start);
        double sum = run(&d.rows, n_threads);
        if (n_threads == 1) {
            first = sum;
            dx = copy_floats(d.rows.dx, d.n_x), dw = copy_floats(d.rows.dw, d.n_w);
        }
        assert_true(sum == first);
        assert_memory_equal(d.rows.dx, dx, d.n_x * sizeof *dx);
        assert_memory_equal(d.rows.dw, dw, d.n_w * sizeof *dw);
    }
    free(start), free(dx), free(dw);
    free_data(&d);
}

static void the_number_of_threads_changes_no_bit(void **state) {
    (void)state;
    on_every_isa(check_threads);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_and_gradients_are_those_of_the_definition),
        cmocka_unit_test(chunks_of_rows_add_up),
        cmocka_unit_test(the_definition_of_the_gradient_agrees_with_finite_differences),
        cmocka_unit_test(rows_without_a_target_get_exactly_nothing),
        cmocka_unit_test(extreme_logits_give_numbers_and_nan_shows),
        cmocka_unit_test(the_likeliest_token_is_the_lowest_of_equals),
        cmocka_unit_test(a_scale_of_zero_is_a_gradient_of_zero),
        cmocka_unit_test(the_number_of_threads_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
