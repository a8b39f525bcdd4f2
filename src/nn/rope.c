/* rope.c: see rope.h. */
#include "nn/rope.h"

#include <math.h>

#include "nn/kernels.h"

void rope_table(const rope_params *p, int64_t first, int64_t n, float *table) {
    int half = p->n_rot / 2;
    for (int i = 0; i < half; i++) {
        double frequency = pow(p->base, -2.0 * i / p->n_rot) / p->linear_factor;
        if (p->factors) frequency /= p->factors[i];
        int a = p->pairs == ROPE_SPLIT ? i : 2 * i, b = p->pairs == ROPE_SPLIT ? i + half : a + 1;
        for (int64_t t = 0; t < n; t++) {
            double angle = (double)(first + t) * frequency;
            float *own = table + t * 2 * p->n_rot, *partner = own + p->n_rot;
            own[a] = own[b] = (float)cos(angle);
            partner[b] = (float)sin(angle);
            partner[a] = -partner[b];
        }
    }
}

enum { MIN_FLOATS = 1 << 15, TOKENS = 8 }; /* worth waking other threads for; tokens per piece */

void rope_apply(const rope_rows *rows, int n_threads) {
    rope_apply_fn *kernel = nn_kernels_get()->rope_apply;
    if (n_threads == 1 || rows->n_tokens * rows->n_heads * rows->n_rot < MIN_FLOATS) {
        kernel(rows, 0, rows->n_tokens);
        return;
    }
#pragma omp parallel for num_threads(n_threads)
    for (int64_t t = 0; t < rows->n_tokens; t += TOKENS)
        kernel(rows, t, rows->n_tokens - t < TOKENS ? rows->n_tokens : t + TOKENS);
}
