/* ref.h: what the references read: the stored elements of one token at a time, straight from the
 * definitions in attn.h, without plans. */
#ifndef MSA_ATTN_REF_H
#define MSA_ATTN_REF_H

#include <stdbool.h>

#include "base/half.h"
#include "msa/attn.h"

static inline int64_t ref_q_len(const msa_batch *batch, int32_t request) {
    return (int64_t)batch->cu_seqlens_q[request + 1] - batch->cu_seqlens_q[request];
}

static inline int64_t ref_position(const msa_batch *batch, int32_t request) {
    if (batch->qo_offset) return batch->qo_offset[request];
    return batch->kv_len[request] - ref_q_len(batch, request);
}

static inline int64_t ref_kv_start(const msa_batch *batch, int32_t request) {
    int64_t start = 0;
    if (batch->kv_start) return batch->kv_start[request];
    for (int32_t r = 0; r < request; r++) start += batch->kv_len[r];
    return start;
}

/* One token's elements in one head of a lane. */
typedef struct ref_vector {
    const void *data;
    msa_dtype dtype;
    int64_t first, step; /* in elements */
} ref_vector;

/* dim is the width of a head. */
static inline ref_vector ref_vector_of(const msa_shape *shape, const msa_batch *batch,
                                       const msa_lane *lane, int32_t dim, int32_t request,
                                       int64_t token, int32_t head) {
    int64_t inside = token % shape->block, at = head * lane->stride_head;
    if (batch->page_table) {
        int64_t row = request * batch->page_table_stride;
        at += batch->page_table[row + token / shape->block] * lane->stride_page;
    } else {
        inside = ref_kv_start(batch, request) + token;
    }
    bool panels = lane->layout == MSA_PANELS;
    at += panels ? inside / 16 * 16 * dim + inside % 16 : inside * lane->stride_token;
    return (ref_vector){lane->data, lane->dtype, at, panels ? 16 : 1};
}

static inline float ref_element(ref_vector v, int32_t c) {
    int64_t at = v.first + c * v.step;
    if (v.dtype == MSA_F32) return ((const float *)v.data)[at];
    uint16_t half = ((const uint16_t *)v.data)[at];
    return v.dtype == MSA_F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

/* Whether row t's list for `group` names the block; any block without a selection. */
static inline int ref_selected(const msa_shape *s, const msa_batch *batch,
                               const msa_selection *selection, int64_t t, int32_t group,
                               int64_t block) {
    if (!selection) return 1;
    int64_t total_q = batch->cu_seqlens_q[batch->n_requests];
    const int32_t *ids = selection->layout == MSA_TOKEN_MAJOR
                             ? selection->ids + (t * s->n_kv_heads + group) * s->topk
                             : selection->ids + (group * total_q + t) * s->topk;
    for (int32_t i = 0; i < s->topk; i++)
        if (ids[i] == block) return 1;
    return 0;
}

#endif
