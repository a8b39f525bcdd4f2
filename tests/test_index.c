/* test_index.c: score and selection in one pass: the same lists as the reference, whatever the
 * instruction set, threads, splits, layout, chunking, or what lies behind a query. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn/index.h"
#include "attn/ref.h"
#include "support/attn_case.h"

static msa_shape shape_of(int heads, int keys, int dim, int block, int topk, int local, int init) {
    return (msa_shape){.n_q_heads = heads,
                       .n_kv_heads = heads,
                       .head_dim = 8,
                       .n_index_heads = heads,
                       .n_index_keys = keys,
                       .index_dim = dim,
                       .block = block,
                       .topk = topk,
                       .local = local,
                       .init = init};
}

static size_t list_length(const attn_case *c) {
    return (size_t)(c->batch.cu_seqlens_q[c->batch.n_requests] * c->shape.n_kv_heads *
                    c->shape.topk);
}

static int32_t *new_lists(const attn_case *c) {
    int32_t *ids = malloc((list_length(c) + 1) * sizeof *ids);
    if (!ids) fail_msg("no memory for lists");
    memset(ids, 0x5a, (list_length(c) + 1) * sizeof *ids); /* what is not written is found */
    return ids;
}

typedef struct how {
    msa_list_order order;
    msa_list_layout layout;
    int n_threads, n_splits;
} how;

static int32_t *run_index(const attn_case *c, how way) {
    int32_t *ids = new_lists(c);
    msa_plan *plan = NULL;
    msa_error err;
    msa_plan_options options = {.n_threads = way.n_threads, .n_splits = way.n_splits};
    msa_index_args args = {.qi = c->qi, .ki = c->ki_lane, .out = {ids, way.order, way.layout}};
    assert_ok(msa_index_plan(&plan, &c->shape, &c->batch, &options, &err), &err);
    assert_ok(msa_index_run(plan, &args, &err), &err);
    msa_plan_free(plan);
    assert_int_equal(ids[list_length(c)], 0x5a5a5a5a);
    return ids;
}

static int32_t *reference(const attn_case *c, how way) {
    int32_t *ids = new_lists(c);
    msa_index_args args = {.qi = c->qi, .ki = c->ki_lane, .out = {ids, way.order, way.layout}};
    assert_true(index_ref(&c->shape, &c->batch, &args));
    return ids;
}

static void assert_lists(const attn_case *c, const int32_t *found, const int32_t *expected,
                         const char *what) {
    for (size_t i = 0; i < list_length(c); i++)
        if (found[i] != expected[i])
            fail_msg("%s, %s, block %d, k %d, local %d, init %d, keys %d x %d: row %zu id %zu is "
                     "%d; expected %d",
                     what, msa_isa_name(msa_isa_current()), c->shape.block, c->shape.topk,
                     c->shape.local, c->shape.init, c->shape.n_index_keys, c->shape.index_dim,
                     i / (size_t)c->shape.topk, i % (size_t)c->shape.topk, found[i], expected[i]);
}

static void assert_run_equals(const attn_case *c, how way, const int32_t *expected,
                              const char *what) {
    int32_t *found = run_index(c, way);
    assert_lists(c, found, expected, what);
    free(found);
}

/* ---- against the reference */

/* Requests around every boundary, prefill and decode mixed. */
static attn_case boundary_case(msa_shape s, bool integers, uint64_t seed) {
    int B = s.block, kB = s.block * s.topk;
    int kv_len[] = {1, B - 1, B, B + 1, kB - 1, kB, kB + 1, kB + 3 * B + 5};
    int q_len[] = {1, B - 1, 0, B + 1, 3, 1, 2, B + 9};
    return case_make(s, 8, q_len, kv_len, seed, integers);
}

static const int boundary_shapes[][7] = {
    /* heads, keys, dim, block, k, local, init */
    {4, 1, 16, 16, 4, 1, 0}, {3, 3, 8, 16, 3, 1, 1},   {2, 1, 24, 32, 2, 2, 0},
    {2, 2, 64, 16, 5, 0, 0}, {1, 1, 8, 128, 2, 1, 0},  {2, 1, 256, 16, 1, 1, 0},
    {2, 1, 8, 16, 1, 0, 0},  {3, 1, 40, 16, 16, 2, 1}, {2, 1, 8, 16, 64, 1, 0},
    {1, 1, 16, 256, 2, 0, 1}};
