/* weights.c: see weights.h. */
#include "model/weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/weights_loader.h"
#include "nn/quant.h"

/* ---- a layer ---- */

typedef struct named_matrix {
    const char *name;
    int64_t n_out, n_in;
    gemm_weight *to;
} named_matrix;

static msa_status read_matrices(loader *l, int32_t layer, const named_matrix *matrices, size_t n) {
    char name[64];
    msa_status status = MSA_OK;
    for (size_t i = 0; i < n && status == MSA_OK; i++) {
        snprintf(name, sizeof name, "blk.%d.%s.weight", layer, matrices[i].name);
        status = loader_matrix(l, name, matrices[i].n_out, matrices[i].n_in, matrices[i].to);
    }
    return status;
}

static msa_status read_attention(loader *l, int32_t i, weights_layer *layer) {
    const arch *a = &l->w->arch;
    demand bias = l->family->qkv_bias, norm = l->family->qk_norm;
    int64_t n_q = (int64_t)a->n_q_heads * a->head_dim, n_kv = (int64_t)a->n_kv_heads * a->head_dim;
    const named_matrix matrices[] = {
        {"attn_q", n_q, a->n_embd, &layer->wq},
        {"attn_k", n_kv, a->n_embd, &layer->wk},
        {"attn_v", n_kv, a->n_embd, &layer->wv},
        {"attn_output", a->n_embd, n_q, &layer->wo},
    };
    const struct {
        const char *name;
        demand demanded;
        int64_t n;
        const float **to;
    } vectors[] = {
        {"attn_norm.weight", REQUIRED, a->n_embd, &layer->attn_norm},
        {"ffn_norm.weight", REQUIRED, a->n_embd, &layer->ffn_norm},
        {"attn_q.bias", bias, n_q, &layer->bq},
        {"attn_k.bias", bias, n_kv, &layer->bk},
        {"attn_v.bias", bias, n_kv, &layer->bv},
        {"attn_q_norm.weight", norm, a->head_dim, &layer->q_norm},
        {"attn_k_norm.weight", norm, a->head_dim, &layer->k_norm},
    };
    char name[64];
    msa_status status = read_matrices(l, i, matrices, sizeof matrices / sizeof *matrices);
    for (size_t v = 0; v < sizeof vectors / sizeof *vectors && status == MSA_OK; v++) {
        snprintf(name, sizeof name, "blk.%d.%s", i, vectors[v].name);
        status = loader_vector(l, name, vectors[v].demanded, vectors[v].n, vectors[v].to);
    }
    return status;
}

/* A dense feed-forward layer, or the shared expert: suffix "" or "_shexp". */
static msa_status read_mlp(loader *l, int32_t i, const char *suffix, int64_t n_ff,
                           weights_mlp *mlp) {
    int64_t n_embd = l->w->arch.n_embd;
    char gate[32], up[32], down[32];
    snprintf(gate, sizeof gate, "ffn_gate%s", suffix);
    snprintf(up, sizeof up, "ffn_up%s", suffix);
    snprintf(down, sizeof down, "ffn_down%s", suffix);
    const named_matrix matrices[] = {
        {gate, n_ff, n_embd, &mlp->gate},
        {up, n_ff, n_embd, &mlp->up},
        {down, n_embd, n_ff, &mlp->down},
    };
    return read_matrices(l, i, matrices, 3);
}

static msa_status read_experts(loader *l, int32_t i, weights_mlp *experts, weights_layer *layer) {
    const arch *a = &l->w->arch;
    const arch_moe *moe = &a->moe;
    const struct {
        const char *name;
        int64_t n_out, n_in;
        gemm_weight *to;
    } matrices[] = {
        {"ffn_gate_exps", moe->n_ff, a->n_embd, &experts->gate},
        {"ffn_up_exps", moe->n_ff, a->n_embd, &experts->up},
        {"ffn_down_exps", a->n_embd, moe->n_ff, &experts->down},
    };
    char name[64];
    msa_status status = MSA_OK;
    for (int m = 0; m < 3 && status == MSA_OK; m++) {
        snprintf(name, sizeof name, "blk.%d.%s.weight", i, matrices[m].name);
        status = loader_matrices(l, name, moe->n_experts, matrices[m].n_out, matrices[m].n_in,
                                 matrices[m].to, sizeof *experts);
    }
    snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.weight", i);
    if (status == MSA_OK)
        status = loader_floats(l, name, moe->n_experts, a->n_embd, &layer->router);
    snprintf(name, sizeof name, "blk.%d.exp_probs_b.bias", i);
    if (status == MSA_OK)
        status = loader_vector(l, name, REQUIRED, moe->n_experts, &layer->router_bias);
    layer->experts = experts;
    return status;
}

