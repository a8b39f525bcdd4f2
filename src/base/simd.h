/* simd.h: the words the kernels are written in. A file X_simd.c is compiled once per instruction
 * set; it says `vf`, sixteen f32 lanes, whatever the hardware's width: one AVX-512 register, two
 * AVX2, four NEON, or an array.
 *
 * Every word means the same everywhere, to the bit, v_muladd and v_load_bf16_any excepted:
 *   v_fma(a, b, c)     a * b + c rounded once: the canonical arithmetic of the selection.
 *   v_exp2_fma(a)      2^a made of it (below): the same bits everywhere, where v_exp2, v_exp and
 *                      v_log2 are made of v_muladd.
 *   v_muladd(a, b, c)  the same where the hardware fuses; rounded twice in the scalar build,
 *                      where fusing is a slow call.
 *   v_pow2(n), v_exponent(x)
 *                      2^n of a whole n; the whole n with 2^n <= x < 2^(n+1).
 *   v_max(a, b)        b where either is NaN, and b where both are zero. v_min likewise.
 *   v_sum(a)           all lanes, always added in the same tree: halves of 8, 4, 2, 1.
 *   v_maxof(a)         the greatest lane; the lanes must be free of NaN.
 *   v_load_part(p, n)  lanes 0..n-1 from p, the rest 0; reads nothing behind p[n-1]; n in 0..16.
 *   v_load_bf16_any(p) the 16 bf16 numbers at p, in the order of lanes that is cheapest.
 *   v_first(n, a, b)   lanes 0..n-1 of a, the others of b.
 *   v_swap_pairs(a)    lanes 1, 0, 3, 2, ...
 *   v_set1_f16(p)      the f16 at p in all lanes; v_set2_f16(p, &a, &b) two neighbours likewise.
 *   v_scale_nibbles(p, scale, offset, &low, &high)
 *                      v_muladd(nibble, scale[0], offset[0]) of the low halves of 16 bytes, with
 *                      scale[1], offset[1] of the high halves.
 *   v_gt_bits(a, b)    bit i set where lane i of a > lane i of b (false with NaN).
 *   v_round_e4m3(a)    the nearest number of FP8 E4M3, saturating: fp8_round of base/fp8.h.
 *   v_load_e4m3(p, scale), v_store_e4m3(p, a)
 *                      E4M3 codes (base/fp8.h) to their numbers times scale, rounded once; scale in
 *                      [2^-64, 2^64]. And the codes nearest to a.
 *   v_store_i8(p, a)   whole numbers in [-128, 127] as bytes.
 *   v_load_e2m1(p)     the E2M1 numbers (base/fp4.h) of 8 bytes, the low half of a byte first;
 *                      v_load_e2m1_halves(p): all low halves, then all high ones.
 *   v_if_gt(a, b, x, y)  lanes of x where a > b, of y elsewhere (also with NaN).
 * `vb` is sixteen bytes, for what is packed below a byte:
 *   vb_load(p), vb_set1(x), vb_or(a, b), vb_sub(a, b)
 *   vb_field(a, from, n, to)  of each byte the n bits from bit `from` on, moved to bit `to`.
 *   vb_spread(p)       byte i is 255 where bit i of the two bytes at p is set, else 0.
 *   v_from_u8(a), v_from_i8(a)  each byte, without or with a sign, as f32.
 * Whole numbers: a `vi` is sixteen int32 lanes, or in each lane two int16.
 *   v_load_i8_pairs(p) lane i: bytes 2i and 2i+1 of 32, widened to two int16.
 *   v_dot_pairs(sum, a, q)
 *                      sum + a's first number times q[0] + its second times q[1], in each lane.
 *                      Exact where a came from bytes and the sum fits 31 bits: no product
 *                      saturates.
 *   v_from_i32(a)      the nearest f32.
 * Loads and stores need no alignment. Public names of a kernel file are SIMD_NAME(score_block). */
#ifndef MSA_BASE_SIMD_H
#define MSA_BASE_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define V_LANES 16

