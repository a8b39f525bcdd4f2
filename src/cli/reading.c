/* reading.c: see reading.h. */
#include "cli/reading.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/text.h"

msa_status reading_open(const model_args *args, const char *file, msa_model **model,
                        msa_tokens *tokens, msa_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    *model = NULL;
    if (!file) return fail(err, MSA_E_ARG, "-f/--file is missing: expected -f FILE, a text");
    msa_status status = text_read("-f", file, &text, &n_bytes, err);
    if (status == MSA_OK) status = model_open(args, model, err);
    if (status == MSA_OK)
        status = msa_tokenize(*model, text, n_bytes, MSA_ADD_SPECIAL, tokens, err);
    free(text);
    if (status == MSA_OK) {
        reading_warn_replaced(tokens);
    } else {
        msa_model_free(*model);
        *model = NULL;
    }
    return status;
}

void reading_warn_replaced(const msa_tokens *tokens) {
    if (tokens->n_replaced == 0) return;
    fprintf(stderr,
            "msa: %zu bytes of the text have no token in this model; it reads U+FFFD in their "
            "place\n",
            tokens->n_replaced);
}
