/* tile.h: the inner product of score and attend: rows of f32 against panels of sixteen lanes.
 *
 *   acc[i][p] = sum over k of a[i][k] * b[k][p*16 .. p*16+15]
 *
 * a is read by broadcast, b in its stored format; the accumulators stay in registers, so the shape
 * (rows x panels) is a constant of each call and fits the register file: see TILE_ROWS. The sum
 * runs over k in ascending order from 0 with one rounding each: the canonical arithmetic. */
#ifndef MSA_ATTN_TILE_H
#define MSA_ATTN_TILE_H

#include "base/simd.h"
#include "msa/msa.h"

/* The full tile, whose sums take 16 of 32 registers (AVX-512, NEON) or 12 of 16 (AVX2: 8 only just
 * hide the latency of an FMA, and then meet too few of them for each load). For rows that are left
 * TILE_REST is the panels of a tile of 4 rows, TILE_WIDE those of one of 2 rows or 1. */
#if V_REGISTERS == 1
#define TILE_ROWS   8
#define TILE_PANELS 2
#define TILE_REST   4
#define TILE_WIDE   8
#else
#define TILE_ROWS   (V_REGISTERS == 2 ? 6 : 4)
#define TILE_PANELS 1
#define TILE_REST   1
#define TILE_WIDE   2
#endif

/* What else a product is asked for: one rounding to each term, which is canonical arithmetic, and
 * lanes in the order they lie in. Whoever takes a maximum over all of a panel's lanes, as the score
 * does, can do without the order, which bf16 then widens for less. */
enum { TILE_FUSED = 1, TILE_ANY_ORDER = 2 };

/* Sixteen elements; fp8 and int8 times scale. */
SIMD_INLINE vf tile_load(const void *p, int64_t at, msa_dtype dtype, vf scale) {
    if (dtype == MSA_F32) return v_load((const float *)p + at);
    if (dtype == MSA_F16) return v_load_f16((const uint16_t *)p + at);
    if (dtype == MSA_BF16) return v_load_bf16((const uint16_t *)p + at);
    if (dtype == MSA_FP8) return v_load_e4m3((const uint8_t *)p + at, scale);
    return v_mul(v_load_i8((const int8_t *)p + at), scale);
}

/* Bytes of n elements of what tile_load reads; dtype a constant. */
SIMD_INLINE int64_t tile_bytes(msa_dtype dtype, int64_t n) {
    return dtype == MSA_F32 ? 4 * n : dtype == MSA_F16 || dtype == MSA_BF16 ? 2 * n : n;
}

/* What is read after this product, asked of memory while its sums run: step k asks for the line at
 * line + k * step. The hardware's own prefetching ends with every 4 KiB page, a panel or two. Any
 * address will do, nothing is read. */
typedef struct tile_ahead {
    const void *line;
    int64_t step;
} tile_ahead;

/* `rows`, `panels`, `dtype`, `flags` and one of the strides of a (1) must be constants where this
 * is inlined. acc is [rows * panels]. a's element (row, k) is at row * a_row + k * a_step, b's
 * element (k, panel) at k * b_step + panel * b_panel; `scale` is for every k and panel. */
SIMD_INLINE void tile_product_of(int rows, int panels, int n_k, const float *a, int64_t a_row,
                                 int64_t a_step, const void *b, msa_dtype dtype, int64_t b_step,
                                 int64_t b_panel, vf scale, int flags, tile_ahead ahead, vf *acc) {
    SIMD_UNROLL
    for (int i = 0; i < rows * panels; i++) acc[i] = v_zero();
    for (int k = 0; k < n_k; k++) {
        vf x[8];
        __builtin_prefetch((const char *)ahead.line + k * ahead.step);
        SIMD_UNROLL
        for (int p = 0; p < panels; p++)
            x[p] = dtype == MSA_BF16 && flags & TILE_ANY_ORDER
                       ? v_load_bf16_any((const uint16_t *)b + k * b_step + p * b_panel)
                       : tile_load(b, k * b_step + p * b_panel, dtype, scale);
        SIMD_UNROLL
        for (int i = 0; i < rows; i++) {
            vf q = v_set1(a[i * a_row + k * a_step]);
            SIMD_UNROLL
            for (int p = 0; p < panels; p++)
                acc[i * panels + p] = flags & TILE_FUSED ? v_fma(q, x[p], acc[i * panels + p])
                                                         : v_muladd(q, x[p], acc[i * panels + p]);
        }
    }
}

/* The same with the rows of a side by side, in a format without scales. */
SIMD_INLINE void tile_product(int rows, int panels, int n_k, const float *a, int64_t a_stride,
                              const void *b, msa_dtype dtype, int64_t b_step, int64_t b_panel,
                              int flags, tile_ahead ahead, vf *acc) {
    tile_product_of(rows, panels, n_k, a, a_stride, 1, b, dtype, b_step, b_panel, v_zero(), flags,
                    ahead, acc);
}

#endif
