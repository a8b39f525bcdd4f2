/* test_eval_tasks.c: the questions of evaluations: a reader solves each, one who reads only the end
 * or takes any answer does not; their text is RULER's; none is longer than asked for. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "eval/mark.h"
#include "eval/order.h"
#include "eval/sheet.h"
#include "eval/words.h"
#include "support/folder.h"
#include "support/solve.h"
#include "support/tiny_model.h"

static msa_error err;
static msa_model *model; /* a token for each byte */
static char *folder;

/* Thirty documents of one sentence, in SQuAD's format and in HotpotQA's. */
static void write_sets(void) {
    FILE *squad = fopen(folder_path(folder, "squad.json"), "w");
    FILE *hotpot = fopen(folder_path(folder, "hotpot.json"), "w");
    assert_true(squad && hotpot);
    fputs("{\"version\": \"x\", \"data\": [", squad);
    fputs("[", hotpot);
    for (int i = 0; i < 30; i++) {
        const char *comma = i ? "," : "";
        fprintf(squad,
                "%s{\"title\": \"t\", \"paragraphs\": [{\"context\": \"The capital of Land%02d is "
                "City%02d. It lies by a river.\", \"qas\": [{\"id\": \"%d\", \"question\": \"What "
                "is the capital of Land%02d?\", \"is_impossible\": false, \"answers\": [{\"text\": "
                "\"City%02d\", \"answer_start\": 0}, {\"text\": \"the city\", \"answer_start\": "
                "3}]}, {\"id\": \"n\", \"question\": \"Why?\", \"is_impossible\": true, "
                "\"answers\": []}]}]}",
                comma, i, i, i, i, i);
        fprintf(hotpot,
                "%s{\"question\": \"What is the capital of Land%02d?\", \"answer\": \"City%02d\", "
                "\"context\": [[\"Land%02d\", [\"The capital of Land%02d is City%02d.\", \" It "
                "rains.\"]], [\"Hill%02d\", [\"A hill of no note.\"]]]}",
                comma, i, i, i, i, i, i);
    }
    fputs("]}", squad);
    fputs("]", hotpot);
    fclose(squad);
    fclose(hotpot);
}

static int open_all(void **state) {
    if (folder_create(state)) return -1;
    folder = *state;
    tiny_params p = tiny_defaults("llama", 5);
    tiny_model *m = tiny_create(&p);
    tiny_write(m, folder_path(folder, "tiny.gguf"));
    tiny_free(m);
    write_sets();
    assert_ok(msa_model_load(&model, folder_path(folder, "tiny.gguf"), &err), &err);
    return 0;
}

static int close_all(void **state) {
    msa_model_free(model);
    return folder_remove(state);
}

static msa_eval *create(const char *task, int64_t length, int64_t n_samples, bool text,
                        msa_status *status) {
    static char squad[256], hotpot[256], license[256];
    msa_eval *e = NULL;
    msa_eval_params p = msa_eval_defaults(model);
    const double depths[] = {0, 50, 100};
    snprintf(squad, sizeof squad, "%s", folder_path(folder, "squad.json"));
    snprintf(hotpot, sizeof hotpot, "%s", folder_path(folder, "hotpot.json"));
    snprintf(license, sizeof license, "%s", test_path("LICENSE"));
    p.tasks = &task, p.n_tasks = 1;
    p.lengths = &length, p.n_lengths = 1;
    p.depths = depths, p.n_depths = 3;
    p.n_samples = n_samples;
    p.squad = squad, p.hotpotqa = hotpot;
    p.text = text ? license : NULL;
    *status = msa_eval_create(&e, model, &p, &err);
    return e;
}

static msa_eval *create_ok(const char *task, int64_t length, int64_t n_samples, bool text) {
    msa_status status;
    msa_eval *e = create(task, length, n_samples, text, &status);
    assert_ok(status, &err);
    return e;
}

/* ---- solvers and cheaters -------------------------------------------------------------------- */

