/* test_grad.c: gradients of dense and sparse attention on every instruction set, against the truth
 * in double, and that truth against finite differences. The bound is that of the forward: a few
 * times the error of the same computation done naively in f32. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn/attend.h"
#include "attn/grad.h"
#include "support/attn_case.h"
#include "support/golden.h"
#include "support/numbers.h"
#include "support/scarce.h"

/* ---- helpers ---- */

/* A case with its forward results and everything a gradient reads and writes. */
typedef struct grad_case {
    attn_case c;
    int32_t *ids; /* NULL: dense */
    msa_selection selection;
    float *out, *lse, *d_out;
    size_t n_q, n_k; /* floats of dq; of dk and of dv */
    float *dq, *dk, *dv;
    double *true_dq, *true_dk, *true_dv;
} grad_case;

static msa_grad_args args_of(const grad_case *g) {
    return (msa_grad_args){.q = g->c.q,
                           .k = g->c.k_lane,
                           .v = g->c.v_lane,
                           .selection = g->ids ? &g->selection : NULL,
                           .out = g->out,
                           .lse = g->lse,
                           .d_out = g->d_out,
                           .dq = g->dq,
                           .dk = g->dk,
                           .dv = g->dv};
}

static void forward(grad_case *g) {
    msa_error err;
    msa_plan *plan = NULL;
    msa_attn_args args = {.q = g->c.q, .k = g->c.k_lane, .v = g->c.v_lane};
    args.out = g->out, args.lse = g->lse, args.selection = g->ids ? &g->selection : NULL;
    if (g->ids) {
        assert_ok(msa_sparse_plan(&plan, &g->c.shape, &g->c.batch, NULL, &err), &err);
        assert_ok(msa_sparse_run(plan, &args, &err), &err);
    } else {
        assert_ok(msa_dense_plan(&plan, &g->c.shape, &g->c.batch, NULL, &err), &err);
        assert_ok(msa_dense_run(plan, &args, &err), &err);
    }
    msa_plan_free(plan);
}

/* In place: the batch points into the case. */
static void grad_case_make(grad_case *g, msa_shape shape, int n, const int *q_len,
                           const int *kv_len, msa_dtype dtype, bool sparse, uint64_t seed) {
    *g = (grad_case){.c = case_make(shape, n, q_len, kv_len, seed, false)};
    case_lay_out(&g->c, CASE_RAGGED, dtype, 1);
    if (sparse) g->ids = case_random_lists(&g->c, seed + 1, false);
    g->selection = (msa_selection){g->ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    size_t rows = (size_t)(g->c.total_q * shape.n_q_heads);
    g->n_q = rows * (size_t)shape.head_dim;
    g->n_k = (size_t)(g->c.total_k * shape.n_kv_heads * shape.head_dim);
    g->out = new_array(g->n_q, sizeof(float));
    g->lse = new_array(rows, sizeof(float));
    g->d_out = new_array(g->n_q, sizeof(float));
    g->dq = new_array(g->n_q, sizeof(float));
    g->dk = new_array(g->n_k, sizeof(float));
    g->dv = new_array(g->n_k, sizeof(float));
    g->true_dq = new_array(g->n_q, sizeof(double));
    g->true_dk = new_array(g->n_k, sizeof(double));
    g->true_dv = new_array(g->n_k, sizeof(double));
    rng r = rng_seed(seed + 2);
    rng_fill_normal(&r, g->d_out, g->n_q, 1);
    forward(g);
}

static void take_truth(grad_case *g) {
    msa_grad_args args = args_of(g);
    grad_ref(&g->c.shape, &g->c.batch, &args, g->true_dq, g->true_dk, g->true_dv);
}

static void grad_case_free(grad_case *g) {
    void *const arrays[] = {g->ids, g->out, g->lse,     g->d_out,   g->dq,
                            g->dk,  g->dv,  g->true_dq, g->true_dk, g->true_dv};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
    case_free(&g->c);
}

/* Runs into dq, dk, dv, which are NaN before: what is not written is found. */
static void backward(grad_case *g, const msa_plan_options *options) {
    msa_error err;
    msa_plan *plan = NULL;
    memset(g->dq, 0xff, g->n_q * sizeof(float));
    memset(g->dk, 0xff, g->n_k * sizeof(float));
    memset(g->dv, 0xff, g->n_k * sizeof(float));
    msa_grad_args args = args_of(g);
    if (g->ids) {
        assert_ok(msa_sparse_grad_plan(&plan, &g->c.shape, &g->c.batch, options, &err), &err);
        assert_ok(msa_sparse_grad_run(plan, &args, &err), &err);
    } else {
        assert_ok(msa_dense_grad_plan(&plan, &g->c.shape, &g->c.batch, options, &err), &err);
        assert_ok(msa_dense_grad_run(plan, &args, &err), &err);
    }
    msa_plan_free(plan);
}

/* Against the truth, in units of the greatest element: sums of signed terms lose what they cancel,
 * not what they are. Where `terms` is 0 no term exists, and 0 is demanded exactly. */
static void assert_true_to(const float *found, const double *truth, const double *terms, size_t n,
                           const char *name, const char *what) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(truth[i]));
    for (size_t i = 0; i < n; i++) {
        double bound = terms && terms[i] == 0 ? 0 : 4e-6 * most + 1e-7;
        if (!(fabs(found[i] - truth[i]) <= bound))
            fail_msg("%s: %s[%zu] is %g, truth %g; bound %g", what, name, i, (double)found[i],
                     truth[i], bound);
    }
}

