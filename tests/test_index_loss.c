/* test_index_loss.c: the index loss and its gradient on every instruction set, against the truth in
 * double, over all supports; that truth against finite differences, and against PyTorch. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn/attend.h"
#include "attn/index_loss.h"
#include "support/attn_case.h"
#include "support/golden.h"
#include "support/numbers.h"
#include "support/scarce.h"

/* ---- helpers ---- */

static const char *const SUPPORTS[] = {"visible", "selected", "far", "far by mass"};

/* A case with the main branch's lse over the support, and everything the loss reads and writes. */
typedef struct loss_case {
    attn_case c;
    msa_support support;
    int32_t *ids;
    msa_selection selection;
    float *lse; /* NULL: to be computed */
    int32_t *rows;
    int64_t n_rows;
    size_t n_q, n_k; /* floats of dqi and dki */
    double *kl, *true_kl, *true_dqi, *true_dki;
    float *dqi, *dki;
} loss_case;

static void main_lse(loss_case *g) {
    const msa_shape *s = &g->c.shape;
    size_t rows = (size_t)(g->c.total_q * s->n_q_heads);
    float *out = new_array(rows * (size_t)s->head_dim, sizeof *out);
    msa_plan *plan = NULL;
    msa_error err;
    g->lse = new_array(rows, sizeof(float));
    msa_attn_args args = {.q = g->c.q, .k = g->c.k_lane, .v = g->c.v_lane, .out = out};
    args.lse = g->lse, args.selection = g->ids ? &g->selection : NULL;
    if (g->ids) {
        assert_ok(msa_sparse_plan(&plan, s, &g->c.batch, NULL, &err), &err);
        assert_ok(msa_sparse_run(plan, &args, &err), &err);
    } else {
        assert_ok(msa_dense_plan(&plan, s, &g->c.batch, NULL, &err), &err);
        assert_ok(msa_dense_run(plan, &args, &err), &err);
    }
    msa_plan_free(plan);
    free(out);
}

static msa_index_loss_args args_of(const loss_case *g) {
    return (msa_index_loss_args){.q = g->c.q,
                                 .k = g->c.k_lane,
                                 .qi = g->c.qi,
                                 .ki = g->c.ki_lane,
                                 .lse = g->lse,
                                 .selection = g->ids ? &g->selection : NULL,
                                 .rows = g->rows,
                                 .n_rows = g->n_rows,
                                 .loss_scale = 0.5f,
                                 .kl = g->kl,
                                 .dqi = g->dqi,
                                 .dki = g->dki};
}

static void take_truth(loss_case *g) {
    msa_index_loss_args args = args_of(g);
    memset(g->true_dqi, 0, g->n_q * sizeof(double));
    memset(g->true_dki, 0, g->n_k * sizeof(double));
    index_loss_ref(&g->c.shape, &g->c.batch, g->support, &args, g->true_kl, g->true_dqi,
                   g->true_dki);
}

