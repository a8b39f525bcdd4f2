/* means.h: blocks scored by the mean of their keys, and chosen.
 *
 *   mean    m[g,b] = mean of k[g,j] over the tokens j <= pos(t) of block b: of a whole block, but
 *           for the query's own one
 *   score   S[t,g,b] = q[t,g] . m[g,b]
 *   chosen  by select.h: forced blocks, ties, NaN as -inf
 *   shapes  q [total_q, Hkv, d], k Hkv heads of d in any format and layout; ids [total_q, Hkv, k],
 *           ascending, -1 behind them
 *   exact   f32: token j of a block adds to sum j % 16 in the order of tokens, the sixteen sums are
 *           added in their order and divided by how many tokens there are; the product is score.h's
 *           canonical one. The same lists for any threads, instruction set, page order, chunking
 *   bound   |S - exact| <= (di + B / 16 + 16) 2^-24 sum over c of |q[c]| mean |k[c]|, nearly
 *   memory  Hkv d floats for each block of the batch; per thread a block of keys and a score for
 *           each block of the rows of a tile */
#ifndef MSA_ATTN_MEANS_H
#define MSA_ATTN_MEANS_H

#include "msa/attn.h"

typedef struct means_args {
    const float *q;
    msa_lane k;
    int32_t *ids;
} means_args;

msa_status means_plan(msa_plan **plan, const msa_shape *shape, const msa_batch *batch,
                      const msa_plan_options *options, msa_error *err);
msa_status means_run(msa_plan *plan, const means_args *args, msa_error *err);

/* The truth: scores [total_q, Hkv, n_blocks] in double, plain loops; -inf in blocks that are not
 * visible. */
void means_ref(const msa_shape *shape, const msa_batch *batch, const means_args *args,
               int64_t n_blocks, double *scores);

#endif
