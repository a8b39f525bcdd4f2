/* pack_simd.c: stored keys and values into f32 shapes the kernels stream: panels and padded rows.
 * The way in for lanes that are not kept in panels, and for widths that are no multiple of 16. */
#include "attn/kernels.h"
#include "attn/tile.h"
#include "base/half.h"

pack_panels_fn SIMD_NAME(pack_panels);
pack_rows_fn SIMD_NAME(pack_rows);

static float load_one(const void *p, int64_t at, msa_dtype dtype) {
    if (dtype == MSA_F32) return ((const float *)p)[at];
    uint16_t h = ((const uint16_t *)p)[at];
    return dtype == MSA_F16 ? f16_to_f32(h) : bf16_to_f32(h);
}

/* Sixteen tokens, sixteen dimensions at a time through a transposition; what is left one by one. */
SIMD_INLINE void pack_panel(const void *src, msa_dtype dtype, int64_t stride, int n, int dim,
                            float *panel) {
    int c = 0;
    for (; n == 16 && c + 16 <= dim; c += 16) {
        vf square[16];
        SIMD_UNROLL
        for (int i = 0; i < 16; i++) square[i] = tile_load(src, i * stride + c, dtype);
        v_transpose(square);
        SIMD_UNROLL
        for (int i = 0; i < 16; i++) v_store(panel + (c + i) * 16, square[i]);
    }
    for (; c < dim; c++)
        for (int i = 0; i < 16; i++)
            panel[c * 16 + i] = i < n ? load_one(src, i * stride + c, dtype) : 0;
}

void SIMD_NAME(pack_panels)(const void *src, msa_dtype dtype, int64_t stride_token, int n_tokens,
                            int dim, float *panels) {
    for (int t = 0; t < n_tokens; t += 16) {
        const char *from = (const char *)src + t * stride_token * (dtype == MSA_F32 ? 4 : 2);
        int n = n_tokens - t < 16 ? n_tokens - t : 16;
        float *to = panels + (int64_t)t * dim;
        if (dtype == MSA_F32)
            pack_panel(from, MSA_F32, stride_token, n, dim, to);
        else if (dtype == MSA_F16)
            pack_panel(from, MSA_F16, stride_token, n, dim, to);
        else
            pack_panel(from, MSA_BF16, stride_token, n, dim, to);
    }
}

SIMD_INLINE void pack_row(const void *src, msa_dtype dtype, int64_t at, int dim, float *row) {
    int c = 0;
    for (; c + 16 <= dim; c += 16) v_store(row + c, tile_load(src, at + c, dtype));
    if (c == dim) return;
    for (int i = 0; i < 16; i++) row[c + i] = c + i < dim ? load_one(src, at + c + i, dtype) : 0;
}

void SIMD_NAME(pack_rows)(const void *src, msa_dtype dtype, int64_t stride_token, int n_tokens,
                          int dim, float *rows) {
    int padded = (dim + 15) / 16 * 16;
    for (int t = 0; t < n_tokens; t++) {
        float *to = rows + (int64_t)t * padded;
        if (dtype == MSA_F32)
            pack_row(src, MSA_F32, t * stride_token, dim, to);
        else if (dtype == MSA_F16)
            pack_row(src, MSA_F16, t * stride_token, dim, to);
        else
            pack_row(src, MSA_BF16, t * stride_token, dim, to);
    }
}
