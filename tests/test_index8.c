/* test_index8.c: the int8 copy of index keys: its rotation, its layout, and that its bounds hold
 * for every key and query, by a margin that is there but not to spare. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attn/index8.h"
#include "base/half.h"
#include "support/attn_case.h"

static const int dims[] = {8, 24, 64, 72, 96, 120, 128, 192, 248, 256};
enum { N_DIMS = sizeof dims / sizeof *dims, MAX_DIM = 256, MAX_BLOCK = 256 };

/* ---- vectors that make trouble */

enum {
    NORMAL,
    ONE_HOT,
    WHOLE,
    OF_ALL_SIZES, /* elements of 2^-30 to 2^30 */
    HUGE_ONES,
    TINY, /* below what is kept */
    DENORMAL,
    NEARLY_EQUAL,
    ZERO,
    ALTERNATING, /* equal but for sign: a rotation of one of the transform's rows */
    KINDS,
    ODD = KINDS /* some NaN, infinity or beyond the longest */
};

static void make_vector(rng *r, int kind, int dim, float *x) {
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -2e30f};
    for (int c = 0; c < dim; c++) {
        float n = rng_normal(r);
        x[c] = kind == ONE_HOT        ? 0
               : kind == WHOLE        ? (float)((int)rng_below(r, 7) - 3)
               : kind == OF_ALL_SIZES ? ldexpf(n, (int)rng_below(r, 61) - 30)
               : kind == HUGE_ONES    ? n * 0x1p55f
               : kind == TINY         ? n * 0x1p-63f
               : kind == DENORMAL     ? n * 0x1p-140f
               : kind == NEARLY_EQUAL ? 3 + n * 1e-3f
               : kind == ZERO         ? 0
               : kind == ALTERNATING  ? (float)(1 - 2 * (c % 2))
                                      : n;
    }
    if (kind == ONE_HOT) x[rng_below(r, (uint64_t)dim)] = 5;
    if (kind == ODD) x[rng_below(r, (uint64_t)dim)] = odd[rng_below(r, 5)];
}

static float canonical(const float *q, const float *k, int dim) {
    float s = 0;
    for (int c = 0; c < dim; c++) s = fmaf(q[c], k[c], s);
    return s;
}

/* ---- rotation */

static double dot(const double *a, const double *b, int dim) {
    double sum = 0;
    for (int c = 0; c < dim; c++) sum += a[c] * b[c];
    return sum;
}

static void the_rotation_keeps_products_and_spreads_what_is_in_one_element(void **state) {
    (void)state;
    rng r = rng_seed(1);
    for (int d = 0; d < N_DIMS; d++)
        for (int round = 0; round < 20; round++) {
            int dim = dims[d];
            float a[MAX_DIM], b[MAX_DIM], hot[MAX_DIM] = {0};
            double x[MAX_DIM], y[MAX_DIM], exact = 0;
            make_vector(&r, NORMAL, dim, a);
            make_vector(&r, NORMAL, dim, b);
            index8_rotate_ref(a, dim, x);
            index8_rotate_ref(b, dim, y);
            for (int c = 0; c < dim; c++) exact += (double)a[c] * b[c];
            assert_true(fabs(dot(x, y, dim) - exact) < 1e-12 * dim);
            hot[rng_below(&r, (uint64_t)dim)] = 1;
            index8_rotate_ref(hot, dim, x);
            for (int c = 0; c < dim; c++) assert_true(fabs(x[c]) < 4 / sqrt(dim));
        }
}

