/* model.c: a model from its file: weights, tokenizer, what to tell about it. */
#include "model/model.h"

#include <stdio.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/config_json.h"
#include "model/model_files.h"
#include "model/tokenizer_gguf.h"
#include "model/tokenizer_json.h"

static void fill_info(msa_model *m) {
    const weights *w = m->weights;
    const arch *a = &w->arch;
    gguf_string name;
    snprintf(m->tokenizer_name, sizeof m->tokenizer_name, "gpt2 (%s)",
             tokenizer_get_parts(m->tokenizer).pre);
    if (m->file && gguf_get_string(m->file, "general.name", &name, NULL) == MSA_OK)
        gguf_printable(name, m->name);
    weights_describe_formats(w, m->formats, sizeof m->formats);
    m->info = (msa_model_info){
        .architecture = w->architecture,
        .name = m->name,
        .weights = m->formats,
        .n_parameters = w->n_parameters,
        .n_file_bytes =
            (int64_t)(m->file ? gguf_file_bytes(m->file) : safetensors_file_bytes(m->files)),
        .n_weight_bytes = w->n_bytes,
        .n_layers = a->n_layers,
        .n_embd = a->n_embd,
        .n_ff = a->n_ff,
        .n_q_heads = a->n_q_heads,
        .n_kv_heads = a->n_kv_heads,
        .head_dim = a->head_dim,
        .n_ctx_train = a->n_ctx_train,
        .n_vocab = a->n_vocab,
        .rope_base = (float)a->rope_base,
        .n_rot = a->n_rot,
        .n_active_parameters = w->n_active,
        .tokenizer = m->tokenizer_name,
        .chat_template = m->chat.name,
        .index_file = m->index_file ? gguf_name(m->index_file) : "",
    };
    if (a->moe.present) {
        m->info.n_experts = a->moe.n_experts;
        m->info.n_experts_used = a->moe.n_used;
        m->info.n_ff_expert = a->moe.n_ff;
        m->info.n_ff_shared = a->moe.n_ff_shared;
        m->info.n_dense_layers = a->n_dense_layers;
    }
    if (w->index) {
        m->info.has_index = 1;
        m->info.n_dense_layers = a->n_dense_layers;
        m->info.index_dim = a->index.dim;
        m->info.index_block = a->index.block;
        m->info.index_topk = a->index.topk;
        m->info.index_local = a->index.local;
        m->info.index_init = a->index.init;
        m->info.n_index_parameters = w->n_index_parameters;
    }
}

static msa_status load_gguf(msa_model *m, const char *path, msa_error *err) {
    msa_status status = gguf_open(&m->file, path, err);
    if (!status) status = weights_load(&m->weights, m->file, err);
    if (!status) status = tokenizer_from_gguf(&m->tokenizer, &m->chat, m->file, err);
    return status;
}

static msa_status load_folder(msa_model *m, const model_files *found, msa_error *err) {
    arch a;
    msa_status status = config_json_read(&a, found->config, err);
    if (!status) status = safetensors_open(&m->files, found->tensors, err);
    if (!status) status = weights_load_safetensors(&m->weights, m->files, &a, err);
    if (!status)
        status = tokenizer_from_json(&m->tokenizer, &m->chat_text, found->folder, a.n_vocab, err);
    if (!status) status = chat_template_create(&m->chat, m->chat_text.data, m->chat_text.n, err);
    return status;
}

msa_status msa_model_load(msa_model **out, const char *path, msa_error *err) {
    if (!out || !path) return error_set(err, MSA_E_ARG, "model and path must not be NULL");
    *out = NULL;
    msa_model *m = mem_calloc(1, sizeof *m);
    if (!m) return error_set(err, MSA_E_NOMEM, "no memory for a model");
    model_files found;
    msa_status status = model_files_find(&found, path, err);
    if (!status) status = found.tensors ? load_folder(m, &found, err) : load_gguf(m, path, err);
    model_files_free(&found);
    if (status) {
        msa_model_free(m);
        return status;
    }
    fill_info(m);
    *out = m;
    return MSA_OK;
}

msa_status msa_model_load_index(msa_model *m, const char *path, msa_error *err) {
    if (!m || !path) return error_set(err, MSA_E_ARG, "model and path must not be NULL");
    gguf_file *file;
    msa_status status = gguf_open(&file, path, err);
    if (status) return status;
    status = weights_load_index(m->weights, file, err);
    if (status) {
        gguf_close(file);
        return status;
    }
    m->index_file = file; /* there was none: the weights had no index */
    fill_info(m);
    return MSA_OK;
}

void msa_model_free(msa_model *m) {
    if (!m) return;
    chat_template_free(&m->chat);
    tokenizer_free(m->tokenizer);
    weights_free(m->weights);
    gguf_close(m->index_file);
    gguf_close(m->file);
    safetensors_close(m->files);
    bytes_free(&m->chat_text);
    mem_free(m);
}

tensor_source model_tensors(const msa_model *m) {
    return (tensor_source){
        .arch = &m->weights->arch, .gguf = m->file, .index = m->index_file, .files = m->files};
}

vocab_text model_chat_text(const msa_model *m) {
    gguf_string text = {m->chat_text.n ? m->chat_text.data : NULL, m->chat_text.n};
    if (m->file && gguf_get_string(m->file, "tokenizer.chat_template", &text, NULL) != MSA_OK)
        text = (gguf_string){0};
    return (vocab_text){text.data, (size_t)text.n};
}

const msa_model_info *msa_model_get_info(const msa_model *m) {
    return m ? &m->info : NULL;
}