/* In place: the batch points into the case. */
static void loss_case_make(loss_case *g, msa_shape shape, int n, const int *q_len,
                           const int *kv_len, msa_dtype dtype, msa_support support, uint64_t seed) {
    *g = (loss_case){.c = case_make(shape, n, q_len, kv_len, seed, false), .support = support};
    case_lay_out(&g->c, CASE_RAGGED, dtype, 1);
    if (support == MSA_SUPPORT_SELECTED) g->ids = case_random_lists(&g->c, seed + 1, false);
    g->selection = (msa_selection){g->ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    g->n_q = (size_t)(g->c.total_q * shape.n_index_heads * shape.index_dim);
    g->n_k = (size_t)(g->c.total_k * shape.n_index_keys * shape.index_dim);
    g->dqi = new_array(g->n_q, sizeof(float));
    g->dki = new_array(g->n_k, sizeof(float));
    g->true_dqi = new_array(g->n_q, sizeof(double));
    g->true_dki = new_array(g->n_k, sizeof(double));
    g->kl = new_array((size_t)shape.n_kv_heads, sizeof(double));
    g->true_kl = new_array((size_t)shape.n_kv_heads, sizeof(double));
    if (support != MSA_SUPPORT_FAR) main_lse(g);
}

static void loss_case_free(loss_case *g) {
    void *const arrays[] = {g->ids,     g->lse,      g->rows,     g->dqi, g->dki,
                            g->true_kl, g->true_dqi, g->true_dki, g->kl};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
    case_free(&g->c);
}

/* Runs into dqi, dki, kl, which are NaN before: what is not written is found. */
static void loss_run(loss_case *g, const msa_plan_options *options) {
    msa_error err;
    msa_plan *plan = NULL;
    memset(g->dqi, 0xff, g->n_q * sizeof(float));
    memset(g->dki, 0xff, g->n_k * sizeof(float));
    memset(g->kl, 0xff, (size_t)g->c.shape.n_kv_heads * sizeof(double));
    msa_index_loss_args args = args_of(g);
    assert_ok(msa_index_loss_plan(&plan, &g->c.shape, &g->c.batch, g->support, options, &err),
              &err);
    assert_ok(msa_index_loss_run(plan, &args, &err), &err);
    msa_plan_free(plan);
}

/* In units of the greatest element. */
static void assert_true_to(const float *found, const double *truth, size_t n, const char *name,
                           const char *what) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(truth[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs(found[i] - truth[i]) <= 4e-6 * most + 1e-7))
            fail_msg("%s: %s[%zu] is %g, truth %g", what, name, i, (double)found[i], truth[i]);
}

static void assert_loss(const loss_case *g, const char *what) {
    for (int32_t i = 0; i < g->c.shape.n_kv_heads; i++)
        if (!(fabs(g->kl[i] - g->true_kl[i]) <= 4e-6 * (1 + fabs(g->true_kl[i]))))
            fail_msg("%s: kl[%d] is %.9g, truth %.9g", what, i, g->kl[i], g->true_kl[i]);
    assert_true_to(g->dqi, g->true_dqi, g->n_q, "dqi", what);
    assert_true_to(g->dki, g->true_dki, g->n_k, "dki", what);
}

static msa_shape shape_of(int hq, int hkv, int d, int di, int block, int topk) {
    return (msa_shape){.n_q_heads = hq,
                       .n_kv_heads = hkv,
                       .head_dim = d,
                       .n_index_heads = hkv,
                       .n_index_keys = 1,
                       .index_dim = di,
                       .block = block,
                       .topk = topk,
                       .local = 1};
}

/* ---- every variant against the truth ---- */

static const struct {
    int hq, hkv, d, di, hik, block, topk, local, init, n;
    int q_len[6], kv_len[6];
} CASES[] = {
    {4, 2, 16, 8, 1, 16, 3, 1, 1, 5, {1, 16, 33, 0, 15}, {1, 16, 80, 7, 15}},
    {6, 2, 64, 32, 1, 32, 4, 2, 1, 3, {31, 32, 33}, {31, 32, 33}},
    {6, 2, 64, 16, 2, 32, 4, 1, 0, 3, {127, 128, 129}, {127, 128, 129}},
    {16, 1, 128, 128, 1, 128, 2, 1, 0, 2, {20, 3}, {300, 257}},
    {3, 3, 24, 40, 1, 16, 5, 0, 0, 2, {40, 9}, {150, 40}}, /* nothing forced */
    {14, 2, 40, 24, 1, 64, 2, 1, 1, 2, {70, 2}, {200, 129}},
    {4, 2, 64, 256, 1, 256, 1, 1, 0, 2, {3, 60}, {600, 260}},
    {40, 1, 16, 16, 1, 16, 2, 1, 0, 1, {3}, {40}},
};

