/* test_nn.c: norm, RoPE and SwiGLU on every instruction set against their definitions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/rope.h"
#include "support/numbers.h"

/* ---- norm ---- */

static void check_norm(rng *r) {
    const int64_t widths[] = {1, 7, 16, 31, 32, 33, 64, 576};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (int plus_one = 0; plus_one <= 1; plus_one++) {
            enum { ROWS = 5 };
            int64_t n = widths[i], stride = n + 3;
            float *x = random_floats(r, (size_t)(ROWS * stride), 2),
                  *w = random_floats(r, (size_t)n, 2);
            float *y = calloc((size_t)(ROWS * stride), sizeof *y);
            float *expected = calloc((size_t)(ROWS * stride), sizeof *y);
            norm_rows rows = {x, y, stride, stride, ROWS, n, w, 1e-5f, plus_one};
            norm_rms(&rows, 2);
            rows.y = expected;
            norm_rms_ref(&rows);
            for (int64_t j = 0; j < ROWS * stride; j++)
                assert_true(fabsf(y[j] - expected[j]) <= 1e-6f * (1 + fabsf(expected[j])));
            rows.y = x; /* in place */
            norm_rms(&rows, 1);
            for (int64_t row = 0; row < ROWS; row++)
                assert_memory_equal(x + row * stride, y + row * stride, (size_t)n * sizeof *x);
            free(x), free(w), free(y), free(expected);
        }
}

static void norms_are_those_of_the_definition(void **state) {
    (void)state;
    on_every_isa(check_norm);
}

static void a_row_of_zeros_stays_zero(void **state) {
    (void)state;
    float x[20] = {0}, w[20], y[20];
    for (int i = 0; i < 20; i++) w[i] = 3;
    norm_rms(&(norm_rows){x, y, 20, 20, 1, 20, w, 1e-6f, 0}, 1);
    for (int i = 0; i < 20; i++) assert_true(y[i] == 0);
}

/* ---- RoPE ---- */

typedef struct rope_case {
    rope_pairs pairs;
    int n_heads, head_dim, n_rot;
    double base, linear_factor;
    int64_t first;
    bool factors;
} rope_case;

static void check_rope_case(rng *r, rope_case c) {
    enum { TOKENS = 9 };
    int64_t width = (int64_t)c.n_heads * c.head_dim, stride = width + 5;
    size_t n = (size_t)(TOKENS * stride);
    float factors[128];
    for (int i = 0; i < 128; i++) factors[i] = 1 + 7 * rng_uniform(r);
    rope_params p = {c.pairs, c.n_rot, c.base, c.linear_factor, c.factors ? factors : NULL};
    float *x = random_floats(r, n, 2), *expected = malloc(n * sizeof *x),
          *before = malloc(n * sizeof *x);
    memcpy(expected, x, n * sizeof *x);
    memcpy(before, x, n * sizeof *x);
    float *table = malloc(rope_table_floats(&p, TOKENS) * sizeof *table);
    rope_table(&p, c.first, TOKENS, table);
    rope_rows rows = {x, TOKENS, stride, c.n_heads, c.head_dim, c.n_rot, c.pairs, table, 0};
    rope_apply(&rows, 2);
    rows.x = expected;
    rope_apply_ref(&rows, &p, c.first);
    for (size_t i = 0; i < n; i++) {
        assert_true(fabsf(x[i] - expected[i]) <= 3e-6f);
        int64_t at = (int64_t)i % stride;
        if (at >= width || at % c.head_dim >= c.n_rot) assert_true(x[i] == before[i]);
    }
    free(x), free(expected), free(before), free(table);
}

