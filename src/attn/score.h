/* score.h: token scores and block scores of the index branch.
 *
 *   token   s[t,g,j] = qi[t,g] . ki[j], f32 in canonical arithmetic: s = 0, then for c ascending
 *           s = fma(q[c], k[c], s), k[c] the f32 number that the stored element reads as
 *           (msa/format.h: widened exactly, then times its scale, rounded once). The same bits on
 *           every instruction set.
 *   block   S[t,g,b] = max over the tokens j <= pos(t) of block b. A NaN product counts as -inf, a
 *           zero is +0, a block beyond pos(t) holds -inf.
 *   shapes  qi [total_q, Hi, di], keys as the lane says, S [Hi, total_q, n_blocks]
 *   bound   |s - exact| <= di * 2^-24 * sum |q[c] k[c]| / (1 - di * 2^-24) */
#ifndef MSA_ATTN_SCORE_H
#define MSA_ATTN_SCORE_H

#include "attn/kernels.h"
#include "attn/plan.h"

/* Rows that share a block's keys: queries of one request and index heads of each. Either all heads
 * or one, or one query alone with any neighbouring heads: so the rows are evenly spaced. */
typedef struct score_tile {
    const plan_request *request;
    int64_t q_first; /* inside the request */
    int32_t n_q, head, n_heads;
} score_tile;

/* Scores of a block for the queries of the tile from `from` on, whose tokens up to their own
 * position count; each must see at least one. scores[(i - from) * n_heads + h]. Keys not kept in
 * panels are widened into `space`, block * index_dim floats. */
void score_tile_block(const msa_plan *plan, const float *qi, const msa_lane *ki,
                      const score_tile *tile, int64_t block, int32_t from, float *space,
                      float *scores);

/* First query of the tile at or behind `position`; n_q if there is none. */
static inline int32_t score_first_query(const score_tile *tile, int64_t position) {
    int64_t i = position - tile->request->position - tile->q_first;
    return (int32_t)(i < 0 ? 0 : i < tile->n_q ? i : tile->n_q);
}

/* The truth: msa_score_run by plain loops over the stored elements; exact, when not NULL, takes the
 * same in double. */
void score_ref(const msa_shape *shape, const msa_batch *batch, const float *qi, const msa_lane *ki,
               int64_t n_blocks, float *scores, double *exact);

#endif
