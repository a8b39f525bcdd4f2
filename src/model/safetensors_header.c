/* safetensors_header.c: see safetensors_header.h. The JSON is bounded in depth and has no doubled
 * keys and no number beyond 63 bits (json_file.h); what the numbers claim is checked here. */
#include "model/safetensors_header.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/json_file.h"
#include "nn/quant.h"

static const struct {
    const char *name;
    unsigned bits;
    uint32_t type;
} DTYPES[] = {
    {"F32", 32, QUANT_F32},           {"F16", 16, QUANT_F16},
    {"BF16", 16, QUANT_BF16},         {"F64", 64, QUANT_TYPE_COUNT},
    {"I64", 64, QUANT_TYPE_COUNT},    {"U64", 64, QUANT_TYPE_COUNT},
    {"C64", 64, QUANT_TYPE_COUNT},    {"I32", 32, QUANT_TYPE_COUNT},
    {"U32", 32, QUANT_TYPE_COUNT},    {"I16", 16, QUANT_TYPE_COUNT},
    {"U16", 16, QUANT_TYPE_COUNT},    {"I8", 8, QUANT_TYPE_COUNT},
    {"U8", 8, QUANT_TYPE_COUNT},      {"BOOL", 8, QUANT_TYPE_COUNT},
    {"F8_E4M3", 8, QUANT_TYPE_COUNT}, {"F8_E5M2", 8, QUANT_TYPE_COUNT},
    {"F8_E8M0", 8, QUANT_TYPE_COUNT}, {"F6_E2M3", 6, QUANT_TYPE_COUNT},
    {"F6_E3M2", 6, QUANT_TYPE_COUNT}, {"F4", 4, QUANT_TYPE_COUNT},
};

/* One file's bytes while its header is read. */
typedef struct region {
    const uint8_t *data; /* behind the header */
    uint64_t n_bytes;
    msa_error *err;
} region;

safetensors_quoted safetensors_quote(const char *name) {
    safetensors_quoted q;
    utf8_quote(q.text, sizeof q.text, name, strlen(name));
    return q;
}

/* ---- one tensor ---- */

static msa_status read_dtype(const json_t *value, safetensors_tensor *t, unsigned *bits,
                             msa_error *err) {
    const char *text = json_string_value(value);
    for (size_t i = 0; text && i < sizeof DTYPES / sizeof *DTYPES; i++)
        if (strcmp(text, DTYPES[i].name) == 0) {
            t->dtype = DTYPES[i].name;
            t->type = DTYPES[i].type;
            *bits = DTYPES[i].bits;
            return MSA_OK;
        }
    if (!text)
        return error_set(err, MSA_E_FORMAT, "tensor '%s' has no \"dtype\"",
                         safetensors_quote(t->name).text);
    return error_set(err, MSA_E_UNSUPPORTED,
                     "tensor '%s' has dtype '%s', which this version does not know",
                     safetensors_quote(t->name).text, safetensors_quote(text).text);
}

static msa_status read_shape(const json_t *value, safetensors_tensor *t, uint64_t *n_elems,
                             msa_error *err) {
    size_t n = json_array_size(value);
    if (!json_is_array(value) || n > SAFETENSORS_MAX_DIMS)
        return error_set(err, MSA_E_FORMAT,
                         "tensor '%s' has a shape of %zu dimensions; expected an array of at most "
                         "%d",
                         safetensors_quote(t->name).text, n, SAFETENSORS_MAX_DIMS);
    t->n_dims = (int)n;
    *n_elems = 1;
    for (size_t i = 0; i < SAFETENSORS_MAX_DIMS; i++) t->shape[i] = 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *extent = json_array_get(value, i);
        if (!json_is_integer(extent) || json_integer_value(extent) < 0)
            return error_set(err, MSA_E_FORMAT,
                             "tensor '%s' has a shape whose dimension %zu is no whole number of 0 "
                             "or more",
                             safetensors_quote(t->name).text, i);
        t->shape[i] = (uint64_t)json_integer_value(extent);
        if (__builtin_mul_overflow(*n_elems, t->shape[i], n_elems) || *n_elems > INT64_MAX)
            return error_set(err, MSA_E_FORMAT,
                             "tensor '%s' has a shape of more elements than 63 bits count",
                             safetensors_quote(t->name).text);
    }
    return MSA_OK;
}

/* *begin receives where in the region the tensor starts. */
static msa_status read_offsets(const json_t *value, region *r, safetensors_tensor *t,
                               uint64_t n_bytes, msa_error *err) {
    const json_t *first = json_array_get(value, 0), *last = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(first) || !json_is_integer(last) ||
        json_integer_value(first) < 0 || json_integer_value(last) < json_integer_value(first))
        return error_set(err, MSA_E_FORMAT,
                         "tensor '%s' has no \"data_offsets\": [begin, end] with begin <= end",
                         safetensors_quote(t->name).text);
    uint64_t begin = (uint64_t)json_integer_value(first), end = (uint64_t)json_integer_value(last);
    if (end > r->n_bytes)
        return error_set(err, MSA_E_FORMAT,
                         "tensor '%s' ends at %" PRIu64 " of the data, of which the file holds "
                         "%" PRIu64 "; it is truncated or damaged",
                         safetensors_quote(t->name).text, end, r->n_bytes);
    if (end - begin != n_bytes)
        return error_set(err, MSA_E_FORMAT,
                         "tensor '%s' has %" PRIu64 " bytes between its offsets; its shape and "
                         "dtype %s ask for %" PRIu64,
                         safetensors_quote(t->name).text, end - begin, t->dtype, n_bytes);
    t->n_bytes = n_bytes;
    t->data = r->data + begin;
    return MSA_OK;
}

