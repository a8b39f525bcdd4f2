/* kernels.c: the kernel table as data: one column per instruction set of this build. */
#include "nn/kernels.h"

#include "msa/msa.h"

#define COLUMN(isa)                                                                                \
    {                                                                                              \
        &quant_kernels_##isa, norm_rms_##isa, norm_rms_grad_##isa, rope_apply_##isa,               \
            mlp_swiglu_##isa, mlp_swiglu_oai_##isa, mlp_swiglu_grad_##isa,                         \
            mlp_swiglu_oai_grad_##isa, experts_combine_##isa, experts_combine_grad_##isa,          \
            loss_softmax_##isa                                                                     \
    }
#define DECLARE(isa)                                                                               \
    extern const quant_kernels quant_kernels_##isa;                                                \
    extern norm_rms_fn norm_rms_##isa;                                                             \
    extern norm_rms_grad_fn norm_rms_grad_##isa;                                                   \
    extern rope_apply_fn rope_apply_##isa;                                                         \
    extern mlp_swiglu_fn mlp_swiglu_##isa;                                                         \
    extern mlp_swiglu_oai_fn mlp_swiglu_oai_##isa;                                                 \
    extern mlp_swiglu_grad_fn mlp_swiglu_grad_##isa;                                               \
    extern mlp_swiglu_oai_grad_fn mlp_swiglu_oai_grad_##isa;                                       \
    extern experts_combine_fn experts_combine_##isa;                                               \
    extern experts_combine_grad_fn experts_combine_grad_##isa;                                     \
    extern loss_softmax_fn loss_softmax_##isa;

DECLARE(scalar)
#if defined(__x86_64__)
DECLARE(avx2)
DECLARE(avx512)
#elif defined(__aarch64__)
DECLARE(neon)
#endif

static const nn_kernels TABLE[MSA_ISA_COUNT] = {
    [MSA_ISA_SCALAR] = COLUMN(scalar),
#if defined(__x86_64__)
    [MSA_ISA_AVX2] = COLUMN(avx2),
    [MSA_ISA_AVX512] = COLUMN(avx512),
#elif defined(__aarch64__)
    [MSA_ISA_NEON] = COLUMN(neon),
#endif
};

const nn_kernels *nn_kernels_get(void) {
    return &TABLE[msa_isa_current()];
}
