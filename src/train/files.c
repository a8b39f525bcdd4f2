/* files.c: see files.h. */
#include "train/files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

enum { DEPTH_MAX = 32, PATH_SIZE = 4096 };

typedef struct list {
    config_texts texts;
    size_t capacity;
} list;

static msa_status no_memory(msa_error *err) {
    return error_set(err, MSA_E_NOMEM, "no memory for the names of the text files");
}

static msa_status add_file(list *l, const char *path, msa_error *err) {
    size_t n = strlen(path);
    void *items = l->texts.items;
    char *copy = mem_alloc(n + 1, 1);
    bool room = mem_grow(&items, &l->capacity, (size_t)l->texts.n + 1, sizeof *l->texts.items);
    l->texts.items = items;
    if (!copy || !room) {
        mem_free(copy);
        return no_memory(err);
    }
    memcpy(copy, path, n + 1);
    l->texts.items[l->texts.n++] = copy;
    return MSA_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b); /* the same in every locale */
}

/* Paths of a directory's entries, hidden ones left out, sorted. */
static msa_status list_entries(list *l, const char *path, msa_error *err) {
    msa_status status = MSA_OK;
    DIR *folder = opendir(path);
    if (!folder)
        return error_set(err, MSA_E_IO, "data: can't read the directory '%.200s': %s", path,
                         strerror(errno));
    for (struct dirent *e; status == MSA_OK && (e = readdir(folder));) {
        char inner[PATH_SIZE];
        if (e->d_name[0] == '.') continue;
        if (snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) >= (int)sizeof inner) continue;
        status = add_file(l, inner, err);
    }
    closedir(folder);
    if (l->texts.n) qsort(l->texts.items, (size_t)l->texts.n, sizeof *l->texts.items, by_name);
    return status;
}

/* A link to a directory could lead back up; a link to a file is as good as the file. */
static bool leads_on(const char *path) {
    struct stat here, there;
    if (lstat(path, &here) != 0 || stat(path, &there) != 0) return false;
    return S_ISREG(there.st_mode) || (S_ISDIR(there.st_mode) && !S_ISLNK(here.st_mode));
}

static msa_status add_path(list *l, const char *path, int depth, msa_error *err) {
    struct stat info;
    list entries = {0};
    if (stat(path, &info) != 0)
        return error_set(err, MSA_E_IO, "data: can't find '%.200s': %s", path, strerror(errno));
    if (S_ISREG(info.st_mode)) return add_file(l, path, err);
    if (!S_ISDIR(info.st_mode))
        return error_set(err, MSA_E_IO, "data: '%.200s' is neither a file nor a directory", path);
    if (depth > DEPTH_MAX) return MSA_OK;
    msa_status status = list_entries(&entries, path, err);
    for (int64_t i = 0; i < entries.texts.n && status == MSA_OK; i++)
        if (leads_on(entries.texts.items[i]))
            status = add_path(l, entries.texts.items[i], depth + 1, err);
    files_free(&entries.texts);
    return status;
}

msa_status files_list(config_texts *out, const config_texts *paths, msa_error *err) {
    list l = {0};
    msa_status status = MSA_OK;
    for (int64_t i = 0; i < paths->n && status == MSA_OK; i++) {
        int64_t before = l.texts.n;
        status = add_path(&l, paths->items[i], 0, err);
        if (status == MSA_OK && l.texts.n == before)
            status =
                error_set(err, MSA_E_ARG, "data: no file lies below '%.200s'", paths->items[i]);
    }
    *out = l.texts;
    if (status != MSA_OK) files_free(out);
    return status;
}

void files_free(config_texts *files) {
    for (int64_t i = 0; i < files->n; i++) mem_free(files->items[i]);
    mem_free(files->items);
    *files = (config_texts){0};
}
