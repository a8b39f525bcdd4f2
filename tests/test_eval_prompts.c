/* test_eval_prompts.c: the text of questions against RULER's sentences, byte for byte; what
 * is drawn for them; how answers are marked. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/hash.h"
#include "eval/mark.h"
#include "eval/order.h"
#include "eval/words.h"
#include "support/folder.h"
#include "support/questions.h"
#include "support/solve.h"

static msa_error err;

/* ---- text, byte for byte --------------------------------------------------------------------- */

#define LINE                                                                                       \
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."

static void assert_prompt(prompt *p, const char *input, const char *opening) {
    assert_string_equal(p->input.data, input);
    assert_string_equal(p->opening.data, opening);
    prompt_free(p);
}

static void one_needle_reads_as_in_ruler(void **state) {
    char key[64], value[16], input[2048], opening[512];
    (void)state;
    for (int after = 0; after <= 2; after++) { /* lines in front of the needle */
        prompt p = questions_make("niah_single_1", 2, after * 50, 7);
        const char *needle = strstr(p.input.data, "One of");
        assert_int_equal(
            sscanf(needle, "One of the special magic numbers for %63s is: %7[0-9].", key, value),
            2);
        assert_string_equal(p.expected.data, value);
        snprintf(input, sizeof input,
                 "A special magic number is hidden within the following text. Make sure to "
                 "memorize it. I will quiz you about the number afterwards.\n"
                 "%s%sOne of the special magic numbers for %s is: %s.%s%s\n"
                 "What is the special magic number for %s mentioned in the provided text?",
                 after > 0 ? LINE "\n" : "", after > 1 ? LINE "\n" : "", key, value,
                 after < 2 ? "\n" LINE : "", after < 1 ? "\n" LINE : "", key);
        snprintf(opening, sizeof opening,
                 " The special magic number for %s mentioned in the provided text is", key);
        assert_prompt(&p, input, opening);
    }
}

static void four_needles_are_asked_for_as_in_ruler(void **state) {
    char keys[4][64], opening[512], ending[512];
    (void)state;
    prompt p = questions_make("niah_multiquery", 4, NAN, 11);
    assert_int_equal(p.n_expected, 4);
    const char *asked = strstr(p.input.data, "\nWhat");
    assert_int_equal(sscanf(asked,
                            "\nWhat are all the special magic numbers for %63[^,], %63[^,], "
                            "%63[^,], and %63s mentioned",
                            keys[0], keys[1], keys[2], keys[3]),
                     4);
    snprintf(ending, sizeof ending,
             "\nWhat are all the special magic numbers for %s, %s, %s, and %s mentioned in the "
             "provided text?",
             keys[0], keys[1], keys[2], keys[3]);
    assert_string_equal(asked, ending);
    snprintf(opening, sizeof opening,
             " The special magic numbers for %s, %s, %s, and %s mentioned in the provided text are",
             keys[0], keys[1], keys[2], keys[3]);
    assert_string_equal(p.opening.data, opening);
    static const char HEAD[] =
        "Some special magic numbers are hidden within the following text. Make sure to memorize "
        "it. I will quiz you about the numbers afterwards.\n";
    assert_memory_equal(p.input.data, HEAD, strlen(HEAD));
    prompt_free(&p);
}

