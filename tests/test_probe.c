/* test_probe.c: the ceilings are numbers one can divide by, on every instruction set. */
#include "support/support.h"

#include <math.h>

static void both_ceilings_are_measured_on_every_instruction_set(void **state) {
    (void)state;
    msa_isa isas[MSA_ISA_COUNT], before = msa_isa_current();
    int n = isas_available(isas);
    msa_error err;
    for (int i = 0; i < n; i++) {
        double gflops = 0, gbps = 0;
        assert_ok(msa_isa_use(isas[i], &err), &err);
        assert_ok(msa_measure_fma_gflops(1, &gflops, &err), &err);
        assert_ok(msa_measure_read_gbps(2, (size_t)4 << 20, &gbps, &err), &err);
        assert_true(isfinite(gflops) && gflops > 0.01 && gflops < 1e4);
        assert_true(isfinite(gbps) && gbps > 0.01 && gbps < 1e5);
    }
    assert_ok(msa_isa_use(before, &err), &err);
}

static void a_bad_request_is_refused(void **state) {
    (void)state;
    msa_error err;
    double rate;
    assert_fails(msa_measure_fma_gflops(-1, &rate, &err), MSA_E_ARG, &err, "n_threads");
    assert_fails(msa_measure_fma_gflops(1, NULL, &err), MSA_E_ARG, &err, "NULL");
    assert_fails(msa_measure_read_gbps(1, 100, &rate, &err), MSA_E_ARG, &err, "100");
    assert_fails(msa_measure_read_gbps(1, (size_t)1 << 62, &rate, &err), MSA_E_NOMEM, &err, "room");
    assert_non_null(msa_cpu_name());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ceilings_are_measured_on_every_instruction_set),
        cmocka_unit_test(a_bad_request_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
