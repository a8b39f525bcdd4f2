/* quant.h: the number formats weights are stored in, and the two things done with them: widening a
 * row to f32, and multiplying rows of f32 by rows of weights without widening them in memory.
 *
 * A row is a whole number of blocks; a block is block_bytes that hold block_elems weights. Rows lie
 * at any address, except that F32, F16 and BF16 need their natural alignment. Widening is exact for
 * all formats here, hence the same on every instruction set.
 *
 *   F32, F16, BF16  w
 *   Q4_0  32 weights, 18 bytes: f16 d; 16 bytes q       w[i] = (q[i] low - 8) d,  w[16+i] high
 *   Q4_1  32 weights, 20 bytes: f16 d, m; 16 bytes q    w[i] = q[i] low * d + m,  w[16+i] high
 *   Q8_0  32 weights, 34 bytes: f16 d; 32 signed bytes  w[i] = q[i] d
 *
 * Adding a format: fill its kernels in quant_simd.c (one case of decode_block), its definition in
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
    QUANT_Q8_0 = 8,
    QUANT_BF16 = 30,
    QUANT_TYPE_COUNT = 43 /* one more than the highest number known by size */
} quant_type;

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
