/* adamw.c: see adamw.h. Seven streams through memory for a dozen operations: the compiler's own
 * vectors of four keep up with it, and give the same bits everywhere. */
#include "nn/adamw.h"

#include <math.h>

/* Elements that go together. They are a function's restricted arguments, without which the compiler
 * looks at run time whether arrays overlap, and finds at times that they might. */
enum { PIECE = 1 << 13 };

typedef struct factors {
    float scale, keep, old_m, new_m, old_v, new_v, eps, rate, root;
} factors;

static factors factors_of(const adamw_step *s) {
    return (factors){.scale = (float)s->grad_scale,
                     .keep = (float)(1 - s->lr * s->weight_decay),
                     .old_m = (float)s->beta1,
                     .new_m = (float)(1 - s->beta1),
                     .old_v = (float)s->beta2,
                     .new_v = (float)(1 - s->beta2),
                     .eps = (float)s->eps,
                     .rate = (float)(s->lr / (1 - pow(s->beta1, (double)s->step))),
                     .root = (float)(1 / sqrt(1 - pow(s->beta2, (double)s->step)))};
}

static void run_piece(factors f, float *restrict w, const float *restrict g, float *restrict m,
                      float *restrict v, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float d = f.scale * g[i];
        m[i] = f.old_m * m[i] + f.new_m * d;
        v[i] = f.old_v * v[i] + f.new_v * d * d;
        w[i] = f.keep * w[i] - f.rate * (m[i] / (sqrtf(v[i]) * f.root + f.eps));
    }
}

void adamw_run(const adamw_step *step, float *w, const float *g, float *m, float *v, int64_t n,
               int n_threads) {
    factors f = factors_of(step);
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1 && n > 2 * PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        run_piece(f, w + i, g + i, m + i, v + i, n - i < PIECE ? n - i : PIECE);
}