/* The rounded query is R q to within the error it says, which is no more than rounding takes. */
static void queries_are_rounded_as_they_say(void **state) {
    (void)state;
    rng r = rng_seed(2);
    for (int d = 0; d < N_DIMS; d++)
        for (int kind = 0; kind <= ODD; kind++)
            for (int round = 0; round < 10; round++) {
                int dim = dims[d];
                float q[MAX_DIM];
                double y[MAX_DIM], norm = 0, error = 0, most = 0;
                int16_t numbers[MAX_DIM];
                index8_query query;
                make_vector(&r, kind, dim, q);
                index8_round_query(q, dim, &query, numbers);
                if (kind == ODD) {
                    assert_true(isinf(query.error) && isfinite(query.norm));
                    continue;
                }
                index8_rotate_ref(q, dim, y);
                for (int c = 0; c < dim; c++) {
                    norm += y[c] * y[c], most = fmax(most, fabs(y[c]));
                    error += pow(y[c] - (double)query.scale * numbers[c], 2);
                }
                assert_true(query.norm >= sqrt(norm) * (1 - 1e-12));
                assert_true(query.error >= sqrt(error) * (1 - 1e-9));
                assert_true(query.norm <= fmax(sqrt(norm) * 1.000001, 0x1p-60));
                if (most > 0x1p-60) assert_true(query.error < most / 32767 / 2 * sqrt(dim) * 1.01);
            }
}

/* ---- bounds */

typedef struct copy_case {
    int dim, block;
    float *keys; /* [block][dim] */
    char *copy;
} copy_case;

static copy_case new_copy(int dim, int block) {
    msa_shape shape = msa_shape_m3();
    shape.index_dim = dim, shape.block = block;
    copy_case c = {dim, block, malloc(sizeof(float) * (size_t)(block * dim)),
                   mem_alloc(msa_index8_block_bytes(&shape), 1)};
    if (!c.keys || !c.copy) fail_msg("no memory");
    index8_clear(c.copy, dim, block);
    return c;
}

static void free_copy(copy_case *c) {
    free(c->keys);
    mem_free(c->copy);
}

static void put_all(copy_case *c) {
    for (int j = 0; j < c->block; j++)
        index8_put(c->copy, c->dim, c->block, j, c->keys + j * c->dim);
}

typedef struct found_bounds {
    float upper[INDEX8_ROWS], lower[INDEX8_ROWS], token[INDEX8_ROWS * MAX_BLOCK];
    index8_query query[INDEX8_ROWS];
    int16_t numbers[INDEX8_ROWS * MAX_DIM];
} found_bounds;

static void bound(const copy_case *c, const float *q, int rows, found_bounds *out) {
    for (int i = 0; i < rows; i++)
        index8_round_query(q + i * c->dim, c->dim, &out->query[i], out->numbers + i * c->dim);
    index8_rows all = {out->query, out->numbers, 1, rows};
    attn_kernels_get()->index8_bound(&all, c->dim, c->block, c->copy, c->copy, out->upper,
                                     out->lower, out->token);
}

/* Every token's score lies in its interval, the block's in the block's; the panels that may hold
 * the greatest do; the kernel's interval is that of the formula. */
static void assert_bounds(const copy_case *c, const float *q, int rows, const found_bounds *b) {
    const index8_tail *tail = index8_tail_of(c->copy, c->dim, c->block);
    for (int i = 0; i < rows; i++) {
        const float *row = q + i * c->dim, *token = b->token + i * c->block;
        float best = -INFINITY, slack = index8_slack(&b->query[i], tail, c->dim);
        int best_at = 0;
        double high = -INFINITY, low = -INFINITY, loose = 0;
        for (int j = 0; j < c->block; j++) {
            float s = canonical(row, c->keys + j * c->dim, c->dim);
            index8_interval x = index8_bound_ref(&b->query[i], b->numbers + i * c->dim, c->copy,
                                                 c->dim, c->block, j);
            if (s > best) best = s, best_at = j;
            if (isnan(s)) loose = INFINITY;
            if (isnan(s)) continue;
            if (s > token[j] + slack || (isfinite(x.radius) && !(fabs(s - x.centre) <= x.radius)))
                fail_msg("width %d, row %d, token %d: score %a is not in %a +- %a, below %a",
                         c->dim, i, j, (double)s, x.centre, x.radius, (double)(token[j] + slack));
            high = fmax(high, x.centre + x.radius), low = fmax(low, x.centre - x.radius);
            loose = fmax(loose, 1e-6 * (fabs(x.centre) + x.radius));
        }
        if (!(b->lower[i] <= best && best <= b->upper[i]))
            fail_msg("%s, width %d, row %d: score %a is not in %a .. %a",
                     msa_isa_name(msa_isa_current()), c->dim, i, (double)best, (double)b->lower[i],
                     (double)b->upper[i]);
        if (isfinite(loose)) {
            if (!(fabs(b->upper[i] - high) <= loose && fabs(b->lower[i] - low) <= loose))
                fail_msg("%s, width %d, row %d: bounds %a .. %a; expected %a .. %a",
                         msa_isa_name(msa_isa_current()), c->dim, i, (double)b->lower[i],
                         (double)b->upper[i], low, high);
        }
        uint32_t panels = attn_kernels_get()->index8_panels(token, c->block, slack, b->lower[i]);
        if (best > -INFINITY) assert_true(panels >> best_at / 16 & 1);
    }
}

