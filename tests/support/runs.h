/* runs.h: training runs of the tiny model in a folder of theirs: made, watched, compared. */
#ifndef MSA_TESTS_RUNS_H
#define MSA_TESTS_RUNS_H

#include "support/tiny_train.h"

/* For cmocka's setup and teardown of a group: the folder that the runs of this file lie in. */
int runs_open(void **state);
int runs_close(void **state);

/* Path of a run, or of any file; static storage, valid until the fourth call from now. */
const char *run_path(const char *name);
void run_remove(const char *name);

/* Runs to the end in run_path(name). */
void run_to_end(const char *name, const char *settings, int resume);

/* What a run told: `user` of run_watch, which stops it after a step. */
typedef struct run_watcher {
    int64_t after; /* steps; -1: never */
    int n_steps, n_records, n_notes;
    double loss, first_loss;
    char note[512]; /* the last */
} run_watcher;
int run_watch(void *user, const msa_train_event *e);

/* How many records of a kind are in a run's log. */
int run_records(const char *name, const char *event);

/* Fails unless the newest checkpoints in two folders have the same arrays and counters, all but the
 * seconds; returns their step. */
int64_t assert_same_end(const char *a, const char *b);

#endif