static msa_status read_layer(loader *l, int32_t i) {
    const arch *a = &l->w->arch;
    weights_layer *layer = &l->w->layers[i];
    msa_status status = read_attention(l, i, layer);
    if (status != MSA_OK) return status;
    if (!a->moe.present || i < a->n_dense_layers) return read_mlp(l, i, "", a->n_ff, &layer->mlp);
    status = read_experts(
        l, i, l->w->experts + (size_t)(i - a->n_dense_layers) * (size_t)a->moe.n_experts, layer);
    if (status != MSA_OK || a->moe.n_ff_shared == 0) return status;
    return read_mlp(l, i, "_shexp", a->moe.n_ff_shared, &layer->mlp);
}

/* ---- what all layers share ---- */

/* The vocabulary is as large as the embedding has rows; what else states its size must agree. */
static msa_status read_vocabulary(loader *l) {
    const gguf_tensor *t = gguf_find_tensor(l->file, "token_embd.weight");
    if (!t) return error_set(l->err, MSA_E_FORMAT, "tensor 'token_embd.weight' is missing");
    if (t->shape[1] > INT32_MAX)
        return error_set(l->err, MSA_E_FORMAT,
                         "tensor 'token_embd.weight' has %" PRIu64 " rows; expected up to %d",
                         t->shape[1], INT32_MAX);
    int32_t stated, n_vocab = l->w->arch.n_vocab = (int32_t)t->shape[1];
    msa_status status = loader_count(l, "vocab_size", 1, n_vocab, &stated);
    if (status == MSA_OK && stated != n_vocab)
        status = error_set(l->err, MSA_E_FORMAT,
                           "key '%s' is %d, but tensor 'token_embd.weight' has %d rows", l->key,
                           stated, n_vocab);
    const gguf_value *tokens = gguf_find(l->file, "tokenizer.ggml.tokens");
    if (status == MSA_OK && tokens && tokens->n != (uint64_t)n_vocab)
        status = error_set(l->err, MSA_E_FORMAT,
                           "key 'tokenizer.ggml.tokens' has %" PRIu64
                           " entries, but tensor 'token_embd.weight' has %d rows",
                           tokens->n, n_vocab);
    return status;
}

static msa_status read_shared(loader *l) {
    weights *w = l->w;
    arch *a = &w->arch;
    msa_status status = read_vocabulary(l);
    if (status == MSA_OK)
        status = loader_matrix(l, "token_embd.weight", a->n_vocab, a->n_embd, &w->token_embd);
    if (status == MSA_OK)
        status = loader_vector(l, "output_norm.weight", REQUIRED, a->n_embd, &w->output_norm);
    if (status == MSA_OK)
        status =
            loader_vector(l, "rope_freqs.weight", OPTIONAL, w->rope.n_rot / 2, &w->rope.factors);
    if (status != MSA_OK) return status;
    for (int i = 0; w->rope.factors && i < w->rope.n_rot / 2; i++)
        if (!(w->rope.factors[i] > 0) || !isfinite(w->rope.factors[i]))
            return error_set(l->err, MSA_E_FORMAT,
                             "tensor 'rope_freqs.weight' has %g at %d; expected more than 0",
                             (double)w->rope.factors[i], i);
    a->tied = !gguf_find_tensor(l->file, "output.weight");
    w->output = w->token_embd;
    if (!a->tied) status = loader_matrix(l, "output.weight", a->n_vocab, a->n_embd, &w->output);
    return status;
}

