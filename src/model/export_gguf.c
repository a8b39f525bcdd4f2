/* export_gguf.c: the GGUF files of export.h: keys as llama.cpp reads them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/export_rows.h"
#include "model/gguf_out.h"
#include "model/index_sum.h"
#include "model/tokenizer_gguf.h"
#include "model/weights.h"
#include "nn/quant.h"

static const char *const NAMES[ARCH_FAMILY_COUNT] = {
    [ARCH_LLAMA] = "llama",
    [ARCH_QWEN2] = "qwen2",
    [ARCH_QWEN3] = "qwen3",
    [ARCH_MINIMAX_M3] = "minimax-m3",
};

enum { GATING_SIGMOID = 2 };

typedef struct writer {
    gguf_out *out;
    const char *prefix;
    char key[96];
} writer;

static const char *key_of(writer *w, const char *suffix) {
    snprintf(w->key, sizeof w->key, "%s.%s", w->prefix, suffix);
    return w->key;
}
static void put(writer *w, const char *suffix, int32_t x) {
    gguf_out_u32(w->out, key_of(w, suffix), (uint32_t)x);
}
static void put_float(writer *w, const char *suffix, float x) {
    gguf_out_f32(w->out, key_of(w, suffix), x);
}

/* llama.cpp's numbers for "mostly this". */
static uint32_t file_type(uint32_t type) {
    return type == QUANT_F16 ? 1 : type == QUANT_Q8_0 ? 7 : type == QUANT_BF16 ? 32 : 0;
}

static void put_general(gguf_out *out, const export_source *source, const char *architecture) {
    gguf_out_text(out, "general.architecture", architecture);
    gguf_out_text(out, "general.type", "model");
    if (source->name) gguf_out_text(out, "general.name", source->name);
}

static void put_shape(writer *w, const arch *a) {
    put(w, "block_count", a->n_layers);
    put(w, "context_length", a->n_ctx_train);
    put(w, "embedding_length", a->n_embd);
    put(w, "feed_forward_length", a->n_ff > 0 ? a->n_ff : a->moe.n_ff);
    put(w, "attention.head_count", a->n_q_heads);
    put(w, "attention.head_count_kv", a->n_kv_heads);
    put(w, "attention.key_length", a->head_dim);
    put(w, "attention.value_length", a->head_dim);
    put_float(w, "attention.layer_norm_rms_epsilon", a->norm_eps);
    put(w, "rope.dimension_count", a->n_rot);
    put_float(w, "rope.freq_base", (float)a->rope_base);
    put(w, "vocab_size", a->n_vocab);
}

static void put_index(writer *w, const arch *a) {
    put(w, "indexer.head_count", a->n_kv_heads);
    put(w, "indexer.key_length", a->index.dim);
    put(w, "indexer.top_k", a->index.topk);
    put(w, "indexer.block_size", a->index.block);
    put(w, "indexer.local_blocks", a->index.local);
}

static void put_m3(writer *w, const arch *a) {
    const arch_moe *m = &a->moe;
    writer attention = {w->out, "minimax-m3.attention", ""};
    put(w, "leading_dense_block_count", a->n_dense_layers);
    put(w, "expert_count", m->present ? m->n_experts : 0);
    if (m->present) {
        put(w, "expert_used_count", m->n_used);
        put(w, "expert_feed_forward_length", m->n_ff);
        put(w, "expert_shared_count", m->n_ff_shared / m->n_ff);
        put_float(w, "expert_weights_scale", m->scale);
        gguf_out_bool(w->out, key_of(w, "expert_weights_norm"), true);
        put(w, "expert_gating_func", GATING_SIGMOID);
    }
    put_index(&attention, a);
}

static void put_added_index(gguf_out *out, const arch *a) {
    writer w = {out, "msa", ""};
    put_index(&w, a);
    put(&w, "indexer.init_blocks", a->index.init);
    put(&w, "leading_dense_block_count", a->n_dense_layers);
}

static msa_status put_keys(gguf_out *out, const export_source *source, uint32_t type,
                           msa_error *err) {
    const arch *a = source->arch;
    writer w = {out, NAMES[a->family], ""};
    put_general(out, source, NAMES[a->family]);
    gguf_out_u32(out, "general.file_type", file_type(type));
    if (type == QUANT_Q8_0) gguf_out_u32(out, "general.quantization_version", 2);
    put_shape(&w, a);
    if (a->family == ARCH_MINIMAX_M3)
        put_m3(&w, a);
    else if (a->index.present)
        put_added_index(out, a);
    if (!source->tokenizer) return MSA_OK;
    return tokenizer_to_gguf(source->tokenizer, source->chat.data ? &source->chat : NULL,
                             a->n_vocab, out, err);
}

static msa_status sink(void *user, const void *data, size_t n_bytes, msa_error *err) {
    (void)err;
    gguf_out_data(user, data, n_bytes);
    return MSA_OK;
}

