/* test_cli_waiting.c: the program has its threads spin briefly, unless somebody said otherwise. */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "support/program.h"

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

/* "ld.so msa --version": the loader takes its first argument for the program. */
static void the_loader_called_by_name_is_not_started_anew(void **state) {
    (void)state;
    outcome o =
        workplace_run(&place, "p=$(command -v msa); l=$(ldd \"$p\" | "
                              "sed -n 's|^[[:space:]]*\\(/[^ ]*ld-[^ ]*\\) .*|\\1|p'); "
                              "unset OMP_WAIT_POLICY GOMP_SPINCOUNT; \"$l\" \"$p\" --version");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, msa_version()));
    outcome_free(&o);
}

/* It would go on outside of it, on the real CPU. */
static void an_emulated_one_is_not_started_anew(void **state) {
    (void)state;
    outcome o = workplace_run(&place, "qemu-$(uname -m) \"$(command -v msa)\" --version");
    bool can_be = o.code == 0; /* OMP_WAIT_POLICY is said: nothing is started anew */
    outcome_free(&o);
    if (!can_be) skip();
    o = workplace_run(&place, "unset OMP_WAIT_POLICY GOMP_SPINCOUNT; OMP_DISPLAY_ENV=verbose "
                              "qemu-$(uname -m) \"$(command -v msa)\" --version");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, msa_version()));
    assert_null(strstr(o.err, "'2000'"));
    outcome_free(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_spin_briefly_unless_told_otherwise),
        cmocka_unit_test(the_loader_called_by_name_is_not_started_anew),
        cmocka_unit_test(an_emulated_one_is_not_started_anew),
    };
    return cmocka_run_group_tests(tests, place_open, place_close);
}
