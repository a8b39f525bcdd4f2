/* test_attend.c: dense, sparse, decode and merge on every instruction set, against the truth in
 * double by the rule of yardstick.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn/attend.h"
#include "attn/merge.h"
#include "support/yardstick.h"

typedef msa_status plan_fn(msa_plan **, const msa_shape *, const msa_batch *,
                           const msa_plan_options *, msa_error *);
typedef msa_status run_fn(msa_plan *, const msa_attn_args *, msa_error *);

static result attend(const attn_case *c, plan_fn *make, run_fn *run, const msa_selection *sel,
                     const msa_plan_options *options) {
    msa_error err;
    msa_plan *plan = NULL;
    result r = result_new(c);
    assert_ok(make(&plan, &c->shape, &c->batch, options, &err), &err);
    msa_attn_args args = {
        .q = c->q, .k = c->k_lane, .v = c->v_lane, .selection = sel, .out = r.out, .lse = r.lse};
    assert_ok(run(plan, &args, &err), &err);
    msa_plan_free(plan);
    return r;
}

/* ---- every variant against the truth ---- */

static const struct {
    int hq, hkv, d, block, topk, n;
    int q_len[4], kv_len[4];
} CASES[] = {
    {4, 2, 16, 16, 3, 4, {1, 16, 33, 0}, {1, 16, 80, 0}}, /* ragged, empty, first block */
    {6, 2, 64, 32, 4, 3, {31, 32, 33}, {31, 32, 33}},     /* around a block */
    {6, 2, 64, 32, 4, 3, {5, 1, 7}, {127, 128, 129}},     /* around k blocks, short queries */
    {16, 1, 128, 128, 2, 2, {20, 3}, {300, 257}},         /* M3's group */
    {3, 3, 24, 16, 5, 2, {40, 9}, {150, 40}},             /* G = 1, odd width */
    {14, 2, 40, 64, 2, 2, {70, 2}, {200, 129}},           /* G = 7 */
    {10, 2, 256, 256, 1, 2, {3, 260}, {600, 260}},        /* the largest width and block */
    {5, 1, 8, 16, 64, 2, {50, 11}, {700, 1100}},          /* the least width, the most blocks */
    {130, 1, 16, 16, 2, 1, {3}, {40}},                    /* a group larger than a tile */
};

static void check(const attn_case *c, const yardstick *y, plan_fn *plan, run_fn *run,
                  msa_plan_options options, const char *what) {
    result r = attend(c, plan, run, y->selection, &options);
    assert_attends(&r, &y->t, y->naive, what);
    result_free(&r);
}

static void check_operators(const attn_case *c, const yardstick *dense, const yardstick *sparse,
                            const char *what) {
    typedef msa_plan_options o;
    check(c, dense, msa_dense_plan, msa_dense_run, (o){.n_splits = 0}, what);
    check(c, dense, msa_dense_plan, msa_dense_run, (o){.n_splits = 3}, what);
    check(c, sparse, msa_sparse_plan, msa_sparse_run, (o){.order = MSA_ORDER_QUERY}, what);
    check(c, sparse, msa_sparse_plan, msa_sparse_run, (o){.order = MSA_ORDER_KV}, what);
    for (int r = 0; r < c->n_requests; r++)
        if (c->cu[r + 1] - c->cu[r] > 16) return;
    for (int splits = 0; splits <= 2; splits++)
        check(c, sparse, msa_decode_plan, msa_decode_run, (o){.n_splits = splits}, what);
}

