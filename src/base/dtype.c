/* dtype.c: names and sizes of the number formats. */
#include <string.h>

#include "base/format.h"

static const struct {
    const char *name;
    int bits;
} DTYPES[MSA_DTYPE_COUNT] = {
    [MSA_F32] = {"f32", 32}, [MSA_F16] = {"f16", 16},  [MSA_BF16] = {"bf16", 16},
    [MSA_FP8] = {"fp8", 8},  [MSA_INT8] = {"int8", 8}, [MSA_NVFP4] = {"nvfp4", 4},
};

static int is_known(msa_dtype dtype) {
    return (int)dtype >= 0 && dtype < MSA_DTYPE_COUNT;
}

const char *msa_dtype_name(msa_dtype dtype) {
    return is_known(dtype) ? DTYPES[dtype].name : "?";
}

int format_bits(msa_dtype dtype) {
    return is_known(dtype) ? DTYPES[dtype].bits : 0;
}

int msa_dtype_size(msa_dtype dtype) {
    return format_bits(dtype) / 8;
}

msa_status msa_dtype_parse(const char *name, msa_dtype *out, msa_error *err) {
    if (!out) return error_set(err, MSA_E_ARG, "out is NULL; expected where to put the format");
    for (int i = 0; name && i < MSA_DTYPE_COUNT; i++)
        if (strcmp(name, DTYPES[i].name) == 0) {
            *out = (msa_dtype)i;
            return MSA_OK;
        }
    return error_set(err, MSA_E_ARG,
                     "number format '%s' is not known; expected f32, f16, bf16, fp8, int8 or nvfp4",
                     name ? name : "(null)");
}
