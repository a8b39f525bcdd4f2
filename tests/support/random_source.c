/* random_source.c: see random_source.h. */
#include "support/random_source.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "support/support.h"

arch random_arch(arch_family family, bool index) {
    bool m3 = family == ARCH_MINIMAX_M3;
    arch a = {.family = family,
              .n_layers = 4,
              .n_embd = 64,
              .n_q_heads = 4,
              .n_kv_heads = 2,
              .head_dim = 16,
              .n_vocab = 300,
              .n_ctx_train = 1024,
              .n_ff = 96,
              .n_rot = m3 ? 8 : 16,
              .rope_base = m3 ? 5e6 : 1e4,
              .norm_eps = 1e-6f,
              .qk_norm = m3 || family == ARCH_QWEN3,
              .qkv_bias = family == ARCH_QWEN2,
              .swiglu_oai = m3};
    if (m3) {
        a.swiglu_alpha = 1.702f;
        a.swiglu_limit = 7;
        a.moe = (arch_moe){true, 4, 2, 32, 32, 2};
        a.n_dense_layers = 1;
    }
    if (index) {
        a.index = (arch_index){true, 16, 16, 4, 1, m3 ? 0 : 1, false};
        a.n_dense_layers = 1;
    }
    return a;
}

msa_status random_rows(void *seed, const tensor_spec *spec, int64_t row, int64_t n, float *out,
                       msa_error *err) {
    (void)err;
    uint64_t stream = hash_bytes(spec->name, strlen(spec->name)) ^ hash_u64(*(uint64_t *)seed);
    bool vector = tensor_is_vector(spec->role);
    float sigma = vector ? 0.1f : 1 / sqrtf((float)spec->n_in);
    float mean = tensor_is_norm(spec->role) && *(uint64_t *)seed % 2 == 0 ? 1 : 0;
    if (spec->role == TENSOR_EMBED) sigma = 1;
    for (int64_t i = 0; i < n; i++) {
        rng r = rng_seed(hash_u64(stream + (uint64_t)(row + i)));
        rng_fill_normal(&r, out + i * spec->n_in, (size_t)spec->n_in, sigma);
        for (int64_t j = 0; j < spec->n_in; j++) out[i * spec->n_in + j] += mean;
    }
    return MSA_OK;
}
