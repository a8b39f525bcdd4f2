/* tensor_list.h: every tensor a model of some architecture consists of: its name in safetensors
 * files, its shape, and its name in GGUF files. Loaders look them up, writers write them, the
 * trainer's parameters are these.
 *
 * Names are those of the published checkpoints, "model." in front and nothing before it:
 *
 *   model.embed_tokens.weight                     [n_vocab, n_embd]
 *   model.layers.L.input_layernorm.weight         [1, n_embd]
 *   model.layers.L.self_attn.{q,k,v}_proj.weight  [heads * head_dim, n_embd]   (.bias where asked)
 *   model.layers.L.self_attn.o_proj.weight        [n_embd, n_q_heads * head_dim]
 *   model.layers.L.self_attn.{q,k}_norm.weight    [1, head_dim]
 *   model.layers.L.self_attn.index_q_proj.weight  [n_kv_heads * di, n_embd]    layers with an index
 *   model.layers.L.self_attn.index_k_proj.weight  [di, n_embd]
 *   model.layers.L.self_attn.index_{q,k}_norm.weight  [1, di]                  where qk_norm
 *   model.layers.L.post_attention_layernorm.weight    [1, n_embd]
 *   model.layers.L.mlp.{gate,up,down}_proj.weight                              dense MLP
 *   model.layers.L.block_sparse_moe.gate.weight   [n_experts, n_embd]          mixture of experts
 *   model.layers.L.block_sparse_moe.e_score_correction_bias       [1, n_experts]
 *   model.layers.L.block_sparse_moe.experts.E.{w1,w3,w2}.weight   gate, up, down of an expert
 *   model.layers.L.block_sparse_moe.shared_experts.{gate,up,down}_proj.weight
 *   model.norm.weight                             [1, n_embd]
 *   lm_head.weight                                [n_vocab, n_embd]            unless tied
 *
 * The numbers too are those of safetensors: norms of M3 without the 1 added to them, RoPE pairs
 * half a head apart. */
#ifndef MSA_MODEL_TENSOR_LIST_H
#define MSA_MODEL_TENSOR_LIST_H

#include "model/arch.h"

typedef enum tensor_role {
    TENSOR_EMBED,
    TENSOR_ATTN_NORM,
    TENSOR_Q,
    TENSOR_K,
    TENSOR_V,
    TENSOR_O,
    TENSOR_Q_BIAS,
    TENSOR_K_BIAS,
    TENSOR_V_BIAS,
    TENSOR_Q_NORM,
    TENSOR_K_NORM,
    TENSOR_INDEX_Q,
    TENSOR_INDEX_K,
    TENSOR_INDEX_Q_NORM,
    TENSOR_INDEX_K_NORM,
    TENSOR_INDEX_V, /* with arch_index.value alone: an ablation that no other program knows */
    TENSOR_INDEX_O,
    TENSOR_FFN_NORM,
    TENSOR_GATE,
    TENSOR_UP,
    TENSOR_DOWN,
    TENSOR_ROUTER,
    TENSOR_ROUTER_BIAS,
    TENSOR_EXPERT_GATE,
    TENSOR_EXPERT_UP,
    TENSOR_EXPERT_DOWN,
    TENSOR_SHARED_GATE,
    TENSOR_SHARED_UP,
    TENSOR_SHARED_DOWN,
    TENSOR_OUTPUT_NORM,
    TENSOR_OUTPUT,
    TENSOR_ROLE_COUNT
} tensor_role;

enum { TENSOR_NAME = 96 };

typedef struct tensor_spec {
    char name[TENSOR_NAME];
    tensor_role role;
    int32_t layer, expert; /* -1: none */
    int64_t n_out, n_in;   /* rows and their length; a vector is [1, n] */
} tensor_spec;

typedef struct tensor_list {
    int64_t n;
    tensor_spec *specs; /* embedding, layer after layer, output */
} tensor_list;

/* How many tensors there are; INT64_MAX where they are more than that. Compare it with what a file
 * holds before asking for a list. */
int64_t tensor_list_count(const arch *a);
/* MSA_E_NOMEM; MSA_E_ARG where there would be more than 2^24. */
msa_status tensor_list_create(tensor_list *list, const arch *a, msa_error *err);
void tensor_list_free(tensor_list *list);

/* One of them, by what it is. layer and expert are -1 where the role has none. */
tensor_spec tensor_spec_of(const arch *a, tensor_role role, int32_t layer, int32_t expert);

/* Gives n rows of a tensor from `row` on, as f32 in the order and sense of this list. */
typedef msa_status tensor_rows_fn(void *user, const tensor_spec *spec, int64_t row, int64_t n,
                                  float *out, msa_error *err);

/* Whether a layer has tensors of a role. */
bool tensor_layer_has(const arch *a, int32_t layer, tensor_role role);
/* Whether layer `layer` has an index branch, or a mixture of experts instead of one MLP. */
bool tensor_layer_has_index(const arch *a, int32_t layer);
bool tensor_layer_has_experts(const arch *a, int32_t layer);

/* A vector of a normalisation, to which M3 adds 1 (GGUF files hold the sum). */
bool tensor_is_norm(tensor_role role);
bool tensor_is_vector(tensor_role role);
bool tensor_is_index(tensor_role role); /* of the index branch */
bool tensor_is_expert(tensor_role role);

/* Its name in GGUF files; experts of a layer share one stacked tensor. */
void tensor_gguf_name(const tensor_spec *spec, char out[TENSOR_NAME]);
/* Its name as transformers has it in memory, where that differs ("mlp.gate" for
 * "block_sparse_moe.gate"); else the same. Some files are written so. */
void tensor_inner_name(const tensor_spec *spec, char out[TENSOR_NAME]);

#endif