static void a_chain_reads_as_in_ruler(void **state) {
    char input[4096], v[5][8], expected[64] = "";
    const char *at;
    (void)state;
    prompt p = questions_make("vt", 6, NAN,
                              3); /* six lines, five of which a variable stands in front of */
    at = strstr(p.input.data, "\n\n\n\n");
    assert_non_null(at);
    at += 4;
    int value = atoi(strstr(at, " = ") + 3), skipped = 6;
    for (int i = 0; i < 5; i++) {
        const char *name = strstr(at, "VAR ");
        for (int k = 0; k < i; k++) name = strstr(strchr(name, '\n'), "VAR ");
        snprintf(v[i], sizeof v[i], "%.5s", name + 4);
    }
    snprintf(input, sizeof input,
             "Memorize and track the chain(s) of variable assignment hidden in the following "
             "text.\n\n");
    const char *line = strstr(at, "\n\n") + 2;
    for (int i = 0, k = 0; i < 6; i++) {
        size_t n = strlen(input);
        if (strncmp(line, "VAR", 3) == 0) {
            if (k == 0)
                n += (size_t)snprintf(input + n, sizeof input - n, "VAR %s = %d\n", v[0], value);
            else
                n += (size_t)snprintf(input + n, sizeof input - n, "VAR %s = VAR %s \n", v[k],
                                      v[k - 1]);
            k++, skipped--;
            line = strchr(line, '\n') + 1;
        }
        snprintf(input + n, sizeof input - n, LINE "\n");
        line = strchr(line, '\n') + 1;
    }
    assert_int_equal(skipped, 1);
    size_t n = strlen(input);
    snprintf(input + n, sizeof input - n,
             "Question: Find all variables that are assigned the value %d in the text above.",
             value);
    assert_string_equal(at, input);
    snprintf(input, sizeof input,
             " Answer: According to the chain(s) of variable assignment in the text above, 5 "
             "variables are assigned the value %d, they are: ",
             value);
    assert_string_equal(p.opening.data, input);
    const char *text = NULL;
    for (int i = 0; i < 5; i++) {
        text = prompt_next_expected(&p, text);
        assert_string_equal(text, v[i]);
        strcat(expected, v[i]);
    }
    /* The example in front is solved: "they are:  ABC DEF ..." */
    at = strstr(p.input.data, "they are: ");
    assert_non_null(at);
    assert_true(at[10] == ' ' && at[14] == ' ' && at[11 + 19] == '\n');
    prompt_free(&p);
}

static void lists_hold_each_word_as_often_as_ruler_says(void **state) {
    char answer[SOLVED];
    (void)state;
    prompt p = questions_make("cwe", 20, NAN, 5); /* below 4,096: ten words six times, ten once */
    const char *list = strstr(strstr(p.input.data, "10. ") + 1, "appear most often.\n") + 19;
    int n = 0;
    for (const char *at = list; *at && *at != '\n'; at++) n += *at == '.';
    assert_int_equal(n, 70);
    assert_memory_equal(list, "1. ", 3);
    const char *word = NULL;
    for (int i = 0; i < 10; i++) {
        int found = 0;
        word = prompt_next_expected(&p, word);
        for (const char *at = list; (at = strstr(at, word)); at++) found++;
        assert_int_equal(found, 6);
    }
    assert_string_equal(p.opening.data,
                        " Answer: The top 10 words that appear most often in the list are:");
    assert_non_null(
        strstr(list, "\nQuestion: What are the 10 most common words in the above list?"));
    prompt_free(&p);

    p = questions_make("fwe", 100, NAN, 5); /* 100 / r^2 / zeta(2): 60, 15, 6, 3, 2, 1 */
    static const int COUNTS[] = {60, 15, 6, 3};
    list = strstr(p.input.data, "coded words. ") + 13;
    const char *end = strstr(list, "\nQuestion: Do not provide any explanation. Please ignore the "
                                   "dots '....'. What are the three most frequently appeared words "
                                   "in the above coded text?");
    assert_non_null(end);
    word = "...";
    for (int i = 0; i < 4; i++) {
        int found = 0;
        for (const char *at = list; (at = strstr(at, word)) && at < end; at += strlen(word))
            found++;
        assert_int_equal(found, COUNTS[i]);
        word = prompt_next_expected(&p, i ? word : NULL);
        if (i == 2) continue;
    }
    solve("fwe", p.input.data, answer);
    assert_true(mark(QUIZ_ALL, &p, answer) == 1);
    assert_string_equal(p.opening.data,
                        " Answer: According to the coded text above, the three most "
                        "frequently appeared words are:");
    prompt_free(&p);
}

static void a_pass_key_reads_as_published(void **state) {
    char input[2048];
    (void)state;
    prompt p = questions_make("passkey", 2, 50, 9);
    int key = atoi(p.expected.data);
    assert_true(key >= 1 && key <= 50000);
    snprintf(input, sizeof input,
             "There is an important info hidden inside a lot of irrelevant text. Find it and "
             "memorize them. I will quiz you about the important information there.\n" LINE
             "\nThe pass key is %d. Remember it. %d is the pass key.\n" LINE
             "\nWhat is the pass key?",
             key, key);
    assert_prompt(&p, input, " The pass key is");
}

