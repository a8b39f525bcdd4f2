/* tokenizer_json.h: the tokenizer files beside safetensors: tokenizer.json (byte-level BPE),
 * tokenizer_config.json and generation_config.json, as transformers has them. */
#ifndef MSA_MODEL_TOKENIZER_JSON_H
#define MSA_MODEL_TOKENIZER_JSON_H

#include "base/file_out.h"
#include "model/tokenizer.h"

/* Adds the three files of a folder to the set, finished. chat: the template, or NULL. MSA_E_ARG for
 * a token that is not UTF-8. */
msa_status tokenizer_to_json(const tokenizer *t, const vocab_text *chat, int32_t n_ctx,
                             const char *folder, file_out_set *set, msa_error *err);

#endif
