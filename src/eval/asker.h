/* asker.h: makes the questions of an evaluation for the model at hand, in text and in tokens. */
#ifndef MSA_EVAL_ASKER_H
#define MSA_EVAL_ASKER_H

#include "eval/marked.h"
#include "eval/quizzes.h"
#include "train/tokens.h"

typedef struct question { /* start from {0}; reused */
    const quiz *quiz;
    quiz_case at;
    prompt prompt; /* empty with QUIZ_TOKENS */
    bytes text;    /* what the model is to go on with, template and opening included */
    marked sample; /* its tokens; marks with QUIZ_TOKENS only */
} question;
void question_free(question *q);

typedef struct asker {
    const msa_model *model;
    bool chat;
    uint64_t seed;
    int64_t line_tokens; /* of a line of noise */
    bool has_text;
    haystack text;
    qa_set squad, hotpotqa;
    marked_source marked;
    tokens tokens; /* of the text, for the trainer's needles */
    msa_tokens ids;
    corpus *corpus;
} asker;

/* Opens the files that are given. MSA_E_ARG says what is missing, and what for. */
msa_status asker_open(asker *a, const msa_model *model, const msa_eval_params *params,
                      const quiz *const *quizzes, size_t n, msa_error *err);
void asker_close(asker *a); /* zeros are fine */

/* A function of its arguments and of what was opened. */
msa_status asker_ask(asker *a, const quiz *q, int64_t length, double depth, int64_t sample,
                     question *out, msa_error *err);

/* Whether the sample's smallest question fits, which is quicker. */
msa_status asker_try(asker *a, const quiz *q, int64_t length, double depth, int64_t sample,
                     question *scratch, msa_error *err);

#endif