enum { N_BOUNDARY = sizeof boundary_shapes / sizeof *boundary_shapes };

static msa_shape boundary_shape(int i) {
    const int *s = boundary_shapes[i];
    return shape_of(s[0], s[1], s[2], s[3], s[4], s[5], s[6]);
}

static void every_boundary_equals_the_reference(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    for (int s = 0; s < N_BOUNDARY; s++)
        for (int integers = 0; integers < 2; integers++) {
            if (test_brief() && integers != s % 2) continue;
            attn_case c = boundary_case(boundary_shape(s), integers, 21 + (uint64_t)s);
            for (int layout = 0; layout < CASE_LAYOUTS; layout++) {
                if (test_brief() && layout != s % CASE_LAYOUTS) continue;
                msa_dtype dtype = (msa_dtype)((s + layout + s / 3) % CASE_FORMATS);
                case_lay_out(&c, (case_layout)layout, dtype, 31);
                how way = {.order = (msa_list_order)(layout % 3),
                           .layout = (msa_list_layout)(s % 2),
                           .n_threads = 1 + s % 3};
                int32_t *expected = reference(&c, way);
                for (int v = 0; v < n_isas; v++) {
                    assert_ok(msa_isa_use(isas[v], NULL), NULL);
                    assert_run_equals(&c, way, expected, case_layout_name((case_layout)layout));
                }
                free(expected);
            }
            case_free(&c);
        }
}

/* More than 8,192 tokens: one long decode, a speculative one, a chunk of a prefill at depth. */
static attn_case long_case(msa_shape shape, bool integers) {
    int q_len[] = {1, 5, 37}, kv_len[] = {8192, 8193, 9000};
    int few[] = {1, 2, 7}, shorter[] = {2048, 2049, 2100};
    return test_brief() ? case_make(shape, 3, few, shorter, 77, integers)
                        : case_make(shape, 3, q_len, kv_len, 77, integers);
}

static void long_contexts_equal_the_reference(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    const msa_shape shapes[] = {shape_of(4, 1, 16, 128, 16, 1, 0), shape_of(2, 2, 32, 16, 16, 2, 1),
                                shape_of(1, 1, 8, 16, 64, 0, 0)};
    for (int s = test_brief() ? 2 : 0; s < 3; s++)
        for (int integers = test_brief(); integers < 2; integers++) {
            attn_case c = long_case(shapes[s], integers);
            case_lay_out(&c, integers ? CASE_HND : CASE_PANELS, integers ? MSA_F16 : MSA_BF16, 4);
            int32_t *expected = reference(&c, (how){0});
            for (int v = 0; v < n_isas; v++) {
                assert_ok(msa_isa_use(isas[v], NULL), NULL);
                for (int splits = 0; splits <= 3; splits += 3)
                    assert_run_equals(&c, (how){.n_threads = 2, .n_splits = splits}, expected,
                                      "long context");
            }
            free(expected);
            case_free(&c);
        }
}

static void threads_and_splits_change_no_id(void **state) {
    (void)state;
    attn_case c = long_case(shape_of(4, 1, 16, 16, 16, 1, 1), false);
    case_lay_out(&c, CASE_PANELS, MSA_F32, 9);
    static const int splits[] = {0, 1, 2, 7, 64, 1024};
    for (int order = 0; order < (test_brief() ? 1 : 3); order++) {
        int32_t *expected = run_index(&c, (how){.order = (msa_list_order)order, .n_threads = 1});
        for (int threads = test_brief() ? 3 : 1; threads <= 3; threads++)
            for (int s = 0; s < 6; s++)
                assert_run_equals(&c,
                                  (how){.order = (msa_list_order)order,
                                        .n_threads = threads,
                                        .n_splits = splits[s]},
                                  expected, "threads and splits");
        free(expected);
    }
    case_free(&c);
}

/* ---- identities */

static void layouts_and_page_orders_change_no_id(void **state) {
    (void)state;
    attn_case c = long_case(shape_of(2, 1, 24, 32, 8, 1, 0), false);
    case_lay_out(&c, CASE_RAGGED, MSA_F32, 1);
    int32_t *expected = run_index(&c, (how){0});
    for (uint64_t seed = test_brief() ? 3 : 1; seed <= 3; seed++)
        for (int layout = 0; layout < CASE_LAYOUTS; layout++) {
            case_lay_out(&c, (case_layout)layout, MSA_F32, seed);
            assert_run_equals(&c, (how){0}, expected, case_layout_name((case_layout)layout));
        }
    free(expected);
    case_free(&c);
}

