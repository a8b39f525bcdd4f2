/* export.h: a model into files that other programs run: GGUF for llama.cpp, a folder of safetensors
 * and JSON for transformers, an index branch alone for a base model that stays as it is.
 *
 * The numbers come from a function, row by row (tensor_list.h), so that a model being trained, one
 * in another file and one larger than memory are all the same here. Files appear whole or not at
 * all: where anything fails, what was there before is there still. */
#ifndef MSA_MODEL_EXPORT_H
#define MSA_MODEL_EXPORT_H

#include "model/tensor_list.h"
#include "model/tokenizer.h"

typedef struct export_source {
    const arch *arch;
    tensor_rows_fn *rows;
    void *user;
    const tokenizer *tokenizer; /* NULL: none is written; only an index file makes sense without */
    vocab_text chat;            /* the chat template; data NULL: none */
    const char *name;           /* of the model, for general.name; NULL: none */
} export_source;

/* What the functions below refuse of architecture, tokenizer and format,
 * before there are numbers: for those who work long before they write. MSA_E_UNSUPPORTED says what
 * the kind of file has no place for, MSA_E_ARG what is not written at all. */
msa_status export_check(const export_source *source, msa_file_kind kind, uint32_t type,
                        msa_error *err);

/* A GGUF file, matrices in `type` (F32, F16, BF16, Q8_0 of nn/quant.h): architecture minimax-m3,
 * llama, qwen2 or qwen3, the latter three with msa.* keys and blk.N.indexer.* tensors where the
 * model has an index branch (llama.cpp refuses those: export_index keeps them apart).
 * MSA_E_UNSUPPORTED says what GGUF has no key for; MSA_E_ARG a format that is not written. */
msa_status export_gguf(const export_source *source, const char *path, uint32_t type,
                       msa_error *err);

/* The index branch alone, architecture msa-index (model/weights.h), beside its base model. For the
 * Llama families. `type` of the matrices: F32, F16 or BF16. */
msa_status export_index(const export_source *source, const char *path, uint32_t type,
                        msa_error *err);

/* A folder (made where there is none): model.safetensors, or files of up to max_bytes of data
 * (0: one file) with their index; config.json, generation_config.json, tokenizer.json and
 * tokenizer_config.json (a chat_template.jinja of before goes: readers would prefer it). `type`:
 * F32, F16 or BF16. M3 as model_type minimax_m3_vl_text, which transformers loads with
 * AutoModelForCausalLM. */
msa_status export_folder(const export_source *source, const char *folder, uint32_t type,
                         uint64_t max_bytes, msa_error *err);

#endif
