/* test_score.c: token and block scores: the same bits on every instruction set and in every layout,
 * and inside the error bound of the canonical sum. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn/score.h"
#include "base/half.h"
#include "support/attn_case.h"

typedef struct score_shape {
    int block, heads, keys, dim, topk, local;
} score_shape;

static const score_shape shapes[] = {
    {16, 1, 1, 8, 4, 1},    {32, 3, 3, 24, 4, 0},   {64, 2, 1, 64, 4, 2},
    {128, 4, 1, 128, 4, 1}, {256, 2, 2, 256, 4, 1}, {16, 5, 1, 40, 2, 0},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static msa_shape shape_of(const score_shape *s) {
    msa_shape shape = msa_shape_m3();
    shape.block = s->block, shape.n_kv_heads = shape.n_index_heads = s->heads;
    shape.n_q_heads = s->heads, shape.head_dim = 8;
    shape.n_index_keys = s->keys, shape.index_dim = s->dim;
    shape.topk = s->topk, shape.local = s->local;
    return shape;
}

/* A prefill that ends inside a block, a decode, an empty request and queries before the end. */
static attn_case make_case(const score_shape *s, bool integers) {
    int B = s->block, q_len[] = {case_queries(B + 3, 1), 1, 0, 2},
        kv_len[] = {B + 3, 2 * B + 1, 0, 3 * B};
    attn_case c = case_make(shape_of(s), 4, q_len, kv_len, 11, integers);
    c.offset[3] = B - 1;
    return c;
}

typedef struct score_table {
    int64_t n_blocks;
    size_t n;
    float *scores, *expected;
    double *exact;
} score_table;

static score_table new_table(const attn_case *c) {
    score_table t = {.n_blocks = c->max_kv / c->shape.block + 2};
    t.n = (size_t)(c->shape.n_index_heads * c->total_q * t.n_blocks);
    t.scores = malloc(t.n * sizeof *t.scores);
    t.expected = malloc(t.n * sizeof *t.expected);
    t.exact = malloc(t.n * sizeof *t.exact);
    if (!t.scores || !t.expected || !t.exact) fail_msg("no memory");
    return t;
}

static void free_table(score_table *t) {
    free(t->scores);
    free(t->expected);
    free(t->exact);
}

static void run_both(attn_case *c, score_table *t) {
    msa_error err;
    memset(t->scores, 0x5a, t->n * sizeof *t->scores);
    assert_ok(msa_score_run(&c->shape, &c->batch, c->qi, &c->ki_lane, t->n_blocks, t->scores, &err),
              &err);
    score_ref(&c->shape, &c->batch, c->qi, &c->ki_lane, t->n_blocks, t->expected, t->exact);
}

static void assert_tables_equal(const score_table *t, const char *what) {
    for (size_t i = 0; i < t->n; i++)
        if (f32_bits(t->scores[i]) != f32_bits(t->expected[i]))
            fail_msg("%s, %s: score %zu is %a; expected %a", what, msa_isa_name(msa_isa_current()),
                     i, (double)t->scores[i], (double)t->expected[i]);
}

static void scores_are_the_canonical_sum_to_the_bit(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    for (int s = 0; s < N_SHAPES; s++) {
        attn_case c = make_case(&shapes[s], false);
        score_table t = new_table(&c);
        for (int layout = 0; layout < CASE_LAYOUTS; layout++)
            for (int dtype = 0; dtype < CASE_FORMATS; dtype++) {
                if (test_brief() && dtype != (layout + s) % CASE_FORMATS) continue;
                case_lay_out(&c, (case_layout)layout, (msa_dtype)dtype, 5);
                for (int v = 0; v < n_isas; v++) {
                    assert_ok(msa_isa_use(isas[v], NULL), NULL);
                    run_both(&c, &t);
                    assert_tables_equal(&t, case_layout_name((case_layout)layout));
                }
            }
        free_table(&t);
        case_free(&c);
    }
}