/* One request whose queries [first, first + n) are run, `behind` tokens of keys after them. */
static int32_t *run_slice(attn_case *whole, int64_t first, int32_t n, int64_t behind) {
    attn_case c = *whole;
    c.cu[1] = n;
    c.kv_len[0] = first + n + behind;
    c.offset[0] = first;
    c.batch.cu_seqlens_q = c.cu;
    c.batch.kv_len = c.kv_len;
    c.batch.qo_offset = c.offset;
    c.qi = whole->qi + first * c.shape.n_index_heads * c.shape.index_dim;
    return run_index(&c, (how){0});
}

static void chunks_and_single_tokens_give_what_the_whole_gives(void **state) {
    (void)state;
    const msa_shape shapes[] = {shape_of(3, 1, 16, 16, 4, 1, 0), shape_of(2, 2, 16, 32, 3, 0, 1)};
    for (int s = test_brief(); s < 2; s++) {
        int n = test_brief() ? 177 : 777;
        attn_case c = case_make(shapes[s], 1, &n, &n, 5, false);
        case_lay_out(&c, CASE_PANELS, MSA_BF16, 6);
        size_t row = (size_t)(c.shape.n_kv_heads * c.shape.topk);
        int32_t *all = run_index(&c, (how){0});
        static const int chunks[] = {1, 13, 64, 128, 500};
        for (int k = test_brief(); k < 5; k++)
            for (int64_t at = 0; at < n; at += chunks[k]) {
                int32_t m = (int32_t)(n - at < chunks[k] ? n - at : chunks[k]);
                int32_t *part = run_slice(&c, at, m, 0); /* keys end with the chunk */
                assert_memory_equal(part, all + (size_t)at * row, (size_t)m * row * sizeof *part);
                free(part);
            }
        /* After truncation to t tokens the keys behind are still there, or others in their place;
         * either way they are not the query's past. */
        for (int64_t t = 40; t < n; t += 97) {
            int32_t *one = run_slice(&c, t, 1, n - t - 1);
            assert_memory_equal(one, all + (size_t)t * row, row * sizeof *one);
            free(one);
        }
        free(all);
        case_free(&c);
    }
}

static void nothing_behind_a_query_matters(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas), n = test_brief() ? 150 : 400;
    static const float poison[] = {NAN, INFINITY, 1e20f, 0};
    const msa_shape shapes[] = {shape_of(2, 1, 16, 16, 4, 1, 0), shape_of(2, 2, 8, 32, 3, 0, 0)};
    for (int s = 0; s < 2; s++) {
        attn_case c = case_make(shapes[s], 1, &n, &n, 15, false);
        case_lay_out(&c, CASE_PANELS, MSA_F32, 6);
        size_t row = (size_t)(c.shape.n_kv_heads * c.shape.topk);
        size_t width = (size_t)(c.shape.n_index_keys * c.shape.index_dim);
        int32_t *all = run_index(&c, (how){0});
        for (int t = n - 2; t > 0; t -= 37) { /* from the end: what is poisoned stays so */
            for (size_t i = (size_t)(t + 1) * width; i < (size_t)n * width; i++)
                c.ki[i] = poison[t % 4];
            for (int layout = 0; layout < CASE_LAYOUTS; layout++) {
                case_lay_out(&c, (case_layout)layout, MSA_F32, 6);
                assert_ok(msa_isa_use(isas[t % n_isas], NULL), NULL);
                int32_t *now = run_index(&c, (how){0});
                assert_memory_equal(now, all, (size_t)(t + 1) * row * sizeof *now);
                free(now);
            }
        }
        free(all);
        case_free(&c);
    }
    assert_ok(msa_isa_use(isas[n_isas - 1], NULL), NULL);
}

static void rows_of_few_blocks_take_them_all_without_reading_a_key(void **state) {
    (void)state;
    msa_shape shape = shape_of(2, 1, 16, 16, 6, 1, 0);
    int n = 6 * 16;
    attn_case c = case_make(shape, 1, &n, &n, 2, false);
    case_lay_out(&c, CASE_RAGGED, MSA_F32, 1);
    c.ki_lane.data = (const void *)64; /* a fault, were it read */
    int32_t *ids = run_index(&c, (how){0});
    for (int t = 0; t < n; t++)
        for (int i = 0; i < 12; i++)
            assert_int_equal(ids[t * 12 + i], i % 6 <= t / 16 ? i % 6 : -1);
    free(ids);
    case_free(&c);
}

