/* test_simd.c: every SIMD word on every instruction set against its meaning in plain C. */
#define _GNU_SOURCE
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fp4.h"
#include "base/fp8.h"
#include "support/simd_words.h"
#include "support/support.h"

extern const simd_words simd_words_scalar;
#if defined(__x86_64__)
extern const simd_words simd_words_avx2, simd_words_avx512;
#elif defined(__aarch64__)
extern const simd_words simd_words_neon;
#endif

typedef struct variant {
    const char *name;
    const simd_words *words;
} variant;

static variant variants[MSA_ISA_COUNT];
static int n_variants;

static void find_variants(void) {
    static const simd_words *const all[MSA_ISA_COUNT] = {
        [MSA_ISA_SCALAR] = &simd_words_scalar,
#if defined(__x86_64__)
        [MSA_ISA_AVX2] = &simd_words_avx2,
        [MSA_ISA_AVX512] = &simd_words_avx512,
#elif defined(__aarch64__)
        [MSA_ISA_NEON] = &simd_words_neon,
#endif
    };
    msa_isa isas[MSA_ISA_COUNT];
    n_variants = isas_available(isas);
    for (int i = 0; i < n_variants; i++)
        variants[i] = (variant){msa_isa_name(isas[i]), all[isas[i]]};
}

/* Floats from every corner: all exponents, both signs, and the special ones often. */
static float any_float(rng *r) {
    static const float special[] = {0.0f,     -0.0f,   1.0f,    -1.0f,     0.5f,
                                    INFINITY, NAN,     FLT_MAX, -FLT_MAX,  FLT_MIN,
                                    1e-45f,   -1e-45f, 1.5f,    -INFINITY, 65504.0f};
    uint64_t x = rng_next(r);
    if (x % 4 == 0) return special[(x >> 8) % (sizeof special / sizeof *special)];
    if (x % 4 == 1) return f32_from_bits((uint32_t)(x >> 32));
    return (float)(int32_t)(x >> 32) * 0x1p-28f;
}

static void any_floats(rng *r, float *out, int n) {
    for (int i = 0; i < n; i++) out[i] = any_float(r);
}

/* The same bits, or both NaN: which NaN an operation gives is the processor's business. */
static void assert_same(const variant *v, const char *word, int lane, float found, float expected) {
    if (isnan(found) && isnan(expected)) return;
    if (f32_bits(found) != f32_bits(expected))
        fail_msg("%s %s: lane %d is %a; expected %a", v->name, word, lane, (double)found,
                 (double)expected);
}

typedef struct pair_word {
    const char *name;
    size_t offset;
    float (*meaning)(float, float);
} pair_word;

static float plain_add(float a, float b) {
    return a + b;
}
static float plain_sub(float a, float b) {
    return a - b;
}
static float plain_mul(float a, float b) {
    return a * b;
}
static float plain_div(float a, float b) {
    return a / b;
}
static float plain_max(float a, float b) {
    return a > b ? a : b;
}
static float plain_min(float a, float b) {
    return a < b ? a : b;
}

static void arithmetic_rounds_like_plain_c(void **state) {
    (void)state;
    static const pair_word pairs[] = {
        {"add", offsetof(simd_words, add), plain_add},
        {"sub", offsetof(simd_words, sub), plain_sub},
        {"mul", offsetof(simd_words, mul), plain_mul},
        {"div", offsetof(simd_words, div), plain_div},
        {"max, b where either is NaN or both are zero", offsetof(simd_words, max), plain_max},
        {"min, b where either is NaN or both are zero", offsetof(simd_words, min), plain_min},
    };
    for (int v = 0; v < n_variants; v++) {
        rng r = rng_seed(1);
        for (int round = 0; round < 3000; round++)
            for (size_t w = 0; w < sizeof pairs / sizeof *pairs; w++) {
                float a[16], b[16], out[16];
                any_floats(&r, a, 16);
                any_floats(&r, b, 16);
                word2 *word;
                memcpy(&word, (const char *)variants[v].words + pairs[w].offset, sizeof word);
                word(a, b, out);
                for (int i = 0; i < 16; i++)
                    assert_same(&variants[v], pairs[w].name, i, out[i],
                                pairs[w].meaning(a[i], b[i]));
            }
    }
}

