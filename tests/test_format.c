/* test_format.c: rows to the stored formats and back: every code point, where rounding turns, rows
 * of every oddity on every instruction set against the truth in double, and what is refused. */
#include "base/format.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fp4.h"
#include "base/fp8.h"
#include "support/support.h"

enum { MOST = 272 };

typedef struct row {
    uint16_t codes[2 * MOST]; /* room for f32 */
    float scales[MOST / 16];
} row;

/* The same bits, or both NaN. */
static bool same(float a, float b) {
    return f32_bits(a) == f32_bits(b) || (isnan(a) && isnan(b));
}

static row pack(msa_dtype dtype, float scale, const float *x, int32_t dim) {
    row r;
    memset(&r, 0x5a, sizeof r);
    msa_error err;
    msa_rows rows = {.dtype = dtype,
                     .codes = r.codes,
                     .stride = sizeof r.codes,
                     .scales = r.scales,
                     .scale_stride = sizeof r.scales,
                     .scale = scale};
    assert_ok(msa_rows_pack(&rows, 1, dim, x, dim, &err), &err);
    return r;
}

static void unpack(msa_dtype dtype, float scale, row *r, int32_t dim, float *x) {
    msa_error err;
    msa_rows rows = {.dtype = dtype,
                     .codes = r->codes,
                     .stride = sizeof r->codes,
                     .scales = r->scales,
                     .scale_stride = sizeof r->scales,
                     .scale = scale};
    assert_ok(msa_rows_unpack(&rows, 1, dim, x, dim, &err), &err);
}

/* ---- code points ---- */

static void on_every_isa(void (*test)(void)) {
    msa_isa isas[MSA_ISA_COUNT];
    int n = isas_available(isas);
    for (int i = 0; i < n; i++) {
        assert_ok(msa_isa_use(isas[i], NULL), NULL);
        test();
    }
}

/* All 65,536 codes, 256 to the row: the number of the definition, and back. */
static void halves(void) {
    for (int dtype = MSA_F16; dtype <= MSA_BF16; dtype++)
        for (int high = 0; high < 256; high++) {
            row r;
            float x[256];
            for (int i = 0; i < 256; i++) r.codes[i] = (uint16_t)(high << 8 | i);
            unpack((msa_dtype)dtype, 0, &r, 256, x);
            row back = pack((msa_dtype)dtype, 0, x, 256);
            for (int i = 0; i < 256; i++) {
                uint16_t h = r.codes[i];
                int fraction = dtype == MSA_F16 ? 10 : 7, bias = dtype == MSA_F16 ? 15 : 127;
                int most = 0x7fff >> fraction, e = h >> fraction & most;
                double m = ldexp(h & ((1 << fraction) - 1), -fraction);
                double want = ldexp(e ? 1 + m : m, (e ? e : 1) - bias);
                if (e == most) want = m > 0 ? NAN : INFINITY;
                assert_true(same(x[i], (float)(h >> 15 ? -want : want)));
                if (!isnan(want)) assert_int_equal(back.codes[i], h);
                if (isnan(want)) assert_true((back.codes[i] & 0x7fff) > most << fraction);
            }
        }
}
static void every_half_reads_right_and_comes_back(void **state) {
    (void)state;
    on_every_isa(halves);
}

/* Between any two neighbours: the middle goes to the even code, a step beside it to the nearer. */
static void half_middles(void) {
    for (int dtype = MSA_F16; dtype <= MSA_BF16; dtype++) {
        int end = dtype == MSA_F16 ? 0x7bff : 0x7f7f;
        for (int first = 0; first < end; first += 80) {
            float x[240];
            for (int i = 0; i < 80; i++) {
                uint16_t h = (uint16_t)(first + i < end ? first + i : end - 1);
                float low = dtype == MSA_F16 ? f16_to_f32(h) : bf16_to_f32(h);
                float up = dtype == MSA_F16 ? f16_to_f32(h + 1) : bf16_to_f32(h + 1);
                float middle = low + (up - low) / 2; /* exact */
                x[3 * i] = nextafterf(middle, low);
                x[3 * i + 1] = middle;
                x[3 * i + 2] = nextafterf(middle, up);
            }
            row r = pack((msa_dtype)dtype, 0, x, 240);
            for (int i = 0; i < 80; i++) {
                int h = first + i < end ? first + i : end - 1;
                assert_int_equal(r.codes[3 * i], h);
                assert_int_equal(r.codes[3 * i + 1], h % 2 ? h + 1 : h);
                assert_int_equal(r.codes[3 * i + 2], h + 1);
            }
        }
    }
}
static void halves_round_to_the_nearest_even(void **state) {
    (void)state;
    on_every_isa(half_middles);
}

