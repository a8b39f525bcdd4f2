/* test_gemm.c: projections of few and many rows against the definition. */
#include "support/support.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/gemm.h"
#include "nn/quant.h"
#include "support/weights_random.h"

static const uint32_t TYPES[] = {QUANT_F32,  QUANT_F16,  QUANT_BF16, QUANT_Q4_0,
                                 QUANT_Q4_1, QUANT_Q5_0, QUANT_Q5_1, QUANT_Q8_0,
                                 QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K};
enum { N_TYPES = sizeof TYPES / sizeof *TYPES };

/* n, or the next whole block. */
static int64_t fit(uint32_t type, int64_t n) {
    int64_t block = quant_format_find(type)->block_elems;
    return (n + block - 1) / block * block;
}

/* Three targets that share x, as Q, K and V do; wide strides; the second has a bias. */
enum { TARGETS = 3 };
typedef struct gemm_case {
    gemm_input in;
    gemm_weight w[TARGETS];
    gemm_target targets[TARGETS];
    float *x, *bias;
    size_t n_y[TARGETS];
} gemm_case;

static gemm_case make_case(rng *r, uint32_t type, int64_t n_rows, const int64_t n_out[TARGETS],
                           int64_t n_in) {
    gemm_case c = {.in = {NULL, n_in + 3, n_rows}};
    c.x = malloc((size_t)(n_rows * c.in.x_stride) * sizeof *c.x);
    rng_fill_normal(r, c.x, (size_t)(n_rows * c.in.x_stride), 1);
    c.in.x = c.x;
    c.bias = malloc((size_t)n_out[1] * sizeof *c.bias);
    rng_fill_normal(r, c.bias, (size_t)n_out[1], 1);
    for (int i = 0; i < TARGETS; i++) {
        c.w[i] = (gemm_weight){random_weights(r, type, n_out[i], n_in), type, n_out[i], n_in,
                               quant_row_bytes(type, n_in)};
        c.n_y[i] = (size_t)(n_rows * (n_out[i] + i));
        float *y = malloc(c.n_y[i] * sizeof *y);
        for (size_t j = 0; j < c.n_y[i]; j++) y[j] = 777;
        c.targets[i] = (gemm_target){NULL, i == 1 ? c.bias : NULL, y, n_out[i] + i};
    }
    return c;
}

static void run(gemm_case *c, int n_threads) {
    size_t n = gemm_workspace_floats(c->in.n_rows, c->w[0].n_in, n_threads);
    float *workspace = n ? mem_alloc(n, sizeof *workspace) : NULL;
    for (int i = 0; i < TARGETS; i++) c->targets[i].w = &c->w[i];
    gemm_run(&c->in, c->targets, TARGETS, n_threads, workspace);
    mem_free(workspace);
}

static void free_case(gemm_case *c) {
    for (int i = 0; i < TARGETS; i++) {
        free((void *)c->w[i].data);
        free(c->targets[i].y);
    }
    free(c->x);
    free(c->bias);
}

static void compare_with_reference(gemm_case *c) {
    run(c, 2);
    for (int i = 0; i < TARGETS; i++) {
        gemm_target ref = c->targets[i];
        float *y = ref.y;
        ref.y = malloc(c->n_y[i] * sizeof *y);
        for (size_t j = 0; j < c->n_y[i]; j++) ref.y[j] = 777;
        gemm_ref(&c->in, &ref);
        double bound = 4e-6 * sqrt((double)c->w[i].n_in) * 8;
        for (size_t j = 0; j < c->n_y[i]; j++)
            if (!(fabs(y[j] - ref.y[j]) <= bound))
                fail_msg("type %u on %s, %ld rows of %ld, target %d, element %zu: %g, expected %g",
                         c->w[i].type, msa_isa_name(msa_isa_current()), (long)c->in.n_rows,
                         (long)c->w[i].n_in, i, j, (double)y[j], (double)ref.y[j]);
        free(ref.y);
    }
}

