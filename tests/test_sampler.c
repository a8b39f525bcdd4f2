/* test_sampler.c: the sampler against a plain reference that sorts and sums, and its corners. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "msa/model.h"
#include "support/scarce.h"

static msa_sampler *sampler_of(msa_sampler_params params, int32_t n_vocab) {
    msa_error err;
    msa_sampler *s;
    assert_ok(msa_sampler_create(&s, &params, n_vocab, &err), &err);
    return s;
}

static int32_t pick(msa_sampler *s, const float *logits) {
    msa_error err;
    int32_t id = -1;
    assert_ok(msa_sampler_pick(s, logits, &id, &err), &err);
    return id;
}

static msa_sampler_params plain(float temperature) {
    return (msa_sampler_params){.temperature = temperature, .top_p = 1, .repeat_penalty = 1};
}

static void greedy_takes_the_largest_and_the_lower_id_of_equals(void **state) {
    (void)state;
    float logits[] = {-1, 3, 2, 3, -INFINITY, 3};
    msa_sampler *s = sampler_of(plain(0), 6);
    assert_int_equal(pick(s, logits), 1);
    logits[0] = 3;
    assert_int_equal(pick(s, logits), 0);
    msa_sampler_free(s);
    msa_sampler_params one = plain(1);
    one.top_k = 1;
    s = sampler_of(one, 6);
    for (int i = 0; i < 100; i++) assert_int_equal(pick(s, logits), 0);
    msa_sampler_free(s);
}

/* Probability of each token, written from the definition: sort, cut, sum. */
static void probabilities(const msa_sampler_params *p, const float *logits, int n, double *out) {
    int order[64];
    double e[64], total = 0, mass = 0, sum = 0;
    for (int i = 0; i < n; i++) order[i] = i;
    for (int i = 1; i < n; i++)
        for (int k = i; k > 0 && logits[order[k]] > logits[order[k - 1]]; k--) {
            int t = order[k];
            order[k] = order[k - 1];
            order[k - 1] = t;
        }
    for (int i = 0; i < n; i++) out[i] = 0;
    int kept = p->top_k > 0 && p->top_k < n ? p->top_k : n;
    for (int i = 0; i < kept; i++) total += e[i] = exp((double)logits[order[i]] - logits[order[0]]);
    for (int i = 0; i < kept; i++) {
        bool cut = (p->top_p < 1 && mass >= p->top_p * total) || e[i] < p->min_p;
        if (i && cut) break;
        mass += e[i];
        sum += out[order[i]] = exp(((double)logits[order[i]] - logits[order[0]]) / p->temperature);
    }
    for (int i = 0; i < n; i++) out[i] /= sum;
}

static void draws_follow_the_filtered_distribution(void **state) {
    (void)state;
    rng r = rng_seed(5);
    const int32_t top_k[] = {0, 1, 5, 40, 100};
    const float top_p[] = {1, 0.9f, 0.5f, 0}, min_p[] = {0, 0.05f, 0.5f}, temp[] = {0.5f, 1, 3};
    enum { N = 40, DRAWS = 3000 };
    float logits[N];
    double p[N];
    for (int trial = 0; trial < 200; trial++) {
        msa_sampler_params params = plain(temp[rng_below(&r, 3)]);
        params.top_k = top_k[rng_below(&r, 5)];
        params.top_p = top_p[rng_below(&r, 4)];
        params.min_p = min_p[rng_below(&r, 3)];
        params.seed = (uint64_t)trial;
        rng_fill_normal(&r, logits, N, 2);
        probabilities(&params, logits, N, p);
        int seen[N] = {0};
        msa_sampler *s = sampler_of(params, N);
        for (int i = 0; i < DRAWS; i++) seen[pick(s, logits)]++;
        msa_sampler_free(s);
        for (int i = 0; i < N; i++) {
            double expected = DRAWS * p[i], slack = 6 * sqrt(expected * (1 - p[i])) + 3;
            if (p[i] == 0 ? seen[i] > 0 : fabs(seen[i] - expected) > slack)
                fail_msg("trial %d: token %d drawn %d times, expected %.1f", trial, i, seen[i],
                         expected);
        }
    }
}

