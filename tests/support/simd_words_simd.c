/* simd_words_simd.c: see simd_words.h. */
#include "simd_words.h"

#include "base/simd.h"

static void copy(const float *a, float *out) {
    v_store(out, v_load(a));
}
static void round_(const float *a, float *out) {
    v_store(out, v_round(v_load(a)));
}
static void pow2(const float *a, float *out) {
    v_store(out, v_pow2(v_load(a)));
}
static void exp2_(const float *a, float *out) {
    v_store(out, v_exp2(v_load(a)));
}
static void exp2_fma(const float *a, float *out) {
    v_store(out, v_exp2_fma(v_load(a)));
}
static void exp_(const float *a, float *out) {
    v_store(out, v_exp(v_load(a)));
}
static void exponent(const float *a, float *out) {
    v_store(out, v_exponent(v_load(a)));
}
static void log2_(const float *a, float *out) {
    v_store(out, v_log2(v_load(a)));
}
static void round_e4m3(const float *a, float *out) {
    v_store(out, v_round_e4m3(v_load(a)));
}
static void swap_pairs(const float *a, float *out) {
    v_store(out, v_swap_pairs(v_load(a)));
}
static void transpose(const float *a, float *out) {
    vf row[16];
    for (int i = 0; i < 16; i++) row[i] = v_load(a + 16 * i);
    v_transpose(row);
    for (int i = 0; i < 16; i++) v_store(out + 16 * i, row[i]);
}
static void add(const float *a, const float *b, float *out) {
    v_store(out, v_add(v_load(a), v_load(b)));
}
static void sub(const float *a, const float *b, float *out) {
    v_store(out, v_sub(v_load(a), v_load(b)));
}
static void mul(const float *a, const float *b, float *out) {
    v_store(out, v_mul(v_load(a), v_load(b)));
}
static void div_(const float *a, const float *b, float *out) {
    v_store(out, v_div(v_load(a), v_load(b)));
}
static void max(const float *a, const float *b, float *out) {
    v_store(out, v_max(v_load(a), v_load(b)));
}
static void min(const float *a, const float *b, float *out) {
    v_store(out, v_min(v_load(a), v_load(b)));
}
static void fma_(const float *a, const float *b, const float *c, float *out) {
    v_store(out, v_fma(v_load(a), v_load(b), v_load(c)));
}
static void muladd(const float *a, const float *b, const float *c, float *out) {
    v_store(out, v_muladd(v_load(a), v_load(b), v_load(c)));
}
static void set1(float x, float *out) {
    v_store(out, v_set1(x));
}
static void load_part(const float *p, int n, float *out) {
    v_store(out, v_load_part(p, n));
}
static void store_part(float *p, const float *a, int n) {
    v_store_part(p, v_load(a), n);
}
static void first(int n, const float *a, const float *b, float *out) {
    v_store(out, v_first(n, v_load(a), v_load(b)));
}
static uint32_t gt_bits(const float *a, const float *b) {
    return v_gt_bits(v_load(a), v_load(b));
}
static void if_gt(const float *a, const float *b, const float *x, const float *y, float *out) {
    v_store(out, v_if_gt(v_load(a), v_load(b), v_load(x), v_load(y)));
}
static float sum(const float *a) {
    return v_sum(v_load(a));
}
static float maxof(const float *a) {
    return v_maxof(v_load(a));
}
static void load_bf16(const uint16_t *p, float *out) {
    v_store(out, v_load_bf16(p));
}
static void load_bf16_any(const uint16_t *p, float *out) {
    v_store(out, v_load_bf16_any(p));
}
static void load_f16(const uint16_t *p, float *out) {
    v_store(out, v_load_f16(p));
}
static void store_bf16(uint16_t *p, const float *a) {
    v_store_bf16(p, v_load(a));
}
static void store_f16(uint16_t *p, const float *a) {
    v_store_f16(p, v_load(a));
}
static void dot_pairs(const int8_t *p, const int16_t *q, int n, float *out) {
    vi sum = vi_zero();
    for (int i = 0; i < n; i++) sum = v_dot_pairs(sum, v_load_i8_pairs(p + 32 * i), q + 2 * i);
    v_store(out, v_from_i32(sum));
}
static void load_i8(const int8_t *p, float *out) {
    v_store(out, v_load_i8(p));
}
static void store_i8(int8_t *p, const float *a) {
    v_store_i8(p, v_load(a));
}
static void load_e4m3(const uint8_t *p, float scale, float *out) {
    v_store(out, v_load_e4m3(p, v_set1(scale)));
}
static void store_e4m3(uint8_t *p, const float *a) {
    v_store_e4m3(p, v_load(a));
}
static void load_e2m1(const uint8_t *p, float *out) {
    v_store(out, v_load_e2m1(p));
}
static void load_e2m1_halves(const uint8_t *p, float *out) {
    v_store(out, v_load_e2m1_halves(p));
}
static void from_i8(const uint8_t *p, float *out) {
    v_store(out, v_from_i8(vb_load(p)));
}
static void from_u8(const uint8_t *p, float *out) {
    v_store(out, v_from_u8(vb_load(p)));
}
static void or8(const uint8_t *a, const uint8_t *b, float *out) {
    v_store(out, v_from_u8(vb_or(vb_load(a), vb_load(b))));
}
static void sub8(const uint8_t *a, uint8_t b, float *out) {
    v_store(out, v_from_u8(vb_sub(vb_load(a), vb_set1(b))));
}
static void field(const uint8_t *p, int from, int n, int to, float *out) {
    v_store(out, v_from_u8(vb_field(vb_load(p), from, n, to)));
}
static void spread(const uint8_t *p, float *out) {
    v_store(out, v_from_u8(vb_spread(p)));
}
static void set1_f16(const uint8_t *p, float *out) {
    v_store(out, v_set1_f16(p));
}
static void set2_f16(const uint8_t *p, float *a, float *b) {
    vf x, y;
    v_set2_f16(p, &x, &y);
    v_store(a, x);
    v_store(b, y);
}
static void scale_nibbles(const uint8_t *p, const float scale[2], const float offset[2], float *low,
                          float *high) {
    vf a, b;
    v_scale_nibbles(p, (const vf[2]){v_set1(scale[0]), v_set1(scale[1])},
                    (const vf[2]){v_set1(offset[0]), v_set1(offset[1])}, &a, &b);
    v_store(low, a);
    v_store(high, b);
}

