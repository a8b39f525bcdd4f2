/* tokens_make.c: see tokens_make.h. Tokens go to the file document by document; only where the
 * documents begin is kept in memory. */
#include "train/tokens_make.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/file_out.h"
#include "base/mem.h"
#include "model/gguf.h"
#include "model/model_files.h"

/* ---- the fingerprint ------------------------------------------------------------------------ */

static void add_part(checksum *c, const void *data, size_t n) {
    uint64_t length = n; /* so that parts can't trade bytes */
    checksum_add(c, &length, sizeof length);
    if (n) checksum_add(c, data, n);
}

/* How many bytes of a model file lie before its tensors: all keys, those of the vocabulary too. */
static msa_status keys_end(const file_map *map, const char *name, size_t *end, msa_error *err) {
    gguf_file *file;
    msa_status status = gguf_open_memory(&file, map->data, map->n_bytes, name, err);
    if (status != MSA_OK) return status;
    *end = map->n_bytes;
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        size_t at = (size_t)(gguf_tensor_at(file, i)->data - map->data);
        if (at < *end) *end = at;
    }
    gguf_close(file);
    return MSA_OK;
}

/* At least some megabytes, so that small files count whole: more than needed does no harm. */
static msa_status add_gguf(checksum *c, const char *name, msa_error *err) {
    enum { LEAST = 16 << 20 };
    file_map map;
    size_t end = 0;
    msa_status status = file_map_open(&map, name, err);
    if (status != MSA_OK) return status;
    status = keys_end(&map, name, &end, err);
    if (status == MSA_OK) {
        size_t least = map.n_bytes < LEAST ? map.n_bytes : LEAST;
        add_part(c, map.data, end > least ? end : least);
    }
    file_map_close(&map);
    return status;
}

/* What a tokenizer is made of; those that are not there count as empty. */
static msa_status add_folder(checksum *c, const char *folder, msa_error *err) {
    static const char *const NAMES[] = {"tokenizer.json", "tokenizer_config.json", "config.json",
                                        "generation_config.json"};
    msa_status status = MSA_OK;
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES && status == MSA_OK; i++) {
        char path[4096];
        file_map map = {0};
        snprintf(path, sizeof path, "%.4000s/%s", folder, NAMES[i]);
        if (access(path, F_OK) == 0) status = file_map_open(&map, path, err);
        if (status == MSA_OK) add_part(c, map.data, map.n_bytes);
        if (map.data) file_map_close(&map);
    }
    return status;
}

static msa_status add_tokenizer(checksum *c, const char *name, msa_error *err) {
    model_files found;
    add_part(c, name, strcmp(name, "bytes") == 0 ? 5 : 0);
    if (strcmp(name, "bytes") == 0) return MSA_OK;
    msa_status status = model_files_find(&found, name, err);
    if (status == MSA_OK)
        status = found.folder ? add_folder(c, found.folder, err) : add_gguf(c, name, err);
    model_files_free(&found);
    return status == MSA_OK ? status : error_prefix(err, status, "data.tokenizer: ");
}

msa_status tokens_fingerprint(const tokens_source *source, const config_texts *files,
                              uint64_t *fingerprint, msa_error *err) {
    checksum c = checksum_begin();
    add_part(&c, TOKENS_MAGIC, 8);
    add_part(&c, source->separator, strlen(source->separator));
    msa_status status = add_tokenizer(&c, source->tokenizer_name, err);
    for (int64_t i = 0; i < files->n && status == MSA_OK; i++) {
        file_map map;
        status = file_map_open(&map, files->items[i], err);
        if (status != MSA_OK) return error_prefix(err, status, "data: ");
        add_part(&c, map.data, map.n_bytes);
        file_map_close(&map);
    }
    *fingerprint = checksum_end(&c);
    return status;
}

/* ---- the file ------------------------------------------------------------------------------- */

typedef struct maker {
    const tokens_source *source;
    tokens_made *made;
    file_out *out;
    checksum sum;
    int64_t *docs; /* [n_docs + 1] */
    size_t docs_capacity;
    int64_t n_docs, n_tokens;
    int64_t n_done, n_total; /* bytes of text, for the progress */
    msa_tokens ids;          /* of one document */
} maker;

static void put(maker *m, const void *data, size_t n) {
    checksum_add(&m->sum, data, n);
    file_out_write(m->out, data, n);
}

static msa_status no_memory(msa_error *err) {
    return error_set(err, MSA_E_NOMEM, "no memory for the tokens of the texts");
}

/* The end-of-text token, where the vocabulary has one and the encoding did not add it. */
static bool finish_document(maker *m) {
    int32_t end = tokenizer_eos(m->source->tokenizer);
    if (end < 0 || (m->ids.n && m->ids.ids[m->ids.n - 1] == end)) return true;
    void *ids = m->ids.ids;
    bool grown = mem_grow(&ids, &m->ids.capacity, m->ids.n + 1, sizeof *m->ids.ids);
    m->ids.ids = ids;
    if (grown) m->ids.ids[m->ids.n++] = end;
    return grown;
}

