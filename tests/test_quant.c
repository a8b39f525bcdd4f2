/* test_quant.c: the weight formats against the gguf package's own numbers, and the kernels of every
 * instruction set against the definition. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "nn/quant.h"
#include "support/golden.h"
#include "support/weights_random.h"

/* Those without blocks first. */
static const uint32_t TYPES[] = {QUANT_F32,  QUANT_F16,  QUANT_BF16, QUANT_Q4_0,
                                 QUANT_Q4_1, QUANT_Q8_0, QUANT_Q5_0, QUANT_Q5_1,
                                 QUANT_Q4_K, QUANT_Q5_K, QUANT_Q6_K};
enum {
    N_TYPES = sizeof TYPES / sizeof *TYPES,
    FIRST_SPECIAL = 6
}; /* whose special blocks are kept */

static const char *name_of(uint32_t type) {
    return quant_format_find(type)->name;
}

static void block_sizes_are_those_of_the_gguf_package(void **state) {
    (void)state;
    golden *g = golden_open("quant");
    size_t n = golden_count(g, "sizes");
    const int32_t *sizes = golden_i32(g, "sizes", n);
    assert_true(n / 3 > 30);
    for (size_t i = 0; i < n; i += 3) {
        if (sizes[i] == 9) continue; /* Q8_1: never in files; the package still has f32 scales */
        const quant_format *format = quant_format_find((uint32_t)sizes[i]);
        if (!format) fail_msg("format %d is not known", sizes[i]);
        assert_int_equal(format->block_elems, sizes[i + 1]);
        assert_in_range(format->block_elems, 1, QUANT_MAX_BLOCK);
        assert_int_equal(format->block_bytes, sizes[i + 2]);
    }
    golden_close(g);
}

/* The same bits, or both NaN; in Q4_0 the sign of a zero is free. */
static bool same(uint32_t type, float a, float b) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    return f32_bits(a) == f32_bits(b) || (type == QUANT_Q4_0 && a == 0 && b == 0);
}

static void assert_weights(uint32_t type, const char *kind, const char *of, const float *found,
                           const float *expected, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!same(type, found[i], expected[i]))
            fail_msg("%s%s, %s, weight %zu: %a, expected %a", name_of(type), kind, of, i,
                     (double)found[i], (double)expected[i]);
}

/* The kernels of every instruction set against `expected`. */
static void check_kernels(uint32_t type, const char *kind, const void *stored,
                          const float *expected, size_t n) {
    msa_isa isas[MSA_ISA_COUNT], before = msa_isa_current();
    int n_isas = isas_available(isas);
    float *out = malloc(n * sizeof *out);
    for (int k = 0; k < n_isas; k++) {
        assert_ok(msa_isa_use(isas[k], NULL), NULL);
        quant_kernels_current()->widen[type](stored, (int64_t)n, out);
        assert_weights(type, kind, msa_isa_name(isas[k]), out, expected, n);
    }
    free(out);
    assert_ok(msa_isa_use(before, NULL), NULL);
}

/* n weights as the definition has them. */
static float *defined_weights(uint32_t type, const void *stored, size_t n) {
    double *exact = malloc(n * sizeof *exact);
    float *out = malloc(n * sizeof *out);
    assert_true(quant_widen_ref(type, stored, (int64_t)n, exact));
    for (size_t i = 0; i < n; i++) out[i] = (float)exact[i];
    free(exact);
    return out;
}

/* Bit for bit, definition and kernels, types from `first` on. */
static void check_widening(const golden *g, const char *kind, int first) {
    for (int t = first; t < N_TYPES; t++) {
        char bytes_name[32], weights_name[32];
        snprintf(bytes_name, sizeof bytes_name, "%s%s.bytes", name_of(TYPES[t]), kind);
        snprintf(weights_name, sizeof weights_name, "%s%s.weights", name_of(TYPES[t]), kind);
        size_t n = golden_count(g, weights_name);
        assert_true(n >= 320);
        const char *stored = golden_text(g, bytes_name, quant_row_bytes(TYPES[t], (int64_t)n));
        const float *expected = golden_f32(g, weights_name, n);
        float *defined = defined_weights(TYPES[t], stored, n);
        assert_weights(TYPES[t], kind, "definition", defined, expected, n);
        check_kernels(TYPES[t], kind, stored, expected, n);
        free(defined);
    }
}

static void weights_widen_as_in_the_gguf_package(void **state) {
    (void)state;
    golden *g = golden_open("quant");
    check_widening(g, "", 0);
    check_widening(g, ".extreme", 0);
    check_widening(g, ".special", FIRST_SPECIAL);
    golden_close(g);
}