static int64_t count_matrix(const gemm_weight *w) {
    return w->n_out * w->n_in;
}

static int64_t count_mlp(const weights_mlp *mlp) {
    return count_matrix(&mlp->gate) + count_matrix(&mlp->up) + count_matrix(&mlp->down);
}

void weights_count_parts(weights *w) {
    const arch *a = &w->arch;
    w->n_active = w->n_parameters;
    for (int32_t i = a->n_dense_layers; i < a->n_layers; i++) {
        const weights_index *x = w->index ? &w->index[i] : NULL;
        if (x)
            w->n_index_parameters +=
                count_matrix(&x->wq) + count_matrix(&x->wk) + (x->q_norm ? 2 * a->index.dim : 0);
        if (w->layers[i].experts)
            w->n_active -= (a->moe.n_experts - a->moe.n_used) * count_mlp(w->layers[i].experts);
    }
}

/* ---- loading ---- */

msa_status weights_allocate_experts(weights *w, uint64_t n_file_bytes, msa_error *err) {
    const arch *a = &w->arch;
    if (!a->moe.present) return MSA_OK;
    int32_t n_layers = a->n_layers - a->n_dense_layers;
    uint64_t n = (uint64_t)n_layers * (uint64_t)a->moe.n_experts;
    if (n > 2 * n_file_bytes / 3 / (uint64_t)a->moe.n_ff / (uint64_t)a->n_embd)
        return error_set(err, MSA_E_FORMAT,
                         "%d experts of %d x %d in each of %d layers are more than a file of "
                         "%" PRIu64 " bytes holds",
                         a->moe.n_experts, a->moe.n_ff, a->n_embd, n_layers, n_file_bytes);
    w->experts = mem_calloc((size_t)n, sizeof *w->experts);
    return w->experts
               ? MSA_OK
               : error_set(err, MSA_E_NOMEM, "no memory for a table of %" PRIu64 " experts", n);
}

static msa_status allocate(loader *l) {
    weights *w = l->w;
    l->used = mem_calloc(gguf_tensor_count(l->file), sizeof *l->used);
    w->layers = mem_calloc((size_t)w->arch.n_layers, sizeof *w->layers);
    if (!l->used || !w->layers)
        return error_set(l->err, MSA_E_NOMEM, "no memory for a table of %d layers",
                         w->arch.n_layers);
    return weights_allocate_experts(w, gguf_file_bytes(l->file), l->err);
}

static msa_status load(loader *l) {
    weights *w = l->w;
    msa_status status = loader_read_keys(l);
    if (status == MSA_OK) status = allocate(l);
    if (status == MSA_OK) status = read_shared(l);
    for (int32_t i = 0; i < w->arch.n_layers && status == MSA_OK; i++) status = read_layer(l, i);
    if (status == MSA_OK) status = loader_read_index(l, &w->arch, &w->index);
    if (status == MSA_OK) status = loader_account(l, &w->n_parameters, &w->n_bytes);
    if (status != MSA_OK) return status;
    w->arch.qkv_bias = w->layers[0].bq != NULL;
    for (size_t i = 0; i < gguf_tensor_count(l->file); i++)
        w->format_bytes[gguf_tensor_at(l->file, i)->type] += gguf_tensor_at(l->file, i)->n_bytes;
    weights_count_parts(w);
    return MSA_OK;
}

msa_status weights_load(weights **out, const gguf_file *file, msa_error *err) {
    *out = NULL;
    weights *w = mem_calloc(1, sizeof *w);
    if (!w) return error_set(err, MSA_E_NOMEM, "no memory for the weights' table");
    w->file = gguf_name(file);
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
    mem_free(w->experts);
    mem_free(w->index);
    mem_free(w->owned);
    mem_free(w);
}

void weights_describe_formats(const weights *w, char *text, size_t n_bytes) {
    uint64_t bytes[QUANT_TYPE_COUNT];
    memcpy(bytes, w->format_bytes, sizeof bytes);
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
