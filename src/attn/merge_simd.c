/* merge_simd.c: one row from its parts, in the order of the parts. Sixteen dimensions at a time
 * over all parts: nothing is read or written twice. */
#include <math.h>

#include "attn/kernels.h"
#include "base/simd.h"

merge_parts_fn SIMD_NAME(merge_parts);

#define MERGE_AT_ONCE 64

void SIMD_NAME(merge_parts)(int n_parts, int dim, const float *o, int64_t o_stride,
                            const float *lse_in, int64_t lse_stride, float *out, float *lse) {
    float max = -INFINITY, sum = 0;
    for (int p = 0; p < n_parts; p++) {
        float x = lse_in[p * lse_stride];
        if (x > max || x != x) max = x; /* NaN stays: nothing is greater */
    }
    if (max == -INFINITY) {
        for (int c = 0; c < dim; c++) out[c] = 0;
        *lse = -INFINITY;
        return;
    }
    for (int p = 0; p < n_parts; p++) sum += expf(lse_in[p * lse_stride] - max);
    float weight[MERGE_AT_ONCE];
    for (int first = 0; first < n_parts; first += MERGE_AT_ONCE) {
        int n = n_parts - first < MERGE_AT_ONCE ? n_parts - first : MERGE_AT_ONCE;
        for (int p = 0; p < n; p++) weight[p] = expf(lse_in[(first + p) * lse_stride] - max) / sum;
        for (int c = 0; c < dim; c += 16) {
            int lanes = dim - c < 16 ? dim - c : 16;
            vf acc = first ? v_load_part(out + c, lanes) : v_zero();
            for (int p = 0; p < n; p++) {
                if (weight[p] == 0) continue;
                vf part = v_load_part(o + (first + p) * o_stride + c, lanes);
                acc = v_muladd(v_set1(weight[p]), part, acc);
            }
            v_store_part(out + c, acc, lanes);
        }
    }
    *lse = max + logf(sum);
}
