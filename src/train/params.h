/* params.h: the weights that are trained: every tensor of a model in one array, its gradient at
 * the same place of another (of those that are trained at all), so that the optimiser, clipping and
 * checkpoints see plain arrays.
 *
 * Names and shapes are those of safetensors files of the family ("model.layers.3.self_attn.q_proj
 * .weight", [out, in] row-major; norms of M3 without the 1 that is added to them); split-half RoPE
 * order. Writers translate. */
#ifndef MSA_TRAIN_PARAMS_H
#define MSA_TRAIN_PARAMS_H

#include "model/tensor_list.h"

typedef struct param {
    char name[TENSOR_NAME];
    tensor_role role;
    int32_t layer, expert; /* -1: none */
    int64_t n_out, n_in;   /* a vector is [1, n] */
    int64_t at;            /* of its first element, in both arrays */
    bool decay;            /* weight decay applies: matrices, not norms and biases */
    bool index;  /* belongs to the index branch: its own learning rate, moved by KL only */
    bool frozen; /* no gradient is computed or applied */
} param;

typedef struct params {
    arch arch;
    int32_t n;
    param *list;
    int64_t n_floats;
    int64_t trained;    /* the first that has a gradient; all behind it do */
    float *w, *g;       /* [n_floats], [n_floats - trained] */
    float *router_bias; /* [n_layers, n_experts]: moved by load balance, not by a gradient */
} params;

/* All weights, gradients and biases 0. MSA_E_ARG names the field of the arch that is out of range,
 * MSA_E_NOMEM comes before anything is touched where the machine has no room to train them.
 * Every tensor starts at a multiple of PARAMS_ALIGN floats; what lies between stays 0 in both
 * arrays. The list is that of tensor_list.h without the biases of the routers. */
#define PARAMS_ALIGN 16
/* That training takes for a weight, the two moments of AdamW included; 4 where it is frozen for
 * ever. */
#define PARAMS_BYTES 16
msa_status params_create(params **out, const arch *a, msa_error *err);
/* For runs that train the index branch alone: its tensors lie behind all others, and have gradients
 * alone; the rest is frozen for ever. */
msa_status params_create_frozen(params **out, const arch *a, msa_error *err);
/* Bytes of weights, gradients and moments. */
size_t params_bytes(const params *p);
/* Where the gradient of a tensor lies; NULL where it is frozen. */
static inline float *params_gradient(const params *p, const param *one) {
    return one->frozen ? NULL : p->g + (one->at - p->trained);
}
void params_free(params *p); /* NULL is fine */

/* NULL where there is no such tensor. */
const param *params_find(const params *p, const char *name);
const param *params_of(const params *p, tensor_role role, int32_t layer, int32_t expert);

/* Random weights: matrices normal with deviation `std`, those that write to the residual stream (o,
 * down, w2) divided by sqrt(2 n_layers), the embedding with one of its own; norms 1, those of the
 * heads of Q and K the gain asked for (attention over heads of d can't get sharper than
 * gain^2 sqrt(d) at first); biases 0. A tensor's numbers depend on the seed and its name, nothing
 * else. */
typedef struct params_init {
    uint64_t seed;
    float std;        /* 0.02 is customary */
    float qk_gain;    /* of the norms of Q and K, where the family has them; 1 is customary */
    float index_gain; /* the same of the index branch */
    float embed_std;  /* of the embedding; 0: std */
} params_init;
void params_fill(params *p, const params_init *init);
/* The same for the index branch alone, the rest left as it is: an index for a trained model. */
void params_fill_index(params *p, const params_init *init);

/* An index branch made from the attention of a trained model: the query of a group is the mean of
 * its heads', the key the mean of the keys', norms are copied: about what the proxy selector scores
 * with. MSA_E_UNSUPPORTED where the index is not as wide as a head. */
msa_status params_fill_index_from_heads(params *p, msa_error *err);

/* Weights (and the biases of routers) from a loaded model or anything else that gives rows:
 * tensor_source_rows, ... index: the index branch too, where the arch has one. The arch must say
 * what the model computes; scaled RoPE, which it has no field for, is the caller's to refuse. */
msa_status params_load(params *p, tensor_rows_fn *rows, void *user, bool index, msa_error *err);
/* The other way: gives the rows of what is trained to model/export.h; user is a params. */
msa_status params_rows(void *user, const tensor_spec *spec, int64_t row, int64_t n, float *out,
                       msa_error *err);

/* Freezes or frees the index branch and everything else. */
void params_freeze(params *p, bool backbone, bool index);

#endif
