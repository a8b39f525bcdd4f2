/* model_files.c: see model_files.h. */
#include "model/model_files.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/json_file.h"
#include "model/safetensors.h"

typedef enum content { OTHER, SAFETENSORS, INDEX, CONFIG } content;

/* NULL where there is no memory. */
static char *join(const char *folder, const char *name) {
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = mem_alloc(n, 1);
    if (path) snprintf(path, n, "%s/%s", folder, name);
    return path;
}

static msa_status no_memory(msa_error *err) {
    return error_set(err, MSA_E_NOMEM, "no memory for the path of a model");
}

/* The checkpoint of a folder: one file, else the index of several. */
static msa_status choose_tensors(model_files *f, msa_error *err) {
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};
    for (int i = 0; i < 2; i++) {
        mem_free(f->tensors);
        f->tensors = join(f->folder, names[i]);
        if (!f->tensors) return no_memory(err);
        if (access(f->tensors, F_OK) == 0) return MSA_OK;
    }
    return error_set(err, MSA_E_IO, "'%s' holds neither %s nor %s", f->folder, names[0], names[1]);
}

static msa_status look_at(const char *path, content *out, msa_error *err) {
    file_map map;
    *out = OTHER;
    msa_status status = file_map_open(&map, path, err);
    if (status != MSA_OK) return status;
    uint64_t n_header = 0;
    for (int i = 0; i < 8 && map.n_bytes > 8; i++) n_header |= (uint64_t)map.data[i] << 8 * i;
    /* The bound on headers tells it from a large GGUF file, whose count of tensors may look so. */
    if (map.n_bytes > 8 && map.data[8] == '{' && n_header <= map.n_bytes - 8 &&
        n_header <= SAFETENSORS_MAX_HEADER)
        *out = SAFETENSORS;
    else if (map.n_bytes && map.data[0] == '{') {
        json_t *root;
        status = json_file_parse(&root, map.data, map.n_bytes, 0, path, err);
        if (json_object_get(root, "weight_map"))
            *out = INDEX;
        else if (root)
            *out = CONFIG;
        json_decref(root);
    }
    file_map_close(&map);
    return status;
}

static char *copy(const char *text, size_t n) {
    char *c = mem_alloc(n + 1, 1);
    if (!c) return NULL;
    memcpy(c, text, n);
    c[n] = 0;
    return c;
}

/* The folder a file is in, "." where its path has none. */
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return copy(".", 1);
    return copy(path, slash == path ? 1 : (size_t)(slash - path));
}

msa_status model_files_find(model_files *f, const char *path, msa_error *err) {
    *f = (model_files){0};
    struct stat st;
    bool is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    content found = CONFIG;
    msa_status status = is_folder ? MSA_OK : look_at(path, &found, err);
    if (status != MSA_OK || found == OTHER) return status;
    size_t n = strlen(path);
    while (is_folder && n > 1 && path[n - 1] == '/') n--;
    f->folder = is_folder ? copy(path, n) : folder_of(path);
    f->config = f->folder ? join(f->folder, "config.json") : NULL;
    if (!f->config) return no_memory(err);
    if (access(f->config, F_OK) != 0)
        return error_set(err, MSA_E_IO, "'%s' is missing; it says what the tensors are of",
                         f->config);
    if (found == CONFIG) return choose_tensors(f, err);
    f->tensors = copy(path, n);
    return f->tensors ? MSA_OK : no_memory(err);
}

void model_files_free(model_files *f) {
    mem_free(f->folder);
    mem_free(f->config);
    mem_free(f->tensors);
    *f = (model_files){0};
}
