/* ref.h: what the references read: one stored element at a time, straight from the definitions in
 * attn.h, without plans. */
#ifndef MSA_ATTN_REF_H
#define MSA_ATTN_REF_H

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

/* Element c of token `token` of a request; dim is the width of a head. */
static inline float ref_element(const msa_shape *shape, const msa_batch *batch,
                                const msa_lane *lane, int32_t dim, int32_t request, int64_t token,
                                int32_t head, int32_t c) {
    int64_t inside = token % shape->block, at = head * lane->stride_head;
    if (batch->page_table) {
        int64_t row = request * batch->page_table_stride;
        at += batch->page_table[row + token / shape->block] * lane->stride_page;
    } else {
        inside = ref_kv_start(batch, request) + token;
    }
    if (lane->layout == MSA_PANELS)
        at += inside / 16 * 16 * dim + c * 16 + inside % 16;
    else
        at += inside * lane->stride_token + c;
    if (lane->dtype == MSA_F32) return ((const float *)lane->data)[at];
    uint16_t half = ((const uint16_t *)lane->data)[at];
    return lane->dtype == MSA_F16 ? f16_to_f32(half) : bf16_to_f32(half);
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
