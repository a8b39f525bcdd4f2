/* test_means.c: blocks chosen by the mean of their keys: by hand, against the formula in double;
 * the same on every instruction set, layout and number of threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn/means.h"
#include "attn/select.h"
#include "support/attn_case.h"

typedef struct means_shape {
    int hkv, dim, block, topk, local, init;
} means_shape;

static const means_shape SHAPES[] = {
    {1, 8, 16, 3, 1, 0},  {2, 24, 32, 4, 0, 0},   {3, 64, 64, 4, 2, 1},
    {1, 40, 16, 5, 0, 1}, {2, 128, 128, 3, 1, 0}, {2, 16, 256, 2, 0, 1},
};
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES };

/* A prefill that ends inside a block, a decode, an empty request, queries before the end; beyond k
 * blocks. One query head a group: q is the query of the group. */
static attn_case make_case(const means_shape *s) {
    int B = s->block, far = (s->topk + 3) * B;
    int q_len[] = {case_queries(B + 3, 1), 1, 0, 2, case_queries(50, 1)},
        kv_len[] = {B + 3, far + 1, 0, far, far + 7};
    msa_shape shape = small_shape(s->hkv, s->hkv, s->dim, s->block, s->topk);
    shape.local = s->local, shape.init = s->init;
    attn_case c = case_make(shape, 5, q_len, kv_len, 13, false);
    c.offset[3] = far - B - 1;
    return c;
}

static int32_t *run(const attn_case *c, int n_threads) {
    size_t n = (size_t)(c->total_q * c->shape.n_kv_heads * c->shape.topk);
    int32_t *ids = malloc(n * sizeof *ids);
    msa_plan *plan = NULL;
    msa_plan_options options = {.n_threads = n_threads};
    msa_error err;
    memset(ids, 0x5a, n * sizeof *ids);
    assert_ok(means_plan(&plan, &c->shape, &c->batch, &options, &err), &err);
    assert_ok(means_run(plan, &(means_args){.q = c->q, .k = c->k_lane, .ids = ids}, &err), &err);
    msa_plan_free(plan);
    return ids;
}

static int32_t *reference(const attn_case *c) {
    int32_t hkv = c->shape.n_kv_heads, k = c->shape.topk;
    int64_t n_blocks = c->max_kv / c->shape.block + 1, rows = c->total_q * hkv;
    int32_t *ids = malloc((size_t)(rows * k) * sizeof *ids), *out = ids;
    double *scores = malloc((size_t)(rows * n_blocks) * sizeof *scores), *row = scores;
    float *rounded = malloc((size_t)n_blocks * sizeof *rounded);
    means_ref(&c->shape, &c->batch, &(means_args){.q = c->q, .k = c->k_lane}, n_blocks, scores);
    for (int32_t r = 0; r < c->n_requests; r++) {
        int64_t n = c->cu[r + 1] - c->cu[r];
        int64_t first = c->offset[r] >= 0 ? c->offset[r] : c->kv_len[r] - n;
        for (int64_t i = 0; i < n * hkv; i++, row += n_blocks, out += k) {
            for (int64_t b = 0; b < n_blocks; b++) rounded[b] = (float)row[b];
            select_ref(&c->shape, first + i / hkv, rounded, MSA_ASCENDING, out);
        }
    }
    free(rounded);
    free(scores);
    return ids;
}

static void every_isa_layout_and_thread_count_chooses_as_the_formula(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    for (int s = 0; s < N_SHAPES; s++) {
        attn_case c = make_case(&SHAPES[s]);
        size_t bytes = (size_t)(c.total_q * c.shape.n_kv_heads * c.shape.topk) * sizeof(int32_t);
        for (int dtype = 0; dtype < CASE_FORMATS; dtype++) {
            if (test_brief() && dtype != s % CASE_FORMATS) continue;
            case_lay_out(&c, CASE_RAGGED, (msa_dtype)dtype, 5);
            int32_t *expected = reference(&c);
            for (int layout = 0; layout < CASE_LAYOUTS; layout++) {
                case_lay_out(&c, (case_layout)layout, (msa_dtype)dtype, 9);
                for (int v = 0; v < n_isas; v++) {
                    assert_ok(msa_isa_use(isas[v], NULL), NULL);
                    int32_t *ids = run(&c, 1 + v);
                    assert_memory_equal(ids, expected, bytes);
                    free(ids);
                }
            }
            free(expected);
        }
        case_free(&c);
    }
}

