/* replay.c: runs a fuzz target over the files and folders named on the command line. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static int n_run;

/* From a heap block of exactly the file's size, so that a sanitizer sees any step beyond it. */
static int run_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) return -1;
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    uint8_t *data = malloc(n > 0 ? (size_t)n : 1);
    int whole = data && n >= 0 && fread(data, 1, (size_t)n, f) == (size_t)n;
    fclose(f);
    if (whole) LLVMFuzzerTestOneInput(data, (size_t)n);
    free(data);
    n_run += whole;
    return whole ? 0 : -1;
}

static int run_path(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return -1;
    if (!S_ISDIR(st.st_mode)) return run_file(path);
    DIR *folder = opendir(path);
    if (!folder) return -1;
    int result = 0;
    for (struct dirent *entry; (entry = readdir(folder)) && result == 0;) {
        char inner[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        result = run_path(inner);
    }
    closedir(folder);
    return result;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (run_path(argv[i]) != 0) {
            fprintf(stderr, "can't run '%s'\n", argv[i]);
            return 1;
        }
    printf("%d inputs\n", n_run);
    return n_run > 0 ? 0 : 1;
}
