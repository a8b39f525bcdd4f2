/* norm_simd.c: RMSNorm of some rows. */
#include <math.h>

#include "base/simd.h"
#include "nn/norm.h"

SIMD_INLINE float sum_squares(const float *x, int64_t n) {
    vf a = v_zero(), b = v_zero();
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        vf p = v_load(x + i), q = v_load(x + i + 16);
        a = v_muladd(p, p, a);
        b = v_muladd(q, q, b);
    }
    for (; i < n; i += 16) {
        vf p = v_load_part(x + i, n - i < 16 ? (int)(n - i) : 16);
        a = v_muladd(p, p, a);
    }
    return v_sum(v_add(a, b));
}

extern norm_rms_fn SIMD_NAME(norm_rms);
void SIMD_NAME(norm_rms)(const norm_rows *rows, int64_t from, int64_t to) {
    int64_t n = rows->n;
    vf one = v_set1(rows->plus_one ? 1 : 0);
    for (int64_t r = from; r < to; r++) {
        const float *x = rows->x + r * rows->x_stride;
        float *y = rows->y + r * rows->y_stride;
        vf scale = v_set1(1 / sqrtf(sum_squares(x, n) / (float)n + rows->eps));
        int64_t i = 0;
        for (; i + 16 <= n; i += 16) {
            vf w = v_add(v_load(rows->w + i), one);
            v_store(y + i, v_mul(v_mul(v_load(x + i), scale), w));
        }
        int rest = (int)(n - i);
        if (rest == 0) continue;
        vf w = v_add(v_load_part(rows->w + i, rest), one);
        v_store_part(y + i, v_mul(v_mul(v_load_part(x + i, rest), scale), w), rest);
    }
}
