/* quant.h: the number formats weights are stored in, and the two things done with them: widening a
 * row to f32, and multiplying rows of f32 by rows of weights without widening them in memory.
 *
 * A row is a whole number of blocks; a block is block_bytes that hold block_elems weights. Rows lie
 * at any address, except that F32, F16 and BF16 need their natural alignment.
 *
 *   F32, F16, BF16  w
 *   Q4_0  32 weights, 18 bytes: f16 d; 16 bytes q       w[i] = (q[i] low - 8) d,  w[16+i] high
 *   Q4_1  32 weights, 20 bytes: f16 d, m; 16 bytes q    w[i] = q[i] low * d + m,  w[16+i] high
 *   Q5_0  32 weights, 22 bytes: f16 d; 32 bits h; 16 bytes q     w[i] = (number - 16) d
 *   Q5_1  32 weights, 24 bytes: f16 d, m; 32 bits h; 16 bytes q  w[i] = number d + m,  number: four
 *                                                       bits of q as in Q4, h[i] above them
 *   Q8_0  32 weights, 34 bytes: f16 d; 32 signed bytes  w[i] = q[i] d
 *   Q4_K  256 weights, 144 bytes: f16 d, e; 12 bytes of six-bit s[8], m[8]; 128 bytes q
 *                                 w[32 p + i] = d s[p] number - e m[p],  number: the low half of
 *                                 q[32 (p/2) + i] for even p, the high half for odd p
 *   Q5_K  256 weights, 176 bytes: the same with 32 bytes h before q; bit p of h[i] is the fifth bit
 *   Q6_K  256 weights, 210 bytes: 128 bytes q, 64 bytes h, 16 signed bytes s, f16 d
 *                                 w[16 p + i] = d s[p] (number - 32),  four bits of q, two of h
 *         (how s, m and the six-bit numbers are packed: quant_ref.c)
 *
 * Widening gives the formula's value rounded once to f32, infinities and NaN of d, m and e followed
 * as f32 does. For that f32 is enough, and fused or not is the same: d (11 bits) times scale (6; 7
 * and a sign in Q6_K) times number (5 at most) takes no more than 23 of the 24 bits, e m[p] takes
 * 17: the products are exact, and only the one sum rounds, where there is one. Hence the same bits
 * on every instruction set, and those of ggml and of the gguf package, which multiply in f32 in
 * this order. (Except in Q4_0: a zero is +0 also where d is negative, and an infinite d gives NaN.)
 *
 * Adding a format: fill its kernels in quant_simd.c (one case of decode_step), its definition in
 * quant_ref.c, and test_quant.c takes it from there. */
#ifndef MSA_NN_QUANT_H
#define MSA_NN_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers as GGUF files have them. */
typedef enum quant_type {
    QUANT_F32 = 0,
    QUANT_F16 = 1,
    QUANT_Q4_0 = 2,
    QUANT_Q4_1 = 3,
    QUANT_Q5_0 = 6,
    QUANT_Q5_1 = 7,
    QUANT_Q8_0 = 8,
    QUANT_Q4_K = 12,
    QUANT_Q5_K = 13,
    QUANT_Q6_K = 14,
    QUANT_BF16 = 30,
    QUANT_TYPE_COUNT = 43 /* one more than the highest number known by size */
} quant_type;

enum { QUANT_MAX_BLOCK = 256 }; /* no format has more weights in a block */

typedef struct quant_format {
    const char *name; /* "Q4_1"; NULL in rows of the table that no format has */
    uint32_t block_elems, block_bytes;
} quant_format;

/* NULL for a number this version does not know. A format can be known, so that a file which holds
 * it can be checked and named, and yet not be supported. */
const quant_format *quant_format_find(uint32_t type);
/* Whether the kernels below exist for it. */
bool quant_supported(uint32_t type);

/* Bytes of a row of n weights, n a multiple of block_elems. */
size_t quant_row_bytes(uint32_t type, int64_t n);

/* out[0..n) = the n weights of the row at w, n a multiple of block_elems. */
typedef void quant_widen_fn(const void *w, int64_t n, float *out);

enum { QUANT_DOT_ROWS = 16 };

/* y[r * y_stride + o] = sum over c of x[r * x_stride + c] * W[o][c], for r < n_rows, o < n_out. */
typedef struct quant_product {
    const void *w; /* [n_out] rows of n_in weights, w_stride bytes apart */
    size_t w_stride;
    int64_t n_out, n_in;
    const float *x; /* [n_rows][n_in] */
    int64_t x_stride;
    int n_rows; /* 1..QUANT_DOT_ROWS */
    float *y;   /* [n_rows][n_out] */
    int64_t y_stride;
} quant_product;

/* Each weight is read from memory once. Sixteen partial sums per result, added in v_sum's tree: a
 * result depends on its own two rows only, not on n_rows or n_out or where a caller cuts them. */
typedef void quant_dot_fn(const quant_product *p);

typedef struct quant_kernels {
    quant_widen_fn *widen[QUANT_TYPE_COUNT]; /* NULL where not supported */
    quant_dot_fn *dot[QUANT_TYPE_COUNT];
} quant_kernels;

/* Those of the instruction set in use. */
const quant_kernels *quant_kernels_current(void);

/* The definition, in double: out[0..n) = the n weights at w. False where not supported. */
bool quant_widen_ref(uint32_t type, const void *w, int64_t n, double *out);

#endif
