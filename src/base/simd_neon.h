/* simd_neon.h: the words on AArch64 NEON: four registers each. */
#include <arm_neon.h>

typedef struct vf {
    float32x4_t q[4];
} vf;

#define V_REGISTERS 4
#define V_EACH      SIMD_UNROLL for (int i = 0; i < 4; i++)

SIMD_INLINE vf v_load(const float *p) {
    vf r;
    V_EACH r.q[i] = vld1q_f32(p + 4 * i);
    return r;
}
SIMD_INLINE void v_store(float *p, vf a) {
    V_EACH vst1q_f32(p + 4 * i, a.q[i]);
}
SIMD_INLINE vf v_set1(float x) {
    vf r;
    V_EACH r.q[i] = vdupq_n_f32(x);
    return r;
}
SIMD_INLINE vf v_zero(void) {
    return v_set1(0);
}
SIMD_INLINE vf v_add(vf a, vf b) {
    V_EACH a.q[i] = vaddq_f32(a.q[i], b.q[i]);
    return a;
}
SIMD_INLINE vf v_sub(vf a, vf b) {
    V_EACH a.q[i] = vsubq_f32(a.q[i], b.q[i]);
    return a;
}
SIMD_INLINE vf v_mul(vf a, vf b) {
    V_EACH a.q[i] = vmulq_f32(a.q[i], b.q[i]);
    return a;
}
SIMD_INLINE vf v_div(vf a, vf b) {
    V_EACH a.q[i] = vdivq_f32(a.q[i], b.q[i]);
    return a;
}
SIMD_INLINE vf v_fma(vf a, vf b, vf c) {
    V_EACH c.q[i] = vfmaq_f32(c.q[i], a.q[i], b.q[i]);
    return c;
}
SIMD_INLINE vf v_muladd(vf a, vf b, vf c) {
    return v_fma(a, b, c);
}
SIMD_INLINE vf v_max(vf a, vf b) { /* vmaxq would spread NaN */
    V_EACH b.q[i] = vbslq_f32(vcgtq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]);
    return b;
}
SIMD_INLINE vf v_min(vf a, vf b) {
    V_EACH b.q[i] = vbslq_f32(vcltq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]);
    return b;
}
SIMD_INLINE vf v_round(vf a) { /* to nearest even; |a| < 2^22 */
    V_EACH a.q[i] = vrndnq_f32(a.q[i]);
    return a;
}
SIMD_INLINE vf v_pow2(vf n) { /* 2^n for whole n in [-126, 127]; 0 for -127 */
    V_EACH n.q[i] =
        vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n.q[i]), vdupq_n_s32(127)), 23));
    return n;
}
SIMD_INLINE vf v_exponent(vf a) { /* floor(log2 a) of a normal a > 0 */
    V_EACH a.q[i] = vcvtq_f32_s32(vsubq_s32(
        vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_f32(a.q[i]), 23)), vdupq_n_s32(127)));
    return a;
}
SIMD_INLINE vf v_load_part(const float *p, int n) {
    float lane[16] = {0};
    for (int i = 0; i < n; i++) lane[i] = p[i];
    return v_load(lane);
}
SIMD_INLINE void v_store_part(float *p, vf a, int n) {
    float lane[16];
    v_store(lane, a);
    for (int i = 0; i < n; i++) p[i] = lane[i];
}
SIMD_INLINE vf v_first(int n, vf a, vf b) {
    const int32_t index[4] = {0, 1, 2, 3};
    int32x4_t lane = vld1q_s32(index);
    V_EACH b.q[i] = vbslq_f32(vcltq_s32(lane, vdupq_n_s32(n - 4 * i)), a.q[i], b.q[i]);
    return b;
}
SIMD_INLINE uint32_t v_gt_bits(vf a, vf b) {
    const uint32_t weight[4] = {1, 2, 4, 8};
    uint32x4_t w = vld1q_u32(weight);
    uint32_t bits = 0;
    V_EACH bits |= vaddvq_u32(vandq_u32(vcgtq_f32(a.q[i], b.q[i]), w)) << 4 * i;
    return bits;
}
SIMD_INLINE vf v_if_gt(vf a, vf b, vf x, vf y) {
    V_EACH y.q[i] = vbslq_f32(vcgtq_f32(a.q[i], b.q[i]), x.q[i], y.q[i]);
    return y;
}
SIMD_INLINE float32x4_t v_round_e4m3_(float32x4_t a) {
    const uint32x4_t sign_bit = vdupq_n_u32(0x80000000u);
    uint32x4_t u = vreinterpretq_u32_f32(a), magnitude = vbicq_u32(u, sign_bit);
    float32x4_t x = vreinterpretq_f32_u32(magnitude), magic = vdupq_n_f32(0x1p14f);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(u, 20), vdupq_n_u32(1));
    uint32x4_t up = vaddq_u32(magnitude, vaddq_u32(odd, vdupq_n_u32(0x7ffff)));
    float32x4_t even = vreinterpretq_f32_u32(vbicq_u32(up, vdupq_n_u32(0xfffff)));
    uint32x4_t tiny = vcltq_f32(x, vdupq_n_f32(0x1p-6f));
    even =
        vminq_f32(vbslq_f32(tiny, vsubq_f32(vaddq_f32(x, magic), magic), even), vdupq_n_f32(448));
    even = vbslq_f32(sign_bit, a, even);
    return vbslq_f32(vceqq_f32(a, a), even, a);
}
SIMD_INLINE vf v_round_e4m3(vf a) {
    V_EACH a.q[i] = v_round_e4m3_(a.q[i]);
    return a;
}
SIMD_INLINE float v_sum(vf a) {
    float32x4_t q = vaddq_f32(vaddq_f32(a.q[0], a.q[2]), vaddq_f32(a.q[1], a.q[3]));
    float32x2_t h = vadd_f32(vget_low_f32(q), vget_high_f32(q));
    return vget_lane_f32(h, 0) + vget_lane_f32(h, 1);
}
SIMD_INLINE float v_maxof(vf a) {
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.q[0], a.q[2]), vmaxq_f32(a.q[1], a.q[3])));
}
SIMD_INLINE vf v_load_bf16(const uint16_t *p) {
    vf r;
    V_EACH r.q[i] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16));
    return r;
}
SIMD_INLINE vf v_load_bf16_any(const uint16_t *p) { /* in some order, here their own */
    return v_load_bf16(p);
}
SIMD_INLINE vf v_load_f16(const uint16_t *p) {
    vf r;
    V_EACH r.q[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i)));
    return r;
}
SIMD_INLINE void v_store_bf16(uint16_t *p, vf a) {
    SIMD_UNROLL
    for (int i = 0; i < 4; i++) {
        uint32x4_t u = vreinterpretq_u32_f32(a.q[i]), high = vshrq_n_u32(u, 16);
        uint32x4_t odd = vandq_u32(high, vdupq_n_u32(1));
        uint32x4_t even = vaddq_u32(u, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
        uint32x4_t quiet = vorrq_u32(high, vdupq_n_u32(0x40));
        uint32x4_t number = vceqq_f32(a.q[i], a.q[i]);
        vst1_u16(p + 4 * i, vmovn_u32(vbslq_u32(number, vshrq_n_u32(even, 16), quiet)));
    }
}
SIMD_INLINE void v_store_f16(uint16_t *p, vf a) {
    V_EACH vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.q[i])));
}
SIMD_INLINE vf v_i16_(int16x8_t lo, int16x8_t hi) {
    vf r;
    r.q[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo)));
    r.q[1] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(lo)));
    r.q[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi)));
    r.q[3] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(hi)));
    return r;
}
typedef struct vb {
    uint8x16_t v;
} vb;

