/* quant_simd.c: widening weights, and the product of a few rows with them (quant.h).
 *
 * decode_step turns 32 weights of a block into two words; all else is written once over it. A
 * format is a constant wherever it is used, so each instantiation holds only its own case. A block
 * of 32 is one step. A block of 256 is eight, each of 16 bytes of nibbles and what belongs to them:
 * bytes read once fill both words, from their low and their high halves. Its scales are unpacked
 * once, all sixteen numbers in one word; steps that share them follow one another in a row, or they
 * would have to wait in memory, spread out, while other rows are decoded.
 *
 * The product walks tiles of a few weight rows x a few rows of x: the decoded words stay in
 * registers and meet every row of x, the words of x meet every weight row, and there are enough
 * independent sums to hide the latency of a multiply-add. Reading a few rows side by side hides
 * from the CPU that memory is read from front to back, so the tile after the next is asked for by
 * hand: three times as fast from memory. Formats without blocks of their own end in a part, widened
 * from a padded copy. */
#include <string.h>

#include "base/simd.h"
#include "nn/quant.h"

enum { STEP = 32, AHEAD = 2 }; /* weights decoded at once; tiles that are fetched ahead */

SIMD_INLINE int has_scales(quant_type type) {
    return type == QUANT_Q4_K || type == QUANT_Q5_K || type == QUANT_Q6_K;
}

SIMD_INLINE int has_blocks(quant_type type) {
    return type != QUANT_F32 && type != QUANT_F16 && type != QUANT_BF16;
}

/* Of a format without blocks: of a step. */
SIMD_INLINE int block_elems(quant_type type) {
    return has_scales(type) ? 256 : STEP;
}
SIMD_INLINE size_t block_bytes(quant_type type) {
    switch (type) {
    case QUANT_F32: return 4 * STEP;
    case QUANT_F16:
    case QUANT_BF16: return 2 * STEP;
    case QUANT_Q4_0: return 18;
    case QUANT_Q4_1: return 20;
    case QUANT_Q5_0: return 22;
    case QUANT_Q5_1: return 24;
    case QUANT_Q4_K: return 144;
    case QUANT_Q5_K: return 176;
    case QUANT_Q6_K: return 210;
    default: return 34;
    }
}

/* Where in their block the sixteen weights begin that a step gives as its first or second word. */
SIMD_INLINE int word_at(quant_type type, int step, int word) {
    switch (type) {
    case QUANT_Q4_K:
    case QUANT_Q5_K: return step / 2 * 64 + step % 2 * 16 + word * 32;
    case QUANT_Q6_K: return step / 4 * 128 + step % 4 * 16 + word * 64;
    default: return word * 16;
    }
}

/* Neighbouring steps with the same scales. */
SIMD_INLINE int steps_alike(quant_type type) {
    return type == QUANT_Q4_K || type == QUANT_Q5_K ? 2 : 1;
}

/* Q4_K, Q5_K: d * scale of eight parts of 32, then -(dmin * min) of these; Q6_K: d * scale of
 * sixteen parts of 16. All exact. */
SIMD_INLINE void unpack_scales(quant_type type, const uint8_t *w, float out[16]) {
    if (type == QUANT_Q6_K) {
        v_store(out, v_mul(v_set1_f16(w + 208), v_load_i8((const int8_t *)w + 192)));
        return;
    }
    uint32_t in[3];
    memcpy(in, w + 4, sizeof in);
    const uint32_t six[4] = {in[0] & 0x3f3f3f3f, (in[2] & 0x0f0f0f0f) | (in[0] >> 2 & 0x30303030),
                             in[1] & 0x3f3f3f3f,
                             (in[2] >> 4 & 0x0f0f0f0f) | (in[1] >> 2 & 0x30303030)};
    vf d, dmin;
    v_set2_f16(w, &d, &dmin);
    vf unit = v_first(8, d, v_mul(dmin, v_set1(-1)));
    v_store(out, v_mul(unit, v_from_u8(vb_load((const uint8_t *)six))));
}

/* The low halves of sixteen bytes, and the high ones, each under the bits above them. */
SIMD_INLINE void join_bits(vb nibbles, vb above_low, vb above_high, vb out[2]) {
    out[0] = vb_or(vb_field(nibbles, 0, 4, 0), above_low);
    out[1] = vb_or(vb_field(nibbles, 4, 4, 0), above_high);
}

/* `more`: the fifth bits, then 16 bytes of nibbles. */
SIMD_INLINE void join_fives(const uint8_t *more, vb out[2]) {
    join_bits(vb_load(more + 4), vb_field(vb_spread(more), 4, 1, 4),
              vb_field(vb_spread(more + 2), 4, 1, 4), out);
}

