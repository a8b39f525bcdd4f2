/* test_nn_grad.c: the gradients of norm, RoPE, gates and embedding: every instruction set against
 * the definition, the definition against differences. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/embed.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/rope.h"
#include "nn/vector.h"
#include "support/numbers.h"

static double dot(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* ---- norm ---- */

static const int64_t WIDTHS[] = {1, 7, 16, 31, 32, 33, 64, 576};
enum { N_WIDTHS = sizeof WIDTHS / sizeof *WIDTHS };

static void run_norm_grad(const norm_grad *grad, int n_threads) {
    float *workspace = floats_of(norm_grad_floats(grad->n_rows, grad->n), NAN);
    norm_rms_grad(grad, workspace, n_threads);
    free(workspace);
}

static void check_norm_case(rng *r, int64_t n, int plus_one, int add) {
    enum { ROWS = 37 };
    int64_t stride = n + 3;
    size_t all = (size_t)(ROWS * stride), width = (size_t)n;
    float *x = random_floats(r, all, 2), *dy = random_floats(r, all, 1);
    float *w = random_floats(r, width, 1), *dx = random_floats(r, all, 1);
    float *dw = copy_floats(w, width), *expected = copy_floats(dx, all);
    double *expected_dw = malloc(width * sizeof *expected_dw);
    for (size_t i = 0; i < width; i++) expected_dw[i] = dw[i];
    norm_grad grad = {x, dy, dx, stride, stride, stride, ROWS, n, w, 1e-5f, plus_one, add, dw};
    run_norm_grad(&grad, 2);
    norm_grad ref = grad;
    ref.dx = expected;
    norm_rms_grad_ref(&ref, expected_dw);
    /* A row of one element can be small, and its 1 / rms large. */
    assert_close("norm dx", dx, expected, all, 2e-6, n == 1 ? 1e-3 : 2e-5);
    for (size_t i = 0; i < width; i++)
        assert_true(fabs(dw[i] - expected_dw[i]) <= 1e-6 * fabs(expected_dw[i]) + 1e-5);
    if (!add) {
        grad.dx = dy, grad.dw = NULL; /* in place, dx alone */
        run_norm_grad(&grad, 1);
        for (int64_t row = 0; row < ROWS; row++)
            assert_memory_equal(dy + row * stride, dx + row * stride, width * sizeof *x);
    }
    free(x), free(dy), free(w), free(dx), free(dw), free(expected), free(expected_dw);
}

static void check_norm(rng *r) {
    for (int i = 0; i < N_WIDTHS; i++)
        for (int kind = 0; kind < 4; kind++) check_norm_case(r, WIDTHS[i], kind & 1, kind >> 1);
}

static void gradients_of_norms_are_those_of_the_definition(void **state) {
    (void)state;
    on_every_isa(check_norm);
}

enum { FEW = 3, FEW_WIDE = 5 };
typedef struct norm_data {
    float x[FEW * FEW_WIDE], w[FEW_WIDE], dy[FEW * FEW_WIDE];
    int plus_one;
} norm_data;

static double loss_of_norm(void *data) {
    norm_data *d = data;
    float y[FEW * FEW_WIDE];
    norm_rms_ref(
        &(norm_rows){d->x, y, FEW_WIDE, FEW_WIDE, FEW, FEW_WIDE, d->w, 1e-2f, d->plus_one});
    return dot(y, d->dy, FEW * FEW_WIDE);
}

static void the_gradient_of_a_norm_agrees_with_differences(void **state) {
    (void)state;
    rng r = rng_seed(51);
    for (int plus_one = 0; plus_one <= 1; plus_one++) {
        norm_data d = {.plus_one = plus_one};
        rng_fill_normal(&r, d.x, FEW * FEW_WIDE, 2);
        rng_fill_normal(&r, d.w, FEW_WIDE, 1);
        rng_fill_normal(&r, d.dy, FEW * FEW_WIDE, 1);
        float dx[FEW * FEW_WIDE];
        double dw[FEW_WIDE] = {0};
        norm_grad grad = {d.x,      d.dy, dx,    FEW_WIDE, FEW_WIDE, FEW_WIDE, FEW,
                          FEW_WIDE, d.w,  1e-2f, plus_one, 0,        NULL};
        norm_rms_grad_ref(&grad, dw);
        for (int i = 0; i < FEW * FEW_WIDE; i++)
            assert_true(fabs(slope_of(loss_of_norm, &d, &d.x[i]) - dx[i]) < 5e-5);
        for (int i = 0; i < FEW_WIDE; i++)
            assert_true(fabs(slope_of(loss_of_norm, &d, &d.w[i]) - dw[i]) < 5e-5);
    }
}

