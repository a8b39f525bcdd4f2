/* test_train_resume.c: runs resumed to the same bits: stopped, changed behind their back, damaged,
 * out of disk. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/folder.h"
#include "support/runs.h"
#include "train/checkpoint.h"

static msa_error err;

static void a_stopped_run_goes_on_to_the_same_bits(void **state) {
    (void)state;
    run_to_end("straight", "", 0);
    for (int64_t after = 1; after < 12; after += 3) {
        run_watcher s = {.after = after};
        msa_trainer *t;
        run_remove("stopped");
        assert_ok(tiny_train_create(&t, run_path("stopped"), "", 0, run_watch, &s, &err), &err);
        assert_fails(msa_trainer_run(t, &err), MSA_E_CANCELLED, &err, "checkpoint");
        msa_trainer_free(t);
        run_to_end("stopped", "run.threads=1 log.every=1", 1); /* how may change, what may not */
        assert_same_end(run_path("straight"), run_path("stopped"));
    }
    /* Records behind the checkpoint are not there twice. */
    assert_int_equal(run_records("stopped", "end"), 1);
    assert_int_equal(run_records("stopped", "resume"), 1);
    assert_int_equal(run_records("stopped", "step"), 6 + 2); /* 1 2 4 6 8 10; then 11 12 */
}

static void a_stopped_trainer_goes_on_when_it_is_run_again(void **state) {
    (void)state;
    run_to_end("unbroken", "", 0);
    for (int64_t after = 5; after <= 12; after += 7) { /* between steps, and behind the last */
        run_watcher s = {.after = after};
        msa_trainer *t;
        run_remove("again");
        assert_ok(tiny_train_create(&t, run_path("again"), "", 0, run_watch, &s, &err), &err);
        assert_fails(msa_trainer_run(t, &err), MSA_E_CANCELLED, &err, "stopped behind");
        assert_int_equal(msa_trainer_get_info(t)->step, after);
        assert_int_equal(access(run_path("again/model.gguf"), F_OK), -1);
        assert_ok(msa_trainer_run(t, &err), &err);
        assert_int_equal(msa_trainer_get_info(t)->step, 12);
        assert_int_equal(access(run_path("again/model.gguf"), F_OK), 0);
        assert_same_end(run_path("unbroken"), run_path("again"));
        assert_int_equal(unlink(run_path("again/model.gguf")), 0);
        assert_ok(msa_trainer_run(t, &err), &err); /* once more */
        assert_int_equal(access(run_path("again/model.gguf"), F_OK), 0);
        msa_trainer_free(t);
        assert_same_end(run_path("unbroken"), run_path("again"));
    }
    assert_int_equal(run_records("again", "start"), 1);
}

static void a_used_folder_is_not_trained_into_unless_resumed(void **state) {
    (void)state;
    msa_trainer *t;
    run_to_end("used", "", 0);
    assert_fails(tiny_train_create(&t, run_path("used"), "", 0, NULL, NULL, &err), MSA_E_ARG, &err,
                 "run.out");
    assert_null(t);
    assert_fails(tiny_train_create(&t, run_path("used"), "optim.lr=1e-4", 1, NULL, NULL, &err),
                 MSA_E_ARG, &err, "optim.lr");
    assert_fails(tiny_train_create(&t, run_path("used"), "run.seed=5", 1, NULL, NULL, &err),
                 MSA_E_ARG, &err, "run.seed");
    run_to_end("used", "log.every=7", 1); /* nothing left to do but to write the model */
}

static void changed_texts_are_no_texts_to_resume_with(void **state) {
    (void)state;
    char text[300], settings[400], words[2048];
    msa_trainer *t;
    for (size_t i = 0; i < sizeof words; i++) words[i] = (char)('a' + i * i % 26);
    snprintf(text, sizeof text, "%s", run_path("text.txt"));
    snprintf(settings, sizeof settings, "data.text=%s", text);
    write_whole(text, words, sizeof words);
    run_to_end("changed", settings, 0);
    run_to_end("changed", settings, 1);
    words[1000] = '!';
    write_whole(text, words, sizeof words);
    assert_fails(tiny_train_create(&t, run_path("changed"), settings, 1, NULL, NULL, &err),
                 MSA_E_ARG, &err, "the texts are not those");
}

