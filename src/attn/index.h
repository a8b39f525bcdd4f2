/* index.h: scores and selection in one pass over the index keys.
 *
 *   in      qi [total_q, Hi, di], ki Hik heads of di; ties, NaN and forced blocks as in select.h,
 *           arithmetic as in score.h
 *   out     total_q * Hkv lists of k ids, in the order and layout asked for
 *   never   reads forced blocks, blocks or tokens behind the query, or any key of a row that takes
 *           all its blocks (an order by score excepted: it needs the scores of blocks not forced)
 *   memory  per thread one block of keys, one score and one short list for each row of a tile;
 *           shared, k keys per row and split where a tile is split
 *   exact   the same lists for any threads, splits, instruction set, page order, chunking */
#ifndef MSA_ATTN_INDEX_H
#define MSA_ATTN_INDEX_H

#include "msa/attn.h"

/* The truth: msa_index_run by score_ref and select_ref, row by row. False: no memory. */
int index_ref(const msa_shape *shape, const msa_batch *batch, const msa_index_args *args);

#endif