enum { SAMPLES = 12, TAIL = 256 };

typedef void answer_fn(const char *task, const char *prompt, char answer[SOLVED]);

/* Score of who answers so, 0 to 100. */
static double examine(const char *task, int64_t length, bool text, answer_fn *answer) {
    msa_eval *e = create_ok(task, length, SAMPLES, text);
    size_t n = msa_eval_n_questions(e);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        char said[SOLVED];
        msa_eval_question q;
        assert_ok(msa_eval_get_question(e, i, &q, &err), &err);
        assert_true(q.n_ids + (size_t)q.n_generate <= (size_t)length);
        answer(task, q.prompt, said);
        sum += mark(e->question.quiz->marking, &e->question.prompt, said);
    }
    msa_eval_free(e);
    return 100 * sum / (double)n;
}

static void read_tail(const char *task, const char *text, char answer[SOLVED]) {
    size_t n = strlen(text);
    solve(task, n > TAIL ? text + n - TAIL : text, answer);
}

/* What any needle, the first variable, or the first words would give. */
static void take_first(const char *task, const char *text, char answer[SOLVED]) {
    const char *at = strncmp(task, "qa", 2) == 0     ? strstr(text, "City")
                     : strcmp(task, "vt") == 0       ? strstr(strstr(text, "\n\n\n\n"), "VAR ")
                     : strcmp(task, "cwe") == 0      ? strstr(text, "1. ")
                     : strncmp(task, "niah", 4) == 0 ? strstr(text, " is: ")
                                                     : "";
    snprintf(answer, SOLVED, "%.45s", at);
}

static const char *const TEXT_TASKS[] = {"niah_single_1",
                                         "niah_single_2",
                                         "niah_single_3",
                                         "niah_multikey_1",
                                         "niah_multikey_2",
                                         "niah_multikey_3",
                                         "niah_multivalue",
                                         "niah_multiquery",
                                         "vt",
                                         "cwe",
                                         "fwe",
                                         "qa_1",
                                         "qa_2",
                                         "passkey",
                                         "needle"};
enum { N_TEXT_TASKS = sizeof TEXT_TASKS / sizeof *TEXT_TASKS };

static void a_reader_solves_every_task_and_one_of_the_end_does_not(void **state) {
    (void)state;
    for (int i = 0; i < N_TEXT_TASKS; i++)
        for (int text = 0; text < 2; text++) {
            const char *task = TEXT_TASKS[i];
            double reader = examine(task, 4000, text, solve);
            double cheater = examine(task, 4000, text, read_tail);
            if (reader < 100 || cheater > 50)
                fail_msg("%s: a reader scores %.1f, one who reads the end %.1f", task, reader,
                         cheater);
        }
}

static void the_first_answer_at_hand_is_not_enough_where_there_are_several(void **state) {
    static const char *const TASKS[] = {"niah_multikey_1",
                                        "niah_multikey_2",
                                        "niah_multikey_3",
                                        "niah_multivalue",
                                        "niah_multiquery",
                                        "vt",
                                        "cwe",
                                        "qa_1",
                                        "qa_2"};
    (void)state;
    for (size_t i = 0; i < sizeof TASKS / sizeof *TASKS; i++) {
        double cheater = examine(TASKS[i], 3900, false, take_first);
        if (cheater > 50) fail_msg("%s: the first answer scores %.1f", TASKS[i], cheater);
    }
}

