/* test_train_watch.c: what a run keeps an eye on: records that a full disk cuts, spikes. */
#include "support/support.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "train/log.h"
#include "train/optimiser.h"

static msa_error err;

/* Files beyond a size can't be written, as on a disk that is full. */
static void limit_files(rlim_t n_bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = n_bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void half_a_record_does_not_stay_in_the_log(void **state) {
    (void)state;
    train_log log;
    char path[] = "/tmp/msa-log-XXXXXX", text[256] = "";
    close(mkstemp(path));
    signal(SIGXFSZ, SIG_IGN);
    assert_ok(log_open(&log, path, -1, &err), &err);
    log_write(&log, json_pack("{s:s, s:i}", "event", "a", "step", 1));
    limit_files(30); /* in the middle of the next */
    log_write(&log, json_pack("{s:s, s:i}", "event", "b", "step", 2));
    limit_files(RLIM_INFINITY);
    log_write(&log, json_pack("{s:s, s:i}", "event", "c", "step", 3));
    assert_int_equal(log.failure, EFBIG);
    log_close(&log);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    unlink(path);
    assert_string_equal(text, "{\"event\":\"a\",\"step\":1}\n{\"event\":\"c\",\"step\":3}\n");
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