static msa_status add_document(maker *m, const char *text, size_t n, msa_error *err) {
    if (n == 0) return MSA_OK;
    m->ids.n = 0;
    msa_status status =
        tokenizer_encode(m->source->tokenizer, text, n, MSA_ADD_SPECIAL, &m->ids, err);
    if (status != MSA_OK || m->ids.n == 0) return status;
    void *docs = m->docs;
    bool room = mem_grow(&docs, &m->docs_capacity, (size_t)m->n_docs + 2, sizeof *m->docs);
    m->docs = docs;
    if (!room || !finish_document(m)) return no_memory(err);
    put(m, m->ids.ids, m->ids.n * sizeof *m->ids.ids);
    m->docs[m->n_docs++] = m->n_tokens;
    m->n_tokens += (int64_t)m->ids.n;
    return MSA_OK;
}

static const char *find_text(const char *in, size_t n, const char *what, size_t n_what) {
    for (const char *at = in; n >= n_what; at++) {
        at = memchr(at, what[0], n - n_what + 1);
        if (!at) return NULL;
        if (memcmp(at, what, n_what) == 0) return at;
        n -= (size_t)(at + 1 - in);
        in = at + 1;
    }
    return NULL;
}

static msa_status add_documents(maker *m, const char *text, size_t n, msa_error *err) {
    const char *separator = m->source->separator;
    size_t n_separator = strlen(separator);
    msa_status status = MSA_OK;
    while (n_separator && status == MSA_OK) {
        const char *at = find_text(text, n, separator, n_separator);
        if (!at) break;
        status = add_document(m, text, (size_t)(at - text), err);
        n -= (size_t)(at - text) + n_separator;
        text = at + n_separator;
    }
    return status == MSA_OK ? add_document(m, text, n, err) : status;
}

static msa_status add_file(maker *m, const char *path, msa_error *err) {
    file_map map;
    msa_status status = file_map_open(&map, path, err);
    if (status != MSA_OK) return error_prefix(err, status, "data: ");
    if (map.n_bytes && memchr(map.data, 0, map.n_bytes))
        m->made->n_skipped++;
    else
        status = add_documents(m, (const char *)map.data, map.n_bytes, err);
    m->n_done += (int64_t)map.n_bytes;
    file_map_close(&map);
    if (status == MSA_OK && m->source->progress &&
        m->source->progress(m->source->user, m->n_done, m->n_total) != 0)
        return error_set(err, MSA_E_CANCELLED, "stopped while the texts were made into tokens");
    return status;
}

static msa_status total_bytes(maker *m, const config_texts *files, msa_error *err) {
    for (int64_t i = 0; i < files->n; i++) {
        file_map map;
        msa_status status = file_map_open(&map, files->items[i], err);
        if (status != MSA_OK) return error_prefix(err, status, "data: ");
        m->n_total += (int64_t)map.n_bytes;
        file_map_close(&map);
    }
    return MSA_OK;
}

static msa_status finish(maker *m, uint64_t fingerprint, msa_error *err) {
    static const uint8_t ZEROS[8];
    tokens_trailer t = {.fingerprint = fingerprint, .n_tokens = m->n_tokens, .n_docs = m->n_docs};
    if (m->n_docs == 0)
        return error_set(err, MSA_E_ARG,
                         "data: the texts hold no token; expected some text (%lld files look like "
                         "binaries and were left out)",
                         (long long)m->made->n_skipped);
    memcpy(t.magic, TOKENS_MAGIC, sizeof t.magic);
    put(m, ZEROS, (size_t)(m->n_tokens % 2) * sizeof(int32_t));
    m->docs[m->n_docs] = m->n_tokens;
    put(m, m->docs, ((size_t)m->n_docs + 1) * sizeof *m->docs);
    put(m, &t, offsetof(tokens_trailer, checksum));
    t.checksum = checksum_end(&m->sum);
    file_out_write(m->out, &t.checksum, sizeof t.checksum);
    m->made->n_replaced = (int64_t)m->ids.n_replaced;
    return file_out_finish(m->out, err);
}

/* A text that is still being written to must not lie under the fingerprint of what it was. */
static msa_status check_unchanged(const tokens_source *source, const config_texts *files,
                                  uint64_t fingerprint, msa_error *err) {
    uint64_t now;
    msa_status status = tokens_fingerprint(source, files, &now, err);
    if (status != MSA_OK || now == fingerprint) return status;
    return error_set(err, MSA_E_IO,
                     "data: a text changed while it was made into tokens; expected texts that "
                     "stay as they are: start again, or from a copy");
}

msa_status tokens_make(const tokens_source *source, const config_texts *files, uint64_t fingerprint,
                       const char *path, tokens_made *made, msa_error *err) {
    maker m = {.source = source, .made = made, .sum = checksum_begin()};
    *made = (tokens_made){0};
    msa_status status = file_out_create(&m.out, path, err);
    if (status == MSA_OK) status = total_bytes(&m, files, err);
    for (int64_t i = 0; i < files->n && status == MSA_OK; i++)
        status = add_file(&m, files->items[i], err);
    if (status == MSA_OK) status = finish(&m, fingerprint, err);
    if (status == MSA_OK) status = check_unchanged(source, files, fingerprint, err);
    if (status == MSA_OK) status = file_out_publish(m.out, err);
    file_out_free(m.out);
    mem_free(m.docs);
    mem_free(m.ids.ids);
    return status;
}
