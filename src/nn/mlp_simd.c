/* mlp_simd.c: SwiGLU, sixteen at a time. */
#include "base/simd.h"
#include "nn/mlp.h"

/* Below -88 the result is what it is at -88 times g / -88, far under anything that counts. */
SIMD_INLINE vf swiglu(vf g, vf u) {
    vf e = v_exp(v_min(v_set1(88), v_sub(v_zero(), g)));
    return v_mul(v_div(g, v_add(v_set1(1), e)), u);
}

extern mlp_swiglu_fn SIMD_NAME(mlp_swiglu);
void SIMD_NAME(mlp_swiglu)(const float *gate, const float *up, float *y, int64_t n) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(y + i, swiglu(v_load(gate + i), v_load(up + i)));
    int rest = (int)(n - i);
    if (rest > 0)
        v_store_part(y + i, swiglu(v_load_part(gate + i, rest), v_load_part(up + i, rest)), rest);
}
