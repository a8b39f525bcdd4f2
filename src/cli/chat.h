/* chat.h: conversations in the model's own template. */
#ifndef MSA_CLI_CHAT_H
#define MSA_CLI_CHAT_H

#include "cli/answer.h"

/* One message of the user's, and the opening of the answer, as tokens. system may be NULL. */
msa_status chat_tokenize_one(const msa_model *model, const char *system, const char *text,
                             msa_tokens *tokens, msa_error *err);

/* A chat on the terminal until the user leaves. file: a text that goes in front of the first
 * message, or NULL. */
msa_status chat_interactive(speaker *s, const msa_sampler_params *sampling, const char *system,
                            const char *file, int64_t n_predict, msa_error *err);

/* Says on standard error where an answer did not end by itself for want of room. */
void chat_note_stop(const speaker *s, answer_stop stop);

#endif