/* Against the truth of `t`; dv, a sum of P d_out, tells where there is any term. */
static void assert_gradients(const grad_case *g, const grad_case *t, const char *what) {
    assert_true_to(g->dq, t->true_dq, NULL, g->n_q, "dq", what);
    assert_true_to(g->dk, t->true_dk, t->true_dv, g->n_k, "dk", what);
    assert_true_to(g->dv, t->true_dv, t->true_dv, g->n_k, "dv", what);
}

/* ---- every variant against the truth ---- */

static const struct {
    int hq, hkv, d, block, topk, n;
    int q_len[6], kv_len[6];
} CASES[] = {
    {4, 2, 16, 16, 3, 5, {1, 16, 33, 0, 15}, {1, 16, 80, 7, 15}}, /* ragged, no query, one block */
    {6, 2, 64, 32, 4, 3, {31, 32, 33}, {31, 32, 33}},             /* around a block */
    {6, 2, 64, 32, 4, 3, {127, 128, 129}, {127, 128, 129}},       /* around k blocks */
    {16, 1, 128, 128, 2, 2, {20, 3}, {300, 257}},                 /* M3's group */
    {3, 3, 24, 16, 5, 2, {40, 9}, {150, 40}},                     /* G = 1, odd width */
    {14, 2, 40, 64, 2, 2, {70, 2}, {200, 129}},                   /* G = 7 */
    {10, 2, 256, 256, 1, 2, {3, 60}, {600, 260}},                 /* the largest width and block */
    {5, 1, 8, 16, 64, 2, {50, 11}, {300, 1100}},                  /* the least width, many blocks */
    {40, 1, 16, 16, 2, 1, {3}, {40}},                             /* a group larger than a call */
};

static void check_case(const msa_shape *shape, int i, msa_dtype dtype, bool sparse) {
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    int q_len[6];
    for (int r = 0; r < CASES[i].n; r++)
        q_len[r] = case_queries(CASES[i].q_len[r], CASES[i].hq / CASES[i].hkv);
    grad_case g;
    grad_case_make(&g, *shape, CASES[i].n, q_len, CASES[i].kv_len, dtype, sparse, (uint64_t)i);
    take_truth(&g);
    for (int isa = 0; isa < n_isas; isa++) {
        char what[128];
        snprintf(what, sizeof what, "%s %s %s case %d", msa_isa_name(isas[isa]),
                 msa_dtype_name(dtype), sparse ? "sparse" : "dense", i);
        assert_ok(msa_isa_use(isas[isa], NULL), NULL);
        forward(&g);
        for (int splits = 0; splits <= 3; splits += 3) {
            backward(&g, &(msa_plan_options){.n_splits = splits});
            assert_gradients(&g, &g, what);
        }
    }
    grad_case_free(&g);
}

