/* index_tile.h: what planning and running the index share: how a batch is cut into tiles, and where
 * a thread and a split keep what they have. */
#ifndef MSA_ATTN_INDEX_TILE_H
#define MSA_ATTN_INDEX_TILE_H

#include "attn/certify.h"
#include "attn/score.h"
#include "attn/select.h"

#define INDEX_TILE_ROWS 128 /* queries x heads: 64 KB of width 128, so that keys stay near */

typedef struct index_space {
    float *panels; /* a block widened */
    float *scores; /* [rows] */
    select_list *lists;
    uint64_t *keys;
    certify_space certify; /* with option index8 */
} index_space;

typedef struct index_range {
    int64_t first, end;
} index_range;

static inline int32_t index_heads_per_tile(const msa_shape *shape) {
    if (shape->n_index_keys > 1) return 1;
    return shape->n_index_heads < INDEX_TILE_ROWS ? shape->n_index_heads : INDEX_TILE_ROWS;
}

static inline int32_t index_queries_per_tile(const msa_shape *shape) {
    int32_t heads = index_heads_per_tile(shape);
    return heads > 1 && heads < shape->n_index_heads ? 1 : INDEX_TILE_ROWS / heads;
}

/* Heads of the tile that begins with this one. */
static inline int32_t index_heads_of(const msa_shape *shape, int32_t head) {
    int32_t left = shape->n_index_heads - head, most = index_heads_per_tile(shape);
    return left < most ? left : most;
}

/* The blocks that some query of the tile has to score. */
static inline index_range index_scored_blocks(const msa_shape *shape, const plan_request *request,
                                              int64_t q_first, int32_t n_q, bool by_score) {
    select_range last = select_range_at(shape, request->position + q_first + n_q - 1);
    if (select_takes_all(&last) && !by_score) return (index_range){0, 0};
    return (index_range){last.first, last.end};
}

/* Where a thread's space lies, from `at` (NULL to learn its size). */
size_t index_divide_space(const msa_plan *plan, char *at, index_space *space);

/* What a split hands on for a row: the keys of its topk best, 0 in unused places, come first. */
static inline char *index_slot(const msa_plan *plan, int64_t slot) {
    return (char *)plan_shared_space(plan) + (size_t)slot * plan->slot_bytes;
}

#endif
