/* gguf_writer.c: see gguf_writer.h. */
#include "support/gguf_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

void bytes_put(bytes *b, const void *data, size_t n) {
    if (b->n + n > b->capacity) {
        b->capacity = (b->n + n) * 2 / 64 * 64 + 64;
        uint8_t *grown = aligned_alloc(64, b->capacity);
        if (!grown) fail_msg("no memory for %zu bytes", b->capacity);
        if (b->n) memcpy(grown, b->data, b->n);
        free(b->data);
        b->data = grown;
    }
    if (n) memcpy(b->data + b->n, data, n);
    b->n += n;
}

void bytes_u32(bytes *b, uint32_t x) {
    bytes_put(b, &x, 4);
}

void bytes_u64(bytes *b, uint64_t x) {
    bytes_put(b, &x, 8);
}

void bytes_string(bytes *b, const char *text) {
    bytes_u64(b, strlen(text));
    bytes_put(b, text, strlen(text));
}

void bytes_pad(bytes *b, size_t multiple) {
    while (b->n % multiple) bytes_put(b, "", 1);
}

void bytes_free(bytes *b) {
    free(b->data);
    *b = (bytes){0};
}

void bytes_header(bytes *b, uint64_t n_tensors, uint64_t n_values) {
    bytes_put(b, "GGUF", 4);
    bytes_u32(b, 3);
    bytes_u64(b, n_tensors);
    bytes_u64(b, n_values);
}

static bytes *begin_value(gguf_writer *w, const char *key, uint32_t type) {
    w->n_values++;
    bytes_string(&w->values, key);
    bytes_u32(&w->values, type);
    return &w->values;
}

void gguf_write_u32(gguf_writer *w, const char *key, uint32_t x) {
    bytes_u32(begin_value(w, key, 4), x);
}

void gguf_write_f32(gguf_writer *w, const char *key, float x) {
    bytes_put(begin_value(w, key, 6), &x, 4);
}

void gguf_write_bool(gguf_writer *w, const char *key, int x) {
    bytes_put(begin_value(w, key, 7), &(uint8_t){x != 0}, 1);
}

void gguf_write_string(gguf_writer *w, const char *key, const char *text) {
    bytes_string(begin_value(w, key, 8), text);
}

void gguf_write_array(gguf_writer *w, const char *key, uint32_t element, uint64_t n,
                      const void *data, size_t n_bytes) {
    bytes *b = begin_value(w, key, 9);
    bytes_u32(b, element);
    bytes_u64(b, n);
    bytes_put(b, data, n_bytes);
}

void gguf_write_strings(gguf_writer *w, const char *key, uint64_t n, const char *const *texts) {
    bytes *b = begin_value(w, key, 9);
    bytes_u32(b, 8);
    bytes_u64(b, n);
    for (uint64_t i = 0; i < n; i++) bytes_string(b, texts[i]);
}

void gguf_write_tensor(gguf_writer *w, const char *name, uint32_t type, int n_dims,
                       const uint64_t *shape, const void *data, size_t n_bytes) {
    w->n_tensors++;
    bytes_pad(&w->data, 32);
    bytes_string(&w->tensors, name);
    bytes_u32(&w->tensors, (uint32_t)n_dims);
    for (int i = 0; i < n_dims; i++) bytes_u64(&w->tensors, shape[i]);
    bytes_u32(&w->tensors, type);
    bytes_u64(&w->tensors, w->data.n);
    bytes_put(&w->data, data, n_bytes);
}

bytes gguf_writer_finish(gguf_writer *w) {
    bytes file = {0};
    bytes_header(&file, w->n_tensors, w->n_values);
    bytes_put(&file, w->values.data, w->values.n);
    bytes_put(&file, w->tensors.data, w->tensors.n);
    bytes_pad(&file, 32);
    bytes_put(&file, w->data.data, w->data.n);
    bytes_free(&w->values);
    bytes_free(&w->tensors);
    bytes_free(&w->data);
    *w = (gguf_writer){0};
    return file;
}

void gguf_writer_save(gguf_writer *w, const char *path) {
    bytes file = gguf_writer_finish(w);
    FILE *f = fopen(path, "wb");
    size_t n = f ? fwrite(file.data, 1, file.n, f) : 0;
    if (!f || n != file.n || fclose(f) != 0) fail_msg("can't write '%s'", path);
    bytes_free(&file);
}
