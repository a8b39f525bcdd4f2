/* format_ref.c: the truth of format.h: the formulas of msa/format.h in double. */
#include <math.h>

#include "base/format.h"
#include "base/fp4.h"
#include "base/fp8.h"

/* The code among 0..last, whose values ascend, that is nearest to |x|; of two, the even one. What
 * lies beyond the last saturates. */
static int nearest(double x, int last, float (*value)(int)) {
    int best = 0;
    for (int code = 1; code <= last; code++) {
        double before = fabs(fabs(x) - value(best)), now = fabs(fabs(x) - value(code));
        if (now < before || (now == before && code % 2 == 0)) best = code;
    }
    return fabs(x) >= value(last) ? last : best;
}

static float e4m3_value(int code) {
    return fp8_to_f32((uint8_t)code);
}

static int e4m3(double x) {
    int sign = signbit(x) ? 0x80 : 0;
    return isnan(x) ? sign | 0x7f : sign | nearest(x, 0x7e, e4m3_value);
}

static int e2m1(double x) {
    return (signbit(x) ? 8 : 0) | nearest(x, 7, fp4_to_f32);
}

/* A quotient as f32 has it: of two f32 numbers, a double's rounding before does not change it. */
static double divide(double x, double y) {
    return (float)(x / y);
}

static void pack_int8(const float *x, int32_t dim, int8_t *codes, float *scale) {
    double most = 0;
    bool strange = false;
    for (int32_t c = 0; c < dim; c++) {
        if (!isfinite(x[c])) strange = true;
        most = fmax(most, fabs(x[c]));
    }
    double s = fmin(fmax(divide(most, 127), FORMAT_LEAST_SCALE), FORMAT_MOST_SCALE);
    *scale = strange ? NAN : (float)s;
    for (int32_t c = 0; c < dim; c++) codes[c] = strange ? 0 : (int8_t)nearbyint(divide(x[c], s));
}

static void put_nibble(uint8_t *codes, int32_t at, int code) {
    int shift = at % 2 * 4;
    codes[at / 2] = (uint8_t)((codes[at / 2] & ~(15 << shift)) | code << shift);
}

static void pack_group(float scale, const float *x, int32_t first, int32_t end, uint8_t *codes,
                       uint8_t *e) {
    double most = 0;
    bool has_nan = false;
    for (int32_t c = first; c < end; c++) {
        if (isnan(x[c])) has_nan = true;
        most = fmax(most, fabs(x[c]));
    }
    *e = (uint8_t)(has_nan ? 0x7f : e4m3(divide(most, 6 * scale)));
    double step = (float)(fp8_to_f32(*e) * (double)scale);
    for (int32_t c = first; c < end; c++)
        put_nibble(codes, c, has_nan || *e == 0 ? 0 : e2m1(divide(x[c], step)));
}

void format_pack_ref(msa_dtype dtype, float scale, const float *x, int32_t dim, void *codes,
                     void *scales) {
    if (dtype == MSA_INT8) pack_int8(x, dim, codes, scales);
    for (int32_t c = 0; c < dim; c += FORMAT_GROUP) {
        int32_t end = c + FORMAT_GROUP < dim ? c + FORMAT_GROUP : dim;
        if (dtype == MSA_NVFP4)
            pack_group(scale, x, c, end, codes, (uint8_t *)scales + c / FORMAT_GROUP);
    }
    for (int32_t c = 0; c < dim; c++) {
        if (dtype == MSA_F32) ((float *)codes)[c] = x[c];
        if (dtype == MSA_F16) ((uint16_t *)codes)[c] = f16_from_f32(x[c]);
        if (dtype == MSA_BF16) ((uint16_t *)codes)[c] = bf16_from_f32(x[c]);
        if (dtype == MSA_FP8) ((uint8_t *)codes)[c] = (uint8_t)e4m3(divide(x[c], scale));
    }
}

/* Products of doubles that are f32 numbers are exact, so one rounding is left. */
static float element(msa_dtype dtype, double scale, const void *codes, const void *scales,
                     int32_t c) {
    const uint8_t *bytes = codes;
    switch (dtype) {
    case MSA_F32: return ((const float *)codes)[c];
    case MSA_F16: return f16_to_f32(((const uint16_t *)codes)[c]);
    case MSA_BF16: return bf16_to_f32(((const uint16_t *)codes)[c]);
    case MSA_FP8: return (float)(fp8_to_f32(bytes[c]) * scale);
    case MSA_INT8: return (float)((int8_t)bytes[c] * (double)*(const float *)scales);
    default: break;
    }
    double step = (float)(fp8_to_f32(((const uint8_t *)scales)[c / FORMAT_GROUP]) * scale);
    return (float)(fp4_to_f32(bytes[c / 2] >> c % 2 * 4 & 15) * step);
}

void format_unpack_ref(msa_dtype dtype, float scale, const void *codes, const void *scales,
                       int32_t dim, float *x) {
    for (int32_t c = 0; c < dim; c++) x[c] = element(dtype, scale, codes, scales, c);
}