/* Share of the answers that an induction head predicts. */
static double induce(const char *task, int64_t length, size_t window) {
    msa_eval *e = create_ok(task, length, SAMPLES, true);
    double right = 0, all = 0;
    for (size_t i = 0; i < msa_eval_n_questions(e); i++) {
        msa_eval_question q;
        assert_ok(msa_eval_get_question(e, i, &q, &err), &err);
        assert_true(q.n_ids <= (size_t)length && q.n_ids > (size_t)length - 100);
        const marked *m = &e->question.sample;
        int64_t before = marked_n_answers(m);
        assert_true(before > 0);
        bool good = true;
        for (size_t k = 1; k < m->ids.n; k++) {
            if (!m->answer[k]) continue;
            if (!m->answer[k - 1]) all++, good = true;
            good &= solve_token(m->ids.ids, k, 2, window) == m->ids.ids[k];
            if (k + 1 == m->ids.n || !m->answer[k + 1]) right += good;
        }
    }
    msa_eval_free(e);
    return 100 * right / all;
}

static void tasks_with_their_answers_in_them_are_solved_by_looking_back(void **state) {
    static const char *const TASKS[] = {"mqar", "train_recall", "train_copy", "train_passkey",
                                        "train_needle"};
    (void)state;
    for (size_t i = 0; i < sizeof TASKS / sizeof *TASKS; i++) {
        double reader = induce(TASKS[i], 2048, 1 << 20), cheater = induce(TASKS[i], 2048, TAIL);
        if (reader < 100 || cheater > 50)
            fail_msg("%s: an induction head scores %.1f, one that sees %d tokens %.1f", TASKS[i],
                     reader, TAIL, cheater);
    }
}

/* ---- lengths --------------------------------------------------------------------------------- */

static void lengths_are_filled_and_never_exceeded(void **state) {
    static const int64_t LENGTHS[] = {2600, 4095, 4096, 4097, 9000};
    (void)state;
    for (int i = 0; i < N_TEXT_TASKS; i++)
        for (size_t l = 0; l < sizeof LENGTHS / sizeof *LENGTHS; l++) {
            msa_status status;
            msa_eval *e = create(TEXT_TASKS[i], LENGTHS[l], 3, l % 2, &status);
            if (status != MSA_OK) { /* cwe's long form does not fit 4,096 bytes */
                assert_fails(status, MSA_E_ARG, &err, "expected a length of at least");
                continue;
            }
            for (size_t k = 0; k < msa_eval_n_questions(e); k++) {
                msa_eval_question q;
                assert_ok(msa_eval_get_question(e, k, &q, &err), &err);
                int64_t used = (int64_t)q.n_ids + q.n_generate;
                bool whole = strncmp(q.task, "qa", 2) == 0; /* all documents there are */
                if (used > LENGTHS[l] || (used < LENGTHS[l] - 130 && !whole))
                    fail_msg("%s of %lld takes %lld", q.task, (long long)LENGTHS[l],
                             (long long)used);
            }
            msa_eval_free(e);
        }
}

/* Makes all questions of an evaluation. */
static void assert_all_fit(msa_eval *e) {
    msa_eval_question q;
    for (size_t i = 0; i < msa_eval_n_questions(e); i++)
        assert_ok(msa_eval_get_question(e, i, &q, &err), &err);
    msa_eval_free(e);
}

/* Names and documents of one sample are longer than another's: the least length is for all. */
static void assert_least_length_is_told(const char *task, bool text) {
    msa_status status;
    char *least;
    assert_null(create(task, 64, SAMPLES, text, &status));
    assert_fails(status, MSA_E_ARG, &err, "lengths: 64 can't hold task ");
    assert_non_null(least = strstr(err.text, "; expected a length of at least "));
    int64_t length = atoll(strstr(least, "least") + 5);
    assert_all_fit(create_ok(task, length, SAMPLES, text));
    assert_null(create(task, length - 1, SAMPLES, text, &status));
    assert_fails(status, MSA_E_ARG, &err, "expected a length of at least");
}

static void a_length_too_small_says_which_would_do(void **state) {
    static const char *const MARKED[] = {"mqar", "train_passkey"};
    (void)state;
    for (int i = 0; i < N_TEXT_TASKS; i++)
        for (int text = 0; text < 2; text++) assert_least_length_is_told(TEXT_TASKS[i], text);
    for (size_t i = 0; i < sizeof MARKED / sizeof *MARKED; i++)
        assert_least_length_is_told(MARKED[i], true);
    msa_status status;
    assert_null(create("qa_1", 4000, 31, true, &status));
    assert_fails(status, MSA_E_ARG, &err, "31 samples; its file has 30 questions");
}

