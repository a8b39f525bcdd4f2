/* adamw_ref.c: the step by its definition. */
#include <math.h>

#include "nn/adamw.h"

void adamw_ref(const adamw_step *step, double *w, const double *g, double *m, double *v,
               int64_t n) {
    double correct_m = 1 - pow(step->beta1, (double)step->step);
    double correct_v = 1 - pow(step->beta2, (double)step->step);
    for (int64_t i = 0; i < n; i++) {
        double d = step->grad_scale * g[i];
        m[i] = step->beta1 * m[i] + (1 - step->beta1) * d;
        v[i] = step->beta2 * v[i] + (1 - step->beta2) * d * d;
        w[i] -= step->lr * step->weight_decay * w[i];
        w[i] -= step->lr * (m[i] / correct_m) / (sqrt(v[i] / correct_v) + step->eps);
    }
}