static void same_seed_gives_the_same_tokens_on_every_machine(void **state) {
    (void)state;
    enum { N = 1000 };
    float logits[N];
    rng r = rng_seed(11);
    rng_fill_integers(&r, logits, N, 3); /* whole numbers, many ties */
    msa_sampler_params params = plain(0.8f);
    params.top_p = 0.95f;
    params.seed = 42;
    msa_sampler *a = sampler_of(params, N), *b = sampler_of(params, N);
    params.seed = 43;
    msa_sampler *c = sampler_of(params, N);
    int differ = 0;
    int32_t first[8];
    for (int i = 0; i < 200; i++) {
        int32_t id = pick(a, logits);
        if (i < 8) first[i] = id;
        assert_int_equal(id, pick(b, logits));
        differ += id != pick(c, logits);
    }
    assert_true(differ > 100);
    const int32_t golden[8] = {720, 319, 239, 66, 791, 944, 926, 155};
    for (int i = 0; i < 8; i++) assert_int_equal(first[i], golden[i]);
    msa_sampler_free(a);
    msa_sampler_free(b);
    msa_sampler_free(c);
}

static void the_penalty_looks_at_the_last_tokens_only(void **state) {
    (void)state;
    msa_error err;
    float logits[] = {4, 3, -1, -2};
    msa_sampler_params params = plain(0);
    params.repeat_penalty = 2;
    params.repeat_last = 2;
    msa_sampler *s = sampler_of(params, 4);
    assert_int_equal(pick(s, logits), 0);
    assert_ok(msa_sampler_accept(s, 0, &err), &err);
    assert_int_equal(pick(s, logits), 1); /* 4 / 2 < 3 */
    assert_ok(msa_sampler_accept(s, 0, &err), &err);
    assert_ok(msa_sampler_accept(s, 0, &err), &err);
    assert_int_equal(pick(s, logits), 1); /* once, however often it came */
    assert_ok(msa_sampler_accept(s, 1, &err), &err);
    assert_int_equal(pick(s, logits), 0); /* 2 against 1.5 */
    assert_ok(msa_sampler_accept(s, 2, &err), &err);
    assert_int_equal(pick(s, logits), 0); /* 0 forgotten: 4 */
    msa_sampler_forget(s);                /* the window begins anew: 0 stays in it for two tokens */
    assert_ok(msa_sampler_accept(s, 0, &err), &err);
    assert_ok(msa_sampler_accept(s, 2, &err), &err);
    assert_int_equal(pick(s, logits), 1);
    assert_ok(msa_sampler_accept(s, 2, &err), &err);
    assert_int_equal(pick(s, logits), 0);
    msa_sampler_free(s);

    params.repeat_last = -1;
    s = sampler_of(params, 4);
    assert_ok(msa_sampler_accept(s, 0, &err), &err);
    for (int i = 0; i < 1000; i++) assert_ok(msa_sampler_accept(s, 3, &err), &err);
    assert_int_equal(pick(s, logits), 1);
    float negative[] = {-4, -3, -4, -2}; /* 3 is penalised to -4, 0 to -8 */
    assert_int_equal(pick(s, negative), 1);
    msa_sampler_forget(s);
    assert_int_equal(pick(s, logits), 0);
    assert_int_equal(pick(s, negative), 3);
    assert_fails(msa_sampler_accept(s, 4, &err), MSA_E_ARG, &err, "token 4");
    assert_fails(msa_sampler_accept(s, -1, &err), MSA_E_ARG, &err, "token -1");
    msa_sampler_free(s);
}

static void null_is_refused(void **state) {
    (void)state;
    msa_error err;
    float logits[] = {1, 2};
    int32_t id;
    msa_sampler *s = sampler_of(plain(0), 2);
    assert_fails(msa_sampler_create(NULL, NULL, 2, &err), MSA_E_ARG, &err, "NULL");
    assert_fails(msa_sampler_pick(NULL, logits, &id, &err), MSA_E_ARG, &err, "sampler");
    assert_fails(msa_sampler_pick(s, logits, NULL, &err), MSA_E_ARG, &err, "id");
    assert_fails(msa_sampler_pick(s, NULL, &id, &err), MSA_E_ARG, &err, "logits");
    assert_fails(msa_sampler_accept(NULL, 0, &err), MSA_E_ARG, &err, "sampler");
    msa_sampler_forget(NULL);
    msa_sampler_free(s);
}

static void logits_that_are_no_numbers_are_refused(void **state) {
    (void)state;
    msa_error err;
    int32_t id = 7;
    float nan_at_2[] = {0, 1, NAN}, infinite[] = {0, INFINITY, 1};
    float none[] = {-INFINITY, -INFINITY, -INFINITY}, one[] = {-INFINITY, -3e38f, -INFINITY};
    for (int greedy = 0; greedy < 2; greedy++) {
        msa_sampler *s = sampler_of(plain(greedy ? 0 : 1), 3);
        assert_fails(msa_sampler_pick(s, nan_at_2, &id, &err), MSA_E_ARG, &err, "logits[2]");
        assert_fails(msa_sampler_pick(s, infinite, &id, &err), MSA_E_ARG, &err, "logits[1]");
        assert_fails(msa_sampler_pick(s, none, &id, &err), MSA_E_ARG, &err, "-inf");
        assert_fails(msa_sampler_pick(s, NULL, &id, &err), MSA_E_ARG, &err, "NULL");
        assert_int_equal(id, 7);
        for (int i = 0; i < 50; i++) assert_int_equal(pick(s, one), 1);
        msa_sampler_free(s);
    }
}

