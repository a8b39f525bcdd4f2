/* format.h: rows of f32 to the formats that keys, values and index keys are stored in, and back.
 *
 * A row is what one head stores of one token: `dim` numbers. It has codes and, in two formats,
 * scales, which lie apart; the tensor may have a scale too, which the caller knows.
 *
 *            codes of a row              scales of a row              an element reads as
 *   f32      dim f32                     -                            itself
 *   f16      dim IEEE binary16           -                            itself
 *   bf16     dim high halves of f32      -                            itself
 *   fp8      dim E4M3                    -                            code * scale
 *   int8     dim int8                    one f32, s                   code * s
 *   nvfp4    dim/2 bytes of two E2M1,    one E4M3 for each 16, e;     code * fl(e * scale)
 *            the even element low        the last may have fewer
 *
 * `scale` is the tensor's, fl and every product are one f32 rounding. What reads stored rows, the
 * operators of attn.h too, computes with exactly these f32 numbers, on every instruction set.
 *
 * Packing rounds to nearest, ties to even:
 *   f16      beyond 65504 becomes infinite, as IEEE has it
 *   fp8      E4M3(fl(x / scale)), saturating: what is beyond +-448, infinity too, becomes +-448
 *   int8     s = fl(max |x| / 127), but at least 2^-126, and so that 127 s is finite; the code is
 *            fl(x / s) as a whole number. -128 is never written. A row with a NaN or an infinity,
 *            which int8 cannot say, gets s NaN and codes 0: it reads as NaN
 *   nvfp4    e = E4M3(fl(max |x| of the 16 / fl(6 scale))); the code is E2M1(fl(x / fl(e scale))),
 *            both saturating; where e is 0 so are the codes. A group with a NaN gets e NaN and
 *            codes 0: it reads as NaN
 * NaN reads as NaN in every format, with a sign and payload that do not matter. Subnormal numbers
 * are numbers like others; the sign of a zero is kept, but by int8 and, where e is 0, by nvfp4. */
#ifndef MSA_FORMAT_H
#define MSA_FORMAT_H

#include "msa/msa.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of the codes, and of the scales, of a row of dim numbers. 0 for an unknown format, dim < 1,
 * or an odd dim in nvfp4. */
MSA_API size_t msa_row_bytes(msa_dtype dtype, int32_t dim);
MSA_API size_t msa_row_scale_bytes(msa_dtype dtype, int32_t dim);
/* What addresses and strides of codes, and of scales, must be multiples of; 0 for an unknown
 * format. */
MSA_API size_t msa_row_align(msa_dtype dtype);
MSA_API size_t msa_row_scale_align(msa_dtype dtype);

/* Rows of a stored format. Strides are in bytes from row to row. */
typedef struct msa_rows {
    msa_dtype dtype;
    void *codes;
    int64_t stride; /* >= msa_row_bytes */
    void *scales;   /* int8 and nvfp4; NULL in others */
    int64_t scale_stride;
    float
        scale; /* fp8 and nvfp4: of the tensor, in [2^-64, 2^64]; 0 stands for 1; others: 0 or 1 */
} msa_rows;

/* n rows of dim numbers (1..65536, in nvfp4 even), `stride` floats apart, into `to`. Nothing may
 * overlap. Bytes between rows stay as they are. */
MSA_API msa_status msa_rows_pack(const msa_rows *to, int64_t n, int32_t dim, const float *from,
                                 int64_t stride, msa_error *err);
/* And back. */
MSA_API msa_status msa_rows_unpack(const msa_rows *from, int64_t n, int32_t dim, float *to,
                                   int64_t stride, msa_error *err);

#ifdef __cplusplus
}
#endif
#endif
