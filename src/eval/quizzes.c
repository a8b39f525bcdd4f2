/* quizzes.c: see quizzes.h. */
#include "eval/quizzes.h"

#include <stdio.h>
#include <string.h>

#include "base/nearest.h"

#define NIAH(name, about, text, ...)                                                               \
    {                                                                                              \
        {name, "ruler", about, 128, text, 0}, QUIZ_ALL, niah_make, niah_range, {                   \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define RULER(name, about, n, questions, marking, stem)                                            \
    {                                                                                              \
        {name, "ruler", about, n, 0, questions}, marking, stem##_make, stem##_range, {             \
            0                                                                                      \
        }                                                                                          \
    }
#define MARKED(name, suite, about, text)                                                           \
    {                                                                                              \
        {name, suite, about, 0, text, 0}, QUIZ_TOKENS, NULL, NULL, {                               \
            0                                                                                      \
        }                                                                                          \
    }

static const quiz QUIZZES[] = {
    NIAH("niah_single_1", "one number in noise", 0, NIAH_NOISE, NIAH_WORDS, NIAH_NUMBERS, 1, 1, 1),
    NIAH("niah_single_2", "one number in a text", 1, NIAH_TEXT, NIAH_WORDS, NIAH_NUMBERS, 1, 1, 1),
    NIAH("niah_single_3", "one uuid in a text", 1, NIAH_TEXT, NIAH_WORDS, NIAH_UUIDS, 1, 1, 1),
    NIAH("niah_multikey_1", "one of four numbers in a text", 1, NIAH_TEXT, NIAH_WORDS, NIAH_NUMBERS,
         4, 1, 1),
    NIAH("niah_multikey_2", "one number among nothing but others", 0, NIAH_NEEDLES, NIAH_WORDS,
         NIAH_NUMBERS, 1, 1, 1),
    NIAH("niah_multikey_3", "the uuid of a uuid among nothing but others", 0, NIAH_NEEDLES,
         NIAH_UUIDS, NIAH_UUIDS, 1, 1, 1),
    NIAH("niah_multivalue", "four numbers of one key in a text", 1, NIAH_TEXT, NIAH_WORDS,
         NIAH_NUMBERS, 1, 4, 1),
    NIAH("niah_multiquery", "four keys at once in a text", 1, NIAH_TEXT, NIAH_WORDS, NIAH_NUMBERS,
         4, 1, 4),
    RULER("vt", "variables that hold a number after four hops", 30, 0, QUIZ_ALL, chain),
    RULER("cwe", "the ten most common words of a list", 120, 0, QUIZ_ALL, common),
    RULER("fwe", "the three most frequent words of a coded text", 50, 0, QUIZ_ALL, frequent),
    RULER("qa_1", "questions of SQuAD among other documents", 32, 1, QUIZ_ANY, qa),
    RULER("qa_2", "questions of HotpotQA among other documents", 32, 1, QUIZ_ANY, qa),
    {{"passkey", "passkey", "a number told once in noise", 16, 0, 0},
     QUIZ_NUMBER,
     passkey_make,
     passkey_range,
     {0}},
    {{"needle", "needle", "one number in a text, at a given depth", 128, 1, 0},
     QUIZ_ALL,
     niah_make,
     niah_range,
     {NIAH_TEXT, NIAH_WORDS, NIAH_NUMBERS, 1, 1, 1}},
    MARKED("mqar", "mqar", "many keys of a list at once", 0),
    MARKED("train_recall", "trainer", "recall as msa train makes it: keys of one value each", 0),
    MARKED("train_copy", "trainer", "copy as msa train makes it: go on as after a cue", 0),
    MARKED("train_passkey", "trainer", "passkey as msa train makes it", 0),
    MARKED("train_needle", "trainer", "needle as msa train makes it: facts in a text", 2),
};
enum { N_QUIZZES = sizeof QUIZZES / sizeof *QUIZZES };

const quiz *quizzes_all(size_t *n) {
    *n = N_QUIZZES;
    return QUIZZES;
}

const msa_eval_task *msa_eval_get_task(size_t i) {
    return i < N_QUIZZES ? &QUIZZES[i].task : NULL;
}

msa_status quizzes_find(const quiz **out, const char *name, msa_error *err) {
    const char *near = NULL;
    size_t best = nearest_limit(name);
    for (size_t i = 0; i < N_QUIZZES; i++) {
        const char *known = QUIZZES[i].task.name;
        if (strcmp(name, known) == 0) return *out = &QUIZZES[i], MSA_OK;
        size_t distance = nearest_distance(name, known);
        if (distance <= best && (!near || distance < best)) best = distance, near = known;
    }
    return error_set(err, MSA_E_ARG, "there is no task '%.60s'%s%s%s", name,
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

void quiz_full_name(const quiz *q, bool with_text, char out[QUIZ_NAME]) {
    const char *variant = q->task.uses_text != 1 ? "" : with_text ? "/text" : "/noise";
    snprintf(out, QUIZ_NAME, "%s%s", q->task.name, variant);
}
