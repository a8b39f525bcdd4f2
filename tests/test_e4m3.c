/* test_e4m3.c: attention with probabilities through FP8 E4M3 and its straight-through gradient, on
 * every instruction set, against the truth in double. Where a score lies so near a turning point of
 * the rounding that f32 may fall on the other side, the truth says how much hangs on it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn/e4m3.h"
#include "base/fp8.h"
#include "support/attn_case.h"
#include "support/numbers.h"

/* A case, its lists (every third block and the own one; NULL: dense), results and truth. */
typedef struct e4m3_case {
    attn_case c;
    int32_t *ids;
    msa_selection selection;
    size_t rows, n_q, n_k;
    float *out, *lse, *d_out, *dq, *dk, *dv;
    double *true_out, *out_slack, *true_dq, *true_dk, *true_dv, *dv_slack;
} e4m3_case;

static void e4m3_case_make(e4m3_case *e, msa_shape s, int n, const int *q_len, const int *kv_len,
                           bool sparse) {
    *e = (e4m3_case){.c = case_make(s, n, q_len, kv_len, 7, false)};
    case_lay_out(&e->c, CASE_RAGGED, sparse ? MSA_BF16 : MSA_F32, 1);
    e->rows = (size_t)(e->c.total_q * s.n_q_heads);
    e->n_q = e->rows * (size_t)s.head_dim;
    e->n_k = (size_t)(e->c.total_k * s.n_kv_heads * s.head_dim);
    float **const floats[] = {&e->out, &e->d_out, &e->dq, &e->dk, &e->dv, &e->lse};
    const size_t sizes[] = {e->n_q, e->n_q, e->n_q, e->n_k, e->n_k, e->rows};
    for (int i = 0; i < 6; i++) *floats[i] = new_array(sizes[i], sizeof(float));
    double **const doubles[] = {&e->true_out, &e->out_slack, &e->true_dq,
                                &e->true_dk,  &e->true_dv,   &e->dv_slack};
    for (int i = 0; i < 6; i++) *doubles[i] = new_array(i < 3 ? e->n_q : e->n_k, sizeof(double));
    rng r = rng_seed(3);
    rng_fill_normal(&r, e->d_out, e->n_q, 1);
    if (!sparse) return;
    e->ids = new_array((size_t)(e->c.total_q * s.n_kv_heads * s.topk), sizeof *e->ids);
    e->selection = (msa_selection){e->ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    for (int32_t q = 0; q < n; q++)
        for (int64_t i = 0; i < (e->c.cu[q + 1] - e->c.cu[q]) * s.n_kv_heads; i++) {
            int32_t *row = e->ids + (e->c.cu[q] * s.n_kv_heads + i) * s.topk;
            int32_t own = (int32_t)((e->c.offset[q] + i / s.n_kv_heads) / s.block);
            for (int32_t x = 0; x < s.topk; x++) row[x] = own - 3 * x >= 0 ? own - 3 * x : -1;
        }
}

static void e4m3_case_free(e4m3_case *e) {
    void *const all[] = {e->ids,     e->out,     e->lse,      e->d_out,     e->dq,
                         e->dk,      e->dv,      e->true_out, e->out_slack, e->true_dq,
                         e->true_dk, e->true_dv, e->dv_slack};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    case_free(&e->c);
}

static msa_grad_args grad_args(const e4m3_case *e) {
    msa_grad_args a = {.q = e->c.q, .k = e->c.k_lane, .v = e->c.v_lane, .out = e->out};
    a.selection = e->ids ? &e->selection : NULL;
    a.lse = e->lse, a.d_out = e->d_out, a.dq = e->dq, a.dk = e->dk, a.dv = e->dv;
    return a;
}

static msa_attn_args attn_args(const e4m3_case *e) {
    msa_attn_args a = {.q = e->c.q, .k = e->c.k_lane, .v = e->c.v_lane, .out = e->out};
    a.selection = e->ids ? &e->selection : NULL;
    a.lse = e->lse;
    return a;
}

static void run_both(e4m3_case *e, int threads, int splits) {
    msa_plan_options o = {.n_threads = threads, .n_splits = splits, .p_e4m3 = 1};
    msa_plan *forward = NULL, *backward = NULL;
    msa_attn_args a = attn_args(e);
    msa_grad_args g = grad_args(e);
    msa_error err;
    const msa_shape *s = &e->c.shape;
    memset(e->out, 0xff, e->n_q * sizeof(float));
    if (e->ids) {
        assert_ok(msa_sparse_plan(&forward, s, &e->c.batch, &o, &err), &err);
        assert_ok(msa_sparse_run(forward, &a, &err), &err);
        assert_ok(msa_sparse_grad_plan(&backward, s, &e->c.batch, &o, &err), &err);
        assert_ok(msa_sparse_grad_run(backward, &g, &err), &err);
    } else {
        assert_ok(msa_dense_plan(&forward, s, &e->c.batch, &o, &err), &err);
        assert_ok(msa_dense_run(forward, &a, &err), &err);
        assert_ok(msa_dense_grad_plan(&backward, s, &e->c.batch, &o, &err), &err);
        assert_ok(msa_dense_grad_run(backward, &g, &err), &err);
    }
    msa_plan_free(forward);
    msa_plan_free(backward);
}

static void assert_near(const float *found, const double *truth, const double *slack, size_t n,
                        const char *name) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(truth[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs(found[i] - truth[i]) <= 4e-6 * most + 1e-7 + 1.01 * (slack ? slack[i] : 0)))
            fail_msg("%s[%zu] is %g, truth %g, slack %g", name, i, (double)found[i], truth[i],
                     slack ? slack[i] : 0);
}