static void equal_scores_give_the_lowest_ids_and_the_forced(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas), q_len = 20, kv_len = 1000;
    attn_case c = case_make(shape_of(2, 1, 8, 16, 6, 2, 1), 1, &q_len, &kv_len, 1, false);
    memset(c.qi, 0, sizeof(float) * 20 * 2 * 8);
    case_lay_out(&c, CASE_PANELS, MSA_BF16, 1);
    for (int v = 0; v < n_isas; v++) {
        assert_ok(msa_isa_use(isas[v], NULL), NULL);
        int32_t *ids = run_index(&c, (how){.n_splits = v * 3});
        for (int row = 0; row < 40; row++) {
            int own = (980 + row / 2) / 16, expected[] = {0, 1, 2, 3, own - 1, own};
            for (int i = 0; i < 6; i++) assert_int_equal(ids[row * 6 + i], expected[i]);
        }
        free(ids);
    }
    case_free(&c);
}

/* A query at the first token of a block has the whole block before it among its candidates, and
 * one at the last token its own block forced, not scored. */
static void queries_at_block_edges_lose_no_block(void **state) {
    (void)state;
    msa_shape shape = shape_of(1, 1, 8, 16, 3, 1, 0);
    for (int edge = 0; edge < 2; edge++) {
        int q_len = 1, kv_len = 10 * 16 + (edge ? 16 : 1);
        attn_case c = case_make(shape, 1, &q_len, &kv_len, 1, false);
        for (int x = 0; x < 8; x++) c.qi[x] = 1;
        for (int i = 0; i < kv_len * 8; i++) c.ki[i] = 0;
        c.ki[(9 * 16 + 15) * 8] = 2; /* the last token before the own block */
        c.ki[4 * 16 * 8] = 1;        /* the first token of block 4 */
        c.ki[(kv_len - 1) * 8] = -9;
        case_lay_out(&c, CASE_PANELS, MSA_F16, 1);
        int32_t *ids = run_index(&c, (how){0});
        assert_int_equal(ids[0], 4);
        assert_int_equal(ids[1], 9);
        assert_int_equal(ids[2], 10);
        free(ids);
        case_free(&c);
    }
}

static void groups_select_each_for_themselves(void **state) {
    (void)state;
    enum { H = 4, DIM = 16, N = 2000, Q = 9 };
    for (int keys = 1; keys <= H; keys += H - 1) {
        int q_len = Q, kv_len = N;
        attn_case c = case_make(shape_of(H, keys, DIM, 16, 4, 1, 0), 1, &q_len, &kv_len, 3, false);
        for (int x = 0; x < Q; x++) /* groups 0 and 1 of opposite minds */
            for (int i = 0; i < DIM; i++) c.qi[(x * H + 1) * DIM + i] = -c.qi[x * H * DIM + i];
        case_lay_out(&c, CASE_PANELS, MSA_F32, 1);
        int32_t *ids = run_index(&c, (how){0});
        for (int x = 0; x < Q; x++) assert_memory_not_equal(ids + x * 16, ids + x * 16 + 4, 16);
        attn_case p = case_make(c.shape, 1, &q_len, &kv_len, 3, false);
        static const int to[H] = {2, 0, 3, 1};
        for (int h = 0; h < H; h++) {
            for (int x = 0; x < Q; x++)
                memcpy(p.qi + (x * H + to[h]) * DIM, c.qi + (x * H + h) * DIM, DIM * 4);
            for (int j = 0; keys > 1 && j < N; j++)
                memcpy(p.ki + (j * H + to[h]) * DIM, c.ki + (j * H + h) * DIM, DIM * 4);
        }
        case_lay_out(&p, CASE_PANELS, MSA_F32, 2);
        int32_t *moved = run_index(&p, (how){0});
        for (int x = 0; x < Q; x++)
            for (int h = 0; h < H; h++)
                assert_memory_equal(moved + (x * H + to[h]) * 4, ids + (x * H + h) * 4, 16);
        free(moved);
        free(ids);
        case_free(&p);
        case_free(&c);
    }
}

