/* test_train_watch.c: what a run watches: records that a full disk cuts, spikes, the peak. */
#include "support/support.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/folder.h"
#include "support/tiny_train.h"
#include "train/trainer.h"

static msa_error err;

static void half_a_record_does_not_stay_in_the_log(void **state) {
    (void)state;
    train_log log;
    char path[] = "/tmp/msa-log-XXXXXX";
    size_t n;
    close(mkstemp(path));
    assert_ok(log_open(&log, path, -1, &err), &err);
    log_write(&log, json_pack("{s:s, s:i}", "event", "a", "step", 1));
    disk_fill(30); /* in the middle of the next */
    log_write(&log, json_pack("{s:s, s:i}", "event", "b", "step", 2));
    disk_clear();
    log_write(&log, json_pack("{s:s, s:i}", "event", "c", "step", 3));
    assert_int_equal(log.failure, EFBIG);
    log_close(&log);
    char *text = read_whole(path, &n);
    unlink(path);
    assert_string_equal(text, "{\"event\":\"a\",\"step\":1}\n{\"event\":\"c\",\"step\":3}\n");
    free(text);
}

static void a_new_level_is_no_spike_for_ever(void **state) {
    (void)state;
    train_average mean = {0};
    int n_spikes = 0;
    for (int i = 0; i < 50; i++) assert_false(optimiser_spike(&mean, 1, 4));
    assert_true(optimiser_spike(&mean, 1e9, 4)); /* a single one hardly moves the mean */
    assert_true(mean.mean < 1.2);
    while (optimiser_spike(&mean, 8, 4)) assert_true(++n_spikes < 20);
    assert_true(n_spikes >= 3);
}

static double peak_after_a_run(const char *out, double before, double due) {
    msa_trainer *t;
    assert_ok(tiny_train_create(&t, out, "run.steps=5", 0, NULL, NULL, &err), &err);
    assert_true(t->peak_due > trainer_clock());
    t->info.peak_gflops = before;
    t->peak_due = due;
    assert_ok(msa_trainer_run(t, &err), &err);
    double after = msa_trainer_get_info(t)->peak_gflops;
    msa_trainer_free(t);
    return after;
}

static void the_peak_is_measured_again_and_the_most_counts(void **state) {
    assert_true(peak_after_a_run(folder_path(*state, "a"), 1e-3, 0) > 0.01);
    assert_true(peak_after_a_run(folder_path(*state, "b"), 1e9, 0) == 1e9);
    double later = trainer_clock() + 1e6;
    assert_true(peak_after_a_run(folder_path(*state, "c"), 1e-3, later) == 1e-3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_a_record_does_not_stay_in_the_log),
        cmocka_unit_test(a_new_level_is_no_spike_for_ever),
        cmocka_unit_test(the_peak_is_measured_again_and_the_most_counts),
    };
    return cmocka_run_group_tests(tests, folder_create, folder_remove);
}