#define SIMD_INLINE       static inline __attribute__((always_inline))
#define SIMD_PASTE_(a, b) a##_##b
#define SIMD_PASTE(a, b)  SIMD_PASTE_(a, b)
#define SIMD_NAME(name)   SIMD_PASTE(name, SIMD_SUFFIX)
#if defined(SIMD_ISA_SCALAR) || defined(__SANITIZE_ADDRESS__)
#define SIMD_UNROLL /* nothing to keep in registers: shorter code compiles sooner */
#elif defined(__clang__)
#define SIMD_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SIMD_UNROLL _Pragma("GCC unroll 32")
#endif

#if defined(SIMD_ISA_AVX512)
#include "base/simd_avx512.h"
#elif defined(SIMD_ISA_AVX2)
#include "base/simd_avx2.h"
#elif defined(SIMD_ISA_NEON)
#include "base/simd_neon.h"
#else
#include "base/simd_scalar.h"
#endif

SIMD_INLINE vf v_step(int fused, vf a, vf b, vf c) {
    return fused ? v_fma(a, b, c) : v_muladd(a, b, c);
}

/* 2^x to within 2 ULP for x in [-126, 127.5], nothing greater; +0 for x <= -127; NaN stays NaN.
 * x = n + f with n whole, |f| <= 1/2: 2^f by a polynomial, 2^n by writing the exponent. `fused`, a
 * constant: by v_fma, else by v_muladd. */
SIMD_INLINE vf v_exp2_by(int fused, vf x) {
    x = v_max(v_set1(-127.0f), x);
    vf n = v_round(x), f = v_sub(x, n);
    vf p = v_set1(1.5461447765e-4f);
    p = v_step(fused, p, f, v_set1(1.33908668067e-3f));
    p = v_step(fused, p, f, v_set1(9.61805693805e-3f));
    p = v_step(fused, p, f, v_set1(5.55035695434e-2f));
    p = v_step(fused, p, f, v_set1(2.40226507187e-1f));
    p = v_step(fused, p, f, v_set1(6.93147182465e-1f));
    p = v_step(fused, p, f, v_set1(1.0f));
    return v_mul(p, v_pow2(n));
}
SIMD_INLINE vf v_exp2(vf x) {
    return v_exp2_by(0, x);
}
SIMD_INLINE vf v_exp2_fma(vf x) {
    return v_exp2_by(1, x);
}

/* e^x to within 2 ULP for x in [-87.3, 88.3]; +0 for x <= -88.1; NaN stays NaN; x <= 88.3. x *
 * log2(e) is split in two so that the rounding of the product does not count. */
SIMD_INLINE vf v_exp(vf x) {
    vf n = v_round(v_mul(v_max(v_set1(-88.1f), x), v_set1(1.44269504f)));
    vf r = v_muladd(n, v_set1(-0.693359375f), v_max(v_set1(-88.1f), x));
    r = v_muladd(n, v_set1(2.12194440e-4f), r);
    vf p = v_set1(1.9875691500e-4f);
    p = v_muladd(p, r, v_set1(1.3981999507e-3f));
    p = v_muladd(p, r, v_set1(8.3334519073e-3f));
    p = v_muladd(p, r, v_set1(4.1665795894e-2f));
    p = v_muladd(p, r, v_set1(1.6666665459e-1f));
    p = v_muladd(p, r, v_set1(5.0000001201e-1f));
    p = v_add(v_muladd(v_mul(r, r), p, r), v_set1(1.0f));
    return v_mul(p, v_pow2(n));
}

/* log2(x) to within 4 ULP, or 2e-7 where that is more, for normal x in (0, 2^126]; NaN stays NaN.
 * x = m 2^n with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh((m - 1) / (m + 1)) by its series. */
SIMD_INLINE vf v_log2(vf x) {
    vf n = v_exponent(v_mul(x, v_set1(1.41421356f)));
    vf m = v_mul(x, v_pow2(v_sub(v_zero(), n))), one = v_set1(1.0f);
    vf f = v_div(v_sub(m, one), v_add(m, one)), f2 = v_mul(f, f);
    vf p = v_set1(0.320598898f); /* 2 / (9 ln 2), then 7, 5, 3, 1 for the 9 */
    p = v_muladd(p, f2, v_set1(0.412198583f));
    p = v_muladd(p, f2, v_set1(0.577078016f));
    p = v_muladd(p, f2, v_set1(0.961796694f));
    p = v_muladd(p, f2, v_set1(2.88539008f));
    return v_muladd(p, f, n);
}

#endif
