/* store_simd.c: rows of f32 into panels and rows of the stored formats.
 *
 * A full panel is built from 16 x 16 squares, transposed in registers, so that every store is one
 * line of the panel. Fewer tokens (decode writes one) are converted in a row and dealt out with a
 * stride of 16: the panel's other tokens stay as they are. */
#include <string.h>

#include "base/half.h"
#include "base/simd.h"
#include "kv/store.h"

extern const store_kernels SIMD_NAME(store_kernels);

SIMD_INLINE void store_lanes(void *dst, int64_t at, msa_dtype dtype, vf x) {
    if (dtype == MSA_F32)
        v_store((float *)dst + at, x);
    else if (dtype == MSA_F16)
        v_store_f16((uint16_t *)dst + at, x);
    else
        v_store_bf16((uint16_t *)dst + at, x);
}

/* One row of dim elements at dst; dim a multiple of 8. */
SIMD_INLINE void store_row(void *dst, msa_dtype dtype, const float *src, int dim) {
    int c = 0;
    for (; c + 16 <= dim; c += 16) store_lanes(dst, c, dtype, v_load(src + c));
    if (c == dim) return;
    float half[16]; /* widest element: holds 16 of any format */
    store_lanes(half, 0, dtype, v_load_part(src + c, 8));
    size_t size = dtype == MSA_F32 ? 4 : 2;
    memcpy((char *)dst + (size_t)c * size, half, 8 * size);
}

SIMD_INLINE void store_full_panel(void *dst, msa_dtype dtype, const float *src, int64_t stride,
                                  int dim) {
    for (int c = 0; c < dim; c += 16) {
        int width = dim - c < 16 ? dim - c : 16;
        vf square[16];
        if (width == 16) {
            SIMD_UNROLL
            for (int i = 0; i < 16; i++) square[i] = v_load(src + i * stride + c);
        } else {
            SIMD_UNROLL
            for (int i = 0; i < 16; i++) square[i] = v_load_part(src + i * stride + c, width);
        }
        v_transpose(square);
        SIMD_UNROLL
        for (int j = 0; j < 16; j++)
            if (j < width) store_lanes(dst, (int64_t)(c + j) * 16, dtype, square[j]);
    }
}

SIMD_INLINE void store_into_panel(void *dst, msa_dtype dtype, const float *src, int64_t stride,
                                  int slot, int n, int dim) {
    if (n == STORE_PANEL) {
        store_full_panel(dst, dtype, src, stride, dim);
        return;
    }
    for (int i = 0; i < n; i++, src += stride) {
        if (dtype == MSA_F32) {
            float *p = (float *)dst + slot + i;
            for (int c = 0; c < dim; c++) p[c * STORE_PANEL] = src[c];
            continue;
        }
        uint16_t row[256], *p = (uint16_t *)dst + slot + i;
        store_row(row, dtype, src, dim);
        for (int c = 0; c < dim; c++) p[c * STORE_PANEL] = row[c];
    }
}

SIMD_INLINE void store_n_rows(void *dst, msa_dtype dtype, const float *src, int64_t stride, int n,
                              int dim) {
    size_t row_bytes = (size_t)dim * (dtype == MSA_F32 ? 4 : 2);
    for (int i = 0; i < n; i++)
        store_row((char *)dst + i * row_bytes, dtype, src + i * stride, dim);
}

/* Named formats make each case its own loop without a branch inside. */
static void panel(void *dst, msa_dtype dtype, const float *src, int64_t src_stride, int slot, int n,
                  int dim) {
    if (dtype == MSA_F32)
        store_into_panel(dst, MSA_F32, src, src_stride, slot, n, dim);
    else if (dtype == MSA_F16)
        store_into_panel(dst, MSA_F16, src, src_stride, slot, n, dim);
    else
        store_into_panel(dst, MSA_BF16, src, src_stride, slot, n, dim);
}

static void rows(void *dst, msa_dtype dtype, const float *src, int64_t src_stride, int n, int dim) {
    if (dtype == MSA_F32)
        store_n_rows(dst, MSA_F32, src, src_stride, n, dim);
    else if (dtype == MSA_F16)
        store_n_rows(dst, MSA_F16, src, src_stride, n, dim);
    else
        store_n_rows(dst, MSA_BF16, src, src_stride, n, dim);
}

const store_kernels SIMD_NAME(store_kernels) = {panel, rows};
