/* test_cli_eval.c: msa eval ruler, needle, passkey, mqar and task as a user meets them, with a tiny
 * model. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/program.h"
#include "support/support.h"
#include "support/tiny_model.h"

#define TINY "-m tiny.gguf --block 16 --topk 3 --init 1 --local 1 -t 1 "
#define PAST "--allow-past-context " /* tiny.gguf was trained for 512 tokens */

static int furnish_place(void **state) {
    char path[128];
    place_open(state);
    tiny_params p = tiny_defaults("llama", 5);
    tiny_model *m = tiny_create(&p);
    snprintf(path, sizeof path, "%s/tiny.gguf", place.folder);
    tiny_write(m, path);
    tiny_free(m);
    return 0;
}

static void what_cannot_be_asked_is_refused(void **state) {
    static const call CALLS[] = {
        {"msa eval ruler", 2, "-m/--model is missing"},
        {"msa eval rulr", 2, "'msa eval ruler'"},
        {"msa eval ruler " TINY "--tasks niah_singel_1", 2, "did you mean 'niah_single_1'?"},
        {"msa eval ruler " TINY "--tasks ''", 2, "--tasks"},
        {"msa eval ruler " TINY "--tasks vt,,cwe", 2, "--tasks: expected names like a,b,c"},
        {"msa eval ruler " TINY "--tasks vt --lengths 300", 2, "a length of at least"},
        {"msa eval ruler " TINY "--tasks vt --lengths 63", 2, "--lengths: expected"},
        {"msa eval ruler " TINY "--tasks vt --lengths none", 2, "--lengths: expected at least one"},
        {"msa eval ruler " TINY "--tasks qa_1", 2, "--squad"},
        {"msa eval ruler " TINY "--tasks qa_2 --hotpotqa nowhere.json", 1, "nowhere.json"},
        {"msa eval ruler " TINY "--tasks qa_1 --squad LICENSE", 1, "LICENSE"},
        {"msa eval ruler " TINY "--tasks niah_single_2 --text nowhere", 1, "nowhere"},
        {"msa eval passkey " TINY "--selector proxy", 2, "--selectors dense,proxy"},
        {"msa eval passkey " TINY "--selectors best", 2, "'best'"},
        {"msa eval passkey " TINY PAST "--selectors index", 1, "selector index: "},
        {"msa eval passkey " TINY PAST "--selectors window,means --index8 on", 2, "index8 is on"},
        {"msa eval ppl " TINY "-f LICENSE --selectors window,means --index8 on", 2, "--index8 on"},
        {"msa eval passkey " TINY "-c 512", 2, "--lengths says"},
        {"msa eval passkey " TINY "--samples 0", 2, "--samples"},
        {"msa eval passkey " TINY "--show 20", 2, "there is no question 20; there are 20"},
        {"msa eval passkey " TINY "--lengths 400 --out nowhere/x", 1, "nowhere/x"},
        {"msa eval task " TINY PAST "--tasks train_needle", 2, "--text is missing"},
        {"msa eval mqar " TINY "--lengths 128 --items 99", 2,
         "lengths: 128 can't hold task mqar with so many"},
        {"msa eval needle " TINY "--depths 101", 2, "--depths"},
        {"msa eval needle " TINY PAST "-o nowhere/x.png", 1, "nowhere/x.png"},
    };
    (void)state;
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
}

static json_t *run_json(const char *flags) {
    char line[512];
    snprintf(line, sizeof line, "msa eval %s --json", flags);
    return workplace_json(&place, line);
}

static double number(const json_t *row, const char *key) {
    const json_t *value = json_object_get(row, key);
    if (!json_is_number(value)) fail_msg("%s is no number", key);
    return json_number_value(value);
}

static void json_says_what_was_asked_and_what_came_of_it(void **state) {
    static const char *const ROW[] = {"score",         "score_low",      "score_high",
                                      "prompt_tokens", "keys_per_query", "keys_per_query_dense"};
    (void)state;
    json_t *all =
        run_json("ruler " TINY PAST "--tasks niah_single_1,niah_multikey_2 --lengths 700,800 "
                 "--samples 2 --selectors proxy,window --void-below 0");
    assert_string_equal(json_string_value(json_object_get(all, "eval")), "ruler");
    assert_string_equal(json_string_value(json_object_get(all, "haystack")), "noise");
    assert_string_equal(json_string_value(json_object_get(all, "chat_template")), "none");
    assert_int_equal(number(all, "seed"), 42);
    assert_int_equal(number(all, "samples"), 2);
    assert_true(json_is_true(json_object_get(all, "complete")));
    json_t *rows = json_object_get(all, "rows"), *row;
    size_t i;
    assert_int_equal(json_array_size(rows), 3 * (4 + 2));
    json_array_foreach(rows, i, row) {
        bool dense = i % 3 == 0;
        for (size_t k = 0; k < sizeof ROW / sizeof *ROW; k++) number(row, ROW[k]);
        assert_int_equal(json_is_null(json_object_get(row, "difference")), dense);
        assert_true(json_is_null(json_object_get(row, "depth")));
        assert_string_equal(json_string_value(json_object_get(row, "selector")), dense ? "dense"
                                                                                 : i % 3 == 1
                                                                                     ? "proxy"
                                                                                     : "window");
        assert_int_equal(number(row, "n"), i < 12 ? 2 : 4);
        assert_string_equal(json_string_value(json_object_get(row, "task")), i < 6 ? "niah_single_1"
                                                                             : i < 12
                                                                                 ? "niah_multikey_2"
                                                                                 : "average");
    }
    json_decref(all);
}