static void odd_keys_and_queries_rank_as_the_reference_says(void **state) {
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY, -0.0f, 1e20f, -1e20f, 3e38f, 1e-45f};
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas), q_len = 30, kv_len = 900;
    for (int round = 0; round < 4; round++) {
        attn_case c =
            case_make(shape_of(2, 1, 8, 16, 5, round % 2, 0), 1, &q_len, &kv_len, 3, true);
        rng r = rng_seed((uint64_t)round);
        for (int i = 0; i < 200 * (round + 1); i++)
            c.ki[rng_below(&r, 900 * 8)] = odd[rng_below(&r, 8)];
        for (int i = 0; i < 20 * round; i++) c.qi[rng_below(&r, 30 * 16)] = odd[rng_below(&r, 8)];
        for (int order = 0; order < 3; order++) {
            how way = {.order = (msa_list_order)order, .n_splits = order};
            case_lay_out(&c, (case_layout)order, MSA_F32, 1);
            int32_t *expected = reference(&c, way);
            for (int v = 0; v < n_isas; v++) {
                assert_ok(msa_isa_use(isas[v], NULL), NULL);
                assert_run_equals(&c, way, expected, "odd values");
            }
            free(expected);
        }
        case_free(&c);
    }
}

/* Block 0 is chosen by 99 % of the queries: nothing here may depend on who chooses what. */
static void a_block_chosen_by_almost_everyone_is_no_exception(void **state) {
    (void)state;
    enum { DIM = 16 };
    int n = test_brief() ? 500 : 1500, chosen = 0;
    attn_case c = case_make(shape_of(2, 1, DIM, 16, 4, 1, 0), 1, &n, &n, 3, false);
    rng r = rng_seed(4);
    for (int i = 0; i < n * 2; i++)
        if (rng_below(&r, 100) != 0) c.qi[i * DIM] = 5;
    c.ki[3 * DIM] = 40;
    case_lay_out(&c, CASE_PANELS, MSA_BF16, 1);
    int32_t *expected = reference(&c, (how){0});
    for (int threads = 1; threads <= 3; threads++)
        assert_run_equals(&c, (how){.n_threads = threads}, expected, "a popular block");
    for (int i = 0; i < n * 2; i++) chosen += expected[i * 4] == 0;
    assert_in_range(chosen, n * 2 * 97 / 100, n * 2 - 1);
    free(expected);
    case_free(&c);
}

/* Of normal scores, computed exactly: none left out lies above one let in by more than rounding. */
static void the_choice_is_certified_by_exact_scores(void **state) {
    (void)state;
    if (test_brief())
        return; /* what the reference chooses is certified, by the same C everywhere */
    attn_case c = long_case(shape_of(2, 1, 64, 128, 16, 1, 0), false);
    case_lay_out(&c, CASE_PANELS, MSA_BF16, 1);
    int32_t *ids = run_index(&c, (how){0});
    const msa_shape *s = &c.shape;
    double slack = 2 * 64 * 0x1p-24 * 64 * 4;
    for (int r = 0; r < 3; r++)
        for (int i = c.cu[r]; i < c.cu[r + 1]; i += 6)
            for (int g = 0; g < 2; g++) {
                int64_t position = c.offset[r] + i - c.cu[r], own = position / s->block;
                double least_in = INFINITY, most_out = -INFINITY;
                for (int64_t b = 0; b < own; b++) {
                    double best = -INFINITY;
                    for (int64_t j = b * s->block; j < (b + 1) * s->block; j++) {
                        ref_vector key = ref_vector_of(s, &c.batch, &c.ki_lane, 64, r, j, 0);
                        double dot = 0;
                        for (int x = 0; x < 64; x++)
                            dot += (double)c.qi[(i * 2 + g) * 64 + x] * ref_element(key, x);
                        if (dot > best) best = dot;
                    }
                    int in = 0;
                    for (int k = 0; k < 16; k++) in |= ids[(i * 2 + g) * 16 + k] == b;
                    if (in && best < least_in) least_in = best;
                    if (!in && best > most_out) most_out = best;
                }
                assert_true(least_in >= most_out - slack);
                assert_int_equal(ids[(i * 2 + g) * 16 + 15], own);
            }
    free(ids);
    case_free(&c);
}

/* ---- proxy */