SIMD_INLINE void decode_q5_0(const uint8_t *w, vf out[2]) {
    vf scale = v_set1_f16(w);
    vb q[2];
    join_fives(w + 2, q);
    out[0] = v_mul(v_from_i8(vb_sub(q[0], vb_set1(16))), scale);
    out[1] = v_mul(v_from_i8(vb_sub(q[1], vb_set1(16))), scale);
}

SIMD_INLINE void decode_q5_1(const uint8_t *w, vf out[2]) {
    vf scale, offset;
    vb q[2];
    v_set2_f16(w, &scale, &offset);
    join_fives(w + 4, q);
    out[0] = v_muladd(v_from_u8(q[0]), scale, offset);
    out[1] = v_muladd(v_from_u8(q[1]), scale, offset);
}

SIMD_INLINE void decode_q5_k(int step, const uint8_t *w, const float *s, vf out[2]) {
    int part = step / 2 * 2;
    vb fifth = vb_load(w + 16 + step % 2 * 16), q[2];
    join_bits(vb_load(w + 48 + 16 * step), vb_field(fifth, part, 1, 4),
              vb_field(fifth, part + 1, 1, 4), q);
    out[0] = v_muladd(v_from_u8(q[0]), v_set1(s[part]), v_set1(s[part + 8]));
    out[1] = v_muladd(v_from_u8(q[1]), v_set1(s[part + 1]), v_set1(s[part + 9]));
}

SIMD_INLINE void decode_q6_k(int step, const uint8_t *w, const float *s, vf out[2]) {
    int part = step / 4 * 8 + step % 4, bit = step % 4 / 2 * 2;
    vb upper = vb_load(w + 128 + step / 4 * 32 + step % 2 * 16), q[2];
    join_bits(vb_load(w + 16 * step), vb_field(upper, bit, 2, 4), vb_field(upper, bit + 4, 2, 4),
              q);
    out[0] = v_mul(v_from_i8(vb_sub(q[0], vb_set1(32))), v_set1(s[part]));
    out[1] = v_mul(v_from_i8(vb_sub(q[1], vb_set1(32))), v_set1(s[part + 4]));
}

/* s: what unpack_scales gave, where has_scales. */
SIMD_INLINE void decode_step(quant_type type, int step, const uint8_t *w, const float *s,
                             vf out[2]) {
    vf scale, offset;
    switch (type) {
    case QUANT_F32:
        out[0] = v_load((const float *)w);
        out[1] = v_load((const float *)w + 16);
        return;
    case QUANT_F16:
        out[0] = v_load_f16((const uint16_t *)w);
        out[1] = v_load_f16((const uint16_t *)w + 16);
        return;
    case QUANT_BF16:
        out[0] = v_load_bf16((const uint16_t *)w);
        out[1] = v_load_bf16((const uint16_t *)w + 16);
        return;
    case QUANT_Q4_0:
        scale = v_set1_f16(w);
        offset = v_mul(scale, v_set1(-8));
        v_scale_nibbles(w + 2, (const vf[2]){scale, scale}, (const vf[2]){offset, offset}, &out[0],
                        &out[1]);
        return;
    case QUANT_Q4_1:
        v_set2_f16(w, &scale, &offset);
        v_scale_nibbles(w + 4, (const vf[2]){scale, scale}, (const vf[2]){offset, offset}, &out[0],
                        &out[1]);
        return;
    case QUANT_Q5_0: decode_q5_0(w, out); return;
    case QUANT_Q5_1: decode_q5_1(w, out); return;
    case QUANT_Q4_K:
        s += step / 2 * 2;
        v_scale_nibbles(w + 16 + 16 * step, (const vf[2]){v_set1(s[0]), v_set1(s[1])},
                        (const vf[2]){v_set1(s[8]), v_set1(s[9])}, &out[0], &out[1]);
        return;
    case QUANT_Q5_K: decode_q5_k(step, w, s, out); return;
    case QUANT_Q6_K: decode_q6_k(step, w, s, out); return;
    default: /* QUANT_Q8_0 */
        scale = v_set1_f16(w);
        out[0] = v_mul(v_load_i8((const int8_t *)w + 2), scale);
        out[1] = v_mul(v_load_i8((const int8_t *)w + 18), scale);
        return;
    }
}

/* The last n < 32 weights of a row of a format without blocks; zeros behind them. */
SIMD_INLINE void decode_part(quant_type type, const uint8_t *w, int n, vf out[2]) {
    uint8_t padded[4 * STEP] = {0};
    memcpy(padded, w, (size_t)n * (type == QUANT_F32 ? 4 : 2));
    decode_step(type, 0, padded, NULL, out);
}

