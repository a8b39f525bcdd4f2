/* gguf_cursor.c: see gguf_cursor.h. */
#include "model/gguf_cursor.h"

#include <inttypes.h>
#include <string.h>

#include "nn/quant.h"

enum {
    MAX_KEY_BYTES = 65535, /* the format's own limit */
    MAX_TENSOR_NAME = 64,  /* the same */
    MAX_ARRAY_DEPTH = 4
};

static msa_status need(gguf_cursor *c, uint64_t n, const char *what) {
    if (n <= c->n_bytes - c->at) return MSA_OK;
    return error_set(c->err, MSA_E_FORMAT,
                     "%s needs %" PRIu64 " bytes at offset %zu, but the file ends at %zu; "
                     "it is truncated or damaged",
                     what, n, c->at, c->n_bytes);
}

msa_status gguf_read_bytes(gguf_cursor *c, void *out, size_t n, const char *what) {
    msa_status status = need(c, n, what);
    if (status != MSA_OK) return status;
    memcpy(out, c->data + c->at, n);
    c->at += n;
    return MSA_OK;
}

static msa_status read_string(gguf_cursor *c, gguf_string *out, uint64_t max, const char *what) {
    size_t start = c->at;
    uint64_t n;
    msa_status status = gguf_read_bytes(c, &n, 8, what);
    if (status != MSA_OK) return status;
    if (n > max)
        return error_set(c->err, MSA_E_FORMAT,
                         "%s at offset %zu claims %" PRIu64 " bytes; at most %" PRIu64
                         " are allowed",
                         what, start, n, max);
    if ((status = need(c, n, what)) != MSA_OK) return status;
    *out = (gguf_string){(const char *)c->data + c->at, n};
    c->at += (size_t)n;
    return MSA_OK;
}

static msa_status read_type(gguf_cursor *c, gguf_type *out, const char *key) {
    size_t start = c->at;
    uint32_t type;
    *out = GGUF_U8;
    msa_status status = gguf_read_bytes(c, &type, 4, "the type of a value");
    if (status != MSA_OK) return status;
    if (type >= GGUF_TYPE_COUNT)
        return error_set(c->err, MSA_E_FORMAT,
                         "key '%s' has value type %" PRIu32
                         " at offset %zu; types 0 to %d are known",
                         key, type, start, GGUF_TYPE_COUNT - 1);
    *out = (gguf_type)type;
    return MSA_OK;
}

static msa_status skip_elements(gguf_cursor *c, gguf_type type, uint64_t n, const char *key,
                                int depth);

static msa_status read_array(gguf_cursor *c, gguf_type *element, uint64_t *n, const uint8_t **data,
                             const char *key, int depth) {
    msa_status status = read_type(c, element, key);
    if (status == MSA_OK) status = gguf_read_bytes(c, n, 8, "the length of an array");
    if (status != MSA_OK) return status;
    if (depth > MAX_ARRAY_DEPTH)
        return error_set(c->err, MSA_E_FORMAT, "key '%s' nests arrays more than %d deep", key,
                         MAX_ARRAY_DEPTH);
    *data = c->data + c->at;
    return skip_elements(c, *element, *n, key, depth);
}

/* Moves past n values of a type, checking that they are there. */
static msa_status skip_elements(gguf_cursor *c, gguf_type type, uint64_t n, const char *key,
                                int depth) {
    unsigned size = gguf_type_size(type);
    unsigned least = size ? size : type == GGUF_STRING ? 8 : 4 + 8;
    if (n > (c->n_bytes - c->at) / least)
        return error_set(c->err, MSA_E_FORMAT,
                         "key '%s' claims %" PRIu64
                         " values of type %s at offset %zu; the file ends at %zu",
                         key, n, gguf_type_name(type), c->at, c->n_bytes);
    if (size) {
        c->at += (size_t)n * size;
        return MSA_OK;
    }
    msa_status status = MSA_OK;
    for (uint64_t i = 0; i < n && status == MSA_OK; i++) {
        gguf_string string;
        gguf_type element;
        uint64_t count;
        const uint8_t *data;
        if (type == GGUF_STRING)
            status = read_string(c, &string, UINT64_MAX, "a string");
        else
            status = read_array(c, &element, &count, &data, key, depth + 1);
    }
    return status;
}