static void every_variant_is_near_the_truth(void **state) {
    (void)state;
    int n = (int)(sizeof CASES / sizeof *CASES);
    for (int i = 0; i < n; i++) {
        msa_shape shape =
            small_shape(CASES[i].hq, CASES[i].hkv, CASES[i].d, CASES[i].block, CASES[i].topk);
        check_case(&shape, i, (msa_dtype)(i % CASE_FORMATS), false);
        check_case(&shape, i, (msa_dtype)((i + 3) % CASE_FORMATS), true);
    }
}

/* More queries than a chunk holds: partial sums of several chunks meet in dk and dv. */
static void chunks_add_up(void **state) {
    (void)state;
    if (test_brief()) return;
    int q_len[] = {700, 3, 900}, kv_len[] = {700, 10, 1000};
    for (int sparse = 0; sparse <= 1; sparse++) {
        grad_case g;
        grad_case_make(&g, small_shape(2, 1, 8, 16, 4), 3, q_len, kv_len, MSA_F32, sparse, 3);
        take_truth(&g);
        backward(&g, NULL);
        assert_gradients(&g, &g, "chunks");
        grad_case_free(&g);
    }
}

/* ---- the truth against finite differences ---- */

static double loss_of(void *data) {
    const grad_case *g = data;
    const msa_shape *s = &g->c.shape;
    size_t rows = (size_t)(g->c.total_q * s->n_q_heads);
    double *out = new_array(g->n_q, sizeof *out), *lse = new_array(rows, sizeof *lse), loss = 0;
    msa_attn_args args = {.q = g->c.q, .k = g->c.k_lane, .v = g->c.v_lane};
    args.selection = g->ids ? &g->selection : NULL;
    attend_ref(s, &g->c.batch, &args, out, lse, NULL);
    for (size_t i = 0; i < g->n_q; i++) loss += g->d_out[i] * out[i];
    free(out);
    free(lse);
    return loss;
}

static void the_reference_is_the_slope_of_the_loss(void **state) {
    (void)state;
    if (test_brief()) return; /* the same C everywhere */
    for (int sparse = 0; sparse <= 1; sparse++) {
        grad_case g;
        grad_case_make(&g, small_shape(4, 2, 8, 16, 2), 2, (int[]){9, 20}, (int[]){30, 50}, MSA_F32,
                       sparse, 8);
        take_truth(&g);
        rng r = rng_seed(5);
        float *k = g.c.stored[0], *v = g.c.stored[1];
        for (int i = 0; i < 60; i++) {
            size_t q = rng_below(&r, g.n_q), kv = rng_below(&r, g.n_k);
            assert_slope(loss_of, &g, g.c.q + q, g.true_dq[q], "dq");
            assert_slope(loss_of, &g, k + kv, g.true_dk[kv], "dk");
            assert_slope(loss_of, &g, v + kv, g.true_dv[kv], "dv");
        }
        grad_case_free(&g);
    }
}

/* ---- identities ---- */

static void assert_same_bits(const grad_case *a, const grad_case *b, const char *what) {
    if (memcmp(a->dq, b->dq, a->n_q * 4) || memcmp(a->dk, b->dk, a->n_k * 4) ||
        memcmp(a->dv, b->dv, a->n_k * 4))
        fail_msg("%s changed bits", what);
}

static void thread_counts_change_no_bit(void **state) {
    (void)state;
    static const int threads[] = {2, 3, 7};
    for (int sparse = 0; sparse <= 1; sparse++) {
        int q_len[] = {3, test_brief() ? 40 : 170, 1}, kv_len[] = {500, 180, 300};
        msa_shape shape = small_shape(8, 2, 64, 32, 4);
        grad_case a;
        grad_case_make(&a, shape, 3, q_len, kv_len, MSA_BF16, sparse, 11);
        grad_case b;
        grad_case_make(&b, shape, 3, q_len, kv_len, MSA_BF16, sparse, 11);
        backward(&a, &(msa_plan_options){.n_threads = 1});
        for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
            backward(&b, &(msa_plan_options){.n_threads = threads[i]});
            assert_same_bits(&a, &b, "threads");
        }
        grad_case_free(&a);
        grad_case_free(&b);
    }
}

