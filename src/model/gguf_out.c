/* gguf_out.c: see gguf_out.h. Keys and names are collected in memory, since their numbers stand in
 * front of them; data go straight to the file. */
#include "model/gguf_out.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "nn/quant.h"

enum { ALIGNMENT = 32 };

struct gguf_out {
    file_out *file;
    bytes values, tensors;
    uint64_t n_values, n_tensors;
    uint64_t *ends; /* of each tensor's data, before padding, from the data's start */
    size_t capacity;
    uint64_t n_data;       /* bytes of data asked for so far, padding included */
    uint64_t at, n_given;  /* tensor being written; bytes given of it */
    bool wrong, exhausted; /* a tensor that can't be; no memory */
};

msa_status gguf_out_create(gguf_out **out, file_out *file, msa_error *err) {
    *out = mem_calloc(1, sizeof **out);
    if (!*out) return error_set(err, MSA_E_NOMEM, "no memory to write a GGUF file");
    (*out)->file = file;
    return MSA_OK;
}

void gguf_out_free(gguf_out *g) {
    if (!g) return;
    bytes_free(&g->values);
    bytes_free(&g->tensors);
    mem_free(g->ends);
    mem_free(g);
}

static void put_u32(bytes *b, uint32_t x) {
    bytes_append(b, &x, 4);
}
static void put_u64(bytes *b, uint64_t x) {
    bytes_append(b, &x, 8);
}
static void put_string(bytes *b, const char *data, uint64_t n) {
    put_u64(b, n);
    bytes_append(b, data, (size_t)n);
}

static bytes *begin_value(gguf_out *g, const char *key, gguf_type type) {
    g->n_values++;
    put_string(&g->values, key, strlen(key));
    put_u32(&g->values, type);
    return &g->values;
}

void gguf_out_u32(gguf_out *g, const char *key, uint32_t x) {
    put_u32(begin_value(g, key, GGUF_U32), x);
}
void gguf_out_i32(gguf_out *g, const char *key, int32_t x) {
    put_u32(begin_value(g, key, GGUF_I32), (uint32_t)x);
}
void gguf_out_u64(gguf_out *g, const char *key, uint64_t x) {
    put_u64(begin_value(g, key, GGUF_U64), x);
}
void gguf_out_f32(gguf_out *g, const char *key, float x) {
    bytes_append(begin_value(g, key, GGUF_F32), &x, 4);
}
void gguf_out_bool(gguf_out *g, const char *key, bool x) {
    bytes_append(begin_value(g, key, GGUF_BOOL), &(uint8_t){x}, 1);
}
void gguf_out_text(gguf_out *g, const char *key, const char *text) {
    put_string(begin_value(g, key, GGUF_STRING), text, strlen(text));
}
void gguf_out_string(gguf_out *g, const char *key, gguf_string s) {
    put_string(begin_value(g, key, GGUF_STRING), s.data, s.n);
}

void gguf_out_array(gguf_out *g, const char *key, gguf_type element, uint64_t n, const void *data) {
    bytes *b = begin_value(g, key, GGUF_ARRAY);
    put_u32(b, element);
    put_u64(b, n);
    bytes_append(b, data, (size_t)n * gguf_type_size(element));
}

void gguf_out_strings(gguf_out *g, const char *key, uint64_t n, const gguf_string *strings) {
    bytes *b = begin_value(g, key, GGUF_ARRAY);
    put_u32(b, GGUF_STRING);
    put_u64(b, n);
    for (uint64_t i = 0; i < n; i++) put_string(b, strings[i].data, strings[i].n);
}

/* Where n values of a type end. Arrays of arrays are walked by recursion, which the reader bounded.
 */
static const uint8_t *skip_values(const uint8_t *at, gguf_type type, uint64_t n) {
    if (gguf_type_size(type)) return at + n * gguf_type_size(type);
    for (uint64_t i = 0; i < n; i++) {
        uint32_t element;
        uint64_t count;
        if (type == GGUF_STRING) {
            (void)gguf_string_next(&at);
            continue;
        }
        memcpy(&element, at, 4);
        memcpy(&count, at + 4, 8);
        at = skip_values(at + 12, (gguf_type)element, count);
    }
    return at;
}