static void fp8(void) {
    uint8_t codes[256];
    float x[256];
    row r;
    for (int i = 0; i < 256; i++) codes[i] = (uint8_t)i;
    for (int e = -64; e <= 64; e += 16) { /* times a power of two nothing rounds */
        float scale = ldexpf(1, e);
        memcpy(r.codes, codes, 256);
        unpack(MSA_FP8, scale, &r, 256, x);
        row back = pack(MSA_FP8, scale, x, 256);
        for (int i = 0; i < 256; i++) assert_true(same(x[i], fp8_to_f32((uint8_t)i) * scale));
        for (int i = 0; i < 256; i++)
            if ((i & 0x7f) != 0x7f) assert_int_equal(((uint8_t *)back.codes)[i], i);
        assert_int_equal(((uint8_t *)back.codes)[0x7f] & 0x7f, 0x7f);
    }
    for (int sign = 1; sign >= -1; sign -= 2)
        for (int i = 0; i < 0x7e; i++) {
            float low = fp8_to_f32((uint8_t)i), up = fp8_to_f32((uint8_t)(i + 1));
            float middle = (low + up) / 2, s = (float)sign;
            float y[3] = {s * nextafterf(middle, 0), s * middle, s * nextafterf(middle, 448)};
            row back = pack(MSA_FP8, 0, y, 3);
            const uint8_t *c = (uint8_t *)back.codes;
            int bit = sign < 0 ? 0x80 : 0;
            assert_int_equal(c[0], bit | i);
            assert_int_equal(c[1], bit | (i % 2 ? i + 1 : i));
            assert_int_equal(c[2], bit | (i + 1));
        }
}
static void every_fp8_code_reads_right_and_comes_back(void **state) {
    (void)state;
    on_every_isa(fp8);
}

/* Every code beside every scale: read by the formula, and, with a 6 in the group, written again. */
static void nvfp4(void) {
    for (int e = 0; e < 256; e++)
        for (int tensor = -1; tensor <= 1; tensor++) {
            float scale = ldexpf(1, 20 * tensor), x[16];
            row r;
            uint8_t *codes = (uint8_t *)r.codes;
            for (int i = 0; i < 8; i++) codes[i] = (uint8_t)(2 * i | (2 * i + 1) << 4);
            *(uint8_t *)r.scales = (uint8_t)e;
            unpack(MSA_NVFP4, scale, &r, 16, x);
            for (int i = 0; i < 16; i++)
                assert_true(same(x[i], fp8_to_f32((uint8_t)e) * scale * fp4_to_f32(i)));
            row back = pack(MSA_NVFP4, scale, x, 16);
            bool is_nan = (e & 0x7f) == 0x7f;
            assert_int_equal(*(uint8_t *)back.scales, is_nan ? 0x7f : e & 0x7f);
            for (int i = 0; i < 16; i++) {
                int code = ((uint8_t *)back.codes)[i / 2] >> i % 2 * 4 & 15;
                if (is_nan || (e & 0x7f) == 0)
                    assert_int_equal(code, 0);
                else
                    assert_int_equal(code, e & 0x80 ? i ^ 8 : i);
            }
        }
}
static void every_nvfp4_code_and_scale_comes_back(void **state) {
    (void)state;
    on_every_isa(nvfp4);
}

static void e2m1_rounds_to_the_nearest_even(void **state) {
    (void)state;
    for (int i = 0; i < 7; i++) {
        float low = fp4_to_f32(i), up = fp4_to_f32(i + 1), middle = (low + up) / 2;
        assert_int_equal(fp4_from_f32(middle), i % 2 ? i + 1 : i);
        assert_int_equal(fp4_from_f32(nextafterf(middle, low)), i);
        assert_int_equal(fp4_from_f32(nextafterf(middle, up)), i + 1);
        assert_int_equal(fp4_from_f32(-middle), 8 | (i % 2 ? i + 1 : i));
        float x[16] = {6, middle, -middle, nextafterf(middle, low), nextafterf(middle, up)};
        row r = pack(MSA_NVFP4, 0, x, 16);
        for (int c = 0; c < 16; c++)
            assert_int_equal(((uint8_t *)r.codes)[c / 2] >> c % 2 * 4 & 15, fp4_from_f32(x[c]));
    }
    assert_int_equal(fp4_from_f32(INFINITY), 7);
    assert_int_equal(fp4_from_f32(-1e30f), 15);
}

/* ---- rows of every oddity against the truth ---- */

