/* kernels.h: the table of CPU kernels of this room. The types are declared once, each with the card
 * of its operator; attn_kernels() gives the column of the instruction set in use.
 *
 * Adding a kernel: its type here, one line in the struct, one in the list of kernels.c, and a
 * X_simd.c. Adding an instruction set: one header of SIMD words and one column. */
#ifndef MSA_ATTN_KERNELS_H
#define MSA_ATTN_KERNELS_H

#include "msa/attn.h"

/* Some tokens of one head as a lane stores them (attn.h): rows or panels. */
typedef struct stored_keys {
    const void *data, *scales;
    msa_dtype dtype;
    float scale;                  /* of the tensor */
    int64_t stride, scale_stride; /* rows: from token to token, in elements and in scales */
} stored_keys;

/* Widens n_tokens rows of `dim` elements into f32 panels [ceil(n_tokens/16)][dim][16]; lanes beyond
 * n_tokens are 0. */
typedef void pack_panels_fn(const stored_keys *rows, int n_tokens, int dim, float *panels);

/* Widens rows to f32 [n_tokens][padded], padded = dim rounded up to 16, the padding 0. */
typedef void pack_rows_fn(const stored_keys *rows, int n_tokens, int dim, float *out);

/* Widens the panels that hold n_tokens tokens to f32 panels. */
typedef void widen_panels_fn(const stored_keys *panels, int n_tokens, int dim, float *out);

/* scores[r] = max over the n_tokens of one block of q[r] . k in canonical arithmetic, NaN products
 * as -inf. q is [n_rows][dim] f32 with q_stride elements between rows; panels, of any format but
 * nvfp4, hold n_tokens >= 1 tokens; whatever lies in lanes beyond them has no effect. */
typedef void score_block_fn(const float *q, int64_t q_stride, int n_rows, int dim,
                            const stored_keys *panels, int n_tokens, float *scores);

/* ---- bounds from the int8 copy: attn/index8.h has the formula ---- */

/* A row's query, rotated and rounded to int16. */
typedef struct index8_query {
    float scale; /* of its whole numbers */
    float norm;  /* >= |q| */
    float error; /* >= |R q - scale * numbers|; +inf: nothing is known of its scores */
} index8_query;

#define INDEX8_ROWS 16 /* a call takes at most */
typedef struct index8_rows {
    const index8_query *query; /* row i at i * stride, its [dim] numbers at i * stride * dim */
    const int16_t *numbers;
    int64_t stride;
    int n;
} index8_rows;

/* Each row's bounds of the score of a whole block, lower <= score <= upper; and token[i][j], which
 * with the block's slack added bounds that of token j from above, [n][block]. `next` is the copy
 * after this one, to ask memory for; any address, never read. */
typedef void index8_bound_fn(const index8_rows *rows, int dim, int block, const void *copy,
                             const void *next, float *upper, float *lower, float *token);
/* Bit p set where token[16 p + i] + slack >= lower for some i: the panel may hold the greatest. */
typedef uint32_t index8_panels_fn(const float *token, int block, float slack, float lower);

/* Keys of one block, or of a 16-aligned piece of one, all visible to the rows they meet. */
typedef struct attend_keys {
    const void *k;              /* panels */
    const void *v;              /* rows of dim elements, v_stride apart */
    msa_dtype k_dtype, v_dtype; /* f32, f16 or bf16 */
    int64_t v_stride;
    int n;              /* keys, >= 1; lanes beyond have no effect */
    const void *next_k; /* the block after this one, to ask memory for; any address, never read */
} attend_keys;

/* Online softmax of a tile of rows: o = sum of exp(s - m) v, l = sum of exp(s - m), m = max s. */
typedef struct attend_tile {
    int dim, padded;  /* padded: dim rounded up to 16 */
    const float *q;   /* [rows][dim], 8 more rows readable behind the last */
    float *o;         /* [rows][padded] */
    float *m, *l;     /* [rows]; start at -inf and 0 */
    float scale_log2; /* scale * log2(e) */
    float *scratch;   /* attend_scratch_floats(dim) */
} attend_tile;

