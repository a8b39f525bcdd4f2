/* tokenizer_gguf.h: the tokenizer and the chat template of a GGUF file. */
#ifndef MSA_MODEL_TOKENIZER_GGUF_H
#define MSA_MODEL_TOKENIZER_GGUF_H

#include "model/chat.h"
#include "model/gguf.h"
#include "model/gguf_out.h"
#include "model/tokenizer.h"

/* Reads the keys tokenizer.*; everything is copied, the file may be closed afterwards. Messages
 * begin with the file's name and name the key. On failure *t is NULL and *c needs no free. */
msa_status tokenizer_from_gguf(tokenizer **t, chat_template *c, const gguf_file *file,
                               msa_error *err);

/* The same keys into a file being written. chat: the template, or NULL. n_vocab at least the size
 * of the vocabulary; what lies beyond becomes unused tokens. MSA_E_NOMEM, MSA_E_ARG. */
msa_status tokenizer_to_gguf(const tokenizer *t, const vocab_text *chat, int32_t n_vocab,
                             gguf_out *out, msa_error *err);

#endif
