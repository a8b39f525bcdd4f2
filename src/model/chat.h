/* chat.h: chat templates: conversations as the text a model was trained on. */
#ifndef MSA_MODEL_CHAT_H
#define MSA_MODEL_CHAT_H

#include "base/bytes.h"
#include "base/error.h"
#include "model/vocab.h"
#include "msa/model.h"

typedef enum chat_family {
    CHAT_NONE,    /* the file has no template */
    CHAT_UNKNOWN, /* it has one this version does not know */
    CHAT_CHATML,
    CHAT_QWEN3, /* ChatML whose past reasoning is left out */
    CHAT_LLAMA2,
    CHAT_LLAMA3,
    CHAT_LLAMA31,    /* with dates in the system message */
    CHAT_MINIMAX_M3, /* adaptive thinking; the system message is its "developer" */
    CHAT_ZEPHYR
} chat_family;

typedef struct chat_template {
    chat_family family;
    const char *name; /* "chatml", "llama-3.1", ..., "unknown", "none"; static */
    char *system;     /* system message used where the conversation has none; NULL: none */
    char *prompt;     /* what opens the assistant's turn */
    bool begins_with_bos;
    bool always_prompts; /* opens the assistant's turn asked or not */
    char beginning[128]; /* of the template, for messages */
} chat_template;

/* Recognises the template by its text. One that is not known is no error here; only formatting with
 * it is. */
msa_status chat_template_create(chat_template *c, const char *text, size_t n, msa_error *err);
void chat_template_free(chat_template *c);

/* As msa_chat_format. bos and eos: text of those tokens, "" where there is none.
 * Where a template prints today's date (llama-3.1), it is the template's own fallback,
 * 26 Jul 2024, so that the same conversation gives the same tokens every day. */
msa_status chat_format(const chat_template *c, const msa_chat_message *messages, size_t n,
                       bool add_generation_prompt, vocab_text bos, vocab_text eos, char **text,
                       msa_error *err);
/* The same, with its length, which knows of NULs in bos and eos; and where the text of messages
 * lies in it: `ranges` becomes tokenizer_range by tokenizer_range. Both are freed by the caller. */
msa_status chat_format_ranges(const chat_template *c, const msa_chat_message *messages, size_t n,
                              bool add_generation_prompt, vocab_text bos, vocab_text eos,
                              bytes *text, bytes *ranges, msa_error *err);

#endif
