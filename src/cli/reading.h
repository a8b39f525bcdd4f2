/* reading.h: a model and the tokens of a text for it: how eval and map begin. */
#ifndef MSA_CLI_READING_H
#define MSA_CLI_READING_H

#include "cli/settings.h"

/* Reads `file` (the value of -f; NULL is an error that says so), opens the model and appends the
 * text's tokens, special ones added as the model asks. On failure *model is NULL. */
msa_status reading_open(const model_args *args, const char *file, msa_model **model,
                        msa_tokens *tokens, msa_error *err);

/* Says on standard error where the vocabulary lacked bytes of the text: the model does not see
 * what its user wrote. */
void reading_warn_replaced(const msa_tokens *tokens);

#endif
