/* tokens.c: mapping and checking a token file, see tokens.h. */
#include "train/tokens.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checksum.h"
#include "base/mem.h"
#include "train/tokens_make.h"

static msa_status damaged(const char *name, const char *what, msa_error *err) {
    return error_set(err, MSA_E_FORMAT, "'%.200s' is no whole token file: %s", name, what);
}

static bool parts_fit(const tokens_trailer *t, size_t n_bytes) {
    if (t->n_tokens < 1 || t->n_docs < 1) return false;
    if (t->n_tokens > INT64_MAX / 32 || t->n_docs > t->n_tokens) return false;
    size_t ids = size_round_up((size_t)t->n_tokens * sizeof(int32_t), 8);
    return ids + ((size_t)t->n_docs + 1) * sizeof(int64_t) + sizeof *t == n_bytes;
}

static bool docs_rise(const int64_t *docs, int64_t n_docs, int64_t n) {
    if (docs[0] != 0 || docs[n_docs] != n) return false;
    for (int64_t i = 0; i < n_docs; i++)
        if (docs[i] >= docs[i + 1]) return false;
    return true;
}

msa_status tokens_check(tokens *t, const uint8_t *data, size_t n_bytes, int32_t n_vocab,
                        const char *name, msa_error *err) {
    tokens_trailer trailer;
    *t = (tokens){0};
    if (n_bytes < sizeof trailer) return damaged(name, "it is shorter than its last part", err);
    size_t before = n_bytes - sizeof trailer;
    memcpy(&trailer, data + before, sizeof trailer);
    if (memcmp(trailer.magic, TOKENS_MAGIC, sizeof trailer.magic) != 0)
        return damaged(name, "its end is not that of one", err);
    if (!parts_fit(&trailer, n_bytes)) return damaged(name, "its size contradicts its counts", err);
    size_t covered = n_bytes - sizeof trailer.checksum;
    if (checksum_of(data, covered) != trailer.checksum)
        return damaged(name, "its checksum is another", err);
    const int32_t *ids = (const int32_t *)(const void *)data;
    size_t at = size_round_up((size_t)trailer.n_tokens * sizeof *ids, 8);
    const int64_t *docs = (const int64_t *)(const void *)(data + at);
    if (!docs_rise(docs, trailer.n_docs, trailer.n_tokens))
        return damaged(name, "its documents overlap", err);
    for (int64_t i = 0; i < trailer.n_tokens; i++)
        if (ids[i] < 0 || ids[i] >= n_vocab)
            return damaged(name, "it holds a token that the vocabulary lacks", err);
    t->ids = ids, t->n = trailer.n_tokens;
    t->docs = docs, t->n_docs = trailer.n_docs;
    t->fingerprint = trailer.fingerprint;
    return MSA_OK;
}

static msa_status map_file(tokens *t, const char *path, uint64_t fingerprint, int32_t n_vocab,
                           msa_error *err) {
    file_map map;
    *t = (tokens){0};
    msa_status status = file_map_open(&map, path, err);
    if (status != MSA_OK) return status;
    status = tokens_check(t, map.data, map.n_bytes, n_vocab, path, err);
    if (status == MSA_OK && t->fingerprint != fingerprint)
        status = damaged(path, "it was made from other texts", err);
    if (status == MSA_OK)
        t->map = map;
    else
        file_map_close(&map), *t = (tokens){0};
    return status;
}

msa_status tokens_open(tokens *t, const tokens_source *source, msa_error *err) {
    char path[4096];
    uint64_t fingerprint;
    config_texts files;
    tokens_made made = {0};
    *t = (tokens){0};
    msa_status status = files_list(&files, source->paths, err);
    if (status != MSA_OK) return status;
    status = tokens_fingerprint(source, &files, &fingerprint, err);
    int32_t n_vocab = tokenizer_size(source->tokenizer);
    if (status == MSA_OK && snprintf(path, sizeof path, "%s/tokens-%016" PRIx64 ".bin",
                                     source->folder, fingerprint) >= (int)sizeof path)
        status = error_set(err, MSA_E_ARG, "data.cache: a path this long can't be used");
    if (status == MSA_OK && map_file(t, path, fingerprint, n_vocab, NULL) != MSA_OK) {
        status = tokens_make(source, &files, fingerprint, path, &made, err);
        if (status == MSA_OK) status = map_file(t, path, fingerprint, n_vocab, err);
        t->made = true;
        t->n_replaced = made.n_replaced;
        t->n_skipped = made.n_skipped;
    }
    files_free(&files);
    return status;
}

void tokens_close(tokens *t) {
    if (t->map.data) file_map_close(&t->map);
    *t = (tokens){0};
}
