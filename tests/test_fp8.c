/* test_fp8.c: E4M3 against its definition: every code, and every number where rounding turns. */
#include "base/fp8.h"

#include <math.h>

#include "support/support.h"

/* By the standard: (-1)^s 2^(e - 7) (1 + m/8), or 2^-6 m/8 where e is 0. */
static double value_of(int code) {
    int e = code >> 3 & 15, m = code & 7;
    double x = e ? ldexp(1 + m / 8.0, e - 7) : ldexp(m / 8.0, -6);
    return code & 0x80 ? -x : x;
}

static void every_code_has_its_value_and_comes_back(void **state) {
    (void)state;
    for (int code = 0; code < 256; code++) {
        float x = fp8_to_f32((uint8_t)code);
        if ((code & 0x7f) == 0x7f) {
            assert_true(isnan(x) && isnan(fp8_round(x)));
        } else {
            assert_true(x == (float)value_of(code));
            assert_int_equal(f32_bits(fp8_round(x)), f32_bits(x));
        }
        assert_int_equal(signbit(x) != 0, code >> 7);
        assert_int_equal(fp8_from_f32(x), code);
    }
    assert_true(fp8_to_f32(0x7e) == FP8_MAX);
}

/* On the middle between two neighbours the even code wins; a step beside it the nearer one. */
static void rounding_turns_at_the_middle(void **state) {
    (void)state;
    for (int sign = 0; sign <= 0x80; sign += 0x80)
        for (int code = 0; code < 0x7e; code++) {
            float low = fp8_to_f32((uint8_t)code), high = fp8_to_f32((uint8_t)(code + 1));
            float middle = low + (high - low) / 2; /* exact */
            float below = nextafterf(middle, low), above = nextafterf(middle, high);
            if (sign) middle = -middle, below = -below, above = -above;
            assert_int_equal(fp8_from_f32(middle), sign | (code % 2 ? code + 1 : code));
            assert_int_equal(fp8_from_f32(below), sign | code);
            assert_int_equal(fp8_from_f32(above), sign | (code + 1));
            assert_true(fp8_round(below) == fp8_to_f32((uint8_t)(sign | code)));
            assert_true(fp8_round(above) == fp8_to_f32((uint8_t)(sign | (code + 1))));
        }
}

static void what_is_too_large_saturates_and_what_is_too_small_vanishes(void **state) {
    (void)state;
    const float large[] = {448, 449, 464, 465, 1e6f, 3.4e38f, INFINITY};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        assert_int_equal(fp8_from_f32(large[i]), 0x7e);
        assert_int_equal(fp8_from_f32(-large[i]), 0xfe);
        assert_true(fp8_round(large[i]) == 448 && fp8_round(-large[i]) == -448);
    }
    const float small[] = {0, 1e-45f, 1e-38f, 1e-10f, 0x1p-11f, 0x1p-10f};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        assert_int_equal(fp8_from_f32(small[i]), 0);
        assert_int_equal(fp8_from_f32(-small[i]), 0x80);
    }
    assert_int_equal(fp8_from_f32(nextafterf(0x1p-10f, 1)), 1);
}

/* Random bits: nothing lies nearer than what was chosen. */
static void no_other_number_is_nearer(void **state) {
    (void)state;
    rng r = rng_seed(91);
    for (int i = 0; i < 20000; i++) {
        float x = ldexpf(1 + rng_uniform(&r), (int)rng_below(&r, 22) - 12);
        if (x > 448) continue;
        double chosen = fabs((double)fp8_round(x) - x);
        for (int code = 0; code < 0x7f; code++) assert_true(fabs(value_of(code) - x) >= chosen);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_value_and_comes_back),
        cmocka_unit_test(rounding_turns_at_the_middle),
        cmocka_unit_test(what_is_too_large_saturates_and_what_is_too_small_vanishes),
        cmocka_unit_test(no_other_number_is_nearer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
