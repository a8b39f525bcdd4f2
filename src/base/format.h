/* format.h: card of the conversion between rows of f32 and the stored formats. What is stored, and
 * how it is rounded, stands in msa/format.h; here is what the rooms share.
 *
 *   kernels   format_simd.c, one row at a time, equal to format_ref.c to the bit but for which NaN
 *             a NaN is: every step is one f32 operation rounded to nearest
 *   widths    any; what lies behind a row is neither read nor written
 *   aliasing  none */
#ifndef MSA_BASE_FORMAT_H
#define MSA_BASE_FORMAT_H

#include <stdbool.h>

#include "base/error.h"
#include "msa/format.h"

#define FORMAT_GROUP 16 /* elements that share a scale in nvfp4 */

/* A scale of int8: nothing is divided by 0, and 127 of the greatest are finite. */
#define FORMAT_LEAST_SCALE 0x1p-126f
#define FORMAT_MOST_SCALE  0x1.0204060000000p+121f

/* Bits of a code; 0 for an unknown format. */
int format_bits(msa_dtype dtype);

/* Bytes that n codes take, one behind the other; n even in nvfp4. */
static inline int64_t format_bytes(msa_dtype dtype, int64_t n) {
    return dtype == MSA_NVFP4 ? n / 2 : n * msa_dtype_size(dtype);
}

/* Scales of a row. */
static inline int32_t format_scales(msa_dtype dtype, int32_t dim) {
    if (dtype == MSA_INT8) return 1;
    return dtype == MSA_NVFP4 ? (dim + FORMAT_GROUP - 1) / FORMAT_GROUP : 0;
}

/* Formats of eight bits or fewer, whose elements may be times a scale. */
static inline bool format_is_narrow(msa_dtype dtype) {
    return dtype == MSA_FP8 || dtype == MSA_INT8 || dtype == MSA_NVFP4;
}

/* *out: the tensor's scale that a caller asks for, or MSA_E_ARG naming `name`. */
msa_status format_check_scale(msa_dtype dtype, float scale, const char *name, float *out,
                              msa_error *err);

/* One row of dim numbers; scale is the tensor's. */
typedef void format_pack_fn(msa_dtype dtype, float scale, const float *x, int32_t dim, void *codes,
                            void *scales);
typedef void format_unpack_fn(msa_dtype dtype, float scale, const void *codes, const void *scales,
                              int32_t dim, float *x);

typedef struct format_kernels {
    format_pack_fn *pack;
    format_unpack_fn *unpack;
} format_kernels;

/* Those of msa_isa_current(). */
const format_kernels *format_kernels_get(void);

/* The truth: quotients in double, codes by looking for the nearest number. */
void format_pack_ref(msa_dtype dtype, float scale, const float *x, int32_t dim, void *codes,
                     void *scales);
void format_unpack_ref(msa_dtype dtype, float scale, const void *codes, const void *scales,
                       int32_t dim, float *x);

#endif