/* Keys of width 8 of which the first element counts: block 0 has the greatest key and the mean 0,
 * block 1 the mean 1, block 2 the mean 1 over what is visible of it. */
static void small_cases_come_out_as_by_hand(void **state) {
    (void)state;
    float q[8] = {2}, k[48 * 8] = {0};
    for (int j = 0; j < 48; j++) k[j * 8] = j < 16 ? (j % 2 ? -9 : 9) : 1;
    msa_shape shape = small_shape(1, 1, 8, 16, 1);
    shape.local = 0;
    msa_plan *plan = NULL;
    msa_error err;
    const struct {
        float last; /* the key of token 40 */
        int64_t kv_len;
        int32_t id;
    } cases[] = {{1, 48, 1} /* a tie goes to the lower id */,
                 {2, 48, 2},
                 {0, 48, 1},
                 {2, 40, 1},
                 {2, 41, 2},
                 {1, 32, 1},
                 {1, 10, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t cu[] = {0, 1}, id = -2;
        msa_batch batch = {.n_requests = 1, .cu_seqlens_q = cu, .kv_len = &cases[i].kv_len};
        k[40 * 8] = cases[i].last;
        means_args args = {.q = q, .k = msa_lane_ragged(k, MSA_F32, 1, 8), .ids = &id};
        assert_ok(means_plan(&plan, &shape, &batch, NULL, &err), &err);
        assert_ok(means_run(plan, &args, &err), &err);
        assert_int_equal(id, cases[i].id);
    }
    k[20 * 8] = NAN; /* as -inf, so block 0 wins with nothing */
    int32_t cu[] = {0, 1}, id = -2;
    int64_t kv_len = 33;
    k[32 * 8] = -1;
    msa_batch batch = {.n_requests = 1, .cu_seqlens_q = cu, .kv_len = &kv_len};
    means_args args = {.q = q, .k = msa_lane_ragged(k, MSA_F32, 1, 8), .ids = &id};
    assert_ok(means_plan(&plan, &shape, &batch, NULL, &err), &err);
    assert_ok(means_run(plan, &args, &err), &err);
    assert_int_equal(id, 0);
    msa_plan_free(plan);
}

static void bad_arguments_are_refused(void **state) {
    (void)state;
    attn_case c = make_case(&SHAPES[0]);
    case_lay_out(&c, CASE_RAGGED, MSA_F32, 1);
    msa_plan *plan = NULL;
    msa_error err;
    int32_t ids[1];
    means_args args = {.k = c.k_lane, .ids = ids};
    assert_ok(means_plan(&plan, &c.shape, &c.batch, NULL, &err), &err);
    assert_fails(means_run(plan, &args, &err), MSA_E_ARG, &err, "q is NULL");
    args.q = c.q, args.ids = NULL;
    assert_fails(means_run(plan, &args, &err), MSA_E_ARG, &err, "ids is NULL");
    args.ids = ids, args.k.data = NULL;
    assert_fails(means_run(plan, &args, &err), MSA_E_ARG, &err, "k: data is NULL");
    assert_fails(means_run(plan, NULL, &err), MSA_E_ARG, &err, "args is NULL");
    msa_plan_free(plan);
    case_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_cases_come_out_as_by_hand),
        cmocka_unit_test(every_isa_layout_and_thread_count_chooses_as_the_formula),
        cmocka_unit_test(bad_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