static void fma_rounds_once_and_muladd_once_or_twice(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++) {
        rng r = rng_seed(2);
        for (int round = 0; round < 3000; round++) {
            float a[16], b[16], c[16], fused[16], loose[16];
            any_floats(&r, a, 16);
            any_floats(&r, b, 16);
            any_floats(&r, c, 16);
            variants[v].words->fma(a, b, c, fused);
            variants[v].words->muladd(a, b, c, loose);
            for (int i = 0; i < 16; i++) {
                float once = fmaf(a[i], b[i], c[i]), product = a[i] * b[i], twice = product + c[i];
                assert_same(&variants[v], "fma", i, fused[i], once);
                if (f32_bits(loose[i]) != f32_bits(twice))
                    assert_same(&variants[v], "muladd", i, loose[i], once);
            }
        }
    }
}

static void copies_constants_and_selections_move_bits_untouched(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++) {
        const simd_words *w = variants[v].words;
        rng r = rng_seed(3);
        for (int round = 0; round < 300; round++) {
            float a[16], b[16], out[16];
            any_floats(&r, a, 16);
            any_floats(&r, b, 16);
            w->copy(a, out);
            assert_memory_equal(out, a, sizeof out);
            w->set1(a[0], out);
            for (int i = 0; i < 16; i++) assert_memory_equal(&out[i], &a[0], 4);
            for (int n = 0; n <= 16; n++) {
                w->first(n, a, b, out);
                assert_memory_equal(out, a, 4 * (size_t)n);
                assert_memory_equal(out + n, b + n, 4 * (size_t)(16 - n));
            }
            uint32_t bits = 0;
            for (int i = 0; i < 16; i++) bits |= (uint32_t)(a[i] > b[i]) << i;
            assert_int_equal(w->gt_bits(a, b), bits);
            float x[16], y[16];
            any_floats(&r, x, 16);
            any_floats(&r, y, 16);
            w->if_gt(a, b, x, y, out);
            for (int i = 0; i < 16; i++)
                assert_memory_equal(&out[i], a[i] > b[i] ? &x[i] : &y[i], 4);
        }
    }
}

static void partial_loads_and_stores_stay_inside_their_lanes(void **state) {
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(two != MAP_FAILED);
    assert_int_equal(mprotect(two + page, page, PROT_NONE), 0); /* one float too far is a fault */
    for (int v = 0; v < n_variants; v++)
        for (int n = 0; n <= 16; n++) {
            float *end = (float *)(void *)(two + page), *p = end - n, a[16], out[16];
            for (int i = 0; i < n; i++) p[i] = (float)i + 1;
            variants[v].words->load_part(p, n, out);
            for (int i = 0; i < 16; i++)
                assert_same(&variants[v], "load_part", i, out[i], i < n ? (float)i + 1 : 0);
            for (int i = 0; i < 16; i++) a[i] = -(float)i;
            p[-1] = 99;
            variants[v].words->store_part(p, a, n);
            for (int i = 0; i < n; i++) assert_same(&variants[v], "store_part", i, p[i], a[i]);
            assert_same(&variants[v], "store_part", -1, p[-1], 99);
        }
    munmap(two, 2 * page);
}

static void sums_and_maxima_go_down_one_tree(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++) {
        rng r = rng_seed(4);
        for (int round = 0; round < 3000; round++) {
            float a[16], sum[16], best = -INFINITY;
            for (int i = 0; i < 16; i++) {
                do a[i] = any_float(&r);
                while (isnan(a[i]));
                sum[i] = a[i];
                if (a[i] > best) best = a[i];
            }
            for (int half = 8; half > 0; half /= 2)
                for (int i = 0; i < half; i++) sum[i] += sum[i + half];
            assert_same(&variants[v], "sum", 0, variants[v].words->sum(a), sum[0]);
            assert_true(variants[v].words->maxof(a) == best);
        }
    }
}

static void round_goes_to_the_nearest_even_whole_number(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++) {
        rng r = rng_seed(5);
        for (int round = 0; round < 3000; round++) {
            float a[16], out[16];
            for (int i = 0; i < 16; i++)
                a[i] = i % 2 ? (rng_uniform(&r) - 0.5f) * 8388607.0f
                             : (float)((int)rng_below(&r, 601) - 300) / 2;
            if (round == 0) a[0] = 0, a[1] = -0.0f, a[2] = NAN, a[3] = -0.25f;
            variants[v].words->round(a, out);
            for (int i = 0; i < 16; i++) assert_same(&variants[v], "round", i, out[i], rintf(a[i]));
        }
    }
}

