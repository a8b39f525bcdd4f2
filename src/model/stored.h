/* stored.h: the tensors of a list as files have them: which are joined or stacked, under which name
 * and shape, in which format, in which order of rows and with which offset.
 *
 * GGUF is llama.cpp's layout: the experts of a layer stacked, norms of M3 with the 1 in them, and
 * for architecture llama the rotated rows of each head of Q, K and the index in adjacent pairs.
 * safetensors are what transformers loads: for M3 gate and up joined, experts stacked.
 * Vectors, the router and the index branch are F32 in both, whatever the matrices are: they are
 * small, and choices hang on them. An adapter's matrices are what is asked for. */
#ifndef MSA_MODEL_STORED_H
#define MSA_MODEL_STORED_H

#include "model/tensor_list.h"

typedef enum stored_layout {
    STORED_GGUF,
    STORED_SAFETENSORS,
    STORED_ADAPTER /* GGUF, the index branch alone */
} stored_layout;

/* The bytes are those of expert 0, role 0, role 1, of expert 1, ... */
typedef struct stored_tensor {
    char name[TENSOR_NAME];
    uint32_t type; /* of nn/quant.h */
    int n_dims;
    uint64_t shape[3];        /* outermost first */
    int32_t layer, n_experts; /* n_experts 0: none, expert is -1 */
    tensor_role roles[2];
    int n_roles;
} stored_tensor;

typedef struct stored_list {
    stored_tensor *tensors;
    size_t n, capacity;
} stored_list;

/* `type` is that of the matrices; rows that its blocks do not divide become F16. */
msa_status stored_list_create(stored_list *list, const arch *a, stored_layout layout, uint32_t type,
                              msa_error *err);
void stored_list_free(stored_list *list);

/* Width of a head whose rows GGUF has in another order than safetensors; 0: the same order. */
int32_t stored_permuted_head(const arch *a, tensor_role role);
/* Which row of safetensors is row `row` of a GGUF tensor of such heads, and the way back. */
int64_t stored_row_from_gguf(const arch *a, int32_t head, int64_t row);
int64_t stored_row_in_gguf(const arch *a, int32_t head, int64_t row);
/* What GGUF adds to every number: 1 for the norms of M3, else 0. */
float stored_gguf_offset(const arch *a, tensor_role role);

#endif
