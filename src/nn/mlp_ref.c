/* mlp_ref.c: SwiGLU by its definition. */
#include <math.h>

#include "nn/mlp.h"

void mlp_swiglu_ref(const float *gate, const float *up, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double g = gate[i];
        y[i] = (float)(g / (1 + exp(-g)) * up[i]);
    }
}