static void lists_of_another_order_and_layout_give_the_same_bits(void **state) {
    (void)state;
    msa_shape shape = small_shape(4, 2, 32, 16, 4);
    grad_case a;
    grad_case_make(&a, shape, 2, (int[]){9, 14}, (int[]){200, 100}, MSA_F32, true, 2);
    grad_case b;
    grad_case_make(&b, shape, 2, (int[]){9, 14}, (int[]){200, 100}, MSA_F32, true, 2);
    int64_t T = a.c.total_q, H = 2, k = 4;
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t i = 0; i < k; i++)
                b.ids[(h * T + t) * k + i] = a.ids[(t * H + h) * k + k - 1 - i];
    b.selection = (msa_selection){b.ids, MSA_SCORE_DESC, MSA_HEAD_MAJOR};
    backward(&a, NULL);
    backward(&b, NULL);
    assert_same_bits(&a, &b, "another order and layout");
    grad_case_free(&a);
    grad_case_free(&b);
}

/* Full lists of a short text are dense attention: the same gradients, up to rounding. */
static void selecting_everything_is_dense(void **state) {
    (void)state;
    msa_shape shape = small_shape(4, 2, 32, 16, 6);
    grad_case g;
    grad_case_make(&g, shape, 1, (int[]){90}, (int[]){90}, MSA_F32, true, 4);
    grad_case dense;
    grad_case_make(&dense, shape, 1, (int[]){90}, (int[]){90}, MSA_F32, false, 4);
    for (int64_t i = 0; i < 90 * 2 * 6; i++)
        g.ids[i] = i % 6 <= i / 12 / 16 ? (int32_t)(i % 6) : -1;
    memcpy(g.d_out, dense.d_out, g.n_q * sizeof(float));
    take_truth(&dense);
    forward(&g);
    backward(&g, NULL);
    assert_gradients(&g, &dense, "everything selected");
    grad_case_free(&g);
    grad_case_free(&dense);
}

/* Documents of a packed batch know nothing of each other, not even through NaN. */
static void documents_do_not_meet(void **state) {
    (void)state;
    for (int sparse = 0; sparse <= 1; sparse++) {
        int len[] = {40, 37, 50};
        grad_case a;
        grad_case_make(&a, small_shape(4, 2, 16, 16, 2), 3, len, len, MSA_F32, sparse, 6);
        backward(&a, NULL);
        float *dq = new_array(a.n_q, 4), *dk = new_array(a.n_k, 4), *dv = new_array(a.n_k, 4);
        memcpy(dq, a.dq, a.n_q * 4);
        memcpy(dk, a.dk, a.n_k * 4);
        memcpy(dv, a.dv, a.n_k * 4);
        size_t q0 = 40 * 4 * 16, q1 = 77 * 4 * 16, k0 = 40 * 2 * 16, k1 = 77 * 2 * 16;
        for (size_t i = q0; i < q1; i++) a.c.q[i] = a.d_out[i] = NAN;
        for (size_t i = k0; i < k1; i++)
            ((float *)a.c.stored[0])[i] = ((float *)a.c.stored[1])[i] = NAN;
        backward(&a, NULL);
        assert_memory_equal(a.dq, dq, q0 * 4);
        assert_memory_equal(a.dk, dk, k0 * 4);
        assert_memory_equal(a.dv, dv, k0 * 4);
        assert_memory_equal(a.dq + q1, dq + q1, (a.n_q - q1) * 4);
        assert_memory_equal(a.dk + k1, dk + k1, (a.n_k - k1) * 4);
        assert_memory_equal(a.dv + k1, dv + k1, (a.n_k - k1) * 4);
        free(dq);
        free(dk);
        free(dv);
        grad_case_free(&a);
    }
}