SIMD_INLINE void widen_row(quant_type type, const void *row, int64_t n, float *out) {
    const int elems = block_elems(type);
    const uint8_t *w = row;
    float scales[16];
    vf v[2];
    int64_t c = 0;
    for (; c + elems <= n; c += elems, w += block_bytes(type)) {
        if (has_scales(type)) unpack_scales(type, w, scales);
        SIMD_UNROLL
        for (int step = 0; step < elems / STEP; step++) {
            decode_step(type, step, w, scales, v);
            v_store(out + c + word_at(type, step, 0), v[0]);
            v_store(out + c + word_at(type, step, 1), v[1]);
        }
    }
    int rest = has_blocks(type) ? 0 : (int)(n - c);
    if (rest == 0) return;
    decode_part(type, w, rest, v);
    v_store_part(out + c, v[0], rest < 16 ? rest : 16);
    if (rest > 16) v_store_part(out + c + 16, v[1], rest - 16);
}

/* The product p cut to n_w weight rows from o on and n_x rows of x from r on; both counts are
 * constants of the caller. */
SIMD_INLINE void dot_tile(quant_type type, int n_w, int n_x, const quant_product *p, int64_t o,
                          int r) {
    const int elems = block_elems(type), steps = elems / STEP, run = steps_alike(type);
    const size_t bytes = block_bytes(type);
    const uint8_t *w = (const uint8_t *)p->w + (size_t)o * p->w_stride;
    const float *x = p->x + r * p->x_stride;
    float scales[4][16];
    vf sum[4][8], a[2];
    SIMD_UNROLL
    for (int i = 0; i < n_w; i++) SIMD_UNROLL
    for (int j = 0; j < n_x; j++) sum[i][j] = v_zero();
    int64_t c = 0;
    uintptr_t ahead = (uintptr_t)w + AHEAD * (size_t)n_w * p->w_stride;
    for (; c + elems <= p->n_in; c += elems, w += bytes, ahead += (size_t)n_w * bytes) {
        for (int i = 0; i < n_w && has_scales(type); i++)
            unpack_scales(type, w + i * p->w_stride, scales[i]);
        SIMD_UNROLL
        for (int first = 0; first < steps; first += run) SIMD_UNROLL
        for (int i = 0; i < n_w; i++) SIMD_UNROLL
        for (int step = first; step < first + run; step++) {
            decode_step(type, step, w + i * p->w_stride, scales[i], a);
            __builtin_prefetch((const void *)(ahead + (size_t)(step * n_w + i) * (bytes / steps)));
            SIMD_UNROLL
            for (int j = 0; j < n_x; j++) {
                const float *at = x + j * p->x_stride + c;
                sum[i][j] = v_muladd(a[0], v_load(at + word_at(type, step, 0)), sum[i][j]);
                sum[i][j] = v_muladd(a[1], v_load(at + word_at(type, step, 1)), sum[i][j]);
            }
        }
    }
    int rest = has_blocks(type) ? 0 : (int)(p->n_in - c), low = rest < 16 ? rest : 16;
    for (int i = 0; i < n_w && rest > 0; i++) {
        decode_part(type, w + i * p->w_stride, rest, a);
        for (int j = 0; j < n_x; j++) {
            const float *tail = x + j * p->x_stride + c;
            sum[i][j] = v_muladd(a[0], v_load_part(tail, low), sum[i][j]);
            sum[i][j] = v_muladd(a[1], v_load_part(tail + low, rest - low), sum[i][j]);
        }
    }
    SIMD_UNROLL
    for (int i = 0; i < n_w; i++) SIMD_UNROLL
    for (int j = 0; j < n_x; j++) p->y[(r + j) * p->y_stride + o + i] = v_sum(sum[i][j]);
}

/* Weight rows o..end against n_x rows of x, n_w at a time. */
SIMD_INLINE void dot_strip(quant_type type, int n_w, int n_x, const quant_product *p, int64_t o,
                           int64_t end, int r) {
    for (; o + n_w <= end; o += n_w) dot_tile(type, n_w, n_x, p, o, r);
    for (; o < end; o++) dot_tile(type, 1, n_x, p, o, r);
}

enum { STRIP = 32 }; /* weight rows that meet all rows of x while they are in the cache */

/* Tiles of n_x rows of x and as many weight rows as leave registers for the rest; without registers
 * two shapes, which widen a weight once for most rows, and compile soon. */
