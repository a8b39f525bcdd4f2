/* weights.c: see weights.h. */
#include "model/weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "nn/quant.h"

typedef enum demand { ABSENT, OPTIONAL, REQUIRED } demand;

static const struct family {
    const char *name;
    rope_pairs pairs;
    demand qkv_bias, qk_norm;
} FAMILIES[] = {
    {"llama", ROPE_ADJACENT, OPTIONAL, ABSENT},
    {"qwen2", ROPE_SPLIT, REQUIRED, ABSENT},
    {"qwen3", ROPE_SPLIT, OPTIONAL, REQUIRED},
};
enum { N_FAMILIES = sizeof FAMILIES / sizeof *FAMILIES };

typedef struct loader {
    const gguf_file *file;
    msa_error *err;
    const struct family *family;
    weights *w;
    bool *used; /* per tensor of the file */
    char key[96];
} loader;

/* ---- keys ---- */

static const char *full_key(loader *l, const char *suffix) {
    snprintf(l->key, sizeof l->key, "%s.%s", l->family->name, suffix);
    return l->key;
}

static msa_status find_family(loader *l) {
    gguf_string name;
    msa_status status = gguf_get_string(l->file, "general.architecture", &name, l->err);
    if (status != MSA_OK) return status;
    for (int i = 0; i < N_FAMILIES; i++)
        if (gguf_string_is(name, FAMILIES[i].name)) l->family = &FAMILIES[i];
    if (l->family) return MSA_OK;
    char printable[GGUF_PRINTABLE], known[64] = "";
    for (int i = 0; i < N_FAMILIES; i++) {
        strcat(known, i ? ", " : "");
        strcat(known, FAMILIES[i].name);
    }
    return error_set(l->err, MSA_E_UNSUPPORTED,
                     "architecture '%s' is not supported; supported are %s",
                     gguf_printable(name, printable), known);
}

/* A count of at least 1 that fits an int32. `otherwise` 0: the key is required. */
static msa_status read_count(loader *l, const char *suffix, int32_t otherwise, int32_t *out) {
    uint32_t value = 0;
    const char *key = full_key(l, suffix);
    msa_status status = otherwise
                            ? gguf_get_u32_or(l->file, key, (uint32_t)otherwise, &value, l->err)
                            : gguf_get_u32(l->file, key, &value, l->err);
    if (status != MSA_OK) return status;
    if (value < 1 || value > INT32_MAX)
        return error_set(l->err, MSA_E_FORMAT, "key '%s' is %" PRIu32 "; expected 1 to %d", key,
                         value, INT32_MAX);
    *out = (int32_t)value;
    return MSA_OK;
}

static msa_status read_positive(loader *l, const char *suffix, float otherwise, double *out) {
    float value = 0;
    const char *key = full_key(l, suffix);
    msa_status status = otherwise > 0 ? gguf_get_f32_or(l->file, key, otherwise, &value, l->err)
                                      : gguf_get_f32(l->file, key, &value, l->err);
    if (status != MSA_OK) return status;
    if (!(value > 0))
        return error_set(l->err, MSA_E_FORMAT, "key '%s' is %g; expected more than 0", key,
                         (double)value);
    *out = value;
    return MSA_OK;
}

