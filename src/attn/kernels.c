/* kernels.c: the kernel table as data: one column per instruction set of this build. */
#include "attn/kernels.h"

#define COLUMN(isa)                                                                                \
    {                                                                                              \
        pack_panels_##isa, pack_rows_##isa, widen_panels_##isa, score_block_##isa,                 \
            attend_block_##isa, select_above_##isa, select_floor_##isa, mass_block_##isa,          \
            mass_share_##isa, merge_parts_##isa, attend_grad_##isa, loss_lse_##isa,                \
            loss_teacher_##isa, loss_student_##isa, e4m3_bounds_##isa, e4m3_grad_##isa,            \
            e4m3_values_##isa, index8_bound_##isa, index8_panels_##isa                             \
    }
#define DECLARE(isa)                                                                               \
    extern pack_panels_fn pack_panels_##isa;                                                       \
    extern pack_rows_fn pack_rows_##isa;                                                           \
    extern widen_panels_fn widen_panels_##isa;                                                     \
    extern score_block_fn score_block_##isa;                                                       \
    extern attend_block_fn attend_block_##isa;                                                     \
    extern select_above_fn select_above_##isa;                                                     \
    extern select_floor_fn select_floor_##isa;                                                     \
    extern mass_block_fn mass_block_##isa;                                                         \
    extern mass_share_fn mass_share_##isa;                                                         \
    extern merge_parts_fn merge_parts_##isa;                                                       \
    extern attend_grad_fn attend_grad_##isa;                                                       \
    extern loss_lse_fn loss_lse_##isa;                                                             \
    extern loss_teacher_fn loss_teacher_##isa;                                                     \
    extern loss_student_fn loss_student_##isa;                                                     \
    extern e4m3_bounds_fn e4m3_bounds_##isa;                                                       \
    extern e4m3_grad_fn e4m3_grad_##isa;                                                           \
    extern e4m3_values_fn e4m3_values_##isa;                                                       \
    extern index8_bound_fn index8_bound_##isa;                                                     \
    extern index8_panels_fn index8_panels_##isa;

DECLARE(scalar)
#if defined(__x86_64__)
DECLARE(avx2)
DECLARE(avx512)
#elif defined(__aarch64__)
DECLARE(neon)
#endif

static const attn_kernels TABLE[MSA_ISA_COUNT] = {
    [MSA_ISA_SCALAR] = COLUMN(scalar),
#if defined(__x86_64__)
    [MSA_ISA_AVX2] = COLUMN(avx2),
    [MSA_ISA_AVX512] = COLUMN(avx512),
#elif defined(__aarch64__)
    [MSA_ISA_NEON] = COLUMN(neon),
#endif
};

const attn_kernels *attn_kernels_get(void) {
    return &TABLE[msa_isa_current()];
}
