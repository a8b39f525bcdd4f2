/* tiny_model.h: a small random model of the Llama family: written as a GGUF file, and run by a
 * forward pass in double, written like the formulas, to hold the engine against. */
#ifndef MSA_TESTS_TINY_MODEL_H
#define MSA_TESTS_TINY_MODEL_H

#include "msa/attn.h"
#include "support/support.h"

typedef struct tiny_params {
    const char *architecture; /* llama: adjacent RoPE pairs; qwen2: split pairs, biases on Q, K, V;
                                 qwen3: split pairs, norms on the heads of Q and K */
    int32_t n_layers, n_embd, n_ff, n_q_heads, n_kv_heads, head_dim, n_vocab, n_ctx;
    bool tied; /* the output matrix is the embedding */
    uint64_t seed;
} tiny_params;

/* Weights are [n_out][n_in], the product's second factor transposed, as in the file. */
typedef struct tiny_layer {
    float *attn_norm, *wq, *wk, *wv, *wo, *bq, *bk, *bv, *q_norm, *k_norm;
    float *ffn_norm, *w_gate, *w_up, *w_down;
} tiny_layer;

typedef struct tiny_model {
    tiny_params params;
    float *embedding, *output_norm, *output;
    tiny_layer *layers;
} tiny_model;

/* 2 layers of 64, 4 query and 2 key heads of 16, 300 tokens of vocabulary, context 512. */
tiny_params tiny_defaults(const char *architecture, uint64_t seed);
tiny_model *tiny_create(const tiny_params *params);
void tiny_free(tiny_model *m);
/* As GGUF, weights F32, with a byte-level vocabulary. Fails the test where it can't. */
void tiny_write(const tiny_model *m, const char *path);

/* logits [n][n_vocab] after each of n tokens from position 0. shape NULL: dense; else MSA with the
 * proxy selector, layers of the mask `dense_layers` dense. selected (or NULL) gets the ids chosen
 * in layer l by token t for group g at [((l * n + t) * Hkv + g) * topk], ascending, then -1; rows
 * of dense layers all -1. */
void tiny_forward(const tiny_model *m, const int32_t *ids, int n, const msa_shape *shape,
                  uint64_t dense_layers, double *logits, int32_t *selected);

#endif
