/* loss_simd.c: the softmax of one row of logits, its loss and its gradient in place. */
#include <math.h>
#include <stdbool.h>

#include "base/simd.h"
#include "nn/loss.h"

enum { SPAN = 1024 }; /* what is summed in f32 before the sum goes on in double */

/* The greatest that is no NaN; -inf where there is none. */
SIMD_INLINE float greatest(const float *x, int64_t n) {
    vf a = v_set1(-INFINITY), b = a;
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        a = v_max(v_load(x + i), a);
        b = v_max(v_load(x + i + 16), b);
    }
    for (; i < n; i += 16) {
        int part = n - i < 16 ? (int)(n - i) : 16;
        a = v_max(v_first(part, v_load_part(x + i, part), a), a);
    }
    return v_maxof(v_max(a, b));
}

/* x becomes e^(x - max) where keep; returns their sum. */
SIMD_INLINE double exponentials(float *x, int64_t n, float max, bool keep) {
    vf top = v_set1(max);
    double sum = 0;
    for (int64_t from = 0; from < n; from += SPAN) {
        int64_t i = from, to = n - from < SPAN ? n : from + SPAN;
        vf part_sum = v_zero();
        for (; i + 16 <= to; i += 16) {
            vf e = v_exp(v_sub(v_load(x + i), top));
            part_sum = v_add(part_sum, e);
            if (keep) v_store(x + i, e);
        }
        if (i < to) {
            int part = (int)(to - i);
            vf e = v_exp(v_sub(v_load_part(x + i, part), top));
            part_sum = v_add(part_sum, v_first(part, e, v_zero()));
            if (keep) v_store_part(x + i, e, part);
        }
        sum += v_sum(part_sum);
    }
    return sum;
}

SIMD_INLINE void multiply(float *x, int64_t n, float factor) {
    vf f = v_set1(factor);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(x + i, v_mul(v_load(x + i), f));
    int rest = (int)(n - i);
    if (rest > 0) v_store_part(x + i, v_mul(v_load_part(x + i, rest), f), rest);
}

extern loss_softmax_fn SIMD_NAME(loss_softmax);
double SIMD_NAME(loss_softmax)(float *logits, int64_t n, int32_t target, bool grad, float scale) {
    float max = greatest(logits, n), chosen = logits[target];
    double sum = exponentials(logits, n, max, grad);
    if (grad) {
        multiply(logits, n, (float)(scale / sum));
        logits[target] -= scale;
    }
    return log(sum) + ((double)max - chosen);
}
