/* format_simd.c: one row of f32 to a stored format and back.
 *
 * Sixteen numbers at a time. The last of a row, where fewer than sixteen are left, pass through an
 * array of sixteen, so that nothing behind the row is touched. Divisions, not products with a
 * reciprocal: those would round twice. */
#include <math.h>
#include <string.h>

#include "base/format.h"
#include "base/fp8.h"
#include "base/simd.h"

extern const format_kernels SIMD_NAME(format_kernels);

SIMD_INLINE vf magnitude(vf x) {
    return v_max(x, v_sub(v_zero(), x));
}

SIMD_INLINE int lanes_left(int32_t dim, int32_t at) {
    return dim - at < V_LANES ? dim - at : V_LANES;
}

/* ---- f32, f16, bf16, fp8: each number for itself ---- */

SIMD_INLINE void store_codes(void *codes, msa_dtype dtype, vf x) {
    if (dtype == MSA_F32)
        v_store(codes, x);
    else if (dtype == MSA_F16)
        v_store_f16(codes, x);
    else if (dtype == MSA_BF16)
        v_store_bf16(codes, x);
    else
        v_store_e4m3(codes, x);
}

SIMD_INLINE vf load_codes(const void *codes, msa_dtype dtype, vf scale) {
    if (dtype == MSA_F32) return v_load(codes);
    if (dtype == MSA_F16) return v_load_f16(codes);
    if (dtype == MSA_BF16) return v_load_bf16(codes);
    return v_load_e4m3(codes, scale);
}

SIMD_INLINE void pack_numbers(msa_dtype dtype, int size, float scale, const float *x, int32_t dim,
                              char *codes) {
    vf divisor = v_set1(scale);
    for (int32_t c = 0; c < dim; c += V_LANES) {
        int n = lanes_left(dim, c);
        vf v = n == V_LANES ? v_load(x + c) : v_load_part(x + c, n);
        if (dtype == MSA_FP8) v = v_div(v, divisor);
        if (n == V_LANES) {
            store_codes(codes + c * size, dtype, v);
        } else {
            float last[V_LANES];
            store_codes(last, dtype, v);
            memcpy(codes + c * size, last, (size_t)(n * size));
        }
    }
}

SIMD_INLINE void unpack_numbers(msa_dtype dtype, int size, float scale, const char *codes,
                                int32_t dim, float *x) {
    vf factor = v_set1(scale);
    for (int32_t c = 0; c < dim; c += V_LANES) {
        int n = lanes_left(dim, c);
        if (n == V_LANES) {
            v_store(x + c, load_codes(codes + c * size, dtype, factor));
        } else {
            float last[V_LANES] = {0};
            memcpy(last, codes + c * size, (size_t)(n * size));
            v_store_part(x + c, load_codes(last, dtype, factor), n);
        }
    }
}

/* ---- int8: a scale a row ---- */

/* The greatest magnitude; NaN where there is a NaN or an infinity. */
SIMD_INLINE float greatest(const float *x, int32_t dim) {
    vf most = v_zero(), strange = v_zero();
    for (int32_t c = 0; c < dim; c += V_LANES) {
        vf v = v_load_part(x + c, lanes_left(dim, c));
        most = v_max(magnitude(v), most);
        strange = v_fma(v, v_zero(), strange); /* 0, or NaN */
    }
    return v_maxof(most) + v_sum(strange);
}

SIMD_INLINE void pack_int8(const float *x, int32_t dim, int8_t *codes, float *scale) {
    float s = greatest(x, dim) / 127;
    if (s != s) {
        *scale = NAN;
        memset(codes, 0, (size_t)dim);
        return;
    }
    if (s < FORMAT_LEAST_SCALE) s = FORMAT_LEAST_SCALE;
    if (s > FORMAT_MOST_SCALE) s = FORMAT_MOST_SCALE;
    *scale = s;
    vf divisor = v_set1(s);
    for (int32_t c = 0; c < dim; c += V_LANES) {
        int n = lanes_left(dim, c);
        vf q = v_round(v_div(v_load_part(x + c, n), divisor));
        if (n == V_LANES) {
            v_store_i8(codes + c, q);
        } else {
            int8_t last[V_LANES];
            v_store_i8(last, q);
            memcpy(codes + c, last, (size_t)n);
        }
    }
}

SIMD_INLINE void unpack_int8(const int8_t *codes, float scale, int32_t dim, float *x) {
    vf factor = v_set1(scale);
    for (int32_t c = 0; c < dim; c += V_LANES) {
        int n = lanes_left(dim, c);
        if (n == V_LANES) {
            v_store(x + c, v_mul(v_load_i8(codes + c), factor));
        } else {
            int8_t last[V_LANES] = {0};
            memcpy(last, codes + c, (size_t)n);
            v_store_part(x + c, v_mul(v_load_i8(last), factor), n);
        }
    }
}

