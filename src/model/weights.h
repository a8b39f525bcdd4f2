/* weights.h: the Llama family in a GGUF file: what its keys say, and every tensor a forward pass
 * needs, each checked for presence, format and shape before anything runs.
 *
 * Architectures differ by a row of a table (weights.c): llama (and SmolLM2, Mistral: adjacent RoPE
 * pairs), qwen2 (biases on Q, K, V), qwen3 (norms on the heads of Q and K). Nothing is copied: all
 * pointers go into the file, which must stay open. A file that holds a tensor the family has no
 * place for is refused, since ignoring it would compute something else than its authors meant. */
#ifndef MSA_MODEL_WEIGHTS_H
#define MSA_MODEL_WEIGHTS_H

#include "model/gguf.h"
#include "nn/gemm.h"
#include "nn/rope.h"

typedef struct weights_layer {
    const float *attn_norm;     /* [n_embd] */
    gemm_weight wq, wk, wv, wo; /* [heads * head_dim, n_embd]; wo [n_embd, n_q_heads * head_dim] */
    const float *bq, *bk, *bv;  /* [heads * head_dim], or NULL */
    const float *q_norm, *k_norm; /* [head_dim], applied per head before RoPE, or NULL */
    const float *ffn_norm;        /* [n_embd] */
    gemm_weight w_gate, w_up;     /* [n_ff, n_embd] */
    gemm_weight w_down;           /* [n_embd, n_ff] */
} weights_layer;

typedef struct weights {
    const gguf_file *file;
    const char *architecture; /* static storage */
    int32_t n_layers, n_embd, n_ff, n_q_heads, n_kv_heads, head_dim, n_ctx_train, n_vocab;
    float norm_eps; /* of every RMSNorm; none adds 1 to its weight */
    rope_params rope;
    gemm_weight token_embd; /* [n_vocab, n_embd]: row i is token i */
    const float *output_norm;
    gemm_weight output; /* [n_vocab, n_embd]; the embedding again where the file ties them */
    int tied;
    int64_t n_parameters, n_bytes; /* of all tensors */
    weights_layer *layers;
} weights;

/* MSA_E_FORMAT names the key or tensor that is missing, contradicts another or has another shape;
 * MSA_E_UNSUPPORTED the architecture, format or feature this version can't run. The message begins
 * with the file's name. *out is NULL then. */
msa_status weights_load(weights **out, const gguf_file *file, msa_error *err);
void weights_free(weights *w); /* NULL is fine; the file stays open */

/* "Q4_1 69 %, Q8_0 31 %": the formats by their share of the bytes, largest first, those under half
 * a per cent left out. */
void weights_describe_formats(const weights *w, char *text, size_t n_bytes);

#endif
