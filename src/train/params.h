/* params.h: the weights that are trained: every tensor of a model in one array, its gradient at
 * the same place of another, so that the optimiser, clipping and checkpoints see plain arrays.
 *
 * Names and shapes are those of safetensors files of the family ("model.layers.3.self_attn.q_proj
 * .weight", [out, in] row-major; norms of M3 without the 1 that is added to them); split-half RoPE
 * order. Writers translate. */
#ifndef MSA_TRAIN_PARAMS_H
#define MSA_TRAIN_PARAMS_H

#include "model/arch.h"

typedef struct param {
    char name[96];
    int64_t n_out, n_in; /* a vector is [1, n] */
    int64_t at;          /* of its first element, in both arrays */
    bool decay;          /* weight decay applies: matrices, not norms and biases */
    bool index;          /* belongs to the index branch: its own learning rate, moved by KL only */
    bool frozen;         /* no gradient is computed or applied */
} param;

typedef struct params {
    arch arch;
    int32_t n;
    param *list;
    int64_t n_floats;
    float *w, *g;
    float *router_bias; /* [n_layers, n_experts]: moved by load balance, not by a gradient */
} params;

#endif