static void check_rope(rng *r) {
    const rope_case cases[] = {
        {ROPE_ADJACENT, 9, 64, 64, 100000, 1, 0, false},
        {ROPE_SPLIT, 3, 64, 64, 10000, 1, 17, false},
        {ROPE_SPLIT, 2, 128, 64, 5e6, 1, 1000, false}, /* part of the head, as in M3 */
        {ROPE_ADJACENT, 2, 40, 24, 10000, 1, 5, false},
        {ROPE_SPLIT, 1, 8, 8, 10000, 1, 3, false},
        {ROPE_SPLIT, 1, 4, 2, 10000, 1, 3, false},
        {ROPE_ADJACENT, 1, 2, 2, 10000, 1, 3, false},
        {ROPE_SPLIT, 2, 80, 72, 10000, 4, 100, false},
        {ROPE_ADJACENT, 2, 64, 64, 500000, 1, 9000, true},
        {ROPE_ADJACENT, 1, 128, 128, 5e6, 1, 1048576, false},
        {ROPE_SPLIT, 1, 64, 64, 10000, 1, (int64_t)1 << 40, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_rope_case(r, cases[i]);
}

static void rotations_are_those_of_the_definition(void **state) {
    (void)state;
    on_every_isa(check_rope);
}

/* By decimal arithmetic of 60 digits: position 1,000,003 of pair 1 of 2, base 10000, is the angle
 * 10000.03; pair 0 turns by 1000003. f32 angles would be off in the second digit. */
static void far_positions_turn_by_the_right_angle(void **state) {
    (void)state;
    rope_params p = {ROPE_ADJACENT, 4, 10000, 1, NULL};
    float table[8];
    rope_table(&p, 1000003, 1, table);
    assert_true(fabs(table[0] - -0.877986491585) < 1e-7); /* cos(1000003) */
    assert_true(fabs(table[5] - 0.478685408796) < 1e-7);  /* sin(1000003) */
    assert_true(fabs(table[2] - -0.942559874014) < 1e-7); /* cos(10000.03) */
    assert_true(fabs(table[7] - -0.334037249269) < 1e-7); /* sin(10000.03) */
}

/* What RoPE is for: products of rotated vectors depend on the distance alone. */
static void products_depend_on_distance_alone(void **state) {
    (void)state;
    rng r = rng_seed(22);
    float q[64], k[64];
    rng_fill_normal(&r, q, 64, 1);
    rng_fill_normal(&r, k, 64, 1);
    for (int pairs = 0; pairs <= 1; pairs++) {
        rope_params p = {(rope_pairs)pairs, 64, 10000, 1, NULL};
        double first = 0;
        for (int64_t at = 0; at < 3000; at += 500) {
            float a[64], b[64], table[128];
            double sum = 0;
            memcpy(a, q, sizeof a);
            memcpy(b, k, sizeof b);
            rope_table(&p, at + 37, 1, table);
            rope_apply(&(rope_rows){a, 1, 64, 1, 64, 64, p.pairs, table, 0}, 1);
            rope_table(&p, at, 1, table);
            rope_apply(&(rope_rows){b, 1, 64, 1, 64, 64, p.pairs, table, 0}, 1);
            for (int i = 0; i < 64; i++) sum += (double)a[i] * b[i];
            if (at == 0) first = sum;
            assert_true(fabs(sum - first) < 1e-4);
        }
    }
}

/* ---- SwiGLU ---- */

static void check_swiglu(rng *r) {
    const int64_t sizes[] = {1, 15, 16, 17, 1536, 40001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = (size_t)sizes[i];
        float *gate = random_floats(r, n, 2), *up = random_floats(r, n, 2);
        float *y = malloc(n * sizeof *y), *expected = malloc(n * sizeof *y);
        for (size_t j = 0; j < n; j++) gate[j] *= 5;
        mlp_swiglu(gate, up, y, sizes[i], 2);
        mlp_swiglu_ref(gate, up, expected, sizes[i]);
        for (size_t j = 0; j < n; j++)
            assert_true(fabsf(y[j] - expected[j]) <= 1e-6f * fabsf(expected[j]) + 1e-36f);
        mlp_swiglu(gate, up, gate, sizes[i], 1); /* in place */
        assert_memory_equal(gate, y, n * sizeof *y);
        free(gate), free(up), free(y), free(expected);
    }
    float gate[6] = {-1000, -100, 0, 1000, NAN, -INFINITY}, up[6] = {1, 1, 1, 1, 1, 1}, y[6];
    mlp_swiglu(gate, up, y, 6, 1);
    assert_true(fabsf(y[0]) < 1e-30f && fabsf(y[1]) < 1e-30f && y[2] == 0 && y[3] == 1000);
    assert_true(isnan(y[4]));
}

static void gates_are_those_of_the_definition(void **state) {
    (void)state;
    on_every_isa(check_swiglu);
}

/* Gates and ups that lie on, inside and far outside the limit. */
static void check_swiglu_oai(rng *r) {
    const int64_t sizes[] = {1, 15, 16, 17, 1536, 40001};
    const mlp_oai kinds[] = {{1.702f, 7}, {1, 0.5f}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t k = 0; k < 2; k++) {
            size_t n = (size_t)sizes[i];
            float *gate = random_floats(r, n, 6), *up = random_floats(r, n, 6);
            float *y = floats_of(n, 0), *expected = floats_of(n, 0);
            for (size_t j = 0; j < n; j += 5) gate[j] = kinds[k].limit;
            for (size_t j = 0; j < n; j += 7) up[j] = -kinds[k].limit;
            mlp_swiglu_oai(&kinds[k], gate, up, y, sizes[i], 2);
            mlp_swiglu_oai_ref(&kinds[k], gate, up, expected, sizes[i]);
            for (size_t j = 0; j < n; j++) {
                double relative = 1e-6 + 1e-7 * fabs((double)kinds[k].alpha * gate[j]);
                assert_close("swiglu_oai", &y[j], &expected[j], 1, relative, 1e-36);
            }
            mlp_swiglu_oai(&kinds[k], gate, up, up, sizes[i], 1); /* in place */
            assert_memory_equal(up, y, n * sizeof *y);
            free(gate), free(up), free(y), free(expected);
        }
    float gate[5] = {NAN, 1, INFINITY, -1000, 1}, up[5] = {1, NAN, INFINITY, 1, -INFINITY}, y[5];
    mlp_swiglu_oai(&kinds[0], gate, up, y, 5, 1);
    assert_true(isnan(y[0]) && isnan(y[1]));
    assert_true(fabsf(y[2] - 56) < 1e-3f && fabsf(y[3]) < 1e-30f && y[4] < -4.5f);
}

static void clamped_gates_are_those_of_the_definition(void **state) {
    (void)state;
    on_every_isa(check_swiglu_oai);
}

/* ---- threads ---- */

static void check_threads(rng *r) {
    enum { ROWS = 300, N = 192 };
    float *x = random_floats(r, ROWS * N, 2), *w = random_floats(r, N, 2);
    float *one = malloc(sizeof(float) * ROWS * N), *many = malloc(sizeof(float) * ROWS * N);
    rope_params p = {ROPE_ADJACENT, 64, 10000, 1, NULL};
    float *table = malloc(rope_table_floats(&p, ROWS) * sizeof *table);
    rope_table(&p, 0, ROWS, table);
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        float *y = n_threads == 1 ? one : many;
        norm_rms(&(norm_rows){x, y, N, N, ROWS, N, w, 1e-5f, 0}, n_threads);
        rope_apply(&(rope_rows){y, ROWS, N, 3, 64, 64, ROPE_ADJACENT, table, 0}, n_threads);
        mlp_swiglu(y, x, y, ROWS * N, n_threads);
        mlp_swiglu_oai(&(mlp_oai){1.702f, 7}, y, x, y, ROWS * N, n_threads);
        if (n_threads > 1) assert_memory_equal(one, many, sizeof(float) * ROWS * N);
    }
    free(x), free(w), free(one), free(many), free(table);
}

static void the_number_of_threads_changes_no_bit(void **state) {
    (void)state;
    on_every_isa(check_threads);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_are_those_of_the_definition),
        cmocka_unit_test(a_row_of_zeros_stays_zero),
        cmocka_unit_test(rotations_are_those_of_the_definition),
        cmocka_unit_test(far_positions_turn_by_the_right_angle),
        cmocka_unit_test(products_depend_on_distance_alone),
        cmocka_unit_test(gates_are_those_of_the_definition),
        cmocka_unit_test(clamped_gates_are_those_of_the_definition),
        cmocka_unit_test(the_number_of_threads_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
