/* test_oracle.c: the operators against what Transformers and PyTorch computed (tests/oracle). */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "msa/attn.h"
#include "support/golden.h"

static msa_isa isas[MSA_ISA_COUNT];
static int n_isas;

static void *allocate(size_t n, size_t size) {
    void *memory = calloc(n ? n : 1, size);
    assert_non_null(memory);
    return memory;
}

static msa_shape shape_of(const golden *g) {
    msa_shape shape = msa_shape_m3();
    shape.n_q_heads = golden_int(g, "n_q_heads");
    shape.n_kv_heads = shape.n_index_heads = golden_int(g, "n_kv_heads");
    shape.head_dim = golden_int(g, "head_dim");
    shape.n_index_keys = 1;
    shape.local = 1;
    shape.init = 0;
    if (golden_int(g, "block")) {
        shape.block = golden_int(g, "block");
        shape.topk = golden_int(g, "topk");
    }
    return shape;
}

/* One request of q_len queries at the end of kv_len contiguous tokens. */
typedef struct request {
    int32_t cu_seqlens_q[2];
    int64_t kv_len;
    msa_batch batch;
} request;

static const msa_batch *request_of(request *r, int q_len, int kv_len) {
    r->cu_seqlens_q[0] = 0;
    r->cu_seqlens_q[1] = q_len;
    r->kv_len = kv_len;
    r->batch = (msa_batch){.n_requests = 1, .cu_seqlens_q = r->cu_seqlens_q, .kv_len = &r->kv_len};
    return &r->batch;
}

static int by_value(const void *a, const void *b) {
    return (*(const int32_t *)a > *(const int32_t *)b) -
           (*(const int32_t *)a < *(const int32_t *)b);
}

/* Lists [n, k], equal as sets; -1 counts as an element. */
static void assert_same_sets(const int32_t *found, const int32_t *expected, size_t n, int k) {
    for (size_t i = 0; i < n; i++) {
        int32_t a[64], b[64];
        memcpy(a, found + i * (size_t)k, (size_t)k * 4);
        memcpy(b, expected + i * (size_t)k, (size_t)k * 4);
        qsort(a, (size_t)k, 4, by_value);
        qsort(b, (size_t)k, 4, by_value);
        for (int c = 0; c < k; c++)
            if (a[c] != b[c])
                fail_msg("row %zu: list holds %d where Transformers has %d", i, a[c], b[c]);
    }
}

static void assert_near(const float *found, const float *expected, size_t n, double bound) {
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)found[i] - expected[i]) <= bound))
            fail_msg("element %zu is %.9g, the oracle has %.9g (bound %.3g)", i, found[i],
                     expected[i], bound);
}

/* The index branch of an M3 layer: ids of the whole prompt at once, as sets, own block first. */
static void select_like_transformers(const char *name) {
    golden *g = golden_open(name);
    msa_shape shape = shape_of(g);
    shape.index_dim = golden_int(g, "index_dim");
    int tokens = golden_int(g, "tokens"), groups = shape.n_kv_heads, k = shape.topk;
    size_t rows = (size_t)tokens * (size_t)groups;
    const float *qi = golden_f32(g, "index_q", rows * (size_t)shape.index_dim);
    const float *ki = golden_f32(g, "index_k", (size_t)tokens * (size_t)shape.index_dim);
    const int32_t *expected = golden_i32(g, "ids", rows * (size_t)k);
    int32_t *ids = allocate(rows * (size_t)k, 4);
    request r;
    msa_error err;

    for (int i = 0; i < n_isas; i++) {
        assert_ok(msa_isa_use(isas[i], &err), &err);
        msa_plan *plan = NULL;
        assert_ok(msa_index_plan(&plan, &shape, request_of(&r, tokens, tokens), NULL, &err), &err);
        msa_index_args args = {.qi = qi,
                               .ki = msa_lane_ragged(ki, MSA_F32, 1, shape.index_dim),
                               .out = {ids, MSA_SCORE_DESC, MSA_TOKEN_MAJOR}};
        assert_ok(msa_index_run(plan, &args, &err), &err);
        msa_plan_free(plan);
        assert_same_sets(ids, expected, rows, k);
        for (size_t row = 0; row < rows; row++)
            assert_int_equal(ids[row * (size_t)k], expected[row * (size_t)k]);
    }
    assert_ok(msa_isa_use(isas[n_isas - 1], &err), &err);
    free(ids);
    golden_close(g);
}

static void selection_equals_transformers_on_whole_number_scores(void **state) {
    (void)state;
    select_like_transformers("m3_exact");
}

static void selection_equals_transformers_after_norm_and_rope(void **state) {
    (void)state;
    select_like_transformers("m3_real");
}

typedef struct attention {
    msa_status (*plan)(msa_plan **, const msa_shape *, const msa_batch *, const msa_plan_options *,
                       msa_error *);
    msa_status (*run)(msa_plan *, const msa_attn_args *, msa_error *);
    msa_order order;
} attention;

static const attention DENSE = {msa_dense_plan, msa_dense_run, MSA_ORDER_AUTO};
static const attention SPARSE_QUERY = {msa_sparse_plan, msa_sparse_run, MSA_ORDER_QUERY};
static const attention SPARSE_KV = {msa_sparse_plan, msa_sparse_run, MSA_ORDER_KV};
static const attention DECODE = {msa_decode_plan, msa_decode_run, MSA_ORDER_AUTO};

