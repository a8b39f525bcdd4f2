/* safetensors_out.c: see safetensors_out.h. */
#include "model/safetensors_out.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/json_file.h"
#include "nn/quant.h"

typedef struct entry {
    char *name;
    uint32_t type;
    int n_dims;
    uint64_t shape[4];
    uint64_t n_bytes;
    size_t shard;
} entry;

struct safetensors_out {
    file_out_set *set;
    char *folder, *path; /* path: room for a file's */
    size_t path_bytes;
    uint64_t max_bytes;
    entry *entries;
    size_t n, capacity, n_shards;
    file_out *file;   /* being written */
    size_t at;        /* entry being written */
    uint64_t n_given; /* bytes given of it */
    bool wrong, exhausted;
};

enum { LONGEST_NAME = 64 }; /* of the files below */

msa_status safetensors_out_create(safetensors_out **out, file_out_set *set, const char *folder,
                                  uint64_t max_bytes, msa_error *err) {
    size_t n = strlen(folder) + 1;
    safetensors_out *s = mem_calloc(1, sizeof *s);
    char *names = mem_alloc(2 * n + LONGEST_NAME, 1);
    if (!s || !names) {
        mem_free(s);
        mem_free(names);
        *out = NULL;
        return error_set(err, MSA_E_NOMEM, "no memory to write a checkpoint into '%s'", folder);
    }
    memcpy(names, folder, n);
    *s = (safetensors_out){.set = set,
                           .folder = names,
                           .path = names + n,
                           .path_bytes = n + LONGEST_NAME,
                           .max_bytes = max_bytes};
    *out = s;
    return MSA_OK;
}

void safetensors_out_free(safetensors_out *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) mem_free(s->entries[i].name);
    mem_free(s->entries);
    mem_free(s->folder);
    mem_free(s);
}

void safetensors_out_tensor(safetensors_out *s, const char *name, uint32_t type, int n_dims,
                            const uint64_t *shape) {
    void *entries = s->entries;
    bool grown = mem_grow(&entries, &s->capacity, s->n + 1, sizeof *s->entries);
    s->entries = entries;
    char *copy = grown ? mem_alloc(strlen(name) + 1, 1) : NULL;
    s->exhausted |= !copy;
    if (!copy) return;
    strcpy(copy, name);
    entry *e = &s->entries[s->n++];
    *e = (entry){.name = copy, .type = type, .n_dims = n_dims};
    bool known = type == QUANT_F32 || type == QUANT_F16 || type == QUANT_BF16;
    s->wrong |= !known || n_dims < 1 || n_dims > 4;
    if (s->wrong) return;
    e->n_bytes = type == QUANT_F32 ? 4 : 2;
    for (int i = 0; i < n_dims; i++) {
        e->shape[i] = shape[i];
        s->wrong |= __builtin_mul_overflow(e->n_bytes, shape[i], &e->n_bytes) ||
                    e->n_bytes > INT64_MAX || shape[i] == 0;
    }
}

/* Which file each tensor goes to. */
static void cut_into_shards(safetensors_out *s) {
    uint64_t used = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (i == 0 || (s->max_bytes && s->entries[i].n_bytes > s->max_bytes - used)) {
            s->n_shards++;
            used = 0;
        }
        s->entries[i].shard = s->n_shards - 1;
        used += s->entries[i].n_bytes;
        if (s->max_bytes && used > s->max_bytes) used = s->max_bytes;
    }
}

static const char *path_of(safetensors_out *s, const char *file) {
    snprintf(s->path, s->path_bytes, "%s/%s", s->folder, file);
    return s->path;
}

static void name_shard(const safetensors_out *s, size_t shard, char name[LONGEST_NAME]) {
    if (s->n_shards == 1)
        strcpy(name, "model.safetensors");
    else
        snprintf(name, LONGEST_NAME - 1, "model-%05zu-of-%05zu.safetensors", shard + 1,
                 s->n_shards);
}

