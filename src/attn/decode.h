/* decode.h: card of decode: sparse attention for 1..16 queries per request. The formulas, types,
 * NaN and empty cases are those of sparse.h.
 *
 * A request is cut over the slots of its sorted lists into a number of pieces the plan takes from
 * lengths and heads; pieces are merged in order (merge.h). So the result does not depend on the
 * thread count, and differs from that of another number of pieces by rounding only. */
#ifndef MSA_ATTN_DECODE_H
#define MSA_ATTN_DECODE_H

#define DECODE_MOST_QUERIES 16
#define DECODE_SPLIT_KEYS   512 /* selected keys of a piece */
/* Few heads make few pieces; shorter ones then, until there are so many that threads share well. */
#define DECODE_FEW_PIECES 8
#define DECODE_FEW_KEYS   128 /* which they hold at least */

#endif
