/* row_sums.h: log-sum-exps that are found block after block in parts (walk.h): a running maximum
 * and sum for each part, query and column (a head, or a group), merged in the order of parts.
 * Base 2. */
#ifndef MSA_ATTN_ROW_SUMS_H
#define MSA_ATTN_ROW_SUMS_H

#include "attn/walk.h"

typedef struct row_sums {
    float *m, *l;     /* [n_parts][chunk_q][width] */
    float *max, *lse; /* [chunk_q][width], merged */
    int64_t width;
} row_sums;

void row_sums_lay_out(row_sums *s, const msa_plan *plan, int32_t width, carver *c);
/* Floats of one query in one part. */
static inline size_t row_sums_floats(int32_t width) {
    return 2 * (size_t)width;
}
static inline int64_t row_sums_at(const row_sums *s, const msa_plan *plan, int32_t part,
                                  int32_t query, int64_t column) {
    return ((int64_t)part * plan->chunk_q + query) * s->width + column;
}
/* Empties columns [first, first + n_columns) of the first n queries of a part. */
void row_sums_clear(const row_sums *s, const msa_plan *plan, int32_t part, int32_t n, int64_t first,
                    int64_t n_columns);
/* Merges one query. Scores of -inf alone give an lse of FLT_MAX, so that they weigh nothing. */
void row_sums_merge(const row_sums *s, const msa_plan *plan, int32_t query);

#endif
