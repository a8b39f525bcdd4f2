/* certify.h: the index through the int8 copy of its keys, exactly.
 *
 *   in      as index.h, and the copies of index8.h
 *   out     the lists of index.h, bit for bit
 *   rule    T, the want-th greatest lower bound of a row's blocks: `want` blocks score T or more. A
 *           block whose upper bound is below T is dropped; of those left the canonical scores are
 *           computed and compete as ever. Ties are kept: what equals T is not below it
 *   inside  a block, panels of 16 tokens with an upper bound below the block's lower bound are left
 *           out: the greatest score is in another
 *   taken   are blocks that all queries of a tile see whole and none of them forces, where there
 *           are enough of them: certify_end. The others are scored as without a copy
 *   memory  for each row certify_capacity candidates. A row with more (equal keys, say) has those
 *           it has rescored, and goes on: such rows cost a scan of the keys besides, not memory */
#ifndef MSA_ATTN_CERTIFY_H
#define MSA_ATTN_CERTIFY_H

#include "attn/index8.h"
#include "attn/score.h"
#include "attn/select.h"

/* What rows of a tile have so far; a thread's, or, of one row, handed on by a split. */
typedef struct certify_space {
    select_list *lower; /* [rows] the greatest lower bounds; its bar is T */
    uint64_t *keys;     /* of these lists */
    uint64_t *upper;    /* [rows][capacity] candidates: upper bound and id, as a key of select.h */
    uint16_t *panels;   /* [rows][capacity] the panels that may hold the greatest score */
    int32_t *n;         /* [rows] candidates */
    float *token;       /* [INDEX8_ROWS][block] */
} certify_space;

typedef struct certify_tile {
    const msa_plan *plan;
    const msa_index_args *args;
    const score_tile *tile;
    const certify_space *space;
    select_list *lists; /* [rows] canonical scores */
    float *widened;     /* a block of keys */
    msa_index8_stats stats;
} certify_tile;

static inline int32_t certify_capacity(const msa_shape *shape) {
    return 64 + 4 * shape->topk;
}

/* Where a thread's space lies, from `at` (NULL to learn its size). */
size_t certify_divide(const msa_shape *shape, size_t rows, char *at, certify_space *space);
/* Bytes of what a split hands on for a row; the topk keys of its canonical scores come first. */
size_t certify_slot_bytes(const msa_shape *shape);

/* Of a tile's blocks from `first` on, the end of those to be taken through the copy; `first` where
 * there are too few to pay. */
int64_t certify_end(const msa_shape *shape, const plan_request *request, int64_t q_first,
                    int64_t first);

/* The rounded queries, one for each row of the batch, at queries_at of the plan's shared space. */
size_t certify_query_bytes(const msa_plan *plan);
void certify_round_query(const msa_plan *plan, const msa_index_args *args, int64_t row);

void certify_start(const certify_tile *t, int32_t row, int32_t want);
void certify_scan(certify_tile *t, int64_t first, int64_t end);
/* The row's candidates that T leaves, scored, into its list. */
void certify_finish(certify_tile *t, int32_t row);
/* Hands a row on; takes what the splits of a tile handed on, stride bytes apart, and finishes. */
void certify_store(certify_tile *t, int32_t row, char *slot);
void certify_merge(certify_tile *t, int32_t row, const char *slots, size_t stride,
                   int32_t n_splits);

#endif
