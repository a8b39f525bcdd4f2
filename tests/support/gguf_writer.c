/* gguf_writer.c: see gguf_writer.h. */
#include "support/gguf_writer.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

void put_bytes(file_bytes *b, const void *data, size_t n) {
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

void put_u32(file_bytes *b, uint32_t x) {
    put_bytes(b, &x, 4);
}

void put_u64(file_bytes *b, uint64_t x) {
    put_bytes(b, &x, 8);
}

void put_string(file_bytes *b, const char *text) {
    put_u64(b, strlen(text));
    put_bytes(b, text, strlen(text));
}

void put_padding(file_bytes *b, size_t multiple) {
    while (b->n % multiple) put_bytes(b, "", 1);
}

void free_bytes(file_bytes *b) {
    free(b->data);
    *b = (file_bytes){0};
}

void put_header(file_bytes *b, uint64_t n_tensors, uint64_t n_values) {
    put_bytes(b, "GGUF", 4);
    put_u32(b, 3);
    put_u64(b, n_tensors);
    put_u64(b, n_values);
}

static file_bytes *begin_value(gguf_writer *w, const char *key, uint32_t type) {
    w->n_values++;
    put_string(&w->values, key);
    put_u32(&w->values, type);
    return &w->values;
}

void gguf_write_u32(gguf_writer *w, const char *key, uint32_t x) {
    put_u32(begin_value(w, key, 4), x);
}

void gguf_write_f32(gguf_writer *w, const char *key, float x) {
    put_bytes(begin_value(w, key, 6), &x, 4);
}

void gguf_write_bool(gguf_writer *w, const char *key, int x) {
    put_bytes(begin_value(w, key, 7), &(uint8_t){x != 0}, 1);
}

void gguf_write_string(gguf_writer *w, const char *key, const char *text) {
    put_string(begin_value(w, key, 8), text);
}

void gguf_write_raw(gguf_writer *w, const char *key, uint32_t type, const void *data,
                    size_t n_bytes) {
    put_bytes(begin_value(w, key, type), data, n_bytes);
}

void gguf_write_array(gguf_writer *w, const char *key, uint32_t element, uint64_t n,
                      const void *data, size_t n_bytes) {
    file_bytes *b = begin_value(w, key, 9);
    put_u32(b, element);
    put_u64(b, n);
    put_bytes(b, data, n_bytes);
}

void gguf_write_strings(gguf_writer *w, const char *key, uint64_t n, const char *const *texts) {
    file_bytes *b = begin_value(w, key, 9);
    put_u32(b, 8);
    put_u64(b, n);
    for (uint64_t i = 0; i < n; i++) put_string(b, texts[i]);
}

void gguf_write_tensor(gguf_writer *w, const char *name, uint32_t type, int n_dims,
                       const uint64_t *shape, const void *data, size_t n_bytes) {
    w->n_tensors++;
    put_padding(&w->data, 32);
    put_string(&w->tensors, name);
    put_u32(&w->tensors, (uint32_t)n_dims);
    for (int i = 0; i < n_dims; i++) put_u64(&w->tensors, shape[i]);
    put_u32(&w->tensors, type);
    put_u64(&w->tensors, w->data.n);
    put_bytes(&w->data, data, n_bytes);
}

file_bytes gguf_writer_finish(gguf_writer *w) {
    file_bytes file = {0};
    put_header(&file, w->n_tensors, w->n_values);
    put_bytes(&file, w->values.data, w->values.n);
    put_bytes(&file, w->tensors.data, w->tensors.n);
    put_padding(&file, 32);
    put_bytes(&file, w->data.data, w->data.n);
    free_bytes(&w->values);
    free_bytes(&w->tensors);
    free_bytes(&w->data);
    *w = (gguf_writer){0};
    return file;
}

void gguf_writer_save(gguf_writer *w, const char *path) {
    file_bytes file = gguf_writer_finish(w);
    write_whole(path, file.data, file.n);
    free_bytes(&file);
}
