/* gguf_out.h: writing a GGUF file, version 3, little-endian: keys, then the tensors' names and
 * shapes, then their data in the same order, as a stream. The file appears whole or not at all.
 *
 *     gguf_out_create
 *     gguf_out_u32 ..., gguf_out_tensor ...      in any order
 *     gguf_out_begin_data
 *     gguf_out_data ...                          the bytes of each tensor, in the same order
 *     gguf_out_finish, then file_out_publish or file_out_set_publish
 *     gguf_out_free
 *
 * Keys and tensors never report: the first failure sticks, and begin_data and finish tell of it. */
#ifndef MSA_MODEL_GGUF_OUT_H
#define MSA_MODEL_GGUF_OUT_H

#include <stdbool.h>

#include "base/file_out.h"
#include "model/gguf.h"

typedef struct gguf_out gguf_out;

/* Writes to `file`, which must be empty and outlive the writer. */
msa_status gguf_out_create(gguf_out **out, file_out *file, msa_error *err);
void gguf_out_free(gguf_out *g); /* NULL is fine; the file stays */

void gguf_out_u32(gguf_out *g, const char *key, uint32_t x);
void gguf_out_i32(gguf_out *g, const char *key, int32_t x);
void gguf_out_u64(gguf_out *g, const char *key, uint64_t x);
void gguf_out_f32(gguf_out *g, const char *key, float x);
void gguf_out_bool(gguf_out *g, const char *key, bool x);
void gguf_out_text(gguf_out *g, const char *key, const char *text);
void gguf_out_string(gguf_out *g, const char *key, gguf_string s);
/* n numbers of a type of fixed size, one behind another. */
void gguf_out_array(gguf_out *g, const char *key, gguf_type element, uint64_t n, const void *data);
void gguf_out_strings(gguf_out *g, const char *key, uint64_t n, const gguf_string *strings);
/* A key of another file, whatever its type. */
void gguf_out_copy(gguf_out *g, const gguf_value *value);

/* shape: innermost first; type: of nn/quant.h, shape[0] a multiple of its block. */
void gguf_out_tensor(gguf_out *g, const char *name, uint32_t type, int n_dims,
                     const uint64_t *shape);
/* No keys or tensors from here on. */
msa_status gguf_out_begin_data(gguf_out *g, msa_error *err);
void gguf_out_data(gguf_out *g, const void *data, size_t n_bytes);
/* MSA_E_ARG where the data given are not those of the tensors named. Finishes the file. */
msa_status gguf_out_finish(gguf_out *g, msa_error *err);

#endif
