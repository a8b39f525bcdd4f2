/* adamw.c: see adamw.h. Seven streams through memory for a dozen operations: the compiler's own
 * vectors of four keep up with it, and give the same bits everywhere. */
#include "nn/adamw.h"

#include <math.h>

enum { MIN_FLOATS = 1 << 14 }; /* worth waking other threads for */

void adamw_run(const adamw_step *step, float *restrict w, const float *restrict g,
               float *restrict m, float *restrict v, int64_t n, int n_threads) {
    float keep = (float)(1 - step->lr * step->weight_decay), scale = (float)step->grad_scale;
    float old_m = (float)step->beta1, new_m = (float)(1 - step->beta1);
    float old_v = (float)step->beta2, new_v = (float)(1 - step->beta2), eps = (float)step->eps;
    float rate = (float)(step->lr / (1 - pow(step->beta1, (double)step->step)));
    float root = (float)(1 / sqrt(1 - pow(step->beta2, (double)step->step)));
#pragma omp parallel for simd num_threads(n_threads) if (n_threads > 1 && n >= MIN_FLOATS)
    for (int64_t i = 0; i < n; i++) {
        float d = scale * g[i];
        m[i] = old_m * m[i] + new_m * d;
        v[i] = old_v * v[i] + new_v * d * d;
        w[i] = keep * w[i] - rate * (m[i] / (sqrtf(v[i]) * root + eps));
    }
}