/* ---- nvfp4: a scale for each sixteen ---- */

/* Magnitudes of E2M1 lie halves apart up to 2, then 1 up to 4, then 2: a whole number rounded in
 * the right unit, plus how many codes lie below. */
SIMD_INLINE vf e2m1_code(vf q) {
    q = v_min(q, v_set1(6));
    vf two = v_set1(2), four = v_set1(4);
    vf small = v_round(v_mul(q, two)), middle = v_add(v_round(q), two);
    vf large = v_add(v_round(v_mul(q, v_set1(0.5f))), four);
    return v_if_gt(two, q, small, v_if_gt(four, q, middle, large));
}

/* Sixteen numbers, zeros behind the last: eight bytes and a scale. */
SIMD_INLINE uint8_t pack_group(vf x, float scale, float scale6, uint8_t *bytes) {
    vf inf = v_set1(INFINITY), minus_inf = v_set1(-INFINITY), a = magnitude(x);
    bool has_nan = (v_gt_bits(x, minus_inf) | v_gt_bits(inf, x)) != 0xffff;
    uint8_t e = has_nan ? 0x7f : fp8_from_f32(v_maxof(a) / scale6);
    memset(bytes, 0, 8);
    if (has_nan || e == 0) return e;
    vf divisor = v_set1(fp8_to_f32(e) * scale);
    float number[V_LANES];
    int8_t code[V_LANES];
    v_store(number, x);
    v_store_i8(code, e2m1_code(v_div(a, divisor)));
    for (int i = 0; i < 8; i++) {
        int low = code[2 * i] | (int)(f32_bits(number[2 * i]) >> 28 & 8);
        int high = code[2 * i + 1] | (int)(f32_bits(number[2 * i + 1]) >> 28 & 8);
        bytes[i] = (uint8_t)(low | high << 4);
    }
    return e;
}

SIMD_INLINE void pack_nvfp4(float scale, const float *x, int32_t dim, uint8_t *codes,
                            uint8_t *scales) {
    float scale6 = 6 * scale;
    for (int32_t c = 0; c < dim; c += V_LANES) {
        int n = lanes_left(dim, c);
        uint8_t bytes[8];
        scales[c / V_LANES] = pack_group(v_load_part(x + c, n), scale, scale6, bytes);
        memcpy(codes + c / 2, bytes, (size_t)n / 2);
    }
}

SIMD_INLINE void unpack_nvfp4(float scale, const uint8_t *codes, const uint8_t *scales, int32_t dim,
                              float *x) {
    for (int32_t c = 0; c < dim; c += V_LANES) {
        int n = lanes_left(dim, c);
        uint8_t bytes[8] = {0};
        memcpy(bytes, codes + c / 2, (size_t)n / 2);
        vf factor = v_set1(fp8_to_f32(scales[c / V_LANES]) * scale);
        v_store_part(x + c, v_mul(v_load_e2m1(bytes), factor), n);
    }
}

/* ---- the table ---- */

static void pack(msa_dtype dtype, float scale, const float *x, int32_t dim, void *codes,
                 void *scales) {
    switch (dtype) {
    case MSA_F32: memcpy(codes, x, (size_t)dim * sizeof(float)); break;
    case MSA_F16: pack_numbers(MSA_F16, 2, 1, x, dim, codes); break;
    case MSA_BF16: pack_numbers(MSA_BF16, 2, 1, x, dim, codes); break;
    case MSA_FP8: pack_numbers(MSA_FP8, 1, scale, x, dim, codes); break;
    case MSA_INT8: pack_int8(x, dim, codes, scales); break;
    default: pack_nvfp4(scale, x, dim, codes, scales); break;
    }
}

static void unpack(msa_dtype dtype, float scale, const void *codes, const void *scales, int32_t dim,
                   float *x) {
    switch (dtype) {
    case MSA_F32: memcpy(x, codes, (size_t)dim * sizeof(float)); break;
    case MSA_F16: unpack_numbers(MSA_F16, 2, 1, codes, dim, x); break;
    case MSA_BF16: unpack_numbers(MSA_BF16, 2, 1, codes, dim, x); break;
    case MSA_FP8: unpack_numbers(MSA_FP8, 1, scale, codes, dim, x); break;
    case MSA_INT8: unpack_int8(codes, *(const float *)scales, dim, x); break;
    default: unpack_nvfp4(scale, codes, scales, dim, x); break;
    }
}

const format_kernels SIMD_NAME(format_kernels) = {pack, unpack};