static void no_score_lies_outside_its_bounds(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    rng r = rng_seed(3);
    static found_bounds first, b;
    for (int d = 0; d < N_DIMS; d++)
        for (int kind = 0; kind <= ODD; kind++) {
            if (test_brief() && (d + kind) % 4) continue;
            int rows = 1 + (int)rng_below(&r, INDEX8_ROWS);
            copy_case c = new_copy(dims[d], 16 << (kind + d) % 5);
            float q[INDEX8_ROWS * MAX_DIM];
            for (int j = 0; j < c.block; j++) /* some blocks of one kind, some of many */
                make_vector(&r,
                            d % 2                  ? kind
                            : kind == ODD && j % 9 ? 0
                                                   : (kind + j % 3) % (ODD + 1),
                            c.dim, c.keys + j * c.dim);
            put_all(&c);
            for (int i = 0; i < rows; i++)
                make_vector(&r, (kind + i) % (ODD + 1), c.dim, q + i * c.dim);
            for (int v = 0; v < n_isas; v++) {
                assert_ok(msa_isa_use(isas[v], NULL), NULL);
                bound(&c, q, rows, &b);
                assert_bounds(&c, q, rows, &b);
                if (v == 0) first = b;
                assert_memory_equal(b.upper, first.upper, (size_t)rows * sizeof(float));
                assert_memory_equal(b.lower, first.lower, (size_t)rows * sizeof(float));
                assert_memory_equal(b.token, first.token, (size_t)(rows * c.block) * sizeof(float));
            }
            free_copy(&c);
        }
    assert_ok(msa_isa_use(isas[n_isas - 1], NULL), NULL);
}

/* What the copy leaves of the key, rotated back: the query for which rounding matters most. */
static void along_what_rounding_left(const copy_case *c, int token, float *q) {
    double y[MAX_DIM], scale = bf16_to_f32(index8_scales(c->copy, c->dim, c->block)[token]);
    const int8_t *k8 = index8_token(c->copy, c->dim, token);
    index8_rotate_ref(c->keys + token * c->dim, c->dim, y);
    for (int i = 0; i < c->dim; i++) y[i] -= scale * k8[i / 2 * 32 + i % 2];
    for (int i = 0; i < c->dim; i++) { /* the transposed rotation, by its columns */
        float unit[MAX_DIM] = {0};
        double column[MAX_DIM];
        unit[i] = 1;
        index8_rotate_ref(unit, c->dim, column);
        q[i] = (float)(dot(column, y, c->dim) * 1000);
    }
}

/* Copies that bound with half the width must fail: the worst query uses nearly all of it, upwards,
 * and its opposite downwards. */
