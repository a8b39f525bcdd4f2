/* pack_simd.c: stored keys and values into f32 shapes the kernels stream: panels and padded rows.
 * The way in for lanes that are not kept in panels, for narrow formats, and for widths that are no
 * multiple of 16. */
#include "attn/kernels.h"
#include "attn/tile.h"
#include "base/fp4.h"
#include "base/fp8.h"

pack_panels_fn SIMD_NAME(pack_panels);
pack_rows_fn SIMD_NAME(pack_rows);
widen_panels_fn SIMD_NAME(widen_panels);

/* ---- rows ---- */

/* The scale of element c of token i. */
SIMD_INLINE float row_scale(const stored_keys *k, msa_dtype dtype, int i, int c) {
    int64_t at = i * k->scale_stride;
    if (dtype == MSA_INT8) return ((const float *)k->scales)[at];
    if (dtype == MSA_NVFP4) return fp8_to_f32(((const uint8_t *)k->scales)[at + c / 16]) * k->scale;
    return k->scale;
}

static float load_one(const stored_keys *k, msa_dtype dtype, int i, int c) {
    int64_t at = i * k->stride + c;
    const uint8_t *bytes = k->data;
    float scale = row_scale(k, dtype, i, c);
    switch (dtype) {
    case MSA_F32: return ((const float *)k->data)[at];
    case MSA_F16: return f16_to_f32(((const uint16_t *)k->data)[at]);
    case MSA_BF16: return bf16_to_f32(((const uint16_t *)k->data)[at]);
    case MSA_FP8: return fp8_to_f32(bytes[at]) * scale;
    case MSA_INT8: return (float)(int8_t)bytes[at] * scale;
    default: return fp4_to_f32(bytes[at / 2] >> at % 2 * 4 & 15) * scale;
    }
}

/* Elements c .. c+15 of token i; c a multiple of 16. */
SIMD_INLINE vf load_row(const stored_keys *k, msa_dtype dtype, int i, int c) {
    int64_t at = i * k->stride + c;
    vf scale = v_set1(row_scale(k, dtype, i, c));
    if (dtype == MSA_NVFP4) return v_mul(v_load_e2m1((const uint8_t *)k->data + at / 2), scale);
    return tile_load(k->data, at, dtype, scale);
}

/* Sixteen tokens, sixteen dimensions at a time through a transposition; what is left one by one. */
SIMD_INLINE void pack_panel(const stored_keys *k, msa_dtype dtype, int first, int n, int dim,
                            float *panel) {
    int c = 0;
    for (; n == 16 && c + 16 <= dim; c += 16) {
        vf square[16];
        SIMD_UNROLL
        for (int i = 0; i < 16; i++) square[i] = load_row(k, dtype, first + i, c);
        v_transpose(square);
        SIMD_UNROLL
        for (int i = 0; i < 16; i++) v_store(panel + (c + i) * 16, square[i]);
    }
    for (; c < dim; c++)
        for (int i = 0; i < 16; i++)
            panel[c * 16 + i] = i < n ? load_one(k, dtype, first + i, c) : 0;
}

SIMD_INLINE void pack_all(const stored_keys *k, msa_dtype dtype, int n_tokens, int dim,
                          float *panels) {
    for (int t = 0; t < n_tokens; t += 16)
        pack_panel(k, dtype, t, n_tokens - t < 16 ? n_tokens - t : 16, dim,
                   panels + (int64_t)t * dim);
}

/* Named formats make each case its own loop without a branch inside. */
void SIMD_NAME(pack_panels)(const stored_keys *rows, int n_tokens, int dim, float *panels) {
    switch (rows->dtype) {
    case MSA_F32: pack_all(rows, MSA_F32, n_tokens, dim, panels); break;
    case MSA_F16: pack_all(rows, MSA_F16, n_tokens, dim, panels); break;
    case MSA_BF16: pack_all(rows, MSA_BF16, n_tokens, dim, panels); break;
    case MSA_FP8: pack_all(rows, MSA_FP8, n_tokens, dim, panels); break;
    case MSA_INT8: pack_all(rows, MSA_INT8, n_tokens, dim, panels); break;
    default: pack_all(rows, MSA_NVFP4, n_tokens, dim, panels); break;
    }
}