/* Runs it on every instruction set and compares output and, where given, LSE. */
static void attend_like_oracle(const attention *with, const msa_shape *shape, int q_len, int kv_len,
                               msa_attn_args args, const float *out, const float *lse,
                               double bound) {
    size_t rows = (size_t)q_len * (size_t)shape->n_q_heads;
    size_t width = (size_t)shape->head_dim;
    args.out = allocate(rows * width, 4);
    args.lse = allocate(rows, 4);
    request r;
    msa_error err;
    for (int i = 0; i < n_isas; i++) {
        assert_ok(msa_isa_use(isas[i], &err), &err);
        msa_plan *plan = NULL;
        msa_plan_options options = {.order = with->order};
        assert_ok(with->plan(&plan, shape, request_of(&r, q_len, kv_len), &options, &err), &err);
        assert_ok(with->run(plan, &args, &err), &err);
        msa_plan_free(plan);
        assert_near(args.out, out, rows * width, bound);
        if (lse) assert_near(args.lse, lse, rows, 4e-6);
    }
    assert_ok(msa_isa_use(isas[n_isas - 1], &err), &err);
    free(args.out);
    free(args.lse);
}

/* Transformers' output is plain f32 itself: twice its own kind of error on either side. */
static void attention_equals_transformers_given_its_lists(void **state) {
    (void)state;
    golden *g = golden_open("m3_real");
    msa_shape shape = shape_of(g);
    int tokens = golden_int(g, "tokens");
    size_t n = (size_t)tokens, d = (size_t)shape.head_dim;
    size_t heads = (size_t)shape.n_q_heads, groups = (size_t)shape.n_kv_heads;
    size_t listed = n * groups * (size_t)shape.topk;
    int32_t *ids = allocate(listed, 4);
    memcpy(ids, golden_i32(g, "ids", listed), listed * 4);
    msa_selection selection = {ids, MSA_SCORE_DESC, MSA_TOKEN_MAJOR};
    const float *k = golden_f32(g, "k", n * groups * d), *v = golden_f32(g, "v", n * groups * d);
    msa_attn_args args = {.q = golden_f32(g, "q", n * heads * d),
                          .k = msa_lane_ragged(k, MSA_F32, shape.n_kv_heads, shape.head_dim),
                          .v = msa_lane_ragged(v, MSA_F32, shape.n_kv_heads, shape.head_dim),
                          .selection = &selection};
    const float *out = golden_f32(g, "out", n * heads * d);
    attend_like_oracle(&SPARSE_QUERY, &shape, tokens, tokens, args, out, NULL, 4e-6);
    attend_like_oracle(&SPARSE_KV, &shape, tokens, tokens, args, out, NULL, 4e-6);
    free(ids);
    golden_close(g);
}

static const void *stored(const golden *g, const char *name, msa_dtype dtype, size_t n) {
    if (dtype == MSA_F32) return golden_f32(g, name, n);
    return golden_u16(g, name, n);
}

/* Twice the error of PyTorch's own f32 kernel on the same input, plus one rounding. */
static void attend_like_sdpa(const char *name, int n_ways, const attention *const *ways) {
    golden *g = golden_open(name);
    msa_shape shape = shape_of(g);
    int q_len = golden_int(g, "q_len"), kv_len = golden_int(g, "kv_len");
    size_t d = (size_t)shape.head_dim, heads = (size_t)shape.n_q_heads;
    size_t keys = (size_t)kv_len * (size_t)shape.n_kv_heads * d, rows = (size_t)q_len * heads;
    msa_dtype dtype;
    msa_error err;
    assert_ok(msa_dtype_parse(golden_string(g, "dtype"), &dtype, &err), &err);
    msa_attn_args args = {
        .q = golden_f32(g, "q", rows * d),
        .k = msa_lane_ragged(stored(g, "k", dtype, keys), dtype, shape.n_kv_heads, shape.head_dim),
        .v = msa_lane_ragged(stored(g, "v", dtype, keys), dtype, shape.n_kv_heads, shape.head_dim)};
    msa_selection selection = {NULL, MSA_ASCENDING, MSA_TOKEN_MAJOR};
    if (golden_int(g, "topk")) {
        size_t listed = (size_t)q_len * (size_t)shape.n_kv_heads * (size_t)shape.topk;
        selection.ids = allocate(listed, 4);
        memcpy(selection.ids, golden_i32(g, "ids", listed), listed * 4);
        args.selection = &selection;
    }
    double bound = 2 * golden_number(g, "naive_error") + 2.4e-7;
    for (int i = 0; i < n_ways; i++)
        attend_like_oracle(ways[i], &shape, q_len, kv_len, args, golden_f32(g, "out", rows * d),
                           golden_f32(g, "lse", rows), bound);
    free(selection.ids);
    golden_close(g);
}

static void dense_equals_sdpa(void **state) {
    (void)state;
    attend_like_sdpa("sdpa_dense_f32", 1, (const attention *[]){&DENSE});
    attend_like_sdpa("sdpa_dense_f16", 1, (const attention *[]){&DENSE});
    attend_like_sdpa("sdpa_dense_bf16", 1, (const attention *[]){&DENSE});
}

static void sparse_equals_sdpa_with_the_list_as_mask(void **state) {
    (void)state;
    const attention *both[] = {&SPARSE_QUERY, &SPARSE_KV, &DECODE};
    attend_like_sdpa("sdpa_sparse_f32", 2, both);
    attend_like_sdpa("sdpa_sparse_f16", 2, both);
    attend_like_sdpa("sdpa_sparse_bf16", 3, both);
}

int main(void) {
    n_isas = isas_available(isas);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selection_equals_transformers_on_whole_number_scores),
        cmocka_unit_test(selection_equals_transformers_after_norm_and_rope),
        cmocka_unit_test(attention_equals_transformers_given_its_lists),
        cmocka_unit_test(dense_equals_sdpa),
        cmocka_unit_test(sparse_equals_sdpa_with_the_list_as_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
