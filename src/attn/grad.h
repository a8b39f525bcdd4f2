/* grad.h: card of the gradients of dense and sparse.
 *
 *   P[t,h,j] = exp(scale q[t,h].k[j] - lse[t,h])   for visible j (of the selected blocks), else 0
 *   delta[t,h] = sum over c of d_out out           dS = P (d_out[t,h].v[j] - delta[t,h])
 *   dq[t,h] = scale sum_j dS k[j]
 *   dk[j]   = scale sum_{t,h} dS q[t,h]            dv[j] = sum_{t,h} P d_out[t,h]
 *
 * All of it f32, lanes widened exactly; dq, dk, dv written. A query that sees nothing (empty list,
 * lse -inf) has no term: its dq is 0. NaN or infinity in a request spreads over its gradients at
 * will, not beyond it: documents never share a product. Sums of dk and dv run over a chunk's rows,
 * then over chunks; those of dq over the blocks of a part, then over parts: fixed by the plan and
 * the selection. Error against the double reference: of the order of the plain f32 computation.
 * The order of work is walk.h, the kernel attend_grad_simd.c, the reference grad_ref.c. */
#ifndef MSA_ATTN_GRAD_H
#define MSA_ATTN_GRAD_H

#include "attn/walk.h"

/* The block of one head, widened into the shapes that the kernels read. */
typedef struct grad_block {
    float *panels, *rows; /* [B/16][dim][16]; [B][grad_stride(dim)]; either may be NULL */
    int dim, stride;
} grad_block;

enum { GRAD_PANELS = 1, GRAD_ROWS_OF_KEYS = 2 };
void grad_block_lay_out(grad_block *b, const msa_shape *s, int dim, int what, carver *c);
/* Reads the first n tokens of a block. */
void grad_block_open(grad_block *b, const msa_plan *plan, const msa_lane *lane,
                     const plan_request *r, int32_t head, int64_t block, int n);

/* dst[0..dim) from src, dim a multiple of 8, and zeros up to the next of 16. In pieces of known
 * size, which cost no call: rows are gathered by the million. */
static inline void grad_copy_row(float *restrict dst, const float *restrict src, int dim) {
    int c = 0;
    for (; c + 16 <= dim; c += 16) memcpy(dst + c, src + c, 16 * sizeof(float));
    if (c == dim) return;
    memcpy(dst + c, src + c, 8 * sizeof(float));
    memset(dst + c + 8, 0, 8 * sizeof(float));
}
/* Where a row of a visit is: a query of its list and one of the group's heads. */
typedef struct grad_place {
    int32_t at, head;
} grad_place;

static inline grad_place grad_place_of(int32_t row, int32_t group) {
    return (grad_place){row / group, row % group};
}
static inline void grad_place_step(grad_place *p, int32_t group) {
    if (++p->head < group) return;
    p->head = 0;
    p->at++;
}

/* Asks memory for n floats that will be wanted while something else is computed. */
static inline void grad_ask_ahead(const float *row, int n) {
    for (int c = 0; c < n; c += 16) __builtin_prefetch(row + c, 0, 2);
}
/* out[c] = sum over parts of part[p * stride + c], in order. */
void grad_sum_parts(const float *part, int64_t stride, int n_parts, int dim, float *out);

/* Contiguous keys, and no token of two requests. */
msa_status grad_check_batch(const msa_plan *plan, msa_error *err);

/* The truth, in double, plain loops: softmax and output are computed anew, out and lse not read.
 * dk and dv [tokens, Hkv, d], must be 0. */
void grad_ref(const msa_shape *shape, const msa_batch *batch, const msa_grad_args *args, double *dq,
              double *dk, double *dv);

#endif
