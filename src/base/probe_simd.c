/* probe_simd.c: the kernels of probe.h. */
#include "base/probe.h"

#include "base/simd.h"

/* Enough chains to cover the latency of a multiply-add on every pipe (4 cycles on 2 pipes, or on 4
 * of half the width), few enough to stay in registers: 12 of AVX-512's 32, 12 of AVX2's 16, 16 of
 * NEON's 32. A scalar word is four SSE registers of 16 and rounds twice. */
#if defined(SIMD_ISA_AVX512)
#define CHAINS 12
#elif defined(SIMD_ISA_AVX2)
#define CHAINS 6
#elif defined(SIMD_ISA_NEON)
#define CHAINS 5
#else
#define CHAINS 2
#endif

probe_fma_fn SIMD_NAME(probe_fma);
probe_read_fn SIMD_NAME(probe_read);

float SIMD_NAME(probe_fma)(int64_t n, int64_t *flops_per_round) {
    vf chain[CHAINS], factor = v_set1(0.999f), term = v_set1(1e-3f), sum = v_zero();
    float start[CHAINS * V_LANES]; /* no two alike: equal lanes would be computed once */
    for (int i = 0; i < CHAINS * V_LANES; i++) start[i] = (float)i;
    SIMD_UNROLL
    for (int i = 0; i < CHAINS; i++) chain[i] = v_load(start + i * V_LANES);
    for (int64_t round = 0; round < n; round++) {
        SIMD_UNROLL
        for (int i = 0; i < CHAINS; i++) chain[i] = v_muladd(chain[i], factor, term);
    }
    SIMD_UNROLL
    for (int i = 0; i < CHAINS; i++) sum = v_add(sum, chain[i]);
    *flops_per_round = (int64_t)2 * CHAINS * V_LANES;
    return v_sum(sum);
}

/* Page after page, 2 KiB a step; hardware prefetchers like nothing better. */
float SIMD_NAME(probe_read)(const float *p, size_t n) {
    vf sum[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    for (size_t at = 0; at < n; at += PROBE_READ_STEP) {
        SIMD_UNROLL
        for (size_t i = 0; i < PROBE_READ_STEP; i += V_LANES)
            sum[i / V_LANES % 4] = v_add(sum[i / V_LANES % 4], v_load(p + at + i));
    }
    return v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
}
