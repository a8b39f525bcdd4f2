/* simd_avx512.h: the words on AVX-512 F, BW, DQ, VL: one register each. */
#include <immintrin.h>

typedef struct vf {
    __m512 v;
} vf;

#define V_REGISTERS 1

SIMD_INLINE vf v_load(const float *p) {
    return (vf){_mm512_loadu_ps(p)};
}
SIMD_INLINE void v_store(float *p, vf a) {
    _mm512_storeu_ps(p, a.v);
}
SIMD_INLINE vf v_set1(float x) {
    return (vf){_mm512_set1_ps(x)};
}
SIMD_INLINE vf v_zero(void) {
    return (vf){_mm512_setzero_ps()};
}
SIMD_INLINE vf v_add(vf a, vf b) {
    return (vf){_mm512_add_ps(a.v, b.v)};
}
SIMD_INLINE vf v_sub(vf a, vf b) {
    return (vf){_mm512_sub_ps(a.v, b.v)};
}
SIMD_INLINE vf v_mul(vf a, vf b) {
    return (vf){_mm512_mul_ps(a.v, b.v)};
}
SIMD_INLINE vf v_div(vf a, vf b) {
    return (vf){_mm512_div_ps(a.v, b.v)};
}
SIMD_INLINE vf v_fma(vf a, vf b, vf c) {
    return (vf){_mm512_fmadd_ps(a.v, b.v, c.v)};
}
SIMD_INLINE vf v_muladd(vf a, vf b, vf c) {
    return v_fma(a, b, c);
}
SIMD_INLINE vf v_max(vf a, vf b) {
    return (vf){_mm512_max_ps(a.v, b.v)};
}
SIMD_INLINE vf v_min(vf a, vf b) {
    return (vf){_mm512_min_ps(a.v, b.v)};
}
SIMD_INLINE vf v_round(vf a) { /* to nearest even; |a| < 2^22 */
    return (vf){_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
SIMD_INLINE vf v_pow2(vf n) { /* 2^n for whole n in [-126, 127]; 0 for -127 */
    __m512i e = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
    return (vf){_mm512_castsi512_ps(_mm512_slli_epi32(e, 23))};
}
SIMD_INLINE vf v_exponent(vf a) { /* floor(log2 a) of a normal a > 0 */
    __m512i e = _mm512_srli_epi32(_mm512_castps_si512(a.v), 23);
    return (vf){_mm512_cvtepi32_ps(_mm512_sub_epi32(e, _mm512_set1_epi32(127)))};
}
SIMD_INLINE __mmask16 v_mask_(int n) {
    return (__mmask16)((1u << n) - 1);
}
SIMD_INLINE vf v_load_part(const float *p, int n) {
    return (vf){_mm512_maskz_loadu_ps(v_mask_(n), p)};
}
SIMD_INLINE void v_store_part(float *p, vf a, int n) {
    _mm512_mask_storeu_ps(p, v_mask_(n), a.v);
}
SIMD_INLINE vf v_first(int n, vf a, vf b) {
    return (vf){_mm512_mask_blend_ps(v_mask_(n), b.v, a.v)};
}
SIMD_INLINE uint32_t v_gt_bits(vf a, vf b) {
    return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ);
}
SIMD_INLINE vf v_if_gt(vf a, vf b, vf x, vf y) {
    return (vf){_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ), y.v, x.v)};
}
SIMD_INLINE vf v_round_e4m3(vf a) {
    const __m512i sign_bit = _mm512_set1_epi32((int)0x80000000u);
    __m512i u = _mm512_castps_si512(a.v), magnitude = _mm512_andnot_si512(sign_bit, u);
    __m512 x = _mm512_castsi512_ps(magnitude), magic = _mm512_set1_ps(0x1p14f);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 20), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(magnitude, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7ffff)));
    __m512 even = _mm512_castsi512_ps(_mm512_andnot_si512(_mm512_set1_epi32(0xfffff), up));
    __mmask16 tiny = _mm512_cmp_ps_mask(x, _mm512_set1_ps(0x1p-6f), _CMP_LT_OQ);
    even = _mm512_mask_sub_ps(even, tiny, _mm512_add_ps(x, magic), magic);
    even = _mm512_min_ps(even, _mm512_set1_ps(448));
    __m512i r = _mm512_or_si512(_mm512_castps_si512(even), _mm512_and_si512(sign_bit, u));
    __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
    return (vf){_mm512_mask_blend_ps(nan, _mm512_castsi512_ps(r), a.v)};
}
SIMD_INLINE float v_sum(vf a) {
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
}
SIMD_INLINE float v_maxof(vf a) {
    __m256 h = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
}
SIMD_INLINE vf v_load_bf16(const uint16_t *p) {
    __m512i w = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return (vf){_mm512_castsi512_ps(_mm512_slli_epi32(w, 16))};
}
SIMD_INLINE vf v_load_bf16_any(const uint16_t *p) { /* in some order, here their own */
    return v_load_bf16(p);
}
SIMD_INLINE vf v_load_f16(const uint16_t *p) {
    return (vf){_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p))};
}
SIMD_INLINE void v_store_bf16(uint16_t *p, vf a) {
    __m512i u = _mm512_castps_si512(a.v), high = _mm512_srli_epi32(u, 16);
    __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    __m512i even = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
    __m512i r =
        _mm512_mask_or_epi32(_mm512_srli_epi32(even, 16), nan, high, _mm512_set1_epi32(0x40));
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(r));
}
SIMD_INLINE void v_store_f16(uint16_t *p, vf a) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
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
    return (vb){_mm_movm_epi8(bits)};
}
SIMD_INLINE vf v_from_i8(vb a) {
    return (vf){_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(a.v))};
}
SIMD_INLINE vf v_from_u8(vb a) {
    return (vf){_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(a.v))};
}
SIMD_INLINE vf v_load_i8(const int8_t *p) {
    return v_from_i8(vb_load((const uint8_t *)p));
}
SIMD_INLINE void v_store_i8(int8_t *p, vf a) { /* of whole numbers in [-128, 127] */
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}
/* A code shifted by seven is an f16 2^8 too small, whose subnormals are the right ones too. */
SIMD_INLINE vf v_load_e4m3(const uint8_t *p, vf scale) {
    __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
    w = _mm256_and_si256(_mm256_slli_epi16(w, 7), _mm256_set1_epi16((short)0xbf80));
    __m256i unsigned_ = _mm256_or_si256(w, _mm256_set1_epi16((short)0x8000));
    w = _mm256_or_si256(w, _mm256_cmpeq_epi16(unsigned_, _mm256_set1_epi16((short)0xbf80)));
    return v_mul((vf){_mm512_cvtph_ps(w)}, v_mul(scale, v_set1(256)));
}
SIMD_INLINE void v_store_e4m3(uint8_t *p, vf a) {
    vf x = v_mul(v_round_e4m3(a), v_set1(0x1p-8f));
    __m256i h = _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT);
    __m256i sign = _mm256_and_si256(_mm256_srli_epi16(h, 8), _mm256_set1_epi16(0x80));
    __m256i code = _mm256_srli_epi16(_mm256_and_si256(h, _mm256_set1_epi16(0x7fff)), 7);
    code = _mm256_min_epu16(code, _mm256_set1_epi16(0x7f)); /* NaN is more */
    _mm_storeu_si128((__m128i *)p, _mm256_cvtepi16_epi8(_mm256_or_si256(code, sign)));
}
/* An E2M1 number is the f16 of which this is the high byte and 0 the low one. */
SIMD_INLINE vf v_e2m1_(__m128i codes) {
    const __m128i table = _mm_setr_epi8(0, 0x38, 0x3c, 0x3e, 0x40, 0x42, 0x44, 0x46, -128, -72, -68,
                                        -66, -64, -62, -60, -58);
    __m256i high = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(table, codes));
    return (vf){_mm512_cvtph_ps(_mm256_slli_epi16(high, 8))};
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
    __m512i v;
} vi;
SIMD_INLINE vi vi_zero(void) {
    return (vi){_mm512_setzero_si512()};
}
SIMD_INLINE vi v_load_i8_pairs(const int8_t *p) {
    return (vi){_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p))};
}
SIMD_INLINE vi v_dot_pairs(vi sum, vi a, const int16_t *q) {
    int32_t pair;
    memcpy(&pair, q, 4);
    return (vi){_mm512_add_epi32(sum.v, _mm512_madd_epi16(a.v, _mm512_set1_epi32(pair)))};
}
SIMD_INLINE vf v_from_i32(vi a) {
    return (vf){_mm512_cvtepi32_ps(a.v)};
}
SIMD_INLINE vf v_swap_pairs(vf a) {
    return (vf){_mm512_permute_ps(a.v, 0xb1)};
}
SIMD_INLINE vf
v_set1_f16(const void *p) { /* widened in a small register: cheaper than in a large */
    uint16_t h;
    memcpy(&h, p, 2);
    return (vf){_mm512_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(h)))};
}
SIMD_INLINE void v_set2_f16(const void *p, vf *a, vf *b) {
    uint32_t pair;
    memcpy(&pair, p, 4);
    __m128 both = _mm_cvtph_ps(_mm_cvtsi32_si128((int)pair));
    a->v = _mm512_broadcastss_ps(both);
    b->v = _mm512_broadcastss_ps(_mm_movehdup_ps(both));
}
SIMD_INLINE void v_scale_nibbles(const uint8_t *p, const vf scale[2], const vf offset[2], vf *low,
                                 vf *high) {
    /* Sixteen values a weight can have, looked up: cheaper than converting each weight. */
    const __m512 count = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i w = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
    __m512 lows = _mm512_fmadd_ps(count, scale[0].v, offset[0].v);
    __m512 highs = _mm512_fmadd_ps(count, scale[1].v, offset[1].v);
    low->v = _mm512_permutexvar_ps(w, lows); /* looks at the low four bits only */
    high->v = _mm512_permutexvar_ps(_mm512_srli_epi32(w, 4), highs);
}
SIMD_INLINE void v_transpose(vf row[16]) { /* a 16 x 16 square in place */
    __m512 t[16];
    SIMD_UNROLL
    for (int i = 0; i < 16; i += 4) { /* 4 x 4 squares inside each 128-bit lane */
        __m512 a = _mm512_unpacklo_ps(row[i].v, row[i + 1].v);
        __m512 b = _mm512_unpackhi_ps(row[i].v, row[i + 1].v);
        __m512 c = _mm512_unpacklo_ps(row[i + 2].v, row[i + 3].v);
        __m512 d = _mm512_unpackhi_ps(row[i + 2].v, row[i + 3].v);
        t[i] = _mm512_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
    SIMD_UNROLL
    for (int i = 0; i < 4; i++) { /* then the 4 x 4 square of lanes */
        __m512 a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x44);
        __m512 b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xee);
        __m512 c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x44);
        __m512 d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xee);
        row[i].v = _mm512_shuffle_f32x4(a, c, 0x88);
        row[i + 4].v = _mm512_shuffle_f32x4(a, c, 0xdd);
        row[i + 8].v = _mm512_shuffle_f32x4(b, d, 0x88);
        row[i + 12].v = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}