static void take_truth(e4m3_case *e) {
    msa_attn_args a = attn_args(e);
    msa_grad_args g = grad_args(e);
    e4m3_ref(&e->c.shape, &e->c.batch, &a, e->true_out, e->out_slack);
    e4m3_grad_ref(&e->c.shape, &e->c.batch, &g, e->true_dq, e->true_dk, e->true_dv, e->dv_slack);
}

static msa_shape shape_of(int hq, int hkv, int d, int block) {
    return (msa_shape){hq, hkv, d, hkv, 1, 16, block, 3, 1, 0};
}

static void every_variant_is_near_the_truth(void **state) {
    (void)state;
    static const int dims[] = {16, 40, 128};
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    for (int i = 0; i < 6; i += test_brief() ? 3 : 1) {
        e4m3_case e;
        e4m3_case_make(&e, shape_of(6, 2, dims[i / 2], 16 << i / 2), 3, (int[]){33, 0, 20},
                       (int[]){70, 9, 20}, i % 2);
        take_truth(&e);
        for (int isa = 0; isa < n_isas; isa++) {
            assert_ok(msa_isa_use(isas[isa], NULL), NULL);
            for (int splits = 0; splits <= 2; splits += 2) {
                run_both(&e, 2, splits);
                assert_near(e.out, e.true_out, e.out_slack, e.n_q, "out");
                assert_near(e.dq, e.true_dq, NULL, e.n_q, "dq");
                assert_near(e.dk, e.true_dk, NULL, e.n_k, "dk");
                assert_near(e.dv, e.true_dv, e.dv_slack, e.n_k, "dv");
            }
        }
        e4m3_case_free(&e);
    }
}

/* The rounding is there (1/16 of a probability at most, so it shows), LSE does not know of it. */
static void it_differs_from_plain_attention_by_the_rounding_alone(void **state) {
    (void)state;
    e4m3_case e;
    e4m3_case_make(&e, shape_of(4, 2, 32, 16), 1, (int[]){60}, (int[]){60}, false);
    run_both(&e, 1, 0);
    float *lse = new_array(e.rows, 4), *out = new_array(e.n_q, 4);
    memcpy(lse, e.lse, e.rows * 4);
    memcpy(out, e.out, e.n_q * 4);
    msa_plan *plan = NULL;
    msa_attn_args a = attn_args(&e);
    msa_error err;
    assert_ok(msa_dense_plan(&plan, &e.c.shape, &e.c.batch, NULL, &err), &err);
    assert_ok(msa_dense_run(plan, &a, &err), &err);
    double worst = 0;
    for (size_t i = 0; i < e.n_q; i++) worst = larger_error(worst, (double)out[i] - e.out[i]);
    assert_true(worst > 1e-3 && worst < 0.2);
    for (size_t i = 0; i < e.rows; i++) assert_true(fabsf(lse[i] - e.lse[i]) < 4e-6f * 10);
    msa_plan_free(plan);
    free(lse);
    free(out);
    e4m3_case_free(&e);
}