SIMD_INLINE vb vb_load(const uint8_t *p) {
    return (vb){vld1q_u8(p)};
}
SIMD_INLINE vb vb_set1(uint8_t x) {
    return (vb){vdupq_n_u8(x)};
}
SIMD_INLINE vb vb_or(vb a, vb b) {
    return (vb){vorrq_u8(a.v, b.v)};
}
SIMD_INLINE vb vb_sub(vb a, vb b) {
    return (vb){vsubq_u8(a.v, b.v)};
}
SIMD_INLINE vb vb_field(vb a, int from, int n, int to) {
    uint8x16_t moved = vshlq_u8(a.v, vdupq_n_s8((int8_t)(to - from))); /* right where negative */
    return (vb){vandq_u8(moved, vdupq_n_u8((uint8_t)(((1 << n) - 1) << to)))};
}
SIMD_INLINE vb vb_spread(const uint8_t *p) {
    const uint8x8_t bit = vcreate_u8(0x8040201008040201u);
    return (vb){vtstq_u8(vcombine_u8(vdup_n_u8(p[0]), vdup_n_u8(p[1])), vcombine_u8(bit, bit))};
}
SIMD_INLINE vf v_from_i8(vb a) {
    int8x16_t w = vreinterpretq_s8_u8(a.v);
    return v_i16_(vmovl_s8(vget_low_s8(w)), vmovl_s8(vget_high_s8(w)));
}
SIMD_INLINE vf v_from_u8(vb a) {
    return v_i16_(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(a.v))),
                  vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(a.v))));
}
SIMD_INLINE void v_store_i8(int8_t *p, vf a) { /* of whole numbers in [-128, 127] */
    int16x4_t w[4];
    V_EACH w[i] = vqmovn_s32(vcvtq_s32_f32(a.q[i]));
    vst1_s8(p, vqmovn_s16(vcombine_s16(w[0], w[1])));
    vst1_s8(p + 8, vqmovn_s16(vcombine_s16(w[2], w[3])));
}
SIMD_INLINE vf v_f16_(uint16x8_t lo, uint16x8_t hi) {
    vf r;
    r.q[0] = vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(lo)));
    r.q[1] = vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(lo)));
    r.q[2] = vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(hi)));
    r.q[3] = vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(hi)));
    return r;
}
/* A code shifted by seven is an f16 2^8 too small, whose subnormals are the right ones too. */
SIMD_INLINE uint16x8_t v_e4m3_(int8x8_t codes) {
    uint16x8_t w = vreinterpretq_u16_s16(vshlq_n_s16(vmovl_s8(codes), 7));
    w = vandq_u16(w, vdupq_n_u16(0xbf80));
    return vorrq_u16(w, vceqq_u16(vorrq_u16(w, vdupq_n_u16(0x8000)), vdupq_n_u16(0xbf80)));
}
SIMD_INLINE vf v_load_e4m3(const uint8_t *p, vf scale) {
    int8x16_t w = vreinterpretq_s8_u8(vld1q_u8(p));
    vf x = v_f16_(v_e4m3_(vget_low_s8(w)), v_e4m3_(vget_high_s8(w)));
    return v_mul(x, v_mul(scale, v_set1(256)));
}
SIMD_INLINE void v_store_e4m3(uint8_t *p, vf a) {
    vf x = v_mul(v_round_e4m3(a), v_set1(0x1p-8f));
    SIMD_UNROLL
    for (int i = 0; i < 4; i += 2) {
        uint16x8_t h = vcombine_u16(vreinterpret_u16_f16(vcvt_f16_f32(x.q[i])),
                                    vreinterpret_u16_f16(vcvt_f16_f32(x.q[i + 1])));
        uint16x8_t sign = vandq_u16(vshrq_n_u16(h, 8), vdupq_n_u16(0x80));
        uint16x8_t code = vshrq_n_u16(vandq_u16(h, vdupq_n_u16(0x7fff)), 7);
        code = vminq_u16(code, vdupq_n_u16(0x7f)); /* NaN is more */
        vst1_u8(p + 4 * i, vmovn_u16(vorrq_u16(code, sign)));
    }
}
/* An E2M1 number is the f16 of which this is the high byte and 0 the low one. */
SIMD_INLINE vf v_e2m1_(uint8x16_t codes) {
    const uint8_t table[16] = {0,    0x38, 0x3c, 0x3e, 0x40, 0x42, 0x44, 0x46,
                               0x80, 0xb8, 0xbc, 0xbe, 0xc0, 0xc2, 0xc4, 0xc6};
    uint8x16_t high = vqtbl1q_u8(vld1q_u8(table), codes);
    return v_f16_(vshll_n_u8(vget_low_u8(high), 8), vshll_n_u8(vget_high_u8(high), 8));
}
SIMD_INLINE vf v_load_e2m1(const uint8_t *p) {
    uint8x8_t w = vld1_u8(p), low = vand_u8(w, vdup_n_u8(15)), high = vshr_n_u8(w, 4);
    return v_e2m1_(vcombine_u8(vzip1_u8(low, high), vzip2_u8(low, high)));
}
SIMD_INLINE vf v_load_e2m1_halves(const uint8_t *p) {
    uint8x8_t w = vld1_u8(p);
    return v_e2m1_(vcombine_u8(vand_u8(w, vdup_n_u8(15)), vshr_n_u8(w, 4)));
}
SIMD_INLINE vf v_load_i8(const int8_t *p) {
    return v_from_i8(vb_load((const uint8_t *)p));
}
typedef struct vi {
    int32x4_t q[4];
} vi;
SIMD_INLINE vi vi_zero(void) {
    vi r;
    V_EACH r.q[i] = vdupq_n_s32(0);
    return r;
}
SIMD_INLINE vi v_load_i8_pairs(const int8_t *p) {
    vi r;
    V_EACH r.q[i] = vreinterpretq_s32_s16(vmovl_s8(vld1_s8(p + 8 * i)));
    return r;
}
SIMD_INLINE vi v_dot_pairs(vi sum, vi a, const int16_t *q) {
    int32_t pair;
    memcpy(&pair, q, 4);
    int16x8_t both = vreinterpretq_s16_s32(vdupq_n_s32(pair));
    V_EACH {
        int16x8_t x = vreinterpretq_s16_s32(a.q[i]);
        int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(both));
        sum.q[i] = vaddq_s32(sum.q[i], vpaddq_s32(low, vmull_high_s16(x, both)));
    }
    return sum;
}
SIMD_INLINE vf v_from_i32(vi a) {
    vf r;
    V_EACH r.q[i] = vcvtq_f32_s32(a.q[i]);
    return r;
}
SIMD_INLINE vf v_swap_pairs(vf a) {
    V_EACH a.q[i] = vrev64q_f32(a.q[i]);
    return a;
}
SIMD_INLINE vf v_set1_f16(const void *p) {
    uint16_t h;
    memcpy(&h, p, 2);
    float32x4_t q = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(h)));
    return (vf){{q, q, q, q}};
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
    float in[16][16], out[16][16];
    for (int i = 0; i < 16; i++) v_store(in[i], row[i]);
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 16; j++) out[i][j] = in[j][i];
    for (int i = 0; i < 16; i++) row[i] = v_load(out[i]);
}
#undef V_EACH
