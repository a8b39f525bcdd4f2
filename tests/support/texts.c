/* texts.c: see texts.h. */
#include "support/texts.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/byte_alphabet.h"
#include "support/folder.h"
#include "support/support.h"

tokenizer *texts_tokenizer(int missing) {
    char spelling[256][4];
    vocab_text words[257];
    int32_t types[257];
    for (int i = 0; i < 256; i++) {
        words[i] =
            (vocab_text){spelling[i], utf8_encode(byte_alphabet_code((uint8_t)i), spelling[i])};
        types[i] = VOCAB_NORMAL;
    }
    if (missing >= 0) words[missing] = (vocab_text){"two letters", 11};
    words[TEXTS_END] = (vocab_text){"<|end|>", 7};
    types[TEXTS_END] = VOCAB_CONTROL;
    tokenizer_params p = {.tokens = words,
                          .types = types,
                          .n_tokens = 257,
                          .pre = {"gpt-2", 5},
                          .bos = -1,
                          .eos = TEXTS_END,
                          .eot = -1,
                          .unk = -1,
                          .pad = -1};
    tokenizer *t;
    msa_error err;
    assert_ok(tokenizer_create(&t, &p, &err), &err);
    return t;
}

int texts_open(void **state) {
    void *folder = NULL;
    texts *t = mem_calloc(1, sizeof *t);
    if (!t || folder_create(&folder) != 0) return -1;
    *t = (texts){folder, texts_tokenizer(-1)};
    *state = t;
    return 0;
}

int texts_close(void **state) {
    texts *t = *state;
    void *folder = t->folder;
    tokenizer_free(t->bytes);
    mem_free(t);
    return folder_remove(&folder);
}

const char *texts_path(const texts *t, const char *name) {
    return folder_path(t->folder, name);
}

void texts_write(const texts *t, const char *name, const char *data, size_t n) {
    write_whole(texts_path(t, name), data, n);
}

tokens_source texts_source(const texts *t, const config_texts *paths, const char *separator) {
    return (tokens_source){.paths = paths,
                           .separator = separator,
                           .tokenizer = t->bytes,
                           .tokenizer_name = "bytes",
                           .folder = t->folder};
}

tokens texts_tokens(const texts *t, const char *name, const char *separator) {
    char path[512], *items[] = {path};
    tokens out;
    msa_error err;
    snprintf(path, sizeof path, "%s", texts_path(t, name));
    config_texts paths = {items, 1};
    tokens_source s = texts_source(t, &paths, separator);
    assert_ok(tokens_open(&out, &s, &err), &err);
    return out;
}
