/* attend.h: what dense, sparse and decode are made of: a tile of queries of one group that takes
 * blocks of keys, each query up to its own position, and ends as rows of O and LSE.
 *
 * The operators differ in which blocks a tile takes and in where its result goes; the arithmetic
 * (attend_simd.c) and the truth (attend_ref.c) are one. */
#ifndef MSA_ATTN_ATTEND_H
#define MSA_ATTN_ATTEND_H

#include "attn/kernels.h"
#include "attn/plan.h"

/* One call of msa_X_run: checked arguments and what follows from them. */
typedef struct attend_run {
    const msa_plan *plan;
    const msa_attn_args *args;
    const attn_kernels *kernels;
    float scale, scale_log2;
    float *part_o;   /* [n_splits][total_q][Hq][d], for requests cut into pieces */
    float *part_lse; /* [n_splits][total_q][Hq] */
} attend_run;

/* A thread's tile. Query i is row q_index[i] of its request, at position[i]; its G heads are rows
 * i*G .. i*G+G-1. */
typedef struct attend_worker {
    const attend_run *run;
    const plan_request *request;
    int32_t head, n_queries;
    int64_t *q_index, *position;
    attend_tile tile;
    int32_t *rows;
    float *block_max; /* per row, of the block taken last */
    float *k_panels, *v_rows;
    int32_t *lists, *cursors; /* sparse: [n_queries][k] sorted ids; where each list stands */
} attend_worker;

/* Queries a tile holds for this shape: as many as make ATTEND_ROWS rows, at least one. */
int32_t attend_tile_queries(const msa_shape *shape);
size_t attend_thread_bytes(const msa_shape *shape);

/* Checks what dense, sparse and decode share, and fills *run. */
msa_status attend_run_begin(attend_run *run, const msa_plan *plan, const msa_attn_args *args,
                            msa_error *err);
/* Lays a worker out in the thread's space. */
attend_worker attend_worker_make(const attend_run *run, int thread);

/* Empties the tile for `n` queries of a request: q_index[0..n) must be set. Loads their q. */
void attend_tile_begin(attend_worker *w, const plan_request *request, int32_t head, int32_t n);
/* Takes block b for queries[0..n) (ascending positions); those it lies behind see nothing. `next`
 * is the block that will be taken after it, or -1: a hint. */
void attend_take_block(attend_worker *w, int64_t block, int64_t next, const int32_t *queries,
                       int32_t n);
/* The same in two steps, for queries that all see something of the block: opened once, it may be
 * taken for a tile of them at a time. */
attend_keys attend_open_block(attend_worker *w, int64_t block, int64_t next, const int32_t *queries,
                              int32_t n);
void attend_take_opened(attend_worker *w, const attend_keys *keys, int64_t block,
                        const int32_t *queries, int32_t n);
/* Writes row q of the tile, all its heads: O to out + h*out_stride, LSE to lse[h] (may be NULL). */
void attend_tile_finish(const attend_worker *w, int32_t query, float *out, int64_t out_stride,
                        float *lse);

/* Fills items for all requests: tiles of queries from the last, which see most keys, to the first;
 * heads; splits. */
msa_status attend_plan_items(msa_plan *plan, msa_error *err);
/* Runs all items with `take`, then merges the pieces of requests that were cut. */
typedef void attend_take_fn(attend_worker *w, const plan_item *item);
void attend_run_items(const attend_run *run, attend_take_fn *take);

/* The takes: all visible blocks of the item's share; the listed blocks of the item's share. */
void attend_take_dense(attend_worker *w, const plan_item *item);
void attend_take_selected(attend_worker *w, const plan_item *item);

/* What sparse and decode ask of their arguments: a sound selection, out, no max_score. */
msa_status attend_check_sparse(const msa_plan *plan, const msa_attn_args *args, msa_error *err);
/* The truth, in double, plain loops: dense (args->selection NULL) or over the selection. */
void attend_ref(const msa_shape *shape, const msa_batch *batch, const msa_attn_args *args,
                double *out, double *lse, double *max_score);

#endif
