/* index_loss.h: card of the index loss.
 *
 *   P[t,g,j]  = 1/G sum over h in g of exp(scale q[t,h].k[g,j] - lse[t,h])
 *   Pi[t,g,j] = exp(qi[t,g].ki[j] / sqrt(di) - lse_i[t,g])
 *   kl[g]     = sum over t, j of P (ln P - ln Pi)                    P ln P = 0 where P = 0
 *   ds        = loss_scale / sqrt(di) (Pi - P)
 *   dqi[t,g]  = sum_j ds ki[j]          dki[j] = sum_{t,g} ds qi[t,g]     (per head where Hik = Hi)
 *
 * over the support's tokens j <= pos(t): all; those in selected blocks; those outside the forced
 * blocks. Both sides sum to 1 over it, but with FAR_MASS: there lse[t,h] is that of everything
 * visible, P sums to m[t,g], the share of attention that is far, and Pi is m times the softmax: the
 * same formula with lse_i - ln m in the place of lse_i. A row without support contributes nothing.
 * The teacher is a constant: no gradient reaches q and k.
 *
 * Two sweeps over the blocks of a chunk (walk.h): the first gives the log-sum-exps that are
 * not known, as pairs (m, l) per part, merged in order; the second everything else. A part covers
 * all heads of its blocks, so that the one index key of all groups has one owner. f32, sums of the
 * loss in double; NaN or infinity in a request spreads over its own gradients only.
 * The kernels are index_loss_simd.c, the reference index_loss_ref.c. */
#ifndef MSA_ATTN_INDEX_LOSS_H
#define MSA_ATTN_INDEX_LOSS_H

#include "msa/grad.h"

/* The truth, in double, plain loops: args->lse is not read. kl [Hkv]; dqi [total_q, Hi, di] and dki
 * [tokens, Hik, di], must be 0. */
void index_loss_ref(const msa_shape *shape, const msa_batch *batch, msa_support support,
                    const msa_index_loss_args *args, double *kl, double *dqi, double *dki);

#endif