static void check_case(int i, msa_support support) {
    msa_shape shape =
        shape_of(CASES[i].hq, CASES[i].hkv, CASES[i].d, CASES[i].di, CASES[i].block, CASES[i].topk);
    shape.n_index_keys = CASES[i].hik, shape.local = CASES[i].local, shape.init = CASES[i].init;
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    int q_len[6];
    for (int r = 0; r < CASES[i].n; r++)
        q_len[r] = case_queries(CASES[i].q_len[r], CASES[i].hq / CASES[i].hkv);
    loss_case g;
    loss_case_make(&g, shape, CASES[i].n, q_len, CASES[i].kv_len, (msa_dtype)(i % CASE_FORMATS),
                   support, (uint64_t)i);
    take_truth(&g);
    float *lse = g.lse;
    for (int isa = 0; isa < n_isas; isa++)
        for (int given = support == MSA_SUPPORT_FAR_MASS; given <= (support != MSA_SUPPORT_FAR);
             given++) {
            char what[128];
            snprintf(what, sizeof what, "%s %s case %d, lse %s", msa_isa_name(isas[isa]),
                     SUPPORTS[support], i, given ? "given" : "computed");
            assert_ok(msa_isa_use(isas[isa], NULL), NULL);
            g.lse = given ? lse : NULL;
            loss_run(&g, &(msa_plan_options){.n_splits = given ? 0 : 3});
            assert_loss(&g, what);
        }
    g.lse = lse;
    loss_case_free(&g);
}

static void every_variant_is_near_the_truth(void **state) {
    (void)state;
    int n = (int)(sizeof CASES / sizeof *CASES);
    for (int i = 0; i < n; i++)
        for (int support = 0; support <= MSA_SUPPORT_FAR_MASS; support++)
            check_case(i, (msa_support)support);
}

static void chunks_add_up(void **state) {
    (void)state;
    if (test_brief()) return;
    for (int support = 0; support <= MSA_SUPPORT_FAR_MASS; support++) {
        loss_case g;
        loss_case_make(&g, shape_of(2, 1, 8, 8, 16, 4), 3, (int[]){700, 3, 600},
                       (int[]){700, 10, 700}, MSA_F32, (msa_support)support, 3);
        take_truth(&g);
        loss_run(&g, NULL);
        assert_loss(&g, SUPPORTS[support]);
        loss_case_free(&g);
    }
}

static void a_sample_of_rows_is_the_loss_of_those_rows(void **state) {
    (void)state;
    for (int support = 0; support <= MSA_SUPPORT_FAR_MASS; support++) {
        loss_case g;
        loss_case_make(&g, shape_of(4, 2, 16, 16, 16, 3), 3, (int[]){50, 3, 70},
                       (int[]){50, 40, 70}, MSA_F32, (msa_support)support, 3);
        g.rows = new_array(123, sizeof *g.rows);
        for (int32_t t = 2; t < 123; t += t % 7 + 1)
            if (t < 50 || t > 52) g.rows[g.n_rows++] = t; /* one request has none */
        take_truth(&g);
        loss_run(&g, NULL);
        assert_loss(&g, SUPPORTS[support]);
        g.n_rows = 0;
        loss_run(&g, NULL);
        for (size_t i = 0; i < g.n_q; i++) assert_true(g.dqi[i] == 0);
        for (size_t i = 0; i < g.n_k; i++) assert_true(g.dki[i] == 0);
        assert_true(g.kl[0] == 0 && g.kl[1] == 0);
        loss_case_free(&g);
    }
}

static void the_loss_alone_is_the_same_loss(void **state) {
    (void)state;
    loss_case g;
    loss_case_make(&g, shape_of(4, 2, 16, 16, 16, 3), 2, (int[]){50, 70}, (int[]){50, 90}, MSA_BF16,
                   MSA_SUPPORT_FAR, 3);
    loss_run(&g, NULL);
    double kl[2] = {g.kl[0], g.kl[1]};
    float *dqi = g.dqi, *dki = g.dki;
    msa_plan *plan = NULL;
    msa_error err;
    g.dqi = g.dki = NULL;
    msa_index_loss_args args = args_of(&g);
    assert_ok(msa_index_loss_plan(&plan, &g.c.shape, &g.c.batch, g.support, NULL, &err), &err);
    assert_ok(msa_index_loss_run(plan, &args, &err), &err);
    assert_memory_equal(kl, g.kl, sizeof kl);
    msa_plan_free(plan);
    g.dqi = dqi, g.dki = dki;
    loss_case_free(&g);
}

