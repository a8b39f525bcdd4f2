/* model.c: a model from its file: weights, tokenizer, what to tell about it. */
#include "model/model.h"

#include <stdio.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/tokenizer_gguf.h"

static void fill_info(msa_model *m) {
    const weights *w = m->weights;
    const arch *a = &w->arch;
    gguf_string name, model = {0}, pre = {0};
    char printable[2][GGUF_PRINTABLE];
    (void)gguf_get_string(m->file, "tokenizer.ggml.model", &model, NULL);
    (void)gguf_get_string(m->file, "tokenizer.ggml.pre", &pre, NULL);
    snprintf(m->tokenizer_name, sizeof m->tokenizer_name, "%s (%s)",
             gguf_printable(model, printable[0]), gguf_printable(pre, printable[1]));
    if (gguf_get_string(m->file, "general.name", &name, NULL) == MSA_OK)
        gguf_printable(name, m->name);
    weights_describe_formats(w, m->formats, sizeof m->formats);
    m->info = (msa_model_info){
        .architecture = w->architecture,
        .name = m->name,
        .weights = m->formats,
        .n_parameters = w->n_parameters,
        .n_file_bytes = (int64_t)gguf_file_bytes(m->file),
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

msa_status msa_model_load(msa_model **out, const char *path, msa_error *err) {
    if (!out || !path) return error_set(err, MSA_E_ARG, "model and path must not be NULL");
    *out = NULL;
    msa_model *m = mem_calloc(1, sizeof *m);
    if (!m) return error_set(err, MSA_E_NOMEM, "no memory for a model");
    msa_status status = gguf_open(&m->file, path, err);
    if (!status) status = weights_load(&m->weights, m->file, err);
    if (!status) status = tokenizer_from_gguf(&m->tokenizer, &m->chat, m->file, err);
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
    mem_free(m);
}

const msa_model_info *msa_model_get_info(const msa_model *m) {
    return m ? &m->info : NULL;
}