static msa_status read_heads(loader *l) {
    weights *w = l->w;
    msa_status status = read_count(l, "attention.head_count", 0, &w->n_q_heads);
    if (status == MSA_OK)
        status = read_count(l, "attention.head_count_kv", w->n_q_heads, &w->n_kv_heads);
    if (status != MSA_OK) return status;
    if (w->n_q_heads % w->n_kv_heads)
        return error_set(l->err, MSA_E_FORMAT,
                         "keys '%s.attention.head_count' (%d) and '.head_count_kv' (%d) contradict "
                         "each other: expected a multiple",
                         l->family->name, w->n_q_heads, w->n_kv_heads);
    int32_t value_dim = 0, from_width = w->n_embd / w->n_q_heads;
    if (from_width == 0 ||
        (w->n_embd % w->n_q_heads && !gguf_find(l->file, full_key(l, "attention.key_length"))))
        return error_set(l->err, MSA_E_FORMAT,
                         "'%s.embedding_length' (%d) is not a multiple of '%s.attention.head_count'"
                         " (%d), and no '.attention.key_length' gives the width of a head",
                         l->family->name, w->n_embd, l->family->name, w->n_q_heads);
    status = read_count(l, "attention.key_length", from_width, &w->head_dim);
    if (status == MSA_OK) status = read_count(l, "attention.value_length", from_width, &value_dim);
    if (status != MSA_OK) return status;
    if (value_dim != w->head_dim)
        return error_set(l->err, MSA_E_UNSUPPORTED,
                         "keys of %d elements and values of %d ('%s.attention.key_length', "
                         "'.value_length'); only equal widths are supported",
                         w->head_dim, value_dim, l->family->name);
    if ((int64_t)w->n_q_heads * w->head_dim > INT32_MAX)
        return error_set(l->err, MSA_E_FORMAT, "%d heads of width %d are more than 2^31 elements",
                         w->n_q_heads, w->head_dim);
    return MSA_OK;
}

static msa_status read_rope_scaling(loader *l) {
    gguf_string type = {"none", 4};
    msa_status status = MSA_OK;
    l->w->rope.linear_factor = 1;
    if (gguf_find(l->file, full_key(l, "rope.scaling.type")))
        status = gguf_get_string(l->file, l->key, &type, l->err);
    else if (gguf_find(l->file, full_key(l, "rope.scale_linear"))) /* before there was a type */
        return read_positive(l, "rope.scale_linear", 0, &l->w->rope.linear_factor);
    if (status != MSA_OK || gguf_string_is(type, "none")) return status;
    if (gguf_string_is(type, "linear"))
        return read_positive(l, "rope.scaling.factor", 0, &l->w->rope.linear_factor);
    char printable[GGUF_PRINTABLE];
    return error_set(l->err, MSA_E_UNSUPPORTED,
                     "RoPE scaling '%s' is not supported; supported are none, linear, and "
                     "frequency factors in tensor 'rope_freqs.weight'",
                     gguf_printable(type, printable));
}

static msa_status read_rope(loader *l) {
    rope_params *rope = &l->w->rope;
    rope->pairs = l->family->pairs;
    msa_status status = read_count(l, "rope.dimension_count", l->w->head_dim, &rope->n_rot);
    if (status == MSA_OK) status = read_positive(l, "rope.freq_base", 10000, &rope->base);
    if (status == MSA_OK) status = read_rope_scaling(l);
    if (status != MSA_OK) return status;
    if (rope->n_rot % 2 || rope->n_rot > l->w->head_dim)
        return error_set(l->err, MSA_E_FORMAT,
                         "key '%s.rope.dimension_count' is %d; expected an even number up to the "
                         "head width %d",
                         l->family->name, rope->n_rot, l->w->head_dim);
    return MSA_OK;
}

static msa_status read_keys(loader *l) {
    weights *w = l->w;
    uint32_t n_experts = 0;
    double eps = 0;
    msa_status status =
        gguf_get_u32_or(l->file, full_key(l, "expert_count"), 0, &n_experts, l->err);
    if (status == MSA_OK && n_experts > 0)
        status = error_set(l->err, MSA_E_UNSUPPORTED,
                           "a mixture of %" PRIu32 " experts; only dense feed-forward layers are "
                           "supported for architecture '%s'",
                           n_experts, l->family->name);
    if (status == MSA_OK) status = read_count(l, "block_count", 0, &w->n_layers);
    if (status == MSA_OK) status = read_count(l, "context_length", 0, &w->n_ctx_train);
    if (status == MSA_OK) status = read_count(l, "embedding_length", 0, &w->n_embd);
    if (status == MSA_OK) status = read_count(l, "feed_forward_length", 0, &w->n_ff);
    if (status == MSA_OK) status = read_positive(l, "attention.layer_norm_rms_epsilon", 0, &eps);
    if (status == MSA_OK) status = read_heads(l);
    if (status == MSA_OK) status = read_rope(l);
    w->norm_eps = (float)eps;
    if (status != MSA_OK) return status;
    if ((size_t)w->n_layers > gguf_tensor_count(l->file))
        return error_set(l->err, MSA_E_FORMAT,
                         "key '%s.block_count' is %d; the file has %zu tensors", l->family->name,
                         w->n_layers, gguf_tensor_count(l->file));
    return MSA_OK;
}