static msa_status read_tensor(region *r, const json_t *value, safetensors_tensor *t) {
    if (!json_is_object(value))
        return error_set(r->err, MSA_E_FORMAT, "tensor '%s' is described by no object",
                         safetensors_quote(t->name).text);
    unsigned bits = 0;
    uint64_t n_elems = 0, n_bits;
    msa_status status = read_dtype(json_object_get(value, "dtype"), t, &bits, r->err);
    if (!status) status = read_shape(json_object_get(value, "shape"), t, &n_elems, r->err);
    if (status != MSA_OK) return status;
    if (__builtin_mul_overflow(n_elems, (uint64_t)bits, &n_bits) || n_bits % 8)
        return error_set(r->err, MSA_E_FORMAT,
                         "tensor '%s' of %" PRIu64 " elements of %u bits is no number of bytes",
                         safetensors_quote(t->name).text, n_elems, bits);
    return read_offsets(json_object_get(value, "data_offsets"), r, t, n_bits / 8, r->err);
}

/* ---- a file ---- */

static int by_place(const void *a, const void *b) {
    const safetensors_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->n_bytes < y->n_bytes ? -1 : x->n_bytes > y->n_bytes;
}

/* The tensors of one file, which are the last n of s, cover its data from end to end. */
static msa_status check_cover(safetensors_table *s, size_t n, const region *r) {
    safetensors_tensor *t = n ? s->tensors + (s->n - n) : NULL;
    uint64_t at = 0;
    if (n > 1) qsort(t, n, sizeof *t, by_place);
    for (size_t i = 0; i < n; i++) {
        uint64_t begin = (uint64_t)(t[i].data - r->data);
        if (begin != at)
            return error_set(r->err, MSA_E_FORMAT,
                             "tensor '%s' begins at %" PRIu64 " of the data, but what precedes it "
                             "ends at %" PRIu64 ": %s",
                             safetensors_quote(t[i].name).text, begin, at,
                             begin < at ? "they overlap" : "there is a hole");
        at += t[i].n_bytes;
    }
    if (at != r->n_bytes)
        return error_set(r->err, MSA_E_FORMAT,
                         "the tensors end at %" PRIu64 " of the data, of which the file holds "
                         "%" PRIu64,
                         at, r->n_bytes);
    return MSA_OK;
}

static msa_status check_metadata(const json_t *metadata, msa_error *err) {
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return error_set(err, MSA_E_FORMAT, "\"__metadata__\" is no object of strings");
    json_object_foreach((json_t *)metadata, key, value) {
        if (!json_is_string(value))
            return error_set(err, MSA_E_FORMAT, "\"__metadata__\" holds '%s', which is no string",
                             safetensors_quote(key).text);
    }
    return MSA_OK;
}

static msa_status add_tensor(safetensors_table *s, region *r, const char *name,
                             const json_t *value) {
    void *tensors = s->tensors;
    bool grown = mem_grow(&tensors, &s->capacity, s->n + 1, sizeof *s->tensors);
    s->tensors = tensors;
    char *copy = grown ? mem_alloc(strlen(name) + 1, 1) : NULL;
    if (!copy) return error_set(r->err, MSA_E_NOMEM, "no memory for the table of tensors");
    strcpy(copy, name);
    s->tensors[s->n] = (safetensors_tensor){.name = copy};
    return read_tensor(r, value, &s->tensors[s->n++]);
}

static msa_status read_entries(safetensors_table *s, region *r, const json_t *header) {
    const char *name;
    json_t *value;
    size_t n_before = s->n;
    json_object_foreach((json_t *)header, name, value) {
        msa_status status = strcmp(name, "__metadata__") == 0 ? check_metadata(value, r->err)
                                                              : add_tensor(s, r, name, value);
        if (status != MSA_OK) return status;
    }
    return check_cover(s, s->n - n_before, r);
}

uint64_t safetensors_header_bytes(const uint8_t *data) {
    uint64_t n = 0;
    for (int i = 0; i < 8; i++) n |= (uint64_t)data[i] << 8 * i;
    return n;
}

msa_status safetensors_header_read(safetensors_table *s, const uint8_t *data, size_t n_bytes,
                                   msa_error *err) {
    uint64_t n_header = n_bytes < 8 ? 0 : safetensors_header_bytes(data);
    if (n_bytes < 8)
        return error_set(err, MSA_E_FORMAT, "the file has %zu bytes; a header alone has 8",
                         n_bytes);
    if (n_header > SAFETENSORS_MAX_HEADER || n_header > n_bytes - 8)
        return error_set(err, MSA_E_FORMAT,
                         "the first 8 bytes claim a header of %" PRIu64 " bytes; the file has %zu "
                         "and a header at most %d",
                         n_header, n_bytes, SAFETENSORS_MAX_HEADER);
    if (n_header < 2 || data[8] != '{')
        return error_set(err, MSA_E_FORMAT, "the header does not begin with '{'");
    json_t *header;
    msa_status status = json_file_parse(&header, data + 8, (size_t)n_header, 0, "the header", err);
    if (status != MSA_OK) return status;
    region r = {data + 8 + n_header, n_bytes - 8 - n_header, err};
    status = read_entries(s, &r, header);
    json_decref(header);
    return status;
}
