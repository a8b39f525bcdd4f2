/* gguf.h: a GGUF file (version 2 or 3, little-endian), opened by mapping it and checked whole
 * before anyone reads it.
 *
 * After gguf_open succeeded every string, value and tensor lies inside the file, keys and tensor
 * names are unique, shapes have no zero and do not overflow, tensor types are known by size.
 * Nothing is copied: strings, arrays and tensors point into the map and live until gguf_close.
 * Tensors begin at multiples of 8 from the start of the map; numbers among the keys may lie at any
 * address: read them with memcpy, or through the getters. Keys nobody asks for are ignored; what
 * keys mean is the caller's business (model/weights.h). */
#ifndef MSA_MODEL_GGUF_H
#define MSA_MODEL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7, /* one byte, 0 or 1 */
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12,
    GGUF_TYPE_COUNT
} gguf_type;

/* Bytes in the map, not NUL-terminated, any content. */
typedef struct gguf_string {
    const char *data;
    uint64_t n;
} gguf_string;

typedef struct gguf_value {
    gguf_string key; /* first: the index sorts by it */
    gguf_type type;
    gguf_type element;   /* of an array; else = type */
    uint64_t n;          /* elements of an array; else 1 */
    const uint8_t *data; /* the value, or the array's first element */
} gguf_value;

typedef struct gguf_array {
    const uint8_t *data; /* elements one behind the other; strings through gguf_string_next */
    uint64_t n;
} gguf_array;

enum { GGUF_MAX_DIMS = 4 };

typedef struct gguf_tensor {
    gguf_string name; /* first: the index sorts by it */
    int n_dims;
    uint64_t shape[GGUF_MAX_DIMS]; /* innermost first, as in the file; 1 beyond n_dims */
    uint32_t type;                 /* of nn/quant.h; known by size, not necessarily supported */
    uint64_t n_bytes;
    const uint8_t *data;
} gguf_tensor;

typedef struct gguf_file gguf_file;

/* MSA_E_IO where the file can't be mapped; MSA_E_FORMAT or MSA_E_UNSUPPORTED, with the file's name
 * and the offset, key or tensor, where it is not a GGUF this reader trusts. *out is NULL then. */
msa_status gguf_open(gguf_file **out, const char *path, msa_error *err);
/* The same from bytes of the caller's at a multiple of 8, which must outlive the handle. `name` is
 * for messages. */
msa_status gguf_open_memory(gguf_file **out, const void *data, size_t n_bytes, const char *name,
                            msa_error *err);
void gguf_close(gguf_file *file); /* NULL is fine */

const char *gguf_name(const gguf_file *file); /* path or name it was opened with */
uint64_t gguf_file_bytes(const gguf_file *file);

/* All keys and tensors in file order. */
size_t gguf_value_count(const gguf_file *file);
const gguf_value *gguf_value_at(const gguf_file *file, size_t i);
size_t gguf_tensor_count(const gguf_file *file);
const gguf_tensor *gguf_tensor_at(const gguf_file *file, size_t i);

/* By name; NULL where the file has none. */
const gguf_value *gguf_find(const gguf_file *file, const char *key);
const gguf_tensor *gguf_find_tensor(const gguf_file *file, const char *name);

/* The value of a key. MSA_E_FORMAT, naming the key, where it is missing, of another type, or does
 * not fit. Integers of any width are taken where the value fits, f64 for f32; f32 is finite. */
msa_status gguf_get_u32(const gguf_file *file, const char *key, uint32_t *out, msa_error *err);
msa_status gguf_get_f32(const gguf_file *file, const char *key, float *out, msa_error *err);
msa_status gguf_get_bool(const gguf_file *file, const char *key, bool *out, msa_error *err);
msa_status gguf_get_string(const gguf_file *file, const char *key, gguf_string *out,
                           msa_error *err);
msa_status gguf_get_array(const gguf_file *file, const char *key, gguf_type element,
                          gguf_array *out, msa_error *err);

/* The same, except that a missing key gives `otherwise`. A key of the wrong type still fails. */
msa_status gguf_get_u32_or(const gguf_file *file, const char *key, uint32_t otherwise,
                           uint32_t *out, msa_error *err);
msa_status gguf_get_f32_or(const gguf_file *file, const char *key, float otherwise, float *out,
                           msa_error *err);
msa_status gguf_get_bool_or(const gguf_file *file, const char *key, bool otherwise, bool *out,
                            msa_error *err);

/* Walks an array of strings: gives the one at *cursor and moves on. Start with array.data and call
 * at most array.n times. */
gguf_string gguf_string_next(const uint8_t **cursor);
bool gguf_string_is(gguf_string s, const char *text);

const char *gguf_type_name(gguf_type type); /* "u32", "string", ...; "?" for anything else */
unsigned gguf_type_size(gguf_type type);    /* bytes; 0 for strings and arrays */

enum { GGUF_PRINTABLE = 72 };
/* The string as it may stand in a message: at most 64 bytes, all but printable ASCII as '?'.
 * Returns `out`. */
const char *gguf_printable(gguf_string s, char out[GGUF_PRINTABLE]);

#endif
