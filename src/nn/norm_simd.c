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

SIMD_INLINE vf load(const float *p, int part) {
    return part == 16 ? v_load(p) : v_load_part(p, part);
}
SIMD_INLINE void store(float *p, vf a, int part) {
    if (part == 16)
        v_store(p, a);
    else
        v_store_part(p, a, part);
}

/* One row of the backward pass: dx = rate * dy g - pull * x. */
typedef struct grad_row {
    const float *x, *dy, *w;
    float *dx, *dw; /* dw NULL where not wanted */
    int add;
    vf one; /* what is added to w */
} grad_row;

SIMD_INLINE void add_sums(const grad_row *row, int64_t i, int part, vf *squares, vf *products) {
    vf x = load(row->x + i, part), g = v_add(load(row->w + i, part), row->one);
    *squares = v_muladd(x, x, *squares);
    *products = v_muladd(v_mul(load(row->dy + i, part), g), x, *products);
}

SIMD_INLINE void write_grad(const grad_row *row, int64_t i, int part, vf rate, vf pull) {
    vf x = load(row->x + i, part), dy = load(row->dy + i, part);
    vf g = v_add(load(row->w + i, part), row->one);
    vf dx = v_sub(v_mul(v_mul(dy, g), rate), v_mul(x, pull));
    if (row->dw) store(row->dw + i, v_muladd(dy, v_mul(x, rate), load(row->dw + i, part)), part);
    store(row->dx + i, row->add ? v_add(load(row->dx + i, part), dx) : dx, part);
}

SIMD_INLINE void grad_of_row(const grad_row *row, int64_t n, float eps) {
    vf squares = v_zero(), products = v_zero();
    int64_t whole = n / 16 * 16;
    int rest = (int)(n - whole);
    for (int64_t i = 0; i < whole; i += 16) add_sums(row, i, 16, &squares, &products);
    if (rest) add_sums(row, whole, rest, &squares, &products);
    float rate = 1 / sqrtf(v_sum(squares) / (float)n + eps);
    vf rates = v_set1(rate), pull = v_set1(rate * rate * rate * v_sum(products) / (float)n);
    for (int64_t i = 0; i < whole; i += 16) write_grad(row, i, 16, rates, pull);
    if (rest) write_grad(row, whole, rest, rates, pull);
}

extern norm_rms_grad_fn SIMD_NAME(norm_rms_grad);
void SIMD_NAME(norm_rms_grad)(const norm_grad *grad, int64_t from, int64_t to, float *dw_part) {
    vf one = v_set1(grad->plus_one ? 1 : 0);
    if (dw_part) memset(dw_part, 0, (size_t)grad->n * sizeof *dw_part);
    for (int64_t r = from; r < to; r++) {
        grad_row row = {grad->x + r * grad->x_stride,
                        grad->dy + r * grad->dy_stride,
                        grad->w,
                        grad->dx + r * grad->dx_stride,
                        dw_part,
                        grad->add,
                        one};
        grad_of_row(&row, grad->n, grad->eps);
    }
}
