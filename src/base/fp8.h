/* fp8.h: one number at a time between f32 and FP8 E4M3 (OCP, "fn"): a sign, four bits of exponent
 * with bias 7, three of mantissa, no infinity; 0x7f and 0xff are NaN. Round to nearest even,
 * saturating: what lies beyond +-448, infinity too, becomes +-448. NaN stays NaN and keeps its
 * sign. */
#ifndef MSA_BASE_FP8_H
#define MSA_BASE_FP8_H

#include "base/half.h"

#define FP8_MAX 448.0f

static inline float fp8_to_f32(uint8_t code) {
    uint32_t sign = (uint32_t)(code & 0x80) << 24, magnitude = code & 0x7f;
    if (magnitude == 0x7f) return f32_from_bits(sign | 0x7fc00000u);
    if (magnitude >= 8) return f32_from_bits(sign | ((magnitude << 20) + (120u << 23)));
    float x = (float)magnitude * 0x1p-9f; /* subnormal, exact */
    return sign ? -x : x;
}

/* The nearest number that E4M3 has, as f32: what fp8_to_f32(fp8_from_f32(x)) gives. */
static inline float fp8_round(float x) {
    uint32_t u = f32_bits(x), sign = u & 0x80000000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return f32_from_bits(sign | 0x7fc00000u);
    if (a >= f32_bits(FP8_MAX)) return f32_from_bits(sign | f32_bits(FP8_MAX));
    if (a < f32_bits(0x1p-6f)) { /* subnormal: let the f32 adder round at 2^-9 */
        float r = f32_from_bits(a) + 0x1p14f;
        return f32_from_bits(sign | f32_bits(r - 0x1p14f));
    }
    return f32_from_bits(sign | ((a + 0x7ffff + (a >> 20 & 1)) & ~0xfffffu));
}

static inline uint8_t fp8_from_f32(float x) {
    uint32_t u = f32_bits(fp8_round(x)), a = u & 0x7fffffffu;
    uint8_t sign = (uint8_t)(u >> 24 & 0x80);
    if (a > 0x7f800000u) return sign | 0x7f;
    if (a < f32_bits(0x1p-6f)) return (uint8_t)(sign | (uint8_t)(f32_from_bits(a) * 0x1p9f));
    return (uint8_t)(sign | (uint8_t)((a - (120u << 23)) >> 20));
}

#endif
