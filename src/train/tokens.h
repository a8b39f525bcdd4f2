/* tokens.h: texts as token ids in one memory-mapped file, made once and kept.
 *
 * The file (its name holds the fingerprint of what it was made from: contents of the texts,
 * tokenizer, separator) is, little-endian:
 *
 *   ids    int32 [n_tokens]     document behind document
 *   zeros  to a multiple of 8
 *   docs   int64 [n_docs + 1]   where each begins; the last is n_tokens
 *   trailer: magic "MSATOKS1", u64 fingerprint, i64 n_tokens, i64 n_docs, u64 checksum of all
 *   before it
 *
 * It is written under another name and renamed: a file of the right name is whole, and checked
 * anyway. */
#ifndef MSA_TRAIN_TOKENS_H
#define MSA_TRAIN_TOKENS_H

#include "base/file.h"
#include "model/tokenizer.h"
#include "train/config.h"

typedef struct tokens {
    const int32_t *ids;  /* [n] */
    const int64_t *docs; /* [n_docs + 1] */
    int64_t n, n_docs;
    uint64_t fingerprint;
    int64_t n_replaced; /* bytes without a token; 0 where the file was there already */
    int64_t n_skipped;  /* files that are no text (they hold a NUL); 0 likewise */
    bool made;          /* now, not found */
    file_map map;
} tokens;

/* How far making the file is; return anything but 0 to stop (MSA_E_CANCELLED). */
typedef int tokens_progress(void *user, int64_t n_done, int64_t n_total);

typedef struct tokens_source {
    const config_texts *paths; /* files; directories stand for all files below, in order of name,
                                  hidden ones left out */
    const char *separator;     /* between documents of a file; "": the file is one */
    const tokenizer *tokenizer;
    const char *tokenizer_name; /* the model file it came from, or "bytes" */
    const char *folder;         /* of the token file; must exist */
    tokens_progress *progress;  /* or NULL */
    void *user;
} tokens_source;

/* Maps the file, making it first where it is missing or damaged. Every document begins and ends as
 * the tokenizer asks, and ends with its end-of-text token where it has one. MSA_E_IO and MSA_E_ARG
 * name the path that is missing or empty. */
msa_status tokens_open(tokens *t, const tokens_source *source, msa_error *err);
/* As tokens_open for bytes at a multiple of 8: checks all of them. `name` is for messages. */
msa_status tokens_check(tokens *t, const uint8_t *data, size_t n_bytes, int32_t n_vocab,
                        const char *name, msa_error *err);
void tokens_close(tokens *t); /* zeros are fine */

#endif
