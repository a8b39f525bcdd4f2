/* trainer_export.c: weights from and into model files. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/config_json.h"
#include "model/export.h"
#include "model/model_files.h"
#include "model/tensor_source.h"
#include "model/weights.h"
#include "nn/quant.h"
#include "train/trainer.h"

/* ---- into files ----------------------------------------------------------------------------- */

static uint32_t type_of(const msa_trainer *t) {
    static const uint32_t TYPES[] = {QUANT_F32, QUANT_F16, QUANT_BF16};
    return TYPES[t->config.run.type];
}

static msa_status export_safetensors(const msa_trainer *t, const export_source *source,
                                     msa_error *err) {
    char folder[4096];
    snprintf(folder, sizeof folder, "%.4000s/model", t->config.run.out);
    return export_folder(source, folder, type_of(t), 0, err);
}

static export_source source_of(msa_trainer *t) {
    return (export_source){.arch = &t->arch,
                           .rows = params_rows,
                           .user = t->params,
                           .tokenizer = t->tokenizer,
                           .chat = {t->chat.failed ? NULL : t->chat.data, t->chat.n},
                           .name = "msa train"};
}

msa_status trainer_check_export(msa_trainer *t, msa_error *err) {
    int format = (int)t->config.run.format;
    bool both = format == FORMAT_BOTH;
    export_source source = source_of(t);
    msa_status status = MSA_OK;
    if (both || format == FORMAT_GGUF)
        status = export_check(&source, MSA_FILE_GGUF, type_of(t), err);
    if (status == MSA_OK && (both || format == FORMAT_SAFETENSORS))
        status = export_check(&source, MSA_FILE_SAFETENSORS, type_of(t), err);
    if (format == FORMAT_INDEX) status = export_check(&source, MSA_FILE_INDEX, type_of(t), err);
    return status == MSA_OK ? status : error_prefix(err, status, "run.format: ");
}

msa_status trainer_export(msa_trainer *t, msa_error *err) {
    export_source source = source_of(t);
    msa_status status = MSA_OK;
    switch ((config_format)t->config.run.format) {
    case FORMAT_INDEX: return export_index(&source, t->model_path, type_of(t), err);
    case FORMAT_SAFETENSORS: return export_safetensors(t, &source, err);
    case FORMAT_BOTH: status = export_safetensors(t, &source, err); break;
    case FORMAT_GGUF: break;
    case FORMAT_NONE: return MSA_OK;
    }
    return status == MSA_OK ? export_gguf(&source, t->model_path, type_of(t), err) : status;
}

/* ---- from files ----------------------------------------------------------------------------- */

/* A model file that is open: GGUF, or a folder of safetensors; and an index branch beside it. */
typedef struct opened {
    gguf_file *gguf, *index;
    safetensors *files;
    arch arch;
} opened;

static void close_model(opened *o) {
    gguf_close(o->gguf);
    gguf_close(o->index);
    safetensors_close(o->files);
}

static msa_status open_index(opened *o, weights *w, const char *path, msa_error *err) {
    if (path[0] == 0) return MSA_OK;
    msa_status status = gguf_open(&o->index, path, err);
    if (status == MSA_OK) status = weights_load_index(w, o->index, err);
    return status == MSA_OK ? MSA_OK : error_prefix(err, status, "model.index.from: ");
}

/* Loaded as the runtime would, so that what it refuses is not trained from: a tensor without a
 * place, or RoPE that is scaled. */
static msa_status open_model(opened *o, const train_config *c, msa_error *err) {
    const char *path = c->model.from;
    model_files found;
    weights *w = NULL;
    *o = (opened){0};
    msa_status status = model_files_find(&found, path, err);
    if (!status && found.tensors) {
        status = config_json_read(&o->arch, found.config, err);
        if (!status) status = safetensors_open(&o->files, found.tensors, err);
        if (!status) status = weights_load_safetensors(&w, o->files, &o->arch, err);
    } else if (!status) {
        status = gguf_open(&o->gguf, path, err);
        if (!status) status = weights_load(&w, o->gguf, err);
    }
    model_files_free(&found);
    if (status == MSA_OK && (w->rope.factors || w->rope.linear_factor != 1))
        status = error_set(err, MSA_E_UNSUPPORTED,
                           "'%s' scales its RoPE, which is neither trained nor written", path);
    if (status != MSA_OK) error_prefix(err, status, "model.from: ");
    if (status == MSA_OK) status = open_index(o, w, c->model.index.from, err);
    if (status == MSA_OK) o->arch = w->arch;
    weights_free(w);
    return status;
}

