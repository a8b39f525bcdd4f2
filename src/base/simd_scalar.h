/* simd_scalar.h: the words without intrinsics: the fallback of every CPU, and the meaning of the
 * others. Sixteen lanes as one vector of the compiler's (GCC and Clang), which it cuts into what
 * the baseline has; the loops say the rest. */
#include <math.h>

#include "base/fp4.h"
#include "base/fp8.h"

typedef float vf_lanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t vf_bits __attribute__((vector_size(64), aligned(4), may_alias));

typedef struct vf {
    vf_lanes lane;
} vf;

typedef struct vb {
    uint8_t byte[16];
} vb;

#define V_REGISTERS 4
#define V_EACH      for (int i = 0; i < 16; i++)

SIMD_INLINE vf v_load(const float *p) {
    return (vf){*(const vf_lanes *)p};
}
SIMD_INLINE void v_store(float *p, vf a) {
    *(vf_lanes *)p = a.lane;
}
SIMD_INLINE vf v_set1(float x) {
    vf r;
    V_EACH r.lane[i] = x;
    return r;
}
SIMD_INLINE vf v_zero(void) {
    return v_set1(0);
}
SIMD_INLINE vf v_add(vf a, vf b) {
    return (vf){a.lane + b.lane};
}
SIMD_INLINE vf v_sub(vf a, vf b) {
    return (vf){a.lane - b.lane};
}
SIMD_INLINE vf v_mul(vf a, vf b) {
    return (vf){a.lane * b.lane};
}
SIMD_INLINE vf v_div(vf a, vf b) {
    return (vf){a.lane / b.lane};
}
SIMD_INLINE vf v_fma(vf a, vf b, vf c) {
    V_EACH c.lane[i] = fmaf(a.lane[i], b.lane[i], c.lane[i]);
    return c;
}
SIMD_INLINE vf v_muladd(vf a, vf b, vf c) {
    return (vf){c.lane + a.lane * b.lane};
}
SIMD_INLINE vf v_max(vf a, vf b) {
    vf_bits larger = a.lane > b.lane;
    return (vf){(vf_lanes)((larger & (vf_bits)a.lane) | (~larger & (vf_bits)b.lane))};
}
SIMD_INLINE vf v_min(vf a, vf b) {
    vf_bits less = a.lane < b.lane;
    return (vf){(vf_lanes)((less & (vf_bits)a.lane) | (~less & (vf_bits)b.lane))};
}
SIMD_INLINE vf v_round(vf a) { /* to nearest even; |a| < 2^22 */
    V_EACH a.lane[i] = copysignf(a.lane[i] + 12582912.0f - 12582912.0f, a.lane[i]);
    return a;
}
SIMD_INLINE vf v_pow2(vf n) { /* 2^n for whole n in [-126, 127]; 0 for -127 */
    V_EACH n.lane[i] =
        f32_from_bits((uint32_t)((int32_t)(n.lane[i] == n.lane[i] ? n.lane[i] : 0) + 127) << 23);
    return n;
}
SIMD_INLINE vf v_exponent(vf a) { /* floor(log2 a) of a normal a > 0 */
    V_EACH a.lane[i] = (float)((int32_t)(f32_bits(a.lane[i]) >> 23) - 127);
    return a;
}
SIMD_INLINE vf v_load_part(const float *p, int n) {
    vf r;
    V_EACH r.lane[i] = i < n ? p[i] : 0;
    return r;
}
SIMD_INLINE void v_store_part(float *p, vf a, int n) {
    for (int i = 0; i < n; i++) p[i] = a.lane[i];
}
SIMD_INLINE vf v_first(int n, vf a, vf b) {
    for (int i = 0; i < 16 && i < n; i++) b.lane[i] = a.lane[i];
    return b;
}
SIMD_INLINE uint32_t v_gt_bits(vf a, vf b) {
    uint32_t bits = 0;
    V_EACH bits |= (uint32_t)(a.lane[i] > b.lane[i]) << i;
    return bits;
}
SIMD_INLINE vf v_if_gt(vf a, vf b, vf x, vf y) {
    vf_bits greater = a.lane > b.lane;
    return (vf){(vf_lanes)((greater & (vf_bits)x.lane) | (~greater & (vf_bits)y.lane))};
}
SIMD_INLINE vf v_round_e4m3(vf a) {
    V_EACH a.lane[i] = fp8_round(a.lane[i]);
    return a;
}
SIMD_INLINE float v_sum(vf a) {
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) a.lane[i] += a.lane[i + half];
    return a.lane[0];
}
SIMD_INLINE float v_maxof(vf a) {
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            a.lane[i] = a.lane[i] > a.lane[i + half] ? a.lane[i] : a.lane[i + half];
    return a.lane[0];
}
SIMD_INLINE vf v_load_bf16(const uint16_t *p) {
    vf r;
    V_EACH r.lane[i] = bf16_to_f32(p[i]);
    return r;
}
SIMD_INLINE vf v_load_bf16_any(const uint16_t *p) { /* in some order, here their own */
    return v_load_bf16(p);
}
SIMD_INLINE vf v_load_f16(const uint16_t *p) {
    vf r;
    V_EACH r.lane[i] = f16_to_f32(p[i]);
    return r;
}
SIMD_INLINE void v_store_bf16(uint16_t *p, vf a) {
    V_EACH p[i] = bf16_from_f32(a.lane[i]);
}
SIMD_INLINE void v_store_f16(uint16_t *p, vf a) {
    V_EACH p[i] = f16_from_f32(a.lane[i]);
}
SIMD_INLINE vb vb_load(const uint8_t *p) {
    vb r;
    memcpy(r.byte, p, 16);
    return r;
}
SIMD_INLINE vb vb_set1(uint8_t x) {
    vb r;
    memset(r.byte, x, 16);
    return r;
}
SIMD_INLINE vb vb_or(vb a, vb b) {
    V_EACH a.byte[i] |= b.byte[i];
    return a;
}
SIMD_INLINE vb vb_sub(vb a, vb b) {
    V_EACH a.byte[i] = (uint8_t)(a.byte[i] - b.byte[i]);
    return a;
}
SIMD_INLINE vb vb_field(vb a, int from, int n, int to) {
    V_EACH a.byte[i] = (uint8_t)((a.byte[i] >> from & ((1 << n) - 1)) << to);
    return a;
}
SIMD_INLINE vb vb_spread(const uint8_t *p) {
    vb r;
    V_EACH r.byte[i] = p[i / 8] >> i % 8 & 1 ? 255 : 0;
    return r;
}
SIMD_INLINE vf v_from_i8(vb a) {
    vf r;
    V_EACH r.lane[i] = (float)(int8_t)a.byte[i];
    return r;
}
SIMD_INLINE vf v_from_u8(vb a) {
    vf r;
    V_EACH r.lane[i] = (float)a.byte[i];
    return r;
}
SIMD_INLINE vf v_load_i8(const int8_t *p) {
    return v_from_i8(vb_load((const uint8_t *)p));
}
SIMD_INLINE void v_store_i8(int8_t *p, vf a) { /* of whole numbers in [-128, 127] */
    V_EACH p[i] = (int8_t)a.lane[i];
}
SIMD_INLINE vf v_load_e4m3(const uint8_t *p, vf scale) {
    V_EACH scale.lane[i] *= fp8_to_f32(p[i]);
    return scale;
}
SIMD_INLINE void v_store_e4m3(uint8_t *p, vf a) {
    V_EACH p[i] = fp8_from_f32(a.lane[i]);
}
SIMD_INLINE vf v_load_e2m1(const uint8_t *p) {
    vf r;
    V_EACH r.lane[i] = fp4_to_f32(p[i / 2] >> i % 2 * 4 & 15);
    return r;
}
SIMD_INLINE vf v_load_e2m1_halves(const uint8_t *p) {
    vf r;
    V_EACH r.lane[i] = fp4_to_f32(p[i % 8] >> i / 8 * 4 & 15);
    return r;
}
typedef struct vi {
    vf_bits lane;
} vi;
SIMD_INLINE vi vi_zero(void) {
    return (vi){(vf_bits){0}};
}
SIMD_INLINE vi v_load_i8_pairs(const int8_t *p) {
    int16_t wide[32];
    vi r;
    for (int i = 0; i < 32; i++) wide[i] = p[i];
    memcpy(&r, wide, sizeof r);
    return r;
}
SIMD_INLINE vi v_dot_pairs(vi sum, vi a, const int16_t *q) {
    int16_t wide[32];
    memcpy(wide, &a, sizeof wide);
    V_EACH sum.lane[i] += wide[2 * i] * q[0] + wide[2 * i + 1] * q[1];
    return sum;
}
SIMD_INLINE vf v_from_i32(vi a) {
    vf r;
    V_EACH r.lane[i] = (float)a.lane[i];
    return r;
}
SIMD_INLINE vf v_swap_pairs(vf a) {
    vf r;
    V_EACH r.lane[i] = a.lane[i ^ 1];
    return r;
}
SIMD_INLINE vf v_set1_f16(const void *p) {
    uint16_t h;
    memcpy(&h, p, 2);
    return v_set1(f16_to_f32(h));
}
SIMD_INLINE void v_set2_f16(const void *p, vf *a, vf *b) {
    *a = v_set1_f16(p);
    *b = v_set1_f16((const uint8_t *)p + 2);
}
SIMD_INLINE void v_scale_nibbles(const uint8_t *p, const vf scale[2], const vf offset[2], vf *low,
                                 vf *high) {
    const vb w = vb_load(p);
    *low = v_muladd(v_from_u8(vb_field(w, 0, 4, 0)), scale[0], offset[0]);
    *high = v_muladd(v_from_u8(vb_field(w, 4, 4, 0)), scale[1], offset[1]);
}
SIMD_INLINE void v_transpose(vf row[16]) { /* a 16 x 16 square in place */
    for (int i = 0; i < 16; i++)
        for (int j = i + 1; j < 16; j++) {
            float x = row[i].lane[j];
            row[i].lane[j] = row[j].lane[i];
            row[j].lane[i] = x;
        }
}
#undef V_EACH