static void the_proxy_query_is_the_mean_of_its_group(void **state) {
    (void)state;
    msa_shape s = shape_of(3, 3, 16, 16, 4, 2, 1);
    s.n_q_heads = 9, s.head_dim = 16;
    int q_len = 6, kv_len = 700;
    attn_case c = case_make(s, 1, &q_len, &kv_len, 3, true);
    float *proxy = malloc(6 * 3 * 16 * sizeof *proxy);
    msa_error err;
    assert_ok(msa_proxy_query(&s, 6, c.q, proxy, &err), &err);
    for (int i = 0; i < 6 * 3; i++)
        for (int x = 0; x < 16; x++) {
            const float *q = c.q + i * 3 * 16 + x;
            assert_true(proxy[i * 16 + x] == (q[0] + q[16] + q[32]) * (1.0f / 3));
        }
    case_lay_out(&c, CASE_PANELS, MSA_F16, 1);
    float *qi = c.qi;
    c.qi = proxy, c.ki_lane = c.k_lane; /* the keys are the index */
    int32_t *expected = reference(&c, (how){0});
    assert_run_equals(&c, (how){0}, expected, "proxy");
    free(expected);
    c.qi = qi;
    free(proxy);
    case_free(&c);
    assert_fails(msa_proxy_query(&s, -1, NULL, NULL, &err), MSA_E_ARG, &err, "n is -1");
    assert_fails(msa_proxy_query(&s, 1, NULL, NULL, &err), MSA_E_ARG, &err, "q is NULL");
}

/* ---- plans */

static size_t plan_bytes(msa_shape shape, int q_len, int64_t kv_len) {
    int32_t cu[2] = {0, q_len};
    msa_batch batch = {.n_requests = 1, .cu_seqlens_q = cu, .kv_len = &kv_len};
    msa_plan *plan = NULL;
    msa_plan_options options = {.n_threads = 2};
    assert_ok(msa_index_plan(&plan, &shape, &batch, &options, NULL), NULL);
    size_t bytes = msa_plan_bytes(plan);
    msa_plan_free(plan);
    return bytes;
}

static void memory_does_not_grow_with_the_context(void **state) {
    (void)state;
    msa_shape m3 = msa_shape_m3();
    size_t at_32k = plan_bytes(m3, 8192, 32768), at_16m = plan_bytes(m3, 8192, 16 << 20);
    assert_int_equal(at_32k, at_16m);
    assert_true(at_16m < 2 << 20);                      /* a score matrix would be 17 GB */
    assert_true(plan_bytes(m3, 1, 16 << 20) < 2 << 20); /* decode, split */
}

static void a_plan_is_used_again_for_another_batch(void **state) {
    (void)state;
    msa_plan *plan = NULL;
    msa_error err;
    for (int round = 0; round < 4; round++) {
        attn_case c = round % 2 ? long_case(shape_of(2, 1, 16, 16, 8, 1, 0), true)
                                : boundary_case(shape_of(2, 2, 8, 32, 3, 1, 1), true, 3);
        case_lay_out(&c, round < 2 ? CASE_PANELS : CASE_RAGGED, MSA_F32, 2);
        int32_t *expected = reference(&c, (how){0}), *ids = new_lists(&c);
        msa_index_args args = {.qi = c.qi, .ki = c.ki_lane, .out = {ids, 0, 0}};
        assert_ok(msa_index_plan(&plan, &c.shape, &c.batch, NULL, &err), &err);
        for (int layer = 0; layer < 2; layer++) {
            assert_ok(msa_index_run(plan, &args, &err), &err);
            assert_lists(&c, ids, expected, "replanned");
        }
        free(expected);
        free(ids);
        case_free(&c);
    }
    msa_plan_free(plan);
}

static void nothing_to_do_is_no_error(void **state) {
    (void)state;
    msa_plan *plan = NULL;
    msa_error err;
    msa_shape m3 = msa_shape_m3();
    msa_batch none = {0};
    msa_index_args args = {0};
    assert_ok(msa_index_plan(&plan, &m3, &none, NULL, &err), &err);
    assert_ok(msa_index_run(plan, &args, &err), &err);
    int32_t cu[3] = {0, 0, 0};
    int64_t kv_len[2] = {0, 5};
    msa_batch idle = {.n_requests = 2, .cu_seqlens_q = cu, .kv_len = kv_len};
    assert_ok(msa_index_plan(&plan, &m3, &idle, NULL, &err), &err);
    assert_ok(msa_index_run(plan, &args, &err), &err);
    msa_plan_free(plan);
}