static void nan_in_a_row_stays_in_its_dx_and_shows_in_dw(void **state) {
    (void)state;
    float x[40], dy[40], w[20], dx[40], dw[20] = {0};
    for (int i = 0; i < 40; i++) x[i] = dy[i] = 1;
    for (int i = 0; i < 20; i++) w[i] = 1;
    x[25] = NAN;
    run_norm_grad(&(norm_grad){x, dy, dx, 20, 20, 20, 2, 20, w, 1e-5f, 0, 0, dw}, 1);
    for (int i = 0; i < 20; i++) assert_true(isfinite(dx[i]) && isnan(dx[20 + i]) && isnan(dw[i]));
}

/* ---- RoPE ---- */

/* Turning is orthogonal: the gradient turns back. (R x) . dy = x . (R^T dy) for every x. */
static void check_rope(rng *r) {
    enum { TOKENS = 9, HEADS = 3, DIM = 40 };
    for (int pairs = 0; pairs <= 1; pairs++) {
        rope_params p = {(rope_pairs)pairs, 36, 10000, 1, NULL};
        size_t n = TOKENS * HEADS * DIM;
        float *x = random_floats(r, n, 1), *dy = random_floats(r, n, 1);
        float *turned = copy_floats(x, n), *back = copy_floats(dy, n),
              *expected = copy_floats(dy, n);
        float *table = floats_of(rope_table_floats(&p, TOKENS), 0);
        rope_table(&p, 1000, TOKENS, table);
        rope_rows rows = {turned, TOKENS, HEADS * DIM, HEADS, DIM, 36, p.pairs, table, 0};
        rope_apply(&rows, 2);
        rows.x = back, rows.back = 1;
        rope_apply(&rows, 2);
        rows.x = expected;
        rope_apply_ref(&rows, &p, 1000);
        assert_close("rope back", back, expected, n, 0, 1e-6);
        assert_true(fabs(dot(turned, dy, n) - dot(x, back, n)) < 1e-4);
        rows.x = turned;
        rope_apply(&rows, 1);
        assert_close("rope there and back", turned, x, n, 0, 1e-6);
        free(x), free(dy), free(turned), free(back), free(expected), free(table);
    }
}

static void the_gradient_of_a_turn_is_the_turn_back(void **state) {
    (void)state;
    on_every_isa(check_rope);
}

/* ---- gates ---- */

static const mlp_oai OAI = {1.702f, 7};

typedef struct gates {
    size_t n;
    float *gate, *up, *dy, *dgate, *dup, *expected_gate, *expected_up;
} gates;

static gates random_gates(rng *r, size_t n) {
    gates g = {.n = n};
    g.gate = random_floats(r, n, 6), g.up = random_floats(r, n, 6), g.dy = random_floats(r, n, 1);
    for (size_t i = 0; i < n; i += 5) g.gate[i] = OAI.limit;
    for (size_t i = 0; i < n; i += 7) g.up[i] = i % 2 ? OAI.limit : -OAI.limit;
    g.dgate = floats_of(n, 9), g.dup = floats_of(n, 9);
    g.expected_gate = floats_of(n, 9), g.expected_up = floats_of(n, 9);
    return g;
}

static void free_gates(gates *g) {
    free(g->gate), free(g->up), free(g->dy), free(g->dgate), free(g->dup);
    free(g->expected_gate), free(g->expected_up);
}

/* Within 2e-6 of the products that the sums are made of, and what rounding the exponent does. */
static void compare_gates(const gates *g) {
    for (size_t i = 0; i < g->n; i++) {
        double size = fabs((double)g->dy[i]) * (1 + fabs((double)g->up[i]));
        double steep = 1 + fabs((double)g->gate[i]);
        assert_close("dgate", &g->dgate[i], &g->expected_gate[i], 1, 0, 2e-6 * size);
        assert_close("dup", &g->dup[i], &g->expected_up[i], 1, 1e-6 + 2e-7 * steep, 1e-36);
    }
}