/* ---- tensors ---- */

/* The tensor of this name, known to be [n_out, n_in] (n_out 1: a vector). NULL, and MSA_OK, where
 * it may be missing and is. */
static msa_status find_tensor(loader *l, const char *name, demand demanded, int64_t n_out,
                              int64_t n_in, const gguf_tensor **out) {
    const gguf_tensor *t = *out = demanded == ABSENT ? NULL : gguf_find_tensor(l->file, name);
    if (!t && demanded != REQUIRED) return MSA_OK;
    if (!t)
        return error_set(l->err, MSA_E_FORMAT,
                         "tensor '%s' ([%" PRId64 ", %" PRId64 "]) is missing", name, n_in, n_out);
    l->used[t - gguf_tensor_at(l->file, 0)] = true;
    if (t->shape[0] != (uint64_t)n_in || t->shape[1] != (uint64_t)n_out || t->shape[2] != 1 ||
        t->shape[3] != 1)
        return error_set(l->err, MSA_E_FORMAT,
                         "tensor '%s' has shape [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64
                         "]; the keys of the file ask for [%" PRId64 ", %" PRId64 "]",
                         name, t->shape[0], t->shape[1], t->shape[2], t->shape[3], n_in, n_out);
    return MSA_OK;
}

static msa_status find_matrix(loader *l, const char *name, int64_t n_out, int64_t n_in,
                              gemm_weight *out) {
    const gguf_tensor *t;
    msa_status status = find_tensor(l, name, REQUIRED, n_out, n_in, &t);
    if (status != MSA_OK) return status;
    if (!quant_supported(t->type))
        return error_set(l->err, MSA_E_UNSUPPORTED,
                         "tensor '%s' is stored as %s; supported are F32, F16, BF16, Q8_0, Q4_0 "
                         "and Q4_1",
                         name, quant_format_find(t->type)->name);
    *out = (gemm_weight){t->data, t->type, n_out, n_in, quant_row_bytes(t->type, n_in)};
    return MSA_OK;
}

static msa_status find_vector(loader *l, const char *name, demand demanded, int64_t n,
                              const float **out) {
    const gguf_tensor *t;
    *out = NULL;
    msa_status status = find_tensor(l, name, demanded, 1, n, &t);
    if (status != MSA_OK || !t) return status;
    if (t->type != QUANT_F32)
        return error_set(l->err, MSA_E_UNSUPPORTED,
                         "tensor '%s' is stored as %s; expected F32, as every vector is", name,
                         quant_format_find(t->type)->name);
    *out = (const float *)t->data;
    return MSA_OK;
}

