/* test_base.c: number formats against arithmetic in double, errors, memory, files. */
#include "support/support.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/half.h"
#include "base/mem.h"
#include "base/number_text.h"

/* Value of a 16-bit float with `exponent_bits`, written from the definition. */
static double half_value(uint16_t h, int exponent_bits) {
    int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    int e = h >> fraction_bits & ((1 << exponent_bits) - 1), f = h & ((1 << fraction_bits) - 1);
    double sign = h & 0x8000 ? -1 : 1;
    if (e == (1 << exponent_bits) - 1) return f ? NAN : sign * INFINITY;
    if (e == 0) return sign * ldexp(f, 1 - bias - fraction_bits);
    return sign * ldexp((1 << fraction_bits) + f, e - bias - fraction_bits);
}

static void every_half_widens_exactly_and_returns(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        double f16 = half_value((uint16_t)h, 5), bf16 = half_value((uint16_t)h, 8);
        float a = f16_to_f32((uint16_t)h), b = bf16_to_f32((uint16_t)h);
        if (isnan(f16))
            assert_true(isnan(a) && isnan(f16_to_f32(f16_from_f32(a))));
        else
            assert_true(a == f16 && !signbit(a) == !signbit(f16) && f16_from_f32(a) == h);
        if (isnan(bf16))
            assert_true(isnan(b) && isnan(bf16_to_f32(bf16_from_f32(b))));
        else
            assert_true(b == bf16 && !signbit(b) == !signbit(bf16) && bf16_from_f32(b) == h);
    }
}

/* Between neighbouring values: below the middle goes down, above goes up, the middle goes to the
 * even one. */
