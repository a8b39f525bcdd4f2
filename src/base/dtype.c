/* dtype.c: names and sizes of the number formats. */
#include "base/error.h"

static const struct {
    const char *name;
    int size;
} DTYPES[MSA_DTYPE_COUNT] = {
    [MSA_F32] = {"f32", 4},
    [MSA_F16] = {"f16", 2},
    [MSA_BF16] = {"bf16", 2},
};

static int is_known(msa_dtype dtype) {
    return (int)dtype >= 0 && dtype < MSA_DTYPE_COUNT;
}

const char *msa_dtype_name(msa_dtype dtype) {
    return is_known(dtype) ? DTYPES[dtype].name : "?";
}

int msa_dtype_size(msa_dtype dtype) {
    return is_known(dtype) ? DTYPES[dtype].size : 0;
}

msa_status msa_dtype_parse(const char *name, msa_dtype *out, msa_error *err) {
    if (!out) return error_set(err, MSA_E_ARG, "out is NULL; expected where to put the format");
    for (int i = 0; name && i < MSA_DTYPE_COUNT; i++) {
        const char *a = name, *b = DTYPES[i].name;
        while (*a && *a == *b) a++, b++;
        if (*a == *b) {
            *out = (msa_dtype)i;
            return MSA_OK;
        }
    }
    return error_set(err, MSA_E_ARG, "number format '%s' is not known; expected f32, f16 or bf16",
                     name ? name : "(null)");
}