#define ATTEND_CHUNK 32 /* rows whose scores are held at once, at most */
static inline size_t attend_scratch_floats(int dim) {
    return (size_t)(ATTEND_CHUNK + 8) * ((size_t)dim + 256 + 16);
}

/* Takes the keys into rows[0..n_rows) of the tile. block_max[i], when not NULL, becomes the larger
 * of itself and the greatest unscaled score of row rows[i]. dim is a multiple of 8; v rows must be
 * readable up to `padded` elements. */
typedef void attend_block_fn(const attend_tile *tile, const int32_t *rows, int n_rows,
                             const attend_keys *keys, float *block_max);

/* Writes the positions i (ascending) of scores[0..n) with scores[i] > above, NaN never, to `out`
 * and returns how many. out has room for n. */
typedef int select_above_fn(const float *scores, int n, float above, int32_t *out);

/* A score that at least `want` (1..64) of scores[0..n) reach, and not many more: `want` of the
 * maxima of 64 interleaved groups do. -inf where n is too small to tell; NaN as -inf. */
typedef float select_floor_fn(const float *scores, int64_t n, int want);

/* Of each row, over the keys of one block, with s = scale_log2 * q . k: m = max s and l = sum of
 * 2^(s - m). q as in score_block; those of row r are m[r * stride] and l[r * stride]. */
typedef struct mass_keys {
    const void *panels;
    msa_dtype dtype; /* f32, f16 or bf16 */
    int n, dim;      /* n keys, >= 1; lanes beyond have no effect */
    float scale_log2;
} mass_keys;
typedef void mass_block_fn(const mass_keys *keys, const float *q, int64_t q_stride, int n_rows,
                           float *m, float *l, int64_t stride);
/* mass[b] += share * l[b] 2^m[b] / their sum over b. l is spent. */
typedef void mass_share_fn(const float *m, float *l, int64_t n_blocks, float share, float *mass);

/* One row of n_parts partial results in order: out = sum w_p o_p / sum w_p, w_p = exp(lse_p - max),
 * *lse = max + ln sum w_p. Parts with lse -inf do not count; none counting gives 0 and -inf. Part p
 * is at o + p * o_stride, lse_in[p * lse_stride]. out may be the row of part 0. */
typedef void merge_parts_fn(int n_parts, int dim, const float *o, int64_t o_stride,
                            const float *lse_in, int64_t lse_stride, float *out, float *lse);

/* ---- gradients and the index loss: one block of keys met by gathered rows ----
 * Rows, and the rows of keys, are `stride` floats apart, grad_stride(dim): dim rounded up to 16, of
 * which the part behind dim is 0, and 16 more, off the powers of two. Row i sees the first sees[i]
 * keys of the block. Three more rows are readable behind the last of an input. */
static inline int grad_stride(int dim) {
    return (dim + 15) / 16 * 16 + 16;
}

#define GRAD_ROWS     32 /* rows a call takes at most */
#define GRAD_S_STRIDE (256 + 16)
static inline size_t grad_scratch_floats(void) {
    return 3 * (size_t)(GRAD_ROWS + 3) * GRAD_S_STRIDE;
}

typedef struct grad_keys {
    int n, dim, stride;
    const float *k_panels, *v_panels; /* pack_panels of n tokens */
    const float *k_rows;              /* [n][stride] */
    float *dk, *dv;                   /* [n][stride], added to */
} grad_keys;

typedef struct grad_rows {
    int n;
    const float *q, *d_out;        /* [n][stride] */
    const float *lse_log2, *delta; /* [n] lse * log2(e), finite or NaN; sum of d_out * out */
    const int32_t *sees;           /* [n] 0..keys->n */
    float *const *dq;              /* [n] rows of `padded` floats, added to */
} grad_rows;

