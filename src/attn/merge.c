/* merge.c: the public merge of two partial results. */
#include "attn/merge.h"

#include "attn/kernels.h"
#include "base/error.h"

msa_status msa_merge(int64_t n, int32_t d, const float *a, const float *lse_a, const float *b,
                     const float *lse_b, float *out, float *lse, msa_error *err) {
    if (n < 0) return error_set(err, MSA_E_ARG, "n is %lld; expected 0 or more", (long long)n);
    if (d < 1 || d > 65536) return error_set(err, MSA_E_ARG, "d is %d; expected 1 to 65536", d);
    if (n > 0 && (!a || !lse_a || !b || !lse_b || !out || !lse))
        return error_set(err, MSA_E_ARG, "a, lse_a, b, lse_b, out and lse must not be NULL");
    /* two rows anywhere: their distance is the stride between parts */
    int64_t distance = (int64_t)((intptr_t)b - (intptr_t)a) / (int64_t)sizeof(float);
    merge_parts_fn *merge_parts = attn_kernels_get()->merge_parts;
    for (int64_t i = 0; i < n; i++) {
        const float parts_lse[2] = {lse_a[i], lse_b[i]};
        merge_parts(2, d, a + i * d, distance, parts_lse, 1, out + i * d, lse + i);
    }
    return MSA_OK;
}