static arch_index index_of(const train_config *c, const arch *a) {
    return (arch_index){.present = true,
                        .dim = c->model.index.dim ? (int32_t)c->model.index.dim : a->head_dim,
                        .block = (int32_t)c->model.index.block,
                        .topk = (int32_t)c->model.index.topk,
                        .local = (int32_t)c->model.index.local,
                        .init = (int32_t)c->model.index.init};
}

/* What only the shape in the file can tell to be impossible. */
static msa_status check_from(const train_config *c, const arch *file, const arch *a,
                             msa_error *err) {
    int64_t budget = (int64_t)a->index.topk * a->index.block;
    if (c->run.format == FORMAT_INDEX && file->index.present && !c->model.index.from[0])
        return error_set(err, MSA_E_ARG,
                         "run.format is index; the model has an index branch of its own, beside "
                         "which no other is loaded, expected gguf, safetensors or both");
    if (!a->index.present) return MSA_OK;
    if (a->n_dense_layers >= a->n_layers)
        return error_set(err, MSA_E_ARG,
                         "model.dense_layers is %d; the model has %d layers, expected less",
                         a->n_dense_layers, a->n_layers);
    if (a->index.dim < a->n_rot)
        return error_set(err, MSA_E_ARG,
                         "model.index.dim is %d; expected at least %d, the dims that RoPE turns",
                         a->index.dim, a->n_rot);
    if (c->data.context <= budget)
        return error_set(err, MSA_E_ARG,
                         "data.context is %lld and the key budget of the model, topk x block, "
                         "%lld; expected a longer context: up to the budget everything is selected",
                         (long long)c->data.context, (long long)budget);
    return MSA_OK;
}

msa_status trainer_arch_from(msa_trainer *t, msa_error *err) {
    const train_config *c = &t->config;
    arch *a = &t->arch;
    opened o;
    msa_status status = open_model(&o, c, err);
    if (status == MSA_OK) {
        *a = o.arch;
        t->from_index = o.arch.index.present && c->model.index.keep;
        if (!c->model.index.on) a->index = (arch_index){0};
        if (c->model.index.on && !t->from_index) {
            a->index = index_of(c, a);
            if (!a->moe.present) a->n_dense_layers = (int32_t)c->model.dense_layers;
        }
        a->index.value = c->recipe.index_value;
        if (!trainer_is_frozen(t) && a->n_ctx_train < c->data.context)
            a->n_ctx_train = (int32_t)c->data.context;
        status = check_from(c, &o.arch, a, err);
        if (status == MSA_OK && c->data.context > a->n_ctx_train)
            status = error_set(err, MSA_E_ARG,
                               "data.context is %lld and the model was trained for %d tokens; "
                               "expected no more than these: weights that stay as they are do not "
                               "learn what other positions mean",
                               (long long)c->data.context, a->n_ctx_train);
    }
    close_model(&o);
    return status;
}

/* Tensors the model has and no file gives: those of an index branch it gets. */
static bool is_new(const msa_trainer *t, const param *one) {
    if (one->role == TENSOR_INDEX_V || one->role == TENSOR_INDEX_O) return true;
    return one->index && !t->from_index;
}

static msa_status read_param(msa_trainer *t, tensor_source *source, const param *one,
                             msa_error *err) {
    tensor_spec spec = tensor_spec_of(&t->arch, one->role, one->layer, one->expert);
    return tensor_source_rows(source, &spec, 0, one->n_out, t->params->w + one->at, err);
}

static msa_status read_bias(msa_trainer *t, tensor_source *source, int32_t layer, msa_error *err) {
    tensor_spec spec = tensor_spec_of(&t->arch, TENSOR_ROUTER_BIAS, layer, -1);
    float *to = t->params->router_bias + (int64_t)layer * t->arch.moe.n_experts;
    return tensor_source_rows(source, &spec, 0, 1, to, err);
}

msa_status trainer_weights_from(msa_trainer *t, msa_error *err) {
    opened o;
    msa_status status = open_model(&o, &t->config, err);
    if (status != MSA_OK) {
        close_model(&o);
        return status;
    }
    tensor_source source = {.arch = &o.arch, .gguf = o.gguf, .index = o.index, .files = o.files};
    for (int32_t i = 0; i < t->params->n && status == MSA_OK; i++)
        if (!is_new(t, &t->params->list[i]))
            status = read_param(t, &source, &t->params->list[i], err);
    for (int32_t l = 0; l < t->arch.n_layers && status == MSA_OK; l++)
        if (tensor_layer_has_experts(&t->arch, l)) status = read_bias(t, &source, l, err);
    close_model(&o);
    return status == MSA_OK ? MSA_OK : error_prefix(err, status, "model.from: ");
}
