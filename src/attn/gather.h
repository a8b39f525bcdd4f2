/* gather.h: a block of keys and the rows of queries that meet it, laid side by side in the shapes
 * that kernels read (kernels.h): the keys widened, the rows copied from where they lie. The
 * gradients, the index loss and attention through FP8 are made of it and of walk.h. */
#ifndef MSA_ATTN_GATHER_H
#define MSA_ATTN_GATHER_H

#include "attn/walk.h"

/* One visit of a walk: the queries that meet a block, and how much of it there is to be met. */
typedef struct gather_visit {
    const plan_request *request;
    int32_t head, n, n_keys;
    int64_t block, token; /* the block's first */
    const int32_t *queries;
} gather_visit;

/* With as many keys as the last of the queries sees. */
gather_visit gather_visit_of(const block_walk *walk, const plan_request *r, int32_t head,
                             int64_t block, const int32_t *queries, int32_t n);

/* The keys of a visit in one lane. */
typedef struct gather_keys {
    float *panels, *rows; /* [B/16][dim][16]; [B][grad_stride(dim)]; either may be NULL */
    int dim, stride;
} gather_keys;

enum { GATHER_PANELS = 1, GATHER_ROWS = 2 };
void gather_keys_lay_out(gather_keys *k, const msa_shape *s, int dim, int what, carver *c);
/* Reads head `head` of the visit's keys. */
void gather_keys_open(gather_keys *k, const msa_plan *plan, const msa_lane *lane,
                      const gather_visit *v, int32_t head);

/* Rows of queries: `group` heads of each, those that head `head` of the keys serves. */
typedef struct gather_rows {
    const block_walk *walk;
    const float *from[2]; /* [total_q][heads][dim]: arrays to copy from; the second may be NULL */
    float *to[2];         /* [GRAD_ROWS + 3][stride] */
    int32_t *sees;        /* [GRAD_ROWS] keys of the visit that a row sees */
    int64_t *row;         /* [GRAD_ROWS] query of the chunk * heads + head */
    int32_t heads, group;
    int dim, stride;
    float scale_log2;
} gather_rows;

void gather_rows_lay_out(gather_rows *g, int32_t heads, int32_t group, int dim, int n_arrays,
                         carver *c);
/* Copies rows first..end of a visit, G to the query, as many as a kernel takes. */
seen_rows gather_rows_take(const gather_rows *g, const gather_visit *v, int32_t first, int32_t end);

/* Where a row of a visit is: a query of its list and one of the group's heads. */
typedef struct gather_place {
    int32_t at, head;
} gather_place;

static inline gather_place gather_place_of(int32_t row, int32_t group) {
    return (gather_place){row / group, row % group};
}
static inline void gather_place_step(gather_place *p, int32_t group) {
    if (++p->head < group) return;
    p->head = 0;
    p->at++;
}

/* Asks memory for n floats that will be wanted while something else is computed. */
static inline void gather_ask_ahead(const float *row, int n) {
    for (int c = 0; c < n; c += 16) __builtin_prefetch(row + c, 0, 2);
}

#endif
