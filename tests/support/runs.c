/* runs.c: see runs.h. */
#include "support/runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/folder.h"
#include "support/support.h"
#include "train/checkpoint.h"

static msa_error err;
static void *folder;

int runs_open(void **state) {
    (void)state;
    return folder_create(&folder);
}

int runs_close(void **state) {
    (void)state;
    return folder_remove(&folder);
}

const char *run_path(const char *name) {
    return folder_path(folder, name);
}

void run_remove(const char *name) {
    char line[320];
    snprintf(line, sizeof line, "rm -rf '%s'", run_path(name));
    assert_int_equal(system(line), 0);
}

void run_to_end(const char *name, const char *settings, int resume) {
    msa_trainer *t;
    assert_ok(tiny_train_create(&t, run_path(name), settings, resume, NULL, NULL, &err), &err);
    assert_ok(msa_trainer_run(t, &err), &err);
    msa_trainer_free(t);
}

int64_t assert_same_end(const char *a, const char *b) {
    checkpoint x, y;
    bool found;
    assert_ok(checkpoint_open_newest(&x, a, &found, NULL, NULL, &err), &err);
    assert_true(found);
    assert_ok(checkpoint_open_newest(&y, b, &found, NULL, NULL, &err), &err);
    assert_true(found);
    size_t n = (size_t)x.n_floats * sizeof(float);
    assert_int_equal(x.n_floats, y.n_floats);
    assert_memory_equal(x.w, y.w, n);
    assert_memory_equal(x.m, y.m, n);
    assert_memory_equal(x.v, y.v, n);
    assert_int_equal(x.n_bias, 8);
    assert_memory_equal(x.bias, y.bias, (size_t)x.n_bias * sizeof(float));
    x.state.seconds = y.state.seconds = 0;
    assert_memory_equal(&x.state, &y.state, sizeof x.state);
    int64_t step = x.state.step;
    checkpoint_close(&x);
    checkpoint_close(&y);
    return step;
}

int run_watch(void *user, const msa_train_event *e) {
    run_watcher *s = user;
    if (e->kind == MSA_TRAIN_NOTE) s->n_notes++, snprintf(s->note, sizeof s->note, "%s", e->text);
    if (e->kind != MSA_TRAIN_STEP && e->kind != MSA_TRAIN_RECORD) return 0;
    s->n_steps++;
    s->n_records += e->kind == MSA_TRAIN_RECORD;
    s->loss = e->loss;
    if (s->n_steps == 1) s->first_loss = e->loss;
    return e->n_done == s->after;
}

int run_records(const char *name, const char *event) {
    char path[300], what[64];
    size_t n;
    int found = 0;
    snprintf(path, sizeof path, "%s/log.jsonl", run_path(name));
    char *text = read_whole(path, &n);
    snprintf(what, sizeof what, "{\"event\":\"%s\"", event);
    for (const char *p = text; (p = strstr(p, what)); p++) found++;
    free(text);
    return found;
}
