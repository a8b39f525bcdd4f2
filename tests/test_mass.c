/* test_mass.c: attention masses of blocks: by hand, against the formula in double, the same bits on
 * every instruction set, layout and cut of the queries; and the blocks chosen by them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn/mass.h"
#include "attn/select.h"
#include "support/attn_case.h"

typedef struct mass_shape {
    int hq, hkv, dim, block, topk, local, init;
} mass_shape;

static const mass_shape SHAPES[] = {
    {1, 1, 8, 16, 3, 1, 0},   {6, 2, 24, 32, 4, 0, 0},   {9, 3, 64, 64, 4, 2, 1},
    {16, 1, 40, 16, 5, 1, 1}, {4, 2, 128, 128, 3, 1, 0}, {70, 1, 16, 32, 2, 0, 1},
    {1, 1, 8, 256, 2, 1, 0},
};
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES };

static msa_shape shape_of(const mass_shape *s) {
    msa_shape shape = small_shape(s->hq, s->hkv, s->dim, s->block, s->topk);
    shape.local = s->local, shape.init = s->init;
    return shape;
}

/* A prefill that ends inside a block, a decode, an empty request, queries before the end; beyond k
 * blocks. */
static attn_case make_case(const mass_shape *s) {
    int B = s->block, far = (s->topk + 3) * B;
    int q_len[] = {case_queries(B + 3, s->hq / s->hkv), 1, 0, 2, case_queries(20, s->hq / s->hkv)},
        kv_len[] = {B + 3, far + 1, 0, far, far + 7};
    attn_case c = case_make(shape_of(s), 5, q_len, kv_len, 12, false);
    c.offset[3] = far - B - 1;
    return c;
}

typedef struct result {
    float *mass;
    int32_t *ids;
    size_t n_mass, n_ids;
    int64_t n_blocks;
} result;

static result new_result(const attn_case *c) {
    result r = {.n_blocks = c->max_kv / c->shape.block + 2};
    r.n_mass = (size_t)(c->total_q * c->shape.n_kv_heads * r.n_blocks);
    r.n_ids = (size_t)(c->total_q * c->shape.n_kv_heads * c->shape.topk);
    r.mass = malloc(r.n_mass * sizeof *r.mass);
    r.ids = malloc(r.n_ids * sizeof *r.ids);
    if (!r.mass || !r.ids) fail_msg("no memory");
    memset(r.mass, 0x5a, r.n_mass * sizeof *r.mass);
    memset(r.ids, 0x5a, r.n_ids * sizeof *r.ids);
    return r;
}

static void free_result(result *r) {
    free(r->mass);
    free(r->ids);
}

static result run(const attn_case *c, int n_threads) {
    result r = new_result(c);
    msa_plan *plan = NULL;
    msa_plan_options options = {.n_threads = n_threads};
    mass_args args = {
        .q = c->q, .k = c->k_lane, .mass = r.mass, .n_blocks = r.n_blocks, .ids = r.ids};
    msa_error err;
    assert_ok(mass_plan(&plan, &c->shape, &c->batch, &options, &err), &err);
    assert_ok(mass_run(plan, &args, &err), &err);
    msa_plan_free(plan);
    return r;
}

static void assert_same(const result *a, const result *b) {
    assert_memory_equal(a->mass, b->mass, a->n_mass * sizeof *a->mass);
    assert_memory_equal(a->ids, b->ids, a->n_ids * sizeof *a->ids);
}

static void assert_chosen_by_mass(const attn_case *c, const result *r, const double *mass) {
    int32_t expected[64], hkv = c->shape.n_kv_heads, k = c->shape.topk;
    float row[64];
    for (int32_t request = 0; request < c->n_requests; request++)
        for (int64_t t = c->cu[request]; t < c->cu[request + 1]; t++)
            for (int32_t g = 0; g < hkv; g++) {
                int64_t n = c->cu[request + 1] - c->cu[request], at = t * hkv + g;
                int64_t first =
                    c->offset[request] >= 0 ? c->offset[request] : c->kv_len[request] - n;
                for (int64_t b = 0; b < r->n_blocks; b++)
                    row[b] = (float)mass[at * r->n_blocks + b];
                select_ref(&c->shape, first + t - c->cu[request], row, MSA_ASCENDING, expected);
                assert_memory_equal(r->ids + at * k, expected, (size_t)k * sizeof *expected);
            }
}

