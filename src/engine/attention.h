/* attention.h: which attention each layer runs, the plans of a step, and the selection.
 *
 * A step is some tokens behind the length of a sequence, planned once for every layer. Layers that
 * attend densely use msa_dense; the others have blocks selected (selector.h), then use msa_decode
 * for up to 16 tokens and msa_sparse for more. Short contexts take the same way: there the
 * selection is everything. */
#ifndef MSA_ENGINE_ATTENTION_H
#define MSA_ENGINE_ATTENTION_H

#include "engine/selector.h"

enum { ATTENTION_DECODE_MAX = 16 }; /* tokens a step may have to go through msa_decode */

typedef struct attention {
    const msa_kv *kv;
    msa_shape shape;
    int32_t n_threads;
    bool msa;
    bool indexed, shared; /* whose keys the third lane holds: the index branch's, the mean ones */
    uint64_t dense_layers[4];
    bool any_dense, any_msa;

    selector selector;
    msa_plan *sparse, *decode, *dense;
    int32_t *ids; /* [max_tokens, Hkv, k] */
    msa_plan *mass_plan;
    float *mass; /* [n, Hkv, n_blocks] of the layer measured last; NULL until first asked for */
    size_t mass_capacity;

    /* the step */
    int64_t first, n;        /* its tokens: first .. first + n - 1 */
    int64_t n_blocks;        /* up to the last of them */
    double keys, keys_dense; /* main keys read, and had all layers been dense: sums over queries,
                                means over layers and groups; of the layers run so far */
    msa_index8_stats index8; /* of the layers run so far */
} attention;

/* params must be resolved and in range; those of the cache must fit them, with a third lane where
 * the selector has one; kv is borrowed. max_tokens: of a step. *a is {0} on failure. */
msa_status attention_create(attention *a, const msa_session_params *params, const msa_kv *kv,
                            int32_t n_q_heads, int64_t max_tokens, msa_error *err);
void attention_free(attention *a);

/* True where the layer attends to everything. */
bool attention_is_dense(const attention *a, int32_t layer);

/* Plans n tokens from position `first` on; they must be reserved in seq. with_mass: masses too. */
msa_status attention_plan(attention *a, const msa_kv_seq *seq, int64_t first, int64_t n,
                          bool with_mass, msa_error *err);
/* out [n, Hq, d] from q [n, Hq, d] and, where the index branch selects, qi [n, Hkv, di]; the
 * layer's keys and values must have been written. Afterwards a->ids holds what a layer that is not
 * dense selected: [n, Hkv, k], ascending. */
msa_status attention_run(attention *a, int32_t layer, const float *q, const float *qi, float *out,
                         msa_error *err);
/* a->mass from q of a layer whose keys were written, in a step planned with masses: the attention
 * each block would get (attn/mass.h). */
msa_status attention_find_mass(attention *a, int32_t layer, const float *q, msa_error *err);

#endif
