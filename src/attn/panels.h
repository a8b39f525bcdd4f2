/* panels.h: a block's keys as panels, however they are kept. */
#ifndef MSA_ATTN_PANELS_H
#define MSA_ATTN_PANELS_H

#include "attn/kernels.h"
#include "attn/plan.h"

/* Numbers of narrow formats are made as they are read, anew for each few rows; where this many rows
 * meet a block it is cheaper widened once. */
#define PANELS_WIDEN_ROWS 8

static inline stored_keys panels_packed(const float *panels) {
    return (stored_keys){.data = panels, .dtype = MSA_F32, .scale = 1};
}

/* The first n_tokens keys of one head of a block as panels for n_rows rows: where they lie, or, if
 * kernels would not read them well there, widened into `space`, block * dim floats. */
static inline stored_keys panels_of(const msa_plan *plan, const msa_lane *lane,
                                    const plan_request *request, int32_t head, int64_t block,
                                    int32_t n_tokens, int32_t dim, int32_t n_rows, float *space) {
    stored_keys keys = plan_stored(plan, lane, request, head, block);
    bool packed = lane->layout == MSA_TOKENS;
    bool widened =
        format_is_narrow(keys.dtype) && (n_rows >= PANELS_WIDEN_ROWS || keys.dtype == MSA_NVFP4);
    if (!packed && !widened) return keys;
    const attn_kernels *kernels = attn_kernels_get();
    (packed ? kernels->pack_panels : kernels->widen_panels)(&keys, n_tokens, dim, space);
    return panels_packed(space);
}

/* The same, always f32. */
static inline const float *panels_widened(const msa_plan *plan, const msa_lane *lane,
                                          const plan_request *request, int32_t head, int64_t block,
                                          int32_t n_tokens, int32_t dim, float *space) {
    stored_keys keys =
        panels_of(plan, lane, request, head, block, n_tokens, dim, PANELS_WIDEN_ROWS, space);
    if (keys.dtype == MSA_F32) return keys.data;
    attn_kernels_get()->widen_panels(&keys, n_tokens, dim, space);
    return space;
}

#endif
