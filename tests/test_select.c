/* test_select.c: the selection of a row: the running top-k, orders, layouts, ties, odd scores. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn/kernels.h"
#include "attn/select.h"
#include "support/support.h"

#define MOST_BLOCKS 8192

static float scores[MOST_BLOCKS];

static msa_shape shape_of(int topk, int local, int init) {
    msa_shape shape = msa_shape_m3();
    shape.block = 16;
    shape.topk = topk, shape.local = local, shape.init = init;
    return shape;
}

typedef enum score_kind {
    NORMAL,
    TIED,
    FEW_VALUES,
    ASCENDING,
    DESCENDING,
    HUGE_VALUES,
    ODD,
    ALL_NAN,
    LOW_LANES_RISE,
    SCORE_KINDS
} score_kind;

static float score_at(score_kind kind, int i, rng *r) {
    static const float odd[] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e20f, -1e20f, 1e-45f};
    switch (kind) {
    case NORMAL: return rng_normal(r);
    case TIED: return 1.5f;
    case FEW_VALUES: return (float)rng_below(r, 5);
    case ASCENDING: return (float)i;
    case DESCENDING: return -(float)i;
    case HUGE_VALUES: return rng_below(r, 2) ? 1e20f : -1e20f;
    case ODD: return odd[rng_below(r, 8)];
    case LOW_LANES_RISE: return i % 16 < 3 ? (float)i : 0; /* interleaved maxima tell nothing */
    default: return NAN;
    }
}

static void fill_scores(score_kind kind, int n, uint64_t seed) {
    rng r = rng_seed(seed);
    for (int i = 0; i < n; i++) scores[i] = score_at(kind, i, &r);
}

static void assert_row(const msa_shape *shape, int64_t position, msa_list_order order,
                       const char *what) {
    int32_t found[SELECT_MAX_K], expected[SELECT_MAX_K];
    msa_error err;
    assert_ok(msa_select_run(shape, 1, &position, scores, MOST_BLOCKS, order, found, &err), &err);
    select_ref(shape, position, scores, order, expected);
    for (int i = 0; i < shape->topk; i++)
        if (found[i] != expected[i])
            fail_msg("%s, %s, k %d local %d init %d, position %lld, order %d: id %d is %d; "
                     "expected %d",
                     what, msa_isa_name(msa_isa_current()), shape->topk, shape->local, shape->init,
                     (long long)position, order, i, found[i], expected[i]);
}

static void every_row_equals_the_reference(void **state) {
    (void)state;
    static const int shapes[][3] = {{16, 1, 0}, {16, 2, 1}, {16, 0, 0}, {1, 1, 0},
                                    {1, 0, 0},  {1, 0, 1},  {2, 1, 1},  {64, 1, 0},
                                    {64, 3, 2}, {33, 0, 4}, {4, 4, 0},  {4, 0, 4}};
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    for (int v = 0; v < n_isas; v++) {
        assert_ok(msa_isa_use(isas[v], NULL), NULL);
        for (int kind = 0; kind < SCORE_KINDS; kind++) {
            fill_scores((score_kind)kind, MOST_BLOCKS, (uint64_t)kind);
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
                msa_shape shape = shape_of(shapes[s][0], shapes[s][1], shapes[s][2]);
                int k = shape.topk;
                int own[] = {0, 1, k - 2, k - 1, k, k + 1, 2 * k, 100, 511, 512, 600, 1100};
                for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
                    if (own[i] < 0) continue;
                    int64_t position = (int64_t)own[i] * 16 + (int64_t)(i * 5 % 16);
                    for (int order = 0; order <= MSA_SCORE_DESC; order++)
                        assert_row(&shape, position, (msa_list_order)order, "row");
                }
            }
            msa_shape m3 = shape_of(16, 1, 0);
            assert_row(&m3, MOST_BLOCKS * 16 - 1, MSA_ASCENDING, "whole row");
            assert_row(&m3, MOST_BLOCKS * 16 - 16, MSA_SCORE_DESC, "whole row");
        }
    }
}

static void tied_scores_give_the_lowest_ids_and_the_own_block(void **state) {
    (void)state;
    fill_scores(TIED, MOST_BLOCKS, 0);
    msa_shape shape = msa_shape_m3();
    int64_t position = 17 * 128 + 5;
    int32_t ids[16];
    for (int order = 0; order < 2; order++) {
        assert_ok(msa_select_run(&shape, 1, &position, scores, MOST_BLOCKS, (msa_list_order)order,
                                 ids, NULL),
                  NULL);
        for (int i = 0; i < 15; i++) assert_int_equal(ids[i], i);
        assert_int_equal(ids[15], 17);
    }
}