static void pow2_is_exact(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++)
        for (int n = -127; n + 15 <= 127; n++) {
            float a[16], out[16];
            for (int i = 0; i < 16; i++) a[i] = (float)(n + i);
            variants[v].words->pow2(a, out);
            for (int i = 0; i < 16; i++)
                assert_same(&variants[v], "pow2", i, out[i],
                            n + i == -127 ? 0 : ldexpf(1.0f, n + i));
        }
}

static void every_half_loads_as_the_same_float(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++)
        for (uint32_t h = 0; h < 65536; h += 16) {
            uint16_t in[16];
            float out[16];
            for (uint32_t i = 0; i < 16; i++) in[i] = (uint16_t)(h + i);
            variants[v].words->load_bf16(in, out);
            for (int i = 0; i < 16; i++)
                assert_int_equal(f32_bits(out[i]), f32_bits(bf16_to_f32(in[i])));
            variants[v].words->load_bf16_any(in, out);
            for (int i = 0; i < 16; i++) {
                int found = 0;
                for (int j = 0; j < 16; j++)
                    found += f32_bits(out[j]) == f32_bits(bf16_to_f32(in[i]));
                assert_int_equal(found, 1);
            }
            variants[v].words->load_f16(in, out);
            for (int i = 0; i < 16; i++)
                assert_int_equal(f32_bits(out[i]), f32_bits(f16_to_f32(in[i])));
        }
}

static void floats_store_as_the_same_half(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++) {
        rng r = rng_seed(6);
        for (int round = 0; round < 20000; round++) {
            float a[16];
            uint16_t out[16];
            any_floats(&r, a, 8);
            for (int i = 8; i < 16; i++) { /* near the edges of binary16, subnormals included */
                uint32_t exponent = 100 + (uint32_t)rng_below(&r, 48);
                a[i] = f32_from_bits((uint32_t)(rng_next(&r) & 0x807fffffu) | exponent << 23);
            }
            variants[v].words->store_bf16(out, a);
            for (int i = 0; i < 16; i++)
                if (out[i] != bf16_from_f32(a[i]))
                    fail_msg("%s store_bf16: %a gives %04x; expected %04x", variants[v].name,
                             (double)a[i], out[i], bf16_from_f32(a[i]));
            variants[v].words->store_f16(out, a);
            for (int i = 0; i < 16; i++)
                if (out[i] != f16_from_f32(a[i]))
                    fail_msg("%s store_f16: %a gives %04x; expected %04x", variants[v].name,
                             (double)a[i], out[i], f16_from_f32(a[i]));
        }
    }
}

/* The longest sum of the int8 index: 256 products, at their greatest and at random. */
static void whole_products_are_exact(void **state) {
    (void)state;
    enum { STEPS = 128 };
    for (int round = 0; round < 20; round++) {
        int8_t p[32 * STEPS];
        int16_t q[2 * STEPS];
        rng r = rng_seed((uint64_t)round);
        for (int i = 0; i < 32 * STEPS; i++)
            p[i] = (int8_t)(round < 2 ? 127 - 254 * round : (int)rng_below(&r, 255) - 127);
        for (int i = 0; i < 2 * STEPS; i++)
            q[i] = (int16_t)(round < 4 ? 32767 - 65534 * (round % 2)
                                       : (int)rng_below(&r, 65535) - 32767);
        for (int v = 0; v < n_variants; v++) {
            float out[16];
            variants[v].words->dot_pairs(p, q, STEPS, out);
            for (int i = 0; i < 16; i++) {
                int64_t sum = 0;
                for (int s = 0; s < 2 * STEPS; s++)
                    sum += p[s / 2 * 32 + 2 * i + s % 2] * (int64_t)q[s];
                assert_same(&variants[v], "dot_pairs", i, out[i], (float)sum);
            }
        }
    }
}

static void bytes_load_as_whole_numbers(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++)
        for (int b = 0; b < 256; b += 16) {
            const simd_words *w = variants[v].words;
            uint8_t in[16];
            float loaded[16], with[16], without[16];
            for (int i = 0; i < 16; i++) in[i] = (uint8_t)(b + i);
            w->load_i8((const int8_t *)in, loaded);
            w->from_i8(in, with);
            w->from_u8(in, without);
            int8_t back[16];
            w->store_i8(back, loaded);
            assert_memory_equal(back, in, 16);
            for (int i = 0; i < 16; i++) {
                assert_same(&variants[v], "load_i8", i, loaded[i], (float)(int8_t)in[i]);
                assert_same(&variants[v], "from_i8", i, with[i], (float)(int8_t)in[i]);
                assert_same(&variants[v], "from_u8", i, without[i], (float)in[i]);
            }
        }
}