static void dense_that_fails_voids_the_comparison(void **state) {
    (void)state;
    json_t *all = run_json("passkey " TINY "--lengths 400 --samples 2");
    json_t *rows = json_object_get(all, "rows");
    assert_int_equal(json_array_size(rows), 2);
    assert_true(number(json_array_get(rows, 0), "score") < 50); /* random weights */
    assert_true(json_is_false(json_object_get(json_array_get(rows, 0), "void")));
    assert_true(json_is_true(json_object_get(json_array_get(rows, 1), "void")));
    assert_true(json_is_null(json_object_get(json_array_get(rows, 1), "difference")));
    json_decref(all);
    outcome o = workplace_run(&place, "msa eval passkey " TINY "--lengths 400 --samples 2");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "n/a: dense fails"));
    outcome_free(&o);
}

static void answers_are_kept_and_not_asked_again(void **state) {
    (void)state;
    static const char FLAGS[] = "passkey " TINY "--lengths 400 --samples 3 --out kept.jsonl";
    json_t *first = run_json(FLAGS), *second = run_json(FLAGS);
    assert_true(json_equal(first, second));
    json_decref(first), json_decref(second);
    outcome o = workplace_run(&place, "msa eval passkey " TINY "--lengths 400 --samples 4 --out "
                                      "kept.jsonl --selectors random; wc -l < kept.jsonl");
    assert_non_null(strstr(o.err, "3 of them in kept.jsonl already"));
    assert_int_equal(atoi(strrchr(o.out, '\n') ? strstr(o.out, "\n12\n") + 1 : ""), 12);
    outcome_free(&o);
    assert_exit(&place, "msa eval passkey " TINY "--lengths 400 --seed 1 --out kept.jsonl", 1,
                "seed");
}

/* Before a question is asked, of shorter texts too. */
static void past_the_trained_context_is_a_choice(void **state) {
    (void)state;
    static const call CALLS[] = {
        {"msa eval passkey " TINY "--lengths 400,513 -n 1 --out past.jsonl", 2,
         "lengths: 513 is past the 512"},
        {"test ! -s past.jsonl", 0, NULL},
        {"msa eval ppl " TINY "-f LICENSE -c 513 --chunks 1", 2, "--allow-past-context"},
        {"msa eval ppl " TINY "-f LICENSE -c 513 --chunks 1 --allow-past-context", 0, NULL},
        {"msa run " TINY "--raw -f LICENSE -n 2", 1, "raise -c with --allow-past-context"},
        {"msa run " TINY "--raw -p hi -n 2 -c 513", 2, "--allow-past-context"},
        {"msa run " TINY "--raw -f LICENSE -n 2 -c 3000 --allow-past-context", 0, NULL},
        {"msa info " TINY "-c 513", 2, "--allow-past-context"},
        {"msa bench model " TINY "-p 600 -n 2 -r 1", 0, NULL}, /* time is no matter of it */
    };
    assert_calls(&place, CALLS, sizeof CALLS / sizeof *CALLS);
}

static void a_grid_is_a_table_and_a_picture(void **state) {
    (void)state;
    outcome o =
        workplace_run(&place, "msa eval needle " TINY PAST "--lengths 700,800 --depths 0,50,100 "
                              "--samples 1 --text LICENSE -o grid.svg; msa eval needle " TINY PAST
                              "--lengths 700 --depths 50 --samples 1 -o grid.png");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "dense\ndepth  700  800\n0 %"));
    assert_non_null(strstr(o.out, "\nproxy\ndepth"));
    outcome_free(&o);
    assert_exit(&place, "head -c 200 grid.svg | grep -q '<svg'", 0, NULL);
    assert_exit(&place, "head -c 4 grid.png | grep -q PNG", 0, NULL);
    assert_int_equal(workplace_count(&place, "grid"), 2);
    json_t *all = run_json("needle " TINY PAST "--lengths 700 --depths 0,100 --samples 1");
    json_t *rows = json_object_get(all, "rows");
    assert_int_equal(json_array_size(rows), 4);
    assert_int_equal(number(json_array_get(rows, 3), "depth"), 100);
    assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 0), "task")),
                        "needle/noise");
    json_decref(all);
}

