/* format.c: rows of f32 to stored formats and back: sizes, checks, and which kernels run. */
#include "base/format.h"

#define MOST_DIM     65536
#define SERIAL_ELEMS 65536 /* below it threads cost more than they save */

extern const format_kernels format_kernels_scalar, format_kernels_avx2, format_kernels_avx512,
    format_kernels_neon;

static const format_kernels *const TABLE[MSA_ISA_COUNT] = {
    [MSA_ISA_SCALAR] = &format_kernels_scalar,
#if defined(__x86_64__)
    [MSA_ISA_AVX2] = &format_kernels_avx2,
    [MSA_ISA_AVX512] = &format_kernels_avx512,
#elif defined(__aarch64__)
    [MSA_ISA_NEON] = &format_kernels_neon,
#endif
};

const format_kernels *format_kernels_get(void) {
    return TABLE[msa_isa_current()];
}

/* ---- sizes ---- */

static bool is_row(msa_dtype dtype, int32_t dim) {
    return format_bits(dtype) && dim >= 1 && !(dtype == MSA_NVFP4 && dim % 2);
}

size_t msa_row_bytes(msa_dtype dtype, int32_t dim) {
    return is_row(dtype, dim) ? (size_t)format_bytes(dtype, dim) : 0;
}

size_t msa_row_scale_bytes(msa_dtype dtype, int32_t dim) {
    return is_row(dtype, dim) ? (size_t)format_scales(dtype, dim) * msa_row_scale_align(dtype) : 0;
}

size_t msa_row_align(msa_dtype dtype) {
    return dtype == MSA_NVFP4 ? 1 : (size_t)msa_dtype_size(dtype);
}

size_t msa_row_scale_align(msa_dtype dtype) {
    if (!format_bits(dtype)) return 0;
    return dtype == MSA_INT8 ? sizeof(float) : 1;
}

/* ---- checks ---- */

msa_status format_check_scale(msa_dtype dtype, float scale, const char *name, float *out,
                              msa_error *err) {
    bool free = dtype == MSA_FP8 || dtype == MSA_NVFP4;
    *out = 1;
    if (scale == 0 || scale == 1) return MSA_OK;
    if (!free)
        return error_set(err, MSA_E_ARG,
                         "%s: scale is %g; a tensor of %s has none: expected 0 or 1", name,
                         (double)scale, msa_dtype_name(dtype));
    if (!(scale >= 0x1p-64f && scale <= 0x1p64f))
        return error_set(err, MSA_E_ARG, "%s: scale is %g; expected 0 (for 1) or 2^-64 to 2^64",
                         name, (double)scale);
    *out = scale;
    return MSA_OK;
}

static msa_status check_scales(const msa_rows *rows, int32_t dim, msa_error *err) {
    int64_t least = (int64_t)msa_row_scale_bytes(rows->dtype, dim);
    int64_t align = (int64_t)msa_row_scale_align(rows->dtype);
    if (least == 0) return MSA_OK;
    if (!rows->scales)
        return error_set(err, MSA_E_ARG, "rows: scales is NULL; %s has some",
                         msa_dtype_name(rows->dtype));
    if (rows->scale_stride < least || rows->scale_stride % align)
        return error_set(
            err, MSA_E_ARG,
            "rows: scale_stride is %lld bytes; expected at least %lld, a multiple of %lld",
            (long long)rows->scale_stride, (long long)least, (long long)align);
    if ((uintptr_t)rows->scales % (size_t)align)
        return error_set(err, MSA_E_ARG, "rows: scales is not aligned to %lld bytes",
                         (long long)align);
    return MSA_OK;
}

static msa_status check_rows(const msa_rows *rows, int64_t n, int32_t dim, const float *x,
                             int64_t stride, float *scale, msa_error *err) {
    if (!rows) return error_set(err, MSA_E_ARG, "rows is NULL");
    if (!format_bits(rows->dtype))
        return error_set(err, MSA_E_ARG, "rows: dtype %d is not known", (int)rows->dtype);
    if (n < 0) return error_set(err, MSA_E_ARG, "n is %lld; expected 0 or more", (long long)n);
    if (dim < 1 || dim > MOST_DIM || !is_row(rows->dtype, dim))
        return error_set(err, MSA_E_ARG, "dim is %d; expected 1 to %d%s", dim, MOST_DIM,
                         rows->dtype == MSA_NVFP4 ? ", an even number" : "");
    msa_status status = format_check_scale(rows->dtype, rows->scale, "rows", scale, err);
    if (status || n == 0) return status;
    int64_t align = (int64_t)msa_row_align(rows->dtype);
    int64_t least = (int64_t)msa_row_bytes(rows->dtype, dim);
    if (!rows->codes || !x)
        return error_set(err, MSA_E_ARG, "%s is NULL", x ? "rows: codes" : "the array of f32");
    if (stride < dim)
        return error_set(err, MSA_E_ARG, "stride is %lld floats; expected at least dim, %d",
                         (long long)stride, dim);
    if (rows->stride < least || rows->stride % align)
        return error_set(err, MSA_E_ARG,
                         "rows: stride is %lld bytes; expected at least %lld, a multiple of %lld",
                         (long long)rows->stride, (long long)least, (long long)align);
    if ((uintptr_t)rows->codes % (size_t)align)
        return error_set(err, MSA_E_ARG, "rows: codes is not aligned to %lld bytes",
                         (long long)align);
    return check_scales(rows, dim, err);
}

/* ---- runs ---- */

msa_status msa_rows_pack(const msa_rows *to, int64_t n, int32_t dim, const float *from,
                         int64_t stride, msa_error *err) {
    float scale;
    msa_status status = check_rows(to, n, dim, from, stride, &scale, err);
    if (status) return status;
    format_pack_fn *pack = format_kernels_get()->pack;
#pragma omp parallel for schedule(static) if (n > SERIAL_ELEMS / dim)
    for (int64_t i = 0; i < n; i++)
        pack(to->dtype, scale, from + i * stride, dim, (char *)to->codes + i * to->stride,
             to->scales ? (char *)to->scales + i * to->scale_stride : NULL);
    return MSA_OK;
}

msa_status msa_rows_unpack(const msa_rows *from, int64_t n, int32_t dim, float *to, int64_t stride,
                           msa_error *err) {
    float scale;
    msa_status status = check_rows(from, n, dim, to, stride, &scale, err);
    if (status) return status;
    format_unpack_fn *unpack = format_kernels_get()->unpack;
#pragma omp parallel for schedule(static) if (n > SERIAL_ELEMS / dim)
    for (int64_t i = 0; i < n; i++)
        unpack(from->dtype, scale, (const char *)from->codes + i * from->stride,
               from->scales ? (const char *)from->scales + i * from->scale_stride : NULL, dim,
               to + i * stride);
    return MSA_OK;
}