static float any_float(rng *r, int kind) {
    static const float special[] = {0,        -0.0f,    FLT_MAX, -FLT_MAX, FLT_MIN, 1e-45f, -3e-45f,
                                    65504.0f, 65520.0f, 448,     464,      -1e-40f, 1e30f,  6};
    uint64_t x = rng_next(r);
    switch (kind) {
    case 0: return rng_normal(r);
    case 1: return 0;
    case 2: return special[x % (sizeof special / sizeof *special)];
    case 3: return x % 16 ? rng_normal(r) : NAN;
    case 4: return x % 16 ? rng_normal(r) : x & 64 ? INFINITY : -INFINITY;
    case 5: return f32_from_bits((uint32_t)(x & 0x807fffffu)); /* subnormal */
    case 6: return rng_normal(r) * 1e38f;
    case 7: return ldexpf((float)((int)(x % 511) - 255), (int)(x >> 32) % 3 - 4); /* ties */
    default: return f32_from_bits((uint32_t)x);
    }
}

static void rows_against_the_truth(void) {
    rng r = rng_seed(5);
    const float scales[] = {1, 0.25f, 0.1f, 0x1p-64f, 0x1p64f, 3};
    for (int dtype = 0; dtype < MSA_DTYPE_COUNT; dtype++)
        for (int kind = 0; kind < 9; kind++)
            for (int i = 0; i < (test_brief() ? 20 : 300); i++) {
                int dim = 1 + (int)rng_below(&r, 256);
                if (dtype == MSA_NVFP4) dim += dim % 2;
                bool free = dtype == MSA_FP8 || dtype == MSA_NVFP4;
                float scale = free ? scales[i % 6] : 1, x[MOST], got[MOST], want[MOST];
                for (int c = 0; c < dim; c++) x[c] = any_float(&r, kind);
                row a = pack((msa_dtype)dtype, scale, x, dim), b;
                memset(&b, 0x5a, sizeof b);
                format_pack_ref((msa_dtype)dtype, scale, x, dim, b.codes, b.scales);
                if (dtype == MSA_INT8 && isnan(b.scales[0])) a.scales[0] = b.scales[0];
                if (memcmp(&a, &b, sizeof a))
                    fail_msg("%s on %s: row of kind %d, dim %d is not the truth's",
                             msa_dtype_name((msa_dtype)dtype), msa_isa_name(msa_isa_current()),
                             kind, dim);
                unpack((msa_dtype)dtype, scale, &a, dim, got);
                format_unpack_ref((msa_dtype)dtype, scale, a.codes, a.scales, dim, want);
                for (int c = 0; c < dim; c++) assert_true(same(got[c], want[c]));
            }
}
static void rows_of_every_oddity_are_the_truths(void **state) {
    (void)state;
    on_every_isa(rows_against_the_truth);
}

/* Any bytes as codes and scales read as the truth has them. */
static void bytes_against_the_truth(void) {
    rng r = rng_seed(6);
    for (int dtype = 0; dtype < MSA_DTYPE_COUNT; dtype++)
        for (int i = 0; i < 300; i++) {
            row a;
            for (size_t b = 0; b < sizeof a; b++) ((uint8_t *)&a)[b] = (uint8_t)rng_next(&r);
            int dim = 2 + 2 * (int)rng_below(&r, 128);
            float got[MOST], want[MOST];
            unpack((msa_dtype)dtype, 0, &a, dim, got);
            format_unpack_ref((msa_dtype)dtype, 1, a.codes, a.scales, dim, want);
            for (int c = 0; c < dim; c++) assert_true(same(got[c], want[c]));
        }
}
static void any_bytes_read_as_the_truth_has_them(void **state) {
    (void)state;
    on_every_isa(bytes_against_the_truth);
}

