/* model_export.c: msa_model_export: a loaded model as the source of an export. */
#include "model/export.h"
#include "model/model.h"
#include "nn/quant.h"

/* Scaled RoPE is in the runtime but in no field of an architecture: it would be lost. */
static msa_status check_rope(const weights *w, msa_error *err) {
    if (!w->rope.factors && w->rope.linear_factor == 1) return MSA_OK;
    return error_set(err, MSA_E_UNSUPPORTED, "'%s' scales its RoPE (%s), which is not written",
                     w->file, w->rope.factors ? "tensor 'rope_freqs.weight'" : "linear scaling");
}

msa_status msa_model_export(const msa_model *m, const char *path, const msa_export_params *params,
                            msa_error *err) {
    static const uint32_t types[] = {QUANT_F32, QUANT_F16, QUANT_BF16, QUANT_Q8_0};
    if (!m || !path || !params)
        return error_set(err, MSA_E_ARG, "model, path and params must not be NULL");
    if ((unsigned)params->format > MSA_WEIGHTS_Q8_0 || (unsigned)params->kind > MSA_FILE_INDEX ||
        params->max_bytes < 0)
        return error_set(err, MSA_E_ARG,
                         "kind %d, format %d, max_bytes %lld; expected kinds 0 to 2, formats 0 to "
                         "3 and no negative size",
                         (int)params->kind, (int)params->format, (long long)params->max_bytes);
    tensor_source tensors = model_tensors(m);
    export_source source = {.arch = tensors.arch,
                            .rows = tensor_source_rows,
                            .user = &tensors,
                            .tokenizer = m->tokenizer,
                            .chat = model_chat_text(m),
                            .name = m->name[0] ? m->name : NULL};
    uint32_t type = types[params->format];
    msa_status status = check_rope(m->weights, err);
    if (status != MSA_OK) return status;
    switch (params->kind) {
    case MSA_FILE_GGUF: return export_gguf(&source, path, type, err);
    case MSA_FILE_SAFETENSORS:
        return export_folder(&source, path, type, (uint64_t)params->max_bytes, err);
    default: return export_index(&source, path, type, err);
    }
}
