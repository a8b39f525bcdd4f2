/* experts_simd.c: one token's weighted sum of its experts' rows, and its gradient. */
#include "base/simd.h"
#include "nn/experts.h"

SIMD_INLINE vf combine(vf sum, const float *rows, const int32_t *row, const float *weights,
                       int32_t n_used, int64_t n, int64_t c, int part) {
    for (int32_t i = 0; i < n_used; i++) {
        const float *p = rows + row[i] * n + c;
        vf x = part == 16 ? v_load(p) : v_load_part(p, part);
        sum = weights ? v_muladd(v_set1(weights[i]), x, sum) : v_add(sum, x);
    }
    return sum;
}

extern experts_combine_fn SIMD_NAME(experts_combine);
void SIMD_NAME(experts_combine)(const float *rows, const int32_t *row, const float *weights,
                                int32_t n_used, int64_t n, float *y) {
    int64_t c = 0;
    for (; c + 16 <= n; c += 16)
        v_store(y + c, combine(v_load(y + c), rows, row, weights, n_used, n, c, 16));
    int rest = (int)(n - c);
    if (rest == 0) return;
    vf sum = combine(v_load_part(y + c, rest), rows, row, weights, n_used, n, c, rest);
    v_store_part(y + c, sum, rest);
}

extern experts_combine_grad_fn SIMD_NAME(experts_combine_grad);
float SIMD_NAME(experts_combine_grad)(const float *row, float weight, const float *dy, int64_t n,
                                      float *drow) {
    vf w = v_set1(weight), dot = v_zero();
    int64_t c = 0;
    for (; c + 16 <= n; c += 16) {
        vf d = v_load(dy + c);
        dot = v_muladd(v_load(row + c), d, dot);
        v_store(drow + c, v_mul(w, d));
    }
    int rest = (int)(n - c);
    if (rest > 0) {
        vf d = v_load_part(dy + c, rest);
        dot = v_muladd(v_load_part(row + c, rest), d, dot);
        v_store_part(drow + c, v_mul(w, d), rest);
    }
    return v_sum(dot);
}