void gguf_out_copy(gguf_out *g, const gguf_value *v) {
    g->n_values++;
    put_string(&g->values, v->key.data, v->key.n);
    put_u32(&g->values, v->type);
    if (v->type == GGUF_ARRAY) {
        put_u32(&g->values, v->element);
        put_u64(&g->values, v->n);
    }
    bytes_append(&g->values, v->data, (size_t)(skip_values(v->data, v->element, v->n) - v->data));
}

void gguf_out_tensor(gguf_out *g, const char *name, uint32_t type, int n_dims,
                     const uint64_t *shape) {
    const quant_format *format = quant_format_find(type);
    void *ends = g->ends;
    bool grown = mem_grow(&ends, &g->capacity, (size_t)g->n_tensors + 1, sizeof *g->ends);
    g->ends = ends;
    g->exhausted |= !grown;
    if (!grown || !format || n_dims < 1 || n_dims > GGUF_MAX_DIMS ||
        shape[0] % format->block_elems || strlen(name) > 63) {
        g->wrong |= grown;
        return;
    }
    uint64_t n_bytes = shape[0] / format->block_elems * format->block_bytes, start = g->n_data;
    put_string(&g->tensors, name, strlen(name));
    put_u32(&g->tensors, (uint32_t)n_dims);
    for (int i = 0; i < n_dims; i++) {
        put_u64(&g->tensors, shape[i]);
        if (i > 0) g->wrong |= __builtin_mul_overflow(n_bytes, shape[i], &n_bytes);
    }
    put_u32(&g->tensors, type);
    put_u64(&g->tensors, start);
    g->wrong |= n_bytes == 0 || __builtin_add_overflow(start, n_bytes, &g->ends[g->n_tensors]) ||
                __builtin_add_overflow(g->ends[g->n_tensors], ALIGNMENT - 1, &g->n_data);
    g->n_data = g->n_data / ALIGNMENT * ALIGNMENT;
    g->n_tensors++;
}

static msa_status check(const gguf_out *g, msa_error *err) {
    if (g->exhausted || g->values.failed || g->tensors.failed)
        return error_set(err, MSA_E_NOMEM,
                         "no memory for %" PRIu64 " keys and %" PRIu64 " tensors of a GGUF file",
                         g->n_values, g->n_tensors);
    if (g->wrong)
        return error_set(err, MSA_E_ARG,
                         "a tensor has a shape, format or name (up to 63 bytes) GGUF has no place "
                         "for");
    return MSA_OK;
}

msa_status gguf_out_begin_data(gguf_out *g, msa_error *err) {
    msa_status status = check(g, err);
    if (status != MSA_OK) return status;
    const uint32_t version = 3;
    file_out_write(g->file, "GGUF", 4);
    file_out_write(g->file, &version, 4);
    file_out_write(g->file, &g->n_tensors, 8);
    file_out_write(g->file, &g->n_values, 8);
    file_out_write(g->file, g->values.data, g->values.n);
    file_out_write(g->file, g->tensors.data, g->tensors.n);
    file_out_align(g->file, ALIGNMENT);
    return MSA_OK;
}

void gguf_out_data(gguf_out *g, const void *data, size_t n_bytes) {
    const uint8_t *from = data;
    while (n_bytes) {
        if (g->at == g->n_tensors) { /* more than was asked for: finish refuses */
            g->n_given += n_bytes;
            return;
        }
        uint64_t start = g->at ? (g->ends[g->at - 1] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : 0;
        uint64_t left = g->ends[g->at] - start - g->n_given;
        size_t n = n_bytes < left ? n_bytes : (size_t)left;
        file_out_write(g->file, from, n);
        from += n;
        n_bytes -= n;
        g->n_given += n;
        if (n < left) continue;
        file_out_align(g->file, ALIGNMENT);
        g->at++;
        g->n_given = 0;
    }
}

msa_status gguf_out_finish(gguf_out *g, msa_error *err) {
    if (g->at != g->n_tensors || g->n_given)
        return error_set(err, MSA_E_ARG,
                         "the data end at tensor %" PRIu64 " of %" PRIu64 ", %" PRIu64
                         " bytes into it",
                         g->at, g->n_tensors, g->n_given);
    return file_out_finish(g->file, err);
}
