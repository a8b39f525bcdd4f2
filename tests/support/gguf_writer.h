/* gguf_writer.h: writes GGUF files, good ones by the upper calls, any bytes by the lower. */
#ifndef MSA_TESTS_GGUF_WRITER_H
#define MSA_TESTS_GGUF_WRITER_H

#include <stddef.h>
#include <stdint.h>

/* A growing buffer; start from {0}. Running out of memory fails the test. */
typedef struct file_bytes {
    uint8_t *data;
    size_t n, capacity;
} file_bytes;

void put_bytes(file_bytes *b, const void *data, size_t n);
void put_u32(file_bytes *b, uint32_t x);
void put_u64(file_bytes *b, uint64_t x);
void put_string(file_bytes *b, const char *text); /* length, then letters */
void put_padding(file_bytes *b, size_t multiple); /* zeros up to a multiple */
void free_bytes(file_bytes *b);
/* Magic, version 3, the two counts. */
void put_header(file_bytes *b, uint64_t n_tensors, uint64_t n_values);

/* A file in the making; start from {0}. Alignment 32. */
typedef struct gguf_writer {
    file_bytes values, tensors, data;
    uint64_t n_values, n_tensors;
} gguf_writer;

void gguf_write_u32(gguf_writer *w, const char *key, uint32_t x);
void gguf_write_f32(gguf_writer *w, const char *key, float x);
void gguf_write_bool(gguf_writer *w, const char *key, int x);
void gguf_write_string(gguf_writer *w, const char *key, const char *text);
/* A value of any type but an array, as it lies in a file. */
void gguf_write_raw(gguf_writer *w, const char *key, uint32_t type, const void *data,
                    size_t n_bytes);
/* n values of a fixed-size type (numbers as in model/gguf.h), n_bytes in all. */
void gguf_write_array(gguf_writer *w, const char *key, uint32_t element, uint64_t n,
                      const void *data, size_t n_bytes);
void gguf_write_strings(gguf_writer *w, const char *key, uint64_t n, const char *const *texts);
/* shape is innermost first: a matrix [n_out][n_in] has shape {n_in, n_out}. */
void gguf_write_tensor(gguf_writer *w, const char *name, uint32_t type, int n_dims,
                       const uint64_t *shape, const void *data, size_t n_bytes);

/* The whole file; the writer is freed. bytes.data is aligned to 64, freed with free_bytes. */
file_bytes gguf_writer_finish(gguf_writer *w);
/* The same into a file; the writer is freed. Fails the test where it can't be written. */
void gguf_writer_save(gguf_writer *w, const char *path);

#endif