static json_t *describe(const entry *e, uint64_t begin) {
    json_t *shape = json_array();
    for (int i = 0; shape && i < e->n_dims; i++)
        if (json_array_append_new(shape, json_integer((json_int_t)e->shape[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    const char *dtype = e->type == QUANT_F32 ? "F32" : e->type == QUANT_F16 ? "F16" : "BF16";
    return shape ? json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", shape, "data_offsets",
                             (json_int_t)begin, (json_int_t)(begin + e->n_bytes))
                 : NULL;
}

/* The header of the shard whose first entry is s->at. */
static void make_header(const safetensors_out *s, bytes *text) {
    /* "pt" tells transformers that the numbers are laid out as PyTorch has them. */
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    uint64_t begin = 0;
    bool failed = !header;
    for (size_t i = s->at; i < s->n && s->entries[i].shard == s->entries[s->at].shard; i++) {
        const entry *e = &s->entries[i];
        failed = failed || json_object_set_new(header, e->name, describe(e, begin)) != 0;
        begin += e->n_bytes;
    }
    json_file_append(text, failed ? NULL : header, JSON_COMPACT);
    /* Blanks, so that the data begin at a multiple of 64. */
    while (!text->failed && (8 + text->n) % 64) bytes_append_text(text, " ");
    json_decref(header);
}

static msa_status begin_shard(safetensors_out *s, msa_error *err) {
    char name[LONGEST_NAME];
    name_shard(s, s->entries[s->at].shard, name);
    msa_status status = file_out_set_add(s->set, &s->file, path_of(s, name), err);
    if (status != MSA_OK) return status;
    bytes header = {0};
    make_header(s, &header);
    uint64_t n = header.n;
    file_out_write(s->file, &n, 8);
    file_out_write(s->file, header.data, header.failed ? 0 : header.n);
    if (header.failed)
        status = error_set(err, MSA_E_NOMEM, "no memory for the header of '%s'", s->path);
    bytes_free(&header);
    return status;
}

msa_status safetensors_out_begin_data(safetensors_out *s, msa_error *err) {
    if (s->exhausted) return error_set(err, MSA_E_NOMEM, "no memory for the tensors' names");
    if (s->wrong || s->n == 0)
        return error_set(err, MSA_E_ARG,
                         "a tensor has a shape or format that is not written to safetensors (F32, "
                         "F16 and BF16 are)");
    cut_into_shards(s);
    return begin_shard(s, err);
}

msa_status safetensors_out_data(safetensors_out *s, const void *data, size_t n_bytes,
                                msa_error *err) {
    const uint8_t *from = data;
    while (n_bytes) {
        if (s->at == s->n)
            return error_set(err, MSA_E_ARG, "there are %zu bytes more than the tensors have",
                             n_bytes);
        const entry *e = &s->entries[s->at];
        uint64_t left = e->n_bytes - s->n_given;
        size_t n = n_bytes < left ? n_bytes : (size_t)left;
        file_out_write(s->file, from, n);
        from += n;
        n_bytes -= n;
        s->n_given += n;
        if (n < left) continue;
        s->at++;
        s->n_given = 0;
        if (s->at < s->n && s->entries[s->at].shard == e->shard) continue;
        msa_status status = file_out_finish(s->file, err);
        if (status == MSA_OK && s->at < s->n) status = begin_shard(s, err);
        if (status != MSA_OK) return status;
    }
    return MSA_OK;
}

static msa_status write_index(safetensors_out *s, msa_error *err) {
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < s->n; i++) n_bytes += s->entries[i].n_bytes;
    json_t *root =
        json_pack("{s:{s:I}, s:{}}", "metadata", "total_size", (json_int_t)n_bytes, "weight_map");
    json_t *map = json_object_get(root, "weight_map");
    bool failed = !map;
    for (size_t i = 0; i < s->n && !failed; i++) {
        char name[LONGEST_NAME];
        name_shard(s, s->entries[i].shard, name);
        failed = json_object_set_new(map, s->entries[i].name, json_string(name)) != 0;
    }
    bytes text = {0};
    json_file_append(&text, failed ? NULL : root, JSON_INDENT(2));
    bytes_append_text(&text, "\n");
    json_decref(root);
    file_out *file;
    msa_status status =
        text.failed
            ? error_set(err, MSA_E_NOMEM, "no memory for the index of the checkpoint")
            : file_out_set_add(s->set, &file, path_of(s, "model.safetensors.index.json"), err);
    if (status == MSA_OK) {
        file_out_write(file, text.data, text.n);
        status = file_out_finish(file, err);
    }
    bytes_free(&text);
    return status;
}

msa_status safetensors_out_finish(safetensors_out *s, msa_error *err) {
    if (s->at != s->n)
        return error_set(err, MSA_E_ARG, "the data end in tensor '%s', %" PRIu64 " bytes into it",
                         s->entries[s->at].name, s->n_given);
    return s->n_shards > 1 ? write_index(s, err) : MSA_OK;
}

void safetensors_out_clear(safetensors_out *s) {
    const char *other = s->n_shards == 1 ? "model.safetensors.index.json" : "model.safetensors";
    (void)unlink(path_of(s, other));
}