static void masses_are_the_formulas_and_choose_the_blocks(void **state) {
    (void)state;
    for (int s = 0; s < N_SHAPES; s++) {
        attn_case c = make_case(&SHAPES[s]);
        for (int dtype = 0; dtype < CASE_FORMATS; dtype++) {
            if (test_brief() && dtype != (s + 1) % CASE_FORMATS) continue;
            case_lay_out(&c, dtype == 0 ? CASE_RAGGED : CASE_PANELS, (msa_dtype)dtype, 5);
            result r = run(&c, 2);
            double *exact = malloc(r.n_mass * sizeof *exact), total = 0;
            mass_args args = {.q = c.q, .k = c.k_lane, .n_blocks = r.n_blocks};
            mass_ref(&c.shape, &c.batch, &args, exact);
            for (size_t i = 0; i < r.n_mass; i++) {
                if (!(fabs(r.mass[i] - exact[i]) <= 1e-5 * exact[i]))
                    fail_msg("shape %d: mass %zu is %g, expected %g", s, i, (double)r.mass[i],
                             exact[i]);
                total += exact[i];
            }
            assert_true(fabs(total - (double)(c.total_q * c.shape.n_kv_heads)) < 1e-6);
            assert_chosen_by_mass(&c, &r, exact);
            free(exact);
            free_result(&r);
        }
        case_free(&c);
    }
}

static void every_isa_layout_and_thread_count_gives_the_same_bits(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT];
    int n_isas = isas_available(isas);
    for (int s = 0; s < N_SHAPES; s++) {
        attn_case c = make_case(&SHAPES[s]);
        for (int dtype = 0; dtype < CASE_FORMATS; dtype++) {
            if (test_brief() && dtype != s % CASE_FORMATS) continue;
            assert_ok(msa_isa_use(isas[0], NULL), NULL);
            case_lay_out(&c, CASE_RAGGED, (msa_dtype)dtype, 5);
            result first = run(&c, 1);
            for (int layout = 0; layout < CASE_LAYOUTS; layout++) {
                case_lay_out(&c, (case_layout)layout, (msa_dtype)dtype, 9);
                for (int v = 0; v < n_isas; v++) {
                    assert_ok(msa_isa_use(isas[v], NULL), NULL);
                    result r = run(&c, 1 + 2 * (v % 2));
                    assert_same(&r, &first);
                    free_result(&r);
                }
            }
            free_result(&first);
        }
        case_free(&c);
    }
}

/* One query at a time, each with the keys up to its own. */
static void a_query_alone_gives_the_bits_it_gives_among_others(void **state) {
    (void)state;
    enum { N = 150 };
    msa_shape shape = small_shape(6, 2, 24, 16, 4);
    attn_case c = case_make(shape, 1, (int[]){N}, (int[]){N}, 3, false);
    case_lay_out(&c, CASE_RAGGED, MSA_F32, 1);
    result whole = run(&c, 2);
    msa_plan *plan = NULL;
    msa_error err;
    for (int64_t t = 0; t < N; t++) {
        float mass[2 * 10];
        int32_t cu[] = {0, 1}, ids[2 * 4];
        int64_t kv_len = t + 1;
        msa_batch batch = {.n_requests = 1, .cu_seqlens_q = cu, .kv_len = &kv_len};
        mass_args args = {.q = c.q + t * 6 * 24,
                          .k = c.k_lane,
                          .mass = mass,
                          .n_blocks = whole.n_blocks <= 10 ? whole.n_blocks : 10,
                          .ids = ids};
        assert_ok(mass_plan(&plan, &shape, &batch, NULL, &err), &err);
        assert_ok(mass_run(plan, &args, &err), &err);
        for (int g = 0; g < 2; g++)
            assert_memory_equal(mass + g * args.n_blocks, whole.mass + (t * 2 + g) * whole.n_blocks,
                                (size_t)args.n_blocks * sizeof *mass);
        assert_memory_equal(ids, whole.ids + t * 8, sizeof ids);
    }
    msa_plan_free(plan);
    free_result(&whole);
    case_free(&c);
}

/* Two heads of width 8 over 3 blocks of 16: head 0 sees all keys alike, head 1 those of block 1
 * three times as strongly. */
typedef struct by_hand {
    float q[2 * 8], k[48 * 8], mass[3];
    int32_t ids[1];
} by_hand;