/* Block b of 256 has b + k * 37 at byte k, but for the halves: each byte takes each value, next to
 * ever other neighbours. The halves go through `special`. */
static void every_byte_widens_as_defined(void **state) {
    (void)state;
    static const uint16_t special[] = {0x3c00, 0xb555, 0x0000, 0x8000, 0x0001, 0x83ff, 0x0400,
                                       0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0x1234};
    enum { N_SPECIAL = sizeof special / sizeof *special };
    for (int t = FIRST_SPECIAL; t < N_TYPES; t++) {
        uint32_t type = TYPES[t];
        size_t size = quant_format_find(type)->block_bytes;
        size_t n = 256 * quant_format_find(type)->block_elems;
        bool two = type == QUANT_Q5_1 || type == QUANT_Q4_K || type == QUANT_Q5_K;
        uint8_t *stored = malloc(256 * size);
        for (size_t d = 0; d < N_SPECIAL; d++) {
            for (size_t b = 0; b < 256; b++) {
                uint8_t *block = stored + b * size;
                for (size_t k = 0; k < size; k++) block[k] = (uint8_t)(b + k * 37);
                memcpy(block + (type == QUANT_Q6_K ? 208 : 0), &special[d], 2);
                if (two) memcpy(block + 2, &special[(5 * d + b) % N_SPECIAL], 2);
            }
            float *expected = defined_weights(type, stored, n);
            check_kernels(type, " of every byte", stored, expected, n);
            free(expected);
        }
        free(stored);
    }
}

static void formats_without_kernels_are_known_by_name_only(void **state) {
    (void)state;
    assert_string_equal(name_of(10), "Q2_K");
    assert_false(quant_supported(10));
    assert_false(quant_supported(4));
    assert_false(quant_supported(UINT32_MAX));
    assert_null(quant_format_find(UINT32_MAX));
    assert_false(quant_widen_ref(10, "", 0, NULL));
    msa_isa isas[MSA_ISA_COUNT], before = msa_isa_current();
    int n_isas = isas_available(isas);
    for (int k = 0; k < n_isas; k++) {
        assert_ok(msa_isa_use(isas[k], NULL), NULL);
        for (uint32_t type = 0; type < QUANT_TYPE_COUNT; type++) {
            bool listed = false;
            for (int t = 0; t < N_TYPES; t++) listed |= TYPES[t] == type;
            assert_int_equal(quant_supported(type), listed);
            assert_int_equal(quant_kernels_current()->dot[type] != NULL, listed);
            assert_int_equal(quant_kernels_current()->widen[type] != NULL, listed);
        }
    }
    assert_ok(msa_isa_use(before, NULL), NULL);
}

/* A row without blocks may end anywhere; nothing behind it may be read or written. */
static void ragged_rows_widen_and_touch_nothing_behind(void **state) {
    (void)state;
    rng r = rng_seed(3);
    msa_isa isas[MSA_ISA_COUNT], before = msa_isa_current();
    int n_isas = isas_available(isas);
    for (int k = 0; k < n_isas; k++) {
        assert_ok(msa_isa_use(isas[k], NULL), NULL);
        for (int t = 0; t < 3; t++)
            for (int64_t n = 1; n < 100; n++) {
                uint8_t *stored = random_weights(&r, TYPES[t], 1, n); /* exactly n: ASan watches */
                double exact[100];
                float out[101];
                out[n] = 12345;
                quant_widen_ref(TYPES[t], stored, n, exact);
                quant_kernels_current()->widen[TYPES[t]](stored, n, out);
                for (int64_t i = 0; i < n; i++) assert_true(out[i] == (float)exact[i]);
                assert_true(out[n] == 12345);
                free(stored);
            }
    }
    assert_ok(msa_isa_use(before, NULL), NULL);
}

typedef struct dot_case {
    uint32_t type;
    int64_t n_out, n_in;
    int n_rows;
} dot_case;