static void extreme_logits_and_temperatures_stay_in_order(void **state) {
    (void)state;
    float logits[] = {-3e38f, 3e38f, 3e38f, 1e-40f};
    const float temperatures[] = {1e-45f, 1e-6f, 1, 1000};
    for (int i = 0; i < 4; i++) {
        msa_sampler_params params = plain(temperatures[i]);
        params.repeat_penalty = 1e-30f;
        params.repeat_last = 8;
        msa_sampler *s = sampler_of(params, 4);
        for (int k = 0; k < 50; k++) {
            int32_t id = pick(s, logits);
            assert_true(id == 1 || id == 2);
            assert_ok(msa_sampler_accept(s, id, NULL), NULL);
        }
        msa_sampler_free(s);
    }
}

static void parameters_out_of_range_are_named(void **state) {
    (void)state;
    const struct {
        msa_sampler_params params;
        const char *word;
    } bad[] = {
        {{.temperature = -1, .top_p = 1, .repeat_penalty = 1}, "temperature"},
        {{.temperature = NAN, .top_p = 1, .repeat_penalty = 1}, "temperature"},
        {{.temperature = INFINITY, .top_p = 1, .repeat_penalty = 1}, "temperature"},
        {{.top_k = -1, .top_p = 1, .repeat_penalty = 1}, "top_k"},
        {{.top_p = 1.5f, .repeat_penalty = 1}, "top_p"},
        {{.top_p = NAN, .repeat_penalty = 1}, "top_p"},
        {{.top_p = 1, .min_p = -0.1f, .repeat_penalty = 1}, "min_p"},
        {{.top_p = 1, .min_p = 2, .repeat_penalty = 1}, "min_p"},
        {{.top_p = 1, .repeat_penalty = 0}, "repeat_penalty"},
        {{.top_p = 1, .repeat_penalty = 1, .repeat_last = -2}, "repeat_last"},
    };
    msa_error err;
    msa_sampler *s = (msa_sampler *)&err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_fails(msa_sampler_create(&s, &bad[i].params, 10, &err), MSA_E_ARG, &err,
                     bad[i].word);
        assert_null(s);
    }
    msa_sampler_params fine = msa_sampler_defaults();
    assert_fails(msa_sampler_create(&s, &fine, 0, &err), MSA_E_ARG, &err, "n_vocab");
    assert_ok(msa_sampler_create(&s, NULL, 10, &err), &err);
    msa_sampler_free(s);
    msa_sampler_free(NULL);
}

static void no_allocation_that_fails_leaks_or_crashes(void **state) {
    (void)state;
    msa_error err;
    float logits[50] = {0};
    msa_sampler_params params = plain(1);
    params.repeat_penalty = 1.1f;
    params.repeat_last = 100;
    int failures = 0;
    for (long n = 0;; n++) {
        long before = scarce_live();
        msa_sampler *s = NULL;
        int32_t id = 0;
        scarce_begin(n);
        msa_status status = msa_sampler_create(&s, &params, 50, &err);
        for (int i = 0; i < 200 && !status; i++) {
            status = msa_sampler_pick(s, logits, &id, &err);
            if (!status) status = msa_sampler_accept(s, id, &err);
        }
        bool ran_out = scarce_end();
        if (status) assert_fails(status, MSA_E_NOMEM, &err, "no memory");
        failures += status != MSA_OK;
        msa_sampler_free(s);
        assert_int_equal(scarce_live(), before);
        if (!ran_out) break;
    }
    assert_true(failures > 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_largest_and_the_lower_id_of_equals),
        cmocka_unit_test(draws_follow_the_filtered_distribution),
        cmocka_unit_test(same_seed_gives_the_same_tokens_on_every_machine),
        cmocka_unit_test(the_penalty_looks_at_the_last_tokens_only),
        cmocka_unit_test(null_is_refused),
        cmocka_unit_test(logits_that_are_no_numbers_are_refused),
        cmocka_unit_test(extreme_logits_and_temperatures_stay_in_order),
        cmocka_unit_test(parameters_out_of_range_are_named),
        cmocka_unit_test(no_allocation_that_fails_leaks_or_crashes),
    };
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