/* Without a text the tokenizer is still part of what a run was made with. */
static void another_tokenizer_of_the_same_name_is_not_resumed_with(void **state) {
    (void)state;
    char settings[700], line[700];
    msa_trainer *t;
    run_to_end("first", "run.steps=5", 0);
    run_to_end("second", "run.steps=5 run.seed=9", 0);
    snprintf(line, sizeof line, "cp '%s/model.gguf' '%s'", run_path("first"),
             run_path("words.gguf"));
    assert_int_equal(system(line), 0);
    snprintf(settings, sizeof settings, "data.text= data.weight=0 data.tokenizer=%s",
             run_path("words.gguf"));
    run_to_end("words", settings, 0);
    snprintf(line, sizeof line, "cp '%s/model.gguf' '%s'", run_path("second"),
             run_path("words.gguf"));
    assert_int_equal(system(line), 0);
    assert_fails(tiny_train_create(&t, run_path("words"), settings, 1, NULL, NULL, &err), MSA_E_ARG,
                 &err, "data.tokenizer");
}

static void newest_name(char *path, size_t size, const char *name) {
    snprintf(path, size, "%s/checkpoint-%09lld.msac", run_path(name),
             (long long)checkpoint_newest_step(run_path(name)));
}

static void every_damage_to_a_checkpoint_is_seen(void **state) {
    (void)state;
    char path[320];
    size_t n;
    checkpoint c;
    run_to_end("damage", "", 0);
    newest_name(path, sizeof path, "damage");
    char *data = read_whole(path, &n);
    assert_ok(checkpoint_check(&c, (uint8_t *)data, n, "x", &err), &err);
    assert_int_equal(c.state.step, 12);
    rng r = rng_seed(3);
    for (size_t i = 0; i < (test_brief() ? 50 : 2000); i++) { /* the beginning, then anywhere */
        size_t at_byte = i < 1000 ? i : rng_below(&r, n);
        char bit = (char)(1 << rng_below(&r, 8));
        data[at_byte] ^= bit;
        msa_status status = checkpoint_check(&c, (uint8_t *)data, n, "x", &err);
        assert_int_equal(status, MSA_E_FORMAT);
        data[at_byte] ^= bit;
        size_t cut = i < 1000 ? i : rng_below(&r, n);
        assert_fails(checkpoint_check(&c, (uint8_t *)data, cut, "x", &err), MSA_E_FORMAT, &err,
                     "no whole checkpoint");
    }
    free(data);
}

static void a_half_written_checkpoint_is_passed_over_and_the_one_before_counts(void **state) {
    (void)state;
    char path[320];
    size_t n;
    run_watcher s = {.after = 8};
    msa_trainer *t;
    run_to_end("whole2", "", 0);
    assert_ok(tiny_train_create(&t, run_path("half"), "log.checkpoint=3", 0, run_watch, &s, &err),
              &err);
    assert_fails(msa_trainer_run(t, &err), MSA_E_CANCELLED, &err, "step 8");
    msa_trainer_free(t);
    newest_name(path, sizeof path, "half");
    char *data = read_whole(path, &n);
    write_whole(path, data, n / 2);
    /* What a killed writer leaves. */
    snprintf(path, sizeof path, "%s/checkpoint-000000009.msac.tmp-%d-0", run_path("half"),
             (int)getpid());
    write_whole(path, data, n / 3);
    free(data);
    s = (run_watcher){.after = -1};
    assert_ok(tiny_train_create(&t, run_path("half"), "log.checkpoint=3", 1, run_watch, &s, &err),
              &err);
    assert_non_null(strstr(s.note, "checkpoint-000000008.msac"));
    assert_non_null(strstr(s.note, "size contradicts"));
    assert_int_equal(msa_trainer_get_info(t)->step, 6);
    assert_ok(msa_trainer_run(t, &err), &err);
    msa_trainer_free(t);
    assert_same_end(run_path("whole2"), run_path("half"));
    assert_int_equal(access(path, F_OK), -1);
}

static void rename_in(const char *run, const char *from, const char *to) {
    char old[300], new[300];
    snprintf(old, sizeof old, "%s/%s", run_path(run), from);
    snprintf(new, sizeof new, "%s/%s", run_path(run), to);
    assert_int_equal(rename(old, new), 0);
}

