/* walk.h: blocks of keys outside, the queries that see them inside: how the gradients, the index
 * loss and the KV-outer sparse attention go over a batch.
 *
 * Queries are taken in chunks, across requests. In a chunk each block of a head has its queries: a
 * range of `takers`, all that stand behind it (dense), or those that chose it (a CSR made by
 * counting). The blocks, counted over the requests of the chunk, are cut by their cost into n_parts
 * parts. A part is walked by one thread, block after block: what it adds to rows of keys belongs to
 * it alone; what it adds to rows of queries goes to a partial sum of its own, and the partial sums
 * are merged in the order of parts. So no sum depends on the threads. A set is the heads that one
 * part covers: one head each, or all of them where they add to a common key.
 *
 * Cost of this: partial sums of n_parts rows for each query of a chunk, so chunks are bounded. */
#ifndef MSA_ATTN_WALK_H
#define MSA_ATTN_WALK_H

#include "attn/kernels.h"
#include "attn/plan.h"
#include "base/carve.h"

/* Queries of a chunk: enough that a block chosen by one query in a hundred still meets a few. */
#define WALK_CHUNK 1024
/* Items (parts of all sets) that threads may share. */
#define WALK_ITEMS 16
/* Partial sums of a chunk take no more, but for a chunk of the least size. */
#define WALK_PARTIAL_BYTES ((size_t)128 << 20)
#define WALK_LEAST_CHUNK   32

typedef struct walk_query {
    int64_t t;        /* its row among total_q */
    int64_t position; /* in its request */
    int32_t request;
} walk_query;

/* takers[first..end) of a head */
typedef struct walk_range {
    int32_t first, end;
} walk_range;

typedef struct block_walk {
    const msa_plan *plan;
    const msa_selection *selection; /* NULL: all visible blocks, but for the forced ones: */
    int32_t local, init;            /* trailing and leading blocks that are left out */
    const int32_t *rows;            /* the queries, ascending; NULL: all */
    int64_t n_rows;
    int32_t n_sets; /* Hkv or 1 */
    /* the chunk */
    int32_t n;
    walk_query *queries; /* [n] */
    int64_t first_block; /* of its first request, as counted by plan_request.first_block */
    int64_t n_blocks;    /* of its requests */
    int32_t *takers;     /* selection: [Hkv][chunk_q * k]; else 0, 1, ... */
    walk_range *ranges;  /* selection: [Hkv][n_blocks]; else [n_blocks] for all heads */
    int64_t *bounds;     /* [n_sets][n_parts + 1] blocks where parts begin */
} block_walk;

/* Fixes chunks and parts; option n_splits, where given, is the number of parts. partial_floats: of
 * one query in one part of all sets. Call after plan_prepare. */
void walk_plan(msa_plan *plan, int32_t n_sets, size_t partial_floats);
/* What a pass that adds to rows of keys asks of a batch: contiguous keys, no token of two. */
msa_status walk_check_batch(const msa_plan *plan, msa_error *err);
/* Lays the walk's arrays out in the shared space. */
void walk_lay_out(block_walk *w, const msa_plan *plan, carver *c);
/* After that: over all queries. */
void walk_begin(block_walk *w, const msa_plan *plan, const msa_selection *selection,
                int32_t n_sets);

/* Block `block` of the request meets queries[0..n) of the chunk, numbered in it, ascending. */
typedef void walk_visit_fn(void *worker, const plan_request *request, int32_t head, int64_t block,
                           const int32_t *queries, int32_t n);
void walk_part(const block_walk *w, int32_t set, int32_t part, walk_visit_fn *visit, void *worker);

/* One pass over a chunk: all parts of all sets, then every query; either may be NULL. `thread`
 * numbers the thread that works. */
typedef struct walk_pass {
    void (*part)(void *job, int thread, int32_t set, int32_t part);
    void (*query)(void *job, int32_t query);
} walk_pass;
/* Zeroes the gradients of rows first..first+n of keys. */
typedef void walk_zero_fn(void *job, int64_t first, int64_t n);
/* Zeroes the rows of all requests (unless NULL), then does the passes in every chunk. */
void walk_run(block_walk *w, walk_zero_fn *zero, const walk_pass *passes, int n_passes, void *job);

/* out[c] = sum over parts of part[p * stride + c], in order. */
void walk_sum_parts(const float *part, int64_t stride, int n_parts, int dim, float *out);

/* How many of the first n keys of a block a query at `position` sees. */
static inline int32_t walk_sees(int64_t position, int64_t first_token, int32_t n) {
    int64_t sees = position - first_token + 1;
    return sees < 0 ? 0 : sees > n ? n : (int32_t)sees;
}

#endif
