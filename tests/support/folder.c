/* folder.c: see folder.h. */
#include "support/folder.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/support.h"

int folder_create(void **state) {
    char *path = strdup("/tmp/msa-test-XXXXXX");
    *state = path;
    return path && mkdtemp(path) ? 0 : -1;
}

/* Calls for each entry but . and .., returns how many there are. */
static int walk(const char *folder, void (*each)(const char *path)) {
    DIR *d = opendir(folder);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (each) each(folder_path(folder, e->d_name));
        n++;
    }
    closedir(d);
    return n;
}

static void remove_entry(const char *path) {
    if (unlink(path) == 0) return;
    char *inner = strdup(path);
    walk(inner, remove_entry);
    rmdir(inner);
    free(inner);
}

int folder_remove(void **state) {
    walk(*state, remove_entry);
    int result = rmdir(*state);
    free(*state);
    return result;
}

const char *folder_path(const char *folder, const char *file) {
    static char paths[4][512];
    static int next;
    char *path = paths[next++ & 3];
    snprintf(path, sizeof paths[0], "%s/%s", folder, file);
    return path;
}

int folder_entries(const char *folder) {
    return walk(folder, NULL);
}

static void limit_files(rlim_t n_bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = n_bytes < limit.rlim_max ? n_bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

void disk_fill(size_t n_bytes) {
    signal(SIGXFSZ, SIG_IGN); /* the write fails instead */
    limit_files(n_bytes);
}

void disk_clear(void) {
    limit_files(RLIM_INFINITY);
}
