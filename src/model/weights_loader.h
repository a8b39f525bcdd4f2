/* weights_loader.h: a file being read as weights: keys and tensors by name, each checked, errors
 * that name it. For the files weights*.c alone. */
#ifndef MSA_MODEL_WEIGHTS_LOADER_H
#define MSA_MODEL_WEIGHTS_LOADER_H

#include "model/weights.h"

typedef enum demand { ABSENT, OPTIONAL, REQUIRED } demand;

typedef struct loader_family {
    const char *name;
    arch_family family;
    rope_pairs pairs;
    demand qkv_bias, qk_norm;
} loader_family;

typedef struct loader {
    const gguf_file *file;
    msa_error *err;
    const loader_family *family;
    weights *w;
    bool *used;         /* per tensor of the file */
    const char *prefix; /* of the keys: "llama." */
    char key[96];       /* the key asked for last, in full */
} loader;

/* "llama.block_count" for "block_count", in l->key. */
const char *loader_key(loader *l, const char *suffix);
/* A count in from..INT32_MAX. `otherwise` -1: the key is required. */
msa_status loader_count(loader *l, const char *suffix, int32_t from, int32_t otherwise,
                        int32_t *out);
/* More than 0. `otherwise` 0: the key is required. */
msa_status loader_positive(loader *l, const char *suffix, float otherwise, double *out);

/* A matrix [n_out, n_in] in a format gemm_run takes. */
msa_status loader_matrix(loader *l, const char *name, int64_t n_out, int64_t n_in,
                         gemm_weight *out);
/* n matrices of that kind in one tensor [n, n_out, n_in]: out[i * step]. */
msa_status loader_matrices(loader *l, const char *name, int64_t n, int64_t n_out, int64_t n_in,
                           gemm_weight *out, size_t step_bytes);
/* n floats, or n_out rows of n_in of them; NULL where the tensor may be missing and is. */
msa_status loader_vector(loader *l, const char *name, demand demanded, int64_t n,
                         const float **out);
msa_status loader_floats(loader *l, const char *name, int64_t n_out, int64_t n_in,
                         const float **out);
/* Refuses a file with a tensor that nobody asked for; adds up parameters and bytes. */
msa_status loader_account(loader *l, int64_t *n_parameters, int64_t *n_bytes);

/* w->experts, of all layers. MSA_E_FORMAT where a file of so many bytes has no room for their
 * matrices at half a byte a number: no format is smaller, and nothing is allocated on a claim. */
msa_status weights_allocate_experts(weights *w, uint64_t n_file_bytes, msa_error *err);
/* Fills n_active and n_index_parameters from what is loaded. */
void weights_count_parts(weights *w);

/* The stages of a load. */
msa_status loader_read_keys(loader *l); /* weights_keys.c: l->family, arch, rope */
bool loader_has_index(const loader *l); /* weights_index.c: keys or tensors of one */
msa_status loader_read_index_keys(loader *l, arch *arch); /* index, n_dense_layers */
msa_status loader_read_index(loader *l, const arch *arch, weights_index **out);

#endif
