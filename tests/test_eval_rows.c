/* test_eval_rows.c: scores, differences, intervals and averages against sums made by hand. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eval/sheet.h"
#include "eval/stats.h"
#include "support/eval_case.h"
#include "support/folder.h"

static msa_error err;

static void assert_near(double found, double expected) {
    if (isnan(expected) ? !isnan(found) : !(fabs(found - expected) < 5e-4))
        fail_msg("%.6f instead of %.6f", found, expected);
}

/* By hand, to four digits. */
static void intervals_are_those_of_the_formulas(void **state) {
    (void)state;
    interval w = stats_wilson(0.5, 10);
    assert_near(w.low, 0.2366), assert_near(w.high, 0.7634);
    w = stats_wilson(1, 20);
    assert_near(w.low, 0.8389), assert_near(w.high, 1);
    assert_true(isnan(stats_wilson(0, 0).low));
    pairs p = {0}; /* 10 pairs, 3 better, 1 worse: (2 +- 1.96 sqrt(12 * 5 - 4) / sqrt 12) / 12 */
    for (int i = 0; i < 10; i++) pairs_add(&p, i < 3 ? 1 : i < 4 ? -1 : 0);
    interval d = pairs_interval(&p);
    assert_near(d.low, -0.1862), assert_near(d.high, 0.5195);
    assert_near(pairs_p_value(&p), 0.625); /* 2 (1 + 4) / 16 */
    pairs same = {0};
    for (int i = 0; i < 20; i++) pairs_add(&same, 0);
    d = pairs_interval(&same); /* 1.96 sqrt(1 / 22 / 22) */
    assert_near(d.low, -0.0891), assert_near(d.high, 0.0891);
    assert_near(pairs_p_value(&same), 1);
    pairs worse = {0};
    for (int i = 0; i < 6; i++) pairs_add(&worse, -0.5);
    assert_near(pairs_p_value(&worse), 0.03125); /* 2 / 64 */
    pairs many = {.n = 5000, .n_better = 2500, .n_worse = 2400};
    assert_true(pairs_p_value(&many) > 0.14 && pairs_p_value(&many) < 0.17);
}

/* A file with these scores of passkey, of 420 tokens and then of 512: dense, proxy, random. */
static msa_eval *fabricate(const double scores[2][3][4]) {
    static const char *const NAMES[] = {"dense", "proxy", "random"};
    static const int LENGTHS[] = {420, 512};
    const char *path = folder_path(eval_folder, "made.jsonl"), *task = "passkey";
    msa_eval_params p = eval_case_params();
    msa_eval *e;
    p.tasks = &task, p.n_tasks = 1, p.n_samples = 4;
    unlink(path);
    assert_ok(eval_case_try(eval_model, p, path, &err), &err); /* the header */
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    for (int l = 0; l < 2; l++)
        for (int s = 0; s < 3; s++)
            for (int i = 0; i < 4; i++)
                if (!isnan(scores[l][s][i]))
                    fprintf(f,
                            "{\"task\": \"passkey\", \"length\": %d, \"depth\": null, \"sample\": "
                            "%d, \"selector\": \"%s\", \"score\": %g, \"prompt_tokens\": 400, "
                            "\"keys\": %d, \"keys_dense\": 200}\n",
                            LENGTHS[l], i, NAMES[s], scores[l][s][i], s ? 40 : 200);
    fputs("{\"task\": \"passkey\", \"length\": 99, \"sample\": 0, \"selector\": \"dense\", "
          "\"score\": 1}\n{\"unknown\": true}\n",
          f); /* of other runs */
    fclose(f);
    p.out = path;
    assert_ok(msa_eval_create(&e, eval_model, &p, &err), &err);
    return e;
}

static void rows_hold_scores_and_differences(void **state) {
    static const double SCORES[2][3][4] = {{{1, 1, 0, 1}, {1, 0, 0, NAN}, {0, 0, 0, 0.5}},
                                           {{0, 0, 1, 0}, {1, 1, 1, 1}, {0, 0, 0, 0}}};
    (void)state;
    msa_eval *e = fabricate(SCORES);
    size_t n;
    const msa_eval_row *rows = msa_eval_get_rows(e, &n);
    assert_int_equal(n, 6);
    assert_int_equal(msa_eval_get_info(e)->n_found, 23);
    assert_int_equal(msa_eval_get_info(e)->n_trials, 24);
    static const struct {
        const char *selector;
        int n, better, worse;
        double score, difference, p;
    } EXPECTED[] = {
        {"dense", 4, 0, 0, 75, NAN, NAN},       {"proxy", 3, 0, 1, 33.3333, -33.3333, 1},
        {"random", 4, 0, 3, 12.5, -62.5, 0.25}, {"dense", 4, 0, 0, 25, NAN, NAN},
        {"proxy", 4, 0, 0, 100, NAN, NAN}, /* dense fails: no comparison */
        {"random", 4, 0, 0, 0, NAN, NAN}};
    for (int i = 0; i < 6; i++) {
        const msa_eval_row *r = &rows[i];
        assert_string_equal(r->task, "passkey");
        assert_string_equal(r->selector, EXPECTED[i].selector);
        assert_int_equal(r->length, i < 3 ? 420 : 512);
        assert_int_equal(r->n, EXPECTED[i].n);
        assert_int_equal(r->n_better, EXPECTED[i].better);
        assert_int_equal(r->n_worse, EXPECTED[i].worse);
        assert_near(r->score, EXPECTED[i].score);
        assert_near(r->difference, EXPECTED[i].difference);
        assert_near(r->p_value, EXPECTED[i].p);
        assert_near(r->keys_per_query, strcmp(r->selector, "dense") == 0 ? 200 : 40);
        assert_near(r->keys_per_query_dense, 200);
        assert_true(isnan(r->depth));
    }
    /* random: d = -1, -1, 0, -0.5: sum -2.5, squares 2.25, and two pairs more */
    double mean = -2.5 / 6, half = 1.959964 * sqrt((3.25 / 6 - mean * mean) / 6);
    assert_near(rows[2].difference_low, 100 * (mean - half));
    assert_near(rows[2].difference_high, 100 * (mean + half));
    msa_eval_free(e);
}