static void nan_ranks_with_minus_infinity_and_zeros_are_equal(void **state) {
    (void)state;
    msa_shape shape = shape_of(3, 0, 0);
    int32_t ids[3];
    int64_t position = 5 * 16;
    const float nan_low[] = {NAN, -INFINITY, -1e30f, NAN, -1e38f, -INFINITY};
    assert_ok(msa_select_run(&shape, 1, &position, nan_low, 6, MSA_SCORE_DESC, ids, NULL), NULL);
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[1], 4);
    assert_int_equal(ids[2], 0);
    const float zeros[] = {-1, -0.0f, 0.0f, -0.0f, 0.0f, 0.0f};
    assert_ok(msa_select_run(&shape, 1, &position, zeros, 6, MSA_SCORE_DESC, ids, NULL), NULL);
    for (int i = 0; i < 3; i++) assert_int_equal(ids[i], i + 1);
}

static void forced_and_future_scores_are_never_read(void **state) {
    (void)state;
    msa_shape shape = shape_of(16, 2, 1);
    int64_t position = 300 * 16 + 7;
    int32_t before[16], after[16];
    static const float poison[] = {NAN, INFINITY, 123.0f, -INFINITY};
    fill_scores(NORMAL, 400, 1);
    assert_ok(
        msa_select_run(&shape, 1, &position, scores, MOST_BLOCKS, MSA_ASCENDING, before, NULL),
        NULL);
    for (int p = 0; p < 4; p++) {
        scores[0] = scores[299] = scores[300] = poison[p];
        for (int i = 301; i < MOST_BLOCKS; i++) scores[i] = poison[p];
        assert_ok(
            msa_select_run(&shape, 1, &position, scores, MOST_BLOCKS, MSA_ASCENDING, after, NULL),
            NULL);
        assert_memory_equal(before, after, sizeof before);
    }
    assert_int_equal(before[0], 0);
    assert_int_equal(before[14], 299);
    assert_int_equal(before[15], 300);
}

/* Pushing the parts of a row into lists of their own and merging those, in any order. */
static void cutting_and_merging_a_row_changes_nothing(void **state) {
    (void)state;
    for (int kind = 0; kind < SCORE_KINDS; kind++) {
        fill_scores((score_kind)kind, 1000, (uint64_t)kind + 9);
        for (int want = 1; want <= 64; want += 21)
            for (int parts = 1; parts <= 7; parts += 2) {
                uint64_t whole_keys[256], part_keys[256], keys[256];
                select_list whole, merged;
                select_list_start(&whole, whole_keys, want);
                select_list_offer(&whole, scores, 1000, 0);
                select_list_cut(&whole);
                select_list_start(&merged, keys, want);
                for (int p = parts - 1; p >= 0; p--) {
                    int first = 1000 * p / parts, end = 1000 * (p + 1) / parts;
                    select_list part;
                    select_list_start(&part, part_keys, want);
                    for (int i = first; i < end; i++)
                        select_list_push(&part, select_key(scores[i], i));
                    select_list_cut(&part);
                    for (int i = 0; i < part.n; i++) select_list_push(&merged, part_keys[i]);
                }
                select_list_cut(&merged);
                assert_int_equal(merged.n, whole.n);
                for (int i = 0; i < want; i++) {
                    int seen = 0;
                    for (int j = 0; j < want; j++) seen += keys[j] == whole_keys[i];
                    assert_int_equal(seen, 1);
                }
            }
    }
}

static void the_bar_of_many_scores_lets_enough_pass(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    for (int v = 0; v < n_isas; v++) {
        assert_ok(msa_isa_use(isas[v], NULL), NULL);
        for (int kind = 0; kind < SCORE_KINDS; kind++)
            for (int n = 0; n <= 300; n = n * 5 / 4 + 1)
                for (int want = 1; want <= 64; want += 9) {
                    fill_scores((score_kind)kind, n, (uint64_t)(kind + n));
                    float floor = attn_kernels_get()->select_floor(scores, n, want);
                    int reached = 0;
                    for (int i = 0; i < n; i++) reached += scores[i] >= floor;
                    assert_true(floor == -INFINITY || reached >= want);
                    int32_t places[300];
                    int found = attn_kernels_get()->select_above(scores, n, floor, places), at = 0;
                    for (int i = 0; i < n; i++)
                        if (scores[i] > floor) assert_int_equal(places[at++], i);
                    assert_int_equal(found, at);
                }
    }
}

