/* quant_simd.c: widening weights, and the product of a few rows with them (quant.h).
 *
 * decode_block turns 32 weights into two words; all else is written once over it. A format is a
 * constant wherever it is used, so each instantiation holds only its own case. The product walks
 * tiles of a few weight rows x a few rows of x: the decoded words stay in registers and meet every
 * row of x, the words of x meet every weight row, and there are enough independent sums to hide the
 * latency of a multiply-add. Reading a few rows side by side hides from the CPU that memory is read
 * from front to back, so the tile after the next is asked for by hand: three times as fast from
 * memory. Formats without blocks of their own end in a part, widened from a padded copy. */
#include <string.h>

#include "base/simd.h"
#include "nn/quant.h"

enum { CHUNK = 32, AHEAD = 2 }; /* weights decoded at once; tiles that are fetched ahead */

SIMD_INLINE size_t chunk_bytes(quant_type type) {
    switch (type) {
    case QUANT_F32: return 4 * CHUNK;
    case QUANT_F16:
    case QUANT_BF16: return 2 * CHUNK;
    case QUANT_Q4_0: return 18;
    case QUANT_Q4_1: return 20;
    default: return 34;
    }
}

SIMD_INLINE void decode_block(quant_type type, const uint8_t *w, vf out[2]) {
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
        v_scale_nibbles(w + 2, scale, v_mul(scale, v_set1(-8)), &out[0], &out[1]);
        return;
    case QUANT_Q4_1:
        v_set2_f16(w, &scale, &offset);
        v_scale_nibbles(w + 4, scale, offset, &out[0], &out[1]);
        return;
    default: /* QUANT_Q8_0 */
        scale = v_set1_f16(w);
        out[0] = v_mul(v_load_i8((const int8_t *)w + 2), scale);
        out[1] = v_mul(v_load_i8((const int8_t *)w + 18), scale);
        return;
    }
}

/* The last n < 32 weights of a row of a format without blocks; zeros behind them. */
SIMD_INLINE void decode_part(quant_type type, const uint8_t *w, int n, vf out[2]) {
    uint8_t padded[4 * CHUNK] = {0};
    memcpy(padded, w, (size_t)n * (type == QUANT_F32 ? 4 : 2));
    decode_block(type, padded, out);
}

SIMD_INLINE void widen_row(quant_type type, const void *row, int64_t n, float *out) {
    const uint8_t *w = row;
    vf v[2];
    int64_t c = 0;
    for (; c + CHUNK <= n; c += CHUNK, w += chunk_bytes(type)) {
        decode_block(type, w, v);
        v_store(out + c, v[0]);
        v_store(out + c + 16, v[1]);
    }
    int rest = (int)(n - c);
    if (rest == 0) return;
    decode_part(type, w, rest, v);
    v_store_part(out + c, v[0], rest < 16 ? rest : 16);
    if (rest > 16) v_store_part(out + c + 16, v[1], rest - 16);
}

/* The product p cut to n_w weight rows from o on and n_x rows of x from r on; both counts are
 * constants of the caller. */
SIMD_INLINE void dot_tile(quant_type type, int n_w, int n_x, const quant_product *p, int64_t o,
                          int r) {
    const uint8_t *w = (const uint8_t *)p->w + (size_t)o * p->w_stride;
    const float *x = p->x + r * p->x_stride;
    vf sum[4][8], a[2];
    SIMD_UNROLL
    for (int i = 0; i < n_w; i++) SIMD_UNROLL
    for (int j = 0; j < n_x; j++) sum[i][j] = v_zero();
    int64_t c = 0;
    uintptr_t ahead = (uintptr_t)w + AHEAD * (size_t)n_w * p->w_stride;
    for (; c + CHUNK <= p->n_in;
         c += CHUNK, w += chunk_bytes(type), ahead += (size_t)n_w * chunk_bytes(type)) {
        SIMD_UNROLL
        for (int i = 0; i < n_w; i++) {
            decode_block(type, w + i * p->w_stride, a);
            __builtin_prefetch((const void *)(ahead + (size_t)i * chunk_bytes(type)));
            SIMD_UNROLL
            for (int j = 0; j < n_x; j++) {
                sum[i][j] = v_muladd(a[0], v_load(x + j * p->x_stride + c), sum[i][j]);
                sum[i][j] = v_muladd(a[1], v_load(x + j * p->x_stride + c + 16), sum[i][j]);
            }
        }
    }
    int rest = (int)(p->n_in - c), low = rest < 16 ? rest : 16;
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

/* Tiles of n_x rows of x and as many weight rows as leave registers for the rest. */
SIMD_INLINE void dot_rows(quant_type type, const quant_product *p) {
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
              [QUANT_Q8_0] = widen_q8_0},
    .dot = {[QUANT_F32] = dot_f32,
            [QUANT_F16] = dot_f16,
            [QUANT_BF16] = dot_bf16,
            [QUANT_Q4_0] = dot_q4_0,
            [QUANT_Q4_1] = dot_q4_1,
            [QUANT_Q8_0] = dot_q8_0},
};