msa_status gguf_read_value(gguf_cursor *c, gguf_value *v) {
    char printable[GGUF_PRINTABLE];
    *v = (gguf_value){.n = 1};
    size_t start = c->at;
    msa_status status = read_string(c, &v->key, MAX_KEY_BYTES, "a key");
    if (status != MSA_OK) return status;
    if (v->key.n == 0)
        return error_set(c->err, MSA_E_FORMAT, "the key at offset %zu is empty", start);
    const char *key = gguf_printable(v->key, printable);
    if ((status = read_type(c, &v->type, key)) != MSA_OK) return status;
    if (v->type == GGUF_ARRAY) return read_array(c, &v->element, &v->n, &v->data, key, 1);
    v->element = v->type;
    v->data = c->data + c->at;
    if ((status = skip_elements(c, v->type, 1, key, 1)) != MSA_OK) return status;
    if (v->type == GGUF_BOOL && v->data[0] > 1)
        return error_set(c->err, MSA_E_FORMAT, "key '%s' is a bool of value %d; expected 0 or 1",
                         key, v->data[0]);
    return MSA_OK;
}

static msa_status read_shape(gguf_cursor *c, gguf_tensor *t, const char *name) {
    uint32_t n_dims;
    msa_status status = gguf_read_bytes(c, &n_dims, 4, "the rank of a tensor");
    if (status != MSA_OK) return status;
    if (n_dims < 1 || n_dims > GGUF_MAX_DIMS)
        return error_set(c->err, MSA_E_FORMAT,
                         "tensor '%s' has %" PRIu32 " dimensions; expected 1 to %d", name, n_dims,
                         GGUF_MAX_DIMS);
    t->n_dims = (int)n_dims;
    for (int i = 0; i < GGUF_MAX_DIMS; i++) t->shape[i] = 1;
    for (int i = 0; i < t->n_dims; i++) {
        if ((status = gguf_read_bytes(c, &t->shape[i], 8, "a tensor's shape")) != MSA_OK)
            return status;
        if (t->shape[i] == 0)
            return error_set(c->err, MSA_E_FORMAT, "tensor '%s' has dimension %d of size 0", name,
                             i);
    }
    return MSA_OK;
}

static msa_status size_tensor(gguf_cursor *c, gguf_tensor *t, const char *name) {
    const quant_format *format = quant_format_find(t->type);
    if (!format)
        return error_set(c->err, MSA_E_UNSUPPORTED,
                         "tensor '%s' has type %" PRIu32 ", which this version does not know", name,
                         t->type);
    if (t->shape[0] % format->block_elems)
        return error_set(c->err, MSA_E_FORMAT,
                         "tensor '%s' of type %s has rows of %" PRIu64
                         " elements; expected a multiple of %u",
                         name, format->name, t->shape[0], format->block_elems);
    uint64_t n_elems = 1, n = t->shape[0] / format->block_elems;
    bool fits = true;
    for (int i = 0; i < GGUF_MAX_DIMS; i++) {
        fits &= !__builtin_mul_overflow(n_elems, t->shape[i], &n_elems);
        if (i > 0) fits &= !__builtin_mul_overflow(n, t->shape[i], &n);
    }
    fits &= !__builtin_mul_overflow(n, (uint64_t)format->block_bytes, &n);
    if (!fits || n_elems > INT64_MAX || n > INT64_MAX)
        return error_set(c->err, MSA_E_FORMAT,
                         "tensor '%s' of shape [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64
                         "] has more elements than 63 bits count",
                         name, t->shape[0], t->shape[1], t->shape[2], t->shape[3]);
    t->n_bytes = n;
    return MSA_OK;
}

msa_status gguf_read_tensor(gguf_cursor *c, gguf_tensor *t, uint64_t *offset) {
    char printable[GGUF_PRINTABLE];
    *t = (gguf_tensor){0};
    size_t start = c->at;
    msa_status status = read_string(c, &t->name, MAX_TENSOR_NAME, "a tensor's name");
    if (status != MSA_OK) return status;
    if (t->name.n == 0)
        return error_set(c->err, MSA_E_FORMAT, "the tensor name at offset %zu is empty", start);
    const char *name = gguf_printable(t->name, printable);
    status = read_shape(c, t, name);
    if (status == MSA_OK) status = gguf_read_bytes(c, &t->type, 4, "a tensor's type");
    if (status == MSA_OK) status = gguf_read_bytes(c, offset, 8, "a tensor's offset");
    if (status == MSA_OK) status = size_tensor(c, t, name);
    return status;
}