static void documents_read_as_in_ruler(void **state) {
    qa_set set;
    questions_write(*state);
    assert_ok(qa_set_open(&set, folder_path(*state, "hotpot.json"), true, &err), &err);
    const quiz *q;
    assert_ok(quizzes_find(&q, "qa_2", &err), &err);
    prompt p = {0};
    quiz_case c = {.draw = draw_begin(1, DRAW_EXAM, 0, 0), .seed = 4, .questions = &set};
    q->make(q, &c, 2, &p);
    assert_ok(prompt_finish(&p, &err), &err);
    int number = atoi(strstr(p.input.data, "Land") + 4);
    char land[128], hill[64], input[1024];
    snprintf(land, sizeof land, "Land%02d\nThe capital of Land%02d is City%02d. It rains.", number,
             number, number);
    snprintf(hill, sizeof hill, "Hill%02d\nA hill of no note.", number);
    bool first = strstr(p.input.data, "Land") < strstr(p.input.data, "Hill");
    snprintf(input, sizeof input,
             "Answer the question based on the given documents. Only give me the answer and do not "
             "output any other words.\n\nThe following are given documents.\n\nDocument "
             "1:\n%s\n\nDocument 2:\n%s\n\nAnswer the question based on the given documents. Only "
             "give me the answer and do not output any other words.\n\nQuestion: What is the "
             "capital of Land%02d?",
             first ? land : hill, first ? hill : land, number);
    assert_prompt(&p, input, " Answer:");
    qa_set_free(&set);
}

/* ---- marking --------------------------------------------------------------------------------- */