/* What a row of int8 may be. */
static void int8_rows_keep_their_promises(void **state) {
    (void)state;
    float x[32] = {0}, y[32];
    row r = pack(MSA_INT8, 0, x, 32);
    assert_true(r.scales[0] == FLT_MIN); /* nothing is divided by 0 */
    unpack(MSA_INT8, 0, &r, 32, y);
    for (int c = 0; c < 32; c++) assert_true(y[c] == 0);
    x[3] = 1e-40f; /* so small that it vanishes, and nothing else happens */
    r = pack(MSA_INT8, 0, x, 32);
    unpack(MSA_INT8, 0, &r, 32, y);
    assert_true(y[3] == 0 && r.scales[0] == FLT_MIN);
    x[3] = FLT_MAX, x[4] = -FLT_MAX;
    r = pack(MSA_INT8, 0, x, 32);
    unpack(MSA_INT8, 0, &r, 32, y);
    assert_true(isfinite(y[3]) && y[4] == -y[3] && fabs(y[3] / FLT_MAX - 1) < 1e-6);
    assert_int_equal(((int8_t *)r.codes)[3], 127);
    assert_int_equal(((int8_t *)r.codes)[4], -127);
    for (int strange = 0; strange < 2; strange++) {
        x[31] = strange ? NAN : -INFINITY;
        r = pack(MSA_INT8, 0, x, 32);
        unpack(MSA_INT8, 0, &r, 32, y);
        for (int c = 0; c < 32; c++) assert_true(isnan(y[c]));
    }
    /* Errors are at most half a step, and a rounding of the quotient. */
    rng g = rng_seed(8);
    for (int i = 0; i < 1000; i++) {
        rng_fill_normal(&g, x, 32, 1);
        r = pack(MSA_INT8, 0, x, 32);
        unpack(MSA_INT8, 0, &r, 32, y);
        for (int c = 0; c < 32; c++) assert_true(fabs(y[c] - x[c]) <= 0.50001 * r.scales[0]);
    }
}

/* ---- many rows, sizes, refusals ---- */

static void rows_lie_where_strides_say(void **state) {
    (void)state;
    enum { N = 1500, DIM = 72, PITCH = 80 };
    rng g = rng_seed(3);
    float *x = malloc(N * PITCH * sizeof *x), *y = malloc(N * PITCH * sizeof *y);
    rng_fill_normal(&g, x, N * PITCH, 1);
    for (int dtype = 0; dtype < MSA_DTYPE_COUNT; dtype++) {
        size_t bytes = msa_row_bytes((msa_dtype)dtype, DIM);
        size_t scale_bytes = msa_row_scale_bytes((msa_dtype)dtype, DIM);
        msa_rows rows = {.dtype = (msa_dtype)dtype,
                         .stride = (int64_t)(bytes + 4),
                         .scale_stride = (int64_t)(scale_bytes + 4)};
        char *codes = malloc(N * (bytes + 4)), *scales = malloc(N * (scale_bytes + 4));
        memset(codes, 0x77, N * (bytes + 4));
        memset(scales, 0x77, N * (scale_bytes + 4));
        for (int i = 0; i < N * PITCH; i++) y[i] = -7;
        rows.codes = codes, rows.scales = scale_bytes ? scales : NULL;
        msa_error err;
        assert_ok(msa_rows_pack(&rows, N, DIM, x, PITCH, &err), &err);
        assert_ok(msa_rows_unpack(&rows, N, DIM, y, PITCH, &err), &err);
        for (int i = 0; i < N; i++) {
            row one = pack((msa_dtype)dtype, 0, x + i * PITCH, DIM);
            float want[DIM];
            unpack((msa_dtype)dtype, 0, &one, DIM, want);
            assert_memory_equal(codes + (size_t)i * (bytes + 4), one.codes, bytes);
            if (scale_bytes)
                assert_memory_equal(scales + (size_t)i * (scale_bytes + 4), one.scales,
                                    scale_bytes);
            assert_memory_equal(y + i * PITCH, want, sizeof want);
            for (int b = 0; b < 4; b++) {
                assert_int_equal(codes[(size_t)i * (bytes + 4) + bytes + (size_t)b], 0x77);
                assert_int_equal(scales[(size_t)i * (scale_bytes + 4) + scale_bytes + (size_t)b],
                                 0x77);
            }
            for (int c = DIM; c < PITCH; c++) assert_true(y[i * PITCH + c] == -7);
        }
        free(codes);
        free(scales);
    }
    free(x);
    free(y);
}