/* The terms of dq, dk and dv of these rows and keys. */
typedef void attend_grad_fn(const grad_keys *keys, const grad_rows *rows, float scale,
                            float *scratch);

/* Probabilities through E4M3: P8 = E4M3(448 * 2^(scale_log2 q . k - max_log2)) / 448, times
 * 2^(max_log2 - lse_log2) to make them sum to about 1. */

/* Before a gradient: max[i] the greatest scale_log2 q . k so far, delta[i] += sum of P d_out . v;
 * the rows' own delta is not read, and neither are dq, dk, dv. */
typedef void e4m3_bounds_fn(const grad_keys *keys, const grad_rows *rows, float scale, float *max,
                            float *delta, float *scratch);
/* attend_grad, dv by the rounded probabilities; max_log2 [n]. */
typedef void e4m3_grad_fn(const grad_keys *keys, const grad_rows *rows, const float *max_log2,
                          float scale, float *scratch);

/* Running log-sum-exp of rows over keys: m the greatest scale_log2 * q . k, l the sum of
 * 2^(scale_log2 q . k - m); they start at -inf and 0. */
typedef struct seen_rows {
    int n, dim, stride;
    const float *q; /* [n][stride] */
    const int32_t *sees;
    float scale_log2;
} seen_rows;
typedef void loss_lse_fn(const seen_rows *rows, const float *panels, int n_keys, float *m, float *l,
                         float *scratch);

/* p[(first_row + i) / group][j] += 2^(scale_log2 q[i] . k[j] - lse_log2[i]) for the keys row i
 * sees. p is [queries][GRAD_S_STRIDE]. */
typedef void loss_teacher_fn(const seen_rows *rows, const float *panels, int n_keys,
                             const float *lse_log2, int first_row, int group, float *p,
                             float *scratch);

/* o[i] += sum over the keys row i sees of their P8 (above) times v; v_rows as grad_keys.k_rows. */
typedef void e4m3_values_fn(const seen_rows *rows, const float *panels, const float *v_rows,
                            int n_keys, const float *max_log2, const float *lse_log2,
                            float *const *o, float *scratch);

/* The student of up to GRAD_ROWS queries. p holds the sum over the group, of which `share` (1 / G)
 * is the teacher. kl[i] += sum of P (log2 P - log2 Pi) in double; with dq not NULL, the terms of
 * scale (Pi - P) times keys and times queries go to dq and dk. */
typedef struct loss_student {
    seen_rows rows;
    int n_keys;
    const float *k_panels, *k_rows;
    const float *lse_log2; /* [n] */
    const float *p;        /* [n][GRAD_S_STRIDE] */
    float share, scale;
    double *kl;       /* [n] */
    float *const *dq; /* [n], or NULL */
    float *dk;        /* [n_keys][stride] */
} loss_student;
typedef void loss_student_fn(const loss_student *s, float *scratch);

typedef struct attn_kernels {
    pack_panels_fn *pack_panels;
    pack_rows_fn *pack_rows;
    widen_panels_fn *widen_panels;
    score_block_fn *score_block;
    attend_block_fn *attend_block;
    select_above_fn *select_above;
    select_floor_fn *select_floor;
    mass_block_fn *mass_block;
    mass_share_fn *mass_share;
    merge_parts_fn *merge_parts;
    attend_grad_fn *attend_grad;
    loss_lse_fn *loss_lse;
    loss_teacher_fn *loss_teacher;
    loss_student_fn *loss_student;
    e4m3_bounds_fn *e4m3_bounds;
    e4m3_grad_fn *e4m3_grad;
    e4m3_values_fn *e4m3_values;
    index8_bound_fn *index8_bound;
    index8_panels_fn *index8_panels;
} attn_kernels;

const attn_kernels *attn_kernels_get(void);

#endif
