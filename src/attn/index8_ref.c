/* index8_ref.c: the truth of the int8 copy: the rotation as a matrix, bounds by their formula. */
#include <math.h>

#include "attn/index8.h"
#include "base/half.h"
#include "base/random.h"

static double sign_of(int pass, int c) {
    return random_u64(INDEX8_SEED, (uint64_t)(4 * pass + c / 64)) >> c % 64 & 1 ? -1 : 1;
}

/* Signs, then the Hadamard matrix of order n, (-1)^(ones of i and j) / sqrt(n), from `first` on. */
static void pass_of(double *x, int dim, int pass, int first, int n) {
    double y[256];
    for (int c = 0; c < dim; c++) x[c] *= sign_of(pass, c);
    for (int i = 0; i < n; i++) {
        y[i] = 0;
        for (int j = 0; j < n; j++)
            y[i] += (__builtin_popcount((unsigned)(i & j)) % 2 ? -1 : 1) * x[first + j];
    }
    for (int i = 0; i < n; i++) x[first + i] = y[i] / sqrt(n);
}

void index8_rotate_ref(const float *x, int dim, double *y) {
    int n = 8;
    while (2 * n <= dim) n *= 2;
    for (int c = 0; c < dim; c++) y[c] = x[c];
    pass_of(y, dim, 0, 0, n);
    if (n < dim) pass_of(y, dim, 1, dim - n, n);
}

index8_interval index8_bound_ref(const index8_query *q, const int16_t *numbers, const void *copy,
                                 int dim, int block, int token) {
    const int8_t *k8 = (const int8_t *)copy + token / 16 * 16 * dim + token % 16 * 2;
    const index8_tail *tail = index8_tail_of(copy, dim, block);
    double scale = bf16_to_f32(index8_scales(copy, dim, block)[token]), dot = 0;
    for (int c = 0; c < dim; c++) dot += (double)numbers[c] * k8[c / 2 * 32 + c % 2];
    return (index8_interval){scale * q->scale * dot,
                             scale * tail->ratio * q->norm + index8_slack(q, tail, dim)};
}