/* Keys of another layout, texts with room between them, another scale: the same mathematics. */
static void strides_gaps_and_scales_are_honoured(void **state) {
    (void)state;
    enum { D = 16, H = 2, GAP = 5, T = 33 + 20 };
    int len[] = {33, 20};
    grad_case g;
    grad_case_make(&g, small_shape(4, H, D, 16, 2), 2, len, len, MSA_F32, false, 6);
    take_truth(&g);
    const float *k = g.c.stored[0], *v = g.c.stored[1];
    float *moved[2] = {new_array((T + 2 * GAP) * H * D, 4), new_array((T + 2 * GAP) * H * D, 4)};
    int64_t start[2] = {GAP, 33 + 2 * GAP}, stride_head = (T + 2 * GAP) * D;
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t c = 0; c < D; c++) {
                int64_t to = h * stride_head + (t + (t < 33 ? GAP : 2 * GAP)) * D + c;
                moved[0][to] = k[(t * H + h) * D + c] * 2; /* and half the scale */
                moved[1][to] = v[(t * H + h) * D + c];
            }
    size_t n_k = (T + 2 * GAP) * H * D;
    float *dk = new_array(n_k, 4), *dv = new_array(n_k, 4);
    memset(dk, 0xff, n_k * 4);
    memset(dv, 0xff, n_k * 4);
    msa_grad_args args = args_of(&g);
    args.k = (msa_lane){.data = moved[0], .stride_token = D, .stride_head = stride_head};
    args.v = (msa_lane){.data = moved[1], .stride_token = D, .stride_head = stride_head};
    args.scale = 0.125f, args.dk = dk, args.dv = dv;
    msa_batch batch = g.c.batch;
    batch.kv_start = start;
    msa_plan *plan = NULL;
    msa_error err;
    assert_ok(msa_dense_grad_plan(&plan, &g.c.shape, &batch, NULL, &err), &err);
    assert_ok(msa_dense_grad_run(plan, &args, &err), &err);
    assert_true_to(g.dq, g.true_dq, NULL, g.n_q, "dq", "moved");
    const int64_t row = H * D, first = 33 * row, second = 20 * row;
    for (size_t i = 0; i < g.n_k; i++) g.true_dk[i] /= 2;
    assert_true_to(dk + GAP * row, g.true_dk, NULL, (size_t)first, "dk", "first text");
    assert_true_to(dv + GAP * row, g.true_dv, NULL, (size_t)first, "dv", "first text");
    assert_true_to(dk + start[1] * row, g.true_dk + first, NULL, (size_t)second, "dk",
                   "second text");
    assert_true_to(dv + start[1] * row, g.true_dv + first, NULL, (size_t)second, "dv",
                   "second text");
    for (int64_t i = 0; i < GAP * row; i++) {
        assert_true(isnan(dk[i]) && isnan(dv[i])); /* of no text: left alone */
        assert_true(isnan(dk[(33 + GAP) * row + i]) && isnan(dv[(33 + GAP) * row + i]));
    }
    msa_plan_free(plan);
    void *const all[] = {moved[0], moved[1], dk, dv};
    for (int i = 0; i < 4; i++) free(all[i]);
    grad_case_free(&g);
}

static void queries_that_see_nothing_have_no_gradient(void **state) {
    (void)state;
    grad_case g;
    grad_case_make(&g, small_shape(2, 1, 16, 16, 2), 1, (int[]){5}, (int[]){50}, MSA_F16, true, 2);
    memset(g.ids, 0xff, 10 * sizeof *g.ids);
    forward(&g);
    backward(&g, NULL);
    for (size_t i = 0; i < g.n_q; i++) assert_true(g.dq[i] == 0);
    for (size_t i = 0; i < g.n_k; i++) assert_true(g.dk[i] == 0 && g.dv[i] == 0);
    grad_case_free(&g);
}

/* ---- PyTorch ---- */