/* ---- the truth against finite differences ---- */

static double loss_of(void *data) {
    const loss_case *g = data;
    double kl[8], sum = 0, *dqi = new_array(g->n_q, sizeof *dqi);
    double *dki = new_array(g->n_k, sizeof *dki);
    msa_index_loss_args args = args_of(g);
    index_loss_ref(&g->c.shape, &g->c.batch, g->support, &args, kl, dqi, dki);
    for (int32_t i = 0; i < g->c.shape.n_kv_heads; i++) sum += args.loss_scale * kl[i];
    free(dqi);
    free(dki);
    return sum;
}

static void the_reference_is_the_slope_of_the_loss(void **state) {
    (void)state;
    if (test_brief()) return; /* the same C everywhere */
    for (int support = 0; support <= MSA_SUPPORT_FAR_MASS; support++) {
        loss_case g;
        msa_shape shape = shape_of(4, 2, 8, 8, 16, 2);
        shape.init = 1;
        loss_case_make(&g, shape, 2, (int[]){9, 20}, (int[]){50, 40}, MSA_F32, (msa_support)support,
                       8);
        take_truth(&g);
        rng r = rng_seed(5);
        float *ki = g.c.stored[2];
        for (int i = 0; i < 40; i++) {
            size_t q = rng_below(&r, g.n_q), k = rng_below(&r, g.n_k);
            assert_slope(loss_of, &g, g.c.qi + q, g.true_dqi[q], "dqi");
            assert_slope(loss_of, &g, ki + k, g.true_dki[k], "dki");
        }
        loss_case_free(&g);
    }
}

/* ---- identities ---- */

static void assert_same_bits(const loss_case *a, const loss_case *b, const char *what) {
    size_t groups = (size_t)a->c.shape.n_kv_heads;
    if (memcmp(a->dqi, b->dqi, a->n_q * 4) || memcmp(a->dki, b->dki, a->n_k * 4) ||
        memcmp(a->kl, b->kl, groups * sizeof(double)))
        fail_msg("%s changed bits", what);
}

static void thread_counts_change_no_bit(void **state) {
    (void)state;
    static const int threads[] = {2, 3, 7};
    for (int support = 0; support <= MSA_SUPPORT_FAR_MASS; support++) {
        int q_len[] = {3, test_brief() ? 40 : 170, 1}, kv_len[] = {500, 180, 300};
        msa_shape shape = shape_of(8, 2, 64, 32, 32, 4);
        loss_case a, b;
        loss_case_make(&a, shape, 3, q_len, kv_len, MSA_BF16, (msa_support)support, 11);
        loss_case_make(&b, shape, 3, q_len, kv_len, MSA_BF16, (msa_support)support, 11);
        loss_run(&a, &(msa_plan_options){.n_threads = 1});
        for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
            loss_run(&b, &(msa_plan_options){.n_threads = threads[i]});
            assert_same_bits(&a, &b, "threads");
        }
        loss_case_free(&a);
        loss_case_free(&b);
    }
}

/* A student that is its teacher has nothing to learn: one head, the same vectors. */
static void a_perfect_student_has_no_loss(void **state) {
    (void)state;
    for (int support = 0; support <= MSA_SUPPORT_FAR_MASS; support++) {
        loss_case g;
        loss_case_make(&g, shape_of(1, 1, 32, 32, 16, 3), 1, (int[]){70}, (int[]){90}, MSA_F32,
                       (msa_support)support, 11);
        memcpy(g.c.qi, g.c.q, 70 * 32 * sizeof(float));
        memcpy(g.c.stored[2], g.c.stored[0], 90 * 32 * sizeof(float));
        loss_run(&g, NULL);
        assert_true(fabs(g.kl[0]) < 1e-4);
        for (size_t i = 0; i < g.n_q; i++) assert_true(fabsf(g.dqi[i]) < 2e-6f);
        for (size_t i = 0; i < g.n_k; i++) assert_true(fabsf(g.dki[i]) < 2e-5f);
        loss_case_free(&g);
    }
}

