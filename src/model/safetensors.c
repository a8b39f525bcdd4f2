/* safetensors.c: see safetensors.h. The JSON of a header is bounded in depth and has no doubled
 * keys and no number beyond 63 bits (json_file.h); what the numbers claim is checked here. */
#include "model/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/json_file.h"
#include "nn/quant.h"

struct safetensors {
    char *name;
    file_map *maps; /* of the files; empty when opened from memory */
    size_t n_maps;
    uint64_t n_file_bytes;
    safetensors_tensor *tensors; /* sorted by name once all are read; names are owned */
    size_t n, capacity;
};

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

/* A name as it may stand in a message. */
typedef struct quoted {
    char text[140];
} quoted;

static quoted quote(const char *name) {
    quoted q;
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
        return error_set(err, MSA_E_FORMAT, "tensor '%s' has no \"dtype\"", quote(t->name).text);
    return error_set(err, MSA_E_UNSUPPORTED,
                     "tensor '%s' has dtype '%s', which this version does not know",
                     quote(t->name).text, quote(text).text);
}

static msa_status read_shape(const json_t *value, safetensors_tensor *t, uint64_t *n_elems,
                             msa_error *err) {
    size_t n = json_array_size(value);
    if (!json_is_array(value) || n > SAFETENSORS_MAX_DIMS)
        return error_set(err, MSA_E_FORMAT,
                         "tensor '%s' has a shape of %zu dimensions; expected an array of at most "
                         "%d",
                         quote(t->name).text, n, SAFETENSORS_MAX_DIMS);
    t->n_dims = (int)n;
    *n_elems = 1;
    for (size_t i = 0; i < SAFETENSORS_MAX_DIMS; i++) t->shape[i] = 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *extent = json_array_get(value, i);
        if (!json_is_integer(extent) || json_integer_value(extent) < 0)
            return error_set(err, MSA_E_FORMAT,
                             "tensor '%s' has a shape whose dimension %zu is no whole number of 0 "
                             "or more",
                             quote(t->name).text, i);
        t->shape[i] = (uint64_t)json_integer_value(extent);
        if (__builtin_mul_overflow(*n_elems, t->shape[i], n_elems) || *n_elems > INT64_MAX)
            return error_set(err, MSA_E_FORMAT,
                             "tensor '%s' has a shape of more elements than 63 bits count",
                             quote(t->name).text);
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
                         quote(t->name).text);
    uint64_t begin = (uint64_t)json_integer_value(first), end = (uint64_t)json_integer_value(last);
    if (end > r->n_bytes)
        return error_set(err, MSA_E_FORMAT,
                         "tensor '%s' ends at %" PRIu64 " of the data, of which the file holds "
                         "%" PRIu64 "; it is truncated or damaged",
                         quote(t->name).text, end, r->n_bytes);
    if (end - begin != n_bytes)
        return error_set(err, MSA_E_FORMAT,
                         "tensor '%s' has %" PRIu64 " bytes between its offsets; its shape and "
                         "dtype %s ask for %" PRIu64,
                         quote(t->name).text, end - begin, t->dtype, n_bytes);
    t->n_bytes = n_bytes;
    t->data = r->data + begin;
    return MSA_OK;
}

static msa_status read_tensor(region *r, const json_t *value, safetensors_tensor *t) {
    if (!json_is_object(value))
        return error_set(r->err, MSA_E_FORMAT, "tensor '%s' is described by no object",
                         quote(t->name).text);
    unsigned bits = 0;
    uint64_t n_elems = 0, n_bits;
    msa_status status = read_dtype(json_object_get(value, "dtype"), t, &bits, r->err);
    if (!status) status = read_shape(json_object_get(value, "shape"), t, &n_elems, r->err);
    if (status != MSA_OK) return status;
    if (__builtin_mul_overflow(n_elems, (uint64_t)bits, &n_bits) || n_bits % 8)
        return error_set(r->err, MSA_E_FORMAT,
                         "tensor '%s' of %" PRIu64 " elements of %u bits is no number of bytes",
                         quote(t->name).text, n_elems, bits);
    return read_offsets(json_object_get(value, "data_offsets"), r, t, n_bits / 8, r->err);
}

/* ---- a file ---- */

static int by_place(const void *a, const void *b) {
    const safetensors_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->n_bytes < y->n_bytes ? -1 : x->n_bytes > y->n_bytes;
}

