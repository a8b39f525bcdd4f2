/* norm_ref.c: RMSNorm by its definition. */
#include <math.h>

#include "nn/norm.h"

void norm_rms_ref(const norm_rows *rows) {
    for (int64_t r = 0; r < rows->n_rows; r++) {
        const float *x = rows->x + r * rows->x_stride;
        float *y = rows->y + r * rows->y_stride;
        double squares = 0;
        for (int64_t i = 0; i < rows->n; i++) squares += (double)x[i] * x[i];
        double scale = 1 / sqrt(squares / (double)rows->n + rows->eps);
        for (int64_t i = 0; i < rows->n; i++)
            y[i] = (float)(x[i] * scale * (rows->plus_one ? 1.0 + rows->w[i] : rows->w[i]));
    }
}