static by_hand run_by_hand(float block_0, float block_1, int64_t visible) {
    static by_hand h;
    memset(&h, 0, sizeof h);
    h.q[8] = 1;
    for (int j = 0; j < 16; j++) h.k[j * 8] = block_0, h.k[(16 + j) * 8] = block_1;
    msa_shape shape = small_shape(2, 1, 8, 16, 1);
    shape.local = 0;
    int32_t cu[] = {0, 1};
    msa_batch batch = {.n_requests = 1, .cu_seqlens_q = cu, .kv_len = &visible};
    mass_args args = {.q = h.q,
                      .k = msa_lane_ragged(h.k, MSA_F32, 1, 8),
                      .scale = 1,
                      .mass = h.mass,
                      .n_blocks = 3,
                      .ids = h.ids};
    msa_plan *plan = NULL;
    msa_error err;
    assert_ok(mass_plan(&plan, &shape, &batch, NULL, &err), &err);
    assert_ok(mass_run(plan, &args, &err), &err);
    msa_plan_free(plan);
    return h;
}

static void assert_masses(const float *mass, double a, double b, double c) {
    assert_true(fabs(mass[0] - a) < 1e-6 && fabs(mass[1] - b) < 1e-6 && fabs(mass[2] - c) < 1e-6);
}

static void small_cases_come_out_as_by_hand(void **state) {
    (void)state;
    by_hand h = run_by_hand(0, logf(3), 48);
    assert_masses(h.mass, (1.0 / 3 + 0.2) / 2, (1.0 / 3 + 0.6) / 2, (1.0 / 3 + 0.2) / 2);
    assert_int_equal(h.ids[0], 1);
    h = run_by_hand(0, logf(3), 40); /* half of the last block: 40, and 16 + 48 + 8 */
    assert_masses(h.mass, (16 / 40.0 + 16 / 72.0) / 2, (16 / 40.0 + 48 / 72.0) / 2,
                  (8 / 40.0 + 8 / 72.0) / 2);
    h = run_by_hand(0, 0, 48); /* a tie goes to the lower id */
    assert_masses(h.mass, 1.0 / 3, 1.0 / 3, 1.0 / 3);
    assert_int_equal(h.ids[0], 0);
    h = run_by_hand(0, logf(3), 1);
    assert_masses(h.mass, 1, 0, 0);
    h = run_by_hand(-1e30f, 0, 48); /* weights too small to count */
    assert_masses(h.mass, 1.0 / 6, 1.0 / 6 + 0.25, 1.0 / 6 + 0.25);
    assert_int_equal(h.ids[0], 1);
}

static void odd_scores_do_as_the_card_says(void **state) {
    (void)state;
    by_hand h = run_by_hand(NAN, 0, 48);
    for (int b = 0; b < 3; b++) assert_true(isnan(h.mass[b]));
    assert_int_equal(h.ids[0], 0);
    h = run_by_hand(-INFINITY, 0, 16); /* head 0: 0 times infinity */
    assert_true(isnan(h.mass[0]) && h.mass[1] == 0 && h.mass[2] == 0);
    h = run_by_hand(0, NAN, 16); /* not visible */
    assert_masses(h.mass, 1, 0, 0);
}

static void bad_arguments_are_refused(void **state) {
    (void)state;
    attn_case c = make_case(&SHAPES[0]);
    case_lay_out(&c, CASE_RAGGED, MSA_F32, 1);
    msa_plan *plan = NULL;
    msa_error err;
    float mass[1];
    mass_args args = {.q = c.q, .k = c.k_lane, .mass = mass, .n_blocks = 1};
    assert_ok(mass_plan(&plan, &c.shape, &c.batch, NULL, &err), &err);
    assert_fails(mass_run(plan, &args, &err), MSA_E_ARG, &err, "n_blocks is 1");
    assert_fails(mass_run(plan, NULL, &err), MSA_E_ARG, &err, "args is NULL");
    assert_fails(mass_run(NULL, &args, &err), MSA_E_ARG, &err, "msa_mass_plan");
    args.mass = NULL, args.q = NULL;
    assert_fails(mass_run(plan, &args, &err), MSA_E_ARG, &err, "q is NULL");
    args.q = c.q, args.scale = -1;
    assert_fails(mass_run(plan, &args, &err), MSA_E_ARG, &err, "scale");
    args.scale = 0, args.k.data = NULL;
    assert_fails(mass_run(plan, &args, &err), MSA_E_ARG, &err, "k: data is NULL");
    msa_plan_free(plan);
    case_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_cases_come_out_as_by_hand),
        cmocka_unit_test(odd_scores_do_as_the_card_says),
        cmocka_unit_test(masses_are_the_formulas_and_choose_the_blocks),
        cmocka_unit_test(every_isa_layout_and_thread_count_gives_the_same_bits),
        cmocka_unit_test(a_query_alone_gives_the_bits_it_gives_among_others),
        cmocka_unit_test(bad_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