static void check_golden(const golden *f, const char *kind) {
    msa_shape s = small_shape(golden_int(f, "q_heads"), golden_int(f, "kv_heads"),
                              golden_int(f, "dim"), golden_int(f, "block"), golden_int(f, "topk"));
    int32_t n_docs = golden_int(f, "documents");
    const int32_t *cu = golden_i32(f, "cu_seqlens", (size_t)n_docs + 1);
    int64_t kv_len[16], T = cu[n_docs];
    for (int32_t r = 0; r < n_docs; r++) kv_len[r] = cu[r + 1] - cu[r];
    msa_batch batch = {.n_requests = n_docs, .cu_seqlens_q = cu, .kv_len = kv_len};
    bool sparse = strcmp(kind, "sparse") == 0;
    size_t n_q = (size_t)(T * s.n_q_heads * s.head_dim),
           n_k = (size_t)(T * s.n_kv_heads * s.head_dim);
    int32_t *ids = NULL;
    size_t n_ids = (size_t)(T * s.n_kv_heads * s.topk);
    ids = new_array(n_ids, sizeof *ids);
    memcpy(ids, golden_i32(f, "ids", n_ids), n_ids * sizeof *ids);
    msa_selection selection = {ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    float *out = new_array(n_q, 4), *lse = new_array((size_t)(T * s.n_q_heads), 4);
    float *dq = new_array(n_q, 4), *dk = new_array(n_k, 4), *dv = new_array(n_k, 4);
    const float *q = golden_f32(f, "q", n_q);
    msa_lane k = msa_lane_ragged(golden_f32(f, "k", n_k), MSA_F32, s.n_kv_heads, s.head_dim);
    msa_lane v = msa_lane_ragged(golden_f32(f, "v", n_k), MSA_F32, s.n_kv_heads, s.head_dim);
    msa_attn_args forward_args = {.q = q, .k = k, .v = v, .out = out, .lse = lse};
    msa_grad_args args = {.q = q, .k = k, .v = v, .out = out, .lse = lse, .dq = dq, .dk = dk};
    args.dv = dv, args.d_out = golden_f32(f, "d_out", n_q);
    args.selection = forward_args.selection = sparse ? &selection : NULL;
    msa_plan *plan = NULL, *back = NULL;
    msa_error err;
    if (sparse) {
        assert_ok(msa_sparse_plan(&plan, &s, &batch, NULL, &err), &err);
        assert_ok(msa_sparse_run(plan, &forward_args, &err), &err);
        assert_ok(msa_sparse_grad_plan(&back, &s, &batch, NULL, &err), &err);
        assert_ok(msa_sparse_grad_run(back, &args, &err), &err);
    } else {
        assert_ok(msa_dense_plan(&plan, &s, &batch, NULL, &err), &err);
        assert_ok(msa_dense_run(plan, &forward_args, &err), &err);
        assert_ok(msa_dense_grad_plan(&back, &s, &batch, NULL, &err), &err);
        assert_ok(msa_dense_grad_run(back, &args, &err), &err);
    }
    const struct {
        const char *name;
        const float *found;
        size_t n;
    } arrays[] = {{"dq", dq, n_q}, {"dk", dk, n_k}, {"dv", dv, n_k}};
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s_%s", kind, arrays[i].name);
        const float *want = golden_f32(f, name, arrays[i].n);
        for (size_t j = 0; j < arrays[i].n; j++)
            if (!(fabsf(arrays[i].found[j] - want[j]) <= 1e-5f * (1 + fabsf(want[j]))))
                fail_msg("%s[%zu] is %g; PyTorch has %g", name, j, (double)arrays[i].found[j],
                         (double)want[j]);
    }
    msa_plan_free(plan);
    msa_plan_free(back);
    void *const all[] = {ids, out, lse, dq, dk, dv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void gradients_are_those_of_pytorch(void **state) {
    (void)state;
    golden *f = golden_open("grad");
    check_golden(f, "dense");
    check_golden(f, "sparse");
    golden_close(f);
}

/* ---- refusals ---- */

static void bad_arguments_are_named(void **state) {
    (void)state;
    grad_case g;
    grad_case_make(&g, small_shape(4, 2, 16, 16, 2), 2, (int[]){20, 1}, (int[]){40, 30}, MSA_F32,
                   true, 4);
    msa_error err;
    msa_plan *plan = NULL;
    const msa_shape *s = &g.c.shape;
    msa_batch b = g.c.batch;
    b.page_table = g.c.pages;
    assert_fails(msa_dense_grad_plan(&plan, s, &b, NULL, &err), MSA_E_ARG, &err, "page_table");
    int64_t start[] = {0, 39};
    b = g.c.batch, b.kv_start = start;
    assert_fails(msa_dense_grad_plan(&plan, s, &b, NULL, &err), MSA_E_ARG, &err, "kv_start[1]");
    msa_plan_free(plan);
    plan = NULL;
    assert_ok(msa_sparse_grad_plan(&plan, s, &g.c.batch, NULL, &err), &err);
    assert_fails(msa_dense_grad_plan(&plan, s, &b, NULL, &err), MSA_E_ARG, &err, "another");
    msa_grad_args args = args_of(&g);
    assert_fails(msa_dense_grad_run(plan, &args, &err), MSA_E_ARG, &err, "msa_dense_grad_plan");
    assert_fails(msa_sparse_grad_run(plan, NULL, &err), MSA_E_ARG, &err, "args");
    assert_fails(msa_sparse_grad_run(NULL, &args, &err), MSA_E_ARG, &err, "plan is NULL");
    assert_ok(msa_sparse_grad_run(plan, &args, &err), &err);
    args.selection = NULL;
    assert_fails(msa_sparse_grad_run(plan, &args, &err), MSA_E_ARG, &err, "selection");
    args = args_of(&g), args.lse = NULL;
    assert_fails(msa_sparse_grad_run(plan, &args, &err), MSA_E_ARG, &err, "lse is NULL");
    args = args_of(&g), args.dv = NULL;
    assert_fails(msa_sparse_grad_run(plan, &args, &err), MSA_E_ARG, &err, "dv is NULL");
    args = args_of(&g), args.scale = -1;
    assert_fails(msa_sparse_grad_run(plan, &args, &err), MSA_E_ARG, &err, "scale");
    args = args_of(&g), args.k.layout = MSA_PANELS;
    assert_fails(msa_sparse_grad_run(plan, &args, &err), MSA_E_ARG, &err, "k: layout");
    g.ids[3] = 9;
    args = args_of(&g);
    assert_fails(msa_sparse_grad_run(plan, &args, &err), MSA_E_ARG, &err, "block 9");
    msa_plan_free(plan);
    grad_case_free(&g);
}

static void memory_may_run_out_while_planning(void **state) {
    (void)state;
    grad_case g;
    grad_case_make(&g, small_shape(4, 2, 16, 16, 2), 2, (int[]){20, 1}, (int[]){40, 30}, MSA_F32,
                   false, 4);
    long live = scarce_live();
    for (long n = 0;; n++) {
        msa_plan *plan = NULL;
        msa_error err;
        scarce_begin(n);
        msa_status status = msa_dense_grad_plan(&plan, &g.c.shape, &g.c.batch, NULL, &err);
        bool failed = scarce_end();
        if (failed) assert_int_equal(status, MSA_E_NOMEM);
        msa_grad_args args = args_of(&g);
        if (failed) assert_fails(msa_dense_grad_run(plan, &args, &err), MSA_E_ARG, &err, "plan");
        msa_plan_free(plan);
        assert_int_equal(scarce_live(), live);
        if (failed) continue;
        assert_ok(status, &err);
        assert_true(n >= 3);
        break;
    }
    grad_case_free(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_is_near_the_truth),
        cmocka_unit_test(chunks_add_up),
        cmocka_unit_test(the_reference_is_the_slope_of_the_loss),
        cmocka_unit_test(thread_counts_change_no_bit),
        cmocka_unit_test(lists_of_another_order_and_layout_give_the_same_bits),
        cmocka_unit_test(selecting_everything_is_dense),
        cmocka_unit_test(documents_do_not_meet),
        cmocka_unit_test(strides_gaps_and_scales_are_honoured),
        cmocka_unit_test(queries_that_see_nothing_have_no_gradient),
        cmocka_unit_test(gradients_are_those_of_pytorch),
        cmocka_unit_test(bad_arguments_are_named),
        cmocka_unit_test(memory_may_run_out_while_planning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
