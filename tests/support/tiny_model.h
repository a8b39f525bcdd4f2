/* tiny_model.h: a small random model of the Llama family or in MiniMax-M3's shape: written as a
 * GGUF file, and run by a forward pass in double, written like the formulas, to hold the engine
 * against. */
#ifndef MSA_TESTS_TINY_MODEL_H
#define MSA_TESTS_TINY_MODEL_H

#include "msa/model.h"
#include "support/support.h"

typedef struct tiny_params {
    const char *architecture; /* llama: adjacent RoPE pairs; qwen2: split pairs, biases on Q, K, V;
                                 qwen3: split pairs, norms on the heads of Q and K; minimax-m3:
                                 the same with a clamped SwiGLU */
    int32_t n_layers, n_embd, n_ff, n_q_heads, n_kv_heads, head_dim, n_vocab, n_ctx;
    bool tied; /* the output matrix is the embedding */
    uint64_t seed;
    int32_t n_rot;          /* 0: head_dim */
    int32_t n_dense_layers; /* before those with an index branch and experts */
    /* The index branch, what its file says of it; dim 0: none. */
    struct {
        int32_t dim, block, topk, local, init;
        bool beside; /* in a file of its own */
    } index;
    struct {
        int32_t n, n_used, n_ff, n_shared; /* n 0: dense layers only */
    } experts;
    /* How matrices lie in the file (nn/quant.h): 0 and 0 is F32. `wide` is that of the embedding,
     * the output, V and down, as in files that mix formats; the index and the router stay F32. */
    struct {
        uint32_t most, wide;
        bool widened; /* the file has F32 of the same values after all */
    } types;
} tiny_params;

#define TINY_NORM_EPS      1e-5f
#define TINY_EXPERTS_SCALE 2.0f
#define TINY_ROPE_BASE     10000.0

/* What follows from the parameters: elements of a head that turn; the width of a layer's
 * feed-forward, or of its shared expert. */
bool tiny_is_m3(const tiny_params *p);
int32_t tiny_rotated(const tiny_params *p);
bool tiny_has_experts(const tiny_params *p, int layer);
int32_t tiny_mlp_width(const tiny_params *p, int layer);

/* Weights are [n_out][n_in], the product's second factor transposed, as in the file. */
typedef struct tiny_layer {
    float *attn_norm, *wq, *wk, *wv, *wo, *bq, *bk, *bv, *q_norm, *k_norm;
    float *ffn_norm, *w_gate, *w_up, *w_down; /* with experts: the shared one */
    float *index_q, *index_k, *index_q_norm, *index_k_norm;
    float *router, *router_bias, *e_gate, *e_up, *e_down; /* e_: [n experts][n_out][n_in] */
} tiny_layer;

/* What a matrix is in the file where that is not F32; its floats are what these bytes mean. */
typedef struct tiny_stored {
    const float *x;
    uint8_t *bytes;
    uint32_t type;
} tiny_stored;

enum { TINY_MAX_STORED = 64 };

typedef struct tiny_model {
    tiny_params params;
    float *embedding, *output_norm, *output;
    tiny_layer *layers;
    tiny_stored stored[TINY_MAX_STORED];
    int n_stored;
} tiny_model;

/* 2 layers of 64, 4 query and 2 key heads of 16, 300 tokens of vocabulary, context 512. */
tiny_params tiny_defaults(const char *architecture, uint64_t seed);
/* Four layers in M3's shape, the first two dense, with 6 experts, 2 of them used, and one shared,
 * heads of 24 of which 16 elements turn, and an index of width 16, 5 blocks of 16. */
tiny_params tiny_m3(uint64_t seed);
tiny_model *tiny_create(const tiny_params *params);
void tiny_free(tiny_model *m);
/* As GGUF, with a byte-level vocabulary. Fails the test where it can't. */
void tiny_write(const tiny_model *m, const char *path);
/* Its index branch as a file of its own. */
void tiny_write_index(const tiny_model *m, const char *path);

typedef struct tiny_choice {
    const msa_shape *shape;
    msa_selector selector; /* one that scores; not AUTO */
} tiny_choice;

/* logits [n][n_vocab] after each of n tokens from position 0. choice NULL: dense; else MSA, layers
 * of the mask `dense_layers` dense. selected (or NULL) gets the ids chosen in layer l by token t
 * for group g at [((l * n + t) * Hkv + g) * topk], ascending, then -1; rows of dense layers all
 * -1. */
void tiny_forward(const tiny_model *m, const int32_t *ids, int n, const tiny_choice *choice,
                  uint64_t dense_layers, double *logits, int32_t *selected);

#endif