/* fp8 with scales that queries may or may not take over, and queries that may not. */
static void scales_of_fp8_change_no_bit_of_the_sum(void **state) {
    (void)state;
    const float scales[] = {0, 1, 0.25f, 0x1p-8f, 0x1p-9f, 0x1p60f, 0.75f};
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    int q_len = 3, kv_len = 75;
    attn_case c = case_make(small_shape(4, 2, 16, 16, 2), 1, &q_len, &kv_len, 9, false);
    score_table t = new_table(&c);
    case_lay_out(&c, CASE_PANELS, MSA_FP8, 5);
    for (size_t i = 0; i < 2 * sizeof scales / sizeof *scales; i++) {
        c.ki_lane.scale = scales[i / 2];
        c.qi[0] = i % 2 ? 0x1p124f : 0x1p-130f; /* too large to be lifted, and subnormal */
        for (int v = 0; v < n_isas; v++) {
            assert_ok(msa_isa_use(isas[v], NULL), NULL);
            run_both(&c, &t);
            assert_tables_equal(&t, "fp8");
        }
    }
    free_table(&t);
    case_free(&c);
}

static void whole_numbers_score_exactly(void **state) {
    (void)state;
    for (int s = 0; s < N_SHAPES; s++) {
        attn_case c = make_case(&shapes[s], true);
        score_table t = new_table(&c);
        case_lay_out(&c, CASE_PANELS, MSA_BF16, 5);
        run_both(&c, &t);
        for (size_t i = 0; i < t.n; i++) assert_true((double)t.scores[i] == t.exact[i]);
        free_table(&t);
        case_free(&c);
    }
}

/* Normal inputs: |q . k| is at most di * 6 * 6, the rounding error of the sum di^2 * 36 * 2^-24 and
 * in fact far less; a wrong sum is off by about 1. */
static void scores_lie_within_their_bound_of_the_exact_sum(void **state) {
    (void)state;
    for (int s = 0; s < N_SHAPES; s++) {
        attn_case c = make_case(&shapes[s], false);
        score_table t = new_table(&c);
        case_lay_out(&c, CASE_RAGGED, MSA_F32, 5);
        run_both(&c, &t);
        double bound = 8.0 * c.shape.index_dim * c.shape.index_dim * 0x1p-24;
        int visible = 0;
        for (size_t i = 0; i < t.n; i++) {
            if (t.exact[i] == -INFINITY)
                assert_true(t.scores[i] == -INFINITY);
            else if (!(fabs(t.scores[i] - t.exact[i]) <= bound))
                fail_msg("score %zu is %g; exact %g", i, (double)t.scores[i], t.exact[i]);
            else
                visible++;
        }
        assert_true(visible > 20);
        free_table(&t);
        case_free(&c);
    }
}

/* Every count of rows and of tokens the kernel can meet, lanes behind the last token poisoned. */
static void the_kernel_takes_any_rows_and_tokens(void **state) {
    (void)state;
    enum { ROWS = 37, DIM = 24, B = 48 };
    static float q[ROWS * DIM], k[B * DIM], panels[B * DIM], scores[ROWS + 1];
    rng r = rng_seed(8);
    rng_fill_normal(&r, q, ROWS * DIM, 1);
    rng_fill_normal(&r, k, B * DIM, 1);
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    for (int v = 0; v < n_isas; v++) {
        assert_ok(msa_isa_use(isas[v], NULL), NULL);
        for (int n = 1; n <= B; n += test_brief() ? 5 : 1) {
            for (int j = 0; j < B; j++)
                for (int x = 0; x < DIM; x++)
                    panels[(j / 16 * DIM + x) * 16 + j % 16] = j < n ? k[j * DIM + x] : NAN;
            for (int rows = 1; rows <= ROWS; rows += test_brief() ? 4 : 1) {
                scores[rows] = 77;
                const stored_keys keys = {.data = panels, .dtype = MSA_F32, .scale = 1};
                attn_kernels_get()->score_block(q, DIM, rows, DIM, &keys, n, scores);
                assert_true(scores[rows] == 77);
                for (int i = 0; i < rows; i++) {
                    float best = -INFINITY;
                    for (int j = 0; j < n; j++) {
                        float s = 0;
                        for (int x = 0; x < DIM; x++) s = fmaf(q[i * DIM + x], k[j * DIM + x], s);
                        if (s > best) best = s;
                    }
                    assert_int_equal(f32_bits(scores[i]), f32_bits(best));
                }
            }
        }
    }
}

