/* test_certify.c: the index through the int8 copy chooses what the index without it chooses,
 * always: random and malicious keys and queries, every shape, layout, split, thread and instruction
 * set.
 *
 * MSA_TEST_ROUNDS=N goes over the shapes N times with other numbers; the target certify_million
 * does so for a million rows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn/certify.h"
#include "support/attn_case.h"

/* ---- a case */

enum {
    NORMAL,
    CLUSTERED,    /* around centres that change with the text */
    ONE_HOT,      /* one element of every key far above the others */
    NORMS_APART,  /* by powers of two */
    DENORMAL,     /* in f32; 0 in the halves */
    FEW_DISTINCT, /* many equal scores, across every cut */
    WHOLE,        /* equal scores of different keys */
    ODD,          /* NaN, infinity, and lengths beyond any bound here and there */
    NEARLY_EQUAL, /* scores closer than their bounds */
    SPARSE,       /* mostly zero keys */
    KINDS
};

static void make_keys(attn_case *c, rng *r, int kind) {
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -1e25f};
    int dim = c->shape.index_dim;
    float centre[256] = {0};
    for (int64_t j = 0; j < c->total_k * c->shape.n_index_keys; j++) {
        float *k = c->ki + j * dim, norm = ldexpf(1, (int)rng_below(r, 50) - 25);
        if (kind == FEW_DISTINCT && j >= 3) {
            memcpy(k, c->ki + (int64_t)rng_below(r, 3) * dim, sizeof(float) * (size_t)dim);
            continue;
        }
        if (kind == CLUSTERED && j % 100 == 0)
            for (int x = 0; x < dim; x++) centre[x] = rng_normal(r);
        bool zero = kind == SPARSE && rng_below(r, 50);
        for (int x = 0; x < dim; x++) {
            float n = rng_normal(r);
            k[x] = zero                   ? 0
                   : kind == CLUSTERED    ? centre[x] + 0.3f * n
                   : kind == NORMS_APART  ? n * norm
                   : kind == DENORMAL     ? n * 0x1p-135f
                   : kind == WHOLE        ? (float)((int)rng_below(r, 3) - 1)
                   : kind == NEARLY_EQUAL ? 1 + 1e-4f * n
                                          : n;
        }
        if (kind == ONE_HOT) k[dim / 3] = 50 + rng_normal(r);
        if (kind == ODD && rng_below(r, 300) == 0) k[rng_below(r, (uint64_t)dim)] = odd[j % 5];
    }
}

/* Mostly normal ones; of every few a zero, a key itself, a huge, a tiny, an odd one. */
static void make_queries(attn_case *c, rng *r) {
    int dim = c->shape.index_dim;
    for (int64_t i = 0; i < c->total_q * c->shape.n_index_heads; i++) {
        float *q = c->qi + i * dim;
        int kind = (int)rng_below(r, 40);
        const float *key = c->ki + (int64_t)rng_below(r, (uint64_t)c->total_k) * dim;
        for (int x = 0; x < dim; x++) {
            float n = rng_normal(r);
            q[x] = kind == 0   ? 0
                   : kind == 1 ? key[x]
                   : kind == 2 ? n * 0x1p58f
                   : kind == 3 ? n * 0x1p-70f
                   : kind == 4 ? n * 1e25f
                   : kind == 5 ? (float)(x == dim / 3)
                   : kind == 6 ? n * 0x1p-140f
                   : kind == 7 ? (float)((int)rng_below(r, 3) - 1)
                               : n;
        }
        if (kind == 8) q[rng_below(r, (uint64_t)dim)] = NAN;
        if (kind == 9) q[rng_below(r, (uint64_t)dim)] = -INFINITY;
    }
}

typedef struct index_shape {
    int heads, keys, dim, block, topk, local, init;
} index_shape;

