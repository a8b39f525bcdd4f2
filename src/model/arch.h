/* arch.h: what a model of one of our families is made of, as plain numbers: the loaders fill it
 * from GGUF keys or a config.json, the trainer from its configuration, the writers write it.
 *
 * Two families: Llama (RMSNorm with w, full RoPE, SwiGLU; Qwen2 and Qwen3 differ by rows of a
 * table), dense or with an index branch added; and MiniMax-M3 (norm of every head of Q and K,
 * partial RoPE, clamped SwiGLU, leading dense layers, mixture of experts). */
#ifndef MSA_MODEL_ARCH_H
#define MSA_MODEL_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef enum arch_family {
    ARCH_LLAMA = 0,
    ARCH_QWEN2,
    ARCH_QWEN3,
    ARCH_MINIMAX_M3,
    ARCH_FAMILY_COUNT
} arch_family;

/* The index branch of the layers that have one. Its heads are one per group (n_kv_heads), its key
 * is one for all groups; it is normalised and rotated exactly as Q and K of its family. */
typedef struct arch_index {
    bool present;
    int32_t dim;                      /* di */
    int32_t block, topk, local, init; /* as in msa_shape; M3's files know no init: 0 */
    bool value; /* ablation, trained but never written: a value and an output of its own */
} arch_index;

typedef struct arch_moe {
    bool present;
    int32_t n_experts, n_used; /* experts a token goes through, the shared one not counted */
    int32_t n_ff, n_ff_shared; /* width of an expert, of the shared expert (0: none) */
    float scale;               /* routed_scaling_factor: after the weights are made to sum to 1 */
} arch_moe;

typedef struct arch {
    arch_family family;
    int32_t n_layers, n_embd, n_q_heads, n_kv_heads, head_dim, n_vocab, n_ctx_train;
    int32_t n_ff; /* of the dense feed-forward layers */
    int32_t n_rot;
    double rope_base;
    float norm_eps;
    bool tied;       /* the output projection is the embedding */
    bool qk_norm;    /* RMSNorm of each head of Q and K (and of the index) before RoPE */
    bool qkv_bias;   /* Qwen2 */
    bool swiglu_oai; /* g = min(gate, limit), u = clamp(up), (u + 1) g sigmoid(alpha g) */
    float swiglu_alpha, swiglu_limit;
    int32_t n_dense_layers; /* the first of them: dense attention and, in M3, a dense MLP */
    arch_index index;
    arch_moe moe;
} arch;

#endif
