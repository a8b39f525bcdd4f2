/* gguf.c: opening a GGUF file. See gguf.h.
 *
 * One forward pass with a cursor that can't leave the file. Two habits keep hostile bytes harmless:
 * a length is compared with what is left of the file before anything is computed from it, and
 * tables grow as entries are actually read, so that a count of 2^60 costs nothing. Lookup and the
 * search for duplicates share a sorted index. */
#include "model/gguf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "nn/quant.h"

enum {
    MAX_KEY_BYTES = 65535, /* the format's own limit */
    MAX_TENSOR_NAME = 64,  /* the same */
    MIN_ALIGNMENT = 8,     /* the format's own; so plain f32 and f16 tensors can be read in place */
    MAX_ALIGNMENT = 1 << 16,
    DEFAULT_ALIGNMENT = 32,
    MAX_ARRAY_DEPTH = 4,
    MIN_VALUE_BYTES = 8 + 4 + 1,         /* key length, type, the smallest value */
    MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8 /* name length, n_dims, one dim, type, offset */
};

struct gguf_file {
    file_map map; /* empty when opened from memory */
    char *name;
    const uint8_t *data;
    size_t n_bytes;
    gguf_value *values;
    gguf_tensor *tensors;
    size_t n_values, n_tensors;
    const gguf_string **value_index, **tensor_index; /* sorted by name */
};

typedef struct cursor {
    const uint8_t *data;
    size_t n_bytes, at;
    msa_error *err;
} cursor;

/* ---- reading ---- */

static msa_status need(cursor *c, uint64_t n, const char *what) {
    if (n <= c->n_bytes - c->at) return MSA_OK;
    return error_set(c->err, MSA_E_FORMAT,
                     "%s needs %" PRIu64 " bytes at offset %zu, but the file ends at %zu; "
                     "it is truncated or damaged",
                     what, n, c->at, c->n_bytes);
}

static msa_status read_bytes(cursor *c, void *out, size_t n, const char *what) {
    msa_status status = need(c, n, what);
    if (status != MSA_OK) return status;
    memcpy(out, c->data + c->at, n);
    c->at += n;
    return MSA_OK;
}