static void check_case(attn_case *c, case_layout layout, msa_dtype dtype) {
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    case_lay_out(c, layout, dtype, 1);
    int32_t *ids = case_random_lists(c, 7, true);
    msa_selection selection = {ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    yardstick dense = yardstick_of(c, NULL), sparse = yardstick_of(c, &selection);
    for (int i = 0; i < n_isas; i++) {
        char what[128];
        snprintf(what, sizeof what, "%s %s %s Hq %d d %d B %d", msa_isa_name(isas[i]),
                 case_layout_name(layout), msa_dtype_name(dtype), c->shape.n_q_heads,
                 c->shape.head_dim, c->shape.block);
        assert_ok(msa_isa_use(isas[i], NULL), NULL);
        check_operators(c, &dense, &sparse, what);
    }
    truth_free(&dense.t);
    truth_free(&sparse.t);
    free(ids);
}

static void every_variant_is_within_twice_the_naive_error(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        int q_len[4];
        for (int r = 0; r < CASES[i].n; r++)
            q_len[r] = case_queries(CASES[i].q_len[r], CASES[i].hq / CASES[i].hkv);
        msa_shape shape =
            small_shape(CASES[i].hq, CASES[i].hkv, CASES[i].d, CASES[i].block, CASES[i].topk);
        attn_case c = case_make(shape, CASES[i].n, q_len, CASES[i].kv_len, i, false);
        for (int half = 0; half < CASE_FORMATS && test_brief(); half += 3)
            check_case(&c, (case_layout)(i % 3), (msa_dtype)(i / 3 + (size_t)half)); /* all pairs */
        for (int layout = 0; layout < CASE_LAYOUTS && !test_brief(); layout++)
            check_case(&c, (case_layout)layout, (msa_dtype)((i + (size_t)layout) % CASE_FORMATS));
        case_free(&c);
    }
}

/* K, V of different formats and layouts beside each other. */
static void lanes_choose_their_formats_independently(void **state) {
    (void)state;
    attn_case c = case_make(small_shape(4, 2, 32, 16, 3), 1, (int[]){20}, (int[]){90}, 3, false);
    for (int kd = 0; kd < CASE_FORMATS; kd++)
        for (int vd = 0; vd < CASE_FORMATS; vd++) {
            case_lay_out(&c, CASE_HND, (msa_dtype)vd, 1);
            msa_lane v = c.v_lane;
            c.stored[1] = NULL; /* kept */
            case_lay_out(&c, CASE_PANELS, (msa_dtype)kd, 1);
            void *unused = c.stored[1];
            c.v_lane = v;
            c.stored[1] = (void *)v.data;
            free(unused);
            truth t = truth_of(&c, NULL);
            result r = attend(&c, msa_dense_plan, msa_dense_run, NULL, NULL);
            assert_attends(&r, &t, naive_error(&c, NULL, &t), "mixed formats");
            result_free(&r);
            truth_free(&t);
        }
    case_free(&c);
}

/* ---- identities ---- */

static void assert_same_bits(const result *a, const result *b, const char *what) {
    if (memcmp(a->out, b->out, a->n * sizeof(float)) ||
        memcmp(a->lse, b->lse, a->rows * sizeof(float)))
        fail_msg("%s changed bits", what);
}