static const index_shape shapes[] = {
    {4, 1, 128, 16, 16, 1, 0}, {2, 1, 8, 16, 1, 0, 0},    {3, 3, 24, 32, 4, 2, 1},
    {1, 1, 64, 16, 8, 0, 0},   {2, 2, 72, 16, 5, 0, 2},   {4, 1, 96, 64, 12, 1, 1},
    {2, 1, 120, 16, 64, 1, 0}, {1, 1, 192, 32, 16, 3, 0}, {2, 1, 256, 16, 16, 1, 0},
    {5, 1, 16, 128, 7, 1, 0},  {3, 3, 40, 256, 3, 1, 0},  {2, 1, 32, 16, 40, 2, 2},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static msa_shape shape_of(const index_shape *s) {
    return (msa_shape){.n_q_heads = s->heads,
                       .n_kv_heads = s->heads,
                       .head_dim = 8,
                       .n_index_heads = s->heads,
                       .n_index_keys = s->keys,
                       .index_dim = s->dim,
                       .block = s->block,
                       .topk = s->topk,
                       .local = s->local,
                       .init = s->init};
}

/* One request of decode, one that ends at, before or behind a block, one too short for the copy;
 * the last with queries in the middle of its keys. */
static attn_case make_case(msa_shape shape, int kind, uint64_t seed, int queries) {
    int want = shape.topk < 16 ? 64 : 4 * shape.topk, B = shape.block;
    int few = shape.local + shape.init + 2;
    rng r = rng_seed(seed);
    int edge = (int)rng_below(&r, 3) - 1;
    int kv_len[] = {B * (want + few) + (int)rng_below(&r, (uint64_t)(3 * B)),
                    B * (want + few + 3) + edge, B * 9};
    int q_len[] = {1 + (int)rng_below(&r, 3), queries, 3};
    attn_case c = case_make(shape, 3, q_len, kv_len, seed, true); /* quicker, as all is made anew */
    if (rng_below(&r, 2)) c.offset[1] -= B + 1;
    make_keys(&c, &r, kind);
    make_queries(&c, &r);
    return c;
}

/* ---- running it */

typedef struct how {
    msa_list_order order;
    msa_list_layout layout;
    int n_threads, n_splits;
} how;

static size_t list_length(const attn_case *c) {
    return (size_t)(c->total_q * c->shape.n_kv_heads * c->shape.topk);
}

static int32_t *run_index(const attn_case *c, how way, const msa_index8_lane *copy,
                          msa_index8_stats *stats) {
    int32_t *ids = malloc((list_length(c) + 1) * sizeof *ids);
    if (!ids) fail_msg("no memory for lists");
    memset(ids, 0x5a, (list_length(c) + 1) * sizeof *ids);
    msa_plan *plan = NULL;
    msa_error err;
    msa_plan_options options = {
        .n_threads = way.n_threads, .n_splits = way.n_splits, .index8 = copy != NULL};
    msa_index_args args = {.qi = c->qi,
                           .ki = c->ki_lane,
                           .out = {ids, way.order, way.layout},
                           .ki8 = copy,
                           .stats = stats};
    assert_ok(msa_index_plan(&plan, &c->shape, &c->batch, &options, &err), &err);
    assert_ok(msa_index_run(plan, &args, &err), &err);
    msa_plan_free(plan);
    assert_int_equal(ids[list_length(c)], 0x5a5a5a5a);
    return ids;
}

/* Copies of all keys of the case; contiguous ones where `start` says. */
static msa_index8_lane make_copies(const attn_case *c, const int64_t *start) {
    int64_t places = c->batch.n_pages + c->n_requests * 5, total = 0;
    int32_t cu[CASE_MOST_REQUESTS + 1] = {0};
    for (int r = 0; r < c->n_requests; r++) {
        places += (c->kv_len[r] + c->shape.block - 1) / c->shape.block;
        cu[r + 1] = (int32_t)(total += c->kv_len[r]);
    }
    size_t bytes =
        (size_t)places * (size_t)c->shape.n_index_keys * msa_index8_block_bytes(&c->shape);
    void *data = mem_alloc(bytes, 1);
    if (!data) fail_msg("no memory for copies");
    memset(data, 0x5a, bytes);
    msa_index8_lane lane = msa_index8_lane_of(data, &c->shape);
    lane.start = start;
    msa_batch all = c->batch;
    all.cu_seqlens_q = cu, all.qo_offset = NULL;
    msa_plan *plan = NULL;
    msa_error err;
    assert_ok(msa_index8_plan(&plan, &c->shape, &all, NULL, &err), &err);
    assert_ok(msa_index8_run(plan, &(msa_index8_args){c->ki_lane, lane}, &err), &err);
    msa_plan_free(plan);
    return lane;
}

static void assert_lists(const attn_case *c, const int32_t *found, const int32_t *expected,
                         int kind, how way) {
    for (size_t i = 0; i < list_length(c); i++)
        if (found[i] != expected[i])
            fail_msg(
                "%s, keys of kind %d, width %d, block %d, k %d, local %d, init %d, %d threads, "
                "%d splits: row %zu id %zu is %d; expected %d",
                msa_isa_name(msa_isa_current()), kind, c->shape.index_dim, c->shape.block,
                c->shape.topk, c->shape.local, c->shape.init, way.n_threads, way.n_splits,
                i / (size_t)c->shape.topk, i % (size_t)c->shape.topk, found[i], expected[i]);
}

/* ---- the tests */

static int rounds(void) {
    const char *n = getenv("MSA_TEST_ROUNDS");
    return n ? atoi(n) : 1;
}

/* Each case in one layout, format, order and number of threads and splits, drawn for it; on every
 * instruction set, whose lists and counts are the same. */
static int64_t check_case(int shape, int kind, uint64_t seed) {
    static const int splits[] = {0, 1, 2, 7, 64};
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    rng r = rng_seed(seed + 1000);
    attn_case c = make_case(shape_of(&shapes[shape]), kind, seed, test_brief() ? 5 : 40);
    int64_t start[] = {2, 0, 1}, at = 3;
    for (int i = 0; i < 3; i++) {
        start[i] += at;
        at = start[i] + (c.kv_len[i] + c.shape.block - 1) / c.shape.block;
    }
    case_lay_out(&c, (case_layout)rng_below(&r, CASE_LAYOUTS),
                 (msa_dtype)rng_below(&r, MSA_BF16 + 1), seed);
    how way = {(msa_list_order)rng_below(&r, 3), (msa_list_layout)rng_below(&r, 2),
               1 + (int)rng_below(&r, 3), splits[rng_below(&r, 5)]};
    msa_index8_lane copy = make_copies(&c, c.batch.page_table || rng_below(&r, 2) ? NULL : start);
    assert_ok(msa_isa_use(isas[n_isas - 1], NULL), NULL);
    int32_t *expected = run_index(&c, way, NULL, NULL);
    msa_index8_stats first = {0}, stats;
    for (int v = n_isas - 1; v >= 0; v--) {
        if (v < n_isas - 1 && rounds() > 1) break; /* a million rows: the best one */
        assert_ok(msa_isa_use(isas[v], NULL), NULL);
        int32_t *found = run_index(&c, way, &copy, &stats);
        assert_lists(&c, found, expected, kind, way);
        free(found);
        if (v == n_isas - 1) first = stats;
        assert_memory_equal(&stats, &first, sizeof stats);
    }
    assert_true(first.bounded > 0);
    assert_true(first.rescored <= first.bounded);
    int64_t rows = (c.total_q - 3) * c.shape.n_index_heads; /* 3: of the short request */
    free(expected);
    mem_free(copy.data);
    case_free(&c);
    return rows;
}

static void the_lists_are_those_of_the_plain_scan(void **state) {
    (void)state;
    int64_t rows = 0;
    for (int round = 0; round < rounds(); round++)
        for (int s = 0; s < N_SHAPES; s++)
            for (int kind = 0; kind < KINDS; kind++) {
                if (test_brief() && (s + kind) % 11) continue;
                rows += check_case(s, kind, (uint64_t)((round * N_SHAPES + s) * KINDS + kind));
            }
    if (rounds() > 1) print_message("%lld rows\n", (long long)rows);
    assert_true(test_brief() || rows >= 10000);
}

static void threads_and_splits_change_neither_lists_nor_counts(void **state) {
    (void)state;
    attn_case c = make_case(shape_of(&shapes[0]), CLUSTERED, 5, 9);
    case_lay_out(&c, CASE_PANELS, MSA_BF16, 1);
    msa_index8_lane copy = make_copies(&c, NULL);
    for (int splits = 0; splits < 5; splits += test_brief() ? 3 : 1) {
        int32_t *expected = run_index(&c, (how){.n_threads = 1}, NULL, NULL);
        msa_index8_stats first, stats;
        for (int threads = 1; threads <= (test_brief() ? 2 : 4); threads++) {
            how way = {.n_threads = threads, .n_splits = splits * splits};
            int32_t *found = run_index(&c, way, &copy, threads == 1 ? &first : &stats);
            assert_lists(&c, found, expected, CLUSTERED, way);
            if (threads > 1) assert_memory_equal(&stats, &first, sizeof stats);
            free(found);
        }
        free(expected);
    }
    mem_free(copy.data);
    case_free(&c);
}

/* A copy from which a bound does not hold must be noticed: else nothing here tests anything. Scales
 * are made a quarter smaller, as if rounding had not been counted for. */
static void a_copy_of_other_keys_changes_the_lists(void **state) {
    (void)state;
    attn_case c = make_case(shape_of(&shapes[0]), NORMAL, 5, 40);
    case_lay_out(&c, CASE_RAGGED, MSA_F32, 1);
    msa_index8_lane copy = make_copies(&c, NULL);
    int32_t *expected = run_index(&c, (how){0}, NULL, NULL);
    int64_t blocks = 0, B = c.shape.block;
    for (int i = 0; i < 3; i++) blocks += (c.kv_len[i] + B - 1) / B;
    for (int64_t b = 0; b < blocks; b += 2) {
        uint16_t *scales = index8_scales((char *)copy.data + b * copy.stride_page,
                                         c.shape.index_dim, c.shape.block);
        for (int j = 0; j < c.shape.block; j++) scales[j] = (uint16_t)(scales[j] - 0x20);
    }
    int32_t *found = run_index(&c, (how){0}, &copy, NULL);
    assert_memory_not_equal(found, expected, list_length(&c) * sizeof *found);
    free(found);
    free(expected);
    mem_free(copy.data);
    case_free(&c);
}

/* The purpose: of keys that differ, few scores are computed. */
static void few_tokens_are_rescored(void **state) {
    (void)state;
    msa_shape shape = msa_shape_m3();
    shape.head_dim = 8, shape.n_q_heads = 4, shape.block = 32;
    int q_len = 1, kv_len = test_brief() ? 4096 : 32768;
    for (int kind = NORMAL; kind <= ONE_HOT; kind++) {
        attn_case c = case_make(shape, 1, &q_len, &kv_len, 6, kind > NORMAL);
        rng r = rng_seed(9);
        make_keys(&c, &r, kind);
        case_lay_out(&c, CASE_PANELS, MSA_BF16, 1);
        msa_index8_lane copy = make_copies(&c, NULL);
        msa_index8_stats stats;
        free(run_index(&c, (how){0}, &copy, &stats));
        double share = (double)stats.rescored / (double)stats.bounded;
        if (!test_brief()) assert_true(share > 0 && share < (kind == ONE_HOT ? 0.5 : 0.1));
        double plain = (double)(kv_len - shape.block) * shape.index_dim * 2;
        if (kind == NORMAL && !test_brief()) assert_true((double)stats.bytes < 0.9 * plain);
        mem_free(copy.data);
        case_free(&c);
    }
}

static void short_requests_do_not_look_at_the_copy(void **state) {
    (void)state;
    msa_shape shape = shape_of(&shapes[0]);
    int q_len = 30, kv_len = 16 * 60;
    attn_case c = case_make(shape, 1, &q_len, &kv_len, 6, false);
    case_lay_out(&c, CASE_RAGGED, MSA_BF16, 1);
    msa_index8_lane nowhere = msa_index8_lane_of((void *)64, &shape); /* a fault, were it read */
    msa_index8_stats stats = {.bounded = 7};
    int32_t *expected = run_index(&c, (how){0}, NULL, NULL);
    int32_t *found = run_index(&c, (how){0}, &nowhere, &stats);
    assert_lists(&c, found, expected, NORMAL, (how){0});
    assert_int_equal(stats.bounded + stats.rescored + stats.rescored_blocks + stats.bytes, 0);
    free(found);
    free(expected);
    case_free(&c);
}

/* Of a prefill in chunks, each copying its own tokens before it selects. */
static void steps_of_copy_and_index_give_what_the_whole_gives(void **state) {
    (void)state;
    int n = test_brief() ? 1400 : 2500;
    attn_case c = case_make(shape_of(&shapes[2]), 1, &n, &n, 5, false);
    c.shape.block = 16, c.shape.topk = 5;
    case_lay_out(&c, CASE_HND, MSA_BF16, 6);
    size_t row = (size_t)(c.shape.n_kv_heads * c.shape.topk);
    int32_t *all = run_index(&c, (how){0}, NULL, NULL);
    attn_case part = c;
    msa_index8_lane copy = make_copies(&c, NULL);
    memset(copy.data, 0x5a, (size_t)(c.batch.n_pages * copy.stride_page));
    msa_plan *plan = NULL;
    msa_error err;
    int64_t bounded = 0;
    for (int64_t at = 0, step = 1; at < n; at += step, step = (at * 7) % 130 + 1) {
        if (step > n - at) step = n - at;
        part.cu[1] = (int32_t)step, part.total_q = step;
        part.kv_len[0] = at + step, part.offset[0] = at;
        part.batch.cu_seqlens_q = part.cu, part.batch.kv_len = part.kv_len;
        part.batch.qo_offset = part.offset;
        part.qi = c.qi + at * c.shape.n_index_heads * c.shape.index_dim;
        assert_ok(msa_index8_plan(&plan, &part.shape, &part.batch, NULL, &err), &err);
        assert_ok(msa_index8_run(plan, &(msa_index8_args){c.ki_lane, copy}, &err), &err);
        msa_index8_stats stats;
        int32_t *ids = run_index(&part, (how){0}, &copy, &stats);
        assert_memory_equal(ids, all + (size_t)at * row, (size_t)step * row * sizeof *ids);
        bounded += stats.bounded;
        free(ids);
    }
    assert_true(bounded > 0);
    msa_plan_free(plan);
    free(all);
    mem_free(copy.data);
    case_free(&c);
}

static void memory_does_not_grow_with_the_context(void **state) {
    (void)state;
    msa_shape m3 = msa_shape_m3();
    msa_plan_options options = {.n_threads = 2, .index8 = 1};
    size_t bytes[2];
    for (int i = 0; i < 2; i++) {
        int32_t cu[2] = {0, 4096};
        int64_t kv_len = i ? 16 << 20 : 65536;
        msa_batch batch = {.n_requests = 1, .cu_seqlens_q = cu, .kv_len = &kv_len};
        msa_plan *plan = NULL;
        assert_ok(msa_index_plan(&plan, &m3, &batch, &options, NULL), NULL);
        bytes[i] = msa_plan_bytes(plan);
        msa_plan_free(plan);
    }
    assert_int_equal(bytes[0], bytes[1]);
    assert_true(bytes[0] < 8 << 20); /* the rounded queries, and what two threads need */
}

static void wrong_arguments_are_named(void **state) {
    (void)state;
    attn_case c = make_case(shape_of(&shapes[1]), NORMAL, 5, 3);
    case_lay_out(&c, CASE_PANELS, MSA_F32, 1);
    msa_index8_lane copy = make_copies(&c, NULL), bad;
    msa_plan *plan = NULL;
    msa_error err;
    msa_plan_options options = {.index8 = 1};
    int32_t *ids = run_index(&c, (how){0}, NULL, NULL);
    msa_index8_stats stats;
    msa_index_args args = {.qi = c.qi, .ki = c.ki_lane, .out = {ids, 0, 0}, .ki8 = &copy};
    assert_ok(msa_index_plan(&plan, &c.shape, &c.batch, NULL, &err), &err);
    assert_fails(msa_index_run(plan, &args, &err), MSA_E_ARG, &err, "ki8");
    args.ki8 = NULL, args.stats = &stats;
    assert_fails(msa_index_run(plan, &args, &err), MSA_E_ARG, &err, "stats");
    assert_ok(msa_index_plan(&plan, &c.shape, &c.batch, &options, &err), &err);
    assert_fails(msa_index_run(plan, &args, &err), MSA_E_ARG, &err, "ki8 is NULL");
    bad = copy, bad.stride_page -= 64, args.ki8 = &bad;
    assert_fails(msa_index_run(plan, &args, &err), MSA_E_ARG, &err, "ki8: stride_page");
    args.ki8 = &copy;
    assert_ok(msa_index_run(plan, &args, &err), &err);
    case_lay_out(&c, CASE_PANELS, MSA_FP8, 1);
    args.ki = c.ki_lane;
    assert_fails(msa_index_run(plan, &args, &err), MSA_E_ARG, &err, "ki: dtype is fp8");
    msa_plan_free(plan);
    free(ids);
    mem_free(copy.data);
    case_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lists_are_those_of_the_plain_scan),
        cmocka_unit_test(threads_and_splits_change_neither_lists_nor_counts),
        cmocka_unit_test(a_copy_of_other_keys_changes_the_lists),
        cmocka_unit_test(few_tokens_are_rescored),
        cmocka_unit_test(short_requests_do_not_look_at_the_copy),
        cmocka_unit_test(steps_of_copy_and_index_give_what_the_whole_gives),
        cmocka_unit_test(memory_does_not_grow_with_the_context),
        cmocka_unit_test(wrong_arguments_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
