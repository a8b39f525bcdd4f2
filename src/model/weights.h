/* weights.h: what a GGUF file's keys say of a model (model/arch.h), and every tensor a forward pass
 * needs, each checked for presence, format and shape before anything runs.
 *
 * Architectures differ by a row of a table (weights_keys.c): llama (and SmolLM2, Mistral: adjacent
 * RoPE pairs), qwen2 (biases on Q, K, V), qwen3 (norms on the heads of Q and K), minimax-m3 (those
 * norms, partial RoPE, clamped SwiGLU, experts, an index branch behind the leading dense layers;
 * keys and names are llama.cpp's). Nothing is copied: all pointers go into the file, which must
 * stay open. A file that holds a tensor the family has no place for is refused, since ignoring it
 * would compute something else than its authors meant.
 *
 * The Llama families may have an index branch too: tensors `blk.N.indexer.{q_proj,k_proj}.weight`,
 * and `.{q_norm,k_norm}.weight` where the family norms its heads, in every layer from
 * `msa.leading_dense_block_count` on, with the keys
 *
 *     msa.indexer.{head_count,key_length,top_k,block_size,local_blocks,init_blocks}   u32
 *     msa.leading_dense_block_count                                                  u32
 *
 * either in the model's own file or, the base untouched, in a file of architecture `msa-index` that
 * holds nothing else but which base it was trained for:
 *
 *     msa.base.architecture                                                           string
 *     msa.base.{block_count,embedding_length,head_count,head_count_kv,key_length}     u32
 *     msa.base.fingerprint                                          string: 16 hex digits, below
 *
 * The rows of indexer.q_proj and k_proj (and the norms) lie in the RoPE order of the architecture,
 * as attn_q's do: for llama the first rope.dimension_count rows of a head are in adjacent pairs. */
#ifndef MSA_MODEL_WEIGHTS_H
#define MSA_MODEL_WEIGHTS_H

#include "model/arch.h"
#include "model/gguf.h"
#include "model/safetensors.h"
#include "nn/gemm.h"
#include "nn/quant.h"
#include "nn/rope.h"

typedef struct weights_mlp {
    gemm_weight gate, up; /* [n_ff, n_embd] */
    gemm_weight down;     /* [n_embd, n_ff] */
} weights_mlp;

typedef struct weights_layer {
    const float *attn_norm;     /* [n_embd] */
    gemm_weight wq, wk, wv, wo; /* [heads * head_dim, n_embd]; wo [n_embd, n_q_heads * head_dim] */
    const float *bq, *bk, *bv;  /* [heads * head_dim], or NULL */
    const float *q_norm, *k_norm; /* [head_dim], applied per head before RoPE, or NULL */
    const float *ffn_norm;        /* [n_embd] */
    /* A dense feed-forward layer; in a mixture of experts the shared one (data NULL without). */
    weights_mlp mlp;
    /* A mixture of experts; NULL in a dense layer. */
    const weights_mlp *experts; /* [n_experts] of moe.n_ff */
    const float *router;        /* [n_experts, n_embd] */
    const float *router_bias;   /* [n_experts]: for the choice of experts, not for their weight */
} weights_layer;

/* The index branch of a layer; all zero in one that has none. */
typedef struct weights_index {
    gemm_weight wq;               /* [n_kv_heads * index.dim, n_embd] */
    gemm_weight wk;               /* [index.dim, n_embd] */
    const float *q_norm, *k_norm; /* [index.dim], or NULL */
} weights_index;

typedef struct weights {
    const char *file;         /* its name, for messages */
    const char *architecture; /* static storage */
    arch arch;                /* no RMSNorm adds 1 to its weight: M3's files have it in */
    rope_params rope;         /* of heads and index heads */
    gemm_weight token_embd;   /* [n_vocab, n_embd]: row i is token i */
    const float *output_norm;
    gemm_weight output; /* [n_vocab, n_embd]; the embedding again where the file ties them */
    int64_t n_parameters, n_bytes;           /* of all tensors of the file */
    uint64_t format_bytes[QUANT_TYPE_COUNT]; /* of these, in each format */
    int64_t n_active;                        /* of the parameters, those a token goes through */
    int64_t n_index_parameters;
    weights_layer *layers;
    weights_index *index; /* [n_layers]; NULL without an index branch */
    weights_mlp *experts; /* of all layers, one behind another */
    float *owned;         /* vectors that no file has as they are needed; or NULL */
} weights;

/* MSA_E_FORMAT names the key or tensor that is missing, contradicts another or has another shape;
 * MSA_E_UNSUPPORTED the architecture, format or feature this version can't run. The message begins
 * with the file's name. *out is NULL then. */
msa_status weights_load(weights **out, const gguf_file *file, msa_error *err);
/* The same from safetensors and their config.json, read as `a`. Matrices stay where they are;
 * vectors and routers are copied as f32, M3's norms with the 1 added, once. */
msa_status weights_load_safetensors(weights **out, const safetensors *files, const arch *a,
                                    msa_error *err);
void weights_free(weights *w); /* NULL is fine; the file stays open */

/* Adds the index branch of an `msa-index` file, which must stay open too. MSA_E_FORMAT where it is
 * not one, is damaged, or was trained for another base; MSA_E_ARG where the model has an index
 * already. Nothing has changed then. */
msa_status weights_load_index(weights *w, const gguf_file *file, msa_error *err);

/* Tells models of one shape apart, and is the same for every quantisation of one model: a hash of
 * the bits of the norms, which are F32 in every file. Begins with 0, then attn_norm and ffn_norm of
 * each layer, then output_norm, as GGUF has them (M3's with the 1 in). */
uint64_t weights_fingerprint_add(uint64_t fingerprint, const float *norm, int64_t n);
uint64_t weights_fingerprint(const weights *w);

/* "Q4_1 69 %, Q8_0 31 %": the formats by their share of the bytes, largest first, those under half
 * a per cent left out. */
void weights_describe_formats(const weights *w, char *text, size_t n_bytes);

#endif
