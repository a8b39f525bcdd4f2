/* select.h: choosing the blocks of a row.
 *
 *   input    scores of the blocks 0..own of a query at `position`, own = position / B
 *   forced   the `local` trailing blocks [own+1-local, own] and the leading `init` blocks: they
 *            take slots of the k, their scores are never read
 *   chosen   the best of the others: score descending, ties to the lower id, NaN as -inf, -0 equal
 *            to +0. At most k visible blocks: all of them
 *   output   k ids in one of three orders, -1 behind them
 *
 * Where forced leading and trailing blocks meet, a block counts as trailing.
 *
 * The order is total: a score and an id make one 64-bit key, the greater key wins. So the best k of
 * a row are the same set however the row was cut, scanned or merged. */
#ifndef MSA_ATTN_SELECT_H
#define MSA_ATTN_SELECT_H

#include <math.h>
#include <stdbool.h>

#include "base/half.h"
#include "msa/attn.h"

#define SELECT_MAX_K 64

/* Which blocks of a row compete: [first, end), of which `want` win. Forced are [0, first) and
 * [end, n_visible). */
typedef struct select_range {
    int32_t n_visible, first, end, want;
} select_range;

static inline select_range select_range_at(const msa_shape *shape, int64_t position) {
    int32_t n = (int32_t)(position / shape->block) + 1;
    int32_t end = n > shape->local ? n - shape->local : 0;
    int32_t first = shape->init < end ? shape->init : end;
    int32_t slots = n < shape->topk ? n : shape->topk;
    return (select_range){n, first, end, slots - first - (n - end)};
}

/* All that compete win, so that only an order by score needs scores. */
static inline bool select_takes_all(const select_range *range) {
    return range->want == range->end - range->first;
}

static inline uint64_t select_key(float score, int32_t id) {
    score = score == score ? score + 0.0f : -INFINITY; /* -0 becomes +0 */
    uint32_t u = f32_bits(score);
    u ^= u >> 31 ? 0xffffffffu : 0x80000000u; /* now ascending as an unsigned number */
    return (uint64_t)u << 32 | (uint32_t)~id;
}
static inline int32_t select_key_id(uint64_t key) {
    return (int32_t) ~(uint32_t)key;
}
static inline float select_key_score(uint64_t key) {
    uint32_t u = (uint32_t)(key >> 32);
    return f32_from_bits(u ^ (u >> 31 ? 0x80000000u : 0xffffffffu));
}

/* A running top-`want`: keys above the bar gather in a buffer; a full buffer is cut back to the
 * best `want`, the least of which is the new bar. The caller owns `keys`. */
typedef struct select_list {
    uint64_t *keys; /* select_capacity(want) */
    uint64_t bar;   /* 0: none yet, no key is that small */
    int32_t n, want, capacity;
} select_list;

static inline int32_t select_capacity(int32_t want) {
    return want > 8 ? 4 * want : 32;
}

void select_list_start(select_list *list, uint64_t *keys, int32_t want);
/* Cuts the buffer back to the best `want`, in no order. */
void select_list_cut(select_list *list);

static inline void select_list_push(select_list *list, uint64_t key) {
    if (key <= list->bar) return;
    list->keys[list->n++] = key;
    if (list->n == list->capacity) select_list_cut(list);
}

/* Pushes scores[i] as block first_id + i, which must lie above every id pushed so far. */
void select_list_offer(select_list *list, const float *scores, int32_t n, int32_t first_id);

/* Writes the k ids of a row. `list` holds what won; NULL: the row takes all and the order is not
 * by score. The list is spent. */
void select_write(const msa_shape *shape, const select_range *range, select_list *list,
                  msa_list_order order, int32_t *ids);

/* One row whole. Scores of forced blocks are not read, nor, but for an order by score, any of a row
 * that takes all its blocks. */
void select_row(const msa_shape *shape, int64_t position, const float *scores, msa_list_order order,
                int32_t *ids);

/* The truth: one row by the rule above, plain loops. scores[0..own]. */
void select_ref(const msa_shape *shape, int64_t position, const float *scores, msa_list_order order,
                int32_t *ids);

msa_status select_check_order(msa_list_order order, const char *name, msa_error *err);

#endif
