/* export_check.c: what kinds of files have no place for. See export.h. */
#include "model/export.h"
#include "model/narrow.h"
#include "nn/quant.h"

/* What no file says. */
static msa_status check_any(const export_source *source, uint32_t type, msa_error *err) {
    const arch *a = source->arch;
    if (!narrow_supported(type))
        return error_set(err, MSA_E_ARG,
                         "number format %u is not written; F32, F16, BF16 and Q8_0 "
                         "are",
                         type);
    if (a->index.value)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "the index branch has a value head of its own, an ablation that no file "
                         "format has a place for");
    if (a->family == ARCH_MINIMAX_M3 && a->index.present && a->index.init)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "the index branch forces %d initial blocks; MiniMax-M3's files have none",
                         a->index.init);
    if (source->tokenizer && tokenizer_size(source->tokenizer) > a->n_vocab)
        return error_set(err, MSA_E_ARG,
                         "the tokenizer has %d tokens, the model's embedding %d rows; expected as "
                         "many or more",
                         tokenizer_size(source->tokenizer), a->n_vocab);
    return MSA_OK;
}

/* GGUF's readers go by the name of the pre-tokeniser. */
static msa_status check_tokenizer_gguf(const tokenizer *t, msa_error *err) {
    if (!t) return MSA_OK;
    tokenizer_parts p = tokenizer_get_parts(t);
    if (p.usual_merges) return MSA_OK;
    return error_set(
        err, MSA_E_UNSUPPORTED,
        "the tokenizer has \"ignore_merges\" %s, which GGUF has no key for; its readers "
        "take %s with the pre-tokeniser '%s': expected that, or safetensors",
        p.ignore_merges ? "on" : "off", p.ignore_merges ? "off" : "on", p.pre);
}

/* What GGUF's keys for M3 can't say. */
static msa_status check_m3_gguf(const arch *a, msa_error *err) {
    const arch_moe *m = &a->moe;
    if (!a->index.present)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "a MiniMax-M3 without an index branch has no GGUF form: its keys are "
                         "required there");
    if (m->present && m->n_ff_shared % m->n_ff)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "a shared expert of width %d beside experts of %d; GGUF can only say how "
                         "many times as wide it is",
                         m->n_ff_shared, m->n_ff);
    if (a->swiglu_alpha != 1.702f || a->swiglu_limit != 7)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "SwiGLU with alpha %g and limit %g; GGUF has no key for them, and its "
                         "readers take 1.702 and 7",
                         (double)a->swiglu_alpha, (double)a->swiglu_limit);
    return MSA_OK;
}

static msa_status check_folder(const arch *a, uint32_t type, msa_error *err) {
    if (type == QUANT_Q8_0)
        return error_set(err, MSA_E_ARG, "safetensors have no Q8_0; F32, F16 and BF16 are written");
    if (a->family != ARCH_MINIMAX_M3 && a->n_rot != a->head_dim)
        return error_set(err, MSA_E_UNSUPPORTED,
                         "RoPE on %d elements of heads of %d; transformers turns whole heads in "
                         "this family",
                         a->n_rot, a->head_dim);
    return MSA_OK;
}

msa_status export_check(const export_source *source, msa_file_kind kind, uint32_t type,
                        msa_error *err) {
    const arch *a = source->arch;
    bool m3 = a->family == ARCH_MINIMAX_M3;
    msa_status status = check_any(source, type, err);
    if (status != MSA_OK) return status;
    if (kind == MSA_FILE_SAFETENSORS) return check_folder(a, type, err);
    if (kind == MSA_FILE_GGUF) {
        status = check_tokenizer_gguf(source->tokenizer, err);
        return !status && m3 ? check_m3_gguf(a, err) : status;
    }
    if (kind == MSA_FILE_INDEX && type == QUANT_Q8_0)
        return error_set(err, MSA_E_ARG,
                         "an index file has no Q8_0: choices hang on it; F32, F16 and BF16 are "
                         "written");
    if (a->index.present && !m3) return MSA_OK;
    return error_set(err, MSA_E_ARG,
                     "an index file is for a Llama family with an index branch; this model %s",
                     m3 ? "is a MiniMax-M3" : "has none");
}
