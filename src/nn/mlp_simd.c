/* mlp_simd.c: both gates, sixteen at a time. */
#include "base/simd.h"
#include "nn/mlp.h"

/* 1 + e^-x. Below -88 what it is there: far under anything that counts, and finite. */
SIMD_INLINE vf one_plus_exp(vf x) {
    return v_add(v_set1(1), v_exp(v_min(v_set1(88), v_sub(v_zero(), x))));
}

/* By g and u of y = u g s, s = 1 / (1 + e) = sigmoid(alpha g), e = e^-(alpha g):
 * 1 - s is e s, which does not cancel. */
typedef struct slopes {
    vf gate, up;
} slopes;

SIMD_INLINE slopes gate_slopes(vf alpha, vf g, vf u, vf d) {
    vf z = v_mul(alpha, g), e = v_exp(v_min(v_set1(88), v_sub(v_zero(), z)));
    vf s = v_div(v_set1(1), v_add(v_set1(1), e));
    vf rise = v_muladd(v_mul(z, s), v_mul(e, s), s);
    return (slopes){v_mul(v_mul(d, u), rise), v_mul(d, v_mul(g, s))};
}

SIMD_INLINE slopes gate_slopes_oai(vf alpha, vf limit, vf gate, vf up, vf d) {
    vf least = v_sub(v_zero(), limit), g = v_min(limit, gate), u = v_max(least, v_min(limit, up));
    slopes by = gate_slopes(alpha, g, v_add(u, v_set1(1)), d);
    by.gate = v_if_gt(gate, limit, v_zero(), by.gate);
    by.up = v_if_gt(up, limit, v_zero(), v_if_gt(least, up, v_zero(), by.up));
    return by;
}

SIMD_INLINE vf swiglu(vf g, vf u) {
    return v_mul(v_div(g, one_plus_exp(g)), u);
}

/* v_min and v_max give their second argument where it is NaN. */
SIMD_INLINE vf swiglu_oai(vf alpha, vf limit, vf gate, vf up) {
    vf g = v_min(limit, gate), u = v_max(v_sub(v_zero(), limit), v_min(limit, up));
    return v_mul(v_add(u, v_set1(1)), v_div(g, one_plus_exp(v_mul(alpha, g))));
}

/* Elements i .. i + part - 1; part is the constant 16 but at the end. */
SIMD_INLINE vf load(const float *p, int part) {
    return part == 16 ? v_load(p) : v_load_part(p, part);
}
SIMD_INLINE void store(float *p, vf a, int part) {
    if (part == 16)
        v_store(p, a);
    else
        v_store_part(p, a, part);
}

extern mlp_swiglu_fn SIMD_NAME(mlp_swiglu);
void SIMD_NAME(mlp_swiglu)(const float *gate, const float *up, float *y, int64_t n) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) v_store(y + i, swiglu(v_load(gate + i), v_load(up + i)));
    int rest = (int)(n - i);
    if (rest > 0)
        v_store_part(y + i, swiglu(v_load_part(gate + i, rest), v_load_part(up + i, rest)), rest);
}

extern mlp_swiglu_oai_fn SIMD_NAME(mlp_swiglu_oai);
void SIMD_NAME(mlp_swiglu_oai)(const mlp_oai *oai, const float *gate, const float *up, float *y,
                               int64_t n) {
    vf alpha = v_set1(oai->alpha), limit = v_set1(oai->limit);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        v_store(y + i, swiglu_oai(alpha, limit, v_load(gate + i), v_load(up + i)));
    int rest = (int)(n - i);
    if (rest == 0) return;
    vf g = v_load_part(gate + i, rest), u = v_load_part(up + i, rest);
    v_store_part(y + i, swiglu_oai(alpha, limit, g, u), rest);
}

/* What both backward kernels read and write, at element i. */
typedef struct gate_arrays {
    const float *gate, *up, *dy;
    float *dgate, *dup;
} gate_arrays;

SIMD_INLINE void write_slopes(const gate_arrays *a, const slopes *by, int64_t i, int part) {
    store(a->dgate + i, by->gate, part);
    store(a->dup + i, by->up, part);
}

SIMD_INLINE void grad_at(const gate_arrays *a, int64_t i, int part) {
    slopes by = gate_slopes(v_set1(1), load(a->gate + i, part), load(a->up + i, part),
                            load(a->dy + i, part));
    write_slopes(a, &by, i, part);
}

SIMD_INLINE void grad_oai_at(const mlp_oai *oai, const gate_arrays *a, int64_t i, int part) {
    slopes by = gate_slopes_oai(v_set1(oai->alpha), v_set1(oai->limit), load(a->gate + i, part),
                                load(a->up + i, part), load(a->dy + i, part));
    write_slopes(a, &by, i, part);
}

extern mlp_swiglu_grad_fn SIMD_NAME(mlp_swiglu_grad);
void SIMD_NAME(mlp_swiglu_grad)(const float *gate, const float *up, const float *dy, float *dgate,
                                float *dup, int64_t n) {
    gate_arrays a = {gate, up, dy, dgate, dup};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) grad_at(&a, i, 16);
    if (i < n) grad_at(&a, i, (int)(n - i));
}

extern mlp_swiglu_oai_grad_fn SIMD_NAME(mlp_swiglu_oai_grad);
void SIMD_NAME(mlp_swiglu_oai_grad)(const mlp_oai *oai, const float *gate, const float *up,
                                    const float *dy, float *dgate, float *dup, int64_t n) {
    gate_arrays a = {gate, up, dy, dgate, dup};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) grad_oai_at(oai, &a, i, 16);
    if (i < n) grad_oai_at(oai, &a, i, (int)(n - i));
}
