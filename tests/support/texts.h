/* texts.h: a folder of texts to train on, and the tokenizer of bytes that reads them. */
#ifndef MSA_TESTS_TEXTS_H
#define MSA_TESTS_TEXTS_H

#include "train/tokens.h"

enum { TEXTS_END = 256 }; /* the token behind each document; those before it are bytes */

typedef struct texts {
    char *folder;
    tokenizer *bytes;
} texts;

/* For cmocka's setup and teardown: *state is the texts, in an empty folder. */
int texts_open(void **state);
int texts_close(void **state);

/* A token for each byte and an end; the byte `missing` has none (-1: all have). tokenizer_free. */
tokenizer *texts_tokenizer(int missing);

/* Path of a file in the folder; static storage, valid until the fourth call from now. */
const char *texts_path(const texts *t, const char *name);
void texts_write(const texts *t, const char *name, const char *data, size_t n);

/* The token files of these paths, in the same folder. */
tokens_source texts_source(const texts *t, const config_texts *paths, const char *separator);
/* The tokens of one file or directory of the folder; tokens_close. */
tokens texts_tokens(const texts *t, const char *name, const char *separator);

#endif
