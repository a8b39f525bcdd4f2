/* mlp_ref.c: both gates by their definition. */
#include <math.h>

#include "nn/mlp.h"

void mlp_swiglu_ref(const float *gate, const float *up, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double g = gate[i];
        y[i] = (float)(g / (1 + exp(-g)) * up[i]);
    }
}

/* NaN stays what it is. */
static double clamp(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

void mlp_swiglu_oai_ref(const mlp_oai *oai, const float *gate, const float *up, float *y,
                        int64_t n) {
    double alpha = oai->alpha, limit = oai->limit;
    for (int64_t i = 0; i < n; i++) {
        double g = clamp(gate[i], -INFINITY, limit), u = clamp(up[i], -limit, limit);
        y[i] = (float)((u + 1) * g / (1 + exp(-alpha * g)));
    }
}

/* d silu(g) / dg = s + g s (1 - s), s the sigmoid of g. */
void mlp_swiglu_grad_ref(const float *gate, const float *up, const float *dy, float *dgate,
                         float *dup, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double g = gate[i], u = up[i], d = dy[i], s = 1 / (1 + exp(-g));
        dgate[i] = (float)(d * u * (s + g * s * (1 - s)));
        dup[i] = (float)(d * g * s);
    }
}

void mlp_swiglu_oai_grad_ref(const mlp_oai *oai, const float *gate, const float *up,
                             const float *dy, float *dgate, float *dup, int64_t n) {
    double alpha = oai->alpha, limit = oai->limit;
    for (int64_t i = 0; i < n; i++) {
        double g = clamp(gate[i], -INFINITY, limit), u = clamp(up[i], -limit, limit), d = dy[i];
        double s = 1 / (1 + exp(-alpha * g));
        double by_gate = d * (u + 1) * (s + alpha * g * s * (1 - s)), by_up = d * g * s;
        dgate[i] = gate[i] > limit ? 0 : (float)by_gate;
        dup[i] = fabs((double)up[i]) > limit ? 0 : (float)by_up;
    }
}