/* The result within the bound of any order of summation: n * 2^-23 * sum of |x w|. */
static void check_dot(dot_case c, rng *r) {
    size_t row = quant_row_bytes(c.type, c.n_in);
    uint8_t *w = random_weights(r, c.type, c.n_out, c.n_in);
    float *x = malloc((size_t)(c.n_rows * c.n_in) * sizeof *x);
    float *y = malloc((size_t)(c.n_rows * c.n_out + 1) * sizeof *y);
    double *wide = malloc((size_t)c.n_in * sizeof *wide);
    rng_fill_normal(r, x, (size_t)(c.n_rows * c.n_in), 1);
    y[c.n_rows * c.n_out] = 12345;
    quant_product p = {w, row, c.n_out, c.n_in, x, c.n_in, c.n_rows, y, c.n_out};
    quant_kernels_current()->dot[c.type](&p);
    assert_true(y[c.n_rows * c.n_out] == 12345);
    for (int64_t o = 0; o < c.n_out; o++) {
        quant_widen_ref(c.type, w + (size_t)o * row, c.n_in, wide);
        for (int j = 0; j < c.n_rows; j++) {
            double sum = 0, magnitude = 0;
            for (int64_t i = 0; i < c.n_in; i++) {
                sum += wide[i] * x[j * c.n_in + i];
                magnitude += fabs(wide[i] * x[j * c.n_in + i]);
            }
            double bound = ((double)c.n_in / 8 + 8) * 0x1p-23 * magnitude;
            if (!(fabs(y[j * c.n_out + o] - sum) <= bound))
                fail_msg("%s on %s, %d rows, %ld x %ld, row %d output %ld: %g, expected %g +- %g",
                         name_of(c.type), msa_isa_name(msa_isa_current()), c.n_rows, (long)c.n_out,
                         (long)c.n_in, j, (long)o, (double)y[j * c.n_out + o], sum, bound);
        }
    }
    free(w), free(x), free(y), free(wide);
}

static void products_are_those_of_the_definition(void **state) {
    (void)state;
    rng r = rng_seed(4);
    msa_isa isas[MSA_ISA_COUNT], before = msa_isa_current();
    int n_isas = isas_available(isas);
    const int64_t outs[] = {1, 3, 4, 5, 33};
    const int64_t ins[] = {1, 15, 16, 31, 32, 33, 64, 96, 100, 256, 576, 768};
    for (int k = 0; k < n_isas; k++) {
        assert_ok(msa_isa_use(isas[k], NULL), NULL);
        for (int t = 0; t < N_TYPES; t++)
            for (size_t o = 0; o < sizeof outs / sizeof *outs; o++)
                for (size_t i = 0; i < sizeof ins / sizeof *ins; i++) {
                    if (ins[i] % quant_format_find(TYPES[t])->block_elems) continue;
                    for (int rows = 1; rows <= QUANT_DOT_ROWS; rows += test_brief() ? 3 : 1)
                        check_dot((dot_case){TYPES[t], outs[o], ins[i], rows}, &r);
                }
    }
    assert_ok(msa_isa_use(before, NULL), NULL);
}

/* y of a row must be the same bits alone and among seven others, and wherever outputs are cut. */
static void a_result_depends_on_its_own_rows_only(void **state) {
    (void)state;
    enum { OUT = 37, IN = 768 };
    rng r = rng_seed(5);
    msa_isa isas[MSA_ISA_COUNT], before = msa_isa_current();
    int n_isas = isas_available(isas);
    static float x[QUANT_DOT_ROWS * IN];
    float whole[QUANT_DOT_ROWS * OUT], one[OUT];
    rng_fill_normal(&r, x, QUANT_DOT_ROWS * IN, 1);
    for (int k = 0; k < n_isas; k++) {
        assert_ok(msa_isa_use(isas[k], NULL), NULL);
        for (int t = 0; t < N_TYPES; t++) {
            size_t row = quant_row_bytes(TYPES[t], IN);
            uint8_t *w = random_weights(&r, TYPES[t], OUT, IN);
            quant_dot_fn *dot = quant_kernels_current()->dot[TYPES[t]];
            for (int rows = 1; rows <= QUANT_DOT_ROWS; rows++) {
                dot(&(quant_product){w, row, OUT, IN, x, IN, rows, whole, OUT});
                for (int j = 0; j < rows; j++) {
                    for (int64_t o = 0, cut = 1 + j; o < OUT; o += cut) {
                        int64_t n = OUT - o < cut ? OUT - o : cut;
                        dot(&(quant_product){w + (size_t)o * row, row, n, IN, x + j * IN, IN, 1,
                                             one + o, OUT});
                    }
                    assert_memory_equal(one, whole + j * OUT, sizeof one);
                }
            }
            free(w);
        }
    }
    assert_ok(msa_isa_use(before, NULL), NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_sizes_are_those_of_the_gguf_package),
        cmocka_unit_test(weights_widen_as_in_the_gguf_package),
        cmocka_unit_test(every_byte_widens_as_defined),
        cmocka_unit_test(formats_without_kernels_are_known_by_name_only),
        cmocka_unit_test(ragged_rows_widen_and_touch_nothing_behind),
        cmocka_unit_test(products_are_those_of_the_definition),
        cmocka_unit_test(a_result_depends_on_its_own_rows_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