static void halves_round_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float low = f16_to_f32((uint16_t)h), high = f16_to_f32((uint16_t)(h + 1)),
              middle = (low + high) / 2;
        assert_int_equal(f16_from_f32(middle), h & 1 ? h + 1 : h);
        assert_int_equal(f16_from_f32(nextafterf(middle, -1)), h);
        assert_int_equal(f16_from_f32(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(f16_from_f32(-middle), 0x8000 | (h & 1 ? h + 1 : h));
    }
    for (uint32_t h = 0; h < 0x7f7f; h++) {
        float low = bf16_to_f32((uint16_t)h), high = bf16_to_f32((uint16_t)(h + 1));
        float middle = (float)(((double)low + high) / 2);
        assert_int_equal(bf16_from_f32(middle), h & 1 ? h + 1 : h);
    }
    assert_int_equal(f16_from_f32(65519.99f), 0x7bff);
    assert_int_equal(f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(bf16_from_f32(3.4028235e38f), 0x7f80);
}

static void dtype_names_round_trip(void **state) {
    (void)state;
    msa_error err;
    msa_dtype dtype;
    for (int i = 0; i < MSA_DTYPE_COUNT; i++) {
        assert_ok(msa_dtype_parse(msa_dtype_name((msa_dtype)i), &dtype, &err), &err);
        assert_int_equal(dtype, i);
    }
    assert_fails(msa_dtype_parse("f3", &dtype, &err), MSA_E_ARG, &err, "f3");
    assert_fails(msa_dtype_parse("f322", &dtype, &err), MSA_E_ARG, &err, "f322");
    assert_fails(msa_dtype_parse(NULL, &dtype, NULL), MSA_E_ARG, &(msa_error){0}, NULL);
    assert_int_equal(msa_dtype_size((msa_dtype)99), 0);
}

static void errors_carry_their_text(void **state) {
    (void)state;
    msa_error err = {0};
    assert_int_equal(error_set(&err, MSA_E_FULL, "no page left of %d", 7), MSA_E_FULL);
    assert_int_equal(error_prefix(&err, MSA_E_FULL, "%s: ", "cache"), MSA_E_FULL);
    assert_string_equal(err.text, "cache: no page left of 7");
    char longest[2 * sizeof err.text];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    error_prefix(&err, MSA_E_IO, "%s", longest);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_int_equal(error_set(NULL, MSA_E_IO, "nobody listens"), MSA_E_IO);
}

static void memory_refuses_what_overflows(void **state) {
    (void)state;
    assert_null(mem_alloc(SIZE_MAX / 2, 3));
    assert_null(mem_alloc(SIZE_MAX, 1));
    assert_null(arena_alloc(SIZE_MAX - 5));
    void *p = mem_alloc(0, 8);
    assert_non_null(p);
    mem_free(p);
    char *arena = arena_alloc(((size_t)2 << 20) + 1);
    assert_non_null(arena);
    assert_int_equal((uintptr_t)arena % ((size_t)2 << 20), 0);
    arena[(size_t)2 << 20] = 1;
    arena_free(arena, ((size_t)2 << 20) + 1);
}

static void a_format_needs_a_place(void **state) {
    (void)state;
    msa_error err;
    assert_fails(msa_dtype_parse("f32", NULL, &err), MSA_E_ARG, &err, "out");
}

static void files_are_mapped_and_nothing_else_is(void **state) {
    (void)state;
    msa_error err;
    file_map map;
    char path[] = "/tmp/msa-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_ok(file_map_open(&map, path, &err), &err);
    assert_null(map.data);
    assert_int_equal(map.n_bytes, 0);
    assert_int_equal(write(fd, "hello", 5), 5);
    close(fd);
    assert_ok(file_map_open(&map, path, &err), &err);
    assert_int_equal(map.n_bytes, 5);
    assert_memory_equal(map.data, "hello", 5);
    file_map_close(&map);
    unlink(path);
    assert_fails(file_map_open(&map, path, &err), MSA_E_IO, &err, path);
    assert_fails(file_map_open(&map, "/tmp", &err), MSA_E_IO, &err, "regular");
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(10); /* waiting for a writer would be for ever */
    assert_fails(file_map_open(&map, path, &err), MSA_E_IO, &err, "regular");
    alarm(0);
    unlink(path);
}

/* What printf writes in de_DE, ps_AF and their like. */
static void numbers_have_a_point_in_every_locale(void **state) {
    (void)state;
    static const char *const CASES[][2] = {
        {"1,5", "1.5"},
        {"-1,25e-07", "-1.25e-07"},
        {"1\xd9\xab"
         "5e+300",
         "1.5e+300"},
        {"0.5", "0.5"},
        {"3", "3"},
        {"1e-06", "1e-06"},
        {"-inf", "-inf"},
        {"nan", "nan"},
        {"", ""},
    };
    char text[40];
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        snprintf(text, sizeof text, "%s", CASES[i][0]);
        number_text_point(text);
        assert_string_equal(text, CASES[i][1]);
    }
    number_text(text, sizeof text, 17, 1.0 / 3);
    assert_true(strtod(text, NULL) == 1.0 / 3);
    number_text(text, sizeof text, 17, -DBL_TRUE_MIN);
    assert_true(strtod(text, NULL) == -DBL_TRUE_MIN);
    /* Where the machine has such a locale, in it. */
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8")) return;
    number_text(text, sizeof text, 9, 1e-5 * 1.5);
    setlocale(LC_NUMERIC, "C");
    assert_string_equal(text, "1.5e-05");
}

static void isa_can_be_forced_down_and_up(void **state) {
    (void)state;
    msa_error err;
    msa_isa best = msa_isa_current(), list[MSA_ISA_COUNT];
    int n = isas_available(list);
    for (int i = 0; i < n; i++) {
        assert_ok(msa_isa_use(list[i], &err), &err);
        assert_int_equal(msa_isa_current(), list[i]);
    }
    assert_int_equal(list[n - 1], best);
#if defined(__x86_64__)
    assert_fails(msa_isa_use(MSA_ISA_NEON, &err), MSA_E_UNSUPPORTED, &err, "neon");
#endif
    assert_fails(msa_isa_use((msa_isa)77, &err), MSA_E_ARG, &err, "77");
    char text[256];
    msa_isa_describe(text, sizeof text);
    assert_non_null(strstr(text, msa_isa_name(best)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_widens_exactly_and_returns),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(dtype_names_round_trip),
        cmocka_unit_test(errors_carry_their_text),
        cmocka_unit_test(memory_refuses_what_overflows),
        cmocka_unit_test(a_format_needs_a_place),
        cmocka_unit_test(files_are_mapped_and_nothing_else_is),
        cmocka_unit_test(numbers_have_a_point_in_every_locale),
        cmocka_unit_test(isa_can_be_forced_down_and_up),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