/* Every field of every byte to every place; neighbours that have all bits set must not leak in. */
static void fields_move_inside_their_bytes(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++)
        for (int n = 1; n <= 8; n++)
            for (int from = 0; from + n <= 8; from++)
                for (int to = 0; to + n <= 8; to++)
                    for (int b = 0; b < 256; b += 8) {
                        uint8_t in[16];
                        float out[16];
                        for (int i = 0; i < 16; i++) in[i] = (uint8_t)(i % 2 ? 255 : b + i / 2);
                        variants[v].words->field(in, from, n, to, out);
                        for (int i = 0; i < 16; i++)
                            assert_same(&variants[v], "field", i, out[i],
                                        (float)((in[i] >> from & ((1 << n) - 1)) << to));
                    }
}

static void bytes_join_differ_and_spread(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++) {
        rng r = rng_seed(22);
        for (int round = 0; round < 3000; round++) {
            const simd_words *w = variants[v].words;
            uint8_t a[16], b[16];
            float or8[16], sub8[16], spread[16];
            for (int i = 0; i < 16; i++) a[i] = (uint8_t)rng_next(&r), b[i] = (uint8_t)rng_next(&r);
            w->or8(a, b, or8);
            w->sub8(a, b[0], sub8);
            w->spread(a + 1, spread);
            for (int i = 0; i < 16; i++) {
                assert_same(&variants[v], "or", i, or8[i], (float)(a[i] | b[i]));
                assert_same(&variants[v], "sub", i, sub8[i], (float)(uint8_t)(a[i] - b[0]));
                assert_same(&variants[v], "spread", i, spread[i],
                            a[1 + i / 8] >> i % 8 & 1 ? 255 : 0);
            }
        }
    }
}

/* Every code with scales at both ends of what is allowed, and back; numbers between the codes. */
static void e4m3_codes_load_and_store(void **state) {
    (void)state;
    const float scales[] = {1, 0.3f, 0x1p-64f, 0x1p64f, 1.9999999f};
    rng r = rng_seed(77);
    for (int v = 0; v < n_variants; v++)
        for (int b = 0; b < 256; b += 16) {
            uint8_t in[16], back[16];
            float out[16];
            for (int i = 0; i < 16; i++) in[i] = (uint8_t)(b + i);
            for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
                variants[v].words->load_e4m3(in, scales[s], out);
                for (int i = 0; i < 16; i++)
                    assert_same(&variants[v], "load_e4m3", i, out[i],
                                fp8_to_f32(in[i]) * scales[s]);
            }
            for (int i = 0; i < 16; i++) out[i] = fp8_to_f32(in[i]);
            variants[v].words->store_e4m3(back, out);
            assert_memory_equal(back, in, 16);
            for (int round = 0; round < 100; round++) {
                any_floats(&r, out, 16);
                for (int i = 0; i < 8; i++)
                    out[i] = ldexpf((float)rng_below(&r, 64) - 32, (int)rng_below(&r, 18) - 12);
                variants[v].words->store_e4m3(back, out);
                for (int i = 0; i < 16; i++)
                    if (back[i] != fp8_from_f32(out[i]))
                        fail_msg("%s store_e4m3: %a gives %02x; expected %02x", variants[v].name,
                                 (double)out[i], back[i], fp8_from_f32(out[i]));
            }
        }
}

static void e2m1_codes_load_in_both_orders(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++)
        for (int b = 0; b < 256; b += 8) {
            uint8_t in[8];
            float row[16], halves[16];
            for (int i = 0; i < 8; i++) in[i] = (uint8_t)(b + i);
            variants[v].words->load_e2m1(in, row);
            variants[v].words->load_e2m1_halves(in, halves);
            for (int i = 0; i < 8; i++) {
                float low = fp4_to_f32(in[i] & 15), high = fp4_to_f32(in[i] >> 4);
                assert_same(&variants[v], "load_e2m1", 2 * i, row[2 * i], low);
                assert_same(&variants[v], "load_e2m1", 2 * i + 1, row[2 * i + 1], high);
                assert_same(&variants[v], "load_e2m1_halves", i, halves[i], low);
                assert_same(&variants[v], "load_e2m1_halves", i + 8, halves[i + 8], high);
            }
        }
}