/* Names as people give them: 12 is behind 9, though "12" comes before "9". */
static void a_checkpoint_is_found_by_the_number_in_its_name(void **state) {
    (void)state;
    msa_trainer *t;
    run_to_end("names", "log.checkpoint=3 log.keep=9", 0);
    rename_in("names", "checkpoint-000000009.msac", "checkpoint-9.msac");
    rename_in("names", "checkpoint-000000012.msac", "checkpoint-12.msac");
    assert_ok(tiny_train_create(&t, run_path("names"), "log.keep=9", 1, NULL, NULL, &err), &err);
    assert_int_equal(msa_trainer_get_info(t)->step, 12);
    msa_trainer_free(t);
    rename_in("names", "checkpoint-12.msac", "old");
    assert_ok(tiny_train_create(&t, run_path("names"), "log.keep=9", 1, NULL, NULL, &err), &err);
    assert_int_equal(msa_trainer_get_info(t)->step, 9);
    msa_trainer_free(t);
    /* Two of one step, the first of which is damaged. */
    write_whole(run_path("names/checkpoint-000000009.msac"), "MSACKPT1", 8);
    assert_ok(tiny_train_create(&t, run_path("names"), "log.keep=9", 1, NULL, NULL, &err), &err);
    assert_int_equal(msa_trainer_get_info(t)->step, 9);
    msa_trainer_free(t);
    rename_in("names", "checkpoint-9.msac", "checkpoint-11.msac");
    assert_fails(tiny_train_create(&t, run_path("names"), "log.keep=9", 1, NULL, NULL, &err),
                 MSA_E_ARG, &err, "is of step 9; expected it to be called");
}

static void only_the_last_checkpoints_stay(void **state) {
    (void)state;
    run_to_end("keep", "log.checkpoint=1 log.keep=3", 0);
    for (int64_t step = 1; step <= 12; step++) {
        char name[64];
        snprintf(name, sizeof name, "keep/checkpoint-%09lld.msac", (long long)step);
        assert_int_equal(access(run_path(name), F_OK) == 0, step > 9);
    }
}

static int fill_disk_after_step_4(void *user, const msa_train_event *e) {
    run_watcher *s = user;
    if (e->kind == MSA_TRAIN_NOTE) s->n_notes++, snprintf(s->note, sizeof s->note, "%s", e->text);
    if (e->kind == MSA_TRAIN_STEP || e->kind == MSA_TRAIN_RECORD) s->n_steps++;
    if (s->n_steps == 4) disk_fill(20000);
    return 0;
}

static void a_full_disk_leaves_the_last_good_checkpoint(void **state) {
    (void)state;
    msa_trainer *t;
    run_watcher s = {.after = -1};
    run_to_end("roomy", "", 0);
    assert_ok(tiny_train_create(&t, run_path("full"), "", 0, fill_disk_after_step_4, &s, &err),
              &err);
    msa_status status = msa_trainer_run(t, &err);
    disk_clear();
    assert_int_equal(status, MSA_E_IO); /* the last checkpoint can't be written */
    assert_non_null(strstr(err.text, "checkpoint"));
    assert_int_equal(s.n_steps, 12); /* it went on */
    assert_int_equal(s.n_notes, 2);  /* of steps 6 and 9 */
    assert_non_null(strstr(s.note, "goes on"));
    msa_trainer_free(t);
    assert_int_equal(checkpoint_newest_step(run_path("full")), 3);
    run_to_end("full", "", 1);
    assert_same_end(run_path("roomy"), run_path("full"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stopped_run_goes_on_to_the_same_bits),
        cmocka_unit_test(a_stopped_trainer_goes_on_when_it_is_run_again),
        cmocka_unit_test(a_used_folder_is_not_trained_into_unless_resumed),
        cmocka_unit_test(changed_texts_are_no_texts_to_resume_with),
        cmocka_unit_test(another_tokenizer_of_the_same_name_is_not_resumed_with),
        cmocka_unit_test(every_damage_to_a_checkpoint_is_seen),
        cmocka_unit_test(a_half_written_checkpoint_is_passed_over_and_the_one_before_counts),
        cmocka_unit_test(a_checkpoint_is_found_by_the_number_in_its_name),
        cmocka_unit_test(only_the_last_checkpoints_stay),
        cmocka_unit_test(a_full_disk_leaves_the_last_good_checkpoint),
    };
    return cmocka_run_group_tests(tests, runs_open, runs_close);
}