static void projections_are_those_of_the_definition(void **state) {
    (void)state;
    rng r = rng_seed(11);
    msa_isa isas[MSA_ISA_COUNT], before = msa_isa_current();
    int n_isas = isas_available(isas);
    const int64_t rows[] = {1, 2, 7, 8, 16, 17, 33};
    for (int k = 0; k < n_isas; k++) {
        assert_ok(msa_isa_use(isas[k], NULL), NULL);
        for (int t = 0; t < N_TYPES; t++)
            for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                gemm_case c =
                    make_case(&r, TYPES[t], rows[i], (int64_t[]){97, 1, 33}, fit(TYPES[t], 96));
                compare_with_reference(&c);
                free_case(&c);
            }
    }
    assert_ok(msa_isa_use(before, NULL), NULL);
}

/* More rows than one tile holds, a width no block divides. */
static void many_rows_and_ragged_widths_are_right(void **state) {
    (void)state;
    rng r = rng_seed(12);
    for (int t = 0; t < 3; t++) {
        gemm_case c = make_case(&r, TYPES[t], 515, (int64_t[]){100, 5, 1}, 37);
        compare_with_reference(&c);
        free_case(&c);
    }
}

static void no_rows_are_no_work(void **state) {
    (void)state;
    rng r = rng_seed(13);
    gemm_case c = make_case(&r, QUANT_Q4_1, 1, (int64_t[]){32, 1, 2}, 32);
    c.in.n_rows = 0;
    run(&c, 2);
    for (size_t j = 0; j < c.n_y[0]; j++) assert_true(c.targets[0].y[j] == 777);
    c.in.n_rows = 1;
    free_case(&c);
}

static void the_number_of_threads_changes_no_bit(void **state) {
    (void)state;
    const int64_t rows[] = {1, 3, 16, 17, 600};
    int threads_before = omp_get_max_threads();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float *first[TARGETS] = {NULL};
        for (int n_threads = 1; n_threads <= 4; n_threads++) {
            rng r = rng_seed(14);
            gemm_case c = make_case(&r, QUANT_Q4_1, rows[i], (int64_t[]){300, 97, 64}, 160);
            run(&c, n_threads);
            for (int j = 0; j < TARGETS; j++) {
                size_t n = c.n_y[j] * sizeof(float);
                if (n_threads == 1) {
                    first[j] = malloc(n);
                    memcpy(first[j], c.targets[j].y, n);
                } else {
                    assert_memory_equal(first[j], c.targets[j].y, n);
                }
            }
            free_case(&c);
        }
        for (int j = 0; j < TARGETS; j++) free(first[j]);
    }
    /* The caller's own setting survives what is said to BLAS. */
    assert_int_equal(omp_get_max_threads(), threads_before);
}

/* Within the few-rows path a row does not see its neighbours: a token fed alone, or with others. */
static void a_row_alone_is_the_same_row_among_few(void **state) {
    (void)state;
    for (int t = 0; t < N_TYPES; t++) {
        rng r = rng_seed(15);
        gemm_case all =
            make_case(&r, TYPES[t], GEMM_FEW_ROWS, (int64_t[]){50, 7, 64}, fit(TYPES[t], 64));
        run(&all, 2);
        for (int row = 0; row < GEMM_FEW_ROWS; row++) {
            float y[64];
            gemm_input in = {all.x + row * all.in.x_stride, all.in.x_stride, 1};
            gemm_target target = {&all.w[2], NULL, y, 64};
            gemm_run(&in, &target, 1, 1, NULL);
            assert_memory_equal(y, all.targets[2].y + row * all.targets[2].y_stride, sizeof y);
        }
        free_case(&all);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(projections_are_those_of_the_definition),
        cmocka_unit_test(many_rows_and_ragged_widths_are_right),
        cmocka_unit_test(no_rows_are_no_work),
        cmocka_unit_test(the_number_of_threads_changes_no_bit),
        cmocka_unit_test(a_row_alone_is_the_same_row_among_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
