/* kernels.h: the table of CPU kernels of this room. The types are declared once, in the header of
 * their operator; nn_kernels_get() gives the column of the instruction set in use. A kernel takes a
 * range of rows, tokens or elements; which ones together is its caller's choice, by shape.
 *
 * Adding a kernel: its type beside its operator, one line in the struct, two in the lists of
 * kernels.c, and a X_simd.c. Adding an instruction set: one header of SIMD words and one column. */
#ifndef MSA_NN_KERNELS_H
#define MSA_NN_KERNELS_H

#include "nn/experts.h"
#include "nn/loss.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/quant.h"
#include "nn/rope.h"

typedef struct nn_kernels {
    const quant_kernels *quant; /* one pair for each format */
    norm_rms_fn *norm_rms;
    norm_rms_grad_fn *norm_rms_grad;
    rope_apply_fn *rope_apply;
    mlp_swiglu_fn *mlp_swiglu;
    mlp_swiglu_oai_fn *mlp_swiglu_oai;
    mlp_swiglu_grad_fn *mlp_swiglu_grad;
    mlp_swiglu_oai_grad_fn *mlp_swiglu_oai_grad;
    experts_combine_fn *experts_combine;
    experts_combine_grad_fn *experts_combine_grad;
    loss_softmax_fn *loss_softmax;
} nn_kernels;

const nn_kernels *nn_kernels_get(void);

#endif