/* 2 trailing blocks of 16 and the first are forced: tokens 16 on are far from query 48 on. */
static void forced_blocks_and_those_who_see_nothing_else_are_left_alone(void **state) {
    (void)state;
    loss_case g;
    msa_shape shape = shape_of(4, 2, 16, 8, 16, 3);
    shape.local = 2, shape.init = 1;
    loss_case_make(&g, shape, 1, (int[]){90}, (int[]){90}, MSA_F32, MSA_SUPPORT_FAR, 6);
    loss_run(&g, NULL);
    for (size_t i = 0; i < g.n_q; i++) assert_true((g.dqi[i] != 0) == (i / 16 >= 48));
    for (size_t i = 0; i < g.n_k; i++) assert_true((g.dki[i] != 0) == (i / 8 >= 16 && i / 8 < 64));
    g.rows = new_array(48, sizeof *g.rows);
    for (; g.n_rows < 48; g.n_rows++) g.rows[g.n_rows] = (int32_t)g.n_rows;
    loss_run(&g, NULL);
    assert_true(g.kl[0] == 0 && g.kl[1] == 0);
    for (size_t i = 0; i < g.n_k; i++) assert_true(g.dki[i] == 0);
    loss_case_free(&g);
}

static void documents_do_not_meet(void **state) {
    (void)state;
    for (int support = 0; support <= MSA_SUPPORT_FAR_MASS; support++) {
        int len[] = {40, 37, 50};
        loss_case g;
        loss_case_make(&g, shape_of(4, 2, 16, 8, 16, 2), 3, len, len, MSA_F32, (msa_support)support,
                       6);
        if (support != MSA_SUPPORT_FAR_MASS) { /* which asks for it */
            free(g.lse);
            g.lse = NULL;
        }
        loss_run(&g, NULL);
        float *dqi = new_array(g.n_q, 4), *dki = new_array(g.n_k, 4);
        memcpy(dqi, g.dqi, g.n_q * 4);
        memcpy(dki, g.dki, g.n_k * 4);
        for (size_t i = 40 * 64; i < 77 * 64; i++) g.c.q[i] = NAN;
        for (size_t i = 40 * 16; i < 77 * 16; i++) g.c.qi[i] = NAN;
        for (size_t i = 40 * 32; i < 77 * 32; i++) ((float *)g.c.stored[0])[i] = NAN;
        for (size_t i = 40 * 8; i < 77 * 8; i++) ((float *)g.c.stored[2])[i] = NAN;
        loss_run(&g, NULL);
        assert_true(isnan(g.kl[0])); /* it shows where it is */
        assert_memory_equal(g.dqi, dqi, 40 * 16 * 4);
        assert_memory_equal(g.dki, dki, 40 * 8 * 4);
        assert_memory_equal(g.dqi + 77 * 16, dqi + 77 * 16, 50 * 16 * 4);
        assert_memory_equal(g.dki + 77 * 8, dki + 77 * 8, 50 * 8 * 4);
        free(dqi);
        free(dki);
        loss_case_free(&g);
    }
}

/* ---- PyTorch ---- */

