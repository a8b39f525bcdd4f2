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

void norm_rms_grad_ref(const norm_grad *grad, double *dw) {
    int64_t n = grad->n;
    for (int64_t r = 0; r < grad->n_rows; r++) {
        const float *x = grad->x + r * grad->x_stride, *dy = grad->dy + r * grad->dy_stride;
        float *dx = grad->dx + r * grad->dx_stride;
        double squares = 0, mean = 0;
        for (int64_t i = 0; i < n; i++) squares += (double)x[i] * x[i];
        double scale = 1 / sqrt(squares / (double)n + grad->eps);
        for (int64_t i = 0; i < n; i++)
            mean += dy[i] * (grad->plus_one ? 1.0 + grad->w[i] : grad->w[i]) * (x[i] * scale);
        mean /= (double)n;
        for (int64_t i = 0; i < n; i++) {
            double z = x[i] * scale,
                   by_z = dy[i] * (grad->plus_one ? 1.0 + grad->w[i] : grad->w[i]);
            if (dw) dw[i] += dy[i] * z;
            dx[i] = (float)(scale * (by_z - z * mean) + (grad->add ? dx[i] : 0));
        }
    }
}
