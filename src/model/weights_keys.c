/* weights_keys.c: the keys of a model's file: its family, its arch, its RoPE. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/weights_loader.h"
#include "nn/router.h"

static const loader_family FAMILIES[] = {
    {"llama", ARCH_LLAMA, ROPE_ADJACENT, OPTIONAL, ABSENT},
    {"qwen2", ARCH_QWEN2, ROPE_SPLIT, REQUIRED, ABSENT},
    {"qwen3", ARCH_QWEN3, ROPE_SPLIT, OPTIONAL, REQUIRED},
    {"minimax-m3", ARCH_MINIMAX_M3, ROPE_SPLIT, ABSENT, REQUIRED},
};
enum { N_FAMILIES = sizeof FAMILIES / sizeof *FAMILIES };
static const char *const PREFIXES[N_FAMILIES] = {"llama.", "qwen2.", "qwen3.", "minimax-m3."};

enum {
    GATING_SIGMOID = 2, /* of expert_gating_func: 1 softmax, 2 sigmoid, ... */
    MAX_EXPERTS = 4096
};
/* M3's activation; no GGUF key gives it, and llama.cpp has the same numbers. */
static const float SWIGLU_ALPHA = 1.702f, SWIGLU_LIMIT = 7;

static msa_status find_family(loader *l) {
    gguf_string name;
    msa_status status = gguf_get_string(l->file, "general.architecture", &name, l->err);
    if (status != MSA_OK) return status;
    for (int i = 0; i < N_FAMILIES; i++)
        if (gguf_string_is(name, FAMILIES[i].name)) {
            l->family = &FAMILIES[i];
            l->prefix = PREFIXES[i];
            l->w->architecture = l->family->name;
            l->w->arch.family = l->family->family;
            return MSA_OK;
        }
    char printable[GGUF_PRINTABLE], known[64] = "";
    if (gguf_string_is(name, "msa-index"))
        return error_set(l->err, MSA_E_UNSUPPORTED,
                         "this is an index branch (architecture 'msa-index'), not a model: load "
                         "the model it was trained for and give this file with it (--index)");
    for (int i = 0; i < N_FAMILIES; i++) {
        strcat(known, i ? ", " : "");
        strcat(known, FAMILIES[i].name);
    }
    return error_set(l->err, MSA_E_UNSUPPORTED,
                     "architecture '%s' is not supported; supported are %s",
                     gguf_printable(name, printable), known);
}

static msa_status read_heads(loader *l) {
    arch *a = &l->w->arch;
    msa_status status = loader_count(l, "attention.head_count", 1, -1, &a->n_q_heads);
    if (status == MSA_OK)
        status = loader_count(l, "attention.head_count_kv", 1, a->n_q_heads, &a->n_kv_heads);
    if (status != MSA_OK) return status;
    if (a->n_q_heads % a->n_kv_heads)
        return error_set(l->err, MSA_E_FORMAT,
                         "keys '%s.attention.head_count' (%d) and '.head_count_kv' (%d) contradict "
                         "each other: expected a multiple",
                         l->family->name, a->n_q_heads, a->n_kv_heads);
    int32_t value_dim = 0, from_width = a->n_embd / a->n_q_heads;
    if (from_width == 0 ||
        (a->n_embd % a->n_q_heads && !gguf_find(l->file, loader_key(l, "attention.key_length"))))
        return error_set(l->err, MSA_E_FORMAT,
                         "'%s.embedding_length' (%d) is not a multiple of '%s.attention.head_count'"
                         " (%d), and no '.attention.key_length' gives the width of a head",
                         l->family->name, a->n_embd, l->family->name, a->n_q_heads);
    status = loader_count(l, "attention.key_length", 1, from_width, &a->head_dim);
    if (status == MSA_OK)
        status = loader_count(l, "attention.value_length", 1, from_width, &value_dim);
    if (status != MSA_OK) return status;
    if (value_dim != a->head_dim)
        return error_set(l->err, MSA_E_UNSUPPORTED,
                         "keys of %d elements and values of %d ('%s.attention.key_length', "
                         "'.value_length'); only equal widths are supported",
                         a->head_dim, value_dim, l->family->name);
    if ((int64_t)a->n_q_heads * a->head_dim > INT32_MAX)
        return error_set(l->err, MSA_E_FORMAT, "%d heads of width %d are more than 2^31 elements",
                         a->n_q_heads, a->head_dim);
    return MSA_OK;
}

static msa_status read_rope_scaling(loader *l) {
    gguf_string type = {"none", 4};
    msa_status status = MSA_OK;
    l->w->rope.linear_factor = 1;
    if (gguf_find(l->file, loader_key(l, "rope.scaling.type")))
        status = gguf_get_string(l->file, l->key, &type, l->err);
    else if (gguf_find(l->file, loader_key(l, "rope.scale_linear"))) /* before there was a type */
        return loader_positive(l, "rope.scale_linear", 0, &l->w->rope.linear_factor);
    if (status != MSA_OK || gguf_string_is(type, "none")) return status;
    if (gguf_string_is(type, "linear"))
        return loader_positive(l, "rope.scaling.factor", 0, &l->w->rope.linear_factor);
    char printable[GGUF_PRINTABLE];
    return error_set(l->err, MSA_E_UNSUPPORTED,
                     "RoPE scaling '%s' is not supported; supported are none, linear, and "
                     "frequency factors in tensor 'rope_freqs.weight'",
                     gguf_printable(type, printable));
}

/* M3 turns half of a head with a base of millions: a file that does not say so is incomplete,
 * where the others have defaults as old as the format. */