static void check_golden(const golden *f, msa_support support) {
    msa_shape s =
        shape_of(golden_int(f, "q_heads"), golden_int(f, "kv_heads"), golden_int(f, "dim"),
                 golden_int(f, "index_dim"), golden_int(f, "block"), golden_int(f, "topk"));
    s.local = golden_int(f, "local"), s.init = golden_int(f, "init");
    int32_t n_docs = golden_int(f, "documents");
    const int32_t *cu = golden_i32(f, "cu_seqlens", (size_t)n_docs + 1);
    int64_t kv_len[16], T = cu[n_docs];
    for (int32_t r = 0; r < n_docs; r++) kv_len[r] = cu[r + 1] - cu[r];
    msa_batch batch = {.n_requests = n_docs, .cu_seqlens_q = cu, .kv_len = kv_len};
    size_t t = (size_t)T, n_ids = t * (size_t)(s.n_kv_heads * s.topk);
    size_t n_k = t * (size_t)(s.n_kv_heads * s.head_dim), n_ki = t * (size_t)s.index_dim;
    size_t n_qi = n_ki * (size_t)s.n_kv_heads, n_q = t * (size_t)(s.n_q_heads * s.head_dim);
    int32_t *ids = new_array(n_ids, sizeof *ids);
    memcpy(ids, golden_i32(f, "ids", n_ids), n_ids * sizeof *ids);
    msa_selection selection = {ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    double kl[8];
    float *dqi = new_array(n_qi, 4), *dki = new_array(n_ki, 4);
    msa_index_loss_args args = {.q = golden_f32(f, "q", n_q), .qi = golden_f32(f, "qi", n_qi)};
    args.k = msa_lane_ragged(golden_f32(f, "k", n_k), MSA_F32, s.n_kv_heads, s.head_dim);
    args.ki = msa_lane_ragged(golden_f32(f, "ki", n_ki), MSA_F32, 1, s.index_dim);
    args.selection = support == MSA_SUPPORT_SELECTED ? &selection : NULL;
    args.loss_scale = (float)golden_number(f, "loss_scale");
    args.kl = kl, args.dqi = dqi, args.dki = dki;
    msa_plan *plan = NULL;
    msa_error err;
    assert_ok(msa_index_loss_plan(&plan, &s, &batch, support, NULL, &err), &err);
    assert_ok(msa_index_loss_run(plan, &args, &err), &err);
    char name[32];
    snprintf(name, sizeof name, "%s_kl", SUPPORTS[support]);
    const float *want = golden_f32(f, name, (size_t)s.n_kv_heads);
    for (int32_t g = 0; g < s.n_kv_heads; g++)
        if (!(fabs(kl[g] - want[g]) <= 1e-5 * (1 + fabsf(want[g]))))
            fail_msg("%s[%d] is %g; PyTorch has %g", name, g, kl[g], (double)want[g]);
    for (int i = 0; i < 2; i++) {
        const float *found = i ? dki : dqi;
        snprintf(name, sizeof name, "%s_%s", SUPPORTS[support], i ? "dki" : "dqi");
        want = golden_f32(f, name, i ? n_ki : n_qi);
        for (size_t j = 0; j < (i ? n_ki : n_qi); j++)
            if (!(fabsf(found[j] - want[j]) <= 1e-6f * (1 + fabsf(want[j]))))
                fail_msg("%s[%zu] is %g; PyTorch has %g", name, j, (double)found[j],
                         (double)want[j]);
    }
    msa_plan_free(plan);
    free(ids);
    free(dqi);
    free(dki);
}

static void loss_and_gradients_are_those_of_pytorch(void **state) {
    (void)state;
    golden *f = golden_open("grad");
    for (int support = 0; support <= MSA_SUPPORT_FAR; support++)
        check_golden(f, (msa_support)support);
    golden_close(f);
}

/* ---- refusals ---- */

static void bad_arguments_are_named(void **state) {
    (void)state;
    loss_case g;
    loss_case_make(&g, shape_of(4, 2, 16, 16, 16, 2), 2, (int[]){20, 1}, (int[]){40, 30}, MSA_F32,
                   MSA_SUPPORT_SELECTED, 4);
    msa_error err;
    msa_plan *plan = NULL, *far = NULL;
    const msa_shape *s = &g.c.shape;
    const msa_batch *b = &g.c.batch;
    assert_fails(msa_index_loss_plan(&plan, s, b, (msa_support)4, NULL, &err), MSA_E_ARG, &err,
                 "support is 4");
    assert_ok(msa_index_loss_plan(&far, s, b, MSA_SUPPORT_FAR, NULL, &err), &err);
    assert_ok(msa_index_loss_plan(&plan, s, b, MSA_SUPPORT_SELECTED, NULL, &err), &err);
    msa_index_loss_args args = args_of(&g);
    assert_ok(msa_index_loss_run(plan, &args, &err), &err);
    assert_fails(msa_index_loss_run(far, &args, &err), MSA_E_ARG, &err, "far");
    args.selection = NULL, args.lse = NULL;
    assert_ok(msa_index_loss_plan(&far, s, b, MSA_SUPPORT_FAR_MASS, NULL, &err), &err);
    assert_fails(msa_index_loss_run(far, &args, &err), MSA_E_ARG, &err, "lse");
    args = args_of(&g);
    assert_fails(msa_index_loss_run(plan, NULL, &err), MSA_E_ARG, &err, "args");
    args.selection = NULL;
    assert_fails(msa_index_loss_run(plan, &args, &err), MSA_E_ARG, &err, "selection");
    args = args_of(&g), args.kl = NULL;
    assert_fails(msa_index_loss_run(plan, &args, &err), MSA_E_ARG, &err, "kl");
    args = args_of(&g), args.qi = NULL;
    assert_fails(msa_index_loss_run(plan, &args, &err), MSA_E_ARG, &err, "qi");
    args = args_of(&g), args.dki = NULL;
    assert_fails(msa_index_loss_run(plan, &args, &err), MSA_E_ARG, &err, "dki");
    args = args_of(&g), args.loss_scale = NAN;
    assert_fails(msa_index_loss_run(plan, &args, &err), MSA_E_ARG, &err, "loss_scale");
    args = args_of(&g), args.scale = INFINITY;
    assert_fails(msa_index_loss_run(plan, &args, &err), MSA_E_ARG, &err, "scale");
    args = args_of(&g), args.ki.dtype = (msa_dtype)7;
    assert_fails(msa_index_loss_run(plan, &args, &err), MSA_E_ARG, &err, "ki: dtype");
    int32_t rows[] = {4, 7, 7, 21};
    args = args_of(&g), args.rows = rows, args.n_rows = 4;
    assert_fails(msa_index_loss_run(plan, &args, &err), MSA_E_ARG, &err, "rows[2] is 7");
    rows[2] = 8;
    assert_fails(msa_index_loss_run(plan, &args, &err), MSA_E_ARG, &err, "rows[3] is 21");
    rows[0] = -1;
    assert_fails(msa_index_loss_run(plan, &args, &err), MSA_E_ARG, &err, "rows[0] is -1");
    args.n_rows = 22;
    assert_fails(msa_index_loss_run(plan, &args, &err), MSA_E_ARG, &err, "n_rows is 22");
    msa_plan_free(plan);
    msa_plan_free(far);
    loss_case_free(&g);
}

static void memory_may_run_out_while_planning(void **state) {
    (void)state;
    loss_case g;
    loss_case_make(&g, shape_of(4, 2, 16, 16, 16, 2), 2, (int[]){20, 1}, (int[]){40, 30}, MSA_F32,
                   MSA_SUPPORT_FAR, 4);
    long live = scarce_live();
    bool failed = true;
    for (long n = 0; failed; n++) {
        msa_plan *plan = NULL;
        msa_error err;
        scarce_begin(n);
        msa_status status =
            msa_index_loss_plan(&plan, &g.c.shape, &g.c.batch, g.support, NULL, &err);
        failed = scarce_end();
        assert_int_equal(status, failed ? MSA_E_NOMEM : MSA_OK);
        assert_true(failed || n >= 3);
        msa_plan_free(plan);
        assert_int_equal(scarce_live(), live);
    }
    loss_case_free(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_is_near_the_truth),
        cmocka_unit_test(chunks_add_up),
        cmocka_unit_test(a_sample_of_rows_is_the_loss_of_those_rows),
        cmocka_unit_test(the_loss_alone_is_the_same_loss),
        cmocka_unit_test(the_reference_is_the_slope_of_the_loss),
        cmocka_unit_test(thread_counts_change_no_bit),
        cmocka_unit_test(a_perfect_student_has_no_loss),
        cmocka_unit_test(forced_blocks_and_those_who_see_nothing_else_are_left_alone),
        cmocka_unit_test(documents_do_not_meet),
        cmocka_unit_test(loss_and_gradients_are_those_of_pytorch),
        cmocka_unit_test(bad_arguments_are_named),
        cmocka_unit_test(memory_may_run_out_while_planning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