static msa_status load_layer(loader *l, int i, weights_layer *layer) {
    const weights *w = l->w;
    demand bias = l->family->qkv_bias, norm = l->family->qk_norm;
    int64_t n_q = (int64_t)w->n_q_heads * w->head_dim, n_kv = (int64_t)w->n_kv_heads * w->head_dim;
    const struct {
        const char *name;
        int64_t n_out, n_in;
        gemm_weight *to;
    } matrices[] = {
        {"attn_q", n_q, w->n_embd, &layer->wq},
        {"attn_k", n_kv, w->n_embd, &layer->wk},
        {"attn_v", n_kv, w->n_embd, &layer->wv},
        {"attn_output", w->n_embd, n_q, &layer->wo},
        {"ffn_gate", w->n_ff, w->n_embd, &layer->w_gate},
        {"ffn_up", w->n_ff, w->n_embd, &layer->w_up},
        {"ffn_down", w->n_embd, w->n_ff, &layer->w_down},
    };
    const struct {
        const char *name;
        demand demanded;
        int64_t n;
        const float **to;
    } vectors[] = {
        {"attn_norm.weight", REQUIRED, w->n_embd, &layer->attn_norm},
        {"ffn_norm.weight", REQUIRED, w->n_embd, &layer->ffn_norm},
        {"attn_q.bias", bias, n_q, &layer->bq},
        {"attn_k.bias", bias, n_kv, &layer->bk},
        {"attn_v.bias", bias, n_kv, &layer->bv},
        {"attn_q_norm.weight", norm, w->head_dim, &layer->q_norm},
        {"attn_k_norm.weight", norm, w->head_dim, &layer->k_norm},
    };
    char name[64];
    msa_status status = MSA_OK;
    for (size_t m = 0; m < sizeof matrices / sizeof *matrices && status == MSA_OK; m++) {
        snprintf(name, sizeof name, "blk.%d.%s.weight", i, matrices[m].name);
        status = find_matrix(l, name, matrices[m].n_out, matrices[m].n_in, matrices[m].to);
    }
    for (size_t v = 0; v < sizeof vectors / sizeof *vectors && status == MSA_OK; v++) {
        snprintf(name, sizeof name, "blk.%d.%s", i, vectors[v].name);
        status = find_vector(l, name, vectors[v].demanded, vectors[v].n, vectors[v].to);
    }
    return status;
}

/* The vocabulary is as large as the embedding has rows; what else states its size must agree. */
static msa_status read_vocabulary(loader *l) {
    const gguf_tensor *t = gguf_find_tensor(l->file, "token_embd.weight");
    if (!t) return error_set(l->err, MSA_E_FORMAT, "tensor 'token_embd.weight' is missing");
    if (t->shape[1] > INT32_MAX)
        return error_set(l->err, MSA_E_FORMAT,
                         "tensor 'token_embd.weight' has %" PRIu64 " rows; expected up to %d",
                         t->shape[1], INT32_MAX);
    l->w->n_vocab = (int32_t)t->shape[1];
    int32_t stated;
    msa_status status = read_count(l, "vocab_size", l->w->n_vocab, &stated);
    if (status == MSA_OK && stated != l->w->n_vocab)
        status = error_set(l->err, MSA_E_FORMAT,
                           "key '%s' is %d, but tensor 'token_embd.weight' has %d rows", l->key,
                           stated, l->w->n_vocab);
    const gguf_value *tokens = gguf_find(l->file, "tokenizer.ggml.tokens");
    if (status == MSA_OK && tokens && tokens->n != (uint64_t)l->w->n_vocab)
        status = error_set(l->err, MSA_E_FORMAT,
                           "key 'tokenizer.ggml.tokens' has %" PRIu64
                           " entries, but tensor 'token_embd.weight' has %d rows",
                           tokens->n, l->w->n_vocab);
    return status;
}

static msa_status load_shared(loader *l) {
    weights *w = l->w;
    msa_status status = read_vocabulary(l);
    if (status == MSA_OK)
        status = find_matrix(l, "token_embd.weight", w->n_vocab, w->n_embd, &w->token_embd);
    if (status == MSA_OK)
        status = find_vector(l, "output_norm.weight", REQUIRED, w->n_embd, &w->output_norm);
    if (status == MSA_OK)
        status = find_vector(l, "rope_freqs.weight", OPTIONAL, w->rope.n_rot / 2, &w->rope.factors);
    if (status != MSA_OK) return status;
    for (int i = 0; w->rope.factors && i < w->rope.n_rot / 2; i++)
        if (!(w->rope.factors[i] > 0) || !isfinite(w->rope.factors[i]))
            return error_set(l->err, MSA_E_FORMAT,
                             "tensor 'rope_freqs.weight' has %g at %d; expected more than 0",
                             (double)w->rope.factors[i], i);
    w->tied = !gguf_find_tensor(l->file, "output.weight");
    w->output = w->token_embd;
    if (!w->tied) status = find_matrix(l, "output.weight", w->n_vocab, w->n_embd, &w->output);
    return status;
}