static void half_the_interval_would_be_too_small(void **state) {
    (void)state;
    rng r = rng_seed(4);
    static found_bounds b;
    for (int d = 0; d < N_DIMS; d++) {
        copy_case c = new_copy(dims[d], 16);
        float q[2 * MAX_DIM];
        make_vector(&r, NORMAL, c.dim, c.keys);
        for (int j = 1; j < 16; j++) memcpy(c.keys + j * c.dim, c.keys, (size_t)c.dim * 4);
        put_all(&c);
        along_what_rounding_left(&c, 3, q);
        for (int i = 0; i < c.dim; i++) q[c.dim + i] = -q[i];
        bound(&c, q, 2, &b);
        assert_bounds(&c, q, 2, &b);
        for (int i = 0; i < 2; i++) {
            double s = canonical(q + i * c.dim, c.keys, c.dim);
            double centre = ((double)b.upper[i] + b.lower[i]) / 2;
            double used = (s - centre) / ((double)b.upper[i] - centre) * (i ? -1 : 1);
            if (!(used > 0.9 && used <= 1))
                fail_msg("width %d: the worst query uses %.3f of its interval", c.dim, used);
        }
        free_copy(&c);
    }
}

/* Keys and queries whose rotations are whole numbers of their scales: what remains is the rounding
 * of the canonical sum, and the interval is not much wider than that. */
static void a_copy_without_error_leaves_the_rounding_of_the_sum(void **state) {
    (void)state;
    static found_bounds b;
    copy_case c = new_copy(64, 16);
    float q[64];
    for (int j = 0; j < 16 * 64; j++) c.keys[j] = j % 64 == j / 64 ? 127 * 8 : 0;
    put_all(&c); /* R k is +-127 everywhere, its scale 1 */
    for (int i = 0; i < 64; i++) q[i] = i == 3 ? 32767 * 8 : 0;
    bound(&c, q, 1, &b);
    double score = 127.0 * 32767 * 64;
    assert_true(index8_bound_ref(&b.query[0], b.numbers, c.copy, 64, 16, 3).centre == score);
    assert_true(b.lower[0] <= score && score <= b.upper[0]);
    assert_true(b.upper[0] - b.lower[0] < 3e-5 * score);
    assert_true(b.upper[0] - b.lower[0] > 2 * 64 * 0x1p-24 * score);
    free_copy(&c);
}

/* ---- lanes */

typedef struct stored_copies {
    msa_index8_lane lane;
    size_t n_bytes, block_bytes;
} stored_copies;

static stored_copies new_lane(const attn_case *c, int64_t n_places) {
    stored_copies s = {.block_bytes = msa_index8_block_bytes(&c->shape)};
    s.n_bytes = (size_t)(n_places * c->shape.n_index_keys) * s.block_bytes;
    char *data = mem_alloc(s.n_bytes, 1);
    if (!data) fail_msg("no memory for copies");
    memset(data, 0x5a, s.n_bytes);
    s.lane = msa_index8_lane_of(data, &c->shape);
    return s;
}

/* Copies the tokens [first, end) of a one-request case. */
static void copy_tokens(const attn_case *c, int64_t first, int64_t end, const msa_index8_lane *lane,
                        int threads) {
    int32_t cu[2] = {0, (int32_t)(end - first)};
    msa_batch batch = c->batch;
    batch.cu_seqlens_q = cu, batch.kv_len = &end, batch.qo_offset = &first;
    msa_plan *plan = NULL;
    msa_error err;
    msa_plan_options options = {.n_threads = threads};
    msa_index8_args args = {c->ki_lane, *lane};
    assert_ok(msa_index8_plan(&plan, &c->shape, &batch, &options, &err), &err);
    assert_ok(msa_index8_run(plan, &args, &err), &err);
    msa_plan_free(plan);
}

/* The bytes of a block's copy that mean something, in a lane of a contiguous or paged case. */
static const char *copy_at(const attn_case *c, const stored_copies *s, int64_t block, int head) {
    int64_t page = c->batch.page_table ? c->batch.page_table[block] : block;
    return (const char *)s->lane.data + page * s->lane.stride_page + head * s->lane.stride_head;
}

