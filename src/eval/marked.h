/* marked.h: samples that hold their answers: the model reads all of it, and a token of an answer is
 * right where it was the likeliest one behind what stands before it. One reading asks many
 * questions.
 *
 *   mqar    lines "harbor 4821" hidden in noise, then some of the keys again (arXiv 2312.04927, as
 *           text)
 *   train_  the tasks of train/task.h */
#ifndef MSA_EVAL_MARKED_H
#define MSA_EVAL_MARKED_H

#include "eval/quiz.h"
#include "model/tokenizer.h"
#include "train/task.h"

typedef struct marked { /* start from {0} */
    msa_tokens ids;
    bool *answer; /* [ids.n] the token is part of an answer */
    size_t capacity;
} marked;
void marked_free(marked *m);

typedef struct marked_source {
    const tokenizer *tokenizer;
    task_maker *trainer;          /* NULL where no task of the trainer's is asked for */
    int64_t n_items, n_questions; /* 0: fits the length */
} marked_source;

/* Exactly c->length tokens, or with mqar up to a line of noise less. MSA_E_ARG where what is told
 * and asked takes more. */
msa_status marked_make(const quiz *q, const quiz_case *c, const marked_source *from, marked *out,
                       msa_error *err);

/* Fails as marked_make would, and is quicker. */
msa_status marked_try(const quiz *q, const quiz_case *c, const marked_source *from, marked *scratch,
                      msa_error *err);

/* Runs of tokens of answers. */
int64_t marked_n_answers(const marked *m);

#endif