static void wrong_arguments_are_named(void **state) {
    (void)state;
    int n = 300;
    attn_case c = case_make(shape_of(2, 1, 16, 16, 4, 1, 0), 1, &n, &n, 3, true);
    case_lay_out(&c, CASE_PANELS, MSA_F32, 1);
    msa_plan *plan = NULL;
    msa_error err;
    assert_fails(msa_index_plan(NULL, &c.shape, &c.batch, NULL, &err), MSA_E_ARG, &err, "plan");
    assert_fails(msa_index_run(NULL, NULL, &err), MSA_E_ARG, &err, "plan is NULL");
    c.kv_len[0] = (int64_t)1 << 36;
    c.batch.page_table = NULL;
    assert_fails(msa_index_plan(&plan, &c.shape, &c.batch, NULL, &err), MSA_E_ARG, &err,
                 "kv_len[0]");
    assert_null(plan);
    c.kv_len[0] = n;
    c.batch.page_table = c.pages;
    assert_ok(msa_index_plan(&plan, &c.shape, &c.batch, NULL, &err), &err);
    int32_t *ids = new_lists(&c);
    msa_index_args good = {.qi = c.qi, .ki = c.ki_lane, .out = {ids, 0, 0}}, bad;
    assert_fails(msa_index_run(plan, NULL, &err), MSA_E_ARG, &err, "args");
    bad = good, bad.qi = NULL;
    assert_fails(msa_index_run(plan, &bad, &err), MSA_E_ARG, &err, "qi");
    bad = good, bad.out.ids = NULL;
    assert_fails(msa_index_run(plan, &bad, &err), MSA_E_ARG, &err, "ids");
    bad = good, bad.out.order = (msa_list_order)7;
    assert_fails(msa_index_run(plan, &bad, &err), MSA_E_ARG, &err, "order");
    bad = good, bad.out.layout = (msa_list_layout)7;
    assert_fails(msa_index_run(plan, &bad, &err), MSA_E_ARG, &err, "layout");
    bad = good, bad.ki.data = NULL;
    assert_fails(msa_index_run(plan, &bad, &err), MSA_E_ARG, &err, "ki");
    bad = good, bad.ki.dtype = (msa_dtype)-1;
    assert_fails(msa_index_run(plan, &bad, &err), MSA_E_ARG, &err, "ki: dtype");
    assert_int_equal(ids[0], 0x5a5a5a5a); /* nothing was written */
    assert_ok(msa_index_run(plan, &good, &err), &err);
    msa_plan *dense = NULL;
    assert_ok(msa_dense_plan(&dense, &c.shape, &c.batch, NULL, &err), &err);
    assert_fails(msa_index_run(dense, &good, &err), MSA_E_ARG, &err, "msa_dense_plan");
    assert_fails(msa_index_plan(&dense, &c.shape, &c.batch, NULL, &err), MSA_E_ARG, &err,
                 "another operator");
    msa_plan_free(dense);
    msa_plan_free(plan);
    free(ids);
    case_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_boundary_equals_the_reference),
        cmocka_unit_test(long_contexts_equal_the_reference),
        cmocka_unit_test(threads_and_splits_change_no_id),
        cmocka_unit_test(layouts_and_page_orders_change_no_id),
        cmocka_unit_test(chunks_and_single_tokens_give_what_the_whole_gives),
        cmocka_unit_test(nothing_behind_a_query_matters),
        cmocka_unit_test(rows_of_few_blocks_take_them_all_without_reading_a_key),
        cmocka_unit_test(equal_scores_give_the_lowest_ids_and_the_forced),
        cmocka_unit_test(queries_at_block_edges_lose_no_block),
        cmocka_unit_test(groups_select_each_for_themselves),
        cmocka_unit_test(odd_keys_and_queries_rank_as_the_reference_says),
        cmocka_unit_test(a_block_chosen_by_almost_everyone_is_no_exception),
        cmocka_unit_test(the_choice_is_certified_by_exact_scores),
        cmocka_unit_test(the_proxy_query_is_the_mean_of_its_group),
        cmocka_unit_test(memory_does_not_grow_with_the_context),
        cmocka_unit_test(a_plan_is_used_again_for_another_batch),
        cmocka_unit_test(nothing_to_do_is_no_error),
        cmocka_unit_test(wrong_arguments_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
