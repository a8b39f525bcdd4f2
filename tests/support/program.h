/* program.h: running the program msa as a user would, from a shell, in a folder of its own. */
#ifndef MSA_TESTS_PROGRAM_H
#define MSA_TESTS_PROGRAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* A temporary folder in which `msa` is the program of this build (MSA_PROGRAM); `models`,
 * `weights`, `LICENSE` and `CONTRIBUTING.md` are the repository's. */
typedef struct workplace {
    char folder[64];
} workplace;

/* Fails the test where the program is not there. */
void workplace_open(workplace *w);
void workplace_close(workplace *w); /* removes the folder */

/* The one that a test program lives in, opened and closed by cmocka's setup and teardown. */
extern workplace place;
int place_open(void **state);
int place_close(void **state);

typedef struct outcome {
    int code;        /* exit code; 128 + number after a signal */
    char *out, *err; /* what it printed, NUL-terminated */
} outcome;

/* Runs a line of sh in the folder, with standard input empty unless the line says otherwise. */
outcome workplace_run(const workplace *w, const char *line);
void outcome_free(outcome *o);

/* Runs the line; fails, quoting everything, unless it exits with `code` and prints `word` (NULL:
 * anything) on standard error, there exactly one line beginning "msa: error: " where code is 1 or 2
 * and none otherwise. */
void assert_exit(const workplace *w, const char *line, int code, const char *word);

/* The same for each of a list. */
typedef struct call {
    const char *line;
    int code;
    const char *word;
} call;
void assert_calls(const workplace *w, const call *calls, size_t n);

/* Runs the line, which must succeed, and reads the JSON it prints; json_decref. */
json_t *workplace_json(const workplace *w, const char *line);
/* A number of the first of `rows` that is about a selector. */
double row_number(const json_t *rows, const char *selector, const char *key);

bool workplace_has(const workplace *w, const char *file);
/* How many files whose name begins so; "map" finds map.png and what a writer left behind. */
int workplace_count(const workplace *w, const char *prefix);
void workplace_write(const workplace *w, const char *file, const void *data, size_t n_bytes);

#endif
