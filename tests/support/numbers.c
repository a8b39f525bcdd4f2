/* numbers.c: see numbers.h. */
#include "support/numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void on_every_isa(on_isa_fn *check) {
    msa_isa isas[MSA_ISA_COUNT], before = msa_isa_current();
    int n_isas = isas_available(isas);
    for (int k = 0; k < n_isas; k++) {
        rng r = rng_seed(21);
        assert_ok(msa_isa_use(isas[k], NULL), NULL);
        check(&r);
    }
    assert_ok(msa_isa_use(before, NULL), NULL);
}

static float *allocate(size_t n) {
    float *x = malloc((n ? n : 1) * sizeof *x);
    assert_non_null(x);
    return x;
}

float *random_floats(rng *r, size_t n, float sigma) {
    float *x = allocate(n);
    rng_fill_normal(r, x, n, sigma);
    return x;
}

float *floats_of(size_t n, float value) {
    float *x = allocate(n);
    for (size_t i = 0; i < n; i++) x[i] = value;
    return x;
}

float *copy_floats(const float *x, size_t n) {
    float *copy = allocate(n);
    memcpy(copy, x, n * sizeof *x);
    return copy;
}

void assert_close(const char *what, const float *found, const float *expected, size_t n,
                  double relative, double absolute) {
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)found[i] - expected[i]);
        if (!(error <= relative * fabs((double)expected[i]) + absolute))
            fail_msg("%s on %s, element %zu of %zu: %.9g; expected %.9g", what,
                     msa_isa_name(msa_isa_current()), i, n, (double)found[i], (double)expected[i]);
    }
}

double slope_of(loss_fn *loss, void *data, float *at) {
    const float step = 0x1p-6f, middle = *at;
    double near[2], far[2], near_width = 0, far_width = 0;
    for (int side = 0; side < 2; side++) {
        float sign = side ? -1.0f : 1.0f;
        *at = middle + sign * step;
        near_width += sign * (double)*at;
        near[side] = loss(data);
        *at = middle + sign * 2 * step;
        far_width += sign * (double)*at;
        far[side] = loss(data);
    }
    *at = middle;
    return (4 * (near[0] - near[1]) / near_width - (far[0] - far[1]) / far_width) / 3;
}

void assert_slope(loss_fn *loss, void *data, float *x, double slope, const char *what) {
    float old = *x, low = old - 0x1p-9f, high = old + 0x1p-9f;
    *x = high;
    double above = loss(data);
    *x = low;
    double below = loss(data), found = (above - below) / ((double)high - low);
    *x = old;
    if (!(fabs(found - slope) <= 1e-4 * (1 + fabs(slope))))
        fail_msg("%s: the reference says %g, finite differences %g", what, slope, found);
}

void *new_array(size_t n, size_t size) {
    void *p = calloc(n + 1, size);
    if (!p) fail_msg("no memory for a test");
    return p;
}