static void a_grid_shows_every_length(void **state) {
    char line[512];
    (void)state;
    int n = snprintf(line, sizeof line,
                     "msa eval needle " TINY PAST "--depths 50 --samples 1 --lengths 700");
    for (int length = 701; length <= 716; length++)
        n += snprintf(line + n, sizeof line - (size_t)n, ",%d", length);
    outcome o = workplace_run(&place, line);
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, " 715\n"));
    assert_non_null(strstr(o.out, "dense\ndepth  716\n50 %"));
    assert_non_null(strstr(o.out, "proxy\ndepth  716\n50 %"));
    outcome_free(&o);
}

static void a_question_can_be_looked_at(void **state) {
    (void)state;
    outcome o = workplace_run(&place, "msa eval passkey " TINY "--lengths 400 --show 3");
    assert_int_equal(o.code, 0);
    assert_non_null(strstr(o.out, "What is the pass key? The pass key is\n"));
    assert_non_null(strstr(o.err, "expected   "));
    assert_memory_equal(o.out, "There is an important info hidden", 33);
    outcome_free(&o);
}

static void the_trainers_tasks_and_mqar_are_asked(void **state) {
    (void)state;
    json_t *all = run_json("task " TINY "--lengths 300 --samples 2 --text LICENSE --items 1");
    assert_int_equal(json_array_size(json_object_get(all, "rows")), 2 * 4 + 2);
    json_decref(all);
    all = run_json("mqar " TINY "--lengths 500 --samples 2 --items 3 --questions 2");
    assert_int_equal(json_array_size(json_object_get(all, "rows")), 2);
    json_decref(all);
}

/* The rows of a perplexity, json_decref. */
static json_t *score_text(const char *flags) {
    char line[256];
    snprintf(line, sizeof line,
             "ppl " TINY "-f LICENSE -c 300 --chunks 2 --selectors proxy,random,oracle "
             "--by-position 4 %s",
             flags);
    json_t *all = run_json(line), *rows = json_array();
    assert_int_equal(json_array_extend(rows, json_object_get(all, "rows")), 0);
    assert_int_equal(json_array_extend(rows, json_object_get(all, "by_position")), 0);
    assert_int_equal(json_array_size(rows), 4 + 4 * 4);
    json_decref(all);
    return rows;
}

/* To the last digit for the same chunks; others go through other products of matrices. */
static void a_text_is_scored_the_same_for_any_threads_and_chunks(void **state) {
    static const struct {
        const char *flags;
        double most_off;
    } CASES[] = {{"", 0}, {"-t 3", 0}, {"--chunk 37", 1e-5}, {"--chunk 5 -t 2", 1e-5}};
    (void)state;
    json_t *first = score_text(""), *row;
    size_t i;
    for (size_t c = 0; c < sizeof CASES / sizeof *CASES; c++) {
        json_t *rows = score_text(CASES[c].flags);
        json_array_foreach(rows, i, row) {
            const json_t *was = json_array_get(first, i);
            double off = fabs(number(row, "nll") - number(was, "nll"));
            if (!(off <= CASES[c].most_off))
                fail_msg("%s: row %zu is %g off", CASES[c].flags, i, off);
            assert_int_equal(number(row, "tokens"), number(was, "tokens"));
            if (i < 4) assert_true(number(row, "keys_per_query") == number(was, "keys_per_query"));
        }
        json_decref(rows);
    }
    json_decref(first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_asked_is_refused),
        cmocka_unit_test(json_says_what_was_asked_and_what_came_of_it),
        cmocka_unit_test(dense_that_fails_voids_the_comparison),
        cmocka_unit_test(answers_are_kept_and_not_asked_again),
        cmocka_unit_test(past_the_trained_context_is_a_choice),
        cmocka_unit_test(a_grid_is_a_table_and_a_picture),
        cmocka_unit_test(a_grid_shows_every_length),
        cmocka_unit_test(a_question_can_be_looked_at),
        cmocka_unit_test(the_trainers_tasks_and_mqar_are_asked),
        cmocka_unit_test(a_text_is_scored_the_same_for_any_threads_and_chunks),
    };
    return cmocka_run_group_tests(tests, furnish_place, place_close);
}
