/* simd_avx2.h: the words on AVX2 + FMA + F16C: two registers each. */
#include <immintrin.h>

typedef struct vf {
    __m256 lo, hi;
} vf;

#define V_REGISTERS 2

SIMD_INLINE vf v_load(const float *p) {
    return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
SIMD_INLINE void v_store(float *p, vf a) {
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}
SIMD_INLINE vf v_set1(float x) {
    __m256 r = _mm256_set1_ps(x);
    return (vf){r, r};
}
SIMD_INLINE vf v_zero(void) {
    return (vf){_mm256_setzero_ps(), _mm256_setzero_ps()};
}
SIMD_INLINE vf v_add(vf a, vf b) {
    return (vf){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
SIMD_INLINE vf v_sub(vf a, vf b) {
    return (vf){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
SIMD_INLINE vf v_mul(vf a, vf b) {
    return (vf){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
SIMD_INLINE vf v_div(vf a, vf b) {
    return (vf){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
SIMD_INLINE vf v_fma(vf a, vf b, vf c) {
    return (vf){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
SIMD_INLINE vf v_muladd(vf a, vf b, vf c) {
    return v_fma(a, b, c);
}
SIMD_INLINE vf v_max(vf a, vf b) {
    return (vf){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
SIMD_INLINE vf v_min(vf a, vf b) {
    return (vf){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
SIMD_INLINE vf v_round(vf a) { /* to nearest even; |a| < 2^22 */
    return (vf){_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
SIMD_INLINE __m256 v_pow2_(__m256 n) {
    __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}
SIMD_INLINE vf v_pow2(vf n) { /* 2^n for whole n in [-126, 127]; 0 for -127 */
    return (vf){v_pow2_(n.lo), v_pow2_(n.hi)};
}
SIMD_INLINE __m256 v_exponent_(__m256 a) {
    __m256i e = _mm256_srli_epi32(_mm256_castps_si256(a), 23);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(e, _mm256_set1_epi32(127)));
}
SIMD_INLINE vf v_exponent(vf a) { /* floor(log2 a) of a normal a > 0 */
    return (vf){v_exponent_(a.lo), v_exponent_(a.hi)};
}
SIMD_INLINE __m256i v_mask_(int n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane);
}
SIMD_INLINE vf v_load_part(const float *p, int n) {
    return (vf){_mm256_maskload_ps(p, v_mask_(n)), _mm256_maskload_ps(p + 8, v_mask_(n - 8))};
}
SIMD_INLINE void v_store_part(float *p, vf a, int n) {
    _mm256_maskstore_ps(p, v_mask_(n), a.lo);
    _mm256_maskstore_ps(p + 8, v_mask_(n - 8), a.hi);
}
SIMD_INLINE vf v_first(int n, vf a, vf b) {
    return (vf){_mm256_blendv_ps(b.lo, a.lo, _mm256_castsi256_ps(v_mask_(n))),
                _mm256_blendv_ps(b.hi, a.hi, _mm256_castsi256_ps(v_mask_(n - 8)))};
}
SIMD_INLINE uint32_t v_gt_bits(vf a, vf b) {
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ)) |
           (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ)) << 8;
}
SIMD_INLINE vf v_if_gt(vf a, vf b, vf x, vf y) {
    return (vf){_mm256_blendv_ps(y.lo, x.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ)),
                _mm256_blendv_ps(y.hi, x.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ))};
}
SIMD_INLINE __m256 v_round_e4m3_(__m256 a) {
    const __m256i sign_bit = _mm256_set1_epi32((int)0x80000000u);
    __m256i u = _mm256_castps_si256(a), magnitude = _mm256_andnot_si256(sign_bit, u);
    __m256 x = _mm256_castsi256_ps(magnitude), magic = _mm256_set1_ps(0x1p14f);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 20), _mm256_set1_epi32(1));
    __m256i up = _mm256_add_epi32(magnitude, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7ffff)));
    __m256 even = _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_set1_epi32(0xfffff), up));
    __m256 tiny = _mm256_cmp_ps(x, _mm256_set1_ps(0x1p-6f), _CMP_LT_OQ);
    even = _mm256_blendv_ps(even, _mm256_sub_ps(_mm256_add_ps(x, magic), magic), tiny);
    even = _mm256_min_ps(even, _mm256_set1_ps(448));
    even = _mm256_or_ps(even, _mm256_castsi256_ps(_mm256_and_si256(sign_bit, u)));
    return _mm256_blendv_ps(even, a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
SIMD_INLINE vf v_round_e4m3(vf a) {
    return (vf){v_round_e4m3_(a.lo), v_round_e4m3_(a.hi)};
}
SIMD_INLINE float v_sum(vf a) {
    __m256 h = _mm256_add_ps(a.lo, a.hi);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
}
SIMD_INLINE float v_maxof(vf a) {
    __m256 h = _mm256_max_ps(a.lo, a.hi);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
}
SIMD_INLINE __m256 v_bf16_(const uint16_t *p) {
    __m256i w = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
}
SIMD_INLINE vf v_load_bf16(const uint16_t *p) {
    return (vf){v_bf16_(p), v_bf16_(p + 8)};
}
SIMD_INLINE vf v_load_bf16_any(const uint16_t *p) { /* in some order: even elements, odd ones */
    __m256i w = _mm256_loadu_si256((const __m256i *)p), high = _mm256_set1_epi32((int)0xffff0000);
    return (vf){_mm256_castsi256_ps(_mm256_slli_epi32(w, 16)),
                _mm256_castsi256_ps(_mm256_and_si256(w, high))};
}
SIMD_INLINE vf v_load_f16(const uint16_t *p) {
    return (vf){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
                _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)))};
}
SIMD_INLINE __m256i v_to_bf16_(__m256 a) {
    __m256i u = _mm256_castps_si256(a), high = _mm256_srli_epi32(u, 16);
    __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i even = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    return _mm256_blendv_epi8(_mm256_srli_epi32(even, 16), quiet, nan);
}
SIMD_INLINE void v_store_bf16(uint16_t *p, vf a) {
    __m256i both = _mm256_packus_epi32(v_to_bf16_(a.lo), v_to_bf16_(a.hi));
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(both, 0xd8));
}
SIMD_INLINE void v_store_f16(uint16_t *p, vf a) {
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(p + 8), _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
}
typedef struct vb {
    __m128i v;
} vb;

SIMD_INLINE vb vb_load(const uint8_t *p) {
    return (vb){_mm_loadu_si128((const __m128i *)p)};
}
SIMD_INLINE vb vb_set1(uint8_t x) {
    return (vb){_mm_set1_epi8((char)x)};
}
SIMD_INLINE vb vb_or(vb a, vb b) {
    return (vb){_mm_or_si128(a.v, b.v)};
}
SIMD_INLINE vb vb_sub(vb a, vb b) {
    return (vb){_mm_sub_epi8(a.v, b.v)};
}
SIMD_INLINE vb vb_field(vb a, int from, int n, int to) { /* neighbours' bits are cut off again */
    __m128i moved = to >= from ? _mm_slli_epi16(a.v, to - from) : _mm_srli_epi16(a.v, from - to);
    return (vb){_mm_and_si128(moved, _mm_set1_epi8((char)(((1 << n) - 1) << to)))};
}
SIMD_INLINE vb vb_spread(const uint8_t *p) {
    uint16_t bits;
    memcpy(&bits, p, 2);
    const __m128i byte = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m128i bit = _mm_set1_epi64x((int64_t)0x8040201008040201u);
    __m128i w = _mm_and_si128(_mm_shuffle_epi8(_mm_set1_epi16((short)bits), byte), bit);
    return (vb){_mm_cmpeq_epi8(w, bit)};
}
SIMD_INLINE vf v_from_i8(vb a) {
    return (vf){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(a.v)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(a.v, 8)))};
}
SIMD_INLINE vf v_from_u8(vb a) {
    return (vf){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(a.v)),
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(a.v, 8)))};
}
SIMD_INLINE vf v_load_i8(const int8_t *p) {
    return v_from_i8(vb_load((const uint8_t *)p));
}
SIMD_INLINE void v_store_i8(int8_t *p, vf a) { /* of whole numbers in [-128, 127] */
    __m256i lo = _mm256_cvtps_epi32(a.lo), hi = _mm256_cvtps_epi32(a.hi);
    __m128i w = _mm_packs_epi32(_mm256_castsi256_si128(lo), _mm256_extracti128_si256(lo, 1));
    __m128i x = _mm_packs_epi32(_mm256_castsi256_si128(hi), _mm256_extracti128_si256(hi, 1));
    _mm_storeu_si128((__m128i *)p, _mm_packs_epi16(w, x));
}
/* A code shifted by seven is an f16 2^8 too small, whose subnormals are the right ones too. */
SIMD_INLINE vf v_load_e4m3(const uint8_t *p, vf scale) {
    __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
    w = _mm256_and_si256(_mm256_slli_epi16(w, 7), _mm256_set1_epi16((short)0xbf80));
    __m256i unsigned_ = _mm256_or_si256(w, _mm256_set1_epi16((short)0x8000));
    w = _mm256_or_si256(w, _mm256_cmpeq_epi16(unsigned_, _mm256_set1_epi16((short)0xbf80)));
    vf x = {_mm256_cvtph_ps(_mm256_castsi256_si128(w)),
            _mm256_cvtph_ps(_mm256_extracti128_si256(w, 1))};
    return v_mul(x, v_mul(scale, v_set1(256)));
}
SIMD_INLINE void v_store_e4m3(uint8_t *p, vf a) {
    vf x = v_mul(v_round_e4m3(a), v_set1(0x1p-8f));
    __m256i h = _mm256_set_m128i(_mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT),
                                 _mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT));
    __m256i sign = _mm256_and_si256(_mm256_srli_epi16(h, 8), _mm256_set1_epi16(0x80));
    __m256i code = _mm256_srli_epi16(_mm256_and_si256(h, _mm256_set1_epi16(0x7fff)), 7);
    code = _mm256_min_epu16(code, _mm256_set1_epi16(0x7f)); /* NaN is more */
    code = _mm256_or_si256(code, sign);
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi16(_mm256_castsi256_si128(code),
                                                    _mm256_extracti128_si256(code, 1)));
}
/* An E2M1 number is the f16 of which this is the high byte and 0 the low one. */
SIMD_INLINE vf v_e2m1_(__m128i codes) {
    const __m128i table = _mm_setr_epi8(0, 0x38, 0x3c, 0x3e, 0x40, 0x42, 0x44, 0x46, -128, -72, -68,
                                        -66, -64, -62, -60, -58);
    __m128i high = _mm_shuffle_epi8(table, codes), zero = _mm_setzero_si128();
    return (vf){_mm256_cvtph_ps(_mm_unpacklo_epi8(zero, high)),
                _mm256_cvtph_ps(_mm_unpackhi_epi8(zero, high))};
}
SIMD_INLINE vf v_load_e2m1(const uint8_t *p) {
    __m128i w = _mm_loadl_epi64((const __m128i *)p), mask = _mm_set1_epi8(15);
    __m128i low = _mm_and_si128(w, mask), high = _mm_and_si128(_mm_srli_epi16(w, 4), mask);
    return v_e2m1_(_mm_unpacklo_epi8(low, high));
}
SIMD_INLINE vf v_load_e2m1_halves(const uint8_t *p) {
    __m128i w = _mm_loadl_epi64((const __m128i *)p), mask = _mm_set1_epi8(15);
    __m128i low = _mm_and_si128(w, mask), high = _mm_and_si128(_mm_srli_epi16(w, 4), mask);
    return v_e2m1_(_mm_unpacklo_epi64(low, high));
}
typedef struct vi {
    __m256i lo, hi;
} vi;
SIMD_INLINE vi vi_zero(void) {
    return (vi){_mm256_setzero_si256(), _mm256_setzero_si256()};
}
SIMD_INLINE vi v_load_i8_pairs(const int8_t *p) {
    return (vi){_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p)),
                _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(p + 16)))};
}
SIMD_INLINE vi v_dot_pairs(vi sum, vi a, const int16_t *q) {
    int32_t pair;
    memcpy(&pair, q, 4);
    __m256i both = _mm256_set1_epi32(pair);
    return (vi){_mm256_add_epi32(sum.lo, _mm256_madd_epi16(a.lo, both)),
                _mm256_add_epi32(sum.hi, _mm256_madd_epi16(a.hi, both))};
}
SIMD_INLINE vf v_from_i32(vi a) {
    return (vf){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}
SIMD_INLINE vf v_swap_pairs(vf a) {
    return (vf){_mm256_permute_ps(a.lo, 0xb1), _mm256_permute_ps(a.hi, 0xb1)};
}
SIMD_INLINE vf v_set1_f16(const void *p) {
    uint16_t h;
    memcpy(&h, p, 2);
    __m256 r = _mm256_cvtph_ps(_mm_set1_epi16((short)h));
    return (vf){r, r};
}
SIMD_INLINE void v_set2_f16(const void *p, vf *a, vf *b) {
    uint32_t pair;
    memcpy(&pair, p, 4);
    __m256 both = _mm256_cvtph_ps(_mm_set1_epi32((int)pair));
    a->lo = a->hi = _mm256_moveldup_ps(both);
    b->lo = b->hi = _mm256_movehdup_ps(both);
}
SIMD_INLINE void v_scale_nibbles(const uint8_t *p, const vf scale[2], const vf offset[2], vf *low,
                                 vf *high) {
    /* Bytes are widened once, on their way from memory, for both of their halves. */
    __m256i first = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
    __m256i second = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p + 8)));
    const __m256i four_bits = _mm256_set1_epi32(15);
    vf lows = {_mm256_cvtepi32_ps(_mm256_and_si256(first, four_bits)),
               _mm256_cvtepi32_ps(_mm256_and_si256(second, four_bits))};
    vf highs = {_mm256_cvtepi32_ps(_mm256_srli_epi32(first, 4)),
                _mm256_cvtepi32_ps(_mm256_srli_epi32(second, 4))};
    *low = v_muladd(lows, scale[0], offset[0]);
    *high = v_muladd(highs, scale[1], offset[1]);
}
SIMD_INLINE void v_transpose8_(__m256 r[8]) {
    __m256 t[8];
    SIMD_UNROLL
    for (int i = 0; i < 8; i += 4) {
        __m256 a = _mm256_unpacklo_ps(r[i], r[i + 1]), b = _mm256_unpackhi_ps(r[i], r[i + 1]);
        __m256 c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]),
               d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    SIMD_UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}
SIMD_INLINE void v_transpose(vf row[16]) { /* a 16 x 16 square in place, as four of 8 x 8 */
    __m256 a[8], b[8], c[8], d[8];
    SIMD_UNROLL
    for (int i = 0; i < 8; i++) {
        a[i] = row[i].lo, b[i] = row[i].hi;
        c[i] = row[i + 8].lo, d[i] = row[i + 8].hi;
    }
    v_transpose8_(a);
    v_transpose8_(b);
    v_transpose8_(c);
    v_transpose8_(d);
    SIMD_UNROLL
    for (int i = 0; i < 8; i++) {
        row[i] = (vf){a[i], c[i]};
        row[i + 8] = (vf){b[i], d[i]};
    }
}