static void a_difference_is_over_samples_that_both_answered(void **state) {
    static const double SCORES[2][3][4] = {{{1, NAN, 1, 1}, {1, 0, 1, 0}, {NAN, 1, NAN, NAN}},
                                           {{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}}};
    (void)state;
    msa_eval *e = fabricate(SCORES);
    size_t n;
    const msa_eval_row *rows = msa_eval_get_rows(e, &n);
    assert_near(rows[1].score, 50);
    assert_near(rows[1].difference, -33.3333);
    assert_int_equal(rows[1].n_worse, 1);
    assert_near(rows[2].score, 100);
    assert_near(rows[2].difference, NAN); /* none both did */
    msa_eval_free(e);
}

static void assert_same(double a, double b) {
    if (a != b && !(isnan(a) && isnan(b))) fail_msg("%.17g and %.17g", a, b);
}

static void rows_are_the_same_of_answers_just_given_and_of_those_read(void **state) {
    (void)state;
    const char *path = folder_path(eval_folder, "same.jsonl");
    msa_eval *given, *read;
    msa_eval_params p = eval_case_params();
    size_t n, n_read;
    p.out = path, p.void_below = 0;
    assert_ok(msa_eval_create(&given, eval_model, &p, &err), &err);
    assert_ok(msa_eval_run(given, &err), &err);
    char *text = read_whole(path, NULL);
    const char *copy = folder_path(eval_folder, "copy.jsonl");
    write_text(copy, text);
    free(text);
    p.out = copy;
    assert_ok(msa_eval_create(&read, eval_model, &p, &err), &err);
    const msa_eval_row *a = msa_eval_get_rows(given, &n), *b = msa_eval_get_rows(read, &n_read);
    assert_int_equal(n, n_read);
    for (size_t i = 0; i < n; i++) {
        assert_same(a[i].score, b[i].score);
        assert_same(a[i].difference, b[i].difference);
        assert_same(a[i].keys_per_query, b[i].keys_per_query);
        assert_same(a[i].keys_per_query_dense, b[i].keys_per_query_dense);
    }
    assert_same(sheet_kept(1.0 / 3), 0.333333333); /* so that a third is no better than a third */
    assert_same(sheet_kept(0.2), 0.2);
    msa_eval_free(given);
    msa_eval_free(read);
    unlink(path), unlink(copy);
}

static void averages_are_over_the_tasks_of_a_length(void **state) {
    (void)state;
    msa_eval *e;
    msa_eval_params p = eval_case_params();
    p.out = folder_path(eval_folder, "whole.jsonl");
    p.void_below = 0;
    eval_case_whole();
    assert_ok(msa_eval_create(&e, eval_model, &p, &err), &err);
    size_t n;
    const msa_eval_row *rows = msa_eval_get_rows(e, &n);
    assert_int_equal(n, 12 + 6);
    for (size_t s = 0; s < 3; s++)
        for (size_t l = 0; l < 2; l++) {
            const msa_eval_row *a = &rows[l * 3 + s], *b = &rows[6 + l * 3 + s];
            const msa_eval_row *mean = &rows[12 + l * 3 + s];
            assert_string_equal(mean->task, "average");
            assert_string_equal(mean->selector, a->selector);
            assert_int_equal(mean->length, a->length);
            assert_near(mean->score, (a->score + b->score) / 2);
            assert_near(mean->difference, (a->difference + b->difference) / 2);
            double half = hypot(a->score - a->score_low, b->score - b->score_low) / 2;
            assert_near(mean->score_low, mean->score - half);
        }
    msa_eval_free(e);
}

static void keys_read_are_counted(void **state) {
    (void)state;
    msa_eval *e;
    msa_eval_params p = eval_case_params();
    p.out = folder_path(eval_folder, "whole.jsonl");
    eval_case_whole();
    assert_ok(msa_eval_create(&e, eval_model, &p, &err), &err);
    size_t n;
    const msa_eval_row *rows = msa_eval_get_rows(e, &n);
    assert_near(rows[0].keys_per_query, rows[0].keys_per_query_dense);
    assert_near(rows[0].keys_per_query, (rows[0].prompt_tokens + 1) / 2);
    assert_true(rows[1].keys_per_query < 48.001 && rows[1].keys_per_query > 35);
    assert_true(rows[2].keys_per_query < 48.001 && rows[2].keys_per_query > 35);
    msa_eval_free(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_are_those_of_the_formulas),
        cmocka_unit_test(rows_hold_scores_and_differences),
        cmocka_unit_test(a_difference_is_over_samples_that_both_answered),
        cmocka_unit_test(rows_are_the_same_of_answers_just_given_and_of_those_read),
        cmocka_unit_test(averages_are_over_the_tasks_of_a_length),
        cmocka_unit_test(keys_read_are_counted),
    };
    return cmocka_run_group_tests(tests, eval_case_open, eval_case_close);
}
