/* test_train_tidy.c: what killed runs leave in run.out goes at the next start, and nothing else. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/folder.h"
#include "support/tiny_train.h"

static msa_error err;

static void touch(const char *folder, const char *format, long pid) {
    char name[128];
    snprintf(name, sizeof name, format, pid);
    FILE *f = fopen(folder_path(folder, name), "w");
    assert_non_null(f);
    fclose(f);
}

static bool is_there(const char *folder, const char *format, long pid) {
    char name[128];
    snprintf(name, sizeof name, format, pid);
    return access(folder_path(folder, name), F_OK) == 0;
}

/* Of a process that is no more. */
static long dead_pid(void) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    return (long)child;
}

static void temporaries_of_killed_runs_are_removed_and_no_others(void **state) {
    static const char *const GONE[] = {
        "model.gguf.tmp-%ld-0",
        "log.jsonl.tmp-%ld-12",
        "tokens-0123456789abcdef.bin.tmp-%ld-0",
        "checkpoint-000000003.msac.tmp-%ld-0",
        "model/model-00001-of-00002.safetensors.tmp-%ld-0",
        "model/tokenizer.json.tmp-%ld-3",
    };
    static const char *const STAYS[] = {
        "notes.tmp-%ld-0",           "model.gguf.tmp-%ld",
        "model.gguf.tmp-%ld-0.bak",  "model.gguf.tmp-x%ld-0",
        "model.gguf.tmp-%ld-",       "tmp-%ld-0",
        "model/weights.tmp-%ld-0",   "model.gguf.tmp-%ld999999999999-0",
        "log.jsonl.tmp-%ld.tmp-0-0", "other/model.gguf.tmp-%ld-0",
    };
    const size_t n_gone = sizeof GONE / sizeof *GONE, n_stays = sizeof STAYS / sizeof *STAYS;
    long dead = dead_pid(), alive = (long)getppid();
    msa_trainer *t;
    char run[256];
    snprintf(run, sizeof run, "%s", folder_path(*state, "run"));
    mkdir(run, 0777);
    mkdir(folder_path(run, "model"), 0777);
    mkdir(folder_path(run, "other"), 0777);
    for (size_t i = 0; i < n_gone; i++) touch(run, GONE[i], dead), touch(run, GONE[i], alive);
    for (size_t i = 0; i < n_stays; i++) touch(run, STAYS[i], dead);
    touch(run, "model.gguf.tmp-%ld-7", (long)getpid()); /* its number was another's before */
    assert_ok(tiny_train_create(&t, run, "", 0, NULL, NULL, &err), &err);
    msa_trainer_free(t);
    for (size_t i = 0; i < n_gone; i++) {
        assert_false(is_there(run, GONE[i], dead));
        assert_true(is_there(run, GONE[i], alive));
    }
    for (size_t i = 0; i < n_stays; i++) assert_true(is_there(run, STAYS[i], dead));
    assert_false(is_there(run, "model.gguf.tmp-%ld-7", (long)getpid()));
}

/* As by `msa train --resume --check` beside a run that is at work. */
static void what_another_run_is_writing_stays_when_it_is_resumed(void **state) {
    long alive = (long)getppid();
    msa_trainer *t;
    char run[256];
    snprintf(run, sizeof run, "%s", folder_path(*state, "at work"));
    assert_ok(tiny_train_create(&t, run, "", 0, NULL, NULL, &err), &err);
    assert_ok(msa_trainer_run(t, &err), &err);
    msa_trainer_free(t);
    touch(run, "checkpoint-000000099.msac.tmp-%ld-0", alive);
    assert_ok(tiny_train_create(&t, run, "", 1, NULL, NULL, &err), &err);
    assert_int_equal(msa_trainer_get_info(t)->step, 12);
    msa_trainer_free(t);
    assert_true(is_there(run, "checkpoint-000000099.msac.tmp-%ld-0", alive));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temporaries_of_killed_runs_are_removed_and_no_others),
        cmocka_unit_test(what_another_run_is_writing_stays_when_it_is_resumed),
    };
    return cmocka_run_group_tests(tests, folder_create, folder_remove);
}