/* ---- text, byte for byte --------------------------------------------------------------------- */

#define LINE                                                                                       \
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."

static prompt make(const char *task, int64_t n_units, double depth, uint64_t seed) {
    const quiz *q;
    prompt p = {0};
    assert_ok(quizzes_find(&q, task, &err), &err);
    quiz_case c = {.draw = draw_begin(seed, DRAW_EXAM, 0, 0),
                   .length = 2048,
                   .depth = depth,
                   .line_tokens = 23};
    q->make(q, &c, n_units, &p);
    assert_ok(prompt_finish(&p, &err), &err);
    return p;
}

static void assert_prompt(prompt *p, const char *input, const char *opening) {
    assert_string_equal(p->input.data, input);
    assert_string_equal(p->opening.data, opening);
    prompt_free(p);
}

static void one_needle_reads_as_in_ruler(void **state) {
    char key[64], value[16], input[2048], opening[512];
    (void)state;
    for (int after = 0; after <= 2; after++) { /* lines in front of the needle */
        prompt p = make("niah_single_1", 2, after * 50, 7);
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
    prompt p = make("niah_multiquery", 4, NAN, 11);
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
    prompt p = make("vt", 6, NAN, 3); /* six lines, five of which a variable stands in front of */
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
    prompt p = make("cwe", 20, NAN, 5); /* below 4,096: ten words six times, ten once */
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

    p = make("fwe", 100, NAN, 5); /* 100 / r^2 / zeta(2): 60, 15, 6, 3, 2, 1 */
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
    prompt p = make("passkey", 2, 50, 9);
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
    (void)state;
    qa_set set;
    assert_ok(qa_set_open(&set, folder_path(folder, "hotpot.json"), true, &err), &err);
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
    prompt p = make("niah_multikey_2", LINES, NAN, 1);
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

/* Text of question i, freed by the caller. */
static char *text_of(const char *task, uint64_t seed, int64_t length, size_t i, size_t n_samples) {
    msa_eval_params p = msa_eval_defaults(model);
    msa_eval *e;
    msa_eval_question q;
    p.tasks = &task, p.n_tasks = 1, p.lengths = &length, p.n_lengths = 1;
    p.seed = seed, p.n_samples = (int64_t)n_samples;
    assert_ok(msa_eval_create(&e, model, &p, &err), &err);
    assert_ok(msa_eval_get_question(e, i, &q, &err), &err);
    char *text = strdup(q.prompt);
    msa_eval_free(e);
    return text;
}

static void a_sample_depends_on_seed_task_length_and_number_alone(void **state) {
    static const char *const TASKS[] = {"niah_single_1", "vt", "cwe", "fwe", "passkey", "mqar"};
    (void)state;
    for (size_t t = 0; t < sizeof TASKS / sizeof *TASKS; t++) {
        char *one = text_of(TASKS[t], 1, 3000, 2, 3), *same = text_of(TASKS[t], 1, 3000, 2, 9);
        char *seed = text_of(TASKS[t], 2, 3000, 2, 3), *other = text_of(TASKS[t], 1, 3000, 1, 3);
        assert_string_equal(one, same);
        assert_string_not_equal(one, seed);
        assert_string_not_equal(one, other);
        free(one), free(same), free(seed), free(other);
    }
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
        prompt p = make(CASES[i].task, CASES[i].n_units, NAN, 42);
        uint64_t found = checksum_of(p.input.data, p.input.n);
        if (found != CASES[i].checksum)
            fail_msg("%s: 0x%016llx", CASES[i].task, (unsigned long long)found);
        prompt_free(&p);
    }
}

/* An article of n paragraphs in SQuAD's format, all but the last of a few words. */
static const char *write_article(int n, int last) {
    const char *path = folder_path(folder, "article.json");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("{\"data\": [{\"paragraphs\": [", f);
    for (int i = 0; i < n; i++)
        fprintf(f,
                "%s{\"context\": \"It is %0*d.\", \"qas\": [{\"question\": \"What?\", "
                "\"answers\": [{\"text\": \"%d\"}]}]}",
                i ? ", " : "", i + 1 < n ? 8 : last, i, i);
    fputs("]}]}", f);
    fclose(f);
    return path;
}

static void a_question_that_does_not_fit_is_found_before_any_is_asked(void **state) {
    static const char *const TASK[] = {"qa_1"};
    static const int64_t LENGTH[] = {1000};
    (void)state;
    for (int i = 0; i < 4; i++) { /* the long one is not the first sample of all seeds */
        int last = i ? 3000 : 8;
        msa_eval *e = NULL;
        msa_eval_params p = msa_eval_defaults(model);
        p.tasks = TASK, p.n_tasks = 1, p.lengths = LENGTH, p.n_lengths = 1;
        p.n_samples = 9, p.seed = (uint64_t)i, p.squad = write_article(9, last);
        msa_status status = msa_eval_create(&e, model, &p, &err);
        if (i == 0)
            assert_ok(status, &err);
        else
            assert_fails(status, MSA_E_ARG, &err, "expected a length of at least 3");
        msa_eval_free(e);
    }
}

/* A file of a megabyte must not take its square. */
static void an_article_takes_no_more_room_than_its_paragraphs(void **state) {
    (void)state;
    qa_set set;
    assert_ok(qa_set_open(&set, write_article(500, 8), false, &err), &err);
    assert_int_equal(set.n_questions, 500);
    assert_int_equal(set.n_pool, 500);
    qa_set_free(&set);
}

static void what_a_set_of_questions_lacks_is_named(void **state) {
    static const struct {
        const char *text;
        bool hotpotqa;
        const char *word;
    } CASES[] = {
        {"{}", false, "\"data\""},
        {"{\"data\": [{}]}", false, "\"paragraphs\""},
        {"{\"data\": [{\"paragraphs\": [{}]}]}", false, "\"context\""},
        {"{\"data\": []}", false, "a question"},
        {"[{}]", true, "\"question\""},
        {"[{\"question\": \"a\"}]", true, "\"answer\""},
        {"[{\"question\": \"a\", \"answer\": \"\"}]", true, "\"answer\""},
        {"[{\"question\": \"a\", \"answer\": \"b\"}]", true, "\"context\""},
        {"[{\"question\": \"a\", \"answer\": \"b\", \"context\": [1]}]", true, "[title"},
        {"[]", true, "a question"},
        {"x", true, ""},
        {"", true, "empty"},
        {"", false, "empty"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        qa_set set;
        const char *path = folder_path(folder, "bad.json");
        write_text(path, CASES[i].text);
        assert_fails(qa_set_open(&set, path, CASES[i].hotpotqa, &err), MSA_E_FORMAT, &err,
                     CASES[i].word);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_solves_every_task_and_one_of_the_end_does_not),
        cmocka_unit_test(the_first_answer_at_hand_is_not_enough_where_there_are_several),
        cmocka_unit_test(tasks_with_their_answers_in_them_are_solved_by_looking_back),
        cmocka_unit_test(lengths_are_filled_and_never_exceeded),
        cmocka_unit_test(a_length_too_small_says_which_would_do),
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
        cmocka_unit_test(a_sample_depends_on_seed_task_length_and_number_alone),
        cmocka_unit_test(samples_are_the_same_on_every_machine),
        cmocka_unit_test(a_question_that_does_not_fit_is_found_before_any_is_asked),
        cmocka_unit_test(an_article_takes_no_more_room_than_its_paragraphs),
        cmocka_unit_test(what_a_set_of_questions_lacks_is_named),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