SIMD_INLINE void dot_rows(quant_type type, const quant_product *p) {
#if defined(SIMD_ISA_SCALAR)
    for (int64_t o = 0; o < p->n_out; o += STRIP) {
        int64_t end = p->n_out - o < STRIP ? p->n_out : o + STRIP;
        int r = 0;
        for (; r + 4 <= p->n_rows; r += 4) dot_strip(type, 1, 4, p, o, end, r);
        for (; r < p->n_rows; r++) dot_strip(type, 1, 1, p, o, end, r);
    }
#else
    enum { WIDE = V_REGISTERS == 1 };
    for (int64_t o = 0; o < p->n_out; o += STRIP) {
        int64_t end = p->n_out - o < STRIP ? p->n_out : o + STRIP;
        int r = 0;
        if (WIDE)
            for (; r + 8 <= p->n_rows; r += 8) dot_strip(type, 2, 8, p, o, end, r);
        for (; r + 4 <= p->n_rows; r += 4) dot_strip(type, WIDE ? 4 : 1, 4, p, o, end, r);
        switch (p->n_rows - r) {
        case 3: dot_strip(type, WIDE ? 4 : 1, 3, p, o, end, r); break;
        case 2: dot_strip(type, WIDE ? 4 : 2, 2, p, o, end, r); break;
        case 1: dot_strip(type, 4, 1, p, o, end, r); break;
        default: break;
        }
    }
#endif
}

/* ---- one pair per format ---- */

static void widen_f32(const void *w, int64_t n, float *out) {
    widen_row(QUANT_F32, w, n, out);
}
static void widen_f16(const void *w, int64_t n, float *out) {
    widen_row(QUANT_F16, w, n, out);
}
static void widen_bf16(const void *w, int64_t n, float *out) {
    widen_row(QUANT_BF16, w, n, out);
}
static void widen_q4_0(const void *w, int64_t n, float *out) {
    widen_row(QUANT_Q4_0, w, n, out);
}
static void widen_q4_1(const void *w, int64_t n, float *out) {
    widen_row(QUANT_Q4_1, w, n, out);
}
static void widen_q5_0(const void *w, int64_t n, float *out) {
    widen_row(QUANT_Q5_0, w, n, out);
}
static void widen_q5_1(const void *w, int64_t n, float *out) {
    widen_row(QUANT_Q5_1, w, n, out);
}
static void widen_q4_k(const void *w, int64_t n, float *out) {
    widen_row(QUANT_Q4_K, w, n, out);
}
static void widen_q5_k(const void *w, int64_t n, float *out) {
    widen_row(QUANT_Q5_K, w, n, out);
}
static void widen_q6_k(const void *w, int64_t n, float *out) {
    widen_row(QUANT_Q6_K, w, n, out);
}
static void widen_q8_0(const void *w, int64_t n, float *out) {
    widen_row(QUANT_Q8_0, w, n, out);
}
static void dot_f32(const quant_product *p) {
    dot_rows(QUANT_F32, p);
}
static void dot_f16(const quant_product *p) {
    dot_rows(QUANT_F16, p);
}
static void dot_bf16(const quant_product *p) {
    dot_rows(QUANT_BF16, p);
}
static void dot_q4_0(const quant_product *p) {
    dot_rows(QUANT_Q4_0, p);
}
static void dot_q4_1(const quant_product *p) {
    dot_rows(QUANT_Q4_1, p);
}
static void dot_q5_0(const quant_product *p) {
    dot_rows(QUANT_Q5_0, p);
}
static void dot_q5_1(const quant_product *p) {
    dot_rows(QUANT_Q5_1, p);
}
static void dot_q4_k(const quant_product *p) {
    dot_rows(QUANT_Q4_K, p);
}
static void dot_q5_k(const quant_product *p) {
    dot_rows(QUANT_Q5_K, p);
}
static void dot_q6_k(const quant_product *p) {
    dot_rows(QUANT_Q6_K, p);
}
static void dot_q8_0(const quant_product *p) {
    dot_rows(QUANT_Q8_0, p);
}

extern const quant_kernels SIMD_NAME(quant_kernels);
const quant_kernels SIMD_NAME(quant_kernels) = {
    .widen = {[QUANT_F32] = widen_f32,
              [QUANT_F16] = widen_f16,
              [QUANT_BF16] = widen_bf16,
              [QUANT_Q4_0] = widen_q4_0,
              [QUANT_Q4_1] = widen_q4_1,
              [QUANT_Q5_0] = widen_q5_0,
              [QUANT_Q5_1] = widen_q5_1,
              [QUANT_Q8_0] = widen_q8_0,
              [QUANT_Q4_K] = widen_q4_k,
              [QUANT_Q5_K] = widen_q5_k,
              [QUANT_Q6_K] = widen_q6_k},
    .dot = {[QUANT_F32] = dot_f32,
            [QUANT_F16] = dot_f16,
            [QUANT_BF16] = dot_bf16,
            [QUANT_Q4_0] = dot_q4_0,
            [QUANT_Q4_1] = dot_q4_1,
            [QUANT_Q5_0] = dot_q5_0,
            [QUANT_Q5_1] = dot_q5_1,
            [QUANT_Q8_0] = dot_q8_0,
            [QUANT_Q4_K] = dot_q4_k,
            [QUANT_Q5_K] = dot_q5_k,
            [QUANT_Q6_K] = dot_q6_k},
};
