/* half.h: one number at a time between f32 and its two 16-bit cousins. Round to nearest even; NaN
 * stays NaN. The loops over many live in the SIMD kernels and agree with these bit for bit. */
#ifndef MSA_BASE_HALF_H
#define MSA_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t f32_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static inline float f32_from_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}

static inline float bf16_to_f32(uint16_t h) {
    return f32_from_bits((uint32_t)h << 16);
}
static inline uint16_t bf16_from_f32(float x) {
    uint32_t u = f32_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40); /* quiet the NaN, keep its sign */
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static inline float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff;
    if (magnitude >= 0x7c00) { /* infinity, or NaN, which hardware hands on quieted */
        uint32_t quiet = magnitude > 0x7c00 ? 0x400000u : 0;
        return f32_from_bits(sign | 0x7f800000u | quiet | magnitude << 13);
    }
    if (magnitude >= 0x400) return f32_from_bits(sign | ((magnitude << 13) + (112u << 23)));
    float x = (float)magnitude * 0x1p-24f; /* subnormal, exact */
    return sign ? -x : x;
}
static inline uint16_t f16_from_f32(float x) {
    uint32_t u = f32_bits(x), sign = u >> 16 & 0x8000, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x1ff));
    if (a >= 0x477ff000u) return (uint16_t)(sign | 0x7c00); /* rounds past 65504 */
    if (a < 0x38800000u) { /* subnormal: let the f32 adder round at 2^-24 */
        float r = f32_from_bits(a) + 0.5f;
        return (uint16_t)(sign | (f32_bits(r) - f32_bits(0.5f)));
    }
    return (uint16_t)(sign | ((a - (112u << 23) + 0xfff + (a >> 13 & 1)) >> 13));
}

#endif