static msa_status read_rope(loader *l) {
    arch *a = &l->w->arch;
    bool m3 = a->family == ARCH_MINIMAX_M3;
    msa_status status =
        loader_count(l, "rope.dimension_count", 1, m3 ? -1 : a->head_dim, &a->n_rot);
    if (status == MSA_OK)
        status = loader_positive(l, "rope.freq_base", m3 ? 0 : 10000, &a->rope_base);
    if (status == MSA_OK) status = read_rope_scaling(l);
    if (status != MSA_OK) return status;
    if (a->n_rot % 2 || a->n_rot > a->head_dim)
        return error_set(l->err, MSA_E_FORMAT,
                         "key '%s.rope.dimension_count' is %d; expected an even number up to the "
                         "head width %d",
                         l->family->name, a->n_rot, a->head_dim);
    l->w->rope.pairs = l->family->pairs;
    l->w->rope.n_rot = a->n_rot;
    l->w->rope.base = a->rope_base;
    return MSA_OK;
}

/* How the router turns logits into weights: the one way there is. */
static msa_status read_gating(loader *l) {
    int32_t gating = 0;
    bool norm = false;
    double scale = 0;
    msa_status status = loader_count(l, "expert_gating_func", 0, -1, &gating);
    if (status == MSA_OK && gating != GATING_SIGMOID)
        return error_set(l->err, MSA_E_UNSUPPORTED,
                         "key '%s' is %d; only sigmoid (%d) is supported", l->key, gating,
                         GATING_SIGMOID);
    if (status == MSA_OK)
        status = gguf_get_bool(l->file, loader_key(l, "expert_weights_norm"), &norm, l->err);
    if (status == MSA_OK && !norm)
        return error_set(l->err, MSA_E_UNSUPPORTED,
                         "key '%s' is false; only weights that are made to sum to 1 are supported",
                         l->key);
    if (status == MSA_OK) status = loader_positive(l, "expert_weights_scale", 0, &scale);
    l->w->arch.moe.scale = (float)scale;
    return status;
}

static msa_status read_experts(loader *l) {
    arch *a = &l->w->arch;
    arch_moe *moe = &a->moe;
    int32_t n_shared = 0;
    msa_status status = loader_count(l, "expert_count", 0, 0, &moe->n_experts);
    if (status != MSA_OK || moe->n_experts == 0) return status;
    if (a->family != ARCH_MINIMAX_M3)
        return error_set(l->err, MSA_E_UNSUPPORTED,
                         "a mixture of %d experts; only dense feed-forward layers are supported "
                         "for architecture '%s'",
                         moe->n_experts, l->family->name);
    if (moe->n_experts > MAX_EXPERTS)
        return error_set(l->err, MSA_E_UNSUPPORTED, "key '%s' is %d; expected up to %d", l->key,
                         moe->n_experts, MAX_EXPERTS);
    moe->present = true;
    status = loader_count(l, "expert_used_count", 1, -1, &moe->n_used);
    if (status == MSA_OK && moe->n_used > moe->n_experts)
        return error_set(l->err, MSA_E_FORMAT,
                         "key '%s' is %d, but '%s.expert_count' is %d: a token can't go through "
                         "more experts than there are",
                         l->key, moe->n_used, l->family->name, moe->n_experts);
    if (status == MSA_OK && moe->n_used > ROUTER_MAX_USED)
        return error_set(l->err, MSA_E_UNSUPPORTED, "key '%s' is %d; expected up to %d", l->key,
                         moe->n_used, ROUTER_MAX_USED);
    if (status == MSA_OK) status = loader_count(l, "expert_feed_forward_length", 1, -1, &moe->n_ff);
    if (status == MSA_OK) status = loader_count(l, "expert_shared_count", 0, -1, &n_shared);
    if (status == MSA_OK) status = read_gating(l);
    if (status != MSA_OK) return status;
    if ((int64_t)n_shared * moe->n_ff > INT32_MAX)
        return error_set(l->err, MSA_E_FORMAT,
                         "%d shared experts of width %d are more than 2^31 elements", n_shared,
                         moe->n_ff);
    moe->n_ff_shared = n_shared * moe->n_ff;
    return MSA_OK;
}

msa_status loader_read_keys(loader *l) {
    arch *a = &l->w->arch;
    double eps = 0;
    msa_status status = find_family(l);
    if (status == MSA_OK) status = read_experts(l);
    if (status == MSA_OK) status = loader_count(l, "block_count", 1, -1, &a->n_layers);
    if (status == MSA_OK) status = loader_count(l, "context_length", 1, -1, &a->n_ctx_train);
    if (status == MSA_OK) status = loader_count(l, "embedding_length", 1, -1, &a->n_embd);
    if (status == MSA_OK) status = loader_count(l, "feed_forward_length", 1, -1, &a->n_ff);
    if (status == MSA_OK) status = loader_positive(l, "attention.layer_norm_rms_epsilon", 0, &eps);
    if (status == MSA_OK) status = read_heads(l);
    if (status == MSA_OK) status = read_rope(l);
    if (status != MSA_OK) return status;
    a->norm_eps = (float)eps;
    a->qk_norm = l->family->qk_norm == REQUIRED;
    a->swiglu_oai = a->family == ARCH_MINIMAX_M3;
    a->swiglu_alpha = a->swiglu_oai ? SWIGLU_ALPHA : 0;
    a->swiglu_limit = a->swiglu_oai ? SWIGLU_LIMIT : 0;
    if ((size_t)a->n_layers > gguf_tensor_count(l->file))
        return error_set(l->err, MSA_E_FORMAT,
                         "key '%s.block_count' is %d; the file has %zu tensors", l->family->name,
                         a->n_layers, gguf_tensor_count(l->file));
    return a->family == ARCH_MINIMAX_M3 || loader_has_index(l) ? loader_read_index_keys(l, a)
                                                               : MSA_OK;
}
