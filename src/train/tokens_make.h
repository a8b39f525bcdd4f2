/* tokens_make.h: making a token file, for tokens.c. */
#ifndef MSA_TRAIN_TOKENS_MAKE_H
#define MSA_TRAIN_TOKENS_MAKE_H

#include "train/files.h"
#include "train/tokens.h"

#define TOKENS_MAGIC "MSATOKS1"

typedef struct tokens_trailer {
    char magic[8];
    uint64_t fingerprint;
    int64_t n_tokens, n_docs;
    uint64_t checksum; /* of all bytes before it */
} tokens_trailer;

typedef struct tokens_made {
    int64_t n_replaced, n_skipped;
} tokens_made;

/* Of the contents of the files in order, the separator and the tokenizer. */
msa_status tokens_fingerprint(const tokens_source *source, const config_texts *files,
                              uint64_t *fingerprint, msa_error *err);
msa_status tokens_make(const tokens_source *source, const config_texts *files, uint64_t fingerprint,
                       const char *path, tokens_made *made, msa_error *err);

#endif