static void sizes_are_those_of_the_page(void **state) {
    (void)state;
    static const struct {
        msa_dtype dtype;
        int32_t dim;
        size_t bytes, scales, align, scale_align;
    } rows[] = {{MSA_F32, 128, 512, 0, 4, 1},  {MSA_F16, 128, 256, 0, 2, 1},
                {MSA_BF16, 72, 144, 0, 2, 1},  {MSA_FP8, 128, 128, 0, 1, 1},
                {MSA_INT8, 128, 128, 4, 1, 4}, {MSA_NVFP4, 128, 64, 8, 1, 1},
                {MSA_NVFP4, 72, 36, 5, 1, 1},  {MSA_NVFP4, 7, 0, 0, 1, 1},
                {MSA_INT8, 0, 0, 0, 1, 4},     {(msa_dtype)9, 128, 0, 0, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(msa_row_bytes(rows[i].dtype, rows[i].dim), rows[i].bytes);
        assert_int_equal(msa_row_scale_bytes(rows[i].dtype, rows[i].dim), rows[i].scales);
        assert_int_equal(msa_row_align(rows[i].dtype), rows[i].align);
        assert_int_equal(msa_row_scale_align(rows[i].dtype), rows[i].scale_align);
    }
}

static void bad_arguments_are_named(void **state) {
    (void)state;
    msa_error err;
    float x[64] = {0};
    row r;
    const msa_rows good = {MSA_INT8, r.codes, 64, r.scales, 4, 0};
    msa_rows bad;
    assert_ok(msa_rows_pack(&good, 0, 32, NULL, 0, &err), &err); /* nothing to do */
    assert_fails(msa_rows_pack(NULL, 1, 32, x, 32, &err), MSA_E_ARG, &err, "rows is NULL");
    assert_fails(msa_rows_pack(&good, -1, 32, x, 32, &err), MSA_E_ARG, &err, "n is -1");
    assert_fails(msa_rows_pack(&good, 1, 0, x, 32, &err), MSA_E_ARG, &err, "dim is 0");
    assert_fails(msa_rows_pack(&good, 1, 65537, x, 65537, &err), MSA_E_ARG, &err, "dim is 65537");
    assert_fails(msa_rows_pack(&good, 1, 32, x, 31, &err), MSA_E_ARG, &err, "stride is 31");
    assert_fails(msa_rows_unpack(&good, 1, 32, NULL, 32, &err), MSA_E_ARG, &err, "array of f32");
    bad = good, bad.dtype = (msa_dtype)6;
    assert_fails(msa_rows_pack(&bad, 1, 32, x, 32, &err), MSA_E_ARG, &err, "dtype 6");
    bad = good, bad.dtype = MSA_NVFP4;
    assert_fails(msa_rows_pack(&bad, 1, 31, x, 32, &err), MSA_E_ARG, &err, "even");
    bad = good, bad.codes = NULL;
    assert_fails(msa_rows_pack(&bad, 1, 32, x, 32, &err), MSA_E_ARG, &err, "codes");
    bad = good, bad.stride = 31;
    assert_fails(msa_rows_pack(&bad, 1, 32, x, 32, &err), MSA_E_ARG, &err, "stride is 31");
    bad = good, bad.scales = NULL;
    assert_fails(msa_rows_pack(&bad, 1, 32, x, 32, &err), MSA_E_ARG, &err, "scales is NULL");
    bad = good, bad.scales = (char *)r.scales + 2;
    assert_fails(msa_rows_pack(&bad, 1, 32, x, 32, &err), MSA_E_ARG, &err, "aligned");
    bad = good, bad.scale_stride = 6;
    assert_fails(msa_rows_pack(&bad, 1, 32, x, 32, &err), MSA_E_ARG, &err, "scale_stride");
    bad = good, bad.scale = 2;
    assert_fails(msa_rows_pack(&bad, 1, 32, x, 32, &err), MSA_E_ARG, &err, "int8");
    bad = good, bad.dtype = MSA_FP8;
    const float scales[] = {-1, NAN, INFINITY, 1e-30f, 1e30f};
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        bad.scale = scales[i];
        assert_fails(msa_rows_pack(&bad, 1, 32, x, 32, &err), MSA_E_ARG, &err, "scale");
    }
    bad = good, bad.dtype = MSA_F32, bad.stride = 130;
    assert_fails(msa_rows_pack(&bad, 1, 32, x, 32, &err), MSA_E_ARG, &err, "multiple of 4");
    bad.stride = 128, bad.codes = (char *)r.codes + 2;
    assert_fails(msa_rows_pack(&bad, 1, 32, x, 32, &err), MSA_E_ARG, &err, "aligned");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_reads_right_and_comes_back),
        cmocka_unit_test(halves_round_to_the_nearest_even),
        cmocka_unit_test(every_fp8_code_reads_right_and_comes_back),
        cmocka_unit_test(every_nvfp4_code_and_scale_comes_back),
        cmocka_unit_test(e2m1_rounds_to_the_nearest_even),
        cmocka_unit_test(rows_of_every_oddity_are_the_truths),
        cmocka_unit_test(any_bytes_read_as_the_truth_has_them),
        cmocka_unit_test(int8_rows_keep_their_promises),
        cmocka_unit_test(rows_lie_where_strides_say),
        cmocka_unit_test(sizes_are_those_of_the_page),
        cmocka_unit_test(bad_arguments_are_named),
    };
    return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