static int by_name(const void *a, const void *b) {
    const safetensors_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* The tensors of one file, which are the last n of s, cover its data from end to end. */
static msa_status check_cover(safetensors *s, size_t n, const region *r) {
    safetensors_tensor *t = n ? s->tensors + (s->n - n) : NULL;
    uint64_t at = 0;
    if (n > 1) qsort(t, n, sizeof *t, by_place);
    for (size_t i = 0; i < n; i++) {
        uint64_t begin = (uint64_t)(t[i].data - r->data);
        if (begin != at)
            return error_set(r->err, MSA_E_FORMAT,
                             "tensor '%s' begins at %" PRIu64 " of the data, but what precedes it "
                             "ends at %" PRIu64 ": %s",
                             quote(t[i].name).text, begin, at,
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
                             quote(key).text);
    }
    return MSA_OK;
}

static msa_status add_tensor(safetensors *s, region *r, const char *name, const json_t *value) {
    void *tensors = s->tensors;
    bool grown = mem_grow(&tensors, &s->capacity, s->n + 1, sizeof *s->tensors);
    s->tensors = tensors;
    char *copy = grown ? mem_alloc(strlen(name) + 1, 1) : NULL;
    if (!copy) return error_set(r->err, MSA_E_NOMEM, "no memory for the table of tensors");
    strcpy(copy, name);
    s->tensors[s->n] = (safetensors_tensor){.name = copy};
    return read_tensor(r, value, &s->tensors[s->n++]);
}

static msa_status read_entries(safetensors *s, region *r, const json_t *header) {
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

static uint64_t header_bytes(const uint8_t *data) {
    uint64_t n = 0;
    for (int i = 0; i < 8; i++) n |= (uint64_t)data[i] << 8 * i;
    return n;
}

static msa_status read_header(safetensors *s, const uint8_t *data, size_t n_bytes, msa_error *err) {
    uint64_t n_header = n_bytes < 8 ? 0 : header_bytes(data);
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

static msa_status sort_names(safetensors *s, msa_error *err) {
    if (s->n > 1) qsort(s->tensors, s->n, sizeof *s->tensors, by_name);
    for (size_t i = 1; i < s->n; i++)
        if (strcmp(s->tensors[i - 1].name, s->tensors[i].name) == 0)
            return error_set(err, MSA_E_FORMAT, "tensor '%s' is in two files",
                             quote(s->tensors[i].name).text);
    return MSA_OK;
}

/* ---- a checkpoint of several files ---- */

/* A file of the index's own folder, and no other. */
static bool is_plain_name(const char *name) {
    return name[0] && name[0] != '.' && !strchr(name, '/') && !strchr(name, '\\');
}

/* Maps a file of s's folder and reads its tensors. */
static msa_status open_shard(safetensors *s, const char *name, msa_error *err) {
    const char *slash = strrchr(s->name, '/');
    size_t n_folder = slash ? (size_t)(slash - s->name) + 1 : 0, n_name = strlen(name) + 1;
    char *path = mem_alloc(n_folder + n_name, 1);
    size_t capacity = s->n_maps;
    void *maps = s->maps;
    bool grown = path && mem_grow(&maps, &capacity, s->n_maps + 1, sizeof *s->maps);
    s->maps = maps;
    if (!grown) {
        mem_free(path);
        return error_set(err, MSA_E_NOMEM, "no memory to open '%s'", quote(name).text);
    }
    memcpy(path, s->name, n_folder);
    memcpy(path + n_folder, name, n_name);
    file_map *map = &s->maps[s->n_maps];
    msa_status status = file_map_open(map, path, err);
    if (status == MSA_OK) {
        s->n_maps++;
        s->n_file_bytes += map->n_bytes;
        status = read_header(s, map->data, map->n_bytes, err);
        if (status != MSA_OK) error_prefix(err, status, "'%s': ", quote(path).text);
    }
    mem_free(path);
    return status;
}

/* Opens each file the index names, once. seen: from its name to its number among the maps. */
static msa_status open_shards(safetensors *s, const json_t *weight_map, json_t *seen,
                              msa_error *err) {
    const char *tensor;
    json_t *file;
    json_object_foreach((json_t *)weight_map, tensor, file) {
        const char *name = json_string_value(file);
        if (!name || !is_plain_name(name))
            return error_set(err, MSA_E_FORMAT,
                             "the index puts tensor '%s' into '%s'; expected a file of its own "
                             "folder",
                             quote(tensor).text, name ? quote(name).text : "no name");
        if (json_object_get(seen, name)) continue;
        if (json_object_set_new(seen, name, json_integer((json_int_t)s->n_maps)) != 0)
            return error_set(err, MSA_E_NOMEM, "no memory for the names of the files");
        msa_status status = open_shard(s, name, err);
        if (status != MSA_OK) return status;
    }
    return MSA_OK;
}

/* Each tensor of the index is in the file it says, and no other tensor is in any. */
static msa_status check_index(const safetensors *s, const json_t *weight_map, const json_t *seen,
                              msa_error *err) {
    const char *name;
    json_t *file;
    json_object_foreach((json_t *)weight_map, name, file) {
        const safetensors_tensor *t = safetensors_find(s, name);
        const file_map *map =
            &s->maps[json_integer_value(json_object_get(seen, json_string_value(file)))];
        if (!t || t->data < map->data || t->data > map->data + map->n_bytes)
            return error_set(err, MSA_E_FORMAT, "the index puts tensor '%s' into '%s'; %s",
                             quote(name).text, quote(json_string_value(file)).text,
                             t ? "it is in another file" : "no file has it");
    }
    for (size_t i = 0; i < s->n; i++)
        if (!json_object_get(weight_map, s->tensors[i].name))
            return error_set(err, MSA_E_FORMAT, "tensor '%s' is in a file but not in the index",
                             quote(s->tensors[i].name).text);
    return MSA_OK;
}

static msa_status read_index(safetensors *s, const file_map *index, msa_error *err) {
    json_t *root;
    msa_status status = json_file_parse(&root, index->data, index->n_bytes, 0, "the index", err);
    if (status != MSA_OK) return status;
    const json_t *weight_map = json_object_get(root, "weight_map");
    json_t *seen = json_object();
    if (!seen)
        status = error_set(err, MSA_E_NOMEM, "no memory for the names of the files");
    else if (json_object_size(weight_map) == 0)
        status = error_set(err, MSA_E_FORMAT,
                           "the file is JSON without \"weight_map\"; expected a safetensors file "
                           "or the index of several");
    if (!status) status = open_shards(s, weight_map, seen, err);
    if (!status) status = sort_names(s, err);
    if (!status) status = check_index(s, weight_map, seen, err);
    json_decref(seen);
    json_decref(root);
    return status;
}

/* ---- opening ---- */

/* The letters of JSON, taken for the length of a header, are more than any file has. */
static bool is_json(const file_map *map) {
    return map->n_bytes && map->data[0] == '{' &&
           (map->n_bytes < 8 || header_bytes(map->data) > map->n_bytes);
}

/* NULL, with the error said, where there is no memory. */
static safetensors *create(const char *name, msa_error *err) {
    safetensors *s = mem_calloc(1, sizeof *s);
    if (s) s->name = mem_alloc(strlen(name) + 1, 1);
    if (!s || !s->name) {
        mem_free(s);
        error_set(err, MSA_E_NOMEM, "no memory to open '%s'", name);
        return NULL;
    }
    strcpy(s->name, name);
    return s;
}

static msa_status finish(safetensors **out, safetensors *s, msa_status status, msa_error *err) {
    if (status != MSA_OK) {
        error_prefix(err, status, "'%s': ", s->name);
        safetensors_close(s);
        return status;
    }
    *out = s;
    return MSA_OK;
}

msa_status safetensors_open(safetensors **out, const char *path, msa_error *err) {
    *out = NULL;
    file_map map;
    safetensors *s = create(path, err);
    if (!s) return MSA_E_NOMEM;
    msa_status status = file_map_open(&map, path, err);
    if (status != MSA_OK) {
        safetensors_close(s);
        return status;
    }
    if (is_json(&map)) {
        status = read_index(s, &map, err);
        file_map_close(&map);
        return finish(out, s, status, err);
    }
    s->maps = mem_alloc(1, sizeof *s->maps);
    if (!s->maps) {
        file_map_close(&map);
        return finish(out, s, error_set(err, MSA_E_NOMEM, "no memory"), err);
    }
    s->maps[s->n_maps++] = map;
    s->n_file_bytes = map.n_bytes;
    status = read_header(s, map.data, map.n_bytes, err);
    if (status == MSA_OK) status = sort_names(s, err);
    return finish(out, s, status, err);
}

msa_status safetensors_open_memory(safetensors **out, const void *data, size_t n_bytes,
                                   const char *name, msa_error *err) {
    *out = NULL;
    safetensors *s = create(name, err);
    if (!s) return MSA_E_NOMEM;
    s->n_file_bytes = n_bytes;
    msa_status status = read_header(s, data, n_bytes, err);
    if (status == MSA_OK) status = sort_names(s, err);
    return finish(out, s, status, err);
}

void safetensors_close(safetensors *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) mem_free((char *)s->tensors[i].name);
    for (size_t i = 0; i < s->n_maps; i++) file_map_close(&s->maps[i]);
    mem_free(s->tensors);
    mem_free(s->maps);
    mem_free(s->name);
    mem_free(s);
}

const char *safetensors_name(const safetensors *s) {
    return s->name;
}
uint64_t safetensors_file_bytes(const safetensors *s) {
    return s->n_file_bytes;
}
size_t safetensors_count(const safetensors *s) {
    return s->n;
}
const safetensors_tensor *safetensors_at(const safetensors *s, size_t i) {
    return &s->tensors[i];
}

const safetensors_tensor *safetensors_find(const safetensors *s, const char *name) {
    safetensors_tensor wanted = {.name = name};
    return s->n ? bsearch(&wanted, s->tensors, s->n, sizeof *s->tensors, by_name) : NULL;
}

const char *safetensors_shape_text(const safetensors_tensor *t, char *out, size_t n_bytes) {
    size_t at = 0;
    if (n_bytes) out[0] = 0;
    for (int i = 0; i <= t->n_dims && at < n_bytes; i++) {
        int n = i == t->n_dims
                    ? snprintf(out + at, n_bytes - at, i ? "]" : "[]")
                    : snprintf(out + at, n_bytes - at, "%s%" PRIu64, i ? ", " : "[", t->shape[i]);
        at += n > 0 ? (size_t)n : 0;
    }
    return out;
}