static msa_status read_string(cursor *c, gguf_string *out, uint64_t max, const char *what) {
    size_t start = c->at;
    uint64_t n;
    msa_status status = read_bytes(c, &n, 8, what);
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

static msa_status read_type(cursor *c, gguf_type *out, const char *key) {
    size_t start = c->at;
    uint32_t type;
    *out = GGUF_U8;
    msa_status status = read_bytes(c, &type, 4, "the type of a value");
    if (status != MSA_OK) return status;
    if (type >= GGUF_TYPE_COUNT)
        return error_set(c->err, MSA_E_FORMAT,
                         "key '%s' has value type %" PRIu32
                         " at offset %zu; types 0 to %d are known",
                         key, type, start, GGUF_TYPE_COUNT - 1);
    *out = (gguf_type)type;
    return MSA_OK;
}

static msa_status skip_elements(cursor *c, gguf_type type, uint64_t n, const char *key, int depth);

static msa_status read_array(cursor *c, gguf_type *element, uint64_t *n, const uint8_t **data,
                             const char *key, int depth) {
    msa_status status = read_type(c, element, key);
    if (status == MSA_OK) status = read_bytes(c, n, 8, "the length of an array");
    if (status != MSA_OK) return status;
    if (depth > MAX_ARRAY_DEPTH)
        return error_set(c->err, MSA_E_FORMAT, "key '%s' nests arrays more than %d deep", key,
                         MAX_ARRAY_DEPTH);
    *data = c->data + c->at;
    return skip_elements(c, *element, *n, key, depth);
}

/* Moves past n values of a type, checking that they are there. */
static msa_status skip_elements(cursor *c, gguf_type type, uint64_t n, const char *key, int depth) {
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

static msa_status read_value(cursor *c, gguf_value *v) {
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

static msa_status read_shape(cursor *c, gguf_tensor *t, const char *name) {
    uint32_t n_dims;
    msa_status status = read_bytes(c, &n_dims, 4, "the rank of a tensor");
    if (status != MSA_OK) return status;
    if (n_dims < 1 || n_dims > GGUF_MAX_DIMS)
        return error_set(c->err, MSA_E_FORMAT,
                         "tensor '%s' has %" PRIu32 " dimensions; expected 1 to %d", name, n_dims,
                         GGUF_MAX_DIMS);
    t->n_dims = (int)n_dims;
    for (int i = 0; i < GGUF_MAX_DIMS; i++) t->shape[i] = 1;
    for (int i = 0; i < t->n_dims; i++) {
        if ((status = read_bytes(c, &t->shape[i], 8, "a tensor's shape")) != MSA_OK) return status;
        if (t->shape[i] == 0)
            return error_set(c->err, MSA_E_FORMAT, "tensor '%s' has dimension %d of size 0", name,
                             i);
    }
    return MSA_OK;
}

static msa_status size_tensor(cursor *c, gguf_tensor *t, const char *name) {
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

/* t->data waits for place_tensors: where the data begin is known once all tensors are read. */
static msa_status read_tensor(cursor *c, gguf_tensor *t, uint64_t *offset) {
    char printable[GGUF_PRINTABLE];
    *t = (gguf_tensor){0};
    size_t start = c->at;
    msa_status status = read_string(c, &t->name, MAX_TENSOR_NAME, "a tensor's name");
    if (status != MSA_OK) return status;
    if (t->name.n == 0)
        return error_set(c->err, MSA_E_FORMAT, "the tensor name at offset %zu is empty", start);
    const char *name = gguf_printable(t->name, printable);
    status = read_shape(c, t, name);
    if (status == MSA_OK) status = read_bytes(c, &t->type, 4, "a tensor's type");
    if (status == MSA_OK) status = read_bytes(c, offset, 8, "a tensor's offset");
    if (status == MSA_OK) status = size_tensor(c, t, name);
    return status;
}

/* ---- the sorted index ---- */

static int compare_strings(gguf_string a, gguf_string b) {
    int order = memcmp(a.data, b.data, a.n < b.n ? (size_t)a.n : (size_t)b.n);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_names(const void *a, const void *b) {
    return compare_strings(**(const gguf_string *const *)a, **(const gguf_string *const *)b);
}

/* Sorts pointers to the names, which stand first in each of n entries of `size` bytes, and refuses
 * two that are equal. */
static msa_status build_index(const gguf_string ***out, const void *entries, size_t n, size_t size,
                              const char *what, msa_error *err) {
    const gguf_string **index = mem_alloc(n, sizeof *index);
    if (!index) return error_set(err, MSA_E_NOMEM, "no memory for an index of %zu %ss", n, what);
    *out = index;
    for (size_t i = 0; i < n; i++)
        index[i] = (const gguf_string *)((const char *)entries + i * size);
    if (n > 1) qsort(index, n, sizeof *index, compare_names);
    for (size_t i = 1; i < n; i++) {
        if (compare_strings(*index[i - 1], *index[i]) != 0) continue;
        char printable[GGUF_PRINTABLE];
        return error_set(err, MSA_E_FORMAT, "%s '%s' appears twice", what,
                         gguf_printable(*index[i], printable));
    }
    return MSA_OK;
}

static const void *find_name(const gguf_string *const *index, size_t n, const char *name) {
    gguf_string wanted = {name, strlen(name)};
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_strings(*index[middle], wanted);
        if (order == 0) return index[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* ---- opening ---- */

static msa_status read_version(cursor *c) {
    uint32_t version;
    uint8_t magic[4];
    msa_status status = read_bytes(c, magic, 4, "the magic 'GGUF'");
    if (status != MSA_OK) return status;
    if (memcmp(magic, "GGUF", 4) != 0)
        return error_set(c->err, MSA_E_FORMAT,
                         "the first four bytes are %02x %02x %02x %02x; expected 'GGUF'", magic[0],
                         magic[1], magic[2], magic[3]);
    if ((status = read_bytes(c, &version, 4, "the version")) != MSA_OK) return status;
    if (version == __builtin_bswap32(2) || version == __builtin_bswap32(3))
        return error_set(c->err, MSA_E_UNSUPPORTED,
                         "the file is big-endian; only little-endian GGUF is read");
    if (version < 2 || version > 3)
        return error_set(c->err, MSA_E_UNSUPPORTED,
                         "GGUF version %" PRIu32 "; versions 2 and 3 are read", version);
    return MSA_OK;
}

static msa_status read_counts(cursor *c, uint64_t *n_tensors, uint64_t *n_values) {
    msa_status status = read_bytes(c, n_tensors, 8, "the number of tensors");
    if (status == MSA_OK) status = read_bytes(c, n_values, 8, "the number of keys");
    if (status != MSA_OK) return status;
    uint64_t left = c->n_bytes - c->at;
    if (*n_values > left / MIN_VALUE_BYTES)
        return error_set(c->err, MSA_E_FORMAT,
                         "the header claims %" PRIu64 " keys; the file has room for %" PRIu64,
                         *n_values, left / MIN_VALUE_BYTES);
    if (*n_tensors > left / MIN_TENSOR_BYTES)
        return error_set(c->err, MSA_E_FORMAT,
                         "the header claims %" PRIu64 " tensors; the file has room for %" PRIu64,
                         *n_tensors, left / MIN_TENSOR_BYTES);
    return MSA_OK;
}

static msa_status read_values(gguf_file *file, cursor *c, uint64_t n) {
    size_t capacity = 0;
    for (uint64_t i = 0; i < n; i++) {
        void *values = file->values;
        if (!mem_grow(&values, &capacity, file->n_values + 1, sizeof *file->values))
            return error_set(c->err, MSA_E_NOMEM, "no memory for %" PRIu64 " keys", n);
        file->values = values;
        msa_status status = read_value(c, &file->values[file->n_values]);
        if (status != MSA_OK) return status;
        file->n_values++;
    }
    return build_index(&file->value_index, file->values, file->n_values, sizeof *file->values,
                       "key", c->err);
}

/* *offsets receives where in the data each tensor begins; the caller frees it on every path. */
static msa_status read_tensors(gguf_file *file, cursor *c, uint64_t n, uint64_t **offsets) {
    size_t capacity = 0, offset_capacity = 0;
    for (uint64_t i = 0; i < n; i++) {
        void *tensors = file->tensors, *list = *offsets;
        bool ok = mem_grow(&tensors, &capacity, file->n_tensors + 1, sizeof *file->tensors);
        file->tensors = tensors;
        ok = ok && mem_grow(&list, &offset_capacity, file->n_tensors + 1, sizeof **offsets);
        *offsets = list;
        if (!ok) return error_set(c->err, MSA_E_NOMEM, "no memory for %" PRIu64 " tensors", n);
        msa_status status =
            read_tensor(c, &file->tensors[file->n_tensors], &(*offsets)[file->n_tensors]);
        if (status != MSA_OK) return status;
        file->n_tensors++;
    }
    return build_index(&file->tensor_index, file->tensors, file->n_tensors, sizeof *file->tensors,
                       "tensor", c->err);
}

static msa_status place_tensors(gguf_file *file, cursor *c, const uint64_t *offsets) {
    uint32_t alignment;
    msa_status status =
        gguf_get_u32_or(file, "general.alignment", DEFAULT_ALIGNMENT, &alignment, c->err);
    if (status != MSA_OK) return status;
    if (alignment < MIN_ALIGNMENT || alignment > MAX_ALIGNMENT || (alignment & (alignment - 1)))
        return error_set(c->err, MSA_E_FORMAT,
                         "key 'general.alignment' is %" PRIu32
                         "; expected a power of two from %d to %d",
                         alignment, MIN_ALIGNMENT, MAX_ALIGNMENT);
    uint64_t start = size_round_up(c->at, alignment); /* c->at is an address: this can't wrap */
    uint64_t room = start < file->n_bytes ? file->n_bytes - start : 0;
    for (size_t i = 0; i < file->n_tensors; i++) {
        gguf_tensor *t = &file->tensors[i];
        char printable[GGUF_PRINTABLE];
        if (offsets[i] % alignment)
            return error_set(c->err, MSA_E_FORMAT,
                             "tensor '%s' begins at offset %" PRIu64
                             " of the data; expected a multiple of the alignment %" PRIu32,
                             gguf_printable(t->name, printable), offsets[i], alignment);
        if (t->n_bytes > room || offsets[i] > room - t->n_bytes)
            return error_set(c->err, MSA_E_FORMAT,
                             "tensor '%s' needs %" PRIu64 " bytes at offset %" PRIu64
                             " of the data, of which the file holds %" PRIu64
                             "; it is truncated or damaged",
                             gguf_printable(t->name, printable), t->n_bytes, offsets[i], room);
        t->data = file->data + start + offsets[i];
    }
    return MSA_OK;
}

static msa_status parse(gguf_file *file, msa_error *err) {
    cursor c = {file->data, file->n_bytes, 0, err};
    uint64_t n_tensors = 0, n_values = 0, *offsets = NULL;
    msa_status status = read_version(&c);
    if (status == MSA_OK) status = read_counts(&c, &n_tensors, &n_values);
    if (status == MSA_OK) status = read_values(file, &c, n_values);
    if (status == MSA_OK) status = read_tensors(file, &c, n_tensors, &offsets);
    if (status == MSA_OK) status = place_tensors(file, &c, offsets);
    mem_free(offsets);
    return status;
}

static msa_status open_file(gguf_file **out, file_map map, const void *data, size_t n_bytes,
                            const char *name, msa_error *err) {
    gguf_file *file = mem_calloc(1, sizeof *file);
    char *copy = mem_alloc(strlen(name) + 1, 1);
    if (!file || !copy) {
        mem_free(file);
        mem_free(copy);
        file_map_close(&map);
        return error_set(err, MSA_E_NOMEM, "no memory to open '%s'", name);
    }
    strcpy(copy, name);
    *file = (gguf_file){.map = map, .name = copy, .data = data, .n_bytes = n_bytes};
    msa_status status = parse(file, err);
    if (status != MSA_OK) {
        error_prefix(err, status, "'%s': ", name);
        gguf_close(file);
        return status;
    }
    *out = file;
    return MSA_OK;
}

msa_status gguf_open(gguf_file **out, const char *path, msa_error *err) {
    *out = NULL;
    file_map map;
    msa_status status = file_map_open(&map, path, err);
    if (status != MSA_OK) return status;
    return open_file(out, map, map.data, map.n_bytes, path, err);
}

msa_status gguf_open_memory(gguf_file **out, const void *data, size_t n_bytes, const char *name,
                            msa_error *err) {
    *out = NULL;
    return open_file(out, (file_map){0}, data, n_bytes, name, err);
}

void gguf_close(gguf_file *file) {
    if (!file) return;
    mem_free(file->values);
    mem_free(file->tensors);
    mem_free(file->value_index);
    mem_free(file->tensor_index);
    mem_free(file->name);
    file_map_close(&file->map);
    mem_free(file);
}

const char *gguf_name(const gguf_file *file) {
    return file->name;
}
uint64_t gguf_file_bytes(const gguf_file *file) {
    return file->n_bytes;
}
size_t gguf_value_count(const gguf_file *file) {
    return file->n_values;
}
const gguf_value *gguf_value_at(const gguf_file *file, size_t i) {
    return &file->values[i];
}
size_t gguf_tensor_count(const gguf_file *file) {
    return file->n_tensors;
}
const gguf_tensor *gguf_tensor_at(const gguf_file *file, size_t i) {
    return &file->tensors[i];
}
const gguf_value *gguf_find(const gguf_file *file, const char *key) {
    return find_name(file->value_index, file->n_values, key);
}
const gguf_tensor *gguf_find_tensor(const gguf_file *file, const char *name) {
    return find_name(file->tensor_index, file->n_tensors, name);
}
