/* quiz.h: a kind of question that is built as text: what every maker of one gets and gives.
 *
 * A maker is a function of the case and of how much haystack there is: lines, words or documents,
 * its units. fit.h finds how many fill the length; a maker knows no tokenizer. It draws what does
 * not depend on the units first, so that a needle is the same whatever the length. */
#ifndef MSA_EVAL_QUIZ_H
#define MSA_EVAL_QUIZ_H

#include "eval/haystack.h"
#include "eval/prompt.h"
#include "eval/qa_set.h"
#include "msa/eval.h"
#include "train/draw.h"

#define QUIZ_NOISE                                                                                 \
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."

typedef struct quiz_case {
    draw draw;     /* of the sample */
    uint64_t seed; /* for what does not depend on the length */
    int64_t length, sample;
    double depth;         /* 0..100, NaN: drawn */
    const haystack *text; /* NULL: noise */
    const qa_set *questions;
    int64_t line_tokens; /* of a line of noise: how coarse the vocabulary is */
} quiz_case;

typedef struct quiz quiz;

/* A failure to get memory is left in p->input.failed. */
typedef void quiz_make_fn(const quiz *q, const quiz_case *c, int64_t n_units, prompt *p);
typedef void quiz_range_fn(const quiz *q, const quiz_case *c, int64_t *least, int64_t *most);

typedef enum quiz_marking {
    QUIZ_ALL,    /* share of the expected texts that the answer holds */
    QUIZ_ANY,    /* whether it holds any of them */
    QUIZ_NUMBER, /* whether its first whole number is the expected one */
    QUIZ_TOKENS  /* share of the answers whose tokens are all predicted; no maker here */
} quiz_marking;

typedef enum niah_kind { NIAH_WORDS, NIAH_NUMBERS, NIAH_UUIDS } niah_kind;
typedef enum niah_hay { NIAH_NOISE, NIAH_TEXT, NIAH_NEEDLES } niah_hay;

struct quiz {
    msa_eval_task task;
    quiz_marking marking;
    quiz_make_fn *make;
    quiz_range_fn *range;
    struct {
        niah_hay hay;
        niah_kind key, value;
        int n_keys, n_values, n_queries; /* at most NIAH_MOST needles */
    } niah;
};
enum { NIAH_MOST = 8 };

quiz_make_fn niah_make, chain_make, common_make, frequent_make, qa_make, passkey_make;
quiz_range_fn niah_range, chain_range, common_range, frequent_range, qa_range, passkey_range;

/* `n` lines of noise, each with a line feed. */
void quiz_put_noise(bytes *b, int64_t n);

#endif
