/* test_cli_waiting.c: the program has its threads spin briefly, unless somebody said otherwise. */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "support/program.h"

static workplace place;

static int open_place(void **state) {
    (void)state;
    workplace_open(&place);
    return 0;
}

static int close_place(void **state) {
    (void)state;
    workplace_close(&place);
    return 0;
}

/* What libgomp says it goes by, each time it is loaded; the line decides on the environment. */
static void assert_spins(const char *environment, const char *count, const char *not_count) {
    char line[200];
    snprintf(line, sizeof line,
             "env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT OMP_DISPLAY_ENV=verbose %s msa --version",
             environment);
    outcome o = workplace_run(&place, line);
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, msa_version()));
    assert_null(strstr(strstr(o.out, msa_version()) + 1, msa_version())); /* said once */
    if (strstr(o.err, "GOMP_SPINCOUNT = ")) {                             /* it is libgomp */
        if (!strstr(o.err, count) || (not_count && strstr(o.err, not_count)))
            fail_msg("%s: %s", environment, o.err);
    }
    outcome_free(&o);
}

static void threads_spin_briefly_unless_told_otherwise(void **state) {
    (void)state;
    assert_spins("", "GOMP_SPINCOUNT = '2000'", NULL);
    assert_spins("GOMP_SPINCOUNT=77", "GOMP_SPINCOUNT = '77'", "'2000'");
    assert_spins("OMP_WAIT_POLICY=passive", "GOMP_SPINCOUNT = '0'", "'2000'");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_spin_briefly_unless_told_otherwise),
    };
    return cmocka_run_group_tests(tests, open_place, close_place);
}