static msa_status add_to_sum(void *user, const void *data, size_t n_bytes, msa_error *err) {
    (void)err;
    checksum_add(user, data, n_bytes);
    return MSA_OK;
}

/* The rows are made twice, since keys come before tensors. */
static msa_status put_sum(gguf_out *out, const export_source *source, const stored_list *list,
                          msa_error *err) {
    char text[INDEX_SUM_TEXT];
    checksum c = index_sum_begin(source->arch);
    msa_status status = MSA_OK;
    for (size_t i = 0; !status && i < list->n; i++) {
        const stored_tensor *t = &list->tensors[i];
        index_sum_tensor(&c, t->name, strlen(t->name), t->type);
        status = export_rows(source, t, true, add_to_sum, &c, err);
    }
    index_sum_text(&c, text);
    if (!status) gguf_out_text(out, INDEX_SUM_KEY, text);
    return status;
}

static msa_status put_tensors(gguf_out *out, const export_source *source, stored_layout layout,
                              uint32_t type, msa_error *err) {
    stored_list list;
    msa_status status = stored_list_create(&list, source->arch, layout, type, err);
    for (size_t i = 0; !status && i < list.n; i++) {
        const stored_tensor *t = &list.tensors[i];
        uint64_t shape[3];
        for (int d = 0; d < t->n_dims; d++) shape[d] = t->shape[t->n_dims - 1 - d];
        gguf_out_tensor(out, t->name, t->type, t->n_dims, shape);
    }
    if (!status && layout == STORED_ADAPTER) status = put_sum(out, source, &list, err);
    if (!status) status = gguf_out_begin_data(out, err);
    for (size_t i = 0; !status && i < list.n; i++)
        status = export_rows(source, &list.tensors[i], true, sink, out, err);
    stored_list_free(&list);
    return status ? status : gguf_out_finish(out, err);
}

/* ---- the index branch alone ---- */

/* The norms of the base model, as its GGUF files have them, tell it from others of its shape. */
static msa_status fingerprint(const export_source *source, uint64_t *out, msa_error *err) {
    const arch *a = source->arch;
    float *norm = mem_alloc((size_t)a->n_embd, sizeof *norm);
    msa_status status = norm ? MSA_OK : error_set(err, MSA_E_NOMEM, "no memory for a norm");
    *out = 0;
    for (int64_t i = 0; i <= 2 * (int64_t)a->n_layers && !status; i++) {
        bool last = i == 2 * (int64_t)a->n_layers;
        tensor_role role = last ? TENSOR_OUTPUT_NORM : i % 2 ? TENSOR_FFN_NORM : TENSOR_ATTN_NORM;
        tensor_spec spec = tensor_spec_of(a, role, last ? -1 : (int32_t)(i / 2), -1);
        status = source->rows(source->user, &spec, 0, 1, norm, err);
        if (!status) *out = weights_fingerprint_add(*out, norm, a->n_embd);
    }
    mem_free(norm);
    return status;
}

static msa_status put_index_keys(gguf_out *out, const export_source *source, msa_error *err) {
    const arch *a = source->arch;
    uint64_t print;
    char text[17];
    writer base = {out, "msa.base", ""};
    msa_status status = fingerprint(source, &print, err);
    if (status != MSA_OK) return status;
    snprintf(text, sizeof text, "%016" PRIx64, print);
    put_general(out, source, "msa-index");
    put_added_index(out, a);
    gguf_out_text(out, "msa.base.architecture", NAMES[a->family]);
    put(&base, "block_count", a->n_layers);
    put(&base, "embedding_length", a->n_embd);
    put(&base, "head_count", a->n_q_heads);
    put(&base, "head_count_kv", a->n_kv_heads);
    put(&base, "key_length", a->head_dim);
    gguf_out_text(out, "msa.base.fingerprint", text);
    return MSA_OK;
}

/* ---- the file ---- */

static msa_status write_file(const export_source *source, const char *path, stored_layout layout,
                             uint32_t type, msa_error *err) {
    file_out *file;
    gguf_out *out = NULL;
    msa_status status = file_out_create(&file, path, err);
    if (status != MSA_OK) return status;
    status = gguf_out_create(&out, file, err);
    if (!status)
        status = layout == STORED_ADAPTER ? put_index_keys(out, source, err)
                                          : put_keys(out, source, type, err);
    if (!status) status = put_tensors(out, source, layout, type, err);
    if (!status) status = file_out_publish(file, err);
    gguf_out_free(out);
    file_out_free(file);
    return status;
}

msa_status export_gguf(const export_source *source, const char *path, uint32_t type,
                       msa_error *err) {
    msa_status status = export_check(source, MSA_FILE_GGUF, type, err);
    return status ? status : write_file(source, path, STORED_GGUF, type, err);
}

msa_status export_index(const export_source *source, const char *path, uint32_t type,
                        msa_error *err) {
    msa_status status = export_check(source, MSA_FILE_INDEX, type, err);
    return status ? status : write_file(source, path, STORED_ADAPTER, type, err);
}