static void thread_counts_and_pages_change_no_bit(void **state) {
    (void)state;
    int long_q[] = {3, 70, 1}, long_kv[] = {500, 180, 900}, q[] = {3, 40, 1}, kv[] = {99, 50, 300};
    attn_case c = case_make(small_shape(8, 2, 64, 32, 4), 3, test_brief() ? q : long_q,
                            test_brief() ? kv : long_kv, 11, false);
    case_lay_out(&c, CASE_PANELS, MSA_BF16, 1);
    int32_t *ids = case_random_lists(&c, 5, true);
    msa_selection sel = {ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    struct {
        plan_fn *plan;
        run_fn *run;
        const msa_selection *sel;
        msa_order order;
    } const ops[] = {{msa_dense_plan, msa_dense_run, NULL, MSA_ORDER_AUTO},
                     {msa_sparse_plan, msa_sparse_run, &sel, MSA_ORDER_QUERY},
                     {msa_sparse_plan, msa_sparse_run, &sel, MSA_ORDER_KV}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        case_lay_out(&c, CASE_PANELS, MSA_BF16, 1);
        result one = attend(&c, ops[i].plan, ops[i].run, ops[i].sel,
                            &(msa_plan_options){.n_threads = 1, .order = ops[i].order});
        for (int threads = 2; threads <= 5; threads++) {
            case_lay_out(&c, CASE_PANELS, MSA_BF16, (uint64_t)threads);
            result many = attend(&c, ops[i].plan, ops[i].run, ops[i].sel,
                                 &(msa_plan_options){.n_threads = threads, .order = ops[i].order});
            assert_same_bits(&one, &many, "threads or pages");
            result_free(&many);
        }
        result_free(&one);
    }
    free(ids);
    case_free(&c);
}

static void lists_of_every_order_and_layout_give_the_same_bits(void **state) {
    (void)state;
    attn_case c =
        case_make(small_shape(4, 2, 32, 16, 4), 2, (int[]){9, 14}, (int[]){200, 100}, 2, false);
    case_lay_out(&c, CASE_RAGGED, MSA_F32, 1);
    int32_t *ids = case_random_lists(&c, 1, true);
    int64_t T = c.total_q, H = c.shape.n_kv_heads, k = c.shape.topk;
    int32_t *other = malloc((size_t)(T * H * k) * sizeof *other);
    for (int64_t t = 0; t < T; t++)
        for (int64_t g = 0; g < H; g++)
            for (int64_t i = 0; i < k; i++) /* head-major, reversed: -1 first */
                other[(g * T + t) * k + i] = ids[(t * H + g) * k + k - 1 - i];
    msa_selection a = {ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    msa_selection b = {other, MSA_SCORE_DESC, MSA_HEAD_MAJOR};
    result x = attend(&c, msa_sparse_plan, msa_sparse_run, &a, NULL);
    result y = attend(&c, msa_sparse_plan, msa_sparse_run, &b, NULL);
    assert_same_bits(&x, &y, "another order and layout");
    result_free(&x);
    result_free(&y);
    free(ids);
    free(other);
    case_free(&c);
}

/* Tokens behind a query, selected blocks or not, NaN or not, have no effect on it. */
static void future_and_unselected_tokens_have_no_effect(void **state) {
    (void)state;
    attn_case c = case_make(small_shape(4, 1, 32, 16, 3), 1, (int[]){40}, (int[]){120}, 2, false);
    case_lay_out(&c, CASE_RAGGED, MSA_F32, 1);
    int32_t *ids = case_random_lists(&c, 3, true);
    msa_selection sel = {ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    enum { OPS = 3 };
    const msa_plan_options by_query = {.order = MSA_ORDER_QUERY}, by_keys = {.order = MSA_ORDER_KV};
    const struct {
        plan_fn *plan;
        run_fn *run;
        const msa_selection *sel;
        const msa_plan_options *options;
    } ops[OPS] = {{msa_dense_plan, msa_dense_run, NULL, NULL},
                  {msa_sparse_plan, msa_sparse_run, &sel, &by_query},
                  {msa_sparse_plan, msa_sparse_run, &sel, &by_keys}};
    result before[OPS], after[OPS];
    for (int i = 0; i < OPS; i++)
        before[i] = attend(&c, ops[i].plan, ops[i].run, ops[i].sel, ops[i].options);
    int64_t cut = 95; /* queries 0..15 sit at 80..95 */
    for (int64_t j = cut + 1; j < 120; j++)
        for (int x = 0; x < 32; x++) {
            ((float *)c.stored[0])[j * 32 + x] = NAN;
            ((float *)c.stored[1])[j * 32 + x] = NAN;
        }
    size_t rows = 16 * 4;
    for (int i = 0; i < OPS; i++) {
        after[i] = attend(&c, ops[i].plan, ops[i].run, ops[i].sel, ops[i].options);
        assert_memory_equal(before[i].out, after[i].out, rows * 32 * sizeof(float));
        result_free(&before[i]);
    }
    assert_true(isnan(after[0].out[(size_t)39 * 4 * 32])); /* what is visible does show */
    for (int i = 0; i < OPS; i++) result_free(&after[i]);
    free(ids);
    case_free(&c);
}

static void empty_lists_give_zero_and_minus_infinity(void **state) {
    (void)state;
    attn_case c = case_make(small_shape(2, 1, 16, 16, 2), 1, (int[]){5}, (int[]){50}, 2, false);
    case_lay_out(&c, CASE_HND, MSA_F16, 1);
    int32_t ids[10];
    memset(ids, 0xff, sizeof ids);
    msa_selection sel = {ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    for (int order = MSA_ORDER_QUERY; order <= MSA_ORDER_KV; order++) {
        result r = attend(&c, msa_sparse_plan, msa_sparse_run, &sel,
                          &(msa_plan_options){.order = (msa_order)order});
        for (size_t i = 0; i < r.n; i++) assert_true(r.out[i] == 0);
        for (size_t i = 0; i < r.rows; i++) assert_true(r.lse[i] == -INFINITY);
        result_free(&r);
    }
    result r =
        attend(&c, msa_decode_plan, msa_decode_run, &sel, &(msa_plan_options){.n_splits = 2});
    for (size_t i = 0; i < r.n; i++) assert_true(r.out[i] == 0);
    result_free(&r);
    case_free(&c);
}

static void block_maxima_are_those_of_the_truth(void **state) {
    (void)state;
    attn_case c =
        case_make(small_shape(6, 2, 24, 16, 2), 2, (int[]){30, 4}, (int[]){75, 130}, 4, true);
    for (int layout = 0; layout < CASE_LAYOUTS; layout++) {
        case_lay_out(&c, (case_layout)layout, MSA_BF16, 1);
        int64_t n_blocks = 10;
        size_t n = (size_t)(6 * n_blocks * c.total_q);
        float *fused = malloc(n * sizeof(float)), *alone = malloc(n * sizeof(float));
        double *want = malloc(n * sizeof(double));
        truth t = truth_of(&c, NULL);
        msa_attn_args args = {.q = c.q, .k = c.k_lane, .v = c.v_lane, .n_blocks = n_blocks};
        attend_ref(&c.shape, &c.batch, &args, t.out, t.lse, want);
        msa_error err;
        msa_plan *plan = NULL;
        for (int splits = 1; splits <= 3; splits++) {
            result r = result_new(&c);
            msa_plan_options options = {.n_splits = splits};
            assert_ok(msa_dense_plan(&plan, &c.shape, &c.batch, &options, &err), &err);
            args.max_score = fused;
            args.out = r.out;
            assert_ok(msa_dense_run(plan, &args, &err), &err);
            args.max_score = alone;
            args.out = NULL;
            assert_ok(msa_dense_run(plan, &args, &err), &err);
            for (size_t i = 0; i < n; i++) {
                if (want[i] == -INFINITY)
                    assert_true(fused[i] == -INFINITY);
                else
                    assert_true(fabs(fused[i] - want[i]) <= 1e-6 * (1 + fabs(want[i])));
                assert_memory_equal(&fused[i], &alone[i], sizeof(float));
            }
            result_free(&r);
        }
        msa_plan_free(plan);
        truth_free(&t);
        free(fused);
        free(alone);
        free(want);
    }
    case_free(&c);
}

/* A key of NaN shows in its query however the keys are cut, also beside empty pieces. */
static void a_visible_nan_is_not_lost_in_a_merge(void **state) {
    (void)state;
    attn_case c = case_make(small_shape(2, 1, 16, 16, 2), 1, (int[]){1}, (int[]){300}, 2, false);
    c.offset[0] = 0;
    for (int x = 0; x < 16; x++) c.k[x] = NAN;
    case_lay_out(&c, CASE_RAGGED, MSA_F32, 1);
    truth t = truth_of(&c, NULL);
    assert_true(isnan(t.out[0]) && isnan(t.lse[0]));
    truth_free(&t);
    for (int splits = 1; splits <= 16; splits *= 4) {
        result r = attend(&c, msa_dense_plan, msa_dense_run, NULL,
                          &(msa_plan_options){.n_splits = splits});
        for (size_t i = 0; i < r.n; i++) assert_true(isnan(r.out[i]));
        assert_true(isnan(r.lse[0]) && isnan(r.lse[1]));
        result_free(&r);
    }
    case_free(&c);
}

/* Scores so large that f32 overflows to -inf for some keys must not poison the others. */
static void minus_infinite_scores_weigh_nothing(void **state) {
    (void)state;
    attn_case c = case_make(small_shape(1, 1, 8, 16, 4), 1, (int[]){1}, (int[]){40}, 2, false);
    for (int x = 0; x < 8; x++) c.q[x] = 1e30f;
    for (int j = 0; j < 40; j++)
        for (int x = 0; x < 8; x++) c.k[j * 8 + x] = j == 39 ? 0 : -1e30f;
    case_lay_out(&c, CASE_RAGGED, MSA_F32, 1);
    result r = attend(&c, msa_dense_plan, msa_dense_run, NULL, NULL);
    for (int x = 0; x < 8; x++) assert_true(r.out[x] == c.v[39 * 8 + x]);
    assert_true(r.lse[0] == 0);
    result_free(&r);
    case_free(&c);
}

/* ---- merge ---- */

static void merging_any_cut_equals_the_whole(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    rng r = rng_seed(9);
    for (int isa = 0; isa < n_isas; isa++) {
        assert_ok(msa_isa_use(isas[isa], NULL), NULL);
        for (int d = 1; d <= 70; d += 23) {
            float a[70], b[70], out[70], lse[2], both;
            double want[70], want_lse;
            float parts[140];
            rng_fill_normal(&r, a, 70, 1);
            rng_fill_normal(&r, b, 70, 1);
            rng_fill_normal(&r, lse, 2, 20);
            memcpy(parts, a, sizeof a);
            memcpy(parts + 70, b, sizeof b);
            merge_ref(2, d, parts, 70, lse, 1, want, &want_lse);
            msa_error err;
            assert_ok(msa_merge(1, d, a, &lse[0], b, &lse[1], out, &both, &err), &err);
            for (int c = 0; c < d; c++) assert_true(fabs(out[c] - want[c]) < 2e-6);
            assert_true(fabs(both - want_lse) < 2e-6 * (1 + fabs(want_lse)));
            /* in place, either side */
            float x[70], y[70];
            memcpy(x, a, sizeof x);
            memcpy(y, b, sizeof y);
            assert_ok(msa_merge(1, d, x, &lse[0], b, &lse[1], x, &both, &err), &err);
            assert_ok(msa_merge(1, d, a, &lse[0], y, &lse[1], y, &both, &err), &err);
            assert_memory_equal(x, out, (size_t)d * 4);
            assert_memory_equal(y, out, (size_t)d * 4);
            /* an empty side leaves the other untouched, whatever it holds */
            float empty = -INFINITY;
            for (int c = 0; c < d; c++) b[c] = NAN;
            assert_ok(msa_merge(1, d, a, &lse[0], b, &empty, out, &both, &err), &err);
            assert_memory_equal(out, a, (size_t)d * 4);
            assert_true(both == lse[0]);
            assert_ok(msa_merge(1, d, a, &empty, b, &empty, out, &both, &err), &err);
            assert_true(out[d - 1] == 0 && both == -INFINITY);
            /* NaN is no empty side, in either order */
            float nan = NAN;
            assert_ok(msa_merge(1, d, b, &nan, a, &empty, out, &both, &err), &err);
            assert_true(isnan(out[0]) && isnan(both));
            assert_ok(msa_merge(1, d, a, &empty, b, &nan, out, &both, &err), &err);
            assert_true(isnan(out[0]) && isnan(both));
        }
    }
    msa_error err;
    float x = 0;
    assert_fails(msa_merge(-1, 4, &x, &x, &x, &x, &x, &x, &err), MSA_E_ARG, &err, "n is -1");
    assert_fails(msa_merge(1, 0, &x, &x, &x, &x, &x, &x, &err), MSA_E_ARG, &err, "d is 0");
    assert_fails(msa_merge(1, 4, &x, NULL, &x, &x, &x, &x, &err), MSA_E_ARG, &err, "lse_a");
}

/* ---- refusals ---- */

static void bad_arguments_are_named(void **state) {
    (void)state;
    attn_case c =
        case_make(small_shape(4, 2, 16, 16, 2), 2, (int[]){20, 1}, (int[]){40, 30}, 4, false);
    case_lay_out(&c, CASE_HND, MSA_F32, 1);
    msa_error err;
    msa_plan *plan = NULL;
    msa_shape s = c.shape;
    s.block = 48;
    assert_fails(msa_dense_plan(&plan, &s, &c.batch, NULL, &err), MSA_E_ARG, &err, "block");
    s = c.shape, s.n_q_heads = 5;
    assert_fails(msa_dense_plan(&plan, &s, &c.batch, NULL, &err), MSA_E_ARG, &err, "n_q_heads");
    s = c.shape, s.head_dim = 12;
    assert_fails(msa_dense_plan(&plan, &s, &c.batch, NULL, &err), MSA_E_ARG, &err, "head_dim");
    s = c.shape, s.init = 2;
    assert_fails(msa_dense_plan(&plan, &s, &c.batch, NULL, &err), MSA_E_ARG, &err, "init");
    msa_batch b = c.batch;
    b.n_pages = 1;
    assert_fails(msa_dense_plan(&plan, &c.shape, &b, NULL, &err), MSA_E_ARG, &err, "n_pages");
    b = c.batch, b.page_table_stride = 1;
    assert_fails(msa_dense_plan(&plan, &c.shape, &b, NULL, &err), MSA_E_ARG, &err, "stride");
    int64_t offset[2] = {30, 29};
    b = c.batch, b.qo_offset = offset;
    assert_fails(msa_dense_plan(&plan, &c.shape, &b, NULL, &err), MSA_E_ARG, &err, "request 0");
    int32_t cu[3] = {0, 20, 10};
    b = c.batch, b.cu_seqlens_q = cu;
    assert_fails(msa_dense_plan(&plan, &c.shape, &b, NULL, &err), MSA_E_ARG, &err, "falls");
    assert_fails(msa_decode_plan(&plan, &c.shape, &c.batch, NULL, &err), MSA_E_ARG, &err, "20");
    msa_plan_free(plan);
    plan = NULL;
    msa_plan_options o = {.n_threads = -1};
    assert_fails(msa_dense_plan(&plan, &c.shape, &c.batch, &o, &err), MSA_E_ARG, &err, "n_threads");

    assert_ok(msa_sparse_plan(&plan, &c.shape, &c.batch, NULL, &err), &err);
    assert_fails(msa_dense_plan(&plan, &c.shape, &c.batch, NULL, &err), MSA_E_ARG, &err, "another");
    result r = result_new(&c);
    msa_attn_args args = {.q = c.q, .k = c.k_lane, .v = c.v_lane, .out = r.out};
    assert_fails(msa_dense_run(plan, &args, &err), MSA_E_ARG, &err, "msa_dense_plan");
    assert_fails(msa_sparse_run(plan, &args, &err), MSA_E_ARG, &err, "selection");
    int32_t ids[21 * 2 * 2];
    memset(ids, 0xff, sizeof ids);
    msa_selection sel = {ids, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    args.selection = &sel;
    assert_ok(msa_sparse_run(plan, &args, &err), &err);
    ids[7 * 4 + 2] = 2; /* query 7 sits at 27, block 1 */
    assert_fails(msa_sparse_run(plan, &args, &err), MSA_E_ARG, &err, "query 7, group 1");
    ids[7 * 4 + 2] = -2;
    assert_fails(msa_sparse_run(plan, &args, &err), MSA_E_ARG, &err, "block -2");
    ids[7 * 4 + 2] = ids[7 * 4 + 3] = 1;
    assert_fails(msa_sparse_run(plan, &args, &err), MSA_E_ARG, &err, "twice");
    ids[7 * 4 + 2] = -1;
    args.scale = NAN;
    assert_fails(msa_sparse_run(plan, &args, &err), MSA_E_ARG, &err, "scale");
    args.scale = 0;
    args.v.layout = MSA_PANELS;
    assert_fails(msa_sparse_run(plan, &args, &err), MSA_E_ARG, &err, "v: layout");
    args.v = c.v_lane;
    args.k.dtype = (msa_dtype)9;
    assert_fails(msa_sparse_run(plan, &args, &err), MSA_E_ARG, &err, "k: dtype");
    args.k = c.k_lane;
    args.k.data = (char *)c.k_lane.data + 1;
    assert_fails(msa_sparse_run(plan, &args, &err), MSA_E_ARG, &err, "aligned");
    result_free(&r);
    msa_plan_free(plan);
    case_free(&c);
}

/* Blocks of all requests and heads that take 2^64 bytes, which 64 bits would count as none. */
static void sizes_beyond_any_memory_are_refused(void **state) {
    (void)state;
    enum { REQUESTS = (1 << 14) + 1, HEADS = 1 << 16 };
    int32_t *cu = malloc((REQUESTS + 1) * sizeof *cu);
    int64_t *kv_len = malloc(REQUESTS * sizeof *kv_len);
    for (int32_t r = 0; r <= REQUESTS; r++) cu[r] = r;
    for (int32_t r = 0; r < REQUESTS; r++) kv_len[r] = (int64_t)INT32_MAX * 16;
    kv_len[REQUESTS - 1] = (1 << 14) * 16;
    msa_batch batch = {.n_requests = REQUESTS, .cu_seqlens_q = cu, .kv_len = kv_len};
    msa_shape shape = small_shape(HEADS, HEADS, 8, 16, 1);
    msa_plan *plan = NULL;
    msa_error err;
    assert_fails(msa_sparse_plan(&plan, &shape, &batch, NULL, &err), MSA_E_NOMEM, &err, "memory");
    msa_plan_free(plan);
    free(cu);
    free(kv_len);
}

static void plans_can_be_reused_for_other_lengths(void **state) {
    (void)state;
    msa_error err;
    msa_plan *plan = NULL;
    const int lengths[] = {40, 300, 7, 0, 120};
    msa_plan *decode = NULL;
    attn_case many = case_make(small_shape(4, 2, 16, 16, 2), 1, (int[]){17}, (int[]){20}, 0, false);
    case_lay_out(&many, CASE_RAGGED, MSA_F32, 0);
    assert_fails(msa_decode_plan(&decode, &many.shape, &many.batch, NULL, &err), MSA_E_ARG, &err,
                 "17");
    assert_fails(msa_decode_run(decode, NULL, &err), MSA_E_ARG, &err, "plan");
    msa_plan_free(decode);
    case_free(&many);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int n = lengths[i], q = n < 25 ? n : 25;
        attn_case c = case_make(small_shape(4, 2, 32, 16, 2), 1, &q, &n, i, false);
        case_lay_out(&c, CASE_PANELS, MSA_F32, i);
        truth t = truth_of(&c, NULL);
        result r = result_new(&c);
        msa_attn_args args = {.q = c.q, .k = c.k_lane, .v = c.v_lane, .out = r.out, .lse = r.lse};
        assert_ok(msa_dense_plan(&plan, &c.shape, &c.batch, NULL, &err), &err);
        assert_ok(msa_dense_run(plan, &args, &err), &err);
        assert_attends(&r, &t, naive_error(&c, NULL, &t), "reused plan");
        result_free(&r);
        truth_free(&t);
        case_free(&c);
    }
    assert_true(msa_plan_bytes(plan) > 0);
    msa_plan_free(plan);
    msa_plan_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_is_within_twice_the_naive_error),
        cmocka_unit_test(lanes_choose_their_formats_independently),
        cmocka_unit_test(thread_counts_and_pages_change_no_bit),
        cmocka_unit_test(lists_of_every_order_and_layout_give_the_same_bits),
        cmocka_unit_test(future_and_unselected_tokens_have_no_effect),
        cmocka_unit_test(empty_lists_give_zero_and_minus_infinity),
        cmocka_unit_test(block_maxima_are_those_of_the_truth),
        cmocka_unit_test(a_visible_nan_is_not_lost_in_a_merge),
        cmocka_unit_test(minus_infinite_scores_weigh_nothing),
        cmocka_unit_test(merging_any_cut_equals_the_whole),
        cmocka_unit_test(bad_arguments_are_named),
        cmocka_unit_test(sizes_beyond_any_memory_are_refused),
        cmocka_unit_test(plans_can_be_reused_for_other_lengths),
    };
    return cmocka_run_group_tests_name("attend", tests, NULL, NULL);
}