static void many_rows_at_once_equal_one_by_one(void **state) {
    (void)state;
    enum { ROWS = 150, BLOCKS = 700 };
    msa_shape shape = shape_of(8, 1, 1);
    int64_t position[ROWS];
    int32_t *together = malloc(sizeof *together * ROWS * 8), alone[8];
    float *rows = malloc(sizeof *rows * ROWS * BLOCKS);
    assert_non_null(together);
    assert_non_null(rows);
    rng r = rng_seed(3);
    rng_fill_normal(&r, rows, ROWS * BLOCKS, 1);
    for (int i = 0; i < ROWS; i++) position[i] = (int64_t)rng_below(&r, BLOCKS * 16);
    assert_ok(msa_select_run(&shape, ROWS, position, rows, BLOCKS, MSA_LOCAL_LAST, together, NULL),
              NULL);
    for (int i = 0; i < ROWS; i++) {
        select_ref(&shape, position[i], rows + i * BLOCKS, MSA_LOCAL_LAST, alone);
        assert_memory_equal(alone, together + i * 8, sizeof alone);
    }
    free(rows);
    free(together);
}

/* ---- conversions */

enum { QUERIES = 40, GROUPS = 4, TOPK = 8 };

typedef struct lists {
    msa_shape shape;
    int64_t position[QUERIES];
    int32_t ids[3][2][QUERIES * GROUPS * TOPK]; /* by order and layout, from the reference */
} lists;

static lists *make_lists(int local, int init) {
    lists *l = malloc(sizeof *l);
    assert_non_null(l);
    l->shape = shape_of(TOPK, local, init);
    rng r = rng_seed(7);
    for (int t = 0; t < QUERIES; t++) {
        l->position[t] = (int64_t)rng_below(&r, t % 2 ? 60 * 16 : 12 * 16);
        for (int g = 0; g < GROUPS; g++) {
            fill_scores(NORMAL, 64, (uint64_t)(t * GROUPS + g));
            for (int order = 0; order < 3; order++) {
                int32_t row[TOPK];
                select_ref(&l->shape, l->position[t], scores, (msa_list_order)order, row);
                memcpy(l->ids[order][0] + (t * GROUPS + g) * TOPK, row, sizeof row);
                memcpy(l->ids[order][1] + (g * QUERIES + t) * TOPK, row, sizeof row);
            }
        }
    }
    return l;
}

static void lists_convert_between_all_orders_and_layouts(void **state) {
    (void)state;
    static const int forced[][2] = {{1, 0}, {2, 1}, {0, 0}, {3, 3}};
    static int32_t out[QUERIES * GROUPS * TOPK];
    msa_error err;
    for (int f = 0; f < 4; f++) {
        lists *l = make_lists(forced[f][0], forced[f][1]);
        for (int from = 0; from < 6; from++)
            for (int to = 0; to < 6; to++) {
                msa_selection a = {l->ids[from / 2][from % 2], (msa_list_order)(from / 2),
                                   (msa_list_layout)(from % 2)};
                msa_selection b = {out, (msa_list_order)(to / 2), (msa_list_layout)(to % 2)};
                msa_status status =
                    msa_selection_convert(&l->shape, QUERIES, l->position, &a, &b, &err);
                if (b.order == MSA_SCORE_DESC && a.order != MSA_SCORE_DESC) {
                    assert_fails(status, MSA_E_ARG, &err, "scores");
                    continue;
                }
                assert_ok(status, &err);
                assert_memory_equal(out, l->ids[to / 2][to % 2], sizeof out);
            }
        free(l);
    }
}

