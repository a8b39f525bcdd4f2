/* panels.h: a block's keys as panels, however they are kept. */
#ifndef MSA_ATTN_PANELS_H
#define MSA_ATTN_PANELS_H

#include "attn/kernels.h"
#include "attn/plan.h"

/* The first n_tokens keys of one head of a block, in the format *dtype: where they lie, or, if they
 * are not kept in panels, widened into `space`, block * dim floats. */
static inline const void *panels_of(const msa_plan *plan, const msa_lane *lane,
                                    const plan_request *request, int32_t head, int64_t block,
                                    int32_t n_tokens, int32_t dim, float *space, msa_dtype *dtype) {
    const void *keys = plan_block(plan, lane, request, head, block);
    *dtype = lane->dtype;
    if (lane->layout == MSA_PANELS) return keys;
    attn_kernels_get()->pack_panels(keys, lane->dtype, lane->stride_token, n_tokens, dim, space);
    *dtype = MSA_F32;
    return space;
}

/* The same, always f32. */
static inline const float *panels_widened(const msa_plan *plan, const msa_lane *lane,
                                          const plan_request *request, int32_t head, int64_t block,
                                          int32_t n_tokens, int32_t dim, float *space) {
    msa_dtype dtype;
    const void *panels = panels_of(plan, lane, request, head, block, n_tokens, dim, space, &dtype);
    if (dtype == MSA_F32) return panels;
    int32_t n_panels = (n_tokens + 15) / 16, panel = 16 * dim;
    attn_kernels_get()->pack_rows(panels, dtype, panel, n_panels, panel, space);
    return space;
}

#endif