extern const simd_words SIMD_NAME(simd_words);
const simd_words SIMD_NAME(simd_words) = {
    .copy = copy,
    .round = round_,
    .pow2 = pow2,
    .exp2 = exp2_,
    .exp2_fma = exp2_fma,
    .exp = exp_,
    .exponent = exponent,
    .log2 = log2_,
    .swap_pairs = swap_pairs,
    .round_e4m3 = round_e4m3,
    .transpose = transpose,
    .add = add,
    .sub = sub,
    .mul = mul,
    .div = div_,
    .max = max,
    .min = min,
    .fma = fma_,
    .muladd = muladd,
    .set1 = set1,
    .load_part = load_part,
    .store_part = store_part,
    .first = first,
    .gt_bits = gt_bits,
    .if_gt = if_gt,
    .sum = sum,
    .maxof = maxof,
    .load_bf16 = load_bf16,
    .load_bf16_any = load_bf16_any,
    .load_f16 = load_f16,
    .store_bf16 = store_bf16,
    .store_f16 = store_f16,
    .load_i8 = load_i8,
    .from_i8 = from_i8,
    .from_u8 = from_u8,
    .or8 = or8,
    .sub8 = sub8,
    .field = field,
    .spread = spread,
    .store_i8 = store_i8,
    .load_e4m3 = load_e4m3,
    .store_e4m3 = store_e4m3,
    .load_e2m1 = load_e2m1,
    .load_e2m1_halves = load_e2m1_halves,
    .dot_pairs = dot_pairs,
    .set1_f16 = set1_f16,
    .set2_f16 = set2_f16,
    .scale_nibbles = scale_nibbles,
};
