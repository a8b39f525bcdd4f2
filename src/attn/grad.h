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
 * The order of work is walk.h, what a kernel is given gather.h, the kernel attend_grad_simd.c, the
 * reference grad_ref.c. */
#ifndef MSA_ATTN_GRAD_H
#define MSA_ATTN_GRAD_H

#include "msa/grad.h"

/* The truth, in double, plain loops: softmax and output are computed anew, out and lse not read.
 * dk and dv [tokens, Hkv, d], must be 0. */
void grad_ref(const msa_shape *shape, const msa_batch *batch, const msa_grad_args *args, double *dq,
              double *dk, double *dv);

#endif