static void thread_counts_change_no_bit(void **state) {
    (void)state;
    for (int sparse = 0; sparse <= 1; sparse++) {
        e4m3_case a, b;
        e4m3_case_make(&a, shape_of(4, 2, 32, 16), 2, (int[]){130, 5}, (int[]){150, 40}, sparse);
        e4m3_case_make(&b, shape_of(4, 2, 32, 16), 2, (int[]){130, 5}, (int[]){150, 40}, sparse);
        run_both(&a, 1, 0);
        for (int threads = 2; threads <= 7; threads += 5) {
            run_both(&b, threads, 0);
            assert_memory_equal(a.out, b.out, a.n_q * 4);
            assert_memory_equal(a.lse, b.lse, a.rows * 4);
            assert_memory_equal(a.dq, b.dq, a.n_q * 4);
            assert_memory_equal(a.dk, b.dk, a.n_k * 4);
            assert_memory_equal(a.dv, b.dv, a.n_k * 4);
        }
        e4m3_case_free(&a);
        e4m3_case_free(&b);
    }
}

static void rows_without_keys_stay_empty(void **state) {
    (void)state;
    e4m3_case e;
    e4m3_case_make(&e, shape_of(4, 2, 16, 16), 1, (int[]){8}, (int[]){40}, true);
    memset(e.ids, 0xff, 8 * 2 * 3 * sizeof *e.ids);
    run_both(&e, 1, 0);
    for (size_t i = 0; i < e.n_q; i++) assert_true(e.out[i] == 0 && e.dq[i] == 0);
    for (size_t i = 0; i < e.rows; i++) assert_true(e.lse[i] == -INFINITY);
    for (size_t i = 0; i < e.n_k; i++) assert_true(e.dk[i] == 0 && e.dv[i] == 0);
    e4m3_case_free(&e);
}

/* The last key and value are NaN: only the query that sees them takes notice. */
static void tokens_ahead_are_never_read_into_a_row(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    for (int i = 0; i < 2 * n_isas; i++) {
        e4m3_case e;
        e4m3_case_make(&e, shape_of(6, 2, 40, 16), 1, (int[]){60}, (int[]){60}, i % 2);
        size_t row = (size_t)(e.c.shape.n_kv_heads * e.c.shape.head_dim), last = 59 * row;
        for (size_t c = 0; c < row; c++) e.c.k[last + c] = e.c.v[last + c] = NAN;
        case_lay_out(&e.c, CASE_RAGGED, MSA_F32, 1);
        assert_ok(msa_isa_use(isas[i / 2], NULL), NULL);
        run_both(&e, 2, 0);
        size_t seen = e.n_q / 60 * 59;
        for (size_t c = 0; c < e.n_q; c++) assert_true(isnan(e.out[c]) == (c >= seen));
        for (size_t r = 0; r < e.rows; r++) assert_true(isnan(e.lse[r]) == (r >= e.rows / 60 * 59));
        e4m3_case_free(&e);
    }
}

static void what_it_cannot_do_is_refused(void **state) {
    (void)state;
    e4m3_case e;
    e4m3_case_make(&e, shape_of(4, 2, 16, 16), 1, (int[]){8}, (int[]){40}, false);
    msa_plan_options o = {.p_e4m3 = 1};
    msa_plan *plan = NULL;
    msa_error err;
    const msa_shape *s = &e.c.shape;
    msa_batch paged = e.c.batch;
    paged.page_table = e.c.pages;
    assert_fails(msa_dense_plan(&plan, s, &paged, &o, &err), MSA_E_UNSUPPORTED, &err, "contiguous");
    assert_fails(msa_decode_plan(&plan, s, &e.c.batch, &o, &err), MSA_E_UNSUPPORTED, &err,
                 "p_e4m3");
    o.p_e4m3 = 2;
    assert_fails(msa_dense_plan(&plan, s, &e.c.batch, &o, &err), MSA_E_ARG, &err, "p_e4m3 is 2");
    o.p_e4m3 = 1;
    assert_ok(msa_dense_plan(&plan, s, &e.c.batch, &o, &err), &err);
    msa_attn_args a = attn_args(&e);
    a.out = NULL;
    assert_fails(msa_dense_run(plan, &a, &err), MSA_E_ARG, &err, "out is NULL");
    msa_plan_free(plan);
    e4m3_case_free(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_is_near_the_truth),
        cmocka_unit_test(it_differs_from_plain_attention_by_the_rounding_alone),
        cmocka_unit_test(thread_counts_change_no_bit),
        cmocka_unit_test(rows_without_keys_stay_empty),
        cmocka_unit_test(tokens_ahead_are_never_read_into_a_row),
        cmocka_unit_test(what_it_cannot_do_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
