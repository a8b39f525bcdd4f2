/* gguf.c: opening a GGUF file. See gguf.h.
 *
 * One forward pass with a cursor that can't leave the file (gguf_cursor.h). Tables grow as entries
 * are actually read, so that a count of 2^60 costs nothing. Lookup and the search for duplicates
 * share a sorted index. */
#include "model/gguf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/gguf_cursor.h"

enum {
    MIN_ALIGNMENT = 8, /* the format's own; so plain f32 and f16 tensors can be read in place */
    MAX_ALIGNMENT = 1 << 16,
    DEFAULT_ALIGNMENT = 32
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

static msa_status read_version(gguf_cursor *c) {
    uint32_t version;
    uint8_t magic[4];
    msa_status status = gguf_read_bytes(c, magic, 4, "the magic 'GGUF'");
    if (status != MSA_OK) return status;
    if (memcmp(magic, "GGUF", 4) != 0)
        return error_set(c->err, MSA_E_FORMAT,
                         "the first four bytes are %02x %02x %02x %02x; expected 'GGUF'", magic[0],
                         magic[1], magic[2], magic[3]);
    if ((status = gguf_read_bytes(c, &version, 4, "the version")) != MSA_OK) return status;
    if (version == __builtin_bswap32(2) || version == __builtin_bswap32(3))
        return error_set(c->err, MSA_E_UNSUPPORTED,
                         "the file is big-endian; only little-endian GGUF is read");
    if (version < 2 || version > 3)
        return error_set(c->err, MSA_E_UNSUPPORTED,
                         "GGUF version %" PRIu32 "; versions 2 and 3 are read", version);
    return MSA_OK;
}

static msa_status read_counts(gguf_cursor *c, uint64_t *n_tensors, uint64_t *n_values) {
    msa_status status = gguf_read_bytes(c, n_tensors, 8, "the number of tensors");
    if (status == MSA_OK) status = gguf_read_bytes(c, n_values, 8, "the number of keys");
    if (status != MSA_OK) return status;
    uint64_t left = c->n_bytes - c->at;
    if (*n_values > left / GGUF_MIN_VALUE_BYTES)
        return error_set(c->err, MSA_E_FORMAT,
                         "the header claims %" PRIu64 " keys; the file has room for %" PRIu64,
                         *n_values, left / GGUF_MIN_VALUE_BYTES);
    if (*n_tensors > left / GGUF_MIN_TENSOR_BYTES)
        return error_set(c->err, MSA_E_FORMAT,
                         "the header claims %" PRIu64 " tensors; the file has room for %" PRIu64,
                         *n_tensors, left / GGUF_MIN_TENSOR_BYTES);
    return MSA_OK;
}

static msa_status read_values(gguf_file *file, gguf_cursor *c, uint64_t n) {
    size_t capacity = 0;
    for (uint64_t i = 0; i < n; i++) {
        void *values = file->values;
        if (!mem_grow(&values, &capacity, file->n_values + 1, sizeof *file->values))
            return error_set(c->err, MSA_E_NOMEM, "no memory for %" PRIu64 " keys", n);
        file->values = values;
        msa_status status = gguf_read_value(c, &file->values[file->n_values]);
        if (status != MSA_OK) return status;
        file->n_values++;
    }
    return build_index(&file->value_index, file->values, file->n_values, sizeof *file->values,
                       "key", c->err);
}

/* *offsets receives where in the data each tensor begins; the caller frees it on every path. */
static msa_status read_tensors(gguf_file *file, gguf_cursor *c, uint64_t n, uint64_t **offsets) {
    size_t capacity = 0, offset_capacity = 0;
    for (uint64_t i = 0; i < n; i++) {
        void *tensors = file->tensors, *list = *offsets;
        bool ok = mem_grow(&tensors, &capacity, file->n_tensors + 1, sizeof *file->tensors);
        file->tensors = tensors;
        ok = ok && mem_grow(&list, &offset_capacity, file->n_tensors + 1, sizeof **offsets);
        *offsets = list;
        if (!ok) return error_set(c->err, MSA_E_NOMEM, "no memory for %" PRIu64 " tensors", n);
        msa_status status =
            gguf_read_tensor(c, &file->tensors[file->n_tensors], &(*offsets)[file->n_tensors]);
        if (status != MSA_OK) return status;
        file->n_tensors++;
    }
    return build_index(&file->tensor_index, file->tensors, file->n_tensors, sizeof *file->tensors,
                       "tensor", c->err);
}

static msa_status place_tensors(gguf_file *file, gguf_cursor *c, const uint64_t *offsets) {
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
    gguf_cursor c = {file->data, file->n_bytes, 0, err};
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
