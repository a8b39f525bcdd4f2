/* test_linear.c: the three products of a linear layer against their definition. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "nn/linear.h"
#include "support/numbers.h"

static size_t size_of(const linear_product *p) {
    return (size_t)(p->m * p->c_stride);
}

/* Runs all at once, each against its definition. */
static void compare_with_reference(linear_product *p, int n) {
    float *expected[8];
    for (int i = 0; i < n; i++) {
        linear_product ref = p[i];
        expected[i] = ref.c = copy_floats(p[i].c, size_of(&p[i]));
        linear_ref(&ref);
    }
    linear_run(p, n, 2);
    for (int i = 0; i < n; i++) {
        double bound = 1e-6 * (1 + sqrt((double)p[i].k)) * 4;
        assert_close("product", p[i].c, expected[i], size_of(&p[i]), 0, bound);
        free(expected[i]);
    }
}

static void check_shape(rng *r, linear_shape s) {
    size_t n_x = (size_t)(s.n_rows * s.n_in), n_w = (size_t)(s.n_out * s.n_in);
    size_t n_y = (size_t)(s.n_rows * s.n_out);
    float *x = random_floats(r, n_x, 1), *w = random_floats(r, n_w, 1),
          *dy = random_floats(r, n_y, 1);
    float *y = floats_of(n_y, NAN), *dx = floats_of(n_x, NAN), *dw = random_floats(r, n_w, 1);
    linear_product all[] = {linear_y(s, x, w, y), linear_dx(s, dy, w, dx), linear_dw(s, dy, x, dw)};
    compare_with_reference(all, 3);
    all[0].add = true;
    compare_with_reference(all, 1);
    free(x), free(w), free(dy), free(y), free(dx), free(dw);
}

static void products_are_those_of_the_definition(void **state) {
    (void)state;
    rng r = rng_seed(61);
    const linear_shape shapes[] = {{1, 1, 1},      {1, 7, 3},     {5, 1, 2},   {17, 33, 65},
                                   {16, 64, 128},  {130, 20, 70}, {300, 9, 1}, {1, 300, 700},
                                   {700, 48, 530}, {1100, 5, 6}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check_shape(&r, shapes[i]);
}

/* Q, K and V side by side in one array, as a caller may keep them. */
static void strides_leave_the_gaps_alone(void **state) {
    (void)state;
    rng r = rng_seed(62);
    enum { ROWS = 70, IN = 24, WIDE = 100 };
    float *x = random_floats(&r, ROWS * IN, 1), *w = random_floats(&r, 48 * IN, 1);
    float *y = floats_of(ROWS * WIDE, 777);
    linear_product p[2];
    for (int i = 0; i < 2; i++) {
        p[i] = linear_y((linear_shape){ROWS, IN, 16 + 16 * i}, x, w, y + 20 + 30 * i);
        p[i].c_stride = WIDE;
    }
    linear_run(p, 2, 2);
    for (int row = 0; row < ROWS; row++)
        for (int c = 0; c < WIDE; c++) {
            bool inside = (c >= 20 && c < 36) || (c >= 50 && c < 82);
            assert_int_equal(y[row * WIDE + c] != 777, inside);
        }
    free(x), free(w), free(y);
}

/* An expert that no token chose: nothing to write, nothing added; an empty sum is zero. */
static void empty_products_are_no_work(void **state) {
    (void)state;
    float x[8] = {1}, w[8] = {1}, out[8] = {5, 5, 5, 5, 5, 5, 5, 5};
    linear_shape none = {0, 2, 4};
    linear_product p[] = {linear_y(none, x, w, out), linear_dx(none, x, w, out),
                          linear_dw(none, x, x, out)};
    linear_run(p, 3, 2);
    for (int i = 0; i < 8; i++) assert_true(out[i] == 5);
    linear_product sum = linear_y((linear_shape){2, 0, 4}, x, w, out);
    sum.a_stride = sum.b_stride = 1;
    linear_run(&sum, 1, 1);
    for (int i = 0; i < 8; i++) assert_true(out[i] == 0);
    linear_run(p, 0, 2);
}

static void nan_reaches_the_rows_it_belongs_to(void **state) {
    (void)state;
    rng r = rng_seed(63);
    float *x = random_floats(&r, 40 * 30, 1), *w = random_floats(&r, 20 * 30, 1);
    float *y = floats_of(40 * 20, 0);
    x[7 * 30 + 3] = NAN;
    linear_product p = linear_y((linear_shape){40, 30, 20}, x, w, y);
    linear_run(&p, 1, 1);
    for (int i = 0; i < 40 * 20; i++) assert_int_equal(isnan(y[i]) != 0, i / 20 == 7);
    free(x), free(w), free(y);
}

static void the_number_of_threads_changes_no_bit(void **state) {
    (void)state;
    const linear_shape shapes[] = {{600, 130, 260}, {1500, 64, 64}, {90, 30, 17}};
    int threads_before = omp_get_max_threads();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        linear_shape s = shapes[i];
        rng r = rng_seed(64);
        size_t n_x = (size_t)(s.n_rows * s.n_in), n_w = (size_t)(s.n_out * s.n_in);
        size_t n_y = (size_t)(s.n_rows * s.n_out);
        float *x = random_floats(&r, n_x, 1), *w = random_floats(&r, n_w, 1);
        float *dy = random_floats(&r, n_y, 1), *first[3] = {NULL};
        const size_t sizes[] = {n_y, n_x, n_w};
        for (int n_threads = 1; n_threads <= 4; n_threads++) {
            float *out[3];
            for (int k = 0; k < 3; k++) out[k] = floats_of(sizes[k], 1);
            linear_product p[] = {linear_y(s, x, w, out[0]), linear_dx(s, dy, w, out[1]),
                                  linear_dw(s, dy, x, out[2])};
            linear_run(p, 3, n_threads);
            for (int k = 0; k < 3; k++) {
                if (!first[k]) first[k] = copy_floats(out[k], sizes[k]);
                assert_memory_equal(out[k], first[k], sizes[k] * sizeof *x);
                free(out[k]);
            }
        }
        for (int k = 0; k < 3; k++) free(first[k]);
        free(x), free(w), free(dy);
    }
    /* The caller's own setting survives what is said to BLAS. */
    assert_int_equal(omp_get_max_threads(), threads_before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_the_definition),
        cmocka_unit_test(strides_leave_the_gaps_alone),
        cmocka_unit_test(empty_products_are_no_work),
        cmocka_unit_test(nan_reaches_the_rows_it_belongs_to),
        cmocka_unit_test(the_number_of_threads_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