static void answers_are_marked_as_ruler_marks_them(void **state) {
    static const struct {
        quiz_marking marking;
        const char *expected[3], *answer;
        double score;
    } CASES[] = {
        {QUIZ_ALL, {"1234567"}, " 1234567.", 1},
        {QUIZ_ALL, {"1234567"}, "123456", 0},
        {QUIZ_ALL, {"1234567"}, "91234567", 1}, /* inside a longer one: RULER's rule */
        {QUIZ_ALL, {"Abc", "def"}, "it is aBC", 0.5},
        {QUIZ_ALL, {"abc", "def", "ghi"}, "GHI, ABC", 2.0 / 3},
        {QUIZ_ALL, {"abc"}, "", 0},
        {QUIZ_ANY, {"paris", "the city"}, "The City of light", 1},
        {QUIZ_ANY, {"paris", "rome"}, "par is", 0},
        {QUIZ_NUMBER, {"71"}, " 71. Remember", 1},
        {QUIZ_NUMBER, {"71"}, "not 17 but 71", 0},
        {QUIZ_NUMBER, {"71"}, "715", 0},
        {QUIZ_NUMBER, {"71"}, "071", 1},
        {QUIZ_NUMBER, {"71"}, "none", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        prompt p = {0};
        for (int k = 0; k < 3 && CASES[i].expected[k]; k++) prompt_expect(&p, CASES[i].expected[k]);
        double score = mark(CASES[i].marking, &p, CASES[i].answer);
        if (fabs(score - CASES[i].score) > 1e-12)
            fail_msg("case %zu: %g instead of %g", i, score, CASES[i].score);
        prompt_free(&p);
    }
}

static void an_answer_is_settled_when_more_text_cannot_change_it(void **state) {
    (void)state;
    prompt p = {0};
    prompt_expect(&p, "71");
    assert_false(mark_is_settled(QUIZ_ALL, &p, "7"));
    assert_true(mark_is_settled(QUIZ_ALL, &p, "71"));
    assert_false(mark_is_settled(QUIZ_NUMBER, &p, "71"));
    assert_true(mark_is_settled(QUIZ_NUMBER, &p, "71."));
    assert_true(mark_is_settled(QUIZ_NUMBER, &p, "72 "));
    prompt_expect(&p, "72");
    assert_false(mark_is_settled(QUIZ_ALL, &p, "71"));
    assert_true(mark_is_settled(QUIZ_ANY, &p, "71"));
    prompt_free(&p);
}

/* ---- what is drawn --------------------------------------------------------------------------- */

static void an_order_holds_each_number_once(void **state) {
    static const uint64_t SIZES[] = {1, 2, 3, 4, 5, 40, 907, 5000};
    static bool seen[5000];
    (void)state;
    for (size_t s = 0; s < sizeof SIZES / sizeof *SIZES; s++) {
        memset(seen, 0, sizeof seen);
        for (uint64_t i = 0; i < SIZES[s]; i++) {
            uint64_t at = order_at(77 + s, SIZES[s], i);
            assert_true(at < SIZES[s] && !seen[at]);
            seen[at] = true;
        }
    }
    int first[4] = {0}; /* and no number has a favourite place */
    for (uint64_t key = 0; key < 4000; key++) first[order_at(hash_u64(key + 1), 4, 0)]++;
    for (int i = 0; i < 4; i++) assert_in_range(first[i], 850, 1150);
}

static void no_word_is_part_of_another(void **state) {
    (void)state;
    uint64_t n = words_n_single();
    assert_true(n > 800 && words_n_pairs() > 100000);
    char a[WORDS_MOST], b[WORDS_MOST];
    for (uint64_t i = 0; i < n; i++)
        for (uint64_t k = 0; k < n; k++) {
            words_single(i, a), words_single(k, b);
            if (i != k && strstr(b, a)) fail_msg("%s is in %s", a, b);
        }
}

static void keys_and_values_of_a_haystack_are_all_different(void **state) {
    (void)state;
    enum { LINES = 3000 };
    static char keys[LINES + 1][64], values[LINES + 1][16];
    prompt p = questions_make("niah_multikey_2", LINES, NAN, 1);
    int n = 0;
    for (const char *at = p.input.data; (at = strstr(at, "One of")); at++, n++)
        assert_int_equal(sscanf(at, "One of the special magic numbers for %63s is: %15[0-9]",
                                keys[n], values[n]),
                         2);
    assert_int_equal(n, LINES + 1);
    qsort(keys, LINES + 1, sizeof *keys, (int (*)(const void *, const void *))strcmp);
    qsort(values, LINES + 1, sizeof *values, (int (*)(const void *, const void *))strcmp);
    for (int i = 0; i < LINES; i++)
        assert_true(strcmp(keys[i], keys[i + 1]) != 0 && strcmp(values[i], values[i + 1]) != 0);
    prompt_free(&p);
}

/* Whoever changes a list of words or the order of draws changes every score that was published. */
static void samples_are_the_same_on_every_machine(void **state) {
    static const struct {
        const char *task;
        int64_t n_units;
        uint64_t checksum;
    } CASES[] = {{"niah_single_1", 40, 0x9e9ce7170008e717u},
                 {"niah_multikey_3", 30, 0x2dd935ba633dccc8u},
                 {"niah_multivalue", 30, 0xc8066a7c78ca5042u},
                 {"niah_multiquery", 30, 0xc424eb69ca35a519u},
                 {"vt", 30, 0x83874c040b271a60u},
                 {"cwe", 60, 0x8e7c59dbe49d633cu},
                 {"fwe", 300, 0xb0912189eff95c30u},
                 {"passkey", 20, 0x058cbb16b8071f6bu}};
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        prompt p = questions_make(CASES[i].task, CASES[i].n_units, NAN, 42);
        uint64_t found = checksum_of(p.input.data, p.input.n);
        if (found != CASES[i].checksum)
            fail_msg("%s: 0x%016llx", CASES[i].task, (unsigned long long)found);
        prompt_free(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_needle_reads_as_in_ruler),
        cmocka_unit_test(four_needles_are_asked_for_as_in_ruler),
        cmocka_unit_test(a_chain_reads_as_in_ruler),
        cmocka_unit_test(lists_hold_each_word_as_often_as_ruler_says),
        cmocka_unit_test(a_pass_key_reads_as_published),
        cmocka_unit_test(documents_read_as_in_ruler),
        cmocka_unit_test(answers_are_marked_as_ruler_marks_them),
        cmocka_unit_test(an_answer_is_settled_when_more_text_cannot_change_it),
        cmocka_unit_test(an_order_holds_each_number_once),
        cmocka_unit_test(no_word_is_part_of_another),
        cmocka_unit_test(keys_and_values_of_a_haystack_are_all_different),
        cmocka_unit_test(samples_are_the_same_on_every_machine),
    };
    return cmocka_run_group_tests(tests, folder_create, folder_remove);
}
