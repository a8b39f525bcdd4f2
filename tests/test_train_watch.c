/* test_train_watch.c: what a run keeps an eye on: records that a full disk cuts, spikes. */
#include "support/support.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/folder.h"
#include "train/log.h"
#include "train/optimiser.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_a_record_does_not_stay_in_the_log),
        cmocka_unit_test(a_new_level_is_no_spike_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
