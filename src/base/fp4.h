/* fp4.h: one number at a time between f32 and FP4 E2M1: a sign, two bits of exponent, one of
 * mantissa: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives; no infinity, no NaN. Round to nearest
 * even, saturating at +-6; a NaN has no code and becomes 6 of its sign. */
#ifndef MSA_BASE_FP4_H
#define MSA_BASE_FP4_H

#include "base/half.h"

static inline float fp4_to_f32(int code) {
    static const float values[16] = {0,     0.5f,  1,     1.5f,  2,     3,     4,     6,
                                     -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
    return values[code & 15];
}

/* Codes are even or odd as their mantissas are, so a tie goes to the even one. */
static inline int fp4_from_f32(float x) {
    uint32_t u = f32_bits(x);
    float a = f32_from_bits(u & 0x7fffffffu);
    int sign = (int)(u >> 28 & 8);
    if (!(a <= 5)) return sign | 7;
    return sign |
           ((a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) + (a >= 3.5f));
}

#endif