/* Scales that are halves times whole numbers up to 15, plus a half, are exact, fused or not. */
static void nibbles_scale_to_weights(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++)
        for (int b = 0; b < 256; b += 16) {
            uint8_t in[21]; /* scales at an odd address, then the nibbles */
            float scale[16], offset[16], low[16], high[16];
            uint16_t halves[2] = {f16_from_f32(0.3f * (float)(b - 100)), f16_from_f32(-1.7f)};
            memcpy(in + 1, halves, 4);
            for (int i = 0; i < 16; i++) in[5 + i] = (uint8_t)(b + i);
            variants[v].words->set1_f16(in + 1, low);
            variants[v].words->set2_f16(in + 1, scale, offset);
            for (int i = 0; i < 16; i++) {
                assert_same(&variants[v], "set1_f16", i, low[i], f16_to_f32(halves[0]));
                assert_same(&variants[v], "set2_f16", i, scale[i], f16_to_f32(halves[0]));
                assert_same(&variants[v], "set2_f16", i, offset[i], f16_to_f32(halves[1]));
            }
            const float scales[2] = {scale[0], -2 * scale[0]}, offsets[2] = {offset[0], 0.75f};
            variants[v].words->scale_nibbles(in + 5, scales, offsets, low, high);
            for (int i = 0; i < 16; i++) {
                float a = (float)(in[5 + i] & 15) * scales[0] + offsets[0];
                float c = (float)(in[5 + i] >> 4) * scales[1] + offsets[1];
                assert_same(&variants[v], "scale_nibbles", i, low[i], a);
                assert_same(&variants[v], "scale_nibbles", i, high[i], c);
            }
        }
}

static void neighbours_swap(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++) {
        float in[16], out[16];
        for (int i = 0; i < 16; i++) in[i] = (float)i;
        variants[v].words->swap_pairs(in, out);
        for (int i = 0; i < 16; i++) assert_true(out[i] == in[i ^ 1]);
    }
}

static void a_square_transposes(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++) {
        float in[256], out[256];
        for (int i = 0; i < 256; i++) in[i] = (float)i;
        variants[v].words->transpose(in, out);
        for (int i = 0; i < 256; i++) assert_true(out[i] == in[i % 16 * 16 + i / 16]);
    }
}

/* The largest error of `word` over [low, high], in ULP of the exact result. */
static double worst_ulp(word1 *word, double (*exact)(double), double low, double high) {
    const int n = 1 << 20;
    double worst = 0;
    for (int at = 0; at < n; at += 16) {
        float x[16], y[16];
        for (int i = 0; i < 16; i++) x[i] = (float)(low + (high - low) * (at + i) / n);
        word(x, y);
        for (int i = 0; i < 16; i++) {
            double e = exact(x[i]);
            int exponent;
            frexp(e, &exponent);
            double error = fabs(y[i] - e) / ldexp(1, exponent - 24);
            if (!(error <= worst)) worst = error; /* NaN is worse than anything */
        }
    }
    return worst;
}

static void assert_within(const variant *v, const char *word, double worst, double bound) {
    if (!(worst <= bound))
        fail_msg("%s %s is off by %.2f ULP; expected at most %.2f", v->name, word, worst, bound);
}

static void exponentials_keep_their_error_bounds(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++) {
        const simd_words *w = variants[v].words;
        assert_within(&variants[v], "exp2", worst_ulp(w->exp2, exp2, -125.99, 127.49), 2);
        assert_within(&variants[v], "exp2 near 0", worst_ulp(w->exp2, exp2, -1, 1), 2);
        assert_within(&variants[v], "exp2_fma", worst_ulp(w->exp2_fma, exp2, -125.99, 127.49), 2);
        assert_within(&variants[v], "exp", worst_ulp(w->exp, exp, -87.3, 88.3), 2);
        assert_within(&variants[v], "exp near 0", worst_ulp(w->exp, exp, -1, 1), 2);
    }
}

/* From the least normal number to near the greatest, and closely around 1, where log2 is 0. */
static void logarithms_keep_their_error_bound(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++) {
        const simd_words *w = variants[v].words;
        for (int n = -126; n <= 125; n++) {
            float x[16], whole[16], y[16];
            for (int i = 0; i < 16; i++) x[i] = ldexpf(1 + (float)i / 16, n);
            x[15] = ldexpf(0x1.fffffep0f, n);
            w->exponent(x, whole);
            w->log2(x, y);
            for (int i = 0; i < 16; i++) {
                double e = log2(x[i]), bound = fmax(4 * 0x1p-24 * fabs(e), 2e-7);
                assert_true(whole[i] == (float)ilogbf(x[i]));
                assert_true(fabs(y[i] - e) <= bound);
            }
        }
        assert_within(&variants[v], "log2 above 1", worst_ulp(w->log2, log2, 1.00001, 1.4), 4);
        assert_within(&variants[v], "log2 below 1", worst_ulp(w->log2, log2, 0.75, 0.99999), 4);
        float nan[16] = {NAN, 1}, out[16];
        w->log2(nan, out);
        assert_true(isnan(out[0]) && out[1] == 0);
    }
}