static void assert_copies_equal(const attn_case *c, const stored_copies *a, const attn_case *d,
                                const stored_copies *b) {
    size_t n = (size_t)c->shape.block * (size_t)(c->shape.index_dim + 2) + sizeof(index8_tail);
    for (int64_t at = 0; at * c->shape.block < c->kv_len[0]; at++)
        for (int head = 0; head < c->shape.n_index_keys; head++)
            assert_memory_equal(copy_at(c, a, at, head), copy_at(d, b, at, head), n);
}

static attn_case one_request(int keys, int dim, int block, int n) {
    msa_shape shape = small_shape(keys, keys, 8, block, 4);
    shape.n_index_heads = keys, shape.n_index_keys = keys, shape.index_dim = dim;
    int q = 1;
    return case_make(shape, 1, &q, &n, 7, false);
}

static void copies_do_not_depend_on_steps_layouts_or_threads(void **state) {
    (void)state;
    static const int steps[] = {1, 3, 16, 37, 1000};
    for (int s = 0; s < 3; s++) {
        attn_case c = one_request(1 + s % 2, s ? 72 : 128, 16 << s, 150 + s),
                  d = one_request(1 + s % 2, s ? 72 : 128, 16 << s, 150 + s);
        for (int dtype = 0; dtype <= MSA_BF16; dtype++) {
            case_lay_out(&d, CASE_RAGGED, (msa_dtype)dtype, 3);
            stored_copies whole = new_lane(&d, 40);
            copy_tokens(&d, 0, d.kv_len[0], &whole.lane, 1);
            for (int layout = 0; layout < CASE_LAYOUTS; layout++) {
                case_lay_out(&c, (case_layout)layout, (msa_dtype)dtype, 3);
                stored_copies parts = new_lane(&c, 40 + c.batch.n_pages);
                int step = steps[(layout + dtype + s) % 5];
                for (int64_t at = 0; at < c.kv_len[0]; at += step)
                    copy_tokens(&c, at, at + step < c.kv_len[0] ? at + step : c.kv_len[0],
                                &parts.lane, 1 + layout);
                assert_copies_equal(&c, &parts, &d, &whole);
                mem_free(parts.lane.data);
            }
            mem_free(whole.lane.data);
        }
        case_free(&c);
        case_free(&d);
    }
}

/* Truncation to the middle of a block, other tokens in place of those behind: the bounds hold. */
static void a_block_goes_on_after_truncation(void **state) {
    (void)state;
    rng r = rng_seed(8);
    static found_bounds b;
    float q[INDEX8_ROWS * MAX_DIM];
    for (int kind = 0; kind < KINDS; kind++) {
        copy_case c = new_copy(96, 64);
        for (int j = 0; j < 64; j++) make_vector(&r, kind, 96, c.keys + j * 96);
        put_all(&c);
        for (int j = 20; j < 64; j++) {
            make_vector(&r, (kind + 3) % KINDS, 96, c.keys + j * 96);
            index8_put(c.copy, 96, 64, j, c.keys + j * 96);
        }
        for (int i = 0; i < 4; i++) make_vector(&r, NORMAL, 96, q + i * 96);
        bound(&c, q, 4, &b);
        assert_bounds(&c, q, 4, &b);
        free_copy(&c);
    }
}

static void nothing_beside_a_copy_is_touched(void **state) {
    (void)state;
    attn_case c = one_request(1, 24, 32, 70);
    case_lay_out(&c, CASE_RAGGED, MSA_BF16, 1);
    stored_copies s = new_lane(&c, 9);
    int64_t start = 3;
    s.lane.start = &start;
    copy_tokens(&c, 0, 70, &s.lane, 2);
    const uint8_t *byte = s.lane.data;
    for (size_t i = 0; i < s.n_bytes; i++)
        if (i < 3 * s.block_bytes || i >= 6 * s.block_bytes) assert_int_equal(byte[i], 0x5a);
    assert_int_not_equal(byte[3 * s.block_bytes], 0x5a);
    mem_free(s.lane.data);
    case_free(&c);
}