static msa_status account_for_tensors(loader *l) {
    for (size_t i = 0; i < gguf_tensor_count(l->file); i++) {
        const gguf_tensor *t = gguf_tensor_at(l->file, i);
        char printable[GGUF_PRINTABLE];
        if (!l->used[i])
            return error_set(l->err, MSA_E_UNSUPPORTED,
                             "tensor '%s' has no place in architecture '%s' with %d layers as this "
                             "version knows it; running without it would give wrong results",
                             gguf_printable(t->name, printable), l->family->name, l->w->n_layers);
        uint64_t n_elems = t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3];
        if (__builtin_add_overflow(l->w->n_parameters, n_elems, &l->w->n_parameters) ||
            __builtin_add_overflow(l->w->n_bytes, t->n_bytes, &l->w->n_bytes))
            return error_set(l->err, MSA_E_FORMAT, "the tensors together overflow 63 bits");
    }
    return MSA_OK;
}

static msa_status load(loader *l) {
    msa_status status = find_family(l);
    if (status != MSA_OK) return status;
    l->w->architecture = l->family->name;
    if ((status = read_keys(l)) != MSA_OK) return status;
    l->used = mem_calloc(gguf_tensor_count(l->file), sizeof *l->used);
    l->w->layers = mem_calloc((size_t)l->w->n_layers, sizeof *l->w->layers);
    if (!l->used || !l->w->layers)
        return error_set(l->err, MSA_E_NOMEM, "no memory for a table of %d layers", l->w->n_layers);
    status = load_shared(l);
    for (int i = 0; i < l->w->n_layers && status == MSA_OK; i++)
        status = load_layer(l, i, &l->w->layers[i]);
    return status == MSA_OK ? account_for_tensors(l) : status;
}

msa_status weights_load(weights **out, const gguf_file *file, msa_error *err) {
    *out = NULL;
    weights *w = mem_calloc(1, sizeof *w);
    if (!w) return error_set(err, MSA_E_NOMEM, "no memory for the weights' table");
    w->file = file;
    loader l = {.file = file, .err = err, .w = w};
    msa_status status = load(&l);
    mem_free(l.used);
    if (status != MSA_OK) {
        weights_free(w);
        return error_prefix(err, status, "'%s': ", gguf_name(file));
    }
    *out = w;
    return MSA_OK;
}

void weights_free(weights *w) {
    if (!w) return;
    mem_free(w->layers);
    mem_free(w);
}

void weights_describe_formats(const weights *w, char *text, size_t n_bytes) {
    uint64_t bytes[QUANT_TYPE_COUNT] = {0};
    for (size_t i = 0; i < gguf_tensor_count(w->file); i++) {
        const gguf_tensor *t = gguf_tensor_at(w->file, i);
        bytes[t->type] += t->n_bytes;
    }
    size_t at = 0;
    if (n_bytes) text[0] = 0;
    for (;;) {
        int largest = 0;
        for (int i = 1; i < QUANT_TYPE_COUNT; i++)
            if (bytes[i] > bytes[largest]) largest = i;
        double share = w->n_bytes ? 100.0 * (double)bytes[largest] / (double)w->n_bytes : 0;
        if (share < 0.5 || at >= n_bytes) return;
        int n = snprintf(text + at, n_bytes - at, "%s%s %.0f %%", at ? ", " : "",
                         quant_format_find((uint32_t)largest)->name, share);
        at += n > 0 ? (size_t)n : 0;
        bytes[largest] = 0;
    }
}
