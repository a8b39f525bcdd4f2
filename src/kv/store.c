/* store.c: which store kernels run. */
#include "kv/store.h"

extern const store_kernels store_kernels_scalar, store_kernels_avx2, store_kernels_avx512,
    store_kernels_neon;

static const store_kernels *const TABLE[MSA_ISA_COUNT] = {
    [MSA_ISA_SCALAR] = &store_kernels_scalar,
#if defined(__x86_64__)
    [MSA_ISA_AVX2] = &store_kernels_avx2,
    [MSA_ISA_AVX512] = &store_kernels_avx512,
#elif defined(__aarch64__)
    [MSA_ISA_NEON] = &store_kernels_neon,
#endif
};

const store_kernels *store_kernels_current(void) {
    return TABLE[msa_isa_current()];
}
