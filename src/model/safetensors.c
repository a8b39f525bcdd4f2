/* safetensors.c: see safetensors.h. The files, the index of several, and the table of all tensors;
 * the header of a file is safetensors_header.c. */
#include "model/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/json_file.h"
#include "model/safetensors_header.h"

struct safetensors {
    char *name;
    file_map *maps; /* of the files; empty when opened from memory */
    size_t n_maps;
    uint64_t n_file_bytes;
    safetensors_table table; /* sorted by name once all are read */
};

static int by_name(const void *a, const void *b) {
    const safetensors_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static msa_status sort_names(safetensors_table *t, msa_error *err) {
    if (t->n > 1) qsort(t->tensors, t->n, sizeof *t->tensors, by_name);
    for (size_t i = 1; i < t->n; i++)
        if (strcmp(t->tensors[i - 1].name, t->tensors[i].name) == 0)
            return error_set(err, MSA_E_FORMAT, "tensor '%s' is in two files",
                             safetensors_quote(t->tensors[i].name).text);
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
        return error_set(err, MSA_E_NOMEM, "no memory to open '%s'", safetensors_quote(name).text);
    }
    memcpy(path, s->name, n_folder);
    memcpy(path + n_folder, name, n_name);
    file_map *map = &s->maps[s->n_maps];
    msa_status status = file_map_open(map, path, err);
    if (status == MSA_OK) {
        s->n_maps++;
        s->n_file_bytes += map->n_bytes;
        status = safetensors_header_read(&s->table, map->data, map->n_bytes, err);
        if (status != MSA_OK) error_prefix(err, status, "'%s': ", safetensors_quote(path).text);
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
                             safetensors_quote(tensor).text,
                             name ? safetensors_quote(name).text : "no name");
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
                             safetensors_quote(name).text,
                             safetensors_quote(json_string_value(file)).text,
                             t ? "it is in another file" : "no file has it");
    }
    for (size_t i = 0; i < s->table.n; i++)
        if (!json_object_get(weight_map, s->table.tensors[i].name))
            return error_set(err, MSA_E_FORMAT, "tensor '%s' is in a file but not in the index",
                             safetensors_quote(s->table.tensors[i].name).text);
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
    if (!status) status = sort_names(&s->table, err);
    if (!status) status = check_index(s, weight_map, seen, err);
    json_decref(seen);
    json_decref(root);
    return status;
}

/* ---- opening ---- */

/* The letters of JSON, taken for the length of a header, are more than any file has. */
static bool is_json(const file_map *map) {
    return map->n_bytes && map->data[0] == '{' &&
           (map->n_bytes < 8 || safetensors_header_bytes(map->data) > map->n_bytes);
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
    status = safetensors_header_read(&s->table, map.data, map.n_bytes, err);
    if (status == MSA_OK) status = sort_names(&s->table, err);
    return finish(out, s, status, err);
}

msa_status safetensors_open_memory(safetensors **out, const void *data, size_t n_bytes,
                                   const char *name, msa_error *err) {
    *out = NULL;
    safetensors *s = create(name, err);
    if (!s) return MSA_E_NOMEM;
    s->n_file_bytes = n_bytes;
    msa_status status = safetensors_header_read(&s->table, data, n_bytes, err);
    if (status == MSA_OK) status = sort_names(&s->table, err);
    return finish(out, s, status, err);
}

void safetensors_close(safetensors *s) {
    if (!s) return;
    for (size_t i = 0; i < s->table.n; i++) mem_free((char *)s->table.tensors[i].name);
    for (size_t i = 0; i < s->n_maps; i++) file_map_close(&s->maps[i]);
    mem_free(s->table.tensors);
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
    return s->table.n;
}
const safetensors_tensor *safetensors_at(const safetensors *s, size_t i) {
    return &s->table.tensors[i];
}

const safetensors_tensor *safetensors_find(const safetensors *s, const char *name) {
    safetensors_tensor wanted = {.name = name};
    return s->table.n
               ? bsearch(&wanted, s->table.tensors, s->table.n, sizeof *s->table.tensors, by_name)
               : NULL;
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
