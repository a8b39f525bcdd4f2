/* mass.h: how much attention each block gets, and the blocks that get most: the oracle, which a
 * selector is measured against. It reads every key.
 *
 *   mass    M[t,g,b] = 1/G sum over the heads h of g of the sum over j in block b, j <= pos(t), of
 *           softmax_j(scale q[t,h] . k[g,j]), the softmax over everything visible
 *   chosen  by select.h with masses for scores: the forced blocks, then the greatest masses
 *   shapes  q [total_q, Hq, d], k Hkv heads of d in any format and layout; mass [total_q, Hkv,
 *           n_blocks], 0 in blocks behind the query; ids [total_q, Hkv, k], ascending, -1 behind
 *   NaN     among the visible scores of a head makes all masses of its group NaN; they tie. Scores
 *           of -inf alone give mass 0
 *   exact   f32, all by v_fma: the same bits for any threads, instruction set, page order, chunking
 *   bound   |M - exact| <= 2^-22 (1 + d max |scale q[c] k[c]|) M, nearly: that of the scores, as
 *           exponents
 *   memory  per thread a block of keys and, for each row of a tile and block, two floats */
#ifndef MSA_ATTN_MASS_H
#define MSA_ATTN_MASS_H

#include "msa/attn.h"

typedef struct mass_args {
    const float *q;
    msa_lane k;
    float scale;      /* 0 stands for 1/sqrt(d) */
    float *mass;      /* or NULL */
    int64_t n_blocks; /* of mass: >= blocks of the longest request */
    int32_t *ids;     /* or NULL */
} mass_args;

msa_status mass_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                     const msa_plan_options *options, msa_error *err);
msa_status mass_run(msa_plan *plan, const mass_args *args, msa_error *err);

/* The truth: masses [total_q, Hkv, n_blocks] in double, plain loops. */
void mass_ref(const msa_shape *shape, const msa_batch *batch, const mass_args *args, double *mass);

#endif