static void wrong_lists_are_refused_and_write_nothing(void **state) {
    (void)state;
    lists *l = make_lists(1, 0);
    static int32_t out[QUERIES * GROUPS * TOPK], untouched[QUERIES * GROUPS * TOPK];
    memset(out, 7, sizeof out);
    memset(untouched, 7, sizeof untouched);
    int32_t *last = l->ids[0][0] + (QUERIES * GROUPS - 1) * TOPK, kept[2] = {last[0], last[1]};
    msa_selection from = {l->ids[0][0], MSA_ASCENDING, MSA_TOKEN_MAJOR};
    msa_selection to = {out, MSA_LOCAL_LAST, MSA_HEAD_MAJOR};
    msa_error err;
    const struct {
        int32_t first, second;
        const char *word;
    } wrong[] = {{-2, kept[1], "-2"}, {INT32_MAX, kept[1], "2147483647"}, {0, 0, "twice"}};
    for (int i = 0; i < 3; i++) {
        last[0] = wrong[i].first, last[1] = wrong[i].second;
        assert_fails(msa_selection_convert(&l->shape, QUERIES, l->position, &from, &to, &err),
                     MSA_E_ARG, &err, wrong[i].word);
        assert_memory_equal(out, untouched, sizeof out);
    }
    last[0] = kept[0], last[1] = kept[1];
    to.ids = from.ids + 8;
    assert_fails(msa_selection_convert(&l->shape, QUERIES, l->position, &from, &to, &err),
                 MSA_E_ARG, &err, "overlaps");
    to.ids = NULL;
    assert_fails(msa_selection_convert(&l->shape, QUERIES, l->position, &from, &to, &err),
                 MSA_E_ARG, &err, "to: ids");
    to.ids = out;
    assert_fails(msa_selection_convert(&l->shape, -1, l->position, &from, &to, &err), MSA_E_ARG,
                 &err, "total_q");
    assert_fails(msa_selection_convert(&l->shape, INT64_MAX, l->position, &from, &to, &err),
                 MSA_E_ARG, &err, "total_q");
    to.layout = (msa_list_layout)2;
    assert_fails(msa_selection_convert(&l->shape, QUERIES, l->position, &from, &to, &err),
                 MSA_E_ARG, &err, "layout");
    free(l);
}

static void wrong_arguments_are_named(void **state) {
    (void)state;
    msa_shape shape = msa_shape_m3(), bad = shape;
    int64_t position = 100 * 128;
    int32_t ids[16];
    msa_error err;
    bad.topk = 65;
    assert_fails(msa_select_run(&bad, 1, &position, scores, 200, MSA_ASCENDING, ids, &err),
                 MSA_E_ARG, &err, "topk");
    assert_fails(msa_select_run(&shape, -1, &position, scores, 200, MSA_ASCENDING, ids, &err),
                 MSA_E_ARG, &err, "n_rows");
    assert_fails(msa_select_run(&shape, 1, NULL, scores, 200, MSA_ASCENDING, ids, &err), MSA_E_ARG,
                 &err, "position");
    assert_fails(msa_select_run(&shape, 1, &position, NULL, 200, MSA_ASCENDING, ids, &err),
                 MSA_E_ARG, &err, "scores");
    assert_fails(msa_select_run(&shape, 1, &position, scores, 200, MSA_ASCENDING, NULL, &err),
                 MSA_E_ARG, &err, "ids");
    assert_fails(msa_select_run(&shape, 1, &position, scores, 100, MSA_ASCENDING, ids, &err),
                 MSA_E_ARG, &err, "stride");
    assert_fails(msa_select_run(&shape, 1, &position, scores, 200, (msa_list_order)3, ids, &err),
                 MSA_E_ARG, &err, "order");
    position = -1;
    assert_fails(msa_select_run(&shape, 1, &position, scores, 200, MSA_ASCENDING, ids, &err),
                 MSA_E_ARG, &err, "position");
    position = INT64_MAX;
    assert_fails(msa_select_run(&shape, 1, &position, scores, 200, MSA_ASCENDING, ids, &err),
                 MSA_E_ARG, &err, "position");
    assert_ok(msa_select_run(&shape, 0, NULL, NULL, 0, MSA_ASCENDING, NULL, &err), &err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_equals_the_reference),
        cmocka_unit_test(tied_scores_give_the_lowest_ids_and_the_own_block),
        cmocka_unit_test(nan_ranks_with_minus_infinity_and_zeros_are_equal),
        cmocka_unit_test(forced_and_future_scores_are_never_read),
        cmocka_unit_test(cutting_and_merging_a_row_changes_nothing),
        cmocka_unit_test(the_bar_of_many_scores_lets_enough_pass),
        cmocka_unit_test(many_rows_at_once_equal_one_by_one),
        cmocka_unit_test(lists_convert_between_all_orders_and_layouts),
        cmocka_unit_test(wrong_lists_are_refused_and_write_nothing),
        cmocka_unit_test(wrong_arguments_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
