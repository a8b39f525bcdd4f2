/* merge_ref.c: the definition, in double. */
#include "attn/merge.h"

#include <math.h>

void merge_ref(int n_parts, int dim, const float *o, long o_stride, const float *lse,
               long lse_stride, double *out, double *out_lse) {
    double max = -INFINITY, sum = 0;
    for (int p = 0; p < n_parts; p++) {
        double x = lse[p * lse_stride];
        if (x > max || isnan(x)) max = x;
    }
    for (int c = 0; c < dim; c++) out[c] = 0;
    *out_lse = -INFINITY;
    if (max == -INFINITY) return;
    for (int p = 0; p < n_parts; p++) {
        double weight = exp(lse[p * lse_stride] - max);
        if (weight == 0) continue;
        sum += weight;
        for (int c = 0; c < dim; c++) out[c] += weight * o[p * o_stride + c];
    }
    for (int c = 0; c < dim; c++) out[c] /= sum;
    *out_lse = max + log(sum);
}
