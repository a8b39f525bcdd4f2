/* rope_ref.c: the rotation by its definition. */
#include <math.h>

#include "nn/rope.h"

void rope_apply_ref(const rope_rows *rows, const rope_params *p, int64_t first) {
    int half = p->n_rot / 2;
    for (int64_t t = 0; t < rows->n_tokens; t++)
        for (int h = 0; h < rows->n_heads; h++) {
            float *x = rows->x + t * rows->token_stride + (int64_t)h * rows->head_dim;
            for (int i = 0; i < half; i++) {
                int a = p->pairs == ROPE_SPLIT ? i : 2 * i;
                int b = p->pairs == ROPE_SPLIT ? i + half : 2 * i + 1;
                double factor = p->linear_factor * (p->factors ? (double)p->factors[i] : 1.0);
                double angle = (double)(first + t) * (pow(p->base, -2.0 * i / p->n_rot) / factor);
                if (rows->back) angle = -angle;
                double xa = x[a], xb = x[b];
                x[a] = (float)(xa * cos(angle) - xb * sin(angle));
                x[b] = (float)(xa * sin(angle) + xb * cos(angle));
            }
        }
}
