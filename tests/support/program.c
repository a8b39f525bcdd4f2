/* program.c: see program.h. */
#include "support/program.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

enum { PATH_SIZE = 1200 };

static void path_in(const workplace *w, const char *file, char path[PATH_SIZE]) {
    snprintf(path, PATH_SIZE, "%s/%s", w->folder, file);
}

static void link_into(const workplace *w, const char *target, const char *name) {
    char path[PATH_SIZE];
    path_in(w, name, path);
    if (symlink(target, path) != 0) fail_msg("cannot link %s to %s", path, target);
}

void workplace_open(workplace *w) {
    const char *program = getenv("MSA_PROGRAM");
    if (!program || access(program, X_OK) != 0)
        fail_msg("MSA_PROGRAM names no program: %s", program ? program : "it is not set");
    snprintf(w->folder, sizeof w->folder, "/tmp/msa-test-XXXXXX");
    if (!mkdtemp(w->folder)) fail_msg("cannot make %s", w->folder);
    link_into(w, program, "msa");
    link_into(w, test_path("models"), "models");
    link_into(w, test_path("weights"), "weights");
    link_into(w, test_path("LICENSE"), "LICENSE");
    link_into(w, test_path("CONTRIBUTING.md"), "CONTRIBUTING.md");
}

void workplace_close(workplace *w) {
    char command[PATH_SIZE];
    snprintf(command, sizeof command, "rm -rf '%s'", w->folder);
    if (system(command) != 0) fail_msg("cannot remove %s", w->folder);
}

workplace place;

int place_open(void **state) {
    (void)state;
    workplace_open(&place);
    return 0;
}

int place_close(void **state) {
    (void)state;
    workplace_close(&place);
    return 0;
}

static char *read_file(const workplace *w, const char *file) {
    char path[PATH_SIZE];
    size_t n;
    path_in(w, file, path);
    return read_whole(path, &n);
}

/* Threads that wait without spinning: beside other tests spinning makes minutes of seconds. */
outcome workplace_run(const workplace *w, const char *line) {
    size_t size = strlen(line) + 512;
    char *command = malloc(size);
    if (!command) fail_msg("out of memory");
    snprintf(command, size,
             "cd '%s' && export PATH=\"$PWD:$PATH\" OMP_WAIT_POLICY=passive && { %s\n} "
             "<.empty >.out 2>.err",
             w->folder, line);
    workplace_write(w, ".empty", "", 0);
    int status = system(command);
    free(command);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return (outcome){code, read_file(w, ".out"), read_file(w, ".err")};
}

void outcome_free(outcome *o) {
    free(o->out);
    free(o->err);
}

static int count_errors(const char *text) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, "msa: error: ")); at++) n++;
    return n;
}

void assert_exit(const workplace *w, const char *line, int code, const char *word) {
    outcome o = workplace_run(w, line);
    int n_errors = count_errors(o.err);
    if (o.code != code)
        fail_msg("%s\nexits with %d, expected %d\n%s\n%s", line, o.code, code, o.out, o.err);
    if (word && !strstr(o.err, word)) fail_msg("%s\nsays nothing of '%s':\n%s", line, word, o.err);
    if (n_errors != (code == 1 || code == 2))
        fail_msg("%s\nprints %d errors:\n%s", line, n_errors, o.err);
    outcome_free(&o);
}

void assert_calls(const workplace *w, const call *calls, size_t n) {
    for (size_t i = 0; i < n; i++) assert_exit(w, calls[i].line, calls[i].code, calls[i].word);
}

json_t *workplace_json(const workplace *w, const char *line) {
    json_error_t error;
    outcome o = workplace_run(w, line);
    if (o.code != 0) fail_msg("%s\nexits with %d:\n%s", line, o.code, o.err);
    json_t *document = json_loads(o.out, 0, &error);
    if (!document) fail_msg("%s\nprints no JSON (%s):\n%s", line, error.text, o.out);
    outcome_free(&o);
    return document;
}

bool workplace_has(const workplace *w, const char *file) {
    char path[PATH_SIZE];
    path_in(w, file, path);
    return access(path, F_OK) == 0;
}

int workplace_count(const workplace *w, const char *prefix) {
    int n = 0;
    DIR *folder = opendir(w->folder);
    if (!folder) fail_msg("cannot list %s", w->folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(folder);
    return n;
}

void workplace_write(const workplace *w, const char *file, const void *data, size_t n_bytes) {
    char path[PATH_SIZE];
    path_in(w, file, path);
    write_whole(path, data, n_bytes);
}

double row_number(const json_t *rows, const char *selector, const char *key) {
    size_t at;
    json_t *row;
    json_array_foreach(
        rows, at, row) if (strcmp(json_string_value(json_object_get(row, "selector")), selector) ==
                           0) return json_number_value(json_object_get(row, key));
    fail_msg("no row of %s", selector);
    return 0;
}
