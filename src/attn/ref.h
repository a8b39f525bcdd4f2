/* ref.h: what the references read: the stored elements of one token at a time, straight from the
 * definitions in attn.h, without plans. */
#ifndef MSA_ATTN_REF_H
#define MSA_ATTN_REF_H

#include <stdbool.h>

#include "base/format.h"
#include "base/fp4.h"
#include "base/fp8.h"
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

/* One token's elements in one head of a lane. In panels the elements of 16 tokens lie side by side,
 * this one's `lane` places behind the first. */
typedef struct ref_vector {
    const void *data, *scales;
    msa_dtype dtype;
    bool panels;
    int64_t first, step, lane;       /* in elements */
    int64_t scale_first, scale_step; /* in scales */
    float scale;
} ref_vector;

/* dim is the width of a head. */
static inline ref_vector ref_vector_of(const msa_shape *shape, const msa_batch *batch,
                                       const msa_lane *lane, int32_t dim, int32_t request,
                                       int64_t token, int32_t head) {
    int64_t inside = token % shape->block, n = format_scales(lane->dtype, dim);
    int64_t at = head * lane->stride_head, scale = head * lane->scale_stride_head;
    if (batch->page_table) {
        int64_t row = request * batch->page_table_stride;
        int64_t page = batch->page_table[row + token / shape->block];
        at += page * lane->stride_page;
        scale += page * lane->scale_stride_page;
    } else {
        inside = ref_kv_start(batch, request) + token;
    }
    ref_vector v = {.data = lane->data,
                    .scales = lane->scales,
                    .dtype = lane->dtype,
                    .panels = lane->layout == MSA_PANELS,
                    .scale = lane->scale == 0 ? 1 : lane->scale};
    v.lane = v.panels ? inside % 16 : 0;
    v.first = at + (v.panels ? inside / 16 * 16 * dim : inside * lane->stride_token);
    v.step = v.panels ? 16 : 1;
    v.scale_first =
        scale + (v.panels ? inside / 16 * 16 * n + v.lane : inside * lane->scale_stride_token);
    v.scale_step = v.step;
    return v;
}

/* Scales of int8 and nvfp4, as an element of its row meets them. */
static inline float ref_scale(ref_vector v, int32_t c) {
    if (v.dtype == MSA_INT8) return ((const float *)v.scales)[v.scale_first];
    int64_t group = c / FORMAT_GROUP * v.scale_step;
    return fp8_to_f32(((const uint8_t *)v.scales)[v.scale_first + group]) * v.scale;
}

static inline int ref_nibble(ref_vector v, int32_t c) {
    int64_t at = v.first + c * v.step;
    int64_t byte = v.panels ? at / 2 + v.lane % 8 : at / 2, high = v.panels ? v.lane / 8 : at % 2;
    return ((const uint8_t *)v.data)[byte] >> 4 * high & 15;
}

static inline float ref_element(ref_vector v, int32_t c) {
    int64_t at = v.first + c * v.step + v.lane;
    switch (v.dtype) {
    case MSA_F32: return ((const float *)v.data)[at];
    case MSA_F16: return f16_to_f32(((const uint16_t *)v.data)[at]);
    case MSA_BF16: return bf16_to_f32(((const uint16_t *)v.data)[at]);
    case MSA_FP8: return fp8_to_f32(((const uint8_t *)v.data)[at]) * v.scale;
    case MSA_INT8: return ((const int8_t *)v.data)[at] * ref_scale(v, c);
    default: return fp4_to_f32(ref_nibble(v, c)) * ref_scale(v, c);
    }
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