SIMD_INLINE void pad_rows(const stored_keys *k, msa_dtype dtype, int n_tokens, int dim,
                          float *rows) {
    int whole = dim / 16 * 16, padded = (dim + 15) / 16 * 16;
    for (int i = 0; i < n_tokens; i++, rows += padded) {
        for (int c = 0; c < whole; c += 16) v_store(rows + c, load_row(k, dtype, i, c));
        for (int c = whole; c < padded; c++) rows[c] = c < dim ? load_one(k, dtype, i, c) : 0;
    }
}

void SIMD_NAME(pack_rows)(const stored_keys *rows, int n_tokens, int dim, float *out) {
    switch (rows->dtype) {
    case MSA_F32: pad_rows(rows, MSA_F32, n_tokens, dim, out); break;
    case MSA_F16: pad_rows(rows, MSA_F16, n_tokens, dim, out); break;
    case MSA_BF16: pad_rows(rows, MSA_BF16, n_tokens, dim, out); break;
    case MSA_FP8: pad_rows(rows, MSA_FP8, n_tokens, dim, out); break;
    case MSA_INT8: pad_rows(rows, MSA_INT8, n_tokens, dim, out); break;
    default: pad_rows(rows, MSA_NVFP4, n_tokens, dim, out); break;
    }
}

/* ---- panels ---- */

/* Dimensions first .. end-1 of panel p, whose tokens have these scales. */
SIMD_INLINE void widen_dims(const stored_keys *k, msa_dtype dtype, int64_t panel, int first,
                            int end, vf scale, float *out) {
    for (int c = first; c < end; c++) {
        int64_t at = panel + c * 16;
        vf x = dtype == MSA_NVFP4
                   ? v_mul(v_load_e2m1_halves((const uint8_t *)k->data + at / 2), scale)
                   : tile_load(k->data, at, dtype, scale);
        v_store(out + at, x);
    }
}

SIMD_INLINE void widen(const stored_keys *k, msa_dtype dtype, int n_tokens, int dim, float *out) {
    int n_panels = (n_tokens + 15) / 16, n_groups = (dim + 15) / 16;
    for (int p = 0; p < n_panels; p++) {
        int64_t panel = (int64_t)p * 16 * dim;
        if (dtype == MSA_NVFP4) {
            const uint8_t *e = (const uint8_t *)k->scales + (int64_t)p * n_groups * 16;
            for (int c = 0; c < dim; c += 16)
                widen_dims(k, dtype, panel, c, c + 16 < dim ? c + 16 : dim,
                           v_load_e4m3(e + c, v_set1(k->scale)), out);
        } else {
            vf scale =
                dtype == MSA_INT8 ? v_load((const float *)k->scales + p * 16) : v_set1(k->scale);
            widen_dims(k, dtype, panel, 0, dim, scale, out);
        }
    }
}

void SIMD_NAME(widen_panels)(const stored_keys *panels, int n_tokens, int dim, float *out) {
    switch (panels->dtype) {
    case MSA_F32: widen(panels, MSA_F32, n_tokens, dim, out); break;
    case MSA_F16: widen(panels, MSA_F16, n_tokens, dim, out); break;
    case MSA_BF16: widen(panels, MSA_BF16, n_tokens, dim, out); break;
    case MSA_FP8: widen(panels, MSA_FP8, n_tokens, dim, out); break;
    case MSA_INT8: widen(panels, MSA_INT8, n_tokens, dim, out); break;
    default: widen(panels, MSA_NVFP4, n_tokens, dim, out); break;
    }
}