static void a_copy_is_half_of_bf16(void **state) {
    (void)state;
    msa_shape m3 = msa_shape_m3();
    assert_int_equal(msa_index8_block_bytes(&m3), 16704);
    assert_true(msa_index8_block_bytes(&m3) < 0.51 * 128 * 128 * 2);
    m3.block = 100;
    assert_int_equal(msa_index8_block_bytes(&m3), 0);
}

static void wrong_arguments_are_named(void **state) {
    (void)state;
    attn_case c = one_request(2, 16, 16, 60);
    case_lay_out(&c, CASE_PANELS, MSA_F32, 1);
    stored_copies s = new_lane(&c, 40);
    msa_plan *plan = NULL, *index = NULL;
    msa_error err;
    msa_plan_options options = {.index8 = 1};
    assert_fails(msa_index8_run(NULL, NULL, &err), MSA_E_ARG, &err, "plan is NULL");
    assert_fails(msa_index8_plan(&plan, &c.shape, &c.batch, &options, &err), MSA_E_UNSUPPORTED,
                 &err, "index8");
    assert_ok(msa_index8_plan(&plan, &c.shape, &c.batch, NULL, &err), &err);
    msa_index8_args good = {c.ki_lane, s.lane}, bad;
    assert_fails(msa_index8_run(plan, NULL, &err), MSA_E_ARG, &err, "args");
    bad = good, bad.ki.data = NULL;
    assert_fails(msa_index8_run(plan, &bad, &err), MSA_E_ARG, &err, "ki");
    bad = good, bad.out.data = NULL;
    assert_fails(msa_index8_run(plan, &bad, &err), MSA_E_ARG, &err, "out: data");
    bad = good, bad.out.data = (char *)bad.out.data + 8;
    assert_fails(msa_index8_run(plan, &bad, &err), MSA_E_ARG, &err, "aligned");
    bad = good, bad.out.stride_page -= s.lane.stride_page;
    assert_fails(msa_index8_run(plan, &bad, &err), MSA_E_ARG, &err, "stride_page");
    bad = good, bad.out.stride_head += 8;
    assert_fails(msa_index8_run(plan, &bad, &err), MSA_E_ARG, &err, "stride_head");
    assert_ok(msa_index8_run(plan, &good, &err), &err);
    case_lay_out(&c, CASE_RAGGED, MSA_F32, 1);
    assert_ok(msa_index8_plan(&plan, &c.shape, &c.batch, NULL, &err), &err);
    int64_t start = -1;
    bad = good, bad.ki = c.ki_lane, bad.out.start = &start;
    assert_fails(msa_index8_run(plan, &bad, &err), MSA_E_ARG, &err, "start[0]");
    assert_ok(msa_index_plan(&index, &c.shape, &c.batch, &options, &err), &err);
    assert_fails(msa_index8_run(index, &good, &err), MSA_E_ARG, &err, "msa_index_plan");
    options.index8 = 2;
    assert_fails(msa_index_plan(&index, &c.shape, &c.batch, &options, &err), MSA_E_ARG, &err,
                 "index8 is 2");
    options.index8 = 1;
    msa_plan *dense = NULL;
    assert_fails(msa_dense_plan(&dense, &c.shape, &c.batch, &options, &err), MSA_E_UNSUPPORTED,
                 &err, "index8");
    msa_plan_free(plan);
    msa_plan_free(index);
    mem_free(s.lane.data);
    case_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rotation_keeps_products_and_spreads_what_is_in_one_element),
        cmocka_unit_test(queries_are_rounded_as_they_say),
        cmocka_unit_test(no_score_lies_outside_its_bounds),
        cmocka_unit_test(half_the_interval_would_be_too_small),
        cmocka_unit_test(a_copy_without_error_leaves_the_rounding_of_the_sum),
        cmocka_unit_test(copies_do_not_depend_on_steps_layouts_or_threads),
        cmocka_unit_test(a_block_goes_on_after_truncation),
        cmocka_unit_test(nothing_beside_a_copy_is_touched),
        cmocka_unit_test(a_copy_is_half_of_bf16),
        cmocka_unit_test(wrong_arguments_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