static void check_gates(rng *r) {
    const size_t sizes[] = {1, 15, 16, 17, 1536, 40001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        gates g = random_gates(r, sizes[i]);
        int64_t n = (int64_t)g.n;
        mlp_swiglu_grad(g.gate, g.up, g.dy, g.dgate, g.dup, n, 2);
        mlp_swiglu_grad_ref(g.gate, g.up, g.dy, g.expected_gate, g.expected_up, n);
        compare_gates(&g);
        mlp_swiglu_oai_grad(&OAI, g.gate, g.up, g.dy, g.dgate, g.dup, n, 2);
        mlp_swiglu_oai_grad_ref(&OAI, g.gate, g.up, g.dy, g.expected_gate, g.expected_up, n);
        compare_gates(&g);
        for (size_t j = 0; j < g.n; j++) {
            if (g.gate[j] > OAI.limit) assert_true(g.dgate[j] == 0);
            if (fabsf(g.up[j]) > OAI.limit) assert_true(g.dup[j] == 0);
            if (fabsf(g.up[j]) == OAI.limit) assert_true(g.dup[j] != 0);
        }
        mlp_swiglu_oai_grad(&OAI, g.gate, g.up, g.dy, g.gate, g.up, n, 1); /* in place */
        assert_memory_equal(g.gate, g.dgate, g.n * sizeof *g.gate);
        assert_memory_equal(g.up, g.dup, g.n * sizeof *g.up);
        free_gates(&g);
    }
    float gate[3] = {NAN, 1, 1}, up[3] = {1, NAN, 1}, dy[3] = {1, 1, NAN}, dgate[3], dup[3];
    mlp_swiglu_oai_grad(&OAI, gate, up, dy, dgate, dup, 3, 1);
    for (int i = 0; i < 3; i++) assert_true(isnan(dgate[i]));
    assert_true(isnan(dup[0]) && isnan(dup[2]));
    mlp_swiglu_grad(gate, up, dy, dgate, dup, 3, 1);
    for (int i = 0; i < 3; i++) assert_true(isnan(dgate[i]));
    float far[2] = {-1000, 90};
    mlp_swiglu_grad(far, far, (float[]){1, 1}, dgate, dup, 2, 1);
    assert_true(fabsf(dgate[0]) < 1e-30f && dgate[1] == 90 && dup[1] == 90);
}

static void gradients_of_gates_are_those_of_the_definition(void **state) {
    (void)state;
    on_every_isa(check_gates);
}

typedef struct gate_point {
    float gate, up;
    bool oai;
} gate_point;

static double loss_of_gate(void *data) {
    gate_point *p = data;
    float y;
    if (p->oai)
        mlp_swiglu_oai_ref(&OAI, &p->gate, &p->up, &y, 1);
    else
        mlp_swiglu_ref(&p->gate, &p->up, &y, 1);
    return y;
}

static void the_gradient_of_a_gate_agrees_with_differences(void **state) {
    (void)state;
    for (int oai = 0; oai <= 1; oai++)
        for (float gate = -9.4f; gate < 10; gate += 0.75f)
            for (float up = -9.4f; up < 10; up += 0.75f) {
                gate_point p = {gate, up, oai};
                float dgate, dup, one = 1;
                if (oai)
                    mlp_swiglu_oai_grad_ref(&OAI, &gate, &up, &one, &dgate, &dup, 1);
                else
                    mlp_swiglu_grad_ref(&gate, &up, &one, &dgate, &dup, 1);
                assert_true(fabs(slope_of(loss_of_gate, &p, &p.gate) - dgate) < 2e-3);
                assert_true(fabs(slope_of(loss_of_gate, &p, &p.up) - dup) < 1e-3);
            }
}

/* ---- embedding ---- */

static void embeddings_and_their_gradients_know_their_rows(void **state) {
    (void)state;
    rng r = rng_seed(53);
    enum { VOCAB = 13, TOKENS = 200 };
    const int64_t widths[] = {1, 63, 64, 65, 200};
    for (size_t k = 0; k < sizeof widths / sizeof *widths; k++) {
        size_t n = (size_t)widths[k];
        float *table = random_floats(&r, VOCAB * n, 1), *y = floats_of(TOKENS * n, 0);
        float *dy = random_floats(&r, TOKENS * n, 1), *found = copy_floats(table, VOCAB * n);
        int32_t ids[TOKENS];
        for (int t = 0; t < TOKENS; t++) ids[t] = (int32_t)rng_below(&r, VOCAB - 1); /* 12: none */
        embed_rows(table, ids, TOKENS, widths[k], y, 2);
        for (int t = 0; t < TOKENS; t++)
            assert_memory_equal(y + (size_t)t * n, table + (size_t)ids[t] * n, n * sizeof *y);
        embed_grad(dy, ids, TOKENS, widths[k], found, 3);
        for (int v = 0; v < VOCAB; v++)
            for (size_t c = 0; c < n; c++) {
                float sum = table[(size_t)v * n + c]; /* in the order of the text, to the bit */
                for (int t = 0; t < TOKENS; t++)
                    if (ids[t] == v) sum += dy[(size_t)t * n + c];
                assert_true(found[(size_t)v * n + c] == sum);
            }
        free(table), free(y), free(dy), free(found);
    }
}

