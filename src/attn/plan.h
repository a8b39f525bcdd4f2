/* plan.h: what the plans of all operators share: the checked batch, the work items, the workspace.
 *
 * An operator's msa_X_plan calls plan_prepare, then fills items and says how large its workspace
 * is. Items are independent, fixed by shapes and lengths alone, and each output row is written by
 * one item, or by one merge over partials in item order: so thread counts change no bit. */
#ifndef MSA_ATTN_PLAN_H
#define MSA_ATTN_PLAN_H

#include <stdbool.h>

#include "attn/kernels.h"
#include "base/error.h"
#include "base/format.h"
#include "msa/grad.h"

typedef enum plan_op {
    PLAN_INDEX,
    PLAN_DENSE,
    PLAN_SPARSE,
    PLAN_DECODE,
    PLAN_DENSE_GRAD,
    PLAN_SPARSE_GRAD,
    PLAN_INDEX_LOSS,
    PLAN_MEANS,
    PLAN_MASS,
    PLAN_INDEX8
} plan_op;

typedef struct plan_request {
    int64_t q_start; /* first of its rows among total_q */
    int64_t q_len;
    int64_t kv_len;
    int64_t position;     /* of its first query */
    int64_t kv_start;     /* contiguous keys: its first token */
    const int32_t *pages; /* paged keys: its row of the copied page table; NULL when contiguous */
    int32_t n_splits;     /* attention: pieces its keys are cut into; 1: outputs written directly */
    int64_t first_block;  /* gradients, means, index8: its first block, counted over all requests */
} plan_request;

/* A piece of work: n_q queries of one request from q_first (an index inside the request), one kv
 * head, split `split` of n_splits. Operators give `split` their own meaning. */
typedef struct plan_item {
    int32_t request, head;
    int64_t q_first;
    int32_t n_q, split, n_splits;
    int64_t slot; /* where its partial results lie in the shared space */
    int64_t cost; /* in any one unit; plan_sort_items goes by it */
} plan_item;

struct msa_plan {
    plan_op op;
    bool ready; /* it has its workspace; a plan whose last planning failed may not run */
    bool paged;
    msa_shape shape;
    int32_t n_threads;
    int64_t n_pages; /* page ids are below this */
    int64_t total_q, max_kv_len, max_q_len;

    int32_t n_requests;
    plan_request *requests;
    size_t requests_capacity;
    int32_t *page_table;
    size_t page_table_capacity;

    size_t n_items;
    plan_item *items;
    size_t items_capacity;

    /* thread i works in workspace + i * thread_bytes; what threads share lies behind */
    size_t thread_bytes, shared_bytes;
    char *workspace;
    size_t workspace_capacity;

    bool p_e4m3;       /* option of that name */
    bool index8;       /* option of that name */
    size_t slot_bytes; /* index: of what a split hands on for a row */
    size_t queries_at; /* index with option index8: of the rounded queries in the shared space */
    msa_order order;   /* sparse */
    int32_t n_splits;  /* most splits of any item; 1: outputs are written directly */
    int64_t chunk_q;   /* sparse, KV-outer, and gradients: queries per pass */

    int64_t n_blocks;    /* gradients, means: of all requests */
    int32_t n_parts;     /* gradients: parts the blocks are cut into */
    msa_support support; /* index loss */
};

/* Checks shape, batch and options, creates *plan if NULL (or checks that it is of this op), copies
 * the batch into it. */
msa_status plan_prepare(msa_plan **plan, plan_op op, const msa_shape *shape, const msa_batch *batch,
                        const msa_plan_options *options, msa_error *err);

/* Room for n items (n_items is left alone); and, the last step of planning, room for n_threads *
 * thread + shared bytes, after which the plan is ready. */
msa_status plan_reserve_items(msa_plan *plan, size_t n, msa_error *err);
msa_status plan_reserve_workspace(msa_plan *plan, size_t thread_bytes, size_t shared_bytes,
                                  msa_error *err);
/* An item for each group of heads and `tile` queries or fewer of a request: from the last queries,
 * which see most keys, to the first. */
msa_status plan_make_tiles(msa_plan *plan, int64_t tile, msa_error *err);
/* Heavy items first, equal ones in the order of request, query, head, split. */
void plan_sort_items(msa_plan *plan);
static inline void *plan_thread_space(const msa_plan *plan, int thread) {
    return plan->workspace + (size_t)thread * plan->thread_bytes;
}
static inline void *plan_shared_space(const msa_plan *plan) {
    return plan->workspace + (size_t)plan->n_threads * plan->thread_bytes;
}

/* A request can't be cut into more pieces than it has blocks, nor into none. */
static inline int32_t plan_clamp_splits(int64_t wanted, int64_t most) {
    if (wanted > most) wanted = most;
    return wanted < 1 ? 1 : (int32_t)wanted;
}

/* MSA_E_ARG unless plan is one of `op` and ready. */
msa_status plan_check(const msa_plan *plan, plan_op op, msa_error *err);
/* Checks a lane of n_heads heads of dim against the plan: pointer, format, layout, strides. */
msa_status plan_check_lane(const msa_plan *plan, const msa_lane *lane, const char *name,
                           int32_t n_heads, int32_t dim, bool panels_allowed, msa_error *err);
/* *out: the scale of scores that a caller asks for; 0 stands for 1/sqrt(d). */
msa_status plan_check_scale(const msa_shape *shape, float scale, float *out, msa_error *err);

/* The block of one head: where its first token (MSA_TOKENS) or first panel (MSA_PANELS) lies. */
static inline const void *plan_block(const msa_plan *plan, const msa_lane *lane,
                                     const plan_request *r, int32_t head, int64_t block) {
    int64_t at = head * lane->stride_head;
    if (r->pages)
        at += r->pages[block] * lane->stride_page;
    else
        at += (r->kv_start + block * plan->shape.block) * lane->stride_token;
    return (const char *)lane->data + format_bytes(lane->dtype, at);
}

/* What lies n rows behind. */
static inline stored_keys stored_skip(const stored_keys *rows, int64_t n) {
    stored_keys next = *rows;
    size_t size = msa_row_scale_align(rows->dtype);
    next.data = (const char *)rows->data + format_bytes(rows->dtype, n * rows->stride);
    if (rows->scales)
        next.scales = (const char *)rows->scales + n * rows->scale_stride * (int64_t)size;
    return next;
}

/* The same with its scales, and all that it takes to read it. */
static inline stored_keys plan_stored(const msa_plan *plan, const msa_lane *lane,
                                      const plan_request *r, int32_t head, int64_t block) {
    int64_t at = head * lane->scale_stride_head;
    if (r->pages)
        at += r->pages[block] * lane->scale_stride_page;
    else
        at += (r->kv_start + block * plan->shape.block) * lane->scale_stride_token;
    size_t size = msa_row_scale_align(lane->dtype);
    return (stored_keys){.data = plan_block(plan, lane, r, head, block),
                         .scales =
                             lane->scales ? (const char *)lane->scales + at * (int64_t)size : NULL,
                         .dtype = lane->dtype,
                         .scale = lane->scale == 0 ? 1 : lane->scale,
                         .stride = lane->stride_token,
                         .scale_stride = lane->scale_stride_token};
}

#endif