static void exponentials_end_as_they_say(void **state) {
    (void)state;
    static const float ends[16] = {0,     -0.0f,    NAN,  -INFINITY, -127, -150, -1e30f, -200,
                                   -1000, -FLT_MAX, 1.0f, -1.0f,     2,    -126, 127,    64};
    for (int v = 0; v < n_variants; v++) {
        float out[16];
        variants[v].words->exp2(ends, out);
        for (int i = 0; i < 16; i++)
            assert_same(&variants[v], "exp2", i, out[i], ends[i] <= -127 ? 0 : exp2f(ends[i]));
        variants[v].words->exp(ends, out);
        for (int i = 0; i < 3; i++) assert_same(&variants[v], "exp", i, out[i], expf(ends[i]));
        for (int i = 3; i < 10; i++) assert_same(&variants[v], "exp", i, out[i], 0);
    }
}

/* Those of the first variant, the scalar one. */
static void fused_exponentials_are_the_same_bits_everywhere(void **state) {
    (void)state;
    rng r = rng_seed(21);
    for (int round = 0; round < 3000; round++) {
        float a[16], first[16], out[16];
        for (int i = 0; i < 16; i++) a[i] = fminf(127, 60 * rng_normal(&r) - 60);
        a[round % 16] = round % 3 ? NAN : -INFINITY;
        variants[0].words->exp2_fma(a, first);
        for (int v = 1; v < n_variants; v++) {
            variants[v].words->exp2_fma(a, out);
            for (int i = 0; i < 16; i++) assert_same(&variants[v], "exp2_fma", i, out[i], first[i]);
        }
    }
}

static void e4m3_rounds_as_one_number_at_a_time(void **state) {
    (void)state;
    for (int v = 0; v < n_variants; v++) {
        rng r = rng_seed(16);
        for (int round = 0; round < 3000; round++) {
            float a[16], out[16];
            any_floats(&r, a, 16);
            /* half of them within reach, many on the middle between two neighbours */
            for (int i = 0; i < 8; i++)
                a[i] = ldexpf((float)rng_below(&r, 64) - 32, (int)rng_below(&r, 18) - 12);
            variants[v].words->round_e4m3(a, out);
            for (int i = 0; i < 16; i++)
                assert_same(&variants[v], "round_e4m3", i, out[i], fp8_round(a[i]));
        }
    }
}

int main(void) {
    find_variants();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arithmetic_rounds_like_plain_c),
        cmocka_unit_test(fma_rounds_once_and_muladd_once_or_twice),
        cmocka_unit_test(copies_constants_and_selections_move_bits_untouched),
        cmocka_unit_test(partial_loads_and_stores_stay_inside_their_lanes),
        cmocka_unit_test(sums_and_maxima_go_down_one_tree),
        cmocka_unit_test(round_goes_to_the_nearest_even_whole_number),
        cmocka_unit_test(pow2_is_exact),
        cmocka_unit_test(every_half_loads_as_the_same_float),
        cmocka_unit_test(floats_store_as_the_same_half),
        cmocka_unit_test(bytes_load_as_whole_numbers),
        cmocka_unit_test(fields_move_inside_their_bytes),
        cmocka_unit_test(bytes_join_differ_and_spread),
        cmocka_unit_test(e4m3_codes_load_and_store),
        cmocka_unit_test(e2m1_codes_load_in_both_orders),
        cmocka_unit_test(whole_products_are_exact),
        cmocka_unit_test(nibbles_scale_to_weights),
        cmocka_unit_test(neighbours_swap),
        cmocka_unit_test(fused_exponentials_are_the_same_bits_everywhere),
        cmocka_unit_test(e4m3_rounds_as_one_number_at_a_time),
        cmocka_unit_test(a_square_transposes),
        cmocka_unit_test(exponentials_keep_their_error_bounds),
        cmocka_unit_test(exponentials_end_as_they_say),
        cmocka_unit_test(logarithms_keep_their_error_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
