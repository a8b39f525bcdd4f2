/* tokenizer_json.h: the tokenizer files beside safetensors: tokenizer.json (byte-level BPE),
 * tokenizer_config.json and generation_config.json, read and written as transformers has them.
 *
 * The pre-tokeniser is recognised by its settings (pretok_json.h). Where the file normalises to
 * NFC, text that is not in NFC gets other tokens here (model/tokenizer.h). */
#ifndef MSA_MODEL_TOKENIZER_JSON_H
#define MSA_MODEL_TOKENIZER_JSON_H

#include <jansson.h>

#include "base/bytes.h"
#include "base/file_out.h"
#include "model/tokenizer.h"

/* From a folder's tokenizer.json and, where they are, tokenizer_config.json, chat_template.jinja
 * and the token ids of config.json and generation_config.json. *chat (empty: none) receives the
 * template's text, freed by the caller. n_vocab: rows of the embedding; ids below it that the files
 * leave out become unused tokens. MSA_E_FORMAT names file and key or token; MSA_E_UNSUPPORTED a
 * setting this version does not take. */
msa_status tokenizer_from_json(tokenizer **t, bytes *chat, const char *folder, int32_t n_vocab,
                               msa_error *err);
/* Contents of tokenizer.json, tokenizer_config.json, config.json and generation_config.json, all
 * but the first maybe NULL. */
typedef struct tokenizer_jsons {
    const json_t *tokenizer, *settings, *config, *generation;
} tokenizer_jsons;
/* The same from these. */
msa_status tokenizer_parse_json(tokenizer **t, const tokenizer_jsons *from, int32_t n_vocab,
                                msa_error *err);

/* Adds the three files of a folder to the set, finished. chat: the template, or NULL. MSA_E_ARG for
 * a token that is not UTF-8. */
msa_status tokenizer_to_json(const tokenizer *t, const vocab_text *chat, int32_t n_ctx,
                             const char *folder, file_out_set *set, msa_error *err);

#endif