static void nan_products_count_as_minus_infinity(void **state) {
    (void)state;
    score_shape s = {16, 1, 1, 8, 4, 1};
    int q_len = 1, kv_len = 64;
    attn_case c = case_make(shape_of(&s), 1, &q_len, &kv_len, 3, true);
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    for (int x = 0; x < 8; x++) c.qi[x] = 1;
    for (int j = 0; j < 64; j++)
        for (int x = 0; x < 8; x++) c.ki[j * 8 + x] = x ? 0 : -5;
    c.ki[3 * 8] = NAN;                                     /* block 0: the others still count */
    for (int j = 16; j < 32; j++) c.ki[j * 8 + 7] = NAN;   /* block 1: nothing else */
    c.ki[40 * 8] = INFINITY, c.ki[40 * 8 + 1] = -INFINITY; /* block 2: inf - inf is NaN */
    c.ki[41 * 8] = INFINITY;                               /* and this is +inf */
    for (int j = 48; j < 64; j++) c.ki[j * 8] = -INFINITY;
    for (int v = 0; v < n_isas; v++)
        for (int layout = 0; layout < CASE_LAYOUTS; layout++) {
            float scores[4];
            assert_ok(msa_isa_use(isas[v], NULL), NULL);
            case_lay_out(&c, (case_layout)layout, MSA_F16, 2);
            assert_ok(msa_score_run(&c.shape, &c.batch, c.qi, &c.ki_lane, 4, scores, NULL), NULL);
            assert_true(scores[0] == -5);
            assert_true(scores[1] == -INFINITY);
            assert_true(scores[2] == INFINITY);
            assert_true(scores[3] == -INFINITY);
        }
    case_free(&c);
}

static void wrong_arguments_are_named(void **state) {
    (void)state;
    attn_case c = make_case(&shapes[0], true);
    score_table t = new_table(&c);
    case_lay_out(&c, CASE_PANELS, MSA_BF16, 1);
    msa_error err;
    msa_shape bad = c.shape;
    bad.index_dim = 12;
    assert_fails(msa_score_run(&bad, &c.batch, c.qi, &c.ki_lane, t.n_blocks, t.scores, &err),
                 MSA_E_ARG, &err, "index_dim");
    assert_fails(msa_score_run(&c.shape, NULL, c.qi, &c.ki_lane, t.n_blocks, t.scores, &err),
                 MSA_E_ARG, &err, "batch");
    assert_fails(msa_score_run(&c.shape, &c.batch, NULL, &c.ki_lane, t.n_blocks, t.scores, &err),
                 MSA_E_ARG, &err, "qi");
    assert_fails(msa_score_run(&c.shape, &c.batch, c.qi, NULL, t.n_blocks, t.scores, &err),
                 MSA_E_ARG, &err, "ki");
    assert_fails(msa_score_run(&c.shape, &c.batch, c.qi, &c.ki_lane, t.n_blocks, NULL, &err),
                 MSA_E_ARG, &err, "scores");
    assert_fails(msa_score_run(&c.shape, &c.batch, c.qi, &c.ki_lane, 2, t.scores, &err), MSA_E_ARG,
                 &err, "n_blocks");
    msa_lane lane = c.ki_lane;
    lane.dtype = (msa_dtype)9;
    assert_fails(msa_score_run(&c.shape, &c.batch, c.qi, &lane, t.n_blocks, t.scores, &err),
                 MSA_E_ARG, &err, "dtype");
    c.batch.page_table = NULL;
    assert_fails(msa_score_run(&c.shape, &c.batch, c.qi, &c.ki_lane, t.n_blocks, t.scores, &err),
                 MSA_E_ARG, &err, "page table");
    free_table(&t);
    case_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_the_canonical_sum_to_the_bit),
        cmocka_unit_test(scales_of_fp8_change_no_bit_of_the_sum),
        cmocka_unit_test(whole_numbers_score_exactly),
        cmocka_unit_test(scores_lie_within_their_bound_of_the_exact_sum),
        cmocka_unit_test(the_kernel_takes_any_rows_and_tokens),
        cmocka_unit_test(nan_products_count_as_minus_infinity),
        cmocka_unit_test(wrong_arguments_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