/* ---- vectors ---- */

static void vectors_are_added_scaled_and_measured(void **state) {
    (void)state;
    rng r = rng_seed(54);
    const size_t sizes[] = {0, 1, 63, 64, 65, 1000, 200001};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t n = sizes[k];
        float *x = random_floats(&r, n, 3), *y = random_floats(&r, n, 3), *z = copy_floats(y, n);
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
        double found = vector_sum_squares(x, (int64_t)n, 1);
        assert_true(fabs(found - sum) <= 1e-12 * sum);
        assert_true(vector_sum_squares(x, (int64_t)n, 3) == found);
        vector_add(y, x, (int64_t)n, 2);
        vector_scale(x, 0.5f, (int64_t)n, 2);
        for (size_t i = 0; i < n; i++) assert_true(y[i] == z[i] + 2 * x[i]);
        if (n > 0) {
            x[n / 2] = NAN;
            assert_true(isnan(vector_sum_squares(x, (int64_t)n, 2)));
            for (size_t i = 0; i < n; i++) x[i] = 1e30f; /* squares beyond f32 */
            assert_true(isfinite(vector_sum_squares(x, (int64_t)n, 2)));
        }
        free(x), free(y), free(z);
    }
}

/* ---- threads ---- */

typedef struct results {
    float *dx, *dw, *dgate, *dup, *dtable;
} results;

enum { ROWS = 1100, N = 192, VOCAB = 50 };

static results run_all(int n_threads) {
    rng r = rng_seed(55);
    size_t all = ROWS * N;
    float *x = random_floats(&r, all, 1), *dy = random_floats(&r, all, 1);
    float *w = random_floats(&r, N, 1);
    int32_t ids[ROWS];
    for (int i = 0; i < ROWS; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
    results out = {floats_of(all, 0), floats_of(N, 0), floats_of(all, 0), floats_of(all, 0),
                   floats_of(VOCAB * N, 0)};
    run_norm_grad(&(norm_grad){x, dy, out.dx, N, N, N, ROWS, N, w, 1e-5f, 1, 1, out.dw}, n_threads);
    mlp_swiglu_oai_grad(&OAI, x, dy, dy, out.dgate, out.dup, ROWS * N, n_threads);
    embed_grad(dy, ids, ROWS, N, out.dtable, n_threads);
    free(x), free(dy), free(w);
    return out;
}

static void free_results(results *r) {
    free(r->dx), free(r->dw), free(r->dgate), free(r->dup), free(r->dtable);
}

static void check_threads(rng *r) {
    (void)r;
    results one = run_all(1);
    for (int n_threads = 2; n_threads <= 3; n_threads++) {
        results many = run_all(n_threads);
        size_t all = ROWS * N * sizeof(float);
        assert_memory_equal(one.dx, many.dx, all);
        assert_memory_equal(one.dw, many.dw, N * sizeof(float));
        assert_memory_equal(one.dgate, many.dgate, all);
        assert_memory_equal(one.dup, many.dup, all);
        assert_memory_equal(one.dtable, many.dtable, VOCAB * N * sizeof(float));
        free_results(&many);
    }
    free_results(&one);
}

static void the_number_of_threads_changes_no_bit(void **state) {
    (void)state;
    on_every_isa(check_threads);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_norms_are_those_of_the_definition),
        cmocka_unit_test(the_gradient_of_a_norm_agrees_with_differences),
        cmocka_unit_test(nan_in_a_row_stays_in_its_dx_and_shows_in_dw),
        cmocka_unit_test(the_gradient_of_a_turn_is_the_turn_back),
        cmocka_unit_test(gradients_of_gates_are_those_of_the_definition),
        cmocka_unit_test(the_gradient_of_a_gate_agrees_with_differences),
        cmocka_unit_test(embeddings_and_their_gradients_know_their_rows),
        cmocka_unit_test(vectors_are_added_scaled_and_measured),
        cmocka_unit_test(the_number_of_threads_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
